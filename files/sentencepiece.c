/* sentencepiece.c - SentencePiece's tokenizer.model, of LLaMA-2 and Mistral, as a tokenizer.json.
 *
 * The file is a protobuf message: fields one after the other, each a number and its value,
 *
 *     key      field number * 8 + wire type: 0 a varint, 1 eight bytes, 2 a length and so many
 *              bytes, 5 four bytes; itself a varint: 7 bits a byte, the lowest first, 128 set
 *              where another byte follows
 *
 * of which those are read that say what the pieces are and how a text is prepared; numbers and
 * defaults are those of sentencepiece_model.proto.
 *
 * SentencePiece joins the neighbours whose piece together has the best score, and has no list of
 * merges.  The list is made as Hugging Face's converter does, from all ways to cut a piece in two:
 *
 *     piece    _the  -259      cut into _t|he, _|the, _th|e
 *     merges   ... (_t he), (_ the), (_th e) ...     by score, then the longer left part first */
#ifndef SENTENCEPIECE_C
#define SENTENCEPIECE_C

#include "../patterns.c"
#include "file.c"
#include "json.c"

typedef enum {
    SP_NORMAL = 1, SP_UNKNOWN = 2, SP_CONTROL = 3, SP_USER_DEFINED = 4, SP_UNUSED = 5, SP_BYTE = 6,
} SentencePieceType;

typedef struct {
    const char *s;                      // UTF-8, or the file is refused
    size_t len;
    float score;
    SentencePieceType type;
} SentencePiece;

typedef struct {
    SentencePiece *piece;               // (n) by id
    size_t n, capacity;
    int model_type;                     // 2: byte pair encoding
    int byte_fallback;                  // a character without a piece becomes its bytes
    int dummy_prefix;                   // a space is put before a text
    int only_at_start;                  // but not after an added token, nor where there is one
    int removes_spaces, escapes_spaces, space_is_suffix;
    const char *normalizer;             // its name, of normalizer_len bytes; "identity": none
    size_t normalizer_len, table_len;
} SentencePieces;

// the ways to cut pieces in two, in the order of merging
typedef struct {
    const SentencePiece *piece;         // of which two parts become one:
    size_t left_len;                    // its first bytes, and the others
    int left_characters, right_characters;
    size_t number;                      // in the order of ids, then of the parts' ids
} Cut;

typedef struct {
    const SentencePiece **by_name;      // (n) those that merges are made of, sorted
    size_t n;
    Cut *cut;
    size_t num_cuts, capacity;
} Cuts;

int  sentencepiece_text(Buffer *out, const char *path);     // the tokenizer.json of a .model file
int  sentencepiece_legacy(int *legacy, const char *path);   // how a text is prepared, see below
int  sentencepiece_json(Buffer *out, const SentencePieces *p, const char *path);
int  sentencepiece_cuts(Cuts *c, const SentencePieces *p);
void sentencepiece_cuts_free(Cuts *c);                      // also after an error
int  sentencepiece_is_utf8(const char *s, size_t n);

// --------------------------------------------------------------------------------------- protobuf

typedef struct {
    const unsigned char *p, *end;
    const char *path;
} Message;

typedef struct {
    uint64_t number;                    // of the field
    uint64_t value;                     // of a varint or four bytes
    Message bytes;                      // or bytes
} Field;

static int refuse_message(const Message *m) {
    return fail(EX_DATAERR, "%s: not a SentencePiece model, or cut short: download it again",
                m->path);
}

static int read_varint(Message *m, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (m->p == m->end) return refuse_message(m);
        const unsigned char byte = *m->p++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return 0;
    }
    return refuse_message(m);
}

// So many bytes of the message.
static int read_bytes(Message *m, uint64_t n, Message *bytes) {
    if (n > (uint64_t)(m->end - m->p)) return refuse_message(m);
    *bytes = (Message){.p = m->p, .end = m->p + n, .path = m->path};
    m->p += n;
    return 0;
}

// The next field.  1: there is one, 0: the message ends, -1 after fail().
static int read_field(Message *m, Field *f) {
    uint64_t key, len = 0;
    *f = (Field){.number = 0};
    if (m->p == m->end) return 0;
    if (read_varint(m, &key) < 0) return -1;
    f->number = key >> 3;
    switch (key & 7) {
    case 0:  return read_varint(m, &f->value) < 0 ? -1 : 1;
    case 1:  return read_bytes(m, 8, &f->bytes) < 0 ? -1 : 1;
    case 2:
        if (read_varint(m, &len) < 0) return -1;
        return read_bytes(m, len, &f->bytes) < 0 ? -1 : 1;
    case 5:
        if (read_bytes(m, 4, &f->bytes) < 0) return -1;
        for (int k = 0; k < 4; k++) f->value |= (uint64_t)f->bytes.p[k] << 8 * k;
        return 1;
    default: return refuse_message(m);
    }
}

// ----------------------------------------------------------------------------------- what it says

int sentencepiece_is_utf8(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t code;
        const int len = utf8_decode(s + i, n - i, &code);
        if (!len) return 0;
        i += (size_t)len;
    }
    return 1;
}

// message SentencePiece { piece = 1; score = 2; type = 3; }
static int read_piece(SentencePieces *p, Message *m) {
    SentencePiece piece = {.s = ""};
    uint64_t type = SP_NORMAL;
    Field f;
    int any;
    while ((any = read_field(m, &f)) > 0) {
        if (f.number == 1 && f.bytes.p) {
            piece.s = (const char *)f.bytes.p;
            piece.len = (size_t)(f.bytes.end - f.bytes.p);
        }
        if (f.number == 2) piece.score = float_of((uint32_t)f.value);
        if (f.number == 3) type = f.value;
    }
    if (any < 0) return -1;
    if (type < SP_NORMAL || type > SP_BYTE) return refuse_message(m);
    piece.type = (SentencePieceType)type;
    if (piece.score != piece.score) return refuse_message(m);
    if (!sentencepiece_is_utf8(piece.s, piece.len)) return refuse_message(m);
    if (reserve(&p->piece, &p->capacity, p->n + 1, sizeof piece) < 0) return -1;
    p->piece[p->n++] = piece;
    return 0;
}

// message TrainerSpec { model_type = 3; treat_whitespace_as_suffix = 24; byte_fallback = 35; }
static int read_trainer(SentencePieces *p, Message *m) {
    Field f;
    int any;
    while ((any = read_field(m, &f)) > 0) {
        if (f.number == 3) p->model_type = (int)f.value;
        if (f.number == 24) p->space_is_suffix = f.value != 0;
        if (f.number == 35) p->byte_fallback = f.value != 0;
    }
    return any;
}

// message NormalizerSpec { name = 1; precompiled_charsmap = 2; add_dummy_prefix = 3;
//                          remove_extra_whitespaces = 4; escape_whitespaces = 5; }
static int read_preparation(SentencePieces *p, Message *m) {
    Field f;
    int any;
    while ((any = read_field(m, &f)) > 0) {
        const size_t len = f.bytes.p ? (size_t)(f.bytes.end - f.bytes.p) : 0;
        if (f.number == 1) {
            p->normalizer = (const char *)f.bytes.p;
            p->normalizer_len = len;
        }
        if (f.number == 2) p->table_len = len;
        if (f.number == 3) p->dummy_prefix = f.value != 0;
        if (f.number == 4) p->removes_spaces = f.value != 0;
        if (f.number == 5) p->escapes_spaces = f.value != 0;
    }
    return any;
}

// message ModelProto { pieces = 1; trainer_spec = 2; normalizer_spec = 3; }
static int read_model(SentencePieces *p, Message *m) {
    Field f;
    int any;
    while ((any = read_field(m, &f)) > 0) {
        if (f.number > 3 || !f.bytes.p) continue;
        int result = 0;
        if (f.number == 1) result = read_piece(p, &f.bytes);
        if (f.number == 2) result = read_trainer(p, &f.bytes);
        if (f.number == 3) result = read_preparation(p, &f.bytes);
        if (result < 0) return -1;
    }
    if (any == 0 && p->n == 0) return refuse_message(m);
    return any;
}

// What is not done here, by name.
static int check_pieces(const SentencePieces *p, const char *path) {
    if (p->model_type != 2) {
        const char *kind = "characters or words";
        if (p->model_type == 1) kind = "unigram";
        return fail(EX_DATAERR, "%s: a SentencePiece model of the kind %s, which is not known "
                    "here: one of byte pair encoding (bpe) is needed", path, kind);
    }
    if (p->table_len) {
        return fail(EX_DATAERR, "%s: the model normalizes texts by %.*s, which is not known here: "
                    "one that leaves them as they are (identity) is needed", path,
                    (int)(p->normalizer_len < 40 ? p->normalizer_len : 40), p->normalizer);
    }
    const char *what = NULL;
    if (p->removes_spaces) what = "remove_extra_whitespaces";
    if (!p->escapes_spaces) what = "escape_whitespaces false";
    if (p->space_is_suffix) what = "treat_whitespace_as_suffix";
    if (!what) return 0;
    return fail(EX_DATAERR, "%s: the model has %s, which is not known here: one without it is "
                "needed", path, what);
}

// ----------------------------------------------------------------------------------------- merges

static int compare_strings(const char *a, size_t a_len, const char *b, size_t b_len) {
    const int by_bytes = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return by_bytes ? by_bytes : (a_len > b_len) - (a_len < b_len);
}

static int compare_names(const void *a, const void *b) {
    const SentencePiece *x = *(const SentencePiece *const *)a;
    const SentencePiece *y = *(const SentencePiece *const *)b;
    return compare_strings(x->s, x->len, y->s, y->len);
}

// The piece of that name, or NULL.
static const SentencePiece *find_piece(const Cuts *c, const char *s, size_t len) {
    size_t low = 0, high = c->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const SentencePiece *piece = c->by_name[middle];
        const int order = compare_strings(s, len, piece->s, piece->len);
        if (order == 0) return piece;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}

// The best score first, then the longer left part, then the longer right part.
static int compare_cuts(const void *a, const void *b) {
    const Cut *x = a, *y = b;
    if (x->piece->score != y->piece->score) return x->piece->score > y->piece->score ? -1 : 1;
    if (x->left_characters != y->left_characters) {
        return x->left_characters > y->left_characters ? -1 : 1;
    }
    if (x->right_characters != y->right_characters) {
        return x->right_characters > y->right_characters ? -1 : 1;
    }
    return (x->number > y->number) - (x->number < y->number);
}

static int characters_of(const char *s, size_t n) {
    int count = 0;
    for (size_t i = 0; i < n; i++) count += (s[i] & 0xc0) != 0x80;
    return count;
}

// All ways to cut a piece into two others.
static int add_cuts(Cuts *c, const SentencePiece *piece) {
    for (size_t i = 1; i < piece->len; i++) {
        if ((piece->s[i] & 0xc0) == 0x80) continue;       // inside a character
        if (!find_piece(c, piece->s, i)) continue;
        if (!find_piece(c, piece->s + i, piece->len - i)) continue;
        if (reserve(&c->cut, &c->capacity, c->num_cuts + 1, sizeof *c->cut) < 0) return -1;
        c->cut[c->num_cuts] = (Cut){
            .piece = piece, .left_len = i, .number = c->num_cuts,
            .left_characters = characters_of(piece->s, i),
            .right_characters = characters_of(piece->s + i, piece->len - i),
        };
        c->num_cuts++;
    }
    return 0;
}

void sentencepiece_cuts_free(Cuts *c) {
    free(c->by_name);
    free(c->cut);
}

// Of all pieces that a text may become by merging.
int sentencepiece_cuts(Cuts *c, const SentencePieces *p) {
    *c = (Cuts){.by_name = allocate(p->n, sizeof *c->by_name)};
    if (!c->by_name) return -1;
    for (size_t i = 0; i < p->n; i++) {
        if (p->piece[i].type == SP_NORMAL) c->by_name[c->n++] = &p->piece[i];
    }
    qsort(c->by_name, c->n, sizeof *c->by_name, compare_names);
    for (size_t i = 0; i < p->n; i++) {
        if (p->piece[i].type == SP_NORMAL && add_cuts(c, &p->piece[i]) < 0) return -1;
    }
    if (c->num_cuts) qsort(c->cut, c->num_cuts, sizeof *c->cut, compare_cuts);
    return 0;
}

// ---------------------------------------------------------------------------------- tokenizer.json

// Control pieces and the unknown one are special, those that a user defined are added.
static int write_added(Buffer *out, const SentencePieces *p) {
    const char *comma = "";
    for (size_t i = 0; i < p->n; i++) {
        const SentencePiece *piece = &p->piece[i];
        const int special = piece->type == SP_CONTROL || piece->type == SP_UNKNOWN;
        if (!special && piece->type != SP_USER_DEFINED) continue;
        if (buffer_printf(out, "%s\n    {\"id\": %zu, \"content\": ", comma, i) < 0) return -1;
        if (json_quote(out, piece->s, piece->len) < 0) return -1;
        if (buffer_printf(out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                          "\"normalized\": false, \"special\": %s}",
                          special ? "true" : "false") < 0) return -1;
        comma = ",";
    }
    return 0;
}

/* How a text is prepared: a mark before it, and for each space.  Hugging Face's converter has two
 * ways, the older of which puts the mark after added tokens and before spaces too. */
static int write_preparation(Buffer *out, const SentencePieces *p) {
    const char *replace = "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                          "\"content\": \"" MARK "\"}";
    if (p->dummy_prefix && p->only_at_start) {
        return buffer_printf(out, "  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": "
                             "\"Metaspace\", \"replacement\": \"" MARK "\", "
                             "\"prepend_scheme\": \"first\", \"split\": false},\n");
    }
    if (!p->dummy_prefix) {
        return buffer_printf(out, "  \"normalizer\": %s,\n  \"pre_tokenizer\": null,\n", replace);
    }
    return buffer_printf(out, "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": "
                         "[{\"type\": \"Prepend\", \"prepend\": \"" MARK "\"}, %s]},\n"
                         "  \"pre_tokenizer\": null,\n", replace);
}

static int write_decoder(Buffer *out, const SentencePieces *p) {
    const char *strip = p->dummy_prefix ? ", {\"type\": \"Strip\", \"content\": \" \", "
                                          "\"start\": 1, \"stop\": 0}" : "";
    return buffer_printf(out, "  \"post_processor\": null,\n"
                         "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
                         "\"Replace\", \"pattern\": {\"String\": \"" MARK "\"}, "
                         "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": "
                         "\"Fuse\"}%s]},\n", strip);
}

// Is it one by which a GGUF file fills an id that has no piece: unused, "[PAD32000]"?
static int is_filling(const SentencePieces *p, size_t id) {
    const SentencePiece *piece = &p->piece[id];
    char name[32];
    snprintf(name, sizeof name, "[PAD%zu]", id);
    return piece->type == SP_UNUSED && piece->len == strlen(name)
           && !memcmp(piece->s, name, piece->len);
}

static int write_model(Buffer *out, const SentencePieces *p, const Cuts *c) {
    const SentencePiece *unknown = NULL;
    const char *comma = "";
    for (size_t i = 0; i < p->n; i++) {
        if (p->piece[i].type == SP_UNKNOWN) unknown = &p->piece[i];
    }
    if (buffer_printf(out, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, "
                      "\"unk_token\": ") < 0) return -1;
    const int result = unknown ? json_quote(out, unknown->s, unknown->len)
                               : buffer_printf(out, "null");
    if (result < 0) return -1;
    if (buffer_printf(out, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                      "\"fuse_unk\": true, \"byte_fallback\": %s, \"ignore_merges\": false,\n"
                      "    \"vocab\": {", p->byte_fallback ? "true" : "false") < 0) return -1;
    for (size_t i = 0; i < p->n; i++) {
        if (is_filling(p, i)) continue;
        if (buffer_printf(out, "%s\n      ", comma) < 0) return -1;
        if (json_quote(out, p->piece[i].s, p->piece[i].len) < 0) return -1;
        if (buffer_printf(out, ": %zu", i) < 0) return -1;
        comma = ",";
    }
    if (buffer_printf(out, "\n    },\n    \"merges\": [") < 0) return -1;
    for (size_t i = 0; i < c->num_cuts; i++) {
        const Cut *cut = &c->cut[i];
        const char *s = cut->piece->s;
        if (buffer_printf(out, i ? ",\n      [" : "\n      [") < 0) return -1;
        if (json_quote(out, s, cut->left_len) < 0) return -1;
        if (buffer_printf(out, ", ") < 0) return -1;
        if (json_quote(out, s + cut->left_len, cut->piece->len - cut->left_len) < 0) return -1;
        if (buffer_printf(out, "]") < 0) return -1;
    }
    return buffer_printf(out, "\n    ]\n  }\n}\n");
}

// Appends the tokenizer.json of these pieces.  0, or -1 after fail().
int sentencepiece_json(Buffer *out, const SentencePieces *p, const char *path) {
    Cuts c = {0};
    int result = -1;
    if (check_pieces(p, path) < 0) return -1;
    if (sentencepiece_cuts(&c, p) < 0) goto done;
    if (buffer_printf(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                      "  \"padding\": null,\n  \"added_tokens\": [") < 0) goto done;
    if (write_added(out, p) < 0 || buffer_printf(out, "\n  ],\n") < 0) goto done;
    if (write_preparation(out, p) < 0 || write_decoder(out, p) < 0) goto done;
    if (write_model(out, p, &c) < 0) goto done;
    result = 0;
done:
    sentencepiece_cuts_free(&c);
    return result;
}

/* *legacy: "legacy" of the tokenizer_config.json beside a .model file, 1 or 0, -1 where it is not
 * said.  False asks for a space only at the very beginning, true after added tokens too.  Where it
 * is not said transformers 4 takes true, as SentencePiece prepares each text between them, and 5
 * takes false for a LlamaTokenizer: here it is true.  0, or -1 after fail(). */
int sentencepiece_legacy(int *legacy, const char *path) {
    Json settings = {0};
    *legacy = -1;
    const int result = json_load_beside(&settings, path, "tokenizer_config.json");
    if (result == 0) {
        const JsonType type = json_type(&settings, json_get(&settings, 0, "legacy"));
        if (type == JSON_TRUE) *legacy = 1;
        if (type == JSON_FALSE) *legacy = 0;
    }
    json_free(&settings);
    return result;
}

// Appends the tokenizer.json of a .model file, as "legacy" asks for.  0, or -1 after fail().
int sentencepiece_text(Buffer *out, const char *path) {
    // what is not in the file has the proto's default
    SentencePieces p = {.model_type = 1, .dummy_prefix = 1, .removes_spaces = 1,
                        .escapes_spaces = 1, .normalizer = ""};
    Buffer file = {0};
    int legacy, result = -1;
    if (file_read(&file, path) < 0) goto done;
    if (sentencepiece_legacy(&legacy, path) < 0) goto done;
    p.only_at_start = legacy == 0;
    const unsigned char *bytes = (const unsigned char *)file.data;
    Message m = {.p = bytes, .end = bytes + file.len, .path = path};
    if (read_model(&p, &m) < 0) goto done;
    result = sentencepiece_json(out, &p, path);
done:
    free(p.piece);
    buffer_free(&file);
    return result;
}

#endif

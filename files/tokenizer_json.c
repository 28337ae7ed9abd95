/* tokenizer_json.c - Hugging Face's tokenizer.json: a byte-level BPE tokenizer read from it, and
 * written to it.  What it asks for and is not done here is refused by name.  */
#ifndef TOKENIZER_JSON_C
#define TOKENIZER_JSON_C
#include "../tokenizer.c"

int tokenizer_load(Tokenizer *t, const char *path);
int tokenizer_json(const Tokenizer *t, Buffer *out);

// ----------------------------------------------------------------------------------------- reading

// Is every character of s one of GPT-2's alphabet?  s is UTF-8, or json_parse had refused it.
static int is_in_alphabet(const Alphabet *alphabet, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t code = 0;
        i += (size_t)utf8_decode(s + i, n - i, &code);
        if (alphabet_byte(alphabet, code) < 0) return 0;
    }
    return 1;
}

// Appends the bytes that s, in the alphabet, stands for.
static int append_bytes(Buffer *out, const Alphabet *alphabet, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t code = 0;
        i += (size_t)utf8_decode(s + i, n - i, &code);
        const char byte = (char)alphabet_byte(alphabet, code);
        if (buffer_append(out, &byte, 1) < 0) return -1;
    }
    return 0;
}

// Is this part of that type?
static int is_type(const Json *j, int part, const char *type) {
    return json_equal(j, json_get(j, part, "type"), type);
}

// Appends the type of a part, and of a Sequence those of its members.
static int append_type(Buffer *out, const Json *j, int part, const char *members) {
    const int type = json_get(j, part, "type"), list = json_get(j, part, members);
    const int is_named = json_type(j, type) == JSON_STRING;
    const char *name = is_named ? json_string(j, type) : "without a type";
    if (buffer_printf(out, "%.40s", name) < 0) return -1;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (buffer_printf(out, i == json_first(j, list) ? " of " : ", ") < 0) return -1;
        if (append_type(out, j, i, members) < 0) return -1;
    }
    return 0;
}

// A part such as the normalizer that is not what we know: refused by its types.
static int refuse_part(const Json *j, int part, const char *name, const char *members,
                       const char *known, const char *path) {
    Buffer types = {0};
    if (append_type(&types, j, part, members) == 0) {
        fail(EX_DATAERR, "%s: the %s is %.200s; only %s is known here", path, name, types.data,
             known);
    }
    buffer_free(&types);
    return -1;
}

// The only part of a Sequence of one; else the part itself.
static int single_part(const Json *j, int part, const char *members) {
    const int list = json_get(j, part, members);
    return is_type(j, part, "Sequence") && json_count(j, list) == 1 ? json_first(j, list) : part;
}

// The model: BPE, and of its keys only those that are read here or switched off.
static int check_model(const Json *j, const char *path) {
    static const char *const known[] = {
        "type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback",
    };
    const int model = json_get(j, 0, "model");
    if (json_type(j, model) != JSON_OBJECT) {
        return fail(EX_DATAERR, "%s: it has no \"model\" object", path);
    }
    if (json_get(j, model, "type") >= 0 && !is_type(j, model, "BPE")) {
        return refuse_part(j, model, "model", "", "BPE", path);
    }
    for (int i = json_first(j, model); i >= 0; i = json_next(j, i)) {
        const int is_zero = json_type(j, i) == JSON_NUMBER && json_number(j, i) == 0;
        int is_known = json_off(j, i) || is_zero;         // "dropout" may be 0
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (!strcmp(known[k], json_key(j, i))) is_known = 1;
        }
        if (!is_known) {
            return fail(EX_DATAERR, "%s: the model has %.40s, which is not known here", path,
                        json_key(j, i));
        }
    }
    return 0;
}

// NFC, none, or a Sequence of such.
static int check_normalizer(Tokenizer *t, const Json *j, int part, const char *path) {
    if (json_type(j, part) <= JSON_NULL) return 0;
    if (is_type(j, part, "NFC")) {
        if (!t->nfc && normal_form_init(&t->scratch_memory->normal_form) < 0) return -1;
        t->nfc = 1;
        return 0;
    }
    const int list = json_get(j, part, "normalizers");
    if (!is_type(j, part, "Sequence") || json_type(j, list) != JSON_ARRAY) {
        return refuse_part(j, part, "normalizer", "normalizers", "NFC", path);
    }
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (check_normalizer(t, j, i, path) < 0) return -1;
    }
    return 0;
}

// The pre_tokenizer cuts words: ByteLevel with GPT-2's pattern, alone or in a sequence of one.
static int check_pre_tokenizer(const Json *j, const char *path) {
    const char *members = "pretokenizers", *name = "pre_tokenizer";
    const int whole = json_get(j, 0, name), part = single_part(j, whole, members);
    if (!is_type(j, part, "ByteLevel")) {
        return refuse_part(j, whole, name, members, "ByteLevel alone", path);
    }
    if (json_type(j, json_get(j, part, "add_prefix_space")) != JSON_FALSE) {
        return fail(EX_DATAERR, "%s: the pre_tokenizer has add_prefix_space, which is not known "
                    "here", path);
    }
    const int use_regex = json_get(j, part, "use_regex");
    if (use_regex >= 0 && json_type(j, use_regex) != JSON_TRUE) {
        return fail(EX_DATAERR, "%s: the pre_tokenizer has use_regex false, which is not known "
                    "here", path);
    }
    return 0;
}

// All parts but the pieces and merges.
static int check_parts(Tokenizer *t, const Json *j, const char *path) {
    const int decoder = json_get(j, 0, "decoder");
    if (check_model(j, path) < 0) return -1;
    if (check_normalizer(t, j, json_get(j, 0, "normalizer"), path) < 0) return -1;
    if (check_pre_tokenizer(j, path) < 0) return -1;
    if (is_type(j, single_part(j, decoder, "decoders"), "ByteLevel")) return 0;
    return refuse_part(j, decoder, "decoder", "decoders", "ByteLevel", path);
}

typedef struct {                        // a piece that the files name
    const char *name;                   // NULL: none has this id
    size_t len;
    int flags;                          // PIECE_ flags
} NamedPiece;

typedef struct {
    NamedPiece *piece;                  // (n) by id, with room for all
    size_t n;
    int64_t in_vocab, last_added;       // pieces of the vocabulary; the largest id of the others
} NamedPieces;

static int same_name(const NamedPiece *p, const char *name, size_t len) {
    return p->name && p->len == len && !memcmp(p->name, name, len);
}

// The vocabulary uses each id once.
static int collect_vocab(NamedPieces *p, const Json *j, const char *path) {
    const int vocab = json_get(j, json_get(j, 0, "model"), "vocab");
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        int64_t id;
        if (!json_integer(j, i, &id) || id < 0 || (size_t)id >= p->n || p->piece[id].name) {
            return fail(EX_DATAERR, "%s: the id of \"%.40s\" is not one of 0 to %zu, each used "
                        "once", path, json_key(j, i), p->n - 1);
        }
        p->piece[id] = (NamedPiece){.name = json_key(j, i), .len = json_key_length(j, i),
                                    .flags = PIECE_IN_VOCAB};
    }
    return 0;
}

// The flags of an added token: {"content": "<|endoftext|>", "special": true, ...}
static int added_flags(const Json *j, int token) {
    static const struct { const char *name; int flag; } options[] = {
        {.name = "special",     .flag = PIECE_SPECIAL},
        {.name = "normalized",  .flag = PIECE_NORMALIZED},
        {.name = "lstrip",      .flag = PIECE_LSTRIP},
        {.name = "rstrip",      .flag = PIECE_RSTRIP},
        {.name = "single_word", .flag = PIECE_SINGLE_WORD},
    };
    int flags = PIECE_ADDED;
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        const int option = json_get(j, token, options[k].name);
        if (json_type(j, option) == JSON_TRUE) flags |= options[k].flag;
    }
    return flags;
}

// The id of the piece of that name, which should be `id`; -1: there is none.
static int64_t named_id(const NamedPieces *p, const char *name, size_t len, int64_t id) {
    if (id >= 0 && id < (int64_t)p->n && same_name(&p->piece[id], name, len)) return id;
    for (size_t i = 0; i < p->n; i++) {
        if (same_name(&p->piece[i], name, len)) return (int64_t)i;
    }
    return -1;
}

/* An added token.  `tokenizers` does not take the id that the file says: it is that of a piece with
 * the same name, or else the next after the vocabulary and the tokens added before.  So they must
 * be one.                                                                                        */
static int collect_added_token(NamedPieces *p, const char *name, size_t len, int64_t id, int flags,
                               const char *path) {
    if (!len || len > MAX_ADDED) {
        return fail(EX_DATAERR, "%s: an added token is empty or more than %d bytes", path,
                    MAX_ADDED);
    }
    const int64_t next = p->last_added < p->in_vocab ? p->in_vocab : p->last_added + 1;
    const int64_t named = named_id(p, name, len, id), given = named >= 0 ? named : next;
    if (id != given) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has the id %" PRId64 ", but other "
                    "programs read it as %" PRId64 ": save the tokenizer again with "
                    "save_pretrained", path, name, id, given);
    }
    const int unknown = flags & (PIECE_LSTRIP | PIECE_RSTRIP | PIECE_SINGLE_WORD);
    if (unknown && !(flags & PIECE_SPECIAL)) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has lstrip, rstrip or single_word, "
                    "which are not known here", path, name);
    }
    NamedPiece *piece = &p->piece[id];
    if (piece->flags & PIECE_ADDED) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" is there twice", path, name);
    }
    if (piece->name && !same_name(piece, name, len)) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has the id of the piece \"%.40s\"",
                    path, name, piece->name);
    }
    *piece = (NamedPiece){.name = name, .len = len, .flags = piece->flags | flags};
    if (id >= (int64_t)p->n) p->n = (size_t)id + 1;
    if (id > p->last_added) p->last_added = id;
    return 0;
}

// Those of tokenizer.json.
static int collect_added_tokens(NamedPieces *p, const Json *j, const char *path) {
    const int added = json_get(j, 0, "added_tokens");
    for (int i = json_first(j, added); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        int64_t id = -1;
        json_integer(j, json_get(j, i, "id"), &id);
        if (collect_added_token(p, json_string(j, content), json_length(j, content), id,
                                added_flags(j, i), path) < 0) return -1;
    }
    return 0;
}

// A token that another file of the folder adds, if tokenizer.json has not.
static int collect_further_token(NamedPieces *p, const char *name, size_t len, int64_t id,
                                 int flags, const char *path) {
    const int64_t named = named_id(p, name, len, id);
    if (named >= 0 && named == id && p->piece[id].flags & PIECE_ADDED) return 0;
    return collect_added_token(p, name, len, id, flags, path);
}

// "added_tokens_decoder" of tokenizer_config.json: {"50257": {"content": "<|user|>", ...}, ...}
static int collect_from_settings(NamedPieces *p, const Json *j) {
    const char *path = "tokenizer_config.json";
    const int list = json_get(j, 0, "added_tokens_decoder");
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        const int64_t id = strtoll(json_key(j, i), NULL, 10);
        if (collect_further_token(p, json_string(j, content), json_length(j, content), id,
                                  added_flags(j, i), path) < 0) return -1;
    }
    return 0;
}

// The older added_tokens.json: {"<|user|>": 50257, ...}
static int collect_from_list(NamedPieces *p, const Json *j) {
    const char *path = "added_tokens.json";
    for (int i = json_first(j, 0); i >= 0; i = json_next(j, i)) {
        int64_t id = -1;
        json_integer(j, i, &id);
        if (collect_further_token(p, json_key(j, i), json_key_length(j, i), id,
                                  PIECE_ADDED | PIECE_NORMALIZED, path) < 0) return -1;
    }
    return 0;
}

typedef struct {                        // the files of a folder; all but the first may be empty
    Json tokenizer, settings, added;    // tokenizer.json, tokenizer_config.json, added_tokens.json
    const char *path;                   // of the first
} TokenizerFiles;

// added_tokens.json is read where tokenizer_config.json has no list of its own.
static int collect_pieces(NamedPieces *p, const TokenizerFiles *f) {
    if (collect_vocab(p, &f->tokenizer, f->path) < 0) return -1;
    if (collect_added_tokens(p, &f->tokenizer, f->path) < 0) return -1;
    if (json_get(&f->settings, 0, "added_tokens_decoder") >= 0) {
        return collect_from_settings(p, &f->settings);
    }
    return collect_from_list(p, &f->added);
}

// Is the name of an added token in the form that a text is put in before it is looked for?
static int check_normal(const Tokenizer *t, const NamedPiece *piece, const char *path) {
    Buffer *normal = &t->scratch_memory->normal;
    if (!t->nfc || !(piece->flags & PIECE_NORMALIZED)) return 0;
    normal->len = 0;
    if (normal_form_apply(&t->scratch_memory->normal_form, piece->name, piece->len, normal) < 0) {
        return -1;
    }
    if (normal->len == piece->len && !memcmp(normal->data, piece->name, piece->len)) return 0;
    return fail(EX_DATAERR, "%s: the added token \"%.40s\" is not in normal form C", path,
                piece->name);
}

// Added tokens are named as they are, the others in GPT-2's alphabet; an id that has no name is a
// piece that never occurs.
static int read_pieces(Tokenizer *t, const NamedPieces *p, const char *path) {
    const Alphabet alphabet = alphabet_make();
    Buffer bytes = {0};
    int result = -1;
    for (size_t i = 0; i < p->n; i++) {
        const NamedPiece *piece = &p->piece[i];
        if (!piece->name || piece->flags & PIECE_ADDED) {
            if (tokenizer_add_piece(t, piece->name, piece->len, piece->flags) < 0) goto done;
            if (piece->name && check_normal(t, piece, path) < 0) goto done;
            if (piece->name && tokenizer_add_to_trie(t, (int)i, path) < 0) goto done;
            continue;
        }
        if (!piece->len || !is_in_alphabet(&alphabet, piece->name, piece->len)) {
            fail(EX_DATAERR, "%s: the piece \"%.40s\" is not in GPT-2's byte alphabet", path,
                 piece->name);
            goto done;
        }
        bytes.len = 0;
        if (append_bytes(&bytes, &alphabet, piece->name, piece->len) < 0) goto done;
        if (tokenizer_add_piece(t, bytes.data, bytes.len, piece->flags) < 0) goto done;
    }
    result = 0;

done:
    buffer_free(&bytes);
    return result;
}

typedef struct {                        // a merge as the file writes it, in the alphabet
    const char *a, *b;
    size_t len_a, len_b;                // 0: not two pieces
} WrittenMerge;

// "a b" or ["a", "b"]
static WrittenMerge split_merge(const Json *j, int node) {
    WrittenMerge m = {.a = json_string(j, node), .b = ""};
    if (json_count(j, node) == 2) {
        const int first = json_first(j, node), second = json_next(j, first);
        m.a = json_string(j, first);
        m.b = json_string(j, second);
        m.len_a = json_length(j, first);
        m.len_b = json_length(j, second);
        return m;
    }
    const char *space = memchr(m.a, ' ', json_length(j, node));
    if (!space) return m;
    m.b = space + 1;
    m.len_a = (size_t)(space - m.a);
    m.len_b = json_length(j, node) - m.len_a - 1;
    return m;
}

// a, b and ab are pieces.  `bytes` is scratch.
static int read_merge(Tokenizer *t, const WrittenMerge *m, const Alphabet *alphabet, Buffer *bytes,
                      const char *path) {
    int left = -1, right = -1, id = -1;
    if (m->len_a && m->len_b && is_in_alphabet(alphabet, m->a, m->len_a)
        && is_in_alphabet(alphabet, m->b, m->len_b)) {
        bytes->len = 0;
        if (append_bytes(bytes, alphabet, m->a, m->len_a) < 0) return -1;
        const size_t split = bytes->len;
        if (append_bytes(bytes, alphabet, m->b, m->len_b) < 0) return -1;
        left = tokenizer_find_in_vocab(t, bytes->data, split);
        right = tokenizer_find_in_vocab(t, bytes->data + split, bytes->len - split);
        id = tokenizer_find_in_vocab(t, bytes->data, bytes->len);
    }
    if (left < 0 || right < 0 || id < 0 || tokenizer_find_merge(t, left, right) >= 0) {
        return fail(EX_DATAERR, "%s: merge %d, \"%.40s\", is not two pieces that make a third, or "
                    "stands twice", path, t->num_merges, m->a);
    }
    tokenizer_add_merge(t, left, right, id);
    return 0;
}

// All merges, the one learnt first is the first.
static int read_merges(Tokenizer *t, const Json *j, int merges, const char *path) {
    const Alphabet alphabet = alphabet_make();
    Buffer bytes = {0};
    int result = 0;
    for (int i = json_first(j, merges); i >= 0; i = json_next(j, i)) {
        const WrittenMerge m = split_merge(j, i);
        result = read_merge(t, &m, &alphabet, &bytes, path);
        if (result < 0) break;
    }
    buffer_free(&bytes);
    return result;
}

// One more than the largest id of the vocabulary; -1 after fail().
static int64_t count_ids(const Json *j, int vocab, const char *path) {
    const int64_t named = json_count(j, vocab);
    int64_t n = named, id;
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        if (json_integer(j, i, &id) && id >= n) n = id + 1;
    }
    if (n > named + MAX_HOLES) {
        return fail(EX_DATAERR, "%s: ids reach %" PRId64 ", but only %" PRId64 " have a piece",
                    path, n - 1, named);
    }
    return n;
}

// With "byte_fallback" a byte without a piece becomes a piece such as <0x0A>: it is not done here.
static int check_bytes(Tokenizer *t, const Json *j, const char *path) {
    const int model = json_get(j, 0, "model");
    t->has_unknown = !json_off(j, json_get(j, model, "unk_token"));
    if (json_off(j, json_get(j, model, "byte_fallback"))) return 0;
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        if (t->byte_id[b] >= 0 || tokenizer_find(t, name, strlen(name)) < 0) continue;
        return fail(EX_DATAERR, "%s: the model has byte_fallback, which is not known here", path);
    }
    return 0;
}

// tokenizer_config.json may ask for a space before a text.
static int check_settings_of_tokenizer(const Json *j) {
    if (json_off(j, json_get(j, 0, "add_prefix_space"))) return 0;
    return fail(EX_DATAERR, "tokenizer_config.json: add_prefix_space is not known here");
}

// The parsed files.  0, or -1 after fail(); then t is empty.
static int read_tokenizer(Tokenizer *t, const TokenizerFiles *f) {
    const Json *j = &f->tokenizer;
    const int model = json_get(j, 0, "model"), vocab = json_get(j, model, "vocab");
    const int merges = json_get(j, model, "merges");
    const int added = json_count(j, json_get(j, 0, "added_tokens"))
                    + json_count(&f->settings, json_get(&f->settings, 0, "added_tokens_decoder"))
                    + json_count(&f->added, 0);
    if (check_model(j, f->path) < 0) return -1;
    if (json_type(j, vocab) != JSON_OBJECT || json_type(j, merges) != JSON_ARRAY
        || !json_count(j, vocab)) {
        return fail(EX_DATAERR, "%s: the model needs a \"vocab\" object and a \"merges\" list",
                    f->path);
    }
    const int64_t n = count_ids(j, vocab, f->path);
    if (n < 0) return -1;

    const size_t most = (size_t)n + (size_t)added;
    NamedPieces p = {.piece = allocate(most, sizeof *p.piece), .n = (size_t)n,
                     .in_vocab = json_count(j, vocab), .last_added = -1};
    int result = -1;
    if (!p.piece) goto done;
    if (tokenizer_init(t, most, (size_t)json_count(j, merges)) < 0) goto done;
    if (check_parts(t, j, f->path) < 0) goto done;
    if (check_settings_of_tokenizer(&f->settings) < 0) goto done;
    if (collect_pieces(&p, f) < 0) goto done;
    if (read_pieces(t, &p, f->path) < 0 || read_merges(t, j, merges, f->path) < 0) goto done;
    tokenizer_find_ids(t);
    if (check_bytes(t, j, f->path) < 0) goto done;
    result = 0;

done:
    free(p.piece);
    if (result < 0) tokenizer_free(t);
    return result;
}

static int fail_without_file(const char *path) {
    return fail(EX_NOINPUT, "%s: %s; AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) "
                "makes one of vocab.json and merges.txt, or of tokenizer.model", path,
                strerror(ENOENT));
}

/* Reads a tokenizer.json, and from the files beside it, if they are there, which tokens are added.
 * What it asks for and is not done here is refused by name; its post_processor, truncation and
 * padding are not read, because nothing is put around a text.  0, or -1 after fail(); then t is
 * empty. */
int tokenizer_load(Tokenizer *t, const char *path) {
    TokenizerFiles f = {.path = path};
    struct stat st;
    int result = -1;
    memset(t, 0, sizeof *t);
    if (stat(path, &st) < 0 && errno == ENOENT) return fail_without_file(path);
    if (json_load(&f.tokenizer, path) < 0) goto done;
    if (json_load_beside(&f.settings, path, "tokenizer_config.json") < 0) goto done;
    if (json_load_beside(&f.added, path, "added_tokens.json") < 0) goto done;
    result = read_tokenizer(t, &f);

done:
    json_free(&f.tokenizer);
    json_free(&f.settings);
    json_free(&f.added);
    return result;
}

// ----------------------------------------------------------------------------------------- writing

// Piece id as a JSON string: an added token as it is, another in GPT-2's alphabet.
static int write_piece(const Tokenizer *t, int id, const Alphabet *alphabet, Buffer *out) {
    const char *s = tokenizer_piece(t, id);
    const size_t len = tokenizer_piece_len(t, id);
    if (t->flags_memory[id] & PIECE_ADDED) return json_quote(out, s, len);
    if (buffer_append(out, "\"", 1) < 0) return -1;
    for (size_t i = 0; i < len; i++) {
        char character[4];
        const uint32_t code = alphabet->code[(unsigned char)s[i]];
        const int bytes = utf8_encode(character, code);
        if ((code == '"' || code == '\\') && buffer_append(out, "\\", 1) < 0) return -1;
        if (buffer_append(out, character, (size_t)bytes) < 0) return -1;
    }
    return buffer_append(out, "\"", 1);
}

static const char *truth(int flag) { return flag ? "true" : "false"; }

static int write_added_token(const Tokenizer *t, int id, const Alphabet *alphabet, Buffer *out) {
    const int f = t->flags_memory[id];
    if (buffer_printf(out, "\n    {\"id\": %d, \"content\": ", id) < 0) return -1;
    if (write_piece(t, id, alphabet, out) < 0) return -1;
    return buffer_printf(out, ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, "
                         "\"normalized\": %s, \"special\": %s}",
                         truth(f & PIECE_SINGLE_WORD), truth(f & PIECE_LSTRIP),
                         truth(f & PIECE_RSTRIP), truth(f & PIECE_NORMALIZED),
                         truth(f & PIECE_SPECIAL));
}

static int write_added_tokens(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    const char *comma = "";
    for (int id = 0; id < t->vocab_size; id++) {
        if (!(t->flags_memory[id] & PIECE_ADDED)) continue;
        if (buffer_printf(out, "%s", comma) < 0) return -1;
        if (write_added_token(t, id, alphabet, out) < 0) return -1;
        comma = ",";
    }
    return 0;
}

static int write_vocab(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    const char *comma = "";
    for (int id = 0; id < t->vocab_size; id++) {
        if (!(t->flags_memory[id] & PIECE_IN_VOCAB)) continue;
        if (buffer_printf(out, "%s\n      ", comma) < 0) return -1;
        if (write_piece(t, id, alphabet, out) < 0) return -1;
        if (buffer_printf(out, ": %d", id) < 0) return -1;
        comma = ",";
    }
    return 0;
}

static int write_merges(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    for (int i = 0; i < t->num_merges; i++) {
        const Merge *m = &t->merge_memory[i];
        if (buffer_printf(out, "%s\n      [", i ? "," : "") < 0) return -1;
        if (write_piece(t, m->left, alphabet, out) < 0) return -1;
        if (buffer_printf(out, ", ") < 0) return -1;
        if (write_piece(t, m->right, alphabet, out) < 0) return -1;
        if (buffer_printf(out, "]") < 0) return -1;
    }
    return 0;
}

// Appends a tokenizer.json: the same bytes for the same pieces and merges.  0, or -1 after fail().
int tokenizer_json(const Tokenizer *t, Buffer *out) {
    static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                                     "\"trim_offsets\": true, \"use_regex\": true}";
    const char *normalizer = t->nfc ? "{\"type\": \"NFC\"}" : "null";
    const Alphabet alphabet = alphabet_make();
    if (buffer_printf(out, "{\n"
                      "  \"version\": \"1.0\",\n"
                      "  \"truncation\": null,\n"
                      "  \"padding\": null,\n"
                      "  \"added_tokens\": [") < 0) return -1;
    if (write_added_tokens(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n  ],\n"
                      "  \"normalizer\": %s,\n"
                      "  \"pre_tokenizer\": %s,\n"
                      "  \"post_processor\": null,\n"
                      "  \"decoder\": %s,\n"
                      "  \"model\": {\n"
                      "    \"type\": \"BPE\",\n"
                      "    \"dropout\": null,\n"
                      "    \"unk_token\": null,\n"
                      "    \"continuing_subword_prefix\": null,\n"
                      "    \"end_of_word_suffix\": null,\n"
                      "    \"fuse_unk\": false,\n"
                      "    \"byte_fallback\": false,\n"
                      "    \"ignore_merges\": false,\n"
                      "    \"vocab\": {",
                      normalizer, byte_level, byte_level) < 0) return -1;
    if (write_vocab(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n    },\n    \"merges\": [") < 0) return -1;
    if (write_merges(t, &alphabet, out) < 0) return -1;
    return buffer_printf(out, "\n    ]\n  }\n}\n");
}
#endif

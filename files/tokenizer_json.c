/* tokenizer_json.c - Hugging Face's tokenizer.json: a BPE tokenizer read from it, and written to
 * it.  What it asks for and is not done here is refused by name.
 *
 * Where a folder has none, one is made of SentencePiece's tokenizer.model (sentencepiece.c), of
 * GPT-2's vocab.json and merges.txt, or of what a GGUF file says (gguf_tokenizer.c). */
#ifndef TOKENIZER_JSON_C
#define TOKENIZER_JSON_C
#include "../tokenizer.c"
#include "gguf_tokenizer.c"
#include "merges_txt.c"
#include "sentencepiece.c"

int tokenizer_load(Tokenizer *t, const char *path);
int tokenizer_file_text(Buffer *out, const char *path);      // the tokenizer.json that path becomes
int tokenizer_file(char path[PATH_SIZE], const char *dir);  // which file of a folder that is
int tokenizer_json(const Tokenizer *t, Buffer *out);
int tokenizer_json_puts_bos(const Json *j, int post_processor);     // a token before a text?

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
        fail(EX_DATAERR, "%s: the %s is %.200s, which is not known here: a tokenizer is needed "
             "that has only %s there", path, name, types.data, known);
    }
    buffer_free(&types);
    return -1;
}

// Is a setting true, false, or as `absent` says?  -1: it is something else.
static int read_truth(const Json *j, int object, const char *key, int absent) {
    const int v = json_get(j, object, key);
    switch (json_type(j, v)) {
    case JSON_NONE:
    case JSON_NULL:  return absent;
    case JSON_TRUE:  return 1;
    case JSON_FALSE: return 0;
    default:         return -1;
    }
}

static int check_truth(const Json *j, int object, const char *key, const char *path) {
    if (read_truth(j, object, key, 0) >= 0) return 0;
    return fail(EX_DATAERR, "%s: \"%s\" must be true or false", path, key);
}

// What stands around the model: parts of which only the normalizer, pre_tokenizer and decoder are
// read, by the functions below.
static int check_others(const Json *j, const char *path) {
    static const char *const objects[] = {"truncation", "padding", "post_processor"};
    const int version = json_get(j, 0, "version");
    if (version >= 0 && !json_equal(j, version, "1.0")) {
        return fail(EX_DATAERR, "%s: \"version\" must be \"1.0\"", path);
    }
    for (size_t k = 0; k < sizeof objects / sizeof *objects; k++) {
        const JsonType type = json_type(j, json_get(j, 0, objects[k]));
        if (type <= JSON_NULL || type == JSON_OBJECT) continue;
        return fail(EX_DATAERR, "%s: \"%s\" must be an object or null", path, objects[k]);
    }
    return 0;
}

// A setting of the model that would change how texts are cut: is it off?
static int is_switched_off(const Json *j, int v) {
    const char *key = json_key(j, v);
    const int is_number = !strcmp(key, "dropout");
    const int is_string = !strcmp(key, "continuing_subword_prefix")
                          || !strcmp(key, "end_of_word_suffix");
    if (json_type(j, v) == JSON_NULL) return 1;
    if (is_number) return json_type(j, v) == JSON_NUMBER && json_number(j, v) == 0;
    return is_string ? json_equal(j, v, "") : json_off(j, v);
}

// The model: BPE, and of its keys only those that are read here or switched off.
static int check_model(const Json *j, const char *path) {
    static const char *const known[] = {
        "type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback", "ignore_merges",
    };
    const int model = json_get(j, 0, "model");
    if (json_type(j, model) != JSON_OBJECT) {
        return fail(EX_DATAERR, "%s: it has no \"model\" object", path);
    }
    const JsonType unknown = json_type(j, json_get(j, model, "unk_token"));
    if (unknown != JSON_NONE && unknown != JSON_NULL && unknown != JSON_STRING) {
        return fail(EX_DATAERR, "%s: \"unk_token\" must be a string or null", path);
    }
    if (json_get(j, model, "type") >= 0 && !is_type(j, model, "BPE")) {
        return refuse_part(j, model, "model", "", "BPE", path);
    }
    for (int i = json_first(j, model); i >= 0; i = json_next(j, i)) {
        int is_known = is_switched_off(j, i);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (!strcmp(known[k], json_key(j, i))) is_known = 1;
        }
        if (!is_known) {
            return fail(EX_DATAERR, "%s: the model has %.40s, which is not known here", path,
                        json_key(j, i));
        }
    }
    static const char *const truths[] = {"ignore_merges", "fuse_unk", "byte_fallback"};
    for (size_t k = 0; k < sizeof truths / sizeof *truths; k++) {
        if (check_truth(j, model, truths[k], path) < 0) return -1;
    }
    return 0;
}

// ---- the normalizer

static const char known_normalizers[] =
    "NFC, Prepend and Replace of short strings, or a Sequence of them,";

// The string of a step.  Is it one, of 1 to STEP_TEXT - 1 bytes and without a 0?
static int step_text(char to[STEP_TEXT], const Json *j, int v) {
    const size_t n = json_length(j, v);
    if (json_type(j, v) != JSON_STRING || n == 0 || n >= STEP_TEXT) return 0;
    memcpy(to, json_string(j, v), n + 1);
    return strlen(to) == n;
}

// One of them.  Is it known?
static int read_normal_step(NormalStep *step, const Json *j, int part) {
    *step = (NormalStep){.kind = NORMAL_NFC};
    if (is_type(j, part, "NFC")) return 1;
    if (is_type(j, part, "Prepend")) {
        step->kind = NORMAL_PREPEND;
        return step_text(step->to, j, json_get(j, part, "prepend"));
    }
    const int content = json_get(j, part, "content");
    step->kind = NORMAL_REPLACE;
    if (!is_type(j, part, "Replace")) return 0;
    if (!step_text(step->from, j, json_get(j, json_get(j, part, "pattern"), "String"))) return 0;
    return json_equal(j, content, "") || step_text(step->to, j, content);
}

static int read_normalizer(Tokenizer *t, const Json *j, int part, const char *path) {
    const char *name = "normalizer", *members = "normalizers";
    const int list = json_get(j, part, members);
    if (json_type(j, part) <= JSON_NULL) return 0;
    if (is_type(j, part, "Sequence") && json_type(j, list) == JSON_ARRAY) {
        for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
            if (read_normalizer(t, j, i, path) < 0) return -1;
        }
        return 0;
    }
    NormalStep step;
    if (t->num_normal == MAX_STEPS || !read_normal_step(&step, j, part)) {
        return refuse_part(j, part, name, members, known_normalizers, path);
    }
    NormalForm *form = &t->scratch_memory->normal_form;
    if (step.kind == NORMAL_NFC && !form->class_memory && normal_form_init(form) < 0) return -1;
    t->normal[t->num_normal++] = step;
    return 0;
}

// ---- the pre_tokenizer

static const char known_pre_tokenizers[] =
    "Split by the pattern of GPT-2, LLaMA-3 or Qwen2, Digits, and at the end ByteLevel or "
    "Metaspace with U+2581";

// Split {"pattern": {"Regex": ...}}: every character is in a match, so that all that matters is
// that matches stand by themselves.
static int read_split(Tokenizer *t, const Json *j, int part) {
    const int pattern = json_get(j, json_get(j, part, "pattern"), "Regex");
    const int invert = read_truth(j, part, "invert", 0), how = json_get(j, part, "behavior");
    const int isolated = json_equal(j, how, "Isolated") && invert == 0;
    const int removed = json_equal(j, how, "Removed") && invert == 1;
    WordEnd *end = word_pattern(json_string(j, pattern));
    if (!end || !(isolated || removed)) return -1;
    return tokenizer_add_step(t, (WordStep){.kind = STEP_WORDS, .end = end});
}

static int read_digits(Tokenizer *t, const Json *j, int part) {
    const int each = read_truth(j, part, "individual_digits", 0);
    if (each < 0) return -1;
    WordEnd *end = each ? word_end_digit : word_end_digits;
    return tokenizer_add_step(t, (WordStep){.kind = STEP_WORDS, .end = end});
}

static int read_byte_level(Tokenizer *t, const Json *j, int part) {
    const int space = read_truth(j, part, "add_prefix_space", 1);
    const int pattern = read_truth(j, part, "use_regex", 1);
    const int trims = read_truth(j, part, "trim_offsets", 1);       // of no use here
    if (space < 0 || pattern < 0 || trims < 0) return -1;
    t->of_characters = 0;
    t->strips_space |= space;
    if (space && tokenizer_add_step(t, (WordStep){.kind = STEP_SPACE}) < 0) return -1;
    if (!pattern) return 0;
    return tokenizer_add_step(t, (WordStep){.kind = STEP_WORDS, .end = word_end_gpt2});
}

// Where a Metaspace puts a mark, or -1.  An older form has "add_prefix_space" for "prepend_scheme".
static int read_prepend(const Json *j, int part) {
    static const char *const schemes[] = {
        [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never",
    };
    const int scheme = json_get(j, part, "prepend_scheme");
    const int space = read_truth(j, part, "add_prefix_space", 1);
    int prepend = scheme < 0 ? PREPEND_ALWAYS : -1;
    for (int k = 0; k < 3; k++) {
        if (json_equal(j, scheme, schemes[k])) prepend = k;
    }
    if (!json_equal(j, json_get(j, part, "replacement"), MARK) || space < 0) return -1;
    return prepend >= 0 && !space ? PREPEND_NEVER : prepend;
}

static int read_metaspace(Tokenizer *t, const Json *j, int part) {
    const int split = read_truth(j, part, "split", 1), prepend = read_prepend(j, part);
    if (prepend < 0 || split < 0) return -1;
    const WordStep step = {.kind = STEP_METASPACE, .prepend = (unsigned)prepend};
    if (tokenizer_add_step(t, step) < 0) return -1;
    if (!split) return 0;
    return tokenizer_add_step(t, (WordStep){.kind = STEP_WORDS, .end = word_end_mark});
}

// Split at spaces, as Gemma's has it, where the normalizer has left none: it splits nothing.
static int splits_nothing(const Tokenizer *t, const Json *j, int part) {
    int left = 1;                       // are there spaces?
    for (int i = 0; i < t->num_normal; i++) {
        const NormalStep *s = &t->normal[i];
        if (s->kind == NORMAL_REPLACE && !strcmp(s->from, " ")) left = 0;
        if (s->kind != NORMAL_NFC && strchr(s->to, ' ')) left = 1;
    }
    const int pattern = json_get(j, json_get(j, part, "pattern"), "String");
    return !left && is_type(j, part, "Split") && json_equal(j, pattern, " ");
}

/* One member, or the members of a Sequence; *last: nothing may follow what was read.  Bytes or
 * marks, which the last one makes of a text, are no text for another. */
static int read_pre_tokenizer_part(Tokenizer *t, const Json *j, int part, int *last) {
    const int list = json_get(j, part, "pretokenizers");
    if (is_type(j, part, "Sequence") && json_type(j, list) == JSON_ARRAY) {
        for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
            if (read_pre_tokenizer_part(t, j, i, last) < 0) return -1;
        }
        return 0;
    }
    if (splits_nothing(t, j, part)) return 0;
    if (*last) return -1;
    if (is_type(j, part, "Split")) return read_split(t, j, part);
    if (is_type(j, part, "Digits")) return read_digits(t, j, part);
    *last = 1;
    if (is_type(j, part, "ByteLevel")) return read_byte_level(t, j, part);
    return is_type(j, part, "Metaspace") ? read_metaspace(t, j, part) : -1;
}

// The pattern of a Split that is not known, in a part or its members; NULL: there is none.
static const char *unknown_pattern(const Json *j, int part) {
    const int list = json_get(j, part, "pretokenizers"), pattern = json_get(j, part, "pattern");
    const int regex = json_get(j, pattern, "Regex"), string = json_get(j, pattern, "String");
    const char *found = NULL;
    for (int i = json_first(j, list); i >= 0 && !found; i = json_next(j, i)) {
        found = unknown_pattern(j, i);
    }
    if (found || !is_type(j, part, "Split")) return found;
    if (regex < 0) return json_string(j, string);
    return word_pattern(json_string(j, regex)) ? NULL : json_string(j, regex);
}

static int read_pre_tokenizer(Tokenizer *t, const Json *j, const char *path) {
    const char *name = "pre_tokenizer";
    const int part = json_get(j, 0, name);
    int last = 0;
    t->of_characters = 1;
    if (json_type(j, part) <= JSON_NULL) return 0;
    if (read_pre_tokenizer_part(t, j, part, &last) == 0) return 0;
    const char *pattern = unknown_pattern(j, part);
    if (pattern) {
        return fail(EX_DATAERR, "%s: the pre_tokenizer splits by a pattern that is not known here, "
                    "%.200s: a tokenizer is needed that has only %s there", path, pattern,
                    known_pre_tokenizers);
    }
    return refuse_part(j, part, name, "pretokenizers", known_pre_tokenizers, path);
}

// ---- the decoder

// {"type": "Replace", "pattern": {"String": "U+2581"}, "content": " "}
static int makes_spaces(const Json *j, int part) {
    if (!is_type(j, part, "Replace") || !json_equal(j, json_get(j, part, "content"), " ")) return 0;
    return json_equal(j, json_get(j, json_get(j, part, "pattern"), "String"), MARK);
}

// {"type": "Strip", "content": " ", "start": 1, "stop": 0}
static int strips_space(const Json *j, int part) {
    int64_t start = 0, stop = 0;
    if (!json_integer(j, json_get(j, part, "start"), &start)) return 0;
    if (!json_integer(j, json_get(j, part, "stop"), &stop)) return 0;
    return is_type(j, part, "Strip") && json_equal(j, json_get(j, part, "content"), " ")
        && start == 1 && stop == 0;
}

// Of SentencePiece's kind: it makes spaces of marks.  *spaces: has it said so?
static int read_decoder_of_characters(Tokenizer *t, const Json *j, int part, int *spaces) {
    const int list = json_get(j, part, "decoders");
    if (is_type(j, part, "Sequence") && json_type(j, list) == JSON_ARRAY) {
        for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
            if (read_decoder_of_characters(t, j, i, spaces) < 0) return -1;
        }
        return 0;
    }
    if (is_type(j, part, "ByteFallback") || is_type(j, part, "Fuse")) return 0;
    if (strips_space(j, part)) {
        t->strips_space = 1;
        return 0;
    }
    *spaces = 1;
    if (makes_spaces(j, part)) return 0;
    const int prepend = is_type(j, part, "Metaspace") ? read_prepend(j, part) : -1;
    if (prepend < 0 || read_truth(j, part, "split", 1) < 0) return -1;
    if (prepend != PREPEND_NEVER) t->strips_space = 1;
    return 0;
}

// The decoder has the settings of the pre_tokenizer, but uses none.
static int check_byte_level(const Json *j, int part, const char *path) {
    static const char *const truths[] = {"add_prefix_space", "trim_offsets", "use_regex"};
    for (size_t k = 0; k < sizeof truths / sizeof *truths; k++) {
        if (check_truth(j, part, truths[k], path) < 0) return -1;
    }
    return 0;
}

// After the pre_tokenizer, which says what kind it is.
static int read_decoder(Tokenizer *t, const Json *j, const char *path) {
    const char *members = "decoders", *name = "decoder";
    const int whole = json_get(j, 0, name), list = json_get(j, whole, members);
    const int is_one = is_type(j, whole, "Sequence") && json_count(j, list) == 1;
    const int part = is_one ? json_first(j, list) : whole;
    int spaces = 0;
    if (!t->of_characters) {
        if (is_type(j, part, "ByteLevel")) return check_byte_level(j, part, path);
        return refuse_part(j, whole, name, members, "ByteLevel, as the pre_tokenizer,", path);
    }
    if (read_decoder_of_characters(t, j, whole, &spaces) == 0 && spaces) return 0;
    return refuse_part(j, whole, name, members, "Metaspace, or Replace of U+2581 by a space, "
                       "ByteFallback, Fuse and Strip of one space at the start,", path);
}

// ---- all parts but the pieces and merges

// Does the normalizer make marks of spaces?
static int makes_marks(const Tokenizer *t) {
    for (int i = 0; i < t->num_normal; i++) {
        const NormalStep *s = &t->normal[i];
        if (s->kind == NORMAL_REPLACE && !strcmp(s->from, " ") && !strcmp(s->to, MARK)) return 1;
    }
    for (int i = 0; i < t->num_steps; i++) {
        if (t->step[i].kind == STEP_METASPACE) return 1;
    }
    return 0;
}

static int read_parts(Tokenizer *t, const Json *j, const char *path) {
    const int model = json_get(j, 0, "model");
    t->ignore_merges = read_truth(j, model, "ignore_merges", 0);
    t->fuse_unknown = read_truth(j, model, "fuse_unk", 0);
    if (read_normalizer(t, j, json_get(j, 0, "normalizer"), path) < 0) return -1;
    if (read_pre_tokenizer(t, j, path) < 0) return -1;
    if (t->of_characters && !makes_marks(t)) {
        return fail(EX_DATAERR, "%s: neither is the pre_tokenizer ByteLevel or Metaspace, nor does "
                    "the normalizer Replace a space by U+2581: no such tokenizer is known here",
                    path);
    }
    return read_decoder(t, j, path);
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

// The flags of an added token: {"content": "<|endoftext|>", "special": true, ...}, or -1 after
// fail().
static int added_flags(const Json *j, int token, const char *path) {
    static const struct { const char *name; int flag; } options[] = {
        {.name = "special",     .flag = PIECE_SPECIAL},
        {.name = "normalized",  .flag = PIECE_NORMALIZED},
        {.name = "lstrip",      .flag = PIECE_LSTRIP},
        {.name = "rstrip",      .flag = PIECE_RSTRIP},
        {.name = "single_word", .flag = PIECE_SINGLE_WORD},
    };
    int flags = PIECE_ADDED;
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        if (check_truth(j, token, options[k].name, path) < 0) return -1;
        if (read_truth(j, token, options[k].name, 0)) flags |= options[k].flag;
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
    if (added >= 0 && json_type(j, added) != JSON_ARRAY && json_type(j, added) != JSON_NULL) {
        return fail(EX_DATAERR, "%s: \"added_tokens\" must be a list", path);
    }
    for (int i = json_first(j, added); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        int64_t id = -1;
        if (!json_integer(j, json_get(j, i, "id"), &id) || json_type(j, content) != JSON_STRING) {
            return fail(EX_DATAERR, "%s: \"added_tokens\" must be a list of {\"id\": a whole "
                        "number, \"content\": a string, ...}", path);
        }
        const int flags = added_flags(j, i, path);
        if (flags < 0) return -1;
        if (collect_added_token(p, json_string(j, content), json_length(j, content), id, flags,
                                path) < 0) return -1;
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
    int is_map = json_type(j, list) <= JSON_NULL || json_type(j, list) == JSON_OBJECT;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        const char *key = json_key(j, i);
        const int is_number = *key && strspn(key, "0123456789") == json_key_length(j, i);
        if (!is_number || json_type(j, json_get(j, i, "content")) != JSON_STRING) is_map = 0;
    }
    if (!is_map) {
        return fail(EX_DATAERR, "%s: \"added_tokens_decoder\" must be an object of ids with a "
                    "{\"content\": a string, ...} each", path);
    }
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        const int64_t id = strtoll(json_key(j, i), NULL, 10);
        const int flags = added_flags(j, i, path);
        if (flags < 0) return -1;
        if (collect_further_token(p, json_string(j, content), json_length(j, content), id, flags,
                                  path) < 0) return -1;
    }
    return 0;
}

// The older added_tokens.json: {"<|user|>": 50257, ...}
static int collect_from_list(NamedPieces *p, const Json *j) {
    const char *path = "added_tokens.json";
    for (int i = json_first(j, 0); i >= 0; i = json_next(j, i)) {
        int64_t id = -1;
        if (!json_integer(j, i, &id)) {
            return fail(EX_DATAERR, "%s: the id of \"%.40s\" must be a whole number", path,
                        json_key(j, i));
        }
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

// The byte that <0x00> to <0xFF> names, or -1.
static int named_byte(const char *name, size_t len) {
    static const char digits[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(name, "<0x", 3) != 0 || name[5] != '>') return -1;
    const char *high = memchr(digits, name[3], 16), *low = memchr(digits, name[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

/* The bytes of a piece of the vocabulary, from its name, which is in GPT-2's alphabet, or as it is
 * in SentencePiece's kind. */
static int append_piece(Buffer *out, const Tokenizer *t, const Alphabet *alphabet, const char *name,
                        size_t len, const char *path) {
    if (t->of_characters && len) return buffer_append(out, name, len);
    if (!len || !is_in_alphabet(alphabet, name, len)) {
        return fail(EX_DATAERR, "%s: the piece \"%.40s\" is not in GPT-2's byte alphabet", path,
                    name);
    }
    return append_bytes(out, alphabet, name, len);
}

// Added tokens are named as they are; an id that has no name is a piece that never occurs.
static int read_pieces(Tokenizer *t, const NamedPieces *p, int byte_fallback, const char *path) {
    const Alphabet alphabet = alphabet_make();
    Buffer bytes = {0};
    int result = -1;
    for (size_t i = 0; i < p->n; i++) {
        const NamedPiece *piece = &p->piece[i];
        const int byte = byte_fallback ? named_byte(piece->name, piece->len) : -1;
        if (!piece->name || piece->flags & PIECE_ADDED) {
            if (tokenizer_add_piece(t, piece->name, piece->len, piece->flags) < 0) goto done;
            if (piece->name && tokenizer_add_to_trie(t, (int)i, path) < 0) goto done;
            continue;
        }
        bytes.len = 0;
        if (byte >= 0) {
            const char one = (char)byte;
            if (tokenizer_add_piece(t, &one, 1, piece->flags | PIECE_BYTE) < 0) goto done;
            continue;
        }
        if (append_piece(&bytes, t, &alphabet, piece->name, piece->len, path) < 0) goto done;
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
    const int is_text = t->of_characters || (is_in_alphabet(alphabet, m->a, m->len_a)
                                             && is_in_alphabet(alphabet, m->b, m->len_b));
    if (m->len_a && m->len_b && is_text) {
        bytes->len = 0;
        if (append_piece(bytes, t, alphabet, m->a, m->len_a, path) < 0) return -1;
        const size_t split = bytes->len;
        if (append_piece(bytes, t, alphabet, m->b, m->len_b, path) < 0) return -1;
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

// A merge makes no piece that holds a mark after another character.
static int marks_begin_pieces(const Tokenizer *t) {
    for (int i = 0; i < t->num_merges; i++) {
        const int id = t->merge_memory[i].id;
        const char *s = tokenizer_piece(t, id);
        const size_t n = tokenizer_piece_len(t, id);
        if (word_end_marks(t->class_memory, s, 0, n) < n) return 0;
    }
    return tokenizer_find_in_vocab(t, MARK, MARK_LEN) >= 0;
}

// "unk_token", the piece of what has no piece.  It is one of the vocabulary; where all bytes have
// pieces, so that it never occurs, it may be an added token.
static int read_unknown_name(Tokenizer *t, const Json *j, int name, const char *path) {
    int bytes = 0;
    if (json_off(j, name)) return 0;
    const int id = tokenizer_find(t, json_string(j, name), json_length(j, name));
    for (int b = 0; b < 256; b++) bytes += t->byte_id[b] >= 0;
    if (id >= 0 && t->flags_memory[id] & PIECE_IN_VOCAB) t->unknown = id;
    else if (id < 0 || bytes < 256) {
        return fail(EX_DATAERR, "%s: \"unk_token\" is \"%.40s\", which is no piece of the "
                    "vocabulary: set it to one, or to null", path, json_string(j, name));
    }
    return 0;
}

// The piece of what has no piece; what becomes of bytes without one.
static int read_unknown(Tokenizer *t, const Json *j, const char *path) {
    const int model = json_get(j, 0, "model"), name = json_get(j, model, "unk_token");
    if (read_unknown_name(t, j, name, path) < 0) return -1;
    if (json_off(j, json_get(j, model, "byte_fallback"))) return 0;
    int with = 0;
    for (int b = 0; b < 256; b++) {
        char byte[8];
        snprintf(byte, sizeof byte, "<0x%02X>", b);
        const int found = t->of_characters ? t->byte_id[b] : tokenizer_find(t, byte, strlen(byte));
        with += found >= 0;
        if (t->of_characters || t->byte_id[b] >= 0 || found < 0) continue;
        return fail(EX_DATAERR, "%s: the pre_tokenizer is ByteLevel, and the model has "
                    "byte_fallback too, which is not known here: set it to false", path);
    }
    if (!t->of_characters || with == 0 || with == 256) return 0;
    return fail(EX_DATAERR, "%s: the model has byte_fallback, but only %d of the 256 pieces <0x00> "
                "to <0xFF>: all are needed", path, with);
}

// tokenizer_config.json may say whether a space is put before a text: as tokenizer.json does.
static int check_settings_of_tokenizer(const Tokenizer *t, const Json *j) {
    static const char *const truths[] = {"add_prefix_space", "add_bos_token", "add_eos_token"};
    for (size_t k = 0; k < sizeof truths / sizeof *truths; k++) {
        if (check_truth(j, 0, truths[k], "tokenizer_config.json") < 0) return -1;
    }
    const int want = read_truth(j, 0, "add_prefix_space", -1);
    int has = 0;
    for (int i = 0; i < t->num_normal; i++) has |= t->normal[i].kind == NORMAL_PREPEND;
    for (int i = 0; i < t->num_steps; i++) {
        const WordStep *s = &t->step[i];
        has |= s->kind == STEP_SPACE || (s->kind == STEP_METASPACE && s->prepend != PREPEND_NEVER);
    }
    if (want < 0 || want == has) return 0;
    return fail(EX_DATAERR, "tokenizer_config.json: add_prefix_space is %s, but tokenizer.json "
                "puts %s space before a text: set it to what the model was trained with",
                want ? "true" : "false", has ? "a" : "no");
}

// The parsed files.  0, or -1 after fail(); then t is empty.
static int read_tokenizer(Tokenizer *t, const TokenizerFiles *f) {
    const Json *j = &f->tokenizer;
    const int model = json_get(j, 0, "model"), vocab = json_get(j, model, "vocab");
    const int merges = json_get(j, model, "merges");
    const int added = json_count(j, json_get(j, 0, "added_tokens"))
                    + json_count(&f->settings, json_get(&f->settings, 0, "added_tokens_decoder"))
                    + json_count(&f->added, 0);
    if (check_model(j, f->path) < 0 || check_others(j, f->path) < 0) return -1;
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
    if (read_parts(t, j, f->path) < 0) goto done;
    if (check_settings_of_tokenizer(t, &f->settings) < 0) goto done;
    if (collect_pieces(&p, f) < 0) goto done;
    const int by_byte = t->of_characters && !json_off(j, json_get(j, model, "byte_fallback"));
    if (read_pieces(t, &p, by_byte, f->path) < 0) goto done;
    if (read_merges(t, j, merges, f->path) < 0) goto done;
    const int64_t made = t->num_merges || t->ignore_merges ? 0 : merges_needed(j, vocab);
    if (made > 0) {
        fail(EX_DATAERR, "%s: \"merges\" is empty, but %" PRId64 " pieces have several characters: "
             "the list was lost; take the file from the model again", f->path, made);
        goto done;
    }
    tokenizer_find_ids(t);
    if (read_unknown(t, j, f->path) < 0) goto done;

    // then no merge joins what stands before a mark with it: texts are cut there, to be remembered
    if (t->of_characters && !t->ignore_merges && marks_begin_pieces(t)) {
        const WordStep words = {.kind = STEP_WORDS, .end = word_end_marks};
        if (tokenizer_add_step(t, words) < 0) goto done;
    }
    result = 0;

done:
    free(p.piece);
    if (result < 0) tokenizer_free(t);
    return result;
}

static int file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 || errno != ENOENT;
}

// The file of a folder that its tokenizer is read from: the first of these that is there.  0, or
// -1 after fail().
int tokenizer_file(char path[PATH_SIZE], const char *dir) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json"};
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf) return is_gguf < 0 ? -1 : 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (path_join(path, dir, names[k]) < 0) return -1;
        if (file_exists(path)) return 0;
    }
    return fail(EX_NOINPUT, "%s: there is no tokenizer.json, nor a tokenizer.model, nor vocab.json "
                "and merges.txt: copy the tokenizer's files of the model there, or name one by "
                "--tokenizer", dir);
}

// Appends the tokenizer.json that is made of the file at path, or which that is.  0, or -1 after
// fail().
int tokenizer_file_text(Buffer *out, const char *path) {
    if (name_ends_with(path, ".model")) return sentencepiece_text(out, path);
    if (name_ends_with(path, "vocab.json")) return merges_txt_text(out, path);
    if (gguf_names(path)) return gguf_tokenizer_text(out, path);
    return file_read(out, path);
}

// tokenizer.json, read or made.
static int load_whole(Json *j, const char *path) {
    Buffer text = {0};
    int result = -1;
    if (name_ends_with(path, ".model") || name_ends_with(path, "vocab.json")
        || gguf_names(path)) {
        result = tokenizer_file_text(&text, path);
        if (result == 0) result = json_parse(j, text.data, text.len, path);
    } else {
        result = json_load(j, path);
    }
    buffer_free(&text);
    return result;
}

// The chat template: chat_template.jinja, or of tokenizer_config.json the string, or of a list the
// one that is called default.
static int read_chat_template(Tokenizer *t, const Json *settings, const char *path) {
    char file[PATH_SIZE];
    int text = json_get(settings, 0, "chat_template");
    if (path_beside(file, path, "chat_template.jinja") < 0) return -1;
    if (!gguf_names(path) && file_exists(file)) return file_read(&t->chat, file);
    for (int i = json_first(settings, text); i >= 0; i = json_next(settings, i)) {
        if (!json_equal(settings, json_get(settings, i, "name"), "default")) continue;
        text = json_get(settings, i, "template");
        break;
    }
    if (json_type(settings, text) > JSON_NULL && json_type(settings, text) != JSON_STRING) {
        return fail(EX_DATAERR, "tokenizer_config.json: \"chat_template\" must be a string, or a "
                    "list of {\"name\": ..., \"template\": ...} with one that is called default");
    }
    return buffer_append(&t->chat, json_string(settings, text), json_length(settings, text));
}

/* Reads a tokenizer.json, or what one is made of, and from the files beside it, if they are there,
 * which tokens are added.  What it asks for and is not done here is refused by name; its
 * post_processor, truncation and padding are not read, because nothing is put around a text.  0,
 * or -1 after fail(); then t is empty. */
int tokenizer_load(Tokenizer *t, const char *path) {
    TokenizerFiles f = {.path = path};
    int result = -1;
    memset(t, 0, sizeof *t);
    if (load_whole(&f.tokenizer, path) < 0) goto done;
    if (beside_tokenizer(&f.settings, path, "tokenizer_config.json") < 0) goto done;
    if (beside_tokenizer(&f.added, path, "added_tokens.json") < 0) goto done;
    if (read_tokenizer(t, &f) < 0) goto done;
    result = read_chat_template(t, &f.settings, path);
    if (result < 0) tokenizer_free(t);

done:
    json_free(&f.tokenizer);
    json_free(&f.settings);
    json_free(&f.added);
    return result;
}

// Does the tokenizer's own post-processor, which is not applied here, put a token before a text?
int tokenizer_json_puts_bos(const Json *j, int post_processor) {
    const int list = json_get(j, post_processor, "processors");
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (tokenizer_json_puts_bos(j, i)) return 1;
    }
    const int first = json_first(j, json_get(j, post_processor, "single"));
    return json_get(j, first, "SpecialToken") >= 0;
}

// ----------------------------------------------------------------------------------------- writing

// Piece id as a JSON string: an added token and SentencePiece's as they are, another in GPT-2's
// alphabet.
static int write_piece(const Tokenizer *t, int id, const Alphabet *alphabet, Buffer *out) {
    const char *s = tokenizer_piece(t, id);
    const size_t len = tokenizer_piece_len(t, id);
    if (t->flags_memory[id] & PIECE_BYTE) {
        return buffer_printf(out, "\"<0x%02X>\"", (unsigned char)*s);
    }
    if (t->flags_memory[id] & PIECE_ADDED || t->of_characters) return json_quote(out, s, len);
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

static int write_normal_step(const NormalStep *step, Buffer *out) {
    if (step->kind == NORMAL_NFC) return buffer_printf(out, "{\"type\": \"NFC\"}");
    if (step->kind == NORMAL_PREPEND) {
        if (buffer_printf(out, "{\"type\": \"Prepend\", \"prepend\": ") < 0) return -1;
    } else {
        if (buffer_printf(out, "{\"type\": \"Replace\", \"pattern\": {\"String\": ") < 0) return -1;
        if (json_quote(out, step->from, strlen(step->from)) < 0) return -1;
        if (buffer_printf(out, "}, \"content\": ") < 0) return -1;
    }
    if (json_quote(out, step->to, strlen(step->to)) < 0) return -1;
    return buffer_printf(out, "}");
}

static int write_normalizer(const Tokenizer *t, Buffer *out) {
    if (t->num_normal == 0) return buffer_printf(out, "null");
    if (t->num_normal == 1) return write_normal_step(t->normal, out);
    if (buffer_printf(out, "{\"type\": \"Sequence\", \"normalizers\": [") < 0) return -1;
    for (int i = 0; i < t->num_normal; i++) {
        if (i && buffer_printf(out, ", ") < 0) return -1;
        if (write_normal_step(&t->normal[i], out) < 0) return -1;
    }
    return buffer_printf(out, "]}");
}

static int write_byte_level(int space, int pattern, Buffer *out) {
    return buffer_printf(out, "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, "
                         "\"trim_offsets\": true, \"use_regex\": %s}", truth(space),
                         truth(pattern));
}

static int write_word_step(const Tokenizer *t, int i, Buffer *out) {
    static const char *const schemes[] = {
        [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never",
    };
    const WordStep *step = &t->step[i];
    if (step->kind == STEP_METASPACE) {
        const int split = i + 1 < t->num_steps && t->step[i+1].end == word_end_mark;
        return buffer_printf(out, "{\"type\": \"Metaspace\", \"replacement\": \"" MARK "\", "
                             "\"prepend_scheme\": \"%s\", \"split\": %s}",
                             schemes[step->prepend], truth(split));
    }
    const char *pattern = word_pattern_text(step->end);
    if (!pattern) {
        return buffer_printf(out, "{\"type\": \"Digits\", \"individual_digits\": %s}",
                             truth(step->end == word_end_digit));
    }
    if (buffer_printf(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ") < 0) return -1;
    if (json_quote(out, pattern, strlen(pattern)) < 0) return -1;
    return buffer_printf(out, "}, \"behavior\": \"Isolated\", \"invert\": false}");
}

/* The steps: of a ByteLevel its space and its pattern, at the end, are one part; what cuts at marks
 * is of Metaspace, or a way to be fast. */
static int write_pre_tokenizer(const Tokenizer *t, Buffer *out) {
    int n = t->num_steps, parts = 0;
    while (n && (t->step[n-1].end == word_end_mark || t->step[n-1].end == word_end_marks)) n--;
    const int pattern = !t->of_characters && n && t->step[n-1].end == word_end_gpt2;
    const int space = !t->of_characters && n > pattern && t->step[n-1-pattern].kind == STEP_SPACE;
    const int others = n - pattern - space, all = others + !t->of_characters;
    if (all == 0) return buffer_printf(out, "null");
    if (all > 1 && buffer_printf(out, "{\"type\": \"Sequence\", \"pretokenizers\": [") < 0) {
        return -1;
    }
    for (; parts < others; parts++) {
        if (parts && buffer_printf(out, ", ") < 0) return -1;
        if (write_word_step(t, parts, out) < 0) return -1;
    }
    if (!t->of_characters) {
        if (parts && buffer_printf(out, ", ") < 0) return -1;
        if (write_byte_level(space, pattern, out) < 0) return -1;
    }
    return all > 1 ? buffer_printf(out, "]}") : 0;
}

static int write_decoder_part(const Tokenizer *t, Buffer *out) {
    const char *strip = t->strips_space ? ", {\"type\": \"Strip\", \"content\": \" \", "
                                          "\"start\": 1, \"stop\": 0}" : "";
    if (!t->of_characters) return write_byte_level(0, 1, out);
    return buffer_printf(out, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                         "\"pattern\": {\"String\": \"" MARK "\"}, \"content\": \" \"}, "
                         "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]}", strip);
}

// Appends a tokenizer.json: the same bytes for the same pieces and merges.  0, or -1 after fail().
int tokenizer_json(const Tokenizer *t, Buffer *out) {
    const Alphabet alphabet = alphabet_make();
    if (buffer_printf(out, "{\n"
                      "  \"version\": \"1.0\",\n"
                      "  \"truncation\": null,\n"
                      "  \"padding\": null,\n"
                      "  \"added_tokens\": [") < 0) return -1;
    if (write_added_tokens(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n  ],\n  \"normalizer\": ") < 0) return -1;
    if (write_normalizer(t, out) < 0) return -1;
    if (buffer_printf(out, ",\n  \"pre_tokenizer\": ") < 0) return -1;
    if (write_pre_tokenizer(t, out) < 0) return -1;
    if (buffer_printf(out, ",\n  \"post_processor\": null,\n  \"decoder\": ") < 0) return -1;
    if (write_decoder_part(t, out) < 0) return -1;
    if (buffer_printf(out, ",\n"
                      "  \"model\": {\n"
                      "    \"type\": \"BPE\",\n"
                      "    \"dropout\": null,\n"
                      "    \"unk_token\": ") < 0) return -1;
    const int result = t->unknown < 0 ? buffer_printf(out, "null")
                                      : write_piece(t, t->unknown, &alphabet, out);
    if (result < 0) return -1;
    if (buffer_printf(out, ",\n"
                      "    \"continuing_subword_prefix\": null,\n"
                      "    \"end_of_word_suffix\": null,\n"
                      "    \"fuse_unk\": %s,\n"
                      "    \"byte_fallback\": %s,\n"
                      "    \"ignore_merges\": %s,\n"
                      "    \"vocab\": {", truth(t->fuse_unknown),
                      truth(t->of_characters && t->byte_id[0] >= 0),
                      truth(t->ignore_merges)) < 0) return -1;
    if (write_vocab(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n    },\n    \"merges\": [") < 0) return -1;
    if (write_merges(t, &alphabet, out) < 0) return -1;
    return buffer_printf(out, "\n    ]\n  }\n}\n");
}
#endif

/* gguf_tokenizer.c - the tokenizer inside a GGUF file, as the files of a folder: tokenizer.json and
 * tokenizer_config.json.
 *
 *     tokenizer.ggml.model        "gpt2": byte-level pairs;  "llama": SentencePiece's
 *     tokenizer.ggml.pre          of gpt2: a name of how words are cut (known_cuts)
 *     tokenizer.ggml.tokens       the pieces by id, strings
 *     tokenizer.ggml.token_type   SentencePiece's types: 1 a piece, 3 special, 4 added, 6 a byte
 *     tokenizer.ggml.merges       of gpt2: "a b"
 *     tokenizer.ggml.scores       of llama
 *     tokenizer.chat_template
 */
#ifndef GGUF_TOKENIZER_C
#define GGUF_TOKENIZER_C

#include "../patterns.c"
#include "gguf.c"
#include "sentencepiece.c"

int gguf_tokenizer_text(Buffer *out, const char *path);     // tokenizer.json
int gguf_settings_text(Buffer *out, const char *path);      // tokenizer_config.json

// The file `name` beside a tokenizer's file; of a GGUF file what stands in it instead.  May be
// absent.
int beside_tokenizer(Json *j, const char *tokenizer_file, const char *name);

// ------------------------------------------------------------------------------- byte-level pairs

typedef enum { CUT_GPT2, CUT_DIGIT, CUT_LLAMA3, CUT_QWEN2 } WordCut;

// How llama.cpp's names of pre-tokenizers cut words; whether a word that is a piece stays whole,
// and whether the original tokenizer puts texts in normal form C, which GGUF does not say.
typedef struct {
    const char *name;
    WordCut cut;
    int ignore_merges, nfc;
} KnownCut;

static const KnownCut known_cuts[] = {
    {.name = "gpt-2",      .cut = CUT_GPT2},
    {.name = "phi-2",      .cut = CUT_GPT2},
    {.name = "mpt",        .cut = CUT_GPT2, .nfc = 1},
    {.name = "olmo",       .cut = CUT_GPT2, .nfc = 1},
    {.name = "smollm",     .cut = CUT_DIGIT},
    {.name = "starcoder",  .cut = CUT_DIGIT},
    {.name = "refact",     .cut = CUT_DIGIT},
    {.name = "codeshell",  .cut = CUT_DIGIT},
    {.name = "llama-bpe",  .cut = CUT_LLAMA3, .ignore_merges = 1},
    {.name = "llama3",     .cut = CUT_LLAMA3, .ignore_merges = 1},
    {.name = "llama-v3",   .cut = CUT_LLAMA3, .ignore_merges = 1},
    {.name = "dbrx",       .cut = CUT_LLAMA3},
    {.name = "smaug-bpe",  .cut = CUT_LLAMA3},
    {.name = "qwen2",      .cut = CUT_QWEN2, .nfc = 1},
};

// What the lists say; merges or scores are NULL.
typedef struct {
    const Gguf *g;
    const GgufValue *tokens, *types, *merges, *scores;
} GgufPieces;

static int type_of_piece(const GgufPieces *p, uint64_t id) {
    return (int)gguf_bytes(p->g, p->types->at + 4 * (size_t)id, 4);
}

// Each token is UTF-8 and of a type that is known.
static int check_tokens(const GgufPieces *p) {
    size_t at = p->tokens->at, n;
    const char *s;
    for (uint64_t id = 0; id < p->tokens->count; id++) {
        const int type = type_of_piece(p, id);
        gguf_item(p->g, &at, &s, &n);
        if (sentencepiece_is_utf8(s, n) && type >= SP_NORMAL && type <= SP_BYTE) continue;
        return fail(EX_DATAERR, "%s: token %" PRIu64 " of tokenizer.ggml.tokens is not UTF-8, or "
                    "its type %d is not one of 1 to 6", p->g->path, id, type);
    }
    return 0;
}

static int pieces_find(const Gguf *g, GgufPieces *p) {
    const char *tokens = "tokenizer.ggml.tokens", *types = "tokenizer.ggml.token_type";
    p->g = g;
    const int has = gguf_array(g, tokens, GGUF_STRING, &p->tokens);
    const int has_types = has < 0 ? -1 : gguf_array(g, types, GGUF_I32, &p->types);
    if (has_types < 0) return -1;
    if (gguf_array(g, "tokenizer.ggml.merges", GGUF_STRING, &p->merges) < 0) return -1;
    if (gguf_array(g, "tokenizer.ggml.scores", GGUF_F32, &p->scores) < 0) return -1;
    if (has == 0 || p->tokens->count == 0 || p->tokens->count > 1 << 24) {
        return gguf_key_fail(g, tokens, "is missing, empty or longer than 2^24");
    }
    if (!has_types || p->types->count != p->tokens->count) {
        return gguf_key_fail(g, types, "is missing, or has another length than "
                             "tokenizer.ggml.tokens");
    }
    return check_tokens(p);
}

// Those that are special or were added by a user.
static int write_gguf_added(Buffer *out, const GgufPieces *p) {
    size_t at = p->tokens->at, n;
    const char *comma = "", *s;
    for (uint64_t id = 0; id < p->tokens->count; id++) {
        const int type = type_of_piece(p, id);
        const int special = type == SP_CONTROL || type == SP_UNKNOWN;
        gguf_item(p->g, &at, &s, &n);
        if (!special && type != SP_USER_DEFINED) continue;
        if (buffer_printf(out, "%s\n    {\"id\": %" PRIu64 ", \"content\": ", comma, id) < 0) {
            return -1;
        }
        if (json_quote(out, s, n) < 0) return -1;
        if (buffer_printf(out, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                          "\"normalized\": false, \"special\": %s}",
                          special ? "true" : "false") < 0) return -1;
        comma = ",";
    }
    return 0;
}

// All pieces but those that only fill the list.
static int write_gguf_vocab(Buffer *out, const GgufPieces *p) {
    size_t at = p->tokens->at, n;
    const char *comma = "", *s;
    for (uint64_t id = 0; id < p->tokens->count; id++) {
        gguf_item(p->g, &at, &s, &n);
        if (type_of_piece(p, id) == SP_UNUSED) continue;
        if (buffer_printf(out, "%s\n      ", comma) < 0) return -1;
        if (json_quote(out, s, n) < 0) return -1;
        if (buffer_printf(out, ": %" PRIu64, id) < 0) return -1;
        comma = ",";
    }
    return 0;
}

static int write_gguf_merges(Buffer *out, const GgufPieces *p) {
    size_t at = p->merges->at, n;
    const char *s;
    for (uint64_t i = 0; i < p->merges->count; i++) {
        gguf_item(p->g, &at, &s, &n);
        if (buffer_printf(out, "%s\n      ", i ? "," : "") < 0) return -1;
        if (json_quote(out, s, n) < 0) return -1;
    }
    return 0;
}

static int write_pre_tokenizer_of(Buffer *out, WordCut cut) {
    const char *byte_level = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                             "\"trim_offsets\": true, \"use_regex\": ";
    const char *pattern = word_pattern_text(cut == CUT_QWEN2 ? word_end_qwen2 : word_end_llama3);
    const int is_regex = cut == CUT_GPT2 || cut == CUT_DIGIT;
    if (cut == CUT_GPT2) return buffer_printf(out, "%strue}", byte_level);
    if (buffer_printf(out, "{\"type\": \"Sequence\", \"pretokenizers\": [") < 0) return -1;
    if (cut == CUT_DIGIT) {
        if (buffer_printf(out, "{\"type\": \"Digits\", \"individual_digits\": true}") < 0) {
            return -1;
        }
    } else {
        if (buffer_printf(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ") < 0) return -1;
        if (json_quote(out, pattern, strlen(pattern)) < 0) return -1;
        if (buffer_printf(out, "}, \"behavior\": \"Isolated\", \"invert\": false}") < 0) return -1;
    }
    return buffer_printf(out, ", %s%s}]}", byte_level, is_regex ? "true" : "false");
}

// NULL after fail().
static const KnownCut *cut_of(const Gguf *g) {
    const char *key = "tokenizer.ggml.pre", *s = "";
    size_t n = 0;
    const int has = gguf_string(g, key, &s, &n);
    if (has < 0) return NULL;
    if (has == 0) {
        gguf_key_fail(g, key, "is missing, so that it is not known how words are cut; give the "
                      "model's own tokenizer.json by --tokenizer");
        return NULL;
    }
    for (size_t k = 0; k < sizeof known_cuts / sizeof *known_cuts; k++) {
        if (strlen(known_cuts[k].name) == n && !memcmp(known_cuts[k].name, s, n)) {
            return &known_cuts[k];
        }
    }
    fail(EX_DATAERR, "%s: key %s: how %.*s cuts words is not known here; give the model's own "
         "tokenizer.json by --tokenizer", g->path, key, (int)(n < 60 ? n : 60), s);
    return NULL;
}

static int gpt2_text(Buffer *out, const GgufPieces *p) {
    const KnownCut *known = cut_of(p->g);
    int space = 0;
    if (!known) return -1;
    if (gguf_truth(p->g, "tokenizer.ggml.add_space_prefix", &space) < 0) return -1;
    if (space) {
        return gguf_key_fail(p->g, "tokenizer.ggml.add_space_prefix",
                        "is true, which is not known here for tokenizer.ggml.model gpt2");
    }
    if (!p->merges) return gguf_key_fail(p->g, "tokenizer.ggml.merges", "is missing");
    if (buffer_printf(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                      "  \"padding\": null,\n  \"added_tokens\": [") < 0) return -1;
    if (write_gguf_added(out, p) < 0) return -1;
    if (buffer_printf(out, "\n  ],\n  \"normalizer\": %s,\n  \"pre_tokenizer\": ",
                      known->nfc ? "{\"type\": \"NFC\"}" : "null") < 0) return -1;
    if (write_pre_tokenizer_of(out, known->cut) < 0) return -1;
    if (buffer_printf(out, ",\n  \"post_processor\": null,\n  \"decoder\": {\"type\": "
                      "\"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                      "\"use_regex\": true},\n  \"model\": {\"type\": \"BPE\", \"dropout\": null, "
                      "\"unk_token\": null, \"continuing_subword_prefix\": null, "
                      "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": "
                      "false, \"ignore_merges\": %s,\n    \"vocab\": {",
                      known->ignore_merges ? "true" : "false") < 0) return -1;
    if (write_gguf_vocab(out, p) < 0) return -1;
    if (buffer_printf(out, "\n    },\n    \"merges\": [") < 0) return -1;
    if (write_gguf_merges(out, p) < 0) return -1;
    return buffer_printf(out, "\n    ]\n  }\n}\n");
}

// ---------------------------------------------------------------------------------- SentencePiece

// As the .model file that the lists were made of.
static int llama_text(Buffer *out, const GgufPieces *p) {
    const Gguf *g = p->g;
    SentencePieces made = {.model_type = 2, .dummy_prefix = 1, .escapes_spaces = 1,
                           .normalizer = "", .n = (size_t)p->tokens->count};
    size_t at = p->tokens->at, cut_len = 0;
    const char *cut = "";
    int result = -1;
    if (!p->scores || p->scores->count != p->tokens->count) {
        return gguf_key_fail(g, "tokenizer.ggml.scores", "is missing, or has another length than "
                        "tokenizer.ggml.tokens");
    }
    if (gguf_string(g, "tokenizer.ggml.pre", &cut, &cut_len) < 0) return -1;      // of no use here
    if (gguf_truth(g, "tokenizer.ggml.add_space_prefix", &made.dummy_prefix) < 0) return -1;
    if (gguf_truth(g, "tokenizer.ggml.remove_extra_whitespaces", &made.removes_spaces) < 0) {
        return -1;
    }
    made.piece = allocate(made.n, sizeof *made.piece);
    if (!made.piece) return -1;
    for (size_t id = 0; id < made.n; id++) {
        SentencePiece *piece = &made.piece[id];
        gguf_item(g, &at, &piece->s, &piece->len);
        piece->score = float_of((uint32_t)gguf_bytes(g, p->scores->at + 4*id, 4));
        piece->type = (SentencePieceType)type_of_piece(p, id);
        if (piece->type == SP_BYTE) made.byte_fallback = 1;
        if (piece->score == piece->score) continue;
        fail(EX_DATAERR, "%s: the score of token %zu is not a number", g->path, id);
        goto done;
    }
    result = sentencepiece_json(out, &made, g->path);
done:
    free(made.piece);
    return result;
}

// -------------------------------------------------------------------------------------- the files

// Appends the tokenizer.json that the keys of the file stand for.  0, or -1 after fail().
int gguf_tokenizer_text(Buffer *out, const char *path) {
    const char *key = "tokenizer.ggml.model", *s = "";
    size_t n = 0;
    GgufPieces p;
    Gguf g;
    int result = -1;
    if (gguf_open(&g, path) < 0) goto done;
    const int has = gguf_string(&g, key, &s, &n);
    if (has == 0) gguf_key_fail(&g, key, "is missing: give a tokenizer by --tokenizer");
    if (has <= 0 || pieces_find(&g, &p) < 0) goto done;
    if (n == 4 && !memcmp(s, "gpt2", 4)) {
        result = gpt2_text(out, &p);
    } else if (n == 5 && !memcmp(s, "llama", 5)) {
        result = llama_text(out, &p);
    } else {
        fail(EX_DATAERR, "%s: key %s: %.*s is not known here; gpt2 and llama are: give the model's "
             "own tokenizer.json by --tokenizer", path, key, (int)(n < 60 ? n : 60), s);
    }
done:
    gguf_close(&g);
    return result;
}

// "eos_token": "</s>", of a key that has its id.
static int write_named(Buffer *out, const GgufPieces *p, const char *key, const char *name) {
    const int64_t none = UINT32_MAX;
    size_t at = p->tokens->at, n = 0;
    const char *s = "";
    int64_t id = none;
    if (gguf_integer(p->g, key, 0, none, &id) < 0) return -1;
    if (id == none) return 0;
    if ((uint64_t)id >= p->tokens->count) {
        return gguf_key_fail(p->g, key, "is none of the ids of tokenizer.ggml.tokens");
    }
    for (int64_t i = 0; i <= id; i++) gguf_item(p->g, &at, &s, &n);
    if (buffer_printf(out, "  \"%s\": ", name) < 0) return -1;
    if (json_quote(out, s, n) < 0) return -1;
    return buffer_printf(out, ",\n");
}

// Appends the tokenizer_config.json: names of special tokens, the chat template.
int gguf_settings_text(Buffer *out, const char *path) {
    const char *template_ = NULL;
    size_t n = 0;
    GgufPieces p;
    Gguf g;
    int result = -1, adds_bos = 0;
    if (gguf_open(&g, path) < 0) goto done;
    if (pieces_find(&g, &p) < 0) goto done;
    if (gguf_string(&g, "tokenizer.chat_template", &template_, &n) < 0) goto done;
    if (buffer_printf(out, "{\n") < 0) goto done;
    if (write_named(out, &p, "tokenizer.ggml.bos_token_id", "bos_token") < 0) goto done;
    if (write_named(out, &p, "tokenizer.ggml.eos_token_id", "eos_token") < 0) goto done;
    if (write_named(out, &p, "tokenizer.ggml.padding_token_id", "pad_token") < 0) goto done;
    const int has_bos = gguf_truth(&g, "tokenizer.ggml.add_bos_token", &adds_bos);
    if (has_bos < 0) goto done;
    if (has_bos && buffer_printf(out, "  \"add_bos_token\": %s,\n",
                                 adds_bos ? "true" : "false") < 0) goto done;
    if (template_) {
        if (buffer_printf(out, "  \"chat_template\": ") < 0) goto done;
        if (json_quote(out, template_, n) < 0) goto done;
        if (buffer_printf(out, ",\n") < 0) goto done;
    }
    result = buffer_printf(out, "  \"clean_up_tokenization_spaces\": false,\n"
                           "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
done:
    gguf_close(&g);
    return result;
}

int beside_tokenizer(Json *j, const char *tokenizer_file, const char *name) {
    Buffer text = {0};
    int result = 0;
    if (!gguf_names(tokenizer_file)) return json_load_beside(j, tokenizer_file, name);
    if (strcmp(name, "tokenizer_config.json")) return 0;
    result = gguf_settings_text(&text, tokenizer_file);
    if (result == 0) result = json_parse(j, text.data, text.len, tokenizer_file);
    buffer_free(&text);
    return result;
}

#endif

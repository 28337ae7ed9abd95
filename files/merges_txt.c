/* merges_txt.c - the older two files of a byte-level tokenizer, vocab.json and merges.txt, as a
 * tokenizer.json.
 *
 *     vocab.json    {"!": 0, "\"": 1, ... "\u0120the": 262, ...}      the pieces and their ids
 *     merges.txt    #version: 0.2                                     the merges, the first first
 *                   \u0120 t
 *
 * They do not say how a text is cut into words.  That is known of the classes that read them:
 * "tokenizer_class" of tokenizer_config.json, or "model_type" of config.json.  */
#ifndef MERGES_TXT_C
#define MERGES_TXT_C

#include "../patterns.c"
#include "file.c"
#include "json.c"
#include <inttypes.h>

int merges_txt_text(Buffer *out, const char *path);
int64_t merges_needed(const Json *j, int vocab);                // for the pieces of a vocabulary

// Which classes and types of models cut by which pattern.
enum { BY_NOTHING, BY_GPT2, BY_QWEN2 };
static const struct { const char *name; int by; } known_classes[] = {
    {.name = "GPT2Tokenizer",        .by = BY_GPT2},
    {.name = "GPT2TokenizerFast",    .by = BY_GPT2},
    {.name = "CodeGenTokenizer",     .by = BY_GPT2},
    {.name = "CodeGenTokenizerFast", .by = BY_GPT2},
    {.name = "gpt2",                 .by = BY_GPT2},
    {.name = "Qwen2Tokenizer",       .by = BY_QWEN2},
    {.name = "Qwen2TokenizerFast",   .by = BY_QWEN2},
    {.name = "qwen2",                .by = BY_QWEN2},
    {.name = "qwen3",                .by = BY_QWEN2},
};

static int class_by(const Json *j, int name) {
    for (size_t k = 0; k < sizeof known_classes / sizeof *known_classes; k++) {
        if (json_equal(j, name, known_classes[k].name)) return known_classes[k].by;
    }
    return BY_NOTHING;
}

// BY_, or BY_NOTHING after fail().  GPT-2's own vocabulary is known by its end of text.
static int which_pattern(const Json *settings, const Json *config, const Json *vocab,
                         const char *path) {
    const int class = json_get(settings, 0, "tokenizer_class");
    const int type = json_get(config, 0, "model_type");
    const int end = json_get(vocab, 0, "<|endoftext|>");
    if (!json_off(settings, class)) {
        const int by = class_by(settings, class);
        if (by != BY_NOTHING) return by;
        fail(EX_DATAERR, "%s: the tokenizer_class of tokenizer_config.json is %.60s, of which is "
             "not known here how it cuts words; AutoTokenizer.from_pretrained(FOLDER)"
             ".save_pretrained(FOLDER) makes a tokenizer.json, which says it", path,
             json_string(settings, class));
        return BY_NOTHING;
    }
    if (class_by(config, type) != BY_NOTHING) return class_by(config, type);
    if (json_number(vocab, end) == 50256 && json_count(vocab, 0) == 50257) return BY_GPT2;
    fail(EX_DATAERR, "%s: nothing says how words are cut: set \"tokenizer_class\" in a "
         "tokenizer_config.json beside it, to GPT2Tokenizer or Qwen2Tokenizer", path);
    return BY_NOTHING;
}

// merges.txt as the elements of a JSON list, *lines of them.  0, or -1 after fail().
static int write_merge_lines(Buffer *out, const Buffer *merges, int64_t *lines) {
    const char *comma = "", *p = merges->data, *end = merges->data + merges->len;
    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        const char *next = line_end ? line_end + 1 : end;
        size_t n = (size_t)((line_end ? line_end : end) - p);
        if (n && p[n-1] == '\r') n--;
        const int is_version = n >= 8 && !memcmp(p, "#version", 8);
        if (n && !is_version) {
            if (buffer_printf(out, "%s\n      ", comma) < 0) return -1;
            if (json_quote(out, p, n) < 0) return -1;
            comma = ",";
            (*lines)++;
        }
        p = next;
    }
    return 0;
}

// A piece of several characters is made by a merge, but for tokens with a meaning, as <s> or [PAD].
int64_t merges_needed(const Json *j, int vocab) {
    int64_t made = 0;
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        const char *piece = json_key(j, i);
        const size_t n = strlen(piece);
        int characters = 0;
        for (size_t k = 0; k < n; k++) characters += (piece[k] & 0xc0) != 0x80;
        const int has_meaning = n > 1 && ((piece[0] == '<' && piece[n-1] == '>')
                                          || (piece[0] == '[' && piece[n-1] == ']'));
        made += characters > 1 && !has_meaning;
    }
    return made;
}

// Does the file have as many?  0, or -1 after fail().
static int check_merges(const Json *vocab, int64_t lines, const char *path) {
    const int64_t made = merges_needed(vocab, 0);
    if (lines >= made) return 0;
    return fail(EX_DATAERR, "%s: %" PRId64 " merges for %" PRId64 " pieces of several characters: "
                "the file was cut off, or is of another vocabulary", path, lines, made);
}

// The parts that the class puts around the pieces.
static int write_parts(Buffer *out, int by, int end, int space) {
    const char *pattern = word_pattern_text(word_end_qwen2);
    if (buffer_printf(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                      "  \"padding\": null,\n  \"added_tokens\": [") < 0) return -1;
    if (by == BY_GPT2 && end >= 0) {
        if (buffer_printf(out, "{\"id\": %d, \"content\": \"<|endoftext|>\", "
                          "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                          "\"normalized\": false, \"special\": true}", end) < 0) return -1;
    }
    if (buffer_printf(out, "],\n  \"normalizer\": %s,\n  \"pre_tokenizer\": ",
                      by == BY_QWEN2 ? "{\"type\": \"NFC\"}" : "null") < 0) return -1;
    if (by == BY_QWEN2) {
        if (buffer_printf(out, "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
                          "\"pattern\": {\"Regex\": ") < 0) return -1;
        if (json_quote(out, pattern, strlen(pattern)) < 0) return -1;
        if (buffer_printf(out, "}, \"behavior\": \"Isolated\", \"invert\": false}, ") < 0) {
            return -1;
        }
    }
    return buffer_printf(out, "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, "
                         "\"trim_offsets\": true, \"use_regex\": %s}%s,\n"
                         "  \"post_processor\": null,\n"
                         "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                         "\"trim_offsets\": true, \"use_regex\": true},\n",
                         space ? "true" : "false", by == BY_GPT2 ? "true" : "false",
                         by == BY_QWEN2 ? "]}" : "");
}

/* Appends the tokenizer.json of vocab.json at path and of the files beside it.  0, or -1 after
 * fail(). */
int merges_txt_text(Buffer *out, const char *path) {
    Json settings = {0}, config = {0}, vocab = {0};
    Buffer merges = {0}, pieces = {0};
    char beside[PATH_SIZE];
    int result = -1;
    if (path_beside(beside, path, "merges.txt") < 0) return -1;
    if (file_read(&merges, beside) < 0 || file_read(&pieces, path) < 0) goto done;
    if (json_load(&vocab, path) < 0) goto done;
    if (json_load_beside(&settings, path, "tokenizer_config.json") < 0) goto done;
    if (json_load_beside(&config, path, "config.json") < 0) goto done;
    const int by = which_pattern(&settings, &config, &vocab, path);
    if (by == BY_NOTHING) goto done;

    const int space = json_type(&settings, json_get(&settings, 0, "add_prefix_space")) == JSON_TRUE;
    int64_t end = -1, lines = 0;
    json_integer(&vocab, json_get(&vocab, 0, "<|endoftext|>"), &end);
    if (write_parts(out, by, end > INT_MAX ? -1 : (int)end, space) < 0) goto done;
    if (buffer_printf(out, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, "
                      "\"unk_token\": null, \"continuing_subword_prefix\": null, "
                      "\"end_of_word_suffix\": null, \"fuse_unk\": false, "
                      "\"byte_fallback\": false, \"ignore_merges\": false,\n    \"vocab\": ") < 0) {
        goto done;
    }
    if (buffer_append(out, pieces.data, pieces.len) < 0) goto done;
    if (buffer_printf(out, ",\n    \"merges\": [") < 0) goto done;
    if (write_merge_lines(out, &merges, &lines) < 0) goto done;
    if (check_merges(&vocab, lines, beside) < 0) goto done;
    result = buffer_printf(out, "\n    ]\n  }\n}\n");
done:
    buffer_free(&merges);
    buffer_free(&pieces);
    json_free(&settings);
    json_free(&config);
    json_free(&vocab);
    return result;
}

#endif

/* beside.c - the small files of a model folder, which stand beside config.json and the weights: the
 * tokenizer's, generation_config.json, a chat template, a licence.
 *
 * Training keeps what it found of them, byte for byte, but for the tokens that end and fill a text:
 * where a file names others than config.json does, it is given the same (beside_settle).         */
#ifndef BESIDE_C
#define BESIDE_C

#include "config.c"
#include "file.c"
#include "gguf_tokenizer.c"
#include "json.c"
#include "safetensors.c"

typedef struct {
    char name[256];
    Buffer text;
} SmallFile;

typedef struct {
    SmallFile *file_memory;             // sorted by name
    size_t n, capacity;
} SmallFiles;

// What a training says of itself (receipt.c): of that one, so that the next does not keep it.
#define RECEIPT_NAME "more_receipt.json"

enum { ALL_SMALL, OF_TOKENIZER, NOT_OF_TOKENIZER };

int  beside_load(SmallFiles *s, const char *dir, int which);        // adds those of a folder
int  beside_put(SmallFiles *s, const char *name, const char *text, size_t n);    // adds, replaces
int  beside_settle(SmallFiles *to, const SmallFiles *from, const Config *c);
void beside_free(SmallFiles *s);
SmallFile *beside_find(const SmallFiles *s, const char *name);      // or NULL

// ------------------------------------------------------------------------------------ reading them

void beside_free(SmallFiles *s) {
    for (size_t i = 0; i < s->n; i++) buffer_free(&s->file_memory[i].text);
    free(s->file_memory);
    memset(s, 0, sizeof *s);
}

SmallFile *beside_find(const SmallFiles *s, const char *name) {
    for (size_t i = 0; i < s->n; i++) {
        if (!strcmp(s->file_memory[i].name, name)) return &s->file_memory[i];
    }
    return NULL;
}

// The file of that name, empty; or NULL after fail().
static SmallFile *beside_add(SmallFiles *s, const char *name) {
    SmallFile *old = beside_find(s, name);
    if (old) {
        old->text.len = 0;
        return old;
    }
    if (reserve(&s->file_memory, &s->capacity, s->n + 1, sizeof *s->file_memory) < 0) return NULL;
    size_t i = s->n;
    for (; i > 0 && strcmp(s->file_memory[i-1].name, name) > 0; i--) {
        s->file_memory[i] = s->file_memory[i-1];
    }
    s->n++;
    s->file_memory[i] = (SmallFile){.text = {0}};
    snprintf(s->file_memory[i].name, sizeof s->file_memory[i].name, "%s", name);
    return &s->file_memory[i];
}

int beside_put(SmallFiles *s, const char *name, const char *text, size_t n) {
    SmallFile *f = beside_add(s, name);
    return f ? buffer_append(&f->text, text, n) : -1;
}

// Does the file belong to the tokenizer?
static int is_of_tokenizer(const char *name) {
    static const char *const begins[] = {
        "tokenizer", "special_tokens_map.", "added_tokens.", "chat_template", "vocab.", "merges.",
        "spiece.", "sentencepiece.",
    };
    for (size_t k = 0; k < sizeof begins / sizeof *begins; k++) {
        if (!strncmp(begins[k], name, strlen(begins[k]))) return 1;
    }
    return 0;
}

/* Is it kept?  Not what is written anew, nor weights in any form, nor what tells of an earlier
 * training, nor data, nor what is hidden or temporary.                                           */
static int is_kept(const char *name) {
    static const char *const ends[] = {
        ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".gguf",
        ".ggml", ".npz", ".tflite", ".index.json", ".jsonl", ".csv", ".parquet", ".log", ".gz",
        ".zip", ".tmp", ".old", ".lock",
    };
    static const char *const others[] = {
        "config.json", "log.jsonl", "trainer_state.json", "all_results.json", "eval_results.json",
        "train_results.json", "predict_results.json", "adapter_config.json",
        ADAPTER_MODEL_CONFIG, RECEIPT_NAME,
    };
    if (*name == '.') return 0;
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        if (name_ends_with(name, ends[k])) return 0;
    }
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        if (!strcmp(others[k], name)) return 0;
    }
    return 1;
}

// What a GGUF file says in place of the tokenizer's small files.
static int beside_load_gguf(SmallFiles *s, const char *path, int which) {
    if (which == NOT_OF_TOKENIZER) return 0;
    SmallFile *f = beside_add(s, "tokenizer_config.json");
    return f ? gguf_settings_text(&f->text, path) : -1;
}

// Adds the small files of a folder that are kept, at most 100 MB each: all, or one sort of them.
// 0, or -1 after fail().
int beside_load(SmallFiles *s, const char *dir, int which) {
    char path[PATH_SIZE];
    struct stat st;
    int result = -1;
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf) return is_gguf < 0 ? -1 : beside_load_gguf(s, path, which);
    DIR *d = opendir(dir);
    if (!d) return fail(EX_NOINPUT, "%s: %s", dir, strerror(errno));
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        const int sort = is_of_tokenizer(e->d_name) ? OF_TOKENIZER : NOT_OF_TOKENIZER;
        if (!is_kept(e->d_name) || (which != ALL_SMALL && which != sort)) continue;
        if (path_join(path, dir, e->d_name) < 0) goto done;
        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > JSON_FILE_MAX) continue;
        SmallFile *f = beside_add(s, e->d_name);
        if (!f || file_read(&f->text, path) < 0) goto done;
    }
    result = 0;
done:
    closedir(d);
    return result;
}

// ------------------------------------------------------------------------------- settling the ends

// The token of tokenizer.json with this id, or -1.
static int find_token(const Json *j, int id) {
    int list = json_get(j, 0, "added_tokens");
    if (id < 0) return -1;
    for (int t = json_first(j, list); t >= 0; t = json_next(j, t)) {
        if (json_number(j, json_get(j, t, "id")) == id) return t;
    }
    return -1;
}

// The last members of an object: "bos_token": .. and so on, as tokenizer.json has them for the ids.
static int tokens_text(Buffer *b, const Config *c, const Json *j, const char *comma) {
    static const char *const names[] = {"bos_token", "eos_token", "pad_token"};
    const int ids[] = {c->bos, c->eos, c->pad};
    for (int i = 0; i < 3; i++) {
        int token = find_token(j, ids[i]);
        if (token < 0) continue;
        int content = json_get(j, token, "content");
        if (buffer_printf(b, "%s\n  \"%s\": ", comma, names[i]) < 0) return -1;
        if (json_quote(b, json_string(j, content), json_length(j, content)) < 0) return -1;
        comma = ",";
    }
    return buffer_printf(b, "\n}\n");
}

static int tokenizer_config_text(Buffer *b, const Config *c, const Json *j) {
    if (buffer_printf(b, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n") < 0) return -1;
    if (buffer_printf(b, "  \"model_max_length\": %d,\n", c->max_positions) < 0) return -1;
    if (buffer_printf(b, "  \"clean_up_tokenization_spaces\": false") < 0) return -1;
    return tokens_text(b, c, j, ",");
}

static int special_tokens_text(Buffer *b, const Config *c, const Json *j) {
    if (buffer_printf(b, "{") < 0) return -1;
    return tokens_text(b, c, j, "");
}

// Gives the member of that name of the object in f the value (JSON).
static int set_member(SmallFile *f, const char *name, const char *value) {
    Buffer changed = {0};
    if (json_with_member(&changed, f->text.data, name, value) < 0) {
        buffer_free(&changed);
        return -1;
    }
    buffer_free(&f->text);
    f->text = changed;
    return 0;
}

// "eos_token" or "pad_token" of f is to be the token `token` of tokenizer.json j, also where f has
// none if `add`.
static int settle_token(SmallFile *f, const char *name, const Json *j, int token, int add) {
    const int content = json_get(j, token, "content");
    Json file = {0};
    Buffer quoted = {0};
    int result = -1;
    if (token < 0) return 0;
    if (json_parse(&file, f->text.data, f->text.len, f->name) < 0) goto done;
    int old = json_get(&file, 0, name);
    if (json_type(&file, old) == JSON_OBJECT) old = json_get(&file, old, "content");
    if ((old >= 0 || add) && !json_equal(&file, old, json_string(j, content))) {
        if (json_quote(&quoted, json_string(j, content), json_length(j, content)) < 0) goto done;
        if (set_member(f, name, quoted.data) < 0) goto done;
    }
    result = 0;
done:
    json_free(&file);
    buffer_free(&quoted);
    return result;
}

// "eos_token_id" of generation_config.json, if it has one, is to have c's among its ids.
static int settle_generation(SmallFile *f, const Config *c) {
    Json file = {0};
    Buffer list = {0};
    int result = -1, has = c->eos < 0;
    if (json_parse(&file, f->text.data, f->text.len, f->name) < 0) goto done;
    const int old = json_get(&file, 0, "eos_token_id");
    const int is_list = json_type(&file, old) == JSON_ARRAY;
    if (buffer_printf(&list, "[%d", c->eos) < 0) goto done;
    for (int i = is_list ? json_first(&file, old) : old; i >= 0; i = json_next(&file, i)) {
        if (json_type(&file, i) != JSON_NUMBER) has = 1;              // null: none is wanted
        if (json_number(&file, i) == c->eos) has = 1;
        if (buffer_printf(&list, ", %.0f", json_number(&file, i)) < 0) goto done;
        if (!is_list) break;
    }
    if (buffer_printf(&list, "]") < 0) goto done;
    if (old >= 0 && !has && set_member(f, "eos_token_id", list.data) < 0) goto done;
    result = 0;
done:
    json_free(&file);
    buffer_free(&list);
    return result;
}

// The files of the tokenizer, of which j is tokenizer.json.  tokenizer_config.json is made if there
// is none, and special_tokens_map.json as well if there is neither.
static int settle_tokenizer(SmallFiles *s, const Config *c, const Json *j) {
    const char *settings = "tokenizer_config.json", *map = "special_tokens_map.json";
    SmallFile *f = beside_find(s, map);
    const int has_map = f != NULL;
    if (f && settle_token(f, "eos_token", j, find_token(j, c->eos), 0) < 0) return -1;
    if (f && settle_token(f, "pad_token", j, find_token(j, c->pad), 0) < 0) return -1;

    f = beside_find(s, settings);
    if (f) {
        if (settle_token(f, "eos_token", j, find_token(j, c->eos), 1) < 0) return -1;
        return settle_token(f, "pad_token", j, find_token(j, c->pad), 1);
    }
    f = beside_add(s, settings);
    if (!f || tokenizer_config_text(&f->text, c, j) < 0) return -1;
    if (has_map) return 0;
    f = beside_add(s, map);
    return f ? special_tokens_text(&f->text, c, j) : -1;
}

// The files of `from` as they are to be saved beside c's config.json.  0, or -1 after fail().
int beside_settle(SmallFiles *to, const SmallFiles *from, const Config *c) {
    Json j = {0};
    int result = -1;
    for (size_t i = 0; i < from->n; i++) {
        const SmallFile *f = &from->file_memory[i];
        if (beside_put(to, f->name, f->text.data ? f->text.data : "", f->text.len) < 0) return -1;
    }
    const SmallFile *tokenizer = beside_find(to, "tokenizer.json");
    if (tokenizer) {
        const Buffer *text = &tokenizer->text;
        if (json_parse(&j, text->data, text->len, tokenizer->name) < 0) goto done;
        if (settle_tokenizer(to, c, &j) < 0) goto done;
    }
    SmallFile *generation = beside_find(to, "generation_config.json");
    if (generation && settle_generation(generation, c) < 0) goto done;
    result = 0;
done:
    json_free(&j);
    return result;
}

#endif

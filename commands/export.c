/* export.c - more export: a language model as one GGUF file, for llama.cpp and what is built on it,
 * or an adapter and its base model as one folder.  */
#ifndef EXPORT_C
#define EXPORT_C
#include "setup.c"
#include "../files/gguf_write.c"

int command_export(void);

static const Dtype export_dtypes[NUM_DTYPES] = {
    [DTYPE_F32] = F32, [DTYPE_F16] = F16, [DTYPE_BF16] = BF16, [DTYPE_Q8_0] = Q8_0,
};

// Do other programs put a token before a text?
static int read_adds_bos(int *adds_bos, const char *tokenizer_file) {
    Json j = {0};
    int result = -1;
    if (name_ends_with(tokenizer_file, ".json")) {
        if (json_load(&j, tokenizer_file) < 0) goto done;
        *adds_bos = tokenizer_json_puts_bos(&j, json_get(&j, 0, "post_processor"));
        json_free(&j);
        memset(&j, 0, sizeof j);
    }
    if (beside_tokenizer(&j, tokenizer_file, "tokenizer_config.json") < 0) goto done;
    const int adds = json_get(&j, 0, "add_bos_token");
    if (json_type(&j, adds) == JSON_TRUE) *adds_bos = 1;
    if (json_type(&j, adds) == JSON_FALSE) *adds_bos = 0;
    result = 0;
done:
    json_free(&j);
    return result;
}

// The folder's own name, or the file's without .gguf.
static void name_of_folder(char name[64], const char *dir) {
    size_t n = strlen(dir);
    if (gguf_names(dir)) n -= strlen(".gguf");
    while (n > 1 && dir[n-1] == '/') n--;
    size_t first = n;
    while (first > 0 && dir[first-1] != '/') first--;
    snprintf(name, 64, "%.*s", (int)(n - first), dir + first);
}

// Every token that ends a text, those of generation_config.json too, is to be written.
static void take_ends(Config *c, const Tokenizer *t) {
    for (int i = 0; i < t->num_ends && c->num_more_eos < MAX_MORE_EOS; i++) {
        int is_new = t->ends[i] != c->eos;
        for (int k = 0; k < c->num_more_eos; k++) {
            if (c->more_eos[k] == t->ends[i]) is_new = 0;
        }
        if (!is_new) continue;
        c->more_eos[c->num_more_eos] = t->ends[i];
        c->num_more_eos++;
    }
}

// A folder of the model in dir: an adapter is merged with its base.  0, or -1 after fail().
static int export_folder(const char *dir) {
    Model m = {0};
    Tokenizer t = {0};
    SmallFiles beside = {.n = 0};
    char sha256[65], base[PATH_SIZE];
    int result = -1;
    const int is_adapter = config_base(base, dir);
    if (is_adapter < 0) return -1;
    if (is_adapter && dataset_is_at(base, opt.out)) {
        return fail(EX_USAGE, "--out %s: the base model of %s, which would be lost", opt.out, dir);
    }
    if (opt.dtype == DTYPE_Q8_0) {
        return fail(EX_USAGE, "--dtype q8_0: a folder is written as f32, f16 or bf16; q8_0 is for "
                    "--out FILE.gguf");
    }
    const char *dtype = dtype_names[opt.dtype];
    if (load_model(&m, &t, dir, LOAD_AS_STORED, 1) < 0) goto done;
    if (keep_files(&beside, dir) < 0) goto done;
    if (checkpoint_save(&m, opt.out, &beside, dtype, sha256) < 0) goto done;
    printf("%s: %zu parameters, %s\nweights sha256 %s\n", opt.out, m.num_params, dtype, sha256);
    result = 0;
done:
    beside_free(&beside);
    model_free(&m);
    tokenizer_free(&t);
    return result;
}

int command_export(void) {
    Model m = {0};
    Tokenizer t = {0};
    char tokenizer_file[PATH_SIZE], name[64], sha256[65];
    int result = -1;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (!opt.out) return fail(EX_USAGE, "--out is needed: FILE.gguf, or the folder to write");
    const char *dir = opt.model.item[0];
    if (!gguf_names(opt.out)) return export_folder(dir);
    GgufExtras x = {.tokenizer = &t, .name = name};
    name_of_folder(name, dir);
    if (load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL, 1) < 0) goto done;
    if (tokenizer_path(tokenizer_file, dir) < 0) goto done;
    if (read_adds_bos(&x.adds_bos, tokenizer_file) < 0) goto done;
    take_ends(&m.config, &t);
    if (t.chat.len) x.chat_template = t.chat.data;
    if (gguf_save(&m, &x, opt.out, export_dtypes[opt.dtype], sha256) < 0) goto done;
    printf("%s: %zu parameters, %s; sha256 %s\n", opt.out, m.num_params,
           dtype_name(export_dtypes[opt.dtype]), sha256);
    if (m.config.sliding_window) {
        printf("its texts end at the sliding window, %d tokens: llama.cpp has none for this model, "
               "and up to there it changes nothing\n", m.config.sliding_window);
    }
    result = 0;
done:
    model_free(&m);
    tokenizer_free(&t);
    return result;
}
#endif

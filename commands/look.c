/* look.c - more tokenize, more inspect: tokens, vocabularies and model folders to look at.  */
#ifndef LOOK_C
#define LOOK_C
#include "diagnose.c"
#include "features.c"
#include "mixture.c"

int command_tokenize(void);
int command_inspect(void);

// --------------------------------------------------------------------------------------- tokens

// --learn: a vocabulary from --train, to --out/tokenizer.json.
static int learn_to_folder(void) {
    Tokenizer t = {0};
    Buffer text = {0};
    Folder out = {.lock = -1};
    char path[PATH_SIZE];
    int result = -1;
    if (!opt.train.n || !opt.out) return fail(EX_USAGE, "--learn needs --train and --out");
    if (opt.learn < 258) {
        return fail(EX_USAGE, "--learn %d: at least 258 pieces are needed", opt.learn);
    }
    if (path_join(path, opt.out, "tokenizer.json") < 0) return -1;
    if (is_there(opt.out, "config.json")) {
        return fail(EX_USAGE, "--out %s: a model is there, whose tokenizer would be lost", opt.out);
    }
    if (learn_vocabulary(&t, &opt.train, &opt.then, opt.learn) < 0) goto done;
    if (tokenizer_json(&t, &text) < 0) goto done;
    if (folder_enter(&out, opt.out) < 0) goto done;
    if (file_write(path, text.data, text.len) < 0) goto done;
    printf("%s: %d pieces\n", path, t.vocab_size);
    result = 0;
done:
    folder_leave(&out);
    tokenizer_free(&t);
    buffer_free(&text);
    return result;
}

// The tokens of standard input: a line each, number and piece.
static int show_tokens(void) {
    Tokenizer t = {0};
    Buffer text = {0}, piece = {0}, quoted = {0};
    int *id = NULL, result = -1;
    size_t n = 0, capacity = 0;
    if (load_tokenizer(&t, opt.model.n ? opt.model.item[0] : NULL) < 0) goto done;
    if (fd_read(&text, STDIN_FILENO, "standard input") < 0) goto done;
    if (tokenizer_encode(&t, text.data, text.len, &id, &n, &capacity) < 0) goto done;
    for (size_t i = 0; i < n; i++) {
        piece.len = 0;
        quoted.len = 0;
        if (tokenizer_decode(&t, id + i, 1, &piece) < 0) goto done;
        if (json_quote(&quoted, piece.data, piece.len) < 0) goto done;
        printf("%d\t%s\n", id[i], quoted.data);
    }
    result = 0;
done:
    tokenizer_free(&t);
    buffer_free(&text);
    buffer_free(&piece);
    buffer_free(&quoted);
    free(id);
    return result;
}

int command_tokenize(void) { return opt.learn ? learn_to_folder() : show_tokens(); }

// -------------------------------------------------------------------------------------- folders

static void print_window(const Config *c) {
    int slide = 0;
    for (int l = 0; l < c->num_layers; l++) slide += c->slides[l];
    printf("%d of %d layers see no further back than a sliding window of %d positions\n", slide,
           c->num_layers, c->sliding_window);
}

static void print_config(const Config *c, size_t num_params) {
    static const char *const activations[] = {
        [ACT_GELU_ERF] = "gelu", [ACT_GELU_TANH] = "gelu (tanh)", [ACT_SILU] = "silu"};
    const double gib = 1073741824.0;
    printf("%s, %s: %zu parameters\n", model_family_name(c->family),
           c->reward ? "reward model" : "language model", num_params);
    printf("vocabulary %d, channels %d, layers %d, heads %d (key/value %d) of %d, feed-forward "
           "%d%s, positions %d\n", c->vocab_size, c->channels, c->num_layers, c->num_heads,
           c->num_kv_heads, c->head_dim, c->hidden, c->gated ? " gated" : "", c->max_positions);
    printf("%s, %s residual, %s, rotary on %d, output ", c->rms_norm ? "RMS norm" : "layer norm",
           c->parallel_residual ? "parallel" : "sequential", activations[c->activation],
           c->rotary_dims);
    if (c->reward) printf("a score head, pooling %s\n", pooling_names[c->pooling]);
    else           printf("%s\n", c->tied ? "tied" : "separate");
    if (c->temperature > 0) {
        printf("calibrated: temperature %.4g%s\n", c->temperature,
               c->isotonic.n ? ", and an isotonic map, which goes before it" : "");
    }
    if (c->rope_type != ROPE_DEFAULT) {
        printf("rotary positions scaled by %s with the factor %g\n", rope_types[c->rope_type],
               c->rope_factor);
    }
    if (c->sliding_window) print_window(c);
    if (c->reward && c->pooling == POOL_MEAN) {
        printf("transformers cannot read a reward from the mean: the folder is of our own type\n");
    }
    printf("training 4096 rows at a time takes %.2f GiB, with --recompute %.2f\n",
           (double)model_bytes(c, 4096, 4096, TRAINING) / gib,
           (double)model_bytes(c, 4096, 4096, RECOMPUTING) / gib);
}

// How many tensors have which number format, and how large all are.
static int print_formats(const char *dir) {
    char path[PATH_SIZE];
    size_t of[NUM_DTYPES_STORED] = {0};
    uint64_t bytes = 0;
    Weights w = {.num_shards = 0};
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf < 0) return -1;
    const int is_adapter = is_there(dir, ADAPTER_WEIGHTS);
    int result;
    if (is_gguf) result = gguf_weights(&w, path);
    else if (is_adapter) result = weights_open_one(&w, dir, ADAPTER_WEIGHTS);
    else result = weights_open(&w, dir);
    for (size_t i = 0; i < w.num_tensors; i++) {
        of[w.tensor_memory[i].dtype]++;
        bytes += w.tensor_memory[i].end - w.tensor_memory[i].begin;
    }
    if (result == 0) {
        printf("weights: %zu tensors in %d file%s, %.1f MB:", w.num_tensors, w.num_shards,
               w.num_shards == 1 ? "" : "s", (double)bytes / 1e6);
        for (int k = 0; k < NUM_DTYPES_STORED; k++) {
            if (of[k]) printf(" %zu %s", of[k], dtype_name((Dtype)k));
        }
        printf("\n");
    }
    weights_close(&w);
    return result;
}

static void print_token(const Tokenizer *t, const char *name, int id) {
    const Token token = token_of(t, id);
    if (id < 0) printf("%s none", name);
    else        printf("%s %d %s", name, id, token.text);
}

// The tokenizer of a model, its template and special tokens; or why there is none.
static void print_tokenizer(Config *c, const char *dir) {
    char path[PATH_SIZE];
    Tokenizer t = {0};
    Chat chat;
    if (tokenizer_file(path, dir) < 0 || tokenizer_load(&t, path) < 0
        || specials_find(&t, c, dir, path, NULL) < 0) {
        printf("tokenizer: none that can be used: %s\n", error_text);
        tokenizer_free(&t);
        return;
    }
    template_choose(&chat, &t, NULL);
    printf("tokenizer: %s: %d pieces, %d merges; a text is encoded %s\n", path, t.vocab_size,
           t.num_merges, tokenizer_form(&t));
    if (!t.chat.len) printf("chat template: missing: messages become plain turns\n");
    else if (chat.form) printf("chat template: %s%s\n", chat.form->name,
                                strcmp(chat.form->name, "llama3.2") ? ""
                                : ", with the date 26 Jul 2024, not today's");
    else printf("chat template: not known here: name one by --template\n");
    print_token(&t, "end of text", t.eos);
    for (int i = 0; i < t.num_ends; i++) {
        if (t.ends[i] != t.eos) print_token(&t, ", or", t.ends[i]);
    }
    print_token(&t, "; begin", t.bos);
    print_token(&t, "; pad", c->pad);
    printf("\n");
    if (t.vocab_size > c->vocab_size) {
        printf("missing: rows for %d of the tokenizer's pieces\n", t.vocab_size - c->vocab_size);
    }
    tokenizer_free(&t);
}

static void print_uses(const Config *c) {
    if (c->reward) {
        printf("for: more score, eval, doctor; --judge of bestof and compare; --reward of train "
               "rloo, grpo and ppo; train reward goes on with it\n");
    } else {
        printf("for: more sample, score, compare, export; train sft, dpo and the like; train "
               "reward gives it a head; --reference\n");
    }
}

// What a model folder or a GGUF file says, before its weights are read.
static int print_folder(const char *dir) {
    char path[PATH_SIZE], base[PATH_SIZE];
    Config c;
    const int is_gguf = gguf_find(path, dir), is_adapter = config_base(base, dir);
    if (is_gguf < 0 || is_adapter < 0 || config_load(&c, dir) < 0) return -1;
    if (is_adapter) printf("%s: an adapter over %s\n", dir, base);
    else if (is_gguf) printf("%s: a GGUF file\n", path);
    else printf("%s: a Hugging Face folder\n", dir);
    print_config(&c, model_num_params(&c));
    print_tokenizer(&c, dir);
    print_uses(&c);
    return print_formats(dir);
}

// A file that is no model: a mixture, or what it may be.
static int print_file(const char *path) {
    Mixture x = {.n = 0};
    if (!name_ends_with(path, ".json")) {
        printf("%s: a file, and no model: rows or text?  more doctor --model FOLDER --train %s "
               "shows what training would see of it\n", path, path);
        return 0;
    }
    if (mixture_open(&x, path) < 0) {
        mixture_free(&x);
        return -1;
    }
    printf("%s: a mixture of %d policies\n", path, x.n);
    for (int k = 0; k < x.n; k++) printf("%8.5f  %s\n", x.weight[k], x.folder[k]);
    printf("for: more sample, bestof, compare, score; eval with --reference\n");
    mixture_free(&x);
    return 0;
}

// ShowTensor: size, root mean square, least and largest number, name.
static void print_tensor(const TensorNumbers *t) {
    printf("%10zu numbers  rms %9.6f  from %9.6f to %9.6f  %s\n", t->n, t->rms, t->low, t->high,
           t->name);
}

int command_inspect(void) {
    char sha256[65], path[PATH_SIZE];
    struct stat st;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    const char *dir = opt.model.item[0];
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf < 0) return -1;
    if (stat(dir, &st) == 0 && S_ISREG(st.st_mode) && !is_gguf) return print_file(dir);
    if (feature_folder_is(dir)) {
        if (features_inspect(dir) < 0) return -1;
    } else {
        if (print_folder(dir) < 0) return -1;
        if (checkpoint_look(dir, print_tensor) < 0) return -1;
    }
    const char *weights = is_there(dir, ADAPTER_WEIGHTS) ? ADAPTER_WEIGHTS : "model.safetensors";
    if (!is_gguf && path_join(path, dir, weights) < 0) return -1;
    if (sha256_file(sha256, path) == 0) printf("weights sha256 %s\n", sha256);
    return 0;
}
#endif

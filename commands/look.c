/* look.c - more tokenize, more inspect: tokens, vocabularies and model folders to look at.  */
#ifndef LOOK_C
#define LOOK_C
#include "features.c"

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
    printf("training 4096 rows at a time takes %.2f GiB, with --recompute %.2f\n",
           (double)model_bytes(c, 4096, 4096, TRAINING) / gib,
           (double)model_bytes(c, 4096, 4096, RECOMPUTING) / gib);
}

// TakeTensor: size, root mean square, least and largest number, name.
static int print_tensor(void *context, const char *name, const real *values, size_t n) {
    float *x = allocate(n, sizeof *x);
    (void)context;
    if (!x) return -1;
    kernels_read(x, values, n);
    double squares = 0;
    float low = x[0], high = x[0];
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * x[i];
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    printf("%10zu numbers  rms %9.6f  from %9.6f to %9.6f  %s\n", n, sqrt(squares / (double)n), low,
           high, name);
    free(x);
    return 0;
}

static int print_model(const Model *m) {
    print_config(&m->config, m->num_params);
    return checkpoint_tensors(m, print_tensor, NULL);
}

int command_inspect(void) {
    Model m = {0};
    char sha256[65], path[PATH_SIZE];
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    const char *dir = opt.model.item[0];
    if (feature_folder_is(dir)) {
        if (features_inspect(dir) < 0) return -1;
    } else {
        if (checkpoint_load(&m, dir, LOAD_AS_STORED) < 0) return -1;
        int status = print_model(&m);
        model_free(&m);
        if (status < 0) return -1;
    }
    if (path_join(path, dir, "model.safetensors") < 0) return -1;
    if (sha256_file(sha256, path) == 0) printf("weights sha256 %s\n", sha256);
    return 0;
}
#endif

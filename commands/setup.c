/* setup.c - from the settings of the command line to data, tokenizers and models, and to a training run. */
#ifndef SETUP_C
#define SETUP_C
#include "../policy.c"

static DataOptions data_options(void) {
    DataOptions o = {0};
    o.max_length = opt.max_length, o.max_prompt_length = opt.max_prompt_length;
    o.over_length = opt.over_length;
    o.template_ = opt.template_;
    o.prompt_key = opt.prompt_key, o.chosen_key = opt.chosen_key, o.rejected_key = opt.rejected_key;
    return o;
}

// A file for an objective; use: FOR_TRAIN, FOR_THEN, FOR_EVAL.
static int load_data(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o,
                     const Objective *objective, int use) {
    Buffer line = {0};
    if (dataset_load(d, spec, t, o) < 0 || objective_takes(objective, d, use) < 0) return -1;
    if (!d->num_records)
        return fail(EX_DATAERR, "%s: nothing is left of %zu rows: %zu ties, %zu too long", d->path, d->rows,
                    d->tied, d->dropped);
    if (dataset_report(d, &line) < 0) return -1;
    fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    return 0;
}

static const char *tokenizer_path(const char *dir) {
    static char path[4096];
    if (opt.tokenizer) return opt.tokenizer;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    return path;
}

static int load_tokenizer(Tokenizer *t, const char *dir) {
    if (!opt.tokenizer && !dir) return fail(EX_USAGE, "--tokenizer or --model is needed");
    return tokenizer_load(t, tokenizer_path(dir));
}

// NAME=FOLDER+FOLDER into name and folders; without a name the last part of the folder's path
static void split_model(const char *spec, char name[64], const char **folders) {
    const char *equals = strchr(spec, '='), *slash;
    *folders = equals ? equals + 1 : spec;
    for (slash = spec + strlen(spec); slash > spec && slash[-1] != '/'; slash--) ;
    if (equals) snprintf(name, 64, "%.*s", (int)(equals - spec), spec);
    else snprintf(name, 64, "%s", *slash ? slash : spec);
}

static int names_differ(const List *models) {
    char a[64], b[64];
    const char *folder;
    for (int i = 0; i < models->n; i++)
        for (int k = 0; k < i; k++)
            if (split_model(models->item[i], a, &folder), split_model(models->item[k], b, &folder),
                !strcmp(a, b))
                return fail(EX_USAGE, "--model: two models are called %s; "
                            "give one another name: NAME=FOLDER", a);
    return 0;
}

// Does the model have a row for each piece, and the positions that are asked for?
static int check_fit(const Model *m, const Tokenizer *t, const char *dir) {
    if (t->vocab_size > m->config.vocab_size)
        return fail(EX_DATAERR, "%s: the tokenizer has %d pieces, the model %d", dir, t->vocab_size,
                    m->config.vocab_size);
    if (opt.max_length > m->config.max_positions)
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    m->config.max_positions);
    return 0;
}

// A reward model, or a policy, and its tokenizer; --raw_head gives a reward model without a head one.
static int load_model(Model *m, Tokenizer *t, const char *dir, int kind) {
    Config c;
    if (config_load(&c, dir) < 0) return -1;
    if (!c.reward && kind == LOAD_REWARD_MODEL && opt.raw_head < 0)
        return fail(EX_DATAERR,
                    "%s: a language model without a reward head; train one, or give --raw_head SEED for a "
                    "random head (eval of policies: --reference)", dir);
    if (load_tokenizer(t, dir) < 0 || checkpoint_load(m, dir, kind) < 0) return -1;
    if (t->eos < 0) return fail(EX_DATAERR, "%s: the tokenizer has no end-of-text token", dir);
    if (check_fit(m, t, dir) < 0) return -1;
    if (c.reward || kind != LOAD_REWARD_MODEL) return 0;
    if (opt.pooling >= 0) m->config.pooling = (Pooling)opt.pooling;
    return model_random_head(m, (uint64_t)opt.raw_head);
}

// Learns a vocabulary from the texts of files; prompts and completions are read as they stand.
static int learn_vocabulary(Tokenizer *t, const List *files, const List *more_files, int size) {
    Tokenizer bytes = {0};
    Buffer all = {0};
    size_t *end = NULL, n = 0, capacity = 0;
    DataOptions o = data_options();
    o.max_length = o.max_prompt_length = 0;
    int ok = tokenizer_learn(&bytes, "", &(size_t){0}, 1, 258) == 0;  // bytes only, to read the files with
    for (int i = 0; ok && i < files->n + more_files->n; i++) {
        const char *spec = i < files->n ? files->item[i] : more_files->item[i - files->n];
        Dataset d;
        ok = dataset_load(&d, spec, &bytes, &o) == 0;
        if (!ok) break;
        for (size_t r = 0; ok && r < d.num_records; r++) {
            const Record *x = &d.record[r];
            ok = reserve(&end, &capacity, n + 1, sizeof *end) == 0
              && tokenizer_decode(&bytes, d.token + x->prompt.start, (size_t)x->prompt.len, &all) == 0
              && (!x->count || tokenizer_decode(&bytes, d.token + d.answer[x->first].tokens.start,
                                                (size_t)d.answer[x->first].tokens.len, &all) == 0);
            if (ok) end[n++] = all.len;
        }
        dataset_free(&d);
    }
    ok = ok && tokenizer_learn(t, all.data, end, n, size) == 0;
    tokenizer_free(&bytes), buffer_free(&all), free(end);
    return ok ? 0 : -1;
}

// A fresh model of GPT-NeoX's shape: parallel residual, rotary on half of each head, tied output.
static Config new_config(int vocab_size) {
    int C = opt.hidden_size, HD = C / opt.num_heads;
    return (Config){.family = FAMILY_NEOX, .vocab_size = vocab_size, .channels = C,
                    .num_layers = opt.num_layers, .num_heads = opt.num_heads, .num_kv_heads = opt.num_heads,
                    .head_dim = HD, .hidden = 4*C, .parallel_residual = 1, .tied = 1,
                    .max_positions = opt.max_length > 2048 ? opt.max_length : 2048,
                    .rotary_dims = HD / 4 * 2, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1,
                    .activation = ACT_GELU_ERF, .norm_eps = 1e-5f, .rope_theta = 10000,
                    .bos = 0, .eos = 0, .pad = 1};
}

// more train: opt.training on --train, and what it leaves in --out. 0, or -1 after fail().
int command_train(void) {
    static Run run;
    const Objective *o = opt.training;
    const char *dir = opt.model.n ? opt.model.item[0] : NULL;
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    if (!o->windows && !dir) return fail(EX_USAGE, "--model is needed: the folder to start from");
    if (opt.hidden_size % opt.num_heads || opt.hidden_size / opt.num_heads % 4)
        return fail(EX_USAGE, "--hidden_size must be a multiple of 4 x --num_attention_heads");
    if (folder_make(opt.out) < 0) return -1;

    if (dir || opt.tokenizer) {
        if (load_tokenizer(&run.tokenizer, dir) < 0
            || file_read(&run.tokenizer_text, tokenizer_path(dir)) < 0) return -1;
    } else if (learn_vocabulary(&run.tokenizer, &opt.train, &opt.then, opt.vocab_size) < 0
               || tokenizer_json(&run.tokenizer, &run.tokenizer_text) < 0) return -1;
    if (dir) {
        if (checkpoint_load(&run.model, dir, o->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL) < 0)
            return -1;
    } else if (model_init(&run.model, new_config(run.tokenizer.vocab_size)) < 0) return -1;
    if ((!dir || opt.random_weights) && model_random(&run.model, (uint64_t)opt.seed) < 0) return -1;
    if (o->reward && opt.pooling >= 0) run.model.config.pooling = (Pooling)opt.pooling;
    if (o->reward && opt.raw_head >= 0 && model_random_head(&run.model, (uint64_t)opt.raw_head) < 0)
        return -1;
    if (check_fit(&run.model, &run.tokenizer, dir) < 0) return -1;

    const List *then = opt.demo.n ? &opt.demo : &opt.then;            // no command has both
    run.objective = o;
    run.num_train = opt.train.n, run.num_then = then->n, run.num_eval = opt.eval.n;
    int files = run.num_train + run.num_then + run.num_eval;
    if (!(run.data = allocate((size_t)files + (size_t)run.num_train, sizeof *run.data))) return -1;
    if (o->reward && run.num_train > MORE_MAX_SETS)
        return fail(EX_USAGE, "--train: more than %d files", MORE_MAX_SETS);
    DataOptions d = data_options();
    if (o->windows) d.max_length = d.max_prompt_length = 0;           // texts are cut into windows instead
    for (int i = 0; i < files; i++) {
        const int use = i < opt.train.n ? FOR_TRAIN : i < opt.train.n + then->n ? FOR_THEN : FOR_EVAL;
        const char *spec = use == FOR_TRAIN ? opt.train.item[i]
                         : use == FOR_THEN ? then->item[i - opt.train.n]
                         : opt.eval.item[i - opt.train.n - then->n];
        if (load_data(&run.data[i], spec, &run.tokenizer, &d, o, use) < 0) return -1;
    }
    size_t tokens = 0;
    run.unit = o->grouped ? run.num_train : 1;
    if (o->data ? policy_data(&run) < 0 || plan_rows(&run) < 0
        : o->reward ? plan_pairs(&run, o->grouped) < 0
                  : plan_windows(&run, 0, run.num_train, opt.epochs, &tokens) < 0
                 || plan_windows(&run, run.num_train, run.num_train + run.num_then, opt.epochs, &tokens) < 0)
        return -1;
    char path[4096];
    snprintf(path, sizeof path, "%s/log.jsonl", opt.out);
    if (!(run.log = fopen(path, "w"))) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    int result = train(&run), bad = ferror(run.log);
    bad |= fclose(run.log) != 0;
    return result == 0 && bad ? fail(EX_IOERR, "%s: could not be written", path) : result;
}
#endif

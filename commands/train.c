/* train.c - more train: from the settings to a training run (the loop itself is ../train.c).  */
#ifndef COMMAND_TRAIN_C
#define COMMAND_TRAIN_C
#include "diagnose.c"
#include "options.c"

int command_train(const Objective *o);

// its parts
int train_check_settings(const Objective *o);
int run_load_tokenizer(Run *run, const char *dir);
int run_load_model(Run *run, const char *dir);
int run_load_data(Run *run);
int run_prepare(Run *run);

// A fresh model of GPT-NeoX's shape: parallel residual, rotary on half of each head, tied output.
// What ends a text of --tokenizer is not settled here.
static Config new_config(const Tokenizer *t) {
    const int C = opt.hidden_size, HD = C / opt.num_heads;
    return (Config){
        .family = FAMILY_NEOX, .vocab_size = t->vocab_size, .channels = C,
        .num_layers = opt.num_layers, .num_heads = opt.num_heads, .num_kv_heads = opt.num_heads,
        .head_dim = HD, .hidden = 4 * C, .parallel_residual = 1, .tied = 1,
        .max_positions = opt.max_length > 2048 ? opt.max_length : 2048, .rotary_dims = HD / 4 * 2,
        .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_ERF,
        .norm_eps = 1e-5f, .rope_theta = 10000,
        .bos = t->bos, .eos = opt.tokenizer ? -1 : t->eos, .pad = t->pad};
}

int train_check_settings(const Objective *o) {
    if (o->data == PROMPTS && opt.prompts) {
        if (opt.train.n) return fail(EX_USAGE, "--prompts and --train are one thing here");
        opt.train = (List){.item = {opt.prompts}, .n = 1};
    }
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    if (opt.dtype == DTYPE_Q8_0) {
        return fail(EX_USAGE, "--dtype q8_0: training writes f32, f16 or bf16; more export writes "
                    "GGUF files in q8_0");
    }
    if (opt.lora_r && (!opt.model.n || opt.random_weights)) {
        return fail(EX_USAGE, "--lora_r: adapters need the weights of --model, which they change");
    }
    const int all = !opt.lora_r && !opt.freeze;
    if (opt.base_dtype == BASE_FILE && (all || opt.random_weights)) {
        return fail(EX_USAGE, "--base_dtype file: all weights are to change; with --lora_r or "
                    "--freeze those of --model stay as they are");
    }
    if (opt.lora_r && opt.freeze) {
        return fail(EX_USAGE, "--freeze and --lora_r: the head alone, or adapters and the head");
    }
    if (o->data != DOCUMENTS && !opt.model.n) {
        return fail(EX_USAGE, "--model is needed: the folder to start from");
    }
    if (opt.hidden_size % opt.num_heads || opt.hidden_size / opt.num_heads % 4) {
        return fail(EX_USAGE, "--hidden_size must be a multiple of 4 x --num_attention_heads");
    }
    if (o->reward && opt.train.n > MORE_MAX_SETS) {
        return fail(EX_USAGE, "--train: more than %d files", MORE_MAX_SETS);
    }
    return 0;
}

// The tokenizer of the folder dir, or --tokenizer, or one learned from the training files.
int run_load_tokenizer(Run *run, const char *dir) {
    Buffer text = {0};
    if (dir || opt.tokenizer) {
        if (load_tokenizer(&run->tokenizer, dir) < 0) return -1;
        return keep_files(&run->beside, dir);
    }
    const char *who = "train, which learns a vocabulary first, reads";
    if (refuse_streams(&opt.train, who) < 0 || refuse_streams(&opt.then, who) < 0) return -1;
    if (learn_vocabulary(&run->tokenizer, &opt.train, &opt.then, opt.vocab_size) < 0) return -1;
    int result = tokenizer_json(&run->tokenizer, &text);
    if (result == 0) result = beside_put(&run->beside, "tokenizer.json", text.data, text.len);
    buffer_free(&text);
    return result;
}

// Policies and documents are trained with the end of text, a reward may be read from it.
static int check_ends(const Run *run, const char *dir) {
    const Config *c = &run->model.config;
    if (c->reward && c->pooling != POOL_EOS) return 0;
    if (dir || run->tokenizer.eos >= 0) return specials_need_end(&run->tokenizer, c, dir);
    return fail(EX_DATAERR, "%s: no end of text: name an added token that ends one as "
                "\"eos_token\" in tokenizer_config.json beside it", opt.tokenizer);
}

// Is there memory for training the model of dir at all, and for the other models of the run,
// whatever the data?  0, or -1 after fail().
static int check_room(const Run *run, const char *dir) {
    const Objective *o = run->objective;
    char text[MEMORY_TEXT];
    double beside, held;
    Config c;
    if (opt.force) return 0;
    if (config_load(&c, dir) < 0) return -1;
    c.reward = o->reward;
    const int kind = o->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    if (narrow_asked() && checkpoint_settle_narrow(&c, dir, kind) < 0) return -1;
    const LoraOptions lora = lora_options();
    if (adapter_settle(&c, &lora) < 0) return -1;
    if (train_beside(run, 1, &beside, &held) < 0) return -1;
    if (memory_fit(&c, 1, 1, beside, held, text) != MEMORY_LACKS) return 0;
    return fail(EX_OSERR, "%s: %s; --force trains all the same", dir, text);
}

// Fresh adapters, and what is to stand of them beside their weights.  0, or -1 after fail().
static int begin_adapters(Run *run, const char *dir) {
    Buffer text = {0};
    if (!run->model.config.lora_r) return 0;
    if (model_random_lora(&run->model, (uint64_t)opt.seed) < 0) return -1;
    int result = adapter_config_text(&text, &run->model.config, dir);
    if (result == 0) {
        result = beside_put(&run->beside, "adapter_config.json", text.data, text.len);
    }
    buffer_free(&text);
    return result;
}

// The model of the folder dir, or a fresh one.
int run_load_model(Run *run, const char *dir) {
    const Objective *o = run->objective;
    const int kind = o->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    Model *m = &run->model;
    if (dir && check_room(run, dir) < 0) return -1;
    const LoraOptions lora = lora_options();
    int status = dir ? checkpoint_load_as(m, dir, kind, &lora, narrow_asked())
                     : model_init(m, new_config(&run->tokenizer));
    if (status < 0) return -1;
    if (!dir || opt.random_weights) {
        if (model_random(m, (uint64_t)opt.seed) < 0) return -1;
    }
    if (begin_adapters(run, dir) < 0) return -1;
    m->config.temperature = 0;              // those of the rewards that it had
    m->config.isotonic.n = 0;
    if (o->reward && opt.pooling >= 0) m->config.pooling = (Pooling)opt.pooling;
    if (o->reward && opt.raw_head >= 0) {
        if (model_random_head(m, (uint64_t)opt.raw_head) < 0) return -1;
    }
    if (dir || opt.tokenizer) {
        if (settle_specials(&run->tokenizer, &m->config, dir) < 0) return -1;
    }
    if (check_ends(run, dir) < 0) return -1;
    return check_fit(m, &run->tokenizer, dir, opt.max_length);
}

static int load_files(Run *run, const List *files, DataUse use, Dataset *to) {
    DataOptions o = data_options();
    if (run->objective->data == DOCUMENTS) {
        o.max_length = 0;                           // cut into windows instead
        o.max_prompt_length = 0;
        o.plain_text = ONE_DOCUMENT;
    }
    if (run->objective->data == PROMPTS) o = prompts_options();
    for (int i = 0; i < files->n; i++) {
        const Tokenizer *t = &run->tokenizer;
        if (load_data(&to[i], files->item[i], t, &o, run->objective, use) < 0) return -1;
    }
    return 0;
}

// All files, with room for KTO's mismatched sets after them.
int run_load_data(Run *run) {
    const List *then = &opt.then;                   // no objective has two of these
    if (opt.demo.n) then = &opt.demo;
    if (opt.bapo_base.n) then = &opt.bapo_base;
    const int K = opt.train.n, files = K + then->n + opt.eval.n;
    run->num_train = K;
    run->num_then = then->n;
    run->num_eval = opt.eval.n;
    if (!(run->data = allocate((size_t)(files + K), sizeof *run->data))) return -1;
    if (load_files(run, &opt.train, FOR_TRAIN, run->data) < 0) return -1;
    if (load_files(run, then, FOR_THEN, run->data + K) < 0) return -1;
    return load_files(run, &opt.eval, FOR_EVAL, run->data + K + then->n);
}

// The models of --references score the very tokens that the policy is trained on.
static int check_reference_folders(const Run *run, const char *dir) {
    char policy[65], other[65];
    if (opt.references.n && tokenizer_identity(policy, dir) < 0) return -1;
    for (int i = 0; i < opt.references.n; i++) {
        const char *reference = opt.references.item[i];
        Model m = {0};
        if (config_folder(reference) < 0 || config_load(&m.config, reference) < 0) return -1;
        if (tokenizer_identity(other, reference) < 0) return -1;
        if (strcmp(policy, other) != 0) {
            return fail(EX_DATAERR, "--references %s: another tokenizer than that of %s; "
                        "log-probabilities of other tokens do not compare", reference, dir);
        }
        if (check_fit(&m, &run->tokenizer, reference, opt.max_length) < 0) return -1;
    }
    return 0;
}

// All but the gradients and what a step takes.  0, or -1 after fail().
int run_prepare(Run *run) {
    const Objective *o = run->objective;
    const Command command = command_of_objective(o);
    const char *dir = opt.model.n ? opt.model.item[0] : NULL;
    if (buffer_printf(&run->recipe, "train=%s\n", o->name) < 0) return -1;
    if (options_text(&run->recipe, &command, 0) < 0) return -1;
    if (options_text(&run->manner, &command, 1) < 0) return -1;
    if (buffer_printf(&run->manner, "%d threads, %s\n", kernels_threads(), kernels_name()) < 0) {
        return -1;
    }
    if (options_words(&run->command, &command) < 0) return -1;
    if (run_load_tokenizer(run, dir) < 0) return -1;
    if (run_load_model(run, dir) < 0) return -1;
    if (check_reference_folders(run, dir) < 0) return -1;
    if (run_load_data(run) < 0) return -1;
    run->unit = o->bundles ? run->num_train : 1;
    if (run_open(run) < 0) return -1;
    return plan_make(run);
}

// Trains the objective on --train and leaves a model folder and log.jsonl in --out, which no other
// run can write to meanwhile.  0, or -1 after fail().
int command_train(const Objective *o) {
    Run run = {.objective = o, .out = opt.out};
    Folder out = {.lock = -1};
    if (train_check_settings(o) < 0) return -1;
    const char *dir = opt.model.n ? opt.model.item[0] : NULL;
    stop_catch(&out);
    int status = folder_enter(&out, opt.out);
    if (status == 0) status = run_prepare(&run);
    if (status == 0) status = diagnose_run(&run, dir);
    if (status == 0) status = train(&run);
    if (status < 0 && error_code == EX_TEMPFAIL && stop_asked()) options_print_again();
    stop_hold();                                    // the folder is left here, not by a signal
    run_free(&run);
    folder_leave(&out);
    return status;
}
#endif

/* options.c - the options of all commands in one table: parser, help, defaults, ranges, a run's header.    */
#ifndef OPTIONS_C
#define OPTIONS_C
#include "../policy.c"
#include "bench.c"

// A bit each, and sets of them that have an option in common.
enum { LM = 1, REWARD = 1 << 1, MORE = 1 << 2, SFT = 1 << 3, DPO = 1 << 4, IPO = 1 << 5, POINTWISE = 1 << 6,
       ULMA = 1 << 7, UNLIKELIHOOD = 1 << 8, KTO = 1 << 9, ORPO = 1 << 10, SIMPO = 1 << 11, EVAL = 1 << 12,
       SCORE = 1 << 13, SAMPLE = 1 << 14, TOKENIZE = 1 << 15, INSPECT = 1 << 16, GRADCHECK = 1 << 17,
       SELFTEST = 1 << 18, BENCH = 1 << 19, DOCTOR = 1 << 20, BESTOF = 1 << 21, COMPARE = 1 << 22,
       ALL = (1 << 23) - 1, HEADS = REWARD | MORE, BY_PAIRS = DPO | IPO | ORPO | SIMPO,
       BY_POINTS = POINTWISE | ULMA | UNLIKELIHOOD | KTO, REFERENCE = DPO | IPO | POINTWISE | ULMA | KTO,
       POLICY = SFT | BY_PAIRS | BY_POINTS, TRAIN = LM | HEADS | POLICY, DATA = TRAIN | EVAL | SCORE | DOCTOR,
       WRITE = SAMPLE | BESTOF | COMPARE, JUDGE = BESTOF | COMPARE };

typedef struct {
    const char *name, *object;                                        // the words that call it, or NULL
    int bit;
    int (*run)(void);                                                 // 0, or -1 after fail()
    const Objective *objective;                                       // of train
    const char *help;
} Command;

enum Kind { INT, REAL, TEXT, LIST, FLAG, CHOICE };
static const char *const over_lengths[] = {"drop", "truncate", "raise", NULL},
    *const poolings[] = {"last", "eos", "mean", NULL},
    *const schedules[] = {"linear", "cosine", "constant", NULL},
    *const more_ways[] = {"release", "paper", "uniform", NULL},
    *const precisions[] = {"fp32", "bf16", NULL},
    *const reductions[] = {"joint", "class-means", "tokens", NULL},
    *const logps[] = {"sum", "mean", NULL},
    *const label_kinds[] = {"auto", "binary", "continuous", NULL},
    *const score_scales[] = {"none", "unit", "symmetric", NULL},
    *const demo_kinds[] = {"auto", "positives", "none", NULL},
    *const sft_sides[] = {"chosen", "rejected", "both", NULL},
    *const compats[] = {"none", "ulma-release", NULL};

// Parser, help, defaults, ranges and the run's header all come from here.  An option may stand here several
// times, for commands with other defaults.
static const struct Option {
    const char *name;
    int commands;
    enum Kind kind;
    void *to;
    double standard, min, max;                                        // of numbers and choices
    const char *const *choices;
    const char *text, *help;                                          // standard of a text
} options[] = {
    {"model",               ALL & ~SELFTEST, LIST, &opt.model, 0, 0, 0, 0, 0,
     "model folder (eval, compare: several, as NAME=FOLDER)"},
    {"train",               TRAIN | TOKENIZE | BENCH | DOCTOR, LIST, &opt.train, 0, 0, 0, 0, 0,
     "training files, FILE or FILE:NAME (bench: real pairs, one file)"},
    {"then",                LM, LIST, &opt.then, 0, 0, 0, 0, 0,
     "files to go on with when the others are used up, in the same schedule"},
    {"demo",                ULMA, LIST, &opt.demo, 0, 0, 0, 0, 0,
     "files of demonstrations: completions, pairs (chosen), true points"},
    {"eval",                TRAIN | EVAL | DOCTOR, LIST, &opt.eval, 0, 0, 0, 0, 0,
     "files to evaluate on, FILE or FILE:NAME"},
    {"from",                EVAL, LIST, &opt.from, 0, 0, 0, 0, 0,
     "results of earlier runs of eval (their --out files)"},
    {"reference",           EVAL, TEXT, &opt.reference, 0, 0, 0, 0, NULL,
     "folder of the model that policies started from; then --model are policies"},
    {"reference",           COMPARE, TEXT, &opt.reference, 0, 0, 0, 0, NULL,
     "folder of the model that KL is measured to, if not the first policy"},
    {"reference_cache",     REFERENCE, TEXT, &opt.reference_cache, 0, 0, 0, 0, NULL,
     "where the reference's log-probabilities are kept, if not in --out"},
    {"out",                 TRAIN | EVAL | TOKENIZE | BENCH | JUDGE, TEXT, &opt.out, 0, 0, 0, 0, NULL,
     "folder to write (eval, bench, bestof, compare: file of JSON lines)"},
    {"objective",           DOCTOR, TEXT, &opt.objective, 0, 0, 0, 0, NULL,
     "what the data is for, a word that follows train; standard: by its kind"},
    {"rows",                DOCTOR, INT, &opt.rows, 3, 0, 1000000, 0, 0,
     "of each file whose tokens are shown"},
    {"shape",               BENCH, LIST, &opt.shape, 0, 0, 0, 0, 0,
     "base (standard), pythia-70m, pythia-160m, pythia-410m, gpt2-124m, qwen3-0.6b; random weights"},
    {"precision",           BENCH, CHOICE, &opt.precision, -1, 0, 0, precisions, 0, "one instead of both"},
    {"only",                BENCH, LIST, &opt.only, 0, 0, 0, 0, 0,
     "measurements whose names start so: machine, product, step, layer, \"step reward\""},
    {"rounds",              BENCH, INT, &opt.rounds, 0, 0, MAX_ROUNDS, 0, 0,
     "of all measurements, 0: at least 3, more where they are short"},
    {"tokenizer",           ALL & ~(INSPECT | GRADCHECK | SELFTEST), TEXT, &opt.tokenizer, 0, 0, 0, 0, NULL,
     "tokenizer.json, if not the model folder's"},
    {"dtype",               TRAIN, CHOICE, &opt.dtype, 0, 0, 0, dtype_names, 0, "how weights are stored"},
    {"vocab_size",          LM, INT, &opt.vocab_size, 4096, 258, 1 << 20, 0, 0,
     "new model without --tokenizer: learn this many pieces from the training files"},
    {"hidden_size",         LM, INT, &opt.hidden_size, 256, 8, 65536, 0, 0, "new model: channels"},
    {"num_hidden_layers",   LM, INT, &opt.num_layers, 4, 1, MAX_LAYERS, 0, 0, "new model: layers"},
    {"num_attention_heads", LM, INT, &opt.num_heads, 4, 1, 1024, 0, 0, "new model: heads"},
    {"beta",                REFERENCE | EVAL, REAL, &opt.beta, 0.1, 0, 1e6, 0, 0,
     "of implicit rewards beta (log pi - log ref)"},
    {"beta",                SIMPO, REAL, &opt.beta, 2, 0, 1e6, 0, 0, "scale of mean log-probabilities"},
    {"label_smoothing",     DPO, REAL, &opt.label_smoothing, 0, 0, 0.5, 0, 0,
     "part of the pairs that are taken to be the wrong way round"},
    {"orpo_lambda",         ORPO, REAL, &opt.orpo_lambda, 0.1, 0, 1e6, 0, 0,
     "weight of the odds ratio beside imitation"},
    {"simpo_gamma",         SIMPO, REAL, &opt.simpo_gamma, 0.5, -1e6, 1e6, 0, 0, "margin"},
    {"desirable_weight",    KTO, REAL, &opt.desirable_weight, 1, 0, 1e6, 0, 0,
     "of texts with the label true"},
    {"undesirable_weight",  KTO, REAL, &opt.undesirable_weight, 1, 0, 1e6, 0, 0,
     "of texts with the label false"},
    {"log_z",               POINTWISE | ULMA, REAL, &opt.log_z, 0, -1e6, 1e6, 0, 0,
     "the whole constant beta log Z added to an implicit reward"},
    {"logp",                (POLICY | EVAL) & ~(ORPO | SIMPO), CHOICE, &opt.logp, LOGP_SUM, 0, 0, logps, 0,
     "a text's log-probability over its tokens"},
    {"logp",                ORPO | SIMPO, CHOICE, &opt.logp, LOGP_MEAN, 0, 0, logps, 0,
     "a text's log-probability over its tokens"},
    {"reduction",           BY_POINTS, CHOICE, &opt.reduction, REDUCE_JOINT, 0, 0, reductions, 0,
     "a step's loss: mean of all texts, or a mean for each class added, or over tokens"},
    {"reduction",           SFT, CHOICE, &opt.reduction, REDUCE_TOKENS, 0, 0, reductions, 0,
     "a step's loss: mean of texts, or of all their tokens"},
    {"labels",              BY_POINTS, CHOICE, &opt.labels, 0, 0, 0, label_kinds, 0,
     "numbers other than 0 and 1 are scores (auto); binary: soft labels in [0,1]"},
    {"score_scale",         BY_POINTS, CHOICE, &opt.score_scale, 0, 0, 0, score_scales, 0,
     "scores as they are, or the files' range to [0,1] or [-1,1]"},
    {"demos",               ULMA, CHOICE, &opt.demos, 0, 0, 0, demo_kinds, 0,
     "points that are demonstrations: those with the label true (auto: and with scores none)"},
    {"sft_on",              SFT | ULMA, CHOICE, &opt.sft_on, 0, 0, 0, sft_sides, 0,
     "which answers of pairs are imitated"},
    {"compat",              ULMA, CHOICE, &opt.compat, 0, 0, 0, compats, 0,
     "the authors' program: --logp mean, --reduction class-means, the score 1 exactly is a "
     "demonstration, all else false or a score"},
    {"learning_rate",       LM | HEADS | SFT, REAL, &opt.learning_rate, 1e-4, 0, 1e30, 0, 0,
     "peak of the schedule"},
    {"learning_rate",       POLICY & ~SFT, REAL, &opt.learning_rate, 1e-5, 0, 1e30, 0, 0,
     "peak of the schedule"},
    {"head_rate",           HEADS, REAL, &opt.head_rate, 1, 0, 1e6, 0, 0,
     "factor of the rate for the reward head"},
    {"num_train_epochs",    TRAIN, REAL, &opt.epochs, 1, 0.001, 1000, 0, 0,
     "passes over the data; with --then, over the first files and then over the others"},
    {"max_steps",           TRAIN, INT, &opt.max_steps, 0, 0, INT_MAX, 0, 0,
     "stop the plan after this many steps, 0: all"},
    {"per_step_tokens",     LM, INT, &opt.per_step_tokens, 4096, 1, 1 << 30, 0, 0,
     "an update when this many tokens are seen"},
    {"per_step_pairs",      REWARD | MORE, INT, &opt.per_step_pairs, 20, 1, 1 << 20, 0, 0,
     "pairs an update (more: whole groups)"},
    {"per_step_rows",       POLICY, INT, &opt.per_step_pairs, 20, 1, 1 << 20, 0, 0,
     "rows of the files an update: pairs, points or completions"},
    {"micro_batch_tokens",  DATA | JUDGE, INT, &opt.micro_batch_tokens, 4096, 1, 1 << 24, 0, 0,
     "rows computed at a time; changes memory, not results"},
    {"recompute",           TRAIN | DOCTOR, FLAG, &opt.recompute, 0, 0, 0, 0, 0,
     "compute activations again in backward instead of keeping them: less memory, slower"},
    {"max_length",          BENCH, INT, &opt.max_length, 1024, 2, 1 << 20, 0, 0,
     "prompt + answer + end in tokens"},
    {"max_prompt_length",   BENCH, INT, &opt.max_prompt_length, 512, 0, 1 << 20, 0, 0,
     "prompts are cut from the left to this, 0: not"},
    {"max_length",          DATA | JUDGE, INT, &opt.max_length, 512, 2, 1 << 20, 0, 0,
     "prompt + answer + end (lm: window) in tokens"},
    {"max_prompt_length",   DATA | WRITE, INT, &opt.max_prompt_length, 256, 0, 1 << 20, 0, 0,
     "prompts are cut from the left to this, 0: not"},
    {"judge",               JUDGE, TEXT, &opt.judge, 0, 0, 0, 0, NULL, "folder of the reward model"},
    {"judge_max_length",    JUDGE, INT, &opt.judge_max_length, 0, 0, 1 << 20, 0, 0,
     "the judge's --max_length, 0: the same"},
    {"judge_max_prompt_length", JUDGE, INT, &opt.judge_max_prompt_length, 0, 0, 1 << 20, 0, 0, "likewise"},
    {"all",                 BESTOF, TEXT, &opt.all, 0, 0, 0, 0, NULL,
     "file for every completion with its reward"},
    {"over_length",         DATA & ~(POLICY | DOCTOR), CHOICE, &opt.over_length, 1, 0, 0, over_lengths, 0,
     "what to do with longer answers"},
    {"over_length",         POLICY, CHOICE, &opt.over_length, 0, 0, 0, over_lengths, 0,
     "what to do with longer answers (the end of a cut one is not scored)"},
    {"over_length",         DOCTOR, CHOICE, &opt.over_length, -1, 0, 0, over_lengths, 0,
     "what to do with longer answers; standard: as training, truncate (policies: drop)"},
    {"pooling", REWARD | MORE | EVAL | SCORE | DOCTOR, CHOICE, &opt.pooling, -1, 0, 0, poolings, 0,
     "where the reward is read, of a model without a head or to train: last token (standard), end, mean"},
    {"more",                MORE, CHOICE, &opt.more, 0, 0, 0, more_ways, 0,
     "weights as in the released code, as in the paper, or 1/K"},
    {"normalize",           MORE, CHOICE, &opt.normalize, -1, 0, 0, normalizer_names, 0,
     "of head gradients; standard: l2 (release), none (paper)"},
    {"alpha",               MORE, REAL, &opt.alpha, 0.99, 0, 1, 0, 0,
     "momentum of release: weight of the new gradient"},
    {"random_weights",      REWARD | MORE, FLAG, &opt.random_weights, 0, 0, 0, 0, 0,
     "start from fresh weights of the model's shape: a control"},
    {"prompts",             WRITE, TEXT, &opt.prompts, 0, 0, 0, 0, NULL,
     "file of rows with prompts (sample: else standard input: rows, or any text as one prompt)"},
    {"n",                   SAMPLE, INT, &opt.n, 1, 1, 1 << 20, 0, 0, "completions of each prompt"},
    {"n",                   BESTOF, INT, &opt.n, 4, 1, 1 << 20, 0, 0, "completions of each prompt"},
    {"unique",              SAMPLE, FLAG, &opt.unique, 0, 0, 0, 0, 0,
     "a prompt that stands in several rows once"},
    {"temperature",         WRITE, REAL, &opt.temperature, 1, 0, 1e6, 0, 0,
     "divides the logits; 0: always the most probable token"},
    {"top_k",               WRITE, INT, &opt.top_k, 0, 0, INT_MAX, 0, 0,
     "only the k most probable tokens, 0: all"},
    {"top_p",               WRITE, REAL, &opt.top_p, 1, 1e-9, 1, 0, 0,
     "only the most probable tokens that together have this probability"},
    {"min_p",               WRITE, REAL, &opt.min_p, 0, 0, 1, 0, 0,
     "only tokens with this part of the largest probability"},
    {"repetition_penalty",  WRITE, REAL, &opt.repetition_penalty, 1, 0.01, 100, 0, 0,
     "divides positive logits of tokens that were there, multiplies negative ones"},
    {"max_new_tokens",      WRITE, INT, &opt.max_new_tokens, 128, 1, 1 << 20, 0, 0, "of a completion"},
    {"stop",                WRITE, LIST, &opt.stop, 0, 0, 0, 0, 0,
     "strings that end a completion, which is cut before them"},
    {"batch",               WRITE, INT, &opt.batch, 16, 1, LOGITS_ROWS, 0, 0,
     "completions computed at a time; changes memory and speed, not results"},
    {"weight_decay",        TRAIN, REAL, &opt.weight_decay, 0, 0, 10, 0, 0,
     "decoupled, on matrices and the reward head"},
    {"adam_beta1",          TRAIN, REAL, &opt.beta1, 0.9, 0, 0.99999, 0, 0, ""},
    {"adam_beta2",          TRAIN, REAL, &opt.beta2, 0.999, 0, 0.99999, 0, 0, ""},
    {"adam_epsilon",        TRAIN, REAL, &opt.eps, 1e-8, 1e-30, 1, 0, 0, ""},
    {"max_grad_norm",       TRAIN, REAL, &opt.max_grad_norm, 1, 0, 1e30, 0, 0, "clipping, 0: none"},
    {"warmup_ratio",        TRAIN, REAL, &opt.warmup_ratio, 0, 0, 1, 0, 0, "part of the steps"},
    {"lr_scheduler_type",   TRAIN, CHOICE, &opt.scheduler, 0, 0, 0, schedules, 0, ""},
    {"logging_steps",       TRAIN, INT, &opt.logging_steps, 10, 1, INT_MAX, 0, 0,
     "a line every so many steps where there is no terminal"},
    {"eval_steps",          TRAIN, INT, &opt.eval_steps, 0, 0, INT_MAX, 0, 0, "0: at the end only"},
    {"save_steps",          TRAIN, INT, &opt.save_steps, 0, 0, INT_MAX, 0, 0, "0: at the end only"},
    {"seed",                TRAIN | EVAL | WRITE, INT, &opt.seed, 42, 0, INT_MAX, 0, 0,
     "of order, fresh weights, resampling, sampling; eval: of the bootstrap"},
    {"folds",               HEADS | POLICY | EVAL | JUDGE, INT, &opt.folds, 0, 0, 1000, 0, 0,
     "cut the data by prompt into so many folds:"},
    {"fold",                HEADS | POLICY | EVAL | JUDGE, INT, &opt.fold, 0, 0, 999, 0, 0,
     "training and bestof leave this one out, eval and compare take it alone"},
    {"raw_head",            EVAL | SCORE | REWARD | MORE, INT, &opt.raw_head, -1, -1, INT_MAX, 0, 0,
     "seed of a N(0, 0.02) head for models that have none, or to train (standard: zero)"},
    {"learn",               TOKENIZE, INT, &opt.learn, 0, 0, 1 << 20, 0, 0,
     "learn so many pieces from --train, write --out/tokenizer.json"},
    {"template",            DATA | WRITE, TEXT, &opt.template_, 0, 0, 0, 0, "plain",
     "of messages: plain or none"},
    {"prompt_key",          DATA | WRITE, TEXT, &opt.prompt_key, 0, 0, 0, 0, NULL,
     "name of the prompt in JSON lines, if not prompt"},
    {"chosen_key",          DATA | WRITE, TEXT, &opt.chosen_key, 0, 0, 0, 0, NULL, ""},
    {"rejected_key",        DATA | WRITE, TEXT, &opt.rejected_key, 0, 0, 0, 0, NULL, ""},
    {"precision", TRAIN | EVAL | SCORE | WRITE | DOCTOR, CHOICE, &opt.precision, 0, 0, 0, precisions, 0,
     "operands of weight products; the rest is float"},
    {"threads",             ALL, INT, &opt.threads, 0, 0, 4096, 0, 0,
     "0: OMP_NUM_THREADS, else all cores; results do not depend on it"},
    {"quiet",               ALL, FLAG, &opt.quiet, 0, 0, 0, 0, 0, "no progress"},
    {"help",                ALL, FLAG, &opt.help, 0, 0, 0, 0, 0, "this text"},
};
enum { NUM_OPTIONS = sizeof options / sizeof *options };
static const struct { const char *other, *name; } aliases[] = {
    {"model_name_or_path", "model"}, {"output_dir", "out"},
    {"num_layers", "num_hidden_layers"}, {"num_heads", "num_attention_heads"},
};

static void set_default(const struct Option *o) {
    if (o->kind == INT || o->kind == FLAG || o->kind == CHOICE) *(int *)o->to = (int)o->standard;
    if (o->kind == REAL) *(double *)o->to = o->standard;
    if (o->kind == TEXT) *(const char **)o->to = o->text;
    if (o->kind == LIST) ((List *)o->to)->n = 0;
}

static int has_option(int bit, const char *name) {
    for (int i = 0; i < NUM_OPTIONS; i++)
        if ((options[i].commands & bit) && !strcmp(options[i].name, name)) return 1;
    return 0;
}

// The standards of a command, but for options that the command `set` has too.
static void adopt_defaults(int bit, int set) {
    for (int i = 0; i < NUM_OPTIONS; i++)
        if ((options[i].commands & bit) && !has_option(set, options[i].name)) set_default(&options[i]);
}

static void set_defaults(int bit) {
    for (int i = 0; i < NUM_OPTIONS; i++) set_default(&options[i]);
    adopt_defaults(bit, 0);                               // of several lines its own: bench has other lengths
}

static void print_value(FILE *f, const struct Option *o) {
    if (o->kind == INT || o->kind == FLAG) fprintf(f, "%d", *(int *)o->to);
    if (o->kind == CHOICE) fprintf(f, "%s", *(int *)o->to < 0 ? "standard" : o->choices[*(int *)o->to]);
    if (o->kind == REAL) fprintf(f, "%.15g", *(double *)o->to);
    if (o->kind == TEXT) fprintf(f, "%s", *(const char **)o->to ? *(const char **)o->to : "");
    if (o->kind == LIST)
        for (int i = 0; i < ((List *)o->to)->n; i++)
            fprintf(f, "%s%s", i ? " " : "", ((List *)o->to)->item[i]);
}

static void print_options(const Command *c) {
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const struct Option *o = &options[i];
        if (!(o->commands & c->bit)) continue;
        printf("    --%-20s %s", o->name, o->help);
        if (o->kind == CHOICE)
            for (int k = 0; o->choices[k]; k++)
                printf("%s%s", k ? " | " : *o->help ? ": " : "", o->choices[k]);
        if ((o->kind == INT || o->kind == REAL || o->kind == CHOICE) || (o->kind == TEXT && o->text)) {
            printf("  [");
            print_value(stdout, o);
            printf("]");
        }
        printf("\n");
    }
}

static int set_option(const struct Option *o, const char *value) {
    char *end;
    if (!*value && o->kind != FLAG) return fail(EX_USAGE, "--%s: a value is missing", o->name);
    switch (o->kind) {
    case FLAG: *(int *)o->to = 1; return 0;
    case TEXT: *(const char **)o->to = value; return 0;
    case LIST: {
        List *l = o->to;
        if (l->n == MAX_FILES) return fail(EX_USAGE, "--%s: more than %d values", o->name, MAX_FILES);
        l->item[l->n++] = value;
        return 0;
    }
    case CHOICE:
        for (int k = 0; o->choices[k]; k++)
            if (!strcmp(value, o->choices[k])) return *(int *)o->to = k, 0;
        return fail(EX_USAGE, "--%s %s: unknown; see --help for the choices", o->name, value);
    default: {
        double x = strtod(value, &end);
        if (!*value || *end || !(x >= o->min && x <= o->max) || (o->kind == INT && x != floor(x)))
            return fail(EX_USAGE, "--%s %s: %s from %.15g to %.15g is needed", o->name, value,
                        o->kind == INT ? "a whole number" : "a number", o->min, o->max);
        if (o->kind == INT) *(int *)o->to = (int)x;
        else *(double *)o->to = x;
        return 0;
    }
    }
}

static int parse_options(const Command *c, int argc, char **argv) {
    set_defaults(c->bit);
    for (int i = 0; i < argc; i++) {
        char name[64] = {0};
        const char *equals = strchr(argv[i], '='), *value = equals ? equals + 1 : NULL;
        size_t n = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        if (strncmp(argv[i], "--", 2) || n < 3 || n - 2 >= sizeof name)
            return fail(EX_USAGE, "%s: not an option; see more %s --help", argv[i], c->name);
        for (size_t k = 2; k < n; k++) name[k-2] = argv[i][k] == '-' ? '_' : argv[i][k];
        for (size_t k = 0; k < sizeof aliases / sizeof *aliases; k++)
            if (!strcmp(name, aliases[k].other)) strcpy(name, aliases[k].name);
        const struct Option *o = NULL;
        for (int k = 0; k < NUM_OPTIONS; k++)
            if (!strcmp(name, options[k].name) && (options[k].commands & c->bit)) o = &options[k];
        if (!o) return fail(EX_USAGE, "%s: unknown option of more %s%s%s; see --help", argv[i], c->name,
                            c->object ? " " : "", c->object ? c->object : "");
        if (o->kind == FLAG && equals) return fail(EX_USAGE, "--%s takes no value", o->name);
        if (o->kind == FLAG) value = "";
        if (!value && (i + 1 >= argc || !strncmp(argv[i+1], "--", 2)))
            return fail(EX_USAGE, "--%s: a value is missing", o->name);
        if (set_option(o, value ? value : argv[++i]) < 0) return -1;
        while (!equals && o->kind == LIST && i + 1 < argc && strncmp(argv[i+1], "--", 2))
            if (set_option(o, argv[++i]) < 0) return -1;
    }
    if (opt.fold && opt.fold >= opt.folds) return fail(EX_USAGE, "--fold must be below --folds");
    if (opt.compat == COMPAT_ULMA_RELEASE) opt.logp = LOGP_MEAN, opt.reduction = REDUCE_CLASS_MEANS;
    if (opt.normalize < 0) opt.normalize = opt.more == MORE_RELEASE ? NORMALIZE_L2 : NORMALIZE_NONE;
    return 0;
}

static void print_header(const Command *c) {
    fprintf(stderr, "more %s%s%s\n", c->name, c->object ? " " : "", c->object ? c->object : "");
    int column = 0;
    for (int i = 0; i < NUM_OPTIONS; i++) {
        const struct Option *o = &options[i];
        if (!(o->commands & c->bit) || o->to == &opt.help || o->to == &opt.quiet
            || (o->kind == TEXT && !*(const char **)o->to)
            || (o->kind == LIST && !((List *)o->to)->n)) continue;
        int wide = o->kind == LIST;
        fprintf(stderr, "%s%s=", column == 0 ? "  " : wide ? "\n  " : "  ", o->name);
        print_value(stderr, o);
        column = wide ? 0 : (column + 1) % 6;
        if (!column) fprintf(stderr, "\n");
    }
    if (column) fprintf(stderr, "\n");
}
#endif

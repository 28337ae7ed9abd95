/* more.c - language models, reward models and MORE from scratch, in plain C: the commands and their options.
 *
 *     cc -O2 more.c -o more -lm                                                                            */
#include "common.h"
#include "evaluate.c"
#include "align.c"
#include "bench.c"
#include "doctor.c"

// ---------------------------------------------------------------------------------------------- the commands

// A bit each, and sets of them that have an option in common.
enum { LM = 1, REWARD = 1 << 1, MORE = 1 << 2, SFT = 1 << 3, DPO = 1 << 4, IPO = 1 << 5, POINTWISE = 1 << 6,
       ULMA = 1 << 7, UNLIKELIHOOD = 1 << 8, KTO = 1 << 9, ORPO = 1 << 10, SIMPO = 1 << 11, EVAL = 1 << 12,
       SCORE = 1 << 13, SAMPLE = 1 << 14, TOKENIZE = 1 << 15, INSPECT = 1 << 16, GRADCHECK = 1 << 17,
       SELFTEST = 1 << 18, BENCH = 1 << 19, DOCTOR = 1 << 20, BESTOF = 1 << 21, COMPARE = 1 << 22,
       ALL = (1 << 23) - 1, HEADS = REWARD | MORE, BY_PAIRS = DPO | IPO | ORPO | SIMPO,
       BY_POINTS = POINTWISE | ULMA | UNLIKELIHOOD | KTO, REFERENCE = DPO | IPO | POINTWISE | ULMA | KTO,
       POLICY = SFT | BY_PAIRS | BY_POINTS, TRAIN = LM | HEADS | POLICY, DATA = TRAIN | EVAL | SCORE | DOCTOR,
       WRITE = SAMPLE | BESTOF | COMPARE, JUDGE = BESTOF | COMPARE };

static int command_train(int bit), command_doctor(int bit), command_eval(int bit), command_score(int bit),
    command_sample(int bit), command_bestof(int bit), command_compare(int bit), command_tokenize(int bit),
    command_inspect(int bit), command_selftest(int bit), command_gradcheck(int bit), command_bench(int bit);

static const struct Command {
    const char *name, *object;
    int bit;
    int (*run)(int bit);
    const Objective *objective;                                       // of train
    const char *help;
} commands[] = {
    {"train", "lm", LM, command_train, &objective_lm,
     "train a language model"},
    {"train", "reward", REWARD, command_train, &objective_reward,
     "train a reward model on one file, or on several mixed"},
    {"train", "more", MORE, command_train, &more_by[0],
     "train one reward model on several files with MORE's weights"},
    {"train", "sft", SFT, command_train, &policies[POLICY_SFT],
     "imitate completions, chosen answers, or points with a true label"},
    {"train", "dpo", DPO, command_train, &policies[POLICY_DPO],
     "align a policy with pairs: Rafailov et al. 2023"},
    {"train", "ipo", IPO, command_train, &policies[POLICY_IPO],
     "with pairs: Azar et al. 2023"},
    {"train", "pointwise-dpo", POINTWISE, command_train, &policies[POLICY_POINTWISE_DPO],
     "with labelled or scored answers: Cai et al. 2023"},
    {"train", "ulma", ULMA, command_train, &policies[POLICY_ULMA],
     "the same, with demonstrations imitated: Cai et al. 2023"},
    {"train", "unlikelihood", UNLIKELIHOOD, command_train, &policies[POLICY_UNLIKELIHOOD],
     "with labelled answers: up the true, down the false"},
    {"train", "kto", KTO, command_train, &policies[POLICY_KTO],
     "with labelled answers: Ethayarajh et al. 2024"},
    {"train", "orpo", ORPO, command_train, &policies[POLICY_ORPO],
     "with pairs, no reference: Hong et al. 2024"},
    {"train", "simpo", SIMPO, command_train, &policies[POLICY_SIMPO],
     "with pairs, no reference: Meng et al. 2024"},
    {"doctor", NULL, DOCTOR, command_doctor, NULL,
     "what training would see of your data, and the traps in it"},
    {"eval", NULL, EVAL, command_eval, NULL,
     "held-out numbers: accuracy, calibration, margins; of policies too"},
    {"score", NULL, SCORE, command_score, NULL,
     "rewards for JSON lines from standard input"},
    {"sample", NULL, SAMPLE, command_sample, NULL,
     "texts of a language model, to prompts from standard input"},
    {"bestof", NULL, BESTOF, command_bestof, NULL,
     "the best of n completions by a reward model: rows for train sft"},
    {"compare", NULL, COMPARE, command_compare, NULL,
     "policies on prompts: reward, wins, perplexity, KL, with intervals"},
    {"tokenize", NULL, TOKENIZE, command_tokenize, NULL,
     "show tokens, or learn a vocabulary"},
    {"inspect", NULL, INSPECT, command_inspect, NULL,
     "show a model folder"},
    {"selftest", NULL, SELFTEST, command_selftest, NULL,
     "does this machine compute the right bits?"},
    {"gradcheck", NULL, GRADCHECK, command_gradcheck, NULL,
     "backward against finite differences, of --model or of small models"},
    {"bench", NULL, BENCH, command_bench, NULL,
     "this machine's speed, and ours as a share of its limits"},
};
enum { NUM_COMMANDS = sizeof commands / sizeof *commands };

static const struct Command *command_of(int bit) {
    const struct Command *c = commands;
    while (c->bit != bit) c++;
    return c;
}
static const struct Command *command_of_objective(const char *name) {
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (commands[i].objective && !strcmp(commands[i].object, name)) return &commands[i];
    return fail(EX_USAGE, "--objective %s: unknown; more --help lists what can be trained", name), NULL;
}

// ----------------------------------------------------------------------------------------------- the options

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
    {"model",               ALL, LIST, &opt.model, 0, 0, 0, 0, 0,
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
    {"tokenizer",           ALL, TEXT, &opt.tokenizer, 0, 0, 0, 0, NULL,
     "tokenizer.json, if not the model folder's"},
    {"dtype",               TRAIN, TEXT, &opt.dtype, 0, 0, 0, 0, "f32",
     "how weights are stored: f32, f16 or bf16"},
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
    {"num_train_epochs",    TRAIN, REAL, &opt.epochs, 1, 0.001, 1000, 0, 0, "passes over the data"},
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
     "of a model without a head, where the reward is read: last token (standard), end token, mean"},
    {"more",                MORE, CHOICE, &opt.more, 0, 0, 0, more_ways, 0,
     "weights as in the released code, as in the paper, or 1/K"},
    {"normalize",           MORE, CHOICE, &opt.normalize, -1, 0, 0, more_normalizers, 0,
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
     "seed of a N(0, 0.02) head for models that have none (training: zero)"},
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

static const char *const eval_help =
    "\neval compares rows of reward models, or with --reference of policies, on columns of data.  --model\n"
    "is FOLDER or NAME=FOLDER.  Of reward models NAME=A+B+C means the mean of the three rewards, and a %s\n"
    "in FOLDER becomes the name of the evaluation file, so that each file has its own model.  A policy's\n"
    "reward is beta (log pi - log ref); points give the area under its curve, all data the perplexity of\n"
    "the good answers.  --out keeps every pair's reward difference; --from reads such files back, so that\n"
    "cells, seeds and folds computed apart make one table.\n";

static const char *const compare_help =
    "\ncompare gives each policy the prompts of one file, each once, and the same random numbers.  Rewards and wins\n"
    "are the judge's; equal rewards and equal texts are ties.  KL is the mean of log pi - log ref over the policy's\n"
    "own completions (of the policy itself at temperature 1 without filters).  Perplexity is that of the file's\n"
    "answers, of good ones where the file says which: chosen, labelled true, scored above the mean.  Intervals are\n"
    "95 %, by bootstrap over prompts; +- is one standard error.\n";

static void print_help(const struct Command *c) {
    set_defaults(c ? c->bit : 0);
    if (!c) {
        printf("more - reward models and policies from preferences, in plain C\n\n");
        for (int i = 0; i < NUM_COMMANDS; i++)
            printf("    more %-9s%-14s %s\n", commands[i].name, commands[i].object ? commands[i].object : "",
                   commands[i].help);
        printf("\nmore COMMAND --help lists a command's options.  "
               "MORE_ISA=scalar|avx2|avx512|neon forces an instruction set.\n");
        return;
    }
    printf("more %s%s%s - %s\n\n", c->name, c->object ? " " : "", c->object ? c->object : "", c->help);
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
    if (c->bit == EVAL || c->bit == COMPARE) printf("%s", c->bit == EVAL ? eval_help : compare_help);
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

static int parse_options(const struct Command *c, int argc, char **argv) {
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
    if (opt.compat == COMPAT_ULMA_RELEASE) opt.logp = LOGP_MEAN, opt.reduction = REDUCE_CLASS_MEANS;
    if (opt.normalize < 0) opt.normalize = opt.more == MORE_RELEASE ? NORMALIZE_L2 : NORMALIZE_NONE;
    return 0;
}

static void print_header(const struct Command *c) {
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

// -------------------------------------------------------------------------------------------------- loading

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

static int command_train(int bit) {
    static Run run;
    const Objective *o = bit == MORE ? &more_by[opt.more] : command_of(bit)->objective;
    const char *dir = opt.model.n ? opt.model.item[0] : NULL;
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    if (!o->windows && !dir) return fail(EX_USAGE, "--model is needed: the folder to start from");
    if (strcmp(opt.dtype, "f32") && strcmp(opt.dtype, "f16") && strcmp(opt.dtype, "bf16"))
        return fail(EX_USAGE, "--dtype %s: not a format of weights: f32, f16 or bf16", opt.dtype);
    if (opt.hidden_size % opt.num_heads || opt.hidden_size / opt.num_heads % 4)
        return fail(EX_USAGE, "--hidden_size must be a multiple of 4 x --num_attention_heads");
    if (opt.folds > 1 && opt.fold >= opt.folds) return fail(EX_USAGE, "--fold must be below --folds");
    if (folder_make(opt.out) < 0) return -1;

    if (dir || opt.tokenizer) {
        if (load_tokenizer(&run.tokenizer, dir) < 0
            || file_read(&run.tokenizer_text, tokenizer_path(dir)) < 0) return -1;
    } else if (learn_vocabulary(&run.tokenizer, &opt.train, &opt.then, opt.vocab_size) < 0
               || tokenizer_json(&run.tokenizer, &run.tokenizer_text) < 0) return -1;
    if (dir) {
        if (checkpoint_load(&run.model, dir, o->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL) < 0)
            return -1;
        if (run.tokenizer.vocab_size > run.model.config.vocab_size)
            return fail(EX_DATAERR, "%s: the tokenizer has %d pieces, the model %d", dir,
                        run.tokenizer.vocab_size, run.model.config.vocab_size);
    } else if (model_init(&run.model, new_config(run.tokenizer.vocab_size)) < 0) return -1;
    if ((!dir || opt.random_weights) && model_random(&run.model, (uint64_t)opt.seed) < 0) return -1;
    if (o->reward && opt.pooling >= 0) run.model.config.pooling = (Pooling)opt.pooling;
    if (o->reward && opt.raw_head >= 0 && model_random_head(&run.model, (uint64_t)opt.raw_head) < 0)
        return -1;
    if (opt.max_length > run.model.config.max_positions)
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    run.model.config.max_positions);

    const List *then = bit == ULMA ? &opt.demo : &opt.then;
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
                 || plan_windows(&run, run.num_train, run.num_train + run.num_then, 1, &tokens) < 0)
        return -1;
    char path[4096];
    snprintf(path, sizeof path, "%s/log.jsonl", opt.out);
    if (!(run.log = fopen(path, "w"))) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    int result = train(&run, o), bad = ferror(run.log) | fclose(run.log);
    return result == 0 && bad ? fail(EX_IOERR, "%s: could not be written", path) : result;
}

// ----------------------------------------------------------------------------------------- evaluating models

// NAME=FOLDER+FOLDER into name and folders; without a name the last part of the folder's path
static void split_model(const char *spec, char name[64], const char **folders) {
    const char *equals = strchr(spec, '='), *slash;
    *folders = equals ? equals + 1 : spec;
    for (slash = spec + strlen(spec); slash > spec && slash[-1] != '/'; slash--) ;
    if (equals) snprintf(name, 64, "%.*s", (int)(equals - spec), spec);
    else snprintf(name, 64, "%s", *slash ? slash : spec);
}

// A reward model, or a policy, and its tokenizer; --raw_head gives a reward model without a head one.
static int load_model(Model *m, Tokenizer *t, const char *dir, int kind) {
    Config c;
    if (checkpoint_config(&c, dir) < 0) return -1;
    if (!c.reward && kind == LOAD_REWARD_MODEL && opt.raw_head < 0)
        return fail(EX_DATAERR,
                    "%s: a language model without a reward head; train one, or give --raw_head SEED for a "
                    "random head (eval of policies: --reference)", dir);
    if (load_tokenizer(t, dir) < 0 || checkpoint_load(m, dir, kind) < 0) return -1;
    if (t->eos < 0) return fail(EX_DATAERR, "%s: the tokenizer has no end-of-text token", dir);
    if (t->vocab_size > m->config.vocab_size)
        return fail(EX_DATAERR, "%s: the tokenizer has %d pieces, the model %d", dir, t->vocab_size,
                    m->config.vocab_size);
    if (opt.max_length > m->config.max_positions)
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    m->config.max_positions);
    if (c.reward || kind != LOAD_REWARD_MODEL) return 0;
    if (opt.pooling >= 0) m->config.pooling = (Pooling)opt.pooling;
    return model_random_head(m, (uint64_t)opt.raw_head);
}

// dir with %s replaced by the data set's name
static void folder_for(char path[4096], const char *dir, size_t n, const char *name) {
    const char *mark = strstr(dir, "%s");
    if (mark && (size_t)(mark - dir) + 2 <= n)
        snprintf(path, 4096, "%.*s%s%.*s", (int)(mark - dir), dir, name, (int)(n - (size_t)(mark - dir) - 2),
                 mark + 2);
    else snprintf(path, 4096, "%.*s", (int)n, dir);
}

static int same_rows(const Dataset *a, const Dataset *b) {
    size_t i = 0;
    while (i < a->num_records && i < b->num_records && a->record[i].line_start == b->record[i].line_start)
        i++;
    return i == a->num_records && i == b->num_records;
}

// The mean reward of the folders A+B+C for every answer of the file, and the pairs' differences into a cell.
static int evaluate_cell(Cells *cells, const char *spec, const char *file, FILE *out) {
    char name[64], path[4096];
    const char *folders;
    DataOptions o = data_options();
    float *sum = NULL, *reward = NULL;
    Dataset d = {0};
    int ok = 1, parts = 0;
    Cell *c = NULL;
    split_model(spec, name, &folders);
    if (!*folders) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    for (const char *dir = folders; ok && *dir; ) {
        size_t n = strcspn(dir, "+");
        Model m = {0};
        Tokenizer t = {0};
        Dataset own = {0};                                            // each model has its own tokenizer
        char set[64];
        dataset_name(set, file);
        folder_for(path, dir, n, set);
        ok = load_model(&m, &t, path, LOAD_REWARD_MODEL) == 0;
        ok = ok && dataset_load(&own, file, &t, &o) == 0;
        if (ok && own.kind != DATA_PAIR)
            ok = fail(EX_DATAERR, "%s: %s data; pairs are needed", own.path, data_kind_name[own.kind]) == 0;
        ok = ok && keep_fold(&own, 1) == 0;
        if (ok && parts && !same_rows(&d, &own))
            ok = fail(EX_DATAERR, "%s: --over_length drop leaves other pairs to another model of %s",
                      own.path, name) == 0;
        if (ok && !parts)
            ok = (sum = allocate(own.num_answers, sizeof *sum))
              && (reward = allocate(own.num_answers, sizeof *reward));
        ok = ok && evaluate_rewards(&m, t.eos, &own, reward) == 0;
        for (size_t i = 0; ok && i < own.num_answers; i++) sum[i] += reward[i];
        if (parts++) dataset_free(&own);
        else d = own;
        model_free(&m), tokenizer_free(&t);
        dir += n + (dir[n] == '+');
    }
    ok = ok && (c = cell_of(cells, name, d.name)) != NULL;
    int from = c ? c->n : 0;
    for (size_t i = 0; ok && i < d.num_records; i++) {
        const Record *r = &d.record[i];
        const Answer *a = &d.answer[r->first];
        double delta = ((double)sum[r->first] - sum[r->first + 1]) / parts;
        ok = cell_add(c, delta, a[0].chars, a[1].chars, r->group, r->line) == 0;
    }
    if (ok && c->n == from) ok = fail(EX_DATAERR, "%s: no pairs", d.path) == 0;
    if (ok && out) ok = write_pairs(out, c, from) == 0;
    dataset_free(&d), free(sum), free(reward);
    return ok ? 0 : -1;
}

// dir's log-probabilities of a file's answers: d, logp(num_answers); the model is gone when it returns.
static int policy_logps(Dataset *d, double **logp, const char *dir, const char *file) {
    Model m = {0};
    Tokenizer t = {0};
    DataOptions o = data_options();
    int ok = load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL) == 0 && dataset_load(d, file, &t, &o) == 0;
    if (ok && d->kind != DATA_PAIR && d->kind != DATA_POINT && d->kind != DATA_COMPLETION)
        ok = needs(d, "pairs, points or completions are needed") == 0;
    ok = ok && keep_fold(d, 1) == 0 && (*logp = allocate(d->num_answers, sizeof **logp))
      && evaluate_logps(&m, t.eos, d, *logp) == 0;
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// One policy against the reference's log-probabilities ref of d: pairs go into a cell, all else is printed.
static int evaluate_policy(Cells *cells, const char *spec, const char *file, const Dataset *d,
                           const double *ref, FILE *out) {
    char name[64];
    const char *dir;
    Dataset own = {0};
    Buffer quoted = {0};
    double *logp = NULL, *reward = NULL;
    Held x;
    Cell *c = NULL;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    int ok = policy_logps(&own, &logp, dir, file) == 0;
    if (ok && (own.num_tokens != d->num_tokens
               || memcmp(own.token, d->token, d->num_tokens * sizeof *d->token)))
        ok = fail(EX_DATAERR,
                  "%s: %s has another tokenizer than the reference; log-probabilities of other tokens do "
                  "not compare", own.path, name) == 0;
    ok = ok && (reward = allocate(own.num_answers, sizeof *reward))
      && (own.kind != DATA_PAIR || (c = cell_of(cells, name, own.name)));
    if (ok) implicit_rewards(reward, &own, logp, ref, opt.beta);
    int from = c ? c->n : 0;
    for (size_t i = 0; ok && c && i < own.num_records; i++) {
        const Record *r = &own.record[i];
        const Answer *a = &own.answer[r->first];
        ok = cell_add(c, reward[r->first] - reward[r->first + 1], a[0].chars, a[1].chars, r->group,
                      r->line) == 0;
    }
    if (ok && c && out) ok = write_pairs(out, c, from) == 0;
    ok = ok && held_out(&x, &own, logp, reward) == 0;
    if (ok) printf("%s on ", name), print_held(stdout, own.name, &own, &x);
    if (ok && out && (ok = json_quote(&quoted, name, strlen(name)) == 0)) {
        fprintf(out, "{\"event\":\"policy\",\"model\":%s,\"eval\":\"%s\",\"n\":%d", quoted.data, own.name,
                x.n);
        write_held(out, "", &x);
        fprintf(out, "}\n");
    }
    dataset_free(&own), free(logp), free(reward), buffer_free(&quoted);
    return ok ? 0 : -1;
}

// The reference, then each policy: never two models at a time.
static int evaluate_policies(Cells *cells, const char *file, FILE *out) {
    Dataset d = {0};
    double *ref = NULL;
    int ok = policy_logps(&d, &ref, opt.reference, file) == 0;
    for (int i = 0; ok && i < opt.model.n; i++)
        ok = evaluate_policy(cells, opt.model.item[i], file, &d, ref, out) == 0;
    dataset_free(&d), free(ref);
    return ok ? 0 : -1;
}

static int command_eval(int bit) {
    Cells cells = {0};
    Output file = {.fd = -1};
    FILE *out = NULL;
    char a[64], b[64];
    const char *folder;
    int ok = 1;
    (void)bit;
    if (!opt.from.n && (!opt.model.n || !opt.eval.n))
        return fail(EX_USAGE, "--model and --eval are needed, or --from");
    if (opt.folds > 1 && opt.fold >= opt.folds) return fail(EX_USAGE, "--fold must be below --folds");
    for (int i = 0; i < opt.eval.n; i++)                               // cells of one name would be joined
        for (int k = 0; k < i; k++)
            if (dataset_name(a, opt.eval.item[i]), dataset_name(b, opt.eval.item[k]), !strcmp(a, b))
                return fail(EX_USAGE, "--eval: two files are called %s; give one another name: FILE:NAME", a);
    for (int i = 0; i < opt.model.n; i++)
        for (int k = 0; k < i; k++)
            if (split_model(opt.model.item[i], a, &folder), split_model(opt.model.item[k], b, &folder),
                !strcmp(a, b))
                return fail(EX_USAGE, "--model: two models are called %s; "
                            "give one another name: NAME=FOLDER", a);
    if (opt.out && (output_open(&file, opt.out) < 0 || !(out = fdopen(dup(file.fd), "w")))) {
        output_drop(&file);
        return error_code ? -1 : fail(EX_CANTCREAT, "%s: %s", opt.out, strerror(errno));
    }
    for (int i = 0; ok && i < opt.from.n; i++) ok = cells_read(&cells, opt.from.item[i]) == 0;
    for (int k = 0; ok && opt.reference && k < opt.eval.n; k++)
        ok = evaluate_policies(&cells, opt.eval.item[k], out) == 0;
    for (int i = 0; ok && !opt.reference && i < opt.model.n; i++)
        for (int k = 0; ok && k < opt.eval.n; k++)
            ok = evaluate_cell(&cells, opt.model.item[i], opt.eval.item[k], out) == 0;
    if (ok && !cells.n && opt.from.n) ok = fail(EX_DATAERR, "%s: no pairs in it", opt.from.item[0]) == 0;
    ok = ok && (!cells.n || print_table(&cells) == 0);
    for (size_t i = 0; ok && out && i < cells.n; i++) ok = write_metrics(out, &cells.cell[i]) == 0;
    if (out && (ferror(out) | fclose(out)) && ok)
        ok = fail(EX_IOERR, "%s: could not be written", opt.out) == 0;
    ok = ok && (!out || (output_close(&file) == 0 && output_rename(&file) == 0));
    output_drop(&file);
    cells_free(&cells);
    return ok ? 0 : -1;
}

/* Standard input to standard output: every row as it stands with what the model says added: scores_chosen,
 * scores_rejected and results (1, 0.5 or 0) for pairs, reward for one answer, rewards for several.         */
static int command_score(int bit) {
    Model m = {0};
    Tokenizer t = {0};
    Dataset d = {0};
    Buffer report = {0};
    DataOptions o = data_options();
    float *reward = NULL;
    (void)bit;
    o.as_given = 1;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    int ok = load_model(&m, &t, opt.model.item[0], LOAD_REWARD_MODEL) == 0
          && dataset_load(&d, "-", &t, &o) == 0
          && dataset_report(&d, &report) == 0;
    if (ok && !opt.quiet) fprintf(stderr, "%s", report.data);
    if (ok && d.kind == DATA_PROMPT)
        ok = fail(EX_DATAERR, "standard input: prompts without answers have no reward") == 0;
    ok = ok && (reward = allocate(d.num_answers, sizeof *reward))
      && evaluate_rewards(&m, t.eos, &d, reward) == 0;
    for (size_t i = 0; ok && i < d.num_records; i++) {
        const Record *r = &d.record[i];
        size_t n = r->line_len;
        const char *row = d.text.data + r->line_start;
        const float *x = reward + r->first;
        while (n && row[n-1] != '}') n--;
        for (size_t k = 0; k + 1 < n; k++) putchar(row[k] == '\n' || row[k] == '\r' ? ' ' : row[k]);
        if (d.kind == DATA_PAIR)
            printf(",\"scores_chosen\":%.9g,\"scores_rejected\":%.9g,\"results\":%g", x[0], x[1],
                   x[0] > x[1] ? 1 : x[0] == x[1] ? 0.5 : 0);
        else if (r->count == 1) printf(",\"reward\":%.9g", x[0]);
        else for (int k = 0; k < r->count; k++)
            printf("%s%.9g%s", k ? "," : ",\"rewards\":[", x[k], k + 1 < r->count ? "" : "]");
        printf("}\n");
    }
    if (ok && (fflush(stdout) || ferror(stdout)))
        ok = fail(EX_IOERR, "standard output: could not be written") == 0;
    model_free(&m), tokenizer_free(&t), dataset_free(&d), buffer_free(&report), free(reward);
    return ok ? 0 : -1;
}

// -------------------------------------------------------------------------------------------------- sampling

typedef struct {
    const Tokenizer *t; const Dataset *d;
    const Span *whole;                                                // (prompts) before they are cut
    int terminal, begun;                                   // the one that is going on: has it begun, how much
    size_t shown, texts, tokens;                                      // of it is shown; of all
} Samples;

// A completion as a line of JSON, on a terminal as it comes.
static int print_sample(void *context, const Completion *c) {
    Samples *s = context;
    const Span *p = &s->whole[c->prompt];
    Buffer prompt = {0}, line = {0};
    int ok = 1, begun = s->begun;
    s->tokens += c->finish ? (size_t)c->n : 0, s->texts += c->finish != GOING;
    if (!s->terminal && !c->finish) return 0;
    if (!begun) ok = tokenizer_decode(s->t, s->d->token + p->start, (size_t)p->len, &prompt) == 0;
    if (ok && s->terminal) {
        printf("%s%.*s%s", prompt.data ? prompt.data : "", (int)(c->len - s->shown), c->text + s->shown,
               c->finish ? "\n" : "");
        s->begun = !c->finish, s->shown = c->finish ? 0 : c->len;
    } else if (ok) {
        ok = buffer_append(&line, "{\"prompt\":", 10) == 0 && json_quote(&line, prompt.data, prompt.len) == 0
          && buffer_append(&line, ",\"completion\":", 14) == 0 && json_quote(&line, c->text, c->len) == 0;
        if (ok)
            printf("%s,\"sample\":%d,\"tokens\":%d,\"finish\":\"%s\",\"logp\":%.9g}\n", line.data, c->sample,
                   c->n, finish_name[c->finish], c->logp);
    }
    buffer_free(&prompt), buffer_free(&line);
    if (ok && (fflush(stdout) || ferror(stdout)))
        ok = fail(EX_IOERR, "standard output: could not be written") == 0;
    return ok ? 0 : -1;
}

static Sampling sampling(const Tokenizer *t, const Model *m, int n) {
    return (Sampling){.temperature = opt.temperature, .top_k = opt.top_k, .top_p = opt.top_p,
                      .min_p = opt.min_p, .repetition_penalty = opt.repetition_penalty,
                      .seed = (uint64_t)opt.seed, .n = n, .max_new_tokens = opt.max_new_tokens,
                      .batch = opt.batch, .eos = {t->eos, m->config.eos},
                      .num_stop = opt.stop.n, .stop = opt.stop.item};
}

/* The prompts of d, cut from the left; a row of kind text is itself one, an empty one is the token that
 * begins texts.  whole(rows) and prompt(rows) are filled; returns how many, -1 after fail().               */
static int sample_prompts(const Dataset *d, const int *begin, Span *whole, Prompt *prompt) {
    int n = 0;
    for (size_t i = 0, k; i < d->num_records; i++) {
        const Record *r = &d->record[i];
        const Span p = d->kind == DATA_TEXT ? d->answer[r->first].tokens : r->prompt;
        for (k = 0; opt.unique && k < (size_t)n; k++)
            if (whole[k].len == p.len
                && !memcmp(d->token + whole[k].start, d->token + p.start, (size_t)p.len * sizeof(int))) break;
        if (opt.unique && k < (size_t)n) continue;
        int len = opt.max_prompt_length && p.len > opt.max_prompt_length ? opt.max_prompt_length : p.len;
        whole[n] = p;
        prompt[n++] = len ? (Prompt){i, d->token + p.start + (p.len - len), len} : (Prompt){i, begin, 1};
        if (!len && *begin < 0)
            return fail(EX_DATAERR,
                        "%s:%zu: the prompt is empty, and the tokenizer has no token that begins a text",
                                            d->path, r->line);
    }
    return n;
}

static int command_sample(int bit) {
    static Model m;
    Tokenizer t = {0};
    Dataset d = {0};
    DataOptions o = data_options();
    Prompt *prompt = NULL;
    Span *whole = NULL;
    int n = 0;
    (void)bit;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    o.max_length = o.max_prompt_length = 0, o.as_given = 1, o.plain_text = !opt.prompts;
    int ok = load_tokenizer(&t, opt.model.item[0]) == 0
          && checkpoint_load(&m, opt.model.item[0], LOAD_LANGUAGE_MODEL) == 0
          && dataset_load(&d, opt.prompts ? opt.prompts : "-", &t, &o) == 0
          && (whole = allocate(d.num_records, sizeof *whole))
          && (prompt = allocate(d.num_records, sizeof *prompt));
    int begin = t.bos >= 0 ? t.bos : t.eos;
    const Sampling s = sampling(&t, &m, opt.n);
    Samples out = {.t = &t, .d = &d, .whole = whole, .terminal = isatty(STDOUT_FILENO)};
    ok = ok && (n = sample_prompts(&d, &begin, whole, prompt)) >= 0;
    double start = now();
    ok = ok && generate(&m, &t, prompt, n, &s, print_sample, &out) == 0;
    double wall = now() - start;
    if (ok && !opt.quiet)
        fprintf(stderr, "%zu completions of %d prompts: %zu tokens in %.2f s, %.0f tokens/s\n", out.texts, n,
                out.tokens,
                                  wall, (double)out.tokens / wall);
    model_free(&m), tokenizer_free(&t), dataset_free(&d), free(whole), free(prompt);
    return ok ? 0 : -1;
}

// -------------------------------------------------------------------------------------- best of n, comparing

// p: n completions of each prompt of the file by the model in dir; the model is gone when it returns.
static int write_completions(Policy *p, const char *dir, int n, int inside) {
    Model m = {0};
    Tokenizer t = {0};
    DataOptions o = data_options(), whole = o;
    const double start = now();
    o.over_length = OVER_TRUNCATE;
    whole.max_length = whole.max_prompt_length = 0, whole.as_given = 1;
    int ok = load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL) == 0
          && sha256_file(p->tokenizer, tokenizer_path(dir)) == 0
          && dataset_load(&p->file, opt.prompts, &t, &whole) == 0 && keep_fold(&p->file, inside) == 0
          && (p->whole = allocate(p->file.num_records, sizeof *p->whole))
          && (p->prompt = allocate(p->file.num_records, sizeof *p->prompt));
    const int begin = t.bos >= 0 ? t.bos : t.eos;
    const Sampling s = sampling(&t, &m, n);
    opt.unique = 1;
    p->t = &t;
    ok = ok && (p->num_prompts = sample_prompts(&p->file, &begin, p->whole, p->prompt)) >= 0
      && generate(&m, &t, p->prompt, p->num_prompts, &s, keep_completion, p) == 0;
    if (ok && !opt.quiet)
        fprintf(stderr, "%s: %zu completions of %d prompts in %.1f s\n", p->name, p->n, p->num_prompts,
                now() - start);
    ok = ok && (!inside || read_answers(p, &m, &t, opt.prompts, &o) == 0);
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// The policies are gone: from here on the lengths are the judge's.
static int judge(Policy *policy, int policies) {
    Model m = {0};
    Tokenizer t = {0};
    if (opt.judge_max_length) opt.max_length = opt.judge_max_length;
    if (opt.judge_max_prompt_length) opt.max_prompt_length = opt.judge_max_prompt_length;
    int ok = load_model(&m, &t, opt.judge, LOAD_REWARD_MODEL) == 0
          && judge_policies(policy, policies, &m, &t, data_options()) == 0;
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// What both commands need, before anything is computed.
static int check_judging(void) {
    Config c;
    if (!opt.model.n || !opt.judge || !opt.prompts)
        return fail(EX_USAGE, "--model, --judge and --prompts are needed");
    if (opt.folds > 1 && opt.fold >= opt.folds) return fail(EX_USAGE, "--fold must be below --folds");
    if (checkpoint_config(&c, opt.judge) < 0) return -1;
    return c.reward ? 0 : fail(EX_DATAERR, "--judge %s: a language model; a reward model is needed",
                               opt.judge);
}

static int command_bestof(int bit) {
    Policy p = {0};
    Buffer best = {0}, all = {0};
    const char *dir;
    (void)bit;
    if (check_judging() < 0) return -1;
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    split_model(opt.model.item[0], p.name, &dir);
    int ok = write_completions(&p, dir, opt.n, 0) == 0 && judge(&p, 1) == 0 && best_of_n(&p, &best, &all) == 0
          && file_write(opt.out, best.data, best.len) == 0
          && (!opt.all || file_write(opt.all, all.data, all.len) == 0);
    policy_free(&p), buffer_free(&best), buffer_free(&all);
    return ok ? 0 : -1;
}

static int command_compare(int bit) {
    const int n = opt.model.n;
    Policy *policy = allocate((size_t)n + 1, sizeof *policy);
    Model m = {0};
    Tokenizer t = {0};
    Buffer out = {0};
    const char *dir;
    char sha[65];
    (void)bit;
    int ok = policy && check_judging() == 0;
    for (int i = 0; ok && i < n; i++) {
        split_model(opt.model.item[i], policy[i].name, &dir);
        for (int k = 0; ok && k < i; k++)
            if (!strcmp(policy[i].name, policy[k].name))
                ok = fail(EX_USAGE, "--model: two models are called %s; give one another name: NAME=FOLDER",
                          policy[i].name) == 0;
    }
    for (int i = 0; ok && i < n; i++) {
        split_model(opt.model.item[i], policy[i].name, &dir);
        ok = write_completions(&policy[i], dir, 1, 1) == 0;
        if (ok && policy[i].num_prompts != policy->num_prompts)
            ok = fail(EX_DATAERR, "%s: other prompts than of %s", policy[i].name, policy->name) == 0;
        if (!i && !opt.reference) opt.reference = dir;
    }
    ok = ok && load_model(&m, &t, opt.reference, LOAD_LANGUAGE_MODEL) == 0
      && sha256_file(sha, tokenizer_path(opt.reference)) == 0;
    for (int i = 0; ok && i < n; i++)
        if (!strcmp(sha, policy[i].tokenizer)) ok = read_references(&policy[i], &m, t.eos) == 0;
    model_free(&m), tokenizer_free(&t);
    ok = ok && judge(policy, n) == 0;
    for (int i = 0; ok && i < n; i++) {
        const int reference = !strcmp(sha, policy[i].tokenizer);
        ok = measure_policy(&policy[i], policy, reference, (uint64_t)opt.seed) == 0
          && (!opt.out || write_comparison(&out, &policy[i], policy, reference) == 0);
    }
    if (ok) {
        static const char *const answers[] = {[DATA_COMPLETION] = "answers", [DATA_PAIR] = "chosen answers",
            [DATA_POINT] = "answers with the label true, or a score above the mean,"};
        printf("%d prompts of %s, one completion each; rewards by %s\n", policy->num_prompts, opt.prompts,
               opt.judge);
        printf("first is %s; KL is to %s", policy->name, opt.reference);
        if (policy->good)
            printf("; perplexity of %d %s of the file", policy->good, answers[policy->file.kind]);
        printf("\n");
        print_comparison(policy, n);
    }
    ok = ok && (!opt.out || file_write(opt.out, out.data, out.len) == 0);
    for (int i = 0; policy && i < n; i++) policy_free(&policy[i]);
    free(policy), buffer_free(&out);
    return ok ? 0 : -1;
}

// --------------------------------------------------------------------------------------------------- looking

static int command_tokenize(int bit) {
    Tokenizer t = {0};
    Buffer text = {0}, piece = {0}, quoted = {0};
    int *id = NULL, c, ok;
    size_t n = 0, capacity = 0;
    char path[4096];
    (void)bit;
    if (opt.learn) {
        if (!opt.train.n || !opt.out) return fail(EX_USAGE, "--learn needs --train and --out");
        if (opt.learn < 258) return fail(EX_USAGE, "--learn %d: at least 258 pieces are needed", opt.learn);
        snprintf(path, sizeof path, "%s/tokenizer.json", opt.out);
        ok = learn_vocabulary(&t, &opt.train, &opt.then, opt.learn) == 0 && tokenizer_json(&t, &text) == 0
          && folder_make(opt.out) == 0 && file_write(path, text.data, text.len) == 0;
        if (ok) printf("%s: %d pieces\n", path, t.vocab_size);
    } else {
        ok = load_tokenizer(&t, opt.model.n ? opt.model.item[0] : NULL) == 0;
        while (ok && (c = getchar()) != EOF) ok = buffer_append(&text, &(char){(char)c}, 1) == 0;
        ok = ok && tokenizer_encode(&t, text.data ? text.data : "", text.len, &id, &n, &capacity) == 0;
        for (size_t i = 0; ok && i < n; i++) {
            piece.len = quoted.len = 0;
            ok = tokenizer_decode(&t, id + i, 1, &piece) == 0
              && json_quote(&quoted, piece.data, piece.len) == 0;
            if (ok) printf("%d\t%s\n", id[i], quoted.data);
        }
    }
    tokenizer_free(&t), buffer_free(&text), buffer_free(&piece), buffer_free(&quoted), free(id);
    return ok ? 0 : -1;
}

static int command_inspect(int bit) {
    static const char *const family[] = {"GPT-NeoX", "GPT-2", "LLaMA", "Qwen2", "Qwen3"},
        *const act[] = {"gelu", "gelu (tanh)", "silu"};
    static Tensor list[MAX_TENSORS];
    Model m = {0};
    Params p;
    int count;
    char sha256[65], path[4096];
    (void)bit;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (checkpoint_load(&m, opt.model.item[0], LOAD_AS_STORED) < 0) return -1;
    const Config *c = &m.config;
    printf("%s, %s: %zu parameters\n", family[c->family], c->reward ? "reward model" : "language model",
           m.num_params);
    printf("vocabulary %d, channels %d, layers %d, heads %d (key/value %d) of %d, feed-forward %d%s, "
           "positions %d\n", c->vocab_size, c->channels, c->num_layers, c->num_heads, c->num_kv_heads,
           c->head_dim, c->hidden, c->gated ? " gated" : "", c->max_positions);
    printf("%s, %s residual, %s, rotary on %d, output %s%s\n", c->rms_norm ? "RMS norm" : "layer norm",
           c->parallel_residual ? "parallel" : "sequential", act[c->activation], c->rotary_dims,
           c->reward ? "a score head, pooling " : c->tied ? "tied" : "separate",
           c->reward ? poolings[c->pooling] : "");
    printf("training 4096 rows at a time takes %.2f GiB, with --recompute %.2f\n",
           (double)model_bytes(c, 4096, 4096, TRAINING) / 1073741824.0,
           (double)model_bytes(c, 4096, 4096, RECOMPUTING) / 1073741824.0);
    params_layout(&p, c, NULL, list, &count);
    for (int k = 0; k < count; k++) {
        float *host = allocate(list[k].size, sizeof *host), low, high;
        if (!host) return model_free(&m), -1;
        kernels_read(host, m.params_memory + list[k].offset, list[k].size);
        double square = 0;
        low = high = host[0];
        for (size_t i = 0; i < list[k].size; i++) {
            square += (double)host[i] * host[i];
            low = host[i] < low ? host[i] : low, high = host[i] > high ? host[i] : high;
        }
        printf("%10zu numbers  rms %9.6f  from %9.6f to %9.6f  %s\n", list[k].size,
               sqrt(square / (double)list[k].size), low, high, list[k].decay ? "decays" : "");
        free(host);
    }
    model_free(&m);
    snprintf(path, sizeof path, "%s/model.safetensors", opt.model.item[0]);
    if (sha256_file(sha256, path) == 0) printf("weights sha256 %s\n", sha256);
    return 0;
}

static int command_selftest(int bit) { (void)bit; return selftest_report(); }
static int command_bench(int bit) {
    Tokenizer t = {0};
    Dataset real = {0};
    DataOptions o = data_options();
    int ok = 1;
    (void)bit;
    if (opt.train.n > 1) return fail(EX_USAGE, "--train: one file is enough, not %d", opt.train.n);
    if (opt.train.n)
        ok = load_tokenizer(&t, opt.model.n ? opt.model.item[0] : NULL) == 0
          && load_data(&real, opt.train.item[0], &t, &o, &objective_reward, FOR_TRAIN) == 0;
    ok = ok && bench_report(opt.train.n ? &real : NULL, t.vocab_size) == 0;
    tokenizer_free(&t), dataset_free(&real);
    return ok ? 0 : -1;
}
static int command_doctor(int bit) {
    DataOptions o = data_options();
    (void)bit;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    const char *dir = opt.model.item[0], *tokenizer = tokenizer_path(dir);
    const char *name = opt.objective ? opt.objective : doctor_objective(tokenizer, &o);
    const struct Command *train = name ? command_of_objective(name) : NULL;
    if (!train) return -1;
    adopt_defaults(train->bit, DOCTOR);
    return doctor_report(dir, tokenizer, &o, name, train->objective);
}
static int command_gradcheck(int bit) {
    Config c;
    (void)bit;
    if (!opt.model.n) return gradcheck_report(NULL);
    return checkpoint_config(&c, opt.model.item[0]) < 0 ? -1 : gradcheck_report(&c);
}

int main(int argc, char **argv) {
    const struct Command *c = NULL;
    int used = 0;
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_help(NULL);
        if (argc < 2) return EX_USAGE;
        goto done;
    }
    for (int i = 0; i < NUM_COMMANDS && !c; i++) {
        if (strcmp(argv[1], commands[i].name)) continue;
        if (commands[i].object && (argc < 3 || strcmp(argv[2], commands[i].object))) continue;
        c = &commands[i], used = commands[i].object ? 3 : 2;
    }
    if (!c && !strcmp(argv[argc-1], "--help")) {
        print_help(NULL);
        goto done;
    }
    if (!c) {
        fprintf(stderr, "more: %s%s%s: unknown command; see more --help\n", argv[1], argc > 2 ? " " : "",
                argc > 2 ? argv[2] : "");
        return EX_USAGE;
    }
    if (parse_options(c, argc - used, argv + used) < 0) goto failed;
    if (opt.help) {
        print_help(c);
        goto done;
    }
#ifdef _OPENMP
    if (opt.threads) omp_set_num_threads(opt.threads);
#endif
    if (kernels_init(getenv("MORE_ISA")) < 0 || selftest_start() < 0) goto failed;
    if (opt.model.n > 1 && c->bit != EVAL && c->bit != COMPARE) {
        fail(EX_USAGE, "--model: one folder is enough, not %d", opt.model.n);
        goto failed;
    }
    kernels_precision(opt.precision == 1);
    if (c->bit & TRAIN) print_header(c);
    if (c->run(c->bit) < 0) goto failed;
done:
    if (!fflush(stdout) && !ferror(stdout)) return 0;
    fail(EX_IOERR, "standard output: could not be written");
failed:
    fprintf(stderr, "more: %s\n", error_text);
    return error_code ? error_code : 1;
}

/* options.c - the options of all commands in one table: parser, help, defaults, ranges, header.
 *
 * What an option is stands in the table; which command reads it, in that command's lists
 * (objectives.c for all that can be trained, more.c for the rest).  A list is names in one string;
 * "beta=2" reads beta with the default 2.  Only what a command lists is set to its default for it:
 * a real number that it does not list is NaN, so that no default leaks into a command that does not
 * show it.  */
#ifndef OPTIONS_C
#define OPTIONS_C
#include "../objectives.c"

typedef struct {
    const char *heading;                    // of this and those that follow in help, or NULL
    const char *name, *object;              // the words that call it; object may be NULL
    const char *help, *more_help;           // a line; a paragraph or NULL
    const char *needs;                      // what it cannot do without; NULL: nothing
    const char *example;                    // words that run, behind the examples before it
    const char *options[2];                 // lists, the later one wins
    const char *words;                      // the option that words without a name are of, or NULL
    int (*run)(void);                       // 0, or -1 after fail()
    const Objective *objective;             // of train, instead of run
} Command;

typedef enum { INT, REAL, WORDS, LIST, FLAG, CHOICE } OptionKind;

typedef struct {
    const char *heading;                    // of the options that follow, in help; then no option
    const char *name;
    OptionKind kind;
    void *to;                               // int, double, const char *, List, int, int
    const char *preset;                     // its value when nothing is given; NULL: none
    double min, max;                        // of numbers
    const char *const *choices;             // of CHOICE, up to NULL
    const char *help;
} Option;

Command command_of_objective(const Objective *o);
int  options_parse(const Command *c, int argc, char **argv);
int  options_adopt(const Command *from, const char *own);
int  options_check_lists(const Command *c);
int  command_lists(const Command *c, const Option *o, char preset[64]);
void option_print_value(FILE *f, const Option *o);
void options_give(const char *name);
void options_defaults(const Command *c);
void options_print_header(const Command *c);
void options_print_again(void);
int  options_text(Buffer *out, const Command *c, int all);
int  options_words(Buffer *out, const Command *c);
int  edit_distance(const char *a, const char *b);

// -------------------------------------------------------------------------------------- choices

static const char *const over_length_names[] = {
    [OVER_DROP] = "drop", [OVER_TRUNCATE] = "truncate", [OVER_RAISE] = "raise",
    [NUM_OVER_LENGTHS] = NULL};
static const char *const bad_row_names[] = {
    [BAD_ROWS_RAISE] = "raise", [BAD_ROWS_DROP] = "drop", [NUM_BAD_ROWS] = NULL};
static const char *const unscored_names[] = {
    [UNSCORED_DROP] = "drop", [UNSCORED_RAISE] = "raise", [NUM_UNSCORED] = NULL};
static const char *const turn_names[] = {
    [TURNS_LAST] = "last", [TURNS_ALL] = "all", [NUM_TURNS] = NULL};
static const char *const schedule_names[] = {
    [SCHEDULE_LINEAR] = "linear", [SCHEDULE_COSINE] = "cosine", [SCHEDULE_CONSTANT] = "constant",
    [NUM_SCHEDULES] = NULL};
static const char *const base_names[] = {
    [BASE_AUTO] = "auto", [BASE_FILE] = "file", [BASE_FP32] = "fp32", [NUM_BASES] = NULL};
static const char *const reward_mix_names[] = {
    [REWARD_MIX_MEAN] = "mean", [REWARD_MIX_MIN] = "min", [REWARD_MIX_MAXMIN] = "maxmin",
    [NUM_REWARD_MIXES] = NULL};
static const char *const answer_choices[] = {
    [ANSWER_TEXT] = "text", [ANSWER_WORD] = "word", [ANSWER_NUMBER] = "number",
    [NUM_ANSWERS] = NULL};
static const char *const logp_names[] = {
    [LOGP_SUM] = "sum", [LOGP_MEAN] = "mean", [NUM_LOGPS] = NULL};
static const char *const reduction_names[] = {
    [REDUCE_JOINT] = "joint", [REDUCE_CLASS_MEANS] = "class-means", [REDUCE_TOKENS] = "tokens",
    [NUM_REDUCTIONS] = NULL};
static const char *const label_names[] = {
    [LABELS_AUTO] = "auto", [LABELS_BINARY] = "binary", [LABELS_CONTINUOUS] = "continuous",
    [NUM_LABELS] = NULL};
static const char *const scale_names[] = {
    [SCALE_NONE] = "none", [SCALE_UNIT] = "unit", [SCALE_SYMMETRIC] = "symmetric",
    [NUM_SCALES] = NULL};
static const char *const demo_names[] = {
    [DEMOS_AUTO] = "auto", [DEMOS_POSITIVES] = "positives", [DEMOS_NONE] = "none",
    [NUM_DEMOS] = NULL};
static const char *const sft_side_names[] = {
    [SFT_ON_CHOSEN] = "chosen", [SFT_ON_REJECTED] = "rejected", [SFT_ON_BOTH] = "both",
    [NUM_SFT_SIDES] = NULL};
static const char *const reference_mix_names[] = {
    [MIX_MRPO] = "mrpo", [MIX_MDPO] = "mdpo", [NUM_REFERENCE_MIXES] = NULL};
static const char *const mix_weight_names[] = {
    [MIX_ADAPTIVE] = "adaptive", [MIX_EQUAL] = "equal", [MIX_SWAPPED] = "swapped",
    [NUM_MIXES] = NULL};
static const char *const group_loss_names[] = {
    [GROUP_SHARE] = "share", [GROUP_MEAN] = "mean", [NUM_GROUP_LOSSES] = NULL};
static const char *const compat_names[] = {
    [COMPAT_NONE] = "none", [COMPAT_ULMA_RELEASE] = "ulma-release", [NUM_COMPATS] = NULL};

static const char *const mstep_names[] = {
    [MSTEP_RESTART] = "restart", [MSTEP_WARM] = "warm", [NUM_MSTEPS] = NULL};
static const char *const estep_names[] = {
    [ESTEP_FULL] = "full", [ESTEP_SPLIT_HALF] = "split-half", [NUM_ESTEPS] = NULL};
static const char *const gamma_names[] = {
    [GAMMA_SOFT] = "soft", [GAMMA_HARD] = "hard", [NUM_GAMMAS] = NULL};
static const char *const shell_names[] = {
    [SHELL_BASH] = "bash", [SHELL_ZSH] = "zsh", [NUM_SHELLS] = NULL};
static const char *const fit_names[] = {
    [FIT_TYPE] = "type", [FIT_MIXTURE] = "mixture", [NUM_FITS] = NULL};

// ------------------------------------------------------------------------------------ the table

static const Option option_table[] = {
    {.heading = "files and folders"},
    {.name = "model", .kind = LIST, .to = &opt.model,
     .help = "model folder or .gguf file (eval, compare, regret: several, as NAME=FOLDER), or of "
             "policies a mixture.json"},
    {.name = "train", .kind = LIST, .to = &opt.train,
     .help = "training files, FILE or FILE:NAME (bench: real pairs, one file)"},
    {.name = "also", .kind = LIST, .to = &opt.also,
     .help = "policies whose regrets are shown too, NAME=FOLDER; no part of the mixture"},
    {.name = "then", .kind = LIST, .to = &opt.then,
     .help = "files to go on with when the others are used up, in the same schedule"},
    {.name = "demo", .kind = LIST, .to = &opt.demo,
     .help = "files of demonstrations: completions, pairs (chosen), true points"},
    {.name = "eval", .kind = LIST, .to = &opt.eval,
     .help = "files to evaluate on, FILE or FILE:NAME"},
    {.name = "from", .kind = LIST, .to = &opt.from,
     .help = "results of earlier runs of eval (their --out files)"},
    {.name = "bag", .kind = LIST, .to = &opt.bag,
     .help = "training files of a bag of words, whose row shows what counting words is worth"},
    {.name = "by", .kind = WORDS, .to = &opt.by,
     .help = "key of the rows, an annotator or a category: numbers for each of its values too "
             "(train em: who gave the row, default annotator)"},
    {.name = "people", .kind = WORDS, .to = &opt.people,
     .help = "people.json of train em: what its types predict together of each row's annotator"},
    {.name = "fit_rows", .kind = INT, .to = &opt.fit_rows, .preset = "0", .max = INT_MAX,
     .help = "with --people: so many rows of one who is not in it say of which type, and are then "
             "left out"},
    {.name = "fit", .kind = CHOICE, .to = &opt.fit, .preset = "type", .choices = fit_names,
     .help = "with --fit_rows: what they are to say: of which type each newcomer is, or how each "
             "person, known or not, mixes the types' rewards"},
    {.name = "prompts", .kind = WORDS, .to = &opt.prompts,
     .help = "file of rows with prompts (sample: else standard input: rows, or any text as one "
             "prompt)"},
    {.name = "reference", .kind = WORDS, .to = &opt.reference,
     .help = "folder of the model that policies started from (eval: then --model are policies; "
             "compare: that KL is measured to, if not the first policy)"},
    {.name = "bapo_base", .kind = LIST, .to = &opt.bapo_base,
     .help = "files with a completion of the starting model for each prompt (more sample), which "
             "stays as likely as it was: our reading of BAPO, Lee et al. 2024"},
    {.name = "references", .kind = LIST, .to = &opt.references,
     .help = "folders of the references, instead of --model: one, or several at once (MRPO, Le et "
             "al. 2024); each is loaded beside the policy, one after the other"},
    {.name = "reference_cache", .kind = WORDS, .to = &opt.reference_cache,
     .help = "where the reference's log-probabilities are kept, if not in --out"},
    {.name = "reward", .kind = LIST, .to = &opt.reward,
     .help = "folder of the reward model, or several: --reward_mix"},
    {.name = "critic", .kind = WORDS, .to = &opt.critic,
     .help = "folder of a reward model that becomes the critic; without one: leave-one-out"},
    {.name = "judge", .kind = LIST, .to = &opt.judge,
     .help = "folder of the reward model, or several: --reward_mix"},
    {.name = "reward_mix", .kind = CHOICE, .to = &opt.reward_mix, .preset = "mean",
     .choices = reward_mix_names,
     .help = "of several rewards, each text's mean or least, or those of the least mean"},
    {.name = "rubrics", .kind = LIST, .to = &opt.rubrics,
     .help = "scoring prompts, also --prompts: texts with {source} and {summary}, each in a file "
             "that is named as its feature; --model is asked"},
    {.name = "cache", .kind = WORDS, .to = &opt.cache,
     .help = "where what the model says is kept, from which a run goes on; default: OUT.cache"},
    {.name = "tokenizer", .kind = WORDS, .to = &opt.tokenizer,
     .help = "tokenizer.json, if not the model folder's"},
    {.name = "out", .kind = WORDS, .to = &opt.out,
     .help = "folder to write (eval, bench, bestof, compare, consistency: JSON lines; regret: "
             "mixture.json)"},
    {.name = "all", .kind = WORDS, .to = &opt.all,
     .help = "file for every completion with its reward"},

    {.heading = "data"},
    {.name = "template", .kind = WORDS, .to = &opt.template_,
     .help = "of messages, if not the model's own or plain: chatml, smollm2, qwen2, qwen2.5, "
             "qwen3, qwen3-2507, llama2, llama3, llama3.1, llama3.2, mistral, mistral-v1, "
             "mistral-v3, mistral-v3-tekken, mistral-v7, phi3, phi3.5, zephyr, tinyllama, tulu, "
             "olmo2, gemma, plain, none; turns: plain, and a prompt that is a string is the "
             "user's message"},
    {.name = "prompt_key", .kind = WORDS, .to = &opt.prompt_key,
     .help = "name of the prompt in JSON lines, if not prompt"},
    {.name = "chosen_key", .kind = WORDS, .to = &opt.chosen_key, .help = "likewise"},
    {.name = "rejected_key", .kind = WORDS, .to = &opt.rejected_key, .help = "likewise"},
    {.name = "max_length", .kind = INT, .to = &opt.max_length, .preset = "512", .min = 2,
     .max = 1 << 20, .help = "prompt + answer + end (lm: window) in tokens"},
    {.name = "max_prompt_length", .kind = INT, .to = &opt.max_prompt_length, .preset = "256",
     .max = 1 << 20, .help = "prompts are cut from the left to this, 0: not"},
    {.name = "reward_max_length", .kind = INT, .to = &opt.reward_max_length, .preset = "0",
     .max = 1 << 20, .help = "the --max_length of --reward, 0: the same"},
    {.name = "reward_max_prompt_length", .kind = INT, .to = &opt.reward_max_prompt_length,
     .preset = "0", .max = 1 << 20, .help = "likewise"},
    {.name = "judge_labels", .kind = WORDS, .to = &opt.judge_labels,
     .help = "pairs that people have judged, which the judge was not trained on: how often it is "
             "right goes into how often people would prefer a policy"},
    {.name = "judge_max_length", .kind = INT, .to = &opt.judge_max_length, .preset = "0",
     .max = 1 << 20, .help = "the judge's --max_length, 0: the same"},
    {.name = "judge_max_prompt_length", .kind = INT, .to = &opt.judge_max_prompt_length,
     .preset = "0", .max = 1 << 20, .help = "likewise"},
    {.name = "over_length", .kind = CHOICE, .to = &opt.over_length, .preset = "truncate",
     .choices = over_length_names,
     .help = "what to do with longer answers (of a cut one the end is not scored)"},
    {.name = "bad_rows", .kind = CHOICE, .to = &opt.bad_rows, .preset = "raise",
     .choices = bad_row_names,
     .help = "a row that cannot be read: stop there, or leave it out and say so"},
    {.name = "pairs", .kind = FLAG, .to = &opt.pairs,
     .help = "take rankings apart: each two answers, one of them better, are a pair"},
    {.name = "train_turns", .kind = CHOICE, .to = &opt.train_turns, .preset = "last",
     .choices = turn_names,
     .help = "which turns of the assistant in conversations are imitated, or of a language model "
             "measured (score: default all)"},
    {.name = "folds", .kind = INT, .to = &opt.folds, .preset = "0", .max = 1000,
     .help = "cut the data by prompt into so many folds:"},
    {.name = "fold", .kind = INT, .to = &opt.fold, .preset = "0", .max = 999,
     .help = "training and bestof leave this one out, eval and compare take it alone"},
    {.name = "features", .kind = WORDS, .to = &opt.features,
     .help = "a,b,c: the features to add (judge) or to read (default: those of the first row); and "
             "the names of lists of numbers where a file has no line of names"},
    {.name = "prefill", .kind = WORDS, .to = &opt.prefill,
     .help = "what the model's answer begins with: after <score> small models say a number, "
             "without reasons"},
    {.name = "retries", .kind = INT, .to = &opt.retries, .preset = "3", .max = 1000,
     .help = "so many more attempts where the model gives no score from 0 to 5, each with the next "
             "seed, at temperature 1 if --temperature is 0"},
    {.name = "unscored", .kind = CHOICE, .to = &opt.unscored, .preset = "drop",
     .choices = unscored_names,
     .help = "a row for which no attempt gives a score: leave it out and say so, or stop"},
    {.name = "tokens", .kind = FLAG, .to = &opt.tokens,
     .help = "of a language model: each token with its id, piece and log-probability"},
    {.name = "probability", .kind = FLAG, .to = &opt.probability,
     .help = "of pairs and rankings also how probable it is that each answer is the best, by the "
             "calibration in config.json"},
    {.name = "isotonic", .kind = FLAG, .to = &opt.isotonic,
     .help = "a map of many pieces beside the temperature, for pairs"},
    {.name = "step", .kind = INT, .to = &opt.trace_step, .preset = "1", .min = 1, .max = INT_MAX,
     .help = "which step; those before it are trained"},
    {.name = "watch", .kind = FLAG, .to = &opt.watch,
     .help = "draw the loss of one run as text, again and again until it has ended"},
    {.name = "unique", .kind = FLAG, .to = &opt.unique,
     .help = "a prompt that stands in several rows once"},
    {.name = "answer", .kind = CHOICE, .to = &opt.answer, .preset = "text",
     .choices = answer_choices,
     .help = "what of a completion is its answer: all, its first word, its last number"},
    {.name = "gold", .kind = WORDS, .to = &opt.gold, .preset = "gold",
     .help = "key of the right answer"},

    {.heading = "model"},
    {.name = "vocab_size", .kind = INT, .to = &opt.vocab_size, .preset = "4096", .min = 258,
     .max = 1 << 20,
     .help = "new model without --tokenizer: learn this many pieces from the training files"},
    {.name = "hidden_size", .kind = INT, .to = &opt.hidden_size, .preset = "256", .min = 8,
     .max = 65536, .help = "new model: channels"},
    {.name = "num_hidden_layers", .kind = INT, .to = &opt.num_layers, .preset = "4", .min = 1,
     .max = MAX_LAYERS, .help = "new model: layers"},
    {.name = "num_attention_heads", .kind = INT, .to = &opt.num_heads, .preset = "4", .min = 1,
     .max = 1024, .help = "new model: heads"},
    {.name = "pooling", .kind = CHOICE, .to = &opt.pooling, .choices = pooling_names,
     .help = "where the reward is read: last token, end of text, mean of the answer; default: as "
             "config.json says, else last"},
    {.name = "raw_head", .kind = INT, .to = &opt.raw_head, .preset = "-1", .min = -1,
     .max = INT_MAX,
     .help = "seed of a N(0, 0.02) head for models that have none, or to train (default: zero)"},
    {.name = "random_weights", .kind = FLAG, .to = &opt.random_weights,
     .help = "start from fresh weights of the model's shape: a control"},
    {.name = "dtype", .kind = CHOICE, .to = &opt.dtype, .preset = "f32", .choices = dtype_names,
     .help = "how weights are stored; q8_0: by export alone"},

    {.heading = "objective"},
    {.name = "objective", .kind = WORDS, .to = &opt.objective,
     .help = "what the data is for, a word that follows train; default: by its kind (train em: "
             "dpo, reward or heads, default dpo)"},
    {.name = "types", .kind = INT, .to = &opt.types, .preset = "2", .min = 1, .max = 8,
     .help = "of people, each with a model"},
    {.name = "em_steps", .kind = INT, .to = &opt.em_steps, .preset = "5", .min = 1, .max = 1000,
     .help = "iterations, fewer where nothing changes any more"},
    {.name = "mstep", .kind = CHOICE, .to = &opt.mstep, .preset = "restart",
     .choices = mstep_names,
     .help = "in each iteration a type's model is trained from --model, or from its last weights"},
    {.name = "estep", .kind = CHOICE, .to = &opt.estep, .preset = "full", .choices = estep_names,
     .help = "people are judged by all their rows, or by the half that was not trained on"},
    {.name = "gamma", .kind = CHOICE, .to = &opt.gamma, .preset = "soft", .choices = gamma_names,
     .help = "a person is of a type with a probability, or of the likeliest alone"},
    {.name = "start", .kind = WORDS, .to = &opt.start, .preset = "balanced",
     .help = "types to begin with: balanced or dirichlet, both by lot, spectral: clusters of "
             "people who agree, or a file {\"annotator\": cluster, ...}"},
    {.name = "starts", .kind = INT, .to = &opt.starts, .preset = "1", .min = 1, .max = 1000,
     .help = "several by lot, of which the likeliest is kept"},
    {.name = "ridge", .kind = REAL, .to = &opt.ridge, .preset = "0.01", .min = 1e-9, .max = 1e9,
     .help = "of --objective heads: margins are kept to about 1 / sqrt(ridge)"},
    {.name = "feature_range", .kind = WORDS, .to = &opt.feature_range,
     .help = "LOW,HIGH of all features: a value outside is an error, the larger end what they are "
             "divided by; default: as the file says, else the largest value"},
    {.name = "layers", .kind = WORDS, .to = &opt.layers, .preset = "6,4,2",
     .help = "units of the hidden layers; linear: none; mean: equal weights; authors: as in the "
             "paper's program, authors:5,3 of other sizes"},
    {.name = "activation", .kind = WORDS, .to = &opt.activation,
     .help = "tanh, relu, sigmoid or none, of the hidden layers, or one for each layer and the "
             "output, with commas; default: tanh and a linear output (authors: relu on the first "
             "layer and the output)"},
    {.name = "search", .kind = INT, .to = &opt.search, .preset = "0", .max = 10000,
     .help = "try so many settings, first those given, then by lot what is not given, and keep the "
             "best, with its best step, by the loss on held-out folds of --train; 1: the step "
             "alone"},
    {.name = "search_folds", .kind = INT, .to = &opt.search_folds, .preset = "5", .min = 2,
     .max = 100, .help = "of --search, cut by prompt"},
    {.name = "more", .kind = CHOICE, .to = &opt.more_mode, .preset = "release",
     .choices = more_mode_names,
     .help = "weights as in the released code, as in the paper, or 1/K"},
    {.name = "normalize", .kind = CHOICE, .to = &opt.normalize, .choices = normalizer_names,
     .help = "of head gradients; default: l2 (release), none (paper)"},
    {.name = "alpha", .kind = REAL, .to = &opt.alpha, .preset = "0.99", .max = 1,
     .help = "momentum of release: weight of the new gradient"},
    {.name = "logp", .kind = CHOICE, .to = &opt.logp, .preset = "sum", .choices = logp_names,
     .help = "a text's log-probability over its tokens"},
    {.name = "reduction", .kind = CHOICE, .to = &opt.reduction, .preset = "joint",
     .choices = reduction_names,
     .help = "a step's loss: mean of all texts, or a mean for each class added, or over tokens"},
    {.name = "beta", .kind = REAL, .to = &opt.loss.beta, .preset = "0.1", .max = 1e6,
     .help = "scale of implicit rewards beta (log pi - log ref); simpo: of mean log-probabilities"},
    {.name = "fairness", .kind = LIST, .to = &opt.fairness,
     .help = "a weight for each type's regret (default: 1): the larger, the less it may lose"},
    {.name = "eta", .kind = LIST, .to = &opt.eta,
     .help = "how common each type is, parts of 1: the mixture by them is shown too"},
    {.name = "kl", .kind = FLAG, .to = &opt.kl,
     .help = "regret of the value less beta KL to the reference: beta KL to the type's policy"},
    {.name = "label_smoothing", .kind = REAL, .to = &opt.loss.label_smoothing, .preset = "0",
     .max = 0.5, .help = "part of the pairs that are taken to be the wrong way round"},
    {.name = "top", .kind = INT, .to = &opt.loss.top, .preset = "0", .max = MAX_ANSWERS,
     .help = "places of a ranking that count: 1 is the choice of the best answer, 0: all"},
    {.name = "orpo_lambda", .kind = REAL, .to = &opt.loss.beta, .preset = "0.1", .max = 1e6,
     .help = "weight of the odds ratio beside imitation"},
    {.name = "simpo_gamma", .kind = REAL, .to = &opt.loss.simpo_gamma, .preset = "0.5", .min = -1e6,
     .max = 1e6, .help = "margin"},
    {.name = "clip_range", .kind = REAL, .to = &opt.loss.clip_range, .preset = "0.2", .max = 1,
     .help = "PPO's: ratios of probabilities count up to 1 +- this"},
    {.name = "ppo_epochs", .kind = INT, .to = &opt.ppo_epochs, .preset = "1", .min = 1, .max = 1000,
     .help = "updates on the same drawn texts, each a step"},
    {.name = "discount", .kind = REAL, .to = &opt.discount, .preset = "1", .max = 1,
     .help = "of what comes a token later, with --critic"},
    {.name = "gae_lambda", .kind = REAL, .to = &opt.gae_lambda, .preset = "0.95", .max = 1,
     .help = "0: the critic's next value is believed, 1: only what came, with --critic"},
    {.name = "critic_rate", .kind = REAL, .to = &opt.critic_rate, .preset = "1", .max = 1e6,
     .help = "the critic's learning rate, in --learning_rate"},
    {.name = "length_share", .kind = REAL, .to = &opt.length_share, .preset = "0.9", .max = 1e6,
     .help = "training ends when this part of the reward's rise is that of length; 0: never"},
    {.name = "demo_share", .kind = REAL, .to = &opt.loss.demo_share, .preset = "0.35", .max = 1,
     .help = "stored: what demonstrations count for; the rest, texts with rewards"},
    {.name = "desirable_weight", .kind = REAL, .to = &opt.loss.desirable_weight, .preset = "1",
     .max = 1e6, .help = "of texts with the label true"},
    {.name = "undesirable_weight", .kind = REAL, .to = &opt.loss.undesirable_weight, .preset = "1",
     .max = 1e6, .help = "of texts with the label false"},
    {.name = "log_z", .kind = REAL, .to = &opt.loss.log_z, .preset = "0", .min = -1e6, .max = 1e6,
     .help = "the whole constant beta log Z added to an implicit reward"},
    {.name = "labels", .kind = CHOICE, .to = &opt.labels, .preset = "auto",
     .choices = label_names,
     .help = "numbers other than 0 and 1 are scores (auto); binary: soft labels in [0,1]"},
    {.name = "score_scale", .kind = CHOICE, .to = &opt.score_scale, .preset = "none",
     .choices = scale_names,
     .help = "scores as they are, or the files' range to [0,1] or [-1,1]"},
    {.name = "demos", .kind = CHOICE, .to = &opt.demos, .preset = "auto", .choices = demo_names,
     .help = "points that are demonstrations: those with the label true (auto: and with scores "
             "none)"},
    {.name = "sft_on", .kind = CHOICE, .to = &opt.sft_on, .preset = "chosen",
     .choices = sft_side_names, .help = "which answers of pairs are imitated"},
    {.name = "compat", .kind = CHOICE, .to = &opt.compat, .preset = "none",
     .choices = compat_names,
     .help = "the authors' program: --logp mean, --reduction class-means, the score 1 exactly is "
             "a demonstration, all else false or a score"},

    {.name = "reference_mix", .kind = CHOICE, .to = &opt.reference_mix, .preset = "mrpo",
     .choices = reference_mix_names,
     .help = "of several references: their harmonic mean is the reference, or the loss is a mean "
             "over them"},
    {.name = "reference_weights", .kind = CHOICE, .to = &opt.reference_weights,
     .preset = "adaptive", .choices = mix_weight_names,
     .help = "by how far apart each has a pair's answers, or 1/K; swapped: each of two has the "
             "other's, as in the authors' program"},
    {.name = "reference_clip", .kind = REAL, .to = &opt.reference_clip, .preset = "0.1", .max = 1e6,
     .help = "how far the others may be from the first, as a part of its log-probability, for both "
             "answers of a pair together"},
    {.name = "bapo_lambda", .kind = REAL, .to = &opt.bapo_lambda, .preset = "0.1", .max = 1e6,
     .help = "weight of ((log pi - log ref) / tokens)^2 of these completions beside the loss"},
    {.name = "spo_gamma", .kind = REAL, .to = &opt.spo_gamma, .preset = "0", .max = 1e6,
     .help = "weight, beside the loss, of telling how many key phrases copies of the answers lack: "
             "our reading of SPO, arXiv 2409.17791 (0: no copies)"},
    {.name = "spo_levels", .kind = INT, .to = &opt.spo_levels, .preset = "3", .min = 2,
     .max = MAX_LEVELS,
     .help = "copies of an answer: without 0, 1/levels, 2/levels .. of its key phrases"},
    {.name = "spo_head_rate", .kind = REAL, .to = &opt.spo_head_rate, .preset = "10", .max = 1e6,
     .help = "factor of the rate for the head that tells them apart, which starts at zero and is "
             "not saved"},
    {.name = "group_robust", .kind = WORDS, .to = &opt.group_robust,
     .help = "key of the rows, a group or an annotator: each step weighs the groups, the worse "
             "ones more (GRPO, Ramesh et al. 2024)"},
    {.name = "groups", .kind = WORDS, .to = &opt.groups,
     .help = "if the values of that key are not the groups: JSON file {\"value\": \"group\", ...}, "
             "or a people.json, whose likeliest types are the groups (eval: JSON file, how well "
             "the types of --people are these groups)"},
    {.name = "group_step", .kind = REAL, .to = &opt.group_step, .preset = "0.01", .max = 1e6,
     .help = "of the weights: each is multiplied by exp(step x its group's loss)"},
    {.name = "group_loss", .kind = CHOICE, .to = &opt.group_loss, .preset = "share",
     .choices = group_loss_names,
     .help = "a group's loss in a step of n rows: the sum of its rows' / (n x its share of the "
             "data), or their mean, by which rare groups lose weight"},
    {.name = "group_adjust", .kind = REAL, .to = &opt.group_adjust, .preset = "0", .max = 1e6,
     .help = "where weights are found, this / sqrt(the group's rows) is added to its loss"},

    {.heading = "steps"},
    {.name = "num_train_epochs", .kind = REAL, .to = &opt.epochs, .preset = "1", .min = 0.001,
     .max = 1000,
     .help = "passes over the data; with --then, over the first files and then over the others"},
    {.name = "max_steps", .kind = INT, .to = &opt.max_steps, .preset = "0", .max = INT_MAX,
     .help = "this many steps, in as many passes as they take, 0: by --num_train_epochs"},
    {.name = "per_step_tokens", .kind = INT, .to = &opt.per_step_tokens, .preset = "4096",
     .min = 1, .max = 1 << 30, .help = "an update when this many tokens are seen"},
    {.name = "per_step_pairs", .kind = INT, .to = &opt.per_step_rows, .preset = "20", .min = 1,
     .max = 1 << 20,
     .help = "pairs or rankings an update (more: whole bundles, one pair or ranking of each file)"},
    {.name = "per_step_rows", .kind = INT, .to = &opt.per_step_rows, .preset = "20", .min = 1,
     .max = 1 << 20,
     .help = "rows of the files an update: pairs, rankings, points or completions"},
    {.name = "micro_batch_tokens", .kind = INT, .to = &opt.micro_batch_tokens, .preset = "4096",
     .min = 1, .max = 1 << 24,
     .help = "token rows computed at a time; changes memory, not results"},
    {.name = "recompute", .kind = FLAG, .to = &opt.recompute,
     .help = "compute activations again in backward instead of keeping them: less memory, slower"},
    {.name = "learning_rate", .kind = REAL, .to = &opt.learning_rate, .preset = "1e-4",
     .max = 1e30, .help = "peak of the schedule"},
    {.name = "head_rate", .kind = REAL, .to = &opt.head_rate, .preset = "10", .max = 1e6,
     .help = "factor of the rate for the reward head, which starts at zero and would hardly move"},
    {.name = "freeze", .kind = FLAG, .to = &opt.freeze,
     .help = "train a reward model's head alone, all below it stays to the last bit; policies have "
             "no head"},
    {.name = "lora_r", .kind = INT, .to = &opt.lora_r, .preset = "0", .max = 4096,
     .help = "train adapters of this rank alone (LoRA, Hu et al. 2021), and a reward head: less "
             "memory; --out is PEFT's folder of an adapter; wants a learning rate of ten times"},
    {.name = "lora_alpha", .kind = REAL, .to = &opt.lora_alpha, .preset = "0", .max = 1e6,
     .help = "what they add is multiplied by lora_alpha / lora_r; 0: by 2"},
    {.name = "lora_targets", .kind = WORDS, .to = &opt.lora_targets, .preset = "all-linear",
     .help = "which matrices get one, as q_proj,v_proj, by PEFT's names; all-linear: each of the "
             "layers"},
    {.name = "base_dtype", .kind = CHOICE, .to = &opt.base_dtype, .preset = "auto",
     .choices = base_names,
     .help = "how weights that are not trained lie in memory: as the file has them (bf16, f16, "
             "GGUF's blocks), which takes less, or as fp32, which is faster; auto: as the file has "
             "them with --lora_r or --freeze; changes no bit"},
    {.name = "warmup_ratio", .kind = REAL, .to = &opt.warmup_ratio, .preset = "0", .max = 1,
     .help = "part of the steps"},
    {.name = "lr_scheduler_type", .kind = CHOICE, .to = &opt.scheduler, .preset = "linear",
     .choices = schedule_names, .help = "from the peak down"},
    {.name = "weight_decay", .kind = REAL, .to = &opt.weight_decay, .preset = "0", .max = 10,
     .help = "decoupled, on matrices and the reward head"},
    {.name = "adam_beta1", .kind = REAL, .to = &opt.beta1, .preset = "0.9", .max = 0.99999,
     .help = "decay of the mean gradient"},
    {.name = "adam_beta2", .kind = REAL, .to = &opt.beta2, .preset = "0.999", .max = 0.99999,
     .help = "decay of the mean squared gradient"},
    {.name = "adam_epsilon", .kind = REAL, .to = &opt.eps, .preset = "1e-8", .min = 1e-30,
     .max = 1, .help = "added to the root of that"},
    {.name = "max_grad_norm", .kind = REAL, .to = &opt.max_grad_norm, .preset = "1", .max = 1e30,
     .help = "clipping, 0: none"},
    {.name = "logging_steps", .kind = INT, .to = &opt.logging_steps, .preset = "10", .min = 1,
     .max = INT_MAX, .help = "a line every so many steps where there is no terminal; what its "
                             "running means span"},
    {.name = "eval_steps", .kind = INT, .to = &opt.eval_steps, .preset = "0", .max = INT_MAX,
     .help = "0: at the end only"},
    {.name = "save_steps", .kind = INT, .to = &opt.save_steps, .preset = "0", .max = INT_MAX,
     .help = "after so many steps the weights and all it takes to go on are saved, 0: by "
             "--save_minutes alone"},
    {.name = "save_minutes", .kind = REAL, .to = &opt.save_minutes, .preset = "10", .max = 1e6,
     .help = "after so many minutes, 0: by --save_steps alone"},
    {.name = "keep", .kind = INT, .to = &opt.keep, .preset = "2", .min = 1, .max = INT_MAX,
     .help = "states of that kind, state-STEP.bin in --out, that stay while the run goes on"},
    {.name = "diary", .kind = INT, .to = &opt.diary, .preset = "0", .max = INT_MAX,
     .help = "every so many steps a line in diary.jsonl: the bits of the loss, a checksum of the "
             "weights, a hash over all lines so far; more verify compares by it; 0: none"},
    {.name = "resume", .kind = WORDS, .to = &opt.resume, .preset = "auto",
     .help = "auto: a run that was interrupted goes on, with the same bits, one that has finished "
             "is not repeated; no: begin anew; or the folder or state-STEP.bin to go on from"},
    {.name = "load_best", .kind = FLAG, .to = &opt.load_best,
     .help = "--out holds the weights of the best evaluation; --eval then selects, and is no test"},
    {.name = "best_metric", .kind = CHOICE, .to = &opt.best_metric, .preset = "loss",
     .choices = metric_names,
     .help = "what is best, a mean over the files of --eval (lm: bits per byte; sft: of a token; "
             "points: accuracy is the area under the curve)"},
    {.name = "early_stopping_patience", .kind = INT, .to = &opt.patience, .preset = "0",
     .max = INT_MAX,
     .help = "stop after so many evaluations without a better one, 0: not; means --load_best"},

    {.heading = "completions"},
    {.name = "n", .kind = INT, .to = &opt.n, .preset = "1", .min = 1, .max = 1 << 20,
     .help = "completions of each prompt"},
    {.name = "temperature", .kind = REAL, .to = &opt.temperature, .preset = "1", .max = 1e6,
     .help = "divides the logits; 0: always the most probable token"},
    {.name = "top_k", .kind = INT, .to = &opt.top_k, .preset = "0", .max = INT_MAX,
     .help = "only the k most probable tokens, 0: all"},
    {.name = "top_p", .kind = REAL, .to = &opt.top_p, .preset = "1", .min = 1e-9, .max = 1,
     .help = "only the most probable tokens that together have this probability"},
    {.name = "min_p", .kind = REAL, .to = &opt.min_p, .preset = "0", .max = 1,
     .help = "only tokens with this part of the largest probability"},
    {.name = "repetition_penalty", .kind = REAL, .to = &opt.repetition_penalty, .preset = "1",
     .min = 0.01, .max = 100,
     .help = "divides positive logits of tokens that were there, multiplies negative ones"},
    {.name = "max_new_tokens", .kind = INT, .to = &opt.max_new_tokens, .preset = "128", .min = 1,
     .max = 1 << 20, .help = "of a completion"},
    {.name = "stop", .kind = LIST, .to = &opt.stop,
     .help = "strings that end a completion, which is cut before them"},
    {.name = "batch", .kind = INT, .to = &opt.batch, .preset = "16", .min = 1, .max = LOGITS_ROWS,
     .help = "completions computed at a time; changes memory and speed, not results"},

    {.heading = "run"},
    {.name = "seed", .kind = INT, .to = &opt.seed, .preset = "42", .max = INT_MAX,
     .help = "of order, fresh weights, resampling, sampling, the bootstrap"},
    {.name = "precision", .kind = CHOICE, .to = &opt.precision, .preset = "fp32",
     .choices = precision_names,
     .help = "operands of weight products; the rest is float (bench: one instead of all); "
             "bf16-fast: a GPU's tensor cores, whose bits are outside the contract"},
    {.name = "shape", .kind = LIST, .to = &opt.shape,
     .help = "base (default), pythia-70m, pythia-160m, pythia-410m, gpt2-124m, smollm2-135m, "
             "qwen3-0.6b; random weights"},
    {.name = "only", .kind = LIST, .to = &opt.only,
     .help = "measurements whose names start so: machine, product, step, layer, \"step reward\""},
    {.name = "rounds", .kind = INT, .to = &opt.rounds, .preset = "0", .max = MAX_ROUNDS,
     .help = "of all measurements, 0: at least 3, more where they are short"},
    {.name = "learn", .kind = INT, .to = &opt.learn, .preset = "0", .max = 1 << 20,
     .help = "learn so many pieces from --train, write --out/tokenizer.json"},
    {.name = "rows", .kind = INT, .to = &opt.show_rows, .preset = "3", .max = 1000000,
     .help = "of each file whose tokens are shown"},
    {.name = "paths", .kind = LIST, .to = &opt.paths,
     .help = "what is looked at, also without this name (verify: a receipt or its folder; diff: two "
             "folders, files of weights, diaries or receipts; report: folders and files)"},
    {.name = "shell", .kind = CHOICE, .to = &opt.shell, .choices = shell_names,
     .help = "which shell, also without this name"},
    {.name = "no_replay", .kind = FLAG, .to = &opt.no_replay,
     .help = "compare recipe, data, tokenizer, start and weights; train nothing"},
    {.name = "steps", .kind = WORDS, .to = &opt.steps,
     .help = "A..B: only these steps, from the last state before A that is beside the receipt"},
    {.name = "force", .kind = FLAG, .to = &opt.force,
     .help = "go on although there is a trap (see more doctor) or too little memory is free"},
    {.name = "threads", .kind = INT, .to = &opt.threads, .preset = "0", .max = 4096,
     .help = "0: OMP_NUM_THREADS, else all cores; results do not depend on it"},
    {.name = "quiet", .kind = FLAG, .to = &opt.quiet, .help = "no progress"},
    {.name = "help", .kind = FLAG, .to = &opt.help, .help = "this text"},
};
enum { NUM_OPTIONS = sizeof option_table / sizeof *option_table };
_Static_assert(NUM_OPTIONS <= sizeof opt.given, "Settings.given has no room for all options");

// Names of transformers, TRL and habit that mean one of ours; of several for one name, the option
// that the command reads.  With a value the name takes none: it stands for option and value.
static const struct { const char *other, *name, *value; } aliases[] = {
    {.other = "model_name_or_path", .name = "model"},
    {.other = "reference", .name = "references"},
    {.other = "ref_model", .name = "references"},
    {.other = "prompts", .name = "rubrics"},
    {.other = "output_dir", .name = "out"},
    {.other = "train_file", .name = "train"},
    {.other = "validation_file", .name = "eval"},
    {.other = "num_layers", .name = "num_hidden_layers"},
    {.other = "num_heads", .name = "num_attention_heads"},
    {.other = "max_seq_length", .name = "max_length"},
    {.other = "block_size", .name = "max_length"},
    {.other = "per_device_train_batch_size", .name = "per_step_pairs"},
    {.other = "per_device_train_batch_size", .name = "per_step_rows"},
    {.other = "batch_size", .name = "per_step_pairs"},
    {.other = "batch_size", .name = "per_step_rows"},
    {.other = "lr", .name = "learning_rate"},
    {.other = "epochs", .name = "num_train_epochs"},
    {.other = "num_epochs", .name = "num_train_epochs"},
    {.other = "lr_scheduler", .name = "lr_scheduler_type"},
    {.other = "gradient_checkpointing", .name = "recompute", .value = ""},
    {.other = "bf16", .name = "precision", .value = "bf16"},
    {.other = "load_best_model_at_end", .name = "load_best"},
    {.other = "metric_for_best_model", .name = "best_metric"},
    {.other = "num_return_sequences", .name = "n"},
    {.other = "max_tokens", .name = "max_new_tokens"},
};
enum { NUM_ALIASES = sizeof aliases / sizeof *aliases };

// ------------------------------------------------------------------------------------ the lists

enum { NAME_SIZE = 64 };
typedef struct {
    char name[NAME_SIZE], value[NAME_SIZE];
    int has_value;                          // yes: "name=value"
} Listed;

// The next word of a list; returns where to go on, or NULL at its end.
static const char *list_next(const char *at, Listed *word) {
    at += strspn(at, " ");
    const size_t length = strcspn(at, " ");
    const char *equals = memchr(at, '=', length);
    const size_t name = equals ? (size_t)(equals - at) : length;
    if (!length) return NULL;
    assert(length < sizeof word->name);
    *word = (Listed){.has_value = equals != NULL};
    memcpy(word->name, at, name);
    if (equals) memcpy(word->value, equals + 1, length - name - 1);
    return at + length;
}

// Does the command read the option?  *preset: its default there (NULL: none).
int command_lists(const Command *c, const Option *o, char preset[64]) {
    Listed word;
    int listed = 0;
    for (int i = 0; i < 2; i++) {
        for (const char *at = c->options[i]; at && (at = list_next(at, &word)); ) {
            if (!o->name || strcmp(word.name, o->name)) continue;
            listed = 1;
            if (!preset) continue;
            if (word.has_value) strcpy(preset, word.value);
            else if (!*preset && o->preset) strcpy(preset, o->preset);
        }
    }
    return listed;
}

static const Option *option_find(const char *name) {
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (o->name && !strcmp(o->name, name)) return o;
    }
    return NULL;
}

// Every word of the command's lists must be an option.  0, or -1 after fail().
int options_check_lists(const Command *c) {
    Listed word;
    for (int i = 0; i < 2; i++) {
        for (const char *at = c->options[i]; at && (at = list_next(at, &word)); ) {
            if (option_find(word.name)) continue;
            return fail(EX_USAGE, "%s: there is no option of this name", word.name);
        }
    }
    return 0;
}

// `more train` and its objective as a command.
Command command_of_objective(const Objective *o) {
    Command c = {.name = "train", .object = o->name, .help = o->help, .objective = o,
                 .needs = "--model FOLDER --train FILE ... --out FOLDER",
                 .options = {o->trainer->options, o->options}};
    if (o->data == DOCUMENTS) c.needs = "--train FILE ... --out FOLDER";
    if (o->data == PROMPTS) c.needs = "--model FOLDER --reward FOLDER --prompts FILE --out FOLDER";
    return c;
}

// --------------------------------------------------------------------------------------- values

static int option_given(const Option *o) { return opt.given[o - option_table]; }

// Counts as given from here on: no default takes its place.
void options_give(const char *name) { opt.given[option_find(name) - option_table] = 1; }

static int set_number(const Option *o, const char *value) {
    char *end;
    const int whole = o->kind == INT;
    const double x = strtod(value, &end);
    if (!*value || *end || !(x >= o->min && x <= o->max) || (whole && x != floor(x))) {
        return fail(EX_USAGE, "--%s %s: %s from %.15g to %.15g is needed", o->name, value,
                    whole ? "a whole number" : "a number", o->min, o->max);
    }
    if (whole) *(int *)o->to = (int)x;
    else *(double *)o->to = x;
    return 0;
}

static int set_choice(const Option *o, const char *value) {
    for (int k = 0; o->choices[k]; k++) {
        if (strcmp(value, o->choices[k])) continue;
        *(int *)o->to = k;
        return 0;
    }
    return fail(EX_USAGE, "--%s %s: unknown; see --help for the choices", o->name, value);
}

static int add_to_list(const Option *o, const char *value) {
    List *list = o->to;
    if (list->n == MAX_FILES) {
        return fail(EX_USAGE, "--%s: more than %d values", o->name, MAX_FILES);
    }
    list->item[list->n++] = value;
    return 0;
}

// Sets an option from what stands behind it.  0, or -1 after fail().
static int set_option(const Option *o, const char *value) {
    if (!*value && o->kind != FLAG) return fail(EX_USAGE, "--%s: a value is missing", o->name);
    switch (o->kind) {
    case INT: case REAL: return set_number(o, value);
    case CHOICE:         return set_choice(o, value);
    case LIST:           return add_to_list(o, value);
    case WORDS:          *(const char **)o->to = value; return 0;
    default:             *(int *)o->to = 1; return 0;
    }
}

// Sets an option to what it is when nothing is given; preset "" or NULL: nothing.
static void set_preset(const Option *o, const char *preset) {
    const int none = !preset || !*preset;
    switch (o->kind) {
    case INT: case FLAG: *(int *)o->to = 0; break;
    case REAL:           *(double *)o->to = NAN; break;
    case CHOICE:         *(int *)o->to = NOT_CHOSEN; break;
    case WORDS:          *(const char **)o->to = none ? NULL : o->preset; break;
    default:             ((List *)o->to)->n = 0;
    }
    if (none || o->kind == WORDS) return;
    const int status = set_option(o, preset);
    assert(status == 0);
    (void)status;
}

// Sets what the command reads to its defaults there; of the rest real numbers are NaN, the others
// the table's.
void options_defaults(const Command *c) {
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (o->name) set_preset(o, o->kind == REAL ? NULL : o->preset);
    }
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        char preset[64] = "";
        if (command_lists(c, o, preset)) set_preset(o, preset);
    }
    memset(opt.given, 0, sizeof opt.given);
}

// A number in as few digits as tell it from all others.
static void print_real(FILE *f, double x) {
    char text[32];
    snprintf(text, sizeof text, "%.15g", x);
    const int is_exact = !(strtod(text, NULL) < x) && !(strtod(text, NULL) > x);
    fprintf(f, "%.*g", is_exact ? 15 : 17, x);
}

void option_print_value(FILE *f, const Option *o) {
    const List *list = o->to;
    const int number = *(const int *)o->to;
    const char *words;
    switch (o->kind) {
    case INT: case FLAG:
        fprintf(f, "%d", number);
        break;
    case CHOICE:
        fprintf(f, "%s", number == NOT_CHOSEN ? "default" : o->choices[number]);
        break;
    case REAL:
        print_real(f, *(const double *)o->to);
        break;
    case WORDS:
        words = *(const char *const *)o->to;
        fprintf(f, "%s", words ? words : "");
        break;
    default:
        for (int i = 0; i < list->n; i++) fprintf(f, "%s%s", i ? " " : "", list->item[i]);
    }
}

// -------------------------------------------------------------------------------------- header

static int is_empty(const Option *o) {
    if (o->kind == WORDS) return !*(const char *const *)o->to;
    return o->kind == LIST && !((const List *)o->to)->n;
}

// What a run is set to, on standard error: six values a line, lists on lines of their own.
void options_print_header(const Command *c) {
    int column = 0;
    fprintf(stderr, "more %s%s%s\n", c->name, c->object ? " " : "", c->object ? c->object : "");
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (!command_lists(c, o, NULL) || is_empty(o)) continue;
        if (o->to == &opt.help || o->to == &opt.quiet) continue;
        const int wide = o->kind == LIST;
        const char *between = "  ";
        if (column && wide) between = "\n  ";
        fprintf(stderr, "%s%s=", between, o->name);
        option_print_value(stderr, o);
        column = wide ? 0 : (column + 1) % 6;
        if (!column) fprintf(stderr, "\n");
    }
    if (column) fprintf(stderr, "\n");
}

// A word as a shell takes it.
static void print_word(FILE *f, const char *word) {
    const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
    if (*word && !word[strspn(word, plain)]) {
        fprintf(f, " %s", word);
        return;
    }
    fprintf(f, " '");
    for (; *word; word++) {
        if (*word == '\'') fprintf(f, "'\\'");
        putc(*word, f);
    }
    putc('\'', f);
}

// The command that goes on with a run that was stopped: the same, but it goes on from --out.
void options_print_again(void) {
    fprintf(stderr, "this goes on with it:\n   ");
    for (int i = 0; i < opt.num_arguments; i++) {
        const char *word = opt.arguments[i];
        if (!strncmp(word, "--resume=", strlen("--resume="))) continue;
        if (!strcmp(word, "--resume")) i++;
        else print_word(stderr, word);
    }
    fprintf(stderr, "\n");
}

// Does the option change what comes out?  Files do, but by what is in them; evaluations only where
// they choose.
static int changes_results(const Option *o) {
    const void *const without[] = {
        &opt.help, &opt.quiet, &opt.threads, &opt.force, &opt.micro_batch_tokens, &opt.recompute,
        &opt.base_dtype,
        &opt.logging_steps, &opt.save_steps, &opt.save_minutes, &opt.keep, &opt.resume, &opt.diary,
        &opt.model, &opt.train, &opt.then, &opt.demo, &opt.bapo_base, &opt.eval, &opt.references,
        &opt.reward, &opt.reference, &opt.critic, &opt.prompts, &opt.groups, &opt.out,
        &opt.tokenizer, &opt.reference_cache};
    if (o->to == &opt.eval_steps) return opt.load_best;
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        if (o->to == without[i]) return 0;
    }
    return 1;
}

// Appends what the command is set to, a line for each option: as far as it changes results, or
// `all` but where it goes to and where from.  0, or -1 after fail().
int options_text(Buffer *out, const Command *c, int all) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return fail(EX_OSERR, "out of memory");
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (!command_lists(c, o, NULL) || o->to == &opt.out || o->to == &opt.resume) continue;
        if (!all && !changes_results(o)) continue;
        fprintf(f, "--%s=", o->name);
        option_print_value(f, o);
        fprintf(f, "\n");
    }
    if (fclose(f) != 0) {
        free(text);
        return fail(EX_OSERR, "out of memory");
    }
    const int result = buffer_append(out, text, size);
    free(text);
    return result;
}

// Appends a word as JSON, --NAME=VALUE, of a list's place i.
static int option_word(Buffer *out, const Option *o, int i) {
    Buffer word = {0};
    char *value = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&value, &size);
    if (!f) return fail(EX_OSERR, "out of memory");
    if (o->kind == LIST) fprintf(f, "%s", ((const List *)o->to)->item[i]);
    else if (o->kind != FLAG) option_print_value(f, o);
    int result = fclose(f);
    if (result != 0) result = fail(EX_OSERR, "out of memory");
    if (result == 0) {
        result = buffer_printf(&word, "--%s%s%s", o->name, o->kind == FLAG ? "" : "=", value);
    }
    if (result == 0) result = json_quote(out, word.data, word.len);
    buffer_free(&word);
    free(value);
    return result;
}

/* Appends the command as a JSON list of words: its name, and what was given of its options, but
 * where it goes to and from, what is saved, and what only more verify reads.  0, or -1 after
 * fail().                                                                                        */
int options_words(Buffer *out, const Command *c) {
    const void *const without[] = {&opt.out, &opt.resume, &opt.save_steps, &opt.save_minutes,
                                   &opt.keep, &opt.diary, &opt.paths, &opt.steps, &opt.no_replay};
    if (buffer_printf(out, "[\"%s\"", c->name) < 0) return -1;
    if (c->object && buffer_printf(out, ", \"%s\"", c->object) < 0) return -1;
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        int is_left_out = !o->name || !option_given(o);
        for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
            if (o->to == without[i]) is_left_out = 1;
        }
        const int words = o->kind == LIST && !is_left_out ? ((const List *)o->to)->n : 1;
        for (int i = 0; i < words && !is_left_out; i++) {
            if (buffer_printf(out, ", ") < 0 || option_word(out, o, i) < 0) return -1;
        }
    }
    return buffer_printf(out, "]");
}

// --------------------------------------------------------------------------------------- parser

// A choice that --compat means: set unless it is given; another one beside it is refused.
static int imply_choice(const char *name, int value) {
    const Option *o = option_find(name);
    int *to = o->to;
    if (option_given(o) && *to != value) {
        return fail(EX_USAGE, "--compat ulma-release means --%s %s; leave out --%s %s, or --compat",
                    name, o->choices[value], name, o->choices[*to]);
    }
    *to = value;
    return 0;
}

// --load_best, which --early_stopping_patience means too, chooses among evaluations.  0, or -1
// after fail().
static int settle_best(void) {
    const char *asked = opt.patience ? "early_stopping_patience" : "load_best";
    if (opt.patience) opt.load_best = 1;
    if (!opt.load_best) {
        if (!option_given(option_find("best_metric"))) return 0;
        return fail(EX_USAGE, "--best_metric: nothing is chosen by it without --load_best");
    }
    if (!opt.eval.n) {
        return fail(EX_USAGE, "--%s: there is nothing to choose by; give held-out files with "
                    "--eval", asked);
    }
    if (!opt.eval_steps) {
        return fail(EX_USAGE, "--%s: --eval_steps is needed: after how many steps to evaluate",
                    asked);
    }
    return 0;
}

// Options that only say more of another one, which is not given: the first of the list that was
// given is refused.  0, or -1 after fail().
static int refuse_without(const char *other, const char *const *names, size_t n) {
    for (size_t k = 0; k < n; k++) {
        if (!option_given(option_find(names[k]))) continue;
        return fail(EX_USAGE, "--%s says nothing without --%s", names[k], other);
    }
    return 0;
}

// Is it a file or folder that the option names?
static int option_names(const Option *o, const char *path) {
    const List *list = o->to;
    if (!option_given(o)) return 0;
    if (o->kind == WORDS) return dataset_is_at(*(const char *const *)o->to, path);
    for (int i = 0; i < list->n; i++) {
        if (dataset_is_at(list->item[i], path)) return 1;
    }
    return 0;
}

// Nothing that is read is written over, but for the file of --from, whose results --out has too.
// 0, or -1 after fail().
static int refuse_writing_over(void) {
    static const char *const written[] = {"out", "all"};
    static const char *const read[] = {
        "train", "then", "demo", "eval", "bag", "prompts", "bapo_base", "judge_labels", "groups",
        "people", "start", "rubrics", "paths", "model", "reference", "references", "reward",
        "critic"};
    for (size_t w = 0; w < sizeof written / sizeof *written; w++) {
        const Option *out = option_find(written[w]);
        const char *path = *(const char *const *)out->to;
        for (size_t k = 0; k < sizeof read / sizeof *read && option_given(out); k++) {
            if (!option_names(option_find(read[k]), path)) continue;
            const char *kind = is_there(path, "") ? "folder" : "file";
            return fail(EX_USAGE, "--%s %s: the %s of --%s, which would be lost", out->name, path,
                        kind, read[k]);
        }
    }
    return 0;
}

// What some options say of others.  0, or -1 after fail().
static int settle_options(void) {
    if (refuse_writing_over() < 0) return -1;
    if (opt.fold && opt.fold >= opt.folds) return fail(EX_USAGE, "--fold must be below --folds");
    if (opt.compat == COMPAT_ULMA_RELEASE) {
        if (imply_choice("logp", LOGP_MEAN) < 0) return -1;
        if (imply_choice("reduction", REDUCE_CLASS_MEANS) < 0) return -1;
    }
    if (opt.normalize == NOT_CHOSEN) {
        opt.normalize = opt.more_mode == MORE_RELEASE ? NORMALIZE_L2 : NORMALIZE_NONE;
    }
    static const char *const of_groups[] = {"groups", "group_step", "group_loss", "group_adjust"};
    if (!opt.group_robust && !opt.people) {
        if (refuse_without("group_robust (eval: --people)", of_groups, 4) < 0) return -1;
    }
    static const char *const of_references[] = {
        "reference_mix", "reference_weights", "reference_clip"};
    if (!opt.references.n && refuse_without("references", of_references, 3) < 0) return -1;
    if (opt.references.n && opt.reference_weights == MIX_SWAPPED
        && (opt.references.n != 2 || opt.reference_mix == MIX_MDPO)) {
        return fail(EX_USAGE, "--reference_weights swapped: the authors' program has it for two "
                    "references and mrpo");
    }
    static const char *const of_critic[] = {"discount", "gae_lambda", "critic_rate"};
    if (!opt.critic && refuse_without("critic", of_critic, 3) < 0) return -1;
    static const char *const of_base[] = {"bapo_lambda"};
    if (!opt.bapo_base.n && refuse_without("bapo_base", of_base, 1) < 0) return -1;
    if (opt.bapo_base.n && opt.references.n > 1) {
        return fail(EX_USAGE, "--bapo_base is the answer of one reference; leave it out, or the "
                    "others of --references");
    }
    static const char *const of_copies[] = {"spo_levels", "spo_head_rate"};
    if (!(opt.spo_gamma > 0) && refuse_without("spo_gamma", of_copies, 2) < 0) return -1;
    static const char *const of_people[] = {"fit", "fit_rows"};
    if (!opt.people && refuse_without("people", of_people, 2) < 0) return -1;
    if (opt.fit == FIT_MIXTURE && !opt.fit_rows) {
        return fail(EX_USAGE, "--fit mixture: --fit_rows N is needed, the rows of each person that "
                    "their mixture is fitted to");
    }
    return settle_best();
}

// The fewest letters to put in, leave out or change that make b of a (Levenshtein 1966).
int edit_distance(const char *a, const char *b) {
    int row[NAME_SIZE + 1];                 // of a's letters so far, to each beginning of b
    const int columns = (int)strlen(b);
    for (int k = 0; k <= columns; k++) row[k] = k;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];              // row i - 1, column k - 1
        row[0] = i;
        for (int k = 1; k <= columns; k++) {
            int best = diagonal + (a[i - 1] != b[k - 1]);
            if (row[k] + 1 < best) best = row[k] + 1;
            if (row[k - 1] + 1 < best) best = row[k - 1] + 1;
            diagonal = row[k];
            row[k] = best;
        }
    }
    return row[columns];
}

// The name that the command understands, of an option or an alias, that is nearest to one that it
// does not; NULL: none is near.
static const char *option_near(const Command *c, const char *name) {
    const char *nearest = NULL;
    int least = strlen(name) < 6 ? 2 : 4;   // that many letters are another word
    for (int k = 0; k < NUM_OPTIONS + NUM_ALIASES; k++) {
        const int is_alias = k >= NUM_OPTIONS;
        const Option *o = is_alias ? option_find(aliases[k - NUM_OPTIONS].name) : &option_table[k];
        if (!command_lists(c, o, NULL)) continue;
        const char *known = is_alias ? aliases[k - NUM_OPTIONS].other : o->name;
        const int distance = edit_distance(name, known);
        if (distance >= least) continue;
        least = distance;
        nearest = known;
    }
    return nearest;
}

// The command's option of that name or that is meant by it, or NULL.  *value: what the name stands
// for besides, or NULL.
static const Option *option_named(const Command *c, const char *name, const char **value) {
    const Option *o = option_find(name);
    *value = NULL;
    if (o && command_lists(c, o, NULL)) return o;
    for (int k = 0; k < NUM_ALIASES; k++) {
        if (strcmp(name, aliases[k].other)) continue;
        o = option_find(aliases[k].name);
        *value = aliases[k].value;
        if (command_lists(c, o, NULL)) return o;
    }
    return NULL;
}

// The option that "--name", "--name=value" or "-h" asks for, or NULL after fail().  *value: what
// the name stands for besides, or NULL.
static const Option *option_asked(const Command *c, const char *argument, const char **value) {
    const size_t length = strcspn(argument, "=");
    char name[NAME_SIZE] = {0};
    if (!strcmp(argument, "-h")) return option_find("help");
    if (strncmp(argument, "--", 2) || length < 3 || length - 2 >= sizeof name) {
        fail(EX_USAGE, "%s: not an option; see more %s --help", argument, c->name);
        return NULL;
    }
    for (size_t k = 2; k < length; k++) name[k - 2] = argument[k] == '-' ? '_' : argument[k];
    const Option *o = option_named(c, name, value);
    if (o) return o;

    // the nearest of the command's, or what it is elsewhere
    const char *near = option_near(c, name);
    const Option *elsewhere = option_find(name);
    char hint[256] = "";
    if (near) snprintf(hint, sizeof hint, " (is it --%s?)", near);
    else if (elsewhere) snprintf(hint, sizeof hint, " (elsewhere: %s)", elsewhere->help);
    fail(EX_USAGE, "%s: unknown option of more %s%s%s; see --help%s", argument, c->name,
         c->object ? " " : "", c->object ? c->object : "", hint);
    return NULL;
}

// Sets the settings: the command's defaults, then its arguments.  0, or -1 after fail().
int options_parse(const Command *c, int argc, char **argv) {
    options_defaults(c);
    for (int i = 0; i < argc; i++) {
        const char *meant = NULL;
        const int is_word = c->words && strncmp(argv[i], "--", 2);
        const Option *o = is_word ? option_find(c->words) : option_asked(c, argv[i], &meant);
        if (!o) return -1;
        opt.given[o - option_table] = 1;
        if (is_word) {
            if (set_option(o, argv[i]) < 0) return -1;
            continue;
        }

        // the value: behind "=", or the next argument; a list takes all up to the next option
        const char *equals = strchr(argv[i], '=');
        if (o->kind == FLAG || meant) {
            const int length = (int)strcspn(argv[i], "=");
            if (equals) return fail(EX_USAGE, "%.*s takes no value", length, argv[i]);
            if (set_option(o, meant ? meant : "") < 0) return -1;
        } else if (equals) {
            if (set_option(o, equals + 1) < 0) return -1;
        } else {
            if (i + 1 >= argc || !strncmp(argv[i + 1], "--", 2)) {
                return fail(EX_USAGE, "--%s: a value is missing", o->name);
            }
            do {
                if (set_option(o, argv[++i]) < 0) return -1;
            } while (o->kind == LIST && i + 1 < argc && strncmp(argv[i + 1], "--", 2));
        }
    }
    return settle_options();
}

/* The settings were parsed for another command (doctor) and are to mean what they would for `from`
 * (train): what was not given gets from's default; what was given and from does not read is
 * refused, but for the other command's `own` options.  0, or -1 after fail().  */
int options_adopt(const Command *from, const char *own) {
    const Command of_own = {.options = {own}};
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        char preset[64] = "";
        const int listed = command_lists(from, o, preset);
        if (listed && !option_given(o)) set_preset(o, preset);
        if (listed || !option_given(o) || command_lists(&of_own, o, NULL)) continue;
        return fail(EX_USAGE, "--%s: more %s %s does not read it; see more %s %s --help", o->name,
                    from->name, from->object, from->name, from->object);
    }
    return settle_options();
}
#endif

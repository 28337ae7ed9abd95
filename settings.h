/* settings.h - what the command line sets. Names, defaults, ranges and help of the options
 * stand in one table (commands/options.c); which command reads which, in the lists of
 * objectives.c and more.c.
 *
 * Besides `opt` the program has no global variables above the layers, but for the last error's
 * text and code (common.h) and the flag that a signal sets (files/surroundings.c).  */
#ifndef SETTINGS_H
#define SETTINGS_H
#include "common.h"
#include "kernels.h"
#include "loss.c"

enum { MAX_FILES = 1024, MAX_ROUNDS = 99 };
typedef struct {
    int n;
    const char *item[MAX_FILES];
} List;

// What the words of a choice mean.  Their names stand in commands/options.c.
enum { LOGP_SUM, LOGP_MEAN, NUM_LOGPS };
enum { REDUCE_JOINT, REDUCE_CLASS_MEANS, REDUCE_TOKENS, NUM_REDUCTIONS };
enum { LABELS_AUTO, LABELS_BINARY, LABELS_CONTINUOUS, NUM_LABELS };
enum { SCALE_NONE, SCALE_UNIT, SCALE_SYMMETRIC, NUM_SCALES };
enum { DEMOS_AUTO, DEMOS_POSITIVES, DEMOS_NONE, NUM_DEMOS };
enum { SFT_ON_CHOSEN, SFT_ON_REJECTED, SFT_ON_BOTH, NUM_SFT_SIDES };
enum { COMPAT_NONE, COMPAT_ULMA_RELEASE, NUM_COMPATS };
enum { GROUP_SHARE, GROUP_MEAN, NUM_GROUP_LOSSES };
enum { MIX_MRPO, MIX_MDPO, NUM_REFERENCE_MIXES };
enum { REWARD_MIX_MEAN, REWARD_MIX_MIN, REWARD_MIX_MAXMIN, NUM_REWARD_MIXES };
enum { BAD_ROWS_RAISE, BAD_ROWS_DROP, NUM_BAD_ROWS };
enum { UNSCORED_DROP, UNSCORED_RAISE, NUM_UNSCORED };
enum { TURNS_LAST, TURNS_ALL, NUM_TURNS };
enum { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT, NUM_SCHEDULES };
static const char *const precision_names[NUM_PRECISIONS + 1] = {
    [PRECISION_FP32] = "fp32", [PRECISION_BF16] = "bf16", [PRECISION_BF16_FAST] = "bf16-fast"};
enum { BASE_AUTO, BASE_FILE, BASE_FP32, NUM_BASES };
enum { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, NUM_DTYPES };
static const char *const dtype_names[NUM_DTYPES + 1] = {
    [DTYPE_F32] = "f32", [DTYPE_F16] = "f16", [DTYPE_BF16] = "bf16",
    [DTYPE_Q8_0] = "q8_0"};
enum { SHELL_BASH, SHELL_ZSH, NUM_SHELLS };
enum { ANSWER_TEXT, ANSWER_WORD, ANSWER_NUMBER, NUM_ANSWERS };
enum { METRIC_LOSS, METRIC_ACCURACY, NUM_METRICS };
static const char *const metric_names[NUM_METRICS + 1] = {
    [METRIC_LOSS] = "loss", [METRIC_ACCURACY] = "accuracy"};
enum { MSTEP_RESTART, MSTEP_WARM, NUM_MSTEPS };
enum { ESTEP_FULL, ESTEP_SPLIT_HALF, NUM_ESTEPS };
enum { GAMMA_SOFT, GAMMA_HARD, NUM_GAMMAS };
enum { FIT_TYPE, FIT_MIXTURE, NUM_FITS };
enum { NOT_CHOSEN = -1 };                   // a choice without a default, which nobody made

typedef struct {
    // files and folders
    List model, train, then, demo, eval, from, bag;
    const char *by, *people;
    int fit, fit_rows;
    const char *out, *reference, *reference_cache, *tokenizer;

    // data rows to texts
    const char *template_, *prompt_key, *chosen_key, *rejected_key;
    int max_length, max_prompt_length, over_length, bad_rows, train_turns, pairs;
    int folds, fold;
    int labels, score_scale, demos, sft_on;

    // the model
    int vocab_size, hidden_size, num_layers, num_heads;         // of a new one
    int pooling, raw_head, random_weights;
    int precision, dtype, recompute, base_dtype;
    int lora_r;                                                 // adapters, with these two
    double lora_alpha;
    const char *lora_targets;

    // the objective
    int more_mode, normalize;                                   // MORE's weights
    double alpha;
    int logp, reduction, compat;                                // of policies
    List bapo_base;
    double bapo_lambda;
    double spo_gamma, spo_head_rate;
    int spo_levels;
    List references;
    int reference_mix, reference_weights;
    double reference_clip;
    const char *group_robust, *groups;                          // a key; a file
    double group_step, group_adjust;
    int group_loss;
    LossSettings loss;                                          // what their losses read
    int types, em_steps, starts, mstep, estep, gamma;           // train em
    const char *start;
    double ridge;
    const char *feature_range, *layers, *activation;            // train features
    int search, search_folds;

    // the plan and the optimiser
    double epochs;
    int max_steps, per_step_tokens, per_step_rows, micro_batch_tokens;
    double learning_rate, head_rate, warmup_ratio;
    int scheduler, freeze;
    double beta1, beta2, eps, weight_decay, max_grad_norm;
    int logging_steps, eval_steps, save_steps, keep, diary;
    double save_minutes;
    const char *resume;                                         // auto, no, or where from
    int load_best, best_metric, patience;
    int seed, threads, force, quiet, help;

    // completions: sample, bestof, compare
    const char *prompts;
    List stop;
    int n, top_k, max_new_tokens, batch, unique;
    double temperature, top_p, min_p, repetition_penalty;
    List reward;                                                // rloo and its relatives
    int reward_max_length, reward_max_prompt_length;
    int ppo_epochs;
    const char *judge_labels;                                   // compare
    const char *critic;
    double discount, gae_lambda, critic_rate;
    double length_share;
    List judge;                                                 // bestof, compare
    int reward_mix;                                             // of several judges or rewards
    int judge_max_length, judge_max_prompt_length;
    const char *all;                                            // bestof
    List also, fairness, eta;                                   // regret
    int kl;

    List paths;                                                 // verify, diff
    const char *steps;
    int no_replay;
    struct Expected *expected;                                  // of verify: what training is to
                                                                //   come to (receipt.c), or NULL
    struct {
        const char *version, *source, *numerics;                // for receipts
    } program;

    char **arguments;                                           // (num_arguments) of main
    int num_arguments;

    // which options were given, by their place in the table
    unsigned char given[192];

    // of one command each
    int learn;                                                  // tokenize
    int tokens, probability;                                    // score
    int isotonic;                                               // calibrate
    int watch;                                                  // report
    int trace_step;
    const char *objective;                                      // doctor
    int answer;                                                 // consistency
    int shell;                                                  // completion
    const char *gold;
    int show_rows;
    const char *features, *cache;                               // judge; train features
    List rubrics;
    const char *prefill;
    int retries, unscored;
    List shape, only;                                           // bench
    int rounds;
} Settings;
Settings opt;
// The model of GPU whose bits the numbers have, or "": those of the contract.
static inline const char *settings_gpu(void) {
    return opt.precision == PRECISION_BF16_FAST ? kernels_name() : "";
}
#endif

/* more.c - language models, reward models, MORE and policies from scratch, in plain C: the
 * commands.
 *
 *     cc -O2 more.c -o more -lm
 *
 * Read loss.c for the papers, model.c for the transformer, train.c for the loop; README.md has the
 * files in reading order.  */
#include "common.h"
#include "commands/options.c"
#include "commands/help.c"
#include "commands/train.c"
#include "commands/em.c"
#include "commands/features.c"
#include "commands/evaluate.c"
#include "commands/calibrate.c"
#include "commands/report.c"
#include "commands/trace.c"
#include "commands/score.c"
#include "commands/compare.c"
#include "commands/regret.c"
#include "commands/judge.c"
#include "commands/doctor.c"
#include "commands/look.c"
#include "commands/export.c"
#include "commands/identify.c"
#include "commands/consistency.c"
#include "commands/explain.c"
#include "commands/verify.c"
#include "commands/bench.c"
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define MORE_VERSION "0.15.0"

// What make says of the sources, for receipts.
#ifndef MORE_SOURCE
#define MORE_SOURCE "not known: built without make"
#endif

static int command_doctor(void);
static int command_verify(void);
static int command_gradcheck(void);
static int command_bench(void);
static int command_completion(void);
static int command_man(void);

// --------------------------------------------------------------------------------- the commands

#define ALWAYS "threads quiet help "
#define ROWS   "template prompt_key chosen_key rejected_key max_prompt_length bad_rows "
#define TEXTS  ROWS "max_length over_length micro_batch_tokens precision "
#define WRITE  ROWS "prompts temperature top_k top_p min_p repetition_penalty max_new_tokens " \
               "stop batch seed precision "
#define JUDGE  "judge reward_mix judge_max_length judge_max_prompt_length micro_batch_tokens " \
               "max_length out folds fold "
#define DOCTOR_OWN "objective rows"

static const Command commands[] = {
    {.name = "train", .object = "em", .run = command_em,
     .help = "train a model for each hidden type of people behind pairs, by EM",
     .needs = "--model FOLDER --train FILE --out FOLDER",
     .example =
        "train em --model data/base --train data/em_persona.train.jsonl --objective heads "
        "--out em",
     .options = {EM_READS, EM_OWN},
     .more_help =
        "train em (EM-DPO, Chidambaram et al., arXiv 2510.15716) reads who gave each row, and "
        "finds types of people and a model for each: in turn, each type's model is trained on "
        "all rows, weighted by how probable it is that their annotator is of the type, and "
        "people are judged anew by how likely their choices are under each model. --objective "
        "names what is trained, with the options and defaults of train dpo or train reward. "
        "OUT/type-1 .. are the models, OUT/people.json says who is of which type; more eval "
        "--people measures them. Judged by rows that were trained on, people tend to stay "
        "where they are: --estep split-half. --gamma hard with reward is that of MaxMin-RLHF "
        "(arXiv 2402.08925); --em_steps 1 with --start spectral is Cluster-DPO. A run that "
        "was interrupted goes on with the same command. --objective heads is the cheap mode: "
        "one frozen model whose reward heads alone differ, each fitted to its maximum "
        "(--ridge); what only training reads is refused. With --lora_r the types are adapters "
        "over one base, which is in memory once."},
    {.name = "train", .object = "features", .run = command_features,
     .help = "train a reward model of a few named numbers: Nath et al. 2024",
     .needs = "--train FILE --out FOLDER",
     .example =
        "train features --train data/features/opinpref_features.train.jsonl --out features",
     .options = {ALWAYS FEATURES_READS},
     .more_help =
        "train features reads no text but the numbers that each answer has under \"features\", "
        "named by whoever knows the task (Nath et al., arXiv 2402.15473), and trains a small "
        "network over them: the chosen answer's reward is to be the larger one. Rows are "
        "pairs, {\"features\": {\"chosen\": {\"NAME\": 4.5, ...}, \"rejected\": {...}}}, or "
        "rankings, a list of such objects, the best first; lists of numbers under a first line "
        "{\"feature_names\": [...], \"feature_range\": [0, 5]}; or a table with the columns "
        "chosen.NAME and rejected.NAME. The rate falls as a cosine after the warm-up. "
        "--layers linear with --weight_decay 0, and mean, go to their exact minimum. --search "
        "draws what is not given from the ranges of the paper's program. eval and score take "
        "the folder like any reward model; NAME=A+B averages it with others."},
    {.heading = "before training",
     .name = "doctor", .run = command_doctor,
     .help = "what training would see of your data, and the traps in it",
     .needs = "--model FOLDER --train FILE ...",
     .example = "doctor --model data/base --train data/oasst1_en.train.jsonl",
     .options = {ALWAYS TEXTS, "model tokenizer train eval pooling recompute freeze labels "
                 "score_scale demos sft_on pairs train_turns compat logp= reduction= "
                 "over_length= folds fold " DOCTOR_OWN}},
    {.name = "inspect", .run = command_inspect,
     .help = "what a model folder or file is, and what it is for",
     .needs = "--model FOLDER",
     .example = "inspect --model data/base",
     .options = {ALWAYS, "model"}},
    {.name = "tokenize", .run = command_tokenize,
     .help = "show tokens, or learn a vocabulary",
     .needs =
        "--model FOLDER or --tokenizer FILE, and a text on standard input; or --learn N --train "
        "FILE ... --out FOLDER",
     .example = "tokenize --model data/base < LICENSE",
     .options = {ALWAYS, "model tokenizer train out learn"}},
    {.name = "judge", .run = command_judge,
     .help = "features of answers: counted, or scores that a language model gives",
     .needs =
        "--eval FILE --out FILE --features NAME,NAME; or --rubrics FILE ... --model FOLDER in "
        "their place",
     .example =
        "judge --features length,overlap --eval data/oasst1_en.test.jsonl --out counted.jsonl",
     .options = {ALWAYS TEXTS, "eval out model tokenizer features rubrics cache prefill "
                 "retries unscored temperature=0 top_k top_p min_p repetition_penalty "
                 "max_new_tokens=256 batch seed force"},
     .more_help =
        "judge adds \"features\" to the rows of one file: of a pair, a ranking, or one answer. "
        "Those of --features are counted, or are --model's perplexity. For each rubric "
        "--model is asked, with the prompt as {source} and the answer as {summary}; the score "
        "is the first number between <score> and </score>, from 0 to 5, or there is none, and "
        "the model is asked again (--retries). data/judge has seven rubrics for summaries of "
        "opinions, after Nath et al. (arXiv 2402.15473). What the model says is kept in the "
        "cache, line by line: a run that was interrupted goes on with the same command, and "
        "what was asked once, of the same model in the same words, is not asked again."},
    {.heading = "reward models",
     .name = "eval", .run = command_eval,
     .help = "held-out numbers: accuracy, calibration, margins; of policies too",
     .needs = "--model FOLDER ... --eval FILE ...",
     .example = "eval --model reward --eval data/oasst1_en.test.jsonl",
     .options = {ALWAYS TEXTS, "model tokenizer eval reference from bag by people groups fit "
                 "fit_rows out seed folds fold raw_head pooling beta logp top pairs features "
                 "train_turns=all base_dtype force"},
     .more_help =
        "eval compares rows of reward models, or with --reference of policies, on columns of "
        "data. --model is FOLDER or NAME=FOLDER. Of reward models NAME=A+B+C means the mean "
        "of the three rewards, and a %s in FOLDER becomes the name of the evaluation file, so "
        "that each file has its own model. A policy's reward is beta (log pi - log ref); "
        "points give the area under its curve, all data the perplexity of the good answers, "
        "of conversations that of all turns of the assistant, as train sft imitates them. "
        "--out keeps every pair's reward difference; --from reads such files back, so that "
        "cells, seeds and folds computed apart make one table. Similar is the accuracy on the "
        "pairs whose lengths in characters differ by at most 10 %; after T the ECE after one "
        "temperature: that of each fifth of the prompts is fitted on the others. Of rankings "
        "each two answers of which one is better are a pair, and a second table says how "
        "often the highest reward is the best answer's, Kendall's tau-b with the ranking, and "
        "the mean log-likelihood of the rankings (--top: of their first places). --bag FILE "
        "adds a row of logistic regression on counts of words, trained on FILE: of the "
        "training file that has the evaluation file's name, or of the only one. --by adds the "
        "numbers of the rows of each value of a key, the least accurate first; the worst is "
        "the first with 20 pairs or more, and its interval does not know that it was chosen "
        "for being the worst. --people predicts each row by its annotator's type. With --fit "
        "mixture a person's reward is instead sum_k w_k r_k, r_k the types' rewards (of a "
        "ranking: of its pairs), w on the simplex as their first --fit_rows rows are "
        "likeliest (few-shot LoRe, arXiv 2504.14439)."},
    {.name = "score", .run = command_score,
     .help = "rewards or log-probabilities for JSON lines from standard input",
     .needs = "--model FOLDER, and rows on standard input",
     .example = "score --model reward < data/oasst1_en.test.jsonl",
     .options = {ALWAYS TEXTS, "model tokenizer raw_head pooling tokens probability features "
                 "train_turns= base_dtype force"},
     .more_help =
        "score adds to each row what the model says of its answers. A reward model: reward; "
        "of a pair scores_chosen, scores_rejected and results; of a ranking rewards. A "
        "language model: logp, the sum of the log-probabilities of an answer's tokens and of "
        "the end of text, and their number, tokens; of a pair logps_chosen, logps_rejected, "
        "tokens_chosen and tokens_rejected; of a ranking lists, logps and tokens; of a "
        "conversation over all turns of the assistant, as train sft imitates them. It is, to "
        "the last bit, what sample says of the same tokens and what training sees. A text "
        "begins after an end of text, as in train lm; the first token of an answer without a "
        "prompt has none."},
    {.name = "calibrate", .run = command_calibrate,
     .help = "the temperature that makes probabilities of a reward model's differences",
     .needs = "--model FOLDER --eval FILE ...",
     .example = "calibrate --model reward --eval data/pandalm.train.jsonl",
     .options = {ALWAYS TEXTS, "model tokenizer eval isotonic top pairs seed folds fold force"},
     .more_help =
        "calibrate fits T of p = sigma((r - r') / T) to pairs that the model was not trained "
        "on (Guo et al. 2017, arXiv 1706.04599), says what T does for prompts that it was not "
        "fitted on, and puts it into the model's config.json: eval and score --probability "
        "divide by it. --isotonic adds a map of differences to probabilities that never "
        "falls, and these use it instead. Training on from the model forgets both."},
    {.name = "explain", .run = command_explain,
     .help = "what a reward model of features rewards: weights, influence, what is lost without",
     .needs = "--model FOLDER --eval FILE",
     .example = "explain --model features --eval data/features/opinpref_features.valid.jsonl",
     .options = {ALWAYS, "model eval train template prompt_key chosen_key rejected_key "
                 "bad_rows pairs features out seed"},
     .more_help =
        "explain measures, on the choices of --eval, what each feature does to the rewards of "
        "a model that more train features made: its weight, the mean slope of the reward in "
        "it, how far a pair's answers are apart in it, and their product, its influence; what "
        "loss and accuracy lose when its values are dealt out anew among all answers, and "
        "with --train, when the model is trained on that file without it; and what it says by "
        "itself. Where it speaks for an answer and the model holds it against it, a sentence "
        "says which feature it follows. --out FILE.json has all numbers and the mean reward "
        "over each feature's values; FILE.svg beside it shows them."},
    {.heading = "language models and policies",
     .name = "sample", .run = command_sample,
     .help = "texts of a language model, to prompts of a file or standard input",
     .needs = "--model FOLDER, and --prompts FILE or a prompt on standard input",
     .example =
        "sample --model sft --prompts data/vicuna80_rank.train.jsonl --n 4 --max_new_tokens 8 "
        "> drawn.jsonl",
     .options = {ALWAYS WRITE, "model tokenizer n unique force"}},
    {.name = "consistency", .run = command_consistency,
     .help = "how sure a model is: how often sample --n gives the same answer",
     .example = "consistency --answer word < drawn.jsonl",
     .options = {ALWAYS, "answer gold out"},
     .more_help =
        "consistency reads from standard input what sample --n wrote. A prompt's most "
        "frequent answer is the model's. Agreement is its share of the completions, "
        "first-second distance that share less the second's; entropy is 1 - H / log m, H the "
        "entropy of the m different answers (Lyu et al., arXiv 2402.13904). Where rows have "
        "the right answer under --gold: ECE of 10 bins and Brier score of each, taken as the "
        "probability of being right. --out has a line for each prompt. --answer word makes "
        "ASCII letters small, number leaves out commas between digits; completions without "
        "one share an empty answer, which is never right."},
    {.name = "bestof", .run = command_bestof,
     .help = "the best of n completions by a reward model: rows for train sft",
     .needs = "--model FOLDER --judge FOLDER --prompts FILE --out FILE",
     .example =
        "bestof --model sft --judge reward --prompts data/vicuna80_rank.train.jsonl "
        "--max_new_tokens 8 --out best.jsonl",
     .options = {ALWAYS WRITE JUDGE, "model tokenizer n=4 all force"}},
    {.name = "compare", .run = command_compare,
     .help = "policies on prompts: reward, wins, perplexity, KL, with intervals",
     .needs = "--model FOLDER ... --judge FOLDER --prompts FILE",
     .example =
        "compare --model sft dpo --judge reward --prompts data/vicuna80_rank.test.jsonl "
        "--max_new_tokens 8",
     .options = {ALWAYS WRITE JUDGE, "model tokenizer reference judge_labels train_turns=all "
                 "force"},
     .more_help =
        "compare gives each policy the prompts of one file, each once, and the same random "
        "numbers. Rewards and wins are the judge's; equal rewards and equal texts are ties. "
        "KL to the reference is estimated on the policy's own completions (of the policy "
        "itself at temperature 1 without filters): a token adds r - 1 - log r, r = ref/pi, "
        "which is never negative (Schulman 2020); log pi/ref is the plain mean. Perplexity is "
        "that of the file's answers, of good ones where the file says which: chosen, labelled "
        "true, scored above the mean; of conversations over all turns of the assistant, as "
        "train sft imitates them. Intervals are 95 %, by bootstrap over prompts; +- is one "
        "standard error. With --judge_labels the judge is measured on pairs that people have "
        "judged: with the temperature T that makes probabilities of its differences there "
        "(see calibrate) people would prefer a policy in the mean of sigma((r - r') / T), and "
        "the interval draws the labelled pairs anew, too. It holds as far as the judge errs "
        "on these texts as on those."},
    {.name = "regret", .run = command_regret,
     .help = "the mixture of policies whose worst off type of people loses least",
     .needs = "--model FOLDER FOLDER ... --reference FOLDER --prompts FILE",
     .example =
        "regret --model dpo ipo --reference sft --prompts data/vicuna80_rank.train.jsonl --n "
        "2 --max_new_tokens 8 --out mixture.json",
     .options = {ALWAYS ROWS, "model also reference tokenizer prompts out fairness eta kl beta "
                 "n max_new_tokens stop batch micro_batch_tokens seed precision force"},
     .more_help =
        "regret takes a policy for each type of people, all trained from the reference. Each "
        "writes --n completions of every prompt at temperature 1, and all score them. A "
        "type's reward is what DPO says it is, beta (log pi - log ref) of its policy; its "
        "regret, what it loses in the mean when another policy or a mixture answers. The "
        "min-max weights make the largest regret least (arXiv 2510.15716): they are found "
        "exactly and by 100,000 rounds of optimistic multiplicative weights, and the duality "
        "gap says how far each can be from the best. --out is a mixture for --model of "
        "sample, compare, eval, score and bestof. For one policy: sample with the mixture, "
        "then train sft on the lines. Intervals are 95 %, by bootstrap over prompts; take 256 "
        "prompts or more."},
    {.name = "identify", .run = command_identify,
     .help = "which answers tell types of people apart: EM on made-up people",
     .example = "identify",
     .options = {ALWAYS, "seed"}},
    {.name = "export", .run = command_export,
     .help = "a language model as a GGUF file, for llama.cpp; an adapter, merged, as a folder",
     .needs = "--model FOLDER --out FILE.gguf",
     .example = "export --model dpo --out dpo.gguf --dtype q8_0",
     .options = {ALWAYS, "model tokenizer out dtype force"},
     .more_help =
        "export writes --out FILE.gguf: weights, tokenizer and chat template of a language "
        "model, to load in llama.cpp and, as --model FILE.gguf, here. Vectors are stored in "
        "f32; in q8_0, matrices whose rows are not whole blocks of 32 in f16. --out FOLDER "
        "writes a Hugging Face folder: of an adapter, merged with its base model."},
    {.heading = "what trainings did",
     .name = "report", .run = command_report, .words = "paths",
     .help = "what runs did and how far to trust their models: one page of HTML with charts",
     .needs = "RUN ... --out FILE.html, or RUN --watch",
     .example = "report --out report.html reward",
     .options = {ALWAYS, "paths out watch seed"},
     .more_help =
        "report reads folders of train (log.jsonl, people.json, mixture.json) and files that "
        "eval --out, compare --out, train em and regret wrote: more report --out report.html "
        "run/more run/eval.jsonl. Several runs share charts. The page needs nothing else, no "
        "network and no script. --watch draws the loss of one run in the terminal, as long as "
        "it goes on."},
    {.name = "trace", .run = command_trace,
     .help = "one step of MORE with all its numbers, from the rows to a weight",
     .needs = "--model FOLDER --train FILE FILE ...",
     .example =
        "trace --model data/base --train data/oasst1_en.train.jsonl data/pandalm.train.jsonl "
        "--max_steps 4",
     .options = {ALWAYS TEXTS, "step model tokenizer train more normalize alpha learning_rate "
                 "head_rate warmup_ratio lr_scheduler_type weight_decay max_grad_norm "
                 "adam_beta1 adam_beta2 adam_epsilon pooling raw_head seed max_steps "
                 "num_train_epochs force"},
     .more_help =
        "trace trains as train more does, one bundle a step (a pair of each file of --train), "
        "up to --step, and prints what that step computes: tokens, the packed micro-batch, "
        "hidden states, rewards, losses, head gradients, their inner products, lambda, and "
        "one update of two weights. docs/ONE_PAIR.md goes through it."},
    {.name = "verify", .run = command_verify, .words = "paths",
     .help = "does a training come to what its receipt says?",
     .needs = "FOLDER",
     .example = "verify reward --out again",
     .options = {ALWAYS "paths no_replay steps out model tokenizer train then demo bapo_base "
                 "eval prompts groups reference references reward critic micro_batch_tokens "
                 "recompute force"},
     .more_help =
        "verify FOLDER reads the more_receipt.json that training left in a folder; a receipt "
        "itself is taken too. It compares the weights and the diary beside it, then options, "
        "data, tokenizer and start, as the command of the receipt reads them. Then it trains "
        "again, in another folder, which is removed (--out keeps it, and goes on in it), and "
        "compares each step with the diary, and the weights in the end: on whichever machine, "
        "with any --threads. The first thing that differs is named, and the exit code is 1. "
        "Files that lie elsewhere now are given as in training: --train, --model, .. Of a "
        "training with --diary and --save_steps, --steps 100..120 trains these steps alone, "
        "from the last state before them."},
    {.name = "diff", .run = command_diff, .words = "paths",
     .help = "where two trainings or two files of weights differ first",
     .needs = "FOLDER FOLDER",
     .example = "diff reward again",
     .options = {ALWAYS, "paths"},
     .more_help =
        "diff compares two folders in what both have: receipts, whose first field or line of "
        "the recipe that differs is shown; diaries, the first step; weights, the first "
        "tensor, how many values and by how much, as they are stored, also of folders with "
        "damaged weights, which do not load. It takes two files of one of these kinds too: "
        ".safetensors, .gguf, diary.jsonl, more_receipt.json. The exit code is 1 if something "
        "differs."},
    {.heading = "this program",
     .name = "selftest", .run = selftest_report,
     .help = "does this machine compute the right bits?",
     .example = "selftest",
     .options = {ALWAYS}},
    {.name = "gradcheck", .run = command_gradcheck,
     .help = "backward against finite differences, of --model or of small models",
     .example = "gradcheck",
     .options = {ALWAYS, "model"}},
    {.name = "bench", .run = command_bench,
     .help = "this machine's speed, and ours as a share of its limits",
     .example = "bench --only machine",
     .options = {ALWAYS, "model tokenizer train out shape only rounds precision= "
                 "max_length=1024 max_prompt_length=512"}},
    {.name = "completion", .run = command_completion, .words = "shell",
     .help = "completion of commands and options in a shell",
     .needs = "bash or zsh",
     .example = "completion bash > more.bash",
     .options = {ALWAYS, "shell"},
     .more_help =
        "completion writes what bash or zsh has to know of the commands, their options and "
        "choices. bash reads it with . <(./more completion bash); zsh finds it as a file "
        "_more in a folder of its fpath. make install puts both where the shells look for "
        "them."},
    {.name = "man", .run = command_man,
     .help = "the manual page, of the same tables as this help",
     .example = "man > more.1",
     .options = {ALWAYS}},
};
enum {
    NUM_COMMANDS = sizeof commands / sizeof *commands,
    NUM_ALL = NUM_OBJECTIVES + NUM_COMMANDS             // with a command for each objective
};

// ------------------------------------------------------------------------------- small commands

static int command_bench(void) {
    Tokenizer t = {0};
    Dataset pairs = {0};
    DataOptions o = data_options();
    const char *dir = opt.model.n ? opt.model.item[0] : NULL;
    int result = -1;
    o.as_pairs = 1;
    if (!opt.train.n) return bench_report(NULL, 0);
    if (opt.train.n > 1) {
        return fail(EX_USAGE, "--train: one file is enough, not %d", opt.train.n);
    }
    const Objective *reward = objective_find("reward");
    if (load_tokenizer(&t, dir) < 0) goto done;
    if (load_data(&pairs, opt.train.item[0], &t, &o, reward, FOR_TRAIN) < 0) goto done;
    result = bench_report(&pairs, t.vocab_size);
done:
    tokenizer_free(&t);
    dataset_free(&pairs);
    return result;
}

// Examines the data as training would see it: with that objective's defaults and options.
static int command_doctor(void) {
    const DataOptions o = data_options();
    char tokenizer[PATH_SIZE];
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    const char *dir = opt.model.item[0];
    if (tokenizer_path(tokenizer, dir) < 0) return -1;

    const char *name = opt.objective ? opt.objective : doctor_objective(tokenizer, &o);
    if (!name) return -1;
    const Objective *objective = objective_find(name);
    if (!objective) {
        return fail(EX_USAGE, "--objective %s: unknown; more train lists what can be trained",
                    name);
    }
    if (objective->data == PROMPTS) {
        return fail(EX_USAGE, "--objective %s: doctor looks at the texts that are trained on, and "
                    "%s draws its own; doctor --objective sft looks at the prompts", name, name);
    }
    const Command train = command_of_objective(objective);
    if (options_adopt(&train, DOCTOR_OWN) < 0) return -1;
    const DataOptions adopted = data_options();
    return doctor_report(dir, tokenizer, &adopted, objective);
}

static int command_gradcheck(void) {
    Config c;
    if (!opt.model.n) return gradcheck_report(NULL);
    if (config_load(&c, opt.model.item[0]) < 0) return -1;
    return gradcheck_report(&c);
}

// ----------------------------------------------------------------------------------------- main

// What can be trained, then the other commands.
static void list_commands(Command list[NUM_ALL]) {
    for (int i = 0; i < NUM_OBJECTIVES; i++) list[i] = command_of_objective(&objectives[i]);
    memcpy(list + NUM_OBJECTIVES, commands, sizeof commands);
    list[0].heading = "train a model";
}

// How many commands of the list train; they are its first.
static int count_trainable(const Command list[NUM_ALL]) {
    int n = 0;
    while (n < NUM_ALL && list[n].object) n++;
    return n;
}

static void print_commands(void) {
    Command list[NUM_ALL];
    list_commands(list);
    help_text("more - reward models and policies from preferences, in plain C");
    printf("\n");
    help_commands(list, NUM_ALL);
    printf("\n");
    help_text("more COMMAND alone says what it needs, with an example; more COMMAND --help lists "
              "its options. MORE_ISA=scalar|neon|avx2|avx512|avx512_bf16|amx forces an "
              "instruction set.");
}

static void print_trainable(void) {
    Command list[NUM_ALL];
    list_commands(list);
    help_text("more train OBJECTIVE --model FOLDER --train FILE ... --out FOLDER");
    printf("\n");
    help_commands(list, count_trainable(list));
    printf("\n");
    help_text("more train OBJECTIVE --help lists its options.");
}

static void print_help(const Command *c) {
    help_command(c);
    if (c->run == command_judge) help_features();
}

static int command_completion(void) {
    Command list[NUM_ALL];
    if (opt.shell == NOT_CHOSEN) return fail(EX_USAGE, "a shell is needed: bash or zsh");
    list_commands(list);
    help_completion(list, NUM_ALL);
    return 0;
}

static int command_man(void) {
    Command list[NUM_ALL];
    list_commands(list);
    help_manual(list, NUM_ALL);
    return 0;
}

// The command that the arguments call; *used: how many of them name it.  0, or -1: none does.
static int command_find(Command *c, int argc, char **argv, int *used) {
    const Objective *o = argc > 2 && !strcmp(argv[1], "train") ? objective_find(argv[2]) : NULL;
    if (o) {
        *c = command_of_objective(o);
        *used = 3;
        return 0;
    }
    for (int i = 0; i < NUM_COMMANDS; i++) {
        const char *object = commands[i].object;
        if (strcmp(argv[1], commands[i].name)) continue;
        if (object && (argc < 3 || strcmp(argv[2], object))) continue;
        *c = commands[i];
        *used = object ? 3 : 2;
        return 0;
    }
    return -1;
}

static int run_command(const Command *c) {
    const int several = c->run == command_eval || c->run == command_compare
                        || c->run == command_regret || c->run == command_verify;
    if (opt.threads) kernels_set_threads(opt.threads);
    if (kernels_init(getenv("MORE_ISA")) < 0) return -1;
    if (c->run != selftest_report && selftest_start() < 0) return -1;     // which says more
    if (opt.model.n > 1 && !several) {
        return fail(EX_USAGE, "--model: one folder is enough, not %d", opt.model.n);
    }
    const int chosen = opt.precision != NOT_CHOSEN;
    if (chosen && kernels_precision((Precision)opt.precision) < 0) return -1;
    if (c->objective) options_print_header(c);
    if (*settings_gpu() && !opt.quiet) {
        fprintf(stderr, "bf16-fast is outside the contract of NUMERICS.md: these are the bits of "
                "%s\n", settings_gpu());
    }
    if (!c->objective) return c->run();
    return command_train(c->objective);
}

// The receipt's command, as main runs one.  0, or -1 after fail().
static int replay(Verify *v) {
    char **word = (char **)v->word;
    Command c;
    int used;
    if (command_find(&c, v->num_words, word, &used) < 0 || strcmp(c.name, "train")) {
        return fail(EX_DATAERR, "%s: its command is none that trains", v->path);
    }
    if (options_parse(&c, v->num_words - used, word + used) < 0) return -1;
    verify_settle(v);
    return verify_result(v, run_command(&c));
}

static int command_verify(void) {
    Command own;
    char *name[] = {"more", "verify"};
    int used, result = -1;
    Verify *v = allocate(1, sizeof *v);             // too large for a small stack
    if (!v) return -1;
    if (command_find(&own, 2, name, &used) < 0 || verify_open(v, &own) < 0) goto done;
    result = replay(v);
done:
    verify_close(v);
    free(v);
    return result;
}

// Nothing was given to a command that cannot do without: says what it needs.  Returns -1.
static int fail_least(const Command *c) {
    const char *object = c->object ? c->object : "", *space = c->object ? " " : "";
    help_least(c);
    return fail(EX_USAGE, "%s%s%s needs %s; more %s%s%s --help lists all options", c->name, space,
                object, c->needs, c->name, space, object);
}

// No command has the name that the arguments begin with: says which is near.  Returns -1.
static int fail_command(int argc, char **argv) {
    Command list[NUM_ALL];
    char hint[128] = "";
    list_commands(list);
    const int trainable = count_trainable(list), is_train = !strcmp(argv[1], "train");
    const char *second = argc > 2 ? argv[2] : "";
    const char *near = is_train ? help_near(list, trainable, second)
                                : help_near(list + trainable, NUM_ALL - trainable, argv[1]);
    if (near) snprintf(hint, sizeof hint, " (is it %s?)", near);
    if (is_train) {
        return fail(EX_USAGE, "train %s: unknown; more train lists what can be trained%s", second,
                    hint);
    }
    return fail(EX_USAGE, "%s%s%s: unknown command; see more --help%s", argv[1],
                argc > 2 ? " " : "", second, hint);
}

// 0; EX_USAGE where only help was printed, because nothing was asked for; or -1 after fail().
static int run_arguments(int argc, char **argv) {
    const char *first = argc > 1 ? argv[1] : "", *last = argv[argc - 1];
    const int asks_help = !strcmp(last, "--help") || !strcmp(last, "-h");
    Command c;
    int used;
    if (!strcmp(first, "--version")) {
        printf("more " MORE_VERSION "\n");
        return 0;
    }
    if (argc > 1 && command_find(&c, argc, argv, &used) == 0) {
        if (argc == used && c.needs) return fail_least(&c);
        if (options_parse(&c, argc - used, argv + used) < 0) return -1;
        if (!opt.help) return run_command(&c);
        print_help(&c);
        return 0;
    }
    if (!strcmp(first, "train") && (argc == 2 || (argc == 3 && asks_help))) {
        print_trainable();
        return asks_help ? 0 : EX_USAGE;
    }
    if (argc == 1 || (argc == 2 && asks_help) || !strcmp(first, "help")) {
        print_commands();
        return argc == 1 ? EX_USAGE : 0;
    }
    return fail_command(argc, argv);
}

// The status, or -1 after fail(): what was printed could not be written.
static int flush_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    return fail(EX_IOERR, "standard output: could not be written");
}

// Models and tokenizers lie on the stack, a model in 62 KiB, several of them in some commands.  0,
// or -1 after fail().
static int check_stack(void) {
    enum { NEEDED = 512 * 1024 };
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) < 0 || stack.rlim_cur == RLIM_INFINITY) return 0;
    if (stack.rlim_cur >= NEEDED) return 0;
    return fail(EX_OSERR, "the stack may grow to %.0f KiB, and %d are needed: ulimit -s %d",
                (double)stack.rlim_cur / 1024, NEEDED / 1024, NEEDED / 1024);
}

// A standard stream that is closed would be the next file that is opened, and take what is printed.
// What stands in for it can be opened, not used, so that using it is still an error.
static void keep_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) return;
    }
}

// Takes back what a library has changed before main: the decimal point, rounding, and where they
// can be flushed subnormals (on 32-bit PowerPC glibc's fesetenv is an illegal instruction).
static void reset_environment(void) {
    setlocale(LC_ALL, "C");
#if defined __x86_64__ || defined __i386__ || defined __aarch64__
    fesetenv(FE_DFL_ENV);
#else
    fesetround(FE_TONEAREST);
#endif
}

int main(int argc, char **argv) {
    keep_standard_streams();
    reset_environment();
    kernels_bound_spinning(argv);
    signal(SIGXFSZ, SIG_IGN);                       // a file beyond ulimit -f is an error of write
    char numerics[NUMERICS_TEXT];
    selftest_digests(numerics);
    opt.program.version = MORE_VERSION;
    opt.program.source = MORE_SOURCE;
    opt.program.numerics = numerics;
    opt.arguments = argv;
    opt.num_arguments = argc;
    int status = check_stack();
    if (status == 0) status = argc > 0 ? run_arguments(argc, argv) : EX_USAGE;
    if (status >= 0) status = flush_output(status);
    if (status >= 0) return status;
    fprintf(stderr, "more: %s\n", error_text);
    return error_code ? error_code : 1;
}

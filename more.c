/* more.c - language models, reward models, MORE and policies from scratch, in plain C: the commands.
 *
 *     cc -O2 more.c -o more -lm                                                                            */
#include "common.h"
#include "commands/options.c"
#include "commands/evaluate.c"
#include "commands/compare.c"
#include "commands/doctor.c"

static int command_doctor(void), command_tokenize(void), command_inspect(void), command_selftest(void),
    command_gradcheck(void), command_bench(void);

static const Command commands[] = {
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
     "texts of a language model, to prompts of a file or standard input"},
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

static const Command *command_of_objective(const char *name) {
    for (int i = 0; i < NUM_COMMANDS; i++)
        if (commands[i].objective && !strcmp(commands[i].object, name)) return &commands[i];
    return fail(EX_USAGE, "--objective %s: unknown; more --help lists what can be trained", name), NULL;
}

static const char *const eval_help =
    "\neval compares rows of reward models, or with --reference of policies, on columns of data.  --model\n"
    "is FOLDER or NAME=FOLDER.  Of reward models NAME=A+B+C means the mean of the three rewards, and a %s\n"
    "in FOLDER becomes the name of the evaluation file, so that each file has its own model.  A policy's\n"
    "reward is beta (log pi - log ref); points give the area under its curve, all data the perplexity of\n"
    "the good answers.  --out keeps every pair's reward difference; --from reads such files back, so that\n"
    "cells, seeds and folds computed apart make one table.\n";

static const char *const compare_help =
    "\ncompare gives each policy the prompts of one file, each once, and the same random numbers.  Rewards\n"
    "and wins are the judge's; equal rewards and equal texts are ties.  KL is the mean of log pi - log ref\n"
    "over the policy's own completions (of the policy itself at temperature 1 without filters).\n"
    "Perplexity is that of the file's answers, of good ones where the file says which: chosen, labelled\n"
    "true, scored above the mean.  Intervals are 95 %, by bootstrap over prompts; +- is one standard\n"
    "error.\n";

static void print_help(const Command *c) {
    set_defaults(c ? c->bit : 0);
    if (!c) {
        printf("more - reward models and policies from preferences, in plain C\n\n");
        for (int i = 0; i < NUM_COMMANDS; i++)
            printf("    more %-9s%-14s %s\n", commands[i].name, commands[i].object ? commands[i].object : "",
                   commands[i].help);
        printf("\nmore COMMAND --help lists a command's options.  "
               "MORE_ISA=scalar|neon|avx2|avx512|avx512_bf16|amx\nforces an instruction set.\n");
        return;
    }
    printf("more %s%s%s - %s\n\n", c->name, c->object ? " " : "", c->object ? c->object : "", c->help);
    print_options(c);
    if (c->bit == EVAL || c->bit == COMPARE) printf("%s", c->bit == EVAL ? eval_help : compare_help);
}

// --------------------------------------------------------------------------------------------------- looking

static int command_tokenize(void) {
    Tokenizer t = {0};
    Buffer text = {0}, piece = {0}, quoted = {0};
    int *id = NULL, c, ok;
    size_t n = 0, capacity = 0;
    char path[4096];
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

static int command_inspect(void) {
    static const char *const act[] = {"gelu", "gelu (tanh)", "silu"};
    Model m = {0};
    char sha256[65], path[4096];
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (checkpoint_load(&m, opt.model.item[0], LOAD_AS_STORED) < 0) return -1;
    const Config *c = &m.config;
    printf("%s, %s: %zu parameters\n", model_family_name(c->family),
           c->reward ? "reward model" : "language model", m.num_params);
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
    const Tensor *list = m.tensor;
    for (int k = 0; k < m.num_tensors; k++) {
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

static int command_selftest(void) { return selftest_report(); }
static int command_bench(void) {
    Tokenizer t = {0};
    Dataset real = {0};
    DataOptions o = data_options();
    int ok = 1;
    if (opt.train.n > 1) return fail(EX_USAGE, "--train: one file is enough, not %d", opt.train.n);
    if (opt.train.n)
        ok = load_tokenizer(&t, opt.model.n ? opt.model.item[0] : NULL) == 0
          && load_data(&real, opt.train.item[0], &t, &o, &objective_reward, FOR_TRAIN) == 0;
    ok = ok && bench_report(opt.train.n ? &real : NULL, t.vocab_size) == 0;
    tokenizer_free(&t), dataset_free(&real);
    return ok ? 0 : -1;
}

static int command_doctor(void) {
    DataOptions o = data_options();
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (!opt.train.n) return fail(EX_USAGE, "--train is needed");
    const char *dir = opt.model.item[0], *tokenizer = tokenizer_path(dir);
    const char *name = opt.objective ? opt.objective : doctor_objective(tokenizer, &o);
    const Command *train = name ? command_of_objective(name) : NULL;
    if (!train) return -1;
    adopt_defaults(train->bit, DOCTOR);
    return doctor_report(dir, tokenizer, &o, name, train->objective);
}

static int command_gradcheck(void) {
    Config c;
    if (!opt.model.n) return gradcheck_report(NULL);
    return config_load(&c, opt.model.item[0]) < 0 ? -1 : gradcheck_report(&c);
}

int main(int argc, char **argv) {
    const Command *c = NULL;
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
    if (opt.threads) kernels_set_threads(opt.threads);
    if (kernels_init(getenv("MORE_ISA")) < 0 || selftest_start() < 0) goto failed;
    if (opt.model.n > 1 && c->bit != EVAL && c->bit != COMPARE) {
        fail(EX_USAGE, "--model: one folder is enough, not %d", opt.model.n);
        goto failed;
    }
    kernels_precision(opt.precision == 1);
    if (c->bit & TRAIN) print_header(c);
    opt.training = c->bit == MORE ? &more_by[opt.more] : c->objective;
    if (c->run() < 0) goto failed;
done:
    if (!fflush(stdout) && !ferror(stdout)) return 0;
    fail(EX_IOERR, "standard output: could not be written");
failed:
    fprintf(stderr, "more: %s\n", error_text);
    return error_code ? error_code : 1;
}

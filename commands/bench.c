/* bench.c - how fast is this machine, and what part of that do we use (more bench).
 *
 * A stage is one list of measurements, run round after round on a model of one shape with random
 * weights; it reports medians over the rounds.  Each measurement stands between two short bursts of
 * its limit, the multiply-adds or the memory bandwidth of as many threads: machines are noisy, and
 * the share of the limit is steadier than the speed.
 *
 *     machine          the limits themselves, products of many sizes
 *     for each shape   the products of its layers
 *                      a language model: whole steps, each layer of one, generation
 *                      a reward model: whole steps, of packed pairs and of padded ones, of
 *                      rankings and of their pairs written out
 *
 * measure.c has what a measurement is, products and steps; bench_layers.c has the layers. */
#ifndef BENCH_C
#define BENCH_C
#include "check.c"
#include "measure.c"
#include "bench_layers.c"
#include "../generate.c"
#include "../objectives.c"

int bench_report(Dataset *pairs, int vocab_size);         // more bench

// ------------------------------------------------------------------------------------------ rounds

/* Seconds of one run, or -1 after fail().  A product runs once before, as its peers do
 * (scripts/peers), then so often that together they take 5 ms; layers and steps run once, so that
 * they find the caches as the burst before left them. */
static double measure_seconds(Bench *b, Measure *x) {
    if (x->run == product_run && x->run(b, x) < 0) return -1;
    for (;;) {
        double sum = 0;
        for (int r = 0; r < x->runs; r++) {
            if (x->before) x->before(b);
            kernels_wait();
            const double start = now();
            if (x->run(b, x) < 0) return -1;
            kernels_wait();
            sum += now() - start;
        }
        if (x->run != product_run || sum > 5e-3 || x->runs >= 1 << 16) return sum / x->runs;
        x->runs *= 2;
    }
}

static int same_limit(const Measure *x, const Measure *y) {
    return x->threads == y->threads && x->streams == y->streams && x->precision == y->precision;
}

// The precision; what a model keeps of its activations depends on it. 0, or -1 after fail().
static int bench_precision(Bench *b, int precision) {
    Model *m = &b->run.model;
    const int T = m->T, B = m->B, changes = b->reserved != precision;
    if (kernels_precision((Precision)precision) < 0) return -1;
    b->reserved = precision;
    if (!changes || !T) return 0;
    m->T = 0;
    m->B = 0;
    return model_reserve(m, T, B);
}

/* One round of a stage's list: limit, measurement, limit, measurement ..; the limit between two
 * that share it is measured once. */
static int bench_round(Bench *b, int round) {
    const Measure *last = NULL;
    double before = 0;
    for (int k = 0; k < b->num_measures; k++) {
        Measure *x = &b->measure[k];
        if (!x->wanted) continue;
        kernels_set_threads(x->threads);
        if (bench_precision(b, x->precision) < 0) return -1;
        if (!last || !same_limit(x, last)) before = measure_limit(b, x->streams, x->precision);
        const double seconds = x->run ? measure_seconds(b, x) : 0;
        if (seconds < 0) return -1;
        const double after = measure_limit(b, x->streams, x->precision);
        x->limit[round] = fmax(before, after);
        x->seconds[round] = x->run ? seconds : x->work / x->limit[round] * 1e-9;
        x->speed[round] = x->work / x->seconds[round] * 1e-9;
        before = after;
        last = x;
    }
    return 0;
}

// --rounds of them; or 3 to 15, as many as STAGE_SECONDS allow
static int bench_rounds(Bench *b) {
    const double start = now();
    const int most = opt.rounds ? opt.rounds : 15;
    for (b->rounds = 0; b->rounds < most; b->rounds++) {
        if (!opt.rounds && b->rounds >= 3 && now() - start > STAGE_SECONDS) break;
        if (bench_round(b, b->rounds) < 0) return -1;
    }
    return 0;
}

// ----------------------------------------------------------------------------------------- reports


// median over n rounds of x, or of x / y
static double round_median(const double *x, const double *y, int n) {
    double ratio[MAX_ROUNDS];
    for (int i = 0; i < n; i++) ratio[i] = y ? x[i] / y[i] : x[i];
    qsort(ratio, (size_t)n, sizeof *ratio, compare_double);
    return sorted_quantile(ratio, n, .5);
}

static void json_start(Buffer *json, const Bench *b, const Measure *x, const char *name) {
    buffer_printf(json, "{\"name\":\"%s\"", name);
    if (b->shape) buffer_printf(json, ",\"shape\":\"%s\"", b->shape->name);
    buffer_printf(json, ",\"isa\":\"%s\",\"threads\":%d,\"precision\":\"%s\",\"rounds\":%d",
                  kernels_name(), x->threads, precision_names[x->precision], b->rounds);
}

// The sizes of a product as M x N x K: out, dX or dW.
static void json_product(Buffer *json, const Measure *x) {
    const int M = x->way == DW ? x->OC : x->T;
    const int N = x->way == FORWARD ? x->OC : x->C;
    const int K = x->way == FORWARD ? x->C : x->way == DX ? x->OC : x->T;
    buffer_printf(json, ",\"M\":%d,\"N\":%d,\"K\":%d", M, N, K);
}

// A line of the table and one of JSON.
static void report_measure(Buffer *json, const Bench *b, const Measure *x) {
    const char *unit = x->streams ? "GB/s" : "GFLOP/s";
    const double seconds = round_median(x->seconds, NULL, b->rounds);
    const double value = round_median(x->speed, NULL, b->rounds);
    const double share = round_median(x->speed, x->limit, b->rounds);

    // what every measurement has, the limit itself without a time and a share
    printf("    %-38s %8.1f %-7s", x->name, value, unit);
    json_start(json, b, x, x->name);
    buffer_printf(json, ",\"value\":%.5g,\"unit\":\"%s\",\"share\":%.4g", value, unit, share);
    if (x->run) {
        printf("  %.2f of %s  %9.3f ms", share, x->streams ? "memory" : "peak  ", seconds * 1e3);
        buffer_printf(json, ",\"ms\":%.6g", seconds * 1e3);
    }
    if (x->run == product_run) json_product(json, x);

    // whole steps and generation
    if (x->tokens) {
        printf("  %.0f tokens/s of %d", x->tokens / seconds, x->tokens);
        buffer_printf(json, ",\"tokens\":%d,\"tokens_per_s\":%.5g", x->tokens, x->tokens / seconds);
    }
    if (x->pairs) {
        printf("  %.2f pairs/s", x->pairs / seconds);
        buffer_printf(json, ",\"pairs\":%d,\"pairs_per_s\":%.5g", x->pairs, x->pairs / seconds);
    }
    // beside others
    if (x->than >= 0) {
        const Measure *y = &b->measure[x->than];
        const double ratio = round_median(x->seconds, y->seconds, b->rounds);
        printf("  %.3f x the time of %s", ratio, y->name);
        buffer_printf(json, ",\"than\":\"%s\",\"time_ratio\":%.4g", y->name, ratio);
    }
    if (x->alone >= 0 && b->measure[x->alone].wanted) {
        const double ratio = round_median(x->speed, b->measure[x->alone].speed, b->rounds);
        printf("  %.2f x one thread", ratio);
        buffer_printf(json, ",\"speedup\":%.4g", ratio);
    }
    printf("\n");
    buffer_printf(json, "}\n");
}

// What the step at measure[step] consists of, if all of its layers were measured.
static void report_parts(Buffer *json, const Bench *b, int step) {
    static const char *const names[] = {"parts: all layers", "parts: attention",
                                        "parts: not matrix product"};
    double share[3] = {0, 0, 1};
    for (int i = step + 1; i < b->num_measures && b->measure[i].than == step; i++) {
        const Measure *x = &b->measure[i];
        if (!x->wanted) return;
        const double part = round_median(x->seconds, b->measure[step].seconds, b->rounds);
        if (x->kind != VOCABULARY) share[0] += part;                  // that is in LOGP too
        if (x->kind == ATTENTION) share[1] += part;
        if (x->kind <= VOCABULARY) share[2] -= part;
    }
    for (int i = 0; i < 3; i++) {
        printf("    %-38s %8.1f %% of the step\n", names[i], 100 * share[i]);
        json_start(json, b, &b->measure[step], names[i]);
        buffer_printf(json, ",\"value\":%.4g,\"unit\":\"of the step\"}\n", share[i]);
    }
}

// The stage's table, and its lines to --out. 0, or -1 after fail().
static int bench_print(Bench *b) {
    Buffer json = {0};
    const Measure *last = NULL;
    int step = -1, result = -1;
    error_code = 0;
    for (int k = 0; k < b->num_measures; k++) {
        const Measure *x = &b->measure[k];
        if (x->run == step_run) step = k;
        if (!x->wanted) continue;
        if (!last || x->threads != last->threads || x->precision != last->precision) {
            printf("%s, %s, %s, %d thread%s, medians of %d\n",
                   b->shape ? b->shape->name : "machine", kernels_name(),
                   precision_names[x->precision], x->threads, x->threads == 1 ? "" : "s",
                   b->rounds);
        }
        report_measure(&json, b, x);
        if (x->kind == SUBNORMAL) report_parts(&json, b, step);       // the last layer
        last = x;
        b->num_reported++;
    }
    fflush(stdout);
    if (error_code) goto done;                  // a line of JSON found no memory
    if (opt.out && output_write(&b->out, json.data, json.len) < 0) goto done;
    result = 0;
done:
    buffer_free(&json);
    return result;
}

// ------------------------------------------------------------------------------------------ stages

// A stage's list is what add_all adds for each precision and number of threads. 0, or -1 after
// fail().
typedef int AddMeasures(Bench *b);

// Makes the list; returns how many measurements are wanted, or -1 after fail().
static int bench_list(Bench *b, AddMeasures *add_all) {
    const int most = kernels_threads(), counts[] = {1, most};
    int wanted = 0;
    b->num_measures = 0;
    for (b->precision = 0; b->precision < NUM_PRECISIONS; b->precision++) {
        if (opt.precision != NOT_CHOSEN && opt.precision != b->precision) continue;
        if (kernels_precision((Precision)b->precision) < 0) continue;           // not here
        for (int i = 0; i < (most > 1 ? 2 : 1); i++) {
            b->threads = counts[i];
            if (opt.threads && opt.threads != b->threads) continue;
            if (add_all(b) < 0) return -1;
        }
    }
    kernels_precision(PRECISION_FP32);

    // what a wanted one is compared with is wanted too, and stands before it
    for (int k = b->num_measures - 1; k >= 0; k--) {
        const Measure *x = &b->measure[k];
        if (x->wanted && x->than >= 0) b->measure[x->than].wanted = 1;
        wanted += x->wanted;
    }
    return wanted;
}

static int bench_stage(Bench *b) {
    const int most = kernels_threads(), result = bench_rounds(b);
    kernels_set_threads(most);
    kernels_precision(PRECISION_FP32);
    b->reserved = PRECISION_FP32;
    return result < 0 ? -1 : bench_print(b);
}

// ---- the machine, products

static int tile_run(Bench *b, const Measure *x) {
    kernels_burst_tile((Precision)x->precision, b->burst[x->precision]);
    return 0;
}
enum { SUMMED = 1 << 22 };                      // numbers of a thread
static int sums_run(Bench *b, const Measure *x) {
    (void)b;
    kernels_burst_sums(x->kind, SUMMED);
    return 0;
}
// The same sums by 64 lanes and by the 16 of NUMERICS.md.
static void add_sums(Bench *b) {
    Measure x = {.run = sums_run, .kind = 64, .work = 4.0 * b->threads * SUMMED, .streams = 1};
    const int other = b->num_measures;
    if (kernels_burst_sums(16, 1) == 0) return;
    measure_add(b, x, "sums in another order");
    x.kind = 16;
    measure_add(b, x, "sums in order")->than = other;
}
static int add_machine(Bench *b) {
    const Measure tile_burst = {.run = tile_run, .work = b->threads * b->tile_burst[b->precision]};
    measure_add(b, (Measure){.work = 1e9}, "machine FMA");
    measure_add(b, tile_burst, "machine tile");
    measure_add(b, (Measure){.work = 1e9, .streams = 1}, "machine memory");
    add_sums(b);
    for (int i = 0; i < NUM_PRODUCTS; i++) {
        product_add(b, products[i].T, products[i].C, products[i].OC);
    }
    return 0;
}
static int add_shape_products(Bench *b) {
    for (int kind = QKV; kind <= VOCABULARY; kind++) {
        const Linear x = linear_layer(&b->run.model, 0, (Layer)kind);
        product_add(b, LOGITS_ROWS, x.C, x.OC);
        if (kind != VOCABULARY) product_add(b, 4 * LOGITS_ROWS, x.C, x.OC);
    }
    return 0;
}

static int product_stage(Bench *b, AddMeasures *add_all) {
    const int wanted = bench_list(b, add_all);
    int result = wanted < 0 ? -1 : 0;
    if (wanted > 0) result = product_init(b) < 0 ? -1 : bench_stage(b);
    product_free(&b->product);
    return result;
}

// ---- a model of the shape

static int ignore_completion(void *context, const Completion *c) {
    (void)context;
    (void)c;
    return 0;
}
static int generate_run(Bench *b, const Measure *x) {
    const Sampling s = {.top_p = 1, .repetition_penalty = 1, .n = 1, .max_new_tokens = x->tokens,
                        .batch = 1};
    const Prompt prompt = {.token = b->run.data[1].token, .len = PROMPT};
    return generate(&b->run.model, NULL, &prompt, 1, &s, ignore_completion, NULL);
}
// One text, one token after the other: every weight is read for each.
static void add_generation(Bench *b) {
    const Config *c = &b->run.model.config;
    const double weights = block_weights(c) + (double)c->channels * c->vocab_size;
    Measure x = {.run = generate_run, .T = PROMPT, .tokens = 128, .streams = 1};
    x.work = x.tokens * (b->precision ? 2.0 : 4.0) * weights;
    measure_add(b, x, "generate greedy");
}

static int add_lm(Bench *b) {
    char name[64];
    snprintf(name, sizeof name, "step lm B%d T%d", (int)b->run.step_end[0], LM_ROWS);
    if (!steps_add(b, name, objective_find("lm"), 0, 1)) return -1;
    layers_add(b);
    const int sft = b->num_measures;
    if (!steps_add(b, "step sft", objective_find("sft"), 1, 2)) return -1;
    Measure *dpo = steps_add(b, "step dpo", objective_find("dpo"), 1, 2);
    if (!dpo) return -1;
    dpo->than = sft;
    add_generation(b);
    return 0;
}

// steps [first, end) of pairs packed, then as many of them padded
static int add_packed_and_padded(Bench *b, const char *name, size_t first, size_t end) {
    const Objective *o = objective_find("reward");
    char padded_name[64];
    const int packed = b->num_measures;
    snprintf(padded_name, sizeof padded_name, "%s padded", name);
    if (!steps_add(b, name, o, first, end)) return -1;
    if (first == 0) layers_add(b);
    Measure *padded = steps_add(b, padded_name, o, end, end + (end - first));
    if (!padded) return -1;
    padded->than = packed;
    return 0;
}
// A step of rankings, then of their pairs: each has the prompt again, and answers come more than
// once.
static int add_rankings(Bench *b, size_t step) {
    const Objective *o = objective_find("reward");
    const int whole = b->num_measures;
    if (!steps_add(b, "step ranking", o, step, step + 1)) return -1;
    Measure *pairs = steps_add(b, "step ranking as pairs", o, step + 1, step + 2);
    if (!pairs) return -1;
    pairs->than = whole;
    return 0;
}
static int add_reward(Bench *b) {
    const size_t real_steps = (b->run.num_steps - 4) / 2;
    if (add_packed_and_padded(b, "step reward", 0, 1) < 0 || add_rankings(b, 2) < 0) return -1;
    if (!real_steps) return 0;
    return add_packed_and_padded(b, "step reward real", 4, 4 + real_steps);
}

static Config shape_config(const struct Shape *s, int reward) {
    Config c = small_config(s->family, reward);
    c.vocab_size = s->vocab_size;
    c.channels = s->channels;
    c.num_layers = s->layers;
    c.num_heads = s->heads;
    c.num_kv_heads = s->kv_heads;
    c.head_dim = s->head_dim;
    c.hidden = s->hidden;
    c.tied = s->tied;
    c.rotary_dims = s->rotary_dims;
    c.max_positions = s->positions;
    return c;
}

// Room for all that is wanted, and random weights. 0, or -1 after fail().
static int stage_model(Bench *b) {
    Run *run = &b->run;
    Model *m = &run->model;
    const Config c = m->config;
    int T = 0, B = 0;
    for (int k = 0; k < b->num_measures; k++) {
        if (!b->measure[k].wanted) continue;
        T = max_int(T, b->measure[k].T);
        B = max_int(B, b->measure[k].B);
    }
    if (model_init(m, c) < 0 || model_init_training(m) < 0 || model_random(m, 1) < 0) return -1;
    if (c.reward && model_random_head(m, 1) < 0) return -1;
    if ((c.reward ? reward_open(run) : policy_open(run)) < 0) return -1;
    return model_reserve(m, T, B);
}
static void stage_free(Run *run) {
    for (int i = 0; run->data && i < BENCH_DATA; i++) {
        if (i != 2) dataset_free(&run->data[i]);                      // 2 is the caller's
    }
    reward_close(run);
    policy_close(run);
    run->objective = NULL;
    run_free(run);
}

// Whole steps of a language or reward model and its layers. 0, or -1 after fail().
static int model_stage(Bench *b, Dataset *pairs, int reward) {
    Run *run = &b->run;
    int result = -1;
    run->model.config = shape_config(b->shape, reward);
    run->objective = objective_find(reward ? "reward" : "lm");
    if (bench_plan(b, pairs) < 0) goto done;
    const int wanted = bench_list(b, reward ? add_reward : add_lm);
    if (wanted < 0) goto done;
    if (wanted > 0) {
        if (stage_model(b) < 0) goto done;
        if (bench_stage(b) < 0) goto done;
    }
    result = 0;
done:
    stage_free(run);
    return result;
}

static int shape_stages(Bench *b, Dataset *pairs) {
    b->run.model.config = shape_config(b->shape, 0);
    if (product_stage(b, add_shape_products) < 0) return -1;
    if (model_stage(b, NULL, 0) < 0) return -1;
    return model_stage(b, pairs, 1);
}

// -------------------------------------------------------------------------------------- more bench

// The shapes of --shape, or the first; returns how many, or -1 after fail().
static int choose_shapes(const struct Shape *chosen[NUM_SHAPES]) {
    if (opt.shape.n > NUM_SHAPES) {
        return fail(EX_USAGE, "--shape: more than the %d there are", NUM_SHAPES);
    }
    for (int i = 0; i < opt.shape.n; i++) {
        int k = 0;
        while (k < NUM_SHAPES && strcmp(opt.shape.item[i], shapes[k].name)) k++;
        if (k == NUM_SHAPES) {
            return fail(EX_USAGE, "--shape %s: unknown; see --help for the choices",
                        opt.shape.item[i]);
        }
        chosen[i] = &shapes[k];
    }
    if (opt.shape.n) return opt.shape.n;
    chosen[0] = &shapes[0];
    return 1;
}

// 0, or -1 after fail(): does the shape have room for the user's pairs?
static int check_shape(const struct Shape *s, int vocab_size) {
    if (vocab_size > s->vocab_size) {
        return fail(EX_USAGE, "--shape %s: it has %d pieces, the tokenizer %d", s->name,
                    s->vocab_size, vocab_size);
    }
    if (opt.max_length > s->positions) {
        return fail(EX_USAGE, "--max_length %d: %s has %d positions", opt.max_length, s->name,
                    s->positions);
    }
    return 0;
}

// What the steps take from the settings, whose options bench does not have.
static void bench_settings(void) {
    opt.max_length = LM_ROWS;                   // of windows; the user's pairs have been cut by now
    opt.per_step_rows = STEP_PAIRS;
    opt.epochs = 1;
    opt.micro_batch_tokens = 4096;
    opt.loss.beta = 0.1;
    opt.loss.label_smoothing = 0;
}

/* The limits, products, layers and whole steps of each --shape, and steps of the user's pairs (or
 * NULL) whose tokens are below vocab_size.  0, or -1 after fail(). */
int bench_report(Dataset *pairs, int vocab_size) {
    const struct Shape *chosen[NUM_SHAPES];
    int result = -1;
    const int n = choose_shapes(chosen);
    if (n < 0) return -1;
    for (int i = 0; i < n && pairs; i++) {
        if (check_shape(chosen[i], vocab_size) < 0) return -1;
    }
    Bench *b = allocate(1, sizeof *b);
    if (!b) return -1;
    b->out.fd = -1;
    bench_settings();
    if (opt.out && output_open(&b->out, opt.out) < 0) goto done;

    // the stages
    if (bench_init(b) < 0) goto done;
    if (product_stage(b, add_machine) < 0) goto done;
    for (int i = 0; i < n; i++) {
        b->shape = chosen[i];
        if (shape_stages(b, pairs) < 0) goto done;
    }
    if (!b->num_reported) {
        fail(EX_USAGE, "--only: no measurement's name starts like that");
        goto done;
    }
    if (opt.out && output_close(&b->out) < 0) goto done;
    if (opt.out && output_rename(&b->out) < 0) goto done;
    result = 0;
done:
    output_drop(&b->out);
    for (int k = 0; k < 3; k++) kernels_free(b->stream_memory[k]);
    free(b);
    return result;
}
#endif

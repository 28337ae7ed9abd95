/* test_bench.c - the operations that bench reports are those that the products do, and the layers
 * that it measures are those that a step calls.  No test looks at a clock. */
#include "test.h"
#include "../kernels.c"

// Every call of a layer by model.c and bench_layers.c is noted: its name, where its result goes.
enum { MAX_CALLS = 4096 };
typedef struct {
    const char *layer;
    const void *out;
} Call;
static Call calls[MAX_CALLS];
static int num_calls;

static void note_call(const char *layer, const void *out) {
    assert(num_calls < MAX_CALLS);
    calls[num_calls++] = (Call){layer, out};
}
#define NOTED(layer, out, ...)    (note_call(#layer, out), layer(out, __VA_ARGS__))
#define embed_forward(...)        NOTED(embed_forward, __VA_ARGS__)
#define embed_backward(...)       NOTED(embed_backward, __VA_ARGS__)
#define norm_forward(...)         NOTED(norm_forward, __VA_ARGS__)
#define norm_backward(...)        NOTED(norm_backward, __VA_ARGS__)
#define head_norm_forward(...)    NOTED(head_norm_forward, __VA_ARGS__)
#define head_norm_backward(...)   NOTED(head_norm_backward, __VA_ARGS__)
#define matmul_forward(...)       NOTED(matmul_forward, __VA_ARGS__)
#define matmul_backward(...)      NOTED(matmul_backward, __VA_ARGS__)
#define rotary(...)               NOTED(rotary, __VA_ARGS__)
#define attention_forward(...)    NOTED(attention_forward, __VA_ARGS__)
#define attention_backward(...)   NOTED(attention_backward, __VA_ARGS__)
#define activation_forward(...)   NOTED(activation_forward, __VA_ARGS__)
#define activation_backward(...)  NOTED(activation_backward, __VA_ARGS__)
#define gated_forward(...)        NOTED(gated_forward, __VA_ARGS__)
#define gated_backward(...)       NOTED(gated_backward, __VA_ARGS__)
#define add_forward(...)          NOTED(add_forward, __VA_ARGS__)
#define add3_forward(...)         NOTED(add3_forward, __VA_ARGS__)
#define pool_forward(...)         NOTED(pool_forward, __VA_ARGS__)
#define head_forward(...)         NOTED(head_forward, __VA_ARGS__)
#define head_backward(...)        NOTED(head_backward, __VA_ARGS__)
#define logp_forward(...)         NOTED(logp_forward, __VA_ARGS__)
#define logp_backward(...)        NOTED(logp_backward, __VA_ARGS__)
#define sum_of_squares(...)       NOTED(sum_of_squares, __VA_ARGS__)
#define adamw_update(...)         NOTED(adamw_update, __VA_ARGS__)
#include "../commands/check.c"
#include "../commands/measure.c"
#include "../commands/bench_layers.c"
#include "../commands/bench.c"

static const Family tried_families[] = {FAMILY_NEOX, FAMILY_GPT2, FAMILY_QWEN3};
enum { TRIED_FAMILIES = sizeof tried_families / sizeof *tried_families };

// An instruction set that counts the operations of its tiles; its numbers are about right: a fused
// multiply-add in software takes a minute.
static double counted;
static void strided_counting(real *c, size_t ldc, int add, const real *a, size_t ars, size_t acs,
                             const real *b, size_t ldb, int K, int height, int width) {
    counted += 2.0 * height * width * K;
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) {
            real sum = add ? c[(size_t)i*ldc + j] : 0;
            for (int k = 0; k < K; k++) {
                sum += a[(size_t)i*ars + (size_t)k*acs] * b[(size_t)k*ldb + j];
            }
            c[(size_t)i*ldc + j] = sum;
        }
    }
}
static void tile_counting(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb,
                          int K, int height, int width) {
    strided_counting(c, ldc, add, a, LDA, 1, b, ldb, K, height, width);
}
static void transpose_number(real *out, size_t ldo, const real *x, size_t ldx) {
    (void)ldo;
    (void)ldx;
    *out = *x;
}
// a tile of one number: larger ones compute pairs of a query and a later key, too
static const struct Tile counting = {
    .name = "counting", .isa = ISA_SCALAR, .fp32 = ROWS_OF(1, 1, tile_counting),
    .bf16 = ROWS_OF(4, 8, tile_bf16_plain), .strided = strided_counting, .direct = 1, .square = 1,
    .transpose = transpose_number};

// all sizes are multiples of the tile's, so that nothing is counted that only fills an edge
static void test_step_flops_counts_every_product_of_forward_and_backward(void) {
    for (int k = 0; k < NUM_SMALL; k++) {
        Model m;
        Sample s;
        double loss;
        tile = &counting;
        Config c = small_config(small_models[k].family, small_models[k].reward);
        c.max_positions = 256;
        CHECK(small_init(&m, &s, c, (SampleShape){2, 64, 2, 72}) == 0);
        counted = 0;
        num_calls = 0;
        CHECK(sample_loss(&loss, &m, &s, 1) == 0);
        CHECK(counted == step_flops(&c, &s.batch));
        small_free(&m, &s);
    }
}

// the plan and the list of a small shape's stage; static because it is large
static Bench bench;
static struct Shape small_shape;

static void stage_begin(Family family, int reward) {
    Run *run = &bench.run;
    small_shape = (struct Shape){
        .name = "small", .family = family, .channels = 32, .layers = 2, .heads = 4,
        .kv_heads = family == FAMILY_QWEN3 ? 2 : 4, .head_dim = 8, .hidden = 80, .vocab_size = 64,
        .rotary_dims = family == FAMILY_GPT2 ? 0 : 4, .positions = 256, .tied = 1, .texts = 1};
    bench.shape = &small_shape;
    bench.slow = 1;
    run->model.config = shape_config(&small_shape, reward);
    run->objective = objective_find(reward ? "reward" : "lm");
    CHECK(bench_plan(&bench, NULL) == 0);
    CHECK(bench_list(&bench, reward ? add_reward : add_lm) > 0);
}

static int run_measure(const Measure *x) {
    if (x->before) x->before(&bench);
    return x->run(&bench, x);
}

static void test_every_measurement_runs_the_operations_that_it_reports(void) {
    for (int f = 0; f < TRIED_FAMILIES; f++) {
        double products_of_layers = 0;
        stage_begin(tried_families[f], 0);
        CHECK(stage_model(&bench) == 0);
        tile = &counting;
        for (int k = 0; k < bench.num_measures; k++) {
            const Measure *x = &bench.measure[k];
            if (x->run == generate_run) continue;         // bytes of weights, whatever computes
            counted = 0;
            num_calls = 0;
            CHECK(run_measure(x) == 0);
            CHECK(counted == (x->streams ? 0 : x->work));
            if (x->run == layer_run && x->kind <= ATTENTION) products_of_layers += x->work;
        }
        CHECK(products_of_layers == bench.measure[0].work);
        stage_free(&bench.run);
    }
}

static int compare_calls(const void *a, const void *b) {
    const Call *x = a, *y = b;
    const int by_name = strcmp(x->layer, y->layer);
    return by_name ? by_name : (x->out > y->out) - (x->out < y->out);
}

// The calls of the step at measure[0] and those of the layers behind it.
static void check_layers_of_step(int reward) {
    static Call step_calls[MAX_CALLS];
    int num_step_calls = 0;
    CHECK(stage_model(&bench) == 0);
    num_calls = 0;
    CHECK(run_measure(&bench.measure[0]) == 0);
    for (int i = 0; i < num_calls; i++) {
        // of a reward model only its head is measured
        const char *layer = calls[i].layer;
        const int is_head = !strcmp(layer, "pool_forward") || !strcmp(layer, "head_forward")
                         || !strcmp(layer, "head_backward");
        if (!reward || is_head) step_calls[num_step_calls++] = calls[i];
    }
    num_calls = 0;
    for (int k = 1; k < bench.num_measures; k++) {
        const Measure *x = &bench.measure[k];
        if (x->run != layer_run) continue;
        if (x->kind == VOCABULARY || x->kind == SUBNORMAL) continue;  // in LOGP too; ADAMW again
        CHECK(run_measure(x) == 0);
    }
    qsort(step_calls, (size_t)num_step_calls, sizeof *step_calls, compare_calls);
    qsort(calls, (size_t)num_calls, sizeof *calls, compare_calls);
    CHECK(num_calls > 0 && num_calls == num_step_calls);
    for (int i = 0; i < num_calls && i < num_step_calls; i++) {
        const int same = compare_calls(&calls[i], &step_calls[i]) == 0;
        CHECK(same);
        if (same) continue;
        printf("    layers: %s, the step: %s\n", calls[i].layer, step_calls[i].layer);
        break;
    }
    stage_free(&bench.run);
}
static void test_the_layers_that_are_measured_are_the_calls_of_a_step(void) {
    for (int f = 0; f < TRIED_FAMILIES; f++) {
        for (int reward = 0; reward < 2; reward++) {
            stage_begin(tried_families[f], reward);
            check_layers_of_step(reward);
        }
    }
}

static void test_padded_pairs_are_the_packed_ones_with_prompts_repeated_and_rows_added(void) {
    stage_begin(FAMILY_NEOX, 1);
    const Dataset *d = &bench.run.data[0], *p = &bench.run.data[1];
    CHECK(d->num_records == STEP_PAIRS && d->num_answers == 2*STEP_PAIRS);
    CHECK(p->num_records == STEP_PAIRS && p->num_answers == 2*STEP_PAIRS);
    for (int i = 0; i < 2*STEP_PAIRS; i++) {
        const Record *record = &d->record[i / 2], *padded = &p->record[i / 2];
        const Span *answer = &d->answer[i].tokens, *text = &p->answer[padded->first + i % 2].tokens;
        const int *token = p->token + text->start;
        CHECK(text->len == PROMPT + 188 && padded->prompt.len == 0);
        CHECK(!memcmp(token, d->token + record->prompt.start, PROMPT * sizeof *token));
        CHECK(!memcmp(token + PROMPT, d->token + answer->start,
                      (size_t)answer->len * sizeof *token));
    }
    for (int k = 0; k < bench.num_measures; k++) {
        const Measure *x = &bench.measure[k];
        if (!strcmp(x->name, "step reward")) {
            CHECK(x->tokens == 8*63 + 16*129 && x->pairs == 8);
        }
        if (!strcmp(x->name, "step reward padded")) {
            CHECK(x->tokens == 16*252 && x->pairs == 8 && x->than == 0);
        }
    }
    stage_free(&bench.run);
}

static void test_pairs_of_rankings_are_each_two_of_their_answers_with_prompts_repeated(void) {
    int answers[2] = {0};                       // tokens, of rankings and of pairs
    stage_begin(FAMILY_NEOX, 1);
    CHECK(stage_model(&bench) == 0);
    const Dataset *d = &bench.run.data[4], *p = &bench.run.data[5];
    CHECK(d->kind == DATA_RANKING && d->num_records == 2 && d->num_answers == 8);
    CHECK(p->kind == DATA_PAIR && p->num_records == 12 && p->num_answers == 24);
    for (size_t i = 0; i < 8; i++) answers[0] += d->answer[i].tokens.len;
    for (size_t i = 0; i < 24; i++) answers[1] += p->answer[i].tokens.len;
    CHECK(answers[1] == 3 * answers[0]);
    CHECK(p->answer[2].tokens.start == d->answer[0].tokens.start);    // the pair of 0 and 2
    CHECK(p->answer[3].tokens.start == d->answer[2].tokens.start);
    for (int k = 0; k < bench.num_measures; k++) {
        const Measure *x = &bench.measure[k];
        const int whole = !strcmp(x->name, "step ranking");
        if (!whole && strcmp(x->name, "step ranking as pairs")) continue;
        CHECK(x->pairs == 12);
        if (whole) CHECK(x->tokens == 2*63 + 8 + answers[0]);
        if (!whole) CHECK(x->tokens == 12*63 + 24 + answers[1] && x->than == k - 1);
        if (!whole) continue;

        // the step does the operations that are reported
        tile = &counting;
        counted = 0;
        num_calls = 0;
        CHECK(run_measure(x) == 0);
        CHECK(counted == x->work);
    }
    stage_free(&bench.run);
}

static void test_a_measurement_asked_for_brings_what_it_is_compared_with_and_no_more(void) {
    opt.only = (List){1, {"layer adamw, sub"}};
    stage_begin(FAMILY_NEOX, 0);
    for (int k = 0; k < bench.num_measures; k++) {
        const Measure *x = &bench.measure[k];
        CHECK(x->wanted == (k == 0 || x->kind == ADAMW || x->kind == SUBNORMAL));
        CHECK(x->threads == 1 && x->precision == PRECISION_FP32);
    }
    opt.only.n = 0;
    stage_free(&bench.run);
}

static void test_a_burst_does_what_was_asked_for_and_little_more(void) {
    for (int i = 0; kernels_variant(i); i++) {
        CHECK(kernels_init(kernels_variant(i)) == 0);
        for (int k = 0; k < 2; k++) {
            const Precision precision = k ? PRECISION_BF16 : PRECISION_FP32;
            const double in_registers = kernels_burst(precision, 1e6);
            const double in_cache = kernels_burst_tile(precision, 1e6);
            CHECK(in_registers > 1e6 && in_registers < 1.1e6);
            CHECK(in_cache > 1e6 && in_cache < 2e6);      // one run of AMX's tile is 0.8 million
        }
    }
    CHECK(kernels_init("scalar") == 0);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init("scalar") < 0) return fprintf(stderr, "%s\n", error_text), 1;
    kernels_set_threads(1);                     // one counter
    opt.max_length = LM_ROWS;
    opt.micro_batch_tokens = 4096;
    opt.logging_steps = 10;
    opt.precision = PRECISION_FP32;
    RUN(test_step_flops_counts_every_product_of_forward_and_backward);
    RUN(test_every_measurement_runs_the_operations_that_it_reports);
    RUN(test_the_layers_that_are_measured_are_the_calls_of_a_step);
    RUN(test_padded_pairs_are_the_packed_ones_with_prompts_repeated_and_rows_added);
    RUN(test_pairs_of_rankings_are_each_two_of_their_answers_with_prompts_repeated);
    RUN(test_a_measurement_asked_for_brings_what_it_is_compared_with_and_no_more);
    RUN(test_a_burst_does_what_was_asked_for_and_little_more);
    return test_summary();
}

// test_bench.c - the operations that bench reports are those that the products do.  No test looks at a clock.
#include "test.h"
#include "../commands/bench.c"

static double counted;
static void tile_counting(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb, int K,
                          int height, int width) {
    counted += 2.0 * height * width * K;
    tile_scalar(c, ldc, add, a, b, ldb, K, height, width);
}
static const struct Tile counting = {"counting", ISA_SCALAR, {4, 8, tile_counting}, {4, 8, tile_bf16_plain},
                                     1, 4, transpose_scalar};

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
        CHECK(sample_loss(&loss, &m, &s, 1) == 0);
        CHECK(counted == step_flops(&c, &s.batch));
        small_free(&m, &s);
    }
}

// the plan and the list of a small shape's stage; b is static because it is large
static Bench b;
static void stage_of(Family family, int reward) {
    static struct Shape shape;
    int llama = family == FAMILY_QWEN3;
    shape = (struct Shape){"small", family, 32, 2, 4, llama ? 2 : 4, 8, 80, 64, 4, 256, 1, 1};
    if (family == FAMILY_GPT2) shape.rotary_dims = 0;
    b.shape = &shape, b.slow = 1;
    b.run.model.config = shape_config(&shape, reward);
    b.run.objective = objective_find(reward ? "reward" : "lm");
    CHECK((reward ? reward_open(&b.run) : policy_open(&b.run)) == 0);
    CHECK(plan_make(&b, NULL) == 0);
    CHECK(bench_list(&b, reward ? add_reward : add_lm) > 0);
}

static void test_every_measurement_runs_the_operations_that_it_reports(void) {
    static const Family families[] = {FAMILY_NEOX, FAMILY_GPT2, FAMILY_QWEN3};
    for (int f = 0; f < 3; f++) {
        Model *m = &b.run.model;
        double products = 0;
        stage_of(families[f], 0);
        CHECK(model_init(m, m->config) == 0 && model_init_training(m) == 0 && model_random(m, 1) == 0);
        int T = 0;
        for (int k = 0; k < b.num_measures; k++) T = b.measure[k].T > T ? b.measure[k].T : T;
        CHECK(model_reserve(m, T, 2 * STEP_PAIRS) == 0);
        tile = &counting;
        for (int k = 0; k < b.num_measures; k++) {
            const Measure *x = &b.measure[k];
            if (x->run == generate_run) continue;                     // bytes of weights, whatever computes
            counted = 0;
            if (x->before) x->before(&b);
            CHECK(x->run(&b, x) == 0);
            CHECK(counted == (x->streams ? 0 : x->work));
            if (x->run == layer_run && x->kind <= ATTENTION) products += x->work;
        }
        CHECK(products == b.measure[0].work);                         // layers add up to the step
        stage_free(&b.run);
    }
}

static void test_padded_pairs_are_the_packed_ones_with_prompts_repeated_and_rows_added(void) {
    stage_of(FAMILY_NEOX, 1);
    const Dataset *d = &b.run.data[0], *p = &b.run.data[1];
    CHECK(d->num_records == STEP_PAIRS && p->num_records == STEP_PAIRS && p->num_answers == 2*STEP_PAIRS);
    for (int i = 0; i < 2*STEP_PAIRS; i++) {
        const Record *r = &d->record[i / 2];
        const Span *text = &p->answer[p->record[i / 2].first + i % 2].tokens, *answer = &d->answer[i].tokens;
        CHECK(text->len == 64 + 188 && p->record[i / 2].prompt.len == 0);
        CHECK(!memcmp(p->token + text->start, d->token + r->prompt.start, 64 * sizeof(int)));
        const size_t bytes = (size_t)answer->len * sizeof(int);
        CHECK(!memcmp(p->token + text->start + 64, d->token + answer->start, bytes));
    }
    for (int k = 0; k < b.num_measures; k++) {
        const Measure *x = &b.measure[k];
        if (!strcmp(x->name, "step reward")) CHECK(x->tokens == 8*63 + 16*129 && x->pairs == 8);
        if (!strcmp(x->name, "step reward padded"))
            CHECK(x->tokens == 16*252 && x->pairs == 8 && x->than == 0);
    }
    stage_free(&b.run);
}

static void test_a_measurement_asked_for_brings_what_it_is_compared_with_and_no_more(void) {
    opt.only = (List){1, {"layer adamw, sub"}};
    stage_of(FAMILY_NEOX, 0);
    for (int k = 0; k < b.num_measures; k++) {
        const Measure *x = &b.measure[k];
        CHECK(x->wanted == (k == 0 || x->kind == ADAMW || x->kind == SUBNORMAL));
        CHECK(x->threads == 1 && !x->bf16);
    }
    opt.only.n = 0;
    stage_free(&b.run);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init("scalar") < 0) return fprintf(stderr, "%s\n", error_text), 1;
    kernels_set_threads(1);                                                   // one counter
    opt.max_length = LM_ROWS, opt.micro_batch_tokens = 4096, opt.precision = 0;
    RUN(test_step_flops_counts_every_product_of_forward_and_backward);
    RUN(test_every_measurement_runs_the_operations_that_it_reports);
    RUN(test_padded_pairs_are_the_packed_ones_with_prompts_repeated_and_rows_added);
    RUN(test_a_measurement_asked_for_brings_what_it_is_compared_with_and_no_more);
    return test_summary();
}

/* test_doctor.c - the micro-batch that doctor measures fits into the memory that is free.  */
#include "test.h"
#include "../commands/doctor.c"

static const Config small = {
    .family = FAMILY_NEOX, .vocab_size = 40, .channels = 16, .num_layers = 2, .num_heads = 2,
    .num_kv_heads = 2, .head_dim = 8, .hidden = 64, .max_positions = 64, .parallel_residual = 1,
    .tied = 1, .rotary_dims = 4, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .norm_eps = 1e-5f,
    .rope_theta = 10000};

static void test_a_micro_batch_has_the_most_rows_that_fit(void) {
    Diagnosis d = {.objective = objective_find("dpo")};
    const int rows[] = {1, 2, 7, 100, 1023};
    for (int recompute = 0; recompute < 2; recompute++) {
        opt = (Settings){.recompute = recompute};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const int T = rows[i];
            const double bytes = (double)model_bytes(&small, T, T, training_purpose());
            CHECK(rows_that_fit(&d, &small, bytes, 1024) == T);
            CHECK(rows_that_fit(&d, &small, bytes - 1, 1024) == T - 1);
            CHECK(rows_that_fit(&d, &small, bytes, T / 2) == T / 2);
        }
        CHECK(rows_that_fit(&d, &small, 0, 1024) == 0);
        CHECK(rows_that_fit(&d, &small, INFINITY, 1024) == 1024);
    }
}

static void test_data_rows_that_do_not_fit_are_passed_over(void) {
    int token[400] = {0};
    Answer answer[] = {                                   // of four prompts of 10 tokens
        {.tokens = {10, 300}}, {.tokens = {10, 20}}, {.tokens = {10, 30}}, {.tokens = {10, 5}}};
    Record record[4];
    for (int i = 0; i < 4; i++) record[i] = (Record){.prompt = {0, 10}, .first = i, .count = 1};
    const Dataset data = {.kind = DATA_COMPLETION, .token = token, .answer = answer,
                          .record = record, .num_records = 4};
    Diagnosis d = {.objective = objective_find("sft"), .config = small};
    const struct { int most, limit, rows; } expected[] = {
        {1000, 2000, 310 + 30 + 40 + 15}, {1000, 340, 310 + 30}, {1000, 100, 310},
        {309, 2000, 30 + 40 + 15}, {40, 2000, 30}, {20, 2000, 15}, {10, 2000, 0}, {0, 2000, 0}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        Pack p = {0};
        opt = (Settings){.micro_batch_tokens = expected[i].limit, .max_length = 512};
        CHECK(pack_first(&d, &p, &data, expected[i].most) == 0);
        CHECK(p.T == expected[i].rows);
        pack_free(&p);
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init(NULL) < 0) return 1;
    RUN(test_a_micro_batch_has_the_most_rows_that_fit);
    RUN(test_data_rows_that_do_not_fit_are_passed_over);
    return test_summary();
}

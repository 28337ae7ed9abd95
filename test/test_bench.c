/* test_bench.c - the operations that bench reports are those that the products do.  No test looks at a clock. */
#include "test.h"
#include "../bench.c"

static double counted;
static void tile_counting(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb, int K, int height,
                          int width) {
    counted += 2.0 * height * width * K;
    tile_scalar(c, ldc, add, a, b, ldb, K, height, width);
}

// all sizes are multiples of the tile's, so that nothing is counted that only fills an edge
static void test_step_flops_counts_every_product_of_forward_and_backward(void) {
    static const struct Tile counting = {"counting", ISA_SCALAR, {4, 8, tile_counting}, {4, 8, NULL}, 1, 4, transpose_scalar};
    for (int k = 0; k < NUM_SMALL; k++) {
        Model m;
        Sample s;
        double loss;
        CHECK(kernels_init("scalar") == 0);
        tile = &counting;
        Config c = small_config(small_models[k].family, small_models[k].reward);
        c.max_positions = 256;
        CHECK(small_init(&m, &s, c, (SampleShape){2, 64, 2, 72}) == 0);
        counted = 0;
        CHECK(sample_loss(&loss, &m, &s, 1) == 0);
        CHECK(counted == step_flops(&c, &s.batch));
        small_free(&m, &s);
    }
    CHECK(kernels_init(NULL) == 0);
}

int main(void) {
    if (kernels_init(NULL) < 0) return fprintf(stderr, "%s\n", error_text), 1;
    set_threads(1);                                                   // one counter
    RUN(test_step_flops_counts_every_product_of_forward_and_backward);
    return test_summary();
}

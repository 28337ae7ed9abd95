/* test_tensor_cores.c - the products of --precision bf16-fast: with whole numbers, whose sums are
 * exact in whichever order, the exact results; with others, what rounding of operands to bf16 and
 * adding in float can do, and no more.  A CPU refuses that precision. */
#include "test.h"
#include "../kernels.h"
#include "../pointwise.h"

enum { MAX_SIZE = 200 * 200, MAX_ROW_BLOCKS = 200 };

// A linear layer: inp(T,C), w(OC,C), b(OC); out and dout(T,OC); dw before backward.
typedef struct { int T, C, OC; } Size;
static float inp[MAX_SIZE], w[MAX_SIZE], b[MAX_SIZE], dout[MAX_SIZE], before[MAX_SIZE];
static float got[MAX_SIZE], again[MAX_SIZE];

static const Size sizes[] = {
    {1, 1, 1},     {1, 40, 9},    {7, 1, 3},     {16, 16, 8},   {17, 31, 33},  {33, 32, 65},
    {64, 64, 64},  {65, 72, 1},   {130, 20, 66}, {3, 129, 140}, {131, 40, 136},
};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

// Is it this machine's?  What is not a GPU, or not one new enough, refuses it by name.
static int has_it(void) {
    if (kernels_precision(PRECISION_BF16_FAST) == 0) return 1;
    CHECK(error_code == EX_USAGE && strstr(error_text, "--precision bf16 takes the same operands"));
    return 0;
}

// n numbers: whole ones from -8 to 8, or any around 0
static void fill(float *x, size_t n, int whole, uint64_t stream) {
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = random_u64(1, STREAM_TEST, stream, i);
        x[i] = whole ? (float)((int)(r % 17) - 8) : (float)random_normal(1, STREAM_TEST, stream, i);
    }
}
static void fill_layer(Size s, int whole) {
    fill(inp, (size_t)(s.T * s.C), whole, 1);
    fill(w, (size_t)(s.OC * s.C), whole, 2);
    fill(b, (size_t)s.OC, whole, 3);
    fill(dout, (size_t)(s.T * s.OC), whole, 4);
    fill(before, (size_t)(s.OC * s.C), whole, 5);
}

// a tensor with these numbers
static real *tensor(const float *host, int n) {
    real *t = kernels_alloc((size_t)n);
    if (!t) abort();
    kernels_write(t, host, (size_t)n);
    return t;
}
static void read_and_free(float *host, real *t, int n) {
    kernels_read(host, t, (size_t)n);
    kernels_free(t);
}

// Rows in blocks of 1 to 32.
static int block_start[MAX_ROW_BLOCKS + 1];
static RowBlocks cut(int T) {
    RowBlocks blocks = {.start = block_start};
    for (int t = 0; t < T; ) {
        t = min_int(T, t + 1 + (int)(random_u64(1, STREAM_TEST, 6, (uint64_t)t) % 32));
        block_start[++blocks.count] = t;
    }
    return blocks;
}

typedef enum { OUT, PACKED_OUT, DINP, DW, DW_IN_BLOCKS, NUM_RESULTS } Result;

// The result, of the first T rows of the layer.
static void compute(float *result, Result kind, Size s) {
    const int T = s.T, C = s.C, OC = s.OC;
    const RowBlocks blocks = cut(T);
    real *x = tensor(inp, T*C), *weights = tensor(w, OC*C), *bias = tensor(b, OC);
    real *dy = tensor(dout, T*OC), *out = tensor(got, T*OC), *dx = tensor(got, T*C);
    real *dw = tensor(before, OC*C), *packed = kernels_alloc(matmul_packed_size(C, OC));
    const RowBlocks *of_rows = kind == DW_IN_BLOCKS ? &blocks : NULL;
    switch (kind) {
    case OUT:        matmul_forward(out, x, weights, bias, T, C, OC); break;
    case DINP:       matmul_backward(dx, NULL, NULL, dy, NULL, weights, T, C, OC, NULL); break;
    case PACKED_OUT:
        matmul_pack_weights(packed, weights, C, OC);
        matmul_packed_forward(out, x, packed, bias, T, C, OC);
        break;
    default:         matmul_backward(NULL, dw, NULL, dy, x, weights, T, C, OC, of_rows);
    }
    kernels_free(x);
    kernels_free(weights);
    kernels_free(bias);
    kernels_free(dy);
    kernels_free(packed);
    read_and_free(kind == OUT || kind == PACKED_OUT ? result : again, out, T*OC);
    read_and_free(kind == DINP ? result : again, dx, T*C);
    read_and_free(kind == DW || kind == DW_IN_BLOCKS ? result : again, dw, OC*C);
}

// One output: a product of K places, in double, from what was there or with a bias
typedef struct {
    float *a, *b;
    int row, step;                              // of a; place k of row m is at m*row + k*step
    int b_row, b_step;
    int M, N, K;
} Definition;
static Definition define(Result kind, Size s) {
    const int C = s.C, OC = s.OC;
    switch (kind) {
    case OUT: case PACKED_OUT: return (Definition){inp, w, C, 1, C, 1, s.T, OC, C};
    case DINP:                 return (Definition){dout, w, OC, 1, 1, C, s.T, C, OC};
    default:                   return (Definition){dout, inp, 1, OC, 1, C, OC, C, s.T};
    }
}

static void check(Result kind, Size s, int whole) {
    const Definition d = define(kind, s);
    int wrong = 0;
    compute(got, kind, s);
    for (int m = 0; m < d.M; m++) {
        for (int n = 0; n < d.N; n++) {
            double start = 0, sum = 0, size = 0;
            if (kind == OUT || kind == PACKED_OUT) start = b[n];
            if (kind == DW || kind == DW_IN_BLOCKS) start = before[m * d.N + n];
            for (int k = 0; k < d.K; k++) {
                const double product = (double)d.a[m*d.row + k*d.step]
                                     * (double)d.b[n*d.b_row + k*d.b_step];
                sum += product;
                size += fabs(product);
            }
            // two operands' 2^-8, and a float's last place each time that something is added
            const double operands = 0x1p-7 + 0x1p-16, added = (d.K + 2) * 0x1p-23;
            const double most = operands * size + added * (1 + operands) * (size + fabs(start));
            const double error = fabs(got[m * d.N + n] - (sum + start));
            wrong += whole ? error != 0 : !(error <= most);
        }
    }
    if (wrong) printf("    result %d of %d x %d x %d: %d wrong\n", kind, d.M, d.N, d.K, wrong);
    CHECK(wrong == 0);
}

static void check_sizes(int whole) {
    for (int i = 0; i < NUM_SIZES; i++) {
        fill_layer(sizes[i], whole);
        for (int kind = OUT; kind < NUM_RESULTS; kind++) check((Result)kind, sizes[i], whole);
    }
}
static void test_products_of_whole_numbers_are_exact_for_all_shapes_with_tails(void) {
    if (has_it()) check_sizes(1);
    kernels_precision(PRECISION_FP32);
}
static void test_other_products_are_as_exact_as_operands_in_bf16_and_sums_in_float(void) {
    if (has_it()) check_sizes(0);
    kernels_precision(PRECISION_FP32);
}

static void test_a_row_has_the_same_bits_among_others_packed_and_the_next_time(void) {
    const Size all = {131, 40, 136}, few = {3, 40, 136};
    const size_t n = (size_t)(few.T * few.OC) * sizeof *got;
    if (!has_it()) return;
    fill_layer(all, 0);
    for (int kind = OUT; kind <= DINP; kind++) {
        static float first[MAX_SIZE], alone[MAX_SIZE], next[MAX_SIZE];
        compute(first, (Result)kind, all);
        compute(next, (Result)kind, all);
        compute(alone, (Result)kind, few);
        CHECK(memcmp(first, next, sizeof first) == 0);
        CHECK(memcmp(first, alone, kind == DINP ? (size_t)(few.T * few.C) * sizeof *got : n) == 0);
        if (kind == OUT) compute(next, PACKED_OUT, all);
        CHECK(memcmp(first, next, sizeof first) == 0);
    }
    kernels_precision(PRECISION_FP32);
}

// dw of rows in two micro-batches that are cut between blocks
static void test_a_weight_gradient_does_not_depend_on_micro_batches(void) {
    const Size s = {131, 40, 65};
    static float whole[MAX_SIZE], parts[MAX_SIZE];
    if (!has_it()) return;
    fill_layer(s, 0);
    compute(whole, DW_IN_BLOCKS, s);
    const RowBlocks blocks = cut(s.T), first = {.start = blocks.start, .count = 3};
    const RowBlocks second = {.start = blocks.start + 3, .count = blocks.count - 3};
    const int T = blocks.start[3];
    real *x = tensor(inp, s.T * s.C), *dy = tensor(dout, s.T * s.OC);
    real *dw = tensor(before, s.OC * s.C);
    matmul_backward(NULL, dw, NULL, dy, x, x, T, s.C, s.OC, &first);
    matmul_backward(NULL, dw, NULL, dy + T*s.OC, x + T*s.C, x, s.T - T, s.C, s.OC, &second);
    kernels_free(x);
    kernels_free(dy);
    read_and_free(parts, dw, s.OC * s.C);
    CHECK(memcmp(whole, parts, (size_t)(s.OC * s.C) * sizeof *parts) == 0);
    kernels_precision(PRECISION_FP32);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init(NULL) < 0) {
        printf("%s\n", error_text);
        return 1;
    }
    RUN(test_products_of_whole_numbers_are_exact_for_all_shapes_with_tails);
    RUN(test_other_products_are_as_exact_as_operands_in_bf16_and_sums_in_float);
    RUN(test_a_row_has_the_same_bits_among_others_packed_and_the_next_time);
    RUN(test_a_weight_gradient_does_not_depend_on_micro_batches);
    return test_summary();
}

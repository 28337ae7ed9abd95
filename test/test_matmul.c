/* test_matmul.c - every tile this machine has, on every number of threads, against the definitions
 * of both precisions (NUMERICS.md): the same bits, and nothing written beyond the matrices. */
#include "test.h"
#include <unistd.h>
#include "../matmul.c"

enum { MAX_THREADS = 7, MAX_NUMBERS = 1 << 20 };
static float a_memory[MAX_NUMBERS], b_memory[MAX_NUMBERS], c_memory[MAX_NUMBERS];
static float start_memory[MAX_NUMBERS];         // what c holds before the product
static float want_memory[MAX_NUMBERS];          // and after it

static void set_threads(int n) {
    (void)n;
#ifdef _OPENMP
    omp_set_num_threads(n);
#endif
}

// Fills x with n normal deviates of the size `scale`; some are +0 and -0.
static void random_fill(float *x, size_t n, float scale, uint64_t stream) {
    for (size_t i = 0; i < n; i++) {
        uint64_t r = random_u64(1, STREAM_TEST, stream, i);
        float sum = (float)((int)(r & 0xffff) + (int)(r >> 16 & 0xffff) - 0xffff) * 0x1p-15f;
        x[i] = r >> 60 == 15 ? float_of((uint32_t)(r >> 32 << 31)) : scale * sum;
    }
}

typedef struct {
    int M, N, K, add;
    int a_transposed, b_transposed;             // stored (K, M), (N, K)
    int pad;                                    // numbers between rows, which are not ours
    float scale;
    int bf16;
    int cuts;                                   // blocks start anew at random rows
} Case;

// Rows of random numbers in x, with a guard of NaN around and between them.
static size_t lda, ldb, ldc, used;
enum { FRONT = 64, GUARD = 0x7fc0beef };

static void guarded(float *x, size_t rows, size_t cols, size_t ld, float scale, uint64_t stream) {
    static float row[4096];
    size_t n = 2*FRONT + rows * ld;
    assert(n <= MAX_NUMBERS && cols <= 4096);
    for (size_t i = 0; i < n; i++) x[i] = float_of(GUARD);
    for (size_t i = 0; i < rows; i++) {
        random_fill(row, cols, scale, stream + i);
        memcpy(x + FRONT + i*ld, row, cols * sizeof *x);
    }
    used = n;
}

// the bf16 number nearest to x, of two equally near the even one; +0 below 2^-55
static float nearest_bf16(float x) {
    if (fabsf(x) < 0x1p-55f) return 0;
    const uint32_t upper = bits_of(x) & 0xffff0000u;
    const float below = float_of(upper), above = float_of(upper + 0x10000u);
    const double to_below = fabs((double)x - below), to_above = fabs((double)above - x);
    if (to_below != to_above) return to_below < to_above ? below : above;
    return bits_of(below) >> 16 & 1 ? above : below;
}
static int block_starts[MAX_NUMBERS / 32];
static RowBlocks cut_blocks(const Case *p) {
    RowBlocks blocks = {.start = block_starts};
    int k = 0;
    block_starts[0] = 0;
    while (k < p->K) {
        const uint32_t random = random_below(32, 2, STREAM_TEST, (uint64_t)p->K, (uint64_t)k);
        k = min_int(p->K, k + (p->cuts ? 1 + (int)random : 32));
        blocks.count++;
        block_starts[blocks.count] = k;
    }
    return blocks;
}

// c[m] as defined for fp32: one ordered chain of fused multiply-adds for each output
static void define_row_fp32(const Case *p, float *c, size_t m) {
    const size_t N = (size_t)p->N, K = (size_t)p->K, step = p->b_transposed ? ldb : 1;
    for (size_t k = 0; k < K; k++) {
        const float a = a_memory[FRONT + (p->a_transposed ? k*lda + m : m*lda + k)];
        const float *b = b_memory + FRONT + (p->b_transposed ? k : k*ldb);
        for (size_t n = 0; n < N; n++) c[n] = exact_fmaf(a, b[n*step], c[n]);
    }
}
// for bf16: in each block an even and an odd chain from +0, then c + (even + odd)
static void define_row_bf16(const Case *p, float *c, size_t m, RowBlocks blocks) {
    static float even[4096], odd[4096];
    const size_t N = (size_t)p->N, step = p->b_transposed ? ldb : 1;
    for (int i = 0; i < blocks.count; i++) {
        memset(even, 0, sizeof even);
        memset(odd, 0, sizeof odd);
        for (int j = blocks.start[i]; j < blocks.start[i + 1]; j++) {
            const size_t k = (size_t)j;
            const float a = a_memory[FRONT + (p->a_transposed ? k*lda + m : m*lda + k)];
            const float *b = b_memory + FRONT + (p->b_transposed ? k : k*ldb);
            const float near_a = nearest_bf16(a);
            float *chain = (j - blocks.start[i]) % 2 ? odd : even;
            for (size_t n = 0; n < N; n++) {
                chain[n] += near_a * nearest_bf16(b[n*step]);         // an exact product
            }
        }
        for (size_t n = 0; n < N; n++) c[n] += even[n] + odd[n];
    }
}

// Operands for the case; want_memory receives c as defined, guards and all.
static void define(const Case *p) {
    const size_t M = (size_t)p->M, N = (size_t)p->N, K = (size_t)p->K;
    const RowBlocks blocks = cut_blocks(p);
    lda = (p->a_transposed ? M : K) + (size_t)p->pad;
    ldb = (p->b_transposed ? K : N) + (size_t)p->pad;
    ldc = N + (size_t)p->pad;
    guarded(a_memory, p->a_transposed ? K : M, p->a_transposed ? M : K, lda, p->scale, 1000);
    guarded(b_memory, p->b_transposed ? N : K, p->b_transposed ? K : N, ldb, p->scale, 100000);
    guarded(start_memory, M, N, ldc, p->scale * p->scale, 200000);
    // a product of bf16 operands continues what an earlier one left: multiples of 2^-124
    // (NUMERICS.md)
    for (size_t i = 0; p->bf16 && i < M*ldc; i++) {
        float *c = start_memory + FRONT + i;
        if (*c == *c) *c = (float)floor(*c * 0x1p124) * 0x1p-124f;
    }
    memcpy(want_memory, start_memory, used * sizeof *want_memory);
    for (size_t m = 0; m < M; m++) {
        float *c = want_memory + FRONT + m*ldc;
        for (size_t n = 0; n < N && !p->add; n++) c[n] = 0;
        if (p->bf16) define_row_bf16(p, c, m, blocks);
        else         define_row_fp32(p, c, m);
    }
}

// With b as it lies or packed before: 1 if the product has the definition's bits and no guard is
// touched, nor the one behind the work memory.
static int as_defined(const Case *p, int one_thread, int packed) {
    float *work = matmul_work_memory + matmul_work_size(MAX_THREADS - 1);
    const float *behind = work + WORK_PER_THREAD;
    const float *a = a_memory + FRONT, *b = b_memory + FRONT;
    size_t ars = p->a_transposed ? 1 : lda, acs = p->a_transposed ? lda : 1;
    size_t brs = p->b_transposed ? 1 : ldb, bcs = p->b_transposed ? ldb : 1;
    memcpy(c_memory, start_memory, used * sizeof *c_memory);
    RowBlocks blocks = cut_blocks(p);
    Product product = {.c = c_memory + FRONT, .ldc = ldc, .a = a, .ars = ars, .acs = acs,
                       .b = b, .brs = brs, .bcs = bcs, .M = p->M, .N = p->N, .K = p->K,
                       .add = p->add, .bf16 = p->bf16, .blocks = p->cuts ? &blocks : NULL};
    float *panels = NULL;
    if (packed) {
        panels = allocate(matmul_pack_size(&product), sizeof *panels);
        if (!panels) exit(1);
        matmul_pack(panels, &product);
        product.b = panels;
        product.panel = matmul_panel(&product);
    }
    if (one_thread) matmul_one(&product, work);
    else            matmul(&product);
    free(panels);
    const int same = !memcmp(c_memory, want_memory, used * sizeof *c_memory);
    if (same && bits_of(*behind) == GUARD) return 1;
    printf("    %s %s, %d threads: M %d, N %d, K %d, add %d, a %s, b %s, pad %d\n", tile->name,
           p->bf16 ? "bf16" : "fp32", thread_count(), p->M, p->N, p->K, p->add,
           p->a_transposed ? "transposed" : "plain",
           packed ? "packed" : p->b_transposed ? "transposed" : "plain", p->pad);
    return 0;
}

// TRIED_TILE: the one that is tried, in bf16; without it all are, in both precisions
#ifdef TRIED_TILE
enum { ALL_TRIED = 0 };
static int is_tried(const struct Tile *t) {
    return isa_supported(t->isa) && !strcmp(t->name, TRIED_TILE);
}
#else
enum { ALL_TRIED = 1 };
static int is_tried(const struct Tile *t) { return isa_supported(t->isa); }
#endif

// with the tiles that this machine has, on one thread
static void check_tiles_in(const Case *p) {
    define(p);
    for (int i = 0; i < NUM_TILES; i++) {
        if (!is_tried(&tiles[i])) continue;
        CHECK(matmul_init(tiles[i].name) == 0);
        CHECK(as_defined(p, 1, 0) && as_defined(p, 1, 1));
    }
}
// in both precisions
static void check_tiles(const Case *fp32) {
    Case bf16 = *fp32;
    bf16.bf16 = 1;
    bf16.cuts = fp32->a_transposed && !fp32->b_transposed;  // only then k is a row of both
    check_tiles_in(&bf16);
    if (ALL_TRIED) check_tiles_in(fp32);
}

// The three bits of `layout`: c += or c =; a, b transposed or not.
static Case case_of(int M, int N, int K, int layout, int pad, float scale) {
    return (Case){.M = M, .N = N, .K = K, .add = layout & 1, .a_transposed = layout >> 1 & 1,
                  .b_transposed = layout >> 2 & 1, .pad = pad, .scale = scale};
}
static void check_case(int M, int N, int K, int layout, int pad, float scale) {
    const Case p = case_of(M, N, K, layout, pad, scale);
    check_tiles(&p);
}

static void test_every_tile_has_the_definitions_bits_for_small_and_odd_sizes(void) {
    static const int size[] = {1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 17, 28, 31, 32, 33, 43, 64, 65,
                               70};
    enum { N = sizeof size / sizeof *size };
    for (int i = 0; i < N*N*N && test_bad < 5; i += 3) {
        const int layout = i / 3;
        check_case(size[i % N], size[i/N % N], size[i/N/N], layout, layout % 11, 1);
    }
}

static void test_every_tile_has_the_definitions_bits_at_the_edges_of_blocks(void) {
    static const struct { int M, N, K; } size[] = {
        {MC - 1, 20, 9},      {MC, 33, 9},         {MC + 1, 31, ROW_KA + 1}, {2*MC + 6, 17, 5},
        {15, NC - 1, 9},      {7, NC, 3},          {15, NC + 6, ROW_KA + 1}, {5, 2*NC + 1, 3},
        {13, 20, ROW_KA - 1}, {14, 33, ROW_KA},    {15, 31, 2*ROW_KA + 1},   {230, 1030, 513},
        {3, 5, 257},          {33, 34, 2*TILE_KA - 1}, {34, 33, 2*TILE_KA + 9}};
    int layout = 0;
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const int M = size[i].M, N = size[i].N, K = size[i].K;
        const int layouts = M * N * K > 10000000 ? 1 : 4;
        for (int k = 0; k < layouts; k++) {
            check_case(M, N, K, layout, k ? 5 : 0, 1);
            layout += 3;
        }
    }
}

// of the outputs of the last product, how many are below `bound` and not zero
static int smaller_than(float bound) {
    int n = 0;
    for (size_t i = 0; i < used; i++) {
        const float size = fabsf(want_memory[i]);
        n += size > 0 && size < bound;
    }
    return n;
}

static void test_every_tile_keeps_subnormal_products_and_sums(void) {
    for (int layout = 0; layout < 8; layout++) {
        check_case(31, 37, 20, layout, 1, 0x1p-70f);
        CHECK(!ALL_TRIED || smaller_than(FLT_MIN) > 500);             // of fp32, which comes last
    }
}

/* c + a b where the sum lies beside the middle of two floats, so near that in double it is the
 * middle: a b = s 2^-24 (1 - 2^-36) and c = t (1 + 2^-23), s and t signs.  The nearest is c, which
 * is odd. */
static void test_every_tile_rounds_once_beside_the_middle_of_two_floats(void) {
    enum { M = 9, N = 11, K = 2 };
    for (int i = 0; i < NUM_TILES; i++) {
        float a[M*K], b[N], zeros[N] = {0}, rows[K*N], c[M*N], want[M*N];
        if (!isa_supported(tiles[i].isa)) continue;
        for (int m = 0; m < M; m++) {
            a[m*K] = (m & 1 ? -0x1p-12f : 0x1p-12f) * (1 + 0x1p-18f);
            a[m*K + 1] = 1;                     // times zero: the sum is rounded before it
        }
        for (int n = 0; n < N; n++) b[n] = 0x1p-12f * (1 - 0x1p-18f);
        memcpy(rows, b, sizeof b);
        memcpy(rows + N, zeros, sizeof zeros);
        for (int k = 0; k < M*N; k++) want[k] = c[k] = (k % 3 ? 1 : -1) * (1 + 0x1p-23f);
        CHECK(matmul_init(tiles[i].name) == 0);
        matmul_one(&(Product){.c = c, .ldc = N, .a = a, .ars = K, .acs = 1, .b = rows, .brs = N,
                              .bcs = 1, .M = M, .N = N, .K = K, .add = 1}, matmul_work());
        CHECK(!memcmp(c, want, sizeof c));
    }
}

// sums up to the largest float and beyond it, and what comes back from there
static void test_every_tile_overflows_where_floats_do(void) {
    for (int layout = 0; layout < 8; layout++) {
        const Case p = case_of(11, 13, 9, layout, 1, 0x1p63f);
        check_tiles_in(&p);
    }
}

// The smallest operands that are not rounded to zero: units that read subnormals as zero meet none.
static void test_products_of_bf16_operands_are_zero_or_at_least_2_to_the_minus_124(void) {
    for (int layout = 0; layout < 8; layout++) {
        Case p = case_of(31, 37, 70, layout, 1, 0x1p-54f);
        p.bf16 = 1;
        check_tiles_in(&p);
        CHECK(smaller_than(0x1p-104f) > 500 && smaller_than(0x1p-124f) == 0);
        p.scale = 0x1p-61f;                     // all operands are rounded to zero
        check_tiles_in(&p);
        CHECK(smaller_than(0x1p-124f) == 0);
    }
}

static void test_the_number_of_threads_does_not_change_a_bit(void) {
    static const struct { int M, N, K; } size[] = {
        {1, 700, 200},   {700, 1, 200}, {29, 1100, 11}, {500, 33, 40},
        {113, 129, 300}, {64, 64, 64},  {6, 30, 700},   {40, 40, 40}};      // small: for one thread
    static const int threads[] = {1, 2, 3, MAX_THREADS};
    enum { NUM_SIZES = sizeof size / sizeof *size, NUM_THREADS = sizeof threads / sizeof *threads };
    for (int i = 0; i < 2*NUM_SIZES; i++) {
        const int layout = (i & 1) | (i/2 & 1) << 1 | ((i + i/2) & 1) << 2;
        Case p = case_of(size[i/2].M, size[i/2].N, size[i/2].K, layout, i % 3, 1);
        p.bf16 = i/4 & 1;
        define(&p);
        for (int k = 0; k < NUM_TILES; k++) {
            if (!isa_supported(tiles[k].isa)) continue;
            CHECK(matmul_init(tiles[k].name) == 0);
            for (int t = 0; t < NUM_THREADS; t++) {
                set_threads(threads[t]);
                CHECK(as_defined(&p, 0, 0) && as_defined(&p, 0, 1));
            }
        }
    }
    set_threads(1);
}

static void test_a_product_over_nothing_is_zero_and_an_empty_one_touches_nothing(void) {
    check_case(5, 7, 0, 0, 2, 1);
    CHECK(want_memory[FRONT] == 0 && want_memory[FRONT + 6] == 0
          && want_memory[FRONT + 7] != want_memory[FRONT + 7]);
    check_case(5, 7, 0, 1, 2, 1);
    check_case(0, 7, 3, 0, 2, 1);
    check_case(5, 0, 3, 0, 2, 1);
}

static void test_one_row_or_column_without_a_gap_is_cut_into_the_same_blocks(void) {
    for (int layout = 0; layout < 4; layout++) {                      // then both strides are 1
        check_case(1, 40, 100, layout, 0, 1);
        check_case(40, 1, 100, layout, 0, 1);
        check_case(1, 1, 100, layout, 0, 1);
    }
}

static void test_nan_and_infinity_reach_their_row_and_column_only(void) {
    for (int i = 0; i < 2*NUM_TILES; i++) {
        Case p = case_of(20, 40, 10, 0, 0, 1);
        p.bf16 = i % 2;
        if (!isa_supported(tiles[i/2].isa)) continue;
        define(&p);
        // a NaN in row 3 of a, infinity in column 37 of b
        a_memory[FRONT + 3*10 + 4] = float_of(i % 4 < 2 ? 0x7fffffff : 0x7f800001);
        b_memory[FRONT + 5*40 + 37] = HUGE_VALF;
        CHECK(matmul_init(tiles[i/2].name) == 0);
        memset(c_memory, 0, sizeof c_memory);
        const Product product = {.c = c_memory, .ldc = 40, .a = a_memory + FRONT, .ars = 10,
                                 .acs = 1,
                                 .b = b_memory + FRONT, .brs = 40, .bcs = 1,
                                 .M = 20, .N = 40, .K = 10, .bf16 = p.bf16};
        matmul_one(&product, matmul_work());
        int wrong = 0;
        for (int m = 0; m < 20; m++) {
            for (int n = 0; n < 40; n++) {
                const float c = c_memory[m*40 + n], want = want_memory[FRONT + m*40 + n];
                if (m == 3)       wrong += !isnan(c);
                else if (n == 37) wrong += isfinite(c);
                else              wrong += bits_of(c) != bits_of(want);
            }
        }
        CHECK(wrong == 0);
    }
}

static void test_the_fastest_instruction_set_is_chosen_and_an_unknown_one_refused(void) {
    int first = 0;
    while (!isa_supported(tiles[first].isa)) first++;
    CHECK(matmul_init("scalar") == 0 && isa == ISA_SCALAR && !strcmp(tile->name, "scalar"));
    CHECK(matmul_init("mmx") == -1 && error_code == EX_USAGE && !strcmp(tile->name, "scalar"));
    CHECK(!strcmp(error_text, "MORE_ISA=mmx: unknown here; leave it unset or say scalar"));
    CHECK(matmul_init(NULL) == 0 && tile == &tiles[first] && isa == tiles[first].isa);
    for (int i = 0; i < NUM_TILES; i++) {
        int supported = isa_supported(tiles[i].isa);
        CHECK(tiles[i].fp32.MR <= MAX_MR && tiles[i].fp32.NR <= MAX_NR);
        CHECK(matmul_init(tiles[i].name) == (supported ? 0 : -1));
        if (!supported) CHECK(strstr(error_text, "this machine does not have it"));
    }
}

int main(int argc, char **argv) {
    // more threads than free cores: they must sleep while they wait, and OpenMP reads this before
    // main
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        execv(argv[0], argv);
    }
    test_choose(argc, argv);
    size_t n = matmul_work_size(MAX_THREADS) + 1;
    matmul_work_memory = allocate(n, sizeof *matmul_work_memory);
    if (!matmul_work_memory) return fprintf(stderr, "%s\n", error_text), 1;
    for (size_t i = 0; i < n; i++) matmul_work_memory[i] = float_of(GUARD);
    set_threads(1);
    RUN(test_every_tile_has_the_definitions_bits_for_small_and_odd_sizes);
    RUN(test_every_tile_has_the_definitions_bits_at_the_edges_of_blocks);
    RUN(test_every_tile_keeps_subnormal_products_and_sums);
    RUN(test_every_tile_rounds_once_beside_the_middle_of_two_floats);
    RUN(test_every_tile_overflows_where_floats_do);
    RUN(test_products_of_bf16_operands_are_zero_or_at_least_2_to_the_minus_124);
    RUN(test_the_number_of_threads_does_not_change_a_bit);
    RUN(test_a_product_over_nothing_is_zero_and_an_empty_one_touches_nothing);
    RUN(test_one_row_or_column_without_a_gap_is_cut_into_the_same_blocks);
    RUN(test_nan_and_infinity_reach_their_row_and_column_only);
    RUN(test_the_fastest_instruction_set_is_chosen_and_an_unknown_one_refused);
    free(matmul_work_memory);
    return test_summary();
}

/* machine.c - what the commands ask of a CPU besides the layers: its instruction sets and threads, single
 * operations for the self-test, and bursts that show its limits.  kernels.c includes it at its end.        */
#ifndef MACHINE_C
#define MACHINE_C
#include "kernels.h"
#include "matmul.c"

// -------------------------------------------------------------------------- instruction sets and threads

const char *kernels_name(void) { return tile->name; }

const char *kernels_variant(int i) {
    for (int k = 0; k < NUM_TILES; k++)
        if (isa_supported(tiles[k].isa) && i-- == 0) return tiles[k].name;
    return NULL;
}

const char *kernels_fallback(void) { return isa > ISA_AVX512 ? "avx512" : NULL; }

int kernels_emulate_fma(void) { return isa == ISA_SCALAR && !HW; }

int kernels_threads(void) { return thread_count(); }

void kernels_set_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#else
    (void)n;
#endif
}

void kernels_parallel(int n, size_t numbers, ParallelTask *run, void *context) {
    (void)numbers;
    PARALLEL_TASKS_IF(numbers)
    for (int i = 0; i < n; i++) run(context, i, thread_index());
}

#ifndef MORE_DOUBLE
// -------------------------------------------------------------------------------------- single operations

INLINE void probe_body(const int hw, float *out, ProbeOp op, const float *a, const float *b, const float *c,
                       int n) {
    const float d = b[0];
#define EACH(result) for (int i = 0; i < n; i++) out[i] = (result); break
    switch (op) {
    case PROBE_ADD:             EACH(a[i] + b[i]);
    case PROBE_ADD_SUBTRACT:    EACH((a[i] + b[i]) - a[i]);
    case PROBE_MULTIPLY:        EACH(a[i] * b[i]);
    case PROBE_MULTIPLY_ADD:    EACH(a[i] * b[i] + c[i]);
    case PROBE_DIVIDE:          EACH(a[i] / b[i]);
    case PROBE_DIVIDE_BY_ONE:   EACH(a[i] / d);
    case PROBE_DIVIDE_SUBTRACT: EACH(a[i] / b[i] - c[i]);
    case PROBE_FMA:             EACH(FMA(a[i], b[i], c[i]));
    case PROBE_DOUBLE_SMALL:    EACH((float)((double)a[i] * 0x1p-1000 * 0x1p500 * 0x1p500));
    case PROBE_DOUBLE_FUSED:    EACH((float)((1.0 + a[i]) * (1.0 + a[i]) - (1.0 + 2.0 * a[i])));
    case PROBE_EXP:             EACH(expf_hw(hw, a[i]));
    case PROBE_ERF:             EACH(erff_hw(hw, a[i]));
    case PROBE_TANH:            EACH(tanhf_hw(hw, a[i]));
    case PROBE_SIGMOID:         EACH(sigmoidf_hw(hw, a[i]));
    case PROBE_SQRT:            EACH(sqrtf(fabsf(a[i])));
    }
#undef EACH
}
VARIANTS(probe, (float *out, ProbeOp op, const float *a, const float *b, const float *c, int n),
         out, op, a, b, c, n)
void kernels_probe(float *out, ProbeOp op, const float *a, const float *b, const float *c, int n) {
    probe(out, op, a, b, c, n);
}

INLINE void sampling_row_body(const int hw, float *out, const float *x, float max, float temperature, int n) {
    for (int i = 0; i < n; i++) out[i] = expf_hw(hw, (x[i] - max) / temperature);
}
VARIANTS(sampling_row, (float *out, const float *x, float max, float temperature, int n),
         out, x, max, temperature, n)
void sampling_weights(float *out, const float *x, float max, float temperature, int n) {
    sampling_row(out, x, max, temperature, n);
}

// ------------------------------------------------------------------------------------------------- bursts

// n chains c = c a + b that stay in registers: 12 vectors of AVX2, 8 of AVX-512
#define FMA_CHAINS(n)                                                                                        \
    INLINE void fma_chains_##n##_body(const int hw, float *out, float a, float b, int reps) {               \
        float c[n];                                                                                          \
        for (int i = 0; i < n; i++) c[i] = out[i];                                                           \
        for (int r = 0; r < reps; r++)                                                                       \
            for (int i = 0; i < n; i++) c[i] = FMA(c[i], a, b);                                              \
        for (int i = 0; i < n; i++) out[i] = c[i];                                                           \
    }                                                                                                        \
    VARIANTS(fma_chains_##n, (float *out, float a, float b, int reps), out, a, b, reps)
FMA_CHAINS(96)
FMA_CHAINS(128)

#ifdef X86_BF16
// 16 chains of vdpbf16ps
enum { WORD_CHAINS = 16 };
AVX512_BF16 static void word_chains(float *out, float word, int reps) {
    const __m512bh w = (__m512bh)_mm512_set1_ps(word);
    __m512 c[WORD_CHAINS];
    UNROLL for (int i = 0; i < WORD_CHAINS; i++) c[i] = _mm512_setzero_ps();
    for (int r = 0; r < reps; r++)
        UNROLL for (int i = 0; i < WORD_CHAINS; i++) c[i] = _mm512_dpbf16_ps(c[i], w, w);
    UNROLL for (int i = 0; i < WORD_CHAINS; i++) _mm512_storeu_ps(out + 16*i, c[i]);
}
#ifdef __x86_64__
// four tiles of sums, the operands loaded once; word holds 16 x 16 words
AMX static void amx_chains(float *out, const float *word, int reps) {
    amx_configure();
    __asm__ volatile("" ::: "memory");                                // as in tile_amx
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, word, 64);
    _tile_loadd(5, word, 64);
    _tile_loadd(6, word, 64);
    _tile_loadd(7, word, 64);
    for (int r = 0; r < reps; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, 64);
}
#endif
#endif

enum { BURST_PANEL = 192 };                                           // rows of b in the tile's burst
static float burst_word(void) { return float_of(0x3f003f00); }        // two numbers 0.5 of bf16

/* Every thread repeats one loop until it has done `operations`, a multiply-add being two; the results go to
 * where the compiler cannot leave them out.  Returns the operations of all threads.                        */
typedef struct { double each; void (*run)(float *out, int reps); } Burst;

static void burst_96(float *out, int reps)  { fma_chains_96(out, 0.5f, 0.25f, reps); }
static void burst_128(float *out, int reps) { fma_chains_128(out, 0.5f, 0.25f, reps); }
#ifdef X86_BF16
static void burst_words(float *out, int reps) { word_chains(out, burst_word(), reps); }
#ifdef __x86_64__
static void burst_amx(float *out, int reps) {
    float word[16*16];
    for (int i = 0; i < 16*16; i++) word[i] = burst_word();
    amx_chains(out, word, reps);
}
#endif
#endif
static void burst_tile(const Kernel *kernel, float *out, int reps) {
    float *a = matmul_work(), *b = a + MAX_MR*LDA;
    for (int i = 0; i < MAX_MR*LDA + MAX_NR*BURST_PANEL; i++) a[i] = burst_word();
    for (int r = 0; r < reps; r++)
        kernel->run(out, (size_t)kernel->NR, 1, a, b, (size_t)kernel->NR, BURST_PANEL, kernel->MR, kernel->NR);
}
static void burst_tile_fp32(float *out, int reps) { burst_tile(&tile->fp32, out, reps); }
static void burst_tile_bf16(float *out, int reps) { burst_tile(&tile->bf16, out, reps); }

static double burst(const Burst *b, double operations) {
    const int threads = thread_count(), reps = (int)(operations / b->each) + 1;
    PARALLEL_FOR
    for (int t = 0; t < threads; t++) {
        float out[MAX_MR*MAX_NR] = {0};
        b->run(out, reps);
        matmul_work()[0] = out[0];
    }
    return threads * b->each * reps;
}

double kernels_burst(int is_bf16, double operations) {
    Burst b = {2.0 * 96, burst_96};
    if (isa >= ISA_AVX512) b = (Burst){2.0 * 128, burst_128};
#ifdef X86_BF16
    if (is_bf16 && isa == ISA_AVX512_BF16) b = (Burst){4.0 * 16 * WORD_CHAINS, burst_words};
#ifdef __x86_64__
    if (is_bf16 && isa == ISA_AMX) b = (Burst){4 * 4.0 * 16*16*16, burst_amx};
#endif
#endif
    (void)is_bf16;
    return burst(&b, operations);
}
double kernels_burst_tile(int is_bf16, double operations) {
    const Kernel *kernel = is_bf16 ? &tile->bf16 : &tile->fp32;
    const double each = (is_bf16 ? 4.0 : 2.0) * kernel->MR * kernel->NR * BURST_PANEL;
    return burst(&(Burst){each, is_bf16 ? burst_tile_bf16 : burst_tile_fp32}, operations);
}
#endif
#endif

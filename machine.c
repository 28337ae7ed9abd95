/* machine.c - what the commands ask of a CPU besides the layers: its instruction sets and threads,
 * single operations for the self-test, bursts that show its limits.  The end of kernels.c includes
 * it; kernels.h has the prototypes. */
#ifndef MACHINE_C
#define MACHINE_C
#include "kernels.h"
#include "matmul.c"
#include "rows.c"
#include <unistd.h>

// -------------------------------------------------------------------- instruction sets and threads

const char *kernels_name(void) { return tile->name; }

const char *kernels_variant(int i) {
    for (int k = 0; k < NUM_TILES; k++) {
        if (!isa_supported(tiles[k].isa)) continue;
        if (i == 0) return tiles[k].name;
        i--;
    }
    return NULL;
}

int kernels_bf16_unit(void) { return isa > ISA_AVX512; }

// A bf16 unit may round otherwise than the two whose arithmetic is known: then without it.
const char *kernels_fallback(void) { return kernels_bf16_unit() ? "avx512" : NULL; }

int kernels_emulate_fma(void) { return isa == ISA_SCALAR && !HW; }

int kernels_threads(void) { return thread_count(); }

void kernels_set_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#else
    (void)n;
#endif
}

#if defined _OPENMP && !defined MORE_DEBUG && !defined __clang__
// Was a loader called with the program as its argument, as in `ld.so ./more`?  Then the process is
// one of the loader's file, and argv is not what that was called with.
static int is_run_by_loader(const char *process, const char *name) {
    struct stat p, n;
    if (!name || !strchr(name, '/') || stat(process, &p) < 0 || stat(name, &n) < 0) return 0;
    return p.st_ino != n.st_ino || p.st_dev != n.st_dev;
}
#endif

/* Threads that wait for one another first spin, which on a busy machine keeps the others from
 * running: a hundred times as slow.  So they spin for some half a millisecond, as long as the other
 * threads' shares differ by, unless the environment says otherwise: a tenth of that is not enough
 * where others run too, since each that sleeps must then wait for its turn.  gcc's OpenMP has read its
 * environment before main: the program starts itself once more, and where it cannot goes on as it
 * is.  clang's reads it when the first threads are made.  No number depends on it.               */
void kernels_bound_spinning(char **argv) {
#if defined _OPENMP && !defined MORE_DEBUG
    static const char *const settings[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"};
    const char *threads = getenv("OMP_NUM_THREADS"), *preload = getenv("LD_PRELOAD");
    char program[4096];
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (getenv(settings[i])) return;
    }
    if (threads && !strcmp(threads, "1")) return;
    if (preload && strstr(preload, "vgpreload")) return;           // it would leave valgrind
    if (setenv("KMP_BLOCKTIME", "1", 0) < 0 || setenv("GOMP_SPINCOUNT", "10000", 0) < 0) return;
#ifndef __clang__
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return;
    program[n] = 0;
    if (!is_run_by_loader(program, argv[0])) execv(program, argv);
#else
    (void)program;
    (void)argv;
#endif
#else
    (void)argv;
#endif
}

void kernels_parallel(int n, size_t numbers, ParallelTask *run, void *context) {
    (void)numbers;                              // where there are no threads
    PARALLEL_TASKS_IF(numbers)
    for (int i = 0; i < n; i++) run(context, i, thread_index());
}

#ifndef MORE_DOUBLE
// ----------------------------------------------------------------------- operations on host arrays

INLINE void probe_body(const int hw, float *out, ProbeOp op, const float *a, const float *b,
                       const float *c, int n) {
    const float d = b[0];
#define EACH(result) for (int i = 0; i < n; i++) out[i] = (result); break
    switch (op) {                               // a loop for each, so that each is vectorised
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

INLINE void sampling_row_body(const int hw, float *out, const float *x, float max,
                              float temperature, int n) {
    for (int i = 0; i < n; i++) out[i] = expf_hw(hw, (x[i] - max) / temperature);
}
VARIANTS(sampling_row, (float *out, const float *x, float max, float temperature, int n),
         out, x, max, temperature, n)
void sampling_weights(float *out, const float *x, float max, float temperature, int n) {
    sampling_row(out, x, max, temperature, n);
}

// ------------------------------------------------------------------------------------------ bursts

// chains c = c/2 + 1/4 that stay in registers, so many that none waits for the one before it
INLINE void fma_chains_of(const int hw, const int chains, float *out, int reps) {
    float c[128];
    for (int i = 0; i < chains; i++) c[i] = out[i];
    for (int r = 0; r < reps; r++) {
        for (int i = 0; i < chains; i++) c[i] = FMA(c[i], 0.5f, 0.25f);
    }
    for (int i = 0; i < chains; i++) out[i] = c[i];
}
INLINE void fma_chains_body(const int hw, float *out, int chains, int reps) {
    if (chains == 128) fma_chains_of(hw, 128, out, reps);             // 8 vectors of AVX-512
    else               fma_chains_of(hw, 96, out, reps);              // 12 vectors of AVX2
}
VARIANTS(fma_chains, (float *out, int chains, int reps), out, chains, reps)

static int num_fma_chains(void) { return isa >= ISA_AVX512 ? 128 : 96; }
static void burst_fma(float *out, int reps) { fma_chains(out, num_fma_chains(), reps); }

static float bf16_halves(void) { return float_of(0x3f003f00); }       // a word: 0.5 and 0.5

#ifdef X86_BF16
enum { WORD_CHAINS = 16 };
AVX512_BF16 static void burst_words(float *out, int reps) {
    const __m512bh w = (__m512bh)_mm512_set1_ps(bf16_halves());
    __m512 c[WORD_CHAINS];
    UNROLL for (int i = 0; i < WORD_CHAINS; i++) c[i] = _mm512_setzero_ps();
    for (int r = 0; r < reps; r++) {
        UNROLL for (int i = 0; i < WORD_CHAINS; i++) c[i] = _mm512_dpbf16_ps(c[i], w, w);
    }
    UNROLL for (int i = 0; i < WORD_CHAINS; i++) _mm512_storeu_ps(out + 16*i, c[i]);
}
#ifdef __x86_64__
// four tiles of sums, as in tile_amx; the tiles of operands are loaded once
AMX static void burst_amx(float *out, int reps) {
    float word[16*16];
    for (int i = 0; i < 16*16; i++) word[i] = bf16_halves();
    amx_configure();
    __asm__ volatile("" ::: "memory");  // gcc's _tile_loadd does not say that it reads memory
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

// a tile of the product on panels of BURST_K rows, which stay in the first cache
enum { BURST_K = 192 };
static void burst_tile(const Kernel *kernel, float *out, int reps) {
    const int NR = kernel->NR;
    float *a = matmul_work(), *b = a + MAX_MR*LDA;
    for (int i = 0; i < MAX_MR*LDA + MAX_NR*BURST_K; i++) a[i] = bf16_halves();
    for (int r = 0; r < reps; r++) {
        kernel->run(out, (size_t)NR, 1, a, b, (size_t)NR, BURST_K, kernel->MR, NR);
    }
}
static void burst_tile_fp32(float *out, int reps) { burst_tile(&tile->fp32, out, reps); }
static void burst_tile_bf16(float *out, int reps) { burst_tile(&tile->bf16, out, reps); }

/* Every thread calls run, which repeats a loop of `each` operations, until it has done
 * `operations`. Returns the operations of all threads. */
static double burst(void (*run)(float *out, int reps), double each, double operations) {
    const int threads = thread_count(), reps = (int)(operations / each) + 1;
    PARALLEL_FOR
    for (int t = 0; t < threads; t++) {
        float out[MAX_MR*MAX_NR] = {0};
        run(out, reps);
        matmul_work()[0] = out[0];              // or the compiler could leave the loop out
    }
    return threads * each * reps;
}

double kernels_burst(Precision precision, double operations) {
    const int is_bf16 = precision == PRECISION_BF16;
#ifdef X86_BF16
    if (is_bf16 && isa == ISA_AVX512_BF16) {
        return burst(burst_words, 4.0 * 16 * WORD_CHAINS, operations);
    }
#ifdef __x86_64__
    if (is_bf16 && isa == ISA_AMX) return burst(burst_amx, 4 * 4.0 * 16*16*16, operations);
#endif
#endif
    (void)is_bf16;                              // without a unit the products of bf16 are FMAs too
    return burst(burst_fma, 2.0 * num_fma_chains(), operations);
}

double kernels_burst_tile(Precision precision, double operations) {
    const int is_bf16 = precision == PRECISION_BF16;
    const Kernel *kernel = is_bf16 ? &tile->bf16 : &tile->fp32;
    const double numbers = is_bf16 ? 2 * BURST_K : BURST_K;           // a word is two
    return burst(is_bf16 ? burst_tile_bf16 : burst_tile_fp32, 2 * numbers * kernel->MR * kernel->NR,
                 operations);
}

// ---- sums of rows, in the order of NUMERICS.md and in another

enum { SUM_ROWS = 32, SUM_NUMBERS = 1024 };             // twice: read, written
_Static_assert(2 * SUM_ROWS * SUM_NUMBERS <= WORK_PER_THREAD, "no room for the rows");

// out(n) = x(n) / rms; returns the sum of exp(out - the largest)
INLINE float norm_and_sum(const int hw, const int lanes, float *out, const float *x, int n) {
    float square[64] = {0}, sum[64] = {0};
    for (int first = 0; first < n; first += lanes) {
        for (int j = 0; j < lanes; j++) square[j] = FMA(x[first+j], x[first+j], square[j]);
    }
    for (int h = lanes / 2; h; h >>= 1) {
        for (int j = 0; j < h; j++) square[j] += square[j+h];
    }
    const float r = 1 / sqrtf(square[0] / (float)n + 1e-5f);
    for (int i = 0; i < n; i++) out[i] = x[i] * r;

    const float most = row_max(out, n);
    for (int first = 0; first < n; first += lanes) {
        for (int j = 0; j < lanes; j++) sum[j] += expf_hw(hw, out[first+j] - most);
    }
    for (int h = lanes / 2; h; h >>= 1) {
        for (int j = 0; j < h; j++) sum[j] += sum[j+h];
    }
    return sum[0];
}
INLINE void sum_rows_body(const int hw, int lanes, float *work) {
    for (int r = 0; r < SUM_ROWS; r++) {
        float *x = work + (size_t)r * 2 * SUM_NUMBERS, *out = x + SUM_NUMBERS;
        x[0] = lanes == 16 ? norm_and_sum(hw, 16, out, x, SUM_NUMBERS)
                           : norm_and_sum(hw, 64, out, x, SUM_NUMBERS);
    }
}
VARIANTS(sum_rows, (int lanes, float *work), lanes, work)

double kernels_burst_sums(int lanes, double numbers) {
    const double each = 2.0 * SUM_ROWS * SUM_NUMBERS;
    const int threads = thread_count(), reps = (int)(numbers / each) + 1;
    PARALLEL_FOR
    for (int t = 0; t < threads; t++) {
        float *work = matmul_work();
        for (int i = 0; i < 2 * SUM_ROWS * SUM_NUMBERS; i++) work[i] = (float)(i % 97) * 0.1f;
        for (int r = 0; r < reps; r++) sum_rows(lanes, work);
    }
    return threads * each * reps;
}
#endif
#endif

/* matmul.c - the matrix product: packing, blocking and threads once; one small tile function for
 * each instruction set, which is the only place with intrinsics.
 *
 * Contract (NUMERICS.md): every output is one ordered chain  c = fma(a[k], b[k], c), k ascending,
 * from +0 or from what c held.  With bf16 operands k is cut into blocks of 32: one chain over a
 * block's even k and one over its odd k, both from +0; then c = c + (even + odd).  Blocks store c
 * and load it again; threads divide the outputs, never k.  So the bits do not depend on tile,
 * vector width or thread count.
 *
 * The way of a product:
 *
 *     matmul        a grid of blocks of c, one for each thread
 *     matmul_one    slices of NC columns of b and KC numbers along k; b is packed into panels of NR
 *                   columns, a into blocks of MC rows, so that both are read in order from caches
 *     Kernel.run    a tile of MR x NR outputs in registers, along all of the slice's k */
#ifndef MATMUL_C
#define MATMUL_C
#include "pointwise.h"
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

// c(M,N) = a(M,K) b(K,N), or += when add, then + bias(N) unless that is NULL
typedef struct {
    real *c;
    size_t ldc;                                 // c[m,n] = c[m ldc + n]
    const real *a;
    size_t ars, acs;                            // a[m,k] = a[m ars + k acs]; ars or acs is 1
    const real *b;
    size_t brs, bcs;                            // b[k,n] = b[k brs + n bcs]; brs or bcs is 1
    int M, N, K, add;
    const real *bias;
    int bf16;                                   // operands are rounded to bf16
    const RowBlocks *blocks;                    // of k, for bf16
    size_t panel;                               // not 0: b is packed, in panels so far apart
} Product;

int    matmul_init(const char *name);           // chooses the instruction set; NULL: the fastest
void   matmul(const Product *p);                // with all threads
void   matmul_one(const Product *p, real *work);    // with the calling one
real  *matmul_work(void);                       // the calling thread's scratch
size_t matmul_pack_size(const Product *p);      // of b packed once for many products
void   matmul_pack(real *packed, const Product *p);
size_t matmul_panel(const Product *p);          // what Product.panel then is
int    thread_count(void);
int    thread_index(void);

// ----------------------------------------------------------------------- threads, instruction sets

#ifdef _OPENMP
#include <omp.h>
#define PRAGMA(text)               _Pragma(#text)
#define PARALLEL_FOR               PRAGMA(omp parallel for schedule(static))
#define PARALLEL_FOR_TASKS         PRAGMA(omp parallel for schedule(dynamic, 1))
// by one thread, where less than that is to be computed
#define PARALLEL_FOR_IF(numbers)   PRAGMA(omp parallel for schedule(static) if ((numbers) > 20000))
#define PARALLEL_TASKS_IF(numbers) \
    PRAGMA(omp parallel for schedule(dynamic, 1) if ((numbers) > 20000))
#else
#define PARALLEL_FOR
#define PARALLEL_FOR_IF(numbers)
#define PARALLEL_FOR_TASKS
#define PARALLEL_TASKS_IF(numbers)
#endif

int thread_count(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}
int thread_index(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

#if (defined __x86_64__ || defined __i386__) && defined __GNUC__ && !defined __TINYC__ \
    && !defined MORE_DOUBLE
#define X86 1
#include <immintrin.h>
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define AVX2   __attribute__((target("avx2,fma")))
#if __clang_major__ >= 12 || (!defined __clang__ && __GNUC__ >= 11)   // older ones lack these two
#define X86_BF16 1
#define AVX512_BF16                                                                                \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma")))
#define AMX                                                                                        \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,amx-tile,amx-bf16")))
#endif
#endif
#if defined __aarch64__ && !defined MORE_DOUBLE
#define NEON 1
#include <arm_neon.h>
#endif
#if defined __clang__
#define UNROLL _Pragma("unroll")
#elif defined __GNUC__ && !defined __TINYC__
#define UNROLL _Pragma("GCC unroll 32")
#else
#define UNROLL
#endif

typedef enum { ISA_SCALAR, ISA_NEON, ISA_AVX2, ISA_AVX512, ISA_AVX512_BF16, ISA_AMX } Isa;
static Isa isa;                                 // set by matmul_init

/* A loop over a row or a panel is written once as name_body(hw, ...) and compiled for each
 * instruction set; hw says whether a fused multiply-add is one instruction there. */
#ifdef X86
#define VARIANTS(name, params, ...)                                                              \
    AVX512 static void name##_avx512 params { name##_body(1, __VA_ARGS__); }                     \
    AVX2   static void name##_avx2   params { name##_body(1, __VA_ARGS__); }                     \
    static void name##_plain params         { name##_body(HW, __VA_ARGS__); }                    \
    static void name params {                                                                    \
        if (isa >= ISA_AVX512)    name##_avx512(__VA_ARGS__);                                    \
        else if (isa == ISA_AVX2) name##_avx2(__VA_ARGS__);                                      \
        else                      name##_plain(__VA_ARGS__);                                     \
    }
#else
#define VARIANTS(name, params, ...) static void name params { name##_body(HW, __VA_ARGS__); }
#endif

/* Block sizes: a block of a and panels of b in the second cache, a tile's rows of a in the first.
 * A packed row of a has LDA numbers, so that rows do not meet in the same lines of a cache. */
enum { KC = 512, MC = 14*16, NC = 512, LDA = KC + 16 };

// --------------------------------------------------------------------------------- tiles of floats

/* A tile: c(height,width) = or += a(height,K) b(K,width), height <= MR, width <= NR.  Rows of c lie
 * ldc apart; a is packed as rows LDA apart; rows of b lie ldb apart: NR, or more where b is read as
 * it lies.  Nothing of c beyond height and width is read or written; what packed a and b hold there
 * does not matter. */

#ifdef X86
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)      // may lie beyond the matrix

// MR rows, one or two vectors wide.  Rows beyond height are computed and not stored, columns beyond
// width are masked.
AVX512 INLINE void tile_avx512_body(const int MR, const int vectors, float *c, size_t ldc, int add,
                                    const float *a, const float *b, size_t ldb, int K, int height,
                                    int width) {
    __m512 acc[14][2];
    const __mmask16 all = 0xffff, last = (__mmask16)(all >> (16*vectors - width));
    const __mmask16 mask[2] = {vectors > 1 ? all : last, last};

    // what c holds, or zero
    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            acc[i][j] = add && i < height ? _mm512_maskz_loadu_ps(mask[j], c + (size_t)i*ldc + 16*j)
                                          : _mm512_setzero_ps();
        }
    }
    UNROLL for (int i = 0; i < MR; i++) {       // the tile below comes next
        UNROLL for (int j = 0; j < vectors; j++) PREFETCH(c + (size_t)(MR + i)*ldc + 16*j);
    }
    // c[i] = fma(a[i][k], b[k], c[i]), k ascending
    for (int k = 0; k < K; k++, a++, b += ldb) {
        PREFETCH(b + 64*ldb);                   // weights packed before lie far away
        if (vectors > 1) PREFETCH(b + 64*ldb + 16);
        __m512 b0 = _mm512_maskz_loadu_ps(mask[0], b);
        __m512 b1 = vectors > 1 ? _mm512_maskz_loadu_ps(last, b + 16) : b0;
        UNROLL for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(a[i*LDA]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            if (i < height) _mm512_mask_storeu_ps(c + (size_t)i*ldc + 16*j, mask[j], acc[i][j]);
        }
    }
}
// A body for each even number of rows, which the compiler knows: so the sums stay in registers.
AVX512 static void tile_avx512(float *c, size_t ldc, int add, const float *a, const float *b,
                               size_t ldb, int K, int height, int width) {
#define CASE(n)                                                                                  \
    case n/2:                                                                                    \
        if (width > 16) tile_avx512_body(n, 2, c, ldc, add, a, b, ldb, K, height, width);        \
        if (width < 17) tile_avx512_body(n, 1, c, ldc, add, a, b, ldb, K, height, width);        \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) CASE(8) CASE(10) CASE(12) CASE(14) }
#undef CASE
}

// the same with half the registers; masks[8*vectors - width ..] has ones for the last vector
AVX2 INLINE void tile_avx2_body(const int MR, const int vectors, float *c, size_t ldc, int add,
                                const float *a, const float *b, size_t ldb, int K, int height,
                                int width) {
    static const int32_t masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const __m256i last = _mm256_loadu_si256((const void *)(masks + 8*vectors - width));
    const __m256i mask[2] = {vectors > 1 ? _mm256_set1_epi32(-1) : last, last};
    __m256 acc[6][2];

    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            acc[i][j] = add && i < height ? _mm256_maskload_ps(c + (size_t)i*ldc + 8*j, mask[j])
                                          : _mm256_setzero_ps();
        }
    }
    for (int k = 0; k < K; k++, a++, b += ldb) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        UNROLL for (int i = 0; i < MR; i++) {
            __m256 ai = _mm256_broadcast_ss(a + i*LDA);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            if (i < height) _mm256_maskstore_ps(c + (size_t)i*ldc + 8*j, mask[j], acc[i][j]);
        }
    }
}
AVX2 static void tile_avx2(float *c, size_t ldc, int add, const float *a, const float *b,
                           size_t ldb, int K, int height, int width) {
#define CASE(n)                                                                                  \
    case n/2:                                                                                    \
        if (width > 8) tile_avx2_body(n, 2, c, ldc, add, a, b, ldb, K, height, width);           \
        if (width < 9) tile_avx2_body(n, 1, c, ldc, add, a, b, ldb, K, height, width);           \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) }
#undef CASE
}

/* out[k][r] = x[r][k] for a square of registers: pairs of rows change places, then pairs of pairs,
 * then halves. */
AVX512 static void transpose_avx512(float *out, size_t ldo, const float *x, size_t ldx) {
    __m512 r[16], t[16];
    UNROLL for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(x + (size_t)i*ldx);
    UNROLL for (int i = 0; i < 16; i += 2) {
        t[i]   = _mm512_unpacklo_ps(r[i], r[i+1]);
        t[i+1] = _mm512_unpackhi_ps(r[i], r[i+1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        UNROLL for (int j = 0; j < 2; j++) {
            const __m512d p = _mm512_castps_pd(t[i+j]), q = _mm512_castps_pd(t[i+j+2]);
            r[i + 2*j]     = _mm512_castpd_ps(_mm512_unpacklo_pd(p, q));
            r[i + 2*j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, q));
        }
    }
    UNROLL for (int j = 0; j < 4; j++) {        // lane l of r[i+j] holds 4 rows of column 4 l + j
        const __m512 r0 = r[j], r4 = r[j+4], r8 = r[j+8], r12 = r[j+12];
        const __m512 even = _mm512_shuffle_f32x4(r0, r4, 0x88);
        const __m512 odd = _mm512_shuffle_f32x4(r0, r4, 0xdd);
        const __m512 even8 = _mm512_shuffle_f32x4(r8, r12, 0x88);
        const __m512 odd8 = _mm512_shuffle_f32x4(r8, r12, 0xdd);
        _mm512_storeu_ps(out + (size_t)j*ldo,      _mm512_shuffle_f32x4(even, even8, 0x88));
        _mm512_storeu_ps(out + (size_t)(j+4)*ldo,  _mm512_shuffle_f32x4(odd, odd8, 0x88));
        _mm512_storeu_ps(out + (size_t)(j+8)*ldo,  _mm512_shuffle_f32x4(even, even8, 0xdd));
        _mm512_storeu_ps(out + (size_t)(j+12)*ldo, _mm512_shuffle_f32x4(odd, odd8, 0xdd));
    }
}
AVX2 static void transpose_avx2(float *out, size_t ldo, const float *x, size_t ldx) {
    __m256 r[8], t[8];
    UNROLL for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(x + (size_t)i*ldx);
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i]   = _mm256_unpacklo_ps(r[i], r[i+1]);
        t[i+1] = _mm256_unpackhi_ps(r[i], r[i+1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4) {
        UNROLL for (int j = 0; j < 2; j++) {
            const __m256d p = _mm256_castps_pd(t[i+j]), q = _mm256_castps_pd(t[i+j+2]);
            r[i + 2*j]     = _mm256_castpd_ps(_mm256_unpacklo_pd(p, q));
            r[i + 2*j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(p, q));
        }
    }
    UNROLL for (int j = 0; j < 4; j++) {
        _mm256_storeu_ps(out + (size_t)j*ldo,     _mm256_permute2f128_ps(r[j], r[j+4], 0x20));
        _mm256_storeu_ps(out + (size_t)(j+4)*ldo, _mm256_permute2f128_ps(r[j], r[j+4], 0x31));
    }
}
#endif

// where a tile function takes whole tiles only, a part of one goes through a copy
#if defined NEON || defined X86_BF16
static void copy_rows(float *to, size_t ldt, const float *c, size_t ldc, int height, int width) {
    for (int i = 0; i < height; i++) {
        memcpy(to + (size_t)i*ldt, c + (size_t)i*ldc, (size_t)width * sizeof *c);
    }
}
#endif
#ifdef NEON
static void tile_neon(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb,
                      int K, int height, int width) {
    float32x4_t acc[8][2];
    float edge[64];
    const int inside = height == 8 && width == 8;
    float *to = inside ? c : edge;
    const size_t ld = inside ? ldc : 8;

    if (!inside && add) copy_rows(edge, 8, c, ldc, height, width);
    UNROLL for (int i = 0; i < 16; i++) {
        acc[i/2][i%2] = add ? vld1q_f32(to + (size_t)(i/2)*ld + 4*(i%2)) : vdupq_n_f32(0);
    }
    for (int k = 0; k < K; k++, a++, b += ldb) {
        float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4);
        UNROLL for (int i = 0; i < 8; i++) {
            acc[i][0] = vfmaq_n_f32(acc[i][0], b0, a[i*LDA]);
            acc[i][1] = vfmaq_n_f32(acc[i][1], b1, a[i*LDA]);
        }
    }
    UNROLL for (int i = 0; i < 16; i++) {
        vst1q_f32(to + (size_t)(i/2)*ld + 4*(i%2), acc[i/2][i%2]);
    }
    if (!inside) copy_rows(c, ldc, edge, 8, height, width);
}
#endif

static void tile_scalar(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb,
                        int K, int height, int width) {
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) {
            real sum = add ? c[(size_t)i*ldc + j] : 0;
#ifdef MORE_DOUBLE
            for (int k = 0; k < K; k++) sum += a[i*LDA + k] * b[(size_t)k*ldb + j];
#else
            for (int k = 0; k < K; k++) sum = more_fmaf(a[i*LDA + k], b[(size_t)k*ldb + j], sum);
#endif
            c[(size_t)i*ldc + j] = sum;
        }
    }
}
static void transpose_scalar(real *out, size_t ldo, const real *x, size_t ldx) {      // 4 x 4
    for (int r = 0; r < 4; r++) {
        for (int k = 0; k < 4; k++) out[(size_t)k*ldo + r] = x[(size_t)r*ldx + k];
    }
}

// ----------------------------------------------------------------------------------- tiles of bf16

/* Operands are packed in words of two numbers; K counts words, a block of 32 numbers is 16 of
 * them.  In a word are neighbours of one chain, the earlier one in the upper half: k = (0,2) (1,3)
 * (4,6) (5,7) .., even and odd chain in turn; for AMX neighbours in k, the earlier one in the lower
 * half: k = (0,1) (2,3) ..  The product of two bf16 is exact in float, so a fused and a plain
 * multiply-add are the same. */
enum { BLOCK = 32, BLOCK_WORDS = 16 };

#ifndef MORE_DOUBLE
// without a unit: a word is taken apart, each half a float
INLINE void tile_bf16_body(const int hw, const int MR, const int NR, float *c, size_t ldc, int add,
                           const float *a, const float *b, size_t ldb, int K, int height,
                           int width) {
    for (; K > 0; K -= BLOCK_WORDS, a += BLOCK_WORDS, b += BLOCK_WORDS*ldb, add = 1) {
        float sum[2][8][32];                    // the even chain and the odd one of each output
        UNROLL for (int i = 0; i < MR; i++) {
            for (int n = 0; n < NR; n++) sum[0][i][n] = sum[1][i][n] = 0;
        }
        // words alternate between the chains
        for (int k = 0; k < BLOCK_WORDS; k += 2) {
            UNROLL for (int odd = 0; odd < 2; odd++) {
                UNROLL for (int i = 0; i < MR; i++) {
                    const uint32_t w = bits_of(a[i*LDA + k + odd]);
                    const float first = float_of(w & 0xffff0000u), second = float_of(w << 16);
                    const float *bk = b + (size_t)(k + odd)*ldb;
                    for (int n = 0; n < NR; n++) {
                        const uint32_t v = bits_of(bk[n]);
                        const float half = FMA(first, float_of(v & 0xffff0000u), sum[odd][i][n]);
                        sum[odd][i][n] = FMA(second, float_of(v << 16), half);
                    }
                }
            }
        }
        // c + (even + odd)
        for (int i = 0; i < height; i++) {
            for (int n = 0; n < width; n++) {
                float *to = c + (size_t)i*ldc + n;
                *to = (add ? *to : 0) + (sum[0][i][n] + sum[1][i][n]);
            }
        }
    }
}
static void tile_bf16_plain(float *c, size_t ldc, int add, const float *a, const float *b,
                            size_t ldb, int K, int height, int width) {
    tile_bf16_body(HW, 4, 8, c, ldc, add, a, b, ldb, K, height, width);
}
#endif
#ifdef X86
AVX2 static void tile_bf16_avx2(float *c, size_t ldc, int add, const float *a, const float *b,
                                size_t ldb, int K, int height, int width) {
    tile_bf16_body(1, 2, 16, c, ldc, add, a, b, ldb, K, height, width);
}
AVX512 static void tile_bf16_avx512(float *c, size_t ldc, int add, const float *a, const float *b,
                                    size_t ldb, int K, int height, int width) {
    tile_bf16_body(1, 4, 32, c, ldc, add, a, b, ldb, K, height, width);
}
#endif
#ifdef X86_BF16
/* vdpbf16ps adds the product of the upper halves, rounds, adds that of the lower halves and rounds:
 * two links of a chain (AMD Zen 5: measured, 9.6 million random sums; the self-test of every start
 * does without a machine that differs).  It reads and writes subnormals as zero, but there are
 * none: bf16 operands are 0 or at least 2^-55, so sums of their products are multiples of 2^-124.
 */
AVX512_BF16 INLINE void tile_words_body(const int vectors, float *c, size_t ldc, int add,
                                        const float *a, const float *b, size_t ldb, int K,
                                        int height, int width) {
    const __mmask16 all = 0xffff, last = (__mmask16)(all >> (16*vectors - width));
    const __mmask16 mask[2] = {vectors > 1 ? all : last, last};

    UNROLL for (int i = 0; i < 7; i++) {        // the tile below comes next
        UNROLL for (int j = 0; j < vectors; j++) PREFETCH(c + (size_t)(7 + i)*ldc + 16*j);
    }
    for (; K > 0; K -= BLOCK_WORDS, a += BLOCK_WORDS, add = 1) {
        __m512 sum[2][7][2];                    // the even chain and the odd one of each output
        UNROLL for (int i = 0; i < 28; i++) sum[i/14][i/2%7][i%2] = _mm512_setzero_ps();
        // words alternate between the chains
        for (int k = 0; k < BLOCK_WORDS; k += 2) {
            UNROLL for (int odd = 0; odd < 2; odd++, b += ldb) {
                const __m512bh b0 = (__m512bh)_mm512_loadu_ps(b);
                const __m512bh b1 = (__m512bh)_mm512_loadu_ps(b + 16);
                UNROLL for (int i = 0; i < 7; i++) {
                    const __m512bh ai = (__m512bh)_mm512_set1_ps(a[i*LDA + k + odd]);
                    sum[odd][i][0] = _mm512_dpbf16_ps(sum[odd][i][0], ai, b0);
                    if (vectors > 1) sum[odd][i][1] = _mm512_dpbf16_ps(sum[odd][i][1], ai, b1);
                }
            }
        }
        // c + (even + odd)
        UNROLL for (int i = 0; i < 7; i++) {
            UNROLL for (int j = 0; j < vectors; j++) {
                if (i >= height) continue;
                float *to = c + (size_t)i*ldc + 16*j;
                __m512 s = _mm512_add_ps(sum[0][i][j], sum[1][i][j]);
                if (add) s = _mm512_add_ps(_mm512_maskz_loadu_ps(mask[j], to), s);
                _mm512_mask_storeu_ps(to, mask[j], s);
            }
        }
    }
}
AVX512_BF16 static void tile_words(float *c, size_t ldc, int add, const float *a, const float *b,
                                   size_t ldb, int K, int height, int width) {
    if (width > 16) tile_words_body(2, c, ldc, add, a, b, ldb, K, height, width);
    else            tile_words_body(1, c, ldc, add, a, b, ldb, K, height, width);
}
#ifdef __x86_64__
/* AMX: one instruction adds to a tile of 16 x 16 floats the products of 16 rows and 16 columns of
 * words: for every output an even and an odd chain from +0, their sum added to what was there,
 * which is the contract.  The unit reads and writes subnormals as zero, but meets none: products
 * are multiples of 2^-124, and so is what c holds before (NUMERICS.md).  The self-test of every
 * start does without a unit that differs. */
#ifndef AMX_INTRINSICS
#define AMX_INTRINSICS
static int amx_permitted(void) {
    unsigned a, b, c, d = 0;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    if (a < 7) return 0;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
#ifdef __linux__
    const long permission = 0x1023, tile_data = 18;                   // ARCH_REQ_XCOMP_PERM
    return (d >> 22 & 1) && (d >> 24 & 1) && syscall(SYS_arch_prctl, permission, tile_data) == 0;
#else
    return 0;
#endif
}
#endif
// eight tiles of 16 rows of 64 bytes, once for each thread
AMX static void amx_configure(void) {
    static const struct {
        uint8_t palette, row, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    static __thread int configured;
    if (!configured) _tile_loadconfig(&config);
    configured = 1;
}
// 32 x 32 outputs are tiles 0 to 3, two by two; rows of a are tiles 4 and 5, columns of b 6 and 7
AMX static void tile_amx(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb,
                         int K, int height, int width) {
    const int whole = height == 32 && width == 32;
    float edge[32*32], *to = whole ? c : edge;
    const size_t ld = (whole ? ldc : 32) * sizeof *c;
    const size_t lda = LDA * sizeof *a, step = ldb * sizeof *b;

    amx_configure();
    if (!whole && add) {
        memset(edge, 0, sizeof edge);
        copy_rows(edge, 32, c, ldc, height, width);
    }
    // what c holds, or zero
    __asm__ volatile("" ::: "memory");  // gcc's _tile_loadd does not say that it reads memory
    if (add) {
        _tile_loadd(0, to, ld);
        _tile_loadd(1, to + 16, ld);
        _tile_loadd(2, (char *)to + 16*ld, ld);
        _tile_loadd(3, (char *)to + 16*ld + 64, ld);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    // a block at a time: each product of two tiles is one instruction
    for (int k = 0; k < K; k += BLOCK_WORDS, a += BLOCK_WORDS, b += BLOCK_WORDS*ldb) {
        _tile_loadd(4, a, lda);
        _tile_loadd(6, b, step);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, a + 16*LDA, lda);
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(7, b + 16, step);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, to, ld);
    _tile_stored(1, to + 16, ld);
    _tile_stored(2, (char *)to + 16*ld, ld);
    _tile_stored(3, (char *)to + 16*ld + 64, ld);
    if (!whole) copy_rows(c, ldc, edge, 32, height, width);
}
#endif
#endif

// ------------------------------------------------------------------- the table of instruction sets

typedef void TileFunction(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb,
                          int K, int height, int width);
typedef struct {
    int MR, NR;                                 // the tile's rows and columns
    TileFunction *run;
} Kernel;

// One row for each instruction set, fastest first.
static const struct Tile {
    const char *name;
    Isa isa;
    Kernel fp32, bf16;
    int direct;                                 // fp32 reads no b beyond width: b may be unpacked
    int square;                                 // rows and columns that transpose takes
    void (*transpose)(real *out, size_t ldo, const real *x, size_t ldx);
} tiles[] = {
#ifdef X86_BF16
#ifdef __x86_64__
    {.name = "amx", .isa = ISA_AMX, .fp32 = {14, 32, tile_avx512}, .bf16 = {32, 32, tile_amx},
     .direct = 1, .square = 16, .transpose = transpose_avx512},
#endif
    {.name = "avx512_bf16", .isa = ISA_AVX512_BF16, .fp32 = {14, 32, tile_avx512},
     .bf16 = {7, 32, tile_words}, .direct = 1, .square = 16, .transpose = transpose_avx512},
#endif
#ifdef X86
    {.name = "avx512", .isa = ISA_AVX512, .fp32 = {14, 32, tile_avx512},
     .bf16 = {4, 32, tile_bf16_avx512}, .direct = 1, .square = 16, .transpose = transpose_avx512},
    {.name = "avx2", .isa = ISA_AVX2, .fp32 = {6, 16, tile_avx2}, .bf16 = {2, 16, tile_bf16_avx2},
     .direct = 0, .square = 8, .transpose = transpose_avx2},
#endif
#ifdef NEON
    {.name = "neon", .isa = ISA_NEON, .fp32 = {8, 8, tile_neon}, .bf16 = {4, 8, tile_bf16_plain},
     .direct = 0, .square = 4, .transpose = transpose_scalar},
#endif
    {.name = "scalar", .isa = ISA_SCALAR, .fp32 = {4, 8, tile_scalar},
#ifndef MORE_DOUBLE
     .bf16 = {4, 8, tile_bf16_plain},
#endif
     .direct = 1, .square = 4, .transpose = transpose_scalar},
};
enum { NUM_TILES = sizeof tiles / sizeof *tiles, MAX_MR = 32, MAX_NR = 32 };
static const struct Tile *tile = &tiles[NUM_TILES - 1];               // set by matmul_init

// 1 if this machine has it
static int isa_supported(Isa wanted) {
#ifdef X86
    __builtin_cpu_init();
    if (wanted == ISA_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
                    && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (wanted >= ISA_AVX512 && !avx512) return 0;
#endif
#ifdef X86_BF16
    if (wanted == ISA_AVX512_BF16) return __builtin_cpu_supports("avx512bf16");
#ifdef __x86_64__
    if (wanted == ISA_AMX) return amx_permitted();
#endif
#endif
    (void)wanted;
    return 1;
}

/* Chooses the fastest instruction set this machine has, or the one asked for by name. 0, or -1
 * after fail(), and then nothing has changed. */
int matmul_init(const char *name) {
    int i = 0;
    if (!name) {
        while (!isa_supported(tiles[i].isa)) i++;       // the last one, scalar, always is
    } else {
        while (i < NUM_TILES && strcmp(name, tiles[i].name)) i++;
        if (i == NUM_TILES) {
            return fail(EX_USAGE, "MORE_ISA=%s: unknown here; leave it unset or say scalar", name);
        }
        if (!isa_supported(tiles[i].isa)) {
            return fail(EX_USAGE, "MORE_ISA=%s: this machine does not have it", name);
        }
    }
    tile = &tiles[i];
    isa = tile->isa;
    return 0;
}

// ---------------------------------------------------------------------------------- packing floats

/* Where a tile reads them, a and b lie like this, whatever their strides were:
 *
 *     packed a     rows of LDA:       a[m0][k0 ..]  a[m0+1][k0 ..]  ..        MC rows at most
 *     packed b     panels of NR columns, in each k after k:
 *                  b[k0][n0 .. n0+NR-1]  b[k0+1][n0 .. n0+NR-1]  ..           NC columns at most
 *
 * A matrix whose rows become columns goes through tile->transpose, a square of registers a time. */
enum { PACK_A = (MC + MAX_MR) * LDA, PACK_B = (NC + MAX_NR) * KC };
enum { WORK_PER_THREAD = PACK_A + PACK_B };

// out[k ldo + r] = x[r ldx + k] for x(rows, columns), by squares
INLINE void transpose(real *out, size_t ldo, const real *x, size_t ldx, int rows, int columns) {
    const int square = tile->square;
    int r = 0;
    for (; r + square <= rows; r += square) {
        int k = 0;
        for (; k + square <= columns; k += square) {
            tile->transpose(out + (size_t)k*ldo + r, ldo, x + (size_t)r*ldx + k, ldx);
        }
        for (; k < columns; k++) {
            for (int i = r; i < r + square; i++) out[(size_t)k*ldo + i] = x[(size_t)i*ldx + k];
        }
    }
    for (; r < rows; r++) {
        for (int k = 0; k < columns; k++) out[(size_t)k*ldo + r] = x[(size_t)r*ldx + k];
    }
}

// out[r LDA + k] = x[r rs + k ks]; rs or ks is 1
INLINE void pack_rows_body(const int hw, real *out, const real *x, size_t rs, size_t ks, int n,
                           int K) {
    const int square = tile->square;
    int r = 0;
    (void)hw;
    if (ks == 1) {                              // a row after the other
        for (; r < n; r++) {
            for (int k = 0; k < K; k++) out[(size_t)r*LDA + k] = x[(size_t)r*rs + k];
        }
        return;
    }
    for (; r + square <= n; r += square) {      // by squares, along k: out is written in order
        int k = 0;
        for (; k + square <= K; k += square) {
            tile->transpose(out + (size_t)r*LDA + k, LDA, x + (size_t)k*ks + r, ks);
        }
        for (; k < K; k++) {
            for (int i = r; i < r + square; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
        }
    }
    for (int k = 0; k < K; k++) {
        for (int i = r; i < n; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
    }
}
VARIANTS(pack_rows, (real *out, const real *x, size_t rs, size_t ks, int n, int K), out, x, rs, ks,
         n, K)

// panels of R: out[p][k][r] = x[(p R + r) rs + k ks]; rs or ks is 1.  What lies beyond n is left
// as it is.
INLINE void pack_panels_of(const int R, real *out, const real *x, size_t rs, size_t ks, int n,
                           int K) {
    const int whole = rs == 1 ? n / R * R : 0;

    // whole panels from rows of x, which are read in order
    for (int k = 0; k < K && whole; k++) {
        for (int p = 0; p < whole; p += R) {
            real *to = out + (size_t)p*K + (size_t)k*R;
            for (int i = 0; i < R; i++) to[i] = x[(size_t)k*ks + p + i];
        }
    }
    // panels from columns of x; a part of a panel
    for (int p = whole; p < n; p += R) {
        const int r1 = n - p < R ? n - p : R;
        real *panel = out + (size_t)p*K;
        const real *xp = x + (size_t)p*rs;
        if (ks == 1) {
            transpose(panel, (size_t)R, xp, rs, r1, K);
            continue;
        }
        for (int k = 0; k < K; k++) {
            for (int i = 0; i < r1; i++) panel[(size_t)k*R + i] = xp[(size_t)k*ks + i];
        }
    }
}
INLINE void pack_panels_body(const int hw, int R, real *out, const real *x, size_t rs, size_t ks,
                             int n, int K) {
    (void)hw;
    switch (R) {
    case 8:  pack_panels_of(8, out, x, rs, ks, n, K);  break;
    case 16: pack_panels_of(16, out, x, rs, ks, n, K); break;
    case 32: pack_panels_of(32, out, x, rs, ks, n, K); break;
    default: assert(0);
    }
}
VARIANTS(pack_panels, (int R, real *out, const real *x, size_t rs, size_t ks, int n, int K),
         R, out, x, rs, ks, n, K)

// ------------------------------------------------------------------------------------ packing bf16

#ifndef MORE_DOUBLE
INLINE float word_of(uint32_t upper, uint32_t lower) {
    return float_of((upper & 0xffff0000u) | lower >> 16);
}

// the 16 words of a block of 32 rounded numbers
INLINE void words_of_block(float *out, const uint32_t *u) {
    if (isa == ISA_AMX) {
        for (int w = 0; w < BLOCK_WORDS; w++) out[w] = word_of(u[2*w + 1], u[2*w]);
        return;
    }
    for (int k = 0; k < BLOCK/4; k++) {         // two words at once, in the halves of 64 bits
        uint64_t first, second;
        memcpy(&first, u + 4*k, 8);
        memcpy(&second, u + 4*k + 2, 8);
        first = (first & 0xffff0000ffff0000u) | (second >> 16 & 0x0000ffff0000ffffu);
        memcpy(out + 2*k, &first, 8);
    }
}
// out[r ldo + w] = words of the row x[r rs ..], K numbers and zeros to a whole block
INLINE void words_of_rows_body(const int hw, float *out, size_t ldo, const float *x, size_t rs,
                               int n, int K) {
    (void)hw;
    for (int r = 0; r < n; r++, x += rs, out += ldo) {
        for (int k0 = 0; k0 < K; k0 += BLOCK) {
            uint32_t u[BLOCK];
            if (k0 + BLOCK <= K) {
                for (int k = 0; k < BLOCK; k++) u[k] = round_bf16(x[k0 + k]);
            } else {
                for (int k = 0; k < BLOCK; k++) u[k] = k0 + k < K ? round_bf16(x[k0 + k]) : 0;
            }
            words_of_block(out + k0/2, u);
        }
    }
}
VARIANTS(words_of_rows, (float *out, size_t ldo, const float *x, size_t rs, int n, int K),
         out, ldo, x, rs, n, K)

// out[w ldo + i] = words of the columns x[k ks + i], k < K <= 32: one block
INLINE void words_of_columns_body(const int hw, float *out, size_t ldo, const float *x, size_t ks,
                                  int n, int K) {
    static const float zeros[NC];
    (void)hw;
    for (int w = 0; w < BLOCK_WORDS; w++, out += ldo) {
        // k of the two halves of word w: neighbours for AMX, else links of one chain
        const int upper = isa == ISA_AMX ? 2*w + 1 : w/2*4 + w%2;
        const int lower = isa == ISA_AMX ? 2*w : upper + 2;
        const float *u = upper < K ? x + (size_t)upper*ks : zeros;
        const float *l = lower < K ? x + (size_t)lower*ks : zeros;
        for (int i = 0; i < n; i++) out[i] = word_of(round_bf16(u[i]), round_bf16(l[i]));
    }
}
VARIANTS(words_of_columns, (float *out, size_t ldo, const float *x, size_t ks, int n, int K),
         out, ldo, x, ks, n, K)

static int block_start(const RowBlocks *blocks, int i, int K) {
    if (blocks) return blocks->start[i] - blocks->start[0];
    return i*BLOCK < K ? i*BLOCK : K;
}
// pack_rows in words: blocks b0 .. b1-1 of K numbers.  Where rs is not 1 they are of 32: blocks
// NULL
static void pack_rows_bf16(float *out, const float *x, size_t rs, size_t ks, int n,
                           const RowBlocks *blocks, int b0, int b1, int K) {
    float words[BLOCK_WORDS * (MC + 16)];
    assert(rs == 1 || !blocks);
    if (rs != 1) {
        const int k0 = block_start(blocks, b0, K), k1 = block_start(blocks, b1, K);
        words_of_rows(out, LDA, x + k0, rs, n, k1 - k0);
        return;
    }
    for (int i = b0; i < b1; i++, out += BLOCK_WORDS) {
        const int k0 = block_start(blocks, i, K), k1 = block_start(blocks, i + 1, K);
        words_of_columns(words, MC + 16, x + (size_t)k0*ks, ks, n, k1 - k0);
        transpose(out, LDA, words, MC + 16, BLOCK_WORDS, round_up(n, tile->square));
    }
}
// pack_panels in words: out[p][w][r]
static void pack_panels_bf16(int R, float *out, const float *x, size_t rs, size_t ks, int n,
                             const RowBlocks *blocks, int b0, int b1, int K) {
    float words[MAX_NR * BLOCK_WORDS];
    for (int i = b0; i < b1; i++) {             // rows of x, read in order
        const int k0 = block_start(blocks, i, K), k1 = block_start(blocks, i + 1, K);
        for (int p = 0; p < n; p += R) {
            const int r1 = n - p < R ? n - p : R;
            float *to = out + (size_t)p*(size_t)((b1 - b0)*BLOCK_WORDS) + (i - b0)*BLOCK_WORDS*R;
            if (ks == 1) {
                words_of_rows(words, BLOCK_WORDS, x + (size_t)p*rs + k0, rs, r1, k1 - k0);
                transpose(to, (size_t)R, words, BLOCK_WORDS, round_up(r1, tile->square),
                          BLOCK_WORDS);
            } else {
                words_of_columns(to, (size_t)R, x + p + (size_t)k0*ks, ks, r1, k1 - k0);
            }
        }
    }
}
#endif

// ------------------------------------------------------------------------------------- the product

INLINE void add_bias_body(const int hw, real *c, size_t ldc, const real *bias, int M, int N) {
    (void)hw;
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) c[(size_t)m*ldc + n] += bias[n];
    }
}
VARIANTS(add_bias, (real *c, size_t ldc, const real *bias, int M, int N), c, ldc, bias, M, N)

static const Kernel *kernel_of(const Product *p) { return p->bf16 ? &tile->bf16 : &tile->fp32; }

// along k, as packed
static int product_words(const Product *p) {
    if (!p->bf16) return p->K;
    if (p->blocks) return p->blocks->count * BLOCK_WORDS;
    return (p->K ? (p->K + BLOCK - 1) / BLOCK : 1) * BLOCK_WORDS;
}

// rows m0 .. m0+m-1 of a and columns n0 .. n0+n-1 of b, of both k0 .. k0+k-1, counted as packed
static void pack_a(real *out, const Product *p, int m0, int m, int k0, int k) {
    const real *a = p->a + (size_t)m0*p->ars;
#ifndef MORE_DOUBLE
    const int b0 = k0 / BLOCK_WORDS, b1 = (k0 + k) / BLOCK_WORDS;
    if (p->bf16) {
        pack_rows_bf16(out, a, p->ars, p->acs, m, p->blocks, b0, b1, p->K);
        return;
    }
#endif
    pack_rows(out, a + (size_t)k0*p->acs, p->ars, p->acs, m, k);
}
static void pack_b(real *out, const Product *p, int n0, int n, int k0, int k) {
    const real *b = p->b + (size_t)n0*p->bcs;
    const int NR = kernel_of(p)->NR;
#ifndef MORE_DOUBLE
    const int b0 = k0 / BLOCK_WORDS, b1 = (k0 + k) / BLOCK_WORDS;
    if (p->bf16) {
        pack_panels_bf16(NR, out, b, p->bcs, p->brs, n, p->blocks, b0, b1, p->K);
        return;
    }
#endif
    pack_panels(NR, out, b + (size_t)k0*p->brs, p->bcs, p->brs, n, k);
}
// where column n of b begins, n a multiple of NR
static const real *b_column(const Product *p, int n) {
    return p->b + (p->panel ? (size_t)(n / kernel_of(p)->NR) * p->panel : (size_t)n*p->bcs);
}

// b as the tiles read it: panels of NR columns so far apart, with rows ld apart
typedef struct {
    const real *base;
    size_t ld, panel;
} Operand;

// Columns n0 .. n0+n-1 and k0 .. k0+k-1 of b: packed before, or read as they lie, or packed here
// into work.
static Operand b_operand(const Product *p, real *work, int n0, int n, int k0, int k) {
    const size_t NR = (size_t)kernel_of(p)->NR;
    if (p->panel) return (Operand){b_column(p, n0) + (size_t)k0*NR, NR, p->panel};
    const int few = p->M <= 4*kernel_of(p)->MR;         // rows, too few to pay for packing b
    if (few && tile->direct && !p->bf16 && p->bcs == 1) {
        return (Operand){b_column(p, n0) + (size_t)k0*p->brs, p->brs, NR};
    }
    pack_b(work, p, n0, n, k0, k);
    return (Operand){work, NR, NR * (size_t)k};
}

#ifdef MORE_DEBUG
// What a product of bf16 operands continues: zero, or a multiple of 2^-124 (NaN and infinity pass).
static int continues_bf16(const Product *p) {
    for (int m = 0; m < p->M; m++) {
        for (int n = 0; n < p->N; n++) {
            const double units = p->c[(size_t)m*p->ldc + (size_t)n] * 0x1p124;
            if (units != floor(units) && units == units) return 0;
        }
    }
    return 1;
}
#endif

// c(m,n) = or += packed a(m,k) b(k,n), tile after tile
static void multiply_block(const Kernel *kernel, real *c, size_t ldc, int add, const real *packed_a,
                           const Operand *b, int m, int n, int k) {
    const int MR = kernel->MR, NR = kernel->NR;
    for (int j = 0; j < n; j += NR) {
        const real *panel = b->base + (size_t)(j/NR) * b->panel;
        for (int i = 0; i < m; i += MR) {
            kernel->run(c + (size_t)i*ldc + j, ldc, add, packed_a + (size_t)i*LDA, panel, b->ld, k,
                        min_int(MR, m - i), min_int(NR, n - j));
        }
    }
}

// One thread; work holds WORK_PER_THREAD numbers.
void matmul_one(const Product *p, real *work) {
    const Kernel *kernel = kernel_of(p);
    const int M = p->M, N = p->N, K = product_words(p);
    real *packed_a = work, *packed_b = work + PACK_A;
    assert((p->ars == 1 || p->acs == 1) && (p->brs == 1 || p->bcs == 1 || p->panel));
#ifdef MORE_DEBUG
    assert(!p->bf16 || !p->add || continues_bf16(p));
#endif
    for (int n0 = 0; n0 < N; n0 += NC) {
        for (int k0 = 0; k0 == 0 || k0 < K; k0 += KC) {               // once for K = 0
            const int n1 = min_int(NC, N - n0), k1 = min_int(KC, K - k0);
            const Operand b = b_operand(p, packed_b, n0, n1, k0, k1);
            for (int m0 = 0; m0 < M; m0 += MC) {
                const int m1 = min_int(MC, M - m0);
                real *c = p->c + (size_t)m0*p->ldc + n0;
                pack_a(packed_a, p, m0, m1, k0, k1);
                multiply_block(kernel, c, p->ldc, p->add || k0, packed_a, &b, m1, n1, k1);
                if (p->bias && k0 + k1 == K) add_bias(c, p->ldc, p->bias + n0, m1, n1);
            }
        }
    }
}

// ---------------------------------------------------------------------------- packed once, threads

// b packed once for many products: panels of NR columns, in each all of k.
size_t matmul_panel(const Product *p) {
    return (size_t)kernel_of(p)->NR * (size_t)product_words(p);
}
size_t matmul_pack_size(const Product *p) {
    const int NR = kernel_of(p)->NR;
    return (size_t)((p->N + NR - 1) / NR) * matmul_panel(p);
}
void matmul_pack(real *packed, const Product *p) {
    const int NR = kernel_of(p)->NR;
    const size_t panel = matmul_panel(p);
    PARALLEL_FOR
    for (int n = 0; n < p->N; n += NR) {
        pack_b(packed + (size_t)(n/NR)*panel, p, n, min_int(NR, p->N - n), 0, product_words(p));
    }
}

static real *matmul_work_memory;                // (threads, WORK_PER_THREAD)
real *matmul_work(void) { return matmul_work_memory + (size_t)thread_index() * WORK_PER_THREAD; }

// Rows tm of blocks of c(M,N), so that tm x threads/tm blocks pack least twice.
static int grid_rows(int M, int N, int threads) {
    int tm = 1;
    for (int i = 2; i <= threads; i++) {
        if (threads % i) continue;
        if ((double)M/i + (double)N/(threads/i) < (double)M/tm + (double)N/(threads/tm)) tm = i;
    }
    return tm;
}

// All threads; a small product is not worth waking them.
void matmul(const Product *p) {
    const int threads = thread_count(), M = p->M, N = p->N;
    if (threads == 1 || (double)M*N*p->K < 1e5) {
        matmul_one(p, matmul_work_memory);
        return;
    }
    const int tm = grid_rows(M, N, threads), tn = threads / tm;
    const int MR = kernel_of(p)->MR, NR = kernel_of(p)->NR;
    const long long row_tiles = (M + MR - 1) / MR, column_tiles = (N + NR - 1) / NR;
    // block (i, j) of tm x tn: whole tiles, as equal as they can be
    PARALLEL_FOR
    for (int block = 0; block < tm * tn; block++) {
        const int i = block / tn, j = block % tn;
        const int m0 = (int)(row_tiles * i / tm) * MR;
        const int m1 = (int)(row_tiles * (i+1) / tm) * MR;
        const int n0 = (int)(column_tiles * j / tn) * NR;
        const int n1 = (int)(column_tiles * (j+1) / tn) * NR;
        Product part = *p;
        part.M = min_int(m1, M) - m0;
        part.N = min_int(n1, N) - n0;
        part.c += (size_t)m0*p->ldc + n0;
        part.a += (size_t)m0*p->ars;
        part.b = b_column(p, n0);
        if (p->bias) part.bias += n0;
        if (part.M > 0 && part.N > 0) matmul_one(&part, matmul_work());
    }
}
#endif

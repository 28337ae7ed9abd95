/* tiles.c - the innermost loop of the matrix product, once for each instruction set: the only place
 * with intrinsics, but for panels.c, which lays operands out for it.  matmul.c has the contract.
 *
 *     threads, instruction sets       what a loop over a row or a panel is compiled for
 *     tiles of floats, of bf16        MR x NR outputs in registers, along k
 *     the table of instruction sets   one row for each; matmul_init chooses */
#ifndef TILES_C
#define TILES_C
#include "pointwise.h"
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

int matmul_init(const char *name);              // chooses the instruction set; NULL: the fastest
int thread_count(void);
int thread_index(void);

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
// a block that every thread runs, with loops in it whose tasks they share out
#define PARALLEL                   PRAGMA(omp parallel)
#define SHARED_TASKS               PRAGMA(omp for schedule(dynamic, 1))
#else
#define PARALLEL
#define SHARED_TASKS
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
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma,"                \
                          "amx-tile,amx-bf16")))
#endif
#endif
#if defined __aarch64__ && !defined MORE_DOUBLE
#define NEON 1
#include <arm_neon.h>
#endif
// ROLLED: gcc makes vectors of a short loop with a choice in it, if it has not unrolled it before.
#if defined __clang__
#define UNROLL _Pragma("unroll")
#define ROLLED
#elif defined __GNUC__ && !defined __TINYC__
#define UNROLL _Pragma("GCC unroll 32")
#define ROLLED _Pragma("GCC unroll 1")
#else
#define UNROLL
#define ROLLED
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

/* Sizes of blocks in words along k (a number, or two of bf16) and in rows and columns:
 *
 *     KC       of a tile's run: a panel of b and a tile's rows of a in the first cache (Kernel)
 *     MC, KA   rows of a packed at a time, and words of each (Kernel): in the second cache ..
 *     NC       .. beside so many columns of c
 *
 * A packed row of a has LDA numbers, so that rows do not meet in the same lines of a cache; for AMX
 * a panel of rows is in tiles. */
enum { MC = 256, NC = 256, ROW_KA = 768, TILE_KA = 1024, LDA = ROW_KA + 16 };

// --------------------------------------------------------------------------------- tiles of floats

/* A tile: c(height,width) = or += a(height,K) b(K,width), height <= MR, width <= NR.  Rows of c lie
 * ldc apart; a is packed as rows LDA apart; rows of b lie ldb apart: NR, or more where b is read as
 * it lies.  Nothing of c beyond height and width is read or written; what packed a and b hold there
 * does not matter.  The strided form reads a as it lies, a[i ars + k acs], and of a and b nothing
 * beyond height and width. */

#ifdef X86
#define PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)      // may lie beyond the matrix

// MR rows, one or two vectors wide.  Rows beyond height are computed and not stored, columns beyond
// width are masked.
AVX512 INLINE void tile_avx512_body(const int MR, const int vectors, const int strided, float *c,
                                    size_t ldc, int add, const float *a, size_t ars, size_t acs,
                                    const float *b, size_t ldb, int K, int height, int width) {
    __m512 acc[14][2];
    // strided: few pointers to rows, from which an address can be one to four strides away
    const float *a5 = a + 5*ars, *a10 = a + 10*ars, *last_row = a + (size_t)(height - 1)*ars;
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
    for (int k = 0; k < K; k++, b += ldb) {
        PREFETCH(b + 64*ldb);                   // weights packed before lie far away
        if (vectors > 1) PREFETCH(b + 64*ldb + 16);
        __m512 b0 = _mm512_maskz_loadu_ps(mask[0], b);
        __m512 b1 = vectors > 1 ? _mm512_maskz_loadu_ps(last, b + 16) : b0;
        UNROLL for (int i = 0; i < MR; i++) {
            const float *row = i < 5 ? a : i < 10 ? a5 : a10;
            const float *at = i == MR - 1 ? last_row : row + (size_t)(i % 5)*ars;
            __m512 ai = _mm512_set1_ps(strided ? *at : a[i*LDA]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += acs;
        a5 += acs;
        a10 += acs;
        last_row += acs;
    }
    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            if (i < height) _mm512_mask_storeu_ps(c + (size_t)i*ldc + 16*j, mask[j], acc[i][j]);
        }
    }
}
// A body for each even number of rows, which the compiler knows: so the sums stay in registers.
AVX512 INLINE void tile_avx512_cases(const int strided, float *c, size_t ldc, int add,
                                     const float *a, size_t ars, size_t acs, const float *b,
                                     size_t ldb, int K, int height, int width) {
#define BODY(n, vectors)                                                                         \
    tile_avx512_body(n, vectors, strided, c, ldc, add, a, ars, acs, b, ldb, K, height, width)
#define CASE(n)                                                                                  \
    case n/2:                                                                                    \
        if (width > 16) BODY(n, 2);                                                              \
        else            BODY(n, 1);                                                              \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) CASE(8) CASE(10) CASE(12) CASE(14) }
#undef CASE
#undef BODY
}
AVX512 static void tile_avx512(float *c, size_t ldc, int add, const float *a, const float *b,
                               size_t ldb, int K, int height, int width) {
    tile_avx512_cases(0, c, ldc, add, a, LDA, 1, b, ldb, K, height, width);
}
AVX512 static void strided_avx512(float *c, size_t ldc, int add, const float *a, size_t ars,
                                  size_t acs, const float *b, size_t ldb, int K, int height,
                                  int width) {
    tile_avx512_cases(1, c, ldc, add, a, ars, acs, b, ldb, K, height, width);
}

// the same with half the registers; masks[8*vectors - width ..] has ones for the last vector
AVX2 INLINE void tile_avx2_body(const int MR, const int vectors, const int strided, float *c,
                                size_t ldc, int add, const float *a, size_t ars, size_t acs,
                                const float *b, size_t ldb, int K, int height, int width) {
    static const int32_t masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const __m256i last = _mm256_loadu_si256((const void *)(masks + 8*vectors - width));
    const __m256i mask[2] = {vectors > 1 ? _mm256_set1_epi32(-1) : last, last};
    __m256 acc[6][2];
    const float *a3 = a + 3*ars, *last_row = a + (size_t)(height - 1)*ars;

    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            acc[i][j] = add && i < height ? _mm256_maskload_ps(c + (size_t)i*ldc + 8*j, mask[j])
                                          : _mm256_setzero_ps();
        }
    }
    for (int k = 0; k < K; k++, b += ldb) {
        __m256 b0 = strided ? _mm256_maskload_ps(b, mask[0]) : _mm256_loadu_ps(b), b1 = b0;
        if (vectors > 1) b1 = strided ? _mm256_maskload_ps(b + 8, last) : _mm256_loadu_ps(b + 8);
        UNROLL for (int i = 0; i < MR; i++) {
            const float *at = i == MR - 1 ? last_row : (i < 3 ? a : a3) + (size_t)(i % 3)*ars;
            __m256 ai = _mm256_broadcast_ss(strided ? at : a + i*LDA);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
        a += acs;
        a3 += acs;
        last_row += acs;
    }
    UNROLL for (int i = 0; i < MR; i++) {
        UNROLL for (int j = 0; j < vectors; j++) {
            if (i < height) _mm256_maskstore_ps(c + (size_t)i*ldc + 8*j, mask[j], acc[i][j]);
        }
    }
}
AVX2 INLINE void tile_avx2_cases(const int strided, float *c, size_t ldc, int add, const float *a,
                                 size_t ars, size_t acs, const float *b, size_t ldb, int K,
                                 int height, int width) {
#define BODY(n, vectors)                                                                         \
    tile_avx2_body(n, vectors, strided, c, ldc, add, a, ars, acs, b, ldb, K, height, width)
#define CASE(n)                                                                                  \
    case n/2:                                                                                    \
        if (width > 8) BODY(n, 2);                                                               \
        else           BODY(n, 1);                                                               \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) }
#undef CASE
#undef BODY
}
AVX2 static void tile_avx2(float *c, size_t ldc, int add, const float *a, const float *b,
                           size_t ldb, int K, int height, int width) {
    tile_avx2_cases(0, c, ldc, add, a, LDA, 1, b, ldb, K, height, width);
}
AVX2 static void strided_avx2(float *c, size_t ldc, int add, const float *a, size_t ars,
                              size_t acs, const float *b, size_t ldb, int K, int height,
                              int width) {
    tile_avx2_cases(1, c, ldc, add, a, ars, acs, b, ldb, K, height, width);
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
INLINE void tile_neon_body(const int strided, float *c, size_t ldc, int add, const float *a,
                           size_t ars, size_t acs, const float *b, size_t ldb, int K, int height,
                           int width) {
    float32x4_t acc[8][2];
    const float *row[8];
    float edge[64];
    const int inside = height == 8 && width == 8;
    float *to = inside ? c : edge;
    const size_t ld = inside ? ldc : 8;

    if (!inside && add) copy_rows(edge, 8, c, ldc, height, width);
    UNROLL for (int i = 0; i < 16; i++) {
        acc[i/2][i%2] = add ? vld1q_f32(to + (size_t)(i/2)*ld + 4*(i%2)) : vdupq_n_f32(0);
    }
    UNROLL for (int i = 0; i < 8; i++) row[i] = a + (size_t)min_int(i, height - 1)*ars;
    for (int k = 0; k < K; k++, b += ldb) {
        float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4);
        UNROLL for (int i = 0; i < 8; i++) {
            const float ai = strided ? row[i][(size_t)k*acs] : a[(size_t)i*LDA + (size_t)k];
            acc[i][0] = vfmaq_n_f32(acc[i][0], b0, ai);
            acc[i][1] = vfmaq_n_f32(acc[i][1], b1, ai);
        }
    }
    UNROLL for (int i = 0; i < 16; i++) {
        vst1q_f32(to + (size_t)(i/2)*ld + 4*(i%2), acc[i/2][i%2]);
    }
    if (!inside) copy_rows(c, ldc, edge, 8, height, width);
}
static void tile_neon(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb,
                      int K, int height, int width) {
    tile_neon_body(0, c, ldc, add, a, LDA, 1, b, ldb, K, height, width);
}
#endif

// ---- where a fused multiply-add is a function: in double

#if defined __GNUC__ && !defined __TINYC__ && !defined MORE_DOUBLE
#define PAIRS_OF_DOUBLES 1
typedef double Doubles __attribute__((vector_size(16)));
typedef uint64_t Bits __attribute__((vector_size(16)));

// of numbers: the largest bits of |x|, and the least of those that are not zero, less one
typedef struct { uint32_t most, least; } Range;
INLINE void range_add(Range *r, float x) {
    const uint32_t u = bits_of(x) & 0x7fffffffu;
    r->most = u > r->most ? u : r->most;
    r->least = u - 1 < r->least ? u - 1 : r->least;         // of zero it is the largest there is
}

/* Are the sums of a chain of a's and b's products, from c's on, those of floats if each is rounded
 * to 24 bits?  Yes if none overflows, and if the products are multiples of 2^-149, as c is: what is
 * subnormal then has fewer bits.  A float of the exponent e = bits >> 23 is below 2^(e-126), and a
 * multiple of 2^(e-150), e at least 1.  K is at most 256. */
static int sums_are_normal(Range a, Range b, Range c) {
    const int high = (int)(a.most >> 23) + (int)(b.most >> 23);
    const int low = max_int(1, (int)((a.least + 1) >> 23)) + max_int(1, (int)((b.least + 1) >> 23));
    const int zero = !a.most || !b.most, finite = a.most >> 23 < 255 && b.most >> 23 < 255;
    return finite && high <= 369 && (zero || low >= 151) && c.most >> 23 <= 251;
}

enum { SOFT_MR = 8, SOFT_NR = 8, SOFT_K = 256 };        // a block is 4 x 4: sums stay in registers

/* out(4,4) += a(4,K) b(K,4) in chains, rows SOFT_NR, SOFT_K and SOFT_NR apart.  A product of floats
 * is exact in double.  A sum s is rounded there, then to the 24 bits of a float: half of the unit
 * is added to its bits, the others are cleared.  Two roundings are one unless the first meets the
 * middle of two floats, s = ..1000..0: then out stays as it is, and 0 is returned.  Or, `exactly`,
 * s goes to its odd neighbour next to the exact sum (exact_fmaf), and a true middle to even. */
INLINE int block_in_double(const int exactly, float *out, const double *a, const double *b, int K) {
    // not known to the compiler: as constants V8 would make them anew for each use
    static const volatile uint64_t half_unit = 0x10000000, float_part = ~(uint64_t)0x1fffffff;
    const uint64_t h = half_unit, f = float_part;
    const Bits half = {h, h}, upper = {f, f}, one = {1, 1};
    Doubles sum[4][2];
    Bits middles = {0, 0};
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int n = 0; n < 2; n++) {
            sum[i][n] = (Doubles){out[i*SOFT_NR + 2*n], out[i*SOFT_NR + 2*n + 1]};
        }
    }
    for (int k = 0; k < K; k++, a++, b += SOFT_NR) {
        const Doubles b0 = {b[0], b[1]}, b1 = {b[2], b[3]};
        UNROLL for (int i = 0; i < 4; i++) {
            const Doubles ai = {a[i*SOFT_K], a[i*SOFT_K]};
            UNROLL for (int n = 0; n < 2; n++) {
                const Doubles p = ai * (n ? b1 : b0), s = p + sum[i][n];
                Bits rounded;
                if (exactly) {
                    const Doubles t = s - p, e = (p - (s - t)) + (sum[i][n] - t);
                    const Bits step = (Bits)(e != 0) & ~(Bits)s & one;
                    const Bits inward = ((Bits)e ^ (Bits)s) >> 63;
                    const Bits odd = (Bits)s + step - ((step & inward) << 1);
                    rounded = (odd + half - one + (odd >> 29 & one)) & upper;
                } else {
                    const Bits up = (Bits)s + half;
                    rounded = up & upper;
                    middles -= (Bits)(rounded == up);
                }
                sum[i][n] = (Doubles)rounded;
            }
        }
    }
    if (middles[0] | middles[1]) return 0;
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int n = 0; n < 2; n++) {
            out[i*SOFT_NR + 2*n] = (float)sum[i][n][0];
            out[i*SOFT_NR + 2*n + 1] = (float)sum[i][n][1];
        }
    }
    return 1;
}

// to(K) = a row of a
INLINE void widen_row_of(double *to, const float *a, const size_t acs, int K, Range *r) {
    for (int k = 0; k < K; k++) {
        range_add(r, a[(size_t)k*acs]);
        to[k] = a[(size_t)k*acs];
    }
}
// to(K,8) = b(K,width) and zeros
INLINE void widen_columns(double *to, const float *b, size_t ldb, int K, const int width,
                          Range *r) {
    for (int k = 0; k < K; k++, to += SOFT_NR, b += ldb) {
        for (int j = 0; j < width; j++) {
            range_add(r, b[j]);
            to[j] = b[j];
        }
        for (int j = width; j < SOFT_NR; j++) to[j] = 0;
    }
}

// The tile: 1, or 0 where some sums may need the rounding of subnormals, and nothing is written.
static int tile_in_double(float *c, size_t ldc, int add, const float *a, size_t ars, size_t acs,
                          const float *b, size_t ldb, int K, int height, int width) {
    double wide_a[SOFT_MR * SOFT_K], wide_b[SOFT_K * SOFT_NR];
    float out[SOFT_MR * SOFT_NR] = {0};
    Range range_a = {0, 0xffffffffu}, range_b = range_a, range_c = range_a;

    // pass 1: a and b as double, c as the floats of blocks
    for (int i = 0; i < SOFT_MR && i < round_up(height, 4); i++) {
        double *to = wide_a + i*SOFT_K;
        const float *row = a + (size_t)i*ars;
        if (i >= height)   memset(to, 0, (size_t)K * sizeof *to);
        else if (acs == 1) widen_row_of(to, row, 1, K, &range_a);
        else               widen_row_of(to, row, acs, K, &range_a);
        for (int j = 0; j < width && i < height && add; j++) {
            out[i*SOFT_NR + j] = c[(size_t)i*ldc + j];
            range_add(&range_c, out[i*SOFT_NR + j]);
        }
    }
    if (width == SOFT_NR) widen_columns(wide_b, b, ldb, K, SOFT_NR, &range_b);
    else                  widen_columns(wide_b, b, ldb, K, width, &range_b);
    if (!sums_are_normal(range_a, range_b, range_c)) return 0;

    // pass 2: the chains, block by block
    for (int i = 0; i < height; i += 4) {
        for (int j = 0; j < width; j += 4) {
            float *block = out + i*SOFT_NR + j;
            const double *rows = wide_a + i*SOFT_K, *columns = wide_b + j;
            if (!block_in_double(0, block, rows, columns, K)) {
                block_in_double(1, block, rows, columns, K);
            }
        }
    }
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) c[(size_t)i*ldc + j] = out[i*SOFT_NR + j];
    }
    return 1;
}
#endif

static void strided_scalar(real *c, size_t ldc, int add, const real *a, size_t ars, size_t acs,
                           const real *b, size_t ldb, int K, int height, int width) {
#ifdef PAIRS_OF_DOUBLES
    const int fits = !HW && K <= SOFT_K;
    if (fits && tile_in_double(c, ldc, add, a, ars, acs, b, ldb, K, height, width)) return;
#endif
    for (int i = 0; i < height; i++) {
        for (int j = 0; j < width; j++) {
            real sum = add ? c[(size_t)i*ldc + j] : 0;
#ifdef MORE_DOUBLE
            for (int k = 0; k < K; k++) sum += a[i*ars + k*acs] * b[(size_t)k*ldb + j];
#else
            for (int k = 0; k < K; k++) {
                sum = more_fmaf(a[i*ars + k*acs], b[(size_t)k*ldb + j], sum);
            }
#endif
            c[(size_t)i*ldc + j] = sum;
        }
    }
}
#ifdef NEON
static void strided_neon(float *c, size_t ldc, int add, const float *a, size_t ars, size_t acs,
                         const float *b, size_t ldb, int K, int height, int width) {
    if (width < 8) strided_scalar(c, ldc, add, a, ars, acs, b, ldb, K, height, width);
    else           tile_neon_body(1, c, ldc, add, a, ars, acs, b, ldb, K, height, width);
}
#endif
static void tile_scalar(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb,
                        int K, int height, int width) {
    strided_scalar(c, ldc, add, a, LDA, 1, b, ldb, K, height, width);
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
enum { FETCHED = 4 };                           // lines of what comes later, in a block: tile_amx

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
/* 32 x 32 outputs are tiles 0 to 3, two by two; rows of a are tiles 4 and 5, columns of b 6 and 7:
 *
 *                 6  7        a's panel of 32 rows is packed block after block of k, each as two
 *              4  0  1        tiles of 16 rows of 16 words, 1 KB each, in order; b's panel of 32
 *              5  2  3        columns as well, of 16 rows of 16 columns of words
 *
 * b has no rows that could lie apart: ldb says how far behind b the numbers lie that are used
 * later, of which FETCHED times K are brought to the first cache meanwhile. */
AMX static void tile_amx(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb,
                         int K, int height, int width) {
    const int whole = height == 32 && width == 32;
    float edge[32*32], *to = whole ? c : edge;
    const size_t ld = (whole ? ldc : 32) * sizeof *c;

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
    // fetched meanwhile: rows of c for the stores, or where they are loaded of the tile below; b
    const float *next = add ? c + 32*ldc : c, *later = b + ldb;
    for (int k = 0; k < K; k += BLOCK_WORDS, a += 32*BLOCK_WORDS, b += 32*BLOCK_WORDS) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        for (int i = 0; i < 4 && k < 8*BLOCK_WORDS; i++, next += ldc) {
            PREFETCH(next);
            PREFETCH(next + 16);
        }
        for (int i = 0; i < FETCHED; i++, later += BLOCK_WORDS) PREFETCH(later);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, a + 16*BLOCK_WORDS, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_loadd(7, b + 16*BLOCK_WORDS, 64);
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
typedef void StridedFunction(real *c, size_t ldc, int add, const real *a, size_t ars, size_t acs,
                             const real *b, size_t ldb, int K, int height, int width);
typedef struct {
    int MR, NR;                                 // the tile's rows and columns
    int KC, KA;                                 // in words
    int tiled;                                  // panels of a are in tiles, not in rows
    TileFunction *run;
} Kernel;

// One row for each instruction set, fastest first.
#define ROWS_OF(MR, NR, run)  {MR, NR, 256, ROW_KA, 0, run}
#define TILES_OF(MR, NR, run) {MR, NR, 192, TILE_KA, 1, run}
static const struct Tile {
    const char *name;
    Isa isa;
    Kernel fp32, bf16;
    StridedFunction *strided;                   // fp32 of a that is not packed
    int direct;                                 // fp32 reads no b beyond width: b may be unpacked
    int square;                                 // rows and columns that transpose takes
    void (*transpose)(real *out, size_t ldo, const real *x, size_t ldx);
} tiles[] = {
#ifdef X86_BF16
#ifdef __x86_64__
    {.name = "amx", .isa = ISA_AMX, .fp32 = ROWS_OF(14, 32, tile_avx512),
     .bf16 = TILES_OF(32, 32, tile_amx), .strided = strided_avx512, .direct = 1, .square = 16,
     .transpose = transpose_avx512},
#endif
    {.name = "avx512_bf16", .isa = ISA_AVX512_BF16, .fp32 = ROWS_OF(14, 32, tile_avx512),
     .bf16 = ROWS_OF(7, 32, tile_words), .strided = strided_avx512, .direct = 1, .square = 16,
     .transpose = transpose_avx512},
#endif
#ifdef X86
    {.name = "avx512", .isa = ISA_AVX512, .fp32 = ROWS_OF(14, 32, tile_avx512),
     .bf16 = ROWS_OF(4, 32, tile_bf16_avx512), .strided = strided_avx512, .direct = 1, .square = 16,
     .transpose = transpose_avx512},
    {.name = "avx2", .isa = ISA_AVX2, .fp32 = ROWS_OF(6, 16, tile_avx2),
     .bf16 = ROWS_OF(2, 16, tile_bf16_avx2), .strided = strided_avx2, .direct = 0, .square = 8,
     .transpose = transpose_avx2},
#endif
#ifdef NEON
    {.name = "neon", .isa = ISA_NEON, .fp32 = ROWS_OF(8, 8, tile_neon),
     .bf16 = ROWS_OF(4, 8, tile_bf16_plain), .strided = strided_neon, .direct = 0, .square = 4,
     .transpose = transpose_scalar},
#endif
    {.name = "scalar", .isa = ISA_SCALAR, .fp32 = ROWS_OF(8, 8, tile_scalar),
#ifndef MORE_DOUBLE
     .bf16 = ROWS_OF(4, 8, tile_bf16_plain),
#endif
     .strided = strided_scalar, .direct = 1, .square = 4, .transpose = transpose_scalar},
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
    if (wanted == ISA_AMX) return __builtin_cpu_supports("avx512bf16") && amx_permitted();
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
#endif

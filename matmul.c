/* matmul.c - the matrix product: packing, blocking and threads once; one small tile function for each instruction
 * set, which is the only place with intrinsics.
 *
 * Contract (NUMERICS.md, rule 2): every output is one ordered chain  c = fma(a[k], b[k], c), k ascending, from +0
 * or from what c held.  Blocks store c and load it again; threads divide the outputs, never k.  So the bits do
 * not depend on tile, vector width or thread count.                                                           */
#ifndef MATMUL_C
#define MATMUL_C
#include "common.h"
#ifdef _OPENMP
#include <omp.h>
#define PARALLEL_FOR       _Pragma("omp parallel for schedule(static)")
#define PARALLEL_FOR_TASKS _Pragma("omp parallel for schedule(dynamic, 1)")
#else
#define PARALLEL_FOR
#define PARALLEL_FOR_TASKS
#endif

#if (defined __x86_64__ || defined __i386__) && defined __GNUC__ && !defined __TINYC__ && !defined MORE_DOUBLE
#define X86 1
#include <immintrin.h>
#define AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define AVX2   __attribute__((target("avx2,fma")))
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

typedef enum { ISA_SCALAR, ISA_NEON, ISA_AVX2, ISA_AVX512 } Isa;
static Isa isa;                                                       // set once by matmul_init

/* A loop over a row or a panel is written once as name_body(hw, ...) and compiled for each instruction set; hw says
 * whether a fused multiply-add is one instruction there.                                                     */
#ifdef X86
#define VARIANTS(name, params, ...)                                                              \
    AVX512 static void name##_avx512 params { name##_body(1, __VA_ARGS__); }                     \
    AVX2   static void name##_avx2   params { name##_body(1, __VA_ARGS__); }                     \
    static void name##_plain params         { name##_body(HW, __VA_ARGS__); }                    \
    static void name params {                                                                    \
        if (isa == ISA_AVX512)    name##_avx512(__VA_ARGS__);                                    \
        else if (isa == ISA_AVX2) name##_avx2(__VA_ARGS__);                                      \
        else                      name##_plain(__VA_ARGS__);                                     \
    }
#else
#define VARIANTS(name, params, ...) static void name params { name##_body(HW, __VA_ARGS__); }
#endif

/* Block sizes: a block of a and panels of b in the second cache, a tile's rows of a in the first.  A packed row of a has
 * LDA numbers, so that rows do not meet in the same lines of a cache.                                        */
enum { KC = 512, MC = 14*8, NC = 512, LDA = KC + 16 };

/* ---- tiles: c(height,width) = or += a(height,K) b(K,width), height <= MR, width <= NR; c has rows ldc apart, a is
 * packed as rows LDA apart, b as (K,NR).  Nothing of c beyond height and width is read or written.           */

#ifdef X86
AVX512 INLINE void tile_avx512_body(const int MR, const int vectors, float *c, size_t ldc, int add, const float *a,
                                    const float *b, size_t ldb, int K, int height, int width) {
    __m512 acc[14][2];
    const __mmask16 all = 0xffff, last = (__mmask16)(all >> (16*vectors - width)), mask[2] = {vectors > 1 ? all : last, last};
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i][j] = add && i < height ? _mm512_maskz_loadu_ps(mask[j], c + (size_t)i*ldc + 16*j) : _mm512_setzero_ps();
    UNROLL for (int i = 0; i < MR; i++)                               // the tile below comes next
        UNROLL for (int j = 0; j < vectors; j++) _mm_prefetch((const char *)(c + (size_t)(MR + i)*ldc + 16*j), _MM_HINT_T0);
    for (int k = 0; k < K; k++, a++, b += ldb) {
        __m512 b0 = _mm512_maskz_loadu_ps(mask[0], b), b1 = vectors > 1 ? _mm512_maskz_loadu_ps(last, b + 16) : b0;
        UNROLL for (int i = 0; i < MR; i++) {
            __m512 ai = _mm512_set1_ps(a[i*LDA]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            if (i < height) _mm512_mask_storeu_ps(c + (size_t)i*ldc + 16*j, mask[j], acc[i][j]);
}
AVX512 static void tile_avx512(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb, int K,
                               int height, int width) {
#define CASE(n) case n/2:                                                                    \
        if (width > 16) tile_avx512_body(n, 2, c, ldc, add, a, b, ldb, K, height, width);    \
        if (width < 17) tile_avx512_body(n, 1, c, ldc, add, a, b, ldb, K, height, width);    \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) CASE(8) CASE(10) CASE(12) CASE(14) }
#undef CASE
}

AVX2 INLINE void tile_avx2_body(const int MR, const int vectors, float *c, size_t ldc, int add, const float *a,
                                const float *b, size_t ldb, int K, int height, int width) {
    static const int32_t masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const __m256i last = _mm256_loadu_si256((const void *)(masks + 8*vectors - width));
    const __m256i mask[2] = {vectors > 1 ? _mm256_set1_epi32(-1) : last, last};
    __m256 acc[6][2];
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            acc[i][j] = add && i < height ? _mm256_maskload_ps(c + (size_t)i*ldc + 8*j, mask[j]) : _mm256_setzero_ps();
    for (int k = 0; k < K; k++, a++, b += ldb) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        UNROLL for (int i = 0; i < MR; i++) {
            __m256 ai = _mm256_broadcast_ss(a + i*LDA);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            if (vectors > 1) acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < MR; i++)
        UNROLL for (int j = 0; j < vectors; j++)
            if (i < height) _mm256_maskstore_ps(c + (size_t)i*ldc + 8*j, mask[j], acc[i][j]);
}
AVX2 static void tile_avx2(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb, int K,
                           int height, int width) {
#define CASE(n) case n/2:                                                                    \
        if (width > 8) tile_avx2_body(n, 2, c, ldc, add, a, b, ldb, K, height, width);       \
        if (width < 9) tile_avx2_body(n, 1, c, ldc, add, a, b, ldb, K, height, width);       \
        break;
    switch ((height + 1) / 2) { CASE(2) CASE(4) CASE(6) }
#undef CASE
}

// out[k][r] = x[r][k] for a square of registers: pairs of rows, pairs of pairs, then halves change places
AVX512 static void transpose_avx512(float *out, size_t ldo, const float *x, size_t ldx) {
    __m512 r[16], t[16];
    UNROLL for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(x + (size_t)i*ldx);
    UNROLL for (int i = 0; i < 16; i += 2) {
        t[i]   = _mm512_unpacklo_ps(r[i], r[i+1]);
        t[i+1] = _mm512_unpackhi_ps(r[i], r[i+1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4)
        UNROLL for (int j = 0; j < 2; j++) {
            r[i + 2*j]     = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i+j]), _mm512_castps_pd(t[i+j+2])));
            r[i + 2*j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i+j]), _mm512_castps_pd(t[i+j+2])));
        }
    UNROLL for (int j = 0; j < 4; j++) {                              // a lane of r[i+j] holds 4 rows of column 4 lane + j
        __m512 even = _mm512_shuffle_f32x4(r[j], r[j+4], 0x88), odd = _mm512_shuffle_f32x4(r[j], r[j+4], 0xdd);
        __m512 even8 = _mm512_shuffle_f32x4(r[j+8], r[j+12], 0x88), odd8 = _mm512_shuffle_f32x4(r[j+8], r[j+12], 0xdd);
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
    UNROLL for (int i = 0; i < 8; i += 4)
        UNROLL for (int j = 0; j < 2; j++) {
            r[i + 2*j]     = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(t[i+j]), _mm256_castps_pd(t[i+j+2])));
            r[i + 2*j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(t[i+j]), _mm256_castps_pd(t[i+j+2])));
        }
    UNROLL for (int j = 0; j < 4; j++) {
        _mm256_storeu_ps(out + (size_t)j*ldo,     _mm256_permute2f128_ps(r[j], r[j+4], 0x20));
        _mm256_storeu_ps(out + (size_t)(j+4)*ldo, _mm256_permute2f128_ps(r[j], r[j+4], 0x31));
    }
}
#endif

#ifdef NEON
static void tile_neon(float *c, size_t ldc, int add, const float *a, const float *b, size_t ldb, int K,
                      int height, int width) {
    float32x4_t acc[8][2];
    float edge[64];
    const int inside = height == 8 && width == 8;
    float *to = inside ? c : edge;
    const size_t ld = inside ? ldc : 8;
    if (!inside && add) for (int i = 0; i < height; i++) memcpy(edge + 8*i, c + (size_t)i*ldc, (size_t)width * sizeof *c);
    UNROLL for (int i = 0; i < 16; i++) acc[i/2][i%2] = add ? vld1q_f32(to + (size_t)(i/2)*ld + 4*(i%2)) : vdupq_n_f32(0);
    for (int k = 0; k < K; k++, a++, b += ldb) {
        float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4);
        UNROLL for (int i = 0; i < 8; i++) {
            acc[i][0] = vfmaq_n_f32(acc[i][0], b0, a[i*LDA]);
            acc[i][1] = vfmaq_n_f32(acc[i][1], b1, a[i*LDA]);
        }
    }
    UNROLL for (int i = 0; i < 16; i++) vst1q_f32(to + (size_t)(i/2)*ld + 4*(i%2), acc[i/2][i%2]);
    if (!inside) for (int i = 0; i < height; i++) memcpy(c + (size_t)i*ldc, edge + 8*i, (size_t)width * sizeof *c);
}
#endif

static void tile_scalar(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb, int K,
                        int height, int width) {
    for (int i = 0; i < height; i++)
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
static void transpose_scalar(real *out, size_t ldo, const real *x, size_t ldx) {                 // 4 x 4
    for (int r = 0; r < 4; r++)
        for (int k = 0; k < 4; k++) out[(size_t)k*ldo + r] = x[(size_t)r*ldx + k];
}

// One line per instruction set, fastest first.
static const struct Tile {
    const char *name;
    Isa isa;
    int MR, NR;
    void (*run)(real *c, size_t ldc, int add, const real *a, const real *b, size_t ldb, int K, int height, int width);
    int direct;                                                       // reads no b beyond width: b need not be packed
    int square;                                                       // rows and columns that transpose takes
    void (*transpose)(real *out, size_t ldo, const real *x, size_t ldx);
} tiles[] = {
#ifdef X86
    {"avx512", ISA_AVX512, 14, 32, tile_avx512, 1, 16, transpose_avx512},
    {"avx2",   ISA_AVX2,    6, 16, tile_avx2,   0,  8, transpose_avx2},
#endif
#ifdef NEON
    {"neon",   ISA_NEON,    8,  8, tile_neon,   0,  4, transpose_scalar},
#endif
    {"scalar", ISA_SCALAR,  4,  8, tile_scalar, 1,  4, transpose_scalar},
};
enum { NUM_TILES = sizeof tiles / sizeof *tiles, MAX_MR = 14, MAX_NR = 32 };
static const struct Tile *tile = &tiles[NUM_TILES - 1];

static int isa_supported(Isa wanted) {
#ifdef X86
    __builtin_cpu_init();
    if (wanted == ISA_AVX512) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
                                  && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (wanted == ISA_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    (void)wanted;
    return 1;
}

// Chooses the fastest instruction set this machine has, or the one asked for by name. 0, or -1 after fail().
int matmul_init(const char *name) {
    for (int i = 0; i < NUM_TILES; i++) {
        if (name && strcmp(name, tiles[i].name)) continue;
        if (!isa_supported(tiles[i].isa)) {
            if (!name) continue;
            return fail(EX_USAGE, "MORE_ISA=%s: this machine does not have it", name);
        }
        tile = &tiles[i];
        isa = tile->isa;
        return 0;
    }
    return fail(EX_USAGE, "MORE_ISA=%s: unknown here; leave it unset or say scalar", name);
}

static int thread_count(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}
static int thread_index(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

// ---- packing and blocking

enum { PACK_A = (MC + MAX_MR) * LDA, PACK_B = (NC + MAX_NR) * KC, WORK_PER_THREAD = PACK_A + PACK_B };

// out[r LDA + k] = x[r rs + k ks]; rs or ks is 1
INLINE void pack_rows_body(const int hw, real *out, const real *x, size_t rs, size_t ks, int n, int K) {
    const int square = tile->square;
    int r = 0, k = 0;
    (void)hw;
    for (; ks == 1 && r < n; r++)
        for (k = 0; k < K; k++) out[(size_t)r*LDA + k] = x[(size_t)r*rs + k];
    for (; r + square <= n; r += square) {
        for (k = 0; k + square <= K; k += square) tile->transpose(out + (size_t)r*LDA + k, LDA, x + (size_t)k*ks + r, ks);
        for (; k < K; k++)
            for (int i = r; i < r + square; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
    }
    for (k = 0; k < K; k++)
        for (int i = r; i < n; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
}
VARIANTS(pack_rows, (real *out, const real *x, size_t rs, size_t ks, int n, int K), out, x, rs, ks, n, K)

// panels of R: out[p][k][r] = x[(p R + r) rs + k ks]; rs or ks is 1.  What lies beyond n is left as it is.
INLINE void pack_panels_of(const int R, real *out, const real *x, size_t rs, size_t ks, int n, int K) {
    const int square = tile->square, whole = rs == 1 ? n / R * R : 0;
    for (int k = 0; k < K && whole; k++)                              // rows of x, read in order
        for (int p = 0; p < whole; p += R)
            for (int i = 0; i < R; i++) out[(size_t)p*K + (size_t)k*R + i] = x[(size_t)k*ks + p + i];
    for (int p = whole; p < n; p += R) {
        real *panel = out + (size_t)p*K;
        const real *xp = x + (size_t)p*rs;
        int r1 = n - p < R ? n - p : R, r = 0;
        for (; ks == 1 && r + square <= r1; r += square) {
            int k = 0;
            for (; k + square <= K; k += square)
                tile->transpose(panel + (size_t)k*R + r, (size_t)R, xp + (size_t)r*rs + k, rs);
            for (; k < K; k++)
                for (int i = r; i < r + square; i++) panel[(size_t)k*R + i] = xp[(size_t)i*rs + k];
        }
        if (ks == 1) for (; r < r1; r++)
            for (int k = 0; k < K; k++) panel[(size_t)k*R + r] = xp[(size_t)r*rs + k];
        else for (int k = 0; k < K; k++)
            for (int i = 0; i < r1; i++) panel[(size_t)k*R + i] = xp[(size_t)k*ks + i];
    }
}
INLINE void pack_panels_body(const int hw, int R, real *out, const real *x, size_t rs, size_t ks, int n, int K) {
    (void)hw;
    switch (R) {
    case 8:  pack_panels_of(8, out, x, rs, ks, n, K); break;
    case 16: pack_panels_of(16, out, x, rs, ks, n, K); break;
    case 32: pack_panels_of(32, out, x, rs, ks, n, K); break;
    default: assert(0);
    }
}
VARIANTS(pack_panels, (int R, real *out, const real *x, size_t rs, size_t ks, int n, int K), R, out, x, rs, ks, n, K)

INLINE void add_bias_body(const int hw, real *c, size_t ldc, const real *bias, int M, int N) {
    (void)hw;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) c[(size_t)m*ldc + n] += bias[n];
}
VARIANTS(add_bias, (real *c, size_t ldc, const real *bias, int M, int N), c, ldc, bias, M, N)

/* One thread: c(M,N) = a(M,K) b(K,N), or += when add, then + bias(N) unless that is NULL; a[m,k] = a[m ars + k acs],
 * b[k,n] = b[k brs + n bcs], c[m,n] = c[m ldc + n]; work holds WORK_PER_THREAD numbers.                     */
void matmul_one(real *c, size_t ldc, const real *a, size_t ars, size_t acs, const real *b, size_t brs, size_t bcs,
                const real *bias, int M, int N, int K, int add, real *work) {
    const int MR = tile->MR, NR = tile->NR;
    real *packed_a = work, *packed_b = work + PACK_A;
    const int direct = tile->direct && bcs == 1 && M <= 4*MR;         // too few rows to pay for packing b
    const size_t ldb = direct ? brs : (size_t)NR;
    assert((ars == 1 || acs == 1) && (brs == 1 || bcs == 1));
    for (int n0 = 0; n0 < N; n0 += NC)
    for (int k0 = 0; k0 == 0 || k0 < K; k0 += KC) {                    // once for K = 0
        int n1 = N - n0 < NC ? N - n0 : NC, k1 = K - k0 < KC ? K - k0 : KC;
        const real *block = b + (size_t)n0*bcs + (size_t)k0*brs, *panels = direct ? block : packed_b;
        if (!direct) pack_panels(NR, packed_b, block, bcs, brs, n1, k1);
        for (int m0 = 0; m0 < M; m0 += MC) {
            int m1 = M - m0 < MC ? M - m0 : MC;
            real *out = c + (size_t)m0*ldc + n0;
            pack_rows(packed_a, a + (size_t)m0*ars + (size_t)k0*acs, ars, acs, m1, k1);
            for (int n = 0; n < n1; n += NR)
                for (int m = 0; m < m1; m += MR)
                    tile->run(out + (size_t)m*ldc + n, ldc, add || k0, packed_a + (size_t)m*LDA,
                              panels + (size_t)n * (size_t)(direct ? 1 : k1), ldb, k1,
                              m1 - m < MR ? m1 - m : MR, n1 - n < NR ? n1 - n : NR);
            if (bias && k0 + k1 == K) add_bias(out, ldc, bias + n0, m1, n1);
        }
    }
}

static real *matmul_work_memory;                                      // (threads, WORK_PER_THREAD)
static real *matmul_work(void) { return matmul_work_memory + (size_t)thread_index() * WORK_PER_THREAD; }

// The same with all threads: a grid of tm x tn blocks of c, chosen so that least is packed twice.
void matmul(real *c, size_t ldc, const real *a, size_t ars, size_t acs, const real *b, size_t brs, size_t bcs,
            const real *bias, int M, int N, int K, int add) {
    int threads = thread_count(), tm = 1, tn = 1;
    if (threads == 1 || (double)M*N*K < 1e5) {
        matmul_one(c, ldc, a, ars, acs, b, brs, bcs, bias, M, N, K, add, matmul_work_memory);
        return;
    }
    for (int i = 1; i <= threads; i++)
        if (threads % i == 0 && (i == 1 || (double)M/i + (double)N/(threads/i) < (double)M/tm + (double)N/tn))
            tm = i, tn = threads / i;
    const int MR = tile->MR, NR = tile->NR, row_tiles = (M + MR - 1) / MR, column_tiles = (N + NR - 1) / NR;
    PARALLEL_FOR
    for (int block = 0; block < tm * tn; block++) {
        int i = block / tn, j = block % tn;
        int m0 = (int)((long long)row_tiles * i / tm) * MR, m1 = (int)((long long)row_tiles * (i+1) / tm) * MR;
        int n0 = (int)((long long)column_tiles * j / tn) * NR, n1 = (int)((long long)column_tiles * (j+1) / tn) * NR;
        if (m1 > M) m1 = M;
        if (n1 > N) n1 = N;
        if (m0 < m1 && n0 < n1)
            matmul_one(c + (size_t)m0*ldc + n0, ldc, a + (size_t)m0*ars, ars, acs, b + (size_t)n0*bcs, brs, bcs,
                       bias ? bias + n0 : NULL, m1 - m0, n1 - n0, K, add, matmul_work());
    }
}
#endif

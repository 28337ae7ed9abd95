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

// ---- tiles: c(MR,NR) += a(K,MR)^T . b(K,NR), c with rows ldc apart

#ifdef X86
AVX512 static void tile_avx512(float *c, size_t ldc, const float *a, const float *b, int K) {
    __m512 acc[14][2];
    UNROLL for (int i = 0; i < 14; i++) {
        acc[i][0] = _mm512_loadu_ps(c + (size_t)i*ldc);
        acc[i][1] = _mm512_loadu_ps(c + (size_t)i*ldc + 16);
    }
    for (int k = 0; k < K; k++, a += 14, b += 32) {
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
        UNROLL for (int i = 0; i < 14; i++) {
            __m512 ai = _mm512_set1_ps(a[i]);
            acc[i][0] = _mm512_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < 14; i++) {
        _mm512_storeu_ps(c + (size_t)i*ldc, acc[i][0]);
        _mm512_storeu_ps(c + (size_t)i*ldc + 16, acc[i][1]);
    }
}

AVX2 static void tile_avx2(float *c, size_t ldc, const float *a, const float *b, int K) {
    __m256 acc[6][2];
    UNROLL for (int i = 0; i < 6; i++) {
        acc[i][0] = _mm256_loadu_ps(c + (size_t)i*ldc);
        acc[i][1] = _mm256_loadu_ps(c + (size_t)i*ldc + 8);
    }
    for (int k = 0; k < K; k++, a += 6, b += 16) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        UNROLL for (int i = 0; i < 6; i++) {
            __m256 ai = _mm256_broadcast_ss(a + i);
            acc[i][0] = _mm256_fmadd_ps(ai, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(ai, b1, acc[i][1]);
        }
    }
    UNROLL for (int i = 0; i < 6; i++) {
        _mm256_storeu_ps(c + (size_t)i*ldc, acc[i][0]);
        _mm256_storeu_ps(c + (size_t)i*ldc + 8, acc[i][1]);
    }
}
#endif

#ifdef NEON
static void tile_neon(float *c, size_t ldc, const float *a, const float *b, int K) {
    float32x4_t acc[8][2];
    UNROLL for (int i = 0; i < 16; i++) acc[i/2][i%2] = vld1q_f32(c + (size_t)(i/2)*ldc + 4*(i%2));
    for (int k = 0; k < K; k++, a += 8, b += 8) {
        float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4);
        UNROLL for (int i = 0; i < 8; i++) {
            acc[i][0] = vfmaq_n_f32(acc[i][0], b0, a[i]);
            acc[i][1] = vfmaq_n_f32(acc[i][1], b1, a[i]);
        }
    }
    UNROLL for (int i = 0; i < 16; i++) vst1q_f32(c + (size_t)(i/2)*ldc + 4*(i%2), acc[i/2][i%2]);
}
#endif

static void tile_scalar(real *c, size_t ldc, const real *a, const real *b, int K) {
    for (int k = 0; k < K; k++, a += 4, b += 8)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 8; j++)
#ifdef MORE_DOUBLE
                c[(size_t)i*ldc + j] += a[i] * b[j];
#else
                c[(size_t)i*ldc + j] = more_fmaf(a[i], b[j], c[(size_t)i*ldc + j]);
#endif
}

// One line per instruction set, fastest first.
static const struct Tile {
    const char *name;
    Isa isa;
    int MR, NR;
    void (*run)(real *c, size_t ldc, const real *a, const real *b, int K);
} tiles[] = {
#ifdef X86
    {"avx512", ISA_AVX512, 14, 32, tile_avx512},
    {"avx2",   ISA_AVX2,    6, 16, tile_avx2},
#endif
#ifdef NEON
    {"neon",   ISA_NEON,    8,  8, tile_neon},
#endif
    {"scalar", ISA_SCALAR,  4,  8, tile_scalar},
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

enum { KC = 256, MC = 14*16, NC = 1024 };                             // block sizes: a in L2, a panel of b in L1
enum { PACK_A = (MC + MAX_MR) * KC, PACK_B = (NC + MAX_NR) * KC, WORK_PER_THREAD = PACK_A + PACK_B };

// panels of R columns-of-the-panel: out[p][k][r] = x[(p R + r) rs + k ks], zeros beyond n
INLINE void pack_panels(const int R, real *out, const real *x, size_t rs, size_t ks, int n, int K) {
    for (int p = 0; p < n; p += R, out += (size_t)R*K) {
        const real *xp = x + (size_t)p*rs;
        int r1 = n - p < R ? n - p : R;
        if (r1 < R) {
            for (int k = 0; k < K; k++)
                for (int r = 0; r < R; r++) out[(size_t)k*R + r] = r < r1 ? xp[(size_t)r*rs + (size_t)k*ks] : 0;
        } else if (rs == 1) {
            for (int k = 0; k < K; k++)
                for (int r = 0; r < R; r++) out[(size_t)k*R + r] = xp[(size_t)k*ks + r];
        } else {
            for (int r = 0; r < R; r++)
                for (int k = 0; k < K; k++) out[(size_t)k*R + r] = xp[(size_t)r*rs + (size_t)k*ks];
        }
    }
}
static void pack(int R, real *out, const real *x, size_t rs, size_t ks, int n, int K) {
    switch (R) {
    case 4:  pack_panels(4, out, x, rs, ks, n, K); break;
    case 6:  pack_panels(6, out, x, rs, ks, n, K); break;
    case 8:  pack_panels(8, out, x, rs, ks, n, K); break;
    case 14: pack_panels(14, out, x, rs, ks, n, K); break;
    case 16: pack_panels(16, out, x, rs, ks, n, K); break;
    case 32: pack_panels(32, out, x, rs, ks, n, K); break;
    default: assert(0);
    }
}

/* One thread: c(M,N) = a(M,K) b(K,N), or += when add; a[m,k] = a[m ars + k acs], b[k,n] = b[k brs + n bcs],
 * c[m,n] = c[m ldc + n]; work holds WORK_PER_THREAD numbers.                                              */
void matmul_one(real *c, size_t ldc, const real *a, size_t ars, size_t acs, const real *b, size_t brs, size_t bcs,
                int M, int N, int K, int add, real *work) {
    const int MR = tile->MR, NR = tile->NR;
    real *packed_a = work, *packed_b = work + PACK_A, edge[MAX_MR * MAX_NR] = {0};
    if (!add) for (int m = 0; m < M; m++) memset(c + (size_t)m*ldc, 0, (size_t)N * sizeof *c);
    for (int n0 = 0; n0 < N; n0 += NC)
    for (int k0 = 0; k0 < K; k0 += KC) {
        int n1 = N - n0 < NC ? N - n0 : NC, k1 = K - k0 < KC ? K - k0 : KC;
        pack(NR, packed_b, b + (size_t)n0*bcs + (size_t)k0*brs, bcs, brs, n1, k1);
        for (int m0 = 0; m0 < M; m0 += MC) {
            int m1 = M - m0 < MC ? M - m0 : MC;
            pack(MR, packed_a, a + (size_t)m0*ars + (size_t)k0*acs, ars, acs, m1, k1);
            for (int n = 0; n < n1; n += NR)
            for (int m = 0; m < m1; m += MR) {
                real *out = c + (size_t)(m0 + m)*ldc + n0 + n;
                int rows = m1 - m < MR ? m1 - m : MR, columns = n1 - n < NR ? n1 - n : NR;
                const real *pa = packed_a + (size_t)m*k1, *pb = packed_b + (size_t)n*k1;
                if (rows == MR && columns == NR) {
                    tile->run(out, ldc, pa, pb, k1);
                } else {                                              // the tile reads and writes beyond the edge
                    for (int i = 0; i < rows; i++)
                        memcpy(edge + i*NR, out + (size_t)i*ldc, (size_t)columns * sizeof *c);
                    tile->run(edge, (size_t)NR, pa, pb, k1);
                    for (int i = 0; i < rows; i++)
                        memcpy(out + (size_t)i*ldc, edge + i*NR, (size_t)columns * sizeof *c);
                }
            }
        }
    }
}

static real *matmul_work_memory;                                      // (threads, WORK_PER_THREAD)
static real *matmul_work(void) { return matmul_work_memory + (size_t)thread_index() * WORK_PER_THREAD; }

// The same with all threads: a grid of tm x tn blocks of c, chosen so that least is packed twice.
void matmul(real *c, size_t ldc, const real *a, size_t ars, size_t acs, const real *b, size_t brs, size_t bcs,
            int M, int N, int K, int add) {
    int threads = thread_count(), tm = 1, tn = 1;
    if ((double)M*N*K > 1e5)
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
                       m1 - m0, n1 - n0, K, add, matmul_work());
    }
}
#endif

/* tensor_cores.cu - the matrix product of --precision bf16-fast, by a GPU's tensor cores.  How one
 * of their instructions adds 16 products nobody has written down, so its numbers are outside the
 * contract of NUMERICS.md.  The rest is as in bf16: an output is one chain of these instructions, k
 * ascending, in blocks of 32 places; k is never shared out, and there are no atomics.  So on one
 * model of GPU the numbers are always the same, with any --micro_batch_tokens.
 *
 * mma.sync.m16n8k16 is done by the 32 threads of a warp together: c(16,8) += a(16,16) b(8,16)', in
 * float.  A register holds two bf16, the lower place in its lower half.  With g = lane / 4 and t =
 * lane % 4 a thread has (PTX ISA, Matrix Fragments for mma.m16n8k16):
 *
 *     a[0], a[1]   row g, row 8 + g;   places 2t, 2t + 1
 *     a[2], a[3]   row g, row 8 + g;   places 8 + 2t, 9 + 2t
 *     b[0], b[1]   row g of b;         places 2t, 2t + 1; 8 + 2t, 9 + 2t
 *     c[0], c[1]   row g;              columns 2t, 2t + 1
 *     c[2], c[3]   row 8 + g;          columns 2t, 2t + 1
 *
 * ldmatrix.x4 brings four matrices of 8 lines of 8 bf16 from shared memory: lanes 8 i .. 8 i + 7
 * point to the lines of matrix i, and r[i] of a thread is line g, numbers 2t and 2t + 1, or with
 * .trans number g of lines 2t and 2t + 1. */
#ifndef TENSOR_CORES_CU
#define TENSOR_CORES_CU
#include "matmul.cu"

// test/cuda_on_cpu.h has these four for a CPU.
#ifdef __CUDACC__
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 10 * 10 * 8
#define PTX(...) asm volatile(__VA_ARGS__)
#else
#define PTX(...) __trap()                         // kernels_precision refuses such a GPU
#endif
__device__ static void mma(float c[4], const unsigned a[4], const unsigned b[2]) {
    PTX("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ static void ldmatrix(unsigned r[4], const uint16_t *line) {
    PTX("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
        : "r"((unsigned)__cvta_generic_to_shared(line)) : "memory");
}
__device__ static void ldmatrix_trans(unsigned r[4], const uint16_t *line) {
    PTX("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
        : "r"((unsigned)__cvta_generic_to_shared(line)) : "memory");
}
// two numbers to the nearest bf16, ties to even
__device__ static unsigned two_bf16(float lower, float upper) {
    unsigned two = 0;
    PTX("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(upper), "f"(lower));
    return two;
}
#endif

// ------------------------------------------------------------------------------- operands

/* One side of a product, its rows i and places k rounded to bf16.  It lies as its numbers do: lines
 * are rows, or if `down` places, each `pitch` long, a multiple of 8 with zeros at its end. */
struct Rounded {
    uint16_t *at;
    size_t pitch;
    int lines, down;
};

static Rounded rounded_shape(const Side &x, int rows, int K) {
    const int down = x.row == 1;
    return {NULL, (size_t)round_up(down ? rows : K, 8), down ? K : rows, down};
}
static size_t rounded_size(const Rounded &x) { return x.lines * x.pitch * sizeof *x.at; }

// A block has a line of `to`, a thread every THREADS-th two numbers; lines of `from` are ld apart.
__global__ static void round_kernel(unsigned *to, const real *from, size_t pitch, size_t ld,
                                    size_t numbers) {
    const real *x = from + blockIdx.x * ld;
    for (size_t i = 2 * threadIdx.x; i < pitch; i += 2 * THREADS) {
        to[(blockIdx.x * pitch + i) / 2] = two_bf16(i < numbers ? x[i] : 0,
                                                    i + 1 < numbers ? x[i + 1] : 0);
    }
}
static void round_side(const Rounded &to, const Side &x, int rows, int K) {
    LAUNCH(round_kernel, to.lines, THREADS, (unsigned *)to.at, x.at, to.pitch,
           to.down ? x.step : x.row, (size_t)(to.down ? rows : K));
}
// the side rounded, in a scratch of its own
static Rounded rounded(const Side &x, int rows, int K, int which) {
    Rounded to = rounded_shape(x, rows, K);
    to.at = (uint16_t *)scratch(which, rounded_size(to));
    round_side(to, x, rows, K);
    return to;
}

// ------------------------------------------------------------------------------- the kernel

/* A block of threads has BM x BN outputs, each of its warps WM x WN of them: warps lie side by
 * side along n, then along m. */
template <int ROWS_, int COLUMNS_, int WARP_ROWS, int WARP_COLUMNS> struct WarpTile {
    enum { BM = ROWS_, BN = COLUMNS_, WM = WARP_ROWS, WN = WARP_COLUMNS, ACROSS = BN / WN,
           SIZE = BM / WM * ACROSS * 32,          // threads of a block
           BK = 32 };                             // places of a slice
};
typedef WarpTile<128, 128, 64, 32> LargeFast;
typedef WarpTile<64, 64, 32, 32>   SmallFast;

/* A slice of B rows and BK places in shared memory, in lines as they lie in the operand, with 8
 * more numbers to each: so the 8 lines of a matrix lie in different banks.  It is fetched in chunks
 * of 8 numbers, COUNT a thread. */
template <int B, int BK, int SIZE, int DOWN> struct FastSlice {
    enum { LINES = DOWN ? BK : B, CHUNKS = (DOWN ? B : BK) / 8, PITCH = 8 * CHUNKS + 8,
           COUNT = LINES * CHUNKS / SIZE };

    // of rows from i0 and places k0 .. k1-1; zero beyond
    __device__ static void fetch(uint4 *to, const Rounded &x, int i0, int k0, int k1) {
        const int first = DOWN ? k0 : i0, end = DOWN ? k1 : x.lines;
        const size_t left = DOWN ? i0 : k0;
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            const int n = threadIdx.x + e*SIZE, line = first + n / CHUNKS;
            const size_t at = left + n % CHUNKS * 8;
            const int inside = line < end && at < x.pitch;
            to[e] = inside ? *(const uint4 *)(x.at + line*x.pitch + at) : uint4{0, 0, 0, 0};
        }
    }
    __device__ static void put(uint16_t *shared, const uint4 *from) {
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            const int n = threadIdx.x + e*SIZE;
            *(uint4 *)(shared + n / CHUNKS * PITCH + n % CHUNKS * 8) = from[e];
        }
    }
    // rows i .. i+15 and places k .. k+15, as a[4] of mma; as b they are rows i .. in r[0], r[2]
    // and rows i+8 .. in r[1], r[3]
    __device__ static void take(unsigned r[4], const uint16_t *shared, int i, int k) {
        const int lane = threadIdx.x % 32;
        if (DOWN) {
            const int line = k + lane % 8 + lane / 16 * 8, at = i + lane / 8 % 2 * 8;
            ldmatrix_trans(r, shared + line*PITCH + at);
        } else {
            ldmatrix(r, shared + (i + lane % 16)*PITCH + k + lane / 16 * 8);
        }
    }
};

// The places of a block of at most 32: start[i] .. start[i+1]-1, or 32 each where start is NULL
struct Places { int first, end; };
__device__ static Places places_of(const int *start, int i, int K) {
    if (start) return {start[i] - start[0], start[i+1] - start[0]};
    return {32*i, min_int(32*i + 32, K)};
}

// The row m and column n of c that is output e of four of a thread's tile (i, j), 16 x 8
struct OutputAt { int m, n; };
template <class T> __device__ static OutputAt output_of(int i, int j, int e) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m0 = blockIdx.y * T::BM + warp / T::ACROSS * T::WM;
    const int n0 = blockIdx.x * T::BN + warp % T::ACROSS * T::WN;
    return {m0 + i*16 + lane / 4 + e / 2 * 8, n0 + j*8 + lane % 4 * 2 + e % 2};
}

// p, of whose sides only the rounded ones are read
template <class T, int A_DOWN, int B_DOWN>
__global__ static void __launch_bounds__(T::SIZE, 512 / T::SIZE)
product_fast_kernel(Product p, Rounded a, Rounded b, const int *start, int blocks) {
    typedef FastSlice<T::BM, T::BK, T::SIZE, A_DOWN> A;
    typedef FastSlice<T::BN, T::BK, T::SIZE, B_DOWN> B;
    enum { TILES_M = T::WM / 16, TILES_N = T::WN / 8 };
    __shared__ __align__(16) uint16_t as[2][A::LINES * A::PITCH], bs[2][B::LINES * B::PITCH];
    const int warp = threadIdx.x / 32, i0 = blockIdx.y * T::BM, j0 = blockIdx.x * T::BN;
    const int wm = warp / T::ACROSS * T::WM, wn = warp % T::ACROSS * T::WN;
    float c[TILES_M][TILES_N][4];
    uint4 next_a[A::COUNT], next_b[B::COUNT];

#pragma unroll
    for (int e = 0; e < TILES_M * TILES_N * 4; e++) {
        const int i = e / (TILES_N * 4), j = e / 4 % TILES_N;
        const OutputAt at = output_of<T>(i, j, e % 4);
        const int held = p.add && at.m < p.M && at.n < p.N;
        c[i][j][e % 4] = held ? p.c[(size_t)at.m*p.N + at.n] : 0;
    }
    Places next = {0, 0};
    if (blocks > 0) next = places_of(start, 0, p.K);
    A::fetch(next_a, a, i0, next.first, next.end);
    B::fetch(next_b, b, j0, next.first, next.end);
    for (int block = 0; block < blocks; block++) {
        const int depth = next.end - next.first;
        uint16_t *const a_now = as[block % 2], *const b_now = bs[block % 2];
        A::put(a_now, next_a);
        B::put(b_now, next_b);
        __syncthreads();                          // the slice is there; the one before it was read
        if (block + 1 < blocks) {
            next = places_of(start, block + 1, p.K);
            A::fetch(next_a, a, i0, next.first, next.end);
            B::fetch(next_b, b, j0, next.first, next.end);
        }
#pragma unroll
        for (int k = 0; k < T::BK; k += 16) {
            if (k >= depth) break;                // all threads do
            unsigned ak[TILES_M][4], bk[T::WN / 16][4];
#pragma unroll
            for (int i = 0; i < TILES_M; i++) A::take(ak[i], a_now, wm + i*16, k);
#pragma unroll
            for (int j = 0; j < T::WN / 16; j++) B::take(bk[j], b_now, wn + j*16, k);
#pragma unroll
            for (int i = 0; i < TILES_M; i++) {
#pragma unroll
                for (int j = 0; j < TILES_N; j++) {
                    const unsigned two[] = {bk[j / 2][j % 2], bk[j / 2][2 + j % 2]};
                    mma(c[i][j], ak[i], two);
                }
            }
        }
    }
#pragma unroll
    for (int e = 0; e < TILES_M * TILES_N * 4; e++) {
        const int i = e / (TILES_N * 4), j = e / 4 % TILES_N;
        const OutputAt at = output_of<T>(i, j, e % 4);
        if (at.m >= p.M || at.n >= p.N) continue;
        const real sum = c[i][j][e % 4];
        p.c[(size_t)at.m*p.N + at.n] = p.bias ? sum + p.bias[at.n] : sum;
    }
}

template <class T> static void start_fast(const Product &p, const Rounded &a, const Rounded &b,
                                          const Blocks &x) {
    const dim3 grid = product_grid<T>(p);
    if (!b.down) {
        LAUNCH((product_fast_kernel<T, 0, 0>), grid, T::SIZE, p, a, b, x.start, x.count);
    } else if (!a.down) {
        LAUNCH((product_fast_kernel<T, 0, 1>), grid, T::SIZE, p, a, b, x.start, x.count);
    } else {
        LAUNCH((product_fast_kernel<T, 1, 1>), grid, T::SIZE, p, a, b, x.start, x.count);
    }
}
// of b rounded, by tensor cores
static void product_fast(const Product &p, const Rounded &b, const RowBlocks *blocks) {
    const Rounded a = rounded(p.a, p.M, p.K, SCRATCH_A);
    const Blocks x = upload_blocks(blocks, p.K);
    if (product_fills<LargeFast>(p)) start_fast<LargeFast>(p, a, b, x);
    else                             start_fast<SmallFast>(p, a, b, x);
}
#endif

/* matmul.cu - the matrix product on a GPU.  A block of threads has a tile of outputs, each thread
 * some of them in registers; slice by slice along k both operands go through shared memory.  Every
 * output is one chain, k ascending, as in matmul.c: threads divide the outputs, never k. */
#ifndef MATMUL_CU
#define MATMUL_CU
#include "machine.cu"

// One side of a product: the number of row i and place k is at[i*row + k*step]; row or step is 1.
struct Side {
    const real *at;
    size_t row, step;
};

// c(M,N) = a(M,K) b(N,K)', or += when add, then + bias(N) unless that is NULL; rows of c are N long
struct Product {
    real *c;
    Side a, b;
    int M, N, K, add;
    const real *bias;
};

/* A block of threads has BM x BN outputs, each thread TM x TN of them in registers, four by four:
 *
 *     rows of a thread        4 y .. 4 y + 3,  BM/2 + 4 y ..       of y = 0 .. BM/TM - 1
 *
 * and columns likewise.  Along k it goes slice by slice: BK places of BM rows of a and BN of b are
 * fetched into registers while the slice before, in shared memory, is multiplied. */
template <int ROWS_, int COLUMNS_, int THREAD_ROWS, int THREAD_COLUMNS> struct Tile {
    enum { BM = ROWS_, BN = COLUMNS_, TM = THREAD_ROWS, TN = THREAD_COLUMNS,
           SIZE = (BM / TM) * (BN / TN),          // threads of a block
           TOGETHER = 512 / SIZE };               // blocks of a multiprocessor: 128 registers each
};
typedef Tile<128, 128, 8, 8> Large;
typedef Tile<64, 64, 8, 4>   Medium;
typedef Tile<32, 32, 4, 4>   Small;
typedef Tile<64, 64, 4, 4>   MediumBf16;          // its outputs have two more sums each

// the row, or column, in the block's tile of output i of thread y, of n outputs a thread, of B
__device__ static int output_at(int i, int y, int n, int B) {
    return i / 4 * (B / (n / 4)) + 4*y + i % 4;
}

/* How a thread fetches its COUNT numbers of each slice of B rows and BK places: its first is row i,
 * place k, the next ones di rows and dk places on.  Numbers that lie side by side in memory go to
 * neighbouring threads. */
template <int B, int BK, int SIZE> struct Slice {
    enum { COUNT = B * BK / SIZE, PITCH = B + 4 };
    const real *first;                            // the number in slice 0
    size_t step, stride;                          // to the next place; to the thread's next number
    int i, k, di, dk, rows;

    // rows i0 .. of n of the side x
    __device__ Slice(const Side &x, int i0, int n) {
        const int along = x.step == 1;            // places lie side by side
        i = along ? threadIdx.x / BK : threadIdx.x % B;
        k = along ? threadIdx.x % BK : threadIdx.x / B;
        di = along ? SIZE / BK : 0;
        dk = along ? 0 : SIZE / B;
        rows = n - i0;
        step = x.step;
        stride = di*x.row + dk*x.step;
        first = x.at + (i0 + i)*x.row + k*x.step;
    }
    // of places k0 .. k1-1; zero beyond
    __device__ void fetch(real *to, int k0, int k1) const {
        const real *at = first + k0*step;
#pragma unroll
        for (int e = 0; e < COUNT; e++) {
            to[e] = i + e*di < rows && k0 + k + e*dk < k1 ? at[e*stride] : 0;
        }
    }
    __device__ void put(real (*shared)[PITCH], const real *from) const {
#pragma unroll
        for (int e = 0; e < COUNT; e++) shared[k + e*dk][i + e*di] = from[e];
    }
};

// out(n) = of a row of a slice, which lies in shared memory, the thread's n, four by four
template <int n, int B> __device__ static void take(real *out, const real *row, int y) {
#pragma unroll
    for (int i = 0; i < n; i += 4) {
        const float4 four = *(const float4 *)(row + output_at(i, y, n, B));
        out[i] = four.x;
        out[i+1] = four.y;
        out[i+2] = four.z;
        out[i+3] = four.w;
    }
}

// c = what it held, or zero; and back, with the bias
template <class T> __device__ static void load_outputs(real (*c)[T::TN], const Product &p, int y,
                                                       int x) {
#pragma unroll
    for (int i = 0; i < T::TM; i++) {
#pragma unroll
        for (int j = 0; j < T::TN; j++) {
            const int m = blockIdx.y * T::BM + output_at(i, y, T::TM, T::BM);
            const int n = blockIdx.x * T::BN + output_at(j, x, T::TN, T::BN);
            c[i][j] = p.add && m < p.M && n < p.N ? p.c[(size_t)m*p.N + n] : 0;
        }
    }
}
template <class T> __device__ static void store_outputs(const real (*c)[T::TN], const Product &p,
                                                        int y, int x) {
#pragma unroll
    for (int i = 0; i < T::TM; i++) {
#pragma unroll
        for (int j = 0; j < T::TN; j++) {
            const int m = blockIdx.y * T::BM + output_at(i, y, T::TM, T::BM);
            const int n = blockIdx.x * T::BN + output_at(j, x, T::TN, T::BN);
            if (m >= p.M || n >= p.N) continue;
            p.c[(size_t)m*p.N + n] = p.bias ? c[i][j] + p.bias[n] : c[i][j];
        }
    }
}

// c = fma(a[k], b[k], c) for the slice's k < depth, ascending
template <class T, int A, int B> __device__ static __forceinline__ void
multiply_slice(real (*c)[T::TN], const real (*a)[A], const real (*b)[B], int y, int x, int depth) {
#pragma unroll
    for (int k = 0; k < depth; k++) {
        real ak[T::TM], bk[T::TN];
        take<T::TM, T::BM>(ak, a[k], y);
        take<T::TN, T::BN>(bk, b[k], x);
#pragma unroll
        for (int i = 0; i < T::TM; i++) {
#pragma unroll
            for (int j = 0; j < T::TN; j++) c[i][j] = fmaf(ak[i], bk[j], c[i][j]);
        }
    }
}

/* fp32: each output is one chain c = fma(a[k], b[k], c), k ascending.  A thread whose outputs all
 * lie beyond c fetches with the others, and multiplies nothing. */
template <class T> __global__ static void __launch_bounds__(T::SIZE, T::TOGETHER)
product_kernel(Product p) {
    enum { BK = 8 };
    typedef Slice<T::BM, BK, T::SIZE> A;
    typedef Slice<T::BN, BK, T::SIZE> B;
    __shared__ __align__(16) real a[2][BK][A::PITCH], b[2][BK][B::PITCH];
    const int y = threadIdx.x / (T::BN / T::TN), x = threadIdx.x % (T::BN / T::TN);
    const int m0 = blockIdx.y * T::BM, n0 = blockIdx.x * T::BN;
    const int used = m0 + 4*y < p.M && n0 + 4*x < p.N;
    const A side_a(p.a, m0, p.M);
    const B side_b(p.b, n0, p.N);
    real c[T::TM][T::TN], next_a[A::COUNT], next_b[B::COUNT];

    load_outputs<T>(c, p, y, x);
    side_a.fetch(next_a, 0, p.K);
    side_b.fetch(next_b, 0, p.K);
    for (int k0 = 0, now = 0; k0 < p.K; k0 += BK, now ^= 1) {
        side_a.put(a[now], next_a);
        side_b.put(b[now], next_b);
        __syncthreads();                          // the slice is there; the one before it was read
        if (k0 + BK < p.K) {
            side_a.fetch(next_a, k0 + BK, p.K);
            side_b.fetch(next_b, k0 + BK, p.K);
        }
        const int depth = used ? min_int(BK, p.K - k0) : 0;
        if (depth == BK) multiply_slice<T>(c, a[now], b[now], y, x, BK);        // unrolled
        else             multiply_slice<T>(c, a[now], b[now], y, x, depth);
    }
    store_outputs<T>(c, p, y, x);
}

__device__ static void round_all(real *x, int n) {
#pragma unroll
    for (int e = 0; e < n; e++) x[e] = float_of(round_bf16(x[e]) & 0xffff0000u);
}

/* Operands rounded to bf16: along k go blocks of at most 32 places, start[i] .. start[i+1]-1, or 32
 * each where start is NULL.  In a block one chain goes over even places and one over odd ones, both
 * from +0; then c = c + (even + odd). */
template <class T> __global__ static void __launch_bounds__(T::SIZE, T::TOGETHER)
product_bf16_kernel(Product p, const int *start, int blocks) {
    enum { BK = 32 };
    typedef Slice<T::BM, BK, T::SIZE> A;
    typedef Slice<T::BN, BK, T::SIZE> B;
    __shared__ __align__(16) real a[BK][A::PITCH], b[BK][B::PITCH];
    const int y = threadIdx.x / (T::BN / T::TN), x = threadIdx.x % (T::BN / T::TN);
    const int m0 = blockIdx.y * T::BM, n0 = blockIdx.x * T::BN;
    const int used = m0 + 4*y < p.M && n0 + 4*x < p.N;
    const A side_a(p.a, m0, p.M);
    const B side_b(p.b, n0, p.N);
    real c[T::TM][T::TN], next_a[A::COUNT], next_b[B::COUNT];

    load_outputs<T>(c, p, y, x);
    for (int i = 0; i < blocks; i++) {
        const int k0 = start ? start[i] - start[0] : i*BK;
        const int k1 = start ? start[i+1] - start[0] : min_int(k0 + BK, p.K);
        side_a.fetch(next_a, k0, k1);
        side_b.fetch(next_b, k0, k1);
        round_all(next_a, A::COUNT);
        round_all(next_b, B::COUNT);
        __syncthreads();                          // the slice before has been read
        side_a.put(a, next_a);
        side_b.put(b, next_b);
        __syncthreads();
        if (!used) continue;

        real sum[2][T::TM][T::TN] = {};
#pragma unroll 2
        for (int k = 0; k < BK; k += 2) {
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
                real ak[T::TM], bk[T::TN];
                take<T::TM, T::BM>(ak, a[k + odd], y);
                take<T::TN, T::BN>(bk, b[k + odd], x);
#pragma unroll
                for (int j = 0; j < T::TM * T::TN; j++) {
                    real *s = &sum[odd][j / T::TN][j % T::TN];
                    *s = fmaf(ak[j / T::TN], bk[j % T::TN], *s);
                }
            }
        }
#pragma unroll
        for (int j = 0; j < T::TM * T::TN; j++) {
            real *to = &c[j / T::TN][j % T::TN];
            *to = *to + (sum[0][j / T::TN][j % T::TN] + sum[1][j / T::TN][j % T::TN]);
        }
    }
    store_outputs<T>(c, p, y, x);
}

template <class T> static dim3 product_grid(const Product &p) {
    return dim3(blocks_of(p.N, T::BN), blocks_of(p.M, T::BM));
}
// Does it keep all multiprocessors busy?
template <class T> static int product_fills(const Product &p) {
    const dim3 grid = product_grid<T>(p);
    return (double)grid.x * grid.y >= gpu.multiprocessors;
}

// Blocks of places, as product_bf16_kernel takes them: `count`, and where they start or NULL
struct Blocks {
    const int *start;
    int count;
};
static Blocks upload_blocks(const RowBlocks *blocks, int K) {
    if (!blocks) return {NULL, (K + 31) / 32};
    upload_begin((size_t)(blocks->count + 1) * sizeof *blocks->start);
    const int *start = upload(blocks->start, blocks->count + 1);
    upload_end();
    return {start, blocks->count};
}

static void product_in_order(const Product &p, const RowBlocks *blocks) {
    if (gpu.precision == PRECISION_FP32) {
        if (product_fills<Large>(p)) {
            LAUNCH(product_kernel<Large>, product_grid<Large>(p), Large::SIZE, p);
        } else if (product_fills<Medium>(p)) {
            LAUNCH(product_kernel<Medium>, product_grid<Medium>(p), Medium::SIZE, p);
        } else {
            LAUNCH(product_kernel<Small>, product_grid<Small>(p), Small::SIZE, p);
        }
        return;
    }
    const Blocks x = upload_blocks(blocks, p.K);
    if (product_fills<MediumBf16>(p)) {
        LAUNCH(product_bf16_kernel<MediumBf16>, product_grid<MediumBf16>(p), MediumBf16::SIZE, p,
               x.start, x.count);
    } else {
        LAUNCH(product_bf16_kernel<Small>, product_grid<Small>(p), Small::SIZE, p, x.start,
               x.count);
    }
}

#endif

/* kernels.cu - the layers on a GPU: all of kernels.h in CUDA, with the bits of kernels.c.  `make
 * cuda` links it in the place of kernels.c.
 *
 *     kernels.cu      sums of tensors; embeddings; norms; linear layers; rotary embedding;
 *                     activations; reward head; log-probabilities; update; bursts
 *     attention.cu    attention          matmul.cu         the matrix product
 *     rows.cu         sums along a row   tensor_cores.cu   the same of --precision bf16-fast
 *     machine.cu      the GPU, its       narrow.cu         weights in the formats of files
 *                     memory and errors
 *
 * kernels.h says what each function takes; kernels.c and attention.c have the formulas' sources;
 * here stands how threads share them out.  Four things to know:
 *
 * 1. The bits are the CPU's because the order of every sum is (NUMERICS.md).  An output of a
 *    product is one chain of fused multiply-adds along k, in one thread's register.  A sum along a
 *    row has 16 lanes: 16 threads, which then fold.  A sum down a column is one thread's, row after
 *    row.  There are no atomics.
 * 2. The compiler may not fuse (-fmad=false).  Where the contract has fma, fmaf is written.  exp,
 *    erf, tanh and log are those of common.h, activations and AdamW those of pointwise.h, compiled
 *    for both machines.
 * 3. All is asked for in one stream and done in order.  The program waits for the GPU where it
 *    reads numbers back: one for each text or scored token of a micro-batch, sums for a step's
 *    norm.
 * 4. An error of the GPU ends the program with a sentence; training goes on from its last state.
 *
 * A kernel's name ends in _kernel; the function that starts it follows it.  test/cuda_on_cpu.h runs
 * these files on a CPU. */
#ifndef KERNELS_CU
#define KERNELS_CU
#include "attention.cu"
#include "narrow.cu"
#include "rows.cu"
#include "tensor_cores.cu"

// --------------------------------------------------------------------------- sums of tensors

__global__ static void add_kernel(real *out, const real *a, const real *b, size_t n) {
    const size_t i = my_number();
    if (i < n) out[i] = a[i] + b[i];
}
void add_forward(real *out, const real *a, const real *b, size_t n) {
    LAUNCH_EACH(add_kernel, n, out, a, b);
}

__global__ static void add3_kernel(real *out, const real *a, const real *b, const real *c,
                                   size_t n) {
    const size_t i = my_number();
    if (i < n) out[i] = (a[i] + b[i]) + c[i];
}
void add3_forward(real *out, const real *a, const real *b, const real *c, size_t n) {
    LAUNCH_EACH(add3_kernel, n, out, a, b, c);
}

__global__ static void scaled_add_kernel(real *out, int out_stride, const real *inp, int inp_stride,
                                         real scale, int C, size_t n) {
    const size_t i = my_number(), t = i / C, c = i % C;
    if (i >= n) return;
    real *to = out + t*out_stride + c;
    *to = fmaf(scale, inp[t*inp_stride + c], *to);
}
void scaled_add(real *out, int out_stride, const real *inp, int inp_stride, real scale, int T,
                int C) {
    LAUNCH_EACH(scaled_add_kernel, (size_t)T*C, out, out_stride, inp, inp_stride, scale, C);
}

// -------------------------------------------------------------------------------- embeddings

// out_t = wte[token_t] + wpe[position_t];  out(T,C), wte(V,C), wpe(P,C) or NULL
__global__ static void embed_kernel(real *out, const int *token, const int *position,
                                    const real *wte, const real *wpe, int C, size_t n) {
    const size_t i = my_number(), t = i / C, c = i % C;
    if (i >= n) return;
    const real e = wte[(size_t)token[t]*C + c];
    out[i] = wpe ? e + wpe[(size_t)position[t]*C + c] : e;
}
void embed_forward(real *out, const int *token, const int *position, const real *wte,
                   const real *wpe, int T, int C) {
    upload_begin(2 * (size_t)T * sizeof(int));
    const int *t = upload(token, T), *p = wpe ? upload(position, T) : NULL;
    upload_end();
    LAUNCH_EACH(embed_kernel, (size_t)T*C, out, t, p, wte, wpe, C);
}
void embed_narrow(real *out, const int *token, const int *position, const Narrow *wte,
                  const real *wpe, int T, int C) {
    embed_forward(out, token, position, widened(wte, C), wpe, T, C);
}

/* Row to[k] of d(?,C) has the rows row[start[k]] .. of dout(T,C) added, in this order: a block's x
 * is k, its y a piece of the columns. */
__global__ static void add_rows_kernel(real *d, const real *dout, const int *to, const int *start,
                                       const int *row, int C) {
    const int k = blockIdx.x, c = blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= C) return;
    real sum = d[(size_t)to[k]*C + c];
    for (int i = start[k]; i < start[k+1]; i++) sum += dout[(size_t)row[i]*C + c];
    d[(size_t)to[k]*C + c] = sum;
}

static int compare_keys(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// d[index_t] += dout_t, t ascending: the rows are sorted by their index, and each index has a block
static void add_rows(real *d, const real *dout, const int *index, int T, int C) {
    upload_begin((size_t)T * sizeof(uint64_t) + (3*(size_t)T + 1) * sizeof(int));
    uint64_t *key = upload_room<uint64_t>(T);                         // does not go up
    ring.begin = ring.used;
    int *to = upload_room<int>(T), *start = upload_room<int>(T + 1), *row = upload_room<int>(T);
    int n = 0;
    for (int t = 0; t < T; t++) key[t] = (uint64_t)index[t] << 32 | (uint32_t)t;
    qsort(key, T, sizeof *key, compare_keys);
    for (int i = 0; i < T; i++) {
        row[i] = (int)(uint32_t)key[i];
        if (i > 0 && key[i] >> 32 == key[i-1] >> 32) continue;
        to[n] = (int)(key[i] >> 32);
        start[n] = i;
        n++;
    }
    start[n] = T;
    upload_end();
    LAUNCH(add_rows_kernel, dim3(n, blocks_of(C, THREADS)), THREADS, d, dout, on_gpu(to),
           on_gpu(start), on_gpu(row), C);
}

// forward: out_t = wte[token_t] + wpe[position_t], so either row gets dout_t, as often as it
// was used
void embed_backward(real *dwte, real *dwpe, const real *dout, const int *token,
                    const int *position, int T, int C) {
    add_rows(dwte, dout, token, T, C);
    if (dwpe) add_rows(dwpe, dout, position, T, C);
}

// ------------------------------------------------------------------------------------- norms

/* Layer norm, or RMS norm with 0 for the mean and no b, of rows of C numbers: `heads` of them in
 * each row of `stride`.
 *
 *     y = xh w + b,   xh = (x - mean) rstd,   rstd = 1/sqrt(mean((x - mean)^2) + eps) */
__global__ static void norm_kernel(real *out, real *mean, real *rstd, const real *inp,
                                   const real *w, const real *b, real eps, int rms, int C,
                                   int heads, int stride, int rows) {
    const int q = my_row(), n = q < rows ? C : 0;
    const size_t at = (size_t)(q / heads)*stride + (size_t)(q % heads)*C;
    const real *x = inp + at;
    real *y = out + at;

    // pass 1: the mean
    real sum = 0;
    for (int c = my_lane(); c < n; c += LANES) sum += x[c];
    const real total = fold(sum);
    const real m = rms ? 0 : total / (real)C;

    // pass 2: the variance
    real square = 0;
    for (int c = my_lane(); c < n; c += LANES) square = fmaf(x[c] - m, x[c] - m, square);
    const real r = 1 / sqrtf(fold(square) / (real)C + eps);

    // pass 3: normalise, scale and shift
    for (int c = my_lane(); c < n; c += LANES) {
        y[c] = rms ? x[c] * r * w[c] : fmaf((x[c] - m) * r, w[c], b[c]);
    }
    if (q >= rows || my_lane() > 0) return;
    if (mean) mean[q] = m;
    rstd[q] = r;
}

void norm_forward(real *out, real *mean, real *rstd, const real *inp, const real *w,
                  const real *b, real eps, int rms, int T, int C) {
    LAUNCH_ROWS(norm_kernel, T, out, mean, rstd, inp, w, b, eps, rms, C, 1, C);
}

void head_norm_forward(real *rows, real *pre, real *rstd, const real *w, real eps, int T,
                       int heads, int HD, int stride) {
    const size_t width = (size_t)(heads*HD) * sizeof *rows, pitch = (size_t)stride * sizeof *rows;
    real *const no_mean = NULL;
    const real *const no_bias = NULL;
    checked(cudaMemcpy2DAsync(pre, pitch, rows, pitch, width, T, cudaMemcpyDeviceToDevice),
            "cudaMemcpy2DAsync of %d x %zu bytes", T, width);
    LAUNCH_ROWS(norm_kernel, T*heads, rows, no_mean, rstd, pre, w, no_bias, eps, 1, HD, heads,
                stride);
}

/* forward: y = xh w + b.  With u = dxh = dy w,
 *
 *     dx = rstd ((u - mean(u)) - xh mean(u xh));     RMS norm: without mean(u)
 *
 * which is added to dinp, or written there: that may be dout itself. */
__global__ static void norm_backward_kernel(real *dinp, const real *dout, const real *inp,
                                            const real *mean, const real *rstd, const real *w,
                                            int rms, int add, int C, int heads, int stride,
                                            int rows) {
    const int q = my_row(), n = q < rows ? C : 0;
    const size_t at = (size_t)(q / heads)*stride + (size_t)(q % heads)*C;
    const real *dy = dout + at, *x = inp + at;
    const real m = mean && q < rows ? mean[q] : 0, r = q < rows ? rstd[q] : 0;

    // pass 1: the two means
    real sum = 0, dot = 0;
    for (int c = my_lane(); c < n; c += LANES) {
        const real u = dy[c] * w[c];
        sum += u;
        dot = fmaf(u, (x[c] - m) * r, dot);
    }
    const real total = fold(sum);
    const real mean_u = rms ? 0 : total / (real)C;
    const real mean_uxh = fold(dot) / (real)C;

    // pass 2: the gradient
    for (int c = my_lane(); c < n; c += LANES) {
        const real dx = r * ((dy[c] * w[c] - mean_u) - (x[c] - m) * r * mean_uxh);
        dinp[at + c] = add ? dinp[at + c] + dx : dx;
    }
}

/* Sums down the columns, row after row: dw = fma(dy, xh, dw), db += dy, of C columns.  A block has
 * COLUMNS of them; its threads fetch CHAIN rows at a time, the next ones while one warp goes
 * through the chains of dw and one through those of db.  Each may be NULL; without dw neither
 * inp, mean nor rstd is read. */
enum { COLUMNS = 32, CHAIN = 128, FETCHED = CHAIN * COLUMNS / THREADS };
__global__ static void columns_kernel(real *dw, real *db, const real *dout, const real *inp,
                                      const real *mean, const real *rstd, int C, int heads,
                                      int stride, int rows) {
    __shared__ real dy[CHAIN][COLUMNS], xh[CHAIN][COLUMNS];
    const int x = threadIdx.x % COLUMNS, y = threadIdx.x / COLUMNS, each = THREADS / COLUMNS;
    const int c = blockIdx.x * COLUMNS + x;
    real *to = y == 0 ? dw : NULL;
    if (y == 1) to = db;
    real sum = to && c < C ? to[c] : 0;
    for (int first = 0; first < rows; first += CHAIN) {
        // pass 1: fetch
        real next_dy[FETCHED], next_xh[FETCHED];
        for (int i = 0; i < FETCHED; i++) {
            const int q = first + y + i*each;
            const size_t at = (size_t)(q / heads)*stride + (size_t)(q % heads)*C + c;
            const int inside = q < rows && c < C;
            next_dy[i] = inside ? dout[at] : 0;
            next_xh[i] = inside && dw ? (inp[at] - (mean ? mean[q] : 0)) * rstd[q] : 0;
        }
        __syncthreads();                          // the rows before are done with
        for (int i = 0; i < FETCHED; i++) {
            dy[y + i*each][x] = next_dy[i];
            xh[y + i*each][x] = next_xh[i];
        }
        __syncthreads();

        // pass 2: the chains
        const int n = min_int(CHAIN, rows - first);
        for (int i = 0; i < n && y == 0; i++) sum = fmaf(dy[i][x], xh[i][x], sum);
        for (int i = 0; i < n && y == 1; i++) sum += dy[i][x];
    }
    if (to && c < C) to[c] = sum;
}

void norm_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                   const real *mean, const real *rstd, const real *w, int rms, int T, int C) {
    LAUNCH_ROWS(norm_backward_kernel, T, dinp, dout, inp, mean, rstd, w, rms, 1, C, 1, C);
    if (!dw) return;
    LAUNCH(columns_kernel, blocks_of(C, COLUMNS), THREADS, dw, rms ? NULL : db, dout, inp, mean,
           rstd, C, 1, C, T);
}

void head_norm_backward(real *drows, real *dw, const real *pre, const real *rstd, const real *w,
                        int T, int heads, int HD, int stride) {
    const real *const no_mean = NULL;
    real *const no_db = NULL;
    if (dw) {
        LAUNCH(columns_kernel, blocks_of(HD, COLUMNS), THREADS, dw, no_db, drows, pre, no_mean,
               rstd, HD, heads, stride, T*heads);
    }
    LAUNCH_ROWS(norm_backward_kernel, T*heads, drows, drows, pre, no_mean, rstd, w, 1, 0, HD,
                heads, stride);
}

// ----------------------------------------------------------------------------- linear layers

static void product(const Product &p, const RowBlocks *blocks) {
    if (gpu.precision != PRECISION_BF16_FAST) product_in_order(p, blocks);
    else product_fast(p, rounded(p.b, p.N, p.K, SCRATCH_B), blocks);
}

// out = inp w' + b;  out(T,OC), inp(T,C), w(OC,C), b(OC) or NULL
void matmul_forward(real *out, const real *inp, const real *w, const real *b, int T, int C,
                    int OC) {
    const size_t width = C;
    product({out, {inp, width, 1}, {w, width, 1}, T, OC, C, 0, b}, NULL);
}

// forward: out = inp w' + b, so dinp = dout w;   dw += dout' inp;   db += sum over rows of dout
void matmul_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                     const real *w, int T, int C, int OC, const RowBlocks *blocks) {
    const size_t width = C, out_width = OC;
    const Side dout_columns = {dout, 1, out_width}, inp_columns = {inp, 1, width};
    real *const no_dw = NULL;
    const real *const none = NULL;
    if (dinp) product({dinp, {dout, out_width, 1}, {w, 1, width}, T, C, OC, 0, NULL}, NULL);
    const int add = !(blocks && blocks->fresh);
    if (dw) product({dw, dout_columns, inp_columns, OC, C, T, add, NULL}, blocks);
    if (!db) return;
    LAUNCH(columns_kernel, blocks_of(OC, COLUMNS), THREADS, no_dw, db, dout, none, none, none, OC,
           1, OC, T);
}

// The same of weights that are not trained and lie as their file has them.
void narrow_forward(real *out, const real *inp, const Narrow *w, const real *b, int T, int C,
                    int OC) {
    matmul_forward(out, inp, widened(w, C), b, T, C, OC);
}
void narrow_backward(real *dinp, const real *dout, const Narrow *w, int T, int C, int OC) {
    matmul_backward(dinp, NULL, NULL, dout, NULL, widened(w, C), T, C, OC, NULL);
}

// A GPU reads weights as they lie: packed they are a copy, for tensor cores a rounded one.
static Side weight_rows(const real *w, int C) { return {w, (size_t)C, 1}; }
static Rounded packed_rounded(const real *packed, int C, int OC) {
    Rounded to = rounded_shape(weight_rows(NULL, C), OC, C);
    to.at = (uint16_t *)packed;
    return to;
}
size_t matmul_packed_size(int C, int OC) {
    if (gpu.precision != PRECISION_BF16_FAST) return (size_t)C * (size_t)OC;
    return rounded_size(packed_rounded(NULL, C, OC)) / sizeof(real);
}

void matmul_pack_weights(real *packed, const real *w, int C, int OC) {
    const size_t size = matmul_packed_size(C, OC) * sizeof *w;
    if (gpu.precision == PRECISION_BF16_FAST) {
        round_side(packed_rounded(packed, C, OC), weight_rows(w, C), OC, C);
        return;
    }
    checked(cudaMemcpyAsync(packed, w, size, cudaMemcpyDeviceToDevice),
            "cudaMemcpyAsync of %zu bytes", size);
    started();
}

void narrow_pack_weights(real *packed, const Narrow *w, int C, int OC) {
    if (gpu.precision == PRECISION_BF16_FAST) matmul_pack_weights(packed, widened(w, C), C, OC);
    else                                      widen(packed, w, C);
}

void matmul_packed_forward(real *out, const real *inp, const real *packed, const real *b, int T,
                           int C, int OC) {
    const Product p = {out, {inp, (size_t)C, 1}, weight_rows(packed, C), T, OC, C, 0, b};
    if (gpu.precision == PRECISION_BF16_FAST) product_fast(p, packed_rounded(packed, C, OC), NULL);
    else                                      product(p, NULL);
}

// Not in one here: what has the width F is stored, and nobody calls the other three.
int    mlp_fused(const Mlp *)     { return 0; }
size_t mlp_work_size(const Mlp *) { return 0; }
void   mlp_forward(real *, const real *, const Mlp *, real *, int) {}
void   mlp_backward(real *, const MlpGrads *, const real *, const real *, const Mlp *, real *,
                    real *, real *, int, const RowBlocks *) {}

// -------------------------------------------------------------------------- rotary embedding

// a' = fma(-b, s, a cos), b' = fma(a, s, b cos) of each pair a = x[i], b = x[i + half] of a head
__global__ static void rotary_kernel(real *rows, const real *cosine, const real *sine,
                                     const int *position, real sign, int heads, int HD, int half,
                                     int stride, size_t n) {
    const size_t pair = my_number(), t = pair / half / heads;
    if (pair >= n) return;
    const int i = pair % half, h = pair / half % heads;
    const size_t angle = (size_t)position[t]*half + i;
    real *x = rows + t*stride + (size_t)h*HD;
    const real a = x[i], b = x[i + half];
    const real s = sign * sine[angle];
    x[i]        = fmaf(-b, s, a * cosine[angle]);
    x[i + half] = fmaf(a, s, b * cosine[angle]);
}
void rotary(real *rows, const real *cosine, const real *sine, const int *position, int sign, int T,
            int heads, int HD, int dims, int stride) {
    const int half = dims / 2;
    if (half == 0) return;
    upload_begin((size_t)T * sizeof(int));
    const int *p = upload(position, T);
    upload_end();
    LAUNCH_EACH(rotary_kernel, (size_t)T*heads*half, rows, cosine, sine, p, (real)sign, heads, HD,
                half, stride);
}

// ------------------------------------------------------------------------------- activations

__device__ static real activate(real x, Activation kind) {
    switch (kind) {
    case ACT_GELU_ERF:  return gelu_erf(HAS_FMA, x);
    case ACT_GELU_TANH: return gelu_tanh(HAS_FMA, x);
    default:            return silu(HAS_FMA, x);
    }
}
__device__ static real activation_slope(real x, Activation kind) {
    switch (kind) {
    case ACT_GELU_ERF:  return gelu_erf_slope(HAS_FMA, x);
    case ACT_GELU_TANH: return gelu_tanh_slope(HAS_FMA, x);
    default:            return silu_slope(HAS_FMA, x);
    }
}

// out = act(inp);  (T,F)
__global__ static void activation_kernel(real *out, const real *inp, Activation kind, size_t n) {
    const size_t i = my_number();
    if (i < n) out[i] = activate(inp[i], kind);
}
void activation_forward(real *out, const real *inp, Activation kind, int T, int F) {
    LAUNCH_EACH(activation_kernel, (size_t)T*F, out, inp, kind);
}

// forward: out = act(inp), so dinp = dout act'(inp); WRITES
__global__ static void activation_backward_kernel(real *dinp, const real *dout, const real *inp,
                                                  Activation kind, size_t n) {
    const size_t i = my_number();
    if (i < n) dinp[i] = dout[i] * activation_slope(inp[i], kind);
}
void activation_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                         int F) {
    LAUNCH_EACH(activation_backward_kernel, (size_t)T*F, dinp, dout, inp, kind);
}

// out = act(gate) o up;  out(T,F); a row of inp(T,2F) is gate(F), up(F)
__global__ static void gated_kernel(real *out, const real *inp, Activation kind, int F, size_t n) {
    const size_t i = my_number(), gate = i / F * 2*F + i % F;
    if (i < n) out[i] = activate(inp[gate], kind) * inp[gate + F];
}
void gated_forward(real *out, const real *inp, Activation kind, int T, int F) {
    LAUNCH_EACH(gated_kernel, (size_t)T*F, out, inp, kind, F);
}

// forward: out = act(gate) o up, so dgate = dout o up o act'(gate), dup = dout o act(gate);
// WRITES
__global__ static void gated_backward_kernel(real *dinp, const real *dout, const real *inp,
                                             Activation kind, int F, size_t n) {
    const size_t i = my_number(), gate = i / F * 2*F + i % F, up = gate + F;
    if (i >= n) return;
    const real dact = dout[i] * inp[up];
    dinp[gate] = dact * activation_slope(inp[gate], kind);
    dinp[up] = activate(inp[gate], kind) * dout[i];
}
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                    int F) {
    LAUNCH_EACH(gated_backward_kernel, (size_t)T*F, dinp, dout, inp, kind, F);
}

// ------------------------------------------------------------------------------- reward head

// h_b = the scored row of text b, or with POOL_MEAN (sum of its content rows) * (1/length);
// pooled(B,C), inp(T,C)
__global__ static void pool_kernel(real *pooled, const real *inp, const Text *text, int mean,
                                   int C, size_t n) {
    const size_t i = my_number(), b = i / C, c = i % C;
    if (i >= n) return;
    const Text x = text[b];
    real sum = 0;
    for (int t = 0; t < x.len && mean; t++) sum += inp[(size_t)(x.first + t)*C + c];
    pooled[i] = mean ? sum * (1 / (real)x.len) : inp[(size_t)x.pooled*C + c];
}
static const Text *upload_texts(const Text *text, int B) {
    upload_begin(B * sizeof *text);
    const Text *x = upload(text, B);
    upload_end();
    return x;
}
void pool_forward(real *pooled, const real *inp, const Text *text, Pooling pooling, int B,
                  int C) {
    const Text *x = upload_texts(text, B);
    LAUNCH_EACH(pool_kernel, (size_t)B*C, pooled, inp, x, pooling == POOL_MEAN, C);
}

// r_b = w . h_b;  reward(B), pooled(B,C), w(C)
__global__ static void head_kernel(real *reward, const real *pooled, const real *w, int C, int B) {
    const int b = my_row(), n = b < B ? C : 0;
    real dot = 0;
    for (int c = my_lane(); c < n; c += LANES) dot = fmaf(pooled[(size_t)b*C + c], w[c], dot);
    dot = fold(dot);
    if (b < B && my_lane() == 0) reward[b] = dot;
}
void head_forward(real *reward, const real *pooled, const real *w, int B, int C) {
    LAUNCH_ROWS(head_kernel, B, reward, pooled, w, C);
}

// forward: r_b = w . h_b, so dw += dr_b h_b, texts in order
__global__ static void head_weights_kernel(real *dw, const real *dreward, const real *pooled, int B,
                                           size_t C) {
    const size_t c = my_number();
    if (c >= C) return;
    real sum = dw[c];
    for (int b = 0; b < B; b++) sum = fmaf(dreward[b], pooled[b*C + c], sum);
    dw[c] = sum;
}
// and dh_b = dr_b w, which goes to the pooled row or in equal shares to the content rows of
// dinp(T,C); no row belongs to two texts
__global__ static void head_rows_kernel(real *dinp, const real *dreward, const real *w,
                                        const Text *text, int mean, int C, size_t n) {
    const size_t i = my_number(), b = i / C, c = i % C;
    if (i >= n) return;
    const Text x = text[b];
    const int first = mean ? x.first : x.pooled, rows = mean ? x.len : 1;
    const real share = mean ? dreward[b] * (1 / (real)x.len) : dreward[b];
    for (int t = first; t < first + rows; t++) {
        real *to = dinp + (size_t)t*C + c;
        *to = fmaf(share, w[c], *to);
    }
}
void head_backward(real *dinp, real *dw, const real *dreward, const real *pooled, const real *w,
                   const Text *text, Pooling pooling, int B, int C) {
    const Text *x = upload_texts(text, B);
    LAUNCH_EACH(head_weights_kernel, C, dw, dreward, pooled, B);
    LAUNCH_EACH(head_rows_kernel, (size_t)B*C, dinp, dreward, w, x, pooling == POOL_MEAN, C);
}

// ------------------------------------------------------------------------- log-probabilities

/* lse = m + log sum_v exp(x_v - m), m the largest of the logits x(V).  A row is long: all threads
 * of a block fetch and take exp, then threads 0 .. 15, the lanes, add what lies in shared memory.
 * All threads get it. */
__device__ static real lse_of_row(const real *x, int V) {
    enum { PIECE = 2048 };
    __shared__ real e[PIECE], of_warp[THREADS / 32], lse;
    real m = -INFINITY, l = 0;
    for (int v = threadIdx.x; v < V; v += THREADS) m = x[v] > m ? x[v] : m;
    m = block_max(m, of_warp);
    for (int first = 0; first < V; first += PIECE) {
        const int n = min_int(PIECE, V - first);
        __syncthreads();                          // the piece before was read
        for (int i = threadIdx.x; i < n; i += THREADS) e[i] = expf_hw(HAS_FMA, x[first + i] - m);
        __syncthreads();
        for (int i = threadIdx.x; i < n && threadIdx.x < LANES; i += LANES) l += e[i];
    }
    if (threadIdx.x < 32) {
        const real sum = fold(l);
        if (threadIdx.x == 0) lse = m + (real)more_log(sum);
    }
    __syncthreads();
    return lse;
}

// lse(T) of the rows of logits(T,V).  Grid: rows.
__global__ static void lse_kernel(real *lse, const real *logits, int V) {
    const size_t t = blockIdx.x;
    const real sum = lse_of_row(logits + t*V, V);
    if (threadIdx.x == 0) lse[t] = sum;
}
void lse_forward(real *lse, const real *logits, int T, int V) {
    LAUNCH(lse_kernel, T, THREADS, lse, logits, V);
}

// rows(n,C) gathered from inp, or with scatter added to it.  Rows differ.
__global__ static void gather_kernel(real *rows, const real *inp, const int *row, int C, size_t n) {
    const size_t i = my_number();
    if (i < n) rows[i] = inp[(size_t)row[i / C]*C + i % C];
}
__global__ static void scatter_kernel(real *dinp, const real *drows, const int *row, int C,
                                      size_t n) {
    const size_t i = my_number();
    if (i < n) dinp[(size_t)row[i / C]*C + i % C] += drows[i];
}

// logp = x_target - lse(x).  Grid: rows.
__global__ static void logp_kernel(real *logp, const real *logits, const int *target, int V) {
    const size_t i = blockIdx.x;
    const real *x = logits + i*V;
    const real lse = lse_of_row(x, V);
    if (threadIdx.x == 0) logp[i] = x[target[i]] - lse;
}

// forward: logp = x_target - lse(x), so dx_v = d ([v = target] - exp(x_v - lse)), d = dlogp; x in
// place -> dx.  lse is taken from the rounded logp.
__global__ static void logp_backward_kernel(real *logp, real *logits, const real *dlogp,
                                            const int *target, int V) {
    const size_t i = blockIdx.x;
    const int y = target[i];
    real *x = logits + i*V;
    const real d = dlogp[i], x_target = x[y], lp = x_target - lse_of_row(x, V);
    const real lse = x_target - lp;
    __syncthreads();                              // x[y] has been read by all
    for (int v = threadIdx.x; v < V; v += THREADS) {
        const real dx = -d * expf_hw(HAS_FMA, x[v] - lse);
        x[v] = v == y ? d + dx : dx;
    }
    if (threadIdx.x == 0) logp[i] = lp;
}

// Chunk by chunk, because V is large: logits(m,V) = rows w'.  logp(n), row(n), target(n) of the
// host, inp(T,C), w(V,C); work(chunk, V + C)
void logp_forward(real *logp, const real *inp, const real *w, const Narrow *narrow, const int *row,
                  const int *target, int n, int C, int V, real *work, int chunk) {
    if (!w) w = widened(narrow, C);
    real *logits = work, *rows = work + (size_t)chunk*V;
    real *out = (real *)scratch(SCRATCH_NUMBERS, (size_t)n * sizeof *out);
    for (int first = 0; first < n; first += chunk) {
        const int m = min_int(chunk, n - first);
        upload_begin(2 * (size_t)m * sizeof(int));
        const int *r = upload(row + first, m), *y = upload(target + first, m);
        upload_end();
        LAUNCH_EACH(gather_kernel, (size_t)m*C, rows, inp, r, C);
        matmul_forward(logits, rows, w, NULL, m, C, V);
        LAUNCH(logp_kernel, m, THREADS, out + first, logits, y, V);
    }
    kernels_read(logp, out, n);
}

// Rows of the next chunk, whole blocks if there are any; counts them in part and moves block on.
static int chunk_rows(RowBlocks *part, int *block, const RowBlocks *blocks, int first, int n,
                      int chunk) {
    if (!blocks) return min_int(chunk, n - first);
    const int *start = blocks->start + *block, left = blocks->count - *block;
    int count = 0;
    while (count < left && start[count + 1] - start[0] <= chunk) count++;
    *part = {start, count};
    *block += count;
    return start[count] - start[0];
}

// dinp(T,C), dw(V,C) or NULL; logp(n) or NULL, dlogp(n) of the host; work(chunk, V + 2C)
void logp_backward(real *dinp, real *dw, real *logp, const real *dlogp, const real *inp,
                   const real *w, const Narrow *narrow, const int *row, const int *target, int n,
                   int C, int V, real *work, int chunk, const RowBlocks *blocks) {
    if (!w) w = widened(narrow, C);
    real *logits = work;                                              // (chunk, V)
    real *rows = logits + (size_t)chunk*V;                            // (chunk, C)
    real *drows = rows + (size_t)chunk*C;                             // (chunk, C)
    real *out = (real *)scratch(SCRATCH_NUMBERS, (size_t)n * sizeof *out);
    int first = 0, block = 0;
    while (first < n) {
        RowBlocks part = {};
        const int m = chunk_rows(&part, &block, blocks, first, n, chunk);
        assert(m > 0);                            // a block is not longer than a chunk
        upload_begin(3 * (size_t)m * sizeof(int));
        const int *r = upload(row + first, m), *y = upload(target + first, m);
        const real *d = upload(dlogp + first, m);
        upload_end();

        // the logits x(m,V); logp, and x becomes dx; forward: logits = rows w'
        LAUNCH_EACH(gather_kernel, (size_t)m*C, rows, inp, r, C);
        matmul_forward(logits, rows, w, NULL, m, C, V);
        LAUNCH(logp_backward_kernel, m, THREADS, out + first, logits, d, y, V);
        matmul_backward(drows, dw, NULL, logits, rows, w, m, C, V, blocks ? &part : NULL);
        LAUNCH_EACH(scatter_kernel, (size_t)m*C, dinp, drows, r, C);
        first += m;
    }
    if (logp) kernels_read(logp, out, n);
}

// ------------------------------------------------------------------------------------ update

// sums[i] of block i of 4096 numbers: 16 lanes of double, a thread each
enum { NORM_BLOCK = 4096 };
__global__ static void squares_kernel(double *sums, const real *x, size_t n, int blocks) {
    const int i = my_row();
    const size_t first = (size_t)i * NORM_BLOCK;
    double sum = 0;
    for (int k = my_lane(); k < NORM_BLOCK && i < blocks && first + k < n; k += LANES) {
        sum += (double)x[first + k] * (double)x[first + k];
    }
    sum = fold(sum);
    if (i < blocks && my_lane() == 0) sums[i] = sum;
}
// The host adds the blocks in order.
double sum_of_squares(const real *x, size_t n) {
    const int blocks = blocks_of(n, NORM_BLOCK);
    const size_t size = blocks * sizeof(double);
    double *sums = (double *)scratch(SCRATCH_NUMBERS, size);
    double *host = (double *)allocate(blocks, sizeof *host);
    double total = 0;
    if (!host) checked(cudaErrorMemoryAllocation, "%zu bytes of the host for a norm", size);
    LAUNCH_ROWS(squares_kernel, blocks, sums, x, n);
    if (blocks) {
        checked(cudaMemcpy(host, sums, size, cudaMemcpyDeviceToHost), "cudaMemcpy of %zu bytes",
                size);
    }
    for (int i = 0; i < blocks; i++) total += host[i];
    free(host);
    return total;
}

// w, m, v, grad(n)
__global__ static void adamw_kernel(real *w, real *m, real *v, const real *grad, real scale,
                                    real b1, real b2, real rate, real root, real eps, real decay,
                                    size_t n) {
    const size_t i = my_number();
    if (i >= n) return;
    adamw_number(HAS_FMA, w + i, m + i, v + i, grad[i], scale, b1, b2, rate, root, eps, decay);
}
void adamw_update(real *w, real *m, real *v, const real *grad, size_t n, real scale, real b1,
                  real b2, real rate, real root, real eps, real decay) {
    LAUNCH_EACH(adamw_kernel, n, w, m, v, grad, scale, b1, b2, rate, root, eps, decay);
}

// ------------------------------------------------------------------------------------ bursts

// 16 chains c = c/2 + 1/4 a thread, in registers
enum { CHAINS = 16 };
__global__ static void burst_kernel(float *out, int reps) {
    float c[CHAINS];
    for (int i = 0; i < CHAINS; i++) c[i] = out[i];
    for (int r = 0; r < reps; r++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++) c[i] = fmaf(c[i], 0.5f, 0.25f);
    }
    for (int i = 0; i < CHAINS; i++) {
        if (c[i] == -1) out[i] = c[i];            // or the compiler could leave the loop out
    }
}
// the same of tensor cores: 8 tiles of 16 x 8 a warp
enum { BURST_TILES = 8 };
__global__ static void burst_fast_kernel(float *out, int reps) {
    float c[BURST_TILES][4];
    unsigned a[4], b[2];
    for (int i = 0; i < 4; i++) a[i] = two_bf16(out[i], out[i]);
    for (int i = 0; i < 2; i++) b[i] = two_bf16(out[i], out[i]);
    for (int i = 0; i < BURST_TILES * 4; i++) c[i / 4][i % 4] = 0;
    for (int r = 0; r < reps; r++) {
#pragma unroll
        for (int i = 0; i < BURST_TILES; i++) mma(c[i], a, b);
    }
    for (int i = 0; i < BURST_TILES * 4; i++) {
        if (c[i / 4][i % 4] == -1) out[i] = 1;    // or the compiler could leave the loop out
    }
}
double kernels_burst(Precision precision, double operations) {
    const int blocks = 8 * gpu.multiprocessors, fast = precision == PRECISION_BF16_FAST;
    const double of_thread = fast ? BURST_TILES * 16*8*16 / 32 : CHAINS;
    const double each = 2 * of_thread * THREADS * blocks;
    const int reps = (int)(operations / each) + 1;
    float *out = (float *)scratch(SCRATCH_NUMBERS, BURST_TILES * 4 * sizeof *out);
    kernels_zero(out, BURST_TILES * 4);
    if (fast) LAUNCH(burst_fast_kernel, blocks, THREADS, out, reps);
    else      LAUNCH(burst_kernel, blocks, THREADS, out, reps);
    kernels_wait();
    return each * reps;
}
double kernels_burst_tile(Precision precision, double operations) {
    return kernels_burst(precision, operations);
}
// A row's lanes are the threads of half a warp: none waits for its own last sum alone.
double kernels_burst_sums(int lanes, double numbers) {
    (void)lanes;
    (void)numbers;
    return 0;
}
#endif

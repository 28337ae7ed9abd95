/* kernels.c - the layers on a CPU, in pairs of forward and backward.  kernels.h says what
 * each takes; here is how each is computed, its equation first.
 *
 *     memory; sums of tensors; embeddings; norms; linear layers; rotary embedding; activations;
 *     reward head; log-probabilities; update
 *
 * Attention has a file of its own, attention.c, and so has the feed-forward layer in one, mlp.c.
 *
 * Three things to know:
 *
 * 1. A loop over a row is written once, as name_body(hw, ...).  VARIANTS (matmul.c) compiles it
 *    for each instruction set and defines name(...), which calls the one for this machine.  hw is
 *    a constant: whether a fused multiply-add is one instruction there.
 * 2. Threads divide the outputs, and each output is summed in order by one thread.  So the bits
 *    depend on neither threads nor instruction set; NUMERICS.md has the order of every sum.
 * 3. `real` is float, and double where test_grad.c compiles this file (rows.c). */
#ifndef KERNELS_C
#define KERNELS_C
#include "kernels.h"
#include "attention.c"
#ifdef __linux__
#include <sys/mman.h>
#endif

// ------------------------------------------------------------------------------------ memory

int kernels_init(const char *isa_name) {
    if (matmul_init(isa_name) < 0) return -1;
    kernels_free(matmul_work_memory);
    matmul_work_memory = kernels_alloc(matmul_work_size(thread_count()));
    return matmul_work_memory ? 0 : -1;
}

// Large tensors lie on huge pages; 64 bytes behind each may be read by a vector that ends
// beyond it.
real *kernels_alloc(size_t n) {
    const size_t huge_page = 2u << 20, behind = 64;
    const size_t size = n * sizeof(real), align = size >= huge_page ? huge_page : 64;
    const int too_many = n > SIZE_MAX / sizeof(real) - behind;        // size has wrapped around
    void *p = NULL;
    if (too_many || posix_memalign(&p, align, size + behind) != 0) {
        fail(EX_OSERR, "out of memory: a tensor of %zu numbers", n);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (align == huge_page) madvise(p, size, MADV_HUGEPAGE);
#endif
    kernels_zero(p, n);                           // by all threads: so large a first touch is slow
    memset((char *)p + size, 0, behind);
    return p;
}

void kernels_free(real *tensor) { free(tensor); }

// Tensors are the program's own memory (files/surroundings.c knows what is left).
double kernels_memory(void) { return INFINITY; }

void kernels_wait(void) {}                        // whoever returns has done what was asked

// A product's panels, and what attention takes: it goes by the longest path alone.
size_t kernels_scratch(const Scratch *s) {
    const size_t threads = (size_t)thread_count();
    return (matmul_work_size((int)threads) + threads * attention_scratch(s->keys)) * sizeof(real);
}
int kernels_reserve(const Scratch *s) { return attention_reserve(s->keys); }

// In one piece for each thread: memset is faster on large pieces.
void kernels_zero(real *tensor, size_t n) {
    const size_t share = n / (size_t)thread_count() + 1024;
    PARALLEL_FOR
    for (size_t at = 0; at < n; at += share) {
        const size_t len = n - at < share ? n - at : share;
        memset(tensor + at, 0, len * sizeof *tensor);
    }
}

void kernels_write(real *tensor, const real *host, size_t n) {
    if (n) memcpy(tensor, host, n * sizeof *host);
}

void kernels_read(real *host, const real *tensor, size_t n) {
    if (n) memcpy(host, tensor, n * sizeof *host);
}

void narrow_write(unsigned char *to, const unsigned char *host, size_t n) { memcpy(to, host, n); }

void narrow_read(real *host, const Narrow *w, int C, int row, int rows, int first, int n) {
    widen(host, w, (size_t)C, row, rows, first, n);
}

// --------------------------------------------------------------------------- sums of tensors

// Elementwise work is shared out in pieces of PIECE numbers, from `at`.
enum { PIECE = 8192 };
#define FOR_PIECES(n) PARALLEL_FOR_IF(n) for (size_t at = 0; at < (n); at += PIECE)
#define PIECE_LEN(n)  ((n) - at < PIECE ? (n) - at : PIECE)

INLINE void plus_piece_body(const int hw, real *out, const real *a, const real *b, size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}
VARIANTS(plus_piece, (real *out, const real *a, const real *b, size_t n), out, a, b, n)

void add_forward(real *out, const real *a, const real *b, size_t n) {
    FOR_PIECES(n) plus_piece(out + at, a + at, b + at, PIECE_LEN(n));
}

INLINE void add3_piece_body(const int hw, real *out, const real *a, const real *b, const real *c,
                            size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = (a[i] + b[i]) + c[i];
}
VARIANTS(add3_piece, (real *out, const real *a, const real *b, const real *c, size_t n),
         out, a, b, c, n)

void add3_forward(real *out, const real *a, const real *b, const real *c, size_t n) {
    FOR_PIECES(n) add3_piece(out + at, a + at, b + at, c + at, PIECE_LEN(n));
}

INLINE void scaled_add_row_body(const int hw, real *out, const real *inp, real scale, int C) {
    for (int c = 0; c < C; c++) out[c] = R_FMA(scale, inp[c], out[c]);
}
VARIANTS(scaled_add_row, (real *out, const real *inp, real scale, int C), out, inp, scale, C)

void scaled_add(real *out, int out_stride, const real *inp, int inp_stride, real scale, int T,
                int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++) {
        scaled_add_row(out + (size_t)t*out_stride, inp + (size_t)t*inp_stride, scale, C);
    }
}

/* Sums down the columns (gradients of biases, gains, embeddings) take the rows in order, so
 * threads share out the columns: each takes a strip, which is the wider, the longer the runs
 * of memory. */
enum { STRIP = 64 };
static int strip_width(int C) {
    const int least = thread_count() * STRIP;
    return (C + least - 1) / least * STRIP;
}

// out(n) += sum over rows of x(T,C), of n of its columns
INLINE void column_sum_body(const int hw, real *out, const real *x, int T, int C, int n) {
    (void)hw;
    for (int t = 0; t < T; t++) {
        for (int c = 0; c < n; c++) out[c] += x[(size_t)t*C + c];
    }
}
VARIANTS(column_sum, (real *out, const real *x, int T, int C, int n), out, x, T, C, n)

// out(C) += sum over rows of x(T,C)
static void add_column_sums(real *out, const real *x, int T, int C) {
    const int strip = strip_width(C);
    PARALLEL_FOR
    for (int c = 0; c < C; c += strip) {
        column_sum(out + c, x + c, T, C, min_int(strip, C - c));
    }
}

// -------------------------------------------------------------------------------- embeddings

// out_t = wte[token_t] + wpe[position_t];  out(T,C), wte(V,C), wpe(P,C) or NULL
void embed_forward(real *out, const int *token, const int *position, const real *wte,
                   const real *wpe, int T, int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++) {
        real *o = out + (size_t)t*C;
        const real *e = wte + (size_t)token[t]*C;
        if (wpe) {
            plus_piece(o, e, wpe + (size_t)position[t]*C, (size_t)C);
        } else {
            memcpy(o, e, (size_t)C * sizeof *o);
        }
    }
}

// the same of a narrow wte
void embed_narrow(real *out, const int *token, const int *position, const Narrow *wte,
                  const real *wpe, int T, int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++) {
        real *o = out + (size_t)t*C;
        widen(o, wte, (size_t)C, token[t], 1, 0, C);
        if (wpe) plus_piece(o, o, wpe + (size_t)position[t]*C, (size_t)C);
    }
}

// forward: out_t = wte[token_t] + wpe[position_t], so either row gets dout_t, as often as it
// was used
void embed_backward(real *dwte, real *dwpe, const real *dout, const int *token,
                    const int *position, int T, int C) {
    const int strip = strip_width(C);
    PARALLEL_FOR
    for (int c = 0; c < C; c += strip) {
        const size_t n = (size_t)min_int(strip, C - c);
        for (int t = 0; t < T; t++) {
            const real *d = dout + (size_t)t*C + c;
            real *e = dwte + (size_t)token[t]*C + c;
            plus_piece(e, e, d, n);
            if (dwpe) {
                real *p = dwpe + (size_t)position[t]*C + c;
                plus_piece(p, p, d, n);
            }
        }
    }
}

// ------------------------------------------------------------------------------------- norms

/* Layer norm, Ba et al. 2016, eq (3), on each row x(C):
 *
 *     y = xh w + b,   xh = (x - mean) rstd,   rstd = 1/sqrt(mean((x - mean)^2) + eps)
 *
 * RMS norm, Zhang and Sennrich 2019, eq (4), is the same with 0 for the mean, and no b. */
INLINE void norm_row_body(const int hw, real *y, real *mean, real *rstd, const real *x,
                          const real *w, const real *b, real eps, int rms, int C) {
    // pass 1: the mean
    const real m = rms ? 0 : row_sum(x, C) / (real)C;

    // pass 2: the variance
    real lane[16] = {0};
    FOR_LANES(C, lane[j] = R_FMA(x[i] - m, x[i] - m, lane[j]));
    const real r = 1 / R_SQRT(fold(lane) / (real)C + eps);

    // pass 3: normalise, scale and shift
    if (rms) {
        for (int c = 0; c < C; c++) y[c] = x[c] * r * w[c];
    } else {
        for (int c = 0; c < C; c++) y[c] = R_FMA((x[c] - m) * r, w[c], b[c]);
    }
    *mean = m;
    *rstd = r;
}
VARIANTS(norm_row, (real *y, real *mean, real *rstd, const real *x, const real *w, const real *b,
         real eps, int rms, int C), y, mean, rstd, x, w, b, eps, rms, C)

// out, inp(T,C); mean, rstd(T) are kept for backward
void norm_forward(real *out, real *mean, real *rstd, const real *inp, const real *w,
                  const real *b, real eps, int rms, int T, int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++) {
        const size_t row = (size_t)t*C;
        norm_row(out + row, mean + t, rstd + t, inp + row, w, b, eps, rms, C);
    }
}

/* forward: y = xh w + b.  With u = dxh = dy w, and because mean and rstd depend on every x of
 * the row,
 *
 *     dx += rstd ((u - mean(u)) - xh mean(u xh));     RMS norm: without mean(u) */
INLINE void norm_row_back_body(const int hw, real *dx, const real *dy, const real *x, real m,
                               real r, const real *w, int rms, int C) {
    // pass 1: the two means
    real sum[16] = {0}, dot[16] = {0};
    FOR_LANES(C, const real u = dy[i] * w[i];
                 sum[j] += u;
                 dot[j] = R_FMA(u, (x[i] - m) * r, dot[j]));
    const real mean_u = rms ? 0 : fold(sum) / (real)C;
    const real mean_uxh = fold(dot) / (real)C;

    // pass 2: the gradient
    for (int c = 0; c < C; c++) {
        dx[c] += r * ((dy[c] * w[c] - mean_u) - (x[c] - m) * r * mean_uxh);
    }
}
VARIANTS(norm_row_back, (real *dx, const real *dy, const real *x, real m, real r, const real *w,
         int rms, int C), dx, dy, x, m, r, w, rms, C)

// forward: y = xh w + b, so that dw = sum over rows of dy xh, db = sum over rows of dy; n of
// C columns
INLINE void norm_columns_back_body(const int hw, real *dw, real *db, const real *dy,
                                   const real *x, const real *mean, const real *rstd, int T, int C,
                                   int n) {
    for (int t = 0; t < T; t++) {
        const real *dyt = dy + (size_t)t*C, *xt = x + (size_t)t*C;
        const real m = mean[t], r = rstd[t];
        for (int c = 0; c < n; c++) dw[c] = R_FMA(dyt[c], (xt[c] - m) * r, dw[c]);
        if (!db) continue;
        for (int c = 0; c < n; c++) db[c] += dyt[c];
    }
}
VARIANTS(norm_columns_back, (real *dw, real *db, const real *dy, const real *x, const real *mean,
         const real *rstd, int T, int C, int n), dw, db, dy, x, mean, rstd, T, C, n)

// dinp, dout, inp(T,C); dw, db(C) or NULL
void norm_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                   const real *mean, const real *rstd, const real *w, int rms, int T, int C) {
    PARALLEL_FOR
    for (int t = 0; t < T; t++) {
        const size_t row = (size_t)t*C;
        norm_row_back(dinp + row, dout + row, inp + row, mean[t], rstd[t], w, rms, C);
    }
    if (!dw) return;
    const int strip = strip_width(C);
    PARALLEL_FOR
    for (int c = 0; c < C; c += strip) {
        norm_columns_back(dw + c, rms ? NULL : db + c, dout + c, inp + c, mean, rstd, T, C,
                          min_int(strip, C - c));
    }
}

/* The norm of queries and keys (Qwen3: Yang et al. 2025, sec. 2): the RMS norm above on each
 * of `heads` heads of HD, in place; rows lie `stride` apart.  pre keeps what was there,
 * rstd(T, heads) its scale. */
void head_norm_forward(real *rows, real *pre, real *rstd, const real *w, real eps, int T,
                       int heads, int HD, int stride) {
    PARALLEL_FOR_IF((size_t)T*heads*HD)
    for (int t = 0; t < T; t++) {
        real *y = rows + (size_t)t*stride, *x = pre + (size_t)t*stride;
        memcpy(x, y, (size_t)(heads*HD) * sizeof *x);
        for (int h = 0; h < heads; h++) {
            real mean;                                                // 0, and not kept
            norm_row(y + h*HD, &mean, rstd + (size_t)t*heads + h, x + h*HD, w, NULL, eps, 1, HD);
        }
    }
}

// dw = sum over rows, and in a row over heads, of dy xh; n of HD columns
INLINE void head_columns_back_body(const int hw, real *dw, const real *dy, const real *x,
                                   const real *rstd, int T, int heads, int HD, int stride,
                                   int n) {
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < heads; h++) {
            const size_t at = (size_t)t*stride + (size_t)h*HD;
            const real *dyh = dy + at, *xh = x + at;
            const real r = rstd[(size_t)t*heads + h];
            for (int c = 0; c < n; c++) dw[c] = R_FMA(dyh[c], xh[c] * r, dw[c]);
        }
    }
}
VARIANTS(head_columns_back, (real *dw, const real *dy, const real *x, const real *rstd, int T,
         int heads, int HD, int stride, int n), dw, dy, x, rstd, T, heads, HD, stride, n)

// dx = rstd (u - xh mean(u xh)), u = dy w, in place: d(n) holds dy, then dx
INLINE void head_row_back_body(const int hw, real *d, const real *x, real r, const real *w,
                               int n) {
    real lane[16] = {0};
    FOR_LANES(n, lane[j] = R_FMA(d[i] * w[i], x[i] * r, lane[j]));
    const real mean_uxh = fold(lane) / (real)n;
    for (int i = 0; i < n; i++) d[i] = r * (d[i] * w[i] - x[i] * r * mean_uxh);
}
VARIANTS(head_row_back, (real *d, const real *x, real r, const real *w, int n), d, x, r, w, n)

// Turns drows in place from the gradient of the outputs to that of the inputs; dw(HD) first
// reads it.
void head_norm_backward(real *drows, real *dw, const real *pre, const real *rstd, const real *w,
                        int T, int heads, int HD, int stride) {
    PARALLEL_FOR
    for (int c = 0; c < (dw ? HD : 0); c += STRIP) {
        head_columns_back(dw + c, drows + c, pre + c, rstd, T, heads, HD, stride,
                          min_int(STRIP, HD - c));
    }
    PARALLEL_FOR
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < heads; h++) {
            const size_t at = (size_t)t*stride + (size_t)h*HD;
            head_row_back(drows + at, pre + at, rstd[(size_t)t*heads + h], w, HD);
        }
    }
}

// ----------------------------------------------------------------------------- linear layers

static int linear_bf16;                           // round the operands of the products to bf16

int kernels_precision(Precision precision) {
    if (precision == PRECISION_BF16_FAST) {
        return fail(EX_USAGE, "--precision bf16-fast is for the tensor cores of a GPU (make cuda), "
                    "and this program computes on a CPU: --precision bf16 takes the same operands");
    }
    linear_bf16 = precision == PRECISION_BF16;
    return 0;
}

// out = inp w' + b;  out(T,OC), inp(T,C), w(OC,C), b(OC) or NULL
void matmul_forward(real *out, const real *inp, const real *w, const real *b, int T, int C,
                    int OC) {
    matmul(&(Product){
        .c = out, .ldc = (size_t)OC,
        .a = inp, .ars = (size_t)C, .acs = 1,
        .b = w, .brs = 1, .bcs = (size_t)C,                           // w'(C,OC)
        .M = T, .N = OC, .K = C, .bias = b, .bf16 = linear_bf16,
    });
}

// A gradient that is the step's first holds nothing to add to.
static int is_fresh(const RowBlocks *blocks) { return blocks && blocks->fresh; }

/* forward: out = inp w' + b
 *
 *     dinp = dout w;   dw += dout' inp;   db += sum over rows of dout
 *
 * dinp(T,C), dw(OC,C), db(OC): each may be NULL; dout(T,OC).  blocks: of the rows, for bf16. */
void matmul_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                     const real *w, int T, int C, int OC, const RowBlocks *blocks) {
    if (dinp) {
        matmul(&(Product){
            .c = dinp, .ldc = (size_t)C,
            .a = dout, .ars = (size_t)OC, .acs = 1,
            .b = w, .brs = (size_t)C, .bcs = 1,
            .M = T, .N = C, .K = OC, .bf16 = linear_bf16,
        });
    }
    if (dw) {
        matmul(&(Product){
            .c = dw, .ldc = (size_t)C,
            .a = dout, .ars = 1, .acs = (size_t)OC,                   // dout'(OC,T)
            .b = inp, .brs = (size_t)C, .bcs = 1,
            .M = OC, .N = C, .K = T, .add = !is_fresh(blocks), .bf16 = linear_bf16,
            .blocks = blocks,
        });
    }
    if (db) add_column_sums(db, dout, T, OC);
}

/* The same of weights that are not trained and lie as their file has them:
 *
 *     out = inp w' + b;   dinp = dout w */
void narrow_forward(real *out, const real *inp, const Narrow *w, const real *b, int T, int C,
                    int OC) {
    matmul(&(Product){
        .c = out, .ldc = (size_t)OC,
        .a = inp, .ars = (size_t)C, .acs = 1,
        .narrow = w, .brs = 1, .bcs = (size_t)C,
        .M = T, .N = OC, .K = C, .bias = b, .bf16 = linear_bf16,
    });
}
void narrow_backward(real *dinp, const real *dout, const Narrow *w, int T, int C, int OC) {
    matmul(&(Product){
        .c = dinp, .ldc = (size_t)C,
        .a = dout, .ars = (size_t)OC, .acs = 1,
        .narrow = w, .brs = (size_t)C, .bcs = 1,
        .M = T, .N = C, .K = OC, .bf16 = linear_bf16,
    });
}

// What the products with a weight matrix w(OC,C) packed once have in common.
static Product packed_product(const real *w, int C, int OC) {
    return (Product){.b = w, .brs = 1, .bcs = (size_t)C, .N = OC, .K = C, .bf16 = linear_bf16};
}

size_t matmul_packed_size(int C, int OC) {
    const Product p = packed_product(NULL, C, OC);
    return matmul_pack_size(&p);
}

void matmul_pack_weights(real *packed, const real *w, int C, int OC) {
    const Product p = packed_product(w, C, OC);
    matmul_pack(packed, &p);
}

void narrow_pack_weights(real *packed, const Narrow *w, int C, int OC) {
    Product p = packed_product(NULL, C, OC);
    p.narrow = w;
    matmul_pack(packed, &p);
}

void matmul_packed_forward(real *out, const real *inp, const real *packed, const real *b, int T,
                           int C, int OC) {
    Product p = packed_product(packed, C, OC);
    p.c = out;
    p.ldc = (size_t)OC;
    p.a = inp;
    p.ars = (size_t)C;
    p.acs = 1;
    p.M = T;
    p.bias = b;
    p.panel = matmul_panel(&p);
    matmul(&p);
}

// -------------------------------------------------------------------------- rotary embedding

/* Su et al. 2021, eq (34).  The first `dims` numbers of a head are dims/2 points (a, b) of a
 * plane, a = x[i], b = x[i + dims/2]; each is turned by an angle in proportion to the row's
 * position:
 *
 *     a' = a cos - b sin,   b' = a sin + b cos */
INLINE void rotary_head_body(const int hw, real *x, const real *cosine, const real *sine,
                             real sign, int half) {
    for (int i = 0; i < half; i++) {
        const real a = x[i], b = x[i + half];
        const real s = sign * sine[i];
        x[i]        = R_FMA(-b, s, a * cosine[i]);
        x[i + half] = R_FMA(a, s, b * cosine[i]);
    }
}
VARIANTS(rotary_head, (real *x, const real *cosine, const real *sine, real sign, int half),
         x, cosine, sine, sign, half)

// In place, on the first `heads` heads of HD of rows `stride` apart; cosine, sine(P, dims/2).
// A rotation's backward is the rotation back, sign -1.
void rotary(real *rows, const real *cosine, const real *sine, const int *position, int sign, int T,
            int heads, int HD, int dims, int stride) {
    const int half = dims / 2;
    PARALLEL_FOR_IF((size_t)T*heads*HD)
    for (int t = 0; t < T; t++) {
        const size_t angles = (size_t)position[t]*half;
        for (int h = 0; h < heads; h++) {
            real *x = rows + (size_t)t*stride + (size_t)h*HD;
            rotary_head(x, cosine + angles, sine + angles, (real)sign, half);
        }
    }
}

// ------------------------------------------------------------------------------- activations

// One loop for each kind, so that each becomes vectors.
INLINE void act_piece_body(const int hw, real *out, const real *x, Activation kind, size_t n) {
    switch (kind) {
    case ACT_GELU_ERF:
        for (size_t i = 0; i < n; i++) out[i] = gelu_erf(hw, x[i]);
        break;
    case ACT_GELU_TANH:
        for (size_t i = 0; i < n; i++) out[i] = gelu_tanh(hw, x[i]);
        break;
    case ACT_SILU:
        for (size_t i = 0; i < n; i++) out[i] = silu(hw, x[i]);
        break;
    }
}
VARIANTS(act_piece, (real *out, const real *x, Activation kind, size_t n), out, x, kind, n)

INLINE void act_back_piece_body(const int hw, real *dx, const real *dy, const real *x,
                                Activation kind, size_t n) {
    switch (kind) {
    case ACT_GELU_ERF:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * gelu_erf_slope(hw, x[i]);
        break;
    case ACT_GELU_TANH:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * gelu_tanh_slope(hw, x[i]);
        break;
    case ACT_SILU:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * silu_slope(hw, x[i]);
        break;
    }
}
VARIANTS(act_back_piece, (real *dx, const real *dy, const real *x, Activation kind, size_t n),
         dx, dy, x, kind, n)

// out = act(inp);  (T,F)
void activation_forward(real *out, const real *inp, Activation kind, int T, int F) {
    const size_t n = (size_t)T * F;
    FOR_PIECES(n) act_piece(out + at, inp + at, kind, PIECE_LEN(n));
}

// forward: out = act(inp), so dinp = dout act'(inp); WRITES
void activation_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                         int F) {
    const size_t n = (size_t)T * F;
    FOR_PIECES(n) act_back_piece(dinp + at, dout + at, inp + at, kind, PIECE_LEN(n));
}

INLINE void multiply_piece_body(const int hw, real *out, const real *a, const real *b, size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = a[i] * b[i];
}
VARIANTS(multiply_piece, (real *out, const real *a, const real *b, size_t n), out, a, b, n)

// out = act(gate) o up                                                       Shazeer 2020, eq (5)
// out(T,F); a row of inp(T,2F) is gate(F), up(F)
void gated_forward(real *out, const real *inp, Activation kind, int T, int F) {
    const size_t n = (size_t)F;
    PARALLEL_FOR_IF((size_t)T*F)
    for (int t = 0; t < T; t++) {
        const real *gate = inp + (size_t)t*2*n, *up = gate + n;
        real *o = out + (size_t)t*n;
        act_piece(o, gate, kind, n);
        multiply_piece(o, o, up, n);
    }
}

/* forward: out = act(gate) o up, so that of n numbers of a row
 *
 *     dgate = dout o up o act'(gate),   dup = dout o act(gate)
 *
 * and out again, which is act(gate) o up.  A loop for each kind, so that each becomes vectors. */
INLINE void gated_piece_back_body(const int hw, real *restrict dgate, real *restrict dup,
                                  real *restrict out, const real *dout, const real *gate,
                                  const real *up, Activation kind, size_t n) {
#define EACH(act, slope)                                                                         \
    for (size_t i = 0; i < n; i++) {                                                             \
        const real x = gate[i], y = up[i], d = dout[i];                                          \
        const real a = act(hw, x);                                                               \
        dgate[i] = d * y * slope(hw, x);                                                         \
        dup[i] = a * d;                                                                          \
        out[i] = a * y;                                                                          \
    }                                                                                            \
    break
    switch (kind) {
    case ACT_GELU_ERF:  EACH(gelu_erf, gelu_erf_slope);
    case ACT_GELU_TANH: EACH(gelu_tanh, gelu_tanh_slope);
    case ACT_SILU:      EACH(silu, silu_slope);
    }
#undef EACH
}
VARIANTS(gated_piece_back, (real *restrict dgate, real *restrict dup, real *restrict out,
         const real *dout, const real *gate, const real *up, Activation kind, size_t n),
         dgate, dup, out, dout, gate, up, kind, n)

// (T,F), (T,2F); WRITES
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                    int F) {
    enum { PART = 512 };
    const size_t n = (size_t)F;
    PARALLEL_FOR
    for (int t = 0; t < T; t++) {
        real out[PART];                                               // not needed
        for (size_t at = 0; at < n; at += PART) {
            const real *gate = inp + (size_t)t*2*n + at;
            real *dgate = dinp + (size_t)t*2*n + at;
            gated_piece_back(dgate, dgate + n, out, dout + (size_t)t*n + at, gate, gate + n, kind,
                             n - at < PART ? n - at : PART);
        }
    }
}

// ------------------------------------------------------------------------------- reward head

// h_b = the scored row of text b, or with POOL_MEAN the mean of its content rows;
// pooled(B,C), inp(T,C)
void pool_forward(real *pooled, const real *inp, const Text *text, Pooling pooling, int B,
                  int C) {
    PARALLEL_FOR
    for (int b = 0; b < B; b++) {
        real *h = pooled + (size_t)b*C;
        if (pooling != POOL_MEAN) {
            memcpy(h, inp + (size_t)text[b].pooled*C, (size_t)C * sizeof *h);
            continue;
        }
        const real inverse = 1 / (real)text[b].len;
        memset(h, 0, (size_t)C * sizeof *h);
        column_sum(h, inp + (size_t)text[b].first*C, text[b].len, C, C);
        scale_rows(h, 0, &inverse, 1, C);
    }
}

// r_b = w . h_b;  reward(B), pooled(B,C), w(C)
void head_forward(real *reward, const real *pooled, const real *w, int B, int C) {
    for (int b = 0; b < B; b++) dot_row(reward + b, pooled + (size_t)b*C, w, C);
}

// forward: r_b = w . h_b, so dw += dr_b h_b and dh_b = dr_b w, which goes to the pooled row
// or in equal shares to the content rows of dinp(T,C)
void head_backward(real *dinp, real *dw, const real *dreward, const real *pooled, const real *w,
                   const Text *text, Pooling pooling, int B, int C) {
    for (int b = 0; b < B; b++) {
        axpy(dw, dreward[b], pooled + (size_t)b*C, C);
        if (pooling != POOL_MEAN) {
            axpy(dinp + (size_t)text[b].pooled*C, dreward[b], w, C);
            continue;
        }
        const real share = dreward[b] * (1 / (real)text[b].len);
        for (int i = 0; i < text[b].len; i++) {
            axpy(dinp + (size_t)(text[b].first + i)*C, share, w, C);
        }
    }
}

// ------------------------------------------------------------------------- log-probabilities

// lse = log sum_v exp(x_v) = m + log sum_v exp(x_v - m), m the largest of the logits x(V)
INLINE void lse_row_body(const int hw, real *lse, const real *x, int V) {
    const real m = row_max(x, V);
    real lane[16] = {0};
    FOR_LANES(V, lane[j] += R_EXP(x[i] - m));
    *lse = m + (real)more_log(fold(lane));
}
VARIANTS(lse_row, (real *lse, const real *x, int V), lse, x, V)

// lse(T) of the rows of logits(T,V)
void lse_forward(real *lse, const real *logits, int T, int V) {
    PARALLEL_FOR_IF((size_t)T*V)
    for (int t = 0; t < T; t++) lse_row(lse + t, logits + (size_t)t*V, V);
}

/* Of the chunk's n scored rows: rows(n,C) gathered from inp, and logits(n,V) = rows w'.  Only
 * a chunk's logits exist at a time, because V is large. */
static void logits_of_rows(real *logits, real *rows, const real *inp, const real *w,
                           const Narrow *narrow, const int *row, int n, int C, int V) {
    PARALLEL_FOR
    for (int i = 0; i < n; i++) {
        memcpy(rows + (size_t)i*C, inp + (size_t)row[i]*C, (size_t)C * sizeof *rows);
    }
    if (w) matmul_forward(logits, rows, w, NULL, n, C, V);
    else narrow_forward(logits, rows, narrow, NULL, n, C, V);
}

// logp = x_target - lse(x), x = w inp_row;  logp(n), row(n), target(n), inp(T,C), w(V,C);
// work(chunk, V + C)
void logp_forward(real *logp, const real *inp, const real *w, const Narrow *narrow, const int *row,
                  const int *target, int n, int C, int V, real *work, int chunk) {
    real *logits = work, *rows = work + (size_t)chunk*V;
    for (int first = 0; first < n; first += chunk) {
        const int m = min_int(chunk, n - first);
        logits_of_rows(logits, rows, inp, w, narrow, row + first, m, C, V);
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            const real *x = logits + (size_t)i*V;
            real lse;
            lse_row(&lse, x, V);
            logp[first + i] = x[target[first + i]] - lse;
        }
    }
}

// forward: logp = x_target - lse(x), so dx_v = d ([v = target] - exp(x_v - lse)), d = dlogp;
// x in place -> dx
INLINE void logp_row_back_body(const int hw, real *x, real lse, real d, int target, int V) {
    for (int v = 0; v < V; v++) x[v] = -d * R_EXP(x[v] - lse);
    x[target] = d + x[target];
}
VARIANTS(logp_row_back, (real *x, real lse, real d, int target, int V), x, lse, d, target, V)

// The blocks from number `block` on, of which all rows are among the next `chunk`.
static RowBlocks blocks_of_chunk(const RowBlocks *blocks, int block, int chunk) {
    const int left = blocks->count - block, *start = blocks->start + block;
    int count = 0;
    while (count < left && start[count + 1] - start[0] <= chunk) count++;
    return (RowBlocks){.start = start, .count = count};
}

// Chunk by chunk: forward again, dx, then back through x = w inp_row.  dinp(T,C), dw(V,C);
// logp(n) or NULL; work(chunk, V + 2C).  With blocks of the n rows a chunk is as many whole
// ones as fit.
void logp_backward(real *dinp, real *dw, real *logp, const real *dlogp, const real *inp,
                   const real *w, const Narrow *narrow, const int *row, const int *target, int n,
                   int C, int V, real *work, int chunk, const RowBlocks *blocks) {
    real *logits = work;                                              // (chunk, V)
    real *rows = logits + (size_t)chunk*V;                            // (chunk, C)
    real *drows = rows + (size_t)chunk*C;                             // (chunk, C)
    int first = 0, block = 0;                     // the chunk's first row, and of blocks
    while (first < n) {
        RowBlocks part = {0};
        int m = min_int(chunk, n - first);
        if (blocks) {
            part = blocks_of_chunk(blocks, block, chunk);
            block += part.count;
            m = blocks->start[block] - first;
        }
        assert(m > 0);                            // a block is not longer than a chunk

        // pass 1: the logits x(m,V)
        logits_of_rows(logits, rows, inp, w, narrow, row + first, m, C, V);

        // pass 2: logp, and x becomes dx.  lse is taken from the rounded logp.
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            const int y = target[first + i];
            real *x = logits + (size_t)i*V, lse;
            lse_row(&lse, x, V);
            const real x_target = x[y], lp = x_target - lse;
            logp_row_back(x, x_target - lp, dlogp[first + i], y, V);
            if (logp) logp[first + i] = lp;
        }

        // pass 3: forward: logits = rows w'
        if (w) matmul_backward(drows, dw, NULL, logits, rows, w, m, C, V, blocks ? &part : NULL);
        else narrow_backward(drows, logits, narrow, m, C, V);

        // pass 4: the gathered rows' gradients go back to their rows
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            real *d = dinp + (size_t)row[first + i]*C;
            plus_piece(d, d, drows + (size_t)i*C, (size_t)C);
        }
        first += m;
    }
}

// ------------------------------------------------------------------------------------ update

// sum(x^2) of n <= NORM_BLOCK numbers, in 16 lanes of double
enum { NORM_BLOCK = 4096 };
INLINE void squares_body(const int hw, double *sum, const real *x, int n) {
    double lane[16] = {0};
    (void)hw;
    FOR_LANES(n, lane[j] += (double)x[i] * (double)x[i]);
    for (int h = 8; h; h >>= 1) {
        for (int j = 0; j < h; j++) lane[j] += lane[j+h];
    }
    *sum = lane[0];
}
VARIANTS(squares, (double *sum, const real *x, int n), sum, x, n)

// Blocks of NORM_BLOCK numbers are summed side by side, SIDE_BY_SIDE of them, and added in
// order.
double sum_of_squares(const real *x, size_t n) {
    enum { SIDE_BY_SIDE = 256 };
    double total = 0, part[SIDE_BY_SIDE];
    for (size_t first = 0; first < n; first += (size_t)SIDE_BY_SIDE * NORM_BLOCK) {
        PARALLEL_FOR
        for (int i = 0; i < SIDE_BY_SIDE; i++) {
            const size_t at = first + (size_t)i * NORM_BLOCK;
            part[i] = 0;
            if (at >= n) continue;
            squares(part + i, x + at, n - at < NORM_BLOCK ? (int)(n - at) : NORM_BLOCK);
        }
        for (int i = 0; i < SIDE_BY_SIDE; i++) total += part[i];
    }
    return total;
}

INLINE void adamw_piece_body(const int hw, real *w, real *m, real *v, const real *grad,
                             real scale, real b1, real b2, real rate, real root, real eps,
                             real decay, size_t n) {
    for (size_t i = 0; i < n; i++) {
        adamw_number(hw, w + i, m + i, v + i, grad[i], scale, b1, b2, rate, root, eps, decay);
    }
}
VARIANTS(adamw_piece, (real *w, real *m, real *v, const real *grad, real scale, real b1, real b2,
         real rate, real root, real eps, real decay, size_t n),
         w, m, v, grad, scale, b1, b2, rate, root, eps, decay, n)

// w, m, v, grad(n)
void adamw_update(real *w, real *m, real *v, const real *grad, size_t n, real scale, real b1,
                  real b2, real rate, real root, real eps, real decay) {
    FOR_PIECES(n) {
        adamw_piece(w + at, m + at, v + at, grad + at, scale, b1, b2, rate, root, eps, decay,
                    PIECE_LEN(n));
    }
}
#include "machine.c"
#include "mlp.c"
#endif

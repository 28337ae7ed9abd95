/* kernels.c - the layers on a CPU: adjacent forward/backward pairs.  Read kernels.h first for shapes.
 *
 * Threads divide outputs; each output is summed in order by one thread (NUMERICS.md).  A loop over a row is
 * written once as name_body(hw, ...) and compiled for each instruction set by VARIANTS of matmul.c.        */
#ifndef KERNELS_C
#define KERNELS_C
#include "kernels.h"
#include "matmul.c"
#ifdef __linux__
#include <sys/mman.h>
#endif

#ifdef __GNUC__
__attribute__((const)) float sqrtf(float);                            // no errno: loops can become vectors
#endif

// what a row needs of common.h, in the precision of `real`
#ifdef MORE_DOUBLE
#define R_FMA(a, b, c) ((void)hw, (a) * (b) + (c))
#define R_EXP(x)     ((void)hw, exp(x))
#define R_ERF(x)     ((void)hw, erf(x))
#define R_TANH(x)    ((void)hw, tanh(x))
#define R_SIGMOID(x) ((void)hw, 1 / (1 + exp(-(x))))
#define R_SQRT       sqrt
#define R_ABS        fabs
#else
#define R_FMA        FMA
#define R_EXP(x)     expf_hw(hw, x)
#define R_ERF(x)     erff_hw(hw, x)
#define R_TANH(x)    tanhf_hw(hw, x)
#define R_SIGMOID(x) sigmoidf_hw(hw, x)
#define R_SQRT       sqrtf
#define R_ABS        fabsf
#endif

// ---------------------------------------------------------------------------------------------- memory

int kernels_init(const char *isa_name) {
    if (matmul_init(isa_name) < 0) return -1;
    kernels_free(matmul_work_memory);
    matmul_work_memory = kernels_alloc((size_t)thread_count() * WORK_PER_THREAD);
    return matmul_work_memory ? 0 : -1;
}

real *kernels_alloc(size_t n) {
    void *p = NULL;
    size_t huge = 2u << 20, align = n * sizeof(real) >= huge ? huge : 64;
    if (n > SIZE_MAX / sizeof(real) - 64 || posix_memalign(&p, align, n * sizeof(real) + 64)) {
        fail(EX_OSERR, "out of memory: a tensor of %zu numbers", n);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (align == huge) madvise(p, n * sizeof(real), MADV_HUGEPAGE);
#endif
    memset(p, 0, n * sizeof(real) + 64);
    return p;
}
void kernels_free(real *tensor) { free(tensor); }
void kernels_zero(real *tensor, size_t n) {
    size_t share = n / (size_t)thread_count() + 1024;                 // memset is faster on large pieces
    PARALLEL_FOR
    for (size_t at = 0; at < n; at += share)
        memset(tensor + at, 0, (n - at < share ? n - at : share) * sizeof *tensor);
}
void kernels_write(real *tensor, const real *host, size_t n) {
    if (n) memcpy(tensor, host, n * sizeof *host);
}
void kernels_read(real *host, const real *tensor, size_t n) {
    if (n) memcpy(host, tensor, n * sizeof *host);
}

// ------------------------------------------------------------------------------- sums along a row, 16 lanes

// lane j takes elements 16 i + j; then lane[j] += lane[j+h] for h = 8, 4, 2, 1
INLINE real fold(real *lane) {
    for (int h = 8; h; h >>= 1)
        for (int j = 0; j < h; j++) lane[j] += lane[j+h];
    return lane[0];
}
// element i = 0.. of n goes to lane j = i mod 16; written so that gcc makes a vector of the lanes
#define FOR_LANES(n, ...)                                                                                \
    do {                                                                                                 \
        for (int row = 0; row < (n) / 16; row++)                                                         \
            for (int j = 0; j < 16; j++) { const int i = 16*row + j; __VA_ARGS__; }                      \
        for (int j = 0; j < (n) % 16; j++) { const int i = (n) / 16 * 16 + j; __VA_ARGS__; }             \
    } while (0)
INLINE real row_sum(const real *x, int n) {
    real lane[16] = {0};
    FOR_LANES(n, lane[j] += x[i]);
    return fold(lane);
}
INLINE real row_dot(const int hw, const real *x, const real *y, int n) {
    real lane[16] = {0};
    FOR_LANES(n, lane[j] = R_FMA(x[i], y[i], lane[j]));
    return fold(lane);
}
INLINE real row_max(const real *x, int n) {                           // n >= 1; the order does not matter
    real lane[16], m;
    for (int j = 0; j < 16; j++) lane[j] = x[j < n ? j : 0];
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lane[j] = x[i+j] > lane[j] ? x[i+j] : lane[j];
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    m = lane[0];
    for (int j = 1; j < 16; j++) m = lane[j] > m ? lane[j] : m;
    return m;
}

// Elementwise work is shared out in pieces of this many numbers; columns in strips of at least this many.
enum { PIECE = 8192, STRIP = 64 };
#define FOR_PIECES(n) PARALLEL_FOR_IF(n) for (size_t at = 0; at < (n); at += PIECE)
#define PIECE_LEN(n)  ((n) - at < PIECE ? (n) - at : PIECE)
// a thread's share of C columns: the wider, the longer the runs of memory
static int strip_width(int C) {
    int least = thread_count() * STRIP;
    return (C + least - 1) / least * STRIP;
}

INLINE void plus_piece_body(const int hw, real *out, const real *a, const real *b, size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}
VARIANTS(plus_piece, (real *out, const real *a, const real *b, size_t n), out, a, b, n)
void add_forward(real *out, const real *a, const real *b, size_t n) {
    FOR_PIECES(n) plus_piece(out + at, a + at, b + at, PIECE_LEN(n));
}
INLINE void add3_piece_body(const int hw, real *out, const real *a, const real *b, const real *c, size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = (a[i] + b[i]) + c[i];
}
VARIANTS(add3_piece, (real *out, const real *a, const real *b, const real *c, size_t n), out, a, b, c, n)
void add3_forward(real *out, const real *a, const real *b, const real *c, size_t n) {
    FOR_PIECES(n) add3_piece(out + at, a + at, b + at, c + at, PIECE_LEN(n));
}

// out(C) += sum over rows of x(T,C), rows in order; a thread takes a strip of columns
INLINE void column_sum_body(const int hw, real *out, const real *x, int T, int C, int n) {
    (void)hw;
    for (int t = 0; t < T; t++)
        for (int c = 0; c < n; c++) out[c] += x[(size_t)t*C + c];
}
VARIANTS(column_sum, (real *out, const real *x, int T, int C, int n), out, x, T, C, n)

// ------------------------------------------------------------------------------------------- embeddings

void embed_forward(real *out, const int *token, const int *position, const real *wte, const real *wpe,
                   int T, int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++) {
        const real *e = wte + (size_t)token[t]*C;
        if (wpe) plus_piece(out + (size_t)t*C, e, wpe + (size_t)position[t]*C, (size_t)C);
        else memcpy(out + (size_t)t*C, e, (size_t)C * sizeof *out);
    }
}
void embed_backward(real *dwte, real *dwpe, const real *dout, const int *token, const int *position,
                    int T, int C) {
    const int strip = strip_width(C);
    PARALLEL_FOR
    for (int c = 0; c < C; c += strip) {
        size_t n = (size_t)(C - c < strip ? C - c : strip);
        for (int t = 0; t < T; t++) {
            const real *d = dout + (size_t)t*C + c;
            real *e = dwte + (size_t)token[t]*C + c, *p = dwpe ? dwpe + (size_t)position[t]*C + c : NULL;
            plus_piece(e, e, d, n);
            if (p) plus_piece(p, p, d, n);
        }
    }
}

// ------------------------------------------------------------------------------------------------ norms

// y = xh w + b, xh = (x - mean) rstd, rstd = 1/sqrt(mean((x - mean)^2) + eps)      Ba et al. 2016, eq (3)
// RMS norm: mean = 0 and no b                                             Zhang and Sennrich 2019, eq (4)
INLINE void norm_row_body(const int hw, real *out, real *mean, real *rstd, const real *x, const real *w,
                          const real *b, real eps, int rms, int C) {
    real lane[16] = {0}, m = rms ? 0 : row_sum(x, C) / (real)C;
    FOR_LANES(C, lane[j] = R_FMA(x[i] - m, x[i] - m, lane[j]));
    real r = 1 / R_SQRT(fold(lane) / (real)C + eps);
    *mean = m;
    *rstd = r;
    if (rms) for (int c = 0; c < C; c++) out[c] = x[c] * r * w[c];
    else     for (int c = 0; c < C; c++) out[c] = R_FMA((x[c] - m) * r, w[c], b[c]);
}
VARIANTS(norm_row, (real *out, real *mean, real *rstd, const real *x, const real *w, const real *b, real eps,
         int rms, int C), out, mean, rstd, x, w, b, eps, rms, C)

void norm_forward(real *out, real *mean, real *rstd, const real *inp, const real *w, const real *b, real eps,
                  int rms, int T, int C) {
    PARALLEL_FOR_IF((size_t)T*C)
    for (int t = 0; t < T; t++)
        norm_row(out + (size_t)t*C, mean + t, rstd + t, inp + (size_t)t*C, w, b, eps, rms, C);
}

// u = dy w;  dx = rstd ((u - mean(u)) - xh mean(u xh));  RMS norm: without mean(u)
INLINE void norm_row_back_body(const int hw, real *dx, const real *dy, const real *x, real m, real r,
                               const real *w, int rms, int C) {
    real sum[16] = {0}, dot[16] = {0};
    FOR_LANES(C, const real u = dy[i] * w[i];
                 sum[j] += u;
                 dot[j] = R_FMA(u, (x[i] - m) * r, dot[j]));
    real s1 = rms ? 0 : fold(sum) / (real)C, s2 = fold(dot) / (real)C;
    for (int c = 0; c < C; c++) dx[c] += r * ((dy[c] * w[c] - s1) - (x[c] - m) * r * s2);
}
VARIANTS(norm_row_back, (real *dx, const real *dy, const real *x, real m, real r, const real *w, int rms,
         int C), dx, dy, x, m, r, w, rms, C)

// dw = sum over rows of dy xh;  db = sum over rows of dy
INLINE void norm_columns_back_body(const int hw, real *dw, real *db, const real *dy, const real *x,
                                   const real *mean, const real *rstd, int T, int C, int n) {
    for (int t = 0; t < T; t++) {
        real m = mean[t], r = rstd[t];
        for (int c = 0; c < n; c++) dw[c] = R_FMA(dy[(size_t)t*C + c], (x[(size_t)t*C + c] - m) * r, dw[c]);
        if (db) for (int c = 0; c < n; c++) db[c] += dy[(size_t)t*C + c];
    }
}
VARIANTS(norm_columns_back, (real *dw, real *db, const real *dy, const real *x, const real *mean,
         const real *rstd, int T, int C, int n), dw, db, dy, x, mean, rstd, T, C, n)

void norm_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp, const real *mean,
                   const real *rstd, const real *w, int rms, int T, int C) {
    const int strip = strip_width(C);
    PARALLEL_FOR
    for (int t = 0; t < T; t++)
        norm_row_back(dinp + (size_t)t*C, dout + (size_t)t*C, inp + (size_t)t*C, mean[t], rstd[t], w, rms, C);
    PARALLEL_FOR
    for (int c = 0; c < C; c += strip)
        norm_columns_back(dw + c, rms ? NULL : db + c, dout + c, inp + c, mean, rstd, T, C,
                          C - c < strip ? C - c : strip);
}

// Qwen3's query/key norm: the RMS norm above on each head
void head_norm_forward(real *rows, real *pre, real *rstd, const real *w, real eps, int T, int heads, int HD,
                       int stride) {
    PARALLEL_FOR_IF((size_t)T*heads*HD)
    for (int t = 0; t < T; t++) {
        memcpy(pre + (size_t)t*stride, rows + (size_t)t*stride, (size_t)(heads*HD) * sizeof *pre);
        for (int h = 0; h < heads; h++) {
            size_t at = (size_t)t*stride + (size_t)h*HD;
            real mean;
            norm_row(rows + at, &mean, rstd + (size_t)t*heads + h, pre + at, w, NULL, eps, 1, HD);
        }
    }
}
// dw = sum over rows, and in a row over heads, of dy xh
INLINE void head_columns_back_body(const int hw, real *dw, const real *dy, const real *x, const real *rstd,
                                   int T, int heads, int HD, int stride, int n) {
    for (int t = 0; t < T; t++, dy += stride, x += stride, rstd += heads)
        for (int h = 0; h < heads; h++)
            for (int c = 0; c < n; c++) dw[c] = R_FMA(dy[h*HD + c], x[h*HD + c] * rstd[h], dw[c]);
}
VARIANTS(head_columns_back, (real *dw, const real *dy, const real *x, const real *rstd, int T, int heads,
         int HD, int stride, int n), dw, dy, x, rstd, T, heads, HD, stride, n)
INLINE void head_row_back_body(const int hw, real *dx, const real *x, real r, const real *w, int n) {
    real lane[16] = {0};
    FOR_LANES(n, lane[j] = R_FMA(dx[i] * w[i], x[i] * r, lane[j]));
    real s = fold(lane) / (real)n;
    for (int i = 0; i < n; i++) dx[i] = r * (dx[i] * w[i] - x[i] * r * s);
}
VARIANTS(head_row_back, (real *dx, const real *x, real r, const real *w, int n), dx, x, r, w, n)
void head_norm_backward(real *drows, real *dw, const real *pre, const real *rstd, const real *w, int T,
                        int heads, int HD, int stride) {
    PARALLEL_FOR
    for (int c = 0; c < HD; c += STRIP)
        head_columns_back(dw + c, drows + c, pre + c, rstd, T, heads, HD, stride,
                          HD - c < STRIP ? HD - c : STRIP);
    PARALLEL_FOR
    for (int t = 0; t < T; t++)
        for (int h = 0; h < heads; h++) {
            size_t at = (size_t)t*stride + (size_t)h*HD;
            head_row_back(drows + at, pre + at, rstd[(size_t)t*heads + h], w, HD);
        }
}

// ------------------------------------------------------------------------------------------ linear layers

static int bf16;                                            // precision of the linear layers' operands
void kernels_precision(int is_bf16) { bf16 = is_bf16; }

// out = inp w^T + b
void matmul_forward(real *out, const real *inp, const real *w, const real *b, int T, int C, int OC) {
    matmul(&(Product){out, (size_t)OC, inp, (size_t)C, 1, w, 1, (size_t)C, .M = T, .N = OC, .K = C,
                      .bias = b, .bf16 = bf16});
}

// b of these products as one weight matrix
static Product weights_product(const real *w, int C, int OC) {
    return (Product){.b = w, .brs = 1, .bcs = (size_t)C, .N = OC, .K = C, .bf16 = bf16};
}
size_t matmul_packed_size(int C, int OC) {
    Product p = weights_product(NULL, C, OC);
    return matmul_pack_size(&p);
}
void matmul_pack_weights(real *packed, const real *w, int C, int OC) {
    Product p = weights_product(w, C, OC);
    matmul_pack(packed, &p);
}
void matmul_packed_forward(real *out, const real *inp, const real *packed, const real *b, int T, int C,
                           int OC) {
    Product p = weights_product(packed, C, OC);
    p.c = out, p.ldc = (size_t)OC, p.a = inp, p.ars = (size_t)C, p.acs = 1, p.M = T, p.bias = b;
    p.panel = matmul_panel(&p);
    matmul(&p);
}

// dinp = dout w;  dw += dout^T inp;  db += sum over rows of dout
void matmul_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp, const real *w,
                     int T, int C, int OC, const RowBlocks *blocks) {
    if (dinp) matmul(&(Product){dinp, (size_t)C, dout, (size_t)OC, 1, w, (size_t)C, 1, .M = T, .N = C,
                                .K = OC, .bf16 = bf16});
    if (dw) matmul(&(Product){dw, (size_t)C, dout, 1, (size_t)OC, inp, (size_t)C, 1, .M = OC, .N = C, .K = T,
                              .add = 1, .bf16 = bf16, .blocks = blocks});
    if (!db) return;
    const int strip = strip_width(OC);
    PARALLEL_FOR
    for (int c = 0; c < OC; c += strip) column_sum(db + c, dout + c, T, OC, OC - c < strip ? OC - c : strip);
}

// ----------------------------------------------------------------------------------------------- rotary

// (a, b) -> (a cos - b sin, a sin + b cos) for a = x[i], b = x[i + dims/2]          Su et al. 2021, eq (34)
INLINE void rotary_head_body(const int hw, real *x, const real *cosine, const real *sine, real sign,
                             int half) {
    for (int i = 0; i < half; i++) {
        real a = x[i], b = x[i + half], s = sign * sine[i];
        x[i]        = R_FMA(-b, s, a * cosine[i]);
        x[i + half] = R_FMA(a, s, b * cosine[i]);
    }
}
VARIANTS(rotary_head, (real *x, const real *cosine, const real *sine, real sign, int half),
         x, cosine, sine, sign, half)

void rotary(real *rows, const real *cosine, const real *sine, const int *position, int sign, int T, int heads,
            int HD, int dims, int stride) {
    int half = dims / 2;
    PARALLEL_FOR_IF((size_t)T*heads*HD)
    for (int t = 0; t < T; t++)
        for (int h = 0; h < heads; h++)
            rotary_head(rows + (size_t)t*stride + (size_t)h*HD, cosine + (size_t)position[t]*half,
                        sine + (size_t)position[t]*half, (real)sign, half);
}

// -------------------------------------------------------------------------------------------- attention

/* x_p = scale q.k_p over the keys p = 0.. of the path from the root to the row;  P = softmax(x);
 * o = sum P_p v_p  (Vaswani et al. 2017, eq (1)).  No T x T matrix is kept: forward stores lse = log sum exp
 * x for each row and head, backward computes P = exp(x - lse) again.  A block of ROWS rows holds its full
 * score rows, (ROWS, longest path).
 *
 *     D = do . o;   dP_p = do . v_p;   G_p = P_p (dP_p - D) scale
 *     dq = sum G_p k_p;   dk_p += G_p q;   dv_p += P_p do
 *
 * A task of backward is a group and a key/value head: it alone writes that group's gradients of that head. */
enum { ROWS = 56, MAX_PATH = 16 };                          // rows of a block; segments from root to leaf

// the path of segment s from its root: pieces[0..n) of rows; returns n
typedef struct { int start, len; } KeyRows;
static int segment_path(KeyRows *pieces, const Segment *seg, int s) {
    int n = 0;
    for (int i = s; i >= 0; i = seg[i].parent) n++;
    for (int i = s, j = n; i >= 0; i = seg[i].parent) pieces[--j] = (KeyRows){seg[i].start, seg[i].len};
    return n;
}

// scores(rows, ld) in place -> exp(x - max), zero beyond each row's own key; 1/l and log-sum-exp of each row
INLINE void softmax_rows_body(const int hw, real *x, real *inverse, real *lse, size_t lse_stride, real scale,
                              int rows, int first_keys, int ld) {
    for (int i = 0; i < rows; i++, x += ld) {
        int n = first_keys + i;
        for (int p = 0; p < n; p++) x[p] = scale * x[p];
        real m = row_max(x, n);
        for (int p = 0; p < n; p++) x[p] = R_EXP(x[p] - m);
        for (int p = n; p < ld; p++) x[p] = 0;
        real l = row_sum(x, n);
        inverse[i] = 1 / l;
        lse[(size_t)i*lse_stride] = m + (real)more_log(l);
    }
}
VARIANTS(softmax_rows, (real *x, real *inverse, real *lse, size_t lse_stride, real scale, int rows,
         int first_keys, int ld), x, inverse, lse, lse_stride, scale, rows, first_keys, ld)

INLINE void scale_rows_body(const int hw, real *out, size_t stride, const real *factor, int rows, int n) {
    (void)hw;
    for (int i = 0; i < rows; i++)
        for (int d = 0; d < n; d++) out[(size_t)i*stride + d] *= factor[i];
}
VARIANTS(scale_rows, (real *out, size_t stride, const real *factor, int rows, int n),
         out, stride, factor, rows, n)

// x(rows, ld) scores and dp in place -> P and G; do and o have rows `stride` apart
INLINE void softmax_rows_back_body(const int hw, real *x, real *dp, const real *dout, const real *out,
                                   size_t stride, const real *lse, size_t lse_stride, real scale, int rows,
                                   int first_keys, int ld, int HD) {
    for (int i = 0; i < rows; i++, x += ld, dp += ld) {
        int n = first_keys + i;
        real D = row_dot(hw, dout + (size_t)i*stride, out + (size_t)i*stride, HD);
        real L = lse[(size_t)i*lse_stride];
        for (int p = 0; p < n; p++) {
            real P = R_EXP(scale * x[p] - L);
            x[p] = P;
            dp[p] = P * (dp[p] - D) * scale;
        }
        for (int p = n; p < ld; p++) x[p] = dp[p] = 0;
    }
}
VARIANTS(softmax_rows_back, (real *x, real *dp, const real *dout, const real *out, size_t stride,
         const real *lse, size_t lse_stride, real scale, int rows, int first_keys, int ld, int HD),
         x, dp, dout, out, stride, lse, lse_stride, scale, rows, first_keys, ld, HD)

static real *attention_work_memory;                                   // (threads, 2, ROWS, longest path)
static int   attention_work_keys, attention_work_threads;

// Scratch for paths of up to `keys` rows, for all threads; it only grows. 0, or -1 after fail().
int attention_reserve(int keys) {
    int threads = thread_count();
    if (keys <= attention_work_keys && threads <= attention_work_threads) return 0;
    if (keys < attention_work_keys) keys = attention_work_keys;
    if (threads < attention_work_threads) threads = attention_work_threads;
    kernels_free(attention_work_memory);
    attention_work_memory = kernels_alloc((size_t)threads * 2*ROWS * (size_t)keys);
    attention_work_keys = attention_work_memory ? keys : 0;
    attention_work_threads = threads;
    return attention_work_memory ? 0 : -1;
}

// A block of rows meets all keys up to its last.
double attention_pairs(int before, int len) {
    double pairs = 0;
    for (int i = 0; i < len; i += ROWS) {
        const int rows = len - i < ROWS ? len - i : ROWS;
        pairs += (double)rows * (before + i + rows);
    }
    return pairs;
}

static int group_end(const Segment *seg, int S, int s) {
    for (s++; s < S && seg[s].parent >= 0; s++) ;
    return s;
}

void attention_forward(real *out, real *lse, const real *qkv, const Segment *seg, int S, int T, int NH,
                       int NKV, int HD) {
    const size_t W = (size_t)(NH + 2*NKV) * HD, OW = (size_t)NH * HD;
    const real scale = 1 / R_SQRT((real)HD);
    (void)T;
    PARALLEL_FOR_TASKS
    for (int task = 0; task < S * NH; task++) {
        int s = task / NH, h = task % NH, kv = h / (NH / NKV);
        KeyRows path[MAX_PATH];
        int pieces = segment_path(path, seg, s), before = 0;
        for (int i = 0; i < pieces - 1; i++) before += path[i].len;
        const real *q = qkv + (size_t)h*HD, *k = qkv + (size_t)(NH + kv)*HD, *v = k + (size_t)NKV*HD;
        real *x = attention_work_memory + (size_t)thread_index() * 2*ROWS * (size_t)attention_work_keys;
        real inverse[ROWS];
        for (int i0 = 0; i0 < seg[s].len; i0 += ROWS) {
            int rows = seg[s].len - i0 < ROWS ? seg[s].len - i0 : ROWS, keys = before + i0 + rows;
            size_t r = (size_t)(seg[s].start + i0);
            real *o = out + r*OW + (size_t)h*HD;
            path[pieces-1].len = i0 + rows;
            for (int i = 0, p = 0; i < pieces; p += path[i++].len)
                matmul_one(&(Product){x + p, (size_t)keys, q + r*W, W, 1, k + (size_t)path[i].start*W, 1, W,
                                      .M = rows, .N = path[i].len, .K = HD}, matmul_work());
            softmax_rows(x, inverse, lse + r*NH + h, (size_t)NH, scale, rows, before + i0 + 1, keys);
            for (int i = 0, p = 0; i < pieces; p += path[i++].len)
                matmul_one(&(Product){o, OW, x + p, (size_t)keys, 1, v + (size_t)path[i].start*W, W, 1,
                                      .M = rows, .N = HD, .K = path[i].len, .add = i > 0}, matmul_work());
            scale_rows(o, OW, inverse, rows, HD);
        }
    }
}

void attention_backward(real *dqkv, const real *dout, const real *out, const real *lse, const real *qkv,
                        const Segment *seg, int S, int T, int NH, int NKV, int HD) {
    const size_t W = (size_t)(NH + 2*NKV) * HD, OW = (size_t)NH * HD;
    const real scale = 1 / R_SQRT((real)HD);
    kernels_zero(dqkv, (size_t)T*W);
    PARALLEL_FOR_TASKS
    for (int task = 0; task < S * NKV; task++) {
        int root = task / NKV, kv = task % NKV;
        if (seg[root].parent >= 0) continue;                          // a task starts at the root of a group
        int end = group_end(seg, S, root);
        const size_t ko = (size_t)(NH + kv)*HD, vo = ko + (size_t)NKV*HD;
        real *x = attention_work_memory + (size_t)thread_index() * 2*ROWS * (size_t)attention_work_keys;
        real *g = x + (size_t)ROWS * (size_t)attention_work_keys, *work = matmul_work();
        for (int h = kv * (NH / NKV); h < (kv + 1) * (NH / NKV); h++)
        for (int s = root; s < end; s++) {
            KeyRows path[MAX_PATH];
            int pieces = segment_path(path, seg, s), before = 0;
            for (int i = 0; i < pieces - 1; i++) before += path[i].len;
            for (int i0 = 0; i0 < seg[s].len; i0 += ROWS) {
                int rows = seg[s].len - i0 < ROWS ? seg[s].len - i0 : ROWS, keys = before + i0 + rows;
                size_t r = (size_t)(seg[s].start + i0);
                const real *q = qkv + r*W + (size_t)h*HD;
                const real *o = out + r*OW + (size_t)h*HD, *d = dout + r*OW + (size_t)h*HD;
                path[pieces-1].len = i0 + rows;
                for (int i = 0, p = 0; i < pieces; p += path[i++].len) {
                    const real *row = qkv + (size_t)path[i].start*W;
                    matmul_one(&(Product){x + p, (size_t)keys, q, W, 1, row + ko, 1, W,
                                          .M = rows, .N = path[i].len, .K = HD}, work);
                    matmul_one(&(Product){g + p, (size_t)keys, d, OW, 1, row + vo, 1, W,
                                          .M = rows, .N = path[i].len, .K = HD}, work);
                }
                softmax_rows_back(x, g, d, o, OW, lse + r*NH + h, (size_t)NH, scale, rows, before + i0 + 1,
                                  keys, HD);
                for (int i = 0, p = 0; i < pieces; p += path[i++].len) {
                    const size_t row = (size_t)path[i].start*W;
                    matmul_one(&(Product){dqkv + r*W + (size_t)h*HD, W, g + p, (size_t)keys, 1,
                                          qkv + row + ko, W, 1, .M = rows, .N = HD, .K = path[i].len,
                                          .add = i > 0}, work);
                    matmul_one(&(Product){dqkv + row + ko, W, g + p, 1, (size_t)keys, q, W, 1,
                                          .M = path[i].len, .N = HD, .K = rows, .add = 1}, work);
                    matmul_one(&(Product){dqkv + row + vo, W, x + p, 1, (size_t)keys, d, OW, 1,
                                          .M = path[i].len, .N = HD, .K = rows, .add = 1}, work);
                }
            }
        }
    }
}

// ------------------------------------------------------------------ attention, one token after the other

/* A cache holds for each layer and key/value head what the products take as b: the keys packed as (HD, rows),
 * the values as (rows, HD), in panels of NR columns.                                                       */
static size_t cache_keys(const KeyCache *c, int HD) { return (size_t)c->capacity * (size_t)HD; }
static size_t cache_values(const KeyCache *c, int HD) {
    return (size_t)c->capacity * (size_t)round_up(HD, MAX_NR);
}
static real *cache_head(const KeyCache *c, int layer, int kv, int NKV, int HD) {
    return c->memory + (size_t)(layer*NKV + kv) * (cache_keys(c, HD) + cache_values(c, HD));
}
int cache_reserve(KeyCache *c, int rows, int layers, int NKV, int HD) {
    c->len = 0;
    if (rows <= c->capacity) return 0;
    kernels_free(c->memory);
    c->capacity = round_up(rows, MAX_NR);
    c->memory = kernels_alloc((size_t)(layers*NKV) * (cache_keys(c, HD) + cache_values(c, HD)));
    if (!c->memory) c->capacity = 0;
    return c->memory ? 0 : -1;
}
void cache_free(KeyCache *c) {
    kernels_free(c->memory);
    memset(c, 0, sizeof *c);
}

void cache_append(const CachePath *path, const real *qkv, const Segment *seg, int S, int layer, int NH,
                  int NKV, int HD) {
    const size_t W = (size_t)(NH + 2*NKV) * HD, NR = (size_t)tile->fp32.NR;
    PARALLEL_FOR_IF((size_t)(seg[S-1].start + seg[S-1].len)*W)
    for (int task = 0; task < S * NKV; task++) {
        const int s = task / NKV, kv = task % NKV;
        const KeyCache *c = path[s].own;
        real *keys = cache_head(c, layer, kv, NKV, HD), *values = keys + cache_keys(c, HD);
        assert(c->len + seg[s].len <= c->capacity);
        for (int i = 0; i < seg[s].len; i++) {
            const real *k = qkv + (size_t)(seg[s].start + i)*W + (size_t)(NH + kv)*HD;
            const real *v = k + (size_t)NKV*HD;
            const size_t p = (size_t)(c->len + i);
            for (size_t d = 0; d < (size_t)HD; d++) keys[p/NR*NR*(size_t)HD + d*NR + p%NR] = k[d];
            for (size_t d = 0; d < (size_t)HD; d++) values[d/NR*NR*(size_t)c->capacity + p*NR + d%NR] = v[d];
        }
    }
}

// Rows that share the cache before their own go through it together, at most ROWS of them.
void attention_decode(real *out, const real *qkv, const CachePath *path, int layer, int T, int NH, int NKV,
                      int HD) {
    const size_t W = (size_t)(NH + 2*NKV) * HD, OW = (size_t)NH * HD, NR = (size_t)tile->fp32.NR;
    const real scale = 1 / R_SQRT((real)HD);
    PARALLEL_TASKS_IF((size_t)T*OW*(size_t)path[0].before->len)
    for (int task = 0; task < T * NH; task++) {
        const int t = task / NH, h = task % NH, kv = h / (NH / NKV);
        if (t % ROWS && path[t].before == path[t-1].before) continue;  // an earlier row's task has it
        int rows = 1, longest = path[t].own->len;
        for (; t + rows < T && (t + rows) % ROWS && path[t + rows].before == path[t].before; rows++)
            if (path[t + rows].own->len > longest) longest = path[t + rows].own->len;
        const KeyCache *before = path[t].before;
        const int n = before->len;
        const size_t ld = (size_t)(n + longest + 1);
        const real *q = qkv + (size_t)t*W + (size_t)h*HD, *k = cache_head(before, layer, kv, NKV, HD), *v;
        real *x = attention_work_memory + (size_t)thread_index() * 2*ROWS * (size_t)attention_work_keys;
        real *o = out + (size_t)t*OW + (size_t)h*HD, *work = matmul_work(), inverse[ROWS], lse;
        matmul_one(&(Product){x, ld, q, W, 1, k, .M = rows, .N = n, .K = HD, .panel = NR*(size_t)HD}, work);
        for (int i = 0; i < rows; i++) {
            const KeyCache *own = path[t+i].own;
            const int keys = n + own->len + 1;
            real *xi = x + (size_t)i*ld;
            k = cache_head(own, layer, kv, NKV, HD);
            matmul_one(&(Product){xi + n, ld, q + (size_t)i*W, W, 1, k, .M = 1, .N = keys - n, .K = HD,
                                  .panel = NR*(size_t)HD}, work);
            softmax_rows(xi, inverse + i, &lse, 1, scale, 1, keys, keys);
        }
        v = cache_head(before, layer, kv, NKV, HD) + cache_keys(before, HD);
        matmul_one(&(Product){o, OW, x, ld, 1, v, .M = rows, .N = HD, .K = n,
                              .panel = NR*(size_t)before->capacity}, work);
        for (int i = 0; i < rows; i++) {
            const KeyCache *own = path[t+i].own;
            v = cache_head(own, layer, kv, NKV, HD) + cache_keys(own, HD);
            matmul_one(&(Product){o + (size_t)i*OW, OW, x + (size_t)i*ld + n, ld, 1, v, .M = 1, .N = HD,
                                  .K = own->len + 1, .add = 1, .panel = NR*(size_t)own->capacity}, work);
        }
        scale_rows(o, OW, inverse, rows, HD);
    }
}

// ------------------------------------------------------------------------------------------ activations

/* gelu(x) = x/2 (1 + erf(x/sqrt 2));  gelu' = (1 + erf(x/sqrt 2))/2 + x phi(x)
 * gelu_tanh(x) = x/2 (1 + tanh(u)), u = 0.79788456 (x + 0.044715 x^3)      Hendrycks and Gimpel 2016, sec. 2
 * silu(x) = x sigma(x);  silu' = s (1 + x (1 - s))                                                         */
INLINE real act(const int hw, real x, Activation kind) {
    if (kind == ACT_GELU_ERF)
        return R_FMA((real)0.5 * x, R_ERF(x * (real)0x1.6a09e667f3bcdp-1), (real)0.5 * x);
    if (kind == ACT_SILU) return x * R_SIGMOID(x);
    real u = (real)0x1.988453e8f2c9dp-1 * R_FMA((real)0.044715 * x * x, x, x);
    return R_FMA((real)0.5 * x, R_TANH(u), (real)0.5 * x);
}
INLINE real act_slope(const int hw, real x, Activation kind) {
    if (kind == ACT_GELU_ERF) {
        real phi = (real)0x1.9884533d43651p-2 * R_EXP((real)-0.5 * x * x);       // exp(-x^2/2) / sqrt(2 pi)
        return R_FMA(x, phi, R_FMA((real)0.5, R_ERF(x * (real)0x1.6a09e667f3bcdp-1), (real)0.5));
    }
    if (kind == ACT_SILU) {
        real s = R_SIGMOID(x);
        return s * R_FMA(x, 1 - s, 1);
    }
    real x2 = x * x, t = R_TANH((real)0x1.988453e8f2c9dp-1 * R_FMA((real)0.044715 * x2, x, x));
    real du = (real)0x1.988453e8f2c9dp-1 * R_FMA((real)(3*0.044715), x2, 1);
    return R_FMA((real)0.5 * x * (1 - t*t), du, R_FMA((real)0.5, t, (real)0.5));
}

INLINE void act_piece_body(const int hw, real *out, const real *x, Activation kind, size_t n) {
    switch (kind) {                                         // one loop a kind, so that each is vectorised
    case ACT_GELU_ERF:  for (size_t i = 0; i < n; i++) out[i] = act(hw, x[i], ACT_GELU_ERF);  break;
    case ACT_GELU_TANH: for (size_t i = 0; i < n; i++) out[i] = act(hw, x[i], ACT_GELU_TANH); break;
    case ACT_SILU:      for (size_t i = 0; i < n; i++) out[i] = act(hw, x[i], ACT_SILU);      break;
    }
}
VARIANTS(act_piece, (real *out, const real *x, Activation kind, size_t n), out, x, kind, n)
INLINE void act_back_piece_body(const int hw, real *dx, const real *dy, const real *x, Activation kind,
                                size_t n) {
    switch (kind) {
    case ACT_GELU_ERF:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * act_slope(hw, x[i], ACT_GELU_ERF);
        break;
    case ACT_GELU_TANH:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * act_slope(hw, x[i], ACT_GELU_TANH);
        break;
    case ACT_SILU:
        for (size_t i = 0; i < n; i++) dx[i] = dy[i] * act_slope(hw, x[i], ACT_SILU);
    }
}
VARIANTS(act_back_piece, (real *dx, const real *dy, const real *x, Activation kind, size_t n),
         dx, dy, x, kind, n)

void activation_forward(real *out, const real *inp, Activation kind, int T, int F) {
    size_t n = (size_t)T * F;
    FOR_PIECES(n) act_piece(out + at, inp + at, kind, PIECE_LEN(n));
}
void activation_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F) {
    size_t n = (size_t)T * F;
    FOR_PIECES(n) act_back_piece(dinp + at, dout + at, inp + at, kind, PIECE_LEN(n));
}

// out = act(gate) up                                                               Shazeer 2020, eq (5)
INLINE void multiply_piece_body(const int hw, real *out, const real *a, const real *b, size_t n) {
    (void)hw;
    for (size_t i = 0; i < n; i++) out[i] = a[i] * b[i];
}
VARIANTS(multiply_piece, (real *out, const real *a, const real *b, size_t n), out, a, b, n)
void gated_forward(real *out, const real *inp, Activation kind, int T, int F) {
    PARALLEL_FOR_IF((size_t)T*F)
    for (int t = 0; t < T; t++) {
        const real *gate = inp + (size_t)t*2*F;
        act_piece(out + (size_t)t*F, gate, kind, (size_t)F);
        multiply_piece(out + (size_t)t*F, out + (size_t)t*F, gate + F, (size_t)F);
    }
}
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F) {
    PARALLEL_FOR
    for (int t = 0; t < T; t++) {
        const real *gate = inp + (size_t)t*2*F, *d = dout + (size_t)t*F;
        real *dgate = dinp + (size_t)t*2*F, *dup = dgate + F;
        multiply_piece(dup, d, gate + F, (size_t)F);                  // d up, for the gate's slope
        act_back_piece(dgate, dup, gate, kind, (size_t)F);
        act_piece(dup, gate, kind, (size_t)F);
        multiply_piece(dup, dup, d, (size_t)F);
    }
}

// ------------------------------------------------------------------------------------------ reward head

void pool_forward(real *pooled, const real *inp, const Text *text, Pooling pooling, int B, int C) {
    PARALLEL_FOR
    for (int b = 0; b < B; b++) {
        real *out = pooled + (size_t)b*C;
        if (pooling != POOL_MEAN) {
            memcpy(out, inp + (size_t)text[b].pooled*C, (size_t)C * sizeof *out);
            continue;
        }
        real inverse = 1 / (real)text[b].len;
        memset(out, 0, (size_t)C * sizeof *out);
        column_sum(out, inp + (size_t)text[b].first*C, text[b].len, C, C);
        scale_rows(out, 0, &inverse, 1, C);
    }
}

// r = w . h
INLINE void dot_row_body(const int hw, real *out, const real *a, const real *b, int n) {
    *out = row_dot(hw, a, b, n);
}
VARIANTS(dot_row, (real *out, const real *a, const real *b, int n), out, a, b, n)
void head_forward(real *reward, const real *pooled, const real *w, int B, int C) {
    for (int b = 0; b < B; b++) dot_row(reward + b, pooled + (size_t)b*C, w, C);
}

// dw += dr h;  dh += dr w
INLINE void axpy_body(const int hw, real *out, real a, const real *x, int n) {
    for (int i = 0; i < n; i++) out[i] = R_FMA(a, x[i], out[i]);
}
VARIANTS(axpy, (real *out, real a, const real *x, int n), out, a, x, n)
void head_backward(real *dinp, real *dw, const real *dreward, const real *pooled, const real *w,
                   const Text *text, Pooling pooling, int B, int C) {
    for (int b = 0; b < B; b++) {
        axpy(dw, dreward[b], pooled + (size_t)b*C, C);
        if (pooling != POOL_MEAN) axpy(dinp + (size_t)text[b].pooled*C, dreward[b], w, C);
        else for (int i = 0; i < text[b].len; i++)
            axpy(dinp + (size_t)(text[b].first + i)*C, dreward[b] * (1 / (real)text[b].len), w, C);
    }
}

// ----------------------------------------------------------------------------------- token log-probability

// x(V) logits: m = max, l = sum exp(x - m), lse = m + log l;  log p(target) = x_target - lse
INLINE void lse_row_body(const int hw, real *lse, const real *x, int V) {
    real m = row_max(x, V), lane[16] = {0};
    FOR_LANES(V, lane[j] += R_EXP(x[i] - m));
    *lse = m + (real)more_log(fold(lane));
}
VARIANTS(lse_row, (real *lse, const real *x, int V), lse, x, V)
void lse_forward(real *lse, const real *logits, int T, int V) {
    PARALLEL_FOR_IF((size_t)T*V)
    for (int t = 0; t < T; t++) lse_row(lse + t, logits + (size_t)t*V, V);
}
// d logp / dx_v = [v = target] - exp(x_v - lse), times d; in place
INLINE void logp_row_back_body(const int hw, real *x, real lse, real d, int target, int V) {
    for (int v = 0; v < V; v++) x[v] = -d * R_EXP(x[v] - lse);
    x[target] = d + x[target];
}
VARIANTS(logp_row_back, (real *x, real lse, real d, int target, int V), x, lse, d, target, V)

// the chunk's rows gathered, and their logits
static void logits_of_rows(real *logits, real *rows, const real *inp, const real *w, const int *row, int n,
                           int C, int V) {
    PARALLEL_FOR
    for (int i = 0; i < n; i++) memcpy(rows + (size_t)i*C, inp + (size_t)row[i]*C, (size_t)C * sizeof *rows);
    matmul_forward(logits, rows, w, NULL, n, C, V);
}
void logp_forward(real *logp, const real *inp, const real *w, const int *row, const int *target, int n, int C,
                  int V, real *work, int chunk) {
    real *logits = work, *rows = work + (size_t)chunk*V;
    for (int i0 = 0; i0 < n; i0 += chunk) {
        int m = n - i0 < chunk ? n - i0 : chunk;
        logits_of_rows(logits, rows, inp, w, row + i0, m, C, V);
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            real lse;
            lse_row(&lse, logits + (size_t)i*V, V);
            logp[i0 + i] = logits[(size_t)i*V + target[i0 + i]] - lse;
        }
    }
}
void logp_backward(real *dinp, real *dw, real *logp, const real *dlogp, const real *inp, const real *w,
                   const int *row, const int *target, int n, int C, int V, real *work, int chunk,
                   const RowBlocks *blocks) {
    real *logits = work, *rows = work + (size_t)chunk*V, *drows = rows + (size_t)chunk*C;
    for (int i0 = 0, m, b = 0; i0 < n; i0 += m) {
        RowBlocks part = {NULL, 0};
        m = n - i0 < chunk ? n - i0 : chunk;
        if (blocks) {                                                 // whole blocks that fit
            part.start = blocks->start + b;
            while (b < blocks->count && blocks->start[b+1] - i0 <= chunk) b++, part.count++;
            m = blocks->start[b] - i0;
        }
        logits_of_rows(logits, rows, inp, w, row + i0, m, C, V);
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            real *x = logits + (size_t)i*V, lse, xt = x[target[i0 + i]], lp;
            lse_row(&lse, x, V);
            lp = xt - lse;
            logp_row_back(x, xt - lp, dlogp[i0 + i], target[i0 + i], V);
            if (logp) logp[i0 + i] = lp;
        }
        matmul_backward(drows, dw, NULL, logits, rows, w, m, C, V, blocks ? &part : NULL);
        PARALLEL_FOR
        for (int i = 0; i < m; i++) {
            real *d = dinp + (size_t)row[i0 + i]*C;
            plus_piece(d, d, drows + (size_t)i*C, (size_t)C);
        }
    }
}

// ------------------------------------------------------------------------------------------------ update

enum { NORM_BLOCK = 4096 };
INLINE void squares_body(const int hw, double *sum, const real *x, int n) {
    double lane[16] = {0};
    (void)hw;
    FOR_LANES(n, lane[j] += (double)x[i] * (double)x[i]);
    for (int h = 8; h; h >>= 1)
        for (int j = 0; j < h; j++) lane[j] += lane[j+h];
    *sum = lane[0];
}
VARIANTS(squares, (double *sum, const real *x, int n), sum, x, n)
double sum_of_squares(const real *x, size_t n) {
    enum { BATCH = 256 };                                   // blocks summed side by side, added in order
    double total = 0, part[BATCH];
    for (size_t b0 = 0; b0 < n; b0 += (size_t)BATCH * NORM_BLOCK) {
        PARALLEL_FOR
        for (int i = 0; i < BATCH; i++) {
            size_t b = b0 + (size_t)i * NORM_BLOCK;
            part[i] = 0;
            if (b < n) squares(part + i, x + b, n - b < NORM_BLOCK ? (int)(n - b) : NORM_BLOCK);
        }
        for (int i = 0; i < BATCH; i++) total += part[i];
    }
    return total;
}

INLINE void adamw_piece_body(const int hw, real *w, real *m, real *v, const real *grad, real scale, real b1,
                             real b2, real rate, real root, real eps, real decay, size_t n) {
    for (size_t i = 0; i < n; i++) {
        real g = grad[i] * scale;
        g = R_ABS(g) < (real)0x1p-55 ? 0 : g;
        real mi = R_FMA(b1, m[i], (1 - b1) * g), vi = R_FMA(b2, v[i], (1 - b2) * g * g);
        m[i] = mi = R_ABS(mi) < (real)0x1p-100 ? 0 : mi;
        v[i] = vi = vi < (real)0x1p-100 ? 0 : vi;
        w[i] = R_FMA(-rate, mi / R_FMA(R_SQRT(vi), root, eps), w[i] * decay);
    }
}
VARIANTS(adamw_piece, (real *w, real *m, real *v, const real *grad, real scale, real b1, real b2, real rate,
         real root, real eps, real decay, size_t n), w, m, v, grad, scale, b1, b2, rate, root, eps, decay, n)
void adamw_update(real *w, real *m, real *v, const real *grad, size_t n, real scale, real b1, real b2,
                  real rate, real root, real eps, real decay) {
    FOR_PIECES(n) adamw_piece(w + at, m + at, v + at, grad + at, scale, b1, b2, rate, root, eps, decay,
                              PIECE_LEN(n));
}
#include "machine.c"
#endif

/* kernels.h - the layers' interface, and all that the program knows of a machine.  kernels.c
 * implements it for CPUs; another file with the same functions can be linked in its place
 * (MORE_CUDA, `make seam`), because nobody above the layers looks into a tensor or knows by which
 * instructions and threads a number is computed.
 *
 * A tensor is a block of `real` from kernels_alloc; kernels_write and kernels_read copy from and to
 * host arrays.  Token ids, positions, rows, segments and texts are host arrays, as are logp and
 * dlogp.  Outputs, then inputs, then sizes; a gradient is d + the name of what it belongs to.
 * Forward writes; backward ADDS to gradients, except where it says WRITES.
 *
 *     T token rows, B texts, C channels, OC output channels, F feed-forward width,
 *     NH query heads, NKV key/value heads, HD head size, V vocabulary */
#ifndef KERNELS_H
#define KERNELS_H
#include "tensor.h"

// The layers come from another object, linked: kernels.c compiled by itself, or other hardware's.
#ifdef MORE_CUDA
#define MORE_LINK_KERNELS
#endif

typedef enum { ACT_GELU_ERF, ACT_GELU_TANH, ACT_SILU } Activation;
enum { NUM_ACTIVATIONS = ACT_SILU + 1 };    // apart: a switch handles the kinds alone
typedef enum { POOL_LAST, POOL_EOS, POOL_MEAN, NUM_POOLINGS } Pooling;

/* A segment is `len` rows from `start`, attending to themselves up to the own row and to all of the
 * parent's path; parent is a segment before it, or -1 for a root.  A root and its descendants are
 * contiguous: a group. */
typedef struct { int start, len, parent; } Segment;

// an answer's content rows, and the row that is scored
typedef struct { int first, len, pooled; } Text;

/* Floats; rounded to bf16, and summed in the contract's order; rounded to bf16, and summed by the
 * tensor cores of a GPU in an order of their own, which is outside the contract (NUMERICS.md). */
typedef enum { PRECISION_FP32, PRECISION_BF16, PRECISION_BF16_FAST, NUM_PRECISIONS } Precision;

// ------------------------------------------------------------------------------------- the machine

// Chooses a variant of the layers by its name, or with NULL the fastest. 0, or -1 after fail().
int kernels_init(const char *variant);
const char *kernels_name(void);             // of the variant chosen
const char *kernels_variant(int i);         // those this machine has, fastest first; then NULL
int  kernels_bf16_unit(void);               // 1: it has a unit for bf16, faster than its fp32
const char *kernels_fallback(void);         // to take where that unit is wrong, or NULL
int  kernels_emulate_fma(void);             // 1: a fused multiply-add is a function, and slow
int  kernels_threads(void);
void kernels_bound_spinning(char **argv);    // first in main, which it may start anew
void kernels_set_threads(int n);            // kernels_init follows, if there are more than before
// of operands of matmul_ and logp_, fp32 at first. 0, or -1 after fail(): not on this machine
int  kernels_precision(Precision precision);
void kernels_wait(void);                    // until all that was asked for is done

// run(context, i, thread) for i = 0 .. n-1 by all threads; by one, if few `numbers` are computed
typedef void ParallelTask(void *context, int i, int thread);
void kernels_parallel(int n, size_t numbers, ParallelTask *run, void *context);

// One operation on each of n numbers of host arrays, with the instructions that the layers use.
typedef enum {
    PROBE_ADD,                              // a + b
    PROBE_ADD_SUBTRACT,                     // (a + b) - a
    PROBE_MULTIPLY,                         // a b
    PROBE_MULTIPLY_ADD,                     // a b + c, rounded twice
    PROBE_DIVIDE,                           // a / b
    PROBE_DIVIDE_BY_ONE,                    // a / b[0]
    PROBE_DIVIDE_SUBTRACT,                  // a / b - c
    PROBE_FMA,                              // a b + c, rounded once
    PROBE_DOUBLE_SMALL,                     // a through a subnormal double
    PROBE_DOUBLE_FUSED,                     // (1 + a) (1 + a) - (1 + 2 a) in double
    PROBE_EXP, PROBE_ERF, PROBE_TANH, PROBE_SIGMOID,        // of a
    PROBE_SQRT                              // sqrt |a|
} ProbeOp;
void kernels_probe(float *out, ProbeOp op, const float *a, const float *b, const float *c, int n);

/* The machine's limits: every thread does so many operations, a multiply-add being two, with the
 * instruction of the precision on operands in registers, or with the product's innermost loop on
 * operands in the first cache.  Returns the operations of all threads: a few more than asked. */
double kernels_burst(Precision precision, double operations);
double kernels_burst_tile(Precision precision, double operations);

/* Every thread norms rows in its second cache and sums the exponentials of each, with the 16 lanes
 * of NUMERICS.md or with 64, which wait less for one another: what the fixed order costs.  Returns
 * the numbers read and written by all threads, a few more than asked; 0: not measured here. */
double kernels_burst_sums(int lanes, double numbers);

// ----------------------------------------------------------------------------------------- tensors

real *kernels_alloc(size_t n);              // zeroed; NULL after fail()
double kernels_memory(void);                // bytes that tensors may still take; infinity: any
void  kernels_free(real *tensor);
void  kernels_zero(real *tensor, size_t n);
void  kernels_write(real *tensor, const real *host, size_t n);
void  kernels_read(real *host, const real *tensor, size_t n);
// bytes of narrow matrices, for which kernels_alloc gave room
void  narrow_write(unsigned char *to, const unsigned char *host, size_t n);
// host(rows,n) = w[row ..][first ..] of w(..,C)
void  narrow_read(real *host, const Narrow *w, int C, int row, int rows, int first, int n);

// ------------------------------------------------------------------------------------------ layers

// out(T,C) = wte[token] (+ wpe[position]);  wte(V,C), wpe(P,C) or NULL
void embed_forward(real *out, const int *token, const int *position, const real *wte,
                   const real *wpe, int T, int C);
void embed_backward(real *dwte, real *dwpe, const real *dout, const int *token, const int *position,
                    int T, int C);

// the same of a narrow wte
void embed_narrow(real *out, const int *token, const int *position, const Narrow *wte,
                  const real *wpe, int T, int C);

// layer norm, or RMS norm when rms (then b and mean are not used); mean(T), rstd(T) are kept for
// backward, where dw(C), db(C) may be NULL
void norm_forward(real *out, real *mean, real *rstd, const real *inp, const real *w, const real *b,
                  real eps, int rms, int T, int C);
void norm_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                   const real *mean, const real *rstd, const real *w, int rms, int T, int C);

// RMS norm of each of `heads` heads of HD in rows `stride` apart, in place; pre (laid out like
// rows) and rstd(T, heads) are kept for backward, which turns drows in place; dw may be NULL
void head_norm_forward(real *rows, real *pre, real *rstd, const real *w, real eps, int T, int heads,
                       int HD, int stride);
void head_norm_backward(real *drows, real *dw, const real *pre, const real *rstd, const real *w,
                        int T, int heads, int HD, int stride);

// out(T,OC) = inp(T,C) w(OC,C)^T + b(OC);  b may be NULL
void matmul_forward(real *out, const real *inp, const real *w, const real *b, int T, int C, int OC);
// WRITES dinp(T,C); adds dw(OC,C), or writes it where blocks say so, and db(OC); each may be NULL
void matmul_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                     const real *w, int T, int C, int OC, const RowBlocks *blocks);

// the bits of these of the same weights as numbers
void narrow_forward(real *out, const real *inp, const Narrow *w, const real *b, int T, int C,
                    int OC);
// WRITES dinp
void narrow_backward(real *dinp, const real *dout, const Narrow *w, int T, int C, int OC);

// matmul_forward's bits from weights packed once, which is faster for few rows;
// packed(matmul_packed_size).  Packing is for the instruction set and the precision of the moment.
size_t matmul_packed_size(int C, int OC);
void matmul_pack_weights(real *packed, const real *w, int C, int OC);
void narrow_pack_weights(real *packed, const Narrow *w, int C, int OC);
void matmul_packed_forward(real *out, const real *inp, const real *packed, const real *b, int T,
                           int C, int OC);

/* The feed-forward layer in one: out(T,C) = projw act(fcw inp + fcb) + projb, where act is of width
 * F, and fcw(FC,C) has FC = F rows, or 2F if gated: gate, then up.  projw(C,F); biases or NULL.
 * It has the bits of matmul_, gated_ or activation_ and matmul_, and keeps nothing of width F:
 * backward computes it again.  To be called where mlp_fused says so. */
typedef struct {
    int C, F, gated;
    Activation kind;
    const real *fcw, *fcb, *projw, *projb;
} Mlp;
typedef struct { real *fcw, *fcb, *projw, *projb; } MlpGrads;         // added to, or NULL
int    mlp_fused(const Mlp *l);             // 1: it is faster here; reads C and F
size_t mlp_work_size(const Mlp *l);         // numbers; reads C, F and gated
void   mlp_forward(real *out, const real *inp, const Mlp *l, real *work, int T);
// WRITES dinp(T,C); scratch: dfc(T,FC), act(T,F)
void   mlp_backward(real *dinp, const MlpGrads *g, const real *dout, const real *inp, const Mlp *l,
                    real *dfc, real *act, real *work, int T, const RowBlocks *blocks);

// turns the first `dims` of each of `heads` heads of HD in rows of `stride` by the row's position;
// cosine, sine (P, dims/2); sign +1 forward, -1 backward
void rotary(real *rows, const real *cosine, const real *sine, const int *position, int sign, int T,
            int heads, int HD, int dims, int stride);

/* What decides how much scratch the layers take: a micro-batch's token rows and texts, the longest
 * path, query heads, the widest row; numbers of the largest matrix, the largest narrow one, and of
 * a chunk of logits, or 0. */
typedef struct {
    int rows, texts, keys, heads;
    size_t width, matrix, narrow, logits;
} Scratch;
int    kernels_reserve(const Scratch *s);    // it only grows. 0, or -1 after fail()
size_t kernels_scratch(const Scratch *s);    // bytes of it, and of what all layers share

// qkv(T, (NH + 2 NKV) HD): query heads, key heads, value heads;  out(T, NH HD);
// lse(T, NH) is kept for backward; a row attends to the last `window` rows of its path, itself
// among them
void attention_forward(real *out, real *lse, const real *qkv, const Segment *seg, int S, int T,
                       int NH, int NKV, int HD, int window);
// WRITES dqkv
void attention_backward(real *dqkv, const real *dout, const real *out, const real *lse,
                        const real *qkv, const Segment *seg, int S, int T, int NH, int NKV, int HD,
                        int window);

/* Keys and values of a text's rows 0 .. len-1, of all layers.  Appending does not change len: it is
 * raised by the caller, when the rows have been through every layer. */
typedef struct {
    real *memory;
    int len, capacity;
} KeyCache;
// of a segment: its parent's cache, its own
typedef struct { const KeyCache *before, *own; } CachePath;

// Empties a cache and makes room for so many rows. 0, or -1 after fail().
int  cache_reserve(KeyCache *c, int rows, int layers, int NKV, int HD);
void cache_free(KeyCache *c);
void cache_append(const CachePath *path, const real *qkv, const Segment *seg, int S, int layer,
                  int NH, int NKV, int HD);
// attention_forward's bits for T segments of one row: row t attends to path[t].before, to
// path[t].own and to itself, which has been appended
void attention_decode(real *out, const real *qkv, const CachePath *path, int layer, int T, int NH,
                      int NKV, int HD, int window);

// (T,F); backward WRITES
void activation_forward(real *out, const real *inp, Activation kind, int T, int F);
void activation_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                         int F);
// inp(T,2F): gate, up; out(T,F) = act(gate) * up; backward WRITES
void gated_forward(real *out, const real *inp, Activation kind, int T, int F);
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F);

// out = a + b, out = (a + b) + c; out may be one of them
void add_forward(real *out, const real *a, const real *b, size_t n);
void add3_forward(real *out, const real *a, const real *b, const real *c, size_t n);
// out = out + scale inp, (T,C) both, of which a row begins so many numbers after the one before
void scaled_add(real *out, int out_stride, const real *inp, int inp_stride, real scale, int T,
                int C);

// pooled(B,C): the scored row, or with POOL_MEAN the mean of the content rows
// reward(B) = w(C) . pooled;  dinp(T,C)
void pool_forward(real *pooled, const real *inp, const Text *text, Pooling pooling, int B, int C);
void head_forward(real *reward, const real *pooled, const real *w, int B, int C);
void head_backward(real *dinp, real *dw, const real *dreward, const real *pooled, const real *w,
                   const Text *text, Pooling pooling, int B, int C);

// lse(T): log sum exp of each row of logits(T,V)
void lse_forward(real *lse, const real *logits, int T, int V);
// logp[i] = log softmax(inp[row[i]] w^T)[target[i]] for n scored rows;
// inp(T,C), w(V,C) or where that is NULL narrow; work(chunk, V + C)
void logp_forward(real *logp, const real *inp, const real *w, const Narrow *narrow, const int *row,
                  const int *target, int n, int C, int V, real *work, int chunk);
// the same, and adds the gradient of sum_i dlogp[i] logp[i] to dinp and dw; logp, dw may be NULL;
// work(chunk, V + 2C); blocks of the n rows, then chunk >= 32
void logp_backward(real *dinp, real *dw, real *logp, const real *dlogp, const real *inp,
                   const real *w, const Narrow *narrow, const int *row, const int *target, int n,
                   int C, int V, real *work, int chunk, const RowBlocks *blocks);

// host arrays: out(n) = exp((x(n) - max) / temperature)
void sampling_weights(float *out, const float *x, float max, float temperature, int n);

// in double, by blocks of 4096 numbers, 16 lanes each; NaN or infinity shows in the result
double sum_of_squares(const real *x, size_t n);
/* AdamW (Loshchilov and Hutter 2019, algorithm 2), decay not scaled by the schedule's normaliser:
 *
 *     g = scale grad;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *     w = w decay - rate m / (sqrt(v) root + eps)
 *
 * rate and root hold the bias corrections; moments below 2^-100 are written as zero. */
void adamw_update(real *w, real *m, real *v, const real *grad, size_t n, real scale, real b1,
                  real b2, real rate, real root, real eps, real decay);
#endif

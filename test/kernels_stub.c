/* kernels_stub.c - every function of kernels.h, none of which does anything: what other hardware
 * has to write.  `make seam` links the program with it, so that nothing above kernels.h can come to
 * need more than is there.  kernels_init refuses, and so no layer is ever called. */
#include "../kernels.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"

int kernels_init(const char *variant) {
    return fail(EX_USAGE, "this program was linked with kernels_stub.c: it has no layers");
}
const char *kernels_name(void)           { return "stub"; }
const char *kernels_variant(int i)       { return NULL; }
int    kernels_bf16_unit(void)           { return 0; }
const char *kernels_fallback(void)       { return NULL; }
int    kernels_emulate_fma(void)         { return 0; }
int    kernels_threads(void)             { return 1; }
void   kernels_set_threads(int n)        {}
void   kernels_bound_spinning(char **argv) {}
int    kernels_precision(Precision p)    { return 0; }
void   kernels_wait(void)                {}
int    mlp_fused(const Mlp *l)           { return 0; }
size_t mlp_work_size(const Mlp *l)       { return 0; }
void   mlp_forward(real *out, const real *inp, const Mlp *l, real *work, int T) {}
void   mlp_backward(real *dinp, const MlpGrads *g, const real *dout, const real *inp, const Mlp *l,
                    real *dfc, real *act, real *work, int T, const RowBlocks *blocks) {}
void   kernels_parallel(int n, size_t numbers, ParallelTask *run, void *context) {}

void   kernels_probe(float *out, ProbeOp op, const float *a, const float *b, const float *c,
                     int n) {}
double kernels_burst(Precision p, double operations)      { return 0; }
double kernels_burst_tile(Precision p, double operations) { return 0; }
double kernels_burst_sums(int lanes, double numbers)      { return 0; }

real *kernels_alloc(size_t n)                                    { return NULL; }
double kernels_memory(void)                                      { return 0; }
void  kernels_free(real *tensor)                                 {}
void  kernels_zero(real *tensor, size_t n)                       {}
void  kernels_write(real *tensor, const real *host, size_t n)    {}
void  kernels_read(real *host, const real *tensor, size_t n)     {}
void  narrow_write(unsigned char *to, const unsigned char *host, size_t n) {}
void  narrow_read(real *host, const Narrow *w, int C, int row, int rows, int first, int n) {}

void embed_forward(real *out, const int *token, const int *position, const real *wte,
                   const real *wpe, int T, int C) {}
void embed_narrow(real *out, const int *token, const int *position, const Narrow *wte,
                  const real *wpe, int T, int C) {}
void embed_backward(real *dwte, real *dwpe, const real *dout, const int *token, const int *position,
                    int T, int C) {}

void norm_forward(real *out, real *mean, real *rstd, const real *inp, const real *w, const real *b,
                  real eps, int rms, int T, int C) {}
void norm_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                   const real *mean, const real *rstd, const real *w, int rms, int T, int C) {}
void head_norm_forward(real *rows, real *pre, real *rstd, const real *w, real eps, int T, int heads,
                       int HD, int stride) {}
void head_norm_backward(real *drows, real *dw, const real *pre, const real *rstd, const real *w,
                        int T, int heads, int HD, int stride) {}

void matmul_forward(real *out, const real *inp, const real *w, const real *b, int T, int C,
                    int OC) {}
void matmul_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                     const real *w, int T, int C, int OC, const RowBlocks *blocks) {}
void narrow_forward(real *out, const real *inp, const Narrow *w, const real *b, int T, int C,
                    int OC) {}
void narrow_backward(real *dinp, const real *dout, const Narrow *w, int T, int C, int OC) {}
size_t matmul_packed_size(int C, int OC) { return 0; }
void matmul_pack_weights(real *packed, const real *w, int C, int OC) {}
void narrow_pack_weights(real *packed, const Narrow *w, int C, int OC) {}
void matmul_packed_forward(real *out, const real *inp, const real *packed, const real *b, int T,
                           int C, int OC) {}

void rotary(real *rows, const real *cosine, const real *sine, const int *position, int sign, int T,
            int heads, int HD, int dims, int stride) {}

int    kernels_reserve(const Scratch *s)        { return -1; }
size_t kernels_scratch(const Scratch *s)        { return 0; }
void attention_forward(real *out, real *lse, const real *qkv, const Segment *seg, int S, int T,
                       int NH, int NKV, int HD, int window) {}
void attention_backward(real *dqkv, const real *dout, const real *out, const real *lse,
                        const real *qkv, const Segment *seg, int S, int T, int NH, int NKV,
                        int HD, int window) {}
int  cache_reserve(KeyCache *c, int rows, int layers, int NKV, int HD) { return -1; }
void cache_free(KeyCache *c) {}
void cache_append(const CachePath *path, const real *qkv, const Segment *seg, int S, int layer,
                  int NH, int NKV, int HD) {}
void attention_decode(real *out, const real *qkv, const CachePath *path, int layer, int T, int NH,
                      int NKV, int HD, int window) {}

void activation_forward(real *out, const real *inp, Activation kind, int T, int F) {}
void activation_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T,
                         int F) {}
void gated_forward(real *out, const real *inp, Activation kind, int T, int F) {}
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F) {}
void add_forward(real *out, const real *a, const real *b, size_t n) {}
void add3_forward(real *out, const real *a, const real *b, const real *c, size_t n) {}
void scaled_add(real *out, int out_stride, const real *inp, int inp_stride, real scale, int T,
                int C) {}

void pool_forward(real *pooled, const real *inp, const Text *text, Pooling pooling, int B, int C) {}
void head_forward(real *reward, const real *pooled, const real *w, int B, int C) {}
void head_backward(real *dinp, real *dw, const real *dreward, const real *pooled, const real *w,
                   const Text *text, Pooling pooling, int B, int C) {}

void lse_forward(real *lse, const real *logits, int T, int V) {}
void logp_forward(real *logp, const real *inp, const real *w, const Narrow *narrow, const int *row,
                  const int *target, int n, int C, int V, real *work, int chunk) {}
void logp_backward(real *dinp, real *dw, real *logp, const real *dlogp, const real *inp,
                   const real *w, const Narrow *narrow, const int *row, const int *target, int n,
                   int C, int V, real *work, int chunk, const RowBlocks *blocks) {}
void sampling_weights(float *out, const float *x, float max, float temperature, int n) {}

double sum_of_squares(const real *x, size_t n) { return 0; }
void adamw_update(real *w, real *m, real *v, const real *grad, size_t n, real scale, real b1,
                  real b2, real rate, real root, real eps, real decay) {}

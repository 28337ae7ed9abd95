/* pointwise.h - what is computed of one number, on every machine: the elementary functions in
 * `real`, which is float, and double where test_grad.c compiles the layers; the activations and
 * their slopes; a number rounded to bf16; AdamW.  kernels.c makes loops of them, kernels.cu gives
 * each number a thread. */
#ifndef POINTWISE_H
#define POINTWISE_H
#include "tensor.h"

#if defined __GNUC__ && !defined __cplusplus
__attribute__((const)) float sqrtf(float);        // sets no errno, so that loops can become vectors
#endif

#ifdef MORE_DOUBLE
#define R_FMA(a, b, c) ((void)hw, (a) * (b) + (c))
#define R_EXP(x)       ((void)hw, exp(x))
#define R_ERF(x)       ((void)hw, erf(x))
#define R_TANH(x)      ((void)hw, tanh(x))
#define R_SIGMOID(x)   ((void)hw, 1 / (1 + exp(-(x))))
#define R_SQRT         sqrt
#define R_ABS          fabs
#else
#define R_FMA          FMA
#define R_EXP(x)       expf_hw(hw, x)
#define R_ERF(x)       erff_hw(hw, x)
#define R_TANH(x)      tanhf_hw(hw, x)
#define R_SIGMOID(x)   sigmoidf_hw(hw, x)
#define R_SQRT         sqrtf
#define R_ABS          fabsf
#endif

// ------------------------------------------------------------------------------- activations

// gelu(x) = x/2 (1 + erf(x/sqrt 2))                        Hendrycks and Gimpel 2016, sec. 2
INLINE real gelu_erf(const int hw, real x) {
    const real half = (real)0.5 * x;
    return R_FMA(half, R_ERF(x * (real)0x1.6a09e667f3bcdp-1), half);
}
// gelu' = (1 + erf(x/sqrt 2))/2 + x phi(x),   phi(x) = exp(-x^2/2) / sqrt(2 pi)
INLINE real gelu_erf_slope(const int hw, real x) {
    const real phi = (real)0x1.9884533d43651p-2 * R_EXP((real)-0.5 * x * x);
    const real Phi = R_FMA((real)0.5, R_ERF(x * (real)0x1.6a09e667f3bcdp-1), (real)0.5);
    return R_FMA(x, phi, Phi);
}

// gelu_tanh(x) = x/2 (1 + tanh u),   u = sqrt(2/pi) (x + 0.044715 x^3)          the same
INLINE real gelu_tanh(const int hw, real x) {
    const real half = (real)0.5 * x;
    const real u = (real)0x1.988453e8f2c9dp-1 * R_FMA((real)0.044715 * x * x, x, x);
    return R_FMA(half, R_TANH(u), half);
}
// gelu_tanh' = (1 + t)/2 + x/2 (1 - t^2) du,   t = tanh u,   du = sqrt(2/pi) (1 + 3 0.044715 x^2)
INLINE real gelu_tanh_slope(const int hw, real x) {
    const real x2 = x * x;
    const real t = R_TANH((real)0x1.988453e8f2c9dp-1 * R_FMA((real)0.044715 * x2, x, x));
    const real du = (real)0x1.988453e8f2c9dp-1 * R_FMA((real)(3*0.044715), x2, 1);
    return R_FMA((real)0.5 * x * (1 - t*t), du, R_FMA((real)0.5, t, (real)0.5));
}

// silu(x) = x s,   s = sigma(x)                                       the same; Elfwing et al. 2018
INLINE real silu(const int hw, real x) { return x * R_SIGMOID(x); }
// silu' = s (1 + x (1 - s))
INLINE real silu_slope(const int hw, real x) {
    const real s = R_SIGMOID(x);
    return s * R_FMA(x, 1 - s, 1);
}

// -------------------------------------------------------------------------------------- bf16

#ifndef MORE_DOUBLE
// to bf16, in the upper half: below 2^-55 to +0, else to nearest even; NaN stays NaN.  Ignore the
// lower half.
INLINE uint32_t round_bf16(float x) {
    const uint32_t u = bits_of(x), size = u & 0x7fffffffu;
    uint32_t r = u + 0x7fffu + (u >> 16 & 1);
    r = size > 0x7f800000u ? u | 0x400000u : r;
    return size < 0x24000000u ? 0 : r;
}
#endif

// ------------------------------------------------------------------------------------- AdamW

/* Loshchilov and Hutter 2019, algorithm 2:
 *
 *     g = scale grad;   m = b1 m + (1-b1) g;   v = b2 v + (1-b2) g^2
 *     w = w decay - rate m / (sqrt(v) root + eps)
 *
 * Numbers too small to matter are taken as zero: subnormal moments are 40 times slower, and
 * would be all that an unused embedding has. */
INLINE void adamw_number(const int hw, real *w, real *m, real *v, real grad, real scale, real b1,
                         real b2, real rate, real root, real eps, real decay) {
    real g = grad * scale;
    g = R_ABS(g) < (real)0x1p-55 ? 0 : g;
    real mi = R_FMA(b1, *m, (1 - b1) * g);
    real vi = R_FMA(b2, *v, (1 - b2) * g * g);
    mi = R_ABS(mi) < (real)0x1p-100 ? 0 : mi;
    vi = vi < (real)0x1p-100 ? 0 : vi;
    *m = mi;
    *v = vi;
    *w = R_FMA(-rate, mi / R_FMA(R_SQRT(vi), root, eps), *w * decay);
}
#endif

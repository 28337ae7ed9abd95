/* rows.c - arithmetic of one row of numbers, for the layers: sums in the order that NUMERICS.md
 * gives. */
#ifndef ROWS_C
#define ROWS_C
#include "matmul.c"
#include "pointwise.h"

/* Every sum along a row has 16 lanes, whatever the vectors' width: lane j takes the elements
 * j, 16+j, 32+j, ..; then the lanes are folded.  FOR_LANES runs its statements for each
 * element, i, and its lane, j; it has this form so that gcc makes a vector of the lanes. */
#define FOR_LANES(n, ...)                                             \
    do {                                                              \
        const int whole = (n) / 16 * 16;                              \
        for (int first = 0; first < whole; first += 16) {             \
            for (int j = 0; j < 16; j++) {                            \
                const int i = first + j;                              \
                __VA_ARGS__;                                          \
            }                                                         \
        }                                                             \
        for (int j = 0; j < (n) - whole; j++) {                       \
            const int i = whole + j;                                  \
            __VA_ARGS__;                                              \
        }                                                             \
    } while (0)

// lane[j] += lane[j+h] for h = 8, 4, 2, 1
INLINE real fold(real *lane) {
    UNROLL for (int h = 8; h; h >>= 1) {
        for (int j = 0; j < h; j++) lane[j] += lane[j+h];
    }
    return lane[0];
}

// the largest of the lanes; the order does not matter
INLINE real fold_max(real *lane) {
    UNROLL for (int h = 8; h; h >>= 1) {
        for (int j = 0; j < h; j++) lane[j] = lane[j+h] > lane[j] ? lane[j+h] : lane[j];
    }
    return lane[0];
}

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

// n >= 1; the order does not matter
INLINE real row_max(const real *x, int n) {
    real lane[16];
    for (int j = 0; j < 16; j++) lane[j] = x[j < n ? j : 0];
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        ROLLED for (int j = 0; j < 16; j++) lane[j] = x[i+j] > lane[j] ? x[i+j] : lane[j];
    }
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    return fold_max(lane);
}

// out = a . b
INLINE void dot_row_body(const int hw, real *out, const real *a, const real *b, int n) {
    *out = row_dot(hw, a, b, n);
}
VARIANTS(dot_row, (real *out, const real *a, const real *b, int n), out, a, b, n)

// out(n) += a x(n)
INLINE void axpy_body(const int hw, real *out, real a, const real *x, int n) {
    for (int i = 0; i < n; i++) out[i] = R_FMA(a, x[i], out[i]);
}
VARIANTS(axpy, (real *out, real a, const real *x, int n), out, a, x, n)

// row i of out(rows, n) times factor[i]; rows lie `stride` apart
INLINE void scale_rows_body(const int hw, real *out, size_t stride, const real *factor, int rows,
                            int n) {
    (void)hw;
    for (int i = 0; i < rows; i++) {
        for (int d = 0; d < n; d++) out[(size_t)i*stride + d] *= factor[i];
    }
}
VARIANTS(scale_rows, (real *out, size_t stride, const real *factor, int rows, int n),
         out, stride, factor, rows, n)
#endif

/* newton.c - the step of Newton's method for a few parameters: H^-1 g by Cholesky's H = R R'.
 * In double, in one order.                                                                       */
#ifndef NEWTON_C
#define NEWTON_C
#include "common.h"

void newton_solve(double *g, double *H, const double *size, int d);

/* g (d) becomes H^-1 g; R overwrites the lower half of H (d,d).  A parameter that does not matter,
 * or only as those before it do, is left out and gets 0: its curvature is rounding, below 1e-12 of
 * size (d), from which it was computed by differences.                                           */
void newton_solve(double *g, double *H, const double *size, int d) {
    for (int i = 0; i < d; i++) {
        for (int h = 0; h <= i; h++) {
            double sum = H[i*d + h];
            for (int k = 0; k < h; k++) sum -= H[i*d + k] * H[h*d + k];
            if (h < i) H[i*d + h] = H[h*d + h] > 0 ? sum / H[h*d + h] : 0;
            else       H[i*d + i] = sum > 1e-12 * size[i] ? sqrt(sum) : 0;
        }
    }
    for (int i = 0; i < d; i++) {
        for (int k = 0; k < i; k++) g[i] -= H[i*d + k] * g[k];
        g[i] = H[i*d + i] > 0 ? g[i] / H[i*d + i] : 0;
    }
    for (int i = d - 1; i >= 0; i--) {
        for (int k = i + 1; k < d; k++) g[i] -= H[k*d + i] * g[k];
        g[i] = H[i*d + i] > 0 ? g[i] / H[i*d + i] : 0;
    }
}
#endif

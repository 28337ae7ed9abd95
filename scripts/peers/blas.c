/* blas.c - a BLAS's speed on the products of a transformer, to set beside ours.
 *
 *     cc -O2 blas.c -o blas -lopenblas
 *     echo "forward 1024 2304 768" | OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 ./blas [NAME]
 *
 * Old releases run their AVX2 kernels on processors they do not know: OPENBLAS_VERBOSE=2 says which, OPENBLAS_CORETYPE=SKYLAKEX
 * asks for AVX-512.                                                                                          */
#include "product.h"
#include <cblas.h>

typedef struct { Shape s; float *a, *b, *out; } Product;

static void run(void *arg) {
    const Product *p = arg;
    int M = p->s.M, N = p->s.N, K = p->s.K, dw = p->s.kind == DW, forward = p->s.kind == FORWARD;
    cblas_sgemm(CblasRowMajor, dw ? CblasTrans : CblasNoTrans, forward ? CblasTrans : CblasNoTrans, M, N, K, 1,
                p->a, dw ? M : K, p->b, forward ? K : N, dw, p->out, N);
}

// the product of the first row and column in double, to know that the call above means what it should
static void check(const Product *p) {
    int M = p->s.M, N = p->s.N, K = p->s.K;
    double sum = 0;
    for (int k = 0; k < K; k++)
        sum += (double)p->a[(size_t)k * (p->s.kind == DW ? M : 1)] * p->b[(size_t)k * (p->s.kind == FORWARD ? 1 : N)];
    memset(p->out, 0, sizeof *p->out);
    run((void *)p);
    if (!(sum - p->out[0] < 1e-3 && p->out[0] - sum < 1e-3)) {
        fprintf(stderr, "wrong product: %g, not %g\n", p->out[0], sum);
        exit(1);
    }
}

int main(int argc, char **argv) {
    Product p;
    while (next_shape(&p.s)) {
        size_t M = (size_t)p.s.M, N = (size_t)p.s.N, K = (size_t)p.s.K;
        p.a = random_floats(M * K), p.b = random_floats(K * N), p.out = random_floats(M * N);
        check(&p);
        report(argc > 1 ? argv[1] : "openblas", "fp32", p.s, run, &p);
        free(p.a), free(p.b), free(p.out);
    }
    return 0;
}

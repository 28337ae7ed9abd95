/* product.h - what the two programs beside it share: the shapes they read, the clock, the line they print.
 *
 * A shape is "kind M N K" or a line of `more bench --out`; the product is (M,N), its sums are K long:
 *     forward   out(T,OC)  = inp(T,C) w(OC,C)^T          M = T    N = OC   K = C
 *     dX        dinp(T,C)  = dout(T,OC) w(OC,C)          M = T    N = C    K = OC
 *     dW        dw(OC,C)  += dout(T,OC)^T inp(T,C)       M = OC   N = C    K = T
 * Arrays are row-major and on huge pages where the system gives them.                                        */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef struct { int kind, M, N, K; } Shape;
enum { FORWARD, DX, DW, NUM_KINDS };
static const char *const kinds[NUM_KINDS] = {"forward", "dX", "dW"};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int json_int(const char *line, const char *key) {
    const char *p = strstr(line, key);
    return p ? atoi(p + strlen(key)) : 0;
}

// The next shape of stdin; other lines are passed over.  1, or 0 at the end.
static int next_shape(Shape *s) {
    char line[4096], kind[16];
    while (fgets(line, sizeof line, stdin)) {
        s->kind = NUM_KINDS;
        s->M = s->N = s->K = 0;
        if (line[0] == '{' && strstr(line, "\"product ")) {
            for (int k = 0; k < NUM_KINDS; k++) {
                char end[24];
                snprintf(end, sizeof end, " %s\"", kinds[k]);
                if (strstr(line, end)) s->kind = k;
            }
            s->M = json_int(line, "\"M\":"), s->N = json_int(line, "\"N\":"), s->K = json_int(line, "\"K\":");
        } else if (sscanf(line, "%15s %d %d %d", kind, &s->M, &s->N, &s->K) == 4) {
            for (int k = 0; k < NUM_KINDS; k++)
                if (!strcmp(kind, kinds[k])) s->kind = k;
        }
        if (s->kind < NUM_KINDS && s->M > 0 && s->N > 0 && s->K > 0) return 1;
    }
    return 0;
}

static void *huge(size_t bytes) {
    size_t page = (size_t)1 << 21;
    void *p = aligned_alloc(page, (bytes + page - 1) / page * page);
    if (!p) fprintf(stderr, "out of memory\n"), exit(1);
    madvise(p, (bytes + page - 1) / page * page, MADV_HUGEPAGE);
    return p;
}

static float *random_floats(size_t n) {                               // in [-0.5, 0.5)
    float *p = huge(n * sizeof *p);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = (float)(x >> 40) * 0x1p-24f - 0.5f;
    }
    return p;
}

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Runs a product once to warm up, then again and again; prints the median speed.
static void report(const char *peer, const char *precision, Shape s, void (*run)(void *), void *arg) {
    enum { MOST = 200, LEAST = 3 };
    double took[MOST], start, limit = getenv("SECONDS_EACH") ? atof(getenv("SECONDS_EACH")) : 0.15;
    const char *threads = getenv("OMP_NUM_THREADS");
    int n = 0;
    run(arg);
    start = seconds();
    while (n < MOST && (n < LEAST || seconds() - start < limit)) {
        double t = seconds();
        run(arg);
        took[n++] = seconds() - t;
    }
    qsort(took, (size_t)n, sizeof *took, compare_seconds);
    printf("{\"name\":\"product %dx%dx%d %s\",\"peer\":\"%s\",\"threads\":%d,\"precision\":\"%s\",\"M\":%d,\"N\":%d,"
           "\"K\":%d,\"value\":%.5g,\"unit\":\"GFLOP/s\",\"times\":%d}\n", s.M, s.N, s.K, kinds[s.kind], peer,
           threads ? atoi(threads) : 0, precision, s.M, s.N, s.K, 2e-9 * s.M * s.N * s.K / took[n / 2], n);
    fflush(stdout);
}

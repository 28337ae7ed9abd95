/* hash_functions.c - each own function of common.h on all its inputs: a digest of all results, to
 * compare two machines, and the largest error (NUMERICS.md).
 *
 *     make functions
 *     cc -O2 -march=native -fopenmp scripts/hash_functions.c -o hash_functions -lm
 *     ./hash_functions                all: of float all 2^32 inputs, of double every 61st float
 *     ./hash_functions log 1          one, on so-many-th inputs
 *
 * The inputs are floats in the order of their bits, 0 to 2^32 - 1; sin and cos are for |x| < 1e6,
 * and not a number beyond.  The digest is the checksum (files/checksum.c) of the checksums of each
 * 2^16 results: the bits of doubles, or of two floats, the first in the low half, in 8 bytes, of NaN
 * those of the positive quiet one.  The error is |result - right| in units in the last place of the
 * right result, which is libm's in double for floats, and in long double, where that is wider, for
 * doubles.                                                                                       */
#include "../common.h"
#include "../files/checksum.c"
#include <inttypes.h>

enum { BLOCK = 1 << 16, CHUNK = 256, DOUBLE_STRIDE = 61 };

typedef struct {
    const char *name;
    void (*single)(float y[CHUNK], const float x[CHUNK]);          // one of these two
    double (*own)(double x);
    double (*right)(double x);                  // of single
    long double (*right_long)(long double x);   // of own
    double below;                               // inputs with |x| from here on are left out
} Function;

// What a block of inputs came to.
typedef struct {
    uint64_t sum;
    double worst;                               // units in the last place, INFINITY: no number
    float at;
} Found;

// ---------------------------------------------------------------------------------- the functions

// A loop for each, which the compiler makes vectors of.
#define CHUNK_OF(name, function)                                                                   \
    static void name(float y[CHUNK], const float x[CHUNK]) {                                       \
        for (int i = 0; i < CHUNK; i++) y[i] = function(HW, x[i]);                                 \
    }
CHUNK_OF(single_exp, expf_hw)
CHUNK_OF(single_erf, erff_hw)
CHUNK_OF(single_tanh, tanhf_hw)
CHUNK_OF(single_sigmoid, sigmoidf_hw)

// libm in double; where the first term of a series is as good, that, which is faster
static double right_exp(double x) { return fabs(x) < 0x1p-30 ? 1 + x : exp(x); }
static double right_erf(double x) {
    if (fabs(x) < 0x1p-30) return x * 1.1283791670955126;          // 2 / sqrt(pi)
    return fabs(x) > 6.5 ? copysign(1, x) : erf(x);
}
static double right_tanh(double x) {
    if (fabs(x) < 0x1p-30) return x;
    return fabs(x) > 22 ? copysign(1, x) : tanh(x);
}
static double right_sigmoid(double x) {
    const double e = right_exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}
static double own_sin(double x) {
    double s, c;
    more_sincos(x, &s, &c);
    return s;
}
static double own_cos(double x) {
    double s, c;
    more_sincos(x, &s, &c);
    return c;
}

static const Function functions[] = {
    {.name = "expf",     .single = single_exp,     .right = right_exp},
    {.name = "erff",     .single = single_erf,     .right = right_erf},
    {.name = "tanhf",    .single = single_tanh,    .right = right_tanh},
    {.name = "sigmoidf", .single = single_sigmoid, .right = right_sigmoid},
    {.name = "exp",      .own = more_exp,          .right_long = expl},
    {.name = "log",      .own = more_log,          .right_long = logl},
    {.name = "log1p",    .own = more_log1p,        .right_long = log1pl},
    {.name = "expm1",    .own = more_expm1,        .right_long = expm1l},
    {.name = "sin",      .own = own_sin,           .right_long = sinl, .below = 1e6},
    {.name = "cos",      .own = own_cos,           .right_long = cosl, .below = 1e6},
};
enum { NUM_FUNCTIONS = sizeof functions / sizeof *functions };

// ------------------------------------------------------------------------------------- the errors

// 2^e, of doubles that are normal numbers.
static double power_of_two(int e) {
    const uint64_t u = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// |y - right| in units of the float next to right; an infinite float counts as 2^128.
static double error_single(float y, double right) {
    if (isnan(y) || isnan(right)) return isnan(y) && isnan(right) ? 0 : INFINITY;
    const double beyond = 0x1p128, is = isinf(y) ? copysign(beyond, y) : (double)y;
    if (right > beyond) right = beyond;
    int e = (int)(bits_of((float)right) >> 23 & 255);
    if (e == 0) e = 1;                          // subnormal numbers are as far apart
    if (e == 255) e = 254;
    return fabs(is - right) * power_of_two(150 - e);
}

// The same of doubles; right is 0, infinite or a number that double has, but for its last digits.
static double error_double(double y, long double right) {
    const double near = (double)right;
    if (isnan(y) || isnan(near)) return isnan(y) && isnan(near) ? 0 : INFINITY;
    if (isinf(y) || isinf(near)) return y == near ? 0 : INFINITY;
    uint64_t u;
    memcpy(&u, &near, sizeof u);
    int e = (int)(u >> 52 & 2047);
    if (e == 0) e = 1;
    const int first = min_int(1023, 1075 - e);  // 2^1074 is no double: in two factors
    const long double scaled = ((long double)y - right) * power_of_two(first);
    return (double)fabsl(scaled * power_of_two(1075 - e - first));
}

static void keep_worst(Found *found, double error, float x) {
    if (!(error > found->worst)) return;
    found->worst = error;
    found->at = x;
}

// -------------------------------------------------------------------------------------- the inputs

// The results of n inputs in x: to the checksum, and their errors.
static void hash_singles(Found *found, Checksum *c, const Function *f, const float x[CHUNK],
                         int n) {
    float y[CHUNK];
    uint64_t word = 0;
    f->single(y, x);
    for (int i = 0; i < n; i++) {
        keep_worst(found, error_single(y[i], f->right(x[i])), x[i]);
        const uint64_t bits = isnan(y[i]) ? 0x7fc00000 : bits_of(y[i]);
        word |= bits << (i % 2 ? 32 : 0);
        if (i % 2 == 0 && i + 1 < n) continue;
        checksum_number(c, word);
        word = 0;
    }
}

static void hash_doubles(Found *found, Checksum *c, const Function *f, const float x[CHUNK],
                         int n) {
    for (int i = 0; i < n; i++) {
        const int is_out = f->below > 0 && !(fabsf(x[i]) < f->below);
        const double y = is_out ? NAN : f->own(x[i]);
        uint64_t bits;
        memcpy(&bits, &y, sizeof bits);
        checksum_number(c, isnan(y) ? 0x7ff8000000000000u : bits);
        if (is_out || LDBL_MANT_DIG <= 53) continue;
        keep_worst(found, error_double(y, f->right_long(x[i])), x[i]);
    }
}

// The results of n inputs from number `first` on.
static Found hash_block(const Function *f, uint64_t first, uint64_t n, uint64_t stride) {
    Found found = {.worst = 0};
    Checksum c;
    checksum_start(&c);
    for (uint64_t at = first; at < first + n; at += CHUNK) {
        const uint64_t left = first + n - at;
        float x[CHUNK] = {0};
        const int k = left < CHUNK ? (int)left : CHUNK;
        for (int i = 0; i < k; i++) x[i] = float_of((uint32_t)((at + (uint64_t)i) * stride));
        if (f->single) hash_singles(&found, &c, f, x, k);
        else hash_doubles(&found, &c, f, x, k);
    }
    found.sum = checksum_finish(&c);
    return found;
}

// A line about one function on every stride-th input.  0, or -1 after fail().
static int hash_function(const Function *f, uint64_t stride) {
    const uint64_t inputs = (((uint64_t)1 << 32) - 1) / stride + 1;
    const int blocks = (int)((inputs + BLOCK - 1) / BLOCK);
    Found *found = allocate((size_t)blocks, sizeof *found), all = {.worst = 0};
    Checksum c;
    if (!found) return -1;
    #pragma omp parallel for schedule(dynamic)
    for (int k = 0; k < blocks; k++) {
        const uint64_t first = (uint64_t)k * BLOCK, left = inputs - first;
        found[k] = hash_block(f, first, left < BLOCK ? left : BLOCK, stride);
    }
    checksum_start(&c);
    for (int k = 0; k < blocks; k++) {
        checksum_number(&c, found[k].sum);
        if (!(found[k].worst > all.worst)) continue;
        all.worst = found[k].worst;
        all.at = found[k].at;
    }
    free(found);
    printf("%-8s  %10" PRIu64 " inputs  %016" PRIx64, f->name, inputs, checksum_finish(&c));
    if (f->single || LDBL_MANT_DIG > 53) printf("  %.4f ulp at %a", all.worst, (double)all.at);
    printf("\n");
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    const uint64_t asked = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    int known = 0;
    for (int k = 0; k < NUM_FUNCTIONS; k++) {
        const Function *f = &functions[k];
        if (argc > 1 && strcmp(argv[1], "all") && strcmp(argv[1], f->name)) continue;
        const uint64_t stride = f->single ? 1 : DOUBLE_STRIDE;
        known = 1;
        if (hash_function(f, asked ? asked : stride) < 0) return EX_OSERR;
    }
    if (known) return 0;
    fprintf(stderr, "hash_functions [all|expf|erff|tanhf|sigmoidf|exp|log|log1p|expm1|sin|cos "
            "[STRIDE]]\n");
    return EX_USAGE;
}

/* common.h - what every file shares: errors, memory, files, random numbers, and the floating-point
 * contract with our own exp, log, erf, tanh, sin and cos.  The rules behind the numbers stand in
 * NUMERICS.md.
 *
 * It is included before any system header.  Its functions are static, so that each unit has its
 * own; what a whole program has once is the text of the last error. */
#ifndef COMMON_H
#define COMMON_H

#ifdef __FAST_MATH__                            // asked first: the pragma below would hide it
#error "-ffast-math and -Ofast change results: build without them (NUMERICS.md)"
#endif

// a*b + c is two roundings; loops are vectorised, except for debuggers: with -O0 and -DMORE_DEBUG.
// nvcc, for which kernels.cu includes this, is told so by its flags (Makefile).
#if defined __CUDACC__
#elif defined __clang__
#pragma STDC FP_CONTRACT OFF
#elif defined __GNUC__ && defined __OPTIMIZE__ && !defined MORE_DEBUG
#pragma GCC optimize("O3", "fp-contract=off", "no-math-errno", "no-trapping-math")
#elif defined __GNUC__
#pragma GCC optimize("fp-contract=off", "no-math-errno", "no-trapping-math")
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#ifdef __s390x__
#error "with -std=c11 gcc computes floats in double here: add -std=gnu11 (NUMERICS.md)"
#elif defined __m68k__
#error "the 68881 rounds to other widths: add -m68040 (NUMERICS.md)"
#else
#error "this compiler rounds in extended precision: add -msse2 -mfpmath=sse (NUMERICS.md)"
#endif
#endif

// ------------------------------------------------------------------------------------------ errors

// exit codes, as in sysexits.h; and as of cmp and diff: what was compared differs
enum { EX_DIFFERS = 1, EX_USAGE = 64, EX_DATAERR = 65, EX_NOINPUT = 66, EX_OSERR = 71, EX_CANTCREAT = 73,
       EX_IOERR = 74, EX_TEMPFAIL = 75 };

#ifdef __CUDACC__
#define ON_GPU_TOO __host__ __device__
#else
#define ON_GPU_TOO
#endif
#ifdef __GNUC__
#define PRINTF_LIKE(form, rest) __attribute__((format(printf, form, rest)))
#define HOST_INLINE static inline __attribute__((always_inline))
#else
#define PRINTF_LIKE(form, rest)
#define HOST_INLINE static inline
#endif
#define INLINE ON_GPU_TOO HOST_INLINE

/* What main prints and what it exits with, one for the whole program: the program's unit defines
 * them; a unit that is compiled with MORE_OBJECT to be linked to it (the layers) declares them. */
#ifdef MORE_OBJECT
extern char error_text[1024];
extern int  error_code;
#else
char error_text[1024];
int  error_code;
#endif

enum { ERROR_UNHEARD = -1 };            // error_code while threads work: fail() notes nothing

// Notes what went wrong (file, line or name, what, what to do) and the exit code; returns -1.
PRINTF_LIKE(2, 3) static inline int fail(int code, const char *format, ...) {
    va_list args;
    if (error_code == ERROR_UNHEARD) return -1;
    va_start(args, format);
    vsnprintf(error_text, sizeof error_text, format, args);
    va_end(args);
    error_code = code;
    return -1;
}

// Does the file go to a terminal where a line can be overwritten?
static inline int is_screen(int file) {
    const char *kind = getenv("TERM");
    return isatty(file) && !(kind && !strcmp(kind, "dumb"));
}

// ------------------------------------------------------------------------------------------ memory

// Zeroed memory for count things of size bytes, or NULL after fail().
static inline void *allocate(size_t count, size_t size) {
    void *p = size && count > SIZE_MAX / size ? NULL : calloc(count ? count : 1, size ? size : 1);
    if (!p) fail(EX_OSERR, "out of memory: %zu x %zu bytes asked for", count, size);
    return p;
}

ON_GPU_TOO static inline int min_int(int a, int b) { return a < b ? a : b; }
ON_GPU_TOO static inline int max_int(int a, int b) { return a > b ? a : b; }
static inline size_t max_size(size_t a, size_t b)  { return a > b ? a : b; }

// Makes room in *array (of *capacity things of size bytes) for at least need of them, twice as many
// as there were. 0, or -1 after fail().
static inline int reserve(void *array, size_t *capacity, size_t need, size_t size) {
    const size_t most = PTRDIFF_MAX / size;
    if (need > most) return fail(EX_OSERR, "out of memory: %zu x %zu bytes asked for", need, size);
    if (need <= *capacity) return 0;
    size_t wanted = *capacity < most / 2 ? *capacity * 2 : most;
    if (wanted < need) wanted = need;
    if (wanted < 16) wanted = 16;
    void *memory;                               // *array, whatever it points to
    memcpy(&memory, array, sizeof memory);
    memory = realloc(memory, wanted * size);
    if (!memory) return fail(EX_OSERR, "out of memory: %zu x %zu bytes asked for", wanted, size);
    memcpy(array, &memory, sizeof memory);
    *capacity = wanted;
    return 0;
}

// bytes; data is NULL, or ends with a zero beyond len
typedef struct {
    char *data;
    size_t len, capacity;
} Buffer;

static inline int buffer_append(Buffer *b, const void *bytes, size_t n) {
    if (n >= PTRDIFF_MAX || b->len >= PTRDIFF_MAX - n) return fail(EX_OSERR, "out of memory");
    if (reserve(&b->data, &b->capacity, b->len + n + 1, 1) < 0) return -1;
    if (n) memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = 0;
    return 0;
}

PRINTF_LIKE(2, 3) static inline int buffer_printf(Buffer *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (reserve(&b->data, &b->capacity, b->len + (size_t)n + 1, 1) < 0) return -1;
    va_start(args, format);
    vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
    return 0;
}

static inline void buffer_free(Buffer *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

// As open, which a signal's handler may interrupt where a pipe waits for its other end.
static inline int fd_open(const char *path, int flags) {
    int fd = open(path, flags);
    while (fd < 0 && errno == EINTR) fd = open(path, flags);
    return fd;
}

// Appends what fd still has, up to its end; a signal that comes meanwhile changes nothing. 0, or -1
// after fail() with the name.
static inline int fd_read(Buffer *b, int fd, const char *name) {
    for (;;) {
        if (reserve(&b->data, &b->capacity, b->len + 2, 1) < 0) return -1;
        const ssize_t n = read(fd, b->data + b->len, b->capacity - b->len - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(EX_IOERR, "%s: %s", name, strerror(errno));
        if (n == 0) break;
        b->len += (size_t)n;
    }
    b->data[b->len] = 0;
    return 0;
}

// Appends a whole regular file to b, of files that do not know their size (/proc, /sys) too. 0, or
// -1 after fail() with the path.
static inline int file_read(Buffer *b, const char *path) {
    struct stat st;
    size_t size;
    int result = -1;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return fail(EX_NOINPUT, "%s: not a regular file", path);
    }
    const int fd = fd_open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail(errno == ENOMEM ? EX_OSERR : EX_NOINPUT, "%s: %s", path, strerror(errno));
    }
    if (fstat(fd, &st) < 0) {
        fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
        goto done;
    }

    // room for one byte more than the size: the end of the file is met without asking for memory
    size = (size_t)st.st_size;
    if (reserve(&b->data, &b->capacity, b->len + size + 2, 1) < 0) goto done;
    result = fd_read(b, fd, path);
done:
    close(fd);
    return result;
}

// ---------------------------------------------------------------------------------- random numbers

// Counter-based: the value depends on (seed, stream, step, index) alone, so there is no state to
// save. The mixing function is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
static inline uint64_t random_mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
enum { STREAM_INIT, STREAM_HEAD, STREAM_ORDER, STREAM_RESAMPLE, STREAM_BOOTSTRAP, STREAM_FOLD,
       STREAM_TEST, STREAM_SAMPLE, STREAM_PEOPLE, STREAM_MIXTURE, STREAM_CLUSTER, STREAM_SEARCH,
       STREAM_ADAPTER };
static inline uint64_t random_u64(uint64_t seed, uint64_t stream, uint64_t step, uint64_t index) {
    return random_mix(random_mix(random_mix(random_mix(seed) ^ stream) ^ step) ^ index);
}
// uniform in [0, n), n < 2^32: the high half of a 32 x 32 bit product
static inline uint32_t random_below(uint32_t n, uint64_t seed, uint64_t stream, uint64_t step,
                                    uint64_t index) {
    return (uint32_t)(((random_u64(seed, stream, step, index) >> 32) * n) >> 32);
}
// uniform in (0, 1): the middles of 2^52 equal parts
static inline double random_unit(uint64_t seed, uint64_t stream, uint64_t step, uint64_t index) {
    return ((double)(random_u64(seed, stream, step, index) >> 12) + 0.5) * 0x1p-52;
}
// a permutation of 0..n-1 (Fisher-Yates)
static inline void random_permutation(uint32_t *p, uint32_t n, uint64_t seed, uint64_t stream,
                                      uint64_t step) {
    for (uint32_t i = 0; i < n; i++) p[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = random_below(i, seed, stream, step, i), t = p[i-1];
        p[i-1] = p[j];
        p[j] = t;
    }
}

// --------------------------------------------------------------------- the floating-point contract

/* A fused multiply-add is one rounding of a*b + c.  Where the hardware has it we use it; elsewhere
 * this is the definition: the product of two floats is exact in double, the sum is rounded to odd,
 * then once to float (Boldo and Melquiond 2008). */
INLINE float exact_fmaf(float a, float b, float c) {
    double p = (double)a * b, s = p + c, t = s - p;
    double e = (p - (s - t)) + (c - t);         // s + e = p + c exactly (2Sum)
    uint64_t u;
    memcpy(&u, &s, 8);
    uint64_t inexact = (e < 0) | (e > 0), toward_zero = (e < 0) ^ (s < 0);
    u -= inexact & toward_zero & ~(u & 1);      // an even s becomes the odd neighbour next to s + e
    u += inexact & ~toward_zero & ~(u & 1);
    memcpy(&s, &u, 8);
    return (float)s;
}

/* A loop that should be fast is written once, as an INLINE function whose first parameter is `const
 * int hw`, and instantiated for each instruction set; hw says at compile time whether FMA is one
 * instruction there. */
#if defined __CUDA_ARCH__
#define FMA(a, b, c) ((void)hw, fmaf(a, b, c))
#elif defined __GNUC__ && !defined __TINYC__
#define FMA(a, b, c) (hw ? __builtin_fmaf(a, b, c) : exact_fmaf(a, b, c))
#else
#define FMA(a, b, c) ((void)hw, exact_fmaf(a, b, c))
#endif
#if defined FP_FAST_FMAF || defined __FMA__ || defined __aarch64__ || defined __powerpc64__ \
    || defined __s390x__ || defined __riscv_d
enum { HW = 1 };                                // of the machine this file is compiled for
#else
enum { HW = 0 };
#endif
static inline float more_fmaf(float a, float b, float c) {
    const int hw = HW;
    return FMA(a, b, c);
}

INLINE float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
INLINE uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; coefficients of this and the functions
// below from scripts/fit_polynomials.py
INLINE float expf_hw(const int hw, float x) {
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;                  // NaN passes both
    float t = FMA(x, 0x1.715476p+0f, 0x1.8p+23f);
    float n = t - 0x1.8p+23f;                   // adding 1.5 2^23 rounded to an integer
    float r = FMA(n, -0x1.62e4p-1f, x);         // ln 2 in two parts, the first of 15 bits
    r = FMA(n, -0x1.7f7d1cp-20f, r);
    float q = FMA(0x1.6d7c9ep-10f, r, 0x1.123afep-7f);
    q = FMA(q, r, 0x1.5554bep-5f);
    q = FMA(q, r, 0x1.555490p-3f);
    q = FMA(q, r, 0.5f);
    q = FMA(q, r, 1.0f);
    q = FMA(q, r, 1.0f);
    int32_t k = (int32_t)(bits_of(t) - 0x4b400000u);
    int32_t half = k >> 1;                      // 2^k in two factors: k may reach -150
    return q * float_of((uint32_t)(half + 127) << 23) * float_of((uint32_t)(k - half + 127) << 23);
}

// erf(x) = x + x p(x^2) for |x| < 1, else sign(x) (1 - exp(q(|x|)))
INLINE float erff_hw(const int hw, float x) {
    float s = x * x, a = fabsf(x), t = a < 4.0f ? a : 4.0f;
    float p = FMA(0x1.4c344ep-14f, s, -0x1.a50b0ep-11f);
    p = FMA(p, s, 0x1.542e10p-8f);
    p = FMA(p, s, -0x1.b7fe90p-6f);
    p = FMA(p, s, 0x1.ce2d50p-4f);
    p = FMA(p, s, -0x1.812740p-2f);
    p = FMA(p, s, 0x1.06eba8p-3f);
    float q = FMA(-0x1.6bddb2p-16f, t, 0x1.cecaacp-12f);
    q = FMA(q, t, -0x1.138e30p-8f);
    q = FMA(q, t, 0x1.9d03ecp-6f);
    q = FMA(q, t, -0x1.bc1564p-4f);
    q = FMA(q, t, -0x1.443560p-1f);
    q = FMA(q, t, -0x1.212c0ep+0f);
    q = FMA(q, t, 0x1.8a5954p-13f);
    float large = 1.0f - expf_hw(hw, q), small = FMA(x, p, x);
    large = float_of(bits_of(large) | (bits_of(x) & 0x80000000u));
    return a >= 1.0f ? large : small;           // NaN takes the small branch and stays
}

// tanh(x) = x + x^3 p(x^2) for |x| < 0.625, else sign(x) (1 - 2 / (exp(2|x|) + 1))
INLINE float tanhf_hw(const int hw, float x) {
    float s = x * x, a = fabsf(x), t = a < 10.0f ? a : 10.0f;
    float p = FMA(-0x1.769df8p-8f, s, 0x1.525328p-6f);
    p = FMA(p, s, -0x1.b8439ap-5f);
    p = FMA(p, s, 0x1.110762p-3f);
    p = FMA(p, s, -0x1.555534p-2f);
    float large = 1.0f - 2.0f / (expf_hw(hw, 2.0f * t) + 1.0f), small = FMA(x * s, p, x);
    large = float_of(bits_of(large) | (bits_of(x) & 0x80000000u));
    return a >= 0.625f ? large : small;
}

// sigma(x) = 1 / (1 + exp(-x)), without overflow for either sign
INLINE float sigmoidf_hw(const int hw, float x) {
    float e = expf_hw(hw, -fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

static inline float more_expf(float x)  { return expf_hw(HW, x); }
static inline float more_erff(float x)  { return erff_hw(HW, x); }
static inline float more_tanhf(float x) { return tanhf_hw(HW, x); }

// ---- double: for what is one number per text or per step; no fused multiply-add here

// x 2^k for |k| < 2000
static inline double double_scale(double x, int k) {
    for (; k > 1000; k -= 1000) x *= 0x1p1000;
    for (; k < -1000; k += 1000) x *= 0x1p-1000;
    uint64_t u = (uint64_t)(k + 1023) << 52;
    double f;
    memcpy(&f, &u, 8);
    return x * f;
}

// exp(x): the same reduction, Taylor's series to r^14
static inline double more_exp(double x) {
    if (!(x > -746)) return x != x ? x : 0;
    if (x > 710) return HUGE_VAL;
    double n = x * 0x1.71547652b82fep+0 + 0x1.8p52 - 0x1.8p52;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33, p = 1;
    for (int i = 14; i > 0; i--) p = 1 + r * p / i;
    return double_scale(p, (int)n);
}

// log(m 2^k) = k ln 2 + 2 atanh(f), f = (m-1)/(m+1), m in [sqrt(1/2), sqrt(2))
ON_GPU_TOO static inline double more_log(double x) {
    if (!(x > 0)) return x == 0 ? -HUGE_VAL : NAN;
    if (x > DBL_MAX) return x;
    int k;
    double m = frexp(x, &k);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        k--;
    }
    double f = (m - 1) / (m + 1), s = f * f, p = 0;
    for (int i = 23; i > 1; i -= 2) p = s * (1.0 / i + p);
    return k * 0x1.62e42feep-1 + (k * 0x1.a39ef35793c76p-33 + 2 * (f + f * p));
}

// log(1+x) = log(u) x / (u - 1), u = 1 + x rounded            (Kahan, in Goldberg 1991, theorem 4)
static inline double more_log1p(double x) {
    double u = 1 + x;
    return u == 1 || u > DBL_MAX ? x : more_log(u) * (x / (u - 1));
}

// exp(x) - 1 = (u - 1) x / log(u), u = exp(x) rounded          (Kahan, in Higham 2002, sec. 1.14.1)
static inline double more_expm1(double x) {
    double u = more_exp(x);
    if (u == 1) return x;
    if (u - 1 == -1 || u > DBL_MAX) return u - 1;
    return (u - 1) * (x / more_log(u));
}

// sin and cos: x = n pi/2 + r, |r| <= pi/4, Taylor's series to r^21; for |x| < 1e6, as rotary
// angles are
static inline void more_sincos(double x, double *sine, double *cosine) {
    double n = x * 0x1.45f306dc9c883p-1 + 0x1.8p52 - 0x1.8p52;        // x / (pi/2), rounded
    double r = ((x - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
    double s = r * r, sine_r = 1, cosine_r = 1;
    for (int i = 20; i > 0; i -= 2) {
        sine_r = 1 - s * sine_r / (i * (i + 1));
        cosine_r = 1 - s * cosine_r / (i * (i - 1));
    }
    sine_r *= r;
    switch ((int)(n - 4 * floor(n / 4))) {      // the quarter of a turn
    case 0:  *sine = sine_r;    *cosine = cosine_r;  break;
    case 1:  *sine = cosine_r;  *cosine = -sine_r;   break;
    case 2:  *sine = -sine_r;   *cosine = -cosine_r; break;
    default: *sine = -cosine_r; *cosine = sine_r;
    }
}

// x^y for x > 0
static inline double more_pow(double x, double y) { return more_exp(y * more_log(x)); }

// a standard normal deviate (Box and Muller 1958)
static inline double random_normal(uint64_t seed, uint64_t stream, uint64_t step, uint64_t index) {
    uint64_t u = random_u64(seed, stream, step, index);
    double s, c;
    more_sincos((double)(u & 0xffffffff) * 0x1p-32 * 6.283185307179586, &s, &c);
    return sqrt(-2 * more_log(((double)(u >> 32) + 1) * 0x1p-32)) * c;
}

#endif

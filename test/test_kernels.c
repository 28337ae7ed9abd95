/* test_kernels.c - every layer, forward and backward, against its formula summed naively in
 * double, and bit for bit the same with every instruction set this machine has and on 1, 2
 * and 3 threads.
 *
 * A layer is tried by a function (embed, norm, attention, ..) that draws its tensors, runs
 * forward and backward, hands every output to BITS, and on the first run compares it with the
 * formula: NEAR. everywhere() runs it again and again. */
#include "test.h"
#include <unistd.h>
#ifdef MORE_LINK_KERNELS                                    // other layers, which are linked
#include "../kernels.h"
#else
#include "../kernels.c"
#endif

// ------------------------------------------------------------------------------- the tensors

// The tensors of one run: the same numbers in every run, none aligned, a guard behind each.
enum { GUARD = 7, MAX_ARRAYS = 2000, MAX_FLOATS = 9 << 20, MAX_DOUBLES = 3 << 20 };
static const uint32_t guard_bits = 0x7fc0beef;              // a NaN that nothing computes

static struct {
    float  *number;                                         // (MAX_FLOATS): a tensor
    double wide[MAX_DOUBLES];
    size_t numbers_used, wide_used;
    size_t guard_at[MAX_ARRAYS];
    int    arrays;
} arena;

static void arena_clear(void) {
    arena.numbers_used = 0;
    arena.wide_used = 0;
    arena.arrays = 0;
}

// n times NaN: an output must be written
static float *blank(size_t n) {
    float *x = arena.number + arena.numbers_used;
    assert(arena.numbers_used + n + GUARD <= MAX_FLOATS && arena.arrays < MAX_ARRAYS);
    for (size_t i = 0; i < n + GUARD; i++) x[i] = float_of(guard_bits);
    arena.guard_at[arena.arrays] = arena.numbers_used + n;
    arena.arrays++;
    arena.numbers_used += n + GUARD;
    return x;
}

// normal deviates, times scale
static float *numbers(size_t n, double scale) {
    float *x = blank(n);
    const uint64_t array = (uint64_t)arena.arrays;
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * random_normal(5, STREAM_TEST, array, i));
    return x;
}

static float *copy(const float *x, size_t n) {
    float *y = blank(n);
    for (size_t i = 0; i < n; i++) y[i] = x[i];
    return y;
}

static double *doubles(size_t n) {
    double *x = arena.wide + arena.wide_used;
    arena.wide_used += n;
    assert(arena.wide_used <= MAX_DOUBLES);
    memset(x, 0, n * sizeof *x);
    return x;
}

// what a gradient is before backward adds to it
static double *as_doubles(const float *x, size_t n) {
    double *d = doubles(n);
    for (size_t i = 0; i < n; i++) d[i] = x[i];
    return d;
}

static int guards_written(void) {
    int written = 0;
    for (int i = 0; i < arena.arrays; i++) {
        const float *guard = arena.number + arena.guard_at[i];
        for (size_t j = 0; j < GUARD; j++) written += bits_of(guard[j]) != guard_bits;
    }
    return written;
}

// --------------------------------------------------------------------------- the comparisons

// The outputs of the first run, one after the other: the scalar variant on one thread.
static struct {
    Buffer bytes;
    size_t at;                                              // how far this run has compared
    int    recording;                                       // yes: this is the first run
} first_run;

// yes on the first run, which alone is compared with the formula
static int recording(void) { return first_run.recording; }

static void same_bits(const char *what, const float *x, size_t n) {
    const char *want = first_run.bytes.data + first_run.at;
    if (recording()) {
        if (buffer_append(&first_run.bytes, x, n * sizeof *x) < 0) exit(1);
    } else if (memcmp(want, x, n * sizeof *x)) {
        size_t i = 0;
        while (!memcmp(want + i*sizeof *x, x + i, sizeof *x)) i++;
        test_bad++;
        printf("    %s[%zu] of %zu has other bits with %s on %d threads\n", what, i, n,
               kernels_name(), kernels_threads());
    }
    first_run.at += n * sizeof *x;
}
#define BITS(x, n) same_bits(#x, x, n)

// Every |got - want| <= eps times the largest |want|.
static void near_formula(const char *what, int line, const float *got, const double *want, size_t n,
                         double eps) {
    double largest = 1e-30, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (fabs(want[i]) > largest) largest = fabs(want[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const double error = fabs(got[i] - want[i]);
        if (error <= worst) continue;
        worst = error;
        at = i;
        if (isnan(error)) break;                            // nothing is worse
    }
    if (worst <= eps * largest) return;
    test_bad++;
    printf("    line %d: %s[%zu] = %.9g, not %.9g (largest %.3g)\n", line, what, at, got[at],
           want[at], largest);
}
#define NEAR(x, want, n, eps) near_formula(#x, __LINE__, x, want, n, eps)

static int variants(void) {
    int n = 0;
    while (kernels_variant(n)) n++;
    return n;
}

// One number for all outputs of the first run.
static uint64_t first_run_digest(void) {
    uint64_t digest = 0;
    for (size_t at = 0; at < first_run.bytes.len; at += sizeof(float)) {
        float x;
        memcpy(&x, first_run.bytes.data + at, sizeof x);
        digest = random_mix(digest ^ bits_of(x));
    }
    return digest;
}

/* Runs layers() with the slowest variant on one thread, then every other way.  On each run it
 * calls BITS for the same outputs; what is behind its tensors must not have been written.  The
 * outputs are the recorded ones, of whichever layers this program has (make emulate). */
static void everywhere(void (*layers)(void), uint64_t recorded) {
    const int slowest = variants() - 1;
    int most_threads = 3;
#if !defined _OPENMP || defined MORE_LINK_KERNELS
    most_threads = 1;
#endif
    first_run.bytes.len = 0;
    for (int k = slowest; k >= 0; k--) {
        for (int threads = 1; threads <= most_threads; threads++) {
            kernels_set_threads(threads);
            CHECK(kernels_init(kernels_variant(k)) == 0);
            CHECK(kernels_reserve(&(Scratch){.keys = 256}) == 0);
            first_run.recording = k == slowest && threads == 1;
            first_run.at = 0;
            arena_clear();
            layers();
            CHECK(first_run.at == first_run.bytes.len && first_run.bytes.len > 0);
            CHECK(guards_written() == 0);
        }
    }
    kernels_set_threads(1);
    const uint64_t digest = first_run_digest();
    if (digest == recorded) return;
    test_bad++;
    printf("    the outputs' digest is 0x%016llx, not 0x%016llx\n", (unsigned long long)digest,
           (unsigned long long)recorded);
}

// Numbers of channels: below a vector, more than one, odd, more than a strip of columns.
static const int widths[] = {12, 20, 37, 129};
enum { WIDTHS = sizeof widths / sizeof *widths };

// ----------------------------------------------------------------------------- linear layers

static void linear(int T, int C, int OC, int bias) {
    const size_t TC = (size_t)T*C, TO = (size_t)T*OC, CO = (size_t)C*OC, O = (size_t)OC;
    const float *inp = numbers(TC, 1), *w = numbers(CO, 1), *b = bias ? numbers(O, 1) : NULL;
    const float *dout = numbers(TO, 1);
    float *out = blank(TO), *dinp = blank(TC);
    float *dw = numbers(CO, 1), *db = bias ? numbers(O, 1) : NULL;
    float *dw_before = copy(dw, CO), *dw_alone = copy(dw, CO);
    float *db_before = bias ? copy(db, O) : NULL;

    matmul_forward(out, inp, w, b, T, C, OC);
    matmul_backward(dinp, dw, db, dout, inp, w, T, C, OC, NULL);
    matmul_backward(NULL, dw_alone, NULL, dout, inp, w, T, C, OC, NULL);
    BITS(out, TO);
    BITS(dinp, TC);
    BITS(dw, CO);
    if (b) BITS(db, O);
    CHECK(!memcmp(dw, dw_alone, CO * sizeof *dw));
    if (!recording()) return;

    double *y = doubles(TO), *dx = doubles(TC), *dW = as_doubles(dw_before, CO);
    double *dB = b ? as_doubles(db_before, O) : NULL;
    for (size_t t = 0; t < (size_t)T; t++) {
        for (size_t o = 0; o < O; o++) {
            const double d = dout[t*O + o];
            y[t*O + o] = b ? b[o] : 0;
            if (b) dB[o] += d;
            for (size_t c = 0; c < (size_t)C; c++) {
                y[t*O + o] += (double)inp[t*C + c] * w[o*C + c];
                dx[t*C + c] += d * w[o*C + c];
                dW[o*C + c] += d * inp[t*C + c];
            }
        }
    }
    NEAR(out, y, TO, 2e-6);
    NEAR(dinp, dx, TC, 2e-6);
    NEAR(dw, dW, CO, 2e-6);
    if (b) NEAR(db, dB, O, 2e-6);
}

static void linear_layers(void) {
    for (int i = 0; i < WIDTHS; i++) {
        const int C = widths[i];
        linear(C == 37 ? 1 : 19, C, 23, C != 20);
    }
    linear(70, 37, 130, 1);
    linear(150, 20, 66, 1);
}
static void test_linear_layers_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(linear_layers, 0xb36e8c2abdbc3445);
}

// ----------------------------------------------------------------------------- narrow matrices

// Bytes by lot, but for those that scale values, or are one: these are from 0.5 to 2.
static unsigned char *narrow_bytes_of(Dtype dtype, size_t row, int rows) {
    static const int scales[][3] = {
        [F32]  = {3, -1}, [F16]  = {1, -1}, [BF16] = {1, -1}, [Q8_0] = {1, -1}, [Q4_0] = {1, -1},
        [Q4_1] = {1, 3, -1}, [Q5_0] = {1, -1}, [Q5_1] = {1, 3, -1}, [Q4_K] = {1, 3, -1},
        [Q6_K] = {209, -1},
    };
    const size_t size = dtype_size(dtype), n = (size_t)rows * dtype_row_size(dtype, row);
    unsigned char *bytes = (unsigned char *)blank((n + 3) / 4);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)random_u64(1, STREAM_TEST, (uint64_t)dtype, i);
        for (const int *at = scales[dtype]; *at >= 0; at++) {
            const int one = dtype == F32 || dtype == BF16 ? 0x3f : 0x38;
            if (i % size == (size_t)*at) bytes[i] = (unsigned char)((bytes[i] & 0x80) | one);
        }
    }
    return bytes;
}

// Three parts of other formats: every layer gives the bits that it gives of the same numbers.
static void narrow(int T, int C, const int rows[3], const Dtype dtype[3]) {
    const int OC = rows[0] + rows[1] + rows[2];
    const size_t TC = (size_t)T*C, TO = (size_t)T*OC, CO = (size_t)C*OC;
    Narrow w = {.part = {{.rows = 0}}};
    float *wide = blank(CO), *row = wide, *some = blank(20);
    for (int k = 0; k < 3; k++) {
        w.part[k].rows = rows[k];
        w.part[k].dtype = dtype[k];
        w.part[k].bytes = narrow_bytes_of(dtype[k], (size_t)C, rows[k]);
        const size_t row_size = dtype_row_size(dtype[k], (size_t)C);
        for (int r = 0; r < rows[k]; r++, row += C) {
            dtype_decode_row(dtype[k], row, w.part[k].bytes + (size_t)r*row_size, (size_t)C);
        }
    }
    narrow_read(some, &w, C, rows[0] - 1, 2, C - 10, 10);
    CHECK(!memcmp(some, wide + (size_t)rows[0]*C - 10, 40));
    CHECK(!memcmp(some + 10, wide + (size_t)(rows[0] + 1)*C - 10, 40));

    // a linear layer, packed too
    const float *inp = numbers(TC, 1), *b = numbers((size_t)OC, 1), *dout = numbers(TO, 1);
    for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
        float *out[2] = {blank(TO), blank(TO)}, *dinp[2] = {blank(TC), blank(TC)};
        kernels_precision(is_bf16);
        matmul_forward(out[0], inp, wide, b, T, C, OC);
        narrow_forward(out[1], inp, &w, b, T, C, OC);
        matmul_backward(dinp[0], NULL, NULL, dout, inp, wide, T, C, OC, NULL);
        narrow_backward(dinp[1], dout, &w, T, C, OC);
        CHECK(!memcmp(out[0], out[1], TO * sizeof(float)));
        CHECK(!memcmp(dinp[0], dinp[1], TC * sizeof(float)));
        float *packed = blank(matmul_packed_size(C, OC)), *again = blank(TO);
        narrow_pack_weights(packed, &w, C, OC);
        matmul_packed_forward(again, inp, packed, b, T, C, OC);
        CHECK(!memcmp(out[0], again, TO * sizeof(float)));
        BITS(out[1], TO);
        BITS(dinp[1], TC);
    }
    kernels_precision(0);

    // the vocabulary, and its rows
    int scored[4] = {0, 2, 3, 4}, target[4] = {OC - 1, 0, rows[0], 1};
    float *logp[2], *dh[2], *rows_of[2];
    for (int k = 0; k < 2; k++) {
        const float *h = inp;
        float *work = blank(4 * (size_t)(OC + 2*C));
        logp[k] = blank(8);
        dh[k] = copy(dout, TC);
        rows_of[k] = blank(4 * (size_t)C);
        logp_forward(logp[k], h, k ? NULL : wide, &w, scored, target, 4, C, OC, work, 4);
        logp_backward(dh[k], NULL, logp[k] + 4, inp, h, k ? NULL : wide, &w, scored, target, 4, C,
                      OC, work, 4, NULL);
        if (k) embed_narrow(rows_of[k], target, scored, &w, inp, 4, C);
        else embed_forward(rows_of[k], target, scored, wide, inp, 4, C);
    }
    CHECK(!memcmp(logp[0], logp[1], 8 * sizeof(float)));
    CHECK(!memcmp(dh[0], dh[1], TC * sizeof(float)));
    CHECK(!memcmp(rows_of[0], rows_of[1], 4 * (size_t)C * sizeof(float)));
}

static void narrow_layers(void) {
    narrow(5, 768, (int[]){300, 101, 140}, (Dtype[]){Q4_K, Q6_K, Q8_0});
    narrow(5, 96, (int[]){33, 35, 6}, (Dtype[]){Q4_0, Q4_1, Q5_0});
    narrow(6, 32, (int[]){1, 16, 31}, (Dtype[]){Q5_1, F32, Q8_0});
    narrow(60, 37, (int[]){40, 20, 10}, (Dtype[]){BF16, F16, F32});
    narrow(7, 1100, (int[]){5, 3, 2}, (Dtype[]){BF16, F16, BF16});
}
static void test_narrow_matrices_give_the_bits_of_their_numbers_everywhere(void) {
    everywhere(narrow_layers, 0x4080e7a82dd47067);
}

// --------------------------------------------------------------------------- sums of tensors

static void add_layers(void) {
    const size_t n = 20011;                                 // more than two pieces of 8192
    const float *a = numbers(n, 1), *b = numbers(n, 1), *c = numbers(n, 1);
    float *two = blank(n), *three = blank(n), *own = copy(a, n);
    add_forward(two, a, b, n);
    add3_forward(three, a, b, c, n);
    add_forward(own, own, b, n);
    BITS(two, n);
    BITS(three, n);
    CHECK(!memcmp(own, two, n * sizeof *own));
    if (!recording()) return;

    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        const float sum = a[i] + b[i], sum3 = sum + c[i];
        bad += two[i] != sum || three[i] != sum3;
    }
    CHECK(bad == 0);
}
static void scaled_adds(void) {
    enum { T = 33, C = 37, OUT = 50, INP = 41 };
    const float *a = numbers((size_t)T*INP, 1), *before = numbers((size_t)T*OUT, 1);
    float *out = copy(before, (size_t)T*OUT);
    scaled_add(out + 5, OUT, a, INP, 0.3f, T, C);
    BITS(out, (size_t)T*OUT);
    if (!recording()) return;

    int bad = 0;
    for (int i = 0; i < T*OUT; i++) {
        const int c = i % OUT - 5;
        float want = before[i];
        if (c >= 0 && c < C) want = exact_fmaf(0.3f, a[i / OUT * INP + c], want);
        bad += out[i] != want;
    }
    CHECK(bad == 0);
}
static void test_scaled_sums_are_fused_and_leave_other_columns(void) {
    everywhere(scaled_adds, 0xb01955d161fc7df9);
}

static void test_sums_of_tensors_are_rounded_one_after_the_other(void) {
    everywhere(add_layers, 0xd0b45db542fedc02);
}

// -------------------------------------------------------------------------------- embeddings

static void embed(int C, int learned) {
    enum { T = 33, V = 11, P = 9 };
    const size_t TC = (size_t)T*C, VC = (size_t)V*C, PC = (size_t)P*C;
    int token[T], position[T];
    for (int t = 0; t < T; t++) {
        token[t] = t*t % 7 + (t == 3 ? 4 : 0);
        position[t] = t % P;
    }
    const float *wte = numbers(VC, 1), *wpe = learned ? numbers(PC, 1) : NULL;
    const float *dout = numbers(TC, 1);
    float *out = blank(TC), *dwte = numbers(VC, 1), *dwpe = learned ? numbers(PC, 1) : NULL;
    double *dE = as_doubles(dwte, VC), *dP = learned ? as_doubles(dwpe, PC) : NULL;

    embed_forward(out, token, position, wte, wpe, T, C);
    embed_backward(dwte, dwpe, dout, token, position, T, C);
    BITS(out, TC);
    BITS(dwte, VC);
    if (learned) BITS(dwpe, PC);
    if (!recording()) return;

    int bad = 0;
    for (int t = 0; t < T; t++) {
        for (int c = 0; c < C; c++) {
            const float e = wte[token[t]*C + c], p = learned ? wpe[position[t]*C + c] : 0;
            const float d = dout[t*C + c];
            bad += out[t*C + c] != e + p;
            dE[token[t]*C + c] += d;
            if (learned) dP[position[t]*C + c] += d;
        }
    }
    CHECK(bad == 0);
    NEAR(dwte, dE, VC, 1e-6);
    if (learned) NEAR(dwpe, dP, PC, 1e-6);
}

static void embed_layers(void) {
    for (int i = 0; i < WIDTHS; i++) {
        embed(widths[i], 0);
        embed(widths[i], 1);
    }
}
static void test_embeddings_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(embed_layers, 0xcc29069e34869e39);
}

// ------------------------------------------------------------------------------------- norms

static void norm(int T, int C, int rms) {
    const size_t TC = (size_t)T*C, n = (size_t)C;
    const float eps = 1e-3f;
    float *x = numbers(TC, 1), *w = numbers(n, 1), *b = rms ? NULL : numbers(n, 1);
    const float *dy = numbers(TC, 1);
    float *y = blank(TC), *mean = blank((size_t)T), *rstd = blank((size_t)T);
    float *dx = numbers(TC, 1), *dw = numbers(n, 1), *db = rms ? NULL : numbers(n, 1);
    for (int i = 0; i < C; i++) {                  // a row smaller than eps, one far from 0
        x[i] *= 1e-3f;
        x[C + i] += 100;
    }
    double *dX = as_doubles(dx, TC), *dW = as_doubles(dw, n), *Y = doubles(TC);
    double *dB = rms ? NULL : as_doubles(db, n);

    norm_forward(y, mean, rstd, x, w, b, eps, rms, T, C);
    norm_backward(dx, dw, db, dy, x, mean, rstd, w, rms, T, C);
    BITS(y, TC);
    BITS(mean, (size_t)T);
    BITS(rstd, (size_t)T);
    BITS(dx, TC);
    BITS(dw, n);
    if (!rms) BITS(db, n);
    if (!recording()) return;

    for (int t = 0; t < T; t++) {
        const float *row = x + t*C;
        double m = 0, v = 0;
        for (int c = 0; c < C && !rms; c++) m += (double)row[c] / C;
        for (int c = 0; c < C; c++) v += (row[c] - m) * (row[c] - m) / C;
        const double r = 1 / sqrt(v + eps);

        double s1 = 0, s2 = 0;                              // the means of u, and of u xh
        for (int c = 0; c < C; c++) {
            const double xh = (row[c] - m) * r, u = (double)dy[t*C + c] * w[c];
            Y[t*C + c] = xh * w[c] + (rms ? 0 : b[c]);
            dW[c] += dy[t*C + c] * xh;
            s2 += u * xh / C;
            if (rms) continue;
            dB[c] += dy[t*C + c];
            s1 += u / C;
        }
        for (int c = 0; c < C; c++) {
            const double u = (double)dy[t*C + c] * w[c];
            dX[t*C + c] += r * (u - s1 - (row[c] - m) * r * s2);
        }
        CHECK_NEAR(mean[t], m, 1e-5);
        CHECK_NEAR(rstd[t] / r, 1, 1e-4);
    }
    NEAR(y, Y, TC, 2e-5);                          // the row around 100 has lost two digits
    NEAR(dx, dX, TC, 1e-6);
    NEAR(dw, dW, n, 2e-5);
    if (!rms) NEAR(db, dB, n, 1e-6);
}

static void norm_layers(void) {
    for (int i = 0; i < WIDTHS; i++) {
        norm(9, widths[i], 0);
        norm(9, widths[i], 1);
    }
}
static void test_layer_and_rms_norms_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(norm_layers, 0x78dcfe018dc70cf2);
}

static void
test_the_norm_of_a_constant_row_is_its_bias_and_of_any_row_has_mean_0_and_variance_1(void) {
    enum { C = 20 };
    float constant[C], any[C], one[C], b[C], zero[C] = {0}, y[C], mean, rstd;
    for (int c = 0; c < C; c++) {
        constant[c] = 7;
        any[c] = (float)(c*c % 13);
        one[c] = 1;
        b[c] = 0.125f * (float)c;
    }
    norm_forward(y, &mean, &rstd, constant, one, b, 1e-5f, 0, 1, C);
    CHECK(!memcmp(y, b, sizeof b) && mean == 7);

    double sum = 0, square = 0;
    norm_forward(y, &mean, &rstd, any, one, zero, 0, 0, 1, C);
    for (int c = 0; c < C; c++) {
        sum += y[c];
        square += y[c] * y[c];
    }
    CHECK_NEAR(sum, 0, 1e-5);
    CHECK_NEAR(square, C, 1e-4);

    norm_forward(y, &mean, &rstd, constant, one, NULL, 0, 1, 1, C);   // RMS
    for (int c = 0; c < C; c++) CHECK_NEAR(y[c], 1, 1e-6);
}

static void head_norm(int HD, int heads, int stride) {
    enum { T = 11 };
    const float eps = 1e-3f;
    const size_t n = (size_t)T*stride, D = (size_t)HD, TH = (size_t)T*heads;
    float *rows = numbers(n, 1);
    const float *x = copy(rows, n), *w = numbers(D, 1);
    float *pre = blank(n), *rstd = blank(TH), *drows = numbers(n, 1), *dw = numbers(D, 1);
    double *Y = as_doubles(x, n), *dX = as_doubles(drows, n), *dW = as_doubles(dw, D);

    head_norm_forward(rows, pre, rstd, w, eps, T, heads, HD, stride);
    head_norm_backward(drows, dw, pre, rstd, w, T, heads, HD, stride);
    BITS(rows, n);
    BITS(rstd, TH);
    BITS(drows, n);
    BITS(dw, D);
    if (!recording()) return;

    for (int t = 0; t < T; t++) {
        for (int h = 0; h < heads; h++) {
            const size_t at = (size_t)t*stride + (size_t)h*HD;
            double v = 0, s = 0;
            for (int c = 0; c < HD; c++) v += (double)x[at + c] * x[at + c] / HD;
            const double r = 1 / sqrt(v + eps);
            for (int c = 0; c < HD; c++) {
                s += dX[at + c] * w[c] * x[at + c] * r / HD;
                dW[c] += dX[at + c] * x[at + c] * r;
                Y[at + c] = x[at + c] * r * w[c];
            }
            for (int c = 0; c < HD; c++) dX[at + c] = r * (dX[at + c] * w[c] - x[at + c] * r * s);
        }
    }
    NEAR(rows, Y, n, 1e-6);                        // and beyond the heads nothing has changed
    NEAR(drows, dX, n, 1e-6);
    NEAR(dw, dW, D, 1e-6);
}

static void head_norm_layers(void) {
    head_norm(4, 3, 17);
    head_norm(6, 1, 6);
    head_norm(20, 2, 60);
    head_norm(64, 2, 129);
    head_norm(130, 2, 260);
}
static void test_query_and_key_norms_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(head_norm_layers, 0x23bbb286670f0f68);
}

// ------------------------------------------------------------------------------------ rotary

// `turned` heads of HD, of which the first dims are turned, then `still` heads
static void rotary_heads(int HD, int dims, int turned_heads, int still_heads) {
    enum { T = 13, P = 17 };
    const int half = dims / 2, W = HD * (turned_heads + still_heads);
    const size_t n = (size_t)T*W, table = (size_t)P*half;
    int position[T];
    for (int t = 0; t < T; t++) position[t] = t*5 % P;
    const float *x = numbers(n, 1);
    float *turned = copy(x, n), *back = blank(n);
    float *cosine = blank(table), *sine = blank(table);
    double *want = as_doubles(x, n);
    for (size_t i = 0; i < table; i++) {
        double s, c;
        more_sincos((double)i, &s, &c);
        cosine[i] = (float)c;
        sine[i] = (float)s;
    }

    rotary(turned, cosine, sine, position, 1, T, turned_heads, HD, dims, W);
    memcpy(back, turned, n * sizeof *x);
    rotary(back, cosine, sine, position, -1, T, turned_heads, HD, dims, W);
    BITS(turned, n);
    BITS(back, n);
    if (!recording()) return;

    for (int t = 0; t < T; t++) {
        for (int h = 0; h < turned_heads; h++) {
            for (int i = 0; i < half; i++) {
                const size_t a = (size_t)t*W + (size_t)h*HD + (size_t)i, b = a + (size_t)half;
                const double angle = position[t]*half + i;
                want[a] = x[a] * cos(angle) - x[b] * sin(angle);
                want[b] = x[a] * sin(angle) + x[b] * cos(angle);
            }
        }
    }
    NEAR(turned, want, n, 3e-7);
    NEAR(back, as_doubles(x, n), n, 3e-7);

    int touched = 0;                                        // of what is not to be turned
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < W; i++) {
            const int still = i >= turned_heads*HD || i % HD >= dims;
            touched += still && turned[t*W + i] != x[t*W + i];
        }
    }
    CHECK(touched == 0);
}

static void rotary_layers(void) {
    rotary_heads(4, 4, 3, 1);
    rotary_heads(6, 4, 2, 2);
    rotary_heads(20, 10, 2, 1);
    rotary_heads(20, 20, 3, 0);
    rotary_heads(64, 16, 2, 1);
}
static void test_rotary_turns_by_the_positions_angle_and_back_and_touches_nothing_else(void) {
    everywhere(rotary_layers, 0xfc6ca4a0784181eb);
}

// --------------------------------------------------------------------------------- attention

#ifndef MORE_LINK_KERNELS
static void test_the_scratch_of_attention_only_grows_with_texts_and_threads(void) {
    CHECK(kernels_reserve(&(Scratch){.keys = 300}) == 0);
    kernels_set_threads(3);
    CHECK(kernels_reserve(&(Scratch){.keys = 8}) == 0);     // of another model with shorter texts
    CHECK(attention_work_keys == 300 && attention_work_threads == kernels_threads());
    kernels_set_threads(1);
    CHECK(kernels_reserve(&(Scratch){.keys = 400}) == 0);
    kernels_set_threads(3);
    CHECK(attention_work_keys == 400 && attention_work_threads == kernels_threads());
    kernels_set_threads(1);
}
#endif

// A prompt longer than a block of rows with two answers, one of which has an answer of its
// own; a text of one row; a text of more than two blocks.
static const Segment seg[] = {
    {.start = 0,   .len = 61,  .parent = -1},
    {.start = 61,  .len = 70,  .parent = 0},
    {.start = 131, .len = 3,   .parent = 0},
    {.start = 134, .len = 5,   .parent = 1},
    {.start = 139, .len = 1,   .parent = -1},
    {.start = 140, .len = 117, .parent = -1},
};
enum { SEGMENTS = sizeof seg / sizeof *seg, SEG_ROWS = 257 };

static int segment_of(int t) {
    int s = 0;
    while (t >= seg[s].start + seg[s].len) s++;
    return s;
}

// the number of row t in its text
static int place_of(int t) {
    const int s = segment_of(t);
    int before = t - seg[s].start;
    for (int i = seg[s].parent; i >= 0; i = seg[i].parent) before += seg[i].len;
    return before;
}

// u is t, or before t in its segment, or in a segment on the path to the root; and not before the
// window
static int attends(int t, int u, int window) {
    if (u > t || place_of(t) - place_of(u) >= window) return 0;
    for (int s = segment_of(t); s >= 0; s = seg[s].parent) {
        if (s == segment_of(u)) return 1;
    }
    return 0;
}

static void attention(int HD, int NH, int NKV, int window) {
    const size_t T = SEG_ROWS, D = (size_t)HD, heads = (size_t)NH;
    const size_t W = (size_t)(NH + 2*NKV)*D, O = heads*D;
    const float *qkv = numbers(T*W, 1), *dout = numbers(T*O, 1);
    float *out = blank(T*O), *lse = blank(T*heads), *dqkv = blank(T*W);

    attention_forward(out, lse, qkv, seg, SEGMENTS, (int)T, NH, NKV, HD, window);
    attention_backward(dqkv, dout, out, lse, qkv, seg, SEGMENTS, (int)T, NH, NKV, HD, window);
    BITS(out, T*O);
    BITS(lse, T*heads);
    BITS(dqkv, T*W);
    if (!recording()) return;

    const double scale = 1 / sqrt(HD);
    double *y = doubles(T*O), *L = doubles(T*heads), *d = doubles(T*W);
    double p[SEG_ROWS], dp[SEG_ROWS];                       // of one row and head
    for (size_t t = 0; t < T; t++) {
        for (size_t h = 0; h < heads; h++) {
            const size_t kv = h / (size_t)(NH / NKV);
            const size_t k = (heads + kv)*D, v = k + (size_t)NKV*D;   // in a row of qkv
            const size_t q = t*W + h*D, o = t*O + h*D;
            double sum = 0, dot = 0;

            // p = exp(scores) over the keys that t attends to
            for (size_t u = 0; u < T; u++) {
                p[u] = 0;
                dp[u] = 0;
                if (!attends((int)t, (int)u, window)) continue;
                for (size_t i = 0; i < D; i++) p[u] += scale * qkv[q + i] * qkv[u*W + k + i];
                p[u] = exp(p[u]);
                sum += p[u];
            }
            L[t*heads + h] = log(sum);

            // the output, and the gradient of p
            for (size_t u = 0; u < T; u++) {
                for (size_t i = 0; i < D; i++) {
                    y[o + i] += p[u] / sum * qkv[u*W + v + i];
                    dp[u] += (double)dout[o + i] * qkv[u*W + v + i];
                }
            }

            // the gradients of query, keys and values
            for (size_t i = 0; i < D; i++) dot += dout[o + i] * y[o + i];
            for (size_t u = 0; u < T; u++) {
                const double g = p[u] / sum * (dp[u] - dot) * scale;
                for (size_t i = 0; i < D; i++) {
                    d[q + i] += g * qkv[u*W + k + i];
                    d[u*W + k + i] += g * qkv[q + i];
                    d[u*W + v + i] += p[u] / sum * dout[o + i];
                }
            }
        }
    }
    NEAR(out, y, T*O, 1e-6);
    NEAR(lse, L, T*heads, 1e-6);
    NEAR(dqkv, d, T*W, 1e-6);
}

static void attention_layers(void) {
    attention(4, 3, 3, SEG_ROWS);
    attention(6, 4, 2, SEG_ROWS);
    attention(20, 3, 1, SEG_ROWS);
    attention(64, 2, 1, SEG_ROWS);
    attention(6, 4, 2, 1);
    attention(4, 3, 3, 4);                                  // into the prompt of most answers
    attention(20, 3, 1, 60);                                // longer than a block of rows
}
static void test_attention_is_the_naive_sum_over_parents_and_the_same_bits_everywhere(void) {
    everywhere(attention_layers, 0xbf523f9856e710a1);
}

// The parts of the rows of a qkv with one head of HD: query, key, value.
enum { Q_OF_3, K_OF_3, V_OF_3 };
static int part_of_3(int i, int HD) { return i % (3*HD) / HD; }

static void test_attention_of_a_row_alone_is_its_value_and_of_equal_keys_the_mean(void) {
    enum { HD = 4, W = 3*HD, T = 70 };
    static float qkv[T*W], out[T*HD], lse[T];
    const Segment whole = {0, T, -1};
    for (int i = 0; i < T*W; i++) {
        const int part = part_of_3(i, HD);
        if (part == Q_OF_3) qkv[i] = (float)(i % 5);        // any query
        if (part == K_OF_3) qkv[i] = 0.5f;                  // equal keys
        if (part == V_OF_3) qkv[i] = (float)(i * i % 17);   // any value
    }
    attention_forward(out, lse, qkv, &whole, 1, T, 1, 1, HD, T);

    double sum[HD] = {0};                                   // of the values so far
    for (int i = 0; i < HD; i++) CHECK(out[i] == qkv[2*HD + i]);
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < HD; i++) {
            sum[i] += qkv[t*W + 2*HD + i];
            CHECK_NEAR(out[t*HD + i], sum[i] / (t + 1), 1e-5);
        }
    }
}

static void test_attention_scores_of_a_thousand_do_not_overflow(void) {
    enum { HD = 4, W = 3*HD, T = 20 };
    static float qkv[T*W], out[T*HD], dout[T*HD], dqkv[T*W], lse[T];
    const Segment whole = {0, T, -1};
    for (int i = 0; i < T*W; i++) {
        const int part = part_of_3(i, HD);
        if (part == Q_OF_3) qkv[i] = 30;
        if (part == K_OF_3) qkv[i] = (float)(i / W);        // each key scores higher than the last
        if (part == V_OF_3) qkv[i] = (float)(i * i % 7 - 3);
    }
    for (int i = 0; i < T*HD; i++) dout[i] = 1;
    attention_forward(out, lse, qkv, &whole, 1, T, 1, 1, HD, T);
    attention_backward(dqkv, dout, out, lse, qkv, &whole, 1, T, 1, 1, HD, T);

    int finite = 0;
    for (int i = 0; i < T*W; i++) finite += isfinite(dqkv[i]) && isfinite(out[i % (T*HD)]);
    CHECK(finite == T*W && lse[T-1] == 60 * (T-1));
    for (int t = 0; t < T; t++) {                           // each row's own value
        for (int i = 0; i < HD; i++) CHECK(out[t*HD + i] == qkv[t*W + 2*HD + i]);
    }
}

// A prompt with two answers of heads so wide that the group's keys are not packed together; of the
// prompt and the first answer alone they are.
static void test_attention_of_a_group_too_large_to_pack_has_the_same_bits(void) {
    enum { HD = 1200, W = 3*HD, P = 40, A = 60, T = P + 2*A };
    const Segment wide[] = {{0, P, -1}, {P, A, 0}, {P + A, A, 0}};
    const float *qkv = numbers((size_t)T*W, 1), *dout = numbers((size_t)T*HD, 1);
    float *out[2], *lse[2], *dqkv[2];
    for (int i = 0; i < 2; i++) {
        const int segments = 2 + i, rows = P + A + i*A;
        out[i] = blank((size_t)T*HD);
        lse[i] = blank((size_t)T);
        dqkv[i] = blank((size_t)T*W);
        attention_forward(out[i], lse[i], qkv, wide, segments, rows, 1, 1, HD, T);
        attention_backward(dqkv[i], dout, out[i], lse[i], qkv, wide, segments, rows, 1, 1, HD, T);
    }
    CHECK(!memcmp(out[0], out[1], (P + A)*HD * sizeof(float)));
    CHECK(!memcmp(lse[0], lse[1], (P + A) * sizeof(float)));
    CHECK(!memcmp(dqkv[0] + P*W, dqkv[1] + P*W, A*W * sizeof(float)));
}

// ------------------------------------------------------------------------------- activations

static double sigma(double x) { return 1 / (1 + exp(-x)); }

static double act_formula(double x, Activation kind) {
    if (kind == ACT_SILU) return x * sigma(x);
    if (kind == ACT_GELU_ERF) return 0.5 * x * (1 + erf(x / sqrt(2)));
    const double pi = acos(-1), u = sqrt(2 / pi) * (x + 0.044715*x*x*x);
    return 0.5 * x * (1 + tanh(u));
}

static double slope_formula(double x, Activation kind) {
    const double pi = acos(-1);
    if (kind == ACT_SILU) return sigma(x) * (1 + x * (1 - sigma(x)));
    if (kind == ACT_GELU_ERF) {
        return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x*x/2) / sqrt(2 * pi);
    }
    const double t = tanh(sqrt(2 / pi) * (x + 0.044715*x*x*x));
    const double du = sqrt(2 / pi) * (1 + 3*0.044715*x*x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t*t) * du;
}

// the first inputs of the activations, and the first gates
static const float special[] = {
    0, -0.0f, 100, -100, 1e-20f, -1e-40f, 12, -12, 3e9f, -3e9f, 0.625f, -1,
};
enum { SPECIAL = sizeof special / sizeof *special };

static void activations(int T, int F, Activation kind) {
    const size_t n = (size_t)T*F, N = (size_t)F;
    float *x = numbers(n, 2), *dy = numbers(n, 1), *y = blank(n), *dx = blank(n);
    float *pair = numbers(2*n, 2), *gated = blank(n), *dpair = blank(2*n);
    memcpy(x, special, sizeof special);
    memcpy(pair, special, sizeof special);

    activation_forward(y, x, kind, T, F);
    activation_backward(dx, dy, x, kind, T, F);
    gated_forward(gated, pair, kind, T, F);
    gated_backward(dpair, dy, pair, kind, T, F);
    BITS(y, n);
    BITS(dx, n);
    BITS(gated, n);
    BITS(dpair, 2*n);
    if (!recording()) return;

    double *Y = doubles(n), *dX = doubles(n), *G = doubles(n), *dG = doubles(2*n);
    for (size_t i = 0; i < n; i++) {
        const size_t g = i/N * 2*N + i%N, u = g + N;        // gate and up in the pair
        Y[i] = act_formula(x[i], kind);
        dX[i] = dy[i] * slope_formula(x[i], kind);
        G[i] = act_formula(pair[g], kind) * pair[u];
        dG[g] = dy[i] * pair[u] * slope_formula(pair[g], kind);
        dG[u] = dy[i] * act_formula(pair[g], kind);
    }

    // 3e9 and -3e9 are exact; then they are left out, because they dwarf the rest
    CHECK(y[8] == 3e9f && y[9] == 0 && dx[8] == dy[8] && dx[9] == 0);
    y[8] = 0;
    Y[8] = 0;
    dpair[N + 8] = 0;
    dG[N + 8] = 0;
    NEAR(y, Y, SPECIAL, 1e-6);
    NEAR(y + SPECIAL, Y + SPECIAL, n - SPECIAL, 1e-6);
    NEAR(dx, dX, n, 1e-6);
    NEAR(gated + SPECIAL, G + SPECIAL, n - SPECIAL, 1e-6);
    NEAR(dpair + SPECIAL, dG + SPECIAL, N - SPECIAL, 1e-6);
    NEAR(dpair + N, dG + N, 2*n - N, 1e-6);
    for (size_t i = SPECIAL; i < n; i++) {                  // also relative to itself, if not tiny
        if (fabs(Y[i]) > 1e-2) CHECK_NEAR(y[i] / Y[i], 1, 1e-5);
    }
}

static void activation_layers(void) {
    static const Activation kind[] = {ACT_GELU_ERF, ACT_GELU_TANH, ACT_SILU};
    for (int k = 0; k < 3; k++) {
        activations(23, 401, kind[k]);
        activations(1, 37, kind[k]);
    }
}
static void test_activations_and_gates_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(activation_layers, 0xffc2c8ea22e8aad6);
}

// -------------------------------------------------------------------------- pooling and head

static void pool_and_head(int C, Pooling pooling) {
    enum { B = 4, T = 20 };
    static const Text text[B] = {{0, 3, 2}, {3, 1, 3}, {5, 8, 12}, {13, 4, 17}};
    const size_t TC = (size_t)T*C, BC = (size_t)B*C, n = (size_t)C;
    const float *h = numbers(TC, 1), *w = numbers(n, 1), *dr = numbers(B, 1);
    float *pooled = blank(BC), *r = blank(B), *dh = numbers(TC, 1), *dw = numbers(n, 1);
    double *P = doubles(BC), *R = doubles(B), *dH = as_doubles(dh, TC), *dW = as_doubles(dw, n);

    pool_forward(pooled, h, text, pooling, B, C);
    head_forward(r, pooled, w, B, C);
    head_backward(dh, dw, dr, pooled, w, text, pooling, B, C);
    BITS(pooled, BC);
    BITS(r, B);
    BITS(dh, TC);
    BITS(dw, n);
    if (!recording()) return;

    for (int b = 0; b < B; b++) {
        for (int t = 0; t < T; t++) {
            const int content = t >= text[b].first && t < text[b].first + text[b].len;
            double share = t == text[b].pooled;             // of the row in the text's hidden state
            if (pooling == POOL_MEAN) share = content / (double)text[b].len;
            for (int c = 0; c < C; c++) {
                P[b*C + c] += share * h[t*C + c];
                R[b] += share * h[t*C + c] * w[c];
                dH[t*C + c] += share * dr[b] * w[c];
                dW[c] += share * dr[b] * h[t*C + c];
            }
        }
    }
    NEAR(pooled, P, BC, 1e-6);
    NEAR(r, R, B, 1e-6);
    NEAR(dh, dH, TC, 1e-6);
    NEAR(dw, dW, n, 1e-6);
}

static void head_layers(void) {
    for (int i = 0; i < WIDTHS; i++) {
        pool_and_head(widths[i], POOL_LAST);
        pool_and_head(widths[i], POOL_EOS);
        pool_and_head(widths[i], POOL_MEAN);
    }
}
static void test_pooling_and_head_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(head_layers, 0x8fb2c660b477c242);
}

// ------------------------------------------------------------------------- log-probabilities

static void log_probabilities(int C, int V, int chunk) {
    enum { T = 40, N = 23 };
    const size_t TC = (size_t)T*C, VC = (size_t)V*C;
    int row[N], target[N];
    for (int i = 0; i < N; i++) {
        row[i] = i + i/2;
        target[i] = (i*i + (i > 3 ? 0 : V - 1)) % V;
    }
    float *h = numbers(TC, 1);
    const float *w = numbers(VC, 1), *dlogp = numbers(N, 1);
    float *logp = blank(N), *logp_again = blank(N);
    float *work = blank((size_t)chunk * (size_t)(V + 2*C));
    for (int c = 0; c < C; c++) h[row[1]*C + c] *= 1000;    // logits of thousands
    float *dh = numbers(TC, 1), *dw = numbers(VC, 1);
    double *L = doubles(N), *dH = as_doubles(dh, TC), *dW = as_doubles(dw, VC);
    double *x = doubles((size_t)V);

    logp_forward(logp, h, w, NULL, row, target, N, C, V, work, chunk);
    logp_backward(dh, dw, logp_again, dlogp, h, w, NULL, row, target, N, C, V, work, chunk, NULL);
    BITS(logp, N);
    BITS(dh, TC);
    BITS(dw, VC);
    CHECK(!memcmp(logp, logp_again, N * sizeof *logp));
    if (!recording()) return;

    for (int i = 0; i < N; i++) {
        const float *hi = h + row[i]*C;
        double max = -1e300, sum = 0;
        for (int v = 0; v < V; v++) {
            x[v] = 0;
            for (int c = 0; c < C; c++) x[v] += (double)hi[c] * w[v*C + c];
            if (x[v] > max) max = x[v];
        }
        for (int v = 0; v < V; v++) sum += exp(x[v] - max);
        L[i] = x[target[i]] - max - log(sum);
        for (int v = 0; v < V; v++) {
            const double g = dlogp[i] * ((v == target[i]) - exp(x[v] - max) / sum);
            for (int c = 0; c < C; c++) {
                dH[row[i]*C + c] += g * w[v*C + c];
                dW[v*C + c] += g * hi[c];
            }
        }
    }
    NEAR(logp, L, 2, 1e-6);                                 // one of them in the thousands
    NEAR(logp + 2, L + 2, N - 2, 1e-6);
    NEAR(dh, dH, TC, 1e-5);
    NEAR(dw, dW, VC, 1e-5);
}

static void logp_layers(void) {
    log_probabilities(12, 1, 8);
    log_probabilities(12, 11, 23);
    log_probabilities(20, 50, 5);
    log_probabilities(37, 130, 8);
}
static void
test_log_probabilities_are_the_formula_in_any_chunks_and_the_same_bits_everywhere(void) {
    everywhere(logp_layers, 0x0911d22bbd2b8078);
}

static void logp_of_a_large_vocabulary(void) { log_probabilities(3, 4500, 8); }
static void test_so_are_those_of_a_large_vocabulary(void) {
    everywhere(logp_of_a_large_vocabulary, 0xa1baa6f5938f7569);
}

static void test_chunks_change_no_bit_of_a_log_probability_or_gradient(void) {
    enum { T = 9, C = 20, V = 33 };
    static float work[T*(V + 2*C)], logp[2][T], dh[2][T*C], dw[2][V*C];
    int row[T], target[T];
    arena_clear();
    const float *h = numbers(T*C, 1), *w = numbers(V*C, 1), *d = numbers(T, 1);
    for (int t = 0; t < T; t++) {
        row[t] = t;
        target[t] = 3*t;
    }
    for (int chunk = 1; chunk <= T; chunk++) {
        const int k = chunk > 1;                            // 0: the first, to compare with
        memset(dh[k], 0, sizeof dh[k]);
        memset(dw[k], 0, sizeof dw[k]);
        logp_backward(dh[k], dw[k], logp[k], d, h, w, NULL, row, target, T, C, V, work, chunk,
                      NULL);
        if (!k) continue;
        CHECK(!memcmp(logp[0], logp[1], sizeof *logp));
        CHECK(!memcmp(dh[0], dh[1], sizeof *dh) && !memcmp(dw[0], dw[1], sizeof *dw));
    }
}

static void test_probabilities_of_all_tokens_sum_to_1(void) {
    enum { C = 12, V = 37 };
    static float work[V*(V + C)], logp[V];
    int row[V] = {0}, target[V];
    double sum = 0;
    arena_clear();
    const float *h = numbers(C, 3), *w = numbers(V*C, 1);
    for (int v = 0; v < V; v++) target[v] = v;
    logp_forward(logp, h, w, NULL, row, target, V, C, V, work, V);
    for (int v = 0; v < V; v++) sum += exp(logp[v]);
    CHECK_NEAR(sum, 1, 1e-5);
}

// ------------------------------------------------------------------------------------ update

static void squares_layers(void) {
    static const size_t size[] = {
        0, 1, 15, 16, 17, 4095, 4096, 4097, 100003, 256*4096 + 5,
    };
    enum { SIZES = sizeof size / sizeof *size };
    float *x = numbers(size[SIZES - 1], 1);
    for (int k = 0; k < SIZES; k++) {
        const double sum = sum_of_squares(x, size[k]);
        float halves[2];
        memcpy(halves, &sum, sizeof halves);
        BITS(halves, 2);
        if (!recording()) continue;
        double want = 0;
        for (size_t i = 0; i < size[k]; i++) want += (double)x[i] * x[i];
        CHECK_NEAR(sum, want, 1e-12 * want);
    }
    x[7] = 3e37f;                                           // its square is beyond a float
    CHECK_NEAR(sum_of_squares(x, 1000) / (3e37 * 3e37), 1, 1e-7);
}
static void test_the_sum_of_squares_is_exact_to_1e12_and_the_same_bits_everywhere(void) {
    everywhere(squares_layers, 0xd2f6c63e932fa3a4);
}

static void test_nan_and_infinity_show_in_the_sum_of_squares_wherever_they_stand(void) {
    static float x[9001];
    static const size_t at[] = {0, 15, 16, 4095, 4096, 8999, 9000};
    CHECK(sum_of_squares(x, 9001) == 0);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        x[at[i]] = NAN;
        CHECK(isnan(sum_of_squares(x, 9001)));
        x[at[i]] = -HUGE_VALF;
        CHECK(sum_of_squares(x, 9001) == HUGE_VAL);
        x[at[i]] = 0;
    }
}

static void adamw_layers(void) {
    enum { N = 8192 + 4099, STEPS = 5 };
    const double lr = 0.01, b1 = 0.9, b2 = 0.98, eps = 1e-8;
    const double decay = 1 - lr*0.1, scale = 0.5;
    float *w = numbers(N, 1), *m = numbers(N, 0), *v = numbers(N, 0);
    double *W = as_doubles(w, N), *M = doubles(N), *V = doubles(N);
    for (int t = 1; t <= STEPS; t++) {
        const double c1 = 1 - pow(b1, t), c2 = 1 - pow(b2, t);        // the bias corrections
        float *g = numbers(N, t);
        g[1] = 0;                                           // no gradient: weight decay alone
        adamw_update(w, m, v, g, N, (float)scale, (float)b1, (float)b2, (float)(lr / c1),
                     (float)(1 / sqrt(c2)), (float)eps, (float)decay);
        BITS(w, N);
        BITS(m, N);
        BITS(v, N);
        if (!recording()) continue;
        for (int i = 0; i < N; i++) {
            const double x = scale * g[i];
            M[i] = b1*M[i] + (1 - b1)*x;
            V[i] = b2*V[i] + (1 - b2)*x*x;
            W[i] = W[i]*decay - lr * (M[i]/c1) / (sqrt(V[i]/c2) + eps);
        }
    }
    if (!recording()) return;
    NEAR(w, W, N, 1e-6);
    NEAR(m, M, N, 1e-6);
    NEAR(v, V, N, 1e-5);                                    // 1 - b2 of a rounded b2
    CHECK(m[1] == 0 && v[1] == 0);
    CHECK_NEAR(w[1], W[1], 1e-6 * fabs(W[1]));
}
static void test_adamw_is_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(adamw_layers, 0x9d66b4eb1f1f6881);
}

static void test_the_first_step_of_adamw_is_the_learning_rate_against_the_sign(void) {
    float w[3] = {1, -2, 3}, m[3] = {0}, v[3] = {0}, g[3] = {1e-3f, -50, 0};
    adamw_update(w, m, v, g, 3, 1, 0.9f, 0.999f, 0.01f / (1 - 0.9f), 1 / sqrtf(1 - 0.999f), 1e-12f,
                 1 - 0.01f * 0.5f);
    CHECK_NEAR(w[0], 1 - 0.005 - 0.01, 1e-6);
    CHECK_NEAR(w[1], -2 + 0.01 + 0.01, 1e-6);
    CHECK_NEAR(w[2], 3 - 0.015, 1e-6);
}

static void test_adamw_reads_tiny_gradients_and_writes_tiny_moments_as_zero(void) {
    for (int k = 0; kernels_variant(k); k++) {
        CHECK(kernels_init(kernels_variant(k)) == 0);
        // gradients of 2^-56 and 2^-55; moments that fall below 2^-100, and just not; a
        // subnormal moment; NaN
        float g[6] = {0x1p-56f, -0x1p-55f, 0, 0, 0, NAN};
        float m[6] = {0, 0, -0x1.8p-100f, 0x1p-99f, 0x1p-130f, 0};
        float v[6] = {0, 0, 0x1p-100f, 0x1p-99f, 0x1p-140f, 0};
        float w[6] = {0};
        adamw_update(w, m, v, g, 6, 1, 0.5f, 0.5f, 0, 1, 1, 1);
        CHECK(m[0] == 0 && v[0] == 0);
        CHECK(m[1] == -0x1p-56f && v[1] == 0);              // 2^-111 is below 2^-100
        CHECK(m[2] == 0 && v[2] == 0);
        CHECK(m[3] == 0x1p-100f && v[3] == 0x1p-100f);
        CHECK(m[4] == 0 && v[4] == 0);
        CHECK(isnan(m[5]) && isnan(v[5]) && isnan(w[5]));
    }
}

// ------------------------------------------------------------------------------------- start

static float sum_of_sizes(const float *x, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += fabsf(x[i]);
    return sum;
}

static void test_tensors_are_zeroed_copied_and_refused_when_too_large(void) {
    enum { LARGE = 600001, SMALL = 1000 };                  // LARGE lies on huge pages
    const float host[5] = {1, 2, 3, 4, 5};
    float back[5] = {0};
    float *x = kernels_alloc(LARGE);
    CHECK(x != NULL && sum_of_sizes(x, LARGE) == 0);
    kernels_write(x + 7, host, 5);
    kernels_read(back, x + 7, 5);
    CHECK(!memcmp(host, back, sizeof host) && x[6] == 0 && x[12] == 0);
    kernels_zero(x + 8, 3);
    CHECK(x[7] == 1 && x[8] == 0 && x[10] == 0 && x[11] == 5);
    kernels_free(x);

    kernels_write(NULL, NULL, 0);
    kernels_read(NULL, NULL, 0);
    kernels_zero(NULL, 0);
    kernels_free(NULL);

    for (int k = 0; k < 2; k++) {                           // the second from used memory
        x = kernels_alloc(SMALL);
        CHECK(sum_of_sizes(x, SMALL) == 0);
        for (int i = 0; i < SMALL; i++) x[i] = 7;
        kernels_free(x);
    }

    error_code = 0;
    CHECK(kernels_alloc(SIZE_MAX / sizeof(real)) == NULL);
    CHECK(error_code == EX_OSERR && strstr(error_text, "out of memory"));
}

static void test_kernels_init_names_what_it_chose_or_refuses(void) {
    const char *last = kernels_variant(variants() - 1);
    CHECK(kernels_init(last) == 0 && !strcmp(kernels_name(), last));
    CHECK(kernels_init("cray") == -1 && error_code == EX_USAGE);
    CHECK(strstr(error_text, "MORE_ISA=cray") != NULL);
    CHECK(kernels_init(NULL) == 0 && !strcmp(kernels_name(), kernels_variant(0)));
}

int main(int argc, char **argv) {
    // more threads than free cores: they must sleep while they wait, and OpenMP reads this
    // before main
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        execv(argv[0], argv);
    }
    test_choose(argc, argv);
    kernels_set_threads(1);
    if (kernels_init(NULL) == 0 && kernels_reserve(&(Scratch){.keys = 256}) == 0) {
        arena.number = kernels_alloc(MAX_FLOATS);
    }
    if (!arena.number) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
#ifndef MORE_LINK_KERNELS
    RUN(test_the_scratch_of_attention_only_grows_with_texts_and_threads);
#endif
    RUN(test_linear_layers_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_narrow_matrices_give_the_bits_of_their_numbers_everywhere);
    RUN(test_scaled_sums_are_fused_and_leave_other_columns);
    RUN(test_sums_of_tensors_are_rounded_one_after_the_other);
    RUN(test_embeddings_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_layer_and_rms_norms_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_the_norm_of_a_constant_row_is_its_bias_and_of_any_row_has_mean_0_and_variance_1);
    RUN(test_query_and_key_norms_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_rotary_turns_by_the_positions_angle_and_back_and_touches_nothing_else);
    RUN(test_attention_is_the_naive_sum_over_parents_and_the_same_bits_everywhere);
    RUN(test_attention_of_a_group_too_large_to_pack_has_the_same_bits);
    RUN(test_attention_of_a_row_alone_is_its_value_and_of_equal_keys_the_mean);
    RUN(test_attention_scores_of_a_thousand_do_not_overflow);
    RUN(test_activations_and_gates_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_pooling_and_head_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_log_probabilities_are_the_formula_in_any_chunks_and_the_same_bits_everywhere);
    RUN(test_so_are_those_of_a_large_vocabulary);
    RUN(test_chunks_change_no_bit_of_a_log_probability_or_gradient);
    RUN(test_probabilities_of_all_tokens_sum_to_1);
    RUN(test_the_sum_of_squares_is_exact_to_1e12_and_the_same_bits_everywhere);
    RUN(test_nan_and_infinity_show_in_the_sum_of_squares_wherever_they_stand);
    RUN(test_adamw_is_the_formula_and_the_same_bits_everywhere);
    RUN(test_the_first_step_of_adamw_is_the_learning_rate_against_the_sign);
    RUN(test_adamw_reads_tiny_gradients_and_writes_tiny_moments_as_zero);
    RUN(test_tensors_are_zeroed_copied_and_refused_when_too_large);
    RUN(test_kernels_init_names_what_it_chose_or_refuses);
    buffer_free(&first_run.bytes);
    kernels_free(arena.number);
#ifndef MORE_LINK_KERNELS
    kernels_free(attention_work_memory);
    kernels_free(matmul_work_memory);
#endif
    return test_summary();
}

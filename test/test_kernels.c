/* test_kernels.c - every layer, forward and backward, against its formula summed naively in double, and bit
 * for bit the same with every instruction set this machine has and on 1, 2 and 3 threads.                  */
#include "test.h"
#include <unistd.h>
#include "../kernels.c"

// ------------------------------------------------------------------------------ inputs, and what is compared

static void set_threads(int n) {
    (void)n;
#ifdef _OPENMP
    omp_set_num_threads(n);
#endif
}

/* Arrays of one run: the same numbers in every run, with a guard behind each.  Nothing is aligned.         */
enum { GUARD = 7, MAX_ARRAYS = 2000 };
static float  arena[9 << 20];
static double double_arena[3 << 20];
static size_t arena_used, double_used, guard_at[MAX_ARRAYS];
static int    arrays;

static float *blank(size_t n) {                                       // NaN: an output must be written
    float *x = arena + arena_used;
    assert(arena_used + n + GUARD <= sizeof arena / sizeof *arena && arrays < MAX_ARRAYS);
    for (size_t i = 0; i < n + GUARD; i++) x[i] = float_of(0x7fc0beef);
    guard_at[arrays++] = arena_used += n;
    arena_used += GUARD;
    return x;
}
static float *numbers(size_t n, double scale) {
    float *x = blank(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(scale * random_normal(5, STREAM_TEST, (uint64_t)arrays, i));
    return x;
}
static float *copy(const float *x, size_t n) {
    float *y = blank(n);
    for (size_t i = 0; i < n; i++) y[i] = x[i];
    return y;
}
static double *doubles(size_t n) {
    double *x = double_arena + double_used;
    assert((double_used += n) <= sizeof double_arena / sizeof *double_arena);
    memset(x, 0, n * sizeof *x);
    return x;
}
static double *as_doubles(const float *x, size_t n) {  // a gradient's start, to which backward adds
    double *d = doubles(n);
    for (size_t i = 0; i < n; i++) d[i] = x[i];
    return d;
}

static Buffer recorded;                                               // the outputs of scalar on one thread
static size_t at_recorded;
static int    recording;

static void same_bits(const char *what, const float *x, size_t n) {
    if (recording) {
        if (buffer_append(&recorded, x, n * sizeof *x) < 0) exit(1);
    } else if (memcmp(recorded.data + at_recorded, x, n * sizeof *x)) {
        size_t i = 0;
        while (!memcmp(recorded.data + at_recorded + i*4, x + i, 4)) i++;
        test_bad++;
        printf("    %s[%zu] of %zu has other bits with %s on %d threads\n", what, i, n, kernels_name(),
               thread_count());
    }
    at_recorded += n * sizeof *x;
}
#define BITS(x, n) same_bits(#x, x, n)

// |got - want| <= eps max(|want|, 1e-30); want in double
static void near_formula(const char *what, int line, const float *got, const double *want, size_t n,
                         double eps) {
    double largest = 1e-30, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) if (fabs(want[i]) > largest) largest = fabs(want[i]);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= worst)) worst = fabs(got[i] - want[i]), at = i;
    if (worst <= eps * largest) return;
    test_bad++;
    printf("    line %d: %s[%zu] = %.9g, not %.9g (largest %.3g)\n", line, what, at, got[at], want[at],
           largest);
}
#define NEAR(x, want, n, eps) near_formula(#x, __LINE__, x, want, n, eps)

// Runs layers (which calls BITS, and NEAR where `recording`) with scalar on one thread, then every other way.
static void everywhere(void (*layers)(void)) {
    at_recorded = recorded.len = 0;
    for (int k = NUM_TILES - 1; k >= 0; k--)
        for (int threads = 1; threads <= 3; threads++) {
            if (!isa_supported(tiles[k].isa)) continue;
            set_threads(threads);
            CHECK(kernels_init(tiles[k].name) == 0 && attention_reserve(256) == 0);
            recording = k == NUM_TILES - 1 && threads == 1;
            arena_used = double_used = at_recorded = 0;
            arrays = 0;
            layers();
            CHECK(at_recorded == recorded.len && recorded.len > 0);
            int written = 0;
            for (int i = 0; i < arrays; i++)
                for (size_t j = 0; j < GUARD; j++) written += bits_of(arena[guard_at[i] + j]) != 0x7fc0beef;
            CHECK(written == 0);
#ifndef _OPENMP
            break;
#endif
        }
    set_threads(1);
}

static void test_the_scratch_of_attention_only_grows_with_texts_and_threads(void) {
    CHECK(attention_reserve(300) == 0);
    set_threads(3);
    CHECK(attention_reserve(8) == 0);                                 // of another model with shorter texts
    CHECK(attention_work_keys == 300 && attention_work_threads == thread_count());
    set_threads(1);
    CHECK(attention_reserve(400) == 0);
    set_threads(3);
    CHECK(attention_work_keys == 400 && attention_work_threads == thread_count());
    set_threads(1);
}

static const int widths[] = {12, 20, 37, 129};
enum { WIDTHS = 4 };
#define EACH_WIDTH(C) for (int w_ = 0, C = widths[0]; w_ < WIDTHS; C = widths[++w_ % WIDTHS])

// -------------------------------------------------------------------------------------------- linear layers

static void linear(int T, int C, int OC, int bias) {
    size_t TC = (size_t)T*C, TO = (size_t)T*OC, CO = (size_t)C*OC, O = (size_t)OC;
    float *inp = numbers(TC, 1), *w = numbers(CO, 1), *b = bias ? numbers(O, 1) : NULL;
    float *dout = numbers(TO, 1);
    float *out = blank(TO), *dinp = blank(TC), *dw = numbers(CO, 1), *db = bias ? numbers(O, 1) : NULL;
    float *dw0 = copy(dw, CO), *dw1 = copy(dw, CO), *db0 = bias ? copy(db, O) : NULL;
    matmul_forward(out, inp, w, b, T, C, OC);
    matmul_backward(dinp, dw, db, dout, inp, w, T, C, OC, NULL);
    matmul_backward(NULL, dw1, NULL, dout, inp, w, T, C, OC, NULL);
    BITS(out, TO);
    BITS(dinp, TC);
    BITS(dw, CO);
    if (b) BITS(db, O);
    CHECK(!memcmp(dw, dw1, CO * sizeof *dw));
    if (!recording) return;
    double *y = doubles(TO), *dx = doubles(TC), *dW = as_doubles(dw0, CO);
    double *dB = b ? as_doubles(db0, O) : NULL;
    for (size_t t = 0; t < (size_t)T; t++)
        for (size_t o = 0; o < O; o++) {
            double d = dout[t*O + o];
            y[t*O + o] = b ? b[o] : 0;
            if (b) dB[o] += d;
            for (size_t c = 0; c < (size_t)C; c++) {
                y[t*O + o] += (double)inp[t*C + c] * w[o*C + c];
                dx[t*C + c] += d * w[o*C + c];
                dW[o*C + c] += d * inp[t*C + c];
            }
        }
    NEAR(out, y, TO, 2e-6);
    NEAR(dinp, dx, TC, 2e-6);
    NEAR(dw, dW, CO, 2e-6);
    if (b) NEAR(db, dB, O, 2e-6);
}
static void linear_layers(void) {
    EACH_WIDTH(C) linear(C == 37 ? 1 : 19, C, 23, C != 20);
    linear(70, 37, 130, 1);
    linear(150, 20, 66, 1);
}
static void test_linear_layers_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(linear_layers);
}

static void add_layers(void) {
    size_t n = 20011;                                                 // pieces of 8192
    float *a = numbers(n, 1), *b = numbers(n, 1), *c = numbers(n, 1), *two = blank(n), *three = blank(n);
    float *own = copy(a, n);
    add_forward(two, a, b, n);
    add3_forward(three, a, b, c, n);
    add_forward(own, own, b, n);
    BITS(two, n);
    BITS(three, n);
    CHECK(!memcmp(own, two, n * sizeof *own));
    if (!recording) return;
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        float sum = a[i] + b[i], sum3 = sum + c[i];
        bad += two[i] != sum || three[i] != sum3;
    }
    CHECK(bad == 0);
}
static void test_sums_of_tensors_are_rounded_one_after_the_other(void) { everywhere(add_layers); }

// ------------------------------------------------------------------------------------------------ embeddings

static void embed_layers(void) {
    enum { T = 33, V = 11, P = 9 };
    int token[T], position[T];
    for (int t = 0; t < T; t++) token[t] = t*t % 7 + (t == 3 ? 4 : 0), position[t] = t % P;
    EACH_WIDTH(C) for (int learned = 0; learned < 2; learned++) {
        size_t TC = (size_t)T*C, VC = (size_t)V*C, PC = (size_t)P*C;
        float *wte = numbers(VC, 1), *wpe = learned ? numbers(PC, 1) : NULL;
        float *dout = numbers(TC, 1), *out = blank(TC);
        float *dwte = numbers(VC, 1), *dwpe = learned ? numbers(PC, 1) : NULL;
        double *dE = as_doubles(dwte, VC), *dP = learned ? as_doubles(dwpe, PC) : NULL;
        embed_forward(out, token, position, wte, wpe, T, C);
        embed_backward(dwte, dwpe, dout, token, position, T, C);
        BITS(out, TC);
        BITS(dwte, VC);
        if (learned) BITS(dwpe, PC);
        if (!recording) continue;
        int bad = 0;
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++) {
                float e = wte[token[t]*C + c], p = learned ? wpe[position[t]*C + c] : 0, d = dout[t*C + c];
                bad += out[t*C + c] != e + p;
                dE[token[t]*C + c] += d;
                if (learned) dP[position[t]*C + c] += d;
            }
        CHECK(bad == 0);
        NEAR(dwte, dE, VC, 1e-6);
        if (learned) NEAR(dwpe, dP, PC, 1e-6);
    }
}
static void test_embeddings_are_the_formula_and_the_same_bits_everywhere(void) { everywhere(embed_layers); }

// ----------------------------------------------------------------------------------------------------- norms

static void norm(int T, int C, int rms) {
    size_t TC = (size_t)T*C, n = (size_t)C;
    const float eps = 1e-3f;
    float *x = numbers(TC, 1), *w = numbers(n, 1), *b = rms ? NULL : numbers(n, 1);
    float *dy = numbers(TC, 1), *y = blank(TC);
    float *mean = blank((size_t)T), *rstd = blank((size_t)T), *dx = numbers(TC, 1), *dw = numbers(n, 1);
    float *db = rms ? NULL : numbers(n, 1);
    for (int i = 0; i < C; i++) x[i] *= 1e-3f, x[C + i] += 100;  // a row smaller than eps, one far from 0
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
    if (!recording) return;
    for (int t = 0; t < T; t++) {
        double m = 0, v = 0, s1 = 0, s2 = 0;
        const float *row = x + t*C;
        for (int c = 0; c < C && !rms; c++) m += (double)row[c] / C;
        for (int c = 0; c < C; c++) v += (row[c] - m) * (row[c] - m) / C;
        double r = 1 / sqrt(v + eps);
        for (int c = 0; c < C; c++) {
            double xh = (row[c] - m) * r, u = (double)dy[t*C + c] * w[c];
            Y[t*C + c] = xh * w[c] + (rms ? 0 : b[c]);
            dW[c] += dy[t*C + c] * xh;
            if (!rms) dB[c] += dy[t*C + c], s1 += u / C;
            s2 += u * xh / C;
        }
        for (int c = 0; c < C; c++)
            dX[t*C + c] += r * ((double)dy[t*C + c] * w[c] - s1 - (row[c] - m) * r * s2);
        CHECK_NEAR(mean[t], m, 1e-5);
        CHECK_NEAR(rstd[t] / r, 1, 1e-4);
    }
    NEAR(y, Y, TC, 2e-5);  // the row around 100 has lost two digits
    NEAR(dx, dX, TC, 1e-6);
    NEAR(dw, dW, n, 2e-5);
    if (!rms) NEAR(db, dB, n, 1e-6);
}
static void norm_layers(void) { EACH_WIDTH(C) norm(9, C, 0), norm(9, C, 1); }
static void test_layer_and_rms_norms_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(norm_layers);
}

static void test_the_norm_of_a_constant_row_is_its_bias_and_of_any_row_has_mean_0_and_variance_1(void) {
    float x[2][20], y[2][20], one[20], b[20], mean[2], rstd[2];
    double sum = 0, square = 0;
    for (int c = 0; c < 20; c++)
        x[0][c] = 7, x[1][c] = (float)(c*c % 13), one[c] = 1, b[c] = 0.125f * (float)c;
    norm_forward(y[0], mean, rstd, x[0], one, b, 1e-5f, 0, 1, 20);
    CHECK(!memcmp(y[0], b, sizeof b) && mean[0] == 7);
    memset(b, 0, sizeof b);
    norm_forward(y[1], mean, rstd, x[1], one, b, 0, 0, 1, 20);
    for (int c = 0; c < 20; c++) sum += y[1][c], square += y[1][c] * y[1][c];
    CHECK_NEAR(sum, 0, 1e-5);
    CHECK_NEAR(square, 20, 1e-4);
    norm_forward(y[0], mean, rstd, x[0], one, NULL, 0, 1, 1, 20);     // RMS
    for (int c = 0; c < 20; c++) CHECK_NEAR(y[0][c], 1, 1e-6);
}

static void head_norm(int HD, int heads, int stride) {
    enum { T = 11 };
    const float eps = 1e-3f;
    size_t n = (size_t)T*stride, D = (size_t)HD;
    float *rows = numbers(n, 1), *x = copy(rows, n), *w = numbers(D, 1);
    float *pre = blank(n), *rstd = blank((size_t)T*heads);
    float *drows = numbers(n, 1), *dw = numbers(D, 1);
    double *Y = as_doubles(x, n), *dX = as_doubles(drows, n), *dW = as_doubles(dw, D);
    head_norm_forward(rows, pre, rstd, w, eps, T, heads, HD, stride);
    head_norm_backward(drows, dw, pre, rstd, w, T, heads, HD, stride);
    BITS(rows, n);
    BITS(rstd, (size_t)T*heads);
    BITS(drows, n);
    BITS(dw, D);
    if (!recording) return;
    for (int t = 0; t < T; t++)
        for (int h = 0; h < heads; h++) {
            const size_t at = (size_t)t*stride + (size_t)h*HD;
            double v = 0, s = 0;
            for (int c = 0; c < HD; c++) v += (double)x[at + c] * x[at + c] / HD;
            double r = 1 / sqrt(v + eps);
            for (int c = 0; c < HD; c++) {
                s += dX[at + c] * w[c] * x[at + c] * r / HD;
                dW[c] += dX[at + c] * x[at + c] * r;
                Y[at + c] = x[at + c] * r * w[c];
            }
            for (int c = 0; c < HD; c++) dX[at + c] = r * (dX[at + c] * w[c] - x[at + c] * r * s);
        }
    NEAR(rows, Y, n, 1e-6);  // and beyond the heads nothing has changed
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
    everywhere(head_norm_layers);
}

// ---------------------------------------------------------------------------------------------------- rotary

static void rotary_layers(void) {
    static const int shape[][4] = {{4, 4, 3, 1}, {6, 4, 2, 2}, {20, 10, 2, 1}, {20, 20, 3, 0},
                                   {64, 16, 2, 1}};
    enum { T = 13, P = 17 };                                          // HD, dims, heads turned, heads not
    int position[T];
    for (int t = 0; t < T; t++) position[t] = t*5 % P;
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k++) {
        const int HD = shape[k][0], dims = shape[k][1], half = dims / 2, heads = shape[k][2];
        const int W = HD * (heads + shape[k][3]);
        size_t n = (size_t)T*W, table = (size_t)P*half;
        float *x = numbers(n, 1), *turned = copy(x, n), *back = blank(n);
        float *co = blank(table), *si = blank(table);
        double *want = as_doubles(x, n);
        for (size_t i = 0; i < table; i++) co[i] = (float)cos((double)i), si[i] = (float)sin((double)i);
        rotary(turned, co, si, position, 1, T, heads, HD, dims, W);
        memcpy(back, turned, n * sizeof *x);
        rotary(back, co, si, position, -1, T, heads, HD, dims, W);
        BITS(turned, n);
        BITS(back, n);
        if (!recording) continue;
        for (int t = 0; t < T; t++)
            for (int h = 0; h < heads; h++)
                for (int i = 0; i < half; i++) {
                    size_t a = (size_t)t*W + (size_t)h*HD + (size_t)i, b = a + (size_t)half;
                    double angle = position[t]*half + i;
                    want[a] = x[a] * cos(angle) - x[b] * sin(angle);
                    want[b] = x[a] * sin(angle) + x[b] * cos(angle);
                }
        NEAR(turned, want, n, 3e-7);
        NEAR(back, as_doubles(x, n), n, 3e-7);
        int touched = 0;
        for (int t = 0; t < T; t++)
            for (int i = 0; i < W; i++)
                touched += (i >= heads*HD || i % HD >= dims) && turned[t*W + i] != x[t*W + i];
        CHECK(touched == 0);
    }
}
static void test_rotary_turns_by_the_positions_angle_and_back_and_touches_nothing_else(void) {
    everywhere(rotary_layers);
}

// ------------------------------------------------------------------------------------------------- attention

// A prompt longer than a block of rows with two answers, one of which has an answer of its own; a text of one
// row; a text of more than two blocks
static const Segment seg[] = {{0, 61, -1}, {61, 70, 0}, {131, 3, 0}, {134, 5, 1}, {139, 1, -1},
                              {140, 117, -1}};
enum { S = 6, T_ALL = 257 };

static int segment_of(int t) {
    int s = 0;
    while (t >= seg[s].start + seg[s].len) s++;
    return s;
}
static int attends(int t, int u) {  // u is t, before t, or on the path of its parents
    if (u > t) return 0;
    for (int s = segment_of(t); s >= 0; s = seg[s].parent) if (s == segment_of(u)) return 1;
    return 0;
}

static void attention(int HD, int NH, int NKV) {
    const size_t T = T_ALL, W = (size_t)(NH + 2*NKV)*HD, O = (size_t)NH*HD, n = T*W, m = T*O, D = (size_t)HD;
    float *qkv = numbers(n, 1), *dout = numbers(m, 1), *out = blank(m), *lse = blank(T*NH), *dqkv = blank(n);
    attention_forward(out, lse, qkv, seg, S, (int)T, NH, NKV, HD);
    attention_backward(dqkv, dout, out, lse, qkv, seg, S, (int)T, NH, NKV, HD);
    BITS(out, m);
    BITS(lse, T*NH);
    BITS(dqkv, n);
    if (!recording) return;
    double *y = doubles(m), *L = doubles(T*NH), *d = doubles(n), scale = 1 / sqrt(HD), p[T_ALL], dp[T_ALL];
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < (size_t)NH; h++) {
            size_t kv = h / (size_t)(NH / NKV), k = (NH + kv)*D, v = (NH + NKV + kv)*D;
            size_t q = t*W + h*D, o = t*O + h*D;
            double sum = 0, dot = 0;
            for (size_t u = 0; u < T; u++) {
                p[u] = dp[u] = 0;
                if (!attends((int)t, (int)u)) continue;
                for (size_t i = 0; i < D; i++) p[u] += scale * qkv[q + i] * qkv[u*W + k + i];
                sum += p[u] = exp(p[u]);
            }
            L[t*NH + h] = log(sum);
            for (size_t u = 0; u < T; u++)
                for (size_t i = 0; i < D; i++) {
                    y[o + i] += p[u] / sum * qkv[u*W + v + i];
                    dp[u] += (double)dout[o + i] * qkv[u*W + v + i];
                }
            for (size_t i = 0; i < D; i++) dot += dout[o + i] * y[o + i];
            for (size_t u = 0; u < T; u++)
                for (size_t i = 0; i < D; i++) {
                    double g = p[u] / sum * (dp[u] - dot) * scale;
                    d[q + i] += g * qkv[u*W + k + i];
                    d[u*W + k + i] += g * qkv[q + i];
                    d[u*W + v + i] += p[u] / sum * dout[o + i];
                }
        }
    NEAR(out, y, m, 1e-6);
    NEAR(lse, L, T*NH, 1e-6);
    NEAR(dqkv, d, n, 1e-6);
}
static void attention_layers(void) {
    attention(4, 3, 3);
    attention(6, 4, 2);
    attention(20, 3, 1);
    attention(64, 2, 1);
}
static void test_attention_is_the_naive_sum_over_parents_and_the_same_bits_everywhere(void) {
    everywhere(attention_layers);
}

static void test_attention_of_a_row_alone_is_its_value_and_of_equal_keys_the_mean(void) {
    enum { HD = 4, W = 3*HD, T = 70 };
    static float qkv[T*W], out[T*HD], lse[T];
    const Segment whole = {0, T, -1};
    double mean[HD] = {0};
    for (int i = 0; i < T*W; i++)                                     // any queries, equal keys, any values
        qkv[i] = i % W < HD ? (float)(i % 5) : i % W < 2*HD ? 0.5f : (float)(i * i % 17);
    attention_forward(out, lse, qkv, &whole, 1, T, 1, 1, HD);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < HD; i++) {
            mean[i] += qkv[t*W + 2*HD + i];
            if (t == 0) CHECK(out[i] == qkv[2*HD + i]);
            CHECK_NEAR(out[t*HD + i], mean[i] / (t + 1), 1e-5);
        }
}

static void test_attention_scores_of_a_thousand_do_not_overflow(void) {
    enum { HD = 4, W = 3*HD, T = 20 };
    static float qkv[T*W], out[T*HD], dout[T*HD], dqkv[T*W], lse[T];
    const Segment whole = {0, T, -1};
    int finite = 0;
    for (int i = 0; i < T*W; i++)                                    // each key scores higher than the last
        qkv[i] = i % W < HD ? 30 : i % W < 2*HD ? (float)(i / W) : (float)(i * i % 7 - 3);
    for (int i = 0; i < T*HD; i++) dout[i] = 1;
    attention_forward(out, lse, qkv, &whole, 1, T, 1, 1, HD);
    attention_backward(dqkv, dout, out, lse, qkv, &whole, 1, T, 1, 1, HD);
    for (int i = 0; i < T*W; i++) finite += isfinite(dqkv[i]) && isfinite(out[i % (T*HD)]);
    CHECK(finite == T*W && lse[T-1] == 60 * (T-1));
    for (int i = 0; i < T*HD; i++) CHECK(out[i] == qkv[i/HD*W + 2*HD + i % HD]);       // each row's own value
}

// ----------------------------------------------------------------------------------------------- activations

static double sigma(double x) { return 1 / (1 + exp(-x)); }
static double act_formula(double x, Activation kind) {
    if (kind == ACT_SILU) return x * sigma(x);
    double u = sqrt(2 / acos(-1)) * (x + 0.044715*x*x*x);
    return 0.5 * x * (1 + (kind == ACT_GELU_ERF ? erf(x / sqrt(2)) : tanh(u)));
}
static double slope_formula(double x, Activation kind) {
    if (kind == ACT_SILU) return sigma(x) * (1 + x * (1 - sigma(x)));
    if (kind == ACT_GELU_ERF) return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x*x/2) / sqrt(2 * acos(-1));
    double u = sqrt(2 / acos(-1)) * (x + 0.044715*x*x*x), t = tanh(u);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t*t) * sqrt(2 / acos(-1)) * (1 + 3*0.044715*x*x);
}

static void activations(int T, int F, Activation kind) {
    size_t n = (size_t)T*F, N = (size_t)F;
    float *x = numbers(n, 2), *dy = numbers(n, 1), *y = blank(n), *dx = blank(n);
    float *pair = numbers(2*n, 2), *gated = blank(n), *dpair = blank(2*n);
    static const float special[] = {0, -0.0f, 100, -100, 1e-20f, -1e-40f, 12, -12, 3e9f, -3e9f, 0.625f, -1};
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
    if (!recording) return;
    double *Y = doubles(n), *dX = doubles(n), *G = doubles(n), *dG = doubles(2*n);
    for (size_t i = 0; i < n; i++) {
        size_t g = i/N * 2*N + i%N, u = g + N;
        Y[i] = act_formula(x[i], kind);
        dX[i] = dy[i] * slope_formula(x[i], kind);
        G[i] = act_formula(pair[g], kind) * pair[u];
        dG[g] = dy[i] * pair[u] * slope_formula(pair[g], kind);
        dG[u] = dy[i] * act_formula(pair[g], kind);
    }
    // and then these are left out: they dwarf the rest
    CHECK(y[8] == 3e9f && y[9] == 0 && dx[8] == dy[8] && dx[9] == 0);
    y[8] = gated[8] = dpair[N + 8] = 0, Y[8] = G[8] = dG[N + 8] = 0;
    NEAR(y, Y, 12, 1e-6);
    NEAR(y + 12, Y + 12, n - 12, 1e-6);
    NEAR(dx, dX, n, 1e-6);
    NEAR(gated + 12, G + 12, n - 12, 1e-6);
    NEAR(dpair + 12, dG + 12, N - 12, 1e-6);
    NEAR(dpair + N, dG + N, 2*n - N, 1e-6);
    for (size_t i = 12; i < n; i++)  // also relative to itself, where it is not tiny
        if (fabs(Y[i]) > 1e-2) CHECK_NEAR(y[i] / Y[i], 1, 1e-5);
}
static void activation_layers(void) {
    static const Activation kind[] = {ACT_GELU_ERF, ACT_GELU_TANH, ACT_SILU};
    for (int k = 0; k < 3; k++) {
        activations(23, 401, kind[k]);
        activations(1, 37, kind[k]);
    }
}
static void test_activations_and_gates_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(activation_layers);
}

// ---------------------------------------------------------------------------------------- pooling and head

static void head_layers(void) {
    static const Text text[] = {{0, 3, 2}, {3, 1, 3}, {5, 8, 12}, {13, 4, 17}};
    enum { B = 4, T = 20 };
    static const Pooling pooling[] = {POOL_LAST, POOL_EOS, POOL_MEAN};
    EACH_WIDTH(C) for (int k = 0; k < 3; k++) {
        size_t TC = (size_t)T*C, BC = (size_t)B*C, n = (size_t)C;
        float *h = numbers(TC, 1), *w = numbers(n, 1), *dr = numbers(B, 1);
        float *pooled = blank(BC), *r = blank(B);
        float *dh = numbers(TC, 1), *dw = numbers(n, 1);
        double *P = doubles(BC), *R = doubles(B), *dH = as_doubles(dh, TC), *dW = as_doubles(dw, n);
        pool_forward(pooled, h, text, pooling[k], B, C);
        head_forward(r, pooled, w, B, C);
        head_backward(dh, dw, dr, pooled, w, text, pooling[k], B, C);
        BITS(pooled, BC);
        BITS(r, B);
        BITS(dh, TC);
        BITS(dw, n);
        if (!recording) continue;
        for (int b = 0; b < B; b++)
            for (int t = 0; t < T; t++) {
                int content = t >= text[b].first && t < text[b].first + text[b].len;
                double share = pooling[k] == POOL_MEAN ? content / (double)text[b].len : t == text[b].pooled;
                for (int c = 0; c < C; c++) {
                    P[b*C + c] += share * h[t*C + c];
                    R[b] += share * h[t*C + c] * w[c];
                    dH[t*C + c] += share * dr[b] * w[c];
                    dW[c] += share * dr[b] * h[t*C + c];
                }
            }
        NEAR(pooled, P, BC, 1e-6);
        NEAR(r, R, B, 1e-6);
        NEAR(dh, dH, TC, 1e-6);
        NEAR(dw, dW, n, 1e-6);
    }
}
static void test_pooling_and_head_are_the_formula_and_the_same_bits_everywhere(void) {
    everywhere(head_layers);
}

// --------------------------------------------------------------------------------------- log-probabilities

static void log_probabilities(int C, int V, int chunk) {
    enum { T = 40, N = 23 };
    int row[N], target[N];
    size_t TC = (size_t)T*C, VC = (size_t)V*C;
    float *h = numbers(TC, 1), *w = numbers(VC, 1), *dlogp = numbers(N, 1), *dh, *dw;
    float *logp = blank(N), *logp2 = blank(N);
    float *work = blank((size_t)chunk * (size_t)(V + 2*C));
    for (int i = 0; i < N; i++) row[i] = i + i/2, target[i] = (i*i + (i > 3 ? 0 : V - 1)) % V;
    for (int c = 0; c < C; c++) h[row[1]*C + c] *= 1000;              // logits of thousands
    dh = numbers(TC, 1), dw = numbers(VC, 1);
    double *L = doubles(N), *dH = as_doubles(dh, TC), *dW = as_doubles(dw, VC), *x = doubles((size_t)V);
    logp_forward(logp, h, w, row, target, N, C, V, work, chunk);
    logp_backward(dh, dw, logp2, dlogp, h, w, row, target, N, C, V, work, chunk, NULL);
    BITS(logp, N);
    BITS(dh, TC);
    BITS(dw, VC);
    CHECK(!memcmp(logp, logp2, N * sizeof *logp));
    if (!recording) return;
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
            double g = dlogp[i] * ((v == target[i]) - exp(x[v] - max) / sum);
            for (int c = 0; c < C; c++) dH[row[i]*C + c] += g * w[v*C + c], dW[v*C + c] += g * hi[c];
        }
    }
    NEAR(logp, L, 2, 1e-6);
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
static void test_log_probabilities_are_the_formula_in_any_chunks_and_the_same_bits_everywhere(void) {
    everywhere(logp_layers);
}

static void test_chunks_change_no_bit_of_a_log_probability_or_gradient(void) {
    enum { T = 9, C = 20, V = 33 };
    static float work[T*(V + 2*C)], logp[2][T], dh[2][T*C], dw[2][V*C];
    int row[T], target[T];
    arena_used = double_used = 0, arrays = 0;
    float *h = numbers(T*C, 1), *w = numbers(V*C, 1), *d = numbers(T, 1);
    for (int t = 0; t < T; t++) row[t] = t, target[t] = 3*t;
    for (int chunk = 1; chunk <= T; chunk++) {
        int k = chunk > 1;
        memset(dh[k], 0, sizeof dh[k]);
        memset(dw[k], 0, sizeof dw[k]);
        logp_backward(dh[k], dw[k], logp[k], d, h, w, row, target, T, C, V, work, chunk, NULL);
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
    arena_used = double_used = 0, arrays = 0;
    float *h = numbers(C, 3), *w = numbers(V*C, 1);
    for (int v = 0; v < V; v++) target[v] = v;
    logp_forward(logp, h, w, row, target, V, C, V, work, V);
    for (int v = 0; v < V; v++) sum += exp(logp[v]);
    CHECK_NEAR(sum, 1, 1e-5);
}

// -------------------------------------------------------------------------------------------------- update

static void squares_layers(void) {
    static const size_t size[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 100003, 256*4096 + 5};
    float *x = numbers(size[9], 1);
    for (int k = 0; k < 10; k++) {
        double sum = sum_of_squares(x, size[k]), want = 0;
        float halves[2];
        memcpy(halves, &sum, sizeof halves);
        BITS(halves, 2);
        if (!recording) continue;
        for (size_t i = 0; i < size[k]; i++) want += (double)x[i] * x[i];
        CHECK_NEAR(sum, want, 1e-12 * want);
    }
    x[7] = 3e37f;                                                     // its square is beyond a float
    CHECK_NEAR(sum_of_squares(x, 1000) / (3e37 * 3e37), 1, 1e-7);
}
static void test_the_sum_of_squares_is_exact_to_1e12_and_the_same_bits_everywhere(void) {
    everywhere(squares_layers);
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
    float *w = numbers(N, 1), *m = numbers(N, 0), *v = numbers(N, 0), *g[STEPS];
    const double lr = 0.01, b1 = 0.9, b2 = 0.98, eps = 1e-8, decay = 1 - lr*0.1, scale = 0.5;
    double *W = as_doubles(w, N), *M = doubles(N), *V = doubles(N);
    for (int t = 1; t <= STEPS; t++) {
        double c1 = 1 - pow(b1, t), c2 = 1 - pow(b2, t);
        g[t-1] = numbers(N, t);
        g[t-1][1] = 0;                                                // no gradient: weight decay alone
        adamw_update(w, m, v, g[t-1], N, (float)scale, (float)b1, (float)b2, (float)(lr / c1),
                     (float)(1 / sqrt(c2)), (float)eps, (float)decay);
        BITS(w, N);
        BITS(m, N);
        BITS(v, N);
        for (int i = 0; i < N && recording; i++) {
            double x = scale * g[t-1][i];
            M[i] = b1*M[i] + (1 - b1)*x;
            V[i] = b2*V[i] + (1 - b2)*x*x;
            W[i] = W[i]*decay - lr * (M[i]/c1) / (sqrt(V[i]/c2) + eps);
        }
    }
    if (!recording) return;
    NEAR(w, W, N, 1e-6);
    NEAR(m, M, N, 1e-6);
    NEAR(v, V, N, 1e-5);                                              // 1 - b2 of a rounded b2
    CHECK(m[1] == 0 && v[1] == 0);
    CHECK_NEAR(w[1], W[1], 1e-6 * fabs(W[1]));
}
static void test_adamw_is_the_formula_and_the_same_bits_everywhere(void) { everywhere(adamw_layers); }

static void test_the_first_step_of_adamw_is_the_learning_rate_against_the_sign(void) {
    float w[3] = {1, -2, 3}, m[3] = {0}, v[3] = {0}, g[3] = {1e-3f, -50, 0};
    adamw_update(w, m, v, g, 3, 1, 0.9f, 0.999f, 0.01f / (1 - 0.9f), 1 / sqrtf(1 - 0.999f), 1e-12f,
                 1 - 0.01f * 0.5f);
    CHECK_NEAR(w[0], 1 - 0.005 - 0.01, 1e-6);
    CHECK_NEAR(w[1], -2 + 0.01 + 0.01, 1e-6);
    CHECK_NEAR(w[2], 3 - 0.015, 1e-6);
}

static void test_adamw_reads_tiny_gradients_and_writes_tiny_moments_as_zero(void) {
    for (int k = 0; k < NUM_TILES; k++) {
        if (!isa_supported(tiles[k].isa) || kernels_init(tiles[k].name) < 0) continue;
        // gradients of 2^-56 and 2^-55; moments that fall below 2^-100, and just not; a subnormal moment; NaN
        float g[6] = {0x1p-56f, -0x1p-55f, 0, 0, 0, NAN};
        float m[6] = {0, 0, -0x1.8p-100f, 0x1p-99f, 0x1p-130f, 0};
        float v[6] = {0, 0, 0x1p-100f, 0x1p-99f, 0x1p-140f, 0};
        float w[6] = {0};
        adamw_update(w, m, v, g, 6, 1, 0.5f, 0.5f, 0, 1, 1, 1);
        CHECK(m[0] == 0 && v[0] == 0 && m[1] == -0x1p-56f && v[1] == 0);       // 2^-111 is below 2^-100
        CHECK(m[2] == 0 && v[2] == 0 && m[3] == 0x1p-100f && v[3] == 0x1p-100f);
        CHECK(m[4] == 0 && v[4] == 0 && isnan(m[5]) && isnan(v[5]) && isnan(w[5]));
    }
}

// ------------------------------------------------------------------------------------------------- start

static void test_tensors_are_zeroed_copied_and_refused_when_too_large(void) {
    float host[5] = {1, 2, 3, 4, 5}, back[5] = {0};
    float *x = kernels_alloc(600001), sum = 0;                        // huge pages
    CHECK(x != NULL);
    for (int i = 0; i < 600001; i++) sum += fabsf(x[i]);
    CHECK(sum == 0);
    kernels_write(x + 7, host, 5);
    kernels_read(back, x + 7, 5);
    CHECK(!memcmp(host, back, sizeof host) && x[6] == 0 && x[12] == 0);
    kernels_zero(x + 8, 3);
    CHECK(x[7] == 1 && x[8] == 0 && x[10] == 0 && x[11] == 5);
    kernels_write(NULL, NULL, 0), kernels_read(NULL, NULL, 0), kernels_zero(NULL, 0), kernels_free(NULL);
    kernels_free(x);
    for (int k = 0; k < 2; k++) {                                     // the second from used memory
        x = kernels_alloc(1000), sum = 0;
        for (int i = 0; i < 1000; i++) sum += fabsf(x[i]), x[i] = 7;
        CHECK(sum == 0);
        kernels_free(x);
    }
    error_code = 0;
    CHECK(kernels_alloc(SIZE_MAX / sizeof(real)) == NULL && error_code == EX_OSERR
          && strstr(error_text, "out of memory"));
}

static void test_kernels_init_names_what_it_chose_or_refuses(void) {
    CHECK(kernels_init("scalar") == 0 && !strcmp(kernels_name(), "scalar"));
    CHECK(kernels_init("cray") == -1 && error_code == EX_USAGE && strstr(error_text, "MORE_ISA=cray"));
    CHECK(kernels_init(NULL) == 0 && isa_supported(isa));
}

int main(int argc, char **argv) {
    // more threads than free cores: they must sleep while they wait, and OpenMP reads this before main
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv(argv[0], argv);
    test_choose(argc, argv);
    set_threads(1);
    if (kernels_init(NULL) < 0 || attention_reserve(256) < 0) return fprintf(stderr, "%s\n", error_text), 1;
    RUN(test_the_scratch_of_attention_only_grows_with_texts_and_threads);
    RUN(test_linear_layers_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_sums_of_tensors_are_rounded_one_after_the_other);
    RUN(test_embeddings_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_layer_and_rms_norms_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_the_norm_of_a_constant_row_is_its_bias_and_of_any_row_has_mean_0_and_variance_1);
    RUN(test_query_and_key_norms_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_rotary_turns_by_the_positions_angle_and_back_and_touches_nothing_else);
    RUN(test_attention_is_the_naive_sum_over_parents_and_the_same_bits_everywhere);
    RUN(test_attention_of_a_row_alone_is_its_value_and_of_equal_keys_the_mean);
    RUN(test_attention_scores_of_a_thousand_do_not_overflow);
    RUN(test_activations_and_gates_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_pooling_and_head_are_the_formula_and_the_same_bits_everywhere);
    RUN(test_log_probabilities_are_the_formula_in_any_chunks_and_the_same_bits_everywhere);
    RUN(test_chunks_change_no_bit_of_a_log_probability_or_gradient);
    RUN(test_probabilities_of_all_tokens_sum_to_1);
    RUN(test_the_sum_of_squares_is_exact_to_1e12_and_the_same_bits_everywhere);
    RUN(test_nan_and_infinity_show_in_the_sum_of_squares_wherever_they_stand);
    RUN(test_adamw_is_the_formula_and_the_same_bits_everywhere);
    RUN(test_the_first_step_of_adamw_is_the_learning_rate_against_the_sign);
    RUN(test_adamw_reads_tiny_gradients_and_writes_tiny_moments_as_zero);
    RUN(test_tensors_are_zeroed_copied_and_refused_when_too_large);
    RUN(test_kernels_init_names_what_it_chose_or_refuses);
    buffer_free(&recorded);
    kernels_free(attention_work_memory), kernels_free(matmul_work_memory);
    return test_summary();
}

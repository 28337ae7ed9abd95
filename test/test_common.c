/* test_common.c - the floating-point contract against libm in double, random numbers, memory and
 * files. */
#include "test.h"
#include <unistd.h>

static uint64_t random_bits(uint64_t i) { return random_u64(1, STREAM_TEST, 0, i); }
static double uniform(uint64_t i) { return (double)(random_bits(i) >> 11) * 0x1p-53; }

// any value, and 0 and 1 ulp around it, of either sign
static float around(float x, uint64_t random) {
    return float_of((bits_of(x) + (uint32_t)(random % 3) - 1) ^ (uint32_t)(random >> 32 << 31));
}
static int same(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

// |got - want| in units of the last place of a float at want; rounding at best is 0.5
static double ulps(float got, double want) {
    int e;
    if (isinf(got)) return fabs(want) >= 0x1.ffffffp127 && (got > 0) == (want > 0) ? 0 : HUGE_VAL;
    if (want == 0) return got == 0 ? 0 : HUGE_VAL;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1, e - 24 > -149 ? e - 24 : -149);
}
static double relative(double got, double want) {
    return got == want ? 0 : fabs(got - want) / fabs(want);
}

// ------------------------------------------------------------------------------ fused multiply-add

static void test_fma_rounds_once(void) {
    CHECK(exact_fmaf(1 + 0x1p-23f, 1 + 0x1p-23f, -(1 + 0x1p-22f)) == 0x1p-46f);
    // 2^-150 is half of the last place: ties go to even
    CHECK(exact_fmaf(0x1p-75f, 0x1p-75f, 0) == 0);
    CHECK(exact_fmaf(0x1p-75f, 0x1p-75f, 0x1p-149f) == 0x2p-149f);
    CHECK(exact_fmaf(0x1p-75f, 0x1p-75f, 0x2p-149f) == 0x2p-149f);
    CHECK(exact_fmaf(0x1p-75f, 0x1.000002p-75f, 0) == 0x1p-149f);
    // a tie that a bit far below decides: rounded to double first, it would be lost
    CHECK(24929.0f * 673 == 0x1p24f);           // 2^24 + 1 lies between two floats
    CHECK(exact_fmaf(24929, 673, 0x1p-60f) == 0x1.000002p24f);
    CHECK(exact_fmaf(24929, 673, -0x1p-60f) == 0x1p24f);
    CHECK(exact_fmaf(-24929, 673, -0x1p-60f) == -0x1.000002p24f);
    CHECK(exact_fmaf(-24929, 673, 0x1p-60f) == -0x1p24f);
    CHECK(exact_fmaf(5592407, 3, -FLT_MIN) == 0x1.000004p24f);
    CHECK(exact_fmaf(5592407, 3, FLT_MIN) == 0x1.000006p24f);
    // 1549 * 10831 = 2^24 + 3; the last bit of the double next to a tie is odd already, and stays
    CHECK(exact_fmaf(1549, 10831, -0x1.ffffep-29f) == 0x1.000002p24f);
    CHECK(exact_fmaf(24929, 673, 0x1.ffffep-29f) == 0x1.000002p24f);
    // the product is 2^-24 - 2^-70
    CHECK(exact_fmaf(1 + 0x1p-23f, 0x1p-24f - 0x1p-47f, 1 + 0x1p-23f) == 1 + 0x1p-23f);
    CHECK(exact_fmaf(1 + 0x1p-23f, 0x1p-47f - 0x1p-24f, 1 + 0x3p-23f) == 1 + 0x3p-23f);
    // signs of zero, overflow, infinity
    CHECK(bits_of(exact_fmaf(-0.0f, 1, -0.0f)) == 0x80000000);
    CHECK(bits_of(exact_fmaf(-0.0f, 1, 0)) == 0);
    CHECK(exact_fmaf(FLT_MAX, 2, -FLT_MAX) == FLT_MAX);
    CHECK(exact_fmaf(FLT_MAX, FLT_MAX, -FLT_MAX) == HUGE_VALF);
    CHECK(isnan(exact_fmaf(HUGE_VALF, 0, 1)) && isnan(exact_fmaf(HUGE_VALF, 1, -HUGE_VALF)));
    CHECK(exact_fmaf(3, -HUGE_VALF, 1) == -HUGE_VALF && exact_fmaf(2, 3, HUGE_VALF) == HUGE_VALF);
}

static void test_fma_is_libms_on_random_and_adversarial_numbers(void) {
    static const float special[] = {
        0, 1, 2, 3, 0.5f, 1 + 0x1p-23f, 1 - 0x1p-24f, 0x1.fffffep0f, 0x1p-149f, 0x3p-149f,
        0x1p-126f,
        0x1.fffffcp-127f, 0x1p-75f, 0x1.8p-75f, 0x1p-63f, 0x1p-24f, 0x1p-25f, 0x1p24f, 0x1p63f,
        0x1.000002p64f, 0x1p127f, FLT_MAX, HUGE_VALF, NAN, 0x1.555556p-2f, 1e10f, 3e-20f,
        0x1.234568p-70f};
    enum { N = sizeof special / sizeof *special };
    int bad = 0;
    for (int i = 0; i < N*N*N*8; i++) {
        const float a = (i & 1 ? -1.0f : 1) * special[i/8 % N];
        const float b = (i & 2 ? -1.0f : 1) * special[i/8/N % N];
        const float c = (i & 4 ? -1.0f : 1) * special[i/8/N/N];
        bad += !same(exact_fmaf(a, b, c), fmaf(a, b, c));
        bad += !same(more_fmaf(a, b, c), fmaf(a, b, c));
    }
    CHECK(bad == 0);
    for (uint64_t i = 0; i < 1000000; i++) {
        const uint64_t r = random_bits(3*i), s = random_bits(3*i + 1), t = random_bits(3*i + 2);
        // any bits
        float a = float_of((uint32_t)r), b = float_of((uint32_t)(r >> 32));
        float c = float_of((uint32_t)s);
        bad += !same(exact_fmaf(a, b, c), fmaf(a, b, c));
        // all but the last bits cancel
        a = float_of(0x3f000000 + (uint32_t)(r & 0x1ffffff));
        b = float_of(0x3f000000 + (uint32_t)(r >> 32 & 0x1ffffff));
        c = around(-a * b, t);
        bad += !same(exact_fmaf(a, b, c), fmaf(a, b, c));
        // the product is around half of c's last place
        c = around(a * b * float_of(0x4b000000 + (uint32_t)(s >> 39)), t);
        bad += !same(exact_fmaf(a, b, c), fmaf(a, b, c));
        // the product is odd, a tie between two floats, and c a little more or less
        float u = (float)(r & 0xffe) + 4097, v = (float)(r >> 32 & 0xffe) + 4097;
        c = float_of((uint32_t)s & 0xbfffffff) * 0x1p-30f;
        bad += !same(exact_fmaf(u, v, c), fmaf(u, v, c));
        // subnormal results
        a *= 0x1p-70f;
        b *= 0x1p-77f;
        c = float_of((uint32_t)s & 0x80ffffff);
        bad += !same(exact_fmaf(a, b, c), fmaf(a, b, c));
    }
    CHECK(bad == 0);
}

// ---------------------------------------------------------------------------- float exp, erf, tanh

// the largest errors, whether the two variants differed anywhere, and a digest of all results but
// NaN
static double exp_ulps, erf_ulps, tanh_ulps, sigmoid_ulps;
static int variants_differ;
static uint64_t measured = 0xcbf29ce484222325u;

// FNV-1a over the bytes, the lowest first
static void digest(uint64_t *hash, uint64_t x) {
    for (int i = 0; i < 64; i += 8) *hash = (*hash ^ (x >> i & 255)) * 0x100000001b3u;
}
static void digest_double(uint64_t *hash, double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    digest(hash, u);
}

static void measure(float x) {
    float e = expf_hw(0, x), f = erff_hw(0, x), t = tanhf_hw(0, x), s = sigmoidf_hw(0, x);
    variants_differ += !same(e, expf_hw(1, x)) + !same(f, erff_hw(1, x));
    variants_differ += !same(t, tanhf_hw(1, x)) + !same(s, sigmoidf_hw(1, x));
    variants_differ += !same(e, more_expf(x)) + !same(f, more_erff(x)) + !same(t, more_tanhf(x));
    if (x != x) {
        variants_differ += e == e || f == f || t == t || s == s;
        return;
    }
    digest(&measured, (uint64_t)bits_of(e) << 32 | bits_of(f));
    digest(&measured, (uint64_t)bits_of(t) << 32 | bits_of(s));
    double d[4] = {ulps(e, exp(x)), ulps(f, erf(x)), ulps(t, tanh(x)), 0};
    if (x > -87) d[3] = ulps(s, 1 / (1 + exp(-(double)x)));
    if (!(d[0] <= exp_ulps)) exp_ulps = d[0];
    if (!(d[1] <= erf_ulps)) erf_ulps = d[1];
    if (!(d[2] <= tanh_ulps)) tanh_ulps = d[2];
    if (!(d[3] <= sigmoid_ulps)) sigmoid_ulps = d[3];
}

static void test_exp_erf_tanh_and_sigma_are_close_and_the_same_with_and_without_fma_hardware(void) {
    static const float edge[] = {0, 0.5f, 0.625f, 1, 3.9f, 4, 9, 10, 0x1.62e43p-2f, 0x1.62e43p-1f,
                                 87.34f,
                                 88.7228f, 89, 104};
    // all magnitudes, NaN, infinity
    for (uint64_t u = 0; u < 1ull << 32; u += 7919) measure(float_of((uint32_t)u));
    // where the functions bend
    for (int i = -110 * 2048; i < 110 * 2048; i++) measure((float)i * 0x1.004p-11f);
    // where their formulas meet
    for (size_t k = 0; k < sizeof edge / sizeof *edge; k++) {
        const uint32_t first = edge[k] ? bits_of(edge[k]) - 500 : 0;
        for (uint32_t i = 0; i < 1000; i++) {
            const float x = float_of(first + i);
            measure(x);
            measure(-x);
        }
    }
    CHECK(!variants_differ);
    // over all 2^32 inputs the largest errors are 0.9091, 1.0544, 1.3622 and 2.4019
    CHECK(exp_ulps > 0.8 && exp_ulps < 0.91);
    CHECK(erf_ulps > 0.9 && erf_ulps < 1.06);
    CHECK(tanh_ulps > 1.2 && tanh_ulps < 1.37);
    CHECK(sigmoid_ulps > 2 && sigmoid_ulps < 2.41);
}

static void test_float_functions_at_their_ends(void) {
    CHECK(more_expf(0) == 1 && more_expf(-0.0f) == 1 && more_expf(1) == 0x1.5bf0a8p+1f);
    CHECK(more_expf(-HUGE_VALF) == 0 && more_expf(-1e30f) == 0 && more_expf(-103.98f) == 0);
    CHECK(more_expf(-103.9f) == 0x1p-149f);
    CHECK(more_expf(88.72284f) == HUGE_VALF && more_expf(88.7228f) < HUGE_VALF);
    CHECK(more_expf(HUGE_VALF) == HUGE_VALF && more_expf(1e30f) == HUGE_VALF);
    CHECK(isnan(more_expf(NAN)) && isnan(more_erff(NAN)) && isnan(more_tanhf(NAN)));
    CHECK(more_erff(HUGE_VALF) == 1 && more_erff(-HUGE_VALF) == -1 && more_erff(5) == 1);
    CHECK(more_tanhf(HUGE_VALF) == 1 && more_tanhf(-HUGE_VALF) == -1 && more_tanhf(20) == 1);
    CHECK(more_erff(0) == 0 && more_erff(-0.0f) == 0);
    CHECK(more_tanhf(0) == 0 && more_tanhf(-0.0f) == 0);
    CHECK(sigmoidf_hw(HW, 0) == 0.5f);
    CHECK(sigmoidf_hw(HW, HUGE_VALF) == 1 && sigmoidf_hw(HW, -HUGE_VALF) == 0);
    CHECK(sigmoidf_hw(HW, -1e30f) == 0 && sigmoidf_hw(HW, 1e30f) == 1);
    CHECK(isnan(sigmoidf_hw(HW, NAN)));
    for (float x = 0.001f; x < 20; x *= 1.01f) {
        CHECK(more_erff(-x) == -more_erff(x) && more_erff(x) <= 1);
        CHECK(more_tanhf(-x) == -more_tanhf(x) && more_tanhf(x) <= 1);
    }
}

// --------------------------------------------------------------------------------------- in double

static void test_double_functions_are_libms_to_a_relative_1e15th(void) {
    double worst[7] = {0};
    for (uint64_t i = 0; i < 200000; i++) {
        double any, s, c, e[7];
        const uint64_t u = random_bits(5*i) >> 1;
        memcpy(&any, &u, 8);                    // of all magnitudes, subnormal ones too
        if (!(any <= DBL_MAX)) any = 2;
        const double wide = -708 + 1417.7 * uniform(5*i);
        const double about_1 = 0.5 + 2 * uniform(5*i + 1);
        const double small = (i & 1 ? 1e3 : -0.999) * pow(10, -20 * uniform(5*i + 2));
        const double power = 4 * uniform(5*i + 3) - 2;
        const double angle = (i & 1 ? 2e6 : 20) * (uniform(5*i + 4) - 0.5);
        const double exponent = (i & 2 ? wide : small) / 2;
        more_sincos(angle, &s, &c);
        e[0] = relative(more_exp(wide), exp(wide));
        e[1] = relative(more_log(any), log(any));
        e[2] = relative(more_log(about_1), log(about_1));
        e[3] = relative(more_log1p(small), log1p(small));
        e[4] = fmax(relative(s, sin(angle)), relative(c, cos(angle)));
        e[5] = relative(more_pow(about_1, power), pow(about_1, power));
        e[5] /= 1 + fabs(power * log(about_1)); // its exponent is rounded
        e[6] = relative(more_expm1(exponent), expm1(exponent));
        for (int k = 0; k < 7; k++) {
            if (!(e[k] <= worst[k])) worst[k] = e[k];
        }
    }
    for (int k = 0; k < 7; k++) CHECK_NEAR(worst[k], 0, 1e-15);
}

static void test_double_functions_at_their_ends(void) {
    double s, c;
    CHECK(more_exp(0) == 1 && more_exp(-HUGE_VAL) == 0 && more_exp(HUGE_VAL) == HUGE_VAL
          && isnan(more_exp(NAN)));
    CHECK(more_exp(709.79) == HUGE_VAL && more_exp(709.78) < HUGE_VAL && more_exp(-745.2) == 0
          && more_exp(-745.1) == 0x1p-1074);
    for (double x = -746; x < -708; x += 0.01) CHECK_NEAR(more_exp(x), exp(x), 0x1p-1073);
    CHECK(more_log(1) == 0 && more_log(0) == -HUGE_VAL && more_log(-0.0) == -HUGE_VAL
          && more_log(HUGE_VAL) == HUGE_VAL);
    CHECK(isnan(more_log(-1)) && isnan(more_log(-HUGE_VAL)) && isnan(more_log(NAN)));
    CHECK_NEAR(more_log(0x1p-1074), -744.4400719213812, 1e-12);
    CHECK(more_log1p(0) == 0 && more_log1p(1e-300) == 1e-300 && more_log1p(-1) == -HUGE_VAL
          && more_log1p(HUGE_VAL) == HUGE_VAL);
    CHECK(isnan(more_log1p(-2)) && isnan(more_log1p(NAN)));
    CHECK(more_expm1(0) == 0 && more_expm1(-1e-300) == -1e-300 && more_expm1(-HUGE_VAL) == -1);
    CHECK(more_expm1(HUGE_VAL) == HUGE_VAL && more_expm1(-40) == -1 && isnan(more_expm1(NAN)));
    more_sincos(0, &s, &c);
    CHECK(s == 0 && c == 1);
    more_sincos(-0x1.921fb54442d18p+0, &s, &c);
    CHECK(s == -1 && relative(c, 6.123233995736766e-17) < 1e-15);
    CHECK(more_pow(10000, 0) == 1 && more_pow(1, 17) == 1);
    CHECK(double_scale(3, 1030) == HUGE_VAL && double_scale(3, -1070) == 0x3p-1070
          && double_scale(3, -1990) == 0);
}

// A guard against a changed bit, no proof that it is right: whoever changes one on purpose records
// it here.
static void test_functions_give_the_recorded_bits(void) {
    uint64_t hash = 0xcbf29ce484222325u;
    CHECK(measured == 0x282fd99e5e5aea2fu);     // the sweep above
    for (uint64_t i = 0; i < 20000; i++) {
        double s, c, x = uniform(2*i), y = uniform(2*i + 1);
        more_sincos((x - 0.5) * 2e5, &s, &c);
        digest_double(&hash, s);
        digest_double(&hash, c);
        digest_double(&hash, more_exp((x - 0.5) * 1400));
        digest_double(&hash, more_log(x * 10));
        digest_double(&hash, more_log1p(x - 0.5));
        digest_double(&hash, more_pow(1 + 9999*x, y - 0.5));
        digest_double(&hash, random_normal(9, STREAM_TEST, 0, i));
    }
    CHECK(hash == 0x7c55e7e5102486f8u);
    if (test_bad) {
        printf("    0x%016llxu, 0x%016llxu\n", (unsigned long long)measured,
               (unsigned long long)hash);
    }
}

// ---------------------------------------------------------------------------------- random numbers

static void test_random_numbers_are_those_published_for_splitmix64(void) {
    uint64_t state = 1234567;
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u,
                                    4593380528125082431u, 16408922859458223821u};
    CHECK(random_mix(0) == 0xe220a8397b1dcdafu);
    CHECK(random_mix(0x9e3779b97f4a7c15u) == 0x6e789e6aa1b965f4u);
    for (int i = 0; i < 5; i++) {
        CHECK(random_mix(state) == want[i]);
        state += 0x9e3779b97f4a7c15u;
    }
}

static void test_every_coordinate_of_a_random_number_matters(void) {
    uint64_t seen[16];
    for (uint64_t i = 0; i < 16; i++) {
        seen[i] = random_u64(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1);
    }
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < i; j++) CHECK(seen[i] != seen[j]);
    }
    CHECK(random_u64(5, STREAM_ORDER, 3, 9) == random_u64(5, STREAM_ORDER, 3, 9));
}

// chi^2 with 99 degrees of freedom is below 148.2 in 999 of 1000 cases; with 23, below 49.7
static void test_random_below_is_uniform(void) {
    int count[100] = {0};
    double chi2 = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        uint32_t x = random_below(100, 7, STREAM_TEST, 1, i);
        CHECK(x < 100);
        if (x < 100) count[x]++;
    }
    for (int i = 0; i < 100; i++) chi2 += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000;
    CHECK_NEAR(chi2, 99, 49);
    CHECK(random_below(1, 7, STREAM_TEST, 2, 3) == 0
          && random_below(0xffffffffu, 7, STREAM_TEST, 2, 3) < 0xffffffffu);
}

static void test_a_permutation_holds_every_number_once_and_all_orders_are_as_likely(void) {
    static uint32_t p[1000];
    static int seen[1000], order[256];
    double chi2 = 0;
    int fixed = 0;
    random_permutation(p, 1000, 3, STREAM_ORDER, 5);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(p[i] < 1000 && !seen[p[i]]++);
        fixed += p[i] == i;
    }
    CHECK(fixed < 10);
    for (uint64_t step = 0; step < 24000; step++) {
        random_permutation(p, 4, 3, STREAM_TEST, step);
        order[p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6]++;
    }
    for (int i = 0; i < 256; i++) {
        if (order[i]) chi2 += (order[i] - 1000.0) * (order[i] - 1000.0) / 1000;
    }
    CHECK_NEAR(chi2, 23, 26.7);
    random_permutation(p, 0, 3, STREAM_TEST, 0);
    random_permutation(p, 1, 3, STREAM_TEST, 0);
    CHECK(p[0] == 0);
}

static void test_normal_deviates_have_the_moments_and_tails_of_the_normal_distribution(void) {
    enum { N = 100000 };
    double sum[5] = {0};
    int within = 0, beyond = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = random_normal(11, STREAM_TEST, 0, i), power = 1;
        for (int k = 0; k < 5; k++) {
            sum[k] += power / N;
            power *= x;
        }
        within += fabs(x) < 1;
        beyond += fabs(x) > 3;
    }
    // four standard errors each
    CHECK_NEAR(sum[1], 0, 4 / sqrt(N));
    CHECK_NEAR(sum[2], 1, 4 * sqrt(2.0 / N));
    CHECK_NEAR(sum[3], 0, 4 * sqrt(15.0 / N));
    CHECK_NEAR(sum[4], 3, 4 * sqrt(96.0 / N));
    CHECK_NEAR(within / (double)N, 0.682689, 0.006);
    CHECK_NEAR(beyond / (double)N, 0.002700, 0.0007);
}

// --------------------------------------------------------------------------- memory, files, errors

static void test_memory_is_zeroed_grows_and_says_when_there_is_none(void) {
    unsigned char *p = allocate(1000, 3), *none = allocate(0, 0);
    int sum = 0, *list = NULL;
    size_t capacity = 0;
    for (int i = 0; p && i < 3000; i++) sum |= p[i];
    CHECK(p && none && sum == 0);
    error_code = 0;
    CHECK(allocate(SIZE_MAX, 2) == NULL && error_code == EX_OSERR && strstr(error_text,
                                                                            "out of memory"));
    for (int i = 0; i < 1000; i++) {
        CHECK(reserve(&list, &capacity, (size_t)i + 1, sizeof *list) == 0 && capacity > (size_t)i);
        list[i] = i;
    }
    for (int i = 0; i < 1000; i++) CHECK(list[i] == i);
    error_code = 0;
    CHECK(reserve(&list, &capacity, SIZE_MAX, sizeof *list) == -1 && error_code == EX_OSERR
          && list[999] == 999);
    free(p);
    free(none);
    free(list);
}

static void test_a_buffer_holds_what_was_appended_and_ends_with_zero(void) {
    Buffer b = {0};
    char digits[4] = {'4', '5', 0, '6'};
    CHECK(buffer_append(&b, "", 0) == 0 && b.data && b.len == 0 && b.data[0] == 0);
    for (int i = 0; i < 100; i++) CHECK(buffer_printf(&b, "%d,", i % 10) == 0);
    CHECK(buffer_append(&b, digits, 4) == 0);
    CHECK(b.len == 204 && !memcmp(b.data, "0,1,2,", 6) && !memcmp(b.data + 198, "9,45\0006", 7));
    error_code = 0;
    CHECK(buffer_append(&b, digits, SIZE_MAX) == -1 && error_code == EX_OSERR && b.len == 204);
    buffer_free(&b);
    CHECK(!b.data && !b.len && !b.capacity);
}

static void test_a_file_is_read_whole_or_an_error_names_it(void) {
    char path[] = "/tmp/test_common_XXXXXX";
    Buffer b = {0};
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "ab\0c", 4) == 4 && close(fd) == 0);
    CHECK(buffer_append(&b, "x", 1) == 0 && file_read(&b, path) == 0 && b.len == 5
          && !memcmp(b.data, "xab\0c", 6));
    // a pipe that nobody writes: it must not wait
    CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    CHECK(file_read(&b, path) == -1 && error_code == EX_NOINPUT
          && strstr(error_text, ": not a regular file"));
    CHECK(unlink(path) == 0);
    CHECK(file_read(&b, path) == -1 && error_code == EX_NOINPUT && strstr(error_text, path)
          && strstr(error_text, "No such"));
    CHECK(file_read(&b, "/tmp") == -1 && error_code == EX_NOINPUT
          && !strcmp(error_text, "/tmp: not a regular file"));
    CHECK(b.len == 5);
    buffer_free(&b);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_fma_rounds_once);
    RUN(test_fma_is_libms_on_random_and_adversarial_numbers);
    RUN(test_exp_erf_tanh_and_sigma_are_close_and_the_same_with_and_without_fma_hardware);
    RUN(test_float_functions_at_their_ends);
    RUN(test_double_functions_are_libms_to_a_relative_1e15th);
    RUN(test_double_functions_at_their_ends);
    RUN(test_functions_give_the_recorded_bits);
    RUN(test_random_numbers_are_those_published_for_splitmix64);
    RUN(test_every_coordinate_of_a_random_number_matters);
    RUN(test_random_below_is_uniform);
    RUN(test_a_permutation_holds_every_number_once_and_all_orders_are_as_likely);
    RUN(test_normal_deviates_have_the_moments_and_tails_of_the_normal_distribution);
    RUN(test_memory_is_zeroed_grows_and_says_when_there_is_none);
    RUN(test_a_buffer_holds_what_was_appended_and_ends_with_zero);
    RUN(test_a_file_is_read_whole_or_an_error_names_it);
    return test_summary();
}

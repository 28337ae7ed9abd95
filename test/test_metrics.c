// Accuracy, calibration, intervals, ratios, areas under the ROC curve.  Numbers come from closed
// forms, from scripts/golden_loss.py, of tau from scripts/golden_tau.py.
#include "test.h"
#include "../metrics.c"

static double normal(int test, int i) {
    return random_normal(1, STREAM_TEST, (uint64_t)test, (uint64_t)i);
}

// Is x the interval mean +- 1.96 standard errors, give or take a share of its half?
static void check_interval(Interval x, double mean, double error, double share) {
    double half = 1.96 * error;
    CHECK_NEAR(x.low, mean - half, share * half);
    CHECK_NEAR(x.high, mean + half, share * half);
}

// ------------------------------------------------------------------------ accuracy and calibration

static void test_the_metrics_of_the_specifications_six_pairs(void) {
    const double delta[6] = {2, -1, .5, -.2, .1, 1.2};
    Metrics m;
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 6, 1) == 0);
    CHECK_NEAR(m.accuracy, .666667, 1e-6);
    CHECK_NEAR(m.nll, .603347, 1e-6);
    CHECK_NEAR(m.symmetric[0].ece, .040208, 1e-6);
    CHECK_NEAR(m.symmetric[1].ece, .178523, 1e-6);
    CHECK_NEAR(m.symmetric[1].ace, .195985, 1e-6);
    CHECK_NEAR(m.symmetric[1].mce, .377541, 1e-6);
    CHECK_NEAR(m.symmetric[2].ece, .255682, 1e-6);
    CHECK_NEAR(m.confidence_ece[0], .052676, 1e-6);
    CHECK_NEAR(m.confidence_ece[1], m.symmetric[1].ece, 1e-15);
    CHECK_NEAR(m.confidence_ece[2], m.symmetric[2].ece, 1e-15);
    CHECK(m.longer_wins == -1 && m.longer_preferred == -1 && m.clusters == 6);
}

static void test_a_value_on_an_inner_edge_goes_to_the_lower_bin(void) {
    for (int M = 5; M <= 20; M *= 2) {
        for (int m = 1; m < M; m++) {
            CHECK(bin_of((double)m / M, M) == m - 1);
            CHECK(bin_of(nextafter((double)m / M, 1), M) == m);
        }
        CHECK(bin_of(0, M) == 0 && bin_of(1, M) == M - 1);
    }
    CHECK(bin_of(.5, 10) == 4);
}

static void test_equal_rewards_have_half_accuracy_and_no_calibration_error(void) {
    const double delta[4] = {0, -0.0, 0, 0};
    Metrics m;
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 4, 1) == 0);
    CHECK(m.accuracy == .5 && m.accuracy_strict == 0 && m.tie_rate == 1 && m.ece_equalmass == 0);
    for (int k = 0; k < NUM_ECE; k++) {
        CHECK(m.symmetric[k].ece == 0 && m.confidence_ece[k] == 0);
    }
    CHECK(m.correct.n == 0 && m.wrong.n == 0 && m.histogram[10] == 4 && m.accuracy_95.low == .5);
    CHECK_NEAR(m.nll, log(2), 1e-15);
    CHECK_NEAR(m.brier, .25, 1e-15);
}

// k of n pairs right by d, the others wrong by d: sigma(d / T) = k/n
static void test_the_temperature_of_equal_margins_is_that_of_the_accuracy(void) {
    for (int k = 51; k < 100; k += 6) {
        double delta[100];
        const double d = 0.01 * k * k;
        for (int j = 0; j < 100; j++) delta[j] = j < k ? d : -d;
        const double T = d / log(k / (100.0 - k));
        CHECK_NEAR(temperature_fit(delta, NULL, 100), T, 1e-12 * T);
    }
}

// where log sigma(s delta) has no minimum in s, and where there is nothing to fit
static void test_a_temperature_without_a_minimum_is_at_its_end(void) {
    const double right[3] = {1, .5, 0}, wrong[3] = {-1, .5, 0}, nothing[3] = {0, -0.0, 0};
    const double first[3] = {1, 0, 0};
    CHECK(temperature_fit(right, NULL, 3) == 1 / TEMPERATURE_MAX);
    CHECK(temperature_fit(wrong, NULL, 3) == TEMPERATURE_MAX);
    CHECK(temperature_fit(wrong, first, 3) == TEMPERATURE_MAX);
    CHECK(temperature_fit(right, first, 3) == 1 / TEMPERATURE_MAX);
    CHECK(temperature_fit(nothing, NULL, 3) == 1 && temperature_fit(NULL, NULL, 0) == 1);
}

// pairs of any margins: f' = 0 there, twice as large rewards have twice the temperature, a weight
// of 2 is a pair that stands twice
static void test_the_temperature_is_where_the_loss_is_least(void) {
    double delta[200], twice[200], weight[200];
    for (int j = 0; j < 200; j++) {
        delta[j] = 0.4 + 2 * normal(9, j);
        twice[j] = 2 * delta[j];
        weight[j] = j < 100 ? 2 : 0;
    }
    const double T = temperature_fit(delta, NULL, 200);
    double slope = 0;
    for (int j = 0; j < 200; j++) slope -= delta[j] * sigmoid(-delta[j] / T);
    CHECK_NEAR(slope, 0, 1e-10);
    CHECK_NEAR(temperature_fit(twice, NULL, 200), 2 * T, 1e-12 * T);
    const double half = temperature_fit(delta, NULL, 100);
    CHECK_NEAR(temperature_fit(delta, weight, 200), half, 1e-12 * half);
}

// Every fold of prompts has 9 pairs right and 3 wrong, all by the same margin: each gets the
// temperature at which that is no surprise.
static void test_what_is_calibrated_by_the_other_folds_has_no_error_left(void) {
    enum { N = 12 * CALIBRATION_FOLDS };
    double delta[N];
    uint64_t id[N], next = 0;
    int of[CALIBRATION_FOLDS] = {0};
    for (int j = 0; j < N; next++) {
        double others = 1;
        int fold = -1;
        while (others) calibration_others(&others, &next, 1, ++fold);
        if (of[fold] == 12) continue;
        delta[j] = of[fold] < 9 ? 4 : -4;
        id[j++] = next;
        of[fold]++;
    }
    Metrics m;
    CHECK(metrics_compute(&m, delta, NULL, NULL, id, N, 1) == 0);
    CHECK_NEAR(m.symmetric[1].ece, sigmoid(4) - .75, 1e-14);
    CHECK_NEAR(m.temperature, 4 / log(3), 1e-12);
    CHECK_NEAR(m.after_ece, 0, 1e-12);
    CHECK_NEAR(m.after_brier, .75 * .25, 1e-12);
    CHECK_NEAR(m.after_nll, -.75 * log(.75) - .25 * log(.25), 1e-12);
}

// n independent pairs, 3 of 4 right by 1: the standard error of T = 1/logit(p) is
// sqrt(p (1-p) / n) T^2 / (p (1-p))
static void test_the_interval_of_the_temperature_is_the_delta_methods(void) {
    enum { N = 2000 };
    double delta[N];
    Interval interval;
    for (int j = 0; j < N; j++) delta[j] = j % 4 ? 1 : -1;
    const double T = 1 / log(3), error = T * T / sqrt(.75 * .25 * N);
    CHECK(temperature_interval(&interval, delta, NULL, N, 1) == 0);
    check_interval(interval, T, error, .1);
}

// n texts, half of them better by 1, half worse by 2: (sigma(1/T) + sigma(-2/T)) / 2.  With the
// same T in all replicates the interval is that of a mean; with two T it spans what they make.
static void test_what_people_prefer_carries_the_temperatures_uncertainty(void) {
    enum { N = 400 };
    double difference[N], T[REPLICATES];
    Estimate e;
    for (int j = 0; j < N; j++) difference[j] = j % 2 ? 1 : -2;
    for (int r = 0; r < REPLICATES; r++) T[r] = 2;
    CHECK(estimate_preference(&e, difference, NULL, N, 2, T, 1) == 0);
    const double up = sigmoid(.5), down = sigmoid(-1), error = (up - down) / 2 / sqrt(N);
    CHECK_NEAR(e.value, (up + down) / 2, 1e-14);
    CHECK_NEAR(e.error, error, .1 * error);
    check_interval(e.interval, (up + down) / 2, error, .1);

    for (int r = 0; r < REPLICATES; r += 2) T[r] = 1000;
    CHECK(estimate_preference(&e, difference, NULL, N, 2, T, 1) == 0);
    CHECK(e.interval.high > .499 && e.interval.low < (up + down) / 2);
}

static void test_scaling_rewards_leaves_accuracy_and_changes_ece(void) {
    enum { n = 50 };
    double delta[n], scaled[n];
    Metrics a, b;
    for (int j = 0; j < n; j++) {
        delta[j] = normal(9000, j) + .5;
        scaled[j] = 5 * delta[j];
    }
    CHECK(metrics_compute(&a, delta, NULL, NULL, NULL, n, 1) == 0);
    CHECK(metrics_compute(&b, scaled, NULL, NULL, NULL, n, 1) == 0);
    CHECK(a.accuracy == b.accuracy && fabs(a.symmetric[1].ece - b.symmetric[1].ece) > .05);
}

static void check_box(const Box *b, int n, const double *want) {
    CHECK(b->n == n && b->outliers == 1);
    CHECK_NEAR(b->mean, want[0], 1e-14);
    CHECK_NEAR(b->q1, want[1], 1e-14);
    CHECK_NEAR(b->median, want[2], 1e-14);
    CHECK_NEAR(b->q3, want[3], 1e-14);
    CHECK_NEAR(b->outlier_mean, want[4], 1e-14);
}

static void test_all_metrics_agree_with_an_independent_program(void) {
    enum { n = 61 };
    static const double calibration[NUM_ECE][4] = {        // ece, ace, mce; by confidence
        {0.01805952636754997, 0.18882664841847072, 0.46729395843017096, 0.04364555851746013},
        {0.1293197875523835, 0.2237430115901059, 0.46729395843017096, 0.12931978755238352},
        {0.1293197875523835, 0.19047205821682658, 0.46729395843017096, 0.12931978755238346},
    };
    static const double quantiles[NUM_QUANTILES] = {
        -3, -0.7291666666666666, -0.2916666666666667, 0.1875, 0.75, 1.1875, 4};
    static const int histogram[HISTOGRAM_BINS] = {
        0, 0, 1, 0, 0, 0, 0, 1, 10, 11, 13, 11, 11, 2, 0, 0, 0, 0, 0, 1};
    static const double correct[5] = {0.7494047619047618, 0.3645833333333333, 0.6875, 1, 4};
    static const double wrong[5] = {
        -0.5208333333333333, -0.6145833333333334, -0.4166666666666667, -0.21875, -3};
    double delta[n], unchanged[n];
    int chosen[n], rejected[n];
    Metrics m;
    for (int j = 0; j < n; j++) {
        delta[j] = ((37*j) % 101 - 40) / 48.0;
        chosen[j] = j*j % 5 % 3;
        rejected[j] = 1;
    }
    delta[7] = 0;
    delta[11] = 0;
    delta[3] = 4;
    delta[5] = -3;
    memcpy(unchanged, delta, sizeof delta);

    CHECK(metrics_compute(&m, delta, chosen, rejected, NULL, n, 1) == 0);
    CHECK(!memcmp(delta, unchanged, sizeof delta) && m.n == n);
    CHECK_NEAR(m.accuracy, 0.5983606557377049, 1e-14);
    CHECK_NEAR(m.accuracy_strict, 0.5737704918032787, 1e-14);
    CHECK_NEAR(m.tie_rate, 3.0 / 61, 1e-14);
    CHECK_NEAR(m.nll, 0.6596828594079109, 1e-14);
    CHECK_NEAR(m.brier, 0.22859691579130095, 1e-14);
    CHECK_NEAR(m.margin, 0.2336065573770492, 1e-14);
    for (int k = 0; k < NUM_ECE; k++) {
        CHECK_NEAR(m.symmetric[k].ece, calibration[k][0], 1e-13);
        CHECK_NEAR(m.symmetric[k].ace, calibration[k][1], 1e-13);
        CHECK_NEAR(m.symmetric[k].mce, calibration[k][2], 1e-13);
        CHECK_NEAR(m.confidence_ece[k], calibration[k][3], 1e-13);
    }
    CHECK_NEAR(m.ece_equalmass, 0.12041376058625196, 1e-13);
    for (int k = 0; k < NUM_QUANTILES; k++) CHECK_NEAR(m.quantile[k], quantiles[k], 1e-14);
    CHECK(!memcmp(m.histogram, histogram, sizeof histogram) && m.histogram_end == 4);
    check_box(&m.correct, 35, correct);
    check_box(&m.wrong, 23, wrong);
    CHECK_NEAR(m.longer_preferred, 0.46153846153846156, 1e-14);
    CHECK_NEAR(m.longer_wins, 0.39344262295081966, 1e-14);
}

static void test_metrics_do_not_depend_on_the_order_of_the_pairs(void) {
    enum { n = 97 };
    double delta[n], permuted[n];
    uint32_t p[n];
    Metrics a, b;
    random_permutation(p, n, 5, STREAM_TEST, 0);
    for (int j = 0; j < n; j++) delta[j] = floor(4 * normal(9100, j)) / 4;
    for (int j = 0; j < n; j++) permuted[j] = delta[p[j]];
    CHECK(metrics_compute(&a, delta, NULL, NULL, NULL, n, 1) == 0);
    CHECK(metrics_compute(&b, permuted, NULL, NULL, NULL, n, 1) == 0);
    CHECK(a.ece_equalmass == b.ece_equalmass && a.accuracy == b.accuracy);
    CHECK(!memcmp(&a.correct, &b.correct, sizeof a.correct));
    CHECK(!memcmp(a.histogram, b.histogram, sizeof a.histogram));
    for (int k = 0; k < NUM_ECE; k++) CHECK_NEAR(a.symmetric[k].ece, b.symmetric[k].ece, 1e-14);
}

static void test_accuracy_on_pairs_whose_lengths_differ_by_at_most_a_tenth(void) {
    CHECK(lengths_similar(100, 90) && lengths_similar(90, 100) && lengths_similar(7, 7));
    CHECK(!lengths_similar(100, 89) && !lengths_similar(89, 100) && !lengths_similar(9, 8));
    CHECK(lengths_similar(INT_MAX, INT_MAX - 1));
    CHECK(!lengths_similar(0, 0));        // answers without a text

    // five of seven are similar: of these 2 are right, 1 is a tie; the longer one is chosen in 3,
    // and 1 has no longer one
    const int chosen[7]   = {100, 100, 90, 95, 100, 10, 300};
    const int rejected[7] = {90,  99,  99, 95, 92,  99, 100};
    const double delta[7] = {1, -2, 3, 0, -1, -5, -5};
    Metrics m;
    CHECK(metrics_compute(&m, delta, chosen, rejected, NULL, 7, 1) == 0);
    CHECK(m.similar == 5 && m.similar_accuracy == .5 && m.similar_longer_wins == .7);
    CHECK(m.similar_accuracy_95.low < .5 && m.similar_accuracy_95.high > .5);

    // of one prompt there is one replicate; without lengths, or similar ones, no number
    const uint64_t same[7] = {0};
    CHECK(metrics_compute(&m, delta, chosen, rejected, same, 7, 1) == 0);
    CHECK(m.similar_accuracy_95.low == .5 && m.similar_accuracy_95.high == .5);
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 7, 1) == 0);
    CHECK(m.similar == 0 && isnan(m.similar_accuracy) && isnan(m.similar_longer_wins));
    CHECK(metrics_compute(&m, delta + 5, chosen + 5, rejected + 5, NULL, 2, 1) == 0);
    CHECK(m.similar == 0 && isnan(m.similar_accuracy));
}

static void test_no_pairs_and_infinite_rewards_are_errors(void) {
    const double delta[2] = {1, NAN};
    Metrics m;
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 0, 1) == -1 && error_code == EX_DATAERR);
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 2, 1) == -1 && strstr(error_text, "pair 2"));
    CHECK(metrics_compute(&m, delta, NULL, NULL, NULL, 1, 1) == 0 && m.accuracy_95.low == 1);
}

// --------------------------------------------------------------------------------------- intervals

static void test_the_bootstrap_is_a_function_of_its_seed_and_widens_with_clusters(void) {
    enum { n = 2000, FOUR = 3 };
    static double delta[n];
    static uint64_t alone[n], four[n], same[n];
    Interval a[5], e[5];
    double accuracy = 0;
    for (int j = 0; j < n; j++) {                          // four copies of each of 500 pairs
        uint64_t u = random_u64(11, STREAM_TEST, 0, (uint64_t)j / 4);
        delta[j] = ((u >> 32) % 100 < 64 ? 1 : -1) * (1 + (double)(u & 255) / 256);
        alone[j] = (uint64_t)(n - j);
        four[j] = random_mix((uint64_t)j / 4);
        accuracy += (delta[j] > 0) / (double)n;
    }
    double point = ece(delta, n, 10).ece;
    CHECK(accuracy_intervals(&a[0], &e[0], delta, alone, n, 10, 1) == n);
    CHECK(accuracy_intervals(&a[1], &e[1], delta, alone, n, 10, 1) == n);
    CHECK(accuracy_intervals(&a[2], &e[2], delta, alone, n, 10, 2) == n);
    CHECK(accuracy_intervals(&a[FOUR], &e[FOUR], delta, four, n, 10, 1) == n / 4);
    CHECK(accuracy_intervals(&a[4], &e[4], delta, NULL, n, 10, 1) == n);
    CHECK(!memcmp(&a[0], &a[1], sizeof *a) && !memcmp(&e[0], &e[1], sizeof *e));
    CHECK(memcmp(&e[0], &e[2], sizeof *e));
    for (int k = 0; k < 5; k++) {
        int draws = k == FOUR ? n / 4 : n;
        check_interval(a[k], accuracy, sqrt(accuracy * (1 - accuracy) / draws), .15);
        CHECK(e[k].low < point && point < e[k].high);
    }

    CHECK(accuracy_intervals(&a[0], &e[0], delta, same, n, 10, 1) == 1);
    CHECK_NEAR(a[0].low, accuracy, 1e-12);                 // one prompt: nothing varies
    CHECK_NEAR(a[0].high, accuracy, 1e-12);
    CHECK_NEAR(e[0].low, point, 1e-12);
}

static void test_the_paired_standard_error_has_its_closed_forms(void) {
    enum { n = 400 };
    double a[n], b[n];
    double difference = 0;
    double error = 0;
    double ignoring = 0;
    uint64_t prompt[n];
    for (int j = 0; j < n; j++) {
        a[j] = j % 5 ? 1 : -1;
        b[j] = j % 2 ? 1 : -1;
        prompt[j] = (uint64_t)(j / 10);
    }
    CHECK(paired_difference(&difference, &error, a, NULL, NULL, n) == 0);
    CHECK_NEAR(difference, .8 - .5, 1e-14);
    CHECK_NEAR(error, sqrt(.8 * .2 / (n - 1)), 1e-14);
    CHECK(paired_difference(&difference, &error, a, a, NULL, n) == 0);
    CHECK(difference == 0 && error == 0);

    CHECK(paired_difference(&difference, &error, a, b, NULL, n) == 0);
    CHECK_NEAR(difference, .3, 1e-14);                     // e is 1 for 40 %, -1 for 10 %, else 0
    CHECK_NEAR(error, sqrt((.5 - .3*.3) / (n - 1)), 1e-14);
    CHECK(paired_difference(&difference, &error, a, b, prompt, n) == 0);
    CHECK_NEAR(error, 0, 1e-14);                           // every ten pairs sum to the same

    for (int j = 0; j < n; j++) a[j] = prompt[j] % 4 ? 1 : -1;
    CHECK(paired_difference(&difference, &error, a, NULL, prompt, n) == 0);
    CHECK_NEAR(error, sqrt(.75 * .25 / (n/10 - 1)), 1e-14);    // a prompt's pairs agree: 40 draws
    CHECK(paired_difference(&difference, &ignoring, a, NULL, NULL, n) == 0);
    CHECK(ignoring < error / 3);
}

static void test_the_error_of_a_mean_has_its_closed_form_and_copies_say_nothing_new(void) {
    enum { n = 400 };
    double a[2*n], ones[2*n], sum = 0, square = 0;
    uint64_t prompt[2*n];
    Estimate once, twice;
    for (int i = 0; i < n; i++) {                          // text n + i is a copy of text i
        a[i] = a[n + i] = random_normal(5, STREAM_TEST, 0, (uint64_t)i);
        ones[i] = ones[n + i] = 1;
        prompt[i] = prompt[n + i] = (uint64_t)i * 31 % n;
        sum += a[i];
        square += a[i] * a[i];
    }
    const double mean = sum / n, error = sqrt((square / n - mean * mean) / (n - 1));
    CHECK(estimate_ratio(&once, a, NULL, prompt, n, 1) == 0);
    CHECK_NEAR(once.value, mean, 1e-12);
    CHECK_NEAR(once.error, error, 1e-12);
    check_interval(once.interval, mean, error, .5 / 1.96);
    CHECK(estimate_ratio(&twice, a, ones, prompt, 2*n, 1) == 0);
    CHECK_NEAR(twice.error, error, 1e-12);
    CHECK_NEAR(twice.interval.low, once.interval.low, 1e-12);
}

static void test_the_error_of_a_ratio_has_its_closed_form(void) {
    enum { n = 400 };
    double a[n], b[n];
    double top = 0;
    double bottom = 0;
    double square = 0;
    Estimate ratio, scaled, one;
    for (int i = 0; i < n; i++) {
        a[i] = random_normal(5, STREAM_TEST, 0, (uint64_t)i);
        b[i] = 1 + (i % 7);
        top += a[i];
        bottom += b[i];
    }
    for (int i = 0; i < n; i++) {
        double residual = a[i] - top / bottom * b[i];
        square += residual * residual;
    }
    CHECK(estimate_ratio(&ratio, a, b, NULL, n, 1) == 0);
    CHECK_NEAR(ratio.value, top / bottom, 1e-12);
    CHECK_NEAR(ratio.error, sqrt(square * n / (n - 1)) / bottom, 1e-12);
    CHECK_NEAR(ratio.interval.high - ratio.interval.low, 2*1.96*ratio.error, .25 * ratio.error);

    for (int i = 0; i < n; i++) b[i] *= 4;
    CHECK(estimate_ratio(&scaled, a, b, NULL, n, 1) == 0 && scaled.value == ratio.value / 4);
    CHECK(estimate_ratio(&one, b, b, NULL, n, 1) == 0);
    CHECK(one.value == 1 && one.error == 0 && one.interval.low == 1 && one.interval.high == 1);
}

// --------------------------------------------------------------------- Kullback-Leibler divergence

// Over all outcomes, each as often as p has it, the mean is sum p log p/q, and no term is negative.
static void test_the_mean_of_the_terms_over_p_is_the_divergence(void) {
    static const double p[4] = {.5, .25, .125, .125}, q[4] = {.125, .125, .5, .25};
    double mean = 0, plain = 0;
    for (int x = 0; x < 4; x++) {
        const double term = kl_term(log(p[x]), log(q[x]));
        CHECK(term > 0);
        mean += p[x] * term;
        plain += p[x] * (log(p[x]) - log(q[x]));
    }
    CHECK_NEAR(mean, (.5*2 + .25*1 - .125*2 - .125*1) * log(2), 1e-15);
    CHECK_NEAR(mean, plain, 1e-15);
}

static void test_a_term_has_its_closed_forms_near_and_far(void) {
    CHECK(kl_term(-3, -3) == 0 && kl_term(0, 0) == 0);
    CHECK_NEAR(kl_term(log(.5), log(.25)), .5 - 1 + log(2), 1e-15);
    CHECK_NEAR(kl_term(log(.25), log(.5)), 2 - 1 - log(2), 1e-15);
    CHECK_NEAR(kl_term(0, -700), 699, 1e-12);
    for (int i = 0; i < 4000; i++) {                       // d = log r from 1e-18 to 100
        const double d = pow(10, -18 + i / 200.0);
        CHECK(kl_term(0, d) >= 0 && kl_term(0, -d) >= 0);
        if (d > 1e-6 && d < 1e-3) {                        // d^2/2 + d^3/6 + ...
            CHECK_NEAR(kl_term(0, d) / (d*d/2), 1 + d/3 + d*d/12, 1e-9);
            CHECK_NEAR(kl_term(0, -d) / (d*d/2), 1 - d/3 + d*d/12, 1e-9);
        }
    }
}

// -------------------------------------------------------------------- the area under the ROC curve

static void test_the_area_under_the_curve_counts_the_pairs(void) {
    enum { n = 90 };
    double score[n], permuted[n], negated[n];
    unsigned char positive[n], moved[n], opposite[n];
    uint32_t p[n];
    random_permutation(p, n, 7, STREAM_TEST, 0);
    for (int j = 0; j < n; j++) {
        score[j] = 29*j % 71 / 8;
        positive[j] = j*j % 7 < 2;
    }
    for (int j = 0; j < n; j++) {
        permuted[j] = exp(score[p[j]]);                    // neither order nor scale matters
        moved[j] = positive[p[j]];
        negated[j] = -score[j];
        opposite[j] = !positive[j];
    }
    const double area = auc(score, positive, n);
    CHECK_NEAR(area, 0.4506578947368421, 1e-16);
    CHECK(auc(permuted, moved, n) == area);
    CHECK_NEAR(auc(negated, positive, n), 1 - area, 1e-15);
    CHECK(auc(negated, opposite, n) == area);

    const double four[4] = {-1, 0, 0, 2};
    CHECK(auc(four, (unsigned char[]){0, 0, 1, 1}, 4) == .875);
    CHECK(auc(four, (unsigned char[]){0, 0, 0, 9}, 4) == 1);
    CHECK(auc(four, (unsigned char[]){1, 0, 0, 0}, 4) == 0);
    CHECK(auc(four + 1, (unsigned char[]){0, 1}, 2) == .5);
}

static void test_the_area_under_the_curve_of_one_class_is_none(void) {
    const double score[3] = {1, 2, NAN};
    const unsigned char same[3] = {1, 1, 1};
    const unsigned char other[3] = {0, 0, 0};
    const unsigned char both[3] = {0, 1, 1};
    Interval i;
    CHECK(auc(score, same, 2) == -1 && auc(score, other, 2) == -1 && auc(score, same, 0) == -1);
    CHECK(auc_interval(&i, score, same, NULL, 2, 1) == 2 && i.low == -1 && i.high == -1);
    CHECK(auc_interval(&i, score, same, NULL, 0, 1) == 0 && i.low == -1);
    CHECK(auc_interval(&i, score, both, NULL, 2, 1) == 2);
    CHECK(i.low == 1 && i.high == 1);                      // of the half of the draws that has both
    CHECK(auc_interval(&i, score, both, NULL, 3, 1) == -1 && strstr(error_text, "text 3"));
    CHECK(auc(score, both, 3) == -1);
}

// DeLong et al. 1988: the standard error of the area, from each text's share of the pairs it wins.
static double auc_standard_error(const double *score, const unsigned char *positive, int n) {
    double square[2] = {0};
    double sum[2] = {0};
    double count[2] = {0};
    double variance = 0;
    for (int j = 0; j < n; j++) count[positive[j]]++;
    for (int j = 0; j < n; j++) {
        double wins = 0;
        for (int k = 0; k < n; k++) {
            if (positive[k] == positive[j]) continue;
            wins += correctness(score[j] - score[k]) / count[positive[k]];
        }
        sum[positive[j]] += wins;
        square[positive[j]] += wins * wins;
    }
    for (int z = 0; z < 2; z++) {
        variance += (square[z] - sum[z] * sum[z] / count[z]) / (count[z] - 1) / count[z];
    }
    return sqrt(variance);
}

static void test_the_interval_of_the_area_has_its_closed_form_and_widens_with_clusters(void) {
    enum { n = 1200 };
    static double score[n], once[n / 4];
    static unsigned char positive[n], label[n / 4];
    static uint64_t prompt[n];
    Interval alone, four, again, other;
    for (int j = 0; j < n; j++) {                          // four copies of each of 300 texts
        positive[j] = label[j / 4] = j / 4 % 3 == 0;
        score[j] = once[j / 4] = floor(4 * (normal(13000, j / 4) + positive[j])) / 4;
        prompt[j] = random_mix((uint64_t)j / 4);
    }
    const double area = auc(score, positive, n), error = auc_standard_error(once, label, n / 4);
    CHECK_NEAR(area, auc(once, label, n / 4), 1e-15);
    CHECK(auc_interval(&alone, score, positive, NULL, n, 1) == n);
    CHECK(auc_interval(&four, score, positive, prompt, n, 1) == n / 4);
    CHECK(auc_interval(&again, score, positive, prompt, n, 1) == n / 4);
    CHECK(auc_interval(&other, score, positive, prompt, n, 2) == n / 4);
    CHECK(!memcmp(&four, &again, sizeof four) && memcmp(&four, &other, sizeof four));
    check_interval(alone, area, auc_standard_error(score, positive, n), .15);
    check_interval(four, area, error, .15);
    check_interval(other, area, error, .15);

    memset(prompt, 0, sizeof prompt);                      // one prompt: nothing varies
    CHECK(auc_interval(&alone, score, positive, prompt, n, 1) == 1);
    CHECK(alone.low == area && alone.high == area);
}

// ------------------------------------------------------------------------------------- consistency

static void test_sample_consistency_of_six_three_and_one_is_the_papers(void) {
    static const int count[2][3] = {{6, 3, 1}, {1, 6, 3}};
    for (int i = 0; i < 2; i++) {
        const Consistency c = consistency(count[i], 3);
        CHECK_NEAR(c.agreement, 0.6, 1e-15);
        CHECK_NEAR(c.entropy, 0.182655, 5e-7);
        CHECK_NEAR(c.distance, 0.3, 1e-15);
    }
    const int one = 7, equal[2] = {4, 4};
    const Consistency sure = consistency(&one, 1), unsure = consistency(equal, 2);
    CHECK(sure.agreement == 1 && sure.entropy == 1 && sure.distance == 1);
    CHECK(unsure.agreement == 0.5 && unsure.distance == 0);
    CHECK_NEAR(unsure.entropy, 0, 1e-15);
}

static void test_given_confidences_have_the_errors_computed_by_hand(void) {
    static const double confidence[4] = {0.95, 0.91, 0.6, 0};
    static const unsigned char right[4] = {1, 0, 1, 0};
    CHECK_NEAR(confidence_ece(confidence, right, 4, 10), (0.86 + 0.4) / 4, 1e-15);
    CHECK_NEAR(confidence_brier(confidence, right, 4),
               (0.05 * 0.05 + 0.91 * 0.91 + 0.4 * 0.4) / 4, 1e-15);
}

// ---------------------------------------------------------------------------------------- rankings

static void test_tau_is_scipys(void) {
    static const struct { int m; double tau, a[16], b[16]; } list[] = {
        {.m = 2, .tau = -1, .a = {2, 1},
         .b = {0, 1}},
        {.m = 3, .tau = -1, .a = {0, 3, 1},
         .b = {1, -1.5, -1}},
        {.m = 4, .tau = -.18257418583505539, .a = {0, 2, 3, 1},
         .b = {0, .5, -1.5, .5}},
        {.m = 5, .tau = .2222222222222222, .a = {1, 0, 5, 1, 3},
         .b = {0, -1, 1, -1, -1.5}},
        {.m = 6, .tau = .2611164839335468, .a = {1, 4, 4, 3, 1, 1},
         .b = {-2, -2, -.5, -.5, -1, -1}},
        {.m = 8, .tau = .03922322702763681, .a = {4, 5, 3, 8, 3, 2, 3, 6},
         .b = {-.5, -2.5, 0, .5, -1.5, -1.5, -.5, -2}},
        {.m = 16, .tau = -.19560385876873032,
         .a = {10, 9, 0, 10, 2, 9, 11, 9, 15, 10, 5, 15, 15, 5, 1, 8},
         .b = {-4.5, 1, 1.5, -4.5, 4, 2, 1, 1.5, 4.5, -4.5, 2.5, -4, -2, -1.5, -3, -1}},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const int m = list[i].m;
        CHECK_NEAR(kendall_tau(list[i].a, list[i].b, m), list[i].tau, 1e-15);
        CHECK_NEAR(kendall_tau(list[i].b, list[i].a, m), list[i].tau, 1e-15);
    }
    const double one[3] = {2, 2, 2}, other[3] = {1, 2, 3};
    CHECK(isnan(kendall_tau(one, other, 3)) && isnan(kendall_tau(other, one, 3)));
    CHECK(kendall_tau(other, other, 3) == 1);
}

static void test_a_ranking_has_its_best_answer_its_pairs_and_its_likelihood(void) {
    const double score[4] = {1, 3, 2, 0}, equal[4] = {5, 5, 5, 5};
    const float order[4] = {1, 2, 3, 4}, best[4] = {1, 2, 2, 2}, two[4] = {1, 1, 3, 3};
    Ranked x;
    ranking_measure(&x, score, order, 4, 0);
    CHECK(x.answers == 4 && x.best == 0 && x.chance == .25 && x.compared == 6 && x.right == 4);
    CHECK_NEAR(x.tau, 2 / 6.0, 1e-15);
    CHECK(x.loglik == choice_loglik(NULL, score, order, 4, 0, 1));

    ranking_measure(&x, score, best, 4, 0);
    CHECK(x.best == 0 && x.compared == 3 && x.right == 1);
    CHECK_NEAR(x.loglik, 1 - log(exp(1) + exp(3) + exp(2) + 1), 1e-14);

    // two best answers: one of them has the highest score; the other is above the last alone
    ranking_measure(&x, score, two, 4, 0);
    CHECK(x.best == 1 && x.chance == .5 && x.compared == 4 && x.right == 3);

    // equal scores are a guess
    ranking_measure(&x, equal, two, 4, 0);
    CHECK(x.best == .5 && x.right == 2 && x.tau == 0);
    CHECK_NEAR(x.loglik, -2 * log(3), 1e-14);
}

static void test_means_of_rankings_have_the_intervals_of_their_prompts(void) {
    enum { n = 400 };
    const float order[3] = {1, 2, 3};
    Ranked ranked[n];
    uint64_t prompt_id[n];
    RankedMetrics x;
    double best = 0, square = 0, tau = 0, loglik = 0;
    for (int j = 0; j < n; j++) {
        double score[3];
        for (int k = 0; k < 3; k++) score[k] = normal(700, 3*j + k) - k;
        ranking_measure(&ranked[j], score, order, 3, 0);
        prompt_id[j] = (uint64_t)j / 2;
        best += ranked[j].best / n;
        tau += ranked[j].tau / n;
        loglik += ranked[j].loglik / n;
    }
    CHECK(rankings_measure(&x, ranked, prompt_id, n, 7) == 0);
    CHECK(x.n == n && x.prompts == n / 2);
    CHECK_NEAR(x.chance, 1 / 3.0, 1e-13);
    CHECK_NEAR(x.best.value, best, 1e-13);
    CHECK_NEAR(x.tau.value, tau, 1e-13);
    CHECK_NEAR(x.loglik.value, loglik, 1e-13);

    // prompts of two rankings each: the error of the mean of their means
    for (int j = 0; j < n; j += 2) {
        const double mean = (ranked[j].best + ranked[j+1].best) / 2 - best;
        square += mean * mean;
    }
    check_interval(x.best.interval, best, sqrt(square) / (n / 2), .1);
    CHECK(x.pairwise.interval.low < x.pairwise.value);
    CHECK(x.pairwise.value < x.pairwise.interval.high);

    ranked[5].loglik = NAN;
    CHECK(rankings_measure(&x, ranked, prompt_id, n, 7) < 0);
    CHECK(strstr(error_text, "ranking 6: a score is not finite"));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_the_metrics_of_the_specifications_six_pairs);
    RUN(test_a_value_on_an_inner_edge_goes_to_the_lower_bin);
    RUN(test_equal_rewards_have_half_accuracy_and_no_calibration_error);
    RUN(test_the_temperature_of_equal_margins_is_that_of_the_accuracy);
    RUN(test_a_temperature_without_a_minimum_is_at_its_end);
    RUN(test_the_temperature_is_where_the_loss_is_least);
    RUN(test_what_is_calibrated_by_the_other_folds_has_no_error_left);
    RUN(test_the_interval_of_the_temperature_is_the_delta_methods);
    RUN(test_what_people_prefer_carries_the_temperatures_uncertainty);
    RUN(test_scaling_rewards_leaves_accuracy_and_changes_ece);
    RUN(test_all_metrics_agree_with_an_independent_program);
    RUN(test_metrics_do_not_depend_on_the_order_of_the_pairs);
    RUN(test_accuracy_on_pairs_whose_lengths_differ_by_at_most_a_tenth);
    RUN(test_no_pairs_and_infinite_rewards_are_errors);
    RUN(test_the_bootstrap_is_a_function_of_its_seed_and_widens_with_clusters);
    RUN(test_the_paired_standard_error_has_its_closed_forms);
    RUN(test_the_error_of_a_mean_has_its_closed_form_and_copies_say_nothing_new);
    RUN(test_the_error_of_a_ratio_has_its_closed_form);
    RUN(test_the_mean_of_the_terms_over_p_is_the_divergence);
    RUN(test_a_term_has_its_closed_forms_near_and_far);
    RUN(test_the_area_under_the_curve_counts_the_pairs);
    RUN(test_the_area_under_the_curve_of_one_class_is_none);
    RUN(test_the_interval_of_the_area_has_its_closed_form_and_widens_with_clusters);
    RUN(test_sample_consistency_of_six_three_and_one_is_the_papers);
    RUN(test_given_confidences_have_the_errors_computed_by_hand);
    RUN(test_tau_is_scipys);
    RUN(test_a_ranking_has_its_best_answer_its_pairs_and_its_likelihood);
    RUN(test_means_of_rankings_have_the_intervals_of_their_prompts);
    return test_summary();
}

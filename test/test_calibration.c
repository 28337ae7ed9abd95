// The isotonic map and what a configuration makes of a difference of rewards: closed forms.
#include "test.h"
#include "../calibration.c"

// Forty pairs in four groups of ten, of margins 1, 2, 3 and 4, right 6, 5, 9 and 9 times of ten.
static void forty_pairs(double delta[40]) {
    static const int right[4] = {6, 5, 9, 9};
    for (int j = 0; j < 40; j++) {
        const int group = j / 10;
        delta[j] = j % 10 < right[group] ? group + 1 : -(group + 1);
    }
}

// 6/10 is above 5/10: one block of 11/20 at 1.5; 9/10 twice is one, too, at 3.5.
static void test_neighbours_that_fall_are_pooled(void) {
    double delta[40];
    Isotonic g;
    forty_pairs(delta);
    CHECK(isotonic_fit(&g, delta, NULL, 40) == 0);
    CHECK(g.n == 2);
    CHECK_NEAR(g.size[0], 1.5, 1e-15);
    CHECK_NEAR(g.p[0], 11 / 20.0, 1e-15);
    CHECK_NEAR(g.size[1], 3.5, 1e-15);
    CHECK_NEAR(g.p[1], 9 / 10.0, 1e-15);
}

static void test_between_the_knots_it_is_straight_and_behind_them_level(void) {
    const Isotonic g = {.n = 2, .size = {1, 3}, .p = {.6, .9}};
    const struct { double delta, p; } at[] = {
        {0, .5}, {.5, .55}, {1, .6}, {2, .75}, {3, .9}, {100, .9},
    };
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        CHECK_NEAR(isotonic_probability(&g, at[i].delta), at[i].p, 1e-15);
        CHECK_NEAR(isotonic_probability(&g, -at[i].delta), 1 - at[i].p, 1e-15);
        CHECK_NEAR(isotonic_log_odds(&g, at[i].delta), log(at[i].p / (1 - at[i].p)), 1e-14);
    }
}

// Twenty pairs, all right, then all wrong; one pair; none.
static void test_a_map_is_never_certain_and_never_below_a_coin(void) {
    double delta[20];
    Isotonic g;
    for (int sign = -1; sign < 2; sign += 2) {
        for (int j = 0; j < 20; j++) delta[j] = sign * (j + 1);
        CHECK(isotonic_fit(&g, delta, NULL, 20) == 0);
        CHECK(g.n == 1);
        CHECK_NEAR(g.p[0], sign > 0 ? 1 - 1 / 42.0 : .5, 1e-15);
    }
    CHECK(isotonic_fit(&g, delta, NULL, 1) == 0 && g.n == 1);
    CHECK(isotonic_fit(&g, delta, NULL, 0) == 0 && g.n == 0);
    CHECK(isotonic_log_odds(&g, 3) == 3);
}

static void test_a_weight_is_how_often_a_pair_stands(void) {
    double delta[80], weight[40];
    Isotonic a, b;
    forty_pairs(delta);
    for (int j = 0; j < 40; j++) weight[j] = j < 20 ? 2 : 1;
    memcpy(delta + 40, delta, 20 * sizeof *delta);
    CHECK(isotonic_fit(&a, delta, weight, 40) == 0);
    CHECK(isotonic_fit(&b, delta, NULL, 60) == 0);
    CHECK(a.n == b.n);
    for (int k = 0; k < a.n; k++) {
        CHECK_NEAR(a.size[k], b.size[k], 1e-15);
        CHECK_NEAR(a.p[k], b.p[k], 1e-15);
    }
}

// The other folds' pairs of a size, without weight, do not hold those of the next group.
static void test_what_has_no_weight_changes_no_group(void) {
    double delta[80], weight[80];
    Isotonic a, b;
    for (int j = 0; j < 40; j++) {
        delta[j] = j % 10 < 6 + j / 10 ? j + 1 : -(j + 1);
        delta[40 + j] = -(j + 1);
        weight[j] = 1;
        weight[40 + j] = 0;
    }
    CHECK(isotonic_fit(&a, delta, NULL, 40) == 0);
    CHECK(isotonic_fit(&b, delta, weight, 80) == 0);
    CHECK(a.n == 4 && b.n == 4);
    for (int k = 0; k < a.n; k++) CHECK(a.size[k] == b.size[k] && a.p[k] == b.p[k]);
}

// Many pairs of any margins: both rise, and the map is that of least squares, which by definition
// leaves no error within a block, so none in all.
static void test_the_map_rises_and_keeps_the_mean(void) {
    enum { N = 3000 };
    static double delta[N];
    double right = 0, mean = 0, size = 0;
    Isotonic g;
    for (int j = 0; j < N; j++) {
        delta[j] = 0.5 + random_normal(1, STREAM_TEST, 5, (uint64_t)j);
        right += correctness(delta[j]);
        size += fabs(delta[j]);
    }
    CHECK(isotonic_fit(&g, delta, NULL, N) == 0);
    CHECK(g.n > 3 && g.n <= ISOTONIC_KNOTS);
    for (int k = 1; k < g.n; k++) CHECK(g.size[k] > g.size[k-1] && g.p[k] >= g.p[k-1]);
    for (int j = 0; j < N; j++) mean += isotonic_probability(&g, fabs(delta[j])) / N;
    CHECK_NEAR(mean, right / N, .02);                      // lines in place of steps
    CHECK(size / N > g.size[0] && size / N < g.size[g.n-1]);
}

static void test_a_configuration_divides_or_maps(void) {
    Config c = {.temperature = 0};
    CHECK(!is_calibrated(&c) && calibrated(&c, 3) == 3);
    c.temperature = 2;
    CHECK(is_calibrated(&c) && calibrated(&c, 3) == 1.5);
    c.isotonic = (Isotonic){.n = 1, .size = {1}, .p = {.75}};
    CHECK_NEAR(calibrated(&c, 3), log(3), 1e-15);
    CHECK_NEAR(calibrated(&c, -3), -log(3), 1e-15);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_neighbours_that_fall_are_pooled);
    RUN(test_between_the_knots_it_is_straight_and_behind_them_level);
    RUN(test_a_map_is_never_certain_and_never_below_a_coin);
    RUN(test_a_weight_is_how_often_a_pair_stands);
    RUN(test_what_has_no_weight_changes_no_group);
    RUN(test_the_map_rises_and_keeps_the_mean);
    RUN(test_a_configuration_divides_or_maps);
    return test_summary();
}

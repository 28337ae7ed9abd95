// A mixture of policies: which one a prompt gets, and how probable texts are.
#include "test.h"
#include "../commands/mixture.c"

// Within three standard deviations of its weight each, of n prompts.
static void test_each_policy_is_drawn_as_often_as_its_weight_says(void) {
    enum { N = 20000 };
    const Mixture x = {.n = 4, .weight = {0.5, 0, 0.3, 0.2}};
    int drawn[4] = {0};
    for (uint64_t id = 0; id < N; id++) drawn[mixture_draw(&x, 11, id)]++;
    for (int k = 0; k < 4; k++) {
        const double w = x.weight[k];
        CHECK_NEAR((double)drawn[k] / N, w, 3 * sqrt(w * (1 - w) / N));
    }
    CHECK(drawn[1] == 0);
}

static void test_a_policy_with_all_the_weight_is_always_drawn(void) {
    const Mixture last = {.n = 3, .weight = {0, 0, 1}}, first = {.n = 2, .weight = {1, 0}};
    for (uint64_t id = 0; id < 1000; id++) {
        CHECK(mixture_draw(&last, 1, id) == 2);
        CHECK(mixture_draw(&first, 1, id) == 0);
    }
}

static void test_a_text_has_the_logarithm_of_the_mean_probability(void) {
    const Mixture x = {.n = 3, .weight = {0.7, 0.3, 0}};
    const double logp[6] = {-1, -3, -2000, -2010, NAN, NAN};  // of two texts; one has no weight
    CHECK_NEAR(mixture_logp(x.weight, logp, 2, 3), log(0.7 * exp(-1) + 0.3 * exp(-2000)), 1e-15);
    CHECK_NEAR(mixture_logp(x.weight, logp + 1, 2, 3), log(0.7 * exp(-3)), 1e-15);
    const double far[2] = {-2000, -2001};                  // no probability that a double holds
    const Mixture two = {.n = 2, .weight = {0.7, 0.3}};
    CHECK_NEAR(mixture_logp(two.weight, far, 1, 2), -2000 + log(0.7 + 0.3 * exp(-1)), 1e-12);
}

static void test_what_tokens_add_is_the_text_by_the_rule_of_bayes(void) {
    const Mixture x = {.n = 2, .weight = {0.5, 0.5}};
    const float all[6] = {logf(0.9f), logf(0.8f), 0, logf(0.1f), logf(0.4f), 0};   // (2, 3)
    const size_t token[2] = {0, 1};
    float added[2];
    mix_tokens(&x, added, all, 3, token, 2);
    CHECK_NEAR((double)added[0], log(0.5), 1e-6);
    CHECK_NEAR((double)added[1], log(0.9 * 0.8 + 0.1 * 0.4), 1e-6);    // the first is now likelier
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_each_policy_is_drawn_as_often_as_its_weight_says);
    RUN(test_a_policy_with_all_the_weight_is_always_drawn);
    RUN(test_a_text_has_the_logarithm_of_the_mean_probability);
    RUN(test_what_tokens_add_is_the_text_by_the_rule_of_bayes);
    return test_summary();
}

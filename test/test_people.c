// Types of people by EM: the E-step, starts, the loop.  Numbers come from closed forms or from
// hand-computed examples.
#include "test.h"
#include "../people.c"
#include "../loss.c"

// ------------------------------------------------------------------------------------------ E-step

// Two annotators with two rows each; margin[type][row].
static const int two_annotators[4] = {0, 0, 1, 1};
static const double margin[2][4] = {{1.0, -0.5, -1.0, 0.4}, {0.2, 0.3, 2.0, 1.5}};

static int fit_nothing(void *self, int k, const double *weight) {
    (void)self;
    (void)k;
    (void)weight;
    return 0;
}

static int score_margins(void *self, int k, double *loglik) {
    (void)self;
    for (int n = 0; n < 4; n++) loglik[n] = log_sigmoid(margin[k][n]);
    return 0;
}

static void test_responsibilities_are_those_computed_by_hand(void) {
    static const double A[4] = {-1.798164, -2.068785, -2.337103, -1.244632};
    static const double gamma[4] = {0.567245, 0.432755, 0.251153, 0.748847};
    const TypeModels m = {.fit = fit_nothing, .score = score_margins};
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    p.eta[0] = 0.6;
    p.eta[1] = 0.4;
    CHECK(people_m_step(&p, &m, ALL_ROWS, ALL_ROWS) == 0);
    people_e_step(&p, 0);
    // the joint log-likelihood, as the example has it, is log eta_k + A_hk
    for (int i = 0; i < 4; i++) {
        CHECK_NEAR(more_log(i % 2 ? 0.4 : 0.6) + p.A[i], A[i], 1e-6);
        CHECK_NEAR(p.gamma[i], gamma[i], 1e-6);
    }
    CHECK_NEAR(p.loglik, -2.186612, 1e-6);
    CHECK_NEAR(p.eta[0], 0.409199, 1e-6);
    CHECK_NEAR(p.eta[1], 0.590801, 1e-6);
    people_free(&p);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_responsibilities_are_those_computed_by_hand);
    return test_summary();
}

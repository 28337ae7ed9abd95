// Min-max regret: games with known solutions, and what must not change them.  The numbers of A, B
// and C are closed forms, or those of an independent program of the same rounds.
#include "test.h"
#include "../regret.c"

static const double equal[MAX_POLICIES] = {1, 1, 1, 1, 1, 1, 1, 1};

// The exact solution of L (K, K), and what so many rounds make of it.
static void solve(Game *exact, Game *played, const double *L, const double *fairness, int K,
                  int rounds) {
    double M[(MAX_POLICIES + 1) * MAX_POLICIES];
    regret_game(M, L, fairness, K);
    CHECK(game_solve(exact, M, K) == 0);
    game_play(played, M, K, rounds);
    CHECK(fabs(exact->value - exact->bound) < 1e-12 * (1 + fabs(exact->value)));
    CHECK(played->bound <= exact->value + 1e-12 * (1 + exact->value));
    CHECK(played->value >= exact->value - 1e-12 * (1 + exact->value));
}

static const double A[4] = {3, 1, 0.5, 2};
static const double B[9] = {2, 0, 1, 0, 3, 1, 0.5, 0.5, 1};
static const double C[4] = {1, 1.5, 0.2, 2};

// --------------------------------------------------------------------------------- known solutions

static void test_rows_of_the_game_are_nobody_and_the_weighted_regrets(void) {
    const double fairness[2] = {2, 1};
    double M[6];
    regret_game(M, A, fairness, 2);
    const double want[6] = {0, 0, 0, 4, 1.5, 0};
    for (int i = 0; i < 6; i++) CHECK(M[i] == want[i]);
}

static void test_two_policies_have_the_closed_form(void) {
    Game exact, played;
    solve(&exact, &played, A, equal, 2, GAME_ROUNDS);
    CHECK_NEAR(exact.w[0], 4.0 / 7, 1e-14);
    CHECK_NEAR(exact.w[1], 3.0 / 7, 1e-14);
    CHECK_NEAR(exact.value, 6.0 / 7, 1e-14);
    CHECK_NEAR(exact.p[0], 0, 1e-14);
    CHECK_NEAR(exact.p[1], 3.0 / 7, 1e-14);
    CHECK_NEAR(played.w[0], 0.57148, 5e-6);
    CHECK_NEAR(played.w[1], 0.42852, 5e-6);
    CHECK_NEAR(played.value, 0.857220, 5e-7);
    CHECK_NEAR(played.value - played.bound, 4.1e-4, 5e-6);
}

static void test_with_fewer_rounds_the_gap_is_wider(void) {
    Game exact, played;
    solve(&exact, &played, A, equal, 2, 1000);
    CHECK_NEAR(played.value - played.bound, 4.2e-3, 5e-5);
}

// Recorded bits: NUMERICS.md's rules make them the same everywhere.
static void test_the_bits_are_those_of_every_machine(void) {
    Game exact, played;
    solve(&exact, &played, B, equal, 3, GAME_ROUNDS);
    CHECK(played.w[0] == 0x1.98b1a5ede95d9p-2 && played.w[1] == 0x1.32f0cba0f1545p-1);
    CHECK(played.value == 0x1.334bfc54fe539p+0 && exact.w[0] == 0x1.9999999999998p-2);
}

static void test_weights_of_fairness_move_the_solution(void) {
    const double fairness[2] = {2, 1};
    Game exact, played;
    solve(&exact, &played, A, fairness, 2, GAME_ROUNDS);
    CHECK_NEAR(exact.w[0], 8.0 / 11, 1e-14);
    CHECK_NEAR(exact.value, 12.0 / 11, 1e-14);
    CHECK_NEAR(played.w[0], 0.72738, 5e-6);
    CHECK_NEAR(played.w[1], 0.27262, 5e-6);
}

static void test_a_policy_may_have_no_part_in_the_mixture(void) {
    const double w[3] = {0.4, 0.6, 0}, about[3] = {0.39912, 0.59949, 0.00139};
    Game exact, played;
    solve(&exact, &played, B, equal, 3, GAME_ROUNDS);
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(exact.w[k], w[k], 1e-14);
        CHECK_NEAR(played.w[k], about[k], 5e-6);
    }
    CHECK_NEAR(exact.value, 1.2, 1e-14);
    CHECK_NEAR(played.value - played.bound, 8.5e-4, 5e-6);
}

static void test_the_row_of_nobody_keeps_the_value_from_falling_below_0(void) {
    Game exact, played;
    solve(&exact, &played, C, equal, 2, GAME_ROUNDS);
    CHECK_NEAR(exact.w[0], 0, 1e-14);
    CHECK_NEAR(exact.w[1], 1, 1e-14);
    CHECK(exact.value == 0);
    CHECK_NEAR(played.w[0], 0.00043, 5e-6);
    CHECK_NEAR(played.w[1], 0.99957, 5e-6);
}

static void test_one_policy_is_the_whole_mixture_without_regret(void) {
    const double L[1] = {3};
    Game exact, played;
    solve(&exact, &played, L, equal, 1, 1000);
    CHECK(exact.w[0] == 1 && exact.value == 0);
    CHECK_NEAR(played.w[0], 1, 1e-12);
    CHECK(played.value == 0);
}

static void test_policies_that_are_the_same_leave_no_regret(void) {
    double L[9];
    Game exact, played;
    for (int i = 0; i < 9; i++) L[i] = 2.5;
    solve(&exact, &played, L, equal, 3, 1000);
    CHECK(exact.value == 0 && exact.bound == 0);
    CHECK(played.value == 0 && played.bound == 0);
    for (int j = 0; j < 3; j++) CHECK_NEAR(played.w[j], 1.0 / 3, 1e-12);
}

static void test_a_regret_that_is_not_finite_is_refused(void) {
    Game g;
    const double M[2] = {0, NAN};
    CHECK(game_solve(&g, M, 1) < 0);
    CHECK(strstr(error_text, "not finite") != NULL);
}

// ---------------------------------------------------------------------------- what changes nothing

static void test_the_order_of_the_policies_does_not_matter(void) {
    const int order[3] = {2, 0, 1};
    double L[9];
    Game exact, played, exact_b, played_b;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) L[i*3 + j] = B[order[i]*3 + order[j]];
    }
    solve(&exact_b, &played_b, B, equal, 3, 1000);
    solve(&exact, &played, L, equal, 3, 1000);
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(exact.w[k], exact_b.w[order[k]], 1e-13);
        CHECK_NEAR(played.w[k], played_b.w[order[k]], 1e-9);
    }
    CHECK_NEAR(exact.value, exact_b.value, 1e-13);
}

static void test_the_scale_of_the_regrets_does_not_matter_to_the_exact_solution(void) {
    Game exact, played, exact_b, played_b;
    solve(&exact_b, &played_b, B, equal, 3, 1000);
    for (double scale = 1e-6; scale < 1e7; scale *= 10) {
        double L[9];
        for (int i = 0; i < 9; i++) L[i] = scale * B[i];
        solve(&exact, &played, L, equal, 3, scale < 1 ? 10 : GAME_ROUNDS / 10);
        for (int k = 0; k < 3; k++) CHECK_NEAR(exact.w[k], exact_b.w[k], 1e-12);
        CHECK_NEAR(exact.value / scale, exact_b.value, 1e-12);
        if (scale >= 1 && scale <= 1001) CHECK((played.value - played.bound) / scale < 1e-2);
    }
}

// 0 .. 1, of a test
static double uniform(uint64_t step, uint64_t index) {
    return (double)(random_u64(7, STREAM_TEST, step, index) >> 11) * 0x1p-53;
}

// Of 200 games with up to 8 policies, many with whole numbers and so degenerate.
static void test_no_mixture_is_better_than_the_exact_one(void) {
    for (uint64_t game = 0; game < 200; game++) {
        const int K = 2 + (int)(game % 7);
        double L[64], M[72], row[9];
        Game g;
        for (int i = 0; i < K*K; i++) {
            L[i] = 10 * uniform(game, (uint64_t)i) - 5;
            if (game % 2) L[i] = floor(L[i] / 2);
        }
        regret_game(M, L, equal, K);
        CHECK(game_solve(&g, M, K) == 0);
        CHECK(g.value >= 0);
        CHECK(fabs(g.value - g.bound) < 1e-12);            // the certificate: none can be better
        double w = 0, p = 0;
        for (int k = 0; k < K; k++) w += g.w[k];
        for (int k = 0; k <= K; k++) p += g.p[k];
        CHECK_NEAR(w, 1, 1e-14);
        CHECK_NEAR(p, 1, 1e-14);
        for (int k = 0; k < K; k++) {                      // nor, of course, any policy alone
            double alone[8] = {0};
            alone[k] = 1;
            loss_of_rows(row, M, alone, K);
            double worst = 0;
            for (int i = 0; i <= K; i++) worst = row[i] > worst ? row[i] : worst;
            CHECK(worst >= g.value - 1e-12);
        }
    }
}

// ------------------------------------------------------------------------------ what is measured

// Log ratios of two policies and another writer on n prompts, with the means of A plus noise.
enum { PROMPTS = 50 };
static void measure(Regrets *r, double noise) {
    static double ratio[2*3*PROMPTS];
    const double mean[6] = {3, 1, 2.5, 0.5, 2, 0};
    for (int i = 0; i < 6*PROMPTS; i++) {
        ratio[i] = mean[i / PROMPTS] + noise * (uniform(5, (uint64_t)i) - 0.5);
    }
    *r = (Regrets){.K = 2, .N = 3, .n = PROMPTS, .ratio = ratio, .fairness = {1, 1},
                   .eta = {0.75, 0.25}, .beta = 0.5, .name = {"one", "two", "other"}};
    CHECK(regrets_measure(r, 9) == 0);
}

static void test_each_way_to_answer_has_its_regrets(void) {
    static Regrets r;
    static const struct { const char *name; double regret[2]; } want[6] = {
        {"one", {0, 0.75}}, {"two", {1, 0}}, {"uniform", {0.5, 0.375}}, {"eta", {0.25, 0.5625}},
        {"min-max", {3.0 / 7, 3.0 / 7}}, {"other", {0.25, 1}},
    };
    measure(&r, 0);
    CHECK(r.ways == 6 && r.minmax == 4);
    for (int d = 0; d < 6; d++) {
        const Way *way = &r.way[d];
        CHECK(!strcmp(way->name, want[d].name));
        for (int k = 0; k < 2; k++) {
            CHECK_NEAR(way->regret[k], want[d].regret[k], 1e-14);
            CHECK_NEAR(way->regret_95[k].low, want[d].regret[k], 1e-12);
            CHECK_NEAR(way->regret_95[k].high, want[d].regret[k], 1e-12);
        }
        CHECK(way->worst == fmax(way->regret[0], way->regret[1]));
    }
    CHECK_NEAR(r.w_95[0].low, 4.0 / 7, 1e-12);
    CHECK_NEAR(r.w_95[0].high, 4.0 / 7, 1e-12);
    CHECK_NEAR(r.L[1].value, 1, 1e-14);
    CHECK_NEAR(r.L[1].error, 0, 1e-14);
}

// One policy in the place of another: the mean of differences, which metrics.c knows.
static void test_intervals_are_those_of_a_mean_over_prompts(void) {
    static Regrets r;
    double difference[PROMPTS];
    Estimate e;
    measure(&r, 4);
    for (int x = 0; x < PROMPTS; x++) difference[x] = 0.5 * (r.ratio[x] - r.ratio[PROMPTS + x]);
    CHECK(estimate_ratio(&e, difference, NULL, NULL, PROMPTS, 9) == 0);
    CHECK_NEAR(r.way[1].regret[0], e.value, 1e-12);
    CHECK_NEAR(r.way[1].regret_95[0].low, e.interval.low, 1e-12);
    CHECK_NEAR(r.way[1].regret_95[0].high, e.interval.high, 1e-12);
    CHECK(r.w_95[0].low < r.exact.w[0] && r.exact.w[0] < r.w_95[0].high);
    CHECK_NEAR(r.way[r.minmax].worst, 0.5 * r.exact.value, 1e-12);
}

// ------------------------------------------------------------------------- all policies, of tables

/* The same game over all policies, not only mixtures, for policies that are tables: it bounds what
 * any mixture can reach, and its own closed forms are those of the paper's general class.        */
typedef struct {
    int X, Y, K;                        // prompts, answers, policies
    const double *ref;                  // (X, Y) log pi_ref, finite
    const double *policy;               // (K, X, Y) log pi_k, finite
} PolicyTable;
typedef enum { REGRET_RAW, REGRET_KL } RegretKind;
typedef struct {
    double p[MAX_POLICIES + 1];         // (K + 1) of the reference and of the policies
    double *logp;                       // (X, Y) log of the geometric mixture, the caller's
    double regret[MAX_POLICIES];        // (K) of the types
    double value, bound;                // as in Game
} TableGame;

/* The adversary's weights p (K + 1) of nobody and of the types; the best a policy can do against
 * them, if it pays beta KL(pi || pi_ref) or is measured by REGRET_KL, is the geometric mixture
 *
 *     log pi_p(y|x) = p_0 log pi_ref(y|x) + sum_k p_k log pi_k(y|x) - log Z(x)
 *
 * logp is (X, Y).                                                                                */
static void table_mixture(double *logp, const PolicyTable *t, const double *p) {
    const int size = t->X * t->Y;
    for (int x = 0; x < t->X; x++) {
        double *row = logp + x * t->Y, max = -HUGE_VAL, sum = 0;
        for (int y = 0; y < t->Y; y++) {
            const int at = x * t->Y + y;
            row[y] = p[0] * t->ref[at];
            for (int k = 0; k < t->K; k++) row[y] += p[k+1] * t->policy[k*size + at];
            max = row[y] > max ? row[y] : max;
        }
        for (int y = 0; y < t->Y; y++) sum += more_exp(row[y] - max);
        const double log_z = max + more_log(sum);
        for (int y = 0; y < t->Y; y++) row[y] -= log_z;
    }
}

// E_x KL(a || b), prompts alike probable; a and b are (X, Y) logarithms.
static double table_kl(const double *a, const double *b, const PolicyTable *t) {
    double sum = 0;
    for (int i = 0; i < t->X * t->Y; i++) sum += more_exp(a[i]) * (a[i] - b[i]);
    return sum / t->X;
}

/* regret (K) of each type under the policy logp (X, Y).  REGRET_RAW is that of the mixtures,
 *
 *     R_k = beta E_x [ E_pi_k log(pi_k/pi_ref) - E_pi log(pi_k/pi_ref) ]
 *
 * and REGRET_KL what V_k = E_pi r_k - beta KL(pi || pi_ref) loses,
 *
 *     V_k(pi_k) - V_k(pi) = beta E_x KL(pi || pi_k) >= 0                                         */
static void table_regrets(double *regret, const PolicyTable *t, const double *logp, double beta,
                          RegretKind kind) {
    const int size = t->X * t->Y;
    for (int k = 0; k < t->K; k++) {
        const double *own = t->policy + k*size;
        if (kind == REGRET_KL) {
            regret[k] = beta * table_kl(logp, own, t);
            continue;
        }
        double sum = 0;
        for (int i = 0; i < size; i++) {
            sum += (more_exp(own[i]) - more_exp(logp[i])) * (own[i] - t->ref[i]);
        }
        regret[k] = beta * sum / t->X;
    }
}

// The widest range of log pi_k - log pi_ref over a prompt's answers.
static double table_range(const PolicyTable *t) {
    double widest = 0;
    for (int k = 0; k < t->K; k++) {
        for (int x = 0; x < t->X; x++) {
            double low = HUGE_VAL, high = -HUGE_VAL;
            for (int y = 0; y < t->Y; y++) {
                const int at = x * t->Y + y;
                const double ratio = t->policy[k * t->X * t->Y + at] - t->ref[at];
                low = ratio < low ? ratio : low;
                high = ratio > high ? ratio : high;
            }
            widest = high - low > widest ? high - low : widest;
        }
    }
    return widest;
}

// The two ends of the gap at g->p: what the mixture loses to the worst off, what it loses to p.
// REGRET_RAW pays beta KL(pi || pi_ref) in both.
static void table_certify(TableGame *g, const PolicyTable *t, double beta, RegretKind kind) {
    const double paid = kind == REGRET_RAW ? beta * table_kl(g->logp, t->ref, t) : 0;
    double worst = kind == REGRET_RAW ? 0 : g->regret[0], mean = 0;
    for (int k = 0; k < t->K; k++) {
        worst = g->regret[k] > worst ? g->regret[k] : worst;
        mean += g->p[k+1] * g->regret[k];
    }
    g->value = worst + paid;
    g->bound = mean + paid;
}

/* The game over all policies: the adversary's weights grow as p_k <- p_k exp(e R_k(pi_p)), where
 * pi_p is the best answer to them and R_k the slope of what it loses, a concave function of p.  In
 * REGRET_RAW, R_0 = 0 is that of nobody; in REGRET_KL, which is never negative, p_0 stays 0, and
 * the solution is the policy whose greatest divergence to a pi_k is least.
 *
 * The curvature is beta times a variance, at most beta range^2 / 4 with the widest range of a log
 * ratio: with e = 4 / (beta range^2) no round makes it worse (Lu, Freund and Nesterov 2018).
 * Ends when the gap is 0 to 12 digits.  g->logp (X, Y) is the caller's.  0, or -1: a policy gives
 * an answer no probability.                                                                      */
static int table_play(TableGame *g, const PolicyTable *t, double beta, RegretKind kind,
                      int rounds) {
    const double range = table_range(t);
    const double e = range > 0 ? 4 / (beta * range * range) : 0;
    const int first = kind == REGRET_KL;
    double log_p[MAX_POLICIES + 1] = {0};
    if (!isfinite(range)) return -1;
    for (int round = 0; round < rounds; round++) {
        g->p[0] = 0;
        softmax(g->p + first, log_p + first, t->K + 1 - first);
        table_mixture(g->logp, t, g->p);
        table_regrets(g->regret, t, g->logp, beta, kind);
        table_certify(g, t, beta, kind);
        if (g->value - g->bound <= 1e-12 * fabs(g->value)) break;
        for (int k = 0; k < t->K; k++) log_p[k+1] += e * g->regret[k];
    }
    return 0;
}

enum { X = 3, Y = 5 };

// Random logarithms of K + 1 policies: the reference, then the others.
static void random_tables(double *logp, int K, uint64_t step) {
    for (int row = 0; row < (K + 1)*X; row++) {
        double sum = 0, *at = logp + row*Y;
        for (int y = 0; y < Y; y++) {
            at[y] = 4 * uniform(step, (uint64_t)(row*Y + y));
            sum += more_exp(at[y]);
        }
        for (int y = 0; y < Y; y++) at[y] -= more_log(sum);
    }
}

// V_k of a policy: E_pi r_k - beta KL(pi || pi_ref), r_k = beta log(pi_k / pi_ref), prompt by
// prompt.
static double regularised_value(const double *logp, const double *own, const double *ref,
                                double beta) {
    double sum = 0;
    for (int i = 0; i < X*Y; i++) {
        sum += exp(logp[i]) * beta * (own[i] - ref[i]);
        sum -= exp(logp[i]) * beta * (logp[i] - ref[i]);
    }
    return sum / X;
}

static void test_what_a_type_loses_of_its_regularised_value_is_a_divergence(void) {
    double logp[4*X*Y], mixture[X*Y], regret[2];
    random_tables(logp, 3, 1);
    const PolicyTable t = {X, Y, 2, logp, logp + X*Y};
    const double *other = logp + 3*X*Y;                    // any policy
    table_regrets(regret, &t, other, 0.3, REGRET_KL);
    for (int k = 0; k < 2; k++) {
        const double *own = t.policy + k*X*Y;
        const double lost = regularised_value(own, own, t.ref, 0.3)
                            - regularised_value(other, own, t.ref, 0.3);
        CHECK_NEAR(regret[k], lost, 1e-12);
        CHECK(regret[k] > 0);
    }
    const double p[3] = {0, 1, 0};                         // a policy of its own type loses nothing
    table_mixture(mixture, &t, p);
    for (int i = 0; i < X*Y; i++) CHECK_NEAR(mixture[i], t.policy[i], 1e-14);
}

// Two policies of four answers, their texts in exactly their shares.
static void test_a_mixture_is_nearer_to_all_policies_by_its_information(void) {
    enum { EACH = 8 };
    const double share[2][4] = {{4, 2, 1, 1}, {1, 1, 1, 5}}, w[2] = {0.3, 0.7};
    double policy[8], mixed[4], logp[2*2*EACH], divergence[2][2];
    for (int i = 0; i < 8; i++) policy[i] = log(share[i / 4][i % 4] / EACH);
    for (int y = 0; y < 4; y++) mixed[y] = mixture_logp(w, policy + y, 4, 2);
    for (int j = 0; j < 2; j++) {
        int i = 0;
        for (int y = 0; y < 4; y++) {
            for (int copy = 0; copy < share[j][y]; copy++) {
                for (int k = 0; k < 2; k++) logp[(k*2 + j)*EACH + i] = policy[k*4 + y];
                i++;
            }
        }
    }
    const PolicyTable t = {1, 4, 2, policy, policy};       // the reference is of no matter
    const double information = mixture_information(w, logp, 2, 2, EACH);
    for (int k = 0; k < 2; k++) {
        for (int j = 0; j < 2; j++) divergence[j][k] = table_kl(policy + j*4, policy + k*4, &t);
    }
    for (int k = 0; k < 2; k++) {
        CHECK_NEAR(table_kl(mixed, policy + k*4, &t),
                   w[0]*divergence[0][k] + w[1]*divergence[1][k] - information, 1e-14);
    }
    const double alone[2] = {1, 0}, apart[8] = {-3, -4, -900, -800, -700, -600, -5, -6};
    CHECK_NEAR(mixture_information(alone, logp, 2, 2, EACH), 0, 1e-15);
    CHECK_NEAR(mixture_information(w, apart, 2, 2, 2), -0.3*log(0.3) - 0.7*log(0.7), 1e-12);
}

static void test_the_geometric_mixture_is_the_best_answer_to_the_adversary(void) {
    const double p[3] = {0.2, 0.5, 0.3}, beta = 0.3;
    double logp[3*X*Y], best[X*Y], other[X*Y], regret[2];
    random_tables(logp, 2, 2);
    const PolicyTable t = {X, Y, 2, logp, logp + X*Y};
    table_mixture(best, &t, p);
    table_regrets(regret, &t, best, beta, REGRET_RAW);
    const double least = p[1]*regret[0] + p[2]*regret[1] + beta * table_kl(best, t.ref, &t);
    for (uint64_t trial = 0; trial < 20; trial++) {
        double sum[X] = {0};
        for (int i = 0; i < X*Y; i++) {
            other[i] = best[i] + 0.2 * (uniform(100 + trial, (uint64_t)i) - 0.5);
            sum[i / Y] += exp(other[i]);
        }
        for (int i = 0; i < X*Y; i++) other[i] -= log(sum[i / Y]);
        table_regrets(regret, &t, other, beta, REGRET_RAW);
        CHECK(p[1]*regret[0] + p[2]*regret[1] + beta * table_kl(other, t.ref, &t) > least);
    }
}

static void test_the_games_of_all_policies_are_solved(void) {
    double logp[4*X*Y], mixture[X*Y];
    random_tables(logp, 3, 3);
    const PolicyTable t = {X, Y, 3, logp, logp + X*Y};
    for (int kind = REGRET_RAW; kind <= REGRET_KL; kind++) {
        TableGame g = {.logp = mixture};
        CHECK(table_play(&g, &t, 0.3, (RegretKind)kind, 20000) == 0);
        CHECK(g.value - g.bound >= -1e-12);
        CHECK(g.value - g.bound < 1e-6);
    }
}

// Two policies that mirror each other: by symmetry the weights are a half each.
static void test_between_two_mirrored_policies_the_centre_is_in_the_middle(void) {
    const double a = log(0.7), b = log(0.3), half = log(0.5);
    const double ref[2] = {half, half}, policy[4] = {a, b, b, a};
    const PolicyTable t = {1, 2, 2, ref, policy};
    double mixture[2];
    TableGame g = {.logp = mixture};
    CHECK(table_play(&g, &t, 2, REGRET_KL, 1000) == 0);
    CHECK_NEAR(g.p[1], 0.5, 1e-12);
    CHECK_NEAR(mixture[0], half, 1e-12);
    CHECK_NEAR(g.value, 2 * (half - 0.5*a - 0.5*b), 1e-12);
    CHECK_NEAR(g.value, g.bound, 1e-12);
    CHECK(table_play(&g, &t, 2, REGRET_RAW, 1000) == 0);
    CHECK_NEAR(g.p[1], g.p[2], 1e-12);
    CHECK_NEAR(mixture[0], half, 1e-12);
    CHECK_NEAR(g.value, 2 * 0.4 * (a - b) / 2, 1e-12);     // beta (0.7 - 0.5) log(0.7/0.3)
}

// Measured by KL a mixture is one of all policies: it cannot be nearer to the farthest one.
static void test_no_mixture_is_nearer_to_all_policies_than_their_centre(void) {
    enum { K = 3 };
    const double fairness[K] = {1, 1, 1};
    for (uint64_t step = 10; step < 20; step++) {
        double logp[(K + 1)*X*Y], centre[X*Y], mixed[X*Y], L[K*K], M[(K + 1)*K], farthest = 0;
        TableGame all = {.logp = centre};
        Game g;
        random_tables(logp, K, step);
        const PolicyTable t = {X, Y, K, logp, logp + X*Y};
        CHECK(table_play(&all, &t, 1, REGRET_KL, 20000) == 0);
        for (int i = 0; i < K*K; i++) {
            L[i] = -table_kl(t.policy + i % K * X*Y, t.policy + i / K * X*Y, &t);
        }
        regret_game(M, L, fairness, K);
        CHECK(game_solve(&g, M, K) == 0);
        for (int i = 0; i < X*Y; i++) mixed[i] = mixture_logp(g.w, t.policy + i, X*Y, K);
        for (int k = 0; k < K; k++) {
            farthest = fmax(farthest, table_kl(mixed, t.policy + k*X*Y, &t));
        }
        CHECK(farthest > all.bound && farthest < g.value);             // less by I(w)
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_rows_of_the_game_are_nobody_and_the_weighted_regrets);
    RUN(test_two_policies_have_the_closed_form);
    RUN(test_with_fewer_rounds_the_gap_is_wider);
    RUN(test_the_bits_are_those_of_every_machine);
    RUN(test_weights_of_fairness_move_the_solution);
    RUN(test_a_policy_may_have_no_part_in_the_mixture);
    RUN(test_the_row_of_nobody_keeps_the_value_from_falling_below_0);
    RUN(test_one_policy_is_the_whole_mixture_without_regret);
    RUN(test_policies_that_are_the_same_leave_no_regret);
    RUN(test_a_regret_that_is_not_finite_is_refused);
    RUN(test_the_order_of_the_policies_does_not_matter);
    RUN(test_the_scale_of_the_regrets_does_not_matter_to_the_exact_solution);
    RUN(test_no_mixture_is_better_than_the_exact_one);
    RUN(test_each_way_to_answer_has_its_regrets);
    RUN(test_intervals_are_those_of_a_mean_over_prompts);
    RUN(test_what_a_type_loses_of_its_regularised_value_is_a_divergence);
    RUN(test_a_mixture_is_nearer_to_all_policies_by_its_information);
    RUN(test_the_geometric_mixture_is_the_best_answer_to_the_adversary);
    RUN(test_the_games_of_all_policies_are_solved);
    RUN(test_no_mixture_is_nearer_to_all_policies_than_their_centre);
    RUN(test_between_two_mirrored_policies_the_centre_is_in_the_middle);
    return test_summary();
}

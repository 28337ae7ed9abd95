// Losses and MORE's weights.  Numbers come from closed forms, finite differences, or
// scripts/golden_loss.py.
#include "test.h"
#include "../files/file.c"
#include "../files/json.c"
#include "../rl_loss.c"
#include "losses.h"

static double normal(int test, int i) {
    return random_normal(1, STREAM_TEST, (uint64_t)test, (uint64_t)i);
}

// ------------------------------------------------------------------------------- Bradley and Terry

static void test_equal_rewards_cost_log_2(void) {
    const float r[1] = {0.5f};
    float dchosen[1] = {0}, drejected[1] = {0};
    CHECK_NEAR(reward_bt_loss(dchosen, drejected, r, r, NULL, NULL, 1), log(2), 1e-15);
    CHECK(dchosen[0] == -0.5f);
    CHECK(drejected[0] == 0.5f);
}

static void test_a_pairs_gradients_are_exact_opposites_and_are_added(void) {
    const float chosen[3] = {1, -2, 0.25f}, rejected[3] = {-0.5f, 1, 0.125f};
    const float weight[3] = {0.2f, 0.7f, 0.1f};
    float dchosen[3] = {0};
    float drejected[3] = {0};
    float twice_chosen[3] = {0};
    float twice_rejected[3] = {0};
    reward_bt_loss(dchosen, drejected, chosen, rejected, weight, NULL, 3);
    reward_bt_loss(twice_chosen, twice_rejected, chosen, rejected, weight, NULL, 3);
    reward_bt_loss(twice_chosen, twice_rejected, chosen, rejected, weight, NULL, 3);
    for (int j = 0; j < 3; j++) {
        CHECK(dchosen[j] < 0 && drejected[j] == -dchosen[j]);
        CHECK(twice_chosen[j] == 2*dchosen[j] && twice_rejected[j] == 2*drejected[j]);
    }
}

static void test_a_constant_added_to_all_rewards_changes_nothing(void) {
    const float chosen[2] = {1, -2}, rejected[2] = {-0.5f, 1};
    const float more_chosen[2] = {101, 98}, more_rejected[2] = {99.5f, 101};
    float dchosen[2] = {0};
    float drejected[2] = {0};
    float same_chosen[2] = {0};
    float same_rejected[2] = {0};
    CHECK(reward_bt_loss(dchosen, drejected, chosen, rejected, NULL, NULL, 2) ==
          reward_bt_loss(same_chosen, same_rejected, more_chosen, more_rejected, NULL, NULL, 2));
    for (int j = 0; j < 2; j++) {
        CHECK(dchosen[j] == same_chosen[j]);
        CHECK(drejected[j] == same_rejected[j]);
    }
}

// The release's form: over ordered pairs (i,j) of a row's two answers with different scores, the
// mean of -log sigma(sign(score_j - score_i) (r_j - r_i)).
static void test_the_masked_mean_over_ordered_pairs_is_the_plain_mean_and_ties_have_weight_0(void) {
    enum { n = 4 };
    const float r[n][2] = {{1, 0.5f}, {-1, 2}, {0.3f, 0.3f}, {2, -3}};
    const int score[n][2] = {{1, 0}, {0, 1}, {1, 1}, {1, 0}};
    float chosen[n], rejected[n], weight[n], dchosen[n] = {0}, drejected[n] = {0};
    double sum = 0, count = 0;
    for (int j = 0; j < n; j++) {
        int first = score[j][0] >= score[j][1];
        chosen[j] = r[j][!first];
        rejected[j] = r[j][first];
        weight[j] = score[j][0] == score[j][1] ? 0 : 1/3.0f;
        for (int a = 0; a < 2; a++) {
            int sign = (score[j][1-a] > score[j][a]) - (score[j][1-a] < score[j][a]);
            if (!sign) continue;
            sum += log(1 + exp(-sign * ((double)r[j][1-a] - r[j][a])));
            count++;
        }
    }
    double loss = reward_bt_loss(dchosen, drejected, chosen, rejected, weight, NULL, n);
    CHECK_NEAR(loss, sum / count, 1e-7);
    CHECK(dchosen[2] == 0 && drejected[2] == 0);
    memset(weight, 0, sizeof weight);
    CHECK(reward_bt_loss(dchosen, drejected, chosen, rejected, weight, NULL, n) == 0);
}

static void test_reward_gradients_are_the_finite_differences_with_weight_and_margin(void) {
    enum { n = 4 };
    float reward[2][n] = {{1, -2, 0.25f, 3}, {-0.5f, 1, 0.125f, 3}};   // chosen, rejected
    const float weight[n] = {0.25f, 2, 0.5f, 1}, margin[n] = {0, 1, -0.5f, 0.25f};
    const float h = 0x1p-10f;
    float d[2][n] = {{0}}, unused[2][n] = {{0}};
    reward_bt_loss(d[0], d[1], reward[0], reward[1], weight, margin, n);
    for (int k = 0; k < 2*n; k++) {
        float *x = &reward[k / n][k % n], at = *x;
        *x = at + h;
        double up = reward_bt_loss(unused[0], unused[1], reward[0], reward[1], weight, margin, n);
        *x = at - h;
        double down = reward_bt_loss(unused[0], unused[1], reward[0], reward[1], weight, margin, n);
        *x = at;
        CHECK_NEAR(d[k / n][k % n], (up - down) / (2*h), 5e-7);
    }
}

static void test_a_margin_asks_for_a_larger_difference(void) {
    const float chosen = 2;
    const float rejected = .5f;
    const float margin = 1;
    const float weight = 3;
    float dchosen = 0, drejected = 0;
    double loss = reward_bt_loss(&dchosen, &drejected, &chosen, &rejected, &weight, &margin, 1);
    CHECK_NEAR(loss, 3 * log1p(exp(-.5)), 1e-14);
    CHECK_NEAR(dchosen, -3 / (1 + exp(.5)), 1e-7);
}

static void test_huge_differences_cost_their_size_or_nothing(void) {
    const float won = 1e4f;
    const float lost = -1e4f;
    const float zero = 0;
    float d[4] = {0};
    CHECK(reward_bt_loss(&d[0], &d[1], &won, &zero, NULL, NULL, 1) == 0);
    CHECK(reward_bt_loss(&d[2], &d[3], &lost, &zero, NULL, NULL, 1) == 1e4);
    CHECK(d[0] == 0 && d[2] == -1 && d[3] == 1);
    CHECK(sigmoid(800) == 1 && sigmoid(-800) == 0 && log_sigmoid(-800) == -800);
    for (int i = -40; i <= 40; i++) {
        CHECK_NEAR(sigmoid(i / 4.0), 1 / (1 + exp(-i / 4.0)), 3e-16);
        CHECK_NEAR(log_sigmoid(i / 4.0), -log1p(exp(-i / 4.0)), 3e-15);
    }
}

static void test_lm_loss_is_the_mean_over_scored_rows(void) {
    const int target[4] = {5, -1, 0, 7};
    const float logp[4] = {-1, 0, -2, -4.5f};
    float dlogp[4];
    lm_coefficients(dlogp, target, 4, 3);
    CHECK(dlogp[0] == -1/3.0f && dlogp[1] == 0 && dlogp[2] == -1/3.0f && dlogp[3] == -1/3.0f);
    CHECK_NEAR(lm_loss(logp, 4, 3), 2.5, 1e-15);
}

// ---------------------------------------------------------------------------------------- rankings

enum { MOST = 16 };                                        // answers of a random ranking

// m random scores, and ranks of m answers of which about a third tie with the one before.
static void random_ranking(double *s, float *rank, int m, int test) {
    float place = 1;
    for (int i = 0; i < m; i++) {
        if (i && normal(test, MOST + i) > -.5) place += 1;
        rank[i] = place;
        s[i] = 2 * normal(test, i);
    }
}

// The definition, term by term.
static double defined_loglik(const double *s, const float *rank, int m, int top) {
    double sum = 0;
    for (int i = 0; i < m; i++) {
        int better = 0, worse = 0;
        double total = exp(s[i]);
        for (int j = 0; j < m; j++) {
            better += rank[j] < rank[i];
            worse += rank[j] > rank[i];
            if (rank[j] > rank[i]) total += exp(s[j]);
        }
        if (worse && (!top || better < top)) sum += s[i] - log(total);
    }
    return sum;
}

static void test_choices_of_the_specifications_scores(void) {
    const double best_first[3] = {.5, -.2, .1}, in_order[3] = {.5, .1, -.2};
    const float best[3] = {1, 2, 2}, order[3] = {1, 2, 3};
    CHECK_NEAR(choice_loglik(NULL, best_first, best, 3, 0, 1), -.773300, 5e-7);
    CHECK_NEAR(choice_loglik(NULL, in_order, order, 3, 0, 1), -1.327655, 5e-7);
    // the first factor of a full ranking is the choice of the best
    CHECK_NEAR(choice_loglik(NULL, in_order, order, 3, 1, 1), -.773300, 5e-7);
    CHECK(choice_loglik(NULL, in_order, order, 3, 2, 1)
          == choice_loglik(NULL, in_order, order, 3, 0, 1));
}

static void test_equal_scores_cost_the_logarithm_of_the_orders(void) {
    const double s[MOST] = {0};
    float order[MOST], best[MOST];
    double log_factorial = 0;
    for (int i = 0; i < MOST; i++) {
        order[i] = (float)i;
        best[i] = i > 0;
    }
    for (int m = 2; m <= MOST; m++) {
        log_factorial += log(m);
        CHECK_NEAR(choice_loglik(NULL, s, order, m, 0, 1), -log_factorial, 1e-13);
        CHECK_NEAR(choice_loglik(NULL, s, best, m, 0, 1), -log(m), 1e-14);
        double first_three = 0;
        for (int t = 0; t < 3 && t < m; t++) first_three -= log(m - t);
        CHECK_NEAR(choice_loglik(NULL, s, order, m, 3, 1), first_three, 1e-13);
    }
}

static void test_two_answers_cost_to_the_last_bit_what_a_pair_costs(void) {
    const float rank[2] = {1, 2};
    for (int n = 0; n < 2000; n++) {
        const float r[2] = {(float)(3 * normal(20000 + n, 0)), (float)(3 * normal(20000 + n, 1))};
        const float weight = (float)fabs(normal(20000 + n, 2));
        float d[2] = {0}, of_pair[2] = {0};
        const double loss = reward_choice_loss(d, r, rank, 2, 0, weight);
        CHECK(loss == reward_bt_loss(&of_pair[0], &of_pair[1], &r[0], &r[1], &weight, NULL, 1));
        CHECK(d[0] == of_pair[0] && d[1] == of_pair[1]);

        const float ref_logp[2] = {(float)normal(20000 + n, 3), (float)normal(20000 + n, 4)};
        const LossSettings s = {.beta = .1 + fabs(normal(20000 + n, 5))};
        float dlogp[2] = {0}, dlogp_of_pair[2] = {0};
        LossBatch b = {.B = 1, .m = 2, .rank = rank, .logp = r, .ref_logp = ref_logp,
                       .weight = &weight, .dlogp = dlogp};
        LossBatch pair = b;
        pair.rank = NULL;
        pair.dlogp = dlogp_of_pair;
        CHECK(dpo_loss(&b, &s) == dpo_loss(&pair, &s));
        CHECK(dlogp[0] == dlogp_of_pair[0] && dlogp[1] == dlogp_of_pair[1]);
    }
}

static void test_choices_are_their_definition_and_their_gradient_the_finite_difference(void) {
    const double h = 0x1p-16;
    for (int m = 2; m <= MOST; m++) {
        for (int n = 0; n < 20; n++) {
            const int top = n % 4;                         // 0: all
            const double weight = .5 + n;
            double s[MOST], ds[MOST] = {0}, sum = 0;
            float rank[MOST];
            random_ranking(s, rank, m, 30000 + 100*m + n);
            const double want = defined_loglik(s, rank, m, top);
            CHECK_NEAR(choice_loglik(ds, s, rank, m, top, weight), want, 1e-13 * (1 + fabs(want)));
            for (int k = 0; k < m; k++) {
                const double at = s[k];
                s[k] = at + h;
                const double up = choice_loglik(NULL, s, rank, m, top, 1);
                s[k] = at - h;
                const double down = choice_loglik(NULL, s, rank, m, top, 1);
                s[k] = at;
                CHECK_NEAR(ds[k], weight * (up - down) / (2*h), 1e-8 * weight);
                sum += ds[k];
            }
            CHECK_NEAR(sum, 0, 1e-13 * weight);            // a constant added changes nothing
        }
    }
}

static void test_the_curvature_of_choices_is_the_finite_difference_of_their_gradient(void) {
    const double h = 0x1p-16;
    for (int m = 2; m <= MOST; m++) {
        for (int n = 0; n < 20; n++) {
            const int top = n % 4;
            const double weight = .5 + n;
            double s[MOST], H[MOST * MOST] = {0};
            float rank[MOST];
            random_ranking(s, rank, m, 30000 + 100*m + n);
            choice_curvature(H, s, rank, m, top, weight);
            for (int k = 0; k < m; k++) {
                const double at = s[k];
                double up[MOST] = {0}, down[MOST] = {0};
                s[k] = at + h;
                choice_loglik(up, s, rank, m, top, 1);
                s[k] = at - h;
                choice_loglik(down, s, rank, m, top, 1);
                s[k] = at;
                for (int j = 0; j < m; j++) {
                    CHECK_NEAR(H[k*m + j], weight * (down[j] - up[j]) / (2*h), 1e-8 * weight);
                    CHECK_NEAR(H[k*m + j], H[j*m + k], 1e-15 * weight);
                }
            }
        }
    }
}

static void test_the_gradient_of_a_ranked_policy_is_the_finite_difference(void) {
    enum { B = 3, m = 5 };
    const float rank[B*m] = {1, 2, 3, 4, 5,  1, 2, 2, 2, 2,  1, 1, 2, 3, 3}, h = 0x1p-10f;
    const float weight[B] = {1, .25f, 3};
    float logp[B*m], ref_logp[B*m], dlogp[B*m] = {0}, unused[B*m] = {0};
    LossBatch b = {.B = B, .m = m, .rank = rank, .logp = logp, .ref_logp = ref_logp,
                   .weight = weight, .dlogp = dlogp};
    for (int top = 0; top < 4; top++) {
        const LossSettings s = {.beta = .3, .top = top};
        for (int k = 0; k < B*m; k++) {
            logp[k] = -8 - 0x1p-6f * (float)rint(64 * normal(40000, k));
            ref_logp[k] = -8 - 0x1p-6f * (float)rint(64 * normal(40001, k));
        }
        memset(dlogp, 0, sizeof dlogp);
        b.dlogp = dlogp;
        dpo_loss(&b, &s);
        b.dlogp = unused;
        for (int k = 0; k < B*m; k++) {
            const float at = logp[k];
            logp[k] = at + h;
            const double up = dpo_loss(&b, &s);
            logp[k] = at - h;
            const double down = dpo_loss(&b, &s);
            logp[k] = at;
            CHECK_NEAR(dlogp[k], (up - down) / (2*h), 1e-6);
        }
    }
}

static void test_answers_that_are_not_compared_cost_nothing_and_ties_share_a_place(void) {
    const double s[4] = {3, -1, 2, .5};
    const float equal[4] = {7, 7, 7, 7}, two_best[4] = {1, 1, 2, 2};
    double ds[4] = {0};
    CHECK(choice_loglik(ds, s, equal, 4, 0, 1) == 0 && ds[0] == 0 && ds[3] == 0);
    // both of the best are compared with both of the rest, with top 1 too
    const double rest = exp(2) + exp(.5);
    const double want = 3 - log(exp(3) + rest) + -1 - log(exp(-1) + rest);
    CHECK_NEAR(choice_loglik(NULL, s, two_best, 4, 0, 1), want, 1e-14);
    CHECK_NEAR(choice_loglik(NULL, s, two_best, 4, 1, 1), want, 1e-14);
}

static void test_huge_scores_of_a_ranking_cost_their_size_or_nothing(void) {
    const double s[3] = {1e4, 0, -1e4}, turned[3] = {-1e4, 0, 1e4};
    const float order[3] = {1, 2, 3};
    double ds[3] = {0};
    CHECK(choice_loglik(ds, s, order, 3, 0, 1) == 0 && ds[0] == 0 && ds[2] == 0);
    CHECK(choice_loglik(ds, turned, order, 3, 0, 1) == -3e4);
    CHECK(ds[0] == 1 && ds[1] == 1 && ds[2] == -2);
}

// ---------------------------------------------------------------------------------------- policies

// The row of a loss by its name, or NULL.
static const struct LossRow *loss_named(const char *name) {
    for (int i = 0; i < NUM_LOSSES; i++) {
        if (!strcmp(losses[i].name, name)) return &losses[i];
    }
    return NULL;
}

static double between(double low, double high, int test, int i) {
    uint64_t u = random_u64(2, STREAM_TEST, (uint64_t)test, (uint64_t)i);
    return low + (high - low) * (double)u * 0x1p-64;
}

// Settings of row at random; its labels are continuous in every other test, where it can have such.
static LossSettings random_settings(const struct LossRow *row, int test) {
    const LossSettings *low = &row->low, *high = &row->high;
    return (LossSettings){
        .beta               = between(low->beta, high->beta, test, 0),
        .label_smoothing    = between(low->label_smoothing, high->label_smoothing, test, 1),
        .simpo_gamma        = between(low->simpo_gamma, high->simpo_gamma, test, 2),
        .log_z              = between(low->log_z, high->log_z, test, 3),
        .desirable_weight   = between(low->desirable_weight, high->desirable_weight, test, 4),
        .undesirable_weight = between(low->undesirable_weight, high->undesirable_weight, test, 5),
        .kl                 = between(low->kl, high->kl, test, 6),
        .clip_range         = between(low->clip_range, high->clip_range, test, 7),
        .demo_share         = between(low->demo_share, high->demo_share, test, 8),
        .continuous         = high->continuous && test % 2,
    };
}

// What a loss is given.  batch points to the arrays beside it, so that a Case is not copied.
enum { MAX_PAIRS = 8 };
typedef struct {
    LossBatch batch;
    LossSettings settings;
    float logp[2*MAX_PAIRS], ref_logp[2*MAX_PAIRS], old_logp[2*MAX_PAIRS], dlogp[2*MAX_PAIRS];
    float label[MAX_PAIRS], weight[MAX_PAIRS];
    unsigned char demo[MAX_PAIRS];
} Case;

// B texts or pairs of zeros
static void case_clear(Case *c, int B) {
    memset(c, 0, sizeof *c);
    c->batch = (LossBatch){.B = B, .logp = c->logp, .ref_logp = c->ref_logp,
                           .old_logp = c->old_logp, .weight = c->weight, .label = c->label,
                           .demo = c->demo, .dlogp = c->dlogp};
}

// soft labels, log-probabilities below -1/4, all in multiples of 2^-16 so that steps of 2^-16 are
// exact
static void random_case(Case *c, const struct LossRow *row, int test) {
    case_clear(c, MAX_PAIRS);
    c->settings = random_settings(row, test);
    for (int k = 0; k < 2*MAX_PAIRS; k++) {
        c->logp[k]     = (float)(-.25 - rint(fabs(normal(test, k)) * 0x1p17) * 0x1p-16);
        c->ref_logp[k] = (float)(-.25 - rint(fabs(normal(test + 1, k)) * 0x1p17) * 0x1p-16);
        c->old_logp[k] = c->logp[k] + (float)(normal(test + 3, k) / 2);    // near the clip's edges
    }
    for (int j = 0; j < MAX_PAIRS; j++) {
        c->label[j] = (float)j / (MAX_PAIRS - 1);
        if (row->advantages) c->label[j] = 2 * c->label[j] - 1;
        c->weight[j] = (float)fabs(normal(test + 2, j));
        c->demo[j] = j % 3 == 0;
    }
}

// (L(logp_k + h) - L(logp_k - h)) / 2h
static double difference_quotient(const struct LossRow *row, const Case *c, int k) {
    const float h = 0x1p-16f;
    Case moved = *c;
    moved.batch.logp = moved.logp;
    moved.batch.dlogp = moved.dlogp;
    moved.logp[k] = c->logp[k] + h;
    double up = row->loss(&moved.batch, &moved.settings);
    moved.logp[k] = c->logp[k] - h;
    double down = row->loss(&moved.batch, &moved.settings);
    return (up - down) / (2*h);
}

static void test_every_policy_gradient_is_the_finite_difference(void) {
    for (int i = 0; i < NUM_LOSSES; i++) {
        const struct LossRow *row = &losses[i];
        for (int n = 0; n < 40; n++) {
            Case c;
            random_case(&c, row, 10000 + 200*i + 5*n);
            row->loss(&c.batch, &c.settings);
            for (int k = 0; k < (row->pairs ? 2 : 1) * MAX_PAIRS; k++) {
                double want = difference_quotient(row, &c, k);
                CHECK_NEAR(c.dlogp[k], want, 1e-7 * (1 + fabs(want)));
            }
        }
    }
}

static void test_without_weights_they_are_one_and_gradients_are_added(void) {
    for (int i = 0; i < NUM_LOSSES; i++) {
        Case c;
        float once[2*MAX_PAIRS];
        random_case(&c, &losses[i], 12500 + 10*i);
        for (int j = 0; j < MAX_PAIRS; j++) c.weight[j] = 1;
        double loss = losses[i].loss(&c.batch, &c.settings);
        memcpy(once, c.dlogp, sizeof once);

        memset(c.dlogp, 0, sizeof c.dlogp);
        c.batch.weight = NULL;
        for (int n = 0; n < 2; n++) CHECK(losses[i].loss(&c.batch, &c.settings) == loss);
        for (int k = 0; k < 2*MAX_PAIRS; k++) CHECK(c.dlogp[k] == 2*once[k]);
    }
}

static void test_no_texts_and_weight_0_cost_nothing(void) {    // so an empty class is no NaN
    for (int i = 0; i < NUM_LOSSES; i++) {
        Case c;
        random_case(&c, &losses[i], 13000 + 10*i);
        memset(c.weight, 0, sizeof c.weight);
        CHECK(losses[i].loss(&c.batch, &c.settings) == 0);
        c.batch.B = 0;
        CHECK(losses[i].loss(&c.batch, &c.settings) == 0);
        for (int k = 0; k < 2*MAX_PAIRS; k++) CHECK(c.dlogp[k] == 0);
    }
}

static void test_extremes_do_not_overflow(void) {
    const float extreme[5] = {-1e4f, -1, -1e-7f, -1e-30f, 0};
    for (int i = 0; i < NUM_LOSSES; i++) {
        for (int k = 0; k < 625; k++) {
            for (int z = 0; z < 6; z++) {
                Case c;
                case_clear(&c, 1);
                c.batch.weight = NULL;
                c.settings = z < 3 ? losses[i].low : losses[i].high;
                c.label[0] = (float)(z % 3) / 2;
                if (losses[i].advantages) c.label[0] = (float)(z % 3) - 1;
                c.logp[0] = extreme[k % 5];
                c.logp[1] = extreme[k/5 % 5];
                c.ref_logp[0] = extreme[k/25 % 5];
                c.ref_logp[1] = extreme[k/125];
                c.old_logp[0] = c.ref_logp[1];
                CHECK(isfinite(losses[i].loss(&c.batch, &c.settings)));
                CHECK(isfinite(c.dlogp[0]) && isfinite(c.dlogp[1]));
            }
        }
    }
}

static void test_huge_rewards_cost_their_size_or_nothing(void) {
    const float logp[2] = {0, -1e4f}, ref_logp[2] = {-1e4f, 0};
    const float label[2] = {1, 0}, other[2] = {0, 1};
    float d[2] = {0}, zero[2] = {0};
    LossBatch points = {.B = 2, .logp = logp, .ref_logp = ref_logp, .label = label, .dlogp = d};
    LossSettings one = {.beta = 1}, half = {.beta = .5};
    CHECK(pointwise_dpo_loss(&points, &one) == 0 && d[0] == 0 && d[1] == 0);
    points.label = other;
    CHECK(pointwise_dpo_loss(&points, &one) == 2e4 && d[0] == 1 && d[1] == -1);

    LossBatch won = {.B = 1, .logp = logp, .ref_logp = ref_logp, .dlogp = zero};
    LossBatch lost = {.B = 1, .logp = ref_logp, .ref_logp = logp, .dlogp = zero};
    CHECK(dpo_loss(&won, &half) == 0 && zero[0] == 0 && zero[1] == 0);
    CHECK(dpo_loss(&lost, &half) == 1e4 && zero[0] == -.5f && zero[1] == .5f);
}

// The number of a key of object, 0 without the key.
static double number_of(const Json *json, int object, const char *key) {
    return json_number(json, json_get(json, object, key));
}

static void numbers_of(double *out, const Json *json, int object, const char *key) {
    for (int i = json_first(json, json_get(json, object, key)); i >= 0; i = json_next(json, i)) {
        *out++ = json_number(json, i);
    }
}

// The arrays and settings of one case of the file, which has the chosen texts of all pairs before
// the rejected ones; the gradient that is wanted (2*MAX_PAIRS) is put in the order of the case.
static void case_of_json(Case *c, double *gradient, const struct LossRow *row, const Json *json,
                         int at) {
    double logp[2*MAX_PAIRS] = {0};
    double ref_logp[2*MAX_PAIRS] = {0};
    double old_logp[2*MAX_PAIRS] = {0};
    double slope[2*MAX_PAIRS] = {0};
    double label[2*MAX_PAIRS] = {0};
    double demo[2*MAX_PAIRS] = {0};
    double weight[2*MAX_PAIRS] = {0};
    int B = json_count(json, json_get(json, at, "weight"));
    int settings = json_get(json, at, "settings");
    numbers_of(logp, json, at, "logp");
    numbers_of(ref_logp, json, at, "ref");
    numbers_of(old_logp, json, at, "old");
    numbers_of(label, json, at, "label");
    numbers_of(demo, json, at, "is_demo");
    numbers_of(weight, json, at, "weight");
    numbers_of(slope, json, at, "gradient");

    case_clear(c, B);
    c->settings = (LossSettings){
        .beta               = number_of(json, settings, "beta"),
        .label_smoothing    = number_of(json, settings, "label_smoothing"),
        .simpo_gamma        = number_of(json, settings, "simpo_gamma"),
        .log_z              = number_of(json, settings, "log_z"),
        .desirable_weight   = number_of(json, settings, "desirable_weight"),
        .undesirable_weight = number_of(json, settings, "undesirable_weight"),
        .kl                 = number_of(json, settings, "kl"),
        .clip_range         = number_of(json, settings, "clip_range"),
        .demo_share         = number_of(json, settings, "demo_share"),
        .continuous         = number_of(json, settings, "continuous") != 0,
    };
    for (int k = 0; k < (row->pairs ? 2*B : B); k++) {
        int from = row->pairs ? k/2 + k%2 * B : k;
        c->logp[k] = (float)logp[from];
        c->ref_logp[k] = (float)ref_logp[from];
        c->old_logp[k] = (float)old_logp[from];
        gradient[k] = slope[from];
    }
    for (int j = 0; j < B; j++) {
        c->label[j] = (float)label[j];
        c->weight[j] = (float)weight[j];
        c->demo[j] = demo[j] != 0;
    }
}

static void test_policy_losses_agree_with_an_independent_program(void) {
    const char *path = "test/golden/policy_losses.json";
    Json json = {0};
    Buffer b = {0};
    int cases[NUM_LOSSES] = {0}, total = 0;
    CHECK(!loss_named("no such loss"));
    CHECK(file_read(&b, path) == 0 && json_parse(&json, b.data, b.len, path) == 0);
    if (test_bad) goto done;
    for (int at = json_first(&json, 0); at >= 0; at = json_next(&json, at)) {
        const char *name = json_string(&json, json_get(&json, at, "objective"));
        const struct LossRow *row = loss_named(name);
        CHECK(row);                                        // or the file's loss has no row above
        if (!row) goto done;
        double gradient[2*MAX_PAIRS] = {0}, loss = number_of(&json, at, "loss");
        Case c;
        case_of_json(&c, gradient, row, &json, at);
        CHECK_NEAR(row->loss(&c.batch, &c.settings), loss, 1e-13 * fabs(loss));
        for (int k = 0; k < 2*MAX_PAIRS; k++) {
            CHECK_NEAR(c.dlogp[k], gradient[k], 6e-8 * fabs(gradient[k]) + 1e-40);
        }
        cases[row - losses]++;
        total++;
    }
    CHECK(total == 28);
    for (int i = 0; i < NUM_LOSSES; i++) {
        if (cases[i]) continue;
        printf("    %s: no such numbers yet (scripts/golden_loss.py)\n", losses[i].name);
    }
done:
    json_free(&json);
    free(b.data);
}

static void test_a_policy_that_is_its_reference_costs_log_2(void) {
    const float logp[4] = {-3, -40, -.5f, -7}, label[4] = {1, 0, 1, 0};
    const float score[4] = {.5f, -1, 2, .25f};
    const float half[4] = {.5f, .5f, .5f, .5f}, quarter[4] = {.25f, .25f, .25f, .25f};
    const unsigned char demo[4] = {1, 0, 1, 0};
    float d[4] = {0};
    LossBatch points = {.B = 4, .logp = logp, .ref_logp = logp, .label = label, .demo = demo,
                        .dlogp = d};
    LossSettings s = {.beta = .1, .desirable_weight = 1, .undesirable_weight = 1};
    CHECK_NEAR(pointwise_dpo_loss(&points, &s), 4 * log(2), 1e-14);
    for (int j = 0; j < 4; j++) CHECK_NEAR(d[j], label[j] ? -.05 : .05, 1e-9);  // -+beta/2
    points.weight = half;                                  // class means
    CHECK_NEAR(pointwise_dpo_loss(&points, &s), 2 * log(2), 1e-14);
    CHECK_NEAR(ulma_loss(&points, &s), 1.75 + log(2), 1e-14);
    points.weight = quarter;
    CHECK_NEAR(kto_loss(&points, &s), .5, 1e-15);
    CHECK(kto_kl(logp, logp, 4) == 0);
    points.label = score;
    s.continuous = 1;
    CHECK_NEAR(pointwise_dpo_loss(&points, &s), (.25 + 1 + 4 + .0625) / 4, 1e-14);  // mean z^2

    LossBatch pairs = {.B = 2, .logp = logp, .ref_logp = logp, .weight = half, .dlogp = d};
    for (int e = 0; e < 3; e++) {
        s.label_smoothing = e / 4.0;
        CHECK_NEAR(dpo_loss(&pairs, &s), log(2), 1e-15);
    }
    CHECK_NEAR(ipo_loss(&pairs, &s), 25, 1e-13);
}

// ref (K,2) clipped, weighed and mixed as asked: compared with a (K), mixed (2), and of the
// specification's pair the loss and gradient of DPO.
static void check_mixture(double *ref, int K, double width, MixWeights how, const double *want_a,
                          const double *want_mixed, double want_loss, double want_gradient,
                          double error) {
    const float logp[2] = {-20, -25};
    float mixed[2], dlogp[2] = {0, 0};
    double a[3];
    mrpo_weights(a, ref, K, 2, how);
    mrpo_clip(ref, K, 2, width);
    for (int i = 0; i < K; i++) CHECK_NEAR(a[i], want_a[i], error);
    for (int k = 0; k < 2; k++) {
        const double x = mrpo_reference(ref, a, K, 2, k);
        CHECK_NEAR(x, want_mixed[k], 25 * error);
        mixed[k] = (float)x;
    }
    const LossBatch b = {.B = 1, .logp = logp, .ref_logp = mixed, .dlogp = dlogp};
    CHECK_NEAR(dpo_loss(&b, &(LossSettings){.beta = .1}), want_loss, 1e-6);
    CHECK_NEAR(dlogp[0], want_gradient, 1e-6);
}

static void test_mixed_references_of_the_specification_and_of_an_independent_program(void) {
    const double two[4] = {-22, -24, -21, -26}, half[2] = {.5, .5};
    const double half_mixed[2] = {-21.62011450695828, -25.43378083048303};
    double ref[6];
    memcpy(ref, two, sizeof two);
    check_mixture(ref, 2, HUGE_VAL, MIX_EQUAL, half, half_mixed, 0.635589, -0.047037639, 1e-15);
    CHECK_NEAR((-20 - half_mixed[0]) - (-25 - half_mixed[1]), 1.186334, 5e-7);

    const double adaptive[2] = {2 / 7.0, 5 / 7.0};
    const double adaptive_mixed[2] = {-21.399405227580694, -25.71624744761839};
    memcpy(ref, two, sizeof two);
    check_mixture(ref, 2, HUGE_VAL, MIX_ADAPTIVE, adaptive, adaptive_mixed, 0.659572559,
                  -0.048292769, 1e-15);
    double swapped[2];
    mrpo_weights(swapped, two, 2, 2, MIX_SWAPPED);
    CHECK(swapped[0] == adaptive[1] && swapped[1] == adaptive[0]);

    // three, the second of which is too far from the first
    const double weights_of_three[3] = {0.1568627450980392, 0.6666666666666666,
                                        0.17647058823529413};
    const double mixed_of_three[2] = {-21.536192517226237, -25.07099630022383};
    const double clipped[6] = {-22, -24, -21.00071813285458, -25.309874326750453, -22.25, -24.5};
    double three[6] = {-22, -24, -19, -27.5, -22.25, -24.5}, again[6];
    memcpy(again, three, sizeof three);
    CHECK(mrpo_clip(again, 3, 2, .1) == 2);
    for (int i = 0; i < 6; i++) CHECK_NEAR(again[i], clipped[i], 1e-14);
    check_mixture(three, 3, .1, MIX_ADAPTIVE, weights_of_three, mixed_of_three, 0.622568473,
                  -0.0463435, 1e-15);
}

static void test_one_reference_or_equal_ones_are_their_own_mixture(void) {
    double ref[6] = {-300.25, -9000, -300.25, -9000, -300.25, -9000}, a[3];
    for (int K = 1; K <= 3; K++) {
        for (int how = 0; how < NUM_MIXES; how++) {
            mrpo_weights(a, ref, K, 2, (MixWeights)how);
            CHECK(mrpo_clip(ref, K, 2, .1) == 0);
            for (int k = 0; k < 2; k++) {
                CHECK_NEAR(mrpo_reference(ref, a, K, 2, k), ref[k], K < 3 ? 0 : 1e-12);
            }
        }
    }
    // far apart: the least probable alone, whose weight is left of 1
    const double far[2] = {-1e4, 0}, quarter[2] = {.25, .75}, none[2] = {0, 1};
    CHECK_NEAR(mrpo_reference(far, quarter, 2, 1, 0), -1e4 - log(.25), 1e-11);
    CHECK(mrpo_reference(far, none, 2, 1, 0) == 0);

    // nothing tells the answers apart: alike
    const double flat[4] = {-3, -3, -5, -5};
    mrpo_weights(a, flat, 2, 2, MIX_ADAPTIVE);
    CHECK(a[0] == .5 && a[1] == .5);
}

static void test_a_base_response_costs_the_square_of_its_log_ratio_for_a_token(void) {
    const double h = 0x1p-16;
    double slope, unused;
    CHECK(bapo_loss(&slope, -20, -20, 8) == 0 && slope == 0);
    CHECK(bapo_loss(&slope, -20, -24, 8) == .25 && slope == .125);
    CHECK(bapo_loss(&slope, -24, -20, 8) == .25 && slope == -.125);
    for (int k = 0; k < 20; k++) {
        const double logp = -30 + 5 * normal(900, k), ref_logp = -30 + 5 * normal(901, k);
        bapo_loss(&slope, logp, ref_logp, k + 1);
        const double up = bapo_loss(&unused, logp + h, ref_logp, k + 1);
        const double down = bapo_loss(&unused, logp - h, ref_logp, k + 1);
        CHECK_NEAR(slope, (up - down) / (2*h), 1e-9);
    }
}

static void test_a_level_costs_the_log_of_how_many_there_are_where_nothing_tells_them_apart(void) {
    const double h = 0x1p-16, flat[4] = {7, 7, 7, 7};
    double slope[4], unused[4], z[4];
    for (int level = 0; level < 4; level++) {
        CHECK_NEAR(level_loss(slope, flat, 4, level), log(4), 1e-15);
        for (int k = 0; k < 4; k++) CHECK_NEAR(slope[k], .25 - (k == level), 1e-15);
    }
    CHECK_NEAR(level_loss(slope, (double[]){-1e6, 1e6}, 2, 0), 2e6, 1e-9);
    CHECK(slope[0] == -1 && slope[1] == 1);
    for (int i = 0; i < 20; i++) {
        const int level = i % 4;
        for (int k = 0; k < 4; k++) z[k] = 3 * normal(910, 4 * i + k);
        level_loss(slope, z, 4, level);
        for (int k = 0; k < 4; k++) {
            const double at = z[k];
            z[k] = at + h;
            const double up = level_loss(unused, z, 4, level);
            z[k] = at - h;
            const double down = level_loss(unused, z, 4, level);
            z[k] = at;
            CHECK_NEAR(slope[k], (up - down) / (2*h), 1e-9);
        }
    }
}

// alpha from 1/n on, of the losses (2,n)
static void check_groups(const double *loss, double step, int n, const double *want, double error) {
    double log_alpha[3] = {0}, alpha[3];
    for (int s = 0; s < 2; s++) {
        double sum = 0;
        group_alpha(alpha, log_alpha, loss + s * n, step, n);
        for (int k = 0; k < n; k++) {
            CHECK_NEAR(alpha[k], want[s * n + k], error);
            sum += alpha[k];
        }
        CHECK_NEAR(sum, 1, 1e-15);
    }
}

static void test_group_weights_are_those_of_the_specification_and_of_an_independent_program(void) {
    const double two[4] = {.9, .6, 0, 0}, of_two[4] = {.537430, .462570, .537430, .462570};
    const double three[6] = {.9, .6, 0, .25, 2.5, 1};
    const double of_three[6] = {0.40026639681258097, 0.3445124804315058, 0.25522112275591324,
                                0.21839255362355567, 0.5789951772895314, 0.20261226908691296};
    check_groups(two, .5, 2, of_two, 5e-7);
    check_groups(three, .5, 3, of_three, 1e-15);
    CHECK_NEAR(.9 * of_two[0] + .6 * of_two[1], .761229, 5e-7);
}

static void test_group_weights_go_to_the_worst_group_and_do_not_overflow(void) {
    const double loss[3] = {.5, .75, .25}, huge[3] = {1e300, -1e300, 1e299};
    double log_alpha[3] = {0}, alpha[3];
    for (int s = 0; s < 200; s++) group_alpha(alpha, log_alpha, loss, 1, 3);
    CHECK_NEAR(alpha[1], 1, 1e-15);
    CHECK(alpha[0] > alpha[2] && alpha[2] > 0);
    group_alpha(alpha, log_alpha, huge, 1, 3);
    CHECK(alpha[0] == 1 && alpha[1] == 0 && alpha[2] == 0);
    group_alpha(alpha, log_alpha, loss, 1, 3);
    CHECK(alpha[0] == 1);

    // without a step they stay
    for (int k = 0; k < 3; k++) log_alpha[k] = 0;
    group_alpha(alpha, log_alpha, loss, 0, 3);
    CHECK(alpha[0] == alpha[1] && alpha[1] == alpha[2]);
}

static void test_pointwise_losses_of_the_specifications_texts(void) {
    const float logp[2] = {-40, -60}, ref_logp[2] = {-42, -50};
    const double want[2][2] = {{.798139, .598139}, {.313262, 1.313262}};  // by text, by label
    const double gradient[2][2] = {{.054983, -.045017}, {.026894, -.073106}};
    LossSettings s = {.beta = .1};
    for (int j = 0; j < 2; j++) {
        for (int z = 0; z < 2; z++) {
            float d = 0, label = (float)z;
            LossBatch b = {.B = 1, .logp = &logp[j], .ref_logp = &ref_logp[j], .label = &label,
                           .dlogp = &d};
            CHECK_NEAR(pointwise_dpo_loss(&b, &s), want[j][z], 1e-6);
            CHECK_NEAR(d, gradient[j][z], 1e-6);
        }
    }
    CHECK_NEAR(implicit_reward(-40, -42, .1), .2, 1e-15);
    CHECK_NEAR(implicit_reward(-60, -50, .1), -1, 1e-15);
}

static void test_losses_of_the_specifications_pair(void) {
    const float logp[2] = {-20, -25};
    const float ref_logp[2] = {-22, -24};
    const float label[2] = {1, 0};
    const float mean[2] = {-2, -25.f / 12};                // over 10 and 12 tokens
    float d[2] = {0};
    LossBatch pair = {.B = 1, .logp = logp, .ref_logp = ref_logp, .dlogp = d};
    LossSettings s = {.beta = .1, .desirable_weight = 1, .undesirable_weight = 1, .kl = .5};
    CHECK_NEAR(dpo_loss(&pair, &s), .554355, 1e-6);
    CHECK_NEAR(d[0], -.1 / (1 + exp(.3)), 1e-8);           // -beta sigma(-u)
    CHECK_NEAR(ipo_loss(&pair, &s), 4, 1e-13);
    for (int z = 0; z < 2; z++) {
        LossBatch text = {.B = 1, .logp = &logp[z], .ref_logp = &ref_logp[z], .label = &label[z],
                          .dlogp = d};
        CHECK_NEAR(kto_loss(&text, &s), .462570, 1e-6);
    }
    pair.logp = mean;
    CHECK_NEAR(orpo_loss(&pair, &s), 2.064641, 1e-6);
    CHECK_NEAR(simpo_loss(&pair, &(LossSettings){.beta = 2, .simpo_gamma = 1}), 1.194218, 1e-6);
}

// Point-wise DPO of one text without a weight; the slope in logp goes to *d.
static double pointwise_of(float *d, float logp, float ref_logp, float label, LossSettings s) {
    LossBatch b = {.B = 1, .logp = &logp, .ref_logp = &ref_logp, .label = &label, .dlogp = d};
    *d = 0;
    return pointwise_dpo_loss(&b, &s);
}

static void test_labels_1_and_0_are_mirror_images(void) {
    const LossSettings half = {.beta = .5};
    for (int n = 0; n < 50; n++) {
        float logp = (float)normal(12000, n) - 3, ref_logp = (float)normal(12001, n) - 3;
        float up, mirror, down, between_them;
        double positive = pointwise_of(&up, logp, ref_logp, 1, half);
        double mirrored = pointwise_of(&mirror, ref_logp, logp, 0, half);
        double negative = pointwise_of(&down, logp, ref_logp, 0, half);
        double soft = pointwise_of(&between_them, logp, ref_logp, .25f, half);
        CHECK(positive == mirrored && up == -mirror && up < 0 && down > 0);
        CHECK_NEAR(negative - positive, implicit_reward(logp, ref_logp, .5), 1e-14);  // s
        CHECK_NEAR(down - up, .5, 1e-7);                   // beta
        CHECK_NEAR(soft, .25 * positive + .75 * negative, 1e-14);
        CHECK_NEAR(between_them, .25 * up + .75 * down, 1e-7);
    }
}

// the table of gradients in s: imitation does not fade, the others stop where sigma(s) says so
static void test_gradients_have_the_limits_of_their_table(void) {
    const float s[3] = {-60, 0, 60};
    const float zero[3] = {0};
    const float one[3] = {1, 1, 1};
    const unsigned char demo[3] = {1, 1, 1};
    const LossSettings half = {.beta = .5};
    float up[3] = {0};
    float down[3] = {0};
    float imitated[3] = {0};
    float liked[3] = {0};
    float disliked[3] = {0};
    LossBatch b = {.B = 3, .logp = s, .ref_logp = zero, .demo = demo};
    b.label = one;
    b.dlogp = up;
    pointwise_dpo_loss(&b, &half);
    b.dlogp = imitated;
    ulma_loss(&b, &half);
    b.dlogp = liked;
    unlikelihood_loss(&b, &half);
    b.label = zero;
    b.dlogp = down;
    pointwise_dpo_loss(&b, &half);
    b.dlogp = disliked;
    unlikelihood_loss(&b, &half);
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(up[k], (k - 2) / 4.0, 1e-12);           // -beta sigma(-s)
        CHECK_NEAR(down[k], k / 4.0, 1e-12);               //  beta sigma(s)
        CHECK(imitated[k] == -1 && liked[k] == -1 && disliked[k] == 1);
    }
    CHECK_NEAR(up[2],  -exp(-30) / 2, exp(-30) * 1e-7);    // and nothing cancels
    CHECK_NEAR(down[0], exp(-30) / 2, exp(-30) * 1e-7);
}

static void test_ulma_is_imitation_of_demonstrations_and_pointwise_dpo_of_the_rest(void) {
    enum { n = 3 };
    const float logp[n] = {-3, -11, -2.5f};
    const float ref_logp[n] = {-4, -9, -2};
    const float label[n] = {1, 0, .5f};
    const float weight[n] = {1.f/n, 1.f/n, 1.f/n};
    const unsigned char all[n] = {1, 1, 1};
    const unsigned char none[n] = {0};
    const unsigned char first[n] = {1, 0, 0};
    const int target[n] = {0, 0, 0};
    float d[n] = {0};
    float want[n] = {0};
    float imitated[n] = {0};
    LossBatch b = {.B = n, .logp = logp, .ref_logp = ref_logp, .weight = weight, .label = label,
                   .demo = all, .dlogp = d};
    LossSettings s = {.beta = .1, .log_z = .5};
    lm_coefficients(want, target, n, n);
    CHECK_NEAR(ulma_loss(&b, &s), lm_loss(logp, n, n), 1e-6);
    CHECK(!memcmp(d, want, sizeof d));
    b.dlogp = imitated;
    sft_loss(&b, &s);
    CHECK(!memcmp(imitated, want, sizeof d));

    for (s.continuous = 0; s.continuous < 2; s.continuous++) {
        float plain[n] = {0};
        float rest[n] = {0};
        float mixed[n] = {0};
        b.weight = weight;
        b.demo = none;
        b.dlogp = rest;
        double loss = ulma_loss(&b, &s);
        b.dlogp = plain;
        CHECK(loss == pointwise_dpo_loss(&b, &s));
        CHECK(!memcmp(rest, plain, sizeof rest));

        b.weight = NULL;                                   // the two, side by side
        b.demo = first;
        b.dlogp = mixed;
        loss = ulma_loss(&b, &s);
        memset(plain, 0, sizeof plain);
        LossBatch others = {.B = n - 1, .logp = logp + 1, .ref_logp = ref_logp + 1,
                            .label = label + 1, .dlogp = plain + 1};
        CHECK_NEAR(loss, 3 + ulma_loss(&others, &s), 1e-14);
        CHECK(mixed[0] == -1 && mixed[1] == plain[1] && mixed[2] == plain[2]);
    }
}

static void test_a_continuous_score_is_reached_where_s_equals_it(void) {
    const LossSettings s = {.beta = .25, .log_z = .25, .continuous = 1};
    const float ref_logp = -7, score[3] = {-.5f, 0, .75f};
    for (int k = 0; k < 3; k++) {
        for (int side = -1; side <= 1; side++) {
            float d, logp = ref_logp + 4 * (score[k] - .25f) + (float)side;  // s = score + side / 4
            double loss = pointwise_of(&d, logp, ref_logp, score[k], s);
            CHECK(loss == side * side / 16.0 && d == (float)side / 8);  // 2 beta (s - z)
        }
    }
}

static void test_pairs_do_not_see_the_normaliser_and_single_texts_do(void) {
    const float logp[2] = {-3, -5};
    const float ref_logp[2] = {-4, -4.5f};
    const float shifted[2] = {-6, -6.5f};
    const float label[2] = {1, 0};
    float d[2] = {0};
    float same[2] = {0};
    float unused[2] = {0};
    LossSettings s = {.beta = .5, .label_smoothing = .1};
    LossBatch pair = {.B = 1, .logp = logp, .ref_logp = ref_logp, .dlogp = d};
    double plain = dpo_loss(&pair, &s);
    pair.ref_logp = shifted;
    pair.dlogp = same;
    CHECK(dpo_loss(&pair, &s) == plain);
    CHECK(d[0] == same[0] && d[1] == -d[0] && same[1] == -d[0]);

    LossBatch texts = {.B = 2, .logp = logp, .ref_logp = ref_logp, .label = label, .dlogp = unused};
    plain = pointwise_dpo_loss(&texts, &s);
    texts.ref_logp = shifted;
    CHECK(pointwise_dpo_loss(&texts, &s) != plain);
    s.log_z = -1;                                          // not times beta
    CHECK(pointwise_dpo_loss(&texts, &s) == plain);
}

static void test_a_mean_over_tokens_with_beta_times_their_number_is_the_sum(void) {
    float sum, mean;
    CHECK(pointwise_of(&sum, -48, -40, 0, (LossSettings){.beta = .125}) ==
          pointwise_of(&mean, -6, -5, 0, (LossSettings){.beta = 1}));
    CHECK(mean == 8 * sum);
}

static void test_conservative_dpo_stops_where_the_policy_is_as_sure_as_the_labels(void) {
    const float ref_logp[2] = {0, 0};
    const float sure[2] = {(float)log(9), 0};
    const float apart[2] = {1, -4};
    float d[2] = {0};
    LossBatch b = {.B = 1, .logp = sure, .ref_logp = ref_logp, .dlogp = d};  // sigma(u) = 1 - 0.1
    dpo_loss(&b, &(LossSettings){.beta = 1, .label_smoothing = .1});
    CHECK_NEAR(d[0], 0, 1e-8);
    b.logp = apart;                                        // and IPO at 1/(2 beta)
    CHECK(ipo_loss(&b, &(LossSettings){.beta = .1}) == 0);
}

static void test_kto_weighs_the_two_kinds_and_takes_the_kl_as_a_constant(void) {
    const float logp[2] = {-2, -2};
    const float ref_logp[2] = {-3, -3};
    const float label[2] = {1, 0};
    float d[2] = {0};
    LossBatch b = {.B = 2, .logp = logp, .ref_logp = ref_logp, .label = label, .dlogp = d};
    LossSettings s = {.beta = .2, .desirable_weight = 3, .undesirable_weight = 5, .kl = 1};
    CHECK_NEAR(kto_kl(logp, ref_logp, 2), 1, 0);
    CHECK(kto_kl(ref_logp, logp, 2) == 0 && kto_kl(logp, ref_logp, 0) == 0);
    CHECK_NEAR(kto_loss(&b, &s), 3*.5 + 5*.5, 1e-15);
    CHECK_NEAR(d[0], -3 * .2 / 4, 1e-8);
    CHECK_NEAR(d[1],  5 * .2 / 4, 1e-8);
}

static void test_orpo_stays_finite_where_an_answer_is_certain(void) {
    const float certain[4] = {0, -0x1p-30f, -1e-3f, -800};
    for (int k = 0; k < 16; k++) {
        float logp[2] = {certain[k % 4], certain[k / 4]}, d[2] = {0};
        LossBatch b = {.B = 1, .logp = logp, .dlogp = d};
        double loss = orpo_loss(&b, &(LossSettings){.beta = .1});
        CHECK(isfinite(loss) && loss >= 0);
        CHECK(d[0] <= -1 && d[1] >= 0 && isfinite(d[0]) && isfinite(d[1]));
        if (k % 4 == k / 4) CHECK_NEAR(loss, .1 * log(2) - logp[0], 1e-12);
    }
    double slope;                                          // p = 1/2, 1 - 10^-6, 10^-6
    CHECK_NEAR(log_odds(&slope, -log(2)), 0, 1e-15);
    CHECK_NEAR(slope, 2, 1e-14);
    CHECK_NEAR(log_odds(&slope, log1p(-1e-6)), log(1e6 - 1), 1e-9);
    CHECK_NEAR(slope, 1e6, 1e-3);
    CHECK_NEAR(log_odds(&slope, -log(1e6)), -log(1e6 - 1), 1e-13);
}

// -------------------------------------------------------------------------------------------- MORE

static const MoreMode solvers[2] = {MORE_RELEASE, MORE_PAPER};

// K vectors (C) at random, of length 1 where unit is set.
static void random_gradients(float *g, int K, int C, int test, int unit) {
    for (int i = 0; i < K; i++) {
        double square = 0;
        for (int c = 0; c < C; c++) square += normal(test, i*C + c) * normal(test, i*C + c);
        double norm = unit ? sqrt(square) : 1;
        for (int c = 0; c < C; c++) g[i*C + c] = (float)(normal(test, i*C + c) / norm);
    }
}

// lambda of more_weights for losses .5, .6, .7 ...
static void weights(double *lambda, const float *g, MoreMode mode, Normalizer normalizer, int K,
                    int C) {
    double loss[MORE_MAX_SETS];
    for (int i = 0; i < K; i++) loss[i] = 0.5 + 0.1 * i;
    CHECK(more_weights(lambda, g, loss, mode, normalizer, K, C) == 0);
}

static void check_lambda(const double *lambda, const double *want, int K, double eps) {
    for (int i = 0; i < K; i++) CHECK_NEAR(lambda[i], want[i], eps);
}

static void check_simplex(const double *lambda, int K) {
    double sum = 0;
    for (int i = 0; i < K; i++) {
        CHECK(lambda[i] >= 0);
        sum += lambda[i];
    }
    CHECK_NEAR(sum, 1, 1e-12);
}

// With u = sum lambda_i g_i: <u,g_i> >= <u,u>, and equal where lambda_i > 0; relative to the
// lengths.
static void check_optimal(const double *lambda, const double *M, int K, double eps) {
    double square = combined_norm2(lambda, M, K);
    check_simplex(lambda, K);
    for (int i = 0; i < K; i++) {
        double slope = 0, size = square;
        for (int j = 0; j < K; j++) {
            slope += M[i*K + j] * lambda[j];
            size += fabs(M[i*K + j]) * lambda[j];
        }
        if (M[i*K + i] == 0) continue;
        CHECK(slope >= square - eps * size);
        if (lambda[i] > 0) CHECK_NEAR(slope, square, eps * size);
    }
}

static void test_head_gradient_has_the_papers_closed_form(void) {
    const float chosen[2][2] = {{1, .5f}, {.1f, -.4f}}, rejected[2][2] = {{.2f, 1}, {.6f, .2f}};
    const float w[2] = {.3f, -.2f};
    const double want_loss[2] = {.537528, .708260};
    const double want[4] = {-.332648, .207905, .253750, .304500};
    float g[4] = {0};
    double M[4], lambda[2];
    for (int i = 0; i < 2; i++) {
        float r_chosen = w[0]*chosen[i][0] + w[1]*chosen[i][1];
        float r_rejected = w[0]*rejected[i][0] + w[1]*rejected[i][1];
        float coef = 0, opposite = 0;
        double loss = reward_bt_loss(&coef, &opposite, &r_chosen, &r_rejected, NULL, NULL, 1);
        CHECK_NEAR(loss, want_loss[i], 1e-6);
        more_head_gradient(g + 2*i, chosen[i], rejected[i], coef, 2);
    }
    for (int k = 0; k < 4; k++) CHECK_NEAR(g[k], want[k], 1e-6);
    more_gram(M, g, 2, 2);
    CHECK_NEAR(M[0], .153879, 1e-6);
    CHECK_NEAR(M[1], -.021102, 1e-6);
    CHECK_NEAR(M[3], .157109, 1e-6);
    for (int s = 0; s < 2; s++) {
        weights(lambda, g, solvers[s], NORMALIZE_NONE, 2, 2);
        CHECK_NEAR(lambda[0], .504573, 1e-6);
    }
}

// K sets of n pairs, their hidden states h (K,n,2,C)
enum { SETS = 3, SET_PAIRS = 4, CHANNELS = 6 };
typedef struct { float h[SETS][SET_PAIRS][2][CHANNELS]; } Hidden;

// sum_i lambda_i mean_j -log sigma(w . (h_chosen - h_rejected)), in double
static double weighted_loss(const double *lambda, const double *w, const Hidden *x) {
    double loss = 0;
    for (int i = 0; i < SETS; i++) {
        for (int j = 0; j < SET_PAIRS; j++) {
            double delta = 0;
            for (int c = 0; c < CHANNELS; c++) {
                delta += w[c] * ((double)x->h[i][j][0][c] - x->h[i][j][1][c]);
            }
            loss += lambda[i] / SET_PAIRS * log1p(exp(-delta));
        }
    }
    return loss;
}

// The gradient of set i in w, by the closed form.
static void set_gradient(float *g, const double *w, const Hidden *x, int i) {
    const float weight = 1.0f / SET_PAIRS;
    for (int j = 0; j < SET_PAIRS; j++) {
        float coef = 0, opposite = 0, reward[2];
        for (int k = 0; k < 2; k++) {
            double r = 0;
            for (int c = 0; c < CHANNELS; c++) r += w[c] * x->h[i][j][k][c];
            reward[k] = (float)r;
        }
        reward_bt_loss(&coef, &opposite, &reward[0], &reward[1], &weight, NULL, 1);
        more_head_gradient(g, x->h[i][j][0], x->h[i][j][1], coef, CHANNELS);
    }
}

// Is sum_i lambda_i g_i the finite difference of the weighted loss in w?
static void check_head_gradient(const double *lambda, const float *g, const double *w,
                                const Hidden *x) {
    const double h = 1e-5;
    for (int c = 0; c < CHANNELS; c++) {
        double analytic = 0, moved[CHANNELS];
        for (int i = 0; i < SETS; i++) analytic += lambda[i] * g[i*CHANNELS + c];
        memcpy(moved, w, sizeof moved);
        moved[c] = w[c] + h;
        double up = weighted_loss(lambda, moved, x);
        moved[c] = w[c] - h;
        double down = weighted_loss(lambda, moved, x);
        CHECK_NEAR(analytic, (up - down) / (2*h), 1e-6);
    }
}

static void test_head_gradient_is_the_finite_difference_of_weighted_loss_with_lambda_frozen(void) {
    Hidden x;
    float g[SETS*CHANNELS] = {0}, *h = &x.h[0][0][0][0];
    double w[CHANNELS], lambda[SETS];
    for (int k = 0; k < SETS*SET_PAIRS*2*CHANNELS; k++) h[k] = (float)normal(1, k);
    for (int c = 0; c < CHANNELS; c++) w[c] = (float)normal(2, c);
    for (int i = 0; i < SETS; i++) set_gradient(g + i*CHANNELS, w, &x, i);
    weights(lambda, g, MORE_PAPER, NORMALIZE_NONE, SETS, CHANNELS);
    check_head_gradient(lambda, g, w, &x);
    for (int i = 0; i < SETS; i++) {
        double one[SETS] = {0};
        one[i] = 1;
        check_head_gradient(one, g, w, &x);
    }
}

static void test_one_data_set_has_lambda_exactly_1(void) {
    const float g[4] = {3, -1, 2, .5f};
    const float zero[4] = {0};
    const float r[2] = {.3f, .1f};
    double lambda[1];
    for (int s = 0; s < 2; s++) {
        for (int normalizer = 0; normalizer < NUM_NORMALIZERS; normalizer++) {
            weights(lambda, g, solvers[s], (Normalizer)normalizer, 1, 4);
            CHECK(lambda[0] == 1);
            weights(lambda, zero, solvers[s], (Normalizer)normalizer, 1, 4);
            CHECK(lambda[0] == 1);
        }
    }
    float d[2] = {0};
    float plain[2] = {0};
    float weight = (float)lambda[0];
    CHECK(reward_bt_loss(&d[0], &d[1], &r[0], &r[1], &weight, NULL, 1) ==
          reward_bt_loss(&plain[0], &plain[1], &r[0], &r[1], NULL, NULL, 1));
    CHECK(d[0] == plain[0] && d[1] == plain[1]);
}

static void test_uniform_lambda_is_the_multitask_mean(void) {
    enum { K = 4, G = 3 };                                 // bundles of one pair per set
    const float g[K] = {1, 2, 3, 4};
    float chosen[K*G], rejected[K*G], weight[K*G], dchosen[K*G] = {0}, drejected[K*G] = {0};
    double lambda[K], mean = 0;
    weights(lambda, g, MORE_UNIFORM, NORMALIZE_NONE, K, 1);
    for (int j = 0; j < K*G; j++) {
        chosen[j] = (float)normal(3, j);
        rejected[j] = (float)normal(4, j);
        weight[j] = (float)(lambda[j % K] / G);
        mean += log1p(exp((double)rejected[j] - chosen[j])) / (K*G);
    }
    CHECK_NEAR(reward_bt_loss(dchosen, drejected, chosen, rejected, weight, NULL, K*G), mean, 1e-7);
}

static void test_two_sets_have_the_closed_form_in_either_order(void) {
    for (int n = 0; n < 200; n++) {
        float g[4], swapped[4];
        double M[4], x[2], y[2];
        random_gradients(g, 2, 2, 100 + n, 0);
        for (int k = 0; k < 4; k++) swapped[k] = g[(k + 2) % 4];
        more_gram(M, g, 2, 2);
        double gamma = (M[3] - M[1]) / (M[0] + M[3] - 2*M[1]);
        double exact = fmin(fmax(gamma, 0), 1);
        double release = exact;
        if (gamma >= 1) release = .999;
        if (gamma <= 0) release = .001;
        for (int s = 0; s < 2; s++) {
            weights(x, g, solvers[s], NORMALIZE_NONE, 2, 2);
            weights(y, swapped, solvers[s], NORMALIZE_NONE, 2, 2);
            CHECK_NEAR(x[0], solvers[s] == MORE_PAPER ? exact : release, 1e-12);
            CHECK_NEAR(x[0], y[1], 1e-12);
        }
    }
}

static void test_opposite_and_parallel_vectors_of_the_specification(void) {
    const float opposite[4] = {3, 0, -1, 0}, parallel[4] = {1, 2, 2, 4};
    double M[4], lambda[2];
    more_gram(M, opposite, 2, 2);
    for (int s = 0; s < 2; s++) {
        weights(lambda, opposite, solvers[s], NORMALIZE_NONE, 2, 2);
        CHECK_NEAR(lambda[0], .25, 1e-12);
        CHECK_NEAR(combined_norm2(lambda, M, 2), 0, 1e-12);
        weights(lambda, parallel, solvers[s], NORMALIZE_NONE, 2, 2);
        CHECK_NEAR(lambda[0], solvers[s] == MORE_PAPER ? 1 : .999, 1e-12);
    }
}

static void test_l2_gives_two_sets_one_half_each(void) {
    for (int n = 0; n < 100; n++) {
        float g[10];
        double lambda[2];
        random_gradients(g, 2, 5, 300 + n, 0);
        for (int c = 0; c < 5; c++) g[c] *= 1000;
        for (int s = 0; s < 2; s++) {
            weights(lambda, g, solvers[s], NORMALIZE_L2, 2, 5);
            CHECK_NEAR(lambda[0], .5, 1e-12);
        }
    }
}

static void test_identical_gradients_combine_to_themselves(void) {
    enum { K = 5, C = 3 };
    float g[K*C];
    double lambda[K];
    for (int k = 0; k < K*C; k++) g[k] = (float)(k % C) - 0.7f;
    for (int s = 0; s < 2; s++) {
        weights(lambda, g, solvers[s], NORMALIZE_NONE, K, C);
        check_simplex(lambda, K);
        for (int c = 0; c < C; c++) {
            double u = 0;
            for (int i = 0; i < K; i++) u += lambda[i] * g[C*i + c];
            CHECK_NEAR(u, g[c], 1e-7);
        }
        CHECK_NEAR(lambda[0], solvers[s] == MORE_PAPER ? 1 : .999, 1e-12);     // a tie
    }
}

static void test_orthogonal_gradients_get_weights_by_the_inverse_square_of_their_norms(void) {
    const float g[9] = {1, 0, 0, 0, 2, 0, 0, 0, 4};
    const double fifths[5] = {.2, .2, .2, .2, .2};
    const double want[3] = {16/21.0, 4/21.0, 1/21.0};      // .761905 .190476 .047619
    float unit[25] = {0};
    double M[25], lambda[5];
    for (int i = 0; i < 5; i++) unit[6*i] = 1;
    more_gram(M, unit, 5, 5);
    for (int s = 0; s < 2; s++) {
        double eps = solvers[s] == MORE_PAPER ? 1e-12 : 2e-3;
        weights(lambda, unit, solvers[s], NORMALIZE_L2, 5, 5);
        check_lambda(lambda, fifths, 5, eps);
        CHECK_NEAR(combined_norm2(lambda, M, 5), .2, solvers[s] == MORE_PAPER ? 1e-12 : 2e-6);
        weights(lambda, g, solvers[s], NORMALIZE_NONE, 3, 3);
        check_lambda(lambda, want, 3, eps);
    }
}

static void test_three_planar_vectors_of_the_specification(void) {
    const float a[6] = {1, 0, 0, 1, 1, 1}, b[6] = {1, .2f, -.5f, 1, .3f, -.4f};
    const double want_a[3] = {.5, .5, 0}, want_b[3] = {0, .307692, .692308};
    double M[9], lambda[3];
    more_gram(M, a, 3, 2);
    more_min_norm_exact(lambda, M, 3);
    check_lambda(lambda, want_a, 3, 1e-12);
    CHECK_NEAR(combined_norm2(lambda, M, 3), .5, 1e-12);
    more_gram(M, b, 3, 2);
    more_min_norm_exact(lambda, M, 3);
    check_lambda(lambda, want_b, 3, 1e-6);
    CHECK_NEAR(combined_norm2(lambda, M, 3), .00384615, 1e-8);
    more_min_norm_fw(lambda, M, 3);
    check_lambda(lambda, want_b, 3, 2e-3);
}

// lambda of Wolfe's algorithm underway
static void check_corral(const Wolfe *s, int n, double a, double b, double c) {
    const double want[3] = {a, b, c};
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += s->w[i] * s->z[i];
    for (int i = 0; i < 3; i++) CHECK_NEAR(s->w[i] * s->z[i] / sum, want[i], 1e-15);
    CHECK(s->n == n);
}

static void test_wolfes_algorithm_takes_the_steps_of_its_example(void) {
    const float abc[6] = {-3, 1, 3, 1, 0, 2};
    double M[9], y[3], lambda[3];
    Wolfe s;
    more_gram(M, abc, 3, 2);
    CHECK(wolfe_start(&s, M, 3));
    check_corral(&s, 1, 0, 0, 1);
    CHECK_NEAR(4 * combined_norm2(s.z, s.R, 3), 4, 1e-14);             // <c,c> = 4
    CHECK(entering_point(&s, combined_norm2(s.z, s.R, 3)) == 0);

    s.corral[s.n++] = 0;
    affine_minimum(y, &s);
    CHECK(walk_towards(&s, y) == 0);
    check_corral(&s, 2, .2, 0, .8);
    CHECK_NEAR(4 * combined_norm2(s.z, s.R, 3), 3.6, 1e-14);
    CHECK(entering_point(&s, combined_norm2(s.z, s.R, 3)) == 1);

    s.corral[s.n++] = 1;
    affine_minimum(y, &s);
    CHECK(walk_towards(&s, y) == 1);
    check_corral(&s, 2, 5/9.0, 4/9.0, 0);
    affine_minimum(y, &s);
    CHECK(walk_towards(&s, y) == 0);
    check_corral(&s, 2, .5, .5, 0);
    CHECK(entering_point(&s, combined_norm2(s.z, s.R, 3)) == -1);

    more_min_norm_exact(lambda, M, 3);
    CHECK_NEAR(lambda[0], .5, 1e-15);
    CHECK(lambda[2] == 0);
}

static void test_the_exact_solver_finds_the_minimum_that_fractions_find(void) {
    static const struct { int K, C, shift, unique; double norm2, lambda[8]; } golden[] = {
        {6, 4, 4, 0, 0, {0}},                              // the origin is inside
        {6, 6, 2, 1, 51.09708236509166,
         {0, .038213271, .059901885, 0, .754712109, .147172734}},
        {7, 5, 3, 1, 8.800212539851222,
         {0, .121147715, .074388948, .007438895, .653560043, .1434644, 0}},
        {8, 8, 5, 1, 15.968503937007874,
         {0, .094488189, 0, .035433071, .38976378, 0, .291338583, .188976378}},
    };
    for (int n = 0; n < 4; n++) {
        float g[64];
        double M[64], lambda[8];
        int K = golden[n].K, C = golden[n].C;
        for (int i = 0; i < K; i++) {
            for (int c = 0; c < C; c++) {
                g[i*C + c] = (float)((7*i + 5*c + 3*i*i*c) % 13 - golden[n].shift);
            }
        }
        more_gram(M, g, K, C);
        more_min_norm_exact(lambda, M, K);
        CHECK_NEAR(combined_norm2(lambda, M, K), golden[n].norm2, 1e-11);
        if (golden[n].unique) check_lambda(lambda, golden[n].lambda, K, 1e-9);
    }
}

// K vectors (C) of all sorts: at random or unit, around the origin or off it, of like or very
// unlike sizes.
static void diverse_gradients(float *g, int K, int C, int test, int n) {
    random_gradients(g, K, C, test, n % 3 == 0);
    for (int i = 0; i < K; i++) {
        float scale = n % 2 ? powf(10, (float)(i % 7) - 3) : 1;
        g[i*C] += n % 5;
        for (int c = 0; c < C; c++) g[i*C + c] *= scale;
    }
}

static void test_no_set_is_hurt_by_a_step_along_the_exact_solution(void) {
    const int sizes[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 48, 64};
    static float g[64*70];
    static double M[64*64], lambda[64];
    for (int s = 0; s < 18; s++) {
        const int K = sizes[s], dimensions[4] = {2, 3, K, K + 6};      // fewer than sets, and more
        for (int n = 0; n < (K > 16 ? 8 : 60); n++) {
            int C = dimensions[n % 4];
            diverse_gradients(g, K, C, 1000 + 100*s + n, n);
            more_gram(M, g, K, C);
            more_min_norm_exact(lambda, M, K);
            check_optimal(lambda, M, K, 1e-9);
        }
    }
}

static void test_the_combined_gradient_is_shorter_than_the_mean_and_than_every_gradient(void) {
    for (int n = 0; n < 100; n++) {
        int K = 2 + n % 15, C = 8;
        float g[16*8];
        double M[16*16], lambda[16], uniform[16];
        random_gradients(g, K, C, 4000 + n, 0);
        more_gram(M, g, K, C);
        more_min_norm_exact(lambda, M, K);
        uniform_weights(uniform, K);
        double square = combined_norm2(lambda, M, K);
        CHECK(square <= combined_norm2(uniform, M, K) + 1e-12);
        for (int i = 0; i < K; i++) CHECK(square <= M[i*K + i] + 1e-12);
    }
}

static void test_frank_wolfe_agrees_with_the_exact_solver(void) {
    enum { K = 5, C = 64 };
    for (int n = 0; n < 300; n++) {
        float g[K*C];
        double M[K*K], fw[K], exact[K];
        random_gradients(g, K, C, 5000 + n, 1);
        more_gram(M, g, K, C);
        more_min_norm_fw(fw, M, K);
        more_min_norm_exact(exact, M, K);
        check_simplex(fw, K);
        check_lambda(fw, exact, K, 2e-3);
        double gap = combined_norm2(fw, M, K) / combined_norm2(exact, M, K) - 1;
        CHECK(gap > -1e-12 && gap <= 1e-6);
    }
}

static void test_frank_wolfe_never_goes_uphill(void) {
    for (int n = 0; n < 50; n++) {
        int moved;
        int K = 3 + n % 14;
        int C = 32;
        int steps = 0;
        float g[16*32];
        double M[16*16], lambda[16] = {0};
        random_gradients(g, K, C, 6000 + n, 1);
        more_gram(M, g, K, C);
        lambda[0] = .5;
        lambda[1] = .5;
        do {
            double before = combined_norm2(lambda, M, K);
            moved = frank_wolfe_step(lambda, M, K);
            CHECK(combined_norm2(lambda, M, K) <= before + 1e-15);
            steps++;
        } while (moved && steps < 1000);
    }
}

// K vectors (8) at the ends of what floats hold: n < 12 of one or of all scales, n < 18 mixed, n <
// 24 nearly the same; odd n has each vector twice.
static void extreme_gradients(float *g, int K, int n) {
    const float scales[6] = {1, 1e-30f, 1e30f, 1e-18f, 1e18f, 0};
    static float base[64*8];
    random_gradients(base, K, 8, 7000 + n, 0);
    for (int i = 0; i < K; i++) {
        int from = n % 2 ? i/2 : i;
        float scale = 1;
        if (n < 6) scale = scales[n];
        else if (n < 12) scale = scales[i % 6];
        else if (n < 18) scale = scales[i*n % 6];
        for (int c = 0; c < 8; c++) {
            if (n < 18) g[8*i + c] = base[8*from + c] * scale;
            else g[8*i + c] = base[c] * (1 + 1e-6f * (float)(i % 5));
        }
    }
}

static void test_lambda_stays_on_the_simplex_for_zero_duplicate_huge_and_tiny_gradients(void) {
    static float g[64*8];
    static double M[64*64];
    for (int K = 1; K <= 64; K = K < 16 ? K + 1 : 4*K) {
        for (int n = 0; n < 24; n++) {
            double lambda[64];
            extreme_gradients(g, K, n);
            for (int s = 0; s < 2; s++) {
                for (int normalizer = 0; normalizer < NUM_NORMALIZERS; normalizer++) {
                    weights(lambda, g, solvers[s], (Normalizer)normalizer, K, 8);
                    check_simplex(lambda, K);
                }
            }
            more_gram(M, g, K, 8);
            more_min_norm_exact(lambda, M, K);
            check_optimal(lambda, M, K, 1e-9);
        }
    }
}

static void test_a_set_without_gradient_stays_out_of_the_exact_solution(void) {
    const float g[6] = {0, 0, 3, 0, 0, 3}, zero[6] = {0};
    double lambda[3];
    weights(lambda, g, MORE_PAPER, NORMALIZE_NONE, 3, 2);
    CHECK_NEAR(lambda[0], 0, 0);
    CHECK_NEAR(lambda[1], .5, 1e-12);
    weights(lambda, zero, MORE_PAPER, NORMALIZE_NONE, 3, 2);
    for (int i = 0; i < 3; i++) CHECK(lambda[i] == 1.0 / 3);
    weights(lambda, g, MORE_RELEASE, NORMALIZE_NONE, 3, 2);
    CHECK(lambda[0] > .99);                                // as the release does
}

static void test_scaling_all_gradients_leaves_lambda_and_l2_forgives_scaling_one(void) {
    enum { K = 6, C = 9 };
    float g[K*C], all[K*C], one[K*C];
    double x[K], y[K], z[K];
    random_gradients(g, K, C, 8000, 0);
    for (int k = 0; k < K*C; k++) {
        all[k] = g[k] * 1024;
        one[k] = g[k] * (k / C == 2 ? 4096 : 1);
    }
    for (int s = 0; s < 2; s++) {
        for (int normalizer = 0; normalizer < NUM_NORMALIZERS; normalizer++) {
            weights(x, g, solvers[s], (Normalizer)normalizer, K, C);
            weights(y, all, solvers[s], (Normalizer)normalizer, K, C);
            check_lambda(y, x, K, 1e-9);
        }
        weights(x, g, solvers[s], NORMALIZE_L2, K, C);
        weights(z, one, solvers[s], NORMALIZE_L2, K, C);
        check_lambda(z, x, K, 1e-9);
    }
}

static void test_permuting_the_sets_permutes_lambda(void) {
    enum { K = 7, C = 20 };
    float g[K*C], permuted[K*C];
    double x[K], y[K];
    for (int n = 0; n < 20; n++) {
        uint32_t p[K];
        random_gradients(g, K, C, 8100 + n, 0);
        random_permutation(p, K, 3, STREAM_TEST, (uint64_t)n);
        for (int i = 0; i < K; i++) memcpy(permuted + C*i, g + C*p[i], C * sizeof *g);
        for (int s = 0; s < 2; s++) {
            double eps = solvers[s] == MORE_PAPER ? 1e-10 : 1e-4;
            weights(x, g, solvers[s], NORMALIZE_NONE, K, C);
            weights(y, permuted, solvers[s], NORMALIZE_NONE, K, C);
            for (int i = 0; i < K; i++) CHECK_NEAR(y[i], x[p[i]], eps);
        }
    }
}

static void test_the_normalizers_divide_by_what_they_say(void) {
    enum { K = 3, C = 3 };
    const float g[K*C] = {1, 0, 0, 0, 2, 0, 0, 0, 4};      // lambda ~ divisor^2 / norm^2
    const double loss[K] = {.7, .2, 1.4};
    const double norm[K] = {1, 2, 4};
    const double total = .7 + .2 + 1.4 + 3;
    CHECK(!strcmp(normalizer_names[NORMALIZE_LOSS_PLUS], "loss+"));
    CHECK(!strcmp(normalizer_names[NORMALIZE_L2], "l2"));
    CHECK(!normalizer_names[NUM_NORMALIZERS] && !more_mode_names[NUM_MORE_MODES]);
    for (int normalizer = 0; normalizer < NUM_NORMALIZERS; normalizer++) {
        double lambda[K], want[K], sum = 0;
        for (int i = 0; i < K; i++) {
            const double divisor[NUM_NORMALIZERS] = {
                [NORMALIZE_NONE]      = 1,
                [NORMALIZE_L2]        = norm[i],
                [NORMALIZE_LOSS]      = (loss[i] + 1) / total,
                [NORMALIZE_LOSS_PLUS] = norm[i] * loss[i],
            };
            double d = divisor[normalizer];
            want[i] = d*d / (norm[i]*norm[i]);
            sum += want[i];
        }
        CHECK(more_weights(lambda, g, loss, MORE_PAPER, (Normalizer)normalizer, K, C) == 0);
        for (int i = 0; i < K; i++) CHECK_NEAR(lambda[i], want[i] / sum, 1e-12);
    }
}

static void test_numbers_that_are_not_finite_are_refused_and_lambda_is_uniform(void) {
    const float g[4] = {1, 2, 3, 4}, bad_g[4] = {1, 2, NAN, 4};
    const double loss[2] = {1, 1}, bad_loss[2] = {INFINITY, 1};
    double lambda[2] = {NAN, NAN};
    CHECK(more_weights(lambda, bad_g, loss, MORE_PAPER, NORMALIZE_NONE, 2, 2) == -1);
    CHECK(error_code == EX_DATAERR && strstr(error_text, "data set 2"));
    CHECK(lambda[0] == .5 && lambda[1] == .5);
    lambda[0] = NAN;
    CHECK(more_weights(lambda, g, bad_loss, MORE_RELEASE, NORMALIZE_L2, 2, 2) == -1);
    CHECK(lambda[0] == .5 && lambda[1] == .5);
}

static void test_momentum_1_is_the_gradient_and_a_constant_gradient_is_the_limit(void) {
    const float g[2] = {.1f, -3};
    float all[2] = {7, 8}, most[2] = {7, 8};
    more_momentum(all, g, 1, 2);
    CHECK(all[0] == g[0] && all[1] == g[1]);
    more_momentum(most, g, .99, 2);
    CHECK_NEAR(most[0], .01*7 + .99*.1, 1e-6);             // alpha weighs the new gradient
    for (int n = 0; n < 200; n++) more_momentum(most, g, .3, 2);
    CHECK_NEAR(most[0], g[0], 1e-7);
    CHECK_NEAR(most[1], g[1], 1e-6);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_equal_rewards_cost_log_2);
    RUN(test_a_pairs_gradients_are_exact_opposites_and_are_added);
    RUN(test_a_constant_added_to_all_rewards_changes_nothing);
    RUN(test_the_masked_mean_over_ordered_pairs_is_the_plain_mean_and_ties_have_weight_0);
    RUN(test_reward_gradients_are_the_finite_differences_with_weight_and_margin);
    RUN(test_a_margin_asks_for_a_larger_difference);
    RUN(test_huge_differences_cost_their_size_or_nothing);
    RUN(test_lm_loss_is_the_mean_over_scored_rows);
    RUN(test_choices_of_the_specifications_scores);
    RUN(test_equal_scores_cost_the_logarithm_of_the_orders);
    RUN(test_two_answers_cost_to_the_last_bit_what_a_pair_costs);
    RUN(test_choices_are_their_definition_and_their_gradient_the_finite_difference);
    RUN(test_the_curvature_of_choices_is_the_finite_difference_of_their_gradient);
    RUN(test_the_gradient_of_a_ranked_policy_is_the_finite_difference);
    RUN(test_answers_that_are_not_compared_cost_nothing_and_ties_share_a_place);
    RUN(test_huge_scores_of_a_ranking_cost_their_size_or_nothing);
    RUN(test_every_policy_gradient_is_the_finite_difference);
    RUN(test_without_weights_they_are_one_and_gradients_are_added);
    RUN(test_no_texts_and_weight_0_cost_nothing);
    RUN(test_extremes_do_not_overflow);
    RUN(test_huge_rewards_cost_their_size_or_nothing);
    RUN(test_policy_losses_agree_with_an_independent_program);
    RUN(test_a_policy_that_is_its_reference_costs_log_2);
    RUN(test_mixed_references_of_the_specification_and_of_an_independent_program);
    RUN(test_one_reference_or_equal_ones_are_their_own_mixture);
    RUN(test_a_base_response_costs_the_square_of_its_log_ratio_for_a_token);
    RUN(test_a_level_costs_the_log_of_how_many_there_are_where_nothing_tells_them_apart);
    RUN(test_group_weights_are_those_of_the_specification_and_of_an_independent_program);
    RUN(test_group_weights_go_to_the_worst_group_and_do_not_overflow);
    RUN(test_pointwise_losses_of_the_specifications_texts);
    RUN(test_losses_of_the_specifications_pair);
    RUN(test_labels_1_and_0_are_mirror_images);
    RUN(test_gradients_have_the_limits_of_their_table);
    RUN(test_ulma_is_imitation_of_demonstrations_and_pointwise_dpo_of_the_rest);
    RUN(test_a_continuous_score_is_reached_where_s_equals_it);
    RUN(test_pairs_do_not_see_the_normaliser_and_single_texts_do);
    RUN(test_a_mean_over_tokens_with_beta_times_their_number_is_the_sum);
    RUN(test_conservative_dpo_stops_where_the_policy_is_as_sure_as_the_labels);
    RUN(test_kto_weighs_the_two_kinds_and_takes_the_kl_as_a_constant);
    RUN(test_orpo_stays_finite_where_an_answer_is_certain);
    RUN(test_head_gradient_has_the_papers_closed_form);
    RUN(test_head_gradient_is_the_finite_difference_of_weighted_loss_with_lambda_frozen);
    RUN(test_one_data_set_has_lambda_exactly_1);
    RUN(test_uniform_lambda_is_the_multitask_mean);
    RUN(test_two_sets_have_the_closed_form_in_either_order);
    RUN(test_opposite_and_parallel_vectors_of_the_specification);
    RUN(test_l2_gives_two_sets_one_half_each);
    RUN(test_identical_gradients_combine_to_themselves);
    RUN(test_orthogonal_gradients_get_weights_by_the_inverse_square_of_their_norms);
    RUN(test_three_planar_vectors_of_the_specification);
    RUN(test_wolfes_algorithm_takes_the_steps_of_its_example);
    RUN(test_the_exact_solver_finds_the_minimum_that_fractions_find);
    RUN(test_no_set_is_hurt_by_a_step_along_the_exact_solution);
    RUN(test_the_combined_gradient_is_shorter_than_the_mean_and_than_every_gradient);
    RUN(test_frank_wolfe_agrees_with_the_exact_solver);
    RUN(test_frank_wolfe_never_goes_uphill);
    RUN(test_lambda_stays_on_the_simplex_for_zero_duplicate_huge_and_tiny_gradients);
    RUN(test_a_set_without_gradient_stays_out_of_the_exact_solution);
    RUN(test_scaling_all_gradients_leaves_lambda_and_l2_forgives_scaling_one);
    RUN(test_permuting_the_sets_permutes_lambda);
    RUN(test_the_normalizers_divide_by_what_they_say);
    RUN(test_numbers_that_are_not_finite_are_refused_and_lambda_is_uniform);
    RUN(test_momentum_1_is_the_gradient_and_a_constant_gradient_is_the_limit);
    return test_summary();
}

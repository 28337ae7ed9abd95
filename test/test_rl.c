// test_rl.c - advantages, the gradient of rewards on a bandit, what length explains, mixed rewards.
#include "../rollout.c"
#include "test.h"

// --------------------------------------------------------------------------------- advantages

static void test_leave_one_out_is_the_reward_less_the_mean_of_the_others(void) {
    const double reward[4] = {1, -2, 4, 0.5};
    double A[4], sum = 0;
    leave_one_out(A, reward, 4);
    CHECK_NEAR(A[0], 1 - (-2 + 4 + 0.5) / 3, 1e-15);
    CHECK_NEAR(A[2], 4 - (1 - 2 + 0.5) / 3, 1e-15);
    for (int i = 0; i < 4; i++) sum += A[i];
    CHECK_NEAR(sum, 0, 1e-14);
}

static void test_group_deviations_have_mean_0_and_deviation_1(void) {
    const double reward[4] = {1, -2, 4, 0.5}, equal[3] = {2, 2, 2};
    double A[4], sum = 0, squares = 0;
    group_deviations(A, reward, 4);
    for (int i = 0; i < 4; i++) sum += A[i];
    for (int i = 0; i < 4; i++) squares += A[i] * A[i];
    CHECK_NEAR(sum, 0, 1e-14);
    CHECK_NEAR(sqrt(squares / 3), 1, 1e-4);                 // the 1e-4 beside the deviation
    group_deviations(A, equal, 3);
    for (int i = 0; i < 3; i++) CHECK(A[i] == 0);
}

// ----------------------------------------------------------------------------------- a critic

static void test_gae_is_what_came_less_the_value_or_one_step_of_it(void) {
    const double reward[4] = {.5, -1, 2, 3}, value[4] = {1, .25, -2, 4};
    double A[4];
    gae(A, reward, value, 4, 1, 1);                         // all that came: sums to the end
    for (int t = 0; t < 4; t++) {
        double rest = 0;
        for (int i = t; i < 4; i++) rest += reward[i];
        CHECK_NEAR(A[t], rest - value[t], 1e-14);
    }
    gae(A, reward, value, 4, .9, 0);                        // the next value is believed
    for (int t = 0; t < 4; t++) {
        CHECK_NEAR(A[t], reward[t] + .9 * (t < 3 ? value[t + 1] : 0) - value[t], 1e-14);
    }
    gae(A, reward, value, 2, .9, .5);                       // by hand
    CHECK_NEAR(A[1], -1 - .25, 1e-14);
    CHECK_NEAR(A[0], .5 + .9 * .25 - 1 + .45 * -1.25, 1e-14);
}

static void test_the_value_loss_is_the_larger_of_both_errors_and_its_slope_is_right(void) {
    const double h = 1e-6;
    for (int i = 0; i < 200; i++) {
        const double value = (i * 7 % 41 - 20) / 10.3, target = (i * 5 % 37 - 18) / 9.1;
        double slope, unused;
        const double loss = value_loss(&slope, value, .1, target, .2);
        const double clipped = fmin(fmax(value, -.1), .3);
        const double errors[2] = {value - target, clipped - target};
        CHECK_NEAR(loss, .5 * fmax(errors[0] * errors[0], errors[1] * errors[1]), 1e-14);
        const double up = value_loss(&unused, value + h, .1, target, .2);
        const double down = value_loss(&unused, value - h, .1, target, .2);
        CHECK_NEAR(slope, (up - down) / (2*h), 1e-6);
    }
}

static void test_normalised_advantages_have_mean_0_and_deviation_1(void) {
    double x[5] = {3, -1, 4, 1, 5}, sum = 0, squares = 0;
    normalise(x, 5);
    for (int i = 0; i < 5; i++) sum += x[i];
    for (int i = 0; i < 5; i++) squares += x[i] * x[i];
    CHECK_NEAR(sum, 0, 1e-14);
    CHECK_NEAR(squares / 5, 1, 1e-7);
}

// ------------------------------------------------------------------------------------ a bandit

// One token, one text: pi = softmax(theta) over the arms.
enum { ARMS = 4 };
static const double bandit_ref[ARMS] = {.4, .3, .2, .1}, bandit_reward[ARMS] = {.2, -.5, 1, .6};

static void softmax(double *p, const double *theta) {
    double sum = 0;
    for (int a = 0; a < ARMS; a++) sum += exp(theta[a]);
    for (int a = 0; a < ARMS; a++) p[a] = exp(theta[a]);
    for (int a = 0; a < ARMS; a++) p[a] /= sum;
}

// dL/dtheta of a draw of two arms, by the loss: the gradient of log pi(a) is e_a - p.
static void add_draw(double *gradient, const double *p, const int arm[2], double beta,
                     double probability) {
    double R[2], A[2];
    for (int i = 0; i < 2; i++) {
        R[i] = bandit_reward[arm[i]] - beta * (log(p[arm[i]]) - log(bandit_ref[arm[i]]));
    }
    leave_one_out(A, R, 2);
    for (int i = 0; i < 2; i++) {
        const float logp = (float)log(p[arm[i]]), label = (float)A[i], weight = 0.5f;
        float dlogp = 0;
        const LossBatch b = {.B = 1, .logp = &logp, .label = &label, .weight = &weight,
                             .dlogp = &dlogp};
        rloo_loss(&b, &(LossSettings){.beta = beta});
        for (int a = 0; a < ARMS; a++) gradient[a] += probability * dlogp * ((a == arm[i]) - p[a]);
    }
}

// Its expectation over all draws.
static void expected_gradient(double *gradient, const double *theta, double beta) {
    double p[ARMS];
    softmax(p, theta);
    memset(gradient, 0, ARMS * sizeof *gradient);
    for (int i = 0; i < ARMS; i++) {
        for (int j = 0; j < ARMS; j++) {
            add_draw(gradient, p, (int[2]){i, j}, beta, p[i] * p[j]);
        }
    }
}

// E[r] - beta KL(pi || ref)
static double bandit_value(const double *theta, double beta) {
    double p[ARMS], value = 0;
    softmax(p, theta);
    for (int a = 0; a < ARMS; a++) {
        value += p[a] * (bandit_reward[a] - beta * log(p[a] / bandit_ref[a]));
    }
    return value;
}

static void test_rloo_climbs_the_reward_less_beta_kl(void) {
    const double theta[ARMS] = {.3, -1, .2, .7}, h = 1e-5;
    double gradient[ARMS];
    expected_gradient(gradient, theta, 0.3);
    for (int a = 0; a < ARMS; a++) {
        double up[ARMS], down[ARMS];
        memcpy(up, theta, sizeof up);
        memcpy(down, theta, sizeof down);
        up[a] += h;
        down[a] -= h;
        const double slope = (bandit_value(up, 0.3) - bandit_value(down, 0.3)) / (2*h);
        CHECK_NEAR(gradient[a], -slope, 1e-7);
    }
}

static void test_rloo_converges_to_the_reference_tilted_by_the_reward(void) {
    const double beta = 0.5;
    double theta[ARMS], gradient[ARMS], p[ARMS], sum = 0;
    for (int a = 0; a < ARMS; a++) theta[a] = log(bandit_ref[a]);
    for (int step = 0; step < 2000; step++) {
        expected_gradient(gradient, theta, beta);
        for (int a = 0; a < ARMS; a++) theta[a] -= gradient[a];
    }
    softmax(p, theta);
    for (int a = 0; a < ARMS; a++) sum += bandit_ref[a] * exp(bandit_reward[a] / beta);
    for (int a = 0; a < ARMS; a++) {
        CHECK_NEAR(p[a], bandit_ref[a] * exp(bandit_reward[a] / beta) / sum, 1e-6);
    }
}

// The slope of r - 1 - log r with the draws held fixed, 1 - r times that of log pi, is on average
// sum_a (p_a - ref_a) e_a: that of beta KL(ref || pi).
static void test_the_kl_term_of_grpo_pulls_as_kl_of_the_reference_to_the_policy_does(void) {
    const double theta[ARMS] = {.3, -1, .2, .7}, beta = 0.3;
    double p[ARMS], gradient[ARMS] = {0};
    softmax(p, theta);
    for (int arm = 0; arm < ARMS; arm++) {
        const float logp = (float)log(p[arm]), ref_logp = (float)log(bandit_ref[arm]);
        const float no_advantage = 0;
        float dlogp = 0;
        const LossBatch b = {.B = 1, .logp = &logp, .ref_logp = &ref_logp, .old_logp = &logp,
                             .label = &no_advantage, .dlogp = &dlogp};
        const double loss = grpo_loss(&b, &(LossSettings){.beta = beta, .clip_range = .2});
        CHECK_NEAR(loss, beta * kl_term(logp, ref_logp), 1e-12);
        for (int a = 0; a < ARMS; a++) gradient[a] += p[arm] * dlogp * ((a == arm) - p[a]);
    }
    for (int a = 0; a < ARMS; a++) CHECK_NEAR(gradient[a], beta * (p[a] - bandit_ref[a]), 1e-7);
}

static void test_ppo_is_clipped_on_the_side_that_gains(void) {
    const LossSettings s = {.clip_range = .2};
    const float old_logp = (float)log(.1);
    const float up = (float)log(.15), down = (float)log(.05), good = 2, bad = -2;
    const struct { float logp, A; double loss, slope; } want[] = {
        {up, good, -1.2 * 2, 0}, {down, good, -.5 * 2, -.5 * 2},
        {up, bad, 1.5 * 2, 1.5 * 2}, {down, bad, .8 * 2, 0}, {old_logp, good, -2, -2},
    };
    for (int i = 0; i < 5; i++) {
        float dlogp = 0;
        const LossBatch b = {.B = 1, .logp = &want[i].logp, .old_logp = &old_logp,
                             .label = &want[i].A, .dlogp = &dlogp};
        CHECK_NEAR(ppo_loss(&b, &s), want[i].loss, 1e-6);
        CHECK_NEAR(dlogp, want[i].slope, 1e-6);
    }
}

// ------------------------------------------------------------------------------ length, rewards

// n rollouts of which the reward rises by `rise` in all and the length by 20 tokens, with noise;
// among texts of one prompt a token more brings `slope`.
static double share_explained(double rise, double slope) {
    LengthSums s[30];
    for (int i = 0; i < 30; i++) {
        const double noise = (i % 3 - 1) * 0.01;
        s[i] = (LengthSums){.reward = rise * i / 29 + noise, .length = 20 + 20.0 * i / 29 + noise,
                            .length_reward = 50 * slope, .length_length = 50};
    }
    return length_share(s, 30, 10);
}

static void test_a_rise_by_length_alone_is_known_from_one_by_merit(void) {
    CHECK_NEAR(share_explained(1, 0.05), 1, 0.01);                 // 20 tokens at 0.05
    CHECK_NEAR(share_explained(1, 0.01), 0.2, 0.01);
    CHECK(share_explained(1, -0.05) < 0);                          // longer texts are worse
    CHECK(share_explained(0, 0.05) == 0);                          // nothing rises
    CHECK(share_explained(-1, 0.05) == 0);
    const LengthSums few[4] = {{.reward = 0, .length = 1}, {.reward = 9, .length = 9}};
    CHECK(length_share(few, 4, 10) == 0);                   // too soon to say
}

static void test_rewards_are_mixed_by_mean_least_and_severest(void) {
    const double each[6] = {1, 5, 3, /**/ 2, 2, 2};         // the second's mean is the least
    double out[3];
    rewards_mix(out, each, 2, 3, REWARD_MIX_MEAN);
    CHECK(out[0] == 1.5 && out[1] == 3.5 && out[2] == 2.5);
    rewards_mix(out, each, 2, 3, REWARD_MIX_MIN);
    CHECK(out[0] == 1 && out[1] == 2 && out[2] == 2);
    rewards_mix(out, each, 2, 3, REWARD_MIX_MAXMIN);
    CHECK(out[0] == 2 && out[1] == 2 && out[2] == 2);
    rewards_mix(out, each, 1, 3, REWARD_MIX_MAXMIN);
    CHECK(out[0] == 1 && out[1] == 5 && out[2] == 3);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_leave_one_out_is_the_reward_less_the_mean_of_the_others);
    RUN(test_group_deviations_have_mean_0_and_deviation_1);
    RUN(test_gae_is_what_came_less_the_value_or_one_step_of_it);
    RUN(test_the_value_loss_is_the_larger_of_both_errors_and_its_slope_is_right);
    RUN(test_normalised_advantages_have_mean_0_and_deviation_1);
    RUN(test_rloo_climbs_the_reward_less_beta_kl);
    RUN(test_rloo_converges_to_the_reference_tilted_by_the_reward);
    RUN(test_the_kl_term_of_grpo_pulls_as_kl_of_the_reference_to_the_policy_does);
    RUN(test_ppo_is_clipped_on_the_side_that_gains);
    RUN(test_a_rise_by_length_alone_is_known_from_one_by_merit);
    RUN(test_rewards_are_mixed_by_mean_least_and_severest);
    return test_summary();
}

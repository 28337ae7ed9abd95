/* rl_loss.c - policies and the rewards of the texts that they draw: advantages and losses.
 *
 * What is made large is E_{y ~ pi} [ r(x,y) ] - beta KL(pi || pi_ref), by the policy gradient: of y
 * drawn from pi
 *
 *     the gradient = E[ A grad log pi(y|x) ],     A = R - a baseline that y has no part in
 *     R            = r(x,y) - beta (log pi(y|x) - log pi_ref(y|x))
 *
 * Its maximum is pi*(y|x) ~ pi_ref(y|x) e^{r(x,y)/beta}.  n texts are drawn for each prompt, and
 * each one's baseline comes from the others, so that no critic is needed; or from a critic.
 *
 * As loss.c: pure functions of small arrays, in double, in the order written.                    */
#ifndef RL_LOSS_C
#define RL_LOSS_C
#include "loss.c"

// The advantages of a prompt's n drawn texts, from their rewards.
void leave_one_out(double *advantage, const double *reward, int n);
void group_deviations(double *advantage, const double *reward, int n);

// Those of a text's n tokens, from their rewards and a critic's values; what the critic learns.
void   gae(double *advantage, const double *reward, const double *value, int n, double discount,
           double lambda);
double value_loss(double *slope, double value, double old_value, double target, double clip_range);
void   normalise(double *x, size_t n);

// Of drawn tokens: label is the advantage, old_logp what they were drawn by.
PolicyLoss rloo_loss;
PolicyLoss ppo_loss;                  // clipped
PolicyLoss grpo_loss;                 // clipped, against a reference

// -------------------------------------------------------------------------------------- advantages

static double mean_of(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return sum / n;
}

/* RLOO: Ahmadian et al. 2024 (arXiv:2402.14740), leave-one-out of Kool et al. 2019.  Against the
 * mean of the other n-1:
 *
 *     A_i = R_i - 1/(n-1) sum_{j not i} R_j = n/(n-1) (R_i - mean R)                             */
void leave_one_out(double *advantage, const double *reward, int n) {
    const double mean = mean_of(reward, n);
    for (int i = 0; i < n; i++) advantage[i] = (reward[i] - mean) * n / (n - 1);
}

/* GRPO: Shao et al. 2024 (arXiv:2402.03300), sec. 4.1.2.  In deviations from the mean of all n:
 *
 *     A_i = (r_i - mean r) / (std r + 1e-4),     std over n-1 and the constant as in TRL         */
void group_deviations(double *advantage, const double *reward, int n) {
    const double mean = mean_of(reward, n);
    double squares = 0;
    for (int i = 0; i < n; i++) squares += (reward[i] - mean) * (reward[i] - mean);
    const double deviation = sqrt(squares / (n - 1));
    for (int i = 0; i < n; i++) advantage[i] = (reward[i] - mean) / (deviation + 1e-4);
}

// x (n) to the mean 0 and the deviation 1, as PPO's programs do with advantages:
// (x_i - mean x) / sqrt(var x + 1e-8), var over n.
void normalise(double *x, size_t n) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    const double deviation = sqrt(squares / (double)n + 1e-8);
    for (size_t i = 0; i < n; i++) x[i] = (x[i] - mean) / deviation;
}

/* Generalised advantage estimation, Schulman et al. 2016 (arXiv:1506.02438) eq. (16), of the n
 * tokens of a text with the critic's values V of what stands before each, 0 after the last:
 *
 *     delta_t = r_t + discount V_{t+1} - V_t
 *     A_t     = delta_t + discount lambda A_{t+1}
 *
 * All arrays are (n).  A_t + V_t is what V_t is to be.                                           */
void gae(double *advantage, const double *reward, const double *value, int n, double discount,
         double lambda) {
    double next_value = 0, next_advantage = 0;
    for (int t = n - 1; t >= 0; t--) {
        const double delta = reward[t] + discount * next_value - value[t];
        advantage[t] = delta + discount * lambda * next_advantage;
        next_advantage = advantage[t];
        next_value = value[t];
    }
}

/* The critic's loss of a value V, clipped about the value at drawing as PPO's programs do (OpenAI's
 * baselines, TRL), and its slope in V:
 *
 *     1/2 max( (V - target)^2,  (clip(V, V_old - e, V_old + e) - target)^2 )                     */
double value_loss(double *slope, double value, double old_value, double target,
                  double clip_range) {
    double clipped = value;
    if (value < old_value - clip_range) clipped = old_value - clip_range;
    if (value > old_value + clip_range) clipped = old_value + clip_range;
    const double error = value - target, clipped_error = clipped - target;
    const int is_first = fabs(error) >= fabs(clipped_error);
    *slope = is_first ? error : 0;
    return 0.5 * (is_first ? error * error : clipped_error * clipped_error);
}

// ------------------------------------------------------------------------------------------ losses

/* The loss of RLOO, of texts or of their tokens, whose log-probabilities add up; A is the label:
 *
 *     L_j = -A log pi                                                                            */
double rloo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    (void)s;
    for (int j = 0; j < b->B; j++) {
        const double slope = loss_weight(b->weight, j) * -(double)b->label[j];
        loss += slope * b->logp[j];
        b->dlogp[j] += (float)slope;
    }
    return loss;
}

// A difference of log-probabilities from which exp is taken: beyond e^20 it counts as that, and
// *inside says that it is not beyond.
static double bounded_ratio(int *inside, double logp, double other) {
    const double bound = 20, x = logp - other;
    *inside = fabs(x) <= bound;
    if (*inside) return x;
    return x < 0 ? -bound : bound;
}

/* What PPO makes large, of token j, and its slope in log pi: Schulman et al. 2017
 * (arXiv:1707.06347) eq. (7), with e = clip_range,
 *
 *     rho = pi / pi_old
 *     min( rho A,  clip(rho, 1-e, 1+e) A ),    slope rho A where the first is not larger, else 0 */
static double clipped_surrogate(double *slope, const LossBatch *b, const LossSettings *s, int j) {
    int inside;
    const double A = b->label[j], low = 1 - s->clip_range, high = 1 + s->clip_range;
    const double rho = more_exp(bounded_ratio(&inside, b->logp[j], b->old_logp[j]));
    double clipped = rho;
    if (rho < low) clipped = low;
    if (rho > high) clipped = high;
    const double first = rho * A, second = clipped * A;
    *slope = first <= second && inside ? first : 0;
    return first <= second ? first : second;
}

double ppo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        const double w = loss_weight(b->weight, j);
        double slope;
        loss -= w * clipped_surrogate(&slope, b, s, j);
        b->dlogp[j] -= (float)(w * slope);
    }
    return loss;
}

/* GRPO: Shao et al. 2024 eqs. (3) and (4).  PPO's, and KL to the reference as a term of the loss,
 * by the estimator r - 1 - log r (k3 of Schulman 2020), not as a part of the reward:
 *
 *     r   = pi_ref / pi
 *     L_j = -min( rho A, clip(rho, 1-e, 1+e) A ) + beta (r - 1 - log r)
 *
 *     d(r - 1 - log r)/dlog pi = 1 - r
 *
 * On average over y ~ pi that gradient is the one of KL(pi_ref || pi), not of KL(pi || pi_ref).  */
double grpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        const double w = loss_weight(b->weight, j);
        double slope;
        int inside;
        const double log_r = bounded_ratio(&inside, b->ref_logp[j], b->logp[j]);
        const double minus_1 = more_expm1(log_r);
        loss -= w * (clipped_surrogate(&slope, b, s, j) - s->beta * (minus_1 - log_r));
        if (inside) slope += s->beta * minus_1;
        b->dlogp[j] -= (float)(w * slope);
    }
    return loss;
}
#endif

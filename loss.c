/* loss.c - the papers: losses and MORE's weights, pure functions of small arrays, each with its equation.
 *
 * Rewards and log-probabilities come in, one number per text; a loss and its gradient go out.  Nothing here
 * knows models, files or tasks.  Everything is computed in double without fused multiply-add, in the order
 * written, and rounded to float once (NUMERICS.md).                                                       */
#ifndef LOSS_C
#define LOSS_C

#include "common.h"

double log_sigmoid(double x);
double sigmoid(double x);

// log sigma(x) and sigma(x), sigma(x) = 1 / (1 + e^-x), that do not overflow for either sign of x
double log_sigmoid(double x) { return (x < 0 ? x : 0) - more_log1p(more_exp(-fabs(x))); }
double sigmoid(double x)     { double e = more_exp(-fabs(x)); return (x < 0 ? e : 1) / (1 + e); }

// The cross-entropy -[z log sigma(x) + (1-z) log sigma(-x)] of a logit x with a label z in [0,1], and its
// slope sigma(x) - z, without cancellation at either end.
static double cross_entropy(double *slope, double x, double z) {
    *slope = (1 - z) * sigmoid(x) - z * sigmoid(-x);
    return -(z * log_sigmoid(x) + (1 - z) * log_sigmoid(-x));
}

// Every objective weighs its rows; weight NULL means ones, a mean has weight 1/n.
static double weight_of(const float *weight, int j) { return weight ? weight[j] : 1; }

// Adds the gradients of a loss of chosen - rejected: rounded once, so that they are exact opposites.
static void pair_add(float *dchosen, float *drejected, double gradient) {
    float g = (float)gradient;
    *dchosen   += g;
    *drejected -= g;
}

// ------------------------------------------------------------------------------------------ objectives

/* Language modelling: L = -1/N sum_t log p(target_t | what came before); rows with target -1 are not scored.
 * All arrays are (T); N is the number of scored tokens of the whole step, of which these may be a part.   */
void lm_coefficients(float *dlogp, const int *target, int T, double N) {
    for (int t = 0; t < T; t++) dlogp[t] = target[t] < 0 ? 0 : (float)(-1 / N);
}
double lm_loss(const float *logp, int T, double N) {
    double sum = 0;
    for (int t = 0; t < T; t++) sum += logp[t];
    return -sum / N;
}

/* Bradley-Terry reward loss: Ouyang et al. 2022 (arXiv:2203.02155) eq. (1), which is MORE's eq. (1);
 * the margin is that of Touvron et al. 2023 (arXiv:2307.09288) eq. (2), as in TRL:
 *
 *     d_j = chosen_j - rejected_j - margin_j
 *     L   = sum_j weight_j * -log sigma(d_j)          dL/dchosen_j = -weight_j sigma(-d_j) = -dL/drejected_j
 *
 * All arrays are (n); weight NULL means ones, margin NULL zeros; a mean has weight 1/n.  Returns L, adds
 * the gradients.  A pair's two gradients are exact opposites; a pair of weight 0 has neither.            */
double reward_bt_loss(float *dchosen, float *drejected, const float *chosen, const float *rejected,
                      const float *weight, const float *margin, int n) {
    double loss = 0;
    for (int j = 0; j < n; j++) {
        double w = weight_of(weight, j), slope;
        loss += w * cross_entropy(&slope, (double)chosen[j] - rejected[j] - (margin ? margin[j] : 0), 1);
        pair_add(dchosen + j, drejected + j, w * slope);
    }
    return loss;
}

// -------------------------------------------------------------------------------------------- policies

// What the losses of policies read and write: B texts, or B pairs; of pairs logp, ref_logp and dlogp are
// (B,2), chosen and rejected.
typedef struct {
    int B;
    const float *logp;                // log pi(y|x), a sum or a mean over tokens (--logp)
    const float *ref_logp;            // log pi_ref(y|x), the same
    const float *weight;              // (B); NULL: ones
    const float *label;               // (B), of points: in [0,1], or a score
    const unsigned char *demo;        // (B), of points: is it a demonstration?  NULL: none is
    float *dlogp;                     // the gradient is added
} LossBatch;

// What they are set to; each reads what it needs.
typedef struct {
    double beta;                      // scale of implicit rewards; ORPO's lambda, which TRL calls beta too
    double label_smoothing, simpo_gamma, log_z, desirable_weight, undesirable_weight;
    double kl;                        // KTO's, of the whole step
    int continuous;                   // labels are scores to be reached (ULMA, point-wise DPO)
} LossSettings;

/* Every loss of policies: L, the sum over j of weight_j times what is written above the function, is returned,
 * dL/dlogp is added.  A mean over n texts has weight 1/n; a mean over each of two classes, as in ULMA's
 * release, 1/(size of the class).  pi(y|x) is that of a whole answer under the policy, pi_ref(y|x) under the
 * frozen reference it started from; their logarithms are sums over an answer's tokens in the papers, but
 * means in ORPO, in SimPO and in ULMA's release.                                                          */
typedef double PolicyLoss(const LossBatch *b, const LossSettings *s);

PolicyLoss sft_loss, dpo_loss, ipo_loss, orpo_loss, simpo_loss;
PolicyLoss pointwise_dpo_loss, ulma_loss, unlikelihood_loss, kto_loss;

// r = beta (log pi(y|x) - log pi_ref(y|x)): Rafailov et al. 2023 (arXiv:2305.18290) eq. (5) without log Z(x)
static double implicit_reward(float logp, float ref_logp, double beta) {
    return beta * ((double)logp - ref_logp);
}

// r of the chosen answer of pair j minus r of the rejected one
static double reward_difference(const LossBatch *b, int j, double beta) {
    double chosen   = implicit_reward(b->logp[2*j],   b->ref_logp[2*j],   beta);
    double rejected = implicit_reward(b->logp[2*j+1], b->ref_logp[2*j+1], beta);
    return chosen - rejected;
}

// Supervised fine-tuning imitates:  L_j = -log pi(y_j|x_j)
double sft_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    (void)s;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j);
        loss -= w * b->logp[j];
        b->dlogp[j] -= (float)w;
    }
    return loss;
}

/* DPO: Rafailov et al. 2023 eq. (7); with e = label_smoothing the conservative DPO of Mitchell 2023, "A note
 * on DPO with noisy preferences", for labels that are wrong with probability e:
 *
 *     u   = r_chosen - r_rejected
 *     L_j = -(1-e) log sigma(u) - e log sigma(-u)
 *
 *     dL_j/dchosen = beta (sigma(u) - (1-e)) = -dL_j/drejected                                            */
double dpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j), slope;
        double u = reward_difference(b, j, s->beta);
        loss += w * cross_entropy(&slope, u, 1 - s->label_smoothing);
        pair_add(&b->dlogp[2*j], &b->dlogp[2*j+1], w * s->beta * slope);
    }
    return loss;
}

/* IPO: Azar et al. 2023 (arXiv:2310.12036) eq. (17), its tau named beta; h is u of DPO without beta:
 *
 *     L_j = (h - 1/(2 beta))^2                dL_j/dchosen = 2 (h - 1/(2 beta)) = -dL_j/drejected         */
double ipo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j);
        double h = reward_difference(b, j, 1);
        double gap = h - 1 / (2 * s->beta);
        loss += w * gap * gap;
        pair_add(&b->dlogp[2*j], &b->dlogp[2*j+1], 2 * w * gap);
    }
    return loss;
}

/* SimPO: Meng et al. 2024 (arXiv:2405.14734) eq. (6), of mean log-probabilities and without a reference:
 *
 *     x   = beta (log pi(chosen) - log pi(rejected)) - gamma
 *     L_j = -log sigma(x)                     dL_j/dchosen = -beta sigma(-x) = -dL_j/drejected            */
double simpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j), slope;
        double x = s->beta * ((double)b->logp[2*j] - b->logp[2*j+1]) - s->simpo_gamma;
        loss += w * cross_entropy(&slope, x, 1);
        pair_add(&b->dlogp[2*j], &b->dlogp[2*j+1], w * s->beta * slope);
    }
    return loss;
}

// log(p/(1-p)) of log p, and its slope 1/(1-p).  A p that a float cannot tell from 1 counts as 1 - 2^-24.
static double log_odds(double *slope, double logp) {
    if (logp > -0x1p-24) logp = -0x1p-24;
    double rest = -more_expm1(logp);
    *slope = 1 / rest;
    return logp - more_log(rest);
}

/* ORPO: Hong et al. 2024 (arXiv:2403.07691) eqs. (6) and (7), of mean log-probabilities, no reference:
 *
 *     x   = log odds(chosen) - log odds(rejected),      odds = p / (1-p),   p = pi(y|x)
 *     L_j = -log pi(chosen) - lambda log sigma(x),      lambda = beta
 *
 *     dL_j/dchosen   = -(1 + lambda sigma(-x) / (1 - pi(chosen)))
 *     dL_j/drejected =       lambda sigma(-x) / (1 - pi(rejected))                                        */
double orpo_loss(const LossBatch *b, const LossSettings *s) {
    const double lambda = s->beta;
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j), slope, up, down;
        float chosen = b->logp[2*j], rejected = b->logp[2*j+1];
        double x = log_odds(&up, chosen) - log_odds(&down, rejected);
        loss += w * (lambda * cross_entropy(&slope, x, 1) - chosen);
        b->dlogp[2*j]   += (float)(w * (lambda * slope * up - 1));
        b->dlogp[2*j+1] -= (float)(w * lambda * slope * down);
    }
    return loss;
}

/* Point-wise DPO: Cai et al. 2023 (arXiv:2312.02554), of one text with a label z:
 *
 *     s = r + log_z = beta (log pi(y|x) - log pi_ref(y|x)) + log_z
 *
 *     binary       L_j = -z log sigma(s) - (1-z) log sigma(-s)        dL_j/dlogp = beta (sigma(s) - z)
 *     continuous   L_j = (z - s)^2                                    dL_j/dlogp = 2 beta (s - z)
 *
 * log_z is the whole constant beta log Z(x), which the authors take as 0.  A binary label may be soft, in
 * [0,1].  s starts at log_z for every text, so that continuous scores should be centred.                  */
static double pointwise_binary(double *slope, double s, double z) { return cross_entropy(slope, s, z); }

static double pointwise_continuous(double *slope, double s, double z) {
    *slope = 2 * (s - z);
    return (z - s) * (z - s);
}

// L_j of text j and its slope in logp
static double pointwise_text(double *slope, const LossBatch *b, const LossSettings *settings, int j) {
    double s = implicit_reward(b->logp[j], b->ref_logp[j], settings->beta) + settings->log_z, loss;
    if (settings->continuous) loss = pointwise_continuous(slope, s, b->label[j]);
    else loss = pointwise_binary(slope, s, b->label[j]);
    *slope *= settings->beta;
    return loss;
}

double pointwise_dpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j), slope;
        loss += w * pointwise_text(&slope, b, s, j);
        b->dlogp[j] += (float)(w * slope);
    }
    return loss;
}

/* ULMA: Cai et al. 2023, eq. (9) of its ICLR 2024 submission.  A demonstration is imitated without regard to
 * the reference; any other text keeps the point-wise DPO loss:
 *
 *     L_j = -log pi(y|x) of a demonstration,  that of point-wise DPO, binary or continuous, of any other
 *
 * The release regards the score 1 as a demonstration, the others as label 0 or as a continuous score.     */
double ulma_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j), slope = -1;
        double text = b->demo && b->demo[j] ? -(double)b->logp[j] : pointwise_text(&slope, b, s, j);
        loss += w * text;
        b->dlogp[j] += (float)(w * slope);
    }
    return loss;
}

/* The baseline that ULMA's release calls unlikelihood, label z in [0,1]; unbounded below, and not the
 * log(1-p) of Welleck et al. 2019:
 *
 *     L_j = -z log pi(y|x) + (1-z) log pi(y|x)                                                            */
double unlikelihood_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    (void)s;
    for (int j = 0; j < b->B; j++) {
        double slope = weight_of(b->weight, j) * (1 - 2 * (double)b->label[j]);
        loss += slope * b->logp[j];
        b->dlogp[j] += (float)slope;
    }
    return loss;
}

/* KTO: Ethayarajh et al. 2024 (arXiv:2402.01306).  Label z is 1 of desirable texts, 0 of undesirable ones:
 *
 *     x   = beta (log pi(y|x) - log pi_ref(y|x) - kl)
 *     L_j = z desirable_weight sigma(-x) + (1-z) undesirable_weight sigma(x),      sigma(-x) = 1 - sigma(x)
 *
 * kl >= 0 is a constant for the gradient.                                                                 */
double kto_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = weight_of(b->weight, j);
        double x = implicit_reward(b->logp[j], b->ref_logp[j], s->beta) - s->beta * s->kl;
        double desirable   = b->label[j] * s->desirable_weight;
        double undesirable = (1 - b->label[j]) * s->undesirable_weight;
        loss += w * (desirable * sigmoid(-x) + undesirable * sigmoid(x));
        b->dlogp[j] += (float)(w * s->beta * sigmoid(x) * sigmoid(-x) * (undesirable - desirable));
    }
    return loss;
}

// kl = max(0, mean of log pi - log pi_ref), of answers that belong to other prompts; both are (n)
double kto_kl(const float *logp, const float *ref_logp, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += implicit_reward(logp[j], ref_logp[j], 1);
    return sum > 0 ? sum / n : 0;
}

/* ------------------------------------------------------------------------------------------------ MORE
 * Zeng et al. 2023 (arXiv:2312.07401).  K data sets share one reward model r(x,y) = w . h(x,y):
 *
 *     L_MORE = sum_i lambda_i L_i                                                                  eq. (7)
 *     lambda = argmin over the simplex of || sum_i lambda_i g_i ||^2,    g_i = dL_i/dw             app. B
 *
 * L_i is eq. (1) on the pairs of set i and lambda is a constant for the backward pass.  Two modes:
 * `release`, what the authors' program does: g_i goes through momentum and a normaliser, Frank-Wolfe
 * solves; `paper`, the formula: raw g_i, solved exactly.  Any normaliser works with either solver.    */

enum { MORE_MAX_SETS = 64 };
typedef enum { MORE_RELEASE, MORE_PAPER, MORE_MODES } MoreMode;
typedef enum { NORMALIZE_NONE, NORMALIZE_L2, NORMALIZE_LOSS, NORMALIZE_LOSS_PLUS, NORMALIZERS } Normalizer;
const char *const more_normalizers[] = {"none", "l2", "loss", "loss+", NULL};

/* One pair's part of the head gradient g (C), the closed form of eq. (1) derived by w:
 *
 *     g = sum_j coef_j (h_chosen_j - h_rejected_j),     coef_j = -sigma(-Delta_j) / n
 *
 * h are pooled hidden states (C); coef_j is what reward_bt_loss adds to dchosen_j for the weight 1/n.
 * Call it for the pairs in step order, with g starting from zero.                                     */
void more_head_gradient(float *g, const float *h_chosen, const float *h_rejected, float coef, int C) {
    for (int c = 0; c < C; c++) g[c] = more_fmaf(coef, h_chosen[c] - h_rejected[c], g[c]);
}

// m = (1 - alpha) m + alpha g, both (C), one m per data set.  The release has alpha = 0.99 on the new
// gradient and lets all sets start from the same random vector; the start is the caller's choice.
void more_momentum(float *m, const float *g, double alpha, int C) {
    for (int c = 0; c < C; c++) m[c] = (float)((1 - alpha) * m[c] + alpha * g[c]);
}

// M_ij = <g_i, g_j>: M is (K, K), g is (K, C)
void more_gram(double *M, const float *g, int K, int C) {
    for (int i = 0; i < K; i++)
        for (int j = 0; j <= i; j++) {
            const float *a = g + (size_t)i * C, *b = g + (size_t)j * C;
            double sum = 0;
            for (int c = 0; c < C; c++) sum += (double)a[c] * b[c];
            M[i*K + j] = M[j*K + i] = sum;
        }
}

// min over gamma of ||gamma v1 + (1-gamma) v2||^2 for a = <v1,v1>, b = <v1,v2>, c = <v2,v2>, clamped off the
// ends as in the release; *value is the minimum.
static double two_point(double *value, double a, double b, double c) {
    if (b >= a) return *value = a, 0.999;
    if (b >= c) return *value = c, 0.001;
    double gamma = (c - b) / ((a - b) + (c - b));           // in (0, 1) whatever the rounding
    *value = c + gamma * (b - c);
    return gamma;
}

// Towards the vertex with the smallest slope.  Returns 0 and leaves lambda alone if the step is negligible.
static int frank_wolfe_step(double *lambda, const double *M, int K) {
    double slope[MORE_MAX_SETS] = {0}, next[MORE_MAX_SETS], value, a = 0, change = 0;
    int t = 0;
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) slope[i] += M[i*K + j] * lambda[j];
        a += lambda[i] * slope[i];
        if (slope[i] < slope[t]) t = i;
    }
    double gamma = two_point(&value, a, slope[t], M[t*K + t]);
    for (int i = 0; i < K; i++) {
        next[i] = gamma * lambda[i] + (i == t ? 1 - gamma : 0);
        change += fabs(next[i] - lambda[i]);
    }
    if (change < 1e-5) return 0;
    memcpy(lambda, next, (size_t)K * sizeof *next);
    return 1;
}

/* argmin over the simplex of lambda' M lambda by Frank-Wolfe as the release does it, from the best pair;
 * M is (K, K), lambda (K).  Sener and Koltun 2018 (arXiv:1810.04650) alg. 2, Jaggi 2013.  A zero gradient
 * is kept and then takes nearly all the weight.                                                         */
void more_min_norm_fw(double *lambda, const double *M, int K) {
    int first = 0, second = 0;
    double gamma = 1, best = INFINITY, value;
    assert(K >= 1 && K <= MORE_MAX_SETS);
    for (int i = 0; i < K; i++)
        for (int j = i + 1; j < K; j++) {
            double g = two_point(&value, M[i*K + i], M[i*K + j], M[j*K + j]);
            if (value < best) best = value, gamma = g, first = i, second = j;
        }
    for (int i = 0; i < K; i++) lambda[i] = i == first ? gamma : i == second ? 1 - gamma : 0;
    if (K > 2) for (int n = 0; n < 1000 && frank_wolfe_step(lambda, M, K); n++) {}
}

// argmin of y' R y subject to sum_i w_i y_i = 1 over the n indices in set: Wolfe's equation (R + ww') y ~ w,
// by Cholesky.  R is (K, K), w (K), y (n).  A vanishing pivot, a point that the others nearly span, is kept
// above zero: y is then far away along the dependency, and the caller's walk to it drops one of them.
static void affine_minimum(double *y, const double *R, const double *w, const int *set, int n, int K) {
    double L[MORE_MAX_SETS][MORE_MAX_SETS], top = 0, sum = 0;
    for (int i = 0; i < n; i++) top = w[set[i]] > top ? w[set[i]] : top;
    for (int i = 0; i < n; i++) {
        double wi = w[set[i]] / top;
        y[i] = wi;
        for (int j = 0; j <= i; j++) {
            double x = R[set[i]*K + set[j]] + wi * (w[set[j]] / top);
            for (int k = 0; k < j; k++) x -= L[i][k] * L[j][k];
            L[i][j] = j < i ? x / L[j][j] : sqrt(x > 1e-15 ? x : 1e-15);
            if (j < i) y[i] -= L[i][j] * y[j];
        }
        y[i] /= L[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) y[i] -= L[k][i] * y[k];
        y[i] /= L[i][i];
    }
    for (int i = 0; i < n; i++) sum += w[set[i]] * y[i];
    for (int i = 0; i < n; i++) y[i] /= sum;
}

static double quadratic(const double *z, const double *R, int K) {
    double sum = 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) sum += z[i] * R[i*K + j] * z[j];
    return sum;
}

/* The same minimum, exactly: the nearest point to the origin in a polytope, Wolfe 1976 (Math. Programming
 * 11, 128-149), on M (K, K).  A set of points is kept whose nearest point x lies inside their hull; the
 * point that most undercuts <p,x> >= <x,x> joins, and on the way to the new nearest point those leave whose
 * weight reaches zero.  Unit vectors and z_i = lambda_i ||g_i|| / min ||g|| make gradients of any size alike:
 *
 *     min z' R z,   R_ij = M_ij / (||g_i|| ||g_j||),   sum_i w_i z_i = 1,   w_i = min ||g|| / ||g_i||
 *
 * A data set without a gradient (its pairs tied or saturated) would take all the weight and teach nothing:
 * it stays out and gets 0.  If all are without, lambda is 1/K.                                          */
void more_min_norm_exact(double *lambda, const double *M, int K) {
    double R[MORE_MAX_SETS * MORE_MAX_SETS], w[MORE_MAX_SETS], z[MORE_MAX_SETS] = {0};
    double old[MORE_MAX_SETS], y[MORE_MAX_SETS], sum = 0;
    int set[MORE_MAX_SETS], n = 1, smallest = -1;
    assert(K >= 1 && K <= MORE_MAX_SETS);
    for (int i = 0; i < K; i++)
        if (M[i*K + i] > 0 && (smallest < 0 || M[i*K + i] < M[smallest*K + smallest])) smallest = i;
    for (int i = 0; i < K; i++) lambda[i] = 1.0 / K;
    if (smallest < 0) return;
    for (int i = 0; i < K; i++) {
        w[i] = M[i*K + i] > 0 ? sqrt(M[smallest*K + smallest]) / sqrt(M[i*K + i]) : 0;
        for (int j = 0; j < K; j++) {
            double norms = sqrt(M[i*K + i]) * sqrt(M[j*K + j]);
            R[i*K + j] = i == j ? 1 : norms > 0 ? M[i*K + j] / norms : 0;
        }
    }
    set[0] = smallest;
    z[smallest] = 1;
    for (int step = 0; step < 1000; step++) {
        double worst = 0, a = quadratic(z, R, K);
        int enter = -1;
        for (int j = 0; j < K; j++) {                       // gap = (<x,p> - <x,x>) / ||p||, up to a factor
            double gap = -a * w[j], size = a * w[j];
            for (int i = 0; i < K; i++) gap += z[i] * R[i*K + j], size += z[i] * fabs(R[i*K + j]);
            if (w[j] > 0 && z[j] == 0 && gap < -1e-13 * size && gap < worst) worst = gap, enter = j;
        }
        if (enter < 0) break;
        memcpy(old, z, sizeof z);
        set[n++] = enter;
        for (int leave = 0; leave >= 0;) {
            double theta = 2;
            affine_minimum(y, R, w, set, n, K);
            leave = -1;
            for (int i = 0; i < n; i++) {
                double zi = z[set[i]], t = y[i] > 0 ? 2 : zi > 0 ? zi / (zi - y[i]) : 0;
                if (t < theta) theta = t, leave = i;
            }
            for (int i = 0; i < n; i++) {
                double zi = leave < 0 ? y[i] : z[set[i]] + theta * (y[i] - z[set[i]]);
                z[set[i]] = i == leave || !(zi > 0) ? 0 : zi;
            }
            if (leave >= 0) memmove(set + leave, set + leave + 1, (size_t)(--n - leave) * sizeof *set);
        }
        if (!(quadratic(z, R, K) < a)) {                    // nothing left but rounding
            memcpy(z, old, sizeof z);
            break;
        }
    }
    for (int i = 0; i < K; i++) sum += w[i] * z[i];
    for (int i = 0; i < K; i++) lambda[i] = w[i] * z[i] / sum;
}

/* lambda (K) from the head gradients g (K, C), after momentum if there is any, and the losses L (K).  The
 * normaliser divides g_i by (release, argument --normalize; by 1 where that is 0)
 *
 *     none 1        l2 ||g_i||        loss (L_i + 1) / sum_k (L_k + 1)        loss+ ||g_i|| L_i
 *
 * and lambda is then applied to the losses as it is.  0, or -1 after fail() if a number is not finite.   */
int more_weights(double *lambda, const float *g, const double *loss, MoreMode mode, Normalizer normalizer,
                 int K, int C) {
    double M[MORE_MAX_SETS * MORE_MAX_SETS], divisor[MORE_MAX_SETS], total = 0;
    assert(K >= 1 && K <= MORE_MAX_SETS);
    more_gram(M, g, K, C);
    for (int i = 0; i < K; i++) {
        if (!isfinite(M[i*K + i]) || !isfinite(loss[i]))
            return fail(EX_DATAERR, "data set %d: loss or head gradient is not finite; "
                        "a lower --learning_rate may help", i + 1);
        total += loss[i] + 1;
    }
    for (int i = 0; i < K; i++) {
        double norm = sqrt(M[i*K + i]);
        divisor[i] = normalizer == NORMALIZE_L2   ? norm
                   : normalizer == NORMALIZE_LOSS ? (loss[i] + 1) / total
                   : normalizer == NORMALIZE_LOSS_PLUS ? norm * loss[i] : 1;
        if (divisor[i] == 0) divisor[i] = 1;
    }
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) M[i*K + j] /= divisor[i] * divisor[j];
    if (mode == MORE_PAPER) more_min_norm_exact(lambda, M, K);
    else more_min_norm_fw(lambda, M, K);
    return 0;
}

// count of 0..n-1 without replacement, each subset equally likely (reservoir sampling, Vitter 1985)
static void sample_without_replacement(uint32_t *out, uint32_t count, uint32_t n, uint64_t key) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = i < count ? i : random_below(i + 1, key, STREAM_RESAMPLE, 0, i);
        if (j < count) out[j] = i;
    }
}

/* MORE app. A.3, "Balancing": set i of size[i] items becomes a shuffled list of N items, row i of index
 * (K, N); group n is the n-th item of each list.  A larger set gives a random N of its items; a smaller one
 * is kept whole, as often as it fits, and topped up by a random part of itself, so that the counts of two
 * items differ by at most one.  A function of seed and epoch; the lists do not depend on each other.     */
void sampler_fill(uint32_t *index, const uint32_t *size, int K, uint32_t N, uint64_t seed, uint64_t epoch) {
    for (int i = 0; i < K; i++) {
        assert(size[i] > 0);
        uint32_t *row = index + (size_t)i * N, whole = N - N % size[i];
        uint64_t key = random_u64(seed, STREAM_RESAMPLE, epoch, (uint64_t)i);
        for (uint32_t n = 0; n < whole; n++) row[n] = n % size[i];
        sample_without_replacement(row + whole, N - whole, size[i], key);
        for (uint32_t n = N; n > 1; n--) {
            uint32_t j = random_below(n, key, STREAM_ORDER, 0, n), t = row[n-1];
            row[n-1] = row[j], row[j] = t;
        }
    }
}
#endif

/* loss.c - the papers: losses and MORE's weights, each function under its equation.
 *
 * Pure functions of small arrays: rewards or log-probabilities come in, one number per text; a loss
 * and its gradient go out.  Nothing here knows models, files or tasks.  Everything is computed in
 * double without fused multiply-add, in the order written, and rounded to float once:
 * NUMERICS.md.                                                                                   */
#ifndef LOSS_C
#define LOSS_C

#include "common.h"

// ----------------------------------------------------------------------------------- the interface

// log sigma(x) and sigma(x) = 1 / (1 + e^-x)
double log_sigmoid(double x);
double sigmoid(double x);

// What text or pair j counts for.
double loss_weight(const float *weight, int j);

// Language modelling, of the N scored tokens of a step: dL/dlogp of T token rows, and L.
void   lm_coefficients(float *dlogp, const int *target, int T, double N);
double lm_loss(const float *logp, int T, double N);

// Reward models: Bradley and Terry's loss of n pairs of rewards.
double reward_bt_loss(float *dchosen, float *drejected, const float *chosen, const float *rejected,
                      const float *weight, const float *margin, int n);

// Rankings of m answers: the log-likelihood of an order under scores; the loss of m rewards.
enum { MAX_CHOICES = 256 };
double choice_loglik(double *ds, const double *s, const float *rank, int m, int top, double weight);
void choice_curvature(double *H, const double *s, const float *rank, int m, int top, double weight);
double reward_choice_loss(float *dreward, const float *reward, const float *rank, int m, int top,
                          double weight);

// What the losses of policies read and write: B texts, or B pairs; of pairs logp, ref_logp and
// dlogp are (B,2), chosen and rejected; of rankings (B,m), the best one first.
typedef struct {
    int B;
    int m;                            // answers of each ranking
    const float *rank;                // (B,m), of rankings, see choice_loglik; NULL: pairs, texts
    const float *logp;                // log pi(y|x), a sum or a mean over tokens (--logp)
    const float *ref_logp;            // log pi_ref(y|x), the same
    const float *old_logp;            // of single tokens that were drawn: log pi when they were
    const float *weight;              // (B); NULL: ones
    const float *label;               // (B), of points: in [0,1], or a score; of drawn texts the
                                      //   advantage
    const unsigned char *demo;        // (B), of points: is it a demonstration?  NULL: none is
    float *dlogp;                     // the gradient is added
} LossBatch;

// What they are set to; each reads what it needs.
typedef struct {
    double beta;                      // scale of implicit rewards; ORPO's lambda, as in TRL
    double label_smoothing, simpo_gamma, log_z, desirable_weight, undesirable_weight;
    double kl;                        // KTO's, of the whole step
    double clip_range;                // PPO's epsilon
    double demo_share;                // of demonstrations beside stored completions with rewards
    int continuous;                   // labels are scores to be reached (ULMA, point-wise DPO)
    int top;                          // of rankings the places that count; 0: all
} LossSettings;

// Returns the loss, adds its gradient.
typedef double PolicyLoss(const LossBatch *b, const LossSettings *s);

PolicyLoss sft_loss;                  // of texts: imitation
PolicyLoss dpo_loss;                  // of pairs or rankings, against a reference
PolicyLoss ipo_loss;                  // of pairs, against a reference
PolicyLoss orpo_loss;                 // of pairs
PolicyLoss simpo_loss;                // of pairs
PolicyLoss pointwise_dpo_loss;        // of labelled texts, against a reference
PolicyLoss ulma_loss;                 // of labelled texts and demonstrations, against a reference
PolicyLoss unlikelihood_loss;         // of labelled texts
PolicyLoss kto_loss;                  // of labelled texts, against a reference
PolicyLoss stored_loss;               // of texts with a reward, and demonstrations

// KTO's estimate of KL(pi || pi_ref) from n texts.
double kto_kl(const float *logp, const float *ref_logp, int n);

// MRPO: several references of a pair's answers, or of m: clipped, their weights, their mixture.
typedef enum { MIX_ADAPTIVE, MIX_EQUAL, MIX_SWAPPED, NUM_MIXES } MixWeights;
int    mrpo_clip(double *ref, int K, int m, double width);
void   mrpo_weights(double *a, const double *ref, int K, int m, MixWeights how);
double mrpo_reference(const double *ref, const double *a, int K, int m, int k);

// BAPO: what keeps a base response as likely as it was, of sums over its tokens.
double bapo_loss(double *slope, double logp, double ref_logp, int tokens);

// SPO: which of L levels a copy has, by scores z (L); sets slope (L).
double level_loss(double *slope, const double *z, int L, int level);

// Group-robust optimisation: the weights of n groups from their losses of a step.
void group_alpha(double *alpha, double *log_alpha, const double *loss, double step, int n);

// MORE: how it weighs its data sets (--more); what their gradients are divided by (--normalize).
enum { MORE_MAX_SETS = 64 };
typedef enum { MORE_RELEASE, MORE_PAPER, MORE_UNIFORM, NUM_MORE_MODES } MoreMode;
typedef enum {
    NORMALIZE_NONE, NORMALIZE_L2, NORMALIZE_LOSS, NORMALIZE_LOSS_PLUS, NUM_NORMALIZERS
} Normalizer;

const char *const more_mode_names[] = {
    [MORE_RELEASE]   = "release",
    [MORE_PAPER]     = "paper",
    [MORE_UNIFORM]   = "uniform",
    [NUM_MORE_MODES] = NULL,
};
const char *const normalizer_names[] = {
    [NORMALIZE_NONE]      = "none",
    [NORMALIZE_L2]        = "l2",
    [NORMALIZE_LOSS]      = "loss",
    [NORMALIZE_LOSS_PLUS] = "loss+",
    [NUM_NORMALIZERS]     = NULL,
};
_Static_assert(sizeof more_mode_names / sizeof *more_mode_names == NUM_MORE_MODES + 1,
               "every mode has a name");
_Static_assert(sizeof normalizer_names / sizeof *normalizer_names == NUM_NORMALIZERS + 1,
               "every normaliser has a name");

// The parts of MORE's step in its order: a set's head gradient g, pair by pair; its moving average
// m; lambda of all K sets.
void more_head_gradient(float *g, const float *h_chosen, const float *h_rejected, float coef,
                        int C);
void more_momentum(float *m, const float *g, double alpha, int C);
int  more_weights(double *lambda, const float *g, const double *loss, MoreMode mode,
                  Normalizer normalizer, int K, int C);

// What more_weights calls: the inner products M of K gradients; argmin lambda' M lambda, by
// Frank-Wolfe and exactly.
void more_gram(double *M, const float *g, int K, int C);
void more_min_norm_fw(double *lambda, const double *M, int K);
void more_min_norm_exact(double *lambda, const double *M, int K);

// ------------------------------------------------------------------------------- what losses share

// They do not overflow for either sign of x.
double log_sigmoid(double x) { return (x < 0 ? x : 0) - more_log1p(more_exp(-fabs(x))); }

double sigmoid(double x) {
    double e = more_exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

// The cross-entropy -z log sigma(x) - (1-z) log sigma(-x) of a logit x with a label z in [0,1], and
// its slope sigma(x) - z, without cancellation at either end.
static double cross_entropy(double *slope, double x, double z) {
    *slope = (1 - z) * sigmoid(x) - z * sigmoid(-x);
    return -(z * log_sigmoid(x) + (1 - z) * log_sigmoid(-x));
}

// Every loss weighs its texts or pairs; weight NULL means ones, a mean has weight 1/n.
double loss_weight(const float *weight, int j) { return weight ? weight[j] : 1; }

// Adds the gradients of a loss of chosen - rejected, rounded once: exact opposites.
static void add_opposites(float *dchosen, float *drejected, double gradient) {
    float g = (float)gradient;
    *dchosen   += g;
    *drejected -= g;
}

// --------------------------------------------------------------- language modelling, reward models

/* Language modelling:
 *
 *     L = -1/N sum_t log p(target_t | what came before)
 *
 * All arrays are (T); token rows with target -1 are not scored.  N counts the scored tokens of the
 * whole step, of which these may be a part.                                                      */
void lm_coefficients(float *dlogp, const int *target, int T, double N) {
    for (int t = 0; t < T; t++) dlogp[t] = target[t] < 0 ? 0 : (float)(-1 / N);
}

double lm_loss(const float *logp, int T, double N) {
    double sum = 0;
    for (int t = 0; t < T; t++) sum += logp[t];
    return -sum / N;
}

/* Bradley-Terry reward loss: Ouyang et al. 2022 (arXiv:2203.02155) eq. (1), the same as MORE's
 * eq. (1); the margin is that of Touvron et al. 2023 (arXiv:2307.09288) eq. (2), as in TRL:
 *
 *     d_j = chosen_j - rejected_j - margin_j
 *     L   = sum_j weight_j * -log sigma(d_j)
 *
 *     dL/dchosen_j = -weight_j sigma(-d_j) = -dL/drejected_j
 *
 * All arrays are (n); weight NULL means ones, margin NULL zeros; a mean has weight 1/n.  L is
 * returned, the gradients are added: a pair's two are exact opposites, and 0 if its weight is.   */
double reward_bt_loss(float *dchosen, float *drejected, const float *chosen, const float *rejected,
                      const float *weight, const float *margin, int n) {
    double loss = 0;
    for (int j = 0; j < n; j++) {
        double w = loss_weight(weight, j), slope;
        double d = (double)chosen[j] - rejected[j] - (margin ? margin[j] : 0);
        loss += w * cross_entropy(&slope, d, 1);
        add_opposites(&dchosen[j], &drejected[j], w * slope);
    }
    return loss;
}

// -------------------------------------------------------- choices among m answers, and their order

/* One stage: answer i is chosen among itself and the answers [worse, m).
 *
 *     p_k   = e^{s_k} / (e^{s_i} + sum_{j >= worse} e^{s_j})
 *     log p_i = s_i - s_b - log(1 + others),      others = sum_{k not b} e^{s_k - s_b}
 *
 * with b the largest of them, so that nothing overflows.  Adds weight times its gradient to ds (m):
 * 1 - p_i to ds_i, where 1 - p_i is the sum of the other p, and -p_j to each ds_j.              */
static double choice_stage(double *ds, const double *s, int i, int worse, int m, double weight) {
    double others = 0, lost = 0;
    int best = i;
    for (int j = worse; j < m; j++) {
        if (s[j] > s[best]) best = j;
    }
    if (best != i) others += more_exp(s[i] - s[best]);
    for (int j = worse; j < m; j++) {
        if (j != best) others += more_exp(s[j] - s[best]);
    }
    for (int j = worse; ds && j < m; j++) {
        const double p = more_exp(s[j] - s[best]) / (1 + others);
        ds[j] -= weight * p;
        lost += p;
    }
    if (ds) ds[i] += weight * lost;
    return (s[i] - s[best]) - more_log1p(others);
}

/* The log-likelihood of an order of m answers with the scores s (m): each of the best `top` places
 * is a choice among its answer and all that are worse,
 *
 *     ell = sum_i [ s_i - log( e^{s_i} + sum_{j worse than i} e^{s_j} ) ]
 *
 * rank (m) does not decrease; answers of equal rank share a place and are not compared.  It is
 *
 *     of two answers               Bradley and Terry 1952
 *     of the ranks 1, 2, 2, ...    the choice of the best of m, McFadden 1974 (multinomial logit)
 *     of ranks without ties        Luce 1959, Plackett 1975; with top = t its first t stages
 *
 * top 0: all places.  Adds weight times the gradient to ds (m), which may be NULL.  Of two answers
 * both are, to the last bit, what reward_bt_loss computes.                                       */
double choice_loglik(double *ds, const double *s, const float *rank, int m, int top,
                     double weight) {
    double loglik = 0;
    int first = 0, worse = 0;                              // those equal to i are [first, worse)
    for (int i = 0; i < m; i++) {
        if (i == worse) {
            first = i;
            while (worse < m && rank[worse] == rank[i]) worse++;
        }
        if (worse == m || (top && first >= top)) break;    // nothing is worse; no place that counts
        loglik += choice_stage(ds, s, i, worse, m, weight);
    }
    return loglik;
}

/* The curvature of the same: adds weight times -d2ell/ds2 to H (m,m).  Of the choice of a place,
 * whose answers have the probabilities p, it is
 *
 *     diag(p) - p p'                                                                             */
void choice_curvature(double *H, const double *s, const float *rank, int m, int top,
                      double weight) {
    int first = 0, worse = 0;
    assert(m <= MAX_CHOICES);
    for (int i = 0; i < m; i++) {
        double p[MAX_CHOICES] = {0};
        if (i == worse) {
            first = i;
            while (worse < m && rank[worse] == rank[i]) worse++;
        }
        if (worse == m || (top && first >= top)) break;

        // minus the slope of a choice is p - [chosen]
        choice_stage(p, s, i, worse, m, -1);
        p[i] += 1;
        for (int j = i; j < m; j++) {
            H[j*m + j] += weight * p[j];
            for (int l = i; l < m; l++) H[j*m + l] -= weight * p[j] * p[l];
        }
    }
}

/* The loss of a ranking's rewards (m): -weight ell.  It is returned, the gradient is added.      */
double reward_choice_loss(float *dreward, const float *reward, const float *rank, int m, int top,
                          double weight) {
    double s[MAX_CHOICES] = {0}, ds[MAX_CHOICES] = {0};
    assert(m <= MAX_CHOICES);
    for (int k = 0; k < m; k++) s[k] = reward[k];
    double loglik = choice_loglik(ds, s, rank, m, top, -weight);
    for (int k = 0; k < m; k++) dreward[k] += (float)ds[k];
    return weight * -loglik;
}

/* ---------------------------------------------------------------------------------------- policies
 * pi(y|x) is the probability of a whole answer y under the policy, pi_ref(y|x) under the frozen
 * reference it started from.  Their logarithms are sums over an answer's tokens in the papers, but
 * means in ORPO, in SimPO and in ULMA's release.  Every loss is
 *
 *     L = sum_j weight_j L_j
 *
 * with the L_j that stands above its function.  A mean over n texts has weight 1/n; a mean over
 * each of two classes, as in ULMA's release, 1/(size of the class).                              */

// r = beta (log pi(y|x) - log pi_ref(y|x)): Rafailov et al. 2023 (arXiv:2305.18290) eq. (5) without
// log Z(x), the implicit reward
static double implicit_reward(float logp, float ref_logp, double beta) {
    return beta * ((double)logp - ref_logp);
}

// r of the chosen answer of pair j minus r of the rejected one
static double reward_difference(const LossBatch *b, int j, double beta) {
    double chosen   = implicit_reward(b->logp[2*j],   b->ref_logp[2*j],   beta);
    double rejected = implicit_reward(b->logp[2*j+1], b->ref_logp[2*j+1], beta);
    return chosen - rejected;
}

/* Supervised fine-tuning imitates:
 *
 *     L_j = -log pi(y|x)                                                                         */
double sft_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    (void)s;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j);
        loss -= w * b->logp[j];
        b->dlogp[j] -= (float)w;
    }
    return loss;
}

/* DPO of rankings, the Plackett-Luce form of Rafailov et al. 2023, app. A.3: the choices of
 * choice_loglik with s = r, the implicit rewards,
 *
 *     L_j = -ell(r)
 *
 *     dL_j/dlog pi(y_k) = -beta dell/dr_k                                                        */
static double dpo_ranking_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    assert(b->m <= MAX_CHOICES);
    for (int j = 0; j < b->B; j++) {
        const int first = j * b->m;
        double w = loss_weight(b->weight, j), r[MAX_CHOICES], slope[MAX_CHOICES] = {0};
        for (int k = 0; k < b->m; k++) {
            r[k] = implicit_reward(b->logp[first + k], b->ref_logp[first + k], s->beta);
        }
        loss += w * -choice_loglik(slope, r, b->rank + first, b->m, s->top, -w * s->beta);
        for (int k = 0; k < b->m; k++) b->dlogp[first + k] += (float)slope[k];
    }
    return loss;
}

/* DPO: Rafailov et al. 2023 eq. (7); with e = label_smoothing the conservative DPO of Mitchell
 * 2023, "A note on DPO with noisy preferences", for labels that are wrong with probability e:
 *
 *     u   = r_chosen - r_rejected
 *     L_j = -(1-e) log sigma(u) - e log sigma(-u)
 *
 *     dL_j/dlog pi(chosen) = beta (sigma(u) - (1-e)) = -dL_j/dlog pi(rejected)                   */
double dpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    if (b->rank) return dpo_ranking_loss(b, s);
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j), slope;
        double u = reward_difference(b, j, s->beta);
        loss += w * cross_entropy(&slope, u, 1 - s->label_smoothing);
        add_opposites(&b->dlogp[2*j], &b->dlogp[2*j+1], w * s->beta * slope);
    }
    return loss;
}

/* IPO: Azar et al. 2023 (arXiv:2310.12036) eq. (17), its tau named beta; h is DPO's u without beta:
 *
 *     L_j = (h - 1/(2 beta))^2
 *
 *     dL_j/dlog pi(chosen) = 2 (h - 1/(2 beta)) = -dL_j/dlog pi(rejected)                        */
double ipo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j);
        double h = reward_difference(b, j, 1);
        double gap = h - 1 / (2 * s->beta);
        loss += w * gap * gap;
        add_opposites(&b->dlogp[2*j], &b->dlogp[2*j+1], 2 * w * gap);
    }
    return loss;
}

/* SimPO: Meng et al. 2024 (arXiv:2405.14734) eq. (6), of mean log-probabilities, without a
 * reference:
 *
 *     x   = beta (log pi(chosen) - log pi(rejected)) - gamma
 *     L_j = -log sigma(x)
 *
 *     dL_j/dlog pi(chosen) = -beta sigma(-x) = -dL_j/dlog pi(rejected)                           */
double simpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j), slope;
        double x = s->beta * ((double)b->logp[2*j] - b->logp[2*j+1]) - s->simpo_gamma;
        loss += w * cross_entropy(&slope, x, 1);
        add_opposites(&b->dlogp[2*j], &b->dlogp[2*j+1], w * s->beta * slope);
    }
    return loss;
}

// log(p / (1-p)) of log p, and its slope 1 / (1-p).  A p that a float cannot tell from 1 counts as
// 1 - 2^-24.
static double log_odds(double *slope, double logp) {
    if (logp > -0x1p-24) logp = -0x1p-24;
    double rest = -more_expm1(logp);
    *slope = 1 / rest;
    return logp - more_log(rest);
}

/* ORPO: Hong et al. 2024 (arXiv:2403.07691) eqs. (6) and (7), of mean log-probabilities, without a
 * reference; lambda is s->beta:
 *
 *     x   = log odds(chosen) - log odds(rejected),      odds(y) = pi(y|x) / (1 - pi(y|x))
 *     L_j = -log pi(chosen) - lambda log sigma(x)
 *
 *     dL_j/dlog pi(chosen)   = -1 - lambda sigma(-x) / (1 - pi(chosen))
 *     dL_j/dlog pi(rejected) =      lambda sigma(-x) / (1 - pi(rejected))                        */
double orpo_loss(const LossBatch *b, const LossSettings *s) {
    const double lambda = s->beta;
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        float chosen = b->logp[2*j], rejected = b->logp[2*j+1];
        double w = loss_weight(b->weight, j), slope, slope_chosen, slope_rejected;
        double x = log_odds(&slope_chosen, chosen) - log_odds(&slope_rejected, rejected);
        loss += w * (lambda * cross_entropy(&slope, x, 1) - chosen);
        b->dlogp[2*j]   += (float)(w * (lambda * slope * slope_chosen - 1));
        b->dlogp[2*j+1] -= (float)(w * lambda * slope * slope_rejected);
    }
    return loss;
}

/* Point-wise DPO: Cai et al. 2023 (arXiv:2312.02554), of one text with a label z:
 *
 *     s = r + log_z = beta (log pi(y|x) - log pi_ref(y|x)) + log_z
 *
 *     binary:      L_j = -z log sigma(s) - (1-z) log sigma(-s)
 *     continuous:  L_j = (z - s)^2
 *
 * log_z is the whole constant beta log Z(x), which the authors take as 0.  A binary label may be
 * soft, in [0,1].  s starts at log_z for every text, so that continuous scores should be centred.*/

// The binary loss and its slope in s, sigma(s) - z.
static double binary_feedback(double *slope, double s, double z) {
    return cross_entropy(slope, s, z);
}

// The continuous loss and its slope in s, 2 (s - z).
static double continuous_feedback(double *slope, double s, double z) {
    *slope = 2 * (s - z);
    return (z - s) * (z - s);
}

// L_j of text j and its slope in log pi(y|x): beta times that in s.
static double pointwise_text(double *slope, const LossBatch *b, const LossSettings *settings,
                             int j) {
    double s = implicit_reward(b->logp[j], b->ref_logp[j], settings->beta) + settings->log_z;
    double loss = settings->continuous ? continuous_feedback(slope, s, b->label[j])
                                       : binary_feedback(slope, s, b->label[j]);
    *slope *= settings->beta;
    return loss;
}

double pointwise_dpo_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j), slope;
        loss += w * pointwise_text(&slope, b, s, j);
        b->dlogp[j] += (float)(w * slope);
    }
    return loss;
}

/* ULMA: Cai et al. 2023, eq. (9) of its ICLR 2024 submission.  A demonstration is imitated without
 * regard to the reference; any other text keeps the point-wise DPO loss:
 *
 *     L_j = -log pi(y|x)             of a demonstration
 *           that of point-wise DPO   of any other text
 *
 * The release regards the score 1 as a demonstration, others as label 0 or as a continuous score.*/
double ulma_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j), slope;
        if (b->demo && b->demo[j]) {
            loss += w * -(double)b->logp[j];
            slope = -1;
        } else {
            loss += w * pointwise_text(&slope, b, s, j);
        }
        b->dlogp[j] += (float)(w * slope);
    }
    return loss;
}

/* The baseline that ULMA's release calls unlikelihood, label z in [0,1]; unbounded below, and not
 * the log(1-p) of Welleck et al. 2019:
 *
 *     L_j = -z log pi(y|x) + (1-z) log pi(y|x)                                                   */
double unlikelihood_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    (void)s;
    for (int j = 0; j < b->B; j++) {
        double slope = loss_weight(b->weight, j) * (1 - 2 * (double)b->label[j]);
        loss += slope * b->logp[j];
        b->dlogp[j] += (float)slope;
    }
    return loss;
}

/* KTO: Ethayarajh et al. 2024 (arXiv:2402.01306).  The label z of desirable texts is 1, of
 * undesirable ones 0; kl >= 0 is a constant for the gradient:
 *
 *     x   = beta (log pi(y|x) - log pi_ref(y|x) - kl)
 *     L_j = z desirable_weight (1 - sigma(x)) + (1-z) undesirable_weight (1 - sigma(-x))
 *
 *     dL_j/dlog pi(y|x) = beta sigma(x) sigma(-x) ((1-z) undesirable_weight - z desirable_weight)*/
double kto_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        double w = loss_weight(b->weight, j);
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

/* Stored texts with rewards in place of drawn ones: Nath et al. 2024 (arXiv:2402.15473), their
 * policy gradient on a limited trajectory, of mean log-probabilities (--logp mean).  A
 * demonstration is imitated; the label of any other text is its reward:
 *
 *     L_j = -share log pi(y|x)                  of a demonstration
 *           -(1 - share) reward log pi(y|x)     of any other text
 *
 * It is no gradient of E[r]: what was stored does not come from pi.                              */
double stored_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        const int demo = b->demo && b->demo[j];
        const double share = demo ? s->demo_share : (1 - s->demo_share) * b->label[j];
        const double slope = -loss_weight(b->weight, j) * share;
        loss += slope * b->logp[j];
        b->dlogp[j] += (float)slope;
    }
    return loss;
}

/* ------------------------------------------------------------------------------ several references
 * MRPO: Le et al. 2024 (arXiv:2405.16388).  A policy that is to stay near K references at once,
 * with weights a_i of the sum 1, stays near a single virtual one, their harmonic mean:
 *
 *     1/ref~(y|x) = sum_i a_i / ref_i(y|x)
 *     log ref~    = -log sum_i exp(log a_i - log ref_i)
 *
 * and is trained with it as with any reference.  `mdpo`, the paper's baseline, is instead the mean
 * of the losses, sum_i a_i L(ref_i).  All arrays are of one record: ref (K,m) is log ref_i(y_k) of
 * its m answers, the best first and of a pair m = 2; a is (K).                                   */

/* The trust region around the first reference, which the policy is thought to start from: with
 * B_k = log ref_1(y_k), negative, and b_k the mean of the references' log ref_i(y_k),
 *
 *     log ref_i(y_k) is brought into [(1 + e_k) B_k, (1 - e_k) B_k],
 *     e_k = width |b_k| / (|b_1| + |b_2|)
 *
 * Of m answers the sum of the e_k is m/2 times the width.  Returns how many numbers changed.     */
int mrpo_clip(double *ref, int K, int m, double width) {
    double all = 0;
    int clipped = 0;
    for (int i = 0; i < K * m; i++) all += fabs(ref[i]) / K;
    for (int k = 0; k < m && all > 0; k++) {
        const double base = ref[k];
        double b = 0;
        for (int i = 0; i < K; i++) b += fabs(ref[i*m + k]) / K;
        const double e = width * b / all * m / 2;
        for (int i = 1; i < K; i++) {
            double *x = &ref[i*m + k];
            const double low = (1 + e) * base, high = (1 - e) * base, was = *x;
            if (*x < low) *x = low;
            if (*x > high) *x = high;
            clipped += *x != was;
        }
    }
    return clipped;
}

/* Weights that are larger for references that tell the two answers apart:
 *
 *     a_i = |log ref_i(y_1) - log ref_i(y_m)| / sum_j |log ref_j(y_1) - log ref_j(y_m)|
 *
 * Where none does, and with MIX_EQUAL, 1/K.  The authors' program, which has two references, puts
 * a_1 on 1/ref_2 and a_2 on 1/ref_1: MIX_SWAPPED.  ref is not clipped yet.                       */
void mrpo_weights(double *a, const double *ref, int K, int m, MixWeights how) {
    double all = 0;
    for (int i = 0; i < K; i++) {
        const int from = how == MIX_SWAPPED ? K - 1 - i : i;
        a[i] = how == MIX_EQUAL ? 1 : fabs(ref[from*m] - ref[from*m + m-1]);
        all += a[i];
    }
    for (int i = 0; i < K; i++) a[i] = all > 0 ? a[i] / all : 1.0 / K;
}

// log ref~ of answer k
double mrpo_reference(const double *ref, const double *a, int K, int m, int k) {
    double lowest = HUGE_VAL, sum = 0;
    for (int i = 0; i < K; i++) {
        if (a[i] > 0 && ref[i*m + k] < lowest) lowest = ref[i*m + k];
    }
    for (int i = 0; i < K; i++) sum += a[i] * more_exp(lowest - (a[i] > 0 ? ref[i*m + k] : lowest));
    return lowest - more_log(sum);
}

/* -------------------------------------------------------------------------------------------- BAPO
 * Base-anchored preference optimisation: Lee et al. 2024 (arXiv:2407.00693), which keeps a policy's
 * likelihood of what the reference itself answered, y_b, while it learns one person's preferences.
 * The form is our reading, not the paper's formula; r is a log-ratio for a token:
 *
 *     r      = (log pi(y_b|x) - log pi_ref(y_b|x)) / |y_b|
 *     L_base = r^2,         the step's loss is  L + lambda mean L_base
 *
 *     dL_base/dlog pi(y_b|x) = 2 r / |y_b|                                                       */
double bapo_loss(double *slope, double logp, double ref_logp, int tokens) {
    const double r = (logp - ref_logp) / tokens;
    *slope = 2 * r / tokens;
    return r * r;
}

/* --------------------------------------------------------------------------------------------- SPO
 * Self-supervised preference optimisation (arXiv:2409.17791): copies of answers lack more and more
 * of their key phrases, and a head is to tell the level l of each (copies.c).  Our reading:
 *
 *     L_level = -log softmax(z)_l         dL_level/dz_k = softmax(z)_k - [k = l]                 */
double level_loss(double *slope, const double *z, int L, int level) {
    double most = z[0], sum = 0;
    for (int k = 1; k < L; k++) {
        if (z[k] > most) most = z[k];
    }
    for (int k = 0; k < L; k++) {
        slope[k] = more_exp(z[k] - most);
        sum += slope[k];
    }
    for (int k = 0; k < L; k++) slope[k] = slope[k] / sum - (k == level);
    return more_log(sum) - (z[level] - most);
}

/* ------------------------------------------------------------------------------------------ groups
 * Group-robust preference optimisation: Ramesh et al. 2024 (arXiv:2405.20304), after the
 * distributionally robust optimisation of Sagawa et al. 2020 (arXiv:1911.08731).  The policy
 * minimises the loss of the group that it is worst for, min_pi max_g L_g, by steps of both sides:
 *
 *     alpha_g <- alpha_g exp(step l_g),  then divided by their sum;    alpha_g = 1/n at first
 *     L       =  sum_g alpha_g l_g,      alpha a constant for the gradient
 *
 *     l_g = N/(n N_g) sum_j L_j          of the rows j of group g in a step of n; N_g and N: its
 *                                        rows in all the data, and all rows            (share)
 *     l_g = 1/n_g sum_j L_j              of its n_g rows in the step; 0 without any    (mean)
 *
 * `share` is the mean over a step of what the paper's algorithm computes of one row.  The authors'
 * program, with divide_by_totalcount, takes n times that; without it, `mean`, whose alpha falls for
 * a group that is missing in many steps.  For alpha alone adjust / sqrt(N_g) can be added to l_g.
 *
 * loss, alpha and log_alpha are (n); log_alpha is alpha before the step up to a number that all
 * have, 0 at first, and becomes that after it.                                                   */
void group_alpha(double *alpha, double *log_alpha, const double *loss, double step, int n) {
    double largest = -HUGE_VAL, sum = 0;
    for (int k = 0; k < n; k++) {
        log_alpha[k] += step * loss[k];
        if (log_alpha[k] > largest) largest = log_alpha[k];
    }
    for (int k = 0; k < n; k++) {
        alpha[k] = more_exp(log_alpha[k] - largest);
        sum += alpha[k];
    }
    for (int k = 0; k < n; k++) alpha[k] /= sum;
}

/* -------------------------------------------------------------------------------------------- MORE
 * Zeng et al. 2023 (arXiv:2312.07401).  K data sets share one reward model r(x,y) = w . h(x,y):
 *
 *     L_MORE = sum_i lambda_i L_i                                                          eq. (7)
 *     lambda = argmin over the simplex of || sum_i lambda_i g_i ||^2,   g_i = dL_i/dw      app. B
 *
 * L_i is eq. (1) on the pairs of set i, and lambda is a constant for the backward pass.  One step:
 *
 *     for each set i
 *         g_i = 1/n sum_j -sigma(-Delta_j) (h_chosen_j - h_rejected_j)         more_head_gradient
 *         g_i becomes its moving average                          (release)    more_momentum
 *         g_i becomes g_i / divisor_i                             (release)    more_weights
 *     lambda = min-norm weights of g_1 .. g_K                                  more_weights
 *         by Frank-Wolfe                                          (release)    more_min_norm_fw
 *         exactly                                                 (paper)      more_min_norm_exact
 *     backward of sum_i lambda_i L_i                                           reward_bt_loss
 *
 * `release` is what the authors' program does, `paper` the formula, of raw g_i; `uniform` has
 * lambda = 1/K.  Any normaliser works with either solver.                                        */

/* One pair's part of the head gradient g (C), the closed form of eq. (1) derived by w:
 *
 *     g = sum_j coef_j (h_chosen_j - h_rejected_j),     coef_j = -sigma(-Delta_j) / n
 *
 * h are pooled hidden states (C); coef_j is what reward_bt_loss adds to dchosen_j for the weight
 * 1/n.  Call it for the pairs in step order, with g starting from zero.                          */
void more_head_gradient(float *g, const float *h_chosen, const float *h_rejected, float coef,
                        int C) {
    for (int c = 0; c < C; c++) g[c] = more_fmaf(coef, h_chosen[c] - h_rejected[c], g[c]);
}

// m = (1 - alpha) m + alpha g, both (C), one m per data set.  The release has alpha = 0.99 on the
// new gradient and starts all sets from the same random vector; the start is the caller's choice.
void more_momentum(float *m, const float *g, double alpha, int C) {
    for (int c = 0; c < C; c++) m[c] = (float)((1 - alpha) * m[c] + alpha * g[c]);
}

// M_ij = <g_i, g_j>: M is (K,K), g is (K,C)
void more_gram(double *M, const float *g, int K, int C) {
    for (int i = 0; i < K; i++) {
        for (int j = 0; j <= i; j++) {
            const float *gi = g + (size_t)i * C, *gj = g + (size_t)j * C;
            double sum = 0;
            for (int c = 0; c < C; c++) sum += (double)gi[c] * gj[c];
            M[i*K + j] = sum;
            M[j*K + i] = sum;
        }
    }
}

static void uniform_weights(double *lambda, int K) {
    for (int i = 0; i < K; i++) lambda[i] = 1.0 / K;
}

// What g_i is divided by, from its norm and its set's loss L_i; total = sum_k (L_k + 1).
static double divisor_of(Normalizer normalizer, double norm, double loss, double total) {
    switch (normalizer) {
    case NORMALIZE_L2:        return norm;
    case NORMALIZE_LOSS:      return (loss + 1) / total;
    case NORMALIZE_LOSS_PLUS: return norm * loss;
    case NORMALIZE_NONE:
    case NUM_NORMALIZERS:     break;
    }
    return 1;
}

// M_ij of g_i / divisor_i from M_ij of g_i; a divisor that is 0 counts as 1.
static void normalize_gram(double *M, const double *loss, Normalizer normalizer, int K) {
    double divisor[MORE_MAX_SETS], total = 0;
    for (int i = 0; i < K; i++) total += loss[i] + 1;
    for (int i = 0; i < K; i++) {
        divisor[i] = divisor_of(normalizer, sqrt(M[i*K + i]), loss[i], total);
        if (divisor[i] == 0) divisor[i] = 1;
    }
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) M[i*K + j] /= divisor[i] * divisor[j];
    }
}

/* lambda (K) from the head gradients g (K,C), after momentum if there is any, and the losses L (K).
 * The normaliser divides g_i by (release, argument --normalize; by 1 where that is 0)
 *
 *     none 1        l2 ||g_i||        loss (L_i + 1) / sum_k (L_k + 1)        loss+ ||g_i|| L_i
 *
 * and lambda is then applied to the losses as it is.  0, or -1 after fail() if a number is not
 * finite; lambda is then 1/K.                                                                    */
int more_weights(double *lambda, const float *g, const double *loss, MoreMode mode,
                 Normalizer normalizer, int K, int C) {
    double M[MORE_MAX_SETS * MORE_MAX_SETS];
    assert(K >= 1 && K <= MORE_MAX_SETS);
    uniform_weights(lambda, K);
    more_gram(M, g, K, C);
    for (int i = 0; i < K; i++) {
        if (!isfinite(M[i*K + i]) || !isfinite(loss[i])) {
            return fail(EX_DATAERR, "data set %d: loss or head gradient is not finite; "
                        "a lower --learning_rate may help", i + 1);
        }
    }
    normalize_gram(M, loss, normalizer, K);
    if (mode == MORE_RELEASE) more_min_norm_fw(lambda, M, K);
    if (mode == MORE_PAPER) more_min_norm_exact(lambda, M, K);
    return 0;
}

// --------------------------------------------------------- MORE's weights as released: Frank-Wolfe

// min over gamma of ||gamma v1 + (1-gamma) v2||^2 for a = <v1,v1>, b = <v1,v2>, c = <v2,v2>,
// clamped off the ends as in the release.  Returns gamma; *value is the minimum.
static double two_point(double *value, double a, double b, double c) {
    if (b >= a) {
        *value = a;
        return 0.999;
    }
    if (b >= c) {
        *value = c;
        return 0.001;
    }
    double gamma = (c - b) / ((a - b) + (c - b));          // in (0,1) whatever the rounding
    *value = c + gamma * (b - c);
    return gamma;
}

// lambda of the two sets that, of all pairs of sets, have the shortest combination.
static void best_pair(double *lambda, const double *M, int K) {
    int first = 0, second = 0;
    double gamma = 1, best = INFINITY, value;
    for (int i = 0; i < K; i++) {
        for (int j = i + 1; j < K; j++) {
            double g = two_point(&value, M[i*K + i], M[i*K + j], M[j*K + j]);
            if (!(value < best)) continue;
            best = value;
            gamma = g;
            first = i;
            second = j;
        }
    }
    for (int i = 0; i < K; i++) lambda[i] = 0;
    lambda[second] = 1 - gamma;
    lambda[first] = gamma;                                 // of one set: 1
}

// Towards the vertex with the smallest slope.  A negligible step is not made and returns 0.
static int frank_wolfe_step(double *lambda, const double *M, int K) {
    double slope[MORE_MAX_SETS] = {0}, next[MORE_MAX_SETS];
    double value, square = 0, change = 0;
    int t = 0;

    // slope = M lambda, half the gradient of lambda' M lambda = square; t is the vertex
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) slope[i] += M[i*K + j] * lambda[j];
        square += lambda[i] * slope[i];
        if (slope[i] < slope[t]) t = i;
    }

    // next = gamma lambda + (1 - gamma) e_t, with the gamma that is best on this line
    double gamma = two_point(&value, square, slope[t], M[t*K + t]);
    for (int i = 0; i < K; i++) {
        next[i] = gamma * lambda[i] + (i == t ? 1 - gamma : 0);
        change += fabs(next[i] - lambda[i]);
    }
    if (change < 1e-5) return 0;
    memcpy(lambda, next, (size_t)K * sizeof *next);
    return 1;
}

/* argmin over the simplex of lambda' M lambda by Frank-Wolfe as the release does it, from the best
 * pair; M is (K,K), lambda (K).  Sener and Koltun 2018 (arXiv:1810.04650) alg. 2, Jaggi 2013.  A
 * zero gradient is kept and then takes nearly all the weight.                                    */
void more_min_norm_fw(double *lambda, const double *M, int K) {
    assert(K >= 1 && K <= MORE_MAX_SETS);
    best_pair(lambda, M, K);
    if (K <= 2) return;
    for (int step = 0; step < 1000; step++) {
        int moved = frank_wolfe_step(lambda, M, K);
        if (!moved) return;
    }
}

/* ------------------------------------------------------------------- MORE's weights exactly: Wolfe
 * The nearest point x to the origin in the hull of K points, here the gradients: Wolfe 1976 (Math.
 * Programming 11, 128-149).  A set of points is kept, the corral, whose nearest point x lies inside
 * their hull.  The point that most undercuts <x,p> >= <x,x> enters; on the way to the new nearest
 * point of the corral's plane those leave whose weight reaches zero.  Of three points
 * a = (-3,1), b = (3,1) and c = (0,2):
 *
 *     corral  x            lambda of a, b, c
 *     c       (0, 2)        0    0    1     the shortest;  <x,a> = <x,b> = 2 < 4: a enters
 *     a c     (-.6, 1.8)   .2    0   .8     arrived;       <x,b> = 0 < 3.6: b enters
 *     a b c   (-1/3, 1)    5/9  4/9   0     on the way to (0,0) = a + b - c: c leaves
 *     a b     (0, 1)       .5   .5    0     arrived;       <x,c> = 2 >= 1: nothing enters
 *
 * Gradients of any size are alike where they are unit vectors g_i / ||g_i|| with the weights
 * z_i = lambda_i ||g_i|| / min ||g||; with R_ij = M_ij / (||g_i|| ||g_j||) the problem is
 *
 *     min z' R z,      sum_i w_i z_i = 1,      w_i = min ||g|| / ||g_i||
 *
 * A gradient that is 0 has w_i = 0 and stays out.                                                */
typedef struct {
    int K;                                                 // points
    double R[MORE_MAX_SETS * MORE_MAX_SETS];               // (K,K)
    double w[MORE_MAX_SETS];                               // (K); 0: a point that stays out
    double z[MORE_MAX_SETS];                               // (K), 0 outside the corral
    int corral[MORE_MAX_SETS], n;                          // the n points of the corral
} Wolfe;

// R and w of the gradients, the shortest of them in the corral.  Returns whether there is one.
static int wolfe_start(Wolfe *s, const double *M, int K) {
    int shortest = -1;
    for (int i = 0; i < K; i++) {
        if (M[i*K + i] > 0 && (shortest < 0 || M[i*K + i] < M[shortest*K + shortest])) shortest = i;
    }
    if (shortest < 0) return 0;

    memset(s, 0, sizeof *s);
    s->K = K;
    for (int i = 0; i < K; i++) {
        if (M[i*K + i] > 0) s->w[i] = sqrt(M[shortest*K + shortest]) / sqrt(M[i*K + i]);
        for (int j = 0; j < K; j++) {
            double norms = sqrt(M[i*K + i]) * sqrt(M[j*K + j]);
            if (norms > 0) s->R[i*K + j] = M[i*K + j] / norms;
        }
        s->R[i*K + i] = 1;
    }
    s->corral[s->n++] = shortest;
    s->z[shortest] = 1;
    return 1;
}

// || sum_i lambda_i g_i ||^2 = lambda' M lambda
static double combined_norm2(const double *lambda, const double *M, int K) {
    double sum = 0;
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) sum += lambda[i] * M[i*K + j] * lambda[j];
    }
    return sum;
}

// The point p that most undercuts <x,p> >= <x,x> = square, or -1: x is the nearest point of all.
static int entering_point(const Wolfe *s, double square) {
    double worst = 0;
    int enter = -1;
    for (int p = 0; p < s->K; p++) {
        double gap = -square * s->w[p];                    // (<x,p> - <x,x>) / ||p|| to a factor
        double size = square * s->w[p];                    // of its terms: less is rounding
        for (int i = 0; i < s->K; i++) {
            gap += s->z[i] * s->R[i*s->K + p];
            size += s->z[i] * fabs(s->R[i*s->K + p]);
        }
        if (s->w[p] > 0 && s->z[p] == 0 && gap < -1e-13 * size && gap < worst) {
            worst = gap;
            enter = p;
        }
    }
    return enter;
}

/* argmin of y' R y subject to sum_i w_i y_i = 1 over the points of the corral, y (n): the nearest
 * point of their plane, inside their hull or not.  Wolfe's equation (R + ww') y ~ w, by Cholesky,
 * R + ww' = LL'.  A vanishing pivot, a point that the others nearly span, is kept above zero: y is
 * then far away along the dependency, and the walk to it drops one of them.                      */
static void affine_minimum(double *y, const Wolfe *s) {
    double L[MORE_MAX_SETS][MORE_MAX_SETS], w[MORE_MAX_SETS], top = 0, sum = 0;
    const int n = s->n, *p = s->corral;
    for (int i = 0; i < n; i++) top = s->w[p[i]] > top ? s->w[p[i]] : top;
    for (int i = 0; i < n; i++) w[i] = s->w[p[i]] / top;

    // pass 1: L, row by row
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double x = s->R[p[i]*s->K + p[j]] + w[i] * w[j];
            for (int k = 0; k < j; k++) x -= L[i][k] * L[j][k];
            if (j < i) L[i][j] = x / L[j][j];
            else L[i][i] = sqrt(x > 1e-15 ? x : 1e-15);
        }
    }

    // pass 2: L v = w, v in y
    for (int i = 0; i < n; i++) {
        y[i] = w[i];
        for (int j = 0; j < i; j++) y[i] -= L[i][j] * y[j];
        y[i] /= L[i][i];
    }

    // pass 3: L' y = v
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) y[i] -= L[k][i] * y[k];
        y[i] /= L[i][i];
    }

    // pass 4: scaled to sum_i w_i y_i = 1
    for (int i = 0; i < n; i++) sum += s->w[p[i]] * y[i];
    for (int i = 0; i < n; i++) y[i] /= sum;
}

// Moves z towards y (n), until the first weight reaches zero: that point leaves the corral.
// Returns whether one left; 0 is the arrival at y.
static int walk_towards(Wolfe *s, const double *y) {
    double theta = 2;                                      // z goes to z + theta (y - z), or to y
    int leave = -1;
    for (int i = 0; i < s->n; i++) {
        if (y[i] > 0) continue;
        double z = s->z[s->corral[i]], t = z > 0 ? z / (z - y[i]) : 0;
        if (t < theta) {
            theta = t;
            leave = i;
        }
    }

    for (int i = 0; i < s->n; i++) {
        double z = s->z[s->corral[i]];
        double moved = leave < 0 ? y[i] : z + theta * (y[i] - z);
        s->z[s->corral[i]] = i != leave && moved > 0 ? moved : 0;
    }
    if (leave < 0) return 0;

    s->n--;
    memmove(&s->corral[leave], &s->corral[leave + 1], (size_t)(s->n - leave) * sizeof *s->corral);
    return 1;
}

/* argmin over the simplex of lambda' M lambda, exactly; M is (K,K), lambda (K).  A data set without
 * a gradient (its pairs tied or saturated) would take all the weight and teach nothing: it stays
 * out and gets 0.  If all are without, lambda is 1/K.                                            */
void more_min_norm_exact(double *lambda, const double *M, int K) {
    Wolfe s;
    double old[MORE_MAX_SETS], y[MORE_MAX_SETS], sum = 0;
    assert(K >= 1 && K <= MORE_MAX_SETS);
    if (!wolfe_start(&s, M, K)) {
        uniform_weights(lambda, K);
        return;
    }

    for (int cycle = 0; cycle < 1000; cycle++) {
        double square = combined_norm2(s.z, s.R, K);       // <x,x>
        int enter = entering_point(&s, square), left;
        if (enter < 0) break;
        memcpy(old, s.z, sizeof old);
        s.corral[s.n++] = enter;
        do {
            affine_minimum(y, &s);
            left = walk_towards(&s, y);
        } while (left);
        if (!(combined_norm2(s.z, s.R, K) < square)) {     // nothing left but rounding
            memcpy(s.z, old, sizeof old);
            break;
        }
    }

    for (int i = 0; i < K; i++) sum += s.w[i] * s.z[i];
    for (int i = 0; i < K; i++) lambda[i] = s.w[i] * s.z[i] / sum;
}
#endif

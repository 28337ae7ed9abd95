/* loss.c - objectives and metrics: pure functions of small arrays, each with its paper and its equation.
 *
 * Rewards and log-probabilities come in, one number per text; a loss, its gradient or a measurement goes
 * out.  Nothing here knows models, files or tasks.  Everything is computed in double without fused
 * multiply-add, in the order written, and rounded to float once (NUMERICS.md).                        */
#ifndef LOSS_C
#define LOSS_C

#include "common.h"

// log sigma(x) and sigma(x), sigma(x) = 1 / (1 + e^-x), that do not overflow for either sign of x
static double log_sigmoid(double x) { return (x < 0 ? x : 0) - more_log1p(more_exp(-fabs(x))); }
static double sigmoid(double x)     { double e = more_exp(-fabs(x)); return (x < 0 ? e : 1) / (1 + e); }

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
        double w = weight ? weight[j] : 1;
        double d = (double)chosen[j] - rejected[j] - (margin ? margin[j] : 0);
        float gradient = (float)(w * sigmoid(-d));
        loss -= w * log_sigmoid(d);
        dchosen[j]   -= gradient;
        drejected[j] += gradient;
    }
    return loss;
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

/* --------------------------------------------------------------------------------------------- metrics
 * All of n pairs' reward differences delta_j = r(chosen_j) - r(rejected_j); p_j = sigma(delta_j).       */

enum { NUM_ECE = 3, MAX_BINS = 20, EQUALMASS_BINS = 10, NUM_QUANTILES = 7, HISTOGRAM_BINS = 20 };
enum { REPLICATES = 1000 };                                      // of the bootstrap
const int    ece_bins[NUM_ECE] = {5, 10, 20};
const double quantile_levels[NUM_QUANTILES] = {0, .05, .25, .5, .75, .95, 1};

typedef struct { double ece, ace, mce; } Calibration;
typedef struct { double low, high; } Interval;                   // 95 %
typedef struct {                                                 // one box of a box plot
    int n, outliers;                                             // beyond 1.5 (q3 - q1) from the box
    double mean, q1, median, q3, outlier_mean;
} Box;
typedef struct {
    int n, clusters;                                             // pairs; different prompts among them
    double accuracy, accuracy_strict, tie_rate;                  // equal rewards count 1/2; count as wrong
    double nll, brier, margin;                                   // means of -log p, (1-p)^2, delta
    Calibration symmetric[NUM_ECE];                              // MORE's, each pair twice; 5, 10, 20 bins
    double confidence_ece[NUM_ECE], ece_equalmass;
    double quantile[NUM_QUANTILES];                              // of delta, at quantile_levels
    double histogram_end;                                        // max |delta|
    int histogram[HISTOGRAM_BINS];                               // equal bins [low, high) from -end to end
    Box correct, wrong;                                          // delta > 0, delta < 0
    double longer_preferred, longer_wins;                        // by the model; in the data (-1: no lengths)
    Interval accuracy_95, ece_95;                                // bootstrap; of the symmetric ECE of 10 bins
} Metrics;

static double correctness(double delta) { return delta > 0 ? 1 : delta == 0 ? 0.5 : 0; }

// bin m of 0..M-1 holds (m/M, (m+1)/M]: a value on an inner edge belongs below it
static int bin_of(double p, int M) {
    int m = (int)(p * M);
    while (m > 0 && (m >= M || p <= (double)m / M)) m--;
    while (m < M - 1 && p > (double)(m + 1) / M) m++;
    return m;
}

typedef struct { int M; double p[MAX_BINS], y[MAX_BINS], n[MAX_BINS]; } Bins;    // sums of p, y and 1

static void bins_add(Bins *b, double p, double y) {
    int m = bin_of(p, b->M);
    b->p[m] += p, b->y[m] += y, b->n[m] += 1;
}

// ECE = sum_m n_m/n |mean y - mean p|; ACE is the mean and MCE the maximum of |mean y - mean p|, both over
// the bins that are not empty
static Calibration bins_calibration(const Bins *b) {
    Calibration c = {0, 0, 0};
    double n = 0, used = 0;
    for (int m = 0; m < b->M; m++) {
        if (b->n[m] == 0) continue;
        double gap = fabs(b->p[m] - b->y[m]);
        c.ece += gap;
        c.ace += gap / b->n[m];
        c.mce = gap / b->n[m] > c.mce ? gap / b->n[m] : c.mce;
        n += b->n[m];
        used += 1;
    }
    if (n > 0) c.ece /= n, c.ace /= used;
    return c;
}

// MORE's form (section 5 and the released code): each pair enters twice, as (p, 1) and as (1-p, 0)
Calibration ece(const double *delta, int n, int M) {
    Bins b = {.M = M};
    for (int j = 0; j < n; j++) bins_add(&b, sigmoid(delta[j]), 1), bins_add(&b, sigmoid(-delta[j]), 0);
    return bins_calibration(&b);
}

// The usual form, Guo et al. 2017 (arXiv:1706.04599) eq. (3): each pair once, confidence max(p, 1-p) against
// correctness.  For even M it equals ece().
Calibration ece_confidence(const double *delta, int n, int M) {
    Bins b = {.M = M};
    for (int j = 0; j < n; j++) bins_add(&b, sigmoid(fabs(delta[j])), correctness(delta[j]));
    return bins_calibration(&b);
}

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static int compare_confidence(const void *a, const void *b) {
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x == y ? compare_double(a, b) : (x > y) - (x < y);
}

// Nguyen and O'Connor 2015 (arXiv:1508.05154): as ece_confidence, with M bins of equally many pairs (give or
// take one).  Reorders delta.
double ece_equalmass(double *delta, int n, int M) {
    double total = 0;
    qsort(delta, (size_t)n, sizeof *delta, compare_confidence);
    for (int m = 0; m < M; m++) {
        double gap = 0;
        for (int j = (int)((long long)n * m / M); j < (int)((long long)n * (m + 1) / M); j++)
            gap += sigmoid(fabs(delta[j])) - correctness(delta[j]);
        total += fabs(gap);
    }
    return n ? total / n : 0;
}

// of sorted x (n): linear between order statistics, definition 7 of Hyndman and Fan 1996 (numpy, matplotlib)
static double quantile(const double *x, int n, double level) {
    double h = (n - 1) * level;
    int low = (int)h;
    return low + 1 < n ? x[low] + (h - low) * (x[low+1] - x[low]) : x[n-1];
}

static Box box_of(const double *x, int n) {                      // x (n) sorted
    Box b = {0};
    if ((b.n = n) == 0) return b;
    b.q1 = quantile(x, n, .25), b.median = quantile(x, n, .5), b.q3 = quantile(x, n, .75);
    double reach = 1.5 * (b.q3 - b.q1);
    for (int j = 0; j < n; j++) {
        b.mean += x[j];
        if (x[j] < b.q1 - reach || x[j] > b.q3 + reach) b.outliers++, b.outlier_mean += x[j];
    }
    b.mean /= n;
    if (b.outliers) b.outlier_mean /= b.outliers;
    return b;
}

typedef struct { uint64_t group; int pair; } Member;

static int compare_members(const void *a, const void *b) {
    const Member *x = a, *y = b;
    return x->group != y->group ? (x->group > y->group ? 1 : -1) : (x->pair > y->pair) - (x->pair < y->pair);
}

// Sorts the pairs by group (n); group NULL: each on its own.  Returns the number of clusters; cluster c is
// member[start[c] .. start[c+1]), with room for n members and n+1 starts.
static int cluster_pairs(Member *member, int *start, const uint64_t *group, int n) {
    int count = 0;
    for (int j = 0; j < n; j++) member[j] = (Member){group ? group[j] : (uint64_t)j, j};
    if (group) qsort(member, (size_t)n, sizeof *member, compare_members);
    for (int j = 0; j < n; j++)
        if (j == 0 || member[j].group != member[j-1].group) start[count++] = j;
    start[count] = n;
    return count;
}

/* 95 % percentile intervals (Efron and Tibshirani 1993, ch. 13) of the accuracy and of the symmetric ECE of
 * M bins.  Prompts are drawn with replacement, each with all its pairs, which are not independent.  delta
 * and group are (n); group NULL: every pair has its own prompt.  Returns the number of prompts, or -1.   */
int bootstrap(Interval *accuracy, Interval *ece_m, const double *delta, const uint64_t *group, int n, int M,
              uint64_t seed) {
    Member *member = allocate((size_t)n, sizeof *member);
    int *start = allocate((size_t)n + 1, sizeof *start), *bin = allocate((size_t)n, 2 * sizeof *bin);
    double *p = allocate((size_t)n, 2 * sizeof *p), *replicate = allocate(2 * REPLICATES, sizeof *replicate);
    int clusters = -1;
    if (!member || !start || !bin || !p || !replicate) goto done;
    clusters = cluster_pairs(member, start, group, n);
    for (int k = 0; k < 2*n; k++) {                              // both orders of the pair member[k/2]
        double d = delta[member[k/2].pair];
        p[k] = sigmoid(k % 2 ? -d : d);
        bin[k] = bin_of(p[k], M);
    }
    for (unsigned r = 0; r < REPLICATES; r++) {
        double right = 0, total = 0, error = 0, gap[MAX_BINS] = {0};
        for (unsigned draw = 0; draw < (unsigned)clusters; draw++) {
            uint32_t c = random_below((uint32_t)clusters, seed, STREAM_BOOTSTRAP, r, draw);
            for (int k = start[c]; k < start[c+1]; k++) {
                right += correctness(delta[member[k].pair]);
                gap[bin[2*k]]   += p[2*k] - 1;
                gap[bin[2*k+1]] += p[2*k+1];
            }
            total += start[c+1] - start[c];
        }
        for (int m = 0; m < M; m++) error += fabs(gap[m]);
        replicate[r] = right / total;
        replicate[REPLICATES + r] = error / (2 * total);
    }
    for (int k = 0; k < 2; k++) {
        double *x = replicate + k * REPLICATES;
        qsort(x, REPLICATES, sizeof *x, compare_double);
        *(k ? ece_m : accuracy) = (Interval){quantile(x, REPLICATES, .025), quantile(x, REPLICATES, .975)};
    }
done:
    free(member), free(start), free(bin), free(p), free(replicate);
    return clusters;
}

/* How much more accurate a is than b on the same pairs, and the standard error of that, clustered by prompt
 * (Liang and Zeger 1986; Miller 2024, arXiv:2411.00640, sec. 2.2 and 4.2): with e_j the difference of the two
 * correctnesses, e their mean, and G clusters,
 *
 *     SE^2 = G/(G-1) 1/n^2 sum over clusters of (sum over the cluster's pairs of (e_j - e))^2
 *
 * a, b: differences of rewards (n); b NULL is a coin, which gives accuracy - 1/2 and its standard error.   */
int paired_difference(double *difference, double *standard_error, const double *a, const double *b,
                      const uint64_t *group, int n) {
    Member *member = allocate((size_t)n, sizeof *member);
    int *start = allocate((size_t)n + 1, sizeof *start), ok = member && start;
    if (ok) {
        int clusters = cluster_pairs(member, start, group, n);
        double mean = 0, square = 0;
        for (int j = 0; j < n; j++) mean += correctness(a[j]) - (b ? correctness(b[j]) : 0.5);
        mean /= n;
        for (int c = 0; c < clusters; c++) {
            double sum = 0;
            for (int k = start[c]; k < start[c+1]; k++) {
                int j = member[k].pair;
                sum += correctness(a[j]) - (b ? correctness(b[j]) : 0.5) - mean;
            }
            square += sum * sum;
        }
        *difference = mean;
        *standard_error = clusters > 1 ? sqrt(square * clusters / (clusters - 1)) / n : 0;
    }
    free(member), free(start);
    return ok ? 0 : -1;
}

/* Everything of Metrics for delta (n).  The answers' lengths (n) and the prompts' ids group (n) may be NULL.
 * longer_preferred: among pairs of unequal length, how often the longer answer has the larger reward;
 * longer_wins: how accurate "the longer answer is better" would be.  Both count draws as 1/2.  0 or -1.  */
int metrics_compute(Metrics *m, const double *delta, const int *chosen_length, const int *rejected_length,
                    const uint64_t *group, int n, uint64_t seed) {
    int negative = 0, positive = 0;
    memset(m, 0, sizeof *m);
    if (n <= 0) return fail(EX_DATAERR, "no pairs to measure");
    for (int j = 0; j < n; j++)
        if (!isfinite(delta[j])) return fail(EX_DATAERR, "pair %d: a reward is not finite", j + 1);
    m->clusters = bootstrap(&m->accuracy_95, &m->ece_95, delta, group, n, 10, seed);
    if (m->clusters < 0) return -1;
    double *sorted = allocate((size_t)n, sizeof *sorted);
    if (!sorted) return -1;
    memcpy(sorted, delta, (size_t)n * sizeof *sorted);
    m->ece_equalmass = ece_equalmass(sorted, n, EQUALMASS_BINS);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_double);

    m->n = n;
    for (int j = 0; j < n; j++) {
        double wrong = sigmoid(-delta[j]);
        positive += delta[j] > 0;
        negative += delta[j] < 0;
        m->nll -= log_sigmoid(delta[j]) / n;
        m->brier += wrong * wrong / n;
        m->margin += delta[j] / n;
    }
    m->accuracy_strict = (double)positive / n;
    m->tie_rate = (double)(n - positive - negative) / n;
    m->accuracy = (positive + 0.5 * (n - positive - negative)) / n;
    for (int k = 0; k < NUM_ECE; k++) {
        m->symmetric[k] = ece(delta, n, ece_bins[k]);
        m->confidence_ece[k] = ece_confidence(delta, n, ece_bins[k]).ece;
    }

    for (int k = 0; k < NUM_QUANTILES; k++) m->quantile[k] = quantile(sorted, n, quantile_levels[k]);
    m->wrong = box_of(sorted, negative);
    m->correct = box_of(sorted + n - positive, positive);
    m->histogram_end = fabs(sorted[0]) > fabs(sorted[n-1]) ? fabs(sorted[0]) : fabs(sorted[n-1]);
    for (int j = 0; j < n; j++) {
        double x = m->histogram_end > 0 ? delta[j] / m->histogram_end : 0;
        int bin = (int)((x + 1) * (HISTOGRAM_BINS / 2));
        m->histogram[bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS - 1]++;
    }
    free(sorted);

    m->longer_preferred = m->longer_wins = -1;
    if (chosen_length && rejected_length) {
        double preferred = 0, wins = 0, unequal = 0;
        for (int j = 0; j < n; j++) {
            double longer = (chosen_length[j] > rejected_length[j]) - (chosen_length[j] < rejected_length[j]);
            wins += correctness(longer);
            preferred += longer != 0 ? correctness(longer * delta[j]) : 0;
            unequal += longer != 0;
        }
        m->longer_wins = wins / n;
        m->longer_preferred = unequal > 0 ? preferred / unequal : 0.5;
    }
    return 0;
}

#endif

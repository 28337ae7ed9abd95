/* metrics.c - what is measured of rewards and scores, each function under its source: accuracy,
 * calibration, box plots, areas under the ROC curve, ratios, and how far to trust them.
 *
 * Pure functions of small arrays.  Intervals of 95 % are by bootstrap over prompts: prompts are
 * drawn with replacement, each with all its pairs or texts, which are not independent.  prompt_id
 * says which belong together; NULL: every one has its own prompt.                                */
#ifndef METRICS_C
#define METRICS_C

#include "common.h"
#include "loss.c"

// ----------------------------------------------------------------------------------- the interface

enum { CALIBRATION_FOLDS = 5 };
#define TEMPERATURE_MAX 1e3
enum { NUM_ECE = 3, NUM_QUANTILES = 7, HISTOGRAM_BINS = 20 };
const int    ece_bins[NUM_ECE] = {5, 10, 20};
const double quantile_levels[NUM_QUANTILES] = {0, .05, .25, .5, .75, .95, 1};

typedef struct { double low, high; } Interval;            // of 95 %
typedef struct { double ece, ace, mce; } Calibration;     // expected, average, maximum error

// A number with its standard error.
typedef struct {
    double value, error;
    Interval interval;
} Estimate;

// One box of a box plot.
typedef struct {
    int n;
    double mean, q1, median, q3;
    int outliers;                     // farther than 1.5 (q3 - q1) from the box
    double outlier_mean;
} Box;

// What is measured of n pairs' reward differences delta_j = r(chosen_j) - r(rejected_j).
typedef struct {
    int n, clusters;                  // pairs; different prompts among them
    double accuracy;                  // equal rewards count 1/2
    double accuracy_strict;           // equal rewards are wrong
    double tie_rate;
    double nll, brier, margin;        // means of -log p, (1-p)^2 and delta; p = sigma(delta)
    Calibration symmetric[NUM_ECE];   // MORE's, each pair twice; of ece_bins
    double confidence_ece[NUM_ECE];   // the usual one, each pair once; of ece_bins
    double ece_equalmass;             // in 10 bins of equally many pairs
    double temperature;               // T of p = sigma(delta / T), see temperature_fit
    double after_ece, after_nll, after_brier;   // each pair with the T of other prompts' pairs;
                                      //   after_ece: symmetric, of 10 bins
    double quantile[NUM_QUANTILES];   // of delta, at quantile_levels
    double histogram_end;             // max |delta|
    int histogram[HISTOGRAM_BINS];    // equal bins [low, high) from -end to end
    Box correct, wrong;               // of delta > 0, of delta < 0
    double longer_preferred;          // how often the longer answer has the larger reward,
    double longer_wins;               // and is the chosen one; -1: lengths are not known
    int similar;                      // pairs of about equal length, see lengths_similar
    double similar_accuracy;          // of them; NAN: there are none
    Interval similar_accuracy_95;
    double similar_longer_wins;       // of them; NAN: there are none
    Interval accuracy_95, ece_95;     // ece_95: of the symmetric ECE of 10 bins
} Metrics;

// 1 where the chosen answer has the higher reward, 0 where the other has, 1/2 where none.
double correctness(double delta);

// Are two answers about equally long?
int lengths_similar(int chosen, int rejected);

// All of Metrics; how much more accurate one model is than another, with its standard error.
int metrics_compute(Metrics *m, const double *delta, const int *chosen_length,
                    const int *rejected_length, const uint64_t *prompt_id, int n, uint64_t seed);
int paired_difference(double *difference, double *standard_error, const double *a, const double *b,
                      const uint64_t *prompt_id, int n);

// The temperature that n pairs call for, and its interval.
double temperature_fit(const double *delta, const double *weight, int n);
enum { REPLICATES = 1000 };                                           // of a bootstrap
int    temperature_replicates(double *T, const double *delta, const uint64_t *prompt_id, int n,
                              uint64_t seed);
int    temperature_interval(Interval *interval, const double *delta, const uint64_t *prompt_id,
                            int n, uint64_t seed);
void   calibration_others(double *other, const uint64_t *prompt_id, int n, int fold);
int    temperature_cross_fit(double *log_odds, const double *delta, const uint64_t *prompt_id,
                             int n);

// How often people would prefer one of two answers, by a judge with that temperature.
int    estimate_preference(Estimate *e, const double *difference, const uint64_t *prompt_id, int n,
                           double T, const double *T_replicate, uint64_t seed);

// sum a / sum b of n texts, or the mean of a.
int estimate_ratio(Estimate *e, const double *a, const double *b, const uint64_t *prompt_id, int n,
                   uint64_t seed);

// Of how often each different answer was given: how sure a model is of its most frequent one.
typedef struct { double agreement, entropy, distance; } Consistency;
Consistency consistency(const int *count, int distinct);

// Of n confidences in [0,1] and whether each was right: expected calibration error, Brier score.
double confidence_ece(const double *confidence, const unsigned char *right, int n, int M);
double confidence_brier(const double *confidence, const unsigned char *right, int n);

// What one sample of p adds to an estimate of KL(p || q).
double kl_term(double log_p, double log_q);

// The area under the ROC curve of n texts' scores, and its interval.
double auc(const double *score, const unsigned char *positive, int n);
int    auc_interval(Interval *interval, const double *score, const unsigned char *positive,
                    const uint64_t *prompt_id, int n, uint64_t seed);

// One ranking's answers under the scores of a model.
typedef struct {
    int answers;
    double best;                      // is the highest score a best answer's?  Of ties their part
    double chance;                    // the part of the answers that are best: a guess gets that
    double tau;                       // Kendall's, with the ranking
    double loglik;                    // of the ranking, as choice_loglik has it
    double right, compared;           // each two answers, one better: how many, right ones
} Ranked;

// Means over n rankings with their intervals.
typedef struct {
    int n, prompts;
    double answers, chance;           // means
    Estimate best, tau, loglik;
    Estimate pairwise;                // sum of right / sum of compared
} RankedMetrics;

double kendall_tau(const double *a, const double *b, int m);
void ranking_measure(Ranked *x, const double *score, const float *place, int m, int top);
int  rankings_measure(RankedMetrics *x, const Ranked *ranked, const uint64_t *prompt_id, int n,
                      uint64_t seed);

// For qsort of doubles; the quantile of n sorted ones at a level from 0 to 1; their 95 % interval.
int    compare_double(const void *a, const void *b);
double sorted_quantile(const double *x, int n, double level);
Interval percentile_interval(double *x, int n);

// ---------------------------------------------------------------------------- prompts are clusters

typedef struct { uint64_t prompt_id; int item; } Member;              // a pair's or a text's number

// The items of each prompt: cluster c has member_memory[start_memory[c]] up to start_memory[c+1].
typedef struct {
    int count;
    Member *member_memory;                                            // (n)
    int *start_memory;                                                // (count + 1)
} Clusters;

static int compare_members(const void *a, const void *b) {
    const Member *x = a, *y = b;
    if (x->prompt_id != y->prompt_id) return x->prompt_id > y->prompt_id ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

static void clusters_free(Clusters *c) {
    free(c->member_memory);
    free(c->start_memory);
}

// Sorts items 0..n-1 by prompt_id (n), or NULL.  0, or -1 after fail(); clusters_free follows
// either.
static int clusters_init(Clusters *c, const uint64_t *prompt_id, int n) {
    Member *member = allocate((size_t)n, sizeof *member);
    int *start = allocate((size_t)n + 1, sizeof *start);
    *c = (Clusters){0, member, start};
    if (!member || !start) return -1;
    for (int j = 0; j < n; j++) {
        member[j].prompt_id = prompt_id ? prompt_id[j] : (uint64_t)j;
        member[j].item = j;
    }
    if (prompt_id) qsort(member, (size_t)n, sizeof *member, compare_members);
    for (int k = 0; k < n; k++) {
        if (k == 0 || member[k].prompt_id != member[k-1].prompt_id) start[c->count++] = k;
    }
    start[c->count] = n;
    return 0;
}

// The cluster of a draw of replicate r; a replicate has as many draws as there are clusters.
static uint32_t clusters_draw(const Clusters *c, uint64_t seed, unsigned r, int draw) {
    return random_below((uint32_t)c->count, seed, STREAM_BOOTSTRAP, r, (uint64_t)draw);
}

int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Linear between order statistics: definition 7 of Hyndman and Fan 1996, as numpy and matplotlib.
double sorted_quantile(const double *x, int n, double level) {
    double h = (n - 1) * level;
    int low = (int)h;
    return low + 1 < n ? x[low] + (h - low) * (x[low+1] - x[low]) : x[n-1];
}

// The 95 % percentile interval (Efron and Tibshirani 1993, ch. 13) of x (n), which it sorts.
Interval percentile_interval(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, compare_double);
    return (Interval){sorted_quantile(x, n, .025), sorted_quantile(x, n, .975)};
}

// ------------------------------------------------------------------------------------- calibration

enum { MAX_BINS = 20 };

double correctness(double delta) {
    if (delta == 0) return 0.5;
    return delta > 0;
}

// Bin m of 0..M-1 holds (m/M, (m+1)/M]: a value on an inner edge belongs to the bin below it.
static int bin_of(double p, int M) {
    int m = (int)(p * M);
    while (m > 0 && (m >= M || p <= (double)m / M)) m--;
    while (m < M - 1 && p > (double)(m + 1) / M) m++;
    return m;
}

typedef struct {
    int M;
    double p[MAX_BINS], y[MAX_BINS], n[MAX_BINS];     // of each bin: sums of p, of y, and how many
} Bins;

static void bins_add(Bins *b, double p, double y) {
    int m = bin_of(p, b->M);
    b->p[m] += p;
    b->y[m] += y;
    b->n[m] += 1;
}

// ECE = sum_m n_m/n |mean y - mean p|; ACE is the mean and MCE the maximum of |mean y - mean p|,
// both over the bins that are not empty.
static Calibration bins_calibration(const Bins *b) {
    Calibration c = {0, 0, 0};
    double n = 0, used = 0;
    for (int m = 0; m < b->M; m++) {
        if (b->n[m] == 0) continue;
        double sum = fabs(b->p[m] - b->y[m]);
        double gap = sum / b->n[m];                   // |mean y - mean p|
        c.ece += sum;
        c.ace += gap;
        c.mce = gap > c.mce ? gap : c.mce;
        n += b->n[m];
        used += 1;
    }
    if (n > 0) {
        c.ece /= n;
        c.ace /= used;
    }
    return c;
}

// MORE's form (section 5 and the released code): each pair enters twice, as (p, 1) and as (1-p, 0).
static Calibration ece(const double *delta, int n, int M) {
    Bins b = {.M = M};
    for (int j = 0; j < n; j++) {
        bins_add(&b, sigmoid(delta[j]), 1);
        bins_add(&b, sigmoid(-delta[j]), 0);
    }
    return bins_calibration(&b);
}

// The usual form, Guo et al. 2017 (arXiv:1706.04599) eq. (3): each pair once, its confidence
// max(p, 1-p) against its correctness.  For even M it equals ece().
static Calibration ece_confidence(const double *delta, int n, int M) {
    Bins b = {.M = M};
    for (int j = 0; j < n; j++) bins_add(&b, sigmoid(fabs(delta[j])), correctness(delta[j]));
    return bins_calibration(&b);
}

// The same of confidences that are given.
double confidence_ece(const double *confidence, const unsigned char *right, int n, int M) {
    Bins b = {.M = M};
    for (int j = 0; j < n; j++) bins_add(&b, confidence[j], right[j]);
    return bins_calibration(&b).ece;
}

double confidence_brier(const double *confidence, const unsigned char *right, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) {
        const double error = confidence[j] - right[j];
        sum += error * error;
    }
    return sum / n;
}

/* Sample consistency (Lyu et al., arXiv 2402.13904), of the counts c_1 >= c_2 >= .. of n answers:
 *
 *     agreement               c_1 / n
 *     entropy                 1 - H / log(distinct),    H = -sum_i c_i/n log c_i/n
 *     first-second distance   (c_1 - c_2) / n
 *
 * all 1 if there is one answer only.  count (distinct) is in any order.                          */
Consistency consistency(const int *count, int distinct) {
    double n = 0, first = 0, second = 0, H = 0;
    for (int i = 0; i < distinct; i++) n += count[i];
    for (int i = 0; i < distinct; i++) {
        H -= count[i] / n * more_log(count[i] / n);
        if (count[i] > first) {
            second = first;
            first = count[i];
        } else if (count[i] > second) {
            second = count[i];
        }
    }
    if (distinct == 1) return (Consistency){1, 1, 1};
    return (Consistency){first / n, 1 - H / more_log(distinct), (first - second) / n};
}

static int compare_confidence(const void *a, const void *b) {
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x == y ? compare_double(a, b) : (x > y) - (x < y);
}

// Nguyen and O'Connor 2015 (arXiv:1508.05154): as ece_confidence, with M bins of equally many
// pairs, give or take one.  Reorders delta.
static double ece_equalmass(double *delta, int n, int M) {
    double total = 0;
    qsort(delta, (size_t)n, sizeof *delta, compare_confidence);
    for (int m = 0; m < M; m++) {
        int begin = (int)((long long)n * m / M), end = (int)((long long)n * (m + 1) / M);
        double sum = 0;
        for (int j = begin; j < end; j++) sum += sigmoid(fabs(delta[j])) - correctness(delta[j]);
        total += fabs(sum);
    }
    return n ? total / n : 0;
}

// ------------------------------------------------------------------------------------- temperature

/* The temperature T of p = sigma(delta / T), Guo et al. 2017 (arXiv:1706.04599) sec. 4.2: with
 * s = 1/T the minimum of
 *
 *     f(s)   = -sum_j weight_j log sigma(s delta_j)
 *     f'(s)  = -sum_j weight_j delta_j sigma(-s delta_j)
 *     f''(s) =  sum_j weight_j delta_j^2 sigma(s delta_j) sigma(-s delta_j)  >= 0
 *
 * by Newton's steps, halved (of log s) where they leave the bracket, which is from
 * 1/TEMPERATURE_MAX to TEMPERATURE_MAX.  Its ends are the answer where f has no minimum: the upper
 * one where the chosen answers' rewards are not the higher ones in the mean, the lower one where no
 * pair is wrong.  delta and weight, NULL: ones, are (n); of nothing but zeros T is 1.            */
double temperature_fit(const double *delta, const double *weight, int n) {
    double low = 1 / TEMPERATURE_MAX, high = TEMPERATURE_MAX, s = 1;
    double sum = 0, size = 0;
    for (int j = 0; j < n; j++) {
        const double d = (weight ? weight[j] : 1) * delta[j];
        sum += d;
        size += fabs(d);
    }
    if (size == 0) return 1;
    if (sum <= 0) return TEMPERATURE_MAX;
    if (sum == size) return 1 / TEMPERATURE_MAX;
    for (int round = 0; round < 200; round++) {
        double slope = 0, curve = 0;
        for (int j = 0; j < n; j++) {
            const double w = weight ? weight[j] : 1;
            const double p = w == 0 ? 0 : sigmoid(-s * delta[j]);
            slope -= w * delta[j] * p;
            curve += w * delta[j] * delta[j] * p * (1 - p);
        }
        if (slope == 0) break;
        if (slope > 0) high = s;
        else           low = s;
        const double newton = s - slope / curve;
        const double next = newton > low && newton < high ? newton : sqrt(low * high);
        const double moved = fabs(next - s);
        s = next;
        if (moved <= 1e-15 * s) break;
    }
    return 1 / s;
}

// ----------------------------------------------------------- intervals of accuracy and calibration

// A pair as a replicate counts it: its two orders (p, 1) and (1-p, 0), and their bins.
typedef struct { double right, p[2]; int bin[2]; } CountedPair;

// Accuracy and symmetric ECE of replicate r; pair (n) is in the order of the members of c.
static void count_replicate(double *accuracy, double *ece_m, const CountedPair *pair,
                            const Clusters *c, int M, uint64_t seed, unsigned r) {
    double right = 0;
    double total = 0;
    double error = 0;
    double gap[MAX_BINS] = {0};
    for (int draw = 0; draw < c->count; draw++) {
        uint32_t drawn = clusters_draw(c, seed, r, draw);
        int begin = c->start_memory[drawn], end = c->start_memory[drawn + 1];
        for (int k = begin; k < end; k++) {
            right += pair[k].right;
            gap[pair[k].bin[0]] += pair[k].p[0] - 1;
            gap[pair[k].bin[1]] += pair[k].p[1];
        }
        total += end - begin;
    }
    for (int m = 0; m < M; m++) error += fabs(gap[m]);
    *accuracy = right / total;
    *ece_m = error / (2 * total);
}

// Intervals of the accuracy and of the symmetric ECE of M bins; delta is (n).  Returns the number
// of prompts, or -1.
static int accuracy_intervals(Interval *accuracy, Interval *ece_m, const double *delta,
                              const uint64_t *prompt_id, int n, int M, uint64_t seed) {
    Clusters c;
    int result = clusters_init(&c, prompt_id, n);
    CountedPair *pair = allocate((size_t)n, sizeof *pair);
    double *replicate = allocate(2 * REPLICATES, sizeof *replicate);
    if (!pair || !replicate) result = -1;
    if (result < 0) goto done;
    for (int k = 0; k < n; k++) {
        double d = delta[c.member_memory[k].item];
        pair[k].right = correctness(d);
        for (int order = 0; order < 2; order++) {
            pair[k].p[order] = sigmoid(order ? -d : d);
            pair[k].bin[order] = bin_of(pair[k].p[order], M);
        }
    }
    for (unsigned r = 0; r < REPLICATES; r++) {
        count_replicate(&replicate[r], &replicate[REPLICATES + r], pair, &c, M, seed, r);
    }
    *accuracy = percentile_interval(replicate, REPLICATES);
    *ece_m = percentile_interval(replicate + REPLICATES, REPLICATES);
    result = c.count;
done:
    clusters_free(&c);
    free(pair);
    free(replicate);
    return result;
}

// How much more often a[j] is right than b[j]; than a coin, if b is NULL.
static double advantage(const double *a, const double *b, int j) {
    return correctness(a[j]) - (b ? correctness(b[j]) : 0.5);
}

/* How much more accurate a is than b on the same pairs, and the standard error of that, clustered
 * by prompt (Liang and Zeger 1986; Miller 2024, arXiv:2411.00640, sec. 2.2 and 4.2): with e_j the
 * difference of the two correctnesses, e their mean, and G clusters,
 *
 *     SE^2 = G/(G-1) 1/n^2 sum over clusters of (sum over its pairs of (e_j - e))^2
 *
 * a, b: differences of rewards (n); b NULL is a coin, which gives accuracy - 1/2 and its standard
 * error.  0, or -1 after fail().                                                                 */
int paired_difference(double *difference, double *standard_error, const double *a, const double *b,
                      const uint64_t *prompt_id, int n) {
    Clusters c;
    double mean = 0, square = 0;
    int result = clusters_init(&c, prompt_id, n);
    if (result < 0) goto done;
    for (int j = 0; j < n; j++) mean += advantage(a, b, j);
    mean /= n;
    for (int i = 0; i < c.count; i++) {
        double sum = 0;
        for (int k = c.start_memory[i]; k < c.start_memory[i+1]; k++) {
            sum += advantage(a, b, c.member_memory[k].item) - mean;
        }
        square += sum * sum;
    }
    *difference = mean;
    *standard_error = c.count > 1 ? sqrt(square * c.count / (c.count - 1)) / n : 0;
done:
    clusters_free(&c);
    return result;
}

// The temperatures of REPLICATES drawings of prompts, with all their pairs; delta is (n).  0, or -1
// after fail().
int temperature_replicates(double *T, const double *delta, const uint64_t *prompt_id, int n,
                           uint64_t seed) {
    Clusters c;
    int result = clusters_init(&c, prompt_id, n);
    double *drawn = allocate((size_t)n, sizeof *drawn);               // how often each pair is
    if (!drawn) result = -1;
    for (unsigned r = 0; result == 0 && r < REPLICATES; r++) {
        memset(drawn, 0, (size_t)n * sizeof *drawn);
        for (int draw = 0; draw < c.count; draw++) {
            const uint32_t k = clusters_draw(&c, seed, r, draw);
            for (int i = c.start_memory[k]; i < c.start_memory[k + 1]; i++) {
                drawn[c.member_memory[i].item] += 1;
            }
        }
        T[r] = temperature_fit(delta, drawn, n);
    }
    clusters_free(&c);
    free(drawn);
    return result;
}

// Their interval.
int temperature_interval(Interval *interval, const double *delta, const uint64_t *prompt_id, int n,
                         uint64_t seed) {
    double *replicate = allocate(REPLICATES, sizeof *replicate);
    int result = -1;
    if (replicate) result = temperature_replicates(replicate, delta, prompt_id, n, seed);
    if (result == 0) *interval = percentile_interval(replicate, REPLICATES);
    free(replicate);
    return result;
}

/* How often people would prefer one of two answers whose rewards differ by `difference` (n), by a
 * judge whose differences make probabilities with the temperature T, which is itself uncertain:
 *
 *     1/n sum_j sigma(difference_j / T)
 *
 * T_replicate is (REPLICATES), as temperature_replicates draws it from the judge's labelled pairs;
 * each replicate draws prompts and takes one of them.  0, or -1 after fail().                    */
int estimate_preference(Estimate *e, const double *difference, const uint64_t *prompt_id, int n,
                        double T, const double *T_replicate, uint64_t seed) {
    Clusters c;
    int result = clusters_init(&c, prompt_id, n);
    double *replicate = allocate(REPLICATES, sizeof *replicate);
    double mean = 0, square = 0;
    if (!replicate) result = -1;
    if (result < 0) goto done;
    e->value = 0;
    for (int j = 0; j < n; j++) e->value += sigmoid(difference[j] / T) / n;
    for (unsigned r = 0; r < REPLICATES; r++) {
        double sum = 0, drawn = 0;
        for (int draw = 0; draw < c.count; draw++) {
            const uint32_t k = clusters_draw(&c, seed, r, draw);
            for (int i = c.start_memory[k]; i < c.start_memory[k + 1]; i++) {
                sum += sigmoid(difference[c.member_memory[i].item] / T_replicate[r]);
                drawn += 1;
            }
        }
        replicate[r] = sum / drawn;
        mean += replicate[r] / REPLICATES;
    }
    for (int r = 0; r < REPLICATES; r++) square += (replicate[r] - mean) * (replicate[r] - mean);
    e->error = sqrt(square / (REPLICATES - 1));
    e->interval = percentile_interval(replicate, REPLICATES);
done:
    clusters_free(&c);
    free(replicate);
    return result;
}

// -------------------------------------------------------------------------------- means and ratios

typedef struct { double top, bottom; } Ratio;                         // sums of a and b

static void ratio_add(Ratio *x, double top, double bottom) {
    x->top += top;
    x->bottom += bottom;
}

/* r = sum a / sum b, both (n), b NULL: the mean of a.  Its standard error is that of the linearised
 * ratio (Cochran 1977, sec. 6.4), clustered by prompt,
 *
 *     SE^2 = G/(G-1) 1/(sum b)^2 sum over clusters of (sum over its texts of (a_j - r b_j))^2
 *
 * and its interval is by bootstrap.  0, or -1 after fail().                                      */
int estimate_ratio(Estimate *e, const double *a, const double *b, const uint64_t *prompt_id, int n,
                   uint64_t seed) {
    Clusters c;
    Ratio all = {0, 0};
    double square = 0;
    int result = clusters_init(&c, prompt_id, n);
    Ratio *cluster = allocate((size_t)n, sizeof *cluster);
    double *replicate = allocate(REPLICATES, sizeof *replicate);
    if (!cluster || !replicate) result = -1;
    if (result < 0) goto done;

    // the ratio, and each cluster's part of it
    for (int i = 0; i < c.count; i++) {
        for (int k = c.start_memory[i]; k < c.start_memory[i+1]; k++) {
            int j = c.member_memory[k].item;
            ratio_add(&cluster[i], a[j], b ? b[j] : 1);
        }
        ratio_add(&all, cluster[i].top, cluster[i].bottom);
    }
    e->value = all.top / all.bottom;

    // its standard error
    for (int i = 0; i < c.count; i++) {
        double residual = cluster[i].top - e->value * cluster[i].bottom;
        square += residual * residual;
    }
    e->error = c.count > 1 ? sqrt(square * c.count / (c.count - 1)) / all.bottom : 0;

    // its interval
    for (unsigned r = 0; r < REPLICATES; r++) {
        Ratio drawn = {0, 0};
        for (int draw = 0; draw < c.count; draw++) {
            const Ratio *x = &cluster[clusters_draw(&c, seed, r, draw)];
            ratio_add(&drawn, x->top, x->bottom);
        }
        replicate[r] = drawn.top / drawn.bottom;
    }
    e->interval = percentile_interval(replicate, REPLICATES);
done:
    clusters_free(&c);
    free(cluster);
    free(replicate);
    return result;
}

// --------------------------------------------------------------------- Kullback-Leibler divergence

/* For x drawn from p, with r = q(x)/p(x):  r - 1 - log r >= 0  (Schulman 2020, "Approximating KL
 * divergence", joschu.net/blog/kl-approx.html, k3).  Its mean over p is KL(p || q), as that of
 * -log r is, because that of r is 1; where p and q are near it varies much less, and no sample
 * makes it negative.                                                                             */
double kl_term(double log_p, double log_q) {
    const double log_r = log_q - log_p;
    const double term = more_expm1(log_r) - log_r;
    return term > 0 ? term : 0;                                       // of rounding
}

// -------------------------------------------------------------------- the area under the ROC curve

typedef struct { double score; int text; } Scored;

static int compare_scored(const void *a, const void *b) {
    return compare_double(&((const Scored *)a)->score, &((const Scored *)b)->score);
}

// level[j]: how many different scores are below score[j]; both (n).  Returns the number of levels,
// or -1 after fail().
static int score_levels(int *level, const double *score, int n) {
    int count = 0;
    for (int j = 0; j < n; j++) {
        if (!isfinite(score[j])) {
            return fail(EX_DATAERR, "text %d: its score is not finite", j + 1);
        }
    }
    Scored *sorted = allocate((size_t)n, sizeof *sorted);
    if (!sorted) return -1;
    for (int j = 0; j < n; j++) sorted[j] = (Scored){score[j], j};
    qsort(sorted, (size_t)n, sizeof *sorted, compare_scored);
    for (int k = 0; k < n; k++) {
        if (k == 0 || sorted[k].score > sorted[k-1].score) count++;
        level[sorted[k].text] = count - 1;
    }
    free(sorted);
    return count;
}

typedef struct { double negative, positive; } Tally;                  // how many texts of a level

static void tally_add(Tally *tally, int positive) {
    if (positive) tally->positive++;
    else tally->negative++;
}

// The area from the tallies (levels): whole numbers and halves, exact.  -1 if one class is missing.
static double tally_area(const Tally *tally, int levels) {
    double negative = 0;
    double positive = 0;
    double wins = 0;
    for (int l = 0; l < levels; l++) {
        wins += tally[l].positive * (negative + tally[l].negative / 2);
        negative += tally[l].negative;
        positive += tally[l].positive;
    }
    return negative > 0 && positive > 0 ? wins / (negative * positive) : -1;
}

/* Area under the ROC curve, the Mann-Whitney statistic (Hanley and McNeil 1982): how often a
 * positive text scores above a negative one, over all such pairs, ties one half.  score and
 * positive are (n). -1 if one class is missing; also after fail(), if a score is not finite.     */
double auc(const double *score, const unsigned char *positive, int n) {
    int *level = allocate((size_t)n, sizeof *level);
    Tally *tally = allocate((size_t)n, sizeof *tally);
    double area = -1;
    if (!level || !tally) goto done;
    int levels = score_levels(level, score, n);
    if (levels < 0) goto done;
    for (int j = 0; j < n; j++) tally_add(&tally[level[j]], positive[j]);
    area = tally_area(tally, levels);
done:
    free(level);
    free(tally);
    return area;
}

// Its interval.  A replicate that misses a class is left out; {-1, -1} if all do.  Returns the
// number of prompts, or -1 after fail().
int auc_interval(Interval *interval, const double *score, const unsigned char *positive,
                 const uint64_t *prompt_id, int n, uint64_t seed) {
    Clusters c;
    int levels, kept = 0, result = clusters_init(&c, prompt_id, n);
    int *level = allocate((size_t)n, sizeof *level);
    Tally *tally = allocate((size_t)n, sizeof *tally);
    double *replicate = allocate(REPLICATES, sizeof *replicate);
    if (!level || !tally || !replicate) result = -1;
    if (result < 0) goto done;
    levels = score_levels(level, score, n);
    if (levels < 0) {
        result = -1;
        goto done;
    }
    for (unsigned r = 0; r < REPLICATES; r++) {
        memset(tally, 0, (size_t)levels * sizeof *tally);
        for (int draw = 0; draw < c.count; draw++) {
            uint32_t drawn = clusters_draw(&c, seed, r, draw);
            for (int k = c.start_memory[drawn]; k < c.start_memory[drawn + 1]; k++) {
                int j = c.member_memory[k].item;
                tally_add(&tally[level[j]], positive[j]);
            }
        }
        double area = tally_area(tally, levels);
        if (area >= 0) replicate[kept++] = area;
    }
    *interval = kept ? percentile_interval(replicate, kept) : (Interval){-1, -1};
    result = c.count;
done:
    clusters_free(&c);
    free(level);
    free(tally);
    free(replicate);
    return result;
}

// ---------------------------------------------------------------------------------------- rankings

/* Kendall's tau-b of two lists of m numbers (Kendall 1945): of all m (m-1) / 2 pairs of places,
 *
 *     tau = (concordant - discordant) / sqrt((untied in a) (untied in b))
 *
 * NAN where one of the lists is the same number everywhere.                                      */
double kendall_tau(const double *a, const double *b, int m) {
    double agree = 0, untied_a = 0, untied_b = 0;
    for (int i = 0; i < m; i++) {
        for (int k = i + 1; k < m; k++) {
            const int x = compare_double(&a[i], &a[k]), y = compare_double(&b[i], &b[k]);
            agree += x * y;
            untied_a += x != 0;
            untied_b += y != 0;
        }
    }
    if (untied_a == 0 || untied_b == 0) return NAN;
    return agree / sqrt(untied_a * untied_b);
}

/* What m scores say of a ranking, the best answer first; place (m) as in choice_loglik.  Where all
 * scores are equal tau is 0: they say nothing of the order.                                      */
void ranking_measure(Ranked *x, const double *score, const float *place, int m, int top) {
    double order[MAX_CHOICES], tied = 0, best = 0;         // answers of the highest score
    double highest = score[0];
    assert(m <= MAX_CHOICES);
    *x = (Ranked){.answers = m, .loglik = choice_loglik(NULL, score, place, m, top, 1)};
    for (int i = 1; i < m; i++) highest = score[i] > highest ? score[i] : highest;
    for (int i = 0; i < m; i++) {
        order[i] = -place[i];
        x->chance += (double)(place[i] == place[0]) / m;
        tied += score[i] == highest;
        best += score[i] == highest && place[i] == place[0];
        for (int k = i + 1; k < m; k++) {
            if (place[i] == place[k]) continue;
            x->compared += 1;
            x->right += correctness(score[i] - score[k]);
        }
    }
    x->best = best / tied;
    x->tau = kendall_tau(order, score, m);
    if (isnan(x->tau)) x->tau = 0;
}

// The columns of rankings_measure.
enum { BEST, TAU, LOGLIK, RIGHT, COMPARED, NUM_COLUMNS };

/* Means of n rankings, intervals by bootstrap over prompts.  0, or -1 after fail().              */
int rankings_measure(RankedMetrics *x, const Ranked *ranked, const uint64_t *prompt_id, int n,
                     uint64_t seed) {
    double *column = allocate((size_t)n * NUM_COLUMNS, sizeof *column), *c[NUM_COLUMNS];
    Clusters clusters = {0};
    int result = -1;
    *x = (RankedMetrics){.n = n};
    if (!column) goto done;
    for (int k = 0; k < NUM_COLUMNS; k++) c[k] = column + (size_t)k * (size_t)n;
    for (int j = 0; j < n; j++) {
        const Ranked *r = &ranked[j];
        if (!isfinite(r->loglik)) {
            fail(EX_DATAERR, "ranking %d: a score is not finite", j + 1);
            goto done;
        }
        x->answers += (double)r->answers / n;
        x->chance += r->chance / n;
        c[BEST][j] = r->best;
        c[TAU][j] = r->tau;
        c[LOGLIK][j] = r->loglik;
        c[RIGHT][j] = r->right;
        c[COMPARED][j] = r->compared;
    }
    if (clusters_init(&clusters, prompt_id, n) < 0) goto done;
    x->prompts = clusters.count;
    if (estimate_ratio(&x->best, c[BEST], NULL, prompt_id, n, seed) < 0) goto done;
    if (estimate_ratio(&x->tau, c[TAU], NULL, prompt_id, n, seed) < 0) goto done;
    if (estimate_ratio(&x->loglik, c[LOGLIK], NULL, prompt_id, n, seed) < 0) goto done;
    result = estimate_ratio(&x->pairwise, c[RIGHT], c[COMPARED], prompt_id, n, seed);
done:
    clusters_free(&clusters);
    free(column);
    return result;
}

// ---------------------------------------------------------------------------- all that is measured

enum { EQUALMASS_BINS = 10, INTERVAL_BINS = 10 };

static Box box_of_sorted(const double *x, int n) {
    Box b = {.n = n};
    if (n == 0) return b;
    b.q1 = sorted_quantile(x, n, .25);
    b.median = sorted_quantile(x, n, .5);
    b.q3 = sorted_quantile(x, n, .75);
    double reach = 1.5 * (b.q3 - b.q1);
    for (int j = 0; j < n; j++) {
        b.mean += x[j];
        if (x[j] < b.q1 - reach || x[j] > b.q3 + reach) {
            b.outliers++;
            b.outlier_mean += x[j];
        }
    }
    b.mean /= n;
    if (b.outliers) b.outlier_mean /= b.outliers;
    return b;
}

// Accuracy, the means over the pairs, and calibration.
static void measure_quality(Metrics *m, const double *delta, int n) {
    int right = 0, wrong = 0;
    for (int j = 0; j < n; j++) {
        double error = sigmoid(-delta[j]);                            // 1 - p
        right += delta[j] > 0;
        wrong += delta[j] < 0;
        m->nll -= log_sigmoid(delta[j]) / n;
        m->brier += error * error / n;
        m->margin += delta[j] / n;
    }
    const int ties = n - right - wrong;
    m->accuracy_strict = (double)right / n;
    m->tie_rate = (double)ties / n;
    m->accuracy = (right + 0.5 * ties) / n;
    for (int k = 0; k < NUM_ECE; k++) {
        m->symmetric[k] = ece(delta, n, ece_bins[k]);
        m->confidence_ece[k] = ece_confidence(delta, n, ece_bins[k]).ece;
    }
}

// other (n): 0 for the pairs of prompts in this fold of a calibration, which is not that of --fold,
// 1 for all others.
void calibration_others(double *other, const uint64_t *prompt_id, int n, int fold) {
    for (int j = 0; j < n; j++) {
        const uint64_t id = prompt_id ? prompt_id[j] : (uint64_t)j;
        other[j] = random_u64(2, STREAM_FOLD, 0, id) % CALIBRATION_FOLDS != (uint64_t)fold;
    }
}

// log_odds: each pair's delta / T with the T of the other folds of prompts; all are (n).  0, or -1
// after fail().
int temperature_cross_fit(double *log_odds, const double *delta, const uint64_t *prompt_id, int n) {
    double *other = allocate((size_t)n, sizeof *other);
    if (!other) return -1;
    for (int fold = 0; fold < CALIBRATION_FOLDS; fold++) {
        calibration_others(other, prompt_id, n, fold);
        const double T = temperature_fit(delta, other, n);
        for (int j = 0; j < n; j++) {
            if (!other[j]) log_odds[j] = delta[j] / T;
        }
    }
    free(other);
    return 0;
}

// The temperature, and what it does for pairs that it was not fitted on.  0, or -1 after fail().
static int measure_after_temperature(Metrics *m, const double *delta, const uint64_t *prompt_id,
                                     int n) {
    double *log_odds = allocate((size_t)n, sizeof *log_odds);
    int result = log_odds ? temperature_cross_fit(log_odds, delta, prompt_id, n) : -1;
    m->temperature = temperature_fit(delta, NULL, n);
    for (int j = 0; result == 0 && j < n; j++) {
        const double error = sigmoid(-log_odds[j]);
        m->after_nll -= log_sigmoid(log_odds[j]) / n;
        m->after_brier += error * error / n;
    }
    if (result == 0) m->after_ece = ece(log_odds, n, INTERVAL_BINS).ece;
    free(log_odds);
    return result;
}

// Quantiles, boxes and the histogram of x (n), sorted.
static void measure_distribution(Metrics *m, const double *x, int n) {
    int wrong = 0, correct = 0;
    for (int j = 0; j < n; j++) {
        wrong += x[j] < 0;
        correct += x[j] > 0;
    }
    for (int k = 0; k < NUM_QUANTILES; k++) {
        m->quantile[k] = sorted_quantile(x, n, quantile_levels[k]);
    }
    m->wrong = box_of_sorted(x, wrong);
    m->correct = box_of_sorted(x + n - correct, correct);

    double low = fabs(x[0]), high = fabs(x[n-1]);
    m->histogram_end = low > high ? low : high;
    for (int j = 0; j < n; j++) {
        double share = m->histogram_end > 0 ? x[j] / m->histogram_end : 0;       // from -1 to 1
        int bin = (int)((share + 1) * (HISTOGRAM_BINS / 2));
        m->histogram[bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS - 1]++;
    }
}

// What the answers' lengths (n) say: longer_preferred among pairs of unequal length, longer_wins of
// all pairs; both count draws as 1/2.
static void measure_lengths(Metrics *m, const double *delta, const int *chosen,
                            const int *rejected, int n) {
    double preferred = 0;
    double wins = 0;
    double unequal = 0;
    for (int j = 0; j < n; j++) {
        int longer = (chosen[j] > rejected[j]) - (chosen[j] < rejected[j]);
        wins += correctness(longer);
        if (longer == 0) continue;
        preferred += correctness(longer * delta[j]);
        unequal += 1;
    }
    m->longer_wins = wins / n;
    m->longer_preferred = unequal > 0 ? preferred / unequal : 0.5;
}

// Their lengths differ by at most a tenth of the longer one; 0 is that of answers without a text.
int lengths_similar(int chosen, int rejected) {
    const long long longer = chosen > rejected ? chosen : rejected;
    return longer > 0 && 10 * llabs((long long)chosen - rejected) <= longer;
}

// Accuracy where length hardly tells the answers apart.  0, or -1 after fail().
static int measure_similar(Metrics *m, const double *delta, const int *chosen, const int *rejected,
                           const uint64_t *prompt_id, int n, uint64_t seed) {
    double *kept = allocate((size_t)n, sizeof *kept);
    uint64_t *kept_id = allocate((size_t)n, sizeof *kept_id);
    double right = 0, longer_wins = 0;
    Interval ece_95;
    int result = -1;
    if (!kept || !kept_id) goto done;
    for (int j = 0; j < n; j++) {
        if (!lengths_similar(chosen[j], rejected[j])) continue;
        right += correctness(delta[j]);
        longer_wins += correctness((double)chosen[j] - rejected[j]);
        kept_id[m->similar] = prompt_id ? prompt_id[j] : (uint64_t)j;
        kept[m->similar] = delta[j];
        m->similar++;
    }
    result = 0;
    if (m->similar == 0) goto done;
    m->similar_accuracy = right / m->similar;
    m->similar_longer_wins = longer_wins / m->similar;
    if (accuracy_intervals(&m->similar_accuracy_95, &ece_95, kept, kept_id, m->similar,
                           INTERVAL_BINS, seed) < 0) {
        result = -1;
    }
done:
    free(kept);
    free(kept_id);
    return result;
}

// Everything of Metrics for delta (n).  The answers' lengths (n) may be NULL.  0, or -1 after
// fail().
int metrics_compute(Metrics *m, const double *delta, const int *chosen_length,
                    const int *rejected_length, const uint64_t *prompt_id, int n, uint64_t seed) {
    memset(m, 0, sizeof *m);
    if (n <= 0) return fail(EX_DATAERR, "no pairs to measure");
    for (int j = 0; j < n; j++) {
        if (!isfinite(delta[j])) {
            return fail(EX_DATAERR, "pair %d: a reward is not finite", j + 1);
        }
    }
    m->clusters = accuracy_intervals(&m->accuracy_95, &m->ece_95, delta, prompt_id, n,
                                     INTERVAL_BINS, seed);
    if (m->clusters < 0) return -1;
    double *sorted = allocate((size_t)n, sizeof *sorted);
    if (!sorted) return -1;

    m->n = n;
    measure_quality(m, delta, n);
    if (measure_after_temperature(m, delta, prompt_id, n) < 0) {
        free(sorted);
        return -1;
    }
    memcpy(sorted, delta, (size_t)n * sizeof *sorted);
    m->ece_equalmass = ece_equalmass(sorted, n, EQUALMASS_BINS);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_double);
    measure_distribution(m, sorted, n);
    free(sorted);

    m->longer_preferred = -1;
    m->longer_wins = -1;
    m->similar_accuracy = m->similar_longer_wins = NAN;
    if (!chosen_length || !rejected_length) return 0;
    measure_lengths(m, delta, chosen_length, rejected_length, n);
    return measure_similar(m, delta, chosen_length, rejected_length, prompt_id, n, seed);
}
#endif

/* metrics.c - what is measured of rewards and scores: accuracy, calibration, intervals, the area under the ROC
 * curve; pure functions of small arrays, each with its source.                                            */
#ifndef METRICS_C
#define METRICS_C

#include "common.h"
#include "loss.c"

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

// the 95 % percentile interval (Efron and Tibshirani 1993, ch. 13) of x (n), which it sorts
static Interval percentile_interval(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, compare_double);
    return (Interval){quantile(x, n, .025), quantile(x, n, .975)};
}

/* 95 % intervals by bootstrap of the accuracy and of the symmetric ECE of M bins.  Prompts are drawn with
 * replacement, each with all its pairs, which are not independent.  delta and group are (n); group NULL:
 * every pair has its own prompt.  Returns the number of prompts, or -1.                                  */
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
    *accuracy = percentile_interval(replicate, REPLICATES);
    *ece_m = percentile_interval(replicate + REPLICATES, REPLICATES);
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

typedef struct { double value, error; Interval interval; } Estimate;   // standard error; 95 %

/* r = sum a / sum b, both (n), b NULL: the mean of a.  Its standard error is that of the linearised ratio
 * (Cochran 1977, sec. 6.4), clustered by prompt as above with a_j - r b_j for e_j - e and sum b for n; its
 * interval is by bootstrap over prompts.  0, or -1.                                                      */
int estimate(Estimate *e, const double *a, const double *b, const uint64_t *group, int n, uint64_t seed) {
    Member *member = allocate((size_t)n, sizeof *member);
    int *start = allocate((size_t)n + 1, sizeof *start), ok = member && start;
    double *sum = allocate((size_t)n, 2 * sizeof *sum), *replicate = allocate(REPLICATES, sizeof *replicate);
    ok = ok && sum && replicate;
    if (ok) {
        const int clusters = cluster_pairs(member, start, group, n);
        double top = 0, bottom = 0, square = 0;
        for (int c = 0; c < clusters; c++) {
            for (int k = start[c]; k < start[c+1]; k++) {
                sum[2*c] += a[member[k].pair], sum[2*c+1] += b ? b[member[k].pair] : 1;
            }
            top += sum[2*c], bottom += sum[2*c+1];
        }
        e->value = top / bottom;
        for (int c = 0; c < clusters; c++) {
            const double residual = sum[2*c] - e->value * sum[2*c+1];
            square += residual * residual;
        }
        e->error = clusters > 1 ? sqrt(square * clusters / (clusters - 1)) / bottom : 0;
        for (unsigned r = 0; r < REPLICATES; r++) {
            top = bottom = 0;
            for (unsigned draw = 0; draw < (unsigned)clusters; draw++) {
                const uint32_t c = random_below((uint32_t)clusters, seed, STREAM_BOOTSTRAP, r, draw);
                top += sum[2*c], bottom += sum[2*c+1];
            }
            replicate[r] = top / bottom;
        }
        e->interval = percentile_interval(replicate, REPLICATES);
    }
    free(member), free(start), free(sum), free(replicate);
    return ok ? 0 : -1;
}

typedef struct { double score; int text; } Scored;

static int compare_scored(const void *a, const void *b) {
    return compare_double(&((const Scored *)a)->score, &((const Scored *)b)->score);
}

// level[j]: how many different scores are below score[j]; both (n).  Returns the number of levels, or -1.
static int score_levels(int *level, const double *score, int n) {
    int count = 0;
    for (int j = 0; j < n; j++)
        if (!isfinite(score[j])) return fail(EX_DATAERR, "text %d: its score is not finite", j + 1);
    Scored *sorted = allocate((size_t)n, sizeof *sorted);
    if (!sorted) return -1;
    for (int j = 0; j < n; j++) sorted[j] = (Scored){score[j], j};
    qsort(sorted, (size_t)n, sizeof *sorted, compare_scored);
    for (int k = 0; k < n; k++) {
        count += k == 0 || sorted[k].score > sorted[k-1].score;
        level[sorted[k].text] = count - 1;
    }
    free(sorted);
    return count;
}

// tally (levels, 2): the negative and the positive texts of each level.  Whole numbers and halves: exact.
static double auc_of(const double *tally, int levels) {
    double negative = 0, positive = 0, wins = 0;
    for (int l = 0; l < levels; l++) {
        wins += tally[2*l+1] * (negative + tally[2*l] / 2);
        negative += tally[2*l], positive += tally[2*l+1];
    }
    return negative > 0 && positive > 0 ? wins / (negative * positive) : -1;
}

/* Area under the ROC curve, the Mann-Whitney statistic (Hanley and McNeil 1982): how often a positive text
 * scores above a negative one, over all such pairs, ties one half.  score and positive are (n).  -1 if one
 * class is missing; also after fail(), if a score is not finite.                                         */
double auc(const double *score, const unsigned char *positive, int n) {
    int *level = allocate((size_t)n, sizeof *level);
    double *tally = allocate((size_t)n, 2 * sizeof *tally), area = -1;
    int levels = level && tally ? score_levels(level, score, n) : -1;
    if (levels > 0) {
        for (int j = 0; j < n; j++) tally[2*level[j] + !!positive[j]]++;
        area = auc_of(tally, levels);
    }
    free(level), free(tally);
    return area;
}

/* Its 95 % interval by bootstrap over prompts, as above; group (n) NULL: every text has its own.  A replicate
 * that misses a class is left out; {-1, -1} if all do.  Returns the number of prompts, or -1.            */
int auc_interval(Interval *interval, const double *score, const unsigned char *positive,
                 const uint64_t *group, int n, uint64_t seed) {
    Member *member = allocate((size_t)n, sizeof *member);
    int *start = allocate((size_t)n + 1, sizeof *start), *level = allocate((size_t)n, sizeof *level);
    double *tally = allocate((size_t)n, 2 * sizeof *tally);
    double *replicate = allocate(REPLICATES, sizeof *replicate);
    int clusters = -1, kept = 0, levels;
    if (!member || !start || !level || !tally || !replicate) goto done;
    if ((levels = score_levels(level, score, n)) < 0) goto done;
    clusters = cluster_pairs(member, start, group, n);
    for (unsigned r = 0; r < REPLICATES; r++) {
        memset(tally, 0, (size_t)levels * 2 * sizeof *tally);
        for (unsigned draw = 0; draw < (unsigned)clusters; draw++) {
            uint32_t c = random_below((uint32_t)clusters, seed, STREAM_BOOTSTRAP, r, draw);
            for (int k = start[c]; k < start[c+1]; k++) {
                int j = member[k].pair;
                tally[2*level[j] + !!positive[j]]++;
            }
        }
        replicate[kept] = auc_of(tally, levels);
        kept += replicate[kept] >= 0;
    }
    *interval = kept ? percentile_interval(replicate, kept) : (Interval){-1, -1};
done:
    free(member), free(start), free(level), free(tally), free(replicate);
    return clusters;
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

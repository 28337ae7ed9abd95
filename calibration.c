/* calibration.c - from a difference of two rewards to the probability that the first is better.
 *
 *     temperature     p = sigma(delta / T)                     temperature_fit, in metrics.c
 *     isotonic map    p = g(|delta|), of the better one         isotonic_fit, here
 *
 * more calibrate fits them on pairs and puts them into config.json; eval, score --probability and
 * inspect read them there.                                                                       */
#ifndef CALIBRATION_C
#define CALIBRATION_C
#include "layout.c"
#include "metrics.c"

// A map from |delta| to the probability that the answer with the higher reward is the better one.
int    isotonic_fit(Isotonic *g, const double *delta, const double *weight, int n);
double isotonic_probability(const Isotonic *g, double delta);
double isotonic_log_odds(const Isotonic *g, double delta);
int    isotonic_cross_fit(double *log_odds, const double *delta, const uint64_t *prompt_id, int n);

// The log-odds that a model's calibration makes of a difference of rewards.
double calibrated(const Config *c, double delta);
int    is_calibrated(const Config *c);

typedef struct { double size, right, weight; } SizedPair;

static int compare_sizes(const void *a, const void *b) {
    const SizedPair *x = a, *y = b;
    if (x->size != y->size) return x->size > y->size ? 1 : -1;
    return (x->right > y->right) - (x->right < y->right);
}

/* Isotonic regression (Zadrozny and Elkan 2002, sec. 3) of whether the higher reward was the better
 * answer's on |delta|, which makes p(-delta) = 1 - p(delta): n pairs, by |delta|, in at most 32
 * groups of about equal weight, ten or more but where pairs of one |delta| stay together, of which
 * neighbours are joined as long as the mean of one is not below that of the next ("pool adjacent
 * violators").  p is at least 1/2, and at most 1 - 1/(2 n + 2), n the weight of all, so that no
 * log-odds is infinite.  delta and weight, NULL: ones, are (n).  0, or -1 after fail().          */
int isotonic_fit(Isotonic *g, const double *delta, const double *weight, int n) {
    SizedPair *pair = allocate((size_t)n + 1, sizeof *pair);
    double size[ISOTONIC_KNOTS], right[ISOTONIC_KNOTS], count[ISOTONIC_KNOTS];
    double total = 0, before = 0, last = -1;
    int blocks = 0, group = -1;
    *g = (Isotonic){.n = 0};
    if (!pair) return -1;
    for (int j = 0; j < n; j++) {
        const double w = weight ? weight[j] : 1;
        pair[j] = (SizedPair){fabs(delta[j]), correctness(delta[j]), w};
        total += w;
    }
    qsort(pair, (size_t)n, sizeof *pair, compare_sizes);

    // the groups, with sums of |delta|, of right ones, of weights
    const double groups = fmax(1, fmin(ISOTONIC_KNOTS, floor(total / 10)));
    for (int j = 0; j < n; j++) {
        const double w = pair[j].weight;
        if (w == 0) continue;
        const int tied = pair[j].size == last;
        const int its_group = (int)(before / total * groups);
        if (its_group != group && !tied) {
            size[blocks] = right[blocks] = count[blocks] = 0;
            blocks++;
            group = its_group;
        }
        size[blocks-1]  += w * pair[j].size;
        right[blocks-1] += w * pair[j].right;
        count[blocks-1] += w;
        before += w;
        last = pair[j].size;
    }

    // blocks[0 .. g->n) never fall
    for (int k = 0; k < blocks; k++) {
        int at = g->n;
        size[at] = size[k];
        right[at] = right[k];
        count[at] = count[k];
        while (at > 0 && right[at-1] * count[at] >= right[at] * count[at-1]) {
            size[at-1]  += size[at];
            right[at-1] += right[at];
            count[at-1] += count[at];
            at--;
        }
        g->n = at + 1;
    }
    for (int k = 0; k < g->n; k++) {
        const double p = right[k] / count[k];
        g->size[k] = size[k] / count[k];
        g->p[k] = fmin(fmax(p, 0.5), 1 - 1 / (2 * total + 2));
    }
    free(pair);
    return 0;
}

// Straight lines from (0, 1/2) through the knots; level behind the last.  delta of either sign.
double isotonic_probability(const Isotonic *g, double delta) {
    const double size = fabs(delta);
    double size_before = 0, p_before = 0.5, p = 0.5;
    for (int k = 0; k < g->n; k++) {
        p = g->p[k];
        if (size < g->size[k]) {
            const double share = (size - size_before) / (g->size[k] - size_before);
            p = p_before + share * (p - p_before);
            break;
        }
        size_before = g->size[k];
        p_before = p;
    }
    return delta < 0 ? 1 - p : p;
}

// log p/(1-p); of a map without knots delta itself.
double isotonic_log_odds(const Isotonic *g, double delta) {
    if (!g->n) return delta;
    const double p = isotonic_probability(g, delta);
    return more_log(p / (1 - p));
}

// The same of each pair by the map of the other folds of prompts; all are (n).  0, or -1 after
// fail().
int isotonic_cross_fit(double *log_odds, const double *delta, const uint64_t *prompt_id, int n) {
    double *other = allocate((size_t)n, sizeof *other);
    int result = other ? 0 : -1;
    for (int fold = 0; result == 0 && fold < CALIBRATION_FOLDS; fold++) {
        Isotonic g;
        calibration_others(other, prompt_id, n, fold);
        result = isotonic_fit(&g, delta, other, n);
        for (int j = 0; result == 0 && j < n; j++) {
            if (!other[j]) log_odds[j] = isotonic_log_odds(&g, delta[j]);
        }
    }
    free(other);
    return result;
}

int is_calibrated(const Config *c) { return c->temperature > 0 || c->isotonic.n > 0; }

// log p/(1-p): by the isotonic map if there is one, else delta / T; of no calibration delta itself.
double calibrated(const Config *c, double delta) {
    if (c->isotonic.n) return isotonic_log_odds(&c->isotonic, delta);
    return c->temperature > 0 ? delta / c->temperature : delta;
}
#endif

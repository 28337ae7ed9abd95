/* heads.c - K reward heads on one frozen model, for people.c: types differ by a vector.
 *
 * What a reward head reads of answer j, h_j (C), is computed once.  Type k is a head w_k (C) with
 * the rewards w_k . h_j.  It maximises the log-likelihood of the choices, each with its annotator's
 * gamma and the row's own weight, less a ridge (Hoerl and Kennard 1970):
 *
 *     f(w) = sum_n gamma_n ell_n(X_n w) - ridge/2 s^2 |w|^2         ell_n: choice_loglik in loss.c
 *     x_j  = h_j - h_best                                           X_n: of the answers of row n
 *
 * Rewards less that of the row's best answer are enough, as only differences count.  s is the root
 * mean square length of all x, so that a ridge is the same whatever the model's scale: before
 * anything is known, margins have a standard deviation of about 1/sqrt(ridge).
 *
 * f is strictly concave: there is one maximum, wherever a fit starts.  EM then climbs
 * sum_h log sum_k eta_k exp(A_hk) - ridge/2 s^2 sum_k |w_k|^2.
 *
 * A few rewards over fixed features are also what LoRe learns (arXiv 2504.14439), which mixes them
 * for each person; here each person is of one type, which nobody sees (EM-DPO, arXiv 2510.15716).
 *
 * All in double, sums in the order of rows.                                                      */
#ifndef HEADS_C
#define HEADS_C
#include "dataset.c"
#include "loss.c"
#include "people.c"

enum { HEADS_BLOCK = 32 };        // answers whose curvature is added at a time

typedef struct {
    int K, C;
    const Dataset *d;             // the rows: pairs or rankings, the best answer first
    float *x;                     // (num_answers, C), the caller's
    double ridge;                 // times s^2
    int top;                      // of rankings the places that count; 0: all
    double *w;                    // (K,C)
    double *best;                 // (K,C) of the best start
    double *z;                    // (num_answers) rewards less that of the row's best answer
    double *g, *step, *next;      // (C)
    double *A;                    // (C,C) curvature, the lower half; then its Cholesky factor
    double *S;                    // (m,m) curvature of a row of at most m answers in their rewards
    double *block, *curved;       // (HEADS_BLOCK, C) some x_j, and (S X)_j
    int filled;                   // so many of them
} RewardHeads;

// features (num_answers, C): h of each answer, which become x.  0, or -1 after fail().
int  heads_init(RewardHeads *x, int K, int C, const Dataset *d, float *features, double ridge,
                int top);
void heads_free(RewardHeads *x);

// What people_em takes; afterwards the head (C) of type k, of the best start.
TypeModels    heads_models(RewardHeads *x);
const double *heads_best(const RewardHeads *x, int k);

// How many parameters the head w (C) has, fitted with the weights (N) of rows.
double heads_parameters(RewardHeads *x, const double *w, const double *weight);

// ------------------------------------------------------------------------------------------ memory

// h becomes x; returns s^2.
static double heads_differences(float *h, const Dataset *d, int C) {
    double square = 0, differences = 0;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        float *best = h + (size_t)r->first * (size_t)C;
        for (int j = 1; j < r->count; j++) {
            float *x = best + (size_t)j * (size_t)C;
            for (int c = 0; c < C; c++) {
                x[c] -= best[c];
                square += (double)x[c] * x[c];
            }
            differences++;
        }
        memset(best, 0, (size_t)C * sizeof *best);
    }
    return square > 0 ? square / differences : 1;
}

int heads_init(RewardHeads *x, int K, int C, const Dataset *d, float *features, double ridge,
               int top) {
    const size_t channels = (size_t)C, heads = (size_t)K * channels;
    int most = 0;
    for (size_t n = 0; n < d->num_records; n++) most = max_int(most, d->record[n].count);
    *x = (RewardHeads){.K = K, .C = C, .d = d, .x = features, .top = top};
    x->w = allocate(heads, sizeof *x->w);
    x->best = allocate(heads, sizeof *x->best);
    x->z = allocate(d->num_answers, sizeof *x->z);
    x->g = allocate(3 * channels, sizeof *x->g);
    x->A = allocate(channels * channels, sizeof *x->A);
    x->S = allocate((size_t)most * (size_t)most, sizeof *x->S);
    x->block = allocate(2 * HEADS_BLOCK * channels, sizeof *x->block);
    if (!x->w || !x->best || !x->z || !x->g || !x->A || !x->S || !x->block) {
        heads_free(x);
        return -1;
    }
    x->step = x->g + channels;
    x->next = x->step + channels;
    x->curved = x->block + HEADS_BLOCK * channels;
    x->ridge = ridge * heads_differences(features, d, C);
    return 0;
}

void heads_free(RewardHeads *x) {
    free(x->w);
    free(x->best);
    free(x->z);
    free(x->g);
    free(x->A);
    free(x->S);
    free(x->block);
    memset(x, 0, sizeof *x);
}

// ------------------------------------------------------------------------------------------- score

static const float *row_of_answer(const RewardHeads *x, int answer) {
    return x->x + (size_t)answer * (size_t)x->C;
}

static double heads_dot(const double *a, const double *b, int C) {
    double sum = 0;
    for (int c = 0; c < C; c++) sum += a[c] * b[c];
    return sum;
}

// z = X w; where choices are fitted, the best answer also has to make up for the row's margin.
static void heads_rewards(RewardHeads *x, const double *w, int is_fit) {
    const Dataset *d = x->d;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        x->z[r->first] = is_fit ? -(double)r->margin : 0;
        for (int j = r->first + 1; j < r->first + r->count; j++) {
            const float *row = row_of_answer(x, j);
            double sum = 0;
            for (int c = 0; c < x->C; c++) sum += w[c] * row[c];
            x->z[j] = sum;
        }
    }
}

// ell of row n at z; adds its slope in z, and its curvature times `weight`, where asked for.
static double heads_row(const RewardHeads *x, size_t n, double *slope, double *S, double weight) {
    const Record *r = &x->d->record[n];
    const double *z = x->z + r->first;
    float place[MAX_ANSWERS];
    record_places(place, x->d, r);
    if (S) choice_curvature(S, z, place, r->count, x->top, weight);
    return choice_loglik(slope, z, place, r->count, x->top, weight);
}

static int heads_score(void *self, int k, double *loglik) {
    RewardHeads *x = self;
    heads_rewards(x, x->w + (size_t)k * (size_t)x->C, 0);
    for (size_t n = 0; n < x->d->num_records; n++) loglik[n] = heads_row(x, n, NULL, NULL, 1);
    return 0;
}

// --------------------------------------------------------------------------------------------- fit

// The weight of row n in a fit.
static double heads_weight(const RewardHeads *x, const double *weight, size_t n) {
    return weight[n] * x->d->record[n].weight;
}

// f(w).
static double heads_value(RewardHeads *x, const double *w, const double *weight) {
    double value = -x->ridge / 2 * heads_dot(w, w, x->C);
    heads_rewards(x, w, 1);
    for (size_t n = 0; n < x->d->num_records; n++) {
        const double v = heads_weight(x, weight, n);
        if (v > 0) value += v * heads_row(x, n, NULL, NULL, 1);
    }
    return value;
}

// g = sum_n weight_n X_n' dell/dz - ridge s^2 w, at z; returns its length.
static double heads_gradient(RewardHeads *x, const double *w, const double *weight) {
    const int C = x->C;
    for (int c = 0; c < C; c++) x->g[c] = -x->ridge * w[c];
    for (size_t n = 0; n < x->d->num_records; n++) {
        const Record *r = &x->d->record[n];
        const double v = heads_weight(x, weight, n);
        double slope[MAX_ANSWERS] = {0};
        if (v <= 0) continue;
        heads_row(x, n, slope, NULL, v);
        for (int j = 1; j < r->count; j++) {
            const float *row = row_of_answer(x, r->first + j);
            for (int c = 0; c < C; c++) x->g[c] += slope[j] * row[c];
        }
    }
    return sqrt(heads_dot(x->g, x->g, C));
}

// A += sum of (S X)_j x_j' over the block's rows, which is then empty.
static void heads_empty_block(RewardHeads *x) {
    const size_t C = (size_t)x->C;
    for (size_t i = 0; i < C; i++) {
        double *A = x->A + i * C;
        for (size_t j = 0; j < (size_t)x->filled; j++) {
            const double curved = x->curved[j * C + i], *row = x->block + j * C;
            for (size_t h = 0; h <= i; h++) A[h] += curved * row[h];
        }
    }
    x->filled = 0;
}

// Adds x_j of a row's answer j to the block, and sum_l S_jl x_l.
static void heads_fill_block(RewardHeads *x, const Record *r, int j) {
    const size_t C = (size_t)x->C, at = (size_t)x->filled * C;
    const float *row = row_of_answer(x, r->first + j);
    for (size_t c = 0; c < C; c++) {
        x->block[at + c] = row[c];
        x->curved[at + c] = 0;
    }
    for (int l = 1; l < r->count; l++) {
        const float *other = row_of_answer(x, r->first + l);
        const double share = x->S[j * r->count + l];
        for (size_t c = 0; c < C; c++) x->curved[at + c] += share * other[c];
    }
    x->filled++;
    if (x->filled == HEADS_BLOCK) heads_empty_block(x);
}

// A = sum_n weight_n X_n' S_n X_n, at z, without the ridge.
static void heads_curvature(RewardHeads *x, const double *weight) {
    memset(x->A, 0, (size_t)x->C * (size_t)x->C * sizeof *x->A);
    for (size_t n = 0; n < x->d->num_records; n++) {
        const Record *r = &x->d->record[n];
        const double v = heads_weight(x, weight, n);
        if (v <= 0) continue;
        memset(x->S, 0, (size_t)(r->count * r->count) * sizeof *x->S);
        heads_row(x, n, NULL, x->S, v);
        for (int j = 1; j < r->count; j++) heads_fill_block(x, r, j);
    }
    heads_empty_block(x);
}

// A, with the ridge, becomes R of A + ridge s^2 I = R R' (Cholesky); in the lower half.
static void heads_factor(RewardHeads *x) {
    const int C = x->C;
    for (int i = 0; i < C; i++) {
        double *row = x->A + (size_t)i * (size_t)C;
        row[i] += x->ridge;
        for (int h = 0; h <= i; h++) {
            const double *before = x->A + (size_t)h * (size_t)C;
            const double sum = row[h] - heads_dot(row, before, h);
            row[h] = h < i ? sum / before[h] : sqrt(sum);
        }
    }
}

// step = (R R')^-1 g
static void heads_solve(RewardHeads *x) {
    const int C = x->C;
    for (int i = 0; i < C; i++) {
        const double *row = x->A + (size_t)i * (size_t)C;
        x->step[i] = (x->g[i] - heads_dot(row, x->step, i)) / row[i];
    }
    for (int i = C - 1; i >= 0; i--) {
        const double *row = x->A + (size_t)i * (size_t)C;
        x->step[i] /= row[i];
        for (int h = 0; h < i; h++) x->step[h] -= row[h] * x->step[i];
    }
}

// w + t step, for t = 1, 1/2, .. until f has risen enough (Armijo 1966).  1, or 0: no t does.
static int heads_step(RewardHeads *x, double *w, const double *weight, double *value) {
    const double slope = heads_dot(x->g, x->step, x->C);
    for (double t = 1; t > 1e-6; t /= 2) {
        for (int c = 0; c < x->C; c++) x->next[c] = w[c] + t * x->step[c];
        const double next = heads_value(x, x->next, weight);
        if (!(next >= *value + 1e-4 * t * slope)) continue;
        memcpy(w, x->next, (size_t)x->C * sizeof *w);
        *value = next;
        return 1;
    }
    return 0;
}

// Newton's method from the type's last head, until the gradient is a billionth of what it is at
// w = 0, or rounding.
static int heads_fit(void *self, int k, const double *weight) {
    RewardHeads *x = self;
    double *w = x->w + (size_t)k * (size_t)x->C;
    memset(x->next, 0, (size_t)x->C * sizeof *x->next);
    heads_rewards(x, x->next, 1);
    const double enough = 1e-9 * heads_gradient(x, x->next, weight);
    double value = heads_value(x, w, weight);
    for (int i = 0; i < 100; i++) {
        if (heads_gradient(x, w, weight) <= enough) return 0;
        heads_curvature(x, weight);
        heads_factor(x);
        heads_solve(x);
        if (!heads_step(x, w, weight, &value)) return 0;
    }
    return 0;
}

static int heads_begin(void *self, int start) {
    RewardHeads *x = self;
    (void)start;
    memset(x->w, 0, (size_t)x->K * (size_t)x->C * sizeof *x->w);
    return 0;
}

static int heads_keep(void *self) {
    RewardHeads *x = self;
    memcpy(x->best, x->w, (size_t)x->K * (size_t)x->C * sizeof *x->w);
    return 0;
}

TypeModels heads_models(RewardHeads *x) {
    return (TypeModels){.self = x, .fit = heads_fit, .score = heads_score,
                        .begin = heads_begin, .keep = heads_keep};
}

const double *heads_best(const RewardHeads *x, int k) { return x->best + (size_t)k * (size_t)x->C; }

// -------------------------------------------------------------------------------------- parameters

/* Effective parameters (Hastie, Tibshirani and Friedman 2009, sec. 3.4.1): the trace of
 *
 *     A (A + ridge s^2 I)^-1 = I - ridge s^2 (R R')^-1
 *
 * C without a ridge.  trace (R R')^-1 is the sum of the squares of R^-1, a column at a time.     */
double heads_parameters(RewardHeads *x, const double *w, const double *weight) {
    const int C = x->C;
    double trace = 0;
    heads_rewards(x, w, 1);
    heads_curvature(x, weight);
    heads_factor(x);
    for (int k = 0; k < C; k++) {
        double *column = x->step;                     // of R^-1, which begins with k zeros
        memset(column, 0, (size_t)C * sizeof *column);
        for (int i = k; i < C; i++) {
            const double *row = x->A + (size_t)i * (size_t)C;
            const double sum = heads_dot(row + k, column + k, i - k);
            column[i] = ((i == k) - sum) / row[i];
            trace += column[i] * column[i];
        }
    }
    return C - x->ridge * trace;
}
#endif

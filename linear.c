/* linear.c - K linear models of choices, for people.c: what a type likes is a vector.
 *
 * Each row is one choice among m options with d features each; the reward of an option is
 * beta_k . x, the choice McFadden's multinomial logit (choice_loglik in loss.c, of the ranks
 * 1, 2, 2, ..):
 *
 *     ell_k = beta_k . x_chosen - log sum_j exp(beta_k . x_j)
 *
 * With features that say which option it is, this is a table of rewards.  All in double; a row's
 * numbers do not depend on the other rows, and sums go through the rows in order.                */
#ifndef LINEAR_C
#define LINEAR_C
#include "loss.c"
#include "newton.c"
#include "people.c"

enum { LINEAR_MAX_FEATURES = 16, LINEAR_MAX_OPTIONS = 16 };

typedef struct {
    int K, m, d;                  // types, options of a row, features of an option
    size_t N;                     // rows
    const double *x;              // (N,m,d), the chosen option first
    double *beta;                 // (K,d)
    double *best;                 // (K,d) of the best start
    double *loglik;               // (K,N) under beta
    double *slope;                // (K,N,m) d loglik / d reward, which is chosen - P(option)
    double *tried, *tried_slope;  // (N), (N,m) of a step that is tried
    uint64_t seed;                // decides the first beta of each start
    int newton_steps;             // of each fit
} LinearModels;

// Memory; x stays the caller's.  0, or -1 after fail().
int  linear_init(LinearModels *l, int K, size_t N, int m, int d, const double *x);
void linear_free(LinearModels *l);

// The log-likelihood of each row (N) under beta (d), and its slope (N,m).
void linear_loglik(const LinearModels *l, const double *beta, double *loglik, double *slope);

// What people_em takes.
TypeModels linear_models(LinearModels *l);

// ------------------------------------------------------------------------------------------ memory

int linear_init(LinearModels *l, int K, size_t N, int m, int d, const double *x) {
    const size_t types = (size_t)K, options = (size_t)m, features = (size_t)d;
    assert(m >= 2 && m <= LINEAR_MAX_OPTIONS && d >= 1 && d <= LINEAR_MAX_FEATURES);
    *l = (LinearModels){.K = K, .m = m, .d = d, .N = N, .x = x, .newton_steps = 1};
    l->beta = allocate(types * features, sizeof *l->beta);
    l->best = allocate(types * features, sizeof *l->best);
    l->loglik = allocate(types * N, sizeof *l->loglik);
    l->slope = allocate(types * N * options, sizeof *l->slope);
    l->tried = allocate(N, sizeof *l->tried);
    l->tried_slope = allocate(N * options, sizeof *l->tried_slope);
    if (l->beta && l->best && l->loglik && l->slope && l->tried && l->tried_slope) return 0;
    linear_free(l);
    return -1;
}

void linear_free(LinearModels *l) {
    free(l->beta);
    free(l->best);
    free(l->loglik);
    free(l->slope);
    free(l->tried);
    free(l->tried_slope);
    memset(l, 0, sizeof *l);
}

// ------------------------------------------------------------------------------------------- score

void linear_loglik(const LinearModels *l, const double *beta, double *loglik, double *slope) {
    const size_t m = (size_t)l->m, d = (size_t)l->d;
    float rank[LINEAR_MAX_OPTIONS];
    for (size_t j = 0; j < m; j++) rank[j] = j == 0 ? 1 : 2;
    for (size_t n = 0; n < l->N; n++) {
        double reward[LINEAR_MAX_OPTIONS], *slope_n = slope + n * m;
        for (size_t j = 0; j < m; j++) {
            const double *x = l->x + (n * m + j) * d;
            reward[j] = 0;
            slope_n[j] = 0;
            for (size_t i = 0; i < d; i++) reward[j] += beta[i] * x[i];
        }
        loglik[n] = choice_loglik(slope_n, reward, rank, l->m, 0, 1);
    }
}

static int linear_score(void *self, int k, double *loglik) {
    const LinearModels *l = self;
    memcpy(loglik, l->loglik + (size_t)k * l->N, l->N * sizeof *loglik);
    return 0;
}

// --------------------------------------------------------------------------------------------- fit

/* Newton's step for L = sum_n w_n ell_n at slopes s (N,m), p_j = P(option j) = [j chosen] - s_j:
 *
 *     g = sum_n w_n sum_j s_j x_j
 *     H = sum_n w_n (sum_j p_j x_j x_j' - mean mean'),    mean = sum_j p_j x_j          (of -L)
 *
 * step = H^-1 g; features that do not vary get no step.                                          */
typedef struct {
    double g[LINEAR_MAX_FEATURES];
    double H[LINEAR_MAX_FEATURES * LINEAR_MAX_FEATURES];   // (d,d), the lower half
    double size[LINEAR_MAX_FEATURES];                      // sum_n w_n sum_j p_j x_j^2
} Curvature;

static void add_row(Curvature *c, const LinearModels *l, size_t n, double weight,
                    const double *slope) {
    const int d = l->d;
    double mean[LINEAR_MAX_FEATURES] = {0};
    for (int j = 0; j < l->m; j++) {
        const double *x = l->x + (n * (size_t)l->m + (size_t)j) * (size_t)d;
        const double p = (j == 0) - slope[j];
        for (int i = 0; i < d; i++) {
            c->g[i] += weight * slope[j] * x[i];
            c->size[i] += weight * p * x[i] * x[i];
            mean[i] += p * x[i];
            for (int h = 0; h <= i; h++) c->H[i*d + h] += weight * p * x[i] * x[h];
        }
    }
    for (int i = 0; i < d; i++) {
        for (int h = 0; h <= i; h++) c->H[i*d + h] -= weight * mean[i] * mean[h];
    }
}

static double weighted_sum(const double *weight, const double *loglik, size_t N) {
    double sum = 0;
    for (size_t n = 0; n < N; n++) sum += weight[n] * loglik[n];
    return sum;
}

// One step of Newton's method, halved until the weighted likelihood does not fall.  Returns 0 where
// no step helps.
static int newton_climb(LinearModels *l, int k, const double *weight) {
    const size_t N = l->N, m = (size_t)l->m;
    double *beta = l->beta + k * l->d, next[LINEAR_MAX_FEATURES];
    double *loglik = l->loglik + (size_t)k * N, *slope = l->slope + (size_t)k * N * m;
    Curvature c = {0};
    for (size_t n = 0; n < N; n++) {
        if (weight[n] > 0) add_row(&c, l, n, weight[n], slope + n * m);
    }
    newton_solve(c.g, c.H, c.size, l->d);
    const double now = weighted_sum(weight, loglik, N);
    for (double t = 1; t > 1e-6; t /= 2) {
        for (int i = 0; i < l->d; i++) next[i] = beta[i] + t * c.g[i];
        linear_loglik(l, next, l->tried, l->tried_slope);
        if (!(weighted_sum(weight, l->tried, N) >= now)) continue;
        memcpy(beta, next, (size_t)l->d * sizeof *beta);
        memcpy(loglik, l->tried, N * sizeof *loglik);
        memcpy(slope, l->tried_slope, N * m * sizeof *slope);
        return 1;
    }
    return 0;
}

static int linear_fit(void *self, int k, const double *weight) {
    LinearModels *l = self;
    for (int i = 0; i < l->newton_steps; i++) {
        if (!newton_climb(l, k, weight)) return 0;
    }
    return 0;
}

// ------------------------------------------------------------------------------------------ starts

// The first beta is standard normal, so that types differ before anything is known.
static int linear_begin(void *self, int start) {
    LinearModels *l = self;
    const size_t m = (size_t)l->m;
    for (int k = 0; k < l->K; k++) {
        double *beta = l->beta + k * l->d;
        for (int i = 0; i < l->d; i++) {
            beta[i] = random_normal(l->seed, STREAM_INIT, (uint64_t)start,
                                    (uint64_t)(k * l->d + i));
        }
        linear_loglik(l, beta, l->loglik + (size_t)k * l->N, l->slope + (size_t)k * l->N * m);
    }
    return 0;
}

static int linear_keep(void *self) {
    LinearModels *l = self;
    memcpy(l->best, l->beta, (size_t)(l->K * l->d) * sizeof *l->best);
    return 0;
}

TypeModels linear_models(LinearModels *l) {
    return (TypeModels){.self = l, .fit = linear_fit, .score = linear_score,
                        .begin = linear_begin, .keep = linear_keep};
}
#endif

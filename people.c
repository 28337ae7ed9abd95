/* people.c - different people: which of K hidden types is each annotator, and a model for each
 * type, by expectation maximisation (EM).
 *
 * EM-DPO, Chidambaram, Seetharaman and Syrgkanis, arXiv 2510.15716.  Annotator h = 1..H has a type
 * Z_h that nobody sees, P(Z_h = k) = eta_k.  ell_k(q) is the log-likelihood of one choice under
 * the model theta_k of type k, A_hk its sum over the choices of annotator h, who is one type in all
 * of them:
 *
 *     LL(eta, theta) = sum_h log sum_k eta_k exp(A_hk)
 *
 *           start     gamma: drawn, or from clusters of annotators
 *             |
 *             |  .-------------------------------------------------------------------.
 *             v  v                                                                   |
 *           M-step    eta_k = 1/H sum_h gamma_hk                                     |
 *                     fit: theta_k = argmax sum_h gamma_hk A_hk, or a way towards it |
 *                     score: A_hk = sum of ell_k over the rows of h                  |
 *             |                                                                      |
 *             v                                                                      |
 *           E-step    gamma_hk = eta_k exp(A_hk) / sum_j eta_j exp(A_hj)             |
 *             |                                                                      |
 *             +--- LL or gamma have changed, and iterations are left ----------------'
 *             v
 *           the next start; of all starts the one with the largest LL is kept
 *
 * If no fit lowers sum_h gamma_hk A_hk, LL never falls.  Models are fitted and scored by whoever
 * implements TypeModels: a row's weight is its annotator's gamma, and that is all they know of
 * people.
 *
 * Hard gamma is the assignment of MaxMin-RLHF (Chakraborty et al., arXiv 2402.08925): 1 for the
 * type with the largest A_hk, without eta, and LL is then sum_h max_k A_hk.
 *
 * Split halves: a model explains best those on whose very answers it was trained, so that with
 * models that can learn answers by heart every start stays what it is.  Each annotator's rows are
 * dealt into two halves.  An iteration fits on one and scores on the other, the next the other way
 * round; at the end the models are fitted on all rows once more.
 *
 * All in double, sums in the order of rows, then of annotators.                                 */
#ifndef PEOPLE_C
#define PEOPLE_C
#include "common.h"
#include "loss.c"

// ----------------------------------------------------------------------------------- the interface

enum { MAX_MATCHED = 8 };         // types and groups of which people_accuracy tries each matching

// K models of one kind.  All return 0, or -1 after fail().
typedef struct {
    void *self;
    int (*fit)(void *self, int k, const double *weight);  // weight (N): each row's gamma_hk
    int (*score)(void *self, int k, double *loglik);      // loglik (N): of each row under type k
    int (*begin)(void *self, int start);                  // before each start; may be NULL
    int (*keep)(void *self);                              // the best start yet; may be NULL
} TypeModels;

typedef struct {
    int H, K;                     // annotators, types
    size_t N;                     // rows
    const int *annotator;         // (N), 0 .. H-1
    double *eta;                  // (K) share of each type
    double *gamma;                // (H,K) responsibilities: P(Z_h = k | the choices of h)
    double *A;                    // (H,K) log-likelihood of the choices of h under type k
    double loglik;                // LL of eta and the models before the last E-step

    // where people_em is: with these, eta and gamma an interrupted run goes on
    int start, iteration;         // this start; the iterations of it that are done
    int settled;                  // this start has come to its end
    double *best, best_loglik;    // eta, gamma and A of the best start before this one; its LL

    double *row;                  // (N) weights or log-likelihoods of the rows, of one type
    double *before;               // (H,K) gamma before the last E-step; then scratch
    unsigned char *half;          // (N) 0 or 1: the half that a row is in
} People;

typedef enum {
    START_RANDOM,                 // as many annotators of each type, by lot
    START_DIRICHLET,              // gamma of each annotator from Dirichlet(alpha, .., alpha)
    START_CLUSTERS,               // as given, or agreement.c's; iteration 1 is Cluster-DPO
    START_MODELS,                 // the models are random: they are scored first
    NUM_STARTS
} PeopleStart;

typedef struct {
    int em_steps;                 // iterations of a start, at most
    int hard;                     // gamma is 1 for the likeliest type, else 0
    int split_half;               // fit on one half of each annotator's rows, score on the other
    double loglik_change;         // a start ends when LL per row changes by less,
    double gamma_change;          //     or every gamma does
    int starts;                   // behind one from clusters the others are random
    PeopleStart start;
    double dirichlet;             // alpha
    const int *cluster;           // (H), 0 .. K-1
    uint64_t seed;
    const char *const *name;      // (H) of the annotators, for messages; or NULL
    int (*iteration)(void *context, const People *p);   // after each E-step; may be NULL
    void *context;
} PeopleOptions;

// Memory, after a look at the numbers.  0, or -1 after fail().
int    people_init(People *p, int H, int K, size_t N, const int *annotator);
void   people_free(People *p);
size_t people_numbers(const People *p);            // in eta, gamma and A, which follow each other

// The loop, and its E-step; of one annotator, with log sum_k prior_k exp(A_k).
int    people_em(People *p, const TypeModels *m, const PeopleOptions *o);
void   people_e_step(People *p, int hard);
double people_posterior(double *gamma, const double *prior, const double *A, int K);

// How one person mixes the types' rewards, instead of being of one type.
double people_mixture(double *w, const double *margin, size_t n, int K);

// What was found: a type that nobody is left in, or -1; agreement with known groups (H); the mean
// entropy of gamma in nats; BIC.
int    people_type(const People *p, size_t h);             // with the largest gamma
int    people_empty_type(const People *p);
double people_accuracy(const People *p, const int *group, int groups);
double people_entropy(const People *p);
double people_bic(double loglik, double parameters, size_t rows);

// ------------------------------------------------------------------------------------------ memory

size_t people_numbers(const People *p) {
    return (size_t)p->K + 2 * (size_t)p->H * (size_t)p->K;
}

// eta, gamma and A follow each other.  annotator (N) stays the caller's.
int people_init(People *p, int H, int K, size_t N, const int *annotator) {
    *p = (People){.H = H, .K = K, .N = N, .annotator = annotator, .best_loglik = -HUGE_VAL};
    if (H < 1) return fail(EX_DATAERR, "no row says who its annotator is");
    if (H == 1) {
        return fail(EX_DATAERR, "all rows have one annotator: types need several people, or train "
                    "one model for all");
    }
    if (K < 1) return fail(EX_USAGE, "%d types: at least one is needed", K);
    if (K > H) {
        return fail(EX_DATAERR, "%d types of %d annotators: there cannot be more types than people",
                    K, H);
    }
    for (size_t n = 0; n < N; n++) assert(annotator[n] >= 0 && annotator[n] < H);
    p->eta = allocate(people_numbers(p), sizeof *p->eta);
    p->best = allocate(people_numbers(p), sizeof *p->best);
    p->row = allocate(N, sizeof *p->row);
    p->before = allocate((size_t)H * (size_t)K, sizeof *p->before);
    p->half = allocate(N, 1);
    if (!p->eta || !p->best || !p->row || !p->before || !p->half) {
        people_free(p);
        return -1;
    }
    p->gamma = p->eta + K;
    p->A = p->gamma + (size_t)H * (size_t)K;
    return 0;
}

void people_free(People *p) {
    free(p->eta);
    free(p->best);
    free(p->row);
    free(p->before);
    free(p->half);
    memset(p, 0, sizeof *p);
}

// ------------------------------------------------------------------------------------------ E-step

/* gamma_k = prior_k exp(A_k) / sum_j prior_j exp(A_j)
 *
 * of one annotator; all are (K).  Returns log sum_k prior_k exp(A_k).  The largest term is taken
 * out, so that nothing overflows; a type with prior 0 gets 0.  gamma and prior may be one.       */
double people_posterior(double *gamma, const double *prior, const double *A, int K) {
    double most = -HUGE_VAL, sum = 0;
    for (int k = 0; k < K; k++) {
        gamma[k] = more_log(prior[k]) + A[k];
        if (gamma[k] > most) most = gamma[k];
    }
    for (int k = 0; k < K; k++) {
        gamma[k] = more_exp(gamma[k] - most);
        sum += gamma[k];
    }
    for (int k = 0; k < K; k++) gamma[k] /= sum;
    return most + more_log(sum);
}

// gamma is 1 for the first of the types with the largest A, which is returned.
static double people_assign(double *gamma, const double *A, int K) {
    int best = 0;
    for (int k = 1; k < K; k++) {
        if (A[k] > A[best]) best = k;
    }
    for (int k = 0; k < K; k++) gamma[k] = k == best;
    return A[best];
}

// The type with the largest gamma, the first of equal ones.
int people_type(const People *p, size_t h) {
    const double *gamma = p->gamma + h * (size_t)p->K;
    int best = 0;
    for (int k = 1; k < p->K; k++) {
        if (gamma[k] > gamma[best]) best = k;
    }
    return best;
}

// eta_k = 1/H sum_h gamma_hk
static void people_share(People *p) {
    for (int k = 0; k < p->K; k++) {
        double sum = 0;
        for (int h = 0; h < p->H; h++) sum += p->gamma[(size_t)h * (size_t)p->K + (size_t)k];
        p->eta[k] = sum / p->H;
    }
}

// From A and eta: gamma, LL, and then eta of gamma.
void people_e_step(People *p, int hard) {
    p->loglik = 0;
    for (int h = 0; h < p->H; h++) {
        double *gamma = p->gamma + (size_t)h * (size_t)p->K;
        const double *A = p->A + (size_t)h * (size_t)p->K;
        if (hard) p->loglik += people_assign(gamma, A, p->K);
        else      p->loglik += people_posterior(gamma, p->eta, A, p->K);
    }
    people_share(p);
}

// Fewer than half a person: the models of the others explain everybody better.
int people_empty_type(const People *p) {
    for (int k = 0; k < p->K; k++) {
        if (p->eta[k] * p->H < 0.5) return k;
    }
    return -1;
}

// ------------------------------------------------------------------------------------------ M-step

// A type that nobody is left in learns from all a little, so that it can come back.
#define PEOPLE_FLOOR 1e-6

// The halves of an iteration: what is fitted on, what is scored; ALL_ROWS: no halves.
enum { ALL_ROWS = -1 };

static int row_is_in(const People *p, size_t n, int half) {
    return half == ALL_ROWS || p->half[n] == half;
}

// Fits type k on the rows of a half, each with its annotator's gamma; the others have weight 0.
static int people_fit(People *p, const TypeModels *m, int k, int half) {
    const int empty = p->eta[k] < PEOPLE_FLOOR;
    for (size_t n = 0; n < p->N; n++) {
        const double gamma = p->gamma[(size_t)p->annotator[n] * (size_t)p->K + (size_t)k];
        p->row[n] = empty ? PEOPLE_FLOOR : gamma;
        if (!row_is_in(p, n, half)) p->row[n] = 0;
    }
    return m->fit(m->self, k, p->row);
}

// A_hk of the rows of a half.
static int people_score(People *p, const TypeModels *m, int k, int half) {
    const size_t K = (size_t)p->K;
    if (m->score(m->self, k, p->row) < 0) return -1;
    for (size_t h = 0; h < (size_t)p->H; h++) p->A[h * K + (size_t)k] = 0;
    for (size_t n = 0; n < p->N; n++) {
        if (!(fabs(p->row[n]) <= DBL_MAX)) {
            return fail(EX_DATAERR, "row %zu has no finite likelihood under type %d; a smaller "
                        "--learning_rate may help", n + 1, k + 1);
        }
        if (row_is_in(p, n, half)) p->A[(size_t)p->annotator[n] * K + (size_t)k] += p->row[n];
    }
    return 0;
}

static int people_m_step(People *p, const TypeModels *m, int fit_half, int score_half) {
    for (int k = 0; k < p->K; k++) {
        if (people_fit(p, m, k, fit_half) < 0) return -1;
        if (people_score(p, m, k, score_half) < 0) return -1;
    }
    return 0;
}

// ------------------------------------------------------------------------------------------ starts

// Draws: each has its own steps of the stream.
enum { DRAW_TYPES, DRAW_DIRICHLET, DRAW_HALVES, NUM_DRAWS };

static uint64_t draw_step(uint64_t what, int start) { return (uint64_t)start * NUM_DRAWS + what; }

static void assign_all(People *p, const int *type) {
    for (size_t h = 0; h < (size_t)p->H; h++) {
        for (int k = 0; k < p->K; k++) p->gamma[h * (size_t)p->K + (size_t)k] = type[h] == k;
    }
}

static int start_random(People *p, uint64_t seed) {
    uint32_t *order = allocate((size_t)p->H, sizeof *order);
    int *type = allocate((size_t)p->H, sizeof *type);
    int result = -1;
    if (!order || !type) goto done;
    random_permutation(order, (uint32_t)p->H, seed, STREAM_PEOPLE, draw_step(DRAW_TYPES, p->start));
    for (int i = 0; i < p->H; i++) type[order[i]] = i % p->K;
    assign_all(p, type);
    result = 0;
done:
    free(order);
    free(type);
    return result;
}

/* The logarithm of a deviate from Gamma(alpha, 1), alpha > 0 (Marsaglia and Tsang 2000):
 *
 *     g = d v,  v = (1 + c x)^3,  d = a - 1/3,  c = 1 / sqrt(9 d)      x standard normal
 *
 * is from Gamma(a) if log u < x^2/2 + d - d v + d log v; with a = alpha + 1, g u'^(1/alpha) is from
 * Gamma(alpha).  `number` says which deviate it is.                                              */
static double log_gamma_deviate(double alpha, uint64_t seed, uint64_t step, uint64_t number) {
    const double d = alpha + 1 - 1.0 / 3, c = 1 / sqrt(9 * d);
    uint64_t index = number << 16;                         // each try takes two numbers
    const double u_alpha = random_unit(seed, STREAM_PEOPLE, step, index);
    for (;;) {
        const double x = random_normal(seed, STREAM_PEOPLE, step, index + 1);
        const double log_u = more_log(random_unit(seed, STREAM_PEOPLE, step, index + 2));
        const double root = 1 + c * x, v = root * root * root;
        index += 2;
        if (v <= 0) continue;
        if (log_u < x * x / 2 + d - d * v + d * more_log(v)) {
            return more_log(d) + more_log(v) + more_log(u_alpha) / alpha;
        }
    }
}

static void start_dirichlet(People *p, double alpha, uint64_t seed) {
    const uint64_t step = draw_step(DRAW_DIRICHLET, p->start);
    const size_t K = (size_t)p->K;
    for (int k = 0; k < p->K; k++) p->eta[k] = 1;
    for (size_t h = 0; h < (size_t)p->H; h++) {
        double *gamma = p->gamma + h * K;
        for (size_t k = 0; k < K; k++) {
            p->A[h * K + k] = log_gamma_deviate(alpha, seed, step, h * K + k);
        }
        people_posterior(gamma, p->eta, p->A + h * K, p->K);         // g_k / sum_j g_j
    }
}

static int start_clusters(People *p, const int *cluster) {
    for (int h = 0; h < p->H; h++) assert(cluster[h] >= 0 && cluster[h] < p->K);
    assign_all(p, cluster);
    people_share(p);
    const int empty = people_empty_type(p);
    if (empty < 0) return 0;
    return fail(EX_DATAERR, "the clusters to start from are fewer than the %d types: nobody is in "
                "cluster %d", p->K, empty + 1);
}

static int start_models(People *p, const TypeModels *m, int hard) {
    for (int k = 0; k < p->K; k++) {
        p->eta[k] = 1.0 / p->K;
        if (people_score(p, m, k, ALL_ROWS) < 0) return -1;
    }
    people_e_step(p, hard);
    return 0;
}

// The first gamma and eta.  The seed and p->start decide what is drawn.
static int people_start(People *p, const TypeModels *m, const PeopleOptions *o) {
    const int is_again = o->start == START_CLUSTERS && p->start > 0;
    const PeopleStart start = is_again ? START_RANDOM : o->start;
    if (m->begin && m->begin(m->self, p->start) < 0) return -1;
    if (start == START_RANDOM && start_random(p, o->seed) < 0) return -1;
    if (start == START_DIRICHLET) start_dirichlet(p, o->dirichlet, o->seed);
    if (start == START_CLUSTERS && start_clusters(p, o->cluster) < 0) return -1;
    if (start == START_MODELS && start_models(p, m, o->hard) < 0) return -1;
    people_share(p);
    return 0;
}

// ------------------------------------------------------------------------------------------ halves

typedef struct {
    int annotator;
    uint64_t lot;
    size_t row;
} Deal;

static int compare_deals(const void *a, const void *b) {
    const Deal *x = a, *y = b;
    if (x->annotator != y->annotator) return x->annotator < y->annotator ? -1 : 1;
    if (x->lot != y->lot) return x->lot < y->lot ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

// Deals each annotator's rows, in an order by lot, into two halves.
static int people_deal(People *p, const PeopleOptions *o) {
    Deal *deal = allocate(p->N, sizeof *deal);
    if (!deal) return -1;
    for (size_t n = 0; n < p->N; n++) {
        const uint64_t lot = random_u64(o->seed, STREAM_PEOPLE, draw_step(DRAW_HALVES, 0), n);
        deal[n] = (Deal){p->annotator[n], lot, n};
    }
    qsort(deal, p->N, sizeof *deal, compare_deals);
    int alone = -1;                                        // an annotator with one row
    size_t place = 0;                                      // of a row among its annotator's
    for (size_t n = 0; n < p->N; n++) {
        const int is_first = n == 0 || deal[n].annotator != deal[n-1].annotator;
        const int is_last = n + 1 == p->N || deal[n].annotator != deal[n+1].annotator;
        place = is_first ? 0 : place + 1;
        p->half[deal[n].row] = place % 2;
        if (is_first && is_last) alone = deal[n].annotator;
    }
    free(deal);
    if (alone < 0) return 0;
    char number[32];
    snprintf(number, sizeof number, "%d", alone + 1);
    return fail(EX_DATAERR, "annotator %s has one row, which cannot be halved; --estep full takes "
                "all rows", o->name ? o->name[alone] : number);
}

// ---------------------------------------------------------------------------------------- the loop

// The largest change of a gamma.
static double gamma_change(const People *p, const double *before) {
    double change = 0;
    for (size_t i = 0; i < (size_t)p->H * (size_t)p->K; i++) {
        const double difference = fabs(p->gamma[i] - before[i]);
        if (difference > change) change = difference;
    }
    return change;
}

// One iteration; says in p->settled whether the start has come to its end.
static int people_iterate(People *p, const TypeModels *m, const PeopleOptions *o) {
    const size_t bytes = (size_t)p->H * (size_t)p->K * sizeof(double);
    const int half = p->iteration % 2;
    const double loglik_before = p->loglik;
    const int status = o->split_half ? people_m_step(p, m, half, !half)
                                     : people_m_step(p, m, ALL_ROWS, ALL_ROWS);
    if (status < 0) return -1;
    memcpy(p->before, p->gamma, bytes);
    people_e_step(p, o->hard);
    p->iteration++;

    // likelihoods of two halves cannot be compared
    const double per_row = fabs(p->loglik - loglik_before) / (double)p->N;
    const int is_comparable = p->iteration > 1 && !o->split_half;
    p->settled = p->iteration >= o->em_steps || gamma_change(p, p->before) < o->gamma_change;
    if (is_comparable && per_row < o->loglik_change) p->settled = 1;
    return 0;
}

// The models of split halves, fitted on all rows; A and LL are theirs, gamma and eta stay.
static int people_finish(People *p, const TypeModels *m, int hard) {
    if (people_m_step(p, m, ALL_ROWS, ALL_ROWS) < 0) return -1;
    p->loglik = 0;
    for (size_t h = 0; h < (size_t)p->H; h++) {
        const double *A = p->A + h * (size_t)p->K;
        if (hard) p->loglik += A[people_type(p, h)];
        else      p->loglik += people_posterior(p->before, p->eta, A, p->K);
    }
    return 0;
}

// All iterations of a start.  0, -1 after fail(), or what the hook returned.
static int people_climb(People *p, const TypeModels *m, const PeopleOptions *o) {
    while (!p->settled) {
        if (people_iterate(p, m, o) < 0) return -1;
        const int status = o->iteration ? o->iteration(o->context, p) : 0;
        if (status) return status;
    }
    return o->split_half ? people_finish(p, m, o->hard) : 0;
}

/* All starts; p then has eta, gamma, A and LL of the best.  It begins where p is: of an interrupted
 * run start, iteration, settled, eta, gamma, loglik, best and best_loglik have been read back.  0;
 * -1 after fail(); or what the hook `iteration` returned, if that was not 0.                     */
int people_em(People *p, const TypeModels *m, const PeopleOptions *o) {
    const size_t bytes = people_numbers(p) * sizeof *p->best;
    if (o->split_half && people_deal(p, o) < 0) return -1;
    for (; p->start < o->starts; p->start++) {
        if (p->iteration == 0 && people_start(p, m, o) < 0) return -1;
        const int status = people_climb(p, m, o);
        if (status) return status;
        if (p->start == 0 || p->loglik > p->best_loglik) {
            if (m->keep && m->keep(m->self) < 0) return -1;
            memcpy(p->best, p->eta, bytes);
            p->best_loglik = p->loglik;
        }
        p->iteration = 0;
        p->settled = 0;
    }
    memcpy(p->eta, p->best, bytes);
    p->loglik = p->best_loglik;
    return 0;
}

// ----------------------------------------------------------------------------------- mixed rewards

// g (K) = sum_i sigma(-z_i) margin_i, the slope of f below; returns f.
static double mixture_slope(double *g, const double *w, const double *margin, size_t n, int K) {
    double loglik = 0;
    for (int k = 0; k < K; k++) g[k] = 0;
    for (size_t i = 0; i < n; i++) {
        const double *row = margin + i * (size_t)K;
        double z = 0;
        for (int k = 0; k < K; k++) z += w[k] * row[k];
        for (int k = 0; k < K; k++) g[k] += sigmoid(-z) * row[k];
        loglik += log_sigmoid(z);
    }
    return loglik;
}

// Weight goes from type `down` to type `up` as long as f rises: all of it, or what bisection says.
static void mixture_move(double *w, int up, int down, const double *margin, size_t n, int K) {
    const double both = w[up] + w[down];
    double g[MAX_MATCHED], low = w[up], high = both;
    w[up] = both;
    w[down] = 0;
    mixture_slope(g, w, margin, n, K);
    if (g[up] >= g[down]) return;
    for (int i = 0; i < 100; i++) {
        w[up] = low + (high - low) / 2;
        w[down] = both - w[up];
        mixture_slope(g, w, margin, n, K);
        if (g[up] >= g[down]) low = w[up];
        else                  high = w[up];
    }
    w[up] = low;
    w[down] = both - low;
}

/* A person whose reward is a mixture of the types', with weights on the simplex, as each person's
 * is of basis rewards in LoRe (arXiv 2504.14439), and to whose choices it is fitted:
 *
 *     maximise  f(w) = sum_i log sigma(z_i),  z_i = sum_k w_k margin_ik     w_k >= 0, sum_k w_k = 1
 *
 * margin (n,K): of the chosen answer of pair i under type k.  f is concave, with the slope g, and
 * no w is better by more than max_k g_k - w.g.  Two weights at a time, of those types that differ
 * most in slope, until no slope of a type with weight is below the largest by more than rounding.
 * Begins at w, where it stays in directions that the pairs say nothing of.  Returns f.           */
double people_mixture(double *w, const double *margin, size_t n, int K) {
    double g[MAX_MATCHED], scale = 0;
    assert(K <= MAX_MATCHED);
    for (size_t i = 0; i < n * (size_t)K; i++) scale += fabs(margin[i]);
    for (int moves = 0; moves < 10000; moves++) {
        int up = 0, down = -1;
        mixture_slope(g, w, margin, n, K);
        for (int k = 0; k < K; k++) {
            if (g[k] > g[up]) up = k;
            if (w[k] > 0 && (down < 0 || g[k] < g[down])) down = k;
        }
        if (g[up] - g[down] <= 1e-13 * scale) break;
        mixture_move(w, up, down, margin, n, K);
    }
    return mixture_slope(g, w, margin, n, K);
}

// ---------------------------------------------------------------------------------- what was found

// The most annotators that a matching of the types k .. n-1 with the groups not used gets right.
static int best_matching(int count[MAX_MATCHED][MAX_MATCHED], int n, int k, unsigned used) {
    int best = 0;
    if (k == n) return 0;
    for (int g = 0; g < n; g++) {
        if (used >> g & 1) continue;
        best = max_int(best, count[k][g] + best_matching(count, n, k + 1, used | 1u << g));
    }
    return best;
}

/* Clustering accuracy: each annotator is of the type with the largest gamma; types are matched with
 * the known groups (0 .. groups-1), one with one, so that most annotators agree.  The share that
 * does.  At most MAX_MATCHED types and groups.                                                   */
double people_accuracy(const People *p, const int *group, int groups) {
    int count[MAX_MATCHED][MAX_MATCHED] = {{0}};
    const int n = max_int(p->K, groups);
    assert(n <= MAX_MATCHED);
    for (size_t h = 0; h < (size_t)p->H; h++) count[people_type(p, h)][group[h]]++;
    return (double)best_matching(count, n, 0, 0) / p->H;
}

// 1/H sum_h -sum_k gamma_hk log gamma_hk: 0 if everybody's type is sure, log K if nobody's is.
double people_entropy(const People *p) {
    double sum = 0;
    for (size_t i = 0; i < (size_t)p->H * (size_t)p->K; i++) {
        if (p->gamma[i] > 0) sum -= p->gamma[i] * more_log(p->gamma[i]);
    }
    return sum / p->H;
}

// -2 LL + parameters log(rows)                                                     (Schwarz 1978)
double people_bic(double loglik, double parameters, size_t rows) {
    return -2 * loglik + parameters * more_log((double)rows);
}
#endif

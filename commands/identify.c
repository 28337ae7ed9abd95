/* identify.c - more identify: which answers tell types of people apart, and which cannot.
 *
 * Two types, half of the people each, like opposite things: utility +b . x and -b . x of an option
 * with the features x, standard normal, and Gumbel noise, so that choices are multinomial logit
 * (McFadden 1974).  EM fits two types from several random starts.
 *
 *     one pair          sigma(z) + sigma(-z) = 1: half like a better by as much as half like it
 *                       less, every pair is chosen with probability 1/2, whatever b is.  One such
 *                       answer a person says nothing of types (EM-DPO, arXiv 2510.15716).
 *     best of three     softmax has second-order terms, which do not cancel: the types can be told
 *                       apart (Fox, Kim, Ryan and Bajari 2012)
 *     four pairs        the answers of one person hang together: they can be told apart, too     */
#ifndef IDENTIFY_C
#define IDENTIFY_C
#include "../linear.c"
#include "../settings.h"
#include "../kernels.h"

int command_identify(void);

enum { CROWD_SIZE = 20000, FEATURES = 2, STARTS = 5, FITS = STARTS + 1 };
static const double true_b[FEATURES] = {1.5, -1.0};

// What a person is asked.
typedef struct {
    const char *name;
    int answers, options;
} Questions;

static const Questions asked[] = {
    {.name = "one pair",      .answers = 1, .options = 2},
    {.name = "best of three", .answers = 1, .options = 3},
    {.name = "four pairs",    .answers = 4, .options = 2},
};
enum { NUM_ASKED = sizeof asked / sizeof *asked };

// ------------------------------------------------------------------------------------- the answers

// What a crowd answered.
typedef struct {
    size_t N;
    int *annotator;               // (N)
    double *x;                    // (N,options,FEATURES), the chosen option first
    double *sign;                 // (CROWD_SIZE): of a person's b
} Crowd;

static void crowd_free(Crowd *c) {
    free(c->annotator);
    free(c->x);
    free(c->sign);
}

// Draws the options of row n and puts the one with the largest utility first.
static void draw_row(Crowd *c, size_t n, const Questions *q, uint64_t seed, uint64_t step) {
    const size_t options = (size_t)q->options;
    double *x = c->x + n * options * FEATURES, most = -HUGE_VAL;
    size_t best = 0;
    for (size_t j = 0; j < options; j++) {
        const uint64_t index = (n * options + j) * (FEATURES + 1);
        const double unit = random_unit(seed, STREAM_PEOPLE, step, index);
        double utility = -more_log(-more_log(unit));                   // Gumbel
        for (int i = 0; i < FEATURES; i++) {
            const uint64_t at = index + 1 + (uint64_t)i;
            const double feature = random_normal(seed, STREAM_PEOPLE, step, at);
            x[j * FEATURES + (size_t)i] = feature;
            utility += c->sign[c->annotator[n]] * true_b[i] * feature;
        }
        if (utility > most) {
            most = utility;
            best = j;
        }
    }
    for (size_t i = 0; i < FEATURES; i++) {
        const double first = x[i];
        x[i] = x[best * FEATURES + i];
        x[best * FEATURES + i] = first;
    }
}

// step: of the random numbers, another for each kind of question
static int crowd_draw(Crowd *c, const Questions *q, uint64_t seed, uint64_t step) {
    c->N = (size_t)CROWD_SIZE * (size_t)q->answers;
    c->annotator = allocate(c->N, sizeof *c->annotator);
    c->x = allocate(c->N * (size_t)q->options * FEATURES, sizeof *c->x);
    c->sign = allocate(CROWD_SIZE, sizeof *c->sign);
    if (!c->annotator || !c->x || !c->sign) return -1;
    for (size_t h = 0; h < CROWD_SIZE; h++) {
        c->sign[h] = random_u64(seed, STREAM_PEOPLE, step + 1, h) >> 63 ? 1 : -1;
    }
    for (size_t n = 0; n < c->N; n++) {
        c->annotator[n] = (int)n / q->answers;
        draw_row(c, n, q, seed, step);
    }
    return 0;
}

// ---------------------------------------------------------------------------------------- the fits

typedef struct {
    double loglik;                // of a person
    double b[2][FEATURES];        // of both types, the one that is more like true_b first
    double error;                 // how far they are from the truth
    int falls, status;            // how often the likelihood fell; -1 after fail()
} Fit;

typedef struct {
    Crowd crowd[NUM_ASKED];
    Fit fit[NUM_ASKED][FITS];     // of two types from each start, then of one type
    uint64_t seed;
} Study;

// How far two types are from two others: the length of the difference of all their numbers.
static double distance_between(const double a[2][FEATURES], const double b[2][FEATURES]) {
    double square = 0;
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < FEATURES; i++) square += (a[k][i] - b[k][i]) * (a[k][i] - b[k][i]);
    }
    return sqrt(square);
}

// Which of the fitted types is which: as they are least wrong.
static void fit_match(Fit *f, const double *beta) {
    double both[2][2][FEATURES], truth[2][FEATURES];
    for (int i = 0; i < FEATURES; i++) {
        truth[0][i] = true_b[i];
        truth[1][i] = -true_b[i];
        for (int k = 0; k < 2; k++) {
            both[0][k][i] = beta[k * FEATURES + i];
            both[1][!k][i] = beta[k * FEATURES + i];
        }
    }
    const int swapped = distance_between(both[1], truth) < distance_between(both[0], truth);
    memcpy(f->b, both[swapped], sizeof f->b);
    f->error = distance_between(f->b, truth);
}

// The hook: counts likelihoods that fall.
static int note_fall(void *context, const People *p) {
    Fit *f = context;
    if (p->iteration > 1 && p->loglik / p->H < f->loglik - 1e-10) f->falls++;
    f->loglik = p->loglik / p->H;
    return 0;
}

static int fit_types(Fit *f, const Study *s, int question, int K, int start) {
    const Crowd *c = &s->crowd[question];
    LinearModels l = {0};
    People p = {0};
    int result = -1;
    const PeopleOptions o = {
        .em_steps = 400, .loglik_change = 1e-11, .starts = start + 1, .start = START_MODELS,
        .seed = s->seed, .iteration = note_fall, .context = f};
    if (linear_init(&l, K, c->N, asked[question].options, FEATURES, c->x) < 0) goto done;
    if (people_init(&p, CROWD_SIZE, K, c->N, c->annotator) < 0) goto done;
    const TypeModels m = linear_models(&l);
    l.seed = s->seed;
    p.start = start;
    if (people_em(&p, &m, &o) < 0) goto done;
    if (K == 2) fit_match(f, l.best);
    result = 0;
done:
    linear_free(&l);
    people_free(&p);
    return result;
}

// ParallelTask: one fit.  Nothing is shared, so that threads change no bit.
static void fit_task(void *context, int i, int thread) {
    Study *s = context;
    const int question = i / FITS, start = i % FITS;
    Fit *f = &s->fit[question][start];
    (void)thread;
    f->status = start < STARTS ? fit_types(f, s, question, 2, start)
                               : fit_types(f, s, question, 1, 0);
}

// The log-likelihood of a person under the true types.
static int true_loglik(double *loglik, const Crowd *c, const Questions *q) {
    static const double share[2] = {0.5, 0.5};
    LinearModels l;
    if (linear_init(&l, 2, c->N, q->options, FEATURES, c->x) < 0) return -1;
    for (int k = 0; k < 2; k++) {
        double b[FEATURES];
        for (int i = 0; i < FEATURES; i++) b[i] = k == 0 ? true_b[i] : -true_b[i];
        linear_loglik(&l, b, l.loglik + (size_t)k * c->N, l.slope);
    }
    double sum = 0;
    for (size_t h = 0; h < CROWD_SIZE; h++) {
        double A[2] = {0}, gamma[2];
        for (size_t n = h * (size_t)q->answers; n < (h + 1) * (size_t)q->answers; n++) {
            for (size_t k = 0; k < 2; k++) A[k] += l.loglik[k * c->N + n];
        }
        sum += people_posterior(gamma, share, A, 2);
    }
    linear_free(&l);
    *loglik = sum / CROWD_SIZE;
    return 0;
}

// --------------------------------------------------------------------------------------- the table

// Of the five starts: the least and largest log-likelihood and error, the largest distance between
// two, the falls.
typedef struct {
    double loglik_low, loglik_high, error_low, error_high, apart;
    int falls;
} Spread;

static Spread spread_of(const Fit *fit) {
    Spread s = {.loglik_low = HUGE_VAL, .loglik_high = -HUGE_VAL, .error_low = HUGE_VAL};
    for (const Fit *f = fit; f < fit + STARTS; f++) {
        s.loglik_low = fmin(s.loglik_low, f->loglik);
        s.loglik_high = fmax(s.loglik_high, f->loglik);
        s.error_low = fmin(s.error_low, f->error);
        s.error_high = fmax(s.error_high, f->error);
        s.falls += f->falls;
        for (const Fit *g = fit; g < f; g++) s.apart = fmax(s.apart, distance_between(f->b, g->b));
    }
    return s;
}

// What the starts of one row found.  How near they end together is theirs: the types themselves are
// 2 |b| apart.
static void print_finding(const char *name, const Spread *s) {
    const double together = 0.05;
    if (s->apart < together) {
        printf("%s: all starts find the same types, at most %.4f apart and %.2f from the truth.\n",
               name, s->apart, s->error_high);
    } else {
        printf("%s: starts end up to %.2f from each other, %.2f to %.2f from the truth.\n", name,
               s->apart, s->error_low, s->error_high);
    }
}

static int print_table(const Study *study) {
    Spread spread[NUM_ASKED];
    printf("%d people of two types, who like +b and -b, b = (%.1f, %.1f); EM fits two types from "
           "%d\nstarts.  Log-likelihoods are of a person; error is the distance of both types from "
           "the truth, apart\nthe largest distance of two starts, falls how often a likelihood "
           "fell.\n\n", CROWD_SIZE, true_b[0], true_b[1], STARTS);
    printf("%-14s %9s %9s %9s  %-20s  %-12s %7s %6s\n", "a person's", "chance", "truth", "one type",
           "two types", "error", "apart", "falls");
    for (int i = 0; i < NUM_ASKED; i++) {
        double truth;
        if (true_loglik(&truth, &study->crowd[i], &asked[i]) < 0) return -1;
        spread[i] = spread_of(study->fit[i]);
        const Spread *s = &spread[i];
        printf("%-14s %9.6f %9.6f %9.6f  %.6f..%.6f  %.3f..%.3f %7.4f %6d\n", asked[i].name,
               -asked[i].answers * more_log(asked[i].options), truth, study->fit[i][STARTS].loglik,
               s->loglik_low, s->loglik_high, s->error_low, s->error_high, s->apart, s->falls);
    }
    printf("\n");
    for (int i = 0; i < NUM_ASKED; i++) print_finding(asked[i].name, &spread[i]);
    printf("One pair a person cannot tell these types apart, whatever the number of people: half "
           "of them like an\nanswer better by as much as the other half likes it less.  The best "
           "of three can, and so can several\npairs a person.\n");
    return 0;
}

int command_identify(void) {
    Study *s = allocate(1, sizeof *s);
    int result = -1;
    if (!s) return -1;
    s->seed = (uint64_t)opt.seed;
    for (int i = 0; i < NUM_ASKED; i++) {
        if (crowd_draw(&s->crowd[i], &asked[i], s->seed, 100 + 2 * (uint64_t)i) < 0) goto done;
    }
    kernels_parallel(NUM_ASKED * FITS, SIZE_MAX, fit_task, s);
    for (int i = 0; i < NUM_ASKED * FITS; i++) {
        if (s->fit[i / FITS][i % FITS].status < 0) goto done;
    }
    result = print_table(s);
done:
    for (int i = 0; i < NUM_ASKED; i++) crowd_free(&s->crowd[i]);
    free(s);
    return result;
}
#endif

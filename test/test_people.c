// Types of people by EM: the E-step, starts, halves, the loop; linear models.  Numbers come from
// closed forms, finite differences and examples computed by hand; the bandit is that of EM-DPO.
#include "test.h"
#include "../linear.c"

static double sum_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

// ------------------------------------------------------------------ models that are tables of rows

// Models that do not learn: the log-likelihood of row n under type k is table[k N + n].  What they
// are asked is noted.
typedef struct {
    size_t N;
    const double *table;
    double weight[64];            // of the rows, in the last fit
    int fits, scores, type;
} Table;

static int table_fit(void *self, int k, const double *weight) {
    Table *t = self;
    memcpy(t->weight, weight, t->N * sizeof *weight);
    t->type = k;
    t->fits++;
    return 0;
}

static int table_score(void *self, int k, double *loglik) {
    Table *t = self;
    memcpy(loglik, t->table + (size_t)k * t->N, t->N * sizeof *loglik);
    t->scores++;
    return 0;
}

static TypeModels table_models(Table *t) {
    return (TypeModels){.self = t, .fit = table_fit, .score = table_score};
}

// ------------------------------------------------------------------------------------------ E-step

// Two annotators with two pairs each, of which the types have these margins.
static const int two_annotators[4] = {0, 0, 1, 1};
static const double margin[8] = {1.0, -0.5, -1.0, 0.4, 0.2, 0.3, 2.0, 1.5};

static void test_responsibilities_are_those_computed_by_hand(void) {
    static const double joint[4] = {-1.798164, -2.068785, -2.337103, -1.244632};
    static const double gamma[4] = {0.567245, 0.432755, 0.251153, 0.748847};
    double table[8], loss[2] = {0};
    for (int i = 0; i < 8; i++) table[i] = log_sigmoid(margin[i]);
    Table t = {.N = 4, .table = table};
    const TypeModels m = table_models(&t);
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    p.eta[0] = 0.6;
    p.eta[1] = 0.4;
    CHECK(people_m_step(&p, &m, ALL_ROWS, ALL_ROWS) == 0);
    people_e_step(&p, 0);
    for (int i = 0; i < 4; i++) {
        CHECK_NEAR(more_log(i % 2 ? 0.4 : 0.6) + p.A[i], joint[i], 1e-6);
        CHECK_NEAR(p.gamma[i], gamma[i], 1e-6);
    }
    CHECK_NEAR(p.loglik, -2.186612, 1e-6);
    CHECK_NEAR(p.eta[0], 0.409199, 1e-6);
    CHECK_NEAR(p.eta[1], 0.590801, 1e-6);

    // the losses that the next M-step weighs
    for (int k = 0; k < 2; k++) {
        CHECK(people_fit(&p, &m, k, ALL_ROWS) == 0 && t.type == k);
        for (int n = 0; n < 4; n++) loss[k] -= t.weight[n] * table[4*k + n] / 4;
    }
    CHECK_NEAR(loss[0], 0.297228, 1e-6);
    CHECK_NEAR(loss[1], 0.186156, 1e-6);
    people_free(&p);
}

// gamma of five types, from fixed numbers; shift is added to all A.
static void five_types(double *gamma, double shift, int swapped) {
    static const double prior[5] = {0.1, 0.3, 0.2, 0.15, 0.25}, A[5] = {-7, -5.5, -6, -9, -5};
    double q[5], B[5];
    for (int k = 0; k < 5; k++) {
        const int from = swapped ? 4 - k : k;
        q[k] = prior[from];
        B[k] = A[from] + shift;
    }
    people_posterior(gamma, q, B, 5);
}

static void test_responsibilities_have_the_sum_one_whatever_is_added_to_an_annotators_rows(void) {
    static const double shifts[] = {0, 1, -300, -40000, 900, -1e9};
    double want[5], got[5];
    five_types(want, 0, 0);
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
        five_types(got, shifts[i], 0);
        CHECK_NEAR(sum_of(got, 5), 1, 1e-12);
        for (int k = 0; k < 5; k++) CHECK_NEAR(got[k], want[k], 1e-12 + 1e-15 * fabs(shifts[i]));
    }
    five_types(got, 0, 1);
    for (int k = 0; k < 5; k++) CHECK_NEAR(got[k], want[4 - k], 1e-12);
}

static void test_a_type_without_a_share_gets_nobody_and_far_likelihoods_do_not_overflow(void) {
    double gamma[3];
    const double prior[3] = {0, 0.5, 0.5}, A[3] = {0, -1e5, -1e5 - 2000};
    CHECK_NEAR(people_posterior(gamma, prior, A, 3), -1e5 + log(0.5), 1e-9);
    CHECK(gamma[0] == 0 && gamma[1] == 1 && gamma[2] == 0);
}

static void test_one_type_has_everybody_and_its_rows_weigh_one(void) {
    static const double table[4] = {-0.3, -2, -0.7, -1e-9};
    Table t = {.N = 4, .table = table};
    const TypeModels m = table_models(&t);
    const PeopleOptions o = {.em_steps = 3, .starts = 1, .start = START_RANDOM};
    People p;
    CHECK(people_init(&p, 2, 1, 4, two_annotators) == 0);
    CHECK(people_em(&p, &m, &o) == 0);
    CHECK(t.fits == 3 && t.scores == 3);
    for (int n = 0; n < 4; n++) CHECK(t.weight[n] == 1);
    CHECK(p.gamma[0] == 1 && p.gamma[1] == 1 && p.eta[0] == 1);
    CHECK_NEAR(p.loglik, sum_of(table, 4), 1e-15);
    people_free(&p);
}

// ------------------------------------------------------------------------------------------ starts

enum { CROWD = 4001 };
static int crowd[CROWD];          // CROWD annotators with one row each

static void start_crowd(People *p, int K, const PeopleOptions *o) {
    const TypeModels none = {0};
    for (int h = 0; h < CROWD; h++) crowd[h] = h;
    CHECK(people_init(p, CROWD, K, CROWD, crowd) == 0);
    CHECK(people_start(p, &none, o) == 0);
}

static void test_a_random_start_gives_each_type_as_many_annotators_by_lot(void) {
    const PeopleOptions o = {.start = START_RANDOM, .seed = 7}, other = {.start = START_RANDOM};
    People p, q;
    start_crowd(&p, 3, &o);
    start_crowd(&q, 3, &other);
    for (int k = 0; k < 3; k++) CHECK_NEAR(p.eta[k] * CROWD, CROWD / 3, 1 + 1e-9);
    int same = 0;
    for (int i = 0; i < 3 * CROWD; i++) same += p.gamma[i] == 1 && q.gamma[i] == 1;
    CHECK_NEAR(same, CROWD / 3, 5 * sqrt(CROWD * 2 / 9.0));
    people_free(&p);
    people_free(&q);
}

// Of K types a responsibility has the mean 1/K and the variance (K - 1) / (K^2 (K alpha + 1)).
static void test_a_dirichlet_start_has_the_moments_of_its_distribution(void) {
    static const double alphas[] = {0.01, 0.5, 1, 10};
    for (int i = 0; i < 4; i++) {
        for (int K = 2; K <= 4; K += 2) {
            const PeopleOptions o = {.start = START_DIRICHLET, .dirichlet = alphas[i], .seed = 3};
            const double variance = (K - 1.0) / (K * K * (K * alphas[i] + 1));
            double squares = 0, sum = 0;
            People p;
            start_crowd(&p, K, &o);
            for (int h = 0; h < CROWD; h++) {
                const double difference = p.gamma[h * K] - 1.0 / K;
                CHECK_NEAR(sum_of(p.gamma + h * K, (size_t)K), 1, 1e-12);
                sum += difference;
                squares += difference * difference;
            }
            CHECK_NEAR(sum / CROWD, 0, 4 * sqrt(variance / CROWD));
            CHECK_NEAR(squares / CROWD / variance, 1, 0.1);
            CHECK_NEAR(p.eta[0], sum / CROWD + 1.0 / K, 1e-12);
            people_free(&p);
        }
    }
}

static void test_starts_from_clusters_and_from_models_are_what_is_given(void) {
    static const double table[8] = {-0.1, -0.2, -3, -1, -2, -1, -0.5, -0.4};
    static const int cluster[2] = {1, 0}, too_few[2] = {1, 1};
    Table t = {.N = 4, .table = table};
    const TypeModels m = table_models(&t);
    PeopleOptions o = {.start = START_CLUSTERS, .cluster = cluster};
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    CHECK(people_start(&p, &m, &o) == 0);
    CHECK(p.gamma[0] == 0 && p.gamma[1] == 1 && p.gamma[2] == 1 && p.gamma[3] == 0);
    CHECK(p.eta[0] == 0.5 && t.scores == 0);
    o.cluster = too_few;
    CHECK(people_start(&p, &m, &o) < 0 && strstr(error_text, "nobody is in cluster 1"));

    o.start = START_MODELS;
    CHECK(people_start(&p, &m, &o) == 0 && t.scores == 2 && t.fits == 0);
    CHECK_NEAR(p.gamma[0], sigmoid(-0.3 + 3), 1e-12);
    CHECK_NEAR(p.gamma[3], sigmoid(-0.9 + 4), 1e-12);
    people_free(&p);
}

// ------------------------------------------------------------------------------------------ halves

static void test_split_halves_fit_on_one_half_and_score_the_other_in_turns(void) {
    enum { ROWS = 11 };
    static const int annotator[ROWS] = {0, 1, 0, 1, 2, 0, 2, 0, 1, 1, 2};
    double table[2 * ROWS];
    for (int i = 0; i < 2 * ROWS; i++) table[i] = -0.1 - i / 100.0;
    Table t = {.N = ROWS, .table = table};
    const TypeModels m = table_models(&t);
    const PeopleOptions o = {.start = START_RANDOM, .split_half = 1, .em_steps = 100, .starts = 1};
    People p;
    CHECK(people_init(&p, 3, 2, ROWS, annotator) == 0);
    CHECK(people_deal(&p, &o) == 0 && people_start(&p, &m, &o) == 0);
    for (int h = 0; h < 3; h++) {
        int first = 0, rows = 0;
        for (int n = 0; n < ROWS; n++) {
            first += annotator[n] == h && p.half[n] == 0;
            rows += annotator[n] == h;
        }
        CHECK(first == (rows + 1) / 2);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(people_iterate(&p, &m, &o) == 0);
        for (int h = 0; h < 3; h++) {
            double A = 0;
            for (int n = 0; n < ROWS; n++) {
                if (annotator[n] == h && p.half[n] != i % 2) A += table[ROWS + n];
            }
            CHECK_NEAR(p.A[2*h + 1], A, 1e-15);
        }
        for (int n = 0; n < ROWS; n++) {
            const double gamma = p.before[2 * annotator[n] + 1];
            CHECK(t.weight[n] == (p.half[n] == i % 2 ? gamma : 0));
        }
    }

    // at the end all rows are fitted, and gamma stays
    double gamma[6];
    memcpy(gamma, p.gamma, sizeof gamma);
    CHECK(people_finish(&p, &m, 0) == 0);
    for (int n = 0; n < ROWS; n++) CHECK(t.weight[n] == p.gamma[2 * annotator[n] + 1]);
    CHECK(!memcmp(gamma, p.gamma, sizeof gamma));
    double soft = 0, hard = 0;
    for (int h = 0; h < 3; h++) {
        soft += log(p.eta[0] * exp(p.A[2*h]) + p.eta[1] * exp(p.A[2*h + 1]));
        hard += p.A[2*h + (gamma[2*h + 1] > gamma[2*h])];
    }
    CHECK_NEAR(p.loglik, soft, 1e-12);
    CHECK(people_finish(&p, &m, 1) == 0);
    CHECK_NEAR(p.loglik, hard, 1e-12);
    people_free(&p);
}

static void test_an_annotator_with_one_row_cannot_be_halved(void) {
    static const int annotator[5] = {0, 1, 0, 2, 2};
    static const char *const name[3] = {"ann", "bob", "cy"};
    static const double table[10] = {0};
    Table t = {.N = 5, .table = table};
    const TypeModels m = table_models(&t);
    PeopleOptions o = {.split_half = 1, .em_steps = 1, .starts = 1};
    People p;
    CHECK(people_init(&p, 3, 2, 5, annotator) == 0);
    CHECK(people_em(&p, &m, &o) < 0 && strstr(error_text, "annotator 2 has one row"));
    o.name = name;
    CHECK(people_em(&p, &m, &o) < 0 && strstr(error_text, "annotator bob has one row"));
    CHECK(strstr(error_text, "--estep full"));
    people_free(&p);
}

// ------------------------------------------------------------------------------------ bad numbers

static void test_what_cannot_be_types_of_people_is_refused_in_words(void) {
    static const struct { int H, K; const char *says; } bad[] = {
        {0, 2, "who its annotator is"}, {1, 1, "one annotator"}, {3, 4, "4 types of 3 annotators"},
        {3, 0, "0 types"}};
    static const double table[8] = {-1, -2, -1, -1, -1, -1, -HUGE_VAL, -1};
    People p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(people_init(&p, bad[i].H, bad[i].K, 0, NULL) < 0);
        CHECK(strstr(error_text, bad[i].says));
    }
    Table t = {.N = 4, .table = table};
    const TypeModels m = table_models(&t);
    const PeopleOptions o = {.em_steps = 1, .starts = 1};
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    CHECK(people_em(&p, &m, &o) < 0 && strstr(error_text, "row 3 has no finite likelihood"));
    CHECK(strstr(error_text, "type 2"));
    people_free(&p);
}

// ---------------------------------------------------------------------------------------- the loop

/* Annotators with `answers` choices each among m options with two random features, of two types who
 * like `like[type]`; the chosen option comes first.                                              */
typedef struct {
    size_t N;
    double *x;                    // (N,m,2)
    int *annotator, *type;        // (N), (H)
} Choices;

static void choices_draw(Choices *c, int H, int answers, int m, const double like[2][2]) {
    c->N = (size_t)(H * answers);
    c->x = calloc(c->N * (size_t)m * 2, sizeof *c->x);
    c->annotator = calloc(c->N, sizeof *c->annotator);
    c->type = calloc((size_t)H, sizeof *c->type);
    if (!c->x || !c->annotator || !c->type) exit(1);
    for (int h = 0; h < H; h++) c->type[h] = random_unit(1, STREAM_TEST, 0, (uint64_t)h) < 0.4;
    for (int n = 0; n < (int)c->N; n++) {
        double most = -HUGE_VAL, *x = c->x + n * m * 2;
        int best = 0;
        c->annotator[n] = n / answers;
        const double *b = like[c->type[n / answers]];
        for (int j = 0; j < m; j++) {
            const uint64_t i = (uint64_t)(n * m + j);
            x[2*j] = random_normal(1, STREAM_TEST, 1, i);
            x[2*j + 1] = random_normal(1, STREAM_TEST, 2, i);
            const double gumbel = -log(-log(random_unit(1, STREAM_TEST, 3, i)));
            const double utility = b[0] * x[2*j] + b[1] * x[2*j + 1] + gumbel;
            if (utility > most) best = j;
            if (utility > most) most = utility;
        }
        for (int i = 0; i < 2; i++) {
            const double first = x[i];
            x[i] = x[2*best + i];
            x[2*best + i] = first;
        }
    }
}

static void choices_free(Choices *c) {
    free(c->x);
    free(c->annotator);
    free(c->type);
}

static const double like[2][2] = {{1.5, -1}, {-0.5, 1.2}};

// The hook: what a run's likelihoods were.
typedef struct {
    int iterations, falls, stop_at;
    double before;
} Trace;

static int note_iteration(void *context, const People *p) {
    Trace *t = context;
    if (p->iteration > 1 && p->loglik < t->before - 1e-10) t->falls++;
    t->before = p->loglik;
    t->iterations++;
    return t->iterations == t->stop_at;
}

static void test_the_likelihood_never_falls_with_fits_that_do_not_lower_it(void) {
    for (int m = 2; m <= 4; m += 2) {
        for (int start = 0; start < NUM_STARTS; start++) {
            if (start == START_CLUSTERS) continue;
            for (int K = 2; K <= 3; K++) {
                Choices c;
                LinearModels l;
                People p;
                Trace t = {0};
                choices_draw(&c, 60, 6, m, like);
                CHECK(linear_init(&l, K, c.N, m, 2, c.x) == 0);
                CHECK(people_init(&p, 60, K, c.N, c.annotator) == 0);
                const TypeModels models = linear_models(&l);
                const PeopleOptions o = {
                    .em_steps = 60, .starts = 1, .start = (PeopleStart)start, .dirichlet = 5,
                    .seed = 2, .iteration = note_iteration, .context = &t};
                CHECK(people_em(&p, &models, &o) == 0);
                CHECK(t.iterations == 60 && t.falls == 0);
                if (K == 2) CHECK(people_accuracy(&p, c.type, 2) >= 0.9);
                linear_free(&l);
                people_free(&p);
                choices_free(&c);
            }
        }
    }
}

// sum_h max_k A_hk does not fall either, and ends when the assignment stands still.
static void test_hard_responsibilities_are_assignments_to_the_likeliest_type(void) {
    Choices c;
    LinearModels l;
    People p;
    Trace t = {0};
    choices_draw(&c, 60, 6, 2, like);
    CHECK(linear_init(&l, 2, c.N, 2, 2, c.x) == 0);
    l.newton_steps = 20;
    CHECK(people_init(&p, 60, 2, c.N, c.annotator) == 0);
    const TypeModels models = linear_models(&l);
    const PeopleOptions o = {.em_steps = 50, .starts = 1, .start = START_RANDOM, .hard = 1,
                             .gamma_change = 1e-3, .iteration = note_iteration, .context = &t};
    CHECK(people_em(&p, &models, &o) == 0);
    CHECK(t.falls == 0 && t.iterations > 2 && t.iterations < 50);
    CHECK(people_accuracy(&p, c.type, 2) >= 0.9);
    double loglik = 0;
    for (int h = 0; h < 60; h++) {
        const double *A = p.A + 2*h, *gamma = p.gamma + 2*h;
        CHECK(gamma[0] == (A[0] >= A[1]) && gamma[1] == (A[0] < A[1]));
        loglik += fmax(A[0], A[1]);
    }
    CHECK_NEAR(p.loglik, loglik, 1e-10);
    CHECK(!memcmp(p.gamma, p.before, 120 * sizeof *p.gamma));
    linear_free(&l);
    people_free(&p);
    choices_free(&c);
}

// The share of a type is of no account: it is MaxMin-RLHF's step, not classification EM's.
static void test_hard_responsibilities_take_no_account_of_shares(void) {
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    p.eta[0] = 0.999;
    p.eta[1] = 0.001;
    const double A[4] = {-2, -1.9, -1, -1};
    memcpy(p.A, A, sizeof A);
    people_e_step(&p, 1);
    CHECK(p.gamma[0] == 0 && p.gamma[1] == 1 && p.gamma[2] == 1 && p.gamma[3] == 0);
    CHECK(p.eta[0] == 0.5 && p.loglik == -2.9);
    people_free(&p);
}

static void test_a_type_that_lost_everybody_is_named_and_still_learns(void) {
    static const double table[8] = {-1, -1, -1, -1, -2, -2, -2, -2};
    Table t = {.N = 4, .table = table};
    const TypeModels m = table_models(&t);
    const PeopleOptions o = {.em_steps = 2, .starts = 1, .start = START_RANDOM, .hard = 1};
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    CHECK(people_start(&p, &m, &o) == 0 && people_empty_type(&p) == -1);
    CHECK(people_em(&p, &m, &o) == 0);
    CHECK(p.eta[1] == 0 && people_empty_type(&p) == 1 && t.type == 1);
    for (int n = 0; n < 4; n++) CHECK(t.weight[n] == PEOPLE_FLOOR);
    people_free(&p);
}

typedef struct {
    People p;
    LinearModels l;
    Trace t;
    PeopleOptions o;
} Fitted;

static void fitted_begin(Fitted *f, const Choices *c, int H, int starts) {
    *f = (Fitted){0};
    CHECK(linear_init(&f->l, 2, c->N, 2, 2, c->x) == 0);
    CHECK(people_init(&f->p, H, 2, c->N, c->annotator) == 0);
    f->o = (PeopleOptions){.em_steps = 4, .starts = starts, .start = START_MODELS, .seed = 9,
                           .iteration = note_iteration, .context = &f->t};
}

static int fitted_run(Fitted *f) {
    const TypeModels m = linear_models(&f->l);
    return people_em(&f->p, &m, &f->o);
}

static void fitted_free(Fitted *f) {
    linear_free(&f->l);
    people_free(&f->p);
}

static void test_of_several_starts_the_likeliest_is_kept(void) {
    enum { STARTS = 4, H = 40 };
    Choices c;
    Fitted all, one;
    double most = -HUGE_VAL;
    int best = 0;
    choices_draw(&c, H, 3, 2, like);
    fitted_begin(&all, &c, H, STARTS);
    CHECK(fitted_run(&all) == 0 && all.t.iterations == 4 * STARTS);
    for (int s = 0; s < STARTS; s++) {
        fitted_begin(&one, &c, H, s + 1);
        one.p.start = s;
        one.p.best_loglik = -HUGE_VAL;
        CHECK(fitted_run(&one) == 0);
        if (one.p.loglik > most) best = s;
        most = fmax(most, one.p.loglik);
        if (best == s) {
            CHECK(all.p.loglik >= one.p.loglik);
            if (all.p.loglik == one.p.loglik) {
                CHECK(!memcmp(all.p.gamma, one.p.gamma, 2 * H * sizeof *one.p.gamma));
                CHECK(!memcmp(all.l.best, one.l.beta, 4 * sizeof *one.l.beta));
            }
        }
        fitted_free(&one);
    }
    CHECK(all.p.loglik == most && best != STARTS - 1);
    fitted_free(&all);
    choices_free(&c);
}

// After every iteration in turn the run is stopped and goes on from the numbers that are kept.
static void test_an_interrupted_run_goes_on_to_the_same_bits(void) {
    enum { STARTS = 2, H = 40 };
    Choices c;
    Fitted whole, part;
    choices_draw(&c, H, 4, 2, like);
    for (int halves = 0; halves < 2; halves++) {
        fitted_begin(&whole, &c, H, STARTS);
        whole.o.split_half = halves;
        CHECK(fitted_run(&whole) == 0);
        for (int stop = 1; stop <= 4 * STARTS; stop++) {
            fitted_begin(&part, &c, H, STARTS);
            part.t.stop_at = stop;
            part.o.split_half = halves;
            CHECK(fitted_run(&part) == 1);

            // what is not kept is spoiled
            memset(part.p.row, -1, c.N * sizeof *part.p.row);
            memset(part.p.before, -1, 2 * H * sizeof *part.p.before);
            memset(part.p.A, -1, 2 * H * sizeof *part.p.A);
            memset(part.p.half, -1, c.N);
            CHECK(fitted_run(&part) == 0);
            CHECK(part.p.loglik == whole.p.loglik);
            CHECK(!memcmp(part.p.gamma, whole.p.gamma, 2 * H * sizeof *part.p.gamma));
            CHECK(!memcmp(part.l.best, whole.l.best, 4 * sizeof *part.l.best));
            fitted_free(&part);
        }
        fitted_free(&whole);
    }
    choices_free(&c);
}

// ----------------------------------------------------------------------------------- linear models

// Options 0, 1, 2 of one feature, beta = +-2: the middle is chosen with probability 0.117310.
static void test_linear_choices_have_their_probabilities(void) {
    static const double x[9] = {0, 1, 2, 1, 0, 2, 2, 0, 1};          // the chosen one first
    static const double want[3] = {0.015876, 0.117310, 0.866814};
    LinearModels l;
    double loglik[3], slope[9], mixed[3];
    CHECK(linear_init(&l, 1, 3, 3, 1, x) == 0);
    for (int sign = 1; sign >= -1; sign -= 2) {
        const double beta = 2 * sign;
        linear_loglik(&l, &beta, loglik, slope);
        for (int i = 0; i < 3; i++) {
            CHECK_NEAR(exp(loglik[i]), sign > 0 ? want[i] : want[2 - i], 1e-6);
            CHECK_NEAR(slope[3*i], 1 - exp(loglik[i]), 1e-12);
            mixed[i] = sign > 0 ? exp(loglik[i]) / 2 : mixed[i] + exp(loglik[i]) / 2;
        }
    }
    CHECK_NEAR(mixed[0], 0.441345, 1e-6);
    CHECK_NEAR(mixed[1], 0.117310, 1e-6);
    linear_free(&l);
}

// At the maximum the weighted sum has no slope, and neither feature that is constant moves beta.
static void test_newton_steps_climb_to_where_the_weighted_likelihood_is_flat(void) {
    enum { H = 50, D = 4 };
    Choices c;
    LinearModels l;
    double *x, *weight, *loglik, *slope;
    choices_draw(&c, H, 4, 3, like);
    x = calloc(c.N * 3 * D, sizeof *x);
    weight = calloc(c.N, sizeof *weight);
    loglik = calloc(c.N, sizeof *loglik);
    slope = calloc(c.N * 3, sizeof *slope);
    if (!x || !weight || !loglik || !slope) exit(1);
    for (size_t i = 0; i < c.N * 3; i++) {
        x[D*i] = c.x[2*i];
        x[D*i + 1] = 3;                                    // of all options
        x[D*i + 2] = c.x[2*i + 1];
        x[D*i + 3] = c.x[2*i] - c.x[2*i + 1];              // says nothing new
    }
    for (size_t n = 0; n < c.N; n++) weight[n] = random_unit(4, STREAM_TEST, 0, n);
    CHECK(linear_init(&l, 1, c.N, 3, D, x) == 0);
    l.newton_steps = 30;
    const TypeModels m = linear_models(&l);
    CHECK(m.begin(&l, 0) == 0);
    const double constant = l.beta[1];
    CHECK(m.fit(&l, 0, weight) == 0);
    CHECK(l.beta[1] == constant);
    for (int i = 0; i < D; i++) {
        double sum[2], beta[D];
        for (int side = 0; side < 2; side++) {
            memcpy(beta, l.beta, sizeof beta);
            beta[i] += side ? 1e-4 : -1e-4;
            linear_loglik(&l, beta, loglik, slope);
            sum[side] = weighted_sum(weight, loglik, c.N);
        }
        CHECK_NEAR((sum[1] - sum[0]) / 2e-4, 0, 1e-5);
        linear_loglik(&l, l.beta, loglik, slope);
        CHECK(weighted_sum(weight, loglik, c.N) >= fmax(sum[0], sum[1]));
    }
    linear_free(&l);
    choices_free(&c);
    free(x);
    free(weight);
    free(loglik);
    free(slope);
}

// ------------------------------------------------------------ people who are of one type after all

enum { OPINIONS = 800, ASPECTS = 7, EXPERTS = 4 };

static int read_opinions(int *annotator, double *x) {
    FILE *f = fopen("test/golden/opinpref_features.txt", "r");
    int read = 0;
    if (!f) return 0;
    for (int n = 0; n < OPINIONS; n++) {
        read += fscanf(f, "%d", &annotator[n]) == 1;
        for (int i = 2*ASPECTS*n; i < 2*ASPECTS*(n + 1); i++) {
            if (fscanf(f, "%lf", &x[i]) != 1) read = 0;
            x[i] /= 5;
        }
    }
    fclose(f);
    return read == OPINIONS;
}

// The largest likelihood of K types over six starts; weight (ASPECTS): of the last type.
static double opinions_loglik(int K, const int *annotator, const double *x, double *weight) {
    LinearModels l;
    People p;
    CHECK(linear_init(&l, K, OPINIONS, 2, ASPECTS, x) == 0);
    CHECK(people_init(&p, EXPERTS, K, OPINIONS, annotator) == 0);
    l.newton_steps = 5;
    const TypeModels m = linear_models(&l);
    const PeopleOptions o = {.em_steps = 200, .loglik_change = 1e-11, .starts = 6,
                             .start = START_DIRICHLET, .dirichlet = 1, .seed = 1};
    CHECK(people_em(&p, &m, &o) == 0);
    const double loglik = p.loglik;
    memcpy(weight, l.best + (K - 1) * ASPECTS, ASPECTS * sizeof *weight);
    linear_free(&l);
    people_free(&p);
    return loglik;
}

static void test_four_experts_are_one_type_by_bic(void) {
    static const double want[ASPECTS] = {1.202749, -1.948038, -0.976149, 1.814683, -0.211982,
                                         2.735928, 3.149645};
    static int annotator[OPINIONS];
    static double x[OPINIONS * 2 * ASPECTS];
    double weight[ASPECTS];
    if (!read_opinions(annotator, x)) {
        CHECK(!"opinpref_features.txt could be read");
        return;
    }
    const double one = opinions_loglik(1, annotator, x, weight);
    CHECK_NEAR(one / OPINIONS, -0.482138, 1e-6);
    for (int i = 0; i < ASPECTS; i++) CHECK_NEAR(weight[i], want[i], 1e-6);
    const double two = opinions_loglik(2, annotator, x, weight);
    CHECK_NEAR(two / OPINIONS, -0.47870, 5e-6);
    CHECK(people_bic(one, ASPECTS, OPINIONS) < people_bic(two, 2*ASPECTS + 1, OPINIONS));
    CHECK(people_bic(one, ASPECTS, EXPERTS) < people_bic(two, 2*ASPECTS + 1, EXPERTS));
}

// ----------------------------------------------------------------------------------- mixed rewards

// f of people_mixture, written anew.
static double mixed_loglik(const double *w, const double *delta, int n, int K) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double z = 0;
        for (int k = 0; k < K; k++) z += w[k] * delta[i*K + k];
        sum -= log1p(exp(-z));
    }
    return sum;
}

static void test_a_mixture_of_two_opposite_rewards_is_the_logit_of_the_choices(void) {
    // z = w_0 - w_1 of each choice that goes one way, -z of the others: f is largest where z is
    // the log of how many to how many, or at the end
    for (int ones = 0; ones <= 8; ones++) {
        double delta[16], w[2] = {.9, .1};
        for (int i = 0; i < 8; i++) {
            delta[2*i] = i < ones ? 1 : -1;
            delta[2*i + 1] = -delta[2*i];
        }
        const double logit = log(ones / (8. - ones)), z = fmin(fmax(logit, -1), 1);
        const double loglik = people_mixture(w, delta, 8, 2);
        CHECK_NEAR(w[0], (1 + z) / 2, 1e-12);
        CHECK_NEAR(w[1], (1 - z) / 2, 1e-12);
        CHECK_NEAR(loglik, -ones * log1p(exp(-z)) - (8 - ones) * log1p(exp(z)), 1e-12);
        if (z == 1) CHECK(w[0] == 1 && w[1] == 0);
        if (z == -1) CHECK(w[0] == 0 && w[1] == 1);
    }
}

static void test_a_mixture_of_rewards_has_no_way_up(void) {
    // Karush, Kuhn and Tucker, slopes by finite differences: that of a type with weight is the
    // largest there is
    enum { MOST = 24 };
    double delta[MOST * MAX_MATCHED], again[MAX_MATCHED];
    for (int task = 0; task < 60; task++) {
        const int K = 2 + task % (MAX_MATCHED - 1), n = 1 + task % MOST;
        const double size = task % 3 ? 1 : 20;
        double w[MAX_MATCHED], slope[MAX_MATCHED], most = -HUGE_VAL, sum = 0;
        for (int i = 0; i < n*K; i++) {
            delta[i] = size * random_normal(1, STREAM_TEST, (uint64_t)task, (uint64_t)i);
        }
        for (int k = 0; k < K; k++) w[k] = 1. / K;
        const double loglik = people_mixture(w, delta, (size_t)n, K);
        CHECK_NEAR(loglik, mixed_loglik(w, delta, n, K), 1e-11 * (1 + fabs(loglik)));
        for (int k = 0; k < K; k++) {
            double moved[MAX_MATCHED];
            memcpy(moved, w, sizeof moved);
            moved[k] = w[k] + 1e-6;
            const double above = mixed_loglik(moved, delta, n, K);
            moved[k] = w[k] - 1e-6;
            slope[k] = (above - mixed_loglik(moved, delta, n, K)) / 2e-6;
            most = fmax(most, slope[k]);
            sum += w[k];
        }
        CHECK_NEAR(sum, 1, 1e-14);
        for (int k = 0; k < K; k++) {
            CHECK(w[k] >= 0);
            if (w[k] > 0) CHECK_NEAR(slope[k], most, 1e-7 * n * size);
        }

        // the same from another start, where the choices say all there is to say
        for (int k = 0; k < K; k++) again[k] = k == 0;
        CHECK_NEAR(people_mixture(again, delta, (size_t)n, K), loglik, 1e-11 * n * size);
        for (int k = 0; n > K && k < K; k++) CHECK_NEAR(again[k], w[k], 1e-8);
    }
}

static void test_a_mixture_of_rewards_that_agree_stays_where_it_begins(void) {
    const double delta[6] = {1, 1, 1, -2, -2, -2};
    double w[3] = {.5, .2, .3};
    people_mixture(w, delta, 2, 3);
    CHECK(w[0] == .5 && w[1] == .2 && w[2] == .3);
    people_mixture(w, NULL, 0, 3);
    CHECK(w[0] == .5 && w[1] == .2 && w[2] == .3);
}

// ---------------------------------------------------------------------------------- what was found

static void test_clustering_accuracy_is_that_of_the_best_matching(void) {
    static const int group[6] = {0, 0, 0, 1, 1, 2}, annotator[6] = {0, 1, 2, 3, 4, 5};
    static const int type[6] = {1, 1, 0, 2, 2, 2};
    People p;
    CHECK(people_init(&p, 6, 3, 6, annotator) == 0);
    assign_all(&p, type);
    CHECK_NEAR(people_accuracy(&p, group, 3), 4 / 6., 1e-15);        // 1 is 0, 2 is 1, 0 is 2
    people_free(&p);

    // more types than groups, and fewer: a type or a group stays alone
    static const int two[6] = {0, 0, 0, 1, 1, 1};
    CHECK(people_init(&p, 6, 3, 6, annotator) == 0);
    assign_all(&p, type);
    CHECK_NEAR(people_accuracy(&p, two, 2), 5 / 6., 1e-15);
    people_free(&p);
    CHECK(people_init(&p, 6, 2, 6, annotator) == 0);
    assign_all(&p, two);
    CHECK_NEAR(people_accuracy(&p, type, 3), 5 / 6., 1e-15);
    people_free(&p);
}

static void test_entropy_and_bic_have_their_closed_forms(void) {
    People p;
    CHECK(people_init(&p, 2, 2, 4, two_annotators) == 0);
    const double gamma[4] = {0.25, 0.75, 1, 0};
    memcpy(p.gamma, gamma, sizeof gamma);
    CHECK_NEAR(people_entropy(&p), -(0.25 * log(0.25) + 0.75 * log(0.75)) / 2, 1e-15);
    CHECK_NEAR(people_bic(-100, 5, 50), 200 + 5 * log(50), 1e-12);
    people_free(&p);
}

// ------------------------------------------------------------------------------------- the bandit

/* EM-DPO's contextual bandit: 3 arms, contexts uniform in [0,1]^3.  Type g has the reward
 * 10 (x_1 + x_2 + x_3) on arm g and 0 on the others, with noise of variance 0.01.  100 people give
 * 100 pairs each, arms drawn from the uniform reference.  A policy is softmax(W relu(V x + v) + w):
 * 10 hidden units, of which the last layer (W, w) is trained, by gradient descent on DPO's loss. */
enum { ARMS = 3, USERS = 100, PAIRS = 100, BANDIT_ROWS = USERS * PAIRS, UNITS = 10, BANDIT_K = 3 };

typedef struct {
    double hidden[BANDIT_K][BANDIT_ROWS][UNITS + 1];      // relu(V x + v), 1
    double W[BANDIT_K][ARMS][UNITS + 1];
    unsigned char chosen[BANDIT_ROWS], rejected[BANDIT_ROWS];
    int annotator[BANDIT_ROWS], type[USERS];
} Bandit;

#define BANDIT_BETA 5.0
#define BANDIT_RATE 0.01

static double bandit_uniform(int seed, int what, int i) {
    return random_unit((uint64_t)seed, STREAM_TEST, (uint64_t)what, (uint64_t)i);
}

// users: of each type
static void bandit_draw(Bandit *b, int seed, const int *users) {
    static double x[BANDIT_ROWS][ARMS];
    int u = 0;
    for (int g = 0; g < ARMS; g++) {
        for (int i = 0; i < users[g]; i++) b->type[u++] = g;
    }
    for (int n = 0; n < BANDIT_ROWS; n++) {
        const int type = b->type[n / PAIRS];
        double reward[ARMS], sum = 0;
        b->annotator[n] = n / PAIRS;
        for (int i = 0; i < ARMS; i++) {
            x[n][i] = bandit_uniform(seed, 0, ARMS * n + i);
            sum += x[n][i];
        }
        for (int g = 0; g < ARMS; g++) {
            const double noise = random_normal((uint64_t)seed, STREAM_TEST, 1,
                                               (uint64_t)(ARMS * n + g));
            reward[g] = (g == type ? 10 * sum : 0) + 0.1 * noise;
        }
        const int left_out = (int)(bandit_uniform(seed, 2, n) * ARMS);
        const int first = (left_out + 1) % ARMS, second = (left_out + 2) % ARMS;
        const int wins = bandit_uniform(seed, 3, n) < sigmoid(reward[first] - reward[second]);
        b->chosen[n] = (unsigned char)(wins ? first : second);
        b->rejected[n] = (unsigned char)(wins ? second : first);
    }

    // the net, uniform in +-1/sqrt(inputs), as PyTorch draws it
    for (int k = 0; k < BANDIT_K; k++) {
        double V[UNITS][ARMS + 1];
        for (int j = 0; j < UNITS; j++) {
            for (int i = 0; i <= ARMS; i++) {
                const int index = (k * UNITS + j) * (ARMS + 1) + i;
                V[j][i] = (2 * bandit_uniform(seed, 4, index) - 1) / sqrt(ARMS);
            }
        }
        for (int g = 0; g < ARMS; g++) {
            for (int j = 0; j <= UNITS; j++) {
                const int index = (k * ARMS + g) * (UNITS + 1) + j;
                b->W[k][g][j] = (2 * bandit_uniform(seed, 5, index) - 1) / sqrt(UNITS);
            }
        }
        for (int n = 0; n < BANDIT_ROWS; n++) {
            for (int j = 0; j < UNITS; j++) {
                double sum = V[j][ARMS];
                for (int i = 0; i < ARMS; i++) sum += V[j][i] * x[n][i];
                b->hidden[k][n][j] = sum > 0 ? sum : 0;
            }
            b->hidden[k][n][UNITS] = 1;
        }
    }
}

// beta (log pi - log ref) of the chosen less of the rejected arm: softmax and reference cancel.
static double bandit_margin(const Bandit *b, int k, int n) {
    const double *w = b->W[k][b->chosen[n]], *l = b->W[k][b->rejected[n]], *h = b->hidden[k][n];
    double sum = 0;
    for (int j = 0; j <= UNITS; j++) sum += (w[j] - l[j]) * h[j];
    return BANDIT_BETA * sum;
}

static int bandit_score(void *self, int k, double *loglik) {
    const Bandit *b = self;
    for (int n = 0; n < BANDIT_ROWS; n++) loglik[n] = log_sigmoid(bandit_margin(b, k, n));
    return 0;
}

// Full batches, until the loss changes by less than 1e-6, or 500 epochs.
static int bandit_fit(void *self, int k, const double *weight) {
    Bandit *b = self;
    double before = HUGE_VAL;
    for (int epoch = 0; epoch < 500; epoch++) {
        double loss = 0, gradient[ARMS][UNITS + 1] = {{0}};
        for (int n = 0; n < BANDIT_ROWS; n++) {
            const double *h = b->hidden[k][n];
            const double z = bandit_margin(b, k, n), e = more_exp(-fabs(z));
            const double push = weight[n] * BANDIT_BETA * (z > 0 ? e : 1) / (1 + e) / BANDIT_ROWS;
            loss += weight[n] * ((z < 0 ? -z : 0) + more_log1p(e)) / BANDIT_ROWS;
            for (int j = 0; j <= UNITS; j++) {
                gradient[b->chosen[n]][j] += push * h[j];
                gradient[b->rejected[n]][j] -= push * h[j];
            }
        }
        for (int g = 0; g < ARMS; g++) {
            for (int j = 0; j <= UNITS; j++) b->W[k][g][j] += BANDIT_RATE * gradient[g][j];
        }
        if (fabs(before - loss) <= 1e-6) break;
        before = loss;
    }
    return 0;
}

// Random numbers are not those of the paper's runs: what is asked is what all of theirs had.
static void bandit_recovers(Bandit *b, int seed, const int *users) {
    Trace t = {0};
    People p;
    double eta[BANDIT_K];
    bandit_draw(b, seed, users);
    const TypeModels m = {.self = b, .fit = bandit_fit, .score = bandit_score};
    const PeopleOptions o = {.em_steps = 20, .loglik_change = 1e-4, .starts = 1,
                             .start = START_MODELS, .iteration = note_iteration, .context = &t};
    CHECK(people_init(&p, USERS, BANDIT_K, BANDIT_ROWS, b->annotator) == 0);
    CHECK(people_em(&p, &m, &o) == 0);
    CHECK(t.falls == 0);
    CHECK(people_accuracy(&p, b->type, ARMS) == 1);
    CHECK(p.loglik / BANDIT_ROWS > -0.26 && p.loglik / BANDIT_ROWS < -0.23);
    memcpy(eta, p.eta, sizeof eta);
    for (int g = 0; g < ARMS; g++) {                       // each share is that of a type
        int found = 0;
        for (int k = 0; k < BANDIT_K; k++) found |= fabs(eta[k] - users[g] / (double)USERS) < 0.02;
        CHECK(found);
    }
    people_free(&p);
}

static void test_em_dpo_finds_the_types_of_its_bandit_and_a_third_empties(void) {
    static Bandit b;
    static const int users[ARMS] = {20, 0, 80};
    bandit_recovers(&b, 3, users);
}

static void test_em_dpo_finds_three_types_of_its_bandit(void) {
    static Bandit b;
    static const int users[ARMS] = {34, 33, 33};
    bandit_recovers(&b, 5, users);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_responsibilities_are_those_computed_by_hand);
    RUN(test_responsibilities_have_the_sum_one_whatever_is_added_to_an_annotators_rows);
    RUN(test_a_type_without_a_share_gets_nobody_and_far_likelihoods_do_not_overflow);
    RUN(test_one_type_has_everybody_and_its_rows_weigh_one);
    RUN(test_a_random_start_gives_each_type_as_many_annotators_by_lot);
    RUN(test_a_dirichlet_start_has_the_moments_of_its_distribution);
    RUN(test_starts_from_clusters_and_from_models_are_what_is_given);
    RUN(test_split_halves_fit_on_one_half_and_score_the_other_in_turns);
    RUN(test_an_annotator_with_one_row_cannot_be_halved);
    RUN(test_what_cannot_be_types_of_people_is_refused_in_words);
    RUN(test_the_likelihood_never_falls_with_fits_that_do_not_lower_it);
    RUN(test_hard_responsibilities_are_assignments_to_the_likeliest_type);
    RUN(test_hard_responsibilities_take_no_account_of_shares);
    RUN(test_a_type_that_lost_everybody_is_named_and_still_learns);
    RUN(test_of_several_starts_the_likeliest_is_kept);
    RUN(test_an_interrupted_run_goes_on_to_the_same_bits);
    RUN(test_linear_choices_have_their_probabilities);
    RUN(test_newton_steps_climb_to_where_the_weighted_likelihood_is_flat);
    RUN(test_four_experts_are_one_type_by_bic);
    RUN(test_a_mixture_of_two_opposite_rewards_is_the_logit_of_the_choices);
    RUN(test_a_mixture_of_rewards_has_no_way_up);
    RUN(test_a_mixture_of_rewards_that_agree_stays_where_it_begins);
    RUN(test_clustering_accuracy_is_that_of_the_best_matching);
    RUN(test_entropy_and_bic_have_their_closed_forms);
    RUN(test_em_dpo_finds_the_types_of_its_bandit_and_a_third_empties);
    RUN(test_em_dpo_finds_three_types_of_its_bandit);
    return test_summary();
}

// Reward heads on frozen features: the maximum that each is fitted to, and types found by them.
// Numbers come from closed forms, finite differences and problems whose answer was planted.
#include "test.h"
#include "../heads.c"

/* Rows of `count` answers each with C features, the best first; of a type whose taste is `like`
 * (C): utilities with Gumbel's noise, so that the choices are Plackett and Luce's.  */
typedef struct {
    Dataset d;
    int C, H;
    float *feature;               // (answers, C)
    int *annotator, *type;        // (rows), (H)
} Crowd;

static void *claim(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) exit(1);
    return p;
}

static Crowd crowd_new(int rows, int count, int C) {
    Crowd c = {.C = C};
    const size_t answers = (size_t)(rows * count);
    c.d.kind = count == 2 ? DATA_PAIR : DATA_RANKING;
    c.d.num_records = (size_t)rows;
    c.d.num_answers = answers;
    c.d.record = claim((size_t)rows, sizeof *c.d.record);
    c.d.answer = claim(answers, sizeof *c.d.answer);
    c.feature = claim(answers * (size_t)C, sizeof *c.feature);
    for (int n = 0; n < rows; n++) {
        c.d.record[n] = (Record){.first = n * count, .count = count, .weight = 1};
        for (int j = 0; j < count; j++) c.d.answer[n * count + j].score = (float)(j + 1);
    }
    return c;
}

static void crowd_free(Crowd *c) {
    free(c->d.record);
    free(c->d.answer);
    free(c->feature);
    free(c->annotator);
    free(c->type);
}

static void swap_answers(float *a, float *b, int C) {
    for (int c = 0; c < C; c++) {
        const float first = a[c];
        a[c] = b[c];
        b[c] = first;
    }
}

// H people with `rows` rows each, whose type is that of their number's parity.
static Crowd crowd_draw(int H, int rows, int count, int C, uint64_t seed) {
    Crowd c = crowd_new(H * rows, count, C);
    c.H = H;
    c.annotator = claim((size_t)(H * rows), sizeof *c.annotator);
    c.type = claim((size_t)H, sizeof *c.type);
    for (int h = 0; h < H; h++) c.type[h] = h % 2;
    for (int n = 0; n < H * rows; n++) {
        double utility[8];
        float *x = c.feature + n * count * C;
        c.annotator[n] = n / rows;
        for (int j = 0; j < count; j++) {
            const uint64_t at = (uint64_t)((n * count + j) * C);
            utility[j] = -log(-log(random_unit(seed, STREAM_TEST, 1, at)));
            for (int i = 0; i < C; i++) {
                const double like = 2 * random_normal(5, STREAM_TEST, 2 + (uint64_t)(n / rows % 2),
                                                      (uint64_t)i) / sqrt(C);
                x[j*C + i] = (float)random_normal(seed, STREAM_TEST, 0, at + (uint64_t)i);
                utility[j] += like * x[j*C + i];
            }
        }

        // the best first
        for (int j = 0; j < count; j++) {
            for (int l = j + 1; l < count; l++) {
                if (utility[l] <= utility[j]) continue;
                const double u = utility[j];
                utility[j] = utility[l];
                utility[l] = u;
                swap_answers(x + j*C, x + l*C, C);
            }
        }
    }
    return c;
}

// ------------------------------------------------------------------------------------------- a fit

// n equal pairs that differ by x in one feature: n v x sigma(-w x) = ridge x^2 w, as s = x.
static void test_one_feature_has_its_closed_form(void) {
    for (int n = 1; n <= 100; n += 99) {
        Crowd c = crowd_new(n, 2, 1);
        double *weight = claim((size_t)n, sizeof *weight);
        RewardHeads x;
        for (int i = 0; i < n; i++) {
            weight[i] = .5;
            c.feature[2*i] = 3;
            c.feature[2*i + 1] = 1;
        }
        CHECK(heads_init(&x, 1, 1, &c.d, c.feature, .25, 0) == 0);
        CHECK(heads_fit(&x, 0, weight) == 0);
        const double w = x.w[0];
        CHECK_NEAR(n * .5 * 2 / (1 + exp(2*w)), .25 * 4 * w, 1e-9 * n);

        // of one parameter A / (A + ridge) is left
        const double p = 1 / (1 + exp(2*w)), A = n * .5 * p * (1 - p) * 4;
        CHECK_NEAR(heads_parameters(&x, x.w, weight), A / (A + .25 * 4), 1e-9);
        heads_free(&x);
        crowd_free(&c);
        free(weight);
    }
}

// ell and the ridge as they are defined, of the raw features.
static double defined_value(const Crowd *c, const float *feature, const double *w,
                            const double *weight, double ridge) {
    const int C = c->C;
    double value = 0, square = 0, length = 0, differences = 0;
    for (size_t n = 0; n < c->d.num_records; n++) {
        const Record *r = &c->d.record[n];
        const float *x = feature + r->first * C;
        double e[8];
        for (int j = 0; j < r->count; j++) {
            double reward = j == 0 ? -(double)r->margin : 0;
            for (int i = 0; i < C; i++) reward += w[i] * x[j*C + i];
            e[j] = exp(reward);
            for (int i = 0; i < C && j > 0; i++) square += pow((double)x[j*C + i] - x[i], 2);
            differences += j > 0;
        }
        for (int j = 0; j < r->count - 1; j++) {
            double rest = 0;
            for (int l = j; l < r->count; l++) rest += e[l];
            value += weight[n] * r->weight * log(e[j] / rest);
        }
    }
    for (int i = 0; i < C; i++) length += w[i] * w[i];
    return value - ridge / 2 * square / differences * length;
}

// Strictly concave: where no direction rises is the one maximum.
static void test_a_head_is_the_maximum_of_the_likelihood_less_the_ridge(void) {
    enum { C = 40, ROWS = 300 };
    static const double ridges[] = {1e-3, 1, 50};
    for (int count = 2; count <= 5; count++) {
        for (int i = 0; i < 3; i++) {
            Crowd c = crowd_draw(2, ROWS / 2, count, C, 9);
            double weight[ROWS], w[C];
            RewardHeads x;
            float *feature = claim(c.d.num_answers * C, sizeof *feature);
            memcpy(feature, c.feature, c.d.num_answers * C * sizeof *feature);
            for (int n = 0; n < ROWS; n++) {
                weight[n] = n % 7 ? random_unit(1, STREAM_TEST, 9, (uint64_t)n) : 0;
                c.d.record[n].weight = n % 5 ? 1 : 2.5f;
                if (count == 2) c.d.record[n].margin = n % 3 ? 0 : .5f;
            }
            CHECK(heads_init(&x, 1, C, &c.d, c.feature, ridges[i], 0) == 0);
            CHECK(heads_fit(&x, 0, weight) == 0);
            memcpy(w, x.w, sizeof w);
            for (int k = 0; k < C; k++) {
                const double h = 1e-4;
                w[k] = x.w[k] + h;
                const double up = defined_value(&c, feature, w, weight, ridges[i]);
                w[k] = x.w[k] - h;
                const double down = defined_value(&c, feature, w, weight, ridges[i]);
                w[k] = x.w[k];
                CHECK_NEAR((up - down) / (2*h), 0, 2e-4);
            }
            heads_free(&x);
            crowd_free(&c);
            free(feature);
        }
    }
}

static void test_a_ridge_of_nearly_nothing_leaves_all_parameters_and_a_large_one_none(void) {
    enum { C = 6, ROWS = 200 };
    Crowd c = crowd_draw(2, ROWS / 2, 3, C, 4);
    double weight[ROWS];
    RewardHeads x;
    for (int n = 0; n < ROWS; n++) weight[n] = 1;
    CHECK(heads_init(&x, 1, C, &c.d, c.feature, 1e-9, 0) == 0);
    CHECK(heads_fit(&x, 0, weight) == 0);
    CHECK_NEAR(heads_parameters(&x, x.w, weight), C, 1e-6);
    x.ridge = 1e9;
    CHECK(heads_fit(&x, 0, weight) == 0);
    CHECK_NEAR(heads_parameters(&x, x.w, weight), 0, 1e-5);
    CHECK_NEAR(x.w[0], 0, 1e-6);
    heads_free(&x);
    crowd_free(&c);
}

static void test_a_fit_is_the_same_whatever_came_before(void) {
    enum { C = 12, ROWS = 80 };
    Crowd c = crowd_draw(2, ROWS / 2, 2, C, 3);
    double weight[ROWS], first[C];
    RewardHeads x;
    for (int n = 0; n < ROWS; n++) weight[n] = n % 2;
    CHECK(heads_init(&x, 2, C, &c.d, c.feature, 1, 0) == 0);
    CHECK(heads_fit(&x, 1, weight) == 0);
    memcpy(first, x.w + C, sizeof first);
    for (int n = 0; n < ROWS; n++) weight[n] = 1;
    CHECK(heads_fit(&x, 1, weight) == 0 && memcmp(first, x.w + C, sizeof first) != 0);
    for (int n = 0; n < ROWS; n++) weight[n] = n % 2;
    CHECK(heads_fit(&x, 1, weight) == 0);
    for (int i = 0; i < C; i++) CHECK_NEAR(x.w[C + i], first[i], 1e-8);
    heads_free(&x);
    crowd_free(&c);
}

// ------------------------------------------------------------------------------------------- types

// What EM climbs.
typedef struct {
    const RewardHeads *heads;
    double before;
    int iterations, falls;
} Climb;

static int note_iteration(void *context, const People *p) {
    Climb *t = context;
    const RewardHeads *x = t->heads;
    const double length = heads_dot(x->w, x->w, x->K * x->C);
    const double now = p->loglik - x->ridge / 2 * length;
    if (p->iteration > 1 && now < t->before - 1e-8) t->falls++;
    t->before = now;
    t->iterations++;
    return 0;
}

static void test_two_planted_types_are_found_from_a_random_start(void) {
    for (int count = 2; count <= 4; count += 2) {
        Crowd c = crowd_draw(30, 40, count, 20, 7);
        RewardHeads x;
        People p;
        CHECK(heads_init(&x, 2, 20, &c.d, c.feature, 1, 0) == 0);
        CHECK(people_init(&p, c.H, 2, c.d.num_records, c.annotator) == 0);
        Climb t = {.heads = &x};
        const TypeModels m = heads_models(&x);
        const PeopleOptions o = {.em_steps = 30, .starts = 1, .start = START_RANDOM, .seed = 1,
                                 .loglik_change = 1e-6, .iteration = note_iteration, .context = &t};
        CHECK(people_em(&p, &m, &o) == 0);
        CHECK(t.iterations > 1 && t.falls == 0);
        CHECK(people_accuracy(&p, c.type, 2) == 1);

        // what each type likes is near what its head likes
        for (int k = 0; k < 2; k++) {
            double like[20], both = 0, length = 0;
            const uint64_t type = 2 + (uint64_t)(p.gamma[k] > .5 ? c.type[0] : !c.type[0]);
            for (int i = 0; i < 20; i++) {
                like[i] = random_normal(5, STREAM_TEST, type, (uint64_t)i);
                both += like[i] * x.best[k*20 + i];
                length += like[i] * like[i];
            }
            CHECK(both / sqrt(length * heads_dot(x.best + k*20, x.best + k*20, 20)) > .9);
        }
        heads_free(&x);
        people_free(&p);
        crowd_free(&c);
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_one_feature_has_its_closed_form);
    RUN(test_a_head_is_the_maximum_of_the_likelihood_less_the_ridge);
    RUN(test_a_ridge_of_nearly_nothing_leaves_all_parameters_and_a_large_one_none);
    RUN(test_a_fit_is_the_same_whatever_came_before);
    RUN(test_two_planted_types_are_found_from_a_random_start);
    return test_summary();
}

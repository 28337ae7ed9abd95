/* explain.c - what a reward model of features (features.c) rewards, measured on a file of choices.
 *
 * With phi the reward, f(a) the features of answer a, e_i one more of feature i, w and l the better
 * and the worse of two answers of a row:
 *
 *     slope        mean over a of  [phi(f(a) + d e_i) - phi(f(a))] / d,  d a hundredth of the scale
 *     spread       sqrt(mean over w, l of (f_i(w) - f_i(l))^2)
 *     influence    slope * spread: by how much the feature moves a pair's margin, with its sign
 *     permuted     by how much the loss rises, and the accuracy falls, when the feature's values
 *                  are dealt out anew among all answers (Breiman 2001, sec. 10)
 *     dropped      by how much the loss rises when the model is trained without the feature
 *     alone        accuracy of "more of it is better"; the least loss of a linear phi of it alone
 *
 * The last three differ where features say the same: what is dropped costs little if another one
 * stands for it, and then nothing decides which of the two has the weight, or with which sign.   */
#ifndef EXPLAIN_C
#define EXPLAIN_C
#include "features.c"

enum { EXPLAIN_DEALS = 10, EXPLAIN_GRID = 11 };             // permutations; points of a dependence

typedef struct {
    double weight;                          // of f_i / scale_i in a linear phi, else NaN
    double slope, spread, influence;
    double permuted_loss, permuted_accuracy;
    double dropped_loss;                    // NaN: it was not asked for
    double alone_accuracy, alone_loss;
    int twin;                               // the feature whose differences follow its own most
    double correlation;                     // with those of the twin
    double at[EXPLAIN_GRID];                // partial dependence: values of the feature,
    double dependence[EXPLAIN_GRID];        //     mean over all answers of phi with f_i = at
} FeatureEffect;

// What is measured of all D features, and of the model as a whole.
typedef struct {
    FeatureMeasure whole;
    int D;
    FeatureEffect effect[MAX_FEATURES];
} Explanation;

int    explain_measure(Explanation *x, const FeatureNet *net, const Dataset *d, int top,
                       uint64_t seed);
int    explain_dropped(Explanation *x, const FeatureNet *net, const Dataset *train,
                       const Dataset *d, const FeatureFit *fit);
int    explain_is_turned(const FeatureEffect *e);   // does its slope belie what it says alone?
int    explain_rule(double *people, double *model, const FeatureNet *net, const Dataset *d,
                    const double *rule);

// ------------------------------------------------------------------------------ pairs of a file

// TakePair: of two answers of a record the better one and the worse one.
typedef void TakePair(void *to, int better, int worse);

static void for_each_pair(const Dataset *d, TakePair *take, void *to) {
    float place[MAX_ANSWERS];
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        record_places(place, d, r);
        for (int j = 0; j < r->count; j++) {
            for (int k = 0; k < r->count; k++) {
                if (place[j] < place[k]) take(to, r->first + j, r->first + k);
            }
        }
    }
}

// Sums over pairs of the products of differences: the upper half of S (D,D) = sum_p d_p d_p'.
typedef struct {
    const Dataset *d;
    double *S;
    double pairs;
} Differences;

static void add_differences(void *to, int better, int worse) {
    Differences *s = to;
    const int D = s->d->features.n;
    const double *w = feature_of_answer(s->d, better), *l = feature_of_answer(s->d, worse);
    for (int i = 0; i < D; i++) {
        for (int j = i; j < D; j++) s->S[i*D + j] += (w[i] - l[i]) * (w[j] - l[j]);
    }
    s->pairs++;
}

// Of a rule that gives each answer a number, (num_answers) or every `stride`-th: how often it and
// the pairs agree.
typedef struct {
    const double *rule;
    int stride;
    double right, pairs;
} RuleCount;

static void count_rule(void *to, int better, int worse) {
    RuleCount *c = to;
    const double w = c->rule[better * c->stride], l = c->rule[worse * c->stride];
    c->right += (w > l) + 0.5 * (w == l);
    c->pairs++;
}

// ------------------------------------------------------------------------- one feature at once

// Names and ranges without those of feature i.
static void names_without(FeatureNames *to, const FeatureNames *from, int i) {
    *to = *from;
    for (int j = i; j < from->n - 1; j++) {
        memcpy(to->name[j], from->name[j + 1], sizeof to->name[j]);
        to->low[j] = from->low[j + 1];
        to->high[j] = from->high[j + 1];
    }
    to->n = from->n - 1;
}

// The rows of a file without feature i; feature is the caller's to free.  0, or -1 after fail().
static int data_without(Dataset *to, const Dataset *from, int i) {
    const int D = from->features.n;
    *to = *from;
    names_without(&to->features, &from->features, i);
    to->feature = allocate(from->num_answers * (size_t)(D - 1) + 1, sizeof *to->feature);
    if (!to->feature) return -1;
    double *out = to->feature;
    for (size_t a = 0; a < from->num_answers; a++) {
        const double *f = feature_of_answer(from, (int)a);
        for (int j = 0; j < D; j++) {
            if (j == i) continue;
            *out = f[j];
            out++;
        }
    }
    return 0;
}

// The layout of net without input i, not trained.  0, or -1 after fail().
static int net_without(FeatureNet *to, const FeatureNet *net, int i) {
    *to = *net;
    names_without(&to->features, &net->features, i);
    for (int j = i; j < net->size[0] - 1; j++) to->scale[j] = net->scale[j + 1];
    to->size[0]--;
    to->num_weights -= (size_t)net->size[1];
    to->weight = allocate(to->num_weights, sizeof *to->weight);
    return to->weight ? 0 : -1;
}

// The least loss of phi = v f_i on d, v free.  0, or -1 after fail().
static int loss_alone(double *loss, const FeatureNet *net, const Dataset *d, int i, int top) {
    FeatureMeasure m;
    FeatureNet one = {0};
    Dataset data = *d;
    int result = -1;
    data.features = feature_names_none();
    data.features.n = 1;
    memcpy(data.features.name[0], net->features.name[i], sizeof data.features.name[0]);
    data.feature = allocate(d->num_answers, sizeof *data.feature);
    if (!data.feature) goto done;
    for (size_t a = 0; a < d->num_answers; a++) {
        data.feature[a] = feature_of_answer(d, (int)a)[i];
    }
    if (feature_net_init(&one, &data.features, "linear", NULL) < 0) goto done;
    one.scale[0] = net->scale[i];
    if (feature_newton(&one, &data, top) < 0) goto done;
    if (feature_measure(&m, &one, &data, top) < 0) goto done;
    *loss = m.loss;
    result = 0;
done:
    free(data.feature);
    feature_net_free(&one);
    return result;
}

// ------------------------------------------------------------------------------------- its effects

// slope, and the partial dependence over the feature's range; without one, over what d has.
static void measure_shape(FeatureEffect *e, const FeatureNet *net, const Dataset *d, int i) {
    const int D = net->features.n;
    const double step = net->scale[i] / 100;
    double f[MAX_FEATURES], low = net->features.low[i], high = net->features.high[i], sum = 0;
    double least = HUGE_VAL, most = -HUGE_VAL;
    for (size_t a = 0; a < d->num_answers; a++) {
        memcpy(f, feature_of_answer(d, (int)a), (size_t)D * sizeof *f);
        least = fmin(least, f[i]);
        most = fmax(most, f[i]);
        const double before = feature_reward(net, f);
        f[i] += step;
        sum += feature_reward(net, f) - before;
    }
    e->slope = sum / (step * (double)d->num_answers);
    if (low == -HUGE_VAL) low = least;
    if (high == HUGE_VAL) high = most;
    for (int g = 0; g < EXPLAIN_GRID; g++) {
        e->at[g] = low + (high - low) * g / (EXPLAIN_GRID - 1);
        sum = 0;
        for (size_t a = 0; a < d->num_answers; a++) {
            memcpy(f, feature_of_answer(d, (int)a), (size_t)D * sizeof *f);
            f[i] = e->at[g];
            sum += feature_reward(net, f);
        }
        e->dependence[g] = sum / (double)d->num_answers;
    }
}

// permuted: the means over EXPLAIN_DEALS deals.  0, or -1 after fail().
static int measure_permuted(Explanation *x, const FeatureNet *net, const Dataset *d, int i, int top,
                            uint64_t seed) {
    const size_t D = (size_t)net->features.n, n = d->num_answers;
    FeatureEffect *e = &x->effect[i];
    uint32_t *order = allocate(n, sizeof *order);
    Dataset dealt = *d;
    int result = -1;
    dealt.feature = allocate(n * D, sizeof *dealt.feature);
    if (!order || !dealt.feature) goto done;
    memcpy(dealt.feature, d->feature, n * D * sizeof *dealt.feature);
    for (uint64_t deal = 0; deal < EXPLAIN_DEALS; deal++) {
        FeatureMeasure m;
        random_permutation(order, (uint32_t)n, seed, STREAM_ORDER, deal);
        for (size_t a = 0; a < n; a++) {
            dealt.feature[a * D + (size_t)i] = d->feature[order[a] * D + (size_t)i];
        }
        if (feature_measure(&m, net, &dealt, top) < 0) goto done;
        e->permuted_loss += (m.loss - x->whole.loss) / EXPLAIN_DEALS;
        e->permuted_accuracy += (x->whole.accuracy - m.accuracy) / EXPLAIN_DEALS;
    }
    result = 0;
done:
    free(order);
    free(dealt.feature);
    return result;
}

// spread, influence, twin: from S, the sums of products of differences.
static void measure_spread(Explanation *x, const double *S, double pairs) {
    const int D = x->D;
    for (int i = 0; i < D; i++) {
        FeatureEffect *e = &x->effect[i];
        e->spread = pairs > 0 ? sqrt(S[i*D + i] / pairs) : 0;
        e->influence = e->slope * e->spread;
        e->twin = -1;
        for (int j = 0; j < D; j++) {
            const double both = S[i*D + i] * S[j*D + j];
            if (j == i || !(both > 0)) continue;
            const double r = (i < j ? S[i*D + j] : S[j*D + i]) / sqrt(both);
            if (e->twin >= 0 && fabs(r) <= fabs(e->correlation)) continue;
            e->twin = j;
            e->correlation = r;
        }
    }
}

/* All but `dropped`, of a network on the choices of d, which were read with its features.  seed is
 * of the deals; top as feature_measure has it.  0, or -1 after fail().                           */
int explain_measure(Explanation *x, const FeatureNet *net, const Dataset *d, int top,
                    uint64_t seed) {
    const int D = net->features.n;
    Differences differences = {.d = d};
    int result = -1;
    assert(d->features.n == D);
    *x = (Explanation){.D = D};
    if (feature_measure(&x->whole, net, d, top) < 0) return -1;
    differences.S = allocate((size_t)D * (size_t)D, sizeof *differences.S);
    if (!differences.S) return -1;
    for_each_pair(d, add_differences, &differences);
    for (int i = 0; i < D; i++) {
        FeatureEffect *e = &x->effect[i];
        RuleCount alone = {.rule = d->feature + i, .stride = D};
        e->weight = feature_net_is_linear(net) ? net->weight[i] : NAN;
        e->dropped_loss = NAN;
        for_each_pair(d, count_rule, &alone);
        e->alone_accuracy = alone.pairs > 0 ? alone.right / alone.pairs : 0;
        measure_shape(e, net, d, i);
        if (measure_permuted(x, net, d, i, top, seed) < 0) goto done;
        if (loss_alone(&e->alone_loss, net, d, i, top) < 0) goto done;
    }
    measure_spread(x, differences.S, differences.pairs);
    result = 0;
done:
    free(differences.S);
    return result;
}

/* dropped: the network is trained on `train`, as fit says, without each feature in turn and with
 * all, and their losses on d compared.  0, or -1 after fail().                                   */
int explain_dropped(Explanation *x, const FeatureNet *net, const Dataset *train, const Dataset *d,
                    const FeatureFit *fit) {
    FeatureMeasure all, less;
    FeatureNet again = {0};
    int result = -1;
    assert(x->D > 1);
    if (feature_net_copy(&again, net) < 0) return -1;
    if (feature_fit(&again, train, fit) == 0) result = feature_measure(&all, &again, d, fit->top);
    feature_net_free(&again);
    for (int i = 0; result == 0 && i < x->D; i++) {
        Dataset few = {0}, held = {0};
        again = (FeatureNet){0};
        result = -1;
        if (net_without(&again, net, i) < 0) goto next;
        if (data_without(&few, train, i) < 0 || data_without(&held, d, i) < 0) goto next;
        if (feature_fit(&again, &few, fit) < 0) goto next;
        if (feature_measure(&less, &again, &held, fit->top) < 0) goto next;
        x->effect[i].dropped_loss = less.loss - all.loss;
        result = 0;
    next:
        free(few.feature);
        free(held.feature);
        feature_net_free(&again);
    }
    return result;
}

// Alone it speaks for an answer and the model holds it against it, or the other way round.
int explain_is_turned(const FeatureEffect *e) {
    return (e->alone_accuracy - 0.5) * e->slope < 0;
}

// A rule says of two answers that more of something is better.
typedef struct {
    const double *rule, *reward;            // (num_answers)
    double people, model, pairs;
} Alike;

static void count_alike(void *to, int better, int worse) {
    Alike *c = to;
    const double rule = c->rule[better] - c->rule[worse];
    const double margin = c->reward[better] - c->reward[worse];
    if (rule == 0) return;
    c->people += rule > 0;
    c->model += (rule * margin > 0) + 0.5 * (margin == 0);
    c->pairs++;
}

// Of the pairs that a rule (num_answers) decides, the parts where people and where the model decide
// alike; equal rewards are half.  NaN if it decides none.  0, or -1 after fail().
int explain_rule(double *people, double *model, const FeatureNet *net, const Dataset *d,
                 const double *rule) {
    double *reward = allocate(d->num_answers, sizeof *reward);
    Alike c = {.rule = rule, .reward = reward};
    if (!reward) return -1;
    feature_rewards(net, d, reward);
    for_each_pair(d, count_alike, &c);
    free(reward);
    *people = c.pairs > 0 ? c.people / c.pairs : NAN;
    *model = c.pairs > 0 ? c.model / c.pairs : NAN;
    return 0;
}
#endif

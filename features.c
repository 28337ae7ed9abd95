/* features.c - reward models that fit on a page: a small network over a few named numbers that
 * experts chose (Nath et al., arXiv 2402.15473).
 *
 * A frozen scorer, whatever it is, gives answer y to prompt x the features f(x,y) (D).  The reward
 * is
 *
 *     phi(f):   a_0 = f / scale,   a_l = unit_l(W_l a_{l-1} + b_l),   phi = a_L, one number
 *
 * and people prefer answer w to l with probability sigma(phi(f_w) - phi(f_l)): the loss of a pair
 * is log(1 + exp(phi_l - phi_w)), of a ranking -choice_loglik (loss.c), of a step their mean.
 *
 *     f (D) --/scale--> a_0 (D) --W_1,b_1,unit_1--> a_1 --...--> a_L (1) = phi
 *     backward:  dz_l = da_l unit_l'(z_l),   dW_l += dz_l a_{l-1}',   db_l += dz_l,
 *                da_{l-1} = W_l' dz_l
 *
 * Layouts, by what --layers says:
 *
 *     6,4,2        hidden layers of so many units; tanh in each of them, a linear output
 *     linear       none: phi = w . f / scale.  Convex: Newton's method finds the one minimum
 *     mean         equal weights, t/D each: the paper's naive mean, whose order no t changes; t,
 *                  one temperature, is fitted
 *     authors      6,4,2 as the authors' program has them: the unit (relu) follows the first hidden
 *                  layer and the output alone.  A relu on the output may be 0 for every answer from
 *                  the start, and then nothing is ever learned: the model is dead
 *
 * In reinforcement learning the paper's reward is rho = sigma(phi), in (0,1).  All is computed in
 * double, without fused multiply-add, in one order; trained weights are rounded to float once, as
 * they are stored.                                                                               */
#ifndef FEATURES_C
#define FEATURES_C
#include "dataset.c"
#include "loss.c"
#include "newton.c"

enum { FEATURE_LAYERS = 8, FEATURE_UNITS = 64 };        // at most: layers of weights; units of one

typedef enum { UNIT_NONE, UNIT_TANH, UNIT_RELU, UNIT_SIGMOID, NUM_UNITS } Unit;
const char *const unit_names[] = {
    [UNIT_NONE] = "none", [UNIT_TANH] = "tanh", [UNIT_RELU] = "relu", [UNIT_SIGMOID] = "sigmoid",
    [NUM_UNITS] = NULL};
_Static_assert(sizeof unit_names / sizeof *unit_names == NUM_UNITS + 1, "every unit has a name");

typedef struct {
    FeatureNames features;                  // names and ranges of the inputs, in their order
    double scale[MAX_FEATURES];             // what they are divided by
    int layers;                             // of weights; the last one gives phi
    int size[FEATURE_LAYERS + 1];           // units: size[0] inputs, size[layers] is 1
    Unit unit[FEATURE_LAYERS];              // of each layer of weights
    int is_mean;                            // the weights stay equal
    char layout[64];                        // as --layers had it
    size_t num_weights;
    double *weight;                         // layer after layer: W (out, in), then b (out)
} FeatureNet;

// What a forward pass leaves for the backward: a_0 .. a_L.
typedef struct {
    double a[FEATURE_LAYERS + 1][FEATURE_UNITS];
} FeatureUnits;

typedef struct {
    double learning_rate, warmup_ratio;     // the peak; its part of the steps; then a cosine to 0
    double weight_decay, max_grad_norm, beta1, beta2, eps;
    double epochs;
    int rows;                               // pairs or rankings an update
    int top;                                // of rankings the places that count, 0: all
    uint64_t seed;                          // of fresh weights and of the order of rows
    int stop;                               // the step to end with, 0: the last one
} FeatureFit;

// Losses of held-out rows on the way: loss[i] after step (i+1) * every, the last one at the end.
typedef struct {
    const Dataset *held;
    int every, n, room;                     // n so far, of room
    double *loss;
} FeatureWatch;

typedef struct {
    double loss;                            // the mean of -log likelihood of a row's choice
    double accuracy;                        // of each two answers, one of them better; ties are 1/2
    double ties;                            // part of them with equal rewards; 1: the model is dead
    size_t pairs;
} FeatureMeasure;

// a network: memory, scale, weights
int    feature_net_init(FeatureNet *net, const FeatureNames *features, const char *layout,
                        const char *units);
void   feature_net_free(FeatureNet *net);
int    feature_net_copy(FeatureNet *to, const FeatureNet *net);
void   feature_net_scale(FeatureNet *net, const Dataset *d);    // ranges, else the largest of d
void   feature_net_random(FeatureNet *net, uint64_t seed);
void   feature_net_round(FeatureNet *net);                      // weights to float
int    feature_net_is_linear(const FeatureNet *net);            // linear or mean
int    feature_net_may_die(const FeatureNet *net);              // is there a relu on the output?

// phi of one answer, whose features are f (D); its gradient in the weights, added, and in f
double feature_reward(const FeatureNet *net, const double *f);
double feature_forward(const FeatureNet *net, const double *f, FeatureUnits *u);
void   feature_backward(const FeatureNet *net, const FeatureUnits *u, double dphi, double *dweight,
                        double *df);

// of the answers of a file that was read with net->features: what an answer has (D); phi
// (num_answers); what it comes to
const double *feature_of_answer(const Dataset *d, int answer);
void   feature_rewards(const FeatureNet *net, const Dataset *d, double *reward);
int    feature_measure(FeatureMeasure *m, const FeatureNet *net, const Dataset *d, int top);

// training, on all records of d, from the weights that the network has
int    feature_steps(const FeatureFit *s, size_t rows);         // so many it takes
int    feature_train(FeatureNet *net, const Dataset *d, const FeatureFit *s, FeatureWatch *watch);
int    feature_newton(FeatureNet *net, const Dataset *d, int top);
int    feature_is_exact(const FeatureNet *net, const FeatureFit *s);    // by Newton's method?
int    feature_fit(FeatureNet *net, const Dataset *d, const FeatureFit *s);     // fresh, rounded

// ----------------------------------------------------------------------------------------- layouts

// The number of a unit's name of n bytes, or -1.
static int unit_find(const char *name, size_t n) {
    for (int k = 0; k < NUM_UNITS; k++) {
        if (strlen(unit_names[k]) == n && !memcmp(unit_names[k], name, n)) return k;
    }
    return -1;
}

// Hidden layers "6,4,2", then the output.  0, or -1 after fail().
static int read_layers(FeatureNet *net, const char *text) {
    net->layers = 0;
    for (;;) {
        char *end;
        const long units = strtol(text, &end, 10);
        if (end == text || units < 1 || units > FEATURE_UNITS || (*end && *end != ',')) {
            return fail(EX_USAGE, "--layers %s: linear, mean, authors, or units of hidden layers, "
                        "as in 6,4,2, each from 1 to %d", net->layout, FEATURE_UNITS);
        }
        if (net->layers == FEATURE_LAYERS - 1) {
            return fail(EX_USAGE, "--layers %s: more than %d hidden layers", net->layout,
                        FEATURE_LAYERS - 1);
        }
        net->layers++;
        net->size[net->layers] = (int)units;
        if (!*end) break;
        text = end + 1;
    }
    net->layers++;
    net->size[net->layers] = 1;
    return 0;
}

/* One name is the unit of all hidden layers; of the authors' layout that of the first one and of
 * the output.  Or as many names as there are layers, the output's last.  0, or -1 after fail().  */
static int read_units(FeatureNet *net, const char *text, int is_authors) {
    int given = 0, all[FEATURE_LAYERS];
    for (const char *at = text; ; at++) {
        const size_t n = strcspn(at, ",");
        const int unit = unit_find(at, n);
        if (unit < 0 || given == FEATURE_LAYERS) {
            return fail(EX_USAGE, "--activation %s: tanh, relu, sigmoid or none for all hidden "
                        "layers, or one for each layer and the output", text);
        }
        all[given] = unit;
        given++;
        at += n;
        if (!*at) break;
    }
    if (given != 1 && (given != net->layers || is_authors)) {
        return fail(EX_USAGE, "--activation %s: %d names for %d layers, the output counted", text,
                    given, is_authors ? 1 : net->layers);
    }
    for (int l = 0; l < net->layers; l++) {
        const int hidden = l < net->layers - 1, authors = l == 0 || !hidden;
        const int has_unit = is_authors ? authors : hidden;
        if (given > 1) net->unit[l] = (Unit)all[l];
        else net->unit[l] = has_unit ? (Unit)all[0] : UNIT_NONE;
    }
    return 0;
}

// A network of zero weights; layout and units as --layers and --activation have them, units may be
// NULL.  Scales are 1.  0, or -1 after fail().
int feature_net_init(FeatureNet *net, const FeatureNames *features, const char *layout,
                     const char *units) {
    *net = (FeatureNet){.features = *features, .is_mean = !strcmp(layout, "mean")};
    const int is_linear = net->is_mean || !strcmp(layout, "linear");
    const int is_authors = !strncmp(layout, "authors", 7) && (!layout[7] || layout[7] == ':');
    const char *layers = layout;
    if (is_authors) layers = layout[7] ? layout + 8 : "6,4,2";
    assert(features->n >= 1);
    if (strlen(layout) >= sizeof net->layout) {
        return fail(EX_USAGE, "--layers %.64s..: too long", layout);
    }
    strcpy(net->layout, layout);
    net->size[0] = features->n;
    net->layers = 1;
    net->size[1] = 1;
    if (is_linear && units && strcmp(units, "none") != 0) {
        return fail(EX_USAGE, "--activation: --layers %s has no hidden layer", layout);
    }
    if (!is_linear && read_layers(net, layers) < 0) return -1;
    if (!units) units = is_authors ? "relu" : "tanh";
    if (!is_linear && read_units(net, units, is_authors) < 0) return -1;
    for (int i = 0; i < features->n; i++) net->scale[i] = 1;
    for (int l = 0; l < net->layers; l++) {
        net->num_weights += (size_t)(net->size[l] + 1) * (size_t)net->size[l + 1];
    }
    net->weight = allocate(net->num_weights, sizeof *net->weight);
    return net->weight ? 0 : -1;
}

void feature_net_free(FeatureNet *net) {
    free(net->weight);
    memset(net, 0, sizeof *net);
}

// 0, or -1 after fail().
int feature_net_copy(FeatureNet *to, const FeatureNet *net) {
    *to = *net;
    to->weight = allocate(net->num_weights, sizeof *net->weight);
    if (!to->weight) return -1;
    memcpy(to->weight, net->weight, net->num_weights * sizeof *net->weight);
    return 0;
}

int feature_net_is_linear(const FeatureNet *net) { return net->layers == 1; }

int feature_net_may_die(const FeatureNet *net) { return net->unit[net->layers - 1] == UNIT_RELU; }

// A feature is divided by the larger end of its range; where that is not said, by the largest value
// that it has in d.
void feature_net_scale(FeatureNet *net, const Dataset *d) {
    const int D = net->features.n;
    assert(D == d->features.n);
    for (int i = 0; i < D; i++) {
        double most = fmax(fabs(net->features.low[i]), fabs(net->features.high[i]));
        if (most < HUGE_VAL) {
            net->scale[i] = most;
            continue;
        }
        most = 0;
        for (size_t k = 0; k < d->num_records; k++) {
            const Record *r = &d->record[k];
            for (int j = r->first; j < r->first + r->count; j++) {
                const double x = fabs(d->feature[(size_t)j * (size_t)D + (size_t)i]);
                most = x > most ? x : most;
            }
        }
        net->scale[i] = most > 0 ? most : 1;
    }
}

// Weights and biases uniform within 1/sqrt(inputs), as PyTorch's linear layers begin.  A linear
// reward has one minimum and begins at 0, the mean at 1/D.
void feature_net_random(FeatureNet *net, uint64_t seed) {
    double *w = net->weight;
    uint64_t index = 0;
    if (feature_net_is_linear(net)) {
        const double first = net->is_mean ? 1.0 / net->size[0] : 0;
        for (int i = 0; i < net->size[0]; i++) w[i] = first;
        w[net->size[0]] = 0;
        return;
    }
    for (int l = 0; l < net->layers; l++) {
        const double bound = 1 / sqrt((double)net->size[l]);
        const int numbers = (net->size[l] + 1) * net->size[l + 1];
        for (int i = 0; i < numbers; i++) {
            *w = bound * (2 * random_unit(seed, STREAM_INIT, (uint64_t)l, index) - 1);
            w++;
            index++;
        }
    }
}

void feature_net_round(FeatureNet *net) {
    for (size_t i = 0; i < net->num_weights; i++) net->weight[i] = (float)net->weight[i];
}

// ------------------------------------------------------------------------------ forward, backward

// tanh(z) = (1 - e) / (1 + e), e = exp(-2|z|), with the sign of z
static double unit_value(Unit unit, double z) {
    if (unit == UNIT_RELU) return z > 0 ? z : 0;
    if (unit == UNIT_SIGMOID) return sigmoid(z);
    if (unit == UNIT_NONE) return z;
    const double e = more_exp(-2 * fabs(z)), y = (1 - e) / (1 + e);
    return z < 0 ? -y : y;
}

// The slope at z, of the value y there.
static double unit_slope(Unit unit, double y) {
    if (unit == UNIT_RELU) return y > 0;
    if (unit == UNIT_SIGMOID) return y * (1 - y);
    if (unit == UNIT_NONE) return 1;
    return 1 - y * y;
}

// The mean of the inputs a (D), rounded to float: answers whose means differ by the rounding of
// their sums alone are tied.
static double mean_of_inputs(const double *a, int D) {
    double sum = 0;
    for (int i = 0; i < D; i++) sum += a[i];
    return (float)(sum / D);
}

// a_l = unit_l(W_l a_{l-1} + b_l), each product a sum over the inputs in order, then + b; of the
// mean, t times it.
double feature_forward(const FeatureNet *net, const double *f, FeatureUnits *u) {
    const double *w = net->weight;
    const int D = net->size[0];
    for (int i = 0; i < D; i++) u->a[0][i] = f[i] / net->scale[i];
    if (net->is_mean) {
        u->a[1][0] = w[0] * D * mean_of_inputs(u->a[0], D);
        return u->a[1][0];
    }
    for (int l = 0; l < net->layers; l++) {
        const int in = net->size[l], out = net->size[l + 1];
        const double *b = w + in * out;
        for (int o = 0; o < out; o++) {
            double z = 0;
            for (int i = 0; i < in; i++) z += w[o*in + i] * u->a[l][i];
            u->a[l + 1][o] = unit_value(net->unit[l], z + b[o]);
        }
        w = b + out;
    }
    return u->a[net->layers][0];
}

double feature_reward(const FeatureNet *net, const double *f) {
    FeatureUnits u;
    return feature_forward(net, f, &u);
}

/* From dphi, layer by layer from the last one:
 *
 *     dz_l = da_l unit_l'(z_l),   dW_l += dz_l a_{l-1}',   db_l += dz_l
 *     da_{l-1} = W_l' dz_l
 *
 * dweight as the weights, added; df (D) = da_0 / scale; each may be NULL.                        */
void feature_backward(const FeatureNet *net, const FeatureUnits *u, double dphi, double *dweight,
                      double *df) {
    double da[FEATURE_UNITS] = {dphi}, dz[FEATURE_UNITS];
    size_t end = net->num_weights;
    for (int l = net->layers - 1; l >= 0; l--) {
        const int in = net->size[l], out = net->size[l + 1];
        const size_t start = end - (size_t)(in + 1) * (size_t)out;
        const double *w = net->weight + start;
        for (int o = 0; o < out; o++) dz[o] = da[o] * unit_slope(net->unit[l], u->a[l + 1][o]);
        for (int o = 0; dweight && o < out; o++) {
            double *dw = dweight + start + o*in;
            for (int i = 0; i < in; i++) dw[i] += dz[o] * u->a[l][i];
            dweight[start + (size_t)(in * out + o)] += dz[o];
        }
        for (int i = 0; i < in; i++) {
            da[i] = 0;
            for (int o = 0; o < out; o++) da[i] += w[o*in + i] * dz[o];
        }
        end = start;
    }
    for (int i = 0; df && i < net->size[0]; i++) df[i] = da[i] / net->scale[i];
}

// ---------------------------------------------------------------------------------- rows of a file

const double *feature_of_answer(const Dataset *d, int answer) {
    return d->feature + (size_t)answer * (size_t)d->features.n;
}

void feature_rewards(const FeatureNet *net, const Dataset *d, double *reward) {
    assert(net->features.n == d->features.n);
    for (size_t i = 0; i < d->num_answers; i++) {
        reward[i] = feature_reward(net, feature_of_answer(d, (int)i));
    }
}

// The most answers that a row of d has.
static int most_answers(const Dataset *d) {
    int most = 0;
    for (size_t i = 0; i < d->num_records; i++) most = max_int(most, d->record[i].count);
    return most;
}

// Loss and accuracy of the choices of d, each row's loss by its weight.  0, or -1 after fail().
int feature_measure(FeatureMeasure *m, const FeatureNet *net, const Dataset *d, int top) {
    float place[MAX_ANSWERS];
    double reward[MAX_ANSWERS], loss = 0, weight = 0, right = 0, ties = 0, pairs = 0;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        record_places(place, d, r);
        for (int j = 0; j < r->count; j++) {
            reward[j] = feature_reward(net, feature_of_answer(d, r->first + j));
            if (!isfinite(reward[j])) {
                return fail(EX_DATAERR, "%s:%zu: the reward is not finite; are the weights?",
                            d->path, r->line);
            }
        }
        loss -= (double)r->weight * choice_loglik(NULL, reward, place, r->count, top, 1);
        weight += r->weight;
        for (int j = 0; j < r->count; j++) {
            for (int k = j + 1; k < r->count; k++) {
                if (place[j] == place[k]) continue;
                pairs++;
                right += reward[j] > reward[k];
                ties += reward[j] == reward[k];
            }
        }
    }
    *m = (FeatureMeasure){.loss = weight > 0 ? loss / weight : 0, .pairs = (size_t)pairs,
                          .accuracy = pairs > 0 ? (right + ties / 2) / pairs : 0,
                          .ties = pairs > 0 ? ties / pairs : 0};
    return 0;
}

// --------------------------------------------------------------------------- training by gradients

// What a step works with.
typedef struct {
    double *gradient, *mean, *square;       // (num_weights) each, as AdamW has them
    FeatureUnits *u;                        // of the answers of a row
    uint32_t *order;                        // (rows) of this epoch
} FeatureState;

static int state_init(FeatureState *s, const FeatureNet *net, const Dataset *d) {
    *s = (FeatureState){0};
    s->gradient = allocate(3 * net->num_weights, sizeof *s->gradient);
    s->u = allocate((size_t)most_answers(d), sizeof *s->u);
    s->order = allocate(d->num_records, sizeof *s->order);
    if (!s->gradient || !s->u || !s->order) return -1;
    s->mean = s->gradient + net->num_weights;
    s->square = s->mean + net->num_weights;
    return 0;
}

static void state_free(FeatureState *s) {
    free(s->gradient);
    free(s->u);
    free(s->order);
}

// Adds the gradient of weight times a row's loss.
static void row_gradient(FeatureState *s, const FeatureNet *net, const Dataset *d, const Record *r,
                         int top, double weight) {
    float place[MAX_ANSWERS];
    double phi[MAX_ANSWERS], dphi[MAX_ANSWERS] = {0};
    record_places(place, d, r);
    for (int j = 0; j < r->count; j++) {
        phi[j] = feature_forward(net, feature_of_answer(d, r->first + j), &s->u[j]);
    }
    choice_loglik(dphi, phi, place, r->count, top, -weight);
    for (int j = 0; j < r->count; j++) {
        feature_backward(net, &s->u[j], dphi[j], s->gradient, NULL);
    }
}

/* AdamW (Loshchilov and Hutter 2019), after clipping to max_grad_norm; t counts from 1.  All
 * numbers decay, biases too, as in PyTorch and so in the authors' program.                       */
static void adamw_step(FeatureState *s, FeatureNet *net, const FeatureFit *fit, double rate,
                       int t) {
    double norm = 0;
    for (size_t i = 0; i < net->num_weights; i++) norm += s->gradient[i] * s->gradient[i];
    norm = sqrt(norm);
    const double clip = fit->max_grad_norm / (norm + 1e-6);
    const double scale = fit->max_grad_norm > 0 && clip < 1 ? clip : 1;
    const double b1 = fit->beta1, b2 = fit->beta2;
    const double fix1 = 1 - more_pow(b1, t), fix2 = 1 - more_pow(b2, t);
    for (size_t k = 0; k < net->num_weights; k++) {
        const double g = s->gradient[k] * scale;
        s->mean[k] = b1 * s->mean[k] + (1 - b1) * g;
        s->square[k] = b2 * s->square[k] + (1 - b2) * g * g;
        net->weight[k] *= 1 - rate * fit->weight_decay;
        net->weight[k] -= rate * (s->mean[k] / fix1) / (sqrt(s->square[k] / fix2) + fit->eps);
    }
}

// The factor of the rate at step t (from 0) of n: a warm-up to 1, then half a cosine down to 0.
static double cosine_schedule(int t, int n, double warmup_ratio) {
    const double pi = 3.141592653589793;
    const int warmup = (int)(warmup_ratio * n);
    double sine, cosine;
    if (t < warmup) return (t + 1.0) / (warmup + 1);
    more_sincos(pi * (t - warmup) / (n - warmup), &sine, &cosine);
    return 0.5 * (1 + cosine);
}

// Steps of s->rows rows; the last one of an epoch may have fewer.
int feature_steps(const FeatureFit *s, size_t rows) {
    const double an_epoch = ceil((double)rows / s->rows), steps = ceil(s->epochs * an_epoch);
    return steps < INT_MAX ? (int)steps : INT_MAX;
}

// Is it time to look at the held-out rows?  0, or -1 after fail().
static int watch_step(FeatureWatch *w, const FeatureNet *net, int top, int step, int is_last) {
    FeatureMeasure m;
    if (!w || (step % w->every && !is_last) || w->n == w->room) return 0;
    if (feature_measure(&m, net, w->held, top) < 0) return -1;
    w->loss[w->n] = m.loss;
    w->n++;
    return 0;
}

// AdamW on all rows of d, epoch after epoch, in an order by lot; the mean has no weights to train
// apart.  watch may be NULL.  0, or -1 after fail().
int feature_train(FeatureNet *net, const Dataset *d, const FeatureFit *s, FeatureWatch *watch) {
    const uint32_t N = (uint32_t)d->num_records;
    const int steps = feature_steps(s, N), stop = s->stop ? min_int(s->stop, steps) : steps;
    FeatureState state;
    uint32_t at = N;                                    // where the epoch is
    uint64_t epoch = 0;
    int result = -1;
    assert(N >= 1 && d->features.n == net->features.n && !net->is_mean);
    if (state_init(&state, net, d) < 0) goto done;
    for (int t = 0; t < stop; t++) {
        if (at == N) {
            random_permutation(state.order, N, s->seed, STREAM_ORDER, epoch);
            epoch++;
            at = 0;
        }
        const uint32_t left = N - at, n = left < (uint32_t)s->rows ? left : (uint32_t)s->rows;
        memset(state.gradient, 0, net->num_weights * sizeof *state.gradient);
        for (uint32_t i = at; i < at + n; i++) {
            const Record *r = &d->record[state.order[i]];
            row_gradient(&state, net, d, r, s->top, (double)r->weight / n);
        }
        at += n;
        const double rate = s->learning_rate * cosine_schedule(t, steps, s->warmup_ratio);
        adamw_step(&state, net, s, rate, t + 1);
        if (watch_step(watch, net, s->top, t + 1, t + 1 == stop) < 0) goto done;
    }
    for (size_t i = 0; i < net->num_weights; i++) {
        if (isfinite(net->weight[i])) continue;
        fail(EX_DATAERR, "the weights are not finite any more; a lower --learning_rate");
        goto done;
    }
    result = 0;
done:
    state_free(&state);
    return result;
}

// --------------------------------------------------------------------- the minimum of a linear phi

/* Of a linear phi the loss is convex in its parameters theta: the D weights, or the mean's one.
 * With x_j (P) of answer j, phi_j = theta . x_j and ell a row's log-likelihood,
 *
 *     g = sum_n w_n sum_j dell/dphi_j x_j,     H = sum_n w_n sum_jk S_jk x_j x_k'
 *
 * S = -d2ell/dphi2 (choice_curvature); a step is H^-1 g, halved until the loss falls.            */
typedef struct {
    int P;                                  // parameters
    double theta[MAX_FEATURES], next[MAX_FEATURES];
    double g[MAX_FEATURES], size[MAX_FEATURES], H[MAX_FEATURES * MAX_FEATURES];
    double *x;                              // (m, P) of a row
    double *S;                              // (m, m)
} FeatureNewton;

// x (P): the scaled features, or their mean.
static void newton_inputs(double *x, const FeatureNet *net, const double *f) {
    const int D = net->features.n;
    double a[MAX_FEATURES];
    for (int i = 0; i < D; i++) a[i] = f[i] / net->scale[i];
    if (net->is_mean) x[0] = mean_of_inputs(a, D);
    else memcpy(x, a, (size_t)D * sizeof *x);
}

static void newton_weights(FeatureNet *net, const double *theta) {
    const int D = net->features.n;
    for (int i = 0; i < D; i++) net->weight[i] = net->is_mean ? theta[0] / D : theta[i];
}

static void newton_row(FeatureNewton *s, const FeatureNet *net, const Dataset *d, const Record *r,
                       int top) {
    const int m = r->count, P = s->P;
    float place[MAX_ANSWERS] = {0};
    double phi[MAX_ANSWERS] = {0}, slope[MAX_ANSWERS] = {0};
    record_places(place, d, r);
    for (int j = 0; j < m; j++) {
        double *x = s->x + j*P;
        newton_inputs(x, net, feature_of_answer(d, r->first + j));
        phi[j] = 0;
        for (int i = 0; i < P; i++) phi[j] += s->theta[i] * x[i];
    }
    memset(s->S, 0, (size_t)m * (size_t)m * sizeof *s->S);
    choice_loglik(slope, phi, place, m, top, r->weight);
    choice_curvature(s->S, phi, place, m, top, r->weight);
    for (int j = 0; j < m; j++) {
        const double *x = s->x + j*P;
        for (int i = 0; i < P; i++) {
            double curved = 0;              // (S x)_j
            for (int k = 0; k < m; k++) curved += s->S[j*m + k] * s->x[k*P + i];
            s->g[i] += slope[j] * x[i];
            s->size[i] += s->S[j*m + j] * x[i] * x[i];
            for (int h = i; h < P; h++) s->H[h*P + i] += curved * x[h];
        }
    }
}

static int newton_loss(double *loss, FeatureNet *net, const Dataset *d, int top,
                       const double *theta) {
    FeatureMeasure m;
    newton_weights(net, theta);
    if (feature_measure(&m, net, d, top) < 0) return -1;
    *loss = m.loss;
    return 0;
}

// A step, halved until the loss falls.  1; 0 where none helps; -1 after fail().
static int newton_descend(FeatureNewton *s, FeatureNet *net, const Dataset *d, int top,
                          double *loss) {
    memset(s->g, 0, sizeof s->g);
    memset(s->size, 0, sizeof s->size);
    memset(s->H, 0, sizeof s->H);
    for (size_t n = 0; n < d->num_records; n++) newton_row(s, net, d, &d->record[n], top);
    newton_solve(s->g, s->H, s->size, s->P);
    for (double t = 1; t > 1e-6; t /= 2) {
        double now;
        for (int i = 0; i < s->P; i++) s->next[i] = s->theta[i] + t * s->g[i];
        if (newton_loss(&now, net, d, top, s->next) < 0) return -1;
        if (!(now < *loss)) continue;
        memcpy(s->theta, s->next, sizeof s->theta);
        *loss = now;
        return 1;
    }
    newton_weights(net, s->theta);
    return 0;
}

/* The minimum of the loss on all rows of d, for a linear network or the mean; rows that can be told
 * apart without a fault have none, and the weights only grow: it ends after 50 steps.  0, or -1
 * after fail().                                                                                  */
int feature_newton(FeatureNet *net, const Dataset *d, int top) {
    const size_t m = (size_t)most_answers(d);
    FeatureNewton *s = allocate(1, sizeof *s);
    double loss;
    int result = -1, moved = 1;
    assert(feature_net_is_linear(net) && d->features.n == net->features.n);
    if (!s) return -1;
    s->P = net->is_mean ? 1 : net->features.n;
    s->x = allocate(m * (size_t)s->P, sizeof *s->x);
    s->S = allocate(m * m, sizeof *s->S);
    if (!s->x || !s->S) goto done;
    if (net->is_mean) s->theta[0] = net->weight[0] * net->features.n;
    else memcpy(s->theta, net->weight, (size_t)s->P * sizeof *s->theta);
    if (newton_loss(&loss, net, d, top, s->theta) < 0) goto done;
    for (int step = 0; step < 50 && moved == 1; step++) {
        moved = newton_descend(s, net, d, top, &loss);
    }
    result = moved < 0 ? -1 : 0;
done:
    free(s->x);
    free(s->S);
    free(s);
    return result;
}

// A linear network without weight decay, and the mean, which is not decayed, go to their minimum.
int feature_is_exact(const FeatureNet *net, const FeatureFit *s) {
    return net->is_mean || (feature_net_is_linear(net) && s->weight_decay == 0);
}

// Fresh weights by the seed, trained on all rows of d, rounded to float.  0, or -1 after fail().
int feature_fit(FeatureNet *net, const Dataset *d, const FeatureFit *s) {
    feature_net_random(net, s->seed);
    int result = feature_is_exact(net, s) ? feature_newton(net, d, s->top)
                                          : feature_train(net, d, s, NULL);
    feature_net_round(net);
    return result;
}
#endif

/* feature_search.c - which settings to train a network of features with: by lot, judged by folds of
 * the training file alone.
 *
 * Trial 0 has the settings as they are given; each other one draws those that are not, over the
 * ranges of the authors' sweep (which was Bayesian, with one held-out file):
 *
 *     rate 0.005 to 0.1, warm-up 0.2 to 0.4, 100, 150 or 200 epochs, 1, 2 or 4 times the rows an
 *     update; layers linear, 5  3  5,3  4,2 or 6,4,2; units tanh, relu, sigmoid or none
 *
 * A trial trains on all folds but one, for each of them, and looks at the loss of the one that is
 * left out on the way.  Its loss is the least, over these looks, of the mean over all rows; where
 * that is, training on all rows stops too (early selection).  The least loss wins, of equal ones
 * the first.                                                                                     */
#ifndef FEATURE_SEARCH_C
#define FEATURE_SEARCH_C
#include "features.c"

enum { SEARCH_LOOKS = 20 };                 // at held-out rows, of each training

typedef struct {
    FeatureFit fit;                         // stop: the step where the loss was least
    const char *layers, *units;             // as feature_net_init takes them
    double loss;                            // on rows that were held out
} FeatureTrial;

typedef struct {
    int trials, folds;
    int draw_rate, draw_warmup, draw_epochs, draw_rows, draw_layers, draw_units;    // not given
    int (*tell)(void *to, int trial, const FeatureTrial *t);    // after each; not 0: stop; or NULL
    void *to;
} FeatureSearch;

int feature_search(FeatureTrial *best, const Dataset *d, const FeatureSearch *s);

// Draws what is not given.
static void draw_trial(FeatureTrial *t, const FeatureSearch *s, int trial) {
    static const char *const layers[] = {"linear", "5", "3", "5,3", "4,2", "6,4,2"};
    static const char *const units[] = {"tanh", "relu", "sigmoid", "none"};
    const uint64_t seed = t->fit.seed, number = (uint64_t)trial;
    double u[6];
    for (int i = 0; i < 6; i++) u[i] = random_unit(seed, STREAM_SEARCH, number, (uint64_t)i);
    if (s->draw_rate) t->fit.learning_rate = 0.005 + 0.095 * u[0];
    if (s->draw_warmup) t->fit.warmup_ratio = 0.2 + 0.2 * u[1];
    if (s->draw_epochs) t->fit.epochs = 100 + 50 * floor(3 * u[2]);
    if (s->draw_rows) t->fit.rows <<= (int)(3 * u[3]);
    if (s->draw_layers) t->layers = layers[(int)(6 * u[4])];
    if (s->draw_units) t->units = units[(int)(4 * u[5])];
    if (!strcmp(t->layers, "linear") || !strcmp(t->layers, "mean")) t->units = NULL;
}

// The records of d in the fold, or all others: *part shares all else with d.
static void take_fold(Dataset *part, Record *record, const Dataset *d, const FeatureSearch *s,
                      uint64_t seed, int fold, int inside) {
    *part = *d;
    part->record = record;
    part->num_records = 0;
    for (size_t n = 0; n < d->num_records; n++) {
        const uint64_t u = random_u64(seed, STREAM_FOLD, 1, d->record[n].prompt_id);
        const int is_in = (int)(u % (uint64_t)s->folds) == fold;
        if (is_in == inside) record[part->num_records++] = d->record[n];
    }
}

// Trains on one part and looks at the other: loss (SEARCH_LOOKS) and how many looks there were.  0,
// or -1 after fail().
static int train_fold(double *loss, int *looks, const FeatureTrial *t, const Dataset *train,
                      const Dataset *held) {
    FeatureNet net;
    FeatureMeasure m;
    const int every = max_int(1, feature_steps(&t->fit, train->num_records) / SEARCH_LOOKS);
    FeatureWatch watch = {.held = held, .every = every, .room = SEARCH_LOOKS, .loss = loss};
    int result = -1;
    if (feature_net_init(&net, &train->features, t->layers, t->units) < 0) return -1;
    feature_net_scale(&net, train);
    if (feature_is_exact(&net, &t->fit)) {
        if (feature_fit(&net, train, &t->fit) < 0) goto done;
        if (feature_measure(&m, &net, held, t->fit.top) < 0) goto done;
        loss[0] = m.loss;
        *looks = 1;
    } else {
        feature_net_random(&net, t->fit.seed);
        if (feature_train(&net, train, &t->fit, &watch) < 0) goto done;
        *looks = watch.n;
    }
    result = 0;
done:
    feature_net_free(&net);
    return result;
}

// Sets the trial's loss and the step it is reached at.  record (2, records) is scratch.  0, or -1
// after fail().
static int try_settings(FeatureTrial *t, const Dataset *d, const FeatureSearch *s, uint64_t seed,
                        Record *record) {
    double sum[SEARCH_LOOKS] = {0}, loss[SEARCH_LOOKS], rows = 0;
    int looks = SEARCH_LOOKS;
    for (int fold = 0; fold < s->folds; fold++) {
        Dataset train, held;
        int n = 0;
        take_fold(&train, record, d, s, seed, fold, 0);
        take_fold(&held, record + d->num_records, d, s, seed, fold, 1);
        if (!train.num_records || !held.num_records) continue;
        if (train_fold(loss, &n, t, &train, &held) < 0) return -1;
        looks = min_int(looks, n);
        for (int i = 0; i < looks; i++) sum[i] += loss[i] * (double)held.num_records;
        rows += (double)held.num_records;
    }
    if (rows == 0) {
        return fail(EX_DATAERR, "%s: %zu rows are too few prompts for folds; leave out --search",
                    d->path, d->num_records);
    }
    int least = 0;
    for (int i = 1; i < looks; i++) {
        if (sum[i] < sum[least]) least = i;
    }
    const int steps = feature_steps(&t->fit, d->num_records);
    t->loss = sum[least] / rows;
    t->fit.stop = least == looks - 1 ? 0 : (least + 1) * max_int(1, steps / SEARCH_LOOKS);
    return 0;
}

// best: the given settings, which become those to train all of d with.  0, or -1 after fail().
int feature_search(FeatureTrial *best, const Dataset *d, const FeatureSearch *s) {
    const FeatureTrial given = *best;
    Record *record = allocate(2 * d->num_records, sizeof *record);
    int result = -1;
    if (!record) return -1;
    for (int trial = 0; trial < s->trials; trial++) {
        FeatureTrial t = given;
        if (trial) draw_trial(&t, s, trial);
        if (try_settings(&t, d, s, given.fit.seed, record) < 0) goto done;
        if (trial == 0 || t.loss < best->loss) *best = t;
        if (s->tell && s->tell(s->to, trial, &t) != 0) goto done;
    }
    result = 0;
done:
    free(record);
    return result;
}
#endif

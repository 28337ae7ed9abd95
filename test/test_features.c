// Reward models of features: their gradient, their minimum, what the paper's data gives; how rows
// and tables are read.  Numbers come from closed forms, from scripts/golden_features.py (PyTorch),
// or, of OpinPref, from independent programs.
#include "test.h"
#include "../features.c"
#include "../vocabulary.c"

enum { D = 7 };
static Tokenizer bytes;
static const char train_file[] = "data/features/opinpref_features.train.jsonl";
static const char valid_file[] = "data/features/opinpref_features.valid.jsonl";

static const FeatureFit usual = {.learning_rate = 0.02, .warmup_ratio = 0.3, .weight_decay = 0.05,
                                 .max_grad_norm = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                                 .epochs = 100, .rows = 32};

static void load(Dataset *d, const char *path, const FeatureNames *f) {
    const FeatureNames none = feature_names_none();
    const DataOptions o = {.features = f ? f : &none};
    if (dataset_load(d, path, &bytes, &o) == 0) return;
    printf("    %s\n", error_text);
    exit(1);
}

// Rows as text under a name, which says what they are.  0, or -1.
static int read_rows_of(Dataset *d, const char *name, const char *text, DataOptions o) {
    static FeatureNames none;
    Buffer rows = {0};
    none = feature_names_none();
    if (!o.features) o.features = &none;
    o.rows = &rows;
    if (buffer_printf(&rows, "%s", text) < 0) exit(1);
    const int result = dataset_load(d, name, &bytes, &o);
    buffer_free(&rows);
    return result;
}

static void reads(Dataset *d, const char *text) {
    CHECK(read_rows_of(d, "rows", text, (DataOptions){0}) == 0);
}

static void refuses(const char *text, const char *why) {
    Dataset d;
    error_text[0] = 0;
    CHECK(read_rows_of(&d, "rows", text, (DataOptions){0}) < 0);
    if (strstr(error_text, why)) return;
    printf("    not \"%s\" but \"%s\"\n", why, error_text);
    CHECK(!"it is refused for this reason");
}

static FeatureNet net_of(const Dataset *d, const char *layout, const char *units) {
    FeatureNet net;
    if (feature_net_init(&net, &d->features, layout, units) < 0) {
        printf("    %s\n", error_text);
        exit(1);
    }
    feature_net_scale(&net, d);
    return net;
}

static FeatureMeasure measure(const FeatureNet *net, const Dataset *d) {
    FeatureMeasure m = {0};
    CHECK(feature_measure(&m, net, d, 0) == 0);
    return m;
}

// ---------------------------------------------------------------------------------------- gradient

static const char *const layouts[][2] = {
    {"linear", NULL}, {"3", "tanh"}, {"6,4,2", "tanh"}, {"5,3", "sigmoid"}, {"4,2", "relu"},
    {"authors", "tanh"}, {"authors", "sigmoid"}, {"authors:5,3", "relu"},
    {"4,3", "tanh,none,sigmoid"}, {"2,3,2,3,2,3,2", "tanh"},
};
enum { NUM_LAYOUTS = sizeof layouts / sizeof *layouts };

#define NAMES_A_B "{\"feature_names\": [\"a\", \"b\"]}\n"

// Rankings of three and four, with a place shared and a weight, of two features.
static const char some_rows[] =
    "{\"features\": [[1, 0.5], [0.2, -0.7], [-1.5, 2]]}\n"
    "{\"features\": [[0.3, 1], [0.8, 1.5], [-0.1, 0.25]], \"ranks\": [2, 1, 2], \"weight\": 2}\n"
    "{\"features\": [[2, 1], [1, -1], [0.5, 0.5], [-2, -2.5]]}\n";

static void read_rankings(Dataset *d) {
    char text[1024];
    snprintf(text, sizeof text, "{\"feature_names\": [\"a\", \"b\"], \"feature_range\": "
             "[[-2, 2], [null, null]]}\n%s", some_rows);
    reads(d, text);
}

static double loss_of(const FeatureNet *net, const Dataset *d) {
    double loss = 0;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        float place[MAX_ANSWERS];
        double phi[MAX_ANSWERS];
        record_places(place, d, r);
        for (int j = 0; j < r->count; j++) {
            phi[j] = feature_reward(net, feature_of_answer(d, r->first + j));
        }
        loss -= (double)r->weight * choice_loglik(NULL, phi, place, r->count, 0, 1);
    }
    return loss;
}

static void test_the_gradient_is_that_of_finite_differences_on_every_layout(void) {
    Dataset d;
    read_rankings(&d);
    CHECK(d.kind == DATA_RANKING && d.num_records == 3);
    for (int k = 0; k < NUM_LAYOUTS; k++) {
        FeatureNet net = net_of(&d, layouts[k][0], layouts[k][1]);
        FeatureState s;
        feature_net_random(&net, 5);
        for (size_t i = 0; i < net.num_weights; i++) net.weight[i] += 0.3;
        CHECK(state_init(&s, &net, &d) == 0);
        for (size_t n = 0; n < d.num_records; n++) {
            row_gradient(&s, &net, &d, &d.record[n], 0, (double)d.record[n].weight);
        }
        for (size_t i = 0; i < net.num_weights; i++) {
            const double w = net.weight[i], h = 1e-5;
            net.weight[i] = w + h;
            const double up = loss_of(&net, &d);
            net.weight[i] = w - h;
            const double down = loss_of(&net, &d);
            net.weight[i] = w;
            CHECK_NEAR(s.gradient[i], (up - down) / (2 * h), 1e-8);
        }
        state_free(&s);
        feature_net_free(&net);
    }
    dataset_free(&d);
}

static void test_the_slope_in_the_features_is_that_of_finite_differences(void) {
    Dataset d;
    read_rankings(&d);
    for (int k = 0; k < NUM_LAYOUTS; k++) {
        FeatureNet net = net_of(&d, layouts[k][0], layouts[k][1]);
        FeatureUnits u;
        double f[2] = {0.7, -0.4}, df[2];
        feature_net_random(&net, 6);
        feature_forward(&net, f, &u);
        feature_backward(&net, &u, 1, NULL, df);
        for (int i = 0; i < 2; i++) {
            const double x = f[i], h = 1e-6;
            f[i] = x + h;
            const double up = feature_reward(&net, f);
            f[i] = x - h;
            const double down = feature_reward(&net, f);
            f[i] = x;
            CHECK_NEAR(df[i], (up - down) / (2 * h), 1e-8);
        }
        feature_net_free(&net);
    }
    dataset_free(&d);
}

static void test_thirty_steps_are_pytorchs(void) {
    static const struct { const char *layers, *units; double loss, first; } want[] = {
        {"6,4,2", "tanh", 0.491412075404, 1.565153076165},
        {"authors", "sigmoid", 0.592493936452, 0.868513672548},
        {"5,3", "relu", 0.526831441702, -0.501214319912},
    };
    FeatureFit s = usual;
    Dataset d;
    s.learning_rate = 0.05;
    s.max_grad_norm = 0.02;
    s.epochs = 30;
    s.rows = 800;
    load(&d, train_file, NULL);
    for (int k = 0; k < 3; k++) {
        FeatureNet net = net_of(&d, want[k].layers, want[k].units);
        for (size_t i = 0; i < net.num_weights; i++) net.weight[i] = 0.5 * sin(1.0 + (double)i);
        CHECK(feature_train(&net, &d, &s, NULL) == 0);
        CHECK_NEAR(measure(&net, &d).loss, want[k].loss, 1e-10);
        CHECK_NEAR(feature_reward(&net, d.feature), want[k].first, 1e-9);
        feature_net_free(&net);
    }
    dataset_free(&d);
}

// -------------------------------------------------------------------------------- OpinPref's pairs

static void test_a_linear_reward_reaches_the_minimum_of_its_loss(void) {
    static const double want[D] = {1.202749, -1.948038, -0.976149, 1.814683, -0.211982, 2.735928,
                                   3.149645};
    Dataset train, valid;
    load(&train, train_file, NULL);
    load(&valid, valid_file, NULL);
    CHECK(train.num_records == 800 && valid.num_records == 140 && train.features.n == D);
    CHECK(!strcmp(train.name, "opinpref_features") && !strcmp(valid.name, train.name));
    FeatureNet net = net_of(&train, "linear", NULL);
    FeatureFit s = usual;
    s.weight_decay = 0;
    CHECK(feature_fit(&net, &train, &s) == 0);
    CHECK_NEAR(measure(&net, &train).loss, 0.482138, 1e-6);
    CHECK_NEAR(measure(&net, &valid).loss, 0.505992, 1e-6);
    CHECK_NEAR(measure(&net, &train).accuracy, 0.75125, 1e-12);
    CHECK_NEAR(measure(&net, &valid).accuracy, 105.5 / 140, 1e-12);
    CHECK_NEAR(measure(&net, &train).ties, 4 / 800., 1e-12);
    for (int i = 0; i < D; i++) CHECK_NEAR(net.weight[i], want[i], 1e-6);

    // any optimiser gets there: AdamW on all rows at once
    s.rows = 800;
    s.epochs = 450;
    s.learning_rate = 0.5;
    s.warmup_ratio = 0.1;
    feature_net_random(&net, 1);
    CHECK(feature_train(&net, &train, &s, NULL) == 0);
    CHECK_NEAR(measure(&net, &train).loss, 0.482138, 1e-5);
    feature_net_free(&net);
    dataset_free(&train);
    dataset_free(&valid);
}

static void test_the_mean_of_the_features_orders_as_equal_weights_and_has_one_temperature(void) {
    Dataset train, valid;
    load(&train, train_file, NULL);
    load(&valid, valid_file, NULL);
    FeatureNet net = net_of(&train, "mean", NULL);
    FeatureFit s = usual;
    CHECK(feature_fit(&net, &train, &s) == 0);
    CHECK_NEAR(measure(&net, &train).loss, 0.494259, 1e-6);
    CHECK_NEAR(net.weight[0] * D, 6.7, 0.05);
    for (int i = 1; i < D; i++) CHECK(net.weight[i] == net.weight[0]);

    CHECK_NEAR(measure(&net, &train).accuracy, 0.7369, 5e-5);
    CHECK_NEAR(measure(&net, &valid).accuracy, 0.7464, 5e-5);
    CHECK_NEAR(measure(&net, &train).ties, 11 / 800., 1e-12);

    // but for these it orders as a linear reward of equal weights
    FeatureNet equal = net_of(&train, "linear", NULL);
    for (int i = 0; i < D; i++) equal.weight[i] = 1;
    for (size_t n = 0; n < train.num_records; n++) {
        const double *a = train.feature + 2*n*D, *b = a + D;
        const double difference = feature_reward(&net, a) - feature_reward(&net, b);
        const double plain = feature_reward(&equal, a) - feature_reward(&equal, b);
        CHECK(fabs(plain) < 1e-9 ? difference == 0 : (difference > 0) == (plain > 0));
    }
    feature_net_free(&equal);
    feature_net_free(&net);
    dataset_free(&train);
    dataset_free(&valid);
}

// Mean loss and accuracy on the held-out pairs over so many seeds; how many are dead.
static int some_seeds(FeatureMeasure *mean, const Dataset *train, const Dataset *valid,
                      const char *layout, const char *units, int seeds) {
    int dead = 0;
    *mean = (FeatureMeasure){0};
    for (int seed = 0; seed < seeds; seed++) {
        FeatureNet net = net_of(train, layout, units);
        FeatureFit s = usual;
        s.seed = (uint64_t)seed;
        CHECK(feature_fit(&net, train, &s) == 0);
        const FeatureMeasure m = measure(&net, valid);
        mean->loss += m.loss / seeds;
        mean->accuracy += m.accuracy / seeds;
        if (measure(&net, train).ties == 1) {
            dead++;
            CHECK(m.accuracy == 0.5 && fabs(m.loss - log(2)) < 1e-12);
        }
        feature_net_free(&net);
    }
    return dead;
}

// Of a PyTorch program with ten seeds: .503/.757, .497/.742, .497/.744, .495/.759, .552/.763, and
// .614 +- .098 / .60 +- .12 where the output is a relu, dead in about 6 of 10.
static void test_small_networks_get_what_another_program_got_and_a_relu_on_the_output_dies(void) {
    Dataset train, valid;
    FeatureMeasure m;
    load(&train, train_file, NULL);
    load(&valid, valid_file, NULL);
    CHECK(some_seeds(&m, &train, &valid, "linear", NULL, 2) == 0);
    CHECK_NEAR(m.loss, 0.503, 0.001);
    CHECK_NEAR(m.accuracy, 0.757, 0.004);
    CHECK(some_seeds(&m, &train, &valid, "authors", "tanh", 5) == 0);
    CHECK_NEAR(m.loss, 0.495, 0.002);
    CHECK_NEAR(m.accuracy, 0.759, 0.015);
    CHECK(some_seeds(&m, &train, &valid, "authors", "sigmoid", 3) == 0);
    CHECK_NEAR(m.loss, 0.552, 0.002);
    CHECK_NEAR(m.accuracy, 0.763, 0.01);
    const int dead = some_seeds(&m, &train, &valid, "authors", NULL, 8);
    CHECK(dead >= 2 && dead <= 7);
    CHECK_NEAR(m.loss, 0.614, 0.098);
    CHECK_NEAR(m.accuracy, 0.60, 0.12);
    FeatureNet net = net_of(&train, "authors", NULL);
    CHECK(feature_net_may_die(&net));
    feature_net_free(&net);
    dataset_free(&train);
    dataset_free(&valid);
}

// -------------------------------------------------------------------------------------- invariants

static void test_a_swapped_pair_negates_the_margin_and_equal_vectors_cost_log_2(void) {
    Dataset d;
    reads(&d, NAMES_A_B
              "{\"features\": [[1, 2], [0.5, 3]]}\n"
              "{\"features\": [[0.5, 3], [1, 2]]}\n"
              "{\"features\": [[1, 2], [1, 2]]}\n");
    for (int k = 0; k < NUM_LAYOUTS; k++) {
        FeatureNet net = net_of(&d, layouts[k][0], layouts[k][1]);
        double r[6];
        feature_net_random(&net, 3);
        feature_rewards(&net, &d, r);
        CHECK(r[0] - r[1] == -(r[2] - r[3]));
        CHECK_NEAR(sigmoid(r[0] - r[1]) + sigmoid(r[2] - r[3]), 1, 1e-15);
        d.record += 2;
        d.num_records = 1;
        CHECK_NEAR(measure(&net, &d).loss, 0.69314718055994531, 1e-15);
        d.record -= 2;
        d.num_records = 3;
        feature_net_free(&net);
    }
    dataset_free(&d);
}

static void test_scaled_features_and_first_weights_by_the_inverse_leave_rewards(void) {
    Dataset d;
    read_rankings(&d);
    for (int k = 0; k < NUM_LAYOUTS; k++) {
        FeatureNet net = net_of(&d, layouts[k][0], layouts[k][1]);
        const double f[2] = {0.7, -0.4}, scaled[2] = {0.7 * 8, -0.4 * 8};
        feature_net_random(&net, 9);
        const double before = feature_reward(&net, f);
        for (int i = 0; i < net.size[0] * net.size[1]; i++) net.weight[i] /= 8;
        CHECK(feature_reward(&net, scaled) == before);
        for (int i = 0; i < 2; i++) net.scale[i] /= 8;
        CHECK(feature_reward(&net, f) == before);
        feature_net_free(&net);
    }
    dataset_free(&d);
}

static void test_features_in_another_order_have_the_same_rewards(void) {
    Dataset d, same;
    reads(&d, "{\"features\": {\"a\": 1, \"b\": 2, \"c\": -3}}\n");
    const DataOptions o = {.features = &d.features};
    const char *const other[] = {
        "{\"features\": {\"c\": -3, \"more\": 8, \"a\": 1, \"b\": 2}}\n",
        "{\"feature_names\": [\"b\", \"c\", \"a\"]}\n{\"features\": [2, -3, 1]}\n",
        "c,b,id,a\n-3,2,x,1\n",
    };
    FeatureNet net = net_of(&d, "3,2", NULL);
    feature_net_random(&net, 4);
    for (int k = 0; k < 3; k++) {
        CHECK(read_rows_of(&same, "rows", other[k], o) == 0);
        for (int i = 0; i < 3; i++) CHECK(same.feature[i] == d.feature[i]);
        CHECK(feature_reward(&net, same.feature) == feature_reward(&net, d.feature));
        dataset_free(&same);
    }
    feature_net_free(&net);
    dataset_free(&d);
}

static void test_rho_is_between_0_and_1_and_grows_with_phi(void) {
    double before = 0;
    for (double phi = -30; phi <= 30; phi += 0.5) {
        const double rho = sigmoid(phi);
        CHECK(rho > before && rho < 1);
        before = rho;
    }
}

static void test_a_feature_that_is_equal_in_every_pair_has_no_gradient(void) {
    Dataset d;
    reads(&d, NAMES_A_B
              "{\"features\": [[1, 2], [0.5, 2]]}\n"
              "{\"features\": [[0.5, 3], [1, 3]]}\n"
              "{\"features\": [[3, -1], [1, -1]]}\n");
    FeatureNet net = net_of(&d, "linear", NULL);
    FeatureState s;
    net.weight[0] = 0.7;
    net.weight[1] = -0.4;
    CHECK(state_init(&s, &net, &d) == 0);
    for (size_t n = 0; n < 3; n++) row_gradient(&s, &net, &d, &d.record[n], 0, 1);
    CHECK(s.gradient[0] != 0 && s.gradient[1] == 0);
    state_free(&s);

    FeatureFit exact = usual;
    exact.weight_decay = 0;
    CHECK(feature_fit(&net, &d, &exact) == 0);
    CHECK(net.weight[0] > 0 && net.weight[1] == 0);
    feature_net_free(&net);
    dataset_free(&d);
}

// Swaps the answers of a pair.
static void flip(Dataset *d, const Record *r) {
    for (int i = 0; i < D; i++) {
        double *a = &d->feature[(size_t)r->first * D + (size_t)i], *b = a + D, x = *a;
        *a = *b;
        *b = x;
    }
}

// The minimum of a linear reward where each label is flipped at this rate.
static double flipped_loss(Dataset *d, double rate, double *length) {
    FeatureFit s = usual;
    s.weight_decay = 0;
    for (size_t n = 0; n < d->num_records; n++) {
        if (random_unit(1, STREAM_TEST, 0, n) < rate) flip(d, &d->record[n]);
    }
    FeatureNet net = net_of(d, "linear", NULL);
    CHECK(feature_fit(&net, d, &s) == 0);
    const double loss = measure(&net, d).loss;
    *length = 0;
    for (int i = 0; i < D; i++) *length += net.weight[i] * net.weight[i];
    for (size_t n = 0; n < d->num_records; n++) {
        if (random_unit(1, STREAM_TEST, 0, n) < rate) flip(d, &d->record[n]);
    }
    feature_net_free(&net);
    return loss;
}

static void test_flipped_labels_raise_the_minimum_up_to_log_2_where_half_are(void) {
    Dataset d;
    double length[4];
    load(&d, train_file, NULL);
    const double clean = flipped_loss(&d, 0, &length[0]), some = flipped_loss(&d, 0.1, &length[1]);
    const double more = flipped_loss(&d, 0.3, &length[2]), half = flipped_loss(&d, 0.5, &length[3]);
    CHECK(clean < some && some < more && more < half);
    CHECK_NEAR(half, log(2), 0.01);
    CHECK(length[3] < length[0] / 5);

    // each pair both ways: half exactly
    Record *both = allocate(1600, sizeof *both);
    double *feature = allocate(3200 * D, sizeof *feature);
    Dataset twice = d;
    memcpy(feature, d.feature, 1600 * D * sizeof *feature);
    memcpy(feature + 1600 * D, d.feature, 1600 * D * sizeof *feature);
    twice.record = both;
    twice.feature = feature;
    twice.num_records = 1600;
    twice.num_answers = 3200;
    for (size_t n = 0; n < 1600; n++) {
        both[n] = d.record[n % 800];
        both[n].first = (int)(2 * n);
        if (n >= 800) flip(&twice, &both[n]);
    }
    twice.answer = allocate(3200, sizeof *twice.answer);
    CHECK_NEAR(flipped_loss(&twice, 0, &length[0]), log(2), 1e-12);
    CHECK_NEAR(length[0], 0, 1e-12);
    free(twice.answer);
    free(both);
    free(feature);
    dataset_free(&d);
}

static void test_pairs_without_a_fault_end_with_large_finite_weights(void) {
    Dataset d;
    reads(&d, "{\"features\": {\"chosen\": {\"a\": 1}, \"rejected\": {\"a\": 0}}}\n");
    FeatureNet net = net_of(&d, "linear", NULL);
    FeatureFit s = usual;
    s.weight_decay = 0;
    CHECK(feature_fit(&net, &d, &s) == 0);
    CHECK(isfinite(net.weight[0]) && net.weight[0] > 10);
    feature_net_free(&net);
    dataset_free(&d);
}

static uint64_t hash_weights(const FeatureNet *net) {
    uint64_t hash = 0;
    for (size_t i = 0; i < net->num_weights; i++) {
        hash = random_mix(hash ^ bits_of((float)net->weight[i]));
    }
    return hash;
}

static void test_trained_weights_are_floats_of_recorded_bits_and_another_seed_has_others(void) {
    Dataset d;
    FeatureFit s = usual;
    load(&d, train_file, NULL);
    FeatureNet net = net_of(&d, "6,4,2", NULL);
    s.epochs = 3;
    CHECK(feature_fit(&net, &d, &s) == 0);
    const uint64_t hash = hash_weights(&net);
    for (size_t i = 0; i < net.num_weights; i++) CHECK(net.weight[i] == (float)net.weight[i]);
    if (hash != 0x0a665263d4cd0832) {
        printf("    0x%016llx\n", (unsigned long long)hash);
        CHECK(!"the recorded bits");
    }
    s.seed = 1;
    CHECK(feature_fit(&net, &d, &s) == 0);
    CHECK(hash_weights(&net) != hash);
    feature_net_free(&net);
    dataset_free(&d);
}

static void test_what_is_watched_is_the_loss_on_the_way_and_training_can_stop_there(void) {
    Dataset train, valid;
    double loss[8];
    FeatureWatch watch = {.held = &valid, .every = 20, .room = 8, .loss = loss};
    FeatureFit s = usual;
    load(&train, train_file, NULL);
    load(&valid, valid_file, NULL);
    FeatureNet net = net_of(&train, "4,2", NULL);
    s.epochs = 2;
    CHECK(feature_steps(&s, 800) == 50);
    feature_net_random(&net, 0);
    CHECK(feature_train(&net, &train, &s, &watch) == 0);
    CHECK(watch.n == 3 && loss[2] == measure(&net, &valid).loss);
    s.stop = 40;
    feature_net_random(&net, 0);
    CHECK(feature_train(&net, &train, &s, NULL) == 0);
    CHECK(loss[1] == measure(&net, &valid).loss);
    feature_net_free(&net);
    dataset_free(&train);
    dataset_free(&valid);
}

// ----------------------------------------------------------------------------------------- layouts

static void test_layouts_are_read_and_others_refused(void) {
    const FeatureNames two = {.n = 2, .name = {"a", "b"}};
    static const struct { const char *layers, *units, *why; } bad[] = {
        {"6,,2", NULL, "--layers 6,,2"}, {"", NULL, "--layers"}, {"0", NULL, "from 1 to 64"},
        {"65", NULL, "from 1 to 64"}, {"1,1,1,1,1,1,1,1", NULL, "more than 7 hidden"},
        {"author", NULL, "linear, mean, authors"}, {"4,2", "tanh,relu", "2 names for 3 layers"},
        {"4", "swish", "tanh, relu, sigmoid"}, {"linear", "tanh", "no hidden layer"},
        {"authors", "tanh,tanh,tanh,tanh", "4 names for 1"},
    };
    FeatureNet net;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(feature_net_init(&net, &two, bad[i].layers, bad[i].units) < 0);
        CHECK(strstr(error_text, bad[i].why) != NULL);
    }
    CHECK(feature_net_init(&net, &two, "authors", NULL) == 0);
    CHECK(net.layers == 4 && net.size[0] == 2 && net.size[1] == 6 && net.size[4] == 1);
    CHECK(net.unit[0] == UNIT_RELU && net.unit[1] == UNIT_NONE && net.unit[2] == UNIT_NONE);
    CHECK(net.unit[3] == UNIT_RELU && net.num_weights == 18 + 28 + 10 + 3);
    feature_net_free(&net);
    CHECK(feature_net_init(&net, &two, "6,4,2", NULL) == 0);
    CHECK(net.unit[0] == UNIT_TANH && net.unit[2] == UNIT_TANH && net.unit[3] == UNIT_NONE);
    feature_net_free(&net);
}

// -------------------------------------------------------------------------------------------- rows

static void test_features_are_read_in_every_form_beside_texts_or_alone(void) {
    static const char *const pairs[] = {
        "{\"features\": {\"chosen\": {\"a\": 1, \"b\": 2}, \"rejected\": {\"b\": 4, \"a\": 3}}}",
        "{\"features_chosen\": {\"a\": 1, \"b\": 2}, \"features_rejected\": {\"a\": 3, \"b\": 4}}",
        "{\"features\": [{\"a\": 1, \"b\": 2}, {\"a\": 3, \"b\": 4}]}",
        "{\"prompt\": \"P\", \"features\": [{\"a\": 1, \"b\": 2}, {\"a\": 3, \"b\": 4}]}",
        "{\"prompt\": \"P\", \"chosen\": \"x\", \"rejected\": \"y\", \"features\": "
            "[{\"a\": 1, \"b\": 2}, {\"a\": 3, \"b\": 4}]}",
        "{\"feature_names\": [\"a\", \"b\"]}\n{\"features\": {\"chosen\": [1, 2], "
            "\"rejected\": [3, 4]}}",
        "[{\"feature_names\": [\"a\", \"b\"]},\n {\"features\": [[1, 2], [3, 4]]}]",
        "{\"prompt\": \"P\", \"completions\": [\"y\", \"x\"], \"ranks\": [2, 1], \"features\": "
            "[{\"a\": 3, \"b\": 4}, {\"a\": 1, \"b\": 2}]}",
        "{\"features\": [{\"a\": 3, \"b\": 4}, {\"a\": 1, \"b\": 2}], \"scores\": [0.1, 0.7]}",
        "chosen.a,chosen.b,rejected.a,rejected.b\n1,2,3,4",
        "\xef\xbb\xbf\"features.chosen.a\"\tfeatures.rejected.a\tchosen.b\trejected.b\r\n"
            "1\t3\t2\t4\r\n",
        "id;2.b;1.a;2.a;1.b\n\"a \"\"quoted\"\"; id\";4;1;3;2\n\n",
    };
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        Dataset d;
        reads(&d, pairs[k]);
        CHECK(d.kind == DATA_PAIR && d.num_records == 1 && d.features.n == 2);
        const int a = feature_find(&d.features, "a"), b = feature_find(&d.features, "b");
        CHECK(a >= 0 && b >= 0 && d.feature != NULL);
        if (d.feature && a >= 0 && b >= 0) {
            CHECK(d.feature[a] == 1 && d.feature[b] == 2);
            CHECK(d.feature[2 + a] == 3 && d.feature[2 + b] == 4);
        }
        dataset_free(&d);
    }
    Dataset d;
    reads(&d, "{\"features\": {\"a\": -1e3}, \"label\": true}\n"
              "{\"features\": {\"a\": 2}, \"label\": 0}");
    CHECK(d.kind == DATA_POINT && d.answer[0].score == 1 && d.feature[1] == 2);
    dataset_free(&d);
    reads(&d, "features.a,annotator\n1,x\n");
    CHECK(d.kind == DATA_COMPLETION && d.feature[0] == 1);
    dataset_free(&d);
}

static void test_rows_without_texts_are_no_ties_and_each_its_own_prompt(void) {
    Dataset d;
    reads(&d, "{\"id\": 1, \"features\": [{\"a\": 1}, {\"a\": 1}]}\n"
              "{\"id\": 2, \"features\": [{\"a\": 1}, {\"a\": 1}]}\n"
              "{\"id\": 2, \"features\": [{\"a\": 1}, {\"a\": 1}]}\n");
    CHECK(d.num_records == 3 && d.tied == 0);
    CHECK(d.record[0].prompt_id != d.record[1].prompt_id);
    CHECK(d.record[1].prompt_id == d.record[2].prompt_id);
    dataset_free(&d);
}

static void test_a_ranking_taken_apart_keeps_each_answers_features(void) {
    Dataset d;
    CHECK(read_rows_of(&d, "rows", "{\"features\": [{\"a\": 1}, {\"a\": 2}, {\"a\": 3}], "
                       "\"ranks\": [3, 1, 2]}", (DataOptions){.as_pairs = 1}) == 0);
    CHECK(d.kind == DATA_PAIR && d.num_records == 3);
    static const double want[6] = {2, 3, 2, 1, 3, 1};
    for (int i = 0; i < 6; i++) CHECK(d.feature[i] == want[i]);
    dataset_free(&d);
}

static void test_what_is_missing_or_out_of_range_is_refused_with_its_line_and_remedy(void) {
#define NAMES "{\"feature_names\": [\"a\", \"b\"], \"feature_range\": [0, 5]}\n"
    refuses("{\"features\": {\"a\": 1}}\n\n{\"features\": {\"b\": 1}}",
            "rows:3: feature \"b\" is not one");
    refuses("{\"features\": {\"a\": 1, \"b\": 1}}\n{\"features\": {\"a\": 1}}",
            "rows:2: feature \"b\" is missing; needed are a, b");
    refuses("{\"features\": {\"a\": null}}", "rows:1: feature \"a\" is null; complete the row");
    refuses("{\"features\": {\"a\": \"x\"}}", "feature \"a\" is \"x\"; a number is needed");
    refuses("{\"features\": {\"a\": true}}", "feature \"a\" is true; a number");
    refuses("{\"features\": {\"a\": 1e999}}", "out of range");
    refuses("{\"features\": {\"a\": NaN}}", "NaN");
    refuses(NAMES "{\"features\": [1, 5.5]}", "rows:2: feature \"b\" is 5.5, its range is 0 to 5");
    refuses(NAMES "{\"features\": [1]}", "rows:2: 1 features; there are 2 names");
    refuses("{\"features\": [1, 2]}", "have no names: begin the file with");
    refuses("{\"features\": {}}", "have no names");
    refuses("{\"features\": 5}", "are a number; an object");
    refuses("{\"features\": [[1], [2], 3]}", "no names");
    refuses("{\"features\": [{\"a\": 1}, {\"a\": 1}, 3]}", "features of answer 3 are a number");
    refuses("{\"features\": [{\"a\": 1}]}", "are no ranking");
    refuses("{\"features\": [{\"a\": 1}, {\"a\": 1}], \"ranks\": [1]}", "list of 2 numbers");
    refuses("{\"features\": [{\"a\": 1}, {\"a\": 1}], \"ranks\": [1, \"x\"]}", "ranks");
    refuses("{\"prompt\": \"P\", \"chosen\": \"x\", \"rejected\": \"y\"}", "no \"features\"");
    refuses("{\"prompt\": \"P\", \"chosen\": \"x\", \"rejected\": \"y\", \"features\": {\"a\": 1}}",
            "2 answers, but features of 1");
    refuses(NAMES NAMES, "rows:2: \"feature_names\" must be in the first line");
    refuses("{\"feature_names\": [\"a\", \"a\"]}\n", "two features are called a");
    refuses("{\"feature_names\": [\"a,b\"]}\n", "holds a comma");
    refuses("{\"feature_names\": [\"a\"], \"feature_range\": [5, 0]}\n", "[low, high]");
    refuses("{\"feature_names\": [\"a\"], \"feature_range\": [[0, 1], [0, 1]]}\n",
            "2 ranges for 1");
#undef NAMES
}

static void test_a_table_with_a_fault_is_refused_with_its_line(void) {
    refuses("chosen.a,rejected.a\n1,2\n3\n", "rows:3: 1 cells, but the header has 2");
    refuses("chosen.a,rejected.a\n1,2\n\n3,\n", "rows:4: feature \"a\" is null");
    refuses("chosen.a,rejected.a,note\n1,2,\"two\nlines\"\n1,nan,\n",
            "rows:4: feature \"a\" is \"nan\"");
    refuses("id,a\n1,2\n", "rows:1: no column is a feature");
    refuses("chosen.a,rejected.a,1.a\n", "not of several");
    refuses("chosen.a,chosen.b,rejected.a\n1,2,3\n", "feature \"b\" is missing");
    refuses("chosen.a,rejected.a\n1,\"2\n", "a quote that does not end");
    refuses("chosen.a,rejected.a\n1,\"2\"3\n", "text after a quote");
    refuses("chosen.a,chosen.a,rejected.a\n1,2,3\n", "rows:2");
}

static void test_features_can_be_chosen_and_lists_named_by_the_caller(void) {
    FeatureNames asked = feature_names_none(), listed = feature_names_none();
    Dataset d;
    CHECK(feature_names_parse(&asked, "c,a") == 0 && asked.n == 2);
    CHECK(feature_range_parse(&asked, "-1,4") == 0);
    CHECK(feature_names_parse(&listed, "a,b,c") == 0);
    CHECK(read_rows_of(&d, "rows", "{\"features\": [1, 20, 3]}\n{\"features\": [0, 30, -1]}",
                       (DataOptions){.features = &asked, .listed = &listed}) == 0);
    CHECK(d.features.n == 2 && d.feature[0] == 3 && d.feature[1] == 1 && d.feature[2] == -1);
    dataset_free(&d);
    CHECK(read_rows_of(&d, "rows", "{\"features\": [1, 20]}",
                       (DataOptions){.features = &asked, .listed = &asked}) < 0);
    CHECK(strstr(error_text, "feature \"a\" is 20, its range is -1 to 4") != NULL);
    CHECK(feature_names_parse(&asked, "a,,b") < 0 && feature_names_parse(&asked, "a,a") < 0);
    CHECK(feature_range_parse(&asked, "4,-1") < 0 && feature_range_parse(&asked, "4") < 0);
    CHECK(feature_range_parse(&asked, "0,5x") < 0 && feature_range_parse(&asked, "0,inf") < 0);
}

static void no_word(void *to, const Dataset *d) {
    (void)to;
    (void)d;
}

static void test_bad_rows_can_be_left_out_even_the_first(void) {
    Dataset d;
    CHECK(read_rows_of(&d, "rows", "{\"features\": {\"a\": null, \"z\": 1}}\n"
                       "{\"features\": {\"a\": 7}}\n{\"features\": {\"b\": 7}}\n",
                       (DataOptions){.bad_row = no_word}) == 0);
    CHECK(d.bad == 2 && d.num_records == 1 && d.features.n == 1 && d.feature[0] == 7);
    dataset_free(&d);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (tokenizer_of_bytes(&bytes) < 0) exit(1);

    // training
    RUN(test_the_gradient_is_that_of_finite_differences_on_every_layout);
    RUN(test_the_slope_in_the_features_is_that_of_finite_differences);
    RUN(test_thirty_steps_are_pytorchs);
    RUN(test_a_linear_reward_reaches_the_minimum_of_its_loss);
    RUN(test_the_mean_of_the_features_orders_as_equal_weights_and_has_one_temperature);
    RUN(test_small_networks_get_what_another_program_got_and_a_relu_on_the_output_dies);
    RUN(test_trained_weights_are_floats_of_recorded_bits_and_another_seed_has_others);
    RUN(test_what_is_watched_is_the_loss_on_the_way_and_training_can_stop_there);

    // invariants
    RUN(test_a_swapped_pair_negates_the_margin_and_equal_vectors_cost_log_2);
    RUN(test_scaled_features_and_first_weights_by_the_inverse_leave_rewards);
    RUN(test_features_in_another_order_have_the_same_rewards);
    RUN(test_rho_is_between_0_and_1_and_grows_with_phi);
    RUN(test_a_feature_that_is_equal_in_every_pair_has_no_gradient);
    RUN(test_flipped_labels_raise_the_minimum_up_to_log_2_where_half_are);
    RUN(test_pairs_without_a_fault_end_with_large_finite_weights);
    RUN(test_layouts_are_read_and_others_refused);

    // rows
    RUN(test_features_are_read_in_every_form_beside_texts_or_alone);
    RUN(test_rows_without_texts_are_no_ties_and_each_its_own_prompt);
    RUN(test_a_ranking_taken_apart_keeps_each_answers_features);
    RUN(test_what_is_missing_or_out_of_range_is_refused_with_its_line_and_remedy);
    RUN(test_a_table_with_a_fault_is_refused_with_its_line);
    RUN(test_features_can_be_chosen_and_lists_named_by_the_caller);
    RUN(test_bad_rows_can_be_left_out_even_the_first);
    tokenizer_free(&bytes);
    return test_summary();
}

// What a reward model of features rewards.  The numbers of OpinPref are of an independent program;
// the others follow from small models by hand.
#include "test.h"
#include "../explain.c"
#include "../vocabulary.c"

enum { D = 7 };
static Tokenizer bytes;
static const FeatureFit exact = {.seed = 1};

static void load(Dataset *d, const char *path) {
    const FeatureNames none = feature_names_none();
    const DataOptions o = {.features = &none};
    if (dataset_load(d, path, &bytes, &o) == 0) return;
    printf("    %s\n", error_text);
    exit(1);
}

static void load_rows(Dataset *d, const char *text) {
    const FeatureNames none = feature_names_none();
    Buffer rows = {0};
    if (buffer_printf(&rows, "%s", text) < 0) exit(1);
    const DataOptions o = {.features = &none, .rows = &rows};
    if (dataset_load(d, "rows", &bytes, &o) < 0) {
        printf("    %s\n", error_text);
        exit(1);
    }
    buffer_free(&rows);
}

static FeatureNet net_of(const Dataset *d, const char *layout) {
    FeatureNet net;
    CHECK(feature_net_init(&net, &d->features, layout, NULL) == 0);
    feature_net_scale(&net, d);
    return net;
}

static void test_the_linear_reward_of_opinpref_is_explained_by_known_numbers(void) {
    // aspect-coverage, opinion-faithfulness, opinion-coverage, conciseness, relevance,
    // hallucination, language-correctness
    static const double influence[D] = {.409, -.730, -.289, .450, -.081, 1.174, 1.353};
    static const double dropped[D] = {.00075, .00163, .00032, .00090, .00002, .00591, .00708};
    static const double alone[D] = {.5252, .5202, .5419, .5260, .5139, .4967, .4912};
    static const double right[D] = {.703, .692, .681, .712, .698, .716, .728};
    Dataset d;
    Explanation x;
    load(&d, "data/features/opinpref_features.train.jsonl");
    FeatureNet net = net_of(&d, "linear");
    CHECK(feature_fit(&net, &d, &exact) == 0);
    CHECK(explain_measure(&x, &net, &d, 0, 1) == 0);
    CHECK(explain_dropped(&x, &net, &d, &d, &exact) == 0);
    CHECK_NEAR(x.whole.loss, .482138, 1e-5);
    for (int i = 0; i < D; i++) {
        const FeatureEffect *e = &x.effect[i];
        CHECK_NEAR(e->influence, influence[i], 6e-4);
        CHECK_NEAR(e->dropped_loss, dropped[i], 6e-6);
        CHECK_NEAR(e->alone_loss, alone[i], 6e-5);
        CHECK_NEAR(e->alone_accuracy, right[i], 6e-4);
        CHECK_NEAR(e->slope, e->weight / 5, 1e-9);
        // negative weights of features that speak for an answer are collinearity
        CHECK(explain_is_turned(e) == (influence[i] < 0));
        CHECK(e->twin >= 0 && e->twin != i && e->correlation > .5);
        for (int g = 1; g < EXPLAIN_GRID; g++) {
            CHECK_NEAR(e->dependence[g] - e->dependence[0], e->slope * e->at[g], 1e-9);
        }
    }
    feature_net_free(&net);
    dataset_free(&d);
}

static void test_what_a_reward_does_not_read_has_no_effect(void) {
    // the loss is of rows apart from which no other could be learned: `b` is the same everywhere
    static const char rows[] =
        "{\"features\": {\"chosen\": {\"a\": 4, \"b\": 2}, \"rejected\": {\"a\": 1, \"b\": 2}}}\n"
        "{\"features\": {\"chosen\": {\"a\": 1, \"b\": 2}, \"rejected\": {\"a\": 3, \"b\": 2}}}\n"
        "{\"features\": {\"chosen\": {\"a\": 3, \"b\": 2}, \"rejected\": {\"a\": 0, \"b\": 2}}}\n";
    Dataset d;
    Explanation x;
    load_rows(&d, rows);
    FeatureNet net = net_of(&d, "linear");
    CHECK(feature_fit(&net, &d, &exact) == 0);
    CHECK(explain_measure(&x, &net, &d, 0, 1) == 0);
    CHECK(explain_dropped(&x, &net, &d, &d, &exact) == 0);
    const FeatureEffect *a = &x.effect[0], *b = &x.effect[1];
    CHECK(b->spread == 0 && b->influence == 0 && b->twin == -1);
    CHECK(b->permuted_loss == 0 && b->permuted_accuracy == 0);
    CHECK_NEAR(b->dropped_loss, 0, 1e-7);
    CHECK_NEAR(b->alone_accuracy, .5, 0);
    CHECK_NEAR(b->alone_loss, log(2), 1e-12);
    // without `a` every pair is tied
    CHECK_NEAR(a->dropped_loss, log(2) - x.whole.loss, 1e-7);
    CHECK_NEAR(a->alone_loss, x.whole.loss, 1e-7);
    CHECK_NEAR(a->spread, sqrt((9 + 4 + 9) / 3.), 1e-12);
    CHECK_NEAR(a->alone_accuracy, 2 / 3., 1e-12);
    feature_net_free(&net);
    dataset_free(&d);
}

static void test_agreement_with_a_rule_counts_what_the_rule_decides(void) {
    static const char rows[] =
        "{\"features\": {\"chosen\": {\"a\": 4}, \"rejected\": {\"a\": 1}}}\n"
        "{\"features\": {\"chosen\": {\"a\": 1}, \"rejected\": {\"a\": 3}}}\n"
        "{\"features\": {\"chosen\": {\"a\": 3}, \"rejected\": {\"a\": 3}}}\n"
        "{\"features\": {\"chosen\": {\"a\": 5}, \"rejected\": {\"a\": 3}}}\n";
    static const double longer[8] = {9, 2, 2, 9, 1, 5, 7, 7};
    double people, model;
    Dataset d;
    load_rows(&d, rows);
    FeatureNet net = net_of(&d, "linear");
    net.weight[0] = 1;
    // alike, alike, the model has no opinion, the rule has none
    CHECK(explain_rule(&people, &model, &net, &d, longer) == 0);
    CHECK_NEAR(people, 1 / 3., 1e-12);
    CHECK_NEAR(model, 2.5 / 3, 1e-12);
    net.weight[0] = -1;
    CHECK(explain_rule(&people, &model, &net, &d, longer) == 0);
    CHECK_NEAR(people, 1 / 3., 1e-12);
    CHECK_NEAR(model, 0.5 / 3, 1e-12);
    feature_net_free(&net);
    dataset_free(&d);
}

static void test_a_network_is_explained_by_its_own_slopes(void) {
    // one hidden tanh unit: the mean slope is by finite differences of phi itself
    static const char rows[] =
        "{\"feature_names\": [\"a\", \"b\"], \"feature_range\": [0, 5]}\n"
        "{\"features\": {\"chosen\": [4, 1], \"rejected\": [1, 2]}}\n"
        "{\"features\": {\"chosen\": [5, 0], \"rejected\": [3, 3]}}\n";
    Dataset d;
    Explanation x;
    load_rows(&d, rows);
    FeatureNet net = net_of(&d, "1");
    const double w[] = {2, -1, .25, 3, 0};              // phi = 3 tanh(2 a/5 - b/5 + .25)
    CHECK(net.num_weights == 5);
    memcpy(net.weight, w, sizeof w);
    CHECK(explain_measure(&x, &net, &d, 0, 1) == 0);
    CHECK(isnan(x.effect[0].weight) && isnan(x.effect[0].dropped_loss));
    double slope[2] = {0}, at_two = 0;
    const double f[4][2] = {{4, 1}, {1, 2}, {5, 0}, {3, 3}};
    for (int a = 0; a < 4; a++) {
        const double z = 2 * f[a][0] / 5 - f[a][1] / 5 + .25;
        slope[0] += 3 * (tanh(z + 2 * .01) - tanh(z)) / .05 / 4;
        slope[1] += 3 * (tanh(z - .01) - tanh(z)) / .05 / 4;
        at_two += 3 * tanh(2 * 2 / 5. - f[a][1] / 5 + .25) / 4;
    }
    CHECK_NEAR(x.effect[0].slope, slope[0], 1e-10);
    CHECK_NEAR(x.effect[1].slope, slope[1], 1e-10);
    CHECK_NEAR(x.effect[0].at[4], 2, 1e-12);
    CHECK_NEAR(x.effect[0].dependence[4], at_two, 1e-12);
    feature_net_free(&net);
    dataset_free(&d);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (tokenizer_of_bytes(&bytes) < 0) return 1;
    RUN(test_the_linear_reward_of_opinpref_is_explained_by_known_numbers);
    RUN(test_what_a_reward_does_not_read_has_no_effect);
    RUN(test_agreement_with_a_rule_counts_what_the_rule_decides);
    RUN(test_a_network_is_explained_by_its_own_slopes);
    tokenizer_free(&bytes);
    return test_summary();
}

/* test_gradients.c - losses and gradients of the models that transformers wrote, beside PyTorch's
 * autograd in float64: test/golden/gradients.json, by scripts/golden_gradients.py.  Run from the
 * repository's root. */
#include "test.h"
#include "../files/checkpoint.c"

#define GOLDEN "test/golden/"
enum { LONGEST = 64 };

// Two texts, one after the other, as a micro-batch; each token the target of the one before.
typedef struct {
    int token[LONGEST], position[LONGEST], target[LONGEST];
    Segment seg[2];
    Text text[2];
    Batch batch;
} Texts;

// Adds a list of ids.
static void add_text(Texts *x, const Json *j, int ids) {
    Batch *b = &x->batch;
    const int first = b->T, n = json_count(j, ids);
    int v = json_first(j, ids);
    CHECK(first + n <= LONGEST && b->B < 2);
    for (int t = first; t < first + n; t++) {
        x->token[t] = (int)json_number(j, v);
        x->position[t] = t - first;
        x->target[t] = -1;
        if (t > first) x->target[t-1] = x->token[t];
        v = json_next(j, v);
    }
    x->seg[b->S] = (Segment){.start = first, .len = n, .parent = -1};
    x->text[b->B] = (Text){.first = first, .len = n, .pooled = first + n - 1};
    b->T += n;
    b->S++;
    b->B++;
}

// The texts of reference.json from `first` to the fifth.
static void read_texts(Texts *x, const char *folder, int first) {
    char path[200];
    Json j = {0};
    *x = (Texts){.batch = {.T = 0}};
    snprintf(path, sizeof path, GOLDEN "%s/reference.json", folder);
    CHECK(json_load(&j, path) == 0);
    int text = json_first(&j, json_get(&j, 0, "texts"));
    for (int i = 1; i <= 5; i++) {
        if (i >= first) add_text(x, &j, json_get(&j, text, "ids"));
        text = json_next(&j, text);
    }
    x->batch.token = x->token;
    x->batch.position = x->position;
    x->batch.target = x->target;
    x->batch.seg = x->seg;
    x->batch.text = x->text;
    json_free(&j);
}

// Forward and backward; returns the loss.
static double compute(Model *m, const Texts *x) {
    const Batch *b = &x->batch;
    real logp[LONGEST] = {0}, slope[LONGEST] = {0}, reward[2] = {0};
    double loss = 0;
    model_zero_grads(m);
    model_forward(m, b);
    if (m->config.reward) {
        model_rewards(m, b, reward, NULL);
        const double d = (double)reward[0] - (double)reward[1];
        loss = log1p(exp(-d));                              // -log sigmoid(d)
        slope[0] = (real)(-1 / (1 + exp(d)));
        slope[1] = -slope[0];
        CHECK(model_backward(m, b, slope, NULL, NULL) == 0);
    } else {
        for (int t = 0; t < b->T; t++) slope[t] = x->target[t] < 0 ? 0 : -1 / (real)(b->T - 1);
        CHECK(model_backward(m, b, NULL, slope, logp) == 0);
        for (int t = 0; t < b->T; t++) loss += (double)slope[t] * (double)logp[t];
    }
    model_finish_grads(m);
    return loss;
}

// The norm of a tensor's gradient and some of its numbers, relative to the largest of these.
static void check_tensor(const Entry *e, const Json *j, int want) {
    const real *grad = *e->tensor + e->offset;
    double sum = 0;
    int i = json_first(j, want);
    const double norm = json_number(j, i);
    for (size_t k = 0; k < e->n; k++) sum += (double)grad[k] * (double)grad[k];
    CHECK_NEAR(sqrt(sum), norm, 1e-4 * (1e-3 + norm));
    for (i = json_next(j, i); i >= 0; i = json_next(j, i)) {
        const int place = json_first(j, i);
        const size_t at = entry_place(e, (size_t)json_number(j, place));
        CHECK_NEAR(grad[at], json_number(j, json_next(j, place)), 1e-4 * (1e-3 + norm));
    }
}

static void check_folder(const Json *j, int row) {
    const char *folder = json_key(j, row);
    const int tensors = json_get(j, row, "tensors"), bad = test_bad;
    char path[200];
    Texts x;
    Model m;
    Entries e;
    snprintf(path, sizeof path, GOLDEN "%s", folder);
    CHECK(checkpoint_load(&m, path, LOAD_AS_STORED) == 0);
    CHECK(model_init_training(&m) == 0 && model_reserve(&m, LONGEST, 2) == 0);
    read_texts(&x, folder, m.config.reward ? 4 : 5);
    CHECK_NEAR(compute(&m, &x), json_number(j, json_get(j, row, "loss")), 1e-5);
    CHECK(entries_init(&e, &m.config, &m.grads) == 0);
    CHECK((int)e.n == json_count(j, tensors));
    for (size_t k = 0; k < e.n; k++) {
        const int want = json_get(j, tensors, e.entry_memory[k].name);
        CHECK(want >= 0);
        if (want >= 0) check_tensor(&e.entry_memory[k], j, want);
    }
    if (test_bad > bad) printf("    in %s\n", folder);
    free(e.entry_memory);
    model_free(&m);
}

static void test_losses_and_gradients_are_those_of_autograd_in_double(void) {
    Json j = {0};
    int folders = 0;
    CHECK(json_load(&j, GOLDEN "gradients.json") == 0);
    for (int row = json_first(&j, 0); row >= 0; row = json_next(&j, row)) {
        check_folder(&j, row);
        folders++;
    }
    CHECK(folders == 18);
    json_free(&j);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    kernels_set_threads(1);
    if (kernels_init(NULL) < 0) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
    RUN(test_losses_and_gradients_are_those_of_autograd_in_double);
    return test_summary();
}

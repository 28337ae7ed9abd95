/* test_gradients.c - losses and gradients of the models that transformers wrote, beside PyTorch's
 * autograd in float64: test/golden/gradients.json, by scripts/golden_gradients.py; and steps of
 * adapters beside PEFT's: lora_steps.json, by scripts/golden_lora.py.  Run from the repository's
 * root. */
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
    CHECK(folders == 22);
    json_free(&j);
}

// ------------------------------------------------------------------------- steps of adapters

// A folder of lora_steps.json: a pair, the chosen text first, and a model that learns from it.
typedef struct {
    const Json *j;
    int settings, row;
    Texts pair;
    Model m;
    double reference[2];                        // log-probabilities with the adapters off
    real *start;                                // (num_trained) the first weights
} Steps;

static double number_of(const Json *j, int object, const char *key) {
    return json_number(j, json_get(j, object, key));
}

// The adapter of the folder as one that is trained over its base.
static void load_steps(Steps *x, const char *folder) {
    char path[200], targets[200] = "";
    Json j = {0};
    AdapterSettings s;
    snprintf(path, sizeof path, GOLDEN "%s", folder);
    CHECK(adapter_settings(&s, path) == 0);
    snprintf(path, sizeof path, GOLDEN "%s/adapter_config.json", folder);
    CHECK(json_load(&j, path) == 0);
    const int r = (int)number_of(&j, 0, "r"), names = json_get(&j, 0, "target_modules");
    for (int i = json_first(&j, names); i >= 0; i = json_next(&j, i)) {
        const char *name = json_string(&j, i), *dot = strrchr(name, '.');   // of all layers alike
        const size_t n = strlen(targets);
        snprintf(targets + n, sizeof targets - n, n ? ",%s" : "%s", dot ? dot + 1 : name);
    }
    const LoraOptions lora = {.r = r, .alpha = r * adapter_scale(&s, r), .targets = targets};
    const char *base = json_string(&j, json_get(&j, 0, "base_model_name_or_path"));
    CHECK(checkpoint_load_as(&x->m, base, LOAD_AS_STORED, &lora, 0) == 0);
    json_free(&j);
    snprintf(path, sizeof path, GOLDEN "%s", folder);
    CHECK(checkpoint_load_adapter(&x->m, path) == 0);
    CHECK(model_init_training(&x->m) == 0 && model_reserve(&x->m, LONGEST, 2) == 0);
    x->start = allocate(x->m.num_trained, sizeof *x->start);
    memcpy(x->start, x->m.params_memory + (x->m.num_numbers - x->m.num_trained),
           x->m.num_trained * sizeof *x->start);
}

// Of text i the score, or the log-probability; `logp` is of all rows.
static double value_of(const Steps *x, const real *reward, const real *logp, int i) {
    const Text *text = &x->pair.text[i];
    double sum = 0;
    if (x->m.config.reward) return (double)reward[i];
    for (int t = text->first; t < text->first + text->len - 1; t++) sum += (double)logp[t];
    return sum;
}

// The values v of both texts.
static void pair_values(Steps *x, double v[2]) {
    const Batch *b = &x->pair.batch;
    real logp[LONGEST] = {0}, reward[2] = {0};
    model_forward(&x->m, b);
    if (x->m.config.reward) model_rewards(&x->m, b, reward, NULL);
    else CHECK(model_logp(&x->m, b, logp) == 0);
    v[0] = value_of(x, reward, logp, 0);
    v[1] = value_of(x, reward, logp, 1);
}

/* The gradients of the pair's loss, which it returns: of scores with beta 1, or DPO's
 *
 *     L = -log sigmoid(beta (v_c - ref_c - v_r + ref_r))                                         */
static double pair_step(Steps *x) {
    const Batch *b = &x->pair.batch;
    const int reward = x->m.config.reward;
    const double beta = reward ? 1 : number_of(x->j, x->settings, "beta");
    real slope[LONGEST] = {0}, logp[LONGEST];
    double v[2];
    model_zero_grads(&x->m);
    pair_values(x, v);
    const double d = beta * (v[0] - x->reference[0] - v[1] + x->reference[1]);
    const real of_chosen = (real)(-beta / (1 + exp(d))), of_text[2] = {of_chosen, -of_chosen};
    for (int i = 0; i < 2; i++) {
        const Text *text = &x->pair.text[i];
        for (int t = text->first; t < text->first + text->len - 1; t++) slope[t] = of_text[i];
    }
    if (reward) CHECK(model_backward(&x->m, b, of_text, NULL, NULL) == 0);
    else CHECK(model_backward(&x->m, b, NULL, slope, logp) == 0);
    model_finish_grads(&x->m);
    return log1p(exp(-d));
}

// Of each text after a forward its score, or the logits of its last row.
static void check_forward(Steps *x) {
    enum { LARGEST_VOCAB = 64 };
    Model *m = &x->m;
    const int V = m->config.reward ? 1 : m->config.vocab_size;
    int text = json_first(x->j, json_get(x->j, x->row, "last"));
    real out[2 * LARGEST_VOCAB], lse[2];
    const int last[2] = {x->pair.text[0].pooled, x->pair.text[1].pooled};
    CHECK(V <= LARGEST_VOCAB);
    if (m->config.reward) model_rewards(m, &x->pair.batch, out, NULL);
    else model_logits(m, last, 2, out, lse);
    for (int i = 0; i < 2; i++) {
        int number = json_first(x->j, text);
        CHECK(json_count(x->j, text) == V);
        for (int v = 0; v < V; v++) {
            const double want = json_number(x->j, number);
            CHECK_NEAR(out[i*V + v], want, 1e-5 * (1 + fabs(want)));
            number = json_next(x->j, number);
        }
        text = json_next(x->j, text);
    }
}

// Each trained tensor's `what`, from memory (num_trained) in the order of the weights.
static void check_trained(const Steps *x, const char *what, const real *memory) {
    const int tensors = json_get(x->j, x->row, what);
    const size_t frozen = x->m.num_numbers - x->m.num_trained;
    Entries e;
    CHECK(entries_init_saved(&e, &x->m) == 0);
    CHECK((int)e.n == json_count(x->j, tensors));
    for (size_t k = 0; k < e.n; k++) {
        Entry of = e.entry_memory[k];
        real *there = (real *)memory + (*of.tensor - x->m.params_memory - frozen);
        const int want = json_get(x->j, tensors, of.name);
        of.tensor = &there;
        CHECK(want >= 0);
        if (want >= 0) check_tensor(&of, x->j, want);
    }
    free(e.entry_memory);
}

// How the trained weights have changed.
static void check_change(const Steps *x, const char *what) {
    const size_t n = x->m.num_trained;
    const real *now = x->m.params_memory + (x->m.num_numbers - n);
    real *change = allocate(n, sizeof *change);
    for (size_t i = 0; i < n; i++) change[i] = now[i] - x->start[i];
    check_trained(x, what, change);
    free(change);
}

// Three steps of AdamW on the pair, of which the first is looked at closely.
static void check_steps(const Json *j, int row, int settings) {
    Steps x = {.j = j, .settings = settings, .row = row};
    const int bad = test_bad, reference = json_get(j, row, "reference");
    load_steps(&x, json_key(j, row));
    read_texts(&x.pair, json_key(j, row), 4);
    if (reference >= 0) {
        x.m.adapters_off = 1;
        pair_values(&x, x.reference);
        x.m.adapters_off = 0;
        const int first = json_first(j, reference);
        CHECK_NEAR(x.reference[0], json_number(j, first), 1e-5 * fabs(x.reference[0]));
        CHECK_NEAR(x.reference[1], json_number(j, json_next(j, first)), 1e-5*fabs(x.reference[1]));
    }
    pair_values(&x, (double[2]){0});
    check_forward(&x);
    for (int step = 1; step <= 3; step++) {
        const double loss = pair_step(&x), norm = model_grad_norm(&x.m);
        const double most = number_of(j, settings, "max_grad_norm");
        if (step == 1) {
            const double want = number_of(j, row, "loss");
            CHECK_NEAR(loss, want, 1e-4 * want);
            check_trained(&x, "gradient", x.m.grads_memory);
        }
        const AdamW adamw = {.learning_rate = number_of(j, settings, "lr"), .beta1 = 0.9,
                             .beta2 = 0.999, .eps = 1e-8, .head_rate = 1, .step = step,
                             .weight_decay = number_of(j, settings, "weight_decay"),
                             .scale = norm > most ? most / (norm + 1e-6) : 1};
        model_update(&x.m, &adamw);
        if (step == 1) check_change(&x, "change 1");
    }
    check_change(&x, "change 3");
    if (test_bad > bad) printf("    in %s\n", json_key(j, row));
    free(x.start);
    model_free(&x.m);
}

static void test_three_steps_of_adapters_are_those_of_peft_and_pytorch_in_double(void) {
    Json j = {0};
    int folders = 0;
    CHECK(json_load(&j, GOLDEN "lora_steps.json") == 0);
    const int settings = json_get(&j, 0, "settings");
    for (int row = json_next(&j, settings); row >= 0; row = json_next(&j, row)) {
        check_steps(&j, row, settings);
        folders++;
    }
    CHECK(folders == 4);
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
    RUN(test_three_steps_of_adapters_are_those_of_peft_and_pytorch_in_double);
    return test_summary();
}

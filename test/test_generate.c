/* test_generate.c - the sampler against closed forms; completions from the cache against full
 * recomputation, in any batch and order, on any number of threads.  Run from the repository's root.
 */
#include "test.h"
#include "../files/checkpoint.c"
#include "../generate.c"
#include "../vocabulary.c"

enum { V = 29, POSITIONS = 160, PROMPTS = 6, SAMPLES = 3, NEW = 24, MAX_TEXTS = PROMPTS*SAMPLES };

// ----------------------------------------------------------------------------------- one token

static Sampling plain_sampling(double temperature) {
    return (Sampling){.folder = "m", .temperature = temperature, .top_p = 1,
                      .repetition_penalty = 1, .seed = 5, .n = 1, .max_new_tokens = NEW,
                      .batch = 16};
}

// Token i of a completion of no prompt, from n logits.
static int draw_one(const float *logits, int n, const Sampling *s, int i) {
    const Prompt no_prompt = {.id = 3};
    float x[64], weight[64];
    int heap[64];
    char seen[64] = {0};
    const SampleWork w = {.x = x, .weight = weight, .heap = heap, .seen = seen};
    return sample_token(logits, n, s, &no_prompt, 0, NULL, i, &w);
}

// The tokens that are ever drawn, as bits.
static unsigned support(const float *logits, int n, const Sampling *s) {
    unsigned set = 0;
    for (int i = 0; i < 3000; i++) set |= 1u << draw_one(logits, n, s, i);
    return set;
}

static void test_tokens_have_the_frequencies_of_the_softmax_at_a_temperature(void) {
    static const float logits[8] = {1, -0.5f, 0.3f, 2, 0, -3, 1.5f, 1};
    static const double temperatures[] = {1, 0.7, 2};
    enum { N = 40000 };
    for (int k = 0; k < 3; k++) {
        const Sampling s = plain_sampling(temperatures[k]);
        double count[8] = {0}, sum = 0, chi2 = 0;
        for (int i = 0; i < N; i++) count[draw_one(logits, 8, &s, i)]++;
        for (int v = 0; v < 8; v++) sum += exp(logits[v] / temperatures[k]);
        for (int v = 0; v < 8; v++) {
            const double expected = N * exp(logits[v] / temperatures[k]) / sum;
            chi2 += (count[v] - expected) * (count[v] - expected) / expected;
        }
        CHECK(chi2 < 24.3);                                 // 7 degrees of freedom, 1 in 1000
    }
}

static void test_the_filters_leave_exactly_their_tokens(void) {
    // probabilities 0.4, 0.2, 0.2, 0.1, 0.05, 0.05, in another order
    static const double p[6] = {0.05, 0.2, 0.4, 0.05, 0.1, 0.2};
    static const struct { int top_k; double top_p, min_p; unsigned set; } cases[] = {
        {0, 1, 0, 077}, {1, 1, 0, 004}, {2, 1, 0, 006}, {3, 1, 0, 046}, {4, 1, 0, 066},
        {5, 1, 0, 067}, {6, 1, 0, 077}, {99, 1, 0, 077},
        {0, 0.3, 0, 004}, {0, 0.41, 0, 006}, {0, 0.61, 0, 046}, {0, 0.85, 0, 066},
        {0, 0.92, 0, 067}, {0, 0.96, 0, 077}, {0, 1e-9, 0, 004},
        {0, 1, 0.51, 004}, {0, 1, 0.49, 046}, {0, 1, 0.24, 066}, {0, 1, 0.12, 077}, {0, 1, 1, 004},
        {2, 0.66, 0, 004}, {2, 0.68, 0, 006}, {3, 0.74, 0, 006}, {3, 0.76, 0, 046},
        {5, 0.92, 0.24, 066},
    };
    float logits[6];
    for (int v = 0; v < 6; v++) logits[v] = (float)log(p[v]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sampling s = plain_sampling(1);
        s.top_k = cases[i].top_k;
        s.top_p = cases[i].top_p;
        s.min_p = cases[i].min_p;
        CHECK(support(logits, 6, &s) == cases[i].set);
    }

    // what filters nothing changes nothing
    const Sampling a = plain_sampling(1);
    Sampling b = a;
    b.top_k = 6;
    b.top_p = 0.9999999;
    b.min_p = 1e-6;
    for (int i = 0; i < 1000; i++) CHECK(draw_one(logits, 6, &a, i) == draw_one(logits, 6, &b, i));
}

static void test_ties_go_to_the_smallest_id(void) {
    static const float logits[4] = {1, 2, 2, 2};
    Sampling s = plain_sampling(0);
    CHECK(draw_one(logits, 4, &s, 0) == 1);
    s = plain_sampling(1e-50);
    CHECK(draw_one(logits, 4, &s, 0) == 1);
    s = plain_sampling(1);
    s.top_k = 2;
    CHECK(support(logits, 4, &s) == 006);
    s = plain_sampling(1);
    s.top_p = 0.5;
    CHECK(support(logits, 4, &s) == 006);
}

static void test_a_repetition_is_penalised_once(void) {
    static const int prompt_token[] = {0, 0}, token[] = {2, 0};
    static const float logits[5] = {3, 1.4f, -1, -1.5f, -4}, other[5] = {-1, -1.5f, -1.2f, -5, -5};
    const Prompt p = {.token = prompt_token, .len = 2};
    float x[5], weight[5];
    int heap[5];
    char seen[5] = {0};
    const SampleWork w = {.x = x, .weight = weight, .heap = heap, .seen = seen};
    Sampling s = plain_sampling(0);
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 0);
    s.repetition_penalty = 2;                               // 3/2, 1.4, -2, -1.5, -4
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 0);
    s.repetition_penalty = 3;                               // 1, 1.4, -3, -1.5, -4
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 1);
    s.repetition_penalty = 1.6f;                            // -1.6, -1.5, -1.92, -5, -5
    CHECK(sample_token(other, 5, &s, &p, 0, token, 2, &w) == 1);
    CHECK(x[0] == -1.6f && x[1] == -1.5f && x[2] == -1.2f * 1.6f && x[3] == -5);
    for (int v = 0; v < 5; v++) CHECK(!seen[v]);
}

static void test_logits_that_are_not_finite_are_refused(void) {
    static const float bad[2][3] = {{0, NAN, 1}, {HUGE_VALF, 0, 1}};
    for (int k = 0; k < 4; k++) {
        const Sampling s = plain_sampling(k / 2);
        CHECK(draw_one(bad[k % 2], 3, &s, 0) == -1);
    }
}

// --------------------------------------------------------------------- small models and prompts

static Config small_llama(Family family) {
    return (Config){
        .family = family, .vocab_size = V, .max_positions = POSITIONS, .num_layers = 2,
        .channels = 20, .num_heads = 4, .num_kv_heads = 2, .head_dim = 34, .rotary_dims = 34,
        .hidden = 37, .gated = 1, .activation = ACT_SILU, .rms_norm = 1, .norm_eps = 1e-5f,
        .rope_theta = 10000, .qkv_bias = family == FAMILY_QWEN2, .qk_norm = family == FAMILY_QWEN3,
        .sliding_window = 23, .slides = {family == FAMILY_MISTRAL, family == FAMILY_MISTRAL},
    };
}

static Config small_model(Family family) {
    if (family >= FAMILY_LLAMA) return small_llama(family);
    Config c = {
        .family = family, .vocab_size = V, .max_positions = POSITIONS, .num_layers = 2,
        .channels = 20, .num_heads = 5, .num_kv_heads = 5, .head_dim = 4, .hidden = 37,
        .norm_eps = 1e-5f, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1,
    };
    if (family == FAMILY_GPT2) {
        c.learned_positions = 1;
        c.tied = 1;
        c.activation = ACT_GELU_TANH;
    } else {
        c.rotary_dims = 2;
        c.rope_theta = 10000;
        c.parallel_residual = 1;
        c.activation = ACT_GELU_ERF;
    }
    return c;
}

// A model whose weights are so large that its texts differ.
static void start_model(Model *m, Config c) {
    if (model_init(m, c) < 0) {
        fprintf(stderr, "%s\n", error_text);
        exit(1);
    }
    const Tensor *list = m->tensor;
    for (int k = 0; k < m->num_tensors; k++) {
        for (size_t i = 0; i < list[k].size; i++) {
            const double x = 0.3 * random_normal(3, STREAM_TEST, (uint64_t)k, i);
            m->params_memory[list[k].offset + i] = (float)(list[k].kind == KIND_ONE ? 1 + x : x);
        }
    }
}

// Prompts, some longer than a block of rows in attention, one near the last position.
typedef struct {
    int token[POSITIONS];
    Prompt prompt[PROMPTS];
} Prompts;

static void make_prompts(Prompts *p) {
    static const int len[PROMPTS] = {7, 1, 60, 33, 150, 8};
    for (int i = 0; i < POSITIONS; i++) {
        p->token[i] = (int)random_below(V, 4, STREAM_TEST, 0, (uint64_t)i);
    }
    for (int i = 0; i < PROMPTS; i++) {
        p->prompt[i] = (Prompt){.id = (uint64_t)i, .token = p->token + i, .len = len[i]};
    }
}

typedef struct {
    int token[NEW], n;
    Finish finish;
    double logp;
    float token_logp[NEW];
} Kept;

typedef struct {
    const Prompt *prompt;
    int per_prompt, count;
    Kept text[MAX_TEXTS];                                   // by prompt id and sample
} Texts;

// TakeCompletion: completions come in order of prompt and sample.
static int keep_text(void *context, const Completion *c) {
    Texts *t = context;
    if (c->finish == GOING) return 0;
    CHECK(t->count == c->prompt * t->per_prompt + c->sample);
    t->count++;
    Kept *x = &t->text[t->prompt[c->prompt].id * SAMPLES + (uint64_t)c->sample];
    memcpy(x->token, c->token, (size_t)c->n * sizeof *c->token);
    memcpy(x->token_logp, c->token_logp, (size_t)c->n * sizeof *c->token_logp);
    x->n = c->n;
    x->finish = c->finish;
    x->logp = c->logp;
    return 0;
}

static void make_texts(Texts *t, Model *m, const Prompt *prompt, const Sampling *s) {
    memset(t, 0, sizeof *t);
    t->prompt = prompt;
    t->per_prompt = s->n;
    CHECK(generate(m, NULL, prompt, PROMPTS, s, keep_text, t) == 0);
    CHECK(t->count == PROMPTS * s->n);
}

// 0: the most probable tokens; 1: sampled; 2: filtered
static Sampling varied_sampling(int k) {
    static const int ends[] = {1, 2, 5};
    Sampling s = plain_sampling(k ? 0.9 : 0);
    s.n = SAMPLES;
    s.num_eos = 3;
    s.eos = ends;
    if (k == 2) {
        s.top_k = 12;
        s.top_p = 0.95;
        s.min_p = 0.01;
        s.repetition_penalty = 1.2;
    }
    return s;
}

// ----------------------------------------------------------------------------------- the cache

// The same completion by a forward of the whole text for every token, with the weights as they lie.
static void recompute(Kept *out, Model *m, const Prompt *p, int sample, const Sampling *s) {
    float logits[V], lse, x[V], weight[V];
    int token[POSITIONS], position[POSITIONS], heap[V];
    char seen[V] = {0};
    const SampleWork w = {.x = x, .weight = weight, .heap = heap, .seen = seen};
    memset(out, 0, sizeof *out);
    memcpy(token, p->token, (size_t)p->len * sizeof *token);
    for (int i = 0; i < POSITIONS; i++) position[i] = i;

    while (out->finish == GOING) {
        const int T = p->len + out->n, last = T - 1;
        const Segment seg = {.start = 0, .len = T, .parent = -1};
        model_forward(m, &(Batch){.T = T, .token = token, .position = position, .S = 1,
                                  .seg = &seg});
        model_logits(m, &last, 1, logits, &lse);
        const int t = sample_token(logits, V, s, p, sample, out->token, out->n, &w);
        out->token[out->n] = t;
        out->token_logp[out->n] = logits[t] - lse;
        out->logp += (double)out->token_logp[out->n];
        out->n++;

        const int full = p->len + out->n == POSITIONS;
        const int ended = s->num_eos && (t == 1 || t == 2 || t == 5);
        if (ended) out->finish = FINISH_EOS;
        else if (full || out->n == s->max_new_tokens) out->finish = FINISH_LENGTH;
        else token[T] = t;
    }
}

// Of the completions every so many is computed again; counts how they finished.
static void check_cache(int finished[4], Family family, int precision, const Sampling *s,
                        int every) {
    Prompts p;
    Model m;
    Texts have;
    make_prompts(&p);
    start_model(&m, small_model(family));
    kernels_precision((Precision)precision);
    make_texts(&have, &m, p.prompt, s);
    CHECK(!m.packed_memory);
    for (int i = 0; i < MAX_TEXTS; i += every) {
        Kept want;
        recompute(&want, &m, &p.prompt[i / SAMPLES], i % SAMPLES, s);
        CHECK(!memcmp(&want, &have.text[i], sizeof want));
        finished[want.finish]++;
    }
    kernels_precision(PRECISION_FP32);
    model_free(&m);
}

static void test_a_completion_from_the_cache_is_that_of_full_recomputation(void) {
    static const Family family[] = {FAMILY_NEOX, FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2,
                                    FAMILY_QWEN3, FAMILY_MISTRAL};
    int finished[4] = {0};
    for (int k = 0; k < 36; k++) {                          // families, precisions, samplings
        const Sampling s = varied_sampling(k % 3);
        check_cache(finished, family[k / 6], k / 3 % 2, &s, 1);
    }
    CHECK(finished[FINISH_EOS] > 20 && finished[FINISH_LENGTH] > 20);
}

// a few of them: what an emulated GPU has time for
static void test_so_is_one_in_each_precision_that_the_machine_has(void) {
    static const Family family[NUM_PRECISIONS] = {FAMILY_NEOX, FAMILY_MISTRAL, FAMILY_QWEN3};
    const Sampling s = varied_sampling(2);
    int finished[4] = {0};
    for (int k = PRECISION_FP32; k < NUM_PRECISIONS; k++) {
        if (kernels_precision((Precision)k) < 0) continue;
        check_cache(finished, family[k], k, &s, SAMPLES);
    }
    CHECK(finished[FINISH_LENGTH] > 0);
}

static int same_texts(const Texts *a, const Texts *b) {
    return memcmp(a->text, b->text, sizeof a->text) == 0;
}

static void check_batches_and_order(Model *m, const Prompts *p, const Sampling *s,
                                    const Texts *want) {
    Texts have;
    for (int batch = 1; batch <= 20; batch = batch * 5 / 3 + 1) {
        Sampling other = *s;
        other.batch = batch;
        make_texts(&have, m, p->prompt, &other);
        CHECK(same_texts(&have, want));
    }
    Prompt reversed[PROMPTS];
    for (int i = 0; i < PROMPTS; i++) reversed[i] = p->prompt[PROMPTS - 1 - i];
    make_texts(&have, m, reversed, s);
    CHECK(same_texts(&have, want));
}

static void check_variants_and_threads(Model *m, const Prompts *p, const Sampling *s,
                                       const Texts *want) {
    for (int i = 0; kernels_variant(i); i++) {
        for (int threads = 1; threads <= 3; threads++) {
            Texts have;
            kernels_set_threads(threads);
            CHECK(kernels_init(kernels_variant(i)) == 0);
            make_texts(&have, m, p->prompt, s);
            CHECK(same_texts(&have, want));
        }
    }
    kernels_set_threads(1);
    CHECK(kernels_init(NULL) == 0);
}

// The first of three samples is the one alone; another seed gives other texts.
static void check_samples_and_seeds(Model *m, const Prompts *p, const Sampling *s,
                                    const Texts *want) {
    Texts have;
    Sampling other = *s;
    other.n = 1;
    make_texts(&have, m, p->prompt, &other);
    for (int i = 0; i < MAX_TEXTS; i += SAMPLES) {
        CHECK(!memcmp(&have.text[i], &want->text[i], sizeof *have.text));
    }
    other = *s;
    other.seed++;
    make_texts(&have, m, p->prompt, &other);
    CHECK(!same_texts(&have, want));
}

static void test_a_completion_does_not_depend_on_what_else_is_computed_or_how(void) {
    const Sampling s = varied_sampling(2);
    Prompts p;
    make_prompts(&p);
    for (int k = 0; k < 4; k++) {
        Model m;
        Texts want;
        start_model(&m, small_model(k % 2 ? FAMILY_QWEN3 : FAMILY_NEOX));
        kernels_precision(k / 2);
        make_texts(&want, &m, p.prompt, &s);
        check_batches_and_order(&m, &p, &s, &want);
        check_variants_and_threads(&m, &p, &s, &want);
        check_samples_and_seeds(&m, &p, &s, &want);
        model_free(&m);
    }
    kernels_precision(0);
}

// TakeCompletion; context: the 120 tokens of test/golden, by an independent program in double
// precision.
static int same_story(void *context, const Completion *c) {
    const int *golden = context;
    if (c->finish == GOING) return 0;
    CHECK(c->n == 120 && c->finish == FINISH_LENGTH);
    CHECK(!memcmp(c->token, golden, 120 * sizeof *golden));
    return 0;
}

static void test_a_trained_model_tells_the_story_of_an_independent_program(void) {
    const char *path = "test/golden/stories260K/reference.json";
    int golden[120], n = 0;
    Buffer text = {0};
    Json j = {0};
    CHECK(file_read(&text, path) == 0 && json_parse(&j, text.data, text.len, path) == 0);
    const int ids = json_get(&j, json_get(&j, 0, "greedy_from_bos"), "ids");
    for (int i = json_first(&j, ids); i >= 0 && n < 120; i = json_next(&j, i)) {
        golden[n++] = (int)json_number(&j, i);
    }
    CHECK(n == 120);

    const int begin = 1;
    const Prompt prompt = {.id = 0, .token = &begin, .len = 1};
    Sampling s = plain_sampling(0);
    s.max_new_tokens = 120;
    Model m;
    CHECK(checkpoint_load(&m, "test/golden/stories260K", LOAD_LANGUAGE_MODEL) == 0);
    CHECK(generate(&m, NULL, &prompt, 1, &s, same_story, golden) == 0);
    model_free(&m);
    json_free(&j);
    buffer_free(&text);
}

// --------------------------------------------------------------------------------------- texts

typedef struct {
    char text[4096];
    size_t len;
    int calls;
    Finish finish;
} Told;

// TakeCompletion: what is shown of a text while it grows is the beginning of what it becomes, in
// whole characters.
static int listen(void *context, const Completion *c) {
    Told *t = context;
    size_t i = 0;
    while (i < c->len) {
        uint32_t code;
        const int n = utf8_decode(c->text + i, c->len - i, &code);
        CHECK(n > 0);
        if (n <= 0) return 0;
        i += (size_t)n;
    }
    CHECK(c->len >= t->len && c->len < sizeof t->text && !memcmp(t->text, c->text, t->len));
    memcpy(t->text, c->text, c->len);
    t->len = c->len;
    t->finish = c->finish;
    t->calls++;
    return 0;
}

// The bytes of the first `characters` of s.
static int bytes_of(const char *s, int characters) {
    int i = 0;
    for (int k = 0; k < characters; k++) {
        i++;
        while ((s[i] & 0xc0) == 0x80) i++;
    }
    return i;
}

static const char *first_hit(const Told *t, const char *a, const char *b) {
    const char *hit_a = memmem(t->text, t->len, a, strlen(a));
    const char *hit_b = memmem(t->text, t->len, b, strlen(b));
    return hit_b && hit_b < hit_a ? hit_b : hit_a;
}

static void test_a_text_grows_by_whole_characters_and_ends_before_a_stop_string(void) {
    Prompts p;
    Tokenizer t = {0};
    Model m;
    Config c = small_model(FAMILY_NEOX);
    make_prompts(&p);
    CHECK(tokenizer_of_bytes(&t) == 0);  // bytes: most are no characters
    c.vocab_size = 261;                                     // three rows more than there are pieces
    start_model(&m, c);
    Sampling s = plain_sampling(1);
    s.max_new_tokens = 150;
    Told all = {.len = 0};
    CHECK(generate(&m, &t, p.prompt, 1, &s, listen, &all) == 0 && all.finish == FINISH_LENGTH);
    CHECK(all.len > 100 && all.calls == 150);

    // stop strings: one to five characters of that text, three later ones, one that is not there
    int stopped = 0;
    for (int k = 0; k < 60; k += 4) {
        char early[32], late[32];
        const char *stop[3] = {early, "never", late};
        const char *from = all.text + bytes_of(all.text, k), *later = from + bytes_of(from, 9);
        snprintf(early, sizeof early, "%.*s", bytes_of(from, 1 + k % 5), from);
        snprintf(late, sizeof late, "%.*s", bytes_of(later, 3), later);
        if (!early[0] || !late[0]) continue;
        Told cut = {.len = 0};
        s.stop = stop;
        s.num_stop = 3;
        CHECK(generate(&m, &t, p.prompt, 1, &s, listen, &cut) == 0 && cut.finish == FINISH_STOP);
        CHECK(cut.len == (size_t)(first_hit(&all, early, late) - all.text));
        CHECK(!memcmp(cut.text, all.text, cut.len));
        stopped++;
    }
    CHECK(stopped > 5);
    model_free(&m);
    tokenizer_free(&t);
}

// -------------------------------------------------------------------------------------- errors

static int stop_all(void *context, const Completion *c) {
    (void)context;
    (void)c;
    return fail(EX_IOERR, "enough");
}

static void test_what_cannot_be_generated_is_an_error(void) {
    Prompts p;
    Model m, reward;
    Tokenizer t = {0};
    Config c = small_model(FAMILY_NEOX);
    const Sampling s = plain_sampling(0);
    make_prompts(&p);
    start_model(&m, c);
    c.reward = 1;
    start_model(&reward, c);
    CHECK(generate(&reward, NULL, p.prompt, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "a reward model predicts no tokens"));

    const Prompt full = {.token = p.token, .len = POSITIONS};
    CHECK(generate(&m, NULL, &full, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "prompt 1 has 160 tokens, the model 160 positions; "
                  "--max_prompt_length cuts prompts"));

    CHECK(tokenizer_of_bytes(&t) == 0);
    CHECK(generate(&m, &t, p.prompt, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "the tokenizer has 258 pieces, the model 29"));

    CHECK(generate(&m, NULL, p.prompt, PROMPTS, &s, stop_all, NULL) == -1);
    CHECK(!strcmp(error_text, "enough"));

    m.params.lnfw[3] = NAN;
    CHECK(generate(&m, NULL, p.prompt, 2, &s, stop_all, NULL) == -1);
    CHECK(!strcmp(error_text, "m: the model's logits are not finite after prompt 1: its weights "
                  "are damaged or too large"));
    model_free(&m);
    model_free(&reward);
    tokenizer_free(&t);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    kernels_set_threads(3);                                 // room for as many
    if (kernels_init(NULL) < 0 || kernels_reserve(&(Scratch){.keys = POSITIONS}) < 0) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
    kernels_set_threads(1);
    RUN(test_tokens_have_the_frequencies_of_the_softmax_at_a_temperature);
    RUN(test_the_filters_leave_exactly_their_tokens);
    RUN(test_ties_go_to_the_smallest_id);
    RUN(test_a_repetition_is_penalised_once);
    RUN(test_logits_that_are_not_finite_are_refused);
    RUN(test_a_completion_from_the_cache_is_that_of_full_recomputation);
    RUN(test_so_is_one_in_each_precision_that_the_machine_has);
    RUN(test_a_completion_does_not_depend_on_what_else_is_computed_or_how);
    RUN(test_a_trained_model_tells_the_story_of_an_independent_program);
    RUN(test_a_text_grows_by_whole_characters_and_ends_before_a_stop_string);
    RUN(test_what_cannot_be_generated_is_an_error);
    return test_summary();
}

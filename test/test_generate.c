/* test_generate.c - the sampler against closed forms; completions from the cache against full recomputation,
 * in any batch and order, on any number of threads.  Run from the repository's root.                       */
#include "test.h"
#include "../files/checkpoint.c"
#include "../generate.c"

enum { V = 29, POSITIONS = 160, PROMPTS = 6, SAMPLES = 3, NEW = 24, MAX_TEXTS = PROMPTS*SAMPLES };


// ---------------------------------------------------------------------------------------------- one token

static const Prompt no_prompt = {.id = 3};
static int draw_one(const float *logits, int n, const Sampling *s, int i) {
    float x[64], weight[64];
    int heap[64];
    char seen[64] = {0};
    return sample_token(logits, n, s, &no_prompt, 0, NULL, i, &(SampleWork){x, weight, heap, seen});
}
// the tokens that are ever drawn, as bits
static unsigned support(const float *logits, int n, const Sampling *s) {
    unsigned set = 0;
    for (int i = 0; i < 3000; i++) set |= 1u << draw_one(logits, n, s, i);
    return set;
}
static Sampling plain(double temperature) {
    return (Sampling){.temperature = temperature, .top_p = 1, .repetition_penalty = 1, .seed = 5, .n = 1,
                      .max_new_tokens = NEW, .batch = 16, .eos = {-1, -1}};
}

static void test_tokens_have_the_frequencies_of_the_softmax_at_a_temperature(void) {
    static const float logits[8] = {1, -0.5f, 0.3f, 2, 0, -3, 1.5f, 1};
    static const double temperatures[] = {1, 0.7, 2};
    enum { N = 40000 };
    for (int k = 0; k < 3; k++) {
        const Sampling s = plain(temperatures[k]);
        double count[8] = {0}, sum = 0, chi2 = 0;
        for (int i = 0; i < N; i++) count[draw_one(logits, 8, &s, i)]++;
        for (int v = 0; v < 8; v++) sum += exp(logits[v] / temperatures[k]);
        for (int v = 0; v < 8; v++) {
            double expected = N * exp(logits[v] / temperatures[k]) / sum;
            chi2 += (count[v] - expected) * (count[v] - expected) / expected;
        }
        CHECK(chi2 < 24.3);                                           // 7 degrees of freedom, 1 in 1000
    }
}

static void test_the_filters_leave_exactly_their_tokens(void) {
    // probabilities 0.4, 0.2, 0.2, 0.1, 0.05, 0.05, in another order
    const double p[6] = {0.05, 0.2, 0.4, 0.05, 0.1, 0.2};
    float logits[6];
    for (int v = 0; v < 6; v++) logits[v] = (float)log(p[v]);
    static const struct { int top_k; double top_p, min_p; unsigned set; } cases[] = {
        {0, 1, 0, 077}, {1, 1, 0, 004}, {2, 1, 0, 006}, {3, 1, 0, 046}, {4, 1, 0, 066}, {5, 1, 0, 067},
        {6, 1, 0, 077}, {99, 1, 0, 077},
        {0, 0.3, 0, 004}, {0, 0.41, 0, 006}, {0, 0.61, 0, 046}, {0, 0.85, 0, 066}, {0, 0.92, 0, 067},
        {0, 0.96, 0, 077}, {0, 1e-9, 0, 004},
        {0, 1, 0.51, 004}, {0, 1, 0.49, 046}, {0, 1, 0.24, 066}, {0, 1, 0.12, 077}, {0, 1, 1, 004},
        {2, 0.66, 0, 004}, {2, 0.68, 0, 006}, {3, 0.74, 0, 006}, {3, 0.76, 0, 046},      // of what top-k left
        {5, 0.92, 0.24, 066}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Sampling s = plain(1);
        s.top_k = cases[i].top_k, s.top_p = cases[i].top_p, s.min_p = cases[i].min_p;
        CHECK(support(logits, 6, &s) == cases[i].set);
    }
    Sampling a = plain(1), b = plain(1);                              // what filters nothing changes nothing
    b.top_k = 6, b.top_p = 0.9999999, b.min_p = 1e-6;
    for (int i = 0; i < 1000; i++) CHECK(draw_one(logits, 6, &a, i) == draw_one(logits, 6, &b, i));
}

static void test_ties_go_to_the_smallest_id(void) {
    static const float logits[4] = {1, 2, 2, 2};
    Sampling s = plain(0);
    CHECK(draw_one(logits, 4, &s, 0) == 1);
    s.temperature = 1e-50;
    CHECK(draw_one(logits, 4, &s, 0) == 1);
    s.temperature = 1, s.top_k = 2;
    CHECK(support(logits, 4, &s) == 006);
    s.top_k = 0, s.top_p = 0.5;
    CHECK(support(logits, 4, &s) == 006);
}

static void test_a_repetition_is_penalised_once(void) {
    static const int prompt_token[] = {0, 0}, token[] = {2, 0};
    static const float logits[5] = {3, 1.4f, -1, -1.5f, -4}, other[5] = {-1, -1.5f, -1.2f, -5, -5};
    float x[5], weight[5];
    int heap[5];
    char seen[5] = {0};
    const SampleWork w = {x, weight, heap, seen};
    const Prompt p = {0, prompt_token, 2};
    Sampling s = plain(0);
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 0);
    s.repetition_penalty = 2;                                         // 3/2, 1.4, -2, -1.5, -4
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 0);
    s.repetition_penalty = 3;                                         // 1, 1.4, -3, -1.5, -4
    CHECK(sample_token(logits, 5, &s, &p, 0, token, 2, &w) == 1);
    s.repetition_penalty = 1.6f;                                      // -1.6, -1.5, -1.92
    CHECK(sample_token(other, 5, &s, &p, 0, token, 2, &w) == 1);
    CHECK(x[0] == -1.6f && x[1] == -1.5f && x[2] == -1.2f * 1.6f && x[3] == -5);
    for (int v = 0; v < 5; v++) CHECK(!seen[v]);
}

static void test_logits_that_are_not_finite_are_refused(void) {
    static const float bad[2][3] = {{0, NAN, 1}, {HUGE_VALF, 0, 1}};
    for (int k = 0; k < 4; k++) {
        Sampling s = plain(k / 2);
        CHECK(draw_one(bad[k % 2], 3, &s, 0) == -1);
    }
}

// ------------------------------------------------------------------------------------------------ the models

static Config config(Family family) {
    Config c = {.family = family, .vocab_size = V, .channels = 20, .num_layers = 2, .num_heads = 5,
                .num_kv_heads = 5, .head_dim = 4, .hidden = 37, .max_positions = POSITIONS, .rotary_dims = 2,
                .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .norm_eps = 1e-5f,
                .activation = ACT_GELU_ERF, .rope_theta = 10000};
    if (family == FAMILY_GPT2) c.rotary_dims = 0, c.parallel_residual = 0, c.learned_positions = 1;
    if (family == FAMILY_GPT2) c.tied = 1, c.activation = ACT_GELU_TANH;
    if (family < FAMILY_LLAMA) return c;
    return (Config){.family = family, .vocab_size = V, .channels = 20, .num_layers = 2, .num_heads = 4,
                    .num_kv_heads = 2, .head_dim = 34, .hidden = 37, .max_positions = POSITIONS,
                    .rotary_dims = 34, .rms_norm = 1, .gated = 1, .norm_eps = 1e-5f, .activation = ACT_SILU,
                    .rope_theta = 10000, .qkv_bias = family == FAMILY_QWEN2,
                    .qk_norm = family == FAMILY_QWEN3};
}
static void start(Model *m, Config c) {
    static Tensor list[MAX_TENSORS];
    Params p;
    int count;
    if (model_init(m, c) < 0) fprintf(stderr, "%s\n", error_text), exit(1);
    params_layout(&p, &m->config, NULL, list, &count);
    for (int k = 0; k < count; k++)
        for (size_t i = 0; i < list[k].size; i++) {
            double x = 0.3 * random_normal(3, STREAM_TEST, (uint64_t)k, i);
            m->params_memory[list[k].offset + i] = (float)(list[k].kind == KIND_ONE ? 1 + x : x);
        }
}

static int tokens[POSITIONS];
static Prompt prompts[PROMPTS];                          // some longer than a block of rows, one near the end
static void make_prompts(void) {
    static const int len[PROMPTS] = {7, 1, 60, 33, 150, 8};
    for (int i = 0; i < POSITIONS; i++) tokens[i] = (int)random_below(V, 4, STREAM_TEST, 0, (uint64_t)i);
    for (int i = 0; i < PROMPTS; i++) prompts[i] = (Prompt){(uint64_t)i, tokens + i, len[i]};
}

typedef struct { int token[NEW], n; Finish finish; double logp; } Kept;
typedef struct { Kept text[MAX_TEXTS]; int count, per_prompt; const Prompt *prompt; } Texts;

// by prompt id and sample, whatever the order they came in
static int keep(void *context, const Completion *c) {
    Texts *t = context;
    if (!c->finish) return 0;
    CHECK(t->count++ == c->prompt * t->per_prompt + c->sample);
    Kept *x = &t->text[t->prompt[c->prompt].id * SAMPLES + (uint64_t)c->sample];
    memcpy(x->token, c->token, (size_t)c->n * sizeof(int));
    x->n = c->n, x->finish = c->finish, x->logp = c->logp;
    return 0;
}
static Texts texts_of(Model *m, const Prompt *prompt, const Sampling *s) {
    static Texts t;
    t = (Texts){.prompt = prompt, .per_prompt = s->n};
    CHECK(generate(m, NULL, prompt, PROMPTS, s, keep, &t) == 0 && t.count == PROMPTS * s->n);
    return t;
}
static Sampling settings(int k) {
    Sampling s = plain(k ? 0.9 : 0);
    s.n = SAMPLES, s.eos[0] = 1, s.eos[1] = 2;
    if (k == 2) s.top_k = 12, s.top_p = 0.95, s.min_p = 0.01, s.repetition_penalty = 1.2;
    return s;
}

// ------------------------------------------------------------------------------------------------ the cache

// the same completion by a forward of the whole text for every token, with the weights as they lie
static void recompute(Model *m, const Prompt *p, int sample, const Sampling *s, Kept *out) {
    static float logits[V], lse, x[V], weight[V];
    static int token[POSITIONS], position[POSITIONS], heap[V];
    static char seen[V];
    const SampleWork w = {x, weight, heap, seen};
    memset(out, 0, sizeof *out);
    memcpy(token, p->token, (size_t)p->len * sizeof *token);
    for (int i = 0; i < POSITIONS; i++) position[i] = i;
    while (!out->finish) {
        const int T = p->len + out->n, last = T - 1;
        const Segment seg = {0, T, -1};
        model_forward(m, &(Batch){.T = T, .token = token, .position = position, .S = 1, .seg = &seg});
        model_logits(m, &last, 1, logits, &lse);
        int t = token[T] = sample_token(logits, V, s, p, sample, out->token, out->n, &w);
        out->token[out->n++] = t, out->logp += (double)(logits[t] - lse);
        if (t == s->eos[0] || t == s->eos[1]) out->finish = FINISH_EOS;
        else if (out->n == s->max_new_tokens || p->len + out->n == POSITIONS) out->finish = FINISH_LENGTH;
    }
}
static void test_a_completion_from_the_cache_is_that_of_full_recomputation(void) {
    static const Family families[] = {FAMILY_NEOX, FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3};
    int finished[4] = {0};
    for (int k = 0; k < 30; k++) {
        Model m;
        Kept want;
        const Sampling s = settings(k % 3);
        start(&m, config(families[k / 6]));
        kernels_precision(k / 3 % 2);
        const Texts t = texts_of(&m, prompts, &s);
        CHECK(!m.packed_memory);
        for (int i = 0; i < MAX_TEXTS; i++) {
            recompute(&m, &prompts[i / SAMPLES], i % SAMPLES, &s, &want);
            CHECK(!memcmp(&want, &t.text[i], sizeof want));
            finished[want.finish]++;
        }
        model_free(&m);
    }
    kernels_precision(0);
    CHECK(finished[FINISH_EOS] > 20 && finished[FINISH_LENGTH] > 20);
}

static void test_a_completion_does_not_depend_on_what_else_is_computed_or_how(void) {
    static const int threads[] = {1, 2, 3};
    static Texts want, one;
    for (int k = 0; k < 4; k++) {
        Model m;
        Sampling s = settings(2);
        Prompt reversed[PROMPTS];
        start(&m, config(k % 2 ? FAMILY_QWEN3 : FAMILY_NEOX));
        kernels_precision(k / 2);
        want = texts_of(&m, prompts, &s);
        for (int batch = 1; batch <= 20; batch = batch * 5 / 3 + 1) {
            s.batch = batch;
            one = texts_of(&m, prompts, &s);
            CHECK(!memcmp(one.text, want.text, sizeof one.text));
        }
        for (int i = 0; i < PROMPTS; i++) reversed[i] = prompts[PROMPTS - 1 - i];
        one = texts_of(&m, reversed, &s);
        CHECK(!memcmp(one.text, want.text, sizeof one.text));
        for (int i = 0; kernels_variant(i / 3); i++) {
            kernels_set_threads(threads[i % 3]);
            CHECK(kernels_init(kernels_variant(i / 3)) == 0);
            one = texts_of(&m, prompts, &s);
            CHECK(!memcmp(one.text, want.text, sizeof one.text));
        }
        kernels_set_threads(1);
        CHECK(kernels_init(NULL) == 0);
        s.n = 1;                                                      // the first of three is the one alone
        one = texts_of(&m, prompts, &s);
        for (int i = 0; i < MAX_TEXTS; i += SAMPLES)
            CHECK(!memcmp(&one.text[i], &want.text[i], sizeof *one.text));
        s.n = SAMPLES, s.seed++;
        one = texts_of(&m, prompts, &s);
        CHECK(memcmp(one.text, want.text, sizeof one.text));
        model_free(&m);
    }
    kernels_precision(0);
}

// test/golden: 120 tokens by an independent program in double precision
static int *golden_memory;
static int same_story(void *context, const Completion *c) {
    (void)context;
    if (!c->finish) return 0;
    CHECK(c->n == 120 && c->finish == FINISH_LENGTH && !memcmp(c->token, golden_memory, 120 * sizeof(int)));
    return 0;
}
static void test_a_trained_model_tells_the_story_of_an_independent_program(void) {
    static const int begin = 1;
    const char *path = "test/golden/stories260K/reference.json";
    Model m;
    Buffer text = {0};
    Json j = {0};
    int n = 0;
    golden_memory = allocate(120, sizeof *golden_memory);
    CHECK(golden_memory && file_read(&text, path) == 0 && json_parse(&j, text.data, text.len, path) == 0);
    int ids = json_get(&j, json_get(&j, 0, "greedy_from_bos"), "ids");
    for (int i = json_first(&j, ids); i >= 0 && n < 120; i = json_next(&j, i))
        golden_memory[n++] = (int)json_number(&j, i);
    CHECK(n == 120 && checkpoint_load(&m, "test/golden/stories260K", LOAD_LANGUAGE_MODEL) == 0);
    Sampling s = plain(0);
    s.max_new_tokens = 120;
    CHECK(generate(&m, NULL, &(Prompt){0, &begin, 1}, 1, &s, same_story, NULL) == 0);
    model_free(&m), json_free(&j), buffer_free(&text), free(golden_memory);
}

// --------------------------------------------------------------------------------------------------- texts

typedef struct { char text[4096]; size_t len, seen, calls; Finish finish; } Told;

// what is shown of a text while it grows is the beginning of what it becomes, in whole characters
static int listen(void *context, const Completion *c) {
    Told *t = context;
    uint32_t code;
    for (size_t i = 0, n; i < c->len; i += n) {
        n = (size_t)utf8_decode(c->text + i, c->len - i, &code);
        CHECK(n > 0);
        if (!n) return 0;
    }
    CHECK(c->len >= t->seen && c->len < sizeof t->text && !memcmp(t->text, c->text, t->seen));
    memcpy(t->text, c->text, c->len);
    t->seen = t->len = c->len, t->finish = c->finish, t->calls++;
    return 0;
}
static size_t bytes_of(const char *s, int characters) {
    size_t i = 0;
    for (; characters > 0; characters--) for (i++; (s[i] & 0xc0) == 0x80; i++) ;
    return i;
}
static void test_a_text_grows_by_whole_characters_and_ends_before_a_stop_string(void) {
    Tokenizer t = {0};
    Model m;
    Config c = config(FAMILY_NEOX);
    Told all = {.len = 0}, cut;
    int stopped = 0;
    CHECK(tokenizer_learn(&t, "", &(size_t){0}, 1, 258) == 0);        // bytes: most are no characters
    c.vocab_size = 261;                                               // three rows more than there are pieces
    start(&m, c);
    Sampling s = plain(1);
    s.max_new_tokens = 150;
    CHECK(generate(&m, &t, prompts, 1, &s, listen, &all) == 0 && all.finish == FINISH_LENGTH);
    CHECK(all.len > 100 && all.calls == 150);
    for (int k = 0; k < 60; k += 4) {
        char stop[3][32] = {"", "never", ""};
        const char *list[3] = {stop[0], stop[1], stop[2]};
        const char *from = all.text + bytes_of(all.text, k), *later = from + bytes_of(from, 9);
        snprintf(stop[0], 32, "%.*s", (int)bytes_of(from, 1 + k % 5), from);
        snprintf(stop[2], 32, "%.*s", (int)bytes_of(later, 3), later);
        if (!stop[0][0] || !stop[2][0]) continue;
        const char *hit = memmem(all.text, all.len, stop[0], strlen(stop[0]));
        const char *other = memmem(all.text, all.len, stop[2], strlen(stop[2]));
        if (other && other < hit) hit = other;
        cut = (Told){.len = 0}, s.stop = list, s.num_stop = 3;
        CHECK(generate(&m, &t, prompts, 1, &s, listen, &cut) == 0 && cut.finish == FINISH_STOP);
        CHECK(cut.len == (size_t)(hit - all.text) && !memcmp(cut.text, all.text, cut.len));
        stopped++;
    }
    CHECK(stopped > 5);
    model_free(&m), tokenizer_free(&t);
}

// ---------------------------------------------------------------------------------------------------- errors

static int stop_all(void *context, const Completion *c) {
    (void)context, (void)c;
    return fail(EX_IOERR, "enough");
}
static void test_what_cannot_be_generated_is_an_error(void) {
    Model m, reward;
    Tokenizer t = {0};
    Config c = config(FAMILY_NEOX);
    Sampling s = plain(0);
    Prompt p = {0, tokens, POSITIONS};
    start(&m, c);
    c.reward = 1;
    start(&reward, c);
    CHECK(generate(&reward, NULL, prompts, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "a reward model predicts no tokens"));
    CHECK(generate(&m, NULL, &p, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "prompt 1 has 160 tokens, the model 160 positions; --max_prompt_length cuts "
                  "prompts"));
    CHECK(tokenizer_learn(&t, "", &(size_t){0}, 1, 258) == 0);
    CHECK(generate(&m, &t, prompts, 1, &s, listen, NULL) == -1);
    CHECK(!strcmp(error_text, "the tokenizer has 258 pieces, the model 29"));
    CHECK(generate(&m, NULL, prompts, PROMPTS, &s, stop_all, NULL) == -1 && !strcmp(error_text, "enough"));
    m.params.lnfw[3] = NAN;
    CHECK(generate(&m, NULL, prompts, 2, &s, stop_all, NULL) == -1);
    CHECK(!strcmp(error_text, "prompt 1: the model's logits are not finite"));
    model_free(&m), model_free(&reward), tokenizer_free(&t);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    kernels_set_threads(3);                                                   // room for as many
    if (kernels_init(NULL) < 0 || attention_reserve(POSITIONS) < 0)
        return fprintf(stderr, "%s\n", error_text), 1;
    kernels_set_threads(1);
    make_prompts();
    RUN(test_tokens_have_the_frequencies_of_the_softmax_at_a_temperature);
    RUN(test_the_filters_leave_exactly_their_tokens);
    RUN(test_ties_go_to_the_smallest_id);
    RUN(test_a_repetition_is_penalised_once);
    RUN(test_logits_that_are_not_finite_are_refused);
    RUN(test_a_completion_from_the_cache_is_that_of_full_recomputation);
    RUN(test_a_completion_does_not_depend_on_what_else_is_computed_or_how);
    RUN(test_a_trained_model_tells_the_story_of_an_independent_program);
    RUN(test_a_text_grows_by_whole_characters_and_ends_before_a_stop_string);
    RUN(test_what_cannot_be_generated_is_an_error);
    return test_summary();
}

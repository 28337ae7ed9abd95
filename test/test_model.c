/* test_model.c - the whole model on packed texts: what may not change a score or gradient,
 * what must, the numbers of other programs' models, and twenty training steps.  Run from the
 * repository's root. */
#include "test.h"
#include <unistd.h>
#include "../files/checkpoint.c"
#include "../batch.c"

#define GOLDEN "test/golden/"

static int same_bits(const float *a, const float *b, size_t n) {
    return !memcmp(a, b, n * sizeof *a);
}

// the test can go no further
static void give_up(void) {
    fprintf(stderr, "%s\n", error_text);
    exit(1);
}

// ------------------------------------------------------------------------------------ models

enum { VOCAB = 29, MAX_ROWS = 1200, MAX_TEXTS = 32 };

static Config neox(int reward, Pooling pooling) {
    return (Config){
        .family = FAMILY_NEOX, .vocab_size = VOCAB, .channels = 20, .num_layers = 2,
        .num_heads = 5, .num_kv_heads = 5, .head_dim = 4, .hidden = 37, .max_positions = 160,
        .rotary_dims = 2, .rope_theta = 10000, .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1,
        .mlp_bias = 1, .norm_eps = 1e-5f, .activation = ACT_GELU_ERF,
        .reward = reward, .pooling = pooling,
    };
}

static Config llama(int reward, Pooling pooling) {
    return (Config){
        .family = FAMILY_LLAMA, .vocab_size = VOCAB, .channels = 20, .num_layers = 2,
        .num_heads = 4, .num_kv_heads = 2, .head_dim = 6, .hidden = 37, .max_positions = 160,
        .rotary_dims = 6, .rope_theta = 10000, .rms_norm = 1, .gated = 1, .norm_eps = 1e-5f,
        .activation = ACT_SILU,
        .reward = reward, .pooling = pooling,
    };
}

static Config gpt2(int reward, Pooling pooling) {
    Config c = neox(reward, pooling);
    c.family = FAMILY_GPT2;
    c.rotary_dims = 0;
    c.parallel_residual = 0;
    c.learned_positions = 1;
    c.tied = 1;
    c.activation = ACT_GELU_TANH;
    return c;
}

static Config qwen3(int reward, Pooling pooling) {
    Config c = llama(reward, pooling);
    c.family = FAMILY_QWEN3;
    c.qk_norm = 1;
    return c;
}

// A window shorter than most prompts, in the second layer.
static Config windowed(int reward, Pooling pooling) {
    Config c = llama(reward, pooling);
    c.family = FAMILY_QWEN2;
    c.qkv_bias = 1;
    c.sliding_window = 23;
    c.slides[1] = 1;
    return c;
}

static Config olmo2(int reward, Pooling pooling) {
    Config c = llama(reward, pooling);
    c.family = FAMILY_OLMO2;
    c.post_norm = 1;
    c.qk_norm = 1;
    c.qk_wide = 1;
    return c;
}

typedef Config MakeConfig(int reward, Pooling pooling);
static MakeConfig *const config_of[] = {neox, llama, gpt2, qwen3, windowed, olmo2};
enum { FAMILIES = sizeof config_of / sizeof *config_of };

// Checks a language model and a reward model of each family.
static void each_model(void (*check)(Config c)) {
    for (int f = 0; f < FAMILIES; f++) {
        check(config_of[f](0, POOL_LAST));
        check(config_of[f](1, POOL_LAST));
    }
}

// Adapters in every linear layer; of the LLaMAs not for the keys.
static Config with_adapters(Config c) {
    const int apart = config_is_llama(&c);
    c.lora_r = 3;
    c.lora_alpha = 4;
    for (int k = SITE_QKV; k < NUM_SITES; k++) c.lora[k] = 1;
    c.lora[SITE_Q] = (char)apart;
    c.lora[SITE_V] = (char)apart;
    c.lora[SITE_QKV] = (char)!apart;
    c.lora[SITE_GATE] = (char)apart;
    return c;
}
static void each_adapted(void (*check)(Config c)) {
    for (int f = 0; f < FAMILIES; f++) {
        check(with_adapters(config_of[f](0, POOL_LAST)));
        check(with_adapters(config_of[f](1, POOL_LAST)));
    }
}

// Checks a reward model with each pooling, of each family.
static void each_pooling(void (*check)(Config c)) {
    for (int f = 0; f < FAMILIES; f++) {
        check(config_of[f](1, POOL_LAST));
        check(config_of[f](1, POOL_EOS));
        check(config_of[f](1, POOL_MEAN));
    }
}

// All weights drawn, biases and head too.
static void set_weights(Model *m) {
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        for (size_t i = 0; i < t->size; i++) {
            const double x = 0.2 * random_normal(3, STREAM_TEST, (uint64_t)k, i);
            m->params_memory[t->offset + i] = (float)(t->kind == KIND_ONE ? 1 + x : x);
        }
    }
}

static void start_for(Model *m, Config c, Purpose purpose) {
    if (model_init(m, c) < 0) give_up();
    m->recompute = purpose == RECOMPUTING;
    m->freeze = purpose == TRAINING_HEAD;
    if (purpose != SCORING && model_init_training(m) < 0) give_up();
    if (model_reserve(m, MAX_ROWS, MAX_TEXTS) < 0) give_up();
    set_weights(m);
}
static void start(Model *m, Config c) { start_for(m, c, SCORING); }
static void start_training(Model *m, Config c) { start_for(m, c, TRAINING); }

// ----------------------------------------------------------------------- records, and scores

// Prompts of 0 to 80 tokens with one to three answers of 1 to 60: some longer than a block of
// rows in attention.  Made once, by make_data.
enum { RECORDS = 7, TEXTS = 14 };
static const int prompt_len[RECORDS] = {60, 1, 80, 2, 0, 33, 5};
static const int answers_of[RECORDS] = {2, 2, 3, 1, 2, 2, 2};
static const int in_order[RECORDS] = {0, 1, 2, 3, 4, 5, 6};
static const int reversed[RECORDS] = {6, 5, 4, 3, 2, 1, 0};
enum { THREE_ANSWERS = 2 };                       // a record's number

static int     tokens[4000];
static Answer  answer[TEXTS];
static Record  record[RECORDS];
static Dataset data = {.token = tokens, .record = record, .answer = answer};

static Span draw_tokens(int len) {
    const Span s = {data.num_tokens, len};
    for (int i = 0; i < len; i++) {
        const size_t at = data.num_tokens;
        tokens[at] = 2 + (int)random_below(VOCAB - 2, 4, STREAM_TEST, 0, at);
        data.num_tokens++;
    }
    return s;
}

static void make_data(void) {
    for (int i = 0; i < RECORDS; i++) {
        record[i].prompt = draw_tokens(prompt_len[i]);
        record[i].first = (int)data.num_answers;
        record[i].count = answers_of[i];
        for (int k = 0; k < answers_of[i]; k++) {
            answer[data.num_answers].tokens = draw_tokens(1 + (17*i + 29*k) % 60);
            data.num_answers++;
        }
        data.num_records++;
    }
}

// n records, number[0] first
static void pack_records(Pack *p, const int *number, int n, Pooling pooling, int eos) {
    pack_clear(p);
    for (int i = 0; i < n; i++) {
        if (pack_record(p, &data, &record[number[i]], pooling, eos) < 0) give_up();
    }
}

// answer k of a record as one segment with its prompt, which is not shared then
static void pack_flat(Pack *p, const Record *r, int k) {
    Pack alone = {0};
    Record with_one = *r;
    with_one.first += k;
    with_one.count = 1;
    pack_clear(p);
    if (pack_record(&alone, &data, &with_one, POOL_LAST, 0) < 0) give_up();
    if (pack_room(p, (size_t)alone.T, 1, 1) < 0) give_up();
    for (int t = 0; t < alone.T; t++) {
        pack_row(p, alone.token[t], alone.position[t], alone.target[t]);
    }
    p->seg[0] = (Segment){.start = 0, .len = p->T, .parent = -1};
    p->text[0] = alone.text[0];
    p->S = 1;
    p->B = 1;
    pack_free(&alone);
}

// Of a micro-batch: rewards, or log-probabilities.
typedef struct {
    float logp[MAX_ROWS], reward[MAX_TEXTS];
} Scores;

static void score(Scores *s, Model *m, const Pack *p) {
    const Batch b = pack_batch(p);
    model_forward(m, &b);
    if (m->config.reward) {
        model_rewards(m, &b, s->reward, NULL);
    } else if (model_logp(m, &b, s->logp) < 0) {
        give_up();
    }
}

// ----------------------------------------------------------------------------------- packing

static const int packed_tokens[] = {11, 12, 13, 21, 22, 31};

// Token, position and target of each row.
static void check_rows(const Pack *p, int T, const int *token, const int *position,
                       const int *target) {
    CHECK(p->T == T);
    for (int t = 0; t < T; t++) {
        CHECK(p->token[t] == token[t]);
        CHECK(p->position[t] == position[t]);
        CHECK(p->target[t] == target[t]);
    }
}

static int is_segment(Segment s, int first, int len, int parent) {
    return s.start == first && s.len == len && s.parent == parent;
}
static int is_text(Text t, int first, int len, int pooled) {
    return t.first == first && t.len == len && t.pooled == pooled;
}

static void test_a_record_is_packed_with_its_prompt_once_and_one_target_a_row(void) {
    int token[6];
    memcpy(token, packed_tokens, sizeof token);
    Answer two[] = {{.tokens = {3, 2}}, {.tokens = {5, 1}}};
    const Dataset d = {.token = token, .answer = two};
    const Record r = {.prompt = {0, 3}, .first = 0, .count = 2};
    Pack p = {0};

    CHECK(pack_record(&p, &d, &r, POOL_LAST, 9) == 0 && p.S == 3 && p.B == 2);
    CHECK(record_rows(&d, &r, POOL_LAST) == 7);
    check_rows(&p, 7, (int[]){11, 12, 13, 21, 22, 13, 31}, (int[]){0, 1, 2, 3, 4, 2, 3},
               (int[]){-1, -1, 21, 22, 9, 31, 9});
    CHECK(is_segment(p.seg[0], 0, 2, -1));
    CHECK(is_segment(p.seg[1], 2, 3, 0));
    CHECK(is_segment(p.seg[2], 5, 2, 0));
    CHECK(is_text(p.text[0], 3, 2, 4));
    CHECK(is_text(p.text[1], 6, 1, 6));

    // with a row for the end of text, where the reward is read
    pack_clear(&p);
    CHECK(pack_record(&p, &d, &r, POOL_EOS, 9) == 0 && p.S == 3 && p.B == 2);
    CHECK(record_rows(&d, &r, POOL_EOS) == 9);
    check_rows(&p, 9, (int[]){11, 12, 13, 21, 22, 9, 13, 31, 9},
               (int[]){0, 1, 2, 3, 4, 5, 2, 3, 4}, (int[]){-1, -1, 21, 22, 9, -1, 31, 9, -1});
    CHECK(is_text(p.text[0], 3, 2, 5));
    CHECK(p.text[1].pooled == 8);
    pack_free(&p);
}

static void test_a_document_is_cut_into_windows_in_which_every_token_is_a_target_once(void) {
    int token[5];
    memcpy(token, packed_tokens, sizeof token);
    Answer one[] = {{.tokens = {3, 2}}};
    const Dataset d = {.token = token, .answer = one};
    const Record r = {.prompt = {0, 3}, .first = 0, .count = 1};
    const Record prompt_alone = {.prompt = {0, 3}};
    Pack p = {0};

    CHECK(document_rows(&d, &r) == 6 && document_rows(&d, &prompt_alone) == 4);
    CHECK(pack_window(&p, &d, &r, 0, 4, 9) == 0 && pack_window(&p, &d, &r, 4, 4, 9) == 0);
    CHECK(p.S == 2 && p.B == 0 && is_segment(p.seg[1], 4, 2, -1));
    check_rows(&p, 6, (int[]){9, 11, 12, 13, 21, 22}, (int[]){0, 1, 2, 3, 0, 1},
               (int[]){11, 12, 13, 21, 22, 9});

    pack_clear(&p);
    CHECK(pack_window(&p, &d, &prompt_alone, 0, 9, 9) == 0);
    CHECK(p.T == 4 && p.token[3] == 13 && p.target[3] == 9);
    pack_free(&p);
}

// ------------------------------------------------ what may not change a score, and what must

// All records in one micro-batch, then each record alone.
static void check_scores_alone(Config c, const int *order) {
    Model m;
    Pack p = {0}, alone = {0};
    Scores all, one;
    start(&m, c);
    pack_records(&p, order, RECORDS, POOL_LAST, 0);
    CHECK(p.T > LOGITS_ROWS + 50 && p.T <= MAX_ROWS && p.B == TEXTS);   // two chunks of logits
    score(&all, &m, &p);
    int row = 0, text = 0;                        // of the record in the large micro-batch
    for (int i = 0; i < RECORDS; i++) {
        pack_records(&alone, order + i, 1, POOL_LAST, 0);
        score(&one, &m, &alone);
        if (c.reward) {
            CHECK(same_bits(all.reward + text, one.reward, (size_t)alone.B));
        } else {
            CHECK(same_bits(all.logp + row, one.logp, (size_t)alone.T));
        }
        row += alone.T;
        text += alone.B;
    }
    for (int i = 1; i < TEXTS && c.reward; i++) CHECK(all.reward[i] != all.reward[i-1]);
    pack_free(&p);
    pack_free(&alone);
    model_free(&m);
}
static void check_scores_alone_in_two_orders(Config c) {
    check_scores_alone(c, in_order);
    check_scores_alone(c, reversed);
}

static void test_a_text_scores_the_same_bits_alone_and_among_any_neighbours_in_any_order(void) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        kernels_precision(bf16);
        each_model(check_scores_alone_in_two_orders);
        each_adapted(check_scores_alone_in_two_orders);
    }
    kernels_precision(0);
}

// Gradients of sum_b c_b reward_b, or of sum_t c_t logp_t, from micro-batches of `size` records.
static void compute_gradients(Model *m, int size) {
    const int reward = m->config.reward;
    float c[MAX_ROWS];
    Pack p = {0};
    int values = 0;                               // rewards or rows of the micro-batches before
    model_zero_grads(m);
    for (int i = 0; i < RECORDS; i += size) {
        pack_records(&p, in_order + i, min_int(size, RECORDS - i), m->config.pooling, 0);
        for (int t = 0; t < p.T; t++) {
            c[t] = (float)random_normal(8, STREAM_TEST, 0, (uint64_t)(values + t));
        }
        const Batch b = pack_batch(&p);
        model_forward(m, &b);
        if (model_backward(m, &b, reward ? c : NULL, reward ? NULL : c, NULL) < 0) give_up();
        values += reward ? p.B : p.T;
    }
    model_finish_grads(m);
    pack_free(&p);
}

// What stands in the memory of gradients from the step before, here no numbers, is not in them.
static void test_gradients_hold_nothing_of_the_step_before_even_without_a_backward(void) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        Model m;
        kernels_precision(bf16);
        start_training(&m, config_of[0](1, POOL_LAST));
        const size_t n = m.num_trained, size = n * sizeof(float);
        float *first = allocate(n, sizeof *first);
        if (!first) give_up();
        compute_gradients(&m, 2);
        memcpy(first, m.grads_memory, size);
        for (size_t i = 0; i < n; i++) m.grads_memory[i] = NAN;
        compute_gradients(&m, 2);
        CHECK(!memcmp(first, m.grads_memory, size));

        model_zero_grads(&m);
        model_finish_grads(&m);
        size_t zeros = 0;
        for (size_t i = 0; i < n; i++) zeros += m.grads_memory[i] == 0;
        CHECK(zeros == n);
        free(first);
        model_free(&m);
    }
    kernels_precision(0);
}

// the gradients of all records at once, and a copy
static float *gradients_at_once(Model *m) {
    float *copy = allocate(m->num_trained, sizeof *copy);
    if (!copy) give_up();
    compute_gradients(m, RECORDS);
    memcpy(copy, m->grads_memory, m->num_trained * sizeof *copy);
    return copy;
}

static void check_sizes_of_micro_batches(Model *m, const float *want) {
    for (int size = 1; size < RECORDS; size *= 2) {
        compute_gradients(m, size);
        CHECK(same_bits(m->grads_memory, want, m->num_trained));
    }
}

static void check_gradients(Config c) {
    Model m;
    c.pooling = c.family == FAMILY_LLAMA ? POOL_MEAN : POOL_EOS;
    start_training(&m, c);

    kernels_precision(0);
    float *fp32 = gradients_at_once(&m);
    check_sizes_of_micro_batches(&m, fp32);
    kernels_precision(1);
    float *bf16 = gradients_at_once(&m);
    check_sizes_of_micro_batches(&m, bf16);
    kernels_precision(0);

    // most are not 0, and bf16 is not exact, but nearly: 2^-9 an operand
    double nonzero = 0, nonzero_bf16 = 0;
    double square = 0, error = 0;
    const size_t n = m.num_trained;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)bf16[i] - fp32[i];
        nonzero += fp32[i] != 0;
        nonzero_bf16 += bf16[i] != 0;
        square += (double)fp32[i] * fp32[i];
        error += d * d;
    }
    CHECK(nonzero > (double)n / 2 && nonzero_bf16 > (double)n / 2);
    CHECK(error > 1e-8 * square && error < 1e-3 * square);
    free(fp32);
    free(bf16);
    model_free(&m);
}
static void test_gradients_are_the_same_bits_for_every_size_of_micro_batch(void) {
    each_model(check_gradients);
    each_adapted(check_gradients);
}

// Operands are those of bf16, and the sums are in another order.
static void check_gradients_by_tensor_cores(Config c) {
    Model m;
    double square = 0, error = 0;
    start_training(&m, c);
    kernels_precision(PRECISION_BF16);
    float *bf16 = gradients_at_once(&m);
    kernels_precision(PRECISION_BF16_FAST);
    float *fast = gradients_at_once(&m);
    check_sizes_of_micro_batches(&m, fast);
    kernels_precision(PRECISION_FP32);
    for (size_t i = 0; i < m.num_trained; i++) {
        const double d = (double)fast[i] - (double)bf16[i];
        square += (double)bf16[i] * (double)bf16[i];
        error += d * d;
    }
    CHECK(error > 0 && error < 1e-5 * square);
    free(bf16);
    free(fast);
    model_free(&m);
}
static void test_gradients_by_tensor_cores_are_those_of_bf16_but_for_the_order_of_sums(void) {
    if (kernels_precision(PRECISION_BF16_FAST) < 0) return;           // not on this machine
    check_gradients_by_tensor_cores(neox(0, POOL_LAST));
    check_gradients_by_tensor_cores(llama(1, POOL_MEAN));
}

static void check_recomputing(Config c) {
    Model kept, again;
    c.pooling = POOL_MEAN;
    c.num_layers = 3;
    start_for(&kept, c, TRAINING);
    start_for(&again, c, RECOMPUTING);
    compute_gradients(&kept, 2);
    compute_gradients(&again, 2);
    CHECK(same_bits(again.grads_memory, kept.grads_memory, kept.num_trained));
    CHECK(model_grad_norm(&kept) > 0);

    // a layer more costs its parameters, and of the rows' activations the input only
    Config deeper = c;
    deeper.num_layers = 4;
    const size_t bytes = model_bytes(&c, 1000, 8, RECOMPUTING);
    const size_t layer = model_num_params(&deeper) - model_num_params(&c);
    const size_t trained = model_num_trained(&deeper, TRAINING) - model_num_trained(&c, TRAINING);
    const size_t inputs = 1000 * (size_t)c.channels;
    CHECK(bytes < model_bytes(&c, 1000, 8, TRAINING));
    CHECK(model_bytes(&deeper, 1000, 8, RECOMPUTING) - bytes ==
          sizeof(float) * (layer + 3*trained + inputs));
    model_free(&kept);
    model_free(&again);
}
static void test_recomputed_activations_give_the_same_gradients_in_less_memory(void) {
    each_model(check_recomputing);
    each_adapted(check_recomputing);
}

// A score, and the update of one step.
static void check_adapters(Config c) {
    const AdamW o = {
        .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.5,
        .head_rate = 1, .scale = 1, .step = 1,
    };
    Config without = c;
    without.lora_r = 0;
    Model base, m;
    Scores want, have;
    Pack p = {0};
    start(&base, without);
    start_training(&m, c);
    const size_t head = c.reward ? (size_t)c.channels : 0, below = base.num_params - head;
    const size_t numbers = (size_t)c.num_layers * (size_t)c.lora_r;
    size_t widths = 0;
    for (int k = 0; k < NUM_SITES; k++) {
        const SiteShape site = model_site_shape(&c, (Site)k);
        if (c.lora[k]) widths += site.rows + site.inputs;
    }

    // what is trained, and the memory of it: gradients and moments of no more
    CHECK(m.num_trained == head + numbers * widths);
    CHECK(m.num_params == base.num_params + numbers * widths);
    CHECK(model_num_base(&c) == base.num_params && !m.tied_memory);
    CHECK(model_bytes(&c, 10, 8, TRAINING) < model_bytes(&without, 10, 8, TRAINING));

    // before the first step the adapters change no bit; what was drawn is within +-1/sqrt(inputs)
    pack_records(&p, in_order, RECORDS, c.pooling, 0);
    score(&want, &base, &p);
    score(&have, &m, &p);
    if (c.reward) CHECK(!same_bits(have.reward, want.reward, TEXTS));
    if (!c.reward) CHECK(!same_bits(have.logp, want.logp, (size_t)p.T));
    CHECK(model_random_lora(&m, 5) == 0);
    score(&have, &m, &p);
    if (c.reward) CHECK(same_bits(have.reward, want.reward, TEXTS));
    if (!c.reward) CHECK(same_bits(have.logp, want.logp, (size_t)p.T));
    const Tensor *a = &m.tensor[base.num_tensors];
    double square = 0, largest = 0;
    for (size_t i = 0; i < a->size; i++) {
        const double x = m.params_memory[a->offset + i] * sqrt(a->fan_in);
        if (fabs(x) > largest) largest = fabs(x);
        square += x * x;
    }
    CHECK(a->kind == KIND_LORA_A && largest <= 1.000001 && largest > 0.8);
    CHECK_NEAR(square / (double)a->size, 1.0/3, 0.12);

    // a step moves B, and nothing of the base
    compute_gradients(&m, 2);
    CHECK(model_grad_norm(&m) > 0);
    model_update(&m, &o);
    CHECK(same_bits(m.params_memory, base.params_memory, below));
    score(&have, &m, &p);
    if (c.reward) CHECK(!same_bits(have.reward, want.reward, TEXTS));
    if (!c.reward) CHECK(!same_bits(have.logp, want.logp, (size_t)p.T));
    pack_free(&p);
    model_free(&base);
    model_free(&m);
}
static void test_fresh_adapters_change_no_bit_and_are_trained_alone(void) {
    each_adapted(check_adapters);
}

// A linear layer's adapters are what is added to its weights: to W + s B A within rounding.
static void check_adapters_merged(Config c) {
    Config without = c;
    without.lora_r = 0;
    Model merged, m;
    Scores want, have;
    Pack p = {0};
    start(&merged, without);
    start(&m, c);
    const double s = c.lora_alpha / c.lora_r;
    const int r = c.lora_r, C = c.channels;
    for (int l = 0; l < c.num_layers; l++) {
        const Block *b = &m.params.block[l];
        Block *w = &merged.params.block[l];
        const int Q = c.num_heads * c.head_dim, KV = c.num_kv_heads * c.head_dim;
        const struct { int site, rows, inputs; real *to; } of[] = {
            {SITE_Q, Q, C, w->qkvw}, {SITE_V, KV, C, w->qkvw + (Q + KV) * C},
            {SITE_QKV, Q + 2*KV, C, w->qkvw}, {SITE_OUT, C, Q, w->attw},
            {SITE_GATE, c.hidden, C, w->fcw},
            {SITE_UP, c.hidden, C, w->fcw + (c.gated ? c.hidden * C : 0)},
            {SITE_DOWN, C, c.hidden, w->projw},
        };
        for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
            const int has_one = c.lora[of[k].site];
            const real *A = b->lora + model_site_offset(&c, (Site)of[k].site);
            const real *B = A + r * of[k].inputs;
            for (int i = 0; has_one && i < of[k].rows * of[k].inputs; i++) {
                double sum = 0;
                for (int j = 0; j < r; j++) {
                    sum += (double)B[i / of[k].inputs * r + j] * A[j*of[k].inputs + i%of[k].inputs];
                }
                of[k].to[i] += (float)(s * sum);
            }
        }
    }
    pack_records(&p, in_order, RECORDS, c.pooling, 0);
    score(&want, &merged, &p);
    score(&have, &m, &p);
    for (int b = 0; b < TEXTS && c.reward; b++) CHECK_NEAR(have.reward[b], want.reward[b], 1e-4);
    for (int t = 0; t < p.T && !c.reward; t++) CHECK_NEAR(have.logp[t], want.logp[t], 1e-4);
    pack_free(&p);
    model_free(&merged);
    model_free(&m);
}
static void test_adapters_are_added_to_the_weights_of_their_rows(void) {
    each_adapted(check_adapters_merged);
}

// Each text of each record, its prompt shared and as one segment.
static void check_frozen(Config c) {
    const AdamW o = {
        .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.5,
        .head_rate = 1, .scale = 1, .step = 1,
    };
    const size_t C = (size_t)c.channels;
    Model whole, frozen, before;
    c.pooling = c.family == FAMILY_LLAMA ? POOL_MEAN : POOL_LAST;
    start(&before, c);
    start_for(&whole, c, TRAINING);
    start_for(&frozen, c, TRAINING_HEAD);
    const size_t below = whole.num_params - C;

    // the gradients of the head, and their norm
    double square = 0;
    compute_gradients(&whole, 2);
    compute_gradients(&frozen, 2);
    CHECK(frozen.num_trained == C && whole.num_trained == whole.num_params);
    CHECK(same_bits(frozen.grads.head, whole.grads.head, C));
    for (size_t i = 0; i < C; i++) square += (double)whole.grads.head[i] * whole.grads.head[i];
    CHECK_NEAR(model_grad_norm(&frozen) / sqrt(square), 1, 1e-12);
    CHECK(model_grad_norm(&whole) > model_grad_norm(&frozen));

    // the update: the head as in the whole model, all else as it was
    model_update(&whole, &o);
    model_update(&frozen, &o);
    CHECK(same_bits(frozen.params.head, whole.params.head, C));
    CHECK(!same_bits(frozen.params.head, before.params.head, C));
    CHECK(same_bits(frozen.params_memory, before.params_memory, below));
    CHECK(!same_bits(whole.params_memory, before.params_memory, below));

    // memory is that of scoring, and of the head's gradients and moments
    const size_t scoring = model_bytes(&c, 1000, 8, SCORING), training = 3 * C * sizeof(float);
    CHECK(model_bytes(&c, 1000, 8, TRAINING_HEAD) == scoring + training);
    model_free(&whole);
    model_free(&frozen);
    model_free(&before);
}
static void test_a_frozen_model_trains_its_head_by_the_same_gradient_and_nothing_else(void) {
    for (int f = 0; f < FAMILIES; f++) check_frozen(config_of[f](1, POOL_LAST));
}

static void check_shared_prompt(Config c) {
    Model m;
    Pack p = {0}, flat = {0};
    Scores all, one;
    start(&m, c);
    for (int i = 0; i < RECORDS; i++) {
        pack_records(&p, &in_order[i], 1, POOL_LAST, 0);
        score(&all, &m, &p);
        for (int k = 0; k < record[i].count; k++) {
            const Segment *s = &p.seg[p.S - record[i].count + k];     // the answer's
            pack_flat(&flat, &record[i], k);
            score(&one, &m, &flat);
            if (c.reward) {
                CHECK(same_bits(&all.reward[k], one.reward, 1));
            } else {
                const size_t len = (size_t)s->len;
                CHECK(same_bits(all.logp + s->start, one.logp + flat.T - len, len));
            }
        }
    }
    pack_free(&p);
    pack_free(&flat);
    model_free(&m);
}
static void test_a_shared_prompt_and_a_repeated_one_score_the_same_bits(void) {
    each_model(check_shared_prompt);
}

static void add_gradients(Model *m, const Pack *p, const float *dreward) {
    const Batch b = pack_batch(p);
    model_forward(m, &b);
    CHECK(model_backward(m, &b, dreward, NULL, NULL) == 0);
}

static void check_gradient_of_shared_prompt(Config c) {
    const float dreward[3] = {1, -0.5f, 0.75f};
    Model m;
    Pack p = {0};
    start_training(&m, c);
    const size_t n = m.num_params;
    float *shared = allocate(n, sizeof *shared);
    if (!shared) give_up();

    // the prompt once, for three answers
    model_zero_grads(&m);
    pack_records(&p, &in_order[THREE_ANSWERS], 1, POOL_LAST, 0);
    add_gradients(&m, &p, dreward);
    memcpy(shared, m.grads_memory, n * sizeof *shared);

    // the prompt with each answer
    model_zero_grads(&m);
    for (int k = 0; k < 3; k++) {
        pack_flat(&p, &record[THREE_ANSWERS], k);
        add_gradients(&m, &p, dreward + k);
    }

    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = fabs((double)shared[i] - m.grads_memory[i]);
        if (fabs(shared[i]) > largest) largest = fabs(shared[i]);
        if (!(error <= worst)) worst = error;
    }
    CHECK(largest > 0.1);
    CHECK_NEAR(worst / largest, 0, 2e-6);
    free(shared);
    pack_free(&p);
    model_free(&m);
}
static void test_a_shared_prompt_and_a_repeated_one_have_the_same_gradient_to_rounding(void) {
    for (int f = 0; f < FAMILIES; f++) check_gradient_of_shared_prompt(config_of[f](1, POOL_LAST));
}

// Rows behind a text, in its segment.
static void check_rows_behind(Config c) {
    Model m;
    Pack p = {0};
    Scores all, one;
    start(&m, c);
    pack_flat(&p, &record[0], 1);
    const size_t T = (size_t)p.T;
    score(&all, &m, &p);
    for (int extra = 1; extra < 40; extra += 19) {
        CHECK(pack_room(&p, (size_t)extra, 0, 0) == 0);
        for (int i = 0; i < extra; i++) pack_row(&p, i % VOCAB, p.T, -1);
        p.seg[0].len = p.T;
        score(&one, &m, &p);
        if (c.reward) {
            CHECK(same_bits(all.reward, one.reward, 1));
        } else {
            CHECK(same_bits(all.logp, one.logp, T));
        }
    }
    pack_free(&p);
    model_free(&m);
}
static void test_tokens_after_the_scored_row_and_padding_change_no_score(void) {
    each_pooling(check_rows_behind);
    for (int f = 0; f < FAMILIES; f++) check_rows_behind(config_of[f](0, POOL_LAST));
}

static void check_end_token(Config c) {
    Model m;
    Pack p = {0};
    Scores end_0, end_1;
    start(&m, c);
    pack_records(&p, in_order, RECORDS, c.pooling, 0);
    score(&end_0, &m, &p);
    pack_records(&p, in_order, RECORDS, c.pooling, 1);
    score(&end_1, &m, &p);
    for (int i = 0; i < TEXTS; i++) {
        CHECK((end_0.reward[i] == end_1.reward[i]) == (c.pooling != POOL_EOS));
    }
    pack_free(&p);
    model_free(&m);
}
static void test_another_end_token_changes_a_reward_only_where_it_is_read_there(void) {
    each_pooling(check_end_token);
}

static void check_changed_tokens(Config c) {
    static const int two[] = {0, 6};              // records, of two texts each
    Model m;
    Pack p = {0};
    Scores before, after;
    start(&m, c);
    pack_records(&p, two, 2, c.pooling, 0);
    score(&before, &m, &p);

    // the last token of a text changes its reward only
    for (int i = 0; i < 4; i++) {
        int *last = &p.token[p.text[i].first + p.text[i].len - 1];
        *last = *last % (VOCAB - 1) + 1;
        score(&after, &m, &p);
        for (int j = 0; j < 4; j++) CHECK((before.reward[j] == after.reward[j]) == (j != i));
        before = after;
    }

    // the first prompt token changes its record's two
    p.token[0] = p.token[0] % (VOCAB - 1) + 1;
    score(&after, &m, &p);
    for (int j = 0; j < 4; j++) CHECK((before.reward[j] == after.reward[j]) == (j >= 2));
    pack_free(&p);
    model_free(&m);
}
static void test_another_last_token_or_first_prompt_token_changes_the_reward(void) {
    each_pooling(check_changed_tokens);
}

static void check_scoring_and_training(Config c) {
    Model scoring, training;
    Pack p = {0};
    Scores a, b;
    pack_records(&p, in_order, RECORDS, POOL_LAST, 0);
    start(&scoring, c);
    score(&a, &scoring, &p);
    start_training(&training, c);
    score(&b, &training, &p);
    if (c.reward) {
        CHECK(same_bits(a.reward, b.reward, TEXTS));
    } else {
        CHECK(same_bits(a.logp, b.logp, (size_t)p.T));
    }
    pack_free(&p);
    model_free(&scoring);
    model_free(&training);
}
static void test_scores_are_the_same_bits_with_and_without_memory_for_training(void) {
    each_model(check_scoring_and_training);
}

static void test_backward_returns_the_log_probabilities_of_forward(void) {
    static const float none[MAX_ROWS];            // coefficients of zero
    Model m;
    Pack p = {0};
    Scores forward, backward;
    start_training(&m, neox(0, POOL_LAST));
    pack_records(&p, in_order, RECORDS, POOL_LAST, 0);
    score(&forward, &m, &p);
    model_zero_grads(&m);
    const Batch b = pack_batch(&p);
    CHECK(model_backward(&m, &b, NULL, none, backward.logp) == 0);
    CHECK(same_bits(forward.logp, backward.logp, (size_t)p.T));
    for (int t = 0; t < p.T; t++) {
        CHECK(p.target[t] >= 0 ? forward.logp[t] < 0 : forward.logp[t] == 0);
    }
    CHECK(model_grad_norm(&m) == 0);
    pack_free(&p);
    model_free(&m);
}

static void check_probabilities(Config c) {
    Model m;
    Pack p = {0};
    float logp[MAX_ROWS];
    double sum[MAX_ROWS] = {0};
    start(&m, c);
    pack_flat(&p, &record[0], 0);
    const Batch b = pack_batch(&p);
    model_forward(&m, &b);
    for (int v = 0; v < VOCAB; v++) {             // every token the target of every row
        for (int t = 0; t < p.T; t++) p.target[t] = v;
        CHECK(model_logp(&m, &b, logp) == 0);
        for (int t = 0; t < p.T; t++) sum[t] += exp(logp[t]);
    }
    for (int t = 0; t < p.T; t++) CHECK_NEAR(sum[t], 1, 2e-6);
    pack_free(&p);
    model_free(&m);
}
static void test_the_probabilities_of_all_next_tokens_sum_to_1(void) {
    for (int f = 0; f < FAMILIES; f++) check_probabilities(config_of[f](0, POOL_LAST));
}

static void test_a_tied_embeddings_gradient_is_the_outputs_plus_the_inputs(void) {
    Config c = gpt2(0, POOL_LAST);
    const size_t n = (size_t)c.vocab_size * (size_t)c.channels;
    Model tied, apart;
    start_training(&tied, c);
    c.tied = 0;
    start_training(&apart, c);
    CHECK(apart.num_params == tied.num_params + n);
    // the output matrix comes last, so the rest lies alike
    memcpy(apart.params_memory, tied.params_memory, tied.num_params * sizeof(float));
    memcpy(apart.params.unembed, tied.params.wte, n * sizeof(float));
    compute_gradients(&tied, 3);
    compute_gradients(&apart, 3);

    int bad = 0, both = 0;
    for (size_t i = 0; i < n; i++) {
        const float output = apart.grads.unembed[i], input = apart.grads.wte[i];
        const float sum = output + input;
        bad += tied.grads.wte[i] != sum;
        both += output != 0 && input != 0;
    }
    CHECK(bad == 0 && both > 500);
    CHECK(same_bits(tied.grads_memory + n, apart.grads_memory + n, tied.num_params - n));
    model_free(&tied);
    model_free(&apart);
}

static void test_memory_is_linear_in_rows_and_as_announced(void) {
    for (int f = 0; f < FAMILIES; f++) {        // 16 rows at a time: tensors begin with a line
        const Config c = config_of[f](0, POOL_LAST);
        const size_t scoring = model_bytes(&c, 1600, 8, SCORING);
        const size_t training = model_bytes(&c, 1600, 8, TRAINING);
        const size_t rows = model_bytes(&c, 1616, 8, TRAINING) - training;
        CHECK(model_bytes(&c, 161600, 8, TRAINING) - training == 10000 * rows);
        CHECK(scoring + 3 * model_num_params(&c) * sizeof(float) < training);
    }
    // counted by hand
    const Config c = neox(1, POOL_LAST);
    const size_t norms = 2*40, qkv = 60*21, att = 20*21, fc = 37*21, proj = 20*38;
    const size_t embedding = 29*20, last_norm = 40, head = 20;
    CHECK(model_num_params(&c) == embedding + 2*(norms + qkv + att + fc + proj) + last_norm + head);
}

// --------------------------------------------------------------------- first weights, update

// Mean 0 and the standard deviation, to the precision of so many numbers.
static void check_deviation(const float *x, size_t n, double sd) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
    }
    CHECK_NEAR(sum / (double)n / sd, 0, 0.04);
    CHECK_NEAR(sqrt(square / (double)n) / sd, 1, 0.03);
}

static void test_fresh_weights_have_their_standard_deviation_and_depend_on_the_seed(void) {
    Config c = neox(1, POOL_LAST);
    c.channels = 100;
    c.num_heads = 25;
    c.num_kv_heads = 25;
    c.hidden = 200;
    c.vocab_size = 300;
    Model m, other, same;
    start(&m, c);
    start(&other, c);
    start(&same, c);
    CHECK(model_random(&m, 1) == 0 && model_random(&other, 2) == 0 && model_random(&same, 1) == 0);
    const Params *p = &m.params;
    CHECK(same_bits(m.params_memory, same.params_memory, m.num_params));
    CHECK(!same_bits(p->wte, other.params.wte, 8));
    CHECK(!same_bits(p->block[0].qkvw, p->block[1].qkvw, 8));

    check_deviation(p->wte, 30000, 0.02);
    check_deviation(p->block[1].qkvw, 30000, sqrt(2 / 500.0));
    check_deviation(p->block[0].fcw, 20000, sqrt(2 / 500.0));
    check_deviation(p->block[0].attw, 10000, 2 / 2.0 / 10);
    check_deviation(p->block[1].projw, 20000, 2 / 2.0 / 10);
    for (int i = 0; i < 100; i++) {
        CHECK(p->lnfw[i] == 1 && p->lnfb[i] == 0 && p->block[0].attb[i] == 0 && p->head[i] == 0);
    }

    // the head alone
    double square = 0;
    CHECK(model_random_head(&m, 1) == 0 && p->lnfb[99] == 0 && p->lnfw[0] == 1);
    for (int i = 0; i < 100; i++) square += p->head[i] * p->head[i];
    CHECK_NEAR(sqrt(square / 100) / 0.02, 1, 0.2);
    model_free(&m);
    model_free(&other);
    model_free(&same);
}

static void test_an_update_decays_matrices_only_and_multiplies_the_heads_rate(void) {
    const AdamW o = {
        .learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.5,
        .head_rate = 10, .scale = 1, .step = 1,
    };
    Model m;
    start_training(&m, neox(1, POOL_LAST));
    float *before = allocate(m.num_params, sizeof *before);
    if (!before) give_up();
    memcpy(before, m.params_memory, m.num_params * sizeof *before);
    for (size_t i = 0; i < m.num_params; i++) m.grads_memory[i] = i % 2 ? 3 : -0.25f;
    model_update(&m, &o);

    // the first step is the rate against the gradient's sign, after the decay
    const Block *b = &m.params.block[1];
    const struct {
        const float *x;
        size_t n;
        double decay, rate;
    } part[] = {
        {m.params.wte,  29*20, 0.995, 0.01},
        {b->qkvw,       60*20, 0.995, 0.01},
        {b->projw,      20*37, 0.995, 0.01},
        {b->ln1w,       20,    1,     0.01},
        {b->ln1b,       20,    1,     0.01},
        {b->qkvb,       60,    1,     0.01},
        {b->attb,       20,    1,     0.01},
        {b->fcb,        37,    1,     0.01},
        {m.params.lnfw, 20,    1,     0.01},
        {m.params.lnfb, 20,    1,     0.01},
        {m.params.head, 20,    0.95,  0.1},
    };
    for (size_t k = 0; k < sizeof part / sizeof *part; k++) {
        for (size_t i = 0; i < part[k].n; i++) {
            const size_t at = (size_t)(part[k].x - m.params_memory) + i;
            const double step = (at % 2 ? -1 : 1) * part[k].rate;
            CHECK_NEAR(part[k].x[i], before[at] * part[k].decay + step, 3e-7);
        }
    }
    free(before);
    model_free(&m);
}

static void test_the_gradients_norm_is_of_all_tensors_and_shows_nan_and_infinity(void) {
    Model m;
    start_training(&m, llama(0, POOL_LAST));
    for (size_t i = 0; i < m.num_params; i++) m.grads_memory[i] = 0.5f;
    CHECK(model_grad_norm(&m) == sqrt(0.25 * (double)m.num_params));
    m.grads.unembed[7] = NAN;
    CHECK(isnan(model_grad_norm(&m)));
    m.grads.unembed[7] = 0.5f;
    m.grads.wte[0] = HUGE_VALF;
    CHECK(model_grad_norm(&m) == HUGE_VAL);
    model_zero_grads(&m);
    model_finish_grads(&m);
    CHECK(model_grad_norm(&m) == 0);
    model_free(&m);
}

// ------------------------------------------------------------------ models of other programs

// for (each element i of an array)
#define EACH(i, json, array) for (int i = json_first(json, array); i >= 0; i = json_next(json, i))

static double number_of(const Json *j, int object, const char *key) {
    return json_number(j, json_get(j, object, key));
}

// out = the numbers of object's array `key`; returns how many
static int integers_of(int *out, const Json *j, int object, const char *key) {
    int n = 0;
    EACH(i, j, json_get(j, object, key)) {
        out[n] = (int)json_number(j, i);
        n++;
    }
    return n;
}

static void load_reference(Json *j, const char *folder) {
    char path[200];
    snprintf(path, sizeof path, GOLDEN "%s/reference.json", folder);
    if (json_load(j, path) < 0) give_up();
}

static int load_model(Model *m, const char *folder, int kind, int rows) {
    char path[200];
    snprintf(path, sizeof path, GOLDEN "%s", folder);
    const int loaded = checkpoint_load(m, path, kind) == 0 && model_reserve(m, rows, 1) == 0;
    CHECK(loaded);
    if (!loaded) printf("    %s\n", error_text);
    return loaded;
}

// A text alone, every token the target of the one before; logits(T,V) unless NULL.
static void score_tokens(Scores *s, Model *m, const int *ids, int n, float *logits) {
    Pack p = {0};
    if (pack_room(&p, (size_t)n, 1, 1) < 0) give_up();
    for (int t = 0; t < n; t++) pack_row(&p, ids[t], t, t + 1 < n ? ids[t + 1] : -1);
    p.seg[0] = (Segment){.start = 0, .len = n, .parent = -1};
    p.text[0] = (Text){.first = 0, .len = n, .pooled = n - 1};
    p.S = 1;
    p.B = 1;
    score(s, m, &p);
    if (logits) {
        matmul_forward(logits, m->acts.lnf, model_output_matrix(m), NULL, n, m->config.channels,
                       m->config.vocab_size);
    }
    pack_free(&p);
}

static double sum_of(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    return sum;
}

// A text of reference.json: its score, or log-probabilities and the last row's logits.
static void check_reference_text(Model *m, const Json *j, int text) {
    enum { LONGEST = 64, LARGEST_VOCAB = 64 };
    const int V = m->config.vocab_size;
    float logits[LONGEST * LARGEST_VOCAB];
    Scores s;
    int ids[LONGEST];
    const int n = integers_of(ids, j, text, "ids");
    score_tokens(&s, m, ids, n, m->config.reward ? NULL : logits);
    if (m->config.reward) {
        CHECK_NEAR(s.reward[0], number_of(j, text, "score"), 5e-6);
        return;
    }
    CHECK_NEAR(sum_of(s.logp, n), number_of(j, text, "sum_logp"), 2e-5);

    int t = 0, v = 0;
    EACH(i, j, json_get(j, text, "logp")) {
        CHECK_NEAR(s.logp[t], json_number(j, i), 1e-5);
        t++;
    }
    CHECK(t == n - 1);
    EACH(i, j, json_get(j, text, "logits")) {
        CHECK_NEAR(logits[t*V + v], json_number(j, i), 1e-5);
        v++;
    }
    CHECK(v == V);
}

static void test_models_written_by_transformers_score_as_pytorch_does_in_double(void) {
    static const char *const folder[] = {
        "neox", "neox_sequential", "gpt2", "llama", "llama3", "qwen2", "qwen3",
        "neox_reward", "llama_reward", "neox_tied", "gpt2_untied", "gpt2_reward", "mistral",
        "mistral_tied", "mistral_reward", "qwen2_tied", "qwen3_untied", "llama_linear",
        "llama_dynamic", "qwen2_yarn", "smollm3", "mistral_window", "qwen2_window",
        "olmo2", "qwen2_reward", "qwen3_reward", "smollm3_reward", "olmo2_reward",
        "lora_llama", "lora_neox", "lora_gpt2", "lora_reward",      // by PEFT: over one of these
    };
    for (size_t k = 0; k < sizeof folder / sizeof *folder; k++) {
        const int bad = test_bad;
        Model m;
        Json j = {0};
        int texts = 0;
        if (!load_model(&m, folder[k], LOAD_AS_STORED, 64)) continue;
        load_reference(&j, folder[k]);
        EACH(text, &j, json_get(&j, 0, "texts")) {
            check_reference_text(&m, &j, text);
            texts++;
        }
        CHECK(texts == 5);
        if (test_bad > bad) printf("    in %s\n", folder[k]);
        json_free(&j);
        model_free(&m);
    }
}

// The three texts of reference.json's `nll` as llama2.c's tokenizer (run.c, tok512.bin)
// encodes them, filled up with 0.
enum { STORY_TOKENS = 49 };
static const int story[3][STORY_TOKENS] = {
    {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396,
     267, 337, 410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426},
    {1, 274, 287, 381, 261, 262, 423, 388, 400, 428, 426, 291, 400, 428, 397, 355, 267, 352, 379,
     269, 410, 449, 425, 423, 427, 426, 385, 328, 432, 265, 400, 428, 394, 261, 280, 294, 269, 352,
     303, 261, 431, 413, 285, 312, 426},
    {1, 410, 473, 425, 295, 413, 285, 421, 422, 410, 276, 435, 302, 425, 411, 344, 444, 331, 266,
     266, 265, 280, 289, 419, 302, 419, 425, 419, 344, 356, 288, 294, 411, 268, 422, 344, 305, 435,
     302, 268, 412, 419, 293, 282, 414, 271, 413, 419, 426},
};

enum { STORY_VOCAB = 512, GREEDY = 120, BEGIN = 1 };        // BEGIN: the begin-of-text token

// Each token is the most probable one after those before it.
static void check_greedy(const float *logits, const int *ids) {
    for (int t = 0; t < GREEDY; t++) {
        const float *x = logits + t*STORY_VOCAB;
        int best = 0;
        for (int v = 1; v < STORY_VOCAB; v++) {
            if (x[v] > x[best]) best = v;
        }
        CHECK(best == ids[t + 1]);
    }
}

// One of reference.json's `first_positions`: eight logits, the five largest, and log sum exp.
static void check_position(const float *x, const Json *j, int at) {
    int v = 0, top = 0;
    double sum = 0;
    EACH(i, j, json_get(j, at, "logits_0_8")) {
        CHECK_NEAR(x[v], json_number(j, i), 1e-4);
        v++;
    }
    EACH(i, j, json_get(j, at, "top5")) {
        const int id = json_first(j, i), logit = json_next(j, id);
        CHECK_NEAR(x[(int)json_number(j, id)], json_number(j, logit), 1e-4);
        top++;
    }
    for (int i = 0; i < STORY_VOCAB; i++) sum += exp(x[i]);
    CHECK_NEAR(log(sum), number_of(j, at, "logsumexp"), 1e-4);
    CHECK(v == 8 && top == 5);
}

static void test_stories260k_tells_the_story_that_llama2c_tells(void) {
    static float logits[(GREEDY + 1) * STORY_VOCAB];
    Model m;
    Json j = {0};
    Scores s;
    int ids[GREEDY + 1] = {BEGIN};
    if (!load_model(&m, "stories260K", LOAD_LANGUAGE_MODEL, GREEDY + 1)) return;
    load_reference(&j, "stories260K");
    CHECK(integers_of(ids + 1, &j, json_get(&j, 0, "greedy_from_bos"), "ids") == GREEDY);
    score_tokens(&s, &m, ids, GREEDY + 1, logits);
    check_greedy(logits, ids);

    int positions = 0, texts = 0;
    EACH(at, &j, json_get(&j, 0, "first_positions")) {
        const int t = (int)number_of(&j, at, "pos");
        CHECK(t == positions && ids[t] == (int)number_of(&j, at, "token_in"));
        check_position(logits + t*STORY_VOCAB, &j, at);
        positions++;
    }
    CHECK(positions == 8);

    EACH(at, &j, json_get(&j, 0, "nll")) {
        const int n = (int)number_of(&j, at, "tokens_scored") + 1;
        const int *text = story[texts];
        CHECK(n <= STORY_TOKENS && text[n - 1] == 426);
        CHECK(n == STORY_TOKENS || text[n] == 0);
        score_tokens(&s, &m, text, n, NULL);
        CHECK_NEAR(sum_of(s.logp, n), -number_of(&j, at, "sum_nll"), 1e-4);
        texts++;
    }
    CHECK(texts == 3);
    json_free(&j);
    model_free(&m);
}

// ------------------------------------------------ twenty steps: guards against a changed bit

// of the parameters as little-endian floats
static void digest(char hex[65], const Model *m) {
    unsigned char *bytes = allocate(m->num_params, 4);
    if (!bytes) give_up();
    for (size_t i = 0; i < 4 * m->num_params; i++) {
        bytes[i] = (unsigned char)(bits_of(m->params_memory[i / 4]) >> i % 4 * 8);
    }
    sha256_hex(hex, bytes, 4 * m->num_params);
    free(bytes);
}

// -log sigma(r0 - r1) / 2, and its slopes
static double pair_loss(float dr[2], const float r[2]) {
    const double e = more_exp((double)r[1] - r[0]);
    dr[0] = (float)(-e / (1 + e) / 2);
    dr[1] = -dr[0];
    return more_log1p(e) / 2;
}

// Forward and backward of one micro-batch; returns its part of the loss.
static double train_micro_batch(Model *m, const Pack *p) {
    const Batch b = pack_batch(p);
    double loss = 0;
    model_forward(m, &b);
    if (m->config.reward) {
        float r[2], dr[2];
        model_rewards(m, &b, r, NULL);
        loss = pair_loss(dr, r);
        if (model_backward(m, &b, dr, NULL, NULL) < 0) give_up();
    } else {
        float logp[16], dlogp[16];
        for (int t = 0; t < 8; t++) dlogp[t] = -0.0625f;
        if (model_backward(m, &b, NULL, dlogp, logp) < 0) give_up();
        for (int t = 0; t < 8; t++) loss -= logp[t] / 16.0;
    }
    return loss;
}

/* Twenty steps of AdamW with warm-up and clipping, two micro-batches each, on tokens drawn
 * for the step: a window of 8 rows each, or a pair (prompt of 3 tokens, answers of 3 and 2).
 * Returns the last loss. */
static double train_twenty_steps(Model *m, Config c) {
    int drawn[8];
    Answer two[] = {{.tokens = {3, 3}}, {.tokens = {6, 2}}};
    const Dataset d = {.token = drawn, .answer = two};
    const Record pair = {.prompt = {0, 3}, .first = 0, .count = 2}, text = {.prompt = {0, 7}};
    Pack p = {0};
    double loss = 0;
    if (model_init(m, c) < 0 || model_init_training(m) < 0) give_up();
    if (model_reserve(m, 16, 2) < 0 || model_random(m, 42) < 0) give_up();
    if (c.reward && model_random_head(m, 42) < 0) give_up();
    for (int step = 1; step <= 20; step++) {
        loss = 0;
        model_zero_grads(m);
        for (int micro = 0; micro < 2; micro++) {
            for (int i = 0; i < 8; i++) {         // of half the vocabulary
                const uint64_t at = (uint64_t)(8*micro + i);
                drawn[i] = 1 + (int)random_below(24, 42, STREAM_TEST, (uint64_t)step, at);
            }
            drawn[3] = 25;                        // how the answers begin
            drawn[6] = 26;
            pack_clear(&p);
            const int packed = c.reward ? pack_record(&p, &d, &pair, c.pooling, 0)
                                        : pack_window(&p, &d, &text, 0, 8, 0);
            if (packed < 0) give_up();
            loss += train_micro_batch(m, &p);
        }
        model_finish_grads(m);
        const double scale = 1 / (model_grad_norm(m) + 1e-6);
        model_update(m, &(AdamW){
            .learning_rate = 1e-3 * min_int(step, 5), .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8,
            .weight_decay = 0.1, .head_rate = 2, .scale = scale < 1 ? scale : 1, .step = step,
        });
    }
    pack_free(&p);
    return loss;
}

// The model of that family to be trained.
static Config small(Config c) {
    c.channels = 32;
    c.head_dim = 8;
    c.num_heads = 4;
    c.num_kv_heads = c.num_kv_heads == 2 ? 2 : 4;
    c.rotary_dims = c.rotary_dims == 6 ? 8 : c.rotary_dims * 2;
    c.hidden = 40;
    c.max_positions = 16;
    c.vocab_size = 48;
    return c;
}

// Gives the hash with every instruction set, on 1, 2 and 3 threads.
static void check_twenty_steps(Config c, int bf16, const char *want) {
    const double highest = c.reward ? 0.693 : 3.8;          // a fresh model's: log 2, log 48 = 3.87
    kernels_precision(bf16);
    for (int k = 0; kernels_variant(k); k++) {
        for (int threads = 1; threads <= 3; threads++) {
            Model m;
            char hex[65];
            kernels_set_threads(threads);
            CHECK(kernels_init(kernels_variant(k)) == 0);
            const double loss = train_twenty_steps(&m, small(c));
            CHECK(loss > 0 && loss < highest);
            digest(hex, &m);
            if (strcmp(hex, want)) {
                test_bad++;
                printf("    %s, %d threads: %s\n", kernels_name(), threads, hex);
            }
            model_free(&m);
        }
    }
    kernels_set_threads(1);
    kernels_precision(0);
    if (kernels_init(NULL) < 0) give_up();
}

static void test_twenty_steps_of_language_modelling_give_the_recorded_bits(void) {
    check_twenty_steps(neox(0, POOL_LAST), 0,
                       "5ce2dd65cbe3e71d2850ceabdff872de2db9dfb58b30b6af5efab9ed76d162fc");
    check_twenty_steps(gpt2(0, POOL_LAST), 0,
                       "c42aff321b75bf418c233fcba073439a7aede95342e67229feb2f794d7950a34");
}

static void test_twenty_steps_of_a_reward_model_give_the_recorded_bits(void) {
    check_twenty_steps(llama(1, POOL_LAST), 0,
                       "7f4d6696586401e5f3ec5e41b6dfd250a603b35bb0216932a7863375c00c9419");
}

static void test_twenty_steps_with_bf16_operands_give_the_recorded_bits(void) {
    check_twenty_steps(neox(0, POOL_LAST), 1,
                       "585bfee5dd4b4e83bd6525c59932d08fd3078953169802cbb9114ef517713fc6");
    check_twenty_steps(llama(1, POOL_LAST), 1,
                       "6d6e752f865f3c2c748c028f0bbdcab611a3879393b352c79f361444fb753e98");
}

int main(int argc, char **argv) {
    // three threads on fewer free cores: they must sleep while they wait, and OpenMP reads
    // this before main
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        execv(argv[0], argv);
    }
    test_choose(argc, argv);
    kernels_set_threads(1);
    if (kernels_init(NULL) < 0) give_up();
    make_data();
    RUN(test_a_record_is_packed_with_its_prompt_once_and_one_target_a_row);
    RUN(test_a_document_is_cut_into_windows_in_which_every_token_is_a_target_once);
    RUN(test_a_text_scores_the_same_bits_alone_and_among_any_neighbours_in_any_order);
    RUN(test_gradients_are_the_same_bits_for_every_size_of_micro_batch);
    RUN(test_fresh_adapters_change_no_bit_and_are_trained_alone);
    RUN(test_adapters_are_added_to_the_weights_of_their_rows);
    RUN(test_gradients_by_tensor_cores_are_those_of_bf16_but_for_the_order_of_sums);
    RUN(test_recomputed_activations_give_the_same_gradients_in_less_memory);
    RUN(test_a_frozen_model_trains_its_head_by_the_same_gradient_and_nothing_else);
    RUN(test_gradients_hold_nothing_of_the_step_before_even_without_a_backward);
    RUN(test_a_shared_prompt_and_a_repeated_one_score_the_same_bits);
    RUN(test_a_shared_prompt_and_a_repeated_one_have_the_same_gradient_to_rounding);
    RUN(test_tokens_after_the_scored_row_and_padding_change_no_score);
    RUN(test_another_end_token_changes_a_reward_only_where_it_is_read_there);
    RUN(test_another_last_token_or_first_prompt_token_changes_the_reward);
    RUN(test_scores_are_the_same_bits_with_and_without_memory_for_training);
    RUN(test_backward_returns_the_log_probabilities_of_forward);
    RUN(test_the_probabilities_of_all_next_tokens_sum_to_1);
    RUN(test_a_tied_embeddings_gradient_is_the_outputs_plus_the_inputs);
    RUN(test_memory_is_linear_in_rows_and_as_announced);
    RUN(test_fresh_weights_have_their_standard_deviation_and_depend_on_the_seed);
    RUN(test_an_update_decays_matrices_only_and_multiplies_the_heads_rate);
    RUN(test_the_gradients_norm_is_of_all_tensors_and_shows_nan_and_infinity);
    RUN(test_models_written_by_transformers_score_as_pytorch_does_in_double);
    RUN(test_stories260k_tells_the_story_that_llama2c_tells);
    RUN(test_twenty_steps_of_language_modelling_give_the_recorded_bits);
    RUN(test_twenty_steps_of_a_reward_model_give_the_recorded_bits);
    RUN(test_twenty_steps_with_bf16_operands_give_the_recorded_bits);
    return test_summary();
}

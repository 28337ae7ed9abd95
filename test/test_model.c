/* test_model.c - the whole model on packed texts: what may not change a score or gradient, what must, the
 * numbers of other programs' models, and twenty training steps.  Run from the repository's root.           */
#include "test.h"
#include "../files/checkpoint.c"
#include "../batch.c"

#define GOLDEN "test/golden/"

static int same_bits(const float *a, const float *b, size_t n) { return !memcmp(a, b, n * sizeof *a); }

// ------------------------------------------------------------------------------------------ models and texts

static Config neox(int reward, Pooling pooling) {
    Config c = {.family = FAMILY_NEOX, .vocab_size = 29, .channels = 20, .num_layers = 2, .num_heads = 5,
                .num_kv_heads = 5, .head_dim = 4, .hidden = 37, .max_positions = 160, .rotary_dims = 2,
                .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .norm_eps = 1e-5f,
                .activation = ACT_GELU_ERF, .rope_theta = 10000, .reward = reward, .pooling = pooling};
    return c;
}
static Config llama(int reward, Pooling pooling) {
    Config c = {.family = FAMILY_LLAMA, .vocab_size = 29, .channels = 20, .num_layers = 2, .num_heads = 4,
                .num_kv_heads = 2, .head_dim = 6, .hidden = 37, .max_positions = 160, .rotary_dims = 6,
                .rms_norm = 1, .gated = 1, .norm_eps = 1e-5f, .activation = ACT_SILU, .rope_theta = 10000,
                .reward = reward, .pooling = pooling};
    return c;
}
static Config gpt2(int reward, Pooling pooling) {
    Config c = neox(reward, pooling);
    c.family = FAMILY_GPT2, c.rotary_dims = 0, c.parallel_residual = 0, c.learned_positions = 1, c.tied = 1;
    c.activation = ACT_GELU_TANH;
    return c;
}
static Config qwen3(int reward, Pooling pooling) {
    Config c = llama(reward, pooling);
    c.family = FAMILY_QWEN3, c.qk_norm = 1;
    return c;
}
static Config (*const family[])(int reward, Pooling pooling) = {neox, llama, gpt2, qwen3};
enum { FAMILIES = 4, MAX_ROWS = 1200, MAX_TEXTS = 32 };

static void set_weights(Model *m, double sd) {                        // all drawn, biases and head too
    const Tensor *list = m->tensor;
    for (int k = 0; k < m->num_tensors; k++)
        for (size_t i = 0; i < list[k].size; i++) {
            double x = sd * random_normal(3, STREAM_TEST, (uint64_t)k, i);
            m->params_memory[list[k].offset + i] = (float)(list[k].kind == KIND_ONE ? 1 + x : x);
        }
}
static void start(Model *m, Config c, int training) {
    if (model_init(m, c) < 0 || (training && model_init_training(m) < 0)
        || model_reserve(m, MAX_ROWS, MAX_TEXTS) < 0)
        fprintf(stderr, "%s\n", error_text), exit(1);
    set_weights(m, 0.2);
}

// prompts of 0 to 80 tokens with one to three answers of 1 to 60: some longer than a block of rows
enum { RECORDS = 7, TEXTS = 14, VOCAB = 29 };
static const int prompt_len[RECORDS] = {60, 1, 80, 2, 0, 33, 5}, answers_of[RECORDS] = {2, 2, 3, 1, 2, 2, 2};
static int       tokens[4000];
static Answer    answer[24];
static Record    record[RECORDS];
static Dataset   data = {.token = tokens, .record = record, .answer = answer};

static Span some_tokens(int len) {
    Span s = {data.num_tokens, len};
    for (int i = 0; i < len; i++, data.num_tokens++)
        tokens[data.num_tokens] = 2 + (int)random_below(VOCAB - 2, 4, STREAM_TEST, 0, data.num_tokens);
    return s;
}
static void make_data(void) {
    for (int i = 0; i < RECORDS; i++, data.num_records++) {
        record[i] = (Record){.prompt = some_tokens(prompt_len[i]), .first = (int)data.num_answers,
                             .count = answers_of[i]};
        for (int k = 0; k < answers_of[i]; k++)
            answer[data.num_answers++].tokens = some_tokens(1 + (17*i + 29*k) % 60);
    }
}

static void pack_all(Pack *p, const int *order, int n, Pooling pooling, int eos) {
    pack_clear(p);
    for (int i = 0; i < n; i++) if (pack_record(p, &data, &record[order[i]], pooling, eos) < 0) exit(1);
}
static const int in_order[RECORDS] = {0, 1, 2, 3, 4, 5, 6};

typedef struct { float logp[MAX_ROWS], reward[MAX_TEXTS]; } Scores;   // of one micro-batch

static void score(Model *m, const Batch *b, Scores *s) {
    model_forward(m, b);
    if (m->config.reward) model_rewards(m, b, s->reward, NULL);
    else if (model_logp(m, b, s->logp) < 0) exit(1);
}
// do the rows or texts of b score as they do in a, from row and text on?
static int same_scores(const Model *m, const Scores *a, int row, int text, const Scores *b, const Pack *p) {
    return m->config.reward ? same_bits(a->reward + text, b->reward, (size_t)p->B)
                            : same_bits(a->logp + row, b->logp, (size_t)p->T);
}

// ----------------------------------------------------------------------------------------------- packing

static void test_a_record_is_packed_with_its_prompt_once_and_one_target_a_row(void) {
    static int token[] = {11, 12, 13, 21, 22, 31};
    static Answer two[] = {{.tokens = {3, 2}}, {.tokens = {5, 1}}};
    const Dataset d = {.token = token, .answer = two};
    const Record r = {.prompt = {0, 3}, .first = 0, .count = 2};
    static const int want[3][7] = {{11, 12, 13, 21, 22, 13, 31}, {0, 1, 2, 3, 4, 2, 3},
                                   {-1, -1, 21, 22, 9, 31, 9}};
    static const int want_eos[3][9] = {{11, 12, 13, 21, 22, 9, 13, 31, 9}, {0, 1, 2, 3, 4, 5, 2, 3, 4},
                                       {-1, -1, 21, 22, 9, -1, 31, 9, -1}};
    Pack p = {0};
    CHECK(pack_record(&p, &d, &r, POOL_LAST, 9) == 0 && p.T == 7 && p.S == 3 && p.B == 2);
    CHECK(record_rows(&d, &r, POOL_LAST) == 7 && record_rows(&d, &r, POOL_EOS) == 9);
    for (int t = 0; t < 7; t++)
        CHECK(p.token[t] == want[0][t] && p.position[t] == want[1][t] && p.target[t] == want[2][t]);
    CHECK(p.seg[0].start == 0 && p.seg[0].len == 2 && p.seg[0].parent == -1);
    CHECK(p.seg[1].start == 2 && p.seg[1].len == 3 && p.seg[1].parent == 0);
    CHECK(p.seg[2].start == 5 && p.seg[2].len == 2 && p.seg[2].parent == 0);
    CHECK(p.text[0].first == 3 && p.text[0].len == 2 && p.text[0].pooled == 4);
    CHECK(p.text[1].first == 6 && p.text[1].len == 1 && p.text[1].pooled == 6);
    pack_clear(&p);
    CHECK(pack_record(&p, &d, &r, POOL_EOS, 9) == 0 && p.T == 9 && p.S == 3 && p.B == 2);
    for (int t = 0; t < 9; t++)
        CHECK(p.token[t] == want_eos[0][t] && p.position[t] == want_eos[1][t]
              && p.target[t] == want_eos[2][t]);
    CHECK(p.text[0].first == 3 && p.text[0].len == 2 && p.text[0].pooled == 5 && p.text[1].pooled == 8);
    pack_free(&p);
}

static void test_a_document_is_cut_into_windows_in_which_every_token_is_a_target_once(void) {
    static int token[] = {11, 12, 13, 21, 22};
    static Answer one[] = {{.tokens = {3, 2}}};
    const Dataset d = {.token = token, .answer = one};
    const Record r = {.prompt = {0, 3}, .first = 0, .count = 1}, bare = {.prompt = {0, 3}};
    static const int want[3][6] = {{9, 11, 12, 13, 21, 22}, {0, 1, 2, 3, 0, 1}, {11, 12, 13, 21, 22, 9}};
    Pack p = {0};
    CHECK(document_rows(&d, &r) == 6 && document_rows(&d, &bare) == 4);
    CHECK(pack_window(&p, &d, &r, 0, 4, 9) == 0 && pack_window(&p, &d, &r, 4, 4, 9) == 0);
    CHECK(p.T == 6 && p.S == 2 && p.B == 0 && p.seg[1].start == 4 && p.seg[1].len == 2
          && p.seg[1].parent == -1);
    for (int t = 0; t < 6; t++)
        CHECK(p.token[t] == want[0][t] && p.position[t] == want[1][t] && p.target[t] == want[2][t]);
    pack_clear(&p);
    CHECK(pack_window(&p, &d, &bare, 0, 9, 9) == 0 && p.T == 4 && p.token[3] == 13 && p.target[3] == 9);
    pack_free(&p);
}

// ----------------------------------------------------------------------- what may not change, and what must

static Scores all, one;                                               // results of two ways

static void test_a_text_scores_the_same_bits_alone_and_among_any_neighbours_in_any_order(void) {
    static const int reversed[RECORDS] = {6, 5, 4, 3, 2, 1, 0};
    for (int f = 0; f < FAMILIES; f++)
        for (int reward = 0; reward < 2; reward++)
            for (int way = 0; way < 4; way++) {
                const int *list = way & 1 ? reversed : in_order;
                kernels_precision(way >> 1);
                Model m;
                Pack p = {0}, alone = {0};
                int row = 0, text = 0;
                start(&m, family[f](reward, POOL_LAST), 0);
                pack_all(&p, list, RECORDS, POOL_LAST, 0);
                // more rows than one chunk of logits
                CHECK(p.T > LOGITS_ROWS + 50 && p.T <= MAX_ROWS && p.B == TEXTS);
                Batch b = pack_batch(&p);
                score(&m, &b, &all);
                for (int i = 0; i < RECORDS; i++) {
                    pack_all(&alone, list + i, 1, POOL_LAST, 0);
                    b = pack_batch(&alone);
                    score(&m, &b, &one);
                    CHECK(same_scores(&m, &all, row, text, &one, &alone));
                    row += alone.T, text += alone.B;
                }
                for (int i = 1; i < TEXTS && reward; i++) CHECK(all.reward[i] != all.reward[i-1]);
                pack_free(&p), pack_free(&alone), model_free(&m);
            }
    kernels_precision(0);
}

// gradients of sum_b c_b reward_b, or of sum_t c_t logp_t, from micro-batches of `size` records
static void gradients(Model *m, int size) {
    static float c[MAX_ROWS];
    int reward = m->config.reward;
    Pack p = {0};
    model_zero_grads(m);
    for (int i = 0, row = 0; i < RECORDS; i += size, row += reward ? p.B : p.T) {
        pack_all(&p, in_order + i, i + size < RECORDS ? size : RECORDS - i, m->config.pooling, 0);
        Batch b = pack_batch(&p);
        for (int t = 0; t < p.T; t++) c[t] = (float)random_normal(8, STREAM_TEST, 0, (uint64_t)(row + t));
        model_forward(m, &b);
        if (model_backward(m, &b, reward ? c : NULL, reward ? NULL : c, NULL) < 0) exit(1);
    }
    model_finish_grads(m);
    pack_free(&p);
}

static void test_gradients_are_the_same_bits_for_every_size_of_micro_batch(void) {
    for (int f = 0; f < FAMILIES; f++)
        for (int reward = 0; reward < 2; reward++) {
            Model m;
            start(&m, family[f](reward, f == 1 ? POOL_MEAN : POOL_EOS), 1);
            float *want = allocate(m.num_params, sizeof *want), *fp32 = allocate(m.num_params, sizeof *fp32);
            for (int bf16 = 0; bf16 < 2; bf16++) {
                double nonzero = 0, square = 0, error = 0;
                kernels_precision(bf16);
                gradients(&m, RECORDS);
                memcpy(bf16 ? want : fp32, m.grads_memory, m.num_params * sizeof *want);
                if (!bf16) memcpy(want, fp32, m.num_params * sizeof *want);
                for (size_t i = 0; i < m.num_params; i++) {
                    double d = (double)want[i] - fp32[i];
                    nonzero += want[i] != 0, square += (double)fp32[i] * fp32[i], error += d * d;
                }
                CHECK(nonzero > (double)m.num_params / 2);
                CHECK(!bf16 || (error > 1e-8 * square && error < 1e-3 * square));    // 2^-9 an operand
                for (int size = 1; size < RECORDS; size += size) {
                    gradients(&m, size);
                    CHECK(same_bits(m.grads_memory, want, m.num_params));
                }
            }
            kernels_precision(0);
            free(want), free(fp32), model_free(&m);
        }
}

static void test_recomputed_activations_give_the_same_gradients_in_less_memory(void) {
    for (int f = 0; f < FAMILIES; f++)
        for (int reward = 0; reward < 2; reward++) {
            Config c = family[f](reward, POOL_MEAN);
            Model kept, again = {0};
            c.num_layers = 3;
            start(&kept, c, 1), gradients(&kept, 2);
            if (model_init(&again, c) < 0) exit(1);
            again.recompute = 1;
            if (model_init_training(&again) < 0 || model_reserve(&again, MAX_ROWS, MAX_TEXTS) < 0) exit(1);
            set_weights(&again, 0.2), gradients(&again, 2);
            CHECK(same_bits(again.grads_memory, kept.grads_memory, kept.num_params));
            CHECK(model_grad_norm(&kept) > 0);
            // a layer more costs its parameters, and of the rows' activations the input only
            size_t layer = model_num_params(&c), bytes = model_bytes(&c, 1000, 8, RECOMPUTING), row = 20;
            CHECK(bytes < model_bytes(&c, 1000, 8, TRAINING));
            c.num_layers = 4, layer = model_num_params(&c) - layer;
            CHECK(model_bytes(&c, 1000, 8, RECOMPUTING) - bytes == sizeof(float) * (4*layer + 1000*row));
            model_free(&kept), model_free(&again);
        }
}

/* Record r in three ways: its prompt shared; repeated for each answer; and each text as one segment.       */
static void flat(Pack *p, const Record *r, int k) {                   // one segment: prompt and answer k
    Pack alone = {0};
    Record with_one = *r;
    with_one.first += k, with_one.count = 1;
    pack_clear(p);
    if (pack_record(&alone, &data, &with_one, POOL_LAST, 0) < 0 || pack_room(p, (size_t)alone.T, 1, 1) < 0)
        exit(1);
    for (int t = 0; t < alone.T; t++) pack_row(p, alone.token[t], alone.position[t], alone.target[t]);
    p->seg[p->S++] = (Segment){0, p->T, -1};
    p->text[p->B++] = alone.text[0];
    pack_free(&alone);
}

static void test_a_shared_prompt_and_a_repeated_one_score_the_same_bits(void) {
    for (int f = 0; f < FAMILIES; f++)
        for (int reward = 0; reward < 2; reward++) {
            Model m;
            start(&m, family[f](reward, POOL_LAST), 0);
            for (int i = 0; i < RECORDS; i++) {
                Pack p = {0}, single = {0};
                pack_all(&p, &in_order[i], 1, POOL_LAST, 0);
                Batch b = pack_batch(&p);
                score(&m, &b, &all);
                for (int k = 0; k < record[i].count; k++) {
                    const Segment *s = &p.seg[p.S - record[i].count + k];
                    flat(&single, &record[i], k);
                    b = pack_batch(&single);
                    score(&m, &b, &one);
                    if (reward) CHECK(same_bits(&all.reward[k], one.reward, 1));
                    else CHECK(same_bits(all.logp + s->start, one.logp + single.T - s->len, (size_t)s->len));
                }
                pack_free(&p), pack_free(&single);
            }
            model_free(&m);
        }
}

static void test_a_shared_prompt_and_a_repeated_one_have_the_same_gradient_to_rounding(void) {
    for (int f = 0; f < FAMILIES; f++) {
        Model m;
        Pack p = {0};
        float c[3] = {1, -0.5f, 0.75f};
        double worst = 0, largest = 0;
        start(&m, family[f](1, POOL_LAST), 1);
        pack_all(&p, &in_order[2], 1, POOL_LAST, 0);
        Batch b = pack_batch(&p);
        model_forward(&m, &b);
        model_zero_grads(&m);
        CHECK(model_backward(&m, &b, c, NULL, NULL) == 0);
        float *shared = allocate(m.num_params, sizeof *shared);
        memcpy(shared, m.grads_memory, m.num_params * sizeof *shared);
        model_zero_grads(&m);
        for (int k = 0; k < 3; k++) {
            flat(&p, &record[2], k);
            b = pack_batch(&p);
            model_forward(&m, &b);
            CHECK(model_backward(&m, &b, c + k, NULL, NULL) == 0);
        }
        for (size_t i = 0; i < m.num_params; i++) {
            double g = shared[i], e = fabs(g - m.grads_memory[i]);
            if (fabs(g) > largest) largest = fabs(g);
            if (!(e <= worst)) worst = e;
        }
        CHECK(largest > 0.1);
        CHECK_NEAR(worst / largest, 0, 2e-6);
        free(shared), pack_free(&p), model_free(&m);
    }
}

static void test_tokens_after_the_scored_row_and_padding_change_no_score(void) {
    static const Pooling pooling[] = {POOL_LAST, POOL_EOS, POOL_MEAN};
    for (int f = 0; f < FAMILIES; f++)
        for (int k = 0; k < 4; k++) {                                 // 3: a language model
            Model m;
            Pack p = {0};
            start(&m, family[f](k < 3, pooling[k % 3]), 0);
            flat(&p, &record[0], 1);
            int T = p.T;
            Batch b = pack_batch(&p);
            score(&m, &b, &all);
            for (int extra = 1; extra < 40; extra += 19) {
                CHECK(pack_room(&p, (size_t)extra, 0, 0) == 0);
                for (int i = 0; i < extra; i++) pack_row(&p, i % VOCAB, p.T, -1);
                p.seg[0].len = p.T;
                b = pack_batch(&p);
                score(&m, &b, &one);
                if (k < 3) CHECK(same_bits(all.reward, one.reward, 1));
                else CHECK(same_bits(all.logp, one.logp, (size_t)T));
            }
            pack_free(&p), model_free(&m);
        }
}

static void test_another_end_token_changes_a_reward_only_where_it_is_read_there(void) {
    static const Pooling pooling[] = {POOL_LAST, POOL_MEAN, POOL_EOS};
    for (int f = 0; f < FAMILIES; f++)
        for (int k = 0; k < 3; k++) {
            Model m;
            Pack p = {0};
            start(&m, family[f](1, pooling[k]), 0);
            for (int eos = 0; eos < 2; eos++) {
                pack_all(&p, in_order, RECORDS, pooling[k], eos);
                Batch b = pack_batch(&p);
                score(&m, &b, eos ? &one : &all);
            }
            for (int i = 0; i < TEXTS; i++)
                CHECK((all.reward[i] == one.reward[i]) == (pooling[k] != POOL_EOS));
            pack_free(&p), model_free(&m);
        }
}

static void test_another_last_token_or_first_prompt_token_changes_the_reward(void) {
    static const Pooling pooling[] = {POOL_LAST, POOL_MEAN, POOL_EOS};
    static const int two[] = {0, 6};                                  // records, of two texts each
    for (int f = 0; f < FAMILIES; f++)
        for (int k = 0; k < 3; k++) {
            Model m;
            Pack p = {0};
            start(&m, family[f](1, pooling[k]), 0);
            pack_all(&p, two, 2, pooling[k], 0);
            Batch b = pack_batch(&p);
            score(&m, &b, &all);
            for (int i = 0; i < 4; i++) {
                int *last = &p.token[p.text[i].first + p.text[i].len - 1];
                *last = *last % (VOCAB - 1) + 1;
                score(&m, &b, &one);
                for (int j = 0; j < 4; j++) CHECK((all.reward[j] == one.reward[j]) == (j != i));
                memcpy(all.reward, one.reward, sizeof all.reward);
            }
            p.token[0] = p.token[0] % (VOCAB - 1) + 1;                // of the first record's two answers
            score(&m, &b, &one);
            for (int j = 0; j < 4; j++) CHECK((all.reward[j] == one.reward[j]) == (j >= 2));
            pack_free(&p), model_free(&m);
        }
}

static void test_scores_are_the_same_bits_with_and_without_memory_for_training(void) {
    for (int f = 0; f < FAMILIES; f++)
        for (int reward = 0; reward < 2; reward++) {
            Pack p = {0};
            pack_all(&p, in_order, RECORDS, POOL_LAST, 0);
            Batch b = pack_batch(&p);
            for (int training = 0; training < 2; training++) {
                Model m;
                start(&m, family[f](reward, POOL_LAST), training);
                score(&m, &b, training ? &one : &all);
                model_free(&m);
            }
            if (reward) CHECK(same_bits(all.reward, one.reward, TEXTS));
            else CHECK(same_bits(all.logp, one.logp, (size_t)p.T));
            pack_free(&p);
        }
}

static void test_backward_returns_the_log_probabilities_of_forward(void) {
    Model m;
    Pack p = {0};
    static float none[MAX_ROWS];
    start(&m, neox(0, POOL_LAST), 1);
    pack_all(&p, in_order, RECORDS, POOL_LAST, 0);
    Batch b = pack_batch(&p);
    score(&m, &b, &all);
    model_zero_grads(&m);
    CHECK(model_backward(&m, &b, NULL, none, one.logp) == 0);
    CHECK(same_bits(all.logp, one.logp, (size_t)p.T));
    for (int t = 0; t < p.T; t++) CHECK(p.target[t] >= 0 ? all.logp[t] < 0 : all.logp[t] == 0);
    CHECK(model_grad_norm(&m) == 0);                                  // coefficients of zero
    pack_free(&p), model_free(&m);
}

static void test_the_probabilities_of_all_next_tokens_sum_to_1(void) {
    for (int f = 0; f < FAMILIES; f++) {
        Model m;
        Pack p = {0};
        static double sum[MAX_ROWS];
        memset(sum, 0, sizeof sum);
        start(&m, family[f](0, POOL_LAST), 0);
        flat(&p, &record[0], 0);
        Batch b = pack_batch(&p);
        model_forward(&m, &b);
        for (int v = 0; v < VOCAB; v++) {
            for (int t = 0; t < p.T; t++) p.target[t] = v;
            CHECK(model_logp(&m, &b, one.logp) == 0);
            for (int t = 0; t < p.T; t++) sum[t] += exp(one.logp[t]);
        }
        for (int t = 0; t < p.T; t++) CHECK_NEAR(sum[t], 1, 2e-6);
        pack_free(&p), model_free(&m);
    }
}

static void test_a_tied_embeddings_gradient_is_the_outputs_plus_the_inputs(void) {
    Config c = gpt2(0, POOL_LAST);
    Model tied, apart;
    size_t n = (size_t)c.vocab_size * (size_t)c.channels;
    start(&tied, c, 1);
    c.tied = 0;
    start(&apart, c, 1);
    // the output matrix comes last
    memcpy(apart.params_memory, tied.params_memory, tied.num_params * sizeof(float));
    memcpy(apart.params.unembed, tied.params.wte, n * sizeof(float));
    CHECK(apart.num_params == tied.num_params + n);
    gradients(&tied, 3), gradients(&apart, 3);
    int bad = 0, both = 0;
    for (size_t i = 0; i < n; i++) {
        float sum = apart.grads.unembed[i] + apart.grads.wte[i];
        bad += tied.grads.wte[i] != sum;
        both += apart.grads.unembed[i] != 0 && apart.grads.wte[i] != 0;
    }
    CHECK(bad == 0 && both > 500);
    CHECK(same_bits(tied.grads_memory + n, apart.grads_memory + n, tied.num_params - n));
    model_free(&tied), model_free(&apart);
}

static void test_memory_is_linear_in_rows_and_as_announced(void) {
    for (int f = 0; f < FAMILIES; f++) {
        Config c = family[f](0, POOL_LAST);
        size_t scoring = model_bytes(&c, 1000, 8, 0), training = model_bytes(&c, 1000, 8, 1);
        CHECK(model_bytes(&c, 100000, 8, 1) - training == 99000 * (model_bytes(&c, 1001, 8, 1) - training));
        CHECK(scoring + 3 * model_num_params(&c) * sizeof(float) < training);
    }
    Config c = neox(1, POOL_LAST);  // counted by hand: embedding, 2 blocks, norm, head
    CHECK(model_num_params(&c) == 29*20 + 2*(2*40 + 60*21 + 20*21 + 37*21 + 20*38) + 40 + 20);
}

// ------------------------------------------------------------------------------------ initialisation, update

static void test_fresh_weights_have_their_standard_deviation_and_depend_on_the_seed(void) {
    Config c = neox(1, POOL_LAST);
    c.channels = 100, c.num_heads = 25, c.num_kv_heads = 25, c.hidden = 200, c.vocab_size = 300;
    Model m, other, same;
    start(&m, c, 0), start(&other, c, 0), start(&same, c, 0);
    CHECK(model_random(&m, 1) == 0 && model_random(&other, 2) == 0 && model_random(&same, 1) == 0);
    CHECK(same_bits(m.params_memory, same.params_memory, m.num_params));
    CHECK(!same_bits(m.params.wte, other.params.wte, 8)
          && !same_bits(m.params.block[0].qkvw, m.params.block[1].qkvw, 8));
    const struct { const float *x; size_t n; double sd; } part[] = {
        {m.params.wte, 30000, 0.02}, {m.params.block[1].qkvw, 30000, sqrt(2 / 500.0)},
        {m.params.block[0].fcw, 20000, sqrt(2 / 500.0)}, {m.params.block[0].attw, 10000, 2 / 2.0 / 10},
        {m.params.block[1].projw, 20000, 2 / 2.0 / 10}};
    for (size_t k = 0; k < sizeof part / sizeof *part; k++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < part[k].n; i++)
            sum += part[k].x[i], square += (double)part[k].x[i] * part[k].x[i];
        CHECK_NEAR(sum / (double)part[k].n / part[k].sd, 0, 0.04);
        CHECK_NEAR(sqrt(square / (double)part[k].n) / part[k].sd, 1, 0.03);
    }
    for (int i = 0; i < 100; i++)
        CHECK(m.params.lnfw[i] == 1 && m.params.lnfb[i] == 0 && m.params.block[0].attb[i] == 0);
    for (int i = 0; i < 100; i++) CHECK(m.params.head[i] == 0);
    double square = 0;
    CHECK(model_random_head(&m, 1) == 0 && m.params.lnfb[99] == 0 && m.params.lnfw[0] == 1);
    for (int i = 0; i < 100; i++) square += m.params.head[i] * m.params.head[i];
    CHECK_NEAR(sqrt(square / 100) / 0.02, 1, 0.2);
    model_free(&m), model_free(&other), model_free(&same);
}

static void test_an_update_decays_matrices_only_and_multiplies_the_heads_rate(void) {
    Model m;
    const AdamW o = {.learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.5,
                     .head_rate = 10, .scale = 1, .step = 1};
    start(&m, neox(1, POOL_LAST), 1);
    float *before = allocate(m.num_params, sizeof *before);
    memcpy(before, m.params_memory, m.num_params * sizeof *before);
    for (size_t i = 0; i < m.num_params; i++) m.grads_memory[i] = i % 2 ? 3 : -0.25f;
    model_update(&m, &o);
    const Block *b = &m.params.block[1];
    const struct { const float *x; size_t n; double decay, rate; } part[] = {
        {m.params.wte, 29*20, 0.995, 0.01}, {b->qkvw, 60*20, 0.995, 0.01}, {b->projw, 20*37, 0.995, 0.01},
        {b->ln1w, 20, 1, 0.01}, {b->ln1b, 20, 1, 0.01}, {b->qkvb, 60, 1, 0.01}, {b->attb, 20, 1, 0.01},
        {b->fcb, 37, 1, 0.01}, {m.params.lnfw, 20, 1, 0.01}, {m.params.lnfb, 20, 1, 0.01},
        {m.params.head, 20, 0.95, 0.1}};
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        for (size_t i = 0; i < part[k].n; i++) {
            size_t at = (size_t)(part[k].x - m.params_memory) + i;
            CHECK_NEAR(part[k].x[i], before[at] * part[k].decay + (at % 2 ? -1 : 1) * part[k].rate, 3e-7);
        }
    free(before), model_free(&m);
}

static void test_the_gradients_norm_is_of_all_tensors_and_shows_nan_and_infinity(void) {
    Model m;
    start(&m, llama(0, POOL_LAST), 1);
    for (size_t i = 0; i < m.num_params; i++) m.grads_memory[i] = 0.5f;
    CHECK(model_grad_norm(&m) == sqrt(0.25 * (double)m.num_params));
    m.grads.unembed[7] = NAN;
    CHECK(isnan(model_grad_norm(&m)));
    m.grads.unembed[7] = 0.5f, m.grads.wte[0] = HUGE_VALF;
    CHECK(model_grad_norm(&m) == HUGE_VAL);
    model_zero_grads(&m);
    CHECK(model_grad_norm(&m) == 0);
    model_free(&m);
}

// -------------------------------------------------------------------------------- models of other programs

static Json json;
#define EACH(i, array) for (int i = json_first(&json, array); i >= 0; i = json_next(&json, i))
static void read_reference(const char *folder) {
    Buffer b = {0};
    char path[200];
    snprintf(path, sizeof path, GOLDEN "%s/reference.json", folder);
    if (file_read(&b, path) < 0 || json_parse(&json, b.data, b.len, path) < 0)
        fprintf(stderr, "%s\n", error_text), exit(1);
    buffer_free(&b);
}
static int integers(int *out, int array) {
    int n = 0;
    EACH(i, array) out[n++] = (int)json_number(&json, i);
    return n;
}

// a text alone: every token the target of the one before; logits(T, V) unless NULL; returns the sum of logp
static double run_text(Model *m, const int *ids, int n, float *logits) {
    Pack p = {0};
    double sum = 0;
    if (pack_room(&p, (size_t)n, 1, 1) < 0) exit(1);
    for (int t = 0; t < n; t++) pack_row(&p, ids[t], t, t + 1 < n ? ids[t + 1] : -1);
    p.seg[p.S++] = (Segment){0, n, -1};
    p.text[p.B++] = (Text){0, n, n - 1};
    Batch b = pack_batch(&p);
    score(m, &b, &one);
    for (int t = 0; t < n && !m->config.reward; t++) sum += one.logp[t];
    if (logits)
        matmul_forward(logits, m->acts.lnf, model_output_matrix(m), NULL, n, m->config.channels,
                       m->config.vocab_size);
    pack_free(&p);
    return sum;
}

static void test_models_written_by_transformers_score_as_pytorch_does_in_double(void) {
    static const char *const folder[] = {"neox", "neox_sequential", "gpt2", "llama", "llama3", "qwen2",
                                         "qwen3", "neox_reward", "llama_reward"};
    static float logits[64*64];
    for (size_t k = 0; k < sizeof folder / sizeof *folder; k++) {
        char path[200];
        Model m;
        int ids[64], texts = 0, bad = test_bad;
        snprintf(path, sizeof path, GOLDEN "%s", folder[k]);
        int loaded = checkpoint_load(&m, path, LOAD_AS_STORED) == 0 && model_reserve(&m, 64, 1) == 0;
        CHECK(loaded);
        if (!loaded) { printf("    %s\n", error_text); continue; }
        read_reference(folder[k]);
        EACH(text, json_get(&json, 0, "texts")) {
            int n = integers(ids, json_get(&json, text, "ids")), t = 0;
            texts++;
            double sum = run_text(&m, ids, n, m.config.reward ? NULL : logits);
            if (m.config.reward) {
                CHECK_NEAR(one.reward[0], json_number(&json, json_get(&json, text, "score")), 5e-6);
                continue;
            }
            CHECK_NEAR(sum, json_number(&json, json_get(&json, text, "sum_logp")), 2e-5);
            EACH(i, json_get(&json, text, "logp")) CHECK_NEAR(one.logp[t++], json_number(&json, i), 1e-5);
            CHECK(t == n - 1);
            t = (n - 1) * m.config.vocab_size;
            EACH(i, json_get(&json, text, "logits")) CHECK_NEAR(logits[t++], json_number(&json, i), 1e-5);
            CHECK(t == n * m.config.vocab_size);
        }
        CHECK(texts == 5);
        if (test_bad > bad) printf("    in %s\n", folder[k]);
        model_free(&m);
    }
}

// the three texts of reference.json's `nll` as llama2.c's tokenizer (run.c, tok512.bin) encodes them
static const int story[][49] = {
    {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337,
     410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426},
    {1, 274, 287, 381, 261, 262, 423, 388, 400, 428, 426, 291, 400, 428, 397, 355, 267, 352, 379, 269, 410,
     449, 425, 423, 427, 426, 385, 328, 432, 265, 400, 428, 394, 261, 280, 294, 269, 352, 303, 261, 431, 413,
     285, 312, 426},
    {1, 410, 473, 425, 295, 413, 285, 421, 422, 410, 276, 435, 302, 425, 411, 344, 444, 331, 266, 266, 265,
     280, 289, 419, 302, 419, 425, 419, 344, 356, 288, 294, 411, 268, 422, 344, 305, 435, 302, 268, 412, 419,
     293, 282, 414, 271, 413, 419, 426}};

static void test_stories260k_tells_the_story_that_llama2c_tells(void) {
    static float logits[121*512];
    Model m;
    int ids[121] = {1}, k = 0;                                        // 1: begin of text
    int loaded = checkpoint_load(&m, GOLDEN "stories260K", LOAD_LANGUAGE_MODEL) == 0
        && model_reserve(&m, 121, 1) == 0;
    CHECK(loaded);
    if (!loaded) return;
    read_reference("stories260K");
    CHECK(integers(ids + 1, json_get(&json, json_get(&json, 0, "greedy_from_bos"), "ids")) == 120);
    run_text(&m, ids, 121, logits);
    for (int t = 0; t < 120; t++) {
        int best = 0;
        for (int v = 1; v < 512; v++) if (logits[t*512 + v] > logits[t*512 + best]) best = v;
        CHECK(best == ids[t + 1]);
    }
    EACH(at, json_get(&json, 0, "first_positions")) {
        int t = (int)json_number(&json, json_get(&json, at, "pos")), v = 0, top = 0;
        double sum = 0;
        CHECK(t == k++ && ids[t] == (int)json_number(&json, json_get(&json, at, "token_in")));
        EACH(i, json_get(&json, at, "logits_0_8"))
            CHECK_NEAR(logits[t*512 + v++], json_number(&json, i), 1e-4);
        EACH(i, json_get(&json, at, "top5")) {
            int id = json_first(&json, i), logit = json_next(&json, id);
            CHECK_NEAR(logits[t*512 + (int)json_number(&json, id)], json_number(&json, logit), 1e-4);
            top++;
        }
        for (int i = 0; i < 512; i++) sum += exp(logits[t*512 + i]);
        CHECK_NEAR(log(sum), json_number(&json, json_get(&json, at, "logsumexp")), 1e-4);
        CHECK(v == 8 && top == 5);
    }
    CHECK(k == 8);
    k = 0;
    EACH(at, json_get(&json, 0, "nll")) {
        int n = (int)json_number(&json, json_get(&json, at, "tokens_scored")) + 1;
        CHECK(n <= 49 && story[k][n - 1] == 426 && (n == 49 || story[k][n] == 0));
        double sum = run_text(&m, story[k++], n, NULL);
        CHECK_NEAR(sum, -json_number(&json, json_get(&json, at, "sum_nll")), 1e-4);
    }
    CHECK(k == 3);
    model_free(&m);
}

// --------------------------------------------------------------- twenty steps: guards against a changed bit

static void digest(char hex[65], const Model *m) {  // of the parameters as little-endian floats
    unsigned char *bytes = allocate(m->num_params, 4);
    for (size_t i = 0; i < 4 * m->num_params; i++)
        bytes[i] = (unsigned char)(bits_of(m->params_memory[i / 4]) >> i % 4 * 8);
    sha256_hex(hex, bytes, 4 * m->num_params);
    free(bytes);
}

/* Twenty steps of AdamW with warm-up and clipping, two micro-batches each, on tokens drawn for the step: a
 * window of 8 rows each, or a pair (prompt of 3 tokens, answers of 3 and 2).  Returns the last loss.       */
static double train(Model *m, Config c) {
    static int drawn[24];
    static Answer two[] = {{.tokens = {3, 3}}, {.tokens = {6, 2}}};
    const Dataset d = {.token = drawn, .answer = two};
    const Record pair = {.prompt = {0, 3}, .first = 0, .count = 2}, text = {.prompt = {0, 7}};
    Pack p = {0};
    double loss = 0;
    if (model_init(m, c) < 0 || model_init_training(m) < 0 || model_reserve(m, 16, 2) < 0) exit(1);
    if (model_random(m, 42) < 0 || (c.reward && model_random_head(m, 42) < 0)) exit(1);
    for (int step = 1; step <= 20; step++) {
        loss = 0;
        model_zero_grads(m);
        for (int micro = 0; micro < 2; micro++) {
            float r[2], dr[2], logp[16], dlogp[16];
            for (uint64_t i = 0, at = 8 * (uint64_t)micro; i < 8; i++)  // half the vocabulary
                drawn[i] = 1 + (int)random_below(24, 42, STREAM_TEST, (uint64_t)step, at + i);
            drawn[3] = 25, drawn[6] = 26;                             // how either answer begins
            pack_clear(&p);
            int packed = c.reward ? pack_record(&p, &d, &pair, c.pooling, 0)
                                  : pack_window(&p, &d, &text, 0, 8, 0);
            if (packed < 0) exit(1);
            Batch b = pack_batch(&p);
            model_forward(m, &b);
            if (c.reward) {
                model_rewards(m, &b, r, NULL);
                double e = more_exp((double)r[1] - r[0]);             // -log sigma(r0 - r1) and its slope
                loss += more_log1p(e) / 2;
                dr[0] = (float)(-e / (1 + e) / 2), dr[1] = -dr[0];
                if (model_backward(m, &b, dr, NULL, NULL) < 0) exit(1);
            } else {
                for (int t = 0; t < 8; t++) dlogp[t] = -0.0625f;
                if (model_backward(m, &b, NULL, dlogp, logp) < 0) exit(1);
                for (int t = 0; t < 8; t++) loss -= logp[t] / 16.0;
            }
        }
        model_finish_grads(m);
        double norm = model_grad_norm(m), scale = 1 / (norm + 1e-6);
        model_update(m, &(AdamW){.learning_rate = 1e-3 * (step < 5 ? step : 5), .beta1 = 0.9, .beta2 = 0.98,
                                 .eps = 1e-8, .weight_decay = 0.1, .head_rate = 2,
                                 .scale = scale < 1 ? scale : 1, .step = step});
    }
    pack_free(&p);
    return loss;
}

static Config small(Config c) {
    c.channels = 32, c.head_dim = 8, c.num_heads = 4, c.num_kv_heads = c.num_kv_heads == 2 ? 2 : 4;
    c.rotary_dims = c.rotary_dims == 6 ? 8 : c.rotary_dims * 2;
    c.hidden = 40, c.max_positions = 16, c.vocab_size = 48;
    return c;
}

static void twenty_steps(Config c, int bf16, const char *want) {
    kernels_precision(bf16);
    for (int k = 0; kernels_variant(k); k++)
        for (int threads = 1; threads <= 3; threads++) {
            Model m;
            char hex[65];
            kernels_set_threads(threads);
            CHECK(kernels_init(kernels_variant(k)) == 0);
            double loss = train(&m, small(c));
            digest(hex, &m);
            CHECK(loss > 0 && loss < (c.reward ? 0.693 : 3.8));   // log 2, and log 48 = 3.87 of a fresh model
            if (strcmp(hex, want))
                test_bad++, printf("    %s, %d threads: %s\n", kernels_name(), threads, hex);
            model_free(&m);
        }
    kernels_set_threads(1);
    kernels_precision(0);
    if (kernels_init(NULL) < 0) exit(1);
}
static void test_twenty_steps_of_language_modelling_give_the_recorded_bits(void) {
    twenty_steps(neox(0, POOL_LAST), 0, "5ce2dd65cbe3e71d2850ceabdff872de2db9dfb58b30b6af5efab9ed76d162fc");
    twenty_steps(gpt2(0, POOL_LAST), 0, "c42aff321b75bf418c233fcba073439a7aede95342e67229feb2f794d7950a34");
}
static void test_twenty_steps_of_a_reward_model_give_the_recorded_bits(void) {
    twenty_steps(llama(1, POOL_LAST), 0, "7f4d6696586401e5f3ec5e41b6dfd250a603b35bb0216932a7863375c00c9419");
}
static void test_twenty_steps_with_bf16_operands_give_the_recorded_bits(void) {
    twenty_steps(neox(0, POOL_LAST), 1, "585bfee5dd4b4e83bd6525c59932d08fd3078953169802cbb9114ef517713fc6");
    twenty_steps(llama(1, POOL_LAST), 1, "6d6e752f865f3c2c748c028f0bbdcab611a3879393b352c79f361444fb753e98");
}

int main(int argc, char **argv) {
    // three threads on fewer free cores: they must sleep while they wait, and OpenMP reads this before main
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv(argv[0], argv);
    test_choose(argc, argv);
    kernels_set_threads(1);
    if (kernels_init(NULL) < 0) return fprintf(stderr, "%s\n", error_text), 1;
    make_data();
    RUN(test_a_record_is_packed_with_its_prompt_once_and_one_target_a_row);
    RUN(test_a_document_is_cut_into_windows_in_which_every_token_is_a_target_once);
    RUN(test_a_text_scores_the_same_bits_alone_and_among_any_neighbours_in_any_order);
    RUN(test_gradients_are_the_same_bits_for_every_size_of_micro_batch);
    RUN(test_recomputed_activations_give_the_same_gradients_in_less_memory);
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
    json_free(&json);
    return test_summary();
}

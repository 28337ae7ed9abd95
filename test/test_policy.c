/* test_policy.c - the step of policies on a small model and texts made by hand. */
#include "test.h"
#include "../policy.c"

enum { EOS = 9, V = 40, TOKENS = 200 };
static int token[TOKENS];
static Run run;

// A model of two layers, and data of prompts with one or two answers; the starting model is the reference.
static Config small(void) {
    return (Config){.family = FAMILY_NEOX, .vocab_size = V, .channels = 16, .num_layers = 2, .num_heads = 2,
                    .num_kv_heads = 2, .head_dim = 8, .hidden = 64, .max_positions = 64,
                    .parallel_residual = 1, .tied = 1, .rotary_dims = 4, .qkv_bias = 1, .out_bias = 1,
                    .mlp_bias = 1, .norm_eps = 1e-5f, .rope_theta = 10000, .eos = EOS};
}
static void refer(Dataset *d) {
    double logp[64];
    if (evaluate_texts(&run.model, EOS, d, logp) < 0) exit(1);
    for (size_t i = 0; i < d->num_answers; i++) d->answer[i].ref_logp = logp[i];
}
static void begin(const Objective *o, Dataset *d, Item *item, size_t n) {
    model_free(&run.model), pack_free(&run.pack);
    memset(&opt, 0, sizeof opt);
    opt.micro_batch_tokens = 1000, opt.beta = 0.1, opt.desirable_weight = opt.undesirable_weight = 1;
    continuous = positives_are_demos = 0;
    run.objective = o, run.data = d, run.num_train = 1, run.unit = 1, run.limit = 1000;
    run.item = item, run.num_items = n, run.tokenizer.eos = EOS;
    if (model_init(&run.model, small()) < 0 || model_random(&run.model, 5) < 0
        || model_init_training(&run.model) < 0 || model_reserve(&run.model, 100, 8) < 0) exit(1);
    for (int i = 0; i < TOKENS; i++) token[i] = (int)random_below(V, 3, STREAM_TEST, 0, (uint64_t)i);
    refer(d);
}
static double step(size_t n) {
    double loss = 0;
    model_zero_grads(&run.model);
    if (step_policy(&run, 0, n, &loss) < 0) exit(1);
    model_finish_grads(&run.model);
    return loss;
}

static Item four[] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 3, 0}};

// Four pairs.  twins: the two answers of each are the same text.
static Dataset pairs_of(int twins) {
    static Record record[4];
    static Answer answer[8];
    for (int i = 0; i < 4; i++) {
        record[i] = (Record){.prompt = {(size_t)(20*i), i}, .first = 2*i,
                             .count = 2, .weight = 1, .line = (size_t)i + 1, .prompt_id = (unsigned)i};
        for (int k = 0; k < 2; k++) {
            Span text = {(size_t)(20*i + 4 + (twins ? 0 : 6*k)), twins ? 5 : 3 + 2*k};
            answer[2*i + k] = (Answer){.tokens = text, .score = (float)(1 - k)};
        }
    }
    return (Dataset){.path = "p", .kind = DATA_PAIR, .token = token, .record = record, .num_records = 4,
                     .answer = answer, .num_answers = 8};
}

// ------------------------------------------------------------------------------------------------ the tests

static void test_a_texts_log_probability_is_the_sum_over_its_answer_and_end_and_a_cut_one_has_no_end(void) {
    Dataset d = pairs_of(0);
    double logp[8], whole;
    float row[100];
    begin(&policies[POLICY_DPO], &d, four, 4);
    CHECK(scored_tokens(&d, &d.record[0], 0) == 3);                   // it has no prompt
    CHECK(scored_tokens(&d, &d.record[1], 0) == 4);
    for (int cut = 0; cut < 2; cut++) {
        for (int i = 0; i < 8; i++) d.answer[i].cut = cut;
        CHECK(evaluate_texts(&run.model, EOS, &d, logp) == 0);
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 2; k++) {
                Record alone = d.record[i];
                alone.first += k, alone.count = 1, whole = 0;
                pack_clear(&run.pack);
                CHECK(pack_record(&run.pack, &d, &alone, POOL_LAST, EOS) == 0);
                Batch b = pack_batch(&run.pack);
                model_forward(&run.model, &b);
                CHECK(model_logp(&run.model, &b, row) == 0);
                int n = 0;
                for (int t = 0; t < b.T; t++) whole += row[t], n += b.target[t] >= 0;
                CHECK(n == scored_tokens(&d, &d.record[i], k));
                CHECK(logp[d.record[i].first + k] == whole);
            }
    }
}

static void test_a_policy_that_is_the_reference_costs_log_2_and_goes_down_from_there(void) {
    Dataset d = pairs_of(0);
    for (int o = POLICY_DPO; o <= POLICY_POINTWISE_DPO; o++) {
        if (o == POLICY_IPO) continue;
        begin(&policies[o], &d, four, 4);
        for (int s = 0; s < 5; s++) {
            static double last;
            double loss = step(4);
            if (s == 0) CHECK_NEAR(loss, log(2), 1e-7);
            else CHECK(loss < last);
            last = loss;
            model_update(&run.model, &(AdamW){1e-3, 0.9, 0.999, 1e-8, 0, 1, 1, s + 1});
        }
        CHECK(o == POLICY_POINTWISE_DPO || (sums.correct == 4 && sums.margin > 0));
    }
}

static void test_two_answers_that_are_the_same_text_have_no_gradient(void) {
    static const int pairwise[] = {POLICY_DPO, POLICY_IPO, POLICY_SIMPO};
    Dataset d = pairs_of(1);
    for (int i = 0; i < 3; i++) {
        begin(&policies[pairwise[i]], &d, four, 4);
        step(4);
        CHECK(model_grad_norm(&run.model) < 1e-5);                    // rounding where the two meet
        CHECK(sums.correct == 2 && sums.margin == 0);
    }
}

static float *gradients(void) {
    float *g = allocate(run.model.num_params, sizeof *g);
    if (!g) exit(1);
    kernels_read(g, run.model.grads_memory, run.model.num_params);
    return g;
}

static void test_every_objective_has_the_same_bits_in_one_micro_batch_and_in_many(void) {
    Dataset d[2] = {pairs_of(0)};
    static Record one_each[4];
    for (int o = 0; o < POLICIES; o++) {
        begin(&policies[o], d, four, 4);
        if (o == POLICY_KTO) {
            CHECK(mismatch(&d[1], &d[0]) == 0);
            refer(&d[1]);
        }
        if (o == POLICY_SFT) {
            memcpy(one_each, d[0].record, sizeof one_each);
            for (int i = 0; i < 4; i++) one_each[i].count = 1;
            d[0].record = one_each;
        }
        opt.logp = o % 2, opt.reduction = o % 3;
        model_update(&run.model, &(AdamW){1e-2, 0.9, 0.999, 1e-8, 0.1, 1, 1, 1});  // so that the KL is not 0
        run.limit = 1000;
        double loss = step(4);
        float *g = gradients();
        for (run.limit = 1; run.limit < 40; run.limit += 13) {
            CHECK(step(4) == loss);
            float *h = gradients();
            CHECK(!memcmp(g, h, run.model.num_params * sizeof *g));
            free(h);
        }
        CHECK(model_grad_norm(&run.model) > 0);
        free(g);
        d[0] = pairs_of(0);
    }
}

static void test_ulma_with_demonstrations_alone_is_sft_with_a_mean_of_texts(void) {
    Dataset d = pairs_of(0);
    for (int i = 0; i < 4; i++) d.record[i].count = 1;
    for (int mean = 0; mean < 2; mean++) {
        begin(&policies[POLICY_SFT], &d, four, 4);
        opt.logp = mean;
        double loss = step(4);
        float *g = gradients();
        begin(&policies[POLICY_ULMA], &d, four, 4);
        opt.logp = mean, positives_are_demos = 1;
        CHECK(step(4) == loss);
        float *h = gradients();
        CHECK(!memcmp(g, h, run.model.num_params * sizeof *g));
        free(g), free(h);
    }
}

static void test_kto_meets_every_prompt_with_an_answer_to_another(void) {
    Dataset d = pairs_of(0), m;
    d.record[1].prompt_id = 0;                                        // two rows of one prompt
    CHECK(mismatch(&m, &d) == 0 && m.num_records == 4 && m.num_answers == 4);
    for (int i = 0; i < 4; i++) {
        int from = (int)(m.answer[m.record[i].first].tokens.start / 20);           // the answer's row
        CHECK(m.record[i].count == 1 && m.record[i].prompt.start == d.record[i].prompt.start);
        CHECK(d.record[from].prompt_id != d.record[i].prompt_id);
    }
    static const int next[4] = {2, 2, 3, 0};                          // the first row after it with another
    for (int i = 0; i < 4; i++) CHECK(m.answer[i].tokens.start / 20 == (size_t)next[i]);
    for (int i = 0; i < 4; i++) d.record[i].prompt_id = i == 0 ? 1 : 0;
    CHECK(mismatch(&m, &d) == 0);
    for (int i = 0; i < 4; i++) CHECK(m.answer[i].tokens.start / 20 == (size_t)(i == 0));
    for (int i = 0; i < 4; i++) d.record[i].prompt_id = 7;
    CHECK(mismatch(&m, &d) < 0);
}

static void test_references_come_back_from_their_file_unless_it_is_damaged_or_of_another_key(void) {
    static const char path[] = "test/bin/reference.bin";
    char line[KEY_LINE + 1], key[65], other[65];
    Dataset d = pairs_of(0);
    double kept[8];
    begin(&policies[POLICY_DPO], &d, four, 4);
    CHECK(reference_key(&run, 1, key) == 0);
    snprintf(line, sizeof line, "more reference %s\n", key);
    CHECK(strlen(line) == KEY_LINE && references_write(&run, 1, path, line) == 0);
    for (int i = 0; i < 8; i++) kept[i] = d.answer[i].ref_logp, d.answer[i].ref_logp = 0;
    CHECK(references_read(&run, 1, path, line) == 1);
    for (int i = 0; i < 8; i++) CHECK(d.answer[i].ref_logp == kept[i]);
    Buffer b = {0};
    CHECK(file_read(&b, path) == 0);
    for (size_t n = 0; n < b.len; n += 71) {                          // a bit flipped, the end missing
        b.data[n] ^= 4;
        CHECK(file_write(path, b.data, b.len) == 0 && references_read(&run, 1, path, line) == 0);
        b.data[n] ^= 4;
        CHECK(file_write(path, b.data, n) == 0 && references_read(&run, 1, path, line) == 0);
    }
    buffer_free(&b), remove(path);
    token[20]++;
    CHECK(reference_key(&run, 1, other) == 0 && strcmp(key, other));
    token[20]--, d.answer[3].tokens.len--;
    CHECK(reference_key(&run, 1, other) == 0 && strcmp(key, other));
    d.answer[3].tokens.len++, d.answer[3].score = 5;                  // a score does not matter
    CHECK(reference_key(&run, 1, other) == 0 && !strcmp(key, other));
    opt.precision = 1;
    CHECK(reference_key(&run, 1, other) == 0 && strcmp(key, other));
    opt.precision = 0;
    model_update(&run.model, &(AdamW){1e-3, 0.9, 0.999, 1e-8, 0.1, 1, 1, 1});
    CHECK(reference_key(&run, 1, other) == 0 && strcmp(key, other));
}

static void test_a_reference_that_is_not_the_policy_is_noticed_before_the_first_step(void) {
    static size_t end[] = {4};
    Dataset d = pairs_of(0);
    begin(&policies[POLICY_DPO], &d, four, 4);
    run.step_end = end;
    CHECK(check_start(&run, "x", 1) == 0);
    d.answer[3].ref_logp += 1e-6;
    CHECK(check_start(&run, "x", 1) < 0 && error_code == EX_DATAERR);
    CHECK(strstr(error_text, "p:2") && strstr(error_text, "remove it"));
    CHECK(check_start(&run, "x", 0) < 0 && strstr(error_text, "more selftest"));
}

static void test_perplexity_and_area_of_held_out_points(void) {
    Dataset d = pairs_of(0);
    Held x;
    double logp[8], reward[8];
    d.kind = DATA_POINT;
    for (int i = 0; i < 4; i++) d.record[i].count = 1, d.answer[2*i].score = i < 2;   // 3, 4, 4, 4 tokens
    for (int i = 0; i < 8; i++) logp[i] = -log(2) * (i < 2 ? 3 : 8), reward[i] = 8 - i;
    CHECK(held_out(&x, &d, logp, reward) == 0 && x.n == 4 && x.good == 2 && x.prompts == 4);
    CHECK_NEAR(x.perplexity, pow(2, 11.0 / 7), 1e-9);
    CHECK_NEAR(x.item_perplexity, 3, 1e-9);
    CHECK_NEAR(x.auc, 1, 0);
    for (int i = 0; i < 8; i++) reward[i] = i;
    CHECK(held_out(&x, &d, logp, reward) == 0 && x.auc == 0);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init(NULL) < 0) return 1;
    RUN(test_a_texts_log_probability_is_the_sum_over_its_answer_and_end_and_a_cut_one_has_no_end);
    RUN(test_a_policy_that_is_the_reference_costs_log_2_and_goes_down_from_there);
    RUN(test_two_answers_that_are_the_same_text_have_no_gradient);
    RUN(test_every_objective_has_the_same_bits_in_one_micro_batch_and_in_many);
    RUN(test_ulma_with_demonstrations_alone_is_sft_with_a_mean_of_texts);
    RUN(test_kto_meets_every_prompt_with_an_answer_to_another);
    RUN(test_references_come_back_from_their_file_unless_it_is_damaged_or_of_another_key);
    RUN(test_a_reference_that_is_not_the_policy_is_noticed_before_the_first_step);
    RUN(test_perplexity_and_area_of_held_out_points);
    return test_summary();
}

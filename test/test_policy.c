/* test_policy.c - the step of policies on a small model and texts made by hand.  */
#include "test.h"
#include "../objectives.c"

enum { EOS = 9, V = 40, TOKENS = 200, PAIRS_MADE = 4 };
static int token[TOKENS];
static Run run;
static Item four[] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 3, 0}};

// ------------------------------------------------------------------------- a model, data, a run

static Config small_neox(void) {
    return (Config){.family = FAMILY_NEOX, .vocab_size = V, .channels = 16, .num_layers = 2,
                    .num_heads = 2, .num_kv_heads = 2, .head_dim = 8, .hidden = 64,
                    .max_positions = 64, .parallel_residual = 1, .tied = 1, .rotary_dims = 4,
                    .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .norm_eps = 1e-5f,
                    .rope_theta = 10000, .eos = EOS};
}

// The model as it is becomes the reference of d.
static void refer(Dataset *d) {
    double logp[64];
    if (evaluate_texts(&run.model, EOS, d, logp) < 0) exit(1);
    for (size_t i = 0; i < d->num_answers; i++) d->answer[i].ref_logp = logp[i];
}

// Lets go of the run before it, but for the data, which is the test's.
static void end_run(void) {
    policy_close(&run);
    free(run.value);
    free(run.dvalue);
    model_free(&run.model);
    pack_free(&run.pack);
}

// A fresh model of two layers that is its own reference, on the four items of d.
static void begin(const char *objective, Dataset *d) {
    end_run();
    opt = (Settings){.micro_batch_tokens = 1000,
                     .loss = {.beta = 0.1, .desirable_weight = 1, .undesirable_weight = 1,
                              .demo_share = 0.35}};
    run = (Run){.objective = objective_find(objective), .data = d, .num_train = 1, .unit = 1,
                .limit = 1000, .item = four, .num_items = 4, .tokenizer.eos = EOS};
    if (run_open(&run) < 0) exit(1);
    if (model_init(&run.model, small_neox()) < 0) exit(1);
    if (model_random(&run.model, 5) < 0) exit(1);
    if (model_init_training(&run.model) < 0) exit(1);
    if (model_reserve(&run.model, 100, 8) < 0) exit(1);
    for (int i = 0; i < TOKENS; i++) {
        token[i] = (int)random_below(V, 3, STREAM_TEST, 0, (uint64_t)i);
    }
    refer(d);
}

// The loss of the step of n items, whose gradients are left in the model.
static double step(size_t n) {
    double loss = 0;
    model_zero_grads(&run.model);
    if (policy_step(&run, 0, n, &loss) < 0) exit(1);
    model_finish_grads(&run.model);
    return loss;
}

static void update(double rate, int t) {
    model_update(&run.model, &(AdamW){rate, 0.9, 0.999, 1e-8, 0.1, 1, 1, t});
}

static float *gradients(void) {
    float *g = allocate(run.model.num_params, sizeof *g);
    if (!g) exit(1);
    kernels_read(g, run.model.grads_memory, run.model.num_params);
    return g;
}
static int same_gradients(const float *g) {
    float *now_there = gradients();
    const int same = !memcmp(g, now_there, run.model.num_params * sizeof *g);
    free(now_there);
    return same;
}

// Four pairs.  twins: the two answers of each are the same text.
static Record record[PAIRS_MADE];
static Answer answer[2 * PAIRS_MADE];
static Dataset pairs_of(int twins) {
    for (int i = 0; i < PAIRS_MADE; i++) {
        const size_t at = (size_t)(20 * i);
        record[i] = (Record){.prompt = {at, i}, .first = 2 * i, .count = 2, .weight = 1,
                             .line = (size_t)i + 1, .prompt_id = (unsigned)i};
        for (int k = 0; k < 2; k++) {
            Span text = {at + 4 + (twins ? 0 : 6 * (size_t)k), twins ? 5 : 3 + 2 * k};
            answer[2 * i + k] = (Answer){.tokens = text, .score = (float)(1 - k)};
        }
    }
    return (Dataset){.path = "p", .kind = DATA_PAIR, .token = token, .record = record,
                     .num_records = PAIRS_MADE, .answer = answer, .num_answers = 2 * PAIRS_MADE};
}

// ------------------------------------------------------------------------------------ the tests

// The log-probability of answer k of record i, computed alone; *tokens: how many rows are scored.
static double alone(const Dataset *d, int i, int k, int *tokens) {
    Record one = d->record[i];
    float row[100];
    double sum = 0;
    one.first += k;
    one.count = 1;
    pack_clear(&run.pack);
    CHECK(pack_record(&run.pack, d, &one, POOL_LAST, EOS) == 0);
    Batch b = pack_batch(&run.pack);
    model_forward(&run.model, &b);
    CHECK(model_logp(&run.model, &b, row) == 0);
    *tokens = 0;
    for (int t = 0; t < b.T; t++) {
        sum += row[t];
        *tokens += b.target[t] >= 0;
    }
    return sum;
}

static void
test_a_texts_log_probability_is_the_sum_over_its_answer_and_end_and_a_cut_one_has_no_end(void) {
    Dataset d = pairs_of(0);
    double logp[8];
    begin("dpo", &d);
    CHECK(scored_tokens(&d, &d.record[0], 0) == 3);         // it has no prompt
    CHECK(scored_tokens(&d, &d.record[1], 0) == 4);
    for (int cut = 0; cut < 2; cut++) {
        for (int i = 0; i < 8; i++) d.answer[i].cut = cut;
        CHECK(evaluate_texts(&run.model, EOS, &d, logp) == 0);
        for (int a = 0; a < 8; a++) {
            int tokens;
            CHECK(logp[a] == alone(&d, a / 2, a % 2, &tokens));
            CHECK(tokens == scored_tokens(&d, &d.record[a / 2], a % 2));
        }
    }
}

// Record 1 again with its answers the other way round, with one that ends elsewhere, and with one
// that is cut; then record 2 behind another prompt.
static void test_a_text_that_stands_in_several_rows_has_its_own_log_probability_in_each(void) {
    Dataset d = pairs_of(0);
    Record rows[PAIRS_MADE + 4];
    Answer answers[2 * (PAIRS_MADE + 4)];
    double logp[2 * (PAIRS_MADE + 4)];
    begin("dpo", &d);
    memcpy(rows, record, sizeof record);
    memcpy(answers, answer, sizeof answer);
    for (int i = 0; i < 4; i++) {
        const int n = PAIRS_MADE + i, from = i == 3 ? 2 : 1;
        rows[n] = record[from];
        rows[n].first = 2 * n;
        for (int k = 0; k < 2; k++) answers[2 * n + k] = answer[2 * from + (i == 0 ? 1 - k : k)];
    }
    answers[2 * (PAIRS_MADE + 1)].tokens.len--;
    answers[2 * (PAIRS_MADE + 2)].cut = 1;
    rows[PAIRS_MADE + 3].prompt.start++;
    d.record = rows;
    d.answer = answers;
    d.num_records = PAIRS_MADE + 4;
    d.num_answers = 2 * d.num_records;

    CHECK(evaluate_texts(&run.model, EOS, &d, logp) == 0);
    for (int a = 0; a < 2 * (PAIRS_MADE + 4); a++) {
        int tokens;
        CHECK(logp[a] == alone(&d, a / 2, a % 2, &tokens));
    }
    CHECK(logp[2 * PAIRS_MADE] == logp[3] && logp[2 * PAIRS_MADE + 1] == logp[2]);
    CHECK(logp[2 * PAIRS_MADE + 2] != logp[2] && logp[2 * PAIRS_MADE + 4] != logp[2]);
}

static void test_the_log_probabilities_of_its_tokens_are_those_a_text_is_the_sum_of(void) {
    Dataset d = pairs_of(0);
    double logp[8], again[8];
    float *token_logp;
    begin("dpo", &d);
    d.num_tokens = 200;
    token_logp = allocate(d.num_tokens + d.num_answers, sizeof *token_logp);
    for (int cut = 0; cut < 2; cut++) {
        for (int i = 0; i < 8; i++) d.answer[i].cut = cut;
        CHECK(evaluate_texts(&run.model, EOS, &d, logp) == 0);
        CHECK(evaluate_tokens(&run.model, EOS, &d, again, token_logp) == 0);
        for (int a = 0; a < 8; a++) {
            const Span text = d.answer[a].tokens;
            double sum = 0;
            for (int i = d.record[a / 2].prompt.len == 0; i < text.len; i++) {
                sum += token_logp[text.start + (size_t)i];
                token_logp[text.start + (size_t)i] = 1;               // seen
            }
            if (!cut) sum += token_logp[d.num_tokens + (size_t)a];
            CHECK(sum == logp[a] && again[a] == logp[a]);
        }
    }
    for (size_t k = 0; k < d.num_tokens; k++) CHECK(token_logp[k] == 0 || token_logp[k] == 1);
    free(token_logp);
}

static void test_a_policy_that_is_the_reference_costs_log_2_and_goes_down_from_there(void) {
    static const char *const costs_log_2[] = {"dpo", "pointwise-dpo"};
    Dataset d = pairs_of(0);
    for (int i = 0; i < 2; i++) {
        double last = 0;
        begin(costs_log_2[i], &d);
        for (int s = 0; s < 5; s++) {
            double loss = step(4);
            if (s == 0) CHECK_NEAR(loss, log(2), 1e-7);
            else CHECK(loss < last);
            last = loss;
            model_update(&run.model, &(AdamW){1e-3, 0.9, 0.999, 1e-8, 0, 1, 1, s + 1});
        }
        if (run.objective->data != PAIRS) continue;
        CHECK(run.policy->sums.correct == 4 && run.policy->sums.margin > 0);
    }
}

static void test_two_answers_that_are_the_same_text_have_no_gradient(void) {
    Dataset d = pairs_of(1);
    for (int o = 0; o < NUM_OBJECTIVES; o++) {
        const Objective *x = &objectives[o];
        if (!x->loss || x->data != PAIRS || x->imitates) continue;
        begin(x->name, &d);
        step(4);
        CHECK(model_grad_norm(&run.model) < 1e-5);          // rounding where the two meet
        CHECK(run.policy->sums.correct == 2 && run.policy->sums.margin == 0);
    }
}

static void test_every_objective_has_the_same_bits_in_one_micro_batch_and_in_many(void) {
    for (int o = 0; o < NUM_OBJECTIVES; o++) {
        const Objective *x = &objectives[o];
        Dataset d[2] = {pairs_of(0)};
        if (!x->loss || x->data == PROMPTS) continue;       // of data rows (rl.sh has the others)
        begin(x->name, d);
        if (x->mismatched) {
            CHECK(mismatch_answers(&d[1], &d[0]) == 0);
            run.num_mismatched = 1;
            refer(&d[1]);
        }
        if (x->data == DEMONSTRATIONS) {
            for (int i = 0; i < PAIRS_MADE; i++) d[0].record[i].count = 1;
        }
        opt.logp = o % 2;
        opt.reduction = o % 3;
        opt.loss.label_smoothing = 0.1;
        update(1e-2, 1);                                    // so that the KL is not 0

        run.limit = 1000;
        const double loss = step(4);
        float *g = gradients();
        CHECK(isfinite(loss) && model_grad_norm(&run.model) > 0);
        for (run.limit = 1; run.limit < 40; run.limit += 13) {
            CHECK(step(4) == loss);
            CHECK(same_gradients(g));
        }
        free(g);
        end_run();
        run = (Run){0};
    }
}

// The step with base responses is the step without plus lambda times the mean of r^2, and its
// gradient is the slope of that along itself.
static void test_base_responses_add_their_squares_and_gradient(void) {
    static Dataset d[2];
    static Record base_record[PAIRS_MADE];
    static Answer base_answer[PAIRS_MADE];
    double square = 0, slope, logp[PAIRS_MADE];
    for (int mean = 0; mean < 2; mean++) {
        d[0] = pairs_of(0);
        for (int i = 0; i < PAIRS_MADE; i++) {
            const int k = PAIRS_MADE - 1 - i;               // in another order
            base_record[k] = record[i];
            base_record[k].first = k;
            base_record[k].count = 1;
            base_answer[k] = (Answer){.tokens = {(size_t)(100 + 20 * i), 4 + 3 * i}};
        }
        d[1] = (Dataset){.path = "base", .kind = DATA_COMPLETION, .token = token,
                         .record = base_record, .num_records = PAIRS_MADE, .answer = base_answer,
                         .num_answers = PAIRS_MADE};
        begin("dpo", d);
        opt.logp = mean;
        refer(&d[1]);
        update(1e-2, 1);
        run.limit = 1000;
        const double plain = step(4);
        CHECK(evaluate_texts(&run.model, EOS, &d[1], logp) == 0);
        square = 0;
        for (int k = 0; k < PAIRS_MADE; k++) {
            const double ref_logp = base_answer[k].ref_logp;
            square += bapo_loss(&slope, logp[k], ref_logp,
                                scored_tokens(&d[1], &base_record[k], 0)) / PAIRS_MADE;
        }

        // the loss, the same for all micro-batches
        opt.bapo_base.n = 1;
        opt.bapo_lambda = 50;
        run.num_then = 1;
        CHECK(find_bases(&run) == 0);
        const double loss = step(4);
        float *g = gradients();
        CHECK(square > 0);
        CHECK_NEAR(loss, plain + 50 * square, 1e-6 * loss);
        CHECK_NEAR(run.policy->sums.base, square, 1e-6 * square);
        for (run.limit = 1; run.limit < 40; run.limit += 13) {
            CHECK(step(4) == loss && same_gradients(g));
        }

        // half a step along the gradient up and down: (L(+) - L(-)) / 2h is its square norm
        run.limit = 1000;
        const size_t n = run.model.num_params;
        float *at = allocate(n, sizeof *at), *moved = allocate(n, sizeof *moved);
        double norm = 0, side[2];
        kernels_read(at, run.model.params_memory, n);
        for (size_t i = 0; i < n; i++) norm += (double)g[i] * g[i];
        const double h = 1e-3 / norm;
        for (int up = 0; up < 2; up++) {
            for (size_t i = 0; i < n; i++) moved[i] = at[i] + (float)((up ? h : -h) * g[i]);
            kernels_write(run.model.params_memory, moved, n);
            side[up] = step(4);
        }
        CHECK_NEAR((side[1] - side[0]) / (2 * h), norm, 0.01 * norm);
        free(at);
        free(moved);
        free(g);

        // a prompt without one
        d[1].num_records--;
        free(run.policy->base[0]);
        free(run.policy->base);
        CHECK(find_bases(&run) < 0 && strstr(error_text, "p:1: no row of --bapo_base"));
        d[1].kind = DATA_PAIR;
        free(run.policy->base[0]);
        free(run.policy->base);
        CHECK(find_bases(&run) < 0 && strstr(error_text, "base: pair data"));
    }
}

// A vocabulary of names, full stops and a stop word: one token each.
static void name_tokens(Tokenizer *t) {
    char piece[8];
    CHECK(tokenizer_init(t, V, 1) == 0);
    for (int i = 0; i < V; i++) {
        if (i % 4 == 0) snprintf(piece, sizeof piece, ".");
        else if (i % 4 == 1) snprintf(piece, sizeof piece, " of");
        else snprintf(piece, sizeof piece, " n%d", i);
        CHECK(tokenizer_add_piece(t, piece, strlen(piece), PIECE_IN_VOCAB) == i);
    }
}

// Four pairs with tokens of their own: answers of seven tokens, but for one of stop words.
static Dataset named_pairs(void) {
    Dataset d = pairs_of(0);
    int *own = allocate(TOKENS, sizeof *own);
    if (!own) exit(1);
    memcpy(own, token, sizeof token);
    for (int i = 0; i < 2 * PAIRS_MADE; i++) d.answer[i].tokens.len = 7;
    for (int i = 0; i < 7; i++) own[d.answer[4].tokens.start + (size_t)i] = 1;
    // " n2 n3. n6 n7 of n2": n6 n7 scores 2 + 2, n2 n3 3/2 + 2, n2 3/2
    const int first[] = {2, 3, 0, 6, 7, 1, 2};
    memcpy(own + d.answer[0].tokens.start, first, sizeof first);
    d.token = own;
    d.num_tokens = d.token_capacity = TOKENS;
    return d;
}

static int copy_is(const Dataset *copies, int k, const int *want, int n) {
    const Span s = copies->answer[k].tokens;
    return s.len == n && !memcmp(copies->token + s.start, want, (size_t)n * sizeof *want);
}

// The step with copies is the step without plus gamma times the mean of their levels' losses, log 3
// at first, and its gradient is the slope of that along itself, in the policy and in the head.
static void test_copies_add_the_loss_of_their_levels_and_its_gradient(void) {
    static Dataset d[2];
    pairs_of(0);
    begin("dpo", d);
    d[0] = named_pairs();
    d[1] = (Dataset){0};
    refer(&d[0]);
    name_tokens(&run.tokenizer);
    update(1e-2, 1);
    run.limit = 1000;
    const double plain = step(4);
    float *plain_g = gradients();

    // the copies
    opt.spo_gamma = 20;
    opt.spo_levels = 3;
    opt.spo_head_rate = 1;
    CHECK(copies_open(&run) == 0);
    CHECK(d[1].record[2].count < 6 && d[1].num_answers > 6);
    CHECK(copy_is(&d[1], 0, (int[]){2, 3, 0, 6, 7, 1, 2}, 7));
    CHECK(copy_is(&d[1], 1, (int[]){2, 3, 0, 1, 2}, 5));
    CHECK(copy_is(&d[1], 2, (int[]){0, 1, 2}, 3));

    // a head of zero
    CHECK_NEAR(step(4), plain + 20 * log(3), 1e-6 * 20);
    CHECK_NEAR(run.copies->loss, log(3), 1e-6);
    CHECK(run.copies->n == (double)d[1].num_answers && same_gradients(plain_g));

    // another one, which stays as it is without a learning rate
    const size_t n = run.model.num_params, heads = 3 * 16;
    float *head = run.copies->head, *moments = head + 2 * heads;
    for (size_t i = 0; i < heads; i++) head[i] = (float)random_normal(6, STREAM_TEST, 0, i);
    const double loss = step(4);
    float *g = gradients(), *head_g = allocate(heads, sizeof *head_g);
    memcpy(head_g, head + heads, heads * sizeof *head);
    CHECK_NEAR(loss, plain + 20 * run.copies->loss, 1e-6 * loss);
    CHECK(!same_gradients(plain_g));
    for (run.limit = 1; run.limit < 60; run.limit += 13) {
        CHECK(step(4) == loss && same_gradients(g));
        CHECK(!memcmp(head_g, head + heads, heads * sizeof *head));
    }

    // half a step along the gradients up and down: (L(+) - L(-)) / 2h is their square norm
    run.limit = 1000;
    float *at = allocate(n, sizeof *at), *moved = allocate(n, sizeof *moved);
    double norm[2] = {0, 0}, side[2];
    kernels_read(at, run.model.params_memory, n);
    for (size_t i = 0; i < n; i++) norm[0] += (double)g[i] * g[i];
    for (size_t i = 0; i < heads; i++) norm[1] += (double)head_g[i] * head_g[i];
    for (int of_head = 0; of_head < 2; of_head++) {
        const double h = 1e-2 / norm[of_head];
        for (int up = 0; up < 2; up++) {
            const float by = (float)(up ? h : -h);
            for (size_t i = 0; i < n; i++) moved[i] = at[i] + (of_head ? 0 : by * g[i]);
            kernels_write(run.model.params_memory, moved, n);
            for (size_t i = 0; of_head && i < heads; i++) head[i] += by * head_g[i];
            side[up] = step(4);
            for (size_t i = 0; of_head && i < heads; i++) head[i] -= by * head_g[i];
        }
        CHECK_NEAR((side[1] - side[0]) / (2 * h), norm[of_head], 0.01 * norm[of_head]);
    }

    // the first update of Adam is the rate, against the gradient's sign
    kernels_write(run.model.params_memory, at, n);
    memset(head, 0, heads * sizeof *head);
    memset(moments, 0, 2 * heads * sizeof *moments);
    run.copies->steps = 0;
    opt.learning_rate = 1e-3;
    opt.beta1 = 0.9;
    opt.beta2 = 0.999;
    step(4);
    for (size_t i = 0; i < heads; i++) {
        CHECK_NEAR(head[i], head[heads + i] > 0 ? -1e-3 : 1e-3, 1e-6);
    }

    // answers without key phrases have no copies
    copies_close(&run);
    for (int i = 0; i < TOKENS; i++) d[0].token[i] = 1;
    CHECK(copies_open(&run) < 0 && strstr(error_text, "p: no answer has key phrases for 3"));
    end_run();
    tokenizer_free(&run.tokenizer);
    free(d[0].token);
    run = (Run){0};
    free(at);
    free(moved);
    free(g);
    free(head_g);
    free(plain_g);
}

// Adds times the gradients of the step of four items with the references in d to sum; returns times
// its loss.
static double add_step(double *sum, double times) {
    const double loss = step(4);
    float *g = gradients();
    for (size_t i = 0; i < run.model.num_params; i++) sum[i] += times * g[i];
    free(g);
    return times * loss;
}

// With weights that are the same for all rows: the two references tell all answers apart alike.
static void test_mdpo_is_the_mean_of_losses_and_mrpo_the_loss_of_the_harmonic_mean(void) {
    Dataset d = pairs_of(0);
    double column[2][8], start[8], ref[4];
    for (int o = 0; o < 2; o++) {
        begin(o ? "ipo" : "dpo", &d);
        update(1e-2, 1);
        run.limit = 1000;
        for (int a = 0; a < 8; a++) start[a] = d.answer[a].ref_logp;
        for (int a = 0; a < 8; a++) {
            column[0][a] = start[0] - a % 2;
            column[1][a] = start[0] - 1 + 3 * (a % 2);
        }

        // the mean of the steps with each
        double *sum = allocate(run.model.num_params, sizeof *sum), loss = 0;
        for (int i = 0; i < 2; i++) {
            for (int a = 0; a < 8; a++) d.answer[a].ref_logp = column[i][a];
            loss += add_step(sum, i ? .75 : .25);
        }
        opt.references.n = 2;
        opt.reference_clip = 10;
        for (int k = 0; k < 2; k++) {
            MixSums sums = {.rows = 0};
            size_t at = 0;
            opt.reference_mix = k ? MIX_MRPO : MIX_MDPO;
            if (!k) CHECK(references_init(&run) == 0);
            mix_file(&d, column[0], 8, &at, ref, k ? NULL : run.policy->references, &sums);
            CHECK(at == 8 && sums.rows == 4 && sums.answers == 8 && sums.clipped == 0);
            CHECK_NEAR(sums.weight[0], 1, 1e-12);
            if (k) continue;

            float *g;
            CHECK_NEAR(step(4), loss, 1e-6 * loss);
            g = gradients();
            for (size_t i = 0; i < run.model.num_params; i++) {
                CHECK_NEAR(g[i], sum[i], 1e-4 * (.01 + fabs(sum[i])));
            }
            free(g);
            CHECK_NEAR(d.answer[1].ref_logp, .25 * column[0][1] + .75 * column[1][1], 1e-12);
        }
        for (int a = 0; a < 8; a++) {
            const double want = -log(.25 * exp(start[0] - column[0][a])
                                     + .75 * exp(start[0] - column[1][a])) + start[0];
            CHECK_NEAR(d.answer[a].ref_logp, want, 1e-12);
        }
        free(sum);
    }
}

// Rows of the groups x, y, x, x for four pairs.
static Dataset pairs_of_groups(void) {
    static char rows[] = "{\"who\":\"x\"}{\"who\":\"y\"}{\"who\":\"x\"}{\"who\":\"x\"}";
    const size_t len = (sizeof rows - 1) / PAIRS_MADE;
    Dataset d = pairs_of(0);
    d.contents.data = rows;
    for (int i = 0; i < PAIRS_MADE; i++) {
        record[i].line_start = (size_t)i * len;
        record[i].line_len = len;
    }
    return d;
}

// The mean loss of the rows of group y, or of x, of the model as it is.
static double mean_of_group(int y) {
    for (int i = 0; i < PAIRS_MADE; i++) record[i].weight = (i == 1) == y;
    const double loss = step(PAIRS_MADE) * PAIRS_MADE / (y ? 1 : 3);
    for (int i = 0; i < PAIRS_MADE; i++) record[i].weight = 1;
    return loss;
}

// Weights in closed form, and the gradient of rows that have them as their own weights.
static void test_a_group_robust_step_is_that_of_rows_with_the_groups_weights(void) {
    static const char *const names[] = {"dpo", "ipo"};
    for (int o = 0; o < 4; o++) {
        Dataset d = pairs_of_groups();
        begin(names[o % 2], &d);
        update(1e-2, 1);
        opt.logging_steps = 10;
        opt.group_robust = "who";
        opt.group_step = 0.5;
        opt.group_loss = o / 2 ? GROUP_SHARE : GROUP_MEAN;
        opt.group_adjust = 0.25;

        // alpha of the losses l_g, which are means either way: the step is all the data
        const double l[2] = {mean_of_group(0), mean_of_group(1)};
        const double e[2] = {exp(.5 * (l[0] + .25 / sqrt(3))), exp(.5 * (l[1] + .25))};
        CHECK(groups_open(&run) == 0 && run.groups->n == 2 && run.groups->all_rows == 4);
        run.limit = 1000;
        const double loss = step(4);
        float *g = gradients();
        for (int k = 0; k < 2; k++) {
            CHECK_NEAR(run.groups->alpha[k], e[k] / (e[0] + e[1]), 1e-12);
            CHECK_NEAR(run.groups->sums.loss[k], l[k] * (k ? 1 : 3), 1e-12 * l[k]);
        }
        CHECK_NEAR(loss, (e[0] * l[0] + e[1] * l[1]) / (e[0] + e[1]), 1e-6 * loss);

        // however it is cut
        for (run.limit = 1; run.limit < 40; run.limit += 13) {
            memset(run.groups->log_alpha, 0, sizeof run.groups->log_alpha);
            CHECK(step(4) == loss && same_gradients(g));
        }

        // rows with these weights
        for (int i = 0; i < PAIRS_MADE; i++) {
            const int k = i == 1;
            record[i].weight = (float)run.groups->factor[k] * PAIRS_MADE;
        }
        groups_close(&run);
        CHECK(step(4) == loss && same_gradients(g));
        free(g);
    }
}

// Steps of one row: a group that has a quarter of them is worth as much as the other.
static void test_a_rare_groups_losses_count_by_its_share_of_the_data(void) {
    double alpha[NUM_GROUP_LOSSES][2];
    for (int how = 0; how < NUM_GROUP_LOSSES; how++) {
        Dataset d = pairs_of_groups();
        begin("dpo", &d);
        opt.logging_steps = 10;
        opt.group_robust = "who";
        opt.group_step = 0.1;
        opt.group_loss = how;
        CHECK(groups_open(&run) == 0);
        for (int i = 0; i < PAIRS_MADE; i++) {
            double loss = 0;
            CHECK(policy_step(&run, (size_t)i, (size_t)i + 1, &loss) == 0);
        }
        memcpy(alpha[how], run.groups->alpha, sizeof alpha[how]);
    }
    CHECK_NEAR(alpha[GROUP_SHARE][0], .5, 1e-7);            // each row costs log 2
    CHECK_NEAR(alpha[GROUP_MEAN][0], 1 / (1 + pow(2, -.2)), 1e-7);
}

static void test_ulma_with_demonstrations_alone_is_sft_with_a_mean_of_texts(void) {
    Dataset d = pairs_of(0);
    for (int i = 0; i < PAIRS_MADE; i++) d.record[i].count = 1;
    for (int mean = 0; mean < 2; mean++) {
        begin("sft", &d);
        opt.logp = mean;
        const double loss = step(4);
        float *g = gradients();
        begin("ulma", &d);
        opt.logp = mean;
        run.policy->positives_are_demos = 1;
        CHECK(step(4) == loss);
        CHECK(same_gradients(g));
        free(g);
    }
}

static void test_kto_meets_every_prompt_with_an_answer_to_another(void) {
    static const size_t next[4] = {2, 2, 3, 0};             // the first row after it with another
    Dataset d = pairs_of(0), m;
    d.record[1].prompt_id = 0;                              // two rows of one prompt
    CHECK(mismatch_answers(&m, &d) == 0 && m.num_records == 4 && m.num_answers == 4);
    for (int i = 0; i < 4; i++) {
        const size_t row = m.answer[m.record[i].first].tokens.start / 20;
        CHECK(m.record[i].count == 1 && m.record[i].prompt.start == d.record[i].prompt.start);
        CHECK(d.record[row].prompt_id != d.record[i].prompt_id);
        CHECK(row == next[i]);
    }
    free(m.record);
    free(m.answer);

    // one row of a prompt, three of another
    for (int i = 0; i < 4; i++) d.record[i].prompt_id = i == 0 ? 1 : 0;
    CHECK(mismatch_answers(&m, &d) == 0);
    for (int i = 0; i < 4; i++) CHECK(m.answer[i].tokens.start / 20 == (size_t)(i == 0));
    free(m.record);
    free(m.answer);

    // no longer than the prompt leaves room for
    const int prompt = d.record[0].prompt.len;
    const int other = d.answer[d.record[1].first].tokens.len;
    for (int room = 1; room <= other + 1; room++) {
        opt.max_length = prompt + room + 1;
        CHECK(mismatch_answers(&m, &d) == 0);
        CHECK(m.answer[0].tokens.len == (room < other ? room : other));
        CHECK(m.answer[0].cut == (room < other));
        free(m.record);
        free(m.answer);
    }
    opt.max_length = 0;

    // one prompt
    for (int i = 0; i < 4; i++) d.record[i].prompt_id = 7;
    CHECK(mismatch_answers(&m, &d) < 0);
    free(m.record);
    free(m.answer);
}

static void
test_references_come_back_from_their_file_unless_it_is_damaged_or_of_another_key(void) {
    static const char path[] = "test/bin/reference.bin";
    char line[KEY_LINE + 1], key[65];
    Dataset d = pairs_of(0);
    double kept[8];
    begin("dpo", &d);
    CHECK(reference_key(&run, &run.model, key) == 0);
    snprintf(line, sizeof line, "more reference %s\n", key);
    CHECK(strlen(line) == KEY_LINE && reference_write(&run, path, line) == 0);

    // they come back
    for (int i = 0; i < 8; i++) {
        kept[i] = d.answer[i].ref_logp;
        d.answer[i].ref_logp = 0;
    }
    CHECK(reference_read(&run, path, line) == 1);
    for (int i = 0; i < 8; i++) CHECK(d.answer[i].ref_logp == kept[i]);

    // a bit is flipped: where that makes it another kind of file, it is not to be lost
    Buffer b = {0};
    CHECK(file_read(&b, path) == 0);
    const size_t begins = strlen("more reference ");
    for (size_t n = 0; n < b.len; n += 71) {
        b.data[n] ^= 4;
        CHECK(file_write(path, b.data, b.len) == 0);
        CHECK(reference_read(&run, path, line) == (n < begins ? -1 : 0));
        b.data[n] ^= 4;

        // the end is missing
        CHECK(file_write(path, b.data, n) == 0 && reference_read(&run, path, line) == 0);
    }
    buffer_free(&b);
    remove(path);
}

static int key_is(const char *key) {
    char now_is[65];
    return reference_key(&run, &run.model, now_is) == 0 && !strcmp(key, now_is);
}

static void test_the_references_key_is_of_weights_texts_and_precision_alone(void) {
    char key[65];
    Dataset d = pairs_of(0);
    begin("dpo", &d);
    CHECK(reference_key(&run, &run.model, key) == 0 && key_is(key));
    token[20]++;
    CHECK(!key_is(key));
    token[20]--;
    d.answer[3].tokens.len--;
    CHECK(!key_is(key));
    d.answer[3].tokens.len++;
    d.answer[3].score = 5;                                  // a score does not matter
    CHECK(key_is(key));
    opt.precision = PRECISION_BF16;
    CHECK(!key_is(key));
    opt.precision = PRECISION_FP32;
    update(1e-3, 1);
    CHECK(!key_is(key));
}

static void test_a_reference_that_is_not_the_policy_is_noticed_before_the_first_step(void) {
    static size_t end[] = {4};
    Dataset d = pairs_of(0);
    begin("dpo", &d);
    run.step_end = end;
    CHECK(check_start(&run, "x", 1) == 0);
    d.answer[3].ref_logp += 1e-6;
    CHECK(check_start(&run, "x", 1) < 0 && error_code == EX_DATAERR);
    CHECK(strstr(error_text, "p:2") && strstr(error_text, "remove it"));
    CHECK(check_start(&run, "x", 0) < 0 && strstr(error_text, "more selftest"));
}

// A conversation as one answer with gaps, and as its turns, each behind all that was said before:
//   0      5     8      12    14    17    20
//   prompt |turn | user |turn |user |turn |
static void test_turns_of_one_answer_are_those_of_answers_behind_all_before(void) {
    Span gap[] = {{8, 4}, {14, 3}};
    Answer said[] = {{.tokens = {5, 15}, .num_gaps = 2}, {.tokens = {5, 3}},
                     {.tokens = {12, 2}}, {.tokens = {17, 3}}};
    Record row[] = {{.prompt = {0, 5}, .count = 1}, {.prompt = {0, 5}, .first = 1, .count = 1},
                    {.prompt = {0, 12}, .first = 2, .count = 1},
                    {.prompt = {0, 17}, .first = 3, .count = 1}};
    Dataset d = {.kind = DATA_COMPLETION, .token = token, .num_tokens = TOKENS, .gap = gap,
                 .num_gaps = 2, .answer = said, .num_answers = 4, .record = row,
                 .num_records = 4};
    double logp[4] = {0};
    begin("sft", &d);
    CHECK(evaluate_texts(&run.model, EOS, &d, logp) == 0);
    CHECK(scored_tokens(&d, &row[0], 0) == 3+1 + 2+1 + 3+1);
    CHECK_NEAR(logp[0], logp[1] + logp[2] + logp[3], 1e-12 * fabs(logp[0]));

    // what each row predicts: within the user's words nothing, before them the end of text
    Pack p = {0};
    CHECK(pack_record(&p, &d, &row[0], POOL_LAST, EOS) == 0);
    CHECK(p.T == 20 && p.B == 1);
    for (int i = 4; i < 20 && p.T == 20; i++) {
        int want = i < 19 ? token[i + 1] : EOS;
        if (i == 7 || i == 13) want = EOS;
        if ((i >= 8 && i < 11) || (i >= 14 && i < 16)) want = -1;
        CHECK(p.target[i] == want && p.token[i] == token[i] && p.position[i] == i);
    }
    pack_free(&p);
}

static void test_perplexity_and_area_of_held_out_points(void) {
    Dataset d = pairs_of(0);
    Held x;
    double logp[8], reward[8];
    d.kind = DATA_POINT;
    for (int i = 0; i < 4; i++) {                           // of 3, 4, 4, 4 tokens
        d.record[i].count = 1;
        d.answer[2 * i].score = i < 2;
    }
    for (int i = 0; i < 8; i++) {
        logp[i] = -log(2) * (i < 2 ? 3 : 8);
        reward[i] = 8 - i;
    }
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
    RUN(test_a_text_that_stands_in_several_rows_has_its_own_log_probability_in_each);
    RUN(test_the_log_probabilities_of_its_tokens_are_those_a_text_is_the_sum_of);
    RUN(test_a_policy_that_is_the_reference_costs_log_2_and_goes_down_from_there);
    RUN(test_two_answers_that_are_the_same_text_have_no_gradient);
    RUN(test_every_objective_has_the_same_bits_in_one_micro_batch_and_in_many);
    RUN(test_base_responses_add_their_squares_and_gradient);
    RUN(test_copies_add_the_loss_of_their_levels_and_its_gradient);
    RUN(test_mdpo_is_the_mean_of_losses_and_mrpo_the_loss_of_the_harmonic_mean);
    RUN(test_a_group_robust_step_is_that_of_rows_with_the_groups_weights);
    RUN(test_a_rare_groups_losses_count_by_its_share_of_the_data);
    RUN(test_ulma_with_demonstrations_alone_is_sft_with_a_mean_of_texts);
    RUN(test_kto_meets_every_prompt_with_an_answer_to_another);
    RUN(test_references_come_back_from_their_file_unless_it_is_damaged_or_of_another_key);
    RUN(test_the_references_key_is_of_weights_texts_and_precision_alone);
    RUN(test_a_reference_that_is_not_the_policy_is_noticed_before_the_first_step);
    RUN(test_turns_of_one_answer_are_those_of_answers_behind_all_before);
    RUN(test_perplexity_and_area_of_held_out_points);
    end_run();
    return test_summary();
}

/* train.c - the training loop: a plan (which texts, in which order, cut into steps), a step of each
 * objective, the schedule, the log.  The order is a function of data and seed alone; --micro_batch_tokens
 * only cuts it.                                                                                            */
#ifndef TRAIN_C
#define TRAIN_C
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "loss.c"
#include "metrics.c"
#include "batch.c"
#include "files/checkpoint.c"

enum { MAX_FILES = 1024 };
typedef struct { int n; const char *item[MAX_FILES]; } List;

// What the command line sets; the defaults stand in the table of options.c.
typedef struct {
    List model, train, then, demo, eval, from, shape, only;
    const char *out, *reference, *reference_cache, *tokenizer, *template_;
    const char *prompt_key, *chosen_key, *rejected_key;
    const char *objective;                                            // of doctor
    const struct Objective *training;                                 // of train: what its second word says
    int vocab_size, hidden_size, num_layers, num_heads;
    int max_length, max_prompt_length, over_length, pooling, more, normalize, scheduler;
    int max_steps, logging_steps, eval_steps, save_steps, per_step_tokens, per_step_pairs, micro_batch_tokens;
    int logp, reduction, labels, score_scale, demos, sft_on, compat;
    int threads, precision, dtype, folds, fold, learn, raw_head, recompute, help, quiet, random_weights, seed;
    int rounds;                                                       // of bench
    int rows;                                                         // of doctor
    List stop;                                                        // of sample, bestof and compare
    const char *prompts, *judge, *all;                             // the judge of the last two, all of bestof
    int judge_max_length, judge_max_prompt_length;
    int n, top_k, max_new_tokens, batch, unique;
    double temperature, top_p, min_p, repetition_penalty;
    double learning_rate, beta1, beta2, eps, weight_decay, warmup_ratio, max_grad_norm, head_rate;
    double alpha, epochs;
    double beta, label_smoothing, log_z, desirable_weight, undesirable_weight, orpo_lambda, simpo_gamma;
} Settings;
static Settings opt;
static const char *const dtype_names[] = {"f32", "f16", "bf16", NULL};

enum { MAX_PAIRS = 4096 };                                            // of a micro-batch

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// One text of the plan: a record of a data set; for language modelling the window that starts at row `first`.
typedef struct { int set, record, first; } Item;

typedef struct Run {
    Model model;
    Tokenizer tokenizer;
    Buffer tokenizer_text;                                         // its tokenizer.json, copied byte for byte
    const struct Objective *objective;
    int num_train, num_then, num_eval;                 // data[0..train), the `then` or `demo`, the eval files
    int num_mismatched;                                               // and KTO's mismatched answers
    Dataset *data;
    Item *item;                                                       // the whole run's texts in order
    size_t num_items, item_capacity;
    size_t *step_end;                                          // step s is item[step_end[s-1] .. step_end[s])
    size_t num_steps, step_capacity;
    int unit, limit;                                                  // items kept together; rows at a time
    Pack pack;
    float *coef, *value, *pooled, *momentum;                // per text or row of a micro-batch; MORE's (K, C)
    size_t coef_capacity, value_capacity, pooled_capacity;
    FILE *log;
    // of the running step
    size_t tokens, pairs;
    double correct, margin, reward_sum, reward_min, reward_max;
    double set_loss[MORE_MAX_SETS], lambda[MORE_MAX_SETS], set_norm[MORE_MAX_SETS];
} Run;

// ------------------------------------------------------------------------------------------------ the plan

static int plan_add(Run *run, Item item) {
    if (reserve(&run->item, &run->item_capacity, run->num_items + 1, sizeof item) < 0) return -1;
    run->item[run->num_items++] = item;
    return 0;
}
static int plan_cut(Run *run) {                                       // a step ends here
    if (reserve(&run->step_end, &run->step_capacity, run->num_steps + 1, sizeof *run->step_end) < 0)
        return -1;
    run->step_end[run->num_steps++] = run->num_items;
    return 0;
}

static int item_rows(const Run *run, const Item *i, int language_model) {
    const Dataset *d = &run->data[i->set];
    const Record *r = &d->record[i->record];
    if (!language_model) return record_rows(d, r, run->model.config.pooling);
    int rows = document_rows(d, r) - i->first;
    return rows < opt.max_length ? rows : opt.max_length;
}

// Is this record held out (or, when evaluating, left out) by --folds and --fold?  Decided by prompt.
static int in_fold(const Record *r) {
    return opt.folds > 1 && (int)(random_u64(1, STREAM_FOLD, 0, r->prompt_id) % (uint64_t)opt.folds) == opt.fold;
}

/* The plan's items from `begin` on, once an epoch (of the last a part if epochs is no whole number), in the
 * order of the random stream at order_key + epoch.  A step is full when it has `full` items, or rows of
 * windows; *held, from the caller, is what the last step holds so far.  0, or -1 after fail().           */
int plan_epochs(Run *run, size_t begin, uint64_t order_key, double epochs, int windows, size_t full,
                size_t *held) {
    size_t n = run->num_items - begin;
    Item *item = allocate(n, sizeof *item);
    uint32_t *order = allocate(n, sizeof *order);
    int ok = item && order;
    if (ok) memcpy(item, run->item + begin, n * sizeof *item);
    run->num_items = begin;
    for (int e = 0; ok && e < epochs; e++) {
        random_permutation(order, (uint32_t)n, (uint64_t)opt.seed, STREAM_ORDER, order_key + (uint64_t)e);
        for (size_t i = 0; ok && i < n && i < (epochs - e) * (double)n; i++) {
            Item *next = &item[order[i]];
            ok = plan_add(run, *next) == 0;
            *held += windows ? (size_t)item_rows(run, next, 1) : 1;
            if (ok && *held >= full) ok = plan_cut(run) == 0, *held = 0;
        }
    }
    free(item), free(order);
    return ok ? 0 : -1;
}

// The windows of data[first..end) for `epochs`; a step is full at per_step_tokens, of which it has *tokens so
// far.  0, or -1 after fail().
int plan_windows(Run *run, int first, int end, double epochs, size_t *tokens) {
    size_t begin = run->num_items;
    for (int s = first; s < end; s++)
        for (size_t r = 0; r < run->data[s].num_records; r++)
            for (int w = 0; w < document_rows(&run->data[s], &run->data[s].record[r]); w += opt.max_length)
                if (plan_add(run, (Item){s, (int)r, w}) < 0) return -1;
    return plan_epochs(run, begin, (uint64_t)first * 1000, epochs, 1, (size_t)opt.per_step_tokens, tokens);
}

/* The pairs of K sets, brought to one size by the sampler of loss.c.  grouped: step after step of G groups,
 * one pair of each set; otherwise (MultiTask) the same pairs in one shuffled list.                         */
int plan_pairs(Run *run, int grouped) {
    int K = run->num_train, ok = 1;
    uint32_t size[MAX_FILES], N = 0, *kept[MAX_FILES] = {0}, *index = NULL, *order = NULL;
    for (int k = 0; k < K && ok; k++) {
        Dataset *d = &run->data[k];
        size[k] = 0;
        ok = (kept[k] = allocate(d->num_records, sizeof **kept)) != NULL;
        for (size_t r = 0; ok && r < d->num_records; r++)
            if (!in_fold(&d->record[r])) kept[k][size[k]++] = (uint32_t)r;
        if (ok && !size[k]) ok = 0, fail(EX_DATAERR, "%s: no pairs to train on", d->path);
        if (ok && size[k] > N) N = size[k];
    }
    size_t per_step = (size_t)opt.per_step_pairs, n = (size_t)K * N;
    if (grouped) per_step = per_step / (size_t)K > 0 ? per_step / (size_t)K * (size_t)K : (size_t)K;
    ok = ok && (index = allocate(n, sizeof *index)) && (order = allocate(n, sizeof *order));
    for (int e = 0; ok && e < opt.epochs; e++) {
        sampler_fill(index, size, K, N, (uint64_t)opt.seed, (uint64_t)e);
        random_permutation(order, (uint32_t)n, (uint64_t)opt.seed, STREAM_ORDER, (uint64_t)e);
        for (size_t i = 0; ok && i < n && i < (opt.epochs - e) * (double)n; i++) {
            size_t j = grouped || K == 1 ? i : order[i], k = j % (size_t)K, g = j / (size_t)K;
            ok = plan_add(run, (Item){(int)k, (int)kept[k][index[k*N + g]], 0}) == 0;
            if (ok && (run->num_items % per_step == 0)) ok = plan_cut(run) == 0;
        }
    }
    for (int k = 0; k < K; k++) free(kept[k]);
    free(index), free(order);
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------ a step's micro-batches

// The end of the micro-batch that starts at item `at`: the whole units that `limit` rows hold, at least one.
static size_t micro_batch_end(const Run *run, size_t at, size_t end, int limit, int language_model) {
    size_t i = at;
    for (int total = 0; i < end; i += (size_t)run->unit) {
        int rows = 0;
        for (int u = 0; u < run->unit; u++) rows += item_rows(run, &run->item[i + (size_t)u], language_model);
        if (i > at && (rows > limit - total || i - at + (size_t)run->unit > MAX_PAIRS)) break;
        total += rows;
    }
    return i;
}
static size_t count_micro_batches(const Run *run, size_t at, size_t end, int limit, int language_model) {
    size_t n = 0;
    for (; at < end; n++) at = micro_batch_end(run, at, end, limit, language_model);
    return n;
}
// Equal shares: the smallest limit under which the step takes no more micro-batches than the budget asks for.
static int micro_batch_limit(const Run *run, size_t at, size_t end, int language_model) {
    int low = 0, high = opt.micro_batch_tokens;
    size_t n = count_micro_batches(run, at, end, high, language_model);
    while (high - low > 1) {                                          // high is enough, low is not
        int middle = low + (high - low) / 2;
        if (count_micro_batches(run, at, end, middle, language_model) > n) low = middle;
        else high = middle;
    }
    return high;
}

// Packs the micro-batch that starts at `at`; returns its end, or 0 after fail().
static size_t next_micro_batch(Run *run, size_t at, size_t end, int language_model) {
    pack_clear(&run->pack);
    end = micro_batch_end(run, at, end, run->limit, language_model);
    for (; at < end; at++) {
        const Item *i = &run->item[at];
        const Dataset *d = &run->data[i->set];
        const Record *r = &d->record[i->record];
        const int eos = run->tokenizer.eos;
        if ((language_model ? pack_window(&run->pack, d, r, i->first, opt.max_length, eos)
                            : pack_record(&run->pack, d, r, run->model.config.pooling, eos)) < 0) return 0;
    }
    run->tokens += (size_t)run->pack.T;
    size_t rows = (size_t)run->pack.T, pooled = (size_t)run->pack.B * (size_t)run->model.config.channels;
    if (reserve(&run->coef, &run->coef_capacity, rows, sizeof(float)) < 0
        || reserve(&run->value, &run->value_capacity, rows, sizeof(float)) < 0
        || reserve(&run->pooled, &run->pooled_capacity, pooled, sizeof(float)) < 0) return 0;
    return at;
}

// Language modelling: L = -1/N sum_t log p(x_t | x_<t), N the step's scored tokens.
int step_lm(Run *run, size_t at, size_t end, double *loss) {
    double N = 0;
    for (size_t i = at; i < end; i++) N += item_rows(run, &run->item[i], 1);
    while (at < end) {
        if (!(at = next_micro_batch(run, at, end, 1))) return -1;
        Batch b = pack_batch(&run->pack);
        lm_coefficients(run->coef, b.target, b.T, N);
        model_forward(&run->model, &b);
        if (model_backward(&run->model, &b, NULL, run->coef, run->value) < 0) return -1;
        *loss += lm_loss(run->value, b.T, N);
    }
    return 0;
}

/* A micro-batch of pairs after its forward: texts 2j and 2j+1 are chosen and rejected.  Adds the loss, runs
 * backward; weight[j], times the row's own weight, multiplies -log sigma(Delta_j).                         */
static int pairs_backward(Run *run, const Batch *b, const float *weight, const Item *item, double *loss) {
    const float *reward = run->value;
    float *dreward = run->coef;
    for (int j = 0; j < b->B / 2; j++) {
        const float *r = reward + 2*j;
        const Record *row = &run->data[item[j].set].record[item[j].record];
        float margin = row->margin, w = weight[j] * row->weight, one = 1, d[2] = {0, 0};
        dreward[2*j] = dreward[2*j+1] = 0;
        *loss += reward_bt_loss(dreward + 2*j, dreward + 2*j+1, r, r + 1, &w, &margin, 1);
        run->set_loss[item[j].set] += reward_bt_loss(d, d + 1, r, r + 1, &one, &margin, 1);
        run->correct += r[0] > r[1] ? 1 : r[0] == r[1] ? 0.5 : 0;
        run->margin += (double)r[0] - r[1];
        for (int i = 0; i < 2; i++) {
            run->reward_sum += r[i];
            if (r[i] < run->reward_min) run->reward_min = r[i];
            if (r[i] > run->reward_max) run->reward_max = r[i];
        }
    }
    run->pairs += (size_t)b->B / 2;
    return model_backward(&run->model, b, dreward, NULL, NULL);
}

// MultiTask, Single and the uniform control: the mean over the step's pairs, times the rows' own weights.
int step_reward(Run *run, size_t at, size_t end, double *loss) {
    const double n = (double)(end - at);
    float weight[MAX_PAIRS];
    while (at < end) {
        size_t begin = at;
        if (!(at = next_micro_batch(run, at, end, 0))) return -1;
        Batch b = pack_batch(&run->pack);
        for (size_t j = begin; j < at; j++) weight[j - begin] = (float)(1 / n);
        model_forward(&run->model, &b);
        model_rewards(&run->model, &b, run->value, NULL);
        if (pairs_backward(run, &b, weight, run->item + begin, loss) < 0) return -1;
    }
    for (int k = 0; k < run->num_train; k++) run->lambda[k] = 1.0 / run->num_train;
    return 0;
}

// The head gradient of pair j of the micro-batch, added to g with the factor 1/n.
static double pair_head_gradient(const Run *run, float *g, int j, const Item *item, double n) {
    const int C = run->model.config.channels;
    const Record *row = &run->data[item->set].record[item->record];
    float dchosen = 0, drejected = 0, weight = (float)(1 / n) * row->weight, margin = row->margin;
    const float *r = run->value + 2*j, *h = run->pooled + (size_t)(2*j)*(size_t)C;
    double loss = reward_bt_loss(&dchosen, &drejected, r, r + 1, &weight, &margin, 1);
    more_head_gradient(g, h, h + C, dchosen, C);
    return loss;
}

static double norm_of(const float *g, int C) {
    double s = 0;
    for (int c = 0; c < C; c++) s += (double)g[c] * g[c];
    return sqrt(s);
}

/* MORE as released: for each group, in order, the K pairs' head gradients, momentum (from zero), normaliser,
 * Frank-Wolfe; the step's loss is the mean over its groups of sum_i lambda_i l_i.                        */
int step_more_release(Run *run, size_t at, size_t end, double *loss) {
    const int K = run->num_train, C = run->model.config.channels;
    const double G = (double)(end - at) / K;
    float weight[MAX_PAIRS], *g = allocate((size_t)C, sizeof *g);
    int ok = g != NULL;
    while (ok && at < end) {
        size_t begin = at;
        if (!(at = next_micro_batch(run, at, end, 0))) { ok = 0; break; }
        Batch b = pack_batch(&run->pack);
        model_forward(&run->model, &b);
        model_rewards(&run->model, &b, run->value, run->pooled);
        for (int j = 0; ok && j < b.B / 2; j += K) {
            double lambda[MORE_MAX_SETS], l[MORE_MAX_SETS];
            for (int i = 0; i < K; i++) {
                memset(g, 0, (size_t)C * sizeof *g);
                l[i] = pair_head_gradient(run, g, j + i, run->item + begin + j + i, 1);
                run->set_norm[i] += norm_of(g, C) / G;
                more_momentum(run->momentum + (size_t)i*(size_t)C, g, opt.alpha, C);
            }
            ok = more_weights(lambda, run->momentum, l, MORE_RELEASE, (Normalizer)opt.normalize, K, C) == 0;
            for (int i = 0; i < K; i++)
                weight[j + i] = (float)(lambda[i] / G), run->lambda[i] += lambda[i] / G;
        }
        ok = ok && pairs_backward(run, &b, weight, run->item + begin, loss) == 0;
    }
    free(g);
    return ok ? 0 : -1;
}

/* MORE as in the paper: one gradient g_i for each data set over all its pairs of the step, the exact min-norm
 * point, L = sum_i lambda_i L_i.  Every forward comes before the first backward: when the step has several
 * micro-batches they are run forward a second time, so that no whole step's activations are kept.          */
int step_more_paper(Run *run, size_t at, size_t end, double *loss) {
    const int K = run->num_train, C = run->model.config.channels;
    const double n = (double)(end - at) / K;
    float weight[MAX_PAIRS], *g = allocate((size_t)K * (size_t)C, sizeof *g);
    double l[MORE_MAX_SETS] = {0};
    int ok = g != NULL, batches = 0;
    for (size_t i = at; ok && i < end; batches++) {
        size_t begin = i;
        if (!(i = next_micro_batch(run, i, end, 0))) { ok = 0; break; }
        Batch b = pack_batch(&run->pack);
        model_forward(&run->model, &b);
        model_rewards(&run->model, &b, run->value, run->pooled);
        for (int j = 0; j < b.B / 2; j++)
            l[j % K] += pair_head_gradient(run, g + (size_t)(j % K)*(size_t)C, j, run->item + begin + j, n);
    }
    ok = ok && more_weights(run->lambda, g, l, MORE_PAPER, (Normalizer)opt.normalize, K, C) == 0;
    for (int i = 0; ok && i < K; i++) run->set_norm[i] = norm_of(g + (size_t)i*(size_t)C, C);
    while (ok && at < end) {
        size_t begin = at;
        if (batches > 1) {
            size_t tokens = run->tokens;
            if (!(at = next_micro_batch(run, at, end, 0))) { ok = 0; break; }
            run->tokens = tokens;                                     // counted in the first pass
        } else at = end;
        Batch b = pack_batch(&run->pack);
        if (batches > 1) {
            model_forward(&run->model, &b);
            model_rewards(&run->model, &b, run->value, NULL);
        }
        for (size_t j = 0; j < at - begin; j++) weight[j] = (float)(run->lambda[j % (size_t)K] / n);
        ok = pairs_backward(run, &b, weight, run->item + begin, loss) == 0;
    }
    free(g);
    return ok ? 0 : -1;
}

/* A step runs forward, loss and backward for item[at..end).  What follows `step` belongs to policies
 * (policy.c); a hook that is NULL does nothing.                                                            */
struct Response;
typedef struct Objective {
    int windows, reward, grouped;                        // of whole texts; has a reward head; steps of groups
    int (*step)(Run *run, size_t at, size_t end, double *loss);
    int (*start)(Run *run);                                           // before the first step
    int (*evaluate)(Run *run, const Dataset *d, int step);
    void (*log)(FILE *f, int json), (*finish)(const Run *run);        // the step's numbers; the last words
    enum { NO_POLICY, DEMONSTRATIONS, POINTS, PAIRS } data;
    int reference, linear, mismatched;                     // needs: logp of the start, no logp, KTO's answers
    double (*loss)(struct Response *x);                               // of a text, or of chosen and rejected
} Objective;

// what a step of these is; more_by is in the order of --more
const Objective objective_lm = {.windows = 1, .step = step_lm},
    objective_reward = {.reward = 1, .step = step_reward},
    more_by[] = {{.reward = 1, .grouped = 1, .step = step_more_release},
                 {.reward = 1, .grouped = 1, .step = step_more_paper},
                 {.reward = 1, .grouped = 1, .step = step_reward}};

// ---------------------------------------------------------------------------------------------- the schedule

enum { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT };
// the factor of the learning rate at step s (from 0) of n: warm-up to 1, then down to 0
static double schedule(int s, int n) {
    int w = (int)(opt.warmup_ratio * n);
    if (s < w) return (s + 1.0) / (w + 1);
    double t = n > w ? (double)(s - w) / (n - w) : 0, sine, cosine;
    if (opt.scheduler == SCHEDULE_CONSTANT) return 1;
    if (opt.scheduler == SCHEDULE_LINEAR) return 1 - t;
    more_sincos(t * 3.141592653589793, &sine, &cosine);
    return 0.5 * (1 + cosine);
}

// ----------------------------------------------------------------------------------------------- evaluation

/* Bits per byte of the texts of d: -sum log2 p(token) / bytes, every token and the end of each text scored
 * once. 0, or -1 after fail().                                                                             */
int evaluate_lm(Model *m, const Tokenizer *t, const Dataset *d, double *bits_per_byte) {
    Pack pack = {0};
    Buffer bytes = {0};
    float *logp = NULL;
    size_t capacity = 0, num_bytes = 0;
    double sum = 0;
    int ok = 1;
    for (size_t i = 0; ok && i < d->num_records; i++) {
        const Record *r = &d->record[i];
        const Span span[2] = {r->prompt, r->count ? d->answer[r->first].tokens : (Span){0, 0}};
        for (int k = 0; k < 2 && ok; k++) {
            bytes.len = 0;
            ok = tokenizer_decode(t, d->token + span[k].start, (size_t)span[k].len, &bytes) == 0;
            num_bytes += bytes.len;
        }
        for (int w = 0; ok && w < document_rows(d, r); w += opt.max_length) {
            ok = pack_window(&pack, d, r, w, opt.max_length, t->eos) == 0;
            int last = i + 1 == d->num_records && w + opt.max_length >= document_rows(d, r);
            if (!ok || (pack.T + opt.max_length <= opt.micro_batch_tokens && !last)) continue;
            Batch b = pack_batch(&pack);
            ok = model_reserve(m, b.T, 1) == 0 && reserve(&logp, &capacity, (size_t)b.T, sizeof *logp) == 0;
            if (!ok) break;
            model_forward(m, &b);
            ok = model_logp(m, &b, logp) == 0;
            for (int k = 0; ok && k < b.T; k++) sum += logp[k];
            pack_clear(&pack);
        }
    }
    *bits_per_byte = num_bytes ? -sum / 0.6931471805599453 / (double)num_bytes : 0;
    pack_free(&pack), buffer_free(&bytes), free(logp);
    return ok ? 0 : -1;
}

// sum(B): each text's log-probability, from its rows' logp (T) in order
static void text_sums(double *sum, const Batch *b, const float *logp) {
    for (int i = 0, t = 0; i < b->B; i++)
        for (sum[i] = 0; t < b->text[i].first + b->text[i].len; t++)
            if (b->target[t] >= 0) sum[i] += logp[t];
}

/* Rewards of d's answers, or under a language model their log-probabilities: value(num_answers); an answer
 * without a record stays as it is. 0, or -1 after fail().                                                */
int evaluate_texts(Model *m, int eos, const Dataset *d, double *value) {
    const Pooling pooling = m->config.reward ? m->config.pooling : POOL_LAST;
    Pack pack = {0};
    float *x = NULL;
    double *sum = NULL;
    size_t rows = 0, texts = 0;
    int ok = 1;
    for (size_t i = 0, first = 0; ok && i < d->num_records; i++) {
        ok = pack_record(&pack, d, &d->record[i], pooling, eos) == 0;
        int more = i + 1 < d->num_records ? record_rows(d, &d->record[i+1], pooling) : INT_MAX;
        if (!ok || (more < INT_MAX && pack.T + more <= opt.micro_batch_tokens)) continue;
        Batch b = pack_batch(&pack);
        ok = model_reserve(m, b.T, b.B) == 0
          && reserve(&x, &rows, (size_t)(b.T > b.B ? b.T : b.B), sizeof *x) == 0
          && reserve(&sum, &texts, (size_t)b.B, sizeof *sum) == 0;
        if (!ok) break;
        model_forward(m, &b);
        if (m->config.reward) {
            model_rewards(m, &b, x, NULL);
            for (size_t t = 0; t < (size_t)b.B; t++) sum[t] = (double)x[t];
        } else if (!(ok = model_logp(m, &b, x) == 0)) break;
        else text_sums(sum, &b, x);
        for (int t = 0; first <= i; first++)
            for (int k = 0; k < d->record[first].count; k++) value[d->record[first].first + k] = sum[t++];
        pack_clear(&pack);
    }
    pack_free(&pack), free(x), free(sum);
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------------------- the loop

static volatile sig_atomic_t stop_asked;
static void ask_to_stop(int number) { (void)number; stop_asked = 1; }

static double memory_gib(void) {                                      // of this process; 0 where /proc is not
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (f && fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1073741824.0;
}

// Held-out numbers of pairs: from delta(num_records), the differences of rewards. 0, or -1 after fail().
static int report_pairs(Run *run, const Dataset *d, const double *delta, int step) {
    Metrics x;
    if (metrics_compute(&x, delta, NULL, NULL, NULL, (int)d->num_records, 1) < 0) return -1;
    fprintf(stderr, "%s: accuracy %.4f  margin %.4f  loss %.4f  ece %.4f\n", d->name, x.accuracy, x.margin,
            x.nll, x.symmetric[1].ece);
    if (run->log)
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d,\"eval_%s_loss\":%.9g,\"eval_%s_accuracy\":%.9g,"
                "\"eval_%s_tie_rate\":%.9g,\"eval_%s_margin\":%.9g,\"eval_%s_brier\":%.9g,"
                "\"eval_%s_ece_10\":%.9g}\n", step, d->name, x.nll, d->name, x.accuracy, d->name, x.tie_rate,
                d->name, x.margin, d->name, x.brier, d->name, x.symmetric[1].ece);
    return 0;
}

static void log_step(Run *run, const Objective *o, int step, int steps, double loss, double lr, double norm,
                     double start, size_t tokens) {
    double wall = now() - start, speed = (double)tokens / wall, left = wall / step * (steps - step);
    if (run->log) {
        fprintf(run->log, "{\"event\":\"train\",\"step\":%d,\"loss\":%.9g", step, loss);
        if (o->reward) {
            double n = (double)run->pairs;
            fprintf(run->log, ",\"accuracy\":%.6g,\"margin\":%.9g,\"min_reward\":%.9g,\"mean_reward\":%.9g,"
                    "\"max_reward\":%.9g", run->correct / n, run->margin / n, run->reward_min,
                    run->reward_sum / (2*n), run->reward_max);
        }
        for (int k = 0; o->grouped && k < run->num_train; k++) {
            const char *name = run->data[k].name;
            fprintf(run->log, ",\"lambda/%s\":%.6g,\"loss/%s\":%.6g", name, run->lambda[k], name,
                    run->set_loss[k] * run->num_train / (double)run->pairs);
            if (o->step != step_reward) fprintf(run->log, ",\"grad_norm/%s\":%.6g", name, run->set_norm[k]);
        }
        if (o->log) o->log(run->log, 1);
        fprintf(run->log, ",\"learning_rate\":%.9g,\"grad_norm\":%.9g,\"num_tokens\":%zu,"
                "\"tokens_per_s\":%.0f,\"rss_gib\":%.3f,\"wall_s\":%.2f}\n", lr, norm, tokens, speed,
                memory_gib(), wall);
        fflush(run->log);
    }
    if (opt.quiet) return;
    int terminal = isatty(2);
    if (!terminal && step % opt.logging_steps && step != steps) return;
    fprintf(stderr, "%sstep %d/%d  loss %.4f", terminal ? "\r\033[K" : "", step, steps, loss);
    if (o->reward) fprintf(stderr, "  accuracy %.3f", run->correct / (double)run->pairs);
    if (o->log) o->log(stderr, 0);
    fprintf(stderr, "  %.0f tokens/s  %.0f:%02.0f left  %.2f GiB%s", speed, floor(left / 60),
            floor(fmod(left, 60)), memory_gib(), terminal && step != steps ? "" : "\n");
}

static int evaluate_all(Run *run, const Objective *o, int step) {
    int first = run->num_train + run->num_then;
    for (int k = first; k < first + run->num_eval; k++) {
        Dataset *d = &run->data[k];
        if (o->evaluate) {
            if (o->evaluate(run, d, step) < 0) return -1;
            continue;
        }
        if (o->windows) {
            double bpb;
            if (evaluate_lm(&run->model, &run->tokenizer, d, &bpb) < 0) return -1;
            fprintf(stderr, "%s: %.4f bits per byte\n", d->name, bpb);
            if (run->log)
                fprintf(run->log, "{\"event\":\"eval\",\"step\":%d,\"eval_%s_bits_per_byte\":%.9g}\n", step,
                        d->name, bpb);
            continue;
        }
        double *reward = allocate(d->num_answers, sizeof *reward);
        double *delta = allocate(d->num_records, sizeof *delta);
        int ok = reward && delta && evaluate_texts(&run->model, run->tokenizer.eos, d, reward) == 0;
        for (size_t i = 0; ok && i < d->num_records; i++)
            delta[i] = reward[d->record[i].first] - reward[d->record[i].first + 1];
        ok = ok && report_pairs(run, d, delta, step) == 0;
        free(reward), free(delta);
        if (!ok) return -1;
    }
    if (run->log) fflush(run->log);
    return 0;
}

static int save(Run *run, char sha256[65]) {                          // the model as it is, into --out
    return checkpoint_save(&run->model, opt.out, &run->tokenizer_text, dtype_names[opt.dtype], sha256);
}

/* The whole run: model, tokenizer and data are loaded, the plan is made.  Ends with the line
 * `weights sha256`. 0, or -1 after fail().                                                                 */
int train(Run *run) {
    const Objective *o = run->objective;
    const int C = run->model.config.channels, K = run->num_train;
    int steps = (int)run->num_steps, largest = 0;
    char sha256[65];
    if (opt.max_steps > 0 && opt.max_steps < steps) steps = opt.max_steps;
    if (steps < 1)
        return fail(EX_DATAERR, "too little data for a single step; lower --per_step_pairs, "
                    "--per_step_rows or --per_step_tokens");
    if (run->tokenizer.eos < 0) return fail(EX_DATAERR, "the tokenizer has no end-of-text token");
    for (size_t i = 0; i + (size_t)run->unit <= run->step_end[steps-1]; i += (size_t)run->unit) {
        int rows = 0;
        for (int u = 0; u < run->unit; u++) rows += item_rows(run, &run->item[i + (size_t)u], o->windows);
        if (rows > largest) largest = rows;
    }
    int T = largest > opt.micro_batch_tokens ? largest : opt.micro_batch_tokens, B = o->windows ? 1 : T;
    Purpose purpose = opt.recompute ? RECOMPUTING : TRAINING;
    run->model.recompute = opt.recompute;
    fprintf(stderr, "%zu parameters, %d steps, %.2f GiB needed, %d threads, %s\n", run->model.num_params,
            steps, (double)model_bytes(&run->model.config, T, B, purpose) / 1073741824.0, kernels_threads(),
            kernels_name());
    if (model_init_training(&run->model) < 0 || model_reserve(&run->model, T, B) < 0) return -1;
    if (o->grouped && !(run->momentum = allocate((size_t)K * (size_t)C, sizeof *run->momentum))) return -1;

    if (o->start && o->start(run) < 0) return -1;

    signal(SIGINT, ask_to_stop), signal(SIGTERM, ask_to_stop);
    double start = now();
    size_t tokens = 0;
    for (int s = 0; s < steps; s++) {
        double loss = 0, lr = opt.learning_rate * schedule(s, steps);
        run->tokens = run->pairs = 0;
        run->correct = run->margin = run->reward_sum = 0;
        run->reward_min = HUGE_VAL, run->reward_max = -HUGE_VAL;
        memset(run->set_loss, 0, sizeof run->set_loss), memset(run->lambda, 0, sizeof run->lambda);
        memset(run->set_norm, 0, sizeof run->set_norm);
        model_zero_grads(&run->model);
        size_t begin = s ? run->step_end[s-1] : 0, end = run->step_end[s];
        run->limit = micro_batch_limit(run, begin, end, o->windows);
        if (o->step(run, begin, end, &loss) < 0) return -1;
        model_finish_grads(&run->model);
        double norm = model_grad_norm(&run->model);
        if (!isfinite(loss) || !isfinite(norm))
            return fail(EX_DATAERR, "step %d: the loss or a gradient is not finite (loss %g, gradient norm "
                        "%g); a lower --learning_rate may help; this step is not saved", s + 1, loss, norm);
        AdamW adamw = {lr, opt.beta1, opt.beta2, opt.eps, opt.weight_decay, opt.head_rate, 1, s + 1};
        if (opt.max_grad_norm > 0 && opt.max_grad_norm < norm + 1e-6)
            adamw.scale = opt.max_grad_norm / (norm + 1e-6);
        model_update(&run->model, &adamw);
        tokens += run->tokens;
        log_step(run, o, s + 1, steps, loss, lr, norm, start, tokens);
        if (stop_asked) {
            if (save(run, sha256) < 0) return -1;
            return fail(EX_TEMPFAIL, "stopped after step %d of %d; the weights so far are in %s", s + 1,
                        steps, opt.out);
        }
        if (opt.eval_steps > 0 && (s + 1) % opt.eval_steps == 0 && s + 1 < steps
            && evaluate_all(run, o, s + 1) < 0) return -1;
        if (opt.save_steps > 0 && (s + 1) % opt.save_steps == 0 && s + 1 < steps
            && save(run, sha256) < 0) return -1;
    }
    if (save(run, sha256) < 0 || evaluate_all(run, o, steps) < 0) return -1;
    if (o->finish) o->finish(run);
    fprintf(stderr, "%s: %zu tokens in %.1f s\n", opt.out, tokens, now() - start);
    if (run->log)
        fprintf(run->log, "{\"event\":\"end\",\"weights_sha256\":\"%s\",\"wall_s\":%.2f}\n", sha256,
                now() - start);
    printf("weights sha256 %s\n", sha256);
    return 0;
}
#endif

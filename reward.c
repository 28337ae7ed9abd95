/* reward.c - reward models: Bradley-Terry on one set of pairs, Plackett-Luce on rankings, on
 * several sets mixed (MultiTask), and MORE, which finds the weight of each set anew in every step
 * (Zeng et al. 2023, arXiv:2312.07401).
 *
 *     bundle   one pair or ranking of each of the K sets; a step of MORE is G bundles
 *     g_i      gradient of set i's loss in the reward head w, from the forward alone:
 *              r = w . h, so dL/dw = dL/dr (h_chosen - h_rejected), of a ranking the sum of
 *              -dL/dr_k (h_best - h_k), as the dL/dr of its answers add up to 0
 *     lambda   weights of the min-norm point of g_1 .. g_K (loss.c: more_weights)
 *     update   the gradient of  sum_i lambda_i L_i,  by one backward
 *
 * The losses and the weights themselves are in loss.c.  */
#ifndef REWARD_C
#define REWARD_C
#include "train.c"
#include "groups.c"

// Sums over the pairs of a step, or of several; of a ranking's every two answers, one of them
// better.
typedef struct {
    double pairs, correct;                  // right ones: one with equal rewards is half right
    double set_items[MORE_MAX_SETS];        // pairs or rankings
    double set_loss[MORE_MAX_SETS];         // unweighted
} PairSums;

// The trainer's own part of a run.
typedef struct RewardRun {
    float *momentum;                        // (K, C): MORE's, as released
    float *g;                               // (K, C): head gradients
    float *pooled;                          // (B, C): what the head reads, of the micro-batch
    size_t pooled_capacity;
    float weight[MAX_PAIRS];                // of the micro-batch's pairs or rankings
    // of the running step
    PairSums sums;
    double margin, texts, reward_sum, reward_min, reward_max;
    double lambda[MORE_MAX_SETS], grad_norm[MORE_MAX_SETS];
    // of the last --logging_steps steps, each in the place of the oldest
    PairSums *recent;
    size_t recent_capacity, steps;          // steps: all so far
} RewardRun;

// hooks of the trainer
int  reward_open(Run *run);
void reward_close(Run *run);
int  reward_plan(Run *run);
int  reward_step(Run *run, size_t at, size_t end, double *loss);
int  reward_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]);
void reward_log(const Run *run, FILE *f);
void reward_show(const Run *run, FILE *f);
int  reward_state(Run *run, State *s);

// the plan
void sampler_fill(uint32_t *index, const uint32_t *size, int K, uint32_t N, uint64_t seed,
                  uint64_t epoch);

// --------------------------------------------------------------------------- the trainer's part

int reward_open(Run *run) {
    const size_t gradients = (size_t)run->num_train * (size_t)run->model.config.channels;
    RewardRun *x = allocate(1, sizeof *x);
    run->reward = x;
    if (!x) return -1;
    if (!(x->momentum = allocate(gradients, sizeof *x->momentum))) return -1;
    if (!(x->g = allocate(gradients, sizeof *x->g))) return -1;
    return 0;
}

void reward_close(Run *run) {
    RewardRun *x = run->reward;
    if (!x) return;
    free(x->momentum);
    free(x->g);
    free(x->pooled);
    free(x->recent);
    free(x);
    run->reward = NULL;
    groups_close(run);
}

// ------------------------------------------------------------------------------------- the plan

// `count` of 0..n-1 without replacement, each subset equally likely (reservoir, Vitter 1985).
static void sample_without_replacement(uint32_t *out, uint32_t count, uint32_t n, uint64_t key) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = i < count ? i : random_below(i + 1, key, STREAM_RESAMPLE, 0, i);
        if (j < count) out[j] = i;
    }
}

/* MORE app. A.3, "Balancing": set i of size[i] pairs becomes a shuffled list of N of them, row
 * i of index (K, N). A larger set gives a random N of its pairs; a smaller one is kept whole,
 * as often as it fits, and topped up by a random part of itself, so that the counts of two
 * pairs differ by at most one. A function of seed and epoch; the lists do not depend on each
 * other.  */
void sampler_fill(uint32_t *index, const uint32_t *size, int K, uint32_t N, uint64_t seed,
                  uint64_t epoch) {
    for (int i = 0; i < K; i++) {
        assert(size[i] > 0);
        const uint64_t key = random_u64(seed, STREAM_RESAMPLE, epoch, (uint64_t)i);
        const uint32_t whole = N - N % size[i];
        uint32_t *row = index + (size_t)i * N;

        for (uint32_t n = 0; n < whole; n++) row[n] = n % size[i];
        sample_without_replacement(row + whole, N - whole, size[i], key);

        // Fisher and Yates
        for (uint32_t n = N; n > 1; n--) {
            uint32_t j = random_below(n, key, STREAM_ORDER, 0, n), last = row[n - 1];
            row[n - 1] = row[j];
            row[j] = last;
        }
    }
}

// The sets of pairs, brought to one size.
typedef struct {
    int K;
    uint32_t N;                             // pairs of the largest
    uint32_t *size;                         // (K): pairs that are trained on
    uint32_t **record;                      // (K), (size[k]): their records
    uint32_t *index;                        // (K, N): the sampler's lists of an epoch
    uint32_t *order;                        // (K N): a permutation
} Sets;

static void sets_free(Sets *s) {
    for (int k = 0; s->record && k < s->K; k++) free(s->record[k]);
    free(s->record);
    free(s->size);
    free(s->index);
    free(s->order);
}

// The pairs that no fold holds out.  0, or -1 after fail(); sets_free() in both cases.
static int sets_init(Sets *s, const Run *run) {
    const int K = run->num_train;
    *s = (Sets){.K = K};
    if (!(s->size = allocate((size_t)K, sizeof *s->size))) return -1;
    if (!(s->record = allocate((size_t)K, sizeof *s->record))) return -1;
    for (int k = 0; k < K; k++) {
        const Dataset *d = &run->data[k];
        if (!(s->record[k] = allocate(d->num_records, sizeof **s->record))) return -1;
        for (size_t r = 0; r < d->num_records; r++) {
            if (record_in_fold(&d->record[r])) continue;
            s->record[k][s->size[k]] = (uint32_t)r;
            s->size[k]++;
        }
        if (!s->size[k]) return fail(EX_DATAERR, "%s: no pairs to train on", d->path);
        if (s->size[k] > s->N) s->N = s->size[k];
    }
    const size_t n = (size_t)K * s->N;
    if (!(s->index = allocate(n, sizeof *s->index))) return -1;
    if (!(s->order = allocate(n, sizeof *s->order))) return -1;
    return 0;
}

// The n-th pair of set k's list.
static Item sets_item(const Sets *s, size_t k, size_t n) {
    return (Item){(int)k, (int)s->record[k][s->index[k * s->N + n]], 0};
}

// MORE: bundle after bundle, the n-th pair of each set; a step is as many bundles as its pairs
// hold, and the part of an epoch whole bundles.
static int plan_bundles(Run *run, const Sets *s) {
    const size_t K = (size_t)s->K, pairs = (size_t)opt.per_step_rows;
    size_t bundles = plan_share(run, s->N, 0, 1);
    run->full = pairs < K ? K : pairs / K * K;
    for (int e = 0; bundles > 0; e++) {
        sampler_fill(s->index, s->size, s->K, s->N, (uint64_t)opt.seed, (uint64_t)e);
        for (size_t i = 0; i < K * bundles; i++) {
            if (plan_next(run, sets_item(s, i % K, i / K)) < 0) return -1;
        }
        bundles = plan_share(run, s->N, e + 1, 1);
    }
    return 0;
}

// MultiTask, and a single set: the same pairs in one shuffled list.
static int plan_mixed(Run *run, const Sets *s) {
    const size_t K = (size_t)s->K, n = K * s->N;
    const uint64_t seed = (uint64_t)opt.seed;
    size_t share = plan_share(run, n, 0, 1);
    run->full = (size_t)opt.per_step_rows;
    for (int e = 0; share > 0; e++) {
        sampler_fill(s->index, s->size, s->K, s->N, seed, (uint64_t)e);
        random_permutation(s->order, (uint32_t)n, seed, STREAM_ORDER, (uint64_t)e);
        for (size_t i = 0; i < share; i++) {
            const size_t j = K == 1 ? i : s->order[i];            // one list is shuffled already
            if (plan_next(run, sets_item(s, j % K, j / K)) < 0) return -1;
        }
        share = plan_share(run, n, e + 1, 1);
    }
    return 0;
}

int reward_plan(Run *run) {
    Sets sets;
    int result = -1;
    if (opt.group_robust && run->num_train > 1 && opt.group_loss == GROUP_SHARE) {
        return fail(EX_USAGE, "--group_robust: several files are brought to one size, and a "
                    "group's share of the data changes; --group_loss mean, or one file");
    }
    if (sets_init(&sets, run) < 0 || groups_open(run) < 0) goto done;
    run->epoch_items = (size_t)sets.K * sets.N;
    result = run->objective->bundles ? plan_bundles(run, &sets) : plan_mixed(run, &sets);
    if (run->num_items < run->epoch_items) run->left_out = run->epoch_items - run->num_items;
done:
    sets_free(&sets);
    return result;
}

// ------------------------------------------------------------------------------------- the step

// Packs the micro-batch that starts at item `at` and runs it forward: rewards to run->value, what
// the head read to pooled.  Returns its end, or 0 after fail().
static size_t forward_items(Run *run, size_t at, size_t end, Batch *b) {
    RewardRun *x = run->reward;
    end = next_micro_batch(run, at, end);
    if (!end) return 0;
    *b = pack_batch(&run->pack);
    const size_t pooled = (size_t)b->B * (size_t)run->model.config.channels;
    if (reserve(&x->pooled, &x->pooled_capacity, pooled, sizeof(float)) < 0) return 0;
    model_forward(&run->model, b);
    model_rewards(&run->model, b, run->value, x->pooled);
    return end;
}

// The loss of an item's rewards r (count), the best answer's first; its gradient is added to dr.
static double item_loss(const Run *run, const Item *item, float *dr, const float *r, float weight) {
    const Record *row = item_record(run, item);
    float place[MAX_ANSWERS];
    if (!is_ranking(run, item)) {
        return reward_bt_loss(&dr[0], &dr[1], &r[0], &r[1], &weight, &row->margin, 1);
    }
    record_places(place, &run->data[item->set], row);
    return reward_choice_loss(dr, r, place, row->count, opt.loss.top, weight);
}

// What the log says of an item, besides its weighted loss.
static void count_item(RewardRun *x, const Run *run, const Item *item, const float *r) {
    const Record *row = item_record(run, item);
    float place[MAX_ANSWERS], unused[MAX_ANSWERS] = {0};
    PairSums *s = &x->sums;
    record_places(place, &run->data[item->set], row);
    s->set_items[item->set]++;
    s->set_loss[item->set] += item_loss(run, item, unused, r, 1);
    for (int i = 0; i < row->count; i++) {
        for (int k = i + 1; k < row->count; k++) {
            if (place[i] == place[k]) continue;
            s->pairs++;
            if (r[i] > r[k]) s->correct += 1;
            if (r[i] == r[k]) s->correct += 0.5;
            x->margin += (double)r[i] - r[k];
        }
        x->texts++;
        x->reward_sum += r[i];
        if (r[i] < x->reward_min) x->reward_min = r[i];
        if (r[i] > x->reward_max) x->reward_max = r[i];
    }
}

/* After the forward of the items from `item` on, each with its texts one after the other, the best
 * first: adds each item's loss, weight[j] times the row's own weight, to the loss, and runs
 * backward.  Of a pair it is -log sigma(r_chosen - r_rejected - margin), of a ranking -ell.
 * 0, or -1 after fail().  */
static int backward_items(Run *run, const Batch *b, const Item *item, double *loss) {
    RewardRun *x = run->reward;
    memset(run->dvalue, 0, (size_t)b->B * sizeof *run->dvalue);
    for (int j = 0, text = 0; text < b->B; j++) {
        const Record *row = item_record(run, &item[j]);
        const float *r = run->value + text;
        *loss += item_loss(run, &item[j], run->dvalue + text, r, x->weight[j] * row->weight);
        count_item(x, run, &item[j], r);
        text += row->count;
    }
    return model_backward(&run->model, b, run->dvalue, NULL, NULL);
}

/* Group-robust: what the items of each group count for, from the losses of the whole step
 * [at, end), by forwards alone.  Returns the number of micro-batches, or -1 after fail(); b is the
 * last one, whose activations are still there.  */
static int weigh_items(Run *run, size_t at, size_t end, Batch *b) {
    int micro_batches = 0;
    groups_begin(run->groups, 1);
    while (at < end) {
        const Item *item = &run->item[at];
        at = forward_items(run, at, end, b);
        if (!at) return -1;
        for (int text = 0; text < b->B; item++) {
            const Record *row = item_record(run, item);
            float unused[MAX_ANSWERS] = {0};
            groups_add(run->groups, group_of(run, item),
                       item_loss(run, item, unused, run->value + text, row->weight));
            text += row->count;
        }
        micro_batches++;
    }
    return groups_weigh(run->groups) < 0 ? -1 : micro_batches;
}

// A single set, MultiTask, and MORE's control with equal weights: the mean over the step's pairs
// and rankings, or with --group_robust as their groups are weighed, times the rows' own weights.
static int step_mean(Run *run, size_t at, size_t end, double *loss) {
    RewardRun *x = run->reward;
    const Groups *g = run->groups;
    const double n = (double)(end - at);
    Batch b = {0};
    const int weighed = g ? weigh_items(run, at, end, &b) : 0;
    if (weighed < 0) return -1;
    for (size_t begin = at, next; begin < end; begin = next) {
        next = weighed == 1 ? end : forward_items(run, begin, end, &b);
        if (!next) return -1;
        for (size_t j = 0; j < next - begin; j++) {
            const Item *item = &run->item[begin + j];
            x->weight[j] = (float)(g ? g->factor[group_of(run, item)] : 1 / n);
        }
        if (backward_items(run, &b, run->item + begin, loss) < 0) return -1;
    }
    for (int k = 0; k < run->num_train; k++) x->lambda[k] = 1.0 / run->num_train;
    return 0;
}

// Adds the pair or ranking whose texts begin with number *text of the micro-batch, with the factor
// 1/n and the row's own weight, to its set's head gradient g(C); *text is then the next item's.
// Returns its loss, so weighted.
static double add_head_gradient(const Run *run, float *g, int *text, const Item *item, double n) {
    const int C = run->model.config.channels;
    const Record *row = item_record(run, item);
    const float *h_best = run->reward->pooled + (size_t)*text * (size_t)C;
    float dr[MAX_ANSWERS] = {0};
    const float weight = (float)(1 / n) * row->weight;
    const double loss = item_loss(run, item, dr, run->value + *text, weight);
    for (int k = 1; k < row->count; k++) {
        more_head_gradient(g, h_best, h_best + (size_t)k * (size_t)C, -dr[k], C);
    }
    *text += row->count;
    return loss;
}

static double vector_norm(const float *g, int C) {
    double sum = 0;
    for (int c = 0; c < C; c++) sum += (double)g[c] * g[c];
    return sqrt(sum);
}

/* MORE as released (--more release): for each bundle in turn
 *
 *     g_i       head gradient of set i's pair or ranking
 *     m_i       = (1 - alpha) m_i + alpha g_i, from zero at the start of training
 *     lambda    by Frank and Wolfe on the normalised m_1 .. m_K
 *
 * The step's loss is the mean over its G bundles of sum_i lambda_i l_i.  */
static int step_more_release(Run *run, size_t at, size_t end, double *loss) {
    RewardRun *x = run->reward;
    const int K = run->num_train, C = run->model.config.channels;
    const double G = (double)(end - at) / K;
    const Normalizer normalizer = (Normalizer)opt.normalize;
    double l[MORE_MAX_SETS], lambda[MORE_MAX_SETS];

    while (at < end) {
        const size_t begin = at;
        Batch b;
        at = forward_items(run, at, end, &b);
        if (!at) return -1;
        int text = 0;
        for (int bundle = 0; text < b.B; bundle += K) {
            for (int i = 0; i < K; i++) {
                float *g = x->g, *m = x->momentum + (size_t)i * (size_t)C;
                const Item *item = &run->item[begin + (size_t)(bundle + i)];
                memset(g, 0, (size_t)C * sizeof *g);
                l[i] = add_head_gradient(run, g, &text, item, 1);
                more_momentum(m, g, opt.alpha, C);
                x->grad_norm[i] += vector_norm(g, C) / G;
            }
            if (more_weights(lambda, x->momentum, l, MORE_RELEASE, normalizer, K, C) < 0) return -1;
            for (int i = 0; i < K; i++) {
                x->weight[bundle + i] = (float)(lambda[i] / G);
                x->lambda[i] += lambda[i] / G;
            }
        }
        if (backward_items(run, &b, run->item + begin, loss) < 0) return -1;
    }
    return 0;
}

/* MORE as in the paper (--more paper, eq. 6 and 7): one head gradient g_i of each set over all
 * its n pairs or rankings of the step, lambda the exact min-norm point, L = sum_i lambda_i L_i.
 *
 * Lambda needs every forward before the first backward. Where the step is one micro-batch, its
 * activations are still there for backward; else each is run forward a second time.  */
static int step_more_paper(Run *run, size_t at, size_t end, double *loss) {
    RewardRun *x = run->reward;
    const int K = run->num_train, C = run->model.config.channels;
    const double n = (double)(end - at) / K;
    const Normalizer normalizer = (Normalizer)opt.normalize;
    double l[MORE_MAX_SETS] = {0};
    int micro_batches = 0;
    Batch b = {0};

    // pass 1: the head gradients of the whole step
    memset(x->g, 0, (size_t)K * (size_t)C * sizeof *x->g);
    for (size_t begin = at, next; begin < end; begin = next) {
        next = forward_items(run, begin, end, &b);
        if (!next) return -1;
        int text = 0;
        for (int j = 0; text < b.B; j++) {
            const int i = j % K;
            float *g = x->g + (size_t)i * (size_t)C;
            l[i] += add_head_gradient(run, g, &text, &run->item[begin + (size_t)j], n);
        }
        micro_batches++;
    }

    // lambda
    if (more_weights(x->lambda, x->g, l, MORE_PAPER, normalizer, K, C) < 0) return -1;
    for (int i = 0; i < K; i++) x->grad_norm[i] = vector_norm(x->g + (size_t)i * (size_t)C, C);

    // pass 2: the weighted losses, backward
    for (size_t begin = at, next; begin < end; begin = next) {
        next = micro_batches == 1 ? end : forward_items(run, begin, end, &b);
        if (!next) return -1;
        for (size_t j = 0; j < next - begin; j++) {
            x->weight[j] = (float)(x->lambda[j % (size_t)K] / n);
        }
        if (backward_items(run, &b, run->item + begin, loss) < 0) return -1;
    }
    return 0;
}

static int step_by_mode(Run *run, size_t at, size_t end, double *loss) {
    if (!run->objective->bundles) return step_mean(run, at, end, loss);
    switch ((MoreMode)opt.more_mode) {
    case MORE_RELEASE: return step_more_release(run, at, end, loss);
    case MORE_PAPER:   return step_more_paper(run, at, end, loss);
    default:           return step_mean(run, at, end, loss);
    }
}

// The step of every reward model.
int reward_step(Run *run, size_t at, size_t end, double *loss) {
    RewardRun *x = run->reward;
    const size_t place = x->steps % (size_t)opt.logging_steps;
    if (reserve(&x->recent, &x->recent_capacity, place + 1, sizeof *x->recent) < 0) return -1;
    x->sums = (PairSums){0};
    x->margin = 0;
    x->texts = 0;
    x->reward_sum = 0;
    x->reward_min = HUGE_VAL;
    x->reward_max = -HUGE_VAL;
    memset(x->lambda, 0, sizeof x->lambda);
    memset(x->grad_norm, 0, sizeof x->grad_norm);

    if (step_by_mode(run, at, end, loss) < 0) return -1;
    x->recent[place] = x->sums;
    x->steps++;
    return 0;
}

// What is kept from step to step, to be saved or read (Trainer.state).  0, or -1 after fail().
int reward_state(Run *run, State *s) {
    RewardRun *x = run->reward;
    const size_t most = (size_t)opt.logging_steps, numbers = sizeof *x->recent / sizeof(double);
    uint64_t steps = x->steps;
    state_floats(s, x->momentum, (size_t)run->num_train * (size_t)run->model.config.channels);
    state_number(s, &steps);
    x->steps = (size_t)steps;
    const size_t places = x->steps < most ? x->steps : most;
    if (s->result < 0) return -1;
    if (reserve(&x->recent, &x->recent_capacity, places, sizeof *x->recent) < 0) return -1;
    if (s->reading && places) memset(x->recent, 0, places * sizeof *x->recent);
    state_ring(s, (double *)x->recent, numbers, x->steps, most);
    return run->groups ? groups_state(run->groups, s) : s->result;
}

// ----------------------------------------------------------------------------- what is reported

int reward_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]) {
    double *reward = allocate(d->num_answers, sizeof *reward);
    int status = -1;
    if (!reward) return -1;
    if (evaluate_texts(&run->model, run->tokenizer.eos, d, reward) == 0) {
        status = report_choices(run, d, reward, step, metric);
    }
    free(reward);
    return status;
}

// The sums of the last --logging_steps steps, or of all where there were fewer.
static PairSums recent_pairs(const RewardRun *x) {
    const size_t most = (size_t)opt.logging_steps;
    const size_t steps = x->steps < most ? x->steps : most;
    PairSums sum = {0};
    for (const PairSums *s = x->recent; s < x->recent + steps; s++) {
        sum.pairs += s->pairs;
        sum.correct += s->correct;
        for (int k = 0; k < MORE_MAX_SETS; k++) {
            sum.set_items[k] += s->set_items[k];
            sum.set_loss[k] += s->set_loss[k];
        }
    }
    return sum;
}

void reward_log(const Run *run, FILE *f) {
    const RewardRun *x = run->reward;
    const PairSums *s = &x->sums, recent = recent_pairs(x);
    const int bundles = run->objective->bundles;
    fprintf(f, ",\"accuracy\":%.6g,\"running_accuracy\":%.6g,\"margin\":%.9g,"
            "\"min_reward\":%.9g,\"mean_reward\":%.9g,\"max_reward\":%.9g",
            s->correct / s->pairs, recent.correct / recent.pairs, x->margin / s->pairs,
            x->reward_min, x->reward_sum / x->texts, x->reward_max);
    if (run->groups) groups_log(run->groups, f);
    if (!bundles && run->num_train == 1) return;
    for (int k = 0; k < run->num_train; k++) {
        const char *name = run->data[k].name;
        if (!s->set_items[k]) continue;                 // mixed: a step may have none of a set
        if (bundles) fprintf(f, ",\"lambda/%s\":%.6g", name, x->lambda[k]);
        fprintf(f, ",\"loss/%s\":%.6g", name, s->set_loss[k] / s->set_items[k]);
        if (!bundles || opt.more_mode == MORE_UNIFORM) continue;
        fprintf(f, ",\"grad_norm/%s\":%.6g", name, x->grad_norm[k]);
    }
}

/* The sets' own losses, as "(a 0.523, b 0.311)".  With MORE the step's loss, which is weighted, may
 * be near zero while they are not.  Where they are too many for a line, the lowest and the
 * highest.  */
static void show_sets(const Run *run, FILE *f, const PairSums *s) {
    enum { ROOM = 40 };
    char all[ROOM + 1] = "";
    size_t width = 0;
    int low = -1, high = -1;
    double loss[MORE_MAX_SETS];
    for (int k = 0; k < run->num_train; k++) {
        if (!s->set_items[k]) continue;
        loss[k] = s->set_loss[k] / s->set_items[k];
        if (low < 0 || loss[k] < loss[low]) low = k;
        if (high < 0 || loss[k] > loss[high]) high = k;
        if (width > ROOM) continue;
        width += (size_t)snprintf(all + width, sizeof all - width, "%s%s %.3f",
                                  width ? ", " : "", run->data[k].name, loss[k]);
    }
    if (width <= ROOM) {
        fprintf(f, " (%s)", all);
    } else {
        fprintf(f, " (%.10s %.3f .. %.10s %.3f)", run->data[low].name, loss[low],
                run->data[high].name, loss[high]);
    }
}

// Means over the last --logging_steps steps.
void reward_show(const Run *run, FILE *f) {
    const PairSums recent = recent_pairs(run->reward);
    if (run->num_train > 1) show_sets(run, f, &recent);
    fprintf(f, "  accuracy %.3f", recent.correct / recent.pairs);
    if (run->groups) groups_show(run->groups, f);
}
#endif

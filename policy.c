/* policy.c - policies: SFT, DPO, IPO, point-wise DPO, ULMA, unlikelihood, KTO, ORPO, SimPO.
 *
 * One step serves them all:
 *
 *     forward                    log-probability of each token row
 *     a text's log-probability   their sum, or --logp mean: logp
 *     the loss of loss.c         on logp, ref_logp, label of a text, or of chosen and rejected:
 *                                dL/dlogp
 *     spread                     dL/dlogp of a text to its token rows
 *     backward
 *
 * Which loss, and what it needs, is a row of objectives.c.  The reference is the model before the
 * first step, or those of --references (reference.c).  */
#ifndef POLICY_C
#define POLICY_C
#include "reference.c"
#include "groups.c"
#include "copies.c"

// What is known of a text before it is computed.
typedef struct {
    int tokens;                                 // scored ones: the answer's, and the end of text
    int good;                                   // chosen, the best, or its label is true
    int texts;                                  // of the same choice: 2 of a pair, m of a ranking
    int is_ranking;
    unsigned char demo;                         // to be imitated
    int group;                                  // of its row, with --group_robust
    float label;                                // true 1, false 0, or a score
    double ref_sum;                             // log pi_ref, summed over the tokens
    float ref_logp;                             // as --logp wants it; 0 without a reference
    const double *ref, *ref_weight;             // (K), mdpo: log ref_i, and a_i of its row; or NULL
} Response;

// mdpo: what a file's answers have under each of K references, clipped, and the rows' weights.
typedef struct {
    double *ref;                                // (num_answers, K)
    double *weight;                             // (num_records, K)
} References;

// Sums over the texts of a step; [0]: of those that are not good, [1]: of the good ones.
typedef struct {
    double n[2], reward[2], logp[2], ratio[2];  // ratio: logp - ref_logp
    double difference, tokens;                  // of sum - ref_sum; scored tokens
    double pairs, correct, margin;              // of a ranking every two answers, one better
    double kl;                                  // KTO's, of mismatched answers
    double base;                                // BAPO's r^2, a mean
} StepSums;

// The trainer's own part of a run.
typedef struct PolicyRun {
    int continuous;                             // labels are scores to be reached
    int positives_are_demos;                    // texts with the label true are imitated
    LossSettings settings;
    // the texts of the micro-batch; of pairs chosen and rejected, of rankings the best first
    Response response[MAX_TEXTS];
    float logp[MAX_TEXTS], ref_logp[MAX_TEXTS], weight[MAX_TEXTS];
    float place[MAX_TEXTS];                     // of pairs and rankings
    float dlogp[MAX_TEXTS];
    double sum[MAX_TEXTS];                      // log pi, summed over the tokens
    StepSums sums;                              // of the running step
    References *references;                     // mdpo: of each file
    Item **base;                                // (num_train), of each record: its base response
    StepSums *history;                          // of each step
    size_t steps, history_capacity;
} PolicyRun;

// hooks of the trainer
int  policy_open(Run *run);
void policy_close(Run *run);
int  policy_plan(Run *run);
int  policy_beside(const Run *run, int T, double *needed, double *held);
int  policy_start(Run *run);
int  policy_step(Run *run, size_t at, size_t end, double *loss);
int  policy_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]);
void policy_log(const Run *run, FILE *f);
void policy_show(const Run *run, FILE *f);
void policy_finish(const Run *run);
int  policy_state(Run *run, State *s);

// what doctor asks too
int  policy_data(Run *run);
int  score_is_label(float score);

// --------------------------------------------------------------------------- the trainer's part

int policy_open(Run *run) {
    run->policy = allocate(1, sizeof *run->policy);
    return run->policy ? 0 : -1;
}

static void references_free(Run *run) {
    References *x = run->policy ? run->policy->references : NULL;
    const int files = run->num_train + run->num_then + run->num_eval;
    for (int i = 0; x && i < files; i++) {
        free(x[i].ref);
        free(x[i].weight);
    }
    free(x);
}

void policy_close(Run *run) {
    const int files = run->num_train + run->num_then + run->num_eval;
    for (int i = files; i < files + run->num_mismatched; i++) {
        free(run->data[i].record);              // the rest belongs to the set it was made from
        free(run->data[i].answer);
    }
    run->num_mismatched = 0;
    groups_close(run);
    copies_close(run);
    for (int i = 0; run->policy && run->policy->base && i < run->num_train; i++) {
        free(run->policy->base[i]);
    }
    if (run->policy) free(run->policy->base);
    if (run->policy) free(run->policy->history);
    references_free(run);
    free(run->policy);
    run->policy = NULL;
}

// ------------------------------------------------------------------------------------- the data

int score_is_label(float score) { return score == 0 || score == 1; }

/* What is to be imitated: completions, the side of pairs that --sft_on names, points with the
 * label true. Keeps these and says so. 0, or -1 after fail().  */
static int keep_demonstrations(Dataset *d) {
    static const char *const sides[NUM_SFT_SIDES] = {[SFT_ON_CHOSEN] = "the chosen",
        [SFT_ON_REJECTED] = "the rejected", [SFT_ON_BOTH] = "both"};
    const size_t rows = d->num_records;
    size_t kept = 0;
    for (size_t i = 0; i < rows; i++) {
        Record *r = &d->record[i];
        const float score = d->answer[r->first].score;
        if (d->kind == DATA_POINT && !score_is_label(score)) {
            return fail(EX_DATAERR, "%s:%zu: the score %g does not say whether to imitate; labels "
                        "are needed (true, false, 1 or 0)", d->path, r->line, (double)score);
        }
        if (d->kind == DATA_POINT && score == 0) continue;
        if (d->kind == DATA_PAIR && opt.sft_on == SFT_ON_REJECTED) r->first++;
        if (d->kind == DATA_PAIR && opt.sft_on != SFT_ON_BOTH) r->count = 1;
        d->record[kept++] = *r;
    }
    d->num_records = kept;
    if (!kept) {
        return fail(EX_DATAERR, "%s: no row has the label true: nothing to imitate", d->path);
    }
    if (d->kind == DATA_POINT) {
        fprintf(stderr, "%s: %zu of %zu rows have the label true and are imitated\n", d->name, kept,
                rows);
    }
    if (d->kind == DATA_PAIR) {
        fprintf(stderr, "%s: %s answers of %zu pairs are imitated\n", d->name, sides[opt.sft_on],
                kept);
    }
    return 0;
}

// The scores of the training files, as they are in the data.
typedef struct {
    double low, high;
    size_t num_true, num_false;                 // labels: scores that are 1 or 0
    int others;                                 // yes: some score is no label
} Scores;

static Scores scan_scores(const Run *run) {
    Scores x = {.low = FLT_MAX, .high = -FLT_MAX};
    for (const Dataset *d = run->data; d < run->data + run->num_train; d++) {
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            for (int k = 0; k < r->count; k++) {
                const float score = d->answer[r->first + k].score;
                if (score < x.low) x.low = score;
                if (score > x.high) x.high = score;
                if (!score_is_label(score)) x.others = 1;
                else if (score == 1) x.num_true++;
                else x.num_false++;
            }
        }
    }
    return x;
}

// [low, high] of every training file to [from, to].
static void rescale_scores(Run *run, const Scores *x, double from, double to) {
    for (Dataset *d = run->data; d < run->data + run->num_train; d++) {
        for (size_t i = 0; i < d->num_answers; i++) {
            float *score = &d->answer[i].score;
            *score = (float)(from + (to - from) * ((*score - x->low) / (x->high - x->low)));
        }
    }
}

// What was found, and what it is taken for: the scale is now [from, to].
static void print_labels(const Scores *x, double from, double to, int continuous) {
    if (!x->others) {
        fprintf(stderr, "labels: %zu true, %zu false\n", x->num_true, x->num_false);
        return;
    }
    fprintf(stderr, "scores from %g to %g, %s [%g, %g], as %s\n", x->low, x->high,
            opt.score_scale != SCALE_NONE ? "mapped to" : "not scaled:", from, to,
            continuous ? "numbers to reach" : "soft labels");
}

/* Points: are their numbers labels or scores?  Decides, brings scores to the scale that was asked
 * for, and says so.  0, or -1 after fail().  */
static int settle_labels(Run *run) {
    PolicyRun *p = run->policy;
    const Objective *o = run->objective;
    const Scores x = scan_scores(run);
    const int scale = opt.score_scale;

    // the scale
    if (scale != SCALE_NONE && !(x.low < x.high)) {
        return fail(EX_DATAERR, "--score_scale: every score is %g", x.low);
    }
    double from = x.low, to = x.high;
    if (scale != SCALE_NONE) {
        from = scale == SCALE_UNIT ? 0 : -1;
        to = 1;
    }

    // labels or scores
    p->continuous = x.others;
    if (opt.labels != LABELS_AUTO) p->continuous = opt.labels == LABELS_CONTINUOUS;
    if (!p->continuous && (from < 0 || to > 1) && opt.compat == COMPAT_NONE) {
        return fail(EX_DATAERR, "scores from %g to %g are no labels; --score_scale unit brings "
                    "them to [0,1]", from, to);
    }
    if (p->continuous && !o->takes_scores) {
        return fail(EX_DATAERR, "scores from %g to %g where labels are needed (true, false); "
                    "--labels binary takes scores in [0,1] as soft labels, --score_scale unit "
                    "brings them there", from, to);
    }
    if (scale != SCALE_NONE) rescale_scores(run, &x, from, to);

    // demonstrations among them (ULMA)
    p->positives_are_demos = 0;
    if (o->imitates) {
        const int ask = opt.compat == COMPAT_ULMA_RELEASE || opt.demos == DEMOS_POSITIVES;
        p->positives_are_demos = ask || (opt.demos == DEMOS_AUTO && !p->continuous);
    }
    if (p->continuous && p->positives_are_demos && opt.compat == COMPAT_NONE) {
        return fail(EX_USAGE, "--demos positives: scores have no positives; give demonstrations "
                    "with --demo");
    }

    print_labels(&x, from, to, p->continuous);
    return 0;
}

// KTO's mismatched answers: each prompt of d with an answer to another prompt, of the next record
// that has one.  m borrows the rest of d.  0, or -1 after fail().
static int mismatch_answers(Dataset *m, const Dataset *d) {
    const size_t n = d->num_records;
    *m = *d;
    m->record = allocate(n, sizeof *m->record);
    m->answer = allocate(n, sizeof *m->answer);
    m->num_answers = n;
    if (!m->record || !m->answer) return -1;

    size_t j = 0;                               // the other record, counted on beyond n
    for (size_t i = 0; i < n; i++) {
        if (j <= i) j = i + 1;
        while (j < i + n && d->record[j % n].prompt_id == d->record[i].prompt_id) j++;
        if (j == i + n) {
            return fail(EX_DATAERR, "%s: all rows have one prompt; kto's KL needs answers to other "
                        "prompts", d->path);
        }
        const Record *other = &d->record[j % n];
        m->record[i] = d->record[i];
        m->record[i].first = (int)i;
        m->record[i].count = 1;
        m->answer[i] = d->answer[other->first + (int)i % other->count];
        const int room = answer_room(opt.max_length, d->record[i].prompt.len);
        if (m->answer[i].tokens.len > room) {
            m->answer[i].tokens.len = room;
            m->answer[i].cut = 1;
        }
    }
    return 0;
}

/* The loaded files, of kinds that fit, as the objective wants them: outside the fold, what is
 * imitated, labels or scores settled; KTO's mismatched sets come after them. 0, or -1 after
 * fail().  */
int policy_data(Run *run) {
    const Objective *o = run->objective;
    const int trained = run->num_train + run->num_then, files = trained + run->num_eval;
    if (o->data != PAIRS && opt.logp == LOGP_MEAN && opt.reduction == REDUCE_TOKENS) {
        return fail(EX_USAGE, "--logp mean with --reduction tokens divides by the tokens twice; "
                    "choose --reduction joint, or --logp sum");
    }
    for (int i = 0; i < trained; i++) {
        const int imitated = i >= run->num_train || o->data == DEMONSTRATIONS;
        if (dataset_keep_fold(&run->data[i], 0) < 0) return -1;
        if (imitated && keep_demonstrations(&run->data[i]) < 0) return -1;
    }
    if (o->data == POINTS && settle_labels(run) < 0) return -1;
    if (!o->mismatched) return 0;
    for (int i = 0; i < run->num_train; i++) {
        run->num_mismatched++;
        if (mismatch_answers(&run->data[files + i], &run->data[i]) < 0) return -1;
    }
    return 0;
}

// A base response, to be found by its prompt.
typedef struct {
    unsigned long long prompt_id;
    Item item;
} Base;

// By prompt, of one prompt in the order of the files.
static int compare_bases(const void *a, const void *b) {
    const Base *x = a, *y = b;
    if (x->prompt_id != y->prompt_id) return x->prompt_id > y->prompt_id ? 1 : -1;
    if (x->item.set != y->item.set) return x->item.set > y->item.set ? 1 : -1;
    return (x->item.record > y->item.record) - (x->item.record < y->item.record);
}

// The first of base (n), sorted, with that prompt; n: there is none.
static size_t base_of_prompt(const Base *base, size_t n, unsigned long long prompt_id) {
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (base[middle].prompt_id < prompt_id) low = middle + 1;
        else high = middle;
    }
    return low < n && base[low].prompt_id == prompt_id ? low : n;
}

// BAPO: the completion of --bapo_base with the prompt of each row, the first of several.  0, or -1
// after fail().
static int find_bases(Run *run) {
    const int train_files = run->num_train, files = train_files + run->num_then;
    Base *base = NULL;
    size_t n = 0, capacity = 0;
    int result = -1;
    if (!opt.bapo_base.n) return 0;
    Item **of = allocate((size_t)train_files, sizeof *of);
    run->policy->base = of;
    if (!of) return -1;

    for (int i = train_files; i < files; i++) {
        const Dataset *d = &run->data[i];
        if (d->kind != DATA_COMPLETION) {
            fail(EX_DATAERR, "%s: %s data; --bapo_base takes prompts with completions, as more "
                 "sample writes them", d->path, data_kind_name[d->kind]);
            goto done;
        }
        if (reserve(&base, &capacity, n + d->num_records, sizeof *base) < 0) goto done;
        for (size_t r = 0; r < d->num_records; r++) {
            base[n++] = (Base){d->record[r].prompt_id, {i, (int)r, 0}};
        }
    }
    qsort(base, n, sizeof *base, compare_bases);

    for (int i = 0; i < train_files; i++) {
        const Dataset *d = &run->data[i];
        if (!(of[i] = allocate(d->num_records, sizeof *of[i]))) goto done;
        for (size_t r = 0; r < d->num_records; r++) {
            const size_t at = base_of_prompt(base, n, d->record[r].prompt_id);
            if (at == n) {
                fail(EX_DATAERR, "%s:%zu: no row of --bapo_base has this prompt; more sample "
                     "--prompts %s writes them all", d->path, d->record[r].line, d->path);
                goto done;
            }
            of[i][r] = base[at].item;
        }
    }
    result = 0;
done:
    free(base);
    return result;
}

// All records of the training files, shuffled anew each epoch, in steps of --per_step_rows.
int policy_plan(Run *run) {
    const int bases = opt.bapo_base.n ? run->num_then : 0;      // that are in no plan
    if (policy_data(run) < 0 || find_bases(run) < 0) return -1;
    if (groups_open(run) < 0 || copies_open(run) < 0) return -1;
    run->full = (size_t)opt.per_step_rows;
    for (int s = 0; s < run->num_train + run->num_then - bases; s++) {
        for (size_t r = 0; r < run->data[s].num_records; r++) {
            if (plan_item(run, (Item){s, (int)r, 0}) < 0) return -1;
        }
    }
    return plan_epochs(run, 0, 0, 1);
}

// ----------------------------------------------------------------------- texts of a micro-batch

// Answer k of an item's record.
static Response response_of(const Run *run, const Item *item, int k) {
    const Objective *o = run->objective;
    const PolicyRun *p = run->policy;
    const Dataset *d = &run->data[item->set];
    const Record *r = item_record(run, item);
    const Answer *a = &d->answer[r->first + k];
    Response x = {.tokens = scored_tokens(d, r, k), .texts = 1, .label = a->score,
                  .ref_sum = a->ref_logp, .group = group_of(run, item)};

    if (o->data == POINTS) {
        // demonstrations: the files of --demo, and labels that are true
        x.demo = item->set >= run->num_train || (p->positives_are_demos && a->score == 1);
        if (x.demo) x.label = 1;
        else if (opt.compat == COMPAT_ULMA_RELEASE && !p->continuous) x.label = a->score == 1;
        x.good = p->continuous ? x.demo : x.label > 0.5f;
    } else {
        x.good = k == 0 || o->data == DEMONSTRATIONS;
    }
    if (o->data == PAIRS) {
        x.texts = r->count;
        x.is_ranking = d->kind == DATA_RANKING;
        if (x.is_ranking) x.good = a->score == 1;
    }
    if (o->reference) x.ref_logp = logp_as_asked(a->ref_logp, x.tokens);
    if (p->references) {
        const References *of_set = &p->references[item->set];
        x.ref = of_set->ref + (size_t)(r->first + k) * (size_t)opt.references.n;
        x.ref_weight = of_set->weight + (size_t)item->record * (size_t)opt.references.n;
    }
    return x;
}

/* What the weight of a text that is good (n[1]) or not (n[0]) is a share of: the step's pairs
 * or texts; its texts of the same class, so that both count alike; the step's tokens
 * (--reduction). Of the whole step [at, end), so that micro-batches do not matter.  */
static void step_sizes(const Run *run, size_t at, size_t end, double n[2]) {
    n[0] = n[1] = 0;
    if (run->objective->data == PAIRS) {
        n[0] = n[1] = (double)(end - at);
        return;
    }
    for (const Item *item = &run->item[at]; item < &run->item[end]; item++) {
        for (int k = 0; k < item_record(run, item)->count; k++) {
            Response x = response_of(run, item, k);
            n[x.good] += opt.reduction == REDUCE_TOKENS ? x.tokens : 1;
        }
    }
    if (opt.reduction != REDUCE_CLASS_MEANS) n[0] = n[1] = n[0] + n[1];
}

// What the loss of a text counts for in the step's: a share of n, or as its group is weighed.
static double text_weight(const Run *run, const Record *r, const Response *x, const double n[2]) {
    if (run->groups) return r->weight * run->groups->factor[x->group];
    return r->weight / n[x->good];
}

// The texts of the items [begin, end), with weights that are shares of n; returns how many.
static int begin_texts(Run *run, size_t begin, size_t end, const double n[2]) {
    PolicyRun *p = run->policy;
    int texts = 0;
    for (const Item *item = &run->item[begin]; item < &run->item[end]; item++) {
        const Record *r = item_record(run, item);
        if (run->objective->data == PAIRS) {
            record_places(p->place + texts, &run->data[item->set], r);
        }
        for (int k = 0; k < r->count; k++, texts++) {
            Response x = response_of(run, item, k);
            p->response[texts] = x;
            p->ref_logp[texts] = x.ref_logp;
            p->weight[texts] = (float)text_weight(run, r, &x, n);
        }
    }
    return texts;
}

// After the forward: the texts' log-probabilities from run->value (T).
static void texts_logp(Run *run, const Batch *b) {
    PolicyRun *p = run->policy;
    text_sums(p->sum, b, run->value);
    for (int j = 0; j < b->B; j++) {
        p->logp[j] = logp_as_asked(p->sum[j], p->response[j].tokens);
        p->dlogp[j] = 0;
    }
}

// mdpo: the loss of the pair or ranking that begins with text j, sum_i a_i L(ref_i); adds dL/dlogp.
static double mean_loss(Run *run, int j) {
    PolicyRun *p = run->policy;
    const Response *x = &p->response[j];
    float ref_logp[MAX_ANSWERS];
    double loss = 0;
    for (int i = 0; i < opt.references.n; i++) {
        const float weight = (float)(p->weight[j] * x->ref_weight[i]);
        for (int k = 0; k < x->texts; k++) ref_logp[k] = logp_as_asked(x[k].ref[i], x[k].tokens);
        const LossBatch one = {.B = 1, .m = x->texts, .rank = x->is_ranking ? &p->place[j] : NULL,
                               .logp = &p->logp[j], .ref_logp = ref_logp, .weight = &weight,
                               .dlogp = &p->dlogp[j]};
        loss += run->objective->loss(&one, &p->settings);
    }
    return loss;
}

// The loss of text j, or of the pair or ranking that begins with it; adds dL/dlogp.
static double text_loss(Run *run, int j) {
    PolicyRun *p = run->policy;
    const Response *x = &p->response[j];
    if (x->ref) return mean_loss(run, j);
    const LossBatch one = {.B = 1, .m = x->texts, .rank = x->is_ranking ? &p->place[j] : NULL,
                           .logp = &p->logp[j], .ref_logp = &p->ref_logp[j],
                           .weight = &p->weight[j], .label = &x->label, .demo = &x->demo,
                           .dlogp = &p->dlogp[j]};
    return run->objective->loss(&one, &p->settings);
}

// After the forward: the losses, added to *loss text by text or choice by choice, and dL/dlogp.
static void texts_loss(Run *run, const Batch *b, double *loss) {
    PolicyRun *p = run->policy;
    texts_logp(run, b);
    for (int j = 0; j < b->B; j += p->response[j].texts) *loss += text_loss(run, j);
}

// dL/dlogp of means over tokens to that of sums.
static void means_to_sums(PolicyRun *p, int texts) {
    for (int i = 0; opt.logp == LOGP_MEAN && i < texts; i++) {
        const int tokens = p->response[i].tokens;
        if (tokens) p->dlogp[i] = (float)((double)p->dlogp[i] / tokens);
    }
}

// The derivatives by the texts' sums to their token rows, dvalue (T).
static void spread_to_rows(Run *run, const Batch *b) {
    int t = 0;
    for (int i = 0; i < b->B; i++) {
        const int end = b->text[i].first + b->text[i].len;
        const float d = run->policy->dlogp[i];
        for (; t < end; t++) run->dvalue[t] = b->target[t] >= 0 ? d : 0;
    }
}

// What log-ratios are multiplied with where they are called rewards.
static double reward_scale(const Run *run) { return run->objective->linear ? 1 : opt.loss.beta; }

// Adds the pairs of the choice that begins with text j: each two texts of which one is better.
static void count_pairs(PolicyRun *p, int j, double scale) {
    StepSums *s = &p->sums;
    const int end = j + p->response[j].texts;
    for (int i = j; i < end; i++) {
        for (int k = i + 1; k < end; k++) {
            if (p->place[i] == p->place[k]) continue;
            const double better = (double)p->logp[i] - p->ref_logp[i];
            const double worse = (double)p->logp[k] - p->ref_logp[k];
            const double margin = scale * (better - worse);
            s->pairs += 1;
            s->margin += margin;
            if (margin > 0) s->correct += 1;
            if (margin == 0) s->correct += 0.5;
        }
    }
}

// Adds the micro-batch's texts to the numbers of the step.
static void count_texts(PolicyRun *p, int texts, int pairs, double scale) {
    StepSums *s = &p->sums;
    for (int j = 0; j < texts; j++) {
        const Response *x = &p->response[j];
        const double ratio = (double)p->logp[j] - p->ref_logp[j];
        s->n[x->good] += 1;
        s->tokens += x->tokens;
        s->difference += p->sum[j] - x->ref_sum;
        s->logp[x->good] += p->logp[j];
        s->ratio[x->good] += ratio;
        s->reward[x->good] += scale * ratio;
    }
    for (int j = 0; pairs && j < texts; j += p->response[j].texts) count_pairs(p, j, scale);
}

// ------------------------------------------------------------------------------------- the step

// logp and ref_logp (end - at) of the mismatched answers to the items' prompts, from forwards
// alone.
static int mismatched_logps(Run *run, size_t at, size_t end, float *logp, float *ref_logp) {
    while (at < end) {
        double sum[MAX_PAIRS];                  // an answer for each item
        const size_t begin = at;
        at = next_micro_batch(run, at, end);
        if (!at) return -1;
        Batch b = pack_batch(&run->pack);
        if (model_reserve(&run->model, b.T, b.B) < 0) return -1;
        model_forward(&run->model, &b);
        if (model_logp(&run->model, &b, run->value) < 0) return -1;
        text_sums(sum, &b, run->value);
        for (size_t j = 0; j < at - begin; j++) {
            const Item *item = &run->item[begin + j];
            const Dataset *d = &run->data[item->set];
            const Record *r = item_record(run, item);
            const int n = scored_tokens(d, r, 0);
            *logp++ = logp_as_asked(sum[j], n);
            *ref_logp++ = logp_as_asked(d->answer[r->first].ref_logp, n);
        }
    }
    return 0;
}

// KTO's KL of the step (loss.c: kto_kl).  For its forwards the items point to the same records of
// the mismatched sets.  0, or -1 after fail().
static int mismatched_kl(Run *run, size_t at, size_t end, double *kl) {
    const int shift = run->num_train + run->num_then + run->num_eval;
    float *logp = allocate(end - at, sizeof *logp);
    float *ref_logp = allocate(end - at, sizeof *ref_logp);
    int status = -1;
    if (logp && ref_logp) {
        for (size_t i = at; i < end; i++) run->item[i].set += shift;
        status = mismatched_logps(run, at, end, logp, ref_logp);
        for (size_t i = at; i < end; i++) run->item[i].set -= shift;
    }
    if (status == 0) *kl = kto_kl(logp, ref_logp, (int)(end - at));
    free(logp);
    free(ref_logp);
    return status;
}

// What the command line says, and what this step knows besides.
static LossSettings loss_settings(const PolicyRun *p) {
    LossSettings s = opt.loss;
    s.kl = p->sums.kl;
    s.continuous = p->continuous;
    return s;
}

// Packs the micro-batch that starts at item `at` and runs it forward: log-probabilities of token
// rows to run->value, but where they are to come from backward (linear).  Returns its end, or 0
// after fail().
static size_t forward_texts(Run *run, size_t at, size_t end, Batch *b) {
    end = next_micro_batch(run, at, end);
    if (!end) return 0;
    *b = pack_batch(&run->pack);
    if (model_reserve(&run->model, b->T, b->B) < 0) return 0;
    model_forward(&run->model, b);
    if (run->objective->linear) memset(run->value, 0, (size_t)b->T * sizeof *run->value);
    else if (model_logp(&run->model, b, run->value) < 0) return 0;
    return end;
}

/* Group-robust: alpha and what rows count for, from the losses of the whole step [at, end), by
 * forwards alone.  Returns the number of micro-batches, or -1 after fail(); b is the last one,
 * whose activations are still there.  */
static int weigh_groups(Run *run, size_t at, size_t end, const double n[2], Batch *b) {
    Groups *g = run->groups;
    int micro_batches = 0;
    groups_begin(g, 1);
    while (at < end) {
        const size_t begin = at;
        at = forward_texts(run, at, end, b);
        if (!at) return -1;
        begin_texts(run, begin, at, n);
        texts_logp(run, b);
        const Response *response = run->policy->response;
        for (int j = 0; j < b->B; j += response[j].texts) {
            groups_add(g, response[j].group, text_loss(run, j));
        }
        micro_batches++;
    }
    return groups_weigh(g) < 0 ? -1 : micro_batches;
}

/* BAPO: adds lambda times the mean of r^2 of the base responses to the step's items, and its
 * gradient. `row` (end - at) are the items; in their places stand those of their base responses.
 * 0, or -1 after fail().  */
static int bases_step(Run *run, const Item *row, size_t at, size_t end, double *loss) {
    PolicyRun *p = run->policy;
    const double n = (double)(end - at);
    for (size_t begin = at, next; begin < end; begin = next) {
        Batch b;
        next = forward_texts(run, begin, end, &b);
        if (!next) return -1;
        text_sums(p->sum, &b, run->value);
        for (int j = 0; j < b.B; j++) {
            const Item *item = &run->item[begin + (size_t)j];
            const Dataset *d = &run->data[item->set];
            const Record *r = item_record(run, item);
            const double weight = item_record(run, &row[begin - at + (size_t)j])->weight / n;
            double slope;
            const double square = bapo_loss(&slope, p->sum[j], d->answer[r->first].ref_logp,
                                            scored_tokens(d, r, 0));
            *loss += opt.bapo_lambda * weight * square;
            p->sums.base += square / n;
            p->dlogp[j] = (float)(opt.bapo_lambda * weight * slope);
        }
        spread_to_rows(run, &b);
        if (model_backward(&run->model, &b, NULL, run->dvalue, NULL) < 0) return -1;
    }
    return 0;
}

// The same, with the items in their own places again when it returns.
static int add_bases(Run *run, size_t at, size_t end, double *loss) {
    const size_t n = end - at;
    Item *row = allocate(n, sizeof *row);
    if (!row) return -1;
    memcpy(row, run->item + at, n * sizeof *row);
    for (size_t i = 0; i < n; i++) run->item[at + i] = run->policy->base[row[i].set][row[i].record];
    const int status = bases_step(run, row, at, end, loss);
    memcpy(run->item + at, row, n * sizeof *row);
    free(row);
    return status;
}

/* The step of every policy. Where dL/dlogp does not depend on logp (linear), backward itself
 * computes the log-probabilities, so that the vocabulary's product is not computed twice; the
 * loss is then read after it.  */
int policy_step(Run *run, size_t at, size_t end, double *loss) {
    PolicyRun *p = run->policy;
    const Objective *o = run->objective;
    double n[2], not_yet = 0;                   // linear: the loss is known after backward
    p->sums = (StepSums){0};
    step_sizes(run, at, end, n);
    if (o->mismatched && mismatched_kl(run, at, end, &p->sums.kl) < 0) return -1;
    p->settings = loss_settings(p);

    // the only micro-batch of a step that was weighed has been forward already
    Batch b = {0};
    const int weighed = run->groups ? weigh_groups(run, at, end, n, &b) : 0;
    if (weighed < 0) return -1;
    for (size_t begin = at, next; begin < end; begin = next) {
        next = weighed == 1 ? end : forward_texts(run, begin, end, &b);
        if (!next) return -1;
        const int texts = begin_texts(run, begin, next, n);
        texts_loss(run, &b, o->linear ? &not_yet : loss);

        float *logp = o->linear ? run->value : NULL;
        means_to_sums(p, texts);
        spread_to_rows(run, &b);
        if (model_backward(&run->model, &b, NULL, run->dvalue, logp) < 0) return -1;
        if (o->linear) texts_loss(run, &b, loss);
        count_texts(p, texts, o->data == PAIRS, reward_scale(run));
    }

    if (p->base && add_bases(run, at, end, loss) < 0) return -1;
    if (run->copies && copies_step(run, at, end, loss) < 0) return -1;
    if (reserve(&p->history, &p->history_capacity, p->steps + 1, sizeof *p->history) < 0) return -1;
    p->history[p->steps++] = p->sums;
    return 0;
}

// The references of all texts.
static uint64_t sum_references(const Run *run) {
    const int files = run->num_train + run->num_then + run->num_mismatched;
    Checksum c;
    checksum_start(&c);
    for (int k = 0; k < files; k++) {
        const Dataset *d = &run->data[k < run->num_train + run->num_then ? k : k + run->num_eval];
        for (size_t a = 0; a < d->num_answers; a++) {
            uint64_t bits;
            memcpy(&bits, &d->answer[a].ref_logp, sizeof bits);
            checksum_number(&c, bits);
        }
    }
    return checksum_finish(&c);
}

// What is kept from step to step, to be saved or read (Trainer.state); the references are computed
// again before, or come from their file.  0, or -1 after fail().
int policy_state(Run *run, State *s) {
    PolicyRun *p = run->policy;
    const size_t numbers = sizeof *p->history / sizeof(double);
    uint64_t steps = p->steps;
    state_same(s, sum_references(run), "log-probabilities of the reference");
    state_number(s, &steps);
    if (s->result < 0) return -1;
    if (steps > run->num_steps) return fail(EX_DATAERR, "%s: too many steps", s->path);
    p->steps = (size_t)steps;
    if (reserve(&p->history, &p->history_capacity, p->steps, sizeof *p->history) < 0) return -1;
    state_doubles(s, (double *)p->history, p->steps * numbers);
    if (run->copies && copies_state(run, s) < 0) return -1;
    return run->groups ? groups_state(run->groups, s) : s->result;
}

// ------------------------------------------------------------------------ before the first step

/* Before the first step the policy is the reference: the first micro-batch must have the same
 * log-probabilities, to the last bit, in the company that it has in training.  0, or -1 after
 * fail(), which names the file of references if they came from_file.  */
static int check_start(Run *run, const char *path, int from_file) {
    const PolicyRun *p = run->policy;
    const size_t step = run->step_end[0];
    double n[2], loss = 0;

    // the first micro-batch
    run->limit = micro_batch_limit(run, 0, step);
    const size_t end = next_micro_batch(run, 0, step);
    if (!end) return -1;
    Batch b = pack_batch(&run->pack);
    step_sizes(run, 0, end, n);
    if (run->groups) groups_begin(run->groups, 1 / n[1]);
    const int texts = begin_texts(run, 0, end, n);
    run->policy->settings = loss_settings(p);
    model_forward(&run->model, &b);
    if (model_logp(&run->model, &b, run->value) < 0) return -1;
    texts_loss(run, &b, &loss);

    // text by text
    int j = 0;
    for (const Item *item = run->item; item < run->item + end; item++) {
        const Record *r = item_record(run, item);
        for (int k = 0; k < r->count; k++, j++) {
            if (p->sum[j] == p->response[j].ref_sum) continue;
            return fail(EX_DATAERR, "%s:%zu: before the first step the policy gives answer %d the "
                        "log-probability %.17g, the reference %.17g: %s%s",
                        run->data[item->set].path, r->line, k + 1, p->sum[j],
                        p->response[j].ref_sum,
                        from_file ? path : "this machine's bits vary; see more selftest",
                        from_file ? " is not of these weights; remove it" : "");
        }
    }
    const int is_log_2 = fabs(loss - 0.6931471805599453) < 1e-6;
    fprintf(stderr, "the policy is the reference: %d texts agree to the last bit; "
            "the loss starts at %.6f%s\n", texts, loss, is_log_2 ? " = log 2" : "");
    return 0;
}

// What mixing did, for people.
typedef struct {
    double weight[MAX_FILES];                   // sums over the rows
    size_t rows, answers, clipped;
} MixSums;

/* The references of a file's rows are weighed, clipped and mixed to Answer.ref_logp: log ref~, or
 * with mdpo, of which `keep` gets the parts, sum_i a_i log ref_i. The file's answers begin at *at
 * of each of the K columns, which lie n apart; *at moves on. ref (K,m) is scratch.  */
static void mix_file(Dataset *d, const double *column, size_t n, size_t *at, double *ref,
                     References *keep, MixSums *sums) {
    const int K = opt.references.n;
    double own[MAX_FILES];
    for (size_t row = 0; row < d->num_records; row++) {
        const Record *r = &d->record[row];
        const int m = r->count;
        double *a = keep ? keep->weight + row * (size_t)K : own;
        for (int i = 0; i < K; i++) {
            for (int k = 0; k < m; k++) ref[i*m + k] = column[(size_t)i * n + *at + (size_t)k];
        }
        mrpo_weights(a, ref, K, m, (MixWeights)opt.reference_weights);
        sums->clipped += (size_t)mrpo_clip(ref, K, m, opt.reference_clip);
        for (int k = 0; k < m; k++) {
            double mean = 0;
            for (int i = 0; i < K; i++) {
                mean += a[i] * ref[i*m + k];
                if (keep) keep->ref[(size_t)(r->first + k) * (size_t)K + (size_t)i] = ref[i*m + k];
            }
            d->answer[r->first + k].ref_logp = keep ? mean : mrpo_reference(ref, a, K, m, k);
        }
        for (int i = 0; i < K; i++) sums->weight[i] += a[i];
        sums->rows++;
        sums->answers += (size_t)m * (size_t)(K - 1);
        *at += (size_t)m;
    }
}

// Room for the parts of mdpo.  0, or -1 after fail().
static int references_init(Run *run) {
    const int files = run->num_train + run->num_then + run->num_eval;
    const size_t K = (size_t)opt.references.n;
    References *x = allocate((size_t)files, sizeof *x);
    run->policy->references = x;
    if (!x) return -1;
    for (int i = 0; i < files; i++) {
        const Dataset *d = &run->data[i];
        if (!(x[i].ref = allocate(d->num_answers * K, sizeof *x[i].ref))) return -1;
        if (!(x[i].weight = allocate(d->num_records * K, sizeof *x[i].weight))) return -1;
    }
    return 0;
}

// The models of --references in place of the starting model.  0, or -1 after fail().
static int start_with_references(Run *run, const char *path) {
    const int files = run->num_train + run->num_then + run->num_eval, K = opt.references.n;
    const size_t n = reference_count(run);
    double *column = allocate((size_t)K * n, sizeof *column);
    double *ref = allocate((size_t)K * MAX_ANSWERS, sizeof *ref);
    MixSums sums = {.rows = 0};
    size_t at = 0;
    int result = -1;
    if (!column || !ref) goto done;
    if (reference_columns(run, path, column) < 0) goto done;
    if (opt.reference_mix == MIX_MDPO && references_init(run) < 0) goto done;
    References *keep = run->policy->references;
    for (int i = 0; i < files; i++) {
        mix_file(&run->data[i], column, n, &at, ref, keep ? &keep[i] : NULL, &sums);
    }

    fprintf(stderr, "%d reference%s", K, K > 1 ? "s, of mean weights" : "");
    for (int i = 0; K > 1 && i < K; i++) {
        fprintf(stderr, " %.3f", sums.weight[i] / (double)sums.rows);
    }
    if (K > 1) {
        fprintf(stderr, "; %zu of the others' %zu log-probabilities are clipped", sums.clipped,
                sums.answers);
    }
    fprintf(stderr, "\n");
    result = 0;
done:
    free(column);
    free(ref);
    return result;
}

// The models of --references, of which one at a time is there, before the first step.
int policy_beside(const Run *run, int T, double *needed, double *held) {
    const int kind = LOAD_LANGUAGE_MODEL, narrow = narrow_asked();
    double bytes;
    (void)held;
    if (!run->objective->reference) return 0;
    for (int i = 0; i < opt.references.n; i++) {
        const char *dir = opt.references.item[i];
        if (memory_model(&bytes, dir, kind, narrow, T, T, SCORING) < 0) return -1;
        *needed = fmax(*needed, bytes);
    }
    return 0;
}

// The reference's log-probabilities, from --reference_cache or the file beside the policy, unless
// they are there.
int policy_start(Run *run) {
    char in_out[PATH_SIZE];
    const char *path = opt.reference_cache, *start = opt.model.n ? opt.model.item[0] : "";
    int from_file;
    if (!run->objective->reference || run->has_reference) return 0;
    if (!path) {
        if (path_join(in_out, run->out, "reference.bin") < 0) return -1;
        path = in_out;
    }
    if (opt.references.n) return start_with_references(run, path);
    if (reference_logps(run, &run->model, start, path, &from_file) < 0) return -1;
    return check_start(run, path, from_file);
}

// ----------------------------------------------------------------------------- what is reported

// The two classes of points, TRL's names; where labels are scores, demonstrations and the rest.
static const char *class_name(const PolicyRun *p, int good) {
    if (p->continuous) return good ? "demos" : "scored";
    return good ? "positive" : "negative";
}

// What is shown: the sums of the last --logging_steps steps, or of all where there were fewer.
static StepSums recent_texts(const PolicyRun *p) {
    const size_t most = (size_t)opt.logging_steps;
    StepSums sum = {0};
    for (size_t i = p->steps > most ? p->steps - most : 0; i < p->steps; i++) {
        const StepSums *s = &p->history[i];
        for (int good = 0; good < 2; good++) {
            sum.n[good] += s->n[good];
            sum.reward[good] += s->reward[good];
        }
        sum.pairs += s->pairs;
        sum.correct += s->correct;
        sum.margin += s->margin;
    }
    return sum;
}

void policy_log(const Run *run, FILE *f) {
    const Objective *o = run->objective;
    const PolicyRun *p = run->policy;
    const StepSums *s = &p->sums, recent = recent_texts(p);
    switch (o->data) {
    case PAIRS:
        fprintf(f, ",\"rewards/chosen\":%.9g,\"rewards/rejected\":%.9g,\"rewards/margins\":%.9g,"
                "\"rewards/accuracies\":%.6g,\"logps/chosen\":%.9g,\"logps/rejected\":%.9g",
                s->reward[1] / s->n[1], s->reward[0] / s->n[0], s->margin / s->pairs,
                s->correct / s->pairs, s->logp[1] / s->n[1], s->logp[0] / s->n[0]);
        fprintf(f, ",\"running_accuracy\":%.6g,\"running_margin\":%.9g",
                recent.correct / recent.pairs, recent.margin / recent.pairs);
        break;
    case POINTS:
        for (int good = 1; good >= 0; good--) {
            const char *name = class_name(p, good);
            if (!s->n[good]) continue;
            fprintf(f, ",\"rewards/%s\":%.9g,\"logps/%s\":%.9g", name, s->reward[good] / s->n[good],
                    name, s->logp[good] / s->n[good]);
        }
        break;
    default:
        fprintf(f, ",\"logps/positive\":%.9g", s->logp[1] / s->n[1]);
    }

    if (run->groups) groups_log(run->groups, f);
    if (run->copies) copies_log(run->copies, f);

    // KL(policy || reference), estimated on the data's texts, not on samples: mean of log pi -
    // log ref
    if (!o->reference) return;
    fprintf(f, ",\"kl\":%.9g,\"kl_per_token\":%.9g", s->difference / (s->n[0] + s->n[1]),
            s->difference / s->tokens);
    if (s->kl > 0) fprintf(f, ",\"kl_mismatched\":%.9g", s->kl);
    if (p->base) fprintf(f, ",\"base_ratio_squared\":%.9g", s->base);
}

// Means over the last --logging_steps steps; the rejected answers' reward is the chosen ones' less
// the margin.
void policy_show(const Run *run, FILE *f) {
    const PolicyRun *p = run->policy;
    const StepSums s = recent_texts(p);
    if (run->objective->data == PAIRS) {
        fprintf(f, "  accuracy %.3f  margin %.4f  chosen %.4f", s.correct / s.pairs,
                s.margin / s.pairs, s.reward[1] / s.n[1]);
    }
    if (run->groups) groups_show(run->groups, f);
    if (run->objective->data != POINTS) return;
    for (int good = 1; good >= 0; good--) {
        if (s.n[good]) fprintf(f, "  %s %.4f", class_name(p, good), s.reward[good] / s.n[good]);
    }
}

// The mean log-ratio, logp - ref_logp, of a step's good texts or of the others.
static double mean_ratio(const StepSums *s, int good) {
    return s->n[good] ? s->ratio[good] / s->n[good] : 0;
}

// The question most asked of DPO: why do chosen answers become less likely?
void policy_finish(const Run *run) {
    const PolicyRun *p = run->policy;
    const Objective *o = run->objective;
    const size_t steps = p->steps, tenth = (steps + 9) / 10;
    double first[2] = {0, 0}, last[2] = {0, 0};         // of [1] chosen answers, [0] rejected ones
    if (o->data != PAIRS || o->imitates || steps < 2) return;

    for (size_t s = 0; s < tenth; s++) {
        for (int good = 0; good < 2; good++) {
            first[good] += mean_ratio(&p->history[s], good) / (double)tenth;
            last[good] += mean_ratio(&p->history[steps - 1 - s], good) / (double)tenth;
        }
    }
    if (last[1] >= first[1]) return;
    fprintf(stderr,
            "chosen answers became less likely: their mean log-probability%s went from %.3f in "
            "the\n"
            "first tenth of the steps to %.3f in the last, that of rejected ones from %.3f to "
            "%.3f.  The\n"
            "loss asks for the difference alone: both may fall.  Where chosen answers are to stay "
            "likely: a\n"
            "lower --learning_rate, a higher --beta, fewer steps, or orpo or ulma, which imitate "
            "them.\n",
            o->reference ? " against the reference" : "", first[1], last[1], first[0], last[0]);
}

// Held-out numbers of d, printed and logged, to metric too.  0, or -1 after fail().
int policy_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]) {
    const size_t n = d->num_answers;
    double *logp = allocate(n, sizeof *logp), *ref_logp = allocate(n, sizeof *ref_logp);
    double *reward = allocate(n, sizeof *reward);
    Held x;
    int result = -1;

    // implicit rewards
    if (!logp || !ref_logp || !reward) goto done;
    if (evaluate_texts(&run->model, run->tokenizer.eos, d, logp) < 0) goto done;
    for (size_t i = 0; i < n; i++) ref_logp[i] = d->answer[i].ref_logp;
    implicit_rewards(reward, d, logp, run->objective->reference ? ref_logp : NULL,
                     reward_scale(run));

    // what they say of pairs and of good answers
    const int choices = d->kind == DATA_PAIR || d->kind == DATA_RANKING;
    if (choices && report_choices(run, d, reward, step, metric) < 0) goto done;
    if (held_out(&x, d, logp, reward) < 0) goto done;
    if (d->kind == DATA_COMPLETION || run->objective->data == DEMONSTRATIONS) {
        metric[METRIC_LOSS] = x.good ? more_log(x.perplexity) : NAN;
    }
    if (d->kind == DATA_POINT && x.auc >= 0) metric[METRIC_ACCURACY] = x.auc;
    held_print(stderr, d->name, d, &x);
    if (run->log) {
        char prefix[72];
        snprintf(prefix, sizeof prefix, "eval_%s_", d->name);
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d", step);
        held_write(run->log, prefix, &x);
        fprintf(run->log, "}\n");
    }
    result = 0;
done:
    free(logp);
    free(ref_logp);
    free(reward);
    return result;
}
#endif

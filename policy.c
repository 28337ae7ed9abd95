/* policy.c - policies: SFT, DPO, IPO, point-wise DPO, ULMA, unlikelihood, KTO, ORPO, SimPO.
 *
 * One step serves them all: forward, the texts' log-probabilities, a loss of loss.c on one number a text, its
 * gradient spread over the texts' rows, backward.  The reference is the model before the first step: its
 * log-probabilities are computed once, kept on disk, and never need a second model.  A new objective is a
 * loss in loss.c, a wrapper and a line of policies[] here, a command in more.c, its bit in options.c.      */
#ifndef POLICY_C
#define POLICY_C
#include "train.c"

enum { LOGP_SUM, LOGP_MEAN };                                         // --logp
enum { REDUCE_JOINT, REDUCE_CLASS_MEANS, REDUCE_TOKENS };             // --reduction
enum { LABELS_AUTO, LABELS_BINARY, LABELS_CONTINUOUS };               // --labels
enum { SCALE_NONE, SCALE_UNIT, SCALE_SYMMETRIC };                     // --score_scale
enum { DEMOS_AUTO, DEMOS_POSITIVES, DEMOS_NONE };                     // --demos
enum { ON_CHOSEN, ON_REJECTED, ON_BOTH };                             // --sft_on
enum { COMPAT_NONE, COMPAT_ULMA_RELEASE };                            // --compat

typedef struct Response {                                               // one text of a micro-batch
    double sum, reference;                                            // of its tokens' log-probabilities
    int tokens;                                                       // scored: the answer's, and the end
    int good;                                                         // chosen, or its label is true
    unsigned char demo;
    float logp, ref, label, weight, dlogp;                            // logp, ref: as --logp wants them
} Response;

static int continuous, positives_are_demos;                           // of the labels of the training files
static Response response[2 * MAX_PAIRS];                              // of the micro-batch
static struct {                                                       // of the running step; [1]: good
    double n[2], reward[2], logp[2], ratio[2];                        // sums
    double difference, tokens, correct, margin, kl;                   // of sum - reference; KTO's kl
} sums;

// ------------------------------------------------------------------------------------------- the objectives

// A loss of loss.c for one text or one pair of texts.
static double loss_of(PolicyLoss *loss, Response *x, int texts) {
    float logp[2], ref[2], dlogp[2];
    for (int k = 0; k < texts; k++) {
        logp[k] = x[k].logp;
        ref[k] = x[k].ref;
        dlogp[k] = x[k].dlogp;
    }
    LossBatch b = {.B = 1, .logp = logp, .ref_logp = ref, .weight = &x->weight, .label = &x->label,
                   .demo = &x->demo, .dlogp = dlogp};
    LossSettings s = {.beta = opt.beta, .label_smoothing = opt.label_smoothing,
                      .simpo_gamma = opt.simpo_gamma, .log_z = opt.log_z,
                      .desirable_weight = opt.desirable_weight,
                      .undesirable_weight = opt.undesirable_weight, .kl = sums.kl, .continuous = continuous};
    if (loss == orpo_loss) s.beta = opt.orpo_lambda;
    double value = loss(&b, &s);
    for (int k = 0; k < texts; k++) x[k].dlogp = dlogp[k];
    return value;
}
static double sft(Response *x)           { return loss_of(sft_loss, x, 1); }
static double dpo(Response *x)           { return loss_of(dpo_loss, x, 2); }
static double ipo(Response *x)           { return loss_of(ipo_loss, x, 2); }
static double orpo(Response *x)          { return loss_of(orpo_loss, x, 2); }
static double simpo(Response *x)         { return loss_of(simpo_loss, x, 2); }
static double ulma(Response *x)          { return loss_of(ulma_loss, x, 1); }
static double pointwise_dpo(Response *x) { return loss_of(pointwise_dpo_loss, x, 1); }
static double unlikelihood(Response *x)  { return loss_of(unlikelihood_loss, x, 1); }
static double kto(Response *x)           { return loss_of(kto_loss, x, 1); }

// -------------------------------------------------------------------------------- log-probabilities of texts

static float as_asked(double sum, int tokens) {
    return (float)(opt.logp == LOGP_MEAN && tokens ? sum / tokens : sum);
}

// The tokens of answer k that have a log-probability: its own, the first only after a prompt, and the end.
static int scored_tokens(const Dataset *d, const Record *r, int k) {
    const Answer *a = &d->answer[r->first + k];
    return a->tokens.len - (r->prompt.len == 0) + !a->cut;
}

// beta (log pi - log ref) of every answer: reward(num_answers); ref NULL: of log pi alone
static void implicit_rewards(double *reward, const Dataset *d, const double *logp, const double *ref,
                             double beta) {
    for (size_t i = 0; i < d->num_records; i++)
        for (int k = 0; k < d->record[i].count; k++) {
            int a = d->record[i].first + k, n = scored_tokens(d, &d->record[i], k);
            reward[a] = beta * ((double)as_asked(logp[a], n) - (ref ? as_asked(ref[a], n) : 0));
        }
}

// ------------------------------------------------------------------------------------------------- the data

// Keeps the rows of d that are in the fold, or the others; all, where there are no folds. 0 or -1.
static int keep_fold(Dataset *d, int inside) {
    size_t kept = 0;
    for (size_t i = 0; i < d->num_records; i++)
        if (opt.folds <= 1 || in_fold(&d->record[i]) == inside) d->record[kept++] = d->record[i];
    d->num_records = kept;
    if (kept || opt.folds <= 1) return 0;
    return fail(EX_DATAERR, "%s: no rows %s fold %d of %d", d->path, inside ? "in" : "outside", opt.fold,
                opt.folds);
}

static int needs(const Dataset *d, const char *what) {
    return fail(EX_DATAERR, "%s: %s data; %s", d->path, data_kind_name[d->kind], what);
}

// Which kinds of data an objective takes from --train, from --then or --demo, and from --eval. 0 or -1.
enum { FOR_TRAIN, FOR_THEN, FOR_EVAL };
int objective_takes(const Objective *o, const Dataset *d, int use) {
    const int text = d->kind == DATA_DOCUMENT, completion = d->kind == DATA_COMPLETION;
    const int pair = d->kind == DATA_PAIR, point = d->kind == DATA_POINT;
    if (o->windows)
        return text || completion ? 0 : needs(d, "texts or prompts with completions are needed");
    if (o->reward || (o->data == PAIRS && use == FOR_TRAIN))
        return pair ? 0 : needs(d, "pairs are needed (chosen and rejected)");
    if (o->data == POINTS && use == FOR_TRAIN)
        return pair || point ? 0 : needs(d, "points (a completion with label or score) or pairs are needed");
    if (pair || point || completion) return 0;
    return needs(d, use == FOR_EVAL ? "pairs, points or completions are needed"
                                    : "completions, pairs or points are needed (train lm takes texts)");
}

static int is_label(float score) { return score == 0 || score == 1; }

// What is to be imitated: completions, one side of pairs, the points whose label is true.
static int keep_demonstrations(Dataset *d) {
    size_t kept = 0, rows = d->num_records;
    for (size_t i = 0; i < rows; i++) {
        Record *r = &d->record[i];
        float score = d->answer[r->first].score;
        if (d->kind == DATA_POINT && !is_label(score))
            return fail(EX_DATAERR, "%s:%zu: the score %g does not say whether to imitate; labels are needed "
                        "(true, false, 1 or 0)", d->path, r->line, (double)score);
        if (d->kind == DATA_POINT && score == 0) continue;
        if (d->kind == DATA_PAIR && opt.sft_on == ON_REJECTED) r->first++;
        if (d->kind == DATA_PAIR && opt.sft_on != ON_BOTH) r->count = 1;
        d->record[kept++] = *r;
    }
    d->num_records = kept;
    if (!kept) return fail(EX_DATAERR, "%s: no row has the label true: nothing to imitate", d->path);
    if (d->kind == DATA_POINT)
        fprintf(stderr, "%s: %zu of %zu rows have the label true and are imitated\n", d->name, kept, rows);
    if (d->kind == DATA_PAIR)
        fprintf(stderr, "%s: %s answers of %zu pairs are imitated\n", d->name,
                opt.sft_on == ON_BOTH ? "both" : opt.sft_on == ON_REJECTED ? "the rejected" : "the chosen",
                kept);
    return 0;
}

// Labels or scores?  Says which, and brings scores to the scale that was asked for.
static int settle_labels(Run *run) {
    float low = FLT_MAX, high = -FLT_MAX;
    size_t count[2] = {0};
    continuous = 0;
    for (int s = 0; s < run->num_train; s++)
        for (size_t i = 0; i < run->data[s].num_records * 2; i++) {
            const Record *r = &run->data[s].record[i / 2];
            if ((int)(i % 2) >= r->count) continue;
            float z = run->data[s].answer[r->first + (int)(i % 2)].score;
            low = z < low ? z : low, high = z > high ? z : high;
            if (is_label(z)) count[z == 1]++;
            else continuous = 1;
        }
    int given = continuous, scale = opt.score_scale;
    if (opt.labels != LABELS_AUTO) continuous = opt.labels == LABELS_CONTINUOUS;
    if (scale != SCALE_NONE && !(low < high))
        return fail(EX_DATAERR, "--score_scale: every score is %g", (double)low);
    double from = scale == SCALE_UNIT ? 0 : scale == SCALE_SYMMETRIC ? -1 : low, to = scale ? 1 : high;
    if (!continuous && (from < 0 || to > 1) && opt.compat == COMPAT_NONE)
        return fail(EX_DATAERR, "scores from %g to %g are no labels; --score_scale unit brings them to [0,1]",
                    from, to);
    if (continuous && run->objective->loss != ulma && run->objective->loss != pointwise_dpo)
        return fail(EX_DATAERR, "scores from %g to %g where labels are needed (true, false); --labels "
                    "binary takes scores in [0,1] as soft labels, --score_scale unit brings them there",
                    from, to);
    for (int s = 0; scale && s < run->num_train; s++)
        for (size_t i = 0; i < run->data[s].num_answers; i++) {
            float *z = &run->data[s].answer[i].score;
            *z = (float)(from + (to - from) * (((double)*z - low) / ((double)high - low)));
        }
    positives_are_demos = run->objective->loss == ulma && (opt.compat || opt.demos == DEMOS_POSITIVES
                                                           || (opt.demos == DEMOS_AUTO && !continuous));
    if (continuous && positives_are_demos && !opt.compat)
        return fail(EX_USAGE, "--demos positives: scores have no positives; give demonstrations with --demo");
    if (given) fprintf(stderr, "scores from %g to %g, %s [%g, %g], as %s\n", (double)low, (double)high,
                       scale ? "mapped to" : "not scaled:", from, to,
                       continuous ? "numbers to reach" : "soft labels");
    else fprintf(stderr, "labels: %zu true, %zu false\n", count[1], count[0]);
    return 0;
}

// KTO's mismatched answers: each prompt of d with an answer to another prompt, of the next row that has one.
static int mismatch(Dataset *m, const Dataset *d) {
    *m = *d;
    m->record = allocate(d->num_records, sizeof *m->record);
    m->answer = allocate(d->num_records, sizeof *m->answer);
    if (!m->record || !m->answer) return -1;
    m->num_answers = d->num_records;
    for (size_t i = 0, j = 0, n = d->num_records; i < n; i++) {
        for (j = j > i ? j : i + 1; j < i + n && d->record[j % n].prompt_id == d->record[i].prompt_id; ) j++;
        if (j == i + n)
            return fail(EX_DATAERR, "%s: all rows have one prompt; kto's KL needs answers to other prompts",
                        d->path);
        const Record *other = &d->record[j % n];
        m->record[i] = d->record[i];
        m->record[i].first = (int)i, m->record[i].count = 1;
        m->answer[i] = d->answer[other->first + (int)i % other->count];
    }
    return 0;
}

// The loaded files, of kinds that fit, as the objective wants them; KTO's mismatched sets come after them.
// 0, or -1 after fail().
int policy_data(Run *run) {
    const Objective *o = run->objective;
    const int trained = run->num_train + run->num_then, files = trained + run->num_eval;
    if (o->data != PAIRS && opt.logp == LOGP_MEAN && opt.reduction == REDUCE_TOKENS)
        return fail(EX_USAGE, "--logp mean with --reduction tokens divides by the tokens twice; choose "
                    "--reduction joint, or --logp sum");
    for (int i = 0; i < trained; i++) {
        const int imitated = i >= run->num_train || o->data == DEMONSTRATIONS;
        if (keep_fold(&run->data[i], 0) < 0 || (imitated && keep_demonstrations(&run->data[i]) < 0))
            return -1;
    }
    if (o->data == POINTS && settle_labels(run) < 0) return -1;
    if (!o->mismatched) return 0;
    if (!opt.max_prompt_length)
        return fail(EX_USAGE, "--max_prompt_length is needed: kto's KL joins prompts and others' answers");
    for (int i = 0; i < run->num_train; i++, run->num_mismatched++)
        if (mismatch(&run->data[files + i], &run->data[i]) < 0) return -1;
    return 0;
}

// All rows of the training files, shuffled anew each epoch, and cut into steps of --per_step_rows.
int plan_rows(Run *run) {
    for (int s = 0; s < run->num_train + run->num_then; s++)
        for (size_t r = 0; r < run->data[s].num_records; r++)
            if (plan_add(run, (Item){s, (int)r, 0}) < 0) return -1;
    return plan_epochs(run, 0, 0, opt.epochs, 0, (size_t)opt.per_step_pairs, &(size_t){0});
}

// ------------------------------------------------------------------------------------------------- the step

static double (*history)[2];                                          // mean log-ratios: good, rest
static size_t steps_done, history_capacity;

static int is_demo(const Run *run, const Item *i, float score) {
    return i->set >= run->num_train || (positives_are_demos && score == 1);
}

// One text of a row, all but its log-probability and weight.
static Response response_of(const Run *run, const Item *i, int k) {
    const Dataset *d = &run->data[i->set];
    const Record *r = &d->record[i->record];
    const Answer *a = &d->answer[r->first + k];
    Response x = {.tokens = scored_tokens(d, r, k), .label = a->score, .reference = a->ref_logp};
    if (run->objective->data == POINTS) x.demo = (unsigned char)is_demo(run, i, a->score);
    if (x.demo) x.label = 1;
    else if (opt.compat == COMPAT_ULMA_RELEASE && !continuous) x.label = a->score == 1;
    if (run->objective->data == POINTS) x.good = continuous ? x.demo : x.label > 0.5f;
    else x.good = k == 0 || run->objective->data == DEMONSTRATIONS;
    if (run->objective->reference) x.ref = as_asked(a->ref_logp, x.tokens);
    return x;
}

/* What a text's weight is a share of: the step's pairs or texts; its texts of the same class, good or not, so
 * that both classes count alike; the step's tokens.  Of the whole step: micro-batches do not matter.       */
static void step_sizes(const Run *run, size_t at, size_t end, double n[2]) {
    n[0] = n[1] = 0;
    for (size_t i = at; i < end; i++)
        for (int k = 0; k < run->data[run->item[i].set].record[run->item[i].record].count; k++) {
            Response x = response_of(run, &run->item[i], k);
            n[x.good] += opt.reduction == REDUCE_TOKENS ? x.tokens : 1;
        }
    if (run->objective->data == PAIRS) n[0] = n[1] = (double)(end - at);
    else if (opt.reduction != REDUCE_CLASS_MEANS) n[0] = n[1] = n[0] + n[1];
}

// The texts of item[begin..end) as responses; returns how many.
static int responses_of(const Run *run, size_t begin, size_t end, const double n[2]) {
    int count = 0;
    for (size_t i = begin; i < end; i++) {
        const Record *r = &run->data[run->item[i].set].record[run->item[i].record];
        for (int k = 0; k < r->count; k++) {
            Response *x = &response[count++];
            *x = response_of(run, &run->item[i], k);
            x->weight = (float)(r->weight / n[x->good]);
        }
    }
    return count;
}

// The responses' log-probabilities from those of the rows, then their losses, added to *loss text by text.
static void responses_loss(const Run *run, const Batch *b, double *loss) {
    double sum[2 * MAX_PAIRS];
    const int texts = run->objective->data == PAIRS ? 2 : 1;
    text_sums(sum, b, run->value);
    for (int j = 0; j < b->B; j += texts) {
        for (int k = j; k < j + texts; k++)
            response[k].sum = sum[k], response[k].dlogp = 0,
            response[k].logp = as_asked(sum[k], response[k].tokens);
        *loss += run->objective->loss(response + j);
    }
}

// dL/dlogp of the texts to their rows: a mean's rows have a share each
static void spread(float *drow, const Batch *b) {
    for (int i = 0, t = 0; i < b->B; i++) {
        const Response *x = &response[i];
        float d = opt.logp == LOGP_MEAN && x->tokens ? (float)((double)x->dlogp / x->tokens) : x->dlogp;
        for (; t < b->text[i].first + b->text[i].len; t++) drow[t] = b->target[t] >= 0 ? d : 0;
    }
}

// what log-ratios are multiplied with where they are called rewards; TRL takes ORPO's lambda
static double reward_scale(const Run *run) {
    return run->objective->linear ? 1 : run->objective->loss == orpo ? opt.orpo_lambda : opt.beta;
}

static void count_responses(int n, int pairs, double beta) {
    for (int j = 0; j < n; j++) {
        const Response *x = &response[j];
        double ratio = (double)x->logp - x->ref;
        sums.n[x->good] += 1, sums.tokens += x->tokens, sums.difference += x->sum - x->reference;
        sums.logp[x->good] += x->logp, sums.ratio[x->good] += ratio, sums.reward[x->good] += beta * ratio;
        if (!pairs || j % 2) continue;
        double margin = beta * (ratio - ((double)x[1].logp - x[1].ref));
        sums.margin += margin, sums.correct += margin > 0 ? 1 : margin == 0 ? 0.5 : 0;
    }
}

// KTO's KL of the step, from forwards alone: every row's prompt with an answer to another prompt.
static int mismatched_kl(Run *run, size_t at, size_t end, double *kl) {
    const int shift = run->num_train + run->num_then + run->num_eval;
    float *logp = allocate(end - at, sizeof *logp), *ref = allocate(end - at, sizeof *ref);
    size_t tokens = run->tokens;
    int ok = logp && ref;
    for (size_t i = at; i < end; i++) run->item[i].set += shift;      // the same rows of the mismatched sets
    for (size_t i = at; ok && i < end; ) {
        size_t begin = i;
        double sum[MAX_PAIRS];
        if (!(i = next_micro_batch(run, i, end, 0))) { ok = 0; break; }
        Batch b = pack_batch(&run->pack);
        if (!(ok = model_reserve(&run->model, b.T, b.B) == 0)) break;
        model_forward(&run->model, &b);
        if (!(ok = model_logp(&run->model, &b, run->value) == 0)) break;
        text_sums(sum, &b, run->value);
        for (size_t j = begin; j < i; j++) {
            const Dataset *d = &run->data[run->item[j].set];
            const Record *r = &d->record[run->item[j].record];
            int n = scored_tokens(d, r, 0);
            logp[j - at] = as_asked(sum[j - begin], n);
            ref[j - at] = as_asked(d->answer[r->first].ref_logp, n);
        }
    }
    for (size_t i = at; i < end; i++) run->item[i].set -= shift;
    run->tokens = tokens;
    if (ok) *kl = kto_kl(logp, ref, (int)(end - at));
    free(logp), free(ref);
    return ok ? 0 : -1;
}

/* The step of every policy.  Where dL/dlogp does not depend on logp (linear), backward itself computes the
 * log-probabilities, and the vocabulary's product is not computed twice.                                   */
static int step_policy(Run *run, size_t at, size_t end, double *loss) {
    const Objective *o = run->objective;
    double n[2], unused = 0;
    memset(&sums, 0, sizeof sums);
    step_sizes(run, at, end, n);
    if (o->mismatched && mismatched_kl(run, at, end, &sums.kl) < 0) return -1;
    while (at < end) {
        size_t begin = at;
        if (!(at = next_micro_batch(run, at, end, 0))) return -1;
        Batch b = pack_batch(&run->pack);
        int texts = responses_of(run, begin, at, n);
        model_forward(&run->model, &b);
        if (o->linear) memset(run->value, 0, (size_t)b.T * sizeof *run->value);
        else if (model_logp(&run->model, &b, run->value) < 0) return -1;
        responses_loss(run, &b, o->linear ? &unused : loss);
        spread(run->coef, &b);
        if (model_backward(&run->model, &b, NULL, run->coef, o->linear ? run->value : NULL) < 0) return -1;
        if (o->linear) responses_loss(run, &b, loss);
        count_responses(texts, o->data == PAIRS, reward_scale(run));
    }
    if (reserve(&history, &history_capacity, steps_done + 1, sizeof *history) < 0) return -1;
    for (int k = 0; k < 2; k++) history[steps_done][!k] = sums.n[k] ? sums.ratio[k] / sums.n[k] : 0;
    steps_done++;
    return 0;
}

// --------------------------------------------------------------------------------------------- the reference

static const char *reference_path(void) {
    static char path[PATH_SIZE];
    if (opt.reference_cache) return opt.reference_cache;
    return path_join(path, opt.out, "reference.bin") < 0 ? NULL : path;
}

/* The SHA-256 of all that the log-probabilities depend on: the starting weights and their configuration, the
 * precision, and every text as the tokens it became, which covers data, tokenizer, template and lengths.  */
static int reference_key(const Run *run, int files, char key[65]) {
    enum { PART = 1 << 16 };
    const int head[] = {1, opt.precision, run->tokenizer.eos, files};
    real *part = allocate(PART, sizeof *part);
    Buffer config = {0};
    Sha256 s;
    if (!part || config_text(&config, &run->model.config, "float32") < 0)
        return free(part), buffer_free(&config), -1;
    sha256_start(&s);
    sha256_add(&s, head, sizeof head), sha256_add(&s, config.data, config.len);
    for (size_t i = 0; i < run->model.num_params; i += PART) {
        size_t n = run->model.num_params - i < PART ? run->model.num_params - i : PART;
        kernels_read(part, run->model.params_memory + i, n);
        sha256_add(&s, part, n * sizeof *part);
    }
    for (int k = 0; k < files; k++)
        for (size_t i = 0; i < run->data[k].num_records; i++) {
            const Dataset *d = &run->data[k];
            const Record *r = &d->record[i];
            const int shape[] = {r->prompt.len, r->count};
            sha256_add(&s, shape, sizeof shape);
            sha256_add(&s, d->token + r->prompt.start, (size_t)r->prompt.len * sizeof *d->token);
            for (const Answer *a = &d->answer[r->first]; a < &d->answer[r->first + r->count]; a++) {
                const int answer[] = {a->tokens.len, a->cut};
                sha256_add(&s, answer, sizeof answer);
                sha256_add(&s, d->token + a->tokens.start, (size_t)a->tokens.len * sizeof *d->token);
            }
        }
    sha256_finish(&s, key);
    free(part), buffer_free(&config);
    return 0;
}

// The references of all texts, in order, out of memory (direction 1) or into it.
static size_t copy_references(Run *run, int files, double *memory, int direction) {
    size_t n = 0;
    for (int k = 0; k < files; k++)
        for (size_t i = 0; i < run->data[k].num_records; i++)
            for (int j = 0; j < run->data[k].record[i].count; j++, n++) {
                double *reference = &run->data[k].answer[run->data[k].record[i].first + j].ref_logp;
                if (memory && direction) *reference = memory[n];
                else if (memory) memory[n] = *reference;
            }
    return n;
}

enum { KEY_LINE = 80 };                                               // more reference KEY; doubles; SHA-256
// 1 if the file at path has the references of this key, 0 if it has not, -1 after fail().
static int references_read(Run *run, int files, const char *path, const char *line) {
    Buffer b = {0};
    char sha[65];
    size_t n = copy_references(run, files, NULL, 0), bytes = n * sizeof(double);
    struct stat st;
    if (stat(path, &st) < 0) return 0;
    if (file_read(&b, path) < 0) return -1;
    int same = b.len >= KEY_LINE && !memcmp(b.data, line, KEY_LINE);
    int whole = same && b.len == KEY_LINE + bytes + 64;
    if (whole) sha256_hex(sha, b.data, KEY_LINE + bytes), whole = !memcmp(sha, b.data + KEY_LINE + bytes, 64);
    double *memory = whole ? allocate(n, sizeof *memory) : NULL;
    if (memory) memcpy(memory, b.data + KEY_LINE, bytes), copy_references(run, files, memory, 1);
    else fprintf(stderr, "%s: %s; computed again\n", path,
                 same ? "damaged" : "of other weights, texts or options");
    free(memory), buffer_free(&b);
    return memory != NULL;
}

static int references_write(Run *run, int files, const char *path, const char *line) {
    Buffer b = {0};
    char sha[65];
    size_t n = copy_references(run, files, NULL, 0);
    double *memory = allocate(n, sizeof *memory);
    int ok = memory != NULL;
    if (ok) copy_references(run, files, memory, 0);
    ok = ok && buffer_append(&b, line, KEY_LINE) == 0 && buffer_append(&b, memory, n * sizeof *memory) == 0;
    if (ok) sha256_hex(sha, b.data, b.len);
    ok = ok && buffer_append(&b, sha, 64) == 0 && file_write(path, b.data, b.len) == 0;
    free(memory), buffer_free(&b);
    return ok ? 0 : -1;
}

/* Before the first step the policy is the reference: the first micro-batch must have the same
 * log-probabilities, to the last bit, in the company that it has in training.                              */
static int check_start(Run *run, const char *path, int cached) {
    double n[2], loss = 0;
    size_t step = run->step_end[0];
    run->limit = micro_batch_limit(run, 0, step, 0);
    size_t end = next_micro_batch(run, 0, step, 0);
    if (!end) return -1;
    Batch b = pack_batch(&run->pack);
    step_sizes(run, 0, end, n);
    int texts = responses_of(run, 0, end, n), j = 0;
    model_forward(&run->model, &b);
    if (model_logp(&run->model, &b, run->value) < 0) return -1;
    responses_loss(run, &b, &loss);
    for (size_t i = 0; i < end; i++) {
        const Dataset *d = &run->data[run->item[i].set];
        const Record *r = &d->record[run->item[i].record];
        for (int k = 0; k < r->count; k++, j++)
            if (response[j].sum != d->answer[r->first + k].ref_logp)
                return fail(EX_DATAERR, "%s:%zu: before the first step the policy gives answer %d the "
                            "log-probability %.17g, the reference %.17g: %s%s", d->path, r->line, k + 1,
                            response[j].sum, d->answer[r->first + k].ref_logp,
                            cached ? path : "this machine's bits vary; see more selftest",
                            cached ? " is not of these weights; remove it" : "");
    }
    fprintf(stderr, "the policy is the reference: %d texts agree to the last bit; "
            "the loss starts at %.6f%s\n",
            texts, loss, fabs(loss - 0.6931471805599453) < 1e-6 ? " = log 2" : "");
    return 0;
}

static int policy_start(Run *run) {
    const int files = run->num_train + run->num_then + run->num_eval + run->num_mismatched;
    const char *path = reference_path();
    char key[65], line[KEY_LINE + 1];
    double start = now();
    steps_done = 0;
    if (!run->objective->reference) return 0;
    if (!path || reference_key(run, files, key) < 0) return -1;
    snprintf(line, sizeof line, "more reference %s\n", key);
    int cached = references_read(run, files, path, line);
    if (cached < 0) return -1;
    size_t n = copy_references(run, files, NULL, 0);
    for (int k = 0; k < files && !cached; k++) {
        Dataset *d = &run->data[k];
        double *logp = allocate(d->num_answers, sizeof *logp);
        int ok = logp && evaluate_texts(&run->model, run->tokenizer.eos, d, logp) == 0;
        for (size_t i = 0; ok && i < d->num_answers; i++) d->answer[i].ref_logp = logp[i];
        free(logp);
        if (!ok) return -1;
    }
    if (!cached && references_write(run, files, path, line) < 0) return -1;
    if (cached)
        fprintf(stderr, "reference: %zu log-probabilities of the same weights and texts from %s\n", n, path);
    else fprintf(stderr, "reference: %zu log-probabilities in %.1f s, kept in %s\n", n, now() - start, path);
    return check_start(run, path, cached);
}

// ------------------------------------------------------------------------------------------ what is reported

static void log_pairs(FILE *f, int json) {
    double n = sums.n[1];
    if (!json) {
        fprintf(f, "  accuracy %.3f  margin %.4f  chosen %.4f  rejected %.4f", sums.correct / n,
                sums.margin / n, sums.reward[1] / n, sums.reward[0] / n);
        return;
    }
    fprintf(f, ",\"rewards/chosen\":%.9g,\"rewards/rejected\":%.9g,\"rewards/margins\":%.9g,"
            "\"rewards/accuracies\":%.6g,\"logps/chosen\":%.9g,\"logps/rejected\":%.9g", sums.reward[1] / n,
            sums.reward[0] / n, sums.margin / n, sums.correct / n, sums.logp[1] / n, sums.logp[0] / n);
}

// TRL's names; where labels are scores the classes are demonstrations and the rest.
static void log_points(FILE *f, int json) {
    static const char *const names[2][2] = {{"negative", "positive"}, {"scored", "demos"}};
    for (int k = 1; k >= 0; k--) {
        const char *name = names[continuous][k];
        double n = sums.n[k], reward = sums.reward[k] / n, logp = sums.logp[k] / n;
        if (!n) continue;
        if (!json) fprintf(f, "  %s %.4f", name, reward);
        else fprintf(f, ",\"rewards/%s\":%.9g,\"logps/%s\":%.9g", name, reward, name, logp);
    }
}

static void log_demonstrations(FILE *f, int json) {
    if (json) fprintf(f, ",\"logps/positive\":%.9g", sums.logp[1] / sums.n[1]);
}

// KL(policy || reference) is estimated on the data's texts, not on samples of the policy: log pi - log ref.
static void log_kl(FILE *f, int json) {
    if (!json) return;
    fprintf(f, ",\"kl\":%.9g,\"kl_per_token\":%.9g", sums.difference / (sums.n[0] + sums.n[1]),
            sums.difference / sums.tokens);
    if (sums.kl > 0) fprintf(f, ",\"kl_mismatched\":%.9g", sums.kl);
}
static void log_pairs_kl(FILE *f, int json) { log_pairs(f, json), log_kl(f, json); }
static void log_points_kl(FILE *f, int json) { log_points(f, json), log_kl(f, json); }

// The question most asked of DPO: why do chosen answers become less likely?
static void explain_trend(const Run *run) {
    double mean[2][2] = {{0}};
    size_t tenth = (steps_done + 9) / 10;
    for (size_t s = 0; s < tenth; s++)
        for (int k = 0; k < 2; k++) {
            mean[0][k] += history[s][k] / (double)tenth;
            mean[1][k] += history[steps_done - 1 - s][k] / (double)tenth;
        }
    if (steps_done < 2 || mean[1][0] >= mean[0][0]) return;
    fprintf(stderr, "chosen answers became less likely: their mean log-probability%s went from %.3f in the\n"
            "first tenth of the steps to %.3f in the last, that of rejected ones from %.3f to %.3f.  The\n"
            "loss asks for the difference alone: both may fall.  Where chosen answers are to stay likely: a\n"
            "lower --learning_rate, a higher --beta, fewer steps, or orpo or ulma, which imitate them.\n",
            run->objective->reference ? " against the reference" : "", mean[0][0], mean[1][0],
            mean[0][1], mean[1][1]);
}

typedef struct {                                                      // held-out numbers of one file
    int n, good, prompts;                                             // texts; the good ones: chosen, true
    double perplexity, item_perplexity;                               // of all good tokens; texts' mean
    double auc;                                                       // of points: of their implicit rewards
    Interval auc_95;                                                  // bootstrap, clustered by prompt
} Held;

static double mean_score(const Dataset *d) {                          // of the first answers
    double mean = 0;
    for (size_t i = 0; i < d->num_records; i++)
        mean += d->answer[d->record[i].first].score;
    return mean / (double)d->num_records;
}

// Good are completions, the chosen of pairs, points whose label is true or whose score is above the mean.
static int is_good(const Dataset *d, const Record *r, int k, double mean) {
    double z = d->answer[r->first + k].score;
    return d->kind == DATA_COMPLETION || (d->kind == DATA_PAIR ? k == 0 : z > mean || (z == 1 && mean == 1));
}

// d, its log-probabilities and implicit rewards (num_answers). 0, or -1 after fail().
static int held_out(Held *x, const Dataset *d, const double *logp, const double *reward) {
    double mean = mean_score(d), sum = 0, tokens = 0;
    double *score = allocate(d->num_answers, sizeof *score);
    unsigned char *good = allocate(d->num_answers, sizeof *good);
    uint64_t *group = allocate(d->num_answers, sizeof *group);
    int ok = score && good && group;
    *x = (Held){.auc = -1};
    for (size_t i = 0; ok && i < d->num_records; i++)
        for (int k = 0; k < d->record[i].count; k++, x->n++) {
            const Record *r = &d->record[i];
            int a = r->first + k, n = scored_tokens(d, r, k);
            score[x->n] = reward[a], group[x->n] = r->prompt_id;
            good[x->n] = (unsigned char)is_good(d, r, k, mean);
            if (!good[x->n] || !n) continue;
            x->good++, sum -= logp[a], tokens += n;
            x->item_perplexity += more_exp(-logp[a] / n);
        }
    if (x->good) x->perplexity = more_exp(sum / tokens), x->item_perplexity /= x->good;
    if (ok && d->kind == DATA_POINT && x->good && x->good < x->n) {
        x->auc = auc(score, good, x->n);
        ok = (x->prompts = auc_interval(&x->auc_95, score, good, group, x->n, (uint64_t)opt.seed)) >= 0;
    }
    free(score), free(good), free(group);
    return ok ? 0 : -1;
}

static void print_held(FILE *f, const char *name, const Dataset *d, const Held *x) {
    fprintf(f, "%s: ", name);
    if (d->kind == DATA_POINT && x->auc >= 0)
        fprintf(f, "AUC %.4f (95 %% %.4f .. %.4f, %d prompts) of %d good texts above %d others  ", x->auc,
                x->auc_95.low, x->auc_95.high, x->prompts, x->good, x->n - x->good);
    const char *whose = d->kind == DATA_COMPLETION ? "the" : d->kind == DATA_PAIR ? "chosen" : "good";
    if (x->good) fprintf(f, "perplexity of %s answers %.4f, mean over texts %.4f", whose, x->perplexity,
                         x->item_perplexity);
    fprintf(f, "\n");
}

// The same as JSON: keys with a prefix.
static void write_held(FILE *f, const char *prefix, const Held *x) {
    if (x->auc >= 0)
        fprintf(f, ",\"%sauc\":%.9g,\"%sauc_95\":[%.9g,%.9g]", prefix, x->auc, prefix, x->auc_95.low,
                x->auc_95.high);
    if (x->good)
        fprintf(f, ",\"%sperplexity\":%.9g,\"%sitem_perplexity\":%.9g", prefix, x->perplexity, prefix,
                x->item_perplexity);
}

static int policy_evaluate(Run *run, const Dataset *d, int step) {
    double *logp = allocate(d->num_answers, sizeof *logp), *ref = allocate(d->num_answers, sizeof *ref),
           *reward = allocate(d->num_answers, sizeof *reward),
           *delta = allocate(d->num_records, sizeof *delta);
    char prefix[72];
    Held x;
    int ok = logp && ref && reward && delta && evaluate_texts(&run->model, run->tokenizer.eos, d, logp) == 0;
    if (ok) {
        for (size_t i = 0; i < d->num_answers; i++) ref[i] = d->answer[i].ref_logp;
        implicit_rewards(reward, d, logp, run->objective->reference ? ref : NULL, reward_scale(run));
        for (size_t i = 0; d->kind == DATA_PAIR && i < d->num_records; i++)
            delta[i] = reward[d->record[i].first] - reward[d->record[i].first + 1];
        ok = (d->kind != DATA_PAIR || report_pairs(run, d, delta, step) == 0)
          && held_out(&x, d, logp, reward) == 0;
    }
    if (ok) print_held(stderr, d->name, d, &x);
    snprintf(prefix, sizeof prefix, "eval_%s_", d->name);
    if (ok && run->log) {
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d", step);
        write_held(run->log, prefix, &x);
        fprintf(run->log, "}\n");
    }
    free(logp), free(ref), free(reward), free(delta);
    return ok ? 0 : -1;
}

/* ------------------------------------------------------------------------------------ the objectives' table
 * What each is trained on, what it needs, its loss.  Whether log-probabilities are sums or means, and every
 * other standard, is a line of the options table.                                                          */
enum { POLICY_SFT, POLICY_DPO, POLICY_IPO, POLICY_POINTWISE_DPO, POLICY_ULMA, POLICY_UNLIKELIHOOD,
       POLICY_KTO, POLICY_ORPO, POLICY_SIMPO, POLICIES };
#define POLICY(kind) .step = step_policy, .start = policy_start, .evaluate = policy_evaluate, .data = kind
#define BY_PAIRS POLICY(PAIRS), .finish = explain_trend
const Objective policies[POLICIES] = {
    [POLICY_SFT]           = {POLICY(DEMONSTRATIONS), .loss = sft, .log = log_demonstrations, .linear = 1},
    [POLICY_DPO]           = {BY_PAIRS, .loss = dpo, .log = log_pairs_kl, .reference = 1},
    [POLICY_IPO]           = {BY_PAIRS, .loss = ipo, .log = log_pairs_kl, .reference = 1},
    [POLICY_POINTWISE_DPO] = {POLICY(POINTS), .loss = pointwise_dpo, .log = log_points_kl, .reference = 1},
    [POLICY_ULMA]          = {POLICY(POINTS), .loss = ulma, .log = log_points_kl, .reference = 1},
    [POLICY_UNLIKELIHOOD]  = {POLICY(POINTS), .loss = unlikelihood, .log = log_points, .linear = 1},
    [POLICY_KTO]           = {POLICY(POINTS), .loss = kto, .log = log_points_kl, .reference = 1,
                              .mismatched = 1},
    [POLICY_ORPO]          = {POLICY(PAIRS), .loss = orpo, .log = log_pairs},
    [POLICY_SIMPO]         = {BY_PAIRS, .loss = simpo, .log = log_pairs},
};
#undef POLICY
#undef BY_PAIRS
#endif

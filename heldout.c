/* heldout.c - the numbers of held-out data: rewards and log-probabilities of texts under a
 * model, bits per byte of documents, perplexity and area under the curve of a policy's answers;
 * and which rows are held out.
 *
 * Forwards only. Texts are packed up to --micro_batch_tokens at a time, which changes no bit of
 * a value.  */
#ifndef HELDOUT_C
#define HELDOUT_C
#include "settings.h"
#include "memory.c"
#include "metrics.c"
#include "batch.c"

typedef struct {                            // held-out numbers of a policy on one file
    int n, good, prompts;                   // texts; good ones among them; different prompts
    double perplexity;                      // over all tokens of good texts
    double item_perplexity;                 // mean over the texts
    double auc;                             // of points: of their implicit rewards; -1: not defined
    Interval auc_95;                        // by bootstrap over prompts
} Held;

// which rows are held out
int  record_in_fold(const Record *r);
int  dataset_keep_fold(Dataset *d, int inside);

// values of texts
void   text_sums(double *sum, const Batch *b, const float *logp);
int    evaluate_room(const Model *m, const Dataset *d, int quiet);     // is there memory for them?
int    evaluate_texts(Model *m, int eos, const Dataset *d, double *value);
int    evaluate_tokens(Model *m, int eos, const Dataset *d, double *value, float *token_logp);
int    evaluate_pooled(Model *m, int eos, const Dataset *d, float *pooled);
int    evaluate_lm(Model *m, const Tokenizer *t, const Dataset *d, double *bits_per_byte);
int    scored_tokens(const Dataset *d, const Record *r, int k);
float  logp_as_asked(double sum, int tokens);
void   implicit_rewards(double *reward, const Dataset *d, const double *logp,
                        const double *ref_logp, double beta);

// what they say
void measure_record(Ranked *x, const Dataset *d, const Record *r, const double *reward);
double mean_score(const Dataset *d);
int    answer_is_good(const Dataset *d, const Record *r, int k, double mean);
int    held_out(Held *x, const Dataset *d, const double *logp, const double *reward);
void   held_print(FILE *f, const char *name, const Dataset *d, const Held *x);
void   held_write(FILE *f, const char *prefix, const Held *x);

// -------------------------------------------------------------------------------- rows held out

// Is this record in the fold that --fold names? Decided by its prompt, so that no prompt is on
// both sides.
int record_in_fold(const Record *r) {
    if (opt.folds <= 1) return 0;
    return (int)(random_u64(1, STREAM_FOLD, 0, r->prompt_id) % (uint64_t)opt.folds) == opt.fold;
}

// Keeps the rows of d that are in the fold (inside 1) or the others (0); all, where there are
// no folds. 0, or -1 after fail(): nothing is left.
int dataset_keep_fold(Dataset *d, int inside) {
    if (opt.folds <= 1) return 0;

    size_t kept = 0;
    for (size_t i = 0; i < d->num_records; i++) {
        if (record_in_fold(&d->record[i]) == inside) d->record[kept++] = d->record[i];
    }
    d->num_records = kept;
    if (kept) return 0;
    return fail(EX_DATAERR, "%s: no rows %s fold %d of %d", d->path, inside ? "in" : "outside",
                opt.fold, opt.folds);
}

// ------------------------------------------------------------------------------ values of texts

// sum(B): each text's log-probability, from its token rows' logp(T), ascending.
void text_sums(double *sum, const Batch *b, const float *logp) {
    int t = 0;
    for (int i = 0; i < b->B; i++) {
        const int end = b->text[i].first + b->text[i].len;
        sum[i] = 0;
        for (; t < end; t++) {
            if (b->target[t] >= 0) sum[i] += logp[t];
        }
    }
}

// Packs the records of d from number i on that --micro_batch_tokens holds, at least one.
// Returns the number of the first that is not packed, or 0 after fail().
static size_t pack_records(Pack *pack, const Dataset *d, size_t i, Pooling pooling, int eos) {
    pack_clear(pack);
    do {
        if (pack_record(pack, d, &d->record[i], pooling, eos) < 0) return 0;
        i++;
    } while (i < d->num_records
             && pack->T + record_rows(d, &d->record[i], pooling) <= opt.micro_batch_tokens);
    return i;
}

// The most token rows and texts of a micro-batch of pack_records.
static void largest_pack(const Dataset *d, Pooling pooling, int *most_rows, int *most_texts) {
    int T = 0, B = 0;
    *most_rows = 0;
    *most_texts = 0;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        const int rows = record_rows(d, r, pooling);
        if (T + rows > opt.micro_batch_tokens) {
            T = 0;
            B = 0;
        }
        T += rows;
        B += r->count;
        *most_rows = T > *most_rows ? T : *most_rows;
        *most_texts = B > *most_texts ? B : *most_texts;
    }
}

/* Says, unless quiet, what the values of d's answers under m take of memory; too little ends it
 * before it begins.  0, or -1 after fail().                                                      */
int evaluate_room(const Model *m, const Dataset *d, int quiet) {
    const Config *c = &m->config;
    int T, B;
    largest_pack(d, c->reward ? c->pooling : POOL_LAST, &T, &B);
    return memory_announce(m, (double)model_bytes(c, T, B, SCORING),
                           "a lower --micro_batch_tokens or --max_length takes", quiet);
}

/* From a micro-batch's logp(T): that of token i of an answer is of the row before it, that of
 * the end of text of the last one. first: the first token that has a row before it.  */
static void keep_token_logps(float *token_logp, const Dataset *d, int answer, const Text *text,
                             int first, const float *logp) {
    const Answer *a = &d->answer[answer];
    for (int i = first; i < text->len; i++) {
        token_logp[a->tokens.start + (size_t)i] = logp[text->first - 1 + i];
    }
    if (!a->cut) token_logp[d->num_tokens + (size_t)answer] = logp[text->first - 1 + text->len];
}

/* Rewards of d's answers, or under a language model their log-probabilities:
 * value(num_answers); an answer that belongs to no record stays as it is. Of a language model
 * also those of single tokens, if token_logp(num_tokens + num_answers) is not NULL: of
 * d->token[k] at k, of the end of text after answer a at num_tokens + a; those that are not
 * predicted stay as they are (scored_tokens). 0, or -1 after fail().  */
int evaluate_tokens(Model *m, int eos, const Dataset *d, double *value, float *token_logp) {
    const Pooling pooling = m->config.reward ? m->config.pooling : POOL_LAST;
    Pack pack = {0};
    float *out = NULL;                      // (B) rewards or (T) log-probabilities
    double *sum = NULL;                     // (B)
    size_t out_capacity = 0, sum_capacity = 0, end;
    int result = -1;

    for (size_t i = 0; i < d->num_records; i = end) {
        end = pack_records(&pack, d, i, pooling, eos);
        if (!end) goto done;
        Batch b = pack_batch(&pack);
        const size_t values = (size_t)(b.T > b.B ? b.T : b.B);
        if (model_reserve(m, b.T, b.B) < 0) goto done;
        if (reserve(&out, &out_capacity, values, sizeof *out) < 0) goto done;
        if (reserve(&sum, &sum_capacity, (size_t)b.B, sizeof *sum) < 0) goto done;

        // a number for each text of the micro-batch
        model_forward(m, &b);
        if (m->config.reward) {
            model_rewards(m, &b, out, NULL);
            for (int k = 0; k < b.B; k++) sum[k] = (double)out[k];
        } else {
            if (model_logp(m, &b, out) < 0) goto done;
            text_sums(sum, &b, out);
        }

        // texts stand in the order of the records' answers
        int text = 0;
        for (const Record *r = &d->record[i]; r < &d->record[end]; r++) {
            const int first = r->prompt.len == 0;
            for (int a = r->first; a < r->first + r->count; a++) {
                value[a] = sum[text];
                if (token_logp) keep_token_logps(token_logp, d, a, &b.text[text], first, out);
                text++;
            }
        }
    }
    result = 0;
done:
    pack_free(&pack);
    free(out);
    free(sum);
    return result;
}

// ------------------------------------------------------------------------- each text but once

// Is it the same text, after the same prompt?
static int same_answer(const Dataset *d, const Answer *a, const Answer *b) {
    return a->cut == b->cut && !a->num_gaps && !b->num_gaps
        && dataset_same_tokens(d, a->tokens, b->tokens);
}

// twin (num_answers): for each answer of r the one of record s that is the same text.  Returns
// whether s has all of them.
static int find_twins(int *twin, const Dataset *d, const Record *r, const Record *s) {
    if (!dataset_same_tokens(d, r->prompt, s->prompt)) return 0;
    for (int a = r->first; a < r->first + r->count; a++) {
        int b = s->first;
        while (b < s->first + s->count && !same_answer(d, &d->answer[a], &d->answer[b])) b++;
        if (b == s->first + s->count) return 0;
        twin[a] = b;
    }
    return 1;
}

// A hash of the texts of r, in whichever order they stand.
static uint64_t hash_record(const Dataset *d, const Record *r) {
    uint64_t hash = dataset_hash_tokens(0, d, r->prompt);
    for (int a = r->first; a < r->first + r->count; a++) {
        hash += dataset_hash_tokens(1, d, d->answer[a].tokens);
    }
    return hash;
}

/* Several people may have judged the same answers.  once: d with only the first of the records
 * that have the same texts, the others' answers have their value by twin (num_answers).  Both are
 * freed by once_free.  0, or -1 after fail().                                                    */
static int once_make(Dataset *once, int **twin, const Dataset *d) {
    const size_t N = d->num_records;
    size_t slots = 16;
    while (slots < 2 * N) slots *= 2;
    size_t *table = allocate(slots, sizeof *table);       // a record's index + 1; 0: an empty slot
    *once = *d;
    once->num_records = 0;
    once->record = allocate(N, sizeof *once->record);
    *twin = allocate(d->num_answers, sizeof **twin);
    if (!table || !once->record || !*twin) {
        free(table);
        free(once->record);
        free(*twin);
        return -1;
    }
    for (size_t i = 0; i < N; i++) {
        const Record *r = &d->record[i];
        size_t slot = hash_record(d, r) % slots;
        while (table[slot] && !find_twins(*twin, d, r, &d->record[table[slot] - 1])) {
            slot = (slot + 1) % slots;
        }
        if (table[slot]) continue;
        table[slot] = i + 1;
        for (int a = r->first; a < r->first + r->count; a++) (*twin)[a] = a;
        once->record[once->num_records++] = *r;
    }
    free(table);
    return 0;
}

static void once_free(Dataset *once, int *twin) {
    free(once->record);
    free(twin);
}

// As evaluate_tokens, without single tokens; a text that stands in several rows is computed once.
int evaluate_texts(Model *m, int eos, const Dataset *d, double *value) {
    Dataset once;
    int *twin;
    if (once_make(&once, &twin, d) < 0) return -1;
    const int status = evaluate_tokens(m, eos, &once, value, NULL);
    for (const Record *r = d->record; status == 0 && r < d->record + d->num_records; r++) {
        for (int a = r->first; a < r->first + r->count; a++) value[a] = value[twin[a]];
    }
    once_free(&once, twin);
    return status;
}

/* What the reward head reads of d's answers: pooled(num_answers, C); an answer that belongs to
 * no record stays as it is. 0, or -1 after fail().  */
int evaluate_pooled(Model *m, int eos, const Dataset *d, float *pooled) {
    const size_t C = (size_t)m->config.channels;
    Dataset once;
    int *twin;
    Pack pack = {0};
    float *reward = NULL, *row = NULL;      // (B), (B, C)
    size_t reward_capacity = 0, row_capacity = 0, end;
    int result = -1;

    if (once_make(&once, &twin, d) < 0) return -1;
    for (size_t i = 0; i < once.num_records; i = end) {
        end = pack_records(&pack, &once, i, m->config.pooling, eos);
        if (!end) goto done;
        Batch b = pack_batch(&pack);
        const size_t B = (size_t)b.B;
        if (model_reserve(m, b.T, b.B) < 0) goto done;
        if (reserve(&reward, &reward_capacity, B, sizeof *reward) < 0) goto done;
        if (reserve(&row, &row_capacity, B * C, sizeof *row) < 0) goto done;
        model_forward(m, &b);
        model_rewards(m, &b, reward, row);

        // texts stand in the order of the records' answers
        const float *text = row;
        for (const Record *r = &once.record[i]; r < &once.record[end]; r++) {
            const size_t n = (size_t)r->count * C;
            memcpy(pooled + (size_t)r->first * C, text, n * sizeof *pooled);
            text += n;
        }
    }
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int a = r->first; a < r->first + r->count; a++) {
            if (twin[a] == a) continue;
            memcpy(pooled + (size_t)a * C, pooled + (size_t)twin[a] * C, C * sizeof *pooled);
        }
    }
    result = 0;
done:
    once_free(&once, twin);
    pack_free(&pack);
    free(reward);
    free(row);
    return result;
}

// Where the windows of a data set have been read up to.
typedef struct {
    size_t record;
    int first;                              // token row of its document
} WindowCursor;

// Packs the windows from the cursor on, until there is no room for one of full length; moves
// the cursor. 0, or -1 after fail().
static int pack_windows(Pack *pack, const Dataset *d, WindowCursor *at, int eos) {
    pack_clear(pack);
    do {
        const Record *r = &d->record[at->record];
        if (pack_window(pack, d, r, at->first, opt.max_length, eos) < 0) return -1;
        at->first += opt.max_length;
        if (at->first >= document_rows(d, r)) *at = (WindowCursor){at->record + 1, 0};
    } while (at->record < d->num_records && pack->T + opt.max_length <= opt.micro_batch_tokens);
    return 0;
}

// The bytes of d's documents, without their ends of text: *bytes. 0, or -1 after fail().
static int count_bytes(size_t *bytes, const Tokenizer *t, const Dataset *d) {
    Buffer text = {0};
    int result = -1;
    *bytes = 0;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        Span span[2] = {r->prompt, {0, 0}};
        if (r->count) span[1] = d->answer[r->first].tokens;
        for (int k = 0; k < 2; k++) {
            text.len = 0;
            const int *token = d->token + span[k].start;
            if (tokenizer_decode_text(t, token, (size_t)span[k].len, &text) < 0) goto done;
            *bytes += text.len;
        }
    }
    result = 0;
done:
    buffer_free(&text);
    return result;
}

/* Bits per byte of the documents of d: -sum log2 p(token) / bytes, every token and the end of
 * each document scored once. 0, or -1 after fail().  */
int evaluate_lm(Model *m, const Tokenizer *t, const Dataset *d, double *bits_per_byte) {
    const double log_2 = 0.6931471805599453;
    WindowCursor at = {0, 0};
    Pack pack = {0};
    float *logp = NULL;
    size_t capacity = 0, bytes = 0;
    double sum = 0;
    int result = -1;

    if (count_bytes(&bytes, t, d) < 0) return -1;
    while (at.record < d->num_records) {
        if (pack_windows(&pack, d, &at, t->eos) < 0) goto done;
        Batch b = pack_batch(&pack);
        if (model_reserve(m, b.T, 1) < 0) goto done;
        if (reserve(&logp, &capacity, (size_t)b.T, sizeof *logp) < 0) goto done;
        model_forward(m, &b);
        if (model_logp(m, &b, logp) < 0) goto done;
        for (int k = 0; k < b.T; k++) sum += logp[k];
    }
    *bits_per_byte = bytes ? -sum / log_2 / (double)bytes : 0;
    result = 0;
done:
    pack_free(&pack);
    free(logp);
    return result;
}

// The tokens of answer k that have a log-probability: its own, the first only after a prompt,
// and the end of text, if the answer was not cut; instead of each gap the end of the turn before.
int scored_tokens(const Dataset *d, const Record *r, int k) {
    const Answer *a = &d->answer[r->first + k];
    const int without_context = r->prompt.len == 0;
    int tokens = a->tokens.len - without_context + !a->cut;
    for (int g = a->first_gap; g < a->first_gap + a->num_gaps; g++) tokens += 1 - d->gap[g].len;
    return tokens;
}

// A text's log-probability as --logp wants it: the sum over its tokens, or their mean.
float logp_as_asked(double sum, int tokens) {
    return (float)(opt.logp == LOGP_MEAN && tokens ? sum / tokens : sum);
}

/* The implicit reward beta (log pi - log ref) of every answer (Rafailov et al. 2023, eq. 5,
 * without log Z): reward, logp, ref_logp (num_answers). ref_logp NULL: beta log pi.  */
void implicit_rewards(double *reward, const Dataset *d, const double *logp, const double *ref_logp,
                      double beta) {
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int k = 0; k < r->count; k++) {
            const int a = r->first + k, n = scored_tokens(d, r, k);
            double ref = ref_logp ? logp_as_asked(ref_logp[a], n) : 0;
            reward[a] = beta * ((double)logp_as_asked(logp[a], n) - ref);
        }
    }
}

// -------------------------------------------------------------------------------- what they say

// What the rewards of d's answers (num_answers) say of the pair or ranking r.
void measure_record(Ranked *x, const Dataset *d, const Record *r, const double *reward) {
    float place[MAX_ANSWERS];
    record_places(place, d, r);
    ranking_measure(x, reward + r->first, place, r->count, opt.loss.top);
}

// The mean score of the records' first answers.
double mean_score(const Dataset *d) {
    double sum = 0;
    for (size_t i = 0; i < d->num_records; i++) sum += d->answer[d->record[i].first].score;
    return sum / (double)d->num_records;
}

// Good are completions, the chosen answers of pairs, the best of rankings, points with the label
// true or a score above the mean of the file (where all labels are true, all).
int answer_is_good(const Dataset *d, const Record *r, int k, double mean) {
    if (d->kind == DATA_COMPLETION) return 1;
    if (d->kind == DATA_PAIR) return k == 0;
    if (d->kind == DATA_RANKING) return d->answer[r->first + k].score == 1;
    double score = d->answer[r->first + k].score;
    return score > mean || (score == 1 && mean == 1);
}

// From the log-probabilities and implicit rewards of d's answers, (num_answers) each. 0, or -1
// after fail().
int held_out(Held *x, const Dataset *d, const double *logp, const double *reward) {
    const double mean = mean_score(d);
    double *score = allocate(d->num_answers, sizeof *score);
    unsigned char *good = allocate(d->num_answers, sizeof *good);
    uint64_t *prompt = allocate(d->num_answers, sizeof *prompt);
    double sum = 0, tokens = 0;
    int result = -1;
    *x = (Held){.auc = -1};
    if (!score || !good || !prompt) goto done;

    // perplexity of the good texts: exp(-log-probability a token)
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int k = 0; k < r->count; k++) {
            const int a = r->first + k, n = scored_tokens(d, r, k), i = x->n++;
            score[i] = reward[a];
            prompt[i] = r->prompt_id;
            good[i] = (unsigned char)answer_is_good(d, r, k, mean);
            if (!good[i] || !n) continue;
            x->good++;
            sum -= logp[a];
            tokens += n;
            x->item_perplexity += more_exp(-logp[a] / n);
        }
    }
    if (x->good) {
        x->perplexity = more_exp(sum / tokens);
        x->item_perplexity /= x->good;
    }

    // the area under the curve needs texts of both classes
    if (d->kind == DATA_POINT && x->good && x->good < x->n) {
        x->auc = auc(score, good, x->n);
        x->prompts = auc_interval(&x->auc_95, score, good, prompt, x->n, (uint64_t)opt.seed);
        if (x->prompts < 0) goto done;
    }
    result = 0;
done:
    free(score);
    free(good);
    free(prompt);
    return result;
}

// A line for people.
void held_print(FILE *f, const char *name, const Dataset *d, const Held *x) {
    fprintf(f, "%s: ", name);
    if (d->kind == DATA_POINT && x->auc >= 0) {
        fprintf(f, "AUC %.4f (95 %% %.4f .. %.4f, %d prompts) of %d good texts above %d others  ",
                x->auc, x->auc_95.low, x->auc_95.high, x->prompts, x->good, x->n - x->good);
    }
    const char *whose = "good";
    if (d->kind == DATA_COMPLETION) whose = "the";
    if (d->kind == DATA_PAIR) whose = "chosen";
    if (d->kind == DATA_RANKING) whose = "the best";
    if (x->good) {
        fprintf(f, "perplexity of %s answers %.4f, mean over texts %.4f", whose, x->perplexity,
                x->item_perplexity);
    }
    fprintf(f, "\n");
}

// The same as members of a JSON object that is open; their names begin with the prefix.
void held_write(FILE *f, const char *prefix, const Held *x) {
    if (x->auc >= 0) {
        fprintf(f, ",\"%sauc\":%.9g,\"%sauc_95\":[%.9g,%.9g]", prefix, x->auc, prefix,
                x->auc_95.low, x->auc_95.high);
    }
    if (x->good) {
        fprintf(f, ",\"%sperplexity\":%.9g,\"%sitem_perplexity\":%.9g", prefix, x->perplexity,
                prefix, x->item_perplexity);
    }
}
#endif

/* copies.c - copies of answers that lack more and more of their key phrases, and a head that tells
 * how many: self-supervised preference optimisation, SPO (arXiv:2409.17791), which adds such a loss
 * to that of the pairs, so that a policy knows degrees of what is preferred.
 *
 *     copy l    an answer, chosen or rejected, without the best ceil(l n / levels) of its n key
 *               phrases (phrases.c), l = 0 .. levels-1
 *     z = W h   h (C) the policy's last hidden state at the copy's last token, W (levels,C)
 *     L_level = -log softmax(z)_l           the step's loss is  L + gamma mean L_level
 *
 * The form is our reading, not the paper's formula.  W is zero at first, is trained beside the
 * policy, and is not saved: the policy keeps what it has learnt for W's sake.
 *
 * Copies are made of tokens, not of text: those that have a byte of a phrase go.  The copies of a
 * row are the answers of a row beside it, in a set of their own; a step runs them forward and
 * backward after its pairs.  An answer whose copies are not all different has none. */
#ifndef COPIES_C
#define COPIES_C
#include "train.c"
#include "phrases.c"

enum { MAX_LEVELS = 16 };

typedef struct Copies {
    int levels, sets;
    float *head;                        // (4, levels, C): W, dW, Adam's two moments
    int steps;                          // updates of W
    float *score;                       // (2, levels, B): z of the micro-batch's copies, and dz
    size_t score_capacity;
    double n, loss, correct;            // of the running step: copies; means over them
} Copies;

int  copies_open(Run *run);
void copies_close(Run *run);
int  copies_step(Run *run, size_t at, size_t end, double *loss);
int  copies_state(Run *run, State *s);
void copies_log(const Copies *c, FILE *f);

// ------------------------------------------------------------------------------------- the copies

// What copies of a file's answers are made with.
typedef struct {
    const Tokenizer *tokenizer;
    int levels;
    Dataset *d, *copies;
    Buffer text;                        // of an answer
    size_t *token_end;                  // (its tokens): where each ends there
    size_t end_capacity;
    int *rank;                          // (its bytes): of the phrase there, 0 the best; n: none
    size_t rank_capacity;
    Phrases phrases;
    size_t answers, without;            // so far; those that have no copies
} Copier;

static void copier_free(Copier *x) {
    buffer_free(&x->text);
    free(x->token_end);
    free(x->rank);
    phrases_free(&x->phrases);
}

// The text of an answer and its phrases.  A token of no text, as the end of a turn, is like a full
// stop.  0, or -1 after fail().
static int read_phrases(Copier *x, const Answer *a) {
    const size_t n = (size_t)a->tokens.len;
    x->text.len = 0;
    if (reserve(&x->token_end, &x->end_capacity, n, sizeof *x->token_end) < 0) return -1;
    for (size_t i = 0; i < n; i++) {
        const int *token = x->d->token + a->tokens.start + i;
        const int result = tokenizer_is_added(x->tokenizer, *token)
                               ? buffer_append(&x->text, ".", 1)
                               : tokenizer_decode(x->tokenizer, token, 1, &x->text);
        if (result < 0) return -1;
        x->token_end[i] = x->text.len;
    }
    if (phrases_read(&x->phrases, x->text.data, x->text.len) < 0) return -1;

    const size_t phrases = x->phrases.n;
    if (reserve(&x->rank, &x->rank_capacity, x->text.len, sizeof *x->rank) < 0) return -1;
    for (size_t i = 0; i < x->text.len; i++) x->rank[i] = (int)phrases;
    for (size_t p = 0; p < phrases; p++) {
        const Phrase *phrase = &x->phrases.phrase[p];
        for (size_t i = phrase->begin; i < phrase->end; i++) x->rank[i] = (int)p;
    }
    return 0;
}

// Does copy `level` keep token i of the answer?
static int keeps_token(const Copier *x, int i, int level) {
    const int removed = (level * (int)x->phrases.n + x->levels - 1) / x->levels;
    for (size_t at = i ? x->token_end[i-1] : 0; at < x->token_end[i]; at++) {
        if (x->rank[at] < removed) return 0;
    }
    return 1;
}

// Are all copies of an answer different, and the last not empty?
static int copies_differ(const Copier *x, const Answer *a) {
    int longer = a->tokens.len + 1;
    for (int level = 0; level < x->levels; level++) {
        int kept = 0;
        for (int i = 0; i < a->tokens.len; i++) kept += keeps_token(x, i, level);
        if (kept == longer) return 0;
        longer = kept;
    }
    return longer > 0;
}

// The copies of an answer become answers of `copies`, their tokens the last of d.  0, or -1 after
// fail().
static int copy_answer(Copier *x, const Answer *a) {
    Dataset *d = x->d, *copies = x->copies;
    const size_t answers = copies->num_answers + (size_t)x->levels;
    const size_t tokens = (size_t)x->levels * (size_t)a->tokens.len;
    x->answers++;
    if (read_phrases(x, a) < 0) return -1;
    if (!copies_differ(x, a)) {
        x->without++;
        return 0;
    }
    if (reserve(&copies->answer, &copies->answer_capacity, answers, sizeof *a) < 0) return -1;
    if (reserve(&d->token, &d->token_capacity, d->num_tokens + tokens, sizeof(int)) < 0) return -1;
    for (int level = 0; level < x->levels; level++) {
        const size_t start = d->num_tokens;
        for (int i = 0; i < a->tokens.len; i++) {
            if (!keeps_token(x, i, level)) continue;
            d->token[d->num_tokens++] = d->token[a->tokens.start + (size_t)i];
        }
        const int len = (int)(d->num_tokens - start);
        copies->answer[copies->num_answers++] = (Answer){.tokens = {start, len}, .cut = a->cut};
    }
    return 0;
}

// The set beside d: its rows, whose answers are the copies of d's; the rest is borrowed.  0, or -1
// after fail().
static int copy_file(Copier *x, Dataset *copies, Dataset *d) {
    *copies = (Dataset){.record = allocate(d->num_records, sizeof *d->record)};
    x->d = d;
    x->copies = copies;
    if (!copies->record) return -1;
    for (size_t i = 0; i < d->num_records; i++) {
        const Record *from = &d->record[i];
        Record *to = &copies->record[i];
        *to = *from;
        to->first = (int)copies->num_answers;
        for (int k = 0; k < from->count; k++) {
            if (copy_answer(x, &d->answer[from->first + k]) < 0) return -1;
        }
        to->count = (int)copies->num_answers - to->first;
        if (!to->count) to->prompt.len = 0;
    }
    copies->path = d->path;
    copies->kind = d->kind;
    copies->num_records = d->num_records;
    copies->token = d->token;
    return 0;
}

// --------------------------------------------------------------------------------- a part of a run

// With --spo_gamma: the copies of the training files, behind all files, and W.  0, or -1 after
// fail().
int copies_open(Run *run) {
    const size_t C = (size_t)run->model.config.channels;
    Copier x = {.tokenizer = &run->tokenizer, .levels = opt.spo_levels};
    int result = -1;
    if (!(opt.spo_gamma > 0)) return 0;                 // not a number: of another command
    Copies *c = allocate(1, sizeof *c);
    run->copies = c;
    if (!c) return -1;
    c->levels = opt.spo_levels;
    if (!(c->head = kernels_alloc(4 * (size_t)c->levels * C))) return -1;
    for (int i = 0; i < run->num_train; i++) {
        c->sets++;
        if (copy_file(&x, &run->data[drawn_set(run) + i], &run->data[i]) < 0) goto done;
    }
    if (x.without == x.answers) {
        fail(EX_DATAERR, "%s: no answer has key phrases for %d different copies; a lower "
             "--spo_levels, or leave --spo_gamma out", run->data[0].path, c->levels);
        goto done;
    }
    fprintf(stderr, "copies without key phrases: %d levels of %zu answers; %zu with too few "
            "phrases have none\n", c->levels, x.answers - x.without, x.without);
    result = 0;
done:
    copier_free(&x);
    return result;
}

void copies_close(Run *run) {
    Copies *c = run->copies;
    if (!c) return;
    for (int i = 0; i < c->sets; i++) {
        const Dataset *copies = &run->data[drawn_set(run) + i];
        free(copies->record);                           // the rest is the file's
        free(copies->answer);
    }
    kernels_free(c->head);
    free(c->score);
    free(c);
    run->copies = NULL;
}

// --------------------------------------------------------------------------------------- the step

// After the forward of the items [begin, end): adds the losses of their copies b, of which the step
// has c->n, and sets dz.
static void copies_loss(Run *run, const Batch *b, size_t begin, size_t end, double *loss) {
    Copies *c = run->copies;
    const int L = c->levels, B = b->B;
    float *z = c->score, *dz = z + L*B;                 // (L,B) each
    int j = 0;                                          // the copy
    for (const Item *item = &run->item[begin]; item < &run->item[end]; item++) {
        const Record *r = item_record(run, item);
        const double factor = opt.spo_gamma * r->weight / c->n;
        for (int k = 0; k < r->count; k++) {
            double of_copy[MAX_LEVELS], slope[MAX_LEVELS];
            const int level = k % L;
            int best = 0;
            for (int l = 0; l < L; l++) of_copy[l] = z[l*B + j];
            const double one = level_loss(slope, of_copy, L, level);
            *loss += factor * one;
            for (int l = 0; l < L; l++) {
                dz[l*B + j] = (float)(factor * slope[l]);
                if (of_copy[l] > of_copy[best]) best = l;
            }
            c->loss += one / c->n;
            c->correct += (best == level) / c->n;
            j++;
        }
    }
}

// The gradients of the copies of the items [at, end), which stand in their rows' places; those of
// the policy are added to, and to its loss.  0, or -1 after fail().
static int copies_gradient(Run *run, size_t at, size_t end, double *loss) {
    Copies *c = run->copies;
    const size_t L = (size_t)c->levels, n = L * (size_t)run->model.config.channels;
    for (size_t i = at; i < end; i++) c->n += item_record(run, &run->item[i])->count;
    for (size_t begin = at, next; begin < end; begin = next) {
        next = next_micro_batch(run, begin, end);
        if (!next) return -1;
        const Batch b = pack_batch(&run->pack);
        const size_t scores = L * (size_t)b.B;
        if (b.B == 0) continue;
        if (reserve(&c->score, &c->score_capacity, 2 * scores, sizeof *c->score) < 0) return -1;
        if (model_reserve(&run->model, b.T, b.B) < 0) return -1;
        model_forward(&run->model, &b);
        model_heads(&run->model, &b, c->head, c->levels, c->score);
        copies_loss(run, &b, begin, next, loss);
        model_heads_backward(&run->model, &b, c->head, c->head + n, c->levels, c->score + scores);
    }
    return 0;
}

/* Adds gamma times the mean of L_level over the copies of the items [at, end), weighed as their
 * rows, to the step's loss and gradients; then W's own update, at --spo_head_rate times the
 * policy's rate.  For this the items point to the sets of copies.  0, or -1 after fail().  */
int copies_step(Run *run, size_t at, size_t end, double *loss) {
    Copies *c = run->copies;
    const int shift = drawn_set(run);
    const size_t n = (size_t)c->levels * (size_t)run->model.config.channels;
    float *gradient = c->head + n;
    c->n = 0;
    c->loss = 0;
    c->correct = 0;
    kernels_zero(gradient, n);
    for (size_t i = at; i < end; i++) run->item[i].set += shift;
    const int status = copies_gradient(run, at, end, loss);
    for (size_t i = at; i < end; i++) run->item[i].set -= shift;
    if (status < 0) return -1;

    const double norm = sqrt(sum_of_squares(gradient, n));
    if (!isfinite(norm)) {
        return fail(EX_DATAERR, "step %d: the gradient of the copies is not finite; a lower "
                    "--spo_head_rate or --learning_rate may help", c->steps + 1);
    }
    const double factor = train_schedule(c->steps, (int)run->num_steps);
    c->steps++;
    const AdamW adamw = train_adamw(opt.learning_rate * opt.spo_head_rate * factor, 1, norm,
                                    c->steps);
    model_update_heads(c->head, gradient, gradient + n, n, &adamw);
    return 0;
}

// What is kept from step to step, to be saved or read (Trainer.state).  0, or -1 after fail().
int copies_state(Run *run, State *s) {
    Copies *c = run->copies;
    state_count(s, &c->steps, (int)run->num_steps);
    state_reals(s, c->head, 4 * (size_t)c->levels * (size_t)run->model.config.channels);
    return s->result;
}

// A step may have no copies.
void copies_log(const Copies *c, FILE *f) {
    if (c->n == 0) return;
    fprintf(f, ",\"spo_loss\":%.9g,\"spo_accuracy\":%.6g", c->loss, c->correct);
}
#endif

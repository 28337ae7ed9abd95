/* writer.c - what language models write: the prompts of a file, completions of them by a model or a
 * mixture, and how probable they are under others.
 *
 * A Writer is a model and what it wrote, a Written is one completion.  One model is in memory at a
 * time; what was written is kept as tokens and as text, for those who read it:
 *
 *     the writer's own model   writes Writer.written, Writer.drawn (tokens), Writer.texts, and
 *                              Writer.rows, the same as JSON
 *     other language models    read Writer.drawn: log-probabilities of the same tokens
 *     a judge                  reads Writer.texts: rewards, those of `more score` for the same rows
 */
#ifndef WRITER_C
#define WRITER_C
#include "mixture.c"
#include "../metrics.c"

// The prompts of a file, before and after they are cut.
typedef struct {
    Span *whole;                        // (n) as they stand in the file
    Prompt *cut;                        // (n) what the model is given
    int n;
    int begin;                          // what is given for an empty prompt; -1: nothing can be
} Prompts;

// One completion.
typedef struct {
    int prompt;                         // the number of its record in Writer.drawn
    int sample;                         // which one of the prompt's
    int tokens;                         // with the one that ended it
    int empty;                          // yes: its text has no characters
    Finish finish;
    size_t prompt_text, prompt_len;     // its prompt in Writer.texts
    size_t text, text_len;              // its own text there
    size_t row, row_len;                // its {"prompt":"","completion":"" in Writer.rows
    size_t others_len;                  // behind it: other keys of the row that has the prompt
    double logp, ref_logp;              // under the model that wrote it; under the reference
    double kl;                          // of the one to the other: the sum of its tokens' kl_term
    double reward;                      // by the judge
} Written;

// What is estimated of a writer; differences, wins, ties and losses are against the first writer.
enum { REWARD_MEAN, REWARD_DIFFERENCE, WINS, TIES, LOSSES, PERPLEXITY, ITEM_PERPLEXITY,
       LOG_PERPLEXITY_DIFFERENCE, KL, KL_PER_TOKEN, LOG_RATIO, LOG_RATIO_PER_TOKEN, TOKENS, ENDED,
       NUM_QUANTITIES };

// What a mean is taken over: completions or answers.
typedef struct {
    int n;
    double *tokens;                     // (n) scored tokens of each
    uint64_t *prompt_id;                // (n)
} Items;

// A model and what it wrote.
typedef struct {
    char name[64];
    char tokenizer[65];                 // its SHA-256: do two models have the same tokens?
    enum DataKind kind;                 // of the file of prompts
    int num_prompts;
    Dataset drawn;                      // a record for each prompt, an answer for each completion
    float *token_logp;                  // (drawn.num_tokens) of the answers' tokens
    size_t token_logp_capacity;
    Buffer texts;                       // prompts and completions
    Buffer rows;                        // the completions' data rows, without the last }
    Written *written;                   // (num_written) by prompt, then by sample
    size_t num_written, capacity;
    int has_reference;                  // yes: ref_logp are known
    Items answers;                      // the good answers of the file of prompts, if any
    double *answer_nll;                 // (answers.n) -log p
    Estimate estimate[NUM_QUANTITIES];  // value NAN: there is none
    double distinct[2];                 // distinct-1, distinct-2
} Writer;

// prompts
int         prompts_init(Prompts *p, const Dataset *d, const Tokenizer *t, int unique);
void        prompts_free(Prompts *p);
DataOptions prompts_options(void);

// a writer: its completions, what another model says of them
int  writer_write(Writer *w, const char *path, int n, int inside);
void writer_free(Writer *w);
int  writer_logps(const Writer *w, Model *m, int eos, const char *who, double *logp,
                  float *token_logp);
int  writer_refer(Writer *w, Model *m, int eos);

int  items_init(Items *x, size_t most);
void items_free(Items *x);

// ------------------------------------------------------------------ what prompts are completed

void prompts_free(Prompts *p) {
    free(p->whole);
    free(p->cut);
}

// What the model is given for a prompt: its last --max_prompt_length tokens, for an empty prompt
// the token `begin`.
static Prompt cut_prompt(const Dataset *d, const Span *whole, size_t id, const int *begin) {
    if (whole->len == 0) return (Prompt){.id = id, .token = begin, .len = 1};
    Prompt cut = {.id = id, .token = d->token + whole->start, .len = whole->len};
    if (opt.max_prompt_length && cut.len > opt.max_prompt_length) {
        cut.token += cut.len - opt.max_prompt_length;
        cut.len = opt.max_prompt_length;
    }
    return cut;
}

// The prompts of d, of equal ones only the first if `unique`; p borrows d's tokens, and points to
// itself.  0, or -1 after fail().
int prompts_init(Prompts *p, const Dataset *d, const Tokenizer *t, int unique) {
    size_t *first = allocate(d->num_records, sizeof *first);
    p->begin = t->bos >= 0 ? t->bos : t->eos;
    p->whole = allocate(d->num_records, sizeof *p->whole);
    p->cut = allocate(d->num_records, sizeof *p->cut);
    int result = -1;
    if (!first || !p->whole || !p->cut) goto done;
    if (dataset_first_of_prompt(first, d) < 0) goto done;

    for (size_t i = 0; i < d->num_records; i++) {
        if (unique && first[i] != i) continue;
        const Span whole = dataset_prompt(d, &d->record[i]);
        if (whole.len == 0 && p->begin < 0) {
            fail(EX_DATAERR, "%s:%zu: the prompt is empty, and the tokenizer has no token that "
                 "begins a text", d->path, d->record[i].line);
            goto done;
        }
        p->whole[p->n] = whole;
        p->cut[p->n] = cut_prompt(d, &whole, i, &p->begin);
        p->n++;
    }
    result = 0;
done:
    free(first);
    return result;
}

// How prompts are read: none is left out, and all are whole; prompts_init cuts them.  That of a
// conversation is all before its last answer.
DataOptions prompts_options(void) {
    DataOptions o = data_options();
    o.all_turns = 0;
    o.max_length = 0;
    o.max_prompt_length = 0;
    o.as_given = 1;
    o.keep_others = 1;
    return o;
}

// ------------------------------------------------------------------------- what a model writes

void items_free(Items *x) {
    free(x->tokens);
    free(x->prompt_id);
}

void writer_free(Writer *w) {
    dataset_free(&w->drawn);
    free(w->token_logp);
    buffer_free(&w->texts);
    buffer_free(&w->rows);
    free(w->written);
    items_free(&w->answers);
    free(w->answer_nll);
}

// Room for `most` items; there are none so far.
int items_init(Items *x, size_t most) {
    x->tokens = allocate(most, sizeof *x->tokens);
    x->prompt_id = allocate(most, sizeof *x->prompt_id);
    return x->tokens && x->prompt_id ? 0 : -1;
}

// A writer at work: what keep_completion needs besides.
typedef struct {
    Writer *writer;
    const Tokenizer *t;
    const Dataset *file;
    const Prompts *prompts;
    Buffer quoted;                      // the running prompt, whole, as JSON
    size_t prompt_text, prompt_len;     // the same in Writer.texts
} Writing;

// The n tokens go to the end of d's; out is where they are.
static int append_tokens(Dataset *d, Span *out, const int *token, int n) {
    const size_t need = d->num_tokens + (size_t)n;
    if (reserve(&d->token, &d->token_capacity, need, sizeof *d->token) < 0) return -1;
    memcpy(d->token + d->num_tokens, token, (size_t)n * sizeof *token);
    *out = (Span){d->num_tokens, n};
    d->num_tokens = need;
    return 0;
}

// Prompt k becomes a record of what is drawn, for as many completions as follow.
static int keep_prompt(Writing *x, int k) {
    const Prompt *cut = &x->prompts->cut[k];
    const Span *whole = &x->prompts->whole[k];
    const int *token = x->file->token + whole->start;
    Dataset *d = &x->writer->drawn;
    Buffer text = {0};
    int result = -1;
    x->quoted.len = 0;
    if (tokenizer_decode_text(x->t, token, (size_t)whole->len, &text) < 0) goto done;
    x->prompt_text = x->writer->texts.len;
    x->prompt_len = text.len;
    if (buffer_append(&x->writer->texts, text.data, text.len) < 0) goto done;
    if (json_quote(&x->quoted, text.data ? text.data : "", text.len) < 0) goto done;

    // the record of the file, but with the cut prompt and no answers
    Record r = x->file->record[cut->id];
    r.first = (int)d->num_answers;
    r.count = 0;
    if (append_tokens(d, &r.prompt, cut->token, cut->len) < 0) goto done;
    if (reserve(&d->record, &d->record_capacity, d->num_records + 1, sizeof r) < 0) goto done;
    d->record[d->num_records++] = r;
    result = 0;
done:
    buffer_free(&text);
    return result;
}

// The completion's tokens become an answer of the last record.  The token that ended it is the
// answer's own, and nothing is to be predicted after it: it is marked as an answer that was cut.
static int keep_answer(Writer *w, const Completion *c) {
    Dataset *d = &w->drawn;
    Answer a = {.cut = 1};
    if (append_tokens(d, &a.tokens, c->token, c->n) < 0) return -1;
    const size_t need = d->num_tokens, size = sizeof *w->token_logp;
    if (reserve(&w->token_logp, &w->token_logp_capacity, need, size) < 0) return -1;
    memcpy(w->token_logp + a.tokens.start, c->token_logp, (size_t)c->n * size);
    if (reserve(&d->answer, &d->answer_capacity, d->num_answers + 1, sizeof a) < 0) return -1;
    d->answer[d->num_answers++] = a;
    d->record[d->num_records - 1].count++;
    return 0;
}

// TakeCompletion of writer_write.
static int keep_completion(void *context, const Completion *c) {
    Writing *x = context;
    Writer *w = x->writer;
    if (c->finish == GOING) return 0;
    if (c->sample == 0 && keep_prompt(x, c->prompt) < 0) return -1;
    if (keep_answer(w, c) < 0) return -1;

    // its text, its data row
    const size_t text = w->texts.len, row = w->rows.len;
    if (buffer_append(&w->texts, c->text, c->len) < 0) return -1;
    if (buffer_printf(&w->rows, "{\"prompt\":%s,\"completion\":", x->quoted.data) < 0) return -1;
    if (json_quote(&w->rows, c->text, c->len) < 0) return -1;
    const size_t row_len = w->rows.len - row;

    // the other keys of the prompt's row
    const Record *r = &x->file->record[x->prompts->cut[c->prompt].id];
    const char *others = r->others_len ? x->file->others.data + r->others : "";
    if (buffer_append(&w->rows, others, r->others_len) < 0) return -1;

    if (reserve(&w->written, &w->capacity, w->num_written + 1, sizeof *w->written) < 0) return -1;
    w->written[w->num_written++] = (Written){
        .prompt = c->prompt, .sample = c->sample, .tokens = c->n, .empty = c->len == 0,
        .prompt_text = x->prompt_text, .prompt_len = x->prompt_len, .text = text,
        .text_len = c->len, .finish = c->finish, .logp = c->logp, .row = row, .row_len = row_len,
        .others_len = r->others_len,
    };
    return 0;
}

// How probable the good answers of the file of prompts are under w's model m, if there are any.
// The file is read again: here it is cut as `more eval` does, and was not for completions.
static int read_answers(Writer *w, Mixture *mixture, Model *m, const Tokenizer *t) {
    if (w->kind != DATA_COMPLETION && w->kind != DATA_PAIR && w->kind != DATA_POINT) return 0;
    Dataset d = {0};
    Items *good = &w->answers;
    double *logp = NULL;
    DataOptions o = data_options();
    o.over_length = OVER_TRUNCATE;
    int result = -1;
    if (dataset_load(&d, opt.prompts, t, &o) < 0) goto done;
    if (report_turns(&d) < 0) goto done;
    if (dataset_keep_fold(&d, 1) < 0) goto done;
    if (items_init(good, d.num_answers) < 0) goto done;
    logp = allocate(d.num_answers, sizeof *logp);
    w->answer_nll = allocate(d.num_answers, sizeof *w->answer_nll);
    if (!logp || !w->answer_nll) goto done;
    if (mixture_tokens(mixture, m, t->eos, &d, logp, NULL) < 0) goto done;

    // the good ones of them
    const double mean = mean_score(&d);
    for (size_t i = 0; i < d.num_records; i++) {
        const Record *r = &d.record[i];
        for (int k = 0; k < r->count; k++) {
            const int tokens = scored_tokens(&d, r, k);
            if (!tokens || !answer_is_good(&d, r, k, mean)) continue;
            w->answer_nll[good->n] = -logp[r->first + k];
            good->tokens[good->n] = tokens;
            good->prompt_id[good->n] = r->prompt_id;
            good->n++;
        }
    }
    result = 0;
done:
    dataset_free(&d);
    free(logp);
    return result;
}

// Of what a mixture wrote: the log-probabilities under the mixture, not under the policy drawn.
static int mix_written(Writer *w, Mixture *mixture, Model *m, int eos) {
    const Dataset *d = &w->drawn;
    double *logp = allocate(d->num_answers, sizeof *logp);
    float *token_logp = allocate(d->num_tokens + d->num_answers, sizeof *token_logp);
    int result = -1;
    if (!logp || !token_logp) goto done;
    if (mixture_tokens(mixture, m, eos, d, logp, token_logp) < 0) goto done;
    for (size_t i = 0; i < w->num_written; i++) w->written[i].logp = logp[i];
    memcpy(w->token_logp, token_logp, d->num_tokens * sizeof *token_logp);
    result = 0;
done:
    free(logp);
    free(token_logp);
    return result;
}

// w: n completions of each prompt by the model or mixture of that path.  inside: of the prompts in
// the fold, and how probable the file's own answers are; else of those outside.  The model is gone
// when this returns.
int writer_write(Writer *w, const char *path, int n, int inside) {
    const double start = now();
    Mixture mixture;
    Model m = {0};
    Tokenizer t = {0};
    Dataset file = {0};
    Prompts prompts = {0};
    Writing x = {.writer = w, .t = &t, .file = &file, .prompts = &prompts};
    const DataOptions o = prompts_options();
    int result = -1;
    if (mixture_open(&mixture, path) < 0) goto done;
    const char *dir = mixture.folder[0];
    if (load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL, opt.max_length) < 0) goto done;
    if (tokenizer_sha256(w->tokenizer, mixture.folder[0]) < 0) goto done;
    if (dataset_load(&file, opt.prompts, &t, &o) < 0) goto done;
    if (dataset_keep_fold(&file, inside) < 0) goto done;
    if (prompts_init(&prompts, &file, &t, 1) < 0) goto done;
    w->kind = file.kind;
    w->num_prompts = prompts.n;

    if (mixture_generate(&mixture, &m, &t, prompts.cut, prompts.n, n, keep_completion, &x) < 0) {
        goto done;
    }
    if (!opt.quiet) {
        fprintf(stderr, "%s: %zu completions of %d prompts in %.1f s\n", w->name, w->num_written,
                w->num_prompts, now() - start);
    }
    if (mixture.n > 1 && mix_written(w, &mixture, &m, t.eos) < 0) goto done;
    if (inside && read_answers(w, &mixture, &m, &t) < 0) goto done;
    result = 0;
done:
    mixture_free(&mixture);
    model_free(&m);
    tokenizer_free(&t);
    dataset_free(&file);
    prompts_free(&prompts);
    buffer_free(&x.quoted);
    return result;
}

// ----------------------------------------------------------------------- what others say of it

// The log-probabilities of w's completions under m, a model with the same tokens, which errors call
// `who`: logp (num_written), token_logp as evaluate_tokens has it or NULL.
int writer_logps(const Writer *w, Model *m, int eos, const char *who, double *logp,
                 float *token_logp) {
    const int positions = m->config.max_positions;
    for (size_t i = 0; i < w->num_written; i++) {
        const Written *c = &w->written[i];
        const int rows = w->drawn.record[c->prompt].prompt.len + c->tokens;
        if (rows > positions) {
            return fail(EX_DATAERR, "completion %zu of %s has %d tokens with its prompt, %s %d "
                        "positions", i + 1, w->name, rows, who, positions);
        }
    }
    return evaluate_tokens(m, eos, &w->drawn, logp, token_logp);
}

// Sets ref_logp and kl of w's completions from the reference m, which has the same tokens.
int writer_refer(Writer *w, Model *m, int eos) {
    const Dataset *d = &w->drawn;
    double *logp = allocate(d->num_answers, sizeof *logp);
    float *token_logp = allocate(d->num_tokens + d->num_answers, sizeof *token_logp);
    int result = -1;
    if (!logp || !token_logp) goto done;
    if (writer_logps(w, m, eos, "the reference", logp, token_logp) < 0) goto done;
    for (size_t i = 0; i < w->num_written; i++) {
        Written *c = &w->written[i];
        const Span tokens = d->answer[i].tokens;
        c->ref_logp = logp[i];
        for (size_t k = tokens.start; k < tokens.start + (size_t)tokens.len; k++) {
            c->kl += kl_term(w->token_logp[k], token_logp[k]);
        }
    }
    w->has_reference = 1;
    result = 0;
done:
    free(logp);
    free(token_logp);
    return result;
}
#endif

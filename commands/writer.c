/* writer.c - what language models write: completions of the prompts of a file by a model or a
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

// What a mean is taken over: completions or answers.
typedef struct {
    int n;
    double *tokens;                     // (n) scored tokens of each
    uint64_t *prompt_id;                // (n)
} Items;

// A model and what it wrote.
typedef struct {
    char name[64];
    char tokenizer[65];                 // its identity: do two models have the same tokens?
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
} Writer;

// a writer: its completions, what another model says of them
int  writer_room(const char *path);                 // before it is loaded: is there memory?
int  writer_write(Writer *w, const char *path, int n, int inside);
void writer_free(Writer *w);
int  writer_logps(const Writer *w, Model *m, int eos, const char *who, double *logp,
                  float *token_logp);
int  writer_refer(Writer *w, Model *m, int eos);

int  items_init(Items *x, size_t most);
void items_free(Items *x);

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

// Prompt k becomes a record of what is drawn, for as many completions as follow.
static int keep_prompt(Writing *x, int k) {
    const Prompt *cut = &x->prompts->cut[k];
    const Span *whole = &x->prompts->whole[k];
    const int *token = x->file->token + whole->start;
    Buffer text = {0};
    int result = -1;
    x->quoted.len = 0;
    if (tokenizer_decode_text(x->t, token, (size_t)whole->len, &text) < 0) goto done;
    x->prompt_text = x->writer->texts.len;
    x->prompt_len = text.len;
    if (buffer_append(&x->writer->texts, text.data, text.len) < 0) goto done;
    const Record *r = &x->file->record[cut->id];
    if (dataset_prompt_json(&x->quoted, x->file, r, text.data, text.len) < 0) goto done;
    result = drawn_add_prompt(&x->writer->drawn, r, cut);
done:
    buffer_free(&text);
    return result;
}

// TakeCompletion of writer_write.
static int keep_completion(void *context, const Completion *c) {
    Writing *x = context;
    Writer *w = x->writer;
    if (c->finish == GOING) return 0;
    if (c->sample == 0 && keep_prompt(x, c->prompt) < 0) return -1;
    if (drawn_add_answer(&w->drawn, &w->token_logp, &w->token_logp_capacity, c) < 0) return -1;

    // its text, its data row
    const size_t text = w->texts.len, row = w->rows.len;
    if (buffer_append(&w->texts, c->text, c->len) < 0) return -1;
    if (buffer_printf(&w->rows, "{\"prompt\":%s,\"completion\":", x->quoted.data) < 0) return -1;
    const Record *r = &x->file->record[x->prompts->cut[c->prompt].id];
    if (dataset_answer_json(&w->rows, x->file, r, c->text, c->len) < 0) return -1;
    const size_t row_len = w->rows.len - row;

    // the other keys of the prompt's row
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

// Is there memory to draw texts from the model or mixture of that path?  0, or -1 after fail().
int writer_room(const char *path) {
    Mixture mixture;
    int result = mixture_open(&mixture, path);
    for (int k = 0; result == 0 && k < mixture.n; k++) {
        const char *dir = mixture.folder[k];
        double model, packed;
        result = memory_model(&model, dir, LOAD_LANGUAGE_MODEL, 0, 1, 1, SCORING);
        if (result == 0) result = memory_packed(&packed, dir);
        if (result == 0) result = memory_check(model + packed, dir);
    }
    mixture_free(&mixture);
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
    if (writer_room(path) < 0 || mixture_open(&mixture, path) < 0) goto done;
    const char *dir = mixture.folder[0];
    if (load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL, opt.max_length) < 0) goto done;
    if (tokenizer_identity(w->tokenizer, mixture.folder[0]) < 0) goto done;
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

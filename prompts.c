/* prompts.c - the prompts of a file as generate.c takes them, and what was drawn for them as a
 * Dataset, so that whatever reads answers reads completions.  */
#ifndef PROMPTS_C
#define PROMPTS_C
#include "load.c"
#include "generate.c"

// The prompts of a file, before and after they are cut.
typedef struct {
    Span *whole;                        // (n) as they stand in the file
    Prompt *cut;                        // (n) what the model is given
    int n;
    int begin;                          // what is given for an empty prompt; -1: nothing can be
} Prompts;

// prompts, and how they are read; how they are completed
int         prompts_init(Prompts *p, const Dataset *d, const Tokenizer *t, int unique);
void        prompts_free(Prompts *p);
Prompt      prompt_cut(const Dataset *d, const Span *whole, size_t id, const int *begin);
DataOptions prompts_options(void);
Sampling    sampling_options(const Tokenizer *t, int n, const char *folder);

// what was drawn: a record for each prompt, an answer for each completion
int drawn_add_prompt(Dataset *d, const Record *of, const Prompt *cut);
int drawn_add_answer(Dataset *d, float **token_logp, size_t *capacity, const Completion *c);

// ------------------------------------------------------------------ what prompts are completed

void prompts_free(Prompts *p) {
    free(p->whole);
    free(p->cut);
}

// What the model is given for a prompt: its last --max_prompt_length tokens, for an empty prompt
// the token `begin`.
Prompt prompt_cut(const Dataset *d, const Span *whole, size_t id, const int *begin) {
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
        p->cut[p->n] = prompt_cut(d, &whole, i, &p->begin);
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

// n completions of each prompt by the model in folder, as the command line has it.
Sampling sampling_options(const Tokenizer *t, int n, const char *folder) {
    return (Sampling){.folder = folder,
                      .temperature = opt.temperature, .top_k = opt.top_k, .top_p = opt.top_p,
                      .min_p = opt.min_p, .repetition_penalty = opt.repetition_penalty,
                      .seed = (uint64_t)opt.seed, .n = n, .max_new_tokens = opt.max_new_tokens,
                      .batch = opt.batch, .num_eos = t->num_ends, .eos = t->ends,
                      .num_stop = opt.stop.n, .stop = opt.stop.item};
}

// ------------------------------------------------------------------------------- what was drawn

// The n tokens go to the end of d's; out is where they are.
static int append_tokens(Dataset *d, Span *out, const int *token, int n) {
    const size_t need = d->num_tokens + (size_t)n;
    if (reserve(&d->token, &d->token_capacity, need, sizeof *d->token) < 0) return -1;
    memcpy(d->token + d->num_tokens, token, (size_t)n * sizeof *token);
    *out = (Span){d->num_tokens, n};
    d->num_tokens = need;
    return 0;
}

// A prompt becomes a record of what is drawn, for as many completions as follow: the record of the
// file, but with the cut prompt and no answers.  0, or -1 after fail().
int drawn_add_prompt(Dataset *d, const Record *of, const Prompt *cut) {
    Record r = *of;
    r.first = (int)d->num_answers;
    r.count = 0;
    if (append_tokens(d, &r.prompt, cut->token, cut->len) < 0) return -1;
    if (reserve(&d->record, &d->record_capacity, d->num_records + 1, sizeof r) < 0) return -1;
    d->record[d->num_records++] = r;
    return 0;
}

// The completion's tokens become an answer of the last record.  The token that ended it is the
// answer's own, and nothing is to be predicted after it: it is marked as an answer that was cut.
// token_logp (num_tokens, with room for `capacity`) gets the log-probabilities of its tokens.
// 0, or -1 after fail().
int drawn_add_answer(Dataset *d, float **token_logp, size_t *capacity, const Completion *c) {
    const size_t size = sizeof **token_logp;
    Answer a = {.cut = 1};
    if (append_tokens(d, &a.tokens, c->token, c->n) < 0) return -1;
    if (reserve(token_logp, capacity, d->num_tokens, size) < 0) return -1;
    memcpy(*token_logp + a.tokens.start, c->token_logp, (size_t)c->n * size);
    if (reserve(&d->answer, &d->answer_capacity, d->num_answers + 1, sizeof a) < 0) return -1;
    d->answer[d->num_answers++] = a;
    d->record[d->num_records - 1].count++;
    return 0;
}
#endif

/* compare.c - more sample, bestof and compare: what policies write.  Completions of a file of prompts as texts
 * and tokens, their rewards, the best of n for each prompt, and the numbers that compare policies.  One model
 * is in memory at a time: what the policies wrote is kept, and given to the reference and to the judge
 * afterwards.                                                                                              */
#ifndef COMPARE_C
#define COMPARE_C
#include "setup.c"
#include "../generate.c"

typedef struct {                                                      // a completion
    size_t row, len;                             // {"prompt":"","completion":"" is rows.data[row .. row+len)
    int prompt, sample, tokens, empty;
    Finish finish;
    double logp, ref, reward;
} Written;

// What estimate() is asked for; wins and differences are against the first policy.
enum { REWARD_MEAN, REWARD_DIFFERENCE, WINS, TIES, LOSSES, PERPLEXITY, ITEM_PERPLEXITY,
       LOG_PERPLEXITY_DIFFERENCE, KL, KL_PER_TOKEN, TOKENS, ENDED, ESTIMATES };
static const char *const estimate_name[ESTIMATES] = {"reward", "reward_difference", "win", "tie", "lose",
    "perplexity", "item_perplexity", "log_perplexity_difference", "kl", "kl_per_token", "tokens", "ended"};

typedef struct {
    char name[64], tokenizer[65];                    // its SHA-256: do two models have the same tokens?
    const Tokenizer *t;                              // while it writes
    Dataset file, drawn;                             // its prompts; what it wrote, a record for each prompt
    Span *whole; Prompt *prompt; int num_prompts;    // before and after they are cut
    Buffer rows, quoted;
    Written *written; size_t n, capacity;
    double *nll, *scored; uint64_t *group; int good; // of the file's good answers: -log p, tokens, prompt
    Estimate estimate[ESTIMATES];                    // value NAN: there is none
    double distinct[2];
} Policy;

static void policy_free(Policy *p) {
    dataset_free(&p->file), dataset_free(&p->drawn), buffer_free(&p->rows), buffer_free(&p->quoted);
    free(p->whole), free(p->prompt), free(p->written), free(p->nll), free(p->scored), free(p->group);
}

static int add_tokens(Dataset *d, Span *out, const int *token, int n) {
    *out = (Span){d->num_tokens, n};
    if (reserve(&d->token, &d->token_capacity, d->num_tokens + (size_t)n, sizeof *d->token) < 0) return -1;
    memcpy(d->token + d->num_tokens, token, (size_t)n * sizeof *token);
    d->num_tokens += (size_t)n;
    return 0;
}

static int add_prompt_of(Policy *p, int k) {
    const Prompt *q = &p->prompt[k];
    const Span *whole = &p->whole[k];
    Dataset *d = &p->drawn;
    Buffer text = {0};
    Record r = p->file.record[q->id];
    r.first = (int)d->num_answers, r.count = 0;
    p->quoted.len = 0;
    int ok = tokenizer_decode(p->t, p->file.token + whole->start, (size_t)whole->len, &text) == 0
          && json_quote(&p->quoted, text.data ? text.data : "", text.len) == 0
          && add_tokens(d, &r.prompt, q->token, q->len) == 0
          && reserve(&d->record, &d->record_capacity, d->num_records + 1, sizeof r) == 0;
    if (ok) d->record[d->num_records++] = r;
    buffer_free(&text);
    return ok ? 0 : -1;
}

// TakeCompletion.  The token that ended it is the answer's too: nothing is to be predicted after it.
static int keep_completion(void *context, const Completion *c) {
    Policy *p = context;
    Dataset *d = &p->drawn;
    Written w = {.prompt = c->prompt, .sample = c->sample, .tokens = c->n, .empty = !c->len,
                 .finish = c->finish, .logp = c->logp};
    Answer a = {.cut = 1};
    if (c->finish == GOING) return 0;
    if (c->sample == 0 && add_prompt_of(p, c->prompt) < 0) return -1;
    w.row = p->rows.len;
    if (buffer_printf(&p->rows, "{\"prompt\":%s,\"completion\":", p->quoted.data) < 0
        || json_quote(&p->rows, c->text, c->len) < 0 || add_tokens(d, &a.tokens, c->token, c->n) < 0
        || reserve(&d->answer, &d->answer_capacity, d->num_answers + 1, sizeof a) < 0
        || reserve(&p->written, &p->capacity, p->n + 1, sizeof w) < 0) return -1;
    w.len = p->rows.len - w.row;
    d->answer[d->num_answers++] = a;
    d->record[d->num_records - 1].count++;
    p->written[p->n++] = w;
    return 0;
}

// What m says of the good answers of the file of prompts, if it has any, cut by o.
static int read_answers(Policy *p, Model *m, const Tokenizer *t, const char *file, const DataOptions *o) {
    Dataset d = {0};
    double *logp = NULL;
    if (p->file.kind != DATA_COMPLETION && p->file.kind != DATA_PAIR && p->file.kind != DATA_POINT) return 0;
    int ok = dataset_load(&d, file, t, o) == 0 && keep_fold(&d, 1) == 0;
    const size_t n = d.num_answers;
    ok = ok && (logp = allocate(n, sizeof *logp)) && (p->nll = allocate(n, sizeof *logp))
      && (p->scored = allocate(n, sizeof *logp)) && (p->group = allocate(n, sizeof *p->group))
      && evaluate_texts(m, t->eos, &d, logp) == 0;
    const double mean = ok ? mean_score(&d) : 0;
    for (size_t i = 0; ok && i < d.num_records; i++)
        for (int k = 0; k < d.record[i].count; k++) {
            const Record *r = &d.record[i];
            const int tokens = scored_tokens(&d, r, k);
            if (!is_good(&d, r, k, mean) || !tokens) continue;
            p->nll[p->good] = -logp[r->first + k], p->scored[p->good] = tokens;
            p->group[p->good++] = r->prompt_id;
        }
    dataset_free(&d), free(logp);
    return ok ? 0 : -1;
}

// The policy's samples under another model of the same tokens.
static int read_references(Policy *p, Model *m, int eos) {
    double *logp = allocate(p->drawn.num_answers, sizeof *logp);
    int ok = logp != NULL, positions = m->config.max_positions;
    for (size_t i = 0; ok && i < p->n; i++) {
        const int rows = p->drawn.record[p->written[i].prompt].prompt.len + p->written[i].tokens;
        if (rows > positions)
            ok = fail(EX_DATAERR, "completion %zu of %s has %d tokens with its prompt, the reference %d "
                      "positions", i + 1, p->name, rows, positions) == 0;
    }
    ok = ok && evaluate_texts(m, eos, &p->drawn, logp) == 0;
    for (size_t i = 0; ok && i < p->n; i++) p->written[i].ref = logp[i];
    free(logp);
    return ok ? 0 : -1;
}

/* Rewards of all completions as `more score` gives them for the same rows.  An empty completion, which is no
 * row of data, is read as one space. 0, or -1 after fail().                                            */
static int judge_policies(Policy *policy, int policies, Model *m, const Tokenizer *t, DataOptions o) {
    Buffer rows = {0};
    Dataset d = {0};
    double *reward = NULL;
    int ok = 1;
    for (int i = 0; i < policies; i++)
        for (size_t k = 0; ok && k < policy[i].n; k++) {
            const Written *w = &policy[i].written[k];
            ok = buffer_append(&rows, policy[i].rows.data + w->row, w->len - (size_t)w->empty) == 0
              && buffer_printf(&rows, w->empty ? " \"}\n" : "}\n") == 0;
        }
    o.as_given = 1, o.over_length = OVER_TRUNCATE, o.rows = &rows;
    o.prompt_key = o.chosen_key = o.rejected_key = NULL;
    ok = ok && dataset_load(&d, "completions", t, &o) == 0
      && (reward = allocate(d.num_answers, sizeof *reward)) && evaluate_texts(m, t->eos, &d, reward) == 0;
    size_t at = 0;
    for (int i = 0; ok && i < policies; i++)
        for (size_t k = 0; ok && k < policy[i].n; k++, at++) {
            const char *name = policy[i].name;
            policy[i].written[k].reward = reward[at];
            if (!isfinite(reward[at]))
                ok = fail(EX_DATAERR, "completion %zu of %s: the reward is not finite", k + 1, name) == 0;
        }
    dataset_free(&d), buffer_free(&rows), free(reward);
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------------------ best of n

static int add_row(Buffer *out, const Policy *p, const Written *w) {
    return buffer_append(out, p->rows.data + w->row, w->len) < 0
        || buffer_printf(out, ",\"reward\":%.9g,\"sample\":%d}\n", w->reward, w->sample) < 0 ? -1 : 0;
}

/* The best completion of each prompt as a line of `best`, every one as a line of `all`; of equal ones the
 * first is the best, and an empty one never is: nothing could be learned from it.                      */
static int best_of_n(const Policy *p, Buffer *best, Buffer *all) {
    double sum[2] = {0};
    size_t empty = 0, chosen = 0;
    int ok = 1;
    for (size_t i = 0; ok && i < p->n; ) {
        const Written *b = NULL;
        for (const int prompt = p->written[i].prompt; ok && i < p->n && p->written[i].prompt == prompt; i++) {
            const Written *w = &p->written[i];
            empty += (size_t)w->empty, sum[0] += w->reward;
            if (!w->empty && (!b || w->reward > b->reward)) b = w;
            ok = add_row(all, p, w) == 0;
        }
        if (!b) continue;
        sum[1] += b->reward, chosen++;
        ok = ok && add_row(best, p, b) == 0;
    }
    if (ok && !chosen) return fail(EX_DATAERR, "%s: every completion is empty", p->name);
    if (ok) fprintf(stderr, "%d prompts, %zu completions, %zu of them empty; mean reward %.4f, of the "
                    "best of %zu prompts %.4f\n", p->num_prompts, p->n, empty, sum[0] / (double)p->n, chosen,
                    sum[1] / (double)chosen);
    return ok ? 0 : -1;
}

// ---------------------------------------------------------------------------------------- policies compared

static int compare_grams(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
// Different n-grams of tokens as a share of all of them, n 1 or 2        Li et al. 2016, arXiv:1510.03055
static double distinct(const Policy *p, int n, uint64_t *key) {
    size_t count = 0, different = 0;
    for (size_t i = 0; i < p->n; i++) {
        const int *token = p->drawn.token + p->drawn.answer[i].tokens.start;
        const int len = p->written[i].tokens - (p->written[i].finish == FINISH_EOS);
        for (int k = 0; k + n <= len; k++)
            key[count++] = (uint64_t)token[k] << 32 | (uint64_t)(n > 1 ? token[k+1] : 0);
    }
    if (count) qsort(key, count, sizeof *key, compare_grams);
    for (size_t k = 0; k < count; k++) different += !k || key[k] != key[k-1];
    return count ? (double)different / (double)count : 0;
}

static int same_completion(const Policy *p, const Policy *q, size_t i) {
    const Written *a = &p->written[i], *b = &q->written[i];
    return a->len == b->len && !memcmp(p->rows.data + a->row, q->rows.data + b->row, a->len);
}
// 1, 0.5 or 0: identical texts and equal rewards are ties
static double wins(const Policy *p, const Policy *first, size_t i) {
    const double d = p->written[i].reward - first->written[i].reward;
    return same_completion(p, first, i) || d == 0 ? 0.5 : d > 0 ? 1 : 0;
}

static double value_of(const Policy *p, const Policy *first, int which, size_t i) {
    const Written *w = &p->written[i];
    switch (which) {
    case REWARD_MEAN:       return w->reward;
    case REWARD_DIFFERENCE: return w->reward - first->written[i].reward;
    case WINS:               return wins(p, first, i) == 1;
    case TIES:               return wins(p, first, i) == 0.5;
    case LOSSES:              return wins(p, first, i) == 0;
    case KL:
    case KL_PER_TOKEN:      return w->logp - w->ref;
    case TOKENS:            return w->tokens;
    default:                return w->finish == FINISH_EOS || w->finish == FINISH_STOP;
    }
}

/* KL(pi || pi_ref) = E log pi - log pi_ref over texts of pi, estimated on its own samples (of pi itself at
 * temperature 1 without filters).  Perplexity is exp(sum of -log p / sum of tokens), or the mean of each
 * text's own.                                                                                          */
static int measure_policy(Policy *p, const Policy *first, int reference, uint64_t seed) {
    const size_t most = max_size(p->n, (size_t)p->good);
    double *a = allocate(most, sizeof *a), *tokens = allocate(p->n, sizeof *tokens);
    uint64_t *group = allocate(p->n, sizeof *group), *key = allocate(p->drawn.num_tokens + 1, sizeof *key);
    int ok = a && tokens && group && key;
    for (size_t i = 0; ok && i < p->n; i++) {
        const Written *w = &p->written[i];
        group[i] = p->drawn.record[w->prompt].prompt_id, tokens[i] = w->tokens;
    }
    for (int e = 0; ok && e < ESTIMATES; e++) {
        Estimate *x = &p->estimate[e];
        const int answers = e >= PERPLEXITY && e <= LOG_PERPLEXITY_DIFFERENCE;
        const int against = (e >= REWARD_DIFFERENCE && e <= LOSSES) || e == LOG_PERPLEXITY_DIFFERENCE;
        x->value = NAN;
        if ((answers && !p->good) || (against && p == first) || ((e == KL || e == KL_PER_TOKEN) && !reference)
            || (e == LOG_PERPLEXITY_DIFFERENCE && strcmp(p->tokenizer, first->tokenizer))) continue;
        for (int i = 0; answers && i < p->good; i++)
            a[i] = e == PERPLEXITY ? p->nll[i] : e == ITEM_PERPLEXITY ? more_exp(p->nll[i] / p->scored[i])
                 : p->nll[i] - first->nll[i];
        for (size_t i = 0; !answers && i < p->n; i++) a[i] = value_of(p, first, e, i);
        ok = estimate(x, a, e == KL_PER_TOKEN ? tokens : answers && e != ITEM_PERPLEXITY ? p->scored : NULL,
                      answers ? p->group : group, answers ? p->good : (int)p->n, seed) == 0;
        if (e != PERPLEXITY) continue;
        x->value = more_exp(x->value), x->error *= x->value;
        x->interval = (Interval){more_exp(x->interval.low), more_exp(x->interval.high)};
    }
    for (int n = 1; ok && n <= 2; n++) p->distinct[n-1] = distinct(p, n, key);
    free(a), free(tokens), free(group), free(key);
    return ok ? 0 : -1;
}

// A table in panels, so that a line holds each number's interval, or of a difference its standard error.
enum { ALONE, INTERVAL, ERROR };
typedef struct { int which, width, digits; double scale; int with; const char *head; } Column;
static const Column panel[][5] = {
    {{REWARD_MEAN, 27, 3, 1, INTERVAL, "reward (95 %)"}, {WINS, 21, 1, 100, INTERVAL, "win % (95 %)"},
     {TIES, 22, 1, 100, INTERVAL, "tie % (95 %)"}, {LOSSES, 21, 1, 100, INTERVAL, "lose % (95 %)"}},
    {{REWARD_DIFFERENCE, 19, 3, 1, ERROR, "reward - first"},
     {PERPLEXITY, 25, 2, 1, INTERVAL, "perplexity (95 %)"},
     {ITEM_PERPLEXITY, 27, 2, 1, INTERVAL, "mean of texts' (95 %)"},
     {LOG_PERPLEXITY_DIFFERENCE, 20, 4, 1, ERROR, "log ppl - first"}},
    {{KL, 25, 2, 1, INTERVAL, "KL a text (95 %)"}, {KL_PER_TOKEN, 27, 4, 1, INTERVAL, "KL a token (95 %)"},
     {TOKENS, 22, 1, 1, INTERVAL, "tokens (95 %)"}, {ENDED, 8, 1, 100, ALONE, "ended %"}},
};

static void print_cell(const Policy *p, const Column *c) {
    const Estimate *e = &p->estimate[c->which];
    const double value = c->scale * e->value;
    const int n = c->digits;
    char text[96] = "-";
    if (value == value && c->with == INTERVAL)
        snprintf(text, sizeof text, "%.*f (%.*f .. %.*f)", n, value, n, c->scale * e->interval.low,
                 n, c->scale * e->interval.high);
    else if (value == value && c->with == ERROR)
        snprintf(text, sizeof text, "%+.*f +- %.*f", n, value, n, c->scale * e->error);
    else if (value == value) snprintf(text, sizeof text, "%.*f", n, value);
    printf("%*s", c->width, text);
}

static void print_comparison(const Policy *policy, int policies) {
    for (int k = 0; k < 3; k++) {
        printf("\n%-16s", "");
        for (int i = 0; panel[k][i].width; i++) printf("%*s", panel[k][i].width, panel[k][i].head);
        printf(k == 2 ? "%12s\n" : "\n", "distinct");
        for (const Policy *p = policy; p < policy + policies; p++) {
            printf("%-16.16s", p->name);
            for (int i = 0; panel[k][i].width; i++) print_cell(p, &panel[k][i]);
            printf(k == 2 ? " %.3f %.3f\n" : "\n", p->distinct[0], p->distinct[1]);
        }
    }
}

static int write_comparison(Buffer *out, const Policy *p, const Policy *first, int reference) {
    Buffer name = {0};
    int ok = json_quote(&name, p->name, strlen(p->name)) == 0, empty = 0;
    for (size_t i = 0; ok && i < p->n; i++) {
        const Written *w = &p->written[i];
        empty += w->empty;
        ok = buffer_append(out, p->rows.data + w->row, w->len) == 0
          && buffer_printf(out, ",\"event\":\"completion\",\"model\":%s,\"line\":%zu,\"reward\":%.9g,"
                           "\"tokens\":%d,\"finish\":\"%s\",\"logp\":%.9g", name.data,
                           p->drawn.record[w->prompt].line, w->reward, w->tokens, finish_name[w->finish],
                           w->logp) == 0
          && (!reference || buffer_printf(out, ",\"ref_logp\":%.9g", w->ref) == 0)
          && (p == first || buffer_printf(out, ",\"win\":%g", wins(p, first, i)) == 0)
          && buffer_printf(out, "}\n") == 0;
    }
    ok = ok && buffer_printf(out, "{\"event\":\"compare\",\"model\":%s,\"prompts\":%zu,\"empty\":%d,"
                             "\"answers\":%d,\"distinct_1\":%.9g,\"distinct_2\":%.9g", name.data, p->n, empty,
                             p->good, p->distinct[0], p->distinct[1]) == 0;
    for (int e = 0; ok && e < ESTIMATES; e++) {
        const Estimate *x = &p->estimate[e];
        const char *key = estimate_name[e];
        if (x->value == x->value)
            ok = buffer_printf(out, ",\"%s\":%.9g,\"%s_error\":%.9g,\"%s_95\":[%.9g,%.9g]", key, x->value,
                               key, x->error, key, x->interval.low, x->interval.high) == 0;
    }
    ok = ok && buffer_printf(out, "}\n") == 0;
    buffer_free(&name);
    return ok ? 0 : -1;
}

// -------------------------------------------------------------------------------------------------- sampling

typedef struct {
    const Tokenizer *t; const Dataset *d;
    const Span *whole;                                                // (prompts) before they are cut
    int terminal, begun;                                   // the one that is going on: has it begun, how much
    size_t shown, texts, tokens;                                      // of it is shown; of all
} Samples;

// A completion as a line of JSON, on a terminal as it comes.
static int print_sample(void *context, const Completion *c) {
    Samples *s = context;
    const Span *p = &s->whole[c->prompt];
    Buffer prompt = {0}, line = {0};
    int ok = 1, begun = s->begun;
    s->tokens += c->finish ? (size_t)c->n : 0, s->texts += c->finish != GOING;
    if (!s->terminal && !c->finish) return 0;
    if (!begun) ok = tokenizer_decode(s->t, s->d->token + p->start, (size_t)p->len, &prompt) == 0;
    if (ok && s->terminal) {
        printf("%s%.*s%s", prompt.data ? prompt.data : "", (int)(c->len - s->shown), c->text + s->shown,
               c->finish ? "\n" : "");
        s->begun = !c->finish, s->shown = c->finish ? 0 : c->len;
    } else if (ok) {
        ok = buffer_append(&line, "{\"prompt\":", 10) == 0 && json_quote(&line, prompt.data, prompt.len) == 0
          && buffer_append(&line, ",\"completion\":", 14) == 0 && json_quote(&line, c->text, c->len) == 0;
        if (ok)
            printf("%s,\"sample\":%d,\"tokens\":%d,\"finish\":\"%s\",\"logp\":%.9g}\n", line.data, c->sample,
                   c->n, finish_name[c->finish], c->logp);
    }
    buffer_free(&prompt), buffer_free(&line);
    if (ok && (fflush(stdout) || ferror(stdout)))
        ok = fail(EX_IOERR, "standard output: could not be written") == 0;
    return ok ? 0 : -1;
}

static Sampling sampling(const Tokenizer *t, const Model *m, int n) {
    return (Sampling){.temperature = opt.temperature, .top_k = opt.top_k, .top_p = opt.top_p,
                      .min_p = opt.min_p, .repetition_penalty = opt.repetition_penalty,
                      .seed = (uint64_t)opt.seed, .n = n, .max_new_tokens = opt.max_new_tokens,
                      .batch = opt.batch, .eos = {t->eos, m->config.eos},
                      .num_stop = opt.stop.n, .stop = opt.stop.item};
}

/* The prompts of d, cut from the left; a row of kind text is itself one, an empty one is the token that
 * begins texts.  whole(rows) and prompt(rows) are filled; returns how many, -1 after fail().               */
static int sample_prompts(const Dataset *d, const int *begin, Span *whole, Prompt *prompt) {
    int n = 0;
    size_t *first = allocate(d->num_records, sizeof *first);
    if (!first || dataset_first_of_prompt(first, d) < 0) {
        free(first);
        return -1;
    }
    for (size_t i = 0; i < d->num_records; i++) {
        if (opt.unique && first[i] != i) continue;
        const Span p = dataset_prompt(d, &d->record[i]);
        int len = opt.max_prompt_length && p.len > opt.max_prompt_length ? opt.max_prompt_length : p.len;
        if (!len && *begin < 0) {
            free(first);
            return fail(EX_DATAERR, "%s:%zu: the prompt is empty, and the tokenizer has no token that begins "
                        "a text", d->path, d->record[i].line);
        }
        whole[n] = p;
        prompt[n++] = len ? (Prompt){i, d->token + p.start + (p.len - len), len} : (Prompt){i, begin, 1};
    }
    free(first);
    return n;
}

int command_sample(void) {
    static Model m;
    Tokenizer t = {0};
    Dataset d = {0};
    DataOptions o = data_options();
    Prompt *prompt = NULL;
    Span *whole = NULL;
    int n = 0;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    o.max_length = o.max_prompt_length = 0, o.as_given = 1, o.plain_text = !opt.prompts;
    int ok = load_tokenizer(&t, opt.model.item[0]) == 0
          && checkpoint_load(&m, opt.model.item[0], LOAD_LANGUAGE_MODEL) == 0
          && dataset_load(&d, opt.prompts ? opt.prompts : "-", &t, &o) == 0
          && (whole = allocate(d.num_records, sizeof *whole))
          && (prompt = allocate(d.num_records, sizeof *prompt));
    int begin = t.bos >= 0 ? t.bos : t.eos;
    const Sampling s = sampling(&t, &m, opt.n);
    Samples out = {.t = &t, .d = &d, .whole = whole, .terminal = isatty(STDOUT_FILENO)};
    ok = ok && (n = sample_prompts(&d, &begin, whole, prompt)) >= 0;
    double start = now();
    ok = ok && generate(&m, &t, prompt, n, &s, print_sample, &out) == 0;
    double wall = now() - start;
    if (ok && !opt.quiet)
        fprintf(stderr, "%zu completions of %d prompts: %zu tokens in %.2f s, %.0f tokens/s\n", out.texts, n,
                out.tokens, wall, (double)out.tokens / wall);
    model_free(&m), tokenizer_free(&t), dataset_free(&d), free(whole), free(prompt);
    return ok ? 0 : -1;
}

// -------------------------------------------------------------------------------------- the commands

// p: n completions of each prompt of the file by the model in dir; the model is gone when it returns.
static int write_completions(Policy *p, const char *dir, int n, int inside) {
    Model m = {0};
    Tokenizer t = {0};
    DataOptions o = data_options(), whole = o;
    const double start = now();
    o.over_length = OVER_TRUNCATE;
    whole.max_length = whole.max_prompt_length = 0, whole.as_given = 1;
    int ok = load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL) == 0
          && sha256_file(p->tokenizer, tokenizer_path(dir)) == 0
          && dataset_load(&p->file, opt.prompts, &t, &whole) == 0 && keep_fold(&p->file, inside) == 0
          && (p->whole = allocate(p->file.num_records, sizeof *p->whole))
          && (p->prompt = allocate(p->file.num_records, sizeof *p->prompt));
    const int begin = t.bos >= 0 ? t.bos : t.eos;
    const Sampling s = sampling(&t, &m, n);
    opt.unique = 1;
    p->t = &t;
    ok = ok && (p->num_prompts = sample_prompts(&p->file, &begin, p->whole, p->prompt)) >= 0
      && generate(&m, &t, p->prompt, p->num_prompts, &s, keep_completion, p) == 0;
    if (ok && !opt.quiet)
        fprintf(stderr, "%s: %zu completions of %d prompts in %.1f s\n", p->name, p->n, p->num_prompts,
                now() - start);
    ok = ok && (!inside || read_answers(p, &m, &t, opt.prompts, &o) == 0);
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// The policies are gone: from here on the lengths are the judge's.
static int judge(Policy *policy, int policies) {
    Model m = {0};
    Tokenizer t = {0};
    if (opt.judge_max_length) opt.max_length = opt.judge_max_length;
    if (opt.judge_max_prompt_length) opt.max_prompt_length = opt.judge_max_prompt_length;
    int ok = load_model(&m, &t, opt.judge, LOAD_REWARD_MODEL) == 0
          && judge_policies(policy, policies, &m, &t, data_options()) == 0;
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// What both commands need, before anything is computed.
static int check_judging(void) {
    Config c;
    if (!opt.model.n || !opt.judge || !opt.prompts)
        return fail(EX_USAGE, "--model, --judge and --prompts are needed");
    if (checkpoint_config(&c, opt.judge) < 0) return -1;
    return c.reward ? 0 : fail(EX_DATAERR, "--judge %s: a language model; a reward model is needed",
                               opt.judge);
}

int command_bestof(void) {
    Policy p = {0};
    Buffer best = {0}, all = {0};
    const char *dir;
    if (check_judging() < 0) return -1;
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    split_model(opt.model.item[0], p.name, &dir);
    int ok = write_completions(&p, dir, opt.n, 0) == 0 && judge(&p, 1) == 0 && best_of_n(&p, &best, &all) == 0
          && file_write(opt.out, best.data, best.len) == 0
          && (!opt.all || file_write(opt.all, all.data, all.len) == 0);
    policy_free(&p), buffer_free(&best), buffer_free(&all);
    return ok ? 0 : -1;
}

int command_compare(void) {
    const int n = opt.model.n;
    Policy *policy = allocate((size_t)n + 1, sizeof *policy);
    Model m = {0};
    Tokenizer t = {0};
    Buffer out = {0};
    const char *dir;
    char sha[65];
    int ok = policy && check_judging() == 0 && names_differ(&opt.model) == 0;
    if (ok && !strcmp(opt.prompts, "-"))
        ok = fail(EX_USAGE, "-: compare reads prompts for each policy; give a file, not standard input") == 0;
    for (int i = 0; ok && i < n; i++) {
        split_model(opt.model.item[i], policy[i].name, &dir);
        ok = write_completions(&policy[i], dir, 1, 1) == 0;
        if (ok && policy[i].num_prompts != policy->num_prompts)
            ok = fail(EX_DATAERR, "%s: other prompts than of %s", policy[i].name, policy->name) == 0;
        if (!i && !opt.reference) opt.reference = dir;
    }
    ok = ok && load_model(&m, &t, opt.reference, LOAD_LANGUAGE_MODEL) == 0
      && sha256_file(sha, tokenizer_path(opt.reference)) == 0;
    for (int i = 0; ok && i < n; i++)
        if (!strcmp(sha, policy[i].tokenizer)) ok = read_references(&policy[i], &m, t.eos) == 0;
    model_free(&m), tokenizer_free(&t);
    ok = ok && judge(policy, n) == 0;
    for (int i = 0; ok && i < n; i++) {
        const int reference = !strcmp(sha, policy[i].tokenizer);
        ok = measure_policy(&policy[i], policy, reference, (uint64_t)opt.seed) == 0
          && (!opt.out || write_comparison(&out, &policy[i], policy, reference) == 0);
    }
    if (ok) {
        static const char *const answers[] = {[DATA_COMPLETION] = "answers", [DATA_PAIR] = "chosen answers",
            [DATA_POINT] = "answers with the label true, or a score above the mean,"};
        printf("%d prompts of %s, one completion each; rewards by %s\n", policy->num_prompts, opt.prompts,
               opt.judge);
        printf("first is %s; KL is to %s", policy->name, opt.reference);
        if (policy->good)
            printf("; perplexity of %d %s of the file", policy->good, answers[policy->file.kind]);
        printf("\n");
        print_comparison(policy, n);
    }
    ok = ok && (!opt.out || file_write(opt.out, out.data, out.len) == 0);
    for (int i = 0; policy && i < n; i++) policy_free(&policy[i]);
    free(policy), buffer_free(&out);
    return ok ? 0 : -1;
}
#endif

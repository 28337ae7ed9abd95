/* compare.c - more sample, bestof and compare: what language models write.
 *
 *     sample    completions of prompts, each a line of JSON; on a terminal plain text, as it comes
 *     bestof    n completions of each prompt and their rewards: of each the best, to train on
 *     compare   one completion of each prompt by several models: rewards, wins, perplexity, KL
 */
#ifndef COMPARE_C
#define COMPARE_C
#include "writer.c"
#include "../rewards.c"
#include <unistd.h>

// The commands: 0, or -1 after fail().
int command_sample(void);
int command_bestof(void);
int command_compare(void);

// --------------------------------------------------------------------------------- more sample

typedef struct {
    const Tokenizer *t;
    const Dataset *d;
    const Prompts *prompts;
    int terminal;                       // yes: plain text, as it comes
    int begun;                          // on a terminal: the prompt of the running one is shown
    size_t shown;                       // on a terminal: so many bytes of the running one are
    size_t texts, tokens;               // of all completions so far
} Samples;

// On a terminal: what has come since the last call, at first after the prompt.
static void print_growth(Samples *s, const Completion *c, const Buffer *prompt) {
    const int finished = c->finish != GOING;
    if (!s->begun && prompt->data) printf("%s", prompt->data);
    printf("%.*s%s", (int)(c->len - s->shown), c->text + s->shown, finished ? "\n" : "");
    s->begun = !finished;
    s->shown = finished ? 0 : c->len;
}

// A completion as a line of JSON, with the other keys of the row that the prompt is from.
static int print_line(const Samples *s, const Completion *c, const Buffer *prompt) {
    const Record *r = &s->d->record[s->prompts->cut[c->prompt].id];
    const char *others = r->others_len ? s->d->others.data + r->others : "";
    Buffer line = {0};
    int result = -1;
    if (buffer_printf(&line, "{\"prompt\":") < 0) goto done;
    if (dataset_prompt_json(&line, s->d, r, prompt->data, prompt->len) < 0) goto done;
    if (buffer_printf(&line, ",\"completion\":") < 0) goto done;
    if (dataset_answer_json(&line, s->d, r, c->text, c->len) < 0) goto done;
    printf("%s,\"sample\":%d,\"tokens\":%d,\"finish\":\"%s\",\"logp\":%.17g%.*s}\n", line.data,
           c->sample, c->n, finish_name[c->finish], c->logp, (int)r->others_len, others);
    result = 0;
done:
    buffer_free(&line);
    return result;
}

// TakeCompletion of `more sample`.
static int print_completion(void *context, const Completion *c) {
    Samples *s = context;
    if (c->finish == GOING && !s->terminal) return 0;
    if (c->finish != GOING) {
        s->texts++;
        s->tokens += (size_t)c->n;
    }

    const Span *whole = &s->prompts->whole[c->prompt];
    const int *token = s->d->token + whole->start;
    Buffer prompt = {0};
    int result = -1;
    const int is_new = !s->begun;
    if (is_new && tokenizer_decode_text(s->t, token, (size_t)whole->len, &prompt) < 0) goto done;
    if (s->terminal) print_growth(s, c, &prompt);
    else if (print_line(s, c, &prompt) < 0) goto done;
    if (fflush(stdout) || ferror(stdout)) {
        fail(EX_IOERR, "standard output: could not be written");
        goto done;
    }
    result = 0;
done:
    buffer_free(&prompt);
    return result;
}

int command_sample(void) {
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    const char *file = opt.prompts ? opt.prompts : "-";
    Mixture mixture;
    Model m = {0};
    Tokenizer t = {0};
    Dataset d = {0};
    Prompts prompts = {0};
    DataOptions o = prompts_options();
    o.plain_text = opt.prompts ? ROWS_ONLY : ONE_PROMPT;
    int result = -1;
    if (writer_room(opt.model.item[0]) < 0) return -1;
    if (mixture_open(&mixture, opt.model.item[0]) < 0) goto done;
    const char *dir = mixture.folder[0];
    if (load_tokenizer(&t, dir) < 0) goto done;
    if (checkpoint_load(&m, dir, LOAD_LANGUAGE_MODEL) < 0) goto done;
    if (settle_specials(&t, &m.config, dir) < 0) goto done;
    if (dataset_load(&d, file, &t, &o) < 0) goto done;
    if (prompts_init(&prompts, &d, &t, opt.unique) < 0) goto done;

    Samples out = {.t = &t, .d = &d, .prompts = &prompts, .terminal = isatty(STDOUT_FILENO)};
    const double start = now();
    if (mixture_generate(&mixture, &m, &t, prompts.cut, prompts.n, opt.n, print_completion,
                         &out) < 0) {
        goto done;
    }
    const double wall = now() - start;
    if (!opt.quiet) {
        fprintf(stderr, "%zu completions of %d prompts: %zu tokens in %.2f s, %.0f tokens/s\n",
                out.texts, prompts.n, out.tokens, wall, (double)out.tokens / wall);
    }
    result = 0;
done:
    mixture_free(&mixture);
    model_free(&m);
    tokenizer_free(&t);
    dataset_free(&d);
    prompts_free(&prompts);
    return result;
}

// What the judge says of pairs that people have judged (--judge_labels).
typedef struct {
    int n;
    double *delta;                // (n) its reward of the chosen answer less that of the other
    uint64_t *prompt_id;          // (n)
    double T;                     // the temperature that makes probabilities of such differences
    double *T_replicate;          // (REPLICATES), drawn with the pairs
} Labelled;

static void labelled_free(Labelled *x) {
    free(x->delta);
    free(x->prompt_id);
    free(x->T_replicate);
}

// The two texts of each pair of d (num_records), whose tokens are single bytes; as characters they
// are in chars (num_tokens).
static void pair_texts(RewardText *text, char *chars, const Dataset *d, const Tokenizer *bytes) {
    for (size_t k = 0; k < d->num_tokens; k++) chars[k] = *tokenizer_piece(bytes, d->token[k]);
    for (size_t i = 0; i < d->num_records; i++) {
        const Record *r = &d->record[i];
        for (int k = 0; k < 2; k++) {
            const Span answer = d->answer[r->first + k].tokens;
            text[2*i + (size_t)k] = (RewardText){
                .prompt = chars + r->prompt.start, .prompt_len = (size_t)r->prompt.len,
                .answer = chars + answer.start, .answer_len = (size_t)answer.len};
        }
    }
}

// The rewards of the pairs of --judge_labels.  0, or -1 after fail().
static int label_judge(Labelled *x, Rewards *judge) {
    DataOptions o = data_options();
    Tokenizer bytes = {0};
    Dataset d = {0};
    char *chars = NULL;
    RewardText *text = NULL;
    double *reward = NULL;
    int result = -1;
    o.max_length = 0;
    o.max_prompt_length = 0;
    o.as_pairs = 1;
    o.all_turns = 0;
    if (tokenizer_of_bytes(&bytes) < 0) goto done;
    if (dataset_load(&d, opt.judge_labels, &bytes, &o) < 0) goto done;
    if (d.kind != DATA_PAIR) {
        fail_kind(&d, "--judge_labels needs pairs");
        goto done;
    }
    const size_t n = d.num_records;
    text = allocate(2 * n, sizeof *text);
    reward = allocate(2 * n, sizeof *reward);
    x->delta = allocate(n, sizeof *x->delta);
    x->prompt_id = allocate(n, sizeof *x->prompt_id);
    x->T_replicate = allocate(REPLICATES, sizeof *x->T_replicate);
    chars = allocate(d.num_tokens, 1);
    if (!chars || !text || !reward || !x->delta || !x->prompt_id || !x->T_replicate) goto done;
    pair_texts(text, chars, &d, &bytes);
    if (rewards_score(judge, text, 2 * n, NULL, reward) < 0) goto done;

    x->n = (int)n;
    for (size_t i = 0; i < n; i++) {
        x->delta[i] = reward[2*i] - reward[2*i + 1];
        x->prompt_id[i] = d.record[i].prompt_id;
    }
    x->T = temperature_fit(x->delta, NULL, x->n);
    // another seed than that of the prompts (prefer_writer), which are drawn apart from these
    result = temperature_replicates(x->T_replicate, x->delta, x->prompt_id, x->n,
                                    (uint64_t)opt.seed + 1);
done:
    tokenizer_free(&bytes);
    dataset_free(&d);
    free(chars);
    free(text);
    free(reward);
    return result;
}

// The rewards of n writers by the folders of --judge, with the judge's lengths; labelled, or NULL:
// and of the pairs of --judge_labels.  The writers' models are gone.
static int judge_writers(Writer *writer, int n, Labelled *labelled) {
    const int length = opt.judge_max_length ? opt.judge_max_length : opt.max_length;
    int prompt_length = opt.judge_max_prompt_length;
    if (!prompt_length) prompt_length = opt.max_prompt_length;
    size_t total = 0, at = 0;
    for (int i = 0; i < n; i++) total += writer[i].num_written;
    RewardText *text = allocate(total, sizeof *text);
    double *reward = allocate(total, sizeof *reward);
    Rewards judge = {0};
    int result = -1;
    if (!text || !reward) goto done;
    for (const Writer *w = writer; w < writer + n; w++) {
        for (const Written *c = w->written; c < w->written + w->num_written; c++) {
            text[at++] = (RewardText){w->texts.data + c->prompt_text, c->prompt_len,
                                      w->texts.data + c->text, c->text_len};
        }
    }
    if (rewards_open(&judge, &opt.judge, length, prompt_length) < 0) goto done;
    if (labelled && label_judge(labelled, &judge) < 0) goto done;
    if (rewards_score(&judge, text, total, NULL, reward) < 0) goto done;

    at = 0;
    for (Writer *w = writer; w < writer + n; w++) {
        for (size_t k = 0; k < w->num_written; k++) w->written[k].reward = reward[at++];
    }
    result = 0;
done:
    rewards_free(&judge);
    free(text);
    free(reward);
    return result;
}

// What bestof and compare need, before anything is computed.
static int check_judging(void) {
    if (!opt.model.n || !opt.judge.n || !opt.prompts) {
        return fail(EX_USAGE, "--model, --judge and --prompts are needed");
    }
    if (rewards_check(&opt.judge, "judge") < 0) return -1;
    if (opt.out && opt.all && !strcmp(opt.out, opt.all)) {
        return fail(EX_USAGE, "--out and --all are both %s", opt.out);
    }
    if (opt.out && file_check(opt.out) < 0) return -1;
    return opt.all ? file_check(opt.all) : 0;
}

// --------------------------------------------------------------------------------- more bestof

// A completion with its reward as a line.
static int append_judged(Buffer *out, const Writer *w, const Written *c) {
    if (buffer_append(out, w->rows.data + c->row, c->row_len) < 0) return -1;
    if (buffer_printf(out, ",\"reward\":%.9g,\"sample\":%d", c->reward, c->sample) < 0) return -1;
    if (buffer_append(out, w->rows.data + c->row + c->row_len, c->others_len) < 0) return -1;
    return buffer_printf(out, "}\n");
}

// The best of written[first .. end), the completions of one prompt: of equal ones the first, never
// an empty one, from which nothing could be learned.  NULL if all are empty.
static const Written *best_written(const Writer *w, size_t first, size_t end) {
    const Written *best = NULL;
    for (size_t i = first; i < end; i++) {
        const Written *c = &w->written[i];
        if (!c->empty && (!best || c->reward > best->reward)) best = c;
    }
    return best;
}

// The best completion of each prompt as a line of `best`, every one as a line of `all`.  Tells how
// much better the best are.
static int best_of_n(const Writer *w, Buffer *best, Buffer *all) {
    double sum = 0, best_sum = 0;
    size_t empty = 0, chosen = 0;
    for (size_t first = 0, end; first < w->num_written; first = end) {
        // written[first .. end) are those of one prompt
        for (end = first; end < w->num_written; end++) {
            const Written *c = &w->written[end];
            if (c->prompt != w->written[first].prompt) break;
            sum += c->reward;
            empty += (size_t)c->empty;
            if (append_judged(all, w, c) < 0) return -1;
        }
        const Written *c = best_written(w, first, end);
        if (!c) continue;
        best_sum += c->reward;
        chosen++;
        if (append_judged(best, w, c) < 0) return -1;
    }
    if (!chosen) return fail(EX_DATAERR, "%s: every completion is empty", w->name);
    fprintf(stderr, "%d prompts, %zu completions, %zu of them empty; mean reward %.4f, of the best "
            "of %zu prompts %.4f\n", w->num_prompts, w->num_written, empty,
            sum / (double)w->num_written, chosen, best_sum / (double)chosen);
    return 0;
}

int command_bestof(void) {
    if (check_judging() < 0) return -1;
    if (!opt.out) return fail(EX_USAGE, "--out is needed");
    Writer w = {0};
    Buffer best = {0}, all = {0};
    const char *dir;
    split_model(opt.model.item[0], w.name, &dir);
    int result = -1;
    if (writer_write(&w, dir, opt.n, 0) < 0) goto done;
    if (judge_writers(&w, 1, NULL) < 0) goto done;
    if (best_of_n(&w, &best, &all) < 0) goto done;
    if (file_write(opt.out, best.data, best.len) < 0) goto done;
    if (opt.all && file_write(opt.all, all.data, all.len) < 0) goto done;
    result = 0;
done:
    writer_free(&w);
    buffer_free(&best);
    buffer_free(&all);
    return result;
}

// ------------------------------------------------------------------------- numbers of a writer

static int compare_grams(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// What is estimated of a writer; differences, wins, ties and losses are against the first writer.
enum { REWARD_MEAN, REWARD_DIFFERENCE, WINS, TIES, LOSSES, PERPLEXITY, ITEM_PERPLEXITY,
       LOG_PERPLEXITY_DIFFERENCE, KL, KL_PER_TOKEN, LOG_RATIO, LOG_RATIO_PER_TOKEN, TOKENS, ENDED,
       NUM_QUANTITIES };

// The numbers of a writer.
typedef struct {
    Estimate estimate[NUM_QUANTITIES];  // value NAN: there is none
    double distinct[2];                 // distinct-1, distinct-2
    Estimate preferred;                 // with --judge_labels, see estimate_preference
} Numbers;

// distinct-n (Li et al. 2016, arXiv:1510.03055): the different n-grams of tokens as a share of all
// of them, n 1 or 2; the end-of-text token is in none.  gram(drawn.num_tokens) is scratch.
static double distinct(const Writer *w, int n, uint64_t *gram) {
    size_t count = 0, different = 0;
    for (size_t i = 0; i < w->num_written; i++) {
        const Written *c = &w->written[i];
        const int *token = w->drawn.token + w->drawn.answer[i].tokens.start;
        const int len = c->tokens - (c->finish == FINISH_EOS);
        for (int k = 0; k + n <= len; k++) {
            const uint64_t second = n > 1 ? (uint64_t)token[k+1] : 0;
            gram[count++] = (uint64_t)token[k] << 32 | second;
        }
    }
    if (!count) return 0;
    qsort(gram, count, sizeof *gram, compare_grams);
    for (size_t k = 0; k < count; k++) {
        if (k == 0 || gram[k] != gram[k-1]) different++;
    }
    return (double)different / (double)count;
}

// Do both writers complete the prompt of completion i by the same text?
static int same_completion(const Writer *w, const Writer *first, size_t i) {
    const Written *a = &w->written[i], *b = &first->written[i];
    if (a->row_len != b->row_len) return 0;
    return memcmp(w->rows.data + a->row, first->rows.data + b->row, a->row_len) == 0;
}

// 1, 0.5 or 0: a win, a tie or a loss of completion i against the first writer's.  Identical texts
// and equal rewards are ties.
static double win_of(const Writer *w, const Writer *first, size_t i) {
    const double difference = w->written[i].reward - first->written[i].reward;
    if (difference == 0 || same_completion(w, first, i)) return 0.5;
    return difference > 0 ? 1 : 0;
}

/* A quantity is a ratio of two sums over items: of the items' values, see completion_value and
 * answer_value, and of their tokens or of ones.
 *
 *     perplexity        exp(sum of -log p / sum of tokens) of the file's good answers
 *     item_perplexity   the mean of each answer's own exp(-log p / tokens)
 *     kl                KL(pi || pi_ref) over texts, estimated on what pi wrote (pi itself at
 *                       temperature 1 without filters): the sum over a text's tokens of kl_term,
 *                       which is never negative.  By the chain rule its mean is the divergence of
 *                       texts: that of each token given those before it, added up
 *     log_ratio         the same by the plain mean of log pi - log pi_ref, which may be negative */
typedef struct {
    const char *name;                   // in --out
    int of_answers;                     // its items: the file's good answers, not the completions
    int per_token;                      // divided by the items' tokens, not by their number
    int exponentiated;
    int against_first;                  // none of the first writer itself
    int same_tokens;                    // none of a writer whose tokens are not the first's
    int needs_reference;                // none of a writer whose tokens are not the reference's
} Quantity;
static const Quantity quantities[] = {
    [REWARD_MEAN] = {.name = "reward"},
    [REWARD_DIFFERENCE] = {.name = "reward_difference", .against_first = 1},
    [WINS] = {.name = "win", .against_first = 1},
    [TIES] = {.name = "tie", .against_first = 1},
    [LOSSES] = {.name = "lose", .against_first = 1},
    [PERPLEXITY] = {.name = "perplexity", .of_answers = 1, .per_token = 1, .exponentiated = 1},
    [ITEM_PERPLEXITY] = {.name = "item_perplexity", .of_answers = 1},
    [LOG_PERPLEXITY_DIFFERENCE] = {.name = "log_perplexity_difference", .of_answers = 1,
                                   .per_token = 1, .against_first = 1, .same_tokens = 1},
    [KL] = {.name = "kl", .needs_reference = 1},
    [KL_PER_TOKEN] = {.name = "kl_per_token", .per_token = 1, .needs_reference = 1},
    [LOG_RATIO] = {.name = "log_ratio", .needs_reference = 1},
    [LOG_RATIO_PER_TOKEN] = {.name = "log_ratio_per_token", .per_token = 1, .needs_reference = 1},
    [TOKENS] = {.name = "tokens"},
    [ENDED] = {.name = "ended"},
};
_Static_assert(sizeof quantities / sizeof *quantities == NUM_QUANTITIES, "a row for each quantity");

// Is there this quantity of w, beside the first writer?
static int has_quantity(const Quantity *q, const Writer *w, const Writer *first) {
    if (q->of_answers && !w->answers.n) return 0;
    if (q->against_first && w == first) return 0;
    if (q->same_tokens && strcmp(w->tokenizer, first->tokenizer) != 0) return 0;
    return !q->needs_reference || w->has_reference;
}

// A quantity of completion i.
static double completion_value(int quantity, const Writer *w, const Writer *first, size_t i) {
    const Written *c = &w->written[i];
    switch (quantity) {
    case REWARD_MEAN:       return c->reward;
    case REWARD_DIFFERENCE: return c->reward - first->written[i].reward;
    case WINS:              return win_of(w, first, i) == 1;
    case TIES:              return win_of(w, first, i) == 0.5;
    case LOSSES:            return win_of(w, first, i) == 0;
    case KL:
    case KL_PER_TOKEN:      return c->kl;
    case LOG_RATIO:
    case LOG_RATIO_PER_TOKEN:
        return c->logp - c->ref_logp;
    case TOKENS:            return c->tokens;
    case ENDED:             return c->finish == FINISH_EOS || c->finish == FINISH_STOP;
    }
    assert(!"a quantity of answers");
    return NAN;
}

// A quantity of good answer i.
static double answer_value(int quantity, const Writer *w, const Writer *first, size_t i) {
    switch (quantity) {
    case PERPLEXITY:                return w->answer_nll[i];
    case ITEM_PERPLEXITY:           return more_exp(w->answer_nll[i] / w->answers.tokens[i]);
    case LOG_PERPLEXITY_DIFFERENCE: return w->answer_nll[i] - first->answer_nll[i];
    }
    assert(!"a quantity of completions");
    return NAN;
}

// x: of r what it was of log r; the error to first order
static void exponentiate(Estimate *x) {
    x->value = more_exp(x->value);
    x->error *= x->value;
    x->interval.low = more_exp(x->interval.low);
    x->interval.high = more_exp(x->interval.high);
}

// All estimates of w, and its distinct-n, to to. 0, or -1 after fail().
static int measure_writer(Numbers *to, const Writer *w, const Writer *first, uint64_t seed) {
    Items completions = {0};
    double *value = allocate(max_size(w->num_written, (size_t)w->answers.n), sizeof *value);
    uint64_t *gram = allocate(w->drawn.num_tokens + 1, sizeof *gram);
    int result = -1;
    if (!value || !gram) goto done;
    if (items_init(&completions, w->num_written) < 0) goto done;

    completions.n = (int)w->num_written;
    for (size_t i = 0; i < w->num_written; i++) {
        completions.tokens[i] = w->written[i].tokens;
        completions.prompt_id[i] = w->drawn.record[w->written[i].prompt].prompt_id;
    }

    for (int k = 0; k < NUM_QUANTITIES; k++) {
        const Quantity *q = &quantities[k];
        const Items *items = q->of_answers ? &w->answers : &completions;
        const double *tokens = q->per_token ? items->tokens : NULL;
        Estimate *x = &to->estimate[k];
        x->value = NAN;
        if (!has_quantity(q, w, first)) continue;
        for (size_t i = 0; i < (size_t)items->n; i++) {
            value[i] = q->of_answers ? answer_value(k, w, first, i)
                                     : completion_value(k, w, first, i);
        }
        if (estimate_ratio(x, value, tokens, items->prompt_id, items->n, seed) < 0) goto done;
        if (q->exponentiated) exponentiate(x);
    }
    for (int n = 1; n <= 2; n++) to->distinct[n-1] = distinct(w, n, gram);
    result = 0;
done:
    items_free(&completions);
    free(value);
    free(gram);
    return result;
}

// How often people would prefer what w wrote to what the first writer wrote.  0, or -1 after
// fail().
static int prefer_writer(Numbers *to, const Writer *w, const Writer *first, const Labelled *x) {
    const size_t n = w->num_written;
    double *difference = allocate(n, sizeof *difference);
    uint64_t *prompt_id = allocate(n, sizeof *prompt_id);
    int result = -1;
    if (!difference || !prompt_id) goto done;
    for (size_t i = 0; i < n; i++) {
        const int same = same_completion(w, first, i);
        difference[i] = same ? 0 : w->written[i].reward - first->written[i].reward;
        prompt_id[i] = w->drawn.record[w->written[i].prompt].prompt_id;
    }
    result = estimate_preference(&to->preferred, difference, prompt_id, (int)n, x->T,
                                 x->T_replicate, (uint64_t)opt.seed);
done:
    free(difference);
    free(prompt_id);
    return result;
}

// ---------------------------------------------------------------------------- tables and lines

// A column of the comparison: a quantity, alone, with its 95 % interval or with its standard error.
enum { ALONE, INTERVAL, ERROR };
typedef struct {
    const char *head;
    int quantity, with;
    int width, digits;
    int percent;
} Column;

// In panels, so that a line holds each number with its interval; the last has fewer columns, and
// distinct-n besides.
enum { NUM_PANELS = 4, PANEL_COLUMNS = 4, LAST_PANEL = NUM_PANELS - 1 };
static const Column panels[NUM_PANELS][PANEL_COLUMNS] = {
    {
        {.head = "reward (95 %)", .quantity = REWARD_MEAN, .with = INTERVAL,
         .width = 27, .digits = 3},
        {.head = "win % (95 %)", .quantity = WINS, .with = INTERVAL,
         .width = 21, .digits = 1, .percent = 1},
        {.head = "tie % (95 %)", .quantity = TIES, .with = INTERVAL,
         .width = 22, .digits = 1, .percent = 1},
        {.head = "lose % (95 %)", .quantity = LOSSES, .with = INTERVAL,
         .width = 21, .digits = 1, .percent = 1},
    },
    {
        {.head = "reward - first", .quantity = REWARD_DIFFERENCE, .with = ERROR,
         .width = 19, .digits = 3},
        {.head = "perplexity (95 %)", .quantity = PERPLEXITY, .with = INTERVAL,
         .width = 25, .digits = 2},
        {.head = "mean of texts' (95 %)", .quantity = ITEM_PERPLEXITY, .with = INTERVAL,
         .width = 27, .digits = 2},
        {.head = "log ppl - first", .quantity = LOG_PERPLEXITY_DIFFERENCE, .with = ERROR,
         .width = 20, .digits = 4},
    },
    {
        {.head = "KL a text (95 %)", .quantity = KL, .with = INTERVAL,
         .width = 23, .digits = 2},
        {.head = "KL a token (95 %)", .quantity = KL_PER_TOKEN, .with = INTERVAL,
         .width = 25, .digits = 4},
        {.head = "log pi/ref (95 %)", .quantity = LOG_RATIO, .with = INTERVAL,
         .width = 22, .digits = 2},
        {.head = "of a token", .quantity = LOG_RATIO_PER_TOKEN, .with = ERROR,
         .width = 20, .digits = 4},
    },
    {
        {.head = "tokens (95 %)", .quantity = TOKENS, .with = INTERVAL,
         .width = 24, .digits = 1},
        {.head = "ended %", .quantity = ENDED, .with = ALONE,
         .width = 10, .digits = 1, .percent = 1},
    },
};

// A number in its column, after a blank however long it is, or - where there is none.
static void print_cell(const Numbers *x, const Column *c) {
    const Estimate *e = &x->estimate[c->quantity];
    const double scale = c->percent ? 100 : 1, value = scale * e->value;
    const int digits = c->digits;
    char text[96];
    if (isnan(value)) {
        snprintf(text, sizeof text, "-");
    } else if (c->with == INTERVAL) {
        snprintf(text, sizeof text, "%.*f (%.*f .. %.*f)", digits, value, digits,
                 scale * e->interval.low, digits, scale * e->interval.high);
    } else if (c->with == ERROR) {
        snprintf(text, sizeof text, "%+.*f +- %.*f", digits, value, digits, scale * e->error);
    } else {
        snprintf(text, sizeof text, "%.*f", digits, value);
    }
    printf(" %*s", c->width - 1, text);
}

// A panel: the heads of its columns, then a line for each writer.
static void print_panel(int panel, const Writer *writer, const Numbers *numbers, int n) {
    const Column *column = panels[panel];
    int columns = 0;
    while (columns < PANEL_COLUMNS && column[columns].head) columns++;
    printf("\n%-16s", "");
    for (int k = 0; k < columns; k++) printf("%*s", column[k].width, column[k].head);
    if (panel == LAST_PANEL) printf("%12s", "distinct");
    printf("\n");
    for (int i = 0; i < n; i++) {
        const Numbers *x = &numbers[i];
        printf("%-16.16s", writer[i].name);
        for (int k = 0; k < columns; k++) print_cell(x, &column[k]);
        if (panel == LAST_PANEL) printf(" %.3f %.3f", x->distinct[0], x->distinct[1]);
        printf("\n");
    }
}

// What is compared, and the panels.
static void print_comparison(const Writer *writer, const Numbers *numbers, int n,
                             const char *reference) {
    static const char *const answers[] = {
        [DATA_COMPLETION] = "answers",
        [DATA_PAIR] = "chosen answers",
        [DATA_POINT] = "answers with the label true, or a score above the mean,",
    };
    printf("%d prompts of %s, one completion each; rewards by", writer->num_prompts, opt.prompts);
    for (int i = 0; i < opt.judge.n; i++) printf(" %s", opt.judge.item[i]);
    printf("\n");
    printf("first is %s; KL is to %s", writer->name, reference);
    if (writer->answers.n) {
        printf("; perplexity of %d %s of the file", writer->answers.n, answers[writer->kind]);
    }
    printf("\n");
    for (int panel = 0; panel < NUM_PANELS; panel++) print_panel(panel, writer, numbers, n);
}

// Of what people would prefer, if the judge errs on these texts as on those that they have judged.
static void print_preferences(const Writer *writer, const Numbers *numbers, int n, Labelled *x) {
    const Interval T = percentile_interval(x->T_replicate, REPLICATES);
    double right = 0;
    for (int i = 0; i < x->n; i++) right += correctness(x->delta[i]);
    printf("\nof %d pairs of %s the judge is right on %.1f %%", x->n, opt.judge_labels,
           100 * right / x->n);
    if (x->T <= 1 / TEMPERATURE_MAX || x->T >= TEMPERATURE_MAX) {
        printf(", which gives no temperature: --judge_labels needs pairs on some of which it is "
               "wrong, and on more of which it is right\n");
        return;
    }
    printf(": its temperature is %.3g (%.3g .. %.3g)\npeople would prefer, by that, to %s\n", x->T,
           T.low, T.high, writer->name);
    for (int i = 1; i < n; i++) {
        const Estimate *e = &numbers[i].preferred;
        printf("%-16.16s %5.1f %% (%.1f .. %.1f)\n", writer[i].name, 100 * e->value,
               100 * e->interval.low, 100 * e->interval.high);
    }
}

// Completion i of w as a line of --out; name is quoted.
static int append_completion(Buffer *out, const Writer *w, const Writer *first, size_t i,
                             const char *name) {
    const Written *c = &w->written[i];
    const size_t line = w->drawn.record[c->prompt].line;
    if (buffer_append(out, w->rows.data + c->row, c->row_len) < 0) return -1;
    if (buffer_printf(out, ",\"event\":\"completion\",\"model\":%s,\"line\":%zu,\"reward\":%.9g,"
                      "\"tokens\":%d,\"finish\":\"%s\",\"logp\":%.17g", name, line, c->reward,
                      c->tokens, finish_name[c->finish], c->logp) < 0) {
        return -1;
    }
    if (w->has_reference && buffer_printf(out, ",\"ref_logp\":%.17g,\"kl\":%.9g",
                                          c->ref_logp, c->kl) < 0) {
        return -1;
    }
    if (w != first && buffer_printf(out, ",\"win\":%g", win_of(w, first, i)) < 0) return -1;
    return buffer_printf(out, "}\n");
}

// The numbers of w as a line of --out; name is quoted.
static int append_numbers(Buffer *out, const Numbers *numbers, const Writer *w, const char *name) {
    int empty = 0;
    for (size_t i = 0; i < w->num_written; i++) empty += w->written[i].empty;
    if (buffer_printf(out, "{\"event\":\"compare\",\"model\":%s,\"prompts\":%zu,\"empty\":%d,"
                      "\"answers\":%d,\"distinct_1\":%.9g,\"distinct_2\":%.9g", name,
                      w->num_written, empty, w->answers.n, numbers->distinct[0],
                      numbers->distinct[1]) < 0) {
        return -1;
    }
    for (int k = 0; k < NUM_QUANTITIES; k++) {
        const Estimate *x = &numbers->estimate[k];
        const char *key = quantities[k].name;
        if (isnan(x->value)) continue;
        if (buffer_printf(out, ",\"%s\":%.9g,\"%s_error\":%.9g,\"%s_95\":[%.9g,%.9g]", key,
                          x->value, key, x->error, key, x->interval.low, x->interval.high) < 0) {
            return -1;
        }
    }
    return buffer_printf(out, "}\n");
}

// All lines of w in --out: its completions, then its numbers.
static int append_writer(Buffer *out, const Numbers *numbers, const Writer *w,
                         const Writer *first) {
    Buffer name = {0};
    int result = -1;
    if (json_quote(&name, w->name, strlen(w->name)) < 0) goto done;
    for (size_t i = 0; i < w->num_written; i++) {
        if (append_completion(out, w, first, i, name.data) < 0) goto done;
    }
    result = append_numbers(out, numbers, w, name.data);
done:
    buffer_free(&name);
    return result;
}

// -------------------------------------------------------------------------------- more compare

// One completion of each prompt by each model of --model.
static int write_all(Writer *writer) {
    for (int i = 0; i < opt.model.n; i++) {
        const char *dir;
        split_model(opt.model.item[i], writer[i].name, &dir);
        if (writer_write(&writer[i], dir, 1, 1) < 0) return -1;
        if (writer[i].num_prompts != writer[0].num_prompts) {
            return fail(EX_DATAERR, "%s: other prompts than of %s", writer[i].name, writer[0].name);
        }
    }
    return 0;
}

// The log-probabilities under the model in dir of what the writers with the same tokens wrote.
static int refer_all(Writer *writer, int n, const char *dir) {
    Model m = {0};
    Tokenizer t = {0};
    char tokenizer[65];
    int result = -1;
    if (load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL, opt.max_length) < 0) goto done;
    if (tokenizer_identity(tokenizer, dir) < 0) goto done;
    for (int i = 0; i < n; i++) {
        if (strcmp(tokenizer, writer[i].tokenizer) != 0) continue;
        if (writer_refer(&writer[i], &m, t.eos) < 0) goto done;
    }
    result = 0;
done:
    model_free(&m);
    tokenizer_free(&t);
    return result;
}

// Before hours of writing: is there a language model to measure KL to?  0, or -1 after fail().
static int check_reference(const char *dir) {
    char why[sizeof error_text];
    Config c;
    if (config_load(&c, dir) < 0) {
        if (opt.reference) return -1;
        snprintf(why, sizeof why, "%s", error_text);
        return fail(error_code, "%.900s; KL is measured to the first of --model, or to --reference",
                    why);
    }
    if (!c.reward) return 0;
    return fail(EX_DATAERR, "%s: a reward model, which predicts no tokens; KL is measured to a "
                "language model: name one with --reference", dir);
}

// Before hours of writing: is there memory for each policy, and for the reference?  0, or -1 after
// fail().
static int writers_room(const char *reference) {
    for (int i = 0; i < opt.model.n; i++) {
        char name[64];
        const char *dir;
        split_model(opt.model.item[i], name, &dir);
        if (writer_room(dir) < 0) return -1;
    }
    return load_room(reference, LOAD_LANGUAGE_MODEL);
}

// The folder of --reference, or else of the first model.
static const char *reference_folder(void) {
    char name[64];
    const char *dir = opt.reference;
    if (!dir) split_model(opt.model.item[0], name, &dir);
    return dir;
}

int command_compare(void) {
    if (check_judging() < 0 || names_differ(&opt.model) < 0) return -1;
    const List prompts = {.item = {opt.prompts}, .n = 1};
    if (refuse_streams(&prompts, "compare, for each policy, reads") < 0) return -1;
    const char *reference = reference_folder();
    if (check_reference(reference) < 0 || writers_room(reference) < 0) return -1;
    const int n = opt.model.n;
    Buffer out = {0};
    Labelled labelled = {.n = 0};
    Writer *writer = allocate((size_t)n, sizeof *writer);
    Numbers *numbers = allocate((size_t)n, sizeof *numbers);
    const Writer *first = writer;
    int result = -1;
    if (!writer || !numbers) goto done;
    if (write_all(writer) < 0) goto done;

    if (refer_all(writer, n, reference) < 0) goto done;
    if (judge_writers(writer, n, opt.judge_labels ? &labelled : NULL) < 0) goto done;

    for (int i = 0; i < n; i++) {
        if (measure_writer(&numbers[i], &writer[i], first, (uint64_t)opt.seed) < 0) goto done;
        if (labelled.n && i && prefer_writer(&numbers[i], &writer[i], first, &labelled) < 0) {
            goto done;
        }
        if (opt.out && append_writer(&out, &numbers[i], &writer[i], first) < 0) goto done;
    }
    print_comparison(writer, numbers, n, reference);
    if (labelled.n) print_preferences(writer, numbers, n, &labelled);
    if (opt.out && file_write(opt.out, out.data, out.len) < 0) goto done;
    result = 0;
done:
    for (int i = 0; writer && i < n; i++) writer_free(&writer[i]);
    free(writer);
    free(numbers);
    labelled_free(&labelled);
    buffer_free(&out);
    return result;
}
#endif

/* score.c - more score: rows of JSON with what a model says of their answers.
 *
 * A reward model gives rewards; a language model the log-probability of each answer after its
 * prompt, which to the last bit is what sample drew by and what training sees, and with --tokens
 * that of each token.  Of a conversation the answer is all turns of the assistant, as train sft
 * imitates them; what --max_length parts into several records is one row again here.             */
#ifndef SCORE_C
#define SCORE_C
#include "features.c"
#include "mixture.c"
#include "../calibration.c"

int command_score(void);          // the rows of standard input to standard output, with more keys

// What a model says of standard input.
typedef struct {
    const Tokenizer *tokenizer;
    Dataset data;
    double *value;                // (num_answers) rewards, or log-probabilities
    float *token_logp;            // as evaluate_tokens has it; NULL: not asked for
    Config config;                // of a reward model: its calibration
} ScoredRows;

// "probability" of a pair's chosen answer, or "probabilities" of the answers of a ranking, softmax
// of r / T: how probable each is the best.
static int append_probabilities(Buffer *out, const ScoredRows *s, const Record *r) {
    const double *x = s->value + r->first;
    const Config *c = &s->config;
    double best = x[0], sum = 0;
    if (s->data.kind == DATA_PAIR) {
        return buffer_printf(out, ",\"probability\":%.9g", sigmoid(calibrated(c, x[0] - x[1])));
    }
    for (int k = 1; k < r->count; k++) best = fmax(best, x[k]);
    for (int k = 0; k < r->count; k++) sum += more_exp(calibrated(c, x[k] - best));
    if (buffer_printf(out, ",\"probabilities\":[") < 0) return -1;
    for (int k = 0; k < r->count; k++) {
        const double p = more_exp(calibrated(c, x[k] - best)) / sum;
        if (buffer_printf(out, "%s%.9g", k ? "," : "", p) < 0) return -1;
    }
    return buffer_printf(out, "]");
}

// scores_chosen, scores_rejected and results (1, 0.5 or 0) of a pair, reward of one answer, rewards
// of several.
static int append_rewards(Buffer *out, const ScoredRows *s, const Record *r) {
    const double *x = s->value + r->first;
    if (s->data.kind == DATA_PAIR) {
        double result = 0;
        if (x[0] > x[1]) result = 1;
        if (x[0] == x[1]) result = 0.5;
        return buffer_printf(out, ",\"scores_chosen\":%.9g,\"scores_rejected\":%.9g,"
                             "\"results\":%g", x[0], x[1], result);
    }
    if (r->count == 1) return buffer_printf(out, ",\"reward\":%.9g", x[0]);
    if (buffer_printf(out, ",\"rewards\":[") < 0) return -1;
    for (int k = 0; k < r->count; k++) {
        if (buffer_printf(out, "%s%.9g", k ? "," : "", x[k]) < 0) return -1;
    }
    return buffer_printf(out, "]");
}

// How many records, from r on, are r's row.
static int parts_of(const Dataset *d, const Record *r) {
    const Record *end = d->record + d->num_records, *next = r + 1;
    while (next < end && next->part > 1) next++;
    return (int)(next - r);
}

// What is said of answer k of a row, of all its parts, as a JSON value.
typedef int AppendValue(Buffer *out, const ScoredRows *s, const Record *r, int k);

static int append_logp(Buffer *out, const ScoredRows *s, const Record *r, int k) {
    const Record *end = r + parts_of(&s->data, r);
    double sum = 0;
    for (; r < end; r++) sum += s->value[r->first + k];
    return buffer_printf(out, "%.17g", sum);
}

static int append_count(Buffer *out, const ScoredRows *s, const Record *r, int k) {
    const Record *end = r + parts_of(&s->data, r);
    int tokens = 0;
    for (; r < end; r++) tokens += scored_tokens(&s->data, r, k);
    return buffer_printf(out, "%d", tokens);
}

// A token with a comma behind it.
static int append_one_token(Buffer *out, const Tokenizer *t, int id, float logp) {
    const int known = id >= 0 && id < t->vocab_size;
    const char *piece = known ? tokenizer_piece(t, id) : "";
    const size_t len = known ? tokenizer_piece_len(t, id) : 0;
    if (buffer_printf(out, "{\"id\":%d,\"piece\":", id) < 0) return -1;
    if (json_quote(out, piece, len) < 0) return -1;
    return buffer_printf(out, ",\"logp\":%.9g},", (double)logp);
}

// Those tokens of answer k of a record that have a log-probability (scored_tokens), in order.  Of a
// gap its first row's is that of the end of the turn before.
static int append_tokens_of(Buffer *out, const ScoredRows *s, const Record *r, int k) {
    const Dataset *d = &s->data;
    const Tokenizer *t = s->tokenizer;
    const int number = r->first + k;
    const Answer *a = &d->answer[number];
    const float *end_logp = s->token_logp + d->num_tokens;
    const Span *gap = d->gap + a->first_gap, *last_gap = gap + a->num_gaps;
    int i = r->prompt.len == 0;
    while (i < a->tokens.len) {
        const size_t at = a->tokens.start + (size_t)i;
        const int is_gap = gap < last_gap && at == gap->start;
        const int id = is_gap ? t->eos : d->token[at];
        if (append_one_token(out, t, id, s->token_logp[at]) < 0) return -1;
        i += is_gap ? gap->len : 1;
        gap += is_gap;
    }
    return a->cut ? 0 : append_one_token(out, t, t->eos, end_logp[number]);
}

// The same of all parts of a row; their sum is the answer's log-probability.
static int append_token_logps(Buffer *out, const ScoredRows *s, const Record *r, int k) {
    const Record *end = r + parts_of(&s->data, r);
    if (buffer_printf(out, "[") < 0) return -1;
    for (; r < end; r++) {
        if (append_tokens_of(out, s, r, k) < 0) return -1;
    }
    if (out->data[out->len - 1] == ',') out->len--;
    return buffer_printf(out, "]");
}

// A member for each answer of a pair, SEVERAL_chosen and SEVERAL_rejected; of one answer one, of a
// ranking a list.
static int append_members(Buffer *out, const ScoredRows *s, const Record *r, const char *one,
                          const char *several, AppendValue *append) {
    static const char *const side[2] = {"chosen", "rejected"};
    const int pair = s->data.kind == DATA_PAIR, list = !pair && r->count > 1;
    if (!pair && buffer_printf(out, ",\"%s\":%s", list ? several : one, list ? "[" : "") < 0) {
        return -1;
    }
    for (int k = 0; k < r->count; k++) {
        if (pair && buffer_printf(out, ",\"%s_%s\":", several, side[k]) < 0) return -1;
        if (list && k && buffer_printf(out, ",") < 0) return -1;
        if (append(out, s, r, k) < 0) return -1;
    }
    return buffer_printf(out, list ? "]" : "");
}

// logp and tokens of one answer, and with --tokens token_logps.
static int append_logps(Buffer *out, const ScoredRows *s, const Record *r) {
    if (append_members(out, s, r, "logp", "logps", append_logp) < 0) return -1;
    if (append_members(out, s, r, "tokens", "tokens", append_count) < 0) return -1;
    if (!s->token_logp) return 0;
    return append_members(out, s, r, "token_logps", "token_logps", append_token_logps);
}

// All rows to standard output, each with what the model says of it; what an earlier score said
// under the same keys is replaced.
static int print_scores(const ScoredRows *s, int rewards) {
    const Dataset *d = &s->data;
    Buffer row = {0}, said = {0};
    int result = -1;
    for (const Record *r = d->record; r < d->record + d->num_records; r += parts_of(d, r)) {
        row.len = 0;
        said.len = 0;
        if (rewards && append_rewards(&said, s, r) < 0) goto done;
        if (opt.probability && append_probabilities(&said, s, r) < 0) goto done;
        if (!rewards && append_logps(&said, s, r) < 0) goto done;
        if (dataset_row_without(&row, d, r, said.data) < 0) goto done;
        printf("%s%s}\n", row.data, said.data);
    }
    if (fflush(stdout) || ferror(stdout)) {
        fail(EX_IOERR, "standard output: could not be written");
        goto done;
    }
    result = 0;
done:
    buffer_free(&row);
    buffer_free(&said);
    return result;
}

// What is not finite is no JSON number, and of no use.
static int check_finite(const ScoredRows *s) {
    const Dataset *d = &s->data;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int a = r->first; a < r->first + r->count; a++) {
            if (isfinite(s->value[a])) continue;
            return fail(EX_DATAERR, "standard input:%zu: what the model gives is not a finite "
                        "number; are its weights?", r->line);
        }
    }
    return 0;
}

// A document begins after an end of text, as in `train lm`: that is its prompt.
static int begin_documents(Dataset *d, int eos) {
    if (d->kind != DATA_DOCUMENT) return 0;
    if (reserve(&d->token, &d->token_capacity, d->num_tokens + 1, sizeof *d->token) < 0) return -1;
    const Span prompt = {d->num_tokens, 1};
    d->token[d->num_tokens++] = eos;
    for (size_t i = 0; i < d->num_records; i++) d->record[i].prompt = prompt;
    return 0;
}

// --probability: are there answers to choose among, and a calibration that can?  0, or -1 after
// fail().
static int check_probability(const ScoredRows *s) {
    const int kind = s->data.kind;
    if (!opt.probability) return 0;
    if (kind != DATA_PAIR && kind != DATA_RANKING) {
        return fail_kind(&s->data, "--probability is of pairs and rankings: which answer is best");
    }
    if (kind == DATA_RANKING && s->config.isotonic.n) {
        return fail(EX_USAGE, "--probability: an isotonic map is for two answers, and these are "
                    "rankings; more calibrate without --isotonic leaves a temperature alone");
    }
    if (!is_calibrated(&s->config) && !opt.quiet) {
        fprintf(stderr, "not calibrated: the rewards are taken as log-odds; see more calibrate\n");
    }
    return 0;
}

// On standard error: what was read and what it gets, and what has no log-probability.
static int report_rows(const Dataset *d, int rewards) {
    Buffer report = {0};
    size_t alone = 0;
    if (opt.quiet) return 0;
    for (size_t i = 0; i < d->num_records && d->kind != DATA_DOCUMENT; i++) {
        alone += d->record[i].prompt.len == 0;
    }
    int result = dataset_report(d, &report);
    if (result == 0 && !rewards) result = dataset_report_turns(d, &report);
    if (result == 0) fprintf(stderr, "%s", report.data);
    if (result == 0 && !rewards) fprintf(stderr, "a language model: log-probabilities\n");
    if (result == 0 && !rewards && alone) {
        fprintf(stderr, "%zu rows without a prompt: the first token of their answers has no "
                "log-probability\n", alone);
    }
    buffer_free(&report);
    return result;
}

// Is the folder to give rewards (1), or log-probabilities (0)?  -1 after fail().
static int gives_rewards(const char *dir) {
    Config c;
    if (config_load(&c, dir) < 0) return -1;
    const int rewards = c.reward || opt.raw_head >= 0;
    if (rewards && opt.tokens) {
        return fail(EX_USAGE, "--tokens: a reward model has one number for a text, none for its "
                    "tokens; give a language model");
    }
    if (!rewards && opt.probability) {
        return fail(EX_USAGE, "--probability: %s is a language model, which says how probable a "
                    "text is, not whether it is better; give a reward model", dir);
    }
    if (!rewards && opt.pooling >= 0) {
        return fail(EX_USAGE, "--pooling: %s is a language model, which has no reward to read; "
                    "--raw_head SEED gives it a random head", dir);
    }
    if (rewards && opt.train_turns != NOT_CHOSEN) {
        return fail(EX_USAGE, "--train_turns: a reward model reads one reward, at the end of a "
                    "conversation; give a language model");
    }
    return rewards;
}

// The same by a reward model of features: what only models of texts have is refused.  A line of
// names stays, which the lists of the rows need.
static int score_features(const char *dir) {
    FeatureNet net;
    ScoredRows s = {.tokenizer = NULL};
    Dataset *d = &s.data;
    int result = -1;
    if (opt.tokens || opt.pooling >= 0 || opt.raw_head >= 0 || opt.train_turns != NOT_CHOSEN) {
        return fail(EX_USAGE, "--tokens, --pooling, --raw_head and --train_turns are of models of "
                    "texts; %s reads features", dir);
    }
    if (features_read(&net, d, dir, "-", 1) < 0) goto done;
    if (report_rows(d, 1) < 0 || check_probability(&s) < 0) goto done;
    s.value = allocate(d->num_answers, sizeof *s.value);
    if (!s.value) goto done;
    feature_rewards(&net, d, s.value);
    if (check_finite(&s) < 0) goto done;
    if (d->listed.n) {
        const char *names = d->contents.data + strspn(d->contents.data, "\xef\xbb\xbf \t\r\n");
        printf("%.*s\n", (int)strcspn(names, "\r\n"), names);
    }
    result = print_scores(&s, 1);
done:
    feature_net_free(&net);
    dataset_free(d);
    free(s.value);
    return result;
}

// Rows of standard input to standard output, what was read to standard error.
int command_score(void) {
    Mixture mixture;
    Model m = {0};
    Tokenizer t = {0};
    ScoredRows s = {.tokenizer = &t};
    Dataset *d = &s.data;
    DataOptions o = data_options();
    int result = -1;
    o.as_given = 1;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    if (feature_folder_is(opt.model.item[0])) return score_features(opt.model.item[0]);
    if (mixture_open(&mixture, opt.model.item[0]) < 0) goto done;
    const char *dir = mixture.folder[0];
    const int rewards = gives_rewards(dir);
    if (rewards < 0) goto done;
    if (rewards && mixture.n > 1) {
        fail(EX_USAGE, "--raw_head: %s is a mixture of policies, which has no reward",
             opt.model.item[0]);
        goto done;
    }
    o.all_turns = !rewards && opt.train_turns != TURNS_LAST;
    const int kind = rewards ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    if (load_model(&m, &t, dir, kind, opt.max_length) < 0) goto done;
    if (dataset_load(d, "-", &t, &o) < 0) goto done;
    if (report_rows(d, rewards) < 0) goto done;
    if (d->kind == DATA_PROMPT) {
        fail(EX_DATAERR, "standard input: prompts without answers have no %s",
             rewards ? "reward" : "log-probability");
        goto done;
    }

    s.config = m.config;
    if (check_probability(&s) < 0) goto done;
    if (!rewards && begin_documents(d, t.eos) < 0) goto done;
    if (evaluate_room(&m, d, opt.quiet) < 0) goto done;
    s.value = allocate(d->num_answers, sizeof *s.value);
    if (!s.value) goto done;
    if (opt.tokens) {
        s.token_logp = allocate(d->num_tokens + d->num_answers, sizeof *s.token_logp);
        if (!s.token_logp) goto done;
    }
    if (mixture_tokens(&mixture, &m, t.eos, d, s.value, s.token_logp) < 0) goto done;
    if (check_finite(&s) < 0) goto done;
    result = print_scores(&s, rewards);
done:
    mixture_free(&mixture);
    model_free(&m);
    tokenizer_free(&t);
    dataset_free(d);
    free(s.value);
    free(s.token_logp);
    return result;
}
#endif

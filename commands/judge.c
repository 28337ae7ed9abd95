/* judge.c - more judge: rows with numbers that say something of their answers, for `train features`
 * and for whoever wants to see what annotators may have looked at.
 *
 *     --features a,b,c         those of text_features.c: they need no model, but for perplexity
 *     --rubrics FILE.txt ...   a language model is asked for a score: scoring.c
 *
 * The rows of --eval go to --out with one key more,
 *
 *     "features":{"chosen":{"length":61,"relevance":4.5},"rejected":{...}}      of a pair
 *     "features":[{...},{...}]                                                  of a ranking
 *     "features":{...}                                                          of one answer
 *
 * and keep those that they have under it.  Before them stands a line of names and ranges, as
 * row_features.c reads it:
 *
 *     {"feature_names":["length","relevance"],"feature_range":[[0,1000],[0,5]]}                  */
#ifndef JUDGE_C
#define JUDGE_C
#include "scoring.c"
#include "../row_features.c"
#include "../vocabulary.c"

int  command_judge(void);

typedef struct {
    FeatureNames features;                          // of the table, then the rubrics'
    int which[MAX_FEATURES], num_text;              // the table's rows; how many
    Scoring scoring;                                // the rubrics

    Dataset data;                                   // as bytes
    Tokenizer bytes;
    Buffer text;                                    // prompts, answers, references of all rows
    FeatureTexts *texts;                            // (num_answers)
    double *value;                                  // (num_answers, n)
    size_t left_out;                                // rows
} JudgedRows;

// The features of an answer, by its number in the data.
static double *values_of(const JudgedRows *x, int answer) {
    return x->value + (size_t)answer * (size_t)x->features.n;
}

static void judged_rows_free(JudgedRows *x) {
    scoring_free(&x->scoring);
    dataset_free(&x->data);
    tokenizer_free(&x->bytes);
    buffer_free(&x->text);
    free(x->texts);
    free(x->value);
}

// ------------------------------------------------------------------------------- what is asked for

// The names of --features.
static int choose_text_features(JudgedRows *x) {
    FeatureNames *f = &x->features;
    if (!opt.features) return 0;
    if (feature_names_parse(f, opt.features) < 0) return -1;
    x->num_text = f->n;
    for (int i = 0; i < f->n; i++) {
        x->which[i] = text_feature_find(f->name[i]);
        if (x->which[i] >= 0) continue;
        return fail(EX_USAGE, "--features: there is no \"%s\"; more judge --help lists them",
                    f->name[i]);
    }
    feature_ranges_counted(f);
    return 0;
}

// Does a feature need a model (NEEDS_MODEL) or a reference?
static int text_features_need(const JudgedRows *x, FeatureNeed need) {
    for (int i = 0; i < x->num_text; i++) {
        if (text_feature_table[x->which[i]].need == need) return 1;
    }
    return 0;
}

// All features and their names.
static int choose_features(JudgedRows *x) {
    x->scoring.cache = -1;
    if (!opt.features && !opt.rubrics.n) {
        return fail(EX_USAGE, "--features or --rubrics is needed: what is to be said of answers");
    }
    if (choose_text_features(x) < 0) return -1;
    if (opt.rubrics.n && scoring_rubrics(&x->scoring, &opt.rubrics) < 0) return -1;
    for (int r = 0; r < x->scoring.n; r++) {
        FeatureNames *f = &x->features;
        const char *name = x->scoring.rubric[r].name;
        if (feature_name_add(f, name, strlen(name), "--rubrics") < 0) {
            error_code = EX_USAGE;
            return -1;
        }
        f->low[f->n - 1] = 0;
        f->high[f->n - 1] = SCORE_MAX;
    }
    return 0;
}

// Does the command line have what these features need, and nothing else?
static int check_judging_options(const JudgedRows *x) {
    const int model = opt.rubrics.n || text_features_need(x, NEEDS_MODEL);
    if (model && !opt.model.n) {
        return fail(EX_USAGE, "--model is needed: a language model%s",
                    opt.rubrics.n ? " to be asked" : ", whose perplexity is a feature");
    }
    if (!model && opt.model.n) {
        return fail(EX_USAGE, "--model: no feature that is asked for needs one; add --rubrics, or "
                    "leave it out");
    }
    if (opt.eval.n != 1 || !opt.out) return fail(EX_USAGE, "--eval FILE and --out are needed");
    if (text_features_need(x, NEEDS_MODEL)) {
        if (refuse_streams(&opt.eval, "for perplexity judge reads") < 0) return -1;
    }
    if (!opt.rubrics.n && opt.cache) {
        return fail(EX_USAGE, "--cache says nothing without --rubrics");
    }
    if (opt.rubrics.n && !opt.cache && is_standard_output(opt.out)) {
        return fail(EX_USAGE, "--cache FILE is needed where --out is standard output");
    }
    if (opt.cache && !strcmp(opt.cache, opt.out)) {
        return fail(EX_USAGE, "--out and --cache are both %s", opt.out);
    }
    return file_check(opt.out);
}

// ------------------------------------------------------------------------------------ the answers

// Where a text stands in JudgedRows.text.
typedef struct {
    size_t start, len;
} TextPlace;

// Appends the tokens of a span, which are bytes.
static int keep_span(JudgedRows *x, TextPlace *p, Span s) {
    const int *token = x->data.token + s.start;
    p->start = x->text.len;
    if (tokenizer_decode(&x->bytes, token, (size_t)s.len, &x->text) < 0) return -1;
    p->len = x->text.len - p->start;
    return 0;
}

// Appends the row's "reference", which must be a text.
static int keep_reference(JudgedRows *x, TextPlace *p, const Record *r, Json *j) {
    const Dataset *d = &x->data;
    j->first_line = r->line;
    if (json_parse(j, d->contents.data + r->line_start, r->line_len, d->path) < 0) return -1;
    const int v = json_get(j, 0, "reference");
    if (json_type(j, v) != JSON_STRING) {
        return fail(EX_DATAERR, "%s:%zu: no \"reference\", a text, which ROUGE compares an answer "
                    "with", d->path, r->line);
    }
    *p = (TextPlace){.start = x->text.len, .len = json_length(j, v)};
    return buffer_append(&x->text, json_string(j, v), json_length(j, v));
}

// The texts of all answers, from places that a growing buffer does not move.
static void set_texts(JudgedRows *x, const TextPlace *prompt, const TextPlace *answer,
                      const TextPlace *reference) {
    const char *s = x->text.data ? x->text.data : "";
    for (size_t i = 0; i < x->data.num_answers; i++) {
        x->texts[i] = (FeatureTexts){
            .prompt = s + prompt[i].start, .prompt_len = prompt[i].len,
            .answer = s + answer[i].start, .answer_len = answer[i].len,
            .reference = reference ? s + reference[i].start : NULL,
            .reference_len = reference ? reference[i].len : 0,
        };
    }
}

// Reads the rows, each byte of their texts a token, so that no text changes.
static int read_rows_as_bytes(JudgedRows *x) {
    DataOptions o = data_options();
    o.max_length = 0;
    o.max_prompt_length = 0;
    o.as_given = 1;
    if (tokenizer_of_bytes(&x->bytes) < 0) return -1;
    if (dataset_load(&x->data, opt.eval.item[0], &x->bytes, &o) < 0) return -1;
    const enum DataKind kind = x->data.kind;
    if (kind == DATA_PROMPT || kind == DATA_DOCUMENT) {
        return fail(EX_DATAERR, "%s: %s rows; features are of answers to prompts", x->data.path,
                    data_kind_name[kind]);
    }
    return 0;
}

// 0, or -1 after fail().
static int read_answer_texts(JudgedRows *x) {
    if (read_rows_as_bytes(x) < 0) return -1;
    const Dataset *d = &x->data;
    const int with_reference = text_features_need(x, NEEDS_REFERENCE);
    TextPlace *prompt = allocate(d->num_answers, sizeof *prompt);
    TextPlace *answer = allocate(d->num_answers, sizeof *answer);
    TextPlace *reference = allocate(d->num_answers, sizeof *reference);
    Json json = {0};
    int result = -1;
    x->texts = allocate(d->num_answers, sizeof *x->texts);
    x->value = allocate(d->num_answers * (size_t)x->features.n, sizeof *x->value);
    if (!prompt || !answer || !reference || !x->texts || !x->value) goto done;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        TextPlace p, q = {0};
        if (keep_span(x, &p, dataset_prompt(d, r)) < 0) goto done;
        if (with_reference && keep_reference(x, &q, r, &json) < 0) goto done;
        for (int a = r->first; a < r->first + r->count; a++) {
            prompt[a] = p;
            reference[a] = q;
            if (keep_span(x, &answer[a], d->answer[a].tokens) < 0) goto done;
        }
    }
    set_texts(x, prompt, answer, with_reference ? reference : NULL);
    result = 0;
done:
    free(prompt);
    free(answer);
    free(reference);
    json_free(&json);
    return result;
}

// ------------------------------------------------------------------------------------- the numbers

// Those of text_features.c that need no model, column by column as they were asked for.
static int compute_text_features(JudgedRows *x) {
    int which[MAX_FEATURES], column[MAX_FEATURES], n = 0;
    double value[MAX_FEATURES];
    for (int i = 0; i < x->num_text; i++) {
        if (text_feature_table[x->which[i]].need == NEEDS_MODEL) continue;
        which[n] = x->which[i];
        column[n++] = i;
    }
    for (size_t a = 0; n && a < x->data.num_answers; a++) {
        if (text_features_compute(value, which, n, &x->texts[a]) < 0) return -1;
        for (int i = 0; i < n; i++) values_of(x, (int)a)[column[i]] = value[i];
    }
    return 0;
}

// -log p a token, or its exponential, of a text of so many tokens; NaN: none of them has one.
static double model_feature(const TextFeature *f, double logp, int tokens) {
    const int is_perplexity = !strcmp(f->name, "perplexity");
    const double nll = tokens ? -logp / tokens : NAN;
    const double value = is_perplexity ? more_exp(nll) : nll;
    return value > f->high ? f->high : value;
}

// Those that a language model says: of the rows as `more score` reads them.
static int compute_model_features(JudgedRows *x, Model *m, const Tokenizer *t) {
    Dataset d = {0};
    double *logp = NULL;
    DataOptions o = data_options();
    int result = -1;
    o.as_given = 1;
    if (dataset_load(&d, opt.eval.item[0], t, &o) < 0) goto done;
    if (d.num_answers != x->data.num_answers || d.num_records != x->data.num_records) {
        fail(EX_DATAERR, "%s: %zu rows without tokens of this model; correct them", d.path,
             x->data.num_records - d.num_records);
        goto done;
    }
    logp = allocate(d.num_answers, sizeof *logp);
    if (!logp || evaluate_texts(m, t->eos, &d, logp) < 0) goto done;
    for (const Record *r = d.record; r < d.record + d.num_records; r++) {
        for (int k = 0; k < r->count; k++) {
            const int a = r->first + k, tokens = scored_tokens(&d, r, k);
            if (!isfinite(logp[a])) {
                fail(EX_DATAERR, "%s:%zu: the log-probability of answer %d is not finite: are the "
                     "model's weights?", d.path, r->line, k + 1);
                goto done;
            }
            for (int i = 0; i < x->num_text; i++) {
                const TextFeature *f = &text_feature_table[x->which[i]];
                if (f->need == NEEDS_MODEL) values_of(x, a)[i] = model_feature(f, logp[a], tokens);
            }
        }
    }
    result = 0;
done:
    dataset_free(&d);
    free(logp);
    return result;
}

// The rubrics' scores.
static int compute_scores(JudgedRows *x, Model *m, const Tokenizer *t, const char *dir) {
    const size_t n = x->data.num_answers, R = (size_t)x->scoring.n;
    double *score = allocate(n * R, sizeof *score);
    Buffer path = {0};
    int result = -1;
    if (!score) goto done;
    if (buffer_printf(&path, opt.cache ? "%s" : "%s.cache", opt.cache ? opt.cache : opt.out) < 0) {
        goto done;
    }
    if (scoring_open(&x->scoring, m, t, dir, path.data) < 0) goto done;
    if (scoring_ask(&x->scoring, x->texts, n, score) < 0) goto done;
    for (size_t a = 0; a < n; a++) {
        memcpy(values_of(x, (int)a) + x->num_text, score + a * R, R * sizeof *score);
    }
    result = 0;
done:
    free(score);
    buffer_free(&path);
    return result;
}

// What a model says, if one is asked.
static int ask_model(JudgedRows *x) {
    Model m = {0};
    Tokenizer t = {0};
    int result = -1;
    if (!opt.model.n) return 0;
    const char *dir = opt.model.item[0];
    const int reads_answers = text_features_need(x, NEEDS_MODEL);
    const int max_length = reads_answers ? opt.max_length : 0;
    if (load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL, max_length) < 0) goto done;
    if (reads_answers && compute_model_features(x, &m, &t) < 0) goto done;
    if (opt.rubrics.n && compute_scores(x, &m, &t, dir) < 0) goto done;
    result = 0;
done:
    model_free(&m);
    tokenizer_free(&t);
    return result;
}

// ----------------------------------------------------------------------------------- rows, written

// The features that answer k of the row has already, an object, or -1.
static int old_features(const JudgedRows *x, const Json *j, const Record *r, int k) {
    const int v = json_get(j, 0, "features");
    if (x->data.kind == DATA_PAIR) return json_get(j, v, k ? "rejected" : "chosen");
    if (r->count == 1) return v;
    int element = json_first(j, v);
    for (int i = 0; i < k; i++) element = json_next(j, element);
    return element;
}

// The features of answer k as an object: those that the row has, but for nulls, then the new ones.
static int append_features(Buffer *out, const JudgedRows *x, const Json *j, const Record *r,
                           int k) {
    const double *value = values_of(x, r->first + k);
    const int old = old_features(x, j, r, k);
    const char *between = "{";
    for (int v = json_first(j, old); v >= 0; v = json_next(j, v)) {
        const int is_asked = feature_find(&x->features, json_key(j, v)) >= 0;
        if (is_asked || json_type(j, v) != JSON_NUMBER) continue;
        if (buffer_append(out, between, 1) < 0) return -1;
        if (json_quote(out, json_key(j, v), json_key_length(j, v)) < 0) return -1;
        const double number = json_number(j, v);
        char text[32];
        snprintf(text, sizeof text, "%.15g", number);
        const int digits = strtod(text, NULL) == number ? 15 : 17;
        if (buffer_printf(out, ":%.*g", digits, number) < 0) return -1;
        between = ",";
    }
    for (int i = 0; i < x->features.n; i++) {
        if (buffer_append(out, between, 1) < 0) return -1;
        if (json_quote(out, x->features.name[i], strlen(x->features.name[i])) < 0) return -1;
        if (buffer_printf(out, ":%.9g", value[i]) < 0) return -1;
        between = ",";
    }
    return buffer_append(out, "}", 1);
}

// An end of a range.
static int append_end(Buffer *out, double end) {
    return isinf(end) ? buffer_printf(out, "null") : buffer_printf(out, "%.15g", end);
}

// A name and what its values lie between, each to the end of its list; infinite: not said.
static int append_name(Buffer *names, Buffer *ranges, const char *name, double low, double high) {
    const char *between = names->len ? "," : "";
    if (buffer_printf(names, "%s", between) < 0) return -1;
    if (json_quote(names, name, strlen(name)) < 0) return -1;
    if (buffer_printf(ranges, "%s[", between) < 0) return -1;
    if (append_end(ranges, low) < 0 || buffer_printf(ranges, ",") < 0) return -1;
    return append_end(ranges, high) < 0 ? -1 : buffer_printf(ranges, "]");
}

// The line of names: those that the file has and that stay, then the new ones.
static int append_names(Buffer *out, const JudgedRows *x) {
    const FeatureNames *old = &x->data.listed, *new = &x->features;
    Buffer names = {0}, ranges = {0};
    int result = -1;
    for (int i = 0; i < old->n; i++) {
        const char *name = old->name[i];
        if (feature_find(&x->features, name) >= 0) continue;
        if (append_name(&names, &ranges, name, old->low[i], old->high[i]) < 0) goto done;
    }
    for (int i = 0; i < x->features.n; i++) {
        if (append_name(&names, &ranges, new->name[i], new->low[i], new->high[i]) < 0) goto done;
    }
    result = buffer_printf(out, "{\"feature_names\":[%s],\"feature_range\":[%s]}\n", names.data,
                           ranges.data);
done:
    buffer_free(&names);
    buffer_free(&ranges);
    return result;
}

// The first feature of an answer that is no number or null, which would be lost; or -1.
static int odd_feature(const Json *j, int features) {
    for (int v = json_first(j, features); v >= 0; v = json_next(j, v)) {
        if (json_type(j, v) != JSON_NUMBER && json_type(j, v) != JSON_NULL) return v;
    }
    return -1;
}

// Can features be added to those that the row has?  0, or -1 after fail().
static int check_old(const JudgedRows *x, const Json *j, const Record *r) {
    const int has = json_type(j, json_get(j, 0, "features")) != JSON_NONE;
    const int apart = json_get(j, 0, "features_chosen") >= 0
                      || json_get(j, 0, "features_rejected") >= 0;
    int fit = !apart;
    for (int k = 0; has && k < r->count; k++) {
        const int old = old_features(x, j, r, k);
        const int odd = json_type(j, old) == JSON_OBJECT ? odd_feature(j, old) : -1;
        if (json_type(j, old) != JSON_OBJECT) fit = 0;
        if (odd < 0) continue;
        return fail(EX_DATAERR, "%s:%zu: feature \"%.60s\" is no number; correct the row, or "
                    "remove it", x->data.path, r->line, json_key(j, odd));
    }
    if (fit) return 0;
    return fail(EX_DATAERR, "%s:%zu: has features in another form, to which none can be added; "
                "write \"features\" with an object of numbers for each answer (of a pair under "
                "\"chosen\" and \"rejected\")", x->data.path, r->line);
}

// ,"features": of the row.
static int append_row_features(Buffer *out, const JudgedRows *x, const Json *j, const Record *r) {
    const int pair = x->data.kind == DATA_PAIR, list = !pair && r->count > 1;
    if (buffer_printf(out, ",\"features\":%s%s", pair ? "{" : "", list ? "[" : "") < 0) return -1;
    for (int k = 0; k < r->count; k++) {
        if (k && buffer_append(out, ",", 1) < 0) return -1;
        if (pair && buffer_printf(out, "\"%s\":", k ? "rejected" : "chosen") < 0) return -1;
        if (append_features(out, x, j, r, k) < 0) return -1;
    }
    return buffer_printf(out, "%s%s", pair ? "}" : "", list ? "]" : "");
}

// The first feature that an answer of the row does not have, or NULL: it has all.
static const char *missing_feature(const JudgedRows *x, const Record *r) {
    for (int k = 0; k < r->count; k++) {
        for (int i = 0; i < x->features.n; i++) {
            if (isnan(values_of(x, r->first + k)[i])) return x->features.name[i];
        }
    }
    return NULL;
}

// A row whose answers do not have all features: an error, or left out and told.
static int refuse_row(JudgedRows *x, const Record *r, const char *feature) {
    fail(EX_DATAERR, "%s:%zu: no score for \"%s\"", x->data.path, r->line, feature);
    if (opt.unscored == UNSCORED_RAISE) return -1;
    x->left_out++;
    if (x->left_out <= 5) fprintf(stderr, "%s; the row is left out\n", error_text);
    return 0;
}

// All rows that have all features, to --out.
static int write_rows(JudgedRows *x) {
    const Dataset *d = &x->data;
    Buffer out = {0}, said = {0};
    Json json = {0};
    int result = -1;
    if (append_names(&out, x) < 0) goto done;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        const char *missing = missing_feature(x, r);
        if (missing) {
            if (refuse_row(x, r, missing) < 0) goto done;
            continue;
        }
        said.len = 0;
        json.first_line = r->line;
        const char *row = d->contents.data + r->line_start;
        if (json_parse(&json, row, r->line_len, d->path) < 0) goto done;
        if (check_old(x, &json, r) < 0) goto done;
        if (append_row_features(&said, x, &json, r) < 0) goto done;
        if (dataset_row_without(&out, d, r, said.data) < 0) goto done;
        if (buffer_printf(&out, "%s}\n", said.data) < 0) goto done;
    }
    if (x->left_out == d->num_records) {
        fail(EX_DATAERR, "%s: no row has all scores, nothing is written; does the model follow "
             "instructions?  %s has what it says", d->path, x->scoring.path);
        goto done;
    }
    result = file_write(opt.out, out.data, out.len);
done:
    buffer_free(&out);
    buffer_free(&said);
    json_free(&json);
    return result;
}

// ------------------------------------------------------------------------------------------ report

// Of each feature its mean, least and largest value; of pairs also how often the chosen answer has
// more of it, half where both have as much.
static void report_features(const JudgedRows *x) {
    const Dataset *d = &x->data;
    const int pairs = d->kind == DATA_PAIR;
    if (x->left_out) printf("%zu of %zu rows left out\n", x->left_out, d->num_records);
    printf("%-22s %10s %10s %10s%s\n", "feature", "mean", "least", "largest",
           pairs ? "  chosen has more" : "");
    for (int i = 0; i < x->features.n; i++) {
        double sum = 0, least = INFINITY, largest = -INFINITY, more = 0;
        size_t answers = 0, rows = 0;
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            if (missing_feature(x, r)) continue;
            if (pairs) {
                const double chosen = values_of(x, r->first)[i];
                const double rejected = values_of(x, r->first + 1)[i];
                more += chosen > rejected ? 1 : 0.5 * (chosen == rejected);
            }
            rows++;
            for (int k = 0; k < r->count; k++) {
                const double v = values_of(x, r->first + k)[i];
                sum += v;
                least = fmin(least, v);
                largest = fmax(largest, v);
                answers++;
            }
        }
        printf("%-22s %10.4f %10.4f %10.4f", x->features.name[i], sum / (double)answers, least,
               largest);
        if (pairs) printf("  %.4f", more / (double)rows);
        printf("\n");
    }
}

// Rows of --eval to --out with features.  0, or -1 after fail().
int command_judge(void) {
    JudgedRows x = {0};
    int result = -1;
    if (choose_features(&x) < 0) goto done;
    if (check_judging_options(&x) < 0) goto done;
    if (read_answer_texts(&x) < 0) goto done;
    if (!opt.quiet) {
        fprintf(stderr, "%s: %zu rows of kind %s, %zu answers\n", x.data.name, x.data.num_records,
                data_kind_name[x.data.kind], x.data.num_answers);
    }
    if (compute_text_features(&x) < 0) goto done;
    if (ask_model(&x) < 0) goto done;
    if (write_rows(&x) < 0) goto done;
    report_features(&x);
    result = 0;
done:
    judged_rows_free(&x);
    return result;
}
#endif

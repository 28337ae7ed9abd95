/* evaluate.c - more eval: reward models and policies on held-out data.
 *
 * A cell holds the pairs of one data set under one model.  Cells come from four places; those of
 * the same model and data set are joined:
 *
 *     --from                          pairs that an earlier eval wrote (other seeds, other folds)
 *     --model, --eval                 reward models
 *     --model, --eval, --reference    policies, by their implicit rewards
 *     --bag, --eval                   logistic regression on counts of words: the bar
 *
 * and one is made of others: with --people, what the types of people predict together of each row's
 * annotator.
 *
 * Of a ranking each two answers, one of them better, are a pair, and the ranking itself has numbers
 * of its own.
 *
 * They leave as tables on standard output and as JSON lines in --out: "pair" and "ranking", which
 * --from reads again, "metrics" and "rankings" for each cell, "policy" for each policy and
 * file.  With --by KEY the pairs of a cell are parted by what their rows have under that key, an
 * annotator or a category: "by" for each part.                                                   */
#ifndef EVALUATE_C
#define EVALUATE_C
#include "mixture.c"
#include "../bagofwords.c"
#include "../files/people_json.c"

int command_eval(void);           // more eval: tables of models by data sets

// ------------------------------------------------------------------------------------------- cells

// What there is to know of one pair of a data set under one model.
typedef struct {
    double delta;                 // reward of the chosen answer less that of the rejected one
    int chosen, rejected;         // lengths in characters
    uint64_t prompt_id;           // pairs of one prompt are not independent of each other
    uint64_t line;                // of the pair in its file
    size_t value;                 // under --by in its row: where it begins in Cells.values
} PairResult;

// The same of one ranking.
typedef struct {
    Ranked model;                 // under the model's rewards
    Ranked longest;               // the longer an answer, the better
    uint64_t prompt_id, line;
} RankingResult;

// The pairs of a cell whose rows have one value under --by.
typedef struct {
    size_t value;
    Metrics metrics;
} Part;

// All pairs of one data set under one model.
typedef struct {
    char model[64], data[64];     // their names
    PairResult *pair;
    int n;
    size_t capacity;
    RankingResult *ranking;
    int num_rankings;
    size_t ranking_capacity;

    // set by cell_measure: columns of the pairs as metrics.c takes them, (n) each
    double *delta;
    double *length;               // chosen less rejected: the delta of "the longer answer wins"
    uint64_t *prompt_id;
    Metrics metrics;
    RankedMetrics ranked, longest;        // of the rankings, if there are any

    // set by cell_measure_parts: the least accurate first
    Part *part;
    int num_parts, worst;         // the number of the worst one
} Cell;

typedef struct {
    Cell *cell;
    size_t n, capacity;
    Buffer values;                // under --by: strings, each with its zero; "" for none
} Cells;

// The cell of that name, or NULL.
static Cell *cell_find(const Cells *cells, const char *model, const char *data) {
    for (size_t i = 0; i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        if (!strcmp(c->model, model) && !strcmp(c->data, data)) return c;
    }
    return NULL;
}

// The same, made if there is none; NULL after fail().
static Cell *cell_of(Cells *cells, const char *model, const char *data) {
    Cell *found = cell_find(cells, model, data);
    if (found) return found;
    if (reserve(&cells->cell, &cells->capacity, cells->n + 1, sizeof *cells->cell) < 0) return NULL;
    Cell *c = &cells->cell[cells->n++];
    memset(c, 0, sizeof *c);
    snprintf(c->model, sizeof c->model, "%s", model);
    snprintf(c->data, sizeof c->data, "%s", data);
    return c;
}

static int cell_add_ranking(Cell *c, const RankingResult *x) {
    const size_t n = (size_t)c->num_rankings + 1;
    if (reserve(&c->ranking, &c->ranking_capacity, n, sizeof *x) < 0) return -1;
    c->ranking[c->num_rankings++] = *x;
    return 0;
}

static int cell_add(Cell *c, const PairResult *pair) {
    if (reserve(&c->pair, &c->capacity, (size_t)c->n + 1, sizeof *pair) < 0) return -1;
    c->pair[c->n++] = *pair;
    return 0;
}

// Frees the columns.
static void cell_forget(Cell *c) {
    free(c->delta);
    free(c->length);
    free(c->prompt_id);
}

static void cells_free(Cells *cells) {
    for (size_t i = 0; i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        cell_forget(c);
        free(c->pair);
        free(c->ranking);
        free(c->part);
    }
    free(cells->cell);
    buffer_free(&cells->values);
}

// Sets the cell's columns and metrics from its pairs. 0, or -1 after fail().
static int cell_measure(Cell *c) {
    const size_t n = (size_t)c->n;
    int *chosen = allocate(n, sizeof *chosen);
    int *rejected = allocate(n, sizeof *rejected);
    int result = -1;
    c->delta = allocate(n, sizeof *c->delta);
    c->length = allocate(n, sizeof *c->length);
    c->prompt_id = allocate(n, sizeof *c->prompt_id);
    if (!chosen || !rejected || !c->delta || !c->length || !c->prompt_id) goto done;
    for (size_t i = 0; i < n; i++) {
        const PairResult *p = &c->pair[i];
        chosen[i] = p->chosen;
        rejected[i] = p->rejected;
        c->delta[i] = p->delta;
        c->length[i] = (double)p->chosen - p->rejected;
        c->prompt_id[i] = p->prompt_id;
    }
    result = metrics_compute(&c->metrics, c->delta, chosen, rejected, c->prompt_id, c->n,
                             (uint64_t)opt.seed);
done:
    free(chosen);
    free(rejected);
    return result;
}

// Sets the cell's numbers of rankings, under the model and by length.  0, or -1 after fail().
static int cell_measure_rankings(Cell *c) {
    const size_t n = (size_t)c->num_rankings;
    const uint64_t seed = (uint64_t)opt.seed;
    if (n == 0) return 0;
    Ranked *column = allocate(n, sizeof *column);
    uint64_t *prompt_id = allocate(n, sizeof *prompt_id);
    int result = -1;
    if (!column || !prompt_id) goto done;
    for (size_t i = 0; i < n; i++) {
        column[i] = c->ranking[i].model;
        prompt_id[i] = c->ranking[i].prompt_id;
    }
    if (rankings_measure(&c->ranked, column, prompt_id, (int)n, seed) < 0) goto done;
    for (size_t i = 0; i < n; i++) column[i] = c->ranking[i].longest;
    result = rankings_measure(&c->longest, column, prompt_id, (int)n, seed);
done:
    free(column);
    free(prompt_id);
    return result;
}

// -------------------------------------------------------------- parts of a cell: one value of --by

// The worst of the parts is the least accurate one of those that have so many pairs; of all, if
// none has.  In a smaller one bad luck is likely.
enum { PAIRS_OF_WORST = 20 };

// A pair's number and its value, to be sorted by value and then by number.
typedef struct {
    const char *value;
    int item;
} ValueOfPair;

static int compare_values(const void *a, const void *b) {
    const ValueOfPair *x = a, *y = b;
    const int order = strcmp(x->value, y->value);
    return order ? order : (x->item > y->item) - (x->item < y->item);
}

// The less accurate first, of equals the one that the file has first.
static int compare_parts(const void *a, const void *b) {
    const Part *x = a, *y = b;
    const double p = x->metrics.accuracy, q = y->metrics.accuracy;
    if (p != q) return p > q ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

// Measures the n pairs of c that sorted names: they all have one value.
static int part_measure(Part *part, const Cell *c, const ValueOfPair *sorted, int n) {
    Cell of_value = {0};
    int result = -1;
    for (int k = 0; k < n; k++) {
        if (cell_add(&of_value, &c->pair[sorted[k].item]) < 0) goto done;
    }
    if (cell_measure(&of_value) < 0) goto done;
    *part = (Part){.value = of_value.pair[0].value, .metrics = of_value.metrics};
    result = 0;
done:
    cell_forget(&of_value);
    free(of_value.pair);
    return result;
}

// Sets the cell's parts, and which of them is the worst.  0, or -1 after fail().
static int cell_measure_parts(Cell *c, const Cells *cells) {
    const char *values = cells->values.data;
    ValueOfPair *sorted = allocate((size_t)c->n, sizeof *sorted);
    int result = -1, end;
    c->part = allocate((size_t)c->n, sizeof *c->part);
    if (!sorted || !c->part) goto done;
    for (int i = 0; i < c->n; i++) sorted[i] = (ValueOfPair){values + c->pair[i].value, i};
    qsort(sorted, (size_t)c->n, sizeof *sorted, compare_values);
    for (int first = 0; first < c->n; first = end) {
        for (end = first + 1; end < c->n; end++) {
            if (strcmp(sorted[first].value, sorted[end].value) != 0) break;
        }
        if (part_measure(&c->part[c->num_parts], c, sorted + first, end - first) < 0) goto done;
        c->num_parts++;
    }
    qsort(c->part, (size_t)c->num_parts, sizeof *c->part, compare_parts);
    while (c->worst < c->num_parts && c->part[c->worst].metrics.n < PAIRS_OF_WORST) c->worst++;
    if (c->worst == c->num_parts) c->worst = 0;
    result = 0;
done:
    free(sorted);
    return result;
}

// ---------------------------------------------------------------------------------- in: JSON lines

// A "pair" line.
typedef struct {
    const char *model, *data;     // borrowed from the parsed line
    PairResult pair;
} PairLine;

// 1 and *out where the line has this key with a value of that type, else 0.
static int string_field(const Json *json, const char *key, const char **out) {
    const int value = json_get(json, 0, key);
    if (json_type(json, value) != JSON_STRING) return 0;
    *out = json_string(json, value);
    return 1;
}

static int number_field(const Json *json, const char *key, double *out) {
    const int value = json_get(json, 0, key);
    if (json_type(json, value) != JSON_NUMBER) return 0;
    *out = json_number(json, value);
    return 1;
}

// A line that write_pairs wrote.  Returns 1, or 0 if a field is missing or cannot be one of its.
static int read_pair_line(const Json *json, PairLine *row) {
    const char *prompt_id;
    double chosen, rejected, line;
    if (!string_field(json, "model", &row->model)) return 0;
    if (!string_field(json, "eval", &row->data)) return 0;
    if (!string_field(json, "group", &prompt_id)) return 0;
    if (!number_field(json, "delta", &row->pair.delta)) return 0;
    if (!number_field(json, "chosen_chars", &chosen) || fabs(chosen) >= 1e9) return 0;
    if (!number_field(json, "rejected_chars", &rejected) || fabs(rejected) >= 1e9) return 0;
    if (!number_field(json, "line", &line) || line < 0 || line >= 1e15) return 0;
    row->pair.chosen = (int)chosen;
    row->pair.rejected = (int)rejected;
    row->pair.prompt_id = strtoull(prompt_id, NULL, 16);
    row->pair.line = (uint64_t)line;
    return 1;
}

// A line that write_rankings wrote, into its cell.  0, or -1 after fail().
static int read_ranking_line(Cells *cells, const Json *json, const char *path, size_t number) {
    const char *model = "", *data = "", *prompt_id = "";
    double line;
    RankingResult x = {.prompt_id = 0};
    Ranked *m = &x.model, *l = &x.longest;
    double answers;
    const struct { const char *key; double *to; } field[] = {
        {"answers", &answers}, {"line", &line}, {"best", &m->best}, {"chance", &m->chance},
        {"tau", &m->tau}, {"loglik", &m->loglik}, {"right", &m->right}, {"compared", &m->compared},
        {"longest_best", &l->best}, {"longest_tau", &l->tau}, {"longest_right", &l->right},
    };
    int missing = !string_field(json, "model", &model) || !string_field(json, "eval", &data)
        || !string_field(json, "group", &prompt_id);
    for (size_t i = 0; i < sizeof field / sizeof *field; i++) {
        missing += !number_field(json, field[i].key, field[i].to);
    }
    if (missing || !(answers >= 2 && answers <= MAX_ANSWERS) || !(line >= 0 && line < 1e15)) {
        return fail(EX_DATAERR, "%s:%zu: not a line that eval --out wrote", path, number);
    }
    m->answers = l->answers = (int)answers;
    l->chance = m->chance;
    l->compared = m->compared;
    x.prompt_id = strtoull(prompt_id, NULL, 16);
    x.line = (uint64_t)line;
    Cell *c = cell_of(cells, model, data);
    return c ? cell_add_ranking(c, &x) : -1;
}

// Adds the "pair" and "ranking" lines of a results file to their cells. 0, or -1 after fail().
static int cells_read(Cells *cells, const char *path) {
    Buffer text = {0};
    Json json = {0};
    size_t at = 0;
    int result = -1;
    if (file_read(&text, path) < 0) goto done;
    for (size_t number = 1; at < text.len; number++) {
        const size_t len = strcspn(text.data + at, "\n");
        json.first_line = number;
        if (json_parse(&json, text.data + at, len, path) < 0) goto done;
        at += len;
        if (text.data[at] == '\n') at++;
        const int event = json_get(&json, 0, "event");
        if (json_equal(&json, event, "ranking")) {
            if (read_ranking_line(cells, &json, path, number) < 0) goto done;
        }
        if (!json_equal(&json, event, "pair")) continue;

        PairLine row = {.pair.value = 0};
        if (!read_pair_line(&json, &row)) {
            fail(EX_DATAERR, "%s:%zu: not a line that eval --out wrote", path, number);
            goto done;
        }
        const int by = json_get(&json, 0, "by");
        if (opt.by && json_get(&json, by, opt.by) < 0) {
            fail(EX_DATAERR, "%s:%zu: written without --by %s", path, number, opt.by);
            goto done;
        }
        if (opt.by && values_append(&cells->values, &row.pair.value, &json, by, opt.by, path,
                                    number) < 0) goto done;
        Cell *cell = cell_of(cells, row.model, row.data);
        if (!cell || cell_add(cell, &row.pair) < 0) goto done;
    }
    result = 0;
done:
    json_free(&json);
    buffer_free(&text);
    return result;
}

// --------------------------------------------------------------------------------- out: JSON lines

// Appends  "model":"...","eval":"..."  to out, the beginning of every line about a model on a set.
static int quote_names(Buffer *out, const char *model, const char *data) {
    if (buffer_printf(out, "\"model\":") < 0) return -1;
    if (json_quote(out, model, strlen(model)) < 0) return -1;
    if (buffer_printf(out, ",\"eval\":") < 0) return -1;
    return json_quote(out, data, strlen(data));
}

// Appends  "KEY":VALUE  to out, what a row has under --by; null where it has nothing.
static int quote_value(Buffer *out, const Cells *cells, size_t value) {
    const char *s = cells->values.data + value;
    if (json_quote(out, opt.by, strlen(opt.by)) < 0) return -1;
    if (buffer_printf(out, ":") < 0) return -1;
    return *s ? json_quote(out, s, strlen(s)) : buffer_printf(out, "null");
}

// The cell's pairs from number `from` on.  A failed write shows in ferror(f), here and below.
static int write_pairs(FILE *f, const Cells *cells, const Cell *c, int from) {
    Buffer names = {0}, value = {0};
    int result = -1;
    if (quote_names(&names, c->model, c->data) < 0) goto done;
    for (int i = from; i < c->n; i++) {
        const PairResult *p = &c->pair[i];
        fprintf(f, "{\"event\":\"pair\",%s,\"line\":%llu,\"group\":\"%016llx\",", names.data,
                (unsigned long long)p->line, (unsigned long long)p->prompt_id);
        fprintf(f, "\"delta\":%.17g,\"chosen_chars\":%d,\"rejected_chars\":%d", p->delta,
                p->chosen, p->rejected);
        value.len = 0;
        if (opt.by && quote_value(&value, cells, p->value) < 0) goto done;
        if (opt.by) fprintf(f, ",\"by\":{%s}", value.data);
        fprintf(f, "}\n");
    }
    result = 0;
done:
    buffer_free(&names);
    buffer_free(&value);
    return result;
}

// The cell's rankings from number `from` on.
static int write_rankings(FILE *f, const Cell *c, int from) {
    Buffer names = {0};
    const int result = quote_names(&names, c->model, c->data);
    for (int i = from; result == 0 && i < c->num_rankings; i++) {
        const RankingResult *x = &c->ranking[i];
        const Ranked *m = &x->model, *l = &x->longest;
        fprintf(f, "{\"event\":\"ranking\",%s,\"line\":%llu,\"group\":\"%016llx\",", names.data,
                (unsigned long long)x->line, (unsigned long long)x->prompt_id);
        fprintf(f, "\"answers\":%d,\"best\":%.17g,\"chance\":%.17g,\"tau\":%.17g,", m->answers,
                m->best, m->chance, m->tau);
        fprintf(f, "\"loglik\":%.17g,\"right\":%.17g,\"compared\":%.17g,", m->loglik, m->right,
                m->compared);
        fprintf(f, "\"longest_best\":%.17g,\"longest_tau\":%.17g,\"longest_right\":%.17g}\n",
                l->best, l->tau, l->right);
    }
    buffer_free(&names);
    return result;
}

static void write_estimate(FILE *f, const char *key, const Estimate *e) {
    fprintf(f, ",\"%s\":%.9g,\"%s_95\":[%.9g,%.9g]", key, e->value, key, e->interval.low,
            e->interval.high);
}

// Errors of calibration, for each number of bins and with equally filled ones.
static void write_calibration(FILE *f, const Metrics *m) {
    for (int k = 0; k < NUM_ECE; k++) {
        const int bins = ece_bins[k];
        const Calibration *c = &m->symmetric[k];
        fprintf(f, ",\"ece_%d\":%.9g", bins, c->ece);
        fprintf(f, ",\"ace_more_%d\":%.9g", bins, c->ace);
        fprintf(f, ",\"mce_%d\":%.9g", bins, c->mce);
        fprintf(f, ",\"confidence_ece_%d\":%.9g", bins, m->confidence_ece[k]);
    }
    fprintf(f, ",\"ece_95\":[%.9g,%.9g]", m->ece_95.low, m->ece_95.high);
    fprintf(f, ",\"ece_equalmass\":%.9g", m->ece_equalmass);
}

// What the answers' lengths say.
static void write_lengths(FILE *f, const Metrics *m) {
    fprintf(f, ",\"longer_preferred\":%.9g", m->longer_preferred);
    fprintf(f, ",\"longer_wins\":%.9g,\"similar_n\":%d", m->longer_wins, m->similar);
    if (!m->similar) return;
    fprintf(f, ",\"similar_accuracy\":%.9g", m->similar_accuracy);
    fprintf(f, ",\"similar_accuracy_95\":[%.9g,%.9g]", m->similar_accuracy_95.low,
            m->similar_accuracy_95.high);
    fprintf(f, ",\"similar_longer_wins\":%.9g", m->similar_longer_wins);
}

// The distribution of reward differences.
static void write_distribution(FILE *f, const Metrics *m) {
    fprintf(f, ",\"quantiles\":{");
    for (int k = 0; k < NUM_QUANTILES; k++) {
        fprintf(f, "%s\"%g\":%.9g", k ? "," : "", quantile_levels[k], m->quantile[k]);
    }
    fprintf(f, "},\"histogram_end\":%.9g,\"histogram\":[", m->histogram_end);
    for (int k = 0; k < HISTOGRAM_BINS; k++) fprintf(f, "%s%d", k ? "," : "", m->histogram[k]);
    fprintf(f, "]");
}

static void write_box(FILE *f, const char *name, const Box *b) {
    fprintf(f, ",\"%s\":{\"n\":%d,\"mean\":%.9g,", name, b->n, b->mean);
    fprintf(f, "\"q1\":%.9g,\"median\":%.9g,\"q3\":%.9g,", b->q1, b->median, b->q3);
    fprintf(f, "\"outliers\":%d,\"outlier_mean\":%.9g}", b->outliers, b->outlier_mean);
}

// The members of a line that say what was measured, up to its end.
static void write_numbers(FILE *f, const Metrics *m) {
    fprintf(f, ",\"n\":%d,\"prompts\":%d", m->n, m->clusters);
    fprintf(f, ",\"accuracy\":%.9g", m->accuracy);
    fprintf(f, ",\"accuracy_95\":[%.9g,%.9g]", m->accuracy_95.low, m->accuracy_95.high);
    fprintf(f, ",\"accuracy_strict\":%.9g,\"tie_rate\":%.9g", m->accuracy_strict, m->tie_rate);
    fprintf(f, ",\"nll\":%.9g,\"brier\":%.9g,\"margin\":%.9g", m->nll, m->brier, m->margin);
    write_calibration(f, m);
    write_lengths(f, m);
    write_distribution(f, m);
    write_box(f, "correct", &m->correct);
    write_box(f, "wrong", &m->wrong);
    fprintf(f, "}\n");
}

// A "metrics" line, the cell's, its "rankings" line and its "by" lines.
static int write_metrics(FILE *f, const Cells *cells, const Cell *c) {
    Buffer names = {0}, value = {0};
    int result = -1;
    if (quote_names(&names, c->model, c->data) < 0) goto done;
    fprintf(f, "{\"event\":\"metrics\",%s", names.data);
    write_numbers(f, &c->metrics);
    if (c->num_rankings) {
        const RankedMetrics *m = &c->ranked;
        fprintf(f, "{\"event\":\"rankings\",%s,\"n\":%d,\"prompts\":%d", names.data, m->n,
                m->prompts);
        fprintf(f, ",\"answers\":%.9g,\"chance\":%.9g", m->answers, m->chance);
        write_estimate(f, "best", &m->best);
        write_estimate(f, "tau", &m->tau);
        write_estimate(f, "loglik", &m->loglik);
        write_estimate(f, "accuracy", &m->pairwise);
        fprintf(f, ",\"longest_best\":%.9g,\"longest_tau\":%.9g}\n", c->longest.best.value,
                c->longest.tau.value);
    }
    for (int k = 0; k < c->num_parts; k++) {
        value.len = 0;
        if (quote_value(&value, cells, c->part[k].value) < 0) goto done;
        fprintf(f, "{\"event\":\"by\",%s,\"by\":{%s}", names.data, value.data);
        fprintf(f, ",\"worst\":%s", k == c->worst ? "true" : "false");
        write_numbers(f, &c->part[k].metrics);
    }
    result = 0;
done:
    buffer_free(&names);
    buffer_free(&value);
    return result;
}

// -------------------------------------------------------------------------------------- the tables

enum { TEN_BINS = 1 };            // ece_bins[1] is 10: the calibration error that tables show

// The numbers of a row of a table; low .. high is the 95 % interval of the accuracy, similar the
// accuracy on pairs of similar length.
typedef struct { double accuracy, low, high, similar, ties, ece, brier, margin, nll; } TableRow;

// Distinct names in the order in which they appear.
typedef struct {
    const char **name;
    int n;
} Names;

// Which cells there may be: one for each model and data set.
typedef struct {
    const Cells *cells;
    Names models, sets;
    int trained;                  // models but the bag of words
} Table;

static void names_add(Names *names, const char *name) {
    for (int k = 0; k < names->n; k++) {
        if (!strcmp(names->name[k], name)) return;
    }
    names->name[names->n++] = name;
}

static const char bag_name[] = "bag of words";

// The head of the last column.
static const char *beside_models(const Table *t) {
    return t->models.n > 1 ? "against the first row" : "";
}

static TableRow row_of(const Metrics *m) {
    return (TableRow){
        .accuracy = m->accuracy,
        .low = m->accuracy_95.low,
        .high = m->accuracy_95.high,
        .similar = m->similar_accuracy,
        .ties = m->tie_rate,
        .ece = m->symmetric[TEN_BINS].ece,
        .brier = m->brier,
        .margin = m->margin,
        .nll = m->nll,
    };
}

static void print_head(const char *beside) {
    printf("%-18s %6s   %-15s %7s %5s %7s %7s %8s %7s  %s\n", "", "acc %", "95 %", "similar",
           "ties", "ECE", "Brier", "margin", "NLL", beside);
}

// The accuracy on pairs of similar length, or - where there are none.
static void print_similar(double accuracy) {
    if (isnan(accuracy)) printf(" %7s", "-");
    else printf(" %7.2f", 100 * accuracy);
}

static void print_row(const char *name, const TableRow *x) {
    printf("%-18s %6.2f   %5.2f .. %5.2f ", name, 100 * x->accuracy, 100 * x->low, 100 * x->high);
    print_similar(x->similar);
    printf(" %5.3f %7.4f %7.4f %8.3f %7.4f", x->ties, x->ece, x->brier, x->margin, x->nll);
}

// What a table of several models has no room for.
static void print_details(const Metrics *m) {
    printf("    ECE / ACE / MCE ");
    for (int k = 0; k < NUM_ECE; k++) {
        const Calibration *c = &m->symmetric[k];
        printf("  %d bins %.4f %.4f %.4f", ece_bins[k], c->ece, c->ace, c->mce);
    }
    printf("\n    confidence ECE  ");
    for (int k = 0; k < NUM_ECE; k++) printf("  %d bins %.4f", ece_bins[k], m->confidence_ece[k]);
    printf("  equal mass %.4f\n", m->ece_equalmass);

    printf("    reward difference quantiles ");
    for (int k = 0; k < NUM_QUANTILES; k++) {
        printf(" %g: %.3f ", quantile_levels[k], m->quantile[k]);
    }
    printf("\n    histogram -%.2f..%.2f ", m->histogram_end, m->histogram_end);
    for (int k = 0; k < HISTOGRAM_BINS; k++) printf(" %d", m->histogram[k]);

    const Box *right = &m->correct, *wrong = &m->wrong;
    printf("\n    right: %d, median %.3f, %d outliers of mean %.3f;", right->n, right->median,
           right->outliers, right->outlier_mean);
    printf("  wrong: %d, median %.3f, %d outliers of mean %.3f\n", wrong->n, wrong->median,
           wrong->outliers, wrong->outlier_mean);
    printf("    the model prefers the longer answer in %.1f %% of pairs\n",
           100 * m->longer_preferred);
    if (m->similar) {
        printf("    of %d pairs of similar length it gets %.2f %% (%.2f .. %.2f) right\n",
               m->similar, 100 * m->similar_accuracy, 100 * m->similar_accuracy_95.low,
               100 * m->similar_accuracy_95.high);
    }
}

// Did both models get the same pairs, in the same order?
static int same_pairs(const Cell *a, const Cell *b) {
    if (a->n != b->n) return 0;
    for (int i = 0; i < a->n; i++) {
        if (a->pair[i].line != b->pair[i].line) return 0;
        if (a->pair[i].prompt_id != b->pair[i].prompt_id) return 0;
    }
    return 1;
}

/* The last column: how much more accurate delta (n) is than the first model on the same pairs, and
 * the standard error of that, clustered by prompt.                                               */
static int print_difference(const double *delta, const Cell *first) {
    double d = 0, error = 0;
    const uint64_t *ids = first->prompt_id;
    if (paired_difference(&d, &error, delta, first->delta, ids, first->n) < 0) return -1;
    printf("  %+.2f +- %.2f", 100 * d, 100 * error);
    return 0;
}

// The cell of the first model that has this set.
static const Cell *cell_of_set(const Table *t, const char *data) {
    const Cell *c = NULL;
    for (int r = 0; !c && r < t->models.n; r++) c = cell_find(t->cells, t->models.name[r], data);
    return c;
}

// The block of one data set: a row for each model, then one for a rule that needs no model.
static int print_set(const Table *t, const char *data) {
    const Cell *first = cell_find(t->cells, t->models.name[0], data);
    const Cell *some = cell_of_set(t, data);
    printf("\n%s: %d pairs, %d prompts; the longer answer wins %.1f %%; %d pairs are of similar "
           "length\n", data, some->n, some->metrics.clusters, 100 * some->metrics.longer_wins,
           some->metrics.similar);
    print_head(beside_models(t));
    for (int r = 0; r < t->models.n; r++) {
        const char *model = t->models.name[r];
        const Cell *c = cell_find(t->cells, model, data);
        if (!c) continue;
        const TableRow row = row_of(&c->metrics);
        print_row(model, &row);
        if (first && c != first && same_pairs(first, c)) {
            if (print_difference(c->delta, first) < 0) return -1;
        }
        printf("\n");
        if (t->trained == 1 && strcmp(model, bag_name)) print_details(&c->metrics);
    }
    if (!first) return 0;
    printf("%-18s %6.2f   %15s", "longer answer wins", 100 * first->metrics.longer_wins, "");
    print_similar(first->metrics.similar_longer_wins);
    printf(" %38s", "");
    if (print_difference(first->length, first) < 0) return -1;
    printf("\n");
    return 0;
}

// A row of the table of rankings.
static void print_ranked(const char *name, const RankedMetrics *m, int has_likelihood) {
    const Interval *b = &m->best.interval, *t = &m->tau.interval, *l = &m->loglik.interval;
    printf("%-18s %6.2f   %5.2f .. %5.2f", name, 100 * m->best.value, 100 * b->low, 100 * b->high);
    printf("  %7.3f   %6.3f .. %6.3f", m->tau.value, t->low, t->high);
    if (has_likelihood) printf("  %8.3f   %7.3f .. %7.3f", m->loglik.value, l->low, l->high);
    printf("\n");
}

// Of a data set that has rankings: how often the best answer is found, the rank correlation, the
// likelihood of the rankings.
static void print_rankings(const Table *t, const char *data) {
    const Cell *some = NULL;
    for (int r = 0; r < t->models.n; r++) {
        const Cell *c = cell_find(t->cells, t->models.name[r], data);
        if (!c || !c->num_rankings) continue;
        if (!some) {
            printf("%s: %d rankings of %.1f answers, whose pairs are above; a guess finds the best "
                   "of %.1f %%\n", data, c->num_rankings, c->ranked.answers,
                   100 * c->ranked.chance);
            printf("%-18s %6s   %-14s  %7s   %-16s  %8s   %s\n", "", "best %", "95 %", "tau",
                   "95 %", "log-lik", "95 %");
        }
        print_ranked(c->model, &c->ranked, 1);
        some = c;
    }
    if (some) print_ranked("longer answer wins", &some->longest, 0);
}

// A table of the cell's parts, the least accurate first.
static void print_parts(const Cells *cells, const Cell *c) {
    printf("\n%s by %s, %s\n", c->data, opt.by, c->model);
    print_head("");
    for (int k = 0; k < c->num_parts; k++) {
        const Metrics *m = &c->part[k].metrics;
        const char *value = cells->values.data + c->part[k].value;
        const TableRow row = row_of(m);
        print_row(*value ? value : "(none)", &row);
        printf("  %d pairs, %d prompts%s\n", m->n, m->clusters, k == c->worst ? "; the worst" : "");
    }
}

/* A model's mean over all sets, and its difference to the first model where both have the same
 * pairs of each.  The standard errors of the sets combine as those of independent samples:
 *
 *     mean = 1/S sum_s x_s      SE(mean) = 1/S sqrt(sum_s SE(x_s)^2)
 *
 * A model that lacks a set has no row. 0, or -1 after fail().                                    */
static int print_mean_row(const Table *t, int model) {
    const int S = t->sets.n;
    TableRow mean = {0};
    double variance = 0, difference = 0, difference_variance = 0;
    int paired = 0;               // sets whose pairs are those of the first model
    int similar = 0;              // sets that have pairs of similar length
    for (int s = 0; s < S; s++) {
        const Cell *c = cell_find(t->cells, t->models.name[model], t->sets.name[s]);
        const Cell *first = cell_find(t->cells, t->models.name[0], t->sets.name[s]);
        double d = 0, error = 0;
        if (!c) return 0;

        // the accuracy less that of a coin has the standard error of the accuracy itself
        if (paired_difference(&d, &error, c->delta, NULL, c->prompt_id, c->n) < 0) return -1;
        variance += error * error;
        const TableRow row = row_of(&c->metrics);
        mean.accuracy += row.accuracy / S;
        if (c->metrics.similar) {
            mean.similar += row.similar;
            similar++;
        }
        mean.ties += row.ties / S;
        mean.ece += row.ece / S;
        mean.brier += row.brier / S;
        mean.margin += row.margin / S;
        mean.nll += row.nll / S;

        // the difference to the first model
        if (model == 0 || !first || !same_pairs(first, c)) continue;
        if (paired_difference(&d, &error, c->delta, first->delta, c->prompt_id, c->n) < 0) {
            return -1;
        }
        difference += d;
        difference_variance += error * error;
        paired++;
    }
    const double half = 1.96 * sqrt(variance) / S;
    mean.low = mean.accuracy - half;
    mean.high = mean.accuracy + half;
    mean.similar = similar ? mean.similar / similar : NAN;
    print_row(t->models.name[model], &mean);
    if (paired == S) {
        printf("  %+.2f +- %.2f", 100 * difference / S, 100 * sqrt(difference_variance) / S);
    }
    printf("\n");
    return 0;
}

// The block of the mean over data sets, with a row for each model that has them all.
static int print_mean(const Table *t) {
    double longer = 0;
    for (int s = 0; s < t->sets.n; s++) {
        longer += cell_of_set(t, t->sets.name[s])->metrics.longer_wins / t->sets.n;
    }
    printf("\nmean of the %d sets; the longer answer wins %.1f %%\n", t->sets.n, 100 * longer);
    print_head(beside_models(t));
    for (int r = 0; r < t->models.n; r++) {
        if (print_mean_row(t, r) < 0) return -1;
    }
    return 0;
}

// Measures the cells and prints a block for each data set and one for their mean; parts: and one
// for each cell of those of --by.
static int print_tables(Cells *cells, int parts) {
    Table t = {.cells = cells};
    int result = -1;
    t.models.name = allocate(cells->n, sizeof *t.models.name);
    t.sets.name = allocate(cells->n, sizeof *t.sets.name);
    if (!t.models.name || !t.sets.name) goto done;
    for (size_t i = 0; i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        if (cell_measure(c) < 0 || cell_measure_rankings(c) < 0) goto done;
        if (opt.by && cell_measure_parts(c, cells) < 0) goto done;
        names_add(&t.models, c->model);
        names_add(&t.sets, c->data);
    }
    for (int r = 0; r < t.models.n; r++) t.trained += strcmp(t.models.name[r], bag_name) != 0;
    for (int s = 0; s < t.sets.n; s++) {
        if (print_set(&t, t.sets.name[s]) < 0) goto done;
        print_rankings(&t, t.sets.name[s]);
    }
    if (t.sets.n > 1 && print_mean(&t) < 0) goto done;
    for (size_t i = 0; parts && i < cells->n; i++) print_parts(cells, &cells->cell[i]);
    result = 0;
done:
    free(t.models.name);
    free(t.sets.name);
    return result;
}

// ------------------------------------------------------------------------------- evaluating models

// A model and a file as the model's own tokenizer reads it.
typedef struct {
    Model model;
    Tokenizer tokenizer;
    Dataset data;
} Loaded;

// On standard error: what a file was read as that is not of our own shapes; of conversations under
// a policy, how many turns are scored.
static int report_reading(const Dataset *d, int kind) {
    Buffer line = {0};
    int result = opt.quiet ? 0 : dataset_report_shape(d, &line);
    if (line.len) fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    if (result == 0 && kind == LOAD_LANGUAGE_MODEL) result = report_turns(d);
    return result;
}

// Pairs or rankings: a reward tells which answer is better.
static int has_choices(const Dataset *d) {
    return d->kind == DATA_PAIR || d->kind == DATA_RANKING;
}

// kind: LOAD_REWARD_MODEL, for pairs and rankings, or LOAD_LANGUAGE_MODEL, for whatever has
// answers.
static int loaded_init(Loaded *x, const char *dir, const char *file, int kind) {
    const DataOptions o = data_options();
    const Dataset *d = &x->data;
    if (load_model(&x->model, &x->tokenizer, dir, kind) < 0) return -1;
    if (dataset_load(&x->data, file, &x->tokenizer, &o) < 0) return -1;
    if (kind == LOAD_REWARD_MODEL && !has_choices(d)) {
        return fail_kind(d, "pairs or rankings are needed");
    }
    if (!has_choices(d) && d->kind != DATA_POINT && d->kind != DATA_COMPLETION) {
        return fail_kind(d, "pairs, rankings, points or completions are needed");
    }
    if (report_reading(d, kind) < 0) return -1;
    return dataset_keep_fold(&x->data, 1);
}

static void loaded_free(Loaded *x) {
    model_free(&x->model);
    tokenizer_free(&x->tokenizer);
    dataset_free(&x->data);
}

// Adds each two answers of the record, one of them better, to the cell, and a ranking itself.
// reward (r->count) is the sum of what so many models gave; pair: what all its pairs have.  0, or
// -1 after fail().
static int add_record(Cell *c, const Dataset *d, const Record *r, const double *reward,
                      int models, PairResult pair) {
    const Answer *a = &d->answer[r->first];
    float place[MAX_ANSWERS];
    double score[MAX_ANSWERS], length[MAX_ANSWERS];
    record_places(place, d, r);
    for (int i = 0; i < r->count; i++) {
        score[i] = reward[i] / models;
        length[i] = a[i].chars;
        for (int k = i + 1; k < r->count; k++) {
            if (place[i] == place[k]) continue;
            pair.delta = (reward[i] - reward[k]) / models;
            pair.chosen = a[i].chars;
            pair.rejected = a[k].chars;
            if (cell_add(c, &pair) < 0) return -1;
        }
    }
    if (d->kind != DATA_RANKING) return 0;
    RankingResult x = {.prompt_id = r->prompt_id, .line = r->line};
    ranking_measure(&x.model, score, place, r->count, opt.loss.top);
    ranking_measure(&x.longest, length, place, r->count, opt.loss.top);
    return cell_add_ranking(c, &x);
}

/* Adds the pairs and rankings of d to a cell of the model's name, and writes them.  reward
 * (num_answers) is the sum of what so many models gave.  0, or -1 after fail().                  */
static int add_choices(Cells *cells, const char *model, const Dataset *d, const double *reward,
                       int models, FILE *out) {
    Json json = {0};
    int some = !opt.by;           // rows with a value under --by
    int result = -1;
    Cell *c = cell_of(cells, model, d->name);
    if (!c) return -1;
    const int from = c->n, from_ranking = c->num_rankings;
    for (size_t i = 0; i < d->num_records; i++) {
        const Record *r = &d->record[i];
        PairResult pair = {.prompt_id = r->prompt_id, .line = r->line};
        if (opt.by && dataset_value(&cells->values, &pair.value, d, r, opt.by, &json) < 0) {
            goto done;
        }
        if (opt.by && cells->values.data[pair.value]) some = 1;
        if (add_record(c, d, r, reward + r->first, models, pair) < 0) goto done;
    }
    if (c->n == from) {
        fail(EX_DATAERR, "%s: no pairs: %zu of %zu rows tie", d->path, d->tied, d->rows);
        goto done;
    }
    if (!some) {
        fail(EX_DATAERR, "%s: no row has \"%s\", which --by names", d->path, opt.by);
        goto done;
    }
    if (out && write_pairs(out, cells, c, from) < 0) goto done;
    if (out && write_rankings(out, c, from_ranking) < 0) goto done;
    result = 0;
done:
    json_free(&json);
    return result;
}

// path is dir (len) with the data set's name for the first %s in it.
static void folder_for(char path[PATH_SIZE], const char *dir, int len, const char *data) {
    const char *mark = strstr(dir, "%s");
    const int before = mark ? (int)(mark - dir) : len;
    const int after = len - before - 2;
    if (after >= 0) snprintf(path, PATH_SIZE, "%.*s%s%.*s", before, dir, data, after, mark + 2);
    else snprintf(path, PATH_SIZE, "%.*s", len, dir);
}

// Have both the same rows of a file, each answer with the same number?
static int same_rows(const Dataset *a, const Dataset *b) {
    if (a->num_records != b->num_records || a->num_answers != b->num_answers) return 0;
    for (size_t i = 0; i < a->num_records; i++) {
        if (a->record[i].line_start != b->record[i].line_start) return 0;
        if (a->record[i].first != b->record[i].first) return 0;
    }
    return 1;
}

// Reward models A+B+C that count as one: the mean of their rewards.
typedef struct {
    const char *name;
    Dataset data;                 // the file as the first of them reads it
    double *reward;               // (num_answers) the sum of theirs
    int models;
} Ensemble;

// Adds the rewards of the model in dir on the file.  0, or -1 after fail().
static int ensemble_add(Ensemble *e, const char *dir, const char *file) {
    Loaded x = {0};
    double *reward = NULL;
    int result = -1;
    if (loaded_init(&x, dir, file, LOAD_REWARD_MODEL) < 0) goto done;
    if (e->models && !same_rows(&e->data, &x.data)) {
        fail(EX_DATAERR, "%s: --over_length drop leaves other pairs to another model of %s",
             x.data.path, e->name);
        goto done;
    }
    const size_t n = x.data.num_answers;
    reward = allocate(n, sizeof *reward);
    if (!e->reward) e->reward = allocate(n, sizeof *reward);
    if (!reward || !e->reward) goto done;
    if (evaluate_texts(&x.model, x.tokenizer.eos, &x.data, reward) < 0) goto done;
    for (size_t i = 0; i < n; i++) e->reward[i] += reward[i];
    if (e->models == 0) {
        e->data = x.data;
        x.data = (Dataset){0};
    }
    e->models++;
    result = 0;
done:
    free(reward);
    loaded_free(&x);
    return result;
}

// The mean reward of the folders of spec, NAME=A+B+C, on a file of pairs, into a cell and to out.
static int evaluate_rewards(Cells *cells, const char *spec, const char *file, FILE *out) {
    char name[64], set[64], path[PATH_SIZE];
    const char *dir;
    Ensemble e = {.name = name};
    int result = -1;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    dataset_name(set, file);
    while (*dir) {
        const size_t len = strcspn(dir, "+");
        folder_for(path, dir, (int)len, set);
        if (ensemble_add(&e, path, file) < 0) goto done;
        dir += len;
        if (*dir == '+') dir++;
    }

    result = add_choices(cells, name, &e.data, e.reward, e.models, out);
done:
    dataset_free(&e.data);
    free(e.reward);
    return result;
}

/* The log-probabilities of a file's answers under a policy or mixture: *data is the file, *logp is
 * (num_answers).  The model is gone when it returns.  0, or -1 after fail().                     */
static int policy_logps(Dataset *data, double **logp, const char *path, const char *file) {
    Loaded x = {0};
    Mixture mixture;
    int result = -1;
    if (mixture_open(&mixture, path) < 0) goto done;
    if (loaded_init(&x, mixture.folder[0], file, LOAD_LANGUAGE_MODEL) < 0) goto done;
    *logp = allocate(x.data.num_answers, sizeof **logp);
    if (!*logp) goto done;
    if (mixture_tokens(&mixture, &x.model, x.tokenizer.eos, &x.data, *logp, NULL) < 0) goto done;
    *data = x.data;
    x.data = (Dataset){0};
    result = 0;
done:
    mixture_free(&mixture);
    loaded_free(&x);
    return result;
}

// Did two models' tokenizers make the same tokens of a file?
static int same_texts(const Dataset *a, const Dataset *b) {
    const size_t n = a->num_tokens;
    return b->num_tokens == n && !memcmp(a->token, b->token, n * sizeof *a->token);
}

// A "policy" line: the held-out numbers of one policy on one file.
static int write_policy(FILE *f, const char *model, const char *data, const Held *held) {
    Buffer names = {0};
    const int result = quote_names(&names, model, data);
    if (result == 0) {
        fprintf(f, "{\"event\":\"policy\",%s,\"n\":%d", names.data, held->n);
        held_write(f, "", held);
        fprintf(f, "}\n");
    }
    buffer_free(&names);
    return result;
}

/* A policy against the reference, whose log-probabilities of the file `like` are ref (num_answers).
 * Pairs go into a cell and to out; the other held-out numbers are printed and go to out.         */
static int evaluate_policy(Cells *cells, const char *spec, const char *file, const Dataset *like,
                           const double *ref, FILE *out) {
    char name[64];
    const char *dir;
    Dataset data = {0};
    double *logp = NULL, *reward = NULL;
    Held held;
    int result = -1;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    if (policy_logps(&data, &logp, dir, file) < 0) goto done;
    if (opt.by && !has_choices(&data)) {
        fail_kind(&data, "--by needs pairs or rankings");
        goto done;
    }
    if (!same_texts(&data, like)) {
        fail(EX_DATAERR, "%s: %s has another tokenizer than the reference; log-probabilities of "
             "other tokens do not compare", data.path, name);
        goto done;
    }
    reward = allocate(data.num_answers, sizeof *reward);
    if (!reward) goto done;
    implicit_rewards(reward, &data, logp, ref, opt.loss.beta);

    if (has_choices(&data) && add_choices(cells, name, &data, reward, 1, out) < 0) goto done;
    if (held_out(&held, &data, logp, reward) < 0) goto done;
    printf("%s on ", name);
    held_print(stdout, data.name, &data, &held);
    if (out && write_policy(out, name, data.name, &held) < 0) goto done;
    result = 0;
done:
    dataset_free(&data);
    free(logp);
    free(reward);
    return result;
}

// The reference on a file, then each policy: never two models at a time.
static int evaluate_policies(Cells *cells, const char *file, FILE *out) {
    Dataset data = {0};
    double *ref = NULL;
    int result = policy_logps(&data, &ref, opt.reference, file);
    for (int i = 0; result == 0 && i < opt.model.n; i++) {
        result = evaluate_policy(cells, opt.model.item[i], file, &data, ref, out);
    }
    dataset_free(&data);
    free(ref);
    return result;
}

// ------------------------------------------------------------------------------ the bag of words

// Pairs and rankings (as_pairs: taken apart) as bytes, each a token: whole answers, whatever a
// model's tokenizer and --max_length are.
static int load_pairs(Dataset *d, const Tokenizer *bytes, const char *file, int as_pairs) {
    DataOptions o = data_options();
    o.max_length = 0;
    o.max_prompt_length = 0;
    if (as_pairs) o.as_pairs = 1;
    if (dataset_load(d, file, bytes, &o) < 0) return -1;
    return has_choices(d) ? 0 : fail_kind(d, "--bag needs pairs or rankings");
}

// Is the training file of --bag that of this evaluation file: of its name, or the only one?
static int bag_is_for(const char *train, const char *file) {
    char a[64], b[64];
    dataset_name(a, train);
    dataset_name(b, file);
    return opt.bag.n == 1 || !strcmp(a, b);
}

// Every file of --bag is of use, and to every file of --eval there is one.
static int check_bags(void) {
    if (!opt.bag.n) return 0;
    for (int k = 0; k < opt.eval.n; k++) {
        const char *file = opt.eval.item[k];
        int i = 0;
        while (i < opt.bag.n && !bag_is_for(opt.bag.item[i], file)) i++;
        if (i == opt.bag.n) {
            return fail(EX_USAGE, "--bag: no file has the name of %s; give one file for all, or "
                        "one of each name: FILE:NAME", file);
        }
    }
    for (int i = 0; i < opt.bag.n; i++) {
        int k = 0;
        while (k < opt.eval.n && !bag_is_for(opt.bag.item[i], opt.eval.item[k])) k++;
        if (k == opt.eval.n) {
            return fail(EX_USAGE, "--bag %s: no evaluation file has its name", opt.bag.item[i]);
        }
    }
    return 0;
}

// The bag of a training file, whose contents are `seen`, on an evaluation file, into a cell and to
// out.
static int evaluate_bag(Cells *cells, const Bag *bag, const Buffer *seen, const Tokenizer *bytes,
                        const char *file, FILE *out) {
    Dataset d = {0};
    double *reward = NULL;
    int result = -1;
    if (load_pairs(&d, bytes, file, 0) < 0 || dataset_keep_fold(&d, 1) < 0) goto done;
    const size_t len = d.contents.len;
    if (opt.folds <= 1 && seen->len == len && !memcmp(seen->data, d.contents.data, len)) {
        fail(EX_USAGE, "--bag: trained on what is in %s itself; give the file to train on, or "
             "--folds", d.path);
        goto done;
    }
    reward = allocate(d.num_answers, sizeof *reward);
    if (!reward || bag_rewards(bag, &d, bytes, reward) < 0) goto done;
    result = add_choices(cells, bag_name, &d, reward, 1, out);
done:
    dataset_free(&d);
    free(reward);
    return result;
}

// Trains on each file of --bag, outside the fold; evaluates on its evaluation files, inside.
static int evaluate_bags(Cells *cells, FILE *out) {
    Tokenizer bytes = {0};
    Dataset train = {0};
    Bag bag = {0};
    size_t no_text = 0;
    int result = -1;
    if (!opt.bag.n) return 0;
    if (tokenizer_learn(&bytes, "", &no_text, 1, 258) < 0) return -1;
    for (int i = 0; i < opt.bag.n; i++) {
        const char *file = opt.bag.item[i];
        if (load_pairs(&train, &bytes, file, 1) < 0 || dataset_keep_fold(&train, 0) < 0) goto done;
        if (!train.num_records) {
            fail(EX_DATAERR, "%s: no pairs to train a bag of words on", train.path);
            goto done;
        }
        if (bag_train(&bag, &train, &bytes) < 0) goto done;
        for (int k = 0; k < opt.eval.n; k++) {
            if (!bag_is_for(file, opt.eval.item[k])) continue;
            const char *to = opt.eval.item[k];
            if (evaluate_bag(cells, &bag, &train.contents, &bytes, to, out) < 0) goto done;
        }
        dataset_free(&train);
        bag_free(&bag);
    }
    result = 0;
done:
    tokenizer_free(&bytes);
    dataset_free(&train);
    bag_free(&bag);
    return result;
}

// -------------------------------------------------------------------------------- different people

// An annotator whom people.json does not know.
typedef struct {
    const char *name;             // in Cells.values
    int rows;                     // the first ones, which say something of the type
    uint64_t line;                // the last of them: a ranking has several pairs
    double A[MAX_TYPES];          // their log-likelihood under each type
} Newcomer;

typedef struct {
    PeopleFile file;
    char model[MAX_TYPES][PATH_SIZE + 16];      // NAME=FOLDER of each type, without --model
    Newcomer *newcomer;
    size_t n, capacity;
} Types;

static const char types_name[] = "people";

static void types_free(Types *x) {
    people_file_free(&x->file);
    free(x->newcomer);
}

// The models of the types beside people.json, if --model names none.  0, or -1 after fail().
static int types_models(Types *x) {
    const int K = x->file.people.K;
    const char *slash = strrchr(opt.people, '/');
    const int len = slash ? (int)(slash - opt.people) + 1 : 0;
    if (opt.model.n && opt.model.n != K) {
        return fail(EX_USAGE, "--people %s: of %d types, not %d: --model names the model of each, "
                    "in order, or is left out", opt.people, K, opt.model.n);
    }
    if (opt.model.n || opt.from.n) return 0;
    for (int k = 0; k < K; k++) {
        snprintf(x->model[k], sizeof x->model[k], "type-%d=%.*stype-%d", k + 1, len, opt.people,
                 k + 1);
        opt.model.item[opt.model.n++] = x->model[k];
    }
    return 0;
}

// Reads --people, and sets what it says of other options.  0, or -1 after fail().
static int types_open(Types *x) {
    const PeopleFile *f = &x->file;
    if (!opt.people) return 0;
    if (people_file_read(&x->file, opt.people) < 0) return -1;
    if (!f->finished) {
        return fail(EX_DATAERR, "%s: of a run that has not ended: the same command of train em "
                    "goes on with it", opt.people);
    }
    if (opt.by && strcmp(opt.by, f->by) != 0) {
        return fail(EX_USAGE, "--by %s: the people of %s are by \"%s\"", opt.by, opt.people, f->by);
    }
    if (f->beta > 0 && !opt.reference && !opt.from.n) {
        return fail(EX_USAGE, "--people %s: the types are policies: --reference is needed, the "
                    "model that train em started from", opt.people);
    }
    if (f->beta > 0) opt.loss.beta = f->beta;
    opt.by = f->by;
    return types_models(x);
}

// The newcomer of that name, made if there is none; NULL after fail().
static Newcomer *newcomer_of(Types *x, const char *name) {
    for (size_t i = 0; i < x->n; i++) {
        if (!strcmp(x->newcomer[i].name, name)) return &x->newcomer[i];
    }
    if (reserve(&x->newcomer, &x->capacity, x->n + 1, sizeof *x->newcomer) < 0) return NULL;
    x->newcomer[x->n] = (Newcomer){.name = name};
    return &x->newcomer[x->n++];
}

/* What the types together say of pair i of the cells type (K), by their shares w (K):
 *
 *     P(w over l | h) = sum_k w_k sigma(margin_k)          as the margin  log P - log(1 - P)      */
static double types_margin(const Cell *const *type, const double *w, int K, int i) {
    double chosen = 0, rejected = 0;
    for (int k = 0; k < K; k++) {
        chosen += w[k] * sigmoid(type[k]->pair[i].delta);
        rejected += w[k] * sigmoid(-type[k]->pair[i].delta);
    }
    return more_log(chosen) - more_log(rejected);
}

/* The shares of the types (K) for the annotator of pair i: gamma; of a newcomer the posterior of
 * the rows that were set aside, if any, else eta.  1; 0: the row is one of those; -1 after
 * fail().                                                                                        */
static int types_shares(Types *x, const Cell *const *type, const char *name, int i, double *w) {
    const People *p = &x->file.people;
    const size_t K = (size_t)p->K;
    const int h = people_find(&x->file, name);
    if (h >= 0) {
        memcpy(w, p->gamma + (size_t)h * K, K * sizeof *w);
        return 1;
    }
    Newcomer *new = newcomer_of(x, name);
    if (!new) return -1;
    const uint64_t line = type[0]->pair[i].line;
    const int is_new = new->line != line;
    if (*name && opt.fit_rows && (new->rows < opt.fit_rows || !is_new)) {
        for (size_t k = 0; k < K; k++) new->A[k] += log_sigmoid(type[k]->pair[i].delta);
        new->rows += is_new;
        new->line = line;
        return 0;
    }
    people_posterior(w, p->eta, new->A, p->K);
    return 1;
}

// What type k is called in tables.
static void types_type_name(char name[64], int k) {
    const char *folders;
    if (k < opt.model.n) split_model(opt.model.item[k], name, &folders);
    else snprintf(name, 64, "type-%d", k + 1);
}

// The cells type (K) of a data set under each type, of the same pairs.  0, or -1 after fail().
static int types_cells(const Cell **type, int K, const Cells *cells, const char *data) {
    for (int k = 0; k < K; k++) {
        char name[64];
        types_type_name(name, k);
        type[k] = cell_find(cells, name, data);
        if (!type[k]) return fail(EX_DATAERR, "%s: there are no pairs under %s", data, name);
        if (type[k]->n == type[0]->n) continue;
        return fail(EX_DATAERR, "%s: not the same pairs under all types", data);
    }
    return 0;
}

// Adds the cell of what the types predict together on a data set; to out too.
static int types_add(Types *x, Cells *cells, const char *data, FILE *out) {
    const int K = x->file.people.K;
    const Cell *type[MAX_TYPES];
    Cell *c = cell_of(cells, types_name, data);         // cells move: the others are looked up then
    if (!c || types_cells(type, K, cells, data) < 0) return -1;
    x->n = 0;
    for (int i = 0; i < type[0]->n; i++) {
        double w[MAX_TYPES];
        PairResult pair = type[0]->pair[i];
        const int status = types_shares(x, type, cells->values.data + pair.value, i, w);
        if (status < 0) return -1;
        if (status == 0) continue;
        pair.delta = types_margin(type, w, K, i);
        if (cell_add(c, &pair) < 0) return -1;
    }
    if (!c->n) return fail(EX_DATAERR, "%s: --fit_rows leaves no rows to predict", data);
    return out ? write_pairs(out, cells, c, 0) : 0;
}

// The same on every data set that there are cells of.
static int types_add_all(Types *x, Cells *cells, FILE *out) {
    const size_t n = cells->n;
    for (size_t i = 0; i < n; i++) {
        char data[64];
        memcpy(data, cells->cell[i].data, sizeof data);
        if (cell_find(cells, types_name, data)) continue;
        if (types_add(x, cells, data, out) < 0) return -1;
    }
    return 0;
}

// How often a type's own model, whose cell is c, is right about its people.
static void types_print_type(const Types *x, const Cells *cells, const Cell *c, int k) {
    const PeopleFile *f = &x->file;
    int people = 0, pairs = 0;
    double right = 0;
    for (int h = 0; h < f->people.H; h++) people += people_type(&f->people, (size_t)h) == k;
    for (int i = 0; i < c->n; i++) {
        const int h = people_find(f, cells->values.data + c->pair[i].value);
        if (h < 0 || people_type(&f->people, (size_t)h) != k) continue;
        if (c->pair[i].delta > 0) right += 1;
        if (c->pair[i].delta == 0) right += 0.5;
        pairs++;
    }
    printf("%-18s %d of %d annotators, share %.3f", c->model, people, f->people.H,
           f->people.eta[k]);
    if (pairs) printf("; right on %.2f %% of their %d pairs", 100 * right / pairs, pairs);
    printf("\n");
}

// What each type is right about, and the annotator who is predicted worst.  0, or -1 after fail().
static int types_print(const Types *x, const Cells *cells, const char *data) {
    const Cell *type[MAX_TYPES], *all = cell_find(cells, types_name, data);
    const Part *worst = &all->part[all->worst];
    const char *who = cells->values.data + worst->value;
    const int K = x->file.people.K;
    if (types_cells(type, K, cells, data) < 0) return -1;
    printf("\n%s, the people of %s\n", data, opt.people);
    for (int k = 0; k < K; k++) types_print_type(x, cells, type[k], k);
    printf("%-18s %s: right on %.2f %% of %d pairs\n", "worst annotator", *who ? who : "(none)",
           100 * worst->metrics.accuracy, worst->metrics.n);
    return 0;
}

// How well the types are known groups.  0, or -1 after fail().
static int types_print_groups(const Types *x) {
    const PeopleFile *f = &x->file;
    int *group = allocate((size_t)f->people.H, sizeof *group), groups;
    int result = -1;
    if (!group) return -1;
    if (people_groups_read(group, &groups, opt.groups, f->name, f->people.H) < 0) goto done;
    if (groups > MAX_TYPES) {
        fail(EX_DATAERR, "%s: %d groups, at most %d are matched with types", opt.groups, groups,
             MAX_TYPES);
        goto done;
    }
    printf("%-18s %.2f %% of %d annotators are of the type that matches their group of %s\n",
           "clustering", 100 * people_accuracy(&f->people, group, groups), f->people.H, opt.groups);
    result = 0;
done:
    free(group);
    return result;
}

// All that is said of people.
static int types_print_all(const Types *x, const Cells *cells) {
    for (size_t i = 0; i < cells->n; i++) {
        const Cell *c = &cells->cell[i];
        if (strcmp(c->model, types_name) == 0 && types_print(x, cells, c->data) < 0) return -1;
    }
    return opt.groups ? types_print_groups(x) : 0;
}

// --------------------------------------------------------------------------------------- more eval

// Files of one name would be joined into one cell.
static int check_set_names(const char *option, const List *files) {
    char a[64], b[64];
    for (int i = 0; i < files->n; i++) {
        dataset_name(a, files->item[i]);
        for (int k = 0; k < i; k++) {
            dataset_name(b, files->item[k]);
            if (!strcmp(a, b)) {
                return fail(EX_USAGE, "--%s: two files are called %s; give one another name: "
                            "FILE:NAME", option, a);
            }
        }
    }
    return 0;
}

// --out under its temporary name, as a stream on a second descriptor of it.
static int open_results(Output *file, FILE **out) {
    if (output_open(file, opt.out) < 0) return -1;
    *out = fdopen(dup(file->fd), "w");
    if (!*out) return fail(EX_CANTCREAT, "%s: %s", opt.out, strerror(errno));
    return 0;
}

// Was everything written?  Then the file gets its name.  The stream is closed in any case.
static int keep_results(Output *file, FILE *out) {
    const int bad = ferror(out);
    if (fclose(out) != 0) return fail(EX_IOERR, "%s: %s", opt.out, strerror(errno));
    if (bad) return fail(EX_IOERR, "%s: could not be written", opt.out);
    if (output_close(file) < 0) return -1;
    return output_rename(file);
}

// All cells: those read back, then those of the models.
static int collect_cells(Cells *cells, FILE *out) {
    for (int i = 0; i < opt.from.n; i++) {
        if (cells_read(cells, opt.from.item[i]) < 0) return -1;
    }
    if (opt.reference) {
        for (int k = 0; k < opt.eval.n; k++) {
            if (evaluate_policies(cells, opt.eval.item[k], out) < 0) return -1;
        }
    } else {
        for (int i = 0; i < opt.model.n; i++) {
            const char *spec = opt.model.item[i];
            for (int k = 0; k < opt.eval.n; k++) {
                if (evaluate_rewards(cells, spec, opt.eval.item[k], out) < 0) return -1;
            }
        }
    }
    if (evaluate_bags(cells, out) < 0) return -1;
    if (!cells->n && opt.from.n) return fail(EX_DATAERR, "%s: no pairs in it", opt.from.item[0]);
    return 0;
}

// Each model, the reference and a bag of words read a file for themselves, and each of A+B+C.
static int check_streams(void) {
    int readers = opt.model.n + opt.bag.n + (opt.reference != NULL);
    for (int i = 0; i < opt.model.n; i++) readers += strchr(opt.model.item[i], '+') != NULL;
    return readers > 1 ? refuse_streams(&opt.eval, "eval, for each model, reads") : 0;
}

// Do the options make one evaluation?  0, or -1 after fail().
static int check_eval(void) {
    const int models = opt.model.n || opt.bag.n, files = opt.eval.n > 0;
    if (models != files || (!models && !opt.from.n)) {
        return fail(EX_USAGE, "--model and --eval are needed, or --bag and --eval, or --from");
    }
    if (check_set_names("eval", &opt.eval) < 0 || check_set_names("bag", &opt.bag) < 0) return -1;
    if (names_differ(&opt.model) < 0 || check_bags() < 0 || check_streams() < 0) return -1;
    return 0;
}

// Cells from results and models, then tables, then --out, if everything went well.
int command_eval(void) {
    Cells cells = {0};
    Types types = {0};
    Output file = {.fd = -1};
    FILE *out = NULL;
    int result = -1;
    const int parts = opt.by != NULL;
    if (types_open(&types) < 0 || check_eval() < 0) goto done;
    if (opt.out && open_results(&file, &out) < 0) goto done;
    if (collect_cells(&cells, out) < 0) goto done;
    if (opt.people && types_add_all(&types, &cells, out) < 0) goto done;
    if (cells.n && print_tables(&cells, parts) < 0) goto done;
    if (opt.people && types_print_all(&types, &cells) < 0) goto done;
    for (size_t i = 0; out && i < cells.n; i++) {
        if (write_metrics(out, &cells, &cells.cell[i]) < 0) goto done;
    }
    result = 0;
done:
    if (out && result == 0) result = keep_results(&file, out);
    else if (out) fclose(out);
    output_drop(&file);
    cells_free(&cells);
    types_free(&types);
    return result;
}
#endif

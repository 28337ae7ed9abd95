/* cells.c - what more eval holds of its numbers: a cell has the pairs and rankings of one data set
 * under one model, with what they come to; and its JSON lines, out of --out and into --from.
 *
 * With --by KEY the pairs of a cell are parted by what their rows have under that key.           */
#ifndef CELLS_C
#define CELLS_C
#include "../values.c"
#include "../metrics.c"
#include "../settings.h"

// ------------------------------------------------------------------------------------------- cells

// What there is to know of one pair of a data set under one model.
typedef struct {
    double delta;                 // reward of the chosen answer less that of the rejected one, or
                                  //   what a calibration makes of it
    double reward[2];             // the two; NAN: not known
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

// cells, by the names of model and data set; cell_find: NULL where there is none, cell_of: made, or
// NULL after fail()
Cell *cell_find(const Cells *cells, const char *model, const char *data);
Cell *cell_of(Cells *cells, const char *model, const char *data);
void  cells_free(Cells *cells);
void  cell_free(Cell *c);
int   cell_add(Cell *c, const PairResult *pair);
int   cell_add_ranking(Cell *c, const RankingResult *x);

// what they come to
int   cell_measure(Cell *c);
int   cell_measure_rankings(Cell *c);
int   cell_measure_parts(Cell *c, const Cells *cells);

// JSON lines: those of --from, and those of --out, of a cell from its result number `from` on
int   cells_read(Cells *cells, const char *path);
int   cells_quote_names(Buffer *out, const char *model, const char *data);
int   cell_write_pairs(FILE *f, const Cells *cells, const Cell *c, int from);
int   cell_write_rankings(FILE *f, const Cell *c, int from);
int   cell_write_metrics(FILE *f, const Cells *cells, const Cell *c);

// The cell of that name, or NULL.
Cell *cell_find(const Cells *cells, const char *model, const char *data) {
    for (size_t i = 0; i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        if (!strcmp(c->model, model) && !strcmp(c->data, data)) return c;
    }
    return NULL;
}

// The same, made if there is none; NULL after fail().
Cell *cell_of(Cells *cells, const char *model, const char *data) {
    Cell *found = cell_find(cells, model, data);
    if (found) return found;
    if (reserve(&cells->cell, &cells->capacity, cells->n + 1, sizeof *cells->cell) < 0) return NULL;
    Cell *c = &cells->cell[cells->n++];
    memset(c, 0, sizeof *c);
    snprintf(c->model, sizeof c->model, "%s", model);
    snprintf(c->data, sizeof c->data, "%s", data);
    return c;
}

int cell_add_ranking(Cell *c, const RankingResult *x) {
    const size_t n = (size_t)c->num_rankings + 1;
    if (reserve(&c->ranking, &c->ranking_capacity, n, sizeof *x) < 0) return -1;
    c->ranking[c->num_rankings++] = *x;
    return 0;
}

int cell_add(Cell *c, const PairResult *pair) {
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

void cell_free(Cell *c) {
    cell_forget(c);
    free(c->pair);
    free(c->ranking);
    free(c->part);
}

void cells_free(Cells *cells) {
    for (size_t i = 0; i < cells->n; i++) cell_free(&cells->cell[i]);
    free(cells->cell);
    buffer_free(&cells->values);
}

// Sets the cell's columns and metrics from its pairs. 0, or -1 after fail().
int cell_measure(Cell *c) {
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
int cell_measure_rankings(Cell *c) {
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

// The less accurate first, of equals the one that the file has first.
static int compare_parts(const void *a, const void *b) {
    const Part *x = a, *y = b;
    const double p = x->metrics.accuracy, q = y->metrics.accuracy;
    if (p != q) return p > q ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

// Measures the n pairs of c that sorted names: they all have one value.
static int part_measure(Part *part, const Cell *c, const Value *sorted, int n) {
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
int cell_measure_parts(Cell *c, const Cells *cells) {
    const char *values = cells->values.data;
    Value *sorted = allocate((size_t)c->n, sizeof *sorted);
    int result = -1, end;
    c->part = allocate((size_t)c->n, sizeof *c->part);
    if (!sorted || !c->part) goto done;
    for (int i = 0; i < c->n; i++) sorted[i] = (Value){values + c->pair[i].value, (size_t)i};
    values_sort(sorted, (size_t)c->n);
    for (int first = 0; first < c->n; first = end) {
        for (end = first + 1; end < c->n; end++) {
            if (strcmp(sorted[first].text, sorted[end].text) != 0) break;
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

static double number_or_nan(const Json *json, const char *key) {
    double x = NAN;
    number_field(json, key, &x);
    return x;
}

// A line that cell_write_pairs wrote.  1, or 0 if a field is missing or cannot be one of its.
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
    row->pair.reward[0] = number_or_nan(json, "reward_chosen");
    row->pair.reward[1] = number_or_nan(json, "reward_rejected");
    return 1;
}

// A line that cell_write_rankings wrote, into its cell.  0, or -1 after fail().
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
int cells_read(Cells *cells, const char *path) {
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
int cells_quote_names(Buffer *out, const char *model, const char *data) {
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
int cell_write_pairs(FILE *f, const Cells *cells, const Cell *c, int from) {
    Buffer names = {0}, value = {0};
    int result = -1;
    if (cells_quote_names(&names, c->model, c->data) < 0) goto done;
    for (int i = from; i < c->n; i++) {
        const PairResult *p = &c->pair[i];
        fprintf(f, "{\"event\":\"pair\",%s,\"line\":%llu,\"group\":\"%016llx\",", names.data,
                (unsigned long long)p->line, (unsigned long long)p->prompt_id);
        fprintf(f, "\"delta\":%.17g,\"chosen_chars\":%d,\"rejected_chars\":%d", p->delta,
                p->chosen, p->rejected);
        if (isfinite(p->reward[0]) && isfinite(p->reward[1])) {
            fprintf(f, ",\"reward_chosen\":%.9g,\"reward_rejected\":%.9g", p->reward[0],
                    p->reward[1]);
        }
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
int cell_write_rankings(FILE *f, const Cell *c, int from) {
    Buffer names = {0};
    const int result = cells_quote_names(&names, c->model, c->data);
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
    fprintf(f, ",\"temperature\":%.9g,\"after_ece\":%.9g", m->temperature, m->after_ece);
    fprintf(f, ",\"after_nll\":%.9g,\"after_brier\":%.9g", m->after_nll, m->after_brier);
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
int cell_write_metrics(FILE *f, const Cells *cells, const Cell *c) {
    Buffer names = {0}, value = {0};
    int result = -1;
    if (cells_quote_names(&names, c->model, c->data) < 0) goto done;
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
#endif

/* csv.c - a table of features (CSV or TSV, with a header) to rows of JSON.
 *
 *     id,annotator,chosen.relevance,chosen.length,rejected.relevance,rejected.length
 *     17,ann,4,61,2.5,80
 *
 * becomes
 *
 *     {"features":{"chosen":{"relevance":4,"length":61},"rejected":{"relevance":2.5,"length":80}},
 *      "id":"17","annotator":"ann"}
 *
 * A column is a feature of a pair's answers by chosen. and rejected. before its name; of a
 * ranking's by 1., 2., ..; of single answers by its name alone where --features or the model asks
 * for it, or by features. before it, which the others may have too (so pandas names the columns of
 * nested objects).  All other columns are strings of the row, but for label, score, weight and
 * margin, which are numbers.  An empty cell is null.
 *
 * Cells are parted by commas, or by tabs or semicolons where the header has no comma; quotes around
 * a cell and "" in it are those of RFC 4180.  Each row keeps its line, so that errors name it.   */
#ifndef CSV_C
#define CSV_C

#include "common.h"
#include "row_features.c"

int csv_to_rows(Buffer *contents, const char *path, const DataOptions *o);

enum { MAX_COLUMNS = 1024 };

typedef enum { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_FEATURE } CsvKind;

typedef struct {
    char *name;                   // of a feature its own
    CsvKind kind;
    int answer;                   // of a feature: 0 chosen, 1 rejected, or its place in a ranking
} CsvColumn;

typedef struct {
    const char *path;
    const char *at, *end;
    size_t line;
    char mark;                    // between cells
    Buffer cell;
    CsvColumn column[MAX_COLUMNS];
    int n;
    FeaturesForm form;
    int answers;
    Buffer *out;
    Buffer *value;                // (n) of a row, as JSON
} Csv;

// ------------------------------------------------------------------------------------------- cells

// The next cell of a row to t->cell; *last: its row ends there.  0, or -1 after fail().
static int csv_cell(Csv *t, int *last) {
    const size_t begin = t->line;
    const int quoted = t->at < t->end && *t->at == '"';
    t->cell.len = 0;
    if (buffer_append(&t->cell, "", 0) < 0) return -1;
    if (quoted) t->at++;
    for (; t->at < t->end; t->at++) {
        const char c = *t->at;
        if (quoted && c == '"') {
            if (t->at + 1 == t->end || t->at[1] != '"') break;
            t->at++;
        } else if (!quoted && (c == t->mark || c == '\n' || c == '\r')) {
            break;
        }
        t->line += c == '\n';
        if (buffer_append(&t->cell, &c, 1) < 0) return -1;
    }
    if (quoted && t->at == t->end) {
        return fail(EX_DATAERR, "%s:%zu: a quote that does not end", t->path, begin);
    }
    if (quoted) t->at++;
    *last = t->at == t->end || *t->at != t->mark;
    if (!*last) {
        t->at++;
        return 0;
    }
    if (t->at < t->end && *t->at == '\r') t->at++;
    if (t->at < t->end && *t->at != '\n') {
        return fail(EX_DATAERR, "%s:%zu: %s", t->path, t->line,
                    quoted ? "text after a quote that ends; write a quote in a cell twice"
                           : "a carriage return that ends no line; write line feeds, or quotes "
                             "around the cell");
    }
    if (t->at < t->end) {
        t->at++;
        t->line++;
    }
    return 0;
}

// ------------------------------------------------------------------------------------------ header

// The text behind a prefix, or NULL.
static const char *behind(const char *s, const char *prefix) {
    const size_t n = strlen(prefix);
    return strncmp(s, prefix, n) ? NULL : s + n;
}

// Of which answers a column says features: sets form and answer, returns the feature's name; NULL:
// it says none.
static const char *feature_column(const char *name, FeaturesForm *form, int *answer,
                                  const DataOptions *o) {
    const char *marked = behind(name, "features."), *s = marked ? marked : name;
    const char *chosen = behind(s, "chosen."), *rejected = behind(s, "rejected.");
    *form = FEATURES_PAIR;
    *answer = rejected != NULL;
    if (chosen || rejected) return chosen ? chosen : rejected;

    char *dot;
    const long place = strtol(s, &dot, 10);
    *form = FEATURES_LIST;
    *answer = (int)place - 1;
    if (isdigit((unsigned char)*s) && *dot == '.' && place >= 1 && place <= MAX_ANSWERS) {
        return dot + 1;
    }
    *form = FEATURES_ONE;
    *answer = 0;
    const int asked = feature_find(o->features, name) >= 0
                      || (o->listed && feature_find(o->listed, name) >= 0);
    if (marked) return marked;
    return asked ? name : NULL;
}

static int csv_column(Csv *t, const DataOptions *o) {
    static const char *const numbers[] = {"label", "score", "weight", "margin"};
    if (t->n == MAX_COLUMNS) {
        return fail(EX_DATAERR, "%s:1: more than %d columns", t->path, MAX_COLUMNS);
    }
    CsvColumn *c = &t->column[t->n];
    FeaturesForm form;
    const char *feature = feature_column(t->cell.data, &form, &c->answer, o);
    const char *name = feature ? feature : t->cell.data;
    c->kind = LISTED(name, numbers) ? COLUMN_NUMBER : COLUMN_TEXT;
    if (feature) c->kind = COLUMN_FEATURE;
    c->name = allocate(strlen(name) + 1, 1);
    if (!c->name) return -1;
    strcpy(c->name, name);
    t->n++;
    if (!feature) return 0;
    if (t->form != FEATURES_NONE && t->form != form) {
        return fail(EX_DATAERR, "%s:1: column \"%s\" and those before it: features of a pair "
                    "(chosen.NAME, rejected.NAME), of a ranking (1.NAME, 2.NAME, ..) or of one "
                    "answer (NAME), not of several", t->path, t->cell.data);
    }
    t->form = form;
    t->answers = max_int(t->answers, c->answer + 1);
    return 0;
}

static int csv_header(Csv *t, const DataOptions *o) {
    int last = 0;
    const size_t len = strcspn(t->at, "\n");
    t->mark = ',';
    if (!memchr(t->at, ',', len)) t->mark = memchr(t->at, '\t', len) ? '\t' : ';';
    while (!last) {
        if (csv_cell(t, &last) < 0 || csv_column(t, o) < 0) return -1;
    }
    if (t->form != FEATURES_NONE) return 0;
    return fail(EX_DATAERR, "%s:1: no column is a feature: name them chosen.NAME and "
                "rejected.NAME, 1.NAME, 2.NAME and so on, or features.NAME; or give --features "
                "NAME,NAME", t->path);
}

// -------------------------------------------------------------------------------------------- rows

// A JSON number, true or false stands as it is; other text of a cell is a string, an empty one
// null.
static int cell_to_json(Buffer *out, const Buffer *cell, CsvKind kind) {
    Json j = {0};
    const size_t n = cell->len;
    out->len = 0;
    if (n == 0) return buffer_printf(out, "null");
    if (kind == COLUMN_TEXT) return json_quote(out, cell->data, n);
    const int parsed = json_parse(&j, cell->data, n, "") == 0;
    const JsonType type = parsed ? json_type(&j, 0) : JSON_NONE;
    const int stands = type == JSON_NUMBER
                       || (kind == COLUMN_NUMBER && (type == JSON_TRUE || type == JSON_FALSE));
    json_free(&j);
    return stands ? buffer_append(out, cell->data, n) : json_quote(out, cell->data, n);
}

// Appends  "name":value  of those columns of a kind that are of this answer.
static int append_cells(Csv *t, int is_feature, int answer) {
    const char *between = "";
    for (int i = 0; i < t->n; i++) {
        const CsvColumn *c = &t->column[i];
        if ((c->kind == COLUMN_FEATURE) != is_feature) continue;
        if (is_feature && c->answer != answer) continue;
        if (buffer_printf(t->out, "%s", between) < 0) return -1;
        if (json_quote(t->out, c->name, strlen(c->name)) < 0) return -1;
        if (buffer_printf(t->out, ":%s", t->value[i].data) < 0) return -1;
        between = ",";
    }
    return 0;
}

static int append_row(Csv *t) {
    static const char *const side[] = {"\"chosen\":", "\"rejected\":"};
    const int pair = t->form == FEATURES_PAIR, list = t->form == FEATURES_LIST;
    const char *open = "", *close = "";
    if (pair) {
        open = "{";
        close = "}";
    }
    if (list) {
        open = "[";
        close = "]";
    }
    if (buffer_printf(t->out, "{\"features\":%s", open) < 0) return -1;
    for (int k = 0; k < t->answers; k++) {
        if (buffer_printf(t->out, "%s%s{", k ? "," : "", pair ? side[k] : "") < 0) return -1;
        if (append_cells(t, 1, k) < 0 || buffer_printf(t->out, "}") < 0) return -1;
    }
    int others = 0;
    for (int i = 0; i < t->n; i++) others += t->column[i].kind != COLUMN_FEATURE;
    if (buffer_printf(t->out, "%s%s", close, others ? "," : "") < 0) return -1;
    if (append_cells(t, 0, 0) < 0) return -1;
    return buffer_printf(t->out, "}");
}

// One row, and as many line ends as it had.  0, or -1 after fail().
static int csv_row(Csv *t) {
    const size_t line = t->line;
    int last = 0, cells = 0;
    while (!last) {
        if (csv_cell(t, &last) < 0) return -1;
        if (last && cells == 0 && t->cell.len == 0) cells = -1;       // a blank line
        if (cells >= 0 && cells < t->n) {
            const CsvKind kind = t->column[cells].kind;
            if (cell_to_json(&t->value[cells], &t->cell, kind) < 0) return -1;
        }
        cells++;
    }
    if (cells != 0 && cells != t->n) {
        return fail(EX_DATAERR, "%s:%zu: %d cells, but the header has %d", t->path, line, cells,
                    t->n);
    }
    if (cells && append_row(t) < 0) return -1;
    for (size_t i = line; i < t->line; i++) {
        if (buffer_printf(t->out, "\n") < 0) return -1;
    }
    return 0;
}

// The contents of a file become JSON lines; the header's is blank.  0, or -1 after fail().
int csv_to_rows(Buffer *contents, const char *path, const DataOptions *o) {
    Buffer out = {0};
    int result = -1;
    Csv *t = allocate(1, sizeof *t);
    if (!t) return -1;
    const size_t mark = contents->len >= 3 && !memcmp(contents->data, "\xef\xbb\xbf", 3) ? 3 : 0;
    t->path = path;
    t->at = contents->data + mark;
    t->end = contents->data + contents->len;
    t->line = 1;
    t->out = &out;
    if (memchr(t->at, 0, (size_t)(t->end - t->at))) {
        fail(EX_DATAERR, "%s: neither JSON lines nor a table of text", path);
        goto done;
    }
    if (csv_header(t, o) < 0) goto done;
    if (buffer_append(&out, "", 0) < 0) goto done;          // of a header alone nothing is left
    t->value = allocate((size_t)t->n, sizeof *t->value);
    if (!t->value) goto done;
    for (size_t i = 1; i < t->line; i++) {
        if (buffer_printf(&out, "\n") < 0) goto done;
    }
    while (t->at < t->end) {
        if (csv_row(t) < 0) goto done;
    }
    buffer_free(contents);
    *contents = out;
    out = (Buffer){0};
    result = 0;
done:
    for (int i = 0; i < t->n; i++) {
        free(t->column[i].name);
        if (t->value) buffer_free(&t->value[i]);
    }
    free(t->value);
    buffer_free(&t->cell);
    buffer_free(&out);
    free(t);
    return result;
}
#endif

/* row_features.c - the features of a row's answers: numbers with names, for reward models that read
 * nothing else (features.c).
 *
 *     {"features": {"chosen": {"relevance": 4, "length": 61}, "rejected": {...}}}      a pair
 *     {"features_chosen": {...}, "features_rejected": {...}}                           the same
 *     {"features": [{...}, {...}, {...}]}                a ranking, as its answers stand in the row
 *     {"features": {...}}                                                              one answer
 *
 * beside the texts, or without any.  In place of an object may stand a list of numbers, if the file
 * begins with a line of names, which may say what the values lie between, for all or for each:
 *
 *     {"feature_names": ["relevance", "length"], "feature_range": [[0, 5], [0, 1000]]}
 *
 * A row without "features" has those that are counted from its texts (text_features.c), where all
 * that are read are of these, with their ranges: "length" of another range is somebody else's.
 *
 * Which features are read is said by the first row, by --features or by the model; a row that lacks
 * one, or has one that is not a finite number in its range, is bad.  They stand in Dataset.feature,
 * (num_answers, n), in the order of Dataset.features; dataset.c puts them there.                 */
#ifndef ROW_FEATURES_C
#define ROW_FEATURES_C

#include "common.h"
#include "template.c"
#include "text_features.c"

// names: from the words of the command line, from JSON
int  feature_name_add(FeatureNames *f, const char *name, size_t n, const char *where);
int  feature_names_parse(FeatureNames *f, const char *text);            // a,b,c
int  feature_range_parse(FeatureNames *f, const char *text);            // LOW,HIGH for all
int  feature_names_read(FeatureNames *f, const Json *j, int list, const char *where);
int  feature_range_read(FeatureNames *f, const Json *j, int list, const char *where);
FeatureNames feature_names_none(void);                                  // none, no range
int  feature_find(const FeatureNames *f, const char *name);             // its number, or -1
void feature_names_text(const FeatureNames *f, char text[256]);         // "a, b, c"

// the row being read
typedef enum { FEATURES_NONE, FEATURES_ONE, FEATURES_PAIR, FEATURES_LIST } FeaturesForm;
FeaturesForm row_features_form(const Reader *r, int *answers);
int  row_features_header(const Reader *r, FeatureNames *listed);        // of a line of names
int  row_feature_names(const Reader *r, FeatureNames *f, const FeatureNames *listed);
int  row_features(const Reader *r, const FeatureNames *f, const FeatureNames *listed, int answer,
                  double *out);
int  row_count_features(const Reader *r, const FeatureNames *f, const Passage *answer, double *out);
int  feature_is_counted(const FeatureNames *f, int i);                  // a row of text_features.c
void feature_ranges_counted(FeatureNames *f);                           // of those: their ranges

// ------------------------------------------------------------------------------------------- names

// Adds a name of n bytes.  0, or -1 after fail() that begins with where it stands.
int feature_name_add(FeatureNames *f, const char *name, size_t n, const char *where) {
    if (f->n == MAX_FEATURES) {
        return fail(EX_DATAERR, "%s: more than %d features", where, MAX_FEATURES);
    }
    if (n == 0 || n >= FEATURE_NAME) {
        return fail(EX_DATAERR, "%s: the name of a feature has from 1 to %d bytes, not %zu", where,
                    FEATURE_NAME - 1, n);
    }
    for (size_t i = 0; i < n; i++) {
        if (!iscntrl((unsigned char)name[i]) && name[i] != ',' && name[i] != '"') continue;
        return fail(EX_DATAERR, "%s: the name of a feature holds a comma, a quote or a control "
                    "character", where);
    }
    char *to = f->name[f->n];
    memcpy(to, name, n);
    to[n] = 0;
    for (int i = 0; i < f->n; i++) {
        if (!strcmp(f->name[i], to)) {
            return fail(EX_DATAERR, "%s: two features are called %s", where, to);
        }
    }
    f->n++;
    return 0;
}

// a,b,c.  0, or -1 after fail().
int feature_names_parse(FeatureNames *f, const char *text) {
    f->n = 0;
    for (;;) {
        const size_t n = strcspn(text, ",");
        if (feature_name_add(f, text, n, "--features") < 0) {
            error_code = EX_USAGE;
            return -1;
        }
        if (!text[n]) return 0;
        text += n + 1;
    }
}

// LOW,HIGH of all features, named yet or not.  0, or -1 after fail().
int feature_range_parse(FeatureNames *f, const char *text) {
    char *end;
    const double low = strtod(text, &end);
    const int comma = end > text && *end == ',';
    const char *second = comma ? end + 1 : text;
    const double high = strtod(second, &end);
    if (!comma || end == second || *end || !isfinite(low) || !isfinite(high) || !(low < high)) {
        return fail(EX_USAGE, "--feature_range %s: LOW,HIGH are needed, the lower one first", text);
    }
    for (int i = 0; i < MAX_FEATURES; i++) {
        f->low[i] = low;
        f->high[i] = high;
    }
    return 0;
}

// No names, and no range.
FeatureNames feature_names_none(void) {
    FeatureNames f = {0};
    for (int i = 0; i < MAX_FEATURES; i++) {
        f.low[i] = -HUGE_VAL;
        f.high[i] = HUGE_VAL;
    }
    return f;
}

int feature_find(const FeatureNames *f, const char *name) {
    for (int i = 0; i < f->n; i++) {
        if (!strcmp(f->name[i], name)) return i;
    }
    return -1;
}

// "a, b, c", cut where there is no more room.
void feature_names_text(const FeatureNames *f, char text[256]) {
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < f->n && at < 255; i++) {
        const int n = snprintf(text + at, 256 - at, "%s%s", i ? ", " : "", f->name[i]);
        at += (size_t)n;
    }
}

// Takes a list of names.  where: file and perhaps line.  0, or -1 after fail().
int feature_names_read(FeatureNames *f, const Json *j, int list, const char *where) {
    f->n = 0;
    if (json_type(j, list) != JSON_ARRAY || json_count(j, list) == 0) {
        return fail(EX_DATAERR, "%s: \"feature_names\" must be a list of names", where);
    }
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (json_type(j, i) != JSON_STRING) {
            return fail(EX_DATAERR, "%s: \"feature_names\" must be a list of names", where);
        }
        if (feature_name_add(f, json_string(j, i), json_length(j, i), where) < 0) return -1;
    }
    return 0;
}

// One [low, high]; an end may be null: none.  0, or -1 after fail().
static int read_one_range(double *low, double *high, const Json *j, int pair, const char *where) {
    const int first = json_first(j, pair), second = json_next(j, first);
    const JsonType a = json_type(j, first), b = json_type(j, second);
    const int two = json_type(j, pair) == JSON_ARRAY && json_count(j, pair) == 2;
    if (two && a == JSON_NUMBER) *low = json_number(j, first);
    if (two && b == JSON_NUMBER) *high = json_number(j, second);
    if (two && (a == JSON_NUMBER || a == JSON_NULL) && (b == JSON_NUMBER || b == JSON_NULL)
        && *low < *high) return 0;
    return fail(EX_DATAERR, "%s: \"feature_range\" must be [low, high], for all features or a list "
                "of one for each", where);
}

// Takes the range of all features that f names, or a list of one for each.  0, or -1 after fail().
int feature_range_read(FeatureNames *f, const Json *j, int list, const char *where) {
    int of_each = json_type(j, json_first(j, list)) == JSON_ARRAY;
    int v = of_each ? json_first(j, list) : list;
    if (of_each && json_count(j, list) != f->n) {
        return fail(EX_DATAERR, "%s: \"feature_range\" has %d ranges for %d features", where,
                    json_count(j, list), f->n);
    }
    for (int i = 0; i < f->n; i++) {
        if (read_one_range(&f->low[i], &f->high[i], j, v, where) < 0) return -1;
        if (of_each) v = json_next(j, v);
    }
    return 0;
}

// ------------------------------------------------------------------------------------------ a row

// A line of names, and perhaps ranges.  0, or -1 after fail().
int row_features_header(const Reader *r, FeatureNames *listed) {
    const Json *j = &r->json;
    char where[FILENAME_MAX + 32];
    snprintf(where, sizeof where, "%s:%zu", r->path, r->line);
    const int range = row_get(r, 0, "feature_range");
    if (feature_names_read(listed, j, json_get(j, 0, "feature_names"), where) < 0) return -1;
    return range < 0 ? 0 : feature_range_read(listed, j, range, where);
}

static int is_group(const Json *j, int v) {
    return json_type(j, v) == JSON_OBJECT || json_type(j, v) == JSON_ARRAY;
}

// How the row's features stand, and of how many answers.
FeaturesForm row_features_form(const Reader *r, int *answers) {
    const Json *j = &r->json;
    const int v = row_get(r, 0, "features");
    const int chosen = row_get(r, v < 0 ? 0 : v, "chosen");
    const int rejected = row_get(r, v < 0 ? 0 : v, "rejected");
    *answers = 2;
    if (row_get(r, 0, "features_chosen") >= 0) return FEATURES_PAIR;
    if (row_get(r, 0, "features_rejected") >= 0) return FEATURES_PAIR;
    *answers = 0;
    if (v < 0) return FEATURES_NONE;
    *answers = 2;
    if (json_type(j, v) == JSON_OBJECT && (is_group(j, chosen) || is_group(j, rejected))) {
        return FEATURES_PAIR;
    }
    *answers = json_count(j, v);
    if (json_type(j, v) == JSON_ARRAY && is_group(j, json_first(j, v))) return FEATURES_LIST;
    *answers = 1;
    return FEATURES_ONE;
}

// The features of an answer, by its place in the row; -1 where there are none.
static int features_of(const Reader *r, int answer) {
    const Json *j = &r->json;
    const int v = row_get(r, 0, "features");
    int answers;
    switch (row_features_form(r, &answers)) {
    case FEATURES_ONE: return v;
    case FEATURES_PAIR:
        if (v >= 0) return row_get(r, v, answer ? "rejected" : "chosen");
        return row_get(r, 0, answer ? "features_rejected" : "features_chosen");
    case FEATURES_LIST: break;
    default:            return -1;
    }
    int element = json_first(j, v);
    for (int i = 0; i < answer; i++) element = json_next(j, element);
    return element;
}

// Are they an object or a list?  0, or -1 after fail().
static int check_features(const Reader *r, int answer) {
    const int v = features_of(r, answer);
    if (is_group(&r->json, v)) return 0;
    return row_fail(r, "the features of answer %d are %s; an object {\"name\": number, ...} or a "
                    "list of numbers is needed", answer + 1, row_type_name(r, v));
}

/* f has the features of the rows of a file: where it names none, those of this row, or of the line
 * of names `listed`, whose ranges count where f has none.  0, or -1 after fail().                */
int row_feature_names(const Reader *r, FeatureNames *f, const FeatureNames *listed) {
    const Json *j = &r->json;
    char where[FILENAME_MAX + 32];
    const int v = features_of(r, 0);
    snprintf(where, sizeof where, "%s:%zu", r->path, r->line);
    if (check_features(r, 0) < 0) return -1;
    if (f->n == 0 && json_type(j, v) == JSON_OBJECT) {
        for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
            const char *key = json_key(j, i);
            if (feature_name_add(f, key, json_key_length(j, i), where) < 0) return -1;
        }
    }
    const int from_list = f->n == 0;
    for (int i = 0; from_list && i < listed->n; i++) {
        const char *name = listed->name[i];
        if (feature_name_add(f, name, strlen(name), where) < 0) return -1;
    }
    if (f->n == 0) {
        return row_fail(r, "the features have no names: begin the file with the line "
                        "{\"feature_names\": [...]}, or give --features a,b,c");
    }
    for (int i = 0; i < f->n; i++) {
        const int k = feature_find(listed, f->name[i]);
        if (k < 0 || f->low[i] > -HUGE_VAL || f->high[i] < HUGE_VAL) continue;
        f->low[i] = listed->low[k];
        f->high[i] = listed->high[k];
    }
    return 0;
}

// Of a list of numbers, the place of each feature is that in the line of names.
static int find_in_list(const Reader *r, int v, const FeatureNames *listed, const char *name) {
    const Json *j = &r->json;
    int i = json_first(j, v);
    for (int k = feature_find(listed, name); k > 0; k--) i = json_next(j, i);
    return i;
}

// A list must be as long as the line of names, which must have all features.
static int check_list(const Reader *r, int v, const FeatureNames *f, const FeatureNames *listed) {
    const int count = json_count(&r->json, v);
    if (listed->n == 0) {
        return row_fail(r, "a list of numbers without names: begin the file with the line "
                        "{\"feature_names\": [...]}, or give their names with --features a,b,c");
    }
    if (count != listed->n) {
        return row_fail(r, "%d features; there are %d names", count, listed->n);
    }
    for (int i = 0; i < f->n; i++) {
        if (feature_find(listed, f->name[i]) >= 0) continue;
        char names[256];
        feature_names_text(listed, names);
        return row_fail(r, "no feature \"%s\"; the names are %s", f->name[i], names);
    }
    return 0;
}

// A feature that f does not name is none of the first row's: perhaps a word is misspelt.  What is
// read was asked for by name elsewhere, others may stand beside it.
static int check_object(const Reader *r, int v, const FeatureNames *f) {
    const Json *j = &r->json;
    if (r->options->features->n) return 0;
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (feature_find(f, json_key(j, i)) >= 0) continue;
        return row_fail(r, "feature \"%.60s\" is not one of the first row's; complete those rows, "
                        "or choose with --features", json_key(j, i));
    }
    return 0;
}

static int check_value(const Reader *r, int v, const FeatureNames *f, int i, double *out) {
    const char *name = f->name[i];
    char names[256];
    switch (json_type(&r->json, v)) {
    case JSON_NUMBER:
        break;
    case JSON_NONE:
        feature_names_text(f, names);
        return row_fail(r, "feature \"%s\" is missing; needed are %s", name, names);
    case JSON_NULL:
        return row_fail(r, "feature \"%s\" is null; complete the row, or leave such rows out with "
                        "--bad_rows drop", name);
    case JSON_STRING:
        return row_fail(r, "feature \"%s\" is \"%.40s\"; a number is needed", name,
                        json_string(&r->json, v));
    default:
        return row_fail(r, "feature \"%s\" is %s; a number is needed", name, row_type_name(r, v));
    }
    *out = json_number(&r->json, v);
    if (!isfinite(*out)) return row_fail(r, "feature \"%s\" is not finite", name);
    if (*out >= f->low[i] && *out <= f->high[i]) return 0;
    return row_fail(r, "feature \"%s\" is %g, its range is %g to %g; correct the row or the range "
                    "(--feature_range of train features), or leave such rows out with --bad_rows "
                    "drop", name, *out, f->low[i], f->high[i]);
}

// The features f of an answer, by its place in the row, to out (f->n); numbers in lists stand as
// `listed` names them.  0, or -1 after fail().
int row_features(const Reader *r, const FeatureNames *f, const FeatureNames *listed, int answer,
                 double *out) {
    const Json *j = &r->json;
    const int v = features_of(r, answer);
    const int is_list = json_type(j, v) == JSON_ARRAY;
    if (check_features(r, answer) < 0) return -1;
    if (is_list && check_list(r, v, f, listed) < 0) return -1;
    if (!is_list && check_object(r, v, f) < 0) return -1;
    for (int i = 0; i < f->n; i++) {
        const char *name = f->name[i];
        const int value = is_list ? find_in_list(r, v, listed, name) : json_get(j, v, name);
        if (check_value(r, value, f, i, &out[i]) < 0) return -1;
    }
    return 0;
}

// ------------------------------------------------------------------------- counted from the texts

// Is feature i of f one that is counted from texts alone, or from a reference too?
int feature_is_counted(const FeatureNames *f, int i) {
    const int k = text_feature_find(f->name[i]);
    if (k < 0 || text_feature_table[k].need == NEEDS_MODEL) return 0;
    return f->low[i] == text_feature_table[k].low && f->high[i] == text_feature_table[k].high;
}

// Those of f that text_features.c has get its ranges.
void feature_ranges_counted(FeatureNames *f) {
    for (int i = 0; i < f->n; i++) {
        const int k = text_feature_find(f->name[i]);
        if (k < 0) continue;
        f->low[i] = text_feature_table[k].low;
        f->high[i] = text_feature_table[k].high;
    }
}

// The features f of an answer of a row that brings none, to out (f->n).  0, or -1 after fail().
int row_count_features(const Reader *r, const FeatureNames *f, const Passage *answer,
                       double *out) {
    const char *text = r->rendered.data;
    const int reference = row_get(r, 0, "reference");
    FeatureTexts t = {
        .prompt = text + r->prompt.start, .prompt_len = r->prompt.len,
        .answer = text + answer->start, .answer_len = answer->len,
    };
    int which[MAX_FEATURES];
    if (json_type(&r->json, reference) == JSON_STRING) {
        t.reference = json_string(&r->json, reference);
        t.reference_len = json_length(&r->json, reference);
    }
    if (f->n == 0) {
        return row_fail(r, "the row has no \"features\"; more judge adds some, and --features "
                        "names those that are counted here");
    }
    for (int i = 0; i < f->n; i++) {
        if (!feature_is_counted(f, i)) {
            return row_fail(r, "the row has no \"features\", and \"%s\" is none that is counted "
                            "from texts, in the range that it has here", f->name[i]);
        }
        which[i] = text_feature_find(f->name[i]);
        if (text_feature_table[which[i]].need != NEEDS_REFERENCE || t.reference) continue;
        return row_fail(r, "feature \"%s\" compares with a \"reference\", a text, which the row "
                        "has not", f->name[i]);
    }
    return text_features_compute(out, which, f->n, &t);
}
#endif

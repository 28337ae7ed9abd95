/* values.c - what rows have under a key of the user's: an annotator, a category, a group.
 *
 * Values are kept as text, one after the other, each with a zero behind it, and known by where they
 * begin.  Numbers, true and false are values too: 7 and "7" are the same annotator.              */
#ifndef VALUES_C
#define VALUES_C
#include "dataset.c"

typedef struct {
    const char *text;                   // what stands there
    size_t item;                        // the number of the row or pair
} Value;

// of a row of a file; of an object in JSON
int  values_append_row(Buffer *values, size_t *at, const Dataset *d, const Record *r,
                       const char *key, Json *scratch);
int  values_append(Buffer *values, size_t *at, const Json *json, int object, const char *key,
                   const char *path, size_t line);
void values_sort(Value *value, size_t n);

// The string (len) goes to values, with a zero; *at is where.  It is printed: control characters
// become '_'.
static int append_value(Buffer *values, size_t *at, const char *value, size_t len) {
    *at = values->len;
    if (buffer_append(values, value, len) < 0) return -1;
    if (buffer_append(values, "", 1) < 0) return -1;
    char *kept = values->data + *at;
    for (size_t i = 0; i < len; i++) {
        if (iscntrl((unsigned char)kept[i])) kept[i] = '_';
    }
    return 0;
}

/* Appends what a JSON object has under the key to values: the string, the number or true or false;
 * "" where there is nothing or null.  *at: where it begins.  Whole numbers, which may be ids, stay
 * apart.  0, or -1 after fail() with the place.                                                  */
int values_append(Buffer *values, size_t *at, const Json *json, int object, const char *key,
                  const char *path, size_t line) {
    const int v = json_get(json, object, key);
    char number[32];
    int64_t whole;
    switch (json_type(json, v)) {
    case JSON_NONE:   return append_value(values, at, "", 0);
    case JSON_NULL:   return append_value(values, at, "", 0);
    case JSON_STRING: return append_value(values, at, json_string(json, v), json_length(json, v));
    case JSON_TRUE:   return append_value(values, at, "true", 4);
    case JSON_FALSE:  return append_value(values, at, "false", 5);
    case JSON_NUMBER:
        if (fabs(json_number(json, v)) > 0x1p53) {
            return fail(EX_DATAERR, "%s:%zu: \"%s\" is a number of more digits than are read; "
                        "write it as a string", path, line, key);
        }
        if (json_integer(json, v, &whole)) snprintf(number, 32, "%lld", (long long)whole);
        else snprintf(number, 32, "%.15g", json_number(json, v));
        return append_value(values, at, number, strlen(number));
    default:
        return fail(EX_DATAERR, "%s:%zu: \"%s\" is not one value: a string, a number, true or "
                    "false is needed", path, line, key);
    }
}

// The same of the row of r.
int values_append_row(Buffer *values, size_t *at, const Dataset *d, const Record *r,
                      const char *key, Json *scratch) {
    const char *row = d->contents.data + r->line_start;
    scratch->first_line = r->line;
    if (json_parse(scratch, row, r->line_len, d->path) < 0) return -1;
    return values_append(values, at, scratch, 0, key, d->path, r->line);
}

static int compare_values(const void *a, const void *b) {
    const Value *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order ? order : (x->item > y->item) - (x->item < y->item);
}

// By value, equal ones by number.
void values_sort(Value *value, size_t n) { qsort(value, n, sizeof *value, compare_values); }
#endif

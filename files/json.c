/* json.c - a strict JSON reader, and the quoting a writer needs.
 *
 *     Json j = {0};                                   // reuse it for many texts: nothing is freed in between
 *     if (json_parse(&j, text, len, path) < 0) ...    // error_text: "path:line:column: what is wrong"
 *     int name = json_get(&j, 0, "name");             // a value is an int: 0 is the root, -1 is none
 *     if (json_type(&j, name) == JSON_STRING) puts(json_string(&j, name));
 *     for (int i = json_first(&j, list); i >= 0; i = json_next(&j, i)) ... json_number(&j, i)
 *     json_free(&j);
 *
 * json_type(-1) is JSON_NONE, json_first(-1) is -1, json_get in anything but an object is -1, so look-ups
 * chain.  json_get walks the object: for a large one, walk once with json_first and json_next instead.
 * Strings are UTF-8 and may hold NUL: their length is json_length (json_key_length), a 0 byte follows.
 * Refused: invalid UTF-8, lone surrogates, a key given twice, more than 64 levels, a number beyond double. */
#ifndef JSON_C
#define JSON_C

#include "../common.h"

typedef enum {
    JSON_NONE, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT
} JsonType;
enum { JSON_DEPTH = 64 };

typedef struct {
    JsonType type;
    int next;                       // the next value in the array or object, or -1; the first is this + 1
    uint32_t count;                 // elements of an array or object
    uint32_t key, key_len;          // in strings: the name in the object
    uint32_t start, len;            // in strings: a string; also the characters of a number
    double number;
} JsonNode;

typedef struct { const char *s; size_t len; } JsonKey;

typedef struct Json {
    size_t first_line;              // may be set before json_parse: the number of the first line (0: 1)
    JsonNode *node_memory;
    size_t num_nodes, node_capacity;
    char *strings_memory;           // unescaped strings, each followed by a 0 byte
    size_t strings_len, strings_capacity;
    JsonKey *keys_memory;           // scratch: the keys of a large object, sorted to find one given twice
    size_t keys_capacity;
    const char *text, *p, *end, *what;
} Json;

// ------------------------------------------------------------------------------------------------ UTF-8

// The code point at s (n > 0 bytes left); returns its length, or 0 where no well-formed character begins.
int utf8_decode(const char *s, size_t n, uint32_t *code) {
    const unsigned char *b = (const unsigned char *)s;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = b[0];
    if (c < 0x80) return *code = c, 1;
    int len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (!len || (size_t)len > n) return 0;
    c &= 0x7fu >> len;
    for (int i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (b[i] & 0x3f);
    }
    *code = c;
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

// Writes c at s (room for 4 bytes); returns the length.
int utf8_encode(char *s, uint32_t c) {
    if (c < 0x80) return s[0] = (char)c, 1;
    int len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = len - 1; i > 0; i--, c >>= 6) s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(0xf00 >> len | c);
    return len;
}

// ---------------------------------------------------------------------------------------------- parsing

// Fails with the place of p.
static int json_fail(Json *j, const char *p, const char *reason) {
    size_t line = j->first_line ? j->first_line : 1;
    const char *start = j->text;
    for (const char *c = j->text; c < p; c++) if (*c == '\n') line++, start = c + 1;
    return fail(EX_DATAERR, "%s:%zu:%zu: %s", j->what, line, (size_t)(p - start) + 1, reason);
}

static void skip_space(Json *j) {
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r')) j->p++;
}

static int hex4(const char *p) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i], d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

// A backslash and what follows it, to *out.
static int parse_escape(Json *j, char **out) {
    static const char name[] = "\"\\/bfnrt", value[] = "\"\\/\b\f\n\r\t";
    const char *at = j->p, *found;
    if (j->end - at < 2) return json_fail(j, at, "the string does not end");
    if (at[1] != 'u') {
        if (!at[1] || !(found = strchr(name, at[1]))) return json_fail(j, at, "unknown escape in a string");
        *(*out)++ = value[found - name];
        j->p += 2;
        return 0;
    }
    int high = j->end - at < 6 ? -1 : hex4(at + 2), low;
    if (high < 0) return json_fail(j, at, "\\u needs four hexadecimal digits");
    j->p += 6;
    if (high >= 0xd800 && high < 0xe000) {
        low = high >= 0xdc00 || j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u' ? -1 : hex4(j->p + 2);
        if (low < 0xdc00 || low >= 0xe000) return json_fail(j, at, "half of a surrogate pair");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        j->p += 6;
    }
    *out += utf8_encode(*out, (uint32_t)high);
    return 0;
}

static int is_plain(int c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

// The string at p, unescaped into strings.  There is room: a string is never longer than it was in quotes.
static int parse_string(Json *j, uint32_t *start, uint32_t *len) {
    const char *open = j->p++;
    char *out = j->strings_memory + j->strings_len;
    uint32_t code;
    for (;;) {
        const char *from = j->p;
        while (j->p < j->end && is_plain((unsigned char)*j->p)) j->p++;
        memcpy(out, from, (size_t)(j->p - from));
        out += j->p - from;
        if (j->p == j->end) return json_fail(j, open, "the string does not end");
        if (*j->p == '"') break;
        if (*j->p == '\\') {
            if (parse_escape(j, &out) < 0) return -1;
            continue;
        }
        if (!(*j->p & 0x80)) return json_fail(j, j->p, "a control character in a string: write \\u00XX");
        int n = utf8_decode(j->p, (size_t)(j->end - j->p), &code);
        if (!n) return json_fail(j, j->p, "not UTF-8");
        for (; n > 0; n--) *out++ = *j->p++;
    }
    j->p++;
    *start = (uint32_t)j->strings_len;
    *len = (uint32_t)(out - (j->strings_memory + j->strings_len));
    *out = 0;
    j->strings_len += *len + (size_t)1;
    return 0;
}

static int is_digit(const Json *j) { return j->p < j->end && *j->p >= '0' && *j->p <= '9'; }

static int parse_number(Json *j, JsonNode *node) {
    const char *at = j->p;
    j->p += *j->p == '-';
    if (!is_digit(j)) return json_fail(j, at, "unexpected character");
    if (*j->p == '0') j->p++;
    else while (is_digit(j)) j->p++;
    if (j->p < j->end && *j->p == '.') {
        j->p++;
        if (!is_digit(j)) return json_fail(j, at, "a number with no digit after the point");
        while (is_digit(j)) j->p++;
    }
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        j->p++;
        j->p += j->p < j->end && (*j->p == '+' || *j->p == '-');
        if (!is_digit(j)) return json_fail(j, at, "a number with no digit in the exponent");
        while (is_digit(j)) j->p++;
    }
    char *copy = j->strings_memory + j->strings_len;
    node->start = (uint32_t)j->strings_len;
    node->len = (uint32_t)(j->p - at);
    memcpy(copy, at, node->len);
    copy[node->len] = 0;
    j->strings_len += node->len + (size_t)1;
    node->number = strtod(copy, NULL);
    return isfinite(node->number) ? 0 : json_fail(j, at, "a number out of range");
}

static int compare_keys(const void *a, const void *b) {
    const JsonKey *x = a, *y = b;
    int order = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

// All keys of an object differ: each with each when they are few, sorted neighbours when many.
static int check_keys(Json *j, int object) {
    size_t n = 0;
    size_t count = j->node_memory[object].count;
    if (reserve(&j->keys_memory, &j->keys_capacity, count, sizeof *j->keys_memory) < 0) return -1;
    JsonKey *key = j->keys_memory, *twice = NULL;
    for (int i = object + 1; i >= 0; i = j->node_memory[i].next, n++)
        key[n] = (JsonKey){j->strings_memory + j->node_memory[i].key, j->node_memory[i].key_len};
    if (n > 16) {
        qsort(key, n, sizeof *key, compare_keys);
        for (size_t i = 1; i < n && !twice; i++) if (compare_keys(&key[i-1], &key[i]) == 0) twice = &key[i];
    } else {
        for (size_t i = 1; i < n; i++)
            for (size_t k = 0; k < i && !twice; k++)
                if (key[i].len == key[k].len && !memcmp(key[i].s, key[k].s, key[i].len)) twice = &key[i];
    }
    if (!twice) return 0;
    char reason[128];
    snprintf(reason, sizeof reason, "the object that ends here has the key \"%.60s\" twice", twice->s);
    return json_fail(j, j->p, reason);
}

static int parse_value(Json *j, int depth, uint32_t key, uint32_t key_len);

// What follows [ or {: elements up to the closing bracket.
static int parse_elements(Json *j, int parent, int depth) {
    int object = j->node_memory[parent].type == JSON_OBJECT, last = -1;
    char close = object ? '}' : ']';
    if (depth == JSON_DEPTH) return json_fail(j, j->p, "more than 64 levels of brackets");
    j->p++;
    skip_space(j);
    if (j->p < j->end && *j->p == close) return j->p++, 0;
    for (;;) {
        uint32_t key = 0, key_len = 0;
        if (object) {
            if (j->p == j->end || *j->p != '"') return json_fail(j, j->p, "a key in quotes is expected");
            if (parse_string(j, &key, &key_len) < 0) return -1;
            skip_space(j);
            if (j->p == j->end || *j->p != ':') return json_fail(j, j->p, "':' is expected after a key");
            j->p++;
        }
        int value = (int)j->num_nodes;
        if (parse_value(j, depth + 1, key, key_len) < 0) return -1;
        if (last >= 0) j->node_memory[last].next = value;
        j->node_memory[parent].count++;
        last = value;
        skip_space(j);
        if (j->p < j->end && *j->p == close) break;
        if (j->p == j->end || *j->p != ',')
            return json_fail(j, j->p, object ? "',' or '}' is expected" : "',' or ']' is expected");
        j->p++;
        skip_space(j);
    }
    if (object && j->node_memory[parent].count > 1 && check_keys(j, parent) < 0) return -1;
    j->p++;
    return 0;
}

static int parse_word(Json *j, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n)) return json_fail(j, j->p, "unexpected word");
    j->p += n;
    return 0;
}

static int parse_value(Json *j, int depth, uint32_t key, uint32_t key_len) {
    if (j->num_nodes >= INT_MAX) return json_fail(j, j->p, "too many values");
    if (reserve(&j->node_memory, &j->node_capacity, j->num_nodes + 1, sizeof *j->node_memory) < 0) return -1;
    int n = (int)j->num_nodes++;
    JsonNode *node = &j->node_memory[n];
    *node = (JsonNode){.next = -1, .key = key, .key_len = key_len};
    skip_space(j);
    if (j->p == j->end) return json_fail(j, j->p, "a value is expected, not the end");
    switch (*j->p) {
    case '{': return node->type = JSON_OBJECT, parse_elements(j, n, depth);
    case '[': return node->type = JSON_ARRAY,  parse_elements(j, n, depth);
    case '"': return node->type = JSON_STRING, parse_string(j, &node->start, &node->len);
    case 'n': return node->type = JSON_NULL,   parse_word(j, "null");
    case 't': return node->type = JSON_TRUE,   parse_word(j, "true");
    case 'f': return node->type = JSON_FALSE,  parse_word(j, "false");
    default:  return node->type = JSON_NUMBER, parse_number(j, node);
    }
}

// Parses one JSON value that fills the text.  Errors name what, a path.  A byte order mark may begin line 1.
int json_parse(Json *j, const char *text, size_t len, const char *what) {
    j->num_nodes = j->strings_len = 0;
    j->what = what;
    j->text = j->p = text;
    j->end = text + len;
    if (len >= INT_MAX) return fail(EX_DATAERR, "%s: JSON of 2 GiB or more is not read", what);
    if (reserve(&j->strings_memory, &j->strings_capacity, len + 8, 1) < 0) return -1;
    if (len >= 3 && j->first_line <= 1 && !memcmp(text, "\xef\xbb\xbf", 3)) j->p += 3;
    int bad = parse_value(j, 0, 0, 0) < 0;
    if (!bad) skip_space(j);
    if (!bad && j->p < j->end) bad = json_fail(j, j->p, "more text after the value");
    if (bad) j->num_nodes = 0;
    return bad ? -1 : 0;
}

void json_free(Json *j) {
    free(j->node_memory);
    free(j->strings_memory);
    free(j->keys_memory);
    memset(j, 0, sizeof *j);
}

// ---------------------------------------------------------------------------------------------- reading

static const JsonNode *json_node(const Json *j, int n) {
    static const JsonNode none = {.next = -1};
    return n >= 0 && (size_t)n < j->num_nodes ? &j->node_memory[n] : &none;
}

JsonType    json_type(const Json *j, int n)       { return json_node(j, n)->type; }
int         json_next(const Json *j, int n)       { return json_node(j, n)->next; }
int         json_first(const Json *j, int n)      { return json_node(j, n)->count ? n + 1 : -1; }
int         json_count(const Json *j, int n)      { return (int)json_node(j, n)->count; }
double      json_number(const Json *j, int n)     { return json_node(j, n)->number; }
size_t      json_length(const Json *j, int n)     { return json_node(j, n)->len; }
size_t      json_key_length(const Json *j, int n) { return json_node(j, n)->key_len; }
const char *json_key(const Json *j, int n)        { return j->strings_memory + json_node(j, n)->key; }

// The bytes of a string, the characters of a number, "" of anything else.
const char *json_string(const Json *j, int n) {
    const JsonNode *node = json_node(j, n);
    return node->type == JSON_STRING || node->type == JSON_NUMBER ? j->strings_memory + node->start : "";
}

// The value named key of an object, or -1.
int json_get(const Json *j, int object, const char *key) {
    size_t len = strlen(key);
    if (json_type(j, object) != JSON_OBJECT) return -1;
    for (int i = json_first(j, object); i >= 0; i = json_next(j, i))
        if (j->node_memory[i].key_len == len && !memcmp(json_key(j, i), key, len)) return i;
    return -1;
}

// Is it the string s?
int json_equal(const Json *j, int n, const char *s) {
    size_t len = strlen(s);
    return json_type(j, n) == JSON_STRING && json_length(j, n) == len && !memcmp(json_string(j, n), s, len);
}

// 1 and *value when n is a whole number that a double holds exactly, else 0.
int json_integer(const Json *j, int n, int64_t *value) {
    double x = json_number(j, n);
    if (json_type(j, n) != JSON_NUMBER || fabs(x) > 9007199254740992.0 || x != floor(x)) return 0;
    *value = (int64_t)x;
    return 1;
}

// ---------------------------------------------------------------------------------------------- writing

// Appends n bytes as a JSON string; a byte that is not UTF-8 becomes U+FFFD.
int json_quote(Buffer *out, const char *s, size_t n) {
    static const char name[] = "btn.fr";                              // of 8, 9, 10, 12 and 13
    int bad = buffer_append(out, "\"", 1) < 0;
    for (size_t i = 0, run; i < n && !bad; ) {
        uint32_t code;
        int len = 1;
        for (run = i; i < n && (len = utf8_decode(s + i, n - i, &code)); i += (size_t)len)
            if (code < 0x80 && !is_plain((int)code)) break;
        bad = i > run && buffer_append(out, s + run, i - run) < 0;
        if (bad || i == n) break;
        unsigned char c = (unsigned char)s[i++];
        if (!len) bad = buffer_append(out, "\xef\xbf\xbd", 3) < 0;
        else if (c == '"' || c == '\\') bad = buffer_printf(out, "\\%c", c) < 0;
        else if (c >= 8 && c <= 13 && c != 11) bad = buffer_printf(out, "\\%c", name[c - 8]) < 0;
        else bad = buffer_printf(out, "\\u%04x", c) < 0;
    }
    return bad || buffer_append(out, "\"", 1) < 0 ? -1 : 0;
}

#endif

/* json.c - a strict JSON reader, and the quoting a writer needs.
 *
 *     Json j = {0};                                 // for many texts: nothing is freed in between
 *     if (json_parse(&j, text, len, path) < 0) ...  // error_text: "path:line:column: reason"
 *     int name = json_get(&j, 0, "name");           // a value is an int: 0 is the root, -1 is none
 *     if (json_type(&j, name) == JSON_STRING) puts(json_string(&j, name));
 *     for (int i = json_first(&j, list); i >= 0; i = json_next(&j, i)) ... json_number(&j, i)
 *     json_free(&j);
 *
 * json_type(-1) is JSON_NONE, json_first(-1) is -1, json_get in anything but an object is -1, so
 * look-ups chain.  json_get walks the object: for a large one, walk once with json_first and
 * json_next instead.  Strings are UTF-8 and may hold NUL: their length is json_length
 * (json_key_length), a 0 byte follows.  Refused: invalid UTF-8, lone surrogates, a key given twice,
 * more than 64 levels, a number beyond double.                                                   */
#ifndef JSON_C
#define JSON_C

#include "file.c"

typedef enum {
    JSON_NONE, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT
} JsonType;
enum { JSON_DEPTH = 64 };
enum { JSON_FILE_MAX = 100000000 };     // bytes of a file that json_load reads

// The nodes stand in the order of the text: an element's own elements come before its next.
typedef struct {
    JsonType type;
    int next;                           // the next value in the array or object, or -1
    uint32_t count;                     // elements of an array or object: the first follows this
    uint32_t key, key_len;              // in strings: the name in the object
    uint32_t start, len;                // in strings: a string; also the characters of a number
    double number;
} JsonNode;

typedef struct {
    const char *s;
    size_t len;
} JsonKey;

typedef struct Json {
    size_t first_line;                  // may be set before json_parse: the number of line 1
    JsonNode *node_memory;
    size_t num_nodes, node_capacity;
    char *strings_memory;               // unescaped strings, each followed by a 0 byte
    size_t strings_len, strings_capacity;
    JsonKey *keys_memory;               // scratch: an object's keys, to find one given twice
    size_t keys_capacity;
    const char *text, *end;             // all of the text
    const char *p;                      // the parser has read up to here
    const char *what;                   // the path that errors name
} Json;

// parsing
int         json_parse(Json *j, const char *text, size_t len, const char *what);
int         json_load(Json *j, const char *path);                  // a file that is one object
int         json_load_beside(Json *j, const char *path, const char *name);     // may be absent
void        json_free(Json *j);

// looking values up
JsonType    json_type(const Json *j, int n);
int         json_first(const Json *j, int n);                      // of an array or object, or -1
int         json_next(const Json *j, int n);                       // the one after n, or -1
int         json_count(const Json *j, int n);                      // elements
int         json_get(const Json *j, int object, const char *key);  // the value of that name, or -1
const char *json_key(const Json *j, int n);                        // n's name in its object
size_t      json_key_length(const Json *j, int n);

// their contents
double      json_number(const Json *j, int n);
int         json_integer(const Json *j, int n, int64_t *value);    // is it a whole number?
const char *json_string(const Json *j, int n);                     // "" if it is none
size_t      json_length(const Json *j, int n);                     // bytes of the string
int         json_equal(const Json *j, int n, const char *s);       // is it the string s?
int         json_off(const Json *j, int n);                        // absent, null, false, empty?

// writing, and UTF-8
int         json_quote(Buffer *out, const char *s, size_t n);      // n bytes as a JSON string
int         json_print(Buffer *out, const Json *j, int n, int indent);     // as Python's json.dumps
const char *json_decimal(char text[40], double x, int is_float);
int         json_with_member(Buffer *out, const char *object, const char *key, const char *value);
int         utf8_decode(const char *s, size_t n, uint32_t *code);
int         is_space(char c);                                      // as JSON has it
int         utf8_encode(char *s, uint32_t c);

// ------------------------------------------------------------------------------------------- UTF-8

// The bytes of a character that begins with this one, or 0 if none does.
static int utf8_length(unsigned char first) {
    if (first < 0x80) return 1;
    if (first < 0xc2) return 0;                     // inside a character, or one longer than needed
    if (first < 0xe0) return 2;
    if (first < 0xf0) return 3;
    if (first < 0xf5) return 4;
    return 0;                                       // beyond U+10FFFF
}

// The code point at s (n > 0 bytes left); returns its length, or 0 where no well-formed one begins.
int utf8_decode(const char *s, size_t n, uint32_t *code) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};     // what needs so many bytes
    const unsigned char *b = (const unsigned char *)s;
    int len = utf8_length(b[0]);
    if (!len || (size_t)len > n) return 0;
    uint32_t c = len == 1 ? b[0] : b[0] & 0x7fu >> len;
    for (int i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (b[i] & 0x3f);
    }
    *code = c;
    int surrogate = c >= 0xd800 && c < 0xe000;
    return c < least[len] || c > 0x10ffff || surrogate ? 0 : len;
}

// Writes c at s (room for 4 bytes); returns the length.
int utf8_encode(char *s, uint32_t c) {
    if (c < 0x80) {
        s[0] = (char)c;
        return 1;
    }
    int len = 2;
    if (c >= 0x800) len = 3;
    if (c >= 0x10000) len = 4;
    for (int i = len - 1; i > 0; i--) {
        s[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    s[0] = (char)(0xf00 >> len | c);                // 110xxxxx, 1110xxxx or 11110xxx
    return len;
}

// ----------------------------------------------------------------------------------------- parsing

// Fails with the place of p.
static int json_fail(Json *j, const char *p, const char *reason) {
    size_t line = j->first_line ? j->first_line : 1;
    const char *start = j->text;                    // of the line
    for (const char *c = j->text; c < p; c++) {
        if (*c != '\n') continue;
        line++;
        start = c + 1;
    }
    return fail(EX_DATAERR, "%s:%zu:%zu: %s", j->what, line, (size_t)(p - start) + 1, reason);
}

int is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static void skip_space(Json *j) {
    while (j->p < j->end && is_space(*j->p)) j->p++;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// The value of a \u and four digits at p, or -1.
static int unicode_escape(const Json *j, const char *p) {
    int value = 0;
    if (j->end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

// A backslash and what follows it, to *out.
static int parse_escape(Json *j, char **out) {
    static const char name[] = "\"\\/bfnrt", value[] = "\"\\/\b\f\n\r\t";
    const char *at = j->p;
    if (j->end - at < 2) return json_fail(j, at, "the string does not end");
    if (at[1] != 'u') {
        const char *found = at[1] ? strchr(name, at[1]) : NULL;
        if (!found) return json_fail(j, at, "unknown escape in a string");
        **out = value[found - name];
        *out += 1;
        j->p += 2;
        return 0;
    }
    int code = unicode_escape(j, at);
    if (code < 0) return json_fail(j, at, "\\u needs four hexadecimal digits");
    j->p += 6;

    // beyond U+FFFF: two escapes, the high half of a surrogate pair and the low one
    if (code >= 0xd800 && code < 0xe000) {
        int low = code < 0xdc00 ? unicode_escape(j, j->p) : -1;
        if (low < 0xdc00 || low >= 0xe000) return json_fail(j, at, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        j->p += 6;
    }
    *out += utf8_encode(*out, (uint32_t)code);
    return 0;
}

// Does a character stand for itself in a string, in one byte?
static int is_plain(int c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

/* The string at p, unescaped to the end of strings.  There is room: it is never longer than it was
 * in quotes.                                                                                     */
static int parse_string(Json *j, uint32_t *start, uint32_t *len) {
    const char *open = j->p;
    char *out = j->strings_memory + j->strings_len;
    uint32_t code;
    j->p++;
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
        if (!(*j->p & 0x80)) {
            return json_fail(j, j->p, "a control character in a string: write \\u00XX");
        }
        int n = utf8_decode(j->p, (size_t)(j->end - j->p), &code);
        if (!n) return json_fail(j, j->p, "not UTF-8");
        memcpy(out, j->p, (size_t)n);
        out += n;
        j->p += n;
    }
    j->p++;
    *start = (uint32_t)j->strings_len;
    *len = (uint32_t)(out - (j->strings_memory + j->strings_len));
    *out = 0;
    j->strings_len += *len + (size_t)1;
    return 0;
}

// Skips digits; returns whether there were any.
static int skip_digits(Json *j) {
    const char *from = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') j->p++;
    return j->p > from;
}

// Skips one character if it is one of these.
static int skip_one(Json *j, const char *of) {
    if (j->p == j->end || !*j->p || !strchr(of, *j->p)) return 0;
    j->p++;
    return 1;
}

// A sign, an integer, a fraction, an exponent; strtod reads the copy, which a 0 byte ends.
static int parse_number(Json *j, JsonNode *node) {
    const char *at = j->p;
    skip_one(j, "-");
    int zero = skip_one(j, "0");                    // no digit may follow a leading zero
    if (!zero && !skip_digits(j)) return json_fail(j, at, "unexpected character");
    if (skip_one(j, ".") && !skip_digits(j)) {
        return json_fail(j, at, "a number with no digit after the point");
    }
    if (skip_one(j, "eE")) {
        skip_one(j, "+-");
        if (!skip_digits(j)) return json_fail(j, at, "a number with no digit in the exponent");
    }
    char *copy = j->strings_memory + j->strings_len;
    node->start = (uint32_t)j->strings_len;
    node->len = (uint32_t)(j->p - at);
    memcpy(copy, at, node->len);
    copy[node->len] = 0;
    j->strings_len += node->len + (size_t)1;
    node->number = strtod(copy, NULL);
    if (!isfinite(node->number)) return json_fail(j, at, "a number out of range");
    return 0;
}

static int compare_keys(const void *a, const void *b) {
    const JsonKey *x = a, *y = b;
    int order = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

// A key that is there twice, or NULL: each with each if they are few, sorted neighbours if many.
static const JsonKey *repeated_key(JsonKey *key, size_t n) {
    if (n > 16) {
        qsort(key, n, sizeof *key, compare_keys);
        for (size_t i = 1; i < n; i++) {
            if (compare_keys(&key[i-1], &key[i]) == 0) return &key[i];
        }
        return NULL;
    }
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (key[i].len == key[k].len && !memcmp(key[i].s, key[k].s, key[i].len)) return &key[i];
        }
    }
    return NULL;
}

static int check_keys(Json *j, int object) {
    size_t n = 0, count = j->node_memory[object].count;
    if (reserve(&j->keys_memory, &j->keys_capacity, count, sizeof *j->keys_memory) < 0) return -1;
    for (int i = object + 1; i >= 0; i = j->node_memory[i].next) {
        const JsonNode *node = &j->node_memory[i];
        j->keys_memory[n] = (JsonKey){.s = j->strings_memory + node->key, .len = node->key_len};
        n++;
    }
    const JsonKey *twice = repeated_key(j->keys_memory, n);
    if (!twice) return 0;
    char reason[128];
    snprintf(reason, sizeof reason, "the object that ends here has the key \"%.60s\" twice",
             twice->s);
    return json_fail(j, j->p, reason);
}

static int parse_value(Json *j, int depth, uint32_t key, uint32_t key_len);

// "key" : of an object's element
static int parse_key(Json *j, uint32_t *key, uint32_t *key_len) {
    if (j->p == j->end || *j->p != '"') return json_fail(j, j->p, "a key in quotes is expected");
    if (parse_string(j, key, key_len) < 0) return -1;
    skip_space(j);
    if (!skip_one(j, ":")) return json_fail(j, j->p, "':' is expected after a key");
    return 0;
}

// A bracket [ or {, and elements up to the closing one.
static int parse_elements(Json *j, int parent, int depth) {
    int object = j->node_memory[parent].type == JSON_OBJECT, last = -1;
    char close = object ? '}' : ']';
    if (depth == JSON_DEPTH) return json_fail(j, j->p, "more than 64 levels of brackets");
    j->p++;
    skip_space(j);
    if (j->p < j->end && *j->p == close) {
        j->p++;
        return 0;
    }
    for (;;) {
        uint32_t key = 0, key_len = 0;
        if (object && parse_key(j, &key, &key_len) < 0) return -1;
        int value = (int)j->num_nodes;
        if (parse_value(j, depth + 1, key, key_len) < 0) return -1;
        if (last >= 0) j->node_memory[last].next = value;
        j->node_memory[parent].count++;             // parsing may have moved node_memory
        last = value;
        skip_space(j);
        if (j->p < j->end && *j->p == close) break;
        if (!skip_one(j, ",")) {
            return json_fail(j, j->p, object ? "',' or '}' is expected" : "',' or ']' is expected");
        }
        skip_space(j);
    }
    if (object && j->node_memory[parent].count > 1 && check_keys(j, parent) < 0) return -1;
    j->p++;                                         // an error of check_keys names the bracket
    return 0;
}

static int parse_word(Json *j, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n)) {
        return json_fail(j, j->p, "unexpected word");
    }
    j->p += n;
    return 0;
}

// What a value is can be seen from its first character.
static JsonType type_of(char first) {
    switch (first) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 'n': return JSON_NULL;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    default:  return JSON_NUMBER;
    }
}

// What Python writes for numbers that JSON does not have.
static int refuse_not_finite(Json *j) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(j->end - j->p) < n || memcmp(j->p, words[i], n)) continue;
        char reason[64];
        snprintf(reason, sizeof reason, "%s is no number of JSON; write null or leave it out",
                 words[i]);
        return json_fail(j, j->p, reason);
    }
    return 0;
}

// One value, appended to the nodes; depth brackets are open around it.
static int parse_value(Json *j, int depth, uint32_t key, uint32_t key_len) {
    size_t need = j->num_nodes + 1;
    if (need > INT_MAX) return json_fail(j, j->p, "too many values");
    if (reserve(&j->node_memory, &j->node_capacity, need, sizeof *j->node_memory) < 0) return -1;
    int n = (int)j->num_nodes;
    JsonNode *node = &j->node_memory[n];
    *node = (JsonNode){.next = -1, .key = key, .key_len = key_len};
    j->num_nodes = need;
    skip_space(j);
    if (j->p == j->end) return json_fail(j, j->p, "a value is expected, not the end");
    node->type = type_of(*j->p);
    switch (node->type) {
    case JSON_OBJECT: return parse_elements(j, n, depth);
    case JSON_ARRAY:  return parse_elements(j, n, depth);
    case JSON_STRING: return parse_string(j, &node->start, &node->len);
    case JSON_NULL:   return parse_word(j, "null");
    case JSON_TRUE:   return parse_word(j, "true");
    case JSON_FALSE:  return parse_word(j, "false");
    default:
        if (refuse_not_finite(j) < 0) return -1;
        return parse_number(j, node);
    }
}

// One value and nothing after it.
static int parse_text(Json *j) {
    if (parse_value(j, 0, 0, 0) < 0) return -1;
    skip_space(j);
    if (j->p < j->end) return json_fail(j, j->p, "more text after the value");
    return 0;
}

/* Parses one JSON value that fills the text.  A byte order mark may begin line 1.  Errors name
 * `what`, a path; after one there are no values.  0, or -1 after fail().                         */
int json_parse(Json *j, const char *text, size_t len, const char *what) {
    j->num_nodes = 0;
    j->strings_len = 0;
    j->what = what;
    j->text = text;
    j->p = text;
    j->end = text + len;
    if (len >= INT_MAX) return fail(EX_DATAERR, "%s: JSON of 2 GiB or more is not read", what);
    if (reserve(&j->strings_memory, &j->strings_capacity, len + 8, 1) < 0) return -1;
    if (len >= 3 && j->first_line <= 1 && !memcmp(text, "\xef\xbb\xbf", 3)) j->p += 3;
    int result = parse_text(j);
    if (result < 0) j->num_nodes = 0;
    return result;
}

// Parses a whole file that must be one JSON object.  0, or -1 after fail().
int json_load(Json *j, const char *path) {
    Buffer text = {0};
    uint64_t size = 0;
    int result = -1;
    int fd = file_open(path, &size);
    if (fd < 0) return -1;
    if (size > JSON_FILE_MAX) {
        fail(EX_DATAERR, "%s: more than 100 MB", path);
        goto done;
    }
    if (reserve(&text.data, &text.capacity, (size_t)size + 1, 1) < 0) goto done;
    if (file_read_at(fd, path, text.data, (size_t)size, 0) < 0) goto done;
    text.data[size] = 0;
    if (file_refuse_pointer(path, text.data, (size_t)size) < 0) goto done;
    if (text.data[0] == '<') {
        fail(EX_DATAERR, "%s: a web page, not the file itself: download it again", path);
        goto done;
    }
    if (json_parse(j, text.data, (size_t)size, path) < 0) goto done;
    if (json_type(j, 0) != JSON_OBJECT) {
        fail(EX_DATAERR, "%s: must be a JSON object", path);
        goto done;
    }
    result = 0;
done:
    close(fd);
    buffer_free(&text);
    return result;
}

// The file `name` in the folder of the file path; j is empty if there is none.
int json_load_beside(Json *j, const char *path, const char *name) {
    char beside[PATH_SIZE];
    struct stat st;
    if (path_beside(beside, path, name) < 0) return -1;
    if (stat(beside, &st) < 0 && errno == ENOENT) return 0;
    return json_load(j, beside);
}

void json_free(Json *j) {
    free(j->node_memory);
    free(j->strings_memory);
    free(j->keys_memory);
    memset(j, 0, sizeof *j);
}

// ------------------------------------------------------------------------------- looking values up

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

const char *json_key(const Json *j, int n) {
    return j->strings_memory + json_node(j, n)->key;
}

// The bytes of a string, the characters of a number, "" of anything else.
const char *json_string(const Json *j, int n) {
    const JsonNode *node = json_node(j, n);
    if (node->type != JSON_STRING && node->type != JSON_NUMBER) return "";
    return j->strings_memory + node->start;
}

// The value named key of an object, or -1.
int json_get(const Json *j, int object, const char *key) {
    size_t len = strlen(key);
    if (json_type(j, object) != JSON_OBJECT) return -1;
    for (int i = json_first(j, object); i >= 0; i = json_next(j, i)) {
        if (j->node_memory[i].key_len == len && !memcmp(json_key(j, i), key, len)) return i;
    }
    return -1;
}

// Is it the string s?
int json_equal(const Json *j, int n, const char *s) {
    size_t len = strlen(s);
    if (json_type(j, n) != JSON_STRING || json_length(j, n) != len) return 0;
    return !memcmp(json_string(j, n), s, len);
}

int json_off(const Json *j, int n) {
    const JsonType type = json_type(j, n);
    if (type == JSON_STRING) return json_length(j, n) == 0;
    if (type == JSON_ARRAY || type == JSON_OBJECT) return json_count(j, n) == 0;
    return type <= JSON_FALSE;
}

// 1 and *value when n is a whole number that a double holds exactly, else 0.
int json_integer(const Json *j, int n, int64_t *value) {
    double x = json_number(j, n);
    if (json_type(j, n) != JSON_NUMBER || fabs(x) > 9007199254740992.0 || x != floor(x)) return 0;
    *value = (int64_t)x;
    return 1;
}

// ----------------------------------------------------------------------------------------- writing

// One character that cannot stand for itself, or U+FFFD (len 0) for a byte that is not UTF-8.
static int quote_special(Buffer *out, unsigned char c, int len) {
    static const char short_name[] = "btn.fr";      // of 8, 9, 10, 12 and 13
    if (len == 0) return buffer_append(out, "\xef\xbf\xbd", 3);
    if (c == '"' || c == '\\') return buffer_printf(out, "\\%c", c);
    if (c >= 8 && c <= 13 && c != 11) return buffer_printf(out, "\\%c", short_name[c - 8]);
    return buffer_printf(out, "\\u%04x", c);
}

// Appends n bytes as a JSON string; what is not UTF-8 becomes U+FFFD.  0, or -1 after fail().
int json_quote(Buffer *out, const char *s, size_t n) {
    size_t copied = 0, i = 0;                       // of s: these are in out, these may go there
    if (buffer_append(out, "\"", 1) < 0) return -1;
    while (i < n) {
        uint32_t code = 0;
        int len = utf8_decode(s + i, n - i, &code);
        if (len > 1 || (len == 1 && is_plain((int)code))) {
            i += (size_t)len;
            continue;
        }
        if (buffer_append(out, s + copied, i - copied) < 0) return -1;
        if (quote_special(out, (unsigned char)s[i], len) < 0) return -1;
        i++;
        copied = i;
    }
    if (copied < n && buffer_append(out, s + copied, n - copied) < 0) return -1;
    return buffer_append(out, "\"", 1);
}

// The shortest decimal that reads back as x, a double or a float, as Python's repr() has it.
const char *json_decimal(char text[40], double x, int is_float) {
    assert(text);                       // gcc's sanitizers warn without it
    const int is_large = fabs(x) >= 1e16;
    for (int digits = 1; digits <= 17; digits++) {
        if (is_large) snprintf(text, 36, "%.*e", digits - 1, x);
        else snprintf(text, 36, "%.*g", digits, x);
        const double back = strtod(text, NULL);
        const int same = is_float ? (float)back == (float)x : back == x;
        if (same && (is_large || !strchr(text, '+'))) break;           // 1000000, not 1e+06
    }
    return strpbrk(text, ".e") ? text : strcat(text, ".0");
}

// A number as Python reads and writes it: whole ones as they stand, others as double.
static int print_json_number(Buffer *out, const Json *j, int n) {
    char text[40];
    const char *s = json_string(j, n);
    if (strpbrk(s, ".eE")) s = json_decimal(text, json_number(j, n), 0);
    return buffer_printf(out, "%s", strcmp(s, "-0") ? s : "0");
}

static int print_line_end(Buffer *out, int column) {
    return buffer_printf(out, "\n%*s", column, "");
}

// The value in `column` columns; indent 0: all on one line.
static int print_value(Buffer *out, const Json *j, int n, int indent, int column) {
    const JsonType type = json_type(j, n);
    const int is_object = type == JSON_OBJECT, is_empty = json_first(j, n) < 0;
    if (type == JSON_STRING) return json_quote(out, json_string(j, n), json_length(j, n));
    if (type == JSON_NUMBER) return print_json_number(out, j, n);
    if (type == JSON_TRUE) return buffer_printf(out, "true");
    if (type == JSON_FALSE) return buffer_printf(out, "false");
    if (type == JSON_NULL) return buffer_printf(out, "null");
    if (buffer_append(out, is_object ? "{" : "[", 1) < 0) return -1;
    for (int v = json_first(j, n); v >= 0; v = json_next(j, v)) {
        const char *comma = indent ? "," : ", ";
        if (v != json_first(j, n) && buffer_printf(out, "%s", comma) < 0) return -1;
        if (indent && print_line_end(out, column + indent) < 0) return -1;
        if (is_object) {
            if (json_quote(out, json_key(j, v), json_key_length(j, v)) < 0) return -1;
            if (buffer_append(out, ": ", 2) < 0) return -1;
        }
        if (print_value(out, j, v, indent, column + indent) < 0) return -1;
    }
    if (indent && !is_empty && print_line_end(out, column) < 0) return -1;
    return buffer_append(out, is_object ? "}" : "]", 1);
}

/* Appends a value as Python's json.dumps(value, ensure_ascii=False) writes what json.loads has
 * read; indent > 0: with indent=indent, members on lines of their own.  0, or -1 after fail(). */
int json_print(Buffer *out, const Json *j, int n, int indent) {
    return print_value(out, j, n, indent, 0);
}

// Past the string, or the value, that begins at p in a text that json_parse has accepted.
static const char *past_string(const char *p) {
    for (p++; *p != '"'; p++) {
        if (*p == '\\') p++;
    }
    return p + 1;
}

static const char *past_value(const char *p) {
    int depth = 0;
    for (;;) {
        if (depth == 0 && strchr(",}] \t\r\n", *p)) return p;
        if (*p == '"') {
            p = past_string(p);
            if (depth == 0) return p;
            continue;
        }
        if (*p == '{' || *p == '[') depth++;
        if (*p == '}' || *p == ']') depth--;
        p++;
        if (depth == 0 && (p[-1] == '}' || p[-1] == ']')) return p;
    }
}

/* Appends the text of an object that json_parse has accepted, in which the member key has this
 * value (JSON): in its place, or, if there is none, as the last.  0, or -1 after fail().         */
int json_with_member(Buffer *out, const char *object, const char *key, const char *value) {
    static const char between[] = " \t\r\n,:";
    const size_t len = strlen(key);
    const char *p = strchr(object, '{') + 1, *last = p;     // the end of the last member so far
    int members = 0;
    for (p += strspn(p, between); *p != '}'; p += strspn(p, between)) {
        const char *name = p + 1;
        p = past_string(p);
        const int is_it = (size_t)(p - name - 1) == len && !memcmp(name, key, len);
        p += strspn(p, between);
        const char *begin = p;
        p = past_value(p);
        last = p;
        members++;
        if (!is_it) continue;
        if (buffer_append(out, object, (size_t)(begin - object)) < 0) return -1;
        return buffer_printf(out, "%s%s", value, p);
    }
    if (buffer_append(out, object, (size_t)(last - object)) < 0) return -1;
    return buffer_printf(out, "%s\n  \"%s\": %s%s", members ? "," : "", key, value, last);
}

#endif

/* test_json.c - the JSON reader: what it takes, what it refuses and where it says so. */
#include "test.h"
#include "../files/json.c"

static int parse(Json *j, const char *text) { return json_parse(j, text, strlen(text), "f"); }

// Is the text refused with this message?
static int refused(const char *text, size_t len, const char *message) {
    Json j = {0};
    int failed = json_parse(&j, text, len, "f") < 0;
    int as_said = failed && error_code == EX_DATAERR && !strcmp(error_text, message);
    if (!as_said) printf("    %.60s: %s\n", text, failed ? error_text : "no error");
    json_free(&j);
    return as_said;
}
#define REFUSED(text, message) CHECK(refused(text, sizeof(text) - 1, message))

static void test_values_and_look_ups(void) {
    Json j = {0};
    int64_t n;
    CHECK(parse(&j, " {\"a\": [1, -2.5e1, \"x\", null, true, false, {}],\t\"b\": {\"c\": \"d\"}, "
                    "\"\": []} \r\n") == 0);
    int a = json_get(&j, 0, "a"), b = json_get(&j, 0, "b");
    CHECK(json_type(&j, 0) == JSON_OBJECT && json_count(&j, 0) == 3);
    CHECK(json_count(&j, a) == 7);

    // the elements of "a", one after the other
    int i = json_first(&j, a);
    CHECK(json_type(&j, i) == JSON_NUMBER && json_number(&j, i) == 1);
    CHECK(json_integer(&j, i, &n) && n == 1);
    i = json_next(&j, i);
    CHECK(json_number(&j, i) == -25 && !strcmp(json_string(&j, i), "-2.5e1"));
    i = json_next(&j, i);
    CHECK(json_equal(&j, i, "x") && !json_equal(&j, i, "xy") && json_length(&j, i) == 1);
    static const JsonType rest[] = {JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_OBJECT};
    for (int k = 0; k < 4; k++) {
        i = json_next(&j, i);
        CHECK(json_type(&j, i) == rest[k]);
    }
    CHECK(json_first(&j, i) == -1 && json_next(&j, i) == -1);

    // by name, and what is not there
    CHECK(json_equal(&j, json_get(&j, b, "c"), "d"));
    CHECK(!strcmp(json_key(&j, b), "b") && json_key_length(&j, b) == 1);
    CHECK(json_type(&j, json_get(&j, 0, "")) == JSON_ARRAY);
    CHECK(json_get(&j, 0, "no") == -1);
    CHECK(json_get(&j, a, "a") == -1);
    CHECK(json_get(&j, -1, "a") == -1);
    CHECK(json_type(&j, -1) == JSON_NONE && json_first(&j, -1) == -1 && json_length(&j, -1) == 0);
    json_free(&j);
}

static void test_escapes_become_utf8_of_explicit_length(void) {
    Json j = {0};
    const char *text = "\"\\\"\\\\\\/\\b\\f\\n\\r\\t"
                       "\\u0000\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\xf0\x9f\x98\x80z\"";
    const char want[] = "\"\\/\b\f\n\r\t\0A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9f\x98\x80z";
    CHECK(parse(&j, text) == 0 && json_length(&j, 0) == sizeof want - 1);
    CHECK(!memcmp(json_string(&j, 0), want, sizeof want));
    json_free(&j);
}

static void test_numbers(void) {
    Json j = {0};
    static const struct {
        const char *text;
        double value;
        int whole;
    } number[] = {
        {"0",                0,                  1},
        {"-0",               -0.0,               1},
        {"12",               12,                 1},
        {"1.0",              1,                  1},
        {"0.1",              0.1,                0},
        {"1E2",              100,                1},
        {"1e-2",             0.01,               0},
        {"9007199254740992", 9007199254740992.0, 1},
        {"9007199254740994", 9007199254740994.0, 0},
        {"1e300",            1e300,              0},
        {"4.9e-324",         4.9e-324,           0},
        {"1e-400",           0,                  1},
        {"123456789012345678901234567890.12345", 123456789012345678901234567890.0, 0},
    };
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        int64_t n = 0;
        CHECK(parse(&j, number[i].text) == 0 && json_number(&j, 0) == number[i].value);
        CHECK(json_integer(&j, 0, &n) == number[i].whole);
        if (number[i].whole) CHECK(n == (int64_t)number[i].value);
    }
    REFUSED("1e999", "f:1:1: a number out of range");
    REFUSED("[01]", "f:1:3: ',' or ']' is expected");
    REFUSED("1.", "f:1:1: a number with no digit after the point");
    REFUSED("[1.e5]", "f:1:2: a number with no digit after the point");
    REFUSED("1e+", "f:1:1: a number with no digit in the exponent");
    REFUSED("+1", "f:1:1: unexpected character");
    REFUSED("-", "f:1:1: unexpected character");
    REFUSED("NaN", "f:1:1: NaN is no number of JSON; write null or leave it out");
    REFUSED("[-Infinity]", 
            "f:1:2: -Infinity is no number of JSON; write null or leave it out");
    json_free(&j);
}

static void test_what_is_not_json_is_refused_with_its_place(void) {
    REFUSED("", "f:1:1: a value is expected, not the end");
    REFUSED("{\"a\": 1,\n  \"b\": }", "f:2:8: unexpected character");
    REFUSED("{\"a\" 1}", "f:1:6: ':' is expected after a key");
    REFUSED("{a: 1}", "f:1:2: a key in quotes is expected");
    REFUSED("{\"a\": 1,}", "f:1:9: a key in quotes is expected");
    REFUSED("[1,]", "f:1:4: unexpected character");
    REFUSED("[1 2]", "f:1:4: ',' or ']' is expected");
    REFUSED("{\"a\": 1]", "f:1:8: ',' or '}' is expected");
    REFUSED("[1", "f:1:3: ',' or ']' is expected");
    REFUSED("tru", "f:1:1: unexpected word");
    REFUSED("truex", "f:1:5: more text after the value");
    REFUSED("{} {}", "f:1:4: more text after the value");
    REFUSED("\"abc", "f:1:1: the string does not end");
    REFUSED("\"abc\\", "f:1:5: the string does not end");
    REFUSED("\"a\nb\"", "f:1:3: a control character in a string: write \\u00XX");
    REFUSED("\"a\0b\"", "f:1:3: a control character in a string: write \\u00XX");
    REFUSED("\"\\x\"", "f:1:2: unknown escape in a string");
    REFUSED("\"\\\0\"", "f:1:2: unknown escape in a string");
    REFUSED("\"\\u12g4\"", "f:1:2: \\u needs four hexadecimal digits");
    REFUSED("\"\\u12", "f:1:2: \\u needs four hexadecimal digits");
    REFUSED("1\0", "f:1:2: more text after the value");
}

static void test_lone_surrogates_and_invalid_utf8_are_refused(void) {
    REFUSED("\"\\ud83d\"", "f:1:2: half of a surrogate pair");
    REFUSED("\"\\ud83dx\"", "f:1:2: half of a surrogate pair");
    REFUSED("\"\\ud83d\\ud83d\"", "f:1:2: half of a surrogate pair");
    REFUSED("\"\\ud83d\\u0041\"", "f:1:2: half of a surrogate pair");
    REFUSED("\"\\ude00\\ud83d\"", "f:1:2: half of a surrogate pair");
    REFUSED("\"a\xed\xa0\x80\"", "f:1:3: not UTF-8");                  // a surrogate
    REFUSED("\"\xc0\x80\"", "f:1:2: not UTF-8");                       // longer than needed
    REFUSED("\"\xe0\x9f\xbf\"", "f:1:2: not UTF-8");
    REFUSED("\"\xf0\x8f\xbf\xbf\"", "f:1:2: not UTF-8");
    REFUSED("\"\xf4\x90\x80\x80\"", "f:1:2: not UTF-8");               // beyond U+10FFFF
    REFUSED("\"\xff\"", "f:1:2: not UTF-8");
    REFUSED("\"\x80\"", "f:1:2: not UTF-8");
    REFUSED("\"\xe2\x82", "f:1:2: not UTF-8");
    REFUSED("{\"\xe2\x82\": 1}", "f:1:3: not UTF-8");
}

static void test_every_code_point_survives_encoding_and_decoding(void) {
    int wrong = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char s[4];
        uint32_t d = 0;
        int n = utf8_encode(s, c), m = utf8_decode(s, 4, &d);
        int surrogate = c >= 0xd800 && c < 0xe000;
        if (surrogate) wrong += m != 0;
        else           wrong += m != n || d != c;
        if (n > 1) wrong += utf8_decode(s, (size_t)n - 1, &d) != 0;    // cut short
    }
    CHECK(wrong == 0);
}

static void test_a_key_given_twice_is_refused_in_small_and_large_objects(void) {
    REFUSED("{\"a\": 1, \"b\": 2, \"a\": 3}",
            "f:1:24: the object that ends here has the key \"a\" twice");
    REFUSED("[{\"\\u0061\": 1, \"a\": 3}]",
            "f:1:22: the object that ends here has the key \"a\" twice");
    Buffer b = {0};
    Json j = {0};
    for (int twice = 0; twice < 2; twice++) {
        b.len = 0;
        buffer_printf(&b, "{");
        for (int i = 0; i < 50000; i++) buffer_printf(&b, "\"k%d\": %d,\n", i, i);
        buffer_printf(&b, "\"k%d\": 0}", twice ? 12345 : 50000);
        CHECK(json_parse(&j, b.data, b.len, "f") == (twice ? -1 : 0));
        CHECK(twice || json_count(&j, 0) == 50001);
    }
    CHECK(!strcmp(error_text,
                  "f:50001:12: the object that ends here has the key \"k12345\" twice"));
    CHECK(parse(&j, "{\"a\\u0000b\": 1, \"a\\u0000c\": 2, \"a\": 3}") == 0);
    CHECK(json_number(&j, json_get(&j, 0, "a")) == 3);
    buffer_free(&b);
    json_free(&j);
}

static void test_64_levels_are_read_and_a_million_are_refused(void) {
    Json j = {0};
    char *s = malloc(1000000);
    memset(s, '[', 1000000);
    CHECK(refused(s, 1000000, "f:1:65: more than 64 levels of brackets"));
    memset(s + 64, ']', 64);
    CHECK(json_parse(&j, s, 128, "f") == 0 && j.num_nodes == 64);
    for (int i = 0; i < 999995; i += 5) memcpy(s + i, "{\"a\":", 5);
    CHECK(refused(s, 999995, "f:1:321: more than 64 levels of brackets"));
    free(s);
    json_free(&j);
}

static void test_a_byte_order_mark_may_begin_the_first_line_only(void) {
    Json j = {0};
    CHECK(parse(&j, "\xef\xbb\xbf{}") == 0);
    j.first_line = 1;
    CHECK(parse(&j, "\xef\xbb\xbf{}") == 0);
    j.first_line = 7;
    CHECK(parse(&j, "\xef\xbb\xbf{}") < 0 && !strcmp(error_text, "f:7:1: unexpected character"));
    CHECK(parse(&j, "[\n1,\n\n}") < 0 && !strcmp(error_text, "f:10:1: unexpected character"));
    json_free(&j);
}

static void test_a_reader_is_reused_without_allocating(void) {
    Json j = {0};
    const char *text =
        "{\"prompt\": \"The sky is\", \"chosen\": \" blue.\", \"rejected\": [1, 2, 3]}";
    CHECK(parse(&j, text) == 0);
    Json old = j;
    CHECK(parse(&j, "[broken") < 0 && json_type(&j, 0) == JSON_NONE);
    CHECK(parse(&j, text) == 0 && json_equal(&j, json_get(&j, 0, "chosen"), " blue."));
    CHECK(j.node_memory == old.node_memory && j.strings_memory == old.strings_memory);
    CHECK(j.keys_memory == old.keys_memory && j.num_nodes == 7);
    json_free(&j);
}

static void test_a_text_need_not_end_with_a_zero_byte(void) {
    const char *texts[] = {"123", "\"abc\"", "[1,2]", "{\"a\":1}", "true", "-1.5e3", "\"\\u00e9\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            Json j = {0};
            char *copy = malloc(n ? n : 1);                            // a sanitizer sees its end
            memcpy(copy, texts[i], n);
            int result = json_parse(&j, copy, n, "f");
            CHECK(n < strlen(texts[i]) || result == 0);
            free(copy);
            json_free(&j);
        }
    }
}

static void test_what_is_quoted_reads_back(void) {
    Buffer b = {0};
    Json j = {0};
    for (uint32_t i = 0; i < 2000; i++) {
        char s[64];
        size_t n = 0;
        while (n < 56) {
            uint32_t c = random_below(i % 2 ? 0x110000 : 0x80, 1, STREAM_TEST, i, n);
            if (c >= 0xd800 && c < 0xe000) break;                      // a surrogate
            n += (size_t)utf8_encode(s + n, c);
        }
        b.len = 0;
        CHECK(json_quote(&b, s, n) == 0 && json_parse(&j, b.data, b.len, "f") == 0);
        CHECK(json_length(&j, 0) == n && !memcmp(json_string(&j, 0), s, n));
    }
    b.len = 0;
    CHECK(json_quote(&b, "a\"\\\b\f\n\r\t\v\0\x1f\x7f\xff\xc3\xa9\xe2\x82", 17) == 0);
    CHECK(!strcmp(b.data,
                  "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\x7f"
                  "\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\""));
    b.len = 0;
    CHECK(json_quote(&b, "", 0) == 0 && !strcmp(b.data, "\"\""));
    buffer_free(&b);
    json_free(&j);
}

// As Python 3 prints json.dumps(json.loads(text), ensure_ascii=False).
static void test_values_are_printed_as_by_python(void) {
    static const char text[] =
        "[0, -0, 7, -12, 12345678901234567890123, 0.0, -0.0, 1.0e0, 1E5, 1e-5, 0.10, 1e15, 1e16, "
        "12345678901234568e0, 123456789012345678.0, 2.5e-320, 1.7976931348623157e308, 0.1e1, "
        "5e-324,100000.5,\t\"\\u00e9\\u4f60\\/\\u007f\\n\\u0001\\\"\", "
        "{\"b\": [], \"a\" :{},\"\\u00e9\": {\"x\": null, \"y\": [true, false]}}]";
    static const char printed[] =
        "[0, 0, 7, -12, 12345678901234567890123, 0.0, -0.0, 1.0, 100000.0, 1e-05, 0.1, "
        "1000000000000000.0, 1e+16, 1.2345678901234568e+16, 1.2345678901234568e+17, 2.5e-320, "
        "1.7976931348623157e+308, 1.0, 5e-324, 100000.5, "
        "\"\xc3\xa9\xe4\xbd\xa0/\x7f\\n\\u0001\\\"\", "
        "{\"b\": [], \"a\": {}, \"\xc3\xa9\": {\"x\": null, \"y\": [true, false]}}]";
    Json j = {0};
    Buffer b = {0};
    CHECK(json_parse(&j, text, sizeof text - 1, "f") == 0 && json_print(&b, &j, 0, 0) == 0);
    CHECK(!strcmp(b.data, printed));

    // json.dumps(.., indent=4)
    static const char nested[] = "{\"a\":[],\"b\":[1,{\"c\":\"d\"}],\"e\":{}}";
    b.len = 0;
    CHECK(json_parse(&j, nested, sizeof nested - 1, "f") == 0 && json_print(&b, &j, 0, 4) == 0);
    CHECK(!strcmp(b.data,
                  "{\n    \"a\": [],\n    \"b\": [\n        1,\n        {\n"
                  "            \"c\": \"d\"\n        }\n    ],\n    \"e\": {}\n}"));
    buffer_free(&b);
    json_free(&j);
}

static void test_damaged_text_never_crashes(void) {
    const char text[] = "{\"a\": [1, -2.5e1, \"x\\ud83d\\ude00\xc3\xa9\", null, true],"
                        "\"b\": {\"c\": false}}";
    const char byte[] = "\"\\{}[]:,0eu\x80\xc3\xff\n";
    Json j = {0};
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (size_t k = 0; k < sizeof byte; k++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[i] = byte[k];
            int result = json_parse(&j, copy, sizeof text - 1, "f");
            CHECK(result == 0 || !strncmp(error_text, "f:", 2));
        }
    }
    CHECK(parse(&j, text) == 0);
    json_free(&j);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_values_and_look_ups);
    RUN(test_escapes_become_utf8_of_explicit_length);
    RUN(test_numbers);
    RUN(test_what_is_not_json_is_refused_with_its_place);
    RUN(test_lone_surrogates_and_invalid_utf8_are_refused);
    RUN(test_every_code_point_survives_encoding_and_decoding);
    RUN(test_a_key_given_twice_is_refused_in_small_and_large_objects);
    RUN(test_64_levels_are_read_and_a_million_are_refused);
    RUN(test_a_byte_order_mark_may_begin_the_first_line_only);
    RUN(test_a_reader_is_reused_without_allocating);
    RUN(test_a_text_need_not_end_with_a_zero_byte);
    RUN(test_what_is_quoted_reads_back);
    RUN(test_values_are_printed_as_by_python);
    RUN(test_damaged_text_never_crashes);
    return test_summary();
}

/* test_tokenizer.c - the tokenizer against Hugging Face's and against a slow learner, by
 * scripts/golden_tokenizer.py and golden_families.py.  Run from the repository's root. */
#include "test.h"
#include "../files/tokenizer_json.c"
#include "../vocabulary.c"

#define GOLDEN "test/golden/"

static int *ids;
static size_t num_ids, ids_capacity;

// Encodes into ids, from the start.
static int encode(const Tokenizer *t, const char *s, size_t n) {
    num_ids = 0;
    return tokenizer_encode(t, s, n, &ids, &num_ids, &ids_capacity);
}

// Goes on with ids.
static int encode_on(const Tokenizer *t, const char *s, size_t n) {
    return tokenizer_encode_part(t, s, n, PLACE_GOES_ON, &ids, &num_ids, &ids_capacity);
}

static int comes_back(const Tokenizer *t, const char *s, size_t n) {
    Buffer b = {0};
    const int good = encode(t, s, n) == 0 && tokenizer_decode(t, ids, num_ids, &b) == 0
                     && b.len == n && (!n || !memcmp(b.data, s, n));
    buffer_free(&b);
    return good;
}

// Learns from documents that are strings.
static int learn(Tokenizer *t, const char *const *document, size_t n, int vocab_size) {
    Buffer b = {0};
    size_t end[64] = {0};
    for (size_t i = 0; i < n; i++) {
        buffer_append(&b, document[i], strlen(document[i]));
        end[i] = b.len;
    }
    const int result = tokenizer_learn(t, b.data, end, n, vocab_size);
    buffer_free(&b);
    return result;
}

static int is_piece(const Tokenizer *t, int id, const char *s) {
    return id < t->vocab_size && piece_equals(t, id, s, strlen(s));
}

static int load_text(Tokenizer *t, const char *text, size_t n) {
    TokenizerFiles f = {.path = "f"};
    memset(t, 0, sizeof *t);
    int result = json_parse(&f.tokenizer, text, n, "f");
    if (result == 0) result = read_tokenizer(t, &f);
    json_free(&f.tokenizer);
    return result;
}

// The same of a text with ' for ".
static int load_quoted(Tokenizer *t, const char *text, size_t n) {
    char copy[2048];
    assert(n <= sizeof copy);
    for (size_t i = 0; i < n; i++) copy[i] = text[i] == '\'' ? '"' : text[i];
    return load_text(t, copy, n);
}

// ------------------------------------------------------------------------------ Hugging Face's ids

static Json cases;                                                    // of the last load_cases

static int load_cases(const char *path) {
    Buffer b = {0};
    int result = file_read(&b, path) < 0 || json_parse(&cases, b.data, b.len, "cases") < 0;
    buffer_free(&b);
    return result ? -1 : json_count(&cases, 0);
}
#define CASES GOLDEN "tokenizer_cases.json"

// Are the ids of the text those of the case, under this key?
static int is_golden(const Tokenizer *t, int one_case, const char *key) {
    const int text = json_get(&cases, one_case, "text"), want = json_get(&cases, one_case, key);
    if (encode(t, json_string(&cases, text), json_length(&cases, text)) < 0) return 0;
    if ((int)num_ids != json_count(&cases, want)) return 0;
    int w = json_first(&cases, want);
    for (size_t k = 0; k < num_ids; k++) {
        if (json_number(&cases, w) != ids[k]) return 0;
        w = json_next(&cases, w);
    }
    return 1;
}

static int ids_equal_golden(const char *file, const char *key, int want_cases) {
    Tokenizer t;
    int good = 0;
    if (tokenizer_load(&t, file) < 0) {
        printf("    %s\n", error_text);
        return 0;
    }
    for (int i = json_first(&cases, 0); i >= 0; i = json_next(&cases, i)) {
        const int same = is_golden(&t, i, key);
        const char *text = json_string(&cases, json_get(&cases, i, "text"));
        if (!same) printf("    %s: \"%s\"\n", key, text);
        good += same;
    }
    tokenizer_free(&t);
    return good == want_cases;
}

static void test_the_ids_of_a_learned_vocabulary_are_those_of_hugging_face(void) {
    CHECK(load_cases(CASES) == 188);
    CHECK(ids_equal_golden(GOLDEN "learned_tokenizer.json", "learned", 188));
}

static void test_the_ids_of_pythia_are_those_of_hugging_face(void) {
    CHECK(load_cases(CASES) == 188);
    CHECK(ids_equal_golden(GOLDEN "pythia_tokenizer.json", "pythia", 188));
}

static void test_texts_with_marks_have_the_ids_of_hugging_face(void) {
    CHECK(load_cases(GOLDEN "normal_form_cases.json") == 158);
    CHECK(ids_equal_golden(GOLDEN "pythia_tokenizer.json", "pythia", 158));
}

/* Every character alone, and between a letter and marks of three classes.  The hash is that of the
 * normal forms by `tokenizers`. */
static void test_the_normal_form_is_that_of_hugging_face_for_every_character(void) {
    static const char marks[] = "\xcc\x95\xcc\x81\xcc\xa3";          // U+0315, U+0301, U+0323
    NormalForm n;
    Buffer out = {0};
    Sha256 sha;
    char hex[65];
    CHECK(normal_form_init(&n) == 0);
    sha256_start(&sha);
    for (uint32_t c = 0; c < 0x30000; c++) {
        char text[12] = "a";
        if (c >= 0xd800 && c < 0xe000) continue;
        const size_t len = 1 + (size_t)utf8_encode(text + 1, c);
        memcpy(text + len, marks, 6);
        out.len = 0;
        CHECK(normal_form_apply(&n, text, len + 6, &out) == 0);
        CHECK(normal_form_apply(&n, text + 1, len - 1, &out) == 0);
        sha256_add(&sha, out.data, out.len);
    }
    sha256_finish(&sha, hex);
    CHECK(!strcmp(hex, "408ae639d41ae883ac8b55d5494dad7893f092aea003349528843f106a99da2b"));
    normal_form_free(&n);
    buffer_free(&out);
}

// A million marks on one letter take no quadratic time; bytes that are no UTF-8 stay.
static void test_many_marks_are_sorted_and_other_bytes_kept(void) {
    const size_t marks = 1 << 20;
    NormalForm n;
    Buffer text = {0}, out = {0};
    CHECK(normal_form_init(&n) == 0);
    buffer_append(&text, "a", 1);
    for (size_t i = 0; i < marks; i++) buffer_append(&text, i % 2 ? "\xcc\xa3" : "\xcc\x81", 2);
    CHECK(normal_form_apply(&n, text.data, text.len, &out) == 0);
    CHECK(out.len == 3 + 2*(marks - 1) && !memcmp(out.data, "\xe1\xba\xa1\xcc\xa3", 5));
    CHECK(!strcmp(out.data + out.len - 4, "\xcc\x81\xcc\x81"));
    out.len = 0;
    CHECK(normal_form_apply(&n, "\xffo\xcc\x88\x80\xcc\x88\xcc", 8, &out) == 0);
    CHECK(out.len == 7 && !memcmp(out.data, "\xff\xc3\xb6\x80\xcc\x88\xcc", 7));
    normal_form_free(&n);
    buffer_free(&text);
    buffer_free(&out);
}

// The tokenizers of scripts/golden_families.py, and the files that they are read from.
enum { NUM_KINDS = 9 };
static const struct { const char *name, *file; } kinds[NUM_KINDS] = {
    {.name = "llama3",    .file = GOLDEN "tokenizers/llama3.json"},
    {.name = "qwen2",     .file = GOLDEN "tokenizers/qwen2.json"},
    {.name = "digit",     .file = GOLDEN "tokenizers/digit.json"},
    {.name = "digits",    .file = GOLDEN "tokenizers/digits.json"},
    {.name = "added",     .file = GOLDEN "tokenizers/added.json"},
    {.name = "tokenizer", .file = GOLDEN "tokenizers/tokenizer.model"},
    {.name = "metaspace", .file = GOLDEN "tokenizers/metaspace.json"},
    {.name = "unknown",   .file = GOLDEN "tokenizers/unknown.json"},
    {.name = "unknowns",  .file = GOLDEN "tokenizers/unknowns.json"},
};

// FNV-1a of the ids (Fowler, Noll and Vo), each four bytes, the lowest first.
static uint32_t hash_ids(void) {
    uint32_t hash = 0x811c9dc5;
    for (size_t i = 0; i < num_ids; i++) {
        for (int k = 0; k < 4; k++) hash = (hash ^ ((uint32_t)ids[i] >> 8*k & 255)) * 0x01000193;
    }
    return hash;
}

// Are the ids of all texts of cases.json those of the tokenizer number k?
static int ids_equal_hashes(const Tokenizer *t, int k) {
    int good = 0, all = 0;
    const int list = json_get(&cases, 0, "cases");
    for (int i = json_first(&cases, list); i >= 0; i = json_next(&cases, i)) {
        const int text = json_get(&cases, i, "text");
        const char *hash = json_string(&cases, json_get(&cases, i, "ids")) + 9*k;
        char ours[9] = "";
        if (encode(t, json_string(&cases, text), json_length(&cases, text)) == 0) {
            snprintf(ours, sizeof ours, "%08x", (unsigned)hash_ids());
        }
        const int same = !memcmp(ours, hash, 8);
        if (!same) printf("    %s: \"%s\"\n", kinds[k].name, json_string(&cases, text));
        good += same;
        all++;
    }
    return good == all && all == 416;
}

static void test_the_ids_of_every_kind_of_tokenizer_are_those_of_hugging_face(void) {
    Tokenizer t;
    CHECK(load_cases(GOLDEN "tokenizers/cases.json") == 2);
    int name = json_first(&cases, json_get(&cases, 0, "tokenizers"));
    for (int k = 0; k < NUM_KINDS; k++) {
        CHECK(json_equal(&cases, name, kinds[k].name));
        name = json_next(&cases, name);
        CHECK(tokenizer_load(&t, kinds[k].file) == 0);
        CHECK(ids_equal_hashes(&t, k));
        tokenizer_free(&t);
    }
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/older/vocab.json") == 0);
    CHECK(ids_equal_hashes(&t, 1) && t.eos == 420);
    tokenizer_free(&t);
}

// Written and read again, the ids are the same, and what is written the second time too.
static void test_every_kind_of_tokenizer_can_be_written(void) {
    CHECK(load_cases(GOLDEN "tokenizers/cases.json") == 2);
    for (int k = 0; k < NUM_KINDS; k++) {
        Tokenizer t, again;
        Buffer a = {0}, b = {0};
        CHECK(tokenizer_load(&t, kinds[k].file) == 0 && tokenizer_json(&t, &a) == 0);
        CHECK(load_text(&again, a.data, a.len) == 0 && tokenizer_json(&again, &b) == 0);
        CHECK(a.len == b.len && !memcmp(a.data, b.data, a.len));
        CHECK(ids_equal_hashes(&again, k));
        tokenizer_free(&t);
        tokenizer_free(&again);
        buffer_free(&a);
        buffer_free(&b);
    }
}

// But of those that lose something: two put in or swallow spaces, two have no pieces of bytes.
static void test_texts_come_back_from_every_kind_of_tokenizer(void) {
    static const char *const lossy[] = {"digits", "added", "unknown", "unknowns"};
    static const char *const texts[] = {
        "", "the hat", "a  b\n\tc", "caf\xc3\xa9 1234 \xe4\xbd\xa0", "x \xf0\x9f\x98\x80", "<s>",
    };
    for (int k = 0; k < NUM_KINDS; k++) {
        Tokenizer t;
        int loses = 0;
        for (int i = 0; i < 4; i++) loses |= !strcmp(lossy[i], kinds[k].name);
        if (loses) continue;
        CHECK(tokenizer_load(&t, kinds[k].file) == 0);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            Buffer b = {0};
            CHECK(encode(&t, texts[i], strlen(texts[i])) == 0);
            CHECK(tokenizer_decode_text(&t, ids, num_ids, &b) == 0);
            CHECK(b.len == strlen(texts[i]) && (!b.len || !memcmp(b.data, texts[i], b.len)));
            buffer_free(&b);
        }
        tokenizer_free(&t);
    }
}

/* LLaMA-2 puts a space before a text, but none before what goes on after another: the ids of both
 * are those of the whole. */
static void test_what_goes_on_after_another_text_gets_no_space(void) {
    for (int k = 3; k < NUM_KINDS; k++) {
        Tokenizer t;
        Buffer b = {0};
        CHECK(tokenizer_load(&t, kinds[k].file) == 0);
        CHECK(encode(&t, "the", 3) == 0);
        CHECK(encode_on(&t, " hat", 4) == 0);
        int *whole = NULL;
        size_t n = 0, capacity = 0;
        CHECK(tokenizer_encode(&t, "the hat", 7, &whole, &n, &capacity) == 0 && n == num_ids);
        CHECK(n == num_ids && !memcmp(whole, ids, n * sizeof *ids));
        num_ids = 0;
        CHECK(encode_on(&t, "hat", 3) == 0);
        CHECK(tokenizer_decode(&t, ids, num_ids, &b) == 0 && !strcmp(b.data, "hat"));
        free(whole);
        buffer_free(&b);
        tokenizer_free(&t);
    }
}

/* Of  a C 1 C space C ' C line end  with every character C below U+33000 the lengths of the words,
 * a byte each: hashes of those by `tokenizers`, printed by scripts/golden_families.py. */
static void test_the_words_are_those_of_hugging_face_for_every_character(void) {
    static const struct { WordEnd *end; const char *hash; } pattern[] = {
        {.end = word_end_gpt2,
         .hash = "de9a46df39451c9e7bea1a0a2ec3cb46898c2f5c9b20692bf1c9ec28c868fdcd"},
        {.end = word_end_llama3,
         .hash = "86f8da58f67c3d8d95ac0a60b81d944c3e99737979c5b097f2e9545d625799e7"},
        {.end = word_end_qwen2,
         .hash = "2d9b66121fcaa933f2b40c2066714af151422edf9c6920259f7e946a35a6f5c3"},
        {.end = word_end_digits,
         .hash = "1a9236ea977c17c98c9d0bb0cdb3072b2082bf9a28ae9e51909836a0cf82c1af"},
        {.end = word_end_digit,
         .hash = "3c276bb17ecb4d7a72f8b61f27388d58bd6c9027766afdef580039a2f06808d3"},
    };
    unsigned char *class = malloc(CLASS_END);
    character_classes(class);
    for (size_t k = 0; k < sizeof pattern / sizeof *pattern; k++) {
        Sha256 sha;
        char hex[65];
        sha256_start(&sha);
        for (uint32_t c = 0; c < 0x33000; c++) {
            char character[5] = "", text[32];
            if (c >= 0xd800 && c < 0xe000) continue;
            const size_t len = (size_t)utf8_encode(character, c);
            size_t n = 0;
            for (const char *before = "a1 '"; *before; before++) {
                text[n] = *before;
                memcpy(text + n + 1, character, len);
                n += 1 + len;
            }
            text[n++] = '\n';
            for (size_t at = 0; at < n; ) {
                const size_t end = pattern[k].end(class, text, at, n);
                const unsigned char word = (unsigned char)(end - at);
                sha256_add(&sha, &word, 1);
                at = end;
            }
        }
        sha256_finish(&sha, hex);
        CHECK(!strcmp(hex, pattern[k].hash));
    }
    free(class);
}

static void test_learning_equals_a_learner_that_recounts_after_every_merge(void) {
    Tokenizer t, golden;
    Buffer text = {0}, a = {0}, b = {0};
    size_t end[256], n = 0;
    CHECK(load_cases(CASES) == 188);
    for (int i = json_first(&cases, 0); i >= 0; i = json_next(&cases, i)) {
        int s = json_get(&cases, i, "text");
        buffer_append(&text, json_string(&cases, s), json_length(&cases, s));
        end[n++] = text.len;
    }
    CHECK(tokenizer_learn(&t, text.data, end, n, 800) == 0 && t.vocab_size == 800);
    CHECK(tokenizer_load(&golden, GOLDEN "learned_tokenizer.json") == 0);
    CHECK(tokenizer_json(&t, &a) == 0 && tokenizer_json(&golden, &b) == 0);
    CHECK(a.len == b.len && !memcmp(a.data, b.data, a.len));
    CHECK(golden.eos == 0 && golden.bos == 0 && golden.pad == 1);
    CHECK(t.eos == 0 && t.bos == 0 && t.pad == 1);
    tokenizer_free(&t);
    tokenizer_free(&golden);
    buffer_free(&text);
    buffer_free(&a);
    buffer_free(&b);
}

static void test_what_is_written_is_read_as_the_same_tokenizer(void) {
    const char *const files[] = {GOLDEN "learned_tokenizer.json", GOLDEN "pythia_tokenizer.json"};
    for (int i = 0; i < 2; i++) {
        Tokenizer t, again;
        Buffer a = {0}, b = {0};
        CHECK(tokenizer_load(&t, files[i]) == 0 && tokenizer_json(&t, &a) == 0);
        CHECK(load_text(&again, a.data, a.len) == 0 && tokenizer_json(&again, &b) == 0);
        CHECK(a.len == b.len && !memcmp(a.data, b.data, a.len));
        CHECK(again.vocab_size == t.vocab_size && again.num_merges == t.num_merges);
        CHECK(again.num_normal == t.num_normal && again.num_steps == t.num_steps);
        CHECK(!memcmp(again.flags_memory, t.flags_memory, (size_t)t.vocab_size));
        CHECK(again.bytes.len == t.bytes.len);
        CHECK(!memcmp(again.bytes.data, t.bytes.data, t.bytes.len));
        CHECK(t.vocab_size == (i ? 50277 : 800) && t.num_normal == i && t.eos == 0 && t.pad == 1);
        tokenizer_free(&t);
        tokenizer_free(&again);
        buffer_free(&a);
        buffer_free(&b);
    }
}

// --------------------------------------------------------------------------------- words and bytes

static void test_the_character_classes_are_those_of_unicode_16(void) {
    // counted with Python: unicodedata2 16.0.0, categories L* and N*
    unsigned char *class = malloc(CLASS_END);
    size_t count[NUM_CLASSES] = {0}, last = 0;
    character_classes(class);
    for (size_t c = 0; c < CLASS_END; c++) {
        count[class[c]]++;
        if (class[c] != CLASS_OTHER) last = c;
    }
    CHECK(count[CLASS_LETTER] == 141028 && count[CLASS_NUMBER] == 1911);
    CHECK(count[CLASS_SPACE] == 25);
    CHECK(last == 0x323af);
    free(class);
}

static void test_a_text_is_cut_into_words_by_the_pattern(void) {
    static const struct { const char *text, *words; } cut[] = {       // a bar ends each word
        {.text = "Hello world",    .words = "Hello| world|"},
        {.text = "it's we'll 'S",  .words = "it|'s| we|'ll| '|S|"},
        {.text = "a1 b2",          .words = "a|1| b|2|"},
        {.text = "x  y",           .words = "x| | y|"},
        {.text = "x   y",          .words = "x|  | y|"},
        {.text = "x\n\ny",         .words = "x|\n|\n|y|"},
        {.text = "x \ny",          .words = "x| |\n|y|"},
        {.text = "x  ",            .words = "x|  |"},
        {.text = "!? ab",          .words = "!?| ab|"},
        {.text = "'",              .words = "'|"},
        {.text = " ",              .words = " |"},
        {.text = "'l",             .words = "'|l|"},
        {.text = "''s",            .words = "''|s|"},
        {.text = "a's's",          .words = "a|'s|'s|"},
        {.text = " 's",            .words = " '|s|"},
        {.text = "'res",           .words = "'re|s|"},
        {.text = "\t ab",          .words = "\t| ab|"},
        {.text = "\xc3\xa9t\xc3\xa9 \xd9\xa3!", .words = "\xc3\xa9t\xc3\xa9| \xd9\xa3|!|"},
        {.text = "\xe3\x80\x80 x", .words = "\xe3\x80\x80| x|"},
        {.text = "a\xff\xc3!b",    .words = "a|\xff\xc3!|b|"},
        {.text = " \xff",          .words = " \xff|"},
    };
    Tokenizer t;
    CHECK(learn(&t, NULL, 0, 258) == 0);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        const char *text = cut[i].text;
        const size_t n = strlen(text);
        Buffer b = {0};
        size_t at = 0;
        while (at < n) {
            const size_t end = word_end_gpt2(t.class_memory, text, at, n);
            buffer_append(&b, text + at, end - at);
            buffer_append(&b, "|", 1);
            at = end;
        }
        CHECK(!strcmp(b.data, cut[i].words));
        if (strcmp(b.data, cut[i].words)) printf("    %s\n", b.data);
        buffer_free(&b);
    }
    tokenizer_free(&t);
}

static void test_the_first_ids_are_the_specials_and_the_bytes_in_gpt2_order(void) {
    Tokenizer t;
    CHECK(learn(&t, NULL, 0, 258) == 0 && t.vocab_size == 258 && t.num_merges == 0);
    CHECK(is_piece(&t, 0, "<|endoftext|>") && is_piece(&t, 1, "<|padding|>"));
    CHECK(is_piece(&t, 2, "!") && is_piece(&t, 95, "~"));
    CHECK(is_piece(&t, 96, "\xa1") && is_piece(&t, 189, "\xff"));
    CHECK(tokenizer_piece_len(&t, 190) == 1 && *tokenizer_piece(&t, 190) == 0);
    CHECK(is_piece(&t, 222, " ") && is_piece(&t, 257, "\xad"));
    tokenizer_free(&t);
}

static void test_every_string_of_bytes_comes_back(void) {
    const char *const document[] = {"the cat sat on the mat, the cat",
                                    "aaaa aaaa bbbb \xc3\xa9\xc3\xa9 \xc3\xa9\xc3\xa9"};
    static const char some[] = "the cat's \n'\0\xc3\xa9\xe4\xb8\x80\xff 1!";
    Tokenizer t;
    CHECK(learn(&t, document, 2, 290) == 0 && t.vocab_size > 265);
    for (uint32_t i = 0; i < 3000; i++) {
        char s[200];
        uint32_t n = random_below(sizeof s, 1, STREAM_TEST, i, 0);
        for (uint32_t k = 0; k < n; k++) {
            const uint32_t of = i % 2 ? 256 : sizeof some;
            const uint32_t drawn = random_below(of, 1, STREAM_TEST, i, k + 1);
            s[k] = i % 2 ? (char)drawn : some[drawn];
        }
        CHECK(comes_back(&t, s, n));
    }
    CHECK(comes_back(&t, "", 0) && num_ids == 0 && comes_back(&t, "\0", 1) && num_ids == 1);
    tokenizer_free(&t);
}

static void test_special_tokens_in_a_text_are_plain_text(void) {
    Tokenizer t;
    CHECK(tokenizer_load(&t, GOLDEN "pythia_tokenizer.json") == 0);
    CHECK(comes_back(&t, "a<|endoftext|>b<|padding|>", 26));
    for (size_t i = 0; i < num_ids; i++) CHECK(ids[i] > 1);
    tokenizer_free(&t);
}

// Pythia has none for the bytes that UTF-8 does not use.
static void test_a_byte_that_is_no_text_and_has_no_piece_is_refused(void) {
    Tokenizer t;
    CHECK(tokenizer_load(&t, GOLDEN "pythia_tokenizer.json") == 0);
    CHECK(encode(&t, "a\xff", 2) < 0 && strstr(error_text, "0xff") && error_code == EX_DATAERR);
    CHECK(comes_back(&t, "a\x80", 2));
    tokenizer_free(&t);
}

static void test_ids_outside_the_vocabulary_are_refused(void) {
    Tokenizer t;
    Buffer b = {0};
    CHECK(learn(&t, NULL, 0, 258) == 0);
    CHECK(tokenizer_decode(&t, (int[]){257}, 1, &b) == 0);
    CHECK(tokenizer_decode(&t, (int[]){2, 258}, 2, &b) < 0);
    CHECK(tokenizer_decode(&t, (int[]){-1}, 1, &b) < 0);
    buffer_free(&b);
    tokenizer_free(&t);
}

// ---------------------------------------------------------------------------------------- learning

static void test_of_equal_counts_the_least_left_id_wins_then_the_least_right(void) {
    const char *const document[] = {"cd", "xb", "ab", "ad", "cd", "xb", "ab", "ad"};
    Tokenizer t;
    CHECK(learn(&t, document, 8, 262) == 0 && t.vocab_size == 262);
    CHECK(is_piece(&t, 258, "ab") && is_piece(&t, 259, "ad"));
    CHECK(is_piece(&t, 260, "cd") && is_piece(&t, 261, "xb"));
    tokenizer_free(&t);
}

// a^8 has aa 7 times, then aaaa 3 times, then a^8 once.
static void test_a_run_of_one_letter_doubles(void) {
    const char *const document[] = {"aaaaaaaa"};
    Tokenizer t;
    CHECK(learn(&t, document, 1, 300) == 0 && t.vocab_size == 260);
    CHECK(is_piece(&t, 258, "aa") && is_piece(&t, 259, "aaaa"));
    CHECK(encode(&t, "aaaaaaa", 7) == 0 && num_ids == 3 && ids[0] == 259 && ids[1] == 258);
    CHECK(is_piece(&t, ids[2], "a"));
    tokenizer_free(&t);
}

static void test_pairs_do_not_cross_words_or_documents(void) {
    const char *const document[] = {"ab! ab!", "ab", "!ab"};
    Tokenizer t;
    CHECK(learn(&t, document, 3, 300) == 0 && t.vocab_size == 259 && is_piece(&t, 258, "ab"));
    tokenizer_free(&t);
}

static void test_the_order_of_documents_does_not_matter(void) {
    const char *const document[] = {
        "the cat sat", " on the mat", "that rat, the hat", "at the cat's mat",
    };
    const char *const other[] = {document[3], document[1], document[0], document[2]};
    Tokenizer t, u;
    Buffer a = {0}, b = {0};
    CHECK(learn(&t, document, 4, 280) == 0 && learn(&u, other, 4, 280) == 0);
    CHECK(tokenizer_json(&t, &a) == 0 && tokenizer_json(&u, &b) == 0 && !strcmp(a.data, b.data));
    tokenizer_free(&t);
    tokenizer_free(&u);
    buffer_free(&a);
    buffer_free(&b);
}

static void test_impossible_sizes_are_refused(void) {
    Tokenizer t;
    CHECK(learn(&t, NULL, 0, 257) < 0 && error_code == EX_USAGE && learn(&t, NULL, 0, INT_MAX) < 0);
    CHECK(learn(&t, NULL, 0, 1000) == 0 && t.vocab_size == 258);
    tokenizer_free(&t);
}

static void test_a_word_of_a_million_letters_takes_no_quadratic_time(void) {
    size_t n = 1 << 20;
    char *s = malloc(n);
    Tokenizer t;
    memset(s, 'a', n);
    // a^2, a^4, ... a^(2^19)
    CHECK(tokenizer_learn(&t, s, &n, 1, 300) == 0 && t.vocab_size == 258 + 19);
    CHECK(comes_back(&t, s, n) && num_ids == 2);
    CHECK(comes_back(&t, s, n - 1) && num_ids == 20);
    for (size_t i = 0; i < n; i++) s[i] = ' ';
    CHECK(comes_back(&t, s, n));
    for (size_t i = 0; i < n; i++) s[i] = (char)('a' + random_below(26, 2, STREAM_TEST, 0, i));
    tokenizer_free(&t);
    CHECK(tokenizer_learn(&t, s, &n, 1, 2000) == 0 && t.vocab_size == 2000 && comes_back(&t, s, n));
    tokenizer_free(&t);
    free(s);
}

// ---------------------------------------------------------------------------------- tokenizer.json

#define HEAD  "{'added_tokens': ["
#define PARTS_ALONE "'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, " \
                    "'decoder': {'type': 'ByteLevel'}, "
#define PARTS "], " PARTS_ALONE
#define MODEL "'model': {'type': 'BPE', 'vocab': {'a': 0, 'b': 1, 'ab': 2}, 'merges': "
#define SMALL_MODEL MODEL "['a b']}}"
#define SMALL HEAD PARTS SMALL_MODEL
#define VOCAB(text) HEAD PARTS "'model': {'vocab': {" text "}, 'merges': []}}"
#define NOT_AN_ID "not one of 0 to 1"

// Is the file refused, in words that contain this?
static int refused(const char *text, const char *words) {
    Tokenizer t;
    int good = load_quoted(&t, text, strlen(text)) < 0 && error_code == EX_DATAERR
               && strstr(error_text, words);
    if (!good) printf("    %s\n", error_text);
    tokenizer_free(&t);
    return good;
}

static int accepted(const char *text) {
    Tokenizer t;
    int good = load_quoted(&t, text, strlen(text)) == 0 && encode(&t, "aab", 3) == 0 && num_ids == 2
               && ids[0] == 0 && ids[1] == 2;
    if (!good) printf("    %s\n", error_text);
    tokenizer_free(&t);
    return good;
}

static void test_both_forms_of_merges_and_harmless_settings_are_read(void) {
    CHECK(accepted(SMALL));
    CHECK(accepted(HEAD PARTS MODEL "[['a', 'b']]}}"));
    CHECK(accepted(HEAD PARTS MODEL "['a b'], 'dropout': null, 'fuse_unk': true, "
                   "'byte_fallback': false}}"));
    CHECK(accepted(HEAD PARTS "'normalizer': {'type': 'NFC'}, 'truncation': {'x': 1}, "
                   MODEL "['a b']}}"));
    CHECK(accepted(HEAD PARTS "'normalizer': {'type': 'Sequence', 'normalizers': []}, "
                   SMALL_MODEL));
    CHECK(accepted(HEAD PARTS "'normalizer': {'type': 'Sequence', 'normalizers': "
                   "[{'type': 'NFC'}]}, " SMALL_MODEL));
    CHECK(accepted(HEAD PARTS MODEL "['a b'], 'dropout': 0.0, 'byte_fallback': true}}"));
    CHECK(accepted(HEAD "], 'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, "
                   "'decoder': {'type': 'Sequence', 'decoders': [{'type': 'ByteLevel'}]}, "
                   SMALL_MODEL));
    #define GEMMA(normalizer) "{'normalizer': " normalizer ", 'pre_tokenizer': {'type': 'Split', " \
        "'pattern': {'String': ' '}, 'behavior': 'MergedWithPrevious', 'invert': false}, " \
        "'decoder': {'type': 'Replace', 'pattern': {'String': '" MARK "'}, 'content': ' '}, " \
        SMALL_MODEL
    CHECK(accepted(GEMMA("{'type': 'Replace', 'pattern': {'String': ' '}, "
                         "'content': '" MARK "'}")));
    CHECK(refused(GEMMA("null"), "the pre_tokenizer splits by a pattern that is not known here"));
    #undef GEMMA
    CHECK(accepted("{'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [{'type': 'ByteLevel', "
                   "'add_prefix_space': false, 'use_regex': true}]}, "
                   "'decoder': {'type': 'ByteLevel'}, " MODEL "['a b']}}"));
}

static void test_what_is_not_known_is_refused_by_name(void) {
    CHECK(refused("[]", "no \"model\""));
    CHECK(refused("{}", "no \"model\""));
    CHECK(refused("{'model': {'type': 'BPE'}}", "vocab"));
    CHECK(refused("{'model': {'type': 'Unigram', 'vocab': [['a', 1]]}}",
                  "the model is Unigram, which is not known here: a tokenizer is needed that has "
                  "only BPE there"));
    CHECK(refused(HEAD PARTS "'normalizer': {'type': 'Sequence', 'normalizers': [{'type': 'NFC'}, "
                  "{'type': 'Lowercase'}]}, " SMALL_MODEL, "the normalizer is Lowercase"));
    CHECK(refused(HEAD PARTS "'normalizer': {'type': 'NFKC'}, " SMALL_MODEL, "NFKC"));
    CHECK(refused(HEAD PARTS "'normalizer': {'type': 'Replace', 'pattern': {'Regex': ' +'}, "
                  "'content': ' '}, " SMALL_MODEL, "Replace"));
    CHECK(refused(HEAD PARTS "'normalizer': {'type': 'Prepend'}, " SMALL_MODEL, "Prepend"));
    CHECK(refused(HEAD PARTS MODEL "['a b'], 'dropout': 0.1}}", "dropout"));
    CHECK(refused(HEAD PARTS "'model': {'vocab': {'a': 0, '<0x0A>': 1}, 'merges': [], "
                  "'byte_fallback': true}}", "byte_fallback"));
    CHECK(refused(HEAD PARTS MODEL "['a b'], 'end_of_word_suffix': '</w>'}}",
                  "end_of_word_suffix"));
    CHECK(refused(HEAD PARTS MODEL "['a b'], 'something': 1}}", "something"));
    CHECK(refused(HEAD PARTS "'model': {'type': 'Unigram', 'vocab': {'a': 0}, 'merges': []}}",
                  "Unigram"));
    CHECK(refused(HEAD "], 'decoder': {'type': 'ByteLevel'}, " SMALL_MODEL,
                  "neither is the pre_tokenizer ByteLevel or Metaspace"));
    #define CUT(part) HEAD "], 'pre_tokenizer': " part ", 'decoder': {'type': 'ByteLevel'}, " \
                      SMALL_MODEL
    CHECK(refused(CUT("{'type': 'Whitespace'}"), "the pre_tokenizer is Whitespace"));
    CHECK(refused(CUT("{'type': 'Sequence', 'pretokenizers': [{'type': 'Punctuation'}, {'type': "
                      "'ByteLevel'}]}"),
                  "the pre_tokenizer is Sequence of Punctuation, ByteLevel"));
    CHECK(refused(CUT("{'type': 'Sequence', 'pretokenizers': [{'type': 'ByteLevel'}, {'type': "
                      "'Digits'}]}"), "the pre_tokenizer is Sequence of ByteLevel, Digits"));
    CHECK(refused(CUT("{'type': 'Sequence', 'pretokenizers': [{'type': 'Split', 'pattern': "
                      "{'Regex': '[a-z]+'}, 'behavior': 'Isolated'}, {'type': 'ByteLevel'}]}"),
                  "splits by a pattern that is not known here, [a-z]+: a tokenizer is needed"));
    CHECK(refused(CUT("{'type': 'Split', 'pattern': {'String': ' '}}"),
                  "splits by a pattern that is not known here,  : "));
    CHECK(refused(CUT("{'type': 'Metaspace', 'replacement': '_'}"), "Metaspace"));
    CHECK(refused(CUT("{'type': 'Digits'}"), "neither is the pre_tokenizer"));
    CHECK(refused(CUT("{'type': 'Metaspace', 'replacement': '" MARK "'}"),
                  "the decoder is ByteLevel"));
    CHECK(refused(HEAD "], 'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, "
                  "'decoder': {'type': 'WordPiece'}, " SMALL_MODEL, "WordPiece"));
}

static void test_wrong_ids_pieces_and_merges_are_refused(void) {
    CHECK(refused(HEAD PARTS MODEL "['b a']}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "['a b', 'a b']}}", "merge 1"));
    CHECK(refused(HEAD PARTS MODEL "['ab']}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "[' ab']}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "['a b ']}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "[['a', 'b', 'b']]}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "[['a', 7]]}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "[7]}}", "merge 0"));
    CHECK(refused(HEAD PARTS MODEL "{}}}", "merges"));
    CHECK(refused(VOCAB("'a': 0, 'b': 0"), NOT_AN_ID));
    CHECK(refused(VOCAB("'a': 0, 'b': -1"), NOT_AN_ID));
    CHECK(refused(VOCAB("'a': 0, 'b': 1.5"), NOT_AN_ID));
    CHECK(refused(VOCAB("'a': 0, 'b': '1'"), NOT_AN_ID));
    CHECK(refused(VOCAB("'a': 0, ' b': 1"), "byte alphabet"));
    CHECK(refused(VOCAB("'a': 0, '': 1"), "byte alphabet"));
    CHECK(refused(VOCAB("'a': 0, 'a': 1"), "twice"));
    CHECK(refused(VOCAB("'a': 0, 'b': 2000000000"),
                  "ids reach 2000000000, but only 2 have a piece"));
    CHECK(refused(HEAD "{'id': 2000000000, 'content': 'x'}" PARTS MODEL "[]}}",
                  "\"x\" has the id 2000000000, but other programs read it as 3"));
    CHECK(refused(HEAD "{'id': 2, 'content': 'x'}" PARTS MODEL "[]}}", "read it as 3"));
    CHECK(refused(HEAD "{'id': 3, 'content': 'ab'}" PARTS MODEL "[]}}", "read it as 2"));
    CHECK(refused(HEAD "{'id': 1, 'content': 'x'}" PARTS "'model': {'vocab': {'a': 1}, "
                  "'merges': []}}", "has the id of the piece \"a\""));
    CHECK(refused(HEAD "{'id': 3, 'content': ''}" PARTS MODEL "[]}}", "empty"));
    CHECK(refused(HEAD "{'id': 3}" PARTS MODEL "[]}}", "\"content\": a string"));
    CHECK(refused(HEAD "{'id': 3, 'content': 'x'}, {'id': 3, 'content': 'y'}" PARTS MODEL "[]}}",
                  "\"y\" has the id 3, but other programs read it as 4"));
    CHECK(refused(HEAD "{'id': 3, 'content': 'x'}, {'id': 4, 'content': 'x'}" PARTS MODEL "[]}}",
                  "\"x\" has the id 4, but other programs read it as 3"));
    CHECK(refused(HEAD "{'id': 3, 'content': 'x'}, {'id': 3, 'content': 'x'}" PARTS MODEL "[]}}",
                  "twice"));
    CHECK(refused(HEAD "{'id': 3, 'content': 'x', 'special': 'yes'}" PARTS MODEL "[]}}",
                  "\"special\" must be true or false"));
    CHECK(refused(HEAD PARTS "'model': {'vocab': {'a': 0}, 'merges': [], 'ignore_merges': 1}}",
                  "\"ignore_merges\" must be true or false"));
    CHECK(refused(HEAD PARTS "'model': {'vocab': {'a': 0}, 'merges': [], 'unk_token': 5}}",
                  "\"unk_token\" must be a string or null"));
    CHECK(refused("{'added_tokens': 5, 'pre_tokenizer': {'type': 'ByteLevel'}, 'decoder': "
                  "{'type': 'ByteLevel'}, 'model': {'vocab': {'a': 0}, 'merges': []}}",
                  "\"added_tokens\" must be a list"));
    CHECK(refused(HEAD "{'id': '3', 'content': 'x'}" PARTS MODEL "[]}}",
                  "must be a list of {\"id\": a whole number, \"content\": a string"));
    CHECK(refused(HEAD "{'id': 3, 'content': 7}" PARTS MODEL "[]}}", "\"content\": a string"));
}

// Values that would be passed over, each with what is said of it.
static void test_every_key_of_a_tokenizer_has_a_value_that_is_possible(void) {
    #define MODEL_WITH(key) HEAD PARTS MODEL "['a b'], " key "}}"
    CHECK(refused("{'version': '2.0', " PARTS_ALONE SMALL_MODEL, "\"version\" must be \"1.0\""));
    CHECK(refused("{'truncation': 'x', " PARTS_ALONE SMALL_MODEL,
                  "\"truncation\" must be an object or null"));
    CHECK(refused("{'padding': 5, " PARTS_ALONE SMALL_MODEL, "\"padding\" must be an object"));
    CHECK(refused("{'post_processor': [], " PARTS_ALONE SMALL_MODEL,
                  "\"post_processor\" must be an object or null"));
    CHECK(refused(MODEL_WITH("'dropout': ''"), "the model has dropout"));
    CHECK(refused(MODEL_WITH("'end_of_word_suffix': 0"), "the model has end_of_word_suffix"));
    CHECK(refused(MODEL_WITH("'continuing_subword_prefix': false"), "has continuing_subword_pre"));
    CHECK(refused(MODEL_WITH("'unk_token': '<unk>'"),
                  "\"unk_token\" is \"<unk>\", which is no piece of the vocabulary: set it to one, "
                  "or to null"));
    CHECK(refused(HEAD "{'id': 3, 'content': '<s>'}" PARTS MODEL "['a b'], 'unk_token': '<s>'}}",
                  "\"unk_token\" is \"<s>\", which is no piece"));
    CHECK(refused(HEAD PARTS MODEL "[]}}", "\"merges\" is empty, but 1 pieces have several "
                  "characters: the list was lost; take the file from the model again"));
    CHECK(accepted(HEAD PARTS MODEL "['a b'], 'ignore_merges': true}}"));
    static const char whole[] = HEAD PARTS MODEL "[], 'ignore_merges': true}}";
    Tokenizer t;
    CHECK(load_quoted(&t, whole, strlen(whole)) == 0 && encode(&t, "ab", 2) == 0 && ids[0] == 2);
    tokenizer_free(&t);
    CHECK(refused(HEAD "], 'pre_tokenizer': {'type': 'ByteLevel', 'trim_offsets': 1}, "
                  "'decoder': {'type': 'ByteLevel'}, " SMALL_MODEL, "the pre_tokenizer is ByteL"));
    CHECK(refused(HEAD "], 'pre_tokenizer': {'type': 'ByteLevel'}, "
                  "'decoder': {'type': 'ByteLevel', 'use_regex': 'no'}, " SMALL_MODEL,
                  "\"use_regex\" must be true or false"));
    #define MARKED(decoder) HEAD "], 'pre_tokenizer': {'type': 'Metaspace', 'replacement': '" MARK \
        "'}, 'decoder': {'type': 'Metaspace', 'replacement': '" MARK "', " decoder "}, " SMALL_MODEL
    CHECK(refused(MARKED("'prepend_scheme': 5"), "the decoder is Metaspace"));
    CHECK(refused(MARKED("'split': 5"), "the decoder is Metaspace"));
    #undef MARKED
    #undef MODEL_WITH
}

// Are the ids of the text these?
static int encodes_to(const Tokenizer *t, const char *text, const int *want, size_t n) {
    return encode(t, text, strlen(text)) == 0 && num_ids == n
        && !memcmp(ids, want, n * sizeof *ids);
}

// Nothing becomes a hole's id, and nothing is read of it.
static void test_an_id_without_a_piece_is_one_that_never_occurs(void) {
    static const char holes[] = HEAD "{'id': 3, 'content': 'x'}" PARTS
                                "'model': {'vocab': {'a': 0, 'b': 2, 'ab': 7}, 'merges': ['a b']}}";
    Tokenizer t;
    Buffer b = {0};
    CHECK(load_quoted(&t, holes, strlen(holes)) == 0 && t.vocab_size == 8);
    CHECK(encodes_to(&t, "aabx", (int[]){0, 7, 3}, 3));
    CHECK(tokenizer_decode(&t, (int[]){1, 0, 4, 6, 3}, 5, &b) == 0 && !strcmp(b.data, "ax"));
    b.len = 0;
    CHECK(tokenizer_json(&t, &b) == 0);
    tokenizer_free(&t);
    CHECK(load_text(&t, b.data, b.len) == 0 && t.vocab_size == 8);
    tokenizer_free(&t);
    buffer_free(&b);
}

static void test_a_byte_without_a_piece_is_dropped_as_by_hugging_face(void) {
    Tokenizer t;
    CHECK(load_quoted(&t, SMALL, strlen(SMALL)) == 0);
    CHECK(encodes_to(&t, "acb", (int[]){2}, 1));           // the neighbours are merged
    CHECK(encodes_to(&t, "ccc", (int[]){0}, 0) && encodes_to(&t, "ca", (int[]){0}, 1));
    tokenizer_free(&t);
    static const char unknown[] = HEAD PARTS MODEL "['a b'], 'unk_token': 'a'}}";
    CHECK(load_quoted(&t, unknown, strlen(unknown)) == 0);
    CHECK(encodes_to(&t, "bcb", (int[]){1, 2}, 2));        // the unknown is merged too
    tokenizer_free(&t);
}

// The small tokenizer with another file beside it.  0, or -1 after fail().
static int load_beside(Tokenizer *t, const char *settings, const char *added) {
    static const char text[] = HEAD "{'id': 3, 'content': '<s>', 'special': true}" PARTS
                               SMALL_MODEL;
    const char *texts[] = {text, settings, added};
    TokenizerFiles f = {.path = "f"};
    Json *const files[] = {&f.tokenizer, &f.settings, &f.added};
    int result = 0;
    memset(t, 0, sizeof *t);
    for (int k = 0; k < 3; k++) {
        char copy[1024];
        size_t n = 0;
        if (!texts[k]) continue;
        for (; texts[k][n]; n++) copy[n] = texts[k][n] == '\'' ? '"' : texts[k][n];
        if (json_parse(files[k], copy, n, "f") < 0) result = -1;
    }
    if (result == 0) result = read_tokenizer(t, &f);
    for (int k = 0; k < 3; k++) json_free(files[k]);
    return result;
}

#define DECODER(tokens) "{'added_tokens_decoder': {" tokens "}}"
static void test_tokens_that_other_files_add_are_looked_for_in_texts(void) {
    Tokenizer t;
    CHECK(load_beside(&t, DECODER("'3': {'content': '<s>'}, '4': {'content': 'ba'}"), NULL) == 0);
    CHECK(t.vocab_size == 5 && encodes_to(&t, "aba", (int[]){0, 4}, 2));
    tokenizer_free(&t);
    CHECK(load_beside(&t, "{}", "{'ba': 4, 'bb': 5}") == 0 && t.vocab_size == 6);
    CHECK(encodes_to(&t, "ababb", (int[]){0, 4, 5}, 3));
    tokenizer_free(&t);

    // a piece of the vocabulary becomes an added token
    CHECK(load_beside(&t, DECODER("'2': {'content': 'ab', 'special': true}"), "{'zz': 9}") == 0);
    CHECK(t.vocab_size == 4 && tokenizer_is_added(&t, 2));
    tokenizer_free(&t);

    #define REFUSED(settings, added, words) \
        CHECK(load_beside(&t, settings, added) < 0 && strstr(error_text, words))
    REFUSED(DECODER("'4': {'content': '<s>'}"), NULL,
            "\"<s>\" has the id 4, but other programs read it as 3");
    REFUSED(DECODER("'6': {'content': 'ba'}"), NULL,
            "\"ba\" has the id 6, but other programs read it as 4");
    REFUSED(DECODER("'2': {'content': 'ba'}"), NULL, "read it as 4");
    REFUSED(DECODER("'4': 7"), NULL, "tokenizer_config.json: \"added_tokens_decoder\" must be an "
            "object of ids with a {\"content\": a string, ...} each");
    REFUSED(DECODER("'x': {'content': 'ba'}"), NULL, "must be an object of ids");
    REFUSED("{'added_tokens_decoder': [1]}", NULL, "must be an object of ids");
    REFUSED(NULL, "{'ba': '4'}", "added_tokens.json: the id of \"ba\" must be a whole number");
    REFUSED("{'add_prefix_space': 'no'}", NULL,
            "tokenizer_config.json: \"add_prefix_space\" must be true or false");
    REFUSED("{'add_bos_token': 1}", NULL, "\"add_bos_token\" must be true or false");
    REFUSED("{'add_prefix_space': true}", NULL, "add_prefix_space is true, but tokenizer.json puts "
            "no space before a text");
    #undef REFUSED
}

static const char added_tokens[] =
    HEAD "{'id': 3, 'content': 'bb'}, {'id': 4, 'content': 'bbb'}, "
    "{'id': 5, 'content': 'abb', 'special': true}, {'id': 2, 'content': 'ab', 'normalized': true}"
    PARTS SMALL_MODEL;

static void test_added_tokens_are_matched_leftmost_and_longest(void) {
    Tokenizer t;
    CHECK(load_quoted(&t, added_tokens, strlen(added_tokens)) == 0 && t.vocab_size == 6);
    CHECK(encodes_to(&t, "abbbbb", (int[]){0, 4, 3}, 3));
    CHECK(encodes_to(&t, "abaabb", (int[]){2, 0, 0, 3}, 4));
    tokenizer_free(&t);
}

static void test_a_special_token_that_is_written_out_is_found_where_it_begins(void) {
    Tokenizer t;
    CHECK(load_quoted(&t, added_tokens, strlen(added_tokens)) == 0);
    CHECK(tokenizer_special_at(&t, "abbb", 4) == 5 && tokenizer_special_at(&t, "ab", 2) == -1);
    CHECK(tokenizer_special_at(&t, "bbb", 3) == -1);                  // added, but not special
    tokenizer_free(&t);
    CHECK(tokenizer_special_at(&t, "abbb", 4) == -1);                 // nothing was loaded
}

// What SentencePiece's file may ask for beyond that.
static void test_a_damaged_or_other_sentencepiece_model_is_refused(void) {
    static const struct { const char *bytes; size_t n; const char *words; } models[] = {
        {.bytes = "",                          .n = 0,  .words = "not a SentencePiece model"},
        {.bytes = "\x0a\x7f",                  .n = 2,  .words = "cut short"},
        {.bytes = "\xff",                      .n = 1,  .words = "not a SentencePiece model"},
        {.bytes = "\x0a\x03\x0a\x01\xff",     .n = 5,  .words = "not a SentencePiece model"},
        {.bytes = "\x0a\x05\x0a\x01" "a\x18\x07", .n = 7, .words = "not a SentencePiece model"},
        {.bytes = "\x0a\x03\x0a\x01" "a",      .n = 5,  .words = "unigram"},
        {.bytes = "\x0a\x03\x0a\x01" "a\x12\x02\x18\x04", .n = 9, .words = "characters or words"},
        {.bytes = "\x0a\x03\x0a\x01" "a\x12\x02\x18\x02", .n = 9,
         .words = "the model has remove_extra_whitespaces"},
        {.bytes = "\x0a\x03\x0a\x01" "a\x12\x02\x18\x02\x1a\x09\x0a\x04nfkc\x12\x01x", .n = 20,
         .words = "normalizes texts by nfkc"},
    };
    static const char file[] = "test/bin/damaged.model";
    Tokenizer t;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        CHECK(file_write(file, models[k].bytes, models[k].n) == 0);
        CHECK(tokenizer_load(&t, file) < 0);
        CHECK(strstr(error_text, models[k].words) != NULL && strstr(error_text, file) != NULL);
    }

    Buffer whole = {0};
    CHECK(file_read(&whole, GOLDEN "tokenizers/tokenizer.model") == 0);
    for (size_t i = 0; i < whole.len; i += i < 64 ? 1 : 97) {
        CHECK(file_write(file, whole.data, i) == 0);      // it ends here
        if (tokenizer_load(&t, file) == 0) encode(&t, "a hat", 5);
        tokenizer_free(&t);
        whole.data[i] ^= 0x15;                            // or a byte is another
        CHECK(file_write(file, whole.data, whole.len) == 0);
        if (tokenizer_load(&t, file) == 0) encode(&t, "a hat", 5);
        tokenizer_free(&t);
        whole.data[i] ^= 0x15;
    }
    buffer_free(&whole);
    remove(file);
}

static void test_a_vocabulary_of_two_files_needs_to_say_how_it_cuts_words_and_all_its_merges(void) {
    static const char vocab[] = "{\"a\": 0, \"b\": 1, \"ab\": 2}";
    static const char merges[] = "#version: 0.2\r\na b\r\n";
    char folder[] = "test/bin/vocab-XXXXXX", path[PATH_SIZE];
    Tokenizer t;
    #define PUT(name, text) \
        CHECK(path_join(path, folder, name) == 0 && file_write(path, text, strlen(text)) == 0)
    CHECK(mkdtemp(folder) != NULL);
    CHECK(tokenizer_file(path, folder) < 0 && strstr(error_text, "there is no tokenizer.json"));
    PUT("merges.txt", merges);
    PUT("vocab.json", vocab);
    CHECK(tokenizer_file(path, folder) == 0 && name_ends_with(path, "vocab.json"));
    CHECK(tokenizer_load(&t, path) < 0 && strstr(error_text, "nothing says how words are cut"));
    PUT("tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\"}");
    CHECK(tokenizer_file(path, folder) == 0 && tokenizer_load(&t, path) < 0);
    CHECK(strstr(error_text, "is BertTokenizer, of which is not known here") != NULL);
    PUT("tokenizer_config.json", "{\"add_prefix_space\": true}");
    PUT("config.json", "{\"model_type\": \"gpt2\"}");
    CHECK(tokenizer_file(path, folder) == 0 && tokenizer_load(&t, path) == 0);
    CHECK(t.step[0].kind == STEP_SPACE && t.step[1].end == word_end_gpt2 && t.num_merges == 1);
    tokenizer_free(&t);

    // a merge for each piece of several characters, but for those with a meaning
    PUT("merges.txt", "");
    CHECK(tokenizer_file(path, folder) == 0 && tokenizer_load(&t, path) < 0);
    CHECK(strstr(error_text, "merges.txt: 0 merges for 1 pieces of several characters") != NULL);
    PUT("merges.txt", "#version: 0.2\n");
    CHECK(tokenizer_file(path, folder) == 0 && tokenizer_load(&t, path) < 0);
    CHECK(strstr(error_text, "merges.txt: 0 merges for 1 pieces of several characters") != NULL);
    PUT("vocab.json", "{\"a\": 0, \"b\": 1, \"<s>\": 2, \"[PAD]\": 3}");
    CHECK(tokenizer_file(path, folder) == 0 && tokenizer_load(&t, path) == 0 && t.num_merges == 0);
    tokenizer_free(&t);
    folder_remove(folder);
    #undef PUT
}

static void test_a_damaged_file_never_crashes(void) {
    const char byte[] = "'{}[]:,09- \\\xc3";
    for (size_t i = 0; i < sizeof SMALL - 1; i++) {
        for (size_t k = 0; k < sizeof byte; k++) {
            Tokenizer t;
            char copy[sizeof SMALL];
            memcpy(copy, SMALL, sizeof SMALL);
            copy[i] = byte[k];
            const size_t n = k ? sizeof SMALL - 1 : i;    // k = 0: the file ends here
            if (load_quoted(&t, copy, n) == 0) encode(&t, "aab", 3);
            tokenizer_free(&t);
        }
    }
    CHECK(accepted(SMALL));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_the_ids_of_a_learned_vocabulary_are_those_of_hugging_face);
    RUN(test_the_ids_of_pythia_are_those_of_hugging_face);
    RUN(test_texts_with_marks_have_the_ids_of_hugging_face);
    RUN(test_the_normal_form_is_that_of_hugging_face_for_every_character);
    RUN(test_many_marks_are_sorted_and_other_bytes_kept);
    RUN(test_the_ids_of_every_kind_of_tokenizer_are_those_of_hugging_face);
    RUN(test_every_kind_of_tokenizer_can_be_written);
    RUN(test_texts_come_back_from_every_kind_of_tokenizer);
    RUN(test_what_goes_on_after_another_text_gets_no_space);
    RUN(test_the_words_are_those_of_hugging_face_for_every_character);
    RUN(test_learning_equals_a_learner_that_recounts_after_every_merge);
    RUN(test_what_is_written_is_read_as_the_same_tokenizer);
    RUN(test_the_character_classes_are_those_of_unicode_16);
    RUN(test_a_text_is_cut_into_words_by_the_pattern);
    RUN(test_the_first_ids_are_the_specials_and_the_bytes_in_gpt2_order);
    RUN(test_every_string_of_bytes_comes_back);
    RUN(test_special_tokens_in_a_text_are_plain_text);
    RUN(test_a_byte_that_is_no_text_and_has_no_piece_is_refused);
    RUN(test_ids_outside_the_vocabulary_are_refused);
    RUN(test_of_equal_counts_the_least_left_id_wins_then_the_least_right);
    RUN(test_a_run_of_one_letter_doubles);
    RUN(test_pairs_do_not_cross_words_or_documents);
    RUN(test_the_order_of_documents_does_not_matter);
    RUN(test_impossible_sizes_are_refused);
    RUN(test_a_word_of_a_million_letters_takes_no_quadratic_time);
    RUN(test_both_forms_of_merges_and_harmless_settings_are_read);
    RUN(test_what_is_not_known_is_refused_by_name);
    RUN(test_wrong_ids_pieces_and_merges_are_refused);
    RUN(test_every_key_of_a_tokenizer_has_a_value_that_is_possible);
    RUN(test_an_id_without_a_piece_is_one_that_never_occurs);
    RUN(test_a_byte_without_a_piece_is_dropped_as_by_hugging_face);
    RUN(test_tokens_that_other_files_add_are_looked_for_in_texts);
    RUN(test_added_tokens_are_matched_leftmost_and_longest);
    RUN(test_a_special_token_that_is_written_out_is_found_where_it_begins);
    RUN(test_a_damaged_or_other_sentencepiece_model_is_refused);
    RUN(test_a_vocabulary_of_two_files_needs_to_say_how_it_cuts_words_and_all_its_merges);
    RUN(test_a_damaged_file_never_crashes);
    json_free(&cases);
    free(ids);
    return test_summary();
}

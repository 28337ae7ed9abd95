// Words, stems and the features of text_features.c: closed forms, and the numbers of NLTK and
// rouge-score (scripts/golden_text_features.py).  Run from the repository's root.
#include "test.h"
#include "../text_features.c"
#include "../phrases.c"
#include "../files/json.c"

static const char golden[] = "test/golden/text_features.json";

static double feature(const char *name, const char *prompt, const char *answer,
                      const char *reference) {
    const FeatureTexts t = {
        .prompt = prompt, .prompt_len = strlen(prompt),
        .answer = answer, .answer_len = strlen(answer),
        .reference = reference, .reference_len = reference ? strlen(reference) : 0,
    };
    const int which = text_feature_find(name);
    double value = NAN;
    CHECK(which >= 0);
    CHECK(text_features_compute(&value, &which, 1, &t) == 0);
    return value;
}

static void read_golden(Json *j) {
    if (json_load(j, golden) == 0) return;
    printf("    %s\n", error_text);
    exit(1);
}

// ------------------------------------------------------------------------------------------- words

static void test_stems_are_those_of_nltk(void) {
    Json j = {0};
    int count = 0;
    read_golden(&j);
    for (int v = json_first(&j, json_get(&j, 0, "stems")); v >= 0; v = json_next(&j, v)) {
        const int word = json_first(&j, v), stem = json_next(&j, word);
        char s[64];
        CHECK(json_length(&j, word) <= sizeof s);
        memcpy(s, json_string(&j, word), json_length(&j, word));
        const size_t n = word_stem(s, json_length(&j, word));
        const int same = n == json_length(&j, stem) && !memcmp(s, json_string(&j, stem), n);
        if (!same) printf("    %s: %.*s\n", json_string(&j, word), (int)n, s);
        CHECK(same);
        count++;
    }
    CHECK(count > 250);
    json_free(&j);
}

static void test_a_word_that_is_too_long_is_its_own_stem(void) {
    char a[101], b[101], c[101];
    memset(a, 'y', 100);
    memset(b, 'Y', 100);
    memset(c, 'y', 100);
    a[100] = b[100] = c[100] = 0;
    c[99] = 's';
    CHECK(feature("rouge1_stem", "", a, b) == 1);
    CHECK(feature("rouge1_stem", "", a, c) == 0);
}

static void test_letters_digits_and_bytes_beyond_ascii_make_words(void) {
    CHECK(feature("rouge1", "", "The cat's 2 lives", "the CAT, s, 2; lives") == 1);
    CHECK(feature("rouge1", "", "caf\xc3\xa9", "caf\xc3\xa9!") == 1);
    CHECK(feature("rouge1", "", "caf\xc3\xa9", "caf\xc3\xa8") == 0);
    CHECK(feature("length", "", "The cat's 2\tlives \n", NULL) == 4);
}

// ------------------------------------------------------------------------------- closed forms

static void test_length_and_compression_are_counts_of_words(void) {
    CHECK(feature("length", "a b c d", "a - b", NULL) == 3);
    CHECK(feature("compression", "a b c d", "a - b", NULL) == 0.75);
    CHECK(feature("compression", "a", "a b c", NULL) == 1);
    CHECK(feature("compression", "", "a", NULL) == 1);
    CHECK(feature("compression", "a", "", NULL) == 0);
}

static void test_overlap_is_the_share_of_the_answer_that_the_prompt_has(void) {
    const char *prompt = "the cat sat on the mat";
    CHECK(feature("overlap", prompt, "The cat, the cat, the dog!", NULL) == 5.0 / 6);
    CHECK(feature("overlap2", prompt, "The cat, the cat, the dog!", NULL) == 2.0 / 5);
    CHECK(feature("overlap", prompt, prompt, NULL) == 1);
    CHECK(feature("overlap2", prompt, prompt, NULL) == 1);
    CHECK(feature("overlap", prompt, "dogs", NULL) == 0);
}

static void test_coverage_counts_the_words_that_the_prompt_repeats(void) {
    // of four bytes and twice or more: good 3, size 2
    const char *prompt = "good size and good size and good color";
    CHECK(feature("coverage", prompt, "Good!", NULL) == 0.6);
    CHECK(feature("coverage", prompt, "the size, and the color", NULL) == 0.4);
    CHECK(feature("coverage", prompt, "size size good", NULL) == 1);
    CHECK(feature("coverage", prompt, "color", NULL) == 0);
    CHECK(feature("coverage", "nothing twice here", "nothing twice here", NULL) == 0);
}

static void test_distinct_and_repetition_count_grams_that_stood_before(void) {
    CHECK(feature("distinct1", "", "a b a b a", NULL) == 2.0 / 5);
    CHECK(feature("distinct2", "", "a b a b a", NULL) == 2.0 / 4);
    CHECK(feature("repetition", "", "a b a b a", NULL) == 0);
    CHECK(feature("repetition", "", "a b a b a b", NULL) == 1.0 / 3);
    CHECK(feature("repetition", "", "a a a a a", NULL) == 0.5);
    CHECK(feature("repetition", "", "a a a", NULL) == 0);
}

static void test_rouge_of_short_texts_is_counted_by_hand(void) {
    // "a a b" and "a b b": a once and b once in both; "a b" is the only common bigram
    CHECK(feature("rouge1", "", "a a b", "a b b") == 4.0 / 6);
    CHECK(feature("rouge2", "", "a a b", "a b b") == 2.0 / 4);
    CHECK(feature("rougeL", "", "a a b", "a b b") == 4.0 / 6);
    CHECK(feature("rougeL", "", "c b a", "a b c") == 2.0 / 6);
    CHECK(feature("rouge1_stem", "", "connected cats", "connection cat") == 1);
}

static void test_rouge_is_that_of_rouge_score(void) {
    static const char *const kinds[] = {
        "rouge1", "rouge2", "rougeL", "rouge1_stem", "rouge2_stem", "rougeL_stem",
    };
    Json j = {0};
    int count = 0;
    read_golden(&j);
    for (int v = json_first(&j, json_get(&j, 0, "rouge")); v >= 0; v = json_next(&j, v)) {
        const char *answer = json_string(&j, json_get(&j, v, "answer"));
        const char *reference = json_string(&j, json_get(&j, v, "reference"));
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            CHECK_NEAR(feature(kinds[k], "", answer, reference),
                       json_number(&j, json_get(&j, v, kinds[k])), 1e-12);
        }
        count++;
    }
    CHECK(count == 13);
    json_free(&j);
}

// ------------------------------------------------------------------------------- the table

static void test_every_feature_stays_in_its_range(void) {
    static const char *const texts[] = {"", " ", "a", "a b c d e f", "a a a a a a a a", "\xff\x80"};
    enum { NUM = sizeof texts / sizeof *texts };
    Buffer many = {0};
    for (int i = 0; i < 1200; i++) CHECK(buffer_printf(&many, "word%d word ", i) == 0);
    for (int f = 0; f < NUM_TEXT_FEATURES; f++) {
        const TextFeature *x = &text_feature_table[f];
        CHECK(text_feature_find(x->name) == f);
        CHECK(x->low < x->high && *x->help);
        CHECK((x->value == NULL) == (x->need == NEEDS_MODEL));
        for (int i = 0; x->value && i <= NUM * NUM; i++) {
            const char *prompt = i < NUM * NUM ? texts[i % NUM] : many.data;
            const char *answer = i < NUM * NUM ? texts[i / NUM] : many.data;
            const double value = feature(x->name, prompt, answer, prompt);
            CHECK(value >= x->low && value <= x->high);
        }
    }
    CHECK(text_feature_find("nothing") == -1);
    buffer_free(&many);
}

static void test_a_feature_does_not_depend_on_those_beside_it(void) {
    int which[NUM_TEXT_FEATURES], n = 0;
    double value[NUM_TEXT_FEATURES];
    const char *prompt = "good size and good size", *answer = "a good size, a good size";
    const char *reference = "sizes are good";
    const FeatureTexts t = {prompt, answer, reference, strlen(prompt), strlen(answer),
                            strlen(reference)};
    for (int f = NUM_TEXT_FEATURES - 1; f >= 0; f--) {
        if (text_feature_table[f].value) which[n++] = f;
    }
    CHECK(text_features_compute(value, which, n, &t) == 0);
    for (int i = 0; i < n; i++) {
        CHECK(value[i] == feature(text_feature_table[which[i]].name, prompt, answer, reference));
    }
}

// Of "deep blue water": (3 + 2) / 2 + (3 + 2) / 2 + (3 + 2) / 2; of "sea" 2 / 1.
static void test_key_phrases_are_scored_by_degree_and_frequency(void) {
    const char *s = "Deep blue water is not the BLUE water, it's the deep sea.\nTides; tides";
    static const struct {
        const char *phrase;
        double score;
    } want[] = {{"Deep blue water", 7.5}, {"BLUE water", 5}, {"deep sea", 4.5}, {"Tides", 1},
                {"tides", 1}};
    Phrases p = {0};
    CHECK(phrases_read(&p, s, strlen(s)) == 0 && p.n == 5);
    for (size_t i = 0; i < p.n; i++) {
        const size_t n = strlen(want[i].phrase);
        CHECK(p.phrase[i].end - p.phrase[i].begin == n);
        CHECK(!memcmp(s + p.phrase[i].begin, want[i].phrase, n));
        CHECK(p.phrase[i].score == want[i].score);
    }
    CHECK(phrases_read(&p, "It is the, and -- so?", 21) == 0 && p.n == 0);
    CHECK(phrases_read(&p, NULL, 0) == 0 && p.n == 0);
    phrases_free(&p);
}

static void test_stop_words_are_in_order_and_found(void) {
    for (int i = 0; i < NUM_STOP_WORDS; i++) {
        CHECK(i == 0 || strcmp(stop_words[i-1], stop_words[i]) < 0);
        CHECK(strlen(stop_words[i]) < STOP_WORD_SIZE);
        CHECK(is_stop_word(stop_words[i], strlen(stop_words[i])));
    }
    CHECK(is_stop_word("The", 3) && !is_stop_word("then.", 5) && !is_stop_word("theory", 6));
    CHECK(!is_stop_word("aaaaaaaaaaaaaaaaaaaaaaaa", 24));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_stems_are_those_of_nltk);
    RUN(test_a_word_that_is_too_long_is_its_own_stem);
    RUN(test_letters_digits_and_bytes_beyond_ascii_make_words);
    RUN(test_length_and_compression_are_counts_of_words);
    RUN(test_overlap_is_the_share_of_the_answer_that_the_prompt_has);
    RUN(test_coverage_counts_the_words_that_the_prompt_repeats);
    RUN(test_distinct_and_repetition_count_grams_that_stood_before);
    RUN(test_rouge_of_short_texts_is_counted_by_hand);
    RUN(test_rouge_is_that_of_rouge_score);
    RUN(test_every_feature_stays_in_its_range);
    RUN(test_a_feature_does_not_depend_on_those_beside_it);
    RUN(test_key_phrases_are_scored_by_degree_and_frequency);
    RUN(test_stop_words_are_in_order_and_found);
    return test_summary();
}

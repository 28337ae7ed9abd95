// Scores that a language model writes: which texts give one, and how a rubric is filled in.  What
// asking does is in test/commands/judge.sh.
#include "test.h"
#include "../commands/scoring.c"

static double parse(const char *text, int closed) {
    return score_parse(text, strlen(text), closed);
}

// The generator ends a text before </score>; `closed` says that it was there.
static void test_a_score_is_the_first_number_in_closed_tags_from_0_to_5(void) {
    static const struct { const char *text; double score; } cases[] = {
        {"<score>4", 4}, {"so: <score>4.5", 4.5}, {"<score> 3.25 ", 3.25}, {"<score>0", 0},
        {"<score>5.0", 5}, {"<score>5.", 5}, {"<score>.5", 0.5}, {"<score>4/5", 4},
        {"<score>Score: 2, as 9 said", 2}, {"1 <score>2 <score>3", 2}, {"<score>003", 3},
        {"<score>", NAN}, {"<score>none", NAN}, {"4", NAN}, {"", NAN}, {"score>4", NAN},
        {"<score>5.01", NAN}, {"<score>-1", NAN}, {"<score>-.5", NAN}, {"<score>80%", NAN},
        {"<score>4,5", NAN}, {"<score>1.2.3", NAN}, {"<score>4e0", NAN}, {"<score>4th", NAN},
        {"<score>nan", NAN}, {"<score>inf", NAN},
        {"<score>0.00000000000000000000000000000000001", NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double score = parse(cases[i].text, 1);
        const int same = isnan(cases[i].score) ? isnan(score) : score == cases[i].score;
        if (!same) printf("    %s: %g\n", cases[i].text, score);
        CHECK(same);
        CHECK(isnan(parse(cases[i].text, 0)));
    }
}

static void test_both_places_of_a_rubric_are_filled_wherever_they_stand(void) {
    static const char text[] = "{summary} {source}{other}{summary}{{source} {", wanted[] =
        "{source}! reviews{other}{source}!{reviews {";
    const FeatureTexts t = {.prompt = "reviews", .prompt_len = 7,
                            .answer = "{source}!", .answer_len = 9};
    Rubric r = {0};
    Buffer out = {0};
    CHECK(buffer_append(&r.text, text, strlen(text)) == 0);
    CHECK(append_question(&out, &r, &t) == 0);
    CHECK(out.len == strlen(wanted) && !memcmp(out.data, wanted, out.len));
    buffer_free(&r.text);
    buffer_free(&out);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_a_score_is_the_first_number_in_closed_tags_from_0_to_5);
    RUN(test_both_places_of_a_rubric_are_filled_wherever_they_stand);
    return test_summary();
}

/* test.h - CHECK, CHECK_NEAR, RUN.
 *
 * A test program runs its tests in order; words on its command line choose those whose names
 * contain one of them:
 *
 *     test/bin/test_loss                all
 *     test/bin/test_loss wolfe dpo      those with "wolfe" or "dpo" in their names
 *
 * The last line of its output is "N passed, N failed".                                        */
#ifndef TEST_H
#define TEST_H
#include "../common.h"

static int tests_passed, tests_failed;
static int test_bad;                                      // faults of the running test
static char **test_words;                                 // of the command line
static int num_test_words;
static unsigned char *test_word_met;                      // has the word been in a name?

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            test_bad++;                                                                   \
            printf("    %s:%d: %s\n", __FILE__, __LINE__, #condition);                    \
        }                                                                                 \
    } while (0)

#define CHECK_NEAR(a, b, eps)                                                             \
    do {                                                                                  \
        const double a_ = (a);                                                            \
        const double b_ = (b);                                                            \
        if (!(fabs(a_ - b_) <= (eps))) {                                                  \
            test_bad++;                                                                   \
            printf("    %s:%d: %s = %.9g, not %.9g\n", __FILE__, __LINE__, #a, a_, b_);   \
        }                                                                                 \
    } while (0)

// runs one test if it is among those asked for; its name is the sentence it proves
#define RUN(test) test_run(test, &(#test)[strlen("test_")])

// takes the words of the command line: the first statement of every main
static void test_choose(int argc, char **argv) {
    num_test_words = argc > 1 ? argc - 1 : 0;
    test_words = argv + 1;
    test_word_met = calloc((size_t)num_test_words + 1, 1);
    if (!test_word_met) abort();
}

static int test_is_chosen(const char *name) {
    int chosen = num_test_words == 0;
    for (int i = 0; i < num_test_words; i++) {
        if (strstr(name, test_words[i])) {
            test_word_met[i] = 1;
            chosen = 1;
        }
    }
    return chosen;
}

static void test_run(void (*test)(void), const char *name) {
    if (!test_is_chosen(name)) return;
    test_bad = 0;
    test();
    if (test_bad) tests_failed++;
    else             tests_passed++;
    printf("%s %s\n", test_bad ? "FAILED" : "ok    ", name);
    fflush(stdout);
}

// the last line and the exit status; a word that is in no name is a failure
static int test_summary(void) {
    for (int i = 0; i < num_test_words; i++) {
        if (!test_word_met[i]) {
            printf("FAILED no test has \"%s\" in its name\n", test_words[i]);
            tests_failed++;
        }
    }
    printf("%d passed, %d failed\n", tests_passed, tests_failed);
    free(test_word_met);
    return tests_failed != 0;
}
#endif

/* test.h - CHECK, CHECK_NEAR, RUN; the last line of a test program is "N passed, N failed". */
#ifndef TEST_H
#define TEST_H
#include "../common.h"

static int tests_passed, tests_failed, test_bad;

#define CHECK(condition)                                                                                   \
    do { if (!(condition)) test_bad++, printf("    %s:%d: %s\n", __FILE__, __LINE__, #condition); } while (0)
#define CHECK_NEAR(a, b, eps)                                                                              \
    do { double a_ = (a), b_ = (b);                                                                        \
         if (!(fabs(a_ - b_) <= (eps)))                                                                    \
             test_bad++, printf("    %s:%d: %s = %.9g, not %.9g\n", __FILE__, __LINE__, #a, a_, b_); } while (0)
// runs one test; its name is the sentence it proves
#define RUN(test)                                                                                          \
    do { test_bad = 0; test();                                                                             \
         if (test_bad) tests_failed++; else tests_passed++;                                                \
         printf("%s %s\n", test_bad ? "FAILED" : "ok    ", &(#test)[5]); fflush(stdout); } while (0)

static int test_summary(void) {
    printf("%d passed, %d failed\n", tests_passed, tests_failed);
    return tests_failed != 0;
}
#endif

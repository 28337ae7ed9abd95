// Clusters by agreement: the centred matrix, its eigenvectors, K-means.
#include "test.h"
#include "../agreement.c"

static double random_number(int what, int i) {
    return random_unit(1, STREAM_TEST, (uint64_t)what, (uint64_t)i);
}

static void test_agreement_is_what_is_beyond_that_with_everybody(void) {
    static const struct { int annotator, question, answer; } row[] = {
        {0, 7, 1}, {0, 8, 1}, {0, 9, 0}, {1, 7, 1}, {1, 8, 1}, {1, 9, 1},
        {2, 7, 0}, {2, 8, 1}, {3, 9, 0}};
    enum { ROWS = sizeof row / sizeof *row, H = 4 };
    // P and D; the last two have no question in common
    static const double P[H][H] = {{0, 2 / 3., 1 / 2., 1}, {2 / 3., 0, 1 / 2., 0},
                                   {1 / 2., 1 / 2., 0, 0}, {1, 0, 0, 0}};
    static const double D[H][H] = {{0, 1 / 3., 1 / 2., 0}, {1 / 3., 0, 1 / 2., 1},
                                   {1 / 2., 1 / 2., 0, 0}, {0, 1, 0, 0}};
    static const double p[H] = {13 / 6., 7 / 6., 1, 1}, d[H] = {5 / 6., 11 / 6., 1, 1};
    int annotator[ROWS];
    uint64_t question[ROWS], answer[ROWS];
    double C[H * H] = {0}, scratch[2 * H];
    for (int n = 0; n < ROWS; n++) {
        annotator[n] = row[n].annotator;
        question[n] = (uint64_t)row[n].question;
        answer[n] = (uint64_t)row[n].answer;
    }
    CHECK(agreement_matrix(C, scratch, H, ROWS, annotator, question, answer) == 0);
    for (int i = 0; i < H; i++) {
        for (int j = 0; j < H; j++) {
            const double agree = P[i][j] - p[i] * p[j] / (16 / 3.);
            const double disagree = D[i][j] - d[i] * d[j] / (14 / 3.);
            CHECK_NEAR(C[i*H + j], i == j ? 0 : agree - disagree, 1e-15);
        }
    }
}

// C = sum_e lambda_e u_e u_e' of orthogonal u with the lengths 2, one lambda negative.
static void test_eigenvectors_are_those_of_the_largest_eigenvalues_times_these(void) {
    static const double u[4][4] = {{1, 1, 1, 1}, {1, -1, 1, -1}, {1, 1, -1, -1}, {1, -1, -1, 1}};
    static const double lambda[4] = {0.5, -9, 3, 1};
    double C[16] = {0}, V[12], w[4];
    for (int e = 0; e < 4; e++) {
        for (int i = 0; i < 16; i++) C[i] += lambda[e] * u[e][i / 4] * u[e][i % 4] / 4;
    }
    static const int want[3] = {2, 3, 0};
    largest_eigenvectors(V, 3, C, w, 4, 1);
    for (int e = 0; e < 3; e++) {
        const double sign = V[4*e] > 0 ? 1 : -1;
        for (int i = 0; i < 4; i++) {
            CHECK_NEAR(sign * V[4*e + i], lambda[want[e]] * u[want[e]][i] / 2, 1e-8);
        }
    }
}

// Annotators of K groups of unequal sizes, each with some of 40 questions, who answer as their
// group does with probability `faithful`.  Returns how many are in the cluster of most of it.
static int recovered(int K, double faithful, int *H) {
    enum { MOST = 64, QUESTIONS = 40 };
    int group[MOST], cluster[MOST], annotator[MOST * QUESTIONS], right = 0;
    uint64_t question[MOST * QUESTIONS], answer[MOST * QUESTIONS];
    size_t N = 0;
    *H = 0;
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < 8 + 8 * k; i++) group[(*H)++] = k;
    }
    for (int h = 0; h < *H; h++) {
        for (int q = 0; q < QUESTIONS; q++) {
            const int at = h * QUESTIONS + q;
            if (random_number(2, at) > 0.4) continue;
            const int opinion = random_number(3, group[h] * QUESTIONS + q) < 0.5;
            annotator[N] = h;
            question[N] = (uint64_t)(1000 - q);
            answer[N++] = random_number(4, at) < faithful ? (uint64_t)opinion : !opinion;
        }
    }
    CHECK(agreement_cluster(cluster, *H, K, N, annotator, question, answer, 5) == 0);
    for (int k = 0; k < K; k++) {
        int most = 0;
        for (int c = 0; c < K; c++) {
            int both = 0;
            for (int h = 0; h < *H; h++) both += group[h] == k && cluster[h] == c;
            most = max_int(most, both);
        }
        right += most;
    }
    return right;
}

static void test_groups_that_agree_within_themselves_are_found(void) {
    int H;
    for (int K = 1; K <= 3; K++) {
        const int right = recovered(K, 0.95, &H);
        CHECK(right == H);
    }
    CHECK(recovered(2, 0.85, &H) >= 0.9 * H);
}

// Each question is put to one of either group, who never agree.
static void test_two_groups_that_meet_only_to_disagree_are_found(void) {
    enum { H = 20, QUESTIONS = 100, ROWS = 2 * QUESTIONS };
    int annotator[ROWS], cluster[H];
    uint64_t question[ROWS], answer[ROWS];
    for (int n = 0; n < ROWS; n++) {
        const int group = n % 2;
        annotator[n] = group + 2 * (int)(random_number(5, n) * H / 2);
        question[n] = (uint64_t)(n / 2);
        answer[n] = (uint64_t)(group ^ (random_number(6, n / 2) < 0.5));
    }
    CHECK(agreement_cluster(cluster, H, 2, ROWS, annotator, question, answer, 1) == 0);
    for (int h = 2; h < H; h++) CHECK(cluster[h] == cluster[h % 2]);
    CHECK(cluster[0] != cluster[1]);
}

static void test_no_cluster_is_empty_even_where_all_are_equal(void) {
    int annotator[6], cluster[6], size[4] = {0};
    uint64_t question[6] = {0}, answer[6] = {0};
    for (int h = 0; h < 6; h++) annotator[h] = h;
    CHECK(agreement_cluster(cluster, 6, 4, 6, annotator, question, answer, 1) == 0);
    for (int h = 0; h < 6; h++) size[cluster[h]]++;
    for (int k = 0; k < 4; k++) CHECK(size[k] > 0);
}

static void test_annotators_without_a_common_question_are_refused(void) {
    static const int annotator[3] = {0, 1, 2};
    static const uint64_t question[3] = {1, 2, 3}, answer[3] = {0};
    int cluster[3];
    CHECK(agreement_cluster(cluster, 3, 2, 3, annotator, question, answer, 1) < 0);
    CHECK(strstr(error_text, "no two annotators answered the same question"));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_agreement_is_what_is_beyond_that_with_everybody);
    RUN(test_two_groups_that_meet_only_to_disagree_are_found);
    RUN(test_eigenvectors_are_those_of_the_largest_eigenvalues_times_these);
    RUN(test_groups_that_agree_within_themselves_are_found);
    RUN(test_no_cluster_is_empty_even_where_all_are_equal);
    RUN(test_annotators_without_a_common_question_are_refused);
    return test_summary();
}

/* test_reward.c - the sampler that brings MORE's data sets to one size.  What it must keep: every
 * small set whole, every item equally often.  */
#include "test.h"
#include "../reward.c"

// Are the N items of row those of a set of this size, each as often as any other, or once more?
static void check_counts(const uint32_t *row, uint32_t size, uint32_t N) {
    uint32_t *count = calloc(size, sizeof *count), low = N / size, high = low + (N % size != 0);
    for (uint32_t n = 0; n < N; n++) {
        CHECK(row[n] < size);
        if (row[n] < size) count[row[n]]++;
    }
    for (uint32_t i = 0; i < size; i++) CHECK(count[i] >= low && count[i] <= high);
    free(count);
}

static void test_every_set_fills_its_list_and_small_sets_keep_all_their_items(void) {
    const uint32_t size[6] = {43774, 42537, 18165, 17106, 92858, 7};   // the paper's; tiny
    const uint32_t N = 40000;
    uint32_t *index = calloc(6 * (size_t)N, sizeof *index);
    sampler_fill(index, size, 6, N, 42, 0);
    for (int i = 0; i < 6; i++) check_counts(index + (size_t)i*N, size[i], N);
    sampler_fill(index, (uint32_t[]){5}, 1, 5, 42, 0);     // of N items: a permutation
    check_counts(index, 5, 5);
    sampler_fill(index, (uint32_t[]){1, 3}, 2, 3, 42, 0);
    CHECK(index[0] == 0 && index[1] == 0 && index[2] == 0);
    free(index);
}

static void test_the_sampler_is_a_function_of_seed_and_epoch_and_shuffles(void) {
    enum { N = 100 };
    const uint32_t size[3] = {100, 30, 250};
    uint32_t lists[3*N], again[3*N], epoch[3*N], seed[3*N], fewer[2*N], in_place = 0;
    sampler_fill(lists, size, 3, N, 1, 0);
    sampler_fill(again, size, 3, N, 1, 0);
    sampler_fill(epoch, size, 3, N, 1, 1);
    sampler_fill(seed, size, 3, N, 2, 0);
    sampler_fill(fewer, size, 2, N, 1, 0);
    CHECK(!memcmp(lists, again, sizeof lists));
    CHECK(memcmp(lists, epoch, sizeof lists) && memcmp(lists, seed, sizeof lists));
    CHECK(memcmp(epoch, seed, sizeof lists));
    CHECK(!memcmp(lists, fewer, sizeof fewer));            // another set leaves these lists alone
    for (uint32_t n = 0; n < N; n++) in_place += lists[n] == n;
    CHECK(in_place < 10);
}

static void test_the_sampler_takes_every_item_equally_often_over_the_epochs(void) {
    const uint32_t size[2] = {7, 23};
    uint32_t row[20], count[2][23] = {{0}}, at_first[23] = {0};
    for (uint64_t epoch = 0; epoch < 6000; epoch++) {
        sampler_fill(row, size, 2, 10, 9, epoch);
        for (int n = 0; n < 20; n++) count[n / 10][row[n]]++;
        at_first[row[10]]++;
    }
    const double p = 3 / 7.0, q = 10 / 23.0;               // five standard deviations of a binomial
    for (int i = 0; i < 7; i++) {
        CHECK_NEAR(count[0][i], 6000 * (1 + p), 5 * sqrt(6000 * p * (1-p)));
    }
    for (int i = 0; i < 23; i++) {
        CHECK_NEAR(count[1][i], 6000 * q, 5 * sqrt(6000 * q * (1-q)));
        CHECK_NEAR(at_first[i], 6000 / 23.0, 5 * sqrt(6000 / 23.0));
    }
}

// A ranking of m answers whose rewards are w . h: the head gradient that MORE takes of it.
static void test_the_head_gradient_of_a_ranking_is_that_of_its_loss(void) {
    enum { C = 5 };
    static const int counts[4] = {2, 3, 5, 8};
    for (int task = 0; task < 16; task++) {
        const int m = counts[task % 4];
        Answer answer[8] = {{.score = 1}};
        Record record = {.count = m, .weight = .75f};
        Dataset d = {.kind = m == 2 ? DATA_PAIR : DATA_RANKING, .record = &record,
                     .answer = answer};
        RewardRun x = {0};
        float h[8 * C], w[C], r[8], g[C] = {0};
        Run run = {.data = &d, .reward = &x, .value = r, .model.config.channels = C};
        const Item item = {0, 0, 0};
        x.pooled = h;
        opt.loss.top = task / 8;                               // all places, or the best alone
        for (int k = 0; k < m; k++) answer[k].score = (float)(k < 4 ? k + 1 : 4);
        for (uint64_t i = 0; i < 8 * C; i++) h[i] = (float)random_normal(1, STREAM_TEST, 1, i);
        for (uint64_t c = 0; c < C; c++) w[c] = (float)random_normal(1, STREAM_TEST, 2, c);

        // central differences, in steps that floats can hold
        const float step = 0x1p-8f;
        double want[C], loss = 0;
        for (int c = 0; c < C; c++) {
            double at[2];
            for (int side = 0; side < 2; side++) {
                float unused[8] = {0};
                for (int k = 0; k < m; k++) {
                    r[k] = 0;
                    for (int i = 0; i < C; i++) r[k] += w[i] * h[k*C + i];
                    r[k] += (side ? step : -step) * h[k*C + c];
                }
                at[side] = item_loss(&run, &item, unused, r, record.weight / 4);
            }
            want[c] = (at[1] - at[0]) / (2 * step);
        }
        for (int k = 0; k < m; k++) {
            r[k] = 0;
            for (int i = 0; i < C; i++) r[k] += w[i] * h[k*C + i];
        }
        int text = 0;
        float unused[8] = {0};
        loss = add_head_gradient(&run, g, &text, &item, 4);
        CHECK(text == m && loss == item_loss(&run, &item, unused, r, .25f * record.weight));
        for (int c = 0; c < C; c++) CHECK_NEAR(g[c], want[c], 2e-5 * (1 + fabs(want[c])));
    }
    opt.loss.top = 0;
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_every_set_fills_its_list_and_small_sets_keep_all_their_items);
    RUN(test_the_sampler_is_a_function_of_seed_and_epoch_and_shuffles);
    RUN(test_the_sampler_takes_every_item_equally_often_over_the_epochs);
    RUN(test_the_head_gradient_of_a_ranking_is_that_of_its_loss);
    return test_summary();
}

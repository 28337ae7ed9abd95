/* test_train.c - how a step is cut into micro-batches. */
#include "test.h"
#include "../train.c"

enum { TEXTS = 300 };
static Record  record[TEXTS];
static Item    item[TEXTS];
static Dataset data = {.record = record, .num_records = TEXTS};
static Run     run = {.data = &data, .item = item, .num_items = TEXTS};

static size_t rows_of(size_t at, size_t end) {
    size_t n = 0;
    for (; at < end; at++) n += (size_t)item_rows(&run, &item[at], 1);
    return n;
}

static void test_a_step_is_cut_into_the_fewest_micro_batches_with_the_smallest_largest_one(void) {
    opt.max_length = 200;
    for (int i = 0; i < TEXTS; i++) {                                 // documents of 1 to 200 rows
        record[i].prompt.len = (int)random_below(200, 5, STREAM_TEST, 0, (uint64_t)i);
        item[i] = (Item){0, i, 0};
    }
    for (run.unit = 1; run.unit <= 3; run.unit += 2)
        for (opt.micro_batch_tokens = 1; opt.micro_batch_tokens < 100000; opt.micro_batch_tokens *= 3) {
            size_t budget = (size_t)opt.micro_batch_tokens, all = rows_of(0, TEXTS), n = 0, full = 0;
            size_t rows = 0, largest = 0;
            for (size_t i = 0, unit; i < TEXTS; i += (size_t)run.unit) {  // filled to the budget one by one
                unit = rows_of(i, i + (size_t)run.unit);
                if (!i || rows + unit > budget) full++, rows = 0;
                rows += unit;
            }
            size_t limit = (size_t)(run.limit = micro_batch_limit(&run, 0, TEXTS, 1));
            for (size_t at = 0, end; at < TEXTS; at = end, n++) {
                end = micro_batch_end(&run, at, TEXTS, run.limit, 1);
                CHECK(end > at && (end - at) % (size_t)run.unit == 0);
                rows = rows_of(at, end);
                CHECK(rows <= limit || end - at == (size_t)run.unit);
                if (rows > largest) largest = rows;
            }
            CHECK(n == full && limit <= budget);
            CHECK(limit == 1 || count_micro_batches(&run, 0, TEXTS, (int)limit - 1, 1) > n);
            if (budget > 600) CHECK(largest <= budget && largest < all / n + (size_t)run.unit * 200);
        }
}

static void test_micro_batches_hold_no_more_pairs_than_there_is_room_for(void) {
    static Item many[2 * MAX_PAIRS + 3];
    Run r = {.data = &data, .item = many, .unit = 3};
    record[0].prompt.len = 0;
    for (int i = 0; i < 2 * MAX_PAIRS + 3; i++) many[i] = (Item){0, 0, 0};
    opt.micro_batch_tokens = 1 << 24;
    CHECK(count_micro_batches(&r, 0, 2 * MAX_PAIRS + 1, 1 << 24, 1) == 3);  // whole groups: 4095, 4095 and 3
    CHECK(micro_batch_end(&r, 0, 2 * MAX_PAIRS + 1, 1 << 24, 1) == MAX_PAIRS / 3 * 3);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_a_step_is_cut_into_the_fewest_micro_batches_with_the_smallest_largest_one);
    RUN(test_micro_batches_hold_no_more_pairs_than_there_is_room_for);
    return test_summary();
}

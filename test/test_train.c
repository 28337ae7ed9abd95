/* test_train.c - how a step is cut into micro-batches; which evaluation is the best.  */
#include "test.h"
#include "../train.c"

enum { DOCUMENTS_MADE = 300, LONGEST = 200 };
static Record record[DOCUMENTS_MADE];
static Item item[DOCUMENTS_MADE];
static Dataset data = {.record = record, .num_records = DOCUMENTS_MADE};
static const Trainer no_hooks;
static const Objective on_documents = {.trainer = &no_hooks, .data = DOCUMENTS};
static Run run = {.objective = &on_documents, .data = &data, .item = item,
                  .num_items = DOCUMENTS_MADE};

// Documents of 1 to 200 token rows.
static void make_documents(void) {
    opt.max_length = LONGEST;
    for (int i = 0; i < DOCUMENTS_MADE; i++) {
        record[i].prompt.len = (int)random_below(LONGEST, 5, STREAM_TEST, 0, (uint64_t)i);
        item[i] = (Item){0, i, 0};
    }
}

// How many micro-batches there are when each is filled to the budget, unit by unit.
static size_t filled_one_by_one(size_t budget) {
    const size_t unit = (size_t)run.unit;
    size_t full = 0, rows = 0;
    for (size_t i = 0; i < DOCUMENTS_MADE; i += unit) {
        const size_t more = step_rows(&run, i, i + unit);
        if (!i || rows + more > budget) {
            full++;
            rows = 0;
        }
        rows += more;
    }
    return full;
}

static void check_cuts(size_t budget) {
    const size_t end = DOCUMENTS_MADE, unit = (size_t)run.unit, all = step_rows(&run, 0, end);
    size_t n = 0, largest = 0;
    opt.micro_batch_tokens = (int)budget;
    const int limit = micro_batch_limit(&run, 0, end);

    for (size_t at = 0, next; at < end; at = next) {
        next = micro_batch_end(&run, at, end, limit);
        const size_t rows = step_rows(&run, at, next);
        CHECK(next > at && (next - at) % unit == 0);
        CHECK(rows <= (size_t)limit || next - at == unit);
        if (rows > largest) largest = rows;
        n++;
    }

    // the fewest, and no smaller limit has as few
    CHECK(n == filled_one_by_one(budget) && (size_t)limit <= budget);
    CHECK(limit == 1 || count_micro_batches(&run, 0, end, limit - 1) > n);
    if (budget > 3 * LONGEST) CHECK(largest <= budget && largest < all / n + unit * LONGEST);
}

static void
test_a_step_is_cut_into_the_fewest_micro_batches_with_the_smallest_largest_one(void) {
    make_documents();
    for (run.unit = 1; run.unit <= 3; run.unit += 2) {
        for (size_t budget = 1; budget < 100000; budget *= 3) check_cuts(budget);
    }
}

static void test_micro_batches_hold_no_more_pairs_than_there_is_room_for(void) {
    enum { ITEMS = 2 * MAX_PAIRS + 3, STEP = 2 * MAX_PAIRS + 1, LIMIT = 1 << 24 };
    Item *many = allocate(ITEMS, sizeof *many);
    if (!many) exit(1);
    Run r = {.objective = &on_documents, .data = &data, .item = many, .unit = 3};
    record[0].prompt.len = 0;
    opt.max_length = LONGEST;
    CHECK(count_micro_batches(&r, 0, STEP, LIMIT) == 3);     // whole units: 4095, 4095 and 3
    CHECK(micro_batch_end(&r, 0, STEP, LIMIT) == MAX_PAIRS / 3 * 3);
    free(many);
}

static void test_micro_batches_hold_no_more_texts_than_there_is_room_for(void) {
    enum { ANSWERS = 16, ITEMS = 1000, LIMIT = 1 << 24 };
    static const Objective on_rankings = {.data = PAIRS, .rankings = 1};
    Answer answers[ANSWERS] = {{.tokens = {.len = 1}}};
    Record one = {.count = ANSWERS};
    Dataset ranking = {.kind = DATA_RANKING, .record = &one, .answer = answers};
    Item *many = allocate(ITEMS, sizeof *many);
    if (!many) exit(1);
    Run r = {.objective = &on_rankings, .data = &ranking, .item = many, .unit = 1};
    CHECK(micro_batch_end(&r, 0, ITEMS, LIMIT) == MAX_TEXTS / ANSWERS);
    CHECK(count_micro_batches(&r, 0, ITEMS, LIMIT) == 2);
    free(many);
}

// What is no better is not saved: these need no folder.
static void test_a_tie_a_worse_number_and_what_is_no_number_are_not_the_best(void) {
    for (opt.best_metric = 0; opt.best_metric < NUM_METRICS; opt.best_metric++) {
        const double worse = opt.best_metric == METRIC_LOSS ? 0.75 : 0.25;
        const double value[] = {NAN, 0.5, worse, opt.best_metric == METRIC_LOSS ? HUGE_VAL : -1};
        Progress none = {.step = 3}, p = {.step = 3, .best_step = 2, .best = 0.5};
        opt.load_best = 1;
        CHECK(keep_best(&run, &none, NAN) == 0 && none.best_step == 0);
        for (int i = 0; i < 4; i++) CHECK(keep_best(&run, &p, value[i]) == 0);
        CHECK(p.best_step == 2 && p.best == 0.5 && p.not_better == 4);
    }
    opt.load_best = 0;
}

static void test_an_evaluation_that_a_signal_ends_does_not_stop_a_run_early(void) {
    Folder none = {.lock = -1};
    Run held = {.objective = &on_documents};
    opt.load_best = 1;
    opt.best_metric = METRIC_ACCURACY;
    opt.patience = 1;
    for (int asked = 0; asked < 2; asked++) {
        Progress p = {.step = 3, .steps = 9, .best_step = 2, .best = 0.5};
        stop_catch(&none);
        stop_hold();
        if (asked) raise(SIGTERM);
        // it ends the run, to go on from, where there would be a folder
        CHECK(evaluate_step(&held, &p) == (asked ? -1 : 0));
        CHECK(p.not_better == !asked);
    }
    stop_catch(&none);
    opt.load_best = 0;
    opt.patience = 0;
}

static void test_a_state_says_a_place_of_its_run(void) {
    const Progress right[] = {
        {.step = 3, .steps = 9}, {.step = 9, .steps = 9, .best_step = 4, .not_better = 2},
        {.step = 0, .steps = 9},
    };
    const Progress wrong[] = {
        {.step = 10, .steps = 9}, {.step = -1, .steps = 9}, {.step = 3, .steps = 8},
        {.step = 3, .steps = 9, .best_step = 4}, {.step = 3, .steps = 9, .best_step = -1},
        {.step = 3, .steps = 9, .not_better = 4}, {.step = 3, .steps = 9, .not_better = -1},
    };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) CHECK(progress_fits(&right[i], 9));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) CHECK(!progress_fits(&wrong[i], 9));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_a_step_is_cut_into_the_fewest_micro_batches_with_the_smallest_largest_one);
    RUN(test_micro_batches_hold_no_more_pairs_than_there_is_room_for);
    RUN(test_micro_batches_hold_no_more_texts_than_there_is_room_for);
    RUN(test_a_tie_a_worse_number_and_what_is_no_number_are_not_the_best);
    RUN(test_an_evaluation_that_a_signal_ends_does_not_stop_a_run_early);
    RUN(test_a_state_says_a_place_of_its_run);
    return test_summary();
}

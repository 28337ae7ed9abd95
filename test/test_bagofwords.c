// The bag of words: its words, its minimum, its bits.  Numbers come from closed forms or from
// scripts/golden_bag.py.
#include "test.h"
#include "../bagofwords.c"
#include "../vocabulary.c"

static Tokenizer bytes;

// The pairs of rows, which may be freed.
static Dataset read_pairs(const Buffer *rows) {
    const DataOptions o = {.rows = rows};
    Dataset d;
    if (dataset_load(&d, "rows", &bytes, &o) < 0) {
        printf("    %s\n", error_text);
        exit(1);
    }
    return d;
}

static void add_pair(Buffer *rows, const char *chosen, const char *rejected) {
    if (buffer_printf(rows, "{\"prompt\":\"P\",\"chosen\":\"%s\",\"rejected\":\"%s\"}\n", chosen,
                      rejected) < 0) {
        exit(1);
    }
}

static Bag train_on(const Buffer *rows) {
    Dataset d = read_pairs(rows);
    Bag b;
    CHECK(bag_train(&b, &d, &bytes) == 0);
    dataset_free(&d);
    return b;
}

// The reward of a text.
static double reward_of(const Bag *b, const char *text) {
    Buffer row = {0};
    double reward[2];
    add_pair(&row, text, "other");
    Dataset d = read_pairs(&row);
    CHECK(bag_rewards(b, &d, &bytes, reward) == 0);
    dataset_free(&d);
    buffer_free(&row);
    return reward[0];
}

// The made-up pairs of scripts/golden_bag.py, as rows; swapped: each the other way round.
static const char *const name[10] = {
    "sky", "sea", "blue", "green", "red", "cat", "dog", "sees", "likes", "runs"};
static void make_rows(Buffer *rows, int swapped) {
    for (int r = 0; r < 40; r++) {
        char text[2][256] = {"", ""};
        for (int k = 0; k < 3 + r % 4; k++) {
            strcat(strcat(text[0], name[(7*r + 3*k*k) % 10]), " ");
        }
        if (r % 3) strcat(text[0], "sea");
        for (int k = 0; k < 2 + r % 5; k++) {
            strcat(strcat(text[1], name[(5*r + k*(k + r)) % 10]), " ");
        }
        add_pair(rows, text[swapped], text[!swapped]);
    }
}

// ------------------------------------------------------------------------------------------- words

static void test_words_are_runs_of_letters_digits_and_bytes_beyond_ascii_in_small_letters(void) {
    static const char *const same[][2] = {
        {"The cat", " the\\n\\tCAT!"},
        {"don't", "t Don"},                                // two words, in whatever order
        {"caf\xc3\xa9", "CAF\xc3\xa9"},
        {"9 lives", "lives,9"},
        {"a_b", "b a"},
    };
    Buffer rows = {0};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) add_pair(&rows, same[i][0], "x");
    Bag b = train_on(&rows);
    CHECK(b.n == 10);                        // the cat don t cafe 9 lives a b x
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const double reward = reward_of(&b, same[i][0]);
        CHECK(reward > 0 && reward == reward_of(&b, same[i][1]));
    }
    CHECK(reward_of(&b, "caf") == 0 && reward_of(&b, "unheard of") == 0);
    CHECK(reward_of(&b, "cat cat") == 2 * reward_of(&b, "cat"));
    CHECK(reward_of(&b, "x") < 0);
    bag_free(&b);
    buffer_free(&rows);
}

// ------------------------------------------------------------------------------------ the minimum

// One word, in the chosen answer alone: w = C n sigma(-w), of n equal pairs.
static void test_the_weight_of_one_word_has_its_closed_form(void) {
    for (int n = 1; n <= 2000; n += 1999) {
        Buffer rows = {0};
        for (int j = 0; j < n; j++) add_pair(&rows, "yes", "...");
        Bag b = train_on(&rows);
        CHECK(b.n == 1);
        CHECK_NEAR(b.weight[0], BAG_C * n / (1 + exp(b.weight[0])), 1e-9);
        CHECK(b.weight[0] > 0);
        bag_free(&b);
        buffer_free(&rows);
    }
}

static void test_the_weights_are_those_of_scikit_learn(void) {
    static const double want[10] = {
        -0.0019545839308959373, 0.010630308419251267, 0.005933022378432233, -0.0037466212195644247,
        0.009807630612737442, -0.015528026066636922, 0.007758401035857176, -2.474994449369916e-05,
        0.005921629359819981, 0.003930920522541045};
    Buffer rows = {0};
    make_rows(&rows, 0);
    Bag b = train_on(&rows);
    CHECK(b.n == 10);
    for (int k = 0; k < 10; k++) CHECK_NEAR(reward_of(&b, name[k]), want[k], 1e-11);
    bag_free(&b);
    buffer_free(&rows);
}

// The pairs the other way round have the opposite weights, and equal words no difference, exactly.
static void test_the_weights_are_odd_in_the_pairs(void) {
    Buffer rows = {0}, swapped = {0};
    make_rows(&rows, 0);
    make_rows(&swapped, 1);
    Bag a = train_on(&rows), b = train_on(&swapped);
    for (size_t k = 0; k < a.n; k++) CHECK(a.word[k] == b.word[k] && a.weight[k] == -b.weight[k]);
    CHECK(reward_of(&a, "sky red dog sea") == reward_of(&a, "Sea dog, red sky!"));
    bag_free(&a);
    bag_free(&b);
    buffer_free(&rows);
    buffer_free(&swapped);
}

// --------------------------------------------------------------------------------------- the bits

static void test_the_weights_have_the_same_bits_everywhere(void) {
    Buffer rows = {0};
    make_rows(&rows, 0);
    Bag b = train_on(&rows);
    uint64_t hash = 0;
    for (size_t k = 0; k < b.n; k++) {
        uint64_t u;
        memcpy(&u, &b.weight[k], sizeof u);
        hash = random_mix(random_mix(hash ^ b.word[k]) ^ u);
    }
    CHECK(hash == 0x83438bdf5b75594a);
    bag_free(&b);
    buffer_free(&rows);
}

static void test_a_bag_of_many_words_holds_each_once_in_order(void) {
    enum { WORDS = 100000, EACH = 50 };                   // each word stands twice
    Buffer rows = {0}, text[2] = {{0}, {0}};
    Bag b = {0};
    TextWords w = {0};
    for (int i = 0; i < WORDS; i += EACH) {
        for (int side = 0; side < 2; side++) {
            text[side].len = 0;
            for (int k = i; k < i + EACH; k++) {
                const int number = side ? (7*k + 3) % WORDS : k;
                if (buffer_printf(&text[side], " w%d", number) < 0) exit(1);
            }
        }
        add_pair(&rows, text[0].data, text[1].data);
    }
    Dataset d = read_pairs(&rows);
    CHECK(bag_collect(&b, &w, &text[0], &d, &bytes) == 0);
    CHECK(b.n == WORDS);
    for (size_t k = 1; k < b.n; k++) CHECK(b.word[k-1] < b.word[k]);

    words_free(&w);
    bag_free(&b);
    dataset_free(&d);
    for (int side = 0; side < 2; side++) buffer_free(&text[side]);
    buffer_free(&rows);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (tokenizer_of_bytes(&bytes) < 0) return 1;
    RUN(test_words_are_runs_of_letters_digits_and_bytes_beyond_ascii_in_small_letters);
    RUN(test_the_weight_of_one_word_has_its_closed_form);
    RUN(test_the_weights_are_those_of_scikit_learn);
    RUN(test_the_weights_are_odd_in_the_pairs);
    RUN(test_the_weights_have_the_same_bits_everywhere);
    RUN(test_a_bag_of_many_words_holds_each_once_in_order);
    tokenizer_free(&bytes);
    return test_summary();
}

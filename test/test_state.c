/* test_state.c - files of numbers that a run goes on from.  */
#include "../files/state.c"
#include "test.h"

typedef struct {
    int small;
    uint64_t large;
    double one, many[3];
    float floats[5];
    double ring[2 * 3];                             // 3 places
    Buffer text;
} Numbers;

// Writes or reads all of them.
static int walk(State *s, Numbers *x) {
    state_int(s, &x->small);
    state_number(s, &x->large);
    state_double(s, &x->one);
    state_doubles(s, x->many, 3);
    state_floats(s, x->floats, 5);
    state_text(s, &x->text);
    state_ring(s, x->ring, 2, 5, 3);
    return s->result;
}

static int numbers_write(Numbers *x, const char *path) {
    State s;
    int result = state_create(&s, path);
    if (result == 0) result = walk(&s, x);
    if (result == 0) result = state_commit(&s);
    state_close(&s);
    return result;
}

static int numbers_read(Numbers *x, const char *path) {
    State s;
    int result = state_open(&s, path);
    if (result == 0) result = walk(&s, x);
    if (result == 0) result = state_end(&s);
    state_close(&s);
    return result;
}

static Numbers numbers_example(void) {
    Numbers x = {.small = -7, .large = 0xfedcba9876543210u, .one = -0.1, .many = {1, 2, 3},
                 .floats = {0.5f, -0.0f, 1e-45f, 3e38f, 7}, .ring = {3, 3.5, 4, 4.5, 2, 2.5}};
    CHECK(buffer_printf(&x.text, "%s", "a line\n") == 0);
    return x;
}

static void test_what_is_written_is_read(void) {
    Numbers x = numbers_example(), y = {.small = 0};
    CHECK(numbers_write(&x, "state-5.bin") == 0);
    CHECK(numbers_read(&y, "state-5.bin") == 0);
    CHECK(y.small == -7 && y.large == x.large && y.one == x.one);
    CHECK(!memcmp(y.many, x.many, sizeof x.many) && !memcmp(y.floats, x.floats, sizeof x.floats));
    CHECK(!strcmp(y.text.data, "a line\n") && !memcmp(y.ring, x.ring, sizeof x.ring));
    buffer_free(&x.text);
    CHECK(numbers_write(&x, "state-5.bin") == 0);               // a text of nothing
    CHECK(numbers_read(&y, "state-5.bin") == 0 && y.text.len == 0);
    buffer_free(&y.text);
}

// As the head of state.c says them, on every machine.
static void test_the_bytes_are_little_endian(void) {
    static const unsigned char bytes[] = {
        'm', 'o', 'r', 'e', ' ', 's', 't', 'a', 't', 'e', ' ', '1', '\n',
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,             // -2
        0, 0, 0, 0, 0, 0, 0xf8, 0x3f,                               // 1.5
        1, 0, 0, 0, 0, 0, 0, 0,                                     // one float:
        0, 0, 0x20, 0xc0,                                           // -2.5
    };
    State s;
    Buffer b = {0};
    Checksum c;
    int minus_two = -2;
    double x = 1.5;
    float y = -2.5f;
    CHECK(state_create(&s, "bytes") == 0);
    state_int(&s, &minus_two);
    state_double(&s, &x);
    state_floats(&s, &y, 1);
    CHECK(state_commit(&s) == 0);
    state_close(&s);
    CHECK(file_read(&b, "bytes") == 0 && b.len == sizeof bytes + 8);
    CHECK(!memcmp(b.data, bytes, sizeof bytes));
    checksum_start(&c);
    checksum_add(&c, bytes, sizeof bytes);
    CHECK(number_of_bytes((unsigned char *)b.data + sizeof bytes) == checksum_finish(&c));
    buffer_free(&b);
}

static void test_every_flipped_bit_and_every_missing_byte_is_noticed(void) {
    Numbers x = numbers_example();
    Buffer b = {0};
    State s;
    CHECK(numbers_write(&x, "state-5.bin") == 0 && file_read(&b, "state-5.bin") == 0);
    const int fd = open("state-5.bin", O_WRONLY);
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        const char flipped = (char)(b.data[bit / 8] ^ 1 << bit % 8);
        CHECK(pwrite(fd, &flipped, 1, (off_t)(bit / 8)) == 1);
        CHECK(state_open(&s, "state-5.bin") < 0 && error_code == EX_DATAERR);
        state_close(&s);
        CHECK(pwrite(fd, &b.data[bit / 8], 1, (off_t)(bit / 8)) == 1);
    }
    for (size_t n = b.len; n > 0; n--) {
        CHECK(ftruncate(fd, (off_t)n - 1) == 0);
        CHECK(state_open(&s, "state-5.bin") < 0 && error_code == EX_DATAERR);
        state_close(&s);
    }
    close(fd);
    CHECK(state_open(&s, "none") < 0 && error_code == EX_NOINPUT);
    state_close(&s);
    buffer_free(&b);
    buffer_free(&x.text);
}

static void test_a_reader_of_other_numbers_says_so(void) {
    State s;
    double two[2] = {1, 2}, x = 0;
    CHECK(state_create(&s, "two") == 0);
    state_doubles(&s, two, 2);
    CHECK(state_commit(&s) == 0);
    state_close(&s);

    CHECK(state_open(&s, "two") == 0);
    state_doubles(&s, two, 1);                      // fewer
    CHECK(s.result < 0 && strstr(error_text, "not the same number of numbers"));
    state_close(&s);
    CHECK(state_open(&s, "two") == 0);
    state_double(&s, &x);
    CHECK(state_end(&s) < 0 && strstr(error_text, "numbers are left over"));
    state_close(&s);
    CHECK(state_open(&s, "two") == 0);
    for (int i = 0; i < 4; i++) state_double(&s, &x);
    CHECK(state_end(&s) < 0 && strstr(error_text, "ends before its last number") && x == 0);
    state_close(&s);
}

static void test_a_count_is_from_0_to_the_most_there_can_be(void) {
    static const int64_t counts[] = {0, 7, 8, -1, INT64_MAX, INT64_C(1) << 32};
    State s;
    CHECK(state_create(&s, "counts") == 0);
    for (int i = 0; i < 6; i++) state_number(&s, &(uint64_t){(uint64_t)counts[i]});
    CHECK(state_commit(&s) == 0);
    state_close(&s);
    for (int i = 0; i < 6; i++) {
        uint64_t skipped;
        int x = 5;
        CHECK(state_open(&s, "counts") == 0);
        for (int k = 0; k < i; k++) state_number(&s, &skipped);
        state_count(&s, &x, 7);
        CHECK(i < 2 ? s.result == 0 && x == counts[i] : s.result < 0 && x == 0);
        if (i >= 2) CHECK(strstr(error_text, "counts: a count that is not from 0 to 7"));
        state_close(&s);
    }
}

// Steps 0 .. 6 of which the last 3 are kept, read with 2 places and with 4.
static void test_a_ring_is_read_into_one_of_another_size(void) {
    double three[3] = {6, 4, 5}, two[2] = {0}, four[4] = {0};
    State s;
    CHECK(state_create(&s, "ring") == 0);
    state_ring(&s, three, 1, 7, 3);
    CHECK(state_commit(&s) == 0);
    state_close(&s);
    CHECK(state_open(&s, "ring") == 0);
    state_ring(&s, two, 1, 7, 2);
    CHECK(state_end(&s) == 0 && two[6 % 2] == 6 && two[5 % 2] == 5);
    state_close(&s);
    CHECK(state_open(&s, "ring") == 0);
    state_ring(&s, four, 1, 7, 4);
    CHECK(state_end(&s) == 0 && four[6 % 4] == 6 && four[5 % 4] == 5 && four[4 % 4] == 4);
    CHECK(four[3] == 0);
    state_close(&s);
}

static void test_the_newest_are_found_and_kept(void) {
    static const char *const names[] = {
        "f/state-9.bin", "f/state-10.bin", "f/state-100.bin", "f/state-7.bin", "f/state-.bin",
        "f/state-11.bin.5.tmp", "f/state-x.bin", "f/astate-500.bin", "f/state-500.bin2",
        "f/state-0600.bin"};
    char path[PATH_SIZE];
    CHECK(folder_make("f") == 0 && state_find(path, "f", INT64_MAX) == -1);
    CHECK(state_find(path, "no such folder", INT64_MAX) == -1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK(file_write(names[i], "x", 1) == 0);
    }
    CHECK(state_find(path, "f", INT64_MAX) == 100 && !strcmp(path, "f/state-100.bin"));
    CHECK(state_find(path, "f", 100) == 10 && !strcmp(path, "f/state-10.bin"));
    CHECK(state_prune("f", 5) == 0 && access("f/state-7.bin", F_OK) == 0);
    CHECK(state_prune("f", 3) == 0 && access("f/state-7.bin", F_OK) < 0);
    CHECK(access("f/state-9.bin", F_OK) == 0);
    CHECK(state_remove("f", 10, INT64_MAX) == 0);
    CHECK(state_find(path, "f", INT64_MAX) == 9);
    CHECK(access("f/state-x.bin", F_OK) == 0 && access("f/astate-500.bin", F_OK) == 0);
    CHECK(access("f/state-500.bin2", F_OK) == 0);
    CHECK(folder_remove("f") == 0);
}

static void test_a_failed_write_leaves_nothing(void) {
    Numbers x = numbers_example();
    CHECK(folder_make("d/state-5.bin") == 0);
    CHECK(numbers_write(&x, "d/state-5.bin") < 0 && error_code == EX_CANTCREAT);
    CHECK(symlink("victim", "d/state-6.bin") == 0);
    CHECK(numbers_write(&x, "d/state-6.bin") < 0 && strstr(error_text, "is a symbolic link"));
    CHECK(access("d/victim", F_OK) < 0 && access("victim", F_OK) < 0);
    buffer_free(&x.text);
    CHECK(folder_remove("d") == 0);
}

int main(int argc, char **argv) {
    char folder[PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    test_choose(argc, argv);
    if (path_join(folder, tmp ? tmp : "/tmp", "more-test-XXXXXX") < 0) return 1;
    if (!mkdtemp(folder) || chdir(folder) < 0) return 1;
    RUN(test_what_is_written_is_read);
    RUN(test_the_bytes_are_little_endian);
    RUN(test_every_flipped_bit_and_every_missing_byte_is_noticed);
    RUN(test_a_reader_of_other_numbers_says_so);
    RUN(test_a_count_is_from_0_to_the_most_there_can_be);
    RUN(test_a_ring_is_read_into_one_of_another_size);
    RUN(test_the_newest_are_found_and_kept);
    RUN(test_a_failed_write_leaves_nothing);
    folder_remove(folder);
    return test_summary();
}

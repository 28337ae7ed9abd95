/* test_diary.c - the lines of a diary: their hashes, what is damaged, where two differ first.  */
#include "../files/diary.c"
#include "test.h"

// The text of a diary of the recipe "a=1\n", of the steps 2, 4, .. to 2*n; loss and weights of the
// step `other` are others.
static void write_diary(Buffer *b, char hash[HASH_TEXT], int n, int other) {
    char text[DIARY_LINE];
    diary_begin(hash, "a=1\n");
    for (int i = 1; i <= n; i++) {
        DiaryLine line = {.step = 2 * i};
        checksum_text(line.loss, (uint64_t)i);
        checksum_text(line.weights, (uint64_t)(2 * i == other));
        diary_hash(&line, hash);
        strcpy(hash, line.hash);
        CHECK(buffer_append(b, text, (size_t)diary_print(text, &line)) == 0);
    }
}

static void test_the_hash_of_a_line_is_of_the_hash_before_and_the_line(void) {
    Buffer b = {0};
    char hash[HASH_TEXT], by_hand[256], sum[65];
    write_diary(&b, hash, 1, 0);
    sha256_hex(sum, "a=1\n", 4);
    snprintf(by_hand, sizeof by_hand, "%s{\"step\":2,\"loss\":\"0000000000000001\","
             "\"weights\":\"0000000000000000\"", sum);
    sha256_hex(sum, by_hand, strlen(by_hand));
    CHECK(!strcmp(hash, sum));
    CHECK(b.len == strlen(by_hand) + strlen(",\"hash\":\"\"}\n"));
    buffer_free(&b);
}

static void test_a_diary_is_read_as_far_as_a_step(void) {
    Buffer b = {0}, read = {0};
    char whole[HASH_TEXT], hash[HASH_TEXT], third[HASH_TEXT];
    size_t kept;
    write_diary(&b, third, 3, 0);
    const size_t length = b.len;
    b.len = 0;
    write_diary(&b, whole, 5, 0);
    CHECK(file_write("d", b.data, b.len) == 0);
    diary_begin(hash, "a=1\n");
    CHECK(diary_read(&read, &kept, hash, "d", 7) == 0 && kept == length && !strcmp(hash, third));
    read.len = 0;
    diary_begin(hash, "a=1\n");
    CHECK(diary_read(&read, &kept, hash, "d", 100) == 0 && kept == b.len && !strcmp(hash, whole));

    // a last line without its end was being written when the run was killed
    CHECK(file_write("d", b.data, length + 20) == 0);
    read.len = 0;
    diary_begin(hash, "a=1\n");
    CHECK(diary_read(&read, &kept, hash, "d", 100) == 0 && kept == length && !strcmp(hash, third));
    buffer_free(&b);
    buffer_free(&read);
}

static void test_every_other_character_of_a_diary_is_noticed(void) {
    Buffer b = {0}, read = {0};
    char hash[HASH_TEXT];
    size_t kept;
    write_diary(&b, hash, 3, 0);
    for (size_t i = 0; i < b.len; i++) {
        char was = b.data[i];
        b.data[i] = was == '1' ? '2' : '1';
        CHECK(file_write("d", b.data, b.len) == 0);
        b.data[i] = was;
        read.len = 0;
        diary_begin(hash, "a=1\n");
        if (i + 1 == b.len) continue;               // the end of the last line: it counts as cut
        CHECK(diary_read(&read, &kept, hash, "d", 100) < 0 && error_code == EX_DATAERR);
    }
    read.len = 0;
    diary_begin(hash, "a=2\n");
    CHECK(file_write("d", b.data, b.len) == 0);
    CHECK(diary_read(&read, &kept, hash, "d", 100) < 0 && strstr(error_text, "d:1: step 2 does"));
    buffer_free(&b);
    buffer_free(&read);
}

static void test_the_first_step_that_differs_is_found(void) {
    Buffer a = {0}, b = {0}, fewer = {0};
    char hash[HASH_TEXT];
    DiaryLine x, y;
    write_diary(&a, hash, 5, 0);
    write_diary(&b, hash, 5, 6);
    write_diary(&fewer, hash, 2, 0);
    CHECK(diary_difference(a.data, b.data, &x, &y) == 1 && x.step == 6 && y.step == 6);
    CHECK(!strcmp(x.loss, y.loss) && strcmp(x.weights, y.weights));
    CHECK(diary_difference(a.data, a.data, &x, &y) == 0);
    CHECK(diary_difference(a.data, fewer.data, &x, &y) == 0);
    CHECK(diary_difference(strchr(a.data, '\n') + 1, b.data, &x, &y) == 1 && x.step == 6);
    buffer_free(&a);
    buffer_free(&b);
    buffer_free(&fewer);
}

int main(int argc, char **argv) {
    char folder[PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    test_choose(argc, argv);
    if (path_join(folder, tmp ? tmp : "/tmp", "more-test-XXXXXX") < 0) return 1;
    if (!mkdtemp(folder) || chdir(folder) < 0) return 1;
    RUN(test_the_hash_of_a_line_is_of_the_hash_before_and_the_line);
    RUN(test_a_diary_is_read_as_far_as_a_step);
    RUN(test_every_other_character_of_a_diary_is_noticed);
    RUN(test_the_first_step_that_differs_is_found);
    folder_remove(folder);
    return test_summary();
}

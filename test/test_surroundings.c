/* test_surroundings.c - memory that is left, signals, and the log of a run.
 *
 * main goes to a fresh folder.                                                                   */
#include "test.h"
#include "../files/surroundings.c"

// ------------------------------------------------------------------------------------------ memory

static void test_the_machine_has_left_what_is_available_and_its_swap(void) {
    const char *meminfo = "MemTotal:       24684164 kB\nMemFree:          123 kB\n"
                          "MemAvailable:    1000 kB\nBuffers:          2 kB\n"
                          "SwapFree:         24 kB\n";
    CHECK(meminfo_available(meminfo) == 1024.0 * 1024);
    CHECK(meminfo_available("MemTotal: 5 kB\nMemAvailable: 7 kB") == 7 * 1024);
    CHECK(isinf(meminfo_available("")));
    CHECK(isinf(meminfo_available("MemTotal: 5 kB\n")));
    CHECK(isinf(meminfo_available("\n\nnonsense")));
}

static void test_the_control_group_is_found_in_either_version(void) {
    char path[PATH_SIZE];
    CHECK(cgroup_folder(path, "0::/user.slice/a b.scope\n") == 2);
    CHECK(!strcmp(path, "/sys/fs/cgroup/user.slice/a b.scope"));
    CHECK(cgroup_folder(path, "12:pids:/x\n9:cpu,memory:/docker/abc\n0::/y\n") == 1);
    CHECK(!strcmp(path, "/sys/fs/cgroup/memory/docker/abc"));
    CHECK(cgroup_folder(path, "0::/y\n4:memory:/\n") == 1);
    CHECK(!strcmp(path, "/sys/fs/cgroup/memory/"));
    CHECK(cgroup_folder(path, "0::/") == 2 && !strcmp(path, "/sys/fs/cgroup/"));
    CHECK(cgroup_folder(path, "3:mymemory:/x\n") == 0);
    CHECK(cgroup_folder(path, "") == 0);
    CHECK(cgroup_folder(path, "nonsense\n") == 0);
}

static void test_a_control_group_has_left_its_limit_less_what_cannot_be_given_back(void) {
    const char *v1 = "cache 900\nactive_file 1\ntotal_inactive_file 200\ntotal_active_file 100\n";
    const char *v2 = "anon 1\nfile 350\ninactive_file 200\nactive_file 50\n";
    CHECK(cgroup_room("1000\n", "700\n", v1) == 600);
    CHECK(cgroup_room("1000\n", "700\n", v2) == 550);
    CHECK(cgroup_room("1000\n", "700\n", "") == 300);
    CHECK(cgroup_room("1000\n", "5000\n", "") == 0);
    CHECK(isinf(cgroup_room("max\n", "700\n", v2)));
    CHECK(isinf(cgroup_room("9223372036854771712\n", "700\n", v1)));
    CHECK(isinf(cgroup_room("", "", "")));
}

static void test_this_machine_has_some_memory_left(void) {
    CHECK(memory_room() > 1e6);
}

// --------------------------------------------------------------------------- being asked to stop

static void test_signals_are_counted_from_the_first_step_of_each_run_on(void) {
    Folder none = {.lock = -1};
    signal(SIGUSR1, SIG_DFL);
    for (int run = 0; run < 2; run++) {
        stop_catch(&none);
        CHECK(stop_asked() == 0);
        stop_hold();
        raise(SIGUSR1);
        raise(SIGUSR1);
        CHECK(stop_asked() == 2);
    }
}

// ----------------------------------------------------------------------------------------- the log

// Is this the text of the file "log"?
static int log_is(const char *text) {
    Buffer b = {0};
    int same = file_read(&b, "log") == 0 && !strcmp(b.data, text);
    if (!same) printf("    \"%s\"\n", b.data ? b.data : error_text);
    buffer_free(&b);
    return same;
}

static void test_a_log_takes_the_place_of_an_older_one_with_its_first_line(void) {
    Log log;
    CHECK(log_open(&log, "log") == 0);
    CHECK(log_flush(&log) == 0);
    log_abandon(&log);
    CHECK(access("log", F_OK) < 0);                                // new, and no line

    CHECK(file_write("log", "a long line of an older run\n", 28) == 0);
    CHECK(log_open(&log, "log") == 0);
    CHECK(log_flush(&log) == 0);
    CHECK(log_is("a long line of an older run\n"));
    fprintf(log.stream, "one\n");
    CHECK(log_flush(&log) == 0 && log_is("one\n"));
    fprintf(log.stream, "two %d\n", 22);
    CHECK(log_is("one\n"));
    fprintf(log.stream, "3\n");
    CHECK(log_flush(&log) == 0 && log_is("one\ntwo 22\n3\n"));
    fprintf(log.stream, "4\n");
    CHECK(log_close(&log) == 0 && log_is("one\ntwo 22\n3\n4\n"));
    CHECK(log_flush(&log) == 0);
}

static void test_a_log_follows_no_link_and_waits_for_no_pipe(void) {
    Log log;
    CHECK(symlink("log", "link") == 0);
    CHECK(log_open(&log, "link") < 0 && strstr(error_text, "link: is a symbolic link"));
    CHECK(mkfifo("pipe", 0600) == 0);
    CHECK(log_open(&log, "pipe") < 0 && strstr(error_text, "pipe: is a pipe"));
    CHECK(log_open(&log, "none/log") == 0);
    fprintf(log.stream, "one\n");
    CHECK(log_flush(&log) < 0 && strstr(error_text, "none/log: No such file"));
    log_abandon(&log);
}

// -------------------------------------------------------------------------------------------- main

int main(int argc, char **argv) {
    const char *tmp = getenv("TMPDIR");
    char folder[PATH_SIZE], *names[] = {"log", "link", "pipe"};
    test_choose(argc, argv);
    if (path_join(folder, tmp ? tmp : "/tmp", "more-test-XXXXXX") < 0) return 1;
    if (!mkdtemp(folder) || chdir(folder) < 0) {
        perror("no folder to test in");
        return 1;
    }
    RUN(test_the_machine_has_left_what_is_available_and_its_swap);
    RUN(test_the_control_group_is_found_in_either_version);
    RUN(test_a_control_group_has_left_its_limit_less_what_cannot_be_given_back);
    RUN(test_this_machine_has_some_memory_left);
    RUN(test_signals_are_counted_from_the_first_step_of_each_run_on);
    RUN(test_a_log_takes_the_place_of_an_older_one_with_its_first_line);
    RUN(test_a_log_follows_no_link_and_waits_for_no_pipe);
    for (int i = 0; i < 3; i++) unlink(names[i]);
    rmdir(folder);
    return test_summary();
}

/* test_surroundings.c - memory that is left, signals, and the log of a run.
 *
 * main goes to a fresh folder.                                                                   */
#include "test.h"
#include "../files/surroundings.c"
#include <sys/time.h>
#include <sys/wait.h>

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

static void test_a_limit_on_addresses_leaves_what_is_not_held_already(void) {
    const double page = (double)sysconf(_SC_PAGESIZE);
    CHECK(limit_room("10 7 3 1 0 2 0\n", 30 * page) == 20 * page);
    CHECK(limit_room("40 7 3 1 0 2 0\n", 30 * page) == 0);
    CHECK(limit_room("", 30 * page) == 30 * page);
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

// -------------------------------------------------------------------------- signals while files go

enum { SLOW_BYTES = 1 << 18, SLOW_PART = 1 << 14 };
static volatile sig_atomic_t ticks;
static void tick(int number) {
    (void)number;
    ticks++;
}

// A signal every 300 microseconds, with a handler; 0: no more.
static void start_ticks(int flags, int microseconds) {
    const struct sigaction action = {.sa_handler = tick, .sa_flags = flags};
    const struct itimerval timer = {.it_interval.tv_usec = microseconds,
                                    .it_value.tv_usec = microseconds};
    if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0) exit(1);
}

static char slow_byte(size_t i) { return (char)('a' + i % 23); }

// Another process, which takes its time to write to the pipe, or to read all of it from there.
static pid_t start_slowly(const char *pipe, int writes) {
    const struct timespec moment = {.tv_nsec = 2000000};
    static char part[SLOW_PART];
    const pid_t child = fork();
    if (child) return child;
    nanosleep(&moment, NULL);
    const int fd = open(pipe, writes ? O_WRONLY : O_RDONLY);
    size_t right = 0, n = 0;
    while (n < SLOW_BYTES) {
        for (size_t i = 0; writes && i < SLOW_PART; i++) part[i] = slow_byte(n + i);
        const ssize_t k = writes ? write(fd, part, SLOW_PART) : read(fd, part, SLOW_PART);
        if (k <= 0) break;
        for (size_t i = 0; i < (size_t)k; i++) right += part[i] == slow_byte(n + i);
        n += (size_t)k;
        nanosleep(&moment, NULL);
    }
    _exit(n == SLOW_BYTES && right == n ? 0 : 1);
}

// Did the other process?  Not met: nobody was at its other end.
static int ended_well(pid_t child, int met) {
    int status = -1;
    if (!met) kill(child, SIGKILL);                       // it would wait
    return waitpid(child, &status, 0) == child && status == 0;
}

static void test_signals_interrupt_neither_reading_nor_writing(void) {
    const int flags[] = {0, SA_RESTART};
    CHECK(mkfifo("slow", 0600) == 0);
    for (int k = 0; k < 2; k++) {
        // reading waits for the other end, then for each part
        Buffer b = {0};
        pid_t child = start_slowly("slow", 1);
        ticks = 0;
        start_ticks(flags[k], 300);
        const int fd = fd_open("slow", O_RDONLY);
        const int was_read = fd >= 0 && fd_read(&b, fd, "slow") == 0;
        start_ticks(flags[k], 0);
        if (fd >= 0) close(fd);
        CHECK(ended_well(child, was_read) && was_read && ticks > 0 && b.len == SLOW_BYTES);
        size_t right = 0;
        for (size_t i = 0; i < b.len; i++) right += b.data[i] == slow_byte(i);
        CHECK(right == SLOW_BYTES);

        // writing waits for the other end, then for room
        child = start_slowly("slow", 0);
        ticks = 0;
        start_ticks(flags[k], 300);
        const int was_written = b.len && file_write("slow", b.data, b.len) == 0;
        start_ticks(flags[k], 0);
        CHECK(ended_well(child, was_written) && was_written && ticks > 0);
        buffer_free(&b);
    }
    unlink("slow");
}

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
    RUN(test_a_limit_on_addresses_leaves_what_is_not_held_already);
    RUN(test_this_machine_has_some_memory_left);
    RUN(test_signals_are_counted_from_the_first_step_of_each_run_on);
    RUN(test_a_log_takes_the_place_of_an_older_one_with_its_first_line);
    RUN(test_a_log_follows_no_link_and_waits_for_no_pipe);
    RUN(test_signals_interrupt_neither_reading_nor_writing);
    for (int i = 0; i < 3; i++) unlink(names[i]);
    rmdir(folder);
    return test_summary();
}

/* surroundings.c - what a run of hours needs of the machine around it: to be asked to stop, a disk
 * that may be full for a while, a log on it, and memory.                                         */
#ifndef SURROUNDINGS_C
#define SURROUNDINGS_C

#include "file.c"
#include <signal.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>

// A file of lines that grows during a run.  What was printed to the stream is on its way to the
// file from log_flush on.
typedef struct {
    FILE *stream;                       // into memory, or NULL: no log
    char *memory;                       // what was printed since the last log_flush
    size_t size;
    int fd;                             // -1: there is no such file yet
    int begun;                          // yes: it holds lines of this run
    uint64_t kept;                      // bytes of an earlier process of the run, which stay
    uint64_t written;                   // bytes in the file
    char path[PATH_SIZE];
} Log;

// being asked to stop
void stop_catch(Folder *folder);                                   // ends the process at once ..
void stop_hold(void);                                              // .. from now on is counted ..
void stop_release(void);                                           // .. and ends it again
int  stop_asked(void);                                             // how often

// a disk that is full is waited for
int  disk_wait(const char *dir, double *said);

// the log
int  log_open(Log *log, const char *path);
int  log_keep(Log *log, const char *old, uint64_t bytes);          // goes on behind these
int  log_flush(Log *log);
int  log_sync(Log *log);                                           // and it is on the disk
int  log_close(Log *log);                                          // and all is on the disk
void log_abandon(Log *log);                                        // after an error

// memory, in bytes; INFINITY: not known
double memory_room(void);
double meminfo_available(const char *meminfo);
int    cgroup_folder(char path[PATH_SIZE], const char *cgroups);
double cgroup_room(const char *limit, const char *usage, const char *stat);
double limit_room(const char *statm, double limit);

// ---------------------------------------------------------------------------- being asked to stop

/* A terminal that is closed, a batch system whose time is up, a user: all ask in the same way.
 * Before there is something to save the process ends at once, and leaves its folder as
 * folder_leave does; from stop_hold on they are counted.  The one state here that changes.       */
static struct {
    volatile sig_atomic_t asked;
    volatile sig_atomic_t nothing_yet;  // yes: there is nothing to save
    Folder *folder;
} stopping;

static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU};

// Ends the process with nothing but what a signal's handler may call.
static void stop_at_once(void) {
    static const char words[] = "more: stopped before the first step; nothing was trained\n";
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    folder_leave(stopping.folder);
    _exit(EX_TEMPFAIL);
}

static void stop_handle(int number) {
    (void)number;
    stopping.asked++;
    if (stopping.nothing_yet) stop_at_once();
}

// A signal that is ignored when the program starts (nohup, a script's background job) stays so.
void stop_catch(Folder *folder) {
    struct sigaction action = {.sa_handler = stop_handle, .sa_flags = SA_RESTART}, old;
    stopping.folder = folder;
    stopping.asked = 0;
    stopping.nothing_yet = 1;
    for (size_t i = 0; i < sizeof stop_signals / sizeof *stop_signals; i++) {
        if (sigaction(stop_signals[i], NULL, &old) < 0 || old.sa_handler == SIG_IGN) continue;
        sigaction(stop_signals[i], &action, NULL);
    }
}

// While files are written that would stay, and as soon as there is something to save.
void stop_hold(void) { stopping.nothing_yet = 0; }

// Before there is something to save: what came meanwhile counts now.
void stop_release(void) {
    stopping.nothing_yet = 1;
    if (stopping.asked) stop_at_once();
}

int stop_asked(void) { return (int)stopping.asked; }

// ------------------------------------------------------------------------------ a disk to wait for

// Bytes that may still be written where dir is; 0 if nobody knows.
static double disk_room(const char *dir) {
    struct statvfs fs;
    return statvfs(dir, &fs) == 0 ? (double)fs.f_bavail * (double)fs.f_frsize : 0;
}

/* After a write that failed: says the error, once a minute (*said: when, at first -INFINITY), and
 * waits for a minute, or until there is more room.  0: try again.  -1, the error as it was: a
 * signal came.                                                                                   */
int disk_wait(const char *dir, double *said) {
    enum { MINUTE = 60 };
    struct timespec t, second = {.tv_sec = 1};
    const int asked = stop_asked();
    const double room = disk_room(dir);
    clock_gettime(CLOCK_MONOTONIC, &t);
    if ((double)t.tv_sec - *said >= MINUTE) {
        fprintf(stderr, "\nmore: %s; tried again every minute until it succeeds, or a signal ends "
                "the run\n", error_text);
        *said = (double)t.tv_sec;
    }
    for (int i = 0; i < MINUTE; i++) {
        nanosleep(&second, NULL);
        if (stop_asked() != asked) return -1;
        if (disk_room(dir) > room) return 0;
    }
    return 0;
}

// ----------------------------------------------------------------------------------------- the log

/* Opens the log, which must be a regular file or new.  The lines of an earlier run are there until
 * the first one of this run is written; a new file is made for that one.  0, or -1 after fail(). */
int log_open(Log *log, const char *path) {
    struct stat st;
    *log = (Log){.fd = -1};
    snprintf(log->path, sizeof log->path, "%s", path);
    if (lstat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) {
            return fail(EX_CANTCREAT, "%s: is a %s, a file is to be written here", path,
                        file_kind(st.st_mode));
        }
        log->fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (log->fd < 0) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    }
    log->stream = open_memstream(&log->memory, &log->size);
    if (log->stream) return 0;
    if (log->fd >= 0) close(log->fd);
    return fail(EX_OSERR, "out of memory for %s", path);
}

/* After log_open, for a run that goes on: the first `bytes` of the log `old` stay before what is
 * printed.  It is the same file, or these are copied.  0, or -1 after fail().                    */
int log_keep(Log *log, const char *old, uint64_t bytes) {
    struct stat was, is;
    Buffer text = {0};
    if (stat(old, &was) < 0 || !S_ISREG(was.st_mode)) return 0;
    const uint64_t there = (uint64_t)was.st_size, kept = there < bytes ? there : bytes;
    if (stat(log->path, &is) == 0 && is.st_ino == was.st_ino && is.st_dev == was.st_dev) {
        log->kept = kept;
        return 0;
    }
    int result = file_read(&text, old);
    if (result == 0) fwrite(text.data, 1, kept < text.len ? (size_t)kept : text.len, log->stream);
    buffer_free(&text);
    return result;
}

// Before the first line: an empty file, or what is kept.  0, or -1 after fail().
static int log_begin(Log *log) {
    const off_t kept = (off_t)log->kept;
    if (log->fd < 0) log->fd = open(log->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (log->fd < 0) return fail(EX_CANTCREAT, "%s: %s", log->path, strerror(errno));
    if (ftruncate(log->fd, kept) < 0 || lseek(log->fd, kept, SEEK_SET) < 0) {
        return fail(EX_IOERR, "%s: %s", log->path, strerror(errno));
    }
    log->written = log->kept;
    log->begun = 1;
    return 0;
}

// Writes what was printed.  A disk that is full is waited for.  0, or -1 after fail().
int log_flush(Log *log) {
    size_t at = 0;
    double said = -INFINITY;
    if (!log->stream) return 0;
    if (fflush(log->stream) != 0) return fail(EX_OSERR, "out of memory for %s", log->path);
    if (log->size && !log->begun && log_begin(log) < 0) return -1;
    while (at < log->size) {
        ssize_t k = write(log->fd, log->memory + at, log->size - at);
        if (k > 0) at += (size_t)k;
        if (k > 0) log->written += (uint64_t)k;
        if (k >= 0 || errno == EINTR) continue;
        fail(EX_IOERR, "%s: %s", log->path, strerror(errno));
        if (disk_wait(log->path, &said) < 0) return -1;
    }
    rewind(log->stream);
    log->size = 0;                      // not every library says so before the next character
    return 0;
}

// What was flushed is on the disk.  0, or -1 after fail().
int log_sync(Log *log) {
    if (log->fd < 0 || fd_sync(log->fd) == 0 || errno == EINVAL) return 0;
    return fail(EX_IOERR, "%s: %s", log->path, strerror(errno));
}

// Closes the log of a run that failed.
void log_abandon(Log *log) {
    if (!log->stream) return;
    if (log->fd >= 0) close(log->fd);
    fclose(log->stream);
    free(log->memory);
    log->stream = NULL;
}

// The last lines, and all are on the disk.  0, or -1 after fail().
int log_close(Log *log) {
    int result = log_flush(log);
    if (result == 0) result = log_sync(log);
    log_abandon(log);
    return result;
}

// ------------------------------------------------------------------------------------------ memory

// The number after a key at a line's start, as "MemAvailable:" or "inactive_file"; or missing.
static double number_of_line(const char *text, const char *key, double missing) {
    const size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (!strncmp(line, key, n) && line[n] == ' ') return strtod(line + n, NULL);
    }
    return missing;
}

// What new work may take of the machine before something is killed, from the text of /proc/meminfo.
double meminfo_available(const char *meminfo) {
    const double swap = number_of_line(meminfo, "SwapFree:", 0);
    return (number_of_line(meminfo, "MemAvailable:", INFINITY) + swap) * 1024;
}

/* The folder of this process's control group, from the text of /proc/self/cgroup: a line
 * "0::/a/b" of version 2, or "9:cpu,memory:/a/b" of version 1.  The version, or 0: none.         */
int cgroup_folder(char path[PATH_SIZE], const char *cgroups) {
    int version = 0;
    for (const char *line = cgroups; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        const char *names = strchr(line, ':');
        const char *folder = names ? strchr(names + 1, ':') : NULL;
        if (!folder) break;
        const int length = (int)strcspn(folder + 1, "\n");
        char list[256];
        snprintf(list, sizeof list, ",%.*s,", (int)(folder - names) - 1, names + 1);
        if (strstr(list, ",memory,")) {
            snprintf(path, PATH_SIZE, "/sys/fs/cgroup/memory%.*s", length, folder + 1);
            return 1;
        }
        if (strcmp(list, ",,")) continue;
        snprintf(path, PATH_SIZE, "/sys/fs/cgroup%.*s", length, folder + 1);
        version = 2;
    }
    return version;
}

// What a control group may still take, from the texts of its limit, its usage and its statistics:
// of the usage, the pages of files that were read or written can be given back.
double cgroup_room(const char *limit, const char *usage, const char *stat) {
    char *end;
    const double most = strtod(limit, &end);
    if (end == limit || most > 0x1p60) return INFINITY;            // "max", or version 1's largest
    double files = number_of_line(stat, "total_active_file", -1);
    if (files >= 0) {
        files += number_of_line(stat, "total_inactive_file", 0);
    } else {
        files = number_of_line(stat, "active_file", 0) + number_of_line(stat, "inactive_file", 0);
    }
    const double room = most - strtod(usage, NULL) + files;
    return room > 0 ? room : 0;
}

// What a limit on the process's addresses (ulimit -v) leaves, from the text of /proc/self/statm.
double limit_room(const char *statm, double limit) {
    const double held = strtod(statm, NULL) * (double)sysconf(_SC_PAGESIZE);
    return limit > held ? limit - held : 0;
}

// The text of a file in dir, or "" where there is none.
static const char *text_of(Buffer *b, const char *dir, const char *name) {
    char path[PATH_SIZE];
    b->len = 0;
    if (snprintf(path, PATH_SIZE, "%s/%s", dir, name) >= PATH_SIZE) return "";
    return file_read(b, path) == 0 && b->data ? b->data : "";
}

// The least of what the machine, the control groups of this process and its limits have left.
double memory_room(void) {
    Buffer limit = {0}, usage = {0}, stat = {0};
    struct rlimit addresses;
    char dir[PATH_SIZE];
    double room = meminfo_available(text_of(&limit, "/proc", "meminfo"));
    if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY) {
        const char *statm = text_of(&usage, "/proc/self", "statm");
        room = fmin(room, limit_room(statm, (double)addresses.rlim_cur));
    }
    const int version = cgroup_folder(dir, text_of(&limit, "/proc/self", "cgroup"));
    const size_t top = strlen(version == 1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup");

    // the group, and those it is in
    for (size_t n = version ? strlen(dir) : 0; n >= top && n > 0; n--) {
        if (dir[n] && dir[n] != '/') continue;
        dir[n] = 0;
        double here = cgroup_room(
            text_of(&limit, dir, version == 1 ? "memory.limit_in_bytes" : "memory.max"),
            text_of(&usage, dir, version == 1 ? "memory.usage_in_bytes" : "memory.current"),
            text_of(&stat, dir, "memory.stat"));
        if (here < room) room = here;
    }
    buffer_free(&limit);
    buffer_free(&usage);
    buffer_free(&stat);
    return room;
}

#endif

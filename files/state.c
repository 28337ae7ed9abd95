/* state.c - files that hold what an interrupted run needs to go on: numbers in one order, written
 * and read by the same calls.
 *
 *     "more state 1\n"
 *     numbers             whole ones and doubles of 8 bytes, floats of 4, all little-endian; before
 *                         an array the number of its elements
 *     8 bytes             the checksum of all before them (checksum.c)
 *
 * The state after step 120 is state-120.bin.  A new one is written beside the older ones, which go
 * when it is on the disk; and before one is used its checksum is compared, so that damage in it is
 * noticed while there is an older one.                                                           */
#ifndef STATE_C
#define STATE_C

#include "checksum.c"
#include "file.c"
#include <inttypes.h>

/* A file that is written, or read.  After an error calls do nothing, what they read is 0, and
 * state_commit or state_end returns the error.                                                   */
typedef struct {
    int reading;                        // yes: what the calls are given is filled
    int result;                         // 0, or -1 after fail()
    Output out;                         // that is written
    int fd;                             // that is read, or -1
    uint64_t at, end;                   // bytes of it that are read into the buffer; before the sum
    char path[PATH_SIZE];
    Checksum sum;                       // of what was written
    unsigned char *buffer;              // bytes on their way: [0, used) to the file, or
    size_t used, filled;                //     [used, filled) from it
} State;

enum { STATE_BUFFER = 1 << 16 };

// one file
int  state_create(State *s, const char *path);
int  state_commit(State *s);                        // all is written: it gets its name
int  state_open(State *s, const char *path);        // checks it as a whole
int  state_end(State *s);                           // all is read
void state_close(State *s);                          // in each case at last

// what is in it
void state_number(State *s, uint64_t *x);
void state_int(State *s, int *x);
void state_count(State *s, int *x, int most);
void state_double(State *s, double *x);
void state_doubles(State *s, double *x, size_t n);
void state_floats(State *s, float *x, size_t n);
void state_chars(State *s, char *text, size_t n);
void state_text(State *s, Buffer *b);
void state_ring(State *s, double *ring, size_t n, size_t steps, size_t most);
void state_same(State *s, uint64_t x, const char *what);

// the files of a folder
int64_t state_find(char path[PATH_SIZE], const char *dir, int64_t below);
int  state_path(char path[PATH_SIZE], const char *dir, int64_t step);
int  state_prune(const char *dir, int keep);
int  state_remove(const char *dir, int64_t from, int64_t end);

static const char state_magic[] = "more state 1\n";
enum { STATE_MAGIC = sizeof state_magic - 1, STATE_SUM = 8 };

// ---------------------------------------------------------------------------------------- one file

static int state_prepare(State *s, const char *path, int reading) {
    *s = (State){.reading = reading, .fd = -1, .out.fd = -1};
    snprintf(s->path, sizeof s->path, "%s", path);
    s->buffer = allocate(STATE_BUFFER, 1);
    return s->buffer ? 0 : -1;
}

void state_close(State *s) {
    if (s->reading && s->fd >= 0) close(s->fd);
    if (s->buffer && !s->reading) output_drop(&s->out);
    free(s->buffer);
    *s = (State){.fd = -1, .out.fd = -1};
}

// Writes n bytes to the file.
static void state_write(State *s, const void *data, size_t n) {
    if (s->result < 0) return;
    checksum_add(&s->sum, data, n);
    s->result = output_write(&s->out, data, n);
}

static void state_flush(State *s) {
    state_write(s, s->buffer, s->used);
    s->used = 0;
}

// Reads the next bytes into the buffer; where there are none the file is of another version.
static void state_fill(State *s) {
    const uint64_t left = s->end - s->at;
    const size_t n = left < STATE_BUFFER ? (size_t)left : STATE_BUFFER;
    s->used = 0;
    s->filled = 0;
    if (s->result < 0) return;
    if (!n) {
        s->result = fail(EX_DATAERR, "%s: ends before its last number", s->path);
        return;
    }
    s->result = file_read_at(s->fd, s->path, s->buffer, n, s->at);
    s->at += n;
    s->filled = n;
}

static void state_put(State *s, const void *data, size_t n) {
    if (s->used + n > STATE_BUFFER) state_flush(s);
    if (n >= STATE_BUFFER) {
        state_write(s, data, n);
        return;
    }
    if (n) memcpy(s->buffer + s->used, data, n);
    s->used += n;
}

static void state_take(State *s, void *data, size_t n) {
    unsigned char *p = data;
    while (n > 0 && s->result == 0) {
        if (s->used == s->filled) state_fill(s);
        const size_t room = s->filled - s->used, k = n < room ? n : room;
        memcpy(p, s->buffer + s->used, k);
        s->used += k;
        p += k;
        n -= k;
    }
    if (s->result < 0) memset(p, 0, n);
}

// 0, or -1 after fail(); state_close in both cases.
int state_create(State *s, const char *path) {
    if (state_prepare(s, path, 0) < 0) return -1;
    checksum_start(&s->sum);
    s->result = output_open(&s->out, path);
    state_put(s, state_magic, STATE_MAGIC);
    return s->result;
}

// The sum, and the file is on the disk under its name.  0, or -1 after fail().
int state_commit(State *s) {
    unsigned char sum[STATE_SUM];
    state_flush(s);
    bytes_of_number(sum, checksum_finish(&s->sum));
    if (s->result < 0) return -1;
    if (output_write(&s->out, sum, sizeof sum) < 0) return -1;
    if (output_close(&s->out) < 0) return -1;
    if (output_rename(&s->out) < 0) return -1;
    return folder_sync(s->path);
}

// Is the file one of this version, with the checksum of its bytes?  0, or -1 after fail().
static int state_check(State *s) {
    unsigned char sum[STATE_SUM];
    Checksum c;
    checksum_start(&c);
    s->at = 0;
    while (s->at < s->end) {
        state_fill(s);
        if (s->result < 0) return -1;
        if (s->at == s->filled && memcmp(s->buffer, state_magic, STATE_MAGIC)) {
            return fail(EX_DATAERR, "%s: not a state that this version of more wrote", s->path);
        }
        checksum_add(&c, s->buffer, s->filled);
    }
    if (file_read_at(s->fd, s->path, sum, sizeof sum, s->end) < 0) return -1;
    if (number_of_bytes(sum) == checksum_finish(&c)) return 0;
    return fail(EX_DATAERR, "%s: damaged: its bytes do not have the checksum that they were "
                "written with", s->path);
}

// Opens a state whose bytes are as they were written.  0, or -1 after fail(); state_close in both
// cases.
int state_open(State *s, const char *path) {
    uint64_t size;
    if (state_prepare(s, path, 1) < 0) return -1;
    s->fd = file_open(path, &size);
    if (s->fd < 0) return -1;
    if (size < STATE_MAGIC + STATE_SUM) return fail(EX_DATAERR, "%s: damaged: cut short", path);
    s->end = size - STATE_SUM;
    if (state_check(s) < 0) return -1;
    s->at = STATE_MAGIC;
    s->used = 0;
    s->filled = 0;
    return 0;
}

int state_end(State *s) {
    if (s->result < 0) return -1;
    if (s->at == s->end && s->used == s->filled) return 0;
    return fail(EX_DATAERR, "%s: numbers are left over", s->path);
}

// ----------------------------------------------------------------------------------- what is in it

void state_number(State *s, uint64_t *x) {
    unsigned char bytes[8];
    bytes_of_number(bytes, *x);
    if (s->reading) state_take(s, bytes, 8);
    else state_put(s, bytes, 8);
    *x = number_of_bytes(bytes);
}

void state_int(State *s, int *x) {
    uint64_t number = (uint64_t)(int64_t)*x;
    state_number(s, &number);
    *x = (int)(int64_t)number;
}

// A number from 0 to most.
void state_count(State *s, int *x, int most) {
    uint64_t number = (uint64_t)(int64_t)*x;
    state_number(s, &number);
    if (s->result == 0 && number > (uint64_t)most) {
        s->result = fail(EX_DATAERR, "%s: a count that is not from 0 to %d", s->path, most);
    }
    *x = s->result == 0 ? (int)number : 0;
}

void state_double(State *s, double *x) {
    uint64_t bits;
    memcpy(&bits, x, sizeof bits);
    state_number(s, &bits);
    memcpy(x, &bits, sizeof bits);
}

// A number that the reader knows already.
void state_same(State *s, uint64_t x, const char *what) {
    uint64_t said = x;
    state_number(s, &said);
    if (s->result < 0 || said == x) return;
    s->result = fail(EX_DATAERR, "%s: of another run: not the same %s", s->path, what);
}

void state_doubles(State *s, double *x, size_t n) {
    state_same(s, n, "number of numbers");
    for (size_t i = 0; i < n; i++) state_double(s, &x[i]);
}

// Bytes as this machine has them, where they stand in files the other way round: swapped.
static void swap_floats(float *x, size_t n) {
    const union { uint16_t number; unsigned char bytes[2]; } one = {.number = 1};
    for (size_t i = 0; !one.bytes[0] && i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u = u >> 24 | (u >> 8 & 0xff00) | (u << 8 & 0xff0000) | u << 24;
        memcpy(&x[i], &u, sizeof u);
    }
}

void state_floats(State *s, float *x, size_t n) {
    state_same(s, n, "number of numbers");
    swap_floats(x, n);
    if (s->reading) state_take(s, x, n * sizeof *x);
    else state_put(s, x, n * sizeof *x);
    swap_floats(x, n);
}

// n bytes.
void state_chars(State *s, char *text, size_t n) {
    if (s->reading) state_take(s, text, n);
    else state_put(s, text, n);
}

// A text of any length.
void state_text(State *s, Buffer *b) {
    uint64_t n = b->len;
    state_number(s, &n);
    if (!s->reading) {
        state_put(s, b->data, b->len);
        return;
    }
    if (s->result < 0) return;
    if (n > s->end) {
        s->result = fail(EX_DATAERR, "%s: a text longer than the file", s->path);
        return;
    }
    s->result = reserve(&b->data, &b->capacity, (size_t)n + 1, 1);
    if (s->result < 0) return;
    state_take(s, b->data, (size_t)n);
    b->data[n] = 0;
    b->len = (size_t)n;
}

/* The last `most` of `steps` entries of n doubles, of which entry i is in place i % most; the
 * oldest first.  The reader may have room for fewer or more: what it lacks stays as it is.       */
void state_ring(State *s, double *ring, size_t n, size_t steps, size_t most) {
    uint64_t count = steps < most ? steps : most;
    double unused = 0;
    state_number(s, &count);
    for (size_t i = steps - (size_t)count; i < steps && s->result == 0; i++) {
        double *entry = steps - i <= most ? ring + i % most * n : NULL;
        for (size_t k = 0; k < n; k++) state_double(s, entry ? &entry[k] : &unused);
    }
}

// --------------------------------------------------------------------------- the files of a folder

int state_path(char path[PATH_SIZE], const char *dir, int64_t step) {
    char name[64];
    snprintf(name, sizeof name, "state-%" PRId64 ".bin", step);
    return path_join(path, dir, name);
}

// The step of a state's name, or -1: it is another name.
static int64_t step_of_name(const char *name) {
    const char *digits = name + strlen("state-");
    if (strncmp(name, "state-", strlen("state-"))) return -1;
    const size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 15 || strcmp(digits + n, ".bin")) return -1;
    if (*digits == '0' && n > 1) return -1;               // state_path writes no such name
    return strtoll(digits, NULL, 10);
}

// The path of the newest state in dir of a step below `below`; its step, -1: there is none.
int64_t state_find(char path[PATH_SIZE], const char *dir, int64_t below) {
    int64_t newest = -1;
    DIR *d = opendir(dir);
    if (!d) return -1;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        const int64_t step = step_of_name(e->d_name);
        if (step < below && step > newest) newest = step;
    }
    closedir(d);
    return newest >= 0 && state_path(path, dir, newest) == 0 ? newest : -1;
}

// Removes the states of the steps from `from` to before `end`.  0, or -1 after fail().
int state_remove(const char *dir, int64_t from, int64_t end) {
    char path[PATH_SIZE];
    int64_t step = state_find(path, dir, end);
    while (step >= from) {
        if (unlink(path) < 0) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
        step = state_find(path, dir, step);
    }
    return 0;
}

// Removes all but the newest `keep`.  0, or -1 after fail().
int state_prune(const char *dir, int keep) {
    char path[PATH_SIZE];
    int64_t step = INT64_MAX;
    for (int i = 0; i < keep && step >= 0; i++) step = state_find(path, dir, step);
    return step > 0 ? state_remove(dir, 0, step) : 0;
}

#endif

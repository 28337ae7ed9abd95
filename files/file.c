/* file.c - SHA-256, and files that are either the old one or the new one, never half of it.
 *
 * A file is written under a temporary name beside its own, flushed, closed and renamed; then the
 * folder is flushed.  What stands at the temporary name and is not a regular file was planted: it
 * is refused, never followed.  What is to be written to and is no file, a device or a pipe, is
 * never replaced: the bytes go straight through.                                                 */
#ifndef FILE_C
#define FILE_C

#include "../common.h"                  // first: it asks for POSIX
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };              // bytes of a path, the last one 0
enum { TAG_SIZE = 32 };                 // bytes that a temporary name is longer
enum { CHUNK = 1 << 13 };               // bytes read or written at a time; they are on the stack

// SHA-256 in the making
typedef struct {
    uint32_t h[8];                      // the state
    uint64_t len;                       // bytes added so far
    unsigned char block[64];            // the last len % 64 of them are not yet mixed in
} Sha256;

// A file that is being written under its temporary name.
typedef struct {
    int fd;                             // -1: closed
    int exists;                         // yes: the temporary file is there and ours
    int through;                        // yes: a device or a pipe, without a temporary file
    uint64_t written, flushing;         // bytes; so many are on their way to the disk
    char path[PATH_SIZE], temporary[PATH_SIZE + TAG_SIZE];
} Output;

// A folder that this process alone writes to.
typedef struct {
    int lock;                           // of the lock file, or -1
    size_t found;                       // so many bytes of the path were a folder before
    char path[PATH_SIZE], lock_path[PATH_SIZE];
} Folder;

// SHA-256, as 64 hexadecimal digits: start, add, .. finish; or all at once
void sha256_start(Sha256 *s);
void sha256_add(Sha256 *s, const void *data, size_t n);
void sha256_finish(Sha256 *s, char hex[65]);
void sha256_hex(char hex[65], const void *data, size_t n);         // of n bytes
int  sha256_file(char hex[65], const char *path);                  // of a file

// paths and folders
int  path_join(char path[PATH_SIZE], const char *dir, const char *name);
int  path_beside(char path[PATH_SIZE], const char *other, const char *name); // in other's folder
int  name_ends_with(const char *name, const char *end);
int  folder_make(const char *dir);                                 // a folder and those above it
int  fd_sync(int fd);                                              // as fsync, whatever comes
int  folder_sync(const char *path);                                // flushes the folder of a file
int  folder_remove(const char *dir);                               // one of ours with all in it
int  folder_enter(Folder *f, const char *dir);                     // makes and locks it; or in use
void folder_leave(Folder *f);                                      // and removes it if it is empty
int  folder_recover(const char *dir);                              // ends a save that was cut short
int  folder_finish(const char *dir);                               // the same, of a locked folder

// reading
int  file_open(const char *path, uint64_t *size);                  // a regular file: its fd
int  file_read_at(int fd, const char *path, void *data, size_t n, uint64_t offset);
int  file_refuse_pointer(const char *path, const char *data, size_t n);     // of Git LFS

// writing whole or not at all: open, write, close, rename; drop in the end, whatever happened
int  output_open(Output *o, const char *path);
int  output_ask(Output *o, uint64_t size);                         // is there room on the disk?
int  output_write(Output *o, const void *data, size_t n);
int  output_close(Output *o);                                      // now it is on the disk
int  output_rename(Output *o);                                     // now it has its name
void output_drop(Output *o);                                       // removes what was not renamed
int  file_write(const char *path, const void *data, size_t n);     // all of that in one call
int  file_check(const char *path);                                 // could it be written later?

// ----------------------------------------------------------------------------------------- SHA-256

// Mixes a block of 64 bytes into the state s(8): FIPS 180-4, section 6.2.2, with its names.
static void sha256_block(uint32_t s[8], const unsigned char *block) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
        0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
        0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
        0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
        0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
        0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
        0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
        0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    #define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
    uint32_t w[64];

    // 1. the message schedule: the block's 16 words, and 48 made from those before them
    for (int t = 0; t < 16; t++) {
        const unsigned char *p = block + 4*t;
        w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int t = 16; t < 64; t++) {
        uint32_t x = w[t-15], y = w[t-2];
        uint32_t sigma0 = ROTATE(x, 7) ^ ROTATE(x, 18) ^ x >> 3;
        uint32_t sigma1 = ROTATE(y, 17) ^ ROTATE(y, 19) ^ y >> 10;
        w[t] = sigma1 + w[t-7] + sigma0 + w[t-16];
    }

    // 2. and 3. sixty-four rounds on a copy of the state, which is not moved: the standard's a of
    // a round is called h in the next, and so on, so that after eight each has its name again
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    #define ROUND(a, b, c, d, e, f, g, h, t)                                                      \
        h += (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + ((e & f) ^ (~e & g)) + k[t] + w[t]; \
        d += h;                                                                                   \
        h += (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
    for (int t = 0; t < 64; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }

    // 4. the next state
    const uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) s[i] += after[i];
    #undef ROTATE
    #undef ROUND
}

void sha256_start(Sha256 *s) {
    static const uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, h, sizeof h);
    s->len = 0;
}

void sha256_add(Sha256 *s, const void *data, size_t n) {
    const unsigned char *p = data;
    while (n > 0) {
        size_t used = s->len % 64, room = 64 - used, k = n < room ? n : room;
        memcpy(s->block + used, p, k);
        s->len += k;
        p += k;
        n -= k;
        if (k == room) sha256_block(s->h, s->block);
    }
}

// Padding: a one bit, zeros, and the length in bits as the last 8 bytes of a block.
void sha256_finish(Sha256 *s, char hex[65]) {
    uint64_t bits = s->len * 8;
    unsigned char big_endian[8];
    for (int i = 0; i < 8; i++) big_endian[i] = (unsigned char)(bits >> (56 - 8*i));
    sha256_add(s, "\x80", 1);
    while (s->len % 64 != 56) sha256_add(s, "", 1);
    sha256_add(s, big_endian, 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8*i, 9, "%08x", (unsigned)s->h[i]);
}

void sha256_hex(char hex[65], const void *data, size_t n) {
    Sha256 s;
    sha256_start(&s);
    sha256_add(&s, data, n);
    sha256_finish(&s, hex);
}

// hex is written only if the whole file could be read.  0, or -1 after fail().
int sha256_file(char hex[65], const char *path) {
    unsigned char chunk[CHUNK];
    uint64_t size = 0;
    Sha256 s;
    int result = -1;
    int fd = file_open(path, &size);
    if (fd < 0) return -1;
    sha256_start(&s);
    for (uint64_t at = 0; at < size; at += CHUNK) {
        size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        if (file_read_at(fd, path, chunk, n, at) < 0) goto done;
        sha256_add(&s, chunk, n);
    }
    sha256_finish(&s, hex);
    result = 0;
done:
    close(fd);
    return result;
}

// ------------------------------------------------------------------------------- paths and folders

int path_join(char path[PATH_SIZE], const char *dir, const char *name) {
    if (snprintf(path, PATH_SIZE, "%s/%s", dir, name) < PATH_SIZE) return 0;
    return fail(EX_USAGE, "%.100s...: the path is too long", dir);
}

int path_beside(char path[PATH_SIZE], const char *other, const char *name) {
    const char *slash = strrchr(other, '/');
    const size_t len = slash ? (size_t)(slash - other) + 1 : 0;
    if (len + strlen(name) >= PATH_SIZE) {
        return fail(EX_USAGE, "%.60s...: too long a name", other);
    }
    memcpy(path, other, len);
    strcpy(path + len, name);
    return 0;
}

int name_ends_with(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

static const char *file_kind(mode_t mode) {
    if (S_ISREG(mode)) return "file";
    if (S_ISDIR(mode)) return "folder";
    if (S_ISLNK(mode)) return "symbolic link";
    if (S_ISCHR(mode)) return "character device";
    if (S_ISBLK(mode)) return "block device";
    if (S_ISFIFO(mode)) return "pipe";
    return "socket";
}

// Is name the base name, a process and the ending, as in model.safetensors.123.tmp?
static int is_tagged(const char *name, const char *base, size_t base_length, const char *ending) {
    if (strncmp(name, base, base_length) || name[base_length] != '.') return 0;
    const char *process = name + base_length + 1;
    const size_t digits = strspn(process, "0123456789");
    return digits > 0 && digits < TAG_SIZE / 2 && !strcmp(process + digits, ending);
}

// Why there is no folder at path, which mkdir did not make.  -1 after fail().
static int folder_refuse(const char *path, int error) {
    struct stat st, target;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && stat(path, &target) < 0) {
        return fail(EX_CANTCREAT, "%s: is a symbolic link to nothing, a folder is to be made here",
                    path);
    }
    if (stat(path, &st) == 0) {
        return fail(EX_CANTCREAT, "%s: is a %s, a folder is to be made here", path,
                    file_kind(st.st_mode));
    }
    return fail(EX_CANTCREAT, "%s: the folder could not be made: %s", path, strerror(error));
}

// Makes a folder and those above it.  0, or -1 after fail().
int folder_make(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    if (path_join(path, dir, "") < 0) return -1;                   // ends with '/', as all do
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;                                                    // path is the folder up to here
        if (mkdir(path, 0777) < 0) {
            const int error = errno;
            if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) return folder_refuse(path, error);
        }
        *p = '/';
    }
    return 0;
}

// fsync, which a signal's handler may interrupt.
int fd_sync(int fd) {
    int result = fsync(fd);
    while (result < 0 && errno == EINTR) result = fsync(fd);
    return result;
}

// A rename is on the disk once its folder is.  Some file systems cannot flush one and say EINVAL.
int folder_sync(const char *path) {
    char dir[PATH_SIZE] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + 1, path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flushed = fd >= 0 && (fd_sync(fd) == 0 || errno == EINVAL);
    if (!flushed) fail(EX_IOERR, "%s: the folder could not be flushed: %s", dir, strerror(errno));
    if (fd >= 0) close(fd);
    return flushed ? 0 : -1;
}

// ----------------------------------------------------------------------------------------- reading

// Opens a regular file without waiting for the other end of a FIFO.  Its fd, or -1 after fail().
int file_open(const char *path, uint64_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail(EX_NOINPUT, "%s: not a regular file", path);
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

// n bytes from offset on, all of them.  0, or -1 after fail().
int file_read_at(int fd, const char *path, void *data, size_t n, uint64_t offset) {
    char *p = data;
    while (n > 0) {
        ssize_t k = pread(fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fail(EX_IOERR, "%s: %s", path, strerror(errno));
        if (k == 0) return fail(EX_IOERR, "%s: became shorter meanwhile", path);
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

// Does a file that begins with data (n) only say where Git LFS has its contents?  0, or -1 after
// fail().
int file_refuse_pointer(const char *path, const char *data, size_t n) {
    static const char begin[] = "version https://git-lfs";
    const size_t len = n < sizeof begin - 1 ? n : sizeof begin - 1;
    if (n < 8 || memcmp(data, begin, len)) return 0;
    return fail(EX_DATAERR, "%s: a pointer of Git LFS, not the file itself: git lfs pull", path);
}

// ----------------------------------------------------------------------------------------- writing

/*              output_open           output_close           output_rename
 *    nothing -------------> OPEN ----------------> WHOLE -----------------> in place
 *       ^                   |  ^ output_write        |
 *       +-------------------+------------------------+
 *                      output_drop
 *
 *    OPEN   fd >= 0, exists: bytes go to the temporary file
 *    WHOLE  fd = -1, exists: the temporary file is closed and on the disk
 *
 * Each returns 0, or -1 after fail(); after an error only output_drop may follow.  The new name is
 * on the disk after folder_sync: whoever renames several files calls it where order matters.  Of
 * what is written through, fd is the thing itself and exists stays 0: there is nothing to rename.
 *
 * The temporary name of FILE is FILE.PROCESS.tmp.  While it is open it is locked, so one that is
 * not was left by a run that was killed.                                                         */

static int is_standard_output(const char *path) {
    return !strcmp(path, "-") || !strcmp(path, "/dev/stdout");
}

// Is there a device or a pipe to write through to?  0: a regular file or nothing is there.  -1
// after fail(): something else, which is left alone.  /dev/stdout is a link; so are /dev/fd/1 and
// what a shell gives for >(command): a link to a device or a pipe stands for it.
static int is_written_through(const char *path) {
    struct stat st, target;
    if (is_standard_output(path)) return 1;
    if (lstat(path, &st) < 0 || S_ISREG(st.st_mode)) return 0;
    if (S_ISDIR(st.st_mode)) {
        return fail(EX_CANTCREAT, "%s: is a folder, a file is to be written here", path);
    }
    if (stat(path, &target) == 0 && (S_ISCHR(target.st_mode) || S_ISFIFO(target.st_mode))) return 1;
    return fail(EX_CANTCREAT, "%s: is a %s, which is not replaced; give the name of a file", path,
                file_kind(st.st_mode));
}

// Standard output is shared with what has been printed so far, which comes first.
static int open_through(Output *o) {
    o->through = 1;
    fflush(stdout);
    if (is_standard_output(o->path)) {
        o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    } else {
        o->fd = fd_open(o->path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    }
    if (o->fd < 0) return fail(EX_CANTCREAT, "%s: %s", o->path, strerror(errno));
    return 0;
}

// Removes a temporary file unless a run that is alive has it locked.
static void remove_unlocked(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode)) return;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
    close(fd);
}

// How long is the name of the file whose temporary name this is?  0: it is none.
static size_t base_length(const char *name) {
    const size_t n = strlen(name);
    size_t at = n > strlen(".tmp") ? n - strlen(".tmp") : 0;
    while (at > 0 && isdigit((unsigned char)name[at - 1])) at--;
    return at > 1 && is_tagged(name, name, at - 1, ".tmp") ? at - 1 : 0;
}

// Removes the temporary files in dir that runs left which were killed: of the file `base`, or of
// all if that is NULL.
static void remove_leftovers(const char *dir, const char *base) {
    char leftover[PATH_SIZE];
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        const size_t n = base_length(e->d_name);
        if (!n || (base && (n != strlen(base) || strncmp(e->d_name, base, n)))) continue;
        if (snprintf(leftover, PATH_SIZE, "%s/%s", dir, e->d_name) < PATH_SIZE) {
            remove_unlocked(leftover);
        }
    }
    closedir(d);
}

int output_open(Output *o, const char *path) {
    struct stat st;
    *o = (Output){.fd = -1};
    if (strlen(path) >= PATH_SIZE) return fail(EX_USAGE, "%.100s...: the path is too long", path);
    strcpy(o->path, path);
    int through = is_written_through(path);
    if (through < 0) return -1;
    if (through) return open_through(o);

    // what is still at the temporary name was not left by a run
    const char *slash = strrchr(path, '/');
    char dir[PATH_SIZE] = ".";
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + 1, path);
    remove_leftovers(dir, slash ? slash + 1 : path);
    snprintf(o->temporary, sizeof o->temporary, "%s.%ld.tmp", path, (long)getpid());
    if (lstat(o->temporary, &st) == 0) {
        return fail(EX_CANTCREAT, "%s: is a %s, not a file of ours: remove it", o->temporary,
                    file_kind(st.st_mode));
    }
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd < 0) return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    o->exists = 1;
    flock(o->fd, LOCK_EX | LOCK_NB);
    return 0;
}

// Takes the room for size bytes now, where the system and its disk know how to.
int output_ask(Output *o, uint64_t size) {
#if defined _POSIX_ADVISORY_INFO && _POSIX_ADVISORY_INFO > 0
    int error = EINTR;
    while (error == EINTR) error = posix_fallocate(o->fd, 0, (off_t)size);
    if (error && error != EINVAL && error != EOPNOTSUPP && error != ENOSYS) {
        return fail(EX_IOERR, "%s: there is no room for its %.3f GB: %s", o->path,
                    (double)size / 1e9, strerror(error));
    }
#else
    (void)o;
    (void)size;
#endif
    return 0;
}

// Sends on to the disk what is in memory by now, so that the flush at the end has less to wait for.
static void output_send(Output *o) {
#if defined SYNC_FILE_RANGE_WRITE && !defined __EMSCRIPTEN__    // which has the name alone
    const uint64_t n = o->written - o->flushing, enough = 4 << 20;
    if (n < enough) return;
    sync_file_range(o->fd, (off_t)o->flushing, (off_t)n, SYNC_FILE_RANGE_WRITE);
    o->flushing = o->written;
#else
    (void)o;
#endif
}

int output_write(Output *o, const void *data, size_t n) {
    const char *p = data;
    o->written += n;
    while (n > 0) {
        ssize_t k = write(o->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fail(EX_IOERR, "%s: %s", o->path, strerror(errno));
        if (k == 0) return fail(EX_IOERR, "%s: not written", o->path);
        p += k;
        n -= (size_t)k;
    }
    output_send(o);
    return 0;
}

// A disk may be full and say so only here.  The first error counts; the file is closed in any case.
// What is written through may know no flushing.  A close that a signal interrupts has closed.
int output_close(Output *o) {
    int error = !o->through && fd_sync(o->fd) < 0 ? errno : 0;
    int closed = close(o->fd) == 0 || errno == EINTR;
    if (!closed && !error) error = errno;
    o->fd = -1;
    if (error) return fail(EX_IOERR, "%s: %s", o->path, strerror(error));
    return 0;
}

int output_rename(Output *o) {
    if (o->through) return 0;
    if (rename(o->temporary, o->path) < 0) {
        return fail(EX_CANTCREAT, "%s: could not be renamed in place: %s", o->temporary,
                    strerror(errno));
    }
    o->exists = 0;
    return 0;
}

void output_drop(Output *o) {
    if (o->fd >= 0) close(o->fd);
    if (o->exists) unlink(o->temporary);
    o->fd = -1;
    o->exists = 0;
}

// A file of n bytes in place of the old one, if there is one.  0, or -1 after fail().
int file_write(const char *path, const void *data, size_t n) {
    Output o;
    int result = -1;
    if (output_open(&o, path) < 0) goto done;
    if (output_write(&o, data, n) < 0) goto done;
    if (output_close(&o) < 0) goto done;
    if (output_rename(&o) < 0) goto done;
    if (!o.through && folder_sync(path) < 0) goto done;
    result = 0;
done:
    output_drop(&o);
    return result;
}

// Before work whose result is to be written: a file can be made there, or a device or pipe is.  0,
// or -1 after fail().
int file_check(const char *path) {
    Output o;
    int through = is_written_through(path);
    if (through) return through < 0 ? -1 : 0;
    int result = output_open(&o, path);
    output_drop(&o);
    return result;
}

/* Removes a folder that this program made, if it is there, and all in it: files, and folders of
 * files; what a link points to stays.  0, or -1 after fail().                                   */
int folder_remove(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    int status = 0;
    if (lstat(dir, &st) < 0 && errno == ENOENT) return 0;
    DIR *d = opendir(dir);
    if (!d) return fail(EX_CANTCREAT, "%s: %s", dir, strerror(errno));
    for (struct dirent *e = readdir(d); e && status == 0; e = readdir(d)) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        status = path_join(path, dir, e->d_name);
        if (status < 0 || lstat(path, &st) < 0) continue;
        if (S_ISDIR(st.st_mode)) status = folder_remove(path);
        else if (unlink(path) < 0) status = fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    }
    closedir(d);
    if (status == 0 && rmdir(dir) < 0) return fail(EX_CANTCREAT, "%s: %s", dir, strerror(errno));
    return status;
}

// ------------------------------------------------------------------------- a folder for one alone

// How many bytes of path name a folder that is there?
static size_t folder_found(const char *path) {
    struct stat st;
    char part[PATH_SIZE];
    size_t n = strlen(path);
    while (n > 0) {
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        if (stat(part, &st) == 0) break;
        while (n > 0 && part[n - 1] == '/') n--;
        while (n > 0 && part[n - 1] != '/') n--;
    }
    return n;
}

// Opens and locks f->lock_path, which a signal must not cut in two: its handler removes the file if
// it is ours.  1; 0: it was removed meanwhile; -1 after fail().
static int lock_at_once(Folder *f) {
    struct stat ours, there;
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    f->lock = open(f->lock_path, flags, 0666);
    if (f->lock < 0) {
        const int error = errno;
        if (lstat(f->lock_path, &there) == 0 && !S_ISREG(there.st_mode)) {
            return fail(EX_CANTCREAT, "%s: is a %s, not a file of ours: remove it", f->lock_path,
                        file_kind(there.st_mode));
        }
        return fail(EX_CANTCREAT, "%s: %s", f->lock_path, strerror(error));
    }
    if (flock(f->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            close(f->lock);
            f->lock = -1;
            return fail(EX_TEMPFAIL, "%s: in use by another run", f->path);
        }
        fprintf(stderr, "%s: cannot be locked (%s): see that no other run writes there\n",
                f->lock_path, strerror(errno));
    }
    if (fstat(f->lock, &ours) == 0 && lstat(f->lock_path, &there) == 0
        && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) return 1;
    close(f->lock);
    f->lock = -1;
    return 0;
}

static int folder_lock(Folder *f) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    const int status = lock_at_once(f);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

// Tries for two seconds: the system takes its time to take the lock of a process that dies.
static int folder_wait(Folder *f) {
    const struct timespec moment = {.tv_nsec = 100 * 1000 * 1000};
    int status = folder_lock(f);
    for (int i = 0; i < 20 && status < 0 && error_code == EX_TEMPFAIL; i++) {
        nanosleep(&moment, NULL);
        status = folder_lock(f);
    }
    return status;
}

/* Makes the folder if it is not there, and locks it until folder_leave, by a lock on the file
 * more.lock in it: of a process that dies the system takes it back.  A save there that was cut
 * short is ended first.  0, or -1 after fail(): EX_TEMPFAIL if another process has it.           */
int folder_enter(Folder *f, const char *dir) {
    *f = (Folder){.lock = -1, .found = PATH_SIZE};     // a signal meanwhile finds nothing to remove
    if (path_join(f->path, dir, "") < 0) return -1;
    f->path[strlen(dir)] = 0;
    if (path_join(f->lock_path, dir, "more.lock") < 0) return -1;
    f->found = folder_found(f->path);
    int status = folder_make(dir);
    while (status == 0) status = folder_wait(f);
    if (status > 0) status = folder_finish(dir);
    if (status < 0) folder_leave(f);
    return status < 0 ? -1 : 0;
}

// What folder_enter made and is still empty is removed.  A signal's handler may call this.
void folder_leave(Folder *f) {
    size_t n = strlen(f->path);
    if (f->lock >= 0) {
        unlink(f->lock_path);
        close(f->lock);
    }
    f->lock = -1;
    while (n > f->found && rmdir(f->path) == 0) {
        while (n > 0 && f->path[n - 1] == '/') n--;
        while (n > 0 && f->path[n - 1] != '/') n--;
        f->path[n] = 0;
    }
}

// --------------------------------------------------------------------- a save that was cut short

/* checkpoint.c says how a folder is saved.  The configuration that is set aside is called
 * config.json.PROCESS.old, and while there is no config.json beside it, every new file is there:
 * under its own name, or whole as FILE.PROCESS.tmp.  In the folder of an adapter the same holds of
 * adapter_config.json.                                                                           */
enum { CONFIGURATIONS = 2 };
static const char *const configuration[CONFIGURATIONS] = {"config.json", "adapter_config.json"};

// The configuration in dir that was set aside: its name's part .PROCESS, empty if there is none.
static void find_aside(char tag[TAG_SIZE], const char *dir, const char *config) {
    const size_t n = strlen(config);
    tag[0] = 0;
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!is_tagged(e->d_name, config, n, ".old")) continue;
        const int length = (int)(strlen(e->d_name) - n - strlen(".old"));
        snprintf(tag, TAG_SIZE, "%.*s", length, e->d_name + n);
    }
    closedir(d);
}

// Is there a file of this name in dir?
static int is_in(const char *dir, const char *name) {
    char path[PATH_SIZE];
    struct stat st;
    return path_join(path, dir, name) == 0 && lstat(path, &st) == 0;
}

// Renames dir/from to dir/to.  0, or -1 after fail().
static int rename_in(const char *dir, const char *from, const char *to) {
    char a[PATH_SIZE], b[PATH_SIZE];
    if (path_join(a, dir, from) < 0 || path_join(b, dir, to) < 0) return -1;
    if (rename(a, b) == 0) return folder_sync(b);
    return fail(EX_CANTCREAT, "%s: an interrupted save could not be ended: %s", a, strerror(errno));
}

// Gives every new file but the configuration its name.
static int rename_rest(const char *dir, const char *ending, const char *config) {
    char name[NAME_MAX + 1];
    int status = 0;
    DIR *d = opendir(dir);
    if (!d) return fail(EX_NOINPUT, "%s: %s", dir, strerror(errno));
    for (struct dirent *e = readdir(d); e && status == 0; e = readdir(d)) {
        const size_t n = strlen(e->d_name), k = strlen(ending);
        if (n <= k || strcmp(e->d_name + n - k, ending) || !strcmp(e->d_name, config)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(n - k), e->d_name);
        status = rename_in(dir, e->d_name, name);
    }
    closedir(d);
    return status;
}

// Forward, for all new files are there; or back, if an error had removed them.
static int finish_save(const char *dir, const char *name) {
    char tag[TAG_SIZE], ending[TAG_SIZE + 8], config[TAG_SIZE + 32], aside[TAG_SIZE + 32];
    char path[PATH_SIZE];
    find_aside(tag, dir, name);
    if (!tag[0]) return 0;
    snprintf(ending, sizeof ending, "%s.tmp", tag);
    snprintf(config, sizeof config, "%s%s", name, ending);
    snprintf(aside, sizeof aside, "%s%s.old", name, tag);

    if (!is_in(dir, name)) {
        if (!is_in(dir, config)) return rename_in(dir, aside, name);
        if (rename_rest(dir, ending, config) < 0) return -1;
        if (rename_in(dir, config, name) < 0) return -1;
        fprintf(stderr, "%s: a save that had been interrupted is finished\n", dir);
    }
    if (path_join(path, dir, aside) < 0) return -1;
    unlink(path);
    return 0;
}

/* Ends a save that was cut short between its renames, and removes what one that was cut short
 * before has left.  The folder is locked.  0, or -1 after fail().                                */
int folder_finish(const char *dir) {
    for (int k = 0; k < CONFIGURATIONS; k++) {
        if (finish_save(dir, configuration[k]) < 0) return -1;
    }
    remove_leftovers(dir, NULL);
    return 0;
}

// Before a folder is read: ends a save that was cut short.  0, or -1 after fail().
int folder_recover(const char *dir) {
    char tag[TAG_SIZE];
    Folder f;
    int aside = 0;
    for (int k = 0; k < CONFIGURATIONS; k++) {
        if (is_in(dir, configuration[k])) return 0;
        find_aside(tag, dir, configuration[k]);
        if (tag[0]) aside = 1;
    }
    if (!aside) return 0;
    if (folder_enter(&f, dir) < 0) {
        if (error_code == EX_TEMPFAIL) return -1;
        return fail(error_code, "%s: a save there was interrupted, and can be finished only where "
                    "the folder can be written to", dir);
    }
    folder_leave(&f);
    return 0;
}

#endif

/* file.c - SHA-256, and files that are either the old one or the new one, never half of it.
 *
 * A file is written under a temporary name beside its own, flushed, closed and renamed; then the
 * folder is flushed.  What stands at the temporary name and is not a regular file was planted: it
 * is refused, never followed.                                                                    */
#ifndef FILE_C
#define FILE_C

#include "../common.h"                  // first: it asks for POSIX
#include <fcntl.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };              // bytes of a path, the last one 0
enum { CHUNK = 1 << 16 };               // bytes read or written at a time

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
    char path[PATH_SIZE], temporary[PATH_SIZE + 4];
} Output;

// SHA-256, as 64 hexadecimal digits: start, add, .. finish; or all at once
void sha256_start(Sha256 *s);
void sha256_add(Sha256 *s, const void *data, size_t n);
void sha256_finish(Sha256 *s, char hex[65]);
void sha256_hex(char hex[65], const void *data, size_t n);         // of n bytes
int  sha256_file(char hex[65], const char *path);                  // of a file

// paths and folders
int  path_join(char path[PATH_SIZE], const char *dir, const char *name);
int  folder_make(const char *dir);                                 // a folder and those above it
int  folder_sync(const char *path);                                // flushes the folder of a file

// reading
int  file_open(const char *path, uint64_t *size);                  // a regular file: its fd
int  file_read_at(int fd, const char *path, void *data, size_t n, uint64_t offset);

// writing whole or not at all: open, write, close, rename; drop in the end, whatever happened
int  output_open(Output *o, const char *path);
int  output_write(Output *o, const void *data, size_t n);
int  output_close(Output *o);                                      // now it is on the disk
int  output_rename(Output *o);                                     // now it has its name
void output_drop(Output *o);                                       // removes what was not renamed
int  file_write(const char *path, const void *data, size_t n);     // all of that in one call

// ----------------------------------------------------------------------------------------- SHA-256

// Mixes a block of 64 bytes into the state h(8): FIPS 180-4, section 6.2.2, with its names.
static void sha256_block(uint32_t h[8], const unsigned char *block) {
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
    uint32_t w[64], s[8];

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

    // 2. and 3. sixty-four rounds on a copy s of the state, the standard's a to h
    memcpy(s, h, sizeof s);
    for (int t = 0; t < 64; t++) {
        uint32_t a = s[0], b = s[1], c = s[2], e = s[4], f = s[5], g = s[6];
        uint32_t sum0 = ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22);
        uint32_t sum1 = ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25);
        uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
        uint32_t t1 = s[7] + sum1 + choice + k[t] + w[t];
        uint32_t t2 = sum0 + majority;
        memmove(s + 1, s, 7*sizeof *s);                                // h = g, g = f, .. b = a
        s[4] += t1;                                                    // e = d + T1
        s[0] = t1 + t2;
    }

    // 4. the next state
    for (int i = 0; i < 8; i++) h[i] += s[i];
    #undef ROTATE
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

// Makes a folder and those above it.  0, or -1 after fail().
int folder_make(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    if (path_join(path, dir, "") < 0) return -1;                   // ends with '/', as all do
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;                                                    // path is the folder up to here
        if (mkdir(path, 0777) < 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))) {
            return fail(EX_CANTCREAT, "%s: the folder could not be made: %s", path,
                        strerror(errno));
        }
        *p = '/';
    }
    return 0;
}

// A rename is on the disk once its folder is.  Some file systems cannot flush one and say EINVAL.
int folder_sync(const char *path) {
    char dir[PATH_SIZE] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + 1, path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flushed = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
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
 * on the disk after folder_sync: whoever renames several files calls it where order matters.     */

// A regular file at the temporary name was left by a run that was killed; all else was planted.
static int remove_leftover(const char *temporary) {
    struct stat st;
    if (lstat(temporary, &st) < 0) return 0;
    if (S_ISREG(st.st_mode)) {
        unlink(temporary);
        return 0;
    }
    const char *kind = "special file";
    if (S_ISLNK(st.st_mode)) kind = "symbolic link";
    if (S_ISDIR(st.st_mode)) kind = "folder";
    return fail(EX_CANTCREAT, "%s: is a %s, not a file of ours: remove it", temporary, kind);
}

int output_open(Output *o, const char *path) {
    struct stat st;
    o->fd = -1;
    o->exists = 0;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return fail(EX_CANTCREAT, "%s: is a folder, a file is to be written here", path);
    }
    if (strlen(path) >= PATH_SIZE) return fail(EX_USAGE, "%.100s...: the path is too long", path);
    strcpy(o->path, path);
    snprintf(o->temporary, sizeof o->temporary, "%s.tmp", path);
    if (remove_leftover(o->temporary) < 0) return -1;
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd < 0) return fail(EX_CANTCREAT, "%s: %s", o->temporary, strerror(errno));
    o->exists = 1;
    return 0;
}

int output_write(Output *o, const void *data, size_t n) {
    const char *p = data;
    while (n > 0) {
        ssize_t k = write(o->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fail(EX_IOERR, "%s: %s", o->temporary, strerror(errno));
        if (k == 0) return fail(EX_IOERR, "%s: not written", o->temporary);
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

// A disk may be full and say so only here.  The first error counts; the file is closed in any case.
int output_close(Output *o) {
    int error = fsync(o->fd) < 0 ? errno : 0;
    int closed = close(o->fd) == 0;
    if (!closed && !error) error = errno;
    o->fd = -1;
    if (error) return fail(EX_IOERR, "%s: %s", o->temporary, strerror(error));
    return 0;
}

int output_rename(Output *o) {
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
    if (folder_sync(path) < 0) goto done;
    result = 0;
done:
    output_drop(&o);
    return result;
}

#endif

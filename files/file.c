/* file.c - SHA-256, and files that are either the old one or the new one, never half of it.
 *
 * A file is written under a temporary name beside its own, flushed, closed,
     renamed; then the folder is flushed.
 * What stands at the temporary name and is not a regular file was planted: it is refused,
     never followed.      */
#ifndef FILE_C
#define FILE_C

#include "../common.h"                                                   // first: it asks for POSIX
#include <fcntl.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, CHUNK = 1 << 16 };

// --------------------------------------------------------------------------------------------- SHA-256

typedef struct { uint32_t h[8]; uint64_t len; unsigned char block[64]; } Sha256;       // FIPS 180-4

static void sha256_block(uint32_t h[8], const unsigned char *p) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    #define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i-15], b = w[i-2];
        w[i] = w[i-16] + (ROTATE(a, 7) ^ ROTATE(a, 18) ^ a >> 3)
             + w[i-7] + (ROTATE(b, 17) ^ ROTATE(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t choice = (e & s[5]) ^ (~e & s[6]), majority = (a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]);
        uint32_t t = s[7] + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + choice + k[i] + w[i];
        uint32_t u = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + majority;
        memmove(s + 1, s, 7*sizeof *s);
        s[4] += t, s[0] = t + u;
    }
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
    for (const unsigned char *p = data; n; ) {
        size_t used = s->len % 64, k = n < 64 - used ? n : 64 - used;
        memcpy(s->block + used, p, k);
        s->len += k, p += k, n -= k;
        if (used + k == 64) sha256_block(s->h, s->block);
    }
}

void sha256_finish(Sha256 *s, char out[65]) {
    uint64_t bits = s->len * 8;
    unsigned char big_endian[8];
    sha256_add(s, "\x80", 1);
    while (s->len % 64 != 56) sha256_add(s, "", 1);
    for (int i = 0; i < 8; i++) big_endian[i] = (unsigned char)(bits >> (56 - 8*i));
    sha256_add(s, big_endian, 8);
    for (int i = 0; i < 8; i++) snprintf(out + 8*i, 9, "%08x", (unsigned)s->h[i]);
}

void sha256_hex(char out[65], const void *data, size_t n) {
    Sha256 s;
    sha256_start(&s);
    sha256_add(&s, data, n);
    sha256_finish(&s, out);
}

// ------------------------------------------------------------------------------------------ safe files

static int path_join(char path[PATH_SIZE], const char *dir, const char *name) {
    if (snprintf(path, PATH_SIZE, "%s/%s", dir, name) < PATH_SIZE) return 0;
    return fail(EX_USAGE, "%.100s...: the path is too long", dir);
}

// A regular file, opened for reading without waiting for the other end of a FIFO. -1 after fail().
static int open_regular(const char *path, uint64_t *size) {
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

static int read_at(int fd, const char *path, void *data, size_t n, uint64_t offset) {
    for (char *p = data; n; ) {
        ssize_t k = pread(fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return fail(EX_IOERR, "%s: %s", path, k ? strerror(errno) : "became shorter meanwhile");
        p += k, n -= (size_t)k, offset += (uint64_t)k;
    }
    return 0;
}

int sha256_file(char out[65], const char *path) {
    unsigned char chunk[CHUNK];
    uint64_t size = 0, at = 0;
    Sha256 s;
    int fd = open_regular(path, &size), bad = fd < 0;
    for (sha256_start(&s); !bad && at < size; ) {
        size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        bad = read_at(fd, path, chunk, n, at) < 0;
        sha256_add(&s, chunk, n), at += n;
    }
    if (fd >= 0) close(fd);
    sha256_finish(&s, out);
    return -bad;
}

// Makes a folder and those above it. 0, or -1 after fail().
int folder_make(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    if (path_join(path, dir, "") < 0) return -1;                   // ends with '/': the last one too
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(path, 0777) < 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
            return fail(EX_CANTCREAT, "%s: the folder could not be made: %s", path, strerror(errno));
        *p = '/';
    }
    return 0;
}

// A rename is on the disk only after the folder is.  Some file systems cannot do it and say EINVAL.
static int folder_sync(const char *path) {
    char dir[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || (fsync(fd) < 0 && errno != EINVAL);
    if (bad) fail(EX_IOERR, "%s: the folder could not be flushed: %s", dir, strerror(errno));
    if (fd >= 0) close(fd);
    return -bad;
}

// A file under its temporary name: open, write ..., close (now it is on the disk), then rename or drop.
typedef struct { int fd, exists; char path[PATH_SIZE], temporary[PATH_SIZE + 4]; } Output;

static int output_open(Output *o, const char *path) {
    struct stat st;
    o->fd = -1, o->exists = 0;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return fail(EX_CANTCREAT, "%s: is a folder, a file is to be written here", path);
    if (strlen(path) >= PATH_SIZE) return fail(EX_USAGE, "%.100s...: the path is too long", path);
    strcpy(o->path, path);
    snprintf(o->temporary, sizeof o->temporary, "%s.tmp", path);
    if (lstat(o->temporary, &st) == 0) {                          // left by a run that was killed, or planted
        int link = S_ISLNK(st.st_mode), folder = S_ISDIR(st.st_mode);
        const char *kind = link ? "symbolic link" : folder ? "folder" : "special file";
        if (!S_ISREG(st.st_mode))
            return fail(EX_CANTCREAT, "%s: is a %s, not a file of ours: remove it", o->temporary, kind);
        unlink(o->temporary);
    }
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd < 0) return fail(EX_CANTCREAT, "%s: %s", o->temporary, strerror(errno));
    o->exists = 1;
    return 0;
}

static int output_write(Output *o, const void *data, size_t n) {
    for (const char *p = data; n; ) {
        ssize_t k = write(o->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return fail(EX_IOERR, "%s: %s", o->temporary, k ? strerror(errno) : "not written");
        p += k, n -= (size_t)k;
    }
    return 0;
}

static int output_close(Output *o) {
    int bad = fsync(o->fd) < 0, error = errno;
    if (close(o->fd) < 0 && !bad) bad = 1, error = errno;
    o->fd = -1;
    return bad ? fail(EX_IOERR, "%s: %s", o->temporary, strerror(error)) : 0;
}

static int output_rename(Output *o) {
    if (rename(o->temporary, o->path) < 0)
        return fail(EX_CANTCREAT, "%s: could not be renamed in place: %s", o->temporary, strerror(errno));
    o->exists = 0;
    return 0;
}

static void output_drop(Output *o) {
    if (o->fd >= 0) close(o->fd);
    if (o->exists) unlink(o->temporary);
    o->fd = -1, o->exists = 0;
}

int file_write(const char *path, const void *data, size_t n) {
    Output o;
    int bad = output_open(&o, path) < 0 || output_write(&o, data, n) < 0 || output_close(&o) < 0
           || output_rename(&o) < 0 || folder_sync(path) < 0;
    output_drop(&o);
    return -bad;
}

#endif

/* starve.c - allocation number MORE_STARVE fails, and no other; whoever waits for better times does
 * so for no time.  Linked to the program with -Wl,--wrap=malloc and its like (make
 * test/bin/starved).  MORE_STARVED names a file that gets how many allocations there were;
 * test/slow/crash.sh counts with it, then lets each of them fail. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
int   __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
int   __wrap_posix_memalign(void **p, size_t align, size_t n);
int   __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

static long allocations, starve = -1;

static void write_count(void) {
    FILE *f = fopen(getenv("MORE_STARVED"), "w");
    if (!f) return;
    fprintf(f, "%ld\n", allocations);
    fclose(f);
}

// Is this the one?
static int is_starved(void) {
    if (starve < 0) {
        const char *number = getenv("MORE_STARVE");
        starve = number ? atol(number) : 0;
        if (getenv("MORE_STARVED")) atexit(write_count);
    }
    allocations++;
    if (allocations != starve) return 0;
    errno = ENOMEM;
    return 1;
}

void *__wrap_malloc(size_t n) { return is_starved() ? NULL : __real_malloc(n); }

void *__wrap_calloc(size_t count, size_t n) {
    return is_starved() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n) { return is_starved() ? NULL : __real_realloc(p, n); }

int __wrap_posix_memalign(void **p, size_t align, size_t n) {
    return is_starved() ? ENOMEM : __real_posix_memalign(p, align, n);
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left) {
    (void)wanted;
    (void)left;
    return 0;
}

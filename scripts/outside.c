/* outside.c - what a library or an environment can do to a program before its main: repro.sh loads
 * this one by LD_PRELOAD, and $OUTSIDE says which damage it does.
 *
 *     cc -shared -fPIC scripts/outside.c -o outside.so -lm */
#include <fenv.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__ || defined __i386__
#include <xmmintrin.h>
#endif

static void refuse(const char *what) {
    fprintf(stderr, "outside.c: %s\n", what);
    _Exit(1);
}

// Numbers with a decimal comma: of $LC_ALL, which a folder $LOCPATH may hold.
static void german(void) {
    if (!setlocale(LC_ALL, "") || strcmp(localeconv()->decimal_point, ",")) {
        refuse("there is no German locale");
    }
}

// Subnormal numbers are read and written as zero.
static void flush(void) {
#if defined __x86_64__ || defined __i386__
    _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined __aarch64__
    unsigned long fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | 1ul << 24));
#else
    refuse("how to flush subnormal numbers here is not known");
#endif
}

__attribute__((constructor)) static void damage(void) {
    const char *what = getenv("OUTSIDE");
    if (!what) return;
    if (!strcmp(what, "german")) german();
    if (!strcmp(what, "flush")) flush();
    if (!strcmp(what, "upward")) fesetround(FE_UPWARD);
    if (!strcmp(what, "zero")) fesetround(FE_TOWARDZERO);
}

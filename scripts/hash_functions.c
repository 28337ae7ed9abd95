/* hash_functions.c - SHA-256 over the results of more_expf, more_erff and more_tanhf for all 2^32 floats (NUMERICS.md).
 *
 *     cc -O2 -mfma scripts/hash_functions.c -o /tmp/hash_functions -lm && /tmp/hash_functions exp
 *
 * About a minute each.  Inputs in the order of their bits, 0 to 2^32 - 1; every result as four bytes, lowest first, any
 * NaN as 0x7fc00000.  A number after the name takes only every so-many-th input.                             */
#include "../common.h"
#include "../files/file.c"

enum { BLOCK = 1 << 14 };

int main(int argc, char **argv) {
    static float x[BLOCK], y[BLOCK];
    static unsigned char bytes[4 * BLOCK];
    const char *name = argc > 1 ? argv[1] : "";
    uint64_t stride = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, count = 0;
    int is_exp = !strcmp(name, "exp"), is_erf = !strcmp(name, "erf"), is_tanh = !strcmp(name, "tanh");
    char hex[65];
    Sha256 s;
    if (!(is_exp || is_erf || is_tanh) || !stride) return fprintf(stderr, "hash_functions exp|erf|tanh [stride]\n"), EX_USAGE;
    sha256_start(&s);
    for (uint64_t u = 0; u < (uint64_t)1 << 32; ) {
        size_t n = 0;
        for (; n < BLOCK && u < (uint64_t)1 << 32; n++, u += stride) x[n] = float_of((uint32_t)u);
        for (size_t i = n; i < BLOCK; i++) x[i] = 0;
        if (is_exp)  for (int i = 0; i < BLOCK; i++) y[i] = more_expf(x[i]);
        if (is_erf)  for (int i = 0; i < BLOCK; i++) y[i] = more_erff(x[i]);
        if (is_tanh) for (int i = 0; i < BLOCK; i++) y[i] = more_tanhf(x[i]);
        for (int i = 0; i < BLOCK; i++) {
            uint32_t b = bits_of(y[i]);
            if ((b & 0x7fffffff) > 0x7f800000) b = 0x7fc00000;
            bytes[4*i] = (unsigned char)b, bytes[4*i + 1] = (unsigned char)(b >> 8);
            bytes[4*i + 2] = (unsigned char)(b >> 16), bytes[4*i + 3] = (unsigned char)(b >> 24);
        }
        sha256_add(&s, bytes, 4 * n), count += n;
    }
    sha256_finish(&s, hex);
    printf("%s, every %llu of 2^32 inputs, %llu results, fma in %s: %s\n", name, (unsigned long long)stride,
           (unsigned long long)count, HW ? "hardware" : "software", hex);
    return 0;
}

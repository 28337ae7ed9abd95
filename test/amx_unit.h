/* amx_unit.h - the AMX unit's arithmetic in software, after Intel's description of TDPBF16PS: for
 * every output an even and an odd chain over 16 words, their sum added to what was there; subnormals
 * are read and written as zero.  To be included before tiles.c. */
#define AMX_INTRINSICS
#define _GNU_SOURCE
#if defined __x86_64__ && defined __GNUC__ && !defined __TINYC__
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#undef _tile_loadconfig
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) (void)(config)
#define _tile_zero               unit_zero
#define _tile_loadd              unit_load
#define _tile_stored             unit_store
#define _tile_dpbf16ps           unit_multiply

static __thread uint32_t unit[8][16][16];
static int amx_permitted(void) { return 1; }
static void unit_zero(int t) { memset(unit[t], 0, sizeof unit[t]); }
static void unit_load(int t, const void *from, size_t stride) {
    for (int r = 0; r < 16; r++) memcpy(unit[t][r], (const char *)from + (size_t)r*stride, 64);
}
static void unit_store(int t, void *to, size_t stride) {
    for (int r = 0; r < 16; r++) memcpy((char *)to + (size_t)r*stride, unit[t][r], 64);
}
static float unit_half(uint32_t word, int upper) {
    const uint32_t u = upper ? word & 0xffff0000u : word << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
// a subnormal operand or result is zero (DAZ, FTZ)
static float unit_flush(float x) { return x > -0x1p-126f && x < 0x1p-126f ? 0 : x; }
static void unit_multiply(int c, int a, int b) {
    for (int m = 0; m < 16; m++) {
        for (int n = 0; n < 16; n++) {
            float chain[2] = {0, 0}, sum;
            for (int k = 0; k < 16; k++) {
                for (int odd = 0; odd < 2; odd++) {
                    const float x = unit_flush(unit_half(unit[a][m][k], odd));
                    const float y = unit_flush(unit_half(unit[b][k][n], odd));
                    chain[odd] = unit_flush(chain[odd] + x * y);      // x y is exact
                }
            }
            memcpy(&sum, &unit[c][m][n], 4);
            sum = unit_flush(unit_flush(sum) + unit_flush(chain[0] + chain[1]));
            memcpy(&unit[c][m][n], &sum, 4);
        }
    }
}
#endif

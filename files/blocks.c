/* blocks.c - number formats of weights, written, and read value by value; what they are stands in
 * blocks.h.                                                                                      */
#ifndef BLOCKS_C
#define BLOCKS_C

#include "../blocks.h"

const char *dtype_name(Dtype dtype);
float       dtype_decode(Dtype dtype, const unsigned char *bytes);      // those of one value
void        dtype_decode_block(Dtype dtype, float *values, const unsigned char *bytes);
void        dtype_decode_values(Dtype dtype, float *values, const unsigned char *bytes, size_t n);
void        dtype_encode(Dtype dtype, unsigned char *bytes, float value);
void        dtype_encode_block(Dtype dtype, unsigned char *bytes, const float *values);
uint64_t    little_endian(const unsigned char *bytes, size_t n);        // a number of n bytes

const char *dtype_name(Dtype dtype)  { return stored_dtypes[dtype].name; }

uint64_t little_endian(const unsigned char *bytes, size_t n) {
    uint64_t u = 0;
    for (size_t i = n; i > 0; i--) u = u << 8 | bytes[i-1];
    return u;
}

// n values, whole blocks of them.
void dtype_decode_values(Dtype dtype, float *values, const unsigned char *bytes, size_t n) {
    dtype_decode_row(dtype, values, bytes, n);
}

// The values of one block, or the value of a format without blocks.
void dtype_decode_block(Dtype dtype, float *values, const unsigned char *bytes) {
    dtype_decode_row(dtype, values, bytes, dtype_block(dtype));
}

float dtype_decode(Dtype dtype, const unsigned char *bytes) {
    float x = 0;
    assert(dtype_block(dtype) == 1);
    dtype_decode_row(dtype, &x, bytes, 1);
    return x;
}

// -------------------------------------------------------------------------------------- one value

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.  Rounds to nearest, ties to even: half
 * of the last kept unit, less one where that unit is even, carries exactly when it must.         */
static uint16_t half_of(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);              // NaN
    if (u >= 0x47800000) return (uint16_t)(sign | 0x7c00);             // 65536 and above: infinity
    if (u >= 0x38800000) {                                             // 2^-14 and above: normal
        uint32_t rebiased = u - 0x38000000;
        return (uint16_t)(sign | (rebiased + 0xfff + (u >> 13 & 1)) >> 13);
    }
    uint32_t e = u >> 23, m = (u & 0x7fffff) | 0x800000;
    if (e < 102) return (uint16_t)sign;                                // below half a unit
    uint32_t shift = 126 - e;                                          // m 2^-shift units of 2^-24
    return (uint16_t)(sign | (m + (1u << (shift - 1)) - 1 + (m >> shift & 1)) >> shift);
}

// The upper half of a float, rounded to nearest, ties to even.
static uint16_t bf16_of(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);     // NaN
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void dtype_encode(Dtype dtype, unsigned char *bytes, float value) {
    uint32_t u = bits_of(value);
    if (dtype == F16) u = half_of(value);
    if (dtype == BF16) u = bf16_of(value);
    for (size_t i = 0; i < dtype_size(dtype); i++) bytes[i] = (unsigned char)(u >> 8*i);
}

// As ggml rounds: d = max |x| / 127, q = x / d to the nearest, half away from zero.
static void encode_q8_0(unsigned char *bytes, const float *x) {
    float most = 0;
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
    const float d = most / 127, inverse = d >= FLT_MIN ? 1 / d : 0;
    dtype_encode(F16, bytes, d);
    for (int i = 0; i < 32; i++) {
        const float size = fabsf(x[i] * inverse), whole = floorf(size);
        const int q = (int)(whole + floorf(2 * (size - whole)));
        bytes[2 + i] = (unsigned char)(x[i] < 0 ? -q : q);
    }
}

// One block of Q8_0, or a value of a format without blocks.
void dtype_encode_block(Dtype dtype, unsigned char *bytes, const float *values) {
    if (dtype == Q8_0) encode_q8_0(bytes, values);
    else dtype_encode(dtype, bytes, *values);
}

#endif

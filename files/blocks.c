/* blocks.c - number formats of weights: one value after the other, or the blocks of ggml.
 *
 * In a block 32 or 256 values of a row share a scale d, and some a lower end m, both binary16
 * (ggml-quants.c and gguf-py/gguf/quants.py of github.com/ggml-org/llama.cpp).  Little-endian.
 *
 *     Q8_0  d, 32 signed bytes q                           x = d q
 *     Q4_0  d, 16 bytes of two q each                      x = d (q - 8)
 *     Q4_1  d, m, 16 bytes of two q each                   x = d q + m
 *     Q5_0  d, 4 bytes of fifth bits, 16 bytes             x = d (q - 16)
 *     Q5_1  d, m, 4 bytes of fifth bits, 16 bytes          x = d q + m
 *     Q4_K  d, m, 12 bytes of scales, 128 bytes            x = (d scale_j) q - m least_j, of 32
 *     Q6_K  128 bytes of low 4 bits, 64 bytes of high 2    x = (d scale_j) (q - 32), of 16
 *           bits, 16 signed scales, d
 *
 * Of a byte with two q the low half is value i, the high half value i + 16.                      */
#ifndef BLOCKS_C
#define BLOCKS_C

#include "../common.h"

typedef enum {
    F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K,
    OTHER,                              // may be there, cannot be read
    NUM_DTYPES_STORED
} Dtype;

enum { MAX_BLOCK = 256, MAX_BLOCK_BYTES = 210 };

size_t      dtype_size(Dtype dtype);                            // bytes of a value, or of a block
size_t      dtype_block(Dtype dtype);                           // values of a block: 1, 32 or 256
const char *dtype_name(Dtype dtype);
float       dtype_decode(Dtype dtype, const unsigned char *bytes);      // those of one value
void        dtype_decode_block(Dtype dtype, float *values, const unsigned char *bytes);
void        dtype_encode(Dtype dtype, unsigned char *bytes, float value);
void        dtype_encode_block(Dtype dtype, unsigned char *bytes, const float *values);
uint64_t    little_endian(const unsigned char *bytes, size_t n);        // a number of n bytes

static const struct {
    const char *name;
    size_t size, block;
} stored_dtypes[] = {
    [F32]   = {.name = "F32",  .size = 4,   .block = 1},
    [F16]   = {.name = "F16",  .size = 2,   .block = 1},
    [BF16]  = {.name = "BF16", .size = 2,   .block = 1},
    [F64]   = {.name = "F64",  .size = 8,   .block = 1},
    [Q8_0]  = {.name = "Q8_0", .size = 34,  .block = 32},
    [Q4_0]  = {.name = "Q4_0", .size = 18,  .block = 32},
    [Q4_1]  = {.name = "Q4_1", .size = 20,  .block = 32},
    [Q5_0]  = {.name = "Q5_0", .size = 22,  .block = 32},
    [Q5_1]  = {.name = "Q5_1", .size = 24,  .block = 32},
    [Q4_K]  = {.name = "Q4_K", .size = 144, .block = 256},
    [Q6_K]  = {.name = "Q6_K", .size = 210, .block = 256},
    [OTHER] = {.name = "of another type", .size = 1, .block = 1},
};
_Static_assert(sizeof stored_dtypes / sizeof *stored_dtypes == NUM_DTYPES_STORED,
               "a number format without its size");

size_t      dtype_size(Dtype dtype)  { return stored_dtypes[dtype].size; }
size_t      dtype_block(Dtype dtype) { return stored_dtypes[dtype].block; }
const char *dtype_name(Dtype dtype)  { return stored_dtypes[dtype].name; }

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

static float float_of_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
    if (e == 31) return float_of(sign | 0x7f800000 | m << 13);         // infinity, NaN
    if (e > 0) return float_of(sign | (e + 112) << 23 | m << 13);
    return sign ? -(float)m * 0x1p-24f : (float)m * 0x1p-24f;
}

// The upper half of a float, rounded to nearest, ties to even.
static uint16_t bf16_of(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);     // NaN
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

uint64_t little_endian(const unsigned char *bytes, size_t n) {
    uint64_t u = 0;
    for (size_t i = n; i > 0; i--) u = u << 8 | bytes[i-1];
    return u;
}

// A double beyond a float becomes infinite: the conversion alone would be undefined.
static float float_of_double(double d) {
    if (fabs(d) <= FLT_MAX) return (float)d;
    if (isnan(d)) return NAN;
    return d > 0 ? INFINITY : -INFINITY;
}

float dtype_decode(Dtype dtype, const unsigned char *bytes) {
    uint64_t u = little_endian(bytes, dtype_size(dtype));
    double d;
    switch (dtype) {
    case F32:  return float_of((uint32_t)u);
    case F16:  return float_of_half((uint16_t)u);
    case BF16: return float_of((uint32_t)u << 16);
    default:
        assert(dtype == F64);
        memcpy(&d, &u, 8);
        return float_of_double(d);
    }
}

void dtype_encode(Dtype dtype, unsigned char *bytes, float value) {
    uint32_t u = bits_of(value);
    if (dtype == F16) u = half_of(value);
    if (dtype == BF16) u = bf16_of(value);
    for (size_t i = 0; i < dtype_size(dtype); i++) bytes[i] = (unsigned char)(u >> 8*i);
}

// ---------------------------------------------------------------------------------------- a block

static float half_at(const unsigned char *bytes) {
    return float_of_half((uint16_t)little_endian(bytes, 2));
}

static void decode_q8_0(float *x, const unsigned char *bytes) {
    const float d = half_at(bytes);
    for (int i = 0; i < 32; i++) x[i] = d * (float)(signed char)bytes[2 + i];
}

/* Q4_0, Q4_1, Q5_0 and Q5_1: 16 bytes of two q each, before them the fifth bits where there are
 * any: bit i of value i. */
static void decode_halves(float *x, const unsigned char *bytes, int has_least, int has_fifth) {
    const float d = half_at(bytes), least = has_least ? half_at(bytes + 2) : 0;
    const unsigned char *q = bytes + (has_least ? 4 : 2);
    const uint32_t fifth = has_fifth ? (uint32_t)little_endian(q, 4) : 0;
    const int middle = has_fifth ? 16 : 8;
    if (has_fifth) q += 4;
    for (int i = 0; i < 32; i++) {
        const int low = i < 16 ? q[i] & 15 : q[i - 16] >> 4;
        const int whole = low | (int)(fifth >> i & 1) << 4;
        x[i] = has_least ? d * (float)whole + least : d * (float)(whole - middle);
    }
}

/* The 12 bytes hold 8 scales and 8 least values of 6 bits: those of the first four parts in the low
 * 6 bits of bytes 0 .. 3 and 4 .. 7; of the others the low 4 bits in bytes 8 .. 11, scale below
 * least, and the high 2 bits on top of the first eight bytes. */
static void scales_of_part(const unsigned char *bytes, int j, int *scale, int *least) {
    if (j < 4) {
        *scale = bytes[j] & 63;
        *least = bytes[j + 4] & 63;
    } else {
        *scale = (bytes[j + 4] & 15) | (bytes[j - 4] >> 6) << 4;
        *least = bytes[j + 4] >> 4 | (bytes[j] >> 6) << 4;
    }
}

// Parts 2k and 2k+1 are the low and the high halves of the same 32 bytes.
static void decode_q4_k(float *x, const unsigned char *bytes) {
    const float d = half_at(bytes), m = half_at(bytes + 2);
    for (int j = 0; j < 8; j++) {
        const unsigned char *q = bytes + 16 + j / 2 * 32;
        int scale, least;
        scales_of_part(bytes + 4, j, &scale, &least);
        const float step = d * (float)scale, below = m * (float)least;
        for (int i = 0; i < 32; i++) {
            const int half = j % 2 ? q[i] >> 4 : q[i] & 15;
            x[32*j + i] = step * (float)half - below;
        }
    }
}

/* Each half of the block is four runs of 32 values: the low bits of runs 0 and 2 are the two halves
 * of bytes 0 .. 31, those of runs 1 and 3 of bytes 32 .. 63; the high bits of run r are bits 2r and
 * 2r+1. */
static void decode_q6_k(float *x, const unsigned char *bytes) {
    const unsigned char *low = bytes, *high = bytes + 128, *scale = bytes + 192;
    const float d = half_at(bytes + 208);
    for (int i = 0; i < 256; i++) {
        const int half = i / 128, run = i % 128 / 32, at = i % 32;
        const int byte = low[64*half + 32*(run % 2) + at];
        const int q = (run < 2 ? byte & 15 : byte >> 4)
                    | (high[32*half + at] >> 2*run & 3) << 4;
        const float step = d * (float)(signed char)scale[i / 16];
        x[i] = step * (float)(q - 32);
    }
}

// The values of one block, or the value of a format without blocks.
void dtype_decode_block(Dtype dtype, float *values, const unsigned char *bytes) {
    switch (dtype) {
    case Q8_0: decode_q8_0(values, bytes); break;
    case Q4_0: decode_halves(values, bytes, 0, 0); break;
    case Q4_1: decode_halves(values, bytes, 1, 0); break;
    case Q5_0: decode_halves(values, bytes, 0, 1); break;
    case Q5_1: decode_halves(values, bytes, 1, 1); break;
    case Q4_K: decode_q4_k(values, bytes); break;
    case Q6_K: decode_q6_k(values, bytes); break;
    default:   *values = dtype_decode(dtype, bytes);
    }
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

/* blocks.h - number formats of weights, read: one value after the other, or the blocks of ggml.
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
 * Of a byte with two q the low half is value i, the high half value i + 16.
 *
 * The layers read them too (Stored in kernels.h): functions in line, whose loops become vectors. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "common.h"

typedef enum {
    F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q6_K,
    OTHER,                              // may be there, cannot be read
    NUM_DTYPES_STORED
} Dtype;

enum { MAX_BLOCK = 256, MAX_BLOCK_BYTES = 210 };

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
#ifndef __cplusplus
_Static_assert(sizeof stored_dtypes / sizeof *stored_dtypes == NUM_DTYPES_STORED,
               "a number format without its size");
#endif

// bytes of a value, or of a block; values of a block: 1, 32 or 256
HOST_INLINE size_t dtype_size(Dtype dtype)  { return stored_dtypes[dtype].size; }
HOST_INLINE size_t dtype_block(Dtype dtype) { return stored_dtypes[dtype].block; }
// bytes of a row of n values, whole blocks
HOST_INLINE size_t dtype_row_size(Dtype dtype, size_t n) {
    return n / dtype_block(dtype) * dtype_size(dtype);
}

// -------------------------------------------------------------------------------------- one value

INLINE uint32_t little_endian_16(const unsigned char *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8;
}
INLINE uint32_t little_endian_32(const unsigned char *bytes) {
    return little_endian_16(bytes) | little_endian_16(bytes + 2) << 16;
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.  As the upper bits of a float they are
 * the value times 2^-112, the smallest ones too; only infinity and NaN are not. */
INLINE float float_of_half(uint32_t h) {
    const uint32_t size = (h & 0x7fff) << 13, sign = (h & 0x8000) << 16;
    const uint32_t finite = bits_of(float_of(size) * 0x1p112f);
    return float_of(sign | ((h & 0x7c00) == 0x7c00 ? size | 0x7f800000 : finite));
}
INLINE float half_at(const unsigned char *bytes) { return float_of_half(little_endian_16(bytes)); }

// A double beyond a float becomes infinite: the conversion alone would be undefined.
INLINE float float_of_double(double d) {
    if (fabs(d) <= FLT_MAX) return (float)d;
    if (isnan(d)) return NAN;
    return d > 0 ? INFINITY : -INFINITY;
}
INLINE float double_at(const unsigned char *bytes) {
    const uint64_t u = little_endian_32(bytes) | (uint64_t)little_endian_32(bytes + 4) << 32;
    double d;
    memcpy(&d, &u, 8);
    return float_of_double(d);
}

// ---------------------------------------------------------------------------------------- a block

INLINE void decode_q8_0(float *x, const unsigned char *bytes) {
    const float d = half_at(bytes);
    for (int i = 0; i < 32; i++) x[i] = d * (float)(signed char)bytes[2 + i];
}

/* Q4_0, Q4_1, Q5_0 and Q5_1: 16 bytes of two q each, before them the fifth bits where there are
 * any: bit i of value i. */
INLINE void decode_halves(float *x, const unsigned char *bytes, const int has_least,
                          const int has_fifth) {
    const float d = half_at(bytes), least = has_least ? half_at(bytes + 2) : 0;
    const unsigned char *q = bytes + (has_least ? 4 : 2);
    const uint32_t fifth = has_fifth ? little_endian_32(q) : 0;
    const int middle = has_fifth ? 16 : 8;
    if (has_fifth) q += 4;
    for (int i = 0; i < 16; i++) {
        const int low = (q[i] & 15) | (int)(fifth >> i & 1) << 4;
        const int high = q[i] >> 4 | (int)(fifth >> (i + 16) & 1) << 4;
        x[i]      = has_least ? d * (float)low + least  : d * (float)(low - middle);
        x[i + 16] = has_least ? d * (float)high + least : d * (float)(high - middle);
    }
}

/* The 12 bytes hold 8 scales and 8 least values of 6 bits: those of the first four parts in the low
 * 6 bits of bytes 0 .. 3 and 4 .. 7; of the others the low 4 bits in bytes 8 .. 11, scale below
 * least, and the high 2 bits on top of the first eight bytes. */
INLINE void scales_of_part(const unsigned char *bytes, int j, int *scale, int *least) {
    if (j < 4) {
        *scale = bytes[j] & 63;
        *least = bytes[j + 4] & 63;
    } else {
        *scale = (bytes[j + 4] & 15) | (bytes[j - 4] >> 6) << 4;
        *least = bytes[j + 4] >> 4 | (bytes[j] >> 6) << 4;
    }
}

// Parts 2k and 2k+1 are the low and the high halves of the same 32 bytes.
INLINE void decode_q4_k(float *x, const unsigned char *bytes) {
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
INLINE void decode_q6_k(float *x, const unsigned char *bytes) {
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

// n values in a row, whole blocks of them.  One loop for each format, so that each becomes vectors.
HOST_INLINE void dtype_decode_row(Dtype dtype, float *x, const unsigned char *bytes, size_t n) {
    const size_t size = dtype_size(dtype), block = dtype_block(dtype);
    const unsigned char *end = bytes + dtype_row_size(dtype, n);
    switch (dtype) {
    case F32:
        for (size_t i = 0; i < n; i++) x[i] = float_of(little_endian_32(bytes + 4*i));
        break;
    case F16:
        for (size_t i = 0; i < n; i++) x[i] = half_at(bytes + 2*i);
        break;
    case BF16:
        for (size_t i = 0; i < n; i++) x[i] = float_of(little_endian_16(bytes + 2*i) << 16);
        break;
    case F64:
        for (size_t i = 0; i < n; i++) x[i] = double_at(bytes + 8*i);
        break;
    case Q8_0:
        for (; bytes < end; bytes += size, x += block) decode_q8_0(x, bytes);
        break;
    case Q4_0:
        for (; bytes < end; bytes += size, x += block) decode_halves(x, bytes, 0, 0);
        break;
    case Q4_1:
        for (; bytes < end; bytes += size, x += block) decode_halves(x, bytes, 1, 0);
        break;
    case Q5_0:
        for (; bytes < end; bytes += size, x += block) decode_halves(x, bytes, 0, 1);
        break;
    case Q5_1:
        for (; bytes < end; bytes += size, x += block) decode_halves(x, bytes, 1, 1);
        break;
    case Q4_K:
        for (; bytes < end; bytes += size, x += block) decode_q4_k(x, bytes);
        break;
    case Q6_K:
        for (; bytes < end; bytes += size, x += block) decode_q6_k(x, bytes);
        break;
    default:
        assert(0);
    }
}
#endif

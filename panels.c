/* panels.c - operands of the matrix product as the tiles read them: packed in order, rounded where
 * they are bf16. */
#ifndef PANELS_C
#define PANELS_C
#include "tiles.c"

// --------------------------------------------------------------------------------- narrow matrices

// out(n): values first .. first+n-1 of a row in bytes: whole blocks, and parts of one at the ends.
INLINE void widen_row_body(const int hw, real *out, Dtype dtype, const unsigned char *bytes,
                           int first, int n) {
    float some[MAX_BLOCK];
    const int block = (int)dtype_block(dtype);
    (void)hw;
    while (n > 0) {
        const int skip = first % block;
        const unsigned char *from = bytes + dtype_row_size(dtype, (size_t)(first - skip));
        int k = min_int(n, block - skip);
#ifdef MORE_DOUBLE
        const int whole = 0;
#else
        const int whole = !skip && n >= block;
        if (whole) {
            k = n / block * block;
            dtype_decode_row(dtype, out, from, (size_t)k);
        }
#endif
        if (!whole) {
            dtype_decode_row(dtype, some, from, (size_t)block);
            for (int i = 0; i < k; i++) out[i] = some[skip + i];
        }
        out += k;
        first += k;
        n -= k;
    }
}
VARIANTS(widen_row, (real *out, Dtype dtype, const unsigned char *bytes, int first, int n), out,
         dtype, bytes, first, n)

// out(rows,n) = w[row ..][first ..] of w(..,C)
static void widen(real *out, const Narrow *w, size_t C, int row, int rows, int first, int n) {
    int part = 0, above = 0;                    // rows of the parts before it
    for (int r = row; r < row + rows; r++, out += n) {
        while (r >= above + w->part[part].rows) {
            above += w->part[part].rows;
            part++;
        }
        const Dtype dtype = w->part[part].dtype;
        const size_t at = (size_t)(r - above) * dtype_row_size(dtype, C);
        widen_row(out, dtype, w->part[part].bytes + at, first, n);
    }
}

// ---------------------------------------------------------------------------------- packing floats

/* Where a tile reads them, a and b lie like this, whatever their strides were:
 *
 *     packed a     rows of LDA:       a[m0][k0 ..]  a[m0+1][k0 ..]  ..        MC rows at most;
 *                  or, for AMX, panels of 32 rows in tiles: tile_amx
 *     packed b     panels of NR columns, in each k after k:
 *                  b[k0][n0 .. n0+NR-1]  b[k0+1][n0 .. n0+NR-1]  ..
 *
 * A matrix whose rows become columns goes through tile->transpose, a square of registers a time. */
enum { PACK_A = (MC + MAX_MR) * TILE_KA, PACK_B = 1 << 18 };
enum { WIDEN = 1 << 15, WIDE_COLUMNS = 512 };   // of a narrow b: a slice, as numbers
enum { WORK_PER_THREAD = PACK_A + PACK_B + WIDEN, SHARED_B = 2 << 20 };

// out[k ldo + r] = x[r ldx + k] for x(rows, columns), by squares
INLINE void transpose(real *out, size_t ldo, const real *x, size_t ldx, int rows, int columns) {
    const int square = tile->square;
    int r = 0;
    for (; r + square <= rows; r += square) {
        int k = 0;
        for (; k + square <= columns; k += square) {
            tile->transpose(out + (size_t)k*ldo + r, ldo, x + (size_t)r*ldx + k, ldx);
        }
        for (; k < columns; k++) {
            for (int i = r; i < r + square; i++) out[(size_t)k*ldo + i] = x[(size_t)i*ldx + k];
        }
    }
    for (; r < rows; r++) {
        for (int k = 0; k < columns; k++) out[(size_t)k*ldo + r] = x[(size_t)r*ldx + k];
    }
}

// out[r LDA + k] = x[r rs + k ks]; rs or ks is 1
INLINE void pack_rows_body(const int hw, real *out, const real *x, size_t rs, size_t ks, int n,
                           int K) {
    const int square = tile->square;
    int r = 0;
    (void)hw;
    if (ks == 1) {                              // a row after the other
        for (; r < n; r++) {
            for (int k = 0; k < K; k++) out[(size_t)r*LDA + k] = x[(size_t)r*rs + k];
        }
        return;
    }
    for (; r + square <= n; r += square) {      // by squares, along k: out is written in order
        int k = 0;
        for (; k + square <= K; k += square) {
            tile->transpose(out + (size_t)r*LDA + k, LDA, x + (size_t)k*ks + r, ks);
        }
        for (; k < K; k++) {
            for (int i = r; i < r + square; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
        }
    }
    for (int k = 0; k < K; k++) {
        for (int i = r; i < n; i++) out[(size_t)i*LDA + k] = x[(size_t)k*ks + i];
    }
}
VARIANTS(pack_rows, (real *out, const real *x, size_t rs, size_t ks, int n, int K), out, x, rs, ks,
         n, K)

// panels of R: out[p][k][r] = x[(p R + r) rs + k ks]; rs or ks is 1.  What lies beyond n is left
// as it is.
INLINE void pack_panels_of(const int R, real *out, const real *x, size_t rs, size_t ks, int n,
                           int K) {
    const int whole = rs == 1 ? n / R * R : 0;

    // whole panels from rows of x, which are read in order
    for (int k = 0; k < K && whole; k++) {
        for (int p = 0; p < whole; p += R) {
            real *to = out + (size_t)p*K + (size_t)k*R;
            for (int i = 0; i < R; i++) to[i] = x[(size_t)k*ks + p + i];
        }
    }
    // panels from columns of x; a part of a panel
    for (int p = whole; p < n; p += R) {
        const int r1 = n - p < R ? n - p : R;
        real *panel = out + (size_t)p*K;
        const real *xp = x + (size_t)p*rs;
        if (ks == 1) {
            transpose(panel, (size_t)R, xp, rs, r1, K);
            continue;
        }
        for (int k = 0; k < K; k++) {
            for (int i = 0; i < r1; i++) panel[(size_t)k*R + i] = xp[(size_t)k*ks + i];
        }
    }
}
INLINE void pack_panels_body(const int hw, int R, real *out, const real *x, size_t rs, size_t ks,
                             int n, int K) {
    (void)hw;
    switch (R) {
    case 8:  pack_panels_of(8, out, x, rs, ks, n, K);  break;
    case 16: pack_panels_of(16, out, x, rs, ks, n, K); break;
    case 32: pack_panels_of(32, out, x, rs, ks, n, K); break;
    default: pack_panels_of(R, out, x, rs, ks, n, K);
    }
}
VARIANTS(pack_panels, (int R, real *out, const real *x, size_t rs, size_t ks, int n, int K),
         R, out, x, rs, ks, n, K)

// ------------------------------------------------------------------------------------ packing bf16

#ifndef MORE_DOUBLE
INLINE float word_of(uint32_t upper, uint32_t lower) {
    return float_of((upper & 0xffff0000u) | lower >> 16);
}

// the 16 words of a block of 32 rounded numbers
INLINE void words_of_block(float *out, const uint32_t *u) {
    if (isa == ISA_AMX) {
        for (int w = 0; w < BLOCK_WORDS; w++) out[w] = word_of(u[2*w + 1], u[2*w]);
        return;
    }
    for (int k = 0; k < BLOCK/4; k++) {         // two words at once, in the halves of 64 bits
        uint64_t first, second;
        memcpy(&first, u + 4*k, 8);
        memcpy(&second, u + 4*k + 2, 8);
        first = (first & 0xffff0000ffff0000u) | (second >> 16 & 0x0000ffff0000ffffu);
        memcpy(out + 2*k, &first, 8);
    }
}
// out[r ldo + w] = words of the row x[r rs ..], K numbers and zeros to a whole block
INLINE void words_of_rows_body(const int hw, float *out, size_t ldo, const float *x, size_t rs,
                               int n, int K) {
    (void)hw;
    for (int r = 0; r < n; r++, x += rs, out += ldo) {
        for (int k0 = 0; k0 < K; k0 += BLOCK) {
            uint32_t u[BLOCK];
            if (k0 + BLOCK <= K) {
                for (int k = 0; k < BLOCK; k++) u[k] = round_bf16(x[k0 + k]);
            } else {
                for (int k = 0; k < BLOCK; k++) u[k] = k0 + k < K ? round_bf16(x[k0 + k]) : 0;
            }
            words_of_block(out + k0/2, u);
        }
    }
}
VARIANTS(words_of_rows, (float *out, size_t ldo, const float *x, size_t rs, int n, int K),
         out, ldo, x, rs, n, K)

// out[w ldo + i] = words of the columns x[k ks + i], k < K <= 32: one block
INLINE void words_of_columns_body(const int hw, float *out, size_t ldo, const float *x, size_t ks,
                                  int n, int K) {
    static const float zeros[MC];
    (void)hw;
    for (int w = 0; w < BLOCK_WORDS; w++, out += ldo) {
        // k of the two halves of word w: neighbours for AMX, else links of one chain
        const int upper = isa == ISA_AMX ? 2*w + 1 : w/2*4 + w%2;
        const int lower = isa == ISA_AMX ? 2*w : upper + 2;
        const float *u = upper < K ? x + (size_t)upper*ks : zeros;
        const float *l = lower < K ? x + (size_t)lower*ks : zeros;
        for (int i = 0; i < n; i++) out[i] = word_of(round_bf16(u[i]), round_bf16(l[i]));
    }
}
VARIANTS(words_of_columns, (float *out, size_t ldo, const float *x, size_t ks, int n, int K),
         out, ldo, x, ks, n, K)

static int block_start(const RowBlocks *blocks, int i, int K) {
    if (blocks) return blocks->start[i] - blocks->start[0];
    return i*BLOCK < K ? i*BLOCK : K;
}
#if defined X86_BF16 && defined __x86_64__
/* For AMX the instruction that rounds two vectors to bf16 packs them, after what is below 2^-55
 * became zero: it rounds to nearest even as round_bf16 does. */
AMX INLINE __m512 not_tiny(__m512 x) {
    const __m512 size = _mm512_abs_ps(x);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(size, _mm512_set1_ps(0x1p-55f), _CMP_NLT_UQ), x);
}
// lane i: the word of low[i] and high[i]
AMX INLINE __m512i words_of_pairs(__m512 low, __m512 high, __m512i halves) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(not_tiny(high), not_tiny(low));
    return _mm512_permutexvar_epi16(halves, both);
}
// for the above: 0 16 1 17 .. 15 31
AMX INLINE __m512i interleaved_halves(void) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_or_si512(_mm512_add_epi32(lane, _mm512_set1_epi32(16 << 16)),
                           _mm512_slli_epi32(lane, 16));
}
// the 16 words of x[0 .. K-1], K <= 32, and zeros
AMX INLINE __m512i words_of_row_amx(const float *x, int K) {
    const uint32_t mask = K < BLOCK ? (1u << K) - 1 : 0xffffffffu;
    const __m512 low = _mm512_maskz_loadu_ps((__mmask16)mask, x);
    const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + 16);
    return (__m512i)_mm512_cvtne2ps_pbh(not_tiny(high), not_tiny(low));
}
AMX INLINE __m512i words_of_half_row_amx(const uint16_t *x, int K) {
    return _mm512_maskz_loadu_epi16(K < BLOCK ? (1u << K) - 1 : 0xffffffffu, x);
}
/* 16 columns, those of mask, of the rows x[0], x[ks], .. of a block, K <= 32 of them: row w of
 * out(16, 16) is their words of k = 2w, 2w + 1. */
AMX INLINE void words_of_columns_amx(float *out, const float *x, size_t ks, __mmask16 mask,
                                     int K) {
    const __m512i halves = interleaved_halves();
    for (int w = 0; w < BLOCK_WORDS; w++) {
        const int low = 2*w < K, high = 2*w + 1 < K;
        const float *row = x + (size_t)(2*w)*ks;
        const __m512 l = low ? _mm512_maskz_loadu_ps(mask, row) : _mm512_setzero_ps();
        const __m512 h = high ? _mm512_maskz_loadu_ps(mask, row + ks) : _mm512_setzero_ps();
        _mm512_storeu_si512(out + 16*w, words_of_pairs(l, h, halves));
    }
}
// the same of numbers that have been rounded
AMX INLINE void words_of_halves_amx(float *out, const uint16_t *x, size_t ks, __mmask16 mask,
                                    int K) {
    for (int w = 0; w < BLOCK_WORDS; w++) {
        const __mmask16 low = 2*w < K ? mask : 0, high = 2*w + 1 < K ? mask : 0;
        const uint16_t *row = x + (size_t)(2*w)*ks;
        const __m512i l = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(low, row));
        const __m512i h = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(high, row + ks));
        _mm512_storeu_si512(out + 16*w, _mm512_or_si512(l, _mm512_slli_epi32(h, 16)));
    }
}
// of either kind, from number `at` of x on
AMX INLINE void columns_of_block_amx(float *out, const float *x, size_t at, size_t ks, int half,
                                     __mmask16 mask, int K) {
    const uint16_t *halves = (const uint16_t *)(const void *)x;
    if (half) words_of_halves_amx(out, halves + at, ks, mask, K);
    else      words_of_columns_amx(out, x + at, ks, mask, K);
}

// Panels of 32 rows, in each block after block of k, in each two tiles: out of `blocks` blocks.
AMX static void pack_tiles_amx(float *out, const float *x, size_t rs, size_t ks, int half, int n,
                               const RowBlocks *row_blocks, int b0, int b1, int K) {
    float words[16*16];
    const size_t panel = (size_t)(b1 - b0) * 32*BLOCK_WORDS;
    if (rs != 1) {                              // rows of x in order
        const uint16_t *halves = (const uint16_t *)(const void *)x;
        for (int r = 0; r < n; r++, x += rs, halves += rs) {
            float *to = out + (size_t)(r/32) * panel + (size_t)(r%32) * BLOCK_WORDS;
            for (int b = b0; b < b1; b++, to += 32*BLOCK_WORDS) {
                const int k0 = b*BLOCK, k = min_int(BLOCK, K - k0);
                const __m512i rounded = half ? words_of_half_row_amx(halves + k0, k)
                                             : words_of_row_amx(x + k0, k);
                _mm512_storeu_si512(to, rounded);
            }
        }
        return;
    }
    for (int b = b0; b < b1; b++) {             // columns, by squares
        const int k0 = block_start(row_blocks, b, K), k1 = block_start(row_blocks, b + 1, K);
        float *block = out + (size_t)(b - b0) * 32*BLOCK_WORDS;
        for (int r = 0; r < n; r += 16) {
            const __mmask16 mask = (__mmask16)(n - r < 16 ? (1 << (n - r)) - 1 : 0xffff);
            columns_of_block_amx(words, x, (size_t)k0*ks + (size_t)r, ks, half, mask, k1 - k0);
            transpose_avx512(block + (size_t)(r/32) * panel + (size_t)(r%32) * BLOCK_WORDS, 16,
                             words, 16);
        }
    }
}
// Panels of 32 columns, out[p][w][r].
AMX static void pack_panels_amx(float *out, const float *x, size_t rs, size_t ks, int half, int n,
                                const RowBlocks *row_blocks, int b0, int b1, int K) {
    float words[16*16];
    const size_t panel = (size_t)(b1 - b0) * BLOCK_WORDS*32;
    assert(!half || rs == 1);
    if (ks == 1) {                              // columns are rows of x: by squares
        for (int r = 0; r < n; r += 16) {
            float *to = out + (size_t)(r/32) * panel + (size_t)(r%32) * BLOCK_WORDS;
            const int rows = min_int(16, n - r);
            for (int b = b0; b < b1; b++, to += 32*BLOCK_WORDS) {
                const int k0 = block_start(row_blocks, b, K);
                const int k1 = block_start(row_blocks, b + 1, K);
                for (int i = 0; i < rows; i++) {
                    const float *row = x + (size_t)(r + i)*rs + k0;
                    _mm512_storeu_si512(words + 16*i, words_of_row_amx(row, k1 - k0));
                }
                transpose_avx512(to, 16, words, 16);
            }
        }
        return;
    }
    for (int b = b0; b < b1; b++) {             // rows of x in order
        const int k0 = block_start(row_blocks, b, K), k1 = block_start(row_blocks, b + 1, K);
        float *block = out + (size_t)(b - b0) * BLOCK_WORDS*32;
        for (int r = 0; r < n; r += 16) {
            const __mmask16 mask = (__mmask16)(n - r < 16 ? (1 << (n - r)) - 1 : 0xffff);
            columns_of_block_amx(block + (size_t)(r/32) * panel + (size_t)(r%32) * BLOCK_WORDS, x,
                                 (size_t)k0*ks + (size_t)r, ks, half, mask, k1 - k0);
        }
    }
}
#endif
// pack_rows in words: blocks b0 .. b1-1 of K numbers.  Where rs is not 1 they are of 32: blocks
// NULL
static void pack_rows_bf16(float *out, const float *x, size_t rs, size_t ks, int half, int n,
                           const RowBlocks *blocks, int b0, int b1, int K) {
    float words[BLOCK_WORDS * (MC + 16)];
    assert(rs == 1 || !blocks);
#if defined X86_BF16 && defined __x86_64__
    if (isa == ISA_AMX) {
        pack_tiles_amx(out, x, rs, ks, half, n, blocks, b0, b1, K);
        return;
    }
#endif
    assert(!half);
    if (rs != 1) {
        const int k0 = block_start(blocks, b0, K), k1 = block_start(blocks, b1, K);
        words_of_rows(out, LDA, x + k0, rs, n, k1 - k0);
        return;
    }
    for (int i = b0; i < b1; i++, out += BLOCK_WORDS) {
        const int k0 = block_start(blocks, i, K), k1 = block_start(blocks, i + 1, K);
        words_of_columns(words, MC + 16, x + (size_t)k0*ks, ks, n, k1 - k0);
        transpose(out, LDA, words, MC + 16, BLOCK_WORDS, round_up(n, tile->square));
    }
}
// pack_panels in words: out[p][w][r]
static void pack_panels_bf16(int R, float *out, const float *x, size_t rs, size_t ks, int half,
                             int n, const RowBlocks *blocks, int b0, int b1, int K) {
    float words[MAX_NR * BLOCK_WORDS];
#if defined X86_BF16 && defined __x86_64__
    if (isa == ISA_AMX) {
        pack_panels_amx(out, x, rs, ks, half, n, blocks, b0, b1, K);
        return;
    }
#endif
    assert(!half);
    for (int i = b0; i < b1; i++) {             // rows of x, read in order
        const int k0 = block_start(blocks, i, K), k1 = block_start(blocks, i + 1, K);
        for (int p = 0; p < n; p += R) {
            const int r1 = n - p < R ? n - p : R;
            float *to = out + (size_t)p*(size_t)((b1 - b0)*BLOCK_WORDS) + (i - b0)*BLOCK_WORDS*R;
            if (ks == 1) {
                words_of_rows(words, BLOCK_WORDS, x + (size_t)p*rs + k0, rs, r1, k1 - k0);
                transpose(to, (size_t)R, words, BLOCK_WORDS, round_up(r1, tile->square),
                          BLOCK_WORDS);
            } else {
                words_of_columns(to, (size_t)R, x + p + (size_t)k0*ks, ks, r1, k1 - k0);
            }
        }
    }
}
#endif
#endif

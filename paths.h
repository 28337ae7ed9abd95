/* paths.h - how attention sees a packed micro-batch, on every machine: how heads lie in memory, and
 * for each block of rows the keys it meets, which are the rows of its path. */
#ifndef PATHS_H
#define PATHS_H
#include "kernels.h"
#include "pointwise.h"

enum {
    ROWS = 56,                                    // of a block
    MAX_PATH = 16,                                // segments from a root to a leaf
};

// How heads lie in memory: a row of qkv has W numbers, HD for each of NH query heads, NKV key
// heads and NKV value heads; a row of out has OW numbers, HD for each of NH heads.
typedef struct {
    int NH, NKV, HD;
    int window;                                   // a row attends to so many keys at most
    size_t W, OW;
    real scale;
} Heads;

INLINE Heads heads_of(int NH, int NKV, int HD, int window) {
    const Heads heads = {
        .NH = NH, .NKV = NKV, .HD = HD, .window = window,
        .W = (size_t)(NH + 2*NKV) * (size_t)HD,
        .OW = (size_t)NH * (size_t)HD,
        .scale = 1 / R_SQRT((real)HD),
    };
    return heads;
}

// the key/value head of query head h
INLINE int kv_head(const Heads *heads, int h) { return h / (heads->NH / heads->NKV); }

// where in a row of qkv they begin: query head h, and the keys and values of key/value head kv
INLINE size_t query_at(const Heads *heads, int h) {
    return (size_t)(h * heads->HD);
}
INLINE size_t key_at(const Heads *heads, int kv) {
    return (size_t)((heads->NH + kv) * heads->HD);
}
INLINE size_t value_at(const Heads *heads, int kv) {
    return (size_t)((heads->NH + heads->NKV + kv) * heads->HD);
}

// Token rows start .. start+len-1, which are the keys key .. key+len-1 of a row.
typedef struct {
    int start, len, key;
} KeyRows;

// A block of rows of one segment, and the keys of its last row: a part of each segment of the
// path.
typedef struct {
    int segment;
    int start, rows;                              // token rows
    int keys;                                     // of row i: the first keys - rows + 1 + i
    int parts;
    KeyRows part[MAX_PATH];                       // from the root down
} QueryBlock;

// The block that begins with row i0 of segment s.
static inline QueryBlock query_block(const Segment *seg, int s, int i0) {
    QueryBlock b = {.segment = s, .start = seg[s].start + i0};
    b.rows = min_int(ROWS, seg[s].len - i0);
    for (int i = s; i >= 0; i = seg[i].parent) b.parts++;
    assert(b.parts <= MAX_PATH);
    for (int i = s, j = b.parts - 1; i >= 0; i = seg[i].parent, j--) {
        b.part[j].start = seg[i].start;
        b.part[j].len = i == s ? i0 + b.rows : seg[i].len;
    }
    for (int j = 0; j < b.parts; j++) {
        b.part[j].key = b.keys;
        b.keys += b.part[j].len;
    }
    return b;
}

// The first key that a row with n keys attends to.
INLINE int window_start(int n, int window) { return n > window ? n - window : 0; }

// the segment after the last of the group whose root is s
static inline int group_end(const Segment *seg, int S, int s) {
    int end = s + 1;
    while (end < S && seg[end].parent >= 0) end++;
    return end;
}
#endif

/* attention.c - attention over packed texts that share their prompts, forward, backward, and for
 * one token after the other with keys and values kept.  kernels.h says what each takes.
 *
 * Vaswani et al. 2017, eq (1), for one query head:
 *
 *     S = Q K'
 *     P = softmax(scale S)             row by row; scale = 1/sqrt(HD)
 *     O = P V
 *
 * and backwards, as in FlashAttention (Dao et al. 2022, appendix B.2):
 *
 *     dV = P' dO
 *     dP = dO V'
 *     dS = P o (dP - D) scale          elementwise; D = dO . O, one number a row
 *     dQ = dS K
 *     dK = dS' Q
 *
 * Q and O are (rows, HD), K and V are (keys, HD), S and P are (rows, keys).  The keys of a
 * row are the rows of its path from the root segment to the row itself, or the last `window` of
 * them (Beltagy et al. 2020, sec. 3.1; Jiang et al. 2023, sec. 2): P is 0 for those before, which
 * are computed all the same.  NH/NKV neighbouring query heads share the keys and values of one
 * key/value head (Ainslie et al. 2023).
 *
 * No (T,T) matrix is stored.  Rows go in blocks of ROWS; S and P exist for one block and head
 * at a time, in scratch of the thread.  Forward keeps lse = log sum exp(scale S) of each row
 * and head, from which backward computes P = exp(scale S - lse) again. */
#ifndef ATTENTION_C
#define ATTENTION_C
#include "kernels.h"
#include "matmul.c"
#include "paths.h"
#include "rows.c"

// Scratch: two matrices of (ROWS, longest path) for each thread.
static real *attention_work_memory;
static int   attention_work_keys, attention_work_threads;

// Rows of scores lie so far apart: whole vectors, and not in the same lines of a cache.
static size_t score_stride(int keys) { return (size_t)((round_up(keys, 16) / 16 | 1) * 16); }

// A thread's numbers for paths of up to `keys` rows.
static size_t attention_scratch(int keys) { return 2*ROWS * score_stride(keys); }

// Room for paths of up to `keys` rows, for all threads; it only grows.  0, or -1 after fail().
static int attention_reserve(int keys) {
    int threads = thread_count();
    if (keys <= attention_work_keys && threads <= attention_work_threads) return 0;
    if (keys < attention_work_keys) keys = attention_work_keys;
    if (threads < attention_work_threads) threads = attention_work_threads;
    kernels_free(attention_work_memory);
    attention_work_memory = kernels_alloc((size_t)threads * attention_scratch(keys));
    attention_work_keys = attention_work_memory ? keys : 0;
    attention_work_threads = threads;
    return attention_work_memory ? 0 : -1;
}

// the thread's first or second matrix
static real *attention_work(int matrix) {
    const size_t size = attention_scratch(attention_work_keys) / 2;
    return attention_work_memory + (size_t)(2*thread_index() + matrix) * size;
}

/* The second operand of S = Q K' and of dP = dO V' for all blocks of a group: the rows of K or V of
 * one key/value head as columns, in panels of NR, each segment from a panel of its own on. */
typedef struct {
    const real *panels;                           // NULL: there is no room for all
    const Segment *seg;
    int root;
} Columns;

// the panel with which segment s begins
static int first_panel(const Columns *c, int s) {
    return (c->seg[s].start - c->seg[c->root].start) / tile->fp32.NR + s - c->root;
}

// Packs X, which has rows of HD, W apart, into `work`, of PACK_B numbers.
static Columns columns_of_group(real *work, const real *X, const Segment *seg, int root, int end,
                                const Heads *heads) {
    const int NR = tile->fp32.NR, HD = heads->HD;
    const size_t panel = (size_t)NR * (size_t)HD;
    Columns c = {.seg = seg, .root = root};
    const int panels = first_panel(&c, end - 1) + pieces(seg[end-1].len, NR);
    if ((size_t)panels * panel > PACK_B) return c;
    for (int s = root; s < end; s++) {
        pack_panels(NR, work + (size_t)first_panel(&c, s) * panel,
                    X + (size_t)seg[s].start*heads->W, heads->W, 1, seg[s].len, HD);
    }
    c.panels = work;
    return c;
}

/* The three kinds of product, by one thread.  A has b->rows rows of HD, lda apart: Q, O or a
 * gradient.  X has rows of HD, W apart, from token row 0: K, V or a gradient; only those of
 * the block's keys are met, part by part.  S is (rows, keys), lds apart.
 *
 * Row i attends to the first keys_seen of a part.  Tiles without any such pair are left out: their
 * terms would be S = +0 times a number. */

static int keys_seen(const QueryBlock *b, int part, int i) {
    const int len = b->part[part].len, own = part == b->parts - 1;
    return own ? len - b->rows + i + 1 : len;
}

// S = A X'
static void multiply_abt(real *S, size_t lds, const real *A, size_t lda, const real *X,
                         const Columns *columns, const QueryBlock *b, const Heads *heads) {
    const int MR = tile->fp32.MR, NR = tile->fp32.NR, HD = heads->HD;
    const size_t panel = (size_t)NR * (size_t)HD;
    int s = b->segment;                           // of the part, from the last one up to the root
    for (int j = b->parts - 1; j >= 0; j--, s = columns->seg[s].parent) {
        const KeyRows k = b->part[j];
        if (!columns->panels) {
            const Product p = {
                .c = S + k.key, .ldc = lds,
                .a = A, .ars = lda, .acs = 1,
                .b = X + (size_t)k.start*heads->W, .brs = 1, .bcs = heads->W,
                .M = b->rows, .N = k.len, .K = HD,
            };
            matmul_one(&p, matmul_work());
            continue;
        }
        const real *Xt = columns->panels + (size_t)first_panel(columns, s) * panel;
        for (int n = 0; n < k.len; n += NR, Xt += panel) {
            for (int i = 0; i < b->rows; i += MR) {
                const int height = min_int(MR, b->rows - i), width = min_int(NR, k.len - n);
                if (n >= keys_seen(b, j, i + height - 1)) continue;
                tile->strided(S + (size_t)i*lds + k.key + n, lds, 0, A + (size_t)i*lda, lda, 1,
                              Xt, (size_t)NR, HD, height, width);
            }
        }
    }
}

// A = S X
static void multiply_ab(real *A, size_t lda, const real *S, size_t lds, const real *X,
                        const QueryBlock *b, const Heads *heads) {
    const int MR = tile->fp32.MR, NR = tile->fp32.NR, HD = heads->HD, KC = tile->fp32.KC;
    for (int j = 0; j < b->parts; j++) {
        const KeyRows k = b->part[j];
        for (int k0 = 0; k0 < k.len; k0 += KC) {
            const real *Xk = X + (size_t)(k.start + k0)*heads->W;
            for (int n = 0; n < HD; n += NR) {
                for (int i = 0; i < b->rows; i += MR) {
                    const int height = min_int(MR, b->rows - i), width = min_int(NR, HD - n);
                    const int K = min_int(KC, keys_seen(b, j, i + height - 1) - k0);
                    if (K <= 0) continue;
                    tile->strided(A + (size_t)i*lda + n, lda, j || k0,
                                  S + (size_t)i*lds + k.key + k0, lds, 1, Xk + n, heads->W, K,
                                  height, width);
                }
            }
        }
    }
}

// X += S' A
static void multiply_atb(real *X, const real *S, size_t lds, const real *A, size_t lda,
                         const QueryBlock *b, const Heads *heads) {
    const int MR = tile->fp32.MR, NR = tile->fp32.NR, HD = heads->HD;
    for (int j = 0; j < b->parts; j++) {
        const KeyRows k = b->part[j];
        for (int m = 0; m < k.len; m += MR) {
            real *Xm = X + (size_t)(k.start + m)*heads->W;
            const int first = max_int(0, m + 1 - keys_seen(b, j, 0));     // row that attends to m
            for (int n = 0; n < HD; n += NR) {
                tile->strided(Xm + n, heads->W, 1, S + (size_t)first*lds + k.key + m, 1, lds,
                              A + (size_t)first*lda + n, lda, b->rows - first,
                              min_int(MR, k.len - m), min_int(NR, HD - n));
            }
        }
    }
}

/* Of a row of scores, keys `from` to `to` are whole vectors, with all that it attends to in them;
 * the others in them count as nothing.  What is beyond, and met by a tile, is set to 0. */
typedef struct { int first, n, from, to; } Row;

INLINE Row row_of_block(int i, int rows, int keys, int window) {
    Row r = {.n = keys - rows + 1 + i};                     // it attends to first .. n-1
    r.first = window_start(r.n, window);
    r.from = r.first / 16 * 16;
    r.to = round_up(r.n, 16);
    return r;
}
INLINE int is_seen(const Row *r, int p) { return (p >= r->first) & (p < r->n); }
INLINE void clear_outside(real *x, const Row *r, int keys) {
    for (int p = 0; p < r->from; p++) x[p] = 0;
    const int end = min_int(r->to + 16, round_up(keys, 16));          // a tile has at most 16 rows
    for (int p = r->to; p < end; p++) x[p] = 0;
}
#define FOR_KEYS(r, ...)                                                \
    for (int at = (r).from; at < (r).to; at += 16) {                  \
        for (int j = 0; j < 16; j++) {                                \
            const int p = at + j;                                     \
            __VA_ARGS__;                                              \
        }                                                             \
    }

/* S(rows, keys) in place -> E = exp(scale S - m), m the row's maximum, and 0 beyond the row's
 * own key and before its window.  With l = sum E: inverse(rows) = 1/l, so that P = E inverse;
 * lse = m + log l, one number a row, lse_stride apart. */
INLINE void softmax_rows_body(const int hw, real *S, size_t lds, real *inverse, real *lse,
                              size_t lse_stride, real scale, int rows, int keys, int window) {
    real max[ROWS], sum[ROWS];
    for (int i = 0; i < rows; i++) {
        const Row r = row_of_block(i, rows, keys, window);
        real *x = S + (size_t)i*lds;
        real l[16] = {0};

        // pass 1: the maximum, for which others in a vector are the first
        for (int p = r.from; p < r.first; p++) x[p] = x[r.first];
        for (int p = r.n; p < r.to; p++) x[p] = x[r.first];
        for (int p = r.from; p < r.to; p++) x[p] = scale * x[p];
        max[i] = row_max(x + r.from, r.to - r.from);

        // pass 2: E and its sum
        FOR_KEYS(r, const real e = R_EXP(x[p] - max[i]);
                    x[p] = is_seen(&r, p) ? e : 0;
                    l[j] += x[p]);
        clear_outside(x, &r, keys);
        sum[i] = fold(l);
    }
    // pass 3: what is one number a row, together: a logarithm has to be waited for
    for (int i = 0; i < rows; i++) {
        inverse[i] = 1 / sum[i];
        lse[(size_t)i*lse_stride] = max[i] + (real)more_log(sum[i]);
    }
}
VARIANTS(softmax_rows,
         (real *S, size_t lds, real *inverse, real *lse, size_t lse_stride, real scale, int rows,
          int keys, int window),
         S, lds, inverse, lse, lse_stride, scale, rows, keys, window)

/* forward: P = softmax(scale S).  Both matrices in place, with 0 beyond the row's own key and
 * before its window:
 *
 *     S(rows, keys)  -> P = exp(scale S - lse)
 *     dP(rows, keys) -> dS = P o (dP - D) scale,   D = dO . O
 *
 * dO and O have rows of HD, ldo apart; lse has one number a row, lse_stride apart. */
INLINE void softmax_rows_back_body(const int hw, real *S, real *dP, size_t lds, const real *dO,
                                   const real *O, size_t ldo, const real *lse, size_t lse_stride,
                                   real scale, int rows, int keys, int HD, int window) {
    for (int i = 0; i < rows; i++) {
        const Row r = row_of_block(i, rows, keys, window);
        real *x = S + (size_t)i*lds, *dp = dP + (size_t)i*lds;
        const real D = row_dot(hw, dO + (size_t)i*ldo, O + (size_t)i*ldo, HD);
        const real L = lse[(size_t)i*lse_stride];
        FOR_KEYS(r, const real P = R_EXP(scale * x[p] - L);
                    const real dS = P * (dp[p] - D) * scale;
                    x[p] = is_seen(&r, p) ? P : 0;
                    dp[p] = is_seen(&r, p) ? dS : 0);
        clear_outside(x, &r, keys);
        clear_outside(dp, &r, keys);
    }
}
VARIANTS(softmax_rows_back,
         (real *S, real *dP, size_t lds, const real *dO, const real *O, size_t ldo,
          const real *lse, size_t lse_stride, real scale, int rows, int keys, int HD, int window),
         S, dP, lds, dO, O, ldo, lse, lse_stride, scale, rows, keys, HD, window)

// Query head h of a block of rows.
static void attention_block_forward(real *out, real *lse, const real *qkv, const Columns *Kt,
                                    const QueryBlock *b, int h, const Heads *heads) {
    const int kv = kv_head(heads, h);
    const size_t W = heads->W, OW = heads->OW, lds = score_stride(b->keys);
    const size_t first = (size_t)b->start, NH = (size_t)heads->NH;
    const real *Q = qkv + first*W + query_at(heads, h);
    const real *K = qkv + key_at(heads, kv), *V = qkv + value_at(heads, kv);
    real *O = out + first*OW + query_at(heads, h);
    real *S = attention_work(0), inverse[ROWS];

    // pass 1: S = Q K'
    multiply_abt(S, lds, Q, W, K, Kt, b, heads);

    // pass 2: P = softmax(scale S), but for a factor of each row, `inverse`
    softmax_rows(S, lds, inverse, lse + first*NH + h, NH, heads->scale, b->rows, b->keys,
                 heads->window);
    const real *P = S;

    // pass 3: O = P V, and the factor
    multiply_ab(O, OW, P, lds, V, b, heads);
    scale_rows(O, OW, inverse, b->rows, heads->HD);
}

// qkv(T,W), out(T,OW), lse(T,NH).  A task is a group with the query heads of a key/value head, or
// where those tasks are few, with one of them.
void attention_forward(real *out, real *lse, const real *qkv, const Segment *seg, int S, int T,
                       int NH, int NKV, int HD, int window) {
    const Heads heads = heads_of(NH, NKV, HD, window);
    const int threads = thread_count();
    int groups = 0;
    for (int s = 0; s < S; s++) groups += seg[s].parent < 0;
    const int few = threads > 1 && groups * NKV < 4 * threads;
    const int share = few ? 1 : NH / NKV, tasks = NH / share;
    (void)T;
    PARALLEL_FOR_TASKS
    for (int task = 0; task < S * tasks; task++) {
        const int root = task / tasks, h0 = task % tasks * share;
        if (seg[root].parent >= 0) continue;      // the root's task does the group
        const int end = group_end(seg, S, root);
        const real *K = qkv + key_at(&heads, kv_head(&heads, h0));
        const Columns Kt = columns_of_group(matmul_work(), K, seg, root, end, &heads);
        for (int h = h0; h < h0 + share; h++) {
            for (int s = root; s < end; s++) {
                for (int i = 0; i < seg[s].len; i += ROWS) {
                    const QueryBlock b = query_block(seg, s, i);
                    attention_block_forward(out, lse, qkv, &Kt, &b, h, &heads);
                }
            }
        }
    }
}

// Query head h of a block of rows: writes its queries' gradients, adds to those of its keys
// and values.
static void attention_block_backward(real *dqkv, const real *dout, const real *out,
                                     const real *lse, const real *qkv, const Columns *Kt,
                                     const Columns *Vt, const QueryBlock *b, int h,
                                     const Heads *heads) {
    const int kv = kv_head(heads, h);
    const size_t W = heads->W, OW = heads->OW, lds = score_stride(b->keys);
    const size_t first = (size_t)b->start, NH = (size_t)heads->NH;
    const size_t q = first*W + query_at(heads, h), o = first*OW + query_at(heads, h);
    const size_t k = key_at(heads, kv), v = value_at(heads, kv);
    const real *Q = qkv + q, *K = qkv + k;
    const real *V = qkv + v;
    const real *O = out + o, *dO = dout + o;
    real *dQ = dqkv + q, *dK = dqkv + k;
    real *dV = dqkv + v;
    real *S = attention_work(0), *dP = attention_work(1);

    // pass 1: S = Q K' again.  forward: O = P V, so dP = dO V'
    multiply_abt(S, lds, Q, W, K, Kt, b, heads);
    multiply_abt(dP, lds, dO, OW, V, Vt, b, heads);

    // pass 2: P = softmax(scale S) again, in S, and dS = P o (dP - D) scale, in dP
    softmax_rows_back(S, dP, lds, dO, O, OW, lse + first*NH + h, NH, heads->scale, b->rows,
                      b->keys, heads->HD, heads->window);
    const real *P = S, *dS = dP;

    // pass 3: forward: S = Q K', so dQ = dS K and dK += dS' Q
    multiply_ab(dQ, W, dS, lds, K, b, heads);
    multiply_atb(dK, dS, lds, Q, W, b, heads);

    // pass 4: forward: O = P V, so dV += P' dO
    multiply_atb(dV, P, lds, dO, OW, b, heads);
}

// The gradients of a group's keys and values, of one key/value head.
static void clear_keys_and_values(real *dqkv, const Segment *seg, int root, int end, int kv,
                                  const Heads *heads) {
    const int rows = seg[end-1].start + seg[end-1].len - seg[root].start;
    const size_t size = (size_t)heads->HD * sizeof *dqkv;
    for (int i = 0; i < rows; i++) {
        real *row = dqkv + (size_t)(seg[root].start + i)*heads->W;
        memset(row + key_at(heads, kv), 0, size);
        memset(row + value_at(heads, kv), 0, size);
    }
}

// WRITES dqkv(T,W).  A task is a key/value head of a group: no other task adds to the
// gradients of its keys and values, which get their terms in order: query head by query head,
// row by row.
void attention_backward(real *dqkv, const real *dout, const real *out, const real *lse,
                        const real *qkv, const Segment *seg, int S, int T, int NH, int NKV,
                        int HD, int window) {
    const Heads heads = heads_of(NH, NKV, HD, window);
    (void)T;
    PARALLEL_FOR_TASKS
    for (int task = 0; task < S * NKV; task++) {
        const int root = task / NKV, kv = task % NKV;
        const int share = NH / NKV;               // the query heads of a key/value head
        if (seg[root].parent >= 0) continue;      // the root's task does the group
        const int end = group_end(seg, S, root);
        const real *K = qkv + key_at(&heads, kv), *V = qkv + value_at(&heads, kv);
        real *work = matmul_work();
        const Columns Kt = columns_of_group(work, K, seg, root, end, &heads);
        const Columns Vt = columns_of_group(work + PACK_B, V, seg, root, end, &heads);
        clear_keys_and_values(dqkv, seg, root, end, kv, &heads);
        for (int h = kv * share; h < (kv + 1) * share; h++) {
            for (int s = root; s < end; s++) {
                for (int i = 0; i < seg[s].len; i += ROWS) {
                    const QueryBlock b = query_block(seg, s, i);
                    attention_block_backward(dqkv, dout, out, lse, qkv, &Kt, &Vt, &b, h, &heads);
                }
            }
        }
    }
}

// ------------------------------------------------------ attention, one token after the other

/* A cache holds the keys and values of a text's rows, for each layer and key/value head, as
 * the products want their second operand: the keys as (HD, capacity), the values as
 * (capacity, HD), in panels of NR columns.  In a panel lie row after row; panels lie
 * key_panel and value_panel numbers apart. */
typedef struct {
    real *keys, *values;
    size_t key_panel, value_panel;
} CacheHead;

static size_t cache_keys_size(const KeyCache *c, int HD) {
    return (size_t)c->capacity * (size_t)HD;
}
static size_t cache_values_size(const KeyCache *c, int HD) {
    return (size_t)c->capacity * (size_t)round_up(HD, MAX_NR);
}

static CacheHead cache_head(const KeyCache *c, int layer, int kv, int NKV, int HD) {
    const size_t keys_size = cache_keys_size(c, HD), values_size = cache_values_size(c, HD);
    real *keys = c->memory + (size_t)(layer*NKV + kv) * (keys_size + values_size);
    return (CacheHead){
        .keys = keys,
        .values = keys + keys_size,
        .key_panel = (size_t)tile->fp32.NR * (size_t)HD,
        .value_panel = (size_t)tile->fp32.NR * (size_t)c->capacity,
    };
}

// Empties the cache and makes room for `rows` rows.  0, or -1 after fail().
int cache_reserve(KeyCache *c, int rows, int layers, int NKV, int HD) {
    c->len = 0;
    if (rows <= c->capacity) return 0;
    kernels_free(c->memory);
    c->capacity = round_up(rows, MAX_NR);
    const size_t head = cache_keys_size(c, HD) + cache_values_size(c, HD);
    c->memory = kernels_alloc((size_t)(layers*NKV) * head);
    if (!c->memory) c->capacity = 0;
    return c->memory ? 0 : -1;
}

void cache_free(KeyCache *c) {
    kernels_free(c->memory);
    memset(c, 0, sizeof *c);
}

// The rows of segment s of qkv(T,W) go to path[s].own, behind its len rows.
void cache_append(const CachePath *path, const real *qkv, const Segment *seg, int S, int layer,
                  int NH, int NKV, int HD) {
    const Heads heads = heads_of(NH, NKV, HD, INT_MAX);
    const size_t NR = (size_t)tile->fp32.NR, D = (size_t)HD;
    PARALLEL_FOR_IF((size_t)(seg[S-1].start + seg[S-1].len) * heads.W)
    for (int task = 0; task < S * NKV; task++) {
        const int s = task / NKV, kv = task % NKV;
        const KeyCache *c = path[s].own;
        const CacheHead to = cache_head(c, layer, kv, NKV, HD);
        assert(c->len + seg[s].len <= c->capacity);
        for (int i = 0; i < seg[s].len; i++) {
            const real *row = qkv + (size_t)(seg[s].start + i)*heads.W;
            const real *k = row + key_at(&heads, kv), *v = row + value_at(&heads, kv);
            const size_t p = (size_t)(c->len + i);                    // the row's number as a key
            for (size_t d = 0; d < D; d++) to.keys[p/NR * to.key_panel + d*NR + p%NR] = k[d];
            for (size_t d = 0; d < D; d++) to.values[d/NR * to.value_panel + p*NR + d%NR] = v[d];
        }
    }
}

// c(M,N) = a(M,K) b(K,N), or += with add, b packed in panels
static void product_panels(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                           size_t panel, int M, int N, int K, int add) {
    const Product p = {
        .c = c, .ldc = ldc,
        .a = a, .ars = lda, .acs = 1,
        .b = b, .panel = panel,
        .M = M, .N = N, .K = K, .add = add,
    };
    matmul_one(&p, matmul_work());
}

/* Query head h of the rows t .. t+rows-1, which share the cache before their own: they go
 * through it together, then each alone through its own. */
static void decode_rows(real *out, const real *qkv, const CachePath *path, int layer, int t,
                        int rows, int h, const Heads *heads) {
    const int HD = heads->HD, NKV = heads->NKV;
    const int kv = kv_head(heads, h);
    const size_t W = heads->W, OW = heads->OW;
    const int shared = path[t].before->len;
    const CacheHead before = cache_head(path[t].before, layer, kv, NKV, HD);
    const real *Q = qkv + (size_t)t*W + query_at(heads, h);
    real *O = out + (size_t)t*OW + query_at(heads, h);
    real *S = attention_work(0), inverse[ROWS];
    int longest = 0;
    for (int i = 0; i < rows; i++) {
        if (path[t+i].own->len > longest) longest = path[t+i].own->len;
    }
    const size_t ld = score_stride(shared + longest + 1);   // a row of S has room for all its keys

    // pass 1: S = Q K' over the shared keys
    product_panels(S, ld, Q, W, before.keys, before.key_panel, rows, shared, HD, 0);

    // pass 2: for each row S = Q K' over its own keys, then P, but for the factor `inverse`
    for (int i = 0; i < rows; i++) {
        const int own_keys = path[t+i].own->len + 1;
        const CacheHead own = cache_head(path[t+i].own, layer, kv, NKV, HD);
        const real *Qi = Q + (size_t)i*W;
        real *Si = S + (size_t)i*ld;
        real lse;                                           // softmax_rows gives it; not needed
        product_panels(Si + shared, ld, Qi, W, own.keys, own.key_panel, 1, own_keys, HD, 0);
        softmax_rows(Si, ld, inverse + i, &lse, 1, heads->scale, 1, shared + own_keys,
                     heads->window);
    }
    const real *P = S;

    // pass 3: O = P V over the shared values, then over each row's own, and the factor
    product_panels(O, OW, P, ld, before.values, before.value_panel, rows, HD, shared, 0);
    for (int i = 0; i < rows; i++) {
        const int own_keys = path[t+i].own->len + 1;
        const CacheHead own = cache_head(path[t+i].own, layer, kv, NKV, HD);
        const real *Pi = P + (size_t)i*ld + shared;
        real *Oi = O + (size_t)i*OW;
        product_panels(Oi, OW, Pi, ld, own.values, own.value_panel, 1, HD, own_keys, 1);
    }
    scale_rows(O, OW, inverse, rows, HD);
}

// How many rows from t on share one cache before their own, at most to the next multiple of
// ROWS; 0 if t goes with the row before it.
static int rows_together(const CachePath *path, int t, int T) {
    if (t % ROWS && path[t].before == path[t-1].before) return 0;
    int rows = 1;
    while (t + rows < T && (t + rows) % ROWS && path[t+rows].before == path[t].before) rows++;
    return rows;
}

// out(T,OW), qkv(T,W): attention_forward's bits for T segments of one row.
void attention_decode(real *out, const real *qkv, const CachePath *path, int layer, int T, int NH,
                      int NKV, int HD, int window) {
    const Heads heads = heads_of(NH, NKV, HD, window);
    PARALLEL_TASKS_IF((size_t)T * heads.OW * (size_t)path[0].before->len)
    for (int task = 0; task < T * NH; task++) {
        const int t = task / NH, h = task % NH;
        const int rows = rows_together(path, t, T);
        if (rows > 0) decode_rows(out, qkv, path, layer, t, rows, h, &heads);
    }
}
#endif

/* attention.cu - attention on a GPU, forward, backward, and for one token after the other.
 * attention.c has the equations and the order of every sum, paths.h which keys a row meets. */
#ifndef ATTENTION_CU
#define ATTENTION_CU
#include "rows.cu"
extern "C" {
#include "paths.h"
}

/* A block of threads has ROWS rows of one head (queries, or in one kernel keys) and COLUMNS of its
 * HD channels; it goes through the keys (or queries) KEYS at a time.  Of a tile of scores (ROWS,
 * KEYS) and of one of outputs (ROWS, COLUMNS) thread (y, x) has four by four:
 *
 *     rows y, 14 + y, 28 + y, 42 + y;   columns x, 16 + x, 32 + x, 48 + x
 *
 * so that threads x = 0 .. 15 are the 16 lanes of a row's sums.  No score is stored: forward
 * computes S = Q K' twice, for the maximum and for the sum. */
enum { KEYS = 64, DEPTH = 32, HEAD_COLUMNS = 64, ROW_THREADS = ROWS / 4,
       HEAD_THREADS = ROW_THREADS * LANES };
__device__ static int tile_row(int i)    { return threadIdx.x / LANES + ROW_THREADS * i; }
__device__ static int tile_column(int j) { return threadIdx.x % LANES + LANES * j; }

/* s = A X', A the `rows` rows from `a` on, lda apart, X the rows x_row[0 .. KEYS-1] of x, ldx
 * apart; a row -1 is zero.  Each s is one chain over the head's channels. */
__device__ static void scores(real s[4][4], const real *a, size_t lda, int rows, const real *x,
                              size_t ldx, const int *x_row, int HD) {
    __shared__ real as[DEPTH][ROWS + 1], xs[DEPTH][KEYS + 1];
    for (int i = 0; i < 16; i++) s[i / 4][i % 4] = 0;
    for (int d0 = 0; d0 < HD; d0 += DEPTH) {
        __syncthreads();                          // x_row is there; the tiles before were read
        for (int at = threadIdx.x; at < ROWS * DEPTH; at += HEAD_THREADS) {
            const int r = at / DEPTH, d = at % DEPTH;
            as[d][r] = r < rows && d0 + d < HD ? a[r*lda + d0 + d] : 0;
        }
        for (int at = threadIdx.x; at < KEYS * DEPTH; at += HEAD_THREADS) {
            const int r = at / DEPTH, d = at % DEPTH;
            xs[d][r] = x_row[r] >= 0 && d0 + d < HD ? x[x_row[r]*ldx + d0 + d] : 0;
        }
        __syncthreads();
        const int depth = min_int(DEPTH, HD - d0);
        for (int d = 0; d < depth; d++) {
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    s[i][j] = fmaf(as[d][tile_row(i)], xs[d][tile_column(j)], s[i][j]);
                }
            }
        }
    }
}

// A tile of factors, P or dS, and the rows that they multiply, V, K, Q or dO.
struct Factors {
    real p[ROWS][KEYS + 1], x[KEYS][HEAD_COLUMNS];
};

__device__ static void put_factors(Factors *f, const real p[4][4]) {
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) f->p[tile_row(i)][tile_column(j)] = p[i][j];
    }
}
// x = channels from `first` on of the rows x_row[..]
__device__ static void put_rows(Factors *f, const real *x, size_t ldx, const int *x_row, int first,
                                int HD) {
    for (int at = threadIdx.x; at < KEYS * HEAD_COLUMNS; at += HEAD_THREADS) {
        const int r = at / HEAD_COLUMNS, c = at % HEAD_COLUMNS;
        const int inside = x_row[r] >= 0 && first + c < HD;
        f->x[r][c] = inside ? x[x_row[r]*ldx + first + c] : 0;
    }
}
// o += p x over the first n of KEYS, in order
__device__ static void add_product(real o[4][4], const Factors *f, int n) {
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 4; j++) {
                o[i][j] = fmaf(f->p[tile_row(i)][k], f->x[k][tile_column(j)], o[i][j]);
            }
        }
    }
}
// out(rows, HD), from channel `first` on; rows lie ld apart
__device__ static void store_tile(real *out, size_t ld, const real o[4][4], int rows, int first,
                                  int HD) {
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            const int r = tile_row(i), c = first + tile_column(j);
            if (r < rows && c < HD) out[r*ld + c] = o[i][j];
        }
    }
}

// row[0 .. KEYS-1] = the token rows of the block's keys from p0 on, -1 beyond the last
__device__ static void find_keys(int *row, const QueryBlock *b, int p0) {
    const int p = p0 + threadIdx.x;
    if (threadIdx.x >= KEYS) return;
    row[threadIdx.x] = -1;
    for (int j = 0; j < b->parts && p < b->keys; j++) {
        const KeyRows *k = &b->part[j];
        if (p >= k->key && p < k->key + k->len) row[threadIdx.x] = k->start + p - k->key;
    }
}

// The keys that row i of the block attends to: first .. end-1; none for a row that is not there.
struct Span { int first, end; };
__device__ static Span keys_of_row(const QueryBlock *b, int i, int window) {
    const int n = b->keys - b->rows + 1 + i;
    if (i >= b->rows) return Span{0, 0};
    return Span{window_start(n, window), n};
}
__device__ static int is_within(int p, Span s) { return p >= s.first && p < s.end; }

// Where the block's keys begin, a whole number of KEYS: no row attends to those before, whose
// terms would be +0 in chains that are still +0.
__device__ static int first_key(const QueryBlock *b, int window) {
    return keys_of_row(b, 0, window).first / KEYS * KEYS;
}

// out = (chain over the keys of e v) * (1/l), e = exp(x - m), x = scale s, l their sum in 16 lanes;
// lse = m + log l.  Grid: blocks of rows, query heads, pieces of the channels.
__global__ static void __launch_bounds__(HEAD_THREADS, 2)
attention_forward_kernel(real *out, real *lse, const real *qkv, const QueryBlock *blocks,
                         Heads heads) {
    __shared__ int key_row[KEYS];
    __shared__ Factors f;
    const QueryBlock *b = &blocks[blockIdx.x];
    const int h = blockIdx.y, kv = kv_head(&heads, h), channel = blockIdx.z * HEAD_COLUMNS;
    const size_t W = heads.W, start = b->start;
    const real *Q = qkv + start*W + query_at(&heads, h);
    const real *K = qkv + key_at(&heads, kv), *V = qkv + value_at(&heads, kv);
    const int begin = first_key(b, heads.window);
    real s[4][4], o[4][4] = {}, m[4], l[4] = {};

    // pass 1: the maximum of each row, first of the thread's keys, then of the 16 threads'
    for (int i = 0; i < 4; i++) m[i] = -INFINITY;
    for (int p0 = begin; p0 < b->keys; p0 += KEYS) {
        find_keys(key_row, b, p0);
        scores(s, Q, W, b->rows, K, W, key_row, heads.HD);
        for (int i = 0; i < 4; i++) {
            const Span keys = keys_of_row(b, tile_row(i), heads.window);
            for (int j = 0; j < 4; j++) {
                const real x = heads.scale * s[i][j];
                if (is_within(p0 + tile_column(j), keys)) m[i] = x > m[i] ? x : m[i];
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        for (int lane = LANES / 2; lane > 0; lane /= 2) {
            const real other = __shfl_xor_sync(~0u, m[i], lane, LANES);
            m[i] = other > m[i] ? other : m[i];
        }
    }

    // pass 2: e, 0 for keys that the row does not attend to; l in 16 lanes; O = E V
    for (int p0 = begin; p0 < b->keys; p0 += KEYS) {
        find_keys(key_row, b, p0);
        scores(s, Q, W, b->rows, K, W, key_row, heads.HD);
        for (int i = 0; i < 4; i++) {
            const Span keys = keys_of_row(b, tile_row(i), heads.window);
            for (int j = 0; j < 4; j++) {
                const real e = expf_hw(HAS_FMA, heads.scale * s[i][j] - m[i]);
                s[i][j] = is_within(p0 + tile_column(j), keys) ? e : 0;
                l[i] += s[i][j];
            }
        }
        put_factors(&f, s);
        put_rows(&f, V, W, key_row, channel, heads.HD);
        __syncthreads();
        add_product(o, &f, min_int(KEYS, b->keys - p0));
    }
    for (int i = 0; i < 4; i++) {
        const int r = tile_row(i);
        const real sum = fold(l[i]), inverse = 1 / sum;
        for (int j = 0; j < 4; j++) o[i][j] *= inverse;
        if (r >= b->rows || my_lane() > 0 || channel > 0) continue;
        lse[(start + r)*heads.NH + h] = m[i] + (real)more_log(sum);
    }
    store_tile(out + start*heads.OW + query_at(&heads, h), heads.OW, o, b->rows, channel, heads.HD);
}

// D(T,NH): dO . O of each row and query head
__global__ static void attention_dots_kernel(real *D, const real *dout, const real *out, int HD,
                                             int rows) {
    const int q = my_row(), n = q < rows ? HD : 0;
    const real *a = dout + (size_t)q*HD, *b = out + (size_t)q*HD;
    real dot = 0;
    for (int c = my_lane(); c < n; c += LANES) dot = fmaf(a[c], b[c], dot);
    dot = fold(dot);
    if (q < rows && my_lane() == 0) D[q] = dot;
}

// What both kernels of backward read.
struct AttentionBackward {
    const real *dout, *lse, *D, *qkv;
};

// P = exp(scale s - lse) and dS = P (dP - D) scale, in place of s and dP; `at` is the row and
// head's number in lse and D
__device__ static void softmax_backward(real *s, real *dp, const AttentionBackward *x, size_t at,
                                        int attended, real scale) {
    const real P = attended ? expf_hw(HAS_FMA, scale * *s - x->lse[at]) : 0;
    *s = P;
    *dp = attended ? P * (*dp - x->D[at]) * scale : 0;
}

// dQ = dS K, a chain over the keys.  Grid: blocks of rows, query heads, pieces of the channels.
__global__ static void __launch_bounds__(HEAD_THREADS, 2)
attention_queries_kernel(real *dqkv, AttentionBackward x, const QueryBlock *blocks, Heads heads) {
    __shared__ int key_row[KEYS];
    __shared__ Factors f;
    const QueryBlock *b = &blocks[blockIdx.x];
    const int h = blockIdx.y, kv = kv_head(&heads, h), channel = blockIdx.z * HEAD_COLUMNS;
    const size_t W = heads.W, OW = heads.OW, start = b->start;
    const size_t q = start*W + query_at(&heads, h);
    const real *Q = x.qkv + q, *dO = x.dout + start*OW + query_at(&heads, h);
    const real *K = x.qkv + key_at(&heads, kv), *V = x.qkv + value_at(&heads, kv);
    real s[4][4], dp[4][4], o[4][4] = {};
    for (int p0 = first_key(b, heads.window); p0 < b->keys; p0 += KEYS) {
        find_keys(key_row, b, p0);
        scores(s, Q, W, b->rows, K, W, key_row, heads.HD);
        scores(dp, dO, OW, b->rows, V, W, key_row, heads.HD);
        for (int i = 0; i < 4; i++) {
            const int r = tile_row(i);
            const Span keys = keys_of_row(b, r, heads.window);
            for (int j = 0; j < 4; j++) {
                softmax_backward(&s[i][j], &dp[i][j], &x, (start + r)*heads.NH + h,
                                 is_within(p0 + tile_column(j), keys), heads.scale);
            }
        }
        put_factors(&f, dp);
        put_rows(&f, K, W, key_row, channel, heads.HD);
        __syncthreads();
        add_product(o, &f, min_int(KEYS, b->keys - p0));
    }
    store_tile(dqkv + q, W, o, b->rows, channel, heads.HD);
}

// Up to ROWS keys of one segment: token rows start .. start+rows-1, the first `before` rows behind
// the segment's own first.  The rows that may attend to them are in the blocks begin .. end-1.
struct KeyBlock {
    int start, rows, segment, begin, end;
};

// Of keys k and a block of rows: the number of the block's key that is the first of them, or -1 if
// none of its rows attends to any.
__device__ static int key_number(const KeyBlock *k, const QueryBlock *b, int window) {
    for (int j = 0; j < b->parts; j++) {
        const int before = k->start - k->segment, first = b->part[j].key + before;
        if (b->part[j].start != k->segment || before >= b->part[j].len) continue;
        return first + k->rows > keys_of_row(b, 0, window).first ? first : -1;
    }
    return -1;
}

/* dK = dS' Q and dV = P' dO of a block of keys: query heads ascending, in each the attending rows
 * in order.  Here the tile's rows are keys and its columns rows that attend.  A row that does not
 * attend to a key adds +0 to its chain, which only a -0 could show: no sum after it can tell. Grid:
 * blocks of keys, key/value heads, pieces of the channels. */
__global__ static void __launch_bounds__(HEAD_THREADS, 2)
attention_keys_kernel(real *dqkv, AttentionBackward x, const KeyBlock *key_blocks,
                      const QueryBlock *blocks, Heads heads) {
    __shared__ int query_row[KEYS];
    __shared__ Factors f;
    const KeyBlock *k = &key_blocks[blockIdx.x];
    const int kv = blockIdx.y, channel = blockIdx.z * HEAD_COLUMNS, share = heads.NH / heads.NKV;
    const size_t W = heads.W, OW = heads.OW, start = k->start;
    const size_t key = start*W + key_at(&heads, kv), value = start*W + value_at(&heads, kv);
    const real *K = x.qkv + key, *V = x.qkv + value;
    real s[4][4], dp[4][4], dk[4][4] = {}, dv[4][4] = {};
    for (int n = 0; n < share * (k->end - k->begin); n++) {
        const int h = kv*share + n / (k->end - k->begin);
        const QueryBlock *b = &blocks[k->begin + n % (k->end - k->begin)];
        const real *Q = x.qkv + query_at(&heads, h), *dO = x.dout + query_at(&heads, h);
        const int first = key_number(k, b, heads.window);
        if (first < 0) continue;

        // pass 1: P' and dS'
        __syncthreads();                          // query_row and the factors before were read
        if (threadIdx.x < KEYS) {
            const int c = threadIdx.x;
            query_row[c] = c < b->rows ? b->start + c : -1;
        }
        scores(s, K, W, k->rows, Q, W, query_row, heads.HD);
        scores(dp, V, W, k->rows, dO, OW, query_row, heads.HD);
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < 4; j++) {
                const int c = tile_column(j), r = tile_row(i);
                const Span keys = keys_of_row(b, c, heads.window);
                softmax_backward(&s[i][j], &dp[i][j], &x, (size_t)(b->start + c)*heads.NH + h,
                                 r < k->rows && is_within(first + r, keys), heads.scale);
            }
        }

        // pass 2: dV += P' dO
        put_factors(&f, s);
        put_rows(&f, dO, OW, query_row, channel, heads.HD);
        __syncthreads();
        add_product(dv, &f, b->rows);
        __syncthreads();

        // pass 3: dK += dS' Q
        put_factors(&f, dp);
        put_rows(&f, Q, W, query_row, channel, heads.HD);
        __syncthreads();
        add_product(dk, &f, b->rows);
    }
    store_tile(dqkv + key, W, dk, k->rows, channel, heads.HD);
    store_tile(dqkv + value, W, dv, k->rows, channel, heads.HD);
}


static_assert(sizeof(QueryBlock) + sizeof(KeyBlock) <= BLOCK_SIZE, "what kernels_reserve counts");

static int count_blocks(const Segment *seg, int S) {
    int n = 0;
    for (int s = 0; s < S; s++) n += (seg[s].len + ROWS - 1) / ROWS;
    return n;
}
// The blocks of rows of all segments, in order, in the room for them.
static void fill_query_blocks(QueryBlock *b, const Segment *seg, int S) {
    for (int s = 0; s < S; s++) {
        for (int i = 0; i < seg[s].len; i += ROWS) *b++ = query_block(seg, s, i);
    }
}
// The same rows as keys.
static void fill_key_blocks(KeyBlock *k, const Segment *seg, int S) {
    int block = 0;
    for (int s = 0; s < S; s++) {
        int root = s;
        while (seg[root].parent >= 0) root = seg[root].parent;
        const int end = block + count_blocks(seg + s, group_end(seg, S, root) - s);
        for (int i = 0; i < seg[s].len; i += ROWS, block++) {
            *k++ = {seg[s].start + i, min_int(ROWS, seg[s].len - i), seg[s].start, block, end};
        }
    }
}

// qkv(T,W), out(T,OW), lse(T,NH)
void attention_forward(real *out, real *lse, const real *qkv, const Segment *seg, int S, int,
                       int NH, int NKV, int HD, int window) {
    const int n = count_blocks(seg, S);
    upload_begin(n * sizeof(QueryBlock));
    QueryBlock *b = upload_room<QueryBlock>(n);
    fill_query_blocks(b, seg, S);
    upload_end();
    LAUNCH(attention_forward_kernel, dim3(n, NH, blocks_of(HD, HEAD_COLUMNS)), HEAD_THREADS, out,
           lse, qkv, on_gpu(b), heads_of(NH, NKV, HD, window));
}

// WRITES dqkv(T,W)
void attention_backward(real *dqkv, const real *dout, const real *out, const real *lse,
                        const real *qkv, const Segment *seg, int S, int T, int NH, int NKV,
                        int HD, int window) {
    const Heads heads = heads_of(NH, NKV, HD, window);
    const int n = count_blocks(seg, S), pieces = blocks_of(HD, HEAD_COLUMNS);
    real *D = (real *)scratch(SCRATCH_NUMBERS, (size_t)T * (size_t)NH * sizeof *D);
    const AttentionBackward x = {dout, lse, D, qkv};
    upload_begin(n * (sizeof(QueryBlock) + sizeof(KeyBlock)));
    QueryBlock *b = upload_room<QueryBlock>(n);
    KeyBlock *k = upload_room<KeyBlock>(n);
    fill_query_blocks(b, seg, S);
    fill_key_blocks(k, seg, S);
    upload_end();
    kernels_zero(dqkv, (size_t)T * heads.W);      // of rows that are in no segment
    LAUNCH_ROWS(attention_dots_kernel, T*NH, D, dout, out, HD);
    LAUNCH(attention_queries_kernel, dim3(n, NH, pieces), HEAD_THREADS, dqkv, x, on_gpu(b), heads);
    LAUNCH(attention_keys_kernel, dim3(n, NKV, pieces), HEAD_THREADS, dqkv, x, on_gpu(k), on_gpu(b),
           heads);
}

// ------------------------------------------------------ attention, one token after the other

/* A cache holds for each layer and key/value head the keys as (HD, capacity), so that neighbouring
 * threads, which have neighbouring keys, read neighbouring numbers, and the values as (capacity,
 * HD). */
struct CacheHead {
    real *keys, *values;
    int len, capacity;
};
__host__ __device__ static CacheHead cache_head(CacheHead c, int number, int HD) {
    const size_t size = (size_t)c.capacity * HD;
    real *keys = c.keys + number * 2*size;
    return CacheHead{keys, keys + size, c.len, c.capacity};
}
// of layer 0, key/value head 0; the length that attention sees
static CacheHead cache_of(const KeyCache *c, int len) {
    return CacheHead{c->memory, NULL, len, c->capacity};
}

// Empties the cache and makes room for `rows` rows.  0, or -1 after fail().
int cache_reserve(KeyCache *c, int rows, int layers, int NKV, int HD) {
    c->len = 0;
    if (rows <= c->capacity) return 0;
    kernels_free(c->memory);
    c->capacity = round_up(rows, 32);
    c->memory = kernels_alloc((size_t)(layers*NKV) * 2 * (size_t)c->capacity * (size_t)HD);
    if (!c->memory) c->capacity = 0;
    return c->memory ? 0 : -1;
}

void cache_free(KeyCache *c) {
    kernels_free(c->memory);
    memset(c, 0, sizeof *c);
}

// Rows start .. start+rows-1 go to a cache, behind its len rows.
struct Appended {
    CacheHead cache;
    int start, rows;
};
// Grid: segments, key/value heads.
__global__ static void cache_append_kernel(const Appended *appended, const real *qkv, int layer,
                                           Heads heads) {
    const Appended *a = &appended[blockIdx.x];
    const int kv = blockIdx.y, HD = heads.HD;
    const CacheHead to = cache_head(a->cache, layer*heads.NKV + kv, HD);
    for (int at = threadIdx.x; at < a->rows * HD; at += blockDim.x) {
        const int i = at / HD, d = at % HD, p = to.len + i;
        const real *row = qkv + (size_t)(a->start + i)*heads.W;
        to.keys[(size_t)d*to.capacity + p] = row[key_at(&heads, kv) + d];
        to.values[(size_t)p*HD + d] = row[value_at(&heads, kv) + d];
    }
}
void cache_append(const CachePath *path, const real *qkv, const Segment *seg, int S, int layer,
                  int NH, int NKV, int HD) {
    upload_begin(S * sizeof(Appended));
    Appended *a = upload_room<Appended>(S);
    for (int s = 0; s < S; s++) {
        const KeyCache *c = path[s].own;
        assert(c->len + seg[s].len <= c->capacity);
        a[s] = {cache_of(c, c->len), seg[s].start, seg[s].len};
    }
    upload_end();
    LAUNCH(cache_append_kernel, dim3(S, NKV), THREADS, on_gpu(a), qkv, layer,
           heads_of(NH, NKV, HD, INT_MAX));
}

// A row's keys: those of the cache it shares, then those of its own, itself the last.
struct DecodeRow {
    CacheHead before, own;
};
enum { DECODE_THREADS = 128, MAX_HEAD = 8 * DECODE_THREADS };

// x_p = scale * (chain over the channels of fma(q, k))
__device__ static real decode_score(const real *q, const DecodeRow *r, int p, const Heads *heads) {
    const CacheHead *c = p < r->before.len ? &r->before : &r->own;
    const real *k = c->keys + (p < r->before.len ? p : p - r->before.len);
    real s = 0;
    for (int d = 0; d < heads->HD; d++) s = fmaf(q[d], k[(size_t)d*c->capacity], s);
    return heads->scale * s;
}

// Of all threads of the block, in shared memory for each warp.
__device__ static real block_max(real m, real *of_warp) {
    for (int lane = 16; lane > 0; lane /= 2) {
        const real other = __shfl_xor_sync(~0u, m, lane);
        m = other > m ? other : m;
    }
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = m;
    __syncthreads();
    for (int w = 0; w < (int)blockDim.x / 32; w++) m = of_warp[w] > m ? of_warp[w] : m;
    return m;
}

// o = (chain over the keys of e v) * (1/l) as in attention_forward_kernel.  Grid: rows, query
// heads.
__global__ static void attention_decode_kernel(real *out, const real *qkv, const DecodeRow *rows,
                                               int layer, Heads heads) {
    __shared__ real e[DECODE_THREADS], of_warp[DECODE_THREADS / 32], inverse;
    const int t = blockIdx.x, h = blockIdx.y, HD = heads.HD, me = threadIdx.x;
    const int kv = kv_head(&heads, h), number = layer*heads.NKV + kv;
    const real *q = qkv + (size_t)t*heads.W + query_at(&heads, h);
    const DecodeRow r = {cache_head(rows[t].before, number, HD),
                         cache_head(rows[t].own, number, HD)};
    const int n = r.before.len + r.own.len, first = window_start(n, heads.window);
    const int begin = first / DECODE_THREADS * DECODE_THREADS;
    real m = -INFINITY, l = 0, o[MAX_HEAD / DECODE_THREADS] = {};

    // pass 1: the maximum
    for (int p = begin + me; p < n; p += DECODE_THREADS) {
        const real x = p >= first ? decode_score(q, &r, p, &heads) : -INFINITY;
        m = x > m ? x : m;
    }
    m = block_max(m, of_warp);

    // pass 2: a thread's key, then threads 0 .. 15 the lanes of l, then each its channels
    for (int p0 = begin; p0 < n; p0 += DECODE_THREADS) {
        const int p = p0 + me, attended = p >= first && p < n;
        const real x = attended ? decode_score(q, &r, p, &heads) : 0;
        __syncthreads();                          // those before were read
        e[me] = attended ? expf_hw(HAS_FMA, x - m) : 0;
        __syncthreads();
        for (int k = me; k < DECODE_THREADS && me < LANES; k += LANES) l += e[k];
        const int keys = min_int(DECODE_THREADS, n - p0);
        for (int i = 0, d = me; d < HD; i++, d += DECODE_THREADS) {
            for (int k = 0; k < keys; k++) {
                const int shared = p0 + k < r.before.len;
                const real *v = shared ? r.before.values + (size_t)(p0 + k)*HD
                                       : r.own.values + (size_t)(p0 + k - r.before.len)*HD;
                o[i] = fmaf(e[k], v[d], o[i]);
            }
        }
    }
    if (me < 32) {
        const real sum = fold(l);
        if (me == 0) inverse = 1 / sum;
    }
    __syncthreads();
    for (int i = 0, d = me; d < HD; i++, d += DECODE_THREADS) {
        out[(size_t)t*heads.OW + query_at(&heads, h) + d] = o[i] * inverse;
    }
}
void attention_decode(real *out, const real *qkv, const CachePath *path, int layer, int T, int NH,
                      int NKV, int HD, int window) {
    assert(HD <= MAX_HEAD);
    upload_begin(T * sizeof(DecodeRow));
    DecodeRow *r = upload_room<DecodeRow>(T);
    for (int t = 0; t < T; t++) {
        r[t] = {cache_of(path[t].before, path[t].before->len),
                cache_of(path[t].own, path[t].own->len + 1)};
    }
    upload_end();
    LAUNCH(attention_decode_kernel, dim3(T, NH), DECODE_THREADS, out, qkv, on_gpu(r), layer,
           heads_of(NH, NKV, HD, window));
}
#endif

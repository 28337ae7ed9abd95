/* matmul.c - the matrix product: its blocks, and the threads that share them.
 *
 * Contract (NUMERICS.md): every output is one ordered chain  c = fma(a[k], b[k], c), k ascending,
 * from +0 or from what c held.  With bf16 operands k is cut into blocks of 32: one chain over a
 * block's even k and one over its odd k, both from +0; then c = c + (even + odd).  Blocks store c
 * and load it again; threads divide the outputs, never k.  So the bits do not depend on tile,
 * vector width or thread count.
 *
 * The way of a product:
 *
 *     matmul          slices of k, and of as many columns as have room when packed: all threads
 *                     pack b, panels of NR columns, then take blocks of rows and columns of c
 *     multiply_part   a block of MC rows of a, packed by the thread that computes them; NC columns
 *                     of c at a time, KC words along k at a time
 *     Kernel.run      a tile of MR x NR outputs in registers, along all of these KC
 *
 * tiles.c has the tiles, panels.c the packing. */
#ifndef MATMUL_C
#define MATMUL_C
#include "panels.c"

// c(M,N) = a(M,K) b(K,N), or += when add, then + bias(N) unless that is NULL
typedef struct {
    real *c;
    size_t ldc;                                 // c[m,n] = c[m ldc + n]
    const real *a;
    size_t ars, acs;                            // a[m,k] = a[m ars + k acs]; ars or acs is 1
    const real *b;
    size_t brs, bcs;                            // b[k,n] = b[k brs + n bcs]; brs or bcs is 1
    int M, N, K, add;
    const real *bias;
    int bf16;                                   // operands are rounded to bf16
    int half_a, half_b;                         // AMX: they have been, 16 bits each; b by rows
    const RowBlocks *blocks;                    // of k, for bf16
    size_t panel;                               // not 0: b is packed, in panels so far apart
    const Narrow *narrow;                       // not NULL: instead of b, with its brs and bcs
} Product;

void   matmul(const Product *p);                // with all threads
void   matmul_one(const Product *p, real *work);    // with the calling one
real  *matmul_work(void);                       // the calling thread's scratch
size_t matmul_work_size(int threads);           // of the scratch of all
size_t matmul_pack_size(const Product *p);      // of b packed once for many products
void   matmul_pack(real *packed, const Product *p);
size_t matmul_panel(const Product *p);          // what Product.panel then is

// ------------------------------------------------------------------------------------- the product

INLINE void add_bias_body(const int hw, real *c, size_t ldc, const real *bias, int M, int N) {
    (void)hw;
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) c[(size_t)m*ldc + n] += bias[n];
    }
}
VARIANTS(add_bias, (real *c, size_t ldc, const real *bias, int M, int N), c, ldc, bias, M, N)

static const Kernel *kernel_of(const Product *p) { return p->bf16 ? &tile->bf16 : &tile->fp32; }

// along k, as packed
static int product_words(const Product *p) {
    if (!p->bf16) return p->K;
    if (p->blocks) return p->blocks->count * BLOCK_WORDS;
    return (p->K ? (p->K + BLOCK - 1) / BLOCK : 1) * BLOCK_WORDS;
}

// where number i of x is, if half of numbers of 16 bits
static const real *number_at(const real *x, size_t i, int half) {
    return half ? (const real *)(const void *)((const uint16_t *)(const void *)x + i) : x + i;
}

/* Columns n0 .. n0+n-1 of a narrow b, k0 .. k0+k-1 counted as packed: widened to numbers a slice
 * along k at a time, and packed from there as numbers are.  Where its rows are b's columns a slice
 * is of one panel, else of several. */
static void pack_narrow(real *out, const Product *p, int n0, int n, int k0, int k) {
    const int NR = kernel_of(p)->NR, numbers = p->bf16 ? 2 : 1;       // of a word
    const int by_columns = p->brs == 1;
    const int width = by_columns ? NR : min_int(n, WIDE_COLUMNS);
    const int most = (by_columns ? WIDEN / MAX_NR : WIDEN / WIDE_COLUMNS) / numbers;
    real *wide = matmul_work() + PACK_A + PACK_B;
    for (int j = 0; j < n; j += width) {
        const int columns = min_int(width, n - j);
        for (int i = 0; i < k; i += most) {
            const int words = min_int(most, k - i), first = (k0 + i) * numbers;
            const int rows = min_int(words * numbers, p->K - first);
            const size_t rs = by_columns ? (size_t)rows : 1, ks = by_columns ? 1 : (size_t)columns;
            if (by_columns) widen(wide, p->narrow, p->bcs, n0 + j, columns, first, rows);
            else widen(wide, p->narrow, p->brs, first, rows, n0 + j, columns);
            for (int r = 0; r < columns; r += NR) {
                real *to = out + (size_t)(j + r)*(size_t)k + (size_t)i*(size_t)NR;
                const real *x = wide + (size_t)r*rs;
                const int panel = min_int(NR, columns - r);
#ifndef MORE_DOUBLE
                if (p->bf16) {
                    pack_panels_bf16(NR, to, x, rs, ks, 0, panel, NULL, 0, words / BLOCK_WORDS,
                                     rows);
                    continue;
                }
#endif
                pack_panels(NR, to, x, rs, ks, panel, rows);
            }
        }
    }
}

// rows m0 .. m0+m-1 of a and columns n0 .. n0+n-1 of b, of both k0 .. k0+k-1, counted as packed
static void pack_a(real *out, const Product *p, int m0, int m, int k0, int k) {
    const real *a = number_at(p->a, (size_t)m0*p->ars, p->half_a);
#ifndef MORE_DOUBLE
    const int b0 = k0 / BLOCK_WORDS, b1 = (k0 + k) / BLOCK_WORDS;
    if (p->bf16) {
        pack_rows_bf16(out, a, p->ars, p->acs, p->half_a, m, p->blocks, b0, b1, p->K);
        return;
    }
#endif
    pack_rows(out, a + (size_t)k0*p->acs, p->ars, p->acs, m, k);
}
static void pack_b(real *out, const Product *p, int n0, int n, int k0, int k) {
    const int NR = kernel_of(p)->NR;
    if (p->narrow) {
        pack_narrow(out, p, n0, n, k0, k);
        return;
    }
    const real *b = number_at(p->b, (size_t)n0*p->bcs, p->half_b);
#ifndef MORE_DOUBLE
    const int b0 = k0 / BLOCK_WORDS, b1 = (k0 + k) / BLOCK_WORDS;
    if (p->bf16) {
        pack_panels_bf16(NR, out, b, p->bcs, p->brs, p->half_b, n, p->blocks, b0, b1, p->K);
        return;
    }
#endif
    pack_panels(NR, out, b + (size_t)k0*p->brs, p->bcs, p->brs, n, k);
}
// where column n of b begins, n a multiple of NR
static const real *b_column(const Product *p, int n) {
    return p->b + (p->panel ? (size_t)(n / kernel_of(p)->NR) * p->panel : (size_t)n*p->bcs);
}

// b as the tiles read it: panels of NR columns so far apart, with rows ld apart
typedef struct {
    const real *base;
    size_t ld, panel;
    int packs;                                  // yes: pack_b writes it there first
} Operand;

// Columns from n0 on and words k0 .. k0+k-1 of b: packed before, or read as they lie, or to be
// packed into work.
static Operand b_place(const Product *p, real *work, int n0, int k0, int k) {
    const size_t NR = (size_t)kernel_of(p)->NR;
    if (p->panel) return (Operand){b_column(p, n0) + (size_t)k0*NR, NR, p->panel, 0};
    const int few = p->M <= 4*kernel_of(p)->MR;         // rows, too few to pay for packing b
    if (few && tile->direct && !p->bf16 && p->bcs == 1 && !p->narrow) {
        return (Operand){b_column(p, n0) + (size_t)k0*p->brs, p->brs, NR, 0};
    }
    return (Operand){work, NR, NR * (size_t)k, 1};
}
// the same from a later column on, a multiple of NR
static Operand b_from(const Operand *b, int NR, int n) {
    Operand later = *b;
    later.base += (size_t)(n/NR) * b->panel;
    return later;
}

#ifdef MORE_DEBUG
// What a product of bf16 operands continues: zero, or a multiple of 2^-124 (NaN and infinity pass).
static int continues_bf16(const Product *p) {
    for (int m = 0; m < p->M; m++) {
        for (int n = 0; n < p->N; n++) {
            const double units = p->c[(size_t)m*p->ldc + (size_t)n] * 0x1p124;
            if (units != floor(units) && units == units) return 0;
        }
    }
    return 1;
}
#endif

static int pieces(int n, int most) { return (n + most - 1) / most; }

// K words along k in slices of at most `most`, all but the last as long: whole blocks
static int k_slice(int K, int most) {
    return K > most ? round_up((K + pieces(K, most) - 1) / pieces(K, most), BLOCK_WORDS) : most;
}

// A part of a product: rows m0 .. m0+m-1, columns n0 .. n0+n-1, words k0 .. k0+k-1 along k.
typedef struct { int m0, m, n0, n, k0, k; } Region;

/* One thread: c = or += a b of the part, of which a is packed and b begins with the part's first
 * column.  So many columns of c at a time that they stay in the second cache while k goes on in
 * slices, for which a panel of b stays in the first. */
static void multiply_part(const Product *p, const real *packed_a, const Operand *b, Region t) {
    const Kernel *kernel = kernel_of(p);
    const int MR = kernel->MR, NR = kernel->NR, last = t.k0 + t.k == product_words(p);
    const size_t panel_a = (size_t)MR * (size_t)(kernel->tiled ? t.k : LDA);
    const size_t step_a = kernel->tiled ? (size_t)MR : 1;
    const int slice = k_slice(t.k, kernel->KC);
    for (int n0 = 0; n0 < t.n; n0 += NC) {
        const int n1 = min_int(n0 + NC, t.n);
        real *c = p->c + (size_t)t.m0*p->ldc + t.n0;
        for (int k = 0; k == 0 || k < t.k; k += slice) {
            const int add = p->add || t.k0 || k, words = min_int(slice, t.k - k);
            for (int j = n0; j < n1; j += NR) {
                const real *panel = b->base + (size_t)(j/NR) * b->panel + (size_t)k*b->ld;
                const real *rows = packed_a + (size_t)k * step_a;
                size_t ldb = kernel->tiled ? b->panel : b->ld;
                for (int i = 0; i < t.m; i += MR, rows += panel_a) {
                    kernel->run(c + (size_t)i*p->ldc + j, p->ldc, add, rows, panel, ldb, words,
                                min_int(MR, t.m - i), min_int(NR, n1 - j));
                    if (kernel->tiled) ldb += FETCHED * (size_t)words;
                }
            }
        }
        if (p->bias && last) add_bias(c + n0, p->ldc, p->bias + t.n0 + n0, t.m, n1 - n0);
    }
}

// How many columns of b, of k words each, have room in `numbers` when packed.
static int columns_in(const Product *p, int numbers, int k) {
    const int NR = kernel_of(p)->NR;
    return k ? max_int(1, numbers / k / NR) * NR : round_up(p->N, NR);
}

static void product_check(const Product *p) {
    assert((p->ars == 1 || p->acs == 1) && (p->brs == 1 || p->bcs == 1 || p->panel));
#ifdef MORE_DEBUG
    assert(!p->bf16 || !p->add || continues_bf16(p));
#endif
    (void)p;
}

// One thread; work holds WORK_PER_THREAD numbers.
void matmul_one(const Product *p, real *work) {
    const Kernel *kernel = kernel_of(p);
    const int K = product_words(p), rows = MC / kernel->MR * kernel->MR;
    real *packed_a = work, *packed_b = work + PACK_A;
    product_check(p);
    const int slice = k_slice(K, kernel->KA);
    for (int k0 = 0; k0 == 0 || k0 < K; k0 += slice) {                // once for K = 0
        Region t = {.k0 = k0, .k = min_int(slice, K - k0)};
        const int columns = columns_in(p, PACK_B, t.k);
        for (t.n0 = 0; t.n0 < p->N; t.n0 += columns) {
            t.n = min_int(columns, p->N - t.n0);
            const Operand b = b_place(p, packed_b, t.n0, t.k0, t.k);
            if (b.packs) pack_b(packed_b, p, t.n0, t.n, t.k0, t.k);
            for (t.m0 = 0; t.m0 < p->M; t.m0 += rows) {
                t.m = min_int(rows, p->M - t.m0);
                pack_a(packed_a, p, t.m0, t.m, t.k0, t.k);
                multiply_part(p, packed_a, &b, t);
            }
        }
    }
}

// ---------------------------------------------------------------------------- packed once, threads

// b packed once for many products: panels of NR columns, in each all of k.
size_t matmul_panel(const Product *p) {
    return (size_t)kernel_of(p)->NR * (size_t)product_words(p);
}
size_t matmul_pack_size(const Product *p) {
    const int NR = kernel_of(p)->NR;
    return (size_t)((p->N + NR - 1) / NR) * matmul_panel(p);
}
void matmul_pack(real *packed, const Product *p) {
    const int columns = 4 * kernel_of(p)->NR;   // of a task
    const size_t panel = matmul_panel(p);
    PARALLEL_FOR_TASKS
    for (int n = 0; n < p->N; n += columns) {
        pack_b(packed + (size_t)(n / kernel_of(p)->NR) * panel, p, n, min_int(columns, p->N - n),
               0, product_words(p));
    }
}

// b packed by all threads together, then each one's own
static real *matmul_work_memory;                // (SHARED_B), (threads, WORK_PER_THREAD)
size_t matmul_work_size(int threads) {
    return SHARED_B + (size_t)threads * WORK_PER_THREAD;
}
real *matmul_work(void) {
    return matmul_work_memory + SHARED_B + (size_t)thread_index() * WORK_PER_THREAD;
}

/* Blocks of rows and of columns that a product's threads take one after the other.  Each packs its
 * rows of a, so whole rows are best; where they are too few for every thread to have two, columns
 * are divided as well. */
typedef struct { int row_blocks, column_blocks; } Grid;
static Grid grid_of(const Product *p, int threads) {
    const int most = MC / kernel_of(p)->MR * kernel_of(p)->MR;
    Grid g = {.row_blocks = pieces(p->M, most), .column_blocks = 1};
    if (g.row_blocks < 16*threads) g.row_blocks = round_up(g.row_blocks, threads);
    if (g.row_blocks < 2*threads) g.column_blocks = 2;
    return g;
}
// where piece i of n begins, of M rows or columns in tiles of `width`: as equal as they can be
static int piece_start(int M, int width, int i, int n) {
    const long long whole = pieces(M, width);
    return min_int(M, (int)(whole * i / n) * width);
}

// All threads: of the part's columns and words along k all rows.
static void multiply_shared(const Product *p, Region t, int threads) {
    const int MR = kernel_of(p)->MR, NR = kernel_of(p)->NR, few = p->narrow ? MAX_BLOCK : 2 * NR;
    const Grid g = grid_of(p, threads);
    const Operand b = b_place(p, matmul_work_memory, t.n0, t.k0, t.k);
    PARALLEL
    {
        int packed = -1;                        // the block of rows that this thread has packed
        // pass 1: b
        SHARED_TASKS
        for (int n = 0; n < (b.packs ? t.n : 0); n += few) {
            pack_b((real *)b.base + (size_t)(n/NR) * b.panel, p, t.n0 + n, min_int(few, t.n - n),
                   t.k0, t.k);
        }
        // pass 2: blocks of c, each thread going down its columns
        SHARED_TASKS
        for (int task = 0; task < g.row_blocks * g.column_blocks; task++) {
            const int i = task % g.row_blocks, j = task / g.row_blocks;
            const int n0 = piece_start(t.n, NR, j, g.column_blocks);
            const Operand columns = b_from(&b, NR, n0);
            Region block = t;
            block.m0 = piece_start(p->M, MR, i, g.row_blocks);
            block.m = piece_start(p->M, MR, i + 1, g.row_blocks) - block.m0;
            block.n0 = t.n0 + n0;
            block.n = piece_start(t.n, NR, j + 1, g.column_blocks) - n0;
            if (!block.m || !block.n) continue;
            if (packed != i) pack_a(matmul_work(), p, block.m0, block.m, t.k0, t.k);
            packed = i;
            multiply_part(p, matmul_work(), &columns, block);
        }
    }
}

// All threads; a small product is not worth waking them.
void matmul(const Product *p) {
    const int threads = thread_count(), K = product_words(p), slice = k_slice(K, kernel_of(p)->KA);
    if (threads == 1 || (double)p->M * p->N * p->K < 1e5) {
        matmul_one(p, matmul_work_memory + SHARED_B);
        return;
    }
    product_check(p);
    for (int k0 = 0; k0 == 0 || k0 < K; k0 += slice) {
        Region t = {.k0 = k0, .k = min_int(slice, K - k0)};
        const int columns = columns_in(p, SHARED_B, t.k);
        for (t.n0 = 0; t.n0 < p->N; t.n0 += columns) {
            t.n = min_int(columns, p->N - t.n0);
            multiply_shared(p, t, threads);
        }
    }
}
#endif

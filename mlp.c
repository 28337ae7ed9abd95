/* mlp.c - the feed-forward layer in one, for a unit that multiplies so fast that memory is what
 * costs (AMX with bf16 operands).  A thread takes a block of rows through both matrices, a few
 * columns of the wide tensors at a time:
 *
 *     forward                                   backward
 *
 *     inp ──► fc ──► act(fc) ──► out            inp ──► fc ──────┬──► act ──┐
 *     (R,C)  (R,c)    (R,F)     (R,C)           (R,C)  (R,c)     │   (T,F)  ├──► dW
 *                                               dout ──► dact ───┴──► dfc ──┤
 *                                               (R,C)   (R,c)        (T,FC) └──► dinp
 *
 * fc and dact exist as CUT columns of R rows in the second cache and are never stored; backward
 * computes fc again.  What is only read as an operand is kept rounded, in 16 bits.  The products,
 * their order and the functions of one number are those of the layers by themselves, so that the
 * bits are the same. */
#ifndef MLP_C
#define MLP_C
#include "kernels.c"

#if defined X86_BF16 && defined __x86_64__
enum { CUT = 128, MLP_ROWS = 256, ROWS_NUMBERS = 400 << 10 };    // columns, rows, and their scratch

// FC
static int mlp_width(const Mlp *l) { return l->gated ? 2*l->F : l->F; }

// b of its products: fcw' and projw' of forward, projw of backward, packed.
typedef struct { Product fc, proj, dact; } MlpProducts;
static MlpProducts mlp_products(const Mlp *l) {
    const size_t C = (size_t)l->C, F = (size_t)l->F;
    const int FC = mlp_width(l);
    return (MlpProducts){
        .fc   = {.b = l->fcw, .brs = 1, .bcs = C, .N = FC, .K = l->C, .bf16 = 1},
        .proj = {.b = l->projw, .brs = 1, .bcs = F, .N = l->C, .K = l->F, .bf16 = 1},
        .dact = {.b = l->projw, .brs = F, .bcs = 1, .N = l->F, .K = l->C, .bf16 = 1},
    };
}
// from the start of a cache's line on, as tiles are read fastest
enum { ALIGNED = 16 };
static real *aligned(real *work) {
    const size_t line = ALIGNED * sizeof *work;
    return (real *)(((uintptr_t)work + line - 1) / line * line);
}
// Packs b into the work memory; returns what follows it there.
static real *mlp_pack(Product *p, real *work) {
    const size_t size = matmul_pack_size(p);
    matmul_pack(work, p);
    p->b = work;
    p->panel = matmul_panel(p);
    return work + size;
}

// The thread's scratch, numbers for R rows at most.
typedef struct {
    real *inp;                                  // packed a: (R,C)
    real *wide;                                 // packed a: act(R,F); or dout(R,C)
    real *fc;                                   // (R, 2 CUT): gate and up
    real *dact, *act, *dfc;                     // (R,CUT), (CUT), (2 CUT)
} MlpRows;
static size_t mlp_row_words(const Mlp *l) {
    return (size_t)(l->C + max_int(l->C, l->F)) / 2 + 3*CUT;
}
static int mlp_rows(const Mlp *l) {
    const int fit = (int)(ROWS_NUMBERS / mlp_row_words(l)) / 32 * 32;
    return max_int(32, min_int(MLP_ROWS, fit));
}
// blocks of rows that T rows are divided into: as many for each thread
static int mlp_row_blocks(const Mlp *l, int T) {
    return round_up(pieces(T, mlp_rows(l)), thread_count());
}
static size_t mlp_rows_size(const Mlp *l) {
    return (size_t)mlp_rows(l) * mlp_row_words(l) + 3*CUT;
}
static MlpRows mlp_rows_of(const Mlp *l, real *work) {
    const size_t R = (size_t)mlp_rows(l);
    MlpRows r;
    r.inp  = work + (size_t)thread_index() * mlp_rows_size(l);
    r.wide = r.inp + R * (size_t)l->C/2;
    r.fc   = r.wide + R * (size_t)max_int(l->C, l->F)/2;
    r.dact = r.fc + R*2*CUT;
    r.act  = r.dact + R*CUT;
    r.dfc  = r.act + CUT;
    return r;
}

int mlp_fused(const Mlp *l) {
    return linear_bf16 && isa == ISA_AMX && l->C % BLOCK == 0 && l->F % BLOCK == 0;
}
size_t mlp_work_size(const Mlp *l) {
    const MlpProducts p = mlp_products(l);
    return matmul_pack_size(&p.fc) + matmul_pack_size(&p.proj) + matmul_pack_size(&p.dact)
         + (size_t)thread_count() * mlp_rows_size(l) + ALIGNED;
}

// rows m0 .. m0+m-1 of x(T,C), packed
static void mlp_pack_rows(real *out, const real *x, int C, int m0, int m) {
    const Product p = {.a = x, .ars = (size_t)C, .acs = 1, .K = C, .bf16 = 1};
    pack_a(out, &p, m0, m, 0, C / 2);
}
// c(m,N) = packed a(m,K) b(K, columns n0 .. n0+N-1), + bias
static void mlp_multiply(real *c, size_t ldc, const real *a, const Product *b, const real *bias,
                         int m, int n0, int n) {
    Product p = *b;
    p.c = c;
    p.ldc = ldc;
    p.bias = bias ? bias + n0 : NULL;
    p.M = m;
    const Operand columns = {b_column(b, n0), (size_t)kernel_of(b)->NR, b->panel, 0};
    multiply_part(&p, a, &columns, (Region){.m = m, .n = n, .k = product_words(b)});
}
// fc(m, w) of columns f .. f+w-1; if gated of gate, and beside it of up
static void mlp_fc(const Mlp *l, const MlpRows *r, const Product *fc, int m, int f, int w) {
    mlp_multiply(r->fc, 2*CUT, r->inp, fc, l->fcb, m, f, w);
    if (l->gated) mlp_multiply(r->fc + CUT, 2*CUT, r->inp, fc, l->fcb, m, l->F + f, w);
}

// x(n), from column k on, of a row of a packed a of so many words a row
AMX static void mlp_store(real *packed, size_t words, int row, int k, const real *x, int n) {
    real *panel = packed + (size_t)(row/32) * 32*words + (size_t)(row%32) * BLOCK_WORDS;
    for (int i = 0; i < n; i += BLOCK) {
        _mm512_storeu_si512(panel + (size_t)(k + i) * BLOCK_WORDS, words_of_row_amx(x + i, BLOCK));
    }
}
AMX static void mlp_round(uint16_t *out, const real *x, int n) {
    for (int i = 0; i < n; i += BLOCK) _mm512_storeu_si512(out + i, words_of_row_amx(x + i, BLOCK));
}
static void mlp_act(const Mlp *l, real *act, const real *fc, int w) {
    act_piece(act, fc, l->kind, (size_t)w);
    if (l->gated) multiply_piece(act, act, fc + CUT, (size_t)w);
}

// out(T,C) = projw act(fcw inp + fcb) + projb
void mlp_forward(real *out, const real *inp, const Mlp *l, real *work, int T) {
    const int C = l->C, F = l->F, n = mlp_row_blocks(l, T);
    MlpProducts p = mlp_products(l);
    work = mlp_pack(&p.fc, aligned(work));
    work = mlp_pack(&p.proj, work);
    PARALLEL_FOR_TASKS
    for (int block = 0; block < n; block++) {
        const MlpRows r = mlp_rows_of(l, work);
        const int m0 = piece_start(T, 32, block, n), m = piece_start(T, 32, block + 1, n) - m0;
        mlp_pack_rows(r.inp, inp, C, m0, m);
        for (int f = 0; f < F; f += CUT) {
            const int w = min_int(CUT, F - f);
            mlp_fc(l, &r, &p.fc, m, f, w);
            for (int i = 0; i < m; i++) {
                mlp_act(l, r.act, r.fc + (size_t)i * 2*CUT, w);
                mlp_store(r.wide, (size_t)F/2, i, f, r.act, w);
            }
        }
        mlp_multiply(out + (size_t)m0*C, (size_t)C, r.wide, &p.proj, l->projb, m, 0, C);
    }
}

// forward: act = act(gate) o up, or act(fc): act(w) again, and the gradient dfc(2 CUT)
static void mlp_row_backward(const Mlp *l, real *dfc, real *act, const real *fc, const real *dact,
                             int w) {
    const size_t n = (size_t)w;
    if (l->gated) {
        gated_piece_back(dfc, dfc + CUT, act, dact, fc, fc + CUT, l->kind, n);
        return;
    }
    act_piece(act, fc, l->kind, n);
    act_back_piece(dfc, dact, fc, l->kind, n);
}

void mlp_backward(real *dinp, const MlpGrads *g, const real *dout, const real *inp, const Mlp *l,
                  real *dfc, real *act, real *work, int T, const RowBlocks *blocks) {
    const int C = l->C, F = l->F, FC = mlp_width(l), n = mlp_row_blocks(l, T);
    const int half = !g->fcb;                   // db sums dfc as it was before it is rounded
    MlpProducts p = mlp_products(l);
    work = mlp_pack(&p.fc, aligned(work));
    work = mlp_pack(&p.dact, work);

    // pass 1: rows by blocks: dfc and act of all rows are kept
    PARALLEL_FOR_TASKS
    for (int block = 0; block < n; block++) {
        const MlpRows r = mlp_rows_of(l, work);
        const int m0 = piece_start(T, 32, block, n), m = piece_start(T, 32, block + 1, n) - m0;
        mlp_pack_rows(r.inp, inp, C, m0, m);
        mlp_pack_rows(r.wide, dout, C, m0, m);
        for (int f = 0; f < F; f += CUT) {
            const int w = min_int(CUT, F - f);
            mlp_fc(l, &r, &p.fc, m, f, w);
            mlp_multiply(r.dact, CUT, r.wide, &p.dact, NULL, m, f, w);
            for (int i = 0; i < m; i++) {
                const size_t row = (size_t)(m0 + i);
                const real *fc = r.fc + (size_t)i * 2*CUT;
                mlp_row_backward(l, r.dfc, r.act, fc, r.dact + (size_t)i*CUT, w);
                mlp_round((uint16_t *)act + row*(size_t)F + f, r.act, w);
                for (int at = 0; at < (l->gated ? 2 : 1); at++) {      // dgate, dup
                    const int column = at*F + f;
                    const size_t to = row*(size_t)FC + (size_t)column;
                    if (half) mlp_round((uint16_t *)dfc + to, r.dfc + at*CUT, w);
                    else      memcpy(dfc + to, r.dfc + at*CUT, (size_t)w * sizeof *dfc);
                }
            }
        }
    }

    // pass 2: forward: fc = inp fcw' + fcb, out = act projw' + projb
    matmul(&(Product){
        .c = dinp, .ldc = (size_t)C,
        .a = dfc, .ars = (size_t)FC, .acs = 1, .half_a = half,
        .b = l->fcw, .brs = (size_t)C, .bcs = 1,
        .M = T, .N = C, .K = FC, .bf16 = 1,
    });
    if (g->fcw) {
        matmul(&(Product){
            .c = g->fcw, .ldc = (size_t)C,
            .a = dfc, .ars = 1, .acs = (size_t)FC, .half_a = half,
            .b = inp, .brs = (size_t)C, .bcs = 1,
            .M = FC, .N = C, .K = T, .add = !is_fresh(blocks), .bf16 = 1, .blocks = blocks,
        });
    }
    if (g->projw) {
        matmul(&(Product){
            .c = g->projw, .ldc = (size_t)F,
            .a = dout, .ars = 1, .acs = (size_t)C,
            .b = act, .brs = (size_t)F, .bcs = 1, .half_b = 1,
            .M = C, .N = F, .K = T, .add = !is_fresh(blocks), .bf16 = 1, .blocks = blocks,
        });
    }
    if (g->fcb) add_column_sums(g->fcb, dfc, T, FC);
    if (g->projb) add_column_sums(g->projb, dout, T, C);
}
#else
// never: the layers one after the other
int mlp_fused(const Mlp *l) {
    (void)l;
    return 0;
}
size_t mlp_work_size(const Mlp *l) { return (size_t)mlp_fused(l); }
void mlp_forward(real *out, const real *inp, const Mlp *l, real *work, int T) {
    assert(0 && out && inp && l && work && T);
}
void mlp_backward(real *dinp, const MlpGrads *g, const real *dout, const real *inp, const Mlp *l,
                  real *dfc, real *act, real *work, int T, const RowBlocks *blocks) {
    assert(0 && dinp && g && dout && inp && l && dfc && act && work && T && blocks);
}
#endif
#endif

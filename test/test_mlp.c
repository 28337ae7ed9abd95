/* test_mlp.c - the feed-forward layer in one (mlp.c) has the bits of its layers one after the other,
 * with the AMX unit in software (amx_unit.h), wherever there is AVX512-BF16. */
#include "amx_unit.h"
#include "test.h"
#include "../kernels.c"

// A layer of random numbers: T rows, widths C and F; FC = F, or 2F if gated.
typedef struct {
    int T, FC;
    Mlp layer;
    real *inp, *dout, *out, *dinp, *fc, *act, *dfc, *dact, *work;
    real *weights, *grads;                      // fcw, fcb, projw, projb
    size_t num_weights;
} Case;

static uint64_t number;                         // of random ones so far
static real *random_tensor(size_t n, float size) {
    real *x = kernels_alloc(n);
    if (!x) exit(1);
    for (size_t i = 0; i < n; i++) {
        x[i] = ((float)(random_u64(1, STREAM_TEST, 0, number++) >> 40) * 0x1p-24f - 0.5f) * size;
    }
    return x;
}

static Case case_new(int T, int C, int F, int gated, Activation kind, int biased) {
    const size_t t = (size_t)T, c = (size_t)C, f = (size_t)F, fc = gated ? 2*f : f;
    Case x = {.T = T, .FC = (int)fc, .num_weights = fc*c + fc + c*f + c};
    x.weights = random_tensor(x.num_weights, 0.5f);
    x.grads = kernels_alloc(x.num_weights);
    x.inp = random_tensor(t*c, 3);
    x.dout = random_tensor(t*c, 1);
    x.out = kernels_alloc(t*c);
    x.dinp = kernels_alloc(t*c);
    x.fc = kernels_alloc(t*fc);
    x.dfc = kernels_alloc(t*fc);
    x.act = kernels_alloc(t*f);
    x.dact = kernels_alloc(t*f);
    x.layer = (Mlp){.C = C, .F = F, .gated = gated, .kind = kind, .fcw = x.weights,
                    .projw = x.weights + fc*c + fc};
    if (biased) {
        x.layer.fcb = x.weights + fc*c;
        x.layer.projb = x.layer.projw + c*f;
    }
    x.work = kernels_alloc(mlp_work_size(&x.layer));
    return x;
}
static void case_free(Case *x) {
    real *const tensors[] = {x->weights, x->grads, x->inp, x->dout, x->out, x->dinp, x->fc, x->dfc,
                             x->act, x->dact, x->work};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) kernels_free(tensors[i]);
}
static MlpGrads case_grads(const Case *x) {
    const Mlp *l = &x->layer;
    const size_t fcw = (size_t)x->FC * (size_t)l->C;
    MlpGrads g = {.fcw = x->grads, .projw = x->grads + fcw + x->FC};
    if (l->fcb) {
        g.fcb = x->grads + fcw;
        g.projb = g.projw + (size_t)l->C * (size_t)l->F;
    }
    return g;
}

static void layers_in_turn(Case *x, const RowBlocks *blocks) {
    const Mlp *l = &x->layer;
    const MlpGrads g = case_grads(x);
    const int T = x->T;
    matmul_forward(x->fc, x->inp, l->fcw, l->fcb, T, l->C, x->FC);
    if (l->gated) gated_forward(x->act, x->fc, l->kind, T, l->F);
    else          activation_forward(x->act, x->fc, l->kind, T, l->F);
    matmul_forward(x->out, x->act, l->projw, l->projb, T, l->F, l->C);
    matmul_backward(x->dact, g.projw, g.projb, x->dout, x->act, l->projw, T, l->F, l->C, blocks);
    if (l->gated) gated_backward(x->dfc, x->dact, x->fc, l->kind, T, l->F);
    else          activation_backward(x->dfc, x->dact, x->fc, l->kind, T, l->F);
    matmul_backward(x->dinp, g.fcw, g.fcb, x->dfc, x->inp, l->fcw, T, l->C, x->FC, blocks);
}
static void layers_in_one(Case *x, const RowBlocks *blocks) {
    const MlpGrads g = case_grads(x);
    mlp_forward(x->out, x->inp, &x->layer, x->work, x->T);
    mlp_backward(x->dinp, &g, x->dout, x->inp, &x->layer, x->dfc, x->act, x->work, x->T, blocks);
}

// out, dinp and the gradients of either way
static real *results(Case *x, void (*run)(Case *, const RowBlocks *), const RowBlocks *blocks) {
    const size_t n = (size_t)x->T * (size_t)x->layer.C;
    real *r = kernels_alloc(2*n + x->num_weights);
    if (!r) exit(1);
    kernels_zero(x->grads, x->num_weights);
    if (blocks) {                               // those of matrices are written, whatever is there
        RowBlocks first = *blocks;
        first.fresh = 1;
        for (size_t i = 0; i < x->num_weights; i++) x->grads[i] = 7;
        run(x, &first);
    }
    run(x, blocks);
    run(x, blocks);                             // gradients are added to
    memcpy(r, x->out, n * sizeof *r);
    memcpy(r + n, x->dinp, n * sizeof *r);
    memcpy(r + 2*n, x->grads, x->num_weights * sizeof *r);
    return r;
}
static int have_unit(void) {
    if (kernels_init("amx") < 0) return 0;
    kernels_precision(1);
    return 1;
}

static void test_the_layer_in_one_has_the_bits_of_its_layers_in_turn(void) {
    static const struct { int T, C, F; } size[] = {{1, 32, 32}, {33, 32, 160}, {70, 64, 64}};
    static const int starts[] = {0, 1, 20, 33, 65, 70};
    const RowBlocks blocks = {.start = starts, .count = 5};
    for (int i = 0; i < 3*2*2*NUM_ACTIVATIONS; i++) {
        kernels_set_threads(1 + i%2 * 2);
        if (!have_unit()) break;
        const int s = i % 3, gated = i/3 % 2, biased = i/6 % 2;
        Case x = case_new(size[s].T, size[s].C, size[s].F, gated, (Activation)(i/12), biased);
        const RowBlocks *b = s == 2 ? &blocks : NULL;
        CHECK(mlp_fused(&x.layer));
        real *want = results(&x, layers_in_turn, b);
        real *got = results(&x, layers_in_one, b);
        const size_t n = 2 * (size_t)x.T * (size_t)x.layer.C + x.num_weights;
        CHECK(!memcmp(want, got, n * sizeof *want));
        kernels_free(got);
        kernels_free(want);
        case_free(&x);
    }
}

static void test_only_the_unit_with_whole_blocks_and_bf16_computes_it_in_one(void) {
    const Mlp whole = {.C = 64, .F = 96}, odd = {.C = 64, .F = 100};
    CHECK(kernels_init("scalar") == 0 && !mlp_fused(&whole));
    if (!have_unit()) return;
    CHECK(mlp_fused(&whole) && !mlp_fused(&odd));
    kernels_precision(0);
    CHECK(!mlp_fused(&whole));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_the_layer_in_one_has_the_bits_of_its_layers_in_turn);
    RUN(test_only_the_unit_with_whole_blocks_and_bf16_computes_it_in_one);
    kernels_free(matmul_work_memory);
    return test_summary();
}

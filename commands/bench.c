/* bench.c - how fast is this machine, and what part of that do we use (more bench).
 *
 * A stage is one list of measurements, run round after round on a model of one shape with random weights; it
 * reports medians over the rounds.  Each measurement stands between two short bursts of its limit, the fused
 * multiply-adds or the memory bandwidth of as many threads: machines are noisy, and the share of the limit is
 * steadier than the speed.                                                                                 */
#ifndef BENCH_C
#define BENCH_C
#include "check.c"
#include "../generate.c"
#include "../objectives.c"

enum { MAX_MEASURES = 1024, STAGE_SECONDS = 3, STREAM = 1 << 24,
       LM_ROWS = 256, STEP_PAIRS = 8, REAL_STEPS = 4 };

static const struct Shape {
    const char *name;
    Family family;
    int channels, layers, heads, kv_heads, head_dim, hidden, vocab_size, rotary_dims, positions, tied;
    int texts;                                                        // of LM_ROWS tokens in a step
} shapes[] = {
    {"base",        FAMILY_NEOX,   256,  4,  4,  4,  64, 1024,   4096,  32,  2048, 1, 16},     // data/base
    {"pythia-70m",  FAMILY_NEOX,   512,  6,  8,  8,  64, 2048,  50304,  16,  2048, 0,  4},
    {"pythia-160m", FAMILY_NEOX,   768, 12, 12, 12,  64, 3072,  50304,  16,  2048, 0,  4},
    {"pythia-410m", FAMILY_NEOX,  1024, 24, 16, 16,  64, 4096,  50304,  16,  2048, 0,  4},
    {"gpt2-124m",   FAMILY_GPT2,   768, 12, 12, 12,  64, 3072,  50257,   0,  1024, 1,  4},
    {"qwen3-0.6b",  FAMILY_QWEN3, 1024, 28, 16,  8, 128, 3072, 151936, 128, 40960, 1,  4},
};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes };

// (T,C) to (T,OC): from small and odd ones to those of models of 0.1 to 1 G parameters
static const struct { int T, C, OC; } products[] = {
    {7, 300, 50}, {33, 65, 129}, {200, 64, 64},
    {512, 512, 512},    {512, 512, 1536},   {512, 512, 2048},
    {512, 1024, 1024},  {512, 1024, 3072},  {512, 1024, 4096},
    {512, 2048, 2048},  {512, 2048, 6144},  {512, 2048, 8192},
    {2048, 512, 512},   {2048, 512, 1536},  {2048, 512, 2048},
    {2048, 1024, 1024}, {2048, 1024, 3072}, {2048, 1024, 4096}, {2048, 2048, 2048}};
enum { NUM_PRODUCTS = sizeof products / sizeof *products };

static const char *const precision_names[] = {"fp32", "bf16"};

typedef struct Bench Bench;
typedef struct Measure {
    char name[64];
    int threads, bf16, wanted;
    int (*run)(Bench *b, const struct Measure *x);          // 0, or -1 after fail(); NULL: the limit itself
    void (*before)(Bench *b);                               // each run, not timed
    const Objective *objective;                             // of a step
    int kind, way, T, C, OC;                                // of a layer or a product; T: most rows of a step
    size_t first, end;                                      // steps of the plan
    double work;                                            // operations; bytes when it streams
    int streams, tokens, pairs;
    int than, alone;                                        // compared with, or -1; alone: on one thread
    int runs;                                               // in a row, so that a clock can see them
    double seconds[MAX_ROUNDS], speed[MAX_ROUNDS], limit[MAX_ROUNDS];        // of one run; 1e9 units a second
} Measure;

// one matrix product and what surrounds it: out(T,OC) = inp(T,C) w(OC,C)^T + b, and the gradient of each
typedef struct { int C, OC; real *inp, *w, *b, *out, *dinp, *dw, *db, *dout; } Linear;

struct Bench {
    real *stream_memory[3];                                 // (STREAM) each
    double burst[2], tile_burst[2];                         // a thread's operations in one, fp32 and bf16
    int slow;                                               // divides all rows
    const struct Shape *shape;                              // of the stage; NULL: no model's
    int threads, bf16, rounds;                              // of what is being added; of the stage
    Measure measure[MAX_MEASURES];
    int num_measures, num_reported;
    Run run;                                                // model, data and steps of the stage
    Linear product;
    Output out;
};

// ------------------------------------------------------------------------------------- limits of the machine

/* The limit of a measurement: GB/s of out = a + b (bytes named: two arrays read, one written); or GFLOP/s of
 * the fastest of three bursts of multiply-adds.                                                            */
static double limit(const Bench *b, int streams, int bf16) {
    double start = now(), best = 0;
    if (streams) {
        add_forward(b->stream_memory[2], b->stream_memory[0], b->stream_memory[1], STREAM);
        return 12.0 * STREAM / (now() - start) * 1e-9;
    }
    for (int i = 0; i < 3; i++) {
        start = now();
        double operations = kernels_burst(bf16, b->burst[bf16]);
        best = fmax(best, operations / (now() - start) * 1e-9);
    }
    return best;
}

// n numbers in [-size/2, size/2); as a word of two bf16 numbers each is twice the same, for the tile's panels
static void fill(real *tensor, size_t n, float size) {
    real host[4096];
    for (size_t i = 0; i < 4096; i++) {
        uint32_t u = bits_of(((float)(random_mix(i) >> 40) * 0x1p-24f - 0.5f) * size) & 0xffff0000u;
        host[i] = float_of(u | u >> 16);
    }
    for (size_t at = 0; at < n; at += 4096) kernels_write(tensor + at, host, n - at < 4096 ? n - at : 4096);
}

static int bench_init(Bench *b) {
    for (int k = 0; k < 3; k++) {
        if (!(b->stream_memory[k] = kernels_alloc(STREAM))) return -1;
        fill(b->stream_memory[k], STREAM, 1);
    }
    for (int bf16 = 0; bf16 < 2; bf16++) {                            // until a burst takes 2 ms
        double fastest = 0, *operations = &b->burst[bf16];
        for (*operations = 1e5; *operations < 1e9; *operations *= 2) {
            fastest = fmax(fastest, limit(b, 0, bf16));               // the first wakes the threads
            if (*operations * kernels_threads() / fastest > 2e6) break;
        }
        b->tile_burst[bf16] = kernels_burst_tile(bf16, *operations) / kernels_threads();
    }
    b->slow = kernels_emulate_fma() ? 16 : 1;
    return 0;
}

// ---------------------------------------------------------------------------------------------- measurements

static int bench_wanted(const char *name) {
    for (int i = 0; i < opt.only.n; i++)
        if (!strncmp(name, opt.only.item[i], strlen(opt.only.item[i]))) return 1;
    return opt.only.n == 0;
}

// Adds a measurement for the current threads and precision; returns it, for what x has not set.
PRINTF_LIKE(3, 4) static Measure *measure_add(Bench *b, Measure x, const char *format, ...) {
    Measure *m = &b->measure[b->num_measures++];
    va_list args;
    assert(b->num_measures <= MAX_MEASURES);
    *m = x;
    va_start(args, format);
    vsnprintf(m->name, sizeof m->name, format, args);
    va_end(args);
    m->threads = b->threads, m->bf16 = b->bf16, m->wanted = bench_wanted(m->name);
    m->runs = 1, m->than = m->alone = -1;
    for (int k = 0; m->threads > 1 && k < b->num_measures; k++) {
        const Measure *y = &b->measure[k];
        if (y->threads == 1 && y->bf16 == m->bf16 && !strcmp(y->name, m->name)) m->alone = k;
    }
    return m;
}

// -------------------------------------------------------------------------------------------------- products

enum { FORWARD = 1, DX = 2, DW = 4, BACKWARD = DX | DW };

static void linear_run(const Linear *x, int T, int way) {
    if (way & FORWARD) matmul_forward(x->out, x->inp, x->w, x->b, T, x->C, x->OC);
    if (way & BACKWARD)
        matmul_backward(way & DX ? x->dinp : NULL, way & DW ? x->dw : NULL, way & DW ? x->db : NULL,
                        x->dout, x->inp, x->w, T, x->C, x->OC, NULL);
}

static int product_run(Bench *b, const Measure *x) {
    Linear p = b->product;
    p.C = x->C, p.OC = x->OC;
    linear_run(&p, x->T, x->way);
    return 0;
}
static void add_product(Bench *b, int T, int C, int OC) {
    static const char *const names[] = {[FORWARD] = "forward", [DX] = "dX", [DW] = "dW"};
    if (T > b->slow) T /= b->slow;
    Measure x = {.run = product_run, .T = T, .C = C, .OC = OC, .work = 2.0 * T * C * OC};
    for (x.way = FORWARD; x.way <= DW; x.way *= 2)
        measure_add(b, x, "product %dx%dx%d %s", T, C, OC, names[x.way]);
}

// Room for the largest of the stage's products. 0, or -1 after fail().
static int product_init(Bench *b) {
    size_t inp = 0, w = 0, out = 0;
    for (const Measure *x = b->measure; x < b->measure + b->num_measures; x++) {
        if (!x->wanted || x->run != product_run) continue;
        inp = max_size(inp, (size_t)x->T * (size_t)x->C);
        w   = max_size(w, (size_t)x->OC * (size_t)x->C);
        out = max_size(out, (size_t)x->T * (size_t)x->OC);
    }
    Linear *p = &b->product;
    if (!(p->inp = kernels_alloc(inp)) || !(p->w = kernels_alloc(w)) || !(p->out = kernels_alloc(out))
        || !(p->dinp = kernels_alloc(inp)) || !(p->dw = kernels_alloc(w)) || !(p->dout = kernels_alloc(out)))
        return -1;
    fill(p->inp, inp, 1), fill(p->w, w, 1), fill(p->dout, out, 1);
    return 0;
}
static void product_free(Linear *p) {
    real *owned[] = {p->inp, p->w, p->out, p->dinp, p->dw, p->dout};
    for (int i = 0; i < 6; i++) kernels_free(owned[i]);
    memset(p, 0, sizeof *p);
}

// ----------------------------------------------------------------------------------------------------- steps

// query-key pairs that attention computes in all segments
static double batch_pairs(const Batch *b) {
    double pairs = 0;
    for (int s = 0; s < b->S; s++) {
        int before = 0;
        for (int i = b->seg[s].parent; i >= 0; i = b->seg[i].parent) before += b->seg[i].len;
        pairs += attention_pairs(before, b->seg[s].len);
    }
    return pairs;
}

static double block_weights(const Config *c) {                        // of all layers' matrices
    const double outputs = (double)model_qkv_width(c) + (double)model_att_width(c)
                         + (double)model_fc_width(c) + c->hidden;
    return c->num_layers * (double)c->channels * outputs;
}
// floating-point operations of the matrix products in a forward and backward: 2 for each multiply-add
static double step_flops(const Config *c, const Batch *b) {
    double C = c->channels, AW = (double)model_att_width(c), scored = 0;
    for (int t = 0; t < b->T; t++) scored += !c->reward && b->target[t] >= 0;
    return 6 * b->T * block_weights(c) + 6 * scored * C * c->vocab_size        // forward, dX, dW
         + 14 * c->num_layers * AW * batch_pairs(b);                  // two products forward, five backward
}

static const AdamW bench_adamw = {1e-6, 0.9, 0.999, 1e-8, 0.1, 1, 1, 1};

// what train() does for each of these steps, without the log
static int step_run(Bench *b, const Measure *x) {
    Run *run = &b->run;
    for (size_t s = x->first; s < x->end; s++) {
        AdamW o = bench_adamw;
        double loss = 0;
        size_t at = s ? run->step_end[s-1] : 0, end = run->step_end[s];
        model_zero_grads(&run->model);
        run->objective = x->objective;
        run->limit = micro_batch_limit(run, at, end);
        if (x->objective->trainer->step(run, at, end, &loss) < 0) return -1;
        model_finish_grads(&run->model);
        o.scale = fmin(1, 1 / (model_grad_norm(&run->model) + 1e-6));
        model_update(&run->model, &o);
    }
    return 0;
}

// A measurement of the steps [first, end) of the plan; the pack holds their last micro-batch. NULL: fail().
static Measure *add_steps(Bench *b, const char *name, const Objective *o, size_t first, size_t end) {
    Run *run = &b->run;
    const Config *c = &run->model.config;
    Measure x = {.run = step_run, .first = first, .end = end, .objective = o};
    run->objective = o;
    for (size_t s = first; s < end; s++) {
        size_t at = s ? run->step_end[s-1] : 0;
        run->limit = micro_batch_limit(run, at, run->step_end[s]);
        while (at < run->step_end[s]) {
            if (!(at = next_micro_batch(run, at, run->step_end[s]))) return NULL;
            Batch batch = pack_batch(&run->pack);
            x.work += step_flops(c, &batch);
            x.pairs += batch.B / 2;
            x.tokens += batch.T;
            for (int t = 0; t < batch.T && o->loss && !o->linear; t++)       // the logits are computed twice
                x.work += batch.target[t] < 0 ? 0 : 2.0 * c->channels * c->vocab_size;
            if (batch.T > x.T) x.T = batch.T;
        }
    }
    return measure_add(b, x, "%s", name);
}

// Records of a random prompt of P tokens and so many answers of 68 to 188 tokens, 128 on average over 16.
static int random_data(Dataset *d, int records, int P, int answers, int V) {
    size_t n = (size_t)records * (size_t)(P + 188 * answers);
    memset(d, 0, sizeof *d);
    d->record = allocate((size_t)records, sizeof *d->record);
    d->answer = allocate((size_t)(records * answers), sizeof *d->answer);
    d->token = allocate(n, sizeof *d->token);
    if (!d->record || !d->answer || !d->token) return -1;
    for (size_t i = 0; i < n; i++) d->token[i] = (int)random_below((uint32_t)V, 1, STREAM_TEST, 9, i);
    for (int r = 0; r < records; r++) {
        int first = r * answers;
        Record *record = &d->record[d->num_records++];
        *record = (Record){.prompt = {d->num_tokens, P}, .first = first, .count = answers, .weight = 1};
        d->num_tokens += (size_t)P;
        for (int i = first; i < first + answers; i++) {
            int len = 68 + 8 * (7 * i % 16);
            d->answer[d->num_answers++].tokens = (Span){d->num_tokens, len};
            d->num_tokens += (size_t)len;
        }
    }
    return 0;
}

/* The pairs item[0..n) of d as most programs compute them: the prompt repeated before each answer, and every
 * text of a step as long as its longest.  The padding is ordinary rows: only what they cost matters here. */
static int padded_data(Dataset *p, const Dataset *d, const Item *item, int n) {
    size_t capacity = 0;
    memset(p, 0, sizeof *p);
    p->record = allocate((size_t)n, sizeof *p->record);
    p->answer = allocate(2 * (size_t)n, sizeof *p->answer);
    if (!p->record || !p->answer) return -1;
    for (int i = 0, longest = 0; i < 2*n; i++) {
        if (i % (2*STEP_PAIRS) == 0) longest = 0;
        for (int k = i; i % (2*STEP_PAIRS) == 0 && k < i + 2*STEP_PAIRS; k++) {
            const Record *r = &d->record[item[k / 2].record];
            int len = r->prompt.len + d->answer[r->first + k % 2].tokens.len;
            longest = len > longest ? len : longest;
        }
        if (reserve(&p->token, &capacity, p->num_tokens + (size_t)longest, sizeof(int)) < 0) return -1;
        const Record *r = &d->record[item[i / 2].record];
        const Span *answer = &d->answer[r->first + i % 2].tokens;
        int *token = p->token + p->num_tokens;
        memset(token, 0, (size_t)longest * sizeof *token);
        memcpy(token, d->token + r->prompt.start, (size_t)r->prompt.len * sizeof *token);
        memcpy(token + r->prompt.len, d->token + answer->start, (size_t)answer->len * sizeof *token);
        p->answer[p->num_answers++].tokens = (Span){p->num_tokens, longest};
        p->num_tokens += (size_t)longest;
        if (i % 2 == 0) continue;
        Record *pair = &p->record[p->num_records++];
        *pair = (Record){.first = i - 1, .count = 2, .margin = r->margin, .weight = r->weight};
    }
    return 0;
}

// Adds the pairs to the plan in steps, packed from data[set] and then padded from data[set + 1].
static int plan_both(Run *run, int set, const Item *item, int n) {
    if (padded_data(&run->data[set + 1], &run->data[set], item, n) < 0) return -1;
    for (int i = 0; i < 2*n; i++)
        if (plan_item(run, i < n ? (Item){set, item[i].record, 0} : (Item){set + 1, i - n, 0}) < 0
            || ((i + 1) % STEP_PAIRS == 0 && plan_step_ends(run) < 0)) return -1;
    return 0;
}

// ---------------------------------------------------------------------------------------------------- layers

enum { QKV, ATT_OUT, FC, PROJ, VOCABULARY, ATTENTION, EMBED, NORM, HEAD_NORM, ROTARY, ACT, GATED, RESIDUAL,
       LOGP, REWARD_HEAD, ZERO, TIE, GRAD_NORM, ADAMW, SUBNORMAL, NUM_LAYERS };
static const struct { const char *name; int both; } layers[NUM_LAYERS] = {    // both: forward and backward
    [QKV]        = {"queries, keys, values", 1}, [ATT_OUT]     = {"attention out", 1},
    [FC]         = {"feed-forward in", 1},       [PROJ]        = {"feed-forward out", 1},
    [VOCABULARY] = {"vocabulary", 1},            [ATTENTION]   = {"attention", 1},
    [EMBED]      = {"embed", 1},                 [NORM]        = {"norm", 1},
    [HEAD_NORM]  = {"head norm", 1},             [ROTARY]      = {"rotary", 1},
    [ACT]        = {"activation", 1},            [GATED]       = {"gated activation", 1},
    [RESIDUAL]   = {"residual", 1},              [LOGP]        = {"loss with vocabulary", 0},
    [ZERO]       = {"zero gradients", 0},        [REWARD_HEAD] = {"pool, head", 0},
    [TIE]        = {"tied gradients", 0},        [GRAD_NORM]   = {"gradient norm", 0},
    [ADAMW]      = {"adamw", 0},                 [SUBNORMAL]   = {"adamw, subnormal", 0}};

// product i, QKV to VOCABULARY, of block l with the tensors that forward and backward in model.c use
static Linear linear(const Model *m, int l, int i) {
    const Config *c = &m->config;
    const Acts *s = &m->acts;
    const BlockActs *a = &s->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    real *dy = s->dres;
    const int C = c->channels, F = c->hidden;
    const int QO = (int)model_qkv_width(c), AW = (int)model_att_width(c), FO = (int)model_fc_width(c);
    const size_t rows = LOGITS_ROWS * (size_t)c->vocab_size, drows = rows + LOGITS_ROWS * (size_t)C;
    switch (i) {
    case QKV:     return (Linear){C, QO, a->ln1, p->qkvw, p->qkvb, a->qkv, s->b, g->qkvw, g->qkvb, s->dwide};
    case ATT_OUT: return (Linear){AW, C, a->att, p->attw, p->attb, s->a, s->dact, g->attw, g->attb, dy};
    case FC:      return (Linear){C, FO, a->ln2, p->fcw, p->fcb, a->fc, s->b, g->fcw, g->fcb, s->dwide};
    case PROJ:    return (Linear){F, C, a->act, p->projw, p->projb, s->b, s->dact, g->projw, g->projb, dy};
    default: {
        Linear x = {.C = C, .OC = c->vocab_size, .w = model_output_matrix(m), .out = s->logits, .dout = s->logits};
        if (s->logits) x.inp = s->logits + rows, x.dinp = s->logits + drows;
        x.dw = c->tied ? m->tied_memory : m->grads.unembed;
        return x;
    }
    }
}

// A step's work in such a layer, 0 where the model has none: operations, or bytes if each operand moved once.
static double layer_work(const Model *m, const Batch *s, int kind, int back, int *streams) {
    const Config *c = &m->config;
    const double T = s->T, C = c->channels, L = c->num_layers, V = c->vocab_size;
    const double LTC = L*T*C, LTF = L*T*c->hidden, N = (double)model_num_params(c);
    const double heads = c->num_heads + c->num_kv_heads;
    double rows = 0;
    *streams = kind > ATTENTION && kind != LOGP;
    for (int b = 0; b < s->B; b++) rows += c->pooling == POOL_MEAN ? s->text[b].len : 1;
    switch (kind) {
    case ATTENTION:   return (back ? 10 : 4) * L * (double)model_att_width(c) * batch_pairs(s);
    case EMBED:       return 4 * (back ? 3 + 2*c->learned_positions : 2 + c->learned_positions) * T*C;
    case NORM:        return 4 * (back ? 4 : 2) * (2*LTC + T*C);
    case HEAD_NORM:   return 4 * c->qk_norm * 3 * L*T*heads * c->head_dim;
    case ROTARY:      return 4 * 2 * L*T*heads * c->rotary_dims;
    case ACT:         return 4 * !c->gated * (back ? 3 : 2) * LTF;
    case GATED:       return 4 * c->gated * (back ? 5 : 3) * LTF;
    case RESIDUAL:    return 4 * (back ? 3 * c->parallel_residual : c->parallel_residual ? 4 : 6) * LTC;
    case LOGP:        return 6 * T*C*V;
    case REWARD_HEAD: return 4 * 3 * rows*C;
    case ZERO:        return 4 * (N + c->tied * V*C);
    case TIE:         return 4 * 3 * c->tied * V*C;
    case GRAD_NORM:   return 4 * N;
    case ADAMW: case SUBNORMAL: return 4 * 7 * N;           // w, m, v read and written, the gradient read
    default: {
        Linear x = linear(m, 0, kind);
        return 2 * (1 + back) * T * x.C * x.OC * (kind == VOCABULARY ? 1 : L);
    }
    }
}

// The layer of one block, as in block_forward and block_backward.
static void block_layer(const Model *m, const Batch *s, int kind, int back, int l) {
    const Config *c = &m->config;
    const Acts *w = &m->acts;
    const BlockActs *a = &w->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const int T = s->T, C = c->channels, NH = c->num_heads, NKV = c->num_kv_heads, HD = c->head_dim;
    const int F = c->hidden, QO = (int)model_qkv_width(c), half = c->rotary_dims / 2, rms = c->rms_norm;
    const real *sine = m->rope_memory + (size_t)c->max_positions*half;
    real *y = l + 1 < c->num_layers ? w->block[l+1].res : w->res;
    const Linear x = linear(m, l, kind);
    switch (kind) {
    case QKV: case ATT_OUT: case FC: case PROJ:
        linear_run(&x, T, back ? BACKWARD : FORWARD);
        break;
    case ATTENTION:
        if (back) attention_backward(w->dwide, w->dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
        else attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
        break;
    case NORM:
        if (back) {
            norm_backward(w->a, g->ln2w, g->ln2b, w->b, a->res2, a->mean2, a->rstd2, p->ln2w, rms, T, C);
            norm_backward(w->a, g->ln1w, g->ln1b, w->b, a->res, a->mean1, a->rstd1, p->ln1w, rms, T, C);
        } else {
            norm_forward(a->ln1, a->mean1, a->rstd1, a->res, p->ln1w, p->ln1b, c->norm_eps, rms, T, C);
            norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, p->ln2w, p->ln2b, c->norm_eps, rms, T, C);
        }
        break;
    case HEAD_NORM:
        if (back) {
            head_norm_backward(w->dwide, g->qnormw, a->pre, a->rstdq, p->qnormw, T, NH, HD, QO);
            head_norm_backward(w->dwide + NH*HD, g->knormw, a->pre + NH*HD, a->rstdk, p->knormw, T, NKV, HD,
                               QO);
        } else {
            head_norm_forward(a->qkv, a->pre, a->rstdq, p->qnormw, c->norm_eps, T, NH, HD, QO);
            head_norm_forward(a->qkv + NH*HD, a->pre + NH*HD, a->rstdk, p->knormw, c->norm_eps, T, NKV, HD,
                              QO);
        }
        break;
    case ROTARY:
        rotary(back ? w->dwide : a->qkv, m->rope_memory, sine, s->position, back ? -1 : 1, T, NH + NKV, HD,
               c->rotary_dims, QO);
        break;
    case ACT:
        if (back) activation_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        else activation_forward(a->act, a->fc, c->activation, T, F);
        break;
    case GATED:
        if (back) gated_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        else gated_forward(a->act, a->fc, c->activation, T, F);
        break;
    case RESIDUAL:
        if (back) add_forward(w->dres, w->dres, w->a, (size_t)T*C);
        else if (c->parallel_residual) add3_forward(y, a->res, w->a, w->b, (size_t)T*C);
        else add_forward(a->res2, a->res, w->a, (size_t)T*C), add_forward(y, a->res2, w->b, (size_t)T*C);
    }
}

// All of a step's calls of one layer, on the tensors that the step before it left.
static int layer_run(Bench *b, const Measure *x) {
    Model *m = &b->run.model;
    const Config *c = &m->config;
    const Acts *a = &m->acts;
    const Params *p = &m->params, *g = &m->grads;
    const Batch s = pack_batch(&b->run.pack);
    const int T = s.T, C = c->channels, L = c->num_layers, back = x->way == BACKWARD, rms = c->rms_norm;
    const Linear out = linear(m, 0, VOCABULARY);
    for (int l = 0; l < L; l++) block_layer(m, &s, x->kind, back, back ? L - 1 - l : l);
    switch (x->kind) {
    case VOCABULARY:
        for (int i = 0; i < T; i += LOGITS_ROWS)
            linear_run(&out, T - i < LOGITS_ROWS ? T - i : LOGITS_ROWS, x->way);
        break;
    case EMBED:
        if (back) embed_backward(g->wte, g->wpe, a->dres, s.token, s.position, T, C);
        else embed_forward(a->block[0].res, s.token, s.position, p->wte, p->wpe, T, C);
        break;
    case NORM:
        if (back)
            norm_backward(a->dres, g->lnfw, g->lnfb, a->b, a->res, a->meanf, a->rstdf, p->lnfw, rms, T, C);
        else norm_forward(a->lnf, a->meanf, a->rstdf, a->res, p->lnfw, p->lnfb, c->norm_eps, rms, T, C);
        break;
    case LOGP:                                              // every row is scored
        logp_backward(a->b, out.dw, b->run.value, b->run.dvalue, a->lnf, out.w, m->row_memory,
                      m->row_memory + m->T, T, C, c->vocab_size, a->logits, LOGITS_ROWS, NULL);
        break;
    case REWARD_HEAD:
        pool_forward(a->pooled, a->lnf, s.text, c->pooling, s.B, C);
        head_forward(a->reward, a->pooled, p->head, s.B, C);
        head_backward(a->b, g->head, a->reward, a->pooled, p->head, s.text, c->pooling, s.B, C);
        break;
    case ZERO:      model_zero_grads(m);                break;
    case TIE:       model_finish_grads(m);              break;
    case GRAD_NORM: model_grad_norm(m);                 break;
    case ADAMW: case SUBNORMAL: model_update(m, &bench_adamw);
    }
    return 0;
}
static void make_subnormal(Bench *b) {
    fill(b->run.model.grads_memory, b->run.model.num_params, 0x1p-127f);
    fill(b->run.model.moments_memory, 2 * b->run.model.num_params, 0x1p-127f);
}

// The layers of this model, each compared with the step before it; of a reward model pool and head alone.
static void add_layers(Bench *b) {
    static const char *const ways[] = {" forward", " backward"};
    const Model *m = &b->run.model;
    const Batch s = pack_batch(&b->run.pack);
    int step = b->num_measures - 1;
    for (int kind = 0; kind < NUM_LAYERS; kind++)
        for (int back = 0; back <= layers[kind].both; back++) {
            Measure x = {.run = layer_run, .kind = kind, .way = back ? BACKWARD : FORWARD};
            x.work = layer_work(m, &s, kind, back, &x.streams);
            if (kind == SUBNORMAL) x.before = make_subnormal;
            if (!x.work || (kind == REWARD_HEAD) != m->config.reward) continue;
            int than = kind == SUBNORMAL ? b->num_measures - 1 : step;                  // ADAMW
            const char *way = layers[kind].both ? ways[back] : "";
            measure_add(b, x, "layer %s%s", layers[kind].name, way)->than = than;
        }
}

// ---------------------------------------------------------------------------------------------------- rounds

/* Seconds of one run, or -1 after fail().  Runs of a small product are doubled until together they take 1 ms;
 * layers and steps run once, so that they find the caches as the burst before left them.                   */
static double measure(Bench *b, Measure *x) {
    for (;; x->runs *= 2) {
        double sum = 0;
        for (int r = 0; r < x->runs; r++) {
            if (x->before) x->before(b);
            double start = now();
            if (x->run(b, x) < 0) return -1;
            sum += now() - start;
        }
        if (x->run != product_run || sum > 1e-3 || x->runs >= 1 << 16) return sum / x->runs;
    }
}

static int bench_rounds(Bench *b) {
    double start = now();
    for (b->rounds = 0; b->rounds < (opt.rounds ? opt.rounds : 15); b->rounds++) {
        const int n = b->rounds;
        if (!opt.rounds && n >= 3 && now() - start > STAGE_SECONDS) break;
        const Measure *last = NULL;
        double before = 0;
        for (int k = 0; k < b->num_measures; k++) {
            Measure *x = &b->measure[k];
            if (!x->wanted) continue;
            kernels_set_threads(x->threads);
            kernels_precision(x->bf16);
            if (!last || last->threads != x->threads || last->streams != x->streams || last->bf16 != x->bf16)
                before = limit(b, x->streams, x->bf16);
            if (x->run && (x->seconds[n] = measure(b, x)) < 0) return -1;
            double after = limit(b, x->streams, x->bf16);
            x->limit[n] = fmax(before, after);
            if (!x->run) x->seconds[n] = x->work / x->limit[n] * 1e-9;
            x->speed[n] = x->work / x->seconds[n] * 1e-9;
            before = after, last = x;
        }
    }
    return 0;
}

// --------------------------------------------------------------------------------------------------- reports

// median over the rounds of x, or of x / y
static double median(const double *x, const double *y, int n) {
    double ratio[MAX_ROUNDS];
    for (int i = 0; i < n; i++) ratio[i] = y ? x[i] / y[i] : x[i];
    qsort(ratio, (size_t)n, sizeof *ratio, compare_double);
    return sorted_quantile(ratio, n, .5);
}

static void json_start(Buffer *json, const Bench *b, const Measure *x, const char *name) {
    buffer_printf(json, "{\"name\":\"%s\"", name);
    if (b->shape) buffer_printf(json, ",\"shape\":\"%s\"", b->shape->name);
    buffer_printf(json, ",\"isa\":\"%s\",\"threads\":%d,\"precision\":\"%s\",\"rounds\":%d", kernels_name(),
                  x->threads, precision_names[x->bf16], b->rounds);
}

// A line of the table and one of JSON.
static void report_measure(Buffer *json, const Bench *b, const Measure *x) {
    const char *unit = x->streams ? "GB/s" : "GFLOP/s";
    double seconds = median(x->seconds, NULL, b->rounds), value = median(x->speed, NULL, b->rounds);
    double share = median(x->speed, x->limit, b->rounds), ratio;
    printf("    %-38s %8.1f %-7s", x->name, value, unit);
    json_start(json, b, x, x->name);
    buffer_printf(json, ",\"value\":%.5g,\"unit\":\"%s\",\"share\":%.4g", value, unit, share);
    if (x->run) {
        printf("  %.2f of %s  %9.3f ms", share, x->streams ? "memory" : "peak  ", seconds * 1e3);
        buffer_printf(json, ",\"ms\":%.6g", seconds * 1e3);
    }
    if (x->run == product_run) {
        int M = x->way == DW ? x->OC : x->T, N = x->way == FORWARD ? x->OC : x->C;
        int K = x->way == FORWARD ? x->C : x->way == DX ? x->OC : x->T;
        buffer_printf(json, ",\"M\":%d,\"N\":%d,\"K\":%d", M, N, K);
    }
    if (x->tokens) {
        printf("  %.0f tokens/s of %d", x->tokens / seconds, x->tokens);
        buffer_printf(json, ",\"tokens\":%d,\"tokens_per_s\":%.5g", x->tokens, x->tokens / seconds);
    }
    if (x->pairs) {
        printf("  %.2f pairs/s", x->pairs / seconds);
        buffer_printf(json, ",\"pairs\":%d,\"pairs_per_s\":%.5g", x->pairs, x->pairs / seconds);
    }
    if (x->than >= 0) {
        const Measure *y = &b->measure[x->than];
        printf("  %.3f x the time of %s", ratio = median(x->seconds, y->seconds, b->rounds), y->name);
        buffer_printf(json, ",\"than\":\"%s\",\"time_ratio\":%.4g", y->name, ratio);
    }
    if (x->alone >= 0 && b->measure[x->alone].wanted) {
        printf("  %.2f x one thread", ratio = median(x->speed, b->measure[x->alone].speed, b->rounds));
        buffer_printf(json, ",\"speedup\":%.4g", ratio);
    }
    printf("\n");
    buffer_printf(json, "}\n");
}

// What the step at measure[k] consists of, if all of its layers were measured.
static void report_parts(Buffer *json, const Bench *b, int k) {
    static const char *const names[] = {"parts: all layers", "parts: attention", "parts: not matrix product"};
    double share[3] = {0, 0, 1};
    for (int i = k + 1; i < b->num_measures && b->measure[i].than == k; i++) {
        const Measure *x = &b->measure[i];
        double part = x->wanted ? median(x->seconds, b->measure[k].seconds, b->rounds) : NAN;
        if (x->kind != VOCABULARY) share[0] += part;        // that is in LOGP too
        if (x->kind == ATTENTION) share[1] += part;
        if (x->kind <= VOCABULARY) share[2] -= part;
    }
    for (int i = 0; i < 3 && isfinite(share[0]); i++) {
        printf("    %-38s %8.1f %% of the step\n", names[i], 100 * share[i]);
        json_start(json, b, &b->measure[k], names[i]);
        buffer_printf(json, ",\"value\":%.4g,\"unit\":\"of the step\"}\n", share[i]);
    }
}

static int bench_print(Bench *b) {
    Buffer json = {0};
    const Measure *last = NULL;
    for (int k = 0, step = -1; k < b->num_measures; k++) {
        const Measure *x = &b->measure[k];
        if (x->run == step_run) step = k;
        if (!x->wanted) continue;
        if (!last || x->threads != last->threads || x->bf16 != last->bf16)
            printf("%s, %s, %s, %d thread%s, medians of %d\n", b->shape ? b->shape->name : "machine",
                   kernels_name(), precision_names[x->bf16], x->threads, x->threads == 1 ? "" : "s",
                   b->rounds);
        report_measure(&json, b, x);
        if (x->kind == SUBNORMAL) report_parts(&json, b, step);       // the last layer
        last = x;
        b->num_reported++;
    }
    fflush(stdout);
    int ok = !error_code && (!opt.out || output_write(&b->out, json.data, json.len) == 0);
    buffer_free(&json);
    return ok ? 0 : -1;
}

// ---------------------------------------------------------------------------------------------------- stages

/* The list of a stage: what add_all adds for each precision and number of threads.  Returns how many are
 * wanted, with those that the wanted ones are compared with, or -1 after fail().                           */
static int bench_list(Bench *b, int (*add_all)(Bench *b)) {
    int most = kernels_threads(), wanted = 0;
    b->num_measures = 0;
    for (b->bf16 = 0; b->bf16 < 2; b->bf16++)
        for (b->threads = 1; b->threads <= most; b->threads = b->threads < most ? most : most + 1) {
            if (opt.precision >= 0 && opt.precision != b->bf16) continue;
            if (opt.threads && opt.threads != b->threads) continue;
            if (add_all(b) < 0) return -1;
        }
    for (int k = b->num_measures - 1; k >= 0; k--) {        // a comparison stands after what it needs
        if (b->measure[k].wanted && b->measure[k].than >= 0) b->measure[b->measure[k].than].wanted = 1;
        wanted += b->measure[k].wanted;
    }
    return wanted;
}
static int bench_stage(Bench *b) {
    int most = kernels_threads(), ok = bench_rounds(b) == 0;
    kernels_set_threads(most);
    kernels_precision(0);
    return ok ? bench_print(b) : -1;
}

static int tile_run(Bench *b, const Measure *x) {
    kernels_burst_tile(x->bf16, b->burst[x->bf16]);
    return 0;
}
static int add_machine(Bench *b) {
    measure_add(b, (Measure){.work = 1e9}, "machine FMA");
    measure_add(b, (Measure){.run = tile_run, .work = b->threads * b->tile_burst[b->bf16]}, "machine tile");
    measure_add(b, (Measure){.work = 1e9, .streams = 1}, "machine memory");
    for (int i = 0; i < NUM_PRODUCTS; i++) add_product(b, products[i].T, products[i].C, products[i].OC);
    return 0;
}
static int add_shape_products(Bench *b) {
    for (int i = QKV; i <= VOCABULARY; i++) {
        Linear x = linear(&b->run.model, 0, i);
        add_product(b, LOGITS_ROWS, x.C, x.OC);
        if (i != VOCABULARY) add_product(b, 4 * LOGITS_ROWS, x.C, x.OC);
    }
    return 0;
}
static int product_stage(Bench *b, int (*add_all)(Bench *b)) {
    int wanted = bench_list(b, add_all);
    int ok = wanted == 0 || (wanted > 0 && product_init(b) == 0 && bench_stage(b) == 0);
    product_free(&b->product);
    return ok ? 0 : -1;
}

static int ignore_completion(void *context, const Completion *c) { return (void)context, (void)c, 0; }
static int generate_run(Bench *b, const Measure *x) {
    const Sampling s = {.top_p = 1, .repetition_penalty = 1, .n = 1, .max_new_tokens = x->tokens,
                        .batch = 1};
    const Prompt prompt = {0, b->run.data[1].token, 64};
    return generate(&b->run.model, NULL, &prompt, 1, &s, ignore_completion, NULL);
}
// One text, one token after the other: every weight is read for each.
static void add_generation(Bench *b) {
    const Config *c = &b->run.model.config;
    Measure x = {.run = generate_run, .T = 64, .tokens = 128, .streams = 1};
    x.work = x.tokens * (b->bf16 ? 2.0 : 4.0) * (block_weights(c) + (double)c->channels * c->vocab_size);
    measure_add(b, x, "generate greedy");
}

static int add_lm(Bench *b) {
    char name[64];
    snprintf(name, sizeof name, "step lm B%d T%d", (int)b->run.step_end[0], LM_ROWS);
    if (!add_steps(b, name, objective_find("lm"), 0, 1)) return -1;
    add_layers(b);
    int sft = b->num_measures;
    Measure *x = add_steps(b, "step sft", objective_find("sft"), 1, 2);
    if (!x || !(x = add_steps(b, "step dpo", objective_find("dpo"), 1, 2))) return -1;
    x->than = sft;
    add_generation(b);
    return 0;
}
static int add_reward(Bench *b) {
    static const char *const names[] = {"step reward", "step reward padded", "step reward real",
                                        "step reward real padded"};
    const size_t real = (b->run.num_steps - 2) / 2, end[] = {1, 2, 2 + real, 2 + 2*real};
    for (int i = 0, packed = 0; i < (real ? 4 : 2); i++) {
        Measure *x = add_steps(b, names[i], objective_find("reward"), i ? end[i-1] : 0, end[i]);
        if (!x) return -1;
        if (i % 2) x->than = packed;
        else packed = b->num_measures - 1;
        if (i == 0) add_layers(b);
    }
    return 0;
}

static Config shape_config(const struct Shape *s, int reward) {
    Config c = small_config(s->family, reward);
    c.vocab_size = s->vocab_size, c.channels = s->channels, c.num_layers = s->layers, c.num_heads = s->heads;
    c.num_kv_heads = s->kv_heads, c.head_dim = s->head_dim, c.hidden = s->hidden, c.tied = s->tied;
    c.rotary_dims = s->rotary_dims, c.max_positions = s->positions;
    return c;
}

// Random texts; or random pairs, and real ones in the sampler's order, packed and padded. 0, or -1.
static int plan_make(Bench *b, Dataset *real) {
    Run *run = &b->run, order = {.objective = objective_find("reward"), .data = real, .num_train = 1};
    int V = run->model.config.vocab_size, texts = b->shape->texts / b->slow, pairs = STEP_PAIRS;
    Item item[STEP_PAIRS];
    run->unit = 1;
    if (!(run->data = allocate(4, sizeof *run->data))) return -1;
    if (!run->model.config.reward) {
        if (texts < 1) texts = 1;
        if (random_data(&run->data[0], texts, LM_ROWS - 1, 0, V) < 0) return -1;
        for (int i = 0; i < texts; i++) if (plan_item(run, (Item){0, i, 0}) < 0) return -1;
        if (plan_step_ends(run) < 0 || random_data(&run->data[1], pairs, 64, 2, V) < 0) return -1;
        for (int i = 0; i < pairs; i++) if (plan_item(run, (Item){1, i, 0}) < 0) return -1;
        return plan_step_ends(run);
    }
    for (int i = 0; i < pairs; i++) item[i] = (Item){0, i, 0};
    if (random_data(&run->data[0], pairs, 64, 2, V) < 0 || plan_both(run, 0, item, pairs) < 0) return -1;
    if (!real) return 0;
    int ok = reward_plan(&order) == 0;
    pairs = order.num_steps < REAL_STEPS ? (int)order.num_steps * STEP_PAIRS : REAL_STEPS * STEP_PAIRS;
    if (ok && !pairs) ok = fail(EX_DATAERR, "%s: fewer than %d pairs", real->path, STEP_PAIRS) == 0;
    run->data[2] = *real;
    ok = ok && plan_both(run, 2, order.item, pairs) == 0;
    free(order.item), free(order.step_end);
    return ok ? 0 : -1;
}

static void stage_free(Run *run) {
    for (int i = 0; run->data && i < 4; i++) {
        if (i != 2) dataset_free(&run->data[i]);            // 2 is the caller's
    }
    reward_close(run);
    policy_close(run);
    run->objective = NULL;
    run_free(run);
}

// Whole steps of a language or reward model and its layers. 0, or -1 after fail().
static int model_stage(Bench *b, Dataset *real, int reward) {
    Run *run = &b->run;
    Model *m = &run->model;
    Config c = m->config = shape_config(b->shape, reward);
    run->objective = objective_find(reward ? "reward" : "lm");
    int T = 0, ok = plan_make(b, real) == 0, wanted = ok ? bench_list(b, reward ? add_reward : add_lm) : -1;
    for (int k = 0; k < b->num_measures; k++)
        if (b->measure[k].wanted && b->measure[k].T > T) T = b->measure[k].T;
    if (wanted > 0)
        ok = model_init(m, c) == 0 && model_init_training(m) == 0 && model_random(m, 1) == 0
          && (reward ? model_random_head(m, 1) == 0 && reward_open(run) == 0 : policy_open(run) == 0) && model_reserve(m, T, 2*STEP_PAIRS) == 0
          && bench_stage(b) == 0;
    stage_free(run);
    return ok && wanted >= 0 ? 0 : -1;
}

static int shape_stages(Bench *b, Dataset *real) {
    b->run.model.config = shape_config(b->shape, 0);
    if (product_stage(b, add_shape_products) < 0) return -1;
    return model_stage(b, NULL, 0) < 0 || model_stage(b, real, 1) < 0 ? -1 : 0;
}

/* more bench: the limits, products, layers and whole steps of each --shape, and steps of real pairs (or NULL)
 * whose tokens are below vocab_size.  0, or -1 after fail().                                               */
int bench_report(Dataset *real, int vocab_size) {
    static Bench b;
    const struct Shape *chosen[NUM_SHAPES] = {&shapes[0]};
    int n = opt.shape.n, ok = 1;
    b.out.fd = -1;
    if (n > NUM_SHAPES) return fail(EX_USAGE, "--shape: more than the %d there are", NUM_SHAPES);
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < NUM_SHAPES && strcmp(opt.shape.item[i], shapes[k].name)) k++;
        if (k == NUM_SHAPES)
            return fail(EX_USAGE, "--shape %s: unknown; see --help for the choices", opt.shape.item[i]);
        chosen[i] = &shapes[k];
    }
    if (!n) n = 1;
    for (int i = 0; real && i < n; i++) {
        if (vocab_size > chosen[i]->vocab_size)
            return fail(EX_USAGE, "--shape %s: it has %d pieces, the tokenizer %d", chosen[i]->name,
                        chosen[i]->vocab_size, vocab_size);
        if (opt.max_length > chosen[i]->positions)
            return fail(EX_USAGE, "--max_length %d: %s has %d positions", opt.max_length, chosen[i]->name,
                        chosen[i]->positions);
    }
    opt.max_length = LM_ROWS;                               // of step_lm's windows; real pairs are cut by now
    opt.per_step_rows = STEP_PAIRS, opt.epochs = 1, opt.micro_batch_tokens = 4096, opt.beta = 0.1;
    opt.label_smoothing = 0;
    if (opt.out && output_open(&b.out, opt.out) < 0) return -1;
    ok = bench_init(&b) == 0 && product_stage(&b, add_machine) == 0;
    for (int i = 0; ok && i < n; i++) {
        b.shape = chosen[i];
        ok = shape_stages(&b, real) == 0;
    }
    if (ok && !b.num_reported) ok = fail(EX_USAGE, "--only: no measurement's name starts like that") == 0;
    if (ok && opt.out) ok = output_close(&b.out) == 0 && output_rename(&b.out) == 0;
    output_drop(&b.out);
    for (int k = 0; k < 3; k++) kernels_free(b.stream_memory[k]);
    return ok ? 0 : -1;
}
#endif

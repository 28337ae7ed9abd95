/* bench.c - how fast is this machine, and what part of that do we use (more bench).
 *
 * A stage is one list of measurements, run round after round on a model of one shape with random
 * weights; it reports medians over the rounds.  Each measurement stands between two short bursts of
 * its limit, the multiply-adds or the memory bandwidth of as many threads: machines are noisy, and
 * the share of the limit is steadier than the speed.
 *
 *     machine          the limits themselves, products of many sizes
 *     for each shape   the products of its layers
 *                      a language model: whole steps, each layer of one, generation
 *                      a reward model: whole steps, of packed pairs and of padded ones */
#ifndef BENCH_C
#define BENCH_C
#include "check.c"
#include "../generate.c"
#include "../objectives.c"

int bench_report(Dataset *pairs, int vocab_size);         // more bench

// -------------------------------------------------------------------------------- what is measured

enum {
    STREAM = 1 << 24,                           // numbers of an array that is streamed through
    STAGE_SECONDS = 3,                          // after three rounds, a stage takes no longer
    LM_ROWS = 256,                              // tokens of a text of language modelling
    STEP_PAIRS = 8,                             // pairs of a step
    REAL_STEPS = 4,                             // steps of the user's own pairs
    PROMPT = 64,                                // tokens of a random prompt
    MAX_MEASURES = 1024,
};

static const struct Shape {
    const char *name;
    Family family;
    int channels, layers, heads, kv_heads, head_dim, hidden;
    int vocab_size, rotary_dims, positions, tied;
    int texts;                                  // of LM_ROWS tokens in a step
} shapes[] = {
    // data/base
    {.name = "base", .family = FAMILY_NEOX, .channels = 256, .layers = 4, .heads = 4, .kv_heads = 4,
     .head_dim = 64, .hidden = 1024, .vocab_size = 4096, .rotary_dims = 32, .positions = 2048,
     .tied = 1, .texts = 16},
    {.name = "pythia-70m", .family = FAMILY_NEOX, .channels = 512, .layers = 6, .heads = 8,
     .kv_heads = 8, .head_dim = 64, .hidden = 2048, .vocab_size = 50304, .rotary_dims = 16,
     .positions = 2048, .texts = 4},
    {.name = "pythia-160m", .family = FAMILY_NEOX, .channels = 768, .layers = 12, .heads = 12,
     .kv_heads = 12, .head_dim = 64, .hidden = 3072, .vocab_size = 50304, .rotary_dims = 16,
     .positions = 2048, .texts = 4},
    {.name = "pythia-410m", .family = FAMILY_NEOX, .channels = 1024, .layers = 24, .heads = 16,
     .kv_heads = 16, .head_dim = 64, .hidden = 4096, .vocab_size = 50304, .rotary_dims = 16,
     .positions = 2048, .texts = 4},
    {.name = "gpt2-124m", .family = FAMILY_GPT2, .channels = 768, .layers = 12, .heads = 12,
     .kv_heads = 12, .head_dim = 64, .hidden = 3072, .vocab_size = 50257, .positions = 1024,
     .tied = 1, .texts = 4},
    {.name = "qwen3-0.6b", .family = FAMILY_QWEN3, .channels = 1024, .layers = 28, .heads = 16,
     .kv_heads = 8, .head_dim = 128, .hidden = 3072, .vocab_size = 151936, .rotary_dims = 128,
     .positions = 40960, .tied = 1, .texts = 4},
};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes };

// (T,C) to (T,OC): from small and odd ones to those of models of 0.1 to 1 G parameters
static const struct { int T, C, OC; } products[] = {
    {7, 300, 50},       {33, 65, 129},      {200, 64, 64},
    {512, 512, 512},    {512, 512, 1536},   {512, 512, 2048},
    {512, 1024, 1024},  {512, 1024, 3072},  {512, 1024, 4096},
    {512, 2048, 2048},  {512, 2048, 6144},  {512, 2048, 8192},
    {2048, 512, 512},   {2048, 512, 1536},  {2048, 512, 2048},
    {2048, 1024, 1024}, {2048, 1024, 3072}, {2048, 1024, 4096},
    {2048, 2048, 2048},
};
enum { NUM_PRODUCTS = sizeof products / sizeof *products };

static const char *const precision_names[] = {"fp32", "bf16"};

typedef struct Bench Bench;
typedef struct Measure Measure;
struct Measure {
    char name[64];
    int threads, bf16;
    int wanted;                                 // by --only, or by another that is compared with it
    int (*run)(Bench *b, const Measure *x);     // 0, or -1 after fail(); NULL: the limit itself
    void (*before)(Bench *b);                   // each run, not timed; or NULL

    // what run takes
    const Objective *objective;                 // of steps
    size_t first, end;                          // steps of the plan
    int kind, way;                              // a layer; FORWARD, BACKWARD of it or a product
    int T, C, OC;                               // a product; of steps T is the most rows

    // what a run does, and how it is reported
    double work;                                // operations, or bytes if it streams
    int streams;
    int tokens, pairs;                          // 0: not reported
    int than;                                   // a measurement to compare the time with, or -1
    int alone;                                  // the same on one thread, or -1

    // of each round
    int runs;                                   // in a row, so that a clock can see them
    double seconds[MAX_ROUNDS];                 // of one run
    double speed[MAX_ROUNDS];                   // 1e9 of work in a second
    double limit[MAX_ROUNDS];                   // the same of the limit
};

// A matrix product and what surrounds it: out(T,OC) = inp(T,C) w(OC,C)^T + b, and the gradients.
typedef struct {
    int C, OC;
    real *inp, *w, *b, *out;
    real *dinp, *dw, *db, *dout;
} Linear;

struct Bench {
    real *stream_memory[3];                     // (STREAM) each
    double burst[2], tile_burst[2];             // a thread's operations in one, fp32 and bf16
    int slow;                                   // divides all rows
    const struct Shape *shape;                  // of the stage; NULL: no model's
    int threads, bf16;                          // of what is being added
    int rounds;                                 // of the stage
    Measure measure[MAX_MEASURES];
    int num_measures, num_reported;
    Run run;                                    // model, data and steps of the stage
    Linear product;
    Output out;
};

// --------------------------------------------------------------------------- limits of the machine

/* The limit of a measurement: GB/s of out = a + b (bytes named: two arrays read, one written); or
 * GFLOP/s of the fastest of three bursts of multiply-adds. */
static double measure_limit(const Bench *b, int streams, int bf16) {
    double start = now(), best = 0;
    if (streams) {
        add_forward(b->stream_memory[2], b->stream_memory[0], b->stream_memory[1], STREAM);
        return 12.0 * STREAM / (now() - start) * 1e-9;
    }
    for (int i = 0; i < 3; i++) {
        start = now();
        const double operations = kernels_burst(bf16, b->burst[bf16]);
        best = fmax(best, operations / (now() - start) * 1e-9);
    }
    return best;
}

// n random numbers in [-size/2, size/2)
static void fill_random(real *tensor, size_t n, float size) {
    enum { PART = 4096 };
    real host[PART];
    for (size_t i = 0; i < PART; i++) {
        host[i] = ((float)(random_mix(i) >> 40) * 0x1p-24f - 0.5f) * size;
    }
    for (size_t at = 0; at < n; at += PART) {
        kernels_write(tensor + at, host, n - at < PART ? n - at : PART);
    }
}

// The operations of a burst of 1 to 2 ms.
static double find_burst(Bench *b, int bf16) {
    double fastest = 0;
    for (b->burst[bf16] = 1e5; b->burst[bf16] < 1e11; b->burst[bf16] *= 2) {
        fastest = fmax(fastest, measure_limit(b, 0, bf16));           // the first wakes the threads
        if (b->burst[bf16] * kernels_threads() / fastest > 1e6) break;
    }
    return b->burst[bf16];
}

// 0, or -1 after fail().
static int bench_init(Bench *b) {
    for (int k = 0; k < 3; k++) {
        b->stream_memory[k] = kernels_alloc(STREAM);
        if (!b->stream_memory[k]) return -1;
        fill_random(b->stream_memory[k], STREAM, 1);
    }
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const double operations = find_burst(b, bf16);
        b->tile_burst[bf16] = kernels_burst_tile(bf16, operations) / kernels_threads();
    }
    b->slow = kernels_emulate_fma() ? 16 : 1;
    return 0;
}

// -------------------------------------------------------------------------- a list of measurements

static int bench_wanted(const char *name) {
    for (int i = 0; i < opt.only.n; i++) {
        if (!strncmp(name, opt.only.item[i], strlen(opt.only.item[i]))) return 1;
    }
    return opt.only.n == 0;
}

// Adds a measurement for the current threads and precision; returns it, for what x has not set.
PRINTF_LIKE(3, 4) static Measure *measure_add(Bench *b, Measure x, const char *format, ...) {
    va_list args;
    assert(b->num_measures < MAX_MEASURES);
    va_start(args, format);
    vsnprintf(x.name, sizeof x.name, format, args);
    va_end(args);
    x.threads = b->threads;
    x.bf16 = b->bf16;
    x.wanted = bench_wanted(x.name);
    x.runs = 1;
    x.than = -1;
    x.alone = -1;
    for (int k = 0; k < b->num_measures && x.threads > 1; k++) {
        const Measure *y = &b->measure[k];
        if (y->threads == 1 && y->bf16 == x.bf16 && !strcmp(y->name, x.name)) x.alone = k;
    }
    Measure *added = &b->measure[b->num_measures++];
    *added = x;
    return added;
}

// ---------------------------------------------------------------------------------------- products

enum { FORWARD = 1, DX = 2, DW = 4, BACKWARD = DX | DW };

static void linear_run(const Linear *x, int T, int way) {
    if (way & FORWARD) matmul_forward(x->out, x->inp, x->w, x->b, T, x->C, x->OC);
    if (way & BACKWARD) {
        real *dinp = way & DX ? x->dinp : NULL;
        real *dw = way & DW ? x->dw : NULL, *db = way & DW ? x->db : NULL;
        matmul_backward(dinp, dw, db, x->dout, x->inp, x->w, T, x->C, x->OC, NULL);
    }
}

static int product_run(Bench *b, const Measure *x) {
    Linear p = b->product;
    p.C = x->C;
    p.OC = x->OC;
    linear_run(&p, x->T, x->way);
    return 0;
}
static void add_product(Bench *b, int T, int C, int OC) {
    static const char *const names[] = {[FORWARD] = "forward", [DX] = "dX", [DW] = "dW"};
    if (T > b->slow) T /= b->slow;
    Measure x = {.run = product_run, .T = T, .C = C, .OC = OC, .work = 2.0 * T * C * OC};
    for (x.way = FORWARD; x.way <= DW; x.way *= 2) {
        measure_add(b, x, "product %dx%dx%d %s", T, C, OC, names[x.way]);
    }
}

// Room for the largest of the stage's products, and numbers in it. 0, or -1 after fail().
static int product_init(Bench *b) {
    Linear *p = &b->product;
    size_t inp = 0, w = 0, out = 0;
    for (int k = 0; k < b->num_measures; k++) {
        const Measure *x = &b->measure[k];
        if (!x->wanted || x->run != product_run) continue;
        inp = max_size(inp, (size_t)x->T * (size_t)x->C);
        w   = max_size(w, (size_t)x->OC * (size_t)x->C);
        out = max_size(out, (size_t)x->T * (size_t)x->OC);
    }
    p->inp = kernels_alloc(inp);
    p->dinp = kernels_alloc(inp);
    p->w = kernels_alloc(w);
    p->dw = kernels_alloc(w);
    p->out = kernels_alloc(out);
    p->dout = kernels_alloc(out);
    if (!p->inp || !p->dinp || !p->w || !p->dw || !p->out || !p->dout) return -1;
    fill_random(p->inp, inp, 1);
    fill_random(p->w, w, 1);
    fill_random(p->dout, out, 1);
    return 0;
}
static void product_free(Linear *p) {
    kernels_free(p->inp);
    kernels_free(p->dinp);
    kernels_free(p->w);
    kernels_free(p->dw);
    kernels_free(p->out);
    kernels_free(p->dout);
    memset(p, 0, sizeof *p);
}

// ------------------------------------------------------------------------------------------- steps

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

// numbers in all layers' matrices
static double block_weights(const Config *c) {
    const double outputs = (double)model_qkv_width(c) + (double)model_att_width(c)
                         + (double)model_fc_width(c) + c->hidden;
    return c->num_layers * (double)c->channels * outputs;
}

// operations of the output layer in a forward: 2 for each multiply-add; a reward model has none
static double vocabulary_flops(const Config *c, const Batch *b) {
    double scored = 0;
    for (int t = 0; t < b->T; t++) scored += !c->reward && b->target[t] >= 0;
    return 2 * scored * c->channels * c->vocab_size;
}

// operations of the matrix products in a forward and backward
static double step_flops(const Config *c, const Batch *b) {
    const double AW = (double)model_att_width(c);
    return 6 * b->T * block_weights(c) + 3 * vocabulary_flops(c, b)   // forward, dX, dW
         + 14 * c->num_layers * AW * batch_pairs(b);    // two products forward, five backward
}

static const AdamW bench_adamw = {.learning_rate = 1e-6, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                                  .weight_decay = 0.1, .head_rate = 1, .scale = 1, .step = 1};

static size_t step_begin(const Run *run, size_t step) { return step ? run->step_end[step-1] : 0; }

// what train() does for each of these steps, without the log
static int step_run(Bench *b, const Measure *x) {
    Run *run = &b->run;
    run->objective = x->objective;
    for (size_t s = x->first; s < x->end; s++) {
        const size_t at = step_begin(run, s), end = run->step_end[s];
        AdamW o = bench_adamw;
        double loss = 0;
        model_zero_grads(&run->model);
        run->limit = micro_batch_limit(run, at, end);
        if (x->objective->trainer->step(run, at, end, &loss) < 0) return -1;
        model_finish_grads(&run->model);
        o.scale = fmin(1, 1 / (model_grad_norm(&run->model) + 1e-6));
        model_update(&run->model, &o);
    }
    return 0;
}

/* Adds a measurement of the steps [first, end) of the plan; the pack then holds their last
 * micro-batch. NULL after fail(). */
static Measure *add_steps(Bench *b, const char *name, const Objective *o, size_t first,
                          size_t end) {
    Run *run = &b->run;
    const Config *c = &run->model.config;
    Measure x = {.run = step_run, .first = first, .end = end, .objective = o};
    run->objective = o;
    for (size_t s = first; s < end; s++) {
        size_t at = step_begin(run, s);
        run->limit = micro_batch_limit(run, at, run->step_end[s]);
        while (at < run->step_end[s]) {
            at = next_micro_batch(run, at, run->step_end[s]);
            if (!at) return NULL;
            const Batch batch = pack_batch(&run->pack);
            x.work += step_flops(c, &batch);
            if (o->loss && !o->linear) x.work += vocabulary_flops(c, &batch);   // logits, twice
            x.pairs += batch.B / 2;
            x.tokens += batch.T;
            if (batch.T > x.T) x.T = batch.T;
        }
    }
    return measure_add(b, x, "%s", name);
}

// ---------------------------------------------------------------------------------- data, the plan

// Records of a random prompt of P tokens and so many answers of 68 to 188, 128 on average over 16.
static int random_data(Dataset *d, int records, int P, int answers, int V) {
    const size_t n = (size_t)records * (size_t)(P + 188 * answers);
    memset(d, 0, sizeof *d);
    d->record = allocate((size_t)records, sizeof *d->record);
    d->answer = allocate((size_t)(records * answers), sizeof *d->answer);
    d->token = allocate(n, sizeof *d->token);
    if (!d->record || !d->answer || !d->token) return -1;
    for (size_t i = 0; i < n; i++) {
        d->token[i] = (int)random_below((uint32_t)V, 1, STREAM_TEST, 9, i);
    }
    for (int r = 0; r < records; r++) {
        const int first = r * answers;
        d->record[d->num_records++] = (Record){.prompt = {d->num_tokens, P}, .first = first,
                                               .count = answers, .weight = 1};
        d->num_tokens += (size_t)P;
        for (int i = first; i < first + answers; i++) {
            const int len = 68 + 8 * (7 * i % 16);
            d->answer[d->num_answers++].tokens = (Span){d->num_tokens, len};
            d->num_tokens += (size_t)len;
        }
    }
    return 0;
}

// tokens of prompt and answer i, 0 or 1, of a pair
static int pair_text_len(const Dataset *d, const Record *r, int i) {
    return r->prompt.len + d->answer[r->first + i].tokens.len;
}

// Adds the pair r of d to p as two texts of `len` tokens each: prompt, answer, padding.
static int add_padded_pair(Dataset *p, size_t *capacity, const Dataset *d, const Record *r,
                           int len) {
    const size_t first = p->num_answers;
    if (reserve(&p->token, capacity, p->num_tokens + 2 * (size_t)len, sizeof(int)) < 0) return -1;
    for (int i = 0; i < 2; i++) {
        const Span *prompt = &r->prompt, *answer = &d->answer[r->first + i].tokens;
        int *token = p->token + p->num_tokens;
        memset(token, 0, (size_t)len * sizeof *token);
        memcpy(token, d->token + prompt->start, (size_t)prompt->len * sizeof *token);
        memcpy(token + prompt->len, d->token + answer->start, (size_t)answer->len * sizeof *token);
        p->answer[p->num_answers++].tokens = (Span){p->num_tokens, len};
        p->num_tokens += (size_t)len;
    }
    p->record[p->num_records++] = (Record){.first = (int)first, .count = 2, .margin = r->margin,
                                           .weight = r->weight};
    return 0;
}

/* The pairs item[0..n) of d as most programs compute them: the prompt repeated before each answer,
 * and every text of a step as long as its longest.  The padding is ordinary rows: only what they
 * cost matters here. */
static int padded_data(Dataset *p, const Dataset *d, const Item *item, int n) {
    size_t capacity = 0;
    memset(p, 0, sizeof *p);
    p->record = allocate((size_t)n, sizeof *p->record);
    p->answer = allocate(2 * (size_t)n, sizeof *p->answer);
    if (!p->record || !p->answer) return -1;
    for (int step = 0; step < n; step += STEP_PAIRS) {
        int longest = 0;
        for (int i = step; i < step + STEP_PAIRS; i++) {
            const Record *r = &d->record[item[i].record];
            longest = max_int(longest, max_int(pair_text_len(d, r, 0), pair_text_len(d, r, 1)));
        }
        for (int i = step; i < step + STEP_PAIRS; i++) {
            const Record *r = &d->record[item[i].record];
            if (add_padded_pair(p, &capacity, d, r, longest) < 0) return -1;
        }
    }
    return 0;
}

// Adds n pairs, whole steps, to the plan: packed from data[set], then padded from data[set + 1].
static int plan_both(Run *run, int set, const Item *item, int n) {
    assert(n % STEP_PAIRS == 0);
    if (padded_data(&run->data[set + 1], &run->data[set], item, n) < 0) return -1;
    for (int i = 0; i < 2*n; i++) {
        const Item next = i < n ? (Item){set, item[i].record, 0} : (Item){set + 1, i - n, 0};
        if (plan_item(run, next) < 0) return -1;
        if ((i + 1) % STEP_PAIRS == 0 && plan_step_ends(run) < 0) return -1;
    }
    return 0;
}

// One step of the records [0, n) of data[set].
static int plan_one_step(Run *run, int set, int n) {
    for (int i = 0; i < n; i++) {
        if (plan_item(run, (Item){set, i, 0}) < 0) return -1;
    }
    return plan_step_ends(run);
}

// A language model's: a step of random texts, then one of random pairs.
static int plan_lm(Bench *b) {
    Run *run = &b->run;
    const int V = run->model.config.vocab_size, texts = max_int(1, b->shape->texts / b->slow);
    if (random_data(&run->data[0], texts, LM_ROWS - 1, 0, V) < 0) return -1;
    if (plan_one_step(run, 0, texts) < 0) return -1;
    if (random_data(&run->data[1], STEP_PAIRS, PROMPT, 2, V) < 0) return -1;
    return plan_one_step(run, 1, STEP_PAIRS);
}

// A reward model's: random pairs, packed and padded; then the user's, or NULL, in training's order.
static int plan_reward(Bench *b, Dataset *pairs) {
    Run *run = &b->run;
    Run order = {.objective = objective_find("reward"), .data = pairs, .num_train = 1};
    const int V = run->model.config.vocab_size;
    Item item[STEP_PAIRS];
    int result = -1;
    for (int i = 0; i < STEP_PAIRS; i++) item[i] = (Item){0, i, 0};
    if (random_data(&run->data[0], STEP_PAIRS, PROMPT, 2, V) < 0) return -1;
    if (plan_both(run, 0, item, STEP_PAIRS) < 0) return -1;
    if (!pairs) return 0;

    // the steps that training would begin with
    if (reward_plan(&order) < 0) goto done;
    if (!order.num_steps) {
        fail(EX_DATAERR, "%s: fewer than %d pairs", pairs->path, STEP_PAIRS);
        goto done;
    }
    run->data[2] = *pairs;
    const int steps = order.num_steps < REAL_STEPS ? (int)order.num_steps : REAL_STEPS;
    result = plan_both(run, 2, order.item, steps * STEP_PAIRS);
done:
    free(order.item);
    free(order.step_end);
    return result;
}

// 0, or -1 after fail().
static int plan_bench(Bench *b, Dataset *pairs) {
    b->run.unit = 1;
    b->run.data = allocate(4, sizeof *b->run.data);
    if (!b->run.data) return -1;
    return b->run.model.config.reward ? plan_reward(b, pairs) : plan_lm(b);
}

// ------------------------------------------------------------------------------------------ layers

typedef enum {
    // those up to VOCABULARY are linear layers, those up to ATTENTION are matrix products
    QKV, ATT_OUT, FC, PROJ, VOCABULARY, ATTENTION,
    EMBED, NORM, HEAD_NORM, ROTARY, ACT, GATED, RESIDUAL,
    LOGP, REWARD_HEAD, ZERO, TIE, GRAD_NORM, ADAMW, SUBNORMAL, NUM_LAYERS
} Layer;

static const struct {
    const char *name;
    int both;                                   // forward and backward are measured apart
} layers[] = {
    [QKV]         = {"queries, keys, values", 1},
    [ATT_OUT]     = {"attention out", 1},
    [FC]          = {"feed-forward in", 1},
    [PROJ]        = {"feed-forward out", 1},
    [VOCABULARY]  = {"vocabulary", 1},
    [ATTENTION]   = {"attention", 1},
    [EMBED]       = {"embed", 1},
    [NORM]        = {"norm", 1},
    [HEAD_NORM]   = {"head norm", 1},
    [ROTARY]      = {"rotary", 1},
    [ACT]         = {"activation", 1},
    [GATED]       = {"gated activation", 1},
    [RESIDUAL]    = {"residual", 1},
    [LOGP]        = {"loss with vocabulary", 0},
    [REWARD_HEAD] = {"pool, head", 0},
    [ZERO]        = {"zero gradients", 0},
    [TIE]         = {"tied gradients", 0},
    [GRAD_NORM]   = {"gradient norm", 0},
    [ADAMW]       = {"adamw", 0},
    [SUBNORMAL]   = {"adamw, subnormal", 0},
};
_Static_assert(sizeof layers / sizeof *layers == NUM_LAYERS, "a layer without a name");

// The output layer with the tensors of logp_backward in model.c.
static Linear vocabulary_layer(const Model *m) {
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels, V = (size_t)c->vocab_size;
    real *logits = m->acts.logits;              // NULL before the model has its memory
    real *rows = logits ? logits + LOGITS_ROWS*V : NULL;
    real *drows = logits ? rows + LOGITS_ROWS*C : NULL;
    return (Linear){.C = c->channels, .OC = c->vocab_size,
                    .inp = rows, .w = model_output_matrix(m), .out = logits,
                    .dinp = drows, .dw = c->tied ? m->tied_memory : m->grads.unembed,
                    .dout = logits};
}

// A linear layer, QKV to VOCABULARY, of block l with the tensors that model.c uses.
static Linear linear_layer(const Model *m, int l, Layer kind) {
    const Config *c = &m->config;
    const Acts *s = &m->acts;
    const BlockActs *a = &s->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const int C = c->channels, F = c->hidden;
    switch (kind) {
    case QKV:
        return (Linear){.C = C, .OC = (int)model_qkv_width(c),
                        .inp = a->ln1, .w = p->qkvw, .b = p->qkvb, .out = a->qkv,
                        .dinp = s->b, .dw = g->qkvw, .db = g->qkvb, .dout = s->dwide};
    case ATT_OUT:
        return (Linear){.C = (int)model_att_width(c), .OC = C,
                        .inp = a->att, .w = p->attw, .b = p->attb, .out = s->a,
                        .dinp = s->dact, .dw = g->attw, .db = g->attb, .dout = s->dres};
    case FC:
        return (Linear){.C = C, .OC = (int)model_fc_width(c),
                        .inp = a->ln2, .w = p->fcw, .b = p->fcb, .out = a->fc,
                        .dinp = s->b, .dw = g->fcw, .db = g->fcb, .dout = s->dwide};
    case PROJ:
        return (Linear){.C = F, .OC = C,
                        .inp = a->act, .w = p->projw, .b = p->projb, .out = s->b,
                        .dinp = s->dact, .dw = g->projw, .db = g->projb, .dout = s->dres};
    default:
        return vocabulary_layer(m);
    }
}

/* A step's work in such a layer, 0 where the model has none: operations, or if it streams bytes,
 * each operand moved once.  The numbers count the arrays that are read and written. */
static double layer_work(const Model *m, const Batch *s, Layer kind, int back, int *streams) {
    const Config *c = &m->config;
    const double T = s->T, C = c->channels, L = c->num_layers, V = c->vocab_size;
    const double LTC = L*T*C, LTF = L*T*c->hidden, N = (double)model_num_params(c);
    const double heads = c->num_heads + c->num_kv_heads;
    const int learned = c->learned_positions, parallel = c->parallel_residual;
    double pooled = 0;
    for (int b = 0; b < s->B; b++) pooled += c->pooling == POOL_MEAN ? s->text[b].len : 1;

    *streams = kind > ATTENTION && kind != LOGP;
    switch (kind) {
    case ATTENTION:   return (back ? 10 : 4) * L * (double)model_att_width(c) * batch_pairs(s);
    case LOGP:        return 6 * T*C*V;
    case VOCABULARY:  return (back ? 4 : 2) * T*C*V;
    case EMBED:       return 4 * (back ? 3 + 2*learned : 2 + learned) * T*C;
    case NORM:        return 4 * (back ? 4 : 2) * (2*LTC + T*C);
    case HEAD_NORM:   return 4 * 3 * L*T*heads * c->head_dim * c->qk_norm;
    case ROTARY:      return 4 * 2 * L*T*heads * c->rotary_dims;
    case ACT:         return 4 * (back ? 3 : 2) * LTF * !c->gated;
    case GATED:       return 4 * (back ? 5 : 3) * LTF * c->gated;
    case RESIDUAL:
        if (back) return 4 * 3 * LTC * parallel;
        return 4 * (parallel ? 4 : 6) * LTC;
    case REWARD_HEAD: return 4 * 4 * pooled*C;
    case ZERO:        return 4 * (N + c->tied * V*C);
    case TIE:         return 4 * 3 * c->tied * V*C;
    case GRAD_NORM:   return 4 * N;
    case ADAMW:                                 // w, m, v read and written, the gradient read
    case SUBNORMAL:   return 4 * 7 * N;
    default: {
        const Linear x = linear_layer(m, 0, kind);
        return (back ? 4 : 2) * L*T * x.C * x.OC;
    }
    }
}

/* The layer's calls in block_forward and block_backward of model.c, with the same tensors; a test
 * compares them, so that a call that is added there is missed here. */
static void block_forward_layer(const Model *m, const Batch *s, Layer kind, int l) {
    const Config *c = &m->config;
    const Acts *w = &m->acts;
    const BlockActs *a = &w->block[l];
    const Block *p = &m->params.block[l];
    const int T = s->T, C = c->channels, F = c->hidden, HD = c->head_dim;
    const int NH = c->num_heads, NKV = c->num_kv_heads, QO = (int)model_qkv_width(c);
    const real eps = c->norm_eps, *cosine = m->rope_memory;
    const real *sine = cosine + (size_t)c->max_positions * (size_t)(c->rotary_dims / 2);
    const size_t n = (size_t)T*C;
    real *y = l + 1 < c->num_layers ? w->block[l+1].res : w->res;
    switch (kind) {
    case QKV: case ATT_OUT: case FC: case PROJ: {
        const Linear x = linear_layer(m, l, kind);
        linear_run(&x, T, FORWARD);
        break;
    }
    case ATTENTION:
        attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
        break;
    case NORM:
        norm_forward(a->ln1, a->mean1, a->rstd1, a->res, p->ln1w, p->ln1b, eps, c->rms_norm, T, C);
        norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, p->ln2w, p->ln2b, eps, c->rms_norm, T, C);
        break;
    case HEAD_NORM: {
        real *key = a->qkv + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_forward(a->qkv, a->pre, a->rstdq, p->qnormw, eps, T, NH, HD, QO);
        head_norm_forward(key, key_pre, a->rstdk, p->knormw, eps, T, NKV, HD, QO);
        break;
    }
    case ROTARY:
        rotary(a->qkv, cosine, sine, s->position, 1, T, NH + NKV, HD, c->rotary_dims, QO);
        break;
    case ACT:
        activation_forward(a->act, a->fc, c->activation, T, F);
        break;
    case GATED:
        gated_forward(a->act, a->fc, c->activation, T, F);
        break;
    case RESIDUAL:
        if (c->parallel_residual) {
            add3_forward(y, a->res, w->a, w->b, n);
        } else {
            add_forward(a->res2, a->res, w->a, n);
            add_forward(y, a->res2, w->b, n);
        }
        break;
    default:
        break;
    }
}
static void block_backward_layer(const Model *m, const Batch *s, Layer kind, int l) {
    const Config *c = &m->config;
    const Acts *w = &m->acts;
    const BlockActs *a = &w->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const int T = s->T, C = c->channels, F = c->hidden, HD = c->head_dim;
    const int NH = c->num_heads, NKV = c->num_kv_heads, QO = (int)model_qkv_width(c);
    const real *cosine = m->rope_memory;
    const real *sine = cosine + (size_t)c->max_positions * (size_t)(c->rotary_dims / 2);
    real *dz = c->parallel_residual ? w->a : w->dres;
    switch (kind) {
    case QKV: case ATT_OUT: case FC: case PROJ: {
        const Linear x = linear_layer(m, l, kind);
        linear_run(&x, T, BACKWARD);
        break;
    }
    case ATTENTION:
        attention_backward(w->dwide, w->dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
        break;
    case NORM:
        norm_backward(dz, g->ln2w, g->ln2b, w->b, a->res2, a->mean2, a->rstd2, p->ln2w,
                      c->rms_norm, T, C);
        norm_backward(dz, g->ln1w, g->ln1b, w->b, a->res, a->mean1, a->rstd1, p->ln1w,
                      c->rms_norm, T, C);
        break;
    case HEAD_NORM: {
        real *dkey = w->dwide + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_backward(w->dwide, g->qnormw, a->pre, a->rstdq, p->qnormw, T, NH, HD, QO);
        head_norm_backward(dkey, g->knormw, key_pre, a->rstdk, p->knormw, T, NKV, HD, QO);
        break;
    }
    case ROTARY:
        rotary(w->dwide, cosine, sine, s->position, -1, T, NH + NKV, HD, c->rotary_dims, QO);
        break;
    case ACT:
        activation_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        break;
    case GATED:
        gated_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        break;
    case RESIDUAL:
        if (c->parallel_residual) add_forward(w->dres, w->dres, w->a, (size_t)T*C);
        break;
    default:
        break;
    }
}

// The calls of a layer that stand outside the blocks, as in model.c.
static void outer_layer(Bench *b, const Batch *s, Layer kind, int back) {
    Model *m = &b->run.model;
    const Config *c = &m->config;
    const Acts *a = &m->acts;
    const Params *p = &m->params, *g = &m->grads;
    const int T = s->T, B = s->B, C = c->channels, V = c->vocab_size;
    const Linear out = vocabulary_layer(m);
    switch (kind) {
    case VOCABULARY:
        for (int i = 0; i < T; i += LOGITS_ROWS) {
            linear_run(&out, min_int(LOGITS_ROWS, T - i), back ? BACKWARD : FORWARD);
        }
        break;
    case EMBED:
        if (back) {
            embed_backward(g->wte, g->wpe, a->dres, s->token, s->position, T, C);
        } else {
            embed_forward(a->block[0].res, s->token, s->position, p->wte, p->wpe, T, C);
        }
        break;
    case NORM:
        if (back) {
            norm_backward(a->dres, g->lnfw, g->lnfb, a->b, a->res, a->meanf, a->rstdf, p->lnfw,
                          c->rms_norm, T, C);
        } else {
            norm_forward(a->lnf, a->meanf, a->rstdf, a->res, p->lnfw, p->lnfb, c->norm_eps,
                         c->rms_norm, T, C);
        }
        break;
    case LOGP:                                  // every row is scored
        logp_backward(a->b, out.dw, b->run.value, b->run.dvalue, a->lnf, out.w, m->scored_row,
                      m->scored_target, T, C, V, a->logits, LOGITS_ROWS, NULL);
        break;
    case REWARD_HEAD:                           // backward pools again
        pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
        head_forward(a->reward, a->pooled, p->head, B, C);
        pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
        head_backward(a->b, g->head, a->reward, a->pooled, p->head, s->text, c->pooling, B, C);
        break;
    case ZERO:
        model_zero_grads(m);
        break;
    case TIE:
        model_finish_grads(m);
        break;
    case GRAD_NORM:
        model_grad_norm(m);
        break;
    case ADAMW: case SUBNORMAL:
        model_update(m, &bench_adamw);
        break;
    default:
        break;
    }
}

// All of a step's calls of one layer, on the tensors that the step before it left.
static int layer_run(Bench *b, const Measure *x) {
    const Model *m = &b->run.model;
    const int L = m->config.num_layers, back = x->way == BACKWARD;
    const Batch s = pack_batch(&b->run.pack);
    for (int i = 0; i < L; i++) {
        if (back) {
            block_backward_layer(m, &s, x->kind, L - 1 - i);
        } else {
            block_forward_layer(m, &s, x->kind, i);
        }
    }
    outer_layer(b, &s, x->kind, back);
    return 0;
}

static void make_subnormal(Bench *b) {
    const Model *m = &b->run.model;
    fill_random(m->grads_memory, m->num_params, 0x1p-127f);
    fill_random(m->moments_memory, 2 * m->num_params, 0x1p-127f);
}

// Adds the layers of this model, each compared with the step before it; of a reward model pool and
// head alone.
static void add_layers(Bench *b) {
    const Model *m = &b->run.model;
    const Batch s = pack_batch(&b->run.pack);
    const int step = b->num_measures - 1;
    for (int kind = 0; kind < NUM_LAYERS; kind++) {
        if ((kind == REWARD_HEAD) != m->config.reward) continue;
        for (int back = 0; back <= layers[kind].both; back++) {
            Measure x = {.run = layer_run, .kind = kind, .way = back ? BACKWARD : FORWARD};
            x.work = layer_work(m, &s, (Layer)kind, back, &x.streams);
            if (!x.work) continue;
            if (kind == SUBNORMAL) x.before = make_subnormal;
            const int ordinary_adamw = b->num_measures - 1;
            const char *way = back ? " backward" : layers[kind].both ? " forward" : "";
            Measure *added = measure_add(b, x, "layer %s%s", layers[kind].name, way);
            added->than = kind == SUBNORMAL ? ordinary_adamw : step;
        }
    }
}

// ------------------------------------------------------------------------------------------ rounds

/* Seconds of one run, or -1 after fail().  Runs of a small product are doubled until together they
 * take 1 ms; layers and steps run once, so that they find the caches as the burst before left them.
 */
static double measure_seconds(Bench *b, Measure *x) {
    for (;;) {
        double sum = 0;
        for (int r = 0; r < x->runs; r++) {
            if (x->before) x->before(b);
            const double start = now();
            if (x->run(b, x) < 0) return -1;
            sum += now() - start;
        }
        if (x->run != product_run || sum > 1e-3 || x->runs >= 1 << 16) return sum / x->runs;
        x->runs *= 2;
    }
}

static int same_limit(const Measure *x, const Measure *y) {
    return x->threads == y->threads && x->streams == y->streams && x->bf16 == y->bf16;
}

/* One round of a stage's list: limit, measurement, limit, measurement ..; the limit between two
 * that share it is measured once. */
static int bench_round(Bench *b, int round) {
    const Measure *last = NULL;
    double before = 0;
    for (int k = 0; k < b->num_measures; k++) {
        Measure *x = &b->measure[k];
        if (!x->wanted) continue;
        kernels_set_threads(x->threads);
        kernels_precision(x->bf16);
        if (!last || !same_limit(x, last)) before = measure_limit(b, x->streams, x->bf16);
        const double seconds = x->run ? measure_seconds(b, x) : 0;
        if (seconds < 0) return -1;
        const double after = measure_limit(b, x->streams, x->bf16);
        x->limit[round] = fmax(before, after);
        x->seconds[round] = x->run ? seconds : x->work / x->limit[round] * 1e-9;
        x->speed[round] = x->work / x->seconds[round] * 1e-9;
        before = after;
        last = x;
    }
    return 0;
}

// --rounds of them; or 3 to 15, as many as STAGE_SECONDS allow
static int bench_rounds(Bench *b) {
    const double start = now();
    const int most = opt.rounds ? opt.rounds : 15;
    for (b->rounds = 0; b->rounds < most; b->rounds++) {
        if (!opt.rounds && b->rounds >= 3 && now() - start > STAGE_SECONDS) break;
        if (bench_round(b, b->rounds) < 0) return -1;
    }
    return 0;
}

// ----------------------------------------------------------------------------------------- reports

// median over n rounds of x, or of x / y
static double round_median(const double *x, const double *y, int n) {
    double ratio[MAX_ROUNDS];
    for (int i = 0; i < n; i++) ratio[i] = y ? x[i] / y[i] : x[i];
    qsort(ratio, (size_t)n, sizeof *ratio, compare_double);
    return sorted_quantile(ratio, n, .5);
}

static void json_start(Buffer *json, const Bench *b, const Measure *x, const char *name) {
    buffer_printf(json, "{\"name\":\"%s\"", name);
    if (b->shape) buffer_printf(json, ",\"shape\":\"%s\"", b->shape->name);
    buffer_printf(json, ",\"isa\":\"%s\",\"threads\":%d,\"precision\":\"%s\",\"rounds\":%d",
                  kernels_name(), x->threads, precision_names[x->bf16], b->rounds);
}

// The sizes of a product as M x N x K: out, dX or dW.
static void json_product(Buffer *json, const Measure *x) {
    const int M = x->way == DW ? x->OC : x->T;
    const int N = x->way == FORWARD ? x->OC : x->C;
    const int K = x->way == FORWARD ? x->C : x->way == DX ? x->OC : x->T;
    buffer_printf(json, ",\"M\":%d,\"N\":%d,\"K\":%d", M, N, K);
}

// A line of the table and one of JSON.
static void report_measure(Buffer *json, const Bench *b, const Measure *x) {
    const char *unit = x->streams ? "GB/s" : "GFLOP/s";
    const double seconds = round_median(x->seconds, NULL, b->rounds);
    const double value = round_median(x->speed, NULL, b->rounds);
    const double share = round_median(x->speed, x->limit, b->rounds);

    // what every measurement has, the limit itself without a time and a share
    printf("    %-38s %8.1f %-7s", x->name, value, unit);
    json_start(json, b, x, x->name);
    buffer_printf(json, ",\"value\":%.5g,\"unit\":\"%s\",\"share\":%.4g", value, unit, share);
    if (x->run) {
        printf("  %.2f of %s  %9.3f ms", share, x->streams ? "memory" : "peak  ", seconds * 1e3);
        buffer_printf(json, ",\"ms\":%.6g", seconds * 1e3);
    }
    if (x->run == product_run) json_product(json, x);

    // whole steps and generation
    if (x->tokens) {
        printf("  %.0f tokens/s of %d", x->tokens / seconds, x->tokens);
        buffer_printf(json, ",\"tokens\":%d,\"tokens_per_s\":%.5g", x->tokens, x->tokens / seconds);
    }
    if (x->pairs) {
        printf("  %.2f pairs/s", x->pairs / seconds);
        buffer_printf(json, ",\"pairs\":%d,\"pairs_per_s\":%.5g", x->pairs, x->pairs / seconds);
    }
    // beside others
    if (x->than >= 0) {
        const Measure *y = &b->measure[x->than];
        const double ratio = round_median(x->seconds, y->seconds, b->rounds);
        printf("  %.3f x the time of %s", ratio, y->name);
        buffer_printf(json, ",\"than\":\"%s\",\"time_ratio\":%.4g", y->name, ratio);
    }
    if (x->alone >= 0 && b->measure[x->alone].wanted) {
        const double ratio = round_median(x->speed, b->measure[x->alone].speed, b->rounds);
        printf("  %.2f x one thread", ratio);
        buffer_printf(json, ",\"speedup\":%.4g", ratio);
    }
    printf("\n");
    buffer_printf(json, "}\n");
}

// What the step at measure[step] consists of, if all of its layers were measured.
static void report_parts(Buffer *json, const Bench *b, int step) {
    static const char *const names[] = {"parts: all layers", "parts: attention",
                                        "parts: not matrix product"};
    double share[3] = {0, 0, 1};
    for (int i = step + 1; i < b->num_measures && b->measure[i].than == step; i++) {
        const Measure *x = &b->measure[i];
        if (!x->wanted) return;
        const double part = round_median(x->seconds, b->measure[step].seconds, b->rounds);
        if (x->kind != VOCABULARY) share[0] += part;                  // that is in LOGP too
        if (x->kind == ATTENTION) share[1] += part;
        if (x->kind <= VOCABULARY) share[2] -= part;
    }
    for (int i = 0; i < 3; i++) {
        printf("    %-38s %8.1f %% of the step\n", names[i], 100 * share[i]);
        json_start(json, b, &b->measure[step], names[i]);
        buffer_printf(json, ",\"value\":%.4g,\"unit\":\"of the step\"}\n", share[i]);
    }
}

// The stage's table, and its lines to --out. 0, or -1 after fail().
static int bench_print(Bench *b) {
    Buffer json = {0};
    const Measure *last = NULL;
    int step = -1, result = -1;
    error_code = 0;
    for (int k = 0; k < b->num_measures; k++) {
        const Measure *x = &b->measure[k];
        if (x->run == step_run) step = k;
        if (!x->wanted) continue;
        if (!last || x->threads != last->threads || x->bf16 != last->bf16) {
            printf("%s, %s, %s, %d thread%s, medians of %d\n",
                   b->shape ? b->shape->name : "machine", kernels_name(),
                   precision_names[x->bf16], x->threads, x->threads == 1 ? "" : "s", b->rounds);
        }
        report_measure(&json, b, x);
        if (x->kind == SUBNORMAL) report_parts(&json, b, step);       // the last layer
        last = x;
        b->num_reported++;
    }
    fflush(stdout);
    if (error_code) goto done;                  // a line of JSON found no memory
    if (opt.out && output_write(&b->out, json.data, json.len) < 0) goto done;
    result = 0;
done:
    buffer_free(&json);
    return result;
}

// ------------------------------------------------------------------------------------------ stages

// A stage's list is what add_all adds for each precision and number of threads. 0, or -1 after
// fail().
typedef int AddMeasures(Bench *b);

// Makes the list; returns how many measurements are wanted, or -1 after fail().
static int bench_list(Bench *b, AddMeasures *add_all) {
    const int most = kernels_threads(), counts[] = {1, most};
    int wanted = 0;
    b->num_measures = 0;
    for (b->bf16 = 0; b->bf16 < 2; b->bf16++) {
        if (opt.precision != NOT_CHOSEN && opt.precision != b->bf16) continue;
        for (int i = 0; i < (most > 1 ? 2 : 1); i++) {
            b->threads = counts[i];
            if (opt.threads && opt.threads != b->threads) continue;
            if (add_all(b) < 0) return -1;
        }
    }
    // what a wanted one is compared with is wanted too, and stands before it
    for (int k = b->num_measures - 1; k >= 0; k--) {
        const Measure *x = &b->measure[k];
        if (x->wanted && x->than >= 0) b->measure[x->than].wanted = 1;
        wanted += x->wanted;
    }
    return wanted;
}

static int bench_stage(Bench *b) {
    const int most = kernels_threads(), result = bench_rounds(b);
    kernels_set_threads(most);
    kernels_precision(0);
    return result < 0 ? -1 : bench_print(b);
}

// ---- the machine, products

static int tile_run(Bench *b, const Measure *x) {
    kernels_burst_tile(x->bf16, b->burst[x->bf16]);
    return 0;
}
static int add_machine(Bench *b) {
    const Measure tile_burst = {.run = tile_run, .work = b->threads * b->tile_burst[b->bf16]};
    measure_add(b, (Measure){.work = 1e9}, "machine FMA");
    measure_add(b, tile_burst, "machine tile");
    measure_add(b, (Measure){.work = 1e9, .streams = 1}, "machine memory");
    for (int i = 0; i < NUM_PRODUCTS; i++) {
        add_product(b, products[i].T, products[i].C, products[i].OC);
    }
    return 0;
}
static int add_shape_products(Bench *b) {
    for (int kind = QKV; kind <= VOCABULARY; kind++) {
        const Linear x = linear_layer(&b->run.model, 0, (Layer)kind);
        add_product(b, LOGITS_ROWS, x.C, x.OC);
        if (kind != VOCABULARY) add_product(b, 4 * LOGITS_ROWS, x.C, x.OC);
    }
    return 0;
}

static int product_stage(Bench *b, AddMeasures *add_all) {
    const int wanted = bench_list(b, add_all);
    int result = wanted < 0 ? -1 : 0;
    if (wanted > 0) result = product_init(b) < 0 ? -1 : bench_stage(b);
    product_free(&b->product);
    return result;
}

// ---- a model of the shape

static int ignore_completion(void *context, const Completion *c) {
    (void)context;
    (void)c;
    return 0;
}
static int generate_run(Bench *b, const Measure *x) {
    const Sampling s = {.top_p = 1, .repetition_penalty = 1, .n = 1, .max_new_tokens = x->tokens,
                        .batch = 1};
    const Prompt prompt = {.token = b->run.data[1].token, .len = PROMPT};
    return generate(&b->run.model, NULL, &prompt, 1, &s, ignore_completion, NULL);
}
// One text, one token after the other: every weight is read for each.
static void add_generation(Bench *b) {
    const Config *c = &b->run.model.config;
    const double weights = block_weights(c) + (double)c->channels * c->vocab_size;
    Measure x = {.run = generate_run, .T = PROMPT, .tokens = 128, .streams = 1};
    x.work = x.tokens * (b->bf16 ? 2.0 : 4.0) * weights;
    measure_add(b, x, "generate greedy");
}

static int add_lm(Bench *b) {
    char name[64];
    snprintf(name, sizeof name, "step lm B%d T%d", (int)b->run.step_end[0], LM_ROWS);
    if (!add_steps(b, name, objective_find("lm"), 0, 1)) return -1;
    add_layers(b);
    const int sft = b->num_measures;
    if (!add_steps(b, "step sft", objective_find("sft"), 1, 2)) return -1;
    Measure *dpo = add_steps(b, "step dpo", objective_find("dpo"), 1, 2);
    if (!dpo) return -1;
    dpo->than = sft;
    add_generation(b);
    return 0;
}

// steps [first, end) of pairs packed, then as many of them padded
static int add_packed_and_padded(Bench *b, const char *name, size_t first, size_t end) {
    const Objective *o = objective_find("reward");
    char padded_name[64];
    const int packed = b->num_measures;
    snprintf(padded_name, sizeof padded_name, "%s padded", name);
    if (!add_steps(b, name, o, first, end)) return -1;
    if (first == 0) add_layers(b);
    Measure *padded = add_steps(b, padded_name, o, end, end + (end - first));
    if (!padded) return -1;
    padded->than = packed;
    return 0;
}
static int add_reward(Bench *b) {
    const size_t real_steps = (b->run.num_steps - 2) / 2;
    if (add_packed_and_padded(b, "step reward", 0, 1) < 0) return -1;
    if (!real_steps) return 0;
    return add_packed_and_padded(b, "step reward real", 2, 2 + real_steps);
}

static Config shape_config(const struct Shape *s, int reward) {
    Config c = small_config(s->family, reward);
    c.vocab_size = s->vocab_size;
    c.channels = s->channels;
    c.num_layers = s->layers;
    c.num_heads = s->heads;
    c.num_kv_heads = s->kv_heads;
    c.head_dim = s->head_dim;
    c.hidden = s->hidden;
    c.tied = s->tied;
    c.rotary_dims = s->rotary_dims;
    c.max_positions = s->positions;
    return c;
}

// Room for all that is wanted, and random weights. 0, or -1 after fail().
static int stage_model(Bench *b) {
    Run *run = &b->run;
    Model *m = &run->model;
    const Config c = m->config;
    int T = 0;
    for (int k = 0; k < b->num_measures; k++) {
        if (b->measure[k].wanted) T = max_int(T, b->measure[k].T);
    }
    if (model_init(m, c) < 0 || model_init_training(m) < 0 || model_random(m, 1) < 0) return -1;
    if (c.reward && model_random_head(m, 1) < 0) return -1;
    if ((c.reward ? reward_open(run) : policy_open(run)) < 0) return -1;
    return model_reserve(m, T, 2*STEP_PAIRS);
}
static void stage_free(Run *run) {
    for (int i = 0; run->data && i < 4; i++) {
        if (i != 2) dataset_free(&run->data[i]);                      // 2 is the caller's
    }
    reward_close(run);
    policy_close(run);
    run->objective = NULL;
    run_free(run);
}

// Whole steps of a language or reward model and its layers. 0, or -1 after fail().
static int model_stage(Bench *b, Dataset *pairs, int reward) {
    Run *run = &b->run;
    int result = -1;
    run->model.config = shape_config(b->shape, reward);
    run->objective = objective_find(reward ? "reward" : "lm");
    if (plan_bench(b, pairs) < 0) goto done;
    const int wanted = bench_list(b, reward ? add_reward : add_lm);
    if (wanted < 0) goto done;
    if (wanted > 0) {
        if (stage_model(b) < 0) goto done;
        if (bench_stage(b) < 0) goto done;
    }
    result = 0;
done:
    stage_free(run);
    return result;
}

static int shape_stages(Bench *b, Dataset *pairs) {
    b->run.model.config = shape_config(b->shape, 0);
    if (product_stage(b, add_shape_products) < 0) return -1;
    if (model_stage(b, NULL, 0) < 0) return -1;
    return model_stage(b, pairs, 1);
}

// -------------------------------------------------------------------------------------- more bench

// The shapes of --shape, or the first; returns how many, or -1 after fail().
static int choose_shapes(const struct Shape *chosen[NUM_SHAPES]) {
    if (opt.shape.n > NUM_SHAPES) {
        return fail(EX_USAGE, "--shape: more than the %d there are", NUM_SHAPES);
    }
    for (int i = 0; i < opt.shape.n; i++) {
        int k = 0;
        while (k < NUM_SHAPES && strcmp(opt.shape.item[i], shapes[k].name)) k++;
        if (k == NUM_SHAPES) {
            return fail(EX_USAGE, "--shape %s: unknown; see --help for the choices",
                        opt.shape.item[i]);
        }
        chosen[i] = &shapes[k];
    }
    if (opt.shape.n) return opt.shape.n;
    chosen[0] = &shapes[0];
    return 1;
}

// 0, or -1 after fail(): does the shape have room for the user's pairs?
static int check_shape(const struct Shape *s, int vocab_size) {
    if (vocab_size > s->vocab_size) {
        return fail(EX_USAGE, "--shape %s: it has %d pieces, the tokenizer %d", s->name,
                    s->vocab_size, vocab_size);
    }
    if (opt.max_length > s->positions) {
        return fail(EX_USAGE, "--max_length %d: %s has %d positions", opt.max_length, s->name,
                    s->positions);
    }
    return 0;
}

// What the steps take from the settings, whose options bench does not have.
static void bench_settings(void) {
    opt.max_length = LM_ROWS;                   // of windows; the user's pairs have been cut by now
    opt.per_step_rows = STEP_PAIRS;
    opt.epochs = 1;
    opt.micro_batch_tokens = 4096;
    opt.loss.beta = 0.1;
    opt.loss.label_smoothing = 0;
}

/* The limits, products, layers and whole steps of each --shape, and steps of the user's pairs (or
 * NULL) whose tokens are below vocab_size.  0, or -1 after fail(). */
int bench_report(Dataset *pairs, int vocab_size) {
    const struct Shape *chosen[NUM_SHAPES];
    int result = -1;
    const int n = choose_shapes(chosen);
    if (n < 0) return -1;
    for (int i = 0; i < n && pairs; i++) {
        if (check_shape(chosen[i], vocab_size) < 0) return -1;
    }
    Bench *b = allocate(1, sizeof *b);
    if (!b) return -1;
    b->out.fd = -1;
    bench_settings();
    if (opt.out && output_open(&b->out, opt.out) < 0) goto done;

    // the stages
    if (bench_init(b) < 0) goto done;
    if (product_stage(b, add_machine) < 0) goto done;
    for (int i = 0; i < n; i++) {
        b->shape = chosen[i];
        if (shape_stages(b, pairs) < 0) goto done;
    }
    if (!b->num_reported) {
        fail(EX_USAGE, "--only: no measurement's name starts like that");
        goto done;
    }
    if (opt.out && output_close(&b->out) < 0) goto done;
    if (opt.out && output_rename(&b->out) < 0) goto done;
    result = 0;
done:
    output_drop(&b->out);
    for (int k = 0; k < 3; k++) kernels_free(b->stream_memory[k]);
    free(b);
    return result;
}
#endif

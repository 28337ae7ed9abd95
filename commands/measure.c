/* measure.c - what more bench measures, and the work in it: limits of the machine, products, steps.
 *
 * A Measure is one line of the report: a function to run, the operations or bytes of a run, and the
 * time of each round.  A Bench has the list of them, and what they run on:
 *
 *     limits     a thread's multiply-adds and the memory's bandwidth, in short bursts
 *     products   a matrix product, or a gradient of one, on random numbers
 *     steps      whole steps of training, of random texts, pairs, rankings and of the user's pairs
 *
 * The layers of a model are in bench_layers.c; bench.c measures. */
#ifndef MEASURE_C
#define MEASURE_C
#include "../objectives.c"

// -------------------------------------------------------------------------------- what is measured

enum {
    STREAM = 1 << 24,                           // numbers of an array that is streamed through
    STAGE_SECONDS = 3,                          // after three rounds, a stage takes no longer
    LM_ROWS = 256,                              // tokens of a text of language modelling
    STEP_PAIRS = 8,                             // pairs of a step
    REAL_STEPS = 4,                             // steps of the user's own pairs
    STEP_RANKINGS = 2, RANKED = 4,              // rankings of a step; answers of each
    PROMPT = 64,                                // tokens of a random prompt
    BENCH_DATA = 6,                             // sets of the plan: bench_plan
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
    {.name = "smollm2-135m", .family = FAMILY_LLAMA, .channels = 576, .layers = 30, .heads = 9,
     .kv_heads = 3, .head_dim = 64, .hidden = 1536, .vocab_size = 49152, .rotary_dims = 64,
     .positions = 8192, .tied = 1, .texts = 4},
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

typedef struct Bench Bench;
typedef struct Measure Measure;
struct Measure {
    char name[64];
    int threads, precision;
    int wanted;                                 // by --only, or by another that is compared with it
    int (*run)(Bench *b, const Measure *x);     // 0, or -1 after fail(); NULL: the limit itself
    void (*before)(Bench *b);                   // each run, not timed; or NULL

    // what run takes
    const Objective *objective;                 // of steps
    size_t first, end;                          // steps of the plan
    int kind, way;                              // a layer; FORWARD, BACKWARD of it or a product
    int T, C, OC;                               // a product; of steps T is the most rows,
    int B;                                      // and B the most texts

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

enum { FORWARD = 1, DX = 2, DW = 4, BACKWARD = DX | DW };             // bits of a way

// A matrix product and what surrounds it: out(T,OC) = inp(T,C) w(OC,C)^T + b, and the gradients.
typedef struct {
    int C, OC;
    real *inp, *w, *b, *out;
    real *dinp, *dw, *db, *dout;
} Linear;

struct Bench {
    real *stream_memory[3];                     // (STREAM) each
    // a thread's operations in one
    double burst[NUM_PRECISIONS], tile_burst[NUM_PRECISIONS];
    int slow;                                   // divides all rows
    int reserved;                               // the precision that activations have room for
    const struct Shape *shape;                  // of the stage; NULL: no model's
    int threads, precision;                     // of what is being added
    int rounds;                                 // of the stage
    Measure measure[MAX_MEASURES];
    int num_measures, num_reported;
    Run run;                                    // model, data and steps of the stage
    Linear product;
    Output out;
};

// the machine
int    bench_init(Bench *b);                    // what its limits are measured with
double measure_limit(const Bench *b, int streams, int precision);     // GB/s or GFLOP/s
void   tensor_fill_random(real *tensor, size_t n, float size);        // around 0

// the list of measurements: one more, named as printf does
PRINTF_LIKE(3, 4) Measure *measure_add(Bench *b, Measure x, const char *format, ...);

// products
void linear_run(const Linear *x, int T, int way);          // forward, gradients or both
int  product_run(Bench *b, const Measure *x);              // Measure.run of a product
void product_add(Bench *b, int T, int C, int OC);          // to the list: forward, dX, dW
int  product_init(Bench *b);                               // room for all in the list
void product_free(Linear *p);

// steps
double   batch_pairs(const Batch *b);                      // that attention computes
double   block_weights(const Config *c);                   // numbers in all layers' matrices
int      step_run(Bench *b, const Measure *x);             // Measure.run of steps
int      bench_plan(Bench *b, Dataset *pairs);             // which steps there are, and their data
// steps [first, end) of the plan to the list
Measure *steps_add(Bench *b, const char *name, const Objective *o, size_t first, size_t end);

// --------------------------------------------------------------------------- limits of the machine

/* The limit of a measurement: GB/s of out = a + b (bytes named: two arrays read, one written); or
 * GFLOP/s of the fastest of three bursts of multiply-adds. */
double measure_limit(const Bench *b, int streams, int precision) {
    double start = now(), best = 0;
    if (streams) {
        add_forward(b->stream_memory[2], b->stream_memory[0], b->stream_memory[1], STREAM);
        kernels_wait();
        return 12.0 * STREAM / (now() - start) * 1e-9;
    }
    for (int i = 0; i < 3; i++) {
        start = now();
        const double operations = kernels_burst((Precision)precision, b->burst[precision]);
        best = fmax(best, operations / (now() - start) * 1e-9);
    }
    return best;
}

// n random numbers in [-size/2, size/2)
void tensor_fill_random(real *tensor, size_t n, float size) {
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
static double find_burst(Bench *b, int precision) {
    double fastest = 0;
    for (b->burst[precision] = 1e5; b->burst[precision] < 1e11; b->burst[precision] *= 2) {
        // the first wakes the threads
        fastest = fmax(fastest, measure_limit(b, 0, precision));
        if (b->burst[precision] * kernels_threads() / fastest > 1e6) break;
    }
    return b->burst[precision];
}

// 0, or -1 after fail().
int bench_init(Bench *b) {
    for (int k = 0; k < 3; k++) {
        b->stream_memory[k] = kernels_alloc(STREAM);
        if (!b->stream_memory[k]) return -1;
        tensor_fill_random(b->stream_memory[k], STREAM, 1);
    }
    for (int precision = 0; precision < NUM_PRECISIONS; precision++) {
        if (kernels_precision((Precision)precision) < 0) continue;    // not on this machine
        const double operations = find_burst(b, precision);
        const double all = kernels_burst_tile((Precision)precision, operations);
        b->tile_burst[precision] = all / kernels_threads();
    }
    kernels_precision(PRECISION_FP32);
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
Measure *measure_add(Bench *b, Measure x, const char *format, ...) {
    va_list args;
    assert(b->num_measures < MAX_MEASURES);
    va_start(args, format);
    vsnprintf(x.name, sizeof x.name, format, args);
    va_end(args);
    x.threads = b->threads;
    x.precision = b->precision;
    x.wanted = bench_wanted(x.name);
    x.runs = 1;
    x.than = -1;
    x.alone = -1;
    for (int k = 0; k < b->num_measures && x.threads > 1; k++) {
        const Measure *y = &b->measure[k];
        const int same = y->precision == x.precision && !strcmp(y->name, x.name);
        if (y->threads == 1 && same) x.alone = k;
    }
    Measure *added = &b->measure[b->num_measures++];
    *added = x;
    return added;
}

// ---------------------------------------------------------------------------------------- products

// out of T rows for FORWARD, dinp for DX, dw and db for DW.
void linear_run(const Linear *x, int T, int way) {
    if (way & FORWARD) matmul_forward(x->out, x->inp, x->w, x->b, T, x->C, x->OC);
    if (way & BACKWARD) {
        real *dinp = way & DX ? x->dinp : NULL;
        real *dw = way & DW ? x->dw : NULL, *db = way & DW ? x->db : NULL;
        matmul_backward(dinp, dw, db, x->dout, x->inp, x->w, T, x->C, x->OC, NULL);
    }
}

// A product of x's sizes in the memory of the stage's largest.  Returns 0.
int product_run(Bench *b, const Measure *x) {
    Linear p = b->product;
    p.C = x->C;
    p.OC = x->OC;
    linear_run(&p, x->T, x->way);
    return 0;
}

// Adds out (T,OC) and both gradients; fewer rows where multiply-adds are slow.
void product_add(Bench *b, int T, int C, int OC) {
    static const char *const names[] = {[FORWARD] = "forward", [DX] = "dX", [DW] = "dW"};
    if (T > b->slow) T /= b->slow;
    Measure x = {.run = product_run, .T = T, .C = C, .OC = OC, .work = 2.0 * T * C * OC};
    for (x.way = FORWARD; x.way <= DW; x.way *= 2) {
        measure_add(b, x, "product %dx%dx%d %s", T, C, OC, names[x.way]);
    }
}

// Room for the largest of the stage's products, and numbers in it. 0, or -1 after fail().
int product_init(Bench *b) {
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
    tensor_fill_random(p->inp, inp, 1);
    tensor_fill_random(p->w, w, 1);
    tensor_fill_random(p->dout, out, 1);
    return 0;
}
void product_free(Linear *p) {
    kernels_free(p->inp);
    kernels_free(p->dinp);
    kernels_free(p->w);
    kernels_free(p->dw);
    kernels_free(p->out);
    kernels_free(p->dout);
    memset(p, 0, sizeof *p);
}

// ------------------------------------------------------------------------------------------- steps

// query-key pairs: each row with those of its path, itself among them
double batch_pairs(const Batch *b) {
    double pairs = 0;
    for (int s = 0; s < b->S; s++) {
        int before = 0;
        for (int i = b->seg[s].parent; i >= 0; i = b->seg[i].parent) before += b->seg[i].len;
        const double len = b->seg[s].len;
        pairs += len * before + len * (len + 1) / 2;
    }
    return pairs;
}

// numbers in all layers' matrices
double block_weights(const Config *c) {
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
int step_run(Bench *b, const Measure *x) {
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
Measure *steps_add(Bench *b, const char *name, const Objective *o, size_t first, size_t end) {
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
            x.tokens += batch.T;
            x.T = max_int(x.T, batch.T);
            x.B = max_int(x.B, batch.B);
        }
    }
    for (size_t i = step_begin(run, first); i < step_begin(run, end); i++) {
        const int answers = item_record(run, &run->item[i])->count;
        x.pairs += answers * (answers - 1) / 2;
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

// The rankings of d, of distinct places, and p: the pairs of each written out.
static int written_pairs(Dataset *p, Dataset *d) {
    const size_t pairs = d->num_records * RANKED * (RANKED - 1) / 2;
    d->kind = DATA_RANKING;
    memset(p, 0, sizeof *p);
    p->kind = DATA_PAIR;
    p->record = allocate(pairs, sizeof *p->record);
    p->answer = allocate(2 * pairs, sizeof *p->answer);
    p->token = allocate(d->num_tokens, sizeof *p->token);
    if (!p->record || !p->answer || !p->token) return -1;
    memcpy(p->token, d->token, d->num_tokens * sizeof *p->token);
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int i = 0; i < RANKED; i++) {
            d->answer[r->first + i].score = (float)(i + 1);
            for (int k = i + 1; k < RANKED; k++) {
                Record pair = *r;
                pair.first = (int)p->num_answers;
                pair.count = 2;
                p->record[p->num_records++] = pair;
                p->answer[p->num_answers++] = d->answer[r->first + i];
                p->answer[p->num_answers++] = d->answer[r->first + k];
            }
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

// A reward model's: random pairs, packed and padded; random rankings, whole and written out; then
// the user's pairs, or NULL, in training's order.
static int plan_reward(Bench *b, Dataset *pairs) {
    Run *run = &b->run;
    Run order = {.objective = objective_find("reward"), .data = pairs, .num_train = 1};
    const int V = run->model.config.vocab_size;
    Item item[STEP_PAIRS];
    int result = -1;
    for (int i = 0; i < STEP_PAIRS; i++) item[i] = (Item){0, i, 0};
    if (random_data(&run->data[0], STEP_PAIRS, PROMPT, 2, V) < 0) return -1;
    if (plan_both(run, 0, item, STEP_PAIRS) < 0) return -1;
    if (random_data(&run->data[4], STEP_RANKINGS, PROMPT, RANKED, V) < 0) return -1;
    if (written_pairs(&run->data[5], &run->data[4]) < 0) return -1;
    if (plan_one_step(run, 4, STEP_RANKINGS) < 0) return -1;
    if (plan_one_step(run, 5, (int)run->data[5].num_records) < 0) return -1;
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

// Its data: 0 and 1 are random texts, 2 is the user's, 3 that padded, 4 and 5 are rankings.  0, or
// -1 after fail().
int bench_plan(Bench *b, Dataset *pairs) {
    b->run.unit = 1;
    b->run.data = allocate(BENCH_DATA, sizeof *b->run.data);
    if (!b->run.data) return -1;
    return b->run.model.config.reward ? plan_reward(b, pairs) : plan_lm(b);
}
#endif

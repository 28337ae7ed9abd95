/* bench.c - how fast is this machine, and what part of that do we use (more bench).
 *
 * Every measurement follows one of the peak, round after round; medians are printed.  Machines are noisy, and the share
 * of the peak is steadier than the speed.                                                                    */
#ifndef BENCH_C
#define BENCH_C
#include "check.c"
#include <time.h>

enum { BENCH_PEAK, BENCH_TILE, BENCH_MEMORY, BENCH_LM, BENCH_REWARD, BENCH_PRODUCT, NUM_SHAPES = 5, MAX_ROUNDS = 15,
       NUM_BENCHES = BENCH_PRODUCT + 3*NUM_SHAPES, PANEL = 192, BENCH_NUMBERS = 1 << 24 };
static const struct { const char *name; int T, C, OC; } shapes[NUM_SHAPES] = {                 // of the shipped base model
    {"queries, keys, values", 3072, 256, 768}, {"attention out", 3072, 256, 256}, {"feed-forward in", 3072, 256, 1024},
    {"feed-forward out", 3072, 1024, 256}, {"vocabulary", LOGITS_ROWS, 256, 4096}};
typedef struct {
    Model lm, reward;
    Sample texts, pairs;
    float *memory[3];                                                 // (BENCH_NUMBERS) each
    int reps, slow;                                                   // chain length of a burst; divides all rows
} Bench;

// n chains c = c a + b that stay in registers: 12 vectors of AVX2, 8 of AVX-512
#define FMA_CHAINS(n)                                                                                        \
    INLINE void fma_chains_##n##_body(const int hw, float *out, float a, float b, int reps) {               \
        float c[n];                                                                                          \
        for (int i = 0; i < n; i++) c[i] = out[i];                                                           \
        for (int r = 0; r < reps; r++)                                                                       \
            for (int i = 0; i < n; i++) c[i] = FMA(c[i], a, b);                                              \
        for (int i = 0; i < n; i++) out[i] = c[i];                                                           \
    }                                                                                                        \
    VARIANTS(fma_chains_##n, (float *out, float a, float b, int reps), out, a, b, reps)
FMA_CHAINS(96)
FMA_CHAINS(128)

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// GFLOP/s of all threads in one burst of 96 or 128 chains, or for 0 of the tile on panels that stay in the first cache
static double burst(const Bench *b, int chains) {
    int threads = thread_count(), work = tile->fp32.MR * tile->fp32.NR * PANEL, reps = chains ? b->reps : b->reps * 128 / work + 1;
    double start = seconds();
    PARALLEL_FOR
    for (int t = 0; t < threads; t++) {
        float out[MAX_MR*MAX_NR] = {0}, *panel = b->memory[0] + (size_t)t * (MAX_MR*LDA + MAX_NR*PANEL);
        if (chains == 96) fma_chains_96(out, 0.5f, 0.25f, reps);
        if (chains == 128) fma_chains_128(out, 0.5f, 0.25f, reps);
        for (int r = 0; !chains && r < reps; r++) tile->fp32.run(out, (size_t)tile->fp32.NR, 1, panel, panel + MAX_MR*LDA, (size_t)tile->fp32.NR, PANEL, tile->fp32.MR, tile->fp32.NR);
        b->memory[1][64 * t] = out[0];                                // or the compiler would leave the loop out
    }
    return 2.0 * threads * reps * (chains ? chains : work) / (seconds() - start) * 1e-9;
}

// floating-point operations of the matrix products in a forward and backward: 2 for each multiply-add
static double step_flops(const Config *c, const Batch *b) {
    double C = c->channels, AW = (double)att_width(c), attention = 0, scored = 0;
    double weights = c->num_layers * C * ((double)qkv_width(c) + AW + (double)fc_width(c) + c->hidden);
    for (int s = 0; s < b->S; s++) {
        int before = 0, len = b->seg[s].len;
        for (int i = b->seg[s].parent; i >= 0; i = b->seg[i].parent) before += b->seg[i].len;
        for (int i = 0, end; i < len; i = end) {                      // a block of rows meets all keys up to its last
            end = i + ROWS < len ? i + ROWS : len;
            attention += (double)(end - i) * (before + end);
        }
    }
    for (int t = 0; t < b->T; t++) scored += !c->reward && b->target[t] >= 0;
    return 6 * b->T * weights + 6 * scored * C * c->vocab_size        // forward, dX, dW
         + 14 * c->num_layers * AW * attention;                       // two products forward, five backward
}

// One measurement in GFLOP/s (memory: GB/s); NaN after fail().
static double measure(Bench *b, int k) {
    float *x = b->memory[0], *dy = b->memory[1], *w = b->memory[2], *out = w + BENCH_NUMBERS / 2;
    double start = seconds(), work, loss, norm;
    if (k == BENCH_PEAK) return fmax(fmax(burst(b, 96), burst(b, 128)), burst(b, 0));
    if (k == BENCH_TILE) return burst(b, 0);
    if (k == BENCH_MEMORY) {
        add_forward(x, dy, w, BENCH_NUMBERS);
        work = 12.0 * BENCH_NUMBERS;                                  // bytes: two arrays read, one written
    } else if (k < BENCH_PRODUCT) {
        Model *m = k == BENCH_LM ? &b->lm : &b->reward;
        const Sample *s = k == BENCH_LM ? &b->texts : &b->pairs;
        if (sample_step(&loss, &norm, m, s, 1) < 0) return NAN;
        work = step_flops(&m->config, &s->batch);
    } else {
        int i = (k - BENCH_PRODUCT) / 3, which = (k - BENCH_PRODUCT) % 3;
        int T = shapes[i].T / b->slow, C = shapes[i].C, OC = shapes[i].OC;
        if (which == 0) matmul_forward(out, x, w, NULL, T, C, OC);
        if (which == 1) matmul(&(Product){out, (size_t)C, dy, (size_t)OC, 1, w, (size_t)C, 1, T, C, OC, 0, NULL, 0, NULL, 0});
        if (which == 2) matmul(&(Product){out, (size_t)C, dy, 1, (size_t)OC, x, (size_t)C, 1, OC, C, T, 1, NULL, 0, NULL, 0});
        work = 2.0 * T * C * OC;
    }
    return work / (seconds() - start) * 1e-9;
}


// Rounds of all measurements on so many threads; prints medians, and appends {"name":[speed, share of the peak],..} to json.
static int bench_run(Bench *b, int threads, Buffer *json) {
    static const char *const names[] = {"fused multiply-adds", "tile in cache", "memory, out = a + b", "language model step",
                                        "Bradley-Terry step"}, *const which[] = {"forward", "dX", "dW"};
    static double value[NUM_BENCHES][MAX_ROUNDS], share[NUM_BENCHES][MAX_ROUNDS];
    double start = seconds();
    int n = 0;
    for (; n < MAX_ROUNDS && (n < 3 || seconds() - start < 8); n++)
        for (int k = 0; k < NUM_BENCHES; k++) {
            double peak = measure(b, BENCH_PEAK);
            value[k][n] = k == BENCH_PEAK ? peak : measure(b, k);
            share[k][n] = value[k][n] / peak;
            if (value[k][n] != value[k][n]) return -1;
        }
    printf("%s, %d thread%s, medians of %d\n", kernels_name(), threads, threads == 1 ? "" : "s", n);
    buffer_printf(json, "%s{\"threads\":%d", threads == 1 ? "" : ",", threads);
    for (int k = 0; k < NUM_BENCHES; k++) {
        char name[64];
        int i = (k - BENCH_PRODUCT) / 3, product = k >= BENCH_PRODUCT;
        if (product) snprintf(name, sizeof name, "%s, %s", shapes[i].name, which[(k - BENCH_PRODUCT) % 3]);
        else snprintf(name, sizeof name, "%s", names[k]);
        qsort(value[k], (size_t)n, sizeof(double), compare_double), qsort(share[k], (size_t)n, sizeof(double), compare_double);
        double speed = quantile(value[k], n, .5), part = quantile(share[k], n, .5);
        printf("    %-32s %8.1f ", name, speed);
        if (k == BENCH_MEMORY) printf("GB/s\n");
        else printf("GFLOP/s  %.2f of the peak", part);
        if (product) printf("  (%d, %d) to %d\n", shapes[i].T / b->slow, shapes[i].C, shapes[i].OC);
        if (k == BENCH_PEAK || k == BENCH_TILE) printf("\n");
        buffer_printf(json, ",\"%s\":[%.5g,%.4g", name, speed, part);
        if (k == BENCH_LM || k == BENCH_REWARD) {
            const Batch *s = k == BENCH_LM ? &b->texts.batch : &b->pairs.batch;
            double tokens = s->T * speed * 1e9 / step_flops(k == BENCH_LM ? &b->lm.config : &b->reward.config, s);
            printf("  %.0f tokens/s (%d a step)\n", tokens, s->T);
            buffer_printf(json, ",%.0f", tokens);
        }
        buffer_printf(json, "]");
    }
    return buffer_printf(json, "}");
}

/* more bench: this machine's limits, the products of the shipped base model and whole training steps of it, with one
 * thread and with all; then one line of JSON.  About 20 seconds.  0, or -1 after fail().                    */
int bench_report(void) {
    static Bench b;
    Buffer json = {0};
    int most = thread_count(), ok = 1;
    b = (Bench){.reps = 1000};
    for (int k = 0; k < 3; k++) {
        ok = ok && (b.memory[k] = kernels_alloc(BENCH_NUMBERS)) != NULL;
        for (size_t i = 0; ok && i < BENCH_NUMBERS; i++) b.memory[k][i] = (float)(random_mix(i) >> 40) * 0x1p-24f - 0.5f;
    }
    while (ok && b.reps < 1 << 28 && 2.0 * most * b.reps * 128 / burst(&b, 128) < 3e6) b.reps *= 2;       // 3 ms
    b.slow = ok && burst(&b, 128) < 10 * most ? 16 : 1;
    for (int reward = 0; ok && reward < 2; reward++) {                // room for all threads: before set_threads
        Config c = small_config(FAMILY_NEOX, reward);
        c.vocab_size = 4096, c.channels = 256, c.num_layers = 4, c.head_dim = 64, c.hidden = 1024, c.max_positions = 2048;
        c.rotary_dims = 32;
        ok = small_init(reward ? &b.reward : &b.lm, reward ? &b.pairs : &b.texts, c,
                        reward ? (SampleShape){16 / b.slow, 63, 2, 129} : (SampleShape){16 / b.slow, 256, 0, 0}) == 0;
    }
    ok = ok && buffer_printf(&json, "{\"isa\":\"%s\",\"runs\":[", kernels_name()) == 0;
    for (int n = 1; ok && n <= most; n = n < most ? most : most + 1) {
        set_threads(n);
        ok = bench_run(&b, n, &json) == 0;
    }
    set_threads(most);
    if (ok && (ok = buffer_printf(&json, "]}") == 0)) printf("%s\n", json.data);
    for (int k = 0; k < 3; k++) kernels_free(b.memory[k]);
    buffer_free(&json), small_free(&b.lm, &b.texts), small_free(&b.reward, &b.pairs);
    return ok ? 0 : -1;
}
#endif

/* check.c - does this machine keep the contract (more selftest, and a short part of it whenever the
 * program starts), are the gradients right (more gradcheck)?  kernels_init comes first. */
#ifndef CHECK_C
#define CHECK_C
#include "../loss.c"
#include "../model.c"
#include "vectors.c"

int selftest_start(void);                       // of every start, far below a millisecond
int selftest_report(void);                      // more selftest
enum { NUMERICS_TEXT = 80 };
void selftest_digests(char text[NUMERICS_TEXT]); // the digests that it must print
int gradcheck_report(const Config *c);          // more gradcheck

Config small_config(Family family, int reward); // of the small models that are tried

// ------------------------------------------------------------------------ what breaks the contract

#define ROUNDING_MODE                                                                              \
    ": something in this process changed the rounding mode, which must be to nearest"
#define FAST_FLAGS                                                                                 \
    ": compile and link without -ffast-math, -Ofast and -funsafe-math-optimizations"
#define CONTRACTED " was fused into one rounding: compile with -ffp-contract=off"
#define TWO_ROUNDINGS                                                                              \
    "the fused multiply-add rounds twice: try MORE_ISA=scalar, or compile without -march and -mfma"

// Each probe is one operation whose result differs under one kind of damage.
static const struct Probe {
    ProbeOp op;
    float a, b, c, right;
    const char *wrong;                          // what is said of a result that is not right
} probes[] = {
    {.op = PROBE_ADD, .a = 1, .b = 0x1p-30f, .right = 1,
     .wrong = "results are rounded upward" ROUNDING_MODE},
    {.op = PROBE_ADD, .a = -1, .b = -0x1p-30f, .right = -1,
     .wrong = "results are rounded downward" ROUNDING_MODE},
    {.op = PROBE_ADD, .a = 1, .b = -0x1p-30f, .right = 1,
     .wrong = "results are rounded toward zero" ROUNDING_MODE},
    {.op = PROBE_DIVIDE_SUBTRACT, .a = 1, .b = 3, .c = 0x1.555556p-2f, .right = 0,
     .wrong = "floats are computed in extended precision: compile with -msse2 -mfpmath=sse"},
    {.op = PROBE_MULTIPLY, .a = 0x1p-126f, .b = 0.5f, .right = 0x1p-127f,
     .wrong = "subnormal results are flushed to zero" FAST_FLAGS},
    {.op = PROBE_MULTIPLY, .a = 0x1p-138f, .b = 0x1p20f, .right = 0x1p-118f,
     .wrong = "subnormal numbers are read as zero" FAST_FLAGS},
    {.op = PROBE_DOUBLE_SMALL, .a = 0x1p-40f, .right = 0x1p-40f,
     .wrong = "subnormal doubles are flushed to zero" FAST_FLAGS},
    {.op = PROBE_MULTIPLY_ADD, .a = 0x1.001p0f, .b = 0x1.001p0f, .c = -0x1.002p0f, .right = 0,
     .wrong = "a*b + c" CONTRACTED},
    {.op = PROBE_DOUBLE_FUSED, .a = 0x1p-27f, .right = 0,
     .wrong = "a*b + c in double" CONTRACTED},
    {.op = PROBE_ADD_SUBTRACT, .a = 0x1p24f, .b = 1, .right = 0,
     .wrong = "a sum was reassociated" FAST_FLAGS},
    {.op = PROBE_DIVIDE_BY_ONE, .a = 5, .b = 3, .right = 0x1.aaaaaap0f,
     .wrong = "a division became a product" FAST_FLAGS},
    {.op = PROBE_FMA, .a = 0x1.001p0f, .b = 0x1.001p0f, .c = -0x1.002p0f, .right = 0x1p-24f,
     .wrong = TWO_ROUNDINGS},
    // a tie that a bit far below decides, to both sides
    {.op = PROBE_FMA, .a = 24929, .b = 673, .c = 0x1p-60f, .right = 0x1.000002p24f,
     .wrong = TWO_ROUNDINGS},
    {.op = PROBE_FMA, .a = 24929, .b = 673, .c = -0x1p-60f, .right = 0x1p24f,
     .wrong = TWO_ROUNDINGS},
    {.op = PROBE_FMA, .a = 0x1p-75f, .b = 0x1.000002p-75f, .c = 0, .right = 0x1p-149f,
     .wrong = TWO_ROUNDINGS},
};
enum { NUM_PROBES = sizeof probes / sizeof *probes };
enum { PROBE_LEN = 37 };                        // several whole vectors and a tail

// got (NUM_PROBES): the result of each probe, or the first of its elements that is not right
static void probe_all(float *got) {
    for (int p = 0; p < NUM_PROBES; p++) {
        // volatile: the compiler must not compute the results beforehand
        volatile float a = probes[p].a, b = probes[p].b, c = probes[p].c;
        float out[PROBE_LEN], as[PROBE_LEN], bs[PROBE_LEN], cs[PROBE_LEN];
        for (int i = 0; i < PROBE_LEN; i++) {
            as[i] = a;
            bs[i] = b;
            cs[i] = c;
        }
        kernels_probe(out, probes[p].op, as, bs, cs, PROBE_LEN);
        int i = 0;
        while (i < PROBE_LEN - 1 && bits_of(out[i]) == bits_of(probes[p].right)) i++;
        got[p] = out[i];
    }
}
// 0, or -1 after fail() about the first result that is not right.
static int probe_verdict(const float *got) {
    for (int p = 0; p < NUM_PROBES; p++) {
        if (bits_of(got[p]) == bits_of(probes[p].right)) continue;
        return fail(EX_OSERR, "self-test, %s: %s (NUMERICS.md)", kernels_name(), probes[p].wrong);
    }
    return 0;
}

// -------------------------------------------------------------------------------------- the digest

static uint64_t digest_add(uint64_t digest, float x) {
    const uint32_t u = bits_of(x);
    const int is_nan = (u & 0x7fffffff) > 0x7f800000;                 // one NaN stands for all
    return random_mix(digest ^ (is_nan ? 0x7fc00000 : u));
}
static uint64_t digest_add_all(uint64_t digest, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) digest = digest_add(digest, x[i]);
    return digest;
}
static uint64_t digest_add_double(uint64_t digest, double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return random_mix(digest ^ u);
}

// of every four one with any bits, one subnormal, two in [-4, 4)
static float digest_input(uint64_t row, uint64_t i) {
    const uint32_t u = (uint32_t)(random_u64(1, STREAM_TEST, row, i) >> 32);
    switch (i % 4) {
    case 0:  return float_of(u);
    case 1:  return float_of(u & 0x807fffff);
    default: return (float)(u >> 8) * 0x1p-21f - 4;
    }
}

// 2048 results in float, with the instructions of the layers
static uint64_t digest_operations(uint64_t digest) {
    static const ProbeOp ops[] = {PROBE_FMA, PROBE_MULTIPLY_ADD, PROBE_EXP, PROBE_ERF, PROBE_TANH,
                                  PROBE_SIGMOID, PROBE_DIVIDE, PROBE_SQRT};
    enum { NUM_OPS = sizeof ops / sizeof *ops, N = 256 };
    float x[N], y[N], z[N], out[N];
    for (unsigned i = 0; i < N; i++) {
        x[i] = digest_input(0, i);
        y[i] = digest_input(1, i);
        z[i] = digest_input(2, i);
    }
    for (int op = 0; op < NUM_OPS; op++) {
        kernels_probe(out, ops[op], x, y, z, N);
        digest = digest_add_all(digest, out, N);
    }
    return digest;
}

// sizes of the tensors a, b and c below
enum { DIGEST_ROW = 48, DIGEST_A = 300, DIGEST_B = 700, DIGEST_C = 525 };

// sums along rows of 1 to 48 numbers, as dot products
static uint64_t digest_sums(uint64_t digest, real *a, real *b, real *c) {
    float x[DIGEST_ROW], y[DIGEST_ROW], sum;
    for (unsigned i = 0; i < DIGEST_ROW; i++) {
        x[i] = digest_input(3, 2*i + 1);
        y[i] = digest_input(4, 4*i + 2);
    }
    kernels_write(a, x, DIGEST_ROW);
    kernels_write(b, y, DIGEST_ROW);
    for (int n = 1; n <= DIGEST_ROW; n++) {
        head_forward(c, a, b, 1, n);
        kernels_read(&sum, c, 1);
        digest = digest_add(digest, sum);
    }
    return digest;
}

// 448 results in double
static uint64_t digest_doubles(uint64_t digest) {
    for (unsigned i = 0; i < 64; i++) {
        const double v = digest_input(4, 4*i + 2), size = fabs(v) + 0x1p-20;
        double sine, cosine;
        more_sincos(100 * v, &sine, &cosine);
        digest = digest_add_double(digest, more_exp(40 * v));
        digest = digest_add_double(digest, more_log(size));
        digest = digest_add_double(digest, more_log1p(v / 5));
        digest = digest_add_double(digest, sine);
        digest = digest_add_double(digest, cosine);
        digest = digest_add_double(digest, sqrt(size));
        digest = digest_add_double(digest, v / (size + 1));
    }
    return digest;
}

// a matrix product c(M,N) = a(M,K) b(K,N), in the precision of the moment
static uint64_t digest_product(uint64_t digest, real *a, real *b, real *c, int M, int N, int K) {
    float x[DIGEST_A], y[DIGEST_B], z[DIGEST_C];
    assert(M*K <= DIGEST_A && K*N <= DIGEST_B && M*N <= DIGEST_C);
    for (unsigned i = 0; i < DIGEST_A; i++) x[i] = digest_input(5, 2*i + 1);
    for (unsigned i = 0; i < DIGEST_B; i++) y[i] = digest_input(6, 4*i + 2);
    kernels_write(a, x, DIGEST_A);
    kernels_write(b, y, DIGEST_B);
    matmul_backward(c, NULL, NULL, a, NULL, b, M, N, K, NULL);        // dinp = dout w
    kernels_read(z, c, (size_t)(M*N));
    return digest_add_all(digest, z, (size_t)(M*N));
}

// One number for all of it. 0, or -1 after fail(); operands of products are fp32 after it.
static int selftest_digest(uint64_t *digest) {
    real *a = kernels_alloc(DIGEST_A + DIGEST_B + DIGEST_C);
    if (!a) return -1;
    real *b = a + DIGEST_A, *c = b + DIGEST_B;
    uint64_t d = digest_operations(0);
    d = digest_sums(d, a, b, c);
    d = digest_doubles(d);
    kernels_precision(0);
    d = digest_product(d, a, b, c, 15, 35, 20);
    kernels_precision(1);
    d = digest_product(d, a, b, c, 6, 14, 50);
    kernels_precision(0);
    kernels_free(a);
    *digest = d;
    return 0;
}
static const uint64_t right_digest = 0xdcf0f0c6302ac1cd, right_training = 0xff18209c6edeb7bb;

// 0, or -1 after fail(): what is wrong, what to do.
int selftest_start(void) {
    float got[NUM_PROBES];
    uint64_t digest;
    probe_all(got);
    if (probe_verdict(got) < 0) return -1;
    if (selftest_digest(&digest) < 0) return -1;
    if (digest == right_digest) return 0;

    // a bf16 unit with an arithmetic of its own is done without, unless it was asked for
    const char *fallback = kernels_fallback();
    if (fallback && !getenv("MORE_ISA")) {
        if (kernels_init(fallback) < 0) return -1;
        return selftest_start();
    }
    return fail(EX_OSERR, "self-test, %s: this build computes other numbers than the contract: try "
                "MORE_ISA=scalar, or another compiler with -O2 -ffp-contract=off alone "
                "(NUMERICS.md)", kernels_name());
}

// ------------------------------------------------------------------------------------ small models

// one of each family, by what it does not share with the others
static const Config small_configs[] = {
    [FAMILY_NEOX] = {
        .num_kv_heads = 4, .hidden = 128, .rotary_dims = 4, .activation = ACT_GELU_ERF,
        .parallel_residual = 1, .tied = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1,
        .pooling = POOL_MEAN},
    [FAMILY_GPT2] = {
        .num_kv_heads = 4, .hidden = 128, .learned_positions = 1, .activation = ACT_GELU_TANH,
        .tied = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .pooling = POOL_MEAN},
    [FAMILY_LLAMA] = {
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .pooling = POOL_LAST},
    [FAMILY_QWEN2] = {
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .qkv_bias = 1, .pooling = POOL_LAST},
    [FAMILY_QWEN3] = {
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .qk_norm = 1, .pooling = POOL_LAST},
    [FAMILY_MISTRAL] = {                                // LLaMA, but for names in files
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .pooling = POOL_LAST},
    [FAMILY_SMOLLM3] = {                                // LLaMA, but for a layer that does not turn
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .tied = 1, .unturned = {0, 1}, .pooling = POOL_LAST},
    [FAMILY_OLMO2] = {
        .num_kv_heads = 2, .hidden = 80, .rotary_dims = 8, .activation = ACT_SILU, .gated = 1,
        .rms_norm = 1, .post_norm = 1, .qk_norm = 1, .qk_wide = 1, .pooling = POOL_LAST},
};
_Static_assert(sizeof small_configs / sizeof *small_configs == NUM_FAMILIES,
               "a family without a small model; small_models wants it too");

Config small_config(Family family, int reward) {
    Config c = small_configs[family];
    c.family = family;
    c.reward = reward;
    c.vocab_size = 64;
    c.channels = 32;
    c.num_layers = 2;
    c.num_heads = 4;
    c.head_dim = 8;
    c.max_positions = 32;
    c.norm_eps = 1e-5f;
    c.rope_theta = 10000;
    c.pad = 1;
    return c;
}

// Those that are trained and whose gradients are checked; the digest is of these in this order.
static const struct {
    const char *name;
    Family family;
    int reward;
} small_models[] = {
    {"GPT-NeoX, language model", FAMILY_NEOX, 0},
    {"GPT-NeoX, reward model", FAMILY_NEOX, 1},
    {"GPT-2, language model", FAMILY_GPT2, 0},
    {"GPT-2, reward model", FAMILY_GPT2, 1},
    {"LLaMA, language model", FAMILY_LLAMA, 0},
    {"LLaMA, reward model", FAMILY_LLAMA, 1},
    {"Qwen3, language model", FAMILY_QWEN3, 0},
};
enum { NUM_SMALL = sizeof small_models / sizeof *small_models };

// A packed micro-batch of random tokens: groups of a prompt and so many answers of `length` rows.
typedef struct {
    Batch batch;
    int *row_memory;
    Segment *seg_memory;
    Text *text_memory;
    float *value_memory;
} Sample;
typedef struct { int groups, prompt, answers, length; } SampleShape;

static int sample_init(Sample *s, SampleShape n, int vocab_size) {
    const int T = n.groups * (n.prompt + n.answers * n.length);
    int t = 0, segs = 0, texts = 0;

    s->row_memory = allocate(3 * (size_t)T, sizeof(int));
    s->seg_memory = allocate((size_t)(n.groups * (1 + n.answers)), sizeof(Segment));
    s->text_memory = allocate((size_t)(n.groups * n.answers), sizeof(Text));
    s->value_memory = allocate(2 * (size_t)T, sizeof(float));
    if (!s->row_memory || !s->seg_memory || !s->text_memory || !s->value_memory) return -1;

    int *token = s->row_memory, *position = token + T, *target = position + T;
    for (int g = 0; g < n.groups; g++) {
        const int root = segs;
        for (int a = -1; a < n.answers; a++) {
            const int is_prompt = a < 0, rows = is_prompt ? n.prompt : n.length;
            s->seg_memory[segs++] = (Segment){t, rows, is_prompt ? -1 : root};
            if (!is_prompt) s->text_memory[texts++] = (Text){t, rows, t + rows - 1};
            for (int i = 0; i < rows; i++, t++) {
                const uint64_t u = random_u64(1, STREAM_TEST, 8, (uint64_t)t);
                token[t] = (int)((u & 0xffffffff) % (uint32_t)vocab_size);
                position[t] = is_prompt ? i : n.prompt + i;
                target[t] = (int)((u >> 32) % (uint32_t)vocab_size);
                if (is_prompt && n.answers) target[t] = -1;
            }
        }
    }
    s->batch = (Batch){.T = T, .token = token, .position = position, .target = target, .S = segs,
                       .seg = s->seg_memory, .B = texts, .text = s->text_memory};
    return 0;
}
static void sample_free(Sample *s) {
    free(s->row_memory);
    free(s->seg_memory);
    free(s->text_memory);
    free(s->value_memory);
}

// A model with random weights and a batch for it. 0, or -1 after fail(); then too small_free
// follows.
static int small_init(Model *m, Sample *s, Config c, SampleShape n) {
    memset(s, 0, sizeof *s);
    if (model_init(m, c) < 0 || model_init_training(m) < 0 || model_random(m, 1) < 0) return -1;
    if (c.reward && model_random_head(m, 1) < 0) return -1;
    if (sample_init(s, n, c.vocab_size) < 0) return -1;
    return model_reserve(m, s->batch.T, s->batch.B);
}
static void small_free(Model *m, Sample *s) {
    sample_free(s);
    model_free(m);
}

// Bradley-Terry of each two texts, with backward if asked for.
static int reward_sample_loss(double *loss, Model *m, const Sample *s, int backward) {
    const Batch *b = &s->batch;
    const float weight = 2 / (float)b->B;
    float *reward = s->value_memory, *dreward = reward + b->T;
    model_rewards(m, b, reward, NULL);
    memset(dreward, 0, (size_t)b->B * sizeof *dreward);
    *loss = 0;
    for (int j = 0; j < b->B; j += 2) {
        *loss += reward_bt_loss(dreward + j, dreward + j+1, reward + j, reward + j+1, &weight, NULL,
                                1);
    }
    return backward ? model_backward(m, b, dreward, NULL, NULL) : 0;
}
// Language modelling of all rows with a target.
static int lm_sample_loss(double *loss, Model *m, const Sample *s, int backward) {
    const Batch *b = &s->batch;
    float *logp = s->value_memory, *dlogp = logp + b->T;
    int N = 0;
    for (int t = 0; t < b->T; t++) N += b->target[t] >= 0;
    lm_coefficients(dlogp, b->target, b->T, N);
    if (backward) {
        if (model_backward(m, b, NULL, dlogp, logp) < 0) return -1;
    } else {
        if (model_logp(m, b, logp) < 0) return -1;
    }
    *loss = lm_loss(logp, b->T, N);
    return 0;
}
static int sample_loss(double *loss, Model *m, const Sample *s, int backward) {
    model_forward(m, &s->batch);
    return m->config.reward ? reward_sample_loss(loss, m, s, backward)
                            : lm_sample_loss(loss, m, s, backward);
}

// One step of training, as train.c does it.
static int sample_step(double *loss, double *norm, Model *m, const Sample *s, int step) {
    AdamW o = {.learning_rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
               .weight_decay = 0.1, .head_rate = 1, .scale = 1, .step = step};
    model_zero_grads(m);
    if (sample_loss(loss, m, s, 1) < 0) return -1;
    model_finish_grads(m);
    *norm = model_grad_norm(m);
    if (*norm + 1e-6 > 1) o.scale = 1 / (*norm + 1e-6);
    model_update(m, &o);
    return 0;
}

// ----------------------------------------------------------------------------------- more selftest

// Adds the losses and gradient norms of five steps of a small model and its parameters after them.
static int digest_training(uint64_t *digest, Config c) {
    Model m;
    Sample s;
    float *params = NULL;
    int result = -1;
    if (small_init(&m, &s, c, (SampleShape){2, 8, 2, 8}) < 0) goto done;
    for (int step = 1; step <= 5; step++) {
        double loss, norm;
        if (sample_step(&loss, &norm, &m, &s, step) < 0) goto done;
        *digest = digest_add_double(*digest, loss);
        *digest = digest_add_double(*digest, norm);
    }
    params = allocate(m.num_params, sizeof *params);
    if (!params) goto done;
    kernels_read(params, m.params_memory, m.num_params);
    *digest = digest_add_all(*digest, params, m.num_params);
    result = 0;
done:
    free(params);
    small_free(&m, &s);
    return result;
}

// The losses of 20 steps of a small model: a language model, and a reward model of another family.
static int trajectory(double loss[TRAJECTORY], int number) {
    static const Family of[NUM_TRAJECTORIES] = {FAMILY_QWEN3, FAMILY_NEOX};
    Model m;
    Sample s;
    double norm;
    const Config c = small_config(of[number], number);
    int result = small_init(&m, &s, c, (SampleShape){2, 4, 2, 3});
    for (int step = 1; result == 0 && step <= TRAJECTORY; step++) {
        result = sample_step(&loss[step - 1], &norm, &m, &s, step);
    }
    small_free(&m, &s);
    return result;
}

/* The first step whose loss is another than the right one, about which lines are appended; 0: none
 * is.  -1 after fail(). */
static int trajectory_first_wrong(Buffer *said, int number) {
    double loss[TRAJECTORY];
    if (trajectory(loss, number) < 0) return -1;
    for (int s = 0; s < TRAJECTORY; s++) {
        const double right = golden_losses[number][s];
        if (loss[s] == right) continue;
        const char *cause = s ? "a backward or the update" : "a forward";
        if (buffer_printf(said, "    the first that differs: training a small %s model, the loss "
                          "of step %d is %a, right is %a\n    likely: %s, for shapes that no "
                          "vector has\n", number ? "reward" : "language", s + 1, loss[s], right,
                          cause) < 0) return -1;
        return s + 1;
    }
    return 0;
}

/* Golden vectors and trajectories: lines about the first thing that differs are appended.  The
 * number of things that are wrong, or -1 after fail(). */
static int kit_check(Buffer *said) {
    const int first = vectors_first_wrong(said);
    if (first < 0) return -1;
    if (first < vectors_count()) return 1;
    for (int i = 0; i < NUM_TRAJECTORIES; i++) {
        const int step = trajectory_first_wrong(said, i);
        if (step) return step < 0 ? -1 : 1;
    }
    return 0;
}

// All of the self-test with one variant and so many threads, and a line about it; counts what is
// wrong.
static int selftest_variant(const char *variant, int threads, int *wrong) {
    float got[NUM_PROBES];
    uint64_t functions, training = 0;
    Buffer said = {0};
    kernels_set_threads(threads);
    if (kernels_init(variant) < 0) return -1;
    for (int k = 0; k < NUM_SMALL; k++) {
        const Config c = small_config(small_models[k].family, small_models[k].reward);
        if (digest_training(&training, c) < 0) return -1;
    }
    probe_all(got);
    if (selftest_digest(&functions) < 0) return -1;

    const int damaged = probe_verdict(got) < 0;
    printf("%-11s %3d thread%s  functions %016llx%s  training %016llx%s\n", variant, threads,
           threads == 1 ? " " : "s",
           (unsigned long long)functions, functions == right_digest ? "" : " (wrong)",
           (unsigned long long)training, training == right_training ? "" : " (wrong)");
    if (damaged) printf("    %s\n", error_text);
    const int differs = kit_check(&said);
    if (said.data) printf("%s", said.data);
    buffer_free(&said);
    *wrong += damaged || differs || functions != right_digest || training != right_training;
    return differs < 0 ? -1 : 0;
}

// With every variant this machine has, with one thread and with all. 0, or -1 after fail().
int selftest_report(void) {
    const char *name = kernels_name();
    const int most = kernels_threads();
    int wrong = 0, result = 0;
    for (int i = 0; result == 0 && kernels_variant(i); i++) {
        result = selftest_variant(kernels_variant(i), 1, &wrong);
        if (result == 0 && most > 1) result = selftest_variant(kernels_variant(i), most, &wrong);
    }
    kernels_set_threads(most);
    if (kernels_init(name) < 0 || result < 0) return -1;
    if (wrong) {
        return fail(EX_OSERR, "this machine does not keep the contract: functions %016llx and "
                    "training %016llx are right (NUMERICS.md)", (unsigned long long)right_digest,
                    (unsigned long long)right_training);
    }
    printf("%d golden vectors, %d trajectories of %d steps: this machine keeps the contract\n",
           vectors_count(), NUM_TRAJECTORIES, TRAJECTORY);
    return 0;
}

// They name the contract that this program was built for.
void selftest_digests(char text[NUMERICS_TEXT]) {
    snprintf(text, NUMERICS_TEXT, "functions %016llx, training %016llx",
             (unsigned long long)right_digest, (unsigned long long)right_training);
}

// ---------------------------------------------------------------------------------- more gradcheck

static const char *const kind_names[] = {
    [KIND_EMBED]  = "embeddings",
    [KIND_MATRIX] = "matrices that read",
    [KIND_OUT]    = "matrices that write",
    [KIND_ONE]    = "gains",
    [KIND_ZERO]   = "biases",
    [KIND_HEAD]   = "score head",
    [KIND_LORA_A] = "adapters that read",
    [KIND_LORA_B] = "adapters that write",
};
_Static_assert(sizeof kind_names / sizeof *kind_names == NUM_TENSOR_KINDS, "a kind without a name");

static const double gradcheck_tolerance = 0.01; // rounding alone: 0.003 at most, mostly 0.0002

/* dL/dw = (8 (L(w+h) - L(w-h)) - (L(w+2h) - L(w-2h))) / 12h + O(h^4): a wide step, because the
 * rewards in L are floats. */
static int parameter_slope(double *slope, Model *m, const Sample *s, size_t at, double h) {
    float w0;
    double loss[5] = {0};
    kernels_read(&w0, m->params_memory + at, 1);
    for (int k = -2; k <= 2; k++) {
        const float w = (float)(w0 + k * h);
        kernels_write(m->params_memory + at, &w, 1);
        if (k && sample_loss(&loss[k + 2], m, s, 0) < 0) return -1;
    }
    kernels_write(m->params_memory + at, &w0, 1);
    *slope = (8 * (loss[3] - loss[1]) - (loss[4] - loss[0])) / (12 * h);
    return 0;
}

// Weights under which every layer matters: gains about 1, biases about 0, matrices that keep the
// size.
static int gradcheck_weights(Model *m) {
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *x = &m->tensor[k];
        const int is_one = x->kind == KIND_ONE;
        const double sd = is_one || x->kind == KIND_ZERO ? 0.3 : 1 / sqrt(x->fan_in);
        float *host = allocate(x->size, sizeof *host);
        if (!host) return -1;
        for (size_t i = 0; i < x->size; i++) {
            host[i] = (float)(is_one + sd * random_normal(1, STREAM_TEST, (uint64_t)k, i));
        }
        kernels_write(m->params_memory + x->offset, host, x->size);
        free(host);
    }
    return 0;
}

// Raises *worst to the largest error among some parameters of tensor k. 0, or -1 after fail().
static int gradcheck_tensor(double *worst, Model *m, const Sample *s, int k, int samples) {
    const Config *c = &m->config;
    const Tensor *x = &m->tensor[k];
    const size_t C = (size_t)c->channels;
    float largest = 3e-3f;
    int result = -1;
    float *grad = allocate(x->size, sizeof *grad);
    if (!grad) return -1;
    kernels_read(grad, m->grads_memory + x->offset, x->size);
    for (size_t i = 0; i < x->size; i++) largest = fmaxf(largest, fabsf(grad[i]));

    for (int i = 0; i < samples; i++) {
        const uint64_t u = random_u64(2, STREAM_TEST, (uint64_t)k, (uint64_t)i);
        size_t at = (size_t)(u % x->size);
        double slope, h = 0x1p-6;
        if (x->kind == KIND_EMBED) {            // in a row that the batch uses
            const size_t t = (size_t)(u >> 32) % (size_t)s->batch.T;
            const int is_positions = k == 1 && c->learned_positions;
            const int row = is_positions ? s->batch.position[t] : s->batch.token[t];
            at = at % C + C * (size_t)row;
            h = 0.1 / sqrt(c->channels);
        }
        if (parameter_slope(&slope, m, s, x->offset + at, h) < 0) goto done;
        const double error = fabs(slope - grad[at]) / largest;
        if (!(error <= *worst)) *worst = error;
    }
    result = 0;
done:
    free(grad);
    return result;
}

/* worst (NUM_TENSOR_KINDS): the largest |backward - difference| over the largest gradient of its
 * tensor, or over 0.003 if that is more; -1 where the model has no such tensor.  Tries about so
 * many parameters; returns how many, or -1 after fail(). */
static int gradcheck(double *worst, Model *m, const Sample *s, int about) {
    const int samples = about / m->num_tensors + 1;
    double loss;
    for (int i = 0; i < NUM_TENSOR_KINDS; i++) worst[i] = -1;
    if (gradcheck_weights(m) < 0) return -1;
    model_zero_grads(m);
    if (sample_loss(&loss, m, s, 1) < 0) return -1;
    model_finish_grads(m);
    for (int k = 0; k < m->num_tensors; k++) {
        if (gradcheck_tensor(&worst[m->tensor[k].kind], m, s, k, samples) < 0) return -1;
    }
    return samples * m->num_tensors;
}

// The lines about one model; counts the kinds of tensors that are off. 0, or -1 after fail().
static int gradcheck_model(const char *name, Config c, int about, int *off) {
    Model m;
    Sample s;
    double worst[NUM_TENSOR_KINDS];
    int tried = -1;
    if (small_init(&m, &s, c, (SampleShape){1, 8, 2, 8}) == 0) tried = gradcheck(worst, &m, &s,
                                                                                 about);
    small_free(&m, &s);
    if (tried < 0) return -1;

    printf("%s: %d parameters\n", name, tried);
    for (int k = 0; k < NUM_TENSOR_KINDS; k++) {
        const int bad = worst[k] > gradcheck_tolerance;
        *off += bad;
        if (worst[k] < 0) continue;
        printf("    %-20s worst error %.5f of the largest gradient%s\n", kind_names[k], worst[k],
               bad ? ", too much" : "");
    }
    return 0;
}

/* Backward against differences of the loss in float, for a language or reward model of shape c, or
 * with NULL for the small models; weights are random.  0, or -1 after fail(): code 65 when a
 * gradient is off. */
int gradcheck_report(const Config *c) {
    const int threads = kernels_threads();
    int off = 0, result = 0;
    if (c && c->max_positions < 16) {
        return fail(EX_DATAERR, "the model has fewer than 16 positions: too few for a check");
    }
    if (c) {
        result = gradcheck_model("this shape", *c, 240, &off);
    } else {
        kernels_set_threads(1);                 // so little work that threads only wait
        for (int i = 0; result == 0 && i < NUM_SMALL; i++) {
            const Config small = small_config(small_models[i].family, small_models[i].reward);
            result = gradcheck_model(small_models[i].name, small, 60, &off);
        }
        kernels_set_threads(threads);
    }
    if (result < 0) return -1;
    printf("Differences in float are good to about %g; the exact check is test/test_grad.c, "
           "in double.\n", gradcheck_tolerance);
    if (off) return fail(EX_DATAERR, "gradcheck: backward is not the derivative of forward");
    return 0;
}
#endif

/* check.c - does this machine keep the contract (more selftest, and its short part whenever the program
 * starts), are the gradients right (more gradcheck)?  kernels_init comes first.                            */
#ifndef CHECK_C
#define CHECK_C
#include "../loss.c"
#include "../model.c"

// ---------------------------------------------------------------------------------- what breaks the contract

// Each probe is one operation whose result differs under one kind of damage.
#define ROUNDING_MODE ": something in this process changed the rounding mode, which must be to nearest"
#define FAST_FLAGS    ": compile and link without -ffast-math, -Ofast and -funsafe-math-optimizations"
#define CONTRACTED    " was fused into one rounding: compile with -ffp-contract=off"
#define TWO_ROUNDINGS "the fused multiply-add rounds twice: try MORE_ISA=scalar, or compile without -march " \
                      "and -mfma"
static const struct Probe { ProbeOp op; float a, b, c, right; const char *wrong; } probes[] = {
    {PROBE_ADD,  1,  0x1p-30f, 0,  1, "results are rounded upward" ROUNDING_MODE},
    {PROBE_ADD, -1, -0x1p-30f, 0, -1, "results are rounded downward" ROUNDING_MODE},
    {PROBE_ADD,  1, -0x1p-30f, 0,  1, "results are rounded toward zero" ROUNDING_MODE},
    {PROBE_DIVIDE_SUBTRACT, 1, 3, 0x1.555556p-2f, 0,
     "floats are computed in extended precision: compile with -msse2 -mfpmath=sse"},
    {PROBE_MULTIPLY, 0x1p-126f, 0.5f, 0, 0x1p-127f, "subnormal results are flushed to zero" FAST_FLAGS},
    {PROBE_MULTIPLY, 0x1p-138f, 0x1p20f, 0, 0x1p-118f, "subnormal numbers are read as zero" FAST_FLAGS},
    {PROBE_DOUBLE_SMALL, 0x1p-40f, 0, 0, 0x1p-40f, "subnormal doubles are flushed to zero" FAST_FLAGS},
    {PROBE_MULTIPLY_ADD, 0x1.001p0f, 0x1.001p0f, -0x1.002p0f, 0, "a*b + c" CONTRACTED},
    {PROBE_DOUBLE_FUSED, 0x1p-27f, 0, 0, 0, "a*b + c in double" CONTRACTED},
    {PROBE_ADD_SUBTRACT, 0x1p24f, 1, 0, 0, "a sum was reassociated" FAST_FLAGS},
    {PROBE_DIVIDE_BY_ONE, 5, 3, 0, 0x1.aaaaaap0f, "a division became a product" FAST_FLAGS},
    {PROBE_FMA, 0x1.001p0f, 0x1.001p0f, -0x1.002p0f, 0x1p-24f, TWO_ROUNDINGS},
    {PROBE_FMA, 24929, 673,  0x1p-60f, 0x1.000002p24f, TWO_ROUNDINGS},   // a tie that a bit far below decides
    {PROBE_FMA, 24929, 673, -0x1p-60f, 0x1p24f, TWO_ROUNDINGS},
    {PROBE_FMA, 0x1p-75f, 0x1.000002p-75f, 0, 0x1p-149f, TWO_ROUNDINGS},
};
enum { NUM_PROBES = sizeof probes / sizeof *probes, PROBE_LEN = 37 };  // of whole vectors and a tail

// got (NUM_PROBES): the result of each probe, or the first of its elements that is not right
static void probe_all(float *got) {
    for (int p = 0; p < NUM_PROBES; p++) {
        volatile float a = probes[p].a, b = probes[p].b, c = probes[p].c;      // not known to the compiler
        float out[PROBE_LEN], as[PROBE_LEN], bs[PROBE_LEN], cs[PROBE_LEN];
        for (int i = 0; i < PROBE_LEN; i++) as[i] = a, bs[i] = b, cs[i] = c;
        kernels_probe(out, probes[p].op, as, bs, cs, PROBE_LEN);
        int i = 0;
        while (i < PROBE_LEN - 1 && bits_of(out[i]) == bits_of(probes[p].right)) i++;
        got[p] = out[i];
    }
}
static int probe_verdict(const float *got) {
    for (int p = 0; p < NUM_PROBES; p++)
        if (bits_of(got[p]) != bits_of(probes[p].right))
            return fail(EX_OSERR, "self-test, %s: %s (NUMERICS.md)", kernels_name(), probes[p].wrong);
    return 0;
}

// ------------------------------------------------------------------------------------------------ the digest

static uint64_t digest_add(uint64_t digest, float x) {                // one NaN stands for all
    uint32_t u = bits_of(x);
    return random_mix(digest ^ ((u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u));
}
static uint64_t digest_add_double(uint64_t digest, double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return random_mix(digest ^ u);
}

// of every four one with any bits, one subnormal, two in [-4, 4)
static float digest_input(uint64_t row, uint64_t i) {
    uint32_t u = (uint32_t)(random_u64(1, STREAM_TEST, row, i) >> 32);
    return i % 4 == 0 ? float_of(u) : i % 4 == 1 ? float_of(u & 0x807fffff) : (float)(u >> 8) * 0x1p-21f - 4;
}

/* One number for 2048 results in float, 48 sums along rows, 448 results in double, two small matrix products.
 * 0, or -1 after fail(); operands of products are fp32 after it.                                           */
static int selftest_digest(uint64_t *digest) {
    static const ProbeOp ops[] = {PROBE_FMA, PROBE_MULTIPLY_ADD, PROBE_EXP, PROBE_ERF, PROBE_TANH,
                                  PROBE_SIGMOID, PROBE_DIVIDE, PROBE_SQRT};
    enum { NUM_OPS = sizeof ops / sizeof *ops, N = 256, M = 15, OC = 35, K = 20 };
    float x[N], y[N], z[N], out[N], a[M*K], b[K*OC], c[M*OC];
    uint64_t d = 0;
    for (unsigned i = 0; i < N; i++)
        x[i] = digest_input(0, i), y[i] = digest_input(1, i), z[i] = digest_input(2, i);
    for (int op = 0; op < NUM_OPS; op++) {
        kernels_probe(out, ops[op], x, y, z, N);
        for (int i = 0; i < N; i++) d = digest_add(d, out[i]);
    }
    real *tensor = kernels_alloc(M*K + K*OC + M*OC), *ta = tensor, *tb = ta + M*K, *tc = tb + K*OC;
    if (!tensor) return -1;
    for (unsigned i = 0; i < N; i++) x[i] = digest_input(3, 2*i + 1), y[i] = digest_input(4, 4*i + 2);
    kernels_write(ta, x, 48), kernels_write(tb, y, 48);
    for (int n = 1; n <= 48; n++) {
        head_forward(tc, ta, tb, 1, n);
        kernels_read(out, tc, 1);
        d = digest_add(d, out[0]);
    }
    for (int i = 0; i < 64; i++) {
        double v = y[i], size = fabs(v) + 0x1p-20, s, co;
        more_sincos(100 * v, &s, &co);
        double result[7] = {more_exp(40 * v), more_log(size), more_log1p(v / 5), s, co, sqrt(size),
                            v / (size + 1)};
        for (int k = 0; k < 7; k++) d = digest_add_double(d, result[k]);
    }
    for (unsigned i = 0; i < M*K; i++)  a[i] = digest_input(5, 2*i + 1);
    for (unsigned i = 0; i < K*OC; i++) b[i] = digest_input(6, 4*i + 2);
    kernels_write(ta, a, M*K), kernels_write(tb, b, K*OC);
    matmul_backward(tc, NULL, NULL, ta, NULL, tb, M, OC, K, NULL);     // dinp = dout w
    kernels_read(c, tc, M*OC);
    for (int i = 0; i < M*OC; i++) d = digest_add(d, c[i]);
    kernels_precision(1);
    matmul_backward(tc, NULL, NULL, ta, NULL, tb, 6, 14, 50, NULL);
    kernels_precision(0);
    kernels_read(c, tc, 6*14);
    for (int i = 0; i < 6*14; i++) d = digest_add(d, c[i]);
    kernels_free(tensor);
    *digest = d;
    return 0;
}
static const uint64_t right_digest = 0xdcf0f0c6302ac1cd, right_training = 0xff18209c6edeb7bb;

// The self-test of every start, far below a millisecond. 0, or -1 after fail(): what is wrong, what to do.
int selftest_start(void) {
    float got[NUM_PROBES];
    uint64_t digest;
    probe_all(got);
    if (probe_verdict(got) < 0) return -1;
    if (selftest_digest(&digest) < 0) return -1;
    if (digest == right_digest) return 0;
    const char *fallback = kernels_fallback();
    if (fallback && !getenv("MORE_ISA"))                    // done without: a bf16 unit of other arithmetic
        return kernels_init(fallback) < 0 ? -1 : selftest_start();
    return fail(EX_OSERR, "self-test, %s: this build computes other numbers than the contract: try "
                "MORE_ISA=scalar, or another compiler with -O2 -ffp-contract=off alone (NUMERICS.md)",
                kernels_name());
}

// ------------------------------------------------------------------------------ small models and their steps

// A packed micro-batch of random tokens: groups of a prompt and so many answers of `length` rows.
typedef struct {
    Batch batch;
    int *row_memory; Segment *seg_memory; Text *text_memory; float *value_memory;
} Sample;
typedef struct { int groups, prompt, answers, length; } SampleShape;

static int sample_init(Sample *s, SampleShape n, int vocab_size) {
    int T = n.groups * (n.prompt + n.answers * n.length), t = 0, segs = 0, texts = 0;
    int *token = s->row_memory = allocate(3 * (size_t)T, sizeof(int));
    s->seg_memory = allocate((size_t)(n.groups * (1 + n.answers)), sizeof(Segment));
    s->text_memory = allocate((size_t)(n.groups * n.answers), sizeof(Text));
    s->value_memory = allocate(2 * (size_t)T, sizeof(float));
    if (!s->row_memory || !s->seg_memory || !s->text_memory || !s->value_memory) return -1;
    int *position = token + T, *target = position + T;
    for (int g = 0; g < n.groups; g++)
        for (int a = -1, parent = segs; a < n.answers; a++) {         // -1 is the prompt
            int rows = a < 0 ? n.prompt : n.length;
            s->seg_memory[segs++] = (Segment){t, rows, a < 0 ? -1 : parent};
            if (a >= 0) s->text_memory[texts++] = (Text){t, rows, t + rows - 1};
            for (int i = 0; i < rows; i++, t++) {
                uint64_t u = random_u64(1, STREAM_TEST, 8, (uint64_t)t);
                token[t] = (int)((u & 0xffffffff) % (uint32_t)vocab_size);
                position[t] = a < 0 ? i : n.prompt + i;
                target[t] = a < 0 && n.answers ? -1 : (int)((u >> 32) % (uint32_t)vocab_size);
            }
        }
    s->batch = (Batch){T, token, position, target, segs, s->seg_memory, texts, s->text_memory, NULL, 0};
    return 0;
}

static void small_free(Model *m, Sample *s) {
    free(s->row_memory), free(s->seg_memory), free(s->text_memory), free(s->value_memory);
    model_free(m);
}
static int small_init(Model *m, Sample *s, Config c, SampleShape n) {
    memset(s, 0, sizeof *s);
    return model_init(m, c) < 0 || model_init_training(m) < 0 || model_random(m, 1) < 0
        || (c.reward && model_random_head(m, 1) < 0) || sample_init(s, n, c.vocab_size) < 0
        || model_reserve(m, s->batch.T, s->batch.B) < 0 ? -1 : 0;
}

// The model's objective: language modelling, or Bradley-Terry of each two texts; with backward if asked for.
static int sample_loss(double *loss, Model *m, const Sample *s, int backward) {
    const Batch *b = &s->batch;
    float *value = s->value_memory, *coef = value + b->T, weight = b->B ? 2 / (float)b->B : 0;
    int N = 0;
    *loss = 0;
    model_forward(m, b);
    if (m->config.reward) {
        model_rewards(m, b, value, NULL);
        memset(coef, 0, (size_t)b->B * sizeof *coef);
        for (int j = 0; j < b->B; j += 2)
            *loss += reward_bt_loss(coef + j, coef + j+1, value + j, value + j+1, &weight, NULL, 1);
        return backward ? model_backward(m, b, coef, NULL, NULL) : 0;
    }
    for (int t = 0; t < b->T; t++) N += b->target[t] >= 0;
    lm_coefficients(coef, b->target, b->T, N);
    if ((backward ? model_backward(m, b, NULL, coef, value) : model_logp(m, b, value)) < 0) return -1;
    *loss = lm_loss(value, b->T, N);
    return 0;
}

static int sample_step(double *loss, double *norm, Model *m, const Sample *s, int step) {
    AdamW o = {0.01, 0.9, 0.999, 1e-8, 0.1, 1, 1, step};
    model_zero_grads(m);
    if (sample_loss(loss, m, s, 1) < 0) return -1;
    model_finish_grads(m);
    *norm = model_grad_norm(m);
    if (*norm + 1e-6 > 1) o.scale = 1 / (*norm + 1e-6);
    model_update(m, &o);
    return 0;
}

static Config small_config(Family family, int reward) {
    int llama = family == FAMILY_LLAMA || family == FAMILY_QWEN3, gpt2 = family == FAMILY_GPT2;
    return (Config){.family = family, .vocab_size = 64, .channels = 32, .num_layers = 2, .num_heads = 4,
                    .num_kv_heads = llama ? 2 : 4, .head_dim = 8, .hidden = llama ? 80 : 128,
                    .max_positions = 32, .rms_norm = llama, .learned_positions = gpt2,
                    .parallel_residual = !llama && !gpt2, .gated = llama, .tied = !llama,
                    .rotary_dims = llama ? 8 : gpt2 ? 0 : 4, .qkv_bias = !llama, .out_bias = !llama,
                    .mlp_bias = !llama, .qk_norm = family == FAMILY_QWEN3,
                    .activation = llama ? ACT_SILU : gpt2 ? ACT_GELU_TANH : ACT_GELU_ERF,
                    .norm_eps = 1e-5f, .rope_theta = 10000, .bos = 0, .eos = 0, .pad = 1, .reward = reward,
                    .pooling = llama ? POOL_LAST : POOL_MEAN};
}
_Static_assert(NUM_FAMILIES == 5, "a new family wants its small_config, and its lines in small_models");
static const struct { const char *name; Family family; int reward; } small_models[] = {
    {"GPT-NeoX, language model", FAMILY_NEOX, 0}, {"GPT-NeoX, reward model", FAMILY_NEOX, 1},
    {"GPT-2, language model", FAMILY_GPT2, 0},    {"GPT-2, reward model", FAMILY_GPT2, 1},
    {"LLaMA, language model", FAMILY_LLAMA, 0},   {"LLaMA, reward model", FAMILY_LLAMA, 1},
    {"Qwen3, language model", FAMILY_QWEN3, 0}};
enum { NUM_SMALL = sizeof small_models / sizeof *small_models };

// Five steps of each small model: one number for every loss, gradient norm and parameter.
static int selftest_training(uint64_t *digest) {
    int ok = 1;
    *digest = 0;
    for (int k = 0; ok && k < NUM_SMALL; k++) {
        Model m;
        Sample s;
        double loss = 0, norm = 0;
        const Config c = small_config(small_models[k].family, small_models[k].reward);
        ok = small_init(&m, &s, c, (SampleShape){2, 8, 2, 8}) == 0;
        for (int step = 1; ok && step <= 5; step++) {
            ok = sample_step(&loss, &norm, &m, &s, step) == 0;
            *digest = digest_add_double(digest_add_double(*digest, loss), norm);
        }
        float *host = ok ? allocate(m.num_params, sizeof *host) : NULL;
        if ((ok = host != NULL)) kernels_read(host, m.params_memory, m.num_params);
        for (size_t i = 0; ok && i < m.num_params; i++) *digest = digest_add(*digest, host[i]);
        free(host), small_free(&m, &s);
    }
    return ok ? 0 : -1;
}

// more selftest: all of it, for every instruction set here, with one thread and all. 0, or -1 after fail().
int selftest_report(void) {
    const char *name = kernels_name();
    int most = kernels_threads(), wrong = 0, ok = 1;
    for (int i = 0; ok && kernels_variant(i); i++)
        for (int n = 1; ok && n <= most; n = n < most ? most : most + 1) {
            uint64_t digest, training;
            float got[NUM_PROBES];
            kernels_set_threads(n);
            if (!(ok = kernels_init(kernels_variant(i)) == 0 && selftest_training(&training) == 0)) break;
            probe_all(got);
            if (!(ok = selftest_digest(&digest) == 0)) break;
            int damaged = probe_verdict(got) < 0;
            printf("%-11s %3d thread%s  functions %016llx%s  training %016llx%s\n", kernels_variant(i), n,
                   n == 1 ? " " : "s", (unsigned long long)digest, digest == right_digest ? "" : " (wrong)",
                   (unsigned long long)training, training == right_training ? "" : " (wrong)");
            if (damaged) printf("    %s\n", error_text);
            wrong += damaged || digest != right_digest || training != right_training;
        }
    kernels_set_threads(most);
    if (kernels_init(name) < 0 || !ok) return -1;
    if (wrong)
        return fail(EX_OSERR, "this machine does not keep the contract: functions %016llx and training "
                    "%016llx are right (NUMERICS.md)", (unsigned long long)right_digest,
                    (unsigned long long)right_training);
    printf("this machine keeps the contract\n");
    return 0;
}

// ------------------------------------------------------------------------------------------------ gradients

static const char *const kind_names[] = {"embeddings", "matrices that read", "matrices that write", "gains",
                                         "biases", "score head"};     // of Tensor.kind
enum { NUM_KINDS = sizeof kind_names / sizeof *kind_names };
static const double gradcheck_tolerance = 0.01;             // rounding alone: 0.003 at most, mostly 0.0002

// dL/dw = (8 (L(w+h) - L(w-h)) - (L(w+2h) - L(w-2h))) / 12h + O(h^4): a wide step, as rewards in L are floats
static int parameter_slope(double *slope, Model *m, const Sample *s, size_t at, double h) {
    float w0, w;
    double loss[5] = {0};
    kernels_read(&w0, m->params_memory + at, 1);
    for (int k = -2; k <= 2; k++) {
        w = (float)(w0 + k * h);
        kernels_write(m->params_memory + at, &w, 1);
        if (k && sample_loss(&loss[k + 2], m, s, 0) < 0) return -1;
    }
    kernels_write(m->params_memory + at, &w0, 1);
    *slope = (8 * (loss[3] - loss[1]) - (loss[4] - loss[0])) / (12 * h);
    return 0;
}

/* worst (NUM_KINDS): the largest |backward - difference| over the largest gradient of its tensor, or over
 * 0.003 if that is more; -1 where the model has no such tensor.  Returns how many parameters were tried, or
 * -1 after fail().                                                                                         */
static int gradcheck(double *worst, Model *m, const Sample *s, int samples) {
    const Tensor *list = m->tensor;
    const int count = m->num_tensors;
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels;
    double loss, slope = 0;
    int tried = 0;
    for (int i = 0; i < NUM_KINDS; i++) worst[i] = -1;
    for (int k = 0; k < count; k++) {                       // weights under which every layer matters
        float *host = allocate(list[k].size, sizeof *host);
        if (!host) return -1;
        double sd = list[k].kind == KIND_ONE || list[k].kind == KIND_ZERO ? 0.3 : 1 / sqrt(list[k].fan_in);
        for (size_t i = 0; i < list[k].size; i++)
            host[i] = (float)((list[k].kind == KIND_ONE)
                              + sd * random_normal(1, STREAM_TEST, (uint64_t)k, i));
        kernels_write(m->params_memory + list[k].offset, host, list[k].size);
        free(host);
    }
    model_zero_grads(m);
    if (sample_loss(&loss, m, s, 1) < 0) return -1;
    model_finish_grads(m);
    for (int k = 0; k < count; k++) {
        float *grad = allocate(list[k].size, sizeof *grad), largest = 3e-3f;
        if (!grad) return -1;
        kernels_read(grad, m->grads_memory + list[k].offset, list[k].size);
        for (size_t i = 0; i < list[k].size; i++)
            largest = fabsf(grad[i]) > largest ? fabsf(grad[i]) : largest;
        for (int i = 0; i <= samples / count; i++, tried++) {
            uint64_t u = random_u64(2, STREAM_TEST, (uint64_t)k, (uint64_t)i);
            size_t at = (size_t)(u % list[k].size), row = (size_t)(u >> 32) % (size_t)s->batch.T;
            double h = 0x1p-6;
            if (list[k].kind == KIND_EMBED) {                         // then a row of it that the batch uses
                const int *used = k == 1 && c->learned_positions ? s->batch.position : s->batch.token;
                at = at % C + C * (size_t)used[row], h = 0.1 / sqrt(c->channels);
            }
            if (parameter_slope(&slope, m, s, list[k].offset + at, h) < 0) return free(grad), -1;
            double error = fabs(slope - grad[at]) / largest;
            if (!(error <= worst[list[k].kind])) worst[list[k].kind] = error;
        }
        free(grad);
    }
    return tried;
}

/* more gradcheck: backward against differences of the loss in float, for a language or reward model of shape
 * c, or with NULL for the small models; weights are random.  0, or -1 after fail(): code 65 when a gradient
 * is off.                                                                                                  */
int gradcheck_report(const Config *c) {
    int off = 0, threads = kernels_threads();
    if (c && c->max_positions < 16)
        return fail(EX_DATAERR, "the model has fewer than 16 positions: too few for a check");
    if (!c) kernels_set_threads(1);                                           // so little work that threads only wait
    for (int i = 0; i < (c ? 1 : NUM_SMALL); i++) {
        Model m;
        Sample s;
        double worst[NUM_KINDS];
        int tried = small_init(&m, &s, c ? *c : small_config(small_models[i].family, small_models[i].reward),
                               (SampleShape){1, 8, 2, 8});
        if (tried == 0) tried = gradcheck(worst, &m, &s, c ? 240 : 60);
        small_free(&m, &s);
        if (tried < 0) return kernels_set_threads(threads), -1;
        printf("%s: %d parameters\n", c ? "this shape" : small_models[i].name, tried);
        for (int k = 0; k < NUM_KINDS; k++) {
            int bad = worst[k] > gradcheck_tolerance;
            if (worst[k] >= 0)
                printf("    %-20s worst error %.5f of the largest gradient%s\n", kind_names[k], worst[k],
                       bad ? ", too much" : "");
            off += bad;
        }
    }
    kernels_set_threads(threads);
    printf("Differences in float are good to about %g; the exact check is test/test_grad.c, in double.\n",
           gradcheck_tolerance);
    return off ? fail(EX_DATAERR, "gradcheck: backward is not the derivative of forward") : 0;
}
#endif

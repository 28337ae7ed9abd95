/* vectors.c - golden vectors: what every part of the program gives for inputs that are made here,
 * from integers and bytes up to a step of training; each part calls only what stands before it.  On
 * a machine that computes otherwise the first part that differs says where to look, its numbers how
 * far it is off, its cause what it mostly is.
 *
 * A part puts words of 32 bits into a row: floats as their bits, doubles as two words.  Of the row
 * the digest of all and four words, spread over it, are known; scripts/golden_vectors.c prints
 * them. */
#ifndef VECTORS_C
#define VECTORS_C
#include "../model.c"
#include "../rl_loss.c"
#include "../vocabulary.c"
#include "../files/blocks.c"
#include "../files/file.c"

int vectors_first_wrong(Buffer *said);          // its number, or that of vectors; -1 after fail()
int vectors_count(void);

// ------------------------------------------------------------------------------ a part at its work

enum { KNOWN = 4 };                             // words of a row that are known
enum { KIT_NUMBERS = 1 << 15 };                 // of all tensors of a part

typedef struct {
    Buffer row;                                 // of uint32_t
    real *memory;                               // KIT_NUMBERS
    size_t used;                                // of them
    uint64_t inputs;                            // tensors that were filled so far
    int failed;                                 // yes: after fail()
} Kit;

static void kit_word(Kit *k, uint32_t word) {
    if (buffer_append(&k->row, &word, sizeof word) < 0) k->failed = 1;
}
// one NaN stands for all
static void kit_float(Kit *k, float x) { kit_word(k, x != x ? 0x7fc00000 : bits_of(x)); }
static void kit_double(Kit *k, double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    kit_word(k, (uint32_t)(u >> 32));
    kit_word(k, (uint32_t)u);
}
static void kit_text(Kit *k, const char *s) {
    for (; *s; s++) kit_word(k, (unsigned char)*s);
}

// in [-1, 1), a multiple of 2^-23
static float small_number(uint64_t row, uint64_t i) {
    return (float)(random_u64(3, STREAM_TEST, row, i) >> 40) * 0x1p-23f - 1;
}
static void fill_floats(Kit *k, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = small_number(k->inputs, i);
    k->inputs++;
}

// A tensor of zeros; one of numbers; its numbers as words.
static real *kit_zeros(Kit *k, size_t n) {
    real *tensor = k->memory + k->used;
    k->used += (n + 15) / 16 * 16;
    assert(k->used <= KIT_NUMBERS);
    return tensor;
}
static real *kit_numbers(Kit *k, size_t n) {
    float x[1024];
    real *tensor = kit_zeros(k, n);
    assert(n <= 1024);
    fill_floats(k, x, n);
    kernels_write(tensor, x, n);
    return tensor;
}
static void kit_tensor(Kit *k, const real *tensor, size_t n) {
    float x[1024];
    assert(n <= 1024);
    kernels_read(x, tensor, n);
    for (size_t i = 0; i < n; i++) kit_float(k, x[i]);
}

// --------------------------------------------------------------------------------- bytes and texts

static void make_integers(Kit *k) {
    for (uint64_t i = 0; i < 16; i++) {
        const uint64_t u = random_u64(1, STREAM_TEST, 2, i);
        kit_word(k, (uint32_t)(u >> 32));
        kit_word(k, (uint32_t)u);
        kit_word(k, random_below(1000003, 1, STREAM_TEST, 3, i));
    }
}

static void make_bytes(Kit *k) {
    static const Dtype dtypes[] = {F32, F16, BF16};
    unsigned char bytes[8] = {0};
    char hex[65];
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        for (uint64_t i = 0; i < 8; i++) {
            dtype_encode(dtypes[d], bytes, small_number(0, i));
            for (int b = 0; b < 4; b++) kit_word(k, bytes[b]);
            kit_float(k, dtype_decode(dtypes[d], bytes));
        }
    }
    sha256_hex(hex, "abc", 3);
    kit_text(k, hex);
}

static void make_decimals(Kit *k) {
    static const char *const text[] = {"0.1", "1e-05", "123456.789", "-2.5e3"};
    char s[64];
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) kit_double(k, strtod(text[i], NULL));
    snprintf(s, sizeof s, "%.9g %.17g %g", 1 / 3.0, 1 / 3.0, 1e-5);
    kit_text(k, s);
}

// The ids of a text, and the text of the ids.
static void kit_ids(Kit *k, const Tokenizer *t, const char *text) {
    int *ids = NULL;
    size_t count = 0, capacity = 0;
    Buffer back = {0};
    if (tokenizer_encode(t, text, strlen(text), &ids, &count, &capacity) < 0
        || tokenizer_decode(t, ids, count, &back) < 0) {
        k->failed = 1;
    }
    for (size_t i = 0; i < count; i++) kit_word(k, (uint32_t)ids[i]);
    if (back.data) kit_text(k, back.data);
    buffer_free(&back);
    free(ids);
}
static void make_tokens(Kit *k) {
    static const char learnt[] = "the hat of the cat, the hat that the rat hats; na\xc3\xafve 12";
    static const char *const texts[] = {
        "the hat", "That's na\xc3\xafve: 3 \xe7\x8c\xab, \xf0\x9f\x99\x82!", "  two\n\nlines\t",
        "\xff\x80 no UTF-8"};
    const size_t end = sizeof learnt - 1;
    Tokenizer t;
    if (tokenizer_learn(&t, learnt, &end, 1, FIRST_MERGE + 12) < 0) {
        k->failed = 1;
        return;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) kit_ids(k, &t, texts[i]);
    tokenizer_free(&t);
}

static void make_normal_form(Kit *k) {
    // e and two marks, the sign of Angstrom, three parts of a Korean syllable
    static const char text[] = "e\xcc\x81\xcc\xa3 \xe2\x84\xab "
                               "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab";
    unsigned char class[CLASS_END];
    NormalForm form;
    Buffer out = {0};
    if (normal_form_init(&form) < 0) {
        k->failed = 1;
        return;
    }
    if (normal_form_apply(&form, text, sizeof text - 1, &out) < 0) k->failed = 1;
    if (out.data) kit_text(k, out.data);
    buffer_free(&out);
    normal_form_free(&form);
    character_classes(class);
    for (uint32_t c = 0; c < CLASS_END; c += 997) kit_word(k, class[c]);
}

// --------------------------------------------------------------------------------- single numbers

// An operation on numbers of both signs and many sizes.
static void make_operation(Kit *k, ProbeOp op) {
    enum { N = 67 };                            // whole vectors and a tail
    float a[N], b[N], c[N], out[N];
    fill_floats(k, a, N);
    fill_floats(k, b, N);
    fill_floats(k, c, N);
    for (int i = 0; i < N; i++) a[i] *= (float)(1 << i % 7);
    kernels_probe(out, op, a, b, c, N);
    for (int i = 0; i < N; i++) kit_float(k, out[i]);
}
static void make_arithmetic(Kit *k) {
    make_operation(k, PROBE_MULTIPLY_ADD);
    make_operation(k, PROBE_DIVIDE);
    make_operation(k, PROBE_SQRT);
}
static void make_fma(Kit *k)     { make_operation(k, PROBE_FMA); }
static void make_exp(Kit *k)     { make_operation(k, PROBE_EXP); }
static void make_erf(Kit *k)     { make_operation(k, PROBE_ERF); }
static void make_tanh(Kit *k)    { make_operation(k, PROBE_TANH); }
static void make_sigmoid(Kit *k) { make_operation(k, PROBE_SIGMOID); }

static void make_doubles(Kit *k) {
    for (uint64_t i = 0; i < 12; i++) {
        volatile double x = small_number(0, i);             // nothing is computed beforehand
        double sine, cosine;
        more_sincos(40 * x, &sine, &cosine);
        kit_double(k, x * x + x / 3);
        kit_double(k, more_exp(20 * x));
        kit_double(k, more_log(x + 2));
        kit_double(k, more_log1p(x / 2));
        kit_double(k, more_expm1(x / 8));
        kit_double(k, sine);
        kit_double(k, cosine);
        kit_double(k, more_pow(x + 2, 1.7));
        kit_double(k, random_normal(1, STREAM_TEST, 4, i));
    }
}

// ------------------------------------------------------------------------------------------ layers

// Sums of each length from 1 to 40, of products.
static void make_row_sums(Kit *k) {
    const real *a = kit_numbers(k, 40), *b = kit_numbers(k, 40);
    real *out = kit_zeros(k, 1);
    for (int n = 1; n <= 40; n++) {
        head_forward(out, a, b, 1, n);
        kit_tensor(k, out, 1);
    }
}

enum { KIT_T = 9, KIT_C = 20, KIT_O = 35 };      // token rows, channels, output channels

static void make_product(Kit *k) {
    const real *inp = kit_numbers(k, KIT_T*KIT_C), *w = kit_numbers(k, KIT_O*KIT_C);
    const real *b = kit_numbers(k, KIT_O);
    real *out = kit_zeros(k, KIT_T*KIT_O);
    real *packed = kit_zeros(k, matmul_packed_size(KIT_C, KIT_O));
    matmul_forward(out, inp, w, b, KIT_T, KIT_C, KIT_O);
    kit_tensor(k, out, KIT_T*KIT_O);
    matmul_pack_weights(packed, w, KIT_C, KIT_O);
    matmul_packed_forward(out, inp, packed, b, 2, KIT_C, KIT_O);
    kit_tensor(k, out, 2*KIT_O);
}
static void make_product_backward(Kit *k) {
    const real *dout = kit_numbers(k, KIT_T*KIT_O), *inp = kit_numbers(k, KIT_T*KIT_C);
    const real *w = kit_numbers(k, KIT_O*KIT_C);
    real *dinp = kit_zeros(k, KIT_T*KIT_C), *dw = kit_zeros(k, KIT_O*KIT_C);
    real *db = kit_zeros(k, KIT_O);
    matmul_backward(dinp, dw, db, dout, inp, w, KIT_T, KIT_C, KIT_O, NULL);
    kit_tensor(k, dinp, KIT_T*KIT_C);
    kit_tensor(k, dw, KIT_O*KIT_C);
    kit_tensor(k, db, KIT_O);
}
static void make_product_bf16(Kit *k) {
    kernels_precision(1);
    make_product(k);
    kernels_precision(0);
}
static void make_product_backward_bf16(Kit *k) {
    kernels_precision(1);
    make_product_backward(k);
    kernels_precision(0);
}

static void make_embedding(Kit *k) {
    static const int token[4] = {3, 0, 3, 5}, position[4] = {0, 1, 2, 3};
    const real *wte = kit_numbers(k, 6*KIT_C), *wpe = kit_numbers(k, 4*KIT_C);
    const real *dout = kit_numbers(k, 4*KIT_C);
    real *out = kit_zeros(k, 4*KIT_C), *dwte = kit_zeros(k, 6*KIT_C), *dwpe = kit_zeros(k, 4*KIT_C);
    embed_forward(out, token, position, wte, wpe, 4, KIT_C);
    kit_tensor(k, out, 4*KIT_C);
    embed_backward(dwte, dwpe, dout, token, position, 4, KIT_C);
    kit_tensor(k, dwte, 6*KIT_C);
    kit_tensor(k, dwpe, 4*KIT_C);
}

static void kit_norm(Kit *k, int rms) {
    const real *inp = kit_numbers(k, KIT_T*KIT_C), *w = kit_numbers(k, KIT_C);
    const real *b = kit_numbers(k, KIT_C);
    const real *dout = kit_numbers(k, KIT_T*KIT_C);
    real *out = kit_zeros(k, KIT_T*KIT_C), *mean = kit_zeros(k, KIT_T), *rstd = kit_zeros(k, KIT_T);
    real *dinp = kit_zeros(k, KIT_T*KIT_C), *dw = kit_zeros(k, KIT_C), *db = kit_zeros(k, KIT_C);
    norm_forward(out, mean, rstd, inp, w, b, 1e-5f, rms, KIT_T, KIT_C);
    kit_tensor(k, rstd, KIT_T);
    kit_tensor(k, out, KIT_T*KIT_C);
    norm_backward(dinp, dw, rms ? NULL : db, dout, inp, mean, rstd, w, rms, KIT_T, KIT_C);
    kit_tensor(k, dinp, KIT_T*KIT_C);
    kit_tensor(k, dw, KIT_C);
    kit_tensor(k, db, KIT_C);
}
static void make_layer_norm(Kit *k) { kit_norm(k, 0); }
static void make_rms_norm(Kit *k)   { kit_norm(k, 1); }

// two query heads and one key and value head of KIT_HEAD numbers
enum { KIT_HEAD = 10, KIT_QKV = 4 * KIT_HEAD };
static void make_head_norm(Kit *k) {
    real *rows = kit_numbers(k, KIT_T*KIT_QKV), *drows = kit_numbers(k, KIT_T*KIT_QKV);
    const real *w = kit_numbers(k, KIT_HEAD);
    real *pre = kit_zeros(k, KIT_T*KIT_QKV), *rstd = kit_zeros(k, KIT_T*2);
    real *dw = kit_zeros(k, KIT_HEAD);
    head_norm_forward(rows, pre, rstd, w, 1e-5f, KIT_T, 2, KIT_HEAD, KIT_QKV);
    kit_tensor(k, rows, KIT_T*KIT_QKV);
    head_norm_backward(drows, dw, pre, rstd, w, KIT_T, 2, KIT_HEAD, KIT_QKV);
    kit_tensor(k, drows, KIT_T*KIT_QKV);
    kit_tensor(k, dw, KIT_HEAD);
}

static void make_rotary(Kit *k) {
    static const int position[KIT_T] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    real *rows = kit_numbers(k, KIT_T*KIT_QKV);
    const real *cosine = kit_numbers(k, KIT_T*3), *sine = kit_numbers(k, KIT_T*3);
    rotary(rows, cosine, sine, position, 1, KIT_T, 3, KIT_HEAD, 6, KIT_QKV);
    kit_tensor(k, rows, KIT_T*KIT_QKV);
    rotary(rows, cosine, sine, position, -1, KIT_T, 3, KIT_HEAD, 6, KIT_QKV);
    kit_tensor(k, rows, KIT_T*KIT_QKV);
}

// A prompt of three rows with two answers, of which the second has an answer of its own.
static void make_attention(Kit *k) {
    static const Segment seg[] = {{0, 3, -1}, {3, 2, 0}, {5, 2, 0}, {7, 2, 2}};
    const real *qkv = kit_numbers(k, KIT_T*KIT_QKV), *dout = kit_numbers(k, KIT_T*2*KIT_HEAD);
    real *out = kit_zeros(k, KIT_T*2*KIT_HEAD), *lse = kit_zeros(k, KIT_T*2);
    real *dqkv = kit_zeros(k, KIT_T*KIT_QKV);
    if (kernels_reserve(&(Scratch){.keys = KIT_T}) < 0) {
        k->failed = 1;
        return;
    }
    attention_forward(out, lse, qkv, seg, 4, KIT_T, 2, 1, KIT_HEAD, INT_MAX);
    kit_tensor(k, lse, KIT_T*2);
    kit_tensor(k, out, KIT_T*2*KIT_HEAD);
    attention_backward(dqkv, dout, out, lse, qkv, seg, 4, KIT_T, 2, 1, KIT_HEAD, INT_MAX);
    kit_tensor(k, dqkv, KIT_T*KIT_QKV);
}

static void make_activations(Kit *k) {
    const real *inp = kit_numbers(k, 2*KIT_T*KIT_C), *dout = kit_numbers(k, KIT_T*KIT_C);
    real *out = kit_zeros(k, KIT_T*KIT_C), *dinp = kit_zeros(k, 2*KIT_T*KIT_C);
    for (int kind = 0; kind < NUM_ACTIVATIONS; kind++) {
        activation_forward(out, inp, (Activation)kind, KIT_T, KIT_C);
        kit_tensor(k, out, KIT_T*KIT_C);
        activation_backward(dinp, dout, inp, (Activation)kind, KIT_T, KIT_C);
        kit_tensor(k, dinp, KIT_T*KIT_C);
    }
}
static void make_gated(Kit *k) {
    const real *inp = kit_numbers(k, 2*KIT_T*KIT_C), *dout = kit_numbers(k, KIT_T*KIT_C);
    real *out = kit_zeros(k, KIT_T*KIT_C), *dinp = kit_zeros(k, 2*KIT_T*KIT_C);
    gated_forward(out, inp, ACT_SILU, KIT_T, KIT_C);
    kit_tensor(k, out, KIT_T*KIT_C);
    gated_backward(dinp, dout, inp, ACT_SILU, KIT_T, KIT_C);
    kit_tensor(k, dinp, 2*KIT_T*KIT_C);
}

static void make_additions(Kit *k) {
    const real *a = kit_numbers(k, KIT_C), *b = kit_numbers(k, KIT_C), *c = kit_numbers(k, KIT_C);
    real *out = kit_zeros(k, KIT_C);
    add_forward(out, a, b, KIT_C);
    kit_tensor(k, out, KIT_C);
    add3_forward(out, a, b, c, KIT_C);
    kit_tensor(k, out, KIT_C);
    scaled_add(out, KIT_C / 2, a, KIT_C / 2, 0.3f, 2, KIT_C / 2);
    kit_tensor(k, out, KIT_C);
}

static void make_reward_head(Kit *k) {
    static const Text text[] = {{0, 4, 3}, {5, 3, 7}};
    const real *inp = kit_numbers(k, KIT_T*KIT_C), *w = kit_numbers(k, KIT_C);
    const real *dr = kit_numbers(k, 2);
    for (int pooling = 0; pooling < NUM_POOLINGS; pooling++) {
        real *pooled = kit_zeros(k, 2*KIT_C), *reward = kit_zeros(k, 2);
        real *dinp = kit_zeros(k, KIT_T*KIT_C), *dw = kit_zeros(k, KIT_C);
        pool_forward(pooled, inp, text, (Pooling)pooling, 2, KIT_C);
        head_forward(reward, pooled, w, 2, KIT_C);
        kit_tensor(k, reward, 2);
        head_backward(dinp, dw, dr, pooled, w, text, (Pooling)pooling, 2, KIT_C);
        kit_tensor(k, dinp, KIT_T*KIT_C);
        kit_tensor(k, dw, KIT_C);
    }
}

static void make_vocabulary(Kit *k) {
    enum { V = 30, N = 4, CHUNK_ROWS = 32 };
    static const int row[N] = {0, 2, 3, 8}, target[N] = {7, 0, 29, 7};
    const real *inp = kit_numbers(k, KIT_T*KIT_C), *w = kit_numbers(k, V*KIT_C);
    real *dinp = kit_zeros(k, KIT_T*KIT_C), *dw = kit_zeros(k, V*KIT_C);
    float logp[N], dlogp[N];                    // of the host
    fill_floats(k, dlogp, N);
    real *work = kit_zeros(k, CHUNK_ROWS * (V + 2*KIT_C));
    logp_forward(logp, inp, w, NULL, row, target, N, KIT_C, V, work, CHUNK_ROWS);
    for (int i = 0; i < N; i++) kit_float(k, logp[i]);
    logp_backward(dinp, dw, logp, dlogp, inp, w, NULL, row, target, N, KIT_C, V, work, CHUNK_ROWS,
                  NULL);
    kit_tensor(k, dinp, KIT_T*KIT_C);
    kit_tensor(k, dw, V*KIT_C);
}

static void make_update(Kit *k) {
    enum { N = 70 };
    real *w = kit_numbers(k, N), *m = kit_numbers(k, N), *v = kit_zeros(k, N);
    const real *grad = kit_numbers(k, N);
    kit_double(k, sum_of_squares(grad, N));
    for (int step = 0; step < 3; step++) {
        adamw_update(w, m, v, grad, N, 0.7f, 0.9f, 0.999f, 0.01f, 1.5f, 1e-8f, 0.999f);
        kit_tensor(k, w, N);
    }
    kit_tensor(k, v, N);
}

// -------------------------------------------------------------------------------------- objectives

// Loss and gradient of four texts, or two pairs, of a loss of the table of objectives.
static void kit_loss(Kit *k, PolicyLoss *loss, int pairs) {
    enum { N = 4 };
    static const unsigned char demo[N] = {0, 0, 1, 0};
    const LossSettings settings = {.beta = 0.3, .label_smoothing = 0.1, .simpo_gamma = 0.5,
                                   .log_z = 0.2, .desirable_weight = 1.5, .undesirable_weight = 0.7,
                                   .kl = 0.1, .clip_range = 0.2, .demo_share = 0.4};
    float logp[N], ref[N], old[N], weight[N], label[N], dlogp[N] = {0};
    fill_floats(k, logp, N);
    fill_floats(k, ref, N);
    fill_floats(k, old, N);
    fill_floats(k, weight, N);
    for (int i = 0; i < N; i++) {
        logp[i] -= 2;                           // of probabilities
        ref[i] -= 2;
        old[i] = logp[i] + old[i] / 4;
        weight[i] += 2;
        label[i] = (float)(i % 2);
    }
    const LossBatch b = {.B = pairs ? N / 2 : N, .logp = logp, .ref_logp = ref, .old_logp = old,
                         .weight = weight, .label = label, .demo = pairs ? NULL : demo,
                         .dlogp = dlogp};
    kit_double(k, loss(&b, &settings));
    for (int i = 0; i < N; i++) kit_float(k, dlogp[i]);
}
static void make_sft(Kit *k)           { kit_loss(k, sft_loss, 0); }
static void make_dpo(Kit *k)           { kit_loss(k, dpo_loss, 1); }
static void make_ipo(Kit *k)           { kit_loss(k, ipo_loss, 1); }
static void make_simpo(Kit *k)         { kit_loss(k, simpo_loss, 1); }
static void make_orpo(Kit *k)          { kit_loss(k, orpo_loss, 1); }
static void make_pointwise_dpo(Kit *k) { kit_loss(k, pointwise_dpo_loss, 0); }
static void make_ulma(Kit *k)          { kit_loss(k, ulma_loss, 0); }
static void make_unlikelihood(Kit *k)  { kit_loss(k, unlikelihood_loss, 0); }
static void make_kto(Kit *k)           { kit_loss(k, kto_loss, 0); }
static void make_stored(Kit *k)        { kit_loss(k, stored_loss, 0); }
static void make_rloo(Kit *k)          { kit_loss(k, rloo_loss, 0); }
static void make_ppo(Kit *k)           { kit_loss(k, ppo_loss, 0); }
static void make_grpo(Kit *k)          { kit_loss(k, grpo_loss, 0); }

static void make_bradley_terry(Kit *k) {
    enum { N = 5 };
    float chosen[N], rejected[N], weight[N], dchosen[N] = {0}, drejected[N] = {0};
    fill_floats(k, chosen, N);
    fill_floats(k, rejected, N);
    fill_floats(k, weight, N);
    kit_double(k, reward_bt_loss(dchosen, drejected, chosen, rejected, weight, NULL, N));
    for (int i = 0; i < N; i++) {
        kit_float(k, dchosen[i]);
        kit_float(k, drejected[i]);
    }
}
static void make_ranking(Kit *k) {
    enum { N = 5 };
    static const float rank[N] = {1, 2, 2, 3, 4};
    float reward[N], dreward[N] = {0};
    fill_floats(k, reward, N);
    kit_double(k, reward_choice_loss(dreward, reward, rank, N, 0, 0.8));
    for (int i = 0; i < N; i++) kit_float(k, dreward[i]);
}
static void make_more(Kit *k) {
    enum { SETS = 3, C = 6 };
    float g[SETS*C];
    double lambda[SETS], loss[SETS] = {0.5, 0.7, 0.9};
    fill_floats(k, g, SETS*C);
    for (int mode = 0; mode < NUM_MORE_MODES; mode++) {
        for (int i = 0; i < NUM_NORMALIZERS; i++) {
            more_weights(lambda, g, loss, (MoreMode)mode, (Normalizer)i, SETS, C);
            for (int s = 0; s < SETS; s++) kit_double(k, lambda[s]);
        }
    }
}

// ----------------------------------------------------------------------------------- what is right

// the causes of numbers that differ
#define FUSED     "a product and a sum in one rounding: compile with -ffp-contract=off; -ffast-math"
#define DEFINED   "not as pointwise.h defines it, or " FUSED
#define IN_DOUBLE "in double " FUSED
#define ORDER     "a sum in another order: NUMERICS.md, rules 3 to 5"
#define UNIT      "the order of the unit for bf16: NUMERICS.md, Two precisions; try MORE_ISA=avx512"
#define LAYER     "another order of operations: NUMERICS.md, Layers"
#define CHAR      "the sign of char: a byte is an unsigned char before it is a number"

typedef struct {
    const char *name;
    void (*make)(Kit *k);
    const char *cause;                          // of numbers that differ
} Vector;

static const Vector vectors[] = {
    {.name = "random integers", .make = make_integers,
     .cause = "integers of 64 bits, their shifts and products"},
    {.name = "bytes of numbers, SHA-256", .make = make_bytes,
     .cause = "the byte order: files have the lowest byte first, SHA-256 the highest"},
    {.name = "decimal numbers", .make = make_decimals,
     .cause = "a locale with a decimal comma, or a strtod or printf that does not round"},
    {.name = "characters, normal form C", .make = make_normal_form, .cause = CHAR},
    {.name = "tokens", .make = make_tokens, .cause = CHAR ", or a sort without a total order"},

    {.name = "float: + * / sqrt", .make = make_arithmetic, .cause = FUSED},
    {.name = "float: fused multiply-add", .make = make_fma,
     .cause = "it rounds twice: HW of pointwise.h must be 0 without the instruction"},
    {.name = "float: exp", .make = make_exp, .cause = DEFINED},
    {.name = "float: erf", .make = make_erf, .cause = DEFINED},
    {.name = "float: tanh", .make = make_tanh, .cause = DEFINED},
    {.name = "float: sigma", .make = make_sigmoid, .cause = DEFINED},
    {.name = "double: exp, log, sin, pow", .make = make_doubles,
     .cause = IN_DOUBLE ", or x87, which rounds to other widths: -mfpmath=sse"},

    {.name = "sums along rows", .make = make_row_sums,
     .cause = "another number of lanes, or fold: NUMERICS.md, rule 4"},
    {.name = "product", .make = make_product, .cause = ORDER},
    {.name = "product, backward", .make = make_product_backward, .cause = ORDER},
    {.name = "product of bf16", .make = make_product_bf16, .cause = UNIT},
    {.name = "product of bf16, backward", .make = make_product_backward_bf16, .cause = UNIT},
    {.name = "embeddings", .make = make_embedding, .cause = LAYER},
    {.name = "layer norm", .make = make_layer_norm, .cause = LAYER},
    {.name = "RMS norm", .make = make_rms_norm, .cause = LAYER},
    {.name = "norm of heads", .make = make_head_norm, .cause = LAYER},
    {.name = "rotary embedding", .make = make_rotary, .cause = LAYER},
    {.name = "attention", .make = make_attention, .cause = LAYER},
    {.name = "activations", .make = make_activations, .cause = LAYER},
    {.name = "gated activation", .make = make_gated, .cause = LAYER},
    {.name = "additions", .make = make_additions, .cause = LAYER},
    {.name = "reward head", .make = make_reward_head, .cause = LAYER},
    {.name = "log-probabilities", .make = make_vocabulary, .cause = LAYER},
    {.name = "gradient norm, AdamW", .make = make_update, .cause = "NUMERICS.md, Update; " FUSED},

    {.name = "loss of reward", .make = make_bradley_terry, .cause = IN_DOUBLE},
    {.name = "loss of rankings", .make = make_ranking, .cause = IN_DOUBLE},
    {.name = "weights of more", .make = make_more, .cause = IN_DOUBLE},
    {.name = "loss of sft", .make = make_sft, .cause = IN_DOUBLE},
    {.name = "loss of dpo", .make = make_dpo, .cause = IN_DOUBLE},
    {.name = "loss of ipo", .make = make_ipo, .cause = IN_DOUBLE},
    {.name = "loss of simpo", .make = make_simpo, .cause = IN_DOUBLE},
    {.name = "loss of orpo", .make = make_orpo, .cause = IN_DOUBLE},
    {.name = "loss of pointwise-dpo", .make = make_pointwise_dpo, .cause = IN_DOUBLE},
    {.name = "loss of ulma", .make = make_ulma, .cause = IN_DOUBLE},
    {.name = "loss of unlikelihood", .make = make_unlikelihood, .cause = IN_DOUBLE},
    {.name = "loss of kto", .make = make_kto, .cause = IN_DOUBLE},
    {.name = "loss of stored", .make = make_stored, .cause = IN_DOUBLE},
    {.name = "loss of rloo", .make = make_rloo, .cause = IN_DOUBLE},
    {.name = "loss of ppo", .make = make_ppo, .cause = IN_DOUBLE},
    {.name = "loss of grpo", .make = make_grpo, .cause = IN_DOUBLE},
};
enum { NUM_VECTORS = sizeof vectors / sizeof *vectors };

enum { NUM_TRAJECTORIES = 2, TRAJECTORY = 20 }; // of check.c, and its steps
// What is right, in the order of the table above, and the losses of the trajectory of check.c.
typedef struct { uint32_t digest, known[KNOWN]; } Golden;
#include "golden_vectors.h"
_Static_assert(sizeof golden / sizeof *golden == NUM_VECTORS,
               "print commands/golden_vectors.h anew: scripts/golden_vectors.c");

int vectors_count(void) { return NUM_VECTORS; }

static uint32_t row_word(const Kit *k, size_t i) {
    uint32_t word;
    memcpy(&word, k->row.data + i * sizeof word, sizeof word);
    return word;
}
static size_t row_length(const Kit *k) { return k->row.len / sizeof(uint32_t); }

// The word of a row of n that is known number i.
static size_t known_place(size_t n, int i) { return n * (size_t)i / KNOWN; }

static uint32_t row_digest(const Kit *k) {
    uint64_t digest = 0;
    for (size_t i = 0; i < row_length(k); i++) digest = random_mix(digest ^ row_word(k, i));
    return (uint32_t)(digest >> 32);
}

// Makes the row of a part.  0, or -1 after fail(); then too kit_free follows.
static int kit_make(Kit *k, const Vector *v) {
    *k = (Kit){.memory = kernels_alloc(KIT_NUMBERS)};
    if (!k->memory) return -1;
    v->make(k);
    return k->failed ? -1 : 0;
}
static void kit_free(Kit *k) {
    kernels_free(k->memory);
    buffer_free(&k->row);
}

// What is wrong with a row, and what that mostly is.
static int vector_report(Buffer *said, const Kit *k, int number) {
    const Vector *v = &vectors[number];
    const size_t n = row_length(k);
    if (buffer_printf(said, "    the first that differs: %s\n", v->name) < 0) return -1;
    for (int i = 0; i < KNOWN; i++) {
        const size_t at = known_place(n, i);
        const uint32_t got = row_word(k, at), right = golden[number].known[i];
        if (got == right) continue;
        if (buffer_printf(said, "    word %zu of %zu is %08lx, right is %08lx: as floats %a, %a\n",
                          at, n, (unsigned long)got, (unsigned long)right, (double)float_of(got),
                          (double)float_of(right)) < 0) return -1;
    }
    return buffer_printf(said, "    likely: %s\n", v->cause);
}

/* Makes all parts with the variant of the layers that was chosen, up to the first that is wrong,
 * about which lines are appended. */
int vectors_first_wrong(Buffer *said) {
    for (int i = 0; i < NUM_VECTORS; i++) {
        Kit k;
        int result = kit_make(&k, &vectors[i]);
        const int right = result == 0 && row_digest(&k) == golden[i].digest;
        if (result == 0 && !right) result = vector_report(said, &k, i);
        kit_free(&k);
        if (result < 0) return -1;
        if (!right) return i;
    }
    return NUM_VECTORS;
}
#endif

/* test_grad.c - every backward against central differences, in double precision (the layers
 * are compiled with typedef double real), so that a term wrong by a millionth cannot hide in
 * rounding. */
#define MORE_DOUBLE
#include "test.h"
#include "../model.c"

// --------------------------------------------------------------------------------- the batch

/* Two groups: a prompt of 5 rows with answers of 4 and 3, the first of which has an answer of
 * its own of 2; and a text alone.  Some rows have no target; tokens and positions repeat. */
enum { T = 19, S = 5, B = 4 };

static const int token[T]    = {3, 1, 4, 1, 5,   9, 2, 6, 5,  3, 5, 8,   9, 7,   2, 7, 1, 8, 2};
static const int position[T] = {0, 1, 2, 3, 4,   5, 6, 7, 8,  5, 6, 7,   9, 10,  0, 1, 2, 3, 4};
static const int target[T]   = {1, 4, -1, 5, -1, 2, 6, 5, 0,  -1, 8, 0,  7, 0,   7, -1, 8, 2, 0};

static const Segment seg[S] = {
    {.start = 0,  .len = 5, .parent = -1},
    {.start = 5,  .len = 4, .parent = 0},
    {.start = 9,  .len = 3, .parent = 0},
    {.start = 12, .len = 2, .parent = 1},
    {.start = 14, .len = 5, .parent = -1},
};
static const Text text[B] = {
    {.first = 5,  .len = 3, .pooled = 8},
    {.first = 9,  .len = 3, .pooled = 11},
    {.first = 12, .len = 2, .pooled = 13},
    {.first = 14, .len = 4, .pooled = 17},
};
static const Batch batch = {
    .T = T, .token = token, .position = position, .target = target,
    .S = S, .seg = seg, .B = B, .text = text,
};

// ---------------------------------------------------------------------------- the comparison

/* The loss of a reward model is sum_b a_b r_b + r_b^2 / 2, of a language model sum_t g_t
 * logp_t + logp_t^2 / 2: with the squares the slopes depend on the outputs.  They go to
 * slope(B) or slope(T) unless that is NULL. */
static real total_loss(Model *m, real *slope) {
    real value[T];
    real loss = 0;
    const int reward = m->config.reward, n = reward ? B : T;
    model_forward(m, &batch);
    if (reward) {
        model_rewards(m, &batch, value, NULL);
    } else {
        model_logp(m, &batch, value);
    }
    for (int i = 0; i < n; i++) {
        const real factor = reward ? i - 1.5 : 0.3 + 0.1*i;
        loss += factor * value[i] + 0.5 * value[i] * value[i];
        if (slope) slope[i] = factor + value[i];
    }
    return loss;
}

// The slope of the loss in parameter i: (loss(w + h) - loss(w - h)) / 2h.
static double difference(Model *m, size_t i) {
    const real h = 1e-5, w = m->params_memory[i];
    m->params_memory[i] = w + h;
    const real up = total_loss(m, NULL);
    m->params_memory[i] = w - h;
    const real down = total_loss(m, NULL);
    m->params_memory[i] = w;
    return (up - down) / (2*h);
}

static void draw_weights(Model *m) {
    for (size_t i = 0; i < m->num_params; i++) {
        m->params_memory[i] = 0.3 * random_normal(7, STREAM_TEST, 0, i);
    }
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->kind != KIND_ONE) continue;
        for (size_t i = 0; i < t->size; i++) m->params_memory[t->offset + i] += 1;
    }
}

// The largest |backward - difference|, relative to the largest gradient of its tensor, over all
// parameters that are trained (of a large tensor each seventh).
static double worst_gradient(Config c) {
    Model m;
    real slope[T], logp[T];
    double worst = 0;
    if (model_init(&m, c) < 0) return 1e9;
    if (model_init_training(&m) < 0 || model_reserve(&m, T, B) < 0) return 1e9;
    draw_weights(&m);

    // backward
    total_loss(&m, slope);
    model_zero_grads(&m);
    model_backward(&m, &batch, c.reward ? slope : NULL, c.reward ? NULL : slope, logp);
    model_finish_grads(&m);

    // against the differences
    const size_t frozen = m.num_params - m.num_trained;
    for (int k = 0; k < m.num_tensors; k++) {
        const Tensor *t = &m.tensor[k];
        if (t->offset < frozen) continue;
        const real *grad = m.grads_memory + (t->offset - frozen);
        double largest = 1e-3;
        for (size_t i = 0; i < t->size; i++) {
            if (fabs(grad[i]) > largest) largest = fabs(grad[i]);
        }
        for (size_t i = 0; i < t->size; i += t->size > 300 ? 7 : 1) {
            const double error = fabs(difference(&m, t->offset + i) - grad[i]) / largest;
            if (!(error < worst)) worst = error;
        }
    }
    model_free(&m);
    return worst;
}

// ------------------------------------------------------------------------ heads beside the model

enum { HEADS = 3 };

// The loss sum_kb a_kb score[k,b] + score[k,b]^2 / 2 of heads w (HEADS,C); its slopes go to
// slope(HEADS,B).
static real heads_loss(Model *m, const real *w, real *slope) {
    real score[HEADS * B];
    real loss = 0;
    model_forward(m, &batch);
    model_heads(m, &batch, w, HEADS, score);
    for (int i = 0; i < HEADS * B; i++) {
        const real factor = 0.2*i - 1;
        loss += factor * score[i] + 0.5 * score[i] * score[i];
        slope[i] = factor + score[i];
    }
    return loss;
}

// |backward - difference| of the number x, relative to 1 or to the gradient.
static double heads_error(Model *m, const real *w, real *x, real gradient) {
    const real h = 1e-5, at = *x;
    real unused[HEADS * B];
    *x = at + h;
    const real up = heads_loss(m, w, unused);
    *x = at - h;
    const real down = heads_loss(m, w, unused);
    *x = at;
    return fabs((up - down) / (2*h) - gradient) / (1 + fabs(gradient));
}

// ------------------------------------------------------------------------------ small models

static Config neox(int reward, Pooling pooling) {
    return (Config){
        .family = FAMILY_NEOX, .vocab_size = 11, .channels = 12, .num_layers = 2, .num_heads = 3,
        .num_kv_heads = 3, .head_dim = 4, .hidden = 20, .max_positions = 16, .rotary_dims = 2,
        .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1,
        .activation = ACT_GELU_ERF, .norm_eps = 1e-5f, .rope_theta = 10000,
        .reward = reward, .pooling = pooling,
    };
}

static Config llama(int reward, Pooling pooling) {
    return (Config){
        .family = FAMILY_LLAMA, .vocab_size = 11, .channels = 12, .num_layers = 2, .num_heads = 4,
        .num_kv_heads = 2, .head_dim = 6, .hidden = 20, .max_positions = 16, .rotary_dims = 6,
        .rms_norm = 1, .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-5f, .rope_theta = 10000,
        .rope_type = ROPE_YARN, .rope_factor = 4, .rope_original = 8, .rope_low_freq = 1,
        .rope_high_freq = 32, .rope_attention = 1.25, .unturned = {0, 1},
        .reward = reward, .pooling = pooling,
    };
}

static Config gpt2(int reward, Pooling pooling) {
    Config c = neox(reward, pooling);
    c.family = FAMILY_GPT2;
    c.rotary_dims = 0;
    c.parallel_residual = 0;
    c.learned_positions = 1;
    c.tied = 1;
    c.activation = ACT_GELU_TANH;
    return c;
}

// ------------------------------------------------------------------------------------- tests

static void test_gpt_neox_backward_is_the_derivative_of_forward(void) {
    CHECK_NEAR(worst_gradient(neox(0, POOL_LAST)), 0, 1e-6);
}

static void test_llama_backward_is_the_derivative_of_forward(void) {
    CHECK_NEAR(worst_gradient(llama(0, POOL_LAST)), 0, 1e-6);
}

static void test_gpt2_backward_is_the_derivative_of_forward_with_tied_output(void) {
    CHECK_NEAR(worst_gradient(gpt2(0, POOL_LAST)), 0, 1e-6);
}

static void test_query_and_key_norm_backward_is_the_derivative(void) {
    Config c = llama(0, POOL_LAST);
    c.qk_norm = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
}

static Config with_adapters(Config c) {
    const int apart = c.family == FAMILY_LLAMA;
    c.lora_r = 3;
    c.lora_alpha = 5;
    for (int k = 0; k < NUM_SITES; k++) c.lora[k] = 1;
    for (int k = SITE_Q; k <= SITE_V; k++) c.lora[k] = (char)apart;
    c.lora[SITE_QKV] = (char)!apart;
    c.lora[SITE_GATE] = (char)apart;
    return c;
}

static void test_backward_of_norms_behind_the_layers_is_the_derivative(void) {
    Config c = llama(0, POOL_LAST);
    c.post_norm = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
    c.qk_norm = 1;
    c.qk_wide = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
    CHECK_NEAR(worst_gradient(with_adapters(c)), 0, 1e-6);
}

static void test_backward_in_a_sliding_window_is_the_derivative(void) {
    Config c = llama(0, POOL_LAST);
    c.sliding_window = 3;
    c.slides[0] = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
    c.sliding_window = 1;
    c.slides[1] = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
}

static void test_reward_head_backward_is_the_derivative_with_every_pooling(void) {
    CHECK_NEAR(worst_gradient(neox(1, POOL_LAST)), 0, 1e-6);
    CHECK_NEAR(worst_gradient(llama(1, POOL_MEAN)), 0, 1e-6);
    CHECK_NEAR(worst_gradient(gpt2(1, POOL_EOS)), 0, 1e-6);
}

static void test_backward_of_adapters_is_the_derivative(void) {
    Config c = with_adapters(llama(0, POOL_LAST));
    CHECK_NEAR(worst_gradient(with_adapters(neox(0, POOL_LAST))), 0, 1e-6);
    CHECK_NEAR(worst_gradient(with_adapters(gpt2(0, POOL_LAST))), 0, 1e-6);
    CHECK_NEAR(worst_gradient(with_adapters(gpt2(1, POOL_LAST))), 0, 1e-6);
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
    c.qk_norm = 1;
    c.reward = 1;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
    c.lora[SITE_K] = 0;
    c.lora[SITE_DOWN] = 0;
    c.lora[SITE_UP] = 0;
    CHECK_NEAR(worst_gradient(c), 0, 1e-6);
}

static void test_backward_of_heads_beside_a_language_model_is_the_derivative(void) {
    const Config c = llama(0, POOL_LAST);
    const int C = c.channels;
    real slope[HEADS * B], w[HEADS * 12], dw[HEADS * 12] = {0};
    Model m;
    CHECK(C == 12 && model_init(&m, c) == 0);
    CHECK(model_init_training(&m) == 0 && model_reserve(&m, T, B) == 0);
    draw_weights(&m);
    for (int i = 0; i < HEADS * C; i++) w[i] = random_normal(8, STREAM_TEST, 0, (uint64_t)i);
    heads_loss(&m, w, slope);
    model_zero_grads(&m);
    model_heads_backward(&m, &batch, w, dw, HEADS, slope);
    model_finish_grads(&m);
    CHECK(model_grad_norm(&m) > 1);
    for (int i = 0; i < HEADS * C; i++) CHECK_NEAR(heads_error(&m, w, &w[i], dw[i]), 0, 1e-7);
    for (size_t i = 0; i < m.num_params; i += 5) {
        CHECK_NEAR(heads_error(&m, w, &m.params_memory[i], m.grads_memory[i]), 0, 1e-6);
    }
    model_free(&m);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    kernels_set_threads(1);                                 // thousands of tiny forwards
    if (kernels_init(NULL) < 0) {
        fprintf(stderr, "%s\n", error_text);
        return 1;
    }
    RUN(test_gpt_neox_backward_is_the_derivative_of_forward);
    RUN(test_llama_backward_is_the_derivative_of_forward);
    RUN(test_gpt2_backward_is_the_derivative_of_forward_with_tied_output);
    RUN(test_query_and_key_norm_backward_is_the_derivative);
    RUN(test_backward_of_norms_behind_the_layers_is_the_derivative);
    RUN(test_backward_in_a_sliding_window_is_the_derivative);
    RUN(test_reward_head_backward_is_the_derivative_with_every_pooling);
    RUN(test_backward_of_adapters_is_the_derivative);
    RUN(test_backward_of_heads_beside_a_language_model_is_the_derivative);
    return test_summary();
}

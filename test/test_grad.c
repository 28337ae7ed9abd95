/* test_grad.c - every backward against central differences, in double precision (the layers are compiled with
 * typedef double real), so that a term wrong by a millionth cannot hide in rounding.                        */
#define MORE_DOUBLE
#include "test.h"
#include "../model.c"

/* Two groups: a prompt of 5 rows with answers of 4 and 3, one of which has an answer of its own; a text alone.
 * The loss is sum_b a_b reward_b (reward models) or sum_t g_t logp_t (language models), plus their squares, so that
 * the coefficients depend on the outputs.                                                                   */
static const int token[]    = {3, 1, 4, 1, 5,  9, 2, 6, 5,  3, 5, 8,  9, 7,  2, 7, 1, 8, 2};
static const int position[] = {0, 1, 2, 3, 4,  5, 6, 7, 8,  5, 6, 7,  9, 10, 0, 1, 2, 3, 4};
static const int target[]   = {1, 4, -1, 5, -1, 2, 6, 5, 0, -1, 8, 0, 7, 0,  7, -1, 8, 2, 0};
static const Segment seg[]  = {{0, 5, -1}, {5, 4, 0}, {9, 3, 0}, {12, 2, 1}, {14, 5, -1}};
static const Text text[]    = {{5, 3, 8}, {9, 3, 11}, {12, 2, 13}, {14, 4, 17}};
static const Batch batch    = {19, token, position, target, 5, seg, 4, text};

static real total_loss(Model *m, real *dreward, real *dlogp) {
    real loss = 0, reward[4], logp[19];
    model_forward(m, &batch);
    if (m->config.reward) {
        model_rewards(m, &batch, reward, NULL);
        for (int b = 0; b < 4; b++) {
            loss += (b - 1.5) * reward[b] + 0.5 * reward[b] * reward[b];
            if (dreward) dreward[b] = (b - 1.5) + reward[b];
        }
    } else {
        model_logp(m, &batch, logp);
        for (int t = 0; t < 19; t++) {
            loss += (0.3 + 0.1*t) * logp[t] + 0.5 * logp[t] * logp[t];
            if (dlogp) dlogp[t] = (0.3 + 0.1*t) + logp[t];
        }
    }
    return loss;
}

// the largest |backward - difference| over all parameters, relative to the largest gradient of its tensor
static double worst_gradient(Config c) {
    Model m;
    real dreward[4], dlogp[19], logp[19];
    double worst = 0;
    if (model_init(&m, c) < 0 || model_init_training(&m) < 0 || model_reserve(&m, 19, 4) < 0) return 1e9;
    for (size_t i = 0; i < m.num_params; i++)
        m.params_memory[i] = 0.3 * random_normal(7, STREAM_TEST, 0, i);
    const Tensor *list = m.tensor;
    const int count = m.num_tensors;
    for (int k = 0; k < count; k++)
        if (list[k].kind == KIND_ONE)
            for (size_t i = 0; i < list[k].size; i++) m.params_memory[list[k].offset + i] += 1;
    total_loss(&m, dreward, dlogp);
    model_zero_grads(&m);
    model_backward(&m, &batch, c.reward ? dreward : NULL, c.reward ? NULL : dlogp, logp);
    model_finish_grads(&m);
    for (int k = 0; k < count; k++) {
        double largest = 1e-3;
        for (size_t i = 0; i < list[k].size; i++)
            if (fabs(m.grads_memory[list[k].offset + i]) > largest) largest = fabs(m.grads_memory[list[k].offset + i]);
        for (size_t i = 0; i < list[k].size; i += list[k].size > 300 ? 7 : 1) {
            real *w = m.params_memory + list[k].offset + i, w0 = *w, h = 1e-5;
            *w = w0 + h;
            real up = total_loss(&m, NULL, NULL);
            *w = w0 - h;
            real down = total_loss(&m, NULL, NULL);
            *w = w0;
            double e = fabs((up - down) / (2*h) - m.grads_memory[list[k].offset + i]) / largest;
            if (!(e < worst)) worst = e;
        }
    }
    model_free(&m);
    return worst;
}

static Config neox(int reward, Pooling pooling) {
    Config c = {.family = FAMILY_NEOX, .vocab_size = 11, .channels = 12, .num_layers = 2, .num_heads = 3,
                .num_kv_heads = 3, .head_dim = 4, .hidden = 20, .max_positions = 16, .rotary_dims = 2,
                .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_ERF,
                .norm_eps = 1e-5f, .rope_theta = 10000, .reward = reward, .pooling = pooling};
    return c;
}
static Config llama(int reward, Pooling pooling) {
    Config c = {.family = FAMILY_LLAMA, .vocab_size = 11, .channels = 12, .num_layers = 2, .num_heads = 4,
                .num_kv_heads = 2, .head_dim = 6, .hidden = 20, .max_positions = 16, .rotary_dims = 6, .rms_norm = 1,
                .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-5f, .rope_theta = 10000, .reward = reward,
                .pooling = pooling};
    return c;
}
static Config gpt2(int reward, Pooling pooling) {
    Config c = neox(reward, pooling);
    c.family = FAMILY_GPT2, c.rotary_dims = 0, c.parallel_residual = 0, c.learned_positions = 1, c.tied = 1;
    c.activation = ACT_GELU_TANH;
    return c;
}

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
static void test_reward_head_backward_is_the_derivative_with_every_pooling(void) {
    CHECK_NEAR(worst_gradient(neox(1, POOL_LAST)), 0, 1e-6);
    CHECK_NEAR(worst_gradient(llama(1, POOL_MEAN)), 0, 1e-6);
    CHECK_NEAR(worst_gradient(gpt2(1, POOL_EOS)), 0, 1e-6);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
#ifdef _OPENMP
    omp_set_num_threads(1);                                           // thousands of tiny forwards
#endif
    if (kernels_init(NULL) < 0) return fprintf(stderr, "%s\n", error_text), 1;
    RUN(test_gpt_neox_backward_is_the_derivative_of_forward);
    RUN(test_llama_backward_is_the_derivative_of_forward);
    RUN(test_gpt2_backward_is_the_derivative_of_forward_with_tied_output);
    RUN(test_query_and_key_norm_backward_is_the_derivative);
    RUN(test_reward_head_backward_is_the_derivative_with_every_pooling);
    return test_summary();
}

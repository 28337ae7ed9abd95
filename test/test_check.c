/* test_check.c - the self-test passes here and notices each kind of damage; the gradient check
 * passes, and notices a wrong backward. */
#include "test.h"
#include <fenv.h>

// the layers, with a backward that can be made wrong
#define gated_backward right_gated_backward
#include "../kernels.c"
#undef gated_backward

void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F);
static int damage;
void gated_backward(real *dinp, const real *dout, const real *inp, Activation kind, int T, int F) {
    right_gated_backward(dinp, dout, inp, kind, T, F);
    if (!damage) return;
    for (int i = 0; i < 2*T*F; i++) dinp[i] *= 1.05f;
}
#include "../commands/check.c"

// volatile, so that nothing is computed beforehand
static int (*volatile start)(void) = selftest_start;

static int says(int result, const char *words) {
    const int ok = result < 0 && error_code == EX_OSERR && strstr(error_text, words);
    if (!ok) printf("    %s, not \"%s\"\n", result < 0 ? error_text : "no error", words);
    return ok;
}

static uint64_t digest_now(void) {
    uint64_t digest = 0;
    CHECK(selftest_digest(&digest) == 0);
    return digest;
}

static void test_this_build_keeps_the_contract_with_every_instruction_set(void) {
    for (int i = 0; kernels_variant(i); i++) {
        CHECK(kernels_init(kernels_variant(i)) == 0);
        CHECK(start() == 0);
    }
    CHECK(kernels_init(NULL) == 0);
}

static void test_every_probe_names_its_own_damage(void) {
    float got[NUM_PROBES];
    for (int p = 0; p < NUM_PROBES; p++) {
        probe_all(got);
        got[p] = float_of(bits_of(got[p]) ^ 1);
        CHECK(says(probe_verdict(got), probes[p].wrong));
    }
}

static void test_the_right_results_are_libms_and_two_roundings_miss_them(void) {
    int missed_separate = 0, missed_double = 0;
    for (int p = 0; p < NUM_PROBES; p++) {
        const float right = probes[p].right;
        volatile float a = probes[p].a, b = probes[p].b, c = probes[p].c;
        volatile float product = a * b, sum = product + c;
        volatile double once = (double)a * b + c;
        switch (probes[p].op) {
        case PROBE_FMA:
            CHECK(fmaf(a, b, c) == right);
            missed_separate += sum != right;
            missed_double += (float)once != right;
            break;
        case PROBE_MULTIPLY_ADD:
            CHECK(sum == right && fmaf(a, b, c) != sum);
            break;
        case PROBE_DIVIDE_BY_ONE:
            CHECK(fabs(right - 5.0 / 3) < fabs(5 * (1 / 3.0f) - 5.0 / 3));
            break;
        default:
            break;
        }
    }
    CHECK(missed_separate > 0);
    CHECK(missed_double > 0);
}

static void test_a_changed_rounding_mode_is_named(void) {
    static const struct {
        int mode;
        const char *words;
    } modes[] = {
        {FE_TONEAREST, ""},
#ifdef FE_UPWARD
        {FE_UPWARD, "rounded upward"},
#endif
#ifdef FE_DOWNWARD
        {FE_DOWNWARD, "rounded downward"},
#endif
#ifdef FE_TOWARDZERO
        {FE_TOWARDZERO, "rounded toward zero"},
#endif
    };
    for (size_t i = 1; i < sizeof modes / sizeof *modes; i++) {
        for (int k = 0; kernels_variant(k); k++) {
            CHECK(kernels_init(kernels_variant(k)) == 0);
            if (fesetround(modes[i].mode)) continue;
            const int result = start();
            const uint64_t digest = digest_now();
            fesetround(FE_TONEAREST);
            CHECK(says(result, modes[i].words));
            CHECK(digest != right_digest);
        }
    }
    CHECK(kernels_init(NULL) == 0);
}

static void test_flushed_subnormals_are_named(void) {
#ifdef X86
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8000);                // FTZ
    int result = start();
    uint64_t digest = digest_now();
    _mm_setcsr(before);
    CHECK(says(result, "subnormal results are flushed to zero"));
    CHECK(digest != right_digest);

    _mm_setcsr(before | 0x0040);                // DAZ
    result = start();
    digest = digest_now();
    _mm_setcsr(before);
    CHECK(says(result, "subnormal numbers are read as zero"));
    CHECK(digest != right_digest);
#elif defined __aarch64__
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1 << 24));
    int result = start();
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
    CHECK(says(result, "subnormal results are flushed to zero"));
#endif
    CHECK(start() == 0);
}

static void test_five_steps_have_the_same_bits_on_every_instruction_set_and_thread_count(void) {
    const char *name = kernels_name();
    const int threads = kernels_threads();
    CHECK(selftest_report() == 0);
    CHECK(!strcmp(kernels_name(), name) && kernels_threads() == threads);
}

// Qwen2 is a LLaMA whose queries, keys and values have biases as GPT-2's: both are tried.  Mistral
// is a LLaMA.  OLMo 2's layers are those of Qwen3, elsewhere: test_grad.c, test_model.c.
static void test_every_family_is_one_of_the_small_models(void) {
    int tried[NUM_FAMILIES] = {[FAMILY_QWEN2] = 1, [FAMILY_MISTRAL] = 1,
                               [FAMILY_SMOLLM3] = 1, [FAMILY_OLMO2] = 1};
    for (int k = 0; k < NUM_SMALL; k++) tried[small_models[k].family] = 1;
    for (int f = 0; f < NUM_FAMILIES; f++) CHECK(tried[f]);
}

static void test_backward_is_the_derivative_as_far_as_floats_can_tell(void) {
    CHECK(gradcheck_report(NULL) == 0);
    kernels_set_threads(1);
    Config c = small_config(FAMILY_QWEN2, 0);
    c.num_layers = 1;
    c.vocab_size = 300;
    CHECK(gradcheck_report(&c) == 0);
    c.max_positions = 8;
    CHECK(gradcheck_report(&c) < 0 && error_code == EX_DATAERR
          && strstr(error_text, "16 positions"));
}

static void test_a_gradient_wrong_by_a_twentieth_is_noticed(void) {
    Config c = small_config(FAMILY_LLAMA, 1);
    kernels_set_threads(1);                     // on a machine with other work two would only wait
    damage = 1;
    CHECK(gradcheck_report(&c) < 0 && error_code == EX_DATAERR && strstr(error_text, "gradcheck"));
    damage = 0;
}

// what the kit says of the layers as they are
static int kit_says(const char *words) {
    Buffer said = {0};
    const int ok = kit_check(&said) > 0 && said.data && strstr(said.data, words);
    if (!ok) printf("    %s, not \"%s\"\n", said.data ? said.data : "nothing", words);
    buffer_free(&said);
    return ok;
}

static void test_the_first_golden_vector_that_differs_is_named_with_its_cause(void) {
    Buffer said = {0};
    kernels_set_threads(1);
    for (int i = 0; kernels_variant(i); i++) {
        CHECK(kernels_init(kernels_variant(i)) == 0);
        CHECK(kit_check(&said) == 0 && !said.data);
    }
    CHECK(kernels_init(NULL) == 0);
    damage = 1;
    CHECK(kit_says("the first that differs: gated activation\n"));
    CHECK(kit_says("likely: another order of operations: NUMERICS.md, Layers"));
    damage = 0;
    fesetround(FE_TOWARDZERO);
    CHECK(kit_says("the first that differs: "));
    fesetround(FE_TONEAREST);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init(NULL) < 0) return fprintf(stderr, "%s\n", error_text), 1;
    RUN(test_this_build_keeps_the_contract_with_every_instruction_set);
    RUN(test_every_probe_names_its_own_damage);
    RUN(test_the_right_results_are_libms_and_two_roundings_miss_them);
    RUN(test_a_changed_rounding_mode_is_named);
    RUN(test_flushed_subnormals_are_named);
    RUN(test_five_steps_have_the_same_bits_on_every_instruction_set_and_thread_count);
    RUN(test_every_family_is_one_of_the_small_models);
    RUN(test_backward_is_the_derivative_as_far_as_floats_can_tell);
    RUN(test_a_gradient_wrong_by_a_twentieth_is_noticed);
    RUN(test_the_first_golden_vector_that_differs_is_named_with_its_cause);
    return test_summary();
}

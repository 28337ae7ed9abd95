/* test_gguf.c - GGUF files: number formats, names and layouts of tensors, tokenizers, bad files.
 *
 * test/golden/gguf was written by the gguf package (scripts/golden_gguf.py).  Runs from the top of
 * the repository; files that are made go to a fresh folder.                                      */
#include "../files/checkpoint.c"
#include "../files/gguf_write.c"
#include "../files/tokenizer_json.c"
#include "test.h"

#define GOLDEN "test/golden/"

static char made[] = "/tmp/test_gguf.XXXXXX";             // the folder
static char path[PATH_SIZE];                              // a file in it

static const char *in_made(const char *name) {
    snprintf(path, sizeof path, "%.200s/%.200s", made, name);
    return path;
}

// Did it fail with this code, and do the words stand in the message?
static int failed_with(int result, int code, const char *words) {
    if (result < 0 && error_code == code && strstr(error_text, words)) return 1;
    printf("    %s (%d), not \"%s\" (%d)\n", result < 0 ? error_text : "no error", error_code,
           words, code);
    return 0;
}

// ------------------------------------------------------------------------------------ the formats

static void test_blocks_have_the_values_that_the_gguf_package_gives_them(void) {
    Weights w;
    Json sums = {0};
    CHECK(gguf_weights(&w, GOLDEN "gguf/blocks.gguf") == 0);
    CHECK(json_load(&sums, GOLDEN "gguf/blocks.json") == 0);
    CHECK(w.num_tensors == 10 && json_count(&sums, 0) == 10);
    for (size_t i = 0; i < w.num_tensors; i++) {
        const StoredTensor *t = &w.tensor_memory[i];
        const size_t block = dtype_block(t->dtype);
        unsigned char bytes[MAX_BLOCK_BYTES], little[4];
        float x[MAX_BLOCK];
        char hex[65];
        Sha256 s;
        sha256_start(&s);
        CHECK(t->dims == 2 && t->shape[0] == 2 && t->shape[1] == 512);
        for (uint64_t at = t->begin; at < t->end; at += t->size) {
            CHECK(file_read_at(t->shard->fd, "", bytes, t->size, at) == 0);
            dtype_decode_block(t->dtype, x, bytes);
            for (size_t k = 0; k < block; k++) {
                dtype_encode(F32, little, x[k]);
                sha256_add(&s, little, 4);
            }
        }
        sha256_finish(&s, hex);
        CHECK(json_equal(&sums, json_get(&sums, 0, dtype_name(t->dtype)), hex));
    }
    weights_close(&w);
    json_free(&sums);
}

static void test_numbers_are_rounded_to_the_bytes_that_the_gguf_package_writes(void) {
    static const Dtype written[] = {F16, BF16, Q8_0};
    Weights w;
    const StoredTensor *of[NUM_DTYPES_STORED] = {0};
    CHECK(gguf_weights(&w, GOLDEN "gguf/blocks.gguf") == 0);
    for (size_t i = 0; i < w.num_tensors; i++) of[w.tensor_memory[i].dtype] = &w.tensor_memory[i];
    for (size_t k = 0; k < sizeof written / sizeof *written; k++) {
        const StoredTensor *from = of[F32], *to = of[written[k]];
        const size_t block = dtype_block(written[k]);
        for (size_t i = 0; i < 1024 / block; i++) {
            unsigned char bytes[4 * MAX_BLOCK], want[MAX_BLOCK_BYTES], have[MAX_BLOCK_BYTES];
            float x[MAX_BLOCK];
            const uint64_t at = from->begin + i * 4*block, to_at = to->begin + i * to->size;
            CHECK(file_read_at(from->shard->fd, "", bytes, 4*block, at) == 0);
            CHECK(file_read_at(to->shard->fd, "", want, to->size, to_at) == 0);
            for (size_t j = 0; j < block; j++) x[j] = dtype_decode(F32, bytes + 4*j);
            dtype_encode_block(written[k], have, x);
            CHECK(!memcmp(have, want, to->size));
        }
    }
    weights_close(&w);
}

// ----------------------------------------------------------------------------------------- models

static void test_a_model_in_gguf_has_the_bits_of_its_folder(void) {
    static const char *const names[] = {
        "llama3", "mistral_tied", "qwen2", "qwen3_untied", "gpt2", "neox_sequential", "neox_tied",
        "llama_linear", "qwen2_yarn", "mistral_window",
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char folder[100], file[100];
        Model a, b;
        snprintf(folder, sizeof folder, GOLDEN "%s", names[k]);
        snprintf(file, sizeof file, GOLDEN "gguf/%s.gguf", names[k]);
        const int loaded = checkpoint_load(&a, folder, LOAD_AS_STORED) == 0
                           && checkpoint_load(&b, file, LOAD_AS_STORED) == 0;
        CHECK(loaded);
        if (!loaded) {
            printf("    %s\n", error_text);
            continue;
        }

        // GGUF does not say which family of LLaMA's shape it is, nor which of the two GELUs
        b.config.family = a.config.family;
        b.config.activation = a.config.activation;
        CHECK(!memcmp(&a.config, &b.config, sizeof a.config));
        CHECK(a.num_params == b.num_params);
        CHECK(!memcmp(a.params_memory, b.params_memory, a.num_params * sizeof(real)));
        const size_t turns = model_rope_size(&a.config);
        CHECK(!turns || !memcmp(a.rope_memory, b.rope_memory, turns * sizeof(real)));
        model_free(&a);
        model_free(&b);
    }
}

static void test_a_language_model_in_gguf_becomes_a_reward_model(void) {
    Model m;
    CHECK(checkpoint_load(&m, GOLDEN "gguf/qwen2.gguf", LOAD_REWARD_MODEL) == 0);
    CHECK(m.config.reward && m.params.head && !m.params.unembed);
    model_free(&m);
}

static void test_rows_in_turn_become_halves_of_heads(void) {
    const Entry e = {.rows = 8, .cols = 2, .n = 16, .layout = IN_TURN, .heads = 2, .head_dim = 4};
    static const size_t ours[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t row = 0; row < 8; row++) {
        CHECK(entry_place(&e, 2*row) == 2*ours[row]);
        CHECK(entry_place(&e, 2*row + 1) == 2*ours[row] + 1);
    }
}

// ------------------------------------------------------------------------------------- tokenizers

// Do two tokenizers give the same ids for each text of cases.json?
static int same_ids(const Tokenizer *a, const Tokenizer *b) {
    Json cases = {0};
    int good = json_load(&cases, GOLDEN "tokenizers/cases.json") == 0;
    const int list = json_get(&cases, 0, "cases");
    int *x = NULL, *y = NULL;
    size_t x_capacity = 0, y_capacity = 0;
    good = good && json_count(&cases, list) > 100;
    for (int i = json_first(&cases, list); i >= 0; i = json_next(&cases, i)) {
        const int text = json_get(&cases, i, "text");
        const char *s = json_string(&cases, text);
        const size_t len = json_length(&cases, text);
        size_t n = 0, k = 0;
        if (tokenizer_encode(a, s, len, &x, &n, &x_capacity) < 0) good = 0;
        if (tokenizer_encode(b, s, len, &y, &k, &y_capacity) < 0) good = 0;
        if (n == k && (!n || !memcmp(x, y, n * sizeof *x))) continue;
        printf("    not the same ids: \"%s\"\n", s);
        good = 0;
    }
    json_free(&cases);
    free(x);
    free(y);
    return good;
}

static void test_a_tokenizer_in_gguf_gives_the_ids_of_its_own_file(void) {
    static const struct { const char *gguf, *file; } pairs[] = {
        {"gguf/digit_tokenizer.gguf",         "tokenizers/digit.json"},
        {"gguf/llama3_tokenizer.gguf",        "tokenizers/llama3.json"},
        {"gguf/qwen2_tokenizer.gguf",         "tokenizers/qwen2.json"},
        {"gguf/sentencepiece_tokenizer.gguf", "tokenizers/tokenizer.model"},
    };
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        char gguf[100], file[100];
        Tokenizer a, b;
        snprintf(gguf, sizeof gguf, GOLDEN "%s", pairs[k].gguf);
        snprintf(file, sizeof file, GOLDEN "%s", pairs[k].file);
        const int loaded = tokenizer_load(&a, gguf) == 0 && tokenizer_load(&b, file) == 0;
        CHECK(loaded);
        if (!loaded) {
            printf("    %s\n", error_text);
            continue;
        }
        CHECK(a.vocab_size == b.vocab_size && a.num_merges == b.num_merges);
        CHECK(same_ids(&a, &b));
        tokenizer_free(&a);
        tokenizer_free(&b);
    }
}

static void test_the_settings_in_gguf_name_the_end_of_text_and_the_chat_template(void) {
    Json j = {0};
    const char *file = GOLDEN "gguf/digit_tokenizer.gguf";
    CHECK(beside_tokenizer(&j, file, "tokenizer_config.json") == 0);
    CHECK(json_equal(&j, json_get(&j, 0, "eos_token"), "<|endoftext|>"));
    CHECK(json_get(&j, 0, "bos_token") < 0);
    CHECK(json_equal(&j, json_get(&j, 0, "chat_template"),
                     "{% for m in messages %}{{ m['content'] }}{% endfor %}"));
    json_free(&j);
    memset(&j, 0, sizeof j);
    CHECK(beside_tokenizer(&j, file, "added_tokens.json") == 0 && json_count(&j, 0) == 0);
}

// ---------------------------------------------------------------------------------------- writing

// Shapes of all families, whose vocabulary has room for the golden tokenizers.
static const Config shapes[] = {
    {.family = FAMILY_LLAMA, .vocab_size = 700, .channels = 32, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 8, .hidden = 64, .max_positions = 64, .rms_norm = 1, .gated = 1,
     .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_SILU, .norm_eps = 1e-5f,
     .rotary_dims = 8, .rope_theta = 500, .rope_type = ROPE_LLAMA3, .rope_factor = 8,
     .rope_low_freq = 1,
     .rope_high_freq = 4, .rope_original = 32, .bos = 1, .eos = 2, .pad = -1,
     .num_more_eos = 1, .more_eos = {3}},
    {.family = FAMILY_QWEN3, .vocab_size = 700, .channels = 32, .num_layers = 1, .num_heads = 2,
     .num_kv_heads = 1, .head_dim = 24, .hidden = 40, .max_positions = 64, .rms_norm = 1,
     .gated = 1, .tied = 1, .qk_norm = 1, .activation = ACT_SILU, .norm_eps = 1e-6f,
     .rotary_dims = 24, .rope_theta = 1e6, .rope_factor = 1, .bos = 1, .eos = 2, .pad = 0},
    {.family = FAMILY_SMOLLM3, .vocab_size = 700, .channels = 16, .num_layers = 4, .num_heads = 2,
     .num_kv_heads = 1, .head_dim = 8, .hidden = 24, .max_positions = 64, .rms_norm = 1,
     .gated = 1, .tied = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rotary_dims = 8,
     .rope_theta = 1e6, .rope_type = ROPE_YARN, .rope_factor = 1, .rope_low_freq = 1,
     .rope_high_freq = 32, .rope_original = 16, .rope_attention = 1, .unturned = {0, 0, 0, 1},
     .bos = 1, .eos = 2, .pad = 0},
    {.family = FAMILY_NEOX, .vocab_size = 700, .channels = 32, .num_layers = 1, .num_heads = 2,
     .num_kv_heads = 2, .head_dim = 16, .hidden = 48, .max_positions = 64, .parallel_residual = 1,
     .tied = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_TANH,
     .norm_eps = 1e-5f, .rotary_dims = 4, .rope_theta = 10000, .rope_factor = 1,
     .bos = 0, .eos = 0, .pad = 1},
    {.family = FAMILY_GPT2, .vocab_size = 700, .channels = 32, .num_layers = 1, .num_heads = 2,
     .num_kv_heads = 2, .head_dim = 16, .hidden = 48, .max_positions = 64, .learned_positions = 1,
     .tied = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_ERF,
     .norm_eps = 1e-5f, .bos = 0, .eos = 0, .pad = -1},
};

// Random values also where a fresh model has ones and zeros.
static void fill(Model *m, const Config *c) {
    CHECK(model_init(m, *c) == 0);
    for (size_t i = 0; i < m->num_params; i++) {
        m->params_memory[i] = (real)random_normal(1, STREAM_TEST, 0, i);
    }
}

static void test_a_model_that_is_written_comes_back_bit_for_bit(void) {
    Tokenizer t;
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/llama3.json") == 0);
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        const GgufExtras x = {.tokenizer = &t, .name = "m", .chat_template = "{{ bos_token }}"};
        Model a, b;
        char sha[65], again[65];
        fill(&a, &shapes[k]);
        CHECK(gguf_save(&a, &x, in_made("m.gguf"), F32, sha) == 0);
        CHECK(sha256_file(again, path) == 0 && !strcmp(sha, again));
        const int loaded = checkpoint_load(&b, path, LOAD_LANGUAGE_MODEL) == 0;
        CHECK(loaded);
        if (!loaded) printf("    %s\n", error_text);
        if (loaded) {
            CHECK(!memcmp(&a.config, &b.config, sizeof a.config));
            CHECK(!memcmp(a.params_memory, b.params_memory, a.num_params * sizeof(real)));
            model_free(&b);
        }
        model_free(&a);
    }
    tokenizer_free(&t);
}

// llama.cpp has keys for the first three.
static void test_every_token_that_ends_a_text_is_written_and_read(void) {
    Tokenizer t;
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/llama3.json") == 0);
    for (int more = 0; more <= 4; more++) {
        const GgufExtras x = {.tokenizer = &t, .name = "m"};
        Config c = shapes[0];
        Model a, b;
        char sha[65];
        c.eos = 2;
        c.num_more_eos = more;
        memset(c.more_eos, 0, sizeof c.more_eos);
        for (int k = 0; k < more; k++) c.more_eos[k] = 9 - k;
        fill(&a, &c);
        CHECK(gguf_save(&a, &x, in_made("m.gguf"), F32, sha) == 0);
        CHECK(checkpoint_load(&b, path, LOAD_LANGUAGE_MODEL) == 0);
        CHECK(b.config.eos == 2 && b.config.num_more_eos == more);
        CHECK(!memcmp(a.config.more_eos, b.config.more_eos, sizeof a.config.more_eos));
        model_free(&a);
        model_free(&b);
    }
    tokenizer_free(&t);
}

static void test_a_model_in_q8_0_has_the_values_of_its_blocks(void) {
    Tokenizer t;
    Model a, b;
    char sha[65];
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/llama3.json") == 0);
    const GgufExtras x = {.tokenizer = &t, .name = "m"};
    fill(&a, &shapes[1]);
    CHECK(gguf_save(&a, &x, in_made("m.gguf"), Q8_0, sha) == 0);
    CHECK(checkpoint_load(&b, path, LOAD_LANGUAGE_MODEL) == 0);

    // rows of 32 in blocks, rows of 40 in F16, vectors as they are
    for (size_t i = 0; i < 700*32; i += 32) {
        unsigned char bytes[MAX_BLOCK_BYTES];
        float want[32];
        dtype_encode_block(Q8_0, bytes, a.params.wte + i);
        dtype_decode_block(Q8_0, want, bytes);
        CHECK(!memcmp(want, b.params.wte + i, sizeof want));
    }
    for (size_t i = 0; i < 32*40; i++) {
        CHECK(b.params.block[0].projw[i] == float_of_half(half_of(a.params.block[0].projw[i])));
    }
    CHECK(!memcmp(a.params.lnfw, b.params.lnfw, 32 * sizeof(real)));
    model_free(&a);
    model_free(&b);

    // an output matrix beside an equal embedding: it is the embedding
    fill(&a, &shapes[3]);
    CHECK(gguf_save(&a, &x, path, Q8_0, sha) == 0);
    CHECK(checkpoint_load(&b, path, LOAD_LANGUAGE_MODEL) == 0 && b.config.tied);
    model_free(&a);
    model_free(&b);
    tokenizer_free(&t);
}

static void test_a_tokenizer_that_is_written_gives_the_same_ids(void) {
    static const char *const names[] = {
        "digit.json", "llama3.json", "qwen2.json", "tokenizer.model", "../pythia_tokenizer.json",
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char file[100], sha[65];
        Tokenizer a, b;
        Model m;
        Config c = shapes[1];
        snprintf(file, sizeof file, GOLDEN "tokenizers/%s", names[k]);
        CHECK(tokenizer_load(&a, file) == 0);
        c.vocab_size = a.vocab_size + 3;
        fill(&m, &c);
        const GgufExtras x = {.tokenizer = &a, .name = "m"};
        const int saved = gguf_save(&m, &x, in_made("t.gguf"), BF16, sha) == 0;
        const int loaded = saved && tokenizer_load(&b, path) == 0;
        CHECK(loaded);
        if (!loaded) printf("    %s: %s\n", names[k], error_text);
        if (loaded) {
            char one[65], two[65];
            tokenizer_hash(one, &a);
            tokenizer_hash(two, &b);
            CHECK(!strcmp(one, two));
            CHECK(a.num_merges == b.num_merges && same_ids(&a, &b));
            tokenizer_free(&b);
        }
        tokenizer_free(&a);
        model_free(&m);
    }
}

static void test_what_gguf_cannot_say_is_refused(void) {
    Tokenizer t;
    Model m;
    char sha[65];
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/digits.json") == 0);
    const GgufExtras x = {.tokenizer = &t, .name = "m"};
    fill(&m, &shapes[1]);
    CHECK(failed_with(gguf_save(&m, &x, in_made("no.gguf"), F32, sha), EX_DATAERR,
                      "how it prepares texts and cuts words has no name in llama.cpp"));
    m.config.unturned[0] = 1;
    CHECK(failed_with(gguf_save(&m, &x, path, F32, sha), EX_DATAERR, "no_rope_layers other than"));
    m.config.unturned[0] = 0;
    m.config.reward = 1;
    CHECK(failed_with(gguf_save(&m, &x, path, F32, sha), EX_DATAERR, "a reward model: GGUF"));
    m.config.reward = 0;
    CHECK(access(path, F_OK) < 0);
    tokenizer_free(&t);

    // 1e6 is beyond binary16
    CHECK(tokenizer_load(&t, GOLDEN "tokenizers/digit.json") == 0);
    m.params.wte[5] = 1e6f;
    CHECK(failed_with(gguf_save(&m, &x, path, F16, sha), EX_DATAERR,
                      "tensor token_embd.weight: value 5 is 1e+06, which F16 cannot hold"));
    CHECK(access(path, F_OK) < 0);
    tokenizer_free(&t);
    model_free(&m);
}

// -------------------------------------------------------------------------------------- bad files

// A golden file, and the same with some bytes changed.
static Buffer golden;

static void read_golden(const char *name) {
    buffer_free(&golden);
    CHECK(file_read(&golden, name) == 0);
}

// `to` (n bytes) in the place `after` bytes behind the words' first occurrence.
static Buffer changed(const char *words, size_t after, const void *to, size_t n) {
    Buffer b = {0};
    CHECK(buffer_append(&b, golden.data, golden.len) == 0);
    char *at = memmem(b.data, b.len, words, strlen(words));
    CHECK(at != NULL);
    if (at) memcpy(at + after, to, n);
    return b;
}

// What loading these bytes ends with.
static int load_bytes(const Buffer *b) {
    Model m;
    CHECK(file_write(in_made("bad.gguf"), b->data, b->len) == 0);
    const int result = checkpoint_load(&m, path, LOAD_AS_STORED);
    if (result == 0) model_free(&m);
    return result;
}

static int refused(const char *words, size_t after, const void *to, size_t n,
                   const char *message) {
    Buffer b = changed(words, after, to, n);
    const int good = failed_with(load_bytes(&b), EX_DATAERR, message)
                     && failed_with(-1, EX_DATAERR, "bad.gguf: ");
    buffer_free(&b);
    return good;
}

static void test_a_file_that_is_not_as_it_should_be_is_refused_with_its_key_or_tensor(void) {
    const uint32_t zero = 0, one = 1, four = 4, big = 1u << 24, five = 5, unknown = 99;
    const uint64_t huge = UINT64_MAX / 2, small = 32, odd = 7, twenty = 20;
    read_golden(GOLDEN "gguf/mistral_tied.gguf");

    // the file and its keys; a key's value stands behind its name and 4 bytes of type
    const char *head = "llama.embedding_length", *width = "llama.feed_forward_length";
    const char *eps = "llama.attention.layer_norm_rms_epsilon";
    CHECK(refused("GGUF", 0, "GGML", 4, "not a GGUF file"));
    CHECK(refused("GGUF", 4, &one, 4, "GGUF of version 1; 2 and 3 are known"));
    CHECK(refused("GGUF", 4, "\0\0\0\3", 4, "a big-endian file"));
    CHECK(refused("GGUF", 8, &huge, 8, "ends before its tensors do"));
    CHECK(refused("GGUF", 16, &huge, 8, "keys, more than 4096"));
    CHECK(refused(head, strlen(head), &unknown, 4, "embedding_length has a value of type 99"));
    CHECK(refused(head, strlen(head) + 4, &zero, 4,
                  "key llama.embedding_length must be a whole number from 1 to"));
    CHECK(refused(head, 6, "X", 1, "key llama.Xmbedding_length is not known here, and might"));
    CHECK(refused(eps, strlen(eps) + 4, "\0\0\300\177", 4, "_epsilon is infinite or not a number"));
    CHECK(refused("llama.context_length", 0, "llama.block_count\1\1\1", 18, "holds byte 1"));
    CHECK(refused("general.architecture", 28 + 4, "lLama", 5, "architecture: lLama is not known"));
    CHECK(refused("llama.attention.value_length", 16, "key", 3,
                  "key llama.attention.keyue_length is not known here"));

    const char *eps_words = "_epsilon is missing", *factor = "llama.rope.scaling.factor";
    CHECK(refused(eps, 0, "general.attention.layer_norm_rms_eps__", strlen(eps), eps_words));
    read_golden(GOLDEN "gguf/llama_linear.gguf");
    CHECK(refused("llama.rope.scaling.type", 0, "other", 5, "scaling.type is missing, though"));
    CHECK(refused(factor, 0, "other", 5, "rope.scaling.factor is missing"));

    read_golden(GOLDEN "gguf/mistral_window.gguf");
    const char *window = "llama.attention.sliding_window";
    CHECK(refused(window, strlen(window) + 4, "\xff\xff\xff\xff", 4,
                  "sliding_window must be a whole number"));

    // the same file as one of Qwen2, of which llama.cpp does not read that key
    Buffer qwen = changed("llama", 0, "qwen2", 5);
    for (char *at; (at = memmem(qwen.data, qwen.len, "llama", 5)) != NULL;) memcpy(at, "qwen2", 5);
    CHECK(failed_with(load_bytes(&qwen), EX_DATAERR, "key qwen2.attention.sliding_window is less "
                      "than context_length, but which layers slide is not said"));
    buffer_free(&qwen);
    read_golden(GOLDEN "gguf/qwen2.gguf");
    CHECK(refused("qwen2.rope.dimension_count", 0, "qwen2.attention.sliding_wi", 26,
                  "key qwen2.attention.sliding_wi is not known here"));
    read_golden(GOLDEN "gguf/mistral_tied.gguf");

    // tensors: behind the name how many sizes, sizes, format, offset
    const char *norm = "blk.0.attn_norm.weight", *down = "blk.0.ffn_down.weight";
    const size_t n = strlen(norm), d = strlen(down);
    CHECK(refused(norm, n, &five, 4, "attn_norm.weight has 5 dimensions"));
    CHECK(refused(norm, 4, "7", 1, "tensor blk.7.attn_norm.weight is none of a Llama model as the "
                  "file's metadata describes it"));
    CHECK(refused(norm, n + 4, &huge, 8, "attn_norm.weight has a shape beyond"));
    CHECK(refused(norm, n + 4, &small, 8, "overlaps the one before it in the file"));
    CHECK(refused(width, strlen(width) + 4, &twenty, 4,
                  "has shape [16,24], the file's metadata asks for [16,20]"));
    CHECK(refused(norm, n + 12, &unknown, 4, "attn_norm.weight has ggml's format number 99"));
    CHECK(refused(norm, n + 12, &four, 4, "attn_norm.weight has ggml's format number 4"));
    CHECK(refused(norm, n + 16, &odd, 8, "begins at an offset that is not aligned"));
    CHECK(refused(norm, n + 16, &huge, 8, "offset"));
    CHECK(refused(down, d + 4, &twenty, 8, "in the file"));
    CHECK(refused(down, d + 20, "\10\0\0\0", 4, "which are not whole blocks of 32 (Q8_0)"));
    CHECK(refused(down, d + 24, &(uint64_t){1 << 20}, 8, "ends after the file"));
    CHECK(refused("token_embd.weight", 6, "emXd", 4, "tensor token_embd.weight is missing"));
    CHECK(refused("token_embd.weight", 17 + 4 + 16, &big, 4, "token_embd.weight"));
}

// Every file that ends too early, and one byte changed at each place before the values.
static void test_no_byte_of_the_header_makes_the_reader_stumble(void) {
    static const char *const names[] = {
        GOLDEN "gguf/mistral_tied.gguf", GOLDEN "gguf/digit_tokenizer.gguf"};
    for (int k = 0; k < 2; k++) {
        read_golden(names[k]);
        const size_t n = golden.len < 1500 ? golden.len : 1500;
        for (size_t cut = 0; cut < n; cut += 1 + cut % 7) {
            const Buffer shorter = {.data = golden.data, .len = cut};
            CHECK(load_bytes(&shorter) < 0);
        }
        for (size_t at = 0; at < n; at++) {
            Buffer out = {0};
            Tokenizer t;
            const char old = golden.data[at];
            golden.data[at] = (char)(old ^ (at % 3 ? 0xff : 1));
            load_bytes(&golden);
            if (k == 1 && at % 16 == 0 && tokenizer_load(&t, path) == 0) tokenizer_free(&t);
            golden.data[at] = old;
            buffer_free(&out);
        }
    }
}

static void test_a_tokenizer_that_is_not_known_is_refused_by_name(void) {
    Tokenizer t;
    Buffer b;
    const char *model = "tokenizer.ggml.model", *pre = "tokenizer.ggml.pre";
    read_golden(GOLDEN "gguf/digit_tokenizer.gguf");
    b = changed(model, strlen(model) + 12, "bert", 4);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "bert is not known here; gpt2 and"));
    buffer_free(&b);
    b = changed(pre, strlen(pre) + 12, "SMOLLM", 6);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "how SMOLLM cuts words is not known"));
    buffer_free(&b);
    b = changed(pre, 15, "pXe", 3);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "tokenizer.ggml.pre is missing"));
    buffer_free(&b);

    // of the first token its first byte, and its type
    const char *tokens = "tokenizer.ggml.tokens", *types = "tokenizer.ggml.token_type";
    b = changed(tokens, strlen(tokens) + 4 + 4 + 8 + 8, "\xff", 1);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "token 0 of tokenizer.ggml.tokens is"));
    buffer_free(&b);
    b = changed(types, strlen(types) - 1, "X", 1);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "token_type is missing, or has"));
    buffer_free(&b);
    const char *end = "tokenizer.ggml.eos_token_id";
    b = changed(end, strlen(end) + 4, "\xff\xff\x00\x00", 4);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "eos_token_id is none of the ids of"));
    buffer_free(&b);
    b = changed(types, strlen(types) + 4 + 4 + 8, "\x07", 1);
    CHECK(file_write(in_made("t.gguf"), b.data, b.len) == 0);
    CHECK(failed_with(tokenizer_load(&t, path), EX_DATAERR, "its type 7 is not one of 1 to 6"));
    buffer_free(&b);
}

static void test_a_folder_with_one_gguf_file_is_a_model_and_with_two_is_not(void) {
    Config c;
    read_golden(GOLDEN "gguf/gpt2.gguf");
    CHECK(folder_make(in_made("f")) == 0);
    CHECK(file_write(in_made("f/one.gguf"), golden.data, golden.len) == 0);
    CHECK(config_load(&c, in_made("f")) == 0 && c.family == FAMILY_GPT2);
    CHECK(file_write(in_made("f/two.gguf"), golden.data, golden.len) == 0);
    CHECK(failed_with(config_load(&c, in_made("f")), EX_USAGE, "several GGUF files"));
    CHECK(failed_with(config_load(&c, in_made("f/none.gguf")), EX_NOINPUT, "no such folder"));

    // a configuration beside it does not matter, weights do
    unlink(in_made("f/two.gguf"));
    CHECK(file_write(in_made("f/config.json"), "{}", 2) == 0);
    CHECK(config_load(&c, in_made("f")) == 0 && c.family == FAMILY_GPT2);
    CHECK(file_write(in_made("f/model.safetensors"), "x", 1) == 0);
    CHECK(failed_with(config_load(&c, in_made("f")), EX_DATAERR, "\"model_type\""));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (!mkdtemp(made) || kernels_init(NULL) < 0) return 1;
    RUN(test_blocks_have_the_values_that_the_gguf_package_gives_them);
    RUN(test_numbers_are_rounded_to_the_bytes_that_the_gguf_package_writes);
    RUN(test_a_model_in_gguf_has_the_bits_of_its_folder);
    RUN(test_a_language_model_in_gguf_becomes_a_reward_model);
    RUN(test_rows_in_turn_become_halves_of_heads);
    RUN(test_a_tokenizer_in_gguf_gives_the_ids_of_its_own_file);
    RUN(test_the_settings_in_gguf_name_the_end_of_text_and_the_chat_template);
    RUN(test_a_model_that_is_written_comes_back_bit_for_bit);
    RUN(test_every_token_that_ends_a_text_is_written_and_read);
    RUN(test_a_model_in_q8_0_has_the_values_of_its_blocks);
    RUN(test_a_tokenizer_that_is_written_gives_the_same_ids);
    RUN(test_what_gguf_cannot_say_is_refused);
    RUN(test_a_file_that_is_not_as_it_should_be_is_refused_with_its_key_or_tensor);
    RUN(test_no_byte_of_the_header_makes_the_reader_stumble);
    RUN(test_a_tokenizer_that_is_not_known_is_refused_by_name);
    RUN(test_a_folder_with_one_gguf_file_is_a_model_and_with_two_is_not);
    buffer_free(&golden);
    folder_remove(made);
    return test_summary();
}

/* test_checkpoint.c - model folders, tensor files and safe files.  Run from the top of the repository. */
#include "../files/checkpoint.c"
#include "test.h"
#include <dirent.h>

static char folder[64];                                                // everything is written below it

static int failed_with(int bad, int code, const char *words) {
    int ok = bad < 0 && error_code == code && strstr(error_text, words);
    if (!ok) printf("    %s (%d), not \"%s\" (%d)\n", bad < 0 ? error_text : "no error", error_code, words,
                    code);
    return ok;
}

static const char *in(const char *name) {                              // a path below the folder
    static char path[4][PATH_SIZE];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], PATH_SIZE, "%s/%s", folder, name);
    return path[k];
}

static void remove_all(const char *dir) {
    DIR *d = opendir(dir);
    char path[PATH_SIZE];
    for (struct dirent *e; d && (e = readdir(d)); ) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (unlink(path) < 0) remove_all(path);
    }
    if (d) closedir(d);
    rmdir(dir);
}

// ----------------------------------------------------------------------------------------- SHA-256, files

static void test_sha256_gives_the_digests_of_fips_180(void) {
    char hex[65], a[1000];
    Sha256 s;
    sha256_hex(hex, "abc", 3);
    CHECK(!strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    sha256_hex(hex, "", 0);
    CHECK(!strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    sha256_hex(hex, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    CHECK(!strcmp(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    memset(a, 'a', sizeof a);
    sha256_start(&s);
    for (size_t i = 0, n; i < 1000000; i += n) {                       // a million, in pieces of every size
        n = i % 997 + 1 < 1000000 - i ? i % 997 + 1 : 1000000 - i;
        sha256_add(&s, a, n);
    }
    sha256_finish(&s, hex);
    CHECK(!strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
}

static void test_a_file_is_written_whole_and_replaced(void) {
    Buffer b = {0};
    char hex[65];
    CHECK(folder_make(in("a/b//c")) == 0 && folder_make(in("a/b/c/")) == 0);
    CHECK(file_write(in("a/b/c/x"), "first", 5) == 0 && file_write(in("a/b/c/x"), "ab\0c", 4) == 0);
    CHECK(file_read(&b, in("a/b/c/x")) == 0 && b.len == 4 && !memcmp(b.data, "ab\0c", 4));
    CHECK(access(in("a/b/c/x.tmp"), F_OK) < 0);
    CHECK(file_write(in("a/b/c/x.tmp"), "left by a dead run", 18) == 0 && file_write(in("a/b/c/x"), "abc",
            3) == 0);
    CHECK(sha256_file(hex, in("a/b/c/x")) == 0 && !strncmp(hex, "ba7816bf", 8));
    buffer_free(&b);
}

static void test_a_planted_or_impossible_target_is_refused_and_left_alone(void) {
    Buffer b = {0};
    CHECK(file_write(in("victim"), "precious", 8) == 0 && symlink(in("victim"), in("y.tmp")) == 0);
    CHECK(failed_with(file_write(in("y"), "x", 1), EX_CANTCREAT, "y.tmp: is a symbolic link"));
    CHECK(file_read(&b, in("victim")) == 0 && b.len == 8 && access(in("y"), F_OK) < 0);
    CHECK(folder_make(in("z.tmp")) == 0);
    CHECK(failed_with(file_write(in("z"), "x", 1), EX_CANTCREAT, "z.tmp: is a folder"));
    CHECK(mkfifo(in("fifo.tmp"), 0600) == 0);
    CHECK(failed_with(file_write(in("fifo"), "x", 1), EX_CANTCREAT, "fifo.tmp: is a special file"));
    CHECK(folder_make(in("dir")) == 0);
    CHECK(failed_with(file_write(in("dir"), "x", 1), EX_CANTCREAT, "dir: is a folder"));
    CHECK(access(in("dir.tmp"), F_OK) < 0);
    CHECK(failed_with(file_write(in("none/x"), "x", 1), EX_CANTCREAT, "No such file"));
    CHECK(failed_with(folder_make(in("victim/x")), EX_CANTCREAT, "victim: the folder could not be made"));
    static char path[PATH_SIZE + 10];
    memset(path, 'a', sizeof path - 1);
    CHECK(failed_with(file_write(path, "x", 1), EX_USAGE, "too long"));
    CHECK(failed_with(folder_make(path), EX_USAGE, "too long"));
    buffer_free(&b);
}

// ---------------------------------------------------------------------------------------- number formats

static float between(float a, float b) { return (float)(((double)a + (double)b) / 2); }

static void test_half_precision_rounds_to_nearest_even(void) {
    for (unsigned h = 0; h < 0x7c00; h++) {                           // every finite half and the next
        float a = float_of_half((uint16_t)h), b = h == 0x7bff ? 65536 : float_of_half((uint16_t)(h + 1));
        double e = h >> 10 ? ldexp(1 + (h & 1023) / 1024.0, (int)(h >> 10) - 15) : ldexp(h, -24);
        if (a != (float)e || half_of(a) != h || half_of(-a) != (h | 0x8000)) CHECK(!"exact");
        float tie = between(a, b);                                     // exact: a float has 13 bits more
        if (half_of(tie) != h + h % 2) CHECK(!"a tie goes to even");
        if (half_of(nextafterf(tie, 0)) != h || half_of(nextafterf(tie, 1e9f)) != h + 1) CHECK(!"nearest");
    }
    CHECK(half_of(0x1p-25f) == 0 && half_of(0x1.000002p-25f) == 1 && half_of(0x1p-149f) == 0
          && half_of(-0.0f) == 0x8000);
    CHECK(half_of(65519.996f) == 0x7bff && half_of(65520) == 0x7c00 && half_of(FLT_MAX) == 0x7c00);
    CHECK(isinf(float_of_half(0xfc00)) && isnan(float_of_half(0x7c01)) && isnan(float_of_half(half_of(NAN))));
}

static void test_bfloat16_rounds_to_nearest_even(void) {
    for (unsigned h = 0; h < 0x7f7f; h++) {
        float a = float_of(h << 16), b = float_of((h + 1) << 16), tie = between(a, b);
        if (bf16_of(a) != h || bf16_of(tie) != h + h % 2) CHECK(!"exact, or a tie to even");
        if (bf16_of(nextafterf(tie, 0)) != h
            || bf16_of(-nextafterf(tie, FLT_MAX)) != ((h + 1) | 0x8000)) CHECK(!"nearest");
    }
    CHECK(bf16_of(FLT_MAX) == 0x7f80 && isnan(float_of((uint32_t)bf16_of(float_of(0x7f800001)) << 16)));
}

// --------------------------------------------------------------------------------------------- model folders

static const Config tiny[] = {                           // every family, and every key that has a choice
    {.family = FAMILY_NEOX, .vocab_size = 8, .channels = 12, .num_layers = 2, .num_heads = 2,
     .num_kv_heads = 2, .head_dim = 6, .hidden = 10, .max_positions = 16, .rotary_dims = 2,
     .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_ERF,
     .norm_eps = 1e-5f, .rope_theta = 10000, .rope_factor = 1, .bos = 0, .eos = 0, .pad = 1},
    {.family = FAMILY_NEOX, .vocab_size = 8, .channels = 98, .num_layers = 2, .num_heads = 1,
     .num_kv_heads = 1, .head_dim = 98, .hidden = 3, .max_positions = 16, .rotary_dims = 58,
     .mlp_bias = 1, .tied = 1, .activation = ACT_GELU_TANH, .norm_eps = 1.1e-6f,
     .rope_theta = 1234.5678901234567, .rope_factor = 1, .bos = -1, .eos = 7, .pad = -1, .reward = 1,
     .pooling = POOL_EOS},
    {.family = FAMILY_GPT2, .vocab_size = 8, .channels = 6, .num_layers = 1, .num_heads = 3,
     .num_kv_heads = 3, .head_dim = 2, .hidden = 5, .max_positions = 9, .learned_positions = 1, .tied = 1,
     .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_TANH, .norm_eps = 1e-5f,
     .bos = 2, .eos = 2, .pad = -1},
    {.family = FAMILY_LLAMA, .vocab_size = 8, .channels = 6, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 4, .hidden = 5, .max_positions = 9, .rotary_dims = 4, .rms_norm = 1,
     .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 5e5, .rope_factor = 1, .bos = 1,
     .eos = 2, .pad = 0, .reward = 1, .pooling = POOL_MEAN},
    {.family = FAMILY_LLAMA, .vocab_size = 8, .channels = 6, .num_layers = 1, .num_heads = 2,
     .num_kv_heads = 1, .head_dim = 2, .hidden = 5, .max_positions = 9, .rotary_dims = 2, .rms_norm = 1,
     .gated = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .tied = 1, .activation = ACT_SILU,
     .norm_eps = 1e-6f, .rope_theta = 10000, .rope_factor = 8, .rope_low_freq = 1, .rope_high_freq = 4,
     .rope_original = 4, .bos = 1, .eos = 2, .pad = 0},
    {.family = FAMILY_QWEN2, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 2, .hidden = 5, .max_positions = 9, .rotary_dims = 2, .rms_norm = 1,
     .gated = 1, .qkv_bias = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 1e6,
     .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0},
    {.family = FAMILY_QWEN3, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 6, .hidden = 5, .max_positions = 9, .rotary_dims = 6, .rms_norm = 1,
     .gated = 1, .qk_norm = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 1e6,
     .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0}};
enum { TINY = sizeof tiny / sizeof *tiny };

static int built(const Config *c) {                      // does model.c have everything this family needs?
    Model m;
    int bad = model_init(&m, *c);
    if (bad == 0) model_free(&m);
    return bad == 0 || !strstr(error_text, "not built yet");
}

static int filled(Model *m, const Config *c) {           // every parameter another normal number
    Entries e;
    static real values[3 * 98 * 98];
    if (model_init(m, *c) < 0 || entries_init(&e, c, &m->params) < 0) return -1;
    for (size_t i = 0; i < e.n; i++) {
        for (size_t k = 0; k < e.entry_memory[i].n; k++)
            values[k] = (float)random_normal(1, STREAM_TEST, i, k);
        kernels_write(*e.entry_memory[i].tensor + e.entry_memory[i].offset, values, e.entry_memory[i].n);
    }
    free(e.entry_memory);
    return 0;
}

static int same_weights(const Model *a, const Model *b, Dtype rounded) {
    unsigned char bytes[4];
    Entries e = {0}, g = {0};
    static real x[3 * 98 * 98], y[3 * 98 * 98];
    int same = entries_init(&e, &a->config, &a->params) == 0 && entries_init(&g, &b->config, &b->params) == 0
        && e.n == g.n;
    for (size_t i = 0; same && i < e.n; i++) {
        const Entry *s = &e.entry_memory[i], *t = &g.entry_memory[i];
        kernels_read(x, *s->tensor + s->offset, s->n);
        kernels_read(y, *t->tensor + t->offset, t->n);
        for (size_t k = 0; k < s->n; k++) {
            dtype_encode(rounded, bytes, (float)x[k]);
            same &= dtype_decode(rounded, bytes) == (float)y[k];
        }
    }
    free(e.entry_memory);
    free(g.entry_memory);
    return same;
}

static int same_config(Config a, Config b) {
    #define SAME(field) (a.field == b.field || (printf("    %s differs\n", #field), 0))
    return SAME(family) && SAME(vocab_size) && SAME(channels) && SAME(num_layers) && SAME(num_heads)
        && SAME(num_kv_heads) && SAME(head_dim) && SAME(hidden) && SAME(max_positions) && SAME(rms_norm)
        && SAME(learned_positions) && SAME(rotary_dims) && SAME(parallel_residual) && SAME(gated)
        && SAME(tied) && SAME(qkv_bias) && SAME(out_bias) && SAME(mlp_bias) && SAME(qk_norm)
        && SAME(activation) && SAME(norm_eps) && SAME(rope_low_freq) && SAME(rope_high_freq)
        && SAME(rope_original) && SAME(bos) && SAME(eos) && SAME(pad) && SAME(reward) && SAME(pooling)
        && (a.learned_positions || (SAME(rope_theta) && SAME(rope_factor)));
}

static void test_a_saved_model_loads_bit_for_bit_in_every_family(void) {
    static const char *const kinds[] = {[F32] = "f32", [F16] = "f16", [BF16] = "bf16"};
    for (int i = 0; i < TINY; i++)
        for (Dtype d = F32; d <= BF16 && built(&tiny[i]); d++) {
            Model m, loaded;
            char sha[65], again[65], file[65];
            CHECK(filled(&m, &tiny[i]) == 0);
            CHECK(checkpoint_save(&m, in("model"), NULL, kinds[d], sha) == 0);
            CHECK(checkpoint_load(&loaded, in("model"), LOAD_AS_STORED) == 0);
            CHECK(same_config(tiny[i], loaded.config) && same_weights(&m, &loaded, d));
            CHECK(sha256_file(file, in("model/model.safetensors")) == 0 && !strcmp(sha, file));
            CHECK(checkpoint_save(&loaded, in("model"), NULL, kinds[d], again) == 0 && !strcmp(sha, again));
            model_free(&m);
            model_free(&loaded);
        }
    remove_all(in("model"));
}

static void test_a_language_model_gets_a_head_of_zeros_and_a_reward_model_predicts_no_tokens(void) {
    Model m, loaded;
    char sha[65];
    real head[12];
    CHECK(filled(&m, &tiny[0]) == 0 && checkpoint_save(&m, in("lm"), NULL, "f32", sha) == 0);
    CHECK(checkpoint_load(&loaded, in("lm"), LOAD_REWARD_MODEL) == 0 && loaded.config.reward
          && !loaded.params.unembed);
    kernels_read(head, loaded.params.head, 12);
    for (int i = 0; i < 12; i++) CHECK(head[i] == 0);
    CHECK(checkpoint_save(&loaded, in("rm"), NULL, "f32", sha) == 0);
    model_free(&loaded);
    CHECK(failed_with(checkpoint_load(&loaded, in("rm"), LOAD_LANGUAGE_MODEL), EX_DATAERR,
                      "it was trained from"));
    CHECK(checkpoint_load(&loaded, in("rm"), LOAD_AS_STORED) == 0 && loaded.config.reward);
    model_free(&loaded);
    model_free(&m);
    remove_all(in("lm"));
    remove_all(in("rm"));
}

static void test_the_tokenizer_and_its_special_tokens_are_written_beside_the_weights(void) {
    Model m;
    char sha[65];
    Buffer read = {0}, tokenizer = {0};
    static const char added[] =
        "{\"added_tokens\": [{\"id\": 0, \"content\": \"<|end\\\"|>\"}, {\"id\": 1, \"content\": \"p\"}]}";
    static const char map[] = "{\n"
        "  \"bos_token\": \"<|end\\\"|>\",\n  \"eos_token\": \"<|end\\\"|>\",\n  \"pad_token\": \"p\"\n}\n";
    CHECK(buffer_append(&tokenizer, added, sizeof added - 1) == 0);
    CHECK(filled(&m, &tiny[0]) == 0 && checkpoint_save(&m, in("tok"), &tokenizer, "f32", sha) == 0);
    CHECK(file_read(&read, in("tok/special_tokens_map.json")) == 0);
    CHECK(!strcmp(read.data, map));
    read.len = 0;
    CHECK(file_read(&read, in("tok/tokenizer.json")) == 0 && !strcmp(read.data, tokenizer.data));
    read.len = 0;
    CHECK(file_read(&read, in("tok/tokenizer_config.json")) == 0 && strstr(read.data,
            "PreTrainedTokenizerFast"));
    tokenizer.len--;
    CHECK(failed_with(checkpoint_save(&m, in("tok"), &tokenizer, "f32", sha), EX_DATAERR,
                      "tokenizer.json:1:"));
    CHECK(failed_with(checkpoint_save(&m, in("tok"), NULL, "f8", sha), EX_USAGE,
                      "f8: not a format of weights"));
    buffer_free(&read);
    buffer_free(&tokenizer);
    model_free(&m);
    remove_all(in("tok"));
}

static void test_a_failed_save_leaves_the_old_folder_as_it_was(void) {
    Model m, loaded;
    char sha[65], after[65];
    real bad = NAN, big = 1e5f;
    CHECK(filled(&m, &tiny[0]) == 0 && checkpoint_save(&m, in("old"), NULL, "f32", sha) == 0);
    kernels_write(m.params.lnfw + 3, &big, 1);
    CHECK(failed_with(checkpoint_save(&m, in("old"), NULL, "f16", after), EX_DATAERR,
                      "final_layer_norm.weight: value 3 is 100000, which F16"));
    kernels_write(m.params.lnfw + 3, &bad, 1);
    CHECK(failed_with(checkpoint_save(&m, in("old"), NULL, "f32", after), EX_DATAERR,
                      "gpt_neox.final_layer_norm.weight: value 3 is"));
    CHECK(folder_make(in("old/config.json.tmp")) == 0);
    bad = 0;
    kernels_write(m.params.lnfw + 3, &bad, 1);
    CHECK(failed_with(checkpoint_save(&m, in("old"), NULL, "f32", after), EX_CANTCREAT,
                      "config.json.tmp: is a folder"));
    CHECK(sha256_file(after, in("old/model.safetensors")) == 0 && !strcmp(sha, after));
    CHECK(access(in("old/model.safetensors.tmp"), F_OK) < 0);
    CHECK(checkpoint_load(&loaded, in("old"), LOAD_AS_STORED) == 0);
    model_free(&loaded);
    model_free(&m);
    remove_all(in("old"));
}

// The folders under golden were written by transformers: a load and a save must give the same tensors.
static void test_folders_of_transformers_come_back_value_for_value(void) {
    static const char *const names[] = {"neox", "neox_sequential", "neox_reward", "gpt2", "llama", "llama3",
                                        "llama_reward", "qwen2", "qwen3", "stories260K"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        Model m;
        Config c;
        Weights a = {.num_shards = 0}, b = {.num_shards = 0};
        char dir[100], sha[65];
        snprintf(dir, sizeof dir, "test/golden/%s", names[k]);
        CHECK(config_load(&c, dir) == 0);
        if (!built(&c)) continue;
        int bad = checkpoint_load(&m, dir, LOAD_AS_STORED);
        if (bad < 0) printf("    %s\n", error_text);
        CHECK(bad == 0);
        if (bad < 0) continue;
        CHECK(checkpoint_save(&m, in("back"), NULL, "f32", sha) == 0);
        CHECK(weights_open(&a, dir) == 0 && weights_open(&b, in("back")) == 0 && a.num_tensors == b.num_tensors);
        for (size_t i = 0; i < a.num_tensors; i++)
            for (size_t j = 0; j < b.num_tensors; j++) {
                const StoredTensor *s = &a.tensor_memory[i], *t = &b.tensor_memory[j];
                if (strcmp(s->name, t->name)) continue;
                uint64_t n = (s->end - s->begin) / s->size;
                unsigned char x[8], y[4];
                CHECK(n == (t->end - t->begin) / 4);
                for (uint64_t v = 0; v < n; v++) {
                    file_read_at(s->shard->fd, dir, x, s->size, s->begin + v * s->size);
                    file_read_at(t->shard->fd, dir, y, 4, t->begin + 4*v);
                    if (dtype_decode(s->dtype, x) != dtype_decode(F32, y)) CHECK(!"the same value");
                }
            }
        weights_close(&a);
        weights_close(&b);
        model_free(&m);
    }
    remove_all(in("back"));
}

static void test_rows_of_heads_become_rows_of_queries_keys_values(void) {
    Entry e = {.rows = 12, .cols = 3, .n = 36, .layout = BY_HEAD, .heads = 2, .head_dim = 2};
    static const int ours[12] = {0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10,
                                 11};   // stored q0 k0 v0 q1 k1 v1, two rows each
    for (size_t row = 0; row < 12; row++) CHECK(entry_place(&e, 3*row + 2) == 3*(size_t)ours[row] + 2);
    e.layout = TRANSPOSED;                                             // (12, 3) stored, (3, 12) ours
    CHECK(entry_place(&e, 0) == 0 && entry_place(&e, 1) == 12 && entry_place(&e, 3) == 1 && entry_place(&e, 35) == 35);
}

// --------------------------------------------------------------------------------------------- hostile files

static Buffer weights, config;                                         // of a good folder, to be spoilt

// Writes the good folder with the first `from` replaced by `to` (of the same length in weights) and loads it.
static int spoilt(Buffer *b, const char *from, const char *to) {
    Model m;
    Buffer w = {0}, c = {0}, *changed = b == &weights ? &w : &c;
    size_t n = strlen(from), at = 0;
    buffer_append(&w, weights.data, weights.len);
    buffer_append(&c, config.data, config.len);
    while (n && at + n <= changed->len && memcmp(changed->data + at, from, n)) at++;
    CHECK(at + n <= changed->len);
    Buffer copy = {0};
    buffer_append(&copy, changed->data, at);
    buffer_append(&copy, to, strlen(to));
    buffer_append(&copy, changed->data + at + n, changed->len - at - n);
    file_write(in("bad/model.safetensors"), b == &weights ? copy.data : w.data, b == &weights ? copy.len
               : w.len);
    file_write(in("bad/config.json"), b == &config ? copy.data : c.data, b == &config ? copy.len : c.len);
    buffer_free(&w);
    buffer_free(&c);
    buffer_free(&copy);
    int bad = checkpoint_load(&m, in("bad"), LOAD_AS_STORED);
    if (bad == 0) model_free(&m);
    CHECK(bad == 0 || !m.params_memory);
    return bad;
}

static int raw(const void *head, size_t n, const char *rest,
               size_t size) {    // a model.safetensors byte by byte
    Model m;
    Buffer b = {0};
    buffer_append(&b, head, n);
    buffer_append(&b, rest, size);
    file_write(in("bad/model.safetensors"), b.data, b.len);
    file_write(in("bad/config.json"), config.data, config.len);
    buffer_free(&b);
    int bad = checkpoint_load(&m, in("bad"), LOAD_AS_STORED);
    if (bad == 0) model_free(&m);
    return bad;
}

static void good_folder(const Config *c) {
    Model m;
    char sha[65];
    weights.len = config.len = 0;
    CHECK(filled(&m, c) == 0 && checkpoint_save(&m, in("bad"), NULL, "f32", sha) == 0);
    CHECK(file_read(&weights, in("bad/model.safetensors")) == 0 && file_read(&config,
            in("bad/config.json")) == 0);
    model_free(&m);
    CHECK(spoilt(&weights, "", "") == 0);
}

static void test_hostile_headers_are_refused(void) {
    good_folder(&tiny[0]);
    CHECK(failed_with(raw("", 0, "", 0), EX_DATAERR, "not a safetensors file"));
    CHECK(failed_with(raw("\0\0\0\0\0\0\0\0", 8, "{}", 2), EX_DATAERR, "the header's length is 0"));
    CHECK(failed_with(raw("\377\377\377\377\377\377\377\377", 8, "{}", 2), EX_DATAERR,
                      "length is 18446744073709551615"));
    CHECK(failed_with(raw("\3\0\0\0\0\0\0\0", 8, "{}", 2), EX_DATAERR, "the header's length is 3"));
    CHECK(failed_with(raw("\1\341\365\5\0\0\0\0", 8, "{}", 2), EX_DATAERR,
                      "the header's length is 100000001"));
    CHECK(failed_with(raw("\2\0\0\0\0\0\0\0", 8, "[]", 2), EX_DATAERR, "not a JSON object"));
    CHECK(failed_with(raw("\2\0\0\0\0\0\0\0", 8, "{,", 2), EX_DATAERR, "model.safetensors:1:2"));
    CHECK(failed_with(raw("\2\0\0\0\0\0\0\0", 8, "{}", 2), EX_DATAERR, "is missing from the weights"));
    CHECK(failed_with(raw("\2\0\0\0\0\0\0\0", 8, "{}x", 3), EX_DATAERR, "1 bytes belong to no tensor"));
    #define ONE(text, error) do { char n[8] = {(char)strlen(text)}; CHECK(strlen(text) < 128); \
        CHECK(failed_with(raw(n, 8, text, strlen(text)), EX_DATAERR, error)); } while (0)
    ONE("{\"a\":1}", "tensor a has no known dtype");
    ONE("{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,0]}}",
        "tensor a has no known dtype");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,0]}}", "tensor a has no shape");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,0]}}", "at most 8");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", "not whole numbers");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
        "beyond 2^63");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0.5,4]}}",
        "must have data_offsets");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", "begin <= end");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", "begin <= end");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        "ends 4 bytes after the file");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,0]}}",
        "has 0 bytes, its shape and dtype ask for 4");
    ONE("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        "tensor a is none of a GPTNeoX model");
    ONE("{\"../../a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        "tensor ../../a is none of");
    ONE("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        "a tensor's name holds byte 10");
    ONE("{\"a\":1,\"a\":1}", "model.safetensors:1:");
    #undef ONE
}

static void test_spoilt_weights_are_refused_by_name(void) {
    good_folder(&tiny[0]);                               // embed_out (8,12) first, then embed_in
    char name[] = "gpt_neox.embed_in.weight";
    CHECK(failed_with(spoilt(&weights, "[8,12]", "[12,8]"), EX_DATAERR,
                      "embed_out.weight has shape [12,8], config.json asks for [8,12]"));
    CHECK(failed_with(spoilt(&weights, "\"shape\":[12]", "\"shape\":[ 9]"), EX_DATAERR,
                      "has 48 bytes, its shape and dtype ask for 36"));
    CHECK(failed_with(spoilt(&weights, "\"F32\",\"shape\":[8,12]", "\"I32\",\"shape\":[8,12]"), EX_DATAERR,
                      "is not F32, F16, BF16 or F64"));
    CHECK(failed_with(spoilt(&weights, "\"F32\"", "\"F64\""), EX_DATAERR,
                      "has 384 bytes, its shape and dtype ask for 768"));
    CHECK(failed_with(spoilt(&weights, "[384,768]", "[380,764]"), EX_DATAERR, "overlaps the one before it"));
    CHECK(failed_with(spoilt(&weights, "[384,768]", "[388,772]"), EX_DATAERR, "has a hole before it"));
    CHECK(failed_with(spoilt(&weights, name, "gpt_neox.embed_im.weight"), EX_DATAERR,
                      "tensor gpt_neox.embed_im.weight is none"));
    weights.len--;
    CHECK(failed_with(spoilt(&weights, "", ""), EX_DATAERR,
                      "ends 1 bytes after the file, which is truncated"));
    weights.len++;
    size_t data = weights.len - 1;
    Buffer good = {0};
    buffer_append(&good, weights.data, weights.len);
    memcpy(weights.data + data - 3, "\0\0\300\177", 4);                 // the last value of the last tensor
    CHECK(failed_with(spoilt(&weights, "", ""), EX_DATAERR,
                      "post_attention_layernorm.weight: value 11 is not a number"));
    memcpy(weights.data + data - 3, "\0\0\200\377", 4);
    CHECK(failed_with(spoilt(&weights, "", ""), EX_DATAERR, "value 11 is infinite"));
    buffer_free(&weights);
    weights = good;
    CHECK(spoilt(&weights, "", "") == 0);
}

static void test_names_without_the_base_prefix_and_old_buffers_load(void) {
    Model m, back;
    good_folder(&tiny[2]);                               // GPT-2: the first release has no "transformer."
    CHECK(checkpoint_load(&m, in("bad"), LOAD_AS_STORED) == 0);
    uint64_t n = little_endian((unsigned char *)weights.data, 8);
    Buffer b = {0};
    buffer_append(&b, weights.data, 8);
    for (char *p = weights.data + 8, *end = p + n; p < end; ) {
        size_t k = (size_t)(end - p) > 12 && !memcmp(p, "transformer.", 12) ? 12 : 0;
        p += k;
        if (p < end) buffer_append(&b, p++, 1);
    }
    const char *old = "\"h.0.attn.bias\":{\"dtype\":\"BOOL\",\"shape\":[0],\"data_offsets\":[0,0]},\"__meta";
    char *at = strstr(b.data + 8, "\"__meta");
    size_t keep = (size_t)(at - b.data);
    Buffer c = {0};
    buffer_append(&c, b.data, keep);
    buffer_append(&c, old, strlen(old));
    buffer_append(&c, at + 7, b.len - keep - 7);
    c.data[0] = (char)((c.len - 8) & 255), c.data[1] = (char)((c.len - 8) >> 8);
    buffer_append(&c, weights.data + 8 + n, weights.len - 8 - n);
    CHECK(file_write(in("bad/model.safetensors"), c.data, c.len) == 0);
    CHECK(checkpoint_load(&back, in("bad"), LOAD_AS_STORED) == 0 && same_weights(&m, &back, F32));
    if (back.params_memory) model_free(&back);
    model_free(&m);
    buffer_free(&b);
    buffer_free(&c);
}

static void test_a_model_in_several_files_loads_by_its_index(void) {
    Model m, back;
    good_folder(&tiny[0]);
    CHECK(checkpoint_load(&m, in("bad"), LOAD_AS_STORED) == 0);
    CHECK(rename(in("bad/model.safetensors"), in("bad/model-1.safetensors")) == 0);
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_NOINPUT, "no model.safetensors here"));
    #define INDEX(text) file_write(in("bad/model.safetensors.index.json"), text, strlen(text))
    INDEX("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-1.safetensors\"}}");
    CHECK(checkpoint_load(&back, in("bad"), 0) == 0 && same_weights(&m, &back, F32));
    model_free(&back);
    INDEX("{\"weight_map\": {\"a\": \"../bad/model-1.safetensors\"}}");
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_DATAERR,
                      "not a .safetensors file in this folder"));
    INDEX("{\"weight_map\": {\"a\": \"model-2.safetensors\"}}");
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_NOINPUT, "model-2.safetensors: No such file"));
    CHECK(symlink("model-1.safetensors", in("bad/model-2.safetensors")) == 0);
    INDEX("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}");
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_DATAERR, "is there twice"));
    INDEX("{}");
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_DATAERR, "no \"weight_map\""));
    INDEX("[]");
    CHECK(failed_with(checkpoint_load(&back, in("bad"), 0), EX_DATAERR, "must be a JSON object"));
    model_free(&m);
    remove_all(in("bad"));
}

static void test_every_field_of_a_configuration_is_checked(void) {
    good_folder(&tiny[0]);
    #define REFUSED(from, to, words) CHECK(failed_with(spoilt(&config, from, to), EX_DATAERR, words))
    REFUSED("{", "[", "config.json:");
    REFUSED("gpt_neox", "bert", "\"model_type\": bert is not supported");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 0", "\"vocab_size\" must be a whole number from 1 to");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 1e300", "\"vocab_size\" must be a whole number");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": \"8\"", "\"vocab_size\" must be a whole number");
    REFUSED("\"vocab_size\": 8,", "", "\"vocab_size\" is missing");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 16777216", "config.json asks for [16777216,12]");
    REFUSED("\"hidden_size\": 12", "\"hidden_size\": 13", "attention heads do not divide 13 channels");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 129", "\"num_hidden_layers\" must be");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "gpt_neox.layers.2.");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "tensor gpt_neox.layers.1.");
    REFUSED("\"gelu\"", "\"relu\"", "\"hidden_act\": relu is not supported");
    REFUSED("\"gelu\"", "\"silu\"", "\"hidden_act\": silu is not supported");
    REFUSED("\"gelu\"", "7", "\"hidden_act\" must be a string");
    REFUSED("1e-05", "-1", "\"layer_norm_eps\" must be a number");
    REFUSED("\"use_parallel_residual\": true", "\"use_parallel_residual\": 1", "must be true or false");
    REFUSED("\"default\"", "\"yarn\"", "\"rope_type\": yarn is not supported");
    REFUSED("\"partial_rotary_factor\": 0.33", "\"partial_rotary_factor\": 0.93",
            "\"partial_rotary_factor\"");
    REFUSED("\"bos_token_id\": 0", "\"bos_token_id\": 8",
            "\"bos_token_id\" must be a whole number from -1 to 7");
    REFUSED("GPTNeoXForCausalLM", "GPTNeoXForTokenClassification",
            "\"architectures\": GPTNeoXForTokenClassification");
    REFUSED("GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification", "score.weight is missing");
    REFUSED("ForCausalLM\"],", "ForSequenceClassification\"], \"num_labels\": 2,",
            "a classifier with 2 labels");
    REFUSED("ForCausalLM\"],", "ForCausalLM\"], \"more\": {\"pooling\": \"max\"},",
            "\"pooling\": max is not supported");
    good_folder(&tiny[5]);
    REFUSED("\"rms_norm_eps\"", "\"use_sliding_window\": true, \"rms_norm_eps\"",
            "\"use_sliding_window\": true");
    REFUSED("\"rms_norm_eps\"", "\"layer_types\": [\"sliding_attention\"], \"rms_norm_eps\"",
            "\"layer_types\": sliding_attention");
    REFUSED("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "key/value heads");
    REFUSED("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 5", "\"num_key_value_heads\" must be");
    REFUSED("\"head_dim\": 2", "\"head_dim\": 3", "\"partial_rotary_factor\"");
    good_folder(&tiny[2]);
    REFUSED("\"scale_attn_weights\": true", "\"scale_attn_weights\": false", "\"scale_attn_weights\": false");
    REFUSED("\"n_ctx\"", "\"scale_attn_by_inverse_layer_idx\": true, \"n_ctx\"",
            "scale_attn_by_inverse_layer_idx");
    #undef REFUSED
    Config c;
    CHECK(failed_with(config_load(&c, in("nowhere")), EX_NOINPUT, "config.json: No such file"));
    CHECK(unlink(in("bad/config.json")) == 0 && folder_make(in("bad/config.json")) == 0);
    CHECK(failed_with(config_load(&c, in("bad")), EX_NOINPUT, "config.json: not a regular file"));
    CHECK(rmdir(in("bad/config.json")) == 0 && mkfifo(in("bad/config.json"), 0600) == 0);
    CHECK(failed_with(config_load(&c, in("bad")), EX_NOINPUT, "config.json: not a regular file"));
    remove_all(in("bad"));
}

// Two thousand folders with one random byte changed: an error or a model, never a crash (use a sanitizer)
static void test_random_damage_does_no_harm(void) {
    good_folder(&tiny[0]);
    uint64_t header = 8 + little_endian((unsigned char *)weights.data, 8);
    for (uint64_t i = 0; i < 2000; i++) {
        Model m;
        Buffer *b = i % 4 ? &weights : &config;
        uint32_t n = (uint32_t)(i % 4 ? header : config.len), at = random_below(n, 1, STREAM_TEST, i, 0);
        char old = b->data[at];
        b->data[at] = (char)random_u64(1, STREAM_TEST, i, 1);
        FILE *f = fopen(in(b == &weights ? "bad/model.safetensors" : "bad/config.json"), "wb");
        CHECK(f && fwrite(b->data, 1, b->len, f) == b->len && fclose(f) == 0);
        if (checkpoint_load(&m, in("bad"), LOAD_AS_STORED) == 0) model_free(&m);
        b->data[at] = old;
        f = fopen(in(b == &weights ? "bad/model.safetensors" : "bad/config.json"), "wb");
        CHECK(f && fwrite(b->data, 1, b->len, f) == b->len && fclose(f) == 0);
    }
    remove_all(in("bad"));
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/more-test-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(folder)) return perror(folder), 1;
    RUN(test_sha256_gives_the_digests_of_fips_180);
    RUN(test_a_file_is_written_whole_and_replaced);
    RUN(test_a_planted_or_impossible_target_is_refused_and_left_alone);
    RUN(test_half_precision_rounds_to_nearest_even);
    RUN(test_bfloat16_rounds_to_nearest_even);
    RUN(test_rows_of_heads_become_rows_of_queries_keys_values);
    RUN(test_a_saved_model_loads_bit_for_bit_in_every_family);
    RUN(test_a_language_model_gets_a_head_of_zeros_and_a_reward_model_predicts_no_tokens);
    RUN(test_the_tokenizer_and_its_special_tokens_are_written_beside_the_weights);
    RUN(test_a_failed_save_leaves_the_old_folder_as_it_was);
    RUN(test_folders_of_transformers_come_back_value_for_value);
    RUN(test_hostile_headers_are_refused);
    RUN(test_spoilt_weights_are_refused_by_name);
    RUN(test_names_without_the_base_prefix_and_old_buffers_load);
    RUN(test_a_model_in_several_files_loads_by_its_index);
    RUN(test_every_field_of_a_configuration_is_checked);
    RUN(test_random_damage_does_no_harm);
    buffer_free(&weights);
    buffer_free(&config);
    remove_all(folder);
    return test_summary();
}

/* test_checkpoint.c - model folders, tensor files and safe files.
 *
 * Runs from the top of the repository.  main goes to a fresh folder, where `golden` is test/golden:
 * the paths below are relative to it.                                                            */
#include "../common.h"
#include <unistd.h>

/* The disk as the files under test see it.  After calls_left renames, removals and flushes it hears
 * no more, as after a crash, or the next one is an error.                                        */
static struct {
    enum { WORKS, CRASHES, FAILS_ONCE } then;
    int calls_left;
} disk;

// Is this call to be carried out?  If not, the caller returns *result.
static int disk_hears(int *result) {
    *result = 0;
    if (disk.then == WORKS) return 1;
    disk.calls_left--;
    if (disk.calls_left >= 0) return 1;
    if (disk.then == CRASHES) return 0;
    disk.then = WORKS;
    *result = -1;
    errno = EIO;
    return 0;
}

static int disk_rename(const char *from, const char *to) {
    int result;
    return disk_hears(&result) ? rename(from, to) : result;
}

static int disk_unlink(const char *path) {
    int result;
    return disk_hears(&result) ? unlink(path) : result;
}

// Tests need not wait for a disk.
static int disk_fsync(int fd) {
    int result;
    (void)fd;
    disk_hears(&result);
    return result;
}

#define rename disk_rename
#define unlink disk_unlink
#define fsync disk_fsync
#include "../files/checkpoint.c"
#undef rename
#undef unlink
#undef fsync
#include "test.h"
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

// Did it fail with this code, and do the words stand in the message?
static int failed_with(int result, int code, const char *words) {
    if (result < 0 && error_code == code && strstr(error_text, words)) return 1;
    printf("    %s (%d), not \"%s\" (%d)\n", result < 0 ? error_text : "no error", error_code,
           words, code);
    return 0;
}

static void remove_all(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[PATH_SIZE];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (unlink(path) < 0) remove_all(path);
    }
    closedir(d);
    rmdir(dir);
}

// ---------------------------------------------------------------------------------- SHA-256, files

static void test_sha256_gives_the_digests_of_fips_180(void) {
    char hex[65];
    Sha256 s;
    sha256_hex(hex, "abc", 3);
    CHECK(!strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    sha256_hex(hex, "", 0);
    CHECK(!strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    sha256_hex(hex, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    CHECK(!strcmp(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));

    // a million times "a", in pieces of every size
    char a[1000];
    size_t left = 1000000;
    memset(a, 'a', sizeof a);
    sha256_start(&s);
    for (size_t size = 1; left > 0; size = size % 997 + 1) {
        size_t n = size < left ? size : left;
        sha256_add(&s, a, n);
        left -= n;
    }
    sha256_finish(&s, hex);
    CHECK(!strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
}

// The numbers are from Python's integers.
static void test_a_checksum_is_that_of_its_definition_in_pieces_of_any_size(void) {
    const unsigned char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    char text[CHECKSUM_TEXT];
    Checksum c;
    checksum_start(&c);
    CHECK(checksum_finish(&c) == 0);
    checksum_start(&c);
    checksum_add(&c, "abc", 3);
    CHECK(checksum_finish(&c) == 0xb0276c3174969902u);
    for (size_t piece = 1; piece <= sizeof bytes; piece++) {
        checksum_start(&c);
        for (size_t at = 0; at < sizeof bytes; at += piece) {
            const size_t left = sizeof bytes - at;
            checksum_add(&c, bytes + at, left < piece ? left : piece);
        }
        CHECK(checksum_finish(&c) == 0xaa805909f5547473u);
    }
    checksum_text(text, 0x0123456789abcdef);
    CHECK(!strcmp(text, "0123456789abcdef"));
}

static void test_a_file_is_written_whole_and_replaced(void) {
    Buffer b = {0};
    char hex[65];
    CHECK(folder_make("a/b//c") == 0);
    CHECK(folder_make("a/b/c/") == 0);
    CHECK(file_write("a/b/c/x", "first", 5) == 0);
    CHECK(file_write("a/b/c/x", "ab\0c", 4) == 0);
    CHECK(file_read(&b, "a/b/c/x") == 0);
    CHECK(b.len == 4 && !memcmp(b.data, "ab\0c", 4));
    CHECK(file_write("a/b/c/x", "abc", 3) == 0);
    CHECK(sha256_file(hex, "a/b/c/x") == 0 && !strncmp(hex, "ba7816bf", 8));
    buffer_free(&b);
}

// The temporary name that this process gives a file.
static const char *temporary(char name[100], const char *path) {
    snprintf(name, 100, "%s.%ld.tmp", path, (long)getpid());
    return name;
}

static void test_what_a_killed_run_left_is_removed_and_what_a_running_one_has_is_not(void) {
    char mine[100];
    Output running;
    CHECK(folder_make("left") == 0);
    CHECK(file_write("left/x.1.tmp", "of a dead run", 13) == 0);
    CHECK(file_write(temporary(mine, "left/x"), "of one with our number", 22) == 0);
    CHECK(file_write("left/x.y.tmp", "the user's", 10) == 0);
    CHECK(file_write("left/xx.1.tmp", "of another file", 15) == 0);
    CHECK(output_open(&running, "left/y") == 0);
    CHECK(rename(running.temporary, "left/x.2.tmp") == 0);
    CHECK(file_write("left/x", "new", 3) == 0);
    CHECK(access("left/x", F_OK) == 0);
    CHECK(access("left/x.1.tmp", F_OK) < 0 && access(mine, F_OK) < 0);
    CHECK(access("left/x.y.tmp", F_OK) == 0 && access("left/xx.1.tmp", F_OK) == 0);
    CHECK(access("left/x.2.tmp", F_OK) == 0);
    output_drop(&running);
    remove_all("left");
}

static void test_a_planted_or_impossible_target_is_refused_and_left_alone(void) {
    Buffer b = {0};
    char name[100];
    CHECK(file_write("victim", "precious", 8) == 0);
    CHECK(symlink("victim", temporary(name, "y")) == 0);
    CHECK(failed_with(file_write("y", "x", 1), EX_CANTCREAT, "tmp: is a symbolic link"));
    CHECK(file_read(&b, "victim") == 0 && b.len == 8);
    CHECK(access("y", F_OK) < 0);
    CHECK(folder_make(temporary(name, "z")) == 0);
    CHECK(failed_with(file_write("z", "x", 1), EX_CANTCREAT, "tmp: is a folder"));
    CHECK(mkfifo(temporary(name, "fifo"), 0600) == 0);
    CHECK(failed_with(file_write("fifo", "x", 1), EX_CANTCREAT, "tmp: is a pipe"));
    CHECK(folder_make("dir") == 0);
    CHECK(failed_with(file_write("dir", "x", 1), EX_CANTCREAT, "dir: is a folder"));
    CHECK(access(temporary(name, "dir"), F_OK) < 0);
    CHECK(failed_with(file_write("none/x", "x", 1), EX_CANTCREAT, "No such file"));
    char path[PATH_SIZE + 10] = "";
    memset(path, 'a', sizeof path - 1);
    CHECK(failed_with(file_write(path, "x", 1), EX_USAGE, "too long"));
    CHECK(failed_with(folder_make(path), EX_USAGE, "too long"));
    buffer_free(&b);
}

static int is_still(const char *path, int (*kind)(mode_t)) {
    struct stat st;
    return lstat(path, &st) == 0 && kind(st.st_mode);
}
static int is_link(mode_t mode)   { return S_ISLNK(mode); }
static int is_pipe(mode_t mode)   { return S_ISFIFO(mode); }
static int is_device(mode_t mode) { return S_ISCHR(mode); }
static int is_socket(mode_t mode) { return S_ISSOCK(mode); }

static void test_what_is_no_file_is_written_through_or_refused_never_replaced(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    char got[8];
    Buffer b = {0};

    // a pipe, and a link to one, as a shell makes them
    CHECK(mkfifo("pipe", 0600) == 0 && symlink("pipe", "to-pipe") == 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    CHECK(file_write("pipe", "abc", 3) == 0);
    CHECK(file_write("to-pipe", "def", 3) == 0);
    CHECK(read(reader, got, sizeof got) == 6 && !memcmp(got, "abcdef", 6));
    CHECK(is_still("pipe", is_pipe) && is_still("to-pipe", is_link));
    close(reader);

    // a device, by a link, for nobody but root may make one or would lose one
    CHECK(symlink("/dev/null", "to-null") == 0);
    CHECK(file_write("to-null", "abc", 3) == 0);
    CHECK(is_still("to-null", is_link) && is_still("/dev/null", is_device));
    if (mknod("device", S_IFCHR | 0600, makedev(1, 3)) == 0) {
        CHECK(file_write("device", "abc", 3) == 0 || error_code == EX_CANTCREAT);
        CHECK(is_still("device", is_device));
    } else {
        printf("    (not root: no device was made)\n");
    }

    // links to a file and to nothing, a socket
    CHECK(file_write("file", "precious", 8) == 0);
    CHECK(symlink("file", "to-file") == 0 && symlink("nothing", "to-nothing") == 0);
    CHECK(failed_with(file_write("to-file", "x", 1), EX_CANTCREAT, "to-file: is a symbolic link"));
    CHECK(failed_with(file_write("to-nothing", "x", 1), EX_CANTCREAT, "is a symbolic link"));
    CHECK(file_read(&b, "file") == 0 && b.len == 8);
    CHECK(is_still("to-file", is_link) && is_still("to-nothing", is_link));
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(s >= 0 && bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(failed_with(file_write("socket", "x", 1), EX_CANTCREAT, "socket: is a socket"));
    CHECK(is_still("socket", is_socket));
    close(s);
    buffer_free(&b);
}

static void test_what_is_no_folder_is_named_by_its_kind(void) {
    CHECK(file_write("file", "x", 1) == 0);
    CHECK(failed_with(folder_make("file/sub"), EX_CANTCREAT,
                      "file: is a file, a folder is to be made here"));
    CHECK(symlink("nowhere", "dangling") == 0);
    CHECK(failed_with(folder_make("dangling"), EX_CANTCREAT,
                      "dangling: is a symbolic link to nothing"));
    CHECK(mkfifo("queue", 0600) == 0);
    CHECK(failed_with(folder_make("queue"), EX_CANTCREAT, "queue: is a pipe"));
    CHECK(folder_make("linked") == 0 && symlink("linked", "link") == 0);
    CHECK(folder_make("link/sub") == 0 && access("linked/sub", F_OK) == 0);
}

static void test_a_folder_is_for_one_alone_and_left_without_a_trace(void) {
    Folder f, g;
    CHECK(folder_make("known") == 0);
    CHECK(folder_enter(&f, "known/new//deep/") == 0);
    CHECK(failed_with(folder_enter(&g, "known/new/deep"), EX_TEMPFAIL,
                      "known/new/deep: in use by another run"));
    CHECK(access("known/new/deep/more.lock", F_OK) == 0);      // the second took nothing away
    folder_leave(&f);
    CHECK(access("known/new", F_OK) < 0 && access("known", F_OK) == 0);

    // what holds something stays, and may be entered again
    CHECK(folder_enter(&f, "known/new/deep") == 0);
    CHECK(file_write("known/new/deep/x", "x", 1) == 0);
    folder_leave(&f);
    CHECK(access("known/new/deep/x", F_OK) == 0 && access("known/new/deep/more.lock", F_OK) < 0);
    CHECK(folder_enter(&f, "known/new/deep") == 0);
    folder_leave(&f);

    // a planted lock is not followed
    CHECK(symlink("../victim", "known/more.lock") == 0);
    CHECK(failed_with(folder_enter(&f, "known"), EX_CANTCREAT,
                      "known/more.lock: is a symbolic link, not a file of ours"));
    CHECK(access("victim", F_OK) == 0 && is_still("known/more.lock", is_link));
    remove_all("known");
}

static void test_a_json_file_is_one_object_of_at_most_100_megabytes(void) {
    Json j = {0};
    CHECK(file_write("j", "{\"a\": 1}", 8) == 0);
    CHECK(json_load(&j, "j") == 0 && json_number(&j, json_get(&j, 0, "a")) == 1);
    CHECK(file_write("j", "{\"a\": 1", 7) == 0);
    CHECK(failed_with(json_load(&j, "j"), EX_DATAERR, "j:1:8: ',' or '}' is expected"));
    CHECK(file_write("j", "[1]", 3) == 0);
    CHECK(failed_with(json_load(&j, "j"), EX_DATAERR, "j: must be a JSON object"));
    CHECK(truncate("j", 100000001) == 0);
    CHECK(failed_with(json_load(&j, "j"), EX_DATAERR, "j: more than 100 MB"));
    CHECK(failed_with(json_load(&j, "none"), EX_NOINPUT, "none: No such file"));
    json_free(&j);
}

// ---------------------------------------------------------------------------------- number formats

static float between(float a, float b) { return (float)(((double)a + (double)b) / 2); }

static void test_half_precision_rounds_to_nearest_even(void) {
    for (unsigned h = 0; h < 0x7c00; h++) {                            // every finite half
        float a = float_of_half((uint16_t)h), next = 65536;
        if (h < 0x7bff) next = float_of_half((uint16_t)(h + 1));
        int exponent = (int)(h >> 10), fraction = (int)(h & 1023);
        double value = ldexp(h, -24);
        if (exponent > 0) value = ldexp(1 + fraction / 1024.0, exponent - 15);
        if (a != (float)value || half_of(a) != h || half_of(-a) != (h | 0x8000)) CHECK(!"exact");
        float tie = between(a, next);                                  // a float has 13 bits more
        float below = nextafterf(tie, 0), above = nextafterf(tie, 1e9f);
        if (half_of(tie) != h + h % 2) CHECK(!"a tie goes to even");
        if (half_of(below) != h || half_of(above) != h + 1) CHECK(!"nearest");
    }
    CHECK(half_of(0x1p-25f) == 0);
    CHECK(half_of(0x1.000002p-25f) == 1);
    CHECK(half_of(0x1p-149f) == 0);
    CHECK(half_of(-0.0f) == 0x8000);
    CHECK(half_of(65519.996f) == 0x7bff);
    CHECK(half_of(65520) == 0x7c00);
    CHECK(half_of(FLT_MAX) == 0x7c00);
    CHECK(isinf(float_of_half(0xfc00)));
    CHECK(isnan(float_of_half(0x7c01)));
    CHECK(isnan(float_of_half(half_of(NAN))));
}

static void test_bfloat16_rounds_to_nearest_even(void) {
    for (unsigned h = 0; h < 0x7f7f; h++) {
        float a = float_of(h << 16), tie = between(a, float_of((h + 1) << 16));
        float below = nextafterf(tie, 0), above = nextafterf(tie, FLT_MAX);
        if (bf16_of(a) != h || bf16_of(tie) != h + h % 2) CHECK(!"exact, or a tie to even");
        if (bf16_of(below) != h || bf16_of(-above) != ((h + 1) | 0x8000)) CHECK(!"nearest");
    }
    CHECK(bf16_of(FLT_MAX) == 0x7f80);
    CHECK(isnan(float_of((uint32_t)bf16_of(float_of(0x7f800001)) << 16)));
}

static void test_a_double_beyond_a_float_is_infinite(void) {
    static const double values[] = {1.5, -1e39, 1e39, NAN};
    float decoded[4];
    for (int i = 0; i < 4; i++) {
        unsigned char bytes[8];
        uint64_t u;
        memcpy(&u, &values[i], 8);
        for (int k = 0; k < 8; k++) bytes[k] = (unsigned char)(u >> 8*k);
        decoded[i] = dtype_decode(F64, bytes);
    }
    CHECK(decoded[0] == 1.5f);
    CHECK(isinf(decoded[1]) && decoded[1] < 0);
    CHECK(isinf(decoded[2]) && decoded[2] > 0);
    CHECK(isnan(decoded[3]));
}

// ----------------------------------------------------------------------------------- model folders

// Every family, and every key that has a choice.
static const Config tiny[] = {
    {.family = FAMILY_NEOX, .vocab_size = 8, .channels = 12, .num_layers = 2, .num_heads = 2,
     .num_kv_heads = 2, .head_dim = 6, .hidden = 10, .max_positions = 16, .rotary_dims = 2,
     .parallel_residual = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1,
     .activation = ACT_GELU_ERF, .norm_eps = 1e-5f, .rope_theta = 10000, .rope_factor = 1,
     .bos = 0, .eos = 0, .pad = 1},
    {.family = FAMILY_NEOX, .vocab_size = 8, .channels = 98, .num_layers = 2, .num_heads = 1,
     .num_kv_heads = 1, .head_dim = 98, .hidden = 3, .max_positions = 16, .rotary_dims = 58,
     .mlp_bias = 1, .tied = 1, .activation = ACT_GELU_TANH, .norm_eps = 1.1e-6f,
     .rope_theta = 1234.5678901234567, .rope_factor = 1, .bos = -1, .eos = 7, .pad = -1,
     .reward = 1, .pooling = POOL_EOS},
    {.family = FAMILY_GPT2, .vocab_size = 8, .channels = 6, .num_layers = 1, .num_heads = 3,
     .num_kv_heads = 3, .head_dim = 2, .hidden = 5, .max_positions = 9, .learned_positions = 1,
     .tied = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .activation = ACT_GELU_TANH,
     .norm_eps = 1e-5f, .bos = 2, .eos = 2, .pad = -1},
    {.family = FAMILY_LLAMA, .vocab_size = 8, .channels = 6, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 4, .hidden = 5, .max_positions = 9, .rotary_dims = 4,
     .rms_norm = 1, .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 5e5,
     .rope_factor = 1, .bos = 1, .eos = 2, .num_more_eos = 2, .more_eos = {7, 0}, .pad = 0,
     .reward = 1, .pooling = POOL_MEAN},
    {.family = FAMILY_LLAMA, .vocab_size = 8, .channels = 6, .num_layers = 1, .num_heads = 2,
     .num_kv_heads = 1, .head_dim = 2, .hidden = 5, .max_positions = 9, .rotary_dims = 2,
     .rms_norm = 1, .gated = 1, .qkv_bias = 1, .out_bias = 1, .mlp_bias = 1, .tied = 1,
     .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 10000, .rope_factor = 8,
     .rope_type = ROPE_LLAMA3, .rope_low_freq = 1, .rope_high_freq = 4, .rope_original = 4,
     .bos = 1, .eos = 2, .pad = 0},
    {.family = FAMILY_QWEN2, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 2, .hidden = 5, .max_positions = 9, .rotary_dims = 2,
     .rms_norm = 1, .gated = 1, .qkv_bias = 1, .activation = ACT_SILU, .norm_eps = 1e-6f,
     .rope_theta = 1e6, .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0},
    {.family = FAMILY_QWEN3, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 6, .hidden = 5, .max_positions = 9, .rotary_dims = 6,
     .rms_norm = 1, .gated = 1, .qk_norm = 1, .activation = ACT_SILU, .norm_eps = 1e-6f,
     .rope_theta = 1e6, .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0},
    {.family = FAMILY_MISTRAL, .vocab_size = 8, .channels = 6, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 4, .hidden = 5, .max_positions = 5000, .rotary_dims = 4,
     .rms_norm = 1, .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-5f, .rope_theta = 1e6,
     .rope_factor = 1, .bos = 1, .eos = 2, .pad = -1},
    {.family = FAMILY_QWEN2, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 2, .hidden = 5, .max_positions = 20, .sliding_window = 9,
     .slides = {1, 0}, .rotary_dims = 2, .rms_norm = 1, .gated = 1,
     .qkv_bias = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 1e6,
     .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0},
    {.family = FAMILY_MISTRAL, .vocab_size = 8, .channels = 6, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 4, .hidden = 5, .max_positions = 50, .sliding_window = 9,
     .slides = {1, 1}, .rotary_dims = 4, .rms_norm = 1, .gated = 1,
     .activation = ACT_SILU, .norm_eps = 1e-5f, .rope_theta = 1e6, .rope_factor = 1, .bos = 1,
     .eos = 2, .pad = -1},
    {.family = FAMILY_SMOLLM3, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 2,
     .num_kv_heads = 1, .head_dim = 4, .hidden = 5, .max_positions = 50, .rotary_dims = 4,
     .rms_norm = 1, .gated = 1, .activation = ACT_SILU, .norm_eps = 1e-6f, .rope_theta = 1e6,
     .rope_type = ROPE_YARN, .rope_factor = 3.5, .rope_low_freq = 1.5, .rope_high_freq = 30,
     .rope_original = 7, .rope_attention = 1.0625, .rope_exact = 1, .unturned = {1, 0}, .bos = 1,
     .eos = 2, .pad = -1},
    {.family = FAMILY_OLMO2, .vocab_size = 8, .channels = 8, .num_layers = 2, .num_heads = 4,
     .num_kv_heads = 2, .head_dim = 2, .hidden = 5, .max_positions = 9, .rotary_dims = 2,
     .rms_norm = 1, .gated = 1, .post_norm = 1, .qk_norm = 1, .qk_wide = 1, .activation = ACT_SILU,
     .norm_eps = 1e-5f, .rope_theta = 5e5, .rope_factor = 1, .bos = -1, .eos = 2, .pad = 0},
};
enum { TINY = sizeof tiny / sizeof *tiny };

static void test_every_family_has_its_names_and_a_model_among_these(void) {
    for (int f = 0; f < NUM_FAMILIES; f++) {
        const FamilyNames *n = &families[f];
        int here = 0;
        for (int i = 0; i < TINY; i++) here += tiny[i].family == (Family)f;
        CHECK(here > 0);
        CHECK(n->model_type && n->architecture && n->language_model && n->prefix && n->activation);
        CHECK(n->keys && n->norm_eps);
    }
}

// Another normal number in every parameter.
static int filled(Model *m, const Config *c) {
    Entries e;
    if (model_init(m, *c) < 0 || entries_init(&e, c, &m->params) < 0) return -1;
    for (size_t i = 0; i < e.n; i++) {
        const Entry *t = &e.entry_memory[i];
        real *values = allocate(t->n, sizeof *values);
        if (!values) return -1;
        for (size_t k = 0; k < t->n; k++) values[k] = (float)random_normal(1, STREAM_TEST, i, k);
        kernels_write(*t->tensor + t->offset, values, t->n);
        free(values);
    }
    free(e.entry_memory);
    return 0;
}

static int same_tensor(const Entry *s, const Entry *t, Dtype rounded) {
    real *x = allocate(s->n, sizeof *x), *y = allocate(s->n, sizeof *y);
    int same = x && y && s->n == t->n;
    if (same) {
        kernels_read(x, *s->tensor + s->offset, s->n);
        kernels_read(y, *t->tensor + t->offset, t->n);
    }
    for (size_t k = 0; same && k < s->n; k++) {
        unsigned char bytes[4];
        dtype_encode(rounded, bytes, (float)x[k]);
        same = dtype_decode(rounded, bytes) == (float)y[k];
    }
    free(x);
    free(y);
    return same;
}

// Are the weights of b those of a, rounded?
static int same_weights(const Model *a, const Model *b, Dtype rounded) {
    Entries e = {.n = 0}, g = {.n = 0};
    int same = 0;
    if (entries_init(&e, &a->config, &a->params) < 0) goto done;
    if (entries_init(&g, &b->config, &b->params) < 0) goto done;
    same = e.n == g.n;
    for (size_t i = 0; same && i < e.n; i++) {
        same = same_tensor(&e.entry_memory[i], &g.entry_memory[i], rounded);
    }
done:
    free(e.entry_memory);
    free(g.entry_memory);
    return same;
}

static int same_config(Config a, Config b) {
    #define SAME(field) (a.field == b.field || (printf("    %s differs\n", #field), 0))
    return SAME(family) && SAME(vocab_size) && SAME(channels) && SAME(num_layers) && SAME(num_heads)
        && SAME(num_kv_heads) && SAME(head_dim) && SAME(hidden) && SAME(max_positions)
        && SAME(rms_norm) && SAME(learned_positions) && SAME(rotary_dims) && SAME(parallel_residual)
        && SAME(gated) && SAME(tied) && SAME(qkv_bias) && SAME(out_bias) && SAME(mlp_bias)
        && SAME(qk_norm) && SAME(qk_wide) && SAME(post_norm) && SAME(activation)
        && SAME(norm_eps) && SAME(rope_low_freq)
        && SAME(rope_high_freq) && SAME(rope_original) && SAME(rope_type) && SAME(rope_attention)
        && SAME(sliding_window) && SAME(slides[0]) && SAME(slides[1])
        && SAME(rope_exact) && SAME(unturned[0]) && SAME(unturned[1])
        && SAME(bos) && SAME(eos) && SAME(pad)
        && SAME(num_more_eos) && SAME(more_eos[0]) && SAME(more_eos[1])
        && SAME(reward) && SAME(pooling)
        && (a.learned_positions || (SAME(rope_theta) && SAME(rope_factor)));
    #undef SAME
}

static void saved_and_loaded(const Config *c, const char *dtype, Dtype rounded) {
    Model m, loaded;
    char sha[65], again[65], file[65];
    CHECK(filled(&m, c) == 0);
    CHECK(checkpoint_save(&m, "model", NULL, dtype, sha) == 0);
    CHECK(checkpoint_load(&loaded, "model", LOAD_AS_STORED) == 0);
    CHECK(same_config(*c, loaded.config));
    CHECK(same_weights(&m, &loaded, rounded));
    CHECK(sha256_file(file, "model/model.safetensors") == 0 && !strcmp(sha, file));
    CHECK(checkpoint_save(&loaded, "model", NULL, dtype, again) == 0 && !strcmp(sha, again));
    model_free(&m);
    model_free(&loaded);
}

static void test_a_saved_model_loads_bit_for_bit_in_every_family(void) {
    for (int i = 0; i < TINY; i++) {
        saved_and_loaded(&tiny[i], "f32", F32);
        saved_and_loaded(&tiny[i], "f16", F16);
        saved_and_loaded(&tiny[i], "bf16", BF16);
    }
    remove_all("model");
}

// Every value of the file where the layout says that it belongs, and pieces smaller than a tensor.
static void check_every_value(const Config *c, Layout layout) {
    Model m;
    Entries e;
    Weights w;
    char sha[65];
    int larger = 0, elsewhere = 0;
    CHECK(filled(&m, c) == 0 && checkpoint_save(&m, "model", NULL, "f32", sha) == 0);
    CHECK(entries_init(&e, c, &m.params) == 0 && weights_open(&w, "model") == 0);
    for (size_t i = 0; i < e.n; i++) {
        const Entry *t = &e.entry_memory[i];
        const StoredTensor *stored = stored_find(&w, t->name);
        float *x = allocate(t->n, sizeof *x);
        CHECK(x && file_read_at(stored->shard->fd, "", x, 4 * t->n, stored->begin) == 0);
        larger += t->layout == layout && t->n > entry_piece(t);
        for (size_t k = 0; k < t->n; k++) {
            elsewhere += x[k] != (*t->tensor)[t->offset + entry_place(t, k)];
        }
        free(x);
    }
    CHECK(larger > 0 && elsewhere == 0);
    weights_close(&w);
    free(e.entry_memory);
    model_free(&m);
    saved_and_loaded(c, "f32", F32);
}

static void test_tensors_larger_than_a_piece_are_written_and_read_whole(void) {
    Config wide = tiny[0], turned = tiny[2];
    wide.channels = 336;
    wide.head_dim = 168;
    wide.hidden = 900;
    turned.channels = 36;
    turned.head_dim = 12;
    check_every_value(&wide, AS_IS);
    check_every_value(&wide, BY_HEAD);
    check_every_value(&turned, TRANSPOSED);
    remove_all("model");
}

// The same folder with numbers for all and with narrow matrices.
static void check_narrow(const Config *c, const char *dtype) {
    const LoraOptions none = {.r = 0};
    Model m, wide, narrow;
    Config settled = *c;
    char sha[65], again[65];
    CHECK(filled(&m, c) == 0 && checkpoint_save(&m, "model", NULL, dtype, sha) == 0);
    CHECK(checkpoint_load(&wide, "model", LOAD_AS_STORED) == 0);
    CHECK(checkpoint_load_as(&narrow, "model", LOAD_AS_STORED, &none, 1) == 0);
    const size_t n = wide.num_params;
    real *x = allocate(2*n, sizeof *x);
    CHECK(x && narrow.num_params == n);
    model_read(&wide, 0, n, x);
    for (size_t at = 0; at < n; at += 7) {
        model_read(&narrow, at, n - at < 7 ? n - at : 7, x + n + at);
    }
    CHECK(!memcmp(x, x + n, n * sizeof *x));

    // what it takes, what is announced, what is saved
    const size_t bytes = 2 * model_num_narrow(c), saved = 2 * bytes;
    CHECK(narrow.config.narrow_bytes == bytes);
    CHECK(checkpoint_settle_narrow(&settled, "model", LOAD_AS_STORED) == 0);
    CHECK(settled.narrow_bytes == bytes);
    CHECK(model_bytes(c, 9, 1, SCORING) - model_bytes(&settled, 9, 1, SCORING) == saved - bytes);
    CHECK(narrow.num_numbers == n - model_num_narrow(c));
    CHECK(checkpoint_save(&narrow, "model", NULL, dtype, again) == 0 && !strcmp(sha, again));
    free(x);
    model_free(&m);
    model_free(&wide);
    model_free(&narrow);
}

static void test_narrow_matrices_hold_what_their_numbers_hold_in_every_family(void) {
    const LoraOptions none = {.r = 0};
    Model m;
    char sha[65];
    for (int i = 0; i < TINY; i++) {
        check_narrow(&tiny[i], "bf16");
        check_narrow(&tiny[i], "f16");
    }
    // of a file of floats nothing would be gained
    CHECK(filled(&m, &tiny[0]) == 0 && checkpoint_save(&m, "model", NULL, "f32", sha) == 0);
    model_free(&m);
    CHECK(checkpoint_load_as(&m, "model", LOAD_AS_STORED, &none, 1) == 0);
    CHECK(m.config.narrow_bytes == 0 && m.num_numbers == m.num_params);
    model_free(&m);
    remove_all("model");
}

// A flipped bit of a header makes another header, which is refused or says the same.
static void test_a_flipped_bit_of_a_weight_is_noticed(void) {
    Model m, loaded;
    Buffer b = {0};
    const char *path = "model/model.safetensors";
    char sha[65];
    size_t taken = 0;
    CHECK(filled(&m, &tiny[0]) == 0);
    CHECK(checkpoint_save(&m, "model", NULL, "bf16", sha) == 0);
    CHECK(file_read(&b, path) == 0);
    const size_t values = 8 + (size_t)number_of_bytes((const unsigned char *)b.data);
    const int fd = open(path, O_WRONLY);
    for (size_t bit = 0; bit < 8 * b.len; bit += bit < 8 * values ? 7 : 97) {
        const char flipped = (char)(b.data[bit / 8] ^ 1 << bit % 8);
        CHECK(pwrite(fd, &flipped, 1, (off_t)(bit / 8)) == 1);
        if (checkpoint_load(&loaded, "model", LOAD_AS_STORED) == 0) {
            CHECK(bit < 8 * values && same_weights(&m, &loaded, BF16));
            model_free(&loaded);
            taken++;
        } else if (bit >= 8 * values && !strstr(error_text, "is not a number")) {
            CHECK(failed_with(-1, EX_DATAERR, "the file is damaged, take another copy of it"));
        }
        CHECK(pwrite(fd, &b.data[bit / 8], 1, (off_t)(bit / 8)) == 1);
    }
    close(fd);
    CHECK(taken < 60);                              // of the metadata's names, "format", "pt"
    buffer_free(&b);
    model_free(&m);
    remove_all("model");
}

static void test_a_language_model_gets_a_head_of_zeros_and_a_reward_model_predicts_no_tokens(void) {
    Model m, loaded;
    char sha[65];
    real head[12];
    CHECK(filled(&m, &tiny[0]) == 0);
    CHECK(checkpoint_save(&m, "lm", NULL, "f32", sha) == 0);
    CHECK(checkpoint_load(&loaded, "lm", LOAD_REWARD_MODEL) == 0);
    CHECK(loaded.config.reward && !loaded.params.unembed);
    kernels_read(head, loaded.params.head, 12);
    for (int i = 0; i < 12; i++) CHECK(head[i] == 0);
    CHECK(checkpoint_save(&loaded, "rm", NULL, "f32", sha) == 0);
    model_free(&loaded);
    CHECK(failed_with(checkpoint_load(&loaded, "rm", LOAD_LANGUAGE_MODEL), EX_DATAERR,
                      "it was trained from"));
    CHECK(checkpoint_load(&loaded, "rm", LOAD_AS_STORED) == 0 && loaded.config.reward);
    model_free(&loaded);
    model_free(&m);
    remove_all("lm");
    remove_all("rm");
}

// Removed first: a file that is written over is flushed by some file systems, which takes its time.
static void write_plainly(const char *path, const char *data, size_t n) {
    unlink(path);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, n, f) == n);
    if (f) CHECK(fclose(f) == 0);
}

static int file_is(const char *path, const char *text) {
    Buffer b = {0};
    int same = file_read(&b, path) == 0 && !strcmp(b.data, text);
    buffer_free(&b);
    return same;
}

static void test_the_tokenizer_and_its_special_tokens_are_written_beside_the_weights(void) {
    Model m;
    char sha[65];
    char added[] = "{\"added_tokens\": [{\"id\": 0, \"content\": \"<|end\\\"|>\"}, "
                   "{\"id\": 1, \"content\": \"p\"}]}";
    #define TOKENS "\n  \"bos_token\": \"<|end\\\"|>\",\n  \"eos_token\": \"<|end\\\"|>\"," \
                   "\n  \"pad_token\": \"p\"\n}\n"
    SmallFiles tokenizer = {.n = 0};
    CHECK(filled(&m, &tiny[0]) == 0);
    CHECK(beside_put(&tokenizer, "tokenizer.json", added, sizeof added - 1) == 0);
    CHECK(checkpoint_save(&m, "tok", &tokenizer, "f32", sha) == 0);
    CHECK(file_is("tok/tokenizer.json", added));
    CHECK(file_is("tok/special_tokens_map.json", "{" TOKENS));
    CHECK(file_is("tok/tokenizer_config.json",
                  "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                  "  \"model_max_length\": 16,\n"
                  "  \"clean_up_tokenization_spaces\": false," TOKENS));
    #undef TOKENS
    beside_find(&tokenizer, "tokenizer.json")->text.len--;
    CHECK(failed_with(checkpoint_save(&m, "tok", &tokenizer, "f32", sha), EX_DATAERR,
                      "tokenizer.json:1:"));
    CHECK(failed_with(checkpoint_save(&m, "tok", NULL, "f8", sha), EX_USAGE,
                      "f8: not a format of weights"));
    beside_free(&tokenizer);
    model_free(&m);
    remove_all("tok");
}

static void test_a_member_of_an_object_is_replaced_or_added_in_its_text(void) {
    static const struct { const char *object, *changed; } cases[] = {
        {"{\"a\": 1, \"k\": \"}\\\"\", \"b\": [\"k\"]}", "{\"a\": 1, \"k\": 7, \"b\": [\"k\"]}"},
        {"{\"b\":{\"k\":1},\"k\":{\"x\":[{}]}}\n", "{\"b\":{\"k\":1},\"k\":7}\n"},
        {" { \"k\"\n:\tnull }", " { \"k\"\n:\t7 }"},
        {"{\"a\": \"k\"\n}\n", "{\"a\": \"k\",\n  \"k\": 7\n}\n"},
        {"{\"kk\":-1e5}", "{\"kk\":-1e5,\n  \"k\": 7}"},
        {"{}", "{\n  \"k\": 7}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buffer out = {0};
        CHECK(json_with_member(&out, cases[i].object, "k", "7") == 0);
        CHECK(!strcmp(out.data, cases[i].changed));
        if (strcmp(out.data, cases[i].changed)) printf("    %s\n", out.data);
        buffer_free(&out);
    }
}

// What other programs left in the folder "from" is kept in what is saved; the ends are one.
static void test_the_small_files_of_a_folder_are_kept(void) {
    static const struct { const char *name, *text; int kept; } files[] = {
        {"tokenizer.json", "{\"added_tokens\": [{\"id\": 0, \"content\": \"<e>\"}, "
                           "{\"id\": 1, \"content\": \"<p>\"}]}", 1},
        {"LICENSE", "free", 1},
        {"README.md", "", 1},
        {"added_tokens.json", "{}", 1},
        {"chat_template.jinja", "{{ x }}", 1},
        {"merges.txt", "a b", 1},
        {"generation_config.json", "{\"eos_token_id\": [3, 0], \"top_p\": 0.9}", 1},
        {"special_tokens_map.json", "{\"eos_token\": {\"content\": \"<e>\"}, \"x\": 1}", 1},
        {"tokenizer_config.json", "{\"chat_template\": \"y\", \"eos_token\": \"<e>\","
                                  " \"pad_token\": \"<p>\", \"tokenizer_class\": \"Z\"}", 1},
        {"config.json", "{}", 0},
        {"model-2.safetensors", "x", 0},
        {"pytorch_model.bin", "x", 0},
        {"model.safetensors.index.json", "x", 0},
        {"log.jsonl", "x", 0},
        {".gitattributes", "x", 0},
        {"config.json.7.old", "x", 0},
    };
    enum { FILES = sizeof files / sizeof *files };
    Model m;
    SmallFiles beside = {.n = 0};
    char path[100], sha[65];
    CHECK(folder_make("from/sub") == 0);
    for (size_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "from/%s", files[i].name);
        write_plainly(path, files[i].text, strlen(files[i].text));
    }
    CHECK(beside_load(&beside, "from", ALL_SMALL) == 0 && beside.n == 9);
    CHECK(filled(&m, &tiny[0]) == 0);
    CHECK(checkpoint_save(&m, "kept", &beside, "f32", sha) == 0);
    for (size_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "kept/%s", files[i].name);
        if (files[i].kept) CHECK(file_is(path, files[i].text));
    }
    CHECK(access("kept/log.jsonl", F_OK) < 0 && access("kept/sub", F_OK) < 0);

    // another end and another pad in config.json
    m.config.eos = 1;
    m.config.pad = 0;
    CHECK(checkpoint_save(&m, "kept", &beside, "f32", sha) == 0);
    CHECK(file_is("kept/generation_config.json", "{\"eos_token_id\": [1, 3, 0], \"top_p\": 0.9}"));
    CHECK(file_is("kept/special_tokens_map.json", "{\"eos_token\": \"<p>\", \"x\": 1}"));
    CHECK(file_is("kept/tokenizer_config.json", "{\"chat_template\": \"y\", \"eos_token\": \"<p>\","
                  " \"pad_token\": \"<e>\", \"tokenizer_class\": \"Z\"}"));
    beside_free(&beside);

    // tokenizer_config.json is made where there is none
    CHECK(unlink("from/tokenizer_config.json") == 0);
    CHECK(beside_load(&beside, "from", ALL_SMALL) == 0 && beside.n == 8);
    CHECK(checkpoint_save(&m, "made", &beside, "f32", sha) == 0);
    CHECK(file_is("made/tokenizer_config.json",
                  "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                  "  \"model_max_length\": 16,\n"
                  "  \"clean_up_tokenization_spaces\": false,\n"
                  "  \"bos_token\": \"<e>\",\n  \"eos_token\": \"<p>\",\n"
                  "  \"pad_token\": \"<e>\"\n}\n"));
    beside_free(&beside);
    remove_all("made");

    // a tokenizer from elsewhere brings its own
    CHECK(beside_load(&beside, "from", NOT_OF_TOKENIZER) == 0 && beside.n == 3);
    CHECK(beside_load(&beside, "from", OF_TOKENIZER) == 0 && beside.n == 8);
    beside_free(&beside);
    model_free(&m);
    remove_all("from");
    remove_all("kept");
}

// Is there a file in dir whose name ends like this?
static int leaves(const char *dir, const char *ending) {
    int found = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        found |= name_ends_with(e->d_name, ending);
    }
    if (d) closedir(d);
    return found;
}

static void test_a_failed_save_leaves_the_old_folder_as_it_was(void) {
    Model m, loaded;
    char sha[65], after[65];
    char planted[100];
    real bad = NAN, big = 1e5f, good = 0;
    CHECK(filled(&m, &tiny[0]) == 0);
    CHECK(checkpoint_save(&m, "old", NULL, "f32", sha) == 0);
    kernels_write(m.params.lnfw + 3, &big, 1);
    CHECK(failed_with(checkpoint_save(&m, "old", NULL, "f16", after), EX_DATAERR,
                      "final_layer_norm.weight: value 3 is 100000, which F16"));
    kernels_write(m.params.lnfw + 3, &bad, 1);
    CHECK(failed_with(checkpoint_save(&m, "old", NULL, "f32", after), EX_DATAERR,
                      "gpt_neox.final_layer_norm.weight: value 3 is"));
    kernels_write(m.params.lnfw + 3, &good, 1);
    CHECK(folder_make(temporary(planted, "old/config.json")) == 0);
    CHECK(failed_with(checkpoint_save(&m, "old", NULL, "f32", after), EX_CANTCREAT,
                      "tmp: is a folder"));
    CHECK(sha256_file(after, "old/model.safetensors") == 0 && !strcmp(sha, after));
    CHECK(rmdir(planted) == 0);
    CHECK(!leaves("old", ".tmp"));
    CHECK(checkpoint_load(&loaded, "old", LOAD_AS_STORED) == 0);
    model_free(&loaded);
    model_free(&m);
    remove_all("old");
}

// ------------------------------------------------------------------- a save that does not end well

typedef struct {
    const Config *config;
    const char *tokenizer;              // the text of tokenizer.json
    real weight;                        // one that tells two saves of a configuration apart
} Version;

static int save_version(const Version *v, const char *dir) {
    Model m;
    char sha[65];
    if (filled(&m, v->config) < 0) return -1;
    kernels_write(m.params.lnfw, &v->weight, 1);
    SmallFiles beside = {.n = 0};
    const char *text = v->tokenizer;
    int result = beside_put(&beside, "tokenizer.json", text, strlen(text));
    if (result == 0) result = checkpoint_save(&m, dir, &beside, "f32", sha);
    beside_free(&beside);
    model_free(&m);
    return result;
}

// Is every file of the folder `like` in dir?
static int holds_all(const char *dir, const char *like) {
    static const char *const names[] = {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "model.safetensors",
        "config.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[300], want[65], have[65];
        snprintf(path, sizeof path, "%s/%s", like, names[i]);
        if (sha256_file(want, path) < 0) continue;                     // not one of `like`
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (sha256_file(have, path) < 0 || strcmp(want, have)) return 0;
    }
    return 1;
}

static int folder_loads(const char *dir) {
    Model m;
    int result = checkpoint_load(&m, dir, LOAD_AS_STORED);
    if (result == 0) model_free(&m);
    return result == 0;
}

/* Saves `after` over `before` (NULL: nothing) again and again; each time the disk gives up one call
 * later, until it is not asked so often.  "was" and "will" are the folders of undisturbed saves. */
static void interrupted(const Version *before, const Version *after, int then) {
    int calls = 0, ended = 0;
    if (before) CHECK(save_version(before, "was") == 0);
    CHECK(save_version(after, "will") == 0);
    while (!ended && calls < 100) {
        remove_all("run");
        if (before) CHECK(save_version(before, "run") == 0);
        disk.then = then;
        disk.calls_left = calls;
        int result = save_version(after, "run");
        ended = disk.calls_left >= 0;
        disk.then = WORKS;

        // what loads is one of the two, and something does if something did before; after that,
        // or after an error, which can tidy up at once, nothing else is left
        int loads = folder_loads("run");
        CHECK(loads || !before);
        if (loads) CHECK(holds_all("run", "was") || holds_all("run", "will"));
        if (then == FAILS_ONCE && before) CHECK(!leaves("run", ".tmp"));
        if (then == FAILS_ONCE && result == 0) CHECK(holds_all("run", "will"));

        // and the next save there is as any other
        CHECK(save_version(after, "run") == 0);
        CHECK(holds_all("run", "will"));
        CHECK(!leaves("run", ".tmp") && !leaves("run", ".old"));
        calls++;
    }
    CHECK(ended);
    CHECK(holds_all("run", "will") && folder_loads("run"));
    remove_all("was");
    remove_all("will");
    remove_all("run");
}

static void interrupted_in_every_way(int then) {
    const char *small = "{\"added_tokens\": []}", *large = "{\"added_tokens\": [], \"x\": 1}";
    const Version before  = {.config = &tiny[0], .tokenizer = small, .weight = 1};
    const Version weights = {.config = &tiny[0], .tokenizer = small, .weight = 2};
    const Version all     = {.config = &tiny[3], .tokenizer = large, .weight = 3};
    interrupted(&before, &weights, then);
    interrupted(&before, &all, then);
    interrupted(NULL, &all, then);
}

static void test_a_crash_at_any_moment_leaves_the_old_folder_or_the_new_one_whole(void) {
    interrupted_in_every_way(CRASHES);
}

static void test_an_error_at_any_moment_leaves_the_old_folder_or_the_new_one_whole(void) {
    interrupted_in_every_way(FAILS_ONCE);
}

// ----------------------------------------------------------------------- folders of other programs

// Does t hold the values of s, as F32?
static int same_values(const StoredTensor *s, const StoredTensor *t) {
    uint64_t n = (s->end - s->begin) / s->size;
    if (n != (t->end - t->begin) / 4) return 0;
    for (uint64_t i = 0; i < n; i++) {
        unsigned char x[8], y[4];
        if (file_read_at(s->shard->fd, "", x, s->size, s->begin + i * s->size) < 0) return 0;
        if (file_read_at(t->shard->fd, "", y, 4, t->begin + 4*i) < 0) return 0;
        if (dtype_decode(s->dtype, x) != dtype_decode(F32, y)) return 0;
    }
    return 1;
}

// The golden folders were written by transformers: a load and a save must give the same tensors.
static void test_folders_of_transformers_come_back_value_for_value(void) {
    static const char *const names[] = {
        "neox", "neox_sequential", "neox_reward", "gpt2", "llama", "llama3", "llama_reward",
        "qwen2", "qwen3", "stories260K", "neox_tied", "gpt2_untied", "gpt2_reward", "mistral",
        "mistral_tied", "mistral_reward", "qwen2_tied", "qwen3_untied", "llama_linear",
        "llama_dynamic", "qwen2_yarn", "smollm3", "mistral_window", "qwen2_window",
        "olmo2", "qwen2_reward", "qwen3_reward", "smollm3_reward", "olmo2_reward",
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        Model m;
        Weights a = {.num_shards = 0}, b = {.num_shards = 0};
        char dir[100], sha[65];
        snprintf(dir, sizeof dir, "golden/%s", names[k]);
        int loaded = checkpoint_load(&m, dir, LOAD_AS_STORED) == 0;
        if (!loaded) printf("    %s\n", error_text);
        CHECK(loaded);
        if (!loaded) continue;
        CHECK(checkpoint_save(&m, "back", NULL, "f32", sha) == 0);
        CHECK(weights_open(&a, dir) == 0 && weights_open(&b, "back") == 0);
        CHECK(a.num_tensors == b.num_tensors);
        for (size_t i = 0; i < a.num_tensors; i++) {
            int found = 0;
            for (size_t j = 0; j < b.num_tensors; j++) {
                if (strcmp(a.tensor_memory[i].name, b.tensor_memory[j].name)) continue;
                found += same_values(&a.tensor_memory[i], &b.tensor_memory[j]);
            }
            CHECK(found == 1);
        }
        weights_close(&a);
        weights_close(&b);
        model_free(&m);
    }
    remove_all("back");
}

static void test_rows_of_heads_become_rows_of_queries_keys_values(void) {
    Entry e = {.rows = 12, .cols = 3, .n = 36, .layout = BY_HEAD, .heads = 2, .head_dim = 2};
    static const size_t ours[12] = {                       // stored: two rows each of
        0, 1, 4, 5, 8, 9,                                  // q, k, v of head 0
        2, 3, 6, 7, 10, 11,                                // q, k, v of head 1
    };
    for (size_t row = 0; row < 12; row++) CHECK(entry_place(&e, 3*row + 2) == 3*ours[row] + 2);
    e.layout = TRANSPOSED;                                 // (12, 3) stored, (3, 12) ours
    CHECK(entry_place(&e, 0) == 0);
    CHECK(entry_place(&e, 1) == 12);
    CHECK(entry_place(&e, 3) == 1);
    CHECK(entry_place(&e, 35) == 35);
}

// ----------------------------------------------------------------------------------- hostile files

// Of a good folder, to be spoilt.
typedef struct {
    Buffer weights, config;
} Good;

// Loads folder "bad" with these two files.
static int load_files(const Buffer *weights, const Buffer *config) {
    Model m;
    write_plainly("bad/model.safetensors", weights->data, weights->len);
    write_plainly("bad/config.json", config->data, config->len);
    int result = checkpoint_load(&m, "bad", LOAD_AS_STORED);
    if (result == 0) model_free(&m);
    CHECK(result == 0 || !m.params_memory);
    return result;
}

// A copy of b in which the first `from` is `to`.
static Buffer replaced(const Buffer *b, const char *from, const char *to) {
    Buffer copy = {0};
    size_t n = strlen(from), at = 0;
    while (at + n < b->len && memcmp(b->data + at, from, n)) at++;
    CHECK(!memcmp(b->data + at, from, n));
    buffer_append(&copy, b->data, at);
    buffer_append(&copy, to, strlen(to));
    buffer_append(&copy, b->data + at + n, b->len - at - n);
    return copy;
}

static int spoilt_weights(const Good *g, const char *from, const char *to) {
    Buffer copy = replaced(&g->weights, from, to);
    int result = load_files(&copy, &g->config);
    buffer_free(&copy);
    return result;
}

static int spoilt_config(const Good *g, const char *from, const char *to) {
    Buffer copy = replaced(&g->config, from, to);
    int result = load_files(&g->weights, &copy);
    buffer_free(&copy);
    return result;
}

// A model.safetensors byte by byte: a length of eight, and the rest.
static int load_raw(const Good *g, const char length[8], const char *rest, size_t size) {
    Buffer b = {0};
    buffer_append(&b, length, 8);
    buffer_append(&b, rest, size);
    int result = load_files(&b, &g->config);
    buffer_free(&b);
    return result;
}

// One with this header and no values.
static int load_header(const Good *g, const char *text) {
    char length[8] = {(char)strlen(text)};
    CHECK(strlen(text) < 128);
    return load_raw(g, length, text, strlen(text));
}

static Good good_folder(const Config *c) {
    Model m;
    Good g = {.weights = {0}};
    char sha[65];
    CHECK(filled(&m, c) == 0);
    CHECK(checkpoint_save(&m, "bad", NULL, "f32", sha) == 0);
    CHECK(file_read(&g.weights, "bad/model.safetensors") == 0);
    CHECK(file_read(&g.config, "bad/config.json") == 0);
    model_free(&m);
    CHECK(load_files(&g.weights, &g.config) == 0);
    return g;
}

static void good_free(Good *g) {
    buffer_free(&g->weights);
    buffer_free(&g->config);
    remove_all("bad");
}

static void test_hostile_headers_are_refused(void) {
    Good g = good_folder(&tiny[0]);
    Buffer nothing = {.data = ""};
    CHECK(failed_with(load_files(&nothing, &g.config), EX_DATAERR, "not a safetensors file"));
    #define RAW(length, text, size, words) \
        CHECK(failed_with(load_raw(&g, length, text, size), EX_DATAERR, words))
    RAW("\0\0\0\0\0\0\0\0", "{}", 2, "the header's length is 0");
    RAW("\377\377\377\377\377\377\377\377", "{}", 2, "length is 18446744073709551615");
    RAW("\3\0\0\0\0\0\0\0", "{}", 2, "the header's length is 3");
    RAW("\1\341\365\5\0\0\0\0", "{}", 2, "the header's length is 100000001");
    RAW("\2\0\0\0\0\0\0\0", "[]", 2, "not a JSON object");
    RAW("\2\0\0\0\0\0\0\0", "{,", 2, "model.safetensors:1:2");
    RAW("\2\0\0\0\0\0\0\0", "{}", 2, "is missing from the weights");
    RAW("\2\0\0\0\0\0\0\0", "{}x", 3, "1 bytes belong to no tensor");
    #undef RAW

    #define HEADER(text, words) CHECK(failed_with(load_header(&g, text), EX_DATAERR, words))
    #define A(dtype, shape, offsets) \
        "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
    HEADER("{\"a\":1}", "tensor a has no known dtype");
    HEADER(A("F31", "[]", "[0,0]"), "tensor a has no known dtype");
    HEADER(A("F32", "{}", "[0,0]"), "tensor a has no shape");
    HEADER(A("F32", "[1,1,1,1,1,1,1,1,1]", "[0,0]"), "at most 8");
    HEADER(A("F32", "[-1]", "[0,0]"), "not whole numbers");
    HEADER(A("F32", "[4294967296,4294967296]", "[0,0]"), "beyond 2^63");
    HEADER(A("F32", "[1]", "[0.5,4]"), "must have data_offsets");
    HEADER(A("F32", "[1]", "[4,0]"), "begin <= end");
    HEADER(A("F32", "[1]", "[4]"), "begin <= end");
    HEADER(A("F32", "[1]", "[0,4]"), "ends 4 bytes after the file");
    HEADER(A("F32", "[1]", "[0,0]"), "has 0 bytes, its shape and dtype ask for 4");
    HEADER(A("F32", "[0]", "[0,0]"), "tensor a is none of a GPTNeoX model");
    HEADER("{\"../../a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
           "tensor ../../a is none of");
    HEADER("{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}",
           "a tensor's name holds byte 10");
    HEADER("{\"a\":1,\"a\":1}", "model.safetensors:1:");
    HEADER("{\"__metadata__\":[\"pt\"]}", "\"__metadata__\" must be an object of strings");
    HEADER("{\"__metadata__\":{\"format\":1}}", "\"__metadata__\" must be an object of strings");
    #undef HEADER
    #undef A
    good_free(&g);
}

// In the file embed_out (8,12) comes first, then embed_in; a post_attention_layernorm is the last.
static void test_spoilt_weights_are_refused_by_name(void) {
    Good g = good_folder(&tiny[0]);
    #define REFUSED(from, to, words) \
        CHECK(failed_with(spoilt_weights(&g, from, to), EX_DATAERR, words))
    REFUSED("[8,12]", "[12,8]", "embed_out.weight has shape [12,8], config.json asks for [8,12]");
    REFUSED("\"shape\":[12]", "\"shape\":[ 9]", "has 48 bytes, its shape and dtype ask for 36");
    REFUSED("\"F32\",\"shape\":[8,12]", "\"I32\",\"shape\":[8,12]", "is not F32, F16, BF16 or F64");
    REFUSED("\"F32\"", "\"F64\"", "has 384 bytes, its shape and dtype ask for 768");
    REFUSED("[384,768]", "[380,764]", "overlaps the one before it");
    REFUSED("[384,768]", "[388,772]", "has a hole before it");
    REFUSED("gpt_neox.embed_in.weight", "gpt_neox.embed_im.weight",
            "tensor gpt_neox.embed_im.weight is none");
    g.weights.len--;
    REFUSED("", "", "ends 1 bytes after the file, which is truncated");
    g.weights.len++;
    char *last = g.weights.data + g.weights.len - 4;       // value
    memcpy(last, "\0\0\300\177", 4);
    REFUSED("", "", "post_attention_layernorm.weight: value 11 is not a number");
    memcpy(last, "\0\0\200\377", 4);
    REFUSED("", "", "value 11 is infinite");
    #undef REFUSED
    good_free(&g);
}

static void put_length(Buffer *b, uint64_t n) {
    for (int i = 0; i < 8; i++) b->data[i] = (char)(n >> 8*i);
}

// GPT-2's first release has no "transformer." and a constant in every layer.
static void test_names_without_the_base_prefix_and_old_buffers_load(void) {
    Model m, back;
    Good g = good_folder(&tiny[2]);
    CHECK(checkpoint_load(&m, "bad", LOAD_AS_STORED) == 0);
    const char *begin = g.weights.data + 8;
    const char *end = begin + little_endian((const unsigned char *)g.weights.data, 8);
    Buffer b = {0};
    buffer_append(&b, g.weights.data, 8);
    for (const char *p = begin; p < end; p++) {
        if (!strncmp(p, "transformer.", 12)) p += 12;
        buffer_append(&b, p, 1);
    }
    Buffer old = replaced(&b, "{\"__meta", "{\"h.0.attn.bias\":{\"dtype\":\"BOOL\",\"shape\":[0],"
                                         "\"data_offsets\":[0,0]},\"__meta");
    put_length(&old, old.len - 8);
    buffer_append(&old, end, g.weights.len - (size_t)(end - g.weights.data));
    write_plainly("bad/model.safetensors", old.data, old.len);
    CHECK(checkpoint_load(&back, "bad", LOAD_AS_STORED) == 0);
    CHECK(same_weights(&m, &back, F32));
    model_free(&back);
    model_free(&m);
    buffer_free(&b);
    buffer_free(&old);
    good_free(&g);
}

// config.json says tied, and the file has two matrices.
static void test_a_tied_model_with_another_output_matrix_is_untied(void) {
    Model m, back;
    char sha[65];
    Good g = good_folder(&tiny[0]);
    const char *name = "\"tie_word_embeddings\": false", *tied = "\"tie_word_embeddings\": true";
    CHECK(checkpoint_load(&m, "bad", LOAD_AS_STORED) == 0);
    CHECK(spoilt_config(&g, name, tied) == 0);
    CHECK(checkpoint_load(&back, "bad", LOAD_AS_STORED) == 0);
    CHECK(!back.config.tied && back.params.unembed && same_weights(&m, &back, F32));
    model_free(&back);

    // a reward model has no output
    CHECK(checkpoint_load(&back, "bad", LOAD_REWARD_MODEL) == 0 && back.config.tied);
    model_free(&back);

    // where they are equal they are one
    real values[8*12];
    kernels_read(values, m.params.wte, 8*12);
    kernels_write(m.params.unembed, values, 8*12);
    CHECK(checkpoint_save(&m, "bad", NULL, "bf16", sha) == 0);
    Buffer config = {0}, changed;
    CHECK(file_read(&config, "bad/config.json") == 0);
    changed = replaced(&config, name, tied);
    write_plainly("bad/config.json", changed.data, changed.len);
    CHECK(checkpoint_load(&back, "bad", LOAD_AS_STORED) == 0);
    CHECK(back.config.tied && !back.params.unembed);
    model_free(&back);
    model_free(&m);
    buffer_free(&config);
    buffer_free(&changed);
    good_free(&g);
}

static void test_a_tied_models_one_matrix_may_have_either_name(void) {
    Model m, back;
    Good g = good_folder(&tiny[2]);
    CHECK(checkpoint_load(&m, "bad", LOAD_AS_STORED) == 0);
    CHECK(spoilt_weights(&g, "\"transformer.wte.weight\"", "\"lm_head.weight\"        ") == 0);
    CHECK(checkpoint_load(&back, "bad", LOAD_AS_STORED) == 0 && same_weights(&m, &back, F32));
    model_free(&back);
    CHECK(spoilt_weights(&g, "\"transformer.wte.weight\"", "\"embed_out.weight\"      ") == 0);
    CHECK(checkpoint_load(&back, "bad", LOAD_REWARD_MODEL) == 0);
    CHECK(!memcmp(m.params.wte, back.params.wte, 8*6 * sizeof *m.params.wte));
    model_free(&back);
    model_free(&m);
    good_free(&g);

    // of an untied one both are needed
    g = good_folder(&tiny[0]);
    CHECK(failed_with(spoilt_weights(&g, "\"gpt_neox.embed_in.weight\"",
                                     "\"lm_head.weight\"          "),
                      EX_DATAERR, "lm_head.weight is none of a GPTNeoX model"));
    good_free(&g);
}

static void test_an_adapter_beside_weights_or_without_a_base_model_is_refused(void) {
    Model m;
    Good g = good_folder(&tiny[0]);
    write_plainly("bad/adapter_config.json", "{}", 2);
    CHECK(failed_with(checkpoint_load(&m, "bad", LOAD_AS_STORED), EX_DATAERR,
                      "base_model_name_or_path must be the folder of the base model"));
    const char *settings = "{\"base_model_name_or_path\": \"golden/neox\"}";
    write_plainly("bad/adapter_config.json", settings, strlen(settings));
    CHECK(failed_with(checkpoint_load(&m, "bad", LOAD_AS_STORED), EX_DATAERR,
                      "bad: adapter_config.json stands beside the weights"));
    CHECK(failed_with(checkpoint_load(&m, "some/model-1.4b", LOAD_AS_STORED), EX_NOINPUT,
                      "some/model-1.4b: no such folder; a model of a hub must be downloaded"));
    good_free(&g);
}

static void test_tensors_that_other_programs_left_name_the_way_out(void) {
    static const struct { const char *name, *words; } tensors[] = {
        {"_orig_mod.lm_head.weight", ": of a compiled model: save its _orig_mod"},
        {"module.gpt_neox.embed_in.weight", "wrapped for several devices: save its module"},
        {"base_model.model.lm_head.weight", "an adapter's: merge it (merge_and_unload)"},
        {"layers.0.q_proj.lora_A.default.weight", "an adapter's: merge it"},
        {"layers.0.q_proj.base_layer.weight", "an adapter's: merge it"},
        {"layers.0.q_proj.g_idx", "of quantized weights: save the model again after dequantize()"},
        {"layers.0.q_proj.weight_scale_inv", "of quantized weights"},
        {"v_head.summary.weight", "a head beside a language model: remove it, or make the folder"},
        {"score.weight", "a reward head: \"architectures\" must name a ...ForSequence"},
        {"language_model.lm_head.weight", "of a model of images and texts"},
    };
    Good g = good_folder(&tiny[0]);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char header[200], words[200];
        snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[0],"
                 "\"data_offsets\":[0,0]}}", tensors[i].name);
        snprintf(words, sizeof words, "tensor %s is none of a GPTNeoX model as config.json "
                 "describes it", tensors[i].name);
        CHECK(failed_with(load_header(&g, header), EX_DATAERR, words));
        CHECK(strstr(error_text, tensors[i].words) != NULL);
    }
    good_free(&g);
}

static void test_what_is_no_folder_of_transformers_is_told_what_it_is(void) {
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    Config c;
    Model m;
    Good g = good_folder(&tiny[0]);
    write_plainly("bad/model.safetensors", pointer, strlen(pointer));
    CHECK(failed_with(checkpoint_load(&m, "bad", LOAD_AS_STORED), EX_DATAERR,
                      "model.safetensors: a pointer of Git LFS, not the file itself: git lfs"));
    write_plainly("bad/config.json", pointer, strlen(pointer));
    CHECK(failed_with(config_load(&c, "bad"), EX_DATAERR, "config.json: a pointer of Git LFS"));
    write_plainly("bad/config.json", "<!doctype html>", 15);
    CHECK(failed_with(config_load(&c, "bad"), EX_DATAERR, "config.json: a web page, not the file"));
    write_plainly("bad/config.json", "", 0);
    CHECK(failed_with(config_load(&c, "bad"), EX_DATAERR, "config.json:1:1:"));
    CHECK(failed_with(config_load(&c, "bad/config.json"), EX_NOINPUT,
                      "bad/config.json: a file; a folder is needed"));
    unlink("bad/config.json");
    write_plainly("bad/zero_to_fp32.py", "", 0);
    CHECK(failed_with(config_load(&c, "bad"), EX_NOINPUT, "bad: parts of a model that DeepSpeed"));
    write_plainly("bad/params.json", "{}", 2);
    CHECK(failed_with(config_load(&c, "bad"), EX_NOINPUT, "bad: params.json is its maker's own"));
    unlink("bad/zero_to_fp32.py");
    unlink("bad/params.json");
    good_free(&g);
}

static void test_a_model_in_several_files_loads_by_its_index(void) {
    Model m, back;
    Good g = good_folder(&tiny[0]);
    CHECK(checkpoint_load(&m, "bad", LOAD_AS_STORED) == 0);
    CHECK(rename("bad/model.safetensors", "bad/model-1.safetensors") == 0);
    CHECK(failed_with(checkpoint_load(&back, "bad", LOAD_AS_STORED), EX_NOINPUT,
                      "no model.safetensors here"));
    #define INDEX(text) write_plainly("bad/model.safetensors.index.json", text, strlen(text))
    #define REFUSED(code, words) \
        CHECK(failed_with(checkpoint_load(&back, "bad", LOAD_AS_STORED), code, words))
    INDEX("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-1.safetensors\"}}");
    CHECK(checkpoint_load(&back, "bad", LOAD_AS_STORED) == 0);
    CHECK(same_weights(&m, &back, F32));
    model_free(&back);
    INDEX("{\"weight_map\": {\"a\": \"../bad/model-1.safetensors\"}}");
    REFUSED(EX_DATAERR, "not a .safetensors file in this folder");
    INDEX("{\"weight_map\": {\"a\": \"model-2.safetensors\"}}");
    REFUSED(EX_NOINPUT, "model-2.safetensors: No such file");
    CHECK(symlink("model-1.safetensors", "bad/model-2.safetensors") == 0);
    INDEX("{\"weight_map\": {\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}}");
    REFUSED(EX_DATAERR, "is there twice");
    INDEX("{}");
    REFUSED(EX_DATAERR, "no \"weight_map\"");
    INDEX("[]");
    REFUSED(EX_DATAERR, "must be a JSON object");
    #undef INDEX
    #undef REFUSED
    model_free(&m);
    good_free(&g);
}

static void test_every_field_of_a_configuration_is_checked(void) {
    Config c;
    #define REFUSED(from, to, words) \
        CHECK(failed_with(spoilt_config(&g, from, to), EX_DATAERR, words))
    Good g = good_folder(&tiny[0]);
    REFUSED("{", "[", "config.json:");
    REFUSED("gpt_neox", "bert", "\"model_type\": bert is not supported; "
            "supported are gpt_neox, gpt2, llama, qwen2, qwen3, mistral");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 0",
            "\"vocab_size\" must be a whole number from 1 to");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 1e300", "\"vocab_size\" must be a whole number");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": \"8\"", "\"vocab_size\" must be a whole number");
    REFUSED("\"vocab_size\": 8,", "", "\"vocab_size\" is missing");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": 16777216", "config.json asks for [16777216,12]");
    REFUSED("\"hidden_size\": 12", "\"hidden_size\": 13",
            "attention heads do not divide 13 channels");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 129",
            "\"num_hidden_layers\" must be");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "gpt_neox.layers.2.");
    REFUSED("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "tensor gpt_neox.layers.1.");
    REFUSED("\"gelu\"", "\"relu\"", "\"hidden_act\": relu is not supported");
    REFUSED("\"gelu\"", "\"silu\"", "\"hidden_act\": silu is not supported");
    REFUSED("\"gelu\"", "7", "\"hidden_act\" must be a string");
    REFUSED("1e-05", "-1", "\"layer_norm_eps\" must be a number");
    REFUSED("\"use_parallel_residual\": true", "\"use_parallel_residual\": 1",
            "must be true or false");
    REFUSED("\"default\"", "\"yarn\"",
            "\"factor\" is missing: the rope_type yarn needs it");
    REFUSED("\"default\"", "\"longrope\"",
            "\"rope_type\": longrope is not supported; supported are default, linear, dynamic, ");
    REFUSED("\"partial_rotary_factor\": 0.33", "\"partial_rotary_factor\": 0.93",
            "\"partial_rotary_factor\"");
    REFUSED("\"bos_token_id\": 0", "\"bos_token_id\": 8",
            "\"bos_token_id\" is 8, but \"vocab_size\" is 8: set it to the id of that");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": 50256", "is 50256, but \"vocab_size\" is 8");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": [0, 8]", "is 8, but \"vocab_size\" is 8");
    REFUSED("\"bos_token_id\": 0", "\"bos_token_id\": -2",
            "\"bos_token_id\" must be a whole number from -1 to 7");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": [0, -1]",
            "\"eos_token_id\" must be a whole number from 0 to 7");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": [0, null]", "\"eos_token_id\" must be");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": []",
            "\"eos_token_id\" is an empty list: it must name the token that ends a text, or be");
    REFUSED("[\"GPTNeoXForCausalLM\"]", "[5]", "\"architectures\" must be a list of names");
    REFUSED("[\"GPTNeoXForCausalLM\"]", "[\"GPTNeoXForCausalLM\", null]", "a list of names");
    REFUSED("ForCausalLM\"],", "ForCausalLM\"], \"id2label\": [1],",
            "\"id2label\" must be an object");
    REFUSED("\"float32\"\n", "32\n", "\"dtype\" must be a string");
    REFUSED("\"eos_token_id\": 0", "\"eos_token_id\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
            "0,0,0,0,0,0,0,0,0,0,0,0,0]", "\"eos_token_id\" has more than 32 ids");
    REFUSED("\"vocab_size\": 8", "\"vocab_size\": [8]", "\"vocab_size\" must be");
    REFUSED("GPTNeoXForCausalLM", "GPTNeoXForTokenClassification",
            "\"architectures\": GPTNeoXForTokenClassification");
    REFUSED("GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification", "score.weight is missing");
    REFUSED("ForCausalLM\"],", "ForSequenceClassification\"], \"num_labels\": 2,",
            "a classifier with 2 labels");
    REFUSED("ForCausalLM\"],", "ForCausalLM\"], \"more\": {\"pooling\": \"max\"},",
            "\"pooling\": max is not supported");
    good_free(&g);

    g = good_folder(&tiny[5]);
    REFUSED("  \"num_key_value_heads\": 2,", "", "\"num_key_value_heads\" is missing");
    REFUSED("\"rms_norm_eps\"", "\"layer_types\": \"full_attention\", \"rms_norm_eps\"",
            "\"layer_types\" must be a list");
    REFUSED("\"rms_norm_eps\"", "\"layer_types\": [\"full_attention\", \"sliding_attention\"], "
            "\"rms_norm_eps\"", "\"layer_types\": sliding_attention");
    REFUSED("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "key/value heads");
    REFUSED("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 5",
            "\"num_key_value_heads\" must be");
    REFUSED("\"head_dim\": 2", "\"head_dim\": 3", "\"partial_rotary_factor\"");
    good_free(&g);

    g = good_folder(&tiny[2]);
    REFUSED("\"scale_attn_weights\": true", "\"scale_attn_weights\": false",
            "\"scale_attn_weights\": false is not supported");
    REFUSED("\"n_ctx\"", "\"scale_attn_by_inverse_layer_idx\": true, \"n_ctx\"",
            "scale_attn_by_inverse_layer_idx");
    #undef REFUSED

    CHECK(failed_with(config_load(&c, "nowhere"), EX_NOINPUT, "nowhere: no such folder"));
    CHECK(failed_with(config_load(&c, "golden"), EX_NOINPUT, "golden: no config.json here"));
    CHECK(unlink("bad/config.json") == 0 && folder_make("bad/config.json") == 0);
    CHECK(failed_with(config_load(&c, "bad"), EX_NOINPUT, "config.json: not a regular file"));
    CHECK(rmdir("bad/config.json") == 0 && mkfifo("bad/config.json", 0600) == 0);
    CHECK(failed_with(config_load(&c, "bad"), EX_NOINPUT, "config.json: not a regular file"));
    good_free(&g);
}

// A folder of tiny[i] whose configuration has these members in front.
static int with_members(int i, const char *members) {
    Good g = good_folder(&tiny[i]);
    char begin[1000];
    snprintf(begin, sizeof begin, "{ %s,", members);
    const int result = spoilt_config(&g, "{", begin);
    good_free(&g);
    return result;
}

// Whatever could change numbers is read or refused, whatever cannot is passed over.
static void test_no_key_that_could_change_numbers_is_passed_over(void) {
    enum { LLAMA = 3, QWEN2 = 5, MISTRAL = 7 };
    #define REFUSED(i, members, words) \
        CHECK(failed_with(with_members(i, members), EX_DATAERR, words))
    REFUSED(0, "\"logit_scale\": 0.5", "\"logit_scale\" is not known here");
    REFUSED(0, "\"num_local_experts\": 8", "\"num_local_experts\" is not known");
    REFUSED(0, "\"rope_interleaved\": true", "\"rope_interleaved\" is not known");
    REFUSED(0, "\"quantization_config\": {\"load_in_8bit\": true}",
            "\"quantization_config\": quantized weights are not supported; save the model again");
    REFUSED(0, "\"quantization\": {\"bits\": 4}", "\"quantization\": quantized weights are not");
    REFUSED(LLAMA, "\"is_causal\": false", "\"is_causal\": false is not supported");
    REFUSED(0, "\"add_cross_attention\": true", "\"add_cross_attention\" is not known");
    REFUSED(0, "\"pruned_heads\": {\"1\": [0]}", "\"pruned_heads\" is not known");
    REFUSED(LLAMA, "\"rope_scaling\": \"yarn\"", "\"rope_scaling\" must be an object");
    REFUSED(LLAMA, "\"rope_scaling\": {\"type\": \"linear\"}",
            "\"factor\" is missing: the rope_type linear needs it");
    REFUSED(LLAMA, "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}",
            "_embeddings\" is missing: the rope_type yarn needs it");
    REFUSED(LLAMA, "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2,"
            "\"original_max_position_embeddings\": 4.5}",
            "\"original_max_position_embeddings\" must be a whole number");
    REFUSED(LLAMA, "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2,"
            "\"original_max_position_embeddings\": 4, \"truncate\": 0}",
            "\"truncate\" must be true or false");
    REFUSED(LLAMA, "\"rope_scaling\": {\"factor\": 2}", "without a \"rope_type\"");
    REFUSED(LLAMA, "\"rope_scaling\": {\"mrope_section\": [1]}", "has \"mrope_section\"");
    REFUSED(LLAMA, "\"rope_scaling\": {\"rope_theta\": 7}", "\"rope_theta\" has two values");
    REFUSED(LLAMA, "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8,"
            "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 4}",
            "\"low_freq_factor\" is missing: the rope_type llama3 needs it");
    #undef REFUSED

    CHECK(with_members(0, "\"_commit_hash\": \"x\", \"unsloth_fixed\": true,"
                       "\"transformers.js_config\": {\"a\": 1}") == 0);
    CHECK(with_members(0, "\"attention_dropout\": 0.1, \"rope_interleaved\": false,"
                       "\"pruned_heads\": {}") == 0);
    CHECK(with_members(0, "\"is_causal\": true, \"quantization_config\": null,"
                       "\"rope_scaling\": null") == 0);
    CHECK(with_members(QWEN2, "\"use_sliding_window\": true, \"max_window_layers\": 2,"
                       "\"sliding_window\": 4") == 0);
    CHECK(with_members(QWEN2, "\"use_sliding_window\": true, \"max_window_layers\": 0,"
                       "\"sliding_window\": 9") == 0);
}

// Has the second layer of tiny[i] with these members that window, 0: none?
static int slides_by(int i, int window, const char *members) {
    Good g = good_folder(&tiny[i]);
    char begin[1000];
    Config c;
    snprintf(begin, sizeof begin, "{ %s,", members);
    const int loaded = spoilt_config(&g, "{", begin) == 0 && config_load(&c, "bad") == 0;
    good_free(&g);
    if (!loaded) return 0;
    return c.max_positions == tiny[i].max_positions && c.sliding_window == window
        && c.slides[1] == (window > 0) && model_window(&c, 1) == (window ? window : 9);
}

/* Which layers slide, as Qwen2Config and Qwen3Config of transformers have it: those that
 * "layer_types" calls so, if it is there; the window is none without "use_sliding_window".  The
 * models have 2 layers and 9 positions. */
static void test_layers_slide_exactly_where_transformers_has_them_slide(void) {
    #define FULL "\"layer_types\": [\"full_attention\", \"full_attention\"]"
    #define SLIDING "\"layer_types\": [\"full_attention\", \"sliding_attention\"]"
    #define WINDOW(n) "\"use_sliding_window\": true, \"sliding_window\": " #n
    #define REFUSED(members, words) CHECK(failed_with(with_members(i, members), EX_DATAERR, words))
    for (int i = 5; i <= 6; i++) {                        // Qwen2, Qwen3
        CHECK(with_members(i, FULL "," WINDOW(4) ", \"max_window_layers\": 0") == 0);
        CHECK(with_members(i, FULL "," WINDOW(4) ", \"max_window_layers\": null") == 0);
        CHECK(with_members(i, FULL "," WINDOW(null)) == 0);
        CHECK(with_members(i, WINDOW(null) ", \"max_window_layers\": 0") == 0);
        CHECK(with_members(i, "\"sliding_window\": 4, \"max_window_layers\": 0") == 0);
        CHECK(slides_by(i, 0, SLIDING "," WINDOW(9)));
        CHECK(slides_by(i, 0, FULL "," WINDOW(8)));
        CHECK(slides_by(i, 0, WINDOW(8) ", \"max_window_layers\": 2"));
        CHECK(slides_by(i, 8, SLIDING "," WINDOW(8)));
        CHECK(slides_by(i, 8, SLIDING "," WINDOW(8) ", \"max_window_layers\": 2"));
        CHECK(slides_by(i, 8, WINDOW(8) ", \"max_window_layers\": 1"));
        REFUSED(SLIDING "," WINDOW(null), "\"layer_types\": sliding_attention is not supported");
        REFUSED(SLIDING, "\"layer_types\": sliding_attention is not supported");
        REFUSED("\"layer_types\": [\"full_attention\"]", "names 1 layers, there are 2");
    }
    #undef REFUSED
    #undef WINDOW
    #undef SLIDING
    #undef FULL
}

// GPT2Config writes 50256 as "bos_token_id" and "eos_token_id" whatever the vocabulary.
static void test_ids_that_a_class_made_up_are_none(void) {
    Good g = good_folder(&tiny[2]);
    Config c;
    CHECK(spoilt_config(&g, "\"eos_token_id\": 2", "\"eos_token_id\": 50256") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.eos == -1 && c.bos == 2);
    CHECK(spoilt_config(&g, "\"bos_token_id\": 2", "\"bos_token_id\": 50256") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.bos == -1 && c.eos == 2);
    CHECK(spoilt_config(&g, "\"eos_token_id\": 2", "\"eos_token_id\": [50256, 2]") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.eos == -1 && c.num_more_eos == 1);
    CHECK(failed_with(spoilt_config(&g, "\"eos_token_id\": 2", "\"eos_token_id\": 50255"),
                      EX_DATAERR, "\"eos_token_id\" is 50255, but \"vocab_size\" is 8"));
    good_free(&g);
}

// One configuration in several forms, of tiny[4], which has llama3's scaling, or of a Mistral.
static void test_rotary_scaling_is_read_wherever_it_stands(void) {
    #define LLAMA3(factor) "{\"rope_type\": \"llama3\", \"factor\": " factor "," \
        "\"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 4}"
    Good g = good_folder(&tiny[4]);
    Config c;
    const char *name = "\"rope_parameters\"";
    CHECK(spoilt_config(&g, name, "\"_\"") == 0 && config_load(&c, "bad") == 0);
    CHECK(c.rope_factor == 8 && c.rope_original == 4);
    CHECK(spoilt_config(&g, name, "\"rope_parameters\": {\"rope_type\": \"default\"}, \"_\"") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.rope_factor == 8);
    #define REFUSED(from, to, words) \
        CHECK(failed_with(spoilt_config(&g, from, to), EX_DATAERR, words))
    REFUSED("\"rope_scaling\":", "\"rope_scaling\": " LLAMA3("4") ", \"_\":",
            "disagree: remove one");
    REFUSED("\"rope_scaling\":", "\"rope_scaling\": {\"type\": \"default\"}, \"_\":", "disagree");
    REFUSED(name, "\"rope_parameters\": 5, \"_\"", "\"rope_parameters\" must be an object");
    REFUSED(name, "\"rope_parameters\": [1], \"_\"", "\"rope_parameters\" must be an object");
    REFUSED(name, "\"rope_parameters\": {\"full_attention\": " LLAMA3("4") "}, \"_\"",
            "\"rope_parameters\" by layer (\"full_attention\") is not supported");
    #undef REFUSED
    #undef LLAMA3
    good_free(&g);
}

// Without the key the class has a window of 4096, and the model has 5000 positions.
static void test_mistral_has_a_window_unless_it_says_no(void) {
    Good g = good_folder(&tiny[7]);
    Config c;
    CHECK(spoilt_config(&g, "\"sliding_window\": null,", "") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.sliding_window == 4096 && c.slides[0]);
    CHECK(spoilt_config(&g, "\"sliding_window\": null", "\"sliding_window\": 5000") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.max_positions == 5000 && !c.sliding_window);
    // its class does not look at the layers' types
    CHECK(spoilt_config(&g, "\"sliding_window\": null", "\"sliding_window\": 4999,"
                        "\"layer_types\": [\"full_attention\", \"full_attention\"]") == 0);
    CHECK(config_load(&c, "bad") == 0 && c.sliding_window == 4999);
    CHECK(spoilt_config(&g, "\"silu\"", "\"swish\"") == 0);
    good_free(&g);
}

static void test_configurations_of_public_models_are_read(void) {
    static const struct {
        const char *name;
        Family family;
        int channels, kv_heads, eos;
        double theta;
    } all[] = {
        {"pythia-160m",           FAMILY_NEOX,    768,  12, 0,      10000},
        {"gpt2-medium",           FAMILY_GPT2,    1024, 16, 50256,  0},
        {"llama-2-7b",            FAMILY_LLAMA,   4096, 32, 2,      10000},
        {"llama-3.1-8b-instruct", FAMILY_LLAMA,   4096, 8,  128001, 5e5},
        {"smollm2-135m-instruct", FAMILY_LLAMA,   576,  3,  2,      1e5},
        {"tinyllama-1.1b",        FAMILY_LLAMA,   2048, 4,  2,      10000},
        {"mistral-7b-v0.3",       FAMILY_MISTRAL, 4096, 8,  2,      1e6},
        {"qwen2-1.5b",            FAMILY_QWEN2,   1536, 2,  151643, 1e6},
        {"qwen2.5-0.5b-instruct", FAMILY_QWEN2,   896,  2,  151645, 1e6},
        {"qwen3-0.6b",            FAMILY_QWEN3,   1024, 8,  151645, 1e6},
        {"transformers5-neox",    FAMILY_NEOX,    6144, 64, 2,      10000},
        {"transformers5-gpt2",    FAMILY_GPT2,    768,  12, 50256,  0},
        {"transformers5-llama",   FAMILY_LLAMA,   4096, 32, 2,      10000},
        {"transformers5-mistral", FAMILY_MISTRAL, 4096, 8,  2,      10000},
        {"transformers5-qwen2",   FAMILY_QWEN2,   4096, 32, -1,     10000},
        {"transformers5-qwen3",   FAMILY_QWEN3,   4096, 32, -1,     10000},
    };
    CHECK(folder_make("public") == 0);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        Buffer text = {0};
        Config c;
        char path[100];
        snprintf(path, sizeof path, "golden/configs/%s.json", all[k].name);
        CHECK(file_read(&text, path) == 0);
        write_plainly("public/config.json", text.data, text.len);
        const int read = config_load(&c, "public") == 0;
        if (!read) printf("    %s: %s\n", all[k].name, error_text);
        CHECK(read && c.family == all[k].family && c.channels == all[k].channels);
        CHECK(c.num_kv_heads == all[k].kv_heads && c.eos == all[k].eos);
        CHECK(c.rope_theta == all[k].theta);
        CHECK(c.num_more_eos == (all[k].eos == 128001 ? 2 : 0));
        buffer_free(&text);
    }
    remove_all("public");
}

// The folder is not one that other programs could read as the reward of the last token; what was
// written before it had its own model_type still loads.
static void test_mean_pooling_has_a_model_type_of_its_own(void) {
    Good g = good_folder(&tiny[3]);
    CHECK(strstr(g.config.data, "\"model_type\": \"more_llama\"") != NULL);
    CHECK(strstr(g.config.data, "\"note\": \"the reward is read from the mean of the") != NULL);
    CHECK(spoilt_config(&g, "more_llama", "llama") == 0);
    CHECK(failed_with(spoilt_config(&g, "more_llama", "more_bert"), EX_DATAERR,
                      "\"model_type\": more_bert is not supported"));
    CHECK(failed_with(spoilt_config(&g, "\"mean\"", "\"last\""), EX_DATAERR,
                      "\"model_type\": more_llama with pooling last"));
    CHECK(failed_with(spoilt_config(&g, "\"more\":", "\"more\": 5, \"_\":"), EX_DATAERR,
                      "\"more\" must be an object"));
    good_free(&g);
}

// Two thousand folders with one random byte changed, of the header or the configuration: an error
// or a model, never a crash (use a sanitizer).
static void test_random_damage_does_no_harm(void) {
    Good g = good_folder(&tiny[0]);
    uint64_t header_end = 8 + little_endian((const unsigned char *)g.weights.data, 8);
    for (uint64_t i = 0; i < 2000; i++) {
        Buffer *b = i % 4 ? &g.weights : &g.config;
        uint32_t n = (uint32_t)(i % 4 ? header_end : g.config.len);
        uint32_t at = random_below(n, 1, STREAM_TEST, i, 0);
        char old = b->data[at];
        b->data[at] = (char)random_u64(1, STREAM_TEST, i, 1);
        load_files(&g.weights, &g.config);
        b->data[at] = old;
    }
    good_free(&g);
}

// -------------------------------------------------------------------------------------------- main

// Makes a folder and goes there; its path is written to folder.
static int enter_fresh_folder(char folder[PATH_SIZE]) {
    char top[PATH_SIZE], golden[PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    if (!getcwd(top, sizeof top)) return -1;
    if (path_join(golden, top, "test/golden") < 0) return -1;
    if (path_join(folder, tmp ? tmp : "/tmp", "more-test-XXXXXX") < 0) return -1;
    if (!mkdtemp(folder)) return -1;
    if (chdir(folder) < 0) return -1;
    return symlink(golden, "golden");
}

int main(int argc, char **argv) {
    char folder[PATH_SIZE];
    test_choose(argc, argv);
    if (enter_fresh_folder(folder) < 0) {
        perror("no folder to test in");
        return 1;
    }
    RUN(test_sha256_gives_the_digests_of_fips_180);
    RUN(test_a_checksum_is_that_of_its_definition_in_pieces_of_any_size);
    RUN(test_a_file_is_written_whole_and_replaced);
    RUN(test_what_a_killed_run_left_is_removed_and_what_a_running_one_has_is_not);
    RUN(test_a_planted_or_impossible_target_is_refused_and_left_alone);
    RUN(test_what_is_no_file_is_written_through_or_refused_never_replaced);
    RUN(test_what_is_no_folder_is_named_by_its_kind);
    RUN(test_a_folder_is_for_one_alone_and_left_without_a_trace);
    RUN(test_a_json_file_is_one_object_of_at_most_100_megabytes);
    RUN(test_half_precision_rounds_to_nearest_even);
    RUN(test_bfloat16_rounds_to_nearest_even);
    RUN(test_a_double_beyond_a_float_is_infinite);
    RUN(test_rows_of_heads_become_rows_of_queries_keys_values);
    RUN(test_every_family_has_its_names_and_a_model_among_these);
    RUN(test_a_saved_model_loads_bit_for_bit_in_every_family);
    RUN(test_tensors_larger_than_a_piece_are_written_and_read_whole);
    RUN(test_narrow_matrices_hold_what_their_numbers_hold_in_every_family);
    RUN(test_a_flipped_bit_of_a_weight_is_noticed);
    RUN(test_a_language_model_gets_a_head_of_zeros_and_a_reward_model_predicts_no_tokens);
    RUN(test_the_tokenizer_and_its_special_tokens_are_written_beside_the_weights);
    RUN(test_a_member_of_an_object_is_replaced_or_added_in_its_text);
    RUN(test_the_small_files_of_a_folder_are_kept);
    RUN(test_a_failed_save_leaves_the_old_folder_as_it_was);
    RUN(test_a_crash_at_any_moment_leaves_the_old_folder_or_the_new_one_whole);
    RUN(test_an_error_at_any_moment_leaves_the_old_folder_or_the_new_one_whole);
    RUN(test_folders_of_transformers_come_back_value_for_value);
    RUN(test_hostile_headers_are_refused);
    RUN(test_spoilt_weights_are_refused_by_name);
    RUN(test_names_without_the_base_prefix_and_old_buffers_load);
    RUN(test_a_tied_model_with_another_output_matrix_is_untied);
    RUN(test_a_tied_models_one_matrix_may_have_either_name);
    RUN(test_an_adapter_beside_weights_or_without_a_base_model_is_refused);
    RUN(test_tensors_that_other_programs_left_name_the_way_out);
    RUN(test_what_is_no_folder_of_transformers_is_told_what_it_is);
    RUN(test_a_model_in_several_files_loads_by_its_index);
    RUN(test_every_field_of_a_configuration_is_checked);
    RUN(test_no_key_that_could_change_numbers_is_passed_over);
    RUN(test_rotary_scaling_is_read_wherever_it_stands);
    RUN(test_layers_slide_exactly_where_transformers_has_them_slide);
    RUN(test_ids_that_a_class_made_up_are_none);
    RUN(test_mistral_has_a_window_unless_it_says_no);
    RUN(test_configurations_of_public_models_are_read);
    RUN(test_mean_pooling_has_a_model_type_of_its_own);
    RUN(test_random_damage_does_no_harm);
    remove_all(folder);
    return test_summary();
}

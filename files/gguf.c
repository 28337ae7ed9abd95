/* gguf.c - GGUF, the model files of llama.cpp: a reader that believes nothing.
 *
 *     "GGUF", version (2 or 3), number of tensors, number of keys
 *     keys        name, type, value: "llama.block_count", U32, 30
 *     tensors     name, how many sizes, sizes (the innermost first), number format, offset
 *     padding     to a multiple of "general.alignment" (32)
 *     values      row-major, each tensor at its offset from here, padded likewise
 *
 * All is little-endian; lengths and counts have 8 bytes, a string is its length and bytes.  The
 * format: docs/gguf.md of github.com/ggml-org/ggml.
 *
 * What the keys say is written as the config.json that they stand for (gguf_config), and read as
 * such a file is: what is not known here is refused by the same rules.  Tensors have other names
 * than in Hugging Face's folders (gguf_tensor_name), and in "llama" files the rows of queries and
 * keys stand in another order (gguf_permutes).                                                   */
#ifndef GGUF_C
#define GGUF_C

#include "../model.c"
#include "blocks.c"
#include "file.c"
#include "json.c"
#include "safetensors.c"
#include <dirent.h>

typedef enum {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING,
    GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, NUM_GGUF_TYPES
} GgufType;

typedef struct {
    size_t key, key_len;                // places in Gguf.text
    GgufType type, item;                // item: of an array
    uint64_t count;                     // of an array, else 1
    size_t at;                          // where the value begins, or the first item
} GgufValue;

typedef struct {
    size_t name, name_len;
    int dims;
    uint64_t shape[4];                  // as files of Hugging Face have it: the outermost first
    uint32_t type;                      // ggml's number of the format
    uint64_t offset;                    // from Gguf.data
} GgufTensor;

// A file, open, and all that stands before the values.
typedef struct {
    char path[PATH_SIZE];
    int fd;
    uint64_t size, data;                // bytes of the file; where the values begin
    Buffer text;                        // its first bytes
    size_t at;                          // so many of them are read
    uint32_t version;
    uint64_t alignment;
    GgufValue *value_memory;
    size_t num_values, value_capacity;
    GgufTensor *tensor_memory;
    size_t num_tensors, tensor_capacity;
} Gguf;

// the file
int  gguf_names(const char *name);                         // does a name end as those do?
int  gguf_find(char path[PATH_SIZE], const char *model);    // is --model one?  1, 0, -1
int  gguf_open(Gguf *g, const char *path);
void gguf_close(Gguf *g);                                   // also after an error

// what its keys say
const GgufValue *gguf_get(const Gguf *g, const char *key);  // or NULL
int  gguf_integer(const Gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *value);
int  gguf_number(const Gguf *g, const char *key, double *value);
int  gguf_truth(const Gguf *g, const char *key, int *value);
int  gguf_string(const Gguf *g, const char *key, const char **s, size_t *n);
int  gguf_array(const Gguf *g, const char *key, GgufType item, const GgufValue **array);
void gguf_item(const Gguf *g, size_t *at, const char **s, size_t *n);      // the next string
uint64_t gguf_bytes(const Gguf *g, size_t at, size_t n);    // a number of n bytes
int  gguf_key_fail(const Gguf *g, const char *key, const char *reason);

// as the files of a folder
int  gguf_config(const Gguf *g, Buffer *json);              // config.json
int  gguf_check_rope(const Gguf *g, const Config *c);
int  gguf_weights(Weights *w, const char *path);            // instead of weights_open
void gguf_tensor_name(char name[96], const char *folder_name);
int  gguf_permutes(const Config *c, const char *name);      // are its rows in another order?
const char *gguf_architecture(const Config *c);

// -------------------------------------------------------------------------------------- the bytes

enum { GGUF_HEADER_MAX = 1 << 29, GGUF_MAX_KEYS = 4096, GGUF_NAME = 64 };

static int gguf_fail(const Gguf *g, const char *reason) {
    return fail(EX_DATAERR, "%s: %s", g->path, reason);
}

// Of a key, which is printable.
int gguf_key_fail(const Gguf *g, const char *key, const char *reason) {
    return fail(EX_DATAERR, "%s: key %.100s %s", g->path, key, reason);
}

// The next n bytes: *at is their place in g->text.
static int gguf_take(Gguf *g, uint64_t n, size_t *at) {
    const uint64_t have = g->text.len - g->at, ahead = 1 << 16;
    if (n > g->size - g->at) {
        return gguf_fail(g, "the file ends before its tensors do: truncated, or not GGUF");
    }
    if (n > GGUF_HEADER_MAX - g->at) return gguf_fail(g, "more than 512 MB before the values");
    if (n > have) {
        uint64_t more = n - have;
        if (more < ahead) more = ahead;
        if (more > g->size - g->text.len) more = g->size - g->text.len;
        const size_t need = g->text.len + (size_t)more + 1;
        if (reserve(&g->text.data, &g->text.capacity, need, 1) < 0) return -1;
        char *to = g->text.data + g->text.len;
        if (file_read_at(g->fd, g->path, to, (size_t)more, g->text.len) < 0) return -1;
        g->text.len += (size_t)more;
    }
    *at = g->at;
    g->at += (size_t)n;
    return 0;
}

uint64_t gguf_bytes(const Gguf *g, size_t at, size_t n) {
    return little_endian((const unsigned char *)g->text.data + at, n);
}

static int take_u32(Gguf *g, uint32_t *value) {
    size_t at;
    if (gguf_take(g, 4, &at) < 0) return -1;
    *value = (uint32_t)gguf_bytes(g, at, 4);
    return 0;
}

static int take_u64(Gguf *g, uint64_t *value) {
    size_t at;
    if (gguf_take(g, 8, &at) < 0) return -1;
    *value = gguf_bytes(g, at, 8);
    return 0;
}

static int take_string(Gguf *g, size_t *at, size_t *n) {
    uint64_t len;
    if (take_u64(g, &len) < 0 || gguf_take(g, len, at) < 0) return -1;
    *n = (size_t)len;
    return 0;
}

// A name that may be printed: no spaces, nothing beyond ASCII.
static int take_name(Gguf *g, const char *what, size_t *at, size_t *n) {
    if (take_string(g, at, n) < 0) return -1;
    const char *s = g->text.data + *at;
    for (size_t i = 0; i < *n; i++) {
        if (s[i] > 32 && s[i] < 127) continue;
        return fail(EX_DATAERR, "%s: the name of a %s holds byte %d", g->path, what,
                    (unsigned char)s[i]);
    }
    if (*n == 0) return fail(EX_DATAERR, "%s: a %s without a name", g->path, what);
    return 0;
}

// ------------------------------------------------------------------------------------------- keys

static const unsigned char gguf_sizes[NUM_GGUF_TYPES] = {
    [GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

static int take_items(Gguf *g, GgufValue *v) {
    size_t at, n;
    v->at = g->at;
    if (v->item != GGUF_STRING) {
        const uint64_t size = gguf_sizes[v->item];
        if (v->count > g->size / size) return gguf_fail(g, "a list longer than the file");
        return gguf_take(g, v->count * size, &at);
    }
    for (uint64_t i = 0; i < v->count; i++) {
        if (take_string(g, &at, &n) < 0) return -1;
    }
    return 0;
}

static int take_value(Gguf *g) {
    uint32_t type, item;
    if (reserve(&g->value_memory, &g->value_capacity, g->num_values + 1,
                sizeof *g->value_memory) < 0) return -1;
    GgufValue *v = &g->value_memory[g->num_values];
    *v = (GgufValue){.count = 1};
    if (take_name(g, "key", &v->key, &v->key_len) < 0) return -1;
    if (take_u32(g, &type) < 0) return -1;
    item = type;
    if (type == GGUF_ARRAY && (take_u32(g, &item) < 0 || take_u64(g, &v->count) < 0)) return -1;
    if (item >= NUM_GGUF_TYPES || item == GGUF_ARRAY) {
        return fail(EX_DATAERR, "%s: key %.*s has a value of type %" PRIu32 ", which is not known "
                    "here", g->path, (int)(v->key_len < 100 ? v->key_len : 100),
                    g->text.data + v->key, item);
    }
    v->type = (GgufType)type;
    v->item = (GgufType)item;
    g->num_values++;
    return take_items(g, v);
}

const GgufValue *gguf_get(const Gguf *g, const char *key) {
    const size_t n = strlen(key);
    for (size_t i = 0; i < g->num_values; i++) {
        const GgufValue *v = &g->value_memory[i];
        if (v->key_len == n && !memcmp(g->text.data + v->key, key, n)) return v;
    }
    return NULL;
}

static int check_keys_differ(const Gguf *g) {
    for (size_t i = 0; i < g->num_values; i++) {
        const GgufValue *v = &g->value_memory[i];
        for (size_t k = 0; k < i; k++) {
            const GgufValue *u = &g->value_memory[k];
            if (u->key_len != v->key_len) continue;
            if (memcmp(g->text.data + u->key, g->text.data + v->key, v->key_len)) continue;
            return fail(EX_DATAERR, "%s: key %.*s is there twice", g->path,
                        (int)(v->key_len < 100 ? v->key_len : 100), g->text.data + v->key);
        }
    }
    return 0;
}

// A whole number of any size; one beyond int64 is INT64_MAX.
static int whole_of(const Gguf *g, const GgufValue *v, int64_t *value) {
    const size_t size = gguf_sizes[v->type];
    const uint64_t u = gguf_bytes(g, v->at, size);
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: *value = u > INT64_MAX ? INT64_MAX : (int64_t)u; return 1;
    case GGUF_I8:  *value = (int8_t)u; return 1;
    case GGUF_I16: *value = (int16_t)u; return 1;
    case GGUF_I32: *value = (int32_t)u; return 1;
    case GGUF_I64: *value = (int64_t)u; return 1;
    default:       return 0;
    }
}

// These set *value where there is such a key, and say so: 1, 0: there is none, -1 after fail().
int gguf_integer(const Gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *value) {
    const GgufValue *v = gguf_get(g, key);
    char reason[80];
    if (!v) return 0;
    if (v->type != GGUF_ARRAY && whole_of(g, v, value) && *value >= lo && *value <= hi) return 1;
    snprintf(reason, sizeof reason, "must be a whole number from %" PRId64 " to %" PRId64, lo, hi);
    return gguf_key_fail(g, key, reason);
}

int gguf_number(const Gguf *g, const char *key, double *value) {
    const GgufValue *v = gguf_get(g, key);
    int64_t whole;
    if (!v) return 0;
    if (v->type == GGUF_F32) {
        *value = (double)float_of((uint32_t)gguf_bytes(g, v->at, 4));
    } else if (v->type == GGUF_F64) {
        const uint64_t bits = gguf_bytes(g, v->at, 8);
        memcpy(value, &bits, 8);
    } else if (v->type != GGUF_ARRAY && whole_of(g, v, &whole)) {
        *value = (double)whole;
    } else {
        return gguf_key_fail(g, key, "must be a number");
    }
    return fabs(*value) <= FLT_MAX ? 1 : gguf_key_fail(g, key, "is infinite or not a number");
}

int gguf_truth(const Gguf *g, const char *key, int *value) {
    const GgufValue *v = gguf_get(g, key);
    if (!v) return 0;
    if (v->type != GGUF_BOOL) return gguf_key_fail(g, key, "must be true or false");
    *value = g->text.data[v->at] != 0;
    return 1;
}

int gguf_string(const Gguf *g, const char *key, const char **s, size_t *n) {
    const GgufValue *v = gguf_get(g, key);
    if (!v) return 0;
    if (v->type != GGUF_STRING) return gguf_key_fail(g, key, "must be a string");
    size_t at = v->at;
    gguf_item(g, &at, s, n);
    return 1;
}

int gguf_array(const Gguf *g, const char *key, GgufType item, const GgufValue **array) {
    static const char *const reason[] = {
        [GGUF_I32] = "must be a list of whole numbers of 4 bytes",
        [GGUF_F32] = "must be a list of numbers of 4 bytes",
        [GGUF_STRING] = "must be a list of strings",
    };
    *array = gguf_get(g, key);
    if (!*array) return 0;
    if ((*array)->type == GGUF_ARRAY && (*array)->item == item) return 1;
    return gguf_key_fail(g, key, reason[item]);
}

// The string at *at, of a list or alone; *at becomes the place of the next.
void gguf_item(const Gguf *g, size_t *at, const char **s, size_t *n) {
    *n = (size_t)gguf_bytes(g, *at, 8);
    *s = g->text.data + *at + 8;
    *at += 8 + *n;
}

// ---------------------------------------------------------------------------------------- tensors

static int take_tensor(Gguf *g) {
    uint32_t dims;
    if (reserve(&g->tensor_memory, &g->tensor_capacity, g->num_tensors + 1,
                sizeof *g->tensor_memory) < 0) return -1;
    GgufTensor *t = &g->tensor_memory[g->num_tensors];
    *t = (GgufTensor){.dims = 0};
    if (take_name(g, "tensor", &t->name, &t->name_len) < 0) return -1;
    if (t->name_len >= GGUF_NAME) return gguf_fail(g, "the name of a tensor is too long");
    if (take_u32(g, &dims) < 0) return -1;
    if (dims < 1 || dims > 4) {
        return fail(EX_DATAERR, "%s: tensor %.*s has %" PRIu32 " dimensions, not 1 to 4", g->path,
                    (int)t->name_len, g->text.data + t->name, dims);
    }
    t->dims = (int)dims;
    for (int i = t->dims - 1; i >= 0; i--) {
        if (take_u64(g, &t->shape[i]) < 0) return -1;
    }
    if (take_u32(g, &t->type) < 0 || take_u64(g, &t->offset) < 0) return -1;
    g->num_tensors++;
    return 0;
}

static int read_counts(Gguf *g, uint64_t *tensors, uint64_t *keys) {
    size_t at;
    g->fd = file_open(g->path, &g->size);
    if (g->fd < 0) return -1;
    if (gguf_take(g, 4, &at) < 0) return -1;
    if (file_refuse_pointer(g->path, g->text.data, g->text.len) < 0) return -1;
    if (memcmp(g->text.data + at, "GGUF", 4)) return gguf_fail(g, "not a GGUF file");
    if (take_u32(g, &g->version) < 0) return -1;
    if (g->version > 0xffff) return gguf_fail(g, "a big-endian file, which is not known here");
    if (g->version != 2 && g->version != 3) {
        return fail(EX_DATAERR, "%s: GGUF of version %" PRIu32 "; 2 and 3 are known here: convert "
                    "the model again", g->path, g->version);
    }
    if (take_u64(g, tensors) < 0 || take_u64(g, keys) < 0) return -1;
    if (*keys <= GGUF_MAX_KEYS) return 0;
    return fail(EX_DATAERR, "%s: %" PRIu64 " keys, more than %d", g->path, *keys, GGUF_MAX_KEYS);
}

// Opens a file and reads what stands before the values.  gguf_close also after an error.
int gguf_open(Gguf *g, const char *path) {
    uint64_t tensors = 0, keys = 0;
    *g = (Gguf){.fd = -1, .alignment = 32};
    if (strlen(path) >= PATH_SIZE) return fail(EX_USAGE, "%.60s...: too long a name", path);
    strcpy(g->path, path);
    if (read_counts(g, &tensors, &keys) < 0) return -1;
    for (uint64_t i = 0; i < keys; i++) {
        if (take_value(g) < 0) return -1;
    }
    if (check_keys_differ(g) < 0) return -1;
    for (uint64_t i = 0; i < tensors; i++) {
        if (take_tensor(g) < 0) return -1;
    }

    int64_t alignment = 32;
    if (gguf_integer(g, "general.alignment", 8, 1 << 20, &alignment) < 0) return -1;
    g->alignment = (uint64_t)alignment;
    if (alignment & (alignment - 1)) {
        return gguf_key_fail(g, "general.alignment", "must be a power of two");
    }
    g->data = (g->at + g->alignment - 1) / g->alignment * g->alignment;
    return 0;
}

void gguf_close(Gguf *g) {
    if (g->fd >= 0) close(g->fd);
    buffer_free(&g->text);
    free(g->value_memory);
    free(g->tensor_memory);
    memset(g, 0, sizeof *g);
    g->fd = -1;
}

// ggml's numbers of the formats that are read.
static Dtype dtype_of(uint32_t type) {
    static const struct { uint32_t type; Dtype dtype; } known[] = {
        {.type = 0,  .dtype = F32},  {.type = 1,  .dtype = F16},  {.type = 2,  .dtype = Q4_0},
        {.type = 3,  .dtype = Q4_1}, {.type = 6,  .dtype = Q5_0}, {.type = 7,  .dtype = Q5_1},
        {.type = 8,  .dtype = Q8_0}, {.type = 12, .dtype = Q4_K}, {.type = 14, .dtype = Q6_K},
        {.type = 28, .dtype = F64},  {.type = 30, .dtype = BF16},
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (known[k].type == type) return known[k].dtype;
    }
    return OTHER;
}

static int tensor_fail(const Gguf *g, const GgufTensor *t, const char *reason) {
    return fail(EX_DATAERR, "%s: tensor %.*s %s", g->path, (int)t->name_len,
                g->text.data + t->name, reason);
}

// As a tensor of a folder, whose values fill whole blocks and lie within the file.
static int tensor_store(const Gguf *g, const GgufTensor *from, StoredTensor *t) {
    const Dtype dtype = dtype_of(from->type);
    const size_t size = dtype_size(dtype), block = dtype_block(dtype);
    uint64_t n = 1;
    char reason[120];
    if (dtype == OTHER) {
        snprintf(reason, sizeof reason, "has ggml's format number %" PRIu32 "; F32, F16, BF16, "
                 "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K and Q6_K are read", from->type);
        return tensor_fail(g, from, reason);
    }
    t->dtype = dtype;
    t->size = size;
    t->dims = from->dims;
    for (int i = 0; i < from->dims; i++) {
        if (from->shape[i] == 0) return tensor_fail(g, from, "has a size of 0");
        if (n > UINT64_MAX / 1024 / from->shape[i]) {
            return tensor_fail(g, from, "has a shape beyond 2^54 values");
        }
        n *= from->shape[i];
        t->shape[i] = from->shape[i];
    }
    if (from->shape[from->dims - 1] % block) {
        snprintf(reason, sizeof reason, "has rows of %" PRIu64 " values, which are not whole "
                 "blocks of %zu (%s)", from->shape[from->dims - 1], block, dtype_name(dtype));
        return tensor_fail(g, from, reason);
    }
    if (from->offset % g->alignment) {
        return tensor_fail(g, from, "begins at an offset that is not aligned");
    }
    const uint64_t bytes = n / block * size;
    const uint64_t room = g->size > g->data ? g->size - g->data : 0;
    if (from->offset > room || bytes > room - from->offset) {
        return tensor_fail(g, from, "ends after the file, which is truncated");
    }
    t->begin = g->data + from->offset;
    t->end = t->begin + bytes;
    return 0;
}

// The n tensors of the file lie one after the other, with no more than padding between.
static int check_order(const Gguf *g, StoredTensor *t, size_t n) {
    uint64_t at = g->data;
    if (n > 0) qsort(t, n, sizeof *t, stored_compare);
    for (size_t i = 0; i < n; i++) {
        if (t[i].begin < at) return stored_fail(&t[i], "overlaps the one before it in the file");
        if (t[i].begin - at >= g->alignment) {
            return stored_fail(&t[i], "has a hole before it in the file");
        }
        at = t[i].end;
    }
    if (g->size < at || g->size - at < g->alignment) return 0;
    return fail(EX_DATAERR, "%s: %" PRIu64 " bytes belong to no tensor", g->path, g->size - at);
}

// The tensors of a file, as those of a folder; weights_close also after an error.
int gguf_weights(Weights *w, const char *path) {
    Gguf g;
    int result = -1;
    memset(w, 0, sizeof *w);
    if (gguf_open(&g, path) < 0) goto done;
    Shard *s = allocate(1, sizeof *s);
    if (!s) goto done;
    w->shard_memory[0] = s;
    w->num_shards = 1;
    *s = (Shard){.fd = g.fd, .data = g.data, .size = g.size};
    g.fd = -1;                                          // the shard's from here on
    strcpy(s->path, path);

    // names first: they stay where they are once all are there
    for (size_t i = 0; i < g.num_tensors; i++) {
        const GgufTensor *t = &g.tensor_memory[i];
        if (buffer_append(&s->names, g.text.data + t->name, t->name_len + 1) < 0) goto done;
        s->names.data[s->names.len - 1] = 0;
    }
    if (reserve(&w->tensor_memory, &w->capacity, g.num_tensors, sizeof *w->tensor_memory) < 0) {
        goto done;
    }
    const char *name = s->names.data;
    for (size_t i = 0; i < g.num_tensors; i++) {
        StoredTensor *t = &w->tensor_memory[i];
        *t = (StoredTensor){.name = name, .shard = s};
        if (tensor_store(&g, &g.tensor_memory[i], t) < 0) goto done;
        w->num_tensors++;
        name += strlen(name) + 1;
    }
    result = check_order(&g, w->tensor_memory, w->num_tensors);
done:
    gguf_close(&g);
    return result;
}

static const GgufTensor *tensor_find(const Gguf *g, const char *name) {
    const size_t n = strlen(name);
    for (size_t i = 0; i < g->num_tensors; i++) {
        const GgufTensor *t = &g->tensor_memory[i];
        if (t->name_len == n && !memcmp(g->text.data + t->name, name, n)) return t;
    }
    return NULL;
}

// -------------------------------------------------------------------------------- names of tensors

/* What stands between "model.layers.3." and ".weight" in a folder, and what stands for it after
 * "blk.3." in GGUF; then the names of tensors before and after the layers. */
typedef struct { const char *folder, *gguf; } TensorNames;

static const TensorNames layer_names[] = {
    // GPT-NeoX
    {"input_layernorm",           "attn_norm"},
    {"post_attention_layernorm",  "ffn_norm"},
    {"attention.query_key_value", "attn_qkv"},
    {"attention.dense",           "attn_output"},
    {"mlp.dense_h_to_4h",         "ffn_up"},
    {"mlp.dense_4h_to_h",         "ffn_down"},

    // GPT-2
    {"ln_1",        "attn_norm"},
    {"ln_2",        "ffn_norm"},
    {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"},
    {"mlp.c_fc",    "ffn_up"},
    {"mlp.c_proj",  "ffn_down"},

    // LLaMA and its descendants, whose norms have GPT-NeoX's names
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj",    "ffn_gate"},
    {"mlp.up_proj",      "ffn_up"},
    {"mlp.down_proj",    "ffn_down"},
};

static const TensorNames end_names[] = {
    {"gpt_neox.embed_in",         "token_embd"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"embed_out",                 "output"},
    {"transformer.wte",           "token_embd"},
    {"transformer.wpe",           "position_embd"},
    {"transformer.ln_f",          "output_norm"},
    {"lm_head",                   "output"},
    {"model.embed_tokens",        "token_embd"},
    {"model.norm",                "output_norm"},
};

static const char *translate(const TensorNames *names, size_t n, const char *s, size_t len) {
    for (size_t k = 0; k < n; k++) {
        if (strlen(names[k].folder) == len && !memcmp(names[k].folder, s, len)) {
            return names[k].gguf;
        }
    }
    return NULL;
}

// GGUF's name of the tensor that folders call folder_name; one that GGUF has not stays as it is.
void gguf_tensor_name(char name[96], const char *folder_name) {
    static const char *const layers[] = {"gpt_neox.layers.", "transformer.h.", "model.layers."};
    const char *end = strrchr(folder_name, '.');          // ".weight" or ".bias"
    snprintf(name, 96, "%s", folder_name);
    for (size_t k = 0; k < sizeof layers / sizeof *layers; k++) {
        const size_t n = strlen(layers[k]);
        if (strncmp(folder_name, layers[k], n)) continue;
        const char *number = folder_name + n, *part = strchr(number, '.') + 1;
        const char *known = translate(layer_names, sizeof layer_names / sizeof *layer_names, part,
                                      (size_t)(end - part));
        const int digits = (int)(part - 1 - number);
        if (known) snprintf(name, 96, "blk.%.*s.%s%s", digits, number, known, end);
        return;
    }
    const char *known = translate(end_names, sizeof end_names / sizeof *end_names, folder_name,
                                  (size_t)(end - folder_name));
    if (known) snprintf(name, 96, "%s%s", known, end);
}

const char *gguf_architecture(const Config *c) {
    static const char *const names[] = {
        [FAMILY_NEOX]    = "gptneox",
        [FAMILY_GPT2]    = "gpt2",
        [FAMILY_LLAMA]   = "llama",
        [FAMILY_QWEN2]   = "qwen2",
        [FAMILY_QWEN3]   = "qwen3",
        [FAMILY_MISTRAL] = "llama",
        [FAMILY_SMOLLM3] = "smollm3",
        [FAMILY_OLMO2]   = NULL,                // its tensors have names of their own there
    };
    _Static_assert(sizeof names / sizeof *names == NUM_FAMILIES, "a family without a name");
    return names[c->family];
}

/* llama.cpp turns neighbouring channels of a head together where Hugging Face turns channel i with
 * channel i + HD/2: files of the architectures "llama" and "smollm3" have the rows of a query or
 * key head as 0, HD/2, 1, HD/2 + 1, ... */
int gguf_permutes(const Config *c, const char *name) {
    const char *part = strrchr(name, '_');                // attn_q.weight, attn_k.bias
    const char *architecture = gguf_architecture(c);
    if ((strcmp(architecture, "llama") && strcmp(architecture, "smollm3")) || !part) return 0;
    return !strncmp(part, "_q.", 3) || !strncmp(part, "_k.", 3);
}

// ------------------------------------------------------------------------------------ config.json

// The families by their architecture, and what their configurations call things.
typedef struct {
    const char *architecture, *model_type, *class_;
    const char *channels, *layers, *heads, *hidden, *positions, *eps, *theta;
    const char *eps_key;                // of GGUF
} GgufFamily;

#define LLAMA_KEYS \
    .channels = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads", \
    .hidden = "intermediate_size", .positions = "max_position_embeddings", \
    .eps = "rms_norm_eps", .eps_key = "attention.layer_norm_rms_epsilon", .theta = "rope_theta"

static const GgufFamily gguf_families[] = {
    {.architecture = "llama", .model_type = "llama", .class_ = "LlamaForCausalLM", LLAMA_KEYS},
    {.architecture = "qwen2", .model_type = "qwen2", .class_ = "Qwen2ForCausalLM", LLAMA_KEYS},
    {.architecture = "qwen3", .model_type = "qwen3", .class_ = "Qwen3ForCausalLM", LLAMA_KEYS},
    {.architecture = "smollm3", .model_type = "smollm3", .class_ = "SmolLM3ForCausalLM",
     LLAMA_KEYS},
    {.architecture = "gpt2", .model_type = "gpt2", .class_ = "GPT2LMHeadModel",
     .channels = "n_embd", .layers = "n_layer", .heads = "n_head", .hidden = "n_inner",
     .positions = "n_positions", .eps = "layer_norm_epsilon",
     .eps_key = "attention.layer_norm_epsilon"},
    {.architecture = "gptneox", .model_type = "gpt_neox", .class_ = "GPTNeoXForCausalLM",
     .channels = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
     .hidden = "intermediate_size", .positions = "max_position_embeddings",
     .eps = "layer_norm_eps", .eps_key = "attention.layer_norm_epsilon",
     .theta = "rotary_emb_base"},
};

// A "llama" with a sliding window in all layers.
static const GgufFamily gguf_mistral = {
    .architecture = "llama", .model_type = "mistral", .class_ = "MistralForCausalLM", LLAMA_KEYS,
};

// The keys of the architecture that are read below, or that change nothing here.
static const char *const gguf_known_keys[] = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon", "attention.key_length", "attention.value_length",
    "attention.causal", "attention.sliding_window", "use_parallel_residual",
    "rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout",
};

// Our own key: which GELU, as config.json calls it, for families that have either.
#define GGUF_ACTIVATION "more.hidden_act"

// And another: all tokens that end a text, where they are more than three.
#define GGUF_ENDS "more.eos_token_ids"

// What is written: the text, the file, and an error that lasts.
typedef struct {
    const Gguf *g;
    const GgufFamily *family;
    Buffer *text;
    int result;                         // 0, or -1 after fail()
} GgufWriter;

static void put_key(char key[100], const GgufWriter *w, const char *name) {
    snprintf(key, 100, "%s.%s", w->family->architecture, name);
}

PRINTF_LIKE(2, 3) static void put_json(GgufWriter *w, const char *format, ...) {
    char line[400];
    va_list args;
    if (w->result < 0) return;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert(n >= 0 && n < (int)sizeof line);
    w->result = buffer_append(w->text, line, (size_t)n);
}

// The whole number of a key, written under `name`; returns it, or `otherwise` where there is none.
// REQUIRED_KEY: there must be one.
enum { REQUIRED_KEY = -1, MAX_SIZE = 1 << 24 };
static int64_t put_key_whole(GgufWriter *w, const char *name, const char *suffix,
                             int64_t otherwise) {
    char key[100];
    int64_t value = otherwise;
    put_key(key, w, suffix);
    if (w->result < 0) return 1;
    const int has = gguf_integer(w->g, key, 1, MAX_SIZE, &value);
    if (has < 0) w->result = -1;
    if (has == 0 && otherwise == REQUIRED_KEY) w->result = gguf_key_fail(w->g, key, "is missing");
    if (has > 0) put_json(w, "\"%s\": %" PRId64 ", ", name, value);
    return value;
}

// The number of a key likewise, or `otherwise`; NAN: there must be one.
static void put_key_number(GgufWriter *w, const char *name, const char *suffix,
                           double otherwise) {
    char key[100];
    double value = otherwise;
    put_key(key, w, suffix);
    if (w->result < 0) return;
    const int has = gguf_number(w->g, key, &value);
    if (has < 0) w->result = -1;
    else if (isnan(value)) w->result = gguf_key_fail(w->g, key, "is missing");
    else put_json(w, "\"%s\": %.9g, ", name, value);
}

static int has_tensor(const GgufWriter *w, const char *name) {
    return tensor_find(w->g, name) != NULL;
}

static void put_sizes_of(GgufWriter *w) {
    const GgufFamily *f = w->family;
    const GgufTensor *embedding = tensor_find(w->g, "token_embd.weight");
    if (!embedding || embedding->dims != 2) {
        w->result = gguf_fail(w->g, "tensor token_embd.weight is missing, or not a matrix");
        return;
    }
    put_json(w, "\"vocab_size\": %" PRIu64 ", ", embedding->shape[0]);
    put_key_whole(w, f->channels, "embedding_length", REQUIRED_KEY);
    put_key_whole(w, f->layers, "block_count", REQUIRED_KEY);
    put_key_whole(w, f->hidden, "feed_forward_length", REQUIRED_KEY);
    put_key_whole(w, f->positions, "context_length", REQUIRED_KEY);
    put_key_number(w, f->eps, f->eps_key, NAN);
}

// Heads, their width, and the part of it that turns.
static void put_heads(GgufWriter *w) {
    const GgufFamily *f = w->family;
    int64_t channels = 1, value_length = 0;
    char key[100];
    const int64_t heads = put_key_whole(w, f->heads, "attention.head_count", REQUIRED_KEY);
    put_key(key, w, "embedding_length");
    if (w->result < 0 || gguf_integer(w->g, key, 1, MAX_SIZE, &channels) < 0) return;
    const int is_llama = !strcmp(f->eps_key, "attention.layer_norm_rms_epsilon");
    const int64_t usual = channels / heads;
    int64_t width = usual;
    if (is_llama) {
        put_key(key, w, "attention.head_count_kv");
        put_key_whole(w, "num_key_value_heads", "attention.head_count_kv", heads);
        if (!gguf_get(w->g, key)) put_json(w, "\"num_key_value_heads\": %" PRId64 ", ", heads);
        width = put_key_whole(w, "head_dim", "attention.key_length", usual);
        put_key(key, w, "attention.key_length");
        if (!gguf_get(w->g, key)) put_json(w, "\"head_dim\": %" PRId64 ", ", usual);
        put_key(key, w, "attention.value_length");
        const int has = gguf_integer(w->g, key, 1, MAX_SIZE, &value_length);
        if (has < 0) w->result = -1;
        if (has > 0 && value_length != width) {
            w->result = gguf_key_fail(w->g, key, "is not attention.key_length, which is not known "
                                      "here");
        }
    }

    int64_t turned = width;
    put_key(key, w, "rope.dimension_count");
    if (w->result < 0 || !f->theta) return;
    if (gguf_integer(w->g, key, 1, width, &turned) < 0) w->result = -1;
    if (is_llama && turned != width) {
        w->result = gguf_key_fail(w->g, key, "is less than a head, which is not known here");
    }
    if (!is_llama) put_json(w, "\"rotary_pct\": %.17g, ", (double)turned / (double)width);
    put_key_number(w, f->theta, "rope.freq_base", 10000);
}

static void put_biases(GgufWriter *w) {
    int parallel = 1;
    char key[100];
    const char *type = w->family->model_type;
    put_key(key, w, "use_parallel_residual");
    if (gguf_truth(w->g, key, &parallel) < 0) w->result = -1;
    if (!strcmp(type, "gpt_neox")) {
        put_json(w, "\"use_parallel_residual\": %s, ", parallel ? "true" : "false");
        put_json(w, "\"attention_bias\": %s, ",
                 has_tensor(w, "blk.0.attn_qkv.bias") ? "true" : "false");
    }
    const int mlp = !strcmp(type, "llama") || !strcmp(type, "smollm3");
    if (mlp || !strcmp(type, "qwen3")) {
        put_json(w, "\"attention_bias\": %s, ",
                 has_tensor(w, "blk.0.attn_q.bias") ? "true" : "false");
    }
    if (mlp) {
        put_json(w, "\"mlp_bias\": %s, ", has_tensor(w, "blk.0.ffn_up.bias") ? "true" : "false");
    }
    put_json(w, "\"tie_word_embeddings\": true, ");       // the weights know better: settle_output
}

static void put_activation(GgufWriter *w) {
    const char *s = "", *name = strcmp(w->family->model_type, "gpt2") ? "hidden_act"
                                                                      : "activation_function";
    size_t n = 0;
    const int has = gguf_string(w->g, GGUF_ACTIVATION, &s, &n);
    if (has < 0) w->result = -1;
    if (has > 0 && n == 4 && !memcmp(s, "gelu", 4)) put_json(w, "\"%s\": \"gelu\", ", name);
    if (has > 0 && n == 8 && !memcmp(s, "gelu_new", 8)) {
        put_json(w, "\"%s\": \"gelu_new\", ", name);
    }
}

// A window shorter than the positions makes a "llama" a Mistral, all of whose layers slide.  Of
// Qwen and SmolLM3 llama.cpp does not read the key: nobody has said which layers it would be of.
static void put_window(GgufWriter *w) {
    char key[100];
    int64_t window = 0, positions = 0;
    put_key(key, w, "context_length");
    if (gguf_integer(w->g, key, 1, MAX_SIZE, &positions) < 0) w->result = -1;
    put_key(key, w, "attention.sliding_window");
    const int has = w->result < 0 ? -1 : gguf_integer(w->g, key, 0, MAX_SIZE, &window);
    if (has < 0) w->result = -1;
    if (has <= 0 || window == 0 || window >= positions) return;
    if (strcmp(w->family->architecture, "llama")) {
        w->result = gguf_key_fail(w->g, key, "is less than context_length, but which layers slide "
                                  "is not said: take the model's folder");
        return;
    }
    w->family = &gguf_mistral;
    put_json(w, "\"sliding_window\": %" PRId64 ", ", window);
}

// The numbers of a vector of floats, which free() releases; NULL after fail().
static float *read_vector(const Gguf *g, const GgufTensor *t, size_t n) {
    StoredTensor stored;
    unsigned char bytes[8];
    if (tensor_store(g, t, &stored) < 0) return NULL;
    if (t->dims != 1 || t->shape[0] != n || stored.dtype != F32) {
        tensor_fail(g, t, "is not half a head of F32");
        return NULL;
    }
    float *x = allocate(n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) {
        if (file_read_at(g->fd, g->path, bytes, 4, stored.begin + 4*i) < 0) {
            free(x);
            return NULL;
        }
        x[i] = dtype_decode(F32, bytes);
    }
    return x;
}

/* The positions of the first training behind LLaMA-3's scaling (llama3_frequency in model.c): of a
 * frequency f that is divided by something between 1 and the factor, 1 / by = (1 - s) / factor + s,
 * and s = (turns - 1) / (4 - 1), turns = positions f / 2 pi. */
static double llama3_positions(const float *by, size_t n, double theta) {
    const double factor = (double)by[n-1];
    for (size_t i = 0; i < n; i++) {
        const double x = (double)by[i], f = more_pow(theta, -(double)i / (double)n);
        const double s = (1 / x - 1 / factor) / (1 - 1 / factor);
        const double positions = floor((1 + 3*s) * 6.283185307179586 / f + 0.5);
        if (x > 1 && x < factor && positions >= 1 && positions <= MAX_SIZE) return positions;
    }
    return 8192;
}

/* LLaMA-3's scaling is no key of a GGUF file but a tensor, by which each frequency is divided: 1
 * for the high ones, the factor for the low ones.  Its other numbers are read out of it, with the
 * low_freq_factor 1 and high_freq_factor 4 of all LLaMA-3; gguf_check_rope sees whether they give
 * this tensor. */
static void put_llama3(GgufWriter *w, const GgufTensor *t) {
    const size_t n = (size_t)t->shape[0];
    double theta = 10000;
    char key[100];
    put_key(key, w, "rope.freq_base");
    if (w->result < 0) return;
    if (gguf_number(w->g, key, &theta) < 0) {
        w->result = -1;
        return;
    }
    if (t->dims != 1 || n == 0 || n > 4096) {
        w->result = tensor_fail(w->g, t, "is not half a head of F32");
        return;
    }
    float *by = read_vector(w->g, t, n);
    if (!by) {
        w->result = -1;
        return;
    }
    if (!(by[n-1] >= 1 && by[n-1] <= 1e6f)) {
        w->result = tensor_fail(w->g, t, "does not end with a factor from 1 to 1e6");
    }
    put_json(w, "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": %.9g, "
             "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
             "\"original_max_position_embeddings\": %.0f}, ", (double)by[n-1],
             llama3_positions(by, n, theta));
    free(by);
}

static void put_scaling(GgufWriter *w) {
    const GgufTensor *by = tensor_find(w->g, "rope_freqs.weight");
    const char *type = "none";
    size_t n = 4;
    char key[100];
    if (by) put_llama3(w, by);
    put_key(key, w, "rope.scaling.type");
    if (w->result < 0) return;
    if (gguf_string(w->g, key, &type, &n) < 0) {
        w->result = -1;
        return;
    }
    if (n == 4 && !memcmp(type, "none", 4)) {
        char factor[100];
        put_key(factor, w, "rope.scaling.factor");
        if (!gguf_get(w->g, key) && gguf_get(w->g, factor)) {
            w->result = gguf_key_fail(w->g, key, "is missing, though rope.scaling.factor is there");
        }
        return;
    }
    if (by || n > 20) {
        w->result = gguf_key_fail(w->g, key, "is not known here");
        return;
    }
    put_json(w, "\"rope_scaling\": {\"rope_type\": \"");
    for (size_t i = 0; i < n; i++) {
        put_json(w, "%c", isalnum((unsigned char)type[i]) ? type[i] : '_');
    }
    put_json(w, "\", ");
    put_key_whole(w, "original_max_position_embeddings", "rope.scaling.original_context_length", 0);
    put_key_number(w, "factor", "rope.scaling.factor", NAN);
    put_json(w, "\"type\": null}, ");
}

// "eos_token_id": of a text, a turn ("eot") and a message ("eom"), or all of our own key.
static void put_ends_of(GgufWriter *w) {
    static const char *const names[] = {
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
    };
    const int64_t none = UINT32_MAX;
    const GgufValue *all = NULL;
    int64_t end[1 + MAX_MORE_EOS];
    int n = 0;
    if (gguf_array(w->g, GGUF_ENDS, GGUF_I32, &all) < 0) w->result = -1;
    for (size_t k = 0; all && w->result == 0 && k < all->count && n <= MAX_MORE_EOS; k++) {
        end[n] = (int64_t)gguf_bytes(w->g, all->at + 4*k, 4);
        n++;
    }
    for (int k = 0; !all && k < 3; k++) {
        int64_t id = none;
        if (gguf_integer(w->g, names[k], 0, none, &id) < 0) w->result = -1;
        int is_new = id != none;
        for (int i = 0; i < n; i++) {
            if (end[i] == id) is_new = 0;
        }
        if (!is_new) continue;
        end[n] = id;
        n++;
    }
    if (n == 1) put_json(w, "\"eos_token_id\": %" PRId64 ", ", end[0]);
    if (n < 2) return;
    put_json(w, "\"eos_token_id\": [%" PRId64, end[0]);
    for (int i = 1; i < n; i++) put_json(w, ", %" PRId64, end[i]);
    put_json(w, "], ");
}

// Tokens that begin, fill and end a text.
static void put_tokens(GgufWriter *w) {
    static const struct { const char *key, *name; } ids[] = {
        {"tokenizer.ggml.bos_token_id", "bos_token_id"},
        {"tokenizer.ggml.padding_token_id", "pad_token_id"},
    };
    const int64_t none = UINT32_MAX;
    for (int k = 0; k < 2; k++) {
        int64_t id = none;
        if (gguf_integer(w->g, ids[k].key, 0, none, &id) < 0) w->result = -1;
        if (id != none) put_json(w, "\"%s\": %" PRId64 ", ", ids[k].name, id);
    }
    put_ends_of(w);
}

// A key of the architecture that is not read could change the numbers; one that is 0 or false asks
// for nothing.
static int refuse_unknown_keys(const Gguf *g, const char *architecture) {
    const size_t skip = strlen(architecture) + 1;
    for (size_t i = 0; i < g->num_values; i++) {
        const GgufValue *v = &g->value_memory[i];
        const char *key = g->text.data + v->key;
        char name[100];
        int known = v->type != GGUF_STRING && v->type != GGUF_ARRAY
                    && gguf_bytes(g, v->at, gguf_sizes[v->type]) == 0;
        if (v->key_len <= skip || memcmp(key, architecture, skip - 1) || key[skip-1] != '.') {
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(v->key_len - skip), key + skip);
        for (size_t k = 0; k < sizeof gguf_known_keys / sizeof *gguf_known_keys; k++) {
            if (!strcmp(gguf_known_keys[k], name)) known = 1;
        }
        if (known) continue;
        return fail(EX_DATAERR, "%s: key %s.%s is not known here, and might change what the model "
                    "computes", g->path, architecture, name);
    }
    return 0;
}

// Which family the file is of; it must be a whole model.
static const GgufFamily *family_of(const Gguf *g) {
    const char *key = "general.architecture", *s = "", *type = "model";
    size_t n = 0, type_len = 5;
    int64_t parts = 1;
    const int has = gguf_string(g, key, &s, &n);
    if (has < 0 || gguf_string(g, "general.type", &type, &type_len) < 0) return NULL;
    if (gguf_integer(g, "split.count", 0, 65535, &parts) < 0) return NULL;
    if (has == 0) {
        gguf_key_fail(g, key, "is missing");
        return NULL;
    }
    if (type_len != 5 || memcmp(type, "model", 5)) {
        gguf_key_fail(g, "general.type",
                      "is not \"model\": an adapter, a vocabulary or a part of one");
        return NULL;
    }
    if (parts > 1) {
        gguf_key_fail(g, "split.count",
                      "is more than 1: join the parts (llama-gguf-split --merge)");
        return NULL;
    }
    for (size_t k = 0; k < sizeof gguf_families / sizeof *gguf_families; k++) {
        const char *name = gguf_families[k].architecture;
        if (strlen(name) == n && !memcmp(name, s, n)) return &gguf_families[k];
    }
    fail(EX_DATAERR, "%s: key %s: %.*s is not known here; known are llama, qwen2, qwen3, smollm3, "
         "gpt2, gptneox", g->path, key, (int)(n < 60 ? n : 60), s);
    return NULL;
}

// Appends the config.json that the keys stand for.  0, or -1 after fail().
int gguf_config(const Gguf *g, Buffer *json) {
    GgufWriter w = {.g = g, .text = json, .family = family_of(g)};
    int causal = 1;
    char key[100];
    if (!w.family) return -1;
    if (refuse_unknown_keys(g, w.family->architecture) < 0) return -1;
    put_key(key, &w, "attention.causal");
    if (gguf_truth(g, key, &causal) < 0) return -1;
    if (!causal) return gguf_key_fail(g, key, "is false, which is not known here");
    put_json(&w, "{");
    put_window(&w);
    put_json(&w, "\"model_type\": \"%s\", ", w.family->model_type);
    put_sizes_of(&w);
    put_heads(&w);
    put_biases(&w);
    put_activation(&w);
    if (w.family->theta) put_scaling(&w);
    put_tokens(&w);
    put_json(&w, "\"architectures\": [\"%s\"]}\n", w.family->class_);
    return w.result;
}

// Are the frequencies those of the tensor "rope_freqs.weight", if there is one?
int gguf_check_rope(const Gguf *g, const Config *c) {
    const GgufTensor *t = tensor_find(g, "rope_freqs.weight");
    const size_t n = (size_t)c->rotary_dims / 2;
    if (!t) return 0;
    float *by = read_vector(g, t, n);
    if (!by) return -1;
    int same = 1;
    Config plain = *c;
    plain.rope_type = ROPE_DEFAULT;
    for (size_t i = 0; i < n; i++) {
        const double want = (double)model_rope_frequency(&plain, (int)i) / by[i];
        const double have = (double)model_rope_frequency(c, (int)i);
        if (!(fabs(have - want) <= 1e-5 * fabs(want))) same = 0;
    }
    free(by);
    return same ? 0 : tensor_fail(g, t, "is not LLaMA-3's scaling, the only one known here");
}

// ---------------------------------------------------------------------------------------- the path

int gguf_names(const char *name) {
    return name_ends_with(name, ".gguf") || name_ends_with(name, ".GGUF");
}

/* Is `model` a GGUF file, or a folder with one and without weights in Hugging Face's form?  1 and
 * its path, 0, or -1 after fail(): there are several. */
int gguf_find(char path[PATH_SIZE], const char *model) {
    static const char *const others[] = {"model.safetensors", "model.safetensors.index.json"};
    struct stat st;
    int found = 0;
    if (stat(model, &st) < 0 || strlen(model) >= PATH_SIZE) return 0;
    if (!S_ISDIR(st.st_mode)) {
        strcpy(path, model);
        return S_ISREG(st.st_mode) && gguf_names(model);
    }
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        if (path_join(path, model, others[k]) < 0) return -1;
        if (stat(path, &st) == 0) return 0;
    }
    DIR *d = opendir(model);
    if (!d) return 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (*e->d_name == '.' || !gguf_names(e->d_name)) continue;
        found++;
        if (path_join(path, model, e->d_name) < 0) found = -INT_MAX;
    }
    closedir(d);
    if (found < 0) return -1;
    if (found < 2) return found;
    return fail(EX_USAGE, "%s: several GGUF files; name the one that is meant", model);
}

#endif

/* safetensors.c - the tensor files of Hugging Face: number formats, and a reader that believes nothing.
 *
 * A file is 8 bytes little-endian N; N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ..}; then
 * the values, row-major, little-endian, without holes.  It may come from a stranger: every length, offset,
 * shape and name is checked before it is used.                                                             */
#ifndef SAFETENSORS_C
#define SAFETENSORS_C

#include "file.c"
#include "json.c"
#include <inttypes.h>

// ---------------------------------------------------------------------------------------- number formats

typedef enum { F32, F16, BF16, F64, OTHER } Dtype;
static const struct { const char *name; size_t size; Dtype dtype; } dtypes[] = {
    {"F32", 4, F32}, {"F16", 2, F16}, {"BF16", 2, BF16}, {"F64", 8, F64},
    {"I64", 8, OTHER}, {"I32", 4, OTHER}, {"I16", 2, OTHER}, {"I8", 1, OTHER},
    {"U64", 8, OTHER}, {"U32", 4, OTHER}, {"U16", 2, OTHER}, {"U8", 1, OTHER},
    {"BOOL", 1, OTHER}, {"F8_E4M3", 1, OTHER}, {"F8_E5M2", 1, OTHER}};

// binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits; rounds to nearest, ties to even
static uint16_t half_of(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);                              // NaN
    if (u >= 0x47800000) return (uint16_t)(sign | 0x7c00);                             // 65536 and above
    if (u >= 0x38800000) return (uint16_t)(sign | (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13);
    uint32_t e = u >> 23, m = (u & 0x7fffff) | 0x800000, shift = 126 - e;        // m 2^-shift subnormal units
    if (e < 102) return (uint16_t)sign;                                                // below half a unit
    return (uint16_t)(sign | (m + (1u << (shift - 1)) - 1 + (m >> shift & 1)) >> shift);
}

static float float_of_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
    if (e == 31) return float_of(sign | 0x7f800000 | m << 13);
    if (e) return float_of(sign | (e + 112) << 23 | m << 13);
    return sign ? -(float)m * 0x1p-24f : (float)m * 0x1p-24f;
}

static uint16_t bf16_of(float f) {                              // the upper half of a float, rounded to even
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint64_t little_endian(const unsigned char *p, size_t n) {
    uint64_t u = 0;
    while (n--) u = u << 8 | p[n];
    return u;
}

static float decode(Dtype dtype, const unsigned char *p) {
    double d;
    uint64_t u;
    switch (dtype) {
    case F32: return float_of((uint32_t)little_endian(p, 4));
    case F16: return float_of_half((uint16_t)little_endian(p, 2));
    case BF16: return float_of((uint32_t)little_endian(p, 2) << 16);
    default:
        u = little_endian(p, 8);
        memcpy(&d, &u, 8);
        return fabs(d) <= FLT_MAX ? (float)d : d > 0 ? INFINITY : d < 0 ? -INFINITY : NAN;
    }
}

static void encode(Dtype dtype, unsigned char *p, float f) {
    uint32_t u = dtype == F32 ? bits_of(f) : dtype == F16 ? half_of(f) : bf16_of(f);
    for (int i = 0; i < (dtype == F32 ? 4 : 2); i++) p[i] = (unsigned char)(u >> 8*i);
}

// ---------------------------------------------------------------------------------------------- reading

static int ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

// A whole file that is one JSON object.
static int json_load(Json *j, const char *path) {
    Buffer text = {0};
    uint64_t size = 0;
    int fd = open_regular(path, &size), bad = fd < 0;
    if (!bad && size > 100000000) bad = fail(EX_DATAERR, "%s: more than 100 MB", path) < 0;
    bad = bad || reserve(&text.data, &text.capacity, (size_t)size + 1, 1) < 0
              || read_at(fd, path, text.data, (size_t)size, 0) < 0
              || json_parse(j, text.data, (size_t)size, path) < 0;
    if (!bad && json_type(j, 0) != JSON_OBJECT) bad = fail(EX_DATAERR, "%s: must be a JSON object", path) < 0;
    if (fd >= 0) close(fd);
    buffer_free(&text);
    return -bad;
}

typedef struct { int fd; Json header; char path[PATH_SIZE]; } Shard;
typedef struct {
    const char *name;
    const Shard *shard;
    Dtype dtype;
    int dims;
    size_t size;                    // bytes of a value
    uint64_t shape[8], begin, end;  // bytes of the file
} Stored;
enum { MAX_SHARDS = 1024 };
typedef struct {
    Shard *shard_memory[MAX_SHARDS];
    int shards;
    Stored *stored_memory;
    size_t n, capacity;
} Files;

static int by_begin(const void *a, const void *b) {
    const Stored *x = a, *y = b;
    return x->begin != y->begin ? x->begin < y->begin ? -1 : 1 : x->end < y->end ? -1 : x->end > y->end;
}

static void files_close(Files *f) {
    for (int i = 0; i < f->shards; i++) {
        if (f->shard_memory[i]->fd >= 0) close(f->shard_memory[i]->fd);
        json_free(&f->shard_memory[i]->header);
        free(f->shard_memory[i]);
    }
    free(f->stored_memory);
    memset(f, 0, sizeof *f);
}

static int stored_fail(const Stored *t, const char *what) {
    return fail(EX_DATAERR, "%s: tensor %.100s %s", t->shard->path, t->name, what);
}

// One line of a header: {"dtype": .., "shape": [..], "data_offsets": [begin, end]}; values have room bytes
static int stored_read(Stored *t, const Shard *s, int n, uint64_t room) {
    const Json *j = &s->header;
    int dtype = json_get(j, n, "dtype"), shape = json_get(j, n, "shape");
    int range = json_get(j, n, "data_offsets"), begin = json_first(j, range), end = json_next(j, begin);
    int64_t x = 0, offset[2] = {0, 0};
    char what[120];
    *t = (Stored){.name = json_key(j, n), .shard = s};
    for (size_t i = 0; i < json_key_length(j, n); i++)
        if (t->name[i] < 32 || t->name[i] > 126)
            return fail(EX_DATAERR, "%s: a tensor's name holds byte %d", s->path, (unsigned char)t->name[i]);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (json_equal(j, dtype, dtypes[i].name)) t->dtype = dtypes[i].dtype, t->size = dtypes[i].size;
    if (!t->size) return stored_fail(t, "has no known dtype");

    uint64_t bytes = t->size;
    if (json_type(j, shape) != JSON_ARRAY || json_count(j, shape) > 8)
        return stored_fail(t, "has no shape of at most 8 numbers");
    for (int i = json_first(j, shape); i >= 0; i = json_next(j, i)) {
        if (!json_integer(j, i, &x) || x < 0) return stored_fail(t, "has a shape that is not whole numbers");
        if (x && bytes > UINT64_MAX / 2 / (uint64_t)x) return stored_fail(t, "has a shape beyond 2^63 bytes");
        bytes *= t->shape[t->dims++] = (uint64_t)x;
    }
    if (json_type(j, range) != JSON_ARRAY || json_count(j, range) != 2 || !json_integer(j, begin, &offset[0])
        || !json_integer(j, end, &offset[1]) || offset[0] < 0 || offset[0] > offset[1])
        return stored_fail(t, "must have data_offsets [begin, end], whole numbers, begin <= end");
    t->begin = (uint64_t)offset[0], t->end = (uint64_t)offset[1];
    if (t->end > room) {
        uint64_t lost = t->end - room;
        snprintf(what, sizeof what, "ends %" PRIu64 " bytes after the file, which is truncated", lost);
        return stored_fail(t, what);
    }
    if (t->end - t->begin != bytes) {
        snprintf(what, sizeof what, "has %" PRIu64 " bytes, its shape and dtype ask for %" PRIu64,
                 t->end - t->begin, bytes);
        return stored_fail(t, what);
    }
    return 0;
}

// Parses the header into s->header; *data is where the values begin, *size the size of the file.
static int header_read(Shard *s, uint64_t *data, uint64_t *size) {
    unsigned char length[8] = {0};
    if ((s->fd = open_regular(s->path, size)) < 0) return -1;
    if (*size < 8) return fail(EX_DATAERR, "%s: %d bytes: not a safetensors file", s->path, (int)*size);
    if (read_at(s->fd, s->path, length, 8, 0) < 0) return -1;
    uint64_t n = little_endian(length, 8);
    if (n < 2 || n > 100000000 || n > *size - 8)
        return fail(EX_DATAERR, "%s: the header's length is %" PRIu64 ", but it must be from 2 to 100000000, "
                    "in a file of %" PRIu64 " bytes: truncated, or not safetensors", s->path, n, *size);
    char *text = allocate((size_t)n, 1);
    int bad = !text || read_at(s->fd, s->path, text, (size_t)n, 8) < 0
           || json_parse(&s->header, text, (size_t)n, s->path) < 0;
    free(text);
    if (bad) return -1;
    *data = 8 + n;
    if (json_type(&s->header, 0) == JSON_OBJECT) return 0;
    return fail(EX_DATAERR, "%s: the header is not a JSON object", s->path);
}

// Opens one safetensors file and appends what it holds to f.
static int shard_open(Files *f, const char *dir, const char *name) {
    uint64_t size = 0, data = 0, at = 0;
    size_t first = f->n;
    if (f->shards == MAX_SHARDS) return fail(EX_DATAERR, "%s: more than %d weight files", dir, MAX_SHARDS);
    Shard *s = allocate(1, sizeof *s);
    if (!s) return -1;
    f->shard_memory[f->shards++] = s;
    s->fd = -1;
    if (path_join(s->path, dir, name) < 0 || header_read(s, &data, &size) < 0) return -1;
    const Json *j = &s->header;
    size_t need = first + (size_t)json_count(j, 0);
    if (reserve(&f->stored_memory, &f->capacity, need, sizeof(Stored)) < 0) return -1;
    for (int i = json_first(j, 0); i >= 0; i = json_next(j, i)) {
        if (!strcmp(json_key(j, i), "__metadata__")) continue;
        if (stored_read(&f->stored_memory[f->n++], s, i, size - data) < 0) return -1;
    }
    if (f->n > first) qsort(f->stored_memory + first, f->n - first, sizeof(Stored), by_begin);
    for (size_t i = first; i < f->n; i++) {
        Stored *t = &f->stored_memory[i];
        if (t->begin != at) return stored_fail(t, t->begin < at ? "overlaps the one before it in the file"
                                                                : "has a hole before it in the file");
        at = t->end;
        t->begin += data, t->end += data;                             // from here on: offsets in the file
    }
    if (at == size - data) return 0;
    return fail(EX_DATAERR, "%s: %" PRIu64 " bytes belong to no tensor", s->path, size - data - at);
}

// The files that model.safetensors.index.json names: {"weight_map": {tensor: file}}
static int index_open(Files *f, const char *dir, const Json *j, const char *path) {
    int map = json_get(j, 0, "weight_map");
    if (json_type(j, map) != JSON_OBJECT) return fail(EX_DATAERR, "%s: no \"weight_map\"", path);
    for (int i = json_first(j, map), k; i >= 0; i = json_next(j, i)) {
        const char *name = json_string(j, i);
        if (strlen(name) != json_length(j, i) || strchr(name, '/') || !ends_with(name, ".safetensors"))
            return fail(EX_DATAERR, "%s: %.100s: not a .safetensors file in this folder", path, name);
        for (k = 0; k < f->shards && strcmp(f->shard_memory[k]->path + strlen(dir) + 1, name); ) k++;
        if (k == f->shards && shard_open(f, dir, name) < 0) return -1;
    }
    return 0;
}

// model.safetensors, or else the files of the index; files_close also after an error
static int files_open(Files *f, const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    Json j = {0};
    memset(f, 0, sizeof *f);
    if (path_join(path, dir, "model.safetensors") < 0) return -1;
    if (stat(path, &st) == 0) return shard_open(f, dir, "model.safetensors");
    if (path_join(path, dir, "model.safetensors.index.json") < 0) return -1;
    if (stat(path, &st) < 0)
        return fail(EX_NOINPUT, "%s: no model.safetensors here; weights in another format must be saved "
                    "again with save_pretrained", dir);
    int bad = json_load(&j, path) < 0 || index_open(f, dir, &j, path) < 0;
    json_free(&j);
    return -bad;
}

#endif

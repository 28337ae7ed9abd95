/* safetensors.c - the tensor files of Hugging Face: a reader that believes nothing.
 *
 *     8 bytes     N, little-endian
 *     N bytes     JSON: {"name": {"dtype": .., "shape": [..], "data_offsets": [begin, end]}, ..}
 *     the rest    values, row-major, little-endian, without holes; offset 0 is their first byte
 *
 * A file may come from a stranger: every length, offset, shape and name is checked before it is
 * used.  What we write says the checksum of the values under "__metadata__"; of a file that does,
 * it is checked when the values are read.                                                        */
#ifndef SAFETENSORS_C
#define SAFETENSORS_C

#include "blocks.c"
#include "checksum.c"
#include "file.c"
#include "json.c"
#include <inttypes.h>

enum { MAX_DIMS = 8, MAX_SHARDS = 1024 };

#define WEIGHTS_CHECKSUM "more_checksum"        // its name there

typedef struct {
    int fd;
    Json header;                        // of a safetensors file
    Buffer names;                       // of tensors; of a GGUF file (gguf.c)
    uint64_t data, size;                // where the values begin, bytes of the file
    char path[PATH_SIZE];
} Shard;

typedef struct {
    const char *name;
    const Shard *shard;                 // the file that holds it
    Dtype dtype;
    size_t size;                        // bytes of a value, or of a block of them (blocks.c)
    int dims;
    uint64_t shape[MAX_DIMS];
    uint64_t begin, end;                // bytes of the file
} StoredTensor;

// What the safetensors files of one folder hold together.
typedef struct {
    Shard *shard_memory[MAX_SHARDS];
    int num_shards;
    StoredTensor *tensor_memory;
    size_t num_tensors, capacity;
} Weights;

// reading
int  weights_open(Weights *w, const char *dir);                 // all files and their headers
int  weights_open_one(Weights *w, const char *dir, const char *name);       // one file of a folder
int  weights_check(const Weights *w);                           // have they their checksums?
void weights_close(Weights *w);                                 // also after an error
int  stored_fail(const StoredTensor *t, const char *reason);
int  stored_compare(const void *a, const void *b);              // by their place; for qsort

// ---------------------------------------------------------------------------- one line of a header

static const struct {
    const char *name;
    size_t size;
    Dtype dtype;
} safetensors_dtypes[] = {
    {.name = "F32",     .size = 4, .dtype = F32},
    {.name = "F16",     .size = 2, .dtype = F16},
    {.name = "BF16",    .size = 2, .dtype = BF16},
    {.name = "F64",     .size = 8, .dtype = F64},
    {.name = "I64",     .size = 8, .dtype = OTHER},
    {.name = "I32",     .size = 4, .dtype = OTHER},
    {.name = "I16",     .size = 2, .dtype = OTHER},
    {.name = "I8",      .size = 1, .dtype = OTHER},
    {.name = "U64",     .size = 8, .dtype = OTHER},
    {.name = "U32",     .size = 4, .dtype = OTHER},
    {.name = "U16",     .size = 2, .dtype = OTHER},
    {.name = "U8",      .size = 1, .dtype = OTHER},
    {.name = "BOOL",    .size = 1, .dtype = OTHER},
    {.name = "F8_E4M3", .size = 1, .dtype = OTHER},
    {.name = "F8_E5M2", .size = 1, .dtype = OTHER},
};

int stored_fail(const StoredTensor *t, const char *reason) {
    return fail(EX_DATAERR, "%s: tensor %.100s %s", t->shard->path, t->name, reason);
}

// A name is printed, so it must be printable.
static int stored_name(StoredTensor *t, const Json *j, int line) {
    t->name = json_key(j, line);
    for (size_t i = 0; i < json_key_length(j, line); i++) {
        if (t->name[i] >= 32 && t->name[i] <= 126) continue;
        return fail(EX_DATAERR, "%s: a tensor's name holds byte %d", t->shard->path,
                    (unsigned char)t->name[i]);
    }
    return 0;
}

static int stored_dtype(StoredTensor *t, const Json *j, int dtype) {
    for (size_t i = 0; i < sizeof safetensors_dtypes / sizeof *safetensors_dtypes; i++) {
        if (!json_equal(j, dtype, safetensors_dtypes[i].name)) continue;
        t->dtype = safetensors_dtypes[i].dtype;
        t->size = safetensors_dtypes[i].size;
        return 0;
    }
    return stored_fail(t, "has no known dtype");
}

// *bytes is what a tensor of this shape and dtype takes.
static int stored_shape(StoredTensor *t, const Json *j, int shape, uint64_t *bytes) {
    *bytes = t->size;
    if (json_type(j, shape) != JSON_ARRAY || json_count(j, shape) > MAX_DIMS) {
        return stored_fail(t, "has no shape of at most 8 numbers");
    }
    for (int i = json_first(j, shape); i >= 0; i = json_next(j, i)) {
        int64_t n = 0;
        if (!json_integer(j, i, &n) || n < 0) {
            return stored_fail(t, "has a shape that is not whole numbers");
        }
        if (n > 0 && *bytes > UINT64_MAX / 2 / (uint64_t)n) {
            return stored_fail(t, "has a shape beyond 2^63 bytes");
        }
        t->shape[t->dims] = (uint64_t)n;
        t->dims++;
        *bytes *= (uint64_t)n;
    }
    return 0;
}

// [begin, end]: bytes of the values, of which the file has room
static int stored_offsets(StoredTensor *t, const Json *j, int range, uint64_t room) {
    int first = json_first(j, range), second = json_next(j, first);
    int64_t begin = 0, end = 0;
    int two = json_type(j, range) == JSON_ARRAY && json_count(j, range) == 2;
    int whole = json_integer(j, first, &begin) && json_integer(j, second, &end);
    if (!two || !whole || begin < 0 || begin > end) {
        return stored_fail(t, "must have data_offsets [begin, end], whole numbers, begin <= end");
    }
    t->begin = (uint64_t)begin;
    t->end = (uint64_t)end;
    if (t->end > room) {
        char reason[120];
        snprintf(reason, sizeof reason,
                 "ends %" PRIu64 " bytes after the file, which is truncated", t->end - room);
        return stored_fail(t, reason);
    }
    return 0;
}

// "name": {"dtype": .., "shape": [..], "data_offsets": [begin, end]}; the file has room for values
static int stored_read(StoredTensor *t, const Shard *s, int line, uint64_t room) {
    const Json *j = &s->header;
    uint64_t bytes;
    *t = (StoredTensor){.shard = s};
    if (stored_name(t, j, line) < 0) return -1;
    if (stored_dtype(t, j, json_get(j, line, "dtype")) < 0) return -1;
    if (stored_shape(t, j, json_get(j, line, "shape"), &bytes) < 0) return -1;
    if (stored_offsets(t, j, json_get(j, line, "data_offsets"), room) < 0) return -1;
    if (t->end - t->begin != bytes) {
        char reason[120];
        snprintf(reason, sizeof reason,
                 "has %" PRIu64 " bytes, its shape and dtype ask for %" PRIu64,
                 t->end - t->begin, bytes);
        return stored_fail(t, reason);
    }
    return 0;
}

// ---------------------------------------------------------------------------------------- one file

// "__metadata__" maps strings to strings.
static int check_metadata(const Shard *s) {
    const Json *j = &s->header;
    const int metadata = json_get(j, 0, "__metadata__");
    int of_strings = metadata < 0 || json_type(j, metadata) == JSON_OBJECT;
    for (int i = json_first(j, metadata); i >= 0; i = json_next(j, i)) {
        if (json_type(j, i) != JSON_STRING) of_strings = 0;
    }
    if (of_strings) return 0;
    return fail(EX_DATAERR, "%s: \"__metadata__\" must be an object of strings", s->path);
}

// Opens the file and parses its header into s->header.
static int header_read(Shard *s) {
    unsigned char length[8] = {0};
    s->fd = file_open(s->path, &s->size);
    if (s->fd < 0) return -1;
    if (s->size < 8) {
        return fail(EX_DATAERR, "%s: %d bytes: not a safetensors file", s->path, (int)s->size);
    }
    if (file_read_at(s->fd, s->path, length, 8, 0) < 0) return -1;
    if (file_refuse_pointer(s->path, (const char *)length, 8) < 0) return -1;
    uint64_t n = little_endian(length, 8);
    if (n < 2 || n > JSON_FILE_MAX || n > s->size - 8) {
        return fail(EX_DATAERR, "%s: the header's length is %" PRIu64 ", but it must be from 2 to "
                    "%d, in a file of %" PRIu64 " bytes: truncated, or not safetensors", s->path, n,
                    JSON_FILE_MAX, s->size);
    }
    int result = -1;
    char *text = allocate((size_t)n, 1);
    if (!text) return -1;
    if (file_read_at(s->fd, s->path, text, (size_t)n, 8) < 0) goto done;
    if (json_parse(&s->header, text, (size_t)n, s->path) < 0) goto done;
    if (json_type(&s->header, 0) != JSON_OBJECT) {
        fail(EX_DATAERR, "%s: the header is not a JSON object", s->path);
        goto done;
    }
    if (check_metadata(s) < 0) goto done;
    s->data = 8 + n;
    result = 0;
done:
    free(text);
    return result;
}

int stored_compare(const void *a, const void *b) {
    const StoredTensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

// Do the n tensors t of one file fill its values exactly?  Their offsets become those in the file.
// 0, or -1 after fail().
static int check_cover(StoredTensor *t, size_t n, const Shard *s) {
    const uint64_t bytes = s->size - s->data;
    uint64_t at = 0;                                    // where the next one must begin
    if (n > 0) qsort(t, n, sizeof *t, stored_compare);
    for (size_t i = 0; i < n; i++) {
        if (t[i].begin < at) return stored_fail(&t[i], "overlaps the one before it in the file");
        if (t[i].begin > at) return stored_fail(&t[i], "has a hole before it in the file");
        at = t[i].end;
        t[i].begin += s->data;
        t[i].end += s->data;
    }
    if (at == bytes) return 0;
    return fail(EX_DATAERR, "%s: %" PRIu64 " bytes belong to no tensor", s->path, bytes - at);
}

// Opens one safetensors file and appends what it holds to w.
static int shard_open(Weights *w, const char *dir, const char *name) {
    size_t first = w->num_tensors;

    // from here on weights_close closes the file and frees the shard
    if (w->num_shards == MAX_SHARDS) {
        return fail(EX_DATAERR, "%s: more than %d weight files", dir, MAX_SHARDS);
    }
    Shard *s = allocate(1, sizeof *s);
    if (!s) return -1;
    s->fd = -1;
    w->shard_memory[w->num_shards] = s;
    w->num_shards++;

    if (path_join(s->path, dir, name) < 0) return -1;
    if (header_read(s) < 0) return -1;
    const Json *j = &s->header;
    const uint64_t room = s->size - s->data;
    size_t need = first + (size_t)json_count(j, 0);
    if (reserve(&w->tensor_memory, &w->capacity, need, sizeof *w->tensor_memory) < 0) return -1;
    for (int line = json_first(j, 0); line >= 0; line = json_next(j, line)) {
        if (!strcmp(json_key(j, line), "__metadata__")) continue;
        if (stored_read(&w->tensor_memory[w->num_tensors], s, line, room) < 0) return -1;
        w->num_tensors++;
    }
    return check_cover(w->tensor_memory + first, w->num_tensors - first, s);
}

// The values' checksum.  0, or -1 after fail().
static int shard_sum(const Shard *s, uint64_t *sum) {
    unsigned char chunk[CHUNK];
    Checksum c;
    checksum_start(&c);
    for (uint64_t at = s->data; at < s->size; at += CHUNK) {
        const size_t n = s->size - at < CHUNK ? (size_t)(s->size - at) : CHUNK;
        if (file_read_at(s->fd, s->path, chunk, n, at) < 0) return -1;
        checksum_add(&c, chunk, n);
    }
    *sum = checksum_finish(&c);
    return 0;
}

// A file that says no checksum, as those of other programs, is taken as it is.  0, or -1 after
// fail().
int weights_check(const Weights *w) {
    for (int i = 0; i < w->num_shards; i++) {
        const Shard *s = w->shard_memory[i];
        const Json *j = &s->header;
        const int said = json_get(j, json_get(j, 0, "__metadata__"), WEIGHTS_CHECKSUM);
        char text[CHECKSUM_TEXT];
        uint64_t sum;
        if (said < 0) continue;
        if (shard_sum(s, &sum) < 0) return -1;
        checksum_text(text, sum);
        if (json_equal(j, said, text)) continue;
        return fail(EX_DATAERR, "%s: the values are not those that were written: their checksum is "
                    "%s, not %.20s; the file is damaged, take another copy of it", s->path, text,
                    json_string(j, said));
    }
    return 0;
}

// --------------------------------------------------------------------------- the files of a folder

static int shard_is_open(const Weights *w, const char *dir, const char *name) {
    for (int k = 0; k < w->num_shards; k++) {
        if (!strcmp(w->shard_memory[k]->path + strlen(dir) + 1, name)) return 1;
    }
    return 0;
}

// The files that model.safetensors.index.json names: {"weight_map": {tensor: file}}
static int index_open(Weights *w, const char *dir, const Json *j, const char *path) {
    int map = json_get(j, 0, "weight_map");
    if (json_type(j, map) != JSON_OBJECT) return fail(EX_DATAERR, "%s: no \"weight_map\"", path);
    for (int i = json_first(j, map); i >= 0; i = json_next(j, i)) {
        const char *name = json_string(j, i);
        int cut = strlen(name) != json_length(j, i);            // it holds a 0 byte
        if (cut || strchr(name, '/') || !name_ends_with(name, ".safetensors")) {
            return fail(EX_DATAERR, "%s: %.100s: not a .safetensors file in this folder", path,
                        name);
        }
        if (!shard_is_open(w, dir, name) && shard_open(w, dir, name) < 0) return -1;
    }
    return 0;
}

// weights_close also after an error.
int weights_open_one(Weights *w, const char *dir, const char *name) {
    memset(w, 0, sizeof *w);
    return shard_open(w, dir, name);
}

// model.safetensors, or else the files of the index.  weights_close also after an error.
int weights_open(Weights *w, const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    Json j = {0};
    memset(w, 0, sizeof *w);
    if (path_join(path, dir, "model.safetensors") < 0) return -1;
    if (stat(path, &st) == 0) return shard_open(w, dir, "model.safetensors");
    if (path_join(path, dir, "model.safetensors.index.json") < 0) return -1;
    if (stat(path, &st) < 0) {
        return fail(EX_NOINPUT, "%s: no model.safetensors here; weights in another format must be "
                    "saved again with save_pretrained", dir);
    }
    int result = -1;
    if (json_load(&j, path) < 0) goto done;
    if (index_open(w, dir, &j, path) < 0) goto done;
    result = 0;
done:
    json_free(&j);
    return result;
}

void weights_close(Weights *w) {
    for (int i = 0; i < w->num_shards; i++) {
        if (w->shard_memory[i]->fd >= 0) close(w->shard_memory[i]->fd);
        json_free(&w->shard_memory[i]->header);
        buffer_free(&w->shard_memory[i]->names);
        free(w->shard_memory[i]);
    }
    free(w->tensor_memory);
    memset(w, 0, sizeof *w);
}

#endif

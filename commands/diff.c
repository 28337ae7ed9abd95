/* diff.c - more diff: where two trainings, or two files of weights, differ first.
 *
 *     receipts     the first field, and of the recipe the first line, that is otherwise
 *     diaries      the first step
 *     weights      the first tensor, how many values, by how much
 *
 * Two folders are compared in what both have of these, and in their types' folders (train em).
 * Values are compared as they are stored, so that a bit which flipped on a disk is found: a folder
 * with one does not load.  Exit code 1 says that something differs.                              */
#ifndef DIFF_C
#define DIFF_C
#include "../receipt.c"
#include "../load.c"
#include "../settings.h"

int command_diff(void);

// what more verify uses of it
int diff_folders(const char *a, const char *b);                     // 1: they differ, said so; -1
int diff_receipts(const Json *x, const Json *y, const char *what);  // the same
int receipt_open(Json *j, const char *path);
int receipt_recipe(Buffer *b, const Json *j);                       // the text of its lines

// ---------------------------------------------------------------------------------------- receipts

// Is v of that type, with at least so many values, all of them strings?
static int has_strings(const Json *j, int v, JsonType type, int least) {
    if (json_type(j, v) != type || json_count(j, v) < least) return 0;
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (json_type(j, i) != JSON_STRING) return 0;
    }
    return 1;
}

// Reads a receipt.  0, or -1 after fail(); json_free follows either.
int receipt_open(Json *j, const char *path) {
    if (json_load(j, path) < 0) return -1;
    const int command = json_get(j, 0, "command"), recipe = json_get(j, 0, "recipe");
    const int weights = json_get(j, 0, "weights");
    if (!json_equal(j, json_get(j, 0, "format"), RECEIPT_FORMAT)
        || !has_strings(j, command, JSON_ARRAY, 2) || !has_strings(j, recipe, JSON_ARRAY, 1)
        || !has_strings(j, weights, JSON_OBJECT, 1)) {
        return fail(EX_DATAERR, "%s: not a receipt that this version of more knows", path);
    }
    const int diary = json_get(j, 0, "diary");
    int64_t every;
    if (diary >= 0 && (!json_integer(j, json_get(j, diary, "every"), &every) || every < 1
                       || every > INT_MAX)) {
        return fail(EX_DATAERR, "%s: its diary has lines every no number of steps", path);
    }
    if (json_equal(j, json_get(j, 0, "level"), "exact")) return 0;
    return fail(EX_DATAERR, "%s: not of the level exact: nobody promises its bits", path);
}

int receipt_recipe(Buffer *b, const Json *j) {
    const int recipe = json_get(j, 0, "recipe");
    for (int i = json_first(j, recipe); i >= 0; i = json_next(j, i)) {
        if (buffer_printf(b, "%s\n", json_string(j, i)) < 0) return -1;
    }
    return buffer_append(b, "", 0);
}

// Of the first line of the recipes that differs.  1: there is one; -1 after fail().
static int diff_recipes(const Json *x, const Json *y, const char *what) {
    Buffer a = {0}, b = {0};
    RecipeLine d;
    int result = -1;
    if (receipt_recipe(&a, x) < 0 || receipt_recipe(&b, y) < 0) goto done;
    result = recipe_difference(&d, a.data, b.data);
    if (result) {
        printf("%s: recipe: %.*s is %.*s and %.*s\n", what, d.name_length, d.name, d.value_length,
               d.value, d.other_length, d.other);
        goto done;
    }
    result = recipe_difference(&d, b.data, a.data);
    if (result) {
        printf("%s: recipe: %.*s is %.*s and %.*s\n", what, d.name_length, d.name, d.other_length,
               d.other, d.value_length, d.value);
    }
done:
    buffer_free(&a);
    buffer_free(&b);
    return result;
}

// Says the first field that differs: 1, or 0: none does; -1 after fail().
int diff_receipts(const Json *x, const Json *y, const char *what) {
    const char *p = json_string(x, json_get(x, 0, "numerics"));
    const char *q = json_string(y, json_get(y, 0, "numerics"));
    if (strcmp(p, q)) {
        printf("%s: numerics: %s and %s\n", what, p, q);
        return 1;
    }
    const int differs = diff_recipes(x, y, what);
    if (differs) return differs;
    const double m = json_number(x, json_get(x, 0, "steps"));
    const double n = json_number(y, json_get(y, 0, "steps"));
    if (m < n || m > n) {
        printf("%s: steps: %.0f and %.0f\n", what, m, n);
        return 1;
    }
    const int weights = json_get(x, 0, "weights"), others = json_get(y, 0, "weights");
    for (int i = json_first(x, weights); i >= 0; i = json_next(x, i)) {
        const char *other = json_string(y, json_get(y, others, json_key(x, i)));
        if (!strcmp(json_string(x, i), other)) continue;
        printf("%s: weights: sha256 of %s is %s and %s\n", what, json_key(x, i), json_string(x, i),
               *other ? other : "unknown");
        return 1;
    }
    return 0;
}

// ----------------------------------------------------------------------------------------- weights

// What of two stored tensors, or of all, differs.
typedef struct {
    size_t values, different;
    double most;                        // |a - b|
    double most_ulp;                    // units in the last place between them, of floats
    int is_nan;                         // yes: one of two is no number
} Difference;

// The values of a format in their order, so that neighbours are 1 apart.
static double place_of(const unsigned char *bytes, size_t size) {
    const uint64_t u = little_endian(bytes, size), sign = (uint64_t)1 << (8 * size - 1);
    return u & sign ? -(double)(u ^ sign) : (double)u;
}

// Two values, or blocks of values, of one format.
static void compare_blocks(Difference *d, Dtype dtype, const unsigned char *a,
                           const unsigned char *b) {
    const size_t n = dtype_block(dtype), size = dtype_size(dtype);
    float x[MAX_BLOCK] = {0}, y[MAX_BLOCK] = {0};
    d->values += n;
    if (!memcmp(a, b, size)) return;
    dtype_decode_block(dtype, x, a);
    dtype_decode_block(dtype, y, b);
    for (size_t i = 0; i < n; i++) {
        const double apart = fabs((double)x[i] - (double)y[i]);
        if (n > 1 && bits_of(x[i]) == bits_of(y[i])) continue;
        d->different++;
        if (isnan(apart)) d->is_nan = 1;
        if (apart > d->most) d->most = apart;
    }
    if (n > 1) return;
    const double ulp = fabs(place_of(a, size) - place_of(b, size));
    if (ulp > d->most_ulp) d->most_ulp = ulp;
}

// All values of two tensors of one format and shape.  0, or -1 after fail().
static int compare_tensors(Difference *d, const StoredTensor *s, const StoredTensor *t) {
    unsigned char a[CHUNK], b[CHUNK];
    const size_t per_chunk = CHUNK / s->size * s->size;
    for (uint64_t at = 0; at < s->end - s->begin; at += per_chunk) {
        const uint64_t left = s->end - s->begin - at;
        const size_t n = left < per_chunk ? (size_t)left : per_chunk;
        if (file_read_at(s->shard->fd, s->shard->path, a, n, s->begin + at) < 0) return -1;
        if (file_read_at(t->shard->fd, t->shard->path, b, n, t->begin + at) < 0) return -1;
        for (size_t i = 0; i < n; i += s->size) compare_blocks(d, s->dtype, a + i, b + i);
    }
    return 0;
}

static void print_apart(const Difference *d) {
    printf("%zu of %zu values differ, by at most %g", d->different, d->values, d->most);
    if (d->most_ulp > 0) printf(" and %.0f ulp", d->most_ulp);
    printf("%s\n", d->is_nan ? ", and some are no numbers" : "");
}

static const StoredTensor *tensor_of_name(const Weights *w, const char *name) {
    for (size_t i = 0; i < w->num_tensors; i++) {
        if (!strcmp(w->tensor_memory[i].name, name)) return &w->tensor_memory[i];
    }
    return NULL;
}

static int same_form(const StoredTensor *s, const StoredTensor *t) {
    if (s->dtype != t->dtype || s->size != t->size || s->dims != t->dims) return 0;
    return !memcmp(s->shape, t->shape, (size_t)s->dims * sizeof *s->shape);
}

// Says what differs: 1, or 0: nothing; -1 after fail().
static int diff_weights(const Weights *v, const Weights *w, const char *a, const char *b) {
    Difference all = {0};
    size_t tensors = 0;
    for (size_t i = 0; i < v->num_tensors; i++) {
        const StoredTensor *s = &v->tensor_memory[i], *t = tensor_of_name(w, s->name);
        Difference d = {0};
        if (!t) {
            printf("tensor %s: in %s alone\n", s->name, a);
            return 1;
        }
        if (!same_form(s, t)) {
            printf("tensor %s: not of one shape and number format\n", s->name);
            return 1;
        }
        if (compare_tensors(&d, s, t) < 0) return -1;
        if (d.different && !tensors) {
            printf("tensor %s: ", s->name);
            print_apart(&d);
        }
        tensors += d.different > 0;
        all.values += d.values;
        all.different += d.different;
        all.is_nan |= d.is_nan;
        all.most = fmax(all.most, d.most);
        all.most_ulp = fmax(all.most_ulp, d.most_ulp);
    }
    for (size_t i = 0; i < w->num_tensors; i++) {
        if (tensor_of_name(v, w->tensor_memory[i].name)) continue;
        printf("tensor %s: in %s alone\n", w->tensor_memory[i].name, b);
        return 1;
    }
    if (!tensors) return 0;
    printf("%zu of %zu tensors, ", tensors, v->num_tensors);
    print_apart(&all);
    return 1;
}

// Opens the weights of a folder, of an adapter's those alone, or of a file.  0, or -1 after fail();
// weights_close follows either.
static int open_weights(Weights *w, const char *path) {
    char file[PATH_SIZE], dir[PATH_SIZE] = ".";
    struct stat st;
    memset(w, 0, sizeof *w);
    const int is_gguf = gguf_find(file, path);
    if (is_gguf) return is_gguf < 0 ? -1 : gguf_weights(w, file);
    if (stat(path, &st) < 0) return fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        return is_there(path, ADAPTER_WEIGHTS) ? weights_open_one(w, path, ADAPTER_WEIGHTS)
                                               : weights_open(w, path);
    }
    const char *slash = strrchr(path, '/');
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    return weights_open_one(w, slash == path ? "/" : dir, slash ? slash + 1 : path);
}

static int diff_weight_files(const char *a, const char *b) {
    Weights v = {.num_shards = 0}, w = {.num_shards = 0};
    int result = open_weights(&v, a);
    if (result == 0) result = open_weights(&w, b);
    if (result == 0) result = diff_weights(&v, &w, a, b);
    weights_close(&v);
    weights_close(&w);
    return result;
}

// ------------------------------------------------------------------------------- diaries, receipts

static int diff_diaries(const char *a, const char *b) {
    Buffer x = {0}, y = {0};
    DiaryLine p, q;
    int result = -1;
    if (file_read(&x, a) < 0 || file_read(&y, b) < 0) goto done;
    result = diary_difference(x.data, y.data, &p, &q);
    if (result && strcmp(p.loss, q.loss)) {
        printf("diary: step %d is the first that differs: its loss has the bits %s and %s\n",
               p.step, p.loss, q.loss);
    } else if (result) {
        printf("diary: step %d is the first that differs: of the same loss, its weights have the "
               "checksums %s and %s\n", p.step, p.weights, q.weights);
    }
done:
    buffer_free(&x);
    buffer_free(&y);
    return result;
}

static int diff_receipt_files(const char *a, const char *b) {
    Json x = {0}, y = {0};
    int result = receipt_open(&x, a);
    if (result == 0) result = receipt_open(&y, b);
    if (result == 0) result = diff_receipts(&x, &y, "receipt");
    json_free(&x);
    json_free(&y);
    return result;
}

// Compares a file that both folders have; 0 where one has not.
static int diff_both(const char *a, const char *b, const char *name,
                     int (*diff)(const char *a, const char *b)) {
    char x[PATH_SIZE], y[PATH_SIZE];
    if (!is_there(a, name) || !is_there(b, name)) return 0;
    if (path_join(x, a, name) < 0 || path_join(y, b, name) < 0) return -1;
    return diff(x, y);
}

/* Compares what both folders have: receipts, diaries, weights, types.  What is said of types begins
 * with their name.  1: something differs; -1 after fail().                                       */
int diff_folders(const char *a, const char *b) {
    int differs = 0, types = 0;
    int result = diff_both(a, b, RECEIPT_NAME, diff_receipt_files);
    if (result > 0) differs = 1;
    if (result >= 0) result = diff_both(a, b, DIARY_NAME, diff_diaries);
    if (result > 0) differs = 1;
    for (int k = 1; result >= 0; k++) {
        char name[32];
        snprintf(name, sizeof name, "type-%d", k);
        if (!is_there(a, name) || !is_there(b, name)) break;
        printf("%s:\n", name);
        result = diff_both(a, b, name, diff_folders);
        if (result > 0) differs = 1;
        types = k;
    }
    if (result >= 0 && !types) result = diff_weight_files(a, b);
    if (result > 0) differs = 1;
    return result < 0 ? -1 : differs;
}

static int diff_paths(const char *a, const char *b) {
    struct stat st;
    if (stat(a, &st) == 0 && S_ISDIR(st.st_mode)) return diff_folders(a, b);
    if (name_ends_with(a, ".jsonl")) return diff_diaries(a, b);
    if (name_ends_with(a, ".json")) return diff_receipt_files(a, b);
    return diff_weight_files(a, b);
}

int command_diff(void) {
    if (opt.paths.n != 2) return fail(EX_USAGE, "two folders or files are needed: more diff A B");
    const char *a = opt.paths.item[0], *b = opt.paths.item[1];
    const int differs = diff_paths(a, b);
    if (differs > 0) return fail(EX_DIFFERS, "%s and %s differ", a, b);
    if (differs == 0) printf("%s and %s are the same\n", a, b);
    return differs;
}
#endif

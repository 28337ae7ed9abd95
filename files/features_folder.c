/* features_folder.c - a reward model of features as a folder.
 *
 *     config.json          {"model_type": "more_features", "feature_names": [...],
 *                           "feature_range": [[0, 5], ...], "feature_scale": [5, ...],
 *                           "layers": "6,4,2", "activations": ["tanh", ..., "none"],
 *                           "training": {...}}           how it was trained, to train it again
 *     model.safetensors    layers.0.weight (out, in), layers.0.bias (out), layers.1.weight, ..
 *
 * A range may have null for an end that it has not.  The folder may come from a stranger: all of it
 * is checked.                                                                                    */
#ifndef FEATURES_FOLDER_C
#define FEATURES_FOLDER_C
#include "../features.c"
#include "checkpoint.c"
#include <stddef.h>

int feature_folder_is(const char *dir);         // does its config.json say so?
int feature_folder_load(FeatureNet *net, FeatureFit *fit, const char *dir);     // fit may be NULL
int feature_folder_save(const FeatureNet *net, const FeatureFit *fit, const char *dir,
                        char sha256[65]);

// The numbers of a FeatureFit, as "training" names them.
typedef struct {
    const char *name;
    size_t offset;
    int is_whole;
} FitField;

#define FIT_REAL(field)  {.name = #field, .offset = offsetof(FeatureFit, field)}
#define FIT_WHOLE(field) {.name = #field, .offset = offsetof(FeatureFit, field), .is_whole = 1}
static const FitField fit_fields[] = {
    FIT_REAL(learning_rate), FIT_REAL(warmup_ratio), FIT_REAL(weight_decay),
    FIT_REAL(max_grad_norm), FIT_REAL(beta1), FIT_REAL(beta2), FIT_REAL(eps), FIT_REAL(epochs),
    FIT_WHOLE(rows), FIT_WHOLE(top), FIT_WHOLE(stop),
};
#undef FIT_REAL
#undef FIT_WHOLE
enum { NUM_FIT_FIELDS = sizeof fit_fields / sizeof *fit_fields };

// ----------------------------------------------------------------------------------------- writing

static int put_range(Buffer *b, double low, double high) {
    char ends[2][32] = {"null", "null"};
    if (low > -HUGE_VAL) snprintf(ends[0], 32, "%.17g", low);
    if (high < HUGE_VAL) snprintf(ends[1], 32, "%.17g", high);
    return buffer_printf(b, "[%s,%s]", ends[0], ends[1]);
}

static int put_training(Buffer *b, const FeatureFit *fit) {
    if (buffer_printf(b, ",\n  \"training\": {\"seed\": %llu", (unsigned long long)fit->seed) < 0) {
        return -1;
    }
    for (int i = 0; i < NUM_FIT_FIELDS; i++) {
        const FitField *field = &fit_fields[i];
        const char *at = (const char *)fit + field->offset;
        const double x = field->is_whole ? *(const int *)(const void *)at
                                         : *(const double *)(const void *)at;
        if (buffer_printf(b, ", \"%s\": %.17g", field->name, x) < 0) return -1;
    }
    return buffer_printf(b, "}");
}

static int features_config_text(Buffer *b, const FeatureNet *net, const FeatureFit *fit) {
    const FeatureNames *f = &net->features;
    if (buffer_printf(b, "{\n  \"architectures\": [\"MoreFeatureReward\"],\n"
                      "  \"model_type\": \"more_features\",\n") < 0) return -1;
    if (buffer_printf(b, "  \"feature_names\": [") < 0) return -1;
    for (int i = 0; i < f->n; i++) {
        if (buffer_printf(b, "%s", i ? "," : "") < 0) return -1;
        if (json_quote(b, f->name[i], strlen(f->name[i])) < 0) return -1;
    }
    if (buffer_printf(b, "],\n  \"feature_range\": [") < 0) return -1;
    for (int i = 0; i < f->n; i++) {
        if (buffer_printf(b, "%s", i ? "," : "") < 0) return -1;
        if (put_range(b, f->low[i], f->high[i]) < 0) return -1;
    }
    if (buffer_printf(b, "],\n  \"feature_scale\": [") < 0) return -1;
    for (int i = 0; i < f->n; i++) {
        if (buffer_printf(b, "%s%.17g", i ? "," : "", net->scale[i]) < 0) return -1;
    }
    if (buffer_printf(b, "],\n  \"layers\": \"%s\",\n  \"activations\": [", net->layout) < 0) {
        return -1;
    }
    for (int l = 0; l < net->layers; l++) {
        const char *unit = unit_names[net->unit[l]];
        if (buffer_printf(b, "%s\"%s\"", l ? "," : "", unit) < 0) return -1;
    }
    if (buffer_printf(b, "]") < 0) return -1;
    if (fit && put_training(b, fit) < 0) return -1;
    return buffer_printf(b, ",\n  \"torch_dtype\": \"float32\"\n}\n");
}

static int append_values(Buffer *b, const FeatureNet *net) {
    unsigned char bytes[4];
    for (size_t i = 0; i < net->num_weights; i++) {
        dtype_encode(F32, bytes, (float)net->weight[i]);
        if (buffer_append(b, bytes, sizeof bytes) < 0) return -1;
    }
    return 0;
}

// The header's lines of a layer, whose values begin at byte *at.
static int put_layer(Buffer *b, const FeatureNet *net, int l, size_t *at) {
    const int in = net->size[l], out = net->size[l + 1];
    const size_t bias = *at + 4 * (size_t)in * (size_t)out, end = bias + 4 * (size_t)out;
    if (buffer_printf(b, ",\"layers.%d.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
                      "\"data_offsets\":[%zu,%zu]}", l, out, in, *at, bias) < 0) return -1;
    if (buffer_printf(b, ",\"layers.%d.bias\":{\"dtype\":\"F32\",\"shape\":[%d],"
                      "\"data_offsets\":[%zu,%zu]}", l, out, bias, end) < 0) return -1;
    *at = end;
    return 0;
}

// model.safetensors as a whole.
static int features_weights_text(Buffer *b, const FeatureNet *net) {
    Buffer header = {0}, values = {0};
    Checksum sum;
    char checksum[CHECKSUM_TEXT];
    unsigned char length[8];
    size_t at = 0;
    int result = -1;
    if (append_values(&values, net) < 0) goto done;
    checksum_start(&sum);
    checksum_add(&sum, values.data, values.len);
    checksum_text(checksum, checksum_finish(&sum));
    if (buffer_printf(&header, "{\"__metadata__\":{\"format\":\"pt\",\"%s\":\"%s\"}",
                      WEIGHTS_CHECKSUM, checksum) < 0) goto done;
    for (int l = 0; l < net->layers; l++) {
        if (put_layer(&header, net, l, &at) < 0) goto done;
    }
    if (buffer_printf(&header, "}%*s", (int)(7 - header.len % 8), "") < 0) goto done;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header.len >> 8*i);
    if (buffer_append(b, length, sizeof length) < 0) goto done;
    if (buffer_append(b, header.data, header.len) < 0) goto done;
    if (buffer_append(b, values.data, values.len) < 0) goto done;
    result = 0;
done:
    buffer_free(&header);
    buffer_free(&values);
    return result;
}

// The network and how it was trained (fit may be NULL) to a folder; sha256 is that of
// model.safetensors.  0, or -1 after fail().
int feature_folder_save(const FeatureNet *net, const FeatureFit *fit, const char *dir,
                        char sha256[65]) {
    Buffer weights = {0}, config = {0};
    int result = -1;
    if (features_weights_text(&weights, net) < 0) goto done;
    if (features_config_text(&config, net, fit) < 0) goto done;
    sha256_hex(sha256, weights.data, weights.len);
    result = checkpoint_save_texts(dir, &weights, &config);
done:
    buffer_free(&weights);
    buffer_free(&config);
    return result;
}

// ----------------------------------------------------------------------------------------- reading

// 0 also where nothing can be read: whoever then opens it as another model says why.
int feature_folder_is(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    Json j = {0};
    int is = 0;
    if (path_join(path, dir, "") < 0 || stat(path, &st) < 0) return 0;
    if (folder_recover(dir) < 0 || path_join(path, dir, "config.json") < 0) return 0;
    if (stat(path, &st) == 0 && json_load(&j, path) == 0) {
        is = json_equal(&j, json_get(&j, 0, "model_type"), "more_features");
    }
    json_free(&j);
    return is;
}

static int read_scales(FeatureNet *net, const Json *j, const char *path) {
    const int list = json_get(j, 0, "feature_scale");
    int v = json_first(j, list);
    for (int i = 0; i < net->features.n; i++) {
        const double x = json_type(j, v) == JSON_NUMBER ? json_number(j, v) : 0;
        if (!(x > 0) || json_count(j, list) != net->features.n) {
            return fail(EX_DATAERR, "%s: \"feature_scale\" must be a list of %d positive numbers",
                        path, net->features.n);
        }
        net->scale[i] = x;
        v = json_next(j, v);
    }
    return 0;
}

static int read_activations(FeatureNet *net, const Json *j, const char *path) {
    const int list = json_get(j, 0, "activations");
    int v = json_first(j, list);
    for (int l = 0; l < net->layers; l++) {
        const int unit = json_type(j, v) == JSON_STRING
                         ? unit_find(json_string(j, v), json_length(j, v)) : -1;
        if (unit < 0 || json_count(j, list) != net->layers) {
            return fail(EX_DATAERR, "%s: \"activations\" must be a list of %d of tanh, relu, "
                        "sigmoid and none", path, net->layers);
        }
        net->unit[l] = (Unit)unit;
        v = json_next(j, v);
    }
    return 0;
}

// How it was trained; where it is not said, all is 0, rows too.
static int read_training(FeatureFit *fit, const Json *j, const char *path) {
    const int object = json_get(j, 0, "training");
    int64_t seed = 0;
    *fit = (FeatureFit){.seed = 0};
    if (object < 0) return 0;
    if (json_integer(j, json_get(j, object, "seed"), &seed)) fit->seed = (uint64_t)seed;
    for (int i = 0; i < NUM_FIT_FIELDS; i++) {
        const FitField *field = &fit_fields[i];
        const int v = json_get(j, object, field->name);
        char *at = (char *)fit + field->offset;
        const double x = json_type(j, v) == JSON_NUMBER ? json_number(j, v) : 0;
        if (!(x >= 0 && x <= INT_MAX)) {
            return fail(EX_DATAERR, "%s: \"training\": \"%s\" is out of range", path, field->name);
        }
        if (field->is_whole) *(int *)(void *)at = (int)x;
        else *(double *)(void *)at = x;
    }
    if (fit->rows >= 1) return 0;
    return fail(EX_DATAERR, "%s: \"training\": \"rows\" is out of range", path);
}

// An empty network as config.json describes it.
static int features_config_read(FeatureNet *net, FeatureFit *fit, const Json *j,
                                const char *path) {
    FeatureNames f = feature_names_none();
    const int range = json_get(j, 0, "feature_range"), layers = json_get(j, 0, "layers");
    if (feature_names_read(&f, j, json_get(j, 0, "feature_names"), path) < 0) return -1;
    if (range >= 0 && feature_range_read(&f, j, range, path) < 0) return -1;
    const char *layout = json_string(j, layers);
    if (json_type(j, layers) != JSON_STRING || strlen(layout) != json_length(j, layers)) {
        return fail(EX_DATAERR, "%s: \"layers\" must be a string, as --layers has it", path);
    }
    if (feature_net_init(net, &f, layout, NULL) < 0) {
        error_code = EX_DATAERR;
        return -1;
    }
    if (read_scales(net, j, path) < 0 || read_activations(net, j, path) < 0) return -1;
    return fit ? read_training(fit, j, path) : 0;
}

// A tensor of this name and so many numbers, to out.
static int features_tensor_read(double *out, const Weights *w, const char *name, int rows, int cols,
                                const char *dir) {
    const StoredTensor *t = w->tensor_memory, *end = t + w->num_tensors;
    while (t < end && strcmp(t->name, name) != 0) t++;
    if (t == end) {
        return fail(EX_DATAERR, "%s: no tensor %s, which config.json asks for", dir, name);
    }
    const int fits = t->dims == (cols ? 2 : 1) && t->shape[0] == (uint64_t)rows
                     && (!cols || t->shape[1] == (uint64_t)cols);
    if (!fits || t->dtype == OTHER) {
        return fail(EX_DATAERR, "%s: tensor %s has not the shape and numbers that config.json asks "
                    "for", dir, name);
    }
    const size_t n = (size_t)rows * (size_t)max_int(cols, 1);
    unsigned char *bytes = allocate(n, t->size);
    int result = -1;
    if (!bytes) return -1;
    if (file_read_at(t->shard->fd, t->shard->path, bytes, n * t->size, t->begin) < 0) goto done;
    for (size_t i = 0; i < n; i++) {
        out[i] = dtype_decode(t->dtype, bytes + i * t->size);
        if (isfinite(out[i])) continue;
        fail(EX_DATAERR, "%s: tensor %s has a value that is not finite", dir, name);
        goto done;
    }
    result = 0;
done:
    free(bytes);
    return result;
}

static int features_weights_read(FeatureNet *net, const char *dir) {
    Weights w;
    double *at = net->weight;
    int result = -1;
    if (weights_open(&w, dir) < 0) goto done;
    if (w.num_tensors != (size_t)(2 * net->layers)) {
        fail(EX_DATAERR, "%s: %zu tensors; config.json asks for %d", dir, w.num_tensors,
             2 * net->layers);
        goto done;
    }
    for (int l = 0; l < net->layers; l++) {
        const int in = net->size[l], out = net->size[l + 1];
        char name[64];
        snprintf(name, sizeof name, "layers.%d.weight", l);
        if (features_tensor_read(at, &w, name, out, in, dir) < 0) goto done;
        at += in * out;
        snprintf(name, sizeof name, "layers.%d.bias", l);
        if (features_tensor_read(at, &w, name, out, 0, dir) < 0) goto done;
        at += out;
    }
    result = weights_check(&w);
done:
    weights_close(&w);
    return result;
}

// 0, or -1 after fail(); feature_net_free follows either.
int feature_folder_load(FeatureNet *net, FeatureFit *fit, const char *dir) {
    char path[PATH_SIZE];
    Json j = {0};
    int result = -1;
    *net = (FeatureNet){.layers = 0};
    if (config_folder(dir) < 0 || folder_recover(dir) < 0) goto done;
    if (path_join(path, dir, "config.json") < 0 || json_load(&j, path) < 0) goto done;
    if (!json_equal(&j, json_get(&j, 0, "model_type"), "more_features")) {
        fail(EX_DATAERR, "%s: not a reward model of features, as train features writes it", dir);
        goto done;
    }
    if (features_config_read(net, fit, &j, path) < 0) goto done;
    result = features_weights_read(net, dir);
done:
    json_free(&j);
    return result;
}
#endif

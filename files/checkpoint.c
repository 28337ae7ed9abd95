/* checkpoint.c - Hugging Face model folders: loading and saving.
 *
 * What is read may come from a stranger: every field, name, shape and offset is checked before it
 * is used.  The tensors and where their values are: entries.c.                                   */
#ifndef CHECKPOINT_C
#define CHECKPOINT_C

#include "beside.c"
#include "checksum.c"
#include "config.c"
#include "entries.c"
#include "file.c"
#include "gguf.c"
#include "json.c"
#include "safetensors.c"

// What checkpoint_load is to make of a folder
enum {
    LOAD_LANGUAGE_MODEL = -1,           // a reward model is an error
    LOAD_AS_STORED = 0,
    LOAD_REWARD_MODEL = 1,              // a language model gets a head of zeros
};

// a folder or a GGUF file to a model, and back
int checkpoint_load(Model *m, const char *dir, int kind);
int checkpoint_load_as(Model *m, const char *dir, int kind, const LoraOptions *lora, int narrow);
int checkpoint_settle_narrow(Config *c, const char *dir, int kind);
int checkpoint_load_adapter(Model *m, const char *dir);

// its tensors as they are stored, without a model in memory
typedef struct {
    const char *name;
    size_t n;
    double rms;                         // root mean square
    float low, high;
} TensorNumbers;
typedef void ShowTensor(const TensorNumbers *t);
int checkpoint_look(const char *dir, ShowTensor *show);

// back
int checkpoint_save(const Model *m, const char *dir, const SmallFiles *beside, const char *dtype,
                    char sha256[65]);
int checkpoint_ask(const Model *m, const char *dir, const SmallFiles *beside, const char *dtype);
int checkpoint_fits(const Model *m, const char *dtype);
const char *checkpoint_weights(const Config *c);            // the name of the file with the weights
int checkpoint_save_texts(const char *dir, const Buffer *weights, const Buffer *config);

// -------------------------------------------------------------------------------- reading a folder

static void shape_text(char text[200], const uint64_t *shape, int dims) {
    int n = snprintf(text, 200, "[");
    for (int i = 0; i < dims; i++) {
        n += snprintf(text + n, 200 - (size_t)n, i ? ",%" PRIu64 : "%" PRIu64, shape[i]);
    }
    snprintf(text + n, 200 - (size_t)n, "]");
}

static int is_output(const char *name) {
    static const char *const names[] = {"lm_head.weight", "embed_out.weight", "output.weight"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (!strcmp(names[k], name)) return 1;
    }
    return 0;
}

// May this tensor stay unread?  Old files hold constants, and tied models the embedding once more.
static int is_harmless(const char *name, const Config *c) {
    static const char *const constants[] = {
        ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
        "rotary_emb.inv_freq", "rope_freqs.weight",
    };
    for (size_t k = 0; k < sizeof constants / sizeof *constants; k++) {
        if (name_ends_with(name, constants[k])) return 1;
    }
    return is_output(name) && (c->tied || c->reward);
}

/* What other programs leave in the names of tensors, and what then helps.  "score.weight" is none
 * of a language model. */
static const char of_adapter[] = "an adapter's: merge it (merge_and_unload) and save the whole";
static const char of_quantized[] = "of quantized weights: save the model again after dequantize()";
static const char of_value_head[] =
    "a head beside a language model: remove it, or make the folder a classifier's, with it as "
    "score.weight and \"num_labels\": 1";
static const struct { const char *mark, *remedy; } left_over[] = {
    {"lora_", of_adapter},
    {"base_layer.", of_adapter},
    {"base_model.model.", of_adapter},
    {"_orig_mod.", "of a compiled model: save its _orig_mod"},
    {"module.", "of a model that was wrapped for several devices: save its module"},
    {"qweight", of_quantized},
    {"qzeros", of_quantized},
    {"g_idx", of_quantized},
    {"scale", of_quantized},
    {"absmax", of_quantized},
    {"v_head.", of_value_head},
    {"value_head.", of_value_head},
    {"reward_head.", of_value_head},
    {"score.weight", "a reward head: \"architectures\" must name a ...ForSequenceClassification, "
     "\"num_labels\" be 1"},
    {"language_model.", "of a model of images and texts: save its language model alone"},
    {"vision", "of a model of images and texts: save its language model alone"},
};

// The remedy for a tensor that is left over, or "".
static const char *remedy_of(const char *name) {
    for (size_t k = 0; k < sizeof left_over / sizeof *left_over; k++) {
        if (strstr(name, left_over[k].mark)) return left_over[k].remedy;
    }
    return "";
}

// Takes t, the i-th stored tensor, for an entry, if it is what the entry asks for.
static int entry_match(Entry *entry, const StoredTensor *t, size_t i) {
    uint64_t shape[2] = {entry->rows, entry->cols};
    int dims = entry->cols ? 2 : 1;
    const char *path = t->shard->path;
    if (entry->source >= 0) {
        return fail(EX_DATAERR, "%s: tensor %.100s is there twice", path, t->name);
    }
    if (t->dims != dims || memcmp(t->shape, shape, (size_t)dims * sizeof *shape)) {
        char have[200], want[200];
        shape_text(have, t->shape, t->dims);
        shape_text(want, shape, dims);
        return fail(EX_DATAERR, "%s: tensor %.100s has shape %s, %s asks for %s", path,
                    t->name, have, gguf_names(path) ? "the file's metadata" : "config.json", want);
    }
    if (t->dtype == OTHER) {
        return fail(EX_DATAERR, "%s: tensor %.100s is not F32, F16, BF16 or F64; of quantized "
                    "weights save the model again after dequantize()", path, t->name);
    }
    entry->source = (int)i;
    return 0;
}

// The entry of a stored tensor, with or without the base model's prefix; or NULL.
static Entry *entry_of(const Entries *e, const StoredTensor *t) {
    Entry *entry = entry_find(e, "", t->name);
    if (entry) return entry;
    return entry_find(e, families[e->config->family].prefix, t->name);     // the base model alone
}

static Entry *embedding_entry(const Entries *e, const Params *p) {
    size_t i = 0;
    while (e->entry_memory[i].tensor != &p->wte) i++;
    return &e->entry_memory[i];
}

// Have two tensors of one shape the same values?  1, 0, or -1 after fail().
static int stored_equal(const StoredTensor *a, const StoredTensor *b) {
    unsigned char x[1 << 14], y[1 << 14];
    const size_t per_chunk = sizeof x / max_size(a->size, b->size);
    const size_t n = (size_t)(a->end - a->begin) / a->size;
    const int blocks = dtype_block(a->dtype) > 1 || dtype_block(b->dtype) > 1;
    if (blocks && a->dtype != b->dtype) return 0;
    if (a->dims != b->dims || memcmp(a->shape, b->shape, sizeof a->shape)) return 0;
    if (a->dtype == OTHER || b->dtype == OTHER) return 0;
    for (size_t first = 0; first < n; first += per_chunk) {
        const size_t k = n - first < per_chunk ? n - first : per_chunk;
        const uint64_t at = a->begin + first * a->size, bt = b->begin + first * b->size;
        if (file_read_at(a->shard->fd, a->shard->path, x, k * a->size, at) < 0) return -1;
        if (file_read_at(b->shard->fd, b->shard->path, y, k * b->size, bt) < 0) return -1;
        if (blocks && memcmp(x, y, k * a->size)) return 0;
        for (size_t i = 0; i < k && !blocks; i++) {
            const float u = dtype_decode(a->dtype, x + i * a->size);
            const float v = dtype_decode(b->dtype, y + i * b->size);
            if (u != v) return 0;
        }
    }
    return 1;
}

/* config.json says that the output matrix is the embedding.  The weights may know better: another
 * output matrix among them is used, and c is tied no longer; if there is one of the two, under
 * whichever name, it is both.  `embedding` is its entry.  0, or -1 after fail().                 */
static int settle_output(Config *c, const Entries *e, Entry *embedding, const Weights *w) {
    const StoredTensor *in = NULL, *out = NULL;
    if (!c->tied) return 0;
    for (size_t i = 0; i < w->num_tensors; i++) {
        const StoredTensor *t = &w->tensor_memory[i];
        if (entry_of(e, t) == embedding) in = t;
        if (is_output(t->name)) out = t;
    }
    if (!in && out) return entry_match(embedding, out, (size_t)(out - w->tensor_memory));
    if (!in || !out || c->reward) return 0;
    const int equal = stored_equal(in, out);
    if (equal < 0) return -1;
    c->tied = equal;
    return 0;
}

// Finds each entry's tensor.  Nothing but `optional` may be missing, nothing may be left over.
static int entries_match(Entries *e, const Weights *w, const char *dir, const char *optional) {
    const FamilyNames *family = &families[e->config->family];
    for (size_t i = 0; i < w->num_tensors; i++) {
        const StoredTensor *t = &w->tensor_memory[i];
        Entry *entry = entry_of(e, t);
        if (!entry && is_harmless(t->name, e->config)) continue;
        if (!entry) {
            const char *remedy = remedy_of(t->name);
            const char *by = gguf_names(t->shard->path) ? "the file's metadata" : "config.json";
            return fail(EX_DATAERR, "%s: tensor %.100s is none of a %s model as %s describes "
                        "it%s%s", t->shard->path, t->name, family->architecture, by,
                        *remedy ? ": " : "", remedy);
        }
        if (entry_match(entry, t, i) < 0) return -1;
    }
    for (size_t i = 0; i < e->n; i++) {
        const Entry *entry = &e->entry_memory[i];
        if (entry->source >= 0 || !strcmp(entry->name, optional)) continue;
        return fail(EX_DATAERR, "%s: tensor %s is missing from the weights", dir, entry->name);
    }
    return 0;
}

// The values x (n), stored from number `first` on, must be finite.  0, or -1 after fail().
static int stored_check_finite(const StoredTensor *t, size_t first, const float *x, size_t n) {
    int bad = 0;
    for (size_t k = 0; k < n; k++) bad |= (bits_of(x[k]) & 0x7f800000) == 0x7f800000;
    if (!bad) return 0;
    size_t k = 0;
    while (fabsf(x[k]) <= FLT_MAX) k++;
    return fail(EX_DATAERR, "%s: tensor %s: value %zu is %s", t->shard->path, t->name, first + k,
                isnan(x[k]) ? "not a number" : "infinite, or beyond a float");
}

// x(n): the stored values from number `first` on, at the start of a block, which must be finite;
// bytes: the same as they are stored.  0, or -1 after fail().
static int stored_values(const StoredTensor *t, size_t first, size_t n, unsigned char *bytes,
                         float *x) {
    const uint64_t at = t->begin + first / dtype_block(t->dtype) * t->size;
    const size_t size = dtype_row_size(t->dtype, n);
    if (file_read_at(t->shard->fd, t->shard->path, bytes, size, at) < 0) return -1;
    dtype_decode_values(t->dtype, x, bytes, n);
    return stored_check_finite(t, first, x, n);
}

// Reads the stored values, piece by piece, and puts them where ours are.  0, or -1 after fail().
static int entry_read(const Entry *e, const StoredTensor *t) {
    const size_t piece = entry_piece(e);
    unsigned char *bytes = allocate(dtype_row_size(t->dtype, piece), 1);
    float *x = allocate(2 * piece, sizeof *x);
    int result = -1;
    if (!bytes || !x) goto done;
    for (size_t first = 0; first < e->n; first += piece) {
        const size_t n = e->n - first < piece ? e->n - first : piece;
        if (stored_values(t, first, n, bytes, x) < 0) goto done;
        if (e->bytes) entry_put_narrow(e, t->dtype, first, bytes, n);
        else entry_put(e, first, x, n, x + piece);
    }
    result = 0;
done:
    free(bytes);
    free(x);
    return result;
}

// The files of a whole model, and which of their tensors becomes what.
typedef struct {
    Config c;
    Weights w;
    Entries e;
    int *status;                        // of each entry that is read: 0, or -1 after fail()
} Whole;

static void whole_close(Whole *x) {
    weights_close(&x->w);
    free(x->e.entry_memory);
    free(x->status);
}

// Opens the folder dir, which is no adapter's, or a GGUF file for a model with these parameters:
// all that the files say is checked before memory is taken.  0, or -1 after fail(); whole_close
// follows either.
static int whole_open(Whole *x, const Params *p, const char *dir, int kind) {
    char gguf[PATH_SIZE];
    *x = (Whole){.w = {.num_shards = 0}};
    if (config_load(&x->c, dir) < 0) return -1;
    const int is_gguf = gguf_find(gguf, dir);
    if (is_gguf < 0) return -1;
    if (kind == LOAD_LANGUAGE_MODEL && x->c.reward) {
        return fail(EX_DATAERR, "%s: a reward model, which predicts no tokens: give the language "
                    "model it was trained from", dir);
    }
    const char *optional = "";                      // a language model has no head: it stays zero
    if (kind == LOAD_REWARD_MODEL && !x->c.reward) optional = "score.weight";
    if (kind == LOAD_REWARD_MODEL) x->c.reward = 1;
    const int tied = x->c.tied;

    if (entries_init(&x->e, &x->c, p) < 0) return -1;
    if (is_gguf) entries_as_gguf(&x->e, &x->c);
    if ((is_gguf ? gguf_weights(&x->w, gguf) : weights_open(&x->w, dir)) < 0) return -1;
    if (settle_output(&x->c, &x->e, embedding_entry(&x->e, p), &x->w) < 0) return -1;
    if (tied && !x->c.tied) {
        free(x->e.entry_memory);
        if (entries_init(&x->e, &x->c, p) < 0) return -1;
        if (is_gguf) entries_as_gguf(&x->e, &x->c);
    }
    return entries_match(&x->e, &x->w, dir, optional);
}

// The tensor of the files for an entry, or NULL.
static const StoredTensor *whole_source(const Whole *x, const Entry *e) {
    return e->source < 0 ? NULL : &x->w.tensor_memory[e->source];
}

// An entry's rows as they are in our memory, and the numbers of one.
static size_t entry_rows(const Entry *e) { return e->layout == TRANSPOSED ? e->cols : e->rows; }
static size_t entry_width(const Entry *e) { return e->layout == TRANSPOSED ? e->rows : e->cols; }

// Is it of a matrix of which NarrowParams has one?
static int entry_may_be_narrow(const Entry *e, const Params *p) {
    return e->cols > 0 && e->tensor != &p->head && e->tensor != &p->wpe;
}

/* The matrices stay narrow, if those of the files are: c.narrow_bytes.  A file of floats alone
 * would gain nothing; one with doubles is read as floats. */
static void whole_settle_narrow(Whole *x, const Params *p) {
    size_t bytes = 0;
    int is_narrow = 0;
    x->c.narrow_bytes = 0;
    for (size_t i = 0; i < x->e.n; i++) {
        const Entry *e = &x->e.entry_memory[i];
        if (!entry_may_be_narrow(e, p)) continue;
        const Dtype dtype = whole_source(x, e)->dtype;
        if (dtype == F64) return;
        if (dtype != F32) is_narrow = 1;
        bytes += entry_rows(e) * dtype_row_size(dtype, entry_width(e));
    }
    if (is_narrow) x->c.narrow_bytes = bytes;
}

// Gives each entry of a narrow matrix of m its bytes.  The parts of a matrix stand in the order of
// their rows.
static void whole_place_narrow(Whole *x, Model *m) {
    unsigned char *bytes = m->narrow_memory;
    entries_find_narrow(&x->e, m);
    for (size_t i = 0; i < x->e.n; i++) {
        Entry *e = &x->e.entry_memory[i];
        Narrow *narrow = model_narrow(m, e->tensor);
        if (!narrow) continue;
        const Dtype dtype = whole_source(x, e)->dtype;
        int part = 0;
        for (const Entry *o = x->e.entry_memory; o < x->e.entry_memory + x->e.n; o++) {
            part += o->tensor == e->tensor && o->offset < e->offset;
        }
        narrow->part[part].rows = (int)entry_rows(e);
        narrow->part[part].dtype = dtype;
        narrow->part[part].bytes = bytes;
        e->bytes = bytes;
        bytes += entry_rows(e) * dtype_row_size(dtype, entry_width(e));
    }
}

// ParallelTask: reads an entry.
static void whole_read_task(void *context, int i, int thread) {
    const Whole *x = context;
    const Entry *e = &x->e.entry_memory[i];
    const StoredTensor *t = whole_source(x, e);
    (void)thread;
    x->status[i] = t ? entry_read(e, t) : 0;
}

// Reads all entries, a thread each; a GPU's memory is written by one alone.  0, or -1 after fail().
static int whole_read(Whole *x) {
    const size_t numbers = isfinite(kernels_memory()) ? 0 : model_num_params(&x->c);
    x->status = allocate(x->e.n, sizeof *x->status);
    if (!x->status) return -1;
    const int code = error_code;
    error_code = ERROR_UNHEARD;
    kernels_parallel((int)x->e.n, numbers, whole_read_task, x);
    error_code = code;

    // threads may have failed at one time: what failed first in the list says so alone
    for (size_t i = 0; i < x->e.n; i++) {
        if (x->status[i] < 0) whole_read_task(x, (int)i, 0);
        if (x->status[i] < 0) return -1;
    }
    return 0;
}

/* A model from the folder dir, which is no adapter's, or a GGUF file; with adapters as lora asks
 * for, zeros at first; narrow: its matrices stay as the file has them.  0, or -1 after fail(), and
 * then there is no model to free.                                                                */
static int load_whole_model(Model *m, const char *dir, int kind, const LoraOptions *lora,
                            int narrow) {
    Whole x;
    int result = -1;
    memset(m, 0, sizeof *m);
    if (whole_open(&x, &m->params, dir, kind) < 0) goto done;
    if (narrow) whole_settle_narrow(&x, &m->params);
    if (adapter_settle(&x.c, lora) < 0) goto done;
    if (model_init(m, x.c) < 0) goto done;
    whole_place_narrow(&x, m);
    if (whole_read(&x) < 0) goto done;
    result = weights_check(&x.w);
done:
    if (result < 0 && m->params_memory) model_free(m);
    whole_close(&x);
    return result;
}

// Sets c->narrow_bytes to what checkpoint_load_as would have of the folder dir, without reading
// weights.  0, or -1 after fail().
int checkpoint_settle_narrow(Config *c, const char *dir, int kind) {
    char base[PATH_SIZE];
    const int is_adapter = config_base(base, dir);
    c->narrow_bytes = 0;
    if (is_adapter) return is_adapter < 0 ? -1 : 0;
    Params *p = allocate(1, sizeof *p);
    if (!p) return -1;
    Whole x;
    const int result = whole_open(&x, p, dir, kind);
    if (result == 0) {
        whole_settle_narrow(&x, p);
        c->narrow_bytes = x.c.narrow_bytes;
    }
    whole_close(&x);
    free(p);
    return result;
}

// -------------------------------------------------------------------------------- merging adapters

static const char adapter_prefix[] = "base_model.model.";

// A stored matrix of an adapter, its rows as ours.
typedef struct {
    const StoredTensor *stored;
    int rows, cols;
    real *values;                       // (rows, cols)
} Factor;

static const StoredTensor *stored_find(const Weights *w, const char *name) {
    for (size_t i = 0; i < w->num_tensors; i++) {
        if (!strcmp(w->tensor_memory[i].name, name)) return &w->tensor_memory[i];
    }
    return NULL;
}

// Reads a matrix whose rows stand in that layout to ours.  0, or -1 after fail().
static int factor_read(Factor *f, const Entry *of, Layout layout) {
    Entry e = {.rows = (size_t)f->rows, .cols = (size_t)f->cols, .layout = layout,
               .n = (size_t)f->rows * (size_t)f->cols, .tensor = &f->values, .heads = of->heads,
               .head_dim = of->head_dim, .source = -1};
    if (entry_match(&e, f->stored, 0) < 0) return -1;
    if (!*of->tensor) return 0;                     // there is no model: it is only looked at
    f->values = kernels_alloc(e.n);
    return f->values ? entry_read(&e, f->stored) : -1;
}

/* W = W + s B A, in our layout: row o of B A is the sum of B[o][k] (row k of A), k from 0 to r - 1,
 * each term added by one fused multiply-add, from +0.  0, or -1 after fail().                    */
static int merge_product(real *w, const Factor *a, const Factor *b, double scale) {
    const int r = b->cols, inputs = a->cols;
    real *row = kernels_alloc((size_t)inputs), *factor = allocate((size_t)r, sizeof *factor);
    int result = -1;
    if (!row || !factor) goto done;
    for (int o = 0; o < b->rows; o++) {
        kernels_read(factor, b->values + (size_t)o * (size_t)r, (size_t)r);
        kernels_zero(row, (size_t)inputs);
        for (int k = 0; k < r; k++) {
            const real *of_a = a->values + (size_t)k * (size_t)inputs;
            scaled_add(row, inputs, of_a, inputs, factor[k], 1, inputs);
        }
        real *to = w + (size_t)o * (size_t)inputs;
        scaled_add(to, inputs, row, inputs, (real)(float)scale, 1, inputs);
    }
    result = 0;
done:
    kernels_free(row);
    free(factor);
    return result;
}

// The matrix whose lora_A is the stored tensor a becomes W + s B A.  0, or -1 after fail().
static int merge_matrix(const Entries *e, const Weights *w, const StoredTensor *a,
                        const AdapterSettings *s) {
    const char *name = a->name + strlen(adapter_prefix);
    const size_t n = strlen(name) - strlen("lora_A.weight");
    char b_name[200], matrix[200];
    int result = -1;
    snprintf(b_name, sizeof b_name, "%s%.*slora_B.weight", adapter_prefix, (int)n, name);
    snprintf(matrix, sizeof matrix, "%.*sweight", (int)n, name);
    const Entry *entry = entry_find(e, "", matrix);
    const StoredTensor *b = stored_find(w, b_name);
    if (!b) return stored_fail(a, "has no lora_B beside it");
    if (!entry || !entry->cols) return stored_fail(a, "is of no matrix of the base model");
    if (a->dims != 2 || a->shape[0] < 1 || a->shape[0] > 1 << 16) {
        return stored_fail(a, "must have the shape [r, inputs], r from 1 to 65536");
    }
    const int r = (int)a->shape[0];
    if (s->r && r != s->r) {
        return stored_fail(a, "has another rank than \"r\" of adapter_config.json");
    }
    const int turned = entry->layout == TRANSPOSED;
    const int rows = (int)(turned ? entry->cols : entry->rows);
    const int inputs = (int)(turned ? entry->rows : entry->cols);
    Factor fa = {.stored = a, .rows = r, .cols = inputs};
    Factor fb = {.stored = b, .rows = rows, .cols = r};
    if (factor_read(&fa, entry, AS_IS) < 0) goto done;
    if (factor_read(&fb, entry, turned ? AS_IS : entry->layout) < 0) goto done;
    result = 0;
    if (!*entry->tensor) goto done;
    result = merge_product(*entry->tensor + entry->offset, &fa, &fb, adapter_scale(s, r));
done:
    kernels_free(fa.values);
    kernels_free(fb.values);
    return result;
}

// One stored tensor of an adapter: a lora_A with its lora_B, or what takes the place of the base
// model's.  0, or -1 after fail().
static int merge_tensor(const Entries *e, const Weights *w, const StoredTensor *t,
                        const AdapterSettings *s) {
    const size_t prefix = strlen(adapter_prefix);
    char a_name[200];
    if (strlen(t->name) >= sizeof a_name || strncmp(t->name, adapter_prefix, prefix)) {
        return stored_fail(t, "is none of an adapter: its name must begin with base_model.model.");
    }
    if (name_ends_with(t->name, ".lora_A.weight")) return merge_matrix(e, w, t, s);
    if (name_ends_with(t->name, ".lora_B.weight")) {
        const int n = (int)(strlen(t->name) - strlen("lora_B.weight"));
        snprintf(a_name, sizeof a_name, "%.*slora_A.weight", n, t->name);
        return stored_find(w, a_name) ? 0 : stored_fail(t, "has no lora_A beside it");
    }
    Entry *entry = entry_find(e, "", t->name + prefix);
    if (!entry) return stored_fail(t, "is none of the base model's; merge the adapter "
                                   "(merge_and_unload) and save the whole");
    if (entry_match(entry, t, 0) < 0) return -1;
    return *entry->tensor ? entry_read(entry, t) : 0;
}

// The adapter in the folder dir becomes a part of its base model m, or is only checked, where m has
// no memory; brings_head: it must have the reward head.  0, or -1 after fail().
static int merge_adapter(Model *m, const char *dir, int brings_head) {
    AdapterSettings settings;
    Entries e = {.n = 0};
    Weights w = {.num_shards = 0};
    int result = -1;
    if (adapter_settings(&settings, dir) < 0) return -1;
    if (!is_there(dir, ADAPTER_WEIGHTS)) {
        return fail(EX_NOINPUT, "%s: an adapter without %s; weights in another format must be "
                    "saved again with save_pretrained", dir, ADAPTER_WEIGHTS);
    }
    if (entries_init(&e, &m->config, &m->params) < 0) goto done;
    if (weights_open_one(&w, dir, ADAPTER_WEIGHTS) < 0) goto done;
    for (size_t i = 0; i < w.num_tensors; i++) {
        if (merge_tensor(&e, &w, &w.tensor_memory[i], &settings) < 0) goto done;
    }
    if (brings_head && !stored_find(&w, "base_model.model.score.weight")) {
        fail(EX_DATAERR, "%s: no score.weight in %s, nor in the base model", dir, ADAPTER_WEIGHTS);
        goto done;
    }
    result = weights_check(&w);
done:
    weights_close(&w);
    free(e.entry_memory);
    return result;
}

// The configurations of an adapter's folder and of its base model.  0, or -1 after fail().
static int merged_configs(Config *c, Config *of_base, const char *dir, const char *base) {
    if (is_there(dir, "model.safetensors") || is_there(dir, "model.safetensors.index.json")) {
        return fail(EX_DATAERR, "%s: adapter_config.json stands beside the weights of a whole "
                    "model; remove what is not to be used", dir);
    }
    if (config_load(c, dir) < 0) return -1;
    return config_load(of_base, base);
}

// The base model of an adapter and the adapter, merged; which tokens end a text, and where a reward
// is read, says its own more_config.json, if it has one.
static int load_merged_model(Model *m, const char *dir, const char *base, int kind) {
    Config c, of_base;
    const LoraOptions none = {.r = 0};
    if (merged_configs(&c, &of_base, dir, base) < 0) return -1;
    if (kind == LOAD_LANGUAGE_MODEL && c.reward) {
        return fail(EX_DATAERR, "%s: a reward model, which predicts no tokens: give the language "
                    "model it was trained from", dir);
    }
    if (c.reward) kind = LOAD_REWARD_MODEL;
    if (load_whole_model(m, base, kind, &none, 0) < 0) return -1;
    m->config.pooling = c.pooling;
    m->config.temperature = c.temperature;
    m->config.isotonic = c.isotonic;
    m->config.bos = c.bos;
    m->config.eos = c.eos;
    m->config.pad = c.pad;
    m->config.num_more_eos = c.num_more_eos;
    memcpy(m->config.more_eos, c.more_eos, sizeof c.more_eos);
    if (merge_adapter(m, dir, c.reward && !of_base.reward) == 0) return 0;
    model_free(m);
    return -1;
}

/* A model from the folder dir, whole or an adapter's, or from a GGUF file.  With lora->r the model
 * gets adapters of its own, zeros at first; they need a folder or file that is whole, because
 * whoever loads them must find their base model there.  narrow: the matrices of a whole model stay
 * in 16 bits or less, if the file has them so, and cannot be trained.  0, or -1 after fail(), and
 * then there is no model to free.                                                                */
int checkpoint_load_as(Model *m, const char *dir, int kind, const LoraOptions *lora, int narrow) {
    char base[PATH_SIZE];
    const int is_adapter = config_base(base, dir);
    memset(m, 0, sizeof *m);
    if (is_adapter < 0) return -1;
    if (!is_adapter) return load_whole_model(m, dir, kind, lora, narrow);
    if (lora->r) {
        return fail(EX_USAGE, "%s: an adapter, and --lora_r would train another over it; merge it "
                    "first: more export --model %s --out FOLDER", dir, dir);
    }
    return load_merged_model(m, dir, base, kind);
}

/* The adapters of m, and its reward head, become those that a run over the same base model has
 * saved in the folder dir.  0, or -1 after fail().                                               */
int checkpoint_load_adapter(Model *m, const char *dir) {
    Entries e = {.n = 0};
    Weights w = {.num_shards = 0};
    int result = -1;
    if (entries_init_saved(&e, m) < 0) goto done;
    if (weights_open_one(&w, dir, ADAPTER_WEIGHTS) < 0) goto done;
    if (entries_match(&e, &w, dir, "") < 0) goto done;
    for (size_t i = 0; i < e.n; i++) {
        const Entry *to = &e.entry_memory[i];
        if (entry_read(to, &w.tensor_memory[to->source]) < 0) goto done;
    }
    result = weights_check(&w);
done:
    weights_close(&w);
    free(e.entry_memory);
    return result;
}

int checkpoint_load(Model *m, const char *dir, int kind) {
    return checkpoint_load_as(m, dir, kind, &(LoraOptions){.r = 0}, 0);
}

// ------------------------------------------------------------------------------ looking at tensors

// The sum of squares, least and largest of n numbers, added to those of t; in lanes, which become
// vectors.
enum { LOOK_LANES = 16 };
static void numbers_add(TensorNumbers *t, double *squares, const float *x, size_t n) {
    double sum[LOOK_LANES] = {0};
    float low[LOOK_LANES], high[LOOK_LANES];
    for (int k = 0; k < LOOK_LANES; k++) {
        low[k] = t->low;
        high[k] = t->high;
    }
    for (size_t first = 0; first < n; first += LOOK_LANES) {
        const int lanes = n - first < LOOK_LANES ? (int)(n - first) : LOOK_LANES;
        for (int k = 0; k < lanes; k++) {
            const float v = x[first + (size_t)k];
            sum[k] += (double)v * v;
            low[k] = v < low[k] ? v : low[k];
            high[k] = v > high[k] ? v : high[k];
        }
    }
    for (int k = 0; k < LOOK_LANES; k++) {
        *squares += sum[k];
        t->low = low[k] < t->low ? low[k] : t->low;
        t->high = high[k] > t->high ? high[k] : t->high;
    }
}

// Reads a stored tensor, piece by piece, and shows what its numbers are.  0, or -1 after fail().
static int stored_show(const StoredTensor *t, ShowTensor *show) {
    TensorNumbers numbers = {.name = t->name, .n = 1, .low = HUGE_VALF, .high = -HUGE_VALF};
    unsigned char *bytes = allocate(dtype_row_size(t->dtype, PIECE_NUMBERS), 1);
    float *x = allocate(PIECE_NUMBERS, sizeof *x);
    double squares = 0;
    int result = -1;
    if (!bytes || !x) goto done;
    for (int k = 0; k < t->dims; k++) numbers.n *= (size_t)t->shape[k];
    for (size_t first = 0; first < numbers.n; first += PIECE_NUMBERS) {
        const size_t left = numbers.n - first, n = left < PIECE_NUMBERS ? left : PIECE_NUMBERS;
        if (stored_values(t, first, n, bytes, x) < 0) goto done;
        numbers_add(&numbers, &squares, x, n);
    }
    numbers.rms = sqrt(squares / (double)numbers.n);
    show(&numbers);
    result = 0;
done:
    free(bytes);
    free(x);
    return result;
}

// The tensors of an adapter, in the order of its file, after the checks that loading makes of them.
static int look_adapter(Model *shape, const char *dir, const char *base, ShowTensor *show) {
    Config of_base;
    Weights w;
    if (merged_configs(&shape->config, &of_base, dir, base) < 0) return -1;
    if (merge_adapter(shape, dir, shape->config.reward && !of_base.reward) < 0) return -1;
    int result = weights_open_one(&w, dir, ADAPTER_WEIGHTS);
    for (size_t i = 0; i < w.num_tensors && result == 0; i++) {
        result = stored_show(&w.tensor_memory[i], show);
    }
    weights_close(&w);
    return result;
}

// The tensors of a whole model, in the order in which a text goes through them.
static int look_whole(Model *shape, const char *dir, ShowTensor *show) {
    Whole x;
    int result = whole_open(&x, &shape->params, dir, LOAD_AS_STORED);
    if (result == 0) entries_in_order(&x.e);
    for (size_t i = 0; i < x.e.n && result == 0; i++) {
        const StoredTensor *t = whole_source(&x, &x.e.entry_memory[i]);
        if (t) result = stored_show(t, show);
    }
    if (result == 0) result = weights_check(&x.w);
    whole_close(&x);
    return result;
}

/* Shows each tensor of the folder dir, whole or an adapter's, or of a GGUF file, by the name that
 * the file has for it, and checks all that loading does.  The model is never in memory: a tensor is
 * read in pieces.  0, or -1 after fail().                                                        */
int checkpoint_look(const char *dir, ShowTensor *show) {
    char base[PATH_SIZE];
    const int is_adapter = config_base(base, dir);
    if (is_adapter < 0) return -1;
    Model *shape = allocate(1, sizeof *shape);      // which has no tensors
    if (!shape) return -1;
    const int result = is_adapter ? look_adapter(shape, dir, base, show)
                                  : look_whole(shape, dir, show);
    free(shape);
    return result;
}

// ----------------------------------------------------------------------------- writing the weights

// The name of the file that a run's weights are saved in.
const char *checkpoint_weights(const Config *c) {
    return c->lora_r ? ADAPTER_WEIGHTS : "model.safetensors";
}

// The header (safetensors.c), and spaces such that the values after it are aligned to 8 bytes.  sum
// is the values' checksum.
static int header_text(Buffer *b, const Entries *e, Dtype dtype, uint64_t sum) {
    const char *name = dtype_name(dtype);
    char checksum[CHECKSUM_TEXT];
    size_t begin = 0;
    checksum_text(checksum, sum);
    if (buffer_printf(b, "{\"__metadata__\":{\"format\":\"pt\",\"%s\":\"%s\"}", WEIGHTS_CHECKSUM,
                      checksum) < 0) return -1;
    for (size_t i = 0; i < e->n; i++) {
        const Entry *t = &e->entry_memory[i];
        const uint64_t shape[2] = {t->rows, t->cols};
        size_t end = begin + t->n * dtype_size(dtype);
        char dims[200];
        shape_text(dims, shape, t->cols ? 2 : 1);
        if (buffer_printf(b, ",\"%s\":{\"dtype\":\"%s\",", t->name, name) < 0) return -1;
        if (buffer_printf(b, "\"shape\":%s,", dims) < 0) return -1;
        if (buffer_printf(b, "\"data_offsets\":[%zu,%zu]}", begin, end) < 0) return -1;
        begin = end;
    }
    return buffer_printf(b, "}%*s", (int)(7 - b->len % 8), "");
}

static int write_hashed(Output *o, Sha256 *sha, const void *data, size_t n) {
    sha256_add(sha, data, n);
    return output_write(o, data, n);
}

// Of a tensor's value number i in the file, which dtype cannot hold.
static int fail_value(const Entry *e, size_t i, float x, Dtype dtype) {
    return fail(EX_DATAERR, "tensor %s: value %zu is %g, which %s cannot hold", e->name, i,
                (double)x, dtype_name(dtype));
}

static int fits(float x, Dtype dtype) {
    unsigned char bytes[8];
    if (dtype == F32) return fabsf(x) <= FLT_MAX;
    dtype_encode(dtype, bytes, x);
    return fabsf(dtype_decode(dtype, bytes)) <= FLT_MAX;
}

static int entry_fits(const Entry *e, Dtype dtype) {
    const size_t piece = entry_piece(e);
    real *x = allocate(2 * piece, sizeof *x);
    int result = x ? 0 : -1;
    for (size_t first = 0; first < e->n && result == 0; first += piece) {
        const size_t n = e->n - first < piece ? e->n - first : piece;
        entry_get(e, first, x, n, x + piece);
        for (size_t k = 0; k < n && result == 0; k++) {
            if (!fits((float)x[k], dtype)) result = fail_value(e, first + k, (float)x[k], dtype);
        }
    }
    free(x);
    return result;
}

// Our values as they are stored: added to the sum, or where that is NULL written to o; one that
// dtype cannot hold is an error.
static int entry_write(Output *o, Sha256 *sha, Checksum *sum, const Entry *e, Dtype dtype) {
    const size_t size = dtype_size(dtype), piece = entry_piece(e);
    unsigned char *bytes = allocate(piece, size);
    real *x = allocate(2 * piece, sizeof *x);
    int result = -1;
    if (!bytes || !x) goto done;
    for (size_t first = 0; first < e->n; first += piece) {
        const size_t n = e->n - first < piece ? e->n - first : piece;
        entry_get(e, first, x, n, x + piece);
        for (size_t k = 0; k < n; k++) {
            dtype_encode(dtype, bytes + k * size, (float)x[k]);
            if (fits((float)x[k], dtype)) continue;
            fail_value(e, first + k, (float)x[k], dtype);
            goto done;
        }
        if (sum) checksum_add(sum, bytes, n * size);
        else if (write_hashed(o, sha, bytes, n * size) < 0) goto done;
    }
    result = 0;
done:
    free(bytes);
    free(x);
    return result;
}

// model.safetensors, and its SHA-256 on the way.  The header comes first and says the values'
// checksum, so that they are gone through twice.
static int weights_write(Output *o, const Model *m, Dtype dtype, char sha256[65]) {
    Entries e;
    Buffer header = {0};
    Checksum sum;
    Sha256 sha;
    unsigned char length[8];
    int result = -1;
    checksum_start(&sum);
    sha256_start(&sha);
    if (entries_init_saved(&e, m) < 0) goto done;
    for (size_t i = 0; i < e.n; i++) {
        if (entry_write(NULL, NULL, &sum, &e.entry_memory[i], dtype) < 0) goto done;
    }
    if (header_text(&header, &e, dtype, checksum_finish(&sum)) < 0) goto done;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header.len >> 8*i);
    if (write_hashed(o, &sha, length, 8) < 0) goto done;
    if (write_hashed(o, &sha, header.data, header.len) < 0) goto done;
    for (size_t i = 0; i < e.n; i++) {
        if (entry_write(o, &sha, NULL, &e.entry_memory[i], dtype) < 0) goto done;
    }
    sha256_finish(&sha, sha256);
    result = 0;
done:
    buffer_free(&header);
    free(e.entry_memory);
    return result;
}

// Asks the disk for the bytes of model.safetensors.  0, or -1 after fail().
static int weights_ask(Output *o, const Model *m, Dtype dtype) {
    Entries e;
    Buffer header = {0};
    int result = -1;
    if (entries_init_saved(&e, m) < 0) goto done;
    if (header_text(&header, &e, dtype, 0) < 0) goto done;
    uint64_t size = 8 + header.len;
    for (size_t i = 0; i < e.n; i++) size += e.entry_memory[i].n * dtype_size(dtype);
    result = output_ask(o, size);
done:
    buffer_free(&header);
    free(e.entry_memory);
    return result;
}

// -------------------------------------------------------------------------------- writing a folder

/* A save replaces several files, and a file system replaces only one at a time.  So all new
 * files are first written whole under temporary names; then they get their names, one after the
 * other in the order of save_list, config.json last: a folder without it does not load.
 *
 *                            save_rename, if no small file changes
 *      save_write:      OLD ------------------------------------------------------> NEW
 *      it stays OLD    |   ^                                                         ^
 *                      |   |                                                         |
 *       save_set_aside |   | save_end,                                               | save_rename,
 *                      |   | after an error                                          | last file
 *                      v   |             save_rename, first file                     |
 *                      ASIDE ------------------------------------------> HALF -------+
 *
 *   OLD    The folder is the old one; new files may lie beside it under temporary names.  Where
 *          only the weights change, as from save to save of a run, the save is in this state until
 *          the end: the one rename that matters is that of model.safetensors, and the folder loads
 *          before and after it.  So it is where there is no config.json yet: nothing loads before
 *          the end.
 *   ASIDE  A small file changes.  config.json has become config.json.PROCESS.old, the other old
 *          files are as they were: no old configuration reads new weights.
 *   HALF   Some new files have their names, the others are whole under their temporary ones.
 *          config.json is the last.
 *   NEW    The folder is the new one.  config.json.PROCESS.old is removed.
 *
 * In the folder of an adapter adapter_config.json is what config.json is here.
 *
 * A crash therefore leaves the old folder (OLD) or all new files (ASIDE, HALF, NEW), and what loads
 * is never a mixture: whoever opens a folder in ASIDE or HALF next, to read or to save, first
 * finishes the save (folder_recover, folder_finish in file.c).  After an error save_end tidies up:
 * in OLD it removes the temporary files; in ASIDE it gives config.json its name back as well; in
 * HALF it leaves all as it is.                                                                   */
typedef enum { SAVE_OLD, SAVE_ASIDE, SAVE_HALF, SAVE_NEW } SaveState;

typedef struct {
    const char *name, *torch;           // of --dtype, of config.json
    Dtype dtype;
} SavedDtype;

static const SavedDtype saved_dtypes[] = {
    {.name = "f32",  .torch = "float32",  .dtype = F32},
    {.name = "f16",  .torch = "float16",  .dtype = F16},
    {.name = "bf16", .torch = "bfloat16", .dtype = BF16},
};

typedef struct {
    const char *name;
    const Buffer *text;                 // NULL: the weights
    Output out;
} SavedFile;

typedef struct {
    SaveState state;
    int changes;                        // yes: a small file differs from the old one
    char config_old[PATH_SIZE];
    SmallFiles beside;
    Buffer config;
    SavedFile *file;                    // (n) those beside, the weights, and last config.json
    size_t n;
} Save;

// What is to be saved, in order.
static int save_list(Save *s, const Config *c, const SmallFiles *beside, const char *torch_dtype) {
    const SmallFiles none = {.n = 0};
    if (config_text(&s->config, c, torch_dtype) < 0) return -1;
    if (beside_settle(&s->beside, beside ? beside : &none, c) < 0) return -1;
    s->file = allocate(s->beside.n + 2, sizeof *s->file);
    if (!s->file) return -1;
    SavedFile config = {.name = "config.json", .text = &s->config};
    for (size_t i = 0; i < s->beside.n; i++) {
        const SmallFile *f = &s->beside.file_memory[i];
        s->file[i] = (SavedFile){.name = f->name, .text = &f->text};

        // an adapter's comes last, and config.json, under another name, in its place
        if (!strcmp(f->name, "adapter_config.json")) {
            config = s->file[i];
            s->file[i] = (SavedFile){.name = ADAPTER_MODEL_CONFIG, .text = &s->config};
        }
    }
    s->file[s->beside.n] = (SavedFile){.name = checkpoint_weights(c)};
    s->file[s->beside.n + 1] = config;
    s->n = s->beside.n + 2;
    for (size_t i = 0; i < s->n; i++) s->file[i].out.fd = -1;
    return 0;
}

static int same_as_file(const char *path, const Buffer *b) {
    char old[65], new[65];
    sha256_hex(new, b->data, b->len);
    return sha256_file(old, path) == 0 && !strcmp(old, new);
}

// OLD -> OLD: every file whole and flushed under its temporary name; without sha256 the disk is
// only asked for the room of the weights.
static int save_write(Save *s, const Model *m, const char *dir, Dtype dtype, char *sha256) {
    char path[PATH_SIZE];
    for (size_t i = 0; i < s->n; i++) {
        Output *out = &s->file[i].out;
        const Buffer *text = s->file[i].text;
        if (path_join(path, dir, s->file[i].name) < 0) return -1;
        if (output_open(out, path) < 0) return -1;
        if (text) {
            if (output_write(out, text->data, text->len) < 0) return -1;
        } else if (sha256) {
            if (weights_write(out, m, dtype, sha256) < 0) return -1;
        } else {
            if (weights_ask(out, m, dtype) < 0) return -1;
        }
        if (output_close(out) < 0) return -1;
        if (text && !same_as_file(path, text)) s->changes = 1;
    }
    return 0;
}

// OLD -> ASIDE, if a small file changes and there is an old config.json.
static int save_set_aside(Save *s) {
    const char *config = s->file[s->n - 1].out.path;
    if (!s->changes) return 0;
    if (rename(config, s->config_old) == 0) {
        s->state = SAVE_ASIDE;
    } else if (errno != ENOENT) {
        return fail(EX_CANTCREAT, "%s: could not be replaced: %s", config, strerror(errno));
    }
    return folder_sync(s->config_old);
}

// ASIDE -> HALF -> NEW, or OLD -> NEW.  The weights are in place on the disk before config.json is.
static int save_rename(Save *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (output_rename(&s->file[i].out) < 0) return -1;
        if (s->state == SAVE_ASIDE) s->state = SAVE_HALF;
        if (i + 2 >= s->n && folder_sync(s->config_old) < 0) return -1;
    }
    if (s->state == SAVE_HALF) unlink(s->config_old);
    s->state = SAVE_NEW;
    return 0;
}

// Tidies up what the state allows and frees the rest.
static void save_end(Save *s) {
    if (s->state == SAVE_ASIDE) rename(s->config_old, s->file[s->n - 1].out.path);
    for (size_t i = 0; i < s->n; i++) {
        Output *out = &s->file[i].out;
        if (s->state == SAVE_HALF) out->exists = 0;            // not ours any more: it stays
        output_drop(out);
    }
    free(s->file);
    beside_free(&s->beside);
    buffer_free(&s->config);
}

// NULL after fail().
static const SavedDtype *find_dtype(const char *name) {
    for (size_t k = 0; k < sizeof saved_dtypes / sizeof *saved_dtypes; k++) {
        if (!strcmp(saved_dtypes[k].name, name)) return &saved_dtypes[k];
    }
    fail(EX_USAGE, "%s: not a format of weights: f32, f16 or bf16", name);
    return NULL;
}

// Can weights in this format hold the model's?  0, or -1 after fail() with the first they cannot.
int checkpoint_fits(const Model *m, const char *dtype) {
    const SavedDtype *kind = find_dtype(dtype);
    Entries e = {.n = 0};
    if (!kind) return -1;
    int result = entries_init_saved(&e, m);
    for (size_t i = 0; i < e.n && result == 0; i++) {
        result = entry_fits(&e.entry_memory[i], kind->dtype);
    }
    free(e.entry_memory);
    return result;
}

// A folder holds a whole model or an adapter, never both.  0, or -1 after fail().
static int save_refuse_other(const Config *c, const char *dir) {
    const char *other = c->lora_r ? "model.safetensors" : "adapter_config.json";
    if (!is_there(dir, other)) return 0;
    return fail(EX_CANTCREAT, "%s: has %s, of %s; give another folder, or remove it", dir, other,
                c->lora_r ? "a whole model" : "an adapter");
}

// Writes what is to be saved beside the old files (see save_write).
static int save_begin(Save *s, const Model *m, const char *dir, const SmallFiles *beside,
                      const char *dtype, char *sha256) {
    const SavedDtype *kind = find_dtype(dtype);
    char old[TAG_SIZE + 32];
    *s = (Save){.state = SAVE_OLD};
    if (!kind) return -1;

    const char *config = m->config.lora_r ? "adapter_config.json" : "config.json";
    snprintf(old, sizeof old, "%s.%ld.old", config, (long)getpid());
    if (path_join(s->config_old, dir, old) < 0) return -1;
    if (folder_make(dir) < 0) return -1;
    if (folder_finish(dir) < 0) return -1;
    if (save_refuse_other(&m->config, dir) < 0) return -1;
    if (save_list(s, &m->config, beside, kind->torch) < 0) return -1;
    return save_write(s, m, dir, kind->dtype, sha256);
}

/* The model as a Hugging Face folder: weights in dtype ("f32", "f16", "bf16"), config.json and the
 * small files `beside`, or none if it is NULL, as beside_settle makes them.
 * sha256 is that of model.safetensors.  0, or -1 after fail(): what the folder holds then, see
 * above.                                                                                         */
int checkpoint_save(const Model *m, const char *dir, const SmallFiles *beside, const char *dtype,
                    char sha256[65]) {
    char hash[65];
    int result = -1;
    Save *s = allocate(1, sizeof *s);               // too large for a small stack
    if (!s) return -1;
    if (save_begin(s, m, dir, beside, dtype, hash) < 0) goto done;
    if (save_set_aside(s) < 0) goto done;
    if (save_rename(s) < 0) goto done;
    strcpy(sha256, hash);
    result = 0;
done:
    save_end(s);
    free(s);
    return result;
}

// The same of a model that is no transformer: the contents of model.safetensors and config.json.
// 0, or -1 after fail().
int checkpoint_save_texts(const char *dir, const Buffer *weights, const Buffer *config) {
    char old[TAG_SIZE + 32];
    int result = -1;
    Save *s = allocate(1, sizeof *s);
    if (!s) return -1;
    snprintf(old, sizeof old, "config.json.%ld.old", (long)getpid());
    if (path_join(s->config_old, dir, old) < 0) goto done;
    if (folder_make(dir) < 0 || folder_finish(dir) < 0) goto done;
    s->file = allocate(2, sizeof *s->file);
    if (!s->file) goto done;
    s->n = 2;
    s->file[0] = (SavedFile){.name = "model.safetensors", .text = weights, .out.fd = -1};
    s->file[1] = (SavedFile){.name = "config.json", .text = config, .out.fd = -1};
    if (save_write(s, NULL, dir, F32, NULL) < 0) goto done;
    if (save_set_aside(s) < 0) goto done;
    if (save_rename(s) < 0) goto done;
    result = 0;
done:
    save_end(s);
    free(s);
    return result;
}

// Would checkpoint_save find its files free and room on the disk?  Nothing stays.  0, or -1 after
// fail().
int checkpoint_ask(const Model *m, const char *dir, const SmallFiles *beside, const char *dtype) {
    Save *s = allocate(1, sizeof *s);
    if (!s) return -1;
    int result = save_begin(s, m, dir, beside, dtype, NULL);
    save_end(s);
    free(s);
    return result;
}

#endif

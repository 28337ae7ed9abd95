/* entries.c - the tensors of a model by the names that files have for them, and how their values go
 * between a file and our memory.
 *
 * A new family needs a row in families[] and its keys (config.c), and its tensor names below:
 * entries_init() makes the one list that both reading and writing walk.                          */
#ifndef ENTRIES_C
#define ENTRIES_C

#include "../model.c"
#include "adapter.c"
#include "config.c"
#include "gguf.c"

/* How the rows of a stored matrix stand to ours: the same; transposed (GPT-2's Conv1D); in GPT-NeoX
 * the query, key and value rows of each head together where we have those of all heads; or, in GGUF
 * files, the rows of the two halves of each head in turn (gguf_permutes). */
typedef enum { AS_IS, TRANSPOSED, BY_HEAD, IN_TURN } Layout;

// A tensor as Hugging Face stores it, and where its values are in our memory.
typedef struct {
    char name[96];
    size_t rows, cols, n;               // stored as (rows, cols), or as (rows) when cols is 0
    Layout layout;
    real *const *tensor;                // a field of Params or Block: there may be no memory yet
    size_t offset;                      // our part of that tensor begins here
    int heads, head_dim;
    int source;                         // which tensor of the files holds it, or -1
    const Narrow *narrow;               // not NULL: instead of *tensor
    unsigned char *bytes;               // of its rows there, while they are read
} Entry;

// All of them.  The list keeps an error, and entries_init returns it.
typedef struct {
    Entry *entry_memory;
    size_t n, capacity;
    const Config *config;
    int layer;                          // the '#' of names
    int result;                         // 0, or -1 after fail()
} Entries;

// lists, sorted by name: 0, or -1 after fail(); free e->entry_memory
int    entries_init(Entries *e, const Config *c, const Params *p);         // of a model folder
int    entries_init_saved(Entries *e, const Model *m);                     // of what a run saves
void   entries_as_gguf(Entries *e, const Config *c);                       // by GGUF's names
void   entries_in_order(Entries *e);                                       // of Params
Entry *entry_find(const Entries *e, const char *prefix, const char *name); // or NULL

void   entries_find_narrow(Entries *e, const Model *m);    // which matrices of m are

// values, in pieces of the file
size_t entry_piece(const Entry *e);
void   entry_put(const Entry *e, size_t first, const real *x, size_t n, real *column);
void   entry_put_narrow(const Entry *e, Dtype dtype, size_t first, const unsigned char *x,
                        size_t n);
void   entry_get(const Entry *e, size_t first, real *x, size_t n, real *column);

// the tensors as GGUF files have them, (rows, cols) or a vector (rows); values: NULL, or as stored
typedef int TakeStored(void *context, const char *name, size_t rows, size_t cols,
                       const real *values);
int checkpoint_gguf_tensors(const Model *m, int with_values, TakeStored *take, void *context);

// ------------------------------------------------------------------------------------ tensor names

static void entry_add(Entries *e, real *const *tensor, size_t offset, int rows, int cols,
                      Layout layout, const char *name) {
    uint64_t n = (uint64_t)rows * (uint64_t)(cols ? cols : 1);
    if (e->result < 0) return;
    if (n > SIZE_MAX / 16) {
        fail(EX_OSERR, "%s: [%d,%d] is more than this machine can hold", name, rows, cols);
        e->result = -1;
        return;
    }
    e->result = reserve(&e->entry_memory, &e->capacity, e->n + 1, sizeof *e->entry_memory);
    if (e->result < 0) return;

    Entry *t = &e->entry_memory[e->n];
    e->n++;
    *t = (Entry){.rows = (size_t)rows, .cols = (size_t)cols, .n = (size_t)n, .layout = layout,
                 .tensor = tensor, .offset = offset, .heads = e->config->num_heads,
                 .head_dim = e->config->head_dim, .source = -1};
    const char *mark = strchr(name, '#');
    if (mark) {
        int before = (int)(mark - name);
        snprintf(t->name, sizeof t->name, "%.*s%d%s", before, name, e->layer, mark + 1);
    } else {
        snprintf(t->name, sizeof t->name, "%s", name);
    }
}

// A stored tensor that is one of ours, or a part of one of ours: the rows from `row` on.
static void entry_vector(Entries *e, real *const *tensor, int n, const char *name) {
    entry_add(e, tensor, 0, n, 0, AS_IS, name);
}
static void entry_matrix(Entries *e, real *const *tensor, int rows, int cols, const char *name) {
    entry_add(e, tensor, 0, rows, cols, AS_IS, name);
}
static void entry_vector_part(Entries *e, real *const *tensor, int row, int n, const char *name) {
    entry_add(e, tensor, (size_t)row, n, 0, AS_IS, name);
}
static void entry_matrix_part(Entries *e, real *const *tensor, int row, int rows, int cols,
                              const char *name) {
    entry_add(e, tensor, (size_t)row * (size_t)cols, rows, cols, AS_IS, name);
}
static void entry_transposed(Entries *e, real *const *tensor, int rows, int cols,
                             const char *name) {
    entry_add(e, tensor, 0, rows, cols, TRANSPOSED, name);
}
static void entry_by_head(Entries *e, real *const *tensor, int rows, int cols, const char *name) {
    entry_add(e, tensor, 0, rows, cols, BY_HEAD, name);
}

// Widths: C channels, Q all queries, KV all keys, QO queries, keys and values, F feed-forward layer
static void neox_layer(Entries *e, const Config *c, const Block *b) {
    int C = c->channels, F = c->hidden, Q = c->num_heads * c->head_dim, QO = 3*Q;
    entry_vector(e, &b->ln1w, C, "gpt_neox.layers.#.input_layernorm.weight");
    entry_vector(e, &b->ln1b, C, "gpt_neox.layers.#.input_layernorm.bias");
    entry_vector(e, &b->ln2w, C, "gpt_neox.layers.#.post_attention_layernorm.weight");
    entry_vector(e, &b->ln2b, C, "gpt_neox.layers.#.post_attention_layernorm.bias");
    entry_by_head(e, &b->qkvw, QO, C, "gpt_neox.layers.#.attention.query_key_value.weight");
    if (c->qkv_bias) {
        entry_by_head(e, &b->qkvb, QO, 0, "gpt_neox.layers.#.attention.query_key_value.bias");
    }
    entry_matrix(e, &b->attw, C, Q, "gpt_neox.layers.#.attention.dense.weight");
    if (c->out_bias) entry_vector(e, &b->attb, C, "gpt_neox.layers.#.attention.dense.bias");
    entry_matrix(e, &b->fcw, F, C, "gpt_neox.layers.#.mlp.dense_h_to_4h.weight");
    entry_vector(e, &b->fcb, F, "gpt_neox.layers.#.mlp.dense_h_to_4h.bias");
    entry_matrix(e, &b->projw, C, F, "gpt_neox.layers.#.mlp.dense_4h_to_h.weight");
    entry_vector(e, &b->projb, C, "gpt_neox.layers.#.mlp.dense_4h_to_h.bias");
}

// What is before the first layer and after the last.
static void neox_ends(Entries *e, const Config *c, const Params *p, int unembed) {
    int C = c->channels, V = c->vocab_size;
    entry_matrix(e, &p->wte, V, C, "gpt_neox.embed_in.weight");
    entry_vector(e, &p->lnfw, C, "gpt_neox.final_layer_norm.weight");
    entry_vector(e, &p->lnfb, C, "gpt_neox.final_layer_norm.bias");
    if (unembed) entry_matrix(e, &p->unembed, V, C, "embed_out.weight");
}

static void gpt2_layer(Entries *e, const Config *c, const Block *b) {
    int C = c->channels, F = c->hidden, Q = c->num_heads * c->head_dim, QO = 3*Q;
    entry_vector(e, &b->ln1w, C, "transformer.h.#.ln_1.weight");
    entry_vector(e, &b->ln1b, C, "transformer.h.#.ln_1.bias");
    entry_vector(e, &b->ln2w, C, "transformer.h.#.ln_2.weight");
    entry_vector(e, &b->ln2b, C, "transformer.h.#.ln_2.bias");
    entry_transposed(e, &b->qkvw, C, QO, "transformer.h.#.attn.c_attn.weight");
    entry_vector(e, &b->qkvb, QO, "transformer.h.#.attn.c_attn.bias");
    entry_transposed(e, &b->attw, Q, C, "transformer.h.#.attn.c_proj.weight");
    entry_vector(e, &b->attb, C, "transformer.h.#.attn.c_proj.bias");
    entry_transposed(e, &b->fcw, C, F, "transformer.h.#.mlp.c_fc.weight");
    entry_vector(e, &b->fcb, F, "transformer.h.#.mlp.c_fc.bias");
    entry_transposed(e, &b->projw, F, C, "transformer.h.#.mlp.c_proj.weight");
    entry_vector(e, &b->projb, C, "transformer.h.#.mlp.c_proj.bias");
}

static void gpt2_ends(Entries *e, const Config *c, const Params *p, int unembed) {
    int C = c->channels, V = c->vocab_size;
    entry_matrix(e, &p->wte, V, C, "transformer.wte.weight");
    entry_matrix(e, &p->wpe, c->max_positions, C, "transformer.wpe.weight");
    entry_vector(e, &p->lnfw, C, "transformer.ln_f.weight");
    entry_vector(e, &p->lnfb, C, "transformer.ln_f.bias");
    if (unembed) entry_matrix(e, &p->unembed, V, C, "lm_head.weight");
}

// Queries, keys and values are one matrix of ours, gate and up another.
static void llama_layer(Entries *e, const Config *c, const Block *b) {
    int C = c->channels, F = c->hidden, HD = c->head_dim;
    int Q = c->num_heads * HD, KV = c->num_kv_heads * HD;
    if (c->post_norm) {
        entry_vector(e, &b->ln1w, C, "model.layers.#.post_attention_layernorm.weight");
        entry_vector(e, &b->ln2w, C, "model.layers.#.post_feedforward_layernorm.weight");
    } else {
        entry_vector(e, &b->ln1w, C, "model.layers.#.input_layernorm.weight");
        entry_vector(e, &b->ln2w, C, "model.layers.#.post_attention_layernorm.weight");
    }
    entry_matrix_part(e, &b->qkvw, 0,      Q,  C, "model.layers.#.self_attn.q_proj.weight");
    entry_matrix_part(e, &b->qkvw, Q,      KV, C, "model.layers.#.self_attn.k_proj.weight");
    entry_matrix_part(e, &b->qkvw, Q + KV, KV, C, "model.layers.#.self_attn.v_proj.weight");
    if (c->qkv_bias) {
        entry_vector_part(e, &b->qkvb, 0,      Q,  "model.layers.#.self_attn.q_proj.bias");
        entry_vector_part(e, &b->qkvb, Q,      KV, "model.layers.#.self_attn.k_proj.bias");
        entry_vector_part(e, &b->qkvb, Q + KV, KV, "model.layers.#.self_attn.v_proj.bias");
    }
    if (c->qk_norm) {
        const int QN = model_qnorm_width(c), KN = model_knorm_width(c);
        entry_vector(e, &b->qnormw, QN, "model.layers.#.self_attn.q_norm.weight");
        entry_vector(e, &b->knormw, KN, "model.layers.#.self_attn.k_norm.weight");
    }
    entry_matrix(e, &b->attw, C, Q, "model.layers.#.self_attn.o_proj.weight");
    if (c->out_bias) entry_vector(e, &b->attb, C, "model.layers.#.self_attn.o_proj.bias");
    entry_matrix_part(e, &b->fcw, 0, F, C, "model.layers.#.mlp.gate_proj.weight");
    entry_matrix_part(e, &b->fcw, F, F, C, "model.layers.#.mlp.up_proj.weight");
    entry_matrix(e, &b->projw, C, F, "model.layers.#.mlp.down_proj.weight");
    if (c->mlp_bias) {
        entry_vector_part(e, &b->fcb, 0, F, "model.layers.#.mlp.gate_proj.bias");
        entry_vector_part(e, &b->fcb, F, F, "model.layers.#.mlp.up_proj.bias");
        entry_vector(e, &b->projb, C, "model.layers.#.mlp.down_proj.bias");
    }
}

static void llama_ends(Entries *e, const Config *c, const Params *p, int unembed) {
    int C = c->channels, V = c->vocab_size;
    entry_matrix(e, &p->wte, V, C, "model.embed_tokens.weight");
    entry_vector(e, &p->lnfw, C, "model.norm.weight");
    if (unembed) entry_matrix(e, &p->unembed, V, C, "lm_head.weight");
}

static int by_name(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

// Every tensor of a model folder, sorted by name.  0, or -1 after fail(); free e->entry_memory.
int entries_init(Entries *e, const Config *c, const Params *p) {
    *e = (Entries){.config = c};
    for (int l = 0; l < c->num_layers; l++) {
        e->layer = l;
        if (config_is_neox(c)) neox_layer(e, c, &p->block[l]);
        if (config_is_gpt2(c)) gpt2_layer(e, c, &p->block[l]);
        if (config_is_llama(c)) llama_layer(e, c, &p->block[l]);
    }
    int unembed = !c->tied && !c->reward;
    if (config_is_neox(c)) neox_ends(e, c, p, unembed);
    if (config_is_gpt2(c)) gpt2_ends(e, c, p, unembed);
    if (config_is_llama(c)) llama_ends(e, c, p, unembed);
    if (c->reward) entry_matrix(e, &p->head, 1, c->channels, "score.weight");
    if (e->result < 0) return -1;
    qsort(e->entry_memory, e->n, sizeof *e->entry_memory, by_name);
    return 0;
}

// The adapters of layer e->layer.
static void adapter_layer(Entries *e, const Config *c, const Block *b) {
    const int r = c->lora_r;
    for (int k = 0; k < NUM_SITES; k++) {
        const char *matrix = adapter_matrix(c, (Site)k);
        const Layout layout = k == SITE_QKV && config_is_neox(c) ? BY_HEAD : AS_IS;
        char name[sizeof e->entry_memory->name];
        if (!c->lora[k]) continue;
        const SiteShape site = model_site_shape(c, (Site)k);
        snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", matrix);
        const size_t at = model_site_offset(c, (Site)k);
        entry_add(e, &b->lora, at, r, (int)site.inputs, AS_IS, name);
        snprintf(name, sizeof name, "base_model.model.%s.lora_B.weight", matrix);
        entry_add(e, &b->lora, at + (size_t)r * site.inputs, (int)site.rows, r, layout, name);
    }
}

// What a run saves, sorted by name: all tensors, or if adapters are trained those of an adapter's
// folder.
int entries_init_saved(Entries *e, const Model *m) {
    const Config *c = &m->config;
    const Params *p = &m->params;
    if (!c->lora_r) {
        if (entries_init(e, c, p) < 0) return -1;
        entries_find_narrow(e, m);
        return 0;
    }
    *e = (Entries){.config = c};
    for (int l = 0; l < c->num_layers; l++) {
        e->layer = l;
        adapter_layer(e, c, &p->block[l]);
    }
    if (c->reward) entry_matrix(e, &p->head, 1, c->channels, "base_model.model.score.weight");
    if (e->result < 0) return -1;
    qsort(e->entry_memory, e->n, sizeof *e->entry_memory, by_name);
    return 0;
}

// The same as GGUF files have them: other names, and other layouts of some.
void entries_as_gguf(Entries *e, const Config *c) {
    for (size_t i = 0; i < e->n; i++) {
        Entry *t = &e->entry_memory[i];
        char name[sizeof t->name];
        gguf_tensor_name(name, t->name);
        memcpy(t->name, name, sizeof name);
        if (t->layout == TRANSPOSED) {
            const size_t rows = t->cols;
            t->cols = t->rows;
            t->rows = rows;
        }
        t->layout = gguf_permutes(c, t->name) ? IN_TURN : AS_IS;
    }
    qsort(e->entry_memory, e->n, sizeof *e->entry_memory, by_name);
}

Entry *entry_find(const Entries *e, const char *prefix, const char *name) {
    Entry key;
    int n = snprintf(key.name, sizeof key.name, "%s%s", prefix, name);
    if (n >= (int)sizeof key.name) return NULL;
    return bsearch(&key, e->entry_memory, e->n, sizeof key, by_name);
}

// The place among our values of the i-th stored one.
static size_t entry_place(const Entry *e, size_t i) {
    size_t cols = e->cols ? e->cols : 1, row = i / cols, col = i % cols;
    size_t heads = (size_t)e->heads, HD = (size_t)e->head_dim;
    if (e->layout == AS_IS) return i;
    if (e->layout == TRANSPOSED) return col * e->rows + row;
    if (e->layout == IN_TURN) {
        const size_t head = row / HD, half = row % 2, channel = row % HD / 2;
        return (head * HD + half * (HD/2) + channel) * cols + col;
    }

    // by head: the rows are (heads, 3, HD) as stored, (3, heads, HD) in memory
    size_t head = row / (3*HD), part = row / HD % 3;
    return ((part * heads + head) * HD + row % HD) * cols + col;
}

/* A tensor goes between a file and our memory in pieces, so that it is never there twice: so many
 * values of the file, whole rows of them. */
// about so many; or so many rows, where they become columns
enum { PIECE_NUMBERS = 1 << 16, PIECE_ROWS = 16 };
size_t entry_piece(const Entry *e) {
    const size_t cols = e->cols ? e->cols : 1;
    size_t n = (PIECE_NUMBERS + cols - 1) / cols * cols;
    if (e->layout == TRANSPOSED) n = PIECE_ROWS * cols;
    return n < e->n ? n : e->n;
}

// The n values x of a piece, stored from number `first` on, to their places among ours; column:
// room for as many.
void entry_put(const Entry *e, size_t first, const real *x, size_t n, real *column) {
    real *ours = *e->tensor + e->offset;
    const size_t cols = e->cols ? e->cols : 1;
    if (e->layout == AS_IS) {
        kernels_write(ours + first, x, n);
    } else if (e->layout == TRANSPOSED) {
        // a column of the piece is a part of a row of ours
        const size_t height = n / cols, row = first / cols;
        for (size_t c = 0; c < cols; c++) {
            for (size_t r = 0; r < height; r++) column[r] = x[r*cols + c];
            kernels_write(ours + c*e->rows + row, column, height);
        }
    } else {
        for (size_t i = 0; i < n; i += cols) {
            kernels_write(ours + entry_place(e, first + i), x + i, cols);
        }
    }
}

// The same of the bytes of n values, to the rows of a narrow matrix.
void entry_put_narrow(const Entry *e, Dtype dtype, size_t first, const unsigned char *x, size_t n) {
    const size_t cols = e->cols, size = dtype_size(dtype), row_size = dtype_row_size(dtype, cols);
    if (e->layout == TRANSPOSED) {
        unsigned char column[PIECE_ROWS * sizeof(double)];
        const size_t height = n / cols, row = first / cols;
        for (size_t c = 0; c < cols; c++) {
            for (size_t r = 0; r < height; r++) {
                memcpy(column + r*size, x + (r*cols + c)*size, size);
            }
            narrow_write(e->bytes + (c*e->rows + row)*size, column, height*size);
        }
        return;
    }
    for (size_t i = 0; i < n; i += cols, x += row_size) {
        const size_t row = entry_place(e, first + i) / cols;
        narrow_write(e->bytes + row*row_size, x, row_size);
    }
}

// x(n): our values from `place` on, of one row.
static void entry_take(const Entry *e, size_t place, real *x, size_t n) {
    if (!e->narrow) {
        kernels_read(x, *e->tensor + e->offset + place, n);
        return;
    }
    const size_t C = e->layout == TRANSPOSED ? e->rows : e->cols, at = e->offset + place;
    narrow_read(x, e->narrow, (int)C, (int)(at / C), 1, (int)(at % C), (int)n);
}

// The same back: x(n) from our values.
void entry_get(const Entry *e, size_t first, real *x, size_t n, real *column) {
    const size_t cols = e->cols ? e->cols : 1;
    if (e->layout == TRANSPOSED) {
        const size_t height = n / cols, row = first / cols;
        for (size_t c = 0; c < cols; c++) {
            entry_take(e, c*e->rows + row, column, height);
            for (size_t r = 0; r < height; r++) x[r*cols + c] = column[r];
        }
        return;
    }
    for (size_t i = 0; i < n; i += cols) {
        entry_take(e, entry_place(e, first + i), x + i, cols);
    }
}

// After entries_init of a model's tensors.
void entries_find_narrow(Entries *e, const Model *m) {
    for (size_t i = 0; i < e->n; i++) {
        e->entry_memory[i].narrow = model_narrow(m, e->entry_memory[i].tensor);
    }
}

static int by_place(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->tensor != y->tensor) return x->tensor < y->tensor ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

// Sorts the entries as their tensors stand in Params, which is as a text goes through them.
void entries_in_order(Entries *e) {
    qsort(e->entry_memory, e->n, sizeof *e->entry_memory, by_place);
}

// An entry's values in the order of the file, to `take`.
static int entry_give(const Entry *e, TakeStored *take, void *context) {
    const size_t piece = entry_piece(e);
    real *stored = allocate(e->n, sizeof *stored), *column = allocate(piece, sizeof *column);
    int result = -1;
    if (!stored || !column) goto done;
    for (size_t first = 0; first < e->n; first += piece) {
        const size_t n = e->n - first < piece ? e->n - first : piece;
        entry_get(e, first, stored + first, n, column);
    }
    result = take(context, e->name, e->rows, e->cols, stored);
done:
    free(stored);
    free(column);
    return result;
}

/* Gives `take` each tensor as a GGUF file stores it, by name.  llama.cpp wants an output matrix of
 * GPT-NeoX also where it is the embedding.  0, or -1 after fail(). */
int checkpoint_gguf_tensors(const Model *m, int with_values, TakeStored *take, void *context) {
    Config c = m->config;
    Params p = m->params;
    Entries e;
    if (config_is_neox(&c) && c.tied) {
        c.tied = 0;
        p.unembed = p.wte;
    }
    int result = entries_init(&e, &c, &p);
    if (result == 0) entries_as_gguf(&e, &c);
    for (size_t i = 0; i < e.n && result == 0; i++) {
        const Entry *t = &e.entry_memory[i];
        result = with_values ? entry_give(t, take, context)
                             : take(context, t->name, t->rows, t->cols, NULL);
    }
    free(e.entry_memory);
    return result;
}
#endif

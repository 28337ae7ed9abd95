/* checkpoint.c - Hugging Face model folders: tensors to names and back, loading and saving.
 *
 * What is read may come from a stranger: every field, name, shape and offset is checked before it is used.
 * A new family needs a line in families[], its keys in config_read() and config_text() (config.c), and its
 * tensor names in entries_init(), the one list that both reading and writing walk.                        */
#ifndef CHECKPOINT_C
#define CHECKPOINT_C

#include "config.c"

enum { LOAD_LANGUAGE_MODEL = -1, LOAD_AS_STORED = 0, LOAD_REWARD_MODEL = 1 };         // for checkpoint_load

// ------------------------------------------------------------------------------------------ tensor names

// How the rows of a stored matrix stand to ours: the same; transposed (GPT-2's Conv1D); or, in GPT-NeoX, the
// query, key and value rows of each head together where we have those of all heads.
typedef enum { AS_IS, TRANSPOSED, BY_HEAD } Layout;
typedef struct {
    char name[96];
    real *const *tensor;            // a field of Params or Block: the list can be made before the memory
    size_t offset, rows, cols, n;   // our part of it is (rows, cols), or (rows) when cols is 0, from offset
    Layout layout;
    int heads, head_dim, source;    // source: which tensor of the files holds it, or -1
} Entry;
typedef struct { Entry *entry_memory; size_t n, capacity; const Config *config; int layer, bad; } Entries;

// rows and cols as Hugging Face stores them
static void entry(Entries *e, real *const *tensor, size_t offset, int rows, int cols, Layout layout,
                  const char *name) {
    if (e->bad || (e->bad = reserve(&e->entry_memory, &e->capacity, e->n + 1, sizeof(Entry)) < 0)) return;
    Entry *t = &e->entry_memory[e->n++];
    uint64_t n = (uint64_t)rows * (uint64_t)(cols ? cols : 1);
    if (n > SIZE_MAX / 16) {
        e->bad = 1;
        fail(EX_OSERR, "%s: [%d,%d] is more than this machine can hold", name, rows, cols);
    }
    *t = (Entry){{0}, tensor, offset, (size_t)rows, (size_t)cols, (size_t)n, layout, e->config->num_heads,
                 e->config->head_dim, -1};
    const char *l = strchr(name, '#');                               // '#' stands for the number of the layer
    if (l) snprintf(t->name, sizeof t->name, "%.*s%d%s", (int)(l - name), name, e->layer, l + 1);
    else snprintf(t->name, sizeof t->name, "%s", name);
}

static int by_name(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

// Every tensor of a model folder: where it lies in memory, its stored shape and name.  Sorted by name.
static int entries_init(Entries *e, const Config *c, const Params *p) {
    int C = c->channels, V = c->vocab_size, F = c->hidden, HD = c->head_dim;
    int Q = c->num_heads * HD, KV = c->num_kv_heads * HD, QO = Q + 2*KV;
    size_t key = (size_t)Q, value = key + (size_t)KV, up = (size_t)F * (size_t)C;
    *e = (Entries){.config = c};
    #define IS(tensor, rows, cols, name)           entry(e, tensor, 0, rows, cols, AS_IS, name)
    #define PART(tensor, offset, rows, cols, name) entry(e, tensor, offset, rows, cols, AS_IS, name)
    for (int l = e->layer = 0; l < c->num_layers; e->layer = ++l) {
        const Block *b = &p->block[l];
        if (c->family == FAMILY_NEOX) {
            IS(&b->ln1w, C, 0, "gpt_neox.layers.#.input_layernorm.weight");
            IS(&b->ln1b, C, 0, "gpt_neox.layers.#.input_layernorm.bias");
            IS(&b->ln2w, C, 0, "gpt_neox.layers.#.post_attention_layernorm.weight");
            IS(&b->ln2b, C, 0, "gpt_neox.layers.#.post_attention_layernorm.bias");
            entry(e, &b->qkvw, 0, QO, C, BY_HEAD, "gpt_neox.layers.#.attention.query_key_value.weight");
            if (c->qkv_bias)
                entry(e, &b->qkvb, 0, QO, 0, BY_HEAD, "gpt_neox.layers.#.attention.query_key_value.bias");
            IS(&b->attw, C, Q, "gpt_neox.layers.#.attention.dense.weight");
            if (c->out_bias) IS(&b->attb, C, 0, "gpt_neox.layers.#.attention.dense.bias");
            IS(&b->fcw, F, C, "gpt_neox.layers.#.mlp.dense_h_to_4h.weight");
            IS(&b->fcb, F, 0, "gpt_neox.layers.#.mlp.dense_h_to_4h.bias");
            IS(&b->projw, C, F, "gpt_neox.layers.#.mlp.dense_4h_to_h.weight");
            IS(&b->projb, C, 0, "gpt_neox.layers.#.mlp.dense_4h_to_h.bias");
        } else if (c->family == FAMILY_GPT2) {
            IS(&b->ln1w, C, 0, "transformer.h.#.ln_1.weight");
            IS(&b->ln1b, C, 0, "transformer.h.#.ln_1.bias");
            IS(&b->ln2w, C, 0, "transformer.h.#.ln_2.weight");
            IS(&b->ln2b, C, 0, "transformer.h.#.ln_2.bias");
            entry(e, &b->qkvw, 0, C, QO, TRANSPOSED, "transformer.h.#.attn.c_attn.weight");
            IS(&b->qkvb, QO, 0, "transformer.h.#.attn.c_attn.bias");
            entry(e, &b->attw, 0, Q, C, TRANSPOSED, "transformer.h.#.attn.c_proj.weight");
            IS(&b->attb, C, 0, "transformer.h.#.attn.c_proj.bias");
            entry(e, &b->fcw, 0, C, F, TRANSPOSED, "transformer.h.#.mlp.c_fc.weight");
            IS(&b->fcb, F, 0, "transformer.h.#.mlp.c_fc.bias");
            entry(e, &b->projw, 0, F, C, TRANSPOSED, "transformer.h.#.mlp.c_proj.weight");
            IS(&b->projb, C, 0, "transformer.h.#.mlp.c_proj.bias");
        } else {
            IS(&b->ln1w, C, 0, "model.layers.#.input_layernorm.weight");
            IS(&b->ln2w, C, 0, "model.layers.#.post_attention_layernorm.weight");
            PART(&b->qkvw, 0, Q, C, "model.layers.#.self_attn.q_proj.weight");
            PART(&b->qkvw, key*(size_t)C, KV, C, "model.layers.#.self_attn.k_proj.weight");
            PART(&b->qkvw, value*(size_t)C, KV, C, "model.layers.#.self_attn.v_proj.weight");
            if (c->qkv_bias) {
                PART(&b->qkvb, 0, Q, 0, "model.layers.#.self_attn.q_proj.bias");
                PART(&b->qkvb, key, KV, 0, "model.layers.#.self_attn.k_proj.bias");
                PART(&b->qkvb, value, KV, 0, "model.layers.#.self_attn.v_proj.bias");
            }
            if (c->qk_norm) {
                IS(&b->qnormw, HD, 0, "model.layers.#.self_attn.q_norm.weight");
                IS(&b->knormw, HD, 0, "model.layers.#.self_attn.k_norm.weight");
            }
            IS(&b->attw, C, Q, "model.layers.#.self_attn.o_proj.weight");
            if (c->out_bias) IS(&b->attb, C, 0, "model.layers.#.self_attn.o_proj.bias");
            PART(&b->fcw, 0, F, C, "model.layers.#.mlp.gate_proj.weight");
            PART(&b->fcw, up, F, C, "model.layers.#.mlp.up_proj.weight");
            IS(&b->projw, C, F, "model.layers.#.mlp.down_proj.weight");
            if (c->mlp_bias) {
                PART(&b->fcb, 0, F, 0, "model.layers.#.mlp.gate_proj.bias");
                PART(&b->fcb, (size_t)F, F, 0, "model.layers.#.mlp.up_proj.bias");
                IS(&b->projb, C, 0, "model.layers.#.mlp.down_proj.bias");
            }
        }
    }
    int unembed = !c->tied && !c->reward;
    if (c->family == FAMILY_NEOX) {
        IS(&p->wte, V, C, "gpt_neox.embed_in.weight");
        IS(&p->lnfw, C, 0, "gpt_neox.final_layer_norm.weight");
        IS(&p->lnfb, C, 0, "gpt_neox.final_layer_norm.bias");
        if (unembed) IS(&p->unembed, V, C, "embed_out.weight");
    } else if (c->family == FAMILY_GPT2) {
        IS(&p->wte, V, C, "transformer.wte.weight");
        IS(&p->wpe, c->max_positions, C, "transformer.wpe.weight");
        IS(&p->lnfw, C, 0, "transformer.ln_f.weight");
        IS(&p->lnfb, C, 0, "transformer.ln_f.bias");
        if (unembed) IS(&p->unembed, V, C, "lm_head.weight");
    } else {
        IS(&p->wte, V, C, "model.embed_tokens.weight");
        IS(&p->lnfw, C, 0, "model.norm.weight");
        if (unembed) IS(&p->unembed, V, C, "lm_head.weight");
    }
    if (c->reward) IS(&p->head, 1, C, "score.weight");
    #undef IS
    #undef PART
    if (!e->bad) qsort(e->entry_memory, e->n, sizeof(Entry), by_name);
    return -e->bad;
}

// The place among our values of the i-th stored one.
static size_t place(const Entry *e, size_t i) {
    size_t cols = e->cols ? e->cols : 1, row = i / cols, col = i % cols, HD = (size_t)e->head_dim;
    if (e->layout == AS_IS) return i;
    if (e->layout == TRANSPOSED) return col * e->rows + row;
    size_t head = row / (3*HD), part = row / HD % 3;
    return ((part * (size_t)e->heads + head) * HD + row % HD) * cols + col;
}

// -------------------------------------------------------------------------------------- reading a folder

static const char *shape_text(char text[200], const uint64_t *shape, int dims) {
    strcpy(text, "[");
    for (int i = 0; i < dims; i++)
        snprintf(text + strlen(text), 200 - strlen(text), i ? ",%llu" : "%llu", (unsigned long long)shape[i]);
    return strcat(text, "]");
}

// May this tensor stay unread?  Old files hold constants, and those of tied models the embedding once more.
static int harmless(const char *name, const Config *c) {
    static const char *const constants[] = {".attn.bias", ".attn.masked_bias", ".attention.bias",
                                            ".attention.masked_bias", "rotary_emb.inv_freq"};
    for (size_t k = 0; k < sizeof constants / sizeof *constants; k++)
        if (ends_with(name, constants[k])) return 1;
    return (c->tied || c->reward) && (!strcmp(name, "lm_head.weight") || !strcmp(name, "embed_out.weight"));
}

static Entry *find(const Entries *e, const char *prefix, const char *name) {
    Entry key;
    int n = snprintf(key.name, sizeof key.name, "%s%s", prefix, name);
    return n < (int)sizeof key.name ? bsearch(&key, e->entry_memory, e->n, sizeof key, by_name) : NULL;
}

// Finds each entry's tensor; nothing but `optional` may be missing, nothing left over or of another shape.
static int entries_match(Entries *e, const Files *f, const char *dir, const char *optional) {
    const struct Names *family = &families[e->config->family];
    char have[200], want[200];
    for (size_t i = 0; i < f->n; i++) {
        const Stored *t = &f->stored_memory[i];
        const char *path = t->shard->path;
        Entry *m = find(e, "", t->name);
        if (!m) m = find(e, family->prefix, t->name);                  // saved from the base model alone
        if (!m && harmless(t->name, e->config)) continue;
        if (!m)
            return fail(EX_DATAERR, "%s: tensor %.100s is none of a %s model as config.json describes it",
                        path, t->name, family->architecture);
        if (m->source >= 0) return fail(EX_DATAERR, "%s: tensor %.100s is there twice", path, t->name);
        uint64_t shape[2] = {m->rows, m->cols};
        int dims = m->cols ? 2 : 1;
        if (t->dims != dims || memcmp(t->shape, shape, (size_t)dims * sizeof *shape))
            return fail(EX_DATAERR, "%s: tensor %.100s has shape %s, config.json asks for %s", path, t->name,
                        shape_text(have, t->shape, t->dims), shape_text(want, shape, dims));
        if (t->dtype == OTHER)
            return fail(EX_DATAERR, "%s: tensor %.100s is not F32, F16, BF16 or F64", path, t->name);
        m->source = (int)i;
    }
    for (size_t i = 0; i < e->n; i++) {
        const Entry *m = &e->entry_memory[i];
        if (m->source < 0 && strcmp(m->name, optional))
            return fail(EX_DATAERR, "%s: tensor %s is missing from the weights", dir, m->name);
    }
    return 0;
}

static int entry_read(const Entry *e, const Stored *t) {
    unsigned char chunk[CHUNK];
    real *ours = allocate(e->n, sizeof *ours);
    int bad = !ours;
    for (size_t i = 0, k; i < e->n && !bad; i += k) {
        k = e->n - i < CHUNK / t->size ? e->n - i : CHUNK / t->size;
        bad = read_at(t->shard->fd, t->shard->path, chunk, k * t->size, t->begin + i * t->size) < 0;
        for (size_t n = 0; n < k && !bad; n++) {
            float x = decode(t->dtype, chunk + n * t->size);
            ours[place(e, i + n)] = x;
            if (fabsf(x) <= FLT_MAX) continue;
            bad = fail(EX_DATAERR, "%s: tensor %s: value %zu is %s", t->shard->path, t->name, i + n,
                       isnan(x) ? "not a number" : "infinite, or beyond a float") < 0;
        }
    }
    if (!bad) kernels_write(*e->tensor + e->offset, ours, e->n);
    free(ours);
    return -bad;
}

// kind: LOAD_AS_STORED; LOAD_REWARD_MODEL, a language model gets a zero head; LOAD_LANGUAGE_MODEL, or error
int checkpoint_load(Model *m, const char *dir, int kind) {
    Config c;
    Files f = {.shards = 0};
    Entries e = {0};
    memset(m, 0, sizeof *m);
    if (checkpoint_config(&c, dir) < 0) return -1;
    if (kind == LOAD_LANGUAGE_MODEL && c.reward)
        return fail(EX_DATAERR, "%s: a reward model, which predicts no tokens: give the language model "
                    "it was trained from", dir);
    const char *optional = kind == LOAD_REWARD_MODEL && !c.reward ? "score.weight" : "";
    if (kind == LOAD_REWARD_MODEL) c.reward = 1;
    int bad = entries_init(&e, &c, &m->params) < 0 || files_open(&f, dir) < 0
           || entries_match(&e, &f, dir, optional) < 0 || model_init(m, c) < 0;        // memory comes last
    for (size_t i = 0; i < e.n && !bad; i++) {
        const Entry *t = &e.entry_memory[i];
        bad = t->source >= 0 && entry_read(t, &f.stored_memory[t->source]) < 0;
    }
    if (bad && m->params_memory) model_free(m);
    files_close(&f);
    free(e.entry_memory);
    return -bad;
}

// ---------------------------------------------------------------------------------------- writing a folder

static int header_text(Buffer *b, const Entries *e, Dtype dtype, size_t size) {
    size_t begin = 0, end;
    int bad = buffer_printf(b, "{\"__metadata__\":{\"format\":\"pt\"}") < 0;
    for (size_t i = 0; i < e->n && !bad; i++, begin = end) {
        const Entry *t = &e->entry_memory[i];
        end = begin + t->n * size;
        bad = buffer_printf(b, ",\"%s\":{\"dtype\":\"%s\",", t->name, dtypes[dtype].name) < 0
           || buffer_printf(b, "\"shape\":[%zu", t->rows) < 0
           || (t->cols && buffer_printf(b, ",%zu", t->cols) < 0)
           || buffer_printf(b, "],\"data_offsets\":[%zu,%zu]}", begin, end) < 0;
    }
    return bad || buffer_printf(b, "}%*s", (int)(7 - b->len % 8), "") < 0 ? -1 : 0;      // values are aligned
}

static int add(Output *o, Sha256 *sha, const void *data, size_t n) {
    sha256_add(sha, data, n);
    return output_write(o, data, n);
}

static int entry_write(Output *o, Sha256 *sha, const Entry *e, Dtype dtype, size_t size) {
    unsigned char chunk[CHUNK];
    real *ours = allocate(e->n, sizeof *ours);
    int bad = !ours;
    if (!bad) kernels_read(ours, *e->tensor + e->offset, e->n);
    for (size_t i = 0, k; i < e->n && !bad; i += k) {
        k = e->n - i < CHUNK / size ? e->n - i : CHUNK / size;
        for (size_t n = 0; n < k && !bad; n++) {
            float x = (float)ours[place(e, i + n)];
            encode(dtype, chunk + n * size, x);
            if (fabsf(decode(dtype, chunk + n * size)) <= FLT_MAX) continue;
            bad = fail(EX_DATAERR, "tensor %s: value %zu is %g, which %s cannot hold; nothing was saved",
                       e->name, i + n, (double)x, dtypes[dtype].name) < 0;
        }
        bad = bad || add(o, sha, chunk, k * size) < 0;
    }
    free(ours);
    return -bad;
}

static int weights_write(Output *o, const Model *m, Dtype dtype, Sha256 *sha) {
    Entries e;
    Buffer header = {0};
    unsigned char length[8];
    size_t size = dtypes[dtype].size;
    int bad = entries_init(&e, &m->config, &m->params) < 0 || header_text(&header, &e, dtype, size) < 0;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header.len >> 8*i);
    sha256_start(sha);
    bad = bad || add(o, sha, length, 8) < 0 || add(o, sha, header.data, header.len) < 0;
    for (size_t i = 0; i < e.n && !bad; i++) bad = entry_write(o, sha, &e.entry_memory[i], dtype, size) < 0;
    buffer_free(&header);
    free(e.entry_memory);
    return -bad;
}

// "bos_token": .. and so on, as in special_tokens_map.json: the texts that tokenizer.json has for the ids
static int tokens_text(Buffer *b, const Config *c, const Json *j, int comma) {
    static const char *const names[] = {"bos_token", "eos_token", "pad_token"};
    int id[3] = {c->bos, c->eos, c->pad}, bad = 0;
    for (int i = 0; i < 3 && !bad; i++) {
        int t = json_first(j, json_get(j, 0, "added_tokens"));
        while (t >= 0 && json_number(j, json_get(j, t, "id")) != id[i]) t = json_next(j, t);
        if (t < 0 || id[i] < 0) continue;
        int content = json_get(j, t, "content");
        bad = buffer_printf(b, "%s\n  \"%s\": ", comma++ ? "," : "", names[i]) < 0
           || json_quote(b, json_string(j, content), json_length(j, content)) < 0;
    }
    return bad || buffer_printf(b, "\n}\n") < 0 ? -1 : 0;
}

// The three files with which transformers' AutoTokenizer is content.
static int tokenizer_texts(Buffer text[3], const Config *c, const Buffer *tokenizer) {
    Json j = {0};
    int bad = json_parse(&j, tokenizer->data, tokenizer->len, "tokenizer.json") < 0
           || buffer_append(&text[0], tokenizer->data, tokenizer->len) < 0
           || buffer_printf(&text[1], "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                            "  \"model_max_length\": %d,\n  \"clean_up_tokenization_spaces\": false",
                            c->max_positions) < 0
           || tokens_text(&text[1], c, &j, 1) < 0
           || buffer_printf(&text[2], "{") < 0 || tokens_text(&text[2], c, &j, 0) < 0;
    json_free(&j);
    return -bad;
}

static int same_as_file(const char *path, const Buffer *b) {
    char old[65], new[65];
    sha256_hex(new, b->data, b->len);
    return sha256_file(old, path) == 0 && !strcmp(old, new);
}

/* Everything is first written and flushed under temporary names; only then are the files renamed, config.json
 * last, because a folder without it does not load.  When a small file changes, the old config.json is first
 * set aside as config.json.old: a crash between two renames leaves a folder that is refused, all its files
 * there, never new weights read by an old configuration.  When only the weights change, as from save to save
 * of a run, the folder loads at every moment.                                                              */
int checkpoint_save(const Model *m, const char *dir, const Buffer *tokenizer, const char *dtype,
                    char sha256[65]) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                        "model.safetensors", "config.json"};
    static const struct { const char *name, *torch; Dtype dtype; } kinds[] = {
        {"f32", "float32", F32}, {"f16", "float16", F16}, {"bf16", "bfloat16", BF16}};
    enum { WEIGHTS = 3, CONFIG = 4, N = 5 };
    Output out[N];
    Buffer text[N] = {{0}};
    Sha256 sha;
    char path[PATH_SIZE], old[PATH_SIZE];
    int k = 0, changed = 0, renamed = 0, aside = 0, first = tokenizer && tokenizer->len ? 0 : WEIGHTS;
    while (k < 3 && strcmp(kinds[k].name, dtype)) k++;
    if (k == 3) return fail(EX_USAGE, "%s: not a format of weights: f32, f16 or bf16", dtype);
    for (int i = 0; i < N; i++) out[i].fd = -1, out[i].exists = 0;

    int bad = path_join(old, dir, "config.json.old") < 0 || folder_make(dir) < 0
           || config_text(&text[CONFIG], &m->config, kinds[k].torch) < 0
           || (!first && tokenizer_texts(text, &m->config, tokenizer) < 0);
    for (int i = first; i < N && !bad; i++) {
        bad = path_join(path, dir, names[i]) < 0 || output_open(&out[i], path) < 0;
        if (!bad && i == WEIGHTS) bad = weights_write(&out[i], m, kinds[k].dtype, &sha) < 0;
        else if (!bad) bad = output_write(&out[i], text[i].data, text[i].len) < 0;
        bad = bad || output_close(&out[i]) < 0;
        if (!bad && i != WEIGHTS) changed |= !same_as_file(out[i].path, &text[i]);
    }
    if (!bad && changed) {
        aside = rename(out[CONFIG].path, old) == 0;
        if (!aside && errno != ENOENT)
            bad = fail(EX_CANTCREAT, "%s: could not be replaced: %s", out[CONFIG].path, strerror(errno)) < 0;
        bad = bad || folder_sync(old) < 0;
    }
    for (int i = first; i < N && !bad; i++) {
        bad = output_rename(&out[i]) < 0 || (i >= WEIGHTS && folder_sync(old) < 0);
        renamed |= !out[i].exists;
    }
    if (aside && bad && !renamed) rename(old, out[CONFIG].path);
    if (aside && !bad) unlink(old);
    for (int i = 0; i < N; i++) {
        if (bad && aside && renamed) out[i].exists = 0;          // stopped half-way: keep the rest
        output_drop(&out[i]);
        buffer_free(&text[i]);
    }
    if (!bad) sha256_finish(&sha, sha256);
    return -bad;
}

#endif

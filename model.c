/* model.c - the transformer: configuration, one layout of parameters, forward, backward, update.
 *
 * One block that is GPT-NeoX, GPT-2 or LLaMA by its configuration.  Rows are packed texts that share their
 * prompts (Segment and Text in kernels.h): every layer but attention works row by row and knows nothing of
 * texts.  Tensors are only handed to the layers; nothing here looks into one.                              */
#ifndef MODEL_C
#define MODEL_C
#include "kernels.h"
#ifndef MORE_LINK_KERNELS
#include "kernels.c"
#endif

enum { MAX_LAYERS = 128 };
typedef enum {
    FAMILY_NEOX, FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, NUM_FAMILIES
} Family;

// What people call the family; its names in files stand in families[] of files/config.c.
const char *model_family_name(Family family) {
    static const char *const name[] = {
        [FAMILY_NEOX]  = "GPT-NeoX",
        [FAMILY_GPT2]  = "GPT-2",
        [FAMILY_LLAMA] = "LLaMA",
        [FAMILY_QWEN2] = "Qwen2",
        [FAMILY_QWEN3] = "Qwen3",
    };
    _Static_assert(sizeof name / sizeof *name == NUM_FAMILIES, "a family without a name");
    return name[family];
}

typedef struct {
    Family family;                                          // for names in files; the model reads the rest
    int vocab_size, channels, num_layers, num_heads, num_kv_heads, head_dim;
    int hidden;                                                       // width F of the feed-forward layer
    int max_positions;
    int rms_norm, learned_positions, parallel_residual, gated, tied;  // yes or no
    int rotary_dims;                                                  // of a head's HD, 0 = no rotary
    int qkv_bias, out_bias, mlp_bias, qk_norm;                        // yes or no
    Activation activation;
    float norm_eps;
    double rope_theta;
    double rope_factor, rope_low_freq, rope_high_freq;                // llama3 scaling; factor 0 or 1 = none
    int rope_original;
    int bos, eos, pad;                                                // token ids, -1 for none
    int reward;                                             // yes: a score head instead of an output layer
    Pooling pooling;
} Config;

typedef struct {                                            // one layer; NULL where the family has none
    real *ln1w, *ln1b;                                                // (C)
    real *qkvw, *qkvb;                                      // (QO, C), (QO): query, key, value heads
    real *qnormw, *knormw;                                            // (HD)
    real *attw, *attb;                                                // (C, NH HD), (C)
    real *ln2w, *ln2b;                                                // (C)
    real *fcw, *fcb;                                        // (FC, C), (FC): FC = F, or gate and up 2F
    real *projw, *projb;                                              // (C, F), (C)
} Block;

typedef struct {
    real *wte, *wpe;                                                  // (V, C), (P, C)
    Block block[MAX_LAYERS];
    real *lnfw, *lnfb;                                                // (C)
    real *unembed;                                          // (V, C); NULL when tied, or in a reward model
    real *head;                                                       // (C); only in a reward model
} Params;

typedef struct {                                                      // kept from forward for backward
    real *res, *res2;                                       // (T, C) input; after attention (sequential)
    real *ln1, *mean1, *rstd1;                                        // (T, C), (T), (T)
    real *qkv, *att, *lse;                                            // (T, QO), (T, NH HD), (T, NH)
    real *pre, *rstdq, *rstdk;                              // (T, QO), (T, NH), (T, NKV): query/key norm
    real *ln2, *mean2, *rstd2;
    real *fc, *act;                                                   // (T, FC), (T, F)
} BlockActs;

typedef struct {
    BlockActs block[MAX_LAYERS];
    real *res, *lnf, *meanf, *rstdf;                                  // (T, C), (T, C), (T), (T)
    real *pooled, *reward;                                            // (B, C), (B)
    real *a, *b;                                                      // (T, max(C, NH HD)) scratch
    real *dres, *dwide;                                               // (T, C), (T, max(QO, FC)) of backward
    real *dact;                                                       // (T, max(F, NH HD))
    real *logits;                                                     // (LOGITS_ROWS, V + 2C) scratch
} Acts;

enum { LOGITS_ROWS = 512 };                                           // rows whose logits exist at one time

typedef struct {                                                      // a packed micro-batch
    int T; const int *token, *position, *target;            // (T) target: the next token, or -1: not scored
    int S; const Segment *seg;                                        // (S)
    int B; const Text *text;                                          // (B)
    const CachePath *cache;                                 // (S): keep keys and values; NULL: do not
    int decode;                                             // yes: segments of one row, after their caches
} Batch;

typedef struct {
    Config config;
    size_t num_params;
    Params params, grads;
    real *params_memory, *grads_memory, *moments_memory;              // moments: m, then v
    real *tied_memory;                                      // (V, C) gradient of a tied matrix as the output
    int recompute;                                                    // yes: keep blocks' inputs only
    int T, B;                                                         // room in acts
    Acts acts;
    Params packed; real *packed_memory;                               // between model_pack and model_unpack
    real *acts_memory, *rope_memory;                                  // rope: cosine, sine, (P, dims/2) each
    int *row_memory;                                        // (2, T) scored rows, their targets; (2, T + 1)
    RowBlocks blocks, scored_blocks;                        // of the micro-batch's rows, of the scored ones
} Model;

// ---------------------------------------------------------------------------------------------- layout

static real *carve(real *memory, size_t *used, size_t n) {
    real *p = memory ? memory + *used : NULL;
    *used += n;
    return p;
}
static size_t qkv_width(const Config *c) {
    return (size_t)(c->num_heads + 2*c->num_kv_heads) * (size_t)c->head_dim;
}
static size_t fc_width(const Config *c)  { return (size_t)c->hidden * (c->gated ? 2 : 1); }
static size_t att_width(const Config *c) { return (size_t)c->num_heads * (size_t)c->head_dim; }
static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Every tensor in order: where it is, its size, whether weight decay applies (to matrices and the reward
 * head, not to norms and biases), how it starts.  The one walk below lays out, initialises, updates and
 * counts.                                                                                                  */
typedef struct {
    size_t offset, size;
    int decay, fan_in;                                                // fan_in: of matrices
    enum { KIND_EMBED, KIND_MATRIX, KIND_OUT, KIND_ONE, KIND_ZERO, KIND_HEAD } kind;
} Tensor;

static size_t params_layout(Params *p, const Config *c, real *memory, Tensor *list, int *count) {
    size_t n = 0, C = (size_t)c->channels, V = (size_t)c->vocab_size, HD = (size_t)c->head_dim;
    int k = 0;
    memset(p, 0, sizeof *p);
#define TENSOR(field, present, size_, kind_, fan)                                                   \
    do { if (present) {                                                                             \
        const int decay = (kind_) < KIND_ONE || (kind_) == KIND_HEAD;                               \
        if (list) list[k] = (Tensor){n, (size_), decay, (int)(fan), (kind_)};                       \
        (field) = carve(memory, &n, (size_));                                                       \
        k++;                                                                                        \
    } } while (0)
    TENSOR(p->wte, 1, V*C, KIND_EMBED, C);
    TENSOR(p->wpe, c->learned_positions, (size_t)c->max_positions*C, KIND_EMBED, C);
    for (int l = 0; l < c->num_layers; l++) {
        Block *b = &p->block[l];
        TENSOR(b->ln1w, 1, C, KIND_ONE, 0);
        TENSOR(b->ln1b, !c->rms_norm, C, KIND_ZERO, 0);
        TENSOR(b->qkvw, 1, qkv_width(c)*C, KIND_MATRIX, C);
        TENSOR(b->qkvb, c->qkv_bias, qkv_width(c), KIND_ZERO, 0);
        TENSOR(b->qnormw, c->qk_norm, HD, KIND_ONE, 0);
        TENSOR(b->knormw, c->qk_norm, HD, KIND_ONE, 0);
        TENSOR(b->attw, 1, C*att_width(c), KIND_OUT, att_width(c));
        TENSOR(b->attb, c->out_bias, C, KIND_ZERO, 0);
        TENSOR(b->ln2w, 1, C, KIND_ONE, 0);
        TENSOR(b->ln2b, !c->rms_norm, C, KIND_ZERO, 0);
        TENSOR(b->fcw, 1, fc_width(c)*C, KIND_MATRIX, C);
        TENSOR(b->fcb, c->mlp_bias, fc_width(c), KIND_ZERO, 0);
        TENSOR(b->projw, 1, C*(size_t)c->hidden, KIND_OUT, c->hidden);
        TENSOR(b->projb, c->mlp_bias, C, KIND_ZERO, 0);
    }
    TENSOR(p->lnfw, 1, C, KIND_ONE, 0);
    TENSOR(p->lnfb, !c->rms_norm, C, KIND_ZERO, 0);
    TENSOR(p->unembed, !c->tied && !c->reward, V*C, KIND_EMBED, C);
    TENSOR(p->head, c->reward, C, KIND_HEAD, C);
#undef TENSOR
    if (count) *count = k;
    return n;
}
enum { MAX_TENSORS = 14*MAX_LAYERS + 6 };

/* What is kept from forward: SCORING nothing, a block writes over its input; TRAINING all that backward
 * reads; RECOMPUTING each block's input, from which backward computes the rest again.                      */
typedef enum { SCORING, TRAINING, RECOMPUTING } Purpose;

static size_t acts_layout(Acts *a, const Config *c, real *memory, size_t T, size_t B, Purpose purpose) {
    size_t n = 0, C = (size_t)c->channels, NH = (size_t)c->num_heads;
    memset(a, 0, sizeof *a);
    for (int l = 0; l < c->num_layers; l++) {
        BlockActs *b = &a->block[l];
        if (l && purpose != TRAINING) {                               // one set of activations for all blocks
            *b = a->block[0];
            if (purpose == RECOMPUTING) b->res = carve(memory, &n, T*C);
            if (c->parallel_residual) b->res2 = b->res;
            continue;
        }
        b->res   = carve(memory, &n, T*C);
        b->res2  = c->parallel_residual ? b->res : carve(memory, &n, T*C);
        b->ln1   = carve(memory, &n, T*C);
        b->mean1 = carve(memory, &n, T);
        b->rstd1 = carve(memory, &n, T);
        b->qkv   = carve(memory, &n, T*qkv_width(c));
        if (c->qk_norm) {
            b->pre   = carve(memory, &n, T*qkv_width(c));
            b->rstdq = carve(memory, &n, T*NH);
            b->rstdk = carve(memory, &n, T*(size_t)c->num_kv_heads);
        }
        b->att   = carve(memory, &n, T*att_width(c));
        b->lse   = carve(memory, &n, T*NH);
        b->ln2   = carve(memory, &n, T*C);
        b->mean2 = carve(memory, &n, T);
        b->rstd2 = carve(memory, &n, T);
        b->fc    = carve(memory, &n, T*fc_width(c));
        b->act   = carve(memory, &n, T*(size_t)c->hidden);
    }
    a->res    = purpose ? carve(memory, &n, T*C) : a->block[0].res;
    a->lnf    = carve(memory, &n, T*C);
    a->meanf  = carve(memory, &n, T);
    a->rstdf  = carve(memory, &n, T);
    a->pooled = carve(memory, &n, B*C);
    a->reward = carve(memory, &n, B);
    a->a      = carve(memory, &n, T*max_size(C, att_width(c)));
    a->b      = carve(memory, &n, T*C);
    if (purpose) {
        a->dres  = carve(memory, &n, T*C);
        a->dwide = carve(memory, &n, T*max_size(qkv_width(c), fc_width(c)));
        a->dact  = carve(memory, &n, T*max_size((size_t)c->hidden, att_width(c)));
    }
    if (!c->reward) a->logits = carve(memory, &n, LOGITS_ROWS*((size_t)c->vocab_size + 2*C));
    return n;
}

static size_t rope_size(const Config *c) { return 2 * (size_t)c->max_positions * (size_t)(c->rotary_dims/2); }

// Numbers in the parameters of such a model.
size_t model_num_params(const Config *c) {
    Params p;
    return params_layout(&p, c, NULL, NULL, NULL);
}

// Bytes that a model with room for T rows and B texts takes; training adds gradients, moments, activations.
size_t model_bytes(const Config *c, int T, int B, Purpose purpose) {
    Acts a;
    size_t n = model_num_params(c) * (purpose ? 4 : 1) + rope_size(c)
             + acts_layout(&a, c, NULL, (size_t)T, (size_t)B, purpose);
    if (purpose && c->tied && !c->reward) n += (size_t)c->vocab_size * (size_t)c->channels;
    return n * sizeof(real) + (4 * (size_t)T + 2) * sizeof(int);
}

// ------------------------------------------------------------------------------------- start and end

void model_free(Model *m) {
    real *owned[] = {m->params_memory, m->grads_memory, m->moments_memory, m->tied_memory, m->acts_memory,
                     m->rope_memory, m->packed_memory};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) kernels_free(owned[i]);
    free(m->row_memory);
    memset(m, 0, sizeof *m);
}

/* inverse frequency i of the rotary embedding, rounded to float; llama3 scaling lowers the low ones:
 * f/factor below, f above, and between them a line in the wavelength's ratio.                             */
static float rope_frequency(const Config *c, int i) {
    double f = more_pow(c->rope_theta, -2.0*i / c->rotary_dims);
    if (c->rope_factor > 0 && c->rope_factor != 1) {
        double turns = c->rope_original * f / 6.283185307179586;        // over the original context
        double smooth = (turns - c->rope_low_freq) / (c->rope_high_freq - c->rope_low_freq);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        f = (1 - smooth) * f / c->rope_factor + smooth * f;
    }
    return (float)f;
}

static int rope_init(Model *m) {
    const Config *c = &m->config;
    int half = c->rotary_dims / 2;
    size_t n = (size_t)c->max_positions * (size_t)half;
    real *table = allocate(2*n, sizeof *table);
    m->rope_memory = table ? kernels_alloc(2*n) : NULL;
    if (!m->rope_memory) return free(table), -1;
    for (int i = 0; i < half; i++) {
        float f = rope_frequency(c, i);
        for (int p = 0; p < c->max_positions; p++) {
            double s, co;
            more_sincos((double)((float)p * f), &s, &co);
            table[(size_t)p*half + i] = (real)co;
            table[n + (size_t)p*half + i] = (real)s;
        }
    }
    kernels_write(m->rope_memory, table, 2*n);
    free(table);
    return 0;
}

// Zeroed parameters of the shape c. 0, or -1 after fail().
int model_init(Model *m, Config c) {
    memset(m, 0, sizeof *m);
    m->config = c;
    m->num_params = model_num_params(&c);
    m->params_memory = kernels_alloc(m->num_params);
    if (!m->params_memory || (c.rotary_dims && rope_init(m) < 0)) return model_free(m), -1;
    params_layout(&m->params, &c, m->params_memory, NULL, NULL);
    return 0;
}

// Adds gradients and both Adam moments, zeroed. 0, or -1 after fail().
int model_init_training(Model *m) {
    const Config *c = &m->config;
    m->grads_memory = kernels_alloc(m->num_params);
    m->moments_memory = kernels_alloc(2 * m->num_params);
    if (c->tied && !c->reward) m->tied_memory = kernels_alloc((size_t)c->vocab_size * (size_t)c->channels);
    if (!m->grads_memory || !m->moments_memory || (c->tied && !c->reward && !m->tied_memory)) return -1;
    params_layout(&m->grads, c, m->grads_memory, NULL, NULL);
    return 0;
}

// Room for micro-batches of at most T rows and B texts. 0, or -1 after fail().
int model_reserve(Model *m, int T, int B) {
    if (T <= m->T && B <= m->B) return 0;
    T = T > m->T ? T : m->T;
    B = B > m->B ? B : m->B;
    kernels_free(m->acts_memory);
    free(m->row_memory);
    Purpose purpose = !m->grads_memory ? SCORING : m->recompute ? RECOMPUTING : TRAINING;
    m->T = m->B = 0;
    m->acts_memory = kernels_alloc(acts_layout(&m->acts, &m->config, NULL, (size_t)T, (size_t)B, purpose));
    m->row_memory = allocate(4 * (size_t)T + 2, sizeof(int));
    if (!m->acts_memory || !m->row_memory || attention_reserve(m->config.max_positions) < 0) return -1;
    acts_layout(&m->acts, &m->config, m->acts_memory, (size_t)T, (size_t)B, purpose);
    m->T = T, m->B = B;
    return 0;
}

/* Fresh weights: embeddings N(0, 0.02); matrices N(0, sqrt(2/(5C))), those that write to the residual stream
 * N(0, 2/(L sqrt C)) (GPT-NeoX's "small_init" and "wang_init"); gains 1, biases 0, head 0.
 * 0, or -1 after fail().                                                                                   */
int model_random(Model *m, uint64_t seed) {
    const Config *c = &m->config;
    static Tensor list[MAX_TENSORS];
    Params p;
    int count;
    params_layout(&p, c, NULL, list, &count);
    double small = sqrt(2.0 / (5.0 * c->channels)), out = 2.0 / c->num_layers / sqrt((double)c->channels);
    if (c->learned_positions) small = 0.02, out = 0.02 / sqrt(2.0 * c->num_layers);       // GPT-2's own
    for (int k = 0; k < count; k++) {
        real *host = allocate(list[k].size, sizeof *host);
        if (!host) return -1;
        const double deviation[] = {[KIND_EMBED] = 0.02, [KIND_MATRIX] = small, [KIND_OUT] = out,
                                    [KIND_HEAD] = 0};
        const double sd = deviation[list[k].kind];
        for (size_t i = 0; i < list[k].size; i++) {
            host[i] = list[k].kind == KIND_ONE;
            if (sd > 0) host[i] = (real)(float)(sd * random_normal(seed, STREAM_INIT, (uint64_t)k, i));
        }
        kernels_write(m->params_memory + list[k].offset, host, list[k].size);
        free(host);
    }
    return 0;
}

// The reward head from N(0, 0.02): the row "Raw" of the MORE paper. 0, or -1 after fail().
int model_random_head(Model *m, uint64_t seed) {
    real *host = allocate((size_t)m->config.channels, sizeof *host);
    if (!host) return -1;
    for (int i = 0; i < m->config.channels; i++)
        host[i] = (real)(float)(0.02 * random_normal(seed, STREAM_HEAD, 0, (uint64_t)i));
    kernels_write(m->params.head, host, (size_t)m->config.channels);
    free(host);
    return 0;
}

// --------------------------------------------------------------------------------------------- forward

static real *output_matrix(const Model *m) { return m->config.tied ? m->params.wte : m->params.unembed; }

static real *packed_copy(const real *w, real *memory, size_t *used, size_t C, size_t OC) {
    real *packed = carve(memory, used, matmul_packed_size((int)C, (int)OC));
    if (memory) matmul_pack_weights(packed, w, (int)C, (int)OC);
    return packed;
}
static size_t pack_matrices(Model *m, real *memory) {
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels, F = (size_t)c->hidden;
    size_t n = 0;
    for (int l = 0; l < c->num_layers; l++) {
        const Block *b = &m->params.block[l];
        m->packed.block[l].qkvw  = packed_copy(b->qkvw, memory, &n, C, qkv_width(c));
        m->packed.block[l].attw  = packed_copy(b->attw, memory, &n, att_width(c), C);
        m->packed.block[l].fcw   = packed_copy(b->fcw, memory, &n, C, fc_width(c));
        m->packed.block[l].projw = packed_copy(b->projw, memory, &n, F, C);
    }
    if (!c->reward) m->packed.unembed = packed_copy(output_matrix(m), memory, &n, C, (size_t)c->vocab_size);
    return n;
}
void model_unpack(Model *m) {
    kernels_free(m->packed_memory);
    m->packed_memory = NULL;
    memset(&m->packed, 0, sizeof m->packed);
}
/* Packed copies of the weight matrices: until model_unpack forward reads them instead, much faster where rows
 * are few.  0, or -1 after fail().                                                                         */
int model_pack(Model *m) {
    model_unpack(m);
    m->packed_memory = kernels_alloc(pack_matrices(m, NULL));
    if (m->packed_memory) pack_matrices(m, m->packed_memory);
    return m->packed_memory ? 0 : -1;
}

static void linear_forward(real *out, const real *inp, const real *w, const real *packed, const real *b,
                           int T, int C, int OC) {
    if (packed) matmul_packed_forward(out, inp, packed, b, T, C, OC);
    else matmul_forward(out, inp, w, b, T, C, OC);
}

/* h = norm1(x);  a = attention(h);  parallel:   y = (x + a) + mlp(norm2(x))           GPT-NeoX-20B, sec. 2.1
 *                                   sequential: z = x + a;  y = z + mlp(norm2(z))
 * With `again`, only what backward reads: y is known.                                                      */
static void block_forward(const Model *m, const Batch *s, int l, int again) {
    const Config *c = &m->config;
    const Block *p = &m->params.block[l], *k = &m->packed.block[l];
    const BlockActs *a = &m->acts.block[l];
    const int T = s->T, C = c->channels, NH = c->num_heads, NKV = c->num_kv_heads, HD = c->head_dim;
    const int F = c->hidden, QO = (int)qkv_width(c), half = c->rotary_dims / 2;
    real *y = l + 1 < c->num_layers ? m->acts.block[l+1].res : m->acts.res;
    real *att_out = m->acts.a, *mlp_out = m->acts.b;

    norm_forward(a->ln1, a->mean1, a->rstd1, a->res, p->ln1w, p->ln1b, c->norm_eps, c->rms_norm, T, C);
    linear_forward(a->qkv, a->ln1, p->qkvw, k->qkvw, p->qkvb, T, C, QO);
    if (c->qk_norm) {
        head_norm_forward(a->qkv, a->pre, a->rstdq, p->qnormw, c->norm_eps, T, NH, HD, QO);
        head_norm_forward(a->qkv + NH*HD, a->pre + NH*HD, a->rstdk, p->knormw, c->norm_eps, T, NKV, HD, QO);
    }
    if (half) rotary(a->qkv, m->rope_memory, m->rope_memory + (size_t)c->max_positions*half, s->position, 1,
                     T, NH + NKV, HD, c->rotary_dims, QO);
    if (s->cache) cache_append(s->cache, a->qkv, s->seg, s->S, l, NH, NKV, HD);
    if (s->decode) attention_decode(a->att, a->qkv, s->cache, l, T, NH, NKV, HD);
    else attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
    if (!again || !c->parallel_residual)
        linear_forward(att_out, a->att, p->attw, k->attw, p->attb, T, NH*HD, C);
    if (!c->parallel_residual) add_forward(a->res2, a->res, att_out, (size_t)T*C);

    norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, p->ln2w, p->ln2b, c->norm_eps, c->rms_norm, T, C);
    linear_forward(a->fc, a->ln2, p->fcw, k->fcw, p->fcb, T, C, (int)fc_width(c));
    if (c->gated) gated_forward(a->act, a->fc, c->activation, T, F);
    else activation_forward(a->act, a->fc, c->activation, T, F);
    if (again) return;
    linear_forward(mlp_out, a->act, p->projw, k->projw, p->projb, T, F, C);
    if (c->parallel_residual) add3_forward(y, a->res, att_out, mlp_out, (size_t)T*C);
    else add_forward(y, a->res2, mlp_out, (size_t)T*C);
}

// Rows of the micro-batch to final-norm hidden states, kept in acts.lnf (T,C).
void model_forward(Model *m, const Batch *s) {
    const Config *c = &m->config;
    Acts *a = &m->acts;
    assert(s->T <= m->T && s->B <= m->B);
    embed_forward(a->block[0].res, s->token, s->position, m->params.wte, m->params.wpe, s->T, c->channels);
    for (int l = 0; l < c->num_layers; l++) block_forward(m, s, l, 0);
    norm_forward(a->lnf, a->meanf, a->rstdf, a->res, m->params.lnfw, m->params.lnfb, c->norm_eps, c->rms_norm,
                 s->T, c->channels);
}

// After forward: reward(B) of each text, and if asked for the pooled hidden states pooled(B,C).
void model_rewards(Model *m, const Batch *s, real *reward, real *pooled) {
    const int C = m->config.channels;
    pool_forward(m->acts.pooled, m->acts.lnf, s->text, m->config.pooling, s->B, C);
    head_forward(m->acts.reward, m->acts.pooled, m->params.head, s->B, C);
    kernels_read(reward, m->acts.reward, (size_t)s->B);
    if (pooled) kernels_read(pooled, m->acts.pooled, (size_t)s->B * (size_t)C);
}

// After forward: logits (n, V) of the rows, or of the first n if row is NULL, and their log-sum-exp (n);
// n <= LOGITS_ROWS.
void model_logits(Model *m, const int *row, int n, real *logits, real *lse) {
    const int C = m->config.channels, V = m->config.vocab_size;
    real *x = m->acts.logits, *rows = x + (size_t)LOGITS_ROWS*(size_t)V;
    real *sums = rows + (size_t)LOGITS_ROWS*(size_t)C;
    if (row) embed_forward(rows, row, NULL, m->acts.lnf, NULL, n, C);  // a row is looked up as a token is
    linear_forward(x, row ? rows : m->acts.lnf, output_matrix(m), m->packed.unembed, NULL, n, C, V);
    lse_forward(sums, x, n, V);
    kernels_read(logits, x, (size_t)n * (size_t)V);
    kernels_read(lse, sums, (size_t)n);
}

// the scored rows and their targets, in row_memory; returns how many
static int scored_rows(Model *m, const Batch *s) {
    int n = 0;
    for (int t = 0; t < s->T; t++)
        if (s->target[t] >= 0) m->row_memory[n] = t, m->row_memory[m->T + n++] = s->target[t];
    return n;
}

// Blocks of at most 32 of the n rows (row NULL: all), anew with each group, into start(n + 1).
static RowBlocks row_blocks(int *start, const Batch *s, const int *row, int n) {
    int count = 0, next = 0, anew = 1;
    for (int i = 0; i < n; i++) {
        for (int r = row ? row[i] : i; next < s->S && s->seg[next].start <= r; next++)
            anew |= s->seg[next].parent < 0;
        if (anew || i - start[count-1] == 32) start[count++] = i, anew = 0;
    }
    start[count] = n;
    return (RowBlocks){start, count};
}

// After forward: logp(T) = log p(target | rows before), 0 where the row is not scored.
int model_logp(Model *m, const Batch *s, real *logp) {
    int n = scored_rows(m, s);
    real *scored = allocate((size_t)n, sizeof *scored);
    if (!scored) return -1;
    logp_forward(scored, m->acts.lnf, output_matrix(m), m->row_memory, m->row_memory + m->T, n,
                 m->config.channels, m->config.vocab_size, m->acts.logits, LOGITS_ROWS);
    memset(logp, 0, (size_t)s->T * sizeof *logp);
    for (int i = 0; i < n; i++) logp[m->row_memory[i]] = scored[i];
    free(scored);
    return 0;
}

// -------------------------------------------------------------------------------------------- backward

static size_t output_size(const Config *c) { return (size_t)c->vocab_size * (size_t)c->channels; }

void model_zero_grads(Model *m) {
    kernels_zero(m->grads_memory, m->num_params);
    if (m->tied_memory) kernels_zero(m->tied_memory, output_size(&m->config));
}

// dres holds dL/dy and ends as dL/dx
static void block_backward(const Model *m, const Batch *s, int l) {
    const Config *c = &m->config;
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const BlockActs *a = &m->acts.block[l];
    const int T = s->T, C = c->channels, NH = c->num_heads, NKV = c->num_kv_heads, HD = c->head_dim;
    const int F = c->hidden, QO = (int)qkv_width(c), half = c->rotary_dims / 2;
    real *dy = m->acts.dres, *dact = m->acts.dact, *dwide = m->acts.dwide, *dnorm = m->acts.b, *dz = dy;

    if (c->parallel_residual) {                                       // both branches see the same dy
        dz = m->acts.a;
        kernels_zero(dz, (size_t)T*C);
    }
    matmul_backward(dact, g->projw, g->projb, dy, a->act, p->projw, T, F, C, &m->blocks);
    if (c->gated) gated_backward(dwide, dact, a->fc, c->activation, T, F);
    else activation_backward(dwide, dact, a->fc, c->activation, T, F);
    matmul_backward(dnorm, g->fcw, g->fcb, dwide, a->ln2, p->fcw, T, C, (int)fc_width(c), &m->blocks);
    norm_backward(dz, g->ln2w, g->ln2b, dnorm, a->res2, a->mean2, a->rstd2, p->ln2w, c->rms_norm, T, C);

    matmul_backward(dact, g->attw, g->attb, dy, a->att, p->attw, T, NH*HD, C, &m->blocks);
    attention_backward(dwide, dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
    if (half) rotary(dwide, m->rope_memory, m->rope_memory + (size_t)c->max_positions*half, s->position, -1,
                     T, NH + NKV, HD, c->rotary_dims, QO);
    if (c->qk_norm) {
        head_norm_backward(dwide, g->qnormw, a->pre, a->rstdq, p->qnormw, T, NH, HD, QO);
        head_norm_backward(dwide + NH*HD, g->knormw, a->pre + NH*HD, a->rstdk, p->knormw, T, NKV, HD, QO);
    }
    matmul_backward(dnorm, g->qkvw, g->qkvb, dwide, a->ln1, p->qkvw, T, C, QO, &m->blocks);
    norm_backward(dz, g->ln1w, g->ln1b, dnorm, a->res, a->mean1, a->rstd1, p->ln1w, c->rms_norm, T, C);
    if (c->parallel_residual) add_forward(dy, dy, dz, (size_t)T*C);
}

/* After forward: adds to the gradients those of  sum_b dreward[b] reward[b] + sum_t dlogp[t] logp[t].
 * dreward(B) or NULL; dlogp(T) or NULL, read where target >= 0; logp(T) or NULL receives the
 * log-probabilities.  0, or -1 after fail().                                                               */
int model_backward(Model *m, const Batch *s, const real *dreward, const real *dlogp, real *logp) {
    const Config *c = &m->config;
    Acts *a = &m->acts;
    const int T = s->T, C = c->channels;
    real *dlnf = a->b;
    m->blocks = row_blocks(m->row_memory + 2*m->T, s, NULL, T);
    kernels_zero(dlnf, (size_t)T*C);
    if (dlogp) {
        int n = scored_rows(m, s);
        m->scored_blocks = row_blocks(m->row_memory + 3*m->T + 1, s, m->row_memory, n);
        real *dscored = allocate(2 * (size_t)n, sizeof *dscored), *scored = dscored + n;
        if (!dscored) return -1;
        for (int i = 0; i < n; i++) dscored[i] = dlogp[m->row_memory[i]];
        logp_backward(dlnf, c->tied ? m->tied_memory : m->grads.unembed, scored, dscored, a->lnf,
                      output_matrix(m), m->row_memory, m->row_memory + m->T, n, C, c->vocab_size, a->logits,
                      LOGITS_ROWS, &m->scored_blocks);
        if (logp) {
            memset(logp, 0, (size_t)T * sizeof *logp);
            for (int i = 0; i < n; i++) logp[m->row_memory[i]] = scored[i];
        }
        free(dscored);
    }
    if (dreward) {
        pool_forward(a->pooled, a->lnf, s->text, c->pooling, s->B, C);
        kernels_write(a->reward, dreward, (size_t)s->B);
        head_backward(dlnf, m->grads.head, a->reward, a->pooled, m->params.head, s->text, c->pooling, s->B,
                      C);
    }
    kernels_zero(a->dres, (size_t)T*C);
    norm_backward(a->dres, m->grads.lnfw, m->grads.lnfb, dlnf, a->res, a->meanf, a->rstdf, m->params.lnfw,
                  c->rms_norm, T, C);
    for (int l = c->num_layers - 1; l >= 0; l--) {
        if (m->recompute && l + 1 < c->num_layers) block_forward(m, s, l, 1);
        block_backward(m, s, l);
    }
    embed_backward(m->grads.wte, m->grads.wpe, a->dres, s->token, s->position, T, C);
    return 0;
}

// Once a step, after its last backward: a tied embedding's two roles meet, output + input.
void model_finish_grads(Model *m) {
    if (m->tied_memory)
        add_forward(m->grads.wte, m->tied_memory, m->grads.wte, output_size(&m->config));
}

// ---------------------------------------------------------------------------------------------- update

// sqrt of the sum of squares of all gradients; NaN or infinity if one of them is.
double model_grad_norm(const Model *m) {
    static Tensor list[MAX_TENSORS];
    Params p;
    int count;
    double sum = 0;
    params_layout(&p, &m->config, NULL, list, &count);
    for (int k = 0; k < count; k++) sum += sum_of_squares(m->grads_memory + list[k].offset, list[k].size);
    return sqrt(sum);
}

typedef struct {
    double learning_rate, beta1, beta2, eps, weight_decay;
    double head_rate;                                                 // multiplies the reward head's rate
    double scale;                                                     // of the gradient: clipping
    int step;                                                         // from 1
} AdamW;

// w = w - lr (mhat / (sqrt(vhat) + eps) + decay w)                   Loshchilov and Hutter 2019, algorithm 2
void model_update(Model *m, const AdamW *o) {
    static Tensor list[MAX_TENSORS];
    Params p;
    int count;
    double b1t = 1, b2t = 1;
    for (int i = 0; i < o->step; i++) b1t *= o->beta1, b2t *= o->beta2;
    params_layout(&p, &m->config, NULL, list, &count);
    for (int k = 0; k < count; k++) {
        size_t at = list[k].offset;
        double lr = o->learning_rate * (list[k].kind == KIND_HEAD ? o->head_rate : 1);
        adamw_update(m->params_memory + at, m->moments_memory + at, m->moments_memory + m->num_params + at,
                     m->grads_memory + at, list[k].size, (real)o->scale, (real)o->beta1, (real)o->beta2,
                     (real)(lr / (1 - b1t)), (real)(1 / sqrt(1 - b2t)), (real)o->eps,
                     (real)(list[k].decay ? 1 - lr * o->weight_decay : 1));
    }
}
#endif

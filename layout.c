/* layout.c - what a model is made of: its configuration, its tensors and where each is in memory,
 * the room for micro-batches; fresh weights, tables of rotary positions, packed copies.  What is
 * computed with them is model.c.
 *
 * Sizes have model.c's letters: T token rows, B texts, C channels, L layers, V vocabulary,
 * P positions, NH query heads, NKV key/value heads, HD head size, F width of the feed-forward
 * layer. */
#ifndef LAYOUT_C
#define LAYOUT_C
#include "kernels.h"
#ifndef MORE_LINK_KERNELS
#include "kernels.c"
#endif

// ----------------------------------------------------------------------------- configuration

typedef enum {
    FAMILY_NEOX, FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, FAMILY_MISTRAL,
    FAMILY_SMOLLM3, FAMILY_OLMO2, NUM_FAMILIES
} Family;

enum { MAX_LAYERS = 128, MAX_MORE_EOS = 31 };

// How the frequencies of rotary positions are scaled for texts longer than those of the first
// training.
typedef enum {
    ROPE_DEFAULT, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_YARN, ROPE_LLAMA3, NUM_ROPE_TYPES
} RopeType;

/* Where an adapter can be, as files name the matrices: queries, keys and values have one each, or
 * one together.  Several may be of one linear layer of ours, and then each adds to its columns. */
typedef enum {
    SITE_Q, SITE_K, SITE_V, SITE_QKV, SITE_OUT, SITE_GATE, SITE_UP, SITE_DOWN, NUM_SITES
} Site;

// A map from differences of rewards to probabilities, see calibration.c: the knots of lines.
enum { ISOTONIC_KNOTS = 32 };
typedef struct {
    int n;                                    // 0: there is none
    double size[ISOTONIC_KNOTS], p[ISOTONIC_KNOTS];     // both rising
} Isotonic;

typedef struct {
    Family family;                            // for names in files; the model reads what follows
    int vocab_size;                           // V
    int channels;                             // C
    int num_layers;                           // L
    int num_heads;                            // NH
    int num_kv_heads;                         // NKV, a divisor of NH
    int head_dim;                             // HD
    int hidden;                               // F
    int max_positions;                        // P
    int sliding_window;                       // less than P, or 0: none
    char slides[MAX_LAYERS];                  // yes: this layer sees no further than the window

    int rms_norm;                             // yes: RMS norms; no: layer norms
    int learned_positions;                    // yes: wpe is added to wte
    int parallel_residual;                    // yes: both halves of a block read its input
    int post_norm;                            // yes: what the halves write is normed, not their
                                              // input
    int gated;                                // yes: feed-forward is act(gate) o up
    int tied;                                 // yes: the output matrix is wte
    int qkv_bias, out_bias, mlp_bias;         // yes: these linear layers have a bias
    int qk_norm;                              // yes: an RMS norm of each query and key head,
    int qk_wide;                              // or of all query heads together, and all key heads
    Activation activation;
    float norm_eps;

    int rotary_dims;                          // of a head's HD that are turned; 0: none
    double rope_theta;
    RopeType rope_type;                       // what the next lines are read for
    double rope_factor;                       // 0 or 1: none
    double rope_low_freq, rope_high_freq;     // llama3's and yarn's limits, in turns
    int rope_original;                        // the positions of the first training
    double rope_attention;                    // multiplies yarn's cosines and sines; 0: 1
    int rope_exact;                           // yes: yarn's limits are not whole channels
    char unturned[MAX_LAYERS];                // yes: this layer has no rotary positions

    int bos, eos, pad;                        // token ids, -1 for none
    int num_more_eos, more_eos[MAX_MORE_EOS]; // further tokens that end a text
    int reward;                               // yes: a score head instead of an output layer
    Pooling pooling;
    double temperature;                       // of more calibrate, see calibration.c; 0: none
    Isotonic isotonic;

    // adapters (Hu et al. 2021): out = W x + (alpha/r) B A x; r = 0: none
    int lora_r;
    double lora_alpha;
    char lora[NUM_SITES];                     // yes: every layer has one here

    size_t narrow_bytes;                      // of all matrices, if they are narrow; else 0
} Config;

// The linear layers of a block.
typedef enum { LINEAR_QKV, LINEAR_ATT, LINEAR_FC, LINEAR_PROJ } LinearLayer;

// The linear layer that a site is in, and which of its outputs are the site's: rows, from `row` on.
typedef struct {
    LinearLayer linear;
    size_t row, rows, inputs;
} SiteShape;

// -------------------------------------------------------------------------------- parameters

// One layer; a pointer is NULL where the family has no such tensor.  QO = (NH + 2 NKV) HD,
// and FC = F, or 2F if gated.
typedef struct {
    real *ln1w, *ln1b;                        // (C), (C)
    real *qkvw, *qkvb;                        // (QO, C), (QO): query, key and value heads
    real *qnormw, *knormw;                    // (HD), (HD); if qk_wide, (NH HD), (NKV HD)
    real *attw, *attb;                        // (C, NH HD), (C): back to the residual stream
    real *ln2w, *ln2b;                        // (C), (C)
    real *fcw, *fcb;                          // (FC, C), (FC): up, or gate and up
    real *projw, *projb;                      // (C, F), (C): down to the residual stream
    real *lora;                               // A (r, inputs), B (rows, r) of each site that has
                                              // an adapter, in the order of Site
} Block;

// The same for parameters, gradients and packed copies.
typedef struct {
    real *wte;                                // (V, C)
    real *wpe;                                // (P, C), learned positions
    Block block[MAX_LAYERS];
    real *lnfw, *lnfb;                        // (C), (C)
    real *unembed;                            // (V, C); NULL when tied, or in a reward model
    real *head;                               // (C); only in a reward model
} Params;

// Matrices that are not trained may stay in the formats of their file, bf16 or ggml's blocks: then
// all do, and those of Params are NULL.
typedef struct {
    Narrow qkvw, attw, fcw, projw;
} NarrowBlock;

typedef struct {
    Narrow wte, unembed;
    NarrowBlock block[MAX_LAYERS];
} NarrowParams;

// What a tensor is, for its first values.
typedef enum {
    KIND_EMBED,                               // an embedding, or the output matrix
    KIND_MATRIX,                              // a linear layer that reads the residual stream
    KIND_OUT,                                 // one that writes to it
    KIND_ONE,                                 // a norm's gains
    KIND_ZERO,                                // biases
    KIND_HEAD,                                // the reward head
    KIND_LORA_A, KIND_LORA_B,                 // of an adapter
    NUM_TENSOR_KINDS
} TensorKind;

typedef struct {
    size_t offset, size;                      // in numbers, from the start of params_memory
    TensorKind kind;
    int decay;                                // yes: weight decay applies; not to gains and biases
    int fan_in;                               // of a matrix: how many numbers an output sums
    const Narrow *narrow;                     // not NULL: the matrix is this; offset says nothing
} Tensor;

// ------------------------------------------------------------------------------- activations

// What a block's forward computes and its backward reads.
typedef struct {
    real *res;                                // (T, C) the block's input
    real *ln1, *mean1, *rstd1;                // (T, C), (T), (T) of norm1; if post_norm, its input
    real *qkv;                                // (T, QO) after norm and rotation of queries and keys
    real *pre, *rstdq, *rstdk;                // (T, QO), (T, NH), (T, NKV): if qk_norm, before it
    real *att, *lse;                          // (T, NH HD), (T, NH)
    real *res2;                               // (T, C) after attention; if parallel, res
    real *ln2, *mean2, *rstd2;                // (T, C), (T), (T) norm2's
    real *fc, *act;                           // (T, FC), (T, F)
} BlockActs;

typedef struct {
    BlockActs block[MAX_LAYERS];
    real *res;                                // (T, C) the last block's output
    real *lnf, *meanf, *rstdf;                // (T, C), (T), (T)
    real *pooled, *reward;                    // (B, C), (B)
    real *logits;                             // (LOGITS_ROWS, V + 2C): scratch of logp_backward
    real *a;                                  // (T, max(C, NH HD)) attention's output; backward: dz
    real *b;                                  // (T, C) the mlp's output; backward: of the norms
    real *dres;                               // (T, C) gradient of the residual stream
    real *dwide;                              // (T, max(QO, FC)) of fc, then of qkv
    real *dact;                               // (T, max(F, NH HD)) of act, then of att
    real *mlp;                                // scratch of mlp_forward and mlp_backward, or NULL
    real *low, *wide;                         // (T, 2r), (T, widest layer) of an adapter
} Acts;

enum { LOGITS_ROWS = 512 };                   // rows whose logits exist at one time

/* What is kept from forward: SCORING nothing, a block writes over its input; TRAINING all
 * that backward reads; RECOMPUTING each block's input, from which backward computes the rest
 * again; TRAINING_HEAD nothing, backward ends at the reward head. */
typedef enum { SCORING, TRAINING, RECOMPUTING, TRAINING_HEAD } Purpose;

// ------------------------------------------------------------------------ micro-batch, model

// A packed micro-batch (batch.c makes it).
typedef struct {
    int T;
    const int *token, *position;              // (T)
    const int *target;                        // (T) the next token, or -1: not scored
    int S;
    const Segment *seg;                       // (S)
    int B;
    const Text *text;                         // (B)
    const CachePath *cache;                   // (S): keep keys and values; NULL: do not
    int decode;                               // yes: segments of one row, after their caches
} Batch;

typedef struct {
    Config config;
    int recompute;                            // yes: RECOMPUTING; set before model_reserve
    int freeze;                               // yes: TRAINING_HEAD; before model_init_training
    int adapters_off;                         // yes: forward is the base model's

    // laid out by params_layout: num_numbers of the parameters, all but the narrow matrices; the
    // last num_trained are trained: all, the reward head, or the reward head and the adapters
    size_t num_params, num_numbers, num_trained;
    Params params, grads;
    Tensor *tensor;                           // (num_tensors), in the order of the layout
    int num_tensors;
    real *params_memory, *grads_memory;       // (num_numbers), (num_trained)
    NarrowParams *narrow;                     // without parts where the matrices are numbers
    unsigned char *narrow_memory;             // (Config.narrow_bytes) their bytes
    real *moments_memory;                     // (2, num_trained) Adam's m and v
    real *tied_memory;                        // (V, C) gradient of a tied matrix as the output
    real *rope_memory;                        // (2, P, rotary_dims/2) cosine, sine
    Params packed;                            // the matrices, between model_pack and model_unpack
    real *packed_memory;

    // room for micro-batches of T rows and B texts
    int T, B;
    Acts acts;
    real *acts_memory;
    int *row_memory;                          // the next four
    int *scored_row, *scored_target;          // (T), (T) the rows with a target, and it
    int *block_start, *scored_block_start;    // (T + 1), (T + 1) of the two below
    RowBlocks blocks, scored_blocks;          // of the micro-batch's rows, of the scored ones
    int unwritten;                            // yes: the step has not been through the blocks
} Model;

// --------------------------------------------------------------------------------- interface

// of a shape
const char *model_family_name(Family family);
size_t model_num_params(const Config *c);         // numbers in the parameters
size_t model_num_base(const Config *c);           // without those of adapters
size_t model_num_trained(const Config *c, Purpose purpose);
size_t model_bytes(const Config *c, int T, int B, Purpose purpose);
size_t model_scratch_bytes(const Config *c, int T, int B);  // of it, what all models share
size_t model_packed_bytes(const Config *c);       // and of model_pack's copies
size_t model_held(const Model *m);                // of the same, what is there before activations
size_t model_qkv_width(const Config *c);          // QO
int    model_qnorm_width(const Config *c);        // queries that are normed together
int    model_knorm_width(const Config *c);        // and keys
int    model_window(const Config *c, int l);      // a row attends to so many keys at most
size_t model_att_width(const Config *c);          // NH HD
size_t model_fc_width(const Config *c);           // FC
size_t model_output_size(const Config *c);        // V C
size_t model_rope_size(const Config *c);          // of the cosines and sines
float model_rope_frequency(const Config *c, int i);
SiteShape model_site_shape(const Config *c, Site k);
Mlp model_mlp(const Config *c, const Block *w);
int model_mlp_fused(const Config *c);
size_t model_site_offset(const Config *c, Site k);          // of A in Block.lora; B follows it
real *model_output_matrix(const Model *m);        // (V, C), or NULL:
const Narrow *model_output_narrow(const Model *m);
size_t model_num_narrow(const Config *c);         // numbers that narrow matrices would be
Narrow *model_narrow(const Model *m, real *const *tensor);  // of that field of m->params, or NULL
void model_read(const Model *m, size_t at, size_t n, real *host);

// start and end; these return 0, or -1 after fail()
int  model_init(Model *m, Config c);              // zeroed parameters
int  model_init_training(Model *m);               // gradients and moments besides
void model_end_training(Model *m);                // and without them again
int  model_reserve(Model *m, int T, int B);       // room for micro-batches
int  model_random(Model *m, uint64_t seed);       // fresh weights
int  model_random_head(Model *m, uint64_t seed);  // a fresh reward head
int  model_random_lora(Model *m, uint64_t seed);  // fresh adapters, which change nothing yet
int  model_pack(Model *m);                        // forward is faster where rows are few
void model_unpack(Model *m);                      // until here
void model_free(Model *m);

// ------------------------------------------------------------------------------------ layout

// What people call the family; its names in files stand in families[] of files/config.c.
const char *model_family_name(Family family) {
    static const char *const name[] = {
        [FAMILY_NEOX]    = "GPT-NeoX",
        [FAMILY_GPT2]    = "GPT-2",
        [FAMILY_LLAMA]   = "LLaMA",
        [FAMILY_QWEN2]   = "Qwen2",
        [FAMILY_QWEN3]   = "Qwen3",
        [FAMILY_MISTRAL] = "Mistral",
        [FAMILY_SMOLLM3] = "SmolLM3",
        [FAMILY_OLMO2]   = "OLMo 2",
    };
    _Static_assert(sizeof name / sizeof *name == NUM_FAMILIES, "a family without a name");
    return name[family];
}

size_t model_qkv_width(const Config *c) {
    return (size_t)(c->num_heads + 2*c->num_kv_heads) * (size_t)c->head_dim;
}
size_t model_att_width(const Config *c) { return (size_t)c->num_heads * (size_t)c->head_dim; }
size_t model_fc_width(const Config *c)  { return (size_t)c->hidden * (c->gated ? 2 : 1); }

size_t model_output_size(const Config *c) { return (size_t)c->vocab_size * (size_t)c->channels; }
size_t model_rope_size(const Config *c) {
    return 2 * (size_t)c->max_positions * (size_t)(c->rotary_dims/2);
}
int model_qnorm_width(const Config *c) { return c->head_dim * (c->qk_wide ? c->num_heads : 1); }
int model_knorm_width(const Config *c) { return c->head_dim * (c->qk_wide ? c->num_kv_heads : 1); }

// To how many keys a row of layer l attends at most.
int model_window(const Config *c, int l) {
    return c->slides[l] ? c->sliding_window : c->max_positions;
}
// Has the output matrix a second gradient, because it is the embedding too?
static int has_tied_gradient(const Config *c) { return c->tied && !c->reward && !c->lora_r; }

// The shape of an adapter: its B has so many rows, its A so many inputs.
SiteShape model_site_shape(const Config *c, Site k) {
    const size_t C = (size_t)c->channels;
    const size_t F = (size_t)c->hidden;
    const size_t Q = model_att_width(c), QO = model_qkv_width(c), KV = (QO - Q) / 2;
    const size_t up = c->gated ? F : 0;
    switch (k) {
    case SITE_Q:    return (SiteShape){LINEAR_QKV, 0, Q, C};
    case SITE_K:    return (SiteShape){LINEAR_QKV, Q, KV, C};
    case SITE_V:    return (SiteShape){LINEAR_QKV, Q + KV, KV, C};
    case SITE_QKV:  return (SiteShape){LINEAR_QKV, 0, QO, C};
    case SITE_OUT:  return (SiteShape){LINEAR_ATT, 0, C, Q};
    case SITE_GATE: return (SiteShape){LINEAR_FC, 0, F, C};
    case SITE_UP:   return (SiteShape){LINEAR_FC, up, F, C};
    default:        return (SiteShape){LINEAR_PROJ, 0, C, F};
    }
}

// The next n numbers of the memory, from the start of a cache's line on; without memory they are
// only counted.
static real *carve(real *memory, size_t *used, size_t n) {
    real *p = memory ? memory + *used : NULL;
    *used += (n + 15) / 16 * 16;
    return p;
}

size_t model_site_offset(const Config *c, Site k) {
    size_t offset = 0;
    for (int i = 0; i < (int)k; i++) {
        const SiteShape s = model_site_shape(c, (Site)i);
        if (c->lora[i]) offset += (s.rows + s.inputs) * (size_t)c->lora_r;
    }
    return offset;
}

// A walk over all tensors: lays them out in memory, and describes them in list; either may be
// NULL.  The first `frozen` numbers have no place in the memory: it is of gradients.
typedef struct {
    real *memory;
    size_t frozen;
    size_t used;
    Tensor *list;
    int count;
    const NarrowParams *narrow;               // not NULL: the matrices are these
} Walk;

static real *walk_tensor(Walk *walk, size_t size, TensorKind kind, size_t fan_in) {
    if (walk->list) {
        walk->list[walk->count] = (Tensor){
            .offset = walk->used,
            .size = size,
            .kind = kind,
            .decay = kind != KIND_ONE && kind != KIND_ZERO,
            .fan_in = (int)fan_in,
        };
    }
    real *p = NULL;
    if (walk->memory && walk->used >= walk->frozen) {
        p = walk->memory + (walk->used - walk->frozen);
    }
    walk->count++;
    walk->used += size;
    return p;
}

// The same of a matrix, which where matrices are narrow has no place among the numbers.
static real *walk_matrix(Walk *walk, const Narrow *narrow, size_t size, TensorKind kind,
                         size_t fan_in) {
    if (!walk->narrow) return walk_tensor(walk, size, kind, fan_in);
    Walk apart = {.list = walk->list, .count = walk->count};
    walk_tensor(&apart, size, kind, fan_in);
    if (walk->list) walk->list[walk->count].narrow = narrow;
    walk->count++;
    return NULL;
}

// Every tensor, in the order of the memory.
static void params_layout(Params *p, const Config *c, Walk *walk) {
    const size_t C = (size_t)c->channels;
    const size_t F = (size_t)c->hidden;
    const size_t V = (size_t)c->vocab_size;
    const size_t AW = model_att_width(c);
    const size_t QO = model_qkv_width(c);
    const size_t FC = model_fc_width(c);
    const size_t QN = (size_t)model_qnorm_width(c), KN = (size_t)model_knorm_width(c);
    memset(p, 0, sizeof *p);

    const NarrowParams *narrow = walk->narrow;
    p->wte = walk_matrix(walk, narrow ? &narrow->wte : NULL, V*C, KIND_EMBED, C);
    if (c->learned_positions) {
        p->wpe = walk_tensor(walk, (size_t)c->max_positions*C, KIND_EMBED, C);
    }
    for (int l = 0; l < c->num_layers; l++) {
        Block *b = &p->block[l];
        const NarrowBlock *s = narrow ? &narrow->block[l] : NULL;
        b->ln1w = walk_tensor(walk, C, KIND_ONE, 0);
        if (!c->rms_norm) b->ln1b = walk_tensor(walk, C, KIND_ZERO, 0);
        b->qkvw = walk_matrix(walk, s ? &s->qkvw : NULL, QO*C, KIND_MATRIX, C);
        if (c->qkv_bias) b->qkvb = walk_tensor(walk, QO, KIND_ZERO, 0);
        if (c->qk_norm) b->qnormw = walk_tensor(walk, QN, KIND_ONE, 0);
        if (c->qk_norm) b->knormw = walk_tensor(walk, KN, KIND_ONE, 0);
        b->attw = walk_matrix(walk, s ? &s->attw : NULL, C*AW, KIND_OUT, AW);
        if (c->out_bias) b->attb = walk_tensor(walk, C, KIND_ZERO, 0);

        b->ln2w = walk_tensor(walk, C, KIND_ONE, 0);
        if (!c->rms_norm) b->ln2b = walk_tensor(walk, C, KIND_ZERO, 0);
        b->fcw = walk_matrix(walk, s ? &s->fcw : NULL, FC*C, KIND_MATRIX, C);
        if (c->mlp_bias) b->fcb = walk_tensor(walk, FC, KIND_ZERO, 0);
        b->projw = walk_matrix(walk, s ? &s->projw : NULL, C*F, KIND_OUT, F);
        if (c->mlp_bias) b->projb = walk_tensor(walk, C, KIND_ZERO, 0);
    }
    p->lnfw = walk_tensor(walk, C, KIND_ONE, 0);
    if (!c->rms_norm) p->lnfb = walk_tensor(walk, C, KIND_ZERO, 0);
    if (!c->tied && !c->reward) {
        p->unembed = walk_matrix(walk, narrow ? &narrow->unembed : NULL, V*C, KIND_EMBED, C);
    }
    if (c->reward) p->head = walk_tensor(walk, C, KIND_HEAD, C);

    // adapters come last, for they are trained alone
    const size_t r = (size_t)c->lora_r;
    for (int i = 0; i < c->num_layers * NUM_SITES && r > 0; i++) {
        const Site k = (Site)(i % NUM_SITES);
        const SiteShape s = model_site_shape(c, k);
        Block *b = &p->block[i / NUM_SITES];
        if (!c->lora[k]) continue;
        real *A = walk_tensor(walk, r*s.inputs, KIND_LORA_A, s.inputs);
        if (model_site_offset(c, k) == 0) b->lora = A;
        walk_tensor(walk, s.rows*r, KIND_LORA_B, r);
    }
}

// The feed-forward layer of block w, or without one its shape.
Mlp model_mlp(const Config *c, const Block *w) {
    Mlp l = {.C = c->channels, .F = c->hidden, .gated = c->gated, .kind = c->activation};
    if (!w) return l;
    l.fcw = w->fcw;
    l.fcb = w->fcb;
    l.projw = w->projw;
    l.projb = w->projb;
    return l;
}
// Is that layer computed in one?  Adapters are added in the midst of it, and it reads numbers.
int model_mlp_fused(const Config *c) {
    const Mlp shape = model_mlp(c, NULL);
    return !c->lora_r && !c->narrow_bytes && mlp_fused(&shape);
}

// One block's activations; shapes stand in BlockActs.  `shared`: fc and act are those of that
// block, because nobody keeps them; or NULL.
static void block_acts_layout(BlockActs *b, const Config *c, real *memory, size_t *used,
                              size_t T, const BlockActs *shared) {
    const size_t C = (size_t)c->channels;
    const size_t NH = (size_t)c->num_heads;
    const size_t QO = model_qkv_width(c);
    b->res   = carve(memory, used, T*C);
    b->res2  = c->parallel_residual ? b->res : carve(memory, used, T*C);
    b->ln1   = carve(memory, used, T*C);
    b->mean1 = carve(memory, used, T);
    b->rstd1 = carve(memory, used, T);
    b->qkv   = carve(memory, used, T*QO);
    if (c->qk_norm) {
        b->pre   = carve(memory, used, T*QO);
        b->rstdq = carve(memory, used, T*NH);
        b->rstdk = carve(memory, used, T*(size_t)c->num_kv_heads);
    }
    b->att   = carve(memory, used, T*model_att_width(c));
    b->lse   = carve(memory, used, T*NH);
    b->ln2   = carve(memory, used, T*C);
    b->mean2 = carve(memory, used, T);
    b->rstd2 = carve(memory, used, T);
    b->fc    = shared ? shared->fc  : carve(memory, used, T*model_fc_width(c));
    b->act   = shared ? shared->act : carve(memory, used, T*(size_t)c->hidden);
}

// Does backward go through the blocks?
static int has_backward(Purpose purpose) { return purpose == TRAINING || purpose == RECOMPUTING; }

// All activations for T rows and B texts; returns how many numbers.
static size_t acts_layout(Acts *a, const Config *c, real *memory, size_t T, size_t B,
                          Purpose purpose) {
    const size_t C = (size_t)c->channels;
    const size_t V = (size_t)c->vocab_size;
    const size_t AW = model_att_width(c);
    size_t used = 0;
    memset(a, 0, sizeof *a);

    // Training has activations for each block.  Otherwise all blocks share the first one's,
    // but for their inputs where those are kept.
    for (int l = 0; l < c->num_layers; l++) {
        BlockActs *b = &a->block[l];
        if (l == 0 || purpose == TRAINING) {
            const BlockActs *shared = l > 0 && model_mlp_fused(c) ? &a->block[0] : NULL;
            block_acts_layout(b, c, memory, &used, T, shared);
            continue;
        }
        *b = a->block[0];
        if (purpose == RECOMPUTING) b->res = carve(memory, &used, T*C);
        if (c->parallel_residual) b->res2 = b->res;
    }
    a->res    = has_backward(purpose) ? carve(memory, &used, T*C) : a->block[0].res;
    a->lnf    = carve(memory, &used, T*C);
    a->meanf  = carve(memory, &used, T);
    a->rstdf  = carve(memory, &used, T);
    a->pooled = carve(memory, &used, B*C);
    a->reward = carve(memory, &used, B);
    a->a      = carve(memory, &used, T*max_size(C, AW));
    a->b      = carve(memory, &used, T*C);
    if (has_backward(purpose)) {
        a->dres  = carve(memory, &used, T*C);
        a->dwide = carve(memory, &used, T*max_size(model_qkv_width(c), model_fc_width(c)));
        a->dact  = carve(memory, &used, T*max_size((size_t)c->hidden, AW));
    }
    if (model_mlp_fused(c)) {
        const Mlp shape = model_mlp(c, NULL);
        a->mlp = carve(memory, &used, mlp_work_size(&shape));
    }
    if (!c->reward) a->logits = carve(memory, &used, LOGITS_ROWS*(V + 2*C));
    if (c->lora_r) {
        const size_t F = (size_t)c->hidden;
        a->low  = carve(memory, &used, T * 2*(size_t)c->lora_r);
        a->wide = carve(memory, &used, T*max_size(max_size(C, F), model_qkv_width(c)));
    }
    return used;
}

size_t model_num_params(const Config *c) {
    Params p;
    Walk walk = {0};
    params_layout(&p, c, &walk);
    return walk.used;
}

size_t model_num_narrow(const Config *c) {
    const size_t C = (size_t)c->channels, outputs = !c->tied && !c->reward;
    const size_t of_layer = C * (model_qkv_width(c) + model_att_width(c) + model_fc_width(c)
                                 + (size_t)c->hidden);
    return (1 + outputs) * model_output_size(c) + (size_t)c->num_layers * of_layer;
}

size_t model_num_base(const Config *c) {
    Config without = *c;
    without.lora_r = 0;
    return model_num_params(&without);
}

// How many numbers, the last ones, have gradients and moments.
size_t model_num_trained(const Config *c, Purpose purpose) {
    const size_t head = c->reward ? (size_t)c->channels : 0;
    if (purpose == SCORING) return 0;
    if (purpose == TRAINING_HEAD) return head;
    return model_num_params(c) - (c->lora_r ? model_num_base(c) - head : 0);
}

// What the layers need to know of micro-batches of T token rows and B texts.
static Scratch model_scratch(const Config *c, int T, int B) {
    const size_t C = (size_t)round_up(c->channels, 8), F = (size_t)round_up(c->hidden, 8);
    const size_t V = (size_t)c->vocab_size, qkv = model_qkv_width(c);
    const size_t width = max_size(max_size(C, F), max_size(qkv, model_fc_width(c)));
    const size_t matrix = C * max_size(V, width);
    return (Scratch){
        .rows = T, .texts = B, .keys = c->max_positions, .heads = c->num_heads,
        .width = width, .matrix = matrix, .narrow = c->narrow_bytes ? matrix : 0,
        .logits = c->reward ? 0 : LOGITS_ROWS * V,
    };
}

// The layers' scratch is a part of it.  Training adds gradients, two moments, and what is kept for
// backward.
size_t model_bytes(const Config *c, int T, int B, Purpose purpose) {
    const Scratch scratch = model_scratch(c, T, B);
    Acts a;
    size_t numbers = model_num_params(c) + 3 * model_num_trained(c, purpose) + model_rope_size(c);
    if (c->narrow_bytes) numbers -= model_num_narrow(c);
    numbers += acts_layout(&a, c, NULL, (size_t)T, (size_t)B, purpose);
    if (purpose != SCORING && has_tied_gradient(c)) numbers += model_output_size(c);
    return numbers * sizeof(real) + (4 * (size_t)T + 2) * sizeof(int)
         + kernels_scratch(&scratch) + c->narrow_bytes;
}

size_t model_scratch_bytes(const Config *c, int T, int B) {
    const Scratch scratch = model_scratch(c, T, B);
    return kernels_scratch(&scratch);
}

size_t model_packed_bytes(const Config *c) {
    const int C = c->channels, F = c->hidden;
    const size_t of_layer = matmul_packed_size(C, (int)model_qkv_width(c))
                            + matmul_packed_size((int)model_att_width(c), C)
                            + matmul_packed_size(C, (int)model_fc_width(c))
                            + matmul_packed_size(F, C);
    size_t numbers = (size_t)c->num_layers * of_layer;
    if (!c->reward) numbers += matmul_packed_size(C, c->vocab_size);
    return numbers * sizeof(real);
}

size_t model_held(const Model *m) {
    const Config *c = &m->config;
    size_t numbers = m->num_numbers + model_rope_size(c);
    if (m->grads_memory) numbers += 3 * m->num_trained;
    if (m->tied_memory) numbers += model_output_size(c);
    return numbers * sizeof(real) + c->narrow_bytes;
}

// ----------------------------------------------------------------------------- start and end

void model_free(Model *m) {
    real *const owned[] = {
        m->params_memory, m->grads_memory, m->moments_memory, m->tied_memory,
        m->rope_memory, m->packed_memory, m->acts_memory, (real *)m->narrow_memory,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) kernels_free(owned[i]);
    free(m->tensor);
    free(m->narrow);
    free(m->row_memory);
    memset(m, 0, sizeof *m);
}

// llama3's scaling lowers the low frequencies: f/factor below a number of turns over the original
// positions, f above another, and between them a line in the number of turns.
static double llama3_frequency(const Config *c, double f) {
    const double turns = c->rope_original * f / 6.283185307179586;
    double smooth = (turns - c->rope_low_freq) / (c->rope_high_freq - c->rope_low_freq);
    if (smooth < 0) smooth = 0;
    if (smooth > 1) smooth = 1;
    return (1 - smooth) * f / c->rope_factor + smooth * f;
}

// The channel pair, as a fraction, that does so many turns over the original positions.
static double yarn_channel(const Config *c, double turns) {
    const double positions = c->rope_original / (turns * 6.283185307179586);
    return c->rotary_dims * more_log(positions) / (2 * more_log(c->rope_theta));
}

// YaRN (Peng et al. 2023, sec. 3.2) as transformers has it: like llama3's, but between the limits
// a line in the channel's number i.
static double yarn_frequency(const Config *c, double f, int i) {
    double low = yarn_channel(c, c->rope_high_freq), high = yarn_channel(c, c->rope_low_freq);
    if (!c->rope_exact) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0) low = 0;
    if (high > c->rotary_dims - 1) high = c->rotary_dims - 1;
    if (low == high) high += 0.001;
    double ramp = (i - low) / (high - low);
    if (ramp < 0) ramp = 0;
    if (ramp > 1) ramp = 1;
    return f / c->rope_factor * ramp + f * (1 - ramp);
}

/* Inverse frequency i of the rotary embedding, theta^(-2i/dims), rounded to float (Su et al.
 * 2021, sec. 3.2.2), and scaled.  "dynamic" changes the frequencies of texts alone that are longer
 * than the positions, and there are none. */
float model_rope_frequency(const Config *c, int i) {
    double f = more_pow(c->rope_theta, -2.0*i / c->rotary_dims);
    if (c->rope_factor > 0 && c->rope_factor != 1) {
        if (c->rope_type == ROPE_LINEAR) f /= c->rope_factor;
        if (c->rope_type == ROPE_YARN) f = yarn_frequency(c, f, i);
        if (c->rope_type == ROPE_LLAMA3) f = llama3_frequency(c, f);
    }
    return (float)f;
}

// The tables cosine(P, dims/2) and sine(P, dims/2) of position times frequency.  0, or -1
// after fail().
static int rope_init(Model *m) {
    const Config *c = &m->config;
    const int half = c->rotary_dims / 2;
    const size_t n = (size_t)c->max_positions * (size_t)half;
    const double scale = c->rope_attention > 0 ? c->rope_attention : 1;
    real *table = allocate(2*n, sizeof *table);
    if (!table) return -1;
    for (int i = 0; i < half; i++) {
        const float f = model_rope_frequency(c, i);
        for (int p = 0; p < c->max_positions; p++) {
            double sine, cosine;
            more_sincos((double)((float)p * f), &sine, &cosine);
            table[(size_t)p*half + i] = (real)(scale * cosine);
            table[n + (size_t)p*half + i] = (real)(scale * sine);
        }
    }
    m->rope_memory = kernels_alloc(2*n);
    if (m->rope_memory) kernels_write(m->rope_memory, table, 2*n);
    free(table);
    return m->rope_memory ? 0 : -1;
}

// The parameters and their list; what is narrow has no parts yet.  0, or -1 after fail().
static int params_init(Model *m) {
    const Config *c = &m->config;
    Params p;
    m->narrow = allocate(1, sizeof *m->narrow);
    if (!m->narrow) return -1;
    Walk walk = {.narrow = c->narrow_bytes ? m->narrow : NULL};
    params_layout(&p, c, &walk);
    m->num_params = model_num_params(c);
    m->num_numbers = walk.used;
    m->num_tensors = walk.count;
    m->params_memory = kernels_alloc(m->num_numbers);
    if (!m->params_memory) return -1;
    if (c->narrow_bytes) {
        m->narrow_memory = (unsigned char *)kernels_alloc(c->narrow_bytes / sizeof(real) + 1);
        if (!m->narrow_memory) return -1;
    }
    m->tensor = allocate((size_t)m->num_tensors, sizeof *m->tensor);
    if (!m->tensor) return -1;
    params_layout(&m->params, c, &(Walk){.memory = m->params_memory, .list = m->tensor,
                                         .narrow = walk.narrow});
    return 0;
}

// Zeroed parameters of the shape c, which model_free releases.  0, or -1 after fail().
int model_init(Model *m, Config c) {
    memset(m, 0, sizeof *m);
    m->config = c;
    int result = params_init(m);
    if (result == 0 && c.rotary_dims) result = rope_init(m);
    if (result < 0) model_free(m);
    return result;
}

// Adds gradients and both Adam moments, zeroed, of what is trained.  0, or -1 after fail().
int model_init_training(Model *m) {
    const Config *c = &m->config;
    assert(!m->freeze || (c->reward && !c->lora_r));
    m->num_trained = model_num_trained(c, m->freeze ? TRAINING_HEAD : TRAINING);
    m->grads_memory = kernels_alloc(m->num_trained);
    if (!m->grads_memory) return -1;
    m->moments_memory = kernels_alloc(2 * m->num_trained);
    if (!m->moments_memory) return -1;
    if (has_tied_gradient(c)) {
        m->tied_memory = kernels_alloc(model_output_size(c));
        if (!m->tied_memory) return -1;
    }
    const size_t frozen = m->num_numbers - m->num_trained;
    params_layout(&m->grads, c, &(Walk){.memory = m->grads_memory, .frozen = frozen,
                                        .narrow = c->narrow_bytes ? m->narrow : NULL});
    return 0;
}

// The weights alone are left: gradients, moments and activations go.
void model_end_training(Model *m) {
    real **const owned[] = {
        &m->grads_memory, &m->moments_memory, &m->tied_memory, &m->acts_memory,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        kernels_free(*owned[i]);
        *owned[i] = NULL;
    }
    free(m->row_memory);
    m->row_memory = NULL;
    m->T = 0;
    m->B = 0;
}

// Room for micro-batches of at most T rows and B texts; it only grows.  0, or -1 after fail().
int model_reserve(Model *m, int T, int B) {
    if (T <= m->T && B <= m->B) return 0;
    if (T < m->T) T = m->T;
    if (B < m->B) B = m->B;
    Purpose purpose = SCORING;
    if (m->grads_memory) purpose = m->recompute ? RECOMPUTING : TRAINING;
    if (m->grads_memory && m->freeze) purpose = TRAINING_HEAD;

    // nothing is kept of what was there; if memory is out there is no room at all
    kernels_free(m->acts_memory);
    free(m->row_memory);
    m->T = 0;
    m->B = 0;
    const size_t n = (size_t)T;
    const size_t numbers = acts_layout(&m->acts, &m->config, NULL, n, (size_t)B, purpose);
    m->acts_memory = kernels_alloc(numbers);
    m->row_memory = allocate(4*n + 2, sizeof(int));
    if (!m->acts_memory || !m->row_memory) return -1;
    const Scratch scratch = model_scratch(&m->config, T, B);
    if (kernels_reserve(&scratch) < 0) return -1;

    acts_layout(&m->acts, &m->config, m->acts_memory, n, (size_t)B, purpose);
    m->scored_row = m->row_memory;
    m->scored_target = m->scored_row + n;
    m->block_start = m->scored_target + n;
    m->scored_block_start = m->block_start + n + 1;
    m->T = T;
    m->B = B;
    return 0;
}

/* Fresh weights: gains 1, biases 0, head 0, and normal deviates with a standard deviation of
 *
 *                              GPT-NeoX's "small_init", "wang_init"    GPT-2's: learned positions
 *     embeddings               0.02                                    0.02
 *     matrices                 sqrt(2/(5C))                            0.02
 *     to the residual stream   2/(L sqrt C)                            0.02/sqrt(2L)
 *
 * 0, or -1 after fail(). */
int model_random(Model *m, uint64_t seed) {
    const Config *c = &m->config;
    const double C = c->channels, L = c->num_layers;
    const int gpt2 = c->learned_positions;
    const double deviation[] = {
        [KIND_EMBED]  = 0.02,
        [KIND_MATRIX] = gpt2 ? 0.02 : sqrt(2.0 / (5.0 * C)),
        [KIND_OUT]    = gpt2 ? 0.02 / sqrt(2.0 * L) : 2.0 / L / sqrt(C),
        [KIND_ONE]    = 0,
        [KIND_ZERO]   = 0,
        [KIND_HEAD]   = 0,
        [KIND_LORA_A] = 0,
        [KIND_LORA_B] = 0,
    };
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        const double sd = deviation[t->kind];
        real *host = allocate(t->size, sizeof *host);
        if (!host) return -1;
        for (size_t i = 0; i < t->size; i++) {
            const double z = sd > 0 ? random_normal(seed, STREAM_INIT, (uint64_t)k, i) : 0;
            host[i] = t->kind == KIND_ONE ? 1 : (real)(float)(sd * z);
        }
        kernels_write(m->params_memory + t->offset, host, t->size);
        free(host);
    }
    return 0;
}

// The reward head from N(0, 0.02): the row "Raw" of the MORE paper.  0, or -1 after fail().
int model_random_head(Model *m, uint64_t seed) {
    const size_t C = (size_t)m->config.channels;
    real *host = allocate(C, sizeof *host);
    if (!host) return -1;
    for (size_t i = 0; i < C; i++) {
        host[i] = (real)(float)(0.02 * random_normal(seed, STREAM_HEAD, 0, i));
    }
    kernels_write(m->params.head, host, C);
    free(host);
    return 0;
}

/* Adapters that change nothing yet: B zero, A uniform from -1/sqrt(inputs) to 1/sqrt(inputs), which
 * is He et al.'s (2015) for a leaky ReLU of slope sqrt 5, as PEFT draws it.  0, or -1 after
 * fail(). */
int model_random_lora(Model *m, uint64_t seed) {
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->kind == KIND_LORA_B) kernels_zero(m->params_memory + t->offset, t->size);
        if (t->kind != KIND_LORA_A) continue;
        const double bound = 1 / sqrt(t->fan_in);
        real *host = allocate(t->size, sizeof *host);
        if (!host) return -1;
        for (size_t i = 0; i < t->size; i++) {
            const uint64_t bits = random_u64(seed, STREAM_ADAPTER, (uint64_t)k, i) >> 11;
            host[i] = (real)(float)(bound * (0x1p-52 * (double)bits - 1));
        }
        kernels_write(m->params_memory + t->offset, host, t->size);
        free(host);
    }
    return 0;
}

real *model_output_matrix(const Model *m) {
    return m->config.tied ? m->params.wte : m->params.unembed;
}
const Narrow *model_output_narrow(const Model *m) {
    return m->config.tied ? &m->narrow->wte : &m->narrow->unembed;
}

// ----------------------------------------------------------------------------- narrow matrices

// The narrow matrix in whose place that field of m->params is; NULL where it has numbers.
Narrow *model_narrow(const Model *m, real *const *tensor) {
    if (!m->config.narrow_bytes) return NULL;
    if (tensor == &m->params.wte) return &m->narrow->wte;
    if (tensor == &m->params.unembed) return &m->narrow->unembed;
    for (int l = 0; l < m->config.num_layers; l++) {
        const Block *b = &m->params.block[l];
        NarrowBlock *s = &m->narrow->block[l];
        if (tensor == &b->qkvw) return &s->qkvw;
        if (tensor == &b->attw) return &s->attw;
        if (tensor == &b->fcw) return &s->fcw;
        if (tensor == &b->projw) return &s->projw;
    }
    return NULL;
}

// host(n): numbers first .. first+n-1 of a tensor.
static void tensor_read(const Model *m, const Tensor *t, size_t first, size_t n, real *host) {
    if (!t->narrow) {
        kernels_read(host, m->params_memory + t->offset + first, n);
        return;
    }
    const size_t C = (size_t)t->fan_in;
    while (n > 0) {
        const size_t row = first / C, column = first % C, k = n < C - column ? n : C - column;
        narrow_read(host, t->narrow, t->fan_in, (int)row, 1, (int)column, (int)k);
        host += k;
        first += k;
        n -= k;
    }
}

// host(n): numbers at .. at+n-1 of all parameters in the order of the layout, narrow ones too.
void model_read(const Model *m, size_t at, size_t n, real *host) {
    size_t begin = 0;                             // of the tensor
    for (const Tensor *t = m->tensor; n > 0; begin += t->size, t++) {
        if (at >= begin + t->size) continue;
        const size_t first = at - begin, k = n < t->size - first ? n : t->size - first;
        tensor_read(m, t, first, k, host);
        host += k;
        at += k;
        n -= k;
    }
}

// ---------------------------------------------------------------------------- packed weights

// w(OC,C), or where that is NULL narrow, packed in the next numbers of memory; without memory they
// are only counted
static real *packed_copy(const real *w, const Narrow *narrow, real *memory, size_t *used, size_t C,
                         size_t OC) {
    real *packed = carve(memory, used, matmul_packed_size((int)C, (int)OC));
    if (memory && w) matmul_pack_weights(packed, w, (int)C, (int)OC);
    if (memory && !w) narrow_pack_weights(packed, narrow, (int)C, (int)OC);
    return packed;
}

static size_t pack_matrices(Model *m, real *memory) {
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels;
    const size_t F = (size_t)c->hidden;
    size_t used = 0;
    for (int l = 0; l < c->num_layers; l++) {
        const Block *w = &m->params.block[l];
        const NarrowBlock *s = &m->narrow->block[l];
        Block *packed = &m->packed.block[l];
        packed->qkvw  = packed_copy(w->qkvw, &s->qkvw, memory, &used, C, model_qkv_width(c));
        packed->attw  = packed_copy(w->attw, &s->attw, memory, &used, model_att_width(c), C);
        packed->fcw   = packed_copy(w->fcw, &s->fcw, memory, &used, C, model_fc_width(c));
        packed->projw = packed_copy(w->projw, &s->projw, memory, &used, F, C);
    }
    if (!c->reward) {
        m->packed.unembed = packed_copy(model_output_matrix(m), model_output_narrow(m), memory,
                                        &used, C, (size_t)c->vocab_size);
    }
    return used;
}

/* Packed copies of the weight matrices: until model_unpack forward reads them instead, much
 * faster where rows are few.  0, or -1 after fail(). */
int model_pack(Model *m) {
    model_unpack(m);
    m->packed_memory = kernels_alloc(pack_matrices(m, NULL));
    if (!m->packed_memory) return -1;
    pack_matrices(m, m->packed_memory);
    return 0;
}

void model_unpack(Model *m) {
    kernels_free(m->packed_memory);
    m->packed_memory = NULL;
    memset(&m->packed, 0, sizeof m->packed);
}
#endif

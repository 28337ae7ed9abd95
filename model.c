/* model.c - the transformer: configuration, layout of the parameters, forward, backward,
 * update.
 *
 *     x_0   = wte[token] (+ wpe[position])
 *     x_l+1 = block_l(x_l)                   attention and a feed-forward layer: block_forward
 *     h     = norm(x_L)
 *
 *     a language model:  logp_t   = log softmax(W h_t)[target_t],   W = wte if tied, else unembed
 *     a reward model:    reward_b = head . pool(h of text b)
 *
 * One block for all families: GPT-NeoX, GPT-2 and the LLaMAs differ by what Config says.
 * Rows are packed texts that share their prompts (Segment and Text in kernels.h): every layer
 * but attention works row by row and knows nothing of texts.  Tensors are only handed to the
 * layers; nothing here looks into one.
 *
 * A linear layer may have an adapter: W x + s B (A x), of which A and B alone are trained.
 *
 * T token rows, B texts, C channels, L layers, V vocabulary, P positions, NH query heads, NKV
 * key/value heads, HD head size, F width of the feed-forward layer. */
#ifndef MODEL_C
#define MODEL_C
#include "kernels.h"
#ifndef MORE_LINK_KERNELS
#include "kernels.c"
#endif

// ----------------------------------------------------------------------------- configuration

typedef enum {
    FAMILY_NEOX, FAMILY_GPT2, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3, FAMILY_MISTRAL,
    FAMILY_SMOLLM3, NUM_FAMILIES
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
    int sliding_window, long_positions;       // 0, or P, and the positions of config.json
    char slides[MAX_LAYERS];                  // yes: this layer sees no further than the window

    int rms_norm;                             // yes: RMS norms; no: layer norms
    int learned_positions;                    // yes: wpe is added to wte
    int parallel_residual;                    // yes: both halves of a block read its input
    int gated;                                // yes: feed-forward is act(gate) o up
    int tied;                                 // yes: the output matrix is wte
    int qkv_bias, out_bias, mlp_bias;         // yes: these linear layers have a bias
    int qk_norm;                              // yes: an RMS norm of each query and key head
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

    // adapters (Hu et al. 2021): out = W x + (alpha/r) B A x; r = 0: none
    int lora_r;
    double lora_alpha;
    char lora[NUM_SITES];                     // yes: every layer has one here
} Config;

// -------------------------------------------------------------------------------- parameters

// One layer; a pointer is NULL where the family has no such tensor.  QO = (NH + 2 NKV) HD,
// and FC = F, or 2F if gated.
typedef struct {
    real *ln1w, *ln1b;                        // (C), (C)
    real *qkvw, *qkvb;                        // (QO, C), (QO): query, key and value heads
    real *qnormw, *knormw;                    // (HD), (HD)
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
} Tensor;

// ------------------------------------------------------------------------------- activations

// What a block's forward computes and its backward reads.
typedef struct {
    real *res;                                // (T, C) the block's input
    real *ln1, *mean1, *rstd1;                // (T, C), (T), (T)
    real *qkv;                                // (T, QO) after norm and rotation of queries and keys
    real *pre, *rstdq, *rstdk;                // (T, QO), (T, NH), (T, NKV): if qk_norm, before it
    real *att, *lse;                          // (T, NH HD), (T, NH)
    real *res2;                               // (T, C) after attention; if parallel, res
    real *ln2, *mean2, *rstd2;                // (T, C), (T), (T)
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

    // laid out by params_layout; the last num_trained numbers are trained: all, the reward head, or
    // the reward head and the adapters
    size_t num_params, num_trained;
    Params params, grads;
    Tensor *tensor;                           // (num_tensors), in the order of the layout
    int num_tensors;
    real *params_memory, *grads_memory;       // (num_params), (num_trained)
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
} Model;

typedef struct {
    double learning_rate, beta1, beta2, eps, weight_decay;
    double head_rate;                         // multiplies the reward head's learning rate
    double scale;                             // multiplies the gradient: clipping
    int step;                                 // from 1
} AdamW;

// --------------------------------------------------------------------------------- interface

// of a shape
const char *model_family_name(Family family);
size_t model_num_params(const Config *c);         // numbers in the parameters
size_t model_num_base(const Config *c);           // without those of adapters
size_t model_num_trained(const Config *c, Purpose purpose);
size_t model_bytes(const Config *c, int T, int B, Purpose purpose);
size_t model_qkv_width(const Config *c);          // QO
size_t model_att_width(const Config *c);          // NH HD
size_t model_fc_width(const Config *c);           // FC
float model_rope_frequency(const Config *c, int i);
void model_site_shape(const Config *c, Site k, size_t *rows, size_t *inputs);
size_t model_site_offset(const Config *c, Site k);          // of A in Block.lora; B follows it

// start and end; these return 0, or -1 after fail()
int  model_init(Model *m, Config c);              // zeroed parameters
int  model_init_training(Model *m);               // gradients and moments besides
int  model_reserve(Model *m, int T, int B);       // room for micro-batches
int  model_random(Model *m, uint64_t seed);       // fresh weights
int  model_random_head(Model *m, uint64_t seed);  // a fresh reward head
int  model_random_lora(Model *m, uint64_t seed);  // fresh adapters, which change nothing yet
int  model_pack(Model *m);                        // forward is faster where rows are few
void model_unpack(Model *m);                      // until here
void model_free(Model *m);

// forward of a micro-batch, then what is wanted of it
void model_forward(Model *m, const Batch *s);
void model_rewards(Model *m, const Batch *s, real *reward, real *pooled);
int  model_logp(Model *m, const Batch *s, real *logp);
void model_logits(Model *m, const int *row, int n, real *logits, real *lse);
void model_heads(Model *m, const Batch *s, const real *w, int n, real *score);
real *model_output_matrix(const Model *m);        // (V, C)

// backward of each micro-batch, after its forward; zero and finish are called once a step
void model_zero_grads(Model *m);
int  model_backward(Model *m, const Batch *s, const real *dreward, const real *dlogp, real *logp);
void model_heads_backward(Model *m, const Batch *s, const real *w, real *dw, int n,
                          const real *dscore);
void model_finish_grads(Model *m);

// update
double model_grad_norm(const Model *m);
void model_update(Model *m, const AdamW *o);
void model_update_heads(real *w, const real *dw, real *moments, size_t n, const AdamW *o);

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
    };
    _Static_assert(sizeof name / sizeof *name == NUM_FAMILIES, "a family without a name");
    return name[family];
}

size_t model_qkv_width(const Config *c) {
    return (size_t)(c->num_heads + 2*c->num_kv_heads) * (size_t)c->head_dim;
}
size_t model_att_width(const Config *c) { return (size_t)c->num_heads * (size_t)c->head_dim; }
size_t model_fc_width(const Config *c)  { return (size_t)c->hidden * (c->gated ? 2 : 1); }

static size_t output_size(const Config *c) { return (size_t)c->vocab_size * (size_t)c->channels; }
static size_t rope_size(const Config *c) {
    return 2 * (size_t)c->max_positions * (size_t)(c->rotary_dims/2);
}
// Has the output matrix a second gradient, because it is the embedding too?
static int has_tied_gradient(const Config *c) { return c->tied && !c->reward && !c->lora_r; }

// The linear layers of a block.
typedef enum { LINEAR_QKV, LINEAR_ATT, LINEAR_FC, LINEAR_PROJ } LinearLayer;

// The linear layer that a site is in, and which of its outputs are the site's: rows, from `row` on.
typedef struct {
    LinearLayer linear;
    size_t row, rows, inputs;
} SiteShape;

static SiteShape site_shape(const Config *c, Site k) {
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

// An adapter's B has so many rows, its A so many columns.
void model_site_shape(const Config *c, Site k, size_t *rows, size_t *inputs) {
    const SiteShape s = site_shape(c, k);
    *rows = s.rows;
    *inputs = s.inputs;
}

// The next n numbers of the memory; without memory they are only counted.
static real *carve(real *memory, size_t *used, size_t n) {
    real *p = memory ? memory + *used : NULL;
    *used += n;
    return p;
}

size_t model_site_offset(const Config *c, Site k) {
    size_t offset = 0;
    for (int i = 0; i < (int)k; i++) {
        const SiteShape s = site_shape(c, (Site)i);
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

// Every tensor, in the order of the memory.
static void params_layout(Params *p, const Config *c, Walk *walk) {
    const size_t C = (size_t)c->channels;
    const size_t F = (size_t)c->hidden;
    const size_t V = (size_t)c->vocab_size;
    const size_t HD = (size_t)c->head_dim;
    const size_t AW = model_att_width(c);
    const size_t QO = model_qkv_width(c);
    const size_t FC = model_fc_width(c);
    memset(p, 0, sizeof *p);

    p->wte = walk_tensor(walk, V*C, KIND_EMBED, C);
    if (c->learned_positions) {
        p->wpe = walk_tensor(walk, (size_t)c->max_positions*C, KIND_EMBED, C);
    }
    for (int l = 0; l < c->num_layers; l++) {
        Block *b = &p->block[l];
        b->ln1w = walk_tensor(walk, C, KIND_ONE, 0);
        if (!c->rms_norm) b->ln1b = walk_tensor(walk, C, KIND_ZERO, 0);
        b->qkvw = walk_tensor(walk, QO*C, KIND_MATRIX, C);
        if (c->qkv_bias) b->qkvb = walk_tensor(walk, QO, KIND_ZERO, 0);
        if (c->qk_norm) b->qnormw = walk_tensor(walk, HD, KIND_ONE, 0);
        if (c->qk_norm) b->knormw = walk_tensor(walk, HD, KIND_ONE, 0);
        b->attw = walk_tensor(walk, C*AW, KIND_OUT, AW);
        if (c->out_bias) b->attb = walk_tensor(walk, C, KIND_ZERO, 0);

        b->ln2w = walk_tensor(walk, C, KIND_ONE, 0);
        if (!c->rms_norm) b->ln2b = walk_tensor(walk, C, KIND_ZERO, 0);
        b->fcw = walk_tensor(walk, FC*C, KIND_MATRIX, C);
        if (c->mlp_bias) b->fcb = walk_tensor(walk, FC, KIND_ZERO, 0);
        b->projw = walk_tensor(walk, C*F, KIND_OUT, F);
        if (c->mlp_bias) b->projb = walk_tensor(walk, C, KIND_ZERO, 0);
    }
    p->lnfw = walk_tensor(walk, C, KIND_ONE, 0);
    if (!c->rms_norm) p->lnfb = walk_tensor(walk, C, KIND_ZERO, 0);
    if (!c->tied && !c->reward) p->unembed = walk_tensor(walk, V*C, KIND_EMBED, C);
    if (c->reward) p->head = walk_tensor(walk, C, KIND_HEAD, C);

    // adapters come last, for they are trained alone
    const size_t r = (size_t)c->lora_r;
    for (int i = 0; i < c->num_layers * NUM_SITES && r > 0; i++) {
        const Site k = (Site)(i % NUM_SITES);
        const SiteShape s = site_shape(c, k);
        Block *b = &p->block[i / NUM_SITES];
        if (!c->lora[k]) continue;
        real *A = walk_tensor(walk, r*s.inputs, KIND_LORA_A, s.inputs);
        if (model_site_offset(c, k) == 0) b->lora = A;
        walk_tensor(walk, s.rows*r, KIND_LORA_B, r);
    }
}

// One block's activations; shapes stand in BlockActs.
static void block_acts_layout(BlockActs *b, const Config *c, real *memory, size_t *used,
                              size_t T) {
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
    b->fc    = carve(memory, used, T*model_fc_width(c));
    b->act   = carve(memory, used, T*(size_t)c->hidden);
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
            block_acts_layout(b, c, memory, &used, T);
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

// Of the largest tensor that a file has by itself.
static size_t largest_tensor(const Config *c) {
    const size_t C = (size_t)c->channels, rows = max_size(model_qkv_width(c), model_fc_width(c));
    return C * max_size((size_t)c->vocab_size, rows);
}

// Training adds gradients, two moments, what is kept for backward, and for saving a tensor's values
// once more: those of an adapter are few.
size_t model_bytes(const Config *c, int T, int B, Purpose purpose) {
    Acts a;
    size_t numbers = model_num_params(c) + 3 * model_num_trained(c, purpose) + rope_size(c);
    numbers += acts_layout(&a, c, NULL, (size_t)T, (size_t)B, purpose);
    if (purpose != SCORING && has_tied_gradient(c)) numbers += output_size(c);
    if (purpose != SCORING && !c->lora_r) numbers += largest_tensor(c);
    return numbers * sizeof(real) + (4 * (size_t)T + 2) * sizeof(int);
}

// ----------------------------------------------------------------------------- start and end

void model_free(Model *m) {
    real *const owned[] = {
        m->params_memory, m->grads_memory, m->moments_memory, m->tied_memory,
        m->rope_memory, m->packed_memory, m->acts_memory,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) kernels_free(owned[i]);
    free(m->tensor);
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

// The parameters and their list.  0, or -1 after fail().
static int params_init(Model *m) {
    const Config *c = &m->config;
    Params p;
    Walk count = {0};
    params_layout(&p, c, &count);
    m->num_params = count.used;
    m->num_tensors = count.count;
    m->params_memory = kernels_alloc(m->num_params);
    if (!m->params_memory) return -1;
    m->tensor = allocate((size_t)m->num_tensors, sizeof *m->tensor);
    if (!m->tensor) return -1;
    params_layout(&m->params, c, &(Walk){.memory = m->params_memory, .list = m->tensor});
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
        m->tied_memory = kernels_alloc(output_size(c));
        if (!m->tied_memory) return -1;
    }
    const size_t frozen = m->num_params - m->num_trained;
    params_layout(&m->grads, c, &(Walk){.memory = m->grads_memory, .frozen = frozen});
    return 0;
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
    if (attention_reserve(m->config.max_positions) < 0) return -1;

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

// ---------------------------------------------------------------------------- packed weights

// w(OC,C) packed, in the next numbers of memory; without memory they are only counted
static real *packed_copy(const real *w, real *memory, size_t *used, size_t C, size_t OC) {
    real *packed = carve(memory, used, matmul_packed_size((int)C, (int)OC));
    if (memory) matmul_pack_weights(packed, w, (int)C, (int)OC);
    return packed;
}

static size_t pack_matrices(Model *m, real *memory) {
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels;
    const size_t F = (size_t)c->hidden;
    size_t used = 0;
    for (int l = 0; l < c->num_layers; l++) {
        const Block *w = &m->params.block[l];
        Block *packed = &m->packed.block[l];
        packed->qkvw  = packed_copy(w->qkvw, memory, &used, C, model_qkv_width(c));
        packed->attw  = packed_copy(w->attw, memory, &used, model_att_width(c), C);
        packed->fcw   = packed_copy(w->fcw, memory, &used, C, model_fc_width(c));
        packed->projw = packed_copy(w->projw, memory, &used, F, C);
    }
    if (!c->reward) {
        const real *w = model_output_matrix(m);
        m->packed.unembed = packed_copy(w, memory, &used, C, (size_t)c->vocab_size);
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

// out(T,OC) = inp(T,C) w(OC,C)' + b(OC), from the packed copy of w if there is one
static void linear_forward(real *out, const real *inp, const real *w, const real *packed,
                           const real *b, int T, int C, int OC) {
    if (packed) {
        matmul_packed_forward(out, inp, packed, b, T, C, OC);
    } else {
        matmul_forward(out, inp, w, b, T, C, OC);
    }
}

// ---------------------------------------------------------------------------------- adapters

// s of W x + s B A x
static real lora_scale(const Config *c) { return (real)(float)(c->lora_alpha / c->lora_r); }

/* What the adapters of a linear layer add to its out(T,OC), from inp(T,C): one after the other
 *
 *     u = A x,   v = B u,   out = out + s v          of the columns that are the site's */
static void lora_forward(const Model *m, const Block *w, LinearLayer linear, real *out,
                         const real *inp, int T, int OC) {
    const Config *c = &m->config;
    real *u = m->acts.low;                    // (T,r)
    real *v = m->acts.wide;                   // (T, rows of the site)
    for (int k = 0; k < NUM_SITES; k++) {
        const SiteShape s = site_shape(c, (Site)k);
        if (!c->lora_r || !c->lora[k] || s.linear != linear) continue;
        const int rows = (int)s.rows, r = c->lora_r;
        const real *A = w->lora + model_site_offset(c, (Site)k);
        const real *B = A + (size_t)r * s.inputs;
        matmul_forward(u, inp, A, NULL, T, (int)s.inputs, r);
        matmul_forward(v, u, B, NULL, T, r, rows);
        scaled_add(out + s.row, OC, v, rows, lora_scale(c), T, rows);
    }
}

/* Adds to the gradients of A and B, and to dinp(T,C), which the linear layer's own backward wrote;
 * u is computed again.  forward: out = out + s B A x, so that
 *
 *     dv = s dout,   dB += dv u',   du = B' dv,   dA += du x',   dx += A' du */
static void lora_backward(const Model *m, const Block *g, const Block *w, LinearLayer linear,
                          real *dinp, const real *dout, const real *inp, int T, int OC) {
    const Config *c = &m->config;
    const int r = c->lora_r;
    real *u = m->acts.low, *du = u + (size_t)T * (size_t)r;           // (T,r)
    real *wide = m->acts.wide;                // dv(T, rows of the site), then of dinp (T,C)
    for (int k = 0; k < NUM_SITES; k++) {
        const SiteShape s = site_shape(c, (Site)k);
        if (!c->lora_r || !c->lora[k] || s.linear != linear) continue;
        const int rows = (int)s.rows, C = (int)s.inputs;
        const size_t at_a = model_site_offset(c, (Site)k), at_b = at_a + (size_t)r * s.inputs;
        const real *A = w->lora + at_a, *B = w->lora + at_b;
        matmul_forward(u, inp, A, NULL, T, C, r);
        kernels_zero(wide, (size_t)T * s.rows);
        scaled_add(wide, rows, dout + s.row, OC, lora_scale(c), T, rows);
        matmul_backward(du, g->lora + at_b, NULL, wide, u, B, T, r, rows, &m->blocks);
        matmul_backward(wide, g->lora + at_a, NULL, du, inp, A, T, C, r, &m->blocks);
        add_forward(dinp, dinp, wide, (size_t)T * s.inputs);
    }
}

// -------------------------------------------------------------------------- blocks of layers

// Turns the queries and keys of layer l, qkv(T,QO), by their rows' positions, or with sign -1 back.
static void rotate(const Model *m, const Batch *s, int l, real *qkv, int sign) {
    const Config *c = &m->config;
    const int heads = c->num_heads + c->num_kv_heads;
    const real *cosine = m->rope_memory, *sine = cosine + rope_size(c) / 2;
    if (!c->rotary_dims || c->unturned[l]) return;
    rotary(qkv, cosine, sine, s->position, sign, s->T, heads, c->head_dim, c->rotary_dims,
           (int)model_qkv_width(c));
}

/* Block l, from x = res to y, the next block's res; all (T,C):
 *
 *     sequential:  z = x + attention(norm1(x))             GPT-2: Radford et al. 2019, sec. 2.3
 *                  y = z + mlp(norm2(z))
 *     parallel:    y = (x + attention(norm1(x))) + mlp(norm2(x))
 *                                                      GPT-NeoX: Black et al. 2022, sec. 2.1.2
 *
 * With `again`, which recomputes, only what backward reads: y is known. */
static void block_forward(const Model *m, const Batch *s, int l, int again) {
    const Config *c = &m->config;
    const Block *w = &m->params.block[l], *packed = &m->packed.block[l];
    const BlockActs *a = &m->acts.block[l];
    const int T = s->T;
    const int C = c->channels;
    const int NH = c->num_heads;
    const int NKV = c->num_kv_heads;
    const int HD = c->head_dim;
    const int F = c->hidden;
    const int QO = (int)model_qkv_width(c);
    const int FC = (int)model_fc_width(c);
    const size_t n = (size_t)T*C;
    real *att_out = m->acts.a, *mlp_out = m->acts.b;
    real *y = l + 1 < c->num_layers ? m->acts.block[l+1].res : m->acts.res;

    // queries, keys and values of norm1(x); queries and keys are turned by their position
    norm_forward(a->ln1, a->mean1, a->rstd1, a->res, w->ln1w, w->ln1b,
                 c->norm_eps, c->rms_norm, T, C);
    linear_forward(a->qkv, a->ln1, w->qkvw, packed->qkvw, w->qkvb, T, C, QO);
    lora_forward(m, w, LINEAR_QKV, a->qkv, a->ln1, T, QO);
    if (c->qk_norm) {
        real *key = a->qkv + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_forward(a->qkv, a->pre, a->rstdq, w->qnormw, c->norm_eps, T, NH, HD, QO);
        head_norm_forward(key, key_pre, a->rstdk, w->knormw, c->norm_eps, T, NKV, HD, QO);
    }
    rotate(m, s, l, a->qkv, 1);

    // attention, then its output matrix
    if (s->cache) cache_append(s->cache, a->qkv, s->seg, s->S, l, NH, NKV, HD);
    if (s->decode) {
        attention_decode(a->att, a->qkv, s->cache, l, T, NH, NKV, HD);
    } else {
        attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
    }
    if (!again || !c->parallel_residual) {
        linear_forward(att_out, a->att, w->attw, packed->attw, w->attb, T, NH*HD, C);
        lora_forward(m, w, LINEAR_ATT, att_out, a->att, T, C);
    }

    // z = x + attention(norm1(x)); if parallel res2 is res, and stands for x
    if (!c->parallel_residual) add_forward(a->res2, a->res, att_out, n);

    // mlp(norm2(z))
    norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, w->ln2w, w->ln2b,
                 c->norm_eps, c->rms_norm, T, C);
    linear_forward(a->fc, a->ln2, w->fcw, packed->fcw, w->fcb, T, C, FC);
    lora_forward(m, w, LINEAR_FC, a->fc, a->ln2, T, FC);
    if (c->gated) {
        gated_forward(a->act, a->fc, c->activation, T, F);
    } else {
        activation_forward(a->act, a->fc, c->activation, T, F);
    }
    if (again) return;
    linear_forward(mlp_out, a->act, w->projw, packed->projw, w->projb, T, F, C);
    lora_forward(m, w, LINEAR_PROJ, mlp_out, a->act, T, C);

    // y
    if (c->parallel_residual) {
        add3_forward(y, a->res, att_out, mlp_out, n);
    } else {
        add_forward(y, a->res2, mlp_out, n);
    }
}

/* Backward of block l: dres holds dy and ends as dx; weights' gradients are added to.
 *
 * norm_backward adds to the gradient of its input, which is how the terms of a sum meet.
 * Sequential, it adds to dy itself, which turns into dz and then into dx.  Parallel, both halves
 * read dy, so they add to another tensor, which joins dy at the end. */
static void block_backward(const Model *m, const Batch *s, int l) {
    const Config *c = &m->config;
    const Block *w = &m->params.block[l], *g = &m->grads.block[l];
    const BlockActs *a = &m->acts.block[l];
    const RowBlocks *blocks = &m->blocks;
    const int T = s->T;
    const int C = c->channels;
    const int NH = c->num_heads;
    const int NKV = c->num_kv_heads;
    const int HD = c->head_dim;
    const int F = c->hidden;
    const int QO = (int)model_qkv_width(c);
    const int FC = (int)model_fc_width(c);
    const size_t n = (size_t)T*C;
    real *dy = m->acts.dres, *dz = dy;
    real *dact = m->acts.dact;                // (T,F), then datt(T, NH HD)
    real *dwide = m->acts.dwide;              // dfc(T,FC), then dqkv(T,QO)
    real *dnorm = m->acts.b;                  // (T,C)
    if (c->parallel_residual) {
        dz = m->acts.a;
        kernels_zero(dz, n);
    }

    // forward: y = z + mlp(norm2(z)), where mlp is projw act(fcw norm2(z))
    matmul_backward(dact, g->projw, g->projb, dy, a->act, w->projw, T, F, C, blocks);
    lora_backward(m, g, w, LINEAR_PROJ, dact, dy, a->act, T, C);
    if (c->gated) {
        gated_backward(dwide, dact, a->fc, c->activation, T, F);
    } else {
        activation_backward(dwide, dact, a->fc, c->activation, T, F);
    }
    matmul_backward(dnorm, g->fcw, g->fcb, dwide, a->ln2, w->fcw, T, C, FC, blocks);
    lora_backward(m, g, w, LINEAR_FC, dnorm, dwide, a->ln2, T, FC);
    norm_backward(dz, g->ln2w, g->ln2b, dnorm, a->res2, a->mean2, a->rstd2, w->ln2w,
                  c->rms_norm, T, C);

    // forward: z = x + attention(norm1(x)), where attention ends with attw; dy is dz by now, but
    // not if parallel
    matmul_backward(dact, g->attw, g->attb, dy, a->att, w->attw, T, NH*HD, C, blocks);
    lora_backward(m, g, w, LINEAR_ATT, dact, dy, a->att, T, C);
    attention_backward(dwide, dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD);
    rotate(m, s, l, dwide, -1);
    if (c->qk_norm) {
        real *dkey = dwide + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_backward(dwide, g->qnormw, a->pre, a->rstdq, w->qnormw, T, NH, HD, QO);
        head_norm_backward(dkey, g->knormw, key_pre, a->rstdk, w->knormw, T, NKV, HD, QO);
    }
    matmul_backward(dnorm, g->qkvw, g->qkvb, dwide, a->ln1, w->qkvw, T, C, QO, blocks);
    lora_backward(m, g, w, LINEAR_QKV, dnorm, dwide, a->ln1, T, QO);
    norm_backward(dz, g->ln1w, g->ln1b, dnorm, a->res, a->mean1, a->rstd1, w->ln1w,
                  c->rms_norm, T, C);

    if (c->parallel_residual) add_forward(dy, dy, dz, n);
}

// ----------------------------------------------------------------------------------- forward

// The rows of the micro-batch to the hidden states after the last norm, kept in acts.lnf(T,C).
void model_forward(Model *m, const Batch *s) {
    const Config *c = &m->config;
    const Params *p = &m->params;
    const int T = s->T, C = c->channels;
    Acts *a = &m->acts;
    assert(T <= m->T && s->B <= m->B);
    embed_forward(a->block[0].res, s->token, s->position, p->wte, p->wpe, T, C);
    for (int l = 0; l < c->num_layers; l++) block_forward(m, s, l, 0);
    norm_forward(a->lnf, a->meanf, a->rstdf, a->res, p->lnfw, p->lnfb,
                 c->norm_eps, c->rms_norm, T, C);
}

// After forward: reward(B) of each text, and if asked for the pooled hidden states pooled(B,C).
void model_rewards(Model *m, const Batch *s, real *reward, real *pooled) {
    const Config *c = &m->config;
    const int B = s->B, C = c->channels;
    Acts *a = &m->acts;
    assert(B >= 0 && B <= m->B);
    pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
    head_forward(a->reward, a->pooled, m->params.head, B, C);
    kernels_read(reward, a->reward, (size_t)B);
    if (pooled) kernels_read(pooled, a->pooled, (size_t)B * (size_t)C);
}

// After forward: score(n,B) = w(n,C) h_b of n heads beside the model's own, h_b the hidden state of
// each text's last row.
void model_heads(Model *m, const Batch *s, const real *w, int n, real *score) {
    const int B = s->B, C = m->config.channels;
    Acts *a = &m->acts;
    assert(B >= 0 && B <= m->B);
    pool_forward(a->pooled, a->lnf, s->text, POOL_LAST, B, C);
    for (int k = 0; k < n; k++) {
        head_forward(a->reward, a->pooled, w + (size_t)k * (size_t)C, B, C);
        kernels_read(score + (size_t)k * (size_t)B, a->reward, (size_t)B);
    }
}

real *model_output_matrix(const Model *m) {
    return m->config.tied ? m->params.wte : m->params.unembed;
}

/* After forward: logits(n,V) of the rows row(n), or of the first n if row is NULL, and their
 * log-sum-exp lse(n); n <= LOGITS_ROWS. */
void model_logits(Model *m, const int *row, int n, real *logits, real *lse) {
    const int C = m->config.channels, V = m->config.vocab_size;
    real *x = m->acts.logits;                                         // (LOGITS_ROWS, V)
    real *rows = x + (size_t)LOGITS_ROWS*(size_t)V;                   // (LOGITS_ROWS, C)
    real *sums = rows + (size_t)LOGITS_ROWS*(size_t)C;
    const real *inp = m->acts.lnf;
    if (row) {
        embed_forward(rows, row, NULL, m->acts.lnf, NULL, n, C);      // looked up as a token is
        inp = rows;
    }
    linear_forward(x, inp, model_output_matrix(m), m->packed.unembed, NULL, n, C, V);
    lse_forward(sums, x, n, V);
    kernels_read(logits, x, (size_t)n * (size_t)V);
    kernels_read(lse, sums, (size_t)n);
}

// Notes the rows that have a target, and it, in scored_row and scored_target; returns how many.
static int find_scored_rows(Model *m, const Batch *s) {
    int n = 0;
    for (int t = 0; t < s->T; t++) {
        if (s->target[t] < 0) continue;
        m->scored_row[n] = t;
        m->scored_target[n] = s->target[t];
        n++;
    }
    return n;
}

// logp(T) = scored(n) at the scored rows, 0 at the others
static void spread_scored(real *logp, const real *scored, const Model *m, int n, int T) {
    memset(logp, 0, (size_t)T * sizeof *logp);
    for (int i = 0; i < n; i++) logp[m->scored_row[i]] = scored[i];
}

// After forward: logp(T) = log p(target | rows before), 0 where the row is not scored.
// 0, or -1 after fail().
int model_logp(Model *m, const Batch *s, real *logp) {
    const int C = m->config.channels, V = m->config.vocab_size;
    const int n = find_scored_rows(m, s);
    real *scored = allocate((size_t)n, sizeof *scored);
    if (!scored) return -1;
    logp_forward(scored, m->acts.lnf, model_output_matrix(m), m->scored_row, m->scored_target, n,
                 C, V, m->acts.logits, LOGITS_ROWS);
    spread_scored(logp, scored, m, n, s->T);
    free(scored);
    return 0;
}

// ---------------------------------------------------------------------------------- backward

// Gradients are zeroed once a step; all of its micro-batches add to them.
void model_zero_grads(Model *m) {
    kernels_zero(m->grads_memory, m->num_trained);
    if (m->tied_memory) kernels_zero(m->tied_memory, output_size(&m->config));
}

/* Blocks of the n rows row(n), or of all n if row is NULL, for the weight gradients of bf16
 * operands (RowBlocks).  A block begins with each group, so that they do not
 * depend on what else is in the micro-batch.  Their starts go to start(n + 1). */
static RowBlocks row_blocks(int *start, const Batch *s, const int *row, int n) {
    enum { MOST_ROWS = 32 };                  // of a block
    int count = 0, next = 0;                  // blocks so far; the first segment not reached yet
    int new_group = 1;
    for (int i = 0; i < n; i++) {
        const int r = row ? row[i] : i;
        while (next < s->S && s->seg[next].start <= r) {
            if (s->seg[next].parent < 0) new_group = 1;
            next++;
        }
        if (new_group || i - start[count-1] == MOST_ROWS) {
            start[count] = i;
            count++;
            new_group = 0;
        }
    }
    start[count] = n;
    return (RowBlocks){.start = start, .count = count};
}

// From dlogp(T) to dlnf(T,C) and the output matrix's gradient; logp as in model_backward.
static int output_backward(Model *m, const Batch *s, real *dlnf, const real *dlogp, real *logp) {
    const Config *c = &m->config;
    const int n = find_scored_rows(m, s);
    real *dw = c->tied ? m->tied_memory : m->grads.unembed;
    real *dscored = allocate(2 * (size_t)n, sizeof *dscored);
    if (!dscored) return -1;
    real *scored = dscored + n;
    for (int i = 0; i < n; i++) dscored[i] = dlogp[m->scored_row[i]];
    m->scored_blocks = row_blocks(m->scored_block_start, s, m->scored_row, n);
    logp_backward(dlnf, dw, scored, dscored, m->acts.lnf, model_output_matrix(m), m->scored_row,
                  m->scored_target, n, c->channels, c->vocab_size, m->acts.logits, LOGITS_ROWS,
                  &m->scored_blocks);
    if (logp) spread_scored(logp, scored, m, n, s->T);
    free(dscored);
    return 0;
}

// From dreward(B) to dlnf(T,C) and the reward head's gradient.
static void reward_backward(Model *m, const Batch *s, real *dlnf, const real *dreward) {
    const Config *c = &m->config;
    const int B = s->B, C = c->channels;
    Acts *a = &m->acts;
    pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
    kernels_write(a->reward, dreward, (size_t)B);
    head_backward(dlnf, m->grads.head, a->reward, a->pooled, m->params.head, s->text, c->pooling,
                  B, C);
}

// From dlnf(T,C), which is acts.b, to the gradients of all below the output matrix and the heads.
static void trunk_backward(Model *m, const Batch *s) {
    const Config *c = &m->config;
    const Params *p = &m->params, *g = &m->grads;
    const int T = s->T, C = c->channels;
    const int L = c->num_layers;
    Acts *a = &m->acts;

    // forward: h = norm(x_L)
    kernels_zero(a->dres, (size_t)T*C);
    norm_backward(a->dres, g->lnfw, g->lnfb, a->b, a->res, a->meanf, a->rstdf, p->lnfw,
                  c->rms_norm, T, C);

    // the blocks from last to first; the last one's activations are still there
    m->blocks = row_blocks(m->block_start, s, NULL, T);
    for (int l = L - 1; l >= 0; l--) {
        if (m->recompute && l + 1 < L) block_forward(m, s, l, 1);
        block_backward(m, s, l);
    }
    if (g->wte) embed_backward(g->wte, g->wpe, a->dres, s->token, s->position, T, C);
}

/* After forward: adds to the gradients those of
 *
 *     sum_b dreward[b] reward[b] + sum_t dlogp[t] logp[t]
 *
 * dreward(B) or NULL; dlogp(T) or NULL, read where target >= 0; logp(T) or NULL receives the
 * log-probabilities.  0, or -1 after fail(). */
int model_backward(Model *m, const Batch *s, const real *dreward, const real *dlogp, real *logp) {
    // forward: h went to the output matrix or the reward head
    real *dlnf = m->acts.b;
    kernels_zero(dlnf, (size_t)s->T * (size_t)m->config.channels);
    if (dlogp && output_backward(m, s, dlnf, dlogp, logp) < 0) return -1;
    if (dreward) reward_backward(m, s, dlnf, dreward);
    if (!m->freeze) trunk_backward(m, s);     // else all below the head stays as it is
    return 0;
}

// After model_heads: adds to the gradients those of sum_kb dscore[k,b] score[k,b], to dw(n,C) those
// of the n heads.
void model_heads_backward(Model *m, const Batch *s, const real *w, real *dw, int n,
                          const real *dscore) {
    const int B = s->B, C = m->config.channels;
    Acts *a = &m->acts;
    real *dlnf = a->b;
    kernels_zero(dlnf, (size_t)s->T*C);
    for (int k = 0; k < n; k++) {
        const size_t head = (size_t)k * (size_t)C;
        kernels_write(a->reward, dscore + (size_t)k * (size_t)B, (size_t)B);
        head_backward(dlnf, dw + head, a->reward, a->pooled, w + head, s->text, POOL_LAST, B, C);
    }
    trunk_backward(m, s);
}

// Once a step, after its last backward: a tied embedding's two roles meet, output + input.
void model_finish_grads(Model *m) {
    if (!m->tied_memory) return;
    add_forward(m->grads.wte, m->tied_memory, m->grads.wte, output_size(&m->config));
}

// ------------------------------------------------------------------------------------ update

// sqrt of the sum of squares of all gradients; NaN or infinity if one of them is.
double model_grad_norm(const Model *m) {
    const size_t frozen = m->num_params - m->num_trained;
    double sum = 0;
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->offset < frozen) continue;
        sum += sum_of_squares(m->grads_memory + (t->offset - frozen), t->size);
    }
    return sqrt(sum);
}

// b1^t and b2^t
static void beta_powers(double power[2], const AdamW *o) {
    power[0] = 1;
    power[1] = 1;
    for (int i = 0; i < o->step; i++) {
        power[0] *= o->beta1;
        power[1] *= o->beta2;
    }
}

/* AdamW, Loshchilov and Hutter 2019, algorithm 2, with decay multiplied by the learning rate lr,
 * of n numbers w with the gradients g:
 *
 *     m = b1 m + (1-b1) g,   v = b2 v + (1-b2) g^2,   mhat = m/(1 - b1^t),   vhat = v/(1 - b2^t)
 *     w = w - lr (mhat / (sqrt(vhat) + eps) + weight_decay w) */
static void update_tensor(real *w, real *moment1, real *moment2, const real *g, size_t n,
                          const AdamW *o, const double power[2], double lr, int decays) {
    const double decay = decays ? 1 - lr * o->weight_decay : 1;
    const double rate = lr / (1 - power[0]), root = 1 / sqrt(1 - power[1]);
    adamw_update(w, moment1, moment2, g, n, (real)o->scale, (real)o->beta1, (real)o->beta2,
                 (real)rate, (real)root, (real)o->eps, (real)decay);
}

void model_update(Model *m, const AdamW *o) {
    double power[2];
    beta_powers(power, o);
    const size_t frozen = m->num_params - m->num_trained;
    real *moment1 = m->moments_memory, *moment2 = moment1 + m->num_trained;
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->offset < frozen) continue;
        const size_t at = t->offset - frozen;
        const double lr = o->learning_rate * (t->kind == KIND_HEAD ? o->head_rate : 1);
        update_tensor(m->params_memory + t->offset, moment1 + at, moment2 + at,
                      m->grads_memory + at, t->size, o, power, lr, t->decay);
    }
}

// The same of heads beside the model's own: w(n), dw(n), moments(2,n).
void model_update_heads(real *w, const real *dw, real *moments, size_t n, const AdamW *o) {
    double power[2];
    beta_powers(power, o);
    update_tensor(w, moments, moments + n, dw, n, o, power, o->learning_rate, 1);
}
#endif

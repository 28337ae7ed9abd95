/* bench_layers.c - the layers of a model, each measured by itself (more bench).
 *
 * A layer's measurement makes all of its calls in a step of training, with the tensors that model.c
 * gives them, on what the step measured before it left there. */
#ifndef BENCH_LAYERS_C
#define BENCH_LAYERS_C
#include "measure.c"
#include "../model.c"

// What a step of training calls.
typedef enum {
    // those up to VOCABULARY are linear layers, those up to ATTENTION are matrix products
    QKV, ATT_OUT, FC, PROJ, VOCABULARY, ATTENTION,
    EMBED, NORM, HEAD_NORM, ROTARY, ACT, GATED, RESIDUAL,
    LOGP, REWARD_HEAD, ZERO, TIE, GRAD_NORM, ADAMW, SUBNORMAL, NUM_LAYERS
} Layer;

Linear linear_layer(const Model *m, int l, Layer kind);    // QKV to VOCABULARY with its tensors
void   layers_add(Bench *b);                               // to the list: all that the model has

// ----------------------------------------------------------------------------------------- a layer

static const struct {
    const char *name;
    int both;                                   // forward and backward are measured apart
} layers[] = {
    [QKV]         = {"queries, keys, values", 1},
    [ATT_OUT]     = {"attention out", 1},
    [FC]          = {"feed-forward in", 1},
    [PROJ]        = {"feed-forward out", 1},
    [VOCABULARY]  = {"vocabulary", 1},
    [ATTENTION]   = {"attention", 1},
    [EMBED]       = {"embed", 1},
    [NORM]        = {"norm", 1},
    [HEAD_NORM]   = {"head norm", 1},
    [ROTARY]      = {"rotary", 1},
    [ACT]         = {"activation", 1},
    [GATED]       = {"gated activation", 1},
    [RESIDUAL]    = {"residual", 1},
    [LOGP]        = {"loss with vocabulary", 0},
    [REWARD_HEAD] = {"pool, head", 0},
    [ZERO]        = {"zero gradients", 0},
    [TIE]         = {"tied gradients", 0},
    [GRAD_NORM]   = {"gradient norm", 0},
    [ADAMW]       = {"adamw", 0},
    [SUBNORMAL]   = {"adamw, subnormal", 0},
};
_Static_assert(sizeof layers / sizeof *layers == NUM_LAYERS, "a layer without a name");

// The output layer with the tensors of logp_backward in model.c.
static Linear vocabulary_layer(const Model *m) {
    const Config *c = &m->config;
    const size_t C = (size_t)c->channels, V = (size_t)c->vocab_size;
    real *logits = m->acts.logits;              // NULL before the model has its memory
    real *rows = logits ? logits + LOGITS_ROWS*V : NULL;
    real *drows = logits ? rows + LOGITS_ROWS*C : NULL;
    return (Linear){.C = c->channels, .OC = c->vocab_size,
                    .inp = rows, .w = model_output_matrix(m), .out = logits,
                    .dinp = drows, .dw = c->tied ? m->tied_memory : m->grads.unembed,
                    .dout = logits};
}

// A linear layer, QKV to VOCABULARY, of block l with the tensors that model.c uses.
Linear linear_layer(const Model *m, int l, Layer kind) {
    const Config *c = &m->config;
    const Acts *s = &m->acts;
    const BlockActs *a = &s->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const int C = c->channels, F = c->hidden;
    switch (kind) {
    case QKV:
        return (Linear){.C = C, .OC = (int)model_qkv_width(c),
                        .inp = a->ln1, .w = p->qkvw, .b = p->qkvb, .out = a->qkv,
                        .dinp = s->b, .dw = g->qkvw, .db = g->qkvb, .dout = s->dwide};
    case ATT_OUT:
        return (Linear){.C = (int)model_att_width(c), .OC = C,
                        .inp = a->att, .w = p->attw, .b = p->attb, .out = s->a,
                        .dinp = s->dact, .dw = g->attw, .db = g->attb, .dout = s->dres};
    case FC:
        return (Linear){.C = C, .OC = (int)model_fc_width(c),
                        .inp = a->ln2, .w = p->fcw, .b = p->fcb, .out = a->fc,
                        .dinp = s->b, .dw = g->fcw, .db = g->fcb, .dout = s->dwide};
    case PROJ:
        return (Linear){.C = F, .OC = C,
                        .inp = a->act, .w = p->projw, .b = p->projb, .out = s->b,
                        .dinp = s->dact, .dw = g->projw, .db = g->projb, .dout = s->dres};
    default:
        return vocabulary_layer(m);
    }
}

/* A step's work in such a layer, 0 where the model has none: operations, or if it streams bytes,
 * each operand moved once.  The numbers count the arrays that are read and written. */
static double layer_work(const Model *m, const Batch *s, Layer kind, int back, int *streams) {
    const Config *c = &m->config;
    const double T = s->T, C = c->channels, L = c->num_layers, V = c->vocab_size;
    const double LTC = L*T*C, LTF = L*T*c->hidden, N = (double)model_num_params(c);
    const double heads = c->num_heads + c->num_kv_heads;
    const int learned = c->learned_positions, parallel = c->parallel_residual;
    double pooled = 0;
    for (int b = 0; b < s->B; b++) pooled += c->pooling == POOL_MEAN ? s->text[b].len : 1;

    *streams = kind > ATTENTION && kind != LOGP;
    switch (kind) {
    case ATTENTION:   return (back ? 10 : 4) * L * (double)model_att_width(c) * batch_pairs(s);
    case LOGP:        return 6 * T*C*V;
    case VOCABULARY:  return (back ? 4 : 2) * T*C*V;
    case EMBED:       return 4 * (back ? 3 + 2*learned : 2 + learned) * T*C;
    case NORM:        return 4 * (back ? 4 : 2) * (2*LTC + T*C);
    case HEAD_NORM:   return 4 * 3 * L*T*heads * c->head_dim * c->qk_norm;
    case ROTARY:      return 4 * 2 * L*T*heads * c->rotary_dims;
    case ACT:         return 4 * (back ? 3 : 2) * LTF * !c->gated;
    case GATED:       return 4 * (back ? 5 : 3) * LTF * c->gated;
    case RESIDUAL:
        if (back) return 4 * 3 * LTC * parallel;
        return 4 * (parallel ? 4 : 6) * LTC;
    case REWARD_HEAD: return 4 * 4 * pooled*C;
    case ZERO:        return 4 * (N + c->tied * V*C);
    case TIE:         return 4 * 3 * c->tied * V*C;
    case GRAD_NORM:   return 4 * N;
    case ADAMW:                                 // w, m, v read and written, the gradient read
    case SUBNORMAL:   return 4 * 7 * N;
    default: {
        const Linear x = linear_layer(m, 0, kind);
        return (back ? 4 : 2) * L*T * x.C * x.OC;
    }
    }
}

/* The layer's calls in block_forward and block_backward of model.c, with the same tensors; a test
 * compares them, so that a call that is added there is missed here. */
static void block_forward_layer(const Model *m, const Batch *s, Layer kind, int l) {
    const Config *c = &m->config;
    const Acts *w = &m->acts;
    const BlockActs *a = &w->block[l];
    const Block *p = &m->params.block[l];
    const int T = s->T, C = c->channels, F = c->hidden, HD = c->head_dim;
    const int NH = c->num_heads, NKV = c->num_kv_heads, QO = (int)model_qkv_width(c);
    const real eps = c->norm_eps, *cosine = m->rope_memory;
    const real *sine = cosine + (size_t)c->max_positions * (size_t)(c->rotary_dims / 2);
    const size_t n = (size_t)T*C;
    real *y = l + 1 < c->num_layers ? w->block[l+1].res : w->res;
    switch (kind) {
    case QKV: case ATT_OUT: case FC: case PROJ: {
        const Linear x = linear_layer(m, l, kind);
        linear_run(&x, T, FORWARD);
        break;
    }
    case ATTENTION:
        attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD,
                          model_window(c, l));
        break;
    case NORM:
        norm_forward(a->ln1, a->mean1, a->rstd1, a->res, p->ln1w, p->ln1b, eps, c->rms_norm, T, C);
        norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, p->ln2w, p->ln2b, eps, c->rms_norm, T, C);
        break;
    case HEAD_NORM: {
        real *key = a->qkv + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_forward(a->qkv, a->pre, a->rstdq, p->qnormw, eps, T, NH, HD, QO);
        head_norm_forward(key, key_pre, a->rstdk, p->knormw, eps, T, NKV, HD, QO);
        break;
    }
    case ROTARY:
        rotary(a->qkv, cosine, sine, s->position, 1, T, NH + NKV, HD, c->rotary_dims, QO);
        break;
    case ACT:
        activation_forward(a->act, a->fc, c->activation, T, F);
        break;
    case GATED:
        gated_forward(a->act, a->fc, c->activation, T, F);
        break;
    case RESIDUAL:
        if (c->parallel_residual) {
            add3_forward(y, a->res, w->a, w->b, n);
        } else {
            add_forward(a->res2, a->res, w->a, n);
            add_forward(y, a->res2, w->b, n);
        }
        break;
    default:
        break;
    }
}
static void block_backward_layer(const Model *m, const Batch *s, Layer kind, int l) {
    const Config *c = &m->config;
    const Acts *w = &m->acts;
    const BlockActs *a = &w->block[l];
    const Block *p = &m->params.block[l], *g = &m->grads.block[l];
    const int T = s->T, C = c->channels, F = c->hidden, HD = c->head_dim;
    const int NH = c->num_heads, NKV = c->num_kv_heads, QO = (int)model_qkv_width(c);
    const real *cosine = m->rope_memory;
    const real *sine = cosine + (size_t)c->max_positions * (size_t)(c->rotary_dims / 2);
    real *dz = c->parallel_residual ? w->a : w->dres;
    switch (kind) {
    case QKV: case ATT_OUT: case FC: case PROJ: {
        const Linear x = linear_layer(m, l, kind);
        linear_run(&x, T, BACKWARD);
        break;
    }
    case ATTENTION:
        attention_backward(w->dwide, w->dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD,
                           model_window(c, l));
        break;
    case NORM:
        norm_backward(dz, g->ln2w, g->ln2b, w->b, a->res2, a->mean2, a->rstd2, p->ln2w,
                      c->rms_norm, T, C);
        norm_backward(dz, g->ln1w, g->ln1b, w->b, a->res, a->mean1, a->rstd1, p->ln1w,
                      c->rms_norm, T, C);
        break;
    case HEAD_NORM: {
        real *dkey = w->dwide + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_backward(w->dwide, g->qnormw, a->pre, a->rstdq, p->qnormw, T, NH, HD, QO);
        head_norm_backward(dkey, g->knormw, key_pre, a->rstdk, p->knormw, T, NKV, HD, QO);
        break;
    }
    case ROTARY:
        rotary(w->dwide, cosine, sine, s->position, -1, T, NH + NKV, HD, c->rotary_dims, QO);
        break;
    case ACT:
        activation_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        break;
    case GATED:
        gated_backward(w->dwide, w->dact, a->fc, c->activation, T, F);
        break;
    case RESIDUAL:
        if (c->parallel_residual) add_forward(w->dres, w->dres, w->a, (size_t)T*C);
        break;
    default:
        break;
    }
}

// The calls of a layer that stand outside the blocks, as in model.c.
static void outer_layer(Bench *b, const Batch *s, Layer kind, int back) {
    Model *m = &b->run.model;
    const Config *c = &m->config;
    const Acts *a = &m->acts;
    const Params *p = &m->params, *g = &m->grads;
    const int T = s->T, B = s->B, C = c->channels, V = c->vocab_size;
    const Linear out = vocabulary_layer(m);
    switch (kind) {
    case VOCABULARY:
        for (int i = 0; i < T; i += LOGITS_ROWS) {
            linear_run(&out, min_int(LOGITS_ROWS, T - i), back ? BACKWARD : FORWARD);
        }
        break;
    case EMBED:
        if (back) {
            embed_backward(g->wte, g->wpe, a->dres, s->token, s->position, T, C);
        } else {
            embed_forward(a->block[0].res, s->token, s->position, p->wte, p->wpe, T, C);
        }
        break;
    case NORM:
        if (back) {
            norm_backward(a->dres, g->lnfw, g->lnfb, a->b, a->res, a->meanf, a->rstdf, p->lnfw,
                          c->rms_norm, T, C);
        } else {
            norm_forward(a->lnf, a->meanf, a->rstdf, a->res, p->lnfw, p->lnfb, c->norm_eps,
                         c->rms_norm, T, C);
        }
        break;
    case LOGP:                                  // every row is scored
        logp_backward(a->b, out.dw, b->run.value, b->run.dvalue, a->lnf, out.w, NULL,
                      m->scored_row, m->scored_target, T, C, V, a->logits, LOGITS_ROWS, NULL);
        break;
    case REWARD_HEAD:                           // backward pools again
        pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
        head_forward(a->reward, a->pooled, p->head, B, C);
        pool_forward(a->pooled, a->lnf, s->text, c->pooling, B, C);
        head_backward(a->b, g->head, a->reward, a->pooled, p->head, s->text, c->pooling, B, C);
        break;
    case ZERO:
        model_zero_grads(m);
        break;
    case TIE:
        model_finish_grads(m);
        break;
    case GRAD_NORM:
        model_grad_norm(m);
        break;
    case ADAMW: case SUBNORMAL:
        model_update(m, &bench_adamw);
        break;
    default:
        break;
    }
}

// All of a step's calls of one layer, on the tensors that the step before it left.
static int layer_run(Bench *b, const Measure *x) {
    const Model *m = &b->run.model;
    const int L = m->config.num_layers, back = x->way == BACKWARD;
    const Batch s = pack_batch(&b->run.pack);
    for (int i = 0; i < L; i++) {
        if (back) {
            block_backward_layer(m, &s, x->kind, L - 1 - i);
        } else {
            block_forward_layer(m, &s, x->kind, i);
        }
    }
    outer_layer(b, &s, x->kind, back);
    return 0;
}

// Gradients and moments that are subnormal numbers, on which some machines are slow.
static void make_subnormal(Bench *b) {
    const Model *m = &b->run.model;
    tensor_fill_random(m->grads_memory, m->num_params, 0x1p-127f);
    tensor_fill_random(m->moments_memory, 2 * m->num_params, 0x1p-127f);
}

// Adds the layers of this model, each compared with the step before it; of a reward model pool and
// head alone.
void layers_add(Bench *b) {
    const Model *m = &b->run.model;
    const Batch s = pack_batch(&b->run.pack);
    const int step = b->num_measures - 1;
    for (int kind = 0; kind < NUM_LAYERS; kind++) {
        if ((kind == REWARD_HEAD) != m->config.reward) continue;
        for (int back = 0; back <= layers[kind].both; back++) {
            Measure x = {.run = layer_run, .kind = kind, .way = back ? BACKWARD : FORWARD};
            x.work = layer_work(m, &s, (Layer)kind, back, &x.streams);
            if (!x.work) continue;
            if (kind == SUBNORMAL) x.before = make_subnormal;
            const int ordinary_adamw = b->num_measures - 1;
            const char *way = back ? " backward" : layers[kind].both ? " forward" : "";
            Measure *added = measure_add(b, x, "layer %s%s", layers[kind].name, way);
            added->than = kind == SUBNORMAL ? ordinary_adamw : step;
        }
    }
}
#endif

/* model.c - the transformer: forward, backward, update.  Its configuration and its tensors are in
 * layout.c.
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
#include "layout.c"

typedef struct {
    double learning_rate, beta1, beta2, eps, weight_decay;
    double head_rate;                         // multiplies the reward head's learning rate
    double scale;                             // multiplies the gradient: clipping
    int step;                                 // from 1
} AdamW;

// --------------------------------------------------------------------------------- interface

// forward of a micro-batch, then what is wanted of it
void model_forward(Model *m, const Batch *s);
void model_rewards(Model *m, const Batch *s, real *reward, real *pooled);
int  model_logp(Model *m, const Batch *s, real *logp);
void model_logits(Model *m, const int *row, int n, real *logits, real *lse);
void model_heads(Model *m, const Batch *s, const real *w, int n, real *score);

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

// ------------------------------------------------------------------------------ linear layers

// out(T,OC) = inp(T,C) w(OC,C)' + b(OC), from the packed copy of w if there is one; w NULL: narrow
static void linear_forward(real *out, const real *inp, const real *w, const Narrow *narrow,
                           const real *packed, const real *b, int T, int C, int OC) {
    if (packed) {
        matmul_packed_forward(out, inp, packed, b, T, C, OC);
    } else if (w) {
        matmul_forward(out, inp, w, b, T, C, OC);
    } else {
        narrow_forward(out, inp, narrow, b, T, C, OC);
    }
}

// WRITES dinp(T,C); adds dw, db, which a narrow matrix has none of
static void linear_backward(real *dinp, real *dw, real *db, const real *dout, const real *inp,
                            const real *w, const Narrow *narrow, int T, int C, int OC,
                            const RowBlocks *blocks) {
    if (w) {
        matmul_backward(dinp, dw, db, dout, inp, w, T, C, OC, blocks);
    } else {
        narrow_backward(dinp, dout, narrow, T, C, OC);
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
    if (m->adapters_off) return;
    for (int k = 0; k < NUM_SITES; k++) {
        const SiteShape s = model_site_shape(c, (Site)k);
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
        const SiteShape s = model_site_shape(c, (Site)k);
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

// Is the feed-forward layer computed in one?  Then its blocks share fc and act, since the memory
// was made in the same precision.
static int is_fused(const Model *m) {
    const Acts *a = &m->acts;
    const int fused = a->mlp && model_mlp_fused(&m->config);
    assert(fused || !a->mlp || m->config.num_layers == 1 || !m->grads_memory
           || a->block[0].fc != a->block[1].fc);
    return fused;
}

// Turns the queries and keys of layer l, qkv(T,QO), by their rows' positions, or with sign -1 back.
static void rotate(const Model *m, const Batch *s, int l, real *qkv, int sign) {
    const Config *c = &m->config;
    const int heads = c->num_heads + c->num_kv_heads;
    const real *cosine = m->rope_memory, *sine = cosine + model_rope_size(c) / 2;
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
 *     post-norm:   z = x + norm1(attention(x))             OLMo 2: OLMo Team 2025, sec. 2.1
 *                  y = z + norm2(mlp(z))
 *
 * With `again`, which recomputes, only what backward reads: y is known. */
static void block_forward(const Model *m, const Batch *s, int l, int again) {
    const Config *c = &m->config;
    const Block *w = &m->params.block[l], *packed = &m->packed.block[l];
    const NarrowBlock *narrow = &m->narrow->block[l];
    const BlockActs *a = &m->acts.block[l];
    const int T = s->T;
    const int C = c->channels;
    const int NH = c->num_heads;
    const int NKV = c->num_kv_heads;
    const int HD = c->head_dim;
    const int F = c->hidden;
    const int QO = (int)model_qkv_width(c);
    const int FC = (int)model_fc_width(c);
    const int window = model_window(c, l);
    const size_t n = (size_t)T*C;
    const int post = c->post_norm;
    const real *att_in = post ? a->res : a->ln1, *mlp_in = post ? a->res2 : a->ln2;
    real *att_out = m->acts.a, *mlp_out = m->acts.b;        // what is added to x, and to z
    real *att_raw = post ? a->ln1 : att_out, *mlp_raw = post ? a->ln2 : mlp_out;
    real *y = l + 1 < c->num_layers ? m->acts.block[l+1].res : m->acts.res;

    // queries, keys and values of norm1(x), or of x; queries and keys are turned by their position
    if (!post) {
        norm_forward(a->ln1, a->mean1, a->rstd1, a->res, w->ln1w, w->ln1b,
                     c->norm_eps, c->rms_norm, T, C);
    }
    linear_forward(a->qkv, att_in, w->qkvw, &narrow->qkvw, packed->qkvw, w->qkvb, T, C, QO);
    lora_forward(m, w, LINEAR_QKV, a->qkv, att_in, T, QO);
    if (c->qk_norm) {
        const int QN = model_qnorm_width(c), KN = model_knorm_width(c);
        real *key = a->qkv + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_forward(a->qkv, a->pre, a->rstdq, w->qnormw, c->norm_eps, T, NH*HD/QN, QN, QO);
        head_norm_forward(key, key_pre, a->rstdk, w->knormw, c->norm_eps, T, NKV*HD/KN, KN, QO);
    }
    rotate(m, s, l, a->qkv, 1);

    // attention, then its output matrix
    if (s->cache) cache_append(s->cache, a->qkv, s->seg, s->S, l, NH, NKV, HD);
    if (s->decode) {
        attention_decode(a->att, a->qkv, s->cache, l, T, NH, NKV, HD, window);
    } else {
        attention_forward(a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD, window);
    }
    if (!again || !c->parallel_residual) {
        linear_forward(att_raw, a->att, w->attw, &narrow->attw, packed->attw, w->attb, T, NH*HD, C);
        lora_forward(m, w, LINEAR_ATT, att_raw, a->att, T, C);
    }
    if (post) {
        norm_forward(att_out, a->mean1, a->rstd1, att_raw, w->ln1w, w->ln1b,
                     c->norm_eps, c->rms_norm, T, C);
    }

    // z = x + attention(norm1(x)); if parallel res2 is res, and stands for x
    if (!c->parallel_residual) add_forward(a->res2, a->res, att_out, n);

    // mlp(norm2(z)), or mlp(z)
    if (!post) {
        norm_forward(a->ln2, a->mean2, a->rstd2, a->res2, w->ln2w, w->ln2b,
                     c->norm_eps, c->rms_norm, T, C);
    }
    if (is_fused(m) && !packed->fcw) {
        const Mlp mlp = model_mlp(c, w);
        if (again && !post) return;
        mlp_forward(mlp_raw, mlp_in, &mlp, m->acts.mlp, T);
    } else {
        linear_forward(a->fc, mlp_in, w->fcw, &narrow->fcw, packed->fcw, w->fcb, T, C, FC);
        lora_forward(m, w, LINEAR_FC, a->fc, mlp_in, T, FC);
        if (c->gated) {
            gated_forward(a->act, a->fc, c->activation, T, F);
        } else {
            activation_forward(a->act, a->fc, c->activation, T, F);
        }
        if (again && !post) return;
        linear_forward(mlp_raw, a->act, w->projw, &narrow->projw, packed->projw, w->projb, T, F,
                       C);
        lora_forward(m, w, LINEAR_PROJ, mlp_raw, a->act, T, C);
    }
    if (post) {
        norm_forward(mlp_out, a->mean2, a->rstd2, mlp_raw, w->ln2w, w->ln2b,
                     c->norm_eps, c->rms_norm, T, C);
    }
    if (again) return;

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
 * read dy, so they add to another tensor, which joins dy at the end.  Post-norm, a half begins
 * with the gradient of its norm's input, and its last gradient is added to dy. */
static void block_backward(const Model *m, const Batch *s, int l) {
    const Config *c = &m->config;
    const Block *w = &m->params.block[l], *g = &m->grads.block[l];
    const NarrowBlock *narrow = &m->narrow->block[l];
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
    const int post = c->post_norm;
    const real *att_in = post ? a->res : a->ln1, *mlp_in = post ? a->res2 : a->ln2;
    real *dhalf = post ? m->acts.a : dy;      // of what attention or mlp writes
    if (c->parallel_residual) {
        dz = m->acts.a;
        kernels_zero(dz, n);
    }

    // forward: y = z + mlp(norm2(z)), where mlp is projw act(fcw norm2(z))
    if (post) {
        kernels_zero(dhalf, n);
        norm_backward(dhalf, g->ln2w, g->ln2b, dy, a->ln2, a->mean2, a->rstd2, w->ln2w,
                      c->rms_norm, T, C);
    }
    if (is_fused(m)) {
        const Mlp mlp = model_mlp(c, w);
        const MlpGrads grads = {g->fcw, g->fcb, g->projw, g->projb};
        mlp_backward(dnorm, &grads, dhalf, mlp_in, &mlp, dwide, dact, m->acts.mlp, T, blocks);
    } else {
        linear_backward(dact, g->projw, g->projb, dhalf, a->act, w->projw, &narrow->projw, T, F, C,
                        blocks);
        lora_backward(m, g, w, LINEAR_PROJ, dact, dhalf, a->act, T, C);
        if (c->gated) {
            gated_backward(dwide, dact, a->fc, c->activation, T, F);
        } else {
            activation_backward(dwide, dact, a->fc, c->activation, T, F);
        }
        linear_backward(dnorm, g->fcw, g->fcb, dwide, mlp_in, w->fcw, &narrow->fcw, T, C, FC,
                        blocks);
        lora_backward(m, g, w, LINEAR_FC, dnorm, dwide, mlp_in, T, FC);
    }
    if (post) {
        add_forward(dz, dz, dnorm, n);
    } else {
        norm_backward(dz, g->ln2w, g->ln2b, dnorm, a->res2, a->mean2, a->rstd2, w->ln2w,
                      c->rms_norm, T, C);
    }

    // forward: z = x + attention(norm1(x)), where attention ends with attw; dy is dz by now, but
    // not if parallel
    if (post) {
        kernels_zero(dhalf, n);
        norm_backward(dhalf, g->ln1w, g->ln1b, dz, a->ln1, a->mean1, a->rstd1, w->ln1w,
                      c->rms_norm, T, C);
    }
    linear_backward(dact, g->attw, g->attb, dhalf, a->att, w->attw, &narrow->attw, T, NH*HD, C,
                    blocks);
    lora_backward(m, g, w, LINEAR_ATT, dact, dhalf, a->att, T, C);
    attention_backward(dwide, dact, a->att, a->lse, a->qkv, s->seg, s->S, T, NH, NKV, HD,
                       model_window(c, l));
    rotate(m, s, l, dwide, -1);
    if (c->qk_norm) {
        const int QN = model_qnorm_width(c), KN = model_knorm_width(c);
        real *dkey = dwide + NH*HD, *key_pre = a->pre + NH*HD;
        head_norm_backward(dwide, g->qnormw, a->pre, a->rstdq, w->qnormw, T, NH*HD/QN, QN, QO);
        head_norm_backward(dkey, g->knormw, key_pre, a->rstdk, w->knormw, T, NKV*HD/KN, KN, QO);
    }
    linear_backward(dnorm, g->qkvw, g->qkvb, dwide, att_in, w->qkvw, &narrow->qkvw, T, C, QO,
                    blocks);
    lora_backward(m, g, w, LINEAR_QKV, dnorm, dwide, att_in, T, QO);
    if (post) {
        add_forward(dz, dz, dnorm, n);
    } else {
        norm_backward(dz, g->ln1w, g->ln1b, dnorm, a->res, a->mean1, a->rstd1, w->ln1w,
                      c->rms_norm, T, C);
    }

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
    real *x = a->block[0].res;
    if (p->wte) embed_forward(x, s->token, s->position, p->wte, p->wpe, T, C);
    else embed_narrow(x, s->token, s->position, &m->narrow->wte, p->wpe, T, C);
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
    linear_forward(x, inp, model_output_matrix(m), model_output_narrow(m), m->packed.unembed, NULL,
                   n, C, V);
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
    logp_forward(scored, m->acts.lnf, model_output_matrix(m), model_output_narrow(m),
                 m->scored_row, m->scored_target, n, C, V, m->acts.logits, LOGITS_ROWS);
    spread_scored(logp, scored, m, n, s->T);
    free(scored);
    return 0;
}

// ---------------------------------------------------------------------------------- backward

// Zeroes the gradients of the blocks' matrices, or of all else.
static void zero_grads(Model *m, int matrices) {
    const size_t frozen = m->num_numbers - m->num_trained;
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        const int is_matrix = t->kind == KIND_MATRIX || t->kind == KIND_OUT;
        if (t->narrow || t->offset < frozen || is_matrix != matrices) continue;
        kernels_zero(m->grads_memory + (t->offset - frozen), t->size);
    }
}

// Once a step; all of its micro-batches add to the gradients.  Those of the blocks' matrices, which
// are most of them, are not zeroed: the step's first backward writes them.
void model_zero_grads(Model *m) {
    zero_grads(m, 0);
    m->unwritten = 1;
    if (m->tied_memory) kernels_zero(m->tied_memory, model_output_size(&m->config));
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
    logp_backward(dlnf, dw, scored, dscored, m->acts.lnf, model_output_matrix(m),
                  model_output_narrow(m), m->scored_row, m->scored_target, n, c->channels,
                  c->vocab_size, m->acts.logits, LOGITS_ROWS, &m->scored_blocks);
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
    m->blocks.fresh = m->unwritten;
    m->unwritten = 0;
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

// Once a step, after its last backward: what none has written is 0; a tied embedding's two roles
// meet, output + input.
void model_finish_grads(Model *m) {
    if (m->unwritten) zero_grads(m, 1);
    m->unwritten = 0;
    if (!m->tied_memory) return;
    add_forward(m->grads.wte, m->tied_memory, m->grads.wte, model_output_size(&m->config));
}

// ------------------------------------------------------------------------------------ update

// sqrt of the sum of squares of all gradients; NaN or infinity if one of them is.
double model_grad_norm(const Model *m) {
    const size_t frozen = m->num_numbers - m->num_trained;
    double sum = 0;
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->narrow || t->offset < frozen) continue;
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
    const size_t frozen = m->num_numbers - m->num_trained;
    real *moment1 = m->moments_memory, *moment2 = moment1 + m->num_trained;
    for (int k = 0; k < m->num_tensors; k++) {
        const Tensor *t = &m->tensor[k];
        if (t->narrow || t->offset < frozen) continue;
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

/* trace.c - more trace: one step of MORE with its numbers, from the rows to a weight.
 *
 * The step is that of `more train more` with one bundle: one pair of each file.  Steps before it
 * are trained without a word.  Every number is read where the program has it; what is computed a
 * second time, in plain double, says so.  docs/ONE_PAIR.md goes through the output.              */
#ifndef TRACE_C
#define TRACE_C
#include "train.c"

int command_trace(void);          // more trace: prints

enum { SHOWN = 4 };               // numbers of a vector

static void print_vector(const char *name, const float *x) {
    printf("%s", name);
    for (int c = 0; c < SHOWN; c++) printf(" %.9g", (double)x[c]);
    printf(" ...\n");
}

// Ids and pieces, eight a line.  0, or -1 after fail().
static int print_span(const Run *run, const Dataset *d, const char *name, Span s) {
    const Tokenizer *t = &run->tokenizer;
    Buffer line = {0};
    int result = -1;
    printf("  %s: %d tokens", name, s.len);
    for (int i = 0; i < s.len; i++) {
        const int id = d->token[s.start + (size_t)i];
        line.len = 0;
        if (json_quote(&line, tokenizer_piece(t, id), tokenizer_piece_len(t, id)) < 0) goto done;
        printf("%s%d%s", i % 8 ? " " : "\n    ", id, line.data);
    }
    printf("\n");
    result = 0;
done:
    buffer_free(&line);
    return result;
}

// 1. The rows of the bundle, and their tokens.  0, or -1 after fail().
static int trace_rows(const Run *run, const Item *item) {
    printf("\n1. rows to tokens\n");
    for (int i = 0; i < run->num_train; i++) {
        const Dataset *d = &run->data[item[i].set];
        const Record *r = item_record(run, &item[i]);
        printf("%s: line %zu of %s\n", d->name, r->line, d->path);
        if (print_span(run, d, "prompt", r->prompt) < 0) return -1;
        if (print_span(run, d, "chosen", d->answer[r->first].tokens) < 0) return -1;
        if (print_span(run, d, "rejected", d->answer[r->first + 1].tokens) < 0) return -1;
    }
    return 0;
}

// 2. The micro-batch: one row after the other, no padding.
static void trace_batch(const Batch *b) {
    printf("\n2. the packed micro-batch: %d token rows, %d segments, %d texts\n", b->T, b->S, b->B);
    for (int s = 0; s < b->S; s++) {
        const Segment *x = &b->seg[s];
        printf("  segment %d: rows %d to %d, positions %d to %d, ", s, x->start,
               x->start + x->len - 1, b->position[x->start], b->position[x->start + x->len - 1]);
        if (x->parent < 0) printf("a prompt\n");
        else printf("an answer to segment %d\n", x->parent);
    }
}

// 3. Hidden states to rewards, and what Bradley and Terry make of them.  u, the loss and the slope
// are computed a second time.
static void trace_rewards(const Run *run, const Item *item, const Config *c) {
    const float *r = run->value, *h = run->reward->pooled, *dr = run->dvalue;
    printf("\n3. hidden states h to rewards r = w . h, pooling %s\n", pooling_names[c->pooling]);
    for (int i = 0; i < run->num_train; i++) {
        const double u = (double)r[2*i] - r[2*i + 1];
        printf("%s\n", run->data[item[i].set].name);
        print_vector("  h chosen  ", h + (size_t)(2*i) * (size_t)c->channels);
        print_vector("  h rejected", h + (size_t)(2*i + 1) * (size_t)c->channels);
        printf("  r chosen %.9g, rejected %.9g; u = %.9g\n", (double)r[2*i], (double)r[2*i + 1], u);
        printf("  loss -log sigma(u) = %.9g; slope dL/du = -sigma(-u) = %.9g\n", -log_sigmoid(u),
               -sigmoid(-u));
        printf("  times lambda it goes backward as dL/dr: %.9g, %.9g\n", (double)dr[2*i],
               (double)dr[2*i + 1]);
    }
}

// 4. Head gradients to lambda.
static void trace_weights(const Run *run, const Item *item, const Config *c) {
    const RewardRun *x = run->reward;
    const int K = run->num_train, C = c->channels;
    const float *g = opt.more_mode == MORE_PAPER ? x->g : x->momentum;
    double M[MORE_MAX_SETS * MORE_MAX_SETS];
    printf("\n4. %s to lambda\n", opt.more_mode == MORE_PAPER
           ? "head gradients g_i = slope (h chosen - h rejected)"
           : "moving averages m_i of head gradients g_i = slope (h chosen - h rejected)");
    for (int i = 0; i < K; i++) {
        printf("%s\n", run->data[item[i].set].name);
        print_vector("  ", g + (size_t)i * (size_t)C);
        printf("   |g| = %.9g\n", x->grad_norm[i]);
    }
    more_gram(M, g, K, C);
    printf("their inner products\n");
    for (int i = 0; i < K; i++) {
        printf("  ");
        for (int j = 0; j < K; j++) printf(" %14.9g", M[i*K + j]);
        printf("\n");
    }
    for (int i = 0; i < K; i++) {
        printf("lambda of %s: %.9g\n", run->data[item[i].set].name, x->lambda[i]);
    }
}

// A weight before and after, its gradient, and Adam's moments.
typedef struct {
    const char *name;
    const real *w, *g, *m, *v;
    double before, rate;
} TracedWeight;

static TracedWeight traced_weight(const Model *m, const char *name, const real *w, double rate) {
    const size_t at = (size_t)(w - m->params_memory) - (m->num_numbers - m->num_trained);
    const real *moment1 = m->moments_memory + at;
    return (TracedWeight){.name = name, .w = w, .g = m->grads_memory + at, .m = moment1,
                          .v = moment1 + m->num_trained, .before = *w, .rate = rate};
}

/* 5. One update, computed a second time (Loshchilov and Hutter 2019, algorithm 2):
 *
 *     w <- w - rate ( m^ / (sqrt v^ + eps) + decay w ),   m^ = m / (1 - beta1^t),   v^ alike    */
static void trace_update(const TracedWeight *x, int step) {
    const double m = *x->m / (1 - pow(opt.beta1, step)), v = *x->v / (1 - pow(opt.beta2, step));
    const double after = x->before - x->rate * (m / (sqrt(v) + opt.eps)
                                                + opt.weight_decay * x->before);
    printf("%s\n  before %.9g, gradient %.9g, m %.9g, v %.9g, rate %.9g\n", x->name, x->before,
           (double)*x->g, (double)*x->m, (double)*x->v, x->rate);
    printf("  after %.9g; by hand %.6g\n", (double)*x->w, after);
}

// Trains up to the step and traces it.  0, or -1 after fail().
static int trace_step(Run *run, int step) {
    Model *m = &run->model;
    const Config *c = &m->config;
    Progress p = {.steps = (int)run->num_steps};
    for (int s = 0; s < step - 1; s++) {
        if (train_step(run, s, &p) < 0) return -1;
    }
    const Item *item = &run->item[(size_t)(step - 1) * (size_t)run->num_train];
    TracedWeight head = traced_weight(m, "the head's first weight", m->params.head, 0);
    TracedWeight deep = traced_weight(m, "the last layer's first weight on the way down",
                                      m->params.block[c->num_layers - 1].projw, 0);
    if (train_step(run, step - 1, &p) < 0) return -1;
    head.rate = p.rate * opt.head_rate;
    deep.rate = p.rate;

    printf("step %d of %d: one bundle, a pair of each of %d sets\n", step, p.steps, run->num_train);
    if (trace_rows(run, item) < 0) return -1;
    const Batch b = pack_batch(&run->pack);
    trace_batch(&b);
    trace_rewards(run, item, c);
    trace_weights(run, item, c);
    printf("\n5. backward and AdamW: loss sum_i lambda_i L_i = %.9g, gradient norm %.9g", p.loss,
           p.norm);
    if (opt.max_grad_norm > 0 && p.norm > opt.max_grad_norm) {
        printf(", scaled down to %g", opt.max_grad_norm);
    }
    printf("\n");
    trace_update(&head, step);
    trace_update(&deep, step);
    return 0;
}

int command_trace(void) {
    const Objective *o = objective_find("more");
    const Command train = command_of_objective(o);
    Run run = {.objective = o};
    int result = -1;
    if (options_adopt(&train, "step") < 0) return -1;
    if (!opt.model.n || !opt.train.n) return fail(EX_USAGE, "--model and --train are needed");
    if (opt.more_mode == MORE_UNIFORM) {
        return fail(EX_USAGE, "--more uniform: its weights are 1/K; release and paper compute "
                    "them");
    }
    opt.per_step_rows = opt.train.n;
    // one micro-batch, with room for the answers of a bundle, each with its prompt
    opt.micro_batch_tokens = 1 << 20;
    if (opt.max_length < opt.micro_batch_tokens / (2 * opt.train.n)) {
        opt.micro_batch_tokens = 2 * opt.train.n * opt.max_length;
    }
    opt.quiet = 1;
    if (run_prepare(&run) < 0) goto done;
    for (int i = 0; i < run.num_train; i++) {
        if (run.data[i].kind == DATA_PAIR) continue;
        fail_kind(&run.data[i], "trace needs pairs");
        goto done;
    }
    if ((size_t)opt.trace_step > run.num_steps) {
        fail(EX_USAGE, "--step %d: the plan has %zu steps of one bundle; --max_steps plans more",
             opt.trace_step, run.num_steps);
        goto done;
    }
    if (train_prepare(&run, (int)run.num_steps) < 0) goto done;
    result = trace_step(&run, opt.trace_step);
done:
    run_free(&run);
    return result;
}
#endif

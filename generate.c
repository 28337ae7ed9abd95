/* generate.c - texts from a language model: many prompts at once, n completions of each that share its cache.
 *
 * A completion is a function of the model, its prompt, the settings and its own number: what else is computed
 * at the time, in which order and by how many threads does not matter, and the cache of keys and values
 * changes no bit (NUMERICS.md).                                                                            */
#ifndef GENERATE_C
#define GENERATE_C
#include "model.c"
#include "tokenizer.c"

typedef struct {
    double temperature;                                               // 0: always the most probable token
    int top_k;                                                        // 0: all
    double top_p, min_p;                                              // 1 and 0: all
    double repetition_penalty;                                        // 1: none
    uint64_t seed;
    int n, max_new_tokens;                                          // completions of a prompt, tokens of each
    int batch;                                                     // completions at a time, up to LOGITS_ROWS
    int eos[2];                                                       // tokens that end a text, or -1
    int num_stop; const char *const *stop;                            // strings that end a text before them
} Sampling;

typedef struct { uint64_t id; const int *token; int len; } Prompt;   // len > 0; id chooses its random numbers

typedef enum { GOING, FINISH_EOS, FINISH_LENGTH, FINISH_STOP } Finish;
const char *const finish_name[] = {"", "eos", "length", "stop"};

typedef struct {
    int prompt, sample;
    Finish finish;
    const int *token; int n;                                          // drawn, with the one that ended it
    const char *text; size_t len;                           // UTF-8; of one that is going on, what is certain
    double logp;                                                     // sum of the model's log p of the tokens
} Completion;

// Is given every completion in order of prompt and sample, the first of those going on whenever it grows.
// 0 to go on, -1 after fail().
typedef int TakeCompletion(void *context, const Completion *c);

// ------------------------------------------------------------------------------------- one token from logits

typedef struct { float *x, *weight; int *heap; char *seen; } SampleWork;                        // (V) each

// the order of tokens: the larger logit first, of equal ones the smaller id
static int comes_before(const float *x, int a, int b) { return x[a] > x[b] || (x[a] == x[b] && a < b); }

static void sift_down(int *heap, int n, int i, const float *x) {
    for (int k; (k = 2*i + 1) < n; i = k) {
        if (k + 1 < n && comes_before(x, heap[k + 1], heap[k])) k++;
        if (!comes_before(x, heap[k], heap[i])) return;
        int t = heap[i];
        heap[i] = heap[k], heap[k] = t;
    }
}
// the k-th token of the order; heap holds those before it at its end, n still in no order
static int token_at(int *heap, int *n, int V, int k, const float *x) {
    for (; V - *n <= k; sift_down(heap, *n, 0, x)) {
        int t = heap[0];
        heap[0] = heap[--*n], heap[*n] = t;
    }
    return heap[V - 1 - k];
}

// Takes away the weight of tokens that come after `last` (-1: none) or weigh less than `least`; the sum.
static double keep_tokens(float *weight, const float *x, int V, int last, double least) {
    double sum = 0;
    for (int v = 0; v < V; v++) {
        if ((double)weight[v] < least || (last >= 0 && v != last && !comes_before(x, v, last))) weight[v] = 0;
        sum += (double)weight[v];
    }
    return sum;
}

// logits of tokens that the text has: x/r if positive, else x r             Keskar et al. 2019, sec. 4.1
static void penalise(float *x, char *seen, const int *token, int n, float penalty) {
    for (int i = 0; i < n; i++) {
        if (!seen[token[i]]) x[token[i]] = x[token[i]] > 0 ? x[token[i]] / penalty : x[token[i]] * penalty;
        seen[token[i]] = 1;
    }
}

/* Token number i of completion `sample` of p, whose tokens before it are `token`; -1 if a logit is no number.
 * The filters in order: repetition penalty, temperature, top-k, top-p (the first tokens of the order that
 * have this part of what top-k left, Holtzman et al. 2020), min-p (that part of the largest probability).  */
int sample_token(const float *logits, int V, const Sampling *s, const Prompt *p, int sample, const int *token,
                 int i, const SampleWork *w) {
    const float temperature = (float)s->temperature, penalty = (float)s->repetition_penalty;
    const int most = s->top_k && s->top_k < V ? s->top_k : V;
    float *x = w->x, *weight = w->weight;
    int best = 0, last = -1, n = V, bad = 0;
    memcpy(x, logits, (size_t)V * sizeof *x);
    if (penalty != 1) {
        penalise(x, w->seen, p->token, p->len, penalty), penalise(x, w->seen, token, i, penalty);
        memset(w->seen, 0, (size_t)V);
    }
    for (int v = 0; v < V; v++) {
        bad |= !(x[v] - x[v] == 0);
        best = x[v] > x[best] ? v : best;
    }
    if (bad || !(temperature > 0)) return bad ? -1 : best;
    sampling_weights(weight, x, x[best], temperature, V);
    if (most < V || s->top_p < 1) {
        for (int v = 0; v < V; v++) w->heap[v] = v;
        for (int k = V/2; k-- > 0; ) sift_down(w->heap, V, k, x);
    }
    if (most < V) last = token_at(w->heap, &n, V, most - 1, x);
    if (s->top_p < 1) {
        double nucleus = s->top_p * keep_tokens(weight, x, V, last, 0), sum = 0;
        for (int k = 0; k < most && sum < nucleus; k++)
            sum += (double)weight[last = token_at(w->heap, &n, V, k, x)];
    }
    uint64_t u = random_u64(s->seed, STREAM_SAMPLE, (p->id << 20) + (uint64_t)sample, (uint64_t)i);
    double target = (double)(u >> 11) * 0x1p-53 * keep_tokens(weight, x, V, last, s->min_p), sum = 0;
    for (int v = 0, choice = best; ; v++) {                           // by inversion, in order of ids
        if (v == V) return choice;
        if (weight[v] > 0) choice = v;
        if ((sum += (double)weight[v]) > target) return choice;
    }
}

// --------------------------------------------------------------------------------------------- the generator

typedef struct {                                                      // a prompt in the cache
    int prompt, waiting, live;                                        // completions not yet begun; going on
    KeyCache cache;
    float *logits, lse;                                               // (V) after its last token
} Root;
typedef struct {
    Completion c;
    int *token;                                                       // (max_new_tokens)
    Buffer text, bytes;                                         // whole characters; the beginning of the next
    int root, slot;                                                   // its prompt, its cache
} Branch;
typedef struct { size_t branch; const float *logits; float lse; int token; } Draw;

typedef struct {
    Model *m; const Tokenizer *t; const Prompt *prompt; const Sampling *s;
    int num_prompts, threads;
    long long next, total;                                            // completions begun; all
    Branch *branch; size_t num, capacity;                             // begun and not handed over, in order
    Root *root; KeyCache *own; int *free_slot, num_free;              // (batch) each
    Draw *draw; float *logits, *lse;                                  // (batch), (batch, V), (batch)
    SampleWork *work;                                                 // (threads)
    int *token, *position; Segment *seg; CachePath *path;          // of a forward: (T), (T), (batch), (batch)
    int *row, *begun;                                           // (batch) the prompts' last rows, their roots
} Generator;

enum { PROMPT_ROWS = 4096 };                                          // of prompts computed at one time

static void branch_free(Branch *b) { free(b->token), buffer_free(&b->text), buffer_free(&b->bytes); }
static void generator_free(Generator *g) {
    for (size_t i = 0; i < g->num; i++) branch_free(&g->branch[i]);
    for (int i = 0; i < g->s->batch; i++) {
        if (g->root) cache_free(&g->root[i].cache), free(g->root[i].logits);
        if (g->own) cache_free(&g->own[i]);
    }
    for (int i = 0; g->work && i < g->threads; i++)
        free(g->work[i].x), free(g->work[i].weight), free(g->work[i].heap), free(g->work[i].seen);
    free(g->branch), free(g->root), free(g->own), free(g->free_slot), free(g->draw), free(g->logits);
    free(g->lse), free(g->work), free(g->token), free(g->position), free(g->row), free(g->begun);
    free(g->seg), free(g->path);
    model_unpack(g->m);
}

static int generator_init(Generator *g) {
    const Config *c = &g->m->config;
    const size_t B = (size_t)g->s->batch, V = (size_t)c->vocab_size;
    size_t all = 0;
    int longest = 0;
    if (c->reward) return fail(EX_DATAERR, "a reward model predicts no tokens");
    for (int i = 0; i < g->num_prompts; i++) {
        const int n = g->prompt[i].len;
        if (n >= c->max_positions)
            return fail(EX_DATAERR, "prompt %d has %d tokens, the model %d positions; --max_prompt_length "
                        "cuts prompts", i + 1, n, c->max_positions);
        longest = n > longest ? n : longest, all += (size_t)n;
    }
    if (g->t && g->t->vocab_size > c->vocab_size)
        return fail(EX_DATAERR, "the tokenizer has %d pieces, the model %d", g->t->vocab_size, c->vocab_size);
    const size_t rows = max_size(B, max_size((size_t)longest, all < PROMPT_ROWS ? all : PROMPT_ROWS));
    g->threads = kernels_threads(), g->total = (long long)g->num_prompts * g->s->n, g->num_free = g->s->batch;
    if (!(g->root = allocate(B, sizeof *g->root)) || !(g->own = allocate(B, sizeof *g->own))
        || !(g->free_slot = allocate(B, sizeof(int))) || !(g->draw = allocate(B, sizeof *g->draw))
        || !(g->logits = allocate(B*V, sizeof(float))) || !(g->lse = allocate(B, sizeof(float)))
        || !(g->work = allocate((size_t)g->threads, sizeof *g->work))
        || !(g->token = allocate(rows, sizeof(int))) || !(g->position = allocate(rows, sizeof(int)))
        || !(g->row = allocate(B, sizeof(int))) || !(g->begun = allocate(B, sizeof(int)))
        || !(g->seg = allocate(B, sizeof *g->seg)) || !(g->path = allocate(B, sizeof *g->path))) return -1;
    for (int i = 0; i < g->s->batch; i++) g->free_slot[i] = i;
    for (int i = 0; i < g->threads; i++) {
        SampleWork *w = &g->work[i];
        if (!(w->x = allocate(V, sizeof(float))) || !(w->weight = allocate(V, sizeof(float)))
            || !(w->heap = allocate(V, sizeof(int))) || !(w->seen = allocate(V, 1))) return -1;
    }
    return model_reserve(g->m, (int)rows, 0) < 0 || model_pack(g->m) < 0 ? -1 : 0;
}

// Whole characters of the bytes go to the text; what is none, and half a one at the end, becomes U+FFFD.
static int take_characters(Branch *b, int end) {
    uint32_t code;
    size_t i = 0, n = b->bytes.len;
    for (int len; i < n; i += (size_t)(len ? len : 1)) {
        const unsigned char first = (unsigned char)b->bytes.data[i];
        const size_t want = first < 0xc2 || first > 0xf4 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        len = utf8_decode(b->bytes.data + i, n - i, &code);
        if (!len && want > n - i && !end) break;
        const char *character = len ? b->bytes.data + i : "\xef\xbf\xbd";
        if (buffer_append(&b->text, character, len ? (size_t)len : 3) < 0) return -1;
    }
    if (n) memmove(b->bytes.data, b->bytes.data + i, b->bytes.len = n - i);
    return 0;
}

// Where the first stop string that ends after `from` begins, else where the text ends with a part of one.
static size_t find_stop(const Buffer *text, const Sampling *s, size_t from, int *found) {
    size_t at = text->len, certain = text->len;
    for (int i = 0; i < s->num_stop && text->len; i++) {
        const size_t n = strlen(s->stop[i]), start = from >= n ? from - n + 1 : 0;
        const char *hit = memmem(text->data + start, text->len - start, s->stop[i], n);
        if (hit && (size_t)(hit - text->data) < at) at = (size_t)(hit - text->data);
        for (size_t k = n - 1 < text->len ? n - 1 : text->len; k > 0; k--)
            if (!memcmp(text->data + text->len - k, s->stop[i], k)) {
                certain = text->len - k < certain ? text->len - k : certain;
                break;
            }
    }
    *found = at < text->len;
    return *found ? at : certain;
}

static int room_for(const Generator *g, int prompt) {                  // tokens that a completion may have
    const int room = g->m->config.max_positions - g->prompt[prompt].len;
    return room < g->s->max_new_tokens ? room : g->s->max_new_tokens;
}
static int make_room(const Generator *g, KeyCache *cache, int rows) {
    const Config *c = &g->m->config;
    return cache_reserve(cache, rows, c->num_layers, c->num_kv_heads, c->head_dim);
}

static int append_token(Generator *g, Branch *b, const Draw *d) {
    Completion *c = &b->c;
    const size_t before = b->text.len;
    int found;
    if (d->token < 0) return fail(EX_DATAERR, "prompt %d: the model's logits are not finite", c->prompt + 1);
    b->token[c->n++] = d->token;
    c->logp += (double)(d->logits[d->token] - d->lse);
    if (d->token == g->s->eos[0] || d->token == g->s->eos[1]) c->finish = FINISH_EOS;
    else if (c->n == room_for(g, c->prompt)) c->finish = FINISH_LENGTH;
    if (g->t) {
        if ((c->finish != FINISH_EOS && tokenizer_decode(g->t, &d->token, 1, &b->bytes) < 0)
            || take_characters(b, c->finish != GOING) < 0) return -1;
        size_t len = find_stop(&b->text, g->s, before, &found);
        if (found) c->finish = FINISH_STOP, b->text.len = len;
        c->text = b->text.data ? b->text.data : "", c->len = c->finish == GOING ? len : b->text.len;
    }
    if (c->finish == GOING) return 0;
    g->free_slot[g->num_free++] = b->slot;
    g->root[b->root].live--;
    return 0;
}

static int num_pieces(const Generator *g) {                           // only tokens that have a piece
    return g->t ? g->t->vocab_size : g->m->config.vocab_size;
}
static void draw_token(void *context, int i, int thread) {
    Generator *g = context;
    Draw *d = &g->draw[i];
    const Branch *b = &g->branch[d->branch];
    d->token = sample_token(d->logits, num_pieces(g), g->s, &g->prompt[b->c.prompt], b->c.sample, b->token,
                            b->c.n, &g->work[thread]);
}
// The n tokens of g->draw, in parallel, and what follows from them.
static int draw_tokens(Generator *g, int n) {
    kernels_parallel(n, n > 1 ? (size_t)n * (size_t)num_pieces(g) : 0, draw_token, g);
    for (int i = 0; i < n; i++)
        if (append_token(g, &g->branch[g->draw[i].branch], &g->draw[i]) < 0) return -1;
    return 0;
}

static int begin_root(Generator *g, int prompt) {
    int r = 0;
    while (g->root[r].live || g->root[r].waiting) r++;        // one of `batch` is free: see begin_completions
    Root *root = &g->root[r];
    root->prompt = prompt, root->waiting = g->s->n;
    if (!root->logits) root->logits = allocate((size_t)g->m->config.vocab_size, sizeof(float));
    if (!root->logits) return -1;
    return make_room(g, &root->cache, g->prompt[prompt].len) < 0 ? -1 : r;
}

/* Fills the free places with the next completions: first the prompts that are new are computed, at most
 * PROMPT_ROWS rows of them at a time, then the first tokens are drawn.  A prompt with completions waiting is
 * the last that has begun, and every other one has a completion going on: never more than `batch` in all.  */
static int begin_completions(Generator *g) {
    const int n = g->s->n, V = g->m->config.vocab_size;
    while (g->num_free && g->next < g->total) {
        long long k = g->next, end = k + g->num_free < g->total ? k + g->num_free : g->total;
        int T = 0, S = 0;
        for (; k < end; k++) {
            if (k % n) continue;
            const Prompt *p = &g->prompt[k / n];
            if (T && T + p->len > PROMPT_ROWS) break;
            int r = begin_root(g, (int)(k / n));
            if (r < 0) return -1;
            g->seg[S] = (Segment){T, p->len, -1};
            g->path[S] = (CachePath){NULL, &g->root[r].cache};
            for (int i = 0; i < p->len; i++, T++) g->token[T] = p->token[i], g->position[T] = i;
            g->begun[S] = r, g->row[S++] = T - 1;
        }
        if (T) {
            model_forward(g->m, &(Batch){.T = T, .token = g->token, .position = g->position, .S = S,
                                         .seg = g->seg, .cache = g->path});
            model_logits(g->m, g->row, S, g->logits, g->lse);
        }
        for (int i = 0; i < S; i++) {
            Root *root = &g->root[g->begun[i]];
            root->cache.len = g->seg[i].len;
            memcpy(root->logits, g->logits + (size_t)i*(size_t)V, (size_t)V * sizeof(float));
            root->lse = g->lse[i];
        }
        int count = 0;
        for (; g->next < k; g->next++) {
            int r = 0;
            while (g->root[r].prompt != g->next / n || !g->root[r].waiting) r++;
            if (reserve(&g->branch, &g->capacity, g->num + 1, sizeof *g->branch) < 0) return -1;
            Branch *b = &g->branch[g->num++];
            *b = (Branch){.c = {.prompt = (int)(g->next / n), .sample = (int)(g->next % n)}, .root = r};
            b->slot = g->free_slot[--g->num_free];
            g->root[r].waiting--, g->root[r].live++;
            const int room = room_for(g, b->c.prompt);
            b->token = allocate((size_t)room, sizeof(int));
            if (!b->token || make_room(g, &g->own[b->slot], room) < 0) return -1;
            b->c.token = b->token;
            g->draw[count++] = (Draw){g->num - 1, g->root[r].logits, g->root[r].lse, 0};
        }
        if (draw_tokens(g, count) < 0) return -1;
    }
    return 0;
}

// One more token for each completion that is going on.
static int step_completions(Generator *g) {
    int n = 0;
    for (size_t i = 0; i < g->num; i++) {
        const Branch *b = &g->branch[i];
        if (b->c.finish) continue;
        g->token[n] = b->token[b->c.n - 1];
        g->position[n] = g->prompt[b->c.prompt].len + b->c.n - 1;
        g->seg[n] = (Segment){n, 1, -1};
        g->path[n] = (CachePath){&g->root[b->root].cache, &g->own[b->slot]};
        g->draw[n] = (Draw){i, g->logits + (size_t)n*(size_t)g->m->config.vocab_size, 0, 0};
        n++;
    }
    if (!n) return 0;
    model_forward(g->m, &(Batch){.T = n, .token = g->token, .position = g->position, .S = n, .seg = g->seg,
                                 .cache = g->path, .decode = 1});
    model_logits(g->m, NULL, n, g->logits, g->lse);
    for (int i = 0; i < n; i++) {
        g->own[g->branch[g->draw[i].branch].slot].len++;
        g->draw[i].lse = g->lse[i];
    }
    return draw_tokens(g, n);
}

static int hand_over(Generator *g, TakeCompletion *take, void *context) {
    size_t i = 0;
    int ok = 1, going = 0;
    for (; ok && i < g->num && !going; i += !going) {
        ok = take(context, &g->branch[i].c) == 0;
        going = !g->branch[i].c.finish;
        if (!going) branch_free(&g->branch[i]);
    }
    g->num -= i;
    if (i) memmove(g->branch, g->branch + i, g->num * sizeof *g->branch);
    return ok ? 0 : -1;
}

/* Completions of all prompts under s, given to `take` in order; without a tokenizer they have no text.
 * 0, or -1 after fail().                                                                                  */
int generate(Model *m, const Tokenizer *t, const Prompt *prompt, int num_prompts, const Sampling *s,
             TakeCompletion *take, void *context) {
    Generator g = {.m = m, .t = t, .prompt = prompt, .num_prompts = num_prompts, .s = s};
    int ok = generator_init(&g) == 0;
    while (ok && (g.next < g.total || g.num))
        ok = begin_completions(&g) == 0 && hand_over(&g, take, context) == 0 && step_completions(&g) == 0;
    generator_free(&g);
    return ok ? 0 : -1;
}
#endif

/* generate.c - texts from a language model: many prompts at once, n completions of each.
 *
 * A completion is a function of the model, its prompt, the settings and its own number: what else
 * is computed at the time, in which order and by how many threads does not matter, and the cache of
 * keys and values changes no bit (NUMERICS.md).
 *
 * The completions of a prompt share what was computed for it.  A prompt with n = 4 completions, a
 * while after it has begun:
 *
 *     Root       the prompt        computed once: keys and values; the logits after it
 *      |
 *      +- Branch completion 0      a b <end of text>   finished, its slot is free again
 *      +- Branch completion 1      c d e               going on: slot 2 has keys and values of c d
 *      +- Branch completion 2      f                   going on: slot 0 is still empty
 *      :         completion 3                          waiting for a free slot
 *
 * There are `batch` slots, so many completions go on at one time.  The life of one:
 *
 *     waiting -- begin_branch --> going on -- append_token --> finished -- hand_over --> gone
 *                takes a slot      ^    |     gives it back                in order of prompt
 *                                  '----'                                  and sample
 *                             step_completions
 *
 * A Root is free when none of its prompt's completions is waiting or going on.
 */
#ifndef GENERATE_C
#define GENERATE_C
#include "model.c"
#include "tokenizer.c"

// How tokens are chosen, and when a text ends.
typedef struct {
    double temperature;                 // 0: always the most probable token
    int top_k;                          // only the k most probable tokens; 0: all
    double top_p;                       // only the most probable ones that have this part; 1: all
    double min_p;                       // only those with this part of the best one's; 0: all
    double repetition_penalty;          // 1: none
    uint64_t seed;
    int n;                              // completions of each prompt
    int max_new_tokens;                 // of each completion
    int batch;                          // completions at one time, at most LOGITS_ROWS
    int num_eos;
    const int *eos;                     // (num_eos) tokens that end a text
    int num_stop;
    const char *const *stop;            // (num_stop) strings that end a text before them; not ""
    const char *folder;                 // of the model, for errors
} Sampling;

typedef struct {                        // a text to be completed
    uint64_t id;                        // chooses its random numbers
    const int *token;
    int len;                            // > 0
} Prompt;

typedef enum { GOING, FINISH_EOS, FINISH_LENGTH, FINISH_STOP, NUM_FINISHES } Finish;

typedef struct {                        // a text that was drawn, or is being drawn
    int prompt, sample;                 // which prompt's, and which one of its n
    Finish finish;
    const int *token;                   // (n) drawn, with the one that ended it
    const float *token_logp;            // (n) the model's log p of each
    int n;
    const char *text;                   // UTF-8; of one that is going on, what is certain
    size_t len;
    double logp;                        // sum of token_logp
} Completion;

// Is given every completion in order of prompt and sample, the first of those going on whenever it
// grows.  0 to go on, -1 after fail().
typedef int TakeCompletion(void *context, const Completion *c);

// Completions of all prompts; the name of how one ended.
int generate(Model *m, const Tokenizer *t, const Prompt *prompt, int num_prompts, const Sampling *s,
             TakeCompletion *take, void *context);
size_t generate_bytes(const Config *c, int batch, int prompts, int prompt_rows, int new_rows);
size_t generate_room(const Config *c, const Prompt *prompt, int num_prompts, const Sampling *s);
const char *const finish_name[] = {
    [GOING] = "",
    [FINISH_EOS] = "eos",
    [FINISH_LENGTH] = "length",
    [FINISH_STOP] = "stop",
};
_Static_assert(sizeof finish_name / sizeof *finish_name == NUM_FINISHES, "an end without a name");

// ----------------------------------------------------------------------- one token from logits

typedef struct {                        // a thread's scratch
    float *x, *weight;                  // (V) each
    int *heap;                          // (V)
    char *seen;                         // (V) zero
} SampleWork;

// The tokens in order, sorted only as far as is asked: heap[0 .. unsorted) is a heap with the first
// of them on top, and behind it stand those before it, backwards.
typedef struct {
    const float *x;                     // (V) logits
    int *heap;
    int V, unsorted;
} Order;

// The order of tokens: the larger logit first, of equal ones the smaller id.
static int comes_before(const float *x, int a, int b) {
    return x[a] > x[b] || (x[a] == x[b] && a < b);
}

// Lets heap[i] sink to where both its children come after it.
static void sift_down(int *heap, int n, int i, const float *x) {
    while (2*i + 1 < n) {
        int child = 2*i + 1;
        if (child + 1 < n && comes_before(x, heap[child + 1], heap[child])) child++;
        if (!comes_before(x, heap[child], heap[i])) return;
        const int token = heap[i];
        heap[i] = heap[child];
        heap[child] = token;
        i = child;
    }
}

static void order_init(Order *o, const float *x, int V, int *heap) {
    *o = (Order){.x = x, .heap = heap, .V = V, .unsorted = V};
    for (int v = 0; v < V; v++) heap[v] = v;
    for (int i = V/2 - 1; i >= 0; i--) sift_down(heap, V, i, x);
}

// Token k of the order, from 0.
static int order_token(Order *o, int k) {
    while (o->V - o->unsorted <= k) {
        const int top = o->heap[0];
        o->unsorted--;
        o->heap[0] = o->heap[o->unsorted];
        o->heap[o->unsorted] = top;
        sift_down(o->heap, o->unsorted, 0, o->x);
    }
    return o->heap[o->V - 1 - k];
}

// The logits of tokens that the text has: x/r if positive, else x r.  Keskar et al. 2019, sec. 4.1
static void penalise(float *x, char *seen, const int *token, int n, float r) {
    for (int i = 0; i < n; i++) {
        const int v = token[i];
        if (!seen[v]) x[v] = x[v] > 0 ? x[v] / r : x[v] * r;
        seen[v] = 1;
    }
}

// The token with the largest logit, of equal ones the smallest; -1 if a logit is not finite.
static int most_probable(const float *x, int V) {
    int best = 0, finite = 1;
    for (int v = 0; v < V; v++) {
        finite &= x[v] - x[v] == 0;                         // NaN and infinities give NaN
        best = x[v] > x[best] ? v : best;
    }
    return finite ? best : -1;
}

// Takes away the weight of tokens that come after `last` (-1: none does) or weigh less than
// `least`.  Returns the sum of weights.
static double keep_tokens(float *weight, const float *x, int V, int last, double least) {
    double sum = 0;
    for (int v = 0; v < V; v++) {
        const int after = last >= 0 && v != last && !comes_before(x, v, last);
        if (after || (double)weight[v] < least) weight[v] = 0;
        sum += (double)weight[v];
    }
    return sum;
}

// The last token of the order that top-k and top-p leave, or -1: they leave all.  Top-p is of what
// top-k left, whose weights alone remain: the first tokens with this part (Holtzman et al. 2020).
static int last_token(const Sampling *s, const float *x, float *weight, int V, int *heap) {
    const int k = s->top_k && s->top_k < V ? s->top_k : V;
    int last = -1;
    if (k == V && s->top_p >= 1) return last;
    Order order;
    order_init(&order, x, V, heap);
    if (k < V) last = order_token(&order, k - 1);
    if (s->top_p >= 1) return last;

    const double nucleus = s->top_p * keep_tokens(weight, x, V, last, 0);
    double sum = 0;
    for (int i = 0; i < k && sum < nucleus; i++) {
        last = order_token(&order, i);
        sum += (double)weight[last];
    }
    return last;
}

// By inversion, in order of ids: the token at which the sum of weights exceeds target.  Where
// rounding leaves none, the last one with a weight, or else `token`.
static int token_at_sum(const float *weight, int V, double target, int token) {
    double sum = 0;
    for (int v = 0; v < V; v++) {
        if (weight[v] > 0) token = v;
        sum += (double)weight[v];
        if (sum > target) break;
    }
    return token;
}

/* Token number i of completion `sample` of p, from the logits (V) after the i tokens before it; -1
 * if a logit is not finite.  The filters in order: repetition penalty, temperature, top-k, top-p,
 * min-p.  A token's weight is exp((x - max x) / temperature): the most probable one has 1.       */
static int sample_token(const float *logits, int V, const Sampling *s, const Prompt *p, int sample,
                        const int *token, int i, const SampleWork *w) {
    const float temperature = (float)s->temperature, penalty = (float)s->repetition_penalty;
    memcpy(w->x, logits, (size_t)V * sizeof *w->x);
    if (penalty != 1) {
        penalise(w->x, w->seen, p->token, p->len, penalty);
        penalise(w->x, w->seen, token, i, penalty);
        memset(w->seen, 0, (size_t)V);
    }
    const int best = most_probable(w->x, V);
    if (best < 0 || !(temperature > 0)) return best;

    sampling_weights(w->weight, w->x, w->x[best], temperature, V);
    const int last = last_token(s, w->x, w->weight, V, w->heap);
    const double sum = keep_tokens(w->weight, w->x, V, last, s->min_p);

    const uint64_t step = (p->id << 20) + (uint64_t)sample;           // n is at most 2^20
    const uint64_t u = random_u64(s->seed, STREAM_SAMPLE, step, (uint64_t)i);
    const double uniform = (double)(u >> 11) * 0x1p-53;               // in [0, 1)
    return token_at_sum(w->weight, V, uniform * sum, best);
}

// ------------------------------------------------------------------------------- the generator

typedef struct {                        // a prompt in the cache
    int prompt;
    int waiting, live;                  // its completions not yet begun; going on
    KeyCache cache;
    float *logits;                      // (V) after its last token
    float lse;                          // log sum exp of them
} Root;

typedef struct {                        // a completion that has begun
    Completion c;
    int *token;                         // (room_for its prompt)
    float *token_logp;                  // likewise
    Buffer text;                        // whole characters
    Buffer bytes;                       // the beginning of the next one
    int root;                           // its prompt
    int slot;                           // while it goes on: its cache
} Branch;

typedef struct {                        // a token to be drawn
    size_t branch;                      // for this completion
    const float *logits;                // (V)
    float lse;
    int token;                          // the answer; -1: a logit is not finite
} Draw;

typedef struct {
    Model *m;
    const Tokenizer *t;                 // NULL: completions have no text
    const Sampling *s;
    const Prompt *prompt;               // (num_prompts)
    int num_prompts;
    int threads;
    long long next, total;              // completion k is sample k % n of prompt k / n; begun; all

    Branch *branch;                     // (num_branches) begun and not handed over, in order
    size_t num_branches, capacity;
    Root *root;                         // (batch) of prompts
    KeyCache *own;                      // (batch) by slot: of the drawn tokens but the newest
    int *free_slot, num_free;           // (batch) the slots that are free

    // a forward: T token rows in S segments
    int *token, *position;              // (T)
    Segment *seg;                       // (S)
    CachePath *path;                    // (S)
    int *last_row;                      // (S) of a prompt
    int *root_of;                       // (S) the Root of a prompt
    float *logits, *lse;                // (batch, V), (batch)

    Draw *draw;                         // (num_draws) tokens to be drawn next, at most batch
    int num_draws;
    SampleWork *work;                   // (threads)
} Generator;

enum { PROMPT_ROWS = 4096 };            // token rows of prompts computed at one time, or one prompt

static void branch_free(Branch *b) {
    free(b->token);
    free(b->token_logp);
    buffer_free(&b->text);
    buffer_free(&b->bytes);
}

static void root_free(Root *root) {
    cache_free(&root->cache);
    free(root->logits);
}

static void sample_work_free(SampleWork *w) {
    free(w->x);
    free(w->weight);
    free(w->heap);
    free(w->seen);
}

static void generator_free(Generator *g) {
    for (size_t i = 0; i < g->num_branches; i++) branch_free(&g->branch[i]);
    for (int i = 0; i < g->s->batch; i++) {
        if (g->root) root_free(&g->root[i]);
        if (g->own) cache_free(&g->own[i]);
    }
    for (int i = 0; i < g->threads; i++) {
        if (g->work) sample_work_free(&g->work[i]);
    }
    free(g->branch);
    free(g->root);
    free(g->own);
    free(g->free_slot);
    free(g->token);
    free(g->position);
    free(g->seg);
    free(g->path);
    free(g->last_row);
    free(g->root_of);
    free(g->logits);
    free(g->lse);
    free(g->draw);
    free(g->work);
    model_unpack(g->m);
}

// Can these prompts be completed by this model, with this tokenizer?
static int check_prompts(const Generator *g) {
    const Config *c = &g->m->config;
    if (c->reward) return fail(EX_DATAERR, "a reward model predicts no tokens");
    for (int i = 0; i < g->num_prompts; i++) {
        const int len = g->prompt[i].len;
        if (len >= c->max_positions) {
            return fail(EX_DATAERR, "prompt %d has %d tokens, the model %d positions; "
                        "--max_prompt_length cuts prompts", i + 1, len, c->max_positions);
        }
    }
    if (g->t && g->t->vocab_size > c->vocab_size) {
        return fail(EX_DATAERR, "the tokenizer has %d pieces, the model %d", g->t->vocab_size,
                    c->vocab_size);
    }
    return 0;
}

// The most token rows of a forward: of the batch's newest tokens, or of prompts; *longest: of one.
static size_t most_rows(const Prompt *prompt, int num_prompts, int batch, size_t *longest) {
    size_t all = 0;
    *longest = 0;
    for (int i = 0; i < num_prompts; i++) {
        *longest = max_size(*longest, (size_t)prompt[i].len);
        all += (size_t)prompt[i].len;
    }
    const size_t together = all < PROMPT_ROWS ? all : PROMPT_ROWS;
    return max_size((size_t)batch, max_size(*longest, together));
}

static int sample_work_init(SampleWork *w, size_t V) {
    w->x = allocate(V, sizeof *w->x);
    w->weight = allocate(V, sizeof *w->weight);
    w->heap = allocate(V, sizeof *w->heap);
    w->seen = allocate(V, sizeof *w->seen);
    return w->x && w->weight && w->heap && w->seen ? 0 : -1;
}

static int generator_init(Generator *g) {
    if (check_prompts(g) < 0) return -1;
    const size_t B = (size_t)g->s->batch, V = (size_t)g->m->config.vocab_size;
    size_t longest;
    const size_t T = most_rows(g->prompt, g->num_prompts, g->s->batch, &longest);
    g->threads = kernels_threads();
    g->total = (long long)g->num_prompts * g->s->n;

    g->root = allocate(B, sizeof *g->root);
    g->own = allocate(B, sizeof *g->own);
    g->free_slot = allocate(B, sizeof *g->free_slot);
    if (!g->root || !g->own || !g->free_slot) return -1;
    g->num_free = g->s->batch;
    for (int i = 0; i < g->num_free; i++) g->free_slot[i] = i;

    g->token = allocate(T, sizeof *g->token);
    g->position = allocate(T, sizeof *g->position);
    g->seg = allocate(B, sizeof *g->seg);
    g->path = allocate(B, sizeof *g->path);
    g->last_row = allocate(B, sizeof *g->last_row);
    g->root_of = allocate(B, sizeof *g->root_of);
    g->logits = allocate(B*V, sizeof *g->logits);
    g->lse = allocate(B, sizeof *g->lse);
    if (!g->token || !g->position || !g->seg || !g->path || !g->last_row || !g->root_of) return -1;
    if (!g->logits || !g->lse) return -1;

    g->draw = allocate(B, sizeof *g->draw);
    g->work = allocate((size_t)g->threads, sizeof *g->work);
    if (!g->draw || !g->work) return -1;
    for (int i = 0; i < g->threads; i++) {
        if (sample_work_init(&g->work[i], V) < 0) return -1;
    }
    if (model_reserve(g->m, (int)T, 0) < 0) return -1;
    return model_pack(g->m);
}

// --------------------------------------------------------------------------- a text that grows

// The bytes that a character has by its first one; 1 if none begins like this.
static size_t character_length(unsigned char first) {
    if (first < 0xc2 || first > 0xf4) return 1;
    if (first < 0xe0) return 2;
    return first < 0xf0 ? 3 : 4;
}

// Whole characters of b's bytes go to its text; what is none becomes U+FFFD, and so does half a one
// at the end, if nothing can follow it.
static int take_characters(Branch *b, int ended) {
    const size_t n = b->bytes.len;
    size_t i = 0;
    while (i < n) {
        const char *at = b->bytes.data + i;
        uint32_t code;
        const int len = utf8_decode(at, n - i, &code);
        if (len > 0) {
            if (buffer_append(&b->text, at, (size_t)len) < 0) return -1;
            i += (size_t)len;
        } else {
            if (!ended && character_length((unsigned char)*at) > n - i) break;
            if (buffer_append(&b->text, "\xef\xbf\xbd", 3) < 0) return -1;
            i++;
        }
    }
    if (n > 0) memmove(b->bytes.data, b->bytes.data + i, n - i);
    b->bytes.len = n - i;
    return 0;
}

// Where the first of the stop strings that end after `from` begins; text.len: there is none.
static size_t find_stop(const Buffer *text, const Sampling *s, size_t from) {
    size_t first = text->len;
    for (int i = 0; i < s->num_stop && text->len > 0; i++) {
        const size_t n = strlen(s->stop[i]), start = from >= n ? from - n + 1 : 0;
        const char *hit = memmem(text->data + start, text->len - start, s->stop[i], n);
        if (hit && (size_t)(hit - text->data) < first) first = (size_t)(hit - text->data);
    }
    return first;
}

// How much of the text, which has no stop string, is certain: not the longest end of it with which
// one could begin.
static size_t certain_length(const Buffer *text, const Sampling *s) {
    size_t certain = text->len;
    for (int i = 0; i < s->num_stop; i++) {
        size_t k = strlen(s->stop[i]) - 1;
        if (k > text->len) k = text->len;
        while (k > 0 && memcmp(text->data + text->len - k, s->stop[i], k) != 0) k--;
        if (text->len - k < certain) certain = text->len - k;
    }
    return certain;
}

// The newest token's bytes, and what follows from them.
static int grow_text(const Generator *g, Branch *b, int token) {
    Completion *c = &b->c;
    const size_t before = b->text.len;
    if (c->finish != FINISH_EOS && tokenizer_decode(g->t, &token, 1, &b->bytes) < 0) return -1;
    if (take_characters(b, c->finish != GOING) < 0) return -1;

    const size_t stop = find_stop(&b->text, g->s, before);
    if (stop < b->text.len) {
        c->finish = FINISH_STOP;
        b->text.len = stop;
    }
    c->text = b->text.data ? b->text.data : "";
    c->len = c->finish == GOING ? certain_length(&b->text, g->s) : b->text.len;
    return 0;
}

// The tokens that a completion of the prompt may have.
static int room_for(const Generator *g, int prompt) {
    const int room = g->m->config.max_positions - g->prompt[prompt].len;
    return room < g->s->max_new_tokens ? room : g->s->max_new_tokens;
}

static int ends_text(const Sampling *s, int token) {
    for (int i = 0; i < s->num_eos; i++) {
        if (s->eos[i] == token) return 1;
    }
    return 0;
}

// The completion gets its drawn token; if that ends it, its slot is free.
static int append_token(Generator *g, const Draw *d) {
    Branch *b = &g->branch[d->branch];
    Completion *c = &b->c;
    if (d->token < 0) {
        return fail(EX_DATAERR, "%s: the model's logits are not finite after prompt %d: its "
                    "weights are damaged or too large", g->s->folder, c->prompt + 1);
    }
    b->token[c->n] = d->token;
    b->token_logp[c->n] = d->logits[d->token] - d->lse;
    c->logp += (double)b->token_logp[c->n];
    c->n++;

    if (ends_text(g->s, d->token)) c->finish = FINISH_EOS;
    else if (c->n == room_for(g, c->prompt)) c->finish = FINISH_LENGTH;
    if (g->t && grow_text(g, b, d->token) < 0) return -1;

    if (c->finish != GOING) {
        g->free_slot[g->num_free++] = b->slot;
        g->root[b->root].live--;
    }
    return 0;
}

// ----------------------------------------------------------------------------- all completions

// The tokens that may be drawn: those with a piece.
static int num_pieces(const Generator *g) {
    return g->t ? g->t->vocab_size : g->m->config.vocab_size;
}

// ParallelTask: draw i.
static void draw_token(void *context, int i, int thread) {
    const Generator *g = context;
    Draw *d = &g->draw[i];
    const Branch *b = &g->branch[d->branch];
    const Completion *c = &b->c;
    d->token = sample_token(d->logits, num_pieces(g), g->s, &g->prompt[c->prompt], c->sample,
                            b->token, c->n, &g->work[thread]);
}

// All that is noted in g->draw, in parallel, and then what follows from it.
static int draw_tokens(Generator *g) {
    const int n = g->num_draws;
    const size_t numbers = n > 1 ? (size_t)n * (size_t)num_pieces(g) : 0;
    kernels_parallel(n, numbers, draw_token, g);
    g->num_draws = 0;
    for (int i = 0; i < n; i++) {
        if (append_token(g, &g->draw[i]) < 0) return -1;
    }
    return 0;
}

static int make_room(const Generator *g, KeyCache *cache, int rows) {
    const Config *c = &g->m->config;
    return cache_reserve(cache, rows, c->num_layers, c->num_kv_heads, c->head_dim);
}

/* A free Root for the prompt, not yet computed; its number, or -1 after fail().
 *
 * One of the `batch` is free: every Root in use has a completion that holds a slot, or else one
 * that is about to take a slot that is free now, as this prompt's first one is.                  */
static int begin_root(Generator *g, int prompt) {
    int r = 0;
    while (g->root[r].live || g->root[r].waiting) r++;
    Root *root = &g->root[r];
    root->prompt = prompt;
    root->waiting = g->s->n;
    if (!root->logits) root->logits = allocate((size_t)g->m->config.vocab_size, sizeof(float));
    if (!root->logits || make_room(g, &root->cache, g->prompt[prompt].len) < 0) return -1;
    return r;
}

// The next completions that there are slots for, up to *end, have Roots: the prompts that are new
// are computed, at most PROMPT_ROWS token rows of them.  0, or -1 after fail().
static int compute_prompts(Generator *g, long long *end) {
    const int n = g->s->n;
    const size_t V = (size_t)g->m->config.vocab_size;
    const long long most = g->next + g->num_free < g->total ? g->next + g->num_free : g->total;
    long long k;
    int T = 0, S = 0;

    // new prompts, each a segment: those of which the first completion is among the next
    for (k = g->next; k < most; k++) {
        if (k % n != 0) continue;
        const Prompt *p = &g->prompt[k / n];
        if (T > 0 && T + p->len > PROMPT_ROWS) break;
        const int r = begin_root(g, (int)(k / n));
        if (r < 0) return -1;
        g->seg[S] = (Segment){.start = T, .len = p->len, .parent = -1};
        g->path[S] = (CachePath){.before = NULL, .own = &g->root[r].cache};
        for (int i = 0; i < p->len; i++) {
            g->token[T + i] = p->token[i];
            g->position[T + i] = i;
        }
        T += p->len;
        g->last_row[S] = T - 1;
        g->root_of[S] = r;
        S++;
    }
    *end = k;
    if (S == 0) return 0;

    // their keys and values, and the logits after their last tokens
    model_forward(g->m, &(Batch){.T = T, .token = g->token, .position = g->position, .S = S,
                                 .seg = g->seg, .cache = g->path});
    model_logits(g->m, g->last_row, S, g->logits, g->lse);
    for (int i = 0; i < S; i++) {
        Root *root = &g->root[g->root_of[i]];
        root->cache.len = g->seg[i].len;
        memcpy(root->logits, g->logits + (size_t)i*V, V * sizeof *root->logits);
        root->lse = g->lse[i];
    }
    return 0;
}

// Completion k goes on: it takes a slot, and its first token is to be drawn.
static int begin_branch(Generator *g, long long k) {
    const int prompt = (int)(k / g->s->n), room = room_for(g, prompt);
    int r = 0;
    while (g->root[r].prompt != prompt || !g->root[r].waiting) r++;
    Root *root = &g->root[r];
    if (reserve(&g->branch, &g->capacity, g->num_branches + 1, sizeof *g->branch) < 0) return -1;
    Branch *b = &g->branch[g->num_branches++];
    *b = (Branch){.c = {.prompt = prompt, .sample = (int)(k % g->s->n)}, .root = r};
    b->slot = g->free_slot[--g->num_free];
    root->waiting--;
    root->live++;

    b->token = allocate((size_t)room, sizeof *b->token);
    b->token_logp = allocate((size_t)room, sizeof *b->token_logp);
    if (!b->token || !b->token_logp) return -1;
    if (make_room(g, &g->own[b->slot], room) < 0) return -1;
    b->c.token = b->token;
    b->c.token_logp = b->token_logp;
    g->draw[g->num_draws++] = (Draw){.branch = g->num_branches - 1, .logits = root->logits,
                                     .lse = root->lse};
    return 0;
}

// Fills the free slots with the next completions.  A first token may end its completion and free
// the slot again, so this goes on while there are both.
static int begin_completions(Generator *g) {
    while (g->num_free && g->next < g->total) {
        long long end;
        if (compute_prompts(g, &end) < 0) return -1;
        for (; g->next < end; g->next++) {
            if (begin_branch(g, g->next) < 0) return -1;
        }
        if (draw_tokens(g) < 0) return -1;
    }
    return 0;
}

// One more token for each completion that is going on.
static int step_completions(Generator *g) {
    const size_t V = (size_t)g->m->config.vocab_size;
    int n = 0;

    // its newest token is a segment of one row, after the caches of its prompt and of its own
    for (size_t i = 0; i < g->num_branches; i++) {
        const Branch *b = &g->branch[i];
        const Completion *c = &b->c;
        if (c->finish != GOING) continue;
        g->token[n] = b->token[c->n - 1];
        g->position[n] = g->prompt[c->prompt].len + c->n - 1;
        g->seg[n] = (Segment){.start = n, .len = 1, .parent = -1};
        g->path[n] = (CachePath){.before = &g->root[b->root].cache, .own = &g->own[b->slot]};
        g->draw[n] = (Draw){.branch = i, .logits = g->logits + (size_t)n*V};
        n++;
    }
    if (n == 0) return 0;

    model_forward(g->m, &(Batch){.T = n, .token = g->token, .position = g->position, .S = n,
                                 .seg = g->seg, .cache = g->path, .decode = 1});
    model_logits(g->m, NULL, n, g->logits, g->lse);
    for (int i = 0; i < n; i++) {
        const Branch *b = &g->branch[g->draw[i].branch];
        g->own[b->slot].len++;
        g->draw[i].lse = g->lse[i];
    }
    g->num_draws = n;
    return draw_tokens(g);
}

// Gives `take` the finished completions that are next in order, and the first one that is going on.
static int hand_over(Generator *g, TakeCompletion *take, void *context) {
    size_t gone = 0;
    int result = 0;
    while (gone < g->num_branches) {
        Branch *b = &g->branch[gone];
        result = take(context, &b->c);
        if (result < 0 || b->c.finish == GOING) break;
        branch_free(b);
        gone++;
    }
    g->num_branches -= gone;
    if (gone) memmove(g->branch, g->branch + gone, g->num_branches * sizeof *g->branch);
    return result;
}

// What drawing takes beside the model: its packed matrices, keys and values of `batch` texts with
// at most new_rows tokens and of so many prompts, logits.
size_t generate_bytes(const Config *c, int batch, int prompts, int prompt_rows, int new_rows) {
    const size_t of_row = 2 * (size_t)(c->num_layers * c->num_kv_heads * c->head_dim);
    const size_t rows = (size_t)batch * (size_t)new_rows + (size_t)prompts * (size_t)prompt_rows;
    const size_t logits = (size_t)(batch + prompts) * (size_t)c->vocab_size;
    return model_packed_bytes(c) + (rows * of_row + logits) * sizeof(real);
}

// The same with the model, and the rows of a forward: all that generate takes of tensors, if the
// texts are as long as they may be.
size_t generate_room(const Config *c, const Prompt *prompt, int num_prompts, const Sampling *s) {
    size_t longest;
    const int T = (int)most_rows(prompt, num_prompts, s->batch, &longest);
    const long long texts = (long long)num_prompts * s->n;
    const int batch = texts < s->batch ? (int)texts : s->batch;
    const int together = s->batch / s->n + 1, prompts = min_int(num_prompts, together);
    const int new_rows = min_int(s->max_new_tokens, c->max_positions);
    return model_bytes(c, T, 1, SCORING)
         + generate_bytes(c, batch, prompts, (int)longest, new_rows);
}

// Completions of all prompts under s, given to `take` in order; without a tokenizer they have no
// text.  0, or -1 after fail().
int generate(Model *m, const Tokenizer *t, const Prompt *prompt, int num_prompts, const Sampling *s,
             TakeCompletion *take, void *context) {
    Generator g = {.m = m, .t = t, .prompt = prompt, .num_prompts = num_prompts, .s = s};
    int result = -1;
    if (generator_init(&g) < 0) goto done;
    while (g.next < g.total || g.num_branches) {
        if (begin_completions(&g) < 0) goto done;
        if (hand_over(&g, take, context) < 0) goto done;
        if (step_completions(&g) < 0) goto done;
    }
    result = 0;
done:
    generator_free(&g);
    return result;
}
#endif

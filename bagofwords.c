/* bagofwords.c - the bar that a reward model has to clear: logistic regression on counts of words.
 *
 * An answer's reward is the sum of its words' weights, so that Bradley and Terry's model of a pair
 * is logistic regression on differences of counts; the prompt, which both answers have, and a
 * constant would cancel:
 *
 *     P(chosen better) = sigma(w . x)      x: counts in the chosen answer less in the rejected one
 *
 * The weights minimise (Fan et al. 2008, LIBLINEAR, sec. 2; scikit-learn's LogisticRegression
 * without an intercept has the same minimum)
 *
 *     f(w) = 1/2 |w|^2 + C sum over pairs of log(1 + exp(-w . x))                      C = 0.001
 *
 * by Newton's method with conjugate gradients (Lin, Weng and Keerthi 2008), with halved steps in
 * place of their trust region.  f is strictly convex: the minimum does not depend on the way to it.
 * C has the largest mean accuracy among 1, .3, .1, .03 .. .0001 in five-fold cross-validation, by
 * prompt, on the five training files of data/.
 *
 * Words are those of words.c.  All sums are in double in one order: the bits are the same
 * everywhere.                                                                                    */
#ifndef BAGOFWORDS_C
#define BAGOFWORDS_C
#include "dataset.c"
#include "loss.c"
#include "words.c"

typedef struct {
    size_t n;
    uint64_t *word;               // (n) ascending
    double *weight;               // (n)
} Bag;

// Both take pairs, read with the tokenizer t: 0, or -1 after fail().
int  bag_train(Bag *b, const Dataset *d, const Tokenizer *t);
int  bag_rewards(const Bag *b, const Dataset *d, const Tokenizer *t, double *reward);
void bag_free(Bag *b);

#define BAG_C 0.001

// ------------------------------------------------------------------------------------------- words

// The words of one answer, sorted: a word stands as often as the answer has it.
static int bag_words(TextWords *w, Buffer *text, const Dataset *d, const Answer *a,
                     const Tokenizer *t) {
    const int *token = d->token + a->tokens.start;
    text->len = 0;
    if (tokenizer_decode(t, token, (size_t)a->tokens.len, text) < 0) return -1;
    if (words_read(w, text->data, text->len, 1) < 0) return -1;
    words_sort(w->word, w->n);
    return 0;
}

// Which word of the bag this is, or -1.
static int bag_find(const Bag *b, uint64_t word) {
    size_t low = 0, high = b->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (b->word[middle] < word) low = middle + 1;
        else high = middle;
    }
    return low < b->n && b->word[low] == word ? (int)low : -1;
}

// --------------------------------------------------------------------------------------- x, sparse

typedef struct {
    int word;
    float count;                  // in the chosen answer less in the rejected one
} BagEntry;

// Pair j has entry[start[j]] up to start[j+1], by word.
typedef struct {
    size_t n;                     // pairs
    size_t *start;                // (n + 1)
    BagEntry *entry;
    size_t entries, capacity;
} Counts;

static void counts_free(Counts *x) {
    free(x->start);
    free(x->entry);
}

// Sets the bag's words: those of d's pairs, each once.  They are sorted whenever they have become
// twice as many, so that memory grows with the words, not with how often they stand.
static int bag_collect(Bag *b, TextWords *w, Buffer *text, const Dataset *d, const Tokenizer *t) {
    const size_t least = 1 << 16;
    size_t capacity = 0, limit = least;
    for (size_t i = 0; i < 2 * d->num_records; i++) {
        const Answer *a = &d->answer[d->record[i / 2].first + (int)(i % 2)];
        if (bag_words(w, text, d, a, t) < 0) return -1;
        if (b->n + w->n > limit) {
            b->n = words_sort_once(b->word, b->n);
            limit = max_size(2 * (b->n + w->n), least);
        }
        if (reserve(&b->word, &capacity, b->n + w->n + 1, sizeof *b->word) < 0) return -1;
        if (w->n) memcpy(b->word + b->n, w->word, w->n * sizeof *b->word);
        b->n += w->n;
    }
    b->n = words_sort_once(b->word, b->n);
    if (b->n > INT_MAX) return fail(EX_DATAERR, "%s: more than %d words", d->path, INT_MAX);
    return 0;
}

// The counts of a pair: its two sorted lists of words are walked side by side.
static int counts_add(Counts *x, const Bag *b, const TextWords *chosen,
                      const TextWords *rejected) {
    const size_t need = x->entries + chosen->n + rejected->n + 1;
    if (reserve(&x->entry, &x->capacity, need, sizeof *x->entry) < 0) return -1;
    size_t i = 0, k = 0;
    while (i < chosen->n || k < rejected->n) {
        const int from_chosen = k == rejected->n
                                || (i < chosen->n && chosen->word[i] <= rejected->word[k]);
        const uint64_t word = from_chosen ? chosen->word[i] : rejected->word[k];
        int count = 0;
        for (; i < chosen->n && chosen->word[i] == word; i++) count++;
        for (; k < rejected->n && rejected->word[k] == word; k++) count--;
        if (count) x->entry[x->entries++] = (BagEntry){bag_find(b, word), (float)count};
    }
    x->n++;
    x->start[x->n] = x->entries;
    return 0;
}

// z = X v: z is (pairs), v is (words).
static void counts_times(double *z, const Counts *x, const double *v) {
    for (size_t j = 0; j < x->n; j++) {
        double sum = 0;
        for (size_t e = x->start[j]; e < x->start[j+1]; e++) {
            sum += (double)x->entry[e].count * v[x->entry[e].word];
        }
        z[j] = sum;
    }
}

// v += X' z
static void counts_add_transposed(double *v, const Counts *x, const double *z) {
    for (size_t j = 0; j < x->n; j++) {
        for (size_t e = x->start[j]; e < x->start[j+1]; e++) {
            v[x->entry[e].word] += (double)x->entry[e].count * z[j];
        }
    }
}

// ---------------------------------------------------------------------------------- the regression

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t k = 0; k < n; k++) sum += a[k] * b[k];
    return sum;
}

// f(w), from z = X w.
static double bag_loss(const double *w, size_t n, const double *z, size_t pairs) {
    double loss = dot(w, w, n) / 2;
    for (size_t j = 0; j < pairs; j++) loss -= BAG_C * log_sigmoid(z[j]);
    return loss;
}

// What Newton's method works with.
typedef struct {
    const Counts *x;
    size_t n;                                             // words
    double *gradient, *step, *residual, *direction, *h;   // (n) each; h is H direction
    double *z, *z_step, *part;                            // (pairs) each
} Newton;

// H v = v + C X' D X v,  D = sigma(z) sigma(-z)
static void newton_hessian(const Newton *s, double *h, const double *v) {
    counts_times(s->part, s->x, v);
    for (size_t j = 0; j < s->x->n; j++) {
        s->part[j] *= BAG_C * sigmoid(s->z[j]) * sigmoid(-s->z[j]);
    }
    memcpy(h, v, s->n * sizeof *h);
    counts_add_transposed(h, s->x, s->part);
}

// H step = -gradient, to a tenth of its length, by conjugate gradients (Hestenes and Stiefel 1952).
static void newton_step(const Newton *s) {
    const size_t n = s->n;
    for (size_t k = 0; k < n; k++) {
        s->step[k] = 0;
        s->residual[k] = s->direction[k] = -s->gradient[k];
    }
    double square = dot(s->residual, s->residual, n);
    const double enough = 0.01 * square;
    for (int i = 0; i < 1000 && square > enough; i++) {
        newton_hessian(s, s->h, s->direction);
        const double alpha = square / dot(s->direction, s->h, n);
        for (size_t k = 0; k < n; k++) {
            s->step[k] += alpha * s->direction[k];
            s->residual[k] -= alpha * s->h[k];
        }
        const double next = dot(s->residual, s->residual, n), beta = next / square;
        for (size_t k = 0; k < n; k++) s->direction[k] = s->residual[k] + beta * s->direction[k];
        square = next;
    }
}

// From w = 0 (n) to where the gradient is a billionth of what it was.
static void newton_minimise(const Newton *s, double *w) {
    const size_t n = s->n, pairs = s->x->n;
    double first = 0;
    for (int i = 0; i < 100; i++) {
        // gradient = w - C X' sigma(-z)
        counts_times(s->z, s->x, w);
        for (size_t j = 0; j < pairs; j++) s->part[j] = -BAG_C * sigmoid(-s->z[j]);
        memcpy(s->gradient, w, n * sizeof *w);
        counts_add_transposed(s->gradient, s->x, s->part);
        const double length = sqrt(dot(s->gradient, s->gradient, n));
        if (i == 0) first = length;
        if (length <= 1e-9 * first) return;

        // a step that lowers f enough (Armijo 1966); less than rounding is the end
        newton_step(s);
        counts_times(s->z_step, s->x, s->step);
        const double before = bag_loss(w, n, s->z, pairs), slope = dot(s->gradient, s->step, n);
        double t = 1;
        for (; t > 1e-6; t /= 2) {
            for (size_t k = 0; k < n; k++) s->residual[k] = w[k] + t * s->step[k];
            for (size_t j = 0; j < pairs; j++) s->part[j] = s->z[j] + t * s->z_step[j];
            if (bag_loss(s->residual, n, s->part, pairs) <= before + 1e-4 * t * slope) break;
        }
        if (t <= 1e-6) return;
        memcpy(w, s->residual, n * sizeof *w);
    }
}

static int bag_fit(Bag *b, const Counts *x) {
    const size_t n = b->n, pairs = x->n;
    double *memory = allocate(5 * n + 3 * pairs, sizeof *memory);
    b->weight = allocate(n, sizeof *b->weight);
    if (!memory || !b->weight) {
        free(memory);
        return -1;
    }
    double *of_pairs = memory + 5 * n;
    const Newton s = {
        .x = x, .n = n,
        .gradient = memory, .step = memory + n, .residual = memory + 2*n,
        .direction = memory + 3*n, .h = memory + 4*n,
        .z = of_pairs, .z_step = of_pairs + pairs, .part = of_pairs + 2*pairs,
    };
    newton_minimise(&s, b->weight);
    free(memory);
    return 0;
}

// ----------------------------------------------------------------------------------- the interface

// Words and weights from the pairs of d.  0, or -1 after fail(); bag_free follows either.
int bag_train(Bag *b, const Dataset *d, const Tokenizer *t) {
    TextWords chosen = {0}, rejected = {0};
    Buffer text = {0};
    Counts x = {0};
    int result = -1;
    memset(b, 0, sizeof *b);
    x.start = allocate(d->num_records + 1, sizeof *x.start);
    if (!x.start || bag_collect(b, &chosen, &text, d, t) < 0) goto done;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        if (bag_words(&chosen, &text, d, &d->answer[r->first], t) < 0) goto done;
        if (bag_words(&rejected, &text, d, &d->answer[r->first + 1], t) < 0) goto done;
        if (counts_add(&x, b, &chosen, &rejected) < 0) goto done;
    }
    result = bag_fit(b, &x);
done:
    counts_free(&x);
    words_free(&chosen);
    words_free(&rejected);
    buffer_free(&text);
    return result;
}

// reward (num_answers): the weights of an answer's words, added in the order of the bag, so that
// answers of the same words have the same reward.  Words that are not in the bag weigh nothing.
int bag_rewards(const Bag *b, const Dataset *d, const Tokenizer *t, double *reward) {
    TextWords w = {0};
    Buffer text = {0};
    int result = -1;
    for (size_t a = 0; a < d->num_answers; a++) {
        if (bag_words(&w, &text, d, &d->answer[a], t) < 0) goto done;
        reward[a] = 0;
        for (size_t k = 0; k < w.n; k++) {
            const int word = bag_find(b, w.word[k]);
            if (word >= 0) reward[a] += b->weight[word];
        }
    }
    result = 0;
done:
    words_free(&w);
    buffer_free(&text);
    return result;
}

void bag_free(Bag *b) {
    free(b->word);
    free(b->weight);
    memset(b, 0, sizeof *b);
}
#endif

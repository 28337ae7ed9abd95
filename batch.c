/* batch.c - records to packed micro-batches: texts one after the other, prompts shared, no padding.
 *
 * A micro-batch is T token rows, cut into segments; a segment may have a parent, which it sees.  A
 * record of dataset.c, here a pair with a prompt of four tokens, becomes a root segment for the
 * prompt, a segment for each answer, and for each answer a Text, which says where its tokens stand
 * and which row is scored:
 *
 *     token row     0   1   2 | 3   4   5   6 | 7   8   9
 *     token        p0  p1  p2 |p3  a0  a1  a2 |p3  b0  b1
 *     position      0   1   2 | 3   4   5   6 | 3   4   5
 *     target        -   -   - |a0  a1  a2 end |b0  b1 end       end: the end of text
 *                 '-----------'---------------'-----------'
 *     Segment      0: a root   1: parent 0     2: parent 0      so b0 sees p0 to p3, but not a0
 *     Text                     first 4, len 3  first 8, len 2
 *                              pooled 6        pooled 9
 *
 * The last prompt token opens every answer's segment, because that row predicts the answer's first
 * token: one target a row.  With POOL_EOS the reward is read from the end of text, which then has a
 * row of its own behind the answer.  A document is one segment without a Text; all its rows have
 * targets. */
#ifndef BATCH_C
#define BATCH_C

#include "dataset.c"
#include "model.c"

typedef struct {                        // a micro-batch while it is filled
    int T, S, B;                        // token rows, segments, texts
    size_t row_capacity, seg_capacity, text_capacity;
    int *token, *position, *target;     // (T) each; a target of -1 is none
    Segment *seg;                       // (S)
    Text *text;                         // (B)
} Pack;

Batch pack_batch(const Pack *p);        // the micro-batch as the model takes it
void  pack_clear(Pack *p);              // empties it and keeps its memory
void  pack_free(Pack *p);

// records: a prompt and its answers
int record_rows(const Dataset *d, const Record *r, Pooling pooling);   // token rows that it takes
int pack_record(Pack *p, const Dataset *d, const Record *r, Pooling pooling, int eos);

// documents, cut into windows
int document_rows(const Dataset *d, const Record *r);                  // token rows of all windows
int pack_window(Pack *p, const Dataset *d, const Record *r, int first, int length, int eos);

Batch pack_batch(const Pack *p) {
    return (Batch){.T = p->T, .token = p->token, .position = p->position, .target = p->target,
                   .S = p->S, .seg = p->seg, .B = p->B, .text = p->text};
}

void pack_clear(Pack *p) { p->T = p->S = p->B = 0; }

void pack_free(Pack *p) {
    free(p->token);
    free(p->position);
    free(p->target);
    free(p->seg);
    free(p->text);
    memset(p, 0, sizeof *p);
}

// Makes room for so many more.  0, or -1 after fail().
static int pack_room(Pack *p, size_t rows, size_t segs, size_t texts) {
    const size_t need = (size_t)p->T + rows;
    size_t token_capacity = p->row_capacity;              // the three arrays of rows grow alike
    size_t position_capacity = p->row_capacity;
    if (reserve(&p->token, &token_capacity, need, sizeof *p->token) < 0) return -1;
    if (reserve(&p->position, &position_capacity, need, sizeof *p->position) < 0) return -1;
    if (reserve(&p->target, &p->row_capacity, need, sizeof *p->target) < 0) return -1;
    if (reserve(&p->seg, &p->seg_capacity, (size_t)p->S + segs, sizeof *p->seg) < 0) return -1;
    return reserve(&p->text, &p->text_capacity, (size_t)p->B + texts, sizeof *p->text);
}

static void pack_row(Pack *p, int token, int position, int target) {
    p->token[p->T] = token;
    p->position[p->T] = position;
    p->target[p->T] = target;
    p->T++;
}

// The rows from `start` on become a segment; returns its index.
static int pack_segment(Pack *p, int start, int parent) {
    p->seg[p->S] = (Segment){.start = start, .len = p->T - start, .parent = parent};
    return p->S++;
}

// ----------------------------------------------------------------------------------------- records

int record_rows(const Dataset *d, const Record *r, Pooling pooling) {
    const int P = r->prompt.len;
    int rows = P > 1 ? P - 1 : 0;
    for (int i = 0; i < r->count; i++) {
        rows += (P > 0) + d->answer[r->first + i].tokens.len + (pooling == POOL_EOS);
    }
    return rows;
}

/* What the row before token `at` of an answer predicts: that token; at the end of an answer, or of
 * a turn within it, the end of text; nothing within what the user says. */
static int answer_target(const Dataset *d, const Answer *a, int at, int eos) {
    const size_t token = a->tokens.start + (size_t)at;
    if (at == a->tokens.len) return a->cut ? -1 : eos;    // what was cut does not end there
    for (int g = a->first_gap; g < a->first_gap + a->num_gaps; g++) {
        const Span gap = d->gap[g];
        if (token == gap.start) return eos;
        if (token > gap.start && token < gap.start + (size_t)gap.len) return -1;
    }
    return d->token[token];
}

// An answer's segment: the last of the P prompt tokens, the answer, with POOL_EOS the end of text.
static void pack_answer(Pack *p, const Dataset *d, const Record *r, const Answer *a, int parent,
                        Pooling pooling, int eos) {
    const int P = r->prompt.len, n = a->tokens.len, start = p->T;
    const int *prompt = d->token + r->prompt.start;
    const int *answer = d->token + a->tokens.start;

    if (P > 0) pack_row(p, prompt[P-1], P - 1, answer_target(d, a, 0, eos));
    const int first = p->T;
    for (int i = 0; i < n; i++) pack_row(p, answer[i], P + i, answer_target(d, a, i + 1, eos));
    if (pooling == POOL_EOS) pack_row(p, eos, P + n, -1);

    p->text[p->B++] = (Text){.first = first, .len = n, .pooled = p->T - 1};
    pack_segment(p, start, parent);
}

/* Adds a record's prompt and all its answers: one group, a Text for each answer.  Targets are the
 * answers' tokens and after them the end of text, if they were not cut; of an answer with gaps the
 * tokens outside them, each turn with its end.  0, or -1 after fail().  */
int pack_record(Pack *p, const Dataset *d, const Record *r, Pooling pooling, int eos) {
    const size_t rows = (size_t)record_rows(d, r, pooling), count = (size_t)r->count;
    const int P = r->prompt.len;
    int parent = -1;
    if (pack_room(p, rows, count + 1, count) < 0) return -1;

    if (P > 1) {
        const int *prompt = d->token + r->prompt.start, start = p->T;
        for (int i = 0; i < P - 1; i++) pack_row(p, prompt[i], i, -1);
        parent = pack_segment(p, start, -1);
    }
    for (int i = 0; i < r->count; i++) {
        pack_answer(p, d, r, &d->answer[r->first + i], parent, pooling, eos);
    }
    return 0;
}

// --------------------------------------------------------------------------------------- documents

/* Language modelling: a document is  end of text, prompt, answer, end of text.  Every token after
 * the first is a target once, so the last one needs no row.  */
int document_rows(const Dataset *d, const Record *r) {
    return 1 + r->prompt.len + (r->count ? d->answer[r->first].tokens.len : 0);
}

// Token i of the document, 0 <= i <= document_rows.
static int document_token(const Dataset *d, const Record *r, int i, int eos) {
    const Span none = {0, 0};
    const Span prompt = r->prompt, answer = r->count ? d->answer[r->first].tokens : none;
    const int in_prompt = i - 1, in_answer = in_prompt - prompt.len;
    if (i == 0) return eos;
    if (in_prompt < prompt.len) return d->token[prompt.start + (size_t)in_prompt];
    if (in_answer < answer.len) return d->token[answer.start + (size_t)in_answer];
    return eos;
}

/* Adds the window of at most `length` token rows that begins at row `first` of the document, as a
 * segment of its own: it does not see the rows before it.  0, or -1 after fail().  */
int pack_window(Pack *p, const Dataset *d, const Record *r, int first, int length, int eos) {
    const int left = document_rows(d, r) - first, rows = left < length ? left : length;
    const int start = p->T;
    if (pack_room(p, (size_t)rows, 1, 0) < 0) return -1;
    for (int i = 0; i < rows; i++) {
        const int token = document_token(d, r, first + i, eos);
        const int next = document_token(d, r, first + i + 1, eos);
        pack_row(p, token, i, next);
    }
    pack_segment(p, start, -1);
    return 0;
}
#endif

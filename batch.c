/* batch.c - records to packed micro-batches: rows of texts one after the other, prompts shared, no padding.
 *
 * A prompt's tokens but the last are one segment; each answer is a segment whose parent it is and whose first
 * row is the last prompt token, because that row predicts the answer's first token: one target a row.      */
#ifndef BATCH_C
#define BATCH_C
#include "dataset.c"
#include "model.c"

typedef struct {
    int T, S, B;
    size_t row_capacity, seg_capacity, text_capacity;
    int *token, *position, *target;                                   // (T) each
    Segment *seg;
    Text *text;
} Pack;

Batch pack_batch(const Pack *p) {
    return (Batch){p->T, p->token, p->position, p->target, p->S, p->seg, p->B, p->text, NULL, 0};
}
void pack_clear(Pack *p) { p->T = p->S = p->B = 0; }
void pack_free(Pack *p) {
    free(p->token), free(p->position), free(p->target), free(p->seg), free(p->text);
    memset(p, 0, sizeof *p);
}

static int pack_room(Pack *p, size_t rows, size_t segs, size_t texts) {
    size_t need = (size_t)p->T + rows, capacity = p->row_capacity;
    if (reserve(&p->token, &capacity, need, sizeof *p->token) < 0) return -1;
    capacity = p->row_capacity;
    if (reserve(&p->position, &capacity, need, sizeof *p->position) < 0) return -1;
    if (reserve(&p->target, &p->row_capacity, need, sizeof *p->target) < 0) return -1;
    return reserve(&p->seg, &p->seg_capacity, (size_t)p->S + segs, sizeof *p->seg) < 0
        || reserve(&p->text, &p->text_capacity, (size_t)p->B + texts, sizeof *p->text) < 0 ? -1 : 0;
}
static void pack_row(Pack *p, int token, int position, int target) {
    p->token[p->T] = token, p->position[p->T] = position, p->target[p->T++] = target;
}

// Rows that pack_record adds.
int record_rows(const Dataset *d, const Record *r, Pooling pooling) {
    int P = r->prompt.len, rows = P > 1 ? P - 1 : 0;
    for (int i = 0; i < r->count; i++)
        rows += (P > 0) + d->answer[r->first + i].tokens.len + (pooling == POOL_EOS);
    return rows;
}

/* Adds a record's prompt and all its answers: one group, one Text an answer.  Targets are the answers' tokens
 * and the end of text after them, if they were not cut.  The end is itself a row only where the reward is
 * read from it.  0, or -1 after fail().                                                                    */
int pack_record(Pack *p, const Dataset *d, const Record *r, Pooling pooling, int eos) {
    const int *prompt = d->token + r->prompt.start, P = r->prompt.len;
    int parent = -1;
    const size_t count = (size_t)r->count;
    if (pack_room(p, (size_t)record_rows(d, r, pooling), count + 1, count) < 0) return -1;
    if (P > 1) {
        parent = p->S;
        p->seg[p->S++] = (Segment){p->T, P - 1, -1};
        for (int i = 0; i < P - 1; i++) pack_row(p, prompt[i], i, -1);
    }
    for (int i = 0; i < r->count; i++) {
        const Span *a = &d->answer[r->first + i].tokens;
        const int *answer = d->token + a->start, start = p->T, end = d->answer[r->first + i].cut ? -1 : eos;
        if (P > 0) pack_row(p, prompt[P-1], P - 1, a->len ? answer[0] : end);
        p->text[p->B++] = (Text){p->T, a->len, p->T + a->len - (pooling != POOL_EOS)};
        for (int k = 0; k < a->len; k++) pack_row(p, answer[k], P + k, k + 1 < a->len ? answer[k+1] : end);
        if (pooling == POOL_EOS) pack_row(p, eos, P + a->len, -1);
        p->seg[p->S++] = (Segment){start, p->T - start, parent};
    }
    return 0;
}

/* Language modelling: a document is  end-of-text, prompt, answer, end-of-text; every token after the first is
 * a target once.  Window w of `length` rows starts at row w length, without the rows before it as context. */
int document_rows(const Dataset *d, const Record *r) {
    return 1 + r->prompt.len + (r->count ? d->answer[r->first].tokens.len : 0);
}
static int document_token(const Dataset *d, const Record *r, int i, int eos) {
    if (i == 0) return eos;
    if (--i < r->prompt.len) return d->token[r->prompt.start + (size_t)i];
    i -= r->prompt.len;
    const Span *answer = r->count ? &d->answer[r->first].tokens : NULL;
    return answer && i < answer->len ? d->token[answer->start + (size_t)i] : eos;
}
int pack_window(Pack *p, const Dataset *d, const Record *r, int first, int length, int eos) {
    int rows = document_rows(d, r) - first;
    if (rows > length) rows = length;
    if (pack_room(p, (size_t)rows, 1, 0) < 0) return -1;
    p->seg[p->S++] = (Segment){p->T, rows, -1};
    for (int i = 0; i < rows; i++)
        pack_row(p, document_token(d, r, first + i, eos), i, document_token(d, r, first + i + 1, eos));
    return 0;
}
#endif

/* doctor.c - more doctor: what training would really see.  The tokens of the first rows, what is
 * cut and dropped, labels, repeats, leaks, special tokens, memory and time; then the traps, in
 * which a run goes wrong without an error, and the warnings.
 *
 *     load_all             each file twice: whole, and as training cuts it and settles its rows
 *     examine_tokenizer    special tokens, of config.json and of the tokenizer
 *     examine_file         a file's counts, lengths, labels, cuts and texts; its first rows
 *     examine_across       rows that stand twice, prompts that are trained and evaluated on
 *     estimate_costs       memory, and the time of one micro-batch
 *
 * What is shown of a row is what batch.c packs.  Output is for people, 100 columns; a trap or a
 * warning is one line, FILE:LINE: what; what to do about it.                                     */
#ifndef DOCTOR_C
#define DOCTOR_C
#include "../objectives.c"
#include "../specials.c"

// The objective that the training files are for, by their kind.
const char *doctor_objective(const char *tokenizer_file, const DataOptions *options);
// The whole report on standard output.
int doctor_report(const char *dir, const char *tokenizer_file, const DataOptions *options,
                  const Objective *objective);

enum {
    SHOWN_BAD_ROWS = 5,           // of each file; the others are counted
    WIDTH = 100,                  // columns of a line of tokens
    INDENT = 12,                  // the column in which tokens begin
    PIECE_TEXT = 512,             // room for a token's piece in quotes
    ANSWER_NAME = 24,             // room for what answer_name writes
};

enum Special { BOS, EOS, PAD, NUM_SPECIALS };
static const char *const special_name[NUM_SPECIALS] = {[BOS] = "bos", [EOS] = "eos", [PAD] = "pad"};

typedef struct {
    int id;                       // -1: there is none
    char text[PIECE_TEXT];        // its piece in quotes; "" where the tokenizer has no such token
} Token;

enum Sort { TRAP, WARNING, NUM_SORTS };
static const char *const sort_name[NUM_SORTS] = {[TRAP] = "trap", [WARNING] = "warning"};

// All traps, or all warnings.
typedef struct {
    Buffer lines;
    int count;
} Notes;

// A data row, or its prompt, by what it says.
typedef struct {
    uint64_t hash;                // of prompt and answers, or of the prompt alone
    int file;                     // Doctor.file[file]
    double side;                  // which order a pair has, which label a point
    size_t line;
} Key;

typedef struct {
    Key *key;
    size_t n, capacity;
} Keys;

typedef struct {
    struct Doctor *doctor;        // whose traps bad_row_found adds to
    const char *spec;
    int train;                    // 1: a file to train on, 0: to evaluate on
    Dataset whole;                // nothing cut
    Dataset seen;                 // as training cuts and keeps it
    int wrong_kind;               // yes: the objective does not take it
    size_t in_fold;               // rows that training leaves out for --fold
} File;

typedef struct Doctor {
    const Objective *objective;
    const char *dir;              // the model's folder
    Config config;
    Tokenizer tokenizer;
    Token model[NUM_SPECIALS];    // special tokens as config.json names them
    Token own[NUM_SPECIALS];      // special tokens as the tokenizer names them
    int adds_bos;                 // yes: other programs put a BOS before a text
    File *file;                   // the files to train on, then those to evaluate on
    int num_files;
    Keys rows;                    // all rows of all files
    Keys prompts;                 // of the rows that are trained on
    Notes notes[NUM_SORTS];
    int failed;                   // yes: a note found no memory
} Doctor;

// Is a language model trained, on documents that are cut into windows?
static int of_documents(const Doctor *d) { return d->objective->data == DOCUMENTS; }

// ------------------------------------------------------------------------------------------- notes

// A trap or a warning about a line of a file, or about all of it (line 0).
PRINTF_LIKE(5, 6) static void note(Doctor *d, enum Sort sort, const char *path, size_t line,
                                   const char *format, ...) {
    char what[1024], where[32] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (line) snprintf(where, sizeof where, ":%zu", line);
    Notes *to = &d->notes[sort];
    to->count++;
    if (buffer_printf(&to->lines, "%s: %s%s: %s\n", sort_name[sort], path, where, what) < 0) {
        d->failed = 1;
    }
}

// error_text says where and why; what to do, if not the remedy.
static void note_error(Doctor *d, enum Sort sort, const char *remedy) {
    Notes *to = &d->notes[sort];
    const char *rest = strchr(error_text, ';') ? "" : remedy;
    to->count++;
    if (buffer_printf(&to->lines, "%s: %s%s\n", sort_name[sort], error_text, rest) < 0) {
        d->failed = 1;
    }
}

// An error at which training stops.
static void trap_error(Doctor *d, const char *remedy) { note_error(d, TRAP, remedy); }

// At a bad row training stops, or leaves it out.
static enum Sort sort_of_bad_rows(void) {
    return opt.bad_rows == BAD_ROWS_DROP ? WARNING : TRAP;
}

// DataOptions.bad_row of the file as training reads it, and of all other times it is read.
static void bad_row_found(void *to, const Dataset *data) {
    File *f = to;
    if (data->bad > SHOWN_BAD_ROWS) return;
    note_error(f->doctor, sort_of_bad_rows(), "; repair or remove the row, or say --bad_rows drop");
}
static void bad_row_known(void *to, const Dataset *data) {
    (void)to;
    (void)data;
}

// How often something was found in a file, and on which line first; of repeats also the one before.
typedef struct { size_t count, line, earlier; } Found;

static void found_again(Found *x, size_t line, size_t earlier) {
    if (line < earlier) {
        found_again(x, earlier, line);
        return;
    }
    if (!x->count || line < x->line) {
        x->line = line;
        x->earlier = earlier;
    }
    x->count++;
}
static void found(Found *x, size_t line) { found_again(x, line, 0); }

// --------------------------------------------------------------------------------- tokens of a row

static Token token_of(const Tokenizer *t, int id) {
    Token x = {.id = id};
    Buffer bytes = {0}, quoted = {0};
    if (id < 0 || id >= t->vocab_size) return x;
    if (tokenizer_decode(t, &id, 1, &bytes) == 0
        && json_quote(&quoted, bytes.data, bytes.len) == 0) {
        snprintf(x.text, sizeof x.text, "%s", quoted.data);
    }
    buffer_free(&bytes);
    buffer_free(&quoted);
    return x;
}

// Prints a token as id"piece" and its mark, on a new line when this one is full.
static int show_token(const Tokenizer *t, int id, const char *mark, int *column) {
    Buffer bytes = {0}, word = {0};
    int result = -1;
    if (tokenizer_decode(t, &id, 1, &bytes) < 0) goto done;
    if (buffer_printf(&word, "%d", id) < 0) goto done;
    if (json_quote(&word, bytes.data, bytes.len) < 0) goto done;
    if (buffer_printf(&word, "%s", mark) < 0) goto done;
    const int width = count_code_points(word.data, word.len);
    if (*column + 1 + width > WIDTH) {
        printf("\n%*s", INDENT, "");
        *column = INDENT;
    }
    printf(" %s", word.data);
    *column += 1 + width;
    result = 0;
done:
    buffer_free(&bytes);
    buffer_free(&word);
    return result;
}

// The name of a line of tokens; returns the column that follows.
static int show_name(const char *name) {
    printf("    %-*s", INDENT - 4, name);
    return INDENT;
}

static const char *answer_name(char name[ANSWER_NAME], enum DataKind kind, int i) {
    if (kind == DATA_PAIR) return i ? "rejected" : "chosen";
    if (kind == DATA_DOCUMENT) return "text";
    if (kind != DATA_RANKING) return "answer";
    snprintf(name, ANSWER_NAME, "answer %d", i + 1);
    return name;
}

/* The side of a pair that r's first answer is: where one side is imitated (--sft_on) the record has
 * that answer alone.  In a file of pairs each row has two answers, so its number tells.          */
static int first_side(const Dataset *seen, const Record *r) {
    return seen->kind == DATA_PAIR ? r->first % 2 : 0;
}

// The windows of a document: each token after the first is a target once.
static int show_document(const Doctor *d, const Dataset *data, const Record *r) {
    const Tokenizer *t = &d->tokenizer;
    const int rows = document_rows(data, r);
    int column = show_name("document"), last = -1, result = -1;
    Pack p = {0};
    for (int w = 0; w < rows; w += opt.max_length) {
        pack_clear(&p);
        if (pack_window(&p, data, r, w, opt.max_length, t->eos) < 0) goto done;
        for (int i = 0; i < p.T; i++) {
            const char *mark = w + i > 0 ? "*" : "";
            if (show_token(t, p.token[i], mark, &column) < 0) goto done;
        }
        last = p.target[p.T - 1];
    }
    result = show_token(t, last, "*", &column);
done:
    printf("\n");
    pack_free(&p);
    return result;
}

/* Text b of a packed record.  A token is trained where the row before it has it as target: not the
 * first of a text without a prompt, not the end after an answer that was cut.                    */
static int show_answer(const Doctor *d, const Pack *p, int b, const Segment *s) {
    const Tokenizer *t = &d->tokenizer;
    const Text *text = &p->text[b];
    const int mean = d->config.pooling == POOL_MEAN, end = s->start + s->len;
    int column = INDENT;
    for (int i = text->first; i < end; i++) {
        const char *mark = "";
        if (d->objective->reward) {
            const int pooled = mean ? i < text->first + text->len : i == text->pooled;
            if (pooled) mark = "^";
        } else if (i > s->start && p->target[i-1] >= 0) {
            mark = "*";
        }
        if (show_token(t, p->token[i], mark, &column) < 0) return -1;
    }
    const int target = p->target[end-1];
    if (!d->objective->reward && target >= 0) return show_token(t, target, "*", &column);
    return 0;
}

// A prompt and its answers.  The rows before the first answer's text are the prompt's.
static int show_record(const Doctor *d, const Dataset *data, const Record *r) {
    const Tokenizer *t = &d->tokenizer;
    const int before = r->prompt.len > 1;      // segments: the prompt but for its last token
    char name[ANSWER_NAME];
    Pack p = {0};
    int result = -1;
    if (pack_record(&p, data, r, d->config.pooling, t->eos) < 0) goto done;
    if (r->prompt.len) {
        int column = show_name("prompt");
        for (int i = 0; i < p.text[0].first; i++) {
            if (show_token(t, p.token[i], "", &column) < 0) goto done;
        }
        printf("\n");
    }
    for (int b = 0; b < p.B; b++) {
        show_name(answer_name(name, data->kind, first_side(data, r) + b));
        if (show_answer(d, &p, b, &p.seg[before + b]) < 0) goto done;
        printf("\n");
    }
    result = 0;
done:
    pack_free(&p);
    return result;
}

// The record of the whole file that stands on r's line, or NULL; *at goes on from call to call.
static const Record *whole_record(const Dataset *whole, const Record *r, size_t *at) {
    while (*at < whole->num_records && whole->record[*at].line_start < r->line_start) ++*at;
    if (*at == whole->num_records) return NULL;
    const Record *w = &whole->record[*at];
    return w->line_start == r->line_start ? w : NULL;
}

// What the cut took from a row of f.
static void show_cuts(const File *f, const Record *seen, const Record *whole) {
    char name[ANSWER_NAME];
    const int side = first_side(&f->seen, seen);
    const int prompt_cut = whole->prompt.len - seen->prompt.len;
    if (prompt_cut) {
        printf("; the first %d of %d prompt tokens are cut", prompt_cut, whole->prompt.len);
    }
    for (int k = 0; k < seen->count; k++) {
        const int all = f->whole.answer[whole->first + side + k].tokens.len;
        const int cut = all - f->seen.answer[seen->first + k].tokens.len;
        if (!cut) continue;
        printf("; %s: the last %d of %d are cut", answer_name(name, f->seen.kind, side + k), cut,
               all);
    }
}

static int show_rows(const Doctor *d, const File *f) {
    const Dataset *seen = &f->seen;
    size_t at = 0;
    for (size_t i = 0; i < seen->num_records && i < (size_t)opt.show_rows; i++) {
        const Record *r = &seen->record[i];
        const Record *whole = whole_record(&f->whole, r, &at);
        printf("  line %zu", r->line);
        if (whole) show_cuts(f, r, whole);
        if (seen->kind == DATA_POINT) printf("; label %g", (double)seen->answer[r->first].score);
        if (r->margin < 0 || r->margin > 0) printf("; margin %g", (double)r->margin);
        if (r->weight < 1 || r->weight > 1) printf("; weight %g", (double)r->weight);
        printf("\n");
        const int shown = of_documents(d) ? show_document(d, seen, r)
                                                : show_record(d, seen, r);
        if (shown < 0) return -1;
    }
    return 0;
}

// -------------------------------------------------------------------------------- a file's numbers

static const int *span_tokens(const Dataset *data, Span s) { return data->token + s.start; }

// Quantiles of the lengths of prompts (which -1) or of answers number `which` of each row.
static int show_lengths(const char *name, const Dataset *data, int which) {
    static const double level[] = {0, .25, .5, .75, .95, 1};
    double *length = allocate(data->num_records, sizeof *length);
    size_t n = 0;
    if (!length) return -1;
    for (size_t i = 0; i < data->num_records; i++) {
        const Record *r = &data->record[i];
        if (which < 0) length[n++] = r->prompt.len;
        else if (which < r->count) length[n++] = data->answer[r->first + which].tokens.len;
    }
    qsort(length, n, sizeof *length, compare_double);
    printf("    %-20s", name);
    for (size_t k = 0; n && k < sizeof level / sizeof *level; k++) {
        printf("%9.0f", sorted_quantile(length, (int)n, level[k]));
    }
    printf("\n");
    free(length);
    return 0;
}

static int show_all_lengths(const Dataset *whole) {
    char name[ANSWER_NAME];
    int sides = 1;
    if (whole->kind == DATA_PAIR) sides = 2;
    if (whole->kind == DATA_PROMPT) sides = 0;
    printf("    tokens, nothing cut      min     25 %%     50 %%     75 %%     95 %%      max\n");
    if (whole->kind != DATA_DOCUMENT && show_lengths("prompt", whole, -1) < 0) return -1;
    for (int k = 0; k < sides; k++) {
        if (show_lengths(answer_name(name, whole->kind, k), whole, k) < 0) return -1;
    }
    return 0;
}

// How many rows are kept, cut and left out.
static void examine_counts(Doctor *d, const File *f) {
    const Dataset *seen = &f->seen;
    const size_t rows = seen->rows + seen->bad, touched = seen->truncated + seen->dropped;

    // what settle_rows left out: the fold, then rows that are not imitated; nothing if it stopped
    const size_t unused = seen->rows - seen->dropped - seen->tied - seen->num_records;
    const size_t in_fold = unused < f->in_fold ? unused : f->in_fold;

    printf("    %zu rows: %zu kept, of which %zu cut (%zu prompts, %zu answers);", rows,
           seen->num_records, seen->truncated, seen->cut_prompts, seen->cut_answers);
    printf(" left out: %zu too long, %zu ties, %zu bad", seen->dropped, seen->tied, seen->bad);
    if (in_fold) printf(", %zu in fold %d", in_fold, opt.fold);
    if (unused > in_fold) printf(", %zu with the label false", unused - in_fold);
    printf("\n");

    if (seen->bad > SHOWN_BAD_ROWS) {
        note(d, sort_of_bad_rows(), seen->path, 0, "%zu more bad rows; repair or remove them",
             seen->bad - SHOWN_BAD_ROWS);
    }
    if (seen->rows && !seen->num_records && !unused) {
        note(d, TRAP, seen->path, 0,
             "nothing is left of %zu rows (%zu too long, %zu ties, %zu bad); raise --max_length "
             "or use --over_length truncate",
             rows, seen->dropped, seen->tied, seen->bad);
    }
    if (seen->tied) {
        note(d, WARNING, seen->path, 0,
             "%zu of %zu rows are ties and are left out; remove them to silence this",
             seen->tied, seen->rows);
    }
    if (seen->rows && touched * 10 > seen->rows) {
        note(d, WARNING, seen->path, 0,
             "%.0f %% of rows are cut or dropped; raise --max_length and --max_prompt_length if "
             "memory allows",
             100.0 * (double)touched / (double)seen->rows);
    }
}

// Is the longer answer mostly the chosen one?
static void examine_lengths(Doctor *d, const Dataset *seen) {
    const double n = (double)seen->num_records;
    double longer = 0;
    for (size_t i = 0; i < seen->num_records; i++) {
        const Record *r = &seen->record[i];
        const Answer *chosen = &seen->answer[r->first - first_side(seen, r)];
        const Answer *rejected = chosen + 1;
        if (chosen->chars > rejected->chars) longer += 1;
        if (chosen->chars == rejected->chars) longer += 0.5;
    }
    printf("    the longer answer is chosen in %.1f %% of pairs\n", 100 * longer / n);
    if (seen->num_records >= 20 && longer / n > 0.65) {
        note(d, WARNING, seen->path, 0,
             "the longer answer is chosen in %.0f %% of pairs; length alone may be learned: "
             "compare with the row \"longer answer wins\" of more eval",
             100 * longer / n);
    }
}

static void examine_labels(Doctor *d, const Dataset *seen) {
    const size_t n = seen->num_records;
    double low = HUGE_VAL, high = -HUGE_VAL, sum = 0;
    size_t ones = 0, zeros = 0;
    for (size_t i = 0; i < n; i++) {
        const double y = seen->answer[seen->record[i].first].score;
        if (y < low) low = y;
        if (y > high) high = y;
        sum += y;
        ones += y == 1;
        zeros += y == 0;
    }
    if (ones + zeros == n) printf("    labels: %zu true, %zu false\n", ones, zeros);
    else printf("    scores: from %g to %g, mean %g\n", low, high, sum / (double)n);
    if (low == high && d->objective->data == POINTS) {
        note(d, TRAP, seen->path, 0,
             "all %zu rows have the label %g; add rows of the other class, or train sft on the "
             "good ones",
             n, low);
    }
}

// Answers that became equal, or a single token, by cutting.
static void examine_cut(Doctor *d, const File *f) {
    const Dataset *seen = &f->seen;
    const size_t n = seen->num_records;
    Found equal = {0}, gone = {0};
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const Record *r = &seen->record[i], *whole = whole_record(&f->whole, r, &at);
        const int side = first_side(seen, r);
        const Answer *a = &seen->answer[r->first], *pair = a - side;
        if (seen->kind == DATA_PAIR && dataset_same_tokens(seen, pair[0].tokens, pair[1].tokens)) {
            found(&equal, r->line);
        }
        for (int k = 0; whole && k < r->count; k++) {
            const int before = f->whole.answer[whole->first + side + k].tokens.len;
            if (a[k].tokens.len > 1 || before <= 1) continue;
            found(&gone, r->line);
            break;
        }
    }
    if (equal.count) {
        note(d, equal.count * 100 > n ? TRAP : WARNING, seen->path, equal.line,
             "chosen and rejected are the same after the cut, here and in %zu more of %zu pairs; "
             "raise --max_length or use --over_length drop",
             equal.count - 1, n);
    }
    if (gone.count) {
        note(d, TRAP, seen->path, gone.line,
             "of an answer only one token is left, here and in %zu more rows; raise --max_length "
             "or lower --max_prompt_length",
             gone.count - 1);
    }
}

// ---------------------------------------------------------------------------------- a file's texts

// What texts have in them that they should not.
typedef struct {
    Found blank, no_prompt;       // an answer of white space; a row without a prompt
    Found two_bos, later_bos;     // at the beginning; at an answer's, after the prompt
    Found own[NUM_SPECIALS];      // the special tokens of config.json, as the tokenizer made them
    Found *written;               // (vocab_size) special tokens, written out
} Faults;

static int is_blank(const Buffer *b) {
    for (size_t i = 0; i < b->len; i++) {
        if (!isspace((unsigned char)b->data[i])) return 0;
    }
    return 1;
}

// How many times a text begins with the token id, written out.
static int leading(const Tokenizer *t, const Buffer *text, int id) {
    if (id < 0 || id >= t->vocab_size) return 0;
    const char *bytes = tokenizer_piece(t, id);
    const size_t len = tokenizer_piece_len(t, id);
    size_t at = 0;
    while (text->len - at >= len && !memcmp(text->data + at, bytes, len)) at += len;
    return (int)(at / len);
}

// The model's BOS, or the tokenizer's where config.json names none.
static const Token *bos_of(const Doctor *d) {
    return d->model[BOS].id >= 0 ? &d->model[BOS] : &d->own[BOS];
}

// Is the end of text, which training puts before a document, the BOS?
static int training_adds_bos(const Doctor *d) {
    return of_documents(d) && bos_of(d)->id == d->tokenizer.eos;
}

// A prompt or an answer: its tokens, what they decode to, its row's line, whether it begins a text.
static void find_faults(const Doctor *d, Faults *x, const int *token, int n, const Buffer *text,
                        size_t line, int begins_text) {
    const Tokenizer *t = &d->tokenizer;
    const int bos = leading(t, text, bos_of(d)->id);
    const int added = d->adds_bos || training_adds_bos(d);
    if (begins_text && bos && bos + added > 1) found(&x->two_bos, line);
    if (!begins_text && bos) found(&x->later_bos, line);

    // special tokens as strings, which encoding never looks for
    for (size_t at = 0; at < text->len; ) {
        const int id = tokenizer_special_at(t, text->data + at, text->len - at);
        if (id >= 0) found(&x->written[id], line);
        at += id < 0 ? 1 : tokenizer_piece_len(t, id);
    }

    // special tokens that the text's own characters became
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < NUM_SPECIALS; k++) {
            if (token[i] == d->model[k].id) found(&x->own[k], line);
        }
    }
}

// 0, or -1 after fail().
static int find_all_faults(const Doctor *d, Faults *x, const Dataset *data) {
    Buffer text = {0};
    int result = -1;
    for (size_t i = 0; i < data->num_records; i++) {
        const Record *r = &data->record[i];
        if (!r->prompt.len && data->kind != DATA_DOCUMENT) found(&x->no_prompt, r->line);
        for (int k = -1; k < r->count; k++) {                         // -1: the prompt
            const Span s = k < 0 ? r->prompt : data->answer[r->first + k].tokens;
            const int *token = span_tokens(data, s);
            text.len = 0;
            if (buffer_append(&text, "", 0) < 0) goto done;
            if (tokenizer_decode(&d->tokenizer, token, (size_t)s.len, &text) < 0) goto done;
            if (k >= 0 && is_blank(&text)) found(&x->blank, r->line);
            find_faults(d, x, token, s.len, &text, r->line, k < 0 || !r->prompt.len);
        }
    }
    result = 0;
done:
    buffer_free(&text);
    return result;
}

static void note_faults(Doctor *d, const Faults *x, const char *path) {
    const Token *bos = bos_of(d);
    if (x->blank.count) {
        note(d, TRAP, path, x->blank.line,
             "an answer is only white space, here and in %zu more; remove such rows or complete "
             "them",
             x->blank.count - 1);
    }
    if (x->no_prompt.count) {
        note(d, WARNING, path, x->no_prompt.line,
             "the prompt is empty, here and in %zu more rows; give a \"prompt\", or whole texts "
             "that begin alike",
             x->no_prompt.count - 1);
    }
    if (x->two_bos.count) {
        const char *why = "twice";
        if (of_documents(d)) why = "and training puts one before it";
        if (d->adds_bos) why = "and other programs put one before it";
        note(d, TRAP, path, x->two_bos.line,
             "two BOS: the text begins with %s, %s, here and in %zu more; remove it from the texts",
             bos->text, why, x->two_bos.count - 1);
    }
    if (x->later_bos.count) {
        note(d, TRAP, path, x->later_bos.line,
             "two BOS: an answer after a prompt begins with %s, here and in %zu more; remove it "
             "from the answers",
             bos->text, x->later_bos.count - 1);
    }
    for (int id = 0; id < d->tokenizer.vocab_size; id++) {
        const Found *written = &x->written[id];
        if (!written->count) continue;
        const Token token = token_of(&d->tokenizer, id);
        note(d, WARNING, path, written->line,
             "%s stands in texts %zu times; it is read as plain text, by other programs as token "
             "%d: remove it",
             token.text, written->count, id);
    }
    for (int k = 0; k < NUM_SPECIALS; k++) {
        if (!x->own[k].count) continue;
        note(d, WARNING, path, x->own[k].line,
             "token %d %s, the %s of config.json, occurs in texts %zu times; set \"%s_token_id\" "
             "to one that does not",
             d->model[k].id, d->model[k].text, special_name[k], x->own[k].count, special_name[k]);
    }
}

static int examine_texts(Doctor *d, const Dataset *whole) {
    Faults x = {.written = allocate((size_t)d->tokenizer.vocab_size, sizeof *x.written)};
    if (!x.written) return -1;
    const int result = find_all_faults(d, &x, whole);
    if (result == 0) note_faults(d, &x, whole->path);
    free(x.written);
    return result;
}

// Is the end of text a row of its own, from which the reward is read?
static int reward_at_end(const Doctor *d) {
    return d->objective->reward && d->config.pooling == POOL_EOS;
}

// Is the end of text needed, and is there none?
static int lacks_end(const Doctor *d) {
    const int needed = !d->objective->reward || reward_at_end(d);
    return needed && d->tokenizer.eos < 0;
}

static int examine_file(Doctor *d, const File *f) {
    const Dataset *seen = &f->seen;
    printf("\n%s, to %s: %s data\n", seen->path, f->train ? "train on" : "evaluate on",
           seen->rows ? data_kind_name[seen->kind] : "no");
    examine_counts(d, f);
    if (f->whole.num_records && show_all_lengths(&f->whole) < 0) return -1;
    if (seen->num_records && seen->kind == DATA_PAIR) examine_lengths(d, seen);
    if (seen->num_records && seen->kind == DATA_POINT) examine_labels(d, seen);
    examine_cut(d, f);
    if (examine_texts(d, &f->whole) < 0) return -1;
    if (lacks_end(d) || f->wrong_kind) return 0;
    return show_rows(d, f);
}

// ------------------------------------------------------------- the same rows, prompts, pairs again

static int compare_rows(const void *x, const void *y) {
    const Key *a = x, *b = y;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->file != b->file) return a->file - b->file;
    if (a->side < b->side || a->side > b->side) return a->side < b->side ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

static int keys_add(Keys *keys, Key key) {
    if (reserve(&keys->key, &keys->capacity, keys->n + 1, sizeof key) < 0) return -1;
    keys->key[keys->n++] = key;
    return 0;
}

// Of prompt and answers; a pair and its reverse have one hash and two sides.
static Key row_key(const Dataset *data, const Record *r, int file) {
    const Answer *a = &data->answer[r->first];
    uint64_t hash = dataset_hash_tokens((uint64_t)data->kind, data, r->prompt);
    if (data->kind == DATA_PAIR) {
        const uint64_t x = dataset_hash_tokens(0, data, a[0].tokens);
        const uint64_t y = dataset_hash_tokens(0, data, a[1].tokens);
        hash = random_mix(hash ^ (x < y ? x : y));
        hash = random_mix(hash ^ (x < y ? y : x));
        return (Key){.hash = hash, .file = file, .side = x < y, .line = r->line};
    }
    for (int i = 0; i < r->count; i++) hash = dataset_hash_tokens(hash, data, a[i].tokens);
    const double side = data->kind == DATA_POINT ? a->score : 0;
    return (Key){.hash = hash, .file = file, .side = side, .line = r->line};
}

// Collects the keys of all rows and of the prompts that are trained on, and sorts them.
static int collect_keys(Doctor *d) {
    for (int i = 0; i < d->num_files; i++) {
        const Dataset *data = &d->file[i].whole;
        for (size_t k = 0; k < data->num_records; k++) {
            const Record *r = &data->record[k];
            const Key prompt = {.hash = r->prompt_id, .file = i, .line = r->line};
            if (keys_add(&d->rows, row_key(data, r, i)) < 0) return -1;
            if (!d->file[i].train || record_in_fold(r)) continue;
            if (keys_add(&d->prompts, prompt) < 0) return -1;
        }
    }
    if (d->rows.n) qsort(d->rows.key, d->rows.n, sizeof *d->rows.key, compare_rows);
    if (d->prompts.n) qsort(d->prompts.key, d->prompts.n, sizeof *d->prompts.key, compare_rows);
    return 0;
}

// Rows of a file that stand twice, and rows that contradict each other.
typedef struct { Found again, against; } Repeats;

static int is_binary(const Dataset *data) {
    for (size_t i = 0; i < data->num_answers; i++) {
        if (!score_is_label(data->answer[i].score)) return 0;
    }
    return 1;
}

static void note_repeats(Doctor *d, const Repeats *r, const Dataset *data) {
    const Found *again = &r->again, *against = &r->against;
    if (again->count) {
        note(d, WARNING, data->path, again->line,
             "the same row as line %zu, and %zu more rows that stand twice; remove what was not "
             "meant twice",
             again->earlier, again->count - 1);
    }
    if (against->count && data->kind == DATA_PAIR) {
        note(d, TRAP, data->path, against->line,
             "the reverse of the pair on line %zu, and %zu more such pairs; decide for one of the "
             "two, or remove both",
             against->earlier, against->count - 1);
    }
    if (against->count && data->kind == DATA_POINT) {
        note(d, is_binary(data) ? TRAP : WARNING, data->path, against->line,
             "the same text as on line %zu has another label, and %zu more such texts; decide for "
             "one label, or remove both",
             against->earlier, against->count - 1);
    }
}

// Sorted keys of the same row are neighbours.  repeats (num_files) is zero before.
static void examine_repeats(Doctor *d, Repeats *repeats) {
    Found shared = {0};           // rows that stand in two training files
    int shared_file = 0;          // where the first of them stands
    for (size_t k = 1; k < d->rows.n; k++) {
        const Key *a = &d->rows.key[k-1], *b = &d->rows.key[k];
        if (a->hash != b->hash) continue;
        if (a->file != b->file) {
            if (!d->file[a->file].train || !d->file[b->file].train) continue;
            if (!shared.count) shared_file = b->file;
            found(&shared, b->line);
        } else if (a->side < b->side || a->side > b->side) {
            found_again(&repeats[b->file].against, b->line, a->line);
        } else {
            found_again(&repeats[b->file].again, b->line, a->line);
        }
    }
    for (int i = 0; i < d->num_files; i++) note_repeats(d, &repeats[i], &d->file[i].whole);
    if (shared.count) {
        note(d, WARNING, d->file[shared_file].whole.path, shared.line,
             "the row, or its reverse, also stands in another training file, and %zu more; remove "
             "what was not meant twice",
             shared.count - 1);
    }
}

// The first of the sorted keys that has this hash, or NULL.
static const Key *first_key(const Keys *keys, uint64_t hash) {
    size_t low = 0, high = keys->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keys->key[middle].hash < hash) low = middle + 1;
        else high = middle;
    }
    if (low == keys->n || keys->key[low].hash != hash) return NULL;
    return &keys->key[low];
}

// The prompts of a file to evaluate on that are trained on.
static void examine_leak(Doctor *d, const Dataset *data) {
    Found leak = {0};
    const Key *from = NULL;
    for (size_t k = 0; k < data->num_records; k++) {
        const Record *r = &data->record[k];
        const Key *trained = first_key(&d->prompts, r->prompt_id);
        if (!trained) continue;
        if (!from) from = trained;
        found(&leak, r->line);
    }
    if (from) {
        note(d, TRAP, data->path, leak.line,
             "the prompt is trained on (%s:%zu), as in %zu of %zu rows; remove these prompts from "
             "one of the two files",
             d->file[from->file].whole.path, from->line, leak.count, data->num_records);
    }
}

static int examine_across(Doctor *d) {
    if (collect_keys(d) < 0) return -1;
    Repeats *repeats = allocate((size_t)d->num_files, sizeof *repeats);
    if (!repeats) return -1;
    examine_repeats(d, repeats);
    free(repeats);
    for (int i = 0; i < d->num_files; i++) {
        if (!d->file[i].train) examine_leak(d, &d->file[i].whole);
    }
    return 0;
}

// ---------------------------------------------------------------------------- tokenizer and config

// Does the tokenizer's own post-processor put a token before a text?
static int puts_bos(const Json *json, int part) {
    const int list = json_get(json, part, "processors");
    for (int i = json_first(json, list); i >= 0; i = json_next(json, i)) {
        if (puts_bos(json, i)) return 1;
    }
    const int first = json_first(json, json_get(json, part, "single"));
    return json_get(json, first, "SpecialToken") >= 0;
}

static int exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

// A file that may be absent: 1 if it is there and can be read as JSON.
static int load_json(Json *json, const char *path) {
    return exists(path) && json_load(json, path) == 0;
}

/* What other programs make of texts by this folder: do they put a BOS before them (d->adds_bos), do
 * they apply a chat template?  0, or -1 after fail().                                            */
static int read_habits(Doctor *d, const char *tokenizer_file, int *chat) {
    char settings[PATH_SIZE], template_[PATH_SIZE];
    Json json = {0};
    if (path_join(settings, d->dir, "tokenizer_config.json") < 0) return -1;
    if (path_join(template_, d->dir, "chat_template.jinja") < 0) return -1;
    *chat = exists(template_);
    if (load_json(&json, tokenizer_file)) {
        d->adds_bos = puts_bos(&json, json_get(&json, 0, "post_processor"));
    }
    if (load_json(&json, settings)) {
        if (json_type(&json, json_get(&json, 0, "add_bos_token")) == JSON_TRUE) d->adds_bos = 1;
        if (json_type(&json, json_get(&json, 0, "chat_template")) > JSON_NULL) *chat = 1;
    }
    json_free(&json);
    return 0;
}

static const char *eos_use(const Doctor *d) {
    if (of_documents(d)) return "ends a document, is trained";
    if (!d->objective->reward) return "after each answer, is trained";
    if (reward_at_end(d)) return "after each answer, the reward is read from it";
    return "not used";
}

static void show_tokenizer(const Doctor *d, const char *tokenizer_file) {
    const Tokenizer *t = &d->tokenizer;
    const Token *model = d->model, *own = d->own;
    printf("%s\n    %d pieces, the model has room for %d; a text is encoded as it stands%s\n",
           tokenizer_file, t->vocab_size, d->config.vocab_size,
           t->nfc ? ", not in normal form C" : "");
    printf("    bos  config.json %d %s, tokenizer %d %s; %s\n", model[BOS].id, model[BOS].text,
           own[BOS].id, own[BOS].text,
           of_documents(d) ? "a document begins with the eos" : "not put before a text");
    printf("    eos  config.json %d %s, tokenizer %d %s; %s\n", model[EOS].id, model[EOS].text,
           own[EOS].id, own[EOS].text, eos_use(d));
    printf("    pad  config.json %d %s; never in a micro-batch: texts are packed without padding\n",
           model[PAD].id, model[PAD].text);
}

// A pad that is the end of text hides it from programs that leave pad out.
static void note_pad(Doctor *d, const char *config) {
    const Token *pad = &d->model[PAD], *better = &d->own[PAD];
    if (pad->id < 0) {
        note(d, WARNING, config, 0,
             "no \"pad_token_id\", which other programs need for batches; set it to a token that "
             "never occurs in a text%s%s",
             better->id >= 0 ? ", such as " : "", better->text);
        return;
    }
    if (pad->id != d->model[EOS].id && pad->id != d->own[EOS].id) return;

    enum Sort sort = TRAP;
    const char *harm = "which is trained: programs that mask pad never learn to stop";
    if (reward_at_end(d)) {
        harm = "from which the reward is read: programs that skip pad read another token";
    } else if (d->objective->reward) {
        harm = "which is harmless with this pooling";
        sort = WARNING;
    }
    const int other = better->id >= 0 && better->id != pad->id;
    note(d, sort, config, 0,
         "pad is the eos, %d %s, %s; set \"pad_token_id\" to a token that never occurs in a "
         "text%s%s",
         pad->id, pad->text, harm, other ? ", such as " : "", other ? better->text : "");
}

static int examine_tokenizer(Doctor *d, const char *tokenizer_file) {
    const Tokenizer *t = &d->tokenizer;
    const Config *c = &d->config;
    const Token *own = d->own;
    char config[PATH_SIZE], settings[PATH_SIZE];
    int chat;
    if (path_join(config, d->dir, "config.json") < 0) return -1;
    if (path_join(settings, d->dir, "tokenizer_config.json") < 0) return -1;
    if (read_habits(d, tokenizer_file, &chat) < 0) return -1;
    show_tokenizer(d, tokenizer_file);
    if (lacks_end(d)) {
        note(d, TRAP, config, 0,
             "\"eos_token_id\" names no added token of the tokenizer; set it to the id of the one "
             "that ends a text");
    }
    if (t->vocab_size > c->vocab_size) {
        note(d, TRAP, tokenizer_file, 0,
             "%d pieces, but the model has %d; take the tokenizer the model was trained with",
             t->vocab_size, c->vocab_size);
    }
    note_pad(d, config);
    if (d->adds_bos) {
        note(d, WARNING, tokenizer_file, 0,
             "other programs put %s before a text, training here does not; expect other scores "
             "there, or switch it off",
             *own[BOS].text ? own[BOS].text : "a BOS");
    }
    if (chat) {
        note(d, WARNING, settings, 0,
             "the folder's chat template is not applied: messages become Human: and Assistant: "
             "turns; for the other form give rows of strings");
    }
    return 0;
}

// --------------------------------------------------------------------------------- memory and time

// What model c takes with micro-batches of T token rows.
static double gib(const Config *c, int T, Purpose purpose) {
    return (double)model_bytes(c, T, c->reward ? T : 1, purpose) / 1073741824.0;
}

// Of this machine; 0: not known.
static double machine_gib(void) {
#ifdef _SC_PHYS_PAGES
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1073741824.0;
#else
    return 0;
#endif
}

static void show_memory(const Config *c) {
    enum { SIZES = 3, LINES = 3 };
    static const int T[SIZES] = {1024, 4096, 16384};
    static const struct { const char *name; Purpose purpose; } line[LINES] = {
        {.name = "training", .purpose = TRAINING},
        {.name = "training with --recompute", .purpose = RECOMPUTING},
        {.name = "scoring", .purpose = SCORING},
    };
    printf("\nmemory in GiB                     ");
    for (int k = 0; k < SIZES; k++) printf("%9d", T[k]);
    printf("  rows at a time (--micro_batch_tokens)\n");
    for (int i = 0; i < LINES; i++) {
        printf("    %-30s", line[i].name);
        for (int k = 0; k < SIZES; k++) printf("%9.2f", gib(c, T[k], line[i].purpose));
        printf("\n");
    }
}

// Token rows of a data row.
static int rows_of(const Doctor *d, const Dataset *data, const Record *r) {
    if (of_documents(d)) return document_rows(data, r);
    return record_rows(data, r, d->config.pooling);
}

// Token rows of one epoch; for reward models smaller sets are resampled to the largest.
static double epoch_rows(const Doctor *d) {
    double rows = 0;
    size_t largest = 0;
    for (int i = 0; i < d->num_files; i++) {
        const size_t n = d->file[i].seen.num_records;
        if (d->file[i].train && n > largest) largest = n;
    }
    for (int i = 0; i < d->num_files; i++) {
        const Dataset *data = &d->file[i].seen;
        const size_t n = data->num_records;
        if (!d->file[i].train || !n) continue;
        double once = 0;
        for (size_t k = 0; k < n; k++) once += rows_of(d, data, &data->record[k]);
        const double times = d->objective->reward ? (double)largest / (double)n : 1;
        rows += times * once;
    }
    return rows;
}

// The first data rows of a file, as many as fit into 1024 token rows, but at least one.
static int pack_first(const Doctor *d, Pack *p, const Dataset *data) {
    const int limit = opt.micro_batch_tokens < 1024 ? opt.micro_batch_tokens : 1024;
    const int eos = d->tokenizer.eos, windows = of_documents(d);
    for (size_t i = 0; i < data->num_records; i++) {
        const Record *r = &data->record[i];
        int more = rows_of(d, data, r);
        if (windows && more > opt.max_length) more = opt.max_length;
        if (p->T && p->T + more > limit) break;
        const int result = windows ? pack_window(p, data, r, 0, opt.max_length, eos)
                                   : pack_record(p, data, r, d->config.pooling, eos);
        if (result < 0) return -1;
    }
    return 0;
}

// Forward and backward; *loss is the mean of -log p of a target.  logp and dlogp are (T).
static int compute_tokens(Model *m, const Batch *b, float *dlogp, float *logp, double *loss) {
    double N = 0;
    for (int i = 0; i < b->T; i++) N += b->target[i] >= 0;
    model_forward(m, b);
    lm_coefficients(dlogp, b->target, b->T, N);
    if (model_backward(m, b, NULL, dlogp, logp) < 0) return -1;
    *loss = lm_loss(logp, b->T, N);
    return 0;
}

// Forward and backward; *loss is the mean Bradley-Terry loss of a pair.  reward, dreward are (B).
static int compute_pairs(Model *m, const Batch *b, float *dreward, float *reward, double *loss) {
    const float weight = 2 / (float)b->B;
    model_forward(m, b);
    model_rewards(m, b, reward, NULL);
    *loss = 0;
    for (int j = 0; j < b->B; j += 2) {
        *loss += reward_bt_loss(&dreward[j], &dreward[j+1], &reward[j], &reward[j+1], &weight, NULL,
                                1);
    }
    return model_backward(m, b, dreward, NULL, NULL);
}

// A micro-batch that was timed: its token rows, the time, its loss.
typedef struct {
    int rows;
    double seconds, loss;
} Timing;

// 0, or -1 after fail().
static int time_batch(const Doctor *d, Model *m, const Dataset *data, Timing *x) {
    Pack p = {0};
    float *dvalue = NULL, *value = NULL;
    int result = -1;
    if (pack_first(d, &p, data) < 0) goto done;
    const Batch b = pack_batch(&p);
    assert(b.B >= 0 && b.B <= b.T);

    // room for gradients, activations and one number a token row
    m->recompute = opt.recompute;
    if (model_init_training(m) < 0) goto done;
    if (model_reserve(m, b.T, b.B ? b.B : 1) < 0) goto done;
    dvalue = allocate((size_t)b.T, sizeof *dvalue);
    value = allocate((size_t)b.T, sizeof *value);
    if (!dvalue || !value) goto done;

    const double start = now();
    result = d->objective->reward ? compute_pairs(m, &b, dvalue, value, &x->loss)
                                  : compute_tokens(m, &b, dvalue, value, &x->loss);
    x->seconds = now() - start;
    x->rows = b.T;
done:
    pack_free(&p);
    free(dvalue);
    free(value);
    return result;
}

static void show_time(const Doctor *d, const Timing *x, double rows) {
    const double speed = x->rows / x->seconds, epoch = rows / speed;
    printf("    estimate, from one micro-batch of %d rows in %.3g s, threads %d, without updates%s:"
           "\n", x->rows, x->seconds, kernels_threads(),
           d->objective->reference ? " and the reference" : "");
    printf("    %.0f tokens/s, %.0f:%02.0f:%02.0f an epoch; the loss there is %.4f%s\n", speed,
           floor(epoch / 3600), floor(fmod(epoch, 3600) / 60), floor(fmod(epoch, 60)), x->loss,
           d->objective->reward ? " (0.6931 from a zero head)" : " a token");
}

// The first file whose rows can be computed.
static const Dataset *timed_file(const Doctor *d) {
    for (int i = 0; i < d->num_files; i++) {
        const File *f = &d->file[i];
        if (f->train && f->seen.num_records && !f->wrong_kind) return &f->seen;
    }
    return NULL;
}

static int measure_time(const Doctor *d, const Config *c, const Dataset *data, double rows) {
    const int kind = c->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    Model m = {0};
    Timing x = {0};
    int result = -1;
    if (checkpoint_load(&m, d->dir, kind) < 0) goto done;
    m.config.pooling = c->pooling;
    if (time_batch(d, &m, data, &x) < 0) goto done;
    if (x.seconds > 0) show_time(d, &x, rows);
    result = 0;
done:
    model_free(&m);
    return result;
}

// Memory for several sizes of micro-batches; the time of one, where the model fits.
static int estimate_costs(Doctor *d) {
    const Dataset *data = timed_file(d);
    Config c = d->config;
    c.reward = d->objective->reward;
    show_memory(&c);
    const double rows = epoch_rows(d), machine = machine_gib();
    const double need = gib(&c, opt.micro_batch_tokens, opt.recompute ? RECOMPUTING : TRAINING);
    const int too_large = machine > 0 && need > machine;
    printf("    one epoch is %.0f rows of tokens\n", rows);
    if (too_large) {
        note(d, WARNING, d->dir, 0,
             "training takes %.1f GiB at --micro_batch_tokens %d, the machine has %.1f; lower it, "
             "or use --recompute",
             need, opt.micro_batch_tokens, machine);
    }
    if (!data || lacks_end(d) || d->tokenizer.vocab_size > c.vocab_size || too_large) {
        printf("    no time is measured, because of what follows\n");
        return 0;
    }
    return measure_time(d, &c, data, rows);
}

// ------------------------------------------------------------------------------------- the command

// Reads f->spec whole and cut.  A kind of data that the objective does not take is a trap.
static int load_file(Doctor *d, File *f, const DataOptions *options) {
    DataOptions whole = *options, cut = *options;
    whole.max_length = 0;
    whole.max_prompt_length = 0;
    whole.bad_row = bad_row_known;
    whole.none_left = cut.none_left = 1;
    if (of_documents(d)) {                                 // windows cut instead
        cut.max_length = 0;
        cut.max_prompt_length = 0;
        cut.plain_text = whole.plain_text = ONE_DOCUMENT;
    }
    cut.bad_row = bad_row_found;
    cut.to = f;
    f->doctor = d;
    if (dataset_load(&f->whole, f->spec, &d->tokenizer, &whole) < 0) return -1;
    if (dataset_load(&f->seen, f->spec, &d->tokenizer, &cut) < 0) return -1;
    for (size_t i = 0; f->train && i < f->seen.num_records; i++) {
        f->in_fold += (size_t)record_in_fold(&f->seen.record[i]);
    }

    if (!f->seen.rows) return 0;
    if (objective_takes(d->objective, &f->seen, f->train ? FOR_TRAIN : FOR_EVAL) == 0) return 0;
    char why[sizeof error_text];
    snprintf(why, sizeof why, "%s", error_text);
    fail(EX_DATAERR, "%.900s; for %s convert it, or choose another --objective", why,
         d->objective->name);
    trap_error(d, "");
    f->wrong_kind = 1;
    return 0;
}

/* Policies: what training does with rows once they are read.  It leaves out the fold, picks what is
 * imitated and takes numbers as labels or scores.  0, or -1 after fail().                        */
static int settle_policy(Doctor *d) {
    Run run = {.objective = d->objective, .num_train = opt.train.n, .num_eval = opt.eval.n};
    const int n = d->num_files;
    run.data = allocate((size_t)n + (size_t)run.num_train, sizeof *run.data);
    if (!run.data) return -1;
    for (int i = 0; i < n; i++) run.data[i] = d->file[i].seen;
    int result = run_open(&run);
    if (result == 0) result = policy_data(&run);
    for (int i = 0; i < n; i++) d->file[i].seen = run.data[i];
    policy_close(&run);
    free(run.data);
    return result;
}

// Reward models: the plan of training leaves out the fold.  0, or -1 after fail().
static int settle_rewards(Doctor *d) {
    for (int i = 0; i < opt.train.n; i++) {
        if (dataset_keep_fold(&d->file[i].seen, 0) < 0) return -1;
    }
    return 0;
}

// Leaves the rows that training computes.  An error at which it would stop is a trap.
static int settle_rows(Doctor *d) {
    if (of_documents(d)) return 0;
    for (int i = 0; i < d->num_files; i++) {
        if (d->file[i].wrong_kind || !d->file[i].seen.num_records) return 0;
    }
    const int result = d->objective->reward ? settle_rewards(d) : settle_policy(d);
    if (result == 0 || error_code == EX_OSERR) return result;
    trap_error(d, "; training stops there");
    return 0;
}

static const char *legend(const Objective *o, Pooling pooling) {
    if (!o->reward) return "* is trained: a target of the loss";
    if (pooling == POOL_MEAN) return "^ the reward is read from the mean of these";
    if (pooling == POOL_EOS) return "^ the reward is read here, at the end";
    return "^ the reward is read here, at the last token";
}

// The model's shape, its tokenizer, the files.  0, or -1 after fail().
static int load_all(Doctor *d, const char *tokenizer_file, const DataOptions *options) {
    if (config_load(&d->config, d->dir) < 0) return -1;
    if (tokenizer_load(&d->tokenizer, tokenizer_file) < 0) return -1;
    if (specials_find(&d->tokenizer, &d->config, d->dir, tokenizer_file) < 0) return -1;
    const Config *c = &d->config;
    const Tokenizer *t = &d->tokenizer;
    if (opt.max_length > c->max_positions) {
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    c->max_positions);
    }

    const int model[NUM_SPECIALS] = {[BOS] = c->bos, [EOS] = c->eos, [PAD] = c->pad};
    const int own[NUM_SPECIALS] = {[BOS] = t->bos, [EOS] = t->eos, [PAD] = t->pad};
    for (int k = 0; k < NUM_SPECIALS; k++) {
        d->model[k] = token_of(t, model[k]);
        d->own[k] = token_of(t, own[k]);
    }

    for (int i = 0; i < d->num_files; i++) {
        File *f = &d->file[i];
        f->train = i < opt.train.n;
        f->spec = f->train ? opt.train.item[i] : opt.eval.item[i - opt.train.n];
        if (load_file(d, f, options) < 0) return -1;
    }
    return settle_rows(d);
}

static int diagnose(Doctor *d, const char *tokenizer_file, const DataOptions *options) {
    if (load_all(d, tokenizer_file, options) < 0) return -1;
    if (opt.pooling >= 0) d->config.pooling = (Pooling)opt.pooling;
    if (!d->objective->reward) d->config.pooling = POOL_LAST;     // the end is a target, not a row
    printf("objective %s; in rows: id\"piece\", %s\n", d->objective->name,
           legend(d->objective, d->config.pooling));
    if (examine_tokenizer(d, tokenizer_file) < 0) return -1;
    for (int i = 0; i < d->num_files; i++) {
        if (examine_file(d, &d->file[i]) < 0) return -1;
    }
    if (examine_across(d) < 0) return -1;
    if (estimate_costs(d) < 0) return -1;
    return d->failed ? -1 : 0;
}

static int refuse_standard_input(const List *files) {
    for (int i = 0; i < files->n; i++) {
        if (!strcmp(files->item[i], "-")) {
            return fail(EX_USAGE, "-: doctor reads a file twice; give a file, not standard input");
        }
    }
    return 0;
}

// Its name, by the first training file that has a row that can be read; NULL after fail().
const char *doctor_objective(const char *tokenizer_file, const DataOptions *options) {
    static const char *const by_kind[] = {
        [DATA_DOCUMENT] = "lm",
        [DATA_PROMPT] = "reward",
        [DATA_COMPLETION] = "sft",
        [DATA_PAIR] = "reward",
        [DATA_RANKING] = "reward",
        [DATA_POINT] = "pointwise-dpo",
    };
    const char *name = NULL;
    DataOptions o = *options;
    Tokenizer t = {0};
    o.bad_row = bad_row_known;
    o.none_left = 1;
    o.over_length = OVER_TRUNCATE;
    o.plain_text = ONE_DOCUMENT;
    if (refuse_standard_input(&opt.train) < 0) goto done;
    if (tokenizer_load(&t, tokenizer_file) < 0) goto done;
    for (int i = 0; !name && i < opt.train.n; i++) {
        Dataset data;
        if (dataset_load(&data, opt.train.item[i], &t, &o) < 0) goto done;
        if (data.rows) name = by_kind[data.kind];
        dataset_free(&data);
    }
    if (!name) name = "reward";
done:
    tokenizer_free(&t);
    return name;
}

// 0, or -1 after fail(): with exit code 1 if there is a trap.
int doctor_report(const char *dir, const char *tokenizer_file, const DataOptions *options,
                  const Objective *objective) {
    Doctor d = {.dir = dir, .objective = objective};
    const Notes *traps = &d.notes[TRAP], *warnings = &d.notes[WARNING];
    if (refuse_standard_input(&opt.train) < 0 || refuse_standard_input(&opt.eval) < 0) return -1;
    d.num_files = opt.train.n + opt.eval.n;
    d.file = allocate((size_t)d.num_files, sizeof *d.file);
    if (!d.file) return -1;

    int result = diagnose(&d, tokenizer_file, options);
    if (traps->count + warnings->count) printf("\n");
    if (traps->lines.len) printf("%s", traps->lines.data);
    if (warnings->lines.len) printf("%s", warnings->lines.data);
    if (result == 0) {
        printf("\ntraps: %d, warnings: %d\n", traps->count, warnings->count);
        if (traps->count) {
            result = fail(1, "traps: %d; see the lines that begin with \"trap:\"", traps->count);
        }
    }

    for (int i = 0; i < d.num_files; i++) {
        dataset_free(&d.file[i].whole);
        dataset_free(&d.file[i].seen);
    }
    for (int k = 0; k < NUM_SORTS; k++) buffer_free(&d.notes[k].lines);
    tokenizer_free(&d.tokenizer);
    free(d.file);
    free(d.rows.key);
    free(d.prompts.key);
    return result;
}
#endif

/* doctor.c - what training would really see: the tokens of the first rows, what is cut and dropped, labels,
 * repeats, leaks, special tokens, memory and time; then the traps, in which a run goes wrong without an
 * error, and the warnings.
 *
 * Each file is read twice: whole, and as training cuts it.  What is shown of a row is what batch.c packs.
 * Output is for people, 100 columns: a trap or a warning is a line, FILE:LINE: what; what to do about it.  */
#ifndef DOCTOR_C
#define DOCTOR_C
#include "../policy.c"

typedef struct { Buffer text; int count; } Notes;                     // lines of one sort
typedef struct {
    const char *spec;
    int train;                                                        // or a file to evaluate on
    Dataset whole, seen;                                              // nothing cut; as training cuts it
    Notes *traps;                                                     // for bad_row_found
    int wrong_kind;
} File;
typedef struct { uint64_t hash; int file; double side; size_t line; } Key;     // of a row, to find it again

typedef struct {
    const Objective *objective;
    const char *name, *dir;                                           // of the objective; of the model
    Config config;
    Tokenizer tokenizer;
    int adds_bos;                                       // do other programs put one before a text
    File *file;
    int num_files;
    Key *row, *prompt;                                                // all rows'; the training rows' prompts
    size_t num_rows, row_capacity, num_prompts, prompt_capacity;
    Notes traps, warnings;
    int failed;                                                       // out of memory
} Doctor;
enum { SHOWN_BAD_ROWS = 5, WIDTH = 100, INDENT = 12 };

// A trap or a warning about a file (line 0: all of it).
PRINTF_LIKE(5, 6) static void note(Doctor *d, Notes *to, const char *path, size_t line,
                                   const char *format, ...) {
    char what[1024], where[32] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (line) snprintf(where, sizeof where, ":%zu", line);
    to->count++;
    const char *sort = to == &d->traps ? "trap" : "warning";
    d->failed |= buffer_printf(&to->text, "%s: %s%s: %s\n", sort, path, where, what) < 0;
}

// An error at which training stops: error_text says where and why, and perhaps what to do.
static int trap_error(Notes *traps, const char *remedy) {
    traps->count++;
    return buffer_printf(&traps->text, "trap: %s%s\n", error_text, strchr(error_text, ';') ? "" : remedy);
}
static void bad_row_found(void *to) {
    File *f = to;
    if (f->seen.bad > SHOWN_BAD_ROWS) return;                         // the dataset being read counts them
    trap_error(f->traps, "; repair or remove the row: training stops at it");
}
static void bad_row_known(void *to) { (void)to; }

// ------------------------------------------------------------------------------------------ tokens of a row

// A piece as tokenize quotes it, until the fourth call from now; "" where there is no such token.
static const char *quoted(const Tokenizer *t, int id) {
    static char text[4][512];
    static int next;
    Buffer bytes = {0}, out = {0};
    char *to = text[next++ % 4];
    *to = 0;
    if (id >= 0 && id < t->vocab_size && tokenizer_decode(t, &id, 1, &bytes) == 0
        && json_quote(&out, bytes.data, bytes.len) == 0) snprintf(to, sizeof *text, "%s", out.data);
    buffer_free(&bytes), buffer_free(&out);
    return to;
}

// Prints a token as id"piece" and its marks, on a new line when this one is full.
static void show_token(const Tokenizer *t, int id, const char *marks, int *column) {
    Buffer bytes = {0}, word = {0};
    if (buffer_printf(&word, "%d", id) < 0 || tokenizer_decode(t, &id, 1, &bytes) < 0
        || json_quote(&word, bytes.data, bytes.len) < 0 || buffer_printf(&word, "%s", marks) < 0) {
        buffer_free(&bytes), buffer_free(&word);
        return;
    }
    int width = code_points(word.data, word.len);
    if (*column + 1 + width > WIDTH) printf("\n%*s", INDENT, ""), *column = INDENT;
    printf(" %s", word.data);
    *column += 1 + width;
    buffer_free(&bytes), buffer_free(&word);
}
static int show_name(const char *name) {
    printf("    %-*s", INDENT - 4, name);
    return INDENT;
}

static const char *answer_name(enum DataKind kind, int i) {
    static char name[24];
    if (kind == DATA_PAIR) return i ? "rejected" : "chosen";
    if (kind == DATA_DOCUMENT) return "text";
    if (kind != DATA_RANKING) return "answer";
    snprintf(name, sizeof name, "answer %d", i + 1);
    return name;
}

// The windows of a document: each token after the first is a target once.
static int show_document(const Doctor *d, const Dataset *data, const Record *r) {
    Pack p = {0};
    int column = show_name("document"), ok = 1, rows = document_rows(data, r), last = -1;
    for (int w = 0; ok && w < rows; w += opt.max_length) {
        pack_clear(&p);
        ok = pack_window(&p, data, r, w, opt.max_length, d->tokenizer.eos) == 0;
        for (int i = 0; ok && i < p.T; i++) show_token(&d->tokenizer, p.token[i], w + i ? "*" : "", &column);
        if (ok) last = p.target[p.T - 1];
    }
    if (ok) show_token(&d->tokenizer, last, "*", &column);
    printf("\n");
    pack_free(&p);
    return ok ? 0 : -1;
}

/* A prompt and its answers: the rows before the first answer's are the prompt's, its last token among them.
 * A token is trained where the row before it has it as target: not the first of a text without a prompt, not
 * the end after an answer that was cut.                                                                    */
static int show_record(const Doctor *d, const Dataset *data, const Record *r) {
    const Tokenizer *t = &d->tokenizer;
    const Pooling pooling = d->config.pooling;
    const int scores = d->objective->reward, mean = pooling == POOL_MEAN;
    Pack p = {0};
    int ok = pack_record(&p, data, r, pooling, t->eos) == 0, column;
    if (ok && r->prompt.len) {
        column = show_name("prompt");
        for (int i = 0; i < p.text[0].first; i++) show_token(t, p.token[i], "", &column);
        printf("\n");
    }
    for (int b = 0; ok && b < p.B; b++) {
        const Text *x = &p.text[b];
        const Segment *s = &p.seg[b + (r->prompt.len > 1)];
        const int end = s->start + s->len;
        column = show_name(answer_name(data->kind, b));
        for (int i = x->first; i < end; i++) {
            const int read = scores && (mean ? i < x->first + x->len : i == x->pooled);
            const int trained = !scores && i > s->start && p.target[i-1] >= 0;
            show_token(t, p.token[i], read ? "^" : trained ? "*" : "", &column);
        }
        if (!scores && p.target[end-1] >= 0) show_token(t, p.target[end-1], "*", &column);
        printf("\n");
    }
    pack_free(&p);
    return ok ? 0 : -1;
}

// The record of the whole file that stands on r's line; *at goes on from call to call.
static const Record *whole_record(const Dataset *whole, const Record *r, size_t *at) {
    const Record *w = whole->record, *found = NULL;
    while (*at < whole->num_records && w[*at].line_start < r->line_start) ++*at;
    if (*at < whole->num_records && w[*at].line_start == r->line_start) found = &w[*at];
    return found;
}

static int show_rows(const Doctor *d, const File *f) {
    const Dataset *seen = &f->seen;
    int ok = 1;
    for (size_t i = 0, at = 0; ok && i < seen->num_records && i < (size_t)opt.rows; i++) {
        const Record *r = &seen->record[i], *w = whole_record(&f->whole, r, &at);
        printf("  line %zu", r->line);
        int cut = w ? w->prompt.len - r->prompt.len : 0;
        if (cut) printf("; the first %d of %d prompt tokens are cut", cut, w->prompt.len);
        for (int k = 0; w && k < r->count; k++) {
            int all = f->whole.answer[w->first + k].tokens.len;
            cut = all - seen->answer[r->first + k].tokens.len;
            if (cut) printf("; %s: the last %d of %d are cut", answer_name(seen->kind, k), cut, all);
        }
        if (seen->kind == DATA_POINT) printf("; label %g", (double)seen->answer[r->first].score);
        if (r->margin < 0 || r->margin > 0) printf("; margin %g", (double)r->margin);
        if (r->weight < 1 || r->weight > 1) printf("; weight %g", (double)r->weight);
        printf("\n");
        ok = (d->objective->windows ? show_document(d, seen, r) : show_record(d, seen, r)) == 0;
    }
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------------ a file's numbers

static const int *span_tokens(const Dataset *data, Span s) { return data->token + s.start; }

// min, quantiles and max of the lengths of prompts (which -1) or of answers number `which` of each row
static int show_lengths(const char *name, const Dataset *data, int which) {
    static const double level[] = {0, .25, .5, .75, .95, 1};
    size_t n = 0;
    double *x = allocate(data->num_records, sizeof *x);
    if (!x) return -1;
    for (size_t i = 0; i < data->num_records; i++) {
        const Record *r = &data->record[i];
        if (which < r->count) x[n++] = which < 0 ? r->prompt.len : data->answer[r->first + which].tokens.len;
    }
    qsort(x, n, sizeof *x, compare_double);
    printf("    %-20s", name);
    for (size_t k = 0; n && k < sizeof level / sizeof *level; k++)
        printf("%9.0f", quantile(x, (int)n, level[k]));
    printf("\n");
    free(x);
    return 0;
}

static int is_blank(const Buffer *b) {
    for (size_t i = 0; i < b->len; i++) if (!isspace((unsigned char)b->data[i])) return 0;
    return 1;
}

// How often something was seen in a file, and on which line first; for repeats also the earlier line.
typedef struct { size_t count, line, of; } Seen;
static void saw_twice(Seen *s, size_t line, size_t of) {
    if (line < of) saw_twice(s, of, line);
    else if (!s->count++ || line < s->line) s->line = line, s->of = of;
}
static void saw(Seen *s, size_t line) { saw_twice(s, line, 0); }

// Labels of points, length of chosen answers, answers that became equal or a single token by cutting.
static void examine_seen(Doctor *d, const File *f) {
    const Dataset *data = &f->seen;
    Seen equal = {0, 0, 0}, gone = {0, 0, 0};
    double low = HUGE_VAL, high = -HUGE_VAL, sum = 0, longer = 0;
    size_t ones = 0, zeros = 0, n = data->num_records;
    for (size_t i = 0, at = 0; i < n; i++) {
        const Record *r = &data->record[i], *w = whole_record(&f->whole, r, &at);
        const Answer *a = &data->answer[r->first];
        for (int k = 0; w && k < r->count; k++)
            if (a[k].tokens.len <= 1 && f->whole.answer[w->first + k].tokens.len > 1) {
                saw(&gone, r->line);
                break;
            }
        if (data->kind == DATA_PAIR) {
            longer += a[0].chars > a[1].chars ? 1 : a[0].chars == a[1].chars ? 0.5 : 0;
            if (dataset_same_tokens(data, a[0].tokens, a[1].tokens)) saw(&equal, r->line);
        }
        if (data->kind != DATA_POINT) continue;
        double y = a->score;
        low = y < low ? y : low, high = y > high ? y : high, sum += y;
        ones += y == 1, zeros += y == 0;
    }
    if (data->kind == DATA_PAIR && n) {
        printf("    the longer answer is chosen in %.1f %% of pairs\n", 100 * longer / (double)n);
        if (n >= 20 && longer / (double)n > 0.65)
            note(d, &d->warnings, data->path, 0, "the longer answer is chosen in %.0f %% of pairs; length "
                 "alone may be learned: compare with the row \"longer answer wins\" of more eval", 100 *
                 longer / (double)n);
    }
    if (data->kind == DATA_POINT && n) {
        if (ones + zeros == n) printf("    labels: %zu true, %zu false\n", ones, zeros);
        else printf("    scores: from %g to %g, mean %g\n", low, high, sum / (double)n);
        if (low == high && d->objective->data == POINTS)
            note(d, &d->traps, data->path, 0, "all %zu rows have the label %g; add rows of the other "
                 "class, or train sft on the good ones", n, low);
    }
    if (equal.count)
        note(d, equal.count * 100 > n ? &d->traps : &d->warnings, data->path, equal.line, "chosen and "
             "rejected are the same after the cut, here and in %zu more of %zu pairs; raise --max_length "
             "or use --over_length drop", equal.count - 1, n);
    if (gone.count)
        note(d, &d->traps, data->path, gone.line, "of an answer only one token is left, here and in %zu "
             "more rows; raise --max_length or lower --max_prompt_length", gone.count - 1);
}

// How many times a text begins with the token id, written out.
static int leading(const Tokenizer *t, const Buffer *text, int id) {
    if (id < 0 || id >= t->vocab_size) return 0;
    size_t at = 0, len = tokenizer_piece_len(t, id);
    while (text->len - at >= len && !memcmp(text->data + at, tokenizer_piece(t, id), len)) at += len;
    return (int)(at / len);
}

// Special tokens written out in texts, blank sides, empty prompts, texts with two BOS.
static int examine_texts(Doctor *d, const File *f) {
    const Dataset *data = &f->whole;
    const Tokenizer *t = &d->tokenizer;
    const int bos = d->config.bos >= 0 ? d->config.bos : t->bos;
    const int own[3] = {d->config.bos, d->config.eos, d->config.pad};
    static const char *const own_name[3] = {"bos", "eos", "pad"};
    Seen blank = {0, 0, 0}, no_prompt = {0, 0, 0}, two = {0, 0, 0}, middle = {0, 0, 0}, used[3] = {{0, 0, 0}};
    Seen *special = allocate((size_t)t->vocab_size, sizeof *special);
    Buffer text = {0};
    int ok = special != NULL, added = d->adds_bos || (d->objective->windows && bos == t->eos);
    for (size_t i = 0; ok && i < data->num_records; i++) {
        const Record *r = &data->record[i];
        if (!r->prompt.len && data->kind != DATA_DOCUMENT) saw(&no_prompt, r->line);
        for (int k = -1; ok && k < r->count; k++) {
            Span s = k < 0 ? r->prompt : data->answer[r->first + k].tokens;
            text.len = 0;
            const int *token = span_tokens(data, s);
            ok = buffer_append(&text, "", 0) == 0 && tokenizer_decode(t, token, (size_t)s.len, &text) == 0;
            if (!ok) break;
            int first = k < 0 || !r->prompt.len, begins = leading(t, &text, bos);
            if (k >= 0 && is_blank(&text)) saw(&blank, r->line);
            if (first && begins && begins + added > 1) saw(&two, r->line);
            if (!first && begins) saw(&middle, r->line);
            for (size_t at = 0; at < text.len; ) {
                int id = tokenizer_special_at(t, text.data + at, text.len - at);
                if (id >= 0) saw(&special[id], r->line);
                at += id < 0 ? 1 : tokenizer_piece_len(t, id);
            }
            for (int p = 0; p < s.len; p++)
                for (int o = 0; o < 3; o++) if (token[p] == own[o]) saw(&used[o], r->line);
        }
    }
    if (blank.count)
        note(d, &d->traps, data->path, blank.line, "an answer is only white space, here and in %zu more; "
             "remove such rows or complete them", blank.count - 1);
    if (no_prompt.count)
        note(d, &d->warnings, data->path, no_prompt.line, "the prompt is empty, here and in %zu more rows; "
             "give a \"prompt\", or whole texts that begin alike", no_prompt.count - 1);
    if (two.count)
        note(d, &d->traps, data->path, two.line, "two BOS: the text begins with %s, %s, here and in %zu "
             "more; remove it from the texts", quoted(t, bos), d->adds_bos ? "and other programs put one "
             "before it" : d->objective->windows ? "and training puts one before it" : "twice", two.count -
             1);
    if (middle.count)
        note(d, &d->traps, data->path, middle.line, "two BOS: an answer after a prompt begins with %s, "
             "here and in %zu more; remove it from the answers", quoted(t, bos), middle.count - 1);
    for (int id = 0; ok && id < t->vocab_size; id++)
        if (special[id].count)
            note(d, &d->warnings, data->path, special[id].line, "%s stands in texts %zu times; it is read "
                 "as plain text, by other programs as token %d: remove it", quoted(t, id), special[id].count,
                 id);
    for (int k = 0; k < 3; k++)
        if (used[k].count)
            note(d, &d->warnings, data->path, used[k].line, "token %d %s, the %s of config.json, occurs in "
                 "texts %zu times; set \"%s_token_id\" to one that does not", own[k], quoted(t, own[k]),
                 own_name[k], used[k].count, own_name[k]);
    free(special), buffer_free(&text);
    return ok ? 0 : -1;
}

static int examine_file(Doctor *d, File *f) {
    const Dataset *seen = &f->seen;
    printf("\n%s, to %s: %s data\n", seen->path, f->train ? "train on" : "evaluate on",
           seen->rows ? data_kind_name[seen->kind] : "no");
    const size_t unused = seen->rows - seen->dropped - seen->tied - seen->num_records;        // by sft
    printf("    %zu rows: %zu kept, of which %zu cut (%zu prompts, %zu answers); left out: %zu too long,"
           " %zu ties, %zu bad", seen->rows + seen->bad, seen->num_records, seen->truncated,
           seen->cut_prompts, seen->cut_answers, seen->dropped, seen->tied, seen->bad);
    if (unused) printf(", %zu with the label false", unused);
    printf("\n");
    if (seen->bad > SHOWN_BAD_ROWS)
        note(d, &d->traps, seen->path, 0, "%zu more bad rows; repair or remove them", seen->bad -
             SHOWN_BAD_ROWS);
    if (seen->rows && !seen->num_records)
        note(d, &d->traps, seen->path, 0, "nothing is left of %zu rows (%zu too long, %zu ties, %zu bad); "
             "raise --max_length or use --over_length truncate", seen->rows + seen->bad, seen->dropped,
             seen->tied, seen->bad);
    if (seen->tied)
        note(d, &d->warnings, seen->path, 0, "%zu of %zu rows are ties and are left out; remove them to "
             "silence this", seen->tied, seen->rows);
    size_t touched = seen->truncated + seen->dropped;
    if (seen->rows && touched * 10 > seen->rows)
        note(d, &d->warnings, seen->path, 0, "%.0f %% of rows are cut or dropped; raise --max_length and "
             "--max_prompt_length if memory allows", 100.0 * (double)touched / (double)seen->rows);
    if (f->whole.num_records) {
        printf("    tokens, nothing cut      min     25 %%     50 %%     75 %%     95 %%      max\n");
        enum DataKind kind = f->whole.kind;
        int sides = kind == DATA_PAIR ? 2 : kind != DATA_PROMPT;
        if (kind != DATA_DOCUMENT && show_lengths("prompt", &f->whole, -1) < 0) return -1;
        for (int k = 0; k < sides; k++)
            if (show_lengths(answer_name(kind, k), &f->whole, k) < 0) return -1;
    }
    examine_seen(d, f);
    if (examine_texts(d, f) < 0) return -1;
    return d->tokenizer.eos < 0 || f->wrong_kind ? 0 : show_rows(d, f);
}

// ----------------------------------------------------------------------- the same rows, prompts, pairs again

static int compare_rows(const void *x, const void *y) {
    const Key *a = x, *b = y;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->file != b->file) return a->file - b->file;
    if (a->side < b->side || a->side > b->side) return a->side < b->side ? -1 : 1;
    return a->line < b->line ? -1 : a->line > b->line;
}

// A row's key: prompt and answers, of a pair in either order; side is the order, or the label.
static Key row_key(const Dataset *data, const Record *r, int file) {
    Key k = {dataset_hash_tokens((uint64_t)data->kind, data, r->prompt), file, 0, r->line};
    const Answer *a = &data->answer[r->first];
    if (data->kind == DATA_PAIR) {
        uint64_t x = dataset_hash_tokens(0, data, a[0].tokens), y = dataset_hash_tokens(0, data, a[1].tokens);
        k.hash = random_mix(random_mix(k.hash ^ (x < y ? x : y)) ^ (x < y ? y : x));
        k.side = x < y;
        return k;
    }
    for (int i = 0; i < r->count; i++) k.hash = dataset_hash_tokens(k.hash, data, a[i].tokens);
    if (data->kind == DATA_POINT) k.side = a->score;
    return k;
}

static int is_binary(const Dataset *data) {
    for (size_t i = 0; i < data->num_answers; i++) if (!is_label(data->answer[i].score)) return 0;
    return 1;
}

typedef struct { Seen again, against; } Repeats;                  // rows that stand twice, that contradict

// Equal hashes stand next to each other once all rows' keys are sorted.
static void examine_repeats(Doctor *d, Repeats *repeats) {
    Seen shared = {0, 0, 0};
    int other = 0;
    for (size_t k = 1; k < d->num_rows; k++) {
        const Key *a = &d->row[k-1], *b = &d->row[k];
        Repeats *r = &repeats[b->file];
        if (a->hash != b->hash) continue;
        if (a->file != b->file) {
            if (!d->file[a->file].train || !d->file[b->file].train) continue;
            if (!shared.count) other = b->file;
            saw(&shared, b->line);
        } else if (a->side < b->side || a->side > b->side) {
            saw_twice(&r->against, b->line, a->line);
        } else {
            saw_twice(&r->again, b->line, a->line);
        }
    }
    for (int i = 0; i < d->num_files; i++) {
        const Dataset *data = &d->file[i].whole;
        const Repeats *r = &repeats[i];
        if (r->again.count)
            note(d, &d->warnings, data->path, r->again.line, "the same row as line %zu, and %zu more rows "
                 "that stand twice; remove what was not meant twice", r->again.of, r->again.count - 1);
        if (r->against.count && data->kind == DATA_PAIR)
            note(d, &d->traps, data->path, r->against.line, "the reverse of the pair on line %zu, and %zu "
                 "more such pairs; decide for one of the two, or remove both", r->against.of,
                 r->against.count - 1);
        if (r->against.count && data->kind == DATA_POINT)
            note(d, is_binary(data) ? &d->traps : &d->warnings, data->path, r->against.line, "the same "
                 "text as on line %zu has another label, and %zu more such texts; decide for one label, or "
                 "remove both", r->against.of, r->against.count - 1);
    }
    if (shared.count)
        note(d, &d->warnings, d->file[other].whole.path, shared.line, "the row, or its reverse, also "
             "stands in another training file, and %zu more; remove what was not meant twice", shared.count -
             1);
}

// The prompts of a file to evaluate on that are trained on.
static void examine_leak(Doctor *d, const Dataset *data) {
    Seen leak = {0, 0, 0};
    Key from = {0, 0, 0, 0};
    for (size_t k = 0; k < data->num_records; k++) {
        size_t low = 0, high = d->num_prompts;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (d->prompt[middle].hash < data->record[k].prompt_id) low = middle + 1;
            else high = middle;
        }
        if (low == d->num_prompts || d->prompt[low].hash != data->record[k].prompt_id) continue;
        if (!leak.count) from = d->prompt[low];
        saw(&leak, data->record[k].line);
    }
    if (leak.count)
        note(d, &d->traps, data->path, leak.line, "the prompt is trained on (%s:%zu), as in %zu of %zu "
             "rows; remove these prompts from one of the two files", d->file[from.file].whole.path,
             from.line, leak.count, data->num_records);
}

static int examine_across(Doctor *d) {
    Repeats *repeats = allocate((size_t)d->num_files, sizeof *repeats);
    int ok = repeats != NULL;
    for (int i = 0; ok && i < d->num_files; i++) {
        const Dataset *data = &d->file[i].whole;
        size_t n = data->num_records;
        ok = reserve(&d->row, &d->row_capacity, d->num_rows + n, sizeof *d->row) == 0
          && reserve(&d->prompt, &d->prompt_capacity, d->num_prompts + n, sizeof *d->prompt) == 0;
        for (size_t k = 0; ok && k < n; k++) {
            const Record *r = &data->record[k];
            d->row[d->num_rows++] = row_key(data, r, i);
            if (d->file[i].train) d->prompt[d->num_prompts++] = (Key){r->prompt_id, i, 0, r->line};
        }
    }
    if (ok && d->num_rows) qsort(d->row, d->num_rows, sizeof *d->row, compare_rows);
    if (ok && d->num_prompts) qsort(d->prompt, d->num_prompts, sizeof *d->prompt, compare_rows);
    if (ok) examine_repeats(d, repeats);
    for (int i = 0; ok && i < d->num_files; i++)
        if (!d->file[i].train) examine_leak(d, &d->file[i].whole);
    free(repeats);
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------ tokenizer and config

// Does the tokenizer's own post-processor put a token before a text, or tokenizer_config.json ask for that?
static int puts_bos(const Json *j, int part) {
    int list = json_get(j, part, "processors");
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) if (puts_bos(j, i)) return 1;
    return json_get(j, json_first(j, json_get(j, part, "single")), "SpecialToken") >= 0;
}

// A file that may be absent; 1 if it is there and can be read as JSON.
static int load_json(Json *j, const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && json_load(j, path) == 0;
}

static int examine_tokenizer(Doctor *d, const char *tokenizer_file) {
    const Tokenizer *t = &d->tokenizer;
    const Config *c = &d->config;
    char path[PATH_SIZE], config[PATH_SIZE], jinja[PATH_SIZE];
    struct stat st;
    Json j = {0};
    if (path_join(path, d->dir, "tokenizer_config.json") < 0 || path_join(config, d->dir, "config.json") < 0
        || path_join(jinja, d->dir, "chat_template.jinja") < 0) return -1;
    int chat = stat(jinja, &st) == 0;
    if (load_json(&j, tokenizer_file)) d->adds_bos = puts_bos(&j, json_get(&j, 0, "post_processor"));
    if (load_json(&j, path)) {
        d->adds_bos |= json_type(&j, json_get(&j, 0, "add_bos_token")) == JSON_TRUE;
        chat |= json_type(&j, json_get(&j, 0, "chat_template")) > JSON_NULL;
    }
    json_free(&j);
    int end_row = d->objective->reward && c->pooling == POOL_EOS, eos_used = !d->objective->reward || end_row;
    const char *bos_use = d->objective->windows ? "a document begins with the eos" : "not put before a text";
    const char *eos_use = d->objective->windows ? "ends a document, is trained"
                        : !d->objective->reward ? "after each answer, is trained"
                        : end_row ? "after each answer, the reward is read from it" : "not used";
    printf("%s\n    %d pieces, the model has room for %d; a text is encoded as it stands%s\n", tokenizer_file,
           t->vocab_size, c->vocab_size, t->nfc ? ", not in normal form C" : "");
    printf("    bos  config.json %d %s, tokenizer %d %s; %s\n", c->bos, quoted(t, c->bos), t->bos,
           quoted(t, t->bos), bos_use);
    printf("    eos  config.json %d %s, tokenizer %d %s; %s\n", c->eos, quoted(t, c->eos), t->eos,
           quoted(t, t->eos), eos_use);
    printf("    pad  config.json %d %s; never in a micro-batch: texts are packed without padding\n", c->pad,
           quoted(t, c->pad));
    if (t->eos < 0)
        note(d, &d->traps, tokenizer_file, 0, "no end-of-text token (</s>, <|end_of_text|>, <|endoftext|>, "
             "<|im_end|>); add one to its added_tokens");
    if (t->vocab_size > c->vocab_size)
        note(d, &d->traps, tokenizer_file, 0, "%d pieces, but the model has %d; take the tokenizer the "
             "model was trained with", t->vocab_size, c->vocab_size);
    if (c->pad < 0)
        note(d, &d->warnings, config, 0, "no \"pad_token_id\", which other programs need for batches; set "
             "it to a token that never occurs in a text%s%s", t->pad >= 0 ? ", such as " : "", quoted(t,
             t->pad));
    else if (c->pad == c->eos || c->pad == t->eos) {
        const char *harm = !eos_used ? "which is harmless with this pooling"
            : !d->objective->reward ? "which is trained: programs that mask pad never learn to stop"
            : "from which the reward is read: programs that skip pad read another token";
        const int other = t->pad >= 0 && t->pad != c->pad;
        note(d, eos_used ? &d->traps : &d->warnings, config, 0, "pad is the eos, %d %s, %s; set "
             "\"pad_token_id\" to a token that never occurs in a text%s%s", c->pad, quoted(t, c->pad), harm,
             other ? ", such as " : "", other ? quoted(t, t->pad) : "");
    }
    if (c->eos >= 0 && t->eos >= 0 && c->eos != t->eos)
        note(d, &d->warnings, config, 0, "eos is %d %s, but training uses %d %s; make them one where it "
             "matters", c->eos, quoted(t, c->eos), t->eos, quoted(t, t->eos));
    if (d->adds_bos)
        note(d, &d->warnings, tokenizer_file, 0, "other programs put %s before a text, training here does "
             "not; expect other scores there, or switch it off", *quoted(t, t->bos) ? quoted(t, t->bos) :
             "a BOS");
    if (chat)
        note(d, &d->warnings, path, 0, "the folder's chat template is not applied: messages become Human: "
             "and Assistant: turns; for the other form give rows of strings");
    return 0;
}

// ------------------------------------------------------------------------------------------- memory and time

static double gib(const Config *c, int T, int reward, Purpose purpose) {
    return (double)model_bytes(c, T, reward ? T : 1, purpose) / 1073741824.0;
}

static void show_memory(const Config *c) {
    static const int T[] = {1024, 4096, 16384};
    static const struct { const char *name; Purpose purpose; } line[] = {
        {"training", TRAINING}, {"training with --recompute", RECOMPUTING}, {"scoring", SCORING}};
    printf("\nmemory in GiB                     ");
    for (int k = 0; k < 3; k++) printf("%9d", T[k]);
    printf("  rows at a time (--micro_batch_tokens)\n");
    for (int i = 0; i < 3; i++) {
        printf("    %-30s", line[i].name);
        for (int k = 0; k < 3; k++) printf("%9.2f", gib(c, T[k], c->reward, line[i].purpose));
        printf("\n");
    }
}

static double file_rows(const Doctor *d, const Dataset *data) {
    double rows = 0;
    for (size_t i = 0; i < data->num_records; i++)
        rows += d->objective->windows ? document_rows(data, &data->record[i])
              : record_rows(data, &data->record[i], d->config.pooling);
    return rows;
}

// Rows of one epoch: for reward models smaller sets are resampled to the largest.
static double epoch_rows(const Doctor *d) {
    double rows = 0;
    size_t largest = 0;
    for (int i = 0; i < d->num_files; i++)
        if (d->file[i].train && d->file[i].seen.num_records > largest) largest = d->file[i].seen.num_records;
    for (int i = 0; i < d->num_files; i++) {
        const Dataset *data = &d->file[i].seen;
        if (!d->file[i].train || !data->num_records) continue;
        double times = d->objective->reward ? (double)largest / (double)data->num_records : 1;
        rows += times * file_rows(d, data);
    }
    return rows;
}

/* One micro-batch of the first file, forward and backward, as training computes it.  *loss is the mean of
 * -log p of a target, or of a pair's Bradley-Terry loss. 0, or -1 after fail().                            */
static int time_batch(const Doctor *d, Model *m, const Dataset *data, int *rows, double *seconds,
                      double *loss) {
    const int eos = d->tokenizer.eos, limit = opt.micro_batch_tokens < 1024 ? opt.micro_batch_tokens : 1024;
    const Pooling pooling = d->config.pooling;
    Pack p = {0};
    float *coef = NULL, *value = NULL;
    int ok = 1;
    for (size_t i = 0; ok && i < data->num_records; i++) {
        const Record *r = &data->record[i];
        int more = d->objective->windows ? document_rows(data, r) : record_rows(data, r, pooling);
        if (d->objective->windows && more > opt.max_length) more = opt.max_length;
        if (p.T && p.T + more > limit) break;
        ok = (d->objective->windows ? pack_window(&p, data, r, 0, opt.max_length, eos)
                                   : pack_record(&p, data, r, pooling, eos)) == 0;
    }
    Batch b = pack_batch(&p);
    assert(b.B >= 0 && b.B <= b.T);
    m->recompute = opt.recompute;
    ok = ok && model_init_training(m) == 0 && model_reserve(m, b.T, b.B ? b.B : 1) == 0
      && (coef = allocate((size_t)b.T, sizeof *coef)) && (value = allocate((size_t)b.T, sizeof *value));
    double start = now();
    if (ok) model_forward(m, &b);
    if (ok && !d->objective->reward) {
        double N = 0;
        for (int i = 0; i < b.T; i++) N += b.target[i] >= 0;
        lm_coefficients(coef, b.target, b.T, N);
        ok = model_backward(m, &b, NULL, coef, value) == 0;
        if (ok) *loss = lm_loss(value, b.T, N);
    } else if (ok) {
        float one = 2 / (float)b.B;
        model_rewards(m, &b, value, NULL);
        *loss = 0;
        for (int j = 0; j < b.B; j += 2)
            *loss += reward_bt_loss(coef + j, coef + j + 1, value + j, value + j + 1, &one, NULL, 1);
        ok = model_backward(m, &b, coef, NULL, NULL) == 0;
    }
    *seconds = now() - start;
    *rows = b.T;
    pack_free(&p), free(coef), free(value);
    return ok ? 0 : -1;
}

static int doctor_estimate(Doctor *d) {
    const Dataset *data = NULL;
    Config c = d->config;
    Model m = {0};
    double rows = epoch_rows(d), seconds = 0, loss = 0, machine = 0;
    int measured = 0;
    c.reward = d->objective->reward;
    show_memory(&c);
#ifdef _SC_PHYS_PAGES
    machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1073741824.0;
#endif
    printf("    one epoch is %.0f rows of tokens\n", rows);
    double need = gib(&c, opt.micro_batch_tokens, c.reward, opt.recompute ? RECOMPUTING : TRAINING);
    if (machine > 0 && need > machine)
        note(d, &d->warnings, d->dir, 0, "training takes %.1f GiB at --micro_batch_tokens %d, the machine "
             "has %.1f; lower it, or use --recompute", need, opt.micro_batch_tokens, machine);
    for (int i = d->num_files - 1; i >= 0; i--) {
        const File *f = &d->file[i];
        if (f->train && f->seen.num_records && !f->wrong_kind) data = &f->seen;
    }
    if (!data || d->tokenizer.eos < 0 || d->tokenizer.vocab_size > c.vocab_size
        || (machine > 0 && need > machine)) {
        printf("    no time is measured, because of what follows\n");
        return 0;
    }
    int ok = checkpoint_load(&m, d->dir, c.reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL) == 0;
    if (ok) m.config.pooling = c.pooling;
    ok = ok && time_batch(d, &m, data, &measured, &seconds, &loss) == 0;
    if (ok && seconds > 0) {
        double speed = measured / seconds, epoch = rows / speed;
        printf("    estimate, from one micro-batch of %d rows in %.3g s, threads %d, without updates%s:\n",
               measured, seconds, kernels_threads(), d->objective->reference ? " and the reference" : "");
        printf("    %.0f tokens/s, %.0f:%02.0f:%02.0f an epoch; the loss there is %.4f%s\n", speed,
               floor(epoch / 3600), floor(fmod(epoch, 3600) / 60), floor(fmod(epoch, 60)), loss,
               c.reward ? " (0.6931 from a zero head)" : " a token");
    }
    model_free(&m);
    return ok ? 0 : -1;
}

// ----------------------------------------------------------------------------------------------- the command

static int load_file(Doctor *d, File *f, const DataOptions *options) {
    DataOptions o = *options, whole;
    f->traps = &d->traps;
    if (d->objective->windows) o.max_length = o.max_prompt_length = 0;                 // windows instead
    if (opt.over_length < 0) o.over_length = d->objective->data ? OVER_DROP : OVER_TRUNCATE;
    o.to = f, o.bad_row = bad_row_found;
    whole = o;
    whole.bad_row = bad_row_known, whole.max_length = whole.max_prompt_length = 0;
    if (dataset_load(&f->whole, f->spec, &d->tokenizer, &whole) < 0) return -1;
    if (dataset_load(&f->seen, f->spec, &d->tokenizer, &o) < 0) return -1;
    if (!f->seen.rows || objective_takes(d->objective, &f->seen, f->train ? FOR_TRAIN : FOR_EVAL) == 0)
        return 0;
    f->wrong_kind = 1;
    char what[sizeof error_text];
    snprintf(what, sizeof what, "%s", error_text);
    return fail(EX_DATAERR, "%.900s; for %s convert it, or choose another --objective", what, d->name),
           trap_error(&d->traps, "");
}

// What training does with rows once they are read: picks what is imitated, takes numbers as labels or scores.
static int settle_rows(Doctor *d) {
    Run run = {.objective = d->objective, .num_train = opt.train.n, .num_eval = opt.eval.n};
    const int n = d->num_files;
    for (int i = 0; i < n; i++) if (d->file[i].wrong_kind || !d->file[i].seen.num_records) return 0;
    if (!(run.data = allocate((size_t)n + (size_t)run.num_train, sizeof *run.data))) return -1;
    for (int i = 0; i < n; i++) run.data[i] = d->file[i].seen;
    int bad = policy_data(&run) < 0;
    if (bad && error_code != EX_OSERR) bad = trap_error(&d->traps, "; training stops there") < 0;
    for (int i = 0; i < n; i++) d->file[i].seen = run.data[i];
    for (int i = n; i < n + run.num_train; i++) free(run.data[i].record), free(run.data[i].answer);
    free(run.data);
    return -bad;
}

static const char *legend(const Objective *o, Pooling pooling) {
    if (!o->reward) return "* is trained: a target of the loss";
    if (pooling == POOL_MEAN) return "^ the reward is read from the mean of these";
    return pooling == POOL_EOS ? "^ the reward is read here, at the end"
                               : "^ the reward is read here, at the last token";
}

static int diagnose(Doctor *d, const char *tokenizer_file, const DataOptions *o) {
    if (checkpoint_config(&d->config, d->dir) < 0) return -1;
    if (tokenizer_load(&d->tokenizer, tokenizer_file) < 0) return -1;
    if (opt.max_length > d->config.max_positions)
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    d->config.max_positions);
    for (int i = 0; i < d->num_files; i++) {
        File *f = &d->file[i];
        f->train = i < opt.train.n;
        f->spec = f->train ? opt.train.item[i] : opt.eval.item[i - opt.train.n];
        if (load_file(d, f, o) < 0) return -1;
    }
    if (d->objective->data && settle_rows(d) < 0) return -1;
    if (opt.pooling >= 0) d->config.pooling = (Pooling)opt.pooling;
    if (!d->objective->reward) d->config.pooling = POOL_LAST;        // no row for the end: a target only
    printf("objective %s; in rows: id\"piece\", %s\n", d->name, legend(d->objective, d->config.pooling));
    if (examine_tokenizer(d, tokenizer_file) < 0) return -1;
    for (int i = 0; i < d->num_files; i++) if (examine_file(d, &d->file[i]) < 0) return -1;
    return examine_across(d) < 0 || doctor_estimate(d) < 0 || d->failed ? -1 : 0;
}

static int refuse_standard_input(const List *files) {
    for (int i = 0; i < files->n; i++)
        if (!strcmp(files->item[i], "-"))
            return fail(EX_USAGE, "-: doctor reads a file twice; give a file, not standard input");
    return 0;
}

// What the first training file that has a row that can be read is for; NULL after fail().
const char *doctor_objective(const char *tokenizer_file, const DataOptions *options) {
    static const char *const by_kind[] = {
        [DATA_DOCUMENT] = "lm", [DATA_PROMPT] = "reward", [DATA_COMPLETION] = "sft", [DATA_PAIR] = "reward",
        [DATA_RANKING] = "reward", [DATA_POINT] = "pointwise-dpo"};
    const char *name = NULL;
    DataOptions o = *options;
    Tokenizer t = {0};
    o.bad_row = bad_row_known, o.over_length = OVER_TRUNCATE;
    int ok = refuse_standard_input(&opt.train) == 0 && tokenizer_load(&t, tokenizer_file) == 0;
    for (int i = 0; ok && !name && i < opt.train.n; i++) {
        Dataset d;
        if (!(ok = dataset_load(&d, opt.train.item[i], &t, &o) == 0)) break;
        if (d.rows) name = by_kind[d.kind];
        dataset_free(&d);
    }
    tokenizer_free(&t);
    return ok && !name ? "reward" : name;
}

// The whole report on standard output. 0, or -1 after fail(): exit code 1 if there is a trap.
int doctor_report(const char *dir, const char *tokenizer_file, const DataOptions *o, const char *name,
                  const Objective *objective) {
    Doctor d = {.dir = dir, .name = name, .objective = objective, .num_files = opt.train.n + opt.eval.n};
    if (refuse_standard_input(&opt.train) < 0 || refuse_standard_input(&opt.eval) < 0) return -1;
    int ok = (d.file = allocate((size_t)d.num_files, sizeof *d.file)) != NULL
          && diagnose(&d, tokenizer_file, o) == 0;
    if (d.traps.count + d.warnings.count) printf("\n");
    if (d.traps.text.len) printf("%.*s", (int)d.traps.text.len, d.traps.text.data);
    if (d.warnings.count) printf("%s", d.warnings.text.data);
    if (ok) printf("\ntraps: %d, warnings: %d\n", d.traps.count, d.warnings.count);
    if (ok && d.traps.count)
        ok = fail(1, "traps: %d; see the lines that begin with \"trap:\"", d.traps.count) == 0;
    for (int i = 0; d.file && i < d.num_files; i++)
        dataset_free(&d.file[i].whole), dataset_free(&d.file[i].seen);
    buffer_free(&d.traps.text), buffer_free(&d.warnings.text);
    tokenizer_free(&d.tokenizer);
    free(d.file), free(d.row), free(d.prompt);
    return ok ? 0 : -1;
}
#endif

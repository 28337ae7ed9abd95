/* diagnose.c - what makes a run go wrong without an error, in data, tokenizer and model folder:
 * traps, in which a run trains on something else than its user thinks, and warnings. `doctor`
 * shows them all beside what training sees; `train` says those that change its results, and
 * stops at a trap.
 *
 *     diagnose_folder      special tokens of config.json and of the tokenizer, habits of others
 *     diagnose_file        a file's cuts, lengths, labels and texts
 *     diagnose_across      rows that stand twice or contradict, prompts trained and evaluated on
 *
 * A note is one line, FILE:LINE: what; what to do about it.  */
#ifndef DIAGNOSE_C
#define DIAGNOSE_C
#include "setup.c"
#include "../specials.c"

enum {
    SHOWN_BAD_ROWS = 5,           // of each file; the others are counted
    PIECE_TEXT = 512,             // room for a token's piece in quotes
};

enum Special { BOS, EOS, PAD, NUM_SPECIALS };
static const char *const special_name[NUM_SPECIALS] = {[BOS] = "bos", [EOS] = "eos", [PAD] = "pad"};

typedef struct {
    int id;                       // -1: there is none
    char text[PIECE_TEXT];        // its piece in quotes; "" where the tokenizer has no such token
} Token;

/* A trap: the run is not what its user thinks. A warning changes its results; advice does not,
 * or not for certain: doctor alone gives it, as a warning.  */
enum Sort { TRAP, WARNING, ADVICE, NUM_SORTS };
static const char *const sort_name[NUM_SORTS] = {
    [TRAP] = "trap", [WARNING] = "warning", [ADVICE] = "warning"};

// All notes of a sort.
typedef struct {
    Buffer lines;
    int count;
} Notes;

// A data row, or its prompt, by what it says.
typedef struct {
    uint64_t hash;                // of prompt and answers, or of the prompt alone
    int file;                     // Diagnosis.file[file]
    double side;                  // which order a pair has, which label a point
    size_t line;
} Key;

typedef struct {
    Key *key;
    size_t n, capacity;
} Keys;

typedef struct {
    struct Diagnosis *of;         // whose traps bad_row_found adds to
    const char *spec;
    int train;                    // 1: a file to train on, 0: to evaluate on
    Dataset whole;                // nothing cut; in train the same as seen
    Dataset seen;                 // as training cuts and keeps it
    int wrong_kind;               // yes: the objective does not take it
    size_t in_fold;               // rows that training leaves out for --fold
} File;

typedef struct Diagnosis {
    const Objective *objective;
    const char *dir;              // the model's folder
    Config config;
    Tokenizer tokenizer;
    Token model[NUM_SPECIALS];    // special tokens as config.json names them
    Token own[NUM_SPECIALS];      // special tokens as the tokenizer names them
    int adds_bos;                 // yes: other programs put a BOS before a text
    Chat chat;                    // the form that messages are rendered in
    File *file;                   // the files to train on, then those to evaluate on
    int num_files;
    Keys rows;                    // all rows of all files
    Keys prompts;                 // of the rows that are trained on
    Buffer plan;                  // of training, a line (plan_report)
    Notes notes[NUM_SORTS];
    int failed;                   // yes: a note found no memory
} Diagnosis;

// Rows that settling a file left out: for the fold, and because they are not imitated.
typedef struct {
    size_t in_fold, not_imitated;
} Unused;

// The numbers of points.
typedef struct {
    double low, high, mean;
    size_t ones, zeros;
} Labels;

void diagnosis_init(Diagnosis *d, const char *dir, const Objective *o);
void diagnosis_free(Diagnosis *d);
void diagnosis_specials(Diagnosis *d);
PRINTF_LIKE(5, 6) void note(Diagnosis *d, enum Sort sort, const char *path, size_t line,
                            const char *format, ...);
void note_error(Diagnosis *d, enum Sort sort, const char *remedy);
void bad_row_found(void *to, const Dataset *data);
void bad_row_known(void *to, const Dataset *data);

int    diagnose_folder(Diagnosis *d, const char *tokenizer_file);
int    diagnose_file(Diagnosis *d, const File *f);
int    diagnose_across(Diagnosis *d);
int    diagnose_run(const Run *run, const char *dir);

Token  token_of(const Tokenizer *t, int id);
int    of_documents(const Diagnosis *d);
int    reward_at_end(const Diagnosis *d);
int    lacks_end(const Diagnosis *d);
int    first_side(const Dataset *seen, const Record *r);
const Record *whole_record(const Dataset *whole, const Record *r, size_t *at);
Unused rows_unused(const File *f);
double longer_share(const Dataset *seen);
Labels count_labels(const Dataset *seen);

// Is a language model trained, on documents that are cut into windows?
int of_documents(const Diagnosis *d) { return d->objective->data == DOCUMENTS; }

// ------------------------------------------------------------------------------------------- notes

// A trap or a warning about a line of a file, or about all of it (line 0).
void note(Diagnosis *d, enum Sort sort, const char *path, size_t line, const char *format, ...) {
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
void note_error(Diagnosis *d, enum Sort sort, const char *remedy) {
    Notes *to = &d->notes[sort];
    const char *rest = strchr(error_text, ';') ? "" : remedy;
    to->count++;
    if (buffer_printf(&to->lines, "%s: %s%s\n", sort_name[sort], error_text, rest) < 0) {
        d->failed = 1;
    }
}

// At a bad row training stops, or leaves it out.
static enum Sort sort_of_bad_rows(void) {
    return opt.bad_rows == BAD_ROWS_DROP ? WARNING : TRAP;
}

// DataOptions.bad_row of the file as training reads it, and of all other times it is read.
void bad_row_found(void *to, const Dataset *data) {
    File *f = to;
    if (data->bad > SHOWN_BAD_ROWS) return;
    note_error(f->of, sort_of_bad_rows(), "; repair or remove the row, or say --bad_rows drop");
}
void bad_row_known(void *to, const Dataset *data) {
    (void)to;
    (void)data;
}

// How often something was found in a file, and on which line first; of repeats also the one
// before.
typedef struct {
    size_t count, line, earlier;
} Found;

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

// The folder dir and the objective; tokenizer, config and files are the caller's to set.
void diagnosis_init(Diagnosis *d, const char *dir, const Objective *o) {
    *d = (Diagnosis){.dir = dir, .objective = o};
}

// The special tokens of config and tokenizer, which are set.
void diagnosis_specials(Diagnosis *d) {
    const Config *c = &d->config;
    const Tokenizer *t = &d->tokenizer;
    const int model[NUM_SPECIALS] = {[BOS] = c->bos, [EOS] = c->eos, [PAD] = c->pad};
    const int own[NUM_SPECIALS] = {[BOS] = t->bos, [EOS] = t->eos, [PAD] = t->pad};
    for (int k = 0; k < NUM_SPECIALS; k++) {
        d->model[k] = token_of(t, model[k]);
        d->own[k] = token_of(t, own[k]);
    }
    template_choose(&d->chat, &d->tokenizer, opt.template_);
}

// Frees what the diagnosis made; tokenizer, config and files are the caller's.
void diagnosis_free(Diagnosis *d) {
    for (int k = 0; k < NUM_SORTS; k++) buffer_free(&d->notes[k].lines);
    buffer_free(&d->plan);
    free(d->rows.key);
    free(d->prompts.key);
}

Token token_of(const Tokenizer *t, int id) {
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

/* The side of a pair that r's first answer is: where one side is imitated (--sft_on) the record
 * has that answer alone. In a file of pairs each row has two answers, so its number tells.  */
int first_side(const Dataset *seen, const Record *r) {
    return seen->kind == DATA_PAIR ? r->first % 2 : 0;
}

// The record of the whole file that stands on r's line, or NULL; *at goes on from call to call.
const Record *whole_record(const Dataset *whole, const Record *r, size_t *at) {
    while (*at < whole->num_records && whole->record[*at].line_start < r->line_start) ++*at;
    if (*at == whole->num_records || r->part) return NULL;
    const Record *w = &whole->record[*at];
    return w->line_start == r->line_start ? w : NULL;
}

static const int *span_tokens(const Dataset *data, Span s) { return data->token + s.start; }

// ------------------------------------------------------------------------------ a file's numbers

// How many rows are cut and left out.
Unused rows_unused(const File *f) {
    const Dataset *seen = &f->seen;
    const size_t all = seen->rows + seen->parts - seen->dropped - seen->tied
        - seen->num_records;
    const size_t in_fold = all < f->in_fold ? all : f->in_fold;
    return (Unused){.in_fold = in_fold, .not_imitated = all - in_fold};
}

static void note_counts(Diagnosis *d, const File *f) {
    const Dataset *seen = &f->seen;
    const size_t rows = seen->rows + seen->bad, touched = seen->truncated + seen->dropped;
    const Unused unused = rows_unused(f);
    if (seen->bad > SHOWN_BAD_ROWS) {
        note(d, sort_of_bad_rows(), seen->path, 0, "%zu more bad rows; repair or remove them",
             seen->bad - SHOWN_BAD_ROWS);
    }
    if (seen->rows && !seen->num_records && !unused.in_fold && !unused.not_imitated) {
        note(d, TRAP, seen->path, 0,
             "nothing is left of %zu rows (%zu too long, %zu ties, %zu bad); raise --max_length "
             "or use --over_length truncate",
             rows, seen->dropped, seen->tied, seen->bad);
    }
    if (seen->tied) {
        note(d, ADVICE, seen->path, 0,
             "%zu of %zu rows are ties and are left out; remove them to silence this",
             seen->tied, seen->rows);
    }
    const size_t all = seen->rows + seen->parts;
    if (all && touched * 10 > all) {
        note(d, WARNING, seen->path, 0,
             "%.0f %% of rows are cut or dropped; raise --max_length and --max_prompt_length if "
             "memory allows",
             100.0 * (double)touched / (double)all);
    }
}

// Pairs of which the row itself says that the rejected answer is better.
static void note_contrary(Diagnosis *d, const Dataset *seen) {
    if (!seen->contrary) return;
    note(d, WARNING, seen->path, seen->contrary_line,
         "the row says that the rejected answer is the better one (%s), as do %zu of %zu pairs; "
         "exchange chosen and rejected, or remove such rows",
         seen->contrary_by, seen->contrary, seen->rows);
}

// Rows of whole texts that differ before their last turn.  A reward is that of the whole text.
static void note_early(Diagnosis *d, const Dataset *seen) {
    if (!seen->with_user) return;
    note(d, d->objective->reward ? ADVICE : WARNING, seen->path, seen->with_user_line,
         "the texts differ before their last turn, as in %zu of %zu rows: what the user says after "
         "that counts as part of the answers; end the texts with the first turn that differs",
         seen->with_user, seen->rows);
}

// In what share of pairs is the longer answer chosen?  Equally long ones count half.
double longer_share(const Dataset *seen) {
    double longer = 0;
    for (size_t i = 0; i < seen->num_records; i++) {
        const Record *r = &seen->record[i];
        const Answer *chosen = &seen->answer[r->first - first_side(seen, r)];
        const Answer *rejected = chosen + 1;
        if (chosen->chars > rejected->chars) longer += 1;
        if (chosen->chars == rejected->chars) longer += 0.5;
    }
    return longer / (double)seen->num_records;
}

static void note_lengths(Diagnosis *d, const Dataset *seen) {
    const double longer = longer_share(seen);
    if (seen->num_records >= 20 && longer > 0.65) {
        note(d, ADVICE, seen->path, 0,
             "the longer answer is chosen in %.0f %% of pairs; length alone may be learned: "
             "compare with the row \"longer answer wins\" of more eval",
             100 * longer);
    }
}

Labels count_labels(const Dataset *seen) {
    Labels x = {.low = HUGE_VAL, .high = -HUGE_VAL};
    double sum = 0;
    for (size_t i = 0; i < seen->num_records; i++) {
        const double y = seen->answer[seen->record[i].first].score;
        if (y < x.low) x.low = y;
        if (y > x.high) x.high = y;
        sum += y;
        x.ones += y == 1;
        x.zeros += y == 0;
    }
    x.mean = sum / (double)seen->num_records;
    return x;
}

/* One class, or classes of very different size. KTO's authors ask for weights that keep
 * desirable_weight n_true / (undesirable_weight n_false) between 1 and 4/3 (Ethayarajh et al.
 * 2024).  */
static void note_labels(Diagnosis *d, const Dataset *seen) {
    const Labels x = count_labels(seen);
    const double n_true = (double)x.ones, n_false = (double)x.zeros;
    const int imitation_alone = d->objective->imitates && x.low == 1;
    if (d->objective->data != POINTS) return;
    if (x.low == x.high && !imitation_alone) {
        note(d, TRAP, seen->path, 0,
             "all %zu rows have the label %g; add rows of the other class, or train sft on the "
             "good ones",
             seen->num_records, x.low);
    }
    if (!d->objective->mismatched || !x.ones || !x.zeros) return;
    const double weighted_true = opt.loss.desirable_weight * n_true;
    const double weighted_false = opt.loss.undesirable_weight * n_false;
    const double ratio = weighted_true / weighted_false;
    if (ratio >= 1 && ratio <= 4 / 3.0) return;
    note(d, WARNING, seen->path, 0,
         "%zu true and %zu false labels: weighted %.3g to 1, where 1 to 1.33 is advised; balance "
         "them with --desirable_weight %.3g or --undesirable_weight %.3g",
         x.ones, x.zeros, ratio, weighted_false / n_true, weighted_true / n_false);
}

// Answers that became equal, or a single token, by cutting.
static void note_cut(Diagnosis *d, const File *f) {
    const Dataset *seen = &f->seen;
    const size_t n = seen->num_records;
    Found equal = {0}, gone = {0};
    for (const Record *r = seen->record; r < seen->record + n; r++) {
        const Answer *a = &seen->answer[r->first], *pair = a - first_side(seen, r);
        if (seen->kind == DATA_PAIR && dataset_same_tokens(seen, pair[0].tokens, pair[1].tokens)) {
            found(&equal, r->line);
        }
        for (int k = 0; k < r->count; k++) {
            if (a[k].tokens.len > 1 || !a[k].cut) continue;
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
    Found blank_end;              // a prompt that ends in a space
    Found run_together;           // a prompt and an answer that make one word
    Found prompt_again;           // an answer that begins with its prompt
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
    if (len == 0) return 0;                               // an id without a piece
    while (text->len - at >= len && !memcmp(text->data + at, bytes, len)) at += len;
    return (int)(at / len);
}

// The model's BOS, or the tokenizer's where config.json names none.
static const Token *bos_of(const Diagnosis *d) {
    return d->model[BOS].id >= 0 ? &d->model[BOS] : &d->own[BOS];
}

// Is the end of text, which training puts before a document, the BOS?
static int training_adds_bos(const Diagnosis *d) {
    return of_documents(d) && bos_of(d)->id == d->tokenizer.eos;
}

// A prompt or an answer: its tokens, what they decode to, its row's line, whether it begins a
// text.
static void find_faults(const Diagnosis *d, Faults *x, const int *token, int n, const Buffer *text,
                        size_t line, int begins_text) {
    const Tokenizer *t = &d->tokenizer;
    const int by_template = d->chat.form && d->chat.form->end;        // has written some of them
    const int bos = by_template ? 0 : leading(t, text, bos_of(d)->id);
    const int added = d->adds_bos || training_adds_bos(d);
    if (begins_text && bos && bos + added > 1) found(&x->two_bos, line);
    if (!begins_text && bos) found(&x->later_bos, line);

    // special tokens as strings, which encoding never looks for
    for (size_t at = 0; at < text->len && !by_template; ) {
        const int id = tokenizer_special_at(t, text->data + at, text->len - at);
        if (id >= 0) found(&x->written[id], line);
        at += id < 0 ? 1 : tokenizer_piece_len(t, id);
    }

    // special tokens that the text's own characters became
    for (int i = 0; i < n && !by_template; i++) {
        for (int k = 0; k < NUM_SPECIALS; k++) {
            if (token[i] == d->model[k].id) found(&x->own[k], line);
        }
    }
}

// Is the character at s a letter or a digit of a script with spaces between words?  Chinese,
// Japanese and Thai, which have none, have characters of three bytes.
static int is_of_spaced_word(const char *s) {
    const unsigned char c = (unsigned char)*s;
    return isalnum(c) || (c >= 0xc3 && c < 0xe0);
}

// Where a prompt and an answer meet.
static void find_seam(Faults *x, const Buffer *prompt, const Buffer *answer, size_t line) {
    enum { PHRASE = 16 };                                 // bytes; a shorter prompt may be echoed
    if (!prompt->len || !answer->len) return;
    if (prompt->len >= PHRASE && answer->len >= prompt->len
        && !memcmp(answer->data, prompt->data, prompt->len)) {
        found(&x->prompt_again, line);
    }
    const char *last = prompt->data + prompt->len - 1;
    if (*last == ' ' || *last == '\t') found(&x->blank_end, line);
    while (last > prompt->data && ((unsigned char)*last & 0xc0) == 0x80) last--;
    if (is_of_spaced_word(last) && is_of_spaced_word(answer->data)) found(&x->run_together, line);
}

// 0, or -1 after fail().
static int find_all_faults(const Diagnosis *d, Faults *x, const Dataset *data) {
    Buffer text = {0}, prompt = {0};
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
            if (k < 0) {
                prompt.len = 0;
                if (buffer_append(&prompt, text.data, text.len) < 0) goto done;
            }
            if (k == 0) find_seam(x, &prompt, &text, r->line);
        }
    }
    result = 0;
done:
    buffer_free(&text);
    buffer_free(&prompt);
    return result;
}

static void note_faults(Diagnosis *d, const Faults *x, const Dataset *data) {
    const Token *bos = bos_of(d);
    const char *path = data->path;
    const size_t rows = data->num_records;
    if (x->run_together.count * 2 > rows) {
        note(d, WARNING, path, x->run_together.line,
             "prompt and answer make one word, as in %zu of %zu rows; begin the answers with a "
             "space or a new line, or say --template turns",
             x->run_together.count, rows);
    }
    if (x->prompt_again.count * 2 > rows) {
        note(d, WARNING, path, x->prompt_again.line,
             "an answer begins with its whole prompt, as in %zu of %zu rows, which so stands there "
             "twice; take it off the answers, or leave out the key of the prompt",
             x->prompt_again.count, rows);
    }
    if (x->blank_end.count) {
        note(d, WARNING, path, x->blank_end.line,
             "the prompt ends in a space, here and in %zu more rows; a word's space belongs to "
             "the word's token: put it before the answer",
             x->blank_end.count - 1);
    }
    if (x->blank.count) {
        note(d, TRAP, path, x->blank.line,
             "an answer is only white space, here and in %zu more; remove such rows or complete "
             "them",
             x->blank.count - 1);
    }
    if (x->no_prompt.count) {
        note(d, ADVICE, path, x->no_prompt.line,
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

static int note_texts(Diagnosis *d, const Dataset *whole) {
    Faults x = {.written = allocate((size_t)d->tokenizer.vocab_size, sizeof *x.written)};
    if (!x.written) return -1;
    const int result = find_all_faults(d, &x, whole);
    if (result == 0) note_faults(d, &x, whole);
    free(x.written);
    return result;
}

// All of a file that was loaded and settled.  0, or -1 after fail().
int diagnose_file(Diagnosis *d, const File *f) {
    const Dataset *seen = &f->seen;
    note_counts(d, f);
    note_contrary(d, seen);
    note_early(d, seen);
    if (seen->num_records && seen->kind == DATA_PAIR) note_lengths(d, seen);
    if (seen->num_records && seen->kind == DATA_POINT) note_labels(d, seen);
    note_cut(d, f);
    return note_texts(d, &f->whole);
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
    const Answer *a = &data->answer[r->first - first_side(data, r)];
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
static int collect_keys(Diagnosis *d) {
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
typedef struct {
    Found again, against;
} Repeats;

static int is_binary(const Dataset *data) {
    for (size_t i = 0; i < data->num_answers; i++) {
        if (!score_is_label(data->answer[i].score)) return 0;
    }
    return 1;
}

static void note_repeats(Diagnosis *d, const Repeats *r, const Dataset *data) {
    const Found *again = &r->again, *against = &r->against;
    if (again->count) {
        note(d, ADVICE, data->path, again->line,
             "the same row as line %zu, and %zu more rows that stand twice; remove what was not "
             "meant twice",
             again->earlier, again->count - 1);
    }
    // people differ: a few contradictions are opinions, many are a mistake in the file, unless it
    // is known who is who
    const int many = against->count * 10 > data->num_records && !d->objective->people;
    if (against->count && data->kind == DATA_PAIR) {
        note(d, many ? TRAP : ADVICE, data->path, against->line,
             "the reverse of the pair on line %zu, and %zu more such pairs; decide for one of the "
             "two, or remove both",
             against->earlier, against->count - 1);
    }
    if (against->count && data->kind == DATA_POINT) {
        note(d, many && is_binary(data) ? TRAP : ADVICE, data->path, against->line,
             "the same text as on line %zu has another label, and %zu more such texts; decide for "
             "one label, or remove both",
             against->earlier, against->count - 1);
    }
}

// Sorted keys of the same row are neighbours.  repeats (num_files) is zero before.
static void note_all_repeats(Diagnosis *d, Repeats *repeats) {
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
        note(d, ADVICE, d->file[shared_file].whole.path, shared.line,
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
static void note_leak(Diagnosis *d, const Dataset *data) {
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

// Rows and prompts of all files beside each other.  0, or -1 after fail().
int diagnose_across(Diagnosis *d) {
    if (collect_keys(d) < 0) return -1;
    Repeats *repeats = allocate((size_t)d->num_files, sizeof *repeats);
    if (!repeats) return -1;
    note_all_repeats(d, repeats);
    free(repeats);
    for (int i = 0; i < d->num_files; i++) {
        if (!d->file[i].train) note_leak(d, &d->file[i].whole);
    }
    return 0;
}

// ---------------------------------------------------------------------------- tokenizer and config

static int exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

// A file that may be absent: 1 if it is there and can be read as JSON.
static int load_json(Json *json, const char *path) {
    return exists(path) && json_load(json, path) == 0;
}

/* What other programs make of texts by this folder: do they put a BOS before them
 * (d->adds_bos), do they apply a chat template? 0, or -1 after fail().  */
static int read_habits(Diagnosis *d, const char *tokenizer_file, int *chat) {
    char settings[PATH_SIZE], template_[PATH_SIZE];
    Json json = {0};
    if (path_join(settings, d->dir, "tokenizer_config.json") < 0) return -1;
    if (path_join(template_, d->dir, "chat_template.jinja") < 0) return -1;
    *chat = exists(template_);
    const int is_gguf = gguf_names(tokenizer_file);
    if (!is_gguf && load_json(&json, tokenizer_file)) {
        d->adds_bos = tokenizer_json_puts_bos(&json, json_get(&json, 0, "post_processor"));
    }
    if (is_gguf ? beside_tokenizer(&json, tokenizer_file, "tokenizer_config.json") == 0
                : load_json(&json, settings)) {
        if (json_type(&json, json_get(&json, 0, "add_bos_token")) == JSON_TRUE) d->adds_bos = 1;
        if (json_type(&json, json_get(&json, 0, "chat_template")) > JSON_NULL) *chat = 1;
    }
    json_free(&json);
    return 0;
}

// Is the end of text a row of its own, from which the reward is read?
int reward_at_end(const Diagnosis *d) {
    return d->objective->reward && d->config.pooling == POOL_EOS;
}

// Is the end of text needed, and is there none?
int lacks_end(const Diagnosis *d) {
    const int needed = !d->objective->reward || reward_at_end(d);
    return needed && d->tokenizer.eos < 0;
}

// A pad that is the end of text hides it from programs that leave pad out; a pad that is a piece of
// texts hides that.
static void note_pad(Diagnosis *d, const char *config) {
    const Token *pad = &d->model[PAD], *better = &d->own[PAD];
    const Tokenizer *t = &d->tokenizer;
    if (pad->id < 0) {
        note(d, ADVICE, config, 0,
             "no \"pad_token_id\", which other programs need for batches; set it to a token that "
             "never occurs in a text%s%s",
             better->id >= 0 ? ", such as " : "", better->text);
        return;
    }
    if (pad->id < t->vocab_size && !tokenizer_is_added(t, pad->id)) {
        note(d, d->objective->reward ? WARNING : ADVICE, config, 0,
             "pad is the ordinary piece %d %s: of a text that ends with it other programs read the "
             "reward elsewhere; set \"pad_token_id\" to a token that never occurs in a text%s%s",
             pad->id, pad->text, better->id >= 0 ? ", such as " : "", better->text);
        return;
    }
    if (pad->id != d->model[EOS].id && pad->id != d->own[EOS].id) return;

    enum Sort sort = ADVICE;
    const char *harm = "which is trained here: programs that mask pad never learn to stop";
    if (reward_at_end(d)) {
        sort = TRAP;
        harm = "from which the reward is read: programs that skip pad read another token";
    } else if (d->objective->reward) {
        harm = "which is harmless with this pooling";
    }
    const int other = better->id >= 0 && better->id != pad->id;
    note(d, sort, config, 0,
         "pad is the eos, %d %s, %s; set \"pad_token_id\" to a token that never occurs in a "
         "text%s%s",
         pad->id, pad->text, harm, other ? ", such as " : "", other ? better->text : "");
}

// Special tokens and habits of the folder.  0, or -1 after fail().
int diagnose_folder(Diagnosis *d, const char *tokenizer_file) {
    const Tokenizer *t = &d->tokenizer;
    const Config *c = &d->config;
    const Token *own = d->own;
    char config[PATH_SIZE], settings[PATH_SIZE];
    int chat;
    if (config_file(config, d->dir) < 0) return -1;
    if (path_join(settings, d->dir, "tokenizer_config.json") < 0) return -1;
    if (read_habits(d, tokenizer_file, &chat) < 0) return -1;
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
        note(d, ADVICE, tokenizer_file, 0,
             "other programs put %s before a text, training here does not; expect other scores "
             "there, or switch it off",
             *own[BOS].text ? own[BOS].text : "a BOS");
    }
    Chat of_folder;
    template_choose(&of_folder, &d->tokenizer, NULL);
    if (chat && !of_folder.form && !opt.template_) {
        note(d, WARNING, settings, 0,
             "the folder's chat template is none that is known: rows of messages are refused; say "
             "which form they have by --template, or give rows of strings");
    } else if (chat && of_folder.form && !d->chat.form->end) {
        note(d, WARNING, settings, 0,
             "the folder's chat template is not applied: it is of the form %s, --template says %s",
             of_folder.form->name, opt.template_);
    }
    return 0;
}

// ---------------------------------------------------------------------------------- before a run

// Prints the notes that change a run's results.
static void print_notes(const Diagnosis *d) {
    for (int sort = TRAP; sort <= WARNING; sort++) {
        if (d->notes[sort].lines.len) fprintf(stderr, "%s", d->notes[sort].lines.data);
    }
}

/* What doctor would find of a run that is loaded and planned, from the model folder dir: says
 * what changes its results. 0, or -1 after fail(): there is a trap, and no --force.  */
int diagnose_run(const Run *run, const char *dir) {
    const int trained = run->num_train + run->num_then, files = trained + run->num_eval;
    Diagnosis d;
    char tokenizer[PATH_SIZE];
    int result = -1;
    diagnosis_init(&d, dir, run->objective);
    d.config = run->model.config;
    d.tokenizer = run->tokenizer;
    diagnosis_specials(&d);
    if (!(d.file = allocate((size_t)files, sizeof *d.file))) goto done;
    for (int i = 0; i < files; i++) {
        const Dataset *data = &run->data[i];
        const int is_then = i >= run->num_train && i < trained;
        if (is_then && opt.bapo_base.n) continue;          // a model's own, and not imitated
        d.file[d.num_files++] = (File){.of = &d, .train = i < trained, .whole = *data,
                                       .seen = *data};
    }

    if (dir) {                                             // else a fresh model
        if (tokenizer_path(tokenizer, dir) < 0) goto done;
        if (diagnose_folder(&d, tokenizer) < 0) goto done;
    }
    for (int i = 0; i < d.num_files; i++) {
        if (diagnose_file(&d, &d.file[i]) < 0) goto done;
    }
    if (diagnose_across(&d) < 0 || d.failed) goto done;
    print_notes(&d);
    const int traps = d.notes[TRAP].count;
    if (traps && !opt.force) {
        fail(EX_DATAERR, "traps: %d; see the lines that begin with \"trap:\" and more doctor; "
             "--force trains all the same", traps);
        goto done;
    }
    result = 0;
done:
    diagnosis_free(&d);
    free(d.file);
    return result;
}
#endif

/* reference.c - log-probabilities of the starting model, the reference of DPO and its
 * relatives; or of several models.
 *
 * A policy starts as its reference, so these are computed by its own weights before the first
 * step, and no second model is in memory; but with --references each of those models is, one after
 * the other, before the first step. They are kept in a file, for each model one:
 *
 *     "more reference " KEY "\n"     KEY: SHA-256 of all that they depend on (80 bytes in all)
 *     doubles                        one for each answer of each record, in order
 *     SHA-256                        of what stands before it (64 hexadecimal digits)
 *
 * A file with another key, another length or another sum is computed again, never used.  */
#ifndef REFERENCE_C
#define REFERENCE_C
#include "load.c"
#include "train.c"

enum { KEY_LINE = 80, REFERENCE_SUM = 64 };

int reference_logps(Run *run, Model *m, const char *name, const char *path, int *from_file);
int reference_columns(Run *run, const char *path, double *column);
size_t reference_count(const Run *run);
int reference_key(const Run *run, const Model *m, char key[65]);
int reference_hash_weights(Sha256 *s, const Model *m);
int reference_read(Run *run, const char *path, const char *key_line);
int reference_write(const Run *run, const char *path, const char *key_line);

static int reference_files(const Run *run) {
    return run->num_train + run->num_then + run->num_eval + run->num_mismatched;
}

// -------------------------------------------------------------------------------------- the key

// The weights, in pieces; without adapters, which change nothing before the first step.  0, or -1
// after fail().
int reference_hash_weights(Sha256 *s, const Model *m) {
    enum { NUMBERS = 1 << 16 };
    real *piece = allocate(NUMBERS, sizeof *piece);
    if (!piece) return -1;
    const size_t numbers = model_num_base(&m->config);
    for (size_t i = 0; i < numbers; i += NUMBERS) {
        const size_t n = numbers - i < NUMBERS ? numbers - i : NUMBERS;
        model_read(m, i, n, piece);
        sha256_add(s, piece, n * sizeof *piece);
    }
    free(piece);
    return 0;
}

static void hash_span(Sha256 *s, const Dataset *d, const Span *span) {
    sha256_add(s, d->token + span->start, (size_t)span->len * sizeof *d->token);
}

// Prompts and answers as the tokens they became.
static void hash_texts(Sha256 *s, const Dataset *d) {
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        const int shape[] = {r->prompt.len, r->count};
        sha256_add(s, shape, sizeof shape);
        hash_span(s, d, &r->prompt);
        for (const Answer *a = &d->answer[r->first]; a < &d->answer[r->first + r->count]; a++) {
            const int answer[] = {a->tokens.len, a->cut};
            sha256_add(s, answer, sizeof answer);
            hash_span(s, d, &a->tokens);
        }
    }
}

/* The SHA-256 of all that the log-probabilities depend on: the weights of m and their
 * configuration, the precision, and every text as tokens, which covers data, tokenizer,
 * template and lengths. 0, or -1 after fail().  */
int reference_key(const Run *run, const Model *m, char key[65]) {
    const int files = reference_files(run);
    const int head[] = {1, opt.precision, run->tokenizer.eos, files};
    Buffer config = {0};
    Sha256 s;
    int result = -1;

    if (config_text(&config, &m->config, "float32") < 0) goto done;
    sha256_start(&s);
    sha256_add(&s, head, sizeof head);
    sha256_add(&s, settings_gpu(), strlen(settings_gpu()));
    sha256_add(&s, config.data, config.len);
    if (reference_hash_weights(&s, m) < 0) goto done;
    for (int k = 0; k < files; k++) hash_texts(&s, &run->data[k]);
    sha256_finish(&s, key);
    result = 0;
done:
    buffer_free(&config);
    return result;
}

// ------------------------------------------------------------------------------------- the file

// Of how many answers are there references?
size_t reference_count(const Run *run) {
    size_t n = 0;
    for (int k = 0; k < reference_files(run); k++) {
        const Dataset *d = &run->data[k];
        for (size_t i = 0; i < d->num_records; i++) n += (size_t)d->record[i].count;
    }
    return n;
}

// The references of all answers of all records, in order, from and to memory(n).
static void references_from(Run *run, const double *memory) {
    for (Dataset *d = run->data; d < run->data + reference_files(run); d++) {
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            for (int k = 0; k < r->count; k++) d->answer[r->first + k].ref_logp = *memory++;
        }
    }
}
static void references_to(double *memory, const Run *run) {
    for (const Dataset *d = run->data; d < run->data + reference_files(run); d++) {
        for (const Record *r = d->record; r < d->record + d->num_records; r++) {
            for (int k = 0; k < r->count; k++) *memory++ = d->answer[r->first + k].ref_logp;
        }
    }
}

// Does b begin as these files do, as far as it goes?
static int is_of_references(const Buffer *b) {
    static const char begins[] = "more reference ";
    const size_t n = sizeof begins - 1;
    return !b->len || !memcmp(b->data, begins, b->len < n ? b->len : n);
}

// Is b a whole file of this key, with n references? *same_key: it is one of this key, whole or
// not.
static int reference_whole(const Buffer *b, const char *key_line, size_t n, int *same_key) {
    const size_t end = KEY_LINE + n * sizeof(double);
    char sha[65];
    *same_key = b->len >= KEY_LINE && !memcmp(b->data, key_line, KEY_LINE);
    if (!*same_key || b->len != end + REFERENCE_SUM) return 0;
    sha256_hex(sha, b->data, end);
    return !memcmp(sha, b->data + end, REFERENCE_SUM);
}

// 1 if the file at path has the references of this key, which are now the answers'; 0 if it is
// not there or not of them; -1 after fail(): it is another kind of file, which would be lost.
int reference_read(Run *run, const char *path, const char *key_line) {
    const size_t n = reference_count(run);
    Buffer b = {0};
    struct stat st;
    int same_key, result = 0;
    if (stat(path, &st) < 0) return 0;
    if (file_read(&b, path) < 0) return -1;

    if (reference_whole(&b, key_line, n, &same_key)) {
        double *memory = allocate(n, sizeof *memory);
        if (memory) {
            memcpy(memory, b.data + KEY_LINE, n * sizeof *memory);
            references_from(run, memory);
        }
        result = memory ? 1 : -1;
        free(memory);
    } else if (!is_of_references(&b)) {
        result = fail(EX_USAGE, "%s: not a file of references, and it would be lost: "
                      "--reference_cache names another, or one that is not there yet", path);
    } else {
        fprintf(stderr, "%s: %s; computed again\n", path,
                same_key ? "damaged" : "of other weights, texts or options");
    }
    buffer_free(&b);
    return result;
}

// 0, or -1 after fail().
int reference_write(const Run *run, const char *path, const char *key_line) {
    const size_t n = reference_count(run);
    double *memory = allocate(n, sizeof *memory);
    Buffer b = {0};
    char sha[65];
    int result = -1;

    if (!memory) goto done;
    references_to(memory, run);
    if (buffer_append(&b, key_line, KEY_LINE) < 0) goto done;
    if (buffer_append(&b, memory, n * sizeof *memory) < 0) goto done;
    sha256_hex(sha, b.data, b.len);
    if (buffer_append(&b, sha, REFERENCE_SUM) < 0) goto done;
    result = file_write(path, b.data, b.len);
done:
    free(memory);
    buffer_free(&b);
    return result;
}

// Are they all numbers, in d->answer?  0, or -1 after fail() with the row of one that is none, and
// the name of the model.
static int check_references(const Dataset *d, const char *name) {
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        for (int k = 0; k < r->count; k++) {
            if (isfinite(d->answer[r->first + k].ref_logp)) continue;
            return fail(EX_DATAERR, "%s:%zu: the log-probability of answer %d is not finite before "
                        "the first step: the weights of %s are damaged or too large", d->path,
                        r->line, k + 1, name);
        }
    }
    return 0;
}

// The log-probabilities of d's answers under m as it is.  0, or -1 after fail().
static int compute_references(Run *run, Model *m, const char *name, Dataset *d) {
    double *logp = allocate(d->num_answers, sizeof *logp);
    if (!logp) return -1;
    int status = evaluate_texts(m, run->tokenizer.eos, d, logp);
    for (size_t i = 0; status == 0 && i < d->num_answers; i++) d->answer[i].ref_logp = logp[i];
    free(logp);
    return status < 0 ? -1 : check_references(d, name);
}

/* Answer.ref_logp of all data of the run under the model m of that name: from the file at path, or
 * computed and written there. *from_file says which.  0, or -1 after fail().  */
int reference_logps(Run *run, Model *m, const char *name, const char *path, int *from_file) {
    const double start = now();
    char key[65], key_line[KEY_LINE + 1];
    if (reference_key(run, m, key) < 0) return -1;
    snprintf(key_line, sizeof key_line, "more reference %s\n", key);

    *from_file = reference_read(run, path, key_line);
    if (*from_file < 0) return -1;
    const size_t n = reference_count(run);
    if (*from_file) {
        fprintf(stderr, "reference: %zu log-probabilities of the same weights and texts from %s\n",
                n, path);
        return 0;
    }
    for (int k = 0; k < reference_files(run); k++) {
        if (compute_references(run, m, name, &run->data[k]) < 0) return -1;
    }
    stop_hold();
    const int written = reference_write(run, path, key_line);
    stop_release();
    if (written < 0) return -1;
    fprintf(stderr, "reference: %zu log-probabilities in %.1f s, kept in %s\n", n, now() - start,
            path);
    return 0;
}

/* The log-probabilities of all answers, in order, under each model of --references: column is (K,
 * reference_count). The first model's file is at path, those of the others at path.2, path.3 ...
 * 0, or -1 after fail().  */
int reference_columns(Run *run, const char *path, double *column) {
    char numbered[PATH_SIZE + 16];
    for (int i = 0; i < opt.references.n; i++) {
        const char *dir = opt.references.item[i];
        Model m;
        int from_file;
        snprintf(numbered, sizeof numbered, i ? "%s.%d" : "%s", path, i + 1);
        const LoraOptions none = {.r = 0};
        const int narrow = narrow_asked();
        if (checkpoint_load_as(&m, dir, LOAD_LANGUAGE_MODEL, &none, narrow) < 0) return -1;
        const int status = reference_logps(run, &m, dir, numbered, &from_file);
        model_free(&m);
        if (status < 0) return -1;
        references_to(column + (size_t)i * reference_count(run), run);
    }
    return 0;
}
#endif

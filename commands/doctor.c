/* doctor.c - more doctor: what training would really see.  The tokens of the first rows, what is
 * cut and dropped, labels, special tokens, memory and time; then the traps, in which a run goes
 * wrong without an error, and the warnings of diagnose.c.
 *
 *     load_all             each file twice: whole, and as training cuts it and settles its rows
 *     report_file          a file's counts, lengths and labels; its first rows
 *     estimate_costs       memory, and the time of one micro-batch
 *
 * What is shown of a row is what batch.c packs.  Output is for people, 100 columns. */
#ifndef DOCTOR_C
#define DOCTOR_C
#include "diagnose.c"

// The objective that the training files are for, by their kind.
const char *doctor_objective(const char *tokenizer_file, const DataOptions *options);
// The whole report on standard output.
int doctor_report(const char *dir, const char *tokenizer_file, const DataOptions *options,
                  const Objective *objective);

enum {
    WIDTH = 100,                  // columns of a line of tokens
    INDENT = 12,                  // the column in which tokens begin
    ANSWER_NAME = 24,             // room for what answer_name writes
};

// --------------------------------------------------------------------------------- tokens of a row

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

// The windows of a document: each token after the first is a target once.
static int show_document(const Diagnosis *d, const Dataset *data, const Record *r) {
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

/* Text b of a packed record. A token is trained where the row before it has it as target: not
 * the first of a text without a prompt, not the end after an answer that was cut. */
static int show_answer(const Diagnosis *d, const Pack *p, int b, const Segment *s) {
    const Tokenizer *t = &d->tokenizer;
    const Text *text = &p->text[b];
    const int mean = d->config.pooling == POOL_MEAN, end = s->start + s->len;
    int column = INDENT;
    for (int i = text->first; i < end; i++) {
        const char *mark = "";
        if (d->objective->reward) {
            const int pooled = mean ? i < text->first + text->len : i == text->pooled;
            if (pooled) mark = "^";
        } else if (i > s->start && p->target[i-1] == p->token[i]) {
            mark = "*";
        } else if (i > s->start && p->target[i-1] >= 0) {
            // a turn ends here, and the user's words follow
            if (show_token(t, p->target[i-1], "*", &column) < 0) return -1;
        }
        if (show_token(t, p->token[i], mark, &column) < 0) return -1;
    }
    const int target = p->target[end-1];
    if (!d->objective->reward && target >= 0) return show_token(t, target, "*", &column);
    return 0;
}

// A prompt and its answers.  The rows before the first answer's text are the prompt's.
static int show_record(const Diagnosis *d, const Dataset *data, const Record *r) {
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

static int show_rows(const Diagnosis *d, const File *f) {
    const Dataset *seen = &f->seen;
    size_t at = 0;
    for (size_t i = 0; i < seen->num_records && i < (size_t)opt.show_rows; i++) {
        const Record *r = &seen->record[i];
        const Record *whole = whole_record(&f->whole, r, &at);
        printf("  line %zu", r->line);
        if (whole) show_cuts(f, r, whole);
        if (r->part) printf("; part %d of its row", r->part);
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
static void show_counts(const File *f) {
    const Dataset *seen = &f->seen;
    const Unused unused = rows_unused(f);
    printf("    %zu rows: %zu kept, of which %zu cut (%zu prompts, %zu answers);",
           seen->rows + seen->bad, seen->num_records, seen->truncated, seen->cut_prompts,
           seen->cut_answers);
    printf(" left out: %zu too long, %zu ties, %zu bad", seen->dropped, seen->tied, seen->bad);
    if (unused.in_fold) printf(", %zu in fold %d", unused.in_fold, opt.fold);
    if (unused.not_imitated) printf(", %zu with the label false", unused.not_imitated);
    printf("\n");
}

static void show_labels(const Dataset *seen) {
    const Labels x = count_labels(seen);
    if (x.ones + x.zeros == seen->num_records) {
        printf("    labels: %zu true, %zu false\n", x.ones, x.zeros);
    } else {
        printf("    scores: from %g to %g, mean %g\n", x.low, x.high, x.mean);
    }
}

static int report_file(Diagnosis *d, const File *f) {
    const Dataset *seen = &f->seen;
    printf("\n%s, to %s: %s data\n", seen->path, f->train ? "train on" : "evaluate on",
           seen->rows ? data_kind_name[seen->kind] : "no");
    if (seen->read_as) {
        printf("    read as %s%s%s\n", seen->read_set ? seen->read_set : "",
               seen->read_set ? ": " : "", seen->read_as);
    }
    show_counts(f);
    const int policy = !of_documents(d) && !d->objective->reward;
    if (policy && seen->turns > seen->rows) {
        printf("    %zu of %zu turns of the assistant are targets\n", seen->targets, seen->turns);
    }
    if (f->whole.num_records && show_all_lengths(&f->whole) < 0) return -1;
    if (seen->num_records && seen->kind == DATA_PAIR) {
        printf("    the longer answer is chosen in %.1f %% of pairs\n", 100 * longer_share(seen));
    }
    if (seen->num_records && seen->kind == DATA_POINT) show_labels(seen);
    if (diagnose_file(d, f) < 0) return -1;
    if (lacks_end(d) || f->wrong_kind) return 0;
    return show_rows(d, f);
}

// ---------------------------------------------------------------------------------- the tokenizer

static const char *eos_use(const Diagnosis *d) {
    if (of_documents(d)) return "ends a document, is trained";
    if (!d->objective->reward) return "after each answer, is trained";
    if (reward_at_end(d)) return "after each answer, the reward is read from it";
    return "not used";
}

static void show_tokenizer(const Diagnosis *d, const char *tokenizer_file) {
    const Tokenizer *t = &d->tokenizer;
    const Token *model = d->model, *own = d->own;
    printf("%s\n    %d pieces, the model has room for %d; a text is encoded %s\n",
           tokenizer_file, t->vocab_size, d->config.vocab_size,
           tokenizer_form(t));
    printf("    messages in %s\n", d->chat.form ? d->chat.form->name : "no form that is known");
    printf("    bos  config.json %d %s, tokenizer %d %s; %s\n", model[BOS].id, model[BOS].text,
           own[BOS].id, own[BOS].text,
           of_documents(d) ? "a document begins with the eos" : "not put before a text");
    printf("    eos  config.json %d %s, tokenizer %d %s; %s\n", model[EOS].id, model[EOS].text,
           own[EOS].id, own[EOS].text, eos_use(d));
    printf("    pad  config.json %d %s; never in a micro-batch: texts are packed without padding\n",
           model[PAD].id, model[PAD].text);
}

// --------------------------------------------------------------------------------- memory and time

// Texts of a micro-batch of T token rows, at most.
static int texts_of(const Diagnosis *d, int T) { return of_documents(d) ? 1 : T; }

// What training or scoring takes of memory in all.
static double bytes_of(const Diagnosis *d, const Config *c, int T, Purpose purpose) {
    return (double)model_bytes(c, T, texts_of(d, T), purpose);
}

static void show_memory(const Diagnosis *d, const Config *c) {
    enum { SIZES = 3, LINES = 4 };
    static const int T[SIZES] = {1024, 4096, 16384};
    static const struct { const char *name; Purpose purpose; } line[LINES] = {
        {.name = "training", .purpose = TRAINING},
        {.name = "training with --recompute", .purpose = RECOMPUTING},
        {.name = "scoring", .purpose = SCORING},
        {.name = "training with --freeze", .purpose = TRAINING_HEAD},
    };
    const int lines = c->reward && !c->lora_r ? LINES : LINES - 1;
    printf("\nmemory in GiB                     ");
    for (int k = 0; k < SIZES; k++) printf("%9d", T[k]);
    printf("  rows at a time (--micro_batch_tokens)\n");
    for (int i = 0; i < lines; i++) {
        printf("    %-30s", line[i].name);
        for (int k = 0; k < SIZES; k++) {
            printf("%9.2f", bytes_of(d, c, T[k], line[i].purpose) / GIB);
        }
        printf("\n");
    }
}

// Token rows of a data row.
static int rows_of(const Diagnosis *d, const Dataset *data, const Record *r) {
    if (of_documents(d)) return document_rows(data, r);
    return record_rows(data, r, d->config.pooling);
}

// Token rows of one epoch; for reward models smaller sets are resampled to the largest.
static double epoch_rows(const Diagnosis *d) {
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

// Token rows of a data row's micro-batch: of a document those of its first window.
static int packed_rows(const Diagnosis *d, const Dataset *data, const Record *r) {
    const int rows = rows_of(d, data, r);
    return of_documents(d) ? min_int(rows, opt.max_length) : rows;
}

/* The most token rows that a micro-batch of training has: those of a step or of all data where
 * these are few, else --micro_batch_tokens, but a unit that is larger is one alone.  From the rows'
 * lengths, without a plan, where plan.c has one (largest_micro_batch): never less than that. */
static int training_rows(const Diagnosis *d) {
    double all = 0;
    int largest = 0, unit = 0, sets = 0;
    for (const File *f = d->file; f < d->file + d->num_files; f++) {
        const Dataset *data = &f->seen;
        int of_file = 0;
        for (const Record *r = data->record; r < data->record + data->num_records; r++) {
            of_file = max_int(of_file, packed_rows(d, data, r));
            all += rows_of(d, data, r) * (f->train && d->objective->mismatched ? 2 : 1);
        }
        largest = max_int(largest, of_file);
        unit += f->train ? of_file : 0;
        sets += f->train;
    }
    if (!d->objective->bundles) unit = largest;

    // a step may take the same row again, and no more than all epochs do
    const double epochs = ceil(opt.epochs) * epoch_rows(d);
    double step = (double)sets * opt.per_step_rows * largest;
    if (of_documents(d)) step = (double)opt.per_step_tokens + largest;
    if (step > epochs) step = epochs;
    if (step > all) all = step;
    return max_int(unit, all < opt.micro_batch_tokens ? (int)all : opt.micro_batch_tokens);
}

/* The token rows of a micro-batch that can be computed in so many bytes: at most `most`, 0 if not
 * even one can.  Found by halving: `low` fits, `high` does not. */
static int rows_that_fit(const Diagnosis *d, const Config *c, double bytes, int most) {
    int low = 0, high = most + 1;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (bytes_of(d, c, middle, training_purpose()) <= bytes) low = middle;
        else high = middle;
    }
    return low;
}

// The first data rows of a file, as many as fit into 1024 token rows, but at least one.  Those of
// more than `most` token rows are passed over.
static int pack_first(const Diagnosis *d, Pack *p, const Dataset *data, int most) {
    const int limit = min_int(opt.micro_batch_tokens, 1024);
    const int eos = d->tokenizer.eos, windows = of_documents(d);
    for (size_t i = 0; i < data->num_records; i++) {
        const Record *r = &data->record[i];
        const int more = packed_rows(d, data, r);
        if (more > most) continue;
        if (p->T && p->T + more > min_int(limit, most)) break;
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

// Forward and backward; *loss is the mean Bradley-Terry loss of a pair.  Of rankings it is NAN:
// they are computed for the time that they take.  reward, dreward are (B).
static int compute_choices(Model *m, const Batch *b, int pairs, float *dreward, float *reward,
                           double *loss) {
    const float weight = 2 / (float)b->B;
    model_forward(m, b);
    model_rewards(m, b, reward, NULL);
    *loss = pairs ? 0 : NAN;
    for (int j = 0; j < b->B && !pairs; j++) dreward[j] = weight;
    for (int j = 0; j < b->B && pairs; j += 2) {
        *loss += reward_bt_loss(&dreward[j], &dreward[j+1], &reward[j], &reward[j+1], &weight, NULL,
                                1);
    }
    return model_backward(m, b, dreward, NULL, NULL);
}

// The first file whose rows can be computed.
static const Dataset *timed_file(const Diagnosis *d) {
    for (int i = 0; i < d->num_files; i++) {
        const File *f = &d->file[i];
        if (f->train && f->seen.num_records && !f->wrong_kind) return &f->seen;
    }
    return NULL;
}

// A micro-batch that was timed: its token rows, the time, its loss.
typedef struct {
    int rows;
    double seconds, loss;
} Timing;

// 0, or -1 after fail().
static int time_batch(const Diagnosis *d, Model *m, const Batch *b, Timing *x) {
    float *dvalue = NULL, *value = NULL;
    int result = -1;
    assert(b->B >= 0 && b->B <= b->T);

    // room for gradients, activations and one number a token row
    m->recompute = opt.recompute;
    m->freeze = opt.freeze;
    if (model_init_training(m) < 0) goto done;
    if (model_reserve(m, b->T, b->B ? b->B : 1) < 0) goto done;
    dvalue = allocate((size_t)b->T, sizeof *dvalue);
    value = allocate((size_t)b->T, sizeof *value);
    if (!dvalue || !value) goto done;

    const double start = now();
    const int pairs = timed_file(d)->kind == DATA_PAIR;
    result = d->objective->reward ? compute_choices(m, b, pairs, dvalue, value, &x->loss)
                                  : compute_tokens(m, b, dvalue, value, &x->loss);
    kernels_wait();
    x->seconds = now() - start;
    x->rows = b->T;
done:
    free(dvalue);
    free(value);
    return result;
}

static void show_time(const Diagnosis *d, const Timing *x, double rows) {
    const double speed = x->rows / x->seconds, epoch = rows / speed;
    printf("    estimate, from one micro-batch of %d rows in %.3g s, threads %d, without updates%s:"
           "\n", x->rows, x->seconds, kernels_threads(),
           d->objective->reference ? " and the reference" : "");
    printf("    %.0f tokens/s, %.0f:%02.0f:%02.0f an epoch", speed, floor(epoch / 3600),
           floor(fmod(epoch, 3600) / 60), floor(fmod(epoch, 60)));
    if (!isnan(x->loss)) {
        printf("; the loss there is %.4f%s", x->loss,
               d->objective->reward ? " (0.6931 from a zero head)" : " a token");
    }
    printf("\n");
}

static int measure_time(const Diagnosis *d, const Config *c, const Batch *b, double rows) {
    const int kind = c->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    Model m = {0};
    Timing x = {0};
    int result = -1;
    const LoraOptions lora = lora_options();
    if (checkpoint_load_as(&m, d->dir, kind, &lora, narrow_asked()) < 0) goto done;
    m.config.pooling = c->pooling;
    if (time_batch(d, &m, b, &x) < 0) goto done;
    if (x.seconds > 0) show_time(d, &x, rows);
    result = 0;
done:
    model_free(&m);
    return result;
}

// What training would take of memory, and what is free: too little is a trap, where train stops.
static void compare_memory(Diagnosis *d, const Config *c) {
    const int T = training_rows(d);
    char text[MEMORY_TEXT], gib[GIB_TEXT];
    const MemoryFit fit = memory_fit(c, T, texts_of(d, T), 0, 0, text);
    const double bytes = bytes_of(d, c, T, training_purpose()) + memory_process(0);
    printf("    this training: %s GiB, for micro-batches of at most %d rows",
           memory_text(gib, bytes), T);
    if (isfinite(tensor_room())) printf("; free here: %.2f GiB", tensor_room() / GIB);
    printf("\n");
    if (fit == MEMORY_LACKS) note(d, TRAP, d->dir, 0, "%s", text);
    if (fit == MEMORY_CLOSE) note(d, ADVICE, d->dir, 0, "%s", text);
}

// Memory for several sizes of micro-batches and for this training; the time of a micro-batch that
// fits into what is free.
static int estimate_costs(Diagnosis *d) {
    const Dataset *data = timed_file(d);
    Config c = d->config;
    Pack p = {0};
    int result = -1;
    c.reward = d->objective->reward;
    show_memory(d, &c);
    compare_memory(d, &c);
    const double rows = epoch_rows(d);
    printf("    one epoch is %.0f rows of tokens\n", rows);
    if (!data || lacks_end(d) || d->tokenizer.vocab_size > c.vocab_size) {
        printf("    no time is measured, because of what follows\n");
        return 0;
    }

    const int largest = max_int(training_rows(d), 1024);
    const int most = rows_that_fit(d, &c, 0.9 * tensor_room(), largest);
    if (pack_first(d, &p, data, most) < 0) goto done;
    if (p.T) {
        const Batch b = pack_batch(&p);
        if (measure_time(d, &c, &b, rows) < 0) goto done;
    } else {
        printf("    no time is measured: no micro-batch fits into the memory that is free\n");
    }
    result = 0;
done:
    pack_free(&p);
    return result;
}

// ------------------------------------------------------------------------------------- the command

// Reads f->spec whole and cut.  A kind of data that the objective does not take is a trap.
static int load_file(Diagnosis *d, File *f, const DataOptions *options) {
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
    f->of = d;
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
    note_error(d, TRAP, "");
    f->wrong_kind = 1;
    return 0;
}

/* What training does with the files once they are read: it leaves out the fold, picks what is
 * imitated, takes numbers as labels or scores, and plans its steps.  0, or -1 after fail().  */
static int settle_run(Diagnosis *d, Run *run) {
    const int reward = d->objective->reward;               // their plan leaves out the fold
    for (int i = 0; reward && i < run->num_train; i++) {
        if (dataset_keep_fold(&run->data[i], 0) < 0) return -1;
    }
    if (run_open(run) < 0) return -1;
    if (plan_make(run) < 0) return -1;
    return plan_report(run, &d->plan);
}

static int settle_files(Diagnosis *d) {
    Run run = {.objective = d->objective, .num_train = opt.train.n, .num_eval = opt.eval.n,
               .model.config = d->config};
    const int n = d->num_files;
    run.unit = d->objective->bundles ? run.num_train : 1;
    run.data = allocate((size_t)n + (size_t)run.num_train, sizeof *run.data);
    if (!run.data) return -1;
    for (int i = 0; i < n; i++) run.data[i] = d->file[i].seen;
    const int result = settle_run(d, &run);
    for (int i = 0; i < n; i++) d->file[i].seen = run.data[i];
    if (d->objective->trainer->close) d->objective->trainer->close(&run);
    free(run.item);
    free(run.step_end);
    free(run.data);
    return result;
}

// Leaves the rows that training computes.  An error at which it would stop is a trap.
static int settle_rows(Diagnosis *d) {
    for (int i = 0; i < d->num_files; i++) {
        if (d->file[i].wrong_kind || !d->file[i].seen.num_records) return 0;
    }
    const int result = settle_files(d);
    if (result == 0 || error_code == EX_OSERR) return result;
    note_error(d, TRAP, "; training stops there");
    return 0;
}

static const char *legend(const Objective *o, Pooling pooling) {
    if (!o->reward) return "* is trained: a target of the loss";
    if (pooling == POOL_MEAN) return "^ the reward is read from the mean of these";
    if (pooling == POOL_EOS) return "^ the reward is read here, at the end";
    return "^ the reward is read here, at the last token";
}

// The model's shape, its tokenizer, the files.  0, or -1 after fail().
static int load_all(Diagnosis *d, const char *tokenizer_file, const DataOptions *options) {
    if (config_load(&d->config, d->dir) < 0) return -1;
    if (tokenizer_load(&d->tokenizer, tokenizer_file) < 0) return -1;
    if (specials_find(&d->tokenizer, &d->config, d->dir, tokenizer_file,
                      options->template_) < 0) return -1;
    if (opt.max_length > d->config.max_positions) {
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", opt.max_length,
                    d->config.max_positions);
    }
    diagnosis_specials(d);
    for (int i = 0; i < d->num_files; i++) {
        File *f = &d->file[i];
        f->train = i < opt.train.n;
        f->spec = f->train ? opt.train.item[i] : opt.eval.item[i - opt.train.n];
        if (load_file(d, f, options) < 0) return -1;
    }
    return settle_rows(d);
}

static int diagnose(Diagnosis *d, const char *tokenizer_file, const DataOptions *options) {
    if (load_all(d, tokenizer_file, options) < 0) return -1;
    const LoraOptions lora = lora_options();
    const int kind = d->objective->reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL;
    if (narrow_asked() && checkpoint_settle_narrow(&d->config, d->dir, kind) < 0) return -1;
    if (adapter_settle(&d->config, &lora) < 0) return -1;
    if (opt.pooling >= 0) d->config.pooling = (Pooling)opt.pooling;
    if (!d->objective->reward) d->config.pooling = POOL_LAST;     // the end is a target, not a row
    printf("objective %s; in rows: id\"piece\", %s\n", d->objective->name,
           legend(d->objective, d->config.pooling));
    show_tokenizer(d, tokenizer_file);
    if (diagnose_folder(d, tokenizer_file) < 0) return -1;
    for (int i = 0; i < d->num_files; i++) {
        if (report_file(d, &d->file[i]) < 0) return -1;
    }
    if (diagnose_across(d) < 0) return -1;
    if (d->plan.len) printf("%s", d->plan.data);
    if (estimate_costs(d) < 0) return -1;
    return d->failed ? -1 : 0;
}

static const char reads_twice[] = "doctor reads";

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
    _Static_assert(sizeof by_kind / sizeof *by_kind == NUM_DATA_KINDS, "a kind of no objective");
    const char *name = NULL;
    DataOptions o = *options;
    Tokenizer t = {0};
    o.bad_row = bad_row_known;
    o.none_left = 1;
    o.over_length = OVER_TRUNCATE;
    o.plain_text = ONE_DOCUMENT;
    if (refuse_streams(&opt.train, reads_twice) < 0) goto done;
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
    Diagnosis d;
    const Notes *traps = &d.notes[TRAP];
    const Notes *warnings = &d.notes[WARNING], *advice = &d.notes[ADVICE];
    if (refuse_streams(&opt.train, reads_twice) < 0) return -1;
    if (refuse_streams(&opt.eval, reads_twice) < 0) return -1;
    diagnosis_init(&d, dir, objective);
    d.num_files = opt.train.n + opt.eval.n;
    d.file = allocate((size_t)d.num_files, sizeof *d.file);
    if (!d.file) return -1;

    int result = diagnose(&d, tokenizer_file, options);
    const int warned = warnings->count + advice->count;
    if (traps->count + warned) printf("\n");
    if (traps->lines.len) printf("%s", traps->lines.data);
    if (warnings->lines.len) printf("%s", warnings->lines.data);
    if (advice->lines.len) printf("%s", advice->lines.data);
    if (result == 0) {
        printf("\ntraps: %d, warnings: %d\n", traps->count, warned);
        if (traps->count) {
            fail(1, "traps: %d; see the lines that begin with \"trap:\"", traps->count);
            result = -1;
        }
    }

    for (int i = 0; i < d.num_files; i++) {
        dataset_free(&d.file[i].whole);
        dataset_free(&d.file[i].seen);
    }
    tokenizer_free(&d.tokenizer);
    free(d.file);
    diagnosis_free(&d);
    return result;
}
#endif

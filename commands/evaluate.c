/* evaluate.c - more eval and score: reward models and policies on held-out data.  The cells (model, data set)
 * of reward differences, their metrics as tables and JSON lines; cells computed apart (other seeds, other
 * folds) are read back and joined.                                                                         */
#ifndef EVALUATE_C
#define EVALUATE_C
#include "setup.c"

typedef struct {
    char model[64], data[64];
    int n;                                                            // pairs
    double *delta, *length;                                           // reward and length, chosen - rejected
    int *chosen, *rejected;                                           // lengths in characters
    uint64_t *group, *line;                                           // prompt; line of the file
    size_t capacity[6];
    Metrics metrics;
} Cell;

typedef struct { Cell *cell; size_t n, capacity; } Cells;

static Cell *cell_of(Cells *c, const char *model, const char *data) {
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->cell[i].model, model) && !strcmp(c->cell[i].data, data)) return &c->cell[i];
    if (reserve(&c->cell, &c->capacity, c->n + 1, sizeof *c->cell) < 0) return NULL;
    Cell *x = &c->cell[c->n++];
    memset(x, 0, sizeof *x);
    snprintf(x->model, sizeof x->model, "%s", model);
    snprintf(x->data, sizeof x->data, "%s", data);
    return x;
}

static int cell_add(Cell *c, double delta, int chosen, int rejected, uint64_t group, uint64_t line) {
    size_t need = (size_t)c->n + 1;
    if (reserve(&c->delta, &c->capacity[0], need, sizeof *c->delta) < 0
        || reserve(&c->length, &c->capacity[1], need, sizeof *c->length) < 0
        || reserve(&c->chosen, &c->capacity[2], need, sizeof *c->chosen) < 0
        || reserve(&c->rejected, &c->capacity[3], need, sizeof *c->rejected) < 0
        || reserve(&c->group, &c->capacity[4], need, sizeof *c->group) < 0
        || reserve(&c->line, &c->capacity[5], need, sizeof *c->line) < 0) return -1;
    c->delta[c->n] = delta, c->length[c->n] = (double)chosen - rejected, c->chosen[c->n] = chosen;
    c->rejected[c->n] = rejected, c->group[c->n] = group, c->line[c->n++] = line;
    return 0;
}

static void cells_free(Cells *c) {
    for (size_t i = 0; i < c->n; i++) {
        Cell *x = &c->cell[i];
        free(x->delta), free(x->length), free(x->chosen), free(x->rejected), free(x->group), free(x->line);
    }
    free(c->cell);
}

// ------------------------------------------------------------------------------------------ in: JSON lines

// The "pair" lines of a results file. 0, or -1 after fail().
static int cells_read(Cells *cells, const char *path) {
    Buffer text = {0};
    Json j = {0};
    int ok = file_read(&text, path) == 0;
    size_t number = 1;
    for (size_t at = 0; ok && at < text.len; number++) {
        size_t n = strcspn(text.data + at, "\n");
        j.first_line = number;
        ok = json_parse(&j, text.data + at, n, path) == 0;
        if (ok && json_equal(&j, json_get(&j, 0, "event"), "pair")) {
            int model = json_get(&j, 0, "model"), data = json_get(&j, 0, "eval"),
                delta = json_get(&j, 0, "delta"), chosen = json_get(&j, 0, "chosen_chars"),
                rejected = json_get(&j, 0, "rejected_chars"), group = json_get(&j, 0, "group"),
                line = json_get(&j, 0, "line");
            double number_of_line = line < 0 ? -1 : json_number(&j, line);
            Cell *c = NULL;
            if (model < 0 || data < 0 || delta < 0 || chosen < 0 || rejected < 0 || group < 0 || line < 0
                || json_type(&j, model) != JSON_STRING || json_type(&j, data) != JSON_STRING
                || json_type(&j, group) != JSON_STRING || json_type(&j, delta) != JSON_NUMBER
                || !(fabs(json_number(&j, chosen)) < 1e9) || !(fabs(json_number(&j, rejected)) < 1e9)
                || !(number_of_line >= 0 && number_of_line < 1e15))
                ok = fail(EX_DATAERR, "%s:%zu: not a line that eval --out wrote", path, number) == 0;
            else ok = (c = cell_of(cells, json_string(&j, model), json_string(&j, data))) != NULL
                && cell_add(c, json_number(&j, delta), (int)json_number(&j, chosen),
                            (int)json_number(&j, rejected), strtoull(json_string(&j, group), NULL, 16),
                            (uint64_t)number_of_line) == 0;
        }
        at += n + (text.data[at + n] != 0);
    }
    json_free(&j), buffer_free(&text);
    return ok ? 0 : -1;
}

// ------------------------------------------------------------------------------------------- out: JSON lines

static int write_pairs(FILE *f, const Cell *c, int from) {
    Buffer model = {0}, data = {0};
    int ok = json_quote(&model, c->model, strlen(c->model)) == 0
          && json_quote(&data, c->data, strlen(c->data)) == 0;
    for (int i = from; ok && i < c->n; i++)
        fprintf(f, "{\"event\":\"pair\",\"model\":%s,\"eval\":%s,\"line\":%llu,\"group\":\"%016llx\","
                "\"delta\":%.17g,\"chosen_chars\":%d,\"rejected_chars\":%d}\n", model.data, data.data,
                (unsigned long long)c->line[i], (unsigned long long)c->group[i], c->delta[i], c->chosen[i],
                c->rejected[i]);
    buffer_free(&model), buffer_free(&data);
    return ok ? 0 : -1;
}

static void write_box(FILE *f, const char *name, const Box *b) {
    fprintf(f, ",\"%s\":{\"n\":%d,\"mean\":%.9g,\"q1\":%.9g,\"median\":%.9g,\"q3\":%.9g,\"outliers\":%d,"
            "\"outlier_mean\":%.9g}", name, b->n, b->mean, b->q1, b->median, b->q3, b->outliers,
            b->outlier_mean);
}
static int write_metrics(FILE *f, const Cell *c) {
    const Metrics *m = &c->metrics;
    Buffer model = {0}, data = {0};
    int ok = json_quote(&model, c->model, strlen(c->model)) == 0
          && json_quote(&data, c->data, strlen(c->data)) == 0;
    if (ok) {
        fprintf(f, "{\"event\":\"metrics\",\"model\":%s,\"eval\":%s,\"n\":%d,\"prompts\":%d,"
                "\"accuracy\":%.9g,\"accuracy_95\":[%.9g,%.9g],\"accuracy_strict\":%.9g,\"tie_rate\":%.9g,"
                "\"nll\":%.9g,\"brier\":%.9g,\"margin\":%.9g", model.data, data.data, m->n, m->clusters,
                m->accuracy, m->accuracy_95.low, m->accuracy_95.high, m->accuracy_strict, m->tie_rate, m->nll,
                m->brier, m->margin);
        for (int k = 0; k < NUM_ECE; k++) {
            const int bins = ece_bins[k];
            fprintf(f, ",\"ece_%d\":%.9g,\"ace_more_%d\":%.9g,\"mce_%d\":%.9g,\"confidence_ece_%d\":%.9g",
                    bins, m->symmetric[k].ece, bins, m->symmetric[k].ace, bins, m->symmetric[k].mce, bins,
                    m->confidence_ece[k]);
        }
        fprintf(f, ",\"ece_95\":[%.9g,%.9g],\"ece_equalmass\":%.9g,\"longer_preferred\":%.9g,"
                "\"longer_wins\":%.9g,\"quantiles\":{", m->ece_95.low, m->ece_95.high, m->ece_equalmass,
                m->longer_preferred, m->longer_wins);
        for (int k = 0; k < NUM_QUANTILES; k++)
            fprintf(f, "%s\"%g\":%.9g", k ? "," : "", quantile_levels[k], m->quantile[k]);
        fprintf(f, "},\"histogram_end\":%.9g,\"histogram\":[", m->histogram_end);
        for (int k = 0; k < HISTOGRAM_BINS; k++) fprintf(f, "%s%d", k ? "," : "", m->histogram[k]);
        fprintf(f, "]");
        write_box(f, "correct", &m->correct), write_box(f, "wrong", &m->wrong);
        fprintf(f, "}\n");
    }
    buffer_free(&model), buffer_free(&data);
    return ok ? 0 : -1;
}

// ---------------------------------------------------------------------------------------------- the table

static void print_details(const Cell *c) {
    const Metrics *m = &c->metrics;
    printf("    ECE / ACE / MCE ");
    for (int k = 0; k < NUM_ECE; k++)
        printf("  %d bins %.4f %.4f %.4f", ece_bins[k], m->symmetric[k].ece, m->symmetric[k].ace,
               m->symmetric[k].mce);
    printf("\n    confidence ECE  ");
    for (int k = 0; k < NUM_ECE; k++) printf("  %d bins %.4f", ece_bins[k], m->confidence_ece[k]);
    printf("  equal mass %.4f\n    reward difference quantiles ", m->ece_equalmass);
    for (int k = 0; k < NUM_QUANTILES; k++) printf(" %g: %.3f ", quantile_levels[k], m->quantile[k]);
    printf("\n    histogram -%.2f..%.2f ", m->histogram_end, m->histogram_end);
    for (int k = 0; k < HISTOGRAM_BINS; k++) printf(" %d", m->histogram[k]);
    printf("\n    right: %d, median %.3f, %d outliers of mean %.3f;  wrong: %d, median %.3f, %d outliers of "
           "mean %.3f\n    the model prefers the longer answer in %.1f %% of pairs\n", m->correct.n,
           m->correct.median, m->correct.outliers, m->correct.outlier_mean, m->wrong.n, m->wrong.median,
           m->wrong.outliers, m->wrong.outlier_mean, 100 * m->longer_preferred);
}

static int same_pairs(const Cell *a, const Cell *b) {
    return a && b && a->n == b->n && !memcmp(a->line, b->line, (size_t)a->n * sizeof *a->line)
        && !memcmp(a->group, b->group, (size_t)a->n * sizeof *a->group);
}

// distinct names in order of appearance; which: 0 models, 1 data sets
static int names_of(const Cells *c, int which, const char **name, int max) {
    int n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const char *x = which ? c->cell[i].data : c->cell[i].model;
        int k = 0;
        while (k < n && strcmp(name[k], x)) k++;
        if (k == n && n < max) name[n++] = x;
    }
    return n;
}
static const Cell *find_cell(const Cells *c, const char *model, const char *data) {
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->cell[i].model, model) && !strcmp(c->cell[i].data, data)) return &c->cell[i];
    return NULL;
}

// A row of the table: the model's name, its numbers; error is the symmetric ECE of 10 bins.
typedef struct { double accuracy, low, high, ties, error, brier, margin, nll; } Row;
static void print_head(const char *beside) {
    printf("%-18s %6s   %-15s %5s %7s %7s %8s %7s  %s\n", "", "acc %", "95 %", "ties", "ECE", "Brier",
           "margin", "NLL", beside);
}
static void print_row(const char *name, const Row *x) {
    printf("%-18s %6.2f   %5.2f .. %5.2f  %5.3f %7.4f %7.4f %8.3f %7.4f", name, 100 * x->accuracy,
           100 * x->low, 100 * x->high, x->ties, x->error, x->brier, x->margin, x->nll);
}

// One model's mean over all sets, and its difference to `first` on the same pairs. 0, or -1 after fail().
static int print_mean_row(const Cells *cells, const char *name, const char *first, const char **data,
                          int sets) {
    Row mean = {0};
    double variance = 0, difference = 0, dvariance = 0;
    int paired = 0;
    for (int s = 0; s < sets; s++) {
        const Cell *c = find_cell(cells, name, data[s]), *other = find_cell(cells, first, data[s]);
        double d = 0, se = 0;
        if (!c) return 0;
        const Metrics *m = &c->metrics;
        if (paired_difference(&d, &se, c->delta, NULL, c->group, c->n) < 0) return -1;
        variance += se * se;
        mean.accuracy += m->accuracy / sets, mean.ties += m->tie_rate / sets;
        mean.error += m->symmetric[1].ece / sets, mean.brier += m->brier / sets;
        mean.margin += m->margin / sets, mean.nll += m->nll / sets;
        if (name == first || !same_pairs(other, c)) continue;
        if (paired_difference(&d, &se, c->delta, other->delta, c->group, c->n) < 0) return -1;
        paired++, difference += d, dvariance += se * se;
    }
    double half = 1.96 * sqrt(variance) / sets;
    mean.low = mean.accuracy - half, mean.high = mean.accuracy + half;
    print_row(name, &mean);
    if (paired == sets) printf("  %+.2f +- %.2f", 100 * difference / sets, 100 * sqrt(dvariance) / sets);
    printf("\n");
    return 0;
}

/* A block for each data set and one for the mean over data sets.  The last column compares with the first
 * model on the same pairs: difference of accuracies and its standard error, clustered by prompt; for the mean
 * over sets the standard errors of the sets combine as of independent samples.                             */
static int print_table(Cells *cells) {
    enum { MAX_NAMES = 256 };
    const char *model[MAX_NAMES], *data[MAX_NAMES];
    int models = names_of(cells, 0, model, MAX_NAMES), sets = names_of(cells, 1, data, MAX_NAMES), ok = 1;
    const char *beside = models > 1 ? "against the first row" : "";
    double longer = 0;
    for (size_t i = 0; ok && i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        ok = metrics_compute(&c->metrics, c->delta, c->chosen, c->rejected, c->group, c->n,
                             (uint64_t)opt.seed) == 0;
    }
    for (int s = 0; ok && s < sets; s++) {
        const Cell *first = find_cell(cells, model[0], data[s]), *any = NULL;
        double d = 0, se = 0;
        for (int r = 0; r < models && !any; r++) any = find_cell(cells, model[r], data[s]);
        longer += any->metrics.longer_wins / sets;
        printf("\n%s: %d pairs, %d prompts; the longer answer wins %.1f %%\n", data[s], any->n,
               any->metrics.clusters, 100 * any->metrics.longer_wins);
        print_head(beside);
        for (int r = 0; ok && r < models; r++) {
            const Cell *c = find_cell(cells, model[r], data[s]);
            if (!c) continue;
            const Metrics *m = &c->metrics;
            print_row(model[r], &(Row){m->accuracy, m->accuracy_95.low, m->accuracy_95.high, m->tie_rate,
                                       m->symmetric[1].ece, m->brier, m->margin, m->nll});
            if (r && same_pairs(first, c)) {
                ok = paired_difference(&d, &se, c->delta, first->delta, c->group, c->n) == 0;
                printf("  %+.2f +- %.2f", 100 * d, 100 * se);
            }
            printf("\n");
            if (models == 1) print_details(c);
        }
        if (!ok || !first) continue;
        // a rule that needs no model, on the same pairs
        ok = paired_difference(&d, &se, first->length, first->delta, first->group, first->n) == 0;
        printf("%-18s %6.2f   %62s  %+.2f +- %.2f\n", "longer answer wins",
               100 * first->metrics.longer_wins, "", 100 * d, 100 * se);
    }
    if (sets < 2 || !ok) return ok ? 0 : -1;
    printf("\nmean of the %d sets; the longer answer wins %.1f %%\n", sets, 100 * longer);
    print_head(beside);
    for (int r = 0; ok && r < models; r++) ok = print_mean_row(cells, model[r], model[0], data, sets) == 0;
    return ok ? 0 : -1;
}

// ----------------------------------------------------------------------------------------- evaluating models

// dir with %s replaced by the data set's name
static void folder_for(char path[4096], const char *dir, size_t n, const char *name) {
    const char *mark = strstr(dir, "%s");
    if (mark && (size_t)(mark - dir) + 2 <= n)
        snprintf(path, 4096, "%.*s%s%.*s", (int)(mark - dir), dir, name, (int)(n - (size_t)(mark - dir) - 2),
                 mark + 2);
    else snprintf(path, 4096, "%.*s", (int)n, dir);
}

// the same rows of a file, each answer with the same number
static int same_rows(const Dataset *a, const Dataset *b) {
    size_t i = 0;
    while (i < a->num_records && i < b->num_records && a->record[i].line_start == b->record[i].line_start
           && a->record[i].first == b->record[i].first) i++;
    return i == a->num_records && i == b->num_records && a->num_answers == b->num_answers;
}

// The mean reward of the folders A+B+C for every answer of the file, and the pairs' differences into a cell.
static int evaluate_cell(Cells *cells, const char *spec, const char *file, FILE *out) {
    char name[64], path[4096];
    const char *folders;
    DataOptions o = data_options();
    double *sum = NULL, *reward = NULL;
    Dataset d = {0};
    int ok = 1, parts = 0;
    Cell *c = NULL;
    split_model(spec, name, &folders);
    if (!*folders) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    for (const char *dir = folders; ok && *dir; ) {
        size_t n = strcspn(dir, "+");
        Model m = {0};
        Tokenizer t = {0};
        Dataset own = {0};                                            // each model has its own tokenizer
        char set[64];
        dataset_name(set, file);
        folder_for(path, dir, n, set);
        ok = load_model(&m, &t, path, LOAD_REWARD_MODEL) == 0;
        ok = ok && dataset_load(&own, file, &t, &o) == 0;
        if (ok && own.kind != DATA_PAIR) ok = needs(&own, "pairs are needed") == 0;
        ok = ok && keep_fold(&own, 1) == 0;
        if (ok && parts && !same_rows(&d, &own))
            ok = fail(EX_DATAERR, "%s: --over_length drop leaves other pairs to another model of %s",
                      own.path, name) == 0;
        if (ok && !parts)
            ok = (sum = allocate(own.num_answers, sizeof *sum))
              && (reward = allocate(own.num_answers, sizeof *reward));
        ok = ok && evaluate_texts(&m, t.eos, &own, reward) == 0;
        for (size_t i = 0; ok && i < own.num_answers; i++) sum[i] += reward[i];
        if (parts++) dataset_free(&own);
        else d = own;
        model_free(&m), tokenizer_free(&t);
        dir += n + (dir[n] == '+');
    }
    ok = ok && (c = cell_of(cells, name, d.name)) != NULL;
    int from = c ? c->n : 0;
    for (size_t i = 0; ok && i < d.num_records; i++) {
        const Record *r = &d.record[i];
        const Answer *a = &d.answer[r->first];
        double delta = (sum[r->first] - sum[r->first + 1]) / parts;
        ok = cell_add(c, delta, a[0].chars, a[1].chars, r->prompt_id, r->line) == 0;
    }
    if (ok && c->n == from) ok = fail(EX_DATAERR, "%s: no pairs", d.path) == 0;
    if (ok && out) ok = write_pairs(out, c, from) == 0;
    dataset_free(&d), free(sum), free(reward);
    return ok ? 0 : -1;
}

// dir's log-probabilities of a file's answers: d, logp(num_answers); the model is gone when it returns.
static int policy_logps(Dataset *d, double **logp, const char *dir, const char *file) {
    Model m = {0};
    Tokenizer t = {0};
    DataOptions o = data_options();
    int ok = load_model(&m, &t, dir, LOAD_LANGUAGE_MODEL) == 0 && dataset_load(d, file, &t, &o) == 0;
    if (ok && d->kind != DATA_PAIR && d->kind != DATA_POINT && d->kind != DATA_COMPLETION)
        ok = needs(d, "pairs, points or completions are needed") == 0;
    ok = ok && keep_fold(d, 1) == 0 && (*logp = allocate(d->num_answers, sizeof **logp))
      && evaluate_texts(&m, t.eos, d, *logp) == 0;
    model_free(&m), tokenizer_free(&t);
    return ok ? 0 : -1;
}

// One policy against the reference's log-probabilities ref of d: pairs go into a cell, all else is printed.
static int evaluate_policy(Cells *cells, const char *spec, const char *file, const Dataset *d,
                           const double *ref, FILE *out) {
    char name[64];
    const char *dir;
    Dataset own = {0};
    Buffer quoted = {0};
    double *logp = NULL, *reward = NULL;
    Held x;
    Cell *c = NULL;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    int ok = policy_logps(&own, &logp, dir, file) == 0;
    if (ok && (own.num_tokens != d->num_tokens
               || memcmp(own.token, d->token, d->num_tokens * sizeof *d->token)))
        ok = fail(EX_DATAERR,
                  "%s: %s has another tokenizer than the reference; log-probabilities of other tokens do "
                  "not compare", own.path, name) == 0;
    ok = ok && (reward = allocate(own.num_answers, sizeof *reward))
      && (own.kind != DATA_PAIR || (c = cell_of(cells, name, own.name)));
    if (ok) implicit_rewards(reward, &own, logp, ref, opt.beta);
    int from = c ? c->n : 0;
    for (size_t i = 0; ok && c && i < own.num_records; i++) {
        const Record *r = &own.record[i];
        const Answer *a = &own.answer[r->first];
        ok = cell_add(c, reward[r->first] - reward[r->first + 1], a[0].chars, a[1].chars, r->prompt_id,
                      r->line) == 0;
    }
    if (ok && c && out) ok = write_pairs(out, c, from) == 0;
    ok = ok && held_out(&x, &own, logp, reward) == 0;
    if (ok) printf("%s on ", name), print_held(stdout, own.name, &own, &x);
    if (ok && out && (ok = json_quote(&quoted, name, strlen(name)) == 0)) {
        fprintf(out, "{\"event\":\"policy\",\"model\":%s,\"eval\":\"%s\",\"n\":%d", quoted.data, own.name,
                x.n);
        write_held(out, "", &x);
        fprintf(out, "}\n");
    }
    dataset_free(&own), free(logp), free(reward), buffer_free(&quoted);
    return ok ? 0 : -1;
}

// The reference, then each policy: never two models at a time.
static int evaluate_policies(Cells *cells, const char *file, FILE *out) {
    Dataset d = {0};
    double *ref = NULL;
    int ok = policy_logps(&d, &ref, opt.reference, file) == 0;
    for (int i = 0; ok && i < opt.model.n; i++)
        ok = evaluate_policy(cells, opt.model.item[i], file, &d, ref, out) == 0;
    dataset_free(&d), free(ref);
    return ok ? 0 : -1;
}

int command_eval(void) {
    Cells cells = {0};
    Output file = {.fd = -1};
    FILE *out = NULL;
    char a[64], b[64];
    int ok = 1;
    if (!opt.from.n && (!opt.model.n || !opt.eval.n))
        return fail(EX_USAGE, "--model and --eval are needed, or --from");
    for (int i = 0; i < opt.eval.n; i++)                               // cells of one name would be joined
        for (int k = 0; k < i; k++)
            if (dataset_name(a, opt.eval.item[i]), dataset_name(b, opt.eval.item[k]), !strcmp(a, b))
                return fail(EX_USAGE, "--eval: two files are called %s; give one another name: FILE:NAME", a);
    if (names_differ(&opt.model) < 0) return -1;
    if (opt.out && (output_open(&file, opt.out) < 0 || !(out = fdopen(dup(file.fd), "w")))) {
        output_drop(&file);
        return error_code ? -1 : fail(EX_CANTCREAT, "%s: %s", opt.out, strerror(errno));
    }
    for (int i = 0; ok && i < opt.from.n; i++) ok = cells_read(&cells, opt.from.item[i]) == 0;
    for (int k = 0; ok && opt.reference && k < opt.eval.n; k++)
        ok = evaluate_policies(&cells, opt.eval.item[k], out) == 0;
    for (int i = 0; ok && !opt.reference && i < opt.model.n; i++)
        for (int k = 0; ok && k < opt.eval.n; k++)
            ok = evaluate_cell(&cells, opt.model.item[i], opt.eval.item[k], out) == 0;
    if (ok && !cells.n && opt.from.n) ok = fail(EX_DATAERR, "%s: no pairs in it", opt.from.item[0]) == 0;
    ok = ok && (!cells.n || print_table(&cells) == 0);
    for (size_t i = 0; ok && out && i < cells.n; i++) ok = write_metrics(out, &cells.cell[i]) == 0;
    int bad = out && ferror(out);
    if (out && (fclose(out) || bad) && ok)
        ok = fail(EX_IOERR, "%s: could not be written", opt.out) == 0;
    ok = ok && (!out || (output_close(&file) == 0 && output_rename(&file) == 0));
    output_drop(&file);
    cells_free(&cells);
    return ok ? 0 : -1;
}

/* Standard input to standard output: every row as it stands with what the model says added: scores_chosen,
 * scores_rejected and results (1, 0.5 or 0) for pairs, reward for one answer, rewards for several.         */
int command_score(void) {
    Model m = {0};
    Tokenizer t = {0};
    Dataset d = {0};
    Buffer report = {0};
    DataOptions o = data_options();
    double *reward = NULL;
    o.as_given = 1;
    if (!opt.model.n) return fail(EX_USAGE, "--model is needed");
    int ok = load_model(&m, &t, opt.model.item[0], LOAD_REWARD_MODEL) == 0
          && dataset_load(&d, "-", &t, &o) == 0
          && dataset_report(&d, &report) == 0;
    if (ok && !opt.quiet) fprintf(stderr, "%s", report.data);
    if (ok && d.kind == DATA_PROMPT)
        ok = fail(EX_DATAERR, "standard input: prompts without answers have no reward") == 0;
    ok = ok && (reward = allocate(d.num_answers, sizeof *reward))
      && evaluate_texts(&m, t.eos, &d, reward) == 0;
    for (size_t i = 0; ok && i < d.num_records; i++) {
        const Record *r = &d.record[i];
        size_t n = r->line_len;
        const char *row = d.contents.data + r->line_start;
        const double *x = reward + r->first;
        while (n && row[n-1] != '}') n--;
        for (size_t k = 0; k + 1 < n; k++) putchar(row[k] == '\n' || row[k] == '\r' ? ' ' : row[k]);
        if (d.kind == DATA_PAIR)
            printf(",\"scores_chosen\":%.9g,\"scores_rejected\":%.9g,\"results\":%g", x[0], x[1],
                   x[0] > x[1] ? 1 : x[0] == x[1] ? 0.5 : 0);
        else if (r->count == 1) printf(",\"reward\":%.9g", x[0]);
        else for (int k = 0; k < r->count; k++)
            printf("%s%.9g%s", k ? "," : ",\"rewards\":[", x[k], k + 1 < r->count ? "" : "]");
        printf("}\n");
    }
    if (ok && (fflush(stdout) || ferror(stdout)))
        ok = fail(EX_IOERR, "standard output: could not be written") == 0;
    model_free(&m), tokenizer_free(&t), dataset_free(&d), buffer_free(&report), free(reward);
    return ok ? 0 : -1;
}
#endif

/* tables.c - the tables of more eval for people: a block for each data set, a row for each model,
 * and the mean of the sets.                                                                      */
#ifndef TABLES_C
#define TABLES_C
#include "cells.c"

int tables_print(Cells *cells, int parts);      // of all cells; parts: those of --by too

enum { TEN_BINS = 1 };            // ece_bins[1] is 10: the calibration error that tables show

// The numbers of a row of a table; low .. high is the 95 % interval of the accuracy, similar the
// accuracy on pairs of similar length, after the ECE after a temperature.
typedef struct {
    double accuracy, low, high, similar, ties, ece, after, brier, margin, nll;
} TableRow;

// Distinct names in the order in which they appear.
typedef struct {
    const char **name;
    int n;
} Names;

// Which cells there may be: one for each model and data set.
typedef struct {
    const Cells *cells;
    Names models, sets;
    int trained;                  // models but the bag of words
} Table;

static void names_add(Names *names, const char *name) {
    for (int k = 0; k < names->n; k++) {
        if (!strcmp(names->name[k], name)) return;
    }
    names->name[names->n++] = name;
}

static const char bag_name[] = "bag of words";

// The head of the last column.
static const char *beside_models(const Table *t) {
    return t->models.n > 1 ? "against the first row" : "";
}

static TableRow row_of(const Metrics *m) {
    return (TableRow){
        .accuracy = m->accuracy,
        .low = m->accuracy_95.low,
        .high = m->accuracy_95.high,
        .similar = m->similar_accuracy,
        .ties = m->tie_rate,
        .ece = m->symmetric[TEN_BINS].ece,
        .after = m->after_ece,
        .brier = m->brier,
        .margin = m->margin,
        .nll = m->nll,
    };
}

static void print_head(const char *beside) {
    printf("%-18s %6s   %-15s %7s %5s %7s %7s %7s %8s %7s  %s\n", "", "acc %", "95 %",
           "similar", "ties", "ECE", "after T", "Brier", "margin", "NLL", beside);
}

// The accuracy on pairs of similar length, or - where there are none.
static void print_similar(double accuracy) {
    if (isnan(accuracy)) printf(" %7s", "-");
    else printf(" %7.2f", 100 * accuracy);
}

static void print_row(const char *name, const TableRow *x) {
    printf("%-18s %6.2f   %5.2f .. %5.2f ", name, 100 * x->accuracy, 100 * x->low, 100 * x->high);
    print_similar(x->similar);
    printf(" %5.3f %7.4f %7.4f %7.4f %8.3f %7.4f", x->ties, x->ece, x->after, x->brier, x->margin,
           x->nll);
}

// Have answers of the cell a text?  Those of which only features are known have no length.
static int has_lengths(const Cell *c) {
    for (int i = 0; i < c->n; i++) {
        if (c->pair[i].chosen > 0 || c->pair[i].rejected > 0) return 1;
    }
    return 0;
}

// What a table of several models has no room for.
static void print_details(const Cell *cell) {
    const Metrics *m = &cell->metrics;
    printf("    ECE / ACE / MCE ");
    for (int k = 0; k < NUM_ECE; k++) {
        const Calibration *c = &m->symmetric[k];
        printf("  %d bins %.4f %.4f %.4f", ece_bins[k], c->ece, c->ace, c->mce);
    }
    printf("\n    confidence ECE  ");
    for (int k = 0; k < NUM_ECE; k++) printf("  %d bins %.4f", ece_bins[k], m->confidence_ece[k]);
    printf("  equal mass %.4f\n", m->ece_equalmass);
    printf("    temperature %.3f", m->temperature);
    printf("  each fifth with that of the others: ECE %.4f, Brier %.4f, NLL %.4f\n",
           m->after_ece, m->after_brier, m->after_nll);

    printf("    reward difference quantiles ");
    for (int k = 0; k < NUM_QUANTILES; k++) {
        printf(" %g: %.3f ", quantile_levels[k], m->quantile[k]);
    }
    printf("\n    histogram -%.2f..%.2f ", m->histogram_end, m->histogram_end);
    for (int k = 0; k < HISTOGRAM_BINS; k++) printf(" %d", m->histogram[k]);

    const Box *right = &m->correct, *wrong = &m->wrong;
    printf("\n    right: %d, median %.3f, %d outliers of mean %.3f;", right->n, right->median,
           right->outliers, right->outlier_mean);
    printf("  wrong: %d, median %.3f, %d outliers of mean %.3f\n", wrong->n, wrong->median,
           wrong->outliers, wrong->outlier_mean);
    if (has_lengths(cell)) {
        printf("    the model prefers the longer answer in %.1f %% of pairs\n",
               100 * m->longer_preferred);
    }
    if (m->similar) {
        printf("    of %d pairs of similar length it gets %.2f %% (%.2f .. %.2f) right\n",
               m->similar, 100 * m->similar_accuracy, 100 * m->similar_accuracy_95.low,
               100 * m->similar_accuracy_95.high);
    }
}

// Did both models get the same pairs, in the same order?
static int same_pairs(const Cell *a, const Cell *b) {
    if (a->n != b->n) return 0;
    for (int i = 0; i < a->n; i++) {
        if (a->pair[i].line != b->pair[i].line) return 0;
        if (a->pair[i].prompt_id != b->pair[i].prompt_id) return 0;
    }
    return 1;
}

/* The last column: how much more accurate delta (n) is than the first model on the same pairs, and
 * the standard error of that, clustered by prompt.                                               */
static int print_difference(const double *delta, const Cell *first) {
    double d = 0, error = 0;
    const uint64_t *ids = first->prompt_id;
    if (paired_difference(&d, &error, delta, first->delta, ids, first->n) < 0) return -1;
    printf("  %+.2f +- %.2f", 100 * d, 100 * error);
    return 0;
}

// The cell of the first model that has this set.
static const Cell *cell_of_set(const Table *t, const char *data) {
    const Cell *c = NULL;
    for (int r = 0; !c && r < t->models.n; r++) c = cell_find(t->cells, t->models.name[r], data);
    return c;
}

// The block of one data set: a row for each model, then one for a rule that needs no model.
static int print_set(const Table *t, const char *data) {
    const Cell *first = cell_find(t->cells, t->models.name[0], data);
    const Cell *some = cell_of_set(t, data);
    const int lengths = has_lengths(some);
    printf("\n%s: %d pairs, %d prompts", data, some->n, some->metrics.clusters);
    if (lengths) {
        printf("; the longer answer wins %.1f %%; %d pairs are of similar length",
               100 * some->metrics.longer_wins, some->metrics.similar);
    }
    printf("\n");
    print_head(beside_models(t));
    for (int r = 0; r < t->models.n; r++) {
        const char *model = t->models.name[r];
        const Cell *c = cell_find(t->cells, model, data);
        if (!c) continue;
        const TableRow row = row_of(&c->metrics);
        print_row(model, &row);
        if (first && c != first && same_pairs(first, c)) {
            if (print_difference(c->delta, first) < 0) return -1;
        }
        printf("\n");
        if (t->trained == 1 && strcmp(model, bag_name)) print_details(c);
    }
    if (!first || !lengths) return 0;
    printf("%-18s %6.2f   %15s", "longer answer wins", 100 * first->metrics.longer_wins, "");
    print_similar(first->metrics.similar_longer_wins);
    printf(" %46s", "");
    if (print_difference(first->length, first) < 0) return -1;
    printf("\n");
    return 0;
}

// A row of the table of rankings.
static void print_ranked(const char *name, const RankedMetrics *m, int has_likelihood) {
    const Interval *b = &m->best.interval, *t = &m->tau.interval, *l = &m->loglik.interval;
    printf("%-18s %6.2f   %5.2f .. %5.2f", name, 100 * m->best.value, 100 * b->low, 100 * b->high);
    printf("  %7.3f   %6.3f .. %6.3f", m->tau.value, t->low, t->high);
    if (has_likelihood) printf("  %8.3f   %7.3f .. %7.3f", m->loglik.value, l->low, l->high);
    printf("\n");
}

// Of a data set that has rankings: how often the best answer is found, the rank correlation, the
// likelihood of the rankings.
static void print_rankings(const Table *t, const char *data) {
    const Cell *some = NULL;
    for (int r = 0; r < t->models.n; r++) {
        const Cell *c = cell_find(t->cells, t->models.name[r], data);
        if (!c || !c->num_rankings) continue;
        if (!some) {
            printf("%s: %d rankings of %.1f answers, whose pairs are above; a guess finds the best "
                   "of %.1f %%\n", data, c->num_rankings, c->ranked.answers,
                   100 * c->ranked.chance);
            printf("%-18s %6s   %-14s  %7s   %-16s  %8s   %s\n", "", "best %", "95 %", "tau",
                   "95 %", "log-lik", "95 %");
        }
        print_ranked(c->model, &c->ranked, 1);
        some = c;
    }
    if (some && has_lengths(some)) print_ranked("longer answer wins", &some->longest, 0);
}

// A table of the cell's parts, the least accurate first.
static void print_parts(const Cells *cells, const Cell *c) {
    printf("\n%s by %s, %s\n", c->data, opt.by, c->model);
    print_head("");
    for (int k = 0; k < c->num_parts; k++) {
        const Metrics *m = &c->part[k].metrics;
        const char *value = cells->values.data + c->part[k].value;
        const TableRow row = row_of(m);
        print_row(*value ? value : "(none)", &row);
        printf("  %d pairs, %d prompts%s\n", m->n, m->clusters, k == c->worst ? "; the worst" : "");
    }
}

/* A model's mean over all sets, and its difference to the first model where both have the same
 * pairs of each.  The standard errors of the sets combine as those of independent samples:
 *
 *     mean = 1/S sum_s x_s      SE(mean) = 1/S sqrt(sum_s SE(x_s)^2)
 *
 * A model that lacks a set has no row. 0, or -1 after fail().                                    */
static int print_mean_row(const Table *t, int model) {
    const int S = t->sets.n;
    TableRow mean = {0};
    double variance = 0, difference = 0, difference_variance = 0;
    int paired = 0;               // sets whose pairs are those of the first model
    int similar = 0;              // sets that have pairs of similar length
    for (int s = 0; s < S; s++) {
        const Cell *c = cell_find(t->cells, t->models.name[model], t->sets.name[s]);
        const Cell *first = cell_find(t->cells, t->models.name[0], t->sets.name[s]);
        double d = 0, error = 0;
        if (!c) return 0;

        // the accuracy less that of a coin has the standard error of the accuracy itself
        if (paired_difference(&d, &error, c->delta, NULL, c->prompt_id, c->n) < 0) return -1;
        variance += error * error;
        const TableRow row = row_of(&c->metrics);
        mean.accuracy += row.accuracy / S;
        if (c->metrics.similar) {
            mean.similar += row.similar;
            similar++;
        }
        mean.ties += row.ties / S;
        mean.ece += row.ece / S;
        mean.after += row.after / S;
        mean.brier += row.brier / S;
        mean.margin += row.margin / S;
        mean.nll += row.nll / S;

        // the difference to the first model
        if (model == 0 || !first || !same_pairs(first, c)) continue;
        if (paired_difference(&d, &error, c->delta, first->delta, c->prompt_id, c->n) < 0) {
            return -1;
        }
        difference += d;
        difference_variance += error * error;
        paired++;
    }
    const double half = 1.96 * sqrt(variance) / S;
    mean.low = mean.accuracy - half;
    mean.high = mean.accuracy + half;
    mean.similar = similar ? mean.similar / similar : NAN;
    print_row(t->models.name[model], &mean);
    if (paired == S) {
        printf("  %+.2f +- %.2f", 100 * difference / S, 100 * sqrt(difference_variance) / S);
    }
    printf("\n");
    return 0;
}

// The block of the mean over data sets, with a row for each model that has them all.
static int print_mean(const Table *t) {
    double longer = 0;
    for (int s = 0; s < t->sets.n; s++) {
        longer += cell_of_set(t, t->sets.name[s])->metrics.longer_wins / t->sets.n;
    }
    printf("\nmean of the %d sets; the longer answer wins %.1f %%\n", t->sets.n, 100 * longer);
    print_head(beside_models(t));
    for (int r = 0; r < t->models.n; r++) {
        if (print_mean_row(t, r) < 0) return -1;
    }
    return 0;
}

// Measures the cells and prints a block for each data set and one for their mean; parts: and one
// for each cell of those of --by.
int tables_print(Cells *cells, int parts) {
    Table t = {.cells = cells};
    int result = -1;
    t.models.name = allocate(cells->n, sizeof *t.models.name);
    t.sets.name = allocate(cells->n, sizeof *t.sets.name);
    if (!t.models.name || !t.sets.name) goto done;
    for (size_t i = 0; i < cells->n; i++) {
        Cell *c = &cells->cell[i];
        if (cell_measure(c) < 0 || cell_measure_rankings(c) < 0) goto done;
        if (opt.by && cell_measure_parts(c, cells) < 0) goto done;
        names_add(&t.models, c->model);
        names_add(&t.sets, c->data);
    }
    for (int r = 0; r < t.models.n; r++) t.trained += strcmp(t.models.name[r], bag_name) != 0;
    for (int s = 0; s < t.sets.n; s++) {
        if (print_set(&t, t.sets.name[s]) < 0) goto done;
        print_rankings(&t, t.sets.name[s]);
    }
    if (t.sets.n > 1 && print_mean(&t) < 0) goto done;
    for (size_t i = 0; parts && i < cells->n; i++) print_parts(cells, &cells->cell[i]);
    result = 0;
done:
    free(t.models.name);
    free(t.sets.name);
    return result;
}
#endif

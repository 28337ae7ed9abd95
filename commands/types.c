/* types.c - more eval --people: what the types of people that train em found predict together of
 * each row's annotator, as a cell made of the types' own.                                        */
#ifndef TYPES_C
#define TYPES_C
#include "setup.c"
#include "cells.c"
#include "../files/people_json.c"

// An annotator whose first rows are set aside: they say of which type one is whom people.json does
// not know, or how the rewards of the types are mixed.
typedef struct {
    const char *name;             // in Cells.values
    int rows;                     // that are set aside
    uint64_t line;                // the last of them: a ranking has several pairs
    double *margin;               // (n, K) of their pairs under each type
    size_t n, capacity;
    double w[MAX_TYPES];          // what they say, once it is asked for
    int is_fitted;
} Newcomer;

typedef struct {
    PeopleFile file;
    char model[MAX_TYPES][PATH_SIZE + 16];      // NAME=FOLDER of each type, without --model
    Newcomer *newcomer;
    size_t n, capacity;
} Types;

int  types_open(Types *x);                                          // reads --people
void types_free(Types *x);
int  types_add_all(Types *x, Cells *cells, FILE *out);              // the cells of all data sets
int  types_print_all(const Types *x, const Cells *cells);           // who is of which type

static const char types_name[] = "people";

// Forgets the newcomers of a data set.
static void newcomers_free(Types *x) {
    for (size_t i = 0; i < x->n; i++) free(x->newcomer[i].margin);
    x->n = 0;
}

void types_free(Types *x) {
    newcomers_free(x);
    people_file_free(&x->file);
    free(x->newcomer);
}

// The models of the types beside people.json, if --model names none.  0, or -1 after fail().
static int types_models(Types *x) {
    const int K = x->file.people.K;
    const char *slash = strrchr(opt.people, '/');
    const int len = slash ? (int)(slash - opt.people) + 1 : 0;
    if (opt.model.n && opt.model.n != K) {
        return fail(EX_USAGE, "--people %s: of %d types, not %d: --model names the model of each, "
                    "in order, or is left out", opt.people, K, opt.model.n);
    }
    if (opt.model.n || opt.from.n) return 0;
    for (int k = 0; k < K; k++) {
        snprintf(x->model[k], sizeof x->model[k], "type-%d=%.*stype-%d", k + 1, len, opt.people,
                 k + 1);
        opt.model.item[opt.model.n++] = x->model[k];
    }
    return 0;
}

// Reads --people, and sets what it says of other options.  0, or -1 after fail().
int types_open(Types *x) {
    const PeopleFile *f = &x->file;
    if (!opt.people) return 0;
    if (people_file_read(&x->file, opt.people) < 0) return -1;
    if (!f->finished) {
        return fail(EX_DATAERR, "%s: of a run that has not ended: the same command of train em "
                    "goes on with it", opt.people);
    }
    if (opt.by && strcmp(opt.by, f->by) != 0) {
        return fail(EX_USAGE, "--by %s: the people of %s are by \"%s\"", opt.by, opt.people, f->by);
    }
    if (f->beta > 0 && !opt.reference && !opt.from.n) {
        return fail(EX_USAGE, "--people %s: the types are policies: --reference is needed, the "
                    "model that train em started from", opt.people);
    }
    if (f->beta > 0) opt.loss.beta = f->beta;
    opt.by = f->by;
    return types_models(x);
}

// The newcomer of that name, made if there is none; NULL after fail().
static Newcomer *newcomer_of(Types *x, const char *name) {
    for (size_t i = 0; i < x->n; i++) {
        if (!strcmp(x->newcomer[i].name, name)) return &x->newcomer[i];
    }
    if (reserve(&x->newcomer, &x->capacity, x->n + 1, sizeof *x->newcomer) < 0) return NULL;
    x->newcomer[x->n] = (Newcomer){.name = name};
    return &x->newcomer[x->n++];
}

/* What the types together say of pair i of the cells type (K), by their shares w (K):
 *
 *     P(w over l | h) = sum_k w_k sigma(margin_k)          as the margin  log P - log(1 - P)
 *
 * or, of mixed rewards, the margin sum_k w_k margin_k.                                           */
static double types_margin(const Cell *const *type, const double *w, int K, int i) {
    double chosen = 0, rejected = 0, mixed = 0;
    for (int k = 0; k < K; k++) {
        mixed += w[k] * type[k]->pair[i].delta;
        chosen += w[k] * sigmoid(type[k]->pair[i].delta);
        rejected += w[k] * sigmoid(-type[k]->pair[i].delta);
    }
    return opt.fit == FIT_MIXTURE ? mixed : more_log(chosen) - more_log(rejected);
}

// Sets pair i of the cells type (K) aside: it says something of the newcomer.  0, or -1 after
// fail().
static int newcomer_add(Newcomer *new, const Cell *const *type, int K, int i) {
    const size_t at = new->n * (size_t)K, need = at + (size_t)K;
    if (reserve(&new->margin, &new->capacity, need, sizeof *new->margin) < 0) return -1;
    for (int k = 0; k < K; k++) new->margin[at + (size_t)k] = type[k]->pair[i].delta;
    new->n++;
    return 0;
}

// What the rows that were set aside say of the newcomer; eta, if there are none.
static void newcomer_fit(Newcomer *new, const People *p) {
    double A[MAX_TYPES] = {0};
    if (new->is_fitted) return;
    new->is_fitted = 1;
    memcpy(new->w, p->eta, (size_t)p->K * sizeof *new->w);
    if (opt.fit == FIT_MIXTURE) {
        people_mixture(new->w, new->margin, new->n, p->K);
        return;
    }
    const double *margin = new->margin;
    for (size_t i = 0; i < new->n; i++) {
        for (int k = 0; k < p->K; k++) A[k] += log_sigmoid(*margin++);
    }
    people_posterior(new->w, p->eta, A, p->K);
}

/* The shares of the types (K) for the annotator of pair i: gamma, or what the rows say that were
 * set aside.  1; 0: the row is one of those; -1 after fail().                                    */
static int types_shares(Types *x, const Cell *const *type, const char *name, int i, double *w) {
    const People *p = &x->file.people;
    const size_t K = (size_t)p->K;
    const int h = people_find(&x->file, name);
    if (h >= 0 && opt.fit == FIT_TYPE) {
        memcpy(w, p->gamma + (size_t)h * K, K * sizeof *w);
        return 1;
    }
    Newcomer *new = newcomer_of(x, name);
    if (!new) return -1;
    const uint64_t line = type[0]->pair[i].line;
    const int is_new = new->line != line;
    if (*name && opt.fit_rows && (new->rows < opt.fit_rows || !is_new)) {
        new->rows += is_new;
        new->line = line;
        return newcomer_add(new, type, p->K, i);
    }
    newcomer_fit(new, p);
    memcpy(w, new->w, K * sizeof *w);
    return 1;
}

// What type k is called in tables.
static void types_type_name(char name[64], int k) {
    const char *folders;
    if (k < opt.model.n) split_model(opt.model.item[k], name, &folders);
    else snprintf(name, 64, "type-%d", k + 1);
}

// The cells type (K) of a data set under each type, of the same pairs.  0, or -1 after fail().
static int types_cells(const Cell **type, int K, const Cells *cells, const char *data) {
    for (int k = 0; k < K; k++) {
        char name[64];
        types_type_name(name, k);
        type[k] = cell_find(cells, name, data);
        if (!type[k]) return fail(EX_DATAERR, "%s: there are no pairs under %s", data, name);
        if (type[k]->n == type[0]->n) continue;
        return fail(EX_DATAERR, "%s: not the same pairs under all types", data);
    }
    return 0;
}

// A "fit" line for each annotator whose rows were set aside and who has others.  0, or -1 after
// fail().
static int types_write_fits(const Types *x, const char *data, FILE *f) {
    Buffer names = {0};
    int result = cells_quote_names(&names, types_name, data);
    for (size_t i = 0; result == 0 && i < x->n; i++) {
        const Newcomer *new = &x->newcomer[i];
        Buffer who = {0};
        if (!new->rows || !new->is_fitted) continue;
        result = json_quote(&who, new->name, strlen(new->name));
        if (result == 0) {
            fprintf(f, "{\"event\":\"fit\",%s,\"annotator\":%s,\"rows\":%d,\"weights\":[",
                    names.data, who.data, new->rows);
            for (int k = 0; k < x->file.people.K; k++) {
                fprintf(f, "%s%.17g", k ? "," : "", new->w[k]);
            }
            fprintf(f, "]}\n");
        }
        buffer_free(&who);
    }
    buffer_free(&names);
    return result;
}

// Adds the cell of what the types predict together on a data set; to out too.
static int types_add(Types *x, Cells *cells, const char *data, FILE *out) {
    const int K = x->file.people.K;
    const Cell *type[MAX_TYPES];
    Cell *c = cell_of(cells, types_name, data);         // cells move: the others are looked up then
    if (!c || types_cells(type, K, cells, data) < 0) return -1;
    newcomers_free(x);
    for (int i = 0; i < type[0]->n; i++) {
        double w[MAX_TYPES];
        PairResult pair = type[0]->pair[i];
        const int status = types_shares(x, type, cells->values.data + pair.value, i, w);
        if (status < 0) return -1;
        if (status == 0) continue;
        pair.delta = types_margin(type, w, K, i);
        pair.reward[0] = pair.reward[1] = NAN;
        if (cell_add(c, &pair) < 0) return -1;
    }
    if (!c->n) return fail(EX_DATAERR, "%s: --fit_rows leaves no rows to predict", data);
    if (!out) return 0;
    return types_write_fits(x, data, out) < 0 ? -1 : cell_write_pairs(out, cells, c, 0);
}

// The same on every data set that there are cells of, in place of what --from has of an earlier
// eval.
int types_add_all(Types *x, Cells *cells, FILE *out) {
    const size_t n = cells->n;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(cells->cell[i].model, types_name)) cells->cell[i].n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        char data[64];
        memcpy(data, cells->cell[i].data, sizeof data);
        const Cell *c = cell_find(cells, types_name, data);
        if (c && c->n) continue;
        if (types_add(x, cells, data, out) < 0) return -1;
    }
    return 0;
}

// How often a type's own model, whose cell is c, is right about its people.
static void types_print_type(const Types *x, const Cells *cells, const Cell *c, int k) {
    const PeopleFile *f = &x->file;
    int people = 0, pairs = 0;
    double right = 0;
    for (int h = 0; h < f->people.H; h++) people += people_type(&f->people, (size_t)h) == k;
    for (int i = 0; i < c->n; i++) {
        const int h = people_find(f, cells->values.data + c->pair[i].value);
        if (h < 0 || people_type(&f->people, (size_t)h) != k) continue;
        if (c->pair[i].delta > 0) right += 1;
        if (c->pair[i].delta == 0) right += 0.5;
        pairs++;
    }
    printf("%-18s %d of %d annotators, share %.3f", c->model, people, f->people.H,
           f->people.eta[k]);
    if (pairs) printf("; right on %.2f %% of their %d pairs", 100 * right / pairs, pairs);
    printf("\n");
}

// What each type is right about, and the annotator who is predicted worst.  0, or -1 after fail().
static int types_print(const Types *x, const Cells *cells, const char *data) {
    const Cell *type[MAX_TYPES], *all = cell_find(cells, types_name, data);
    const Part *worst = &all->part[all->worst];
    const char *who = cells->values.data + worst->value;
    const int K = x->file.people.K;
    if (types_cells(type, K, cells, data) < 0) return -1;
    printf("\n%s, the people of %s\n", data, opt.people);
    for (int k = 0; k < K; k++) types_print_type(x, cells, type[k], k);
    printf("%-18s %s: right on %.2f %% of %d pairs\n", "worst annotator", *who ? who : "(none)",
           100 * worst->metrics.accuracy, worst->metrics.n);
    return 0;
}

// How well the types are known groups.  0, or -1 after fail().
static int types_print_groups(const Types *x) {
    const PeopleFile *f = &x->file;
    int *group = allocate((size_t)f->people.H, sizeof *group), groups;
    int result = -1;
    if (!group) return -1;
    if (people_groups_read(group, &groups, opt.groups, f->name, f->people.H) < 0) goto done;
    if (groups > MAX_TYPES) {
        fail(EX_DATAERR, "%s: %d groups, at most %d are matched with types", opt.groups, groups,
             MAX_TYPES);
        goto done;
    }
    printf("%-18s %.2f %% of %d annotators are of the type that matches their group of %s\n",
           "clustering", 100 * people_accuracy(&f->people, group, groups), f->people.H, opt.groups);
    result = 0;
done:
    free(group);
    return result;
}

// All that is said of people.
int types_print_all(const Types *x, const Cells *cells) {
    for (size_t i = 0; i < cells->n; i++) {
        const Cell *c = &cells->cell[i];
        if (strcmp(c->model, types_name) == 0 && types_print(x, cells, c->data) < 0) return -1;
    }
    return opt.groups ? types_print_groups(x) : 0;
}
#endif

/* groups.c - groups of rows, the worst of which counts most: group-robust preference optimisation
 * (GRPO, Ramesh et al. 2024, arXiv:2405.20304).
 *
 *     group    what a row has under the key --group_robust, or what the file --groups makes of it
 *     pass 1   the losses of all rows of a step, by forwards alone: l_g of each group
 *     alpha    grows with the exponent of l_g (loss.c: group_alpha)
 *     pass 2   backward of  sum_g alpha_g l_g
 *
 * The passes are those of policy.c and reward.c.  */
#ifndef GROUPS_C
#define GROUPS_C
#include "plan.c"
#include "heldout.c"
#include "values.c"

enum { MAX_GROUPS = 64 };

// Sums over the rows of each group in a step.
typedef struct {
    double rows[MAX_GROUPS];
    double loss[MAX_GROUPS];                // weighted by the rows' own weights alone
} GroupSums;

typedef struct Groups {
    int n;
    size_t name[MAX_GROUPS];                // where each name begins in names
    Buffer names;
    unsigned char **group;                  // (num_train), of each record
    double rows[MAX_GROUPS], all_rows;      // N_g and N: of all training files
    double log_alpha[MAX_GROUPS];           // up to a number that all have
    // of the running step
    GroupSums sums;
    double alpha[MAX_GROUPS];
    double factor[MAX_GROUPS];              // what the loss of a row counts for in the step's
    // of the last --logging_steps steps, each in the place of the oldest
    GroupSums *recent;
    size_t recent_capacity, steps;          // steps: all so far
} Groups;

// a run's groups
int  groups_open(Run *run);
void groups_close(Run *run);
int  group_of(const Run *run, const Item *item);

// a step
void groups_begin(Groups *g, double share);
void groups_add(Groups *g, int group, double loss);
int  groups_weigh(Groups *g);
int  groups_state(Groups *g, State *s);

// what is reported
void groups_log(const Groups *g, FILE *f);
void groups_show(const Groups *g, FILE *f);

static const char *group_name(const Groups *g, int group) {
    return g->names.data + g->name[group];
}

// --------------------------------------------------------------------------- which group a row is

// The values of the key that rows have had so far, each with its group.
typedef struct {
    size_t at;                              // where the value begins in text
    int group;
} Seen;
typedef struct {
    Seen *value;
    size_t n, capacity;
    Buffer text;
    Json map, row;                          // of --groups; scratch
} SeenValues;

// The number of the group of that name, which may be new.  -1 after fail().
static int group_named(Groups *g, const char *name, const char *path) {
    for (int k = 0; k < g->n; k++) {
        if (!strcmp(group_name(g, k), name)) return k;
    }
    if (g->n == MAX_GROUPS) {
        return fail(EX_DATAERR, "%s: more than %d groups under \"%s\"; --groups FILE puts its "
                    "values into fewer, {\"value\": \"group\", ...}", path, MAX_GROUPS,
                    opt.group_robust);
    }
    g->name[g->n] = g->names.len;
    if (buffer_append(&g->names, name, strlen(name) + 1) < 0) return -1;
    return g->n++;
}

// Of a people.json: the type that an annotator is most likely of, "1", "2" ...; "" if it is not
// there.
static void type_of_annotator(char type[16], const Json *json, int people, const char *name) {
    *type = 0;
    for (int h = json_first(json, people); h >= 0; h = json_next(json, h)) {
        if (!json_equal(json, json_get(json, h, "annotator"), name)) continue;
        double most = -1;
        int k = 0;
        for (int v = json_first(json, json_get(json, h, "gamma")); v >= 0; v = json_next(json, v)) {
            k++;
            if (json_number(json, v) <= most) continue;
            most = json_number(json, v);
            snprintf(type, 16, "%d", k);
        }
    }
}

// The group of a value that is seen for the first time: itself, or what --groups says.  -1 after
// fail().
static int group_of_value(Groups *g, const Json *map, const char *value, const Dataset *d,
                          const Record *r) {
    size_t at;
    if (!*value) {
        return fail(EX_DATAERR, "%s:%zu: nothing under \"%s\", the key of --group_robust", d->path,
                    r->line, opt.group_robust);
    }
    if (!opt.groups) return group_named(g, value, d->path);
    const int people = json_get(map, 0, "people");
    char type[16] = "";
    Buffer name = {0};
    int group = -1;
    if (json_type(map, people) == JSON_ARRAY) {
        type_of_annotator(type, map, people, value);
        if (buffer_append(&name, type, strlen(type) + 1) < 0) goto done;
    } else if (values_append(&name, &at, map, 0, value, opt.groups, 1) < 0) {
        goto done;
    }
    if (!*name.data) {
        fail(EX_DATAERR, "%s: no group of \"%s\", which %s:%zu has under \"%s\"", opt.groups, value,
             d->path, r->line, opt.group_robust);
        goto done;
    }
    group = group_named(g, name.data, d->path);
done:
    buffer_free(&name);
    return group;
}

// The group of the row of r.  -1 after fail().
static int group_of_row(Groups *g, SeenValues *seen, const Dataset *d, const Record *r) {
    size_t at;
    if (values_append_row(&seen->text, &at, d, r, opt.group_robust, &seen->row) < 0) return -1;
    const char *value = seen->text.data + at;
    for (size_t i = 0; i < seen->n; i++) {
        if (strcmp(seen->text.data + seen->value[i].at, value) != 0) continue;
        seen->text.len = at;
        return seen->value[i].group;
    }
    const int group = group_of_value(g, &seen->map, value, d, r);
    if (group < 0) return -1;
    if (reserve(&seen->value, &seen->capacity, seen->n + 1, sizeof *seen->value) < 0) return -1;
    seen->value[seen->n++] = (Seen){at, group};
    return group;
}

// The groups of all rows that are trained on.  0, or -1 after fail().
static int read_groups(Run *run, Groups *g, SeenValues *seen) {
    if (opt.groups && json_load(&seen->map, opt.groups) < 0) return -1;
    if (!(g->group = allocate((size_t)run->num_train, sizeof *g->group))) return -1;
    for (int k = 0; k < run->num_train; k++) {
        const Dataset *d = &run->data[k];
        if (!(g->group[k] = allocate(d->num_records, 1))) return -1;
        for (size_t i = 0; i < d->num_records; i++) {
            const Record *r = &d->record[i];
            if (record_in_fold(r)) continue;
            const int group = group_of_row(g, seen, d, r);
            if (group < 0) return -1;
            g->group[k][i] = (unsigned char)group;
            g->rows[group]++;
            g->all_rows++;
        }
    }
    if (g->n > 1) return 0;
    return fail(EX_DATAERR, "%s: all rows are of one group, \"%s\", under \"%s\": there is none to "
                "weigh it against; leave out --group_robust", run->data[0].path, group_name(g, 0),
                opt.group_robust);
}

/* run->groups, if --group_robust asks for groups, of the data as it will be trained on.  0, or -1
 * after fail().  */
int groups_open(Run *run) {
    SeenValues seen = {0};
    if (!opt.group_robust) return 0;
    Groups *g = allocate(1, sizeof *g);
    run->groups = g;
    if (!g) return -1;
    const int result = read_groups(run, g, &seen);
    free(seen.value);
    buffer_free(&seen.text);
    json_free(&seen.map);
    json_free(&seen.row);
    if (result < 0) return -1;

    int least = 0, most = 0;
    for (int k = 0; k < g->n; k++) {
        if (g->rows[k] < g->rows[least]) least = k;
        if (g->rows[k] > g->rows[most]) most = k;
    }
    fprintf(stderr, "%d groups by \"%s\", of %.0f (%s) to %.0f (%s) rows\n", g->n,
            opt.group_robust, g->rows[least], group_name(g, least), g->rows[most],
            group_name(g, most));
    return 0;
}

void groups_close(Run *run) {
    Groups *g = run->groups;
    if (!g) return;
    for (int k = 0; g->group && k < run->num_train; k++) free(g->group[k]);
    free(g->group);
    free(g->recent);
    buffer_free(&g->names);
    free(g);
    run->groups = NULL;
}

// The group of an item's record; 0 where there are none.
int group_of(const Run *run, const Item *item) {
    return run->groups ? run->groups->group[item->set][item->record] : 0;
}

// ------------------------------------------------------------------------------------- the step

// Before a step: all groups are alike, and the loss of a row counts for `share` of it; in pass 1,
// for itself.
void groups_begin(Groups *g, double share) {
    g->sums = (GroupSums){0};
    for (int k = 0; k < g->n; k++) g->factor[k] = share;
}

// In pass 1, row by row in the order of the plan: its loss, times its own weight.
void groups_add(Groups *g, int group, double loss) {
    g->sums.rows[group]++;
    g->sums.loss[group] += loss;
}

// Pass 1 has ended: alpha, and what each row's loss counts for in pass 2.  0, or -1 after fail().
int groups_weigh(Groups *g) {
    const size_t place = g->steps % (size_t)opt.logging_steps;
    double share[MAX_GROUPS], loss[MAX_GROUPS] = {0};
    if (reserve(&g->recent, &g->recent_capacity, place + 1, sizeof *g->recent) < 0) return -1;
    g->recent[place] = g->sums;
    g->steps++;

    double n = 0;
    for (int k = 0; k < g->n; k++) n += g->sums.rows[k];
    for (int k = 0; k < g->n; k++) {
        const double n_g = g->sums.rows[k];
        share[k] = opt.group_loss == GROUP_SHARE ? g->all_rows / (n * g->rows[k])
                                                 : 1 / (n_g ? n_g : 1);
        loss[k] = share[k] * g->sums.loss[k] + opt.group_adjust / sqrt(g->rows[k]);
        if (!isfinite(loss[k])) return 0;                   // such a step is refused: alpha stays
    }
    group_alpha(g->alpha, g->log_alpha, loss, opt.group_step, g->n);
    for (int k = 0; k < g->n; k++) g->factor[k] = g->alpha[k] * share[k];
    return 0;
}

// What is kept from step to step, to be saved or read (Trainer.state).  0, or -1 after fail().
int groups_state(Groups *g, State *s) {
    const size_t most = (size_t)opt.logging_steps, numbers = sizeof *g->recent / sizeof(double);
    uint64_t steps = g->steps;
    state_doubles(s, g->log_alpha, (size_t)g->n);
    state_number(s, &steps);
    g->steps = (size_t)steps;
    const size_t places = g->steps < most ? g->steps : most;
    if (s->result < 0) return -1;
    if (reserve(&g->recent, &g->recent_capacity, places, sizeof *g->recent) < 0) return -1;
    if (s->reading && places) memset(g->recent, 0, places * sizeof *g->recent);
    state_ring(s, (double *)g->recent, numbers, g->steps, most);
    return s->result;
}

// ----------------------------------------------------------------------------- what is reported

// The member WHAT/NAME of a JSON object, of the group k.
static void log_number(const Groups *g, FILE *f, const char *what, int k, double x) {
    fprintf(f, ",\"%s/", what);
    for (const char *c = group_name(g, k); *c; c++) {
        if (*c == '"' || *c == '\\') putc('\\', f);
        putc(*c, f);
    }
    fprintf(f, "\":%.6g", x);
}

// alpha of each group, and the mean loss of its rows in the step.
void groups_log(const Groups *g, FILE *f) {
    const GroupSums *s = &g->sums;
    for (int k = 0; k < g->n; k++) {
        log_number(g, f, "alpha", k, g->alpha[k]);
        if (s->rows[k]) log_number(g, f, "group_loss", k, s->loss[k] / s->rows[k]);
    }
}

// The group with the largest mean loss over the last --logging_steps steps.
void groups_show(const Groups *g, FILE *f) {
    const size_t most = (size_t)opt.logging_steps, steps = g->steps < most ? g->steps : most;
    GroupSums sum = {0};
    int worst = -1;
    for (const GroupSums *s = g->recent; s < g->recent + steps; s++) {
        for (int k = 0; k < g->n; k++) {
            sum.rows[k] += s->rows[k];
            sum.loss[k] += s->loss[k];
        }
    }
    for (int k = 0; k < g->n; k++) {
        if (!sum.rows[k]) continue;
        sum.loss[k] /= sum.rows[k];
        if (worst < 0 || sum.loss[k] > sum.loss[worst]) worst = k;
    }
    fprintf(f, "  worst %.20s %.4f (alpha %.3f)", group_name(g, worst), sum.loss[worst],
            g->alpha[worst]);
}
#endif

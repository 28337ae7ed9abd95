/* report.c - more report: what runs did, as one page of HTML with charts (../chart.c).
 *
 *     a folder of train       its log.jsonl: learning curves, MORE's lambda, log-probabilities;
 *                             people.json and mixture.json in it, too
 *     a file of eval --out    how far to trust the model: reliability, rewards, lengths
 *     a file of compare --out reward against KL
 *     people.json, mixture.json
 *
 * A line of a log is read for its numbers, whatever their names: each name is a series over steps,
 * and a chart takes the series that it knows.  A run that is still going is shown as far as it is.
 *
 *     run 1  log.jsonl --+                   +-> charts of curves[], a line for each run
 *     run 2  log.jsonl --+-> series by name -+-> charts of one run, of lambda/.., eval_.., ...
 *     eval.jsonl ----------> cells (cells.c) --> charts of one model on one set                  */
#ifndef REPORT_C
#define REPORT_C
#include "cells.c"
#include "../chart.c"
#include "../files/config.c"
#include "../files/people_json.c"

int command_report(void);         // more report: writes the page, or with --watch draws one run

// ------------------------------------------------------------------------------------ what is read

typedef struct {
    char name[320];               // of the number in the log
    double *step, *value;
    int n;
    size_t capacity, value_capacity;
} Series;

typedef struct {
    char path[PATH_SIZE];         // as it is given
    char name[256];               // of the run, see name_runs
    Series *series;
    size_t num_series, capacity;
    int steps;                    // that are planned; 0: not known
    int ended;
} RunLog;

// A policy of compare --out.
typedef struct {
    char name[64];
    double reward, kl;
    Interval reward_95, kl_95;
} Compared;

typedef struct {
    RunLog *run;
    size_t num_runs, run_capacity;
    Cells cells;
    Compared *policy;
    size_t num_policies, policy_capacity;
    PeopleFile *people;
    size_t num_people, people_capacity;
    Json *mixture;
    size_t num_mixtures, mixture_capacity;
} Report;

static void report_free(Report *r) {
    for (size_t i = 0; i < r->num_runs; i++) {
        for (size_t k = 0; k < r->run[i].num_series; k++) {
            free(r->run[i].series[k].step);
            free(r->run[i].series[k].value);
        }
        free(r->run[i].series);
    }
    for (size_t i = 0; i < r->num_people; i++) people_file_free(&r->people[i]);
    for (size_t i = 0; i < r->num_mixtures; i++) json_free(&r->mixture[i]);
    free(r->run);
    cells_free(&r->cells);
    free(r->policy);
    free(r->people);
    free(r->mixture);
}

static const Series *series_find(const RunLog *run, const char *name) {
    for (size_t k = 0; k < run->num_series; k++) {
        if (!strcmp(run->series[k].name, name)) return &run->series[k];
    }
    return NULL;
}

static int series_add(RunLog *run, const char *key, double step, double value) {
    char name[sizeof run->series->name];
    Series *s = NULL;
    snprintf(name, sizeof name, "%s", key);
    for (size_t k = 0; !s && k < run->num_series; k++) {
        if (!strcmp(run->series[k].name, name)) s = &run->series[k];
    }
    if (!s) {
        if (reserve(&run->series, &run->capacity, run->num_series + 1, sizeof *s) < 0) return -1;
        s = &run->series[run->num_series++];
        *s = (Series){.n = 0};
        memcpy(s->name, name, sizeof name);
    }
    const size_t n = (size_t)s->n + 1;
    if (reserve(&s->step, &s->capacity, n, sizeof *s->step) < 0) return -1;
    if (reserve(&s->value, &s->value_capacity, n, sizeof *s->value) < 0) return -1;
    s->step[s->n] = step;
    s->value[s->n] = value;
    s->n++;
    return 0;
}

// A line of a log: its numbers at its step.  0, or -1 after fail().
static int read_log_line(RunLog *run, const Json *j) {
    const int event = json_get(j, 0, "event"), step = json_get(j, 0, "step");
    const double steps = json_number(j, json_get(j, 0, "steps"));
    if (json_equal(j, event, "plan") && steps > 0 && steps < INT_MAX) run->steps = (int)steps;
    if (json_equal(j, event, "end")) run->ended = 1;
    if (json_type(j, step) != JSON_NUMBER) return 0;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        if (v == step || json_type(j, v) != JSON_NUMBER) continue;
        if (series_add(run, json_key(j, v), json_number(j, step), json_number(j, v)) < 0) return -1;
    }
    return 0;
}

// The last part of the path of a folder, or of a log.jsonl in one.
static void last_part(char name[256], const char *path) {
    size_t n = strlen(path);
    if (name_ends_with(path, "/log.jsonl")) n -= strlen("/log.jsonl");
    while (n > 1 && path[n-1] == '/') n--;
    size_t first = n;
    while (first > 0 && path[first-1] != '/') first--;
    snprintf(name, 256, "%.*s", (int)(n - first), path + first);
}

// What runs are called: the last part of their path, or all of it where two have the same last one.
static void name_runs(Report *r) {
    for (size_t i = 0; i < r->num_runs; i++) {
        RunLog *run = &r->run[i];
        int same = 0;
        last_part(run->name, run->path);
        for (size_t k = 0; k < r->num_runs; k++) {
            char other[256];
            last_part(other, r->run[k].path);
            if (!strcmp(run->name, other)) same++;
        }
        if (same > 1) snprintf(run->name, sizeof run->name, "%.255s", run->path);
    }
}

// All whole lines of a log; the last one of a run that is going may still be written.  0, or -1
// after fail().
static int report_read_log(Report *r, const char *given, const char *path) {
    Buffer text = {0};
    Json json = {0};
    int result = -1;
    if (reserve(&r->run, &r->run_capacity, r->num_runs + 1, sizeof *r->run) < 0) return -1;
    RunLog *run = &r->run[r->num_runs++];
    *run = (RunLog){.steps = 0};
    snprintf(run->path, sizeof run->path, "%s", given);
    if (file_read(&text, path) < 0) goto done;
    json.first_line = 1;
    for (size_t at = 0; at < text.len; json.first_line++) {
        const char *end = memchr(text.data + at, '\n', text.len - at);
        if (!end) break;
        const size_t len = (size_t)(end - text.data) - at;
        if (json_parse(&json, text.data + at, len, path) < 0) goto done;
        if (read_log_line(run, &json) < 0) goto done;
        at += len + 1;
    }
    if (run->num_series || opt.watch) result = 0;
    else fail(EX_DATAERR, "%s: no step yet", path);
done:
    buffer_free(&text);
    json_free(&json);
    return result;
}

static Interval interval_of(const Json *j, const char *key) {
    const int list = json_get(j, 0, key), low = json_first(j, list);
    return (Interval){json_number(j, low), json_number(j, json_next(j, low))};
}

// The "compare" lines of a file.  0, or -1 after fail().
static int report_read_compared(Report *r, const char *path) {
    Buffer text = {0};
    Json json = {0};
    int result = -1;
    if (file_read(&text, path) < 0) goto done;
    json.first_line = 1;
    for (size_t at = 0; at < text.len; json.first_line++) {
        const size_t len = strcspn(text.data + at, "\n");
        if (json_parse(&json, text.data + at, len, path) < 0) goto done;
        at += len + (text.data[at + len] == '\n');
        const int kl = json_get(&json, 0, "kl");
        if (!json_equal(&json, json_get(&json, 0, "event"), "compare")) continue;
        if (reserve(&r->policy, &r->policy_capacity, r->num_policies + 1, sizeof *r->policy) < 0) {
            goto done;
        }
        Compared *p = &r->policy[r->num_policies++];
        *p = (Compared){
            .reward = json_number(&json, json_get(&json, 0, "reward")),
            .kl = kl >= 0 ? json_number(&json, kl) : NAN,
            .reward_95 = interval_of(&json, "reward_95"), .kl_95 = interval_of(&json, "kl_95")};
        snprintf(p->name, sizeof p->name, "%s", json_string(&json, json_get(&json, 0, "model")));
    }
    result = 0;
done:
    buffer_free(&text);
    json_free(&json);
    return result;
}

static int report_read_people(Report *r, const char *path) {
    const size_t n = r->num_people + 1;
    if (reserve(&r->people, &r->people_capacity, n, sizeof *r->people) < 0) return -1;
    r->num_people = n;
    return people_file_read(&r->people[n - 1], path);
}

// Are there ways to answer, each with a regret and its interval?
static int has_regrets(const Json *j) {
    const int ways = json_get(j, 0, "ways");
    for (int way = json_first(j, ways); way >= 0; way = json_next(j, way)) {
        const int list = json_get(j, way, "worst_95"), low = json_first(j, list);
        if (json_type(j, json_get(j, way, "name")) != JSON_STRING) return 0;
        if (json_type(j, json_get(j, way, "worst")) != JSON_NUMBER) return 0;
        if (json_type(j, low) != JSON_NUMBER) return 0;
        if (json_type(j, json_next(j, low)) != JSON_NUMBER) return 0;
    }
    return json_count(j, ways) > 0;
}

static int report_read_mixture(Report *r, const char *path) {
    const size_t n = r->num_mixtures + 1;
    if (reserve(&r->mixture, &r->mixture_capacity, n, sizeof *r->mixture) < 0) return -1;
    r->num_mixtures = n;
    r->mixture[n - 1] = (Json){0};
    if (json_load(&r->mixture[n - 1], path) < 0) return -1;
    if (has_regrets(&r->mixture[n - 1])) return 0;
    return fail(EX_DATAERR, "%s: not a mixture.json that more regret wrote", path);
}

// How many pairs and policies there are.
static size_t num_compared(const Report *r) {
    size_t n = r->num_policies;
    for (size_t i = 0; i < r->cells.n; i++) n += (size_t)r->cells.cell[i].n;
    return n;
}

// A file by what its first line says.  0, or -1 after fail().
static int report_read_file(Report *r, const char *path) {
    const size_t before = num_compared(r);
    Buffer text = {0};
    Json json = {0};
    int result = -1;
    if (file_read(&text, path) < 0) goto done;
    const size_t first = strcspn(text.data ? text.data : "", "\n");
    const int is_line = first && json_parse(&json, text.data, first, path) == 0;
    const int event = is_line ? json_get(&json, 0, "event") : -1;
    if (json_equal(&json, event, "plan") || json_equal(&json, event, "train")) {
        result = report_read_log(r, path, path);
    } else if (event >= 0) {
        result = cells_read(&r->cells, path);
        if (result == 0) result = report_read_compared(r, path);
        if (result == 0 && num_compared(r) == before) {
            fail(EX_DATAERR, "%s: neither pairs of eval --out nor policies of compare --out", path);
            result = -1;
        }
    } else if (name_ends_with(path, "people.json")) {
        result = report_read_people(r, path);
    } else if (name_ends_with(path, ".json")) {
        result = report_read_mixture(r, path);
    } else {
        fail(EX_DATAERR, "%s: not a log.jsonl of train, nor what --out of eval or compare, train "
             "em or regret wrote", path);
    }
done:
    buffer_free(&text);
    json_free(&json);
    return result;
}

// The trainings of the types' models, in folders within that of train em.  0, or -1 after fail().
static int report_read_types(Report *r, const char *dir) {
    for (int k = 1; k <= r->people[r->num_people - 1].people.K; k++) {
        char name[32], type[PATH_SIZE], path[PATH_SIZE];
        snprintf(name, sizeof name, "type-%d", k);
        if (path_join(type, dir, name) < 0 || path_join(path, type, "log.jsonl") < 0) return -1;
        if (is_there(type, "log.jsonl") && report_read_log(r, type, path) < 0) return -1;
    }
    return 0;
}

// What is in a folder of train.  0, or -1 after fail().
static int report_read_folder(Report *r, const char *dir) {
    char path[PATH_SIZE];
    int found = 0;
    if (is_there(dir, "log.jsonl")) {
        if (path_join(path, dir, "log.jsonl") < 0 || report_read_log(r, dir, path) < 0) return -1;
        found = 1;
    }
    if (is_there(dir, "people.json")) {
        if (path_join(path, dir, "people.json") < 0 || report_read_people(r, path) < 0) return -1;
        if (report_read_types(r, dir) < 0) return -1;
        found = 1;
    }
    if (is_there(dir, "mixture.json")) {
        if (path_join(path, dir, "mixture.json") < 0 || report_read_mixture(r, path) < 0) return -1;
        found = 1;
    }
    if (found) return 0;
    return fail(EX_NOINPUT, "%s: no log.jsonl, people.json or mixture.json: not a folder that more "
                "train wrote", dir);
}

static int report_read(Report *r) {
    for (int i = 0; i < opt.paths.n; i++) {
        struct stat st;
        const char *path = opt.paths.item[i];
        const int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        if ((is_folder ? report_read_folder(r, path) : report_read_file(r, path)) < 0) return -1;
    }
    for (size_t i = 0; i < r->cells.n; i++) {
        if (cell_measure(&r->cells.cell[i]) < 0) return -1;
    }
    name_runs(r);
    return 0;
}

// --------------------------------------------------------------------------------- learning curves

// The numbers that have a chart of their own: a line for each run that has them.
static const struct { const char *name, *title, *caption; } curves[] = {
    {"loss", "loss", "of each step's pairs or texts, before its update"},
    {"accuracy", "accuracy", "of each step's pairs: the chosen answer has the higher reward"},
    {"rewards/accuracies", "accuracy of implicit rewards", "of each step's pairs"},
    {"margin", "margin", "the mean of chosen reward less rejected"},
    {"rewards/margins", "margin of implicit rewards", "chosen less rejected, times beta"},
    {"grad_norm", "gradient norm", "before it is clipped"},
    {"learning_rate", "learning rate", "after warm-up and decay"},
};

// The names that share a chart, one for each run: those that begin, or end, so.
static const struct { const char *begin, *end, *title, *caption; } families_of_curves[] = {
    {"lambda/", "", "weights of the sets, lambda", "MORE's weights: they add to one in each step"},
    {"loss/", "", "loss of each set", "unweighted"},
    {"logps/", "", "log-probability of answers", "sums over an answer's tokens, means over a step"},
    {"eval_", "_loss", "held-out loss", "of the files of --eval"},
    {"eval_", "_accuracy", "held-out accuracy", "of the files of --eval"},
    {"eval_", "_bits_per_byte", "held-out bits per byte", "of the files of --eval"},
};

// Room for a series on both axes.
static void include_series(Axis *x, Axis *y, const Series *s) {
    for (int i = 0; i < s->n; i++) {
        axis_include(x, s->step[i]);
        axis_include(y, s->value[i]);
    }
}

// A line of up to 400 points: of more, means of neighbours.
static void put_series(Chart *c, int style, const Series *s) {
    enum { MOST = 400 };
    double x[MOST] = {0}, y[MOST] = {0};
    const int n = s->n < MOST ? s->n : MOST;
    for (int k = 0; k < n; k++) {
        const int from = (int)((long long)s->n * k / n), to = (int)((long long)s->n * (k + 1) / n);
        for (int i = from; i < to; i++) {
            x[k] += s->step[i] / (to - from);
            y[k] += s->value[i] / (to - from);
        }
    }
    chart_line(c, style, x, y, n);
    if (n <= 12) chart_points(c, style, x, y, n);
}

static void put_curve_of_runs(Page *p, const Report *r, size_t k) {
    const char *name = curves[k].name;
    Axis x = {"step", NAN, NAN}, y = {curves[k].title, NAN, NAN};
    int found = 0;
    for (size_t i = 0; i < r->num_runs; i++) {
        const Series *s = series_find(&r->run[i], name);
        if (!s) continue;
        include_series(&x, &y, s);
        found++;
    }
    if (!found) return;
    axis_round(&x);
    axis_round(&y);
    Chart c = chart_begin(p, curves[k].title, x, y);
    for (size_t i = 0; i < r->num_runs; i++) {
        const Series *s = series_find(&r->run[i], name);
        if (s) put_series(&c, (int)i, s);
    }
    chart_end(&c);
    for (size_t i = 0; i < r->num_runs; i++) {
        if (series_find(&r->run[i], name)) chart_legend(p, (int)i, r->run[i].name);
    }
    page_put(p, "<br>%s", curves[k].caption);
    figure_end(p);
}

static int is_of_family(const char *name, size_t k) {
    const char *begin = families_of_curves[k].begin;
    return !strncmp(name, begin, strlen(begin)) && name_ends_with(name, families_of_curves[k].end);
}

static void put_family(Page *p, const RunLog *run, size_t k) {
    Axis x = {"step", NAN, NAN}, y = {families_of_curves[k].title, NAN, NAN};
    const size_t skip = strlen(families_of_curves[k].begin);
    int found = 0, style = 0;
    for (size_t i = 0; i < run->num_series; i++) {
        if (!is_of_family(run->series[i].name, k)) continue;
        include_series(&x, &y, &run->series[i]);
        found++;
    }
    if (!found) return;
    if (!strcmp(families_of_curves[k].begin, "lambda/")) axis_include(&y, 0);
    axis_round(&x);
    axis_round(&y);
    Chart c = chart_begin(p, y.name, x, y);
    for (size_t i = 0; i < run->num_series; i++) {
        if (is_of_family(run->series[i].name, k)) put_series(&c, style++, &run->series[i]);
    }
    chart_end(&c);
    style = 0;
    for (size_t i = 0; i < run->num_series; i++) {
        if (!is_of_family(run->series[i].name, k)) continue;
        chart_legend(p, style++, run->series[i].name + skip);
    }
    page_put(p, "<br>");
    page_words(p, run->name);
    page_put(p, ": %s", families_of_curves[k].caption);
    figure_end(p);
}

static void put_runs(Page *p, const Report *r) {
    const size_t families_n = sizeof families_of_curves / sizeof *families_of_curves;
    if (!r->num_runs) return;
    page_put(p, "<h2>Learning</h2>\n");
    for (size_t i = 0; i < r->num_runs; i++) {
        const RunLog *run = &r->run[i];
        const Series *loss = series_find(run, "loss");
        if (run->ended || !loss) continue;
        page_put(p, "<p>");
        page_words(p, run->name);
        page_put(p, ": still going, or interrupted: step %.0f", loss->step[loss->n - 1]);
        if (run->steps) page_put(p, " of %d", run->steps);
        page_put(p, "</p>\n");
    }
    for (size_t k = 0; k < sizeof curves / sizeof *curves; k++) put_curve_of_runs(p, r, k);
    for (size_t i = 0; i < r->num_runs; i++) {
        for (size_t k = 0; k < families_n; k++) put_family(p, &r->run[i], k);
    }
}

// ----------------------------------------------------------------------------- how far to trust it

// The 95 % interval of a share of n that are right (Wilson 1927), each by itself.
static Interval wilson(double right, double n) {
    const double z = 1.96, p = right / n, middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return (Interval){middle - half, middle + half};
}

enum { RELIABILITY_BINS = 10, LENGTH_BINS = 5, REWARD_BINS = 24 };

// Pairs by their confidence sigma(|log odds|), in equal bins from 1/2 to 1.
typedef struct {
    double n[RELIABILITY_BINS], p[RELIABILITY_BINS], right[RELIABILITY_BINS];
} Reliability;

static Reliability reliability_bins(const double *log_odds, int n) {
    Reliability b = {{0}, {0}, {0}};
    for (int j = 0; j < n; j++) {
        const double p = sigmoid(fabs(log_odds[j]));
        int m = (int)((p - 0.5) * 2 * RELIABILITY_BINS);
        if (m >= RELIABILITY_BINS) m = RELIABILITY_BINS - 1;
        b.n[m] += 1;
        b.p[m] += p;
        b.right[m] += correctness(log_odds[j]);
    }
    return b;
}

static void put_reliability_points(Chart *c, int style, const Reliability *b) {
    for (int m = 0; m < RELIABILITY_BINS; m++) {
        if (b->n[m] == 0) continue;
        const double x = b->p[m] / b->n[m], y = b->right[m] / b->n[m];
        const Interval i = wilson(b->right[m], b->n[m]);
        chart_interval(c, style, x, i.low, i.high);
        chart_points(c, style, &x, &y, 1);
    }
}

/* Reliability (DeGroot and Fienberg 1983; Guo et al. 2017, fig. 1) before and after a temperature,
 * each fifth of the prompts with that of the others.  0, or -1 after fail().                     */
static int put_reliability(Page *p, const Cell *cell) {
    const size_t n = (size_t)cell->n;
    double *after = allocate(n, sizeof *after), most = 0;
    char title[160];
    if (!after) return -1;
    if (temperature_cross_fit(after, cell->delta, cell->prompt_id, cell->n) < 0) {
        free(after);
        return -1;
    }
    const Reliability raw = reliability_bins(cell->delta, cell->n);
    const Reliability mended = reliability_bins(after, cell->n);
    free(after);

    snprintf(title, sizeof title, "reliability of %s on %s", cell->model, cell->data);
    Chart c = chart_begin(p, title, (Axis){"probability of the answer that it prefers", 0.5, 1},
                          (Axis){"how often people prefer it", 0, 1});
    for (int m = 0; m < RELIABILITY_BINS; m++) most = fmax(most, raw.n[m]);
    for (int m = 0; m < RELIABILITY_BINS; m++) {
        const double left = 0.5 + 0.05 * m;
        if (raw.n[m] == 0) continue;
        chart_bar(&c, 3, left + 0.004, left + 0.046, 0, 0.2 * raw.n[m] / most);
    }
    chart_rule(&c, 0.5, 0.5, 1, 1);
    put_reliability_points(&c, 0, &raw);
    put_reliability_points(&c, 1, &mended);
    // the counts last, over the vertical lines
    for (int m = 0; m < RELIABILITY_BINS; m++) {
        char words[16];
        if (raw.n[m] == 0) continue;
        snprintf(words, sizeof words, "%.0f", raw.n[m]);
        chart_label(&c, 0.5 + 0.05 * m, 0.2 * raw.n[m] / most, words);
    }
    chart_end(&c);
    const Metrics *x = &cell->metrics;
    char words[160];
    snprintf(words, sizeof words, "rewards: ECE %.4f", x->symmetric[1].ece);
    chart_legend(p, 0, words);
    snprintf(words, sizeof words, "after T = %.3g: ECE %.4f", x->temperature, x->after_ece);
    chart_legend(p, 1, words);
    page_put(p, "<br>on the dashed line it is as sure as it is right; vertical lines: 95 %% "
             "(Wilson); bars: how many of %d pairs; each fifth of the prompts has the T of the "
             "others", cell->n);
    figure_end(p);
    return 0;
}

// Rewards of chosen and of rejected answers, where they are known.
static void put_rewards(Page *p, const Cell *cell) {
    double count[2][REWARD_BINS + 2] = {{0}}, x[REWARD_BINS + 2];
    Axis axis = {"reward", NAN, NAN}, share = {"share of answers", 0, 0};
    char title[160];
    for (int j = 0; j < cell->n; j++) {
        if (!isfinite(cell->pair[j].reward[0]) || !isfinite(cell->pair[j].reward[1])) return;
        for (int k = 0; k < 2; k++) axis_include(&axis, cell->pair[j].reward[k]);
    }
    axis_round(&axis);
    const double width = (axis.high - axis.low) / REWARD_BINS;
    for (int j = 0; j < cell->n; j++) {
        for (int k = 0; k < 2; k++) {
            int bin = (int)((cell->pair[j].reward[k] - axis.low) / width);
            if (bin >= REWARD_BINS) bin = REWARD_BINS - 1;
            count[k][bin + 1] += 1.0 / cell->n;
        }
    }
    for (int b = 0; b < REWARD_BINS + 2; b++) {
        x[b] = axis.low + (b - 0.5) * width;
        for (int k = 0; k < 2; k++) axis_include(&share, count[k][b]);
    }
    x[0] = axis.low;
    x[REWARD_BINS + 1] = axis.high;
    axis_round(&share);
    snprintf(title, sizeof title, "rewards by %s on %s", cell->model, cell->data);
    Chart c = chart_begin(p, title, axis, share);
    for (int k = 0; k < 2; k++) chart_line(&c, k, x, count[k], REWARD_BINS + 2);
    chart_end(&c);
    chart_legend(p, 0, "chosen");
    chart_legend(p, 1, "rejected");
    page_put(p, "<br>in %d equal bins; right on %.1f %% of pairs, mean margin %.3f", REWARD_BINS,
             100 * cell->metrics.accuracy, cell->metrics.margin);
    figure_end(p);
}

typedef struct { double length, right; } ByLength;

static int compare_by_length(const void *a, const void *b) {
    return compare_double(&((const ByLength *)a)->length, &((const ByLength *)b)->length);
}

// Accuracy by how much longer the chosen answer is, in fifths of the pairs, beside the rule that
// the longer answer wins.  0, or -1 after fail().
static int put_lengths(Page *p, const Cell *cell) {
    const int n = cell->n;
    ByLength *pair = allocate((size_t)n, sizeof *pair);
    double x[LENGTH_BINS], y[LENGTH_BINS], rule[LENGTH_BINS];
    Interval interval[LENGTH_BINS];
    Axis axis = {"characters that the chosen answer is longer", NAN, NAN};
    char title[160];
    if (!pair) return -1;
    for (int j = 0; j < n; j++) pair[j] = (ByLength){cell->length[j], correctness(cell->delta[j])};
    qsort(pair, (size_t)n, sizeof *pair, compare_by_length);
    if (n < LENGTH_BINS || pair[0].length == pair[n-1].length) {
        free(pair);
        return 0;                             // features have no lengths
    }
    for (int b = 0; b < LENGTH_BINS; b++) {
        const int from = n * b / LENGTH_BINS, to = n * (b + 1) / LENGTH_BINS;
        x[b] = y[b] = rule[b] = 0;
        for (int j = from; j < to; j++) {
            x[b] += pair[j].length / (to - from);
            y[b] += pair[j].right / (to - from);
            rule[b] += correctness(pair[j].length) / (to - from);
        }
        interval[b] = wilson(y[b] * (to - from), to - from);
        axis_include(&axis, x[b]);
    }
    free(pair);
    axis_round(&axis);
    snprintf(title, sizeof title, "%s on %s by length", cell->model, cell->data);
    Chart c = chart_begin(p, title, axis, (Axis){"accuracy", 0, 1});
    chart_rule(&c, axis.low, 0.5, axis.high, 0.5);
    chart_line(&c, 1, x, rule, LENGTH_BINS);
    chart_points(&c, 1, x, rule, LENGTH_BINS);
    chart_line(&c, 0, x, y, LENGTH_BINS);
    for (int b = 0; b < LENGTH_BINS; b++) {
        chart_interval(&c, 0, x[b], interval[b].low, interval[b].high);
    }
    chart_points(&c, 0, x, y, LENGTH_BINS);
    chart_end(&c);
    chart_legend(p, 0, cell->model);
    chart_legend(p, 1, "the longer answer wins");
    page_put(p, "<br>fifths of the pairs by the difference of lengths, each at its mean; the "
             "longer answer wins %.1f %%, the model prefers it in %.1f %%",
             100 * cell->metrics.longer_wins, 100 * cell->metrics.longer_preferred);
    figure_end(p);
    return 0;
}

static int put_cells(Page *p, const Cells *cells) {
    if (!cells->n) return 0;
    page_put(p, "<h2>How far to trust it</h2>\n<table><tr><th>model<th>data<th>pairs<th>acc %%"
             "<th>95 %%<th>ECE<th>after T<th>Brier<th>NLL<th>margin</tr>\n");
    for (size_t i = 0; i < cells->n; i++) {
        const Cell *c = &cells->cell[i];
        const Metrics *m = &c->metrics;
        page_put(p, "<tr><td>");
        page_words(p, c->model);
        page_put(p, "<td>");
        page_words(p, c->data);
        page_put(p, "<td>%d<td>%.2f<td>%.1f .. %.1f<td>%.4f<td>%.4f<td>%.4f<td>%.4f<td>%.3f</tr>\n",
                 c->n, 100 * m->accuracy, 100 * m->accuracy_95.low, 100 * m->accuracy_95.high,
                 m->symmetric[1].ece, m->after_ece, m->brier, m->nll, m->margin);
    }
    page_put(p, "</table>\n");
    for (size_t i = 0; i < cells->n; i++) {
        if (put_reliability(p, &cells->cell[i]) < 0) return -1;
        put_rewards(p, &cells->cell[i]);
        if (put_lengths(p, &cells->cell[i]) < 0) return -1;
    }
    return 0;
}

// ----------------------------------------------------------------------------- policies and people

static void put_policies(Page *p, const Report *r) {
    Axis x = {"KL to the reference, of a text", 0, NAN}, y = {"mean reward by the judge", NAN, NAN};
    int known = 0;
    for (size_t i = 0; i < r->num_policies; i++) {
        const Compared *w = &r->policy[i];
        if (!isfinite(w->kl)) continue;
        axis_include(&x, w->kl);
        axis_include(&x, w->kl_95.low);
        axis_include(&x, w->kl_95.high);
        axis_include(&y, w->reward);
        axis_include(&y, w->reward_95.low);
        axis_include(&y, w->reward_95.high);
        known++;
    }
    if (!known) return;
    axis_round(&x);
    axis_round(&y);
    page_put(p, "<h2>Policies</h2>\n");
    Chart c = chart_begin(p, "reward against KL", x, y);
    for (size_t i = 0; i < r->num_policies; i++) {
        const Compared *w = &r->policy[i];
        if (!isfinite(w->kl)) continue;
        chart_interval(&c, (int)i, w->kl, w->reward_95.low, w->reward_95.high);
        chart_span(&c, (int)i, w->reward, w->kl_95.low, w->kl_95.high);
        chart_points(&c, (int)i, &w->kl, &w->reward, 1);
        chart_label(&c, w->kl, w->reward, w->name);
    }
    chart_end(&c);
    page_put(p, "<br>95 %% by bootstrap over prompts; what is further right bought its reward with "
             "distance");
    figure_end(p);
}

// Who is of which type, by EM: a column for each annotator, sorted by the first type.
static int put_people(Page *p, const PeopleFile *f) {
    const int H = f->people.H, K = f->people.K;
    const double *gamma = f->people.gamma;
    if (H == 0) return 0;
    ByLength *person = allocate((size_t)H, sizeof *person);
    if (!person) return -1;
    for (int h = 0; h < H; h++) person[h] = (ByLength){gamma[h * K], h};
    qsort(person, (size_t)H, sizeof *person, compare_by_length);
    Chart c = chart_begin(p, "who is of which type", (Axis){"annotators", 0, H},
                          (Axis){"responsibility", 0, 1});
    for (int i = 0; i < H; i++) {
        const int h = (int)person[i].right;
        double sum = 0;
        for (int k = 0; k < K; k++) {
            if (gamma[h*K + k] > 0) chart_bar(&c, k, i, i + 1, sum, sum + gamma[h*K + k]);
            sum += gamma[h*K + k];
        }
    }
    chart_end(&c);
    for (int k = 0; k < K; k++) {
        char words[64];
        snprintf(words, sizeof words, "type %d: %.1f %%", k + 1, 100 * f->people.eta[k]);
        chart_legend(p, k, words);
    }
    page_put(p, "<br>%d annotators by the responsibility of type 1, after EM", H);
    figure_end(p);
    free(person);

    // the log-likelihood of each start, iteration by iteration
    Axis x = {"iteration", NAN, NAN}, y = {"log-likelihood", NAN, NAN};
    for (size_t i = 0; i < f->num_steps; i++) {
        axis_include(&x, f->step[i].iteration);
        axis_include(&y, f->step[i].loglik);
    }
    if (f->num_steps < 2) return 0;
    axis_round(&x);
    axis_round(&y);
    c = chart_begin(p, "log-likelihood of the choices", x, y);
    for (size_t from = 0, to; from < f->num_steps; from = to) {
        double at[2], value[2];
        const int style = f->step[from].start;
        for (to = from + 1; to < f->num_steps && f->step[to].start == f->step[from].start; to++) {
            at[0] = f->step[to - 1].iteration;
            at[1] = f->step[to].iteration;
            value[0] = f->step[to - 1].loglik;
            value[1] = f->step[to].loglik;
            chart_line(&c, style, at, value, 2);
            chart_points(&c, style, at, value, 2);
        }
    }
    chart_end(&c);
    page_put(p, "<br>a line for each start");
    figure_end(p);
    return 0;
}

// What each way to answer loses to the type that loses most.
static void put_regrets(Page *p, const Json *j) {
    const int ways = json_get(j, 0, "ways"), n = json_count(j, ways);
    Axis y = {"worst regret", 0, 0};
    int i = 0;
    for (int way = json_first(j, ways); way >= 0; way = json_next(j, way)) {
        axis_include(&y, json_number(j, json_get(j, way, "worst")));
        axis_include(&y, json_number(j, json_next(j, json_first(j, json_get(j, way, "worst_95")))));
    }
    if (!n) return;
    axis_round(&y);
    Chart c = chart_begin(p, "worst regret of each way to answer", (Axis){"", 0, n}, y);
    for (int way = json_first(j, ways); way >= 0; way = json_next(j, way), i++) {
        const int list = json_get(j, way, "worst_95"), low = json_first(j, list);
        const double worst = json_number(j, json_get(j, way, "worst"));
        chart_bar(&c, i, i + 0.15, i + 0.85, 0, worst);
        chart_interval(&c, i, i + 0.5, json_number(j, low), json_number(j, json_next(j, low)));
    }
    chart_end(&c);
    i = 0;
    for (int way = json_first(j, ways); way >= 0; way = json_next(j, way)) {
        chart_legend(p, i++, json_string(j, json_get(j, way, "name")));
    }
    page_put(p, "<br>from left to right; what the type that loses most loses in the mean (arXiv "
             "2510.15716); 95 %% by bootstrap over prompts");
    figure_end(p);
}

// ------------------------------------------------------------------------------------ the terminal

// The losses of a run in DRAWN_ROWS lines of characters, each column the mean of its steps.
static void draw_loss(const RunLog *run) {
    enum { DRAWN_ROWS = 12, DRAWN_COLUMNS = 64 };
    const Series *s = series_find(run, "loss");
    Axis y = {"loss", NAN, NAN};
    double mean[DRAWN_COLUMNS];
    if (!s) return;
    const int columns = s->n < DRAWN_COLUMNS ? s->n : DRAWN_COLUMNS;
    for (int k = 0; k < columns; k++) {
        const int from = (int)((long long)s->n * k / columns);
        const int to = (int)((long long)s->n * (k + 1) / columns);
        mean[k] = 0;
        for (int i = from; i < to; i++) mean[k] += s->value[i] / (to - from);
        axis_include(&y, mean[k]);
    }
    axis_round(&y);
    for (int row = DRAWN_ROWS - 1; row >= 0; row--) {
        printf("%9.4g |", y.low + (row + 0.5) * (y.high - y.low) / DRAWN_ROWS);
        for (int k = 0; k < columns; k++) {
            const double at = (mean[k] - y.low) / (y.high - y.low) * DRAWN_ROWS;
            const int is_here = at >= row && (at < row + 1 || row + 1 == DRAWN_ROWS);
            putchar(is_here ? '*' : ' ');
        }
        printf("\n");
    }
    printf("%9s +%.*s\n", "loss", columns, "-----------------------------------------------------"
           "-----------");
    printf("%s: step %.0f", run->name, s->step[s->n - 1]);
    if (run->steps) printf(" of %d", run->steps);
    printf(", loss %.4f%s\n", s->value[s->n - 1], run->ended ? ", ended" : "");
}

// Draws the run of one folder, after its first step; on a terminal again every two seconds, until
// it has ended.
static int watch(void) {
    const int terminal = is_screen(STDOUT_FILENO);
    int is_told = 0;                // that there is no step yet
    if (opt.paths.n != 1) return fail(EX_USAGE, "--watch: one run");
    for (;;) {
        Report r = {.num_runs = 0};
        int result = report_read(&r);
        if (result == 0 && !r.num_runs) {
            fail(EX_DATAERR, "--watch: %s is not a run of train", opt.paths.item[0]);
            result = -1;
        }
        const RunLog *run = r.run;
        const int ended = result == 0 ? run->ended : 1;
        const int has_step = result == 0 && series_find(run, "loss");
        if (result == 0 && !has_step && (!is_told || ended)) {
            printf("%s: %s\n", run->name, ended ? "ended without a step" : "no step yet");
            is_told = 1;
        }
        if (has_step && terminal) printf("\033[H\033[2J");
        if (has_step) draw_loss(run);
        report_free(&r);
        if (result < 0) return -1;
        if (ended || (has_step && !terminal)) return 0;
        fflush(stdout);
        sleep(2);
    }
}

// ---------------------------------------------------------------------------------------- the page

int command_report(void) {
    Report r = {.num_runs = 0};
    Page page = {.result = 0};
    int result = -1;
    if (!opt.paths.n) {
        return fail(EX_USAGE, "runs are needed: folders of train, files that eval --out and "
                    "compare --out wrote");
    }
    if (opt.watch) return watch();
    if (!opt.out) return fail(EX_USAGE, "--out is needed: the page, report.html");
    if (file_check(opt.out) < 0) return -1;
    if (report_read(&r) < 0) goto done;
    page_begin(&page, "more report");
    put_runs(&page, &r);
    if (put_cells(&page, &r.cells) < 0) goto done;
    put_policies(&page, &r);
    if (r.num_people || r.num_mixtures) page_put(&page, "<h2>People</h2>\n");
    for (size_t i = 0; i < r.num_people; i++) {
        if (put_people(&page, &r.people[i]) < 0) goto done;
    }
    for (size_t i = 0; i < r.num_mixtures; i++) put_regrets(&page, &r.mixture[i]);
    page_end(&page);
    if (page.result < 0) goto done;
    result = file_write(opt.out, page.text.data, page.text.len);
done:
    report_free(&r);
    buffer_free(&page.text);
    return result;
}
#endif

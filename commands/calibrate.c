/* calibrate.c - more calibrate: how far to trust a reward model's differences.
 *
 * A temperature, or with --isotonic also a map, is fitted on pairs that the model was not trained
 * on, and put into its config.json.  What it does is measured on other prompts than it was fitted
 * on: each fifth of the prompts with the fit of the others.                                      */
#ifndef CALIBRATE_C
#define CALIBRATE_C
#include "evaluate.c"

int command_calibrate(void);      // more calibrate: fits, prints, writes config.json

// All pairs of the files of --eval under the model.
typedef struct {
    Cell cell;
    Config config;
    int files;
} CalibrationPairs;

// 0, or -1 after fail().
static int calibration_pairs(CalibrationPairs *x, const char *dir) {
    for (; x->files < opt.eval.n; x->files++) {
        Dataset d = {0};
        double *reward = NULL;
        int result = reward_texts(&d, &reward, &x->config, dir, opt.eval.item[x->files]);
        for (size_t i = 0; result == 0 && i < d.num_records; i++) {
            const Record *r = &d.record[i];
            const PairResult pair = {.prompt_id = r->prompt_id, .line = r->line};
            result = cell_add_record(&x->cell, &d, r, reward + r->first, 1, NULL, pair);
        }
        dataset_free(&d);
        free(reward);
        if (result < 0) return -1;
    }
    if (x->cell.n) return 0;
    return fail(EX_DATAERR, "--eval: no pairs: all rows tie");
}

static void print_calibration(const char *name, const Metrics *m) {
    printf("%-14s %7.4f  %.4f .. %.4f %8.4f %8.4f\n", name, m->symmetric[TEN_BINS].ece,
           m->ece_95.low, m->ece_95.high, m->brier, m->nll);
}

// The numbers of log-odds (n) of the cell's pairs.  0, or -1 after fail().
static int print_after(const char *name, const Cell *c, const double *log_odds) {
    Metrics m;
    const uint64_t seed = (uint64_t)opt.seed;
    if (metrics_compute(&m, log_odds, NULL, NULL, c->prompt_id, c->n, seed) < 0) return -1;
    print_calibration(name, &m);
    return 0;
}

// What the fits of other folds do for each pair, as a table.  0, or -1 after fail().
static int print_folds(const Cell *c) {
    const size_t n = (size_t)c->n;
    double *log_odds = allocate(n, sizeof *log_odds);
    int result = -1;
    if (!log_odds) goto done;
    printf("%-14s %7s  %-16s %8s %8s\n", "", "ECE", "95 %", "Brier", "NLL");
    print_calibration("rewards", &c->metrics);
    if (temperature_cross_fit(log_odds, c->delta, c->prompt_id, c->n) < 0) goto done;
    if (print_after("temperature", c, log_odds) < 0) goto done;
    if (opt.isotonic) {
        if (isotonic_cross_fit(log_odds, c->delta, c->prompt_id, c->n) < 0) goto done;
        if (print_after("isotonic map", c, log_odds) < 0) goto done;
    }
    result = 0;
done:
    free(log_odds);
    return result;
}

// Is there a temperature at all?  0, or -1 after fail().
static int check_temperature(const Cell *c) {
    const double T = c->metrics.temperature;
    if (T >= TEMPERATURE_MAX) {
        return fail(EX_DATAERR, "in the mean of %d pairs the chosen answer's reward is not the "
                    "higher one: no temperature makes probabilities of such rewards", c->n);
    }
    if (T <= 1 / TEMPERATURE_MAX) {
        return fail(EX_DATAERR, "the model is right on all of %d pairs: how sure it may be takes "
                    "pairs on which it is wrong; give more", c->n);
    }
    return 0;
}

// Puts what c says of calibration into the model's config.json, whose other keys stay.  0, or -1
// after fail().
static int keep_calibration(const Config *c, const char *dir) {
    char path[PATH_SIZE];
    Buffer text = {0}, own = {0}, out = {0};
    int result = -1;
    if (config_file(path, dir) < 0) return -1;
    if (!is_there(dir, "config.json") && path_join(path, dir, ADAPTER_MODEL_CONFIG) < 0) return -1;
    if (file_read(&text, path) < 0) goto done;
    if (config_own_text(&own, c) < 0) goto done;
    if (json_with_member(&out, text.data, "more", own.data) < 0) goto done;
    if (file_write(path, out.data, out.len) < 0) goto done;
    printf("%s: %s\n", path, own.data);
    result = 0;
done:
    buffer_free(&text);
    buffer_free(&own);
    buffer_free(&out);
    return result;
}

int command_calibrate(void) {
    CalibrationPairs x = {.files = 0};
    Cell *c = &x.cell;
    Interval interval;
    int result = -1;
    if (!opt.model.n || !opt.eval.n) return fail(EX_USAGE, "--model and --eval are needed");
    const char *dir = opt.model.item[0];
    if (feature_folder_is(dir)) {
        return fail(EX_USAGE, "%s: a reward model of features; calibrate takes models of texts",
                    dir);
    }
    if (calibration_pairs(&x, dir) < 0) goto done;
    if (cell_measure(c) < 0) goto done;
    if (check_temperature(c) < 0) goto done;
    printf("%s: %d pairs of %d file%s, %d prompts; each fifth of them with what the others say\n",
           dir, c->n, x.files, x.files == 1 ? "" : "s", c->metrics.clusters);
    if (print_folds(c) < 0) goto done;

    // what is kept is fitted on all of them
    if (temperature_interval(&interval, c->delta, c->prompt_id, c->n, (uint64_t)opt.seed) < 0) {
        goto done;
    }
    printf("temperature of all: %.4g (95 %% %.4g .. %.4g)\n", c->metrics.temperature, interval.low,
           interval.high);
    x.config.temperature = c->metrics.temperature;
    x.config.isotonic.n = 0;
    if (opt.isotonic && isotonic_fit(&x.config.isotonic, c->delta, NULL, c->n) < 0) goto done;
    result = keep_calibration(&x.config, dir);
done:
    cell_free(c);
    return result;
}
#endif

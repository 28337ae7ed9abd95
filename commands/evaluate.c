/* evaluate.c - more eval: reward models and policies on held-out data.
 *
 * A cell holds the pairs of one data set under one model.  Cells come from four places; those of
 * the same model and data set are joined:
 *
 *     --from                          pairs that an earlier eval wrote (other seeds, other folds)
 *     --model, --eval                 reward models
 *     --model, --eval, --reference    policies, by their implicit rewards
 *     --bag, --eval                   logistic regression on counts of words: the bar
 *
 * and one is made of others: with --people, what the types of people predict together of each row's
 * annotator.
 *
 * Of a ranking each two answers, one of them better, are a pair, and the ranking itself has numbers
 * of its own.
 *
 * They leave as tables on standard output and as JSON lines in --out: "pair" and "ranking", which
 * --from reads again, "metrics" and "rankings" for each cell, "policy" for each policy and
 * file.  With --by KEY the pairs of a cell are parted by what their rows have under that key, an
 * annotator or a category: "by" for each part.
 *
 *     cells.c     cells, what they come to, their JSON lines
 *     tables.c    the tables
 *     types.c     --people                                                                       */
#ifndef EVALUATE_C
#define EVALUATE_C
#include "features.c"
#include "mixture.c"
#include "../bagofwords.c"
#include "../vocabulary.c"
#include "../values.c"
#include "../calibration.c"
#include "tables.c"
#include "types.c"

int command_eval(void);           // more eval: tables of models by data sets

// the rewards of a file's answers under a model of texts, whose configuration is *c; the pairs of a
// row as those of a cell
int reward_texts(Dataset *d, double **reward, Config *c, const char *dir, const char *file);
int cell_add_record(Cell *c, const Dataset *d, const Record *r, const double *reward, int models,
                    const Isotonic *map, PairResult pair);

// ------------------------------------------------------------------------------- evaluating models

// A model and a file as the model's own tokenizer reads it.
typedef struct {
    Model model;
    Tokenizer tokenizer;
    Dataset data;
} Loaded;

// On standard error: what a file was read as that is not of our own shapes; of conversations under
// a policy, how many turns are scored.
static int report_reading(const Dataset *d, int kind) {
    Buffer line = {0};
    int result = opt.quiet ? 0 : dataset_report_shape(d, &line);
    if (line.len) fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    if (result == 0 && kind == LOAD_LANGUAGE_MODEL) result = report_turns(d);
    return result;
}

// Pairs or rankings: a reward tells which answer is better.
static int has_choices(const Dataset *d) {
    return d->kind == DATA_PAIR || d->kind == DATA_RANKING;
}

// kind: LOAD_REWARD_MODEL, for pairs and rankings, or LOAD_LANGUAGE_MODEL, for whatever has
// answers.
static int loaded_init(Loaded *x, const char *dir, const char *file, int kind) {
    const DataOptions o = data_options();
    const Dataset *d = &x->data;
    if (load_model(&x->model, &x->tokenizer, dir, kind, opt.max_length) < 0) return -1;
    if (dataset_load(&x->data, file, &x->tokenizer, &o) < 0) return -1;
    if (kind == LOAD_REWARD_MODEL && !has_choices(d)) {
        return fail_kind(d, "pairs or rankings are needed");
    }
    if (!has_choices(d) && d->kind != DATA_POINT && d->kind != DATA_COMPLETION) {
        return fail_kind(d, "pairs, rankings, points or completions are needed");
    }
    if (report_reading(d, kind) < 0 || dataset_keep_fold(&x->data, 1) < 0) return -1;
    return evaluate_room(&x->model, d, opt.quiet);
}

static void loaded_free(Loaded *x) {
    model_free(&x->model);
    tokenizer_free(&x->tokenizer);
    dataset_free(&x->data);
}

// Adds each two answers of the record, one of them better, to the cell, and a ranking itself.
// reward (r->count) is the sum of what so many models gave; map, or NULL: what makes log-odds of
// their differences; pair: what all its pairs have.  0, or -1 after fail().
int cell_add_record(Cell *c, const Dataset *d, const Record *r, const double *reward, int models,
                    const Isotonic *map, PairResult pair) {
    const Answer *a = &d->answer[r->first];
    float place[MAX_ANSWERS];
    double score[MAX_ANSWERS], length[MAX_ANSWERS];
    record_places(place, d, r);
    for (int i = 0; i < r->count; i++) {
        score[i] = reward[i] / models;
        length[i] = a[i].chars;
        for (int k = i + 1; k < r->count; k++) {
            if (place[i] == place[k]) continue;
            pair.delta = (reward[i] - reward[k]) / models;
            if (map) pair.delta = isotonic_log_odds(map, pair.delta);
            pair.reward[0] = reward[i] / models;
            pair.reward[1] = reward[k] / models;
            pair.chosen = a[i].chars;
            pair.rejected = a[k].chars;
            if (cell_add(c, &pair) < 0) return -1;
        }
    }
    if (d->kind != DATA_RANKING) return 0;
    RankingResult x = {.prompt_id = r->prompt_id, .line = r->line};
    ranking_measure(&x.model, score, place, r->count, opt.loss.top);
    ranking_measure(&x.longest, length, place, r->count, opt.loss.top);
    return cell_add_ranking(c, &x);
}

/* Adds the pairs and rankings of d to a cell of the model's name, and writes them.  reward
 * (num_answers) is the sum of what so many models gave; map as for cell_add_record.  0, or -1 after
 * fail().                                                                                        */
static int add_choices(Cells *cells, const char *model, const Dataset *d, const double *reward,
                       int models, const Isotonic *map, FILE *out) {
    Json json = {0};
    int some = !opt.by;           // rows with a value under --by
    int result = -1;
    Cell *c = cell_of(cells, model, d->name);
    if (!c) return -1;
    const int from = c->n, from_ranking = c->num_rankings;
    for (size_t i = 0; i < d->num_records; i++) {
        const Record *r = &d->record[i];
        PairResult pair = {.prompt_id = r->prompt_id, .line = r->line};
        if (opt.by && values_append_row(&cells->values, &pair.value, d, r, opt.by, &json) < 0) {
            goto done;
        }
        if (opt.by && cells->values.data[pair.value]) some = 1;
        if (cell_add_record(c, d, r, reward + r->first, models, map, pair) < 0) goto done;
    }
    if (c->n == from) {
        fail(EX_DATAERR, "%s: no pairs: %zu of %zu rows tie", d->path, d->tied, d->rows);
        goto done;
    }
    if (!some) {
        fail(EX_DATAERR, "%s: no row has \"%s\", which --by names", d->path, opt.by);
        goto done;
    }
    if (out && cell_write_pairs(out, cells, c, from) < 0) goto done;
    if (out && cell_write_rankings(out, c, from_ranking) < 0) goto done;
    result = 0;
done:
    json_free(&json);
    return result;
}

// path is dir (len) with the data set's name for the first %s in it.
static void folder_for(char path[PATH_SIZE], const char *dir, int len, const char *data) {
    const char *mark = strstr(dir, "%s");
    const int before = mark ? (int)(mark - dir) : len;
    const int after = len - before - 2;
    if (after >= 0) snprintf(path, PATH_SIZE, "%.*s%s%.*s", before, dir, data, after, mark + 2);
    else snprintf(path, PATH_SIZE, "%.*s", len, dir);
}

// Have both the same rows of a file, each answer with the same number?
static int same_rows(const Dataset *a, const Dataset *b) {
    if (a->num_records != b->num_records || a->num_answers != b->num_answers) return 0;
    for (size_t i = 0; i < a->num_records; i++) {
        if (a->record[i].line_start != b->record[i].line_start) return 0;
        if (a->record[i].first != b->record[i].first) return 0;
    }
    return 1;
}

// Reward models A+B+C that count as one: the mean of their rewards.
typedef struct {
    const char *name;
    Dataset data;                 // the file as the first of them reads it
    double *reward;               // (num_answers) the sum of theirs
    Isotonic map;                 // of the only one
    int models;
} Ensemble;

// A file under a reward model of features: its rows and their rewards, which the caller frees.
static int reward_features(Dataset *d, double **reward, const char *dir, const char *file) {
    FeatureNet net;
    int result = -1;
    if (features_read(&net, d, dir, file, 0) < 0) goto done;
    if (!has_choices(d)) {
        fail_kind(d, "pairs or rankings are needed");
        goto done;
    }
    if (report_reading(d, LOAD_REWARD_MODEL) < 0) goto done;
    *reward = allocate(d->num_answers, sizeof **reward);
    if (!*reward) goto done;
    feature_rewards(&net, d, *reward);
    result = dataset_keep_fold(d, 1);
done:
    feature_net_free(&net);
    return result;
}

// The same under a reward model of texts.
int reward_texts(Dataset *d, double **reward, Config *c, const char *dir, const char *file) {
    Loaded x = {0};
    int result = loaded_init(&x, dir, file, LOAD_REWARD_MODEL);
    if (result == 0) {
        *reward = allocate(x.data.num_answers, sizeof **reward);
        result = *reward ? evaluate_texts(&x.model, x.tokenizer.eos, &x.data, *reward) : -1;
    }
    *d = x.data;
    *c = x.model.config;
    x.data = (Dataset){0};
    loaded_free(&x);
    return result;
}

// Makes log-odds of the rewards (n) of a model that more calibrate has looked at; a map is for
// their differences, and waits.  0, or -1 after fail().
static int ensemble_calibrate(Ensemble *e, const Config *c, double *reward, size_t n,
                              const char *dir) {
    if (e->models && (c->isotonic.n || e->map.n)) {
        return fail(EX_USAGE, "%s: its isotonic map is for differences of its own rewards, which "
                    "are not averaged with those of %s; more calibrate without --isotonic", dir,
                    e->name);
    }
    e->map = c->isotonic;
    if (!is_calibrated(c)) return 0;
    if (!opt.quiet) {
        fprintf(stderr, "%s: log-odds by the %s that more calibrate left there\n", dir,
                c->isotonic.n ? "isotonic map" : "temperature");
    }
    for (size_t i = 0; !c->isotonic.n && i < n; i++) reward[i] /= c->temperature;
    return 0;
}

// Adds the rewards of the model in dir on the file.  0, or -1 after fail().
static int ensemble_add(Ensemble *e, const char *dir, const char *file) {
    Dataset d = {0};
    double *reward = NULL;
    int result = -1;
    const int features = feature_folder_is(dir);
    Config c = {.temperature = 0};
    const int read = features ? reward_features(&d, &reward, dir, file)
                              : reward_texts(&d, &reward, &c, dir, file);
    if (read < 0) goto done;
    if (ensemble_calibrate(e, &c, reward, d.num_answers, dir) < 0) goto done;
    if (e->models && !same_rows(&e->data, &d)) {
        fail(EX_DATAERR, "%s: --over_length drop leaves other pairs to another model of %s",
             d.path, e->name);
        goto done;
    }
    const size_t n = d.num_answers;
    if (!e->reward) e->reward = allocate(n, sizeof *reward);
    if (!e->reward) goto done;
    for (size_t i = 0; i < n; i++) e->reward[i] += reward[i];
    if (e->models == 0) {
        e->data = d;
        d = (Dataset){0};
    }
    e->models++;
    result = 0;
done:
    free(reward);
    dataset_free(&d);
    return result;
}

// The mean reward of the folders of spec, NAME=A+B+C, on a file of pairs, into a cell and to out.
static int evaluate_rewards(Cells *cells, const char *spec, const char *file, FILE *out) {
    char name[64], set[64], path[PATH_SIZE];
    const char *dir;
    Ensemble e = {.name = name};
    int result = -1;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    dataset_name(set, file);
    while (*dir) {
        const size_t len = strcspn(dir, "+");
        folder_for(path, dir, (int)len, set);
        if (ensemble_add(&e, path, file) < 0) goto done;
        dir += len;
        if (*dir == '+') dir++;
    }

    result = add_choices(cells, name, &e.data, e.reward, e.models, &e.map, out);
done:
    dataset_free(&e.data);
    free(e.reward);
    return result;
}

/* The log-probabilities of a file's answers under a policy or mixture: *data is the file, *logp is
 * (num_answers).  The model is gone when it returns.  0, or -1 after fail().                     */
static int policy_logps(Dataset *data, double **logp, const char *path, const char *file) {
    Loaded x = {0};
    Mixture mixture;
    int result = -1;
    if (mixture_open(&mixture, path) < 0) goto done;
    if (loaded_init(&x, mixture.folder[0], file, LOAD_LANGUAGE_MODEL) < 0) goto done;
    *logp = allocate(x.data.num_answers, sizeof **logp);
    if (!*logp) goto done;
    if (mixture_tokens(&mixture, &x.model, x.tokenizer.eos, &x.data, *logp, NULL) < 0) goto done;
    *data = x.data;
    x.data = (Dataset){0};
    result = 0;
done:
    mixture_free(&mixture);
    loaded_free(&x);
    return result;
}

// Did two models' tokenizers make the same tokens of a file?
static int same_texts(const Dataset *a, const Dataset *b) {
    const size_t n = a->num_tokens;
    return b->num_tokens == n && !memcmp(a->token, b->token, n * sizeof *a->token);
}

// A "policy" line: the held-out numbers of one policy on one file.
static int write_policy(FILE *f, const char *model, const char *data, const Held *held) {
    Buffer names = {0};
    const int result = cells_quote_names(&names, model, data);
    if (result == 0) {
        fprintf(f, "{\"event\":\"policy\",%s,\"n\":%d", names.data, held->n);
        held_write(f, "", held);
        fprintf(f, "}\n");
    }
    buffer_free(&names);
    return result;
}

/* A policy against the reference, whose log-probabilities of the file `like` are ref (num_answers).
 * Pairs go into a cell and to out; the other held-out numbers are printed and go to out.         */
static int evaluate_policy(Cells *cells, const char *spec, const char *file, const Dataset *like,
                           const double *ref, FILE *out) {
    char name[64];
    const char *dir;
    Dataset data = {0};
    double *logp = NULL, *reward = NULL;
    Held held;
    int result = -1;
    split_model(spec, name, &dir);
    if (!*dir) return fail(EX_USAGE, "--model %s: the folder is missing", spec);
    if (policy_logps(&data, &logp, dir, file) < 0) goto done;
    if (opt.by && !has_choices(&data)) {
        fail_kind(&data, "--by needs pairs or rankings");
        goto done;
    }
    if (!same_texts(&data, like)) {
        fail(EX_DATAERR, "%s: %s has another tokenizer than the reference; log-probabilities of "
             "other tokens do not compare", data.path, name);
        goto done;
    }
    reward = allocate(data.num_answers, sizeof *reward);
    if (!reward) goto done;
    implicit_rewards(reward, &data, logp, ref, opt.loss.beta);

    if (has_choices(&data) && add_choices(cells, name, &data, reward, 1, NULL, out) < 0) goto done;
    if (held_out(&held, &data, logp, reward) < 0) goto done;
    printf("%s on ", name);
    held_print(stdout, data.name, &data, &held);
    if (out && write_policy(out, name, data.name, &held) < 0) goto done;
    result = 0;
done:
    dataset_free(&data);
    free(logp);
    free(reward);
    return result;
}

// The reference on a file, then each policy: never two models at a time.
static int evaluate_policies(Cells *cells, const char *file, FILE *out) {
    Dataset data = {0};
    double *ref = NULL;
    int result = policy_logps(&data, &ref, opt.reference, file);
    for (int i = 0; result == 0 && i < opt.model.n; i++) {
        result = evaluate_policy(cells, opt.model.item[i], file, &data, ref, out);
    }
    dataset_free(&data);
    free(ref);
    return result;
}

// ------------------------------------------------------------------------------ the bag of words

// Pairs and rankings (as_pairs: taken apart) as bytes, each a token: whole answers, whatever a
// model's tokenizer and --max_length are.
static int load_pairs(Dataset *d, const Tokenizer *bytes, const char *file, int as_pairs) {
    DataOptions o = data_options();
    o.max_length = 0;
    o.max_prompt_length = 0;
    if (as_pairs) o.as_pairs = 1;
    if (dataset_load(d, file, bytes, &o) < 0) return -1;
    return has_choices(d) ? 0 : fail_kind(d, "--bag needs pairs or rankings");
}

// Is the training file of --bag that of this evaluation file: of its name, or the only one?
static int bag_is_for(const char *train, const char *file) {
    char a[64], b[64];
    dataset_name(a, train);
    dataset_name(b, file);
    return opt.bag.n == 1 || !strcmp(a, b);
}

// Every file of --bag is of use, and to every file of --eval there is one.
static int check_bags(void) {
    if (!opt.bag.n) return 0;
    for (int k = 0; k < opt.eval.n; k++) {
        const char *file = opt.eval.item[k];
        int i = 0;
        while (i < opt.bag.n && !bag_is_for(opt.bag.item[i], file)) i++;
        if (i == opt.bag.n) {
            return fail(EX_USAGE, "--bag: no file has the name of %s; give one file for all, or "
                        "one of each name: FILE:NAME", file);
        }
    }
    for (int i = 0; i < opt.bag.n; i++) {
        int k = 0;
        while (k < opt.eval.n && !bag_is_for(opt.bag.item[i], opt.eval.item[k])) k++;
        if (k == opt.eval.n) {
            return fail(EX_USAGE, "--bag %s: no evaluation file has its name", opt.bag.item[i]);
        }
    }
    return 0;
}

// The bag of a training file, whose contents are `seen`, on an evaluation file, into a cell and to
// out.
static int evaluate_bag(Cells *cells, const Bag *bag, const Buffer *seen, const Tokenizer *bytes,
                        const char *file, FILE *out) {
    Dataset d = {0};
    double *reward = NULL;
    int result = -1;
    if (load_pairs(&d, bytes, file, 0) < 0 || dataset_keep_fold(&d, 1) < 0) goto done;
    const size_t len = d.contents.len;
    if (opt.folds <= 1 && seen->len == len && !memcmp(seen->data, d.contents.data, len)) {
        fail(EX_USAGE, "--bag: trained on what is in %s itself; give the file to train on, or "
             "--folds", d.path);
        goto done;
    }
    reward = allocate(d.num_answers, sizeof *reward);
    if (!reward || bag_rewards(bag, &d, bytes, reward) < 0) goto done;
    result = add_choices(cells, bag_name, &d, reward, 1, NULL, out);
done:
    dataset_free(&d);
    free(reward);
    return result;
}

// Trains on each file of --bag, outside the fold; evaluates on its evaluation files, inside.
static int evaluate_bags(Cells *cells, FILE *out) {
    Tokenizer bytes = {0};
    Dataset train = {0};
    Bag bag = {0};
    int result = -1;
    if (!opt.bag.n) return 0;
    if (tokenizer_of_bytes(&bytes) < 0) return -1;
    for (int i = 0; i < opt.bag.n; i++) {
        const char *file = opt.bag.item[i];
        if (load_pairs(&train, &bytes, file, 1) < 0 || dataset_keep_fold(&train, 0) < 0) goto done;
        if (!train.num_records) {
            fail(EX_DATAERR, "%s: no pairs to train a bag of words on", train.path);
            goto done;
        }
        if (bag_train(&bag, &train, &bytes) < 0) goto done;
        for (int k = 0; k < opt.eval.n; k++) {
            if (!bag_is_for(file, opt.eval.item[k])) continue;
            const char *to = opt.eval.item[k];
            if (evaluate_bag(cells, &bag, &train.contents, &bytes, to, out) < 0) goto done;
        }
        dataset_free(&train);
        bag_free(&bag);
    }
    result = 0;
done:
    tokenizer_free(&bytes);
    dataset_free(&train);
    bag_free(&bag);
    return result;
}

// --------------------------------------------------------------------------------------- more eval

// Files of one name would be joined into one cell.
static int check_set_names(const char *option, const List *files) {
    char a[64], b[64];
    for (int i = 0; i < files->n; i++) {
        dataset_name(a, files->item[i]);
        for (int k = 0; k < i; k++) {
            dataset_name(b, files->item[k]);
            if (!strcmp(a, b)) {
                return fail(EX_USAGE, "--%s: two files are called %s; give one another name: "
                            "FILE:NAME", option, a);
            }
        }
    }
    return 0;
}

// --out under its temporary name, as a stream on a second descriptor of it.
static int open_results(Output *file, FILE **out) {
    if (output_open(file, opt.out) < 0) return -1;
    *out = fdopen(dup(file->fd), "w");
    if (!*out) return fail(EX_CANTCREAT, "%s: %s", opt.out, strerror(errno));
    return 0;
}

// Was everything written?  Then the file gets its name.  The stream is closed in any case.
static int keep_results(Output *file, FILE *out) {
    const int bad = ferror(out);
    if (fclose(out) != 0) return fail(EX_IOERR, "%s: %s", opt.out, strerror(errno));
    if (bad) return fail(EX_IOERR, "%s: could not be written", opt.out);
    if (output_close(file) < 0) return -1;
    return output_rename(file);
}

// All cells: those read back, then those of the models.
static int collect_cells(Cells *cells, FILE *out) {
    for (int i = 0; i < opt.from.n; i++) {
        if (cells_read(cells, opt.from.item[i]) < 0) return -1;
    }
    if (opt.reference) {
        for (int k = 0; k < opt.eval.n; k++) {
            if (evaluate_policies(cells, opt.eval.item[k], out) < 0) return -1;
        }
    } else {
        for (int i = 0; i < opt.model.n; i++) {
            const char *spec = opt.model.item[i];
            for (int k = 0; k < opt.eval.n; k++) {
                if (evaluate_rewards(cells, spec, opt.eval.item[k], out) < 0) return -1;
            }
        }
    }
    if (evaluate_bags(cells, out) < 0) return -1;
    if (!cells->n && opt.from.n) return fail(EX_DATAERR, "%s: no pairs in it", opt.from.item[0]);
    return 0;
}

// Each model, the reference and a bag of words read a file for themselves, and each of A+B+C.
static int check_streams(void) {
    int readers = opt.model.n + opt.bag.n + (opt.reference != NULL);
    for (int i = 0; i < opt.model.n; i++) readers += strchr(opt.model.item[i], '+') != NULL;
    return readers > 1 ? refuse_streams(&opt.eval, "eval, for each model, reads") : 0;
}

// Do the options make one evaluation?  0, or -1 after fail().
static int check_eval(void) {
    const int models = opt.model.n || opt.bag.n, files = opt.eval.n > 0;
    if (models != files || (!models && !opt.from.n)) {
        return fail(EX_USAGE, "--model and --eval are needed, or --bag and --eval, or --from");
    }
    if (check_set_names("eval", &opt.eval) < 0 || check_set_names("bag", &opt.bag) < 0) return -1;
    if (names_differ(&opt.model) < 0 || check_bags() < 0 || check_streams() < 0) return -1;
    return 0;
}

// Is there memory for each policy of a folder or mixture?  0, or -1 after fail().
static int policies_room(const char *path) {
    Mixture mixture;
    int result = mixture_open(&mixture, path);
    for (int k = 0; result == 0 && k < mixture.n; k++) {
        result = load_room(mixture.folder[k], LOAD_LANGUAGE_MODEL);
    }
    mixture_free(&mixture);
    return result;
}

// The same of the reward models that a file of that name is evaluated by.
static int rewards_room(const char *spec, const char *file) {
    char name[64], set[64], path[PATH_SIZE];
    const char *dir;
    split_model(spec, name, &dir);
    dataset_name(set, file);
    while (*dir) {
        const size_t len = strcspn(dir, "+");
        folder_for(path, dir, (int)len, set);
        if (load_room(path, LOAD_REWARD_MODEL) < 0) return -1;
        dir += len;
        if (*dir == '+') dir++;
    }
    return 0;
}

// Before anything is loaded: is there memory for the reference and each model?  0, or -1 after
// fail().
static int models_room(void) {
    if (opt.reference && policies_room(opt.reference) < 0) return -1;
    for (int i = 0; i < opt.model.n; i++) {
        char name[64];
        const char *path;
        split_model(opt.model.item[i], name, &path);
        if (!*path) return 0;                       // which is named when its turn comes
        if (opt.reference && policies_room(path) < 0) return -1;
        for (int k = 0; k < opt.eval.n && !opt.reference; k++) {
            if (rewards_room(opt.model.item[i], opt.eval.item[k]) < 0) return -1;
        }
    }
    return 0;
}

// Cells from results and models, then tables, then --out, if everything went well.
int command_eval(void) {
    Cells cells = {0};
    Types types = {0};
    Output file = {.fd = -1};
    FILE *out = NULL;
    int result = -1;
    const int parts = opt.by != NULL;
    if (types_open(&types) < 0 || check_eval() < 0 || models_room() < 0) goto done;
    if (opt.out && open_results(&file, &out) < 0) goto done;
    if (collect_cells(&cells, out) < 0) goto done;
    if (opt.people && types_add_all(&types, &cells, out) < 0) goto done;
    if (cells.n && tables_print(&cells, parts) < 0) goto done;
    if (opt.people && types_print_all(&types, &cells) < 0) goto done;
    for (size_t i = 0; out && i < cells.n; i++) {
        if (cell_write_metrics(out, &cells, &cells.cell[i]) < 0) goto done;
    }
    result = 0;
done:
    if (out && result == 0) result = keep_results(&file, out);
    else if (out) fclose(out);
    output_drop(&file);
    cells_free(&cells);
    types_free(&types);
    return result;
}
#endif

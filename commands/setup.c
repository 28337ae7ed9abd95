/* setup.c - from the settings of the command line to data, names of models and vocabularies.  */
#ifndef SETUP_C
#define SETUP_C
#include "../objectives.c"
#include "../load.c"
#include "../vocabulary.c"

int  load_data(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o,
               const Objective *objective, DataUse use);
int  report_turns(const Dataset *d);
int  keep_files(SmallFiles *to, const char *dir);
void split_model(const char *spec, char name[64], const char **folders);
int  names_differ(const List *models);
int  refuse_streams(const List *files, const char *who);
int  learn_vocabulary(Tokenizer *t, const List *files, const List *more_files, int size);

// Files that are read more than once, by `who`.  0, or -1 after fail().
int refuse_streams(const List *files, const char *who) {
    for (int i = 0; i < files->n; i++) {
        if (!dataset_is_stream(files->item[i])) continue;
        return fail(EX_USAGE, "%s: %s it more than once; give a file, not standard input or a pipe",
                    files->item[i], who);
    }
    return 0;
}

// Says of rows to train on which weights and margins they bring; whether all weights are 0, and
// whether a margin is beyond what rewards reach: the loss is then a number that training does not
// move.
static void report_weights(const Dataset *d, int reward) {
    enum { LARGE = 1000 };
    size_t weightless = 0;
    float margin[2] = {0, 0}, weight[2] = {1, 1};         // the least and the largest
    const Record *far = NULL;
    for (const Record *r = d->record; r < d->record + d->num_records; r++) {
        weightless += r->weight == 0;
        if (fabsf(r->margin) > LARGE && !far) far = r;
        margin[0] = fminf(margin[0], r->margin);
        margin[1] = fmaxf(margin[1], r->margin);
        weight[0] = fminf(weight[0], r->weight);
        weight[1] = fmaxf(weight[1], r->weight);
    }
    if (margin[0] < margin[1]) {
        fprintf(stderr, "%s: the rows have a \"margin\", %g to %g: %s\n", d->name,
                (double)margin[0], (double)margin[1],
                reward ? "the loss asks the chosen reward to exceed the other by it"
                       : "it is of reward models, and does not count here");
    }
    if (weight[0] < weight[1]) {
        fprintf(stderr, "%s: the rows have a \"weight\", %g to %g, by which their losses count\n",
                d->name, (double)weight[0], (double)weight[1]);
    }
    if (weightless == d->num_records) {
        fprintf(stderr, "%s: the weight of every row is 0: nothing is learned from it\n", d->path);
    }
    if (reward && far) {
        fprintf(stderr, "%s:%zu: a margin of %g, which no rewards reach: a margin is a difference "
                "of rewards, a few units\n", d->path, far->line, (double)far->margin);
    }
}

// A file for an objective; says what was read.  0, or -1 after fail().
int load_data(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o,
              const Objective *objective, DataUse use) {
    Buffer line = {0};
    if (dataset_load(d, spec, t, o) < 0) return -1;
    if (objective_takes(objective, d, use) < 0) return -1;
    if (!d->num_records) {
        const char *tie = d->tied ? " (no two different answers of which one is better)" : "";
        return fail(EX_DATAERR, "%s: nothing is left of %zu rows: %zu ties%s, %zu too long",
                    d->path, d->rows, d->tied, tie, d->dropped);
    }
    const int policy = objective->data != DOCUMENTS && !objective->reward;
    int result = dataset_report(d, &line);
    if (result == 0 && policy) result = dataset_report_turns(d, &line);
    if (result == 0) fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    if (use != FOR_EVAL) report_weights(d, objective->reward);
    return result;
}

// On standard error, unless --quiet: of conversations, how many turns are targets.  0, or -1 after
// fail().
int report_turns(const Dataset *d) {
    Buffer line = {0};
    const int result = opt.quiet ? 0 : dataset_report_turns(d, &line);
    if (line.len) fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    return result;
}

// The small files that are kept: those of the folder dir; with --tokenizer, what belongs to one
// comes from that file's folder.  A tokenizer.json that was made of other files is kept too.
int keep_files(SmallFiles *to, const char *dir) {
    char path[PATH_SIZE], folder[PATH_SIZE];
    Buffer text = {0};
    if (dir && beside_load(to, dir, opt.tokenizer ? NOT_OF_TOKENIZER : ALL_SMALL) < 0) return -1;
    if (tokenizer_path(path, dir) < 0 || path_beside(folder, path, ".") < 0) return -1;
    const char *from = gguf_names(path) ? path : folder;
    if (opt.tokenizer && beside_load(to, from, OF_TOKENIZER) < 0) return -1;
    if (!opt.tokenizer && beside_find(to, "tokenizer.json")) return 0;
    int result = tokenizer_file_text(&text, path);
    if (result == 0) result = beside_put(to, "tokenizer.json", text.data, text.len);
    buffer_free(&text);
    return result;
}

// NAME=FOLDER+FOLDER into name and folders; without a name the last part of the folder's path.
void split_model(const char *spec, char name[64], const char **folders) {
    const char *equals = strchr(spec, '=');
    if (equals) {
        *folders = equals + 1;
        snprintf(name, 64, "%.*s", (int)(equals - spec), spec);
        return;
    }
    const char *last = spec + strlen(spec);
    while (last > spec && last[-1] != '/') last--;
    *folders = spec;
    snprintf(name, 64, "%s", *last ? last : spec);
}

// 0, or -1 after fail(): two models have one name.
int names_differ(const List *models) {
    char a[64], b[64];
    const char *folders;
    for (int i = 0; i < models->n; i++) {
        split_model(models->item[i], a, &folders);
        for (int k = 0; k < i; k++) {
            split_model(models->item[k], b, &folders);
            if (strcmp(a, b)) continue;
            return fail(EX_USAGE, "--model: two models are called %s; "
                        "give one another name: NAME=FOLDER", a);
        }
    }
    return 0;
}

// DataOptions.bad_row where the same file is read again, which then says so.
static void drop_silently(void *to, const Dataset *d) {
    (void)to;
    (void)d;
}

// The texts of file `spec`, read byte by byte: appended to *all; end[n] is where each ends.
typedef struct {
    Tokenizer bytes;                        // 256 pieces, to read files with
    Buffer all;
    size_t *end, n, capacity;
} Corpus;

static int corpus_add(Corpus *c, const char *spec) {
    DataOptions o = data_options();
    Dataset d;
    int result = -1;
    o.max_length = 0;
    o.max_prompt_length = 0;
    o.plain_text = ONE_DOCUMENT;
    if (o.bad_row) o.bad_row = drop_silently;
    if (dataset_load(&d, spec, &c->bytes, &o) < 0) return -1;
    for (const Record *r = d.record; r < d.record + d.num_records; r++) {
        Span span[2] = {r->prompt, {0, 0}};
        if (r->count) span[1] = d.answer[r->first].tokens;
        if (reserve(&c->end, &c->capacity, c->n + 1, sizeof *c->end) < 0) goto done;
        for (int k = 0; k < 2; k++) {
            const int *token = d.token + span[k].start;
            if (tokenizer_decode(&c->bytes, token, (size_t)span[k].len, &c->all) < 0) goto done;
        }
        c->end[c->n++] = c->all.len;
    }
    result = 0;
done:
    dataset_free(&d);
    return result;
}

// Learns a vocabulary of `size` pieces from the documents, or prompts and completions, of files.
// 0, or -1 after fail().
int learn_vocabulary(Tokenizer *t, const List *files, const List *more_files, int size) {
    Corpus c = {0};
    int result = -1;
    if (tokenizer_of_bytes(&c.bytes) < 0) goto done;
    for (int i = 0; i < files->n; i++) {
        if (corpus_add(&c, files->item[i]) < 0) goto done;
    }
    for (int i = 0; i < more_files->n; i++) {
        if (corpus_add(&c, more_files->item[i]) < 0) goto done;
    }
    result = tokenizer_learn(t, c.all.data, c.end, c.n, size);
done:
    tokenizer_free(&c.bytes);
    buffer_free(&c.all);
    free(c.end);
    return result;
}
#endif

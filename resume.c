/* resume.c - a run that was interrupted goes on, and ends with the bits that it would have had.
 *
 *     recipe      a line for all that decides the numbers: options, and the hashes of tokenizer,
 *                 files, starting weights and rows; of another recipe nothing goes on
 *     progress    the step, the evaluations so far, how long the log is
 *     numbers     weights that are trained, Adam's two moments, and what the trainer keeps from
 *                 step to step
 *
 * Which rows a step has, and every random number, is a function of data, seed and step (plan.c):
 * the step is the place in the data.  Threads, instruction set, micro-batches, the machine and its
 * byte order may be others than before.  Of a run that has finished a state without numbers stays,
 * so that the very same command, with the same of these too, does not train again.               */
#ifndef RESUME_C
#define RESUME_C
#include "plan.c"
#include "files/checkpoint.c"
#include "files/state.c"

// Where the loop is.
typedef struct {
    int step, steps;                                // from 1 in what is printed
    double loss, rate, norm;                        // of this step
    double start, wall;                             // now() before the first; seconds since
    size_t tokens;                                  // token rows of all steps so far
    int best_step;                                  // of --load_best, whose weights are in --out;
    double best;                                    //   0: none yet; and its number
    int not_better;                                 // evaluations since
    int evaluated;                                  // the step of the last evaluation
    int finished;                                   // yes: all is
    int resumed;                                    // yes: some steps are of an earlier process
    double saved;                                   // now() at the last save, and the step then
    int saved_step;
    uint64_t log_size;                              // bytes of the log that are of all this
} Progress;

// A line of a recipe that another one has with another value; values are no texts, but so long.
typedef struct {
    const char *name, *value, *other;
    int name_length, value_length, other_length;
} RecipeLine;

int  resume_recipe(Run *run);
int  recipe_difference(RecipeLine *line, const char *recipe, const char *other);
int  resume_open(Run *run, State *s, Progress *p);
int  resume_load(Run *run, State *s);
int  resume_save(Run *run, const Progress *p);
void state_reals(State *s, real *memory, size_t n);
int  checksum_params(Checksum *c, const Model *m, size_t at, size_t n);

// -------------------------------------------------------------------------------------- the recipe

// Adds the numbers at .. at+n-1 of m's parameters, as files have them.  0, or -1 after fail().
int checksum_params(Checksum *c, const Model *m, size_t at, size_t n) {
    enum { NUMBERS = 1 << 14 };
    real *piece = allocate(NUMBERS, sizeof *piece);
    if (!piece) return -1;
    for (size_t first = 0; first < n; first += NUMBERS) {
        const size_t k = n - first < NUMBERS ? n - first : NUMBERS;
        model_read(m, at + first, k, piece);
        for (size_t i = 0; i + 1 < k; i += 2) {
            const uint64_t low = bits_of((float)piece[i]), high = bits_of((float)piece[i + 1]);
            checksum_number(c, low | high << 32);
        }
        if (k % 2) checksum_number(c, bits_of((float)piece[k - 1]));
    }
    free(piece);
    return 0;
}

// What training starts from.  0, or -1 after fail().
static int sum_start(const Model *m, char text[CHECKSUM_TEXT]) {
    Buffer config = {0};
    Checksum c;
    int result = -1;
    checksum_start(&c);
    if (config_text(&config, &m->config, "float32") < 0) goto done;
    checksum_add(&c, config.data, config.len);
    if (checksum_params(&c, m, 0, m->num_params) < 0) goto done;
    checksum_text(text, checksum_finish(&c));
    result = 0;
done:
    buffer_free(&config);
    return result;
}

// The items in their order, with the margins and weights of their rows, and where steps end.
static void sum_plan(const Run *run, char text[CHECKSUM_TEXT]) {
    Checksum c;
    checksum_start(&c);
    for (const Item *i = run->item; i < run->item + run->num_items; i++) {
        const Record *r = item_record(run, i);
        checksum_number(&c, (uint64_t)i->set << 32 | (uint64_t)i->record);
        checksum_number(&c, (uint64_t)i->first << 32 | (uint64_t)r->count);
        checksum_number(&c, (uint64_t)bits_of(r->margin) << 32 | bits_of(r->weight));
    }
    for (size_t s = 0; s < run->num_steps; s++) checksum_number(&c, run->step_end[s]);
    checksum_text(text, checksum_finish(&c));
}

static int names_in_order(const void *a, const void *b) { return strcmp(a, b); }

// Adds the bytes of a file.  0, or -1 after fail().
static int sum_file(Checksum *c, const char *path) {
    unsigned char chunk[CHUNK];
    uint64_t size;
    const int fd = file_open(path, &size);
    if (fd < 0) return -1;
    int result = 0;
    for (uint64_t at = 0; at < size && result == 0; at += CHUNK) {
        const size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        result = file_read_at(fd, path, chunk, n, at);
        checksum_add(c, chunk, n);
    }
    close(fd);
    return result;
}

// Is a file of that name read where a model is: weights, configuration, tokenizer, template?
static int is_of_model(const char *name) {
    static const char *const ends[] = {
        ".json", ".safetensors", ".gguf", ".GGUF", ".model", "merges.txt", ".jinja",
    };
    if (!strcmp(name, RECEIPT_NAME)) return 0;
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        if (name_ends_with(name, ends[k])) return 1;
    }
    return 0;
}

// Adds the files that make a model of a folder, or one file.  0, or -1 after fail().
static int sum_folder(Checksum *c, const char *path) {
    typedef char Name[256];
    Name *name = NULL;
    size_t n = 0, capacity = 0;
    char file[PATH_SIZE];
    int result = -1;
    DIR *d = opendir(path);
    if (!d) return sum_file(c, path);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!is_of_model(e->d_name)) continue;
        if (reserve(&name, &capacity, n + 1, sizeof *name) < 0) goto done;
        snprintf(name[n], sizeof *name, "%s", e->d_name);
        n++;
    }
    if (n) qsort(name, n, sizeof *name, names_in_order);
    for (size_t i = 0; i < n; i++) {
        if (path_join(file, path, name[i]) < 0 || sum_file(c, file) < 0) goto done;
    }
    result = 0;
done:
    closedir(d);
    free(name);
    return result;
}

// Lines for the n folders of an option.  0, or -1 after fail().
static int recipe_models(Buffer *b, const char *option, const char *const *dir, int n) {
    char text[CHECKSUM_TEXT];
    for (int i = 0; i < n; i++) {
        Checksum c;
        checksum_start(&c);
        char base[PATH_SIZE];
        const int is_adapter = config_base(base, dir[i]);
        if (is_adapter < 0 || sum_folder(&c, dir[i]) < 0) return -1;
        if (is_adapter && sum_folder(&c, base) < 0) return -1;
        checksum_text(text, checksum_finish(&c));
        if (buffer_printf(b, "the checksum of %s %d=%s\n", option, i + 1, text) < 0) return -1;
    }
    return 0;
}

/* Adds to run->recipe, which has the options already, what the run is about to be trained on.  0,
 * or -1 after fail().                                                                            */
int resume_recipe(Run *run) {
    const SmallFile *tokenizer = beside_find(&run->beside, "tokenizer.json");
    const int chosen_by = opt.load_best ? run->num_eval : 0;
    const int files = run->num_train + run->num_then + chosen_by;
    Buffer *b = &run->recipe;
    char sha256[65] = "", sum[CHECKSUM_TEXT];
    if (tokenizer) sha256_hex(sha256, tokenizer->text.data, tokenizer->text.len);
    if (buffer_printf(b, "sha256 of the tokenizer=%s\n", sha256) < 0) return -1;
    if (buffer_printf(b, "the token that ends a text=%d\n", run->tokenizer.eos) < 0) return -1;
    for (int i = 0; i < files; i++) {
        const char *kind = "--train";
        int number = i + 1;
        if (i >= run->num_train) {
            kind = i < files - chosen_by ? "--then, --demo or --bapo_base" : "--eval";
            number -= i < files - chosen_by ? run->num_train : files - chosen_by;
        }
        sha256_hex(sha256, run->data[i].contents.data, run->data[i].contents.len);
        if (buffer_printf(b, "sha256 of file %d of %s=%s\n", number, kind, sha256) < 0) return -1;
    }
    if (*settings_gpu() && buffer_printf(b, "the GPU=%s\n", settings_gpu()) < 0) return -1;
    if (opt.groups) {
        if (sha256_file(sha256, opt.groups) < 0) return -1;
        if (buffer_printf(b, "sha256 of --groups=%s\n", sha256) < 0) return -1;
    }
    if (recipe_models(b, "--references", opt.references.item, opt.references.n) < 0) return -1;
    if (recipe_models(b, "--reward", opt.reward.item, opt.reward.n) < 0) return -1;
    if (recipe_models(b, "--reference", &opt.reference, opt.reference != NULL) < 0) return -1;
    if (recipe_models(b, "--critic", &opt.critic, opt.critic != NULL) < 0) return -1;
    if (sum_start(&run->model, sum) < 0) return -1;
    if (buffer_printf(b, "the checksum of the weights at the start=%s\n", sum) < 0) return -1;
    sum_plan(run, sum);
    return buffer_printf(b, "the checksum of the order and weights of rows=%s\n", sum);
}

// The line of the recipe with that name (n, with its "="), or NULL.
static const char *recipe_line(const char *recipe, const char *name, size_t n) {
    for (const char *line = recipe; *line; line += strcspn(line, "\n") + 1) {
        if (!strncmp(line, name, n)) return line;
        if (!strchr(line, '\n')) break;
    }
    return NULL;
}

// The first line of `recipe` that `other` does not have so: 1, or 0: there is none.
int recipe_difference(RecipeLine *d, const char *recipe, const char *other) {
    for (const char *line = recipe; *line; line += strcspn(line, "\n") + 1) {
        const int name = (int)strcspn(line, "=\n") + 1, length = (int)strcspn(line, "\n");
        const char *old = recipe_line(other, line, (size_t)name);
        const int old_length = old ? (int)strcspn(old, "\n") : 0;
        if (old && old_length == length && !strncmp(old, line, (size_t)length)) continue;
        *d = (RecipeLine){.name = line, .name_length = name - 1, .value = line + name,
                          .value_length = max_int(length - name, 0),
                          .other = old ? old + name : "unknown"};
        d->other_length = (int)strcspn(d->other, "\n");
        return 1;
    }
    return 0;
}

// Do they differ?  Then why says where first: NAME was VALUE, is VALUE.  -1 after fail().
static int recipes_differ(Buffer *why, const char *was, const char *is) {
    RecipeLine d;
    if (recipe_difference(&d, is, was)) {
        const int result = buffer_printf(why, "%.*s was %.*s, is %.*s", d.name_length, d.name,
                                         d.other_length, d.other, d.value_length, d.value);
        return result < 0 ? -1 : 1;
    }
    if (strlen(was) == strlen(is)) return 0;
    return buffer_printf(why, "its recipe has more lines") < 0 ? -1 : 1;
}

// ------------------------------------------------------------------------------ what is in a state

// Numbers of the layers' memory.
void state_reals(State *s, real *memory, size_t n) {
    enum { NUMBERS = 1 << 14 };
    real *piece = allocate(NUMBERS, sizeof *piece);
    float *number = allocate(NUMBERS, sizeof *number);
    if (!piece || !number) s->result = -1;
    for (size_t at = 0; at < n && s->result == 0; at += NUMBERS) {
        const size_t k = n - at < NUMBERS ? n - at : NUMBERS;
        if (!s->reading) kernels_read(piece, memory + at, k);
        for (size_t i = 0; i < k; i++) number[i] = (float)piece[i];
        state_floats(s, number, k);
        for (size_t i = 0; i < k; i++) piece[i] = (real)number[i];
        if (s->reading) kernels_write(memory + at, piece, k);
    }
    free(piece);
    free(number);
}

static void state_progress(State *s, Run *run, Progress *p) {
    uint64_t tokens = p->tokens;
    state_int(s, &p->step);
    state_int(s, &p->steps);
    state_number(s, &tokens);
    p->tokens = (size_t)tokens;
    state_int(s, &p->best_step);
    state_double(s, &p->best);
    state_int(s, &p->not_better);
    state_int(s, &p->evaluated);
    state_int(s, &p->finished);
    state_double(s, &p->wall);
    state_number(s, &p->log_size);
    state_chars(s, run->sha256, sizeof run->sha256);
}

static int state_numbers(State *s, Run *run) {
    Model *m = &run->model;
    const Trainer *trainer = run->objective->trainer;
    state_reals(s, m->params_memory + (m->num_numbers - m->num_trained), m->num_trained);
    state_reals(s, m->moments_memory, 2 * m->num_trained);
    return trainer->state ? trainer->state(run, s) : s->result;
}

// ---------------------------------------------------------------------------------- saving a state

// The state as it is now, into run->out; older ones than the newest --keep are removed, and in the
// end all but where there is a diary.  0, or -1 after fail(): the older ones are as they were.
int resume_save(Run *run, const Progress *p) {
    Progress now_is = *p;
    char path[PATH_SIZE];
    State s;
    int result = -1, keep = opt.keep;
    if (p->finished) keep = opt.diary ? opt.keep + 1 : 1;       // steps are verified from states
    if (state_path(path, run->out, p->step) < 0) return -1;
    if (state_create(&s, path) < 0) goto done;
    state_text(&s, &run->recipe);
    state_text(&s, &run->manner);
    state_progress(&s, run, &now_is);
    if (!p->finished && state_numbers(&s, run) < 0) goto done;
    if (state_commit(&s) < 0) goto done;
    result = state_prune(run->out, keep);
done:
    state_close(&s);
    return result;
}

// --------------------------------------------------------------------------- going on from a state

// Did the command line name what to go on with?  A part of a run goes on by itself.
static int state_is_named(const Run *run) { return !run->part && strcmp(opt.resume, "auto") != 0; }

// The path of the state to go on with: 1; 0: there is none; -1 after fail().
static int resume_find(char path[PATH_SIZE], const Run *run) {
    struct stat st;
    const int is_named = state_is_named(run);
    const char *dir = is_named ? opt.resume : run->out;
    if (is_named && !strcmp(dir, "no")) return 0;
    if (is_named && stat(dir, &st) == 0 && S_ISREG(st.st_mode) && strlen(dir) < PATH_SIZE) {
        strcpy(path, dir);
        return 1;
    }
    if (state_find(path, dir, INT64_MAX) >= 0) return 1;
    if (!is_named) return 0;
    return fail(EX_NOINPUT, "--resume %s: there is no run there to go on with; auto, no, or a "
                "folder with a state-STEP.bin is needed", dir);
}

// Is there a state that is whole, older than that at path?  Its path.
static int older_state(char older[PATH_SIZE], const char *path) {
    char dir[PATH_SIZE] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    int64_t step = state_find(older, dir, step_of_name(slash ? slash + 1 : path));
    while (step >= 0) {
        State s;
        const int whole = state_open(&s, older) == 0;
        state_close(&s);
        if (whole) return 1;
        step = state_find(older, dir, step);
    }
    return 0;
}

// After the error that the state at path could not be read for: what else there is.  0: of a part,
// which begins anew; -1 after fail().
static int resume_damaged(const Run *run, const char *path) {
    char message[sizeof error_text], older[PATH_SIZE];
    const int code = error_code;
    snprintf(message, sizeof message, "%s", error_text);
    if (run->part) {
        fprintf(stderr, "%s; begun anew\n", message);
        return 0;
    }
    if (!older_state(older, path)) return fail(code, "%s; --resume no begins anew", message);
    return fail(code, "%s; --resume %s goes on from the one before it, --resume no begins anew",
                message, older);
}

// Are the weights beside the state at path those with run->sha256?
static int weights_are_there(const Run *run, const char *path) {
    char weights[PATH_SIZE], sha256[65];
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) + 1 : 0;
    const int n = snprintf(weights, PATH_SIZE, "%.*s%s", length, path,
                           checkpoint_weights(&run->model.config));
    return n < PATH_SIZE && sha256_file(sha256, weights) == 0 && !strcmp(sha256, run->sha256);
}

// What a state says before its numbers.
typedef struct {
    Buffer recipe, manner, why;                     // why: where the recipe is another
    Progress progress;
} StateHead;

// Is that a place in a run of so many steps?
static int progress_fits(const Progress *p, int steps) {
    if (p->steps != steps || p->step < 0 || p->step > steps) return 0;
    if (p->best_step < 0 || p->best_step > p->step) return 0;
    return p->not_better >= 0 && p->not_better <= p->step;
}

// Is the state that s begins with one of this run?  1; 0: no, and the run begins anew; -1 after
// fail().
static int resume_check(Run *run, State *s, StateHead *h) {
    state_text(s, &h->recipe);
    state_text(s, &h->manner);
    state_progress(s, run, &h->progress);
    if (s->result < 0) return -1;
    const int differ = recipes_differ(&h->why, h->recipe.data, run->recipe.data);
    const int is_named = state_is_named(run), finished = h->progress.finished;
    if (differ < 0) return -1;
    if (!differ && !progress_fits(&h->progress, (int)run->num_steps)) {
        return fail(EX_DATAERR, "%s: the step that it says is none of this run", s->path);
    }
    if (!differ && !finished) return 1;
    if (!differ && weights_are_there(run, s->path)) {
        if (is_named || strcmp(h->manner.data, run->manner.data) == 0) return 1;
    }
    if (!is_named && (finished || run->part)) return 0;
    if (!differ) {
        return fail(EX_DATAERR, "%s: of a run that has finished, but its weights are not beside "
                    "it; --resume no trains anew", s->path);
    }
    return fail(EX_USAGE, "%s: of another run: %s; the same recipe goes on with it, --resume no "
                "begins anew", s->path, h->why.data);
}

/* Opens the state that the run goes on with: 1, and s stands before its numbers; 0: there is none;
 * -1 after fail().  *p is what it says; state_close(s) in each case.                             */
int resume_open(Run *run, State *s, Progress *p) {
    char path[PATH_SIZE];
    StateHead h = {.progress = *p};
    *s = (State){.fd = -1, .out.fd = -1};
    int result = resume_find(path, run);
    if (result <= 0) return result;
    if (state_open(s, path) < 0) return resume_damaged(run, path);
    result = resume_check(run, s, &h);
    if (result > 0) *p = h.progress;
    if (result > 0) p->resumed = 1;
    buffer_free(&h.recipe);
    buffer_free(&h.manner);
    buffer_free(&h.why);
    return result;
}

// The numbers, to the model and the trainer, which are as before the first step.  0, or -1 after
// fail().
int resume_load(Run *run, State *s) {
    return state_numbers(s, run) < 0 ? -1 : state_end(s);
}
#endif

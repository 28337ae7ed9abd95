/* em.c - more train em: a model for each hidden type of people behind the rows, by EM.
 *
 * people.c is the loop (EM-DPO, Chidambaram et al., arXiv 2510.15716); here are its models:
 * reward models or policies, each type's trained by the steps of `train reward` or `train dpo`.
 *
 *     fit      the rows of the people of a type, each row's weight times its annotator's gamma,
 *              are a training of their own: from --model, or from the type's last weights
 *     score    log-likelihood of each row's choice (choice_loglik in loss.c), from a forward pass:
 *              of a pair log sigma(r_c - r_r), r rewards or a policy's beta (log pi - log ref)
 *
 * The data are read once, and the reference's log-probabilities computed once: they are in
 * Answer.ref_logp of the rows that all types share.  With --lora_r the model of --model is there
 * once, frozen, and a type is an adapter over it, with a reward head if there is one.
 *
 *     OUT/people.json                     written anew after each iteration
 *     OUT/start-1-iteration-2/type-1 ..   the models of the running iteration
 *     OUT/type-1 ..                       in the end those of the best start; adapters' folders
 *                                         name the base model that they are of
 *
 * people.json names the last iteration that is whole.  A run that was interrupted goes on from
 * there: in the folders of the next iteration are its types' states (resume.c), with which the
 * training of each goes on or is not repeated.  Folders of others are left over and are removed.
 *
 * --objective heads: the models are those of heads.c; nothing is written before the end.         */
#ifndef EM_C
#define EM_C
#include "train.c"
#include "options.c"
#include "../agreement.c"
#include "../heads.c"
#include "../values.c"
#include "../files/people_json.c"

#define EM_LOOP "objective by types estep gamma start starts "
#define EM_OWN EM_LOOP "em_steps mstep ridge "
#define EM_READS \
    "model train out tokenizer dtype template prompt_key chosen_key rejected_key max_length " \
    "max_prompt_length over_length=drop bad_rows num_train_epochs max_steps micro_batch_tokens " \
    "recompute learning_rate=1e-5 lr_scheduler_type warmup_ratio max_grad_norm weight_decay " \
    "adam_beta1 adam_beta2 adam_epsilon logging_steps save_steps save_minutes keep diary seed " \
    "precision force threads quiet help " \
    "lora_r lora_alpha lora_targets base_dtype " \
    "beta reference_cache label_smoothing top pairs logp per_step_rows per_step_pairs head_rate " \
    "freeze pooling raw_head random_weights folds fold "

int command_em(void);

static const Command em_command = {.name = "train", .object = "em", .options = {EM_READS, EM_OWN}};

// --objective heads: what only training reads is refused.
static const Command heads_command = {
    .name = "train", .object = "em --objective heads",
    .options = {"model train out tokenizer dtype template prompt_key chosen_key rejected_key "
                "max_length max_prompt_length over_length=drop bad_rows micro_batch_tokens seed "
                "precision force threads quiet help top pairs pooling folds fold ",
                EM_LOOP "em_steps=100 ridge"},
};

// A row of less weight than this share of the largest is left out of a fit.
#define LEAST_WEIGHT 1e-4

typedef struct {
    Objective objective;                    // of the models
    Command command;                        // with the options that count
    int is_heads;                           // yes: they are one, but for the reward heads
    RewardHeads heads;
    float *feature;                         // (num_answers, C) what these read
    Run base;                               // tokenizer, data, reference, and the base model of
                                            // adapters, which all types share
    Run fit;                                // of the type that was fitted last; it has that model
                                            // until the next fit
    real *head;                             // (C) of adapters, the reward head to start from
    int said;                               // yes: what a fit takes
    Dataset rows;                           // those of this fit
    Record *record;                         // (N) their records
    int *annotator;                         // (N)
    int *cluster;                           // (H) to start from
    double parameters;                      // that a type has
    Buffer values;                          // the annotators' names
    PeopleOptions options;
    PeopleFile file;                        // file.people is the loop's
    char path[PATH_SIZE], out[PATH_SIZE];   // of people.json; of the model that is fitted
    char part[64];                          // where the loop is, for the progress line
    double began;                           // now() before the iteration
} Em;

// -------------------------------------------------------------------------------- the annotators

// Numbers annotators in the order in which they come first; their names and rows to em->file.
// sorted (N): all rows.  0, or -1 after fail().
static int number_annotators(Em *em, const Value *sorted, size_t N) {
    PeopleFile *f = &em->file;
    size_t *first = allocate(N, sizeof *first);     // (N) the first row of the same annotator
    int H = 0;
    if (!first) return -1;
    for (size_t i = 0; i < N; i++) {
        const int is_new = i == 0 || strcmp(sorted[i].text, sorted[i - 1].text) != 0;
        first[sorted[i].item] = is_new ? sorted[i].item : first[sorted[i - 1].item];
        H += is_new;
    }
    f->name = allocate((size_t)H, sizeof *f->name);
    f->count = allocate((size_t)H, sizeof *f->count);
    if (!f->name || !f->count) {
        free(first);
        return -1;
    }
    H = 0;
    for (size_t n = 0; n < N; n++) {
        em->annotator[n] = first[n] == n ? H++ : em->annotator[first[n]];
        f->count[em->annotator[n]]++;
    }
    for (size_t i = 0; i < N; i++) f->name[em->annotator[sorted[i].item]] = sorted[i].text;
    free(first);
    return people_init(&f->people, H, opt.types, N, em->annotator);
}

// Who gave each row, and the sizes.  0, or -1 after fail().
static int read_annotators(Em *em) {
    const Dataset *d = em->base.data;
    const size_t N = d->num_records;
    size_t *at = allocate(N, sizeof *at);
    Value *sorted = allocate(N, sizeof *sorted);
    Json json = {0};
    int result = -1;
    em->annotator = allocate(N, sizeof *em->annotator);
    if (!at || !sorted || !em->annotator) goto done;
    for (size_t n = 0; n < N; n++) {
        const Record *r = &d->record[n];
        if (values_append_row(&em->values, &at[n], d, r, opt.by, &json) < 0) goto done;
        if (em->values.data[at[n]]) continue;
        fail(EX_DATAERR, "%s:%zu: the row has no \"%s\": every row needs one, or --by KEY names "
             "another key", d->path, r->line, opt.by);
        goto done;
    }
    for (size_t n = 0; n < N; n++) sorted[n] = (Value){em->values.data + at[n], n};
    values_sort(sorted, N);
    result = number_annotators(em, sorted, N);
done:
    free(at);
    free(sorted);
    json_free(&json);
    return result;
}

// ------------------------------------------------------------------------------ folders of models

// OUT/start-1-iteration-2, the models of an iteration (from 1) of a start (from 0).
static int iteration_path(char path[PATH_SIZE], int start, int iteration) {
    char name[64];
    snprintf(name, sizeof name, "start-%d-iteration-%d", start + 1, iteration);
    return path_join(path, opt.out, name);
}

// The same with a type (from 0).
static int type_path(char path[PATH_SIZE], const char *dir, int k) {
    char name[32];
    snprintf(name, sizeof name, "type-%d", k + 1);
    return path_join(path, dir, name);
}

// Is the iteration (from 1) of a start (from 0) one whose models are still needed, or one that
// comes next, which may have begun?
static int is_needed(const Em *em, int start, int iteration) {
    const People *p = &em->file.people;
    const PeopleFile *f = &em->file;
    if (f->finished) return 0;
    if (start == f->best_start && iteration == f->best_iteration) return 1;
    if (start == p->start + 1 && iteration == 1) return 1;
    return start == p->start && (iteration == p->iteration || iteration == p->iteration + 1);
}

// Removes the models of other iterations.  0, or -1 after fail().
static int remove_others(const Em *em) {
    char path[PATH_SIZE], exact[64];
    int start, iteration, result = -1;
    DIR *d = opendir(opt.out);
    if (!d) return fail(EX_NOINPUT, "%s: %s", opt.out, strerror(errno));
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (sscanf(e->d_name, "start-%d-iteration-%d", &start, &iteration) != 2) continue;
        snprintf(exact, sizeof exact, "start-%d-iteration-%d", start, iteration);
        if (strcmp(exact, e->d_name) || is_needed(em, start - 1, iteration)) continue;
        if (path_join(path, opt.out, e->d_name) < 0 || folder_remove(path) < 0) goto done;
    }
    result = 0;
done:
    closedir(d);
    return result;
}

// ----------------------------------------------------------------------------- fit: a type's model

// The rows with more than the least weight, each times its annotator's gamma.  0, or -1 after
// fail().
static int choose_rows(Em *em, int k, const double *weight) {
    const Dataset *all = em->base.data;
    double most = 0;
    size_t n = 0;
    for (size_t i = 0; i < all->num_records; i++) most = weight[i] > most ? weight[i] : most;
    for (size_t i = 0; i < all->num_records; i++) {
        if (weight[i] <= LEAST_WEIGHT * most) continue;
        em->record[n] = all->record[i];
        em->record[n].weight *= (float)weight[i];
        n++;
    }
    if (!n) return fail(EX_DATAERR, "type %d has no rows to learn from; fewer --types", k + 1);
    em->rows = *all;
    em->rows.record = em->record;
    em->rows.num_records = n;
    return 0;
}

// Frees what the last fit had of its own.
static void fit_free(Em *em) {
    Run *run = &em->fit;
    if (opt.lora_r && run->objective) {
        model_end_training(&run->model);
        em->base.model = run->model;
        run->model = (Model){.num_params = 0};
    }
    run->data = NULL;
    run->num_train = 0;
    run->tokenizer = (Tokenizer){0};
    run->beside = (SmallFiles){0};
    run_free(run);
}

// The model of --model as it was loaded: over the one base fresh adapters.
static int restart(Em *em) {
    Model *m = &em->fit.model;
    if (!opt.lora_r) return run_load_model(&em->fit, opt.model.item[0]);
    if (em->head) kernels_write(m->params.head, em->head, (size_t)m->config.channels);
    return model_random_lora(m, (uint64_t)opt.seed);
}

// The weights that type k starts from: those of --model, or with --mstep warm its last ones.
static int load_start(Em *em, int k) {
    const People *p = &em->file.people;
    char dir[PATH_SIZE], iteration[PATH_SIZE];
    if (opt.mstep == MSTEP_RESTART || p->iteration == 0) return restart(em);
    if (iteration_path(iteration, p->start, p->iteration) < 0) return -1;
    if (type_path(dir, iteration, k) < 0) return -1;
    if (opt.lora_r) return checkpoint_load_adapter(&em->fit.model, dir);
    return checkpoint_load(&em->fit.model, dir,
                           em->objective.reward ? LOAD_REWARD_MODEL : LOAD_LANGUAGE_MODEL);
}

// Trains type k on the rows, each with the weight of its annotator (N).
static int em_fit(void *self, int k, const double *weight) {
    Em *em = self;
    const People *p = &em->file.people;
    char dir[PATH_SIZE];
    Run *run = &em->fit;
    fit_free(em);
    if (choose_rows(em, k, weight) < 0) return -1;
    if (iteration_path(dir, p->start, p->iteration + 1) < 0) return -1;
    if (type_path(em->out, dir, k) < 0 || folder_make(em->out) < 0) return -1;
    snprintf(em->part, sizeof em->part, "iteration %d, type %d: ", p->iteration + 1, k + 1);

    *run = (Run){.objective = &em->objective, .tokenizer = em->base.tokenizer,
                 .beside = em->base.beside, .data = &em->rows, .num_train = 1, .unit = 1,
                 .out = em->out, .part = em->part, .has_reference = 1};
    if (opt.lora_r) {
        run->model = em->base.model;
        em->base.model = (Model){.num_params = 0};
    }
    if (buffer_printf(&run->recipe, "train=em\n") < 0) return -1;
    if (options_text(&run->recipe, &em->command, 0) < 0) return -1;
    if (load_start(em, k) < 0 || run_open(run) < 0 || plan_make(run) < 0) return -1;
    if (!em->said && train_show_size(run, (int)run->num_steps) < 0) return -1;
    em->said = 1;
    const int status = train(run);
    memcpy(em->file.sha256[k], run->sha256, sizeof run->sha256);
    if (!stop_asked()) return status;
    return fail(EX_TEMPFAIL, "stopped in iteration %d; the same command goes on with it",
                p->iteration + 1);
}

// loglik (N): of the choice of each row under type k, which was fitted last.
static int em_score(void *self, int k, double *loglik) {
    Em *em = self;
    const Dataset *d = em->base.data;
    const size_t n = d->num_answers;
    double *value = allocate(n, sizeof *value), *ref = allocate(n, sizeof *ref);
    double *reward = allocate(n, sizeof *reward);
    int result = -1;
    (void)k;
    if (!value || !ref || !reward) goto done;
    if (evaluate_texts(&em->fit.model, em->base.tokenizer.eos, d, value) < 0) goto done;
    for (size_t a = 0; a < n; a++) ref[a] = d->answer[a].ref_logp;
    if (em->objective.reward) memcpy(reward, value, n * sizeof *reward);
    else implicit_rewards(reward, d, value, ref, opt.loss.beta);
    for (size_t i = 0; i < d->num_records; i++) {
        Ranked x;
        measure_record(&x, d, &d->record[i], reward);
        loglik[i] = x.loglik;
    }
    result = 0;
done:
    free(value);
    free(ref);
    free(reward);
    return result;
}

// ----------------------------------------------------------------------------- after an iteration

// Rows that the likelihood of the last iteration is of: all, or the half that was not trained on.
static size_t rows_scored(const People *p) {
    const int half = p->iteration % 2;              // the other way round in the iteration before
    size_t n = 0;
    if (opt.estep == ESTEP_FULL) return p->N;
    for (size_t i = 0; i < p->N; i++) n += p->half[i] == half;
    return n;
}

// How many have another likeliest type than before the iteration.
static int count_moved(const People *p) {
    People old = *p;
    int moved = 0;
    old.gamma = p->before;
    for (size_t h = 0; h < (size_t)p->H; h++) moved += people_type(p, h) != people_type(&old, h);
    return moved;
}

// people.json as it is now; models that it does not name are removed.  0, or -1 after fail().
static int em_write(const Em *em) {
    if (people_file_write(&em->file, em->path) < 0) return -1;
    return remove_others(em);
}

// The hook of people_em: people.json, a line for people.
static int em_iteration(void *context, const People *p) {
    Em *em = context;
    PeopleFile *f = &em->file;
    PeopleStep s = {.start = p->start, .iteration = p->iteration, .loglik = p->loglik,
                    .entropy = people_entropy(p), .rows = rows_scored(p)};
    memcpy(s.eta, p->eta, (size_t)p->K * sizeof *s.eta);
    if (people_file_step(f, s, p->gamma) < 0) return -1;
    if (!em->is_heads && em_write(em) < 0) return -1;
    if (em->is_heads && !p->settled) return 0;      // iterations of a moment

    if (opt.starts > 1) fprintf(stderr, "start %d, ", p->start + 1);
    fprintf(stderr, "iteration %d of %d: log-likelihood %.4f a row%s, shares", p->iteration,
            opt.em_steps, p->loglik / (double)s.rows,
            opt.estep == ESTEP_SPLIT_HALF ? " not trained on" : "");
    for (int k = 0; k < p->K; k++) fprintf(stderr, " %.3f", p->eta[k]);
    fprintf(stderr, ", entropy %.3f, %d of %d annotators moved, %.1f s\n", s.entropy,
            count_moved(p), p->H, now() - em->began);
    em->began = now();
    if (!stop_asked()) return 0;
    return fail(EX_TEMPFAIL, "stopped after iteration %d; the same command goes on from there",
                p->iteration);
}

// The hook of people_em: the models fitted last are the best so far.  Halves were fitted once more.
static int em_keep(void *self) {
    Em *em = self;
    const People *p = &em->file.people;
    em->file.best_start = p->start;
    em->file.best_iteration = p->iteration + (opt.estep == ESTEP_SPLIT_HALF);
    return remove_others(em);
}

// ---------------------------------------------------------------------- heads of one frozen model

// What the heads read of each answer.  0, or -1 after fail().
static int heads_load(Em *em) {
    Run *run = &em->base;
    const Dataset *d = run->data;
    const int C = run->model.config.channels;
    const double began = now();
    em->feature = allocate(d->num_answers * (size_t)C, sizeof *em->feature);
    if (!em->feature) return -1;
    if (evaluate_pooled(&run->model, run->tokenizer.eos, d, em->feature) < 0) return -1;
    fprintf(stderr, "%d features of %zu answers, %.1f s\n", C, d->num_answers, now() - began);
    return heads_init(&em->heads, opt.types, C, d, em->feature, opt.ridge, opt.loss.top);
}

// OUT/type-1 ..: the model of --model with the heads of the best start.  0, or -1 after fail().
static int heads_save(Em *em) {
    Run *run = &em->base;
    const int C = run->model.config.channels;
    char dir[PATH_SIZE], sha256[65];
    real *head = allocate((size_t)C, sizeof *head);
    int result = -1;
    if (!head) return -1;
    for (int k = 0; k < opt.types; k++) {
        const double *w = heads_best(&em->heads, k);
        for (int c = 0; c < C; c++) head[c] = (real)w[c];
        kernels_write(run->model.params.head, head, (size_t)C);
        if (type_path(dir, opt.out, k) < 0 || folder_make(dir) < 0) goto done;
        if (checkpoint_save(&run->model, dir, &run->beside, dtype_names[opt.dtype], sha256) < 0) {
            goto done;
        }
    }
    result = 0;
done:
    free(head);
    return result;
}

// --------------------------------------------------------------------------------- the whole run

/* The SHA-256 of all that decides the numbers: options, weights, texts, the file's bytes, which
 * hold annotators and weights of rows, and clusters to start from.  0, or -1 after fail().       */
static int em_key(Em *em) {
    const Dataset *d = em->base.data;
    Buffer settings = {0};
    Sha256 s;
    int result = -1;
    if (options_text(&settings, &em->command, 0) < 0) goto done;
    if (reference_key(&em->base, &em->base.model, em->file.key) < 0) goto done;
    sha256_start(&s);
    sha256_add(&s, settings.data, settings.len);
    sha256_add(&s, em->file.key, sizeof em->file.key);
    sha256_add(&s, d->contents.data, d->contents.len);
    sha256_add(&s, em->cluster, (size_t)em->file.people.H * sizeof *em->cluster);
    sha256_finish(&s, em->file.key);
    result = 0;
done:
    buffer_free(&settings);
    return result;
}

// What decides the bits, and what was asked for, to the base run's.  Is it what opt.expected says?
// EXPECT_.., -1 also after fail().
static int em_recipe(Em *em) {
    Run *run = &em->base;
    Checksum c;
    char sum[CHECKSUM_TEXT];
    if (buffer_printf(&run->recipe, "train=em\n") < 0) return -1;
    if (options_text(&run->recipe, &em->command, 0) < 0) return -1;
    if (options_words(&run->command, &em_command) < 0) return -1;
    if (resume_recipe(run) < 0) return -1;
    checksum_start(&c);
    for (int h = 0; h < em->file.people.H; h++) checksum_number(&c, (uint64_t)em->cluster[h]);
    checksum_text(sum, checksum_finish(&c));
    if (buffer_printf(&run->recipe, "the checksum of the clusters to start from=%s\n", sum) < 0) {
        return -1;
    }
    return receipt_expect(&run->recipe);
}

/* Goes on where people.json says: 1, or 0: there is none; -1 after fail(): it is of another run. */
static int em_resume(Em *em) {
    PeopleFile *f = &em->file, old;
    People *p = &f->people;
    struct stat st;
    int result = -1;
    if (stat(em->path, &st) < 0) return 0;
    if (people_file_read(&old, em->path) < 0) goto done;
    if (strcmp(old.key, f->key)) {
        fail(EX_USAGE, "%s: of other options, weights or rows; give another --out, or remove it to "
             "begin anew", em->path);
        goto done;
    }
    const size_t bytes = people_numbers(p) * sizeof *p->eta;
    memcpy(p->eta, old.people.eta, bytes);
    memcpy(p->best, old.people.best, bytes);
    p->start = old.people.start;
    p->iteration = old.people.iteration;
    p->settled = old.people.settled;
    p->loglik = old.people.loglik;
    p->best_loglik = old.people.best_loglik;
    f->best_start = old.best_start;
    f->best_iteration = old.best_iteration;
    f->finished = old.finished;
    f->bic = old.bic;
    memcpy(f->sha256, old.sha256, sizeof f->sha256);
    f->step = old.step;
    f->num_steps = old.num_steps;
    f->step_capacity = old.step_capacity;
    old.step = NULL;
    old.num_steps = 0;
    if (!f->finished) fprintf(stderr, "%s: goes on after iteration %d\n", em->path, p->iteration);
    result = 1;
done:
    people_file_free(&old);
    return result;
}

// Clusters to start from, of the file that --start names.  0, or -1 after fail().
static int read_clusters(Em *em) {
    const People *p = &em->file.people;
    int clusters;
    if (people_groups_read(em->cluster, &clusters, opt.start, em->file.name, p->H) < 0) return -1;
    if (clusters <= p->K) return 0;
    return fail(EX_USAGE, "--start %s: %d clusters for %d types; --types %d", opt.start, clusters,
                p->K, clusters);
}

// Clusters of people who agree: whose answers to the same question are the same.  0, or -1 after
// fail().
static int find_clusters(Em *em) {
    const Dataset *d = em->base.data;
    const People *p = &em->file.people;
    uint64_t *question = allocate(p->N, sizeof *question), *answer = allocate(p->N, sizeof *answer);
    int result = -1;
    if (!question || !answer) goto done;
    for (size_t n = 0; n < p->N; n++) {
        const Record *r = &d->record[n];
        question[n] = dataset_hash_tokens(0, d, r->prompt);
        for (int k = 0; k < r->count; k++) {            // a sum: in whichever order they stand
            question[n] += dataset_hash_tokens(1, d, d->answer[r->first + k].tokens);
        }
        answer[n] = dataset_hash_tokens(0, d, d->answer[r->first].tokens);
    }
    result = agreement_cluster(em->cluster, p->H, p->K, p->N, p->annotator, question, answer,
                               (uint64_t)opt.seed);
done:
    free(question);
    free(answer);
    return result;
}

// What the command line says of the loop.  0, or -1 after fail().
static int settle_loop(Em *em) {
    const PeopleFile *f = &em->file;
    PeopleOptions *o = &em->options;
    *o = (PeopleOptions){
        .em_steps = opt.em_steps, .hard = opt.gamma == GAMMA_HARD,
        .split_half = opt.estep == ESTEP_SPLIT_HALF, .loglik_change = 1e-6, .gamma_change = 1e-3,
        .starts = opt.starts, .dirichlet = 1, .seed = (uint64_t)opt.seed, .name = f->name,
        .cluster = em->cluster, .iteration = em_iteration, .context = em};
    if (!strcmp(opt.start, "balanced")) return 0;
    if (!strcmp(opt.start, "dirichlet")) {
        o->start = START_DIRICHLET;
        return 0;
    }
    o->start = START_CLUSTERS;
    return !strcmp(opt.start, "spectral") ? find_clusters(em) : read_clusters(em);
}

// What all types share, and who gave which row.  0, or -1 after fail().
static int em_load(Em *em) {
    Run *run = &em->base;
    const char *dir = opt.model.item[0];
    run->objective = &em->objective;
    run->out = opt.out;
    run->unit = 1;
    if (run_load_tokenizer(run, dir) < 0 || run_load_model(run, dir) < 0) return -1;
    if (run_load_data(run) < 0 || dataset_keep_fold(run->data, 0) < 0) return -1;
    if (read_annotators(em) < 0 || diagnose_run(run, dir) < 0) return -1;

    const PeopleFile *f = &em->file;
    const size_t N = run->data->num_records;
    em->record = allocate(N, sizeof *em->record);
    em->cluster = allocate((size_t)f->people.H, sizeof *em->cluster);
    if (!em->record || !em->cluster) return -1;
    em->file.by = opt.by;
    em->file.objective = em->is_heads ? "heads" : em->objective.name;
    em->file.beta = em->objective.reward ? 0 : opt.loss.beta;
    em->parameters = (double)model_num_trained(&run->model.config, training_purpose());
    fprintf(stderr, "%d annotators of %zu rows, %d type%s\n", f->people.H, N, f->people.K,
            f->people.K == 1 ? "" : "s");
    return settle_loop(em);
}

// After the base run's model has said what it is to say: it is let go, but where it is the base of
// all types.  0, or -1 after fail().
static int keep_base(Em *em) {
    Model *m = &em->base.model;
    const size_t C = (size_t)m->config.channels;
    if (!opt.lora_r) {
        model_free(m);
        return 0;
    }
    model_end_training(m);
    if (!m->config.reward) return 0;
    em->head = allocate(C, sizeof *em->head);
    if (!em->head) return -1;
    kernels_read(em->head, m->params.head, C);
    return 0;
}

// The log-probabilities of the model that all types start from.  0, or -1 after fail().
static int em_reference(Em *em) {
    char in_out[PATH_SIZE];
    const char *path = opt.reference_cache;
    int from_file;
    if (em->objective.reference) {
        if (!path && path_join(in_out, opt.out, "reference.bin") < 0) return -1;
        if (!path) path = in_out;
        if (reference_logps(&em->base, &em->base.model, opt.model.item[0], path, &from_file) < 0) {
            return -1;
        }
    }
    return keep_base(em);
}

// OUT/type-1 .. become those of the best start.  0, or -1 after fail().
static int em_place_models(const Em *em) {
    const PeopleFile *f = &em->file;
    char best[PATH_SIZE], from[PATH_SIZE], to[PATH_SIZE];
    struct stat st;
    if (iteration_path(best, f->best_start, f->best_iteration) < 0) return -1;
    for (int k = 0; k < f->people.K; k++) {
        if (type_path(from, best, k) < 0 || type_path(to, opt.out, k) < 0) return -1;
        if (stat(from, &st) < 0) continue;          // moved before a run was interrupted
        if (folder_remove(to) < 0) return -1;
        if (rename(from, to) < 0) return fail(EX_CANTCREAT, "%s: %s", to, strerror(errno));
        if (state_remove(to, 0, INT64_MAX) < 0) return -1;
    }
    return folder_sync(to);
}

// Of the models of all types.
static double em_parameters(Em *em) {
    People *p = &em->file.people;
    double sum = 0;
    if (!em->is_heads) return p->K * em->parameters;
    for (int k = 0; k < p->K; k++) {
        for (size_t n = 0; n < p->N; n++) {
            p->row[n] = p->gamma[(size_t)p->annotator[n] * (size_t)p->K + (size_t)k];
        }
        sum += heads_parameters(&em->heads, heads_best(&em->heads, k), p->row);
    }
    return sum;
}

// The name of the file with a type's weights.
static const char *type_weights(void) {
    const Config c = {.lora_r = opt.lora_r};
    return checkpoint_weights(&c);
}

// The receipt of the whole, whose models are in their places.  0, or -1 after fail().
static int em_receipt(const Em *em) {
    const PeopleFile *f = &em->file;
    char name[MAX_TYPES][64];
    Receipt r = {.dir = opt.out, .recipe = &em->base.recipe, .command = &em->base.command,
                 .num_weights = f->people.K};
    for (int k = 0; k < f->people.K; k++) {
        snprintf(name[k], sizeof name[k], "type-%d/%s", k + 1, type_weights());
        r.file[k] = name[k];
        r.sha256[k] = f->sha256[k];
    }
    return receipt_write(&r);
}

// The end: models and people.json as they stay.  0, or -1 after fail().
static int em_finish(Em *em) {
    PeopleFile *f = &em->file;
    People *p = &f->people;
    char dir[PATH_SIZE], path[PATH_SIZE];
    stop_hold();
    if ((em->is_heads ? heads_save(em) : em_place_models(em)) < 0) return -1;
    for (int k = 0; k < p->K; k++) {
        if (type_path(dir, opt.out, k) < 0) return -1;
        if (path_join(path, dir, type_weights()) < 0) return -1;
        if (sha256_file(f->sha256[k], path) < 0) return -1;
    }
    if (em_receipt(em) < 0) return -1;
    f->finished = 1;
    f->bic = people_bic(p->loglik, em_parameters(em) + p->K - 1, p->N);
    return em_write(em);
}

static void em_say(const Em *em) {
    const PeopleFile *f = &em->file;
    const People *p = &f->people;
    const int empty = people_empty_type(p);
    for (int k = 0; k < p->K; k++) {
        int people = 0;
        for (int h = 0; h < p->H; h++) people += people_type(p, (size_t)h) == k;
        fprintf(stderr, "type %d: %d of %d annotators, share %.3f\n", k + 1, people, p->H,
                p->eta[k]);
    }
    if (empty >= 0) {
        fprintf(stderr, "type %d is empty: the others explain everybody better; fewer --types, or "
                "another --start, --seed or more --starts\n", empty + 1);
    }
    fprintf(stderr, "%s: log-likelihood %.4f a row, posterior entropy %.4f, BIC %.0f\n", em->path,
            p->loglik / (double)p->N, people_entropy(p), f->bic);
    for (int k = 0; k < p->K; k++) printf("weights sha256 %s\n", f->sha256[k]);
}

// 0, or EXPECT_ENOUGH if more verify asked for no more; or -1 after fail().
static int em_run(Em *em) {
    TypeModels models = {.self = em, .fit = em_fit, .score = em_score, .keep = em_keep};
    if (em_load(em) < 0 || em_key(em) < 0) return -1;
    const int expect = em_recipe(em);
    if (expect != EXPECT_GO_ON) return expect;
    if (em_resume(em) < 0) return -1;
    if (em->file.finished) {
        fprintf(stderr, "%s: finished already\n", em->path);
        return 0;
    }
    if (receipt_forget(opt.out) < 0) return -1;
    em->began = now();
    if ((em->is_heads ? heads_load(em) : em_reference(em)) < 0) return -1;
    if (em->is_heads) models = heads_models(&em->heads);
    if (remove_others(em) < 0) return -1;
    em->began = now();
    if (people_em(&em->file.people, &models, &em->options) < 0) return -1;
    return em_finish(em);
}

static void em_free(Em *em) {
    fit_free(em);
    heads_free(&em->heads);
    free(em->feature);
    free(em->head);
    run_free(&em->base);
    people_file_free(&em->file);
    buffer_free(&em->values);
    free(em->record);
    free(em->annotator);
    free(em->cluster);
}

// Sets the objective of the models that --objective names, and its defaults.  0, or -1 after
// fail().
static int settle_objective(Em *em) {
    const char *name = opt.objective ? opt.objective : "dpo";
    em->is_heads = !strcmp(name, "heads");
    const Objective *o = objective_find(em->is_heads ? "reward" : name);
    if (!o || !o->rankings || o->bundles) {
        return fail(EX_USAGE, "--objective %s: the loss of a type is the likelihood of its "
                    "people's choices: dpo, reward or heads is needed", name);
    }
    em->objective = *o;
    em->objective.people = 1;
    em->command = em->is_heads ? heads_command : em_command;
    const Command train_one = command_of_objective(o);
    if (em->is_heads) return options_adopt(&heads_command, "");
    return options_adopt(&train_one, EM_LOOP "em_steps mstep");
}

/* Trains a model for each type of people, in --out, which no other run can write to meanwhile.  0,
 * or -1 after fail().                                                                            */
int command_em(void) {
    Em em = {.base.out = opt.out};
    Folder out = {.lock = -1};
    if (settle_objective(&em) < 0 || train_check_settings(&em.objective) < 0) return -1;
    if (!opt.by) opt.by = "annotator";
    if (opt.train.n > 1) {
        return fail(EX_USAGE, "--train: one file is enough, not %d: put their rows into one",
                    opt.train.n);
    }
    options_print_header(&em.command);
    if (path_join(em.path, opt.out, "people.json") < 0) return -1;
    stop_catch(&out);
    int status = folder_enter(&out, opt.out);
    if (status == 0) status = em_run(&em);
    if (status == 0) em_say(&em);
    if (status < 0 && error_code == EX_TEMPFAIL && stop_asked()) options_print_again();
    stop_hold();                                    // the folder is left here, not by a signal
    em_free(&em);
    folder_leave(&out);
    return status;
}
#endif

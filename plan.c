/* plan.c - a run and its plan: which items it is trained on, in which order, cut into steps, and
 * these into micro-batches.
 *
 *     plan          item[0..num_items) in order; step s is item[step_end[s-1] .. step_end[s]);
 *                   what the last epoch leaves is a smaller step, with its own mean
 *     micro-batch   as many whole units of a step as its token rows and texts have room for
 *
 * The order is a function of data and seed alone, and --micro_batch_tokens only cuts it:
 * gradients do not depend on where.  Records and packs are drawn in dataset.c and batch.c.  */
#ifndef PLAN_C
#define PLAN_C
#include "settings.h"
#include "loss.c"
#include "batch.c"
#include "files/beside.c"
#include "files/state.c"
#include "files/surroundings.c"

enum { MAX_PAIRS = 4096, MAX_TEXTS = 2 * MAX_PAIRS };       // of a micro-batch
_Static_assert((int)MAX_ANSWERS <= (int)MAX_CHOICES, "a row's answers are too many for a loss");

typedef struct Run Run;

// How the objectives of one kind are trained. A hook returns 0, or -1 after fail(); NULL:
// nothing.
typedef struct {
    int  (*open)(Run *run);                         // allocates the trainer's own part of a run
    void (*close)(Run *run);                        // and frees it
    int  (*plan)(Run *run);                         // the loaded data to run->item and step_end
    int  (*rows)(const Run *run, int steps);        // the most token rows of a micro-batch; NULL:
                                                    //   largest_micro_batch
    int  (*beside)(const Run *run, int T, double *needed, double *held);
                                                    // bytes of other models than run->model, with
                                                    //   so many rows, and what is there of them
    int  (*start)(Run *run);                        // before the first step
    int  (*step)(Run *run, size_t at, size_t end, double *loss);
    int  (*evaluate)(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]);
    void (*log)(const Run *run, FILE *f);           // the step's numbers: members of a JSON object
    void (*show)(const Run *run, FILE *f);          // the same for people
    int  (*enough)(Run *run);                       // after a step: 1 ends the run, and says why
    void (*finish)(const Run *run);                 // the last words
    int  (*state)(Run *run, State *s);              // what it keeps from step to step (resume.c)
    int  (*goes_on)(const Run *run);                // after a step: 1 asks for the next one before
                                                    //   a state is saved
    const char *options;                            // that they all read (commands/options.c)
} Trainer;

// What can be trained: the rows of the table in objectives.c.
typedef struct {
    const char *name, *help;
    const char *options;                            // beyond the trainer's; "beta=2": its default
    const Trainer *trainer;
    enum {                                          // what --train holds
        DOCUMENTS, DEMONSTRATIONS, POINTS, PAIRS, PROMPTS, NUM_NEEDS
    } data;
    int reward;                                     // yes: the model has a reward head
    int bundles;                                    // yes: steps of one pair of each set (MORE)
    int rankings;                                   // yes: PAIRS may be rankings too
    PolicyLoss *loss;                               // of a policy; of PROMPTS by token
    int deviations;                                 // of PROMPTS, yes: GRPO's advantages, and KL is
                                                    //   a term of the loss, not of the reward
    int reference;                                  // yes: needs log pi_ref (reference.c)
    int takes_scores;                               // yes: labels may be scores to be reached
    int imitates;                                   // yes: good answers themselves are made likely
    int linear;                                     // yes: dL/dlogp does not depend on logp
    int mismatched;                                 // yes: needs KTO's answers to other prompts
    int people;                                     // yes: rows of several people, who may differ
} Objective;

// An item of the plan: a record of a data set; of a document the window from token row `first`
// on.
typedef struct {
    int set, record, first;
} Item;

struct Run {
    const Objective *objective;
    Model model;
    Tokenizer tokenizer;
    SmallFiles beside;                              // its tokenizer.json and what else is kept
    const char *out;                                // the folder to write: --out, or a part's own
    const char *part;                               // of several trainings in one, for its progress
                                                    //   line: it says no more; NULL: of none
    int has_reference;                              // Answer.ref_logp are there already
    char sha256[65];                                // of the weights that were saved last
    Buffer recipe, manner;                          // all that decides the numbers, and how they
                                                    //   are computed (resume.c)
    Buffer command;                                 // what was asked for (receipt.c)
    Log diary;                                      // of --diary, and the hash of its last line
    char hash[65];
    Log log_file;
    FILE *log;                                      // its stream of JSON lines, or NULL

    // data: num_train files, num_then of --then, --demo or --bapo_base, num_eval; then what is made
    // of the first: KTO's mismatched sets, or SPO's copies
    Dataset *data;
    int num_train, num_then, num_eval, num_mismatched;

    // the plan
    Item *item;
    size_t num_items, item_capacity;
    size_t *step_end;
    size_t num_steps, step_capacity;
    size_t full, held;                              // what a step holds, and the running one:
                                                    //     items, of documents token rows
    size_t epoch_items, left_out;                   // of one epoch; those of them in no step
    int unit;                                       // items no micro-batch cuts apart: 1, a bundle
    int repeat;                                     // each step is planned so often, 0: once
    size_t drawn_rows;                              // token rows of the running step, if it draws
                                                    //   its texts itself

    // the running micro-batch
    int limit;                                      // token rows it may have
    Pack pack;
    float *value;                                   // rewards of texts (B), or logp of rows (T)
    float *dvalue;                                  // dL/dvalue
    size_t value_capacity, dvalue_capacity;

    struct RewardRun *reward;                       // reward.c's own part
    struct PolicyRun *policy;                       // policy.c's own part
    struct RolloutRun *rollout;                     // rollout.c's own part
    struct Groups *groups;                          // of --group_robust: groups.c's own part
    struct Copies *copies;                          // of --spo_gamma: copies.c's own part
};

// a run
int    run_open(Run *run);
void   run_free(Run *run);

// the plan
int    plan_make(Run *run);
int    plan_report(const Run *run, Buffer *out);
int    plan_item(Run *run, Item item);
int    plan_step_ends(Run *run);
int    plan_next(Run *run, Item item);
size_t plan_share(const Run *run, size_t n, int e, int is_last_phase);
int    plan_epochs(Run *run, size_t begin, uint64_t order_key, int is_last_phase);
int    plan_documents(Run *run);

// a step's micro-batches
int    drawn_set(const Run *run);
const Record *item_record(const Run *run, const Item *i);
int    is_ranking(const Run *run, const Item *i);
size_t step_rows(const Run *run, size_t at, size_t end);
size_t micro_batch_end(const Run *run, size_t at, size_t end, int limit);
size_t count_micro_batches(const Run *run, size_t at, size_t end, int limit);
int    micro_batch_limit(const Run *run, size_t at, size_t end);
size_t next_micro_batch(Run *run, size_t at, size_t end);
int    largest_micro_batch(const Run *run, int steps);

// ------------------------------------------------------------------------------------------- a run

// The trainer's own part of a run, of the objective that it has.  0, or -1 after fail().
int run_open(Run *run) {
    const Trainer *trainer = run->objective->trainer;
    return trainer->open ? trainer->open(run) : 0;
}

// Frees all that a run holds, but for the log file.
void run_free(Run *run) {
    const int files = run->num_train + run->num_then + run->num_eval;
    if (run->objective && run->objective->trainer->close) run->objective->trainer->close(run);
    for (int i = 0; run->data && i < files; i++) dataset_free(&run->data[i]);
    free(run->data);
    free(run->item);
    free(run->step_end);
    free(run->value);
    free(run->dvalue);
    pack_free(&run->pack);
    model_free(&run->model);
    tokenizer_free(&run->tokenizer);
    beside_free(&run->beside);
    buffer_free(&run->recipe);
    buffer_free(&run->manner);
    buffer_free(&run->command);
    *run = (Run){0};
}

// ------------------------------------------------------------------------------------- the plan

// Adds an item.  0, or -1 after fail().
int plan_item(Run *run, Item item) {
    if (reserve(&run->item, &run->item_capacity, run->num_items + 1, sizeof item) < 0) return -1;
    run->item[run->num_items++] = item;
    return 0;
}

// Are all the steps planned that --max_steps asks for?
static int plan_is_full(const Run *run) {
    return opt.max_steps > 0 && run->num_steps == (size_t)opt.max_steps;
}

// The running step ends after the last item; if steps are repeated, it follows again.  0, or -1
// after fail().
int plan_step_ends(Run *run) {
    const size_t begin = run->num_steps ? run->step_end[run->num_steps - 1] : 0;
    const size_t end = run->num_items;
    for (int k = 0; k == 0 || (k < run->repeat && !plan_is_full(run)); k++) {
        const size_t n = run->num_steps + 1;
        for (size_t i = begin; k > 0 && i < end; i++) {
            if (plan_item(run, run->item[i]) < 0) return -1;
        }
        if (reserve(&run->step_end, &run->step_capacity, n, sizeof *run->step_end) < 0) return -1;
        run->step_end[run->num_steps++] = run->num_items;
    }
    return 0;
}

const Record *item_record(const Run *run, const Item *i) {
    return &run->data[i->set].record[i->record];
}

// The set of texts that a step draws itself: behind the files.
int drawn_set(const Run *run) { return run->num_train + run->num_then + run->num_eval; }

// The most token rows that a prompt can take with the --n completions that are to be drawn.
static int rows_to_draw(const Run *run, const Dataset *d, const Record *r) {
    int prompt = dataset_prompt(d, r).len;
    if (opt.max_prompt_length && prompt > opt.max_prompt_length) prompt = opt.max_prompt_length;
    if (prompt == 0) prompt = 1;                    // what begins a text
    int room = run->model.config.max_positions - prompt;
    if (room > opt.max_new_tokens) room = opt.max_new_tokens;
    return prompt - 1 + opt.n * (1 + room);
}

// Token rows of an item: of its prompt and answers, or of its window of a document.
static int item_rows(const Run *run, const Item *i) {
    const Dataset *d = &run->data[i->set];
    const Record *r = item_record(run, i);
    if (run->objective->data == PROMPTS && i->set != drawn_set(run)) {
        return rows_to_draw(run, d, r);
    }
    if (run->objective->data != DOCUMENTS) return record_rows(d, r, run->model.config.pooling);
    int rows = document_rows(d, r) - i->first;
    return rows < opt.max_length ? rows : opt.max_length;
}

// Adds an item, unless --max_steps are planned. The running step ends when it is full.  0, or -1
// after fail().
int plan_next(Run *run, Item item) {
    if (plan_is_full(run)) return 0;
    if (plan_item(run, item) < 0) return -1;
    run->held += run->objective->data == DOCUMENTS ? (size_t)item_rows(run, &item) : 1;
    if (run->held < run->full) return 0;
    run->held = 0;
    return plan_step_ends(run);
}

/* How many of the n items of epoch e (from 0) are planned: all, and of the last epoch a part if
 * --num_train_epochs is no whole number. --max_steps overrides that: the last phase goes on until
 * they are planned.  */
size_t plan_share(const Run *run, size_t n, int e, int is_last_phase) {
    if (opt.max_steps > 0 && is_last_phase) return plan_is_full(run) ? 0 : n;
    const double part = (opt.epochs - e) * (double)n;
    if (part <= 0) return 0;
    return part < (double)n ? (size_t)ceil(part) : n;
}

/* The plan's items from `begin` on, once an epoch, in the order of the random stream at
 * order_key + epoch.  0, or -1 after fail().  */
int plan_epochs(Run *run, size_t begin, uint64_t order_key, int is_last_phase) {
    const size_t n = run->num_items - begin;
    Item *item = allocate(n, sizeof *item);
    uint32_t *order = allocate(n, sizeof *order);
    size_t share = plan_share(run, n, 0, is_last_phase);
    int result = -1;
    if (!item || !order) goto done;
    if (n) memcpy(item, run->item + begin, n * sizeof *item);
    run->num_items = begin;
    run->epoch_items += n;

    for (int e = 0; share > 0; e++) {
        const uint64_t key = order_key + (uint64_t)e;
        random_permutation(order, (uint32_t)n, (uint64_t)opt.seed, STREAM_ORDER, key);
        for (size_t i = 0; i < share; i++) {
            if (plan_next(run, item[order[i]]) < 0) goto done;
        }
        share = plan_share(run, n, e + 1, is_last_phase);
    }
    const size_t repeat = run->repeat > 1 ? (size_t)run->repeat : 1;
    const size_t planned = run->num_items - begin;
    if (planned < n * repeat) run->left_out += n - (planned + repeat - 1) / repeat;
    result = 0;
done:
    free(item);
    free(order);
    return result;
}

// The windows of data[first..end) for all epochs.  0, or -1 after fail().
static int plan_windows(Run *run, int first, int end) {
    const size_t begin = run->num_items;
    for (int s = first; s < end; s++) {
        const Dataset *d = &run->data[s];
        for (size_t r = 0; r < d->num_records; r++) {
            const int length = document_rows(d, &d->record[r]);
            for (int at = 0; at < length; at += opt.max_length) {
                if (plan_item(run, (Item){s, (int)r, at}) < 0) return -1;
            }
        }
    }
    return plan_epochs(run, begin, (uint64_t)first * 1000, end == run->num_train + run->num_then);
}

// Language modelling: the files of --train, then those of --then, cut into windows of
// --max_length.
int plan_documents(Run *run) {
    const int train_files = run->num_train, files = train_files + run->num_then;
    run->full = (size_t)opt.per_step_tokens;
    if (plan_windows(run, 0, train_files) < 0) return -1;
    return files > train_files ? plan_windows(run, train_files, files) : 0;
}

/* The whole plan: the objective's items in their order, cut into steps; what is left after the
 * last epoch is a smaller step.  0, or -1 after fail().  */
int plan_make(Run *run) {
    if (run->objective->trainer->plan(run) < 0) return -1;
    if (run->held && plan_step_ends(run) < 0) return -1;
    if (run->num_steps > INT_MAX) return fail(EX_USAGE, "more than %d steps", INT_MAX);
    if (run->num_steps) return 0;
    return fail(EX_DATAERR, "%s: nothing to train on", run->data[0].path);
}

// What the training files hold, of an objective of pairs.
static const char *choices_name(const Run *run) {
    int rankings = 0;
    for (int k = 0; k < run->num_train; k++) rankings += run->data[k].kind == DATA_RANKING;
    if (rankings == 0) return "pairs";
    return rankings == run->num_train ? "rankings" : "pairs and rankings";
}

/* One line: the steps, what they hold, the epochs they are, and what is not trained on and why.
 *
 *     plan: 2 steps of 20 pairs, the last of 19; 1 epoch of 39 pairs
 *
 * 0, or -1 after fail().  */
int plan_report(const Run *run, Buffer *out) {
    static const char *const names[] = {
        [DOCUMENTS] = "windows", [DEMONSTRATIONS] = "demonstrations", [POINTS] = "points",
        [PROMPTS] = "prompts"};
    const int documents = run->objective->data == DOCUMENTS;
    const char *items = run->objective->data == PAIRS ? choices_name(run)
                                                      : names[run->objective->data];
    const int repeat = run->repeat > 1 ? run->repeat : 1;
    const double epochs = (double)run->num_items / (double)run->epoch_items / repeat;
    const char *unit = documents ? "token rows" : items;
    const size_t steps = run->num_steps, begin = steps > 1 ? run->step_end[steps - 2] : 0;
    const size_t last = documents ? step_rows(run, begin, run->num_items) : run->num_items - begin;

    if (steps == 1) {
        if (buffer_printf(out, "plan: 1 step of %zu %s", last, unit) < 0) return -1;
    } else {
        const char *least = documents ? "at least " : "";
        if (buffer_printf(out, "plan: %zu steps of %s%zu %s", steps, least, run->full, unit) < 0) {
            return -1;
        }
        if (last < run->full && buffer_printf(out, ", the last of %zu", last) < 0) return -1;
    }
    if (buffer_printf(out, "; %.4g epoch%s of %zu %s", epochs, epochs == 1 ? "" : "s",
                      run->epoch_items, items) < 0) return -1;
    if (run->left_out) {
        const char *why = plan_is_full(run) ? "--max_steps" : "--num_train_epochs";
        if (buffer_printf(out, "; %s leaves out %zu of them", why, run->left_out) < 0) return -1;
    }
    if (opt.folds > 1) {
        const char *text = "; fold %d of %d is held out";
        if (buffer_printf(out, text, opt.fold, opt.folds) < 0) return -1;
    }
    return buffer_printf(out, "\n");
}

// ----------------------------------------------------------------------- a step's micro-batches

// Token rows of the unit that starts at item `at`.
static int unit_rows(const Run *run, size_t at) {
    int rows = 0;
    for (int u = 0; u < run->unit; u++) rows += item_rows(run, &run->item[at + (size_t)u]);
    return rows;
}

// Texts of the unit that starts at item `at`.
static int unit_texts(const Run *run, size_t at) {
    const Item *item = &run->item[at];
    int texts = 0;
    for (int u = 0; u < run->unit; u++) texts += item_record(run, &item[u])->count;
    return texts;
}

int is_ranking(const Run *run, const Item *i) {
    return run->data[i->set].kind == DATA_RANKING;
}

// Token rows of the items [at, end).
size_t step_rows(const Run *run, size_t at, size_t end) {
    size_t rows = 0;
    for (size_t i = at; i < end; i++) rows += (size_t)item_rows(run, &run->item[i]);
    return rows;
}

// The end of the micro-batch that starts at item `at`: the whole units that `limit` token rows
// and the room for pairs and texts hold, at least one.
size_t micro_batch_end(const Run *run, size_t at, size_t end, int limit) {
    const size_t unit = (size_t)run->unit;
    size_t i = at;
    int total_rows = 0, total_texts = 0;
    for (; i < end; i += unit) {
        const int rows = unit_rows(run, i), texts = unit_texts(run, i);
        const int room = rows <= limit - total_rows && texts <= MAX_TEXTS - total_texts;
        if (i > at && (!room || i - at + unit > MAX_PAIRS)) break;
        total_rows += rows;
        total_texts += texts;
    }
    return i;
}

size_t count_micro_batches(const Run *run, size_t at, size_t end, int limit) {
    size_t n = 0;
    while (at < end) {
        at = micro_batch_end(run, at, end, limit);
        n++;
    }
    return n;
}

// Equal shares: the smallest limit under which the step [at, end) takes no more micro-batches
// than under --micro_batch_tokens. Found by halving: `high` is enough, `low` is not.
int micro_batch_limit(const Run *run, size_t at, size_t end) {
    int low = 0, high = opt.micro_batch_tokens;
    const size_t fewest = count_micro_batches(run, at, end, high);
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (count_micro_batches(run, at, end, middle) > fewest) low = middle;
        else high = middle;
    }
    return high;
}

// Packs the micro-batch that starts at item `at`, with room for its values; returns its end, or 0
// after fail().
size_t next_micro_batch(Run *run, size_t at, size_t end) {
    const int documents = run->objective->data == DOCUMENTS, eos = run->tokenizer.eos;
    const Pooling pooling = run->model.config.pooling;
    Pack *pack = &run->pack;

    pack_clear(pack);
    end = micro_batch_end(run, at, end, run->limit);
    for (const Item *i = &run->item[at]; i < &run->item[end]; i++) {
        const Dataset *d = &run->data[i->set];
        const Record *r = item_record(run, i);
        int status = documents ? pack_window(pack, d, r, i->first, opt.max_length, eos)
                               : pack_record(pack, d, r, pooling, eos);
        if (status < 0) return 0;
    }

    const size_t T = (size_t)pack->T;
    if (reserve(&run->value, &run->value_capacity, T, sizeof(float)) < 0) return 0;
    if (reserve(&run->dvalue, &run->dvalue_capacity, T, sizeof(float)) < 0) return 0;
    return end;
}

// The most token rows that a micro-batch of the run can have: in evaluation those of all data, in a
// step the step's, which may take the same row again and again; and no more than
// --micro_batch_tokens, but a unit that is larger is a micro-batch alone.
int largest_micro_batch(const Run *run, int steps) {
    const int files = run->num_train + run->num_then + run->num_eval + run->num_mismatched;
    const size_t unit = (size_t)run->unit;
    size_t most = 0, begin = 0;
    for (const Dataset *d = run->data; d < run->data + files; d++) {
        for (size_t i = 0; i < d->num_records; i++) {
            most += (size_t)record_rows(d, &d->record[i], run->model.config.pooling);
        }
    }
    for (int s = 0; s < steps; s++) {
        most = max_size(most, step_rows(run, begin, run->step_end[s]));
        begin = run->step_end[s];
    }
    int largest = most < (size_t)opt.micro_batch_tokens ? (int)most : opt.micro_batch_tokens;
    for (size_t i = 0; i + unit <= begin; i += unit) {
        int rows = unit_rows(run, i);
        if (rows > largest) largest = rows;
    }
    return largest;
}
#endif

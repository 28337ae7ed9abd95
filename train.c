/* train.c - the training loop: the steps of the plan, the schedule, the log, evaluations on the
 * way, what is saved; and the simplest step, that of a language model.
 *
 *     step     micro-batch after micro-batch:  pack, forward, loss, backward   (adds gradients)
 *              then once:                      norm, clip, AdamW
 *
 * Which items a step has says plan.c; what an objective does in it, a row of objectives.c.  */
#ifndef TRAIN_C
#define TRAIN_C
#include "plan.c"
#include "heldout.c"
#include "memory.c"
#include "receipt.c"
#include "resume.c"
#include "files/checkpoint.c"
#include "files/surroundings.c"
#include <time.h>
#include <unistd.h>

typedef enum { MEMORY_FITS, MEMORY_CLOSE, MEMORY_LACKS } MemoryFit;
enum { MEMORY_TEXT = 320 };                         // room for what memory_fit says

// a run that is planned
int    train(Run *run);
int    train_prepare(Run *run, int steps);
int    train_step(Run *run, int s, Progress *p);
int    train_show_size(const Run *run, int steps);  // says what it takes
Purpose training_purpose(void);
MemoryFit memory_fit(const Config *c, int T, int B, double beside, double held,
                     char text[MEMORY_TEXT]);
int    train_beside(const Run *run, int T, double *needed, double *held);
double now(void);
double train_schedule(int s, int n);
AdamW  train_adamw(double rate, double head_rate, double norm, int step);

// a language model's step; evaluation
int    lm_step(Run *run, size_t at, size_t end, double *loss);
int    lm_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]);
int    report_choices(const Run *run, const Dataset *d, const double *reward, int step,
                      double metric[NUM_METRICS]);

// seconds since some moment
double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ------------------------------------------------------------------------- a language model's step

/* The step of a language model: L = -1/N sum_t log p(x_t | x_<t), N the scored token rows of the
 * whole step.  Backward computes log p itself, because dL/dlogp = -1/N does not need it.  */
int lm_step(Run *run, size_t at, size_t end, double *loss) {
    const double N = (double)step_rows(run, at, end);
    double sum = 0;                                 // of log p, row by row: however they are cut
    while (at < end) {
        at = next_micro_batch(run, at, end);
        if (!at) return -1;
        Batch b = pack_batch(&run->pack);
        lm_coefficients(run->dvalue, b.target, b.T, N);
        model_forward(&run->model, &b);
        if (model_backward(&run->model, &b, NULL, run->dvalue, run->value) < 0) return -1;
        for (int t = 0; t < b.T; t++) sum += run->value[t];
    }
    *loss = -sum / N;
    return 0;
}

// ----------------------------------------------------------------------------------- evaluation

// Bits per byte of the documents of d, printed and logged, to metric too.  0, or -1 after fail().
int lm_evaluate(Run *run, const Dataset *d, int step, double metric[NUM_METRICS]) {
    double bits_per_byte;
    if (evaluate_lm(&run->model, &run->tokenizer, d, &bits_per_byte) < 0) return -1;
    metric[METRIC_LOSS] = bits_per_byte;
    fprintf(stderr, "%s: %.4f bits per byte\n", d->name, bits_per_byte);
    if (run->log) {
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d,\"eval_%s_bits_per_byte\":%.9g}\n", step,
                d->name, bits_per_byte);
    }
    return 0;
}

// Held-out numbers of pairs, printed and logged, to metric too, from the rewards of d's answers
// (num_answers).  0, or -1 after fail().
static int report_pairs(const Run *run, const Dataset *d, const double *reward, int step,
                 double metric[NUM_METRICS]) {
    const size_t n = d->num_records;
    const uint64_t seed = 1;                        // of intervals, which are not reported here
    double *delta = allocate(n, sizeof *delta);     // r(chosen) - r(rejected)
    Metrics x;
    if (!delta) return -1;
    for (size_t i = 0; i < n; i++) {
        const int chosen = d->record[i].first;
        delta[i] = reward[chosen] - reward[chosen + 1];
    }
    int status = metrics_compute(&x, delta, NULL, NULL, NULL, (int)n, seed);
    free(delta);
    if (status < 0) return -1;
    metric[METRIC_LOSS] = x.nll;
    metric[METRIC_ACCURACY] = x.accuracy;

    fprintf(stderr, "%s: accuracy %.4f  margin %.4f  loss %.4f  ece %.4f\n", d->name, x.accuracy,
            x.margin, x.nll, x.symmetric[1].ece);
    if (run->log) {
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d,\"eval_%s_loss\":%.9g,"
                "\"eval_%s_accuracy\":%.9g,\"eval_%s_tie_rate\":%.9g,\"eval_%s_margin\":%.9g,"
                "\"eval_%s_brier\":%.9g,\"eval_%s_ece_10\":%.9g}\n", step, d->name, x.nll, d->name,
                x.accuracy, d->name, x.tie_rate, d->name, x.margin, d->name, x.brier, d->name,
                x.symmetric[1].ece);
    }
    return 0;
}

// The same of rankings; the accuracy is that of each two answers of which one is better.
static int report_rankings(const Run *run, const Dataset *d, const double *reward, int step,
                           double metric[NUM_METRICS]) {
    const size_t n = d->num_records;
    const uint64_t seed = 1;                        // of intervals, which are not reported here
    Ranked *ranked = allocate(n, sizeof *ranked);
    RankedMetrics x;
    if (!ranked) return -1;
    for (size_t i = 0; i < n; i++) measure_record(&ranked[i], d, &d->record[i], reward);
    int status = rankings_measure(&x, ranked, NULL, (int)n, seed);
    free(ranked);
    if (status < 0) return -1;
    metric[METRIC_LOSS] = -x.loglik.value;
    metric[METRIC_ACCURACY] = x.pairwise.value;

    fprintf(stderr, "%s: accuracy %.4f  best answer %.4f  tau %.4f  loss %.4f\n", d->name,
            x.pairwise.value, x.best.value, x.tau.value, -x.loglik.value);
    if (run->log) {
        fprintf(run->log, "{\"event\":\"eval\",\"step\":%d,\"eval_%s_loss\":%.9g,"
                "\"eval_%s_best\":%.9g,\"eval_%s_accuracy\":%.9g,\"eval_%s_tau\":%.9g}\n", step,
                d->name, -x.loglik.value, d->name, x.best.value, d->name, x.pairwise.value,
                d->name, x.tau.value);
    }
    return 0;
}

// Of whichever of the two d holds.
int report_choices(const Run *run, const Dataset *d, const double *reward, int step,
                   double metric[NUM_METRICS]) {
    return d->kind == DATA_RANKING ? report_rankings(run, d, reward, step, metric)
                                   : report_pairs(run, d, reward, step, metric);
}

// Is nothing of the step left for the next one, so that the run can go on from here?
static int step_is_whole(const Run *run, int step) {
    const Trainer *trainer = run->objective->trainer;
    return step == (int)run->num_steps || !trainer->goes_on || !trainer->goes_on(run);
}

// Does a signal ask for an end, here where there can be one?
static int ends_here(const Run *run, int step) { return stop_asked() && step_is_whole(run, step); }

// The held-out numbers of all files, unless a signal asks for an end.  *mean: over the files, of
// what --best_metric names; NAN where a file has none or is left out.  0, or -1 after fail().
static int evaluate_all(Run *run, int step, double *mean) {
    const Dataset *first = run->data + run->num_train + run->num_then;
    *mean = 0;
    for (const Dataset *d = first; d < first + run->num_eval; d++) {
        double metric[NUM_METRICS] = {[METRIC_LOSS] = NAN, [METRIC_ACCURACY] = NAN};
        if (!ends_here(run, step)) {
            if (run->objective->trainer->evaluate(run, d, step, metric) < 0) return -1;
        }
        *mean += metric[opt.best_metric] / run->num_eval;
    }
    return log_flush(&run->log_file);
}

// With --load_best every file of --eval must have the number that is to be chosen by.  0, or -1
// after fail().
static int check_metric(const Run *run) {
    const int imitated = run->objective->data == DEMONSTRATIONS;
    const int drawn = run->objective->data == PROMPTS;
    const Dataset *first = run->data + run->num_train + run->num_then;
    for (const Dataset *d = first; d < first + run->num_eval; d++) {
        const int point = d->kind == DATA_POINT;
        const int choice = d->kind == DATA_PAIR || d->kind == DATA_RANKING;
        if (opt.best_metric == METRIC_ACCURACY && drawn) {
            return fail(EX_USAGE, "--best_metric accuracy: %s is evaluated by the reward of the "
                        "texts it draws, of which loss is the negative; choose by loss",
                        run->objective->name);
        }
        if (opt.best_metric == METRIC_ACCURACY && !point && !choice) {
            return fail(EX_USAGE, "--best_metric accuracy: %s: %s data has none; choose by loss",
                        d->path, data_kind_name[d->kind]);
        }
        if (opt.best_metric == METRIC_LOSS && point && !imitated && !drawn) {
            return fail(EX_USAGE, "--best_metric loss: %s: no held-out loss of points is computed; "
                        "--best_metric accuracy chooses by the area under the curve", d->path);
        }
    }
    return 0;
}

// -------------------------------------------------------------------------------------- the log

// A line of log.jsonl.  0, or -1 after fail().
static int log_step(Run *run, Progress *p) {
    const Trainer *trainer = run->objective->trainer;
    const double wall = now() - p->start;
    FILE *f = run->log;
    fprintf(f, "{\"event\":\"train\",\"step\":%d,\"loss\":%.9g", p->step, p->loss);
    if (trainer->log) trainer->log(run, f);
    fprintf(f, ",\"learning_rate\":%.9g,\"grad_norm\":%.9g,\"num_tokens\":%zu,"
            "\"tokens_per_s\":%.0f,\"rss_gib\":%.3f,\"wall_s\":%.2f}\n", p->rate, p->norm,
            p->tokens, (double)p->tokens / wall, memory_resident() / GIB, wall);
    if (log_flush(&run->log_file) < 0) return -1;
    p->log_size = run->log_file.written;
    return 0;
}

// A line for people: on a terminal the same one again and again, until numbers follow below it.
static void show_step(const Run *run, const Progress *p) {
    const Trainer *trainer = run->objective->trainer;
    const double wall = now() - p->start, left = wall / p->step * (p->steps - p->step);
    const int terminal = is_screen(STDERR_FILENO), last = p->step == p->steps;
    const int evaluated = run->num_eval && opt.eval_steps && p->step % opt.eval_steps == 0;
    const char *end = terminal && !last && !evaluated ? "" : "\n";
    if (opt.quiet || (run->part && !terminal)) return;
    if (!terminal && !last && p->step % opt.logging_steps) return;
    if (run->part) end = last ? "\r\033[K" : "";

    fprintf(stderr, "%s%s", terminal ? "\r\033[K" : "", run->part ? run->part : "");
    fprintf(stderr, "step %d/%d  loss %.4f", p->step, p->steps, p->loss);
    if (trainer->show) trainer->show(run, stderr);
    fprintf(stderr, "  %.0f tokens/s  %.0f:%02.0f left  %.2f GiB%s", (double)p->tokens / wall,
            floor(left / 60), floor(fmod(left, 60)), memory_resident() / GIB, end);
}

// ------------------------------------------------------------------------------------- the loop

// The factor of the learning rate at step s (from 0) of n: a warm-up to 1, then down to 0.
double train_schedule(int s, int n) {
    const double pi = 3.141592653589793;
    const int warmup = (int)(opt.warmup_ratio * n);
    if (s < warmup) return (s + 1.0) / (warmup + 1);

    const double t = n > warmup ? (double)(s - warmup) / (n - warmup) : 0;      // 0 to 1
    if (opt.scheduler == SCHEDULE_CONSTANT) return 1;
    if (opt.scheduler == SCHEDULE_LINEAR) return 1 - t;
    double sine, cosine;
    more_sincos(t * pi, &sine, &cosine);
    return 0.5 * (1 + cosine);
}

// The model as it is, into --out; what --dtype cannot hold as f32.  0, or -1 after fail().
static int try_save(Run *run) {
    const char *dtype = dtype_names[opt.dtype];
    if (opt.dtype != DTYPE_F32 && checkpoint_fits(&run->model, dtype) < 0) {
        dtype = dtype_names[DTYPE_F32];
        fprintf(stderr, "%s; the weights are saved as %s\n", error_text, dtype);
    }
    return checkpoint_save(&run->model, run->out, &run->beside, dtype, run->sha256);
}

/* A disk that is full, a folder that is gone: the weights are all there is of hours of work, so
 * this tries until it succeeds or a signal comes, and gives up at once only where waiting is no
 * help.  0, or -1 after fail().                                                                  */
static int save_model(Run *run) {
    double said = -INFINITY;
    for (;;) {
        int result = try_save(run);
        if (result == 0 || error_code == EX_DATAERR || error_code == EX_USAGE) return result;
        if (disk_wait(run->out, &said) < 0) return -1;
    }
}

// What a model is held for in a run.
Purpose training_purpose(void) {
    if (opt.freeze) return TRAINING_HEAD;
    return opt.recompute ? RECOMPUTING : TRAINING;
}

/* Is there memory to train c with micro-batches of T token rows and B texts, and for `beside` bytes
 * of other models, where `held` bytes of both are there already?  text: what is needed, what is
 * free, what takes less.                                                                         */
MemoryFit memory_fit(const Config *c, int T, int B, double beside, double held,
                     char text[MEMORY_TEXT]) {
    const double room = tensor_room();
    const Purpose purpose = training_purpose(), smallest = opt.freeze ? purpose : RECOMPUTING;
    const double needed = beside + (double)model_bytes(c, T, B, purpose);
    const double least = beside + (double)model_bytes(c, 1, 1, smallest);
    const char *help = "a lower --micro_batch_tokens or --max_length takes less";
    if (purpose == TRAINING) {
        help = "--recompute, a lower --micro_batch_tokens or --max_length take less";
    }
    if (least - held > room) {
        help = "what does not grow with rows takes more: a smaller model is needed";
    }
    char gib[GIB_TEXT], is_free[GIB_TEXT];
    snprintf(text, MEMORY_TEXT, "%s GiB of memory are needed%s, %s GiB are free here; %s",
             memory_text(gib, needed - held), held > 0 ? " beside the model" : "",
             memory_text(is_free, room), help);
    if (needed - held > room) return MEMORY_LACKS;
    return needed - held > 0.9 * room ? MEMORY_CLOSE : MEMORY_FITS;
}

// Bytes of the other models of a run, with micro-batches of T token rows; held: those that are
// there already.  0, or -1 after fail().
int train_beside(const Run *run, int T, double *needed, double *held) {
    const Trainer *trainer = run->objective->trainer;
    *needed = 0;
    *held = 0;
    return trainer->beside ? trainer->beside(run, T, needed, held) : 0;
}

// Before a run allocates: too little memory stops it, but for --force.  0, or -1 after fail().
static int check_memory(const Run *run, int T, int B) {
    double beside, held;
    char text[MEMORY_TEXT];
    if (train_beside(run, T, &beside, &held) < 0) return -1;
    held += (double)model_held(&run->model);
    const MemoryFit fit = memory_fit(&run->model.config, T, B, beside, held, text);
    if (fit == MEMORY_LACKS && !opt.force) {
        return fail(EX_OSERR, "%s; --force trains all the same", text);
    }
    if (fit == MEMORY_LACKS) fprintf(stderr, "warning: %s\n", text);
    if (fit == MEMORY_CLOSE && !run->part) fprintf(stderr, "memory is close: %s\n", text);
    return 0;
}

// Says the plan, and logs it if the log does not have it.  0, or -1 after fail().
static int show_plan(const Run *run, const Progress *p) {
    const size_t n = run->num_steps, last = n > 1 ? run->step_end[n - 2] : 0;
    Buffer line = {0};
    int result = plan_report(run, &line);
    if (result == 0 && !run->part) fprintf(stderr, "%s", line.data);
    buffer_free(&line);
    if (p->resumed) return result;
    fprintf(run->log, "{\"event\":\"plan\",\"steps\":%zu,\"items\":%zu,\"epoch_items\":%zu,"
            "\"last_step_items\":%zu}\n", n, run->num_items, run->epoch_items,
            run->num_items - last);
    return result;
}

// The most texts of a micro-batch of T token rows.
static int most_texts(const Run *run, int T) { return run->objective->data == DOCUMENTS ? 1 : T; }

// The most token rows of a micro-batch.
static int run_rows(const Run *run, int steps) {
    const Trainer *trainer = run->objective->trainer;
    return trainer->rows ? trainer->rows(run, steps) : largest_micro_batch(run, steps);
}

// Says what the run takes, with its largest micro-batch.  0, or -1 after fail().
int train_show_size(const Run *run, int steps) {
    const int T = run_rows(run, steps), B = most_texts(run, T);
    double bytes = (double)model_bytes(&run->model.config, T, B, training_purpose());
    double beside, held;
    char gib[GIB_TEXT];
    if (train_beside(run, T, &beside, &held) < 0) return -1;
    bytes += beside + memory_process(held + (double)model_held(&run->model));
    fprintf(stderr, "%s%zu parameters, ", run->part ? run->part : "", run->model.num_params);
    const size_t trained = model_num_trained(&run->model.config, training_purpose());
    if (trained < run->model.num_params) fprintf(stderr, "%zu of them trained, ", trained);
    if (run->objective->reward) {
        fprintf(stderr, "pooling %s, ", pooling_names[run->model.config.pooling]);
    }
    fprintf(stderr, "%d steps, %s GiB needed, %d threads, %s\n", steps, memory_text(gib, bytes),
            kernels_threads(), kernels_name());
    if (opt.precision == PRECISION_FP32 && kernels_bf16_unit() && !opt.quiet) {
        fprintf(stderr, "bf16 products are faster on this machine: --precision bf16\n");
    }
    return 0;
}

// Allocates what the run takes: gradients, moments, and activations for the largest micro-batch.
int train_prepare(Run *run, int steps) {
    const int T = run_rows(run, steps), B = most_texts(run, T);
    run->model.recompute = opt.recompute;
    run->model.freeze = opt.freeze;
    if (!run->part && train_show_size(run, steps) < 0) return -1;
    if (check_memory(run, T, B) < 0) return -1;
    if (model_init_training(&run->model) < 0) return -1;
    return model_reserve(&run->model, T, B);
}

// A number for people: how one that is none is written differs from compiler to compiler.
static const char *number_text(char text[32], double x) {
    if (isnan(x)) return "not a number";
    if (isinf(x)) return "infinite";
    snprintf(text, 32, "%g", x);
    return text;
}

/* What is not finite in the first step [begin, end) is so without an update: it comes from the
 * starting model, a row or an option.  Names the first unit that is not finite alone.  -1 after
 * fail().  */
static int refuse_start(Run *run, size_t begin, size_t end) {
    const size_t unit = (size_t)run->unit;
    const char *start = opt.model.n ? opt.model.item[0] : "the fresh model";
    for (size_t i = begin; i < end; i += unit) {
        double loss = 0;
        model_zero_grads(&run->model);
        run->limit = opt.micro_batch_tokens;
        if (run->objective->trainer->step(run, i, i + unit, &loss) == 0) {
            model_finish_grads(&run->model);
            if (isfinite(loss) && isfinite(model_grad_norm(&run->model))) continue;
        }
        return fail(EX_DATAERR, "%s:%zu: the loss or a gradient is not finite in the first step: "
                    "the weights of %s are damaged or too large, or a number of the row or of an "
                    "option is; nothing was saved",
                    run->data[run->item[i].set].path, item_record(run, &run->item[i])->line, start);
    }
    return fail(EX_DATAERR, "the loss or a gradient is not finite in the first step: the weights "
                "of %s are too large, or an option is; nothing was saved", start);
}

// AdamW of update number `step` (from 1), with a gradient of that norm scaled down to
// --max_grad_norm.
AdamW train_adamw(double rate, double head_rate, double norm, int step) {
    AdamW adamw = {.learning_rate = rate, .beta1 = opt.beta1, .beta2 = opt.beta2,
                   .eps = opt.eps, .weight_decay = opt.weight_decay, .head_rate = head_rate,
                   .scale = 1, .step = step};
    if (opt.max_grad_norm > 0 && opt.max_grad_norm < norm + 1e-6) {
        adamw.scale = opt.max_grad_norm / (norm + 1e-6);
    }
    return adamw;
}

// Step s (from 0) of the plan: gradients, their norm, the update.  0, or -1 after fail().
int train_step(Run *run, int s, Progress *p) {
    const size_t begin = s ? run->step_end[s - 1] : 0, end = run->step_end[s];
    const int drawn = run->objective->data == PROMPTS;

    // gradients of the whole step
    p->loss = 0;
    model_zero_grads(&run->model);
    run->limit = micro_batch_limit(run, begin, end);
    if (run->objective->trainer->step(run, begin, end, &p->loss) < 0) {
        if (s == 0 && error_code == EX_DATAERR && !drawn) return refuse_start(run, begin, end);
        return -1;
    }
    model_finish_grads(&run->model);

    // what is not finite is not applied
    p->norm = model_grad_norm(&run->model);
    if (!isfinite(p->loss) || !isfinite(p->norm)) {
        char loss[32], norm[32];
        if (s == 0) return refuse_start(run, begin, end);
        return fail(EX_DATAERR, "step %d: the loss or a gradient is not finite (loss: %s, gradient "
                    "norm: %s); a lower --learning_rate may help; this step is not saved", s + 1,
                    number_text(loss, p->loss), number_text(norm, p->norm));
    }

    p->rate = opt.learning_rate * train_schedule(s, p->steps);
    const AdamW adamw = train_adamw(p->rate, opt.head_rate, p->norm, s + 1);
    model_update(&run->model, &adamw);
    p->step = s + 1;
    p->tokens += run->drawn_rows ? run->drawn_rows : step_rows(run, begin, end);
    return 0;
}

/* After an evaluation that gave `value`: with --load_best the weights are saved at once where it is
 * the best so far.  --out holds the best from then on, whatever ends the run.  A tie is not better,
 * nor is what is no number.  0, or -1 after fail().                                              */
static int keep_best(Run *run, Progress *p, double value) {
    if (!opt.load_best) return 0;
    int better = opt.best_metric == METRIC_LOSS ? value < p->best : value > p->best;
    if (!p->best_step) better = !isnan(value);
    p->not_better++;
    if (!better) return 0;
    if (save_model(run) < 0) return -1;
    p->best = value;
    p->best_step = p->step;
    p->not_better = 0;
    return 0;
}

// The weights as they are, but where the best ones are in --out already.  0, or -1 after fail().
static int save_last(Run *run, const Progress *p) {
    return p->best_step ? 0 : save_model(run);
}

// What ends a run that was asked to stop and has saved.  -1.
static int fail_stopped(const Run *run, const Progress *p) {
    if (p->best_step) {
        return fail(EX_TEMPFAIL, "stopped after step %d of %d; the best weights so far, of step "
                    "%d, are in %s", p->step, p->steps, p->best_step, run->out);
    }
    return fail(EX_TEMPFAIL, "stopped after step %d of %d; the weights so far are in %s", p->step,
                p->steps, run->out);
}

// Saves what there is, to go on from, and ends the run.  -1 after fail().
static int stop_saved(Run *run, Progress *p) {
    p->wall = now() - p->start;
    if (save_last(run, p) < 0 || resume_save(run, p) < 0) return -1;
    return fail_stopped(run, p);
}

// The step's numbers could not be had.  Where a signal ended the wait for a disk to write them to,
// the rest may still find room: it is tried once.  -1, after fail().
static int stop_without_numbers(Run *run, const Progress *p) {
    if (!stop_asked()) return -1;
    if (!p->best_step && try_save(run) < 0) return -1;
    if (resume_save(run, p) < 0) fprintf(stderr, "more: %s; the run cannot go on\n", error_text);
    return fail_stopped(run, p);
}

/* Evaluates on the way, and keeps the best.  1: go on; 0: it is no better for long
 * (--early_stopping_patience); -1 after fail(): also where a signal cut the evaluation short, which
 * the run then goes on with.                                                                     */
static int evaluate_step(Run *run, Progress *p) {
    double value;
    if (evaluate_all(run, p->step, &value) < 0) return stop_without_numbers(run, p);
    if (ends_here(run, p->step)) return stop_saved(run, p);
    if (keep_best(run, p, value) < 0) return -1;
    p->evaluated = p->step;
    p->log_size = run->log_file.written;
    if (!opt.patience || p->not_better < opt.patience) return 1;
    fprintf(stderr, "stopped early, after step %d of %d: %d evaluations without a better eval %s\n",
            p->step, p->steps, p->not_better, metric_names[opt.best_metric]);
    return 0;
}

// Is a save due, by steps or by the clock?
static int save_is_due(const Run *run, const Progress *p) {
    if (!step_is_whole(run, p->step)) return 0;
    const int steps = opt.save_steps;
    if (steps > 0 && p->step / steps > p->saved_step / steps) return 1;
    return opt.save_minutes > 0 && now() - p->saved >= 60 * opt.save_minutes;
}

// The weights, but where the best ones are in --out, and what it takes to go on.  A disk without
// room for that ends no run.  0, or -1 after fail().
static int save_on_the_way(Run *run, Progress *p) {
    p->wall = now() - p->start;
    if (!opt.load_best && save_model(run) < 0) return -1;
    if (log_sync(&run->log_file) < 0 || log_sync(&run->diary) < 0 || resume_save(run, p) < 0) {
        fprintf(stderr, "more: %s; the run goes on, but could not go on from here\n", error_text);
    }
    p->saved = now();
    p->saved_step = p->step;
    return 0;
}

// What comes after a step: evaluation, a save.  1: the next step; 0: it was the last; -1 after
// fail().
static int after_step(Run *run, Progress *p) {
    const Trainer *trainer = run->objective->trainer;
    const int eval_is_due = opt.eval_steps > 0 && p->step % opt.eval_steps == 0;
    if (p->step == p->steps) return 0;
    if (trainer->enough && trainer->enough(run)) return 0;
    if (eval_is_due && p->evaluated != p->step) {
        const int go_on = evaluate_step(run, p);
        if (go_on <= 0) return go_on;
    }
    return save_is_due(run, p) && save_on_the_way(run, p) < 0 ? -1 : 1;
}

// The steps, from the first, or where the run goes on, to the last or to a signal; then the weights
// are saved.  0, or -1 after fail(): EX_TEMPFAIL if a signal came.
static int train_steps(Run *run, Progress *p) {
    int go_on = p->step ? after_step(run, p) : 1;
    while (go_on > 0) {
        if (train_step(run, p->step, p) < 0) return -1;
        if (log_step(run, p) < 0) return stop_without_numbers(run, p);
        if (receipt_step(run, p) < 0) return stop_without_numbers(run, p);
        show_step(run, p);
        if (receipt_enough(run, p->step)) return 0;
        if (ends_here(run, p->step)) return stop_saved(run, p);
        go_on = after_step(run, p);
    }
    return go_on < 0 ? -1 : save_last(run, p);
}

// Which weights --load_best has left in --out.
static void say_best(const Progress *p) {
    if (!p->best_step) {
        fprintf(stderr, "best: no evaluation gave a number; the last weights are saved\n");
        return;
    }
    fprintf(stderr, "best: step %d, eval %s %.4f; its weights are saved.  They are chosen by the "
            "files of --eval: test them on others\n", p->best_step, metric_names[opt.best_metric],
            p->best);
}

/* Before a run goes on: are the best weights so far in --out?  Where the state lies beside them they
 * may be of a later evaluation, which comes again.  0, or -1 after fail().                        */
static int find_best(const Run *run, const State *from, const Progress *p) {
    char path[PATH_SIZE], dir[PATH_SIZE] = ".", sha256[65], beside_sha256[65];
    const char *slash = strrchr(from->path, '/');
    struct stat there, out, beside;
    if (!p->resumed || !p->best_step) return 0;
    if (slash) snprintf(dir, sizeof dir, "%.*s", (int)(slash - from->path) + 1, from->path);
    if (path_join(path, run->out, checkpoint_weights(&run->model.config)) < 0) return -1;
    const int has_weights = stat(path, &there) == 0;
    const int has_state = stat(dir, &beside) == 0 && stat(run->out, &out) == 0
                          && beside.st_dev == out.st_dev && beside.st_ino == out.st_ino;
    if (has_weights && has_state) return 0;
    if (has_weights && sha256_file(sha256, path) == 0) {
        if (!strcmp(sha256, run->sha256)) return 0;

        // a copy of the whole folder
        if (path_join(path, dir, checkpoint_weights(&run->model.config)) < 0) return -1;
        if (sha256_file(beside_sha256, path) == 0 && !strcmp(sha256, beside_sha256)) return 0;
    }
    return fail(EX_USAGE, "--resume %s: its best weights, those of step %d, are not in --out %s; go "
                "on in their folder, or copy it", from->path, p->best_step, run->out);
}

// Are the best weights, of a step before the run was interrupted, still those in --out?  0, or -1
// after fail().
static int check_best(const Run *run, const Progress *p) {
    char path[PATH_SIZE], sha256[65];
    if (!p->resumed || !p->best_step) return 0;
    if (path_join(path, run->out, checkpoint_weights(&run->model.config)) < 0) return -1;
    if (sha256_file(sha256, path) == 0 && !strcmp(sha256, run->sha256)) return 0;
    return fail(EX_DATAERR, "%s: the best weights, those of step %d, are not there any more; "
                "--resume no trains anew", path, p->best_step);
}

// The state of a run that has ended: of one of several its numbers, which are read on; else that it
// has.  0, or -1 after fail().
static int end_state(Run *run, Progress *p) {
    p->finished = !run->part;
    p->evaluated = p->step;
    p->log_size = run->log_file.written;
    return resume_save(run, p);
}

// What is said and logged when all steps are done, or no more are to come.  0, or -1 after fail().
static int train_end(Run *run, Progress *p) {
    const Trainer *trainer = run->objective->trainer;
    double value;
    if (p->evaluated != p->step) {
        if (evaluate_all(run, p->step, &value) < 0) return -1;
        if (stop_asked()) {
            if (resume_save(run, p) < 0) return -1;
            return fail(EX_TEMPFAIL, "stopped after the last step, before all numbers; the weights "
                        "are in %s", run->out);
        }
        if (keep_best(run, p, value) < 0) return -1;
    }
    if (check_best(run, p) < 0) return -1;
    p->wall = now() - p->start;
    if (!run->part) {
        if (trainer->finish) trainer->finish(run);
        if (opt.load_best) say_best(p);
        fprintf(stderr, "%s: %zu tokens in %.1f s\n", run->out, p->tokens, p->wall);
        printf("weights sha256 %s\n", run->sha256);
    }
    fprintf(run->log, "{\"event\":\"end\",\"weights_sha256\":\"%s\",\"wall_s\":%.2f", run->sha256,
            p->wall);
    if (p->best_step) {
        fprintf(run->log, ",\"best_step\":%d,\"best_%s\":%.9g", p->best_step,
                metric_names[opt.best_metric], p->best);
    }
    fprintf(run->log, "}\n");
    if (log_flush(&run->log_file) < 0) return -1;
    if (receipt_end(run, p) < 0) return -1;
    return end_state(run, p);
}

// ----------------------------------------------------------------------------------- the whole run

// Opens log and diary: anew, or to go on behind what they had when the state was saved.  0, or -1
// after fail().
static int open_log(Run *run, const State *from, const Progress *p) {
    char path[PATH_SIZE], old[PATH_SIZE];
    const char *slash = strrchr(from->path, '/');
    snprintf(old, sizeof old, "%.*s", slash ? (int)(slash - from->path) : 1,
             slash ? from->path : ".");
    if (receipt_begin(run, old, p) < 0) return -1;
    if (path_join(path, run->out, "log.jsonl") < 0 || log_open(&run->log_file, path) < 0) return -1;
    run->log = run->log_file.stream;
    if (!p->resumed) return 0;
    if (path_join(path, old, "log.jsonl") < 0) return -1;
    return log_keep(&run->log_file, path, p->log_size);
}

// From the first step, or where the run goes on, to the end.  What can be known to go wrong goes
// wrong before: memory, disk, log.  0, or -1 after fail().
static int train_from(Run *run, State *from, Progress *p) {
    const Trainer *trainer = run->objective->trainer;
    if (find_best(run, from, p) < 0) return -1;
    if (train_prepare(run, p->steps) < 0) return -1;
    stop_hold();
    int result = checkpoint_ask(&run->model, run->out, &run->beside, dtype_names[opt.dtype]);
    if (!run->part) stop_release();
    if (result == 0) result = open_log(run, from, p);

    // what is there before the first step, then what the steps before made of it
    if (result == 0) result = show_plan(run, p);
    if (result == 0 && trainer->start) result = trainer->start(run);
    if (result == 0 && p->resumed) result = resume_load(run, from);
    p->start = now() - p->wall;
    p->saved = now();
    p->saved_step = p->step;
    stop_hold();                                    // there is something to save
    if (result == 0) result = state_remove(run->out, p->step + 1, INT64_MAX);
    if (result == 0) result = train_steps(run, p);
    if (result == 0 && !receipt_enough(run, p->step)) result = train_end(run, p);
    if (result == 0) result = log_close(&run->diary);
    if (result == 0) result = log_close(&run->log_file);
    log_abandon(&run->diary);
    log_abandon(&run->log_file);
    return result;
}

/* The whole run: model, tokenizer and data are loaded, the plan is made, --out is there.  A run
 * that was interrupted goes on (--resume), one that has finished is not repeated.  Ends with the
 * line `weights sha256` on standard output.  0; EXPECT_ENOUGH if more verify asked for no more; or
 * -1 after fail(): EX_TEMPFAIL if a signal stopped it (the weights so far are saved).  */
int train(Run *run) {
    Progress p = {.steps = (int)run->num_steps};
    State from;
    if (opt.load_best && check_metric(run) < 0) return -1;
    if (checkpoint_fits(&run->model, dtype_names[opt.dtype]) < 0) return -1;
    if (resume_recipe(run) < 0) return -1;
    const int expect = run->part ? EXPECT_GO_ON : receipt_expect(&run->recipe);
    if (expect != EXPECT_GO_ON) return expect;
    int result = resume_open(run, &from, &p);
    if (result > 0 && p.finished) {
        fprintf(stderr, "%s: finished already; --resume no trains anew\n", from.path);
        printf("weights sha256 %s\n", run->sha256);
        result = 0;
    } else if (result >= 0) {
        if (p.resumed) {
            fprintf(stderr, "%s%s: goes on after step %d of %d\n", run->part ? run->part : "",
                    from.path, p.step, p.steps);
        }
        result = train_from(run, &from, &p);
    }
    state_close(&from);
    return result;
}
#endif

/* receipt.c - what a training was and came to, as a file that can be checked: more_receipt.json
 * beside the weights, and with --diary a line for each step (files/diary.c).
 *
 *     {"format": "more receipt 1",
 *      "level": "exact",                       the bits are those of NUMERICS.md, on any machine;
 *                                              or "one model of GPU", of --precision bf16-fast
 *      "program": "more 0.15.0", "source": ..  SHA-256 of the sources it was made of
 *      "numerics": ..                          the digests of more selftest name the contract
 *      "computed": "2 threads, avx512",        which changes nothing
 *      "command": ["train", "reward", "--model=base", ..]      what was asked for, but --out
 *      "recipe": ["--learning_rate=0.001", ..]                 all that decides the bits (resume.c)
 *      "steps": 30,
 *      "weights": {"model.safetensors": ..},   SHA-256 of each file of weights, as train prints it
 *      "diary": {"every": 1, "hash": ..}}     what its last line says, if there is one
 *
 * more verify trains again by the command: opt.expected is then the receipt that the training is to
 * come to, and the first thing that is otherwise ends it.                                        */
#ifndef RECEIPT_C
#define RECEIPT_C
#include "plan.c"
#include "resume.c"
#include "files/diary.c"

#define RECEIPT_FORMAT "more receipt 1"
enum { MAX_RECEIPT_FILES = 64 };
enum { EXPECT_DIFFERS = -1, EXPECT_GO_ON, EXPECT_ENOUGH };

// A training that has ended.
typedef struct {
    const char *dir;
    const Buffer *recipe, *command;                 // command: a JSON list
    int steps;                                      // 0: there are none
    int num_weights;
    const char *file[MAX_RECEIPT_FILES];            // names in dir, and their SHA-256
    const char *sha256[MAX_RECEIPT_FILES];
    const char *hash;                               // of the diary's last line, or NULL
} Receipt;

// What a training is to come to, for more verify.
typedef struct Expected {
    const char *path;                               // of the receipt
    Buffer recipe, diary;                           // the texts
    const char *at;                                 // the line of the diary that is next, or NULL
    int only_compare;                               // yes: recipe and data, and nothing is trained
    int last;                                       // the step after which it is enough, or 0
} Expected;

// the file
int  receipt_write(const Receipt *r);
int  receipt_forget(const char *dir);               // one of an earlier training goes
int  receipt_expect(const Buffer *recipe);          // is it that of opt.expected?
int  receipt_enough(const Run *run, int step);      // after a step: is no more asked for?

// of a run
int  receipt_begin(Run *run, const char *old, const Progress *p);
int  receipt_step(Run *run, const Progress *p);
int  receipt_end(Run *run, const Progress *p);

// --------------------------------------------------------------------------------------- the file

// "name": [..], a string for each line of the text.
static int receipt_lines(Buffer *b, const char *name, const char *text) {
    if (buffer_printf(b, ",\n \"%s\": [", name) < 0) return -1;
    for (const char *line = text; *line; ) {
        const size_t n = strcspn(line, "\n");
        if (line > text && buffer_printf(b, ",") < 0) return -1;
        if (buffer_printf(b, "\n  ") < 0 || json_quote(b, line, n) < 0) return -1;
        line += n + (line[n] == '\n');
    }
    return buffer_printf(b, "]");
}

static int receipt_text(Buffer *b, const Receipt *r) {
    const char *level = *settings_gpu() ? "one model of GPU" : "exact";
    if (buffer_printf(b, "{\"format\": \"%s\",\n \"level\": \"%s\",\n"
                      " \"program\": \"more %s\",\n \"source\": \"%s\",\n \"numerics\": \"%s\",\n"
                      " \"computed\": \"%d threads, %s\",\n \"command\": %s",
                      RECEIPT_FORMAT, level, opt.program.version, opt.program.source,
                      opt.program.numerics, kernels_threads(), kernels_name(),
                      r->command->data) < 0) return -1;
    if (receipt_lines(b, "recipe", r->recipe->data) < 0) return -1;
    if (r->steps && buffer_printf(b, ",\n \"steps\": %d", r->steps) < 0) return -1;
    if (buffer_printf(b, ",\n \"weights\": {") < 0) return -1;
    for (int k = 0; k < r->num_weights; k++) {
        if (buffer_printf(b, "%s\"%s\": \"%s\"", k ? ",\n  " : "", r->file[k], r->sha256[k]) < 0) {
            return -1;
        }
    }
    if (buffer_printf(b, "}") < 0) return -1;
    if (r->hash && buffer_printf(b, ",\n \"diary\": {\"every\": %d, \"hash\": \"%s\"}", opt.diary,
                                  r->hash) < 0) return -1;
    return buffer_printf(b, "}\n");
}

// more_receipt.json in r->dir.  0, or -1 after fail().
int receipt_write(const Receipt *r) {
    Buffer text = {0};
    char path[PATH_SIZE];
    int result = -1;
    if (path_join(path, r->dir, RECEIPT_NAME) < 0 || receipt_text(&text, r) < 0) goto done;
    result = file_write(path, text.data, text.len);
done:
    buffer_free(&text);
    return result;
}

// Removes the receipt in dir: other weights will stand there.  0, or -1 after fail().
int receipt_forget(const char *dir) {
    char path[PATH_SIZE];
    if (path_join(path, dir, RECEIPT_NAME) < 0) return -1;
    if (unlink(path) == 0 || errno == ENOENT) return 0;
    return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
}

/* Compares what is about to be trained with opt.expected, where there is one.  What its receipt
 * does not know, an option of a later version, is not compared.  EXPECT_GO_ON; EXPECT_ENOUGH: only
 * this was asked for; EXPECT_DIFFERS after fail().                                               */
int receipt_expect(const Buffer *recipe) {
    const Expected *x = opt.expected;
    RecipeLine d;
    if (!x) return EXPECT_GO_ON;
    if (recipe_difference(&d, x->recipe.data, recipe->data)) {
        return fail(EX_DIFFERS, "%s: another training: %.*s is %.*s here, and %.*s in the receipt",
                    x->path, d.name_length, d.name, d.other_length, d.other, d.value_length,
                    d.value);
    }
    return x->only_compare ? EXPECT_ENOUGH : EXPECT_GO_ON;
}

int receipt_enough(const Run *run, int step) {
    const Expected *x = opt.expected;
    return x && x->last == step && step < (int)run->num_steps;
}

// ------------------------------------------------------------------------------------- the diary

/* Before the first step, or the first after `p`: nothing is left of an earlier training; the diary
 * goes on from that in `old`, the folder of the state that the run goes on with.  0, or -1 after
 * fail().                                                                                        */
int receipt_begin(Run *run, const char *old, const Progress *p) {
    char path[PATH_SIZE];
    Buffer text = {0};
    struct stat st;
    size_t kept;
    if (!run->part && receipt_forget(run->out) < 0) return -1;
    if (path_join(path, run->out, DIARY_NAME) < 0) return -1;
    run->diary = (Log){.fd = -1};
    if (!opt.diary) {
        if (unlink(path) == 0 || errno == ENOENT) return 0;
        return fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    }
    diary_begin(run->hash, run->recipe.data);
    if (log_open(&run->diary, path) < 0) return -1;
    if (path_join(path, old, DIARY_NAME) < 0) return -1;
    if (!p->resumed || stat(path, &st) < 0) return 0;
    int result = diary_read(&text, &kept, run->hash, path, p->step);
    if (result == 0) result = log_keep(&run->diary, path, kept);
    buffer_free(&text);
    return result;
}

// The double whose bits these are.
static double double_of_text(const char bits[CHECKSUM_TEXT]) {
    const uint64_t u = strtoull(bits, NULL, 16);
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

// Is the step as opt.expected has it, where it does?  0, or -1 after fail().
static int compare_step(const DiaryLine *is) {
    Expected *x = opt.expected;
    DiaryLine was = {.step = 0};
    if (!x || !x->at) return 0;
    while (was.step < is->step && diary_next(&x->at, &was)) {}
    if (was.step != is->step) return 0;
    if (strcmp(was.loss, is->loss)) {
        return fail(EX_DIFFERS, "%s: step %d is the first that differs: its loss is %.17g (%s) "
                    "here, and %.17g (%s) in the diary", x->path, is->step,
                    double_of_text(is->loss), is->loss, double_of_text(was.loss), was.loss);
    }
    if (strcmp(was.weights, is->weights) == 0) return 0;
    return fail(EX_DIFFERS, "%s: step %d is the first that differs: the same loss, but the "
                "checksum of the weights after it is %s here, and %s in the diary", x->path,
                is->step, is->weights, was.weights);
}

// The line of the step that is done, every --diary steps and after the last.  0, or -1 after
// fail().
int receipt_step(Run *run, const Progress *p) {
    const Model *m = &run->model;
    DiaryLine line = {.step = p->step};
    char text[DIARY_LINE];
    uint64_t bits;
    Checksum c;
    if (!opt.diary || (p->step % opt.diary && p->step != p->steps)) return 0;
    checksum_start(&c);
    const size_t frozen = m->num_params - m->num_trained;
    if (checksum_params(&c, m, frozen, m->num_trained) < 0) return -1;
    checksum_text(line.weights, checksum_finish(&c));
    memcpy(&bits, &p->loss, sizeof bits);
    checksum_text(line.loss, bits);
    diary_hash(&line, run->hash);
    strcpy(run->hash, line.hash);

    const int n = diary_print(text, &line);
    fwrite(text, 1, (size_t)n, run->diary.stream);
    if (log_flush(&run->diary) < 0) return -1;
    return run->part ? 0 : compare_step(&line);
}

// The receipt of a run whose weights are saved; of a part, and where nobody said what was asked
// for, there is none.  0, or -1 after fail().
int receipt_end(Run *run, const Progress *p) {
    const Receipt r = {.dir = run->out, .recipe = &run->recipe, .command = &run->command,
                       .steps = p->step, .num_weights = 1,
                       .file = {checkpoint_weights(&run->model.config)},
                       .sha256 = {run->sha256}, .hash = opt.diary ? run->hash : NULL};
    if (opt.diary && log_sync(&run->diary) < 0) return -1;
    return run->part || !run->command.len ? 0 : receipt_write(&r);
}
#endif

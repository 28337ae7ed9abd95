/* memory.c - is there memory for what is about to be loaded?  Counted from config.json alone:
 * models that a run holds together are added, of those that come one after the other the largest
 * counts.
 *
 *     needed     what a model takes (model_bytes in layout.c), with its largest micro-batch
 *     room       what tensors may still take: of the machine, the control groups and limits of
 *                this process, or a GPU
 *     process    program, tokenizer and data, which lie there beside the tensors                 */
#ifndef MEMORY_C
#define MEMORY_C
#include "settings.h"
#include "files/checkpoint.c"
#include "files/features_folder.c"
#include "files/surroundings.c"

double tensor_room(void);                           // bytes that tensors may still take
double memory_resident(void);                       // bytes that this process holds
double memory_process(double tensors);              // of them, other than those of tensors

// of a folder's model, whatever kind it is loaded as
int    memory_model(double *bytes, const char *dir, int kind, int narrow, int T, int B,
                    Purpose purpose);
int    memory_packed(double *bytes, const char *dir);
int    memory_check(double bytes, const char *who);
int    memory_announce(const Model *m, double needed, const char *less, int quiet);

enum { GIB_TEXT = 32 };
const char *memory_text(char text[GIB_TEXT], double bytes);        // as 1.25, below one as 0.125

#define GIB 1073741824.0

// Of the memory that they lie in: the machine's, or a GPU's.
double tensor_room(void) {
    const double gpu = kernels_memory();
    return isfinite(gpu) ? gpu : memory_room();
}

// 0 where there is no /proc.
double memory_resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (!f) return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

// What is there beside so many bytes of tensors and the layers' scratch, which model_bytes has; a
// GPU's lie elsewhere.
double memory_process(double tensors) {
    const Scratch none = {.keys = 1};               // what is there before a micro-batch
    const double others = memory_resident() - tensors - (double)kernels_scratch(&none);
    return isfinite(kernels_memory()) || others < 0 ? 0 : others;
}

/* *bytes: what the model of the folder dir would take, loaded as that kind, with micro-batches of T
 * token rows and B texts; narrow: its matrices as the file has them.  The layers' scratch is left
 * out, for all models share it.  A reward model of features takes none.  0, or -1 after fail().  */
int memory_model(double *bytes, const char *dir, int kind, int narrow, int T, int B,
                 Purpose purpose) {
    Config c;
    *bytes = 0;
    if (feature_folder_is(dir)) return 0;
    if (config_folder(dir) < 0 || config_load(&c, dir) < 0) return -1;
    if (kind == LOAD_REWARD_MODEL) c.reward = 1;
    if (narrow && checkpoint_settle_narrow(&c, dir, kind) < 0) return -1;
    *bytes = (double)(model_bytes(&c, T, B, purpose) - model_scratch_bytes(&c, T, B));
    return 0;
}

// *bytes: what the copies of its matrices take that drawing texts is fast by.  0, or -1 after
// fail().
int memory_packed(double *bytes, const char *dir) {
    Config c;
    if (config_folder(dir) < 0 || config_load(&c, dir) < 0) return -1;
    *bytes = (double)model_packed_bytes(&c);
    return 0;
}

const char *memory_text(char text[GIB_TEXT], double bytes) {
    snprintf(text, GIB_TEXT, "%.*f", bytes < GIB ? 3 : 2, bytes / GIB);
    return text;
}

// Is there room for so many bytes, which `who` is about to take?  0, or -1 after fail().
int memory_check(double bytes, const char *who) {
    const double room = tensor_room();
    char gib[GIB_TEXT], is_free[GIB_TEXT];
    if (bytes <= room || opt.force) return 0;
    return fail(EX_OSERR, "%s: %s GiB of memory are needed, %s GiB are free here; a smaller model "
                "takes less, as does --base_dtype file, where it is an option; --force goes on all "
                "the same", who, memory_text(gib, bytes), memory_text(is_free, room));
}

/* Says, unless quiet, what a command takes that has loaded m, of whose `needed` bytes it is a part;
 * where there is too little it ends, and says what takes less.  0, or -1 after fail().           */
int memory_announce(const Model *m, double needed, const char *less, int quiet) {
    const double held = (double)model_held(m), room = tensor_room();
    char gib[GIB_TEXT], is_free[GIB_TEXT];
    if (needed - held > room && !opt.force) {
        return fail(EX_OSERR, "%s GiB of memory are needed beside the model, %s GiB are free here; "
                    "%s less; --force goes on all the same", memory_text(gib, needed - held),
                    memory_text(is_free, room), less);
    }
    if (quiet) return 0;
    fprintf(stderr, "%zu parameters, %s GiB needed, %d threads, %s\n", m->num_params,
            memory_text(gib, needed + memory_process(held)), kernels_threads(), kernels_name());
    return 0;
}
#endif

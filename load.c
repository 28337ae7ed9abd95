/* load.c - a model and its tokenizer from a folder, and how rows are read, as the command line has
 * it.  */
#ifndef LOAD_C
#define LOAD_C
#include "settings.h"
#include "dataset.c"
#include "memory.c"
#include "specials.c"
#include "vocabulary.c"
#include "files/checkpoint.c"
#include "files/features_folder.c"
#include "files/sentencepiece.c"
#include "files/tokenizer_json.c"

DataOptions data_options(void);
int load_features(Dataset *d, const char *spec, const FeatureNames *asked, const DataOptions *o);

// a folder's tokenizer, its model, both
int tokenizer_path(char path[PATH_SIZE], const char *dir);
int load_tokenizer(Tokenizer *t, const char *dir);
int tokenizer_identity(char sha256[65], const char *dir);
int settle_specials(Tokenizer *t, Config *c, const char *dir);
int check_fit(const Model *m, const Tokenizer *t, const char *dir, int max_length);
int load_room(const char *dir, int kind);
int load_model(Model *m, Tokenizer *t, const char *dir, int kind, int max_length);
LoraOptions lora_options(void);
int narrow_asked(void);

// DataOptions.bad_row of --bad_rows drop: names the first ones; the report of the file counts all.
static void drop_bad_row(void *to, const Dataset *d) {
    (void)to;
    if (d->bad <= 5) fprintf(stderr, "%s; the row is left out\n", error_text);
}

// What the settings say of data.
DataOptions data_options(void) {
    return (DataOptions){.max_length = opt.max_length, .max_prompt_length = opt.max_prompt_length,
                         .over_length = opt.over_length, .template_ = opt.template_,
                         .prompt_key = opt.prompt_key, .chosen_key = opt.chosen_key,
                         .rejected_key = opt.rejected_key,
                         .as_pairs = opt.pairs,
                         .all_turns = opt.train_turns == TURNS_ALL,
                         .bad_row = opt.bad_rows == BAD_ROWS_DROP ? drop_bad_row : NULL};
}

/* A file whose answers have these features (n 0: those that its first row has).  Texts are read
 * whole where rows have them, as bytes, each a token: a network of features has no tokenizer.  0,
 * or -1 after fail().                                                                            */
int load_features(Dataset *d, const char *spec, const FeatureNames *asked, const DataOptions *o) {
    FeatureNames listed = feature_names_none();
    DataOptions with = *o;
    Tokenizer bytes = {0};
    if (opt.features && feature_names_parse(&listed, opt.features) < 0) return -1;
    if (tokenizer_of_bytes(&bytes) < 0) return -1;
    with.features = asked;
    with.listed = opt.features ? &listed : NULL;
    with.max_length = 0;
    with.max_prompt_length = 0;
    with.all_turns = 0;
    const int result = dataset_load(d, spec, &bytes, &with);
    tokenizer_free(&bytes);
    return result;
}

// Where the tokenizer is: --tokenizer, or in the folder.  0, or -1 after fail().
int tokenizer_path(char path[PATH_SIZE], const char *dir) {
    if (dir && config_folder(dir) < 0) return -1;
    if (dir && folder_recover(dir) < 0) return -1;
    if (dir && feature_folder_is(dir)) {
        return fail(EX_DATAERR, "%s: a reward model of features, which reads no text: a model of "
                    "texts is needed here", dir);
    }
    if (!opt.tokenizer && dir) {
        char base[PATH_SIZE];
        if (tokenizer_file(path, dir) == 0) return 0;
        return config_base(base, dir) > 0 ? tokenizer_file(path, base) : -1;
    }
    if (strlen(opt.tokenizer) >= PATH_SIZE) {
        return fail(EX_USAGE, "--tokenizer: the name is longer than %d bytes", PATH_SIZE - 1);
    }
    strcpy(path, opt.tokenizer);
    return 0;
}

// What the settings say of adapters.
LoraOptions lora_options(void) {
    return (LoraOptions){.r = opt.lora_r, .targets = opt.lora_targets,
                         .alpha = opt.lora_alpha > 0 ? opt.lora_alpha : 2 * opt.lora_r};
}

// Are the weights that stay as they are to lie in memory as their file has them?
int narrow_asked(void) {
    if (opt.base_dtype == BASE_FILE) return 1;
    return opt.base_dtype != BASE_FP32 && (opt.lora_r || opt.freeze) && !opt.random_weights;
}

// Says, unless quiet, which of two ways a tokenizer.model is read where its folder does not.  0, or
// -1 after fail().
static int say_legacy(const char *path) {
    int legacy;
    if (opt.quiet || !name_ends_with(path, ".model")) return 0;
    if (sentencepiece_legacy(&legacy, path) < 0) return -1;
    if (legacy >= 0) return 0;
    fprintf(stderr, "%s: tokenizer_config.json does not say \"legacy\", true is taken, as by "
            "SentencePiece and transformers 4; 5 takes false, where no space goes before a text "
            "behind a special token\n", path);
    return 0;
}

int load_tokenizer(Tokenizer *t, const char *dir) {
    char path[PATH_SIZE];
    if (!opt.tokenizer && !dir) return fail(EX_USAGE, "--tokenizer or --model is needed");
    if (tokenizer_path(path, dir) < 0 || say_legacy(path) < 0) return -1;
    return tokenizer_load(t, path);
}

// tokenizer_hash of the tokenizer that the folder dir would be used with: the same in a folder and
// in a GGUF file of one model.  0, or -1 after fail().
int tokenizer_identity(char sha256[65], const char *dir) {
    char path[PATH_SIZE];
    Tokenizer t = {0};
    if (tokenizer_path(path, dir) < 0) return -1;
    const int result = tokenizer_load(&t, path);
    if (result == 0) tokenizer_hash(sha256, &t);
    tokenizer_free(&t);
    return result;
}

// Which tokens end and begin the texts of the model in dir.  0, or -1 after fail().
int settle_specials(Tokenizer *t, Config *c, const char *dir) {
    char path[PATH_SIZE];
    if (tokenizer_path(path, dir) < 0) return -1;
    return specials_find(t, c, dir, path, opt.template_);
}

// Does the model have a row for each piece, and positions for texts of max_length?
int check_fit(const Model *m, const Tokenizer *t, const char *dir, int max_length) {
    if (t->vocab_size > m->config.vocab_size) {
        return fail(EX_DATAERR, "%s: the tokenizer has %d pieces, the model %d", dir,
                    t->vocab_size, m->config.vocab_size);
    }
    if (max_length > m->config.max_positions) {
        return fail(EX_USAGE, "--max_length %d: the model has %d positions", max_length,
                    m->config.max_positions);
    }
    return 0;
}

// Is there memory for the model of the folder dir, loaded as that kind?  0, or -1 after fail().
int load_room(const char *dir, int kind) {
    double bytes;
    const int narrow = opt.base_dtype == BASE_FILE;
    if (memory_model(&bytes, dir, kind, narrow, 1, 1, SCORING) < 0) return -1;
    return memory_check(bytes, dir);
}

// A reward model, or a policy, and its tokenizer, for texts of max_length; --raw_head gives a
// reward model without a head one.  0, or -1 after fail().
int load_model(Model *m, Tokenizer *t, const char *dir, int kind, int max_length) {
    Config c;
    if (config_load(&c, dir) < 0) return -1;
    const int headless = !c.reward && kind == LOAD_REWARD_MODEL;
    if (headless && opt.raw_head < 0) {
        return fail(EX_DATAERR, "%s: a language model without a reward head; train one, or give "
                    "--raw_head SEED for a random head (eval of policies: --reference)", dir);
    }
    if (load_room(dir, kind) < 0 || load_tokenizer(t, dir) < 0) return -1;
    const LoraOptions none = {.r = 0};
    if (checkpoint_load_as(m, dir, kind, &none, opt.base_dtype == BASE_FILE) < 0) return -1;
    if (settle_specials(t, &m->config, dir) < 0) return -1;
    if (!m->config.reward && opt.pooling >= 0) {
        return fail(EX_USAGE, "--pooling: %s is a language model, from which no reward is read",
                    dir);
    }
    if (opt.pooling >= 0) m->config.pooling = (Pooling)opt.pooling;
    if (!m->config.reward || m->config.pooling == POOL_EOS) {
        if (specials_need_end(t, &m->config, dir) < 0) return -1;
    }
    if (check_fit(m, t, dir, max_length) < 0) return -1;
    return headless ? model_random_head(m, (uint64_t)opt.raw_head) : 0;
}
#endif

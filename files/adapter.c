/* adapter.c - adapters (LoRA) as PEFT names them: which matrices, and adapter_config.json.
 *
 *     adapter_config.json          what base model, rank, alpha, and which matrices
 *     adapter_model.safetensors    base_model.model.MATRIX.lora_A.weight (r, inputs),
 *                                  base_model.model.MATRIX.lora_B.weight (outputs, r), and what was
 *                                  trained whole, as a reward head
 *
 * The tensors are written and merged by checkpoint.c.                                            */
#ifndef ADAPTER_C
#define ADAPTER_C

#include "config.c"

#define ADAPTER_WEIGHTS "adapter_model.safetensors"

// What a run is to train.
typedef struct {
    int r;                              // 0: no adapters
    double alpha;
    const char *targets;                // names with commas, or "all-linear"
} LoraOptions;

// What adapter_config.json says of how the tensors are meant.
typedef struct {
    double r, alpha;                    // r of each pair of tensors; 0: rank_pattern says which
    int by_root;                        // yes: alpha / sqrt(r), not alpha / r
} AdapterSettings;

const char *adapter_matrix(const Config *c, Site k);            // its name, '#' the layer; NULL
int    adapter_settle(Config *c, const LoraOptions *o);         // c is to have these adapters
int    adapter_settings(AdapterSettings *s, const char *dir);
double adapter_scale(const AdapterSettings *s, int r);
int    adapter_config_text(Buffer *b, const Config *c, const char *base);

// --------------------------------------------------------------------------------------- matrices

// The matrix of a site in a model of the family, or NULL where there is none.
const char *adapter_matrix(const Config *c, Site k) {
    static const char *const neox[NUM_SITES] = {
        [SITE_QKV]  = "gpt_neox.layers.#.attention.query_key_value",
        [SITE_OUT]  = "gpt_neox.layers.#.attention.dense",
        [SITE_UP]   = "gpt_neox.layers.#.mlp.dense_h_to_4h",
        [SITE_DOWN] = "gpt_neox.layers.#.mlp.dense_4h_to_h",
    };
    static const char *const gpt2[NUM_SITES] = {
        [SITE_QKV]  = "transformer.h.#.attn.c_attn",
        [SITE_OUT]  = "transformer.h.#.attn.c_proj",
        [SITE_UP]   = "transformer.h.#.mlp.c_fc",
        [SITE_DOWN] = "transformer.h.#.mlp.c_proj",
    };
    static const char *const llama[NUM_SITES] = {
        [SITE_Q]    = "model.layers.#.self_attn.q_proj",
        [SITE_K]    = "model.layers.#.self_attn.k_proj",
        [SITE_V]    = "model.layers.#.self_attn.v_proj",
        [SITE_OUT]  = "model.layers.#.self_attn.o_proj",
        [SITE_GATE] = "model.layers.#.mlp.gate_proj",
        [SITE_UP]   = "model.layers.#.mlp.up_proj",
        [SITE_DOWN] = "model.layers.#.mlp.down_proj",
    };
    if (config_is_neox(c)) return neox[k];
    return config_is_gpt2(c) ? gpt2[k] : llama[k];
}

// The name by which PEFT finds the matrix in every layer; two of GPT-2's are called c_proj.
static const char *target_name(const char *matrix) {
    const char *layer = strchr(matrix, '#') + 2, *dot = strchr(layer, '.');
    return strstr(layer, ".c_proj") ? layer : dot + 1;
}

// Does PEFT take the matrix for a target of n letters: is that its name, or the name's end behind a
// point?
static int is_target(const char *matrix, const char *target, size_t n) {
    const size_t length = strlen(matrix);
    if (!n || n > length || strncmp(matrix + length - n, target, n)) return 0;
    return n == length || matrix[length - n - 1] == '.';
}

static int fail_target(const Config *c, const char *target, int n) {
    char names[200] = "all-linear";
    for (int k = 0; k < NUM_SITES; k++) {
        const char *matrix = adapter_matrix(c, (Site)k);
        const size_t at = strlen(names);
        if (matrix) snprintf(names + at, sizeof names - at, ", %s", target_name(matrix));
    }
    return fail(EX_USAGE, "--lora_targets: \"%.*s\" is no matrix of a %s model; there are %s", n,
                target, model_family_name(c->family), names);
}

// A model of the shape c is to have adapters as o asks for.  0, or -1 after fail().
int adapter_settle(Config *c, const LoraOptions *o) {
    memset(c->lora, 0, sizeof c->lora);
    c->lora_r = o->r;
    c->lora_alpha = o->alpha;
    if (!o->r) return 0;
    const char *target = o->targets;
    while (*target) {
        const size_t n = strcspn(target, ",");
        const int all = n == strlen("all-linear") && !strncmp(target, "all-linear", n);
        int found = 0;
        for (int k = 0; k < NUM_SITES; k++) {
            const char *matrix = adapter_matrix(c, (Site)k);
            if (!matrix || (!all && !is_target(matrix, target, n))) continue;
            c->lora[k] = 1;
            found = 1;
        }
        if (!found) return fail_target(c, target, (int)n);
        target += n + (target[n] == ',');
    }
    if (!memchr(c->lora, 1, sizeof c->lora)) return fail_target(c, "", 0);
    return 0;
}

// ---------------------------------------------------------------------------- adapter_config.json

// What would make other numbers of the same tensors: the first key that is on, or NULL.
static const char *unknown_key(const Json *j) {
    static const char *const keys[] = {
        "alpha_pattern", "layer_replication", "lora_bias", "target_parameters",
        "trainable_token_indices", "monteclora_config", "arrow_config", "kasa_config",
        "velora_config", "alora_invocation_tokens",
    };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const int n = json_get(j, 0, keys[k]);
        if (!json_off(j, n) && (json_type(j, n) != JSON_OBJECT || json_count(j, n))) return keys[k];
    }
    for (int n = json_first(j, 0); n >= 0; n = json_next(j, n)) {
        const char *key = json_key(j, n);
        if (!strncmp(key, "use_", 4) && strcmp(key, "use_rslora") && !json_off(j, n)) return key;
    }
    return NULL;
}

// Was the base model itself changed before training, so that its files are not what was trained?
static int changes_base(const Json *j) {
    static const char *const kinds[] = {"pissa", "olora", "loftq", "corda", "lora_ga"};
    const char *kind = json_string(j, json_get(j, 0, "init_lora_weights"));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!strncmp(kind, kinds[k], strlen(kinds[k]))) return 1;
    }
    return 0;
}

// From adapter_config.json of the folder dir.  0, or -1 after fail().
int adapter_settings(AdapterSettings *s, const char *dir) {
    char path[PATH_SIZE];
    Json j = {0};
    int result = -1;
    if (path_join(path, dir, "adapter_config.json") < 0) return -1;
    if (json_load(&j, path) < 0) goto done;
    const int alpha = json_get(&j, 0, "lora_alpha"), r = json_get(&j, 0, "r");
    const int pattern = json_get(&j, 0, "rank_pattern");
    const char *key = unknown_key(&j);
    if (!json_equal(&j, json_get(&j, 0, "peft_type"), "LORA")) {
        fail(EX_DATAERR, "%s: peft_type is not LORA; merge the adapter (merge_and_unload) and save "
             "the whole", path);
    } else if (json_type(&j, alpha) != JSON_NUMBER || !(fabs(json_number(&j, alpha)) <= 1e6)) {
        fail(EX_DATAERR, "%s: lora_alpha must be a number", path);
    } else if (json_type(&j, r) != JSON_NUMBER || !(json_number(&j, r) >= 1) ||
               !(json_number(&j, r) <= 1 << 16)) {
        fail(EX_DATAERR, "%s: \"r\" must be a number from 1 to 65536", path);
    } else if (key) {
        fail(EX_DATAERR, "%s: %s is not read here; merge the adapter (merge_and_unload) and save "
             "the whole", path, key);
    } else if (changes_base(&j)) {
        fail(EX_DATAERR, "%s: init_lora_weights changed the base model too; merge the adapter "
             "(merge_and_unload) and save the whole", path);
    } else {
        const int one = json_type(&j, pattern) != JSON_OBJECT || !json_count(&j, pattern);
        s->r = one ? json_number(&j, r) : 0;
        s->alpha = json_number(&j, alpha);
        s->by_root = !json_off(&j, json_get(&j, 0, "use_rslora"));
        result = 0;
    }
done:
    json_free(&j);
    return result;
}

// What B A of rank r is multiplied by.
double adapter_scale(const AdapterSettings *s, int r) {
    return s->alpha / (s->by_root ? sqrt(r) : r);
}

// adapter_config.json of adapters over the model in the folder base, as PEFT reads it.  0, or -1
// after fail().
int adapter_config_text(Buffer *b, const Config *c, const char *base) {
    char *path = realpath(base, NULL);
    const char *comma = "";
    int result = -1;
    if (!path) return fail(EX_NOINPUT, "%s: %s", base, strerror(errno));
    if (buffer_printf(b, "{\n  \"base_model_name_or_path\": ") < 0) goto done;
    if (json_quote(b, path, strlen(path)) < 0) goto done;
    if (buffer_printf(b, ",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": %s,\n"
                      "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
                      "  \"lora_alpha\": %.17g,\n  \"lora_dropout\": 0.0,\n"
                      "  \"modules_to_save\": %s,\n  \"peft_type\": \"LORA\",\n  \"r\": %d,\n"
                      "  \"target_modules\": [", config_is_gpt2(c) ? "true" : "false",
                      c->lora_alpha, c->reward ? "[\"classifier\", \"score\"]" : "null",
                      c->lora_r) < 0) goto done;
    for (int k = 0; k < NUM_SITES; k++) {
        if (!c->lora[k]) continue;
        const char *name = target_name(adapter_matrix(c, (Site)k));
        if (buffer_printf(b, "%s\n    \"%s\"", comma, name) < 0) goto done;
        comma = ",";
    }
    result = buffer_printf(b, "\n  ],\n  \"task_type\": \"%s\"\n}\n",
                           c->reward ? "SEQ_CLS" : "CAUSAL_LM");
done:
    free(path);
    return result;
}
#endif

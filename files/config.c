/* config.c - config.json of a Hugging Face model folder, in and out.
 *
 * config_read() says which key becomes which field of Config, config_text() which field becomes
 * which key; what the families call differently stands in families[].  transformers 5 moved the
 * rotary keys into "rope_parameters" and renamed "torch_dtype": both forms are read and written.
 * A value that is missing, of another type or out of range is an error that names its key; what a
 * model could ask for and we do not have is refused by name.
 *
 * No key is passed over that could change numbers: one that is not read must be among those that
 * change none (harmless_keys), or be switched off, or else it is refused (refuse_unknown).       */
#ifndef CONFIG_C
#define CONFIG_C

#include "../model.c"
#include "file.c"
#include "gguf.c"
#include "json.c"
#include "safetensors.c"

int config_folder(const char *dir);                                 // is there such a folder?
int config_load(Config *c, const char *dir);                        // reads config.json of a folder
int config_file(char path[PATH_SIZE], const char *dir);             // or GGUF file: which it is
int is_there(const char *dir, const char *name);                    // a file in a folder
int config_base(char base[PATH_SIZE], const char *dir);             // an adapter's base model

// What config.json would be in the folder of an adapter: by that name transformers would look for
// all weights there.
#define ADAPTER_MODEL_CONFIG "more_config.json"
int config_text(Buffer *b, const Config *c, const char *dtype);     // what config.json is to say
int config_own_text(Buffer *b, const Config *c);                    // and of it our own key's value

// scaled rotary positions
int config_same_scaling(const Config *a, const Config *b);
double config_yarn_scale(double factor, double mscale);             // of cosines and sines

// kinds of families
int config_is_neox(const Config *c);
int config_is_gpt2(const Config *c);
int config_is_llama(const Config *c);                               // LLaMA and its descendants

// ----------------------------------------------------------------------- what the families call it

// One thing has several keys; the other keys are the same in all families that have them.
typedef struct {
    const char *channels, *num_layers, *num_heads, *hidden, *max_positions, *activation;
} ConfigKeys;

static const ConfigKeys gpt2_keys = {
    .channels      = "n_embd",
    .num_layers    = "n_layer",
    .num_heads     = "n_head",
    .hidden        = "n_inner",
    .max_positions = "n_positions",
    .activation    = "activation_function",
};

static const ConfigKeys common_keys = {
    .channels      = "hidden_size",
    .num_layers    = "num_hidden_layers",
    .num_heads     = "num_attention_heads",
    .hidden        = "intermediate_size",
    .max_positions = "max_position_embeddings",
    .activation    = "hidden_act",
};

typedef struct {
    const char *model_type;             // "model_type"
    const char *architecture;           // "architectures" begins with it
    const char *language_model;         // and ends with it, if it is not a reward model
    const char *prefix;                 // of tensors, unless the base model was saved alone
    const char *activation;             // the default
    const ConfigKeys *keys;
    const char *norm_eps;               // the key
} FamilyNames;

static const FamilyNames families[] = {
    [FAMILY_NEOX] = {
        .model_type = "gpt_neox", .architecture = "GPTNeoX", .language_model = "ForCausalLM",
        .prefix = "gpt_neox.", .activation = "gelu",
        .keys = &common_keys, .norm_eps = "layer_norm_eps",
    },
    [FAMILY_GPT2] = {
        .model_type = "gpt2", .architecture = "GPT2", .language_model = "LMHeadModel",
        .prefix = "transformer.", .activation = "gelu_new",
        .keys = &gpt2_keys, .norm_eps = "layer_norm_epsilon",
    },
    [FAMILY_LLAMA] = {
        .model_type = "llama", .architecture = "Llama", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
    [FAMILY_QWEN2] = {
        .model_type = "qwen2", .architecture = "Qwen2", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
    [FAMILY_QWEN3] = {
        .model_type = "qwen3", .architecture = "Qwen3", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
    [FAMILY_MISTRAL] = {
        .model_type = "mistral", .architecture = "Mistral", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
    [FAMILY_SMOLLM3] = {
        .model_type = "smollm3", .architecture = "SmolLM3", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
    [FAMILY_OLMO2] = {
        .model_type = "olmo2", .architecture = "Olmo2", .language_model = "ForCausalLM",
        .prefix = "model.", .activation = "silu",
        .keys = &common_keys, .norm_eps = "rms_norm_eps",
    },
};
_Static_assert(sizeof families / sizeof *families == NUM_FAMILIES, "a family without its names");

// Of "more": {"pooling": ..}, and the choices of --pooling, which end with NULL.
static const char *const pooling_names[NUM_POOLINGS + 1] = {
    [POOL_LAST] = "last", [POOL_EOS] = "eos", [POOL_MEAN] = "mean",
};

static const char *const rope_types[NUM_ROPE_TYPES] = {
    [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_DYNAMIC] = "dynamic",
    [ROPE_YARN] = "yarn", [ROPE_LLAMA3] = "llama3",
};

// As we write them; read_activation knows more.
static const char *const activation_names[NUM_ACTIVATIONS] = {
    [ACT_GELU_ERF] = "gelu", [ACT_GELU_TANH] = "gelu_new", [ACT_SILU] = "silu",
};

int config_is_neox(const Config *c) { return c->family == FAMILY_NEOX; }
int config_is_gpt2(const Config *c) { return c->family == FAMILY_GPT2; }

// What has RMS norms, a gated feed-forward layer, and grouped heads.
int config_is_llama(const Config *c) { return !config_is_neox(c) && !config_is_gpt2(c); }

// ----------------------------------------------------------------------------------- reading a key

/* The object that is read.  It keeps the first error and reports no other: a key that is wrong has
 * its lowest value, reading goes on, and config_load returns -1 in the end.                      */
typedef struct {
    const Json *json;
    const char *path;
    int result;                         // 0, or -1 after fail()
    unsigned char *known_memory;        // by node: has it been asked for?
} Fields;

enum { REQUIRED = INT_MIN };            // a default of a key that has none

// Our names, and values cut to 60 characters: it fits.
PRINTF_LIKE(2, 3) static void field_fail(Fields *f, const char *format, ...) {
    char reason[400];
    if (f->result < 0) return;
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    fail(EX_DATAERR, "%s: %s", f->path, reason);
    f->result = -1;
}

static void field_refuse(Fields *f, const char *name, const char *value) {
    field_fail(f, "\"%s\": %.60s is not supported", name, value);
}

// The value of that name in an object (0: the whole), or -1; null is as good as absent.
static int field_find(const Fields *f, int object, const char *name) {
    int n = json_get(f->json, object, name);
    if (n >= 0) f->known_memory[n] = 1;
    return json_type(f->json, n) == JSON_NULL ? -1 : n;
}

// The whole number n, from lo to hi, of the field of that name.
static int field_whole(Fields *f, int n, const char *name, int lo, int hi, int otherwise) {
    int64_t x = 0;
    if (n < 0 && otherwise != REQUIRED) return otherwise;
    if (json_integer(f->json, n, &x) && x >= lo && x <= hi) return (int)x;
    field_fail(f, "\"%s\" %s a whole number from %d to %d", name,
               n < 0 ? "is missing: it must be" : "must be", lo, hi);
    return lo;
}

static int field_integer(Fields *f, const char *name, int lo, int hi, int otherwise) {
    return field_whole(f, field_find(f, 0, name), name, lo, hi, otherwise);
}

static double field_number(Fields *f, int object, const char *name, double lo, double hi,
                           double otherwise) {
    int n = field_find(f, object, name);
    double x = json_number(f->json, n);
    if (n < 0) return otherwise;
    if (json_type(f->json, n) == JSON_NUMBER && x >= lo && x <= hi) return x;
    field_fail(f, "\"%s\" must be a number from %g to %g", name, lo, hi);
    return lo;
}

static int field_truth(Fields *f, int object, const char *name, int otherwise) {
    int n = field_find(f, object, name);
    JsonType type = json_type(f->json, n);
    if (n < 0) return otherwise;
    if (type == JSON_TRUE) return 1;
    if (type != JSON_FALSE) field_fail(f, "\"%s\" must be true or false", name);
    return 0;
}

static const char *field_string(Fields *f, int object, const char *name, const char *otherwise) {
    int n = field_find(f, object, name);
    if (n < 0) return otherwise;
    const char *s = json_string(f->json, n);
    if (json_type(f->json, n) == JSON_STRING && strlen(s) == json_length(f->json, n)) return s;
    field_fail(f, "\"%s\" must be a string", name);
    return "";
}

// ------------------------------------------------------------------------- reading a configuration

/* A reward model that other programs cannot read has "more_" before its family's model_type, so
 * that they do not try.  */
static const char foreign[] = "more_";

static void read_family(Fields *f, Config *c) {
    const char *type = field_string(f, 0, "model_type", "(none)");
    const size_t skip = strncmp(type, foreign, strlen(foreign)) ? 0 : strlen(foreign);
    char all[200] = "";
    if (!strcmp(type, "more_features")) {
        field_fail(f, "a reward model of features, which reads no text: a model of texts is "
                   "needed here");
        return;
    }
    for (int k = 0; k < NUM_FAMILIES; k++) {
        const char *name = families[k].model_type;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", k ? ", " : "", name);
        if (strcmp(name, type + skip)) continue;
        c->family = (Family)k;
        return;
    }
    field_fail(f, "\"model_type\": %.60s is not supported; supported are %s", type, all);
}

static void read_sizes(Fields *f, Config *c) {
    const ConfigKeys *key = families[c->family].keys;
    c->vocab_size    = field_integer(f, "vocab_size", 1, 1 << 24, REQUIRED);
    c->channels      = field_integer(f, key->channels, 1, 1 << 16, REQUIRED);
    c->num_layers    = field_integer(f, key->num_layers, 1, MAX_LAYERS, REQUIRED);
    c->num_heads     = field_integer(f, key->num_heads, 1, 1024, REQUIRED);
    int usual = config_is_gpt2(c) ? 4*c->channels : REQUIRED;
    c->hidden        = field_integer(f, key->hidden, 1, 1 << 20, usual);
    c->max_positions = field_integer(f, key->max_positions, 1, 1 << 24, REQUIRED);
}

// Grouped heads and heads of a width of their own are a matter of the LLaMAs.
static void read_heads(Fields *f, Config *c) {
    int qwen3 = c->family == FAMILY_QWEN3;
    c->num_kv_heads = c->num_heads;
    if (config_is_llama(c)) {
        const char *name = "num_key_value_heads";
        const int like_llama = c->family == FAMILY_LLAMA || c->family == FAMILY_OLMO2;
        const int absent = json_get(f->json, 0, name) < 0 && !like_llama;
        const int usual = absent ? REQUIRED : c->num_heads;     // others have a number of their own
        c->num_kv_heads = field_integer(f, name, 1, c->num_heads, usual);
    }

    // the width of a head is an equal share of the channels, if it is not given
    int given = config_is_llama(c) && field_find(f, 0, "head_dim") >= 0;
    c->head_dim = qwen3 ? 128 : c->channels / c->num_heads;
    if (given) c->head_dim = field_integer(f, "head_dim", 1, 4096, REQUIRED);
    if (!given && !qwen3 && c->channels % c->num_heads) {
        field_fail(f, "%d attention heads do not divide %d channels", c->num_heads, c->channels);
    }
    if (c->num_heads % c->num_kv_heads) {
        field_fail(f, "%d key/value heads do not divide %d attention heads", c->num_kv_heads,
                   c->num_heads);
    }
}

/* What a block consists of: norms, residuals, biases.  GPT-2 has every bias, Qwen2 those of
 * queries, keys and values; the others say so in "attention_bias", LLaMA in "mlp_bias" as well.  */
static void read_block(Fields *f, Config *c) {
    int neox = config_is_neox(c), gpt2 = config_is_gpt2(c), llama = config_is_llama(c);
    int qwen2 = c->family == FAMILY_QWEN2;
    c->rms_norm          = llama;
    c->gated             = llama;
    c->learned_positions = gpt2;
    c->parallel_residual = neox && field_truth(f, 0, "use_parallel_residual", 1);
    const int smollm3 = c->family == FAMILY_SMOLLM3;
    c->tied              = field_truth(f, 0, "tie_word_embeddings", gpt2 || smollm3);
    int attention_bias   = !qwen2 && !gpt2 && field_truth(f, 0, "attention_bias", neox);
    c->qkv_bias          = attention_bias || gpt2 || qwen2;
    c->out_bias          = attention_bias || gpt2;
    const int may_have   = c->family == FAMILY_LLAMA || smollm3;
    c->mlp_bias          = !llama || (may_have && field_truth(f, 0, "mlp_bias", 0));
    const int olmo2      = c->family == FAMILY_OLMO2;
    c->post_norm         = olmo2;
    c->qk_norm           = c->family == FAMILY_QWEN3 || olmo2;
    c->qk_wide           = olmo2;
    const char *eps = families[c->family].norm_eps;
    c->norm_eps = (float)field_number(f, 0, eps, 1e-30, 1, llama && !olmo2 ? 1e-6 : 1e-5);
}

static void read_activation(Fields *f, Config *c) {
    const FamilyNames *family = &families[c->family];
    const char *key = family->keys->activation;
    const char *name = field_string(f, 0, key, family->activation);

    // GELU by the error function, or by its approximation with tanh, which has many names
    static const char *const tanh_names[] = {
        "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate",
    };
    int by_erf = !strcmp(name, "gelu") || !strcmp(name, "gelu_python");
    int silu = !strcmp(name, "silu") || !strcmp(name, "swish"), by_tanh = 0;
    for (size_t k = 0; k < sizeof tanh_names / sizeof *tanh_names; k++) {
        if (!strcmp(tanh_names[k], name)) by_tanh = 1;
    }
    c->activation = ACT_SILU;
    if (by_erf) c->activation = ACT_GELU_ERF;
    if (by_tanh) c->activation = ACT_GELU_TANH;
    int known = config_is_llama(c) ? silu : by_erf || by_tanh;
    if (!known) field_refuse(f, key, name);
}

// "rope_parameters" or "rope_scaling": an object of numbers and names, each of them known.
static int rope_object(Fields *f, const char *name) {
    static const char *const known[] = {
        "rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "low_freq_factor",
        "high_freq_factor", "original_max_position_embeddings", "attention_factor", "beta_fast",
        "beta_slow", "mscale", "mscale_all_dim", "truncate",
    };
    const Json *j = f->json;
    const int object = field_find(f, 0, name);
    if (object >= 0 && json_type(j, object) != JSON_OBJECT) {
        field_fail(f, "\"%s\" must be an object", name);
    }
    for (int i = json_first(j, object); i >= 0; i = json_next(j, i)) {
        int is_known = json_type(j, i) == JSON_NULL;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (!strcmp(known[k], json_key(j, i))) is_known = 1;
        }
        if (json_type(j, i) == JSON_OBJECT) {
            field_fail(f, "\"%s\" by layer (\"%.40s\") is not supported", name, json_key(j, i));
        }
        if (!is_known) {
            field_fail(f, "\"%s\" has \"%.40s\", which is not supported", name, json_key(j, i));
        }
    }
    return object;
}

// Its "rope_type", which may be called "type".
static const char *rope_type(Fields *f, int object) {
    const char *type = field_string(f, object, "type", "default");
    return field_string(f, object, "rope_type", type);
}

// What a scaling consists of and what has no default.
static double scaling_number(Fields *f, int object, const char *name, double lo, double hi) {
    if (field_find(f, object, name) < 0) {
        field_fail(f, "\"%s\" is missing: the rope_type %s needs it", name, rope_type(f, object));
    }
    return field_number(f, object, name, lo, hi, lo);
}

// The positions of the first training.
static int scaling_original(Fields *f, int object) {
    const char *name = "original_max_position_embeddings";
    scaling_number(f, object, name, 1, 1 << 24);
    return field_whole(f, field_find(f, object, name), name, 1, 1 << 24, REQUIRED);
}

// LLaMA-3's scaling (model_rope_frequency in model.c).
static void read_llama3(Fields *f, Config *c, int object) {
    c->rope_factor    = scaling_number(f, object, "factor", 1, 1e6);
    c->rope_low_freq  = scaling_number(f, object, "low_freq_factor", 1e-6, 1e6);
    c->rope_high_freq = scaling_number(f, object, "high_freq_factor", 1e-6, 1e6);
    c->rope_original  = scaling_original(f, object);
    if (c->rope_high_freq <= c->rope_low_freq) {
        field_refuse(f, "high_freq_factor", "one below low_freq_factor");
    }
}

// YaRN's mscale(factor) of transformers.
double config_yarn_scale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * more_log(factor) + 1;
}

// YaRN's scaling (yarn_frequency in model.c), with the defaults that transformers has.
static void read_yarn(Fields *f, Config *c, int object) {
    const double factor = scaling_number(f, object, "factor", 1, 1e6);
    const double mscale = field_number(f, object, "mscale", 0, 1e6, 0);
    const double all_dim = field_number(f, object, "mscale_all_dim", 0, 1e6, 0);
    double attention = config_yarn_scale(factor, 1);
    if (mscale > 0 && all_dim > 0) {
        attention = config_yarn_scale(factor, mscale) / config_yarn_scale(factor, all_dim);
    }
    c->rope_factor    = factor;
    c->rope_attention = field_number(f, object, "attention_factor", 1e-6, 1e6, attention);
    c->rope_high_freq = field_number(f, object, "beta_fast", 1e-6, 1e6, 32);
    c->rope_low_freq  = field_number(f, object, "beta_slow", 1e-6, 1e6, 1);
    c->rope_original  = scaling_original(f, object);
    c->rope_exact     = !field_truth(f, object, "truncate", 1);
    if (c->rope_high_freq <= c->rope_low_freq) field_refuse(f, "beta_fast", "one below beta_slow");
}

int config_same_scaling(const Config *a, const Config *b) {
    return a->rope_type == b->rope_type
        && a->rope_factor == b->rope_factor && a->rope_low_freq == b->rope_low_freq
        && a->rope_high_freq == b->rope_high_freq && a->rope_original == b->rope_original
        && a->rope_attention == b->rope_attention && a->rope_exact == b->rope_exact;
}

// The scaling of one object; its type is default where there is none.
static void read_scaling(Fields *f, Config *c, int object) {
    const char *type = rope_type(f, object);
    int known = 0;
    c->rope_factor = 1;
    for (int k = 0; k < NUM_ROPE_TYPES; k++) {
        if (strcmp(rope_types[k], type)) continue;
        c->rope_type = (RopeType)k;
        known = 1;
    }
    if (!known) {
        field_fail(f, "\"rope_type\": %.60s is not supported; supported are default, linear, "
                   "dynamic, yarn, llama3", type);
        return;
    }
    if (c->rope_type == ROPE_DEFAULT && field_find(f, object, "factor") >= 0) {
        field_fail(f, "\"factor\" of rotary positions without a \"rope_type\" that has one");
    }
    if (c->rope_type == ROPE_LINEAR || c->rope_type == ROPE_DYNAMIC) {
        c->rope_factor = scaling_number(f, object, "factor", 1, 1e6);
    }
    if (c->rope_type == ROPE_YARN) read_yarn(f, c, object);
    if (c->rope_type == ROPE_LLAMA3) read_llama3(f, c, object);
}

/* Scaling stands in "rope_parameters", in the older "rope_scaling", or in both, and then it must be
 * the same, or that of "rope_parameters" the default, as where it was added by hand.             */
static void read_rope_scaling(Fields *f, Config *c, int parameters, int scaling) {
    const int objects[] = {parameters, scaling};
    Config read[2] = {*c, *c};
    int scaled[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        read_scaling(f, &read[i], objects[i]);
        scaled[i] = read[i].rope_type != ROPE_DEFAULT;
    }
    if (scaled[0] && scaling >= 0 && (!scaled[1] || !config_same_scaling(&read[0], &read[1]))) {
        field_fail(f, "\"rope_scaling\" and \"rope_parameters\" disagree: remove one");
    }
    *c = read[scaled[1]];
}

/* A number of "rope_parameters", or else of "rope_scaling", or else of a key beside them, which may
 * also have the name that it has in there.  Where transformers would not take the first, because
 * there is a "rope_scaling" or both keys, they must be equal.                                    */
static double rope_number(Fields *f, const char *key, const char *name, int parameters, int scaling,
                          double lo, double hi, double otherwise) {
    const double by_key = field_number(f, 0, key, lo, hi, otherwise);
    const double named = field_number(f, 0, name, lo, hi, by_key);
    const double old = field_number(f, scaling, name, lo, hi, by_key);
    const double x = field_number(f, parameters, name, lo, hi, old);
    if (named != by_key || (scaling >= 0 && x != old)) {
        field_fail(f, "\"%s\" has two values: remove the wrong one", name);
    }
    return x;
}

/* SmolLM3's layers without rotary positions: those that "no_rope_layers" has a 0 for, or without it
 * each fourth, or as "no_rope_layer_interval" says. */
static void read_unturned(Fields *f, Config *c) {
    const char *name = "no_rope_layers";
    const int list = field_find(f, 0, name), named = json_count(f->json, list);
    const int interval = field_integer(f, "no_rope_layer_interval", 1, INT_MAX, 4);
    int i = json_first(f->json, list);
    if (list >= 0 && (json_type(f->json, list) != JSON_ARRAY || named < c->num_layers)) {
        field_fail(f, "\"%s\" must be a list of a number for each of the %d layers", name,
                   c->num_layers);
        return;
    }
    for (int l = 0; l < c->num_layers; l++) {
        c->unturned[l] = (l + 1) % interval == 0;
        if (list < 0) continue;
        c->unturned[l] = field_whole(f, i, name, 0, 1, REQUIRED) == 0;
        i = json_next(f->json, i);
    }
}

// Rotary positions: transformers 5 has them in "rope_parameters", earlier ones beside other keys.
static void read_rope(Fields *f, Config *c) {
    const int neox = config_is_neox(c);
    const int parameters = rope_object(f, "rope_parameters");
    const int scaling = rope_object(f, "rope_scaling");
    const char *theta = neox ? "rotary_emb_base" : "rope_theta";
    const char *part = neox ? "rotary_pct" : "partial_rotary_factor";
    const double usual = c->family == FAMILY_SMOLLM3 ? 2000000 : 10000;
    c->rope_theta = rope_number(f, theta, "rope_theta", parameters, scaling, 1, 1e12, usual);

    // the part of a head that turns: an even number of channels, of the LLaMAs all
    const double share = rope_number(f, part, "partial_rotary_factor", parameters, scaling, 0, 1,
                                     neox ? 0.25 : 1);
    c->rotary_dims = (int)(c->head_dim * share);
    if (c->rotary_dims < 2 || c->rotary_dims % 2 || (!neox && c->rotary_dims != c->head_dim)) {
        field_refuse(f, "partial_rotary_factor", "this part of a head");
    }
    read_rope_scaling(f, c, parameters, scaling);
    if (c->family == FAMILY_SMOLLM3) read_unturned(f, c);
}

/* A window as long as all positions is none.  Qwen has one only where "use_sliding_window" says so,
 * in the layers that "layer_types" names, or without it from the layer "max_window_layers" on;
 * Mistral has one of 4096 where it is not given, in all layers.  Returns whether layers may be
 * called sliding. */
static int read_window(Fields *f, Config *c, int types) {
    const char *name = "sliding_window";
    const int mistral = c->family == FAMILY_MISTRAL;
    const int used = field_truth(f, 0, "use_sliding_window", 0) || mistral;
    const int first = field_integer(f, "max_window_layers", 0, INT_MAX, 28);
    const int is_null = json_type(f->json, json_get(f->json, 0, name)) == JSON_NULL;
    const int window = field_integer(f, name, 1, INT_MAX, is_null ? INT_MAX : 4096);
    const int named = json_count(f->json, types);
    if (types >= 0 && !mistral && named != c->num_layers) {
        field_fail(f, "\"layer_types\" names %d layers, there are %d", named, c->num_layers);
        return 0;
    }
    int any = 0, i = json_first(f->json, types);
    for (int l = 0; l < c->num_layers && used && window < c->max_positions; l++) {
        int slides = c->family == FAMILY_SMOLLM3 ? c->unturned[l] : l >= first;
        if (types >= 0) slides = json_equal(f->json, i, "sliding_attention");
        c->slides[l] = slides || mistral;
        if (c->slides[l]) any = 1;
        i = json_next(f->json, i);
    }
    if (any) c->sliding_window = window;
    return used && !mistral && !is_null;
}

// Windows; and keys that ask for something we do not have.
static void read_other_attention(Fields *f, Config *c) {
    if (config_is_gpt2(c)) {
        const char *by_layer = "scale_attn_by_inverse_layer_idx";
        const char *by_width = "scale_attn_weights";
        if (!field_truth(f, 0, by_width, 1)) field_refuse(f, by_width, "false");
        if (field_truth(f, 0, by_layer, 0)) field_refuse(f, by_layer, "true");
    }
    if (!field_truth(f, 0, "is_causal", 1)) field_refuse(f, "is_causal", "false");
    const Json *j = f->json;
    int types = field_find(f, 0, "layer_types"), may_slide = 0;
    if (types >= 0 && json_type(j, types) != JSON_ARRAY) {
        field_fail(f, "\"layer_types\" must be a list");
        return;
    }
    const int windowless = c->family == FAMILY_LLAMA || c->family == FAMILY_OLMO2;
    if (config_is_llama(c) && !windowless) may_slide = read_window(f, c, types);
    for (int i = json_first(j, types); i >= 0; i = json_next(j, i)) {
        if (json_equal(j, i, "full_attention")) continue;
        if (may_slide && json_equal(j, i, "sliding_attention")) continue;
        field_refuse(f, "layer_types", json_string(j, i));
    }
}

// Weights in another form than numbers.
static void refuse_quantization(Fields *f) {
    static const char *const names[] = {
        "quantization_config", "compression_config", "quantization"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (field_find(f, 0, names[k]) < 0) continue;
        field_fail(f, "\"%s\": quantized weights are not supported; save the model again after "
                   "dequantize(), or take the original", names[k]);
    }
}

/* The id n of a special token, -1: none.  transformers' class of GPT-2 writes 50256 where nobody
 * named another, even where the vocabulary is smaller: there it can be none of its tokens. */
static int field_token(Fields *f, int n, const char *name, const Config *c, int least,
                       int otherwise) {
    int64_t id = 0;
    const int is_whole = json_integer(f->json, n, &id);
    if (is_whole && id >= c->vocab_size && id == 50256 && config_is_gpt2(c)) return -1;
    if (is_whole && id >= c->vocab_size) {
        field_fail(f, "\"%s\" is %lld, but \"vocab_size\" is %d: set it to the id of that token, "
                   "or to null", name, (long long)id, c->vocab_size);
    }
    return field_whole(f, n, name, least, c->vocab_size - 1, otherwise);
}

// "eos_token_id" is an id, or a list of them.
static void read_ends(Fields *f, Config *c) {
    const char *name = "eos_token_id";
    const int n = field_find(f, 0, name);
    const int is_list = json_type(f->json, n) == JSON_ARRAY;
    int i = is_list ? json_first(f->json, n) : n;
    if (is_list && i < 0) {
        field_fail(f, "\"%s\" is an empty list: it must name the token that ends a text, or be "
                   "null", name);
    }
    c->eos = field_token(f, i, name, c, is_list ? 0 : -1, -1);
    if (!is_list) return;
    if (json_count(f->json, n) > 1 + MAX_MORE_EOS) {
        field_fail(f, "\"%s\" has more than %d ids", name, 1 + MAX_MORE_EOS);
        return;
    }
    for (i = json_next(f->json, i); i >= 0; i = json_next(f->json, i)) {
        const int id = field_token(f, i, name, c, 0, REQUIRED);
        if (id < 0) continue;
        c->more_eos[c->num_more_eos] = id;
        c->num_more_eos++;
    }
}

static void read_special_tokens(Fields *f, Config *c) {
    c->bos = field_token(f, field_find(f, 0, "bos_token_id"), "bos_token_id", c, -1, -1);
    c->pad = field_token(f, field_find(f, 0, "pad_token_id"), "pad_token_id", c, -1, -1);
    read_ends(f, c);
}

// The number format, which other programs read: here the weights' own is.
static void check_dtype(Fields *f) {
    field_string(f, 0, "torch_dtype", "");
    field_string(f, 0, "dtype", "");
}

// "temperature", and "isotonic", a list of [|delta|, p], both rising; of our own key.
static void read_calibration(Fields *f, Config *c, int own) {
    const Json *j = f->json;
    Isotonic *g = &c->isotonic;
    c->temperature = field_number(f, own, "temperature", 1e-6, 1e6, 0);
    const int list = field_find(f, own, "isotonic");
    if (list < 0) return;
    if (json_type(j, list) != JSON_ARRAY || json_count(j, list) > ISOTONIC_KNOTS) {
        field_fail(f, "\"isotonic\" must be a list of up to %d [|delta|, p]", ISOTONIC_KNOTS);
        return;
    }
    for (int pair = json_first(j, list); pair >= 0; pair = json_next(j, pair)) {
        const int at = json_first(j, pair), p = json_next(j, at);
        const int numbers = json_type(j, at) == JSON_NUMBER && json_type(j, p) == JSON_NUMBER;
        const double least_size = g->n ? g->size[g->n-1] : 0, least_p = g->n ? g->p[g->n-1] : 0.5;
        g->size[g->n] = json_number(j, at);
        g->p[g->n] = json_number(j, p);
        if (!numbers || json_next(j, p) >= 0 || g->size[g->n] < least_size || g->p[g->n] < least_p
            || !(g->p[g->n] < 1)) {
            field_fail(f, "\"isotonic\" must be a list of [|delta|, p], both rising, p from 1/2 "
                       "and below 1");
            return;
        }
        g->n++;
    }
}

/* A reward model is a classifier of one label, or of our own architecture where it pools as
 * transformers cannot.  "more": {"pooling": .., ..} is our own key in both.                      */
static void read_purpose(Fields *f, Config *c) {
    const Json *j = f->json;
    const int list = field_find(f, 0, "architectures");
    int of_names = list < 0 || json_type(j, list) == JSON_ARRAY;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (json_type(j, i) != JSON_STRING) of_names = 0;
    }
    if (!of_names) field_fail(f, "\"architectures\" must be a list of names");
    const char *name = json_string(j, json_first(j, list));
    int language_model = name_ends_with(name, "ForCausalLM") || name_ends_with(name, "LMHeadModel");
    int base_model = !*name || name_ends_with(name, "Model");
    int classifier = name_ends_with(name, "ForSequenceClassification");
    c->reward = classifier || !strcmp(name, "MoreRewardModel");
    if (!c->reward && !language_model && !base_model) field_refuse(f, "architectures", name);

    int labels = field_find(f, 0, "id2label");
    if (labels >= 0 && json_type(j, labels) != JSON_OBJECT) {
        field_fail(f, "\"id2label\" must be an object");
    }
    labels = field_integer(f, "num_labels", 0, 1 << 20, labels < 0 ? 1 : json_count(j, labels));
    if (c->reward && labels != 1) {
        field_fail(f, "a classifier with %d labels; a reward model has \"num_labels\": 1", labels);
    }

    const int own = field_find(f, 0, "more");
    if (own >= 0 && json_type(j, own) != JSON_OBJECT) {
        field_fail(f, "\"more\" must be an object");
    }
    read_calibration(f, c, own);
    const char *pooling = field_string(f, own, "pooling", "last");
    for (int k = 0; k < NUM_POOLINGS; k++) {
        if (strcmp(pooling_names[k], pooling)) continue;
        c->pooling = (Pooling)k;
        break;
    }
    if (strcmp(pooling_names[c->pooling], pooling)) field_refuse(f, "pooling", pooling);
    const char *type = field_string(f, 0, "model_type", "");
    const int readable = !c->reward || c->pooling != POOL_MEAN;
    if (readable && !strncmp(type, foreign, strlen(foreign))) {
        field_fail(f, "\"model_type\": %.60s with pooling %s", type, pooling);
    }
}

/* Keys of public folders that change no number of ours.  What only training or generation elsewhere
 * reads is among them: dropout, for one, is not applied here.  Those of other families are, too:
 * transformers' classes do not look at them.                                                     */
static const char *const harmless_keys[] = {
    // who wrote it, and for which programs
    "transformers_version", "name_or_path", "tokenizer_class", "finetuning_task", "auto_map",
    "task_specific_params", "custom_pipelines", "model_max_length", "max_sequence_length",
    "is_llama_config", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "n_special", "predict_special_tokens",

    // how it is computed elsewhere
    "use_cache", "cache_implementation", "attn_implementation", "gradient_checkpointing",
    "pretraining_tp", "reorder_and_upcast_attn", "chunk_size_feed_forward", "return_dict",
    "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores",
    "output_past", "is_decoder", "ignore_keys_at_rope_validation",

    // training
    "initializer_range", "attention_dropout", "attention_probs_dropout_prob", "hidden_dropout",
    "hidden_dropout_prob", "classifier_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop",

    // heads of other kinds
    "problem_type", "label2id", "summary_type", "summary_use_proj", "summary_activation",
    "summary_proj_to_labels", "summary_first_dropout",

    // generation
    "max_length", "max_new_tokens", "min_length", "do_sample", "early_stopping", "num_beams",
    "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "num_return_sequences",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
    "begin_suppress_tokens", "prefix", "sep_token_id", "decoder_start_token_id", "unk_token_id",
    "mask_token_id", "cls_token_id",

    // other families
    "n_ctx", "attention_bias", "mlp_bias", "head_dim", "num_key_value_heads", "rotary_pct",
    "use_parallel_residual", "sliding_window", "use_sliding_window", "max_window_layers",
};

// Is a key a program's note to itself: "_commit_hash", "transformers.js_config", "unsloth_fixed"?
static int is_note(const char *key) {
    return *key == '_' || strchr(key, '.') || !strncmp(key, "unsloth_", 8);
}

// After all that is known has been read.
static void refuse_unknown(Fields *f) {
    const Json *j = f->json;
    for (int i = json_first(j, 0); i >= 0; i = json_next(j, i)) {
        const char *key = json_key(j, i);
        int known = f->known_memory[i] || is_note(key) || json_off(j, i);
        for (size_t k = 0; !known && k < sizeof harmless_keys / sizeof *harmless_keys; k++) {
            known = !strcmp(harmless_keys[k], key);
        }
        if (known) continue;
        field_fail(f, "\"%.60s\" is not known here, and might change what the model computes; if "
                   "it is another program's note, remove it", key);
    }
}

static void config_read(Fields *f, Config *c) {
    read_family(f, c);
    if (f->result < 0) return;                      // the names of all other keys depend on it
    refuse_quantization(f);
    read_sizes(f, c);
    read_heads(f, c);
    read_block(f, c);
    read_activation(f, c);
    if (!config_is_gpt2(c)) read_rope(f, c);
    read_other_attention(f, c);
    read_special_tokens(f, c);
    read_purpose(f, c);
    check_dtype(f);
    refuse_unknown(f);
}

int is_there(const char *dir, const char *name) {
    char path[PATH_SIZE];
    struct stat st;
    return path_join(path, dir, name) == 0 && stat(path, &st) == 0;
}

// Is there such a folder?  0, or -1 after fail().
int config_folder(const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    if (is_there(dir, "")) return 0;
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf) return is_gguf < 0 ? -1 : 0;
    if (stat(dir, &st) == 0) {
        return fail(EX_NOINPUT, "%s: a file; a folder is needed, with config.json and "
                    "model.safetensors in it, or a .gguf file (a mixture.json is for sample, "
                    "bestof, compare, score, and eval with --reference)", dir);
    }
    return fail(EX_NOINPUT, "%s: no such folder; a model of a hub must be downloaded first", dir);
}

// Why is there no config.json?
static int fail_without_config(const char *dir) {
    if (config_folder(dir) < 0) return -1;
    if (is_there(dir, "params.json")) {
        return fail(EX_NOINPUT, "%s: params.json is its maker's own format; take the folder that "
                    "has config.json, or convert it (convert_llama_weights_to_hf.py of "
                    "transformers)", dir);
    }
    if (is_there(dir, "zero_to_fp32.py")) {
        return fail(EX_NOINPUT, "%s: parts of a model that DeepSpeed wrote: python "
                    "zero_to_fp32.py . OUT joins the weights; config.json must be beside them",
                    dir);
    }
    return fail(EX_NOINPUT, "%s: no config.json here: not a folder that save_pretrained wrote",
                dir);
}

// The file that says what the model is.  0, or -1 after fail().
int config_file(char path[PATH_SIZE], const char *dir) {
    const int is_gguf = gguf_find(path, dir);
    if (is_gguf) return is_gguf < 0 ? -1 : 0;
    return path_join(path, dir, "config.json");
}

// Of a parsed config.json; what: the path for errors.
static int config_parsed(Config *c, const Json *j, const char *what) {
    Fields f = {.json = j, .path = what};
    f.known_memory = allocate(j->num_nodes, 1);
    if (!f.known_memory) return -1;
    config_read(&f, c);
    free(f.known_memory);
    return f.result;
}

// The configuration of a GGUF file.
static int config_from_gguf(Config *c, const char *path) {
    Buffer text = {0};
    Json j = {0};
    Gguf g;
    int result = -1;
    if (gguf_open(&g, path) < 0) goto done;
    if (gguf_config(&g, &text) < 0) goto done;
    if (json_parse(&j, text.data, text.len, path) < 0) goto done;
    if (config_parsed(c, &j, path) < 0) goto done;
    result = gguf_check_rope(&g, c);
done:
    gguf_close(&g);
    json_free(&j);
    buffer_free(&text);
    return result;
}

/* If the folder dir is an adapter: base is the folder, or GGUF file, of the model that it changes,
 * which must be here and no adapter itself.  1, 0 if it is none, -1 after fail().                */
int config_base(char base[PATH_SIZE], const char *dir) {
    char path[PATH_SIZE];
    struct stat st;
    Json j = {0};
    int result = -1;
    if (!is_there(dir, "adapter_config.json")) return 0;
    if (path_join(path, dir, "adapter_config.json") < 0) return -1;
    if (json_load(&j, path) < 0) goto done;
    const int name = json_get(&j, 0, "base_model_name_or_path");
    const char *text = json_string(&j, name);
    if (json_type(&j, name) != JSON_STRING || strlen(text) != json_length(&j, name) || !*text
        || strlen(text) >= PATH_SIZE) {
        fail(EX_DATAERR, "%s: base_model_name_or_path must be the folder of the base model", path);
    } else if (stat(text, &st) < 0) {
        fail(EX_NOINPUT, "%s: base_model_name_or_path is %s, and there is no such folder here; "
             "write there where the base model is", path, text);
    } else if (is_there(text, "adapter_config.json")) {
        fail(EX_DATAERR, "%s: its base model %s is an adapter too; merge that one first (more "
             "export)", path, text);
    } else {
        strcpy(base, text);
        result = 1;
    }
done:
    json_free(&j);
    return result;
}

// Of an adapter: more_config.json, or what PEFT wrote: its base model's, and whether there is a
// reward head.
static int config_of_adapter(Config *c, const char *dir) {
    char base[PATH_SIZE], path[PATH_SIZE];
    Json j = {0};
    const int is_adapter = config_base(base, dir);
    if (!is_adapter) return fail_without_config(dir);
    if (is_adapter < 0) return -1;
    const int has_own = is_there(dir, ADAPTER_MODEL_CONFIG);
    const char *name = has_own ? ADAPTER_MODEL_CONFIG : "adapter_config.json";
    if (!has_own && config_load(c, base) < 0) return -1;
    if (path_join(path, dir, name) < 0) return -1;
    int result = json_load(&j, path);
    if (result == 0 && has_own) result = config_parsed(c, &j, path);
    if (json_equal(&j, json_get(&j, 0, "task_type"), "SEQ_CLS")) c->reward = 1;
    json_free(&j);
    return result;
}

// config.json of the folder dir, or what a GGUF file says.  0, or -1 after fail().
int config_load(Config *c, const char *dir) {
    char path[PATH_SIZE];
    Json j = {0};
    memset(c, 0, sizeof *c);
    if (folder_recover(dir) < 0) return -1;
    if (config_file(path, dir) < 0) return -1;
    if (gguf_names(path)) return config_from_gguf(c, path);
    if (!is_there(dir, "config.json")) return config_of_adapter(c, dir);
    int result = json_load(&j, path);
    if (result == 0) result = config_parsed(c, &j, path);
    json_free(&j);
    return result;
}

// ----------------------------------------------------------------------------------- writing a key

// The text in the making.  It keeps an error (of memory); what follows is of no use then.
typedef struct {
    Buffer *text;
    int result;                         // 0, or -1 after fail()
} ConfigWriter;

PRINTF_LIKE(2, 3) static void put_text(ConfigWriter *w, const char *format, ...) {
    char line[400];                     // no line is as long
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert(n >= 0 && n < (int)sizeof line);
    if (buffer_append(w->text, line, (size_t)n) < 0) w->result = -1;
}

static void put_plain(ConfigWriter *w, const char *name, const char *value) {
    put_text(w, "  \"%s\": %s,\n", name, value);
}

static void put_string(ConfigWriter *w, const char *name, const char *value) {
    put_text(w, "  \"%s\": \"%s\",\n", name, value);
}

static void put_integer(ConfigWriter *w, const char *name, int value) {
    put_text(w, "  \"%s\": %d,\n", name, value);
}

static void put_truth(ConfigWriter *w, const char *name, int value) {
    put_plain(w, name, value ? "true" : "false");
}

// A token's id, or null for none.
static void put_token(ConfigWriter *w, const char *name, int id) {
    if (id < 0) put_plain(w, name, "null");
    else put_integer(w, name, id);
}

// Of the end of text, or a list where several tokens are one.
static void put_ends(ConfigWriter *w, const Config *c) {
    if (c->num_more_eos == 0) {
        put_token(w, "eos_token_id", c->eos);
        return;
    }
    put_text(w, "  \"eos_token_id\": [%d", c->eos);
    for (int i = 0; i < c->num_more_eos; i++) put_text(w, ", %d", c->more_eos[i]);
    put_text(w, "],\n");
}

static const char *decimal(char text[40], double x) { return json_decimal(text, x, 0); }

// ------------------------------------------------------------------------- writing a configuration

static void put_architecture(ConfigWriter *w, const Config *c) {
    const FamilyNames *family = &families[c->family];
    const char *begin = family->architecture, *end = family->language_model;
    if (c->reward) end = "ForSequenceClassification";
    if (c->reward && c->pooling == POOL_MEAN) {
        begin = "MoreRewardModel";
        end = "";
    }
    put_text(w, "{\n  \"architectures\": [\"%s%s\"],\n", begin, end);
    put_text(w, "  \"model_type\": \"%s%s\",\n", *end ? "" : foreign, family->model_type);
}

static void put_sizes(ConfigWriter *w, const Config *c) {
    const ConfigKeys *key = families[c->family].keys;
    put_integer(w, "vocab_size", c->vocab_size);
    put_integer(w, key->channels, c->channels);
    put_integer(w, key->num_layers, c->num_layers);
    put_integer(w, key->num_heads, c->num_heads);
    put_integer(w, key->hidden, c->hidden);
    put_integer(w, key->max_positions, c->max_positions);
}

static void put_block(ConfigWriter *w, const Config *c) {
    const FamilyNames *family = &families[c->family];
    char eps[40];
    put_string(w, family->keys->activation, activation_names[c->activation]);
    put_plain(w, family->norm_eps, json_decimal(eps, (double)c->norm_eps, 1));
}

// The part of a head that turns, such that read_rope's (int)(head_dim * share) is exact.
static const char *rotary_share(char text[40], const Config *c) {
    double share = c->head_dim ? (double)c->rotary_dims / c->head_dim : 0;
    if ((int)(c->head_dim * share) < c->rotary_dims) share = nextafter(share, 1);
    return decimal(text, share);
}

// Which layers slide, in transformers 4's words and in 5's.
static void put_window_keys(ConfigWriter *w, const Config *c) {
    int first = 0;
    if (c->sliding_window) put_integer(w, "sliding_window", c->sliding_window);
    else if (c->family == FAMILY_MISTRAL) put_plain(w, "sliding_window", "null");
    if (!c->sliding_window || c->family == FAMILY_MISTRAL) return;
    while (!c->slides[first]) first++;
    put_truth(w, "use_sliding_window", 1);
    put_integer(w, "max_window_layers", first);
    put_text(w, "  \"layer_types\": [");
    for (int l = 0; l < c->num_layers; l++) {
        put_text(w, "%s\"%s_attention\"", l ? ", " : "", c->slides[l] ? "sliding" : "full");
    }
    put_text(w, "],\n");
}

// What only this family's config.json has.
static void put_own_keys(ConfigWriter *w, const Config *c) {
    char theta[40], share[40];
    if (config_is_neox(c)) {
        put_truth(w, "use_parallel_residual", c->parallel_residual);
        put_plain(w, "rotary_pct", rotary_share(share, c));
        put_plain(w, "rotary_emb_base", decimal(theta, c->rope_theta));
    }
    if (config_is_gpt2(c)) {
        put_integer(w, "n_ctx", c->max_positions);
        put_truth(w, "scale_attn_weights", 1);
    }
    if (config_is_llama(c)) {
        put_integer(w, "num_key_value_heads", c->num_kv_heads);
        put_integer(w, "head_dim", c->head_dim);
        put_truth(w, "mlp_bias", c->mlp_bias);
        put_plain(w, "rope_theta", decimal(theta, c->rope_theta));
    }
    put_window_keys(w, c);
    if (c->family == FAMILY_SMOLLM3) {
        put_text(w, "  \"no_rope_layers\": [");
        for (int l = 0; l < c->num_layers; l++) put_text(w, "%s%d", l ? ", " : "", !c->unturned[l]);
        put_text(w, "],\n");
    }
    if (!config_is_gpt2(c)) put_truth(w, "attention_bias", c->out_bias);
}

// "rope_type" and its numbers: members of an object that the caller opens and closes
static void put_rope_scaling(ConfigWriter *w, const Config *c) {
    char number[40];
    const int yarn = c->rope_type == ROPE_YARN;
    put_text(w, "\"rope_type\": \"%s\"", rope_types[c->rope_type]);
    if (c->rope_type == ROPE_DEFAULT) return;
    put_text(w, ", \"factor\": %s", decimal(number, c->rope_factor));
    if (c->rope_type != ROPE_LLAMA3 && !yarn) return;
    put_text(w, ", \"%s\": %s", yarn ? "beta_slow" : "low_freq_factor",
             decimal(number, c->rope_low_freq));
    put_text(w, ", \"%s\": %s", yarn ? "beta_fast" : "high_freq_factor",
             decimal(number, c->rope_high_freq));
    put_text(w, ", \"original_max_position_embeddings\": %d", c->rope_original);
    if (!yarn) return;
    put_text(w, ", \"attention_factor\": %s", decimal(number, c->rope_attention));
    put_text(w, ", \"truncate\": %s", c->rope_exact ? "false" : "true");
}

// For transformers up to 4 and from 5 on.
static void put_rope(ConfigWriter *w, const Config *c) {
    char number[40];
    if (c->rope_type != ROPE_DEFAULT) {
        put_text(w, "  \"rope_scaling\": {");
        put_rope_scaling(w, c);
        put_text(w, "},\n");
    }
    put_text(w, "  \"rope_parameters\": {");
    put_rope_scaling(w, c);
    put_text(w, ", \"rope_theta\": %s", decimal(number, c->rope_theta));
    if (config_is_neox(c)) put_text(w, ", \"partial_rotary_factor\": %s", rotary_share(number, c));
    put_text(w, "},\n");
}

// Appends the object under our own key: where the reward is read, and the calibration of more
// calibrate.  0, or -1 after fail().
int config_own_text(Buffer *b, const Config *c) {
    ConfigWriter w = {.text = b};
    char size[40], p[40];
    put_text(&w, "{\"pooling\": \"%s\"", pooling_names[c->pooling]);
    if (c->temperature > 0) put_text(&w, ", \"temperature\": %s", decimal(size, c->temperature));
    for (int k = 0; k < c->isotonic.n; k++) {
        put_text(&w, "%s[%s, %s]", k ? ", " : ", \"isotonic\": [",
                 decimal(size, c->isotonic.size[k]), decimal(p, c->isotonic.p[k]));
    }
    if (c->isotonic.n) put_text(&w, "]");
    if (c->pooling == POOL_MEAN) {
        put_text(&w, ", \"note\": \"the reward is read from the mean of the answer's rows, which "
                 "no class of transformers does\"");
    }
    put_text(&w, "}");
    return w.result;
}

static void put_reward(ConfigWriter *w, const Config *c) {
    put_integer(w, "num_labels", 1);
    put_plain(w, "id2label", "{\"0\": \"LABEL_0\"}");
    put_plain(w, "label2id", "{\"LABEL_0\": 0}");
    put_string(w, "problem_type", "regression");    // without it some programs apply a sigmoid
    put_text(w, "  \"more\": ");
    if (w->result == 0) w->result = config_own_text(w->text, c);
    put_text(w, ",\n");
}

// Appends what config.json says of c, with its weights in dtype.  0, or -1 after fail().
int config_text(Buffer *b, const Config *c, const char *dtype) {
    ConfigWriter w = {.text = b};
    put_architecture(&w, c);
    put_sizes(&w, c);
    put_block(&w, c);
    put_own_keys(&w, c);
    if (!config_is_gpt2(c)) put_rope(&w, c);
    put_truth(&w, "tie_word_embeddings", c->tied);
    put_token(&w, "bos_token_id", c->bos);
    put_ends(&w, c);
    put_token(&w, "pad_token_id", c->pad);
    if (c->reward) put_reward(&w, c);
    put_string(&w, "torch_dtype", dtype);
    put_text(&w, "  \"dtype\": \"%s\"\n}\n", dtype);
    return w.result;
}

#endif

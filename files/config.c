/* config.c - config.json of a Hugging Face model folder, in and out.
 *
 * transformers 5 moved the rotary keys into "rope_parameters" and renamed "torch_dtype": both forms are read
 * and written.  A field that is missing, of another type or out of range is an error that names it; what a
 * model could ask for and we do not have (another activation, a sliding window, ...) is refused by name.   */
#ifndef CONFIG_C
#define CONFIG_C

#include "../model.c"
#include "safetensors.c"

static const struct Names {
    const char *model_type, *architecture, *language_model, *prefix, *activation;
} families[] = {
    [FAMILY_NEOX]  = {"gpt_neox", "GPTNeoX", "ForCausalLM", "gpt_neox.", "gelu"},
    [FAMILY_GPT2]  = {"gpt2", "GPT2", "LMHeadModel", "transformer.", "gelu_new"},
    [FAMILY_LLAMA] = {"llama", "Llama", "ForCausalLM", "model.", "silu"},
    [FAMILY_QWEN2] = {"qwen2", "Qwen2", "ForCausalLM", "model.", "silu"},
    [FAMILY_QWEN3] = {"qwen3", "Qwen3", "ForCausalLM", "model.", "silu"}};

typedef struct { const Json *json; const char *path; int rope, bad; } Fields;
enum { REQUIRED = INT_MIN };

static int field(const Fields *f, int object, const char *name) {      // null is as good as absent
    int n = json_get(f->json, object, name);
    return json_type(f->json, n) == JSON_NULL ? -1 : n;
}

static int integer(Fields *f, const char *name, int lo, int hi, int otherwise) {
    int64_t x;
    int n = field(f, 0, name);
    if (json_type(f->json, n) == JSON_ARRAY) n = json_first(f->json, n);               // several eos_token_id
    if (n < 0 && otherwise != REQUIRED) return otherwise;
    if (json_integer(f->json, n, &x) && x >= lo && x <= hi) return (int)x;
    if (!f->bad)
        f->bad = fail(EX_DATAERR, "%s: \"%s\" %s a whole number from %d to %d", f->path, name,
                      n < 0 ? "is missing: it must be" : "must be", lo, hi);
    return lo;
}

static double number(Fields *f, int object, const char *name, double lo, double hi, double otherwise) {
    int n = field(f, object, name);
    double x = json_number(f->json, n);
    if (n < 0) return otherwise;
    if (json_type(f->json, n) == JSON_NUMBER && x >= lo && x <= hi) return x;
    if (!f->bad)
        f->bad = fail(EX_DATAERR, "%s: \"%s\" must be a number from %g to %g", f->path, name, lo, hi);
    return lo;
}

static int boolean(Fields *f, const char *name, int otherwise) {
    int n = field(f, 0, name), type = (int)json_type(f->json, n);
    if (n < 0) return otherwise;
    if (type != JSON_TRUE && type != JSON_FALSE && !f->bad)
        f->bad = fail(EX_DATAERR, "%s: \"%s\" must be true or false", f->path, name);
    return type == JSON_TRUE;
}

static const char *string(Fields *f, int object, const char *name, const char *otherwise) {
    int n = field(f, object, name);
    if (n < 0) return otherwise;
    if (json_type(f->json, n) == JSON_STRING && strlen(json_string(f->json, n)) == json_length(f->json, n))
        return json_string(f->json, n);
    if (!f->bad) f->bad = fail(EX_DATAERR, "%s: \"%s\" must be a string", f->path, name);
    return "";
}

static void refuse(Fields *f, const char *name, const char *value) {
    if (!f->bad) f->bad = fail(EX_DATAERR, "%s: \"%s\": %.60s is not supported", f->path, name, value);
}

// Rotary positions: transformers 5 keeps them in "rope_parameters", earlier ones beside the other keys.
static void config_rope(Fields *f, Config *c, double dims) {
    int old = field(f, 0, "rope_scaling"), neox = c->family == FAMILY_NEOX;
    int longest = c->max_positions;
    f->rope = field(f, 0, "rope_parameters");
    c->rope_theta = number(f, 0, neox ? "rotary_emb_base" : "rope_theta", 1, 1e12, 10000);
    c->rope_theta = number(f, f->rope, "rope_theta", 1, 1e12, c->rope_theta);
    dims = number(f, 0, neox ? "rotary_pct" : "partial_rotary_factor", 0, 1, dims);
    dims = number(f, f->rope, "partial_rotary_factor", 0, 1, dims);
    c->rotary_dims = (int)(c->head_dim * dims);
    if (c->rotary_dims < 2 || c->rotary_dims % 2 || (!neox && c->rotary_dims != c->head_dim))
        refuse(f, "partial_rotary_factor", "this part of a head");
    if (f->rope < 0 || (old >= 0 && json_get(f->json, f->rope, "rope_type") < 0)) f->rope = old;
    const char *type = string(f, f->rope, "rope_type", string(f, f->rope, "type", "default"));
    c->rope_factor = 1;
    if (!strcmp(type, "llama3")) {
        c->rope_factor = number(f, f->rope, "factor", 1, 1e6, 8);
        c->rope_low_freq = number(f, f->rope, "low_freq_factor", 1e-6, 1e6, 1);
        c->rope_high_freq = number(f, f->rope, "high_freq_factor", 1e-6, 1e6, 4);
        c->rope_original = (int)number(f, f->rope, "original_max_position_embeddings", 1, 1 << 24, longest);
        if (c->rope_high_freq <= c->rope_low_freq) refuse(f, "high_freq_factor", "one below low_freq_factor");
    } else if (strcmp(type, "default")) {
        refuse(f, "rope_type", type);
    }
}

static void config_read(Fields *f, Config *c) {
    const Json *j = f->json;
    const char *type = string(f, 0, "model_type", "(none)");
    for (c->family = 0; strcmp(families[c->family].model_type, type); c->family++)
        if (c->family == FAMILY_QWEN3) {
            refuse(f, "model_type", type);
            return;
        }
    int neox = c->family == FAMILY_NEOX, gpt2 = c->family == FAMILY_GPT2, llama = !neox && !gpt2;
    c->vocab_size = integer(f, "vocab_size", 1, 1 << 24, REQUIRED);
    c->channels   = integer(f, gpt2 ? "n_embd" : "hidden_size", 1, 1 << 16, REQUIRED);
    c->num_layers = integer(f, gpt2 ? "n_layer" : "num_hidden_layers", 1, MAX_LAYERS, REQUIRED);
    c->num_heads  = integer(f, gpt2 ? "n_head" : "num_attention_heads", 1, 1024, REQUIRED);
    c->hidden     = integer(f, gpt2 ? "n_inner" : "intermediate_size", 1, 1 << 20,
                            gpt2 ? 4*c->channels : REQUIRED);
    c->max_positions = integer(f, gpt2 ? "n_positions" : "max_position_embeddings", 1, 1 << 24, REQUIRED);
    c->num_kv_heads = llama ? integer(f, "num_key_value_heads", 1, c->num_heads, c->num_heads) : c->num_heads;
    int qwen3 = c->family == FAMILY_QWEN3, usual = qwen3 ? 128 : c->channels / c->num_heads;
    int given = llama && field(f, 0, "head_dim") >= 0;
    c->head_dim = given ? integer(f, "head_dim", 1, 4096, REQUIRED) : usual;
    if (!f->bad && !given && !qwen3 && c->channels % c->num_heads)
        f->bad = fail(EX_DATAERR, "%s: %d attention heads do not divide %d channels", f->path, c->num_heads,
                      c->channels);
    if (!f->bad && c->num_heads % c->num_kv_heads)
        f->bad = fail(EX_DATAERR, "%s: %d key/value heads do not divide %d attention heads", f->path,
                      c->num_kv_heads, c->num_heads);
    c->rms_norm = c->gated = llama;
    c->learned_positions = gpt2;
    c->parallel_residual = neox && boolean(f, "use_parallel_residual", 1);
    c->tied = boolean(f, "tie_word_embeddings", gpt2);
    int attention_bias = c->family != FAMILY_QWEN2 && !gpt2 && boolean(f, "attention_bias", neox);
    c->qkv_bias = attention_bias || gpt2 || c->family == FAMILY_QWEN2;
    c->out_bias = attention_bias || gpt2;
    c->mlp_bias = !llama || (c->family == FAMILY_LLAMA && boolean(f, "mlp_bias", 0));
    c->qk_norm = c->family == FAMILY_QWEN3;
    const char *eps = llama ? "rms_norm_eps" : gpt2 ? "layer_norm_epsilon" : "layer_norm_eps";
    c->norm_eps = (float)number(f, 0, eps, 1e-30, 1, llama ? 1e-6 : 1e-5);
    const char *key = gpt2 ? "activation_function" : "hidden_act";
    const char *act = string(f, 0, key, families[c->family].activation);
    int by_tanh = !strcmp(act, "gelu_new") || !strcmp(act, "gelu_fast") || !strcmp(act, "gelu_pytorch_tanh");
    c->activation = !strcmp(act, "gelu") ? ACT_GELU_ERF : by_tanh ? ACT_GELU_TANH : ACT_SILU;
    if (llama ? strcmp(act, "silu") != 0 : c->activation == ACT_SILU) refuse(f, key, act);
    if (!gpt2) config_rope(f, c, neox ? 0.25 : 1);
    if (gpt2 && !boolean(f, "scale_attn_weights", 1)) refuse(f, "scale_attn_weights", "false");
    const char *by_layer = "scale_attn_by_inverse_layer_idx";
    if (gpt2 && boolean(f, by_layer, 0)) refuse(f, by_layer, "true");
    if (llama && boolean(f, "use_sliding_window", 0)) refuse(f, "use_sliding_window", "true");
    for (int i = json_first(j, field(f, 0, "layer_types")); i >= 0; i = json_next(j, i))
        if (!json_equal(j, i, "full_attention")) refuse(f, "layer_types", json_string(j, i));
    c->bos = integer(f, "bos_token_id", -1, c->vocab_size - 1, -1);
    c->eos = integer(f, "eos_token_id", -1, c->vocab_size - 1, -1);
    c->pad = integer(f, "pad_token_id", -1, c->vocab_size - 1, -1);

    const char *name = json_string(j, json_first(j, field(f, 0, "architectures")));
    int language_model = !*name || ends_with(name, "ForCausalLM") || ends_with(name, "LMHeadModel");
    c->reward = ends_with(name, "ForSequenceClassification") || !strcmp(name, "MoreRewardModel");
    if (!c->reward && !language_model && !ends_with(name, "Model")) refuse(f, "architectures", name);
    int labels = field(f, 0, "id2label");
    labels = integer(f, "num_labels", 0, 1 << 20, labels < 0 ? 1 : json_count(j, labels));
    if (!f->bad && c->reward && labels != 1)
        f->bad = fail(EX_DATAERR, "%s: a classifier with %d labels; a reward model has \"num_labels\": 1",
                      f->path, labels);
    const char *pooling = string(f, field(f, 0, "more"), "pooling", "last");
    c->pooling = !strcmp(pooling, "eos") ? POOL_EOS : !strcmp(pooling, "mean") ? POOL_MEAN : POOL_LAST;
    if (c->pooling == POOL_LAST && strcmp(pooling, "last")) refuse(f, "pooling", pooling);
}

int checkpoint_config(Config *c, const char *dir) {
    char path[PATH_SIZE];
    Json j = {0};
    Fields f = {&j, path, -1, 0};
    memset(c, 0, sizeof *c);
    if (path_join(path, dir, "config.json") < 0) return -1;
    if (json_load(&j, path) < 0) f.bad = -1;
    else config_read(&f, c);
    json_free(&j);
    return f.bad ? -1 : 0;
}

// The shortest decimal that reads back as x (a float or a double); Python wants a float to look like one.
static const char *shortest(char text[40], double x, int is_float) {
    assert(text);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 36, "%.*g", digits, x);
        double back = strtod(text, NULL);
        if (!strchr(text, '+') && (is_float ? (float)back == (float)x : back == x)) break;
    }
    return strpbrk(text, ".e") ? text : strcat(text, ".0");
}

static int config_text(Buffer *b, const Config *c, const char *dtype) {
    static const char *const poolings[] = {[POOL_LAST] = "last", [POOL_EOS] = "eos", [POOL_MEAN] = "mean"};
    static const char *const acts[] = {
        [ACT_GELU_ERF] = "gelu", [ACT_GELU_TANH] = "gelu_new", [ACT_SILU] = "silu"};
    const struct Names *family = &families[c->family];
    int neox = c->family == FAMILY_NEOX, gpt2 = c->family == FAMILY_GPT2, llama = !neox && !gpt2, bad = 0;
    const char *architecture = family->architecture;
    const char *end = c->reward ? "ForSequenceClassification" : family->language_model;
    char eps[40], theta[40], part[40], factor[40], low[40], high[40];
    double share = c->head_dim ? (double)c->rotary_dims / c->head_dim : 0;
    if ((int)(c->head_dim * share) < c->rotary_dims) share = nextafter(share, 1);      // readers round down
    shortest(eps, (double)c->norm_eps, 1);
    shortest(theta, c->rope_theta, 0);
    shortest(part, share, 0);
    if (c->reward && c->pooling == POOL_MEAN) architecture = "MoreRewardModel", end = "";

    #define PUT(...)  (bad |= buffer_printf(b, __VA_ARGS__))
    #define INT(name, value)   PUT("  \"%s\": %d,\n", name, value)
    #define TEXT(name, value)  PUT("  \"%s\": \"%s\",\n", name, value)
    #define PLAIN(name, value) PUT("  \"%s\": %s,\n", name, value)
    #define TRUTH(name, value) PLAIN(name, (value) ? "true" : "false")
    PUT("{\n  \"architectures\": [\"%s%s\"],\n", architecture, end);
    TEXT("model_type", family->model_type);
    INT("vocab_size", c->vocab_size);
    INT(gpt2 ? "n_embd" : "hidden_size", c->channels);
    INT(gpt2 ? "n_layer" : "num_hidden_layers", c->num_layers);
    INT(gpt2 ? "n_head" : "num_attention_heads", c->num_heads);
    INT(gpt2 ? "n_inner" : "intermediate_size", c->hidden);
    INT(gpt2 ? "n_positions" : "max_position_embeddings", c->max_positions);
    TEXT(gpt2 ? "activation_function" : "hidden_act", acts[c->activation]);
    PLAIN(neox ? "layer_norm_eps" : gpt2 ? "layer_norm_epsilon" : "rms_norm_eps", eps);
    if (neox) {
        TRUTH("use_parallel_residual", c->parallel_residual);
        PLAIN("rotary_pct", part);
        PLAIN("rotary_emb_base", theta);
    }
    if (gpt2) {
        INT("n_ctx", c->max_positions);
        TRUTH("scale_attn_weights", 1);
    }
    if (llama) {
        INT("num_key_value_heads", c->num_kv_heads);
        INT("head_dim", c->head_dim);
        TRUTH("mlp_bias", c->mlp_bias);
        PLAIN("rope_theta", theta);
    }
    if (!gpt2) {
        TRUTH("attention_bias", c->out_bias);
        Buffer rope = {0};
        if (c->rope_factor > 1)
            bad |= buffer_printf(&rope, "\"rope_type\": \"llama3\", \"factor\": %s, \"low_freq_factor\": %s, "
                                 "\"high_freq_factor\": %s, \"original_max_position_embeddings\": %d",
                                 shortest(factor, c->rope_factor, 0), shortest(low, c->rope_low_freq, 0),
                                 shortest(high, c->rope_high_freq, 0), c->rope_original);
        else bad |= buffer_printf(&rope, "\"rope_type\": \"default\"");
        if (c->rope_factor > 1) PUT("  \"rope_scaling\": {%s},\n", rope.data ? rope.data : "");
        PUT("  \"rope_parameters\": {%s, \"rope_theta\": %s", rope.data ? rope.data : "", theta);
        if (neox) PUT(", \"partial_rotary_factor\": %s", part);
        PUT("},\n");
        buffer_free(&rope);
    }
    TRUTH("tie_word_embeddings", c->tied);
    for (int i = 0; i < 3; i++) {
        static const char *const name[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
        int id = i == 0 ? c->bos : i == 1 ? c->eos : c->pad;
        if (id < 0) PLAIN(name[i], "null");
        else INT(name[i], id);
    }
    if (c->reward) {
        INT("num_labels", 1);
        PLAIN("id2label", "{\"0\": \"LABEL_0\"}");
        PLAIN("label2id", "{\"LABEL_0\": 0}");
        TEXT("problem_type", "regression");                           // or some programs apply a sigmoid
        PUT("  \"more\": {\"pooling\": \"%s\"},\n", poolings[c->pooling]);
    }
    TEXT("torch_dtype", dtype);
    PUT("  \"dtype\": \"%s\"\n}\n", dtype);
    #undef PUT
    #undef INT
    #undef TEXT
    #undef PLAIN
    #undef TRUTH
    return bad;
}

#endif

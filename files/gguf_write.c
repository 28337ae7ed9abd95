/* gguf_write.c - a language model and its tokenizer as one GGUF file for llama.cpp (gguf.c has the
 * format).
 *
 * Matrices are stored in the format asked for, vectors and learned positions in F32, as llama.cpp's
 * own converter does.  In Q8_0 a matrix whose rows are no whole blocks is F16.                   */
#ifndef GGUF_WRITE_C
#define GGUF_WRITE_C

#include "checkpoint.c"
#include "gguf_tokenizer.c"
#include "../tokenizer.c"

// What stands beside the weights.
typedef struct {
    const Tokenizer *tokenizer;
    const char *name;                   // of the model, for people
    const char *chat_template;          // or NULL
    int adds_bos;                       // yes: programs put it before a text
} GgufExtras;

int gguf_save(const Model *m, const GgufExtras *x, const char *path, Dtype dtype, char sha256[65]);

// ------------------------------------------------------------------------------------------- keys

enum { ALIGNMENT = 32 };

// The text in the making, the number of its keys, and an error that lasts.
typedef struct {
    Buffer text;
    uint64_t keys;
    const char *architecture;           // before keys that begin with '.'
    int result;                         // 0, or -1 after fail()
} GgufText;

static void put_bytes(GgufText *w, const void *bytes, size_t n) {
    if (w->result == 0) w->result = buffer_append(&w->text, bytes, n);
}

static void put_u(GgufText *w, uint64_t value, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> 8*i);
    put_bytes(w, bytes, size);
}

static void put_chars(GgufText *w, const char *s, size_t n) {
    put_u(w, n, 8);
    put_bytes(w, s, n);
}

static void put_head(GgufText *w, const char *key, GgufType type) {
    char name[100];
    snprintf(name, sizeof name, "%s%s", *key == '.' ? w->architecture : "", key);
    put_chars(w, name, strlen(name));
    put_u(w, type, 4);
    w->keys++;
}

static void put_text_key(GgufText *w, const char *key, const char *s) {
    put_head(w, key, GGUF_STRING);
    put_chars(w, s, strlen(s));
}

static void put_u32_key(GgufText *w, const char *key, int value) {
    put_head(w, key, GGUF_U32);
    put_u(w, (uint64_t)value, 4);
}

static void put_f32_key(GgufText *w, const char *key, double value) {
    put_head(w, key, GGUF_F32);
    put_u(w, bits_of((float)value), 4);
}

static void put_bool_key(GgufText *w, const char *key, int value) {
    put_head(w, key, GGUF_BOOL);
    put_u(w, value != 0, 1);
}

static void put_list_key(GgufText *w, const char *key, GgufType item, size_t count) {
    put_head(w, key, GGUF_ARRAY);
    put_u(w, item, 4);
    put_u(w, count, 8);
}

// llama.cpp's numbers of what most tensors of a file are.
static int file_type(Dtype dtype) {
    switch (dtype) {
    case F32:  return 0;
    case F16:  return 1;
    case Q8_0: return 7;
    default:   return 32;               // BF16
    }
}

static void put_config_keys(GgufText *w, const Config *c, const GgufExtras *x, Dtype dtype) {
    put_text_key(w, "general.architecture", w->architecture);
    put_text_key(w, "general.type", "model");
    put_text_key(w, "general.name", x->name);
    put_u32_key(w, "general.file_type", file_type(dtype));
    if (dtype == Q8_0) put_u32_key(w, "general.quantization_version", 2);
    put_u32_key(w, ".vocab_size", c->vocab_size);
    // llama.cpp has no window for these architectures: texts up to it are the same without it
    put_u32_key(w, ".context_length", c->sliding_window ? c->sliding_window : c->max_positions);
    put_u32_key(w, ".embedding_length", c->channels);
    put_u32_key(w, ".block_count", c->num_layers);
    put_u32_key(w, ".feed_forward_length", c->hidden);
    put_u32_key(w, ".attention.head_count", c->num_heads);
    if (config_is_llama(c)) {
        put_u32_key(w, ".attention.head_count_kv", c->num_kv_heads);
        put_u32_key(w, ".attention.key_length", c->head_dim);
        put_u32_key(w, ".attention.value_length", c->head_dim);
        put_f32_key(w, ".attention.layer_norm_rms_epsilon", (double)c->norm_eps);
    } else {
        put_f32_key(w, ".attention.layer_norm_epsilon", (double)c->norm_eps);
        put_text_key(w, GGUF_ACTIVATION, activation_names[c->activation]);
    }
    if (config_is_neox(c)) put_bool_key(w, ".use_parallel_residual", c->parallel_residual);
    if (!config_is_gpt2(c)) {
        put_u32_key(w, ".rope.dimension_count", c->rotary_dims);
        put_f32_key(w, ".rope.freq_base", c->rope_theta);
    }
    if (c->rope_type == ROPE_LINEAR || c->rope_type == ROPE_YARN) {
        put_text_key(w, ".rope.scaling.type", rope_types[c->rope_type]);
        put_f32_key(w, ".rope.scaling.factor", c->rope_factor);
    }
    if (c->rope_type == ROPE_YARN) {
        put_u32_key(w, ".rope.scaling.original_context_length", c->rope_original);
    }
}

// -------------------------------------------------------------------------------------- tokenizer

// The bytes of a piece in GPT-2's alphabet.
static void put_in_alphabet(GgufText *w, const Alphabet *alphabet, const char *s, size_t n) {
    Buffer text = {0};
    for (size_t i = 0; i < n && w->result == 0; i++) {
        char character[4];
        const int len = utf8_encode(character, alphabet->code[(unsigned char)s[i]]);
        w->result = buffer_append(&text, character, (size_t)len);
    }
    put_bytes(w, text.data, text.len);
    buffer_free(&text);
}

static size_t len_in_alphabet(const Alphabet *alphabet, const char *s, size_t n) {
    size_t len = 0;
    for (size_t i = 0; i < n; i++) len += alphabet->code[(unsigned char)s[i]] < 128 ? 1 : 2;
    return len;
}

// Has the id a piece?
static int has_piece(const Tokenizer *t, int id) {
    return id < t->vocab_size && t->flags_memory[id] & (PIECE_ADDED | PIECE_IN_VOCAB);
}

static SentencePieceType piece_type(const Tokenizer *t, int id) {
    if (!has_piece(t, id)) return SP_UNUSED;
    const int flags = t->flags_memory[id];
    if (id == t->unknown && t->of_characters) return SP_UNKNOWN;
    if (flags & PIECE_BYTE) return SP_BYTE;
    if (flags & PIECE_SPECIAL) return SP_CONTROL;
    return flags & PIECE_ADDED ? SP_USER_DEFINED : SP_NORMAL;
}

// The name of a piece: what fills the list is called [PAD7], as llama.cpp's converter does.
static void put_piece(GgufText *w, const Tokenizer *t, const Alphabet *alphabet, int id) {
    char name[32];
    if (!has_piece(t, id)) {
        snprintf(name, sizeof name, "[PAD%d]", id);
        put_chars(w, name, strlen(name));
        return;
    }
    const char *s = tokenizer_piece(t, id);
    const size_t n = tokenizer_piece_len(t, id);
    if (t->flags_memory[id] & PIECE_BYTE) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned char)*s);
        put_chars(w, name, strlen(name));
    } else if (t->of_characters || t->flags_memory[id] & PIECE_ADDED) {
        put_chars(w, s, n);
    } else {
        put_u(w, len_in_alphabet(alphabet, s, n), 8);
        put_in_alphabet(w, alphabet, s, n);
    }
}

static void put_merges(GgufText *w, const Tokenizer *t, const Alphabet *alphabet) {
    put_list_key(w, "tokenizer.ggml.merges", GGUF_STRING, (size_t)t->num_merges);
    for (int i = 0; i < t->num_merges; i++) {
        const Merge *m = &t->merge_memory[i];
        const char *a = tokenizer_piece(t, m->left), *b = tokenizer_piece(t, m->right);
        const size_t a_len = tokenizer_piece_len(t, m->left);
        const size_t b_len = tokenizer_piece_len(t, m->right);
        put_u(w, len_in_alphabet(alphabet, a, a_len) + 1 + len_in_alphabet(alphabet, b, b_len), 8);
        put_in_alphabet(w, alphabet, a, a_len);
        put_bytes(w, " ", 1);
        put_in_alphabet(w, alphabet, b, b_len);
    }
}

// The name in llama.cpp of how a byte-level tokenizer cuts words, or NULL after fail().
static const char *name_of_cut(const Tokenizer *t) {
    static const struct { WordEnd *first, *last; WordCut cut; } steps[] = {
        {.last = word_end_gpt2,   .cut = CUT_GPT2},
        {.last = word_end_llama3, .cut = CUT_LLAMA3},
        {.last = word_end_qwen2,  .cut = CUT_QWEN2},
        {.first = word_end_digit, .last = word_end_gpt2, .cut = CUT_DIGIT},
    };
    const int nfc = t->num_normal == 1 && t->normal[0].kind == NORMAL_NFC;
    for (size_t k = 0; k < sizeof steps / sizeof *steps && t->num_normal == nfc; k++) {
        const int n = steps[k].first ? 2 : 1;
        if (t->num_steps != n || t->step[n-1].end != steps[k].last) continue;
        if (n == 2 && t->step[0].end != steps[k].first) continue;
        for (size_t i = 0; i < sizeof known_cuts / sizeof *known_cuts; i++) {
            const KnownCut *known = &known_cuts[i];
            if (known->cut != steps[k].cut || known->nfc != nfc) continue;
            if (known->ignore_merges == t->ignore_merges) return known->name;
        }
    }
    fail(EX_DATAERR, "the tokenizer: how it prepares texts and cuts words has no name in "
         "llama.cpp that is known here");
    return NULL;
}

/* SentencePiece's pieces, with scores for the order in which pairs are merged: minus the rank of
 * the first merge that makes the piece. */
static int spm_pieces(SentencePiece *piece, const Tokenizer *t, int n) {
    for (int id = 0; id < n; id++) {
        piece[id] = (SentencePiece){.s = "", .type = piece_type(t, id)};
        if (!has_piece(t, id)) continue;
        piece[id].s = tokenizer_piece(t, id);
        piece[id].len = tokenizer_piece_len(t, id);
        if (piece[id].type == SP_NORMAL) piece[id].score = -(float)(t->num_merges + 1);
    }
    for (int i = t->num_merges - 1; i >= 0; i--) {
        piece[t->merge_memory[i].id].score = -(float)i;
    }

    // llama.cpp has no list: are the merges those that follow from the scores?
    const SentencePieces all = {.piece = piece, .n = (size_t)n};
    Cuts c;
    int same = -1;
    if (sentencepiece_cuts(&c, &all) == 0) {
        same = c.num_cuts == (size_t)t->num_merges;
        for (int i = 0; i < t->num_merges && same; i++) {
            const Merge *m = &t->merge_memory[i];
            const Cut *cut = &c.cut[i];
            same = cut->piece == &piece[m->id] && cut->left_len == tokenizer_piece_len(t, m->left);
        }
    }
    sentencepiece_cuts_free(&c);
    if (same) return same < 0 ? -1 : 0;
    return fail(EX_DATAERR, "the tokenizer: its merges do not follow from an order of its pieces, "
                "which is all that llama.cpp has for tokenizers of SentencePiece's kind");
}

static int put_scores(GgufText *w, const Tokenizer *t, int n) {
    SentencePiece *piece = allocate((size_t)n, sizeof *piece);
    int result = -1;
    if (!piece || spm_pieces(piece, t, n) < 0) goto done;
    put_list_key(w, "tokenizer.ggml.scores", GGUF_F32, (size_t)n);
    for (int id = 0; id < n; id++) put_u(w, bits_of(piece[id].score), 4);
    result = 0;
done:
    free(piece);
    return result;
}

// Is a mark put before a text?
static int prepends_mark(const Tokenizer *t) {
    int prepends = 0;
    for (int i = 0; i < t->num_normal; i++) {
        if (t->normal[i].kind == NORMAL_PREPEND) prepends = 1;
    }
    for (int i = 0; i < t->num_steps; i++) {
        const WordStep *s = &t->step[i];
        if (s->kind == STEP_METASPACE && s->prepend != PREPEND_NEVER) prepends = 1;
    }
    return prepends;
}

static void put_id_key(GgufText *w, const char *key, int id) {
    if (id >= 0) put_u32_key(w, key, id);
}

/* The tokens that end a text: llama.cpp has keys for three.  Where there are more, a key of ours
 * has all.  */
static void put_ends_keys(GgufText *w, const Config *c, int eos) {
    static const char *const names[] = {
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
    };
    put_id_key(w, names[0], eos);
    for (int k = 0; k < c->num_more_eos && k < 2; k++) put_u32_key(w, names[k + 1], c->more_eos[k]);
    if (c->num_more_eos <= 2) return;
    put_list_key(w, GGUF_ENDS, GGUF_I32, (size_t)c->num_more_eos + 1);
    put_u(w, (uint64_t)eos, 4);
    for (int k = 0; k < c->num_more_eos; k++) put_u(w, (uint64_t)c->more_eos[k], 4);
}

// A name for each row of the embedding.
static int put_tokenizer_keys(GgufText *w, const Config *c, const GgufExtras *x) {
    const Tokenizer *t = x->tokenizer;
    const Alphabet alphabet = alphabet_make();
    const char *cut = t->of_characters ? "default" : name_of_cut(t);
    if (!cut) return -1;
    put_text_key(w, "tokenizer.ggml.model", t->of_characters ? "llama" : "gpt2");
    put_text_key(w, "tokenizer.ggml.pre", cut);
    put_list_key(w, "tokenizer.ggml.tokens", GGUF_STRING, (size_t)c->vocab_size);
    for (int id = 0; id < c->vocab_size; id++) put_piece(w, t, &alphabet, id);
    put_list_key(w, "tokenizer.ggml.token_type", GGUF_I32, (size_t)c->vocab_size);
    for (int id = 0; id < c->vocab_size; id++) put_u(w, piece_type(t, id), 4);
    if (t->of_characters) {
        if (put_scores(w, t, c->vocab_size) < 0) return -1;
        put_bool_key(w, "tokenizer.ggml.add_space_prefix", prepends_mark(t));
    } else {
        put_merges(w, t, &alphabet);
    }
    put_id_key(w, "tokenizer.ggml.bos_token_id", c->bos >= 0 ? c->bos : t->bos);
    put_ends_keys(w, c, c->eos >= 0 ? c->eos : t->eos);
    put_id_key(w, "tokenizer.ggml.padding_token_id", c->pad);
    put_bool_key(w, "tokenizer.ggml.add_bos_token", x->adds_bos);
    if (x->chat_template) put_text_key(w, "tokenizer.chat_template", x->chat_template);
    return w->result;
}

// ---------------------------------------------------------------------------------------- tensors

typedef struct {
    GgufText *text;                     // the list of tensors, in the making
    Output *out;                        // or the file, for their values
    Sha256 *sha;
    Dtype dtype;
    uint64_t count, offset;             // tensors; where the next one's values begin
} TensorWriter;

static uint32_t type_number(Dtype dtype) {
    switch (dtype) {
    case F32:  return 0;
    case F16:  return 1;
    case Q8_0: return 8;
    default:   return 30;               // BF16
    }
}

static Dtype dtype_for(Dtype dtype, const char *name, size_t cols) {
    if (cols == 0 || !strcmp(name, "position_embd.weight")) return F32;
    return dtype == Q8_0 && cols % dtype_block(Q8_0) ? F16 : dtype;
}

static uint64_t padded(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

// TakeStored: a line of the list.
static int list_tensor(void *context, const char *name, size_t rows, size_t cols,
                       const real *values) {
    TensorWriter *w = context;
    const Dtype dtype = dtype_for(w->dtype, name, cols);
    const size_t n = rows * (cols ? cols : 1);
    (void)values;
    put_chars(w->text, name, strlen(name));
    put_u(w->text, cols ? 2 : 1, 4);
    if (cols) put_u(w->text, cols, 8);
    put_u(w->text, rows, 8);
    put_u(w->text, type_number(dtype), 4);
    put_u(w->text, w->offset, 8);
    w->offset += padded(n / dtype_block(dtype) * dtype_size(dtype));
    w->count++;
    return w->text->result;
}

// TakeStored: the values, and padding behind them.
static int write_tensor(void *context, const char *name, size_t rows, size_t cols,
                        const real *values) {
    static const unsigned char zeros[ALIGNMENT];
    TensorWriter *w = context;
    const Dtype dtype = dtype_for(w->dtype, name, cols);
    const size_t size = dtype_size(dtype), block = dtype_block(dtype);
    const size_t blocks = rows * (cols ? cols : 1) / block, per_chunk = CHUNK / size;
    unsigned char chunk[CHUNK];
    float x[MAX_BLOCK], back[MAX_BLOCK];
    for (size_t first = 0; first < blocks; first += per_chunk) {
        const size_t n = blocks - first < per_chunk ? blocks - first : per_chunk;
        for (size_t k = 0; k < n; k++) {
            for (size_t i = 0; i < block; i++) x[i] = (float)values[(first + k) * block + i];
            dtype_encode_block(dtype, chunk + k * size, x);
            dtype_decode_block(dtype, back, chunk + k * size);
            for (size_t i = 0; i < block; i++) {
                if (fabsf(back[i]) <= FLT_MAX) continue;
                return fail(EX_DATAERR, "tensor %s: value %zu is %g, which %s cannot hold", name,
                            (first + k) * block + i, (double)x[i], dtype_name(dtype));
            }
        }
        if (write_hashed(w->out, w->sha, chunk, n * size) < 0) return -1;
    }
    const size_t bytes = blocks * size;
    return write_hashed(w->out, w->sha, zeros, (size_t)(padded(bytes) - bytes));
}

// LLaMA-3's scaling: what each frequency is divided by.
static int scaling_tensor(const Config *c, TakeStored *take, TensorWriter *w) {
    const int n = c->rotary_dims / 2;
    real by[2048];
    Config plain = *c;
    plain.rope_type = ROPE_DEFAULT;
    if (c->rope_type != ROPE_LLAMA3) return 0;
    for (int i = 0; i < n; i++) {
        const double f = (double)model_rope_frequency(&plain, i);
        by[i] = (real)(f / (double)model_rope_frequency(c, i));
    }
    return take(w, "rope_freqs.weight", (size_t)n, 0, by);
}

// All tensors.
static int walk_tensors(const Model *m, int with_values, TakeStored *take, TensorWriter *w) {
    if (scaling_tensor(&m->config, take, w) < 0) return -1;
    return checkpoint_gguf_tensors(m, with_values, take, w);
}

// ------------------------------------------------------------------------------------------- file

// All that stands before the values.
static int head_text(GgufText *head, const Model *m, const GgufExtras *x, Dtype dtype) {
    GgufText keys = {.architecture = gguf_architecture(&m->config)}, tensors = {.keys = 0};
    TensorWriter w = {.text = &tensors, .dtype = dtype};
    int result = -1;
    put_config_keys(&keys, &m->config, x, dtype);
    if (put_tokenizer_keys(&keys, &m->config, x) < 0) goto done;
    if (walk_tensors(m, 0, list_tensor, &w) < 0) goto done;
    put_bytes(head, "GGUF", 4);
    put_u(head, 3, 4);
    put_u(head, w.count, 8);
    put_u(head, keys.keys, 8);
    put_bytes(head, keys.text.data, keys.text.len);
    put_bytes(head, tensors.text.data, tensors.text.len);
    while (head->text.len % ALIGNMENT && head->result == 0) put_u(head, 0, 1);
    result = head->result;
done:
    buffer_free(&keys.text);
    buffer_free(&tensors.text);
    return result;
}

// llama.cpp has YaRN with the paper's numbers alone, and SmolLM3 without rotary positions in each
// fourth layer.
static int check_positions(const Config *c) {
    Config usual = *c;
    usual.rope_attention = config_yarn_scale(c->rope_factor, 1);
    usual.rope_low_freq = 1;
    usual.rope_high_freq = 32;
    usual.rope_exact = 0;
    if (c->rope_type == ROPE_YARN && !config_same_scaling(c, &usual)) {
        return fail(EX_DATAERR, "yarn with an attention_factor, beta_fast, beta_slow or truncate "
                    "of its own, for which GGUF has no key that is known here");
    }
    for (int l = 0; l < c->num_layers; l++) {
        const int want = c->family == FAMILY_SMOLLM3 && (l + 1) % 4 == 0;
        if (c->unturned[l] == want) continue;
        return fail(EX_DATAERR, "no_rope_layers other than each fourth, for which GGUF has no key");
    }
    return 0;
}

static int check_exportable(const Config *c, Dtype dtype) {
    if (c->reward) {
        return fail(EX_DATAERR, "a reward model: GGUF files are written of language models");
    }
    if (dtype != F32 && dtype != F16 && dtype != BF16 && dtype != Q8_0) {
        return fail(EX_USAGE, "%s: f32, f16, bf16 and q8_0 are written", dtype_name(dtype));
    }
    if (!gguf_architecture(c)) {
        return fail(EX_DATAERR, "%s: GGUF files are not written of this family",
                    model_family_name(c->family));
    }
    if (check_positions(c) < 0) return -1;
    if (c->rotary_dims > 4096) return fail(EX_DATAERR, "heads of more than 4096 channels");
    return 0;
}

/* Writes a language model and its tokenizer to path, whole or not at all; sha256 is that of the
 * file.  0, or -1 after fail(). */
int gguf_save(const Model *m, const GgufExtras *x, const char *path, Dtype dtype,
              char sha256[65]) {
    GgufText head = {.keys = 0};
    Output out = {.fd = -1};
    Sha256 sha;
    TensorWriter w = {.out = &out, .sha = &sha, .dtype = dtype};
    int result = -1;
    sha256_start(&sha);
    if (check_exportable(&m->config, dtype) < 0) return -1;
    if (head_text(&head, m, x, dtype) < 0) goto done;
    if (output_open(&out, path) < 0) goto done;
    if (write_hashed(&out, &sha, head.text.data, head.text.len) < 0) goto done;
    if (walk_tensors(m, 1, write_tensor, &w) < 0) goto done;
    if (output_close(&out) < 0 || output_rename(&out) < 0) goto done;
    sha256_finish(&sha, sha256);
    result = 0;
done:
    output_drop(&out);
    buffer_free(&head.text);
    return result;
}

#endif

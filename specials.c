/* specials.c - which tokens end and begin a text: what the files of a model folder say.
 *
 * The end of text is the first that is named of
 *
 *     1. "eos_token_id" of config.json, an id or a list;
 *     2. "eos_token_id" of generation_config.json;
 *     3. "eos_token" of tokenizer_config.json;
 *     4. the well-known names that the tokenizer has found in its vocabulary (tokenizer.c).
 *
 * Of a list, the one that ends a turn of the chat template is trained, or the one that
 * tokenizer_config.json calls "eos_token", or else the first; every id of both lists ends a text
 * that is generated.  A template that --template names adds its own.  What is trained is the first
 * in Config, so that it is what is written.                                                      */
#ifndef SPECIALS_C
#define SPECIALS_C

#include "template.c"
#include "tokenizer.c"
#include "files/config.c"
#include "files/gguf_tokenizer.c"

int specials_find(Tokenizer *t, Config *c, const char *dir, const char *tokenizer_file,
                  const char *template_);
int specials_need_end(const Tokenizer *t, const Config *c, const char *dir);

// *id is that of the token that tokenizer_config.json has under this name: a string, or an object
// with a "content"; -1 if it has none.  0, or -1 after fail().
static int named_token(const Tokenizer *t, const Json *j, const char *name, int *id) {
    int n = json_get(j, 0, name);
    *id = -1;
    if (json_type(j, n) <= JSON_NULL || json_equal(j, n, "")) return 0;
    if (json_type(j, n) == JSON_OBJECT) n = json_get(j, n, "content");
    if (json_type(j, n) != JSON_STRING) {
        return fail(EX_DATAERR, "tokenizer_config.json: \"%s\" must be a string, or an object with "
                    "a \"content\"", name);
    }
    *id = tokenizer_find(t, json_string(j, n), json_length(j, n));
    if (*id >= 0) return 0;
    return fail(EX_DATAERR, "tokenizer_config.json: \"%s\" is \"%.40s\", which the tokenizer "
                "does not have: name one of its tokens, or null", name, json_string(j, n));
}

static int is_end(const Tokenizer *t, int id) {
    for (int i = 0; i < t->num_ends; i++) {
        if (t->ends[i] == id) return 1;
    }
    return 0;
}

// What has no piece, or is there already, is left out.
static void add_end(Tokenizer *t, int id) {
    if (id < 0 || id >= t->vocab_size || is_end(t, id) || t->num_ends == MAX_ENDS) return;
    t->ends[t->num_ends] = id;
    t->num_ends++;
}

// "eos_token_id" of generation_config.json: null, an id, or a list of ids; but GPT-2's own, which
// its class makes up, may be beyond a smaller vocabulary.  0, or -1 after fail().
static int check_generation_ends(const Json *j, const Config *c) {
    const int n = json_get(j, 0, "eos_token_id"), is_list = json_type(j, n) == JSON_ARRAY;
    int good = !is_list || json_count(j, n) > 0;
    if (json_type(j, n) <= JSON_NULL) return 0;
    for (int i = is_list ? json_first(j, n) : n; i >= 0; i = json_next(j, i)) {
        int64_t id = -1;
        const int is_whole = json_integer(j, i, &id);
        const int is_made_up = id == 50256 && config_is_gpt2(c);
        if (!is_whole || id < 0 || (id >= c->vocab_size && !is_made_up)) good = 0;
        if (!is_list) break;
    }
    if (good) return 0;
    return fail(EX_DATAERR, "generation_config.json: \"eos_token_id\" must be a whole number from "
                "0 to %d, or a list of them, or null", c->vocab_size - 1);
}

static void add_generation_ends(Tokenizer *t, const Json *j) {
    const int n = json_get(j, 0, "eos_token_id"), is_list = json_type(j, n) == JSON_ARRAY;
    int64_t id;
    for (int i = is_list ? json_first(j, n) : n; i >= 0; i = json_next(j, i)) {
        if (json_integer(j, i, &id) && id < t->vocab_size) add_end(t, (int)id);
        if (!is_list) return;
    }
}

// A text may hold an ordinary piece anywhere, so it cannot end one.
static int may_end(const Tokenizer *t, int id, int named) {
    return id >= 0 && id < t->vocab_size && (tokenizer_is_added(t, id) || id == named);
}

// Of config.json's list, this one comes first; or before it, if it is not there.
static void put_first(Config *c, int id) {
    int at = 0;                                           // where the old first one goes
    if (id < 0 || id == c->eos) return;
    while (at < c->num_more_eos && c->more_eos[at] != id) at++;
    if (at == MAX_MORE_EOS) at--;
    if (at == c->num_more_eos) c->num_more_eos++;
    c->more_eos[at] = c->eos;
    c->eos = id;
}

// The token that ends a turn of the template, if it is not the tokenizer's end of text; or -1.
static int end_of_turn(const Tokenizer *t, const char *template_) {
    Chat chat;
    template_choose(&chat, t, template_);
    if (!chat.form || !chat.form->end || !strcmp(chat.form->end, "{eos}")) return -1;
    return template_end(&chat, t);
}

// named: the id that tokenizer_config.json has, or -1
static void choose_end(Tokenizer *t, Config *c, const Json *generation, int named,
                       const char *template_) {
    const int known = t->eos;
    const int turn = end_of_turn(t, template_);
    t->num_ends = 0;
    add_end(t, c->eos);
    for (int i = 0; i < c->num_more_eos; i++) add_end(t, c->more_eos[i]);
    const int in_config = c->eos >= 0;
    if (!in_config) add_generation_ends(t, generation);
    if (!in_config && t->num_ends == 0) add_end(t, named);
    if (!in_config && t->num_ends == 0) add_end(t, known);

    // of several, the template's or the tokenizer's own is trained
    const int first = t->num_ends ? t->ends[0] : -1;
    t->eos = named >= 0 && is_end(t, named) ? named : first;
    if (in_config) add_generation_ends(t, generation);
    if (template_) add_end(t, turn);
    if (turn >= 0 && is_end(t, turn)) t->eos = turn;
    if (!may_end(t, t->eos, named)) t->eos = -1;
    if (in_config) put_first(c, t->eos);
    else c->eos = t->eos;
}

/* Settles t->eos, t->ends and t->bos, and c->eos if it is not there, for the model folder dir, or
 * for a fresh model if it is NULL, the tokenizer of tokenizer_file, and the chat template that is
 * named, if one is.  t->eos is -1 if there is none.  0, or -1 after fail().                      */
int specials_find(Tokenizer *t, Config *c, const char *dir, const char *tokenizer_file,
                  const char *template_) {
    Json generation = {0}, settings = {0};
    char config[PATH_SIZE];
    int result = -1, eos, bos;
    if (dir && is_there(dir, "")) {
        if (path_join(config, dir, "config.json") < 0) goto done;
        if (json_load_beside(&generation, config, "generation_config.json") < 0) goto done;
    }
    if (beside_tokenizer(&settings, tokenizer_file, "tokenizer_config.json") < 0) goto done;
    if (check_generation_ends(&generation, c) < 0) goto done;
    if (named_token(t, &settings, "eos_token", &eos) < 0) goto done;
    if (named_token(t, &settings, "bos_token", &bos) < 0) goto done;
    choose_end(t, c, &generation, eos, template_);
    if (may_end(t, c->bos, bos)) t->bos = c->bos;
    else if (bos >= 0) t->bos = bos;
    result = 0;
done:
    json_free(&generation);
    json_free(&settings);
    return result;
}

// 0, or -1 after fail() with the reason why there is no end of text.
int specials_need_end(const Tokenizer *t, const Config *c, const char *dir) {
    if (t->eos >= 0) return 0;
    if (c->eos < 0) {
        return fail(EX_DATAERR, "%s: no end of text: set \"eos_token_id\" in config.json to the id "
                    "of an added token that ends one, as <|endoftext|> or </s> do", dir);
    }
    if (c->eos >= t->vocab_size) {
        return fail(EX_DATAERR, "%s: \"eos_token_id\" of config.json is %d, but the tokenizer has "
                    "%d pieces: set it to the id of the token that ends a text", dir, c->eos,
                    t->vocab_size);
    }
    return fail(EX_DATAERR, "%s: \"eos_token_id\" of config.json is %d, which is the ordinary "
                "piece \"%.*s\": set it to the id of the added token that ends a text", dir, c->eos,
                (int)tokenizer_piece_len(t, c->eos), tokenizer_piece(t, c->eos));
}

#endif

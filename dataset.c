/* dataset.c - a file of JSON lines to records: a prompt and its answers, as tokens.
 *
 * Every shape is first brought to one form, a prompt text and n answer texts with a score each; one common
 * path then tokenises, cuts, drops and counts.  A file is rows line by line, or one JSON array of them.  The
 * keys of a row decide its shape, other keys are ignored, null is absent:
 *
 *     text        {"text": ""}
 *     prompt      {"prompt": P}
 *     completion  {"prompt": P, "completion": A}     also with "output"; or messages of which the last is A
 *     point       ... the same with "label", "score" or "kto_tag"
 *     pair        {"prompt": P, "chosen": A, "rejected": A}
 *     ranking     {"prompt": P, "completions": [A, ...]}      best first, or with "ranks" or "scores"
 *                 {"prompt": P, "answers": [{"answer": A, "rank": 1}, ...]}
 *                 {"text": ["", ...], "score": [1, ...]}
 *
 *     P = "" | [messages];   A = "" | [messages] | message
 *     message = {"role" or "from": "user", "content" or "value": ""}
 *     "prompt": P may also be "instruction": "" with "input", "history" and "system"; "conversations" or
 *     "messages": [messages] with "system"; or absent: then every answer is a whole text.
 *
 * A string stands as it is.  Messages are rendered by the template `plain`, the form of the Anthropic HH
 * data: a turn is "\n\nSystem: ", "\n\nHuman: " or "\n\nAssistant: " and its content, the prompt ends with
 * "\n\nAssistant:", the answer is " " and its content; `none` joins the bare contents.  Where answers are
 * whole texts, the prompt is their longest common prefix cut at its last role marker, else before its last
 * space.  A conversation that ends with the assistant's message is a completion: whoever wants the whole
 * text joins prompt and answer.                                                                            */
#ifndef DATASET_C
#define DATASET_C

#include "common.h"
#include "tokenizer.c"

enum DataKind { DATA_DOCUMENT, DATA_PROMPT, DATA_COMPLETION, DATA_PAIR, DATA_POINT, DATA_RANKING };
const char *const data_kind_name[] = {"text", "prompt", "completion", "pair", "point", "ranking"};

enum { MAX_ANSWERS = 256 };                        // of one row

typedef struct { size_t start; int len; } Span;    // token[start .. start+len)

typedef struct {
    Span tokens;                                   // no end-of-text token appended
    int chars;                                     // code points before any cut
    float score;                                   // label, score or rank as given; a pair has 1 and 0
    int cut;                                       // yes: its end was cut off
    double ref_logp;                               // log-probability under the starting model, by policy.c
} Answer;

typedef struct {
    Span prompt;
    int first, count;                              // answer[first .. first+count), the best one first
    size_t line, line_start, line_len;             // the row is contents.data[line_start .. line_start+line_len)
    float margin, weight;
    unsigned long long prompt_id;                   // hash of the whole prompt, or if empty of an answer
} Record;

typedef struct {
    char *path, name[64];
    enum DataKind kind;
    Buffer contents;                               // the file as read
    int *token;
    size_t num_tokens, token_capacity;
    Record *record;                                // rows = num_records + dropped + tied
    size_t num_records, record_capacity;
    Answer *answer;
    size_t num_answers, answer_capacity;
    size_t rows, dropped, tied;                    // dropped: too long; tied: equal in text or score
    size_t bad;                                    // rows left out by DataOptions.bad_row; not in rows
    size_t truncated, cut_prompts, cut_answers;    // records that lost tokens; of the prompt; of an answer
} Dataset;

typedef struct {
    int max_length;                                // prompt + answer + end of text; 0 = no limit
    int max_prompt_length;                         // prompts are cut from the left to this; 0 = no own limit
    enum { OVER_DROP, OVER_TRUNCATE, OVER_RAISE } over_length;          // an answer longer than what is left
    const char *template_;                         // "plain" (also NULL) or "none"
    const char *prompt_key, *chosen_key, *rejected_key;                 // NULL = the names above
    int as_given;                                  // for scoring: ties and rankings stay, in the row's order
    void (*bad_row)(void *to);                     // NULL: a bad row is an error; else it is told (error_text
    void *to;                                      // says file, line and why), and the row is left out
    int plain_text;                                // a file without rows is one prompt as it stands
    const Buffer *rows;                            // what the file would hold, or NULL: it is read
} DataOptions;

// --------------------------------------------------------------------------------- a row in its normal form

typedef struct { size_t start, len; float score; } Piece;               // Reader.text[start .. start+len)

typedef struct {
    const DataOptions *o;
    const Tokenizer *t;
    Dataset *d;
    const char *prompt_key, *chosen_key, *rejected_key;
    size_t at, line, line_start, line_len;         // where reading goes on; the row being read
    int array;                                     // the file is one JSON array of rows
    Json json;
    Buffer text;                                   // the row's texts, one after the other
    enum DataKind kind;
    enum { NO_PROMPT, STRING_PROMPT, CHAT_PROMPT } prompt_form;
    enum { STRING_ANSWER, MESSAGE_ANSWER, CONVERSATION } answer_form;   // a conversation contains its prompt
    Piece prompt, answer[MAX_ANSWERS];
    int n;                                         // answers
    float margin, weight;
} Reader;

PRINTF_LIKE(2, 3) static int bad_row(const Reader *r, const char *format, ...) {
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return fail(EX_DATAERR, "%s:%zu: %s", r->d->path, r->line, why);
}

// The value of a key, or -1 where there is none or it is null.
static int get(const Reader *r, int object, const char *key) {
    int v = json_get(&r->json, object, key);
    return json_type(&r->json, v) == JSON_NULL ? -1 : v;
}

static int read_number(const Reader *r, int v, const char *key, float *out) {
    double x = json_number(&r->json, v);
    if (json_type(&r->json, v) != JSON_NUMBER || fabs(x) > FLT_MAX)
        return bad_row(r, "\"%s\" must be a number", key);
    *out = (float)x;
    return 0;
}

static int add_string(Reader *r, int v, const char *key) {
    if (json_type(&r->json, v) != JSON_STRING) return bad_row(r, "\"%s\" must be a string", key);
    return buffer_append(&r->text, json_string(&r->json, v), json_length(&r->json, v));
}

// ------------------------------------------------------------------------------------------- the template

enum { SYSTEM, USER, ASSISTANT };
static const char *const turn_marker[] = {"\n\nSystem:", "\n\nHuman:", "\n\nAssistant:"};
static const struct { const char *name; int role; } role_name[] = {
    {"system", SYSTEM}, {"user", USER}, {"human", USER}, {"assistant", ASSISTANT}, {"gpt", ASSISTANT},
};

static int plain(const Reader *r) { return !r->o->template_ || strcmp(r->o->template_, "none") != 0; }
static const char *marker(const Reader *r, int role) { return plain(r) ? turn_marker[role] : ""; }

// A turn: its marker, a space and the content; the marker alone where the content is empty.
static int add_turn(Reader *r, int role, int content, const char *key) {
    int space = plain(r) && json_length(&r->json, content) > 0;
    if (buffer_printf(&r->text, "%s%s", marker(r, role), space ? " " : "") < 0) return -1;
    return add_string(r, content, key);
}

static int add_message(Reader *r, int message, int *role) {
    const Json *j = &r->json;
    int who = get(r, message, "role"), what = get(r, message, "content");
    if (who < 0) who = get(r, message, "from");
    if (what < 0) what = get(r, message, "value");
    if (who < 0 || what < 0)
        return bad_row(r, "a message must be {\"role\": ..., \"content\": ...} or "
                       "{\"from\": ..., \"value\": ...}");
    for (size_t i = 0; i < sizeof role_name / sizeof *role_name; i++) {
        if (!json_equal(j, who, role_name[i].name)) continue;
        *role = role_name[i].role;
        return add_turn(r, *role, what, "content");
    }
    return bad_row(r, "unknown role \"%.40s\": use system, user or assistant", json_string(j, who));
}

// One message or a list of them, without the last `leave`; the roles of the first and the last one rendered.
static int add_messages(Reader *r, int list, int leave, int *first, int *last) {
    const Json *j = &r->json;
    int n = json_count(j, list) - leave;
    *first = *last = -1;
    if (json_type(j, list) == JSON_OBJECT) return add_message(r, list, last) < 0 ? -1 : (*first = *last, 0);
    if (json_type(j, list) != JSON_ARRAY || n < 1)
        return bad_row(r, "messages must be a list, not empty, with something before the answer");
    for (int i = json_first(j, list), k = 0; k < n; i = json_next(j, i), k++) {
        if (add_message(r, i, last) < 0) return -1;
        if (k == 0) *first = *last;
    }
    return 0;
}

static int add_system(Reader *r, int row) {
    int system = get(r, row, "system"), empty = json_equal(&r->json, system, "");
    return system < 0 || empty ? 0 : add_turn(r, SYSTEM, system, "system");
}

// "instruction" after "system" and "history" ([[question, answer], ...]), "input" on a line of its own.
static int add_instruction(Reader *r, int row, int instruction) {
    const Json *j = &r->json;
    int history = get(r, row, "history"), input = get(r, row, "input");
    if (add_system(r, row) < 0) return -1;
    if (history >= 0 && json_type(j, history) != JSON_ARRAY)
        return bad_row(r, "\"history\" must be a list of [question, answer]");
    for (int turn = json_first(j, history); turn >= 0; turn = json_next(j, turn)) {
        int q = json_first(j, turn), a = json_next(j, q);
        if (json_type(j, turn) != JSON_ARRAY || json_count(j, turn) != 2)
            return bad_row(r, "\"history\" must be a list of [question, answer]");
        if (add_turn(r, USER, q, "history") < 0 || add_turn(r, ASSISTANT, a, "history") < 0) return -1;
    }
    if (add_turn(r, USER, instruction, "instruction") < 0) return -1;
    if (input < 0 || json_equal(j, input, "")) return 0;
    if (json_length(j, instruction) && buffer_append(&r->text, "\n", 1) < 0) return -1;
    return add_string(r, input, "input");
}

// ------------------------------------------------------------------------------- one row to its normal form

// The prompt, wherever it stands; of a conversation that holds the answer (told) the last message stays out.
static int add_prompt(Reader *r, int row, int talk, int told) {
    int prompt = told ? -1 : get(r, row, r->prompt_key), instruction = told ? -1 : get(r, row, "instruction");
    int first, last = USER;
    r->prompt_form = CHAT_PROMPT;
    if (json_type(&r->json, prompt) == JSON_STRING) {
        r->prompt_form = STRING_PROMPT;
        if (add_string(r, prompt, r->prompt_key) < 0) return -1;
    } else if (prompt >= 0) {
        if (json_type(&r->json, prompt) != JSON_ARRAY)
            return bad_row(r, "\"%s\" must be a string or a list of messages", r->prompt_key);
        if (add_messages(r, prompt, 0, &first, &last) < 0) return -1;
    } else if (r->o->prompt_key && !told) {
        return bad_row(r, "no \"%s\", which --prompt_key names", r->prompt_key);
    } else if (instruction >= 0) {
        if (add_instruction(r, row, instruction) < 0) return -1;
    } else if (talk >= 0) {
        if (add_system(r, row) < 0 || add_messages(r, talk, told, &first, &last) < 0) return -1;
    } else {
        r->prompt_form = NO_PROMPT;
    }
    if (last == ASSISTANT)
        return bad_row(r, "the prompt must end with the user's message, not the assistant's");
    if (r->prompt_form == CHAT_PROMPT && buffer_printf(&r->text, "%s", marker(r, ASSISTANT)) < 0) return -1;
    r->prompt = (Piece){0, r->text.len, 0};
    return 0;
}

static int is_assistant(const Reader *r, int message) {
    int role = get(r, message, "role");
    if (role < 0) role = get(r, message, "from");
    return json_equal(&r->json, role, "assistant") || json_equal(&r->json, role, "gpt");
}

static int answer_form(const Reader *r, int v) {
    if (json_type(&r->json, v) == JSON_OBJECT) return MESSAGE_ANSWER;
    if (json_type(&r->json, v) != JSON_ARRAY) return STRING_ANSWER;
    return is_assistant(r, json_first(&r->json, v)) ? MESSAGE_ANSWER : CONVERSATION;
}

static int add_answer(Reader *r, int v, const char *key, float score) {
    int first = ASSISTANT, last = ASSISTANT, form = answer_form(r, v);
    if (r->n == MAX_ANSWERS) return bad_row(r, "more than %d answers", MAX_ANSWERS);
    if (r->n == 0) r->answer_form = form;
    if (form != (int)r->answer_form || (r->prompt_form == STRING_PROMPT && form == MESSAGE_ANSWER))
        return bad_row(r, "prompt and answers must all be strings or all be messages");
    if (r->prompt_form == NO_PROMPT && form == MESSAGE_ANSWER)
        return bad_row(r, "the answers have no prompt");
    Piece *a = &r->answer[r->n++];
    a->start = r->text.len;
    a->score = score;
    if (form == STRING_ANSWER && r->prompt_form != CHAT_PROMPT) {
        if (add_string(r, v, key) < 0) return -1;
    } else if (form == STRING_ANSWER) {
        if (add_turn(r, ASSISTANT, v, key) < 0) return -1;
    } else if (add_messages(r, v, 0, &first, &last) < 0) {
        return -1;
    }
    if (last != ASSISTANT || (form == MESSAGE_ANSWER && first != ASSISTANT))
        return bad_row(r, "an answer must be the assistant's message");
    if (r->prompt_form == CHAT_PROMPT && form != CONVERSATION) a->start += strlen(marker(r, ASSISTANT));
    a->len = r->text.len - a->start;
    return 0;
}

// Where the prompt ends that s[0 .. n) begins with: after the last role marker, else before the last space.
static size_t prompt_end(const char *s, size_t n) {
    static const char *const names[] = {"Human:", "User:", "Assistant:", "System:", "<|user|>",
                                        "<|assistant|>", "<|im_start|>user", "<|im_start|>assistant"};
    size_t end = 0, space = 0;
    for (size_t line = 0; line < n; line++) {                // a marker begins a line, perhaps after "## "
        size_t i = line;
        if (isspace((unsigned char)s[line])) space = line;
        if (line && s[line-1] != '\n') continue;
        while (i < n && (s[i] == '#' || s[i] == ' ')) i++;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            size_t len = strlen(names[k]);
            if (len <= n - i && !memcmp(s + i, names[k], len)) end = i + len;
        }
    }
    return end ? end : space;
}

// Whole texts: their common beginning becomes the prompt.
static void split_prompt(Reader *r) {
    const char *s = r->text.data;
    size_t n = r->answer[0].len;
    for (int i = 1; i < r->n; i++) {
        size_t k = 0;
        while (k < n && k < r->answer[i].len && s[r->answer[0].start + k] == s[r->answer[i].start + k]) k++;
        n = k;
    }
    n = prompt_end(s + r->answer[0].start, n);
    r->prompt = (Piece){r->answer[0].start, n, 0};
    for (int i = 0; i < r->n; i++) r->answer[i].start += n, r->answer[i].len -= n;
}

// The answers of a list, best first: in their order, or sorted by the list `by` (direction 1: small is good).
static int add_ranking(Reader *r, int list, int by, const char *key, int direction) {
    const Json *j = &r->json;
    int nectar = !strcmp(key, "rank"), n = json_count(j, list);
    if (json_type(j, list) != JSON_ARRAY || n < 2)
        return bad_row(r, "a ranking must be a list of two or more answers");
    if (by >= 0 && (json_type(j, by) != JSON_ARRAY || json_count(j, by) != n))
        return bad_row(r, "\"%s\" must be a list of %d numbers, one for each answer", key, n);
    int k = json_first(j, by);
    for (int v = json_first(j, list); v >= 0; v = json_next(j, v), k = json_next(j, k)) {
        float score = (float)(r->n + 1);
        if (nectar && read_number(r, get(r, v, "rank"), key, &score) < 0) return -1;
        if (by >= 0 && read_number(r, k, key, &score) < 0) return -1;
        if (add_answer(r, nectar ? get(r, v, "answer") : v, "answer", score) < 0) return -1;
    }
    for (int i = 1; i < n && !r->o->as_given; i++) {         // insertion sort: ties keep their order
        Piece a = r->answer[i];
        for (k = i; k > 0 && (float)direction * r->answer[k-1].score > (float)direction * a.score; k--)
            r->answer[k] = r->answer[k-1];
        r->answer[k] = a;
    }
    return 0;
}

// The label of a point: true, false or a number, under one of three names.
static int read_label(Reader *r, int label, int score, int kto, float *out) {
    int v = label >= 0 ? label : score >= 0 ? score : kto;
    JsonType type = json_type(&r->json, v);
    if ((label >= 0) + (score >= 0) + (kto >= 0) > 1)
        return bad_row(r, "keep one of \"label\", \"score\" and \"kto_tag\"");
    if (type == JSON_TRUE || type == JSON_FALSE) return *out = type == JSON_TRUE, 0;
    if (type != JSON_NUMBER) return bad_row(r, "the label must be true, false or a number");
    return read_number(r, v, "label", out);
}

static int read_row(Reader *r) {
    const Json *j = &r->json;
    int chosen = get(r, 0, r->chosen_key), rejected = get(r, 0, r->rejected_key);
    int list = get(r, 0, "completions"), nectar = get(r, 0, "answers"), text = get(r, 0, "text");
    int ranks = get(r, 0, "ranks"), scores = get(r, 0, "scores"), score = get(r, 0, "score");
    int answer = get(r, 0, "completion"), talk = get(r, 0, "conversations");
    int label = get(r, 0, "label"), kto = get(r, 0, "kto_tag"), point = label >= 0 || score >= 0 || kto >= 0;
    int margin = get(r, 0, "margin"), weight = get(r, 0, "weight");
    int texts = json_type(j, text) == JSON_ARRAY, ranking = list >= 0 || nectar >= 0 || texts;
    int pair = chosen >= 0 || rejected >= 0;
    if (talk < 0) talk = get(r, 0, "messages");
    if (answer < 0) answer = get(r, 0, "output");

    r->n = 0;
    r->margin = 0;
    r->weight = 1;
    r->text.len = 0;
    if (buffer_append(&r->text, "", 0) < 0) return -1;
    if (json_type(j, 0) != JSON_OBJECT) return bad_row(r, "a row must be a JSON object");
    if (margin >= 0 && read_number(r, margin, "margin", &r->margin) < 0) return -1;
    if (weight >= 0 && read_number(r, weight, "weight", &r->weight) < 0) return -1;
    if (r->weight < 0) return bad_row(r, "\"weight\" must not be negative");
    if (list >= 0 && get(r, 0, "labels") >= 0)
        return bad_row(r, "\"completions\" with \"labels\" is step-wise data, which is not supported");
    if (pair && (chosen < 0 || rejected < 0))
        return bad_row(r, "no \"%s\" beside \"%s\"", chosen < 0 ? r->chosen_key : r->rejected_key,
                       chosen < 0 ? r->rejected_key : r->chosen_key);

    int alone = !pair && !ranking && text < 0, told = 0;     // one answer, or a prompt alone
    if (alone && answer < 0) {                               // the answer is the last message, unless the
        int last = json_first(j, talk);                      // user has the last word
        while (json_next(j, last) >= 0) last = json_next(j, last);
        if (json_type(j, talk) == JSON_ARRAY && is_assistant(r, last)) told = 1, answer = last;
    }
    r->kind = pair ? DATA_PAIR : ranking ? DATA_RANKING : text >= 0 ? DATA_DOCUMENT
            : answer < 0 ? DATA_PROMPT : point ? DATA_POINT : DATA_COMPLETION;
    r->prompt_form = NO_PROMPT;
    r->prompt = (Piece){0, 0, 0};
    if (r->kind == DATA_DOCUMENT) {
        if (json_length(j, text) == 0) return bad_row(r, "\"text\" must be a string that is not empty");
        return add_answer(r, text, "text", 0);
    }
    if (add_prompt(r, 0, talk, told) < 0) return -1;
    if (r->prompt_form == NO_PROMPT && alone)
        return bad_row(r, "unknown shape: the keys do not say whether this is a text, a pair, a completion "
                       "or a ranking");
    if (r->kind == DATA_PAIR) {
        if (add_answer(r, chosen, r->chosen_key, 1) < 0) return -1;
        if (add_answer(r, rejected, r->rejected_key, 0) < 0) return -1;
    } else if (texts) {
        if (score < 0) return bad_row(r, "\"text\" is a list, but there is no \"score\"");
        if (add_ranking(r, text, score, "score", -1) < 0) return -1;
    } else if (nectar >= 0) {
        if (add_ranking(r, nectar, -1, "rank", 1) < 0) return -1;
    } else if (list >= 0 && ranks < 0 && scores >= 0) {
        if (add_ranking(r, list, scores, "scores", -1) < 0) return -1;
    } else if (list >= 0) {
        if (add_ranking(r, list, ranks, "ranks", 1) < 0) return -1;
    } else if (r->kind != DATA_PROMPT) {
        float value = 0;
        if (point && read_label(r, label, score, kto, &value) < 0) return -1;
        if (add_answer(r, answer, "completion", value) < 0) return -1;
    }
    if (r->n && (r->prompt_form == NO_PROMPT || r->answer_form == CONVERSATION)) split_prompt(r);
    for (int i = 0; i < r->n; i++)
        if (!r->answer[i].len) return bad_row(r, "an answer is empty; remove the row or complete it");
    return 0;
}

// ----------------------------------------------------------------------- from the normal form to tokens

static int same_text(const Reader *r, int a, int b) {
    const Piece *x = &r->answer[a], *y = &r->answer[b];
    return x->len == y->len && !memcmp(r->text.data + x->start, r->text.data + y->start, x->len);
}

static int code_points(const char *s, size_t n) {
    int count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static int tokenize_piece(Reader *r, const Piece *p, Span *out) {
    Dataset *d = r->d;
    *out = (Span){d->num_tokens, 0};
    const char *text = r->text.data + p->start;
    if (tokenizer_encode(r->t, text, p->len, &d->token, &d->num_tokens, &d->token_capacity) < 0)
        return error_code == EX_DATAERR ? bad_row(r, "%s", error_text) : -1;
    if (d->num_tokens - out->start > INT_MAX / 4)
        return bad_row(r, "a text of more than %d tokens", INT_MAX / 4);
    out->len = (int)(d->num_tokens - out->start);
    return 0;
}

static unsigned long long hash_text(const char *s, size_t n) {          // FNV-1a
    unsigned long long hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) hash = (hash ^ (unsigned char)s[i]) * 0x100000001b3u;
    return hash;
}

/* Tokenises, cuts the prompt from the left and the answers from the right, drops and counts.  How long a text
 * may be depends on the prompt at most, never on the other answers.                                        */
static int keep_row(Reader *r) {
    Dataset *d = r->d;
    const DataOptions *o = r->o;
    const Piece *key = r->prompt.len || !r->n ? &r->prompt : &r->answer[0];
    const size_t tokens = d->num_tokens;
    int same = r->n == 2 && same_text(r, 0, 1);
    if (r->kind == DATA_PAIR && same && !o->as_given) return d->tied++, 0;
    if (same) r->answer[1].score = r->answer[0].score;
    if (d->num_answers > INT_MAX - MAX_ANSWERS)
        return bad_row(r, "more than %d answers in one file", INT_MAX - MAX_ANSWERS);
    Record x = {.first = (int)d->num_answers, .count = r->n, .line = r->line, .line_start = r->line_start,
                .line_len = r->line_len, .margin = r->margin, .weight = r->weight,
                .prompt_id = hash_text(r->text.data + key->start, key->len)};
    if (reserve(&d->record, &d->record_capacity, d->num_records + 1, sizeof x) < 0
        || reserve(&d->answer, &d->answer_capacity, d->num_answers + (size_t)r->n + 1, sizeof *d->answer) < 0
        || tokenize_piece(r, &r->prompt, &x.prompt) < 0) return -1;

    int limit = o->max_prompt_length ? o->max_prompt_length : o->max_length ? o->max_length - 2 : INT_MAX;
    int cut_prompt = x.prompt.len > limit, cut_answer = 0;
    if (cut_prompt) x.prompt.start += (size_t)(x.prompt.len - limit), x.prompt.len = limit;
    int beside = o->max_prompt_length && r->kind != DATA_DOCUMENT ? o->max_prompt_length : x.prompt.len;
    int room = o->max_length ? o->max_length - beside - 1 : INT_MAX;   // at least 1, by check_options
    for (int i = 0; i < r->n; i++) {
        Answer *a = &d->answer[d->num_answers + (size_t)i];
        *a = (Answer){.score = r->answer[i].score};
        a->chars = code_points(r->text.data + r->answer[i].start, r->answer[i].len);
        if (tokenize_piece(r, &r->answer[i], &a->tokens) < 0) return -1;
        if (a->tokens.len <= room) continue;
        if (o->over_length == OVER_RAISE)
            return bad_row(r, "an answer has %d tokens, the limit is %d; raise --max_length or choose "
                           "--over_length", a->tokens.len, room);
        if (o->over_length == OVER_DROP) return d->num_tokens = tokens, d->dropped++, 0;
        a->tokens.len = room, a->cut = cut_answer = 1;
    }
    d->num_answers += (size_t)r->n;
    d->record[d->num_records++] = x;
    d->truncated += (size_t)(cut_prompt || cut_answer);
    d->cut_prompts += (size_t)cut_prompt, d->cut_answers += (size_t)cut_answer;
    return 0;
}

// ------------------------------------------------------------------------------------------------ the file

static void skip_blank(Reader *r) {
    const Buffer *b = &r->d->contents;
    for (; r->at < b->len && isspace((unsigned char)b->data[r->at]); r->at++)
        r->line += b->data[r->at] == '\n';
}

// Where the object ends that begins at s[i]; n if it does not.
static size_t object_end(const char *s, size_t i, size_t n) {
    int quoted = 0;
    for (size_t depth = 0; i < n; i++) {
        if (quoted) {
            if (s[i] == '\\') i++;
            else if (s[i] == '"') quoted = 0;
        } else if (s[i] == '"') quoted = 1;
        else if (s[i] == '{' || s[i] == '[') depth++;
        else if ((s[i] == '}' || s[i] == ']') && --depth == 0) return i + 1;
    }
    return n;
}

// The next row: a line, or an element of the one array the file is.  1; 0 at the end; -1 after fail().
static int next_row(Reader *r) {
    const char *s = r->d->contents.data, *end;
    size_t n = r->d->contents.len;
    for (size_t i = 0; r->array && i < r->line_len; i++) r->line += s[r->line_start + i] == '\n';
    skip_blank(r);
    if (r->array && r->at < n && s[r->at] == ']') {
        r->at++, skip_blank(r);
        return r->at < n ? bad_row(r, "more text after the array of rows") : 0;
    }
    if (r->array && r->d->rows + r->d->bad) {
        if (r->at == n || s[r->at] != ',') return bad_row(r, "',' or ']' is expected after a row");
        r->at++, skip_blank(r);
    }
    if (r->array && (r->at == n || s[r->at] != '{')) return bad_row(r, "a row must be a JSON object");
    if (r->at == n) return 0;
    r->line_start = r->at;
    if (r->array) r->at = object_end(s, r->at, n);
    else r->at = (end = memchr(s + r->at, '\n', n - r->at)) ? (size_t)(end - s) : n;
    r->line_len = r->at - r->line_start;
    while (isspace((unsigned char)s[r->line_start + r->line_len - 1])) r->line_len--;
    return 1;
}

// Of FILE:NAME the colon; NULL where there is none, or where the whole is the name of a file.
static const char *name_colon(const char *spec) {
    const char *slash = strrchr(spec, '/'), *colon = strrchr(slash ? slash : spec, ':');
    struct stat st;
    return colon && colon[1] && stat(spec, &st) < 0 ? colon : NULL;
}

/* What a file given as FILE or FILE:NAME is called: NAME, or the file's name without folder, .jsonl, .train
 * and .test.  It goes into logs and tables: what would need an escape there becomes '_'.                   */
void dataset_name(char name[64], const char *spec) {
    static const char *const endings[] = {".jsonl", ".json", ".train", ".test"};
    const char *colon = name_colon(spec), *slash = strrchr(spec, '/');
    snprintf(name, 64, "%s", colon ? colon + 1 : !strcmp(spec, "-") ? "stdin" : slash ? slash + 1 : spec);
    for (size_t k = 0; k < sizeof endings / sizeof *endings && !colon; k++) {
        size_t n = strlen(name), e = strlen(endings[k]);
        if (n > e && !strcmp(name + n - e, endings[k])) name[n - e] = 0;
    }
    for (char *c = name; *c; c++) if (iscntrl((unsigned char)*c) || *c == '"' || *c == '\\') *c = '_';
}

static int read_all(Dataset *d) {
    char part[65536];
    size_t n;
    if (strcmp(d->path, "-")) return file_read(&d->contents, d->path);
    while ((n = fread(part, 1, sizeof part, stdin)) > 0)
        if (buffer_append(&d->contents, part, n) < 0) return -1;
    if (ferror(stdin)) return fail(EX_IOERR, "standard input: %s", strerror(errno));
    return buffer_append(&d->contents, "", 0);
}

// A file in which every ranking has two answers is a file of pairs; those of equal rank are no pairs.
static void rankings_of_two(Dataset *d) {
    size_t kept = 0;
    for (size_t i = 0; i < d->num_records; i++)
        if (d->record[i].count != 2) return;
    for (size_t i = 0; i < d->num_records; i++) {
        Answer *a = &d->answer[2*i], *b = &d->answer[2*kept];
        if (a[0].score == a[1].score) continue;
        b[0] = a[0], b[1] = a[1], b[0].score = 1, b[1].score = 0;
        d->record[kept] = d->record[i];
        d->record[kept].first = (int)(2*kept);
        kept++;
    }
    d->kind = DATA_PAIR;
    d->tied += d->num_records - kept;
    d->num_records = kept;
    d->num_answers = 2*kept;
}

void dataset_free(Dataset *d) {
    free(d->path), free(d->token), free(d->record), free(d->answer), buffer_free(&d->contents);
    memset(d, 0, sizeof *d);
}

static int check_options(const DataOptions *o) {
    if (o->template_ && strcmp(o->template_, "plain") && strcmp(o->template_, "none"))
        return fail(EX_USAGE, "--template %s: unknown; plain and none are known", o->template_);
    if (o->max_length && (o->max_length < 2 || o->max_prompt_length > o->max_length - 2))
        return fail(EX_USAGE, "--max_length %d leaves no room for an answer beside --max_prompt_length %d: "
                    "raise the one or lower the other", o->max_length, o->max_prompt_length);
    return 0;
}

static int take_row(Reader *r) {
    Dataset *d = r->d;
    r->json.first_line = r->line;
    if (json_parse(&r->json, d->contents.data + r->line_start, r->line_len, d->path) < 0) return -1;
    if (read_row(r) < 0) return -1;
    if (!d->rows) d->kind = r->kind;
    if (r->kind != d->kind)
        return bad_row(r, "a %s row in a file of %s rows; one kind a file", data_kind_name[r->kind],
                       data_kind_name[d->kind]);
    if (keep_row(r) < 0) return -1;
    d->rows++;
    return 0;
}

// Does a text begin as JSON lines or an array of rows do?
static int looks_like_rows(const char *s) {
    s += strspn(s, " \t\r\n");
    char first = *s, next = first ? s[1 + strspn(s + 1, " \t\r\n")] : 0;
    return (first == '{' && (next == '"' || next == '}')) || (first == '[' && next == '{');
}
static int read_plain_text(Reader *r) {
    const Buffer *b = &r->d->contents;
    size_t n = b->len - r->at;
    if (n && b->data[b->len - 1] == '\n') n--;               // the last line's end
    r->kind = r->d->kind = DATA_PROMPT;
    r->d->rows = 1;
    if (buffer_append(&r->text, b->data + r->at, n) < 0) return -1;
    r->prompt = (Piece){0, n, 0};
    return keep_row(r);
}

static int read_rows(Reader *r) {
    Dataset *d = r->d;
    int more;
    if (r->o->rows ? buffer_append(&d->contents, r->o->rows->data, r->o->rows->len) < 0 : read_all(d) < 0)
        return -1;
    if (d->contents.len >= 3 && !memcmp(d->contents.data, "\xef\xbb\xbf", 3)) r->at = 3;      // a byte order mark
    if (r->o->plain_text && !looks_like_rows(d->contents.data + r->at)) return read_plain_text(r);
    skip_blank(r);
    if (r->at < d->contents.len && d->contents.data[r->at] == '[') r->array = 1, r->at++;
    while ((more = next_row(r)) > 0) {
        size_t tokens = d->num_tokens;
        if (take_row(r) == 0) continue;
        if (!r->o->bad_row || error_code != EX_DATAERR) return -1;
        d->num_tokens = tokens, d->bad++;
        r->o->bad_row(r->o->to);
    }
    if (more == 0 && !d->rows && !d->bad) return fail(EX_DATAERR, "%s: no rows", d->path);
    return more;
}

/* Reads FILE or FILE:NAME (- is standard input): all rows of one kind, as tokens of t, cut by o.
 * 0, or -1 after fail() with file, line and reason; then d is empty.                                       */
int dataset_load(Dataset *d, const char *spec, const Tokenizer *t, const DataOptions *o) {
    const char *colon = name_colon(spec);
    const size_t n = colon ? (size_t)(colon - spec) : strlen(spec);
    memset(d, 0, sizeof *d);
    if (check_options(o) < 0) return -1;
    dataset_name(d->name, spec);
    Reader *r = allocate(1, sizeof *r);
    d->path = allocate(n + 1, 1);
    int ok = r && d->path;
    if (ok) {
        memcpy(d->path, spec, n);
        r->o = o, r->t = t, r->d = d, r->line = 1;
        r->prompt_key = o->prompt_key ? o->prompt_key : "prompt";
        r->chosen_key = o->chosen_key ? o->chosen_key : "chosen";
        r->rejected_key = o->rejected_key ? o->rejected_key : "rejected";
        ok = read_rows(r) == 0;
        json_free(&r->json), buffer_free(&r->text);
    }
    if (ok && d->kind == DATA_RANKING && !o->as_given) rankings_of_two(d);
    free(r);
    if (!ok) dataset_free(d);
    return ok ? 0 : -1;
}

// One line: kind and counts.
int dataset_report(const Dataset *d, Buffer *out) {
    size_t tokens = 0;
    for (size_t i = 0; i < d->num_records; i++) tokens += (size_t)d->record[i].prompt.len;
    for (size_t i = 0; i < d->num_answers; i++) tokens += (size_t)d->answer[i].tokens.len;
    return buffer_printf(out, "%s: %zu rows of kind %s, %zu kept, %zu dropped (too long), %zu ties, "
                         "%zu truncated (%zu prompts, %zu answers), %.0f tokens a row\n", d->name, d->rows,
                         data_kind_name[d->kind], d->num_records, d->dropped, d->tied, d->truncated,
                         d->cut_prompts, d->cut_answers,
                         d->num_records ? (double)tokens / (double)d->num_records : 0.0);
}
// --------------------------------------------------------------------------------------- repeated prompts

// Do two spans hold the same tokens?
int dataset_same_tokens(const Dataset *d, Span a, Span b) {
    if (a.len != b.len || a.len == 0) return a.len == b.len;
    return !memcmp(d->token + a.start, d->token + b.start, (size_t)a.len * sizeof *d->token);
}

// A hash of the tokens of s, continued from h.
uint64_t dataset_hash_tokens(uint64_t h, const Dataset *d, Span s) {
    h = random_mix(h ^ (uint64_t)s.len);
    for (int i = 0; i < s.len; i++) h = random_mix(h ^ (uint64_t)d->token[s.start + (size_t)i]);
    return h;
}

// The prompt to write an answer for; a row of kind text is itself one.
Span dataset_prompt(const Dataset *d, const Record *r) {
    return d->kind == DATA_DOCUMENT ? d->answer[r->first].tokens : r->prompt;
}

/* first (num_records): for each record the first one of the file with the same prompt, by its tokens; so
 * record i is the first with its prompt where first[i] == i.  By a hash table: the time grows with the
 * number of tokens, not with the square of the number of records.  0, or -1 after fail().                */
int dataset_first_of_prompt(size_t *first, const Dataset *d) {
    size_t slots = 16;
    while (slots < 2 * d->num_records) slots *= 2;
    size_t *table = allocate(slots, sizeof *table);           // a record's number + 1; an empty slot has 0
    if (!table) return -1;

    for (size_t i = 0; i < d->num_records; i++) {
        const Span prompt = dataset_prompt(d, &d->record[i]);
        size_t slot = dataset_hash_tokens(0, d, prompt) % slots;
        while (table[slot]) {
            const Record *other = &d->record[table[slot] - 1];
            if (dataset_same_tokens(d, dataset_prompt(d, other), prompt)) break;
            slot = (slot + 1) % slots;
        }
        if (!table[slot]) table[slot] = i + 1;
        first[i] = table[slot] - 1;
    }
    free(table);
    return 0;
}
#endif

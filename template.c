/* template.c - a data row that is being read, and its strings and messages as text.
 *
 * The Reader holds the row as it was parsed, and what becomes of it: a prompt and n answers with a
 * score each, all of them passages of one text.  Of a conversation these are
 *
 *     rendered   \n\nHuman: Hi\n\nAssistant:\n\nAssistant: Hello.\n\nAssistant: Yes?
 *                '-------------------------'              '-----'              '---'
 *                          prompt                         answer[0]           answer[1]
 *
 * A string stands as it is.  Messages are rendered in a form of chat.c: that of the model's chat
 * template, or where it has none `plain`, the form of the Anthropic HH data: a turn is
 * "\n\nSystem: ", "\n\nHuman: " or "\n\nAssistant: " and its content, the prompt ends with
 * "\n\nAssistant:", the answer is " " and its content; `turns` takes a string without role markers
 * as the user's message too; `none` joins the bare contents.  In what the template writes special
 * tokens are tokens, in what is said they are plain text (Markup).
 *
 * Which of a row's keys hold messages is said in shapes.c; answers.c calls what is here. */
#ifndef TEMPLATE_C
#define TEMPLATE_C

#include "common.h"
#include "chat.c"
#include "tokenizer.c"

typedef struct Dataset Dataset;         // dataset.c

enum DataKind {
    DATA_DOCUMENT, DATA_PROMPT, DATA_COMPLETION, DATA_PAIR, DATA_POINT, DATA_RANKING, NUM_DATA_KINDS
};
const char *const data_kind_name[] = {
    [DATA_DOCUMENT] = "text", [DATA_PROMPT] = "prompt", [DATA_COMPLETION] = "completion",
    [DATA_PAIR] = "pair", [DATA_POINT] = "point", [DATA_RANKING] = "ranking",
};
_Static_assert(sizeof data_kind_name / sizeof *data_kind_name == NUM_DATA_KINDS,
               "every kind of data has a name");

enum { MAX_ANSWERS = 256 };             // of one row
enum { CONTRARY_SIZE = 160 };           // room for what a row says against its own pair
enum { MAX_FEATURES = 64, FEATURE_NAME = 64 };  // of an answer; bytes of a name, the last one 0
enum { MAX_USED = 16 };                 // keys of a row that its texts can be made of

// The features of answers (row_features.c), in order.
typedef struct {
    int n;
    char name[MAX_FEATURES][FEATURE_NAME];
    double low[MAX_FEATURES], high[MAX_FEATURES];       // of their values; infinite: not said
} FeatureNames;

typedef struct {
    int max_length;                     // prompt + answer + end of text; 0: no limit
    int max_prompt_length;              // prompts are cut from the left to this; 0: no own limit
    enum { OVER_DROP, OVER_TRUNCATE, OVER_RAISE, NUM_OVER_LENGTHS } over_length;    // too long
    const char *template_;              // a form of chat.c by name; NULL: that of the tokenizer's
                                        //     folder, or "plain" if it has none
    const char *prompt_key, *chosen_key, *rejected_key;             // NULL: those of shapes.c
    int as_given;                       // for scoring: ties and rankings stay, in the row's order
    int as_pairs;                       // of a ranking each two answers, one of them better: a pair
    void (*bad_row)(void *to, const Dataset *d);    // called for a bad row, which is left out:
    void *to;                           //     error_text says file, line and why, d->bad which one
                                        //     it is.  NULL: a bad row is an error
    int all_turns;                      // all turns of a conversation are targets, not the last one
    int none_left;                      // that all rows are bad is no error
    int keep_others;                    // for rows that are written: keep ids and other metadata
    enum { ROWS_ONLY, ONE_PROMPT, ONE_DOCUMENT } plain_text;        // what a file without rows is
    const Buffer *rows;                 // what the file would hold; NULL: the file is read
    const FeatureNames *features;       // answers have these, and need no text; n 0: as the first
                                        //     row has.  NULL: features are not read
    const FeatureNames *listed;         // names of lists in a file without a line of names, or NULL
} DataOptions;

// A prompt or an answer before it is tokenised: rendered.data[start .. start+len).
typedef struct {
    size_t start, len;
    float score;                        // of an answer; of a ranking's its place, 1 is the best
    int given;                          // its place in the row, from 0
    int messages;                       // of a whole conversation its list in the row, or 0
} Passage;

// A part of rendered that the template has written: special tokens there are tokens.
typedef struct { size_t start, len; } Markup;

typedef struct {
    const DataOptions *options;
    const Tokenizer *tokenizer;
    Chat chat;                          // how messages are rendered
    Dataset *d;                         // where it is kept (dataset.c)
    const char *path;                   // of the file, for errors
    const char *prompt_key, *chosen_key, *rejected_key;

    // where reading goes on, and the row being read
    size_t at, line, line_start, line_len;
    int is_array;                       // the file is one JSON array of rows
    Json json;

    // that row in its normal form
    enum DataKind kind;
    Buffer rendered;                    // the row's texts, one after the other
    Markup *markup;                     // (num_markup) what in them the template has written
    size_t num_markup, markup_capacity;
    Buffer said;                        // the messages that were rendered, as JSON
    size_t said_in_prompt;              // how much of it is the prompt's; 0: a string
    struct {
        int turns, last_role;           // of the conversation so far
        int system;                     // the message that the user's first will begin with, or -1
        int asked;                      // yes: the user has said something that is no tool's answer
        int told;                       // yes: the row's tools have been named
        size_t after;                   // bytes at the end of rendered that are no content
    } state, after_prompt;
    int input;                          // the row's value that the instruction goes on with on a
                                        //     line of its own, while that is rendered; or 0
    int is_last;                        // yes: no message follows the one that is rendered
    int user_follows;                   // yes: one of the user does
    int query_follows;                  // yes: one of the user that is no tool's answer; asked for
                                        //     where the template has a place for thoughts
    int thoughts;                       // of that message: its "reasoning_content", where the
                                        //     template has a place for it; or -1
    int calls;                          // of that message: its "tool_calls", where the template
                                        //     has a place for them; or -1
    int responses[2];                   // the first and the last of the answers of tools that are
                                        //     one turn; or -1
    Buffer tools;                       // the row's tools as the template names them; len 0: none
    int tool_list;                      // their value in the row, or -1
    int tools_said;                     // yes: they have been rendered
    int is_alone;                       // yes: it is of no conversation, only to be compared
    enum { NO_PROMPT, STRING_PROMPT, CHAT_PROMPT } prompt_form;
    enum { STRING_ANSWER, MESSAGE_ANSWER, CONVERSATION } answer_form;   // the last holds its prompt
    Passage prompt, answer[MAX_ANSWERS];
    int n;                              // answers
    int given;                          // answers in the row, of which some may be left out
    int is_marked;                      // yes: a role marker ends the prompt of whole texts
    int has_user;                       // yes: whole texts differ so early that their answers hold
                                        //     what the user says after that
    int is_tie;                         // yes: a pair of which the row says that neither is better
    int are_turns;                      // yes: each answer's prompt is all that was said before
    size_t turns;                       // of the assistant in the row's conversation
    size_t repeated;                    // answers of a ranking that are left out
    const struct KnownSet *set;         // of which the row is as published, or NULL
    float margin, weight;
    char contrary[CONTRARY_SIZE];       // what in the row says that the rejected answer is better
    int used[MAX_USED], num_used;       // the row's values that prompt and answers are made of
} Reader;

// the row and its values
PRINTF_LIKE(2, 3) int row_fail(const Reader *r, const char *format, ...);
int  row_get(const Reader *r, int object, const char *key); // -1 where it is absent or null
int  row_number(const Reader *r, int v, const char *key, float *out);
int  row_is_string_list(const Reader *r, int v);
int  row_system(const Reader *r);                           // its "system", -1 where it has none
void row_use(Reader *r, int v);                             // value v is of prompt or answers
int  row_uses(const Reader *r, int v);                      // has that been said of it?
int  row_refuse_beside_text(const Reader *r, int object);   // stops at images, tools and the like
int  row_read_tools(Reader *r);                             // where the template has tools
int  row_end_turn(Reader *r, size_t start);                 // the turn from there is an answer
void row_keys(const Reader *r, char text[256]);             // "found a, b": the keys of the row
const char *row_type_name(const Reader *r, int v);          // "a string", "a list"

int  word_is_listed(const char *word, const char *const *list, size_t n);
#define LISTED(word, list) word_is_listed(word, list, sizeof (list) / sizeof *(list))

// the template: messages are appended to r->rendered
int  template_has_turns(const Reader *r);                   // are strings turns too?
void template_choose(Chat *chat, const Tokenizer *t, const char *name);
int  template_end(const Chat *chat, const Tokenizer *t);    // the id that ends an answer, or -1
size_t template_answer_marker(const Reader *r);             // bytes that ask for an answer, and:
int  render_answer_marker(Reader *r);
void render_begin(Reader *r);                               // another conversation begins
int  message_role(const Reader *r, int message);            // the value that says who speaks
int  message_is_assistants(const Reader *r, int message);
int  render_string(Reader *r, int v, const char *key);
int  render_turn(Reader *r, int role, int content, const char *key);
int  render_message(Reader *r, int message, int *role);
int  render_messages(Reader *r, int list, int leave, int *first, int *last);
int  render_system(Reader *r, int list);                    // the row's own, before this list
int  render_instruction(Reader *r, int instruction);        // with its system, history and input

// -------------------------------------------------------------------------- the row and its values

// Fails with file and line of the row being read.
int row_fail(const Reader *r, const char *format, ...) {
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return fail(EX_DATAERR, "%s:%zu: %s", r->path, r->line, why);
}

// The value of a key of an object, or -1 where there is none or it is null.  The row is object 0.
int row_get(const Reader *r, int object, const char *key) {
    const int v = json_get(&r->json, object, key);
    return json_type(&r->json, v) == JSON_NULL ? -1 : v;
}

// The row's value v goes into its prompt or its answers.
void row_use(Reader *r, int v) {
    for (int i = 0; i < r->num_used; i++) {
        if (r->used[i] == v) return;
    }
    assert(r->num_used < MAX_USED);
    r->used[r->num_used++] = v;
}

int row_uses(const Reader *r, int v) {
    for (int i = 0; i < r->num_used; i++) {
        if (r->used[i] == v) return 1;
    }
    return 0;
}

int row_is_string_list(const Reader *r, int v) {
    const Json *j = &r->json;
    return json_type(j, v) == JSON_ARRAY && json_type(j, json_first(j, v)) == JSON_STRING;
}

// What stands where something else is expected.
const char *row_type_name(const Reader *r, int v) {
    static const char *const name[] = {
        [JSON_NONE] = "null or absent", [JSON_NULL] = "null", [JSON_FALSE] = "false",
        [JSON_TRUE] = "true",
        [JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "a list",
        [JSON_OBJECT] = "an object",
    };
    if (row_is_string_list(r, v)) return "a list of strings";
    return name[json_type(&r->json, v)];
}

// "found a, b, c": the keys of an object; or what stands there instead.
static void object_keys(const Reader *r, int object, char text[256]) {
    const Json *j = &r->json;
    size_t n = (size_t)snprintf(text, 256, "found ");
    if (json_type(j, object) != JSON_OBJECT) {
        snprintf(text + n, 256 - n, "%s", row_type_name(r, object));
        return;
    }
    if (json_first(j, object) < 0) snprintf(text + n, 256 - n, "no keys");
    for (int v = json_first(j, object); v >= 0 && n < 180; v = json_next(j, v)) {
        n += (size_t)snprintf(text + n, 256 - n, "%.60s%s", json_key(j, v),
                              json_next(j, v) >= 0 ? ", " : "");
    }
}
void row_keys(const Reader *r, char text[256]) { object_keys(r, 0, text); }

int row_number(const Reader *r, int v, const char *key, float *out) {
    const double x = json_number(&r->json, v);
    if (json_type(&r->json, v) != JSON_NUMBER) {
        return row_fail(r, "\"%s\" must be a number, not %s", key, row_type_name(r, v));
    }
    if (fabs(x) > FLT_MAX) {
        return row_fail(r, "\"%s\" is beyond a float: %.40s", key, json_string(&r->json, v));
    }
    *out = (float)x;
    return 0;
}

int word_is_listed(const char *word, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(word, list[i])) return 1;
    }
    return 0;
}

// ------------------------------------------------------------------------------------ the template

static const struct { const char *name; int role; } known_roles[] = {
    {.name = "system",    .role = ROLE_SYSTEM},
    {.name = "developer", .role = ROLE_SYSTEM},
    {.name = "user",      .role = ROLE_USER},
    {.name = "human",     .role = ROLE_USER},
    {.name = "assistant", .role = ROLE_ASSISTANT},
    {.name = "gpt",       .role = ROLE_ASSISTANT},
    {.name = "model",     .role = ROLE_ASSISTANT},
};
// What says something beside the text, in a row or in a message; a part of it is never left out.
static const struct { const char *name, *what; int of_message; } beside_text[] = {
    {.name = "images",            .what = "images"},
    {.name = "image",             .what = "images"},
    {.name = "videos",            .what = "videos"},
    {.name = "video",             .what = "videos"},
    {.name = "audios",            .what = "recordings"},
    {.name = "audio",             .what = "recordings"},
    {.name = "documents",         .what = "documents beside the prompt"},
    {.name = "tools",             .what = "tools"},
    {.name = "functions",         .what = "tools"},
    {.name = "tool_calls",        .what = "tool calls"},
    {.name = "function_call",     .what = "tool calls"},
    {.name = "reasoning_content", .what = "thoughts beside the answer"},
    {.name = "thinking",          .what = "thoughts beside the answer"},
    {.name = "reasoning",         .what = "thoughts beside the answer", .of_message = 1},
    {.name = "chat_template_kwargs", .what = "settings of a chat template"},
};
// The roles of a conversation with tools.
static const char *const tool_roles[] = {
    "tool", "function", "function_call", "observation", "tool_call", "tool_response", "ipython",
};

// Are strings turns too?
int template_has_turns(const Reader *r) {
    const char *template_ = r->options->template_;
    return template_ && !strcmp(template_, "turns");
}

static const char *text_or_none(const char *s) { return s ? s : ""; }

size_t template_answer_marker(const Reader *r) {
    return r->chat.form ? strlen(text_or_none(r->chat.form->turn[ROLE_ASSISTANT].before)) : 0;
}

// The form of that name, NULL: that of the template in the tokenizer's folder, if it is known, or
// where there is none `plain`.
void template_choose(Chat *chat, const Tokenizer *t, const char *name) {
    if (!name && t->chat.len) chat_recognise(chat, t->chat.data, t->chat.len);
    else chat_named(chat, name ? name : "plain");
}

int template_end(const Chat *chat, const Tokenizer *t) {
    const char *end = chat->form ? chat->form->end : NULL;
    if (!end) return -1;
    if (!strcmp(end, "{eos}")) return t->eos;
    const int id = tokenizer_find(t, end, strlen(end));
    return id >= 0 && tokenizer_is_added(t, id) ? id : -1;
}

// Does a value say nothing: "", [], false, these printed as some files have it, an object of
// nothing else?
static int says_nothing(const Json *j, int v) {
    static const char *const printed[] = {"[]", "null"};
    const JsonType type = json_type(j, v);
    if (type == JSON_STRING) return json_length(j, v) == 0 || LISTED(json_string(j, v), printed);
    if (type == JSON_ARRAY) return json_count(j, v) == 0;
    if (type != JSON_OBJECT) return type == JSON_NONE || type == JSON_NULL || type == JSON_FALSE;
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (!says_nothing(j, i)) return 0;
    }
    return 1;
}

// What is of tools, and is not read: by any template, or by this one.
static int refuse_tools(const Reader *r, const char *what, const char *name, const char *why) {
    const ChatForm *f = r->chat.form;
    if (f && f->tools) {
        return row_fail(r, "%s\"%s\": %s; the template %s has the row's \"tools\", \"tool_calls\" "
                        "of the assistant's messages, and messages of the role \"tool\"", what,
                        name, why, f->name);
    }
    return row_fail(r, "%s\"%s\": %s; remove such rows (the templates llama3.1, llama3.2, qwen2.5, "
                    "qwen3 and qwen3-2507 have a place for tools)", what, name, why);
}

// A row, or a message of it, must have nothing beside its text.
int row_refuse_beside_text(const Reader *r, int object) {
    char lost[100];
    for (size_t i = 0; i < sizeof beside_text / sizeof *beside_text; i++) {
        if (beside_text[i].of_message && object == 0) continue;
        const int v = row_get(r, object, beside_text[i].name);
        const int of_tools = strstr(beside_text[i].what, "tool") != NULL;
        const int is_read = v == r->thoughts || v == r->calls || v == r->tool_list;
        if (says_nothing(&r->json, v) || is_read) continue;
        snprintf(lost, sizeof lost, "%s are not read, and would be lost", beside_text[i].what);
        if (of_tools) return refuse_tools(r, "", beside_text[i].name, lost);
        return row_fail(r, "\"%s\": %s; remove such rows, or the key where the text is enough",
                        beside_text[i].name, lost);
    }
    return 0;
}

static int is_list_of_objects(const Json *j, int list) {
    if (json_type(j, list) != JSON_ARRAY) return 0;
    for (int v = json_first(j, list); v >= 0; v = json_next(j, v)) {
        if (json_type(j, v) != JSON_OBJECT) return 0;
    }
    return 1;
}

/* "tools", if the template has a place for them: a list of objects, or a string that holds one, as
 * TRL takes both.  They are then in r->tools as text, of which the first turn is to make use. */
int row_read_tools(Reader *r) {
    const Json *row = &r->json;
    const int v = row_get(r, 0, "tools");
    Json held = {.first_line = r->line};                  // what the string holds
    int result = -1;
    r->tools.len = 0;
    r->tools_said = 0;
    r->tool_list = -1;
    if (!r->chat.form || !r->chat.form->tools || says_nothing(row, v)) return 0;
    const int is_string = json_type(row, v) == JSON_STRING;
    if (is_string && json_parse(&held, json_string(row, v), json_length(row, v), r->path) < 0) {
        goto done;
    }
    const Json *j = is_string ? &held : row;
    const int list = is_string ? 0 : v;
    if (!is_list_of_objects(j, list)) {
        row_fail(r, "\"tools\" must be a list of objects {\"type\": \"function\", \"function\": "
                 "...}");
        goto done;
    }
    const ToolsForm form = r->chat.form->tools;
    if (json_count(j, list) && tools_append(&r->tools, j, list, form) < 0) goto done;
    r->tool_list = v;
    result = 0;
done:
    json_free(&held);
    return result;
}

// Is a string a list of messages that was printed, as a table or Python's str() leaves it?
static int is_printed_messages(const char *s) {
    static const char *const first[] = {"role", "content", "from", "value"};
    const size_t n = strlen(s);
    if (s[0] != '[' || s[1] != '{' || (s[2] != '"' && s[2] != '\'') || s[n-1] != ']') return 0;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        const size_t len = strlen(first[i]);
        if (!strncmp(s + 3, first[i], len) && s[3 + len] == s[2]) return 1;
    }
    return 0;
}

// The string v as it stands.
int render_string(Reader *r, int v, const char *key) {
    const Json *j = &r->json;
    if (json_type(j, v) != JSON_STRING) {
        return row_fail(r, "\"%s\" must be a string, not %s", key, row_type_name(r, v));
    }
    if (r->kind != DATA_DOCUMENT && is_printed_messages(json_string(j, v))) {
        return row_fail(r, "\"%s\" is a list of messages printed as a string; write it as the list",
                        key);
    }
    return buffer_append(&r->rendered, json_string(j, v), json_length(j, v));
}

// The text of a part of a content: {"type": "text", "text": ""}, in some files "value".  -1 after
// row_fail().
static int text_of_part(const Reader *r, int part) {
    const Json *j = &r->json;
    const int type = row_get(r, part, "type");
    int text = row_get(r, part, "text");
    if (text < 0) text = row_get(r, part, "value");
    if (json_type(j, part) == JSON_STRING) return part;
    if (json_equal(j, type, "text") && json_type(j, text) == JSON_STRING) return text;
    if (json_type(j, type) != JSON_STRING || json_equal(j, type, "text")) {
        return row_fail(r, "\"content\" must be a string or a list of {\"type\": \"text\", "
                        "\"text\": ...}");
    }
    return row_fail(r, "a part of the type \"%.40s\" in \"content\": only text is read; remove "
                    "such rows", json_string(j, type));
}

// What a message says: a string, or a list of parts, whose texts are joined.
static int render_content(Reader *r, int content, const char *key) {
    const Json *j = &r->json;
    if (json_type(j, content) != JSON_ARRAY || !json_count(j, content)) {
        return render_string(r, content, key);
    }
    for (int part = json_first(j, content); part >= 0; part = json_next(j, part)) {
        const int text = text_of_part(r, part);
        if (text < 0) return -1;
        if (render_string(r, text, key) < 0) return -1;
    }
    return 0;
}

// Who speaks in a message: "role", or "from" as in ShareGPT.
int message_role(const Reader *r, int message) {
    const int role = row_get(r, message, "role");
    return role >= 0 ? role : row_get(r, message, "from");
}

// What is said in a message: "content", or "value" as in ShareGPT.
static int message_content(const Reader *r, int message) {
    const int content = row_get(r, message, "content");
    return content >= 0 ? content : row_get(r, message, "value");
}

// Where the template's words end that s begins with: at {bos} or {eos}, or at the end.
static size_t words_end(const char *s) {
    const char *bos = strstr(s, "{bos}"), *eos = strstr(s, "{eos}");
    const char *first = bos && (!eos || bos < eos) ? bos : eos;
    return first ? (size_t)(first - s) : strlen(s);
}

// Appends what the template says, NULL: nothing, with the tokenizer's tokens for {bos} and {eos}.
static int render_markup(Reader *r, const char *s) {
    const Tokenizer *t = r->tokenizer;
    const size_t start = r->rendered.len;
    while (s && *s) {
        const size_t n = words_end(s);
        if (buffer_append(&r->rendered, s, n) < 0) return -1;
        s += n;
        if (!*s) break;
        const int id = s[1] == 'b' ? t->bos : t->eos;
        s += strlen("{bos}");
        if (id < 0) continue;
        const size_t len = tokenizer_piece_len(t, id);
        if (buffer_append(&r->rendered, tokenizer_piece(t, id), len) < 0) return -1;
    }
    if (r->rendered.len == start) return 0;

    // what stood from there on before was taken back
    while (r->num_markup && r->markup[r->num_markup - 1].start >= start) r->num_markup--;
    if (reserve(&r->markup, &r->markup_capacity, r->num_markup + 1, sizeof *r->markup) < 0) {
        return -1;
    }
    r->markup[r->num_markup] = (Markup){.start = start, .len = r->rendered.len - start};
    r->num_markup++;
    return 0;
}

int render_answer_marker(Reader *r) {
    return r->chat.form ? render_markup(r, r->chat.form->turn[ROLE_ASSISTANT].before) : 0;
}

void render_begin(Reader *r) {
    r->state.turns = 0;
    r->state.last_role = -1;
    r->state.system = -1;
    r->state.after = 0;
    r->state.asked = 0;
    r->state.told = 0;
    r->user_follows = 0;
    r->query_follows = 0;
    r->thoughts = -1;
    r->calls = -1;
    r->responses[0] = -1;
}

// White space as Python's str.strip() has it, of length *len.
static int is_blank_at(const Tokenizer *t, const char *s, size_t n, size_t *len) {
    const int class = class_at(t->class_memory, s, n, len);
    return class == CLASS_SPACE || (*s >= 0x1c && *s <= 0x1f);
}

// Takes white space off both ends of what was rendered from `begin` on.
static void strip_content(Reader *r, size_t begin) {
    char *s = r->rendered.data + begin;
    size_t n = r->rendered.len - begin, first = 0, last = 0, len;
    while (first < n && is_blank_at(r->tokenizer, s + first, n - first, &len)) first += len;
    for (size_t i = first; i < n; i += len) {
        if (!is_blank_at(r->tokenizer, s + i, n - i, &len)) last = i + len;
    }
    if (last < first) last = first;
    memmove(s, s + first, last - first);
    r->rendered.len = begin + last - first;
    r->rendered.data[r->rendered.len] = 0;
}

/* Qwen3's rule: thoughts stand in <think> </think> before what is said, or beside it
 * (r->thoughts).  Answers to the user's last question keep theirs, of which the last has some,
 * perhaps none in it; earlier ones lose theirs.  *says: is anything said beside the thoughts? */
static int render_thoughts(Reader *r, size_t begin, int *says) {
    static const char open[] = "<think>", close[] = "</think>";
    char *text = r->rendered.data + begin, *said = text, *end = strstr(text, close), *p;
    const char *beside = r->thoughts >= 0 ? json_string(&r->json, r->thoughts) : NULL;
    Buffer thoughts = {0};
    int result = -1;
    if (end && !beside) {
        char *thought = text;
        while ((p = strstr(said, close)) != NULL) said = p + sizeof close - 1;
        while ((p = strstr(thought, open)) != NULL && p < end) thought = p + sizeof open - 1;
        while (thought < end && *thought == '\n') thought++;
        while (end > thought && end[-1] == '\n') end--;
        if (buffer_append(&thoughts, thought, (size_t)(end - thought)) < 0) goto done;
        said += strspn(said, "\n");
    }
    if (beside) {
        size_t n = strlen(beside);
        const size_t first = strspn(beside, "\n");
        while (n > first && beside[n-1] == '\n') n--;
        if (buffer_append(&thoughts, beside + first, n - first) < 0) goto done;
    }
    const int thought_of = beside ? *beside != 0 : thoughts.len > 0;
    const int kept = r->state.asked && !r->query_follows && (r->is_last || thought_of);
    *says = r->rendered.data + r->rendered.len > said;
    if (kept) said += strspn(said, "\n");
    const size_t n = r->rendered.len - (size_t)(said - r->rendered.data);
    memmove(text, said, n + 1);
    r->rendered.len = begin + n;
    if (!kept) {
        result = 0;
        goto done;
    }

    // "<think>\n" thoughts "\n</think>\n\n" and what is said
    Buffer answer = {0};
    if (buffer_append(&answer, text, n) < 0) goto done;
    r->rendered.len = begin;
    const char *inner = thoughts.len ? thoughts.data : "";
    result = buffer_printf(&r->rendered, "%s\n%s\n%s\n\n", open, inner, close);
    if (result == 0) result = buffer_append(&r->rendered, answer.data, answer.len);
    buffer_free(&answer);
done:
    buffer_free(&thoughts);
    return result;
}

// {"role": who, "content": ...} to r->said: what was said, before it is stripped, and what stands
// beside it in the message and is rendered.
static int note_said(Reader *r, const char *who, const char *s, size_t n) {
    const char *comma = r->said.len ? "," : "";
    if (!r->options->keep_others || r->is_alone) return 0;
    if (buffer_printf(&r->said, "%s{\"role\":\"%s\",\"content\":", comma, who) < 0) return -1;
    if (json_quote(&r->said, s, n) < 0) return -1;
    if (r->thoughts >= 0) {
        if (buffer_printf(&r->said, ",\"reasoning_content\":") < 0) return -1;
        if (json_print(&r->said, &r->json, r->thoughts, 0) < 0) return -1;
    }
    if (r->calls >= 0) {
        if (buffer_printf(&r->said, ",\"tool_calls\":") < 0) return -1;
        if (json_print(&r->said, &r->json, r->calls, 0) < 0) return -1;
    }
    return buffer_append(&r->said, "}", 1);
}

// May a turn of this role stand here, and is the template one that can be rendered?
static int check_turn(Reader *r, int role) {
    const ChatForm *f = r->chat.form;
    Buffer names = {0};
    if (!f) {
        if (chat_names(&names) == 0) {
            const Buffer *jinja = &r->tokenizer->chat;
            const int has_date = jinja->len && strstr(jinja->data, "strftime_now") != NULL;
            row_fail(r, "the chat template of the tokenizer's folder is none that is known here%s; "
                     "say which form it has: --template %s", has_date ? " (it writes the date of "
                     "the day, as SmolLM3's does: rows would have other tokens tomorrow)" : "",
                     names.data);
        }
        buffer_free(&names);
        return -1;
    }
    if (f->end && template_end(&r->chat, r->tokenizer) < 0) {
        return row_fail(r, "the tokenizer has no token %s, which ends a turn of the template %s: "
                        "name another by --template", strcmp(f->end, "{eos}") ? f->end : "that "
                        "ends a text", f->name);
    }
    if (f->end && template_end(&r->chat, r->tokenizer) != r->tokenizer->eos) {
        return row_fail(r, "the template %s ends a turn by %s, which is not the model's end of "
                        "text: --template %s makes it that, for what is trained and written",
                        f->name, f->end, f->name);
    }
    if (role == ROLE_SYSTEM && f->no_system) {
        return row_fail(r, "a system message, which the template %s has no place for: put it into "
                        "the user's message", f->name);
    }
    if (role == ROLE_SYSTEM && f->user_system[0] && (r->state.turns || r->state.system >= 0)) {
        return row_fail(r, "a system message after others, which the template %s has no place for",
                        f->name);
    }
    const int expected = r->state.turns % 2 == 0 ? ROLE_USER : ROLE_ASSISTANT;
    if (f->alternates && role != ROLE_SYSTEM && role != expected) {
        return row_fail(r, "the template %s needs user and assistant in turn, and the user first",
                        f->name);
    }
    return 0;
}

// The row's tools, once a conversation: where the turn of `role` is the place for them.
static int render_tools(Reader *r, int role, int says) {
    const int place = r->chat.form->tools == TOOLS_LLAMA31 ? ROLE_USER : ROLE_SYSTEM;
    const int first = r->state.last_role == ROLE_SYSTEM;  // turns that may stand before it
    if (role != place || r->tools.len == 0 || r->state.told) return 0;
    if (place == ROLE_USER && r->state.turns > first) {
        return row_fail(r, "\"tools\", which the template %s takes into the first message behind "
                        "the system's, and that is not the user's", r->chat.form->name);
    }
    r->state.told = 1;
    r->tools_said = 1;
    if (says && buffer_printf(&r->rendered, "\n\n") < 0) return -1;
    return buffer_append(&r->rendered, r->tools.data, r->tools.len);
}

// What the system says before all else.
static int render_preamble(Reader *r) {
    const ChatForm *f = r->chat.form;
    const int is_llama = f->tools == TOOLS_LLAMA31 && r->tools.len > 0;
    const char *environment = is_llama ? "Environment: ipython\n" : "";
    return buffer_printf(&r->rendered, "%s%s", environment, text_or_none(f->preamble));
}

// What stands before the first turn, with the template's own system message if there is no other.
static int render_first(Reader *r, int role) {
    const ChatForm *f = r->chat.form;
    const char *system = chat_system(&r->chat);
    if (render_markup(r, f->begin) < 0) return -1;
    if (role == ROLE_SYSTEM || (!system && !f->preamble && !r->tools.len)) return 0;
    if (render_markup(r, f->turn[ROLE_SYSTEM].before) < 0) return -1;
    if (render_preamble(r) < 0) return -1;
    if (buffer_printf(&r->rendered, "%s", text_or_none(system)) < 0) return -1;
    if (render_tools(r, ROLE_SYSTEM, system != NULL) < 0) return -1;
    return render_markup(r, f->turn[ROLE_SYSTEM].after);
}

// The input behind an instruction, which was rendered from `start` on.
static int render_input(Reader *r, size_t start) {
    if (r->rendered.len > start && buffer_append(&r->rendered, "\n", 1) < 0) return -1;
    return render_string(r, r->input, json_key(&r->json, r->input));
}

// The calls of the assistant's message, on lines of their own behind what it says.
static int render_calls(Reader *r, int says) {
    const Json *j = &r->json;
    for (int call = json_first(j, r->calls); call >= 0; call = json_next(j, call)) {
        if (says && buffer_append(&r->rendered, "\n", 1) < 0) return -1;
        if (tool_call_append(&r->rendered, j, call, r->chat.form->tools) < 0) return -1;
        says = 1;
    }
    return 0;
}

// What tools have answered, one answer below the other.
static int render_responses(Reader *r) {
    const Json *j = &r->json;
    const int is_quoted = r->chat.form->tools == TOOLS_LLAMA31;
    int message = r->responses[0];
    for (;;) {
        const int content = message_content(r, message);
        if (json_type(j, content) != JSON_STRING) {
            return row_fail(r, "\"content\" of a tool's answer must be a string, not %s",
                            row_type_name(r, content));
        }
        const char *s = json_string(j, content);
        const size_t n = json_length(j, content);
        if (note_said(r, "tool", s, n) < 0) return -1;
        if (is_quoted) return json_quote(&r->rendered, s, n);
        if (buffer_printf(&r->rendered, TOOL_RESPONSE_OPEN "\n") < 0) return -1;
        if (buffer_append(&r->rendered, s, n) < 0) return -1;
        if (buffer_printf(&r->rendered, "\n" TOOL_RESPONSE_CLOSE) < 0) return -1;
        if (message == r->responses[1]) return 0;
        if (buffer_append(&r->rendered, "\n", 1) < 0) return -1;
        message = json_next(j, message);
    }
}

// A turn's content, behind the system message if it has none of its own.
static int render_said(Reader *r, int role, int content, const char *key) {
    static const char *const names[] = {
        [ROLE_SYSTEM] = "system", [ROLE_USER] = "user", [ROLE_ASSISTANT] = "assistant",
    };
    const ChatForm *f = r->chat.form;
    if (role == ROLE_USER && render_tools(r, role, 0) < 0) return -1;
    const size_t begin = r->rendered.len;
    if (r->state.system >= 0 && role == ROLE_USER && !r->user_follows) {
        if (buffer_printf(&r->rendered, "%s", f->user_system[0]) < 0) return -1;
        if (render_content(r, r->state.system, "system") < 0) return -1;
        if (buffer_printf(&r->rendered, "%s", f->user_system[1]) < 0) return -1;
        r->state.system = -1;
    }
    const size_t start = r->rendered.len;
    if (content >= 0 || r->calls < 0) {
        if (render_content(r, content, key) < 0) return -1;
    }
    if (r->input && render_input(r, start) < 0) return -1;
    const char *said = r->rendered.data + start;
    const size_t n = r->rendered.len - start;
    if (role == ROLE_USER && !tool_is_response(said, n)) r->state.asked = 1;
    if (note_said(r, names[role], said, n) < 0) return -1;
    if (f->strips || (f->strips_answers && role == ROLE_ASSISTANT)) strip_content(r, begin);
    if (role == ROLE_SYSTEM && r->state.turns == 0 && render_tools(r, role, 1) < 0) return -1;

    int says = n > 0;
    if (f->thinks && role == ROLE_ASSISTANT && render_thoughts(r, begin, &says) < 0) return -1;
    return render_calls(r, says);
}

// A turn as the template has it; its marker alone where nothing is said and nothing ends it.
int render_turn(Reader *r, int role, int content, const char *key) {
    const int responds = r->responses[0] >= 0, says = content >= 0 || r->calls < 0;
    if (r->is_alone) {
        if (responds) return render_responses(r);
        const int keeps_thoughts = r->thoughts >= 0 && !r->query_follows;
        if (keeps_thoughts && render_string(r, r->thoughts, "reasoning_content") < 0) return -1;
        if (says && render_content(r, content, key) < 0) return -1;
        return render_calls(r, 1);
    }
    if (check_turn(r, role) < 0) return -1;
    const ChatForm *f = r->chat.form;
    const ChatTurn *turn = responds && f->response.before ? &f->response : &f->turn[role];
    if (role == ROLE_SYSTEM && f->user_system[0]) {
        const size_t start = r->rendered.len;
        if (render_content(r, content, key) < 0) return -1;
        const size_t n = r->rendered.len - start;
        if (note_said(r, "system", r->rendered.data + start, n) < 0) return -1;
        r->rendered.len = start;
        r->state.system = content;
        return 0;
    }
    if (role == ROLE_SYSTEM && f->skips_silence && json_equal(&r->json, content, "")) return 0;
    if (r->state.turns == 0 && render_first(r, role) < 0) return -1;
    if (render_markup(r, turn->before) < 0) return -1;
    const int is_first = r->state.turns == 0 && role == ROLE_SYSTEM;
    if (is_first && render_preamble(r) < 0) return -1;

    const size_t start = r->rendered.len;
    if (buffer_printf(&r->rendered, "%s", text_or_none(turn->lead)) < 0) return -1;
    const size_t begin = r->rendered.len;
    const int rendered = responds ? render_responses(r) : render_said(r, role, content, key);
    if (rendered < 0) return -1;
    if (r->rendered.len == begin && !turn->after) r->rendered.len = start;

    if (buffer_printf(&r->rendered, "%s", text_or_none(turn->tail)) < 0) return -1;
    const size_t end = r->rendered.len;
    if (render_markup(r, turn->after) < 0) return -1;
    r->state.after = r->rendered.len - end;
    r->state.last_role = role;
    r->state.turns++;
    return 0;
}

// Is the message the assistant's?  ShareGPT calls it gpt.
int message_is_assistants(const Reader *r, int message) {
    const int role = message_role(r, message);
    for (size_t i = 0; i < sizeof known_roles / sizeof *known_roles; i++) {
        if (json_equal(&r->json, role, known_roles[i].name)) {
            return known_roles[i].role == ROLE_ASSISTANT;
        }
    }
    return 0;
}

// A turn of the assistant must not say that it is no target, or a lighter one.
static int refuse_weight(const Reader *r, int message) {
    static const char *const names[] = {"weight", "loss_weight", "train", "loss"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int v = row_get(r, message, names[i]);
        const int is_one = json_type(&r->json, v) == JSON_TRUE || json_number(&r->json, v) == 1;
        if (v < 0 || is_one) continue;
        return row_fail(r, "\"%s\" of a message is not read: say --train_turns all or last, and "
                        "remove it", names[i]);
    }
    return 0;
}

// Does a message of the user follow this one, of any kind, or one that is no tool's answer?
static int user_follows(const Reader *r, int message, int any_kind) {
    const Json *j = &r->json;
    for (int i = json_next(j, message); i >= 0; i = json_next(j, i)) {
        const int who = message_role(r, i), content = message_content(r, i);
        if (!json_equal(j, who, "user") && !json_equal(j, who, "human")) continue;
        if (any_kind || !tool_is_response(json_string(j, content), json_length(j, content))) {
            return 1;
        }
    }
    return 0;
}

// The "tool_calls" of a message of the assistant, if the template has a place for them; or -1.
static int message_calls(const Reader *r, int message) {
    const int list = row_get(r, message, "tool_calls");
    const int has_tools = r->chat.form && r->chat.form->tools != NO_TOOLS;
    if (!has_tools || !message_is_assistants(r, message)) return -1;
    return says_nothing(&r->json, list) ? -1 : list;
}

static int are_calls(const Json *j, int list, ToolsForm form) {
    if (json_type(j, list) != JSON_ARRAY) return 0;
    for (int call = json_first(j, list); call >= 0; call = json_next(j, call)) {
        if (!tool_is_call(j, call, form)) return 0;
    }
    return 1;
}

// Can the template write the message's calls, and loses nothing of it?
static int check_calls(const Reader *r, int message) {
    const ChatForm *f = r->chat.form;
    if (!are_calls(&r->json, r->calls, f->tools)) {
        return row_fail(r, "\"tool_calls\" must be a list of {\"function\": {\"name\": ..., "
                        "\"arguments\": ...}}");
    }
    if (f->tools != TOOLS_LLAMA31) return 0;
    if (!json_off(&r->json, message_content(r, message))) {
        return row_fail(r, "\"content\" beside \"tool_calls\": the template %s would lose it; "
                        "remove one of them", f->name);
    }
    if (json_count(&r->json, r->calls) > 1) {
        return row_fail(r, "several \"tool_calls\" in a message, of which the template %s takes "
                        "one; remove such rows", f->name);
    }
    return 0;
}

// What the template makes of a message depends on what stands beside it and comes after it.
static int read_surroundings(Reader *r, int message) {
    const ChatForm *f = r->chat.form;
    const int thinks = f && f->thinks && message_is_assistants(r, message);
    r->user_follows = f && f->system_last && user_follows(r, message, 1);
    r->query_follows = thinks && user_follows(r, message, 0);
    r->thoughts = thinks ? row_get(r, message, "reasoning_content") : -1;
    r->calls = message_calls(r, message);
    if (r->thoughts >= 0 && json_type(&r->json, r->thoughts) != JSON_STRING) {
        return row_fail(r, "\"reasoning_content\" must be a string, not %s",
                        row_type_name(r, r->thoughts));
    }
    if (r->calls >= 0 && check_calls(r, message) < 0) return -1;
    if (row_refuse_beside_text(r, message) < 0) return -1;
    return message_is_assistants(r, message) ? refuse_weight(r, message) : 0;
}

// Is the message a tool's answer, for which the template has a place?
static int is_response(const Reader *r, int message) {
    const ToolsForm tools = r->chat.form ? r->chat.form->tools : NO_TOOLS;
    const int who = message_role(r, message);
    if (tools == TOOLS_LLAMA31 && json_equal(&r->json, who, "ipython")) return 1;
    return tools != NO_TOOLS && json_equal(&r->json, who, "tool");
}

// One message as a turn; *role is whose it is.  Answers of tools that follow one another are one
// turn, rendered with the last of them, where the template has none of their own.
int render_message(Reader *r, int message, int *role) {
    const Json *j = &r->json;
    const int who = message_role(r, message), content = message_content(r, message);
    const int responds = is_response(r, message);
    if (read_surroundings(r, message) < 0) return -1;
    for (size_t i = 0; i < sizeof tool_roles / sizeof *tool_roles && !responds; i++) {
        if (!json_equal(j, who, tool_roles[i])) continue;
        return refuse_tools(r, "the role ", tool_roles[i], "tool calls are not read");
    }
    if (who < 0 || (content < 0 && r->calls < 0)) {
        char found[256];
        object_keys(r, message, found);
        return row_fail(r, "a message must be {\"role\": ..., \"content\": ...} or "
                        "{\"from\": ..., \"value\": ...}, with a content that is not null; %s",
                        found);
    }
    if (responds) {
        *role = ROLE_USER;
        if (r->responses[0] < 0) r->responses[0] = message;
        r->responses[1] = message;
        const int is_joined = !r->is_alone && !r->is_last && !r->chat.form->response.before;
        if (is_joined && is_response(r, json_next(j, message))) return 0;
        const int result = render_turn(r, ROLE_USER, content, "content");
        r->responses[0] = -1;
        return result;
    }
    for (size_t i = 0; i < sizeof known_roles / sizeof *known_roles; i++) {
        if (!json_equal(j, who, known_roles[i].name)) continue;
        *role = known_roles[i].role;
        return render_turn(r, *role, content, "content");
    }
    return row_fail(r, "unknown role \"%.40s\": use system, user or assistant",
                    json_string(j, who));
}

// One message, or a list of them without the last `leave`; *first and *last: whose they were.
int render_messages(Reader *r, int list, int leave, int *first, int *last) {
    const Json *j = &r->json;
    *first = *last = -1;
    if (json_type(j, list) == JSON_OBJECT) {
        if (render_message(r, list, last) < 0) return -1;
        *first = *last;
        return 0;
    }
    if (row_is_string_list(r, list)) {
        return row_fail(r, "\"%.60s\" is a list of strings; it must be a string, or a list of "
                        "messages {\"role\": ..., \"content\": ...}", json_key(j, list));
    }
    const int n = json_count(j, list) - leave;
    if (json_type(j, list) != JSON_ARRAY) {
        return row_fail(r, "\"%.60s\" must be a list of messages, not %s", json_key(j, list),
                        row_type_name(r, list));
    }
    if (n < 1) {
        return row_fail(r, "messages must be a list, not empty, with something before the answer");
    }
    int message = json_first(j, list);
    for (int k = 0; k < n; k++) {
        r->is_last = k == n - 1;
        if (render_message(r, message, last) < 0) return -1;
        if (k == 0) *first = *last;
        message = json_next(j, message);
    }
    return 0;
}

// The row's own system message, -1 where it has none that says something.
int row_system(const Reader *r) {
    int system = row_get(r, 0, "system");
    if (system < 0) system = row_get(r, 0, "system_prompt");
    return json_equal(&r->json, system, "") ? -1 : system;
}

// The row's own system message before the messages of a list (or -1), unless they begin with it.
int render_system(Reader *r, int list) {
    const Json *j = &r->json;
    const int system = row_system(r), first = json_first(j, list);
    if (system < 0) return 0;
    row_use(r, system);
    const int who = message_role(r, first);
    if (json_equal(j, who, "system") || json_equal(j, who, "developer")) {
        if (json_equal(j, message_content(r, first), json_string(j, system))) return 0;
        return row_fail(r, "two system messages: \"%s\" and the first of \"%.60s\"; keep one",
                        json_key(j, system), json_key(j, list));
    }
    return render_turn(r, ROLE_SYSTEM, system, "system");
}

// The assistant's turn that begins at `start` is an answer, but for its marker, which still belongs
// to what stands before.
int row_end_turn(Reader *r, size_t start) {
    const size_t begin = start + template_answer_marker(r);
    if (r->n == MAX_ANSWERS) {
        return row_fail(r, "more than %d turns of the assistant; cut the conversation, or say "
                        "--train_turns last", MAX_ANSWERS);
    }
    if (r->n && begin == r->answer[r->n - 1].start + r->answer[r->n - 1].len) {
        return row_fail(r, "nothing stands between two turns of the assistant: join them");
    }
    const size_t end = r->rendered.len - r->state.after;
    r->answer[r->n] = (Passage){.start = begin, .len = end - begin};
    r->n++;
    return 0;
}

// "history": [[question, answer], ...]
static int render_history(Reader *r) {
    const Json *j = &r->json;
    const int history = row_get(r, 0, "history");
    if (history >= 0) row_use(r, history);
    if (history >= 0 && json_type(j, history) != JSON_ARRAY) {
        return row_fail(r, "\"history\" must be a list of [question, answer]");
    }
    for (int turn = json_first(j, history); turn >= 0; turn = json_next(j, turn)) {
        if (json_type(j, turn) != JSON_ARRAY || json_count(j, turn) != 2) {
            return row_fail(r, "\"history\" must be a list of [question, answer]");
        }
        const int question = json_first(j, turn), answer = json_next(j, question);
        r->is_last = 0;
        r->user_follows = r->chat.form && r->chat.form->system_last;
        r->query_follows = 1;
        if (render_turn(r, ROLE_USER, question, "history") < 0) return -1;
        const size_t start = r->rendered.len;
        if (render_turn(r, ROLE_ASSISTANT, answer, "history") < 0) return -1;
        if (r->are_turns && row_end_turn(r, start) < 0) return -1;
        r->turns++;
    }
    r->user_follows = 0;
    r->query_follows = 0;
    return 0;
}

// "instruction" after "system" and "history", "input" (or "context") on a line of its own.
int render_instruction(Reader *r, int instruction) {
    const Json *j = &r->json;
    int input = row_get(r, 0, "input");
    if (input < 0) input = row_get(r, 0, "context");
    row_use(r, instruction);
    if (render_system(r, -1) < 0 || render_history(r) < 0) return -1;
    if (input >= 0 && !json_equal(j, input, "")) {
        row_use(r, input);
        r->input = input;
    }
    const int result = render_turn(r, ROLE_USER, instruction, "instruction");
    r->input = 0;
    return result;
}
#endif

/* shapes.c - the shapes of data rows, and a row to its normal form: a prompt and n answers with a
 * score each.
 *
 * The keys of a data row decide its shape; null is absent.  Other keys are metadata, which a short
 * rule tells from text (prompt_names, below): text that nobody would read is an error.  A file is
 * rows line by line, or one JSON array of them; for language models any other text is one document.
 * dataset.c tokenises, cuts, drops and counts what comes out here.
 *
 *     text        {"text": ""}                           a document: DATA_DOCUMENT
 *     prompt      {"prompt": P}
 *     completion  {"prompt": P, "completion": A}         or another of answer_names; or messages
 *                                                        that end with A
 *     point       ... the same with "label", "score" or "kto_tag"
 *     pair        {"prompt": P, "chosen": A, "rejected": A}
 *     ranking     {"prompt": P, "chosen": ["", ...], "rejected": ["", ...]}; one may be a string
 *                 {"prompt": P, "completions": [A, ...]} best first, or with "ranks" or "scores"
 *                                                        (these also beside "responses");
 *                 {"instruction": "", "output": [A, ...]} best first
 *                 {"prompt": P, "answers": [{"answer": A, "rank": 1}, ...]}
 *                 {"text": ["", ...], "score": [1, ...]}
 *     and those of well-known sets as they are published: the table known_sets
 *
 *     P = "" | [messages];   A = "" | [messages] | message
 *     message = {"role" or "from": "user", "content" or "value": C}
 *     C = "" | [{"type": "text", "text": ""}, ...]
 *     "prompt": P may also be "instruction": "" with "input" (or "context") and "history";
 *     "conversations", "messages" or "conversation": [messages]; or absent: then every answer is a
 *     whole text.
 *     "system": "" beside any of them is the first message; a string as prompt then is the user's.
 *
 * A string stands as it is.  Messages are rendered by the template `plain`, the form of the
 * Anthropic HH data: a turn is "\n\nSystem: ", "\n\nHuman: " or "\n\nAssistant: " and its content,
 * the prompt ends with "\n\nAssistant:", the answer is " " and its content; `turns` takes a string
 * without role markers as the user's message too; `none` joins the bare contents.  Where answers
 * are whole texts, the prompt is their longest common prefix: of conversations whole messages, of
 * strings cut at its last role marker, else before its last space.  A conversation that ends with
 * the assistant's message is a completion: whoever wants the whole text joins prompt and answer. */
#ifndef SHAPES_C
#define SHAPES_C

#include "common.h"
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
enum { MAX_USED = 16 };                 // keys of a row that its texts can be made of

typedef struct {
    int max_length;                     // prompt + answer + end of text; 0: no limit
    int max_prompt_length;              // prompts are cut from the left to this; 0: no own limit
    enum { OVER_DROP, OVER_TRUNCATE, OVER_RAISE, NUM_OVER_LENGTHS } over_length;    // too long
    const char *template_;              // "plain" (also NULL), "turns" or "none"
    const char *prompt_key, *chosen_key, *rejected_key;             // NULL: the names above
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
} DataOptions;

// ------------------------------------------------------------------------ a row in its normal form

// A prompt or an answer before it is tokenised: rendered.data[start .. start+len).
typedef struct {
    size_t start, len;
    float score;                        // of an answer; of a ranking's its place, 1 is the best
    int messages;                       // of a whole conversation its list in the row, or 0
} Passage;

typedef struct {
    const DataOptions *options;
    const Tokenizer *tokenizer;
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
    enum { NO_PROMPT, STRING_PROMPT, CHAT_PROMPT } prompt_form;
    enum { STRING_ANSWER, MESSAGE_ANSWER, CONVERSATION } answer_form;   // the last holds its prompt
    Passage prompt, answer[MAX_ANSWERS];
    int n;                              // answers
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

int  row_read(Reader *r);                                   // the parsed row to its normal form
int  row_uses(const Reader *r, int v);                      // is value v prompt or answer?
int  row_same_text(const Reader *r, const Passage *a, const Passage *b);
int  row_names_prompt(const char *key);                     // does this key hold what is before it?
void row_keys(const Reader *r, char text[256]);             // "found a, b": the keys of the row
PRINTF_LIKE(2, 3) int row_fail(const Reader *r, const char *format, ...);

int  word_is_listed(const char *word, const char *const *list, size_t n);
#define LISTED(word, list) word_is_listed(word, list, sizeof (list) / sizeof *(list))

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
static int value_of(const Reader *r, int object, const char *key) {
    const int v = json_get(&r->json, object, key);
    return json_type(&r->json, v) == JSON_NULL ? -1 : v;
}

// The row's value v goes into its prompt or its answers.
static void use(Reader *r, int v) {
    for (int i = 0; i < r->num_used; i++) {
        if (r->used[i] == v) return;
    }
    assert(r->num_used < MAX_USED);
    r->used[r->num_used++] = v;
}

static int is_list_of_strings(const Reader *r, int v) {
    const Json *j = &r->json;
    return json_type(j, v) == JSON_ARRAY && json_type(j, json_first(j, v)) == JSON_STRING;
}

// What stands where something else is expected.
static const char *type_of_value(const Reader *r, int v) {
    static const char *const name[] = {
        [JSON_NONE] = "null or absent", [JSON_NULL] = "null", [JSON_FALSE] = "false",
        [JSON_TRUE] = "true",
        [JSON_NUMBER] = "a number", [JSON_STRING] = "a string", [JSON_ARRAY] = "a list",
        [JSON_OBJECT] = "an object",
    };
    if (is_list_of_strings(r, v)) return "a list of strings";
    return name[json_type(&r->json, v)];
}

// "found a, b, c": the keys of an object; or what stands there instead.
static void object_keys(const Reader *r, int object, char text[256]) {
    const Json *j = &r->json;
    size_t n = (size_t)snprintf(text, 256, "found ");
    if (json_type(j, object) != JSON_OBJECT) {
        snprintf(text + n, 256 - n, "%s", type_of_value(r, object));
        return;
    }
    if (json_first(j, object) < 0) snprintf(text + n, 256 - n, "no keys");
    for (int v = json_first(j, object); v >= 0 && n < 180; v = json_next(j, v)) {
        n += (size_t)snprintf(text + n, 256 - n, "%.60s%s", json_key(j, v),
                              json_next(j, v) >= 0 ? ", " : "");
    }
}
void row_keys(const Reader *r, char text[256]) { object_keys(r, 0, text); }

static int read_number(const Reader *r, int v, const char *key, float *out) {
    const double x = json_number(&r->json, v);
    if (json_type(&r->json, v) != JSON_NUMBER) {
        return row_fail(r, "\"%s\" must be a number, not %s", key, type_of_value(r, v));
    }
    if (fabs(x) > FLT_MAX) {
        return row_fail(r, "\"%s\" is beyond a float: %.40s", key, json_string(&r->json, v));
    }
    *out = (float)x;
    return 0;
}

// ------------------------------------------------------------------------------------ the template

enum { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, NUM_ROLES };
static const char *const turn_marker[NUM_ROLES] = {
    [ROLE_SYSTEM] = "\n\nSystem:", [ROLE_USER] = "\n\nHuman:", [ROLE_ASSISTANT] = "\n\nAssistant:",
};
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

// Does the template mark whose turn it is?
static int has_markers(const Reader *r) {
    const char *template_ = r->options->template_;
    return !template_ || strcmp(template_, "none") != 0;
}

// Are strings turns too?
static int has_turns(const Reader *r) {
    const char *template_ = r->options->template_;
    return template_ && !strcmp(template_, "turns");
}

static const char *marker_of(const Reader *r, int role) {
    return has_markers(r) ? turn_marker[role] : "";
}

// Does a value say nothing: "", [], false, "[]" as some files have it, an object of nothing else?
static int says_nothing(const Json *j, int v) {
    const JsonType type = json_type(j, v);
    if (type == JSON_STRING) return json_length(j, v) == 0 || json_equal(j, v, "[]");
    if (type == JSON_ARRAY) return json_count(j, v) == 0;
    if (type != JSON_OBJECT) return type == JSON_NONE || type == JSON_NULL || type == JSON_FALSE;
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (!says_nothing(j, i)) return 0;
    }
    return 1;
}

// A row, or a message of it, must have nothing beside its text.
static int refuse_beside_text(const Reader *r, int object) {
    for (size_t i = 0; i < sizeof beside_text / sizeof *beside_text; i++) {
        if (beside_text[i].of_message && object == 0) continue;
        const int v = value_of(r, object, beside_text[i].name);
        if (says_nothing(&r->json, v)) continue;
        return row_fail(r, "\"%s\": %s are not read, and would be lost; remove such rows, or the "
                        "key where the text is enough", beside_text[i].name, beside_text[i].what);
    }
    return 0;
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
static int render_string(Reader *r, int v, const char *key) {
    const Json *j = &r->json;
    if (json_type(j, v) != JSON_STRING) {
        return row_fail(r, "\"%s\" must be a string, not %s", key, type_of_value(r, v));
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
    const int type = value_of(r, part, "type");
    int text = value_of(r, part, "text");
    if (text < 0) text = value_of(r, part, "value");
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

// A turn: its marker, a space and the content; the marker alone where the content is empty.
static int render_turn(Reader *r, int role, int content, const char *key) {
    const char *marker = marker_of(r, role);
    if (buffer_printf(&r->rendered, "%s", marker) < 0) return -1;
    const size_t start = r->rendered.len;
    if (has_markers(r) && buffer_append(&r->rendered, " ", 1) < 0) return -1;
    const size_t begin = r->rendered.len;
    if (render_content(r, content, key) < 0) return -1;
    if (r->rendered.len == begin) r->rendered.len = start;
    return 0;
}

// Who speaks in a message: "role", or "from" as in ShareGPT.
static int role_value(const Reader *r, int message) {
    const int role = value_of(r, message, "role");
    return role >= 0 ? role : value_of(r, message, "from");
}

// Is the message the assistant's?  ShareGPT calls it gpt.
static int is_assistant(const Reader *r, int message) {
    const int role = role_value(r, message);
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
        const int v = value_of(r, message, names[i]);
        const int is_one = json_type(&r->json, v) == JSON_TRUE || json_number(&r->json, v) == 1;
        if (v < 0 || is_one) continue;
        return row_fail(r, "\"%s\" of a message is not read: say --train_turns all or last, and "
                        "remove it", names[i]);
    }
    return 0;
}

// What is said in a message: "content", or "value" as in ShareGPT.
static int content_value(const Reader *r, int message) {
    const int content = value_of(r, message, "content");
    return content >= 0 ? content : value_of(r, message, "value");
}

// One message as a turn; *role is whose it is.
static int render_message(Reader *r, int message, int *role) {
    const int who = role_value(r, message), content = content_value(r, message);
    if (refuse_beside_text(r, message) < 0) return -1;
    if (is_assistant(r, message) && refuse_weight(r, message) < 0) return -1;
    for (size_t i = 0; i < sizeof tool_roles / sizeof *tool_roles; i++) {
        if (!json_equal(&r->json, who, tool_roles[i])) continue;
        return row_fail(r, "the role \"%s\": tool calls are not read; remove such rows",
                        tool_roles[i]);
    }
    if (who < 0 || content < 0) {
        char found[256];
        object_keys(r, message, found);
        return row_fail(r, "a message must be {\"role\": ..., \"content\": ...} or "
                        "{\"from\": ..., \"value\": ...}, with a content that is not null; %s",
                        found);
    }
    for (size_t i = 0; i < sizeof known_roles / sizeof *known_roles; i++) {
        if (!json_equal(&r->json, who, known_roles[i].name)) continue;
        *role = known_roles[i].role;
        return render_turn(r, *role, content, "content");
    }
    return row_fail(r, "unknown role \"%.40s\": use system, user or assistant",
                    json_string(&r->json, who));
}

// One message, or a list of them without the last `leave`; *first and *last: whose they were.
static int render_messages(Reader *r, int list, int leave, int *first, int *last) {
    const Json *j = &r->json;
    *first = *last = -1;
    if (json_type(j, list) == JSON_OBJECT) {
        if (render_message(r, list, last) < 0) return -1;
        *first = *last;
        return 0;
    }
    if (is_list_of_strings(r, list)) {
        return row_fail(r, "\"%.60s\" is a list of strings; it must be a string, or a list of "
                        "messages {\"role\": ..., \"content\": ...}", json_key(j, list));
    }
    const int n = json_count(j, list) - leave;
    if (json_type(j, list) != JSON_ARRAY) {
        return row_fail(r, "\"%.60s\" must be a list of messages, not %s", json_key(j, list),
                        type_of_value(r, list));
    }
    if (n < 1) {
        return row_fail(r, "messages must be a list, not empty, with something before the answer");
    }
    int message = json_first(j, list);
    for (int k = 0; k < n; k++) {
        if (render_message(r, message, last) < 0) return -1;
        if (k == 0) *first = *last;
        message = json_next(j, message);
    }
    return 0;
}

// The row's own system message, -1 where it has none that says something.
static int system_of(const Reader *r) {
    int system = value_of(r, 0, "system");
    if (system < 0) system = value_of(r, 0, "system_prompt");
    return json_equal(&r->json, system, "") ? -1 : system;
}

// The row's own system message before the messages of a list (or -1), unless they begin with it.
static int render_system(Reader *r, int list) {
    const Json *j = &r->json;
    const int system = system_of(r), first = json_first(j, list);
    if (system < 0) return 0;
    use(r, system);
    const int who = role_value(r, first);
    if (json_equal(j, who, "system") || json_equal(j, who, "developer")) {
        if (json_equal(j, content_value(r, first), json_string(j, system))) return 0;
        return row_fail(r, "two system messages: \"%s\" and the first of \"%.60s\"; keep one",
                        json_key(j, system), json_key(j, list));
    }
    return render_turn(r, ROLE_SYSTEM, system, "system");
}

// The assistant's turn that begins at `start` is an answer, but for its marker, which still belongs
// to what stands before.
static int end_turn(Reader *r, size_t start) {
    const size_t begin = start + strlen(marker_of(r, ROLE_ASSISTANT));
    if (r->n == MAX_ANSWERS) {
        return row_fail(r, "more than %d turns of the assistant; cut the conversation, or say "
                        "--train_turns last", MAX_ANSWERS);
    }
    if (r->n && begin == r->answer[r->n - 1].start + r->answer[r->n - 1].len) {
        return row_fail(r, "nothing stands between two turns of the assistant: join them");
    }
    r->answer[r->n] = (Passage){.start = begin, .len = r->rendered.len - begin};
    r->n++;
    return 0;
}

// "history": [[question, answer], ...]
static int render_history(Reader *r) {
    const Json *j = &r->json;
    const int history = value_of(r, 0, "history");
    if (history >= 0) use(r, history);
    if (history >= 0 && json_type(j, history) != JSON_ARRAY) {
        return row_fail(r, "\"history\" must be a list of [question, answer]");
    }
    for (int turn = json_first(j, history); turn >= 0; turn = json_next(j, turn)) {
        if (json_type(j, turn) != JSON_ARRAY || json_count(j, turn) != 2) {
            return row_fail(r, "\"history\" must be a list of [question, answer]");
        }
        const int question = json_first(j, turn), answer = json_next(j, question);
        if (render_turn(r, ROLE_USER, question, "history") < 0) return -1;
        const size_t start = r->rendered.len;
        if (render_turn(r, ROLE_ASSISTANT, answer, "history") < 0) return -1;
        if (r->are_turns && end_turn(r, start) < 0) return -1;
        r->turns++;
    }
    return 0;
}

// "instruction" after "system" and "history", "input" (or "context") on a line of its own.
static int render_instruction(Reader *r, int instruction) {
    const Json *j = &r->json;
    int input = value_of(r, 0, "input");
    if (input < 0) input = value_of(r, 0, "context");
    use(r, instruction);
    if (render_system(r, -1) < 0 || render_history(r) < 0) return -1;
    if (render_turn(r, ROLE_USER, instruction, "instruction") < 0) return -1;
    if (input < 0 || json_equal(j, input, "")) return 0;
    use(r, input);
    if (json_length(j, instruction) && buffer_append(&r->rendered, "\n", 1) < 0) return -1;
    return render_string(r, input, json_key(j, input));
}

// --------------------------------------------------------------------- the keys of a row, its kind

typedef struct {                        // values of the row's keys, -1 where absent or null
    int prompt, instruction;
    int conversation;                   // "conversations", "messages" or "conversation"
    int answer;                         // "completion" or another of answer_names, or a message
    int answer_is_last_message;         // yes: the last of the conversation
    int label, score, kto_tag;          // three names of a label; "score" may also be a list
    int chosen, rejected;
    int completions, ranks, scores;     // a ranking and what sorts it
    int answers;                        // a ranking whose elements hold their ranks
    int text, texts;                    // "text": a document; a list, which is a ranking
    const struct KnownSet *set;         // of which the row is as published, or NULL
    int question;                       // the user's message there
} RowKeys;

/* Well-known sets as they are published.  A row is of a set if it has all of its keys.  The prompt
 * is then the user's message, the answers are the assistant's; of a pair `better` says which one is
 * chosen.  A path goes into objects by their keys and into lists by number. */
enum Better {
    BY_ORDER,                           // the first
    BY_NUMBER,                          // `by` is 0: the first; 1: the second
    BY_ONE,                             // `by` is 1: the first; 0: the second
    BY_SIGN,                            // `by` is negative: the first; positive: the second
    BY_LARGER,                          // the first has `by`, the second `by_too`: the larger one
    BY_NAME,                            // `by` is "model_a": the first; "model_b": the second
};
enum { SET_KEYS = 6 };
typedef struct KnownSet {
    const char *name, *keys[SET_KEYS];
    const char *prompt, *first, *second;                  // paths; of a ranking and a point no two
    int lists_in_strings;               // strings hold JSON: what the user said, what was answered
    int is_post;                        // the prompt is made of a post's parts, see render_post
    enum Better better;
    const char *by, *by_too;                              // keys; of a point `by` is its score
    const char *meaning;
} KnownSet;
static const KnownSet known_sets[] = {
    {.name = "SHP", .keys = {"history", "human_ref_A", "human_ref_B", "labels"},
     .prompt = "history", .first = "human_ref_A", .second = "human_ref_B",
     .better = BY_ONE, .by = "labels",
     .meaning = "history is the user's message; labels 1: human_ref_A is better, 0: human_ref_B"},
    {.name = "PKU-SafeRLHF",
     .keys = {"prompt", "response_0", "response_1", "better_response_id"},
     .prompt = "prompt", .first = "response_0", .second = "response_1",
     .better = BY_NUMBER, .by = "better_response_id",
     .meaning = "better_response_id names the better answer (safer_response_id is not used)"},
    {.name = "HelpSteer2, preferences",
     .keys = {"prompt", "response_1", "response_2", "preference_strength"},
     .prompt = "prompt", .first = "response_1", .second = "response_2",
     .better = BY_SIGN, .by = "preference_strength",
     .meaning = "preference_strength below 0: response_1 is better, above: response_2, 0: a tie"},
    {.name = "HelpSteer3, preferences",
     .keys = {"context", "response1", "response2", "overall_preference"},
     .prompt = "context", .first = "response1", .second = "response2",
     .better = BY_SIGN, .by = "overall_preference",
     .meaning = "overall_preference below 0: response1 is better, above: response2, 0: a tie"},
    {.name = "HelpSteer2", .keys = {"prompt", "response", "helpfulness", "verbosity"},
     .prompt = "prompt", .first = "response", .by = "helpfulness",
     .meaning = "helpfulness is the score (the other four ratings are not used)"},
    {.name = "UltraFeedback", .keys = {"instruction", "completions", "correct_answers"},
     .prompt = "instruction", .meaning = "a ranking by overall_score"},
    {.name = "WebGPT comparisons",
     .keys = {"question", "answer_0", "answer_1", "score_0", "score_1"},
     .prompt = "question.full_text", .first = "answer_0", .second = "answer_1",
     .better = BY_LARGER, .by = "score_0", .by_too = "score_1",
     .meaning = "the answer with the larger score is better, equal ones are a tie; quotes are not "
                "used"},
    {.name = "TL;DR comparisons", .keys = {"info", "summaries", "choice"},
     .is_post = 1, .first = "summaries.0.text", .second = "summaries.1.text",
     .better = BY_NUMBER, .by = "choice",
     .meaning = "the prompt is SUBREDDIT, TITLE and POST (or Article) and ends with TL;DR:, choice "
                "names the better summary"},
    {.name = "Stack Exchange, paired", .keys = {"question", "response_j", "response_k"},
     .prompt = "question", .first = "response_j", .second = "response_k",
     .meaning = "response_j is better"},
    {.name = "Stack Exchange, preferences", .keys = {"qid", "question", "answers"},
     .prompt = "question", .meaning = "a ranking by pm_score"},
    {.name = "arena conversations", .keys = {"conversation_a", "conversation_b", "winner"},
     .first = "conversation_a", .second = "conversation_b",
     .better = BY_NAME, .by = "winner",
     .meaning = "winner model_a or model_b names the better conversation, else it is a tie"},
    {.name = "arena 55k",
     .keys = {"prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"},
     .first = "response_a", .second = "response_b", .lists_in_strings = 1,
     .better = BY_LARGER, .by = "winner_model_a", .by_too = "winner_model_b",
     .meaning = "prompt and responses are lists of turns in JSON; winner_model_a or _b is 1, or it "
                "is a tie"},
    {.name = "Orca pairs", .keys = {"system", "question", "chosen", "rejected"},
     .prompt = "question", .first = "chosen", .second = "rejected",
     .meaning = "system and question are the messages before the answer"},
    {.name = "Orca pairs of distilabel", .keys = {"system", "input", "chosen", "rejected"},
     .prompt = "input", .first = "chosen", .second = "rejected",
     .meaning = "system and input are the messages before the answer"},
    {.name = "OpenAI's preference format",
     .keys = {"input", "preferred_output", "non_preferred_output"},
     .prompt = "input.messages", .first = "preferred_output", .second = "non_preferred_output",
     .meaning = "preferred_output is better"},
    {.name = "RewardBench 2", .keys = {"prompt", "chosen", "rejected", "num_correct"},
     .prompt = "prompt",
     .meaning = "each of chosen is better than each of rejected"},
};

/* Well-known rows that are not read: what has all of the keys.  Messages of a tree are each other's
 * prompts; steps of a solution have ratings of their own. */
static const char of_tree[] =
    "write each conversation from its root to an answer as {\"messages\": ...}, or of the replies "
    "to one message, by their rank, pairs of {\"prompt\", \"chosen\", \"rejected\"}";
static const struct { const char *name, *keys[SET_KEYS], *remedy; } refused_sets[] = {
    {.name = "a tree of OpenAssistant's messages", .keys = {"message_tree_id", "prompt"},
     .remedy = of_tree},
    {.name = "a tree of messages", .keys = {"text", "replies"}, .remedy = of_tree},
    {.name = "a single message of an OpenAssistant tree", .keys = {"message_id", "role", "text"},
     .remedy = of_tree},
    {.name = "a single message of a tree", .keys = {"parent_id", "role", "text"},
     .remedy = of_tree},
    {.name = "PRM800K's ratings of single steps", .keys = {"labeler", "question", "label"},
     .remedy = "write whole solutions as {\"prompt\", \"completion\", \"label\"}"},
};

// What an answer is called, the first that a row has.
static const char *const answer_names[] = {"completion", "output", "response", "answer"};

static int has_label(const RowKeys *k) { return k->label >= 0 || k->score >= 0 || k->kto_tag >= 0; }

static enum DataKind classify(const RowKeys *k) {
    if (k->chosen >= 0 || k->rejected >= 0) return DATA_PAIR;
    if (k->completions >= 0 || k->answers >= 0 || k->texts >= 0) return DATA_RANKING;
    if (k->text >= 0) return DATA_DOCUMENT;
    if (k->answer < 0) return DATA_PROMPT;
    return has_label(k) ? DATA_POINT : DATA_COMPLETION;
}

// The last message of a conversation if it is the assistant's; -1: the user has the last word.
static int assistants_last_message(const Reader *r, int conversation) {
    const Json *j = &r->json;
    int last = -1;
    if (json_type(j, conversation) != JSON_ARRAY) return -1;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) last = i;
    return is_assistant(r, last) ? last : -1;
}

static int is_key_of_set(const KnownSet *set, const char *key) {
    for (int k = 0; k < SET_KEYS && set->keys[k]; k++) {
        if (!strcmp(set->keys[k], key)) return 1;
    }
    return 0;
}

// Has the row all keys of the set, and no prompt under another of our names?
static int is_of_set(const Reader *r, const KnownSet *set) {
    static const char *const prompts[] = {"prompt", "instruction", "messages", "conversations"};
    for (int k = 0; k < SET_KEYS && set->keys[k]; k++) {
        if (json_get(&r->json, 0, set->keys[k]) < 0) return 0;
    }
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        if (value_of(r, 0, prompts[i]) >= 0 && !is_key_of_set(set, prompts[i])) return 0;
    }
    return 1;
}

// The set that the row is of, as published; NULL: none, or the command line names keys.
static const KnownSet *known_set(const Reader *r) {
    const DataOptions *o = r->options;
    if (o->prompt_key || o->chosen_key || o->rejected_key) return NULL;
    for (size_t i = 0; i < sizeof known_sets / sizeof *known_sets; i++) {
        if (is_of_set(r, &known_sets[i])) return &known_sets[i];
    }
    return NULL;
}

// The value at the end of a path, -1 where there is none.
static int row_value(const Reader *r, const char *path) {
    const Json *j = &r->json;
    char name[32];
    int v = 0;
    while (path && *path && v >= 0) {
        const size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        if (json_type(j, v) == JSON_ARRAY) {
            const int number = atoi(name);
            v = json_first(j, v);
            for (int i = 0; i < number && v >= 0; i++) v = json_next(j, v);
        } else {
            v = value_of(r, v, name);
        }
        path += n + (path[n] == '.');
    }
    return path ? v : -1;
}

// The string at the head of a path, where the set's objects became their text; -1: there is none.
static int string_on_path(const Reader *r, const char *path) {
    char name[32];
    if (!path) return -1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(path, "."), path);
    const int v = value_of(r, 0, name);
    return json_type(&r->json, v) == JSON_STRING ? v : -1;
}

// The keys of a row of a known set, in place of our own names.
static void keys_of_set(const Reader *r, RowKeys *k) {
    const KnownSet *set = k->set;
    const RowKeys all = *k;
    *k = (RowKeys){
        .prompt = -1, .instruction = -1, .conversation = -1, .answer = -1, .label = -1, .score = -1,
        .kto_tag = -1, .chosen = -1, .rejected = -1, .completions = -1, .ranks = -1, .scores = -1,
        .answers = -1, .text = -1, .texts = -1, .set = set,
        .question = row_value(r, set->prompt),
    };
    if (k->question < 0) k->question = string_on_path(r, set->prompt);
    if (set->second) {
        k->chosen = row_value(r, set->first);
        k->rejected = row_value(r, set->second);
    } else if (set->first) {
        k->answer = row_value(r, set->first);
        k->score = value_of(r, 0, set->by);
    } else if (all.chosen >= 0) {
        k->chosen = all.chosen;                           // two lists
        k->rejected = all.rejected;
    } else {
        k->completions = all.completions;
        k->answers = all.answers;
    }
}

// Stops at a row of one of them.
static int refuse_sets(const Reader *r) {
    for (size_t i = 0; i < sizeof refused_sets / sizeof *refused_sets; i++) {
        int k = 0;
        while (k < SET_KEYS && refused_sets[i].keys[k]) {
            if (json_get(&r->json, 0, refused_sets[i].keys[k]) < 0) break;
            k++;
        }
        if (k < SET_KEYS && refused_sets[i].keys[k]) continue;
        return row_fail(r, "%s, which is not read: %s", refused_sets[i].name,
                        refused_sets[i].remedy);
    }
    return 0;
}

static RowKeys find_keys(const Reader *r) {
    RowKeys k = {
        .prompt       = value_of(r, 0, r->prompt_key),
        .instruction  = value_of(r, 0, "instruction"),
        .conversation = value_of(r, 0, "conversations"),
        .answer       = value_of(r, 0, "completion"),
        .label        = value_of(r, 0, "label"),
        .score        = value_of(r, 0, "score"),
        .kto_tag      = value_of(r, 0, "kto_tag"),
        .chosen       = value_of(r, 0, r->chosen_key),
        .rejected     = value_of(r, 0, r->rejected_key),
        .completions  = value_of(r, 0, "completions"),
        .ranks        = value_of(r, 0, "ranks"),
        .scores       = value_of(r, 0, "scores"),
        .answers      = value_of(r, 0, "answers"),
        .text         = value_of(r, 0, "text"),
        .texts        = -1,
        .question     = -1,
    };
    k.set = known_set(r);
    if (k.set) {
        keys_of_set(r, &k);
        return k;
    }
    if (k.conversation < 0) k.conversation = value_of(r, 0, "messages");
    if (k.conversation < 0) k.conversation = value_of(r, 0, "conversation");
    for (size_t i = 0; i < sizeof answer_names / sizeof *answer_names; i++) {
        if (k.answer < 0) k.answer = value_of(r, 0, answer_names[i]);
    }
    // a document that is also an instruction with its answer is one for language models only
    const int both = k.text >= 0 && k.instruction >= 0 && k.answer >= 0;
    if (both && r->options->plain_text != ONE_DOCUMENT) k.text = -1;
    // two answers in "output" are a ranking, the better one first; so are "responses" with numbers
    if (is_list_of_strings(r, value_of(r, 0, "output"))) {
        k.completions = k.answer;
        k.answer = -1;
    }
    if (k.completions < 0 && (k.ranks >= 0 || k.scores >= 0)) {
        k.completions = value_of(r, 0, "responses");
    }
    if (json_type(&r->json, k.text) == JSON_ARRAY) {
        k.texts = k.text;
        k.text = -1;
    }
    // a conversation that holds the answer also holds the prompt, whatever stands beside it;
    // "answer" is then what is known to be right
    const int last = assistants_last_message(r, k.conversation);
    const char *name = json_key(&r->json, k.answer);
    if (last >= 0 && k.answer >= 0 && !has_label(&k) && !strcmp(name, "answer")) k.answer = -1;
    if (classify(&k) == DATA_PROMPT) {
        k.answer = last;
        k.answer_is_last_message = k.answer >= 0;
        if (k.answer_is_last_message) k.prompt = k.instruction = -1;
    }
    return k;
}

// -------------------------------------------------------------------------- prompt, answers, label

// Where the role marker ends that begins the line s[i .. n), perhaps after "## "; 0: there is none.
static size_t role_marker_end(const char *s, size_t i, size_t n) {
    static const char *const markers[] = {
        "Human:", "User:", "Assistant:", "System:", "<|user|>", "<|assistant|>", "<|im_start|>user",
        "<|im_start|>assistant",
    };
    while (i < n && (s[i] == '#' || s[i] == ' ')) i++;
    for (size_t k = 0; k < sizeof markers / sizeof *markers; k++) {
        const size_t len = strlen(markers[k]);
        if (len <= n - i && !memcmp(s + i, markers[k], len)) return i + len;
    }
    return 0;
}

/* A string stands as it is, behind the row's system message if it has role markers of its own; any
 * other string is the user's message, as `instruction` is, beside a system message or where
 * --template turns says so. */
static int read_string_prompt(Reader *r, int prompt) {
    const Json *j = &r->json;
    const char *s = json_string(j, prompt), *blank = "\n ";
    const size_t n = json_length(j, prompt), start = strspn(s, blank);
    const int is_turn = has_turns(r) || system_of(r) >= 0;
    if (!is_turn || role_marker_end(s, start, n)) {
        r->prompt_form = STRING_PROMPT;
        if (render_system(r, -1) < 0) return -1;
        return render_string(r, prompt, r->prompt_key);
    }
    if (render_system(r, -1) < 0) return -1;
    return render_turn(r, ROLE_USER, prompt, r->prompt_key);
}

// The prompt, wherever it stands; without the last message of a conversation if that is the answer.
static int read_prompt(Reader *r, const RowKeys *k) {
    const Json *j = &r->json;
    int first, last = ROLE_USER;
    r->prompt_form = CHAT_PROMPT;
    if (k->prompt >= 0) use(r, k->prompt);
    if (json_type(j, k->prompt) == JSON_STRING) {
        if (read_string_prompt(r, k->prompt) < 0) return -1;
    } else if (k->prompt >= 0) {
        if (value_of(r, k->prompt, "0") >= 0) {
            return row_fail(r, "a table by columns; rows are needed, in Python: "
                            "pandas.read_json(FILE).to_json(OUT, orient=\"records\", lines=True)");
        }
        if (json_type(j, k->prompt) != JSON_ARRAY) {
            return row_fail(r, "\"%s\" must be a string or a list of messages, not %s",
                            r->prompt_key, type_of_value(r, k->prompt));
        }
        if (render_system(r, k->prompt) < 0) return -1;
        if (render_messages(r, k->prompt, 0, &first, &last) < 0) return -1;
    } else if (r->options->prompt_key && !k->answer_is_last_message) {
        return row_fail(r, "no \"%s\", which --prompt_key names", r->prompt_key);
    } else if (k->instruction >= 0) {
        if (render_instruction(r, k->instruction) < 0) return -1;
    } else if (k->conversation >= 0) {
        const int leave = k->answer_is_last_message;
        use(r, k->conversation);
        if (render_system(r, k->conversation) < 0) return -1;
        if (render_messages(r, k->conversation, leave, &first, &last) < 0) return -1;
    } else {
        r->prompt_form = NO_PROMPT;
    }

    if (last == ROLE_ASSISTANT && k->answer >= 0 && k->prompt < 0) {
        return row_fail(r, "two answers, \"%s\" and the last message of \"%s\"; keep one",
                        json_key(j, k->answer), json_key(j, k->conversation));
    }
    if (last == ROLE_ASSISTANT) {
        return row_fail(r, "the prompt must end with the user's message, not the assistant's");
    }
    if (r->prompt_form == CHAT_PROMPT) {
        if (buffer_printf(&r->rendered, "%s", marker_of(r, ROLE_ASSISTANT)) < 0) return -1;
    }
    r->prompt.len = r->rendered.len;
    return 0;
}

// A list that begins with the assistant's message is the answer; another holds its prompt as well.
static int form_of_answer(const Reader *r, int v) {
    if (json_type(&r->json, v) == JSON_OBJECT) return MESSAGE_ANSWER;
    if (json_type(&r->json, v) != JSON_ARRAY) return STRING_ANSWER;
    return is_assistant(r, json_first(&r->json, v)) ? MESSAGE_ANSWER : CONVERSATION;
}

// One more answer.
static int read_answer(Reader *r, int v, const char *key, float score) {
    if (is_list_of_strings(r, v)) {
        return row_fail(r, "\"%.60s\" is a list of strings; it must be a string, or a list of "
                        "messages {\"role\": ..., \"content\": ...}", key);
    }

    // answers have one form, which fits the prompt's
    const int form = form_of_answer(r, v);
    if (r->n == 0 && form == CONVERSATION) r->num_used = 0;   // they hold their prompt
    if (r->kind != DATA_RANKING && r->n < 2) use(r, v);
    if (r->n == MAX_ANSWERS) return row_fail(r, "more than %d answers", MAX_ANSWERS);
    if (r->n == 0) r->answer_form = form;
    if (form != (int)r->answer_form
        || (r->prompt_form == STRING_PROMPT && form == MESSAGE_ANSWER)) {
        return row_fail(r, "prompt and answers must all be strings or all be messages");
    }
    if (r->prompt_form == NO_PROMPT && form == MESSAGE_ANSWER) {
        return row_fail(r, "the answers have no prompt; name its key with --prompt_key");
    }

    // its text; what follows messages is a turn
    const size_t start = r->rendered.len;
    int first = ROLE_ASSISTANT, last = ROLE_ASSISTANT;
    if (form != STRING_ANSWER) {
        if (form == CONVERSATION && render_system(r, v) < 0) return -1;
        if (render_messages(r, v, 0, &first, &last) < 0) return -1;
    } else if (r->prompt_form == CHAT_PROMPT) {
        if (render_turn(r, ROLE_ASSISTANT, v, key) < 0) return -1;
    } else {
        if (render_string(r, v, key) < 0) return -1;
    }
    if (last != ROLE_ASSISTANT || (form == MESSAGE_ANSWER && first != ROLE_ASSISTANT)) {
        return row_fail(r, "an answer must be the assistant's message");
    }

    // the turn's marker already ends the prompt
    Passage *a = &r->answer[r->n];
    r->n++;
    a->start = start;
    if (r->prompt_form == CHAT_PROMPT && form != CONVERSATION) {
        a->start += strlen(marker_of(r, ROLE_ASSISTANT));
    }
    a->len = r->rendered.len - a->start;
    a->score = score;
    a->messages = form == CONVERSATION ? v : 0;
    return 0;
}

// How many messages of a conversation are the assistant's.
static size_t count_turns(const Reader *r, int conversation) {
    const Json *j = &r->json;
    size_t turns = 0;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) {
        turns += (size_t)is_assistant(r, i);
    }
    return turns;
}

// All turns of the assistant as answers, each behind all that was said before.
static int read_turns(Reader *r, int conversation) {
    const Json *j = &r->json;
    r->prompt_form = CHAT_PROMPT;
    r->are_turns = 1;
    use(r, conversation);
    if (render_system(r, conversation) < 0) return -1;
    for (int i = json_first(j, conversation); i >= 0; i = json_next(j, i)) {
        int role = ROLE_USER;
        const size_t start = r->rendered.len;
        if (render_message(r, i, &role) < 0) return -1;
        if (role == ROLE_ASSISTANT && end_turn(r, start) < 0) return -1;
    }
    r->prompt.len = r->answer[0].start;
    return 0;
}

// The same of an instruction with a history: its answers, then that of the instruction.
static int read_turns_of_history(Reader *r, const RowKeys *k) {
    r->prompt_form = CHAT_PROMPT;
    r->are_turns = 1;
    use(r, k->answer);
    if (render_instruction(r, k->instruction) < 0) return -1;
    const size_t start = r->rendered.len;
    if (render_turn(r, ROLE_ASSISTANT, k->answer, "output") < 0) return -1;
    if (end_turn(r, start) < 0) return -1;
    r->prompt.len = r->answer[0].start;
    return 0;
}

static int is_better(const Passage *a, const Passage *b, int large_is_good) {
    return large_is_good ? a->score > b->score : a->score < b->score;
}

// Insertion sort of the answers, the best one first; equally good ones keep their order.
static void sort_answers(Reader *r, int large_is_good) {
    for (int i = 1; i < r->n; i++) {
        const Passage a = r->answer[i];
        int k = i;
        while (k > 0 && is_better(&a, &r->answer[k-1], large_is_good)) {
            r->answer[k] = r->answer[k-1];
            k--;
        }
        r->answer[k] = a;
    }
}

// The score of each answer becomes its place: 1, and 1 for each answer that is better.
static void number_places(Reader *r, int large_is_good) {
    int place[MAX_ANSWERS];
    for (int i = 0; i < r->n; i++) {
        place[i] = 1;
        for (int k = 0; k < r->n; k++) {
            place[i] += is_better(&r->answer[k], &r->answer[i], large_is_good);
        }
    }
    for (int i = 0; i < r->n; i++) r->answer[i].score = (float)place[i];
}

int row_same_text(const Reader *r, const Passage *a, const Passage *b) {
    const char *s = r->rendered.data;
    return a->len == b->len && !memcmp(s + a->start, s + b->start, a->len);
}

// An answer that stands twice in a ranking is no choice: the better one of the same text stays.
static void drop_repeated_answers(Reader *r) {
    int kept = 0;
    for (int i = 0; i < r->n; i++) {
        int k = 0;
        while (k < kept && !row_same_text(r, &r->answer[k], &r->answer[i])) k++;
        if (k < kept) continue;
        r->answer[kept] = r->answer[i];
        kept++;
    }
    r->repeated = (size_t)(r->n - kept);
    r->n = kept;
}

// Stops at numbers beside a ranking that would not sort it.
static int refuse_other_numbers(const Reader *r, const RowKeys *k) {
    static const char *const names[] = {"score", "label", "rank", "rating", "ratings"};
    if (k->ranks >= 0 && k->scores >= 0) return row_fail(r, "keep one of \"ranks\" and \"scores\"");
    if (k->ranks >= 0 || k->scores >= 0) return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (json_type(&r->json, value_of(r, 0, names[i])) != JSON_ARRAY) continue;
        return row_fail(r, "\"%s\" would be ignored; numbers that sort the answers are called "
                        "\"ranks\" (1 is the best) or \"scores\"", names[i]);
    }
    return 0;
}

// One side of a pair, of which one side at least is a list: all its answers have one score.
static int read_side(Reader *r, int v, const char *key, float score) {
    const int element = json_first(&r->json, v);
    use(r, v);
    if (json_type(&r->json, v) == JSON_ARRAY && element < 0) {
        return row_fail(r, "\"%.60s\" must be an answer or a list of answers", key);
    }
    if (!is_list_of_strings(r, v)) return read_answer(r, v, key, score);
    for (int a = element; a >= 0; a = json_next(&r->json, a)) {
        if (read_answer(r, a, key, score) < 0) return -1;
    }
    return 0;
}

// Is one of the two, or are both, a list of answers?  Each of chosen is better than each of
// rejected.
static int has_lists(const Reader *r, const RowKeys *k) {
    if (k->set && k->set->second) return 0;               // two answers by its own keys
    return is_list_of_strings(r, k->chosen) || is_list_of_strings(r, k->rejected);
}

// The answers of a list: best first, or sorted by numbers beside the list or in its elements.
static int read_list(Reader *r, const RowKeys *k, int *large) {
    const Json *j = &r->json;
    int list = k->completions, by = k->ranks, large_is_good = 0, holds_rank = 0;
    const char *key = "ranks", *name = "answer";          // of an element: its number, its text

    // which list, and what sorts it
    if (k->texts >= 0) {
        list = k->texts;
        by = k->score;
        key = "score";
        large_is_good = 1;
        if (by < 0) return row_fail(r, "\"text\" is a list, but there is no \"score\"");
    } else if (k->answers >= 0) {
        list = k->answers;
        by = -1;
        key = "rank";
        holds_rank = 1;
        if (value_of(r, json_first(j, list), "pm_score") >= 0) {       // Stack Exchange
            key = "pm_score";
            name = "text";
            large_is_good = 1;
        }
    } else if (k->set) {                                  // UltraFeedback
        by = -1;
        key = "overall_score";
        name = "response";
        large_is_good = 1;
        holds_rank = 1;
    } else if (refuse_other_numbers(r, k) < 0) {
        return -1;
    } else if (k->scores >= 0) {
        by = k->scores;
        key = "scores";
        large_is_good = 1;
    }
    const int n = json_count(j, list);
    if (json_type(j, list) != JSON_ARRAY || n < 2) {
        return row_fail(r, "\"%s\" must be a list of two or more answers, a ranking",
                        json_key(j, list));
    }
    if (by >= 0 && (json_type(j, by) != JSON_ARRAY || json_count(j, by) != n)) {
        return row_fail(r, "\"%s\" must be a list of %d numbers, one for each answer", key, n);
    }

    int number = json_first(j, by);
    for (int v = json_first(j, list); v >= 0; v = json_next(j, v)) {
        int answer = v;
        float score = (float)(r->n + 1);                  // best first: its place is its rank
        if (holds_rank) {
            number = value_of(r, v, key);
            answer = value_of(r, v, name);
        }
        if ((holds_rank || by >= 0) && read_number(r, number, key, &score) < 0) return -1;
        if (read_answer(r, answer, name, score) < 0) return -1;
        number = json_next(j, number);
    }
    use(r, list);
    *large = large_is_good;
    return 0;
}

// The answers of a ranking, the best one first, each text once; as given: as they stand in the row.
static int read_ranking(Reader *r, const RowKeys *k) {
    int large_is_good = 0;
    if (k->chosen >= 0) {
        if (read_side(r, k->chosen, r->chosen_key, 1) < 0) return -1;
        if (read_side(r, k->rejected, r->rejected_key, 2) < 0) return -1;
    } else {
        if (read_list(r, k, &large_is_good) < 0) return -1;
    }
    if (!r->options->as_given) sort_answers(r, large_is_good);
    number_places(r, large_is_good);
    return 0;
}

// The label of a point: true, false or a number, under one of three names.
static int read_label(Reader *r, const RowKeys *k, float *out) {
    if ((k->label >= 0) + (k->score >= 0) + (k->kto_tag >= 0) > 1) {
        return row_fail(r, "keep one of \"label\", \"score\" and \"kto_tag\"");
    }
    int v = k->label;
    if (k->score >= 0) v = k->score;
    if (k->kto_tag >= 0) v = k->kto_tag;
    const JsonType type = json_type(&r->json, v);
    if (type == JSON_NUMBER) return read_number(r, v, json_key(&r->json, v), out);
    if (type != JSON_TRUE && type != JSON_FALSE) {
        return row_fail(r, "\"%s\" must be true, false or a number, not %s",
                        json_key(&r->json, v), type_of_value(r, v));
    }
    *out = type == JSON_TRUE;
    return 0;
}

// -------------------------------------------------------------- whole texts: where the prompt ends

// Where the prompt in s[0 .. n) ends: after its last role marker, else before its last space.
static size_t prompt_end(const char *s, size_t n, int *marked) {
    size_t end = 0, space = 0;
    for (size_t i = 0; i < n; i++) {
        if (isspace((unsigned char)s[i])) space = i;
        if (i > 0 && s[i-1] != '\n') continue;            // a marker begins a line
        const size_t marker = role_marker_end(s, i, n);
        if (marker) end = marker;
    }
    *marked = end > 0;
    return end ? end : space;
}

// How long the beginning is that two texts share.
static size_t common_len(const char *a, size_t len_a, const char *b, size_t len_b) {
    size_t n = 0;
    while (n < len_a && n < len_b && a[n] == b[n]) n++;
    return n;
}

// Does the same one say the same in two messages, however they are written?  -1 after fail().
static int is_same_message(Reader *r, int a, int b) {
    const size_t start = r->rendered.len;
    int role_a, role_b;
    if (render_message(r, a, &role_a) < 0) return -1;
    const size_t end = r->rendered.len, n = end - start;
    if (render_message(r, b, &role_b) < 0) return -1;
    const char *s = r->rendered.data;
    const int same_length = r->rendered.len - end == n;
    r->rendered.len = start;
    return role_a == role_b && same_length && !memcmp(s + start, s + end, n);
}

// The message number k of a list.
static int message_at(const Reader *r, int list, int k) {
    int message = json_first(&r->json, list);
    while (k-- > 0) message = json_next(&r->json, message);
    return message;
}

// How many messages all answers begin with; of each one at least is left.  -1 after fail().
static int count_common_messages(Reader *r) {
    const Json *j = &r->json;
    int common = json_count(j, r->answer[0].messages) - 1;
    for (int i = 1; i < r->n; i++) {
        int a = json_first(j, r->answer[0].messages);
        int b = json_first(j, r->answer[i].messages);
        int k = 0;
        while (k < common && json_next(j, b) >= 0) {
            const int same = is_same_message(r, a, b);
            if (same < 0) return -1;
            if (!same) break;
            a = json_next(j, a);
            b = json_next(j, b);
            k++;
        }
        common = k;
    }
    return common;
}

/* The answers are whole conversations: the messages that all begin with are the prompt, as in TRL's
 * extract_prompt.  What differs first must be the assistant's.  *n: the prompt's length.  */
static int split_messages(Reader *r, size_t *n) {
    const int list = r->answer[0].messages, common = count_common_messages(r);
    const size_t start = r->rendered.len;
    int first, last;
    if (common < 0) return -1;
    for (int i = 0; i < r->n; i++) {
        const int differs = message_at(r, r->answer[i].messages, common);
        if (is_assistant(r, differs)) continue;
        return row_fail(r, "the conversations differ from message %d on, which is not the "
                        "assistant's: they must answer one prompt; repair the row, or leave such "
                        "rows out with --bad_rows drop", common + 1);
    }
    for (int i = 0; i < r->n; i++) {
        if (json_count(&r->json, r->answer[i].messages) > common + 1) r->has_user = 1;
    }

    // how long it is, is measured
    if (render_system(r, list) < 0) return -1;
    const int leave = json_count(&r->json, list) - common;
    if (render_messages(r, list, leave, &first, &last) < 0) return -1;
    *n = r->rendered.len - start + strlen(marker_of(r, ROLE_ASSISTANT));
    r->rendered.len = start;
    r->is_marked = 1;
    return 0;
}

// The answers are whole texts: what all begin with becomes the prompt.
static int split_prompt(Reader *r) {
    const Passage *first = &r->answer[0];
    const char *s = r->rendered.data;
    size_t n = first->len;
    if (first->messages) {
        if (split_messages(r, &n) < 0) return -1;
        s = r->rendered.data;
    } else {
        for (int i = 1; i < r->n; i++) {
            const Passage *a = &r->answer[i];
            n = common_len(s + first->start, n, s + a->start, a->len);
        }
        n = prompt_end(s + first->start, n, &r->is_marked);
    }
    r->prompt = (Passage){.start = first->start, .len = n};
    for (int i = 0; i < r->n; i++) {
        Passage *a = &r->answer[i];
        a->start += n;
        a->len -= n;
        int marked = 0;
        if (!a->messages) prompt_end(s + a->start, a->len, &marked);
        if (marked) r->has_user = 1;
    }
    return 0;
}

// ---------------------------------------------------------------- text of a row that would be lost

/* No text of a row may be lost without a word.  Text are strings, and lists of messages or of
 * strings, whose key is one of prompt_names; and in a row without a prompt strings and messages
 * under any other key, for that may be the prompt.  It is metadata where its name ends in one of
 * metadata_names ("prompt_id", "source"), or where its string is one word of letters, digits and
 * -_./:+@# ("u17", "gpt-4", "2024-05-01").  Text may stand twice: a string that the prompt says
 * already is not lost, nor are messages that prompt and answers say.  And whoever names the prompt
 * with --prompt_key leaves the other keys out on purpose. */
static const char *const prompt_names[] = {
    "prompt", "instruction", "input", "history", "system", "system_prompt", "conversations",
    "conversation", "messages", "question", "query", "context", "problem", "dialogue",
    "system_message", "context_messages", "trajectory", "passage", "background",
};
static const char *const metadata_names[] = {
    "id", "uuid", "hash", "source", "origin", "url", "link", "model", "policy", "author", "dataset",
    "category", "subset", "split", "group", "lang", "language", "type", "kind", "domain", "tag",
    "tags", "date", "time", "timestamp", "version", "license", "annotator", "worker", "judge",
    "label", "note", "comment", "reason", "rationale", "explanation", "critique", "feedback",
    "metadata",
};

int word_is_listed(const char *word, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(word, list[i])) return 1;
    }
    return 0;
}
int row_names_prompt(const char *key) { return LISTED(key, prompt_names); }

// Is a value of the row metadata, by its name or by what it says?
static int is_metadata(const Json *j, int v) {
    const char *key = json_key(j, v), *last = strrchr(key, '_');
    if (LISTED(last ? last + 1 : key, metadata_names)) return 1;
    const size_t n = json_length(j, v);
    const char *s = json_string(j, v);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        const int of_word = c < 0x80 && (isalnum(c) || (c && strchr("-_./:+@#", c)));
        if (!of_word) return 0;
    }
    return json_type(j, v) == JSON_STRING;
}

// Is it in the text of a passage?
static int passage_holds(const Reader *r, const Passage *p, const char *s, size_t n) {
    const char *at = r->rendered.data + p->start, *end = at + p->len;
    while ((size_t)(end - at) >= n) {
        at = memchr(at, s[0], (size_t)(end - at) - n + 1);
        if (!at) return 0;
        if (!memcmp(at, s, n)) return 1;
        at++;
    }
    return 0;
}

// Does the prompt say the string already, but for blanks around it?  Or, with_answers, an answer?
static int is_said(const Reader *r, const char *s, size_t n, int with_answers) {
    while (n && isspace((unsigned char)s[0])) {
        s++;
        n--;
    }
    while (n && isspace((unsigned char)s[n-1])) n--;
    if (n == 0 || passage_holds(r, &r->prompt, s, n)) return 1;
    const Passage talk = {.start = 0, .len = r->rendered.len};        // with the turns in between
    if (r->are_turns) return passage_holds(r, &talk, s, n);
    for (int i = 0; with_answers && i < r->n; i++) {
        if (passage_holds(r, &r->answer[i], s, n)) return 1;
    }
    return 0;
}

// The same of all strings of a value, but for who says them.
static int is_all_said(const Reader *r, int v, int with_answers) {
    static const char *const whose[] = {"role", "from", "name", "type"};
    const Json *j = &r->json;
    if (json_type(j, v) == JSON_STRING) {
        return is_said(r, json_string(j, v), json_length(j, v), with_answers);
    }
    for (int i = json_first(j, v); i >= 0; i = json_next(j, i)) {
        if (json_type(j, v) == JSON_OBJECT && LISTED(json_key(j, i), whose)) continue;
        if (!is_all_said(r, i, with_answers)) return 0;
    }
    return 1;
}

int row_uses(const Reader *r, int v) {
    for (int i = 0; i < r->num_used; i++) {
        if (r->used[i] == v) return 1;
    }
    return 0;
}

// Stops at an answer beside those that are used; "answer" beside another is what is known to be
// right.
static int refuse_two_answers(const Reader *r, const RowKeys *k) {
    static const char *const names[] = {"completion", "output", "response"};
    for (size_t i = 0; k->answer >= 0 && i < sizeof names / sizeof *names; i++) {
        const int v = value_of(r, 0, names[i]);
        if (v < 0 || row_uses(r, v) || is_all_said(r, v, 1)) continue;
        if (!row_uses(r, k->answer)) {
            return row_fail(r, "\"%s\" would be ignored beside the %s; remove it", names[i],
                            data_kind_name[r->kind]);
        }
        return row_fail(r, "two answers, \"%s\" and \"%.60s\"; keep one",
                        json_key(&r->json, k->answer), names[i]);
    }
    return 0;
}

// Stops at a key whose text would be lost.
static int refuse_lost_text(const Reader *r) {
    const Json *j = &r->json;
    const int without_prompt = r->prompt_form == NO_PROMPT && r->answer_form == STRING_ANSWER
        && !r->is_marked && r->kind != DATA_DOCUMENT;
    int system = -1;                                      // names of other keys help more
    if (r->options->prompt_key) return 0;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        const char *key = json_key(j, v);
        const int messages = role_value(r, json_first(j, v)) >= 0;
        const int strings = is_list_of_strings(r, v) && row_names_prompt(key);
        const int text = json_type(j, v) == JSON_STRING || messages || strings;
        if (!text && strcmp(key, "history") != 0) continue;
        const int with_answers = messages || r->kind == DATA_DOCUMENT;
        if (row_uses(r, v) || is_all_said(r, v, with_answers)) continue;
        if (without_prompt && v == system_of(r)) {
            system = v;
            continue;
        }
        if (without_prompt && (row_names_prompt(key) || !is_metadata(j, v))) {
            return row_fail(r, "no prompt, and \"%.60s\" would be ignored; if it is the prompt, "
                            "say --prompt_key %.60s, else remove it", key, key);
        }
        if (!row_names_prompt(key)) continue;
        return row_fail(r, "\"%.60s\" would be ignored; join it to the prompt, or name the key "
                        "that is all of the prompt with --prompt_key", key);
    }
    if (system < 0) return 0;
    return row_fail(r, "\"%.60s\" would be ignored: there is no prompt", json_key(j, system));
}

// ---------------------------------------------------------------------- one row to its normal form

// Two numbers that every row may have; where they are absent 0 and 1.
static int read_margin_and_weight(Reader *r) {
    const int margin = value_of(r, 0, "margin"), weight = value_of(r, 0, "weight");
    r->margin = 0;
    r->weight = 1;
    if (margin >= 0 && read_number(r, margin, "margin", &r->margin) < 0) return -1;
    if (weight >= 0 && read_number(r, weight, "weight", &r->weight) < 0) return -1;
    if (r->weight < 0) return row_fail(r, "\"weight\" must not be negative");
    return 0;
}

// -------------------------------------------------------- what a row says against its own pair

// Is it a number of which more is better, by its name?
static int names_merit(const char *key) {
    static const char *const names[] = {"score", "rating", "reward", "grade", "quality"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *at = strstr(key, names[i]);
        if (at && !isalpha((unsigned char)at[strlen(names[i])])) return 1;
    }
    return 0;
}

// The value of the other answer's key: for "score_chosen" of "score_rejected"; -1: there is none.
static int value_of_rejected(const Reader *r, const char *key) {
    char other[64];
    const char *at = strstr(key, r->chosen_key);
    if (!at) return -1;
    const int before = (int)(at - key);
    const int n = snprintf(other, sizeof other, "%.*s%s%s", before, key, r->rejected_key,
                           at + strlen(r->chosen_key));
    return n < (int)sizeof other ? value_of(r, 0, other) : -1;
}

// Does the string w name the rejected answer: as "rejected", or as the model that wrote it alone?
static int names_rejected(const Reader *r, int w) {
    const Json *j = &r->json;
    if (json_equal(j, w, r->rejected_key)) return 1;
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        if (!strstr(json_key(j, v), "model")) continue;
        const int other = value_of_rejected(r, json_key(j, v));
        if (json_type(j, other) != JSON_STRING || json_equal(j, v, json_string(j, other))) continue;
        if (json_equal(j, w, json_string(j, other))) return 1;
    }
    return 0;
}

/* r->contrary: what says that the rejected answer is the better one, "" where nothing does.  Two
 * numbers whose names differ in chosen and rejected alone ("score_chosen", "chosen-rating"), a
 * margin below 0, the winner's name.  What the rows of a known set say, their table knows. */
static void find_contrary(Reader *r) {
    const Json *j = &r->json;
    const int winner = value_of(r, 0, "winner");
    *r->contrary = 0;
    if (r->kind != DATA_PAIR || r->set) return;
    if (r->margin < 0) snprintf(r->contrary, CONTRARY_SIZE, "\"margin\" %g", (double)r->margin);
    if (names_rejected(r, winner)) {
        snprintf(r->contrary, CONTRARY_SIZE, "\"winner\" \"%.40s\"", json_string(j, winner));
    }
    for (int v = json_first(j, 0); v >= 0; v = json_next(j, v)) {
        const int other = names_merit(json_key(j, v)) ? value_of_rejected(r, json_key(j, v)) : -1;
        if (json_type(j, v) != JSON_NUMBER || json_type(j, other) != JSON_NUMBER) continue;
        if (!(json_number(j, v) < json_number(j, other))) continue;
        snprintf(r->contrary, CONTRARY_SIZE, "\"%.40s\" %g below \"%.40s\" %g", json_key(j, v),
                 json_number(j, v), json_key(j, other), json_number(j, other));
    }
}

// A row that is none of ours; perhaps it is an object that holds all rows of the file.
static int refuse_shape(const Reader *r) {
    static const char *const holders[] = {"data", "rows", "train", "examples"};
    const Json *j = &r->json;
    char found[256];
    row_keys(r, found);
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++) {
        const int list = value_of(r, 0, holders[i]), first = json_first(j, list);
        if (json_type(j, list) != JSON_ARRAY || json_type(j, first) != JSON_OBJECT) continue;
        const char *in_it = value_of(r, first, "row") >= 0 ? ".row" : "";
        return row_fail(r, "unknown shape: %s; if \"%s\" holds the rows, write them as lines with: "
                        "jq -c '.%s[]%s' FILE", found, holders[i], holders[i], in_it);
    }
    return row_fail(r, "unknown shape: %s; a prompt is called prompt (or what --prompt_key names), "
                    "instruction, messages or conversations; an answer completion, output, "
                    "response, chosen and rejected (or what --chosen_key and --rejected_key name), "
                    "or completions; a document text", found);
}

// What a row cannot be, whatever its values are.
static int check_keys_of_row(const Reader *r, const RowKeys *k) {
    if (k->completions >= 0 && value_of(r, 0, "labels") >= 0) {
        return row_fail(r, "\"completions\" with \"labels\" is step-wise data, which is not "
                        "supported");
    }
    const int has_pair = k->chosen >= 0 && k->rejected >= 0;
    if (k->set && k->set->second && !has_pair) {
        return row_fail(r, "a row of %s without %s or %s", k->set->name, k->set->first,
                        k->set->second);
    }
    if (k->chosen >= 0 && k->rejected < 0) {
        return row_fail(r, "no \"%s\" beside \"%s\"; --rejected_key names another key",
                        r->rejected_key, r->chosen_key);
    }
    if (k->rejected >= 0 && k->chosen < 0) {
        return row_fail(r, "no \"%s\" beside \"%s\"; --chosen_key names another key",
                        r->chosen_key, r->rejected_key);
    }
    return 0;
}

/* Which answer of a pair of a known set is better: *second 0 or 1, a tie: *second 0 and r->is_tie.
 * 0, or -1 after fail(). */
static int read_better(Reader *r, const KnownSet *set, int *second) {
    const Json *j = &r->json;
    const int by = set->by ? value_of(r, 0, set->by) : -1;
    const int by_too = set->by_too ? value_of(r, 0, set->by_too) : -1;
    float x = 0, y = 0;
    *second = 0;
    if (set->better == BY_ORDER) return 0;
    if (set->better == BY_NAME) {
        static const char *const ties[] = {"tie", "tie (bothbad)", "both_bad", "bothbad"};
        *second = json_equal(j, by, "model_b");
        r->is_tie = LISTED(json_string(j, by), ties);
        if (*second || r->is_tie || json_equal(j, by, "model_a")) return 0;
        return row_fail(r, "\"%s\" must be model_a, model_b or tie", set->by);
    }
    if (read_number(r, by, set->by, &x) < 0) return -1;
    if (set->better == BY_LARGER && read_number(r, by_too, set->by_too, &y) < 0) return -1;
    if (set->better == BY_LARGER || set->better == BY_SIGN) {
        *second = set->better == BY_SIGN ? x > 0 : x < y;
        r->is_tie = x == y;                               // of a sign y is 0
        return 0;
    }
    if (x != 0 && x != 1) return row_fail(r, "\"%s\" must be 0 or 1", set->by);
    *second = (x == 1) != (set->better == BY_ONE);
    return 0;
}

// The prompt of a post or an article that is to be summarised, in the words of the set's authors.
static int render_post(Reader *r) {
    const int subreddit = row_value(r, "info.subreddit"), title = row_value(r, "info.title");
    const int post = row_value(r, "info.post"), article = row_value(r, "info.article");
    const struct { const char *key, *before; int v; } part[] = {
        {"subreddit", "SUBREDDIT: r/", subreddit}, {"title", "\n\nTITLE: ", title},
        {"post", "\n\nPOST: ", post}, {"article", "Article:\n\n", article},
    };
    const int from = post >= 0 ? 0 : 3, to = post >= 0 ? 3 : 4;
    for (int i = from; i < to; i++) {
        if (buffer_printf(&r->rendered, "%s", part[i].before) < 0) return -1;
        if (render_string(r, part[i].v, part[i].key) < 0) return -1;
    }
    return buffer_printf(&r->rendered, "\n\nTL;DR:");
}

// The prompt of a row of a known set.
static int read_prompt_of_set(Reader *r, const RowKeys *k) {
    const KnownSet *set = k->set;
    r->set = set;
    for (int i = 0; i < SET_KEYS && set->keys[i]; i++) {
        const int v = value_of(r, 0, set->keys[i]);
        use(r, v);
        if (refuse_beside_text(r, v) < 0) return -1;
    }
    if (set->is_post) {
        r->prompt_form = STRING_PROMPT;
        if (render_post(r) < 0) return -1;
    } else if (set->prompt) {
        r->prompt_form = CHAT_PROMPT;
        int first, last = ROLE_USER;
        const int messages = json_type(&r->json, k->question) == JSON_ARRAY;
        if (render_system(r, messages ? k->question : -1) < 0) return -1;
        const int rendered = messages ? render_messages(r, k->question, 0, &first, &last)
                                      : render_turn(r, ROLE_USER, k->question, set->prompt);
        if (rendered < 0) return -1;
        if (last != ROLE_USER) return row_fail(r, "\"%s\" must end with the user", set->prompt);
        if (buffer_printf(&r->rendered, "%s", marker_of(r, ROLE_ASSISTANT)) < 0) return -1;
    } else {
        r->prompt_form = NO_PROMPT;
    }
    r->prompt.len = r->rendered.len;
    return 0;
}

/* A conversation of which the user's messages stand in one list and the assistant's in another,
 * each list as JSON in a string. */
static int read_conversation_of_lists(Reader *r, int users, int assistants, float score) {
    const Json outer = r->json;
    Json list[2] = {{0}, {0}};
    const int from[2] = {users, assistants};
    int v[2], result = -1;
    for (int i = 0; i < 2; i++) {
        const char *text = json_string(&outer, from[i]);
        if (*text != '[') {
            row_fail(r, "\"%.60s\" must be a string that holds a list in JSON",
                     json_key(&outer, from[i]));
            goto done;
        }
        list[i].first_line = r->line;
        if (json_parse(&list[i], text, json_length(&outer, from[i]), r->path) < 0) goto done;
        v[i] = json_first(&list[i], 0);
    }
    if (json_count(&list[0], 0) != json_count(&list[1], 0)) {
        row_fail(r, "another number of prompts than of responses");
        goto done;
    }

    const size_t start = r->rendered.len;
    while (v[0] >= 0) {
        for (int i = 0; i < 2; i++) {
            r->json = list[i];                            // in which render_turn looks values up
            if (render_turn(r, i ? ROLE_ASSISTANT : ROLE_USER, v[i], "a message") < 0) goto done;
            v[i] = json_next(&list[i], v[i]);
        }
    }
    r->answer[r->n] = (Passage){.start = start, .len = r->rendered.len - start, .score = score};
    r->n++;
    r->answer_form = CONVERSATION;
    result = 0;
done:
    r->json = outer;
    json_free(&list[0]);
    json_free(&list[1]);
    return result;
}

// The answers of a pair.
static int read_pair(Reader *r, const RowKeys *k) {
    int second = 0;
    if (k->set && read_better(r, k->set, &second) < 0) return -1;
    const int chosen = second ? k->rejected : k->chosen;
    const int rejected = second ? k->chosen : k->rejected;
    if (k->set && k->set->lists_in_strings) {
        const int users = value_of(r, 0, "prompt");
        if (read_conversation_of_lists(r, users, chosen, 1) < 0) return -1;
        return read_conversation_of_lists(r, users, rejected, 0);
    }
    if (read_answer(r, chosen, k->set ? "an answer" : r->chosen_key, 1) < 0) return -1;
    return read_answer(r, rejected, k->set ? "an answer" : r->rejected_key, 0);
}

// What the kind of the row says are its answers, each with its score.
static int read_answers_of_kind(Reader *r, const RowKeys *k) {
    float label = 0;
    if (k->set && k->set->first && !k->set->second && r->kind != DATA_POINT) {
        return row_fail(r, "\"%s\" must be a number, not null", k->set->by);
    }
    switch (r->kind) {
    case DATA_DOCUMENT:
        return read_answer(r, k->text, "text", 0);
    case DATA_PAIR:
        return read_pair(r, k);
    case DATA_RANKING:
        return read_ranking(r, k);
    case DATA_POINT:
        if (read_label(r, k, &label) < 0) return -1;
        return read_answer(r, k->answer, json_key(&r->json, k->answer), label);
    case DATA_COMPLETION:
        return read_answer(r, k->answer, json_key(&r->json, k->answer), 0);
    default:
        return 0;                                         // a prompt has no answers
    }
}

// The parsed row to its kind, its prompt and its answers.
int row_read(Reader *r) {
    const Json *j = &r->json;
    r->n = 0;
    r->num_used = 0;
    r->are_turns = 0;
    r->is_marked = 0;
    r->has_user = 0;
    r->is_tie = 0;
    r->turns = 0;
    r->repeated = 0;
    r->set = NULL;
    r->prompt_form = NO_PROMPT;
    r->answer_form = STRING_ANSWER;
    r->prompt = (Passage){0};
    r->rendered.len = 0;
    if (buffer_append(&r->rendered, "", 0) < 0) return -1;

    if (json_type(j, 0) != JSON_OBJECT) return row_fail(r, "a row must be a JSON object");
    if (refuse_beside_text(r, 0) < 0) return -1;
    if (refuse_sets(r) < 0) return -1;
    if (read_margin_and_weight(r) < 0) return -1;
    const RowKeys k = find_keys(r);
    if (check_keys_of_row(r, &k) < 0) return -1;
    r->kind = has_lists(r, &k) ? DATA_RANKING : classify(&k);
    const int of_turns = r->options->all_turns && r->kind == DATA_COMPLETION && !k.set;
    const int has_history = json_count(j, value_of(r, 0, "history")) > 0;

    // a document is an answer without a prompt, and stays whole
    if (r->kind == DATA_DOCUMENT) {
        if (json_length(j, k.text) == 0) {
            return row_fail(r, "\"text\" must be a string that is not empty; --bad_rows drop "
                            "leaves such rows out");
        }
    } else if (of_turns && k.answer_is_last_message) {
        if (read_turns(r, k.conversation) < 0) return -1;
    } else if (of_turns && has_history && k.prompt < 0 && k.instruction >= 0) {
        if (read_turns_of_history(r, &k) < 0) return -1;
    } else if (k.set) {
        if (read_prompt_of_set(r, &k) < 0) return -1;
    } else {
        if (read_prompt(r, &k) < 0) return -1;
        if (r->prompt_form == NO_PROMPT && r->kind != DATA_PAIR && r->kind != DATA_RANKING) {
            return refuse_shape(r);
        }
    }
    if (k.answer_is_last_message) r->turns = count_turns(r, k.conversation);
    else if (r->turns && k.answer >= 0) r->turns++;       // those of a history, and the answer
    else r->turns = 0;
    if (!r->are_turns && read_answers_of_kind(r, &k) < 0) return -1;
    const int whole_texts = r->prompt_form == NO_PROMPT || r->answer_form == CONVERSATION;
    if (r->n && whole_texts && r->kind != DATA_DOCUMENT && split_prompt(r) < 0) return -1;
    for (int i = 0; i < r->n; i++) {
        if (!r->answer[i].len) {
            return row_fail(r, "an answer is empty; remove the row or complete it");
        }
    }
    if (r->kind == DATA_RANKING && !r->options->as_given) drop_repeated_answers(r);
    find_contrary(r);
    if (refuse_two_answers(r, &k) < 0) return -1;
    return refuse_lost_text(r);
}
#endif

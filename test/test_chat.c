/* test_chat.c - conversations in the forms of chat templates, against transformers by
 * scripts/golden_templates.py.  Run from the repository's root.  */
#include "../dataset.c"
#include "../files/tokenizer_json.c"
#include "test.h"

#define TEMPLATES "test/golden/templates/"

static Json cases;                      // cases.json

static void load_cases(void) {
    Buffer b = {0};
    if (cases.num_nodes) return;
    CHECK(file_read(&b, TEMPLATES "cases.json") == 0);
    CHECK(json_parse(&cases, b.data, b.len, "cases") == 0);
    buffer_free(&b);
}

// The tokenizer that a template of cases.json was rendered with.
static int load_for(Tokenizer *t, int row) {
    const int pieces = json_equal(&cases, json_get(&cases, row, "tokenizer"), "pieces");
    const int bos = json_get(&cases, row, "bos"), eos = json_get(&cases, row, "eos");
    const char *file = pieces ? "test/golden/tokenizers/tokenizer.model"
                              : TEMPLATES "tokenizer.json";
    if (tokenizer_load(t, file) < 0) return -1;
    t->bos = tokenizer_find(t, json_string(&cases, bos), json_length(&cases, bos));
    t->eos = tokenizer_find(t, json_string(&cases, eos), json_length(&cases, eos));
    return 0;
}

// One row {"messages": conversation}.
static int load_conversation(Dataset *d, const Tokenizer *t, int conversation, DataOptions o) {
    Buffer rows = {0};
    buffer_printf(&rows, "{\"messages\":");
    json_print(&rows, &cases, conversation, 0);
    buffer_printf(&rows, "}\n");
    o.rows = &rows;
    const int result = dataset_load(d, "x", t, &o);
    buffer_free(&rows);
    return result;
}

// A row {"tools": .., "messages": ..}.
static int load_tool_row(Dataset *d, const Tokenizer *t, int row, DataOptions o) {
    Buffer rows = {0};
    json_print(&rows, &cases, row, 0);
    o.rows = &rows;
    const int result = dataset_load(d, "x", t, &o);
    buffer_free(&rows);
    return result;
}

// Does a list of ids begin with these?
static int begins_with(int list, const int *ids, size_t n) {
    int v = json_first(&cases, list);
    for (size_t i = 0; i < n; i++) {
        if (v < 0 || json_number(&cases, v) != ids[i]) return 0;
        v = json_next(&cases, v);
    }
    return 1;
}

// Are the prompt and the answer of the one record, and the end, those of transformers?
static int is_golden(const Dataset *d, const Tokenizer *t, int want) {
    const Record *r = d->record;
    const Span answer = d->answer[r->first].tokens;
    const int *prompt_ids = d->token + r->prompt.start;
    const int prompt = json_get(&cases, want, "prompt"), whole = json_get(&cases, want, "whole");
    int *ids = malloc(((size_t)r->prompt.len + (size_t)answer.len + 1) * sizeof *ids);
    const size_t n = (size_t)r->prompt.len, m = n + (size_t)answer.len;
    memcpy(ids, prompt_ids, n * sizeof *ids);
    memcpy(ids + n, d->token + answer.start, (m - n) * sizeof *ids);
    ids[m] = t->eos;
    const int good = json_count(&cases, prompt) == r->prompt.len && begins_with(prompt, ids, n)
                     && begins_with(whole, ids, m + 1);
    free(ids);
    return good;
}

static int last_is_assistants(int conversation) {
    int last = json_first(&cases, conversation);
    while (json_next(&cases, last) >= 0) last = json_next(&cases, last);
    return json_equal(&cases, json_get(&cases, last, "role"), "assistant");
}

// All conversations by the template of this row of cases.json; returns how many were compared.
static int compare_template(int row, DataOptions o) {
    Tokenizer t;
    int compared = 0;
    const int conversations = json_get(&cases, 0, "conversations");
    const char *name = json_string(&cases, json_get(&cases, row, "template"));
    CHECK(load_for(&t, row) == 0);
    int want = json_first(&cases, json_get(&cases, row, "cases"));
    for (int c = json_first(&cases, conversations); c >= 0; c = json_next(&cases, c)) {
        const int one = want;
        want = json_next(&cases, want);
        if (!last_is_assistants(c)) continue;
        Dataset d;
        const int loaded = load_conversation(&d, &t, c, o) == 0;
        const int refused = json_type(&cases, one) == JSON_NULL;
        CHECK(loaded != refused);
        if (loaded != refused && loaded) CHECK(is_golden(&d, &t, one));
        if (loaded == refused || (loaded && !is_golden(&d, &t, one))) {
            printf("    %s, conversation %d: %s\n", name, compared, loaded ? "" : error_text);
        }
        if (loaded) dataset_free(&d);
        compared++;
    }
    tokenizer_free(&t);
    return compared;
}

static void test_conversations_have_the_ids_of_apply_chat_template(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        const DataOptions o = {.template_ = form, .max_length = 4000};
        CHECK(compare_template(row, o) == 21);
    }
}

// Rows with tools, calls of them and their answers, in each form that has a place for them.  Of the
// prompt that `sample` would write, as messages and the row's tools, the ids are the same.
static void test_tools_have_the_ids_of_apply_chat_template(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    int compared = 0, refused = 0, again = 0;
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        const DataOptions o = {.template_ = form, .keep_others = 1};
        int want = json_first(&cases, json_get(&cases, row, "tool_cases"));
        int with = json_first(&cases, json_get(&cases, 0, "tool_rows"));
        Tokenizer t;
        if (want < 0) continue;
        CHECK(load_for(&t, row) == 0);
        for (; want >= 0; want = json_next(&cases, want), with = json_next(&cases, with)) {
            Dataset d, e;
            const int loaded = load_tool_row(&d, &t, with, o) == 0;
            if (json_type(&cases, want) == JSON_NULL) {
                CHECK(!loaded && (strstr(error_text, "thoughts beside the answer are not read")
                                  || strstr(error_text, "\"tool_calls\"")));
                refused++;
                continue;
            }
            CHECK(loaded);
            CHECK(loaded && is_golden(&d, &t, want));
            compared++;

            // the prompt, as it is written, and any answer
            Buffer b = {0};
            const Record *record = &d.record[0];
            buffer_printf(&b, "{\"prompt\":%.*s%.*s,\"completion\":\"x\"}",
                          (int)record->said_len, d.others.data + record->said,
                          (int)record->others_len, d.others.data + record->others);
            DataOptions p = o;
            p.rows = &b;
            CHECK(dataset_load(&e, "x", &t, &p) == 0);
            const int *ids = e.token + e.record[0].prompt.start;
            const size_t n = (size_t)e.record[0].prompt.len;
            const int prompt = json_get(&cases, want, "prompt");
            again += json_count(&cases, prompt) == (int)n && begins_with(prompt, ids, n);
            buffer_free(&b);
            dataset_free(&d);
            dataset_free(&e);
        }
        tokenizer_free(&t);
    }
    CHECK(compared == 27 + 2 * 23 + 2 * 10 && refused == 2 * 4 + 2 * 17 && again == compared);
}

// A conversation with tools that is written as text has the tokens of the one with tools.
static void test_tools_that_are_written_as_text_have_the_same_ids(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    int compared = 0;
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        const int want = json_first(&cases, json_get(&cases, row, "tool_cases"));
        const DataOptions o = {.template_ = form};
        Tokenizer t;
        Dataset d;
        if (want < 0 || strncmp(form, "qwen", 4) != 0) continue;
        CHECK(load_for(&t, row) == 0);
        CHECK(load_conversation(&d, &t, json_get(&cases, 0, "tools_as_text"), o) == 0);
        CHECK(is_golden(&d, &t, want));
        dataset_free(&d);
        tokenizer_free(&t);
        compared++;
    }
    CHECK(compared == 3);
}

// Every turn of the assistant is a target: prompt, answers and what stands between are the whole.
static void test_all_turns_are_those_of_the_whole_conversation(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const int cases_list = json_get(&cases, row, "cases");
        const DataOptions o = {
            .template_ = json_string(&cases, json_get(&cases, row, "form")), .all_turns = 1,
        };
        Tokenizer t;
        CHECK(load_for(&t, row) == 0);
        int c = json_first(&cases, json_get(&cases, 0, "conversations"));
        int want = json_first(&cases, cases_list);
        for (; c >= 0; c = json_next(&cases, c)) {
            Dataset d;
            const int one = want;
            want = json_next(&cases, want);
            if (json_type(&cases, one) == JSON_NULL || !last_is_assistants(c)) continue;
            CHECK(load_conversation(&d, &t, c, o) == 0);
            const Record *r = d.record;
            const Span answer = d.answer[r->first].tokens;
            const size_t n = (size_t)(r->prompt.len + answer.len);
            CHECK(begins_with(json_get(&cases, one, "whole"), d.token + r->prompt.start, n));
            for (int g = 0; g < d.answer[r->first].num_gaps; g++) {
                const Span gap = d.gap[d.answer[r->first].first_gap + g];
                CHECK(d.token[gap.start] == t.eos);       // what ends the turn is in the text
            }
            dataset_free(&d);
        }
        tokenizer_free(&t);
    }
}

static int recognise(Chat *chat, const char *folder, const char *name) {
    char path[200];
    Buffer jinja = {0};
    snprintf(path, sizeof path, TEMPLATES "%s%s.jinja", folder, name);
    const int known = file_read(&jinja, path) == 0 && chat_recognise(chat, jinja.data, jinja.len);
    buffer_append(&jinja, "x", 1);
    Chat none;
    CHECK(chat_recognise(&none, jinja.data, jinja.len) == 0);
    buffer_free(&jinja);
    return known;
}

// Also with that of another trainer, which says the same.
static void test_templates_of_other_trainers_are_known(void) {
    load_cases();
    const int variants = json_get(&cases, 0, "variants");
    CHECK(json_count(&cases, variants) == 20);
    for (int v = json_first(&cases, variants); v >= 0; v = json_next(&cases, v)) {
        Chat chat;
        const int known = recognise(&chat, "variants/", json_key(&cases, v));
        CHECK(known);
        if (known) CHECK(!strcmp(chat.form->name, json_string(&cases, v)));
    }
}

// Are both NULL, or the same text?
static int is_same(const char *a, const char *b) {
    return a && b ? !strcmp(a, b) : a == b;
}

// With the template's text in the folder nothing has to be said.
static void test_templates_are_known_by_their_text(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *name = json_string(&cases, json_get(&cases, row, "template"));
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        Chat chat, named;
        CHECK(recognise(&chat, "", name));
        CHECK(chat_named(&named, form) == 1);

        // SmolLM2's and Qwen2's is ChatML with another system message
        CHECK(is_same(chat_system(&chat), chat_system(&named)));
        for (int role = 0; role < NUM_ROLES; role++) {
            const ChatTurn *a = &chat.form->turn[role], *b = &named.form->turn[role];
            CHECK(is_same(a->before, b->before) && is_same(a->lead, b->lead));
            CHECK(is_same(a->tail, b->tail) && is_same(a->after, b->after));
        }
    }
    Chat chat;
    CHECK(chat_recognise(&chat, "", 0) == 0 && chat_named(&chat, "x") == 0);
}

static void test_spaces_and_quotes_that_mean_nothing_do_not_matter(void) {
    static const char chatml[] =
        "{% for message in messages %}{{ \"<|im_start|>\" + message[\"role\"]+'\\n'+ "
        "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ "
        "'<|im_start|>assistant\n'}}{% endif %}\n";
    Chat chat;
    CHECK(chat_recognise(&chat, chatml, strlen(chatml)) == 1);
    CHECK(!strcmp(chat.form->name, "chatml") && !chat_system(&chat));
}

static int load_rows(Dataset *d, const Tokenizer *t, const char *rows, const char *template_) {
    Buffer b = {0};
    buffer_append(&b, rows, strlen(rows));
    const DataOptions o = {.rows = &b, .template_ = template_, .keep_others = 1};
    const int result = dataset_load(d, "x", t, &o);
    buffer_free(&b);
    return result;
}

#define ROW "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"completion\":\"b\"}"
static void test_an_unknown_template_is_refused_where_messages_are_read(void) {
    Tokenizer t;
    Dataset d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    buffer_printf(&t.chat, "{{ messages }}");
    CHECK(load_rows(&d, &t, ROW, NULL) < 0);
    CHECK(strstr(error_text, "the chat template of the tokenizer's folder is none that is known"));
    CHECK(strstr(error_text, "say which form it has: --template plain, turns, none, chatml, "));
    buffer_printf(&t.chat, "{{ strftime_now('%%d %%B %%Y') }}");
    CHECK(load_rows(&d, &t, ROW, NULL) < 0);
    CHECK(strstr(error_text, "known here (it writes the date of the day, as SmolLM3's does: row"));
    CHECK(load_rows(&d, &t, "{\"prompt\":\"a\",\"completion\":\"b\"}", NULL) == 0);   // strings
    dataset_free(&d);
    CHECK(load_rows(&d, &t, ROW, "plain") == 0);
    dataset_free(&d);
    CHECK(load_rows(&d, &t, ROW, "x") < 0 && strstr(error_text, "--template x: unknown; plain, "));
    tokenizer_free(&t);
    CHECK(tokenizer_load(&t, "test/golden/learned_tokenizer.json") == 0);
    CHECK(load_rows(&d, &t, ROW, "chatml") < 0);
    CHECK(strstr(error_text, "the tokenizer has no token <|im_end|>, which ends a turn"));
    tokenizer_free(&t);
}

// Rows with tools, by a template that has no place for them; and what one that has cannot read.
#define MESSAGES(more) "\"messages\":[{\"role\":\"user\",\"content\":\"Q\"}," more "]"
#define MESSAGE(key, value) "{\"role\":\"" key "\",\"content\":" value "}"
#define ANSWER MESSAGE("assistant", "\"A\"")
#define CALLS(call) "{\"role\":\"assistant\",\"tool_calls\":[" call "]}"
#define Q MESSAGE("user", "\"Q\"")
#define F_CALL "{\"name\":\"f\",\"arguments\":{}}"
static void test_tools_that_cannot_be_rendered_are_refused(void) {
    static const struct { const char *row, *chatml, *qwen3; } refused[] = {
        {.row = "{" MESSAGES(MESSAGE("tool", "\"7\"") "," ANSWER) "}",
         .chatml = "the role \"tool\": tool calls are not read; remove such rows (the templates "
                   "llama3.1, llama3.2, qwen2.5, qwen3 and qwen3-2507 have a place for tools)"},
        {.row = "{" MESSAGES(CALLS(F_CALL)) "}",
         .chatml = "\"tool_calls\": tool calls are not read, and would be lost; remove such rows"},
        {.row = "{\"tools\":[{\"name\":\"f\"}]," MESSAGES(ANSWER) "}",
         .chatml = "\"tools\": tools are not read, and would be lost; remove such rows (the "},
        {.row = "{\"tools\":[\"f\"]," MESSAGES(ANSWER) "}", .chatml = "\"tools\": tools are not",
         .qwen3 = "\"tools\" must be a list of objects {\"type\": \"function\""},
        {.row = "{\"tools\":\"f()\"," MESSAGES(ANSWER) "}", .chatml = "\"tools\": tools are not",
         .qwen3 = "x:1:1: "},
        {.row = "{\"tools\":[{\"name\":\"f\"}],\"prompt\":\"Q\",\"completion\":\"A\"}",
         .chatml = "\"tools\": tools are not read",
         .qwen3 = "\"tools\" would be lost: they stand in a conversation's first turn; write "},
        {.row = "{" MESSAGES(CALLS("{\"name\":\"f\"}")) "}", .chatml = "\"tool_calls\": tool calls",
         .qwen3 = "\"tool_calls\" must be a list of {\"function\": {\"name\""},
        {.row = "{" MESSAGES("{\"role\":\"user\",\"content\":\"u\",\"tool_calls\":[" F_CALL "]},"
                             ANSWER) "}",
         .chatml = "\"tool_calls\": tool calls are not read",
         .qwen3 = "\"tool_calls\": tool calls are not read, and would be lost; the template qwen3 "
                  "has the row's \"tools\", \"tool_calls\" of the assistant's messages, and "},
        {.row = "{" MESSAGES("{\"role\":\"assistant\",\"content\":\"A\",\"tool_calls\":\"x\"}") "}",
         .chatml = "\"tool_calls\": tool calls are not read",
         .qwen3 = "\"tool_calls\" must be a list of {\"function\": {\"name\""},
        {.row = "{" MESSAGES("{\"role\":\"assistant\",\"content\":\"A\",\"tool_calls\":true}") "}",
         .chatml = "\"tool_calls\": tool calls are not read",
         .qwen3 = "\"tool_calls\" must be a list of {\"function\": {\"name\""},
        {.row = "{" MESSAGES(MESSAGE("function", "\"7\"") "," ANSWER) "}",
         .chatml = "the role \"function\"",
         .qwen3 = "the role \"function\": tool calls are not read; the template qwen3 has the row"},
        {.row = "{" MESSAGES(MESSAGE("tool", "null") "," ANSWER) "}", .chatml = "the role \"tool\"",
         .qwen3 = "with a content that is not null"},
    };
    Tokenizer t;
    Dataset d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    t.eos = tokenizer_find(&t, "<|im_end|>", 10);
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        CHECK(load_rows(&d, &t, refused[k].row, "chatml") < 0);
        CHECK(strstr(error_text, refused[k].chatml));
        const int loaded = load_rows(&d, &t, refused[k].row, "qwen3") == 0;
        CHECK(loaded == !refused[k].qwen3);
        if (loaded) dataset_free(&d);
        else CHECK(strstr(error_text, refused[k].qwen3));
    }
    tokenizer_free(&t);
}

// LLaMA-3.1's template takes one call a message, no words beside it, and writes tools into the
// first message, whose ever it is.
static void test_calls_and_tools_that_llama_would_lose_are_refused(void) {
    static const char *const refused[][2] = {
        {"{" MESSAGES(CALLS("{\"function\":" F_CALL "},{\"function\":" F_CALL "}")) "}",
         "several \"tool_calls\" in a message, of which the template llama3.1 takes one"},
        {"{" MESSAGES("{\"role\":\"assistant\",\"content\":\"Hm\",\"tool_calls\":[{\"function\":"
                      F_CALL "}]}") "}",
         "\"content\" beside \"tool_calls\": the template llama3.1 would lose it; remove one"},
        {"{" MESSAGES("{\"role\":\"assistant\",\"content\":\"[]\",\"tool_calls\":[{\"function\":"
                      F_CALL "}]}") "}",
         "\"content\" beside \"tool_calls\": the template llama3.1 would lose it; remove one"},
        {"{\"tools\":[{}],\"messages\":[" ANSWER "," Q "," ANSWER "]}",
         "\"tools\", which the template llama3.1 takes into the first message behind the system's"},
        {"{\"tools\":[{}],\"messages\":[" MESSAGE("tool", "\"7\"") "," ANSWER "]}",
         "write prompt and answers as messages, of which the first is the user's"},
        {"{" MESSAGES(CALLS(F_CALL)) "}", "\"tool_calls\" must be a list of {\"function\": {"},
        {"{" MESSAGES(MESSAGE("tool", "[\"7\"]") "," ANSWER) "}",
         "\"content\" of a tool's answer must be a string, not a list of strings"},
    };
    Tokenizer t;
    Dataset d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    t.bos = t.eos = tokenizer_find(&t, "<|eot_id|>", 10);
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        CHECK(load_rows(&d, &t, refused[k][0], "llama3.1") < 0);
        CHECK(strstr(error_text, refused[k][1]));
    }
    tokenizer_free(&t);
}

// Each of these is a row whose record has the tokens of the first, as many of them the prompt's.
static void check_same_tokens(const char *const *rows, size_t n, const char *template_) {
    Tokenizer t;
    Dataset first, d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    t.eos = tokenizer_find(&t, "<|im_end|>", 10);
    CHECK(load_rows(&first, &t, rows[0], template_) == 0);
    for (size_t k = 1; k < n; k++) {
        const int loaded = load_rows(&d, &t, rows[k], template_) == 0;
        CHECK(loaded);
        if (!loaded) continue;
        CHECK(d.record[0].prompt.len == first.record[0].prompt.len);
        CHECK(d.num_tokens == first.num_tokens);
        CHECK(!memcmp(d.token, first.token, first.num_tokens * sizeof *first.token));
        dataset_free(&d);
    }
    dataset_free(&first);
    tokenizer_free(&t);
}

// Tools as a list or as a string that holds one, of pairs in all forms: the same ids.
#define PAIR(before, chosen, rejected, tools) \
    "{\"tools\":" tools "," before "\"chosen\":[" chosen "],\"rejected\":[" rejected "]}"
static void test_tools_of_pairs_stand_before_the_prompt(void) {
#define LIST "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]"
#define IN_STRING \
    "\"[{\\\"type\\\":\\\"function\\\",\\\"function\\\":{\\\"name\\\":\\\"f\\\"}}]\""
    static const char *const rows[] = {
        PAIR("\"prompt\":[" Q "],", CALLS(F_CALL), ANSWER, LIST),
        PAIR("\"prompt\":[" Q "],", CALLS(F_CALL), ANSWER, IN_STRING),
        PAIR("", Q "," CALLS(F_CALL), Q "," ANSWER, LIST),
        PAIR("\"instruction\":\"Q\",", CALLS(F_CALL), ANSWER, LIST),
        PAIR("\"messages\":[" Q "," CALLS("{\"id\":\"a b\",\"function\":" F_CALL "}") "],"
             "\"prompt\":[" Q "],", CALLS(F_CALL), ANSWER, LIST),
    };
    check_same_tokens(rows, sizeof rows / sizeof *rows, "qwen2.5");
}

static void test_tools_that_are_none_are_absent(void) {
    static const char *const rows[] = {
        "{" MESSAGES(ANSWER) "}", "{\"tools\":null," MESSAGES(ANSWER) "}",
        "{\"tools\":[]," MESSAGES(ANSWER) "}", "{\"tools\":\"\"," MESSAGES(ANSWER) "}",
        "{\"tools\":\"[]\"," MESSAGES(ANSWER) "}", "{\"tools\":\"null\"," MESSAGES(ANSWER) "}",
    };
    check_same_tokens(rows, sizeof rows / sizeof *rows, "qwen2.5");
    check_same_tokens(rows, sizeof rows / sizeof *rows, "chatml");
}

// Conversations that differ in thoughts that stay, before a call, part there; that differ in
// thoughts that a later question takes away, part behind them.
static void test_conversations_part_where_their_thoughts_do(void) {
#define THOUGHT(t) \
    "{\"role\":\"assistant\",\"content\":\"w\",\"reasoning_content\":\"" t "\"}"
#define RESULT MESSAGE("tool", "\"7\"")
    static const char *const stay[] = {
        PAIR("\"prompt\":[" Q "],", THOUGHT("t") "," RESULT "," ANSWER,
             THOUGHT("u v") "," RESULT "," ANSWER, "[]"),
        PAIR("", Q "," THOUGHT("t") "," RESULT "," ANSWER,
             Q "," THOUGHT("u v") "," RESULT "," ANSWER, "[]"),
    };
    static const char *const go[] = {
        PAIR("\"prompt\":[" Q "," THOUGHT("t") "," Q "],", ANSWER, THOUGHT("x"), "[]"),
        PAIR("", Q "," THOUGHT("t") "," Q "," ANSWER,
             Q "," THOUGHT("u v") "," Q "," THOUGHT("x"), "[]"),
    };
    check_same_tokens(stay, 2, "qwen3");
    check_same_tokens(go, 2, "qwen3");
}

// What is said cannot end a turn: there special tokens are plain text.
static void test_special_tokens_in_a_message_are_plain_text(void) {
    static const char row[] = "{\"prompt\":[{\"role\":\"user\",\"content\":\"<|im_end|>\"}],"
                              "\"completion\":\"b<|im_end|>\"}";
    Tokenizer t;
    Dataset d;
    int ends = 0;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    CHECK(load_rows(&d, &t, row, "chatml") < 0);
    CHECK(strstr(error_text, "ends a turn by <|im_end|>, which is not the model's end of text"));
    const int end = t.eos = tokenizer_find(&t, "<|im_end|>", 10);
    CHECK(load_rows(&d, &t, row, "chatml") == 0);
    for (size_t i = 0; i < d.num_tokens; i++) ends += d.token[i] == end;
    CHECK(ends == 1);
    dataset_free(&d);
    tokenizer_free(&t);
}

// So that a row that is written can be read again.
static void test_the_messages_of_a_prompt_are_kept(void) {
    static const char row[] = "{\"messages\":[{\"role\":\"system\",\"content\":\" s\"},{\"from\":"
                              "\"human\",\"value\":\"a\"},{\"role\":\"assistant\","
                              "\"content\":\"b\"}]}";
    Tokenizer t;
    Dataset d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    t.bos = t.eos = tokenizer_find(&t, "<|eot_id|>", 10);
    CHECK(load_rows(&d, &t, row, "llama3") == 0);
    static const char said[] = "[{\"role\":\"system\",\"content\":\" s\"},"
                               "{\"role\":\"user\",\"content\":\"a\"}]";
    CHECK(d.record[0].said_len == strlen(said));
    CHECK(!strncmp(d.others.data + d.record[0].said, said, strlen(said)));
    dataset_free(&d);
    tokenizer_free(&t);
}

// Of pairs of whole conversations the common messages are the prompt.
static void test_pairs_of_conversations_are_cut_after_what_asks_for_the_answer(void) {
    static const char pair[] =
        "{\"chosen\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
        "\"yes\"}],\"rejected\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
        "\"content\":\"no\"}]}";
    static const char apart[] =
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"chosen\":\"yes\","
        "\"rejected\":\"no\"}";
    static const char *const forms_[][2] = {
        {"qwen3", "<|im_end|>"}, {"llama2", "</s>"}, {"zephyr", "</s>"}, {"plain", "</s>"},
        {"gemma", "<end_of_turn>"},
    };
    Tokenizer t;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    for (size_t k = 0; k < sizeof forms_ / sizeof *forms_; k++) {
        Dataset a, b;
        t.eos = t.bos = tokenizer_find(&t, forms_[k][1], strlen(forms_[k][1]));
        CHECK(load_rows(&a, &t, pair, forms_[k][0]) == 0);
        CHECK(load_rows(&b, &t, apart, forms_[k][0]) == 0);
        CHECK(a.num_tokens == b.num_tokens);
        CHECK(!memcmp(a.token, b.token, a.num_tokens * sizeof *a.token));
        CHECK(a.record[0].said_len == b.record[0].said_len);
        dataset_free(&a);
        dataset_free(&b);
    }
    tokenizer_free(&t);
}

// "instruction" and "input" are one message, in every form as in that of the HH data.
static void test_an_input_stands_within_the_turn_of_its_instruction(void) {
    static const char one[] = "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
                              "\"user\",\"content\":\"R\\nI\"},{\"role\":\"assistant\","
                              "\"content\":\"A\"}]}";
    static const char two[] = "{\"system\":\"s\",\"instruction\":\"R\",\"input\":\"I\","
                              "\"output\":\"A\"}";
    static const char *const forms_[][2] = {
        {"chatml", "<|im_end|>"}, {"llama2", "</s>"}, {"llama3", "<|eot_id|>"}, {"plain", "</s>"},
    };
    Tokenizer t;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    for (size_t k = 0; k < sizeof forms_ / sizeof *forms_; k++) {
        Dataset a, b;
        t.eos = t.bos = tokenizer_find(&t, forms_[k][1], strlen(forms_[k][1]));
        CHECK(load_rows(&a, &t, one, forms_[k][0]) == 0);
        CHECK(load_rows(&b, &t, two, forms_[k][0]) == 0);
        CHECK(a.num_tokens == b.num_tokens);
        CHECK(!memcmp(a.token, b.token, a.num_tokens * sizeof *a.token));
        CHECK(a.record[0].said_len == b.record[0].said_len);
        CHECK((a.record[0].said_len > 0) == (strcmp(forms_[k][0], "plain") != 0));
        dataset_free(&a);
        dataset_free(&b);
    }
    tokenizer_free(&t);
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    RUN(test_conversations_have_the_ids_of_apply_chat_template);
    RUN(test_tools_have_the_ids_of_apply_chat_template);
    RUN(test_tools_that_are_written_as_text_have_the_same_ids);
    RUN(test_all_turns_are_those_of_the_whole_conversation);
    RUN(test_templates_are_known_by_their_text);
    RUN(test_templates_of_other_trainers_are_known);
    RUN(test_spaces_and_quotes_that_mean_nothing_do_not_matter);
    RUN(test_an_unknown_template_is_refused_where_messages_are_read);
    RUN(test_tools_that_cannot_be_rendered_are_refused);
    RUN(test_calls_and_tools_that_llama_would_lose_are_refused);
    RUN(test_tools_of_pairs_stand_before_the_prompt);
    RUN(test_tools_that_are_none_are_absent);
    RUN(test_conversations_part_where_their_thoughts_do);
    RUN(test_special_tokens_in_a_message_are_plain_text);
    RUN(test_the_messages_of_a_prompt_are_kept);
    RUN(test_pairs_of_conversations_are_cut_after_what_asks_for_the_answer);
    RUN(test_an_input_stands_within_the_turn_of_its_instruction);
    json_free(&cases);
    return test_summary();
}

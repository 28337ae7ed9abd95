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

// Appends a value of cases.json as JSON: lists, objects and strings.
static void append_json(Buffer *out, int v) {
    const JsonType type = json_type(&cases, v);
    if (type == JSON_STRING) {
        json_quote(out, json_string(&cases, v), json_length(&cases, v));
        return;
    }
    buffer_append(out, type == JSON_ARRAY ? "[" : "{", 1);
    for (int i = json_first(&cases, v); i >= 0; i = json_next(&cases, i)) {
        if (i != json_first(&cases, v)) buffer_append(out, ",", 1);
        if (type == JSON_OBJECT) buffer_printf(out, "\"%s\":", json_key(&cases, i));
        append_json(out, i);
    }
    buffer_append(out, type == JSON_ARRAY ? "]" : "}", 1);
}

// One row {"messages": conversation}.
static int load_conversation(Dataset *d, const Tokenizer *t, int conversation, DataOptions o) {
    Buffer rows = {0};
    buffer_printf(&rows, "{\"messages\":");
    append_json(&rows, conversation);
    buffer_printf(&rows, "}\n");
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

// A conversation with tools that is written as text has the tokens of the one with tools.
static void test_tools_that_are_written_as_text_have_the_ids_of_apply_chat_template(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    int compared = 0;
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        const int want = json_get(&cases, row, "tools");
        const DataOptions o = {.template_ = form};
        Tokenizer t;
        Dataset d;
        if (want < 0) continue;
        CHECK(load_for(&t, row) == 0);
        CHECK(load_conversation(&d, &t, json_get(&cases, 0, "tools_as_text"), o) == 0);
        CHECK(is_golden(&d, &t, want));
        dataset_free(&d);
        tokenizer_free(&t);
        compared++;
    }
    CHECK(compared == 2);
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

// With the template's text in the folder nothing has to be said.
static void test_templates_are_known_by_their_text(void) {
    load_cases();
    const int rows = json_get(&cases, 0, "templates");
    for (int row = json_first(&cases, rows); row >= 0; row = json_next(&cases, row)) {
        const char *name = json_string(&cases, json_get(&cases, row, "template"));
        const char *form = json_string(&cases, json_get(&cases, row, "form"));
        char path[200];
        Chat chat, named;
        Buffer jinja = {0};
        snprintf(path, sizeof path, TEMPLATES "%s.jinja", name);
        CHECK(file_read(&jinja, path) == 0);
        CHECK(chat_recognise(&chat, jinja.data, jinja.len) == 1);
        CHECK(chat_named(&named, form) == 1);

        // SmolLM2's and Qwen2's is ChatML with another system message
        const char *a = chat_system(&chat), *b = chat_system(&named);
        CHECK((!a && !b) || (a && b && !strcmp(a, b)));
        CHECK(!memcmp(chat.form->turn, named.form->turn, sizeof chat.form->turn));
        buffer_append(&jinja, "x", 1);
        CHECK(chat_recognise(&chat, jinja.data, jinja.len) == 0);
        buffer_free(&jinja);
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

// Rows with tools, by a template that can say them as text and by another.
static void test_tools_are_refused_with_what_to_write_instead(void) {
    static const char *const rows[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},{\"role\":\"tool\","
        "\"content\":\"7\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},{\"role\":\"assistant\","
        "\"tool_calls\":[{\"name\":\"f\"}]}]}",
        "{\"tools\":[{\"name\":\"f\"}],\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},"
        "{\"role\":\"assistant\",\"content\":\"A\"}]}",
    };
    static const char *const words[] = {
        "the role \"tool\": tool calls are not read; ",
        "\"tool_calls\": tool calls are not read, and would be lost; ",
        "\"tools\": tools are not read, and would be lost; ",
    };
    Tokenizer t;
    Dataset d;
    CHECK(tokenizer_load(&t, TEMPLATES "tokenizer.json") == 0);
    t.eos = tokenizer_find(&t, "<|im_end|>", 10);
    for (int k = 0; k < 3; k++) {
        CHECK(load_rows(&d, &t, rows[k], "qwen3") < 0 && strstr(error_text, words[k]));
        CHECK(strstr(error_text, "; for the template qwen3 write a call as the assistant's text "
                     "<tool_call>\\n{\"name\": \"f\", \"arguments\": {...}}\\n</tool_call>, its "
                     "result as the user's <tool_response>"));
        CHECK(load_rows(&d, &t, rows[k], "chatml") < 0 && strstr(error_text, words[k]));
        CHECK(strstr(error_text, "; remove such rows (for the templates qwen2.5 and qwen3 tools"));
    }
    tokenizer_free(&t);
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
    RUN(test_tools_that_are_written_as_text_have_the_ids_of_apply_chat_template);
    RUN(test_all_turns_are_those_of_the_whole_conversation);
    RUN(test_templates_are_known_by_their_text);
    RUN(test_spaces_and_quotes_that_mean_nothing_do_not_matter);
    RUN(test_an_unknown_template_is_refused_where_messages_are_read);
    RUN(test_tools_are_refused_with_what_to_write_instead);
    RUN(test_special_tokens_in_a_message_are_plain_text);
    RUN(test_the_messages_of_a_prompt_are_kept);
    RUN(test_pairs_of_conversations_are_cut_after_what_asks_for_the_answer);
    RUN(test_an_input_stands_within_the_turn_of_its_instruction);
    json_free(&cases);
    return test_summary();
}

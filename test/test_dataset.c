/* test_dataset.c - every shape of row, every error message, the rules for length, ties and prompts.
 * The tokenizer has no merges unless said otherwise: a token is a byte, so lengths can be counted
 * by eye.  Rows are written with ' for ", as in {'text': 'a'}. */
#include "test.h"
#include "../dataset.c"
#include "../files/tokenizer_json.c"
#include "../vocabulary.c"
#include <unistd.h>

static Tokenizer bytes;
static Dataset d;                       // what was loaded last
static char path[128];                  // of the file that was written last
static const DataOptions plain_options; // all zero: no limit, template plain

// ----------------------------------------------------------------------------------------- helpers

// Writes a new file with " for each ' of the text.
static int write_file(const char *text, size_t n) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.80s/more_test_XXXXXX", folder && *folder ? folder : "/tmp");
    const int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f) return -1;
    for (size_t i = 0; i < n; i++) putc(text[i] == '\'' ? '"' : text[i], f);
    return fclose(f);
}

// Loads n bytes into d through a file that is gone afterwards.
static int load_bytes(const char *text, size_t n, const DataOptions *o) {
    dataset_free(&d);
    *error_text = 0;
    error_code = 0;
    if (write_file(text, n) < 0) return fail(EX_IOERR, "the test cannot write %s", path);
    const int result = dataset_load(&d, path, &bytes, o);
    unlink(path);
    if (result < 0 && (d.path || d.record || d.answer || d.token || d.contents.data)) {
        return fail(EX_OSERR, "something is left of a failed load");
    }
    return result;
}

static int load(const char *text, const DataOptions *o) {
    const int result = load_bytes(text, strlen(text), o);
    if (result < 0) printf("    %s\n", error_text);
    return result;
}

// What the tokens of a span say; the last few results stay.
static const char *said(Span s) {
    static Buffer ring[8];
    static int next;
    Buffer *b = &ring[next++ % 8];
    b->len = 0;
    tokenizer_decode(&bytes, d.token + s.start, (size_t)s.len, b);
    buffer_append(b, "", 0);
    return b->data;
}

static const char *prompt(size_t i) {
    return i < d.num_records ? said(d.record[i].prompt) : "no such record";
}

static const Answer *answer_of(size_t i, int k) {
    const int exists = i < d.num_records && k < d.record[i].count;
    return exists ? &d.answer[d.record[i].first + k] : NULL;
}

static const char *answer(size_t i, int k) {
    return answer_of(i, k) ? said(answer_of(i, k)->tokens) : "no such answer";
}

static double score(size_t i, int k) {
    return answer_of(i, k) ? (double)answer_of(i, k)->score : NAN;
}

#define CHECK_TEXT(a, b)                                                              \
    do {                                                                              \
        const char *a_ = (a);                                                         \
        const char *b_ = (b);                                                         \
        if (strcmp(a_, b_)) {                                                         \
            test_bad++;                                                               \
            printf("    %s:%d: %s = \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a, a_, b_); \
        }                                                                             \
    } while (0)

// One record: kind, prompt and its first answer; and a second one unless it is NULL.
static int is_row(const char *text, enum DataKind kind, const char *p, const char *a,
                  const char *b) {
    const int before = test_bad;
    if (load(text, &plain_options) < 0) return 0;
    CHECK(d.kind == kind);
    CHECK(d.num_records == 1 && d.rows == 1);
    CHECK_TEXT(prompt(0), p);
    if (a) CHECK_TEXT(answer(0, 0), a);
    if (b) CHECK_TEXT(answer(0, 1), b);
    CHECK(d.num_records == 1 && d.record[0].count == (a != NULL) + (b != NULL));
    return test_bad == before;
}

// The text is refused as bad data; the message holds the file, the line (0: none) and `reason`.
static int refused_with(const char *text, size_t n, const DataOptions *o, int line,
                        const char *reason) {
    char place[160];
    const int result = load_bytes(text, n, o);
    snprintf(place, sizeof place, line ? "%s:%d:" : "%s:", path, line);
    if (result < 0 && error_code == EX_DATAERR && !strncmp(error_text, place, strlen(place))
        && strstr(error_text, reason)) {
        return 1;
    }
    printf("    result %d, code %d: \"%s\" should be line %d and \"%s\"\n", result, error_code,
           error_text, line, reason);
    return 0;
}

static int refused(const char *text, int line, const char *reason) {
    return refused_with(text, strlen(text), &plain_options, line, reason);
}

// The options are refused, with this reason.
static int options_refused(const DataOptions *o, const char *reason) {
    const char *row = "{'text': 'a'}";
    return load_bytes(row, strlen(row), o) < 0 && error_code == EX_USAGE
        && strstr(error_text, reason);
}

// ------------------------------------------------------------------------------------------ shapes

#define Q "\n\nHuman: Q\n\nAssistant:"

static void test_a_text_is_one_answer_without_a_prompt(void) {
    CHECK(is_row("{'text': 'The sky is blue.'}", DATA_DOCUMENT, "", "The sky is blue.", NULL));
}

static void test_a_prompt_alone_has_no_answers(void) {
    CHECK(is_row("{'prompt': 'The sky is'}", DATA_PROMPT, "The sky is", NULL, NULL));
    CHECK(is_row("{'prompt': [{'role':'user','content':'Q'}]}", DATA_PROMPT, Q, NULL, NULL));
    CHECK(is_row("{'instruction': 'Q'}", DATA_PROMPT, Q, NULL, NULL));
    CHECK(is_row("{'messages': [{'role':'user','content':'Q'}]}", DATA_PROMPT, Q, NULL, NULL));
}

static void test_a_completion_stands_as_it_is(void) {
    CHECK(is_row("{'prompt': 'The sky is', 'completion': ' blue.'}", DATA_COMPLETION, "The sky is",
                 " blue.", NULL));
}

static void test_messages_are_rendered_by_the_plain_template(void) {
    CHECK(is_row("{'prompt': [{'role':'user','content':'Q'}], 'completion': [{'role':'assistant',"
                 "'content':'It is blue.'}]}",
                 DATA_COMPLETION, Q, " It is blue.", NULL));
    CHECK(is_row("{'messages': [{'role':'system','content':'Be kind.'},{'role':'user',"
                 "'content':'Q'},{'role':'assistant','content':'A'},{'role':'user',"
                 "'content':'R'},{'role':'assistant','content':'B'}]}",
                 DATA_COMPLETION,
                 "\n\nSystem: Be kind.\n\nHuman: Q\n\nAssistant: A\n\nHuman: R\n\nAssistant:", " B",
                 NULL));
}

static void test_a_conversation_holds_its_prompt_whatever_stands_beside_it(void) {
    CHECK(is_row("{'prompt': 'Q', 'messages': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'A'}]}",
                 DATA_COMPLETION, Q, " A", NULL));
}

static void test_other_keys_are_ignored_and_null_is_absent(void) {
    CHECK(is_row("{'id': 7, 'text': null, 'prompt': 'p', 'chosen': 'a', 'rejected': 'b', "
                 "'messages': null, 'completions': null, 'label': 3, 'x': {'y': [1]}}",
                 DATA_PAIR, "p", "a", "b"));
}

static void test_the_template_none_joins_the_bare_contents(void) {
    DataOptions o = {.template_ = "none"};
    CHECK(load("{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A'}]}",
               &o) == 0);
    CHECK_TEXT(prompt(0), "Q");
    CHECK_TEXT(answer(0, 0), "A");
    CHECK(load("{'instruction': 'Q', 'input': 'I', 'output': 'A'}", &o) == 0);
    CHECK_TEXT(prompt(0), "Q\nI");
    CHECK_TEXT(answer(0, 0), "A");
}

static void test_the_template_turns_takes_strings_as_turns(void) {
    DataOptions o = {.template_ = "turns"};
    CHECK(load("{'prompt': 'Q', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'prompt': '\\n\\nHuman: Q\\n\\nAssistant:', 'chosen': ' a', 'rejected': ' b'}",
               &o) == 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_TEXT(prompt(i), Q);
        CHECK_TEXT(answer(i, 0), " a");
        CHECK_TEXT(answer(i, 1), " b");
    }
}

static void test_a_pair_with_a_prompt(void) {
    CHECK(is_row("{'prompt': 'The sky is', 'chosen': ' blue.', 'rejected': ' green.', "
                 "'annotator': 'u1'}",
                 DATA_PAIR, "The sky is", " blue.", " green."));
    CHECK(score(0, 0) == 1 && score(0, 1) == 0);
    CHECK(is_row("{'prompt': [{'role':'user','content':'Q'}],'chosen': [{'role':'assistant',"
                 "'content':'A'}],'rejected': [{'role':'assistant','content':'B'}]}",
                 DATA_PAIR, Q, " A", " B"));
    CHECK(is_row("{'prompt': '', 'chosen': 'a b', 'rejected': 'a c'}", DATA_PAIR, "", "a b",
                 "a c"));
}

static void test_a_pair_of_whole_conversations(void) {
    CHECK(is_row("{'chosen': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'It is a'}],'rejected': [{'role':'user','content':'Q'},"
                 "{'role':'assistant','content':'It is b'}]}",
                 DATA_PAIR, Q, " It is a", " It is b"));
    // UltraFeedback repeats the prompt beside them, and one conversation as messages
    CHECK(is_row("{'prompt': 'Q', 'messages': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'a'}],'chosen': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'a'}],'rejected': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'b'}]}",
                 DATA_PAIR, Q, " a", " b"));
}

#define U(x) "{'role':'user','content':'" x "'}"
#define A(x) "{'role':'assistant','content':'" x "'}"
#define S(x) "{'role':'system','content':'" x "'}"
#define CONVERSATIONS(x, y) "{'chosen':[" x "],'rejected':[" y "]}"

// As TRL's extract_prompt (data_utils.py): the messages that both begin with; of one that goes on
// where the other ends, without the last of these.
static void test_the_prompt_of_two_conversations_is_the_messages_that_both_begin_with(void) {
    const char *two_turns = Q " A\n\nHuman: R\n\nAssistant:";
    const DataOptions none = {.template_ = "none"};
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("A") "," U("R") "," A("B"),
                               U("Q") "," A("A") "," U("R") "," A("C")),
                 DATA_PAIR, two_turns, " B", " C"));
    CHECK(d.with_user == 0);
    CHECK(is_row(CONVERSATIONS(S("S") "," U("Q") "," A("A"), S("S") "," U("Q") "," A("B")),
                 DATA_PAIR, "\n\nSystem: S" Q, " A", " B"));

    // however the same message is written
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("A"),
                               "{'id':7,'from':'human','value':[{'type':'text','text':'Q'}]},"
                               A("B")),
                 DATA_PAIR, Q, " A", " B"));

    // they differ before the last turn, or one ends there
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("A") "," U("R") "," A("B"),
                               U("Q") "," A("C") "," U("T") "," A("D")),
                 DATA_PAIR, Q, " A\n\nHuman: R\n\nAssistant: B",
                 " C\n\nHuman: T\n\nAssistant: D"));
    CHECK(d.with_user == 1 && d.with_user_line == 1);
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("A"), U("Q") "," A("A") "," U("R") "," A("B")),
                 DATA_PAIR, Q, " A", " A\n\nHuman: R\n\nAssistant: B"));
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("A") "," U("R") "," A("B"), U("Q") "," A("A")),
                 DATA_PAIR, Q, " A\n\nHuman: R\n\nAssistant: B", " A"));

    // what looks like a marker in a message is none, and no template needs one
    CHECK(is_row(CONVERSATIONS(U("Q") "," A("x\\nUser: y"), U("Q") "," A("x\\nUser: z")),
                 DATA_PAIR, Q, " x\nUser: y", " x\nUser: z"));
    CHECK(d.with_user == 0);
    CHECK(load(CONVERSATIONS(U("a b") "," A("c d"), U("a b") "," A("c e")), &none) == 0);
    CHECK_TEXT(prompt(0), "a b");
    CHECK_TEXT(answer(0, 0), "c d");
    CHECK_TEXT(answer(0, 1), "c e");

    // whole texts in strings
    CHECK(is_row("{'chosen':'\\n\\nHuman: Q\\n\\nAssistant: A\\n\\nHuman: R\\n\\nAssistant: B',"
                 "'rejected':'\\n\\nHuman: Q\\n\\nAssistant: C'}",
                 DATA_PAIR, Q, " A\n\nHuman: R\n\nAssistant: B", " C"));
    CHECK(d.with_user == 1);
}

static void test_conversations_of_other_prompts_are_refused(void) {
    CHECK(refused(CONVERSATIONS(U("Qa") "," A("A"), U("Qb") "," A("B")),
                  1, "differ from message 1 on, which is not the assistant's"));
    CHECK(refused(CONVERSATIONS(U("Q") "," A("A") "," U("R") "," A("B"),
                                U("Q") "," A("A") "," U("T") "," A("C")),
                  1, "differ from message 3 on"));
    CHECK(refused(CONVERSATIONS(S("S") "," U("Q") "," A("A"), U("Q") "," A("B")),
                  1, "differ from message 1 on"));
    CHECK(refused(CONVERSATIONS(S("S") "," U("Q") "," A("A"), S("T") "," U("Q") "," A("B")),
                  1, "or leave such rows out with --bad_rows drop"));
    CHECK(refused("{'completions':[[" U("Q") "," A("A") "],[" U("Q") "," A("B") "],[" U("R") ","
                  A("C") "]]}",
                  1, "differ from message 1 on"));
}

static void test_raw_hh_is_cut_after_the_last_role_marker(void) {
    CHECK(is_row("{'chosen': '\\n\\nHuman: Q\\n\\nAssistant: It is one', "
                 "'rejected': '\\n\\nHuman: Q\\n\\nAssistant: It is two'}",
                 DATA_PAIR, Q, " It is one", " It is two"));
}

static void test_margin_and_weight_are_read_and_have_defaults(void) {
    CHECK(load("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'margin': 0.5, 'weight': 0.25}\n"
               "{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'margin': null}",
               &plain_options) == 0);
    CHECK(d.num_records == 2 && d.record[0].margin == 0.5f && d.record[0].weight == 0.25f);
    CHECK(d.num_records == 2 && d.record[1].margin == 0 && d.record[1].weight == 1);
}

static void test_labels_and_scores_are_points(void) {
    static const struct { const char *value; double score; } labels[] = {
        {.value = "'label': true",   .score = 1},
        {.value = "'label': false",  .score = 0},
        {.value = "'label': 0.25",   .score = 0.25},
        {.value = "'score': 0.75",   .score = 0.75},
        {.value = "'score': -2",     .score = -2},
        {.value = "'kto_tag': true", .score = 1},
    };
    char row[128];
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        snprintf(row, sizeof row, "{'prompt': 'p', 'completion': ' a', %s}", labels[i].value);
        CHECK(is_row(row, DATA_POINT, "p", " a", NULL));
        CHECK(score(0, 0) == labels[i].score);
    }
}

static void test_ulma_rows_are_points_with_a_history(void) {
    CHECK(is_row("{'instruction': 'Q', 'output': 'A', 'history': [['q0','a0']], 'score': 1.0}",
                 DATA_POINT, "\n\nHuman: q0\n\nAssistant: a0" Q, " A", NULL));
    CHECK(score(0, 0) == 1);
}

static void test_alpaca_rows_join_instruction_and_input_by_a_line(void) {
    CHECK(is_row("{'instruction': 'Q', 'input': 'I', 'output': 'A', 'history': null}",
                 DATA_COMPLETION, "\n\nHuman: Q\nI\n\nAssistant:", " A", NULL));
    CHECK(is_row("{'instruction': 'Q', 'input': '', 'system': 'S', 'chosen': 'a', 'rejected': 'b'}",
                 DATA_PAIR, "\n\nSystem: S" Q, " a", " b"));
}

static void test_sharegpt_pairs_and_points(void) {
    CHECK(is_row("{'conversations':[{'from':'human','value':'Q'}],'chosen':{'from':'gpt',"
                 "'value':'a'},'rejected':{'from':'gpt','value':'b'}}",
                 DATA_PAIR, Q, " a", " b"));
    CHECK(is_row("{'conversations':[{'from':'human','value':'Q'},{'from':'gpt','value':'a'}],"
                 "'kto_tag':false}",
                 DATA_POINT, Q, " a", NULL));
    CHECK(score(0, 0) == 0);
}

static void test_nectar_answers_are_sorted_by_rank(void) {
    CHECK(load("{'prompt':'p','answers':[{'answer':' c','rank':3},{'answer':' a','rank':1},"
               "{'answer':' b','rank':2}]}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_RANKING && d.num_records == 1 && d.record[0].count == 3);
    CHECK_TEXT(answer(0, 0), " a");
    CHECK_TEXT(answer(0, 1), " b");
    CHECK_TEXT(answer(0, 2), " c");
    CHECK(score(0, 0) == 1 && score(0, 2) == 3);
}

static void test_completions_are_best_first_unless_ranks_or_scores_say_otherwise(void) {
    static const struct { const char *by, *best, *last; } list[] = {
        {.by = "",                       .best = " a", .last = " c"},
        {.by = ", 'ranks': [2, 1, 3]",   .best = " b", .last = " c"},
        {.by = ", 'scores': [1, 2, 4.5]", .best = " c", .last = " a"},
    };
    char row[128];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        snprintf(row, sizeof row, "{'prompt': 'p', 'completions': [' a', ' b', ' c']%s}",
                 list[i].by);
        CHECK(load(row, &plain_options) == 0 && d.kind == DATA_RANKING);
        CHECK(d.num_records == 1 && d.record[0].count == 3);
        CHECK_TEXT(answer(0, 0), list[i].best);
        CHECK_TEXT(answer(0, 2), list[i].last);
    }
}

static void test_texts_with_scores_are_rankings_without_a_prompt(void) {
    const char *row = "{'text': ['## Human:\\nQ\\n\\n## Assistant:\\nA b', "
        "'## Human:\\nQ\\n\\n## Assistant:\\nA c'], 'score': [0.0, 1.0]}";
    CHECK(is_row(row, DATA_PAIR, "## Human:\nQ\n\n## Assistant:", "\nA c", "\nA b"));
}

static void test_a_file_of_rankings_of_two_is_a_file_of_pairs(void) {
    const char *two = "{'prompt': 'p', 'completions': ['x', 'y'], 'scores': [1, 2]}\n";
    CHECK(is_row(two, DATA_PAIR, "p", "y", "x"));
    CHECK(score(0, 0) == 1 && score(0, 1) == 0);
    CHECK(load("{'prompt': 'p', 'completions': ['x', 'y']}\n"
               "{'prompt': 'p', 'completions': ['x', 'y', 'z']}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_RANKING && d.num_records == 2);
}

static void test_keys_of_ones_own(void) {
    DataOptions o = {.prompt_key = "question", .chosen_key = "good", .rejected_key = "bad"};
    CHECK(load("{'question': 'p', 'good': 'a', 'bad': 'b', 'chosen': 1}", &o) == 0);
    CHECK(d.kind == DATA_PAIR);
    CHECK_TEXT(prompt(0), "p");
    CHECK_TEXT(answer(0, 0), "a");
    CHECK_TEXT(answer(0, 1), "b");
}

static void test_a_file_may_be_one_array_over_many_lines(void) {
    CHECK(load("\n[\n  {'text': ']}, \\'['},\n  {'text':\n     'b'}\n , {'text': 'c'}\n]\n",
               &plain_options) == 0);
    CHECK(d.kind == DATA_DOCUMENT && d.num_records == 3);
    CHECK_TEXT(answer(0, 0), "]}, \"[");
    CHECK_TEXT(answer(1, 0), "b");
    CHECK_TEXT(answer(2, 0), "c");
    CHECK(d.num_records == 3 && d.record[0].line == 3);
    CHECK(d.num_records == 3 && d.record[1].line == 4 && d.record[2].line == 6);
}

static void test_an_answer_has_several_names(void) {
    CHECK(is_row("{'prompt': 'p', 'response': ' a'}", DATA_COMPLETION, "p", " a", NULL));
    CHECK(is_row("{'prompt': 'p', 'answer': ' a', 'score': 2}", DATA_POINT, "p", " a", NULL));
    // databricks-dolly-15k
    CHECK(is_row("{'instruction': 'Q', 'context': 'C', 'response': 'A', 'category': 'closed_qa'}",
                 DATA_COMPLETION, "\n\nHuman: Q\nC\n\nAssistant:", " A", NULL));
    // LMSYS-Chat-1M; alpaca with the whole text beside it, which is for language models
    CHECK(is_row("{'conversation': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'A'}],'model': 'm'}", DATA_COMPLETION, Q, " A", NULL));
    const char *alpaca = "{'instruction': 'Q', 'output': 'A', 'text': 'Below: Q A'}";
    DataOptions documents = {.plain_text = ONE_DOCUMENT};
    CHECK(is_row(alpaca, DATA_COMPLETION, Q, " A", NULL));
    CHECK(load(alpaca, &documents) == 0 && d.kind == DATA_DOCUMENT);
    CHECK_TEXT(answer(0, 0), "Below: Q A");
    // two answers, the better one first
    CHECK(is_row("{'instruction': 'Q', 'input': '', 'output': ['A', 'B']}", DATA_PAIR, Q, " A",
                 " B"));
    CHECK(is_row("{'prompt': 'p', 'responses': ['A', 'B'], 'scores': [1, 2]}", DATA_PAIR, "p", "B",
                 "A"));
}

// -------------------------------------------------------------------------- turns of conversations

static const char *const talk =
    "{'system':'S','messages':[{'role':'user','content':'Q'},{'role':'assistant','content':'A'},"
    "{'role':'user','content':'R'},{'role':'user','content':'T'},"
    "{'role':'assistant','content':'BB'},{'role':'user','content':'U'},"
    "{'role':'assistant','content':'C'}]}";

static void test_all_turns_of_a_conversation_are_one_answer_with_gaps(void) {
    DataOptions o = {.all_turns = 1};
    Buffer b = {0};
    CHECK(load(talk, &o) == 0 && d.kind == DATA_COMPLETION && d.num_records == 1 && d.rows == 1);
    CHECK_TEXT(prompt(0), "\n\nSystem: S" Q);
    CHECK_TEXT(answer(0, 0), " A\n\nHuman: R\n\nHuman: T\n\nAssistant: BB"
                             "\n\nHuman: U\n\nAssistant: C");
    CHECK(answer_of(0, 0) && answer_of(0, 0)->num_gaps == 2 && answer_of(0, 0)->chars == 2+3+2);
    CHECK_TEXT(said(d.gap[0]), "\n\nHuman: R\n\nHuman: T\n\nAssistant:");
    CHECK_TEXT(said(d.gap[1]), "\n\nHuman: U\n\nAssistant:");
    CHECK(d.turns == 3 && d.targets == 3 && d.record[0].part == 0);
    CHECK(load("{'prompt':'U','messages':[{'role':'user','content':'Q'},{'role':'assistant',"
               "'content':'A'},{'role':'user','content':'U'},{'role':'assistant',"
               "'content':'C'}]}", &o) == 0);
    CHECK(load(talk, &o) == 0);
    CHECK(dataset_report_turns(&d, &b) == 0 && strstr(b.data, ": 3 of 3 turns of the assistant "));
    CHECK(load(talk, &plain_options) == 0 && d.turns == 3 && d.targets == 1 && d.num_gaps == 0);
    CHECK_TEXT(answer(0, 0), " C");
    b.len = 0;
    CHECK(dataset_report_turns(&d, &b) == 0 && strstr(b.data, ": 1 of 3 turns of the assistant are "
                                                      "targets, the last of each conversation"));
    buffer_free(&b);
}

static void test_turns_that_do_not_fit_go_on_in_another_record_of_the_row(void) {
    // the prompt has 33 tokens, the turns 2, 3 and 2, what stands between the first two 32
    DataOptions o = {.all_turns = 1, .max_length = 33+2+32+3+1, .max_prompt_length = 33};
    CHECK(load(talk, &o) == 0 && d.num_records == 2 && d.rows == 1 && d.parts == 1);
    CHECK(d.num_records == 2 && d.record[0].part == 1 && d.record[1].part == 2);
    CHECK(d.num_records == 2 && d.record[0].prompt_id == d.record[1].prompt_id);
    CHECK_TEXT(answer(0, 0), " A\n\nHuman: R\n\nHuman: T\n\nAssistant: BB");
    CHECK_TEXT(prompt(1), "sistant: BB\n\nHuman: U\n\nAssistant:");
    CHECK_TEXT(answer(1, 0), " C");
    CHECK(d.targets == 3 && d.turns == 3 && d.cut_prompts == 1);
}

static void test_a_turn_longer_than_its_room_is_dropped_cut_or_refused(void) {
    const char *row = "{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':"
        "'0123456789'},{'role':'user','content':'R'},{'role':'assistant','content':'C'}]}";
    DataOptions o = {.all_turns = 1, .max_length = 26, .max_prompt_length = 20,
                     .over_length = OVER_DROP};
    CHECK(load(row, &o) == 0 && d.num_records == 1 && d.dropped == 1 && d.rows + d.parts == 2);
    CHECK_TEXT(answer(0, 0), " C");
    CHECK(d.turns == 2 && d.targets == 1);
    o.over_length = OVER_TRUNCATE;
    CHECK(load(row, &o) == 0 && d.num_records == 2 && d.cut_answers == 1);
    CHECK_TEXT(answer(0, 0), " 0123");
    CHECK_TEXT(answer(1, 0), " C");
    o.over_length = OVER_RAISE;
    CHECK(refused_with(row, strlen(row), &o, 1, "an answer has 11 tokens"));
}

static void test_answers_of_a_history_are_turns_too(void) {
    const char *row = "{'instruction':'R','input':'I','output':'B','history':[['Q','A']]}";
    DataOptions o = {.all_turns = 1};
    CHECK(load(row, &o) == 0 && d.num_records == 1 && d.turns == 2 && d.targets == 2);
    CHECK_TEXT(prompt(0), Q);
    CHECK_TEXT(answer(0, 0), " A\n\nHuman: R\nI\n\nAssistant: B");
    CHECK_TEXT(said(d.gap[0]), "\n\nHuman: R\nI\n\nAssistant:");
    CHECK(load(row, &plain_options) == 0 && d.turns == 2 && d.targets == 1 && d.num_gaps == 0);
    CHECK_TEXT(answer(0, 0), " B");
    CHECK(load("{'instruction':'R','output':'B','history':[]}", &o) == 0 && d.turns == 0);
}

static void test_a_conversation_of_too_many_turns_names_the_way_out(void) {
    const DataOptions o = {.all_turns = 1};
    Buffer b = {0};
    buffer_printf(&b, "{'messages':[{'role':'system','content':'S'}");
    for (int i = 0; i <= MAX_ANSWERS; i++) {
        buffer_printf(&b, ",{'role':'user','content':'Q'},{'role':'assistant','content':'A'}");
    }
    CHECK(buffer_printf(&b, "]}") == 0);
    CHECK(refused_with(b.data, b.len, &o, 1, "turns of the assistant; cut the conversation, or"));
    CHECK(load(b.data, &plain_options) == 0 && d.turns == MAX_ANSWERS + 1 && d.targets == 1);
    buffer_free(&b);
}

static void test_turns_of_points_and_of_pairs_stay_as_they_are(void) {
    DataOptions o = {.all_turns = 1};
    CHECK(load("{'messages':[{'role':'user','content':'Q'},{'role':'assistant','content':'A'},"
               "{'role':'user','content':'R'},{'role':'assistant','content':'B'}],'label':true}",
               &o) == 0);
    CHECK(d.kind == DATA_POINT && d.num_gaps == 0 && d.turns == 2 && d.targets == 1);
    CHECK_TEXT(answer(0, 0), " B");
    o.template_ = "none";
    const char *two = "{'messages':[{'role':'user','content':'Q'},{'role':'assistant',"
        "'content':'A'},{'role':'assistant','content':'B'}]}";
    CHECK(refused_with(two, strlen(two), &o, 1, "nothing stands between two turns"));
}

// --------------------------------------------------------------------- keys that nobody would read

static void test_system_is_used_wherever_it_stands(void) {
    CHECK(is_row("{'system': 'S', 'prompt': 'Q', 'chosen': 'a', 'rejected': 'b'}", DATA_PAIR,
                 "\n\nSystem: S" Q, " a", " b"));
    CHECK(is_row("{'system_prompt': 'S', 'prompt': 'Q', 'completion': 'a'}", DATA_COMPLETION,
                 "\n\nSystem: S" Q, " a", NULL));
    CHECK(is_row("{'system': 'S', 'prompt': '\\n\\nHuman: Q\\n\\nAssistant:', 'completion': ' a'}",
                 DATA_COMPLETION, "\n\nSystem: S" Q, " a", NULL));
    CHECK(is_row("{'system': 'S', 'prompt': [{'role':'user','content':'Q'}]}", DATA_PROMPT,
                 "\n\nSystem: S" Q, NULL, NULL));
    CHECK(is_row("{'system': 'S', 'messages': [{'role':'system','content':'S'},{'role':'user',"
                 "'content':'Q'},{'role':'assistant','content':'A'}]}",
                 DATA_COMPLETION, "\n\nSystem: S" Q, " A", NULL));
    CHECK(is_row("{'system': 'S', 'chosen': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'a'}],'rejected': [{'role':'user','content':'Q'},{'role':'assistant',"
                 "'content':'b'}]}",
                 DATA_PAIR, "\n\nSystem: S" Q, " a", " b"));
    CHECK(is_row("{'system': 'S', 'messages': [{'role':'developer','content':'S'},{'role':'user',"
                 "'content':'Q'}]}", DATA_PROMPT, "\n\nSystem: S" Q, NULL, NULL));
    CHECK(is_row("{'system': '', 'prompt': 'p', 'completion': 'a'}", DATA_COMPLETION, "p", "a",
                 NULL));
    CHECK(refused("{'system': 'S', 'messages': [{'role':'system','content':'T'},{'role':'user',"
                  "'content':'Q'}]}",
                  1, "two system messages: \"system\" and the first of \"messages\""));
}

static void test_a_key_that_may_be_the_prompt_is_not_ignored(void) {
    static const char *const rows[] = {
        "{'question': 'Why?', 'chosen': 'a', 'rejected': 'b'}",
        "{'question': 'Why', 'chosen': 'a', 'rejected': 'b'}",
        "{'question': [{'role':'user','content':'Q'}], 'chosen': 'a', 'rejected': 'b'}",
        "{'question': 'Why?', 'completions': ['a', 'b', 'c']}",
        "{'id': 'u7', 'question': '\xe5\x95\x8a', 'chosen': 'a', 'rejected': 'b'}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(refused(rows[i], 1, "no prompt, and \"question\" would be ignored; if it is the "
                      "prompt, say --prompt_key question"));
    }
    CHECK(refused("{'system': 'S', 'chosen': 'a', 'rejected': 'b'}", 1, "\"system\""));
    CHECK(refused("{'system': 'S', 'query': 'Q', 'chosen': 'a', 'rejected': 'b'}", 1,
                  "say --prompt_key query"));
    CHECK(refused("{'task_text': 'Do it.', 'chosen': 'a', 'rejected': 'b'}", 1, "\"task_text\""));
    CHECK(refused("{'body': 'Do it.', 'chosen': 'It is a', 'rejected': 'It is b'}", 1,
                  "\"body\" would be ignored"));
    CHECK(is_row("{'body': 'Do it.', 'chosen': '\\n\\nHuman: Q\\n\\nAssistant: a', "
                 "'rejected': '\\n\\nHuman: Q\\n\\nAssistant: b'}", DATA_PAIR, Q, " a", " b"));
    CHECK(refused("{'question': 'Yes', 'chosen': 'Yes, it is', 'rejected': 'No'}", 1,
                  "\"question\" would be ignored"));
    CHECK(refused("{'title': 'Do it.', 'chosen': 'a', 'rejected': 'b'}", 1, "\"title\""));
    // what is known to be no prompt, by its name or by its look
    CHECK(is_row("{'prompt_id': 'it is one', 'model': 'my own', 'by': 'u17', 'x': 7, 'y': ['a b'],"
                 "'chosen': 'a b', 'rejected': 'a c'}",
                 DATA_PAIR, "a", " b", " c"));
    DataOptions o = {.prompt_key = "question"};
    CHECK(load("{'question': 'p', 'context': 'c', 'chosen': 'a', 'rejected': 'b'}", &o) == 0);
    CHECK_TEXT(prompt(0), "p");
}

static void test_messages_without_a_prompt_ask_for_its_key(void) {
    const char *row = "{'context_messages':[{'role':'user','content':'Q'}],"
        "'chosen':[{'role':'assistant','content':'A'}],"
        "'rejected':[{'role':'assistant','content':'B'}]}";
    const DataOptions o = {.prompt_key = "context_messages"};
    CHECK(refused(row, 1, "the answers have no prompt; name its key with --prompt_key"));
    CHECK(load(row, &o) == 0 && d.num_records == 1);
    CHECK_TEXT(prompt(0), Q);
}

static void test_text_beside_the_prompt_is_joined_or_refused(void) {
    CHECK(refused("{'prompt': 'p', 'context': 'Long ago.', 'completion': 'a'}", 1,
                  "\"context\" would be ignored; join it to the prompt"));
    CHECK(refused("{'prompt': 'p', 'output': 'a', 'response': 'b'}", 1,
                  "two answers, \"output\" and \"response\""));
    CHECK(refused("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'completion': 'c'}", 1,
                  "\"completion\" would be ignored beside the pair; remove it"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'response': 'c'}", 1,
                  "\"response\" would be ignored beside the ranking; remove it"));
    CHECK(refused("{'text': 'a b', 'output': 'c d'}", 1,
                  "\"output\" would be ignored beside the text; remove it"));
    CHECK(refused("{'prompt': 'p', 'input': 'x', 'output': 'a'}", 1, "\"input\" would be ignored"));
    CHECK(refused("{'prompt': 'p', 'context': ['Long ago.', 'Today.'], 'completion': 'a'}", 1,
                  "\"context\" would be ignored"));
    CHECK(refused("{'prompt': 'p', 'history': [['q', 'r']], 'completion': 'a'}", 1,
                  "\"history\" would be ignored"));
    CHECK(refused("{'text': 'a', 'prompt': 'p'}", 1, "\"prompt\" would be ignored"));
    CHECK(refused("{'prompt': 'Other', 'chosen': [{'role':'user','content':'Q'},"
                  "{'role':'assistant','content':'a'}],'rejected': [{'role':'user','content':'Q'},"
                  "{'role':'assistant','content':'b'}]}",
                  1, "\"prompt\" would be ignored"));
    // said already, or saying nothing, or no text
    CHECK(is_row("{'conversation': [{'input': 'x', 'output': 'y'}], 'prompt': 'p', "
                 "'completion': 'a'}", DATA_COMPLETION, "p", "a", NULL));
    CHECK(is_row("{'prompt': 'Answer: Why?', 'question': ' Why?\\n', 'input': '', 'history': [],"
                 "'completion': 'a'}",
                 DATA_COMPLETION, "Answer: Why?", "a", NULL));
}

static void test_what_stands_beside_the_text_is_refused_by_name(void) {
    static const struct { const char *row, *reason; } rows[] = {
        {"{'images': ['a.jpg'], 'messages': [{'role':'user','content':'Q'}]}",
         "\"images\": images are not read"},
        {"{'tools': '[{}]', 'prompt': 'p', 'completion': 'a'}", "\"tools\": tools are not read"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','tool_calls':[{}]}]}",
         "\"tool_calls\": tool calls are not read"},
        {"{'conversations': [{'from':'human','value':'Q'},{'from':'function_call','value':'{}'}]}",
         "the role \"function_call\": tool calls are not read"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'tool','content':'7'}]}",
         "the role \"tool\": tool calls are not read"},
        {"{'messages': [{'role':'user','content':[{'type':'image_url','image_url':{}}]}]}",
         "a part of the type \"image_url\""},
        {"{'messages': [{'role':'user','content':[{'type':'text'}]}]}",
         "\"content\" must be a string or a list of"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A',"
         "'reasoning_content':'T'}]}", "\"reasoning_content\": thoughts"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A',"
         "'loss_weight':0.5}]}", "\"loss_weight\" of a message is not read"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A',"
         "'train':false}]}", "\"train\" of a message is not read"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A',"
         "'reasoning':'T'}]}", "\"reasoning\": thoughts beside the answer are not read"},
        {"{'documents': [{'title':'t','text':'D'}], 'prompt': 'p', 'completion': 'a'}",
         "\"documents\": documents beside the prompt are not read"},
        {"{'messages': [{'role':'user','content':'Q'},{'role':'assistant','content':'A',"
         "'loss':false}]}", "\"loss\" of a message is not read"},
        {"{'chat_template_kwargs': {'custom_instructions':'S'}, 'prompt': 'p', 'completion': 'a'}",
         "\"chat_template_kwargs\": settings of a chat template are not read"},
        {"{'input':{'messages':[{'role':'user','content':'Q'}],'tools':[{'type':'function'}]},"
         "'preferred_output':[],'non_preferred_output':[]}", "\"tools\": tools are not read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(refused(rows[i].row, 1, rows[i].reason));
    }
    CHECK(is_row("{'images': [], 'tools': '', 'prompt': 'p', 'completion': 'a'}", DATA_COMPLETION,
                 "p", "a", NULL));
    CHECK(is_row("{'reasoning': 'off', 'audio': null, 'prompt': 'p', 'completion': 'a'}",
                 DATA_COMPLETION, "p", "a", NULL));
    CHECK(is_row("{'chat_template_kwargs': {'custom_instructions': '', 'enable_thinking': false,"
                 "'xml_tools': []}, 'prompt': 'p', 'completion': 'a'}", DATA_COMPLETION, "p", "a",
                 NULL));
}

static void test_trees_of_messages_and_ratings_of_steps_are_refused_with_the_way_out(void) {
    const char *root = "{'message_id':'m1','text':'Q','role':'prompter','message_tree_id':'m1'}";
    const char *flat = "{'id':'m2','parent_id':'m1','text':'A','role':'assistant','rank':0}";
    CHECK(refused("{'message_tree_id':'m1','tree_state':'ready','prompt':{'text':'Q','role':"
                  "'prompter','replies':[{'text':'A','role':'assistant','rank':0,'replies':[]}]}}",
                  1, "a tree of OpenAssistant's messages, which is not read: write each "
                  "conversation"));
    CHECK(refused("{'text':'Q','replies':[{'text':'A'}]}", 1, "a tree of messages, which"));
    CHECK(refused(root, 1, "a single message of an OpenAssistant tree, which is not read"));
    CHECK(refused(flat, 1, "a single message of a tree, which is not read: write each"));
    CHECK(refused("{'labeler':'l','timestamp':'t','question':{'problem':'P'},'label':{'steps':"
                  "[{'completions':[{'text':'S','rating':1}]}],'finish_reason':'solution'}}", 1,
                  "PRM800K's ratings of single steps, which is not read: write whole solutions"));
    CHECK(load("{'text':'Q','role':'user','id':'m1'}", &plain_options) == 0);
}

static void test_the_answer_that_is_right_may_stand_beside_a_conversation(void) {
    const char *turns = "'messages':[{'role':'user','content':'Q'},"
        "{'role':'assistant','content':'A is 7'}]";
    char row[300];
    snprintf(row, sizeof row, "{'problem':'Q','solution':'by 7','answer':'7',%s}", turns);
    CHECK(is_row(row, DATA_COMPLETION, Q, " A is 7", NULL));
    snprintf(row, sizeof row, "{'response':'B',%s}", turns);
    CHECK(refused(row, 1, "two answers, \"response\" and the last message of \"messages\""));
}

static void test_a_file_that_is_one_object_is_told_how_to_become_rows(void) {
    const char *row = "{'prompt':'p','chosen':'a','rejected':'b'}";
    char file[300];
    snprintf(file, sizeof file, "{'version':'1','data':[%s]}", row);
    CHECK(refused(file, 1, "found version, data; if \"data\" holds the rows, write them as lines "
                  "with: jq -c '.data[]' FILE"));
    snprintf(file, sizeof file, "{'features':[],'rows':[{'row_idx':0,'row':%s}]}", row);
    CHECK(refused(file, 1, "jq -c '.rows[].row' FILE"));
    CHECK(refused("{'prompt':{'0':'p','1':'q'},'chosen':{'0':'a','1':'c'}}", 1, "no \"rejected\""));
    CHECK(refused("{'prompt':{'0':'p'},'chosen':{'0':'a'},'rejected':{'0':'b'}}", 1,
                  "a table by columns; rows are needed"));
}

static void test_messages_that_were_printed_as_a_string_are_refused(void) {
    CHECK(refused("{'prompt':'[{\\'role\\': \\'user\\', \\'content\\': \\'Q\\'}]',"
                  "'completion':'a'}", 1,
                  "\"prompt\" is a list of messages printed as a string; write it as the list"));
    CHECK(refused("{'messages':'[]'}", 1, "\"messages\" must be a list of messages, not a string"));
    CHECK(refused("{'chosen':'[{\\'content\\': \\'Q\\'}]','rejected':'b'}", 1,
                  "\"chosen\" is a list of messages printed"));
    CHECK(is_row("{'prompt':'[{\\'rolex\\': 1}]','completion':'[{'}", DATA_COMPLETION,
                 "[{\"rolex\": 1}]", "[{", NULL));
    CHECK(is_row("{'text':'[{\\'role\\': 1}]'}", DATA_DOCUMENT, "", "[{\"role\": 1}]", NULL));
}

static void test_text_parts_of_a_message_are_joined(void) {
    CHECK(is_row("{'messages': [{'role':'user','content':[{'type':'text','text':'Q'}]},"
                 "{'role':'assistant','content':[{'type':'text','text':'A'},{'type':'text',"
                 "'text':'B'}]}]}",
                 DATA_COMPLETION, Q, " AB", NULL));
    CHECK(is_row("{'messages': [{'role':'user','content':[{'type':'text','value':'Q'}],"
                 "'loss_weight':0},{'role':'model','content':'A','loss_weight':1.0}]}",
                 DATA_COMPLETION, Q, " A", NULL));
}

static void test_the_keys_of_an_unknown_shape_are_told(void) {
    CHECK(refused("{'query': 'a', 'reply': 'b', 'feedback': 1}", 1,
                  "unknown shape: found query, reply, feedback; a prompt is called prompt"));
    CHECK(refused("{'query': 'a', 'response': 'b', 'feedback': 1}", 1,
                  "found query, response, feedback"));
    CHECK(refused("{}", 1, "found no keys"));
    CHECK(refused("{'prompt': 'p', 'completions': [['c', 'd'], 'e']}", 1,
                  "\"answer\" is a list of strings"));
    CHECK(refused("{'prompt': 'p', 'completion': ['c', 'd']}", 1,
                  "\"completion\" is a list of strings"));
}

// ------------------------------------------------------------------- well-known sets as published

static void test_rows_of_known_sets_are_read_as_published(void) {
    // what is published, in the form of one row: invented words, the set's keys
    static const struct { const char *row, *prompt, *chosen, *rejected; } sets[] = {
        {"{'post_id':'x1','domain':'askhr','history':'Q','human_ref_A':'A','human_ref_B':'B',"
         "'labels':1,'score_ratio':2.5}", Q, " A", " B"},
        {"{'history':'Q','human_ref_A':'A','human_ref_B':'B','labels':0}", Q, " B", " A"},
        {"{'prompt':'Q','response_0':'A','response_1':'B','is_response_0_safe':true,"
         "'better_response_id':1,'safer_response_id':0}", Q, " B", " A"},
        {"{'prompt':'Q','response_1':'A','response_2':'B','preference_strength':-2,"
         "'preference_statement':'I like it.'}", Q, " A", " B"},
        {"{'prompt':'Q','response_1':'A','response_2':'B','preference_strength':3}", Q, " B", " A"},
        {"{'domain':'code','context':[{'role':'user','content':'Q'}],'response1':'A',"
         "'response2':'B','overall_preference':1}", Q, " B", " A"},
        {"{'question':{'dataset':'eli5','id':'7','full_text':'Q'},'quotes_0':{'title':['t u']},"
         "'answer_0':'A','tokens_0':'','score_0':-0.5,'quotes_1':{},'answer_1':'B','score_1':0.5}",
         Q, " B", " A"},
        {"{'info':{'id':'t3','post':'P','title':'T','subreddit':'s','article':null},'summaries':"
         "[{'text':' A','policy':'sup4','note':null},{'text':' B','policy':'ref'}],'choice':1,"
         "'worker':'w','batch':'b','split':'train','extra':{}}",
         "SUBREDDIT: r/s\n\nTITLE: T\n\nPOST: P\n\nTL;DR:", " B", " A"},
        {"{'info':{'post':null,'title':null,'article':'P'},'summaries':[{'text':' A'},"
         "{'text':' B'}],'choice':0}", "Article:\n\nP\n\nTL;DR:", " A", " B"},
        {"{'qid':1,'question':'Q','date':'2010','metadata':['http://x'],'response_j':'A',"
         "'response_k':'B'}", Q, " A", " B"},
        {"{'question_id':'x','model_a':'m','model_b':'n','winner':'model_b','judge':'u1',"
         "'conversation_a':[{'role':'user','content':'Q'},{'role':'assistant','content':'A'}],"
         "'conversation_b':[{'role':'user','content':'Q'},{'role':'assistant','content':'B'}]}",
         Q, " B", " A"},
        {"{'id':1,'model_a':'m','model_b':'n','prompt':'[\\'P\\',\\'Q\\']','response_a':"
         "'[\\'O\\',\\'A\\']','response_b':'[\\'O\\',\\'B\\']','winner_model_a':0,"
         "'winner_model_b':1,'winner_tie':0}", "\n\nHuman: P\n\nAssistant: O" Q, " B", " A"},
        {"{'system':'S','question':'Q','chosen':'A','rejected':'B'}", "\n\nSystem: S" Q, " A",
         " B"},
        {"{'input':{'messages':[{'role':'user','content':'Q'}],'tools':[],'parallel_tool_calls':"
         "true},'preferred_output':[{'role':'assistant','content':'A'}],'non_preferred_output':"
         "[{'role':'assistant','content':'B'}]}", Q, " A", " B"},
        {"{'system':'','input':'Q','chosen':'A','rejected':'B','rating':[9,8]}", Q, " A", " B"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        CHECK(is_row(sets[i].row, DATA_PAIR, sets[i].prompt, sets[i].chosen, sets[i].rejected));
        CHECK(d.read_as && d.read_set);
    }
    CHECK(is_row("{'prompt':'Q','response':'A','helpfulness':3,'correctness':4,'coherence':4,"
                 "'complexity':1,'verbosity':2}", DATA_POINT, Q, " A", NULL));
    CHECK(score(0, 0) == 3);
    Buffer b = {0};
    CHECK(dataset_report(&d, &b) == 0 && strstr(b.data, ": read as HelpSteer2: helpfulness is "));
    buffer_free(&b);
}

static void test_a_row_of_a_known_set_without_its_texts_is_refused(void) {
    CHECK(refused("{'system':'S','question':null,'chosen':'A','rejected':'B'}", 1,
                  "\"question\" must be a string, not null"));
    CHECK(refused("{'system':'S','input':null,'chosen':'A','rejected':'B'}", 1,
                  "\"input\" must be a string, not null"));
    CHECK(refused("{'qid':3,'question':null,'answers':[{'pm_score':1,'text':'A'}]}", 1,
                  "\"question\" must be a string, not null"));
    // nor without an answer
    CHECK(refused("{'history':'Q','human_ref_A':'A','human_ref_B':null,'labels':1}", 1,
                  "a row of SHP without human_ref_A or human_ref_B"));
    CHECK(refused("{'info':{'post':'P','title':'T','subreddit':'s'},'summaries':[],'choice':1}", 1,
                  "a row of TL;DR comparisons without summaries.0.text or summaries.1.text"));
    // an object that became its text
    CHECK(is_row("{'question':'Q','answer_0':'A','answer_1':'B','score_0':1,'score_1':0}",
                 DATA_PAIR, Q, " A", " B"));
}

static void skip_row(void *to, const Dataset *data) {
    (void)to;
    (void)data;
}

static void test_a_file_has_rows_of_one_known_set_which_is_named(void) {
    static const char own[] = "{'prompt':'P','chosen':'a','rejected':'b'}";
    static const char orca[] = "{'system':'S','question':'Q','chosen':'A','rejected':'B'}";
    static const char shp[] = "{'history':'Q','human_ref_A':'A','human_ref_B':'B','labels':1}";
    const DataOptions short_ = {.max_length = 8, .over_length = OVER_RAISE, .bad_row = skip_row};
    char rows[512];
    CHECK(load(own, &plain_options) == 0 && !d.read_set && !d.read_as);
    snprintf(rows, sizeof rows, "%s\n%s", own, orca);
    CHECK(load(rows, &plain_options) == 0 && d.read_set && !strcmp(d.read_set, "Orca pairs"));
    snprintf(rows, sizeof rows, "%s\n%s\n%s", own, orca, shp);
    CHECK(refused(rows, 3, "a row of SHP in a file that is read as Orca pairs; one set a file"));
    // a row that is left out says nothing of the others
    snprintf(rows, sizeof rows, "%s\n%s",
             "{'system':'S','question':'Q','chosen':'a long one','rejected':'B'}", own);
    CHECK(load(rows, &short_) == 0 && d.num_records == 1 && d.bad == 1 && !d.read_set);
}

static void test_ties_of_known_sets_are_ties(void) {
    static const char *const rows[] = {
        "{'prompt':'Q','response_1':'A','response_2':'B','preference_strength':0}",
        "{'question':{'full_text':'Q'},'answer_0':'A','answer_1':'B','score_0':0,'score_1':0}",
        "{'winner':'tie (bothbad)','conversation_a':[{'role':'user','content':'Q'},"
        "{'role':'assistant','content':'A'}],'conversation_b':[{'role':'user','content':'Q'},"
        "{'role':'assistant','content':'B'}]}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(load(rows[i], &plain_options) == 0 && d.tied == 1 && d.num_records == 0);
    }
    CHECK(refused("{'prompt':'[\\'P\\',\\'Q\\']','response_a':'[\\'A\\']','response_b':'[\\'B\\']',"
                  "'winner_model_a':0,'winner_model_b':1}",
                  1, "another number of prompts than of responses"));
    CHECK(refused("{'prompt':'[\\'P\\']','response_a':'[null]','response_b':'[\\'B\\']',"
                  "'winner_model_a':0,'winner_model_b':1}",
                  1, "must be a string, not null"));
    CHECK(refused("{'prompt':'Q','response_a':'[\\'A\\']','response_b':'[\\'B\\']',"
                  "'winner_model_a':0,'winner_model_b':1}",
                  1, "\"prompt\" must be a string that holds a list in JSON"));
    CHECK(refused("{'prompt':'Q','response':'A','helpfulness':null,'verbosity':1}", 1,
                  "\"helpfulness\" must be a number"));
    CHECK(refused("{'winner':'A','conversation_a':[],'conversation_b':[]}", 1,
                  "\"winner\" must be model_a, model_b or tie"));
    CHECK(refused("{'info':{'post':'P','title':null,'subreddit':'s'},'summaries':[{'text':'A'},"
                  "{'text':'B'}],'choice':0}",
                  1, "\"title\" must be a string, not null or absent"));
    CHECK(refused("{'prompt':'Q','response_0':'A','response_1':'B','better_response_id':2}", 1,
                  "\"better_response_id\" must be 0 or 1"));
}

static void test_rankings_of_known_sets_are_sorted_by_their_numbers(void) {
    CHECK(load("{'source':'x','instruction':'Q','models':['m'],'completions':[{'response':'A',"
               "'overall_score':3.5,'critique':'It is one.'},{'response':'B','overall_score':8},"
               "{'response':'C','overall_score':1}],'correct_answers':['None']}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_RANKING && d.num_records == 1 && d.record[0].count == 3);
    CHECK_TEXT(prompt(0), Q);
    CHECK_TEXT(answer(0, 0), " B");
    CHECK_TEXT(answer(0, 2), " C");
    CHECK(is_row("{'qid':7,'question':'Q','answers':[{'answer_id':1,'author':'u','pm_score':1,"
                 "'selected':false,'text':'A'},{'pm_score':4,'text':'B'}],'date':'2010'}",
                 DATA_PAIR, Q, " B", " A"));
}

static void test_lists_of_chosen_and_rejected_are_a_ranking_of_two_places(void) {
    const char *row = "{'id':'7','prompt':'Q','chosen':['A','B'],'rejected':['C','A','D'],"
        "'num_correct':2,'num_incorrect':3}";
    DataOptions given = {.as_given = 1}, pairs = {.as_pairs = 1};
    CHECK(load(row, &plain_options) == 0 && d.kind == DATA_RANKING && d.num_records == 1);
    CHECK(d.num_records == 1 && d.record[0].count == 4 && d.repeated == 1);
    CHECK_TEXT(prompt(0), Q);
    CHECK_TEXT(answer(0, 1), " B");
    CHECK_TEXT(answer(0, 2), " C");
    CHECK_TEXT(answer(0, 3), " D");
    CHECK(score(0, 0) == 1 && score(0, 1) == 1 && score(0, 2) == 3 && score(0, 3) == 3);
    CHECK(load(row, &given) == 0 && d.kind == DATA_RANKING && d.num_records == 1);
    CHECK(d.num_records == 1 && d.record[0].count == 5);

    CHECK(load(row, &pairs) == 0 && d.kind == DATA_PAIR);
    CHECK(d.num_records == 4 && d.tied == 0 && d.rows + d.parts == 4 && d.rows == 1);
    CHECK_TEXT(prompt(3), Q);
    CHECK_TEXT(answer(0, 0), " A");
    CHECK_TEXT(answer(0, 1), " C");
    CHECK_TEXT(answer(3, 0), " B");
    CHECK_TEXT(answer(3, 1), " D");
    CHECK(score(3, 0) == 1 && score(3, 1) == 0);
    CHECK(d.num_records == 4 && d.record[3].part == 4 && d.record[3].first == 6);

    // one chosen answer; as keys of any row
    CHECK(load("{'prompt':'p','chosen':'a','rejected':['b','c','d'],'weight':2}", &plain_options)
          == 0);
    CHECK(d.kind == DATA_RANKING && d.num_records == 1 && d.record[0].count == 4);
    CHECK_TEXT(prompt(0), "p");
    CHECK_TEXT(answer(0, 3), "d");
    CHECK(score(0, 0) == 1 && score(0, 1) == 2 && score(0, 3) == 2);
    CHECK(d.num_records == 1 && d.record[0].weight == 2);
    CHECK(is_row("{'prompt':'p','chosen':['a'],'rejected':['b']}", DATA_PAIR, "p", "a", "b"));
    CHECK(refused("{'prompt':'p','chosen':['a'],'rejected':[]}", 1,
                  "\"rejected\" must be an answer or a list of answers"));
}

static void test_a_ranking_as_pairs_is_each_two_answers_of_which_one_is_better(void) {
    DataOptions pairs = {.as_pairs = 1};
    CHECK(load("{'prompt':'p','completions':['x','y','z','v'],'scores':[1,5,1,3]}\n"
               "{'prompt':'q','chosen':'a','rejected':'b'}\n"
               "{'prompt':'r','completions':['x','y','z'],'ranks':[2,2,2]}", &pairs) == 0);
    CHECK(d.kind == DATA_PAIR && d.num_records == 6 && d.rows == 3 && d.tied == 1);
    CHECK(d.rows + d.parts == 7);
    static const char *const want[5][2] = {
        {"y", "v"}, {"y", "x"}, {"y", "z"}, {"v", "x"}, {"v", "z"},
    };
    for (size_t i = 0; i < 5; i++) {
        CHECK_TEXT(answer(i, 0), want[i][0]);
        CHECK_TEXT(answer(i, 1), want[i][1]);
    }
    CHECK_TEXT(answer(5, 1), "b");
}

static void test_rankings_that_tie_everywhere_are_ties(void) {
    CHECK(load("{'prompt':'p','completions':['x','y','z'],'ranks':[2,2,2]}\n"
               "{'prompt':'p','completions':['x','x','x']}\n"
               "{'prompt':'p','completions':['x','y','x','z'],'scores':[0,0,1,0]}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_RANKING && d.rows == 3 && d.tied == 2 && d.num_records == 1);
    CHECK(d.num_records == 1 && d.record[0].count == 3 && d.repeated == 3);
    CHECK_TEXT(answer(0, 0), "x");
    CHECK(score(0, 0) == 1 && score(0, 2) == 2);
}

// ------------------------------------------------------------------------------ prompts and tokens

static void test_an_implicit_prompt_ends_before_the_last_space_they_share(void) {
    CHECK(is_row("{'chosen': 'The sky is blue.', 'rejected': 'The sky is green.'}", DATA_PAIR,
                 "The sky is", " blue.", " green."));
    CHECK(is_row("{'chosen': 'The sky is black.', 'rejected': 'The sky is blue.'}", DATA_PAIR,
                 "The sky is", " black.", " blue."));
    CHECK(is_row("{'chosen': 'The sky', 'rejected': 'The sky is'}", DATA_PAIR, "The", " sky",
                 " sky is"));
    CHECK(is_row("{'chosen': 'abc', 'rejected': 'abd'}", DATA_PAIR, "", "abc", "abd"));
}

static void test_an_implicit_prompt_never_ends_inside_a_character(void) {
    // U+00E9 and U+00E8 share their first byte
    CHECK(is_row("{'chosen': '\\u00e9', 'rejected': '\\u00e8'}", DATA_PAIR, "", "\xc3\xa9",
                 "\xc3\xa8"));
    CHECK(is_row("{'chosen': 'x \\u00e9', 'rejected': 'x \\u00e8'}", DATA_PAIR, "x", " \xc3\xa9",
                 " \xc3\xa8"));
}

static void test_the_cut_of_random_texts_is_where_a_word_begins(void) {
    static const char *const part[] = {
        "a", "b", "\xc3\xa4", "\xc3\xb6", "\xe4\xbd\xa0", "\xe4\xbd\xa1", " ", "\xf0\x9f\x98\x80",
    };
    for (uint64_t i = 0; i < 100; i++) {
        char text[2][64] = {"", ""}, row[160];
        for (uint64_t k = 0; k < 12; k++) {
            for (uint64_t a = 0; a < 2; a++) {
                const uint64_t index = k < 6 ? k : k + 100*a;     // the first half is that of both
                strcat(text[a], part[random_below(8, 1, STREAM_TEST, i, index)]);
            }
        }
        if (!strcmp(text[0], text[1])) continue;
        snprintf(row, sizeof row, "{'chosen': '%s', 'rejected': '%s'}", text[0], text[1]);
        CHECK(load(row, &plain_options) == 0 && d.num_records == 1);
        size_t n = strlen(prompt(0));
        CHECK(!n || *answer(0, 0) == ' ');
        for (int a = 0; a < 2; a++) {
            CHECK(!strncmp(text[a], prompt(0), n) && !strcmp(text[a] + n, answer(0, a)));
        }
    }
}

static void test_a_role_marker_begins_a_line(void) {
    CHECK(is_row("{'chosen': 'Say Human: to a', 'rejected': 'Say Human: to b'}", DATA_PAIR,
                 "Say Human: to", " a", " b"));
    CHECK(is_row("{'chosen': 'User: Q\\nAssistant: it is a', 'rejected': 'User: Q\\nAssistant: it "
                 "is b'}",
                 DATA_PAIR, "User: Q\nAssistant:", " it is a", " it is b"));
    // what they share ends within the second marker
    CHECK(is_row("{'chosen': '\\n\\nHuman: a\\n\\nAssistant: b', "
                 "'rejected': '\\n\\nHuman: a\\n\\nAss c'}",
                 DATA_PAIR, "\n\nHuman:", " a\n\nAssistant: b", " a\n\nAss c"));
}

static void test_prompt_and_answer_are_tokenised_apart(void) {
    Tokenizer merged = {0}, kept = bytes;
    const char *text = "ab ab ab ab";
    CHECK(tokenizer_learn(&merged, text, &(size_t){11}, 1, 259) == 0);   // one merge: a b
    bytes = merged;
    CHECK(load("{'prompt': 'a', 'completion': 'b'}\n"
               "{'prompt': 'ab', 'completion': 'ab'}",
               &plain_options) == 0);
    CHECK(d.num_records == 2 && d.record[0].prompt.len == 1 && answer_of(0, 0)->tokens.len == 1);
    CHECK(d.num_records == 2 && d.record[1].prompt.len == 1 && answer_of(1, 0)->tokens.len == 1);
    CHECK_TEXT(prompt(0), "a");
    CHECK_TEXT(answer(1, 0), "ab");
    bytes = kept;
    tokenizer_free(&merged);
}

static void test_rows_that_share_a_prompt_share_a_prompt_id(void) {
    DataOptions cut = {.max_prompt_length = 3};
    CHECK(load("{'prompt': 'one pqr', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'prompt': 'two pqr', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'chosen': 'c', 'prompt': 'one pqr', 'rejected': 'd'}",
               &cut) == 0);
    CHECK(d.num_records == 3 && d.record[0].prompt_id == d.record[2].prompt_id);
    // though the cut leaves the same
    CHECK(d.num_records == 3 && d.record[0].prompt_id != d.record[1].prompt_id);
    CHECK_TEXT(prompt(0), "pqr");
    CHECK_TEXT(prompt(1), "pqr");
    // the same in another file and shape
    unsigned long long id = d.record[0].prompt_id;
    CHECK(load("{'prompt': 'one pqr', 'completion': 'z', 'label': true}", &plain_options) == 0);
    CHECK(d.num_records == 1 && d.record[0].prompt_id == id);
    CHECK(load("{'text': 'a'}\n{'text': 'b'}", &plain_options) == 0);
    CHECK(d.num_records == 2 && d.record[0].prompt_id != d.record[1].prompt_id);
}

static void test_a_row_can_be_found_again_in_the_text(void) {
    static const char rows[] = "{'text': 'a'}\n\n  {'text': 'b', 'id': 7}  \r\n{'text': 'c'}";
    static const char row[] = "{\"text\": \"b\", \"id\": 7}";
    CHECK(load(rows, &plain_options) == 0 && d.num_records == 3);
    CHECK(d.num_records == 3 && d.record[1].line == 3 && d.record[1].line_len == strlen(row));
    const char *found = d.contents.data + d.record[1].line_start;
    CHECK(d.num_records == 3 && !memcmp(found, row, strlen(row)));
    CHECK(d.num_records == 3 && d.record[2].line == 4);
}

static void test_characters_are_counted_before_the_cut(void) {
    DataOptions o = {.max_length = 4, .max_prompt_length = 1, .over_length = OVER_TRUNCATE};
    CHECK(load("{'prompt': 'p', 'completion': '\\u00e9\\ud83d\\ude00xyz'}", &o) == 0);
    CHECK(answer_of(0, 0) && answer_of(0, 0)->chars == 5 && answer_of(0, 0)->tokens.len == 2);
}

// ------------------------------------------------------------------------------------------ length

// prompt and chosen too long; fits; rejected too long; prompt too long
static const char *const long_rows =
    "{'prompt': '0123456789', 'chosen': 'abcdef', 'rejected': 'xy'}\n"
    "{'prompt': '012', 'chosen': 'abcd', 'rejected': 'xy'}\n"
    "{'prompt': '012', 'chosen': 'ab', 'rejected': 'vwxyz'}\n"
    "{'prompt': '0123456', 'chosen': 'ab', 'rejected': 'xy'}\n";

static void test_prompts_lose_their_left_and_answers_their_right(void) {
    DataOptions o = {.max_length = 10, .max_prompt_length = 5, .over_length = OVER_TRUNCATE};
    CHECK(load(long_rows, &o) == 0);
    CHECK(d.num_records == 4 && d.rows == 4 && d.dropped == 0);
    CHECK(d.truncated == 2 && d.cut_prompts == 2 && d.cut_answers == 1);
    CHECK_TEXT(prompt(0), "56789");
    CHECK_TEXT(answer(0, 0), "abcd");                     // 5 + 4 + end of text = 10
    CHECK_TEXT(answer(0, 1), "xy");
    CHECK_TEXT(prompt(1), "012");
    CHECK_TEXT(answer(2, 1), "vwxyz");                    // its own prompt leaves room for 6
    CHECK_TEXT(prompt(3), "23456");
}

static void test_a_record_with_an_answer_too_long_is_dropped_whole(void) {
    DataOptions o = {.max_length = 10, .max_prompt_length = 5, .over_length = OVER_DROP};
    CHECK(load(long_rows, &o) == 0);
    CHECK(d.rows == 4 && d.num_records == 3 && d.dropped == 1 && d.tied == 0);
    CHECK(d.num_answers == 6 && d.truncated == 1 && d.cut_prompts == 1 && d.cut_answers == 0);
    CHECK(d.num_tokens == 3+4+2 + 3+2+5 + 7+2+2);         // of the other nothing stays
    CHECK(d.num_records == 3 && d.record[0].line == 2 && d.record[2].line == 4);
    CHECK_TEXT(answer(1, 1), "vwxyz");
    CHECK_TEXT(answer(2, 1), "xy");
}

static void test_raise_names_the_line_of_an_answer_too_long(void) {
    DataOptions o = {.max_length = 10, .max_prompt_length = 5, .over_length = OVER_RAISE};
    CHECK(refused_with(long_rows, strlen(long_rows), &o, 1,
                       "an answer has 6 tokens, the limit is 4"));
}

static void test_without_a_prompt_limit_an_answer_has_what_the_prompt_leaves(void) {
    DataOptions o = {.max_length = 10, .over_length = OVER_TRUNCATE};
    CHECK(load("{'prompt': '0123', 'completion': 'abcdefgh'}\n"
               "{'prompt': '0', 'completion': 'abcdefgh'}\n"
               "{'prompt': '0123456789ABC', 'completion': 'abc'}",
               &o) == 0);
    CHECK_TEXT(answer(0, 0), "abcde");                    // 4 + 5 + end of text = 10
    CHECK_TEXT(answer(1, 0), "abcdefgh");
    CHECK_TEXT(prompt(2), "56789ABC");                    // one token of the answer always stays
    CHECK_TEXT(answer(2, 0), "a");
}

static void test_a_text_has_the_whole_length(void) {
    DataOptions o = {.max_length = 5, .max_prompt_length = 2, .over_length = OVER_TRUNCATE};
    CHECK(load("{'text': 'abcdefgh'}", &o) == 0);
    CHECK_TEXT(answer(0, 0), "abcd");
}

static void test_a_text_is_cut_the_same_alone_and_in_a_pair(void) {
    DataOptions o = {.max_length = 12, .max_prompt_length = 6, .over_length = OVER_TRUNCATE};
    static const char *const sibling[] = {"z", "zzzzzzzzzzzzzzzzzzzz"};
    char row[160];
    for (int i = 0; i < 2; i++) {
        snprintf(row, sizeof row,
                 "{'prompt': '0123456789', 'chosen': 'abcdefghij', 'rejected': '%s'}", sibling[i]);
        CHECK(load(row, &o) == 0);
        CHECK_TEXT(prompt(0), "456789");
        CHECK_TEXT(answer(0, 0), "abcde");
    }
    CHECK(load("{'prompt': '0123456789', 'completion': 'abcdefghij'}", &o) == 0);
    CHECK_TEXT(prompt(0), "456789");
    CHECK_TEXT(answer(0, 0), "abcde");
}

static void test_an_answer_that_the_tokenizer_has_no_tokens_for_is_refused(void) {
    static const char file[] = "{'model':{'type':'BPE','vocab':{'a':0},'merges':[]},"
        "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false},"
        "'decoder':{'type':'ByteLevel'}}";
    Tokenizer small = {0}, kept = bytes;
    CHECK(write_file(file, sizeof file - 1) == 0);
    int loaded = tokenizer_load(&small, path);
    unlink(path);
    CHECK(loaded == 0);
    bytes = small;
    CHECK(loaded < 0 || refused("{'text': 'aa'}\n{'text': 'b'}", 2, "none of an answer's bytes"));
    bytes = kept;
    tokenizer_free(&small);
}

static void test_no_text_is_longer_than_max_length(void) {
    char row[128];
    for (int i = 0; i < 11 * 10 * 12 * 2; i++) {
        const int prompt_len = i / 12 % 11, answer_len = 1 + i / 132 % 10, drop = i / 1320;
        const DataOptions o = {.max_length = 10, .max_prompt_length = i % 12 > 8 ? 0 : i % 12,
                               .over_length = drop ? OVER_DROP : OVER_TRUNCATE};
        snprintf(row, sizeof row, "{'prompt': '%.*s', 'completion': '%.*s'}", prompt_len,
                 "0123456789", answer_len, "abcdefghij");
        CHECK(load(row, &o) == 0 && d.num_records + d.dropped == 1);
        if (d.num_records) {
            const int n = answer_of(0, 0)->tokens.len;
            CHECK(n >= 1 && d.record[0].prompt.len + n + 1 <= 10);
        }
    }
}

static void test_lengths_that_leave_no_room_are_refused(void) {
    DataOptions o = {.max_length = 10, .max_prompt_length = 9};
    CHECK(options_refused(&o, "leaves no room"));
    o = (DataOptions){.max_length = 1};
    CHECK(options_refused(&o, "leaves no room"));
}

// -------------------------------------------------------------------------------------------- ties

static void test_ties_are_dropped_and_counted(void) {
    CHECK(load("{'prompt': 'p', 'chosen': 'a', 'rejected': 'a'}\n"
               "{'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_PAIR && d.rows == 2 && d.num_records == 1 && d.tied == 1);
    CHECK(load("{'prompt': 'p', 'completions': ['a', 'b'], 'ranks': [1, 1]}\n"
               "{'prompt': 'p', 'completions': ['a', 'b'], 'scores': [1, 2]}\n"
               "{'prompt': 'p', 'completions': ['a', 'a'], 'scores': [1, 2]}\n"
               "{'prompt': 'q', 'completions': ['c', 'd'], 'scores': [2, 1]}",
               &plain_options) == 0);
    CHECK(d.kind == DATA_PAIR && d.rows == 4 && d.tied == 2);
    CHECK(d.num_records == 2 && d.num_answers == 4);
    CHECK_TEXT(answer(0, 0), "b");
    CHECK_TEXT(answer(1, 0), "c");
    CHECK_TEXT(prompt(1), "q");
    CHECK(d.record[0].first == 0 && d.record[1].first == 2);      // rewards come in this order
}

static void test_an_array_of_scored_texts_is_pairs_without_the_ties(void) {
    CHECK(load("[{'text': ['q a', 'q b'], 'score': [1, 1]},\n"
               "{'text': ['q c', 'q d'], 'score': [-1, 0.5]},\n"
               "{'text': ['q e', 'q e'], 'score': [1, 0]}]\n",
               &plain_options) == 0);
    CHECK(d.kind == DATA_PAIR && d.rows == 3 && d.tied == 2);
    CHECK(d.num_records == 1 && d.num_answers == 2);
    CHECK(d.num_records == 1 && d.record[0].line == 2);
    CHECK_TEXT(prompt(0), "q");
    CHECK_TEXT(answer(0, 0), " d");
    CHECK_TEXT(answer(0, 1), " c");
}

static void test_equal_ranks_keep_their_order_and_their_scores(void) {
    CHECK(load("{'prompt':'p','completions':['a','b','c'],'ranks':[2,1,2]}", &plain_options) == 0);
    CHECK(d.kind == DATA_RANKING);
    CHECK_TEXT(answer(0, 0), "b");
    CHECK_TEXT(answer(0, 1), "a");
    CHECK_TEXT(answer(0, 2), "c");
    CHECK(score(0, 1) == score(0, 2));
}

static void test_for_scoring_rows_stay_as_given(void) {
    DataOptions o = {.as_given = 1};
    CHECK(load("{'prompt': 'p', 'chosen': 'a', 'rejected': 'a'}\n"
               "{'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}",
               &o) == 0);
    CHECK(d.num_records == 2 && d.tied == 0);
    CHECK(load("{'prompt': 'p', 'completions': ['a', 'b'], 'scores': [1, 2]}", &o) == 0);
    CHECK(d.kind == DATA_RANKING);
    CHECK_TEXT(answer(0, 0), "a");
    CHECK_TEXT(answer(0, 1), "b");
}

// -------------------------------------------------------------------------------- repeated prompts

static void test_each_record_is_led_to_the_first_with_its_prompt(void) {
    CHECK(load("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'prompt': 'pp', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'prompt': '', 'chosen': 'a', 'rejected': 'b'}\n"
               "{'prompt': 'pp', 'chosen': 'c', 'rejected': 'd'}\n"
               "{'prompt': '', 'chosen': 'c', 'rejected': 'd'}\n"
               "{'prompt': 'pp', 'chosen': 'a', 'rejected': 'b'}\n",
               &plain_options) == 0);
    size_t first[6] = {0};
    const size_t want[6] = {0, 1, 2, 1, 2, 1};
    CHECK(dataset_first_of_prompt(first, &d) == 0 && !memcmp(first, want, sizeof want));
    CHECK(load("{'text': 'a'}\n{'text': 'b'}\n{'text': 'a'}", &plain_options) == 0);
    const size_t texts[3] = {0, 1, 0};                    // a text is itself the prompt
    CHECK(dataset_first_of_prompt(first, &d) == 0 && !memcmp(first, texts, sizeof texts));
}

static void test_repeated_prompts_are_those_that_comparing_all_with_all_finds(void) {
    enum { N = 3000 };                                    // of about 1,900 different numbers
    Buffer b = {0};
    size_t first[N] = {0};
    for (uint64_t i = 0; i < N; i++) {
        buffer_printf(&b, "{'prompt': '%u'}\n", random_below(N, 1, STREAM_TEST, 7, i));
    }
    CHECK(load_bytes(b.data, b.len, &plain_options) == 0 && d.num_records == N);
    CHECK(dataset_first_of_prompt(first, &d) == 0);
    for (size_t i = 0; i < N && d.num_records == N; i++) {
        size_t k = 0;
        while (!dataset_same_tokens(&d, d.record[k].prompt, d.record[i].prompt)) k++;
        CHECK(first[i] == k);
    }
    buffer_free(&b);
}

// ------------------------------------------------------------------------------------------- files

static void test_crlf_bom_blank_lines_and_no_final_newline(void) {
    CHECK(load("\xef\xbb\xbf\r\n{'text': 'a'}\r\n\r\n \t\n{'text': 'b'}", &plain_options) == 0);
    CHECK(d.num_records == 2 && d.rows == 2 && d.record[0].line == 2 && d.record[1].line == 5);
    CHECK_TEXT(answer(0, 0), "a");
    CHECK_TEXT(answer(1, 0), "b");
}

static void test_a_byte_order_mark_may_begin_any_line(void) {
    CHECK(load("{'text': 'a'}\n\xef\xbb\xbf{'text': 'b'}\n", &plain_options) == 0);
    CHECK(d.num_records == 2 && d.record[1].line == 2);
    CHECK_TEXT(answer(1, 0), "b");
}

static void test_a_file_of_another_format_is_named(void) {
#define BYTES(s) s, sizeof s - 1
    static const struct { const char *bytes; size_t n; const char *what; } files[] = {
        {BYTES("\x1f\x8b\x08\0"), "compressed by gzip"}, {BYTES("PAR1\x15\0"), "a Parquet file"},
        {BYTES("\xff\xfe{\0'\0"), "UTF-16"}, {BYTES("\xfe\xff\0{\0'"), "UTF-16"},
        {BYTES("{\0'\0t\0"), "UTF-16"}, {BYTES("\xff\xfe\0\0{\0\0\0"), "UTF-32"},
        {BYTES("PK\3\4...."), "zip archive"}, {BYTES("BZh91"), "bzip2"},
        {BYTES("\x28\xb5\x2f\xfd.."), "zstd"}, {BYTES("<!DOCTYPE html>"), "a web page"},
        {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"),
         "a pointer of Git LFS"},
        {BYTES("prompt,chosen,rejected\na,b,c\n"), "a table (CSV or TSV) with a column \"prompt\""},
        {BYTES("'id'\t'text'\n1\ta\n"), "with a column \"text\""},
        {BYTES("It was night.\n"), "not JSON lines"},
        {BYTES("{\n  'text': 'a'\n}\n"), "a row must stand on one line"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const int refusal = refused_with(files[i].bytes, files[i].n, &plain_options,
                                         i < 13 ? 0 : 1, files[i].what);
        CHECK(refusal);
    }
}

static void test_for_language_models_a_plain_text_is_one_document(void) {
    DataOptions o = {.plain_text = ONE_DOCUMENT};
    Buffer b = {0};
    CHECK(load("It was night.\nAll slept, or so.\n", &o) == 0);
    CHECK(d.kind == DATA_DOCUMENT && d.num_records == 1);
    CHECK_TEXT(answer(0, 0), "It was night.\nAll slept, or so.\n");
    CHECK(load("\n  It was night.\n", &o) == 0 && d.num_records == 1 && d.record[0].line == 1);
    CHECK_TEXT(answer(0, 0), "\n  It was night.\n");
    CHECK(dataset_report(&d, &b) == 0 && strstr(b.data, ": read as plain text: one document\n"));
    CHECK(load("Night.\n<|endoftext|>\nDay.\n", &o) == 0 && d.num_records == 1);
    b.len = 0;
    CHECK(dataset_report(&d, &b) == 0 && strstr(b.data, "<|endoftext|> in it ends nothing: "));
    buffer_free(&b);
    CHECK(load("{'text': 'a'}\n{'text': 'b'}", &o) == 0 && d.num_records == 2);
    CHECK(refused_with("a\0b", 3, &o, 0, "neither JSON lines nor text"));
    CHECK(refused_with("a\xff", 2, &o, 0, "neither JSON lines nor text"));
    CHECK(refused_with("\x1f\x8b", 2, &o, 0, "gzip"));
    CHECK(refused_with(BYTES("text,label\na,1\n"), &o, 0, "a table"));
}

static void test_a_line_of_a_megabyte(void) {
    Buffer b = {0};
    CHECK(buffer_append(&b, "{'text': '", 10) == 0);
    for (int i = 0; i < 1 << 20; i++) buffer_append(&b, "x", 1);
    CHECK(buffer_append(&b, "'}\n", 3) == 0);
    CHECK(load_bytes(b.data, b.len, &plain_options) == 0);
    const Answer *a = answer_of(0, 0);
    CHECK(a && a->tokens.len == 1 << 20 && a->chars == 1 << 20);
    buffer_free(&b);
}

static void test_texts_may_hold_nul_and_any_character(void) {
    CHECK(load("{'text': 'a\\u0000\\ud83d\\ude00'}", &plain_options) == 0);
    CHECK(answer_of(0, 0) && answer_of(0, 0)->tokens.len == 6);
}

static void test_names(void) {
    static const struct { const char *spec, *name; } names[] = {
        {.spec = "/data/no/hh_helpful.train.jsonl", .name = "hh_helpful"},
        {.spec = "hh.test.json",                    .name = "hh"},
        {.spec = "/no/such:file/x.jsonl",           .name = "x"},
        {.spec = "/no/such/x.jsonl:my set",         .name = "my set"},
        {.spec = "-",                               .name = "stdin"},
        {.spec = "/no/such/x",                      .name = "x"},
        {.spec = "-:row",                           .name = "row"},
        {.spec = "/no/such/a:b:c",                  .name = "c"},
        {.spec = "/no/such/x.jsonl:",               .name = "x.jsonl:"},
        {.spec = "x:a\"b\\c\n",                    .name = "a_b_c_"},
    };
    char name[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dataset_name(name, names[i].spec);
        CHECK_TEXT(name, names[i].name);
    }

    dataset_free(&d);
    CHECK(write_file("{'text': 'a'}", 13) == 0);
    char spec[160], with_colon[160];
    snprintf(spec, sizeof spec, "%s:helpful", path);
    CHECK(dataset_load(&d, spec, &bytes, &plain_options) == 0);
    CHECK_TEXT(d.name, "helpful");
    CHECK_TEXT(d.path, path);
    dataset_free(&d);

    // a file whose name has a colon
    snprintf(with_colon, sizeof with_colon, "%s:b.jsonl", path);
    CHECK(rename(path, with_colon) == 0);
    CHECK(dataset_load(&d, with_colon, &bytes, &plain_options) == 0);
    CHECK_TEXT(d.path, with_colon);
    unlink(with_colon);
}

static void test_standard_input_is_a_file(void) {
    CHECK(write_file("{'text': 'a'}\n{'text': 'b'}\n", 28) == 0);
    dataset_free(&d);
    CHECK(freopen(path, "rb", stdin) && dataset_load(&d, "-", &bytes, &plain_options) == 0);
    CHECK(d.num_records == 2);
    CHECK_TEXT(d.name, "stdin");
    unlink(path);
}

// How many pairs of the text are counted as contradicted by their own row; the rest is right.
static size_t contrary(const char *text, const DataOptions *o) {
    return load(text, o) < 0 ? 99 : d.contrary;
}

static void test_pairs_that_their_own_numbers_contradict_are_counted(void) {
#define PAIR "{'prompt':'p','chosen':' a','rejected':' b'"
    const DataOptions keys = {.chosen_key = "good", .rejected_key = "bad"};
    CHECK(contrary(PAIR "}\n" PAIR ",'score_chosen':7.5,'score_rejected':8}\n"
                   PAIR ",'score_chosen':1,'score_rejected':2}\n", &plain_options) == 2);
    CHECK(d.contrary_line == 2);
    CHECK(!strcmp(d.contrary_by, "\"score_chosen\" 7.5 below \"score_rejected\" 8"));

    // the names that public sets have
    CHECK(contrary(PAIR ",'chosen_score':1,'rejected_score':2}", &plain_options) == 1);
    CHECK(contrary(PAIR ",'chosen-rating':1,'rejected-rating':2}", &plain_options) == 1);
    CHECK(contrary(PAIR ",'rejected_avg_rating':2,'chosen_avg_rating':1}", &plain_options) == 1);
    CHECK(contrary(PAIR ",'reward_chosen':-2,'reward_rejected':-1}", &plain_options) == 1);
    CHECK(contrary(PAIR ",'margin':-0.5}", &plain_options) == 1);
    CHECK(!strcmp(d.contrary_by, "\"margin\" -0.5"));
    CHECK(contrary(PAIR ",'winner':'rejected'}", &plain_options) == 1);
    CHECK(contrary(PAIR ",'winner':'m2','chosen_model':'m1','rejected_model':'m2'}",
                   &plain_options) == 1);
    CHECK(!strcmp(d.contrary_by, "\"winner\" \"m2\""));
    CHECK(contrary("{'prompt':'p','good':'a','bad':'b','score_good':1,'score_bad':2}", &keys) == 1);

    // what agrees, ties, is no number, is better where it is less, or is a judge's
    CHECK(contrary(PAIR ",'score_chosen':2,'score_rejected':1}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'score_chosen':2,'score_rejected':2,'margin':0}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'score_chosen':'1','score_rejected':'2'}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'score_chosen':1,'score_rejected':null}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'score_chosen':1}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'rank_chosen':1,'rank_rejected':2}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'scores_chosen':1,'scores_rejected':2}", &plain_options) == 0);
    CHECK(contrary(PAIR ",'winner':'m1','chosen_model':'m1','rejected_model':'m2'}",
                   &plain_options) == 0);
    CHECK(contrary(PAIR ",'winner':'m1','chosen_model':'m1','rejected_model':'m1'}",
                   &plain_options) == 0);

    // a known set says itself what is better; a row that is left out is not counted
    CHECK(contrary("{'system':'s','input':'p','chosen':' a','rejected':' b','score_chosen':1,"
                   "'score_rejected':2}", &plain_options) == 0);
    CHECK(contrary("{'prompt':'p','chosen':' a','rejected':' a','margin':-1}",
                   &plain_options) == 0);
#undef PAIR
}

static void test_the_report_is_one_line_with_every_count(void) {
    DataOptions o = {.max_length = 10, .max_prompt_length = 5, .over_length = OVER_TRUNCATE};
    Buffer b = {0};
    CHECK(load(long_rows, &o) == 0);
    strcpy(d.name, "long");
    CHECK(dataset_report(&d, &b) == 0);
    // (5+4+2 + 3+4+2 + 3+2+5 + 5+2+2) / 4 = 9.75 tokens
    CHECK_TEXT(b.data, "long: 4 rows of kind pair, 4 kept, 0 dropped (too long), 0 ties, "
                       "2 truncated (2 prompts, 1 answers), 10 tokens a row\n");
    buffer_free(&b);
}

// ---------------------------------------------------------------------------------------- refusals

static void test_a_bad_line_is_named_with_its_reason(void) {
    CHECK(refused("{'text': 'a'}\n{'text': 'b'\n", 2, ""));
    CHECK(refused("{'text': 'a'}\n\r\n{'text': '\\ud800'}\n", 3, "surrogate"));
    CHECK(refused("{'text': '\xff'}\n", 1, "not UTF-8"));
    CHECK(refused("{'text': 'a', 'text': 'b'}\n", 1, "twice"));
    CHECK(refused_with("{'text': 'a'}\n\0{}", 16, &plain_options, 2, ""));
    CHECK(refused_with("{'text': 'a\0b'}", 15, &plain_options, 1, "control character"));
    CHECK(refused("{'text': 'a'} {'text': 'b'}\n", 1, "more text after the value"));
    CHECK(refused("{'text': 'a'}\n7\n", 2, "a row must be a JSON object"));
}

static void test_a_bad_array_is_named_with_its_reason(void) {
    CHECK(refused("[1, 2]", 1, "a row must be a JSON object"));
    CHECK(refused("[", 1, "a row must be a JSON object"));
    CHECK(refused("[{'text': 'a'},\n]", 2, "a row must be a JSON object"));
    CHECK(refused("[{'text': 'a'}\n {'text': 'b'}]", 2, "more text after the value"));
    CHECK(refused("[{'text': 'a'}", 1, "',' or ']' is expected"));
    CHECK(refused("[{'text': 'a'}]\nx", 2, "more text after the array"));
    CHECK(refused("[{'text': 'a'},\n {'text': 'b\\", 2, ""));
    CHECK(refused("[\n{'text':\n\n'a\\x'}]", 4, "unknown escape"));
}

static void test_a_million_open_brackets_are_refused(void) {
    char *text = malloc(1000000);
    memset(text, '[', 1000000);
    CHECK(refused_with(text, 1000000, &plain_options, 1, "a row must be a JSON object"));
    memcpy(text, "{'a':", 5);
    CHECK(refused_with(text, 1000000, &plain_options, 1, "64 levels"));
    memcpy(text, "[{'a':", 6);
    CHECK(refused_with(text, 1000000, &plain_options, 1, "64 levels"));
    free(text);
}

static void test_files_without_rows_are_refused(void) {
    CHECK(refused("", 0, "no rows"));
    CHECK(refused(" \n\r\n", 0, "no rows"));
    CHECK(refused("\xef\xbb\xbf", 0, "no rows"));
    CHECK(refused("[]", 0, "no rows"));
}

static void test_what_is_no_file_is_refused(void) {
    dataset_free(&d);
    static const char *const paths[] = {"/no/such/file.jsonl", "/tmp", "/dev/zero"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        CHECK(dataset_load(&d, paths[i], &bytes, &plain_options) < 0 && error_code == EX_NOINPUT);
        CHECK(strstr(error_text, paths[i]) != NULL && !d.path);
    }
}

static void test_mixed_kinds_are_refused(void) {
    CHECK(refused("{'text': 'a'}\n{'prompt': 'p', 'completion': 'a'}", 2,
                  "a completion row in a file of text rows"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a'}\n\n{'prompt': 'p', 'completion': 'a', "
                  "'label': 1}",
                  3, "a point row in a file of completion rows"));
    CHECK(refused("[{'text': 'a'},\n\n{'prompt': 'p'}]", 3,
                  "a prompt row in a file of text rows; one kind a file"));
}

static void test_unknown_shapes_are_refused(void) {
    CHECK(refused("{'question': 'a', 'reply': 'b'}", 1, "unknown shape"));
    CHECK(refused("{}", 1, "unknown shape"));
    CHECK(refused("{'completion': 'a'}", 1, ""));
    CHECK(refused("{'text': null}", 1, "unknown shape"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'labels': [true, false]}", 1,
                  "step-wise data"));
}

static void test_half_a_pair_is_refused(void) {
    CHECK(refused("{'prompt': 'p', 'chosen': 'a'}", 1, "no \"rejected\" beside \"chosen\""));
    CHECK(refused("{'prompt': 'p', 'chosen': null, 'rejected': 'b'}", 1,
                  "no \"chosen\" beside \"rejected\"; --chosen_key names another key"));
}

static void test_a_named_prompt_key_must_be_there(void) {
    DataOptions o = {.prompt_key = "question"};
    const char *row = "{'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}";
    CHECK(refused_with(row, strlen(row), &o, 1, "no \"question\""));
}

static void test_empty_answers_are_refused(void) {
    CHECK(refused("{'prompt': 'p', 'chosen': 'a', 'rejected': ''}", 1, "empty"));
    CHECK(refused("{'prompt': 'p', 'completion': '', 'label': true}", 1, "empty"));
    CHECK(refused("{'prompt': [{'role':'user','content':'Q'}], 'chosen': [{'role':'assistant',"
                  "'content':''}],'rejected': [{'role':'assistant','content':'b'}]}",
                  1, "empty"));
    CHECK(refused("{'chosen': '\\n\\nHuman: Q\\n\\nAssistant:', "
                  "'rejected': '\\n\\nHuman: Q\\n\\nAssistant: b'}",
                  1, "empty"));
    CHECK(refused("{'text': ''}", 1, "empty"));
}

static void test_wrong_types_are_refused(void) {
    CHECK(refused("{'prompt': 1, 'completion': 'a'}", 1,
                  "\"prompt\" must be a string or a list of messages"));
    CHECK(refused("{'prompt': 'p', 'completion': 1}", 1, "\"completion\" must be a string"));
    CHECK(refused("{'prompt': 'p', 'chosen': 1, 'rejected': 'a'}", 1,
                  "\"chosen\" must be a string"));
    CHECK(refused("{'text': 5}", 1, "\"text\" must be a string"));
    CHECK(refused("{'text': {'a': 1}}", 1, "\"text\" must be a string that is not empty"));
    CHECK(refused("{'instruction': [], 'output': 'a'}", 1, "\"instruction\" must be a string"));
    CHECK(refused("{'instruction': 'Q', 'input': [], 'output': 'a'}", 1,
                  "\"input\" must be a string"));
    CHECK(refused("{'instruction': 'Q', 'system': {}, 'output': 'a'}", 1,
                  "\"system\" must be a string"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'label': 'yes'}", 1,
                  "true, false or a number"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'label': 1, 'score': 2}", 1, "keep one of"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'score': 1e300}", 1,
                  "\"score\" is beyond a float: 1e300"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'score': -1e39}", 1,
                  "\"score\" is beyond a float: -1e39"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'score': NaN}", 1, "NaN is no number"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'x': -Infinity}", 1,
                  "-Infinity is no number"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'score': '1'}", 1,
                  "\"score\" must be true, false or a number, not a string"));
    CHECK(refused("{'prompt': 'p', 'completion': 'a', 'weight': [1]}", 1,
                  "\"weight\" must be a number, not a list"));
    CHECK(refused("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'margin': 'big'}", 1,
                  "\"margin\" must be a number"));
    CHECK(refused("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'weight': true}", 1,
                  "\"weight\" must be a number"));
    CHECK(refused("{'prompt': 'p', 'chosen': 'a', 'rejected': 'b', 'weight': -1}", 1,
                  "must not be negative"));
    CHECK(refused("{'instruction': 'Q', 'output': 'A', 'history': [['q']]}", 1,
                  "list of [question, answer]"));
    CHECK(refused("{'instruction': 'Q', 'output': 'A', 'history': 'q'}", 1,
                  "list of [question, answer]"));
    CHECK(refused("{'instruction': 'Q', 'output': 'A', 'history': [{'q': '1', 'a': '2'}]}", 1,
                  "list of [question, answer]"));
}

static void test_bad_rankings_are_refused(void) {
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'ranks': [1, 2], 'scores': [1, 2]}",
                  1, "keep one of \"ranks\" and \"scores\""));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'score': [1, 2]}", 1,
                  "\"score\" would be ignored; numbers that sort the answers are called"));
    CHECK(refused("{'instruction': 'p', 'output': ['a', 'b'], 'rating': [1, 2]}", 1,
                  "\"rating\" would be ignored"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a']}", 1, "two or more answers"));
    CHECK(refused("{'prompt': 'p', 'completions': 'a'}", 1, "two or more answers"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'ranks': [1]}", 1,
                  "\"ranks\" must be a list of 2 numbers"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'scores': 1}", 1,
                  "\"scores\" must be a list of 2 numbers"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'scores': {'a': 1, 'b': 2}}", 1,
                  "\"scores\" must be a list of 2 numbers"));
    CHECK(refused("{'prompt': 'p', 'completions': ['a', 'b'], 'scores': [1, null]}", 1,
                  "\"scores\" must be a number"));
    CHECK(refused("{'prompt': 'p', 'answers': [{'answer': 'a'}, {'answer': 'b', 'rank': 2}]}", 1,
                  "\"rank\" must be a number"));
    CHECK(refused("{'prompt': 'p', 'answers': [{'rank': 1}, {'answer': 'b', 'rank': 2}]}", 1,
                  "\"answer\" must be a string"));
    CHECK(refused("{'text': ['a', 'b']}", 1, "there is no \"score\""));
    char row[2048] = "{'prompt': 'p', 'completions': ['a'";
    for (int i = 0; i < MAX_ANSWERS; i++) strcat(row, ",'a'");
    strcat(row, "]}");
    CHECK(refused(row, 1, "more than 256 answers"));
}

static void test_bad_messages_are_refused(void) {
    CHECK(refused("{'messages': []}", 1, "not empty"));
    CHECK(refused("{'prompt': []}", 1, "not empty"));
    CHECK(refused("{'prompt': [{'role':'user'}]}", 1, "a message must be"));
    CHECK(refused("{'prompt': ['Q']}", 1, "\"prompt\" is a list of strings"));
    CHECK(refused("{'prompt': [7]}", 1, "a message must be"));
    CHECK(refused("{'prompt': [{'role':'teacher','content':'Q'}]}", 1,
                  "unknown role \"teacher\""));
    CHECK(refused("{'prompt': [{'role':'user','content':[1]}]}", 1,
                  "\"content\" must be a string"));
    CHECK(refused("{'messages': [{'role':'assistant','content':'A'}]}", 1, "before the answer"));
    CHECK(refused("{'prompt': 'Q', 'answer': 42}", 1, "\"answer\" must be a string, not a number"));
    CHECK(refused("{'messages': 'A'}", 1, "must be a list of messages, not a string"));
    CHECK(refused("{'prompt': [{'role':'assistant','content':'Q'}], 'completion': 'a'}", 1,
                  "must end with the user's message"));
    CHECK(refused("{'prompt': [{'role':'user','content':'Q'}], 'completion': {'role':'user',"
                  "'content':'Q'}}",
                  1, "must be the assistant's message"));
    CHECK(refused("{'prompt': 'p', 'chosen': [{'role':'assistant','content':'a'}],"
                  "'rejected': [{'role':'assistant','content':'b'}]}",
                  1, "all be strings or all be messages"));
    CHECK(refused("{'chosen': [{'role':'user','content':'q'},{'role':'assistant',"
                  "'content':'a'}], 'rejected': 'b'}",
                  1, "all be strings or all be messages"));
    CHECK(refused("{'chosen': [{'role':'assistant','content':'a'}], "
                  "'rejected': [{'role':'assistant','content':'b'}]}",
                  1, "no prompt"));
}

static void test_an_unknown_template_is_refused(void) {
    DataOptions o = {.template_ = "chat"};
    CHECK(options_refused(&o, "--template chat: unknown; plain, turns, none, chatml, "));
}

// Any prefix of a file, and any one byte of it changed, is read or refused; never more.
static void test_a_damaged_file_never_crashes(void) {
    static const char *const files[] = {
        ("{'conversations':[{'from':'human','value':'Q'}],'chosen':{'from':'gpt','value':'a'},"
         "'rejected':{'from':'gpt','value':'b'}}\n"),
        "[{'prompt':'p','answers':[{'answer':'a','rank':1},{'answer':'b','rank':2}]}]",
        "{'instruction':'Q','output':'A','history':[['q0','a0']],'score':1.0}",
        "{'system':'S','messages':[{'role':'user','content':[{'type':'text','text':'Q'}]},"
        "{'role':'assistant','content':'A'},{'role':'user','content':'R'},"
        "{'role':'assistant','content':'B'}]}",
        "{'prompt':'[\\'P\\']','response_a':'[\\'A\\']','response_b':'[\\'B\\']',"
        "'winner_model_a':1,'winner_model_b':0}",
        "{'prompt':'Q','chosen':['A'],'rejected':['B','C'],'num_correct':1}",
        "{'info':{'post':'P','title':'T','subreddit':'s'},'summaries':[{'text':'A'},{'text':'B'}],"
        "'choice':1,'id':[1,{'a':'b'}]}",
    };
    const DataOptions all = {.all_turns = 1, .keep_others = 1};
    static const char bytes_to_try[] = "'[{}],:\\\n0 n\xff";
    char text[240];
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        const size_t n = strlen(files[f]);
        assert(n < sizeof text);
        for (size_t i = 0; i < n; i++) {
            memcpy(text, files[f], n);
            CHECK(load_bytes(text, i, &plain_options) == 0 || *error_text);
            CHECK(load_bytes(text, i, &all) == 0 || *error_text);
            text[i] = bytes_to_try[i % (sizeof bytes_to_try - 1)];
            CHECK(load_bytes(text, n, &plain_options) == 0 || *error_text);
            CHECK(load_bytes(text, n, &all) == 0 || *error_text);
        }
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    CHECK(tokenizer_of_bytes(&bytes) == 0);
    RUN(test_a_text_is_one_answer_without_a_prompt);
    RUN(test_a_prompt_alone_has_no_answers);
    RUN(test_a_completion_stands_as_it_is);
    RUN(test_messages_are_rendered_by_the_plain_template);
    RUN(test_a_conversation_holds_its_prompt_whatever_stands_beside_it);
    RUN(test_other_keys_are_ignored_and_null_is_absent);
    RUN(test_the_template_none_joins_the_bare_contents);
    RUN(test_the_template_turns_takes_strings_as_turns);
    RUN(test_a_pair_with_a_prompt);
    RUN(test_a_pair_of_whole_conversations);
    RUN(test_the_prompt_of_two_conversations_is_the_messages_that_both_begin_with);
    RUN(test_conversations_of_other_prompts_are_refused);
    RUN(test_raw_hh_is_cut_after_the_last_role_marker);
    RUN(test_margin_and_weight_are_read_and_have_defaults);
    RUN(test_labels_and_scores_are_points);
    RUN(test_ulma_rows_are_points_with_a_history);
    RUN(test_alpaca_rows_join_instruction_and_input_by_a_line);
    RUN(test_sharegpt_pairs_and_points);
    RUN(test_nectar_answers_are_sorted_by_rank);
    RUN(test_completions_are_best_first_unless_ranks_or_scores_say_otherwise);
    RUN(test_texts_with_scores_are_rankings_without_a_prompt);
    RUN(test_a_file_of_rankings_of_two_is_a_file_of_pairs);
    RUN(test_keys_of_ones_own);
    RUN(test_a_file_may_be_one_array_over_many_lines);
    RUN(test_an_answer_has_several_names);
    RUN(test_all_turns_of_a_conversation_are_one_answer_with_gaps);
    RUN(test_turns_that_do_not_fit_go_on_in_another_record_of_the_row);
    RUN(test_a_turn_longer_than_its_room_is_dropped_cut_or_refused);
    RUN(test_answers_of_a_history_are_turns_too);
    RUN(test_a_conversation_of_too_many_turns_names_the_way_out);
    RUN(test_turns_of_points_and_of_pairs_stay_as_they_are);
    RUN(test_system_is_used_wherever_it_stands);
    RUN(test_a_key_that_may_be_the_prompt_is_not_ignored);
    RUN(test_messages_without_a_prompt_ask_for_its_key);
    RUN(test_text_beside_the_prompt_is_joined_or_refused);
    RUN(test_what_stands_beside_the_text_is_refused_by_name);
    RUN(test_trees_of_messages_and_ratings_of_steps_are_refused_with_the_way_out);
    RUN(test_the_answer_that_is_right_may_stand_beside_a_conversation);
    RUN(test_a_file_that_is_one_object_is_told_how_to_become_rows);
    RUN(test_messages_that_were_printed_as_a_string_are_refused);
    RUN(test_text_parts_of_a_message_are_joined);
    RUN(test_the_keys_of_an_unknown_shape_are_told);
    RUN(test_rows_of_known_sets_are_read_as_published);
    RUN(test_a_row_of_a_known_set_without_its_texts_is_refused);
    RUN(test_a_file_has_rows_of_one_known_set_which_is_named);
    RUN(test_ties_of_known_sets_are_ties);
    RUN(test_rankings_of_known_sets_are_sorted_by_their_numbers);
    RUN(test_lists_of_chosen_and_rejected_are_a_ranking_of_two_places);
    RUN(test_a_ranking_as_pairs_is_each_two_answers_of_which_one_is_better);
    RUN(test_rankings_that_tie_everywhere_are_ties);
    RUN(test_an_implicit_prompt_ends_before_the_last_space_they_share);
    RUN(test_an_implicit_prompt_never_ends_inside_a_character);
    RUN(test_the_cut_of_random_texts_is_where_a_word_begins);
    RUN(test_a_role_marker_begins_a_line);
    RUN(test_prompt_and_answer_are_tokenised_apart);
    RUN(test_rows_that_share_a_prompt_share_a_prompt_id);
    RUN(test_a_row_can_be_found_again_in_the_text);
    RUN(test_characters_are_counted_before_the_cut);
    RUN(test_prompts_lose_their_left_and_answers_their_right);
    RUN(test_a_record_with_an_answer_too_long_is_dropped_whole);
    RUN(test_raise_names_the_line_of_an_answer_too_long);
    RUN(test_without_a_prompt_limit_an_answer_has_what_the_prompt_leaves);
    RUN(test_a_text_has_the_whole_length);
    RUN(test_a_text_is_cut_the_same_alone_and_in_a_pair);
    RUN(test_an_answer_that_the_tokenizer_has_no_tokens_for_is_refused);
    RUN(test_no_text_is_longer_than_max_length);
    RUN(test_lengths_that_leave_no_room_are_refused);
    RUN(test_ties_are_dropped_and_counted);
    RUN(test_an_array_of_scored_texts_is_pairs_without_the_ties);
    RUN(test_equal_ranks_keep_their_order_and_their_scores);
    RUN(test_for_scoring_rows_stay_as_given);
    RUN(test_each_record_is_led_to_the_first_with_its_prompt);
    RUN(test_repeated_prompts_are_those_that_comparing_all_with_all_finds);
    RUN(test_crlf_bom_blank_lines_and_no_final_newline);
    RUN(test_a_byte_order_mark_may_begin_any_line);
    RUN(test_a_file_of_another_format_is_named);
    RUN(test_for_language_models_a_plain_text_is_one_document);
    RUN(test_a_line_of_a_megabyte);
    RUN(test_texts_may_hold_nul_and_any_character);
    RUN(test_names);
    RUN(test_standard_input_is_a_file);
    RUN(test_pairs_that_their_own_numbers_contradict_are_counted);
    RUN(test_the_report_is_one_line_with_every_count);
    RUN(test_a_bad_line_is_named_with_its_reason);
    RUN(test_a_bad_array_is_named_with_its_reason);
    RUN(test_a_million_open_brackets_are_refused);
    RUN(test_files_without_rows_are_refused);
    RUN(test_what_is_no_file_is_refused);
    RUN(test_mixed_kinds_are_refused);
    RUN(test_unknown_shapes_are_refused);
    RUN(test_half_a_pair_is_refused);
    RUN(test_a_named_prompt_key_must_be_there);
    RUN(test_empty_answers_are_refused);
    RUN(test_wrong_types_are_refused);
    RUN(test_bad_rankings_are_refused);
    RUN(test_bad_messages_are_refused);
    RUN(test_an_unknown_template_is_refused);
    RUN(test_a_damaged_file_never_crashes);
    dataset_free(&d);
    tokenizer_free(&bytes);
    return test_summary();
}

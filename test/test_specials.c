/* test_specials.c - which token ends a text, by the files of a folder.  main makes one.  Run from
 * the repository's root.  */
#include "../specials.c"
#include "../files/tokenizer_json.c"
#include "test.h"
#include <unistd.h>

// Ids 0 to 2 are ordinary pieces, 3 to 6 added tokens; the well-known name among them is 4.
static const char tokenizer_text[] =
    "{\"added_tokens\": [{\"id\": 3, \"content\": \"<|eot|>\", \"special\": true},"
    " {\"id\": 4, \"content\": \"<|endoftext|>\", \"special\": true},"
    " {\"id\": 5, \"content\": \"<|stop|>\", \"special\": true},"
    " {\"id\": 6, \"content\": \"<|start|>\", \"special\": true}],"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"
    " \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"</s>\": 2},"
    " \"merges\": []}}";

static char gemma[PATH_SIZE];           // the path of its chat template

// A file of the folder; NULL: there is none.
static void put(const char *name, const char *text) {
    if (!text) unlink(name);
    else CHECK(file_write(name, text, strlen(text)) == 0);
}

typedef struct {
    Tokenizer t;
    Config c;
} Found;

// What the folder says, with this first "eos_token_id" of config.json and these two files.
static Found find(int eos, const char *generation, const char *settings) {
    Found f = {.c = {.vocab_size = 8, .bos = -1, .eos = eos, .pad = -1}};
    put("generation_config.json", generation);
    put("tokenizer_config.json", settings);
    CHECK(tokenizer_load(&f.t, "tokenizer.json") == 0);
    CHECK(specials_find(&f.t, &f.c, ".", "tokenizer.json", NULL) == 0);
    return f;
}

// Is this end trained and written, and are there so many?
static int found(Found f, int eos, int num_ends) {
    const int same = f.t.eos == eos && f.c.eos == eos && f.t.num_ends == num_ends;
    if (!same) printf("    eos %d, %d, of %d\n", f.t.eos, f.c.eos, f.t.num_ends);
    tokenizer_free(&f.t);
    return same;
}

#define GENERATION "{\"eos_token_id\": 5}"
#define SETTINGS "{\"eos_token\": \"<|eot|>\"}"

static void test_config_comes_before_the_other_files_and_the_known_names_last(void) {
    CHECK(found(find(5, NULL, SETTINGS), 5, 1));
    CHECK(found(find(3, GENERATION, NULL), 3, 2));
    CHECK(found(find(-1, GENERATION, SETTINGS), 5, 1));
    CHECK(found(find(-1, "{}", SETTINGS), 3, 1));
    CHECK(found(find(-1, NULL, "{\"eos_token\": {\"content\": \"<|stop|>\"}}"), 5, 1));
    CHECK(found(find(-1, NULL, "{\"eos_token\": null}"), 4, 1));
    CHECK(found(find(-1, NULL, "{\"eos_token\": \"\"}"), 4, 1));
    CHECK(found(find(-1, NULL, NULL), 4, 1));
}

static void test_every_id_of_a_list_ends_a_text_and_the_tokenizers_own_is_trained(void) {
    CHECK(found(find(-1, "{\"eos_token_id\": [5, 3, 5]}", NULL), 5, 2));
    CHECK(found(find(-1, "{\"eos_token_id\": [5, 3, 7]}", SETTINGS), 3, 2));  // 7 has no piece

    put("generation_config.json", "{\"eos_token_id\": [5, 4]}");
    put("tokenizer_config.json", SETTINGS);
    Found f = {.c = {.vocab_size = 8, .bos = 6, .eos = 5, .num_more_eos = 1, .more_eos = {3}}};
    CHECK(tokenizer_load(&f.t, "tokenizer.json") == 0);
    CHECK(specials_find(&f.t, &f.c, ".", "tokenizer.json", NULL) == 0);
    CHECK(f.c.more_eos[0] == 5 && f.t.bos == 6);
    CHECK(found(f, 3, 3));
}

// Are the files refused in these words?
static int refused(const char *generation, const char *settings, const char *words) {
    Tokenizer t;
    Config c = {.vocab_size = 8, .bos = -1, .eos = -1, .pad = -1};
    put("generation_config.json", generation);
    put("tokenizer_config.json", settings);
    const int loaded = tokenizer_load(&t, "tokenizer.json") == 0;
    const int result = loaded ? specials_find(&t, &c, ".", "tokenizer.json", NULL) : -1;
    const int good = result < 0 && error_code == EX_DATAERR && strstr(error_text, words);
    if (!good) printf("    %s\n", error_text);
    tokenizer_free(&t);
    return good;
}

static void test_what_names_no_token_is_refused_with_file_and_key(void) {
    static const char *const ends[] = {"[]", "8", "-1", "[5, 1e300]", "[5, null]", "\"5\"", "5.5",
                                       "true", "{}"};
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        char text[60];
        snprintf(text, sizeof text, "{\"eos_token_id\": %s}", ends[k]);
        CHECK(refused(text, NULL, "generation_config.json: \"eos_token_id\" must be a whole number "
                      "from 0 to 7, or a list of them, or null"));
    }
    CHECK(refused(NULL, "{\"eos_token\": \"<|none|>\"}", "tokenizer_config.json: \"eos_token\" is "
                  "\"<|none|>\", which the tokenizer does not have: name one of its tokens"));
    CHECK(refused(NULL, "{\"bos_token\": \"<|none|>\"}", "\"bos_token\" is \"<|none|>\""));
    CHECK(refused(NULL, "{\"eos_token\": 4}", "tokenizer_config.json: \"eos_token\" must be a "
                  "string, or an object with a \"content\""));
    CHECK(refused(NULL, "{\"bos_token\": {\"id\": 4}}", "\"bos_token\" must be a string, or an"));
    CHECK(refused(NULL, "{\"chat_template\": 4}", "tokenizer_config.json: \"chat_template\" must "
                  "be a string, or a list"));
    CHECK(refused(NULL, "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"x\"}]}",
                  "with one that is called default"));
}

// Gemma's template ends a turn by its own token, which its lists have second.
static void test_the_token_that_ends_a_turn_is_trained_and_written(void) {
    static const struct {
        const char *generation, *jinja, *template_;
        int eos, num_ends, more;
    } folders[] = {
        {.generation = "{\"eos_token_id\": [3, 7]}", .template_ = NULL, .eos = 7, .num_ends = 2,
         .more = 3},                                      // a list names it
        {.generation = NULL, .template_ = "gemma", .eos = 7, .num_ends = 2, .more = 3},
        {.generation = NULL, .template_ = NULL, .eos = 3, .num_ends = 1, .more = -1},
        {.generation = NULL, .template_ = "plain", .eos = 3, .num_ends = 1, .more = -1},
    };
    Buffer jinja = {0};
    CHECK(file_read(&jinja, gemma) == 0);
    put("chat_template.jinja", jinja.data);
    put("added_tokens.json", "{\"<end_of_turn>\": 7}");
    put("tokenizer_config.json", SETTINGS);
    for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
        Found f = {.c = {.vocab_size = 8, .bos = -1, .eos = 3, .pad = -1}};
        put("generation_config.json", folders[k].generation);
        CHECK(tokenizer_load(&f.t, "tokenizer.json") == 0);
        CHECK(specials_find(&f.t, &f.c, ".", "tokenizer.json", folders[k].template_) == 0);
        CHECK(f.c.num_more_eos == (folders[k].more >= 0));
        CHECK(!f.c.num_more_eos || f.c.more_eos[0] == folders[k].more);
        CHECK(found(f, folders[k].eos, folders[k].num_ends));
    }
    put("chat_template.jinja", NULL);
    put("added_tokens.json", NULL);
    buffer_free(&jinja);
}

// Is the template that the folder's files have this one?
static int has_template(const char *jinja, const char *settings, const char *want) {
    Tokenizer t;
    put("chat_template.jinja", jinja);
    put("tokenizer_config.json", settings);
    const int loaded = tokenizer_load(&t, "tokenizer.json") == 0;
    const int same = loaded && (*want ? t.chat.len && !strcmp(t.chat.data, want) : !t.chat.len);
    tokenizer_free(&t);
    put("chat_template.jinja", NULL);
    return same;
}

static void test_the_chat_template_is_a_file_or_a_string_or_the_default_of_a_list(void) {
    CHECK(has_template(NULL, NULL, "") && has_template(NULL, "{\"chat_template\": null}", ""));
    CHECK(has_template(NULL, "{\"chat_template\": \"x\"}", "x"));
    CHECK(has_template("y", "{\"chat_template\": \"x\"}", "y"));
    CHECK(has_template(NULL, "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"a\"},"
                       " {\"name\": \"default\", \"template\": \"b\"}]}", "b"));
}

static void test_an_ordinary_piece_ends_no_text_unless_the_tokenizer_says_so(void) {
    Found f = find(1, NULL, NULL);
    CHECK(f.t.eos == -1 && specials_need_end(&f.t, &f.c, "x") < 0);
    CHECK(strstr(error_text, "x: \"eos_token_id\" of config.json is 1, which is the ordinary piece "
                 "\"b\"") != NULL);
    tokenizer_free(&f.t);

    f = find(7, NULL, NULL);
    CHECK(f.t.eos == -1 && specials_need_end(&f.t, &f.c, "x") < 0);
    CHECK(strstr(error_text, "is 7, but the tokenizer has 7 pieces") != NULL);
    tokenizer_free(&f.t);

    CHECK(found(find(2, NULL, "{\"eos_token\": \"</s>\"}"), 2, 1));
}

static void test_a_folder_without_an_end_is_told_where_to_name_one(void) {
    Tokenizer t = {.eos = -1};
    Config c = {.eos = -1};
    CHECK(specials_need_end(&t, &c, "x") < 0);
    CHECK(strstr(error_text, "x: no end of text: set \"eos_token_id\" in config.json") != NULL);
}

static void test_a_damaged_file_is_an_error_and_a_missing_one_is_none(void) {
    Tokenizer t;
    Config c = {.eos = 3, .bos = -1};
    put("tokenizer_config.json", "{");
    const int loaded = tokenizer_load(&t, "tokenizer.json");
    CHECK(loaded < 0 || specials_find(&t, &c, ".", "tokenizer.json", NULL) < 0);
    CHECK(strstr(error_text, "tokenizer_config.json:1:2") != NULL);
    tokenizer_free(&t);
}

int main(int argc, char **argv) {
    char folder[PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    test_choose(argc, argv);
    if (!realpath("test/golden/templates/gemma.jinja", gemma)) return 1;
    if (path_join(folder, tmp ? tmp : "/tmp", "more-test-XXXXXX") < 0) return 1;
    if (!mkdtemp(folder) || chdir(folder) < 0) return 1;
    put("tokenizer.json", tokenizer_text);
    RUN(test_config_comes_before_the_other_files_and_the_known_names_last);
    RUN(test_every_id_of_a_list_ends_a_text_and_the_tokenizers_own_is_trained);
    RUN(test_what_names_no_token_is_refused_with_file_and_key);
    RUN(test_the_token_that_ends_a_turn_is_trained_and_written);
    RUN(test_the_chat_template_is_a_file_or_a_string_or_the_default_of_a_list);
    RUN(test_an_ordinary_piece_ends_no_text_unless_the_tokenizer_says_so);
    RUN(test_a_folder_without_an_end_is_told_where_to_name_one);
    RUN(test_a_damaged_file_is_an_error_and_a_missing_one_is_none);
    put("tokenizer.json", NULL);
    put("tokenizer_config.json", NULL);
    put("generation_config.json", NULL);
    rmdir(folder);
    return test_summary();
}

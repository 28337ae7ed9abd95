/* fuzz.c - whatever is read, given anything: an input of libFuzzer becomes files, and commands read
 * them.  test/slow/fuzz.sh makes the folder that it runs in, and runs every target:
 *
 *     FUZZ_TARGET=tokenizer test/bin/fuzz CORPUS      one of the table at the end
 *     FUZZ_TARGET=tokenizer test/bin/fuzz INPUT       what one input does
 *
 * A finding is a crash, a leak, undefined behaviour, a hang, memory beyond what an input of such a
 * size can need, or an error without a message.                                                  */
int more_main(int argc, char **argv);
#define main more_main
#include "../../more.c"
#undef main

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// what is left of the input
typedef struct {
    const uint8_t *data;
    size_t size;
} Input;

static int report = STDERR_FILENO;              // where it goes when the programs' own is closed

static void must(int holds, const char *what) {
    if (holds) return;
    dprintf(report, "FUZZ: %s\n", what);
    abort();
}

// ------------------------------------------------------------------------------ files and commands

static void write_bytes(const char *path, const void *data, size_t n) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    must(fd >= 0, path);
    must(write(fd, data, n) == (ssize_t)n, "the disk is full");
    close(fd);
}

// All that is left becomes the file.
static void put(Input *in, const char *path) {
    write_bytes(path, in->data, in->size);
    in->size = 0;
}

// What is left up to a zero byte becomes the file; none at all, and there is no file.
static void put_part(Input *in, const char *path) {
    const uint8_t *zero = in->size ? memchr(in->data, 0, in->size) : NULL;
    const size_t n = zero ? (size_t)(zero - in->data) : in->size;
    unlink(path);
    if (n) write_bytes(path, in->data, n);
    in->data += n + (zero != NULL);
    in->size -= n + (zero != NULL);
}

// Does the input have the word?
static int has(const Input *in, const char *word) {
    return in->size && memmem(in->data, in->size, word, strlen(word)) != NULL;
}

// Standard input is to be the file.
static void from(const char *path) {
    const int fd = open(path, O_RDONLY);
    must(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO, "no standard input");
    close(fd);
}

// The command of a line, its words separated by one space each; the settings are what it says.
static Command parse(const char *line) {
    enum { MOST_WORDS = 64, LINE_SIZE = 1024 };
    static char words[LINE_SIZE], *argv[MOST_WORDS] = {"more"};     // the settings point to them
    int argc = 1, used;
    Command c;
    must(line && strlen(line) < sizeof words, "no line, or one that is too long");
    strcpy(words, line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    must(command_find(&c, argc, argv, &used) == 0, "a command that does not exist");
    must(options_parse(&c, argc - used, argv + used) == 0, error_text);
    opt.arguments = argv;
    opt.num_arguments = argc;
    return c;
}

// Runs the command of a line.  It may fail, but says why.
static void call(const char *line) {
    const Command c = parse(line);
    error_text[0] = 0;
    error_code = 0;
    const int result = c.objective ? command_train(c.objective) : c.run();
    if (result < 0) must(error_text[0] && error_code, "an error without a message");
}

// -------------------------------------------------------------------------------------------- JSON

// A string that is written is read as it was.
static void quote_and_read(const char *s, size_t n) {
    Buffer b = {0};
    Json j = {0};
    must(json_quote(&b, s, n) == 0, "a string that cannot be written");
    must(json_parse(&j, b.data, b.len, "quoted") == 0, error_text);
    must(json_length(&j, 0) == n && !memcmp(json_string(&j, 0), s, n), "another string");
    json_free(&j);
    buffer_free(&b);
}

// Asks for all that there is to know of a value, and of those in it.
static void ask_value(const Json *j, int n) {
    int64_t whole;
    int count = 0;
    for (int k = json_first(j, n); k >= 0; k = json_next(j, k)) {
        ask_value(j, k);
        count++;
    }
    must(count == json_count(j, n), "another number of values");
    must(count || json_get(j, n, "prompt") < 0, "a member of nothing");
    if (json_type(j, n) == JSON_STRING) quote_and_read(json_string(j, n), json_length(j, n));
    if (json_integer(j, n, &whole)) must(json_number(j, n) == (double)whole, "another number");
}

static void fuzz_json(Input *in) {
    Json j = {0};
    error_text[0] = 0;
    if (json_parse(&j, (const char *)in->data, in->size, "input") == 0) ask_value(&j, 0);
    else must(error_text[0], "an error without a message");
    json_free(&j);
}

// --------------------------------------------------------------------------------------- data rows

// What is done with rows before anything is computed from them.
static void rows_of_file(const char *path, const Tokenizer *t, DataOptions *o) {
    Dataset d;
    Buffer b = {0};
    error_text[0] = 0;
    if (dataset_load(&d, path, t, o) < 0) {
        must(error_text[0], "an error without a message");
        return;
    }
    must(dataset_report(&d, &b) == 0 && dataset_report_turns(&d, &b) == 0, error_text);
    for (size_t i = 0; i < d.num_records; i++) {
        const Record *r = &d.record[i];
        const Span prompt = dataset_prompt(&d, r);
        must(prompt.start + (size_t)prompt.len <= d.num_tokens, "a prompt beyond the tokens");
        must((size_t)r->first + (size_t)r->count <= d.num_answers, "an answer beyond the answers");
        must(r->line_start + r->line_len <= d.contents.len, "a row beyond the file");
        must(dataset_row_without(&b, &d, r, "\"reward\":1,\"score\":2") == 0, error_text);
    }
    for (size_t i = 0; i < d.num_answers; i++) {
        const Answer *a = &d.answer[i];
        must(a->tokens.start + (size_t)a->tokens.len <= d.num_tokens, "no such tokens");
        must((size_t)a->first_gap + (size_t)a->num_gaps <= d.num_gaps, "a gap beyond the gaps");
    }
    buffer_free(&b);
    dataset_free(&d);
}

// A bad row is left out.
static void leave_out(void *to, const Dataset *d) {
    (void)to;
    must(error_text[0] && d->path, "a bad row without a message");
}

static void fuzz_rows(Input *in) {
    static Tokenizer plain, chat;
    if (!plain.vocab_size) {
        parse("tokenize");
        must(load_tokenizer(&plain, "lm") == 0 && load_tokenizer(&chat, "chat") == 0, error_text);
    }
    DataOptions as_given = {.max_length = 200, .max_prompt_length = 90};
    DataOptions turns = {.max_length = 40, .max_prompt_length = 20, .over_length = 1, .as_pairs = 1,
                         .all_turns = 1, .bad_row = leave_out, .template_ = "turns"};
    DataOptions of_chat = {.bad_row = leave_out, .none_left = 1, .keep_others = 1, .all_turns = 1};
    put(in, "rows.jsonl");
    rows_of_file("rows.jsonl", &plain, &as_given);
    rows_of_file("rows.jsonl", &plain, &turns);
    rows_of_file("rows.jsonl", &chat, &of_chat);
}

static void fuzz_doctor(Input *in) {
    put(in, "rows.jsonl");
    call("doctor --model lm --train rows.jsonl --rows 2");
    call("doctor --model chat --train rows.jsonl --bad_rows drop --pairs --train_turns last "
         "--rows 1 --max_length 40 --max_prompt_length 20");
    from("rows.jsonl");
    call("score --model r --max_length 32 --max_prompt_length 8 --bad_rows drop --template turns");
}

static void fuzz_features(Input *in) {
    put(in, "rows.jsonl");
    call("eval --model features --eval rows.jsonl");
    call("train features --train rows.jsonl --num_train_epochs 1 --out out --quiet --pairs "
         "--layers 2 --bad_rows drop");
}

static void fuzz_table(Input *in) {
    put(in, has(in, "\t") ? "rows.tsv" : "rows.csv");
    call(access("rows.tsv", F_OK) == 0 ? "eval --model features --eval rows.tsv"
                                       : "eval --model features --eval rows.csv");
    unlink("rows.tsv");
    unlink("rows.csv");
}

static void fuzz_options(Input *in) {
    enum { MOST_WORDS = 64 };
    char *argv[MOST_WORDS] = {"more"};
    int argc = 1, used;
    Command c;
    Buffer b = {0};
    must(buffer_append(&b, in->data, in->size) == 0, error_text);
    for (char *word = strtok(b.data, "\n"); word && argc < MOST_WORDS; word = strtok(NULL, "\n")) {
        argv[argc++] = word;
    }
    if (argc > 1 && command_find(&c, argc, argv, &used) == 0) {
        error_text[0] = 0;
        if (options_parse(&c, argc - used, argv + used) < 0) must(error_text[0], "no message");
    }
    buffer_free(&b);
}

// -------------------------------------------------------------------------------------- tokenizers

static void fuzz_tokenizer(Input *in) {
    put(in, "tok/tokenizer.json");
    from("words.txt");
    call("tokenize --tokenizer tok/tokenizer.json");
}

static void fuzz_sentencepiece(Input *in) {
    put(in, "tok/tokenizer.model");
    from("words.txt");
    call("tokenize --tokenizer tok/tokenizer.model");
}

static void fuzz_merges(Input *in) {
    put_part(in, "merges/vocab.json");
    put_part(in, "merges/merges.txt");
    put_part(in, "merges/tokenizer_config.json");
    from("words.txt");
    call("tokenize --tokenizer merges/vocab.json");
}

// Any text, by tokenizers that are right: one of bytes gives it back.
static void fuzz_text(Input *in) {
    static const char *const files[] = {
        "test/golden/tokenizers/llama3.json", "test/golden/tokenizers/qwen2.json",
        "test/golden/tokenizers/metaspace.json", "test/golden/tokenizers/unknown.json",
        "test/golden/tokenizers/added.json", "test/golden/tokenizers/digits.json",
        "lm/tokenizer.json",
    };
    enum { NUM_FILES = sizeof files / sizeof *files, OF_BYTES = NUM_FILES - 1 };
    static Tokenizer tokenizer[NUM_FILES];
    const char *text = (const char *)in->data;
    for (int k = 0; k < NUM_FILES; k++) {
        Tokenizer *t = &tokenizer[k];
        Buffer b = {0};
        int *id = NULL;
        size_t n = 0, capacity = 0;
        if (!t->vocab_size) must(tokenizer_load(t, files[k]) == 0, error_text);
        error_text[0] = 0;
        if (tokenizer_encode(t, text, in->size, &id, &n, &capacity) < 0) {
            must(error_text[0] && k != OF_BYTES, "a text that cannot be encoded");
            n = 0;
        }
        for (size_t i = 0; i < n; i++) must(id[i] >= 0 && id[i] < t->vocab_size, "no such piece");
        must(tokenizer_decode(t, id, n, &b) == 0, error_text);
        if (k == OF_BYTES && in->size && !has(in, "<|")) {
            must(b.len == in->size && !memcmp(b.data, text, b.len), "another text");
        }
        buffer_free(&b);
        free(id);
    }
}

// What stands beside a tokenizer: its settings, the chat template, special tokens.
static void fuzz_settings(Input *in) {
    put_part(in, "chat/tokenizer_config.json");
    put_part(in, "chat/chat_template.jinja");
    put_part(in, "chat/special_tokens_map.json");
    put_part(in, "chat/generation_config.json");
    call("inspect --model chat");

    Tokenizer t = {0};
    Config c;
    DataOptions all_turns = {.all_turns = 1};
    error_text[0] = 0;
    if (load_tokenizer(&t, "chat") == 0 && config_load(&c, "chat") == 0
        && settle_specials(&t, &c, "chat") == 0) {
        rows_of_file("talk.jsonl", &t, &all_turns);
    } else {
        must(error_text[0], "an error without a message");
    }
    tokenizer_free(&t);
}

// ------------------------------------------------------------------------------------------ models

static void fuzz_safetensors(Input *in) {
    put(in, has(in, "lora_A") ? "test/golden/lora_llama/adapter_model.safetensors"
                              : "test/golden/llama_linear/model.safetensors");
    call("inspect --model test/golden/llama_linear");
    call("inspect --model test/golden/lora_llama");
}

static void fuzz_index(Input *in) {
    put(in, "shards/model.safetensors.index.json");
    call("inspect --model shards");
}

static void fuzz_gguf(Input *in) {
    put(in, "input.gguf");
    call("inspect --model input.gguf");
    from("words.txt");
    call("tokenize --tokenizer input.gguf");
}

static void fuzz_config(Input *in) {
    if (has(in, "gpt2")) {
        put(in, "test/golden/gpt2/config.json");
        call("inspect --model test/golden/gpt2");
    } else if (has(in, "neox")) {
        put(in, "test/golden/neox_tied/config.json");
        call("inspect --model test/golden/neox_tied");
    } else {
        put(in, "test/golden/llama_linear/config.json");
        call("inspect --model test/golden/llama_linear");
    }
}

static void fuzz_adapter(Input *in) {
    put(in, "test/golden/lora_llama/adapter_config.json");
    call("inspect --model test/golden/lora_llama");
}

static void fuzz_features_folder(Input *in) {
    put_part(in, "features/config.json");
    put(in, "features/model.safetensors");
    call("inspect --model features");
    call("eval --model features --eval features.jsonl");
}

static void fuzz_mixture(Input *in) {
    put(in, "mixture.json");
    call("inspect --model mixture.json");
}

// ------------------------------------------------------------------------ what commands go on from

// The input is written as a state, with the checksum that it should have.
static void put_state(const Input *in, const char *path) {
    unsigned char sum[8];
    Checksum c;
    Buffer b = {0};
    checksum_start(&c);
    checksum_add(&c, in->data, in->size);
    bytes_of_number(sum, checksum_finish(&c));
    must(buffer_append(&b, in->data, in->size) == 0, error_text);
    must(buffer_append(&b, sum, sizeof sum) == 0, error_text);
    write_bytes(path, b.data, b.len);
    buffer_free(&b);
}

// A run that is about to be trained, or to go on.
static void begin(Run *run, const Objective *o) {
    *run = (Run){.objective = o, .out = "resumed"};
    must(run_prepare(run) == 0, error_text);
    must(resume_recipe(run) == 0, error_text);
    must(train_prepare(run, (int)run->num_steps) == 0, error_text);
    must(folder_make(run->out) == 0 && open_log(run, &(State){.fd = -1}, &(Progress){0}) == 0,
         error_text);
    if (o->trainer->start) must(o->trainer->start(run) == 0, error_text);
}

// Goes on from the state with one step.
static void fuzz_state(Input *in) {
    static const char *const lines[] = {"FUZZ_more", "FUZZ_dpo", "FUZZ_rloo"};
    static Run runs[3];
    const int k = has(in, "train=dpo") ? 1 : has(in, "train=rloo") ? 2 : 0;
    Run *run = &runs[k];
    const Command c = parse(getenv(lines[k]));
    must(train_check_settings(c.objective) == 0, error_text);
    if (!run->objective) begin(run, c.objective);
    Progress p = {.steps = (int)run->num_steps};
    State s;
    put_state(in, "state.bin");
    const int result = resume_open(run, &s, &p);
    if (result > 0 && !p.finished && resume_load(run, &s) == 0 && p.step < p.steps) {
        train_step(run, p.step, &p);
    }
    state_close(&s);
}

// A receipt and its diary beside those of a run: compared, and read as far as to a replay.
static void fuzz_receipt(Input *in) {
    static Verify v;
    put_part(in, "receipt/more_receipt.json");
    put_part(in, "receipt/diary.jsonl");
    call("diff receipt straight");
    const Command own = parse("verify receipt");
    memset(&v, 0, sizeof v);
    error_text[0] = 0;
    if (verify_open(&v, &own) == 0) verify_settle(&v);
    else must(error_text[0], "an error without a message");
    verify_close(&v);
}

static void fuzz_people(Input *in) {
    static const char *const names[] = {"p0", "p1", "p2", "p3"};
    PeopleFile f = {.name = NULL};
    int group[4], groups;
    put(in, "em/people.json");
    if (people_file_read(&f, "em/people.json") == 0) {
        must(people_file_write(&f, "people-again.json") == 0, error_text);
    }
    people_file_free(&f);
    people_groups_read(group, &groups, "em/people.json", names, 4);
    call("eval --people em/people.json --eval people.jsonl");
}

static void fuzz_results(Input *in) {
    put(in, "results.jsonl");
    call("eval --from results.jsonl");
}

static void fuzz_cache(Input *in) {
    Scoring s = {.cache = -1};
    Rubric r = {.text = {0}};
    score_parse((const char *)in->data, in->size, 0);
    put(in, "cache.jsonl");
    open_cache(&s, "cache.jsonl");
    scoring_free(&s);
    rubric_read(&r, "cache.jsonl");
    buffer_free(&r.text);
}

// --------------------------------------------------------------------------------------- the table

static const struct {
    const char *name;
    void (*run)(Input *in);
} targets[] = {
    {.name = "json",            .run = fuzz_json},
    {.name = "rows",            .run = fuzz_rows},
    {.name = "doctor",          .run = fuzz_doctor},
    {.name = "features",        .run = fuzz_features},
    {.name = "table",           .run = fuzz_table},
    {.name = "tokenizer",       .run = fuzz_tokenizer},
    {.name = "sentencepiece",   .run = fuzz_sentencepiece},
    {.name = "merges",          .run = fuzz_merges},
    {.name = "text",            .run = fuzz_text},
    {.name = "settings",        .run = fuzz_settings},
    {.name = "safetensors",     .run = fuzz_safetensors},
    {.name = "index",           .run = fuzz_index},
    {.name = "gguf",            .run = fuzz_gguf},
    {.name = "config",          .run = fuzz_config},
    {.name = "adapter",         .run = fuzz_adapter},
    {.name = "features_folder", .run = fuzz_features_folder},
    {.name = "mixture",         .run = fuzz_mixture},
    {.name = "state",           .run = fuzz_state},
    {.name = "receipt",         .run = fuzz_receipt},
    {.name = "people",          .run = fuzz_people},
    {.name = "results",         .run = fuzz_results},
    {.name = "cache",           .run = fuzz_cache},
    {.name = "options",         .run = fuzz_options},
};
enum { NUM_TARGETS = sizeof targets / sizeof *targets };

static void (*chosen)(Input *in);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static char numerics[NUMERICS_TEXT];
    const char *name = getenv("FUZZ_TARGET");
    report = dup(STDERR_FILENO);
    (void)argc;
    (void)argv;
    for (int i = 0; i < NUM_TARGETS; i++) {
        if (name && !strcmp(targets[i].name, name)) chosen = targets[i].run;
    }
    must(chosen != NULL, "FUZZ_TARGET names none of the targets of test/fuzz/fuzz.c");
    must(kernels_init("scalar") == 0, error_text);
    selftest_digests(numerics);
    opt.program.version = MORE_VERSION;
    opt.program.source = MORE_SOURCE;
    opt.program.numerics = numerics;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Input in = {.data = data, .size = size};
    chosen(&in);
    return 0;
}

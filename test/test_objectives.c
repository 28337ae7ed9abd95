/* test_objectives.c - the table of objectives and the options of all commands, and whole trainings
 * in one process.  The program is included as it is; only its main has another name.  */
int more_main(int argc, char **argv);
#define main more_main
#include "../more.c"
#undef main
#include "test.h"
#include "losses.h"

// ------------------------------------------------------------------------------------ the table

static void test_every_objectives_loss_has_a_line_in_the_gradient_test(void) {
    for (int i = 0; i < NUM_OBJECTIVES; i++) {
        const Objective *o = &objectives[i];
        const struct LossRow *row = NULL;
        if (!o->loss) continue;
        for (int k = 0; k < NUM_LOSSES; k++) {
            if (losses[k].loss == o->loss) row = &losses[k];
        }
        if (!row) printf("    %s: test/losses.h has no line for its loss\n", o->name);
        CHECK(row != NULL);
        if (row) CHECK(row->pairs == (o->data == PAIRS));
    }
}

static void test_every_objective_says_what_it_is(void) {
    for (int i = 0; i < NUM_OBJECTIVES; i++) {
        const Objective *o = &objectives[i];
        const int is_policy = !o->reward && o->data != DOCUMENTS;
        CHECK(o->name && o->help && o->trainer);
        CHECK(objective_find(o->name) == o);                // no name stands twice
        CHECK(o->trainer->plan && o->trainer->step && o->trainer->evaluate);
        CHECK((o->loss != NULL) == is_policy);
        CHECK(!o->mismatched || o->reference);
        CHECK(!o->linear || !o->reference);
    }
    CHECK(objective_find("frobnicate") == NULL);
}

// ------------------------------------------------------------------------------------ the lists

// Command number i: the objectives, then the others; 0 when there is none.
static int command_at(Command *c, int i) {
    if (i >= NUM_OBJECTIVES + NUM_COMMANDS) return 0;
    *c = i < NUM_OBJECTIVES ? command_of_objective(&objectives[i]) : commands[i - NUM_OBJECTIVES];
    return 1;
}

static void test_lists_name_options_and_every_option_is_in_some_list(void) {
    Command c;
    for (int i = 0; command_at(&c, i); i++) {
        if (options_check_lists(&c) < 0) printf("    %s %s: %s\n", c.name, c.object, error_text);
        CHECK(options_check_lists(&c) == 0);
    }
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        int readers = 0;
        if (!o->name) continue;
        CHECK(option_find(o->name) == o);                   // no name stands twice
        CHECK(*o->help);
        for (int i = 0; command_at(&c, i); i++) readers += command_lists(&c, o, NULL);
        if (!readers) printf("    --%s: no command reads it\n", o->name);
        CHECK(readers > 0);
    }
    CHECK(options_check_lists(&(Command){.options = {"model frobnicate=3"}}) < 0);
}

// The defaults of `more train NAME`.
static void defaults_of(const char *name) {
    const Command c = command_of_objective(objective_find(name));
    options_defaults(&c);
}

static void test_no_default_leaks_into_a_command_that_does_not_list_it(void) {
    Command c;
    for (int i = 0; command_at(&c, i); i++) {
        options_defaults(&c);
        for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
            if (o->kind != REAL || !o->name || o->to == &opt.loss.beta) continue;
            const double value = *(const double *)o->to;
            CHECK(isnan(value) == !command_lists(&c, o, NULL));
        }
    }
    defaults_of("simpo");
    CHECK(opt.loss.beta == 2 && opt.logp == LOGP_MEAN && opt.learning_rate == 1e-5);
    defaults_of("dpo");
    CHECK(opt.loss.beta == 0.1 && opt.logp == LOGP_SUM && isnan(opt.loss.simpo_gamma));
    defaults_of("orpo");
    CHECK(opt.loss.beta == 0.1 && isnan(opt.loss.label_smoothing));   // its lambda
    defaults_of("sft");
    CHECK(isnan(opt.loss.beta) && opt.learning_rate == 1e-4 && opt.reduction == REDUCE_TOKENS);
    CHECK(opt.over_length == OVER_DROP);
    defaults_of("reward");
    CHECK(opt.over_length == OVER_TRUNCATE && isnan(opt.loss.beta));
}

static void test_what_is_given_stands_over_the_default_and_compat_over_neither(void) {
    const Command ulma = command_of_objective(objective_find("ulma"));
    char *own[] = {"--beta", "0.3", "--logp=mean"};
    char *compat[] = {"--compat", "ulma-release"};
    char *both[] = {"--compat", "ulma-release", "--logp", "sum"};
    CHECK(options_parse(&ulma, 3, own) == 0 && opt.loss.beta == 0.3 && opt.logp == LOGP_MEAN);
    CHECK(opt.reduction == REDUCE_JOINT);
    CHECK(options_parse(&ulma, 2, compat) == 0 && opt.logp == LOGP_MEAN);
    CHECK(opt.reduction == REDUCE_CLASS_MEANS);
    CHECK(options_parse(&ulma, 4, both) < 0 && error_code == EX_USAGE);
    CHECK(strstr(error_text, "leave out --logp sum"));
}

static void test_doctor_has_the_defaults_and_options_of_the_objective(void) {
    const Command doctor = {.name = "doctor", .options = {"objective sft_on logp max_length"}};
    const Command sft = command_of_objective(objective_find("sft"));
    const Command dpo = command_of_objective(objective_find("dpo"));
    char *given[] = {"--objective", "sft", "--sft_on", "both", "--max_length", "100"};
    CHECK(options_parse(&doctor, 6, given) == 0);
    CHECK(options_adopt(&sft, "objective") == 0);
    CHECK(opt.sft_on == SFT_ON_BOTH && opt.max_length == 100 && opt.over_length == OVER_DROP);
    CHECK(opt.reduction == REDUCE_TOKENS);
    CHECK(options_parse(&doctor, 6, given) == 0);
    CHECK(options_adopt(&dpo, "objective") < 0 && strstr(error_text, "--sft_on"));
}

// ------------------------------------------------------------------------------ whole trainings

static void write_file(const char *path, const char *text) {
    if (file_write(path, text, strlen(text)) < 0) exit(1);
}

// Trains with these words of a command line, in this process; sha256: of the weights.
static void train_here(char sha256[65], const char *objective, int argc, char **argv) {
    const Command c = command_of_objective(objective_find(objective));
    char path[PATH_SIZE];
    CHECK(options_parse(&c, argc, argv) == 0);
    if (command_train(c.objective) < 0) printf("    %s\n", error_text);
    CHECK(path_join(path, opt.out, "model.safetensors") == 0);
    CHECK(sha256_file(sha256, path) == 0);
}

static void test_trainings_follow_one_another_in_one_process_with_the_same_bits(void) {
    static const char text[] = "{\"text\":\"the sky is blue and the sea is deep\"}\n"
                               "{\"text\":\"a hat, a cat and a bat on a mat\"}\n";
    static const char pairs[] =
        "{\"prompt\":\"the sky\",\"chosen\":\" is blue\",\"rejected\":\" is a cat\"}\n"
        "{\"prompt\":\"a hat\",\"chosen\":\" on a mat\",\"rejected\":\" is deep\"}\n"
        "{\"prompt\":\"a cat\",\"chosen\":\" and a bat\",\"rejected\":\" the sea is\"}\n";
    static const char *const names[] = {"reward", "more", "sft", "dpo", "ulma", "kto"};
    char first[65], again[65], between[65];
    char *lm[] = {"--train", "test/bin/two.text.jsonl", "--out", "test/bin/two.lm", "--vocab_size",
                  "280", "--hidden_size", "16", "--num_layers", "1", "--num_heads", "2",
                  "--max_length", "32", "--per_step_tokens", "20", "--quiet", "--resume=no"};
    char *rest[] = {"--model", "test/bin/two.lm", "--train", "test/bin/two.pairs.jsonl", "--out",
                    "test/bin/two.out", "--max_length", "32", "--max_prompt_length", "16",
                    "--learning_rate", "1e-2", "--quiet", "--per_step_rows=1",
                    "--resume=no"};
    write_file("test/bin/two.text.jsonl", text);
    write_file("test/bin/two.pairs.jsonl", pairs);

    train_here(first, "lm", 18, lm);
    train_here(again, "lm", 18, lm);
    CHECK(!strcmp(first, again));
    for (int i = 0; i < 6; i++) {
        rest[13] = objective_find(names[i])->reward ? "--per_step_pairs=1" : "--per_step_rows=1";
        train_here(first, names[i], 15, rest);
        rest[13] = "--per_step_rows=1";
        train_here(between, "unlikelihood", 15, rest);
        CHECK(strcmp(first, between));
        rest[13] = objective_find(names[i])->reward ? "--per_step_pairs=1" : "--per_step_rows=1";
        train_here(again, names[i], 15, rest);
        CHECK(!strcmp(first, again));
    }
}

int main(int argc, char **argv) {
    test_choose(argc, argv);
    if (kernels_init(NULL) < 0) return 1;
    RUN(test_every_objectives_loss_has_a_line_in_the_gradient_test);
    RUN(test_every_objective_says_what_it_is);
    RUN(test_lists_name_options_and_every_option_is_in_some_list);
    RUN(test_no_default_leaks_into_a_command_that_does_not_list_it);
    RUN(test_what_is_given_stands_over_the_default_and_compat_over_neither);
    RUN(test_doctor_has_the_defaults_and_options_of_the_objective);
    RUN(test_trainings_follow_one_another_in_one_process_with_the_same_bits);
    return test_summary();
}

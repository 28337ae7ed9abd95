/* help.c - what the tables of commands and options say to a reader: --help, the manual page, and
 * completion for shells.
 *
 * No text here is wrapped by hand.  Words go to a Sheet, which begins a new line where the next one
 * would not fit:
 *
 *     --over_length          what to do with longer answers (of a cut one the
 *                            end is not scored): drop | truncate | raise
 *     ^column 4              ^indent                                         width^              */
#ifndef HELP_C
#define HELP_C
#include "options.c"
#include "../text_features.c"
#include <sys/ioctl.h>

void help_command(const Command *c);                       // more COMMAND --help
void help_least(const Command *c);                         // on standard error: an example
void help_commands(const Command *list, int n);            // more --help: those of a list
void help_text(const char *text);                          // a paragraph
void help_features(void);                                  // the text features of more judge
void help_manual(const Command *list, int n);              // roff, of man(7)
void help_completion(const Command *list, int n);          // for the shell of --shell
const char *help_near(const Command *list, int n, const char *name);   // the nearest, or NULL

// ------------------------------------------------------------------------------------- the words

typedef struct {
    FILE *file;
    int width;                              // columns; words alone may be longer
    int indent;                             // where a new line begins
    int column;                             // where the line is now; 0: nothing is on it
    int after_word;                         // yes: a space goes before the next word
    const char *end;                        // what ends a line that goes on, as " \\"; or ""
    int is_roff;                            // yes: characters that mean something there are escaped
} Sheet;

enum { SHEET_WIDTH = 80, LEAST_WIDTH = 20, NARROW = 60 };

// The columns of standard output: as COLUMNS says, or the terminal, or 80.
static int sheet_width(void) {
    const char *said = getenv("COLUMNS");
    long columns = said ? strtol(said, NULL, 10) : 0;
#ifdef TIOCGWINSZ
    struct winsize size;
    if (columns <= 0 && isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        columns = size.ws_col;
    }
#endif
    if (columns <= 0 || columns > INT_MAX) return SHEET_WIDTH;
    return columns < LEAST_WIDTH ? LEAST_WIDTH : (int)columns;
}

static Sheet sheet_of(FILE *file, int indent) {
    return (Sheet){.file = file, .width = sheet_width(), .indent = indent, .end = ""};
}

// How a sheet writes a character, of which roff gives some a meaning.
static const char *sheet_character(const Sheet *s, char c, char text[2]) {
    if (s->is_roff && c == '\\') return "\\e";
    if (s->is_roff && c == '-') return "\\-";
    text[0] = c;
    text[1] = 0;
    return text;
}

// A word, or a few that stay together, behind a space or on a new line.
static void sheet_word(Sheet *s, const char *word, int length) {
    char text[2];
    int columns = 0;
    for (int i = 0; i < length; i++) columns += (int)strlen(sheet_character(s, word[i], text));
    const int taken = s->column + s->after_word + columns + (int)strlen(s->end);
    if (s->after_word && taken > s->width) {
        fprintf(s->file, "%s\n", s->end);
        s->column = s->after_word = 0;
    }
    if (s->after_word) putc(' ', s->file);
    else fprintf(s->file, "%*s", s->indent > s->column ? s->indent - s->column : 0, "");
    if (s->column < s->indent) s->column = s->indent;
    // a line of roff that begins so is a request
    if (s->is_roff && !s->after_word && (*word == '.' || *word == '\'')) fprintf(s->file, "\\&");
    for (int i = 0; i < length; i++) fputs(sheet_character(s, word[i], text), s->file);
    s->column += s->after_word + columns;
    s->after_word = 1;
}

static void sheet_words(Sheet *s, const char *text) {
    while (*(text += strspn(text, " "))) {
        const int length = (int)strcspn(text, " ");
        sheet_word(s, text, length);
        text += length;
    }
}

static void sheet_line(Sheet *s) {
    fprintf(s->file, "\n");
    s->column = s->after_word = 0;
}

// A name, and from `indent` on, or where that would be narrow on the next line, what it is.
static void print_entry(const char *name, int indent, const char *text, const char *rest) {
    Sheet s = sheet_of(stdout, indent);
    s.column = printf("    %s", name);
    if (s.width < NARROW) {
        sheet_line(&s);
        s.indent = 8;
    } else if (s.column >= indent) {
        s.after_word = 1;
    }
    sheet_words(&s, text);
    sheet_words(&s, rest);
    sheet_line(&s);
}

// Bold on a terminal that shows it, if its user has not asked for none (no-color.org).
static void print_heading(const char *text) {
    const char *no_color = getenv("NO_COLOR");
    const int bold = is_screen(STDOUT_FILENO) && !(no_color && *no_color);
    printf("  %s%s%s\n", bold ? "\033[1m" : "", text, bold ? "\033[0m" : "");
}

// ------------------------------------------------------------------------------------- a command

enum { TEXT_SIZE = 512 };

// The name that the program is called by: it may be installed by another than more.
static const char *program_name(void) {
    const char *called = opt.arguments && opt.arguments[0] ? opt.arguments[0] : "more";
    const char *slash = strrchr(called, '/'), *name = slash ? slash + 1 : called;
    return strlen(name) < NAME_SIZE ? name : "more";
}

// The words that call a command, as "train dpo".
static void command_words(const Command *c, char text[TEXT_SIZE]) {
    snprintf(text, TEXT_SIZE, "%s%s%s", c->name, c->object ? " " : "", c->object ? c->object : "");
}

// What is trained on in the examples of what can be trained: shipped files, in the repository, and
// what other examples have written.
static const char *const example_data[] = {
    [DOCUMENTS] = "--train NUMERICS.md --vocab_size 300",
    [PAIRS] = "--model data/base --train data/oasst1_en.train.jsonl",
    [POINTS] = "--model data/base --train data/opinpref_score.train.jsonl",
    [DEMONSTRATIONS] = "--model data/base --train data/oasst1_en.train.jsonl",
    [PROMPTS] = "--model sft --reward reward --prompts data/vicuna80_rank.train.jsonl",
};
_Static_assert(sizeof example_data / sizeof *example_data == NUM_NEEDS, "example_data");

// An example of the command's words and options; it runs in the repository, behind those before it
// in `more --help`.
static void command_example(const Command *c, char text[TEXT_SIZE]) {
    const Objective *o = c->objective;
    if (!o) {
        snprintf(text, TEXT_SIZE, "%s", c->example);
        return;
    }
    // labels are needed where scores are not taken: of pairs the chosen answer is the true one
    const char *data = example_data[o->data == POINTS && !o->takes_scores ? PAIRS : o->data];
    const char *rest = "", *out = o->name;
    if (o->data == PROMPTS) rest = " --max_new_tokens 8";
    if (o->bundles) {
        rest = " data/pandalm.train.jsonl";
        out = "mixed";                      // more is the program
    }
    snprintf(text, TEXT_SIZE, "train %s %s%s --max_steps 4 --out %s", o->name, data, rest, out);
}

// The example as it is called here, its lines joined by backslashes, an option beside its values.
static void print_example(FILE *file, const Command *c) {
    char text[TEXT_SIZE];
    Sheet s = sheet_of(file, 4);
    s.end = " \\";
    command_example(c, text);
    sheet_words(&s, opt.arguments && opt.arguments[0] ? opt.arguments[0] : "more");
    s.indent = 8;
    for (const char *at = text, *next; *at; at = next) {
        const char *option = strstr(at, " --");
        const int length = option ? (int)(option - at) : (int)strlen(at);
        sheet_word(&s, at, length);
        next = option ? option + 1 : at + length;
    }
    sheet_line(&s);
}

// The choices of an option and what it is set to, as " drop | raise  [raise]".
static void option_values(const Option *o, char text[TEXT_SIZE]) {
    size_t n = 0;
    text[0] = 0;
    for (int k = 0; o->kind == CHOICE && o->choices[k]; k++) {
        n += (size_t)snprintf(text + n, TEXT_SIZE - n, "%s%s", k ? " | " : "", o->choices[k]);
        assert(n < TEXT_SIZE);
    }
    const int number = o->kind == INT || o->kind == REAL || o->kind == CHOICE;
    if (!number && !(o->kind == WORDS && o->preset)) return;
    FILE *f = fmemopen(text + n, TEXT_SIZE - n, "w");
    if (!f) return;
    fprintf(f, " [");
    option_print_value(f, o);
    fprintf(f, "]");
    fclose(f);
}

// The command's options under their headings, with its defaults, which are set.
static void print_options(const Command *c) {
    const char *heading = NULL;
    options_defaults(c);
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        char name[NAME_SIZE + 2], values[TEXT_SIZE], text[TEXT_SIZE];
        if (o->heading) heading = o->heading;
        if (!command_lists(c, o, NULL)) continue;
        if (heading) print_heading(heading);
        heading = NULL;
        snprintf(name, sizeof name, "--%s", o->name);
        snprintf(text, sizeof text, "%s%s", o->help, o->kind == CHOICE ? ":" : "");
        option_values(o, values);
        print_entry(name, 27, text, values);
    }
}

void help_command(const Command *c) {
    char words[TEXT_SIZE], line[2 * TEXT_SIZE];
    command_words(c, words);
    snprintf(line, sizeof line, "more %s - %s", words, c->help);
    help_text(line);
    printf("\n");

    if (c->needs) {
        Sheet s = sheet_of(stdout, 4);
        snprintf(line, sizeof line, "%s %s", words, c->needs);
        sheet_words(&s, "more");
        s.indent = 8;
        sheet_words(&s, line);
        sheet_line(&s);
        printf("\n");
    }
    print_heading("example");
    print_example(stdout, c);
    print_options(c);
    if (!c->more_help) return;
    printf("\n");
    help_text(c->more_help);
}

void help_least(const Command *c) {
    char words[TEXT_SIZE];
    command_words(c, words);
    fprintf(stderr, "more %s - %s; for example\n", words, c->help);
    print_example(stderr, c);
}

void help_text(const char *text) {
    Sheet s = sheet_of(stdout, 0);
    sheet_words(&s, text);
    sheet_line(&s);
}

void help_features(void) {
    printf("\nFeatures of --features:\n");
    for (int i = 0; i < NUM_TEXT_FEATURES; i++) {
        const TextFeature *f = &text_feature_table[i];
        char range[64];
        snprintf(range, sizeof range, "[%g to %g]", f->low, f->high);
        print_entry(f->name, 27, f->help, range);
    }
}

// -------------------------------------------------------------------------------- all commands

void help_commands(const Command *list, int n) {
    for (const Command *c = list; c < list + n; c++) {
        char words[TEXT_SIZE], name[TEXT_SIZE + 8];
        if (c->heading) print_heading(c->heading);
        command_words(c, words);
        snprintf(name, sizeof name, "more %s", words);
        print_entry(name, 30, c->help, "");
    }
}

// NULL where none is near.
const char *help_near(const Command *list, int n, const char *name) {
    const char *nearest = NULL;
    int least = strlen(name) < 6 ? 2 : 4;               // that many letters are another word
    if (strlen(name) >= NAME_SIZE) return NULL;
    for (const Command *c = list; c < list + n; c++) {
        const char *known = c->object ? c->object : c->name;
        const int distance = edit_distance(name, known);
        if (distance >= least) continue;
        least = distance;
        nearest = known;
    }
    return nearest;
}

// ------------------------------------------------------------------------------- the manual page

static void roff_words(const char *text) {
    Sheet s = {.file = stdout, .width = 78, .end = "", .is_roff = 1};
    sheet_words(&s, text);
    sheet_line(&s);
}

// The names of a command's options, with defaults that are not those of the table.
static void roff_options_of(const Command *c) {
    Sheet s = {.file = stdout, .width = 78, .end = "", .is_roff = 1};
    printf(".PP\n");
    sheet_words(&s, "Options:");
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        char preset[64] = "", word[160];
        if (!command_lists(c, o, preset)) continue;
        const int same = !*preset || (o->preset && !strcmp(preset, o->preset));
        snprintf(word, sizeof word, "--%s%s%s", o->name, same ? "" : "=", same ? "" : preset);
        sheet_words(&s, word);
    }
    sheet_line(&s);
}

static void roff_command(const Command *c) {
    char words[TEXT_SIZE], text[2 * TEXT_SIZE], example[TEXT_SIZE];
    command_words(c, words);
    snprintf(text, sizeof text, "%s %s", program_name(), words);
    printf(".SS ");
    roff_words(text);
    roff_words(c->help);
    printf(".PP\n");
    snprintf(text, sizeof text, "%s %s %s", program_name(), words, c->needs ? c->needs : "");
    roff_words(text);
    if (c->more_help) printf(".PP\n");
    if (c->more_help) roff_words(c->more_help);
    roff_options_of(c);
    printf(".PP\nExample:\n.PP\n.RS 4\n");
    command_example(c, example);
    snprintf(text, sizeof text, "%s %s", program_name(), example);
    roff_words(text);
    printf(".RE\n");
}

static void roff_option(const Option *o) {
    char values[TEXT_SIZE] = "", name[NAME_SIZE + 2], text[2 * TEXT_SIZE];
    option_values(o, values);
    snprintf(name, sizeof name, "--%s", o->name);
    snprintf(text, sizeof text, "%s%s %s", o->help, o->kind == CHOICE ? ":" : "", values);
    printf(".TP\n.B ");
    roff_words(name);
    roff_words(text);
}

// What is no command and no option.
static const struct { const char *name, *text; } surroundings[] = {
    {"MORE_ISA", "scalar, neon, avx2, avx512, avx512_bf16 or amx: which instructions to compute "
                 "with. Results do not depend on it."},
    {"OMP_NUM_THREADS", "how many threads, where --threads is not given. Results do not depend on "
                        "it."},
    {"COLUMNS", "the width of --help, if not the terminal's, or 80."},
    {"NO_COLOR", "if it is set, nothing is bold. TERM=dumb: nor does a line overwrite another."},
    {"TMPDIR", "where verify trains."},
};
static const struct { const char *name, *text; } exit_codes[] = {
    {"0", "all went well"},
    {"1", "what verify or diff compared differs, or doctor found a trap"},
    {"64", "the command line is not understood"},
    {"65", "data is not what it should be, or a gradient of gradcheck"},
    {"66", "a file is not there or cannot be read"},
    {"71", "the system has no more memory or other means, or computes other numbers (selftest)"},
    {"73", "a file or folder cannot be made"},
    {"74", "reading or writing failed"},
    {"75", "a training was asked to stop, and has saved what it takes to go on, if it had begun; or "
           "its folder is in use"},
};

static void roff_entry(const char *name, const char *text) {
    printf(".TP\n.B ");
    roff_words(name);
    roff_words(text);
}

void help_manual(const Command *list, int n) {
    const Command none = {.options = {NULL}};
    const char *name = program_name();
    char text[TEXT_SIZE];
    printf(".TH ");
    for (const char *c = name; *c; c++) putchar(toupper((unsigned char)*c));
    printf(" 1 \"\" \"more %s\" \"User commands\"\n.SH NAME\n", opt.program.version);
    snprintf(text, sizeof text, "%s - reward models and policies from preferences", name);
    roff_words(text);
    printf(".SH SYNOPSIS\n");
    snprintf(text, sizeof text, "%s COMMAND [--OPTION VALUE ...]", name);
    roff_words(text);
    printf(".SH DESCRIPTION\n");
    roff_words("Trains language models, reward models and policies, and measures them. Data are "
               "rows of JSON, models are Hugging Face folders or GGUF files. The same data, "
               "options and seed give the same bits on any machine. Of names of options - and _ "
               "are the same, and --NAME=VALUE is --NAME VALUE. Examples run in the repository, "
               "where it is ./more, each behind those before it.");
    printf(".SH COMMANDS\n");
    for (const Command *c = list; c < list + n; c++) roff_command(c);
    printf(".SH OPTIONS\n");
    roff_words("In brackets: the value when none is given.");
    options_defaults(&none);
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (o->heading) printf(".SS ");
        if (o->heading) roff_words(o->heading);
        if (!o->name) continue;
        set_preset(o, o->preset);               // reals, which no command lists here, are NaN
        roff_option(o);
    }
    printf(".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof surroundings / sizeof *surroundings; i++) {
        roff_entry(surroundings[i].name, surroundings[i].text);
    }
    printf(".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++) {
        roff_entry(exit_codes[i].name, exit_codes[i].text);
    }
}

// --------------------------------------------------------------------------------- completion

// A word in single quotes.
static void put_quoted(const char *text) {
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'') printf("'\\''");
        else putchar(*text);
    }
    putchar('\'');
}

// The words that may follow: of "" the commands, of "train" what can be trained.
static void put_next_words(const Command *list, int n, const char *before) {
    const char *last = "";
    for (const Command *c = list; c < list + n; c++) {
        const char *word = *before ? c->object : c->name;
        if (!word || !strcmp(word, last)) continue;             // once: train
        printf(" %s", word);
        last = word;
    }
}

/* What follows the words so far, into `list`, as bash and zsh both take it.  They have set
 * `command`, its words, `before`, the word before this one, `word`, this one, and `at`: which word
 * this one is, 1 for the command's name.                                                         */
static void put_cases(const Command *list, int n) {
    printf("    case $at:$command in\n    1:*) list='");
    put_next_words(list, n, "");
    printf("' ;;\n    '2:train '*) list='");
    put_next_words(list, n, "train");
    printf("' ;;\n    '2:completion') [[ $word == -* ]] || list='bash zsh' ;;\n    esac\n");

    // the choices of an option
    printf("    [[ -n $list ]] || case $before in\n");
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (!o->name || o->kind != CHOICE) continue;
        printf("    --%s) list='", o->name);
        for (int k = 0; o->choices[k]; k++) printf(" %s", o->choices[k]);
        printf("' ;;\n");
    }

    // the options of a command
    printf("    esac\n    [[ -n $list || $word != -* ]] || case $command in\n");
    for (const Command *c = list; c < list + n; c++) {
        char words[TEXT_SIZE];
        command_words(c, words);
        printf("    '%s') list='", words);
        for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
            if (command_lists(c, o, NULL)) printf(" --%s", o->name);
        }
        printf("' ;;\n");
    }
    printf("    esac\n");
}

// bash: COMP_WORDS are the words so far, COMP_CWORD is the one that is written; "=" is a word of
// its own.  What is no command, option or choice is a file: -o default.
static void complete_bash(const Command *list, int n) {
    const char *name = program_name();
    printf("# completion of %s in bash, written by %s completion bash\n_%s() {\n", name, name,
           name);
    printf("    local at=$COMP_CWORD word=${COMP_WORDS[COMP_CWORD]} list=\n"
           "    local before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
           "    if [[ $before == '=' ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
           "    if [[ $word == '=' ]]; then word=; fi\n"
           "    if [[ $command == train ]]; then command=\"train ${COMP_WORDS[2]}\"; fi\n");
    put_cases(list, n);
    printf("    COMPREPLY=($(compgen -W \"$list\" -- \"$word\"))\n}\n"
           "complete -o default -F _%s %s\n", name, name);
}

// zsh: $words are the words so far, CURRENT is the one that is written; each choice is shown with
// its help.
static void complete_zsh(const Command *list, int n) {
    const char *name = program_name();
    printf("#compdef %s\n# completion of %s in zsh, written by %s completion zsh\n_%s() {\n", name,
           name, name, name);
    printf("    local at=$((CURRENT - 1)) word=$words[CURRENT] list= shown\n"
           "    local before=$words[CURRENT-1] command=$words[2]\n"
           "    local -a found\n"
           "    local -A help\n"
           "    if [[ $word == --*=* ]]; then\n"
           "        before=${word%%%%=*} word=${word#*=}\n"
           "        compset -P '*='\n"
           "    fi\n"
           "    if [[ $command == train ]]; then command=\"train $words[3]\"; fi\n");
    put_cases(list, n);
    printf("    if [[ -z $list ]]; then _files; return; fi\n"
           "    help=(\n    train 'train a model'\n");
    for (const Command *c = list; c < list + n; c++) {
        printf("    %s ", c->object ? c->object : c->name);
        put_quoted(c->help);
        printf("\n");
    }
    for (const Option *o = option_table; o < option_table + NUM_OPTIONS; o++) {
        if (!o->name) continue;
        printf("    --%s ", o->name);
        put_quoted(o->help);
        printf("\n");
    }
    printf("    )\n    for shown in ${=list}; do found+=(\"$shown:${help[$shown]}\"); done\n"
           "    _describe -o %s found\n}\n_%s \"$@\"\n", name, name);
}

void help_completion(const Command *list, int n) {
    if (opt.shell == SHELL_BASH) complete_bash(list, n);
    else complete_zsh(list, n);
}
#endif

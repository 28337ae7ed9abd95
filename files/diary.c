/* diary.c - diary.jsonl, what each step of a training came to:
 *
 *     {"step":12,"loss":"3fe62e42fefa39ef","weights":"0123456789abcdef","hash":"5e8f.."}
 *
 *     loss      the bits of the step's loss, a double
 *     weights   the checksum (checksum.c) of the weights that are trained, after the step
 *     hash      the SHA-256 of the hash of the line before and of what stands before this one; of
 *               the first line, of the recipe's (resume.c) and that
 *
 * So the last hash says all lines and what they are of, and two trainings with the same one went
 * the same way.  Of two that did not, the first line that differs names the step.  Nothing in a
 * line depends on the clock or the machine.                                                      */
#ifndef DIARY_C
#define DIARY_C

#include "checksum.c"
#include "file.c"

#define DIARY_NAME "diary.jsonl"
enum { HASH_TEXT = 65, DIARY_LINE = 192 };     // bytes of a hash's text; more than a line has

typedef struct {
    int step;
    char loss[CHECKSUM_TEXT], weights[CHECKSUM_TEXT], hash[HASH_TEXT];
} DiaryLine;

void diary_begin(char hash[HASH_TEXT], const char *recipe);
void diary_hash(DiaryLine *line, const char *before);
int  diary_print(char text[DIARY_LINE], const DiaryLine *line);
int  diary_next(const char **at, DiaryLine *line);
int  diary_read(Buffer *text, size_t *kept, char hash[HASH_TEXT], const char *path, int last);
int  diary_difference(const char *a, const char *b, DiaryLine *x, DiaryLine *y);

// The hash before the first line.
void diary_begin(char hash[HASH_TEXT], const char *recipe) {
    sha256_hex(hash, recipe, strlen(recipe));
}

// The line as far as its hash is of it; returns the number of characters.
static int line_begin(char text[DIARY_LINE], const DiaryLine *line) {
    return snprintf(text, DIARY_LINE, "{\"step\":%d,\"loss\":\"%s\",\"weights\":\"%s\"", line->step,
                    line->loss, line->weights);
}

// Sets the hash of a line that follows one with the hash `before`.
void diary_hash(DiaryLine *line, const char *before) {
    char text[DIARY_LINE];
    Sha256 s;
    const int n = line_begin(text, line);
    sha256_start(&s);
    sha256_add(&s, before, HASH_TEXT - 1);
    sha256_add(&s, text, (size_t)n);
    sha256_finish(&s, line->hash);
}

// The line with its end; returns the number of characters.
int diary_print(char text[DIARY_LINE], const DiaryLine *line) {
    const int n = line_begin(text, line);
    return n + snprintf(text + n, (size_t)(DIARY_LINE - n), ",\"hash\":\"%s\"}\n", line->hash);
}

// The line at *at, which goes on behind it: 1; 0: there is none, or it is not as diary_print has
// it.
int diary_next(const char **at, DiaryLine *line) {
    static const char form[] = "{\"step\":%9d,\"loss\":\"%16[0-9a-f]\",\"weights\":\"%16[0-9a-f]\","
                               "\"hash\":\"%64[0-9a-f]\"}";
    char text[DIARY_LINE];
    const size_t length = strcspn(*at, "\n") + 1;
    if (length >= DIARY_LINE || sscanf(*at, form, &line->step, line->loss, line->weights,
                                       line->hash) != 4) return 0;
    const int n = diary_print(text, line);
    if ((size_t)n != length || strncmp(text, *at, length)) return 0;
    *at += n;
    return 1;
}

/* Reads the diary at path, of the recipe that `hash` begins with (diary_begin), as far as the step
 * `last`; hash becomes that of the last line, *kept how many bytes these are.  0, or -1 after
 * fail(): a line is not one, or does not follow from those before it.                            */
int diary_read(Buffer *text, size_t *kept, char hash[HASH_TEXT], const char *path, int last) {
    DiaryLine line;
    int number = 1, before = 0;
    if (file_read(text, path) < 0) return -1;
    const char *at = text->data;
    *kept = 0;
    while (*at) {
        char said[HASH_TEXT];
        if (!strchr(at, '\n')) return 0;            // cut where the process was killed
        if (!diary_next(&at, &line)) {
            return fail(EX_DATAERR, "%s:%d: damaged: not a line of a diary", path, number);
        }
        if (line.step > last) return 0;
        strcpy(said, line.hash);
        diary_hash(&line, hash);
        if (strcmp(said, line.hash) || line.step <= before) {
            return fail(EX_DATAERR, "%s:%d: step %d does not follow from the recipe and the steps "
                        "before it: the diary is of another training, or damaged", path, number,
                        line.step);
        }
        strcpy(hash, line.hash);
        before = line.step;
        number++;
        *kept = (size_t)(at - text->data);
    }
    return 0;
}

/* The first step that both diaries have and say otherwise, to *x and *y: 1; 0: there is none.  What
 * is no line ends a diary here.                                                                  */
int diary_difference(const char *a, const char *b, DiaryLine *x, DiaryLine *y) {
    int is_line = diary_next(&a, x) && diary_next(&b, y);
    while (is_line) {
        if (x->step < y->step) {
            is_line = diary_next(&a, x);
        } else if (x->step > y->step) {
            is_line = diary_next(&b, y);
        } else {
            if (strcmp(x->loss, y->loss) || strcmp(x->weights, y->weights)) return 1;
            is_line = diary_next(&a, x) && diary_next(&b, y);
        }
    }
    return 0;
}

#endif

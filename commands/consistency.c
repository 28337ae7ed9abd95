/* consistency.c - more consistency: how sure is a model of its answer?  As sure as it gives the
 * same answer again (sample consistency, Lyu et al., arXiv 2402.13904).
 *
 *     more sample --model sft --prompts questions.jsonl --n 10 | more consistency --answer word
 *
 * A prompt's completions are read as answers; the most frequent is the model's, and how often each
 * was given says how sure it is, in three ways (consistency in metrics.c).  Where rows know the
 * right answer: how far the three are from how often it is right.                                */
#ifndef CONSISTENCY_C
#define CONSISTENCY_C
#include "setup.c"
#include "../metrics.c"
#include <unistd.h>

int command_consistency(void);

// ------------------------------------------------------------------------------------- the answers

// A completion, or the right answer: where its text stands in Drawn.text, and what it is hashed to.
typedef struct {
    size_t start, len;
    uint64_t hash;
} Reply;

typedef struct {
    Reply prompt, reply, gold;
    int has_gold;
    size_t line;
} DrawnRow;

typedef struct {
    Buffer text;
    DrawnRow *row;
    size_t n, capacity;
} Drawn;

static void drawn_free(Drawn *d) {
    buffer_free(&d->text);
    free(d->row);
}

// Keeps a text.
static int drawn_keep(Drawn *d, Reply *r, const char *text, size_t len) {
    *r = (Reply){d->text.len, len, text_hash(text, len)};
    return buffer_append(&d->text, text, len);
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_letter(char c) {
    const unsigned char u = (unsigned char)c;
    return (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u >= 0x80;
}

// The text without white space at its ends.
static int keep_whole(Drawn *d, Reply *r, const char *s, size_t n) {
    while (n > 0 && is_space(s[n-1])) n--;
    for (; n > 0 && is_space(*s); s++) n--;
    return drawn_keep(d, r, s, n);
}

// The first run of letters and digits, ASCII letters made small; none: "".
static int keep_word(Drawn *d, Reply *r, const char *s, size_t n) {
    char word[64];
    size_t len = 0, i = 0;
    while (i < n && !is_letter(s[i]) && !is_digit(s[i])) i++;
    for (; i < n && len < sizeof word && (is_letter(s[i]) || is_digit(s[i])); i++) {
        const int is_large = s[i] >= 'A' && s[i] <= 'Z';
        word[len++] = is_large ? (char)(s[i] - 'A' + 'a') : s[i];
    }
    return drawn_keep(d, r, word, len);
}

// The last number: digits, commas between them left out, with a fraction and a minus; none: "".
static int keep_number(Drawn *d, Reply *r, const char *s, size_t n) {
    char digits[64], number[64];
    size_t len = 0;
    while (n > 0 && !is_digit(s[n-1])) n--;
    size_t first = n;
    while (first > 0) {
        const char c = s[first-1];
        const int between = (c == '.' || c == ',') && first > 1 && is_digit(s[first-2]);
        if (!is_digit(c) && !between) break;
        first--;
    }
    const int after_word = first > 1 && (is_letter(s[first-2]) || is_digit(s[first-2]));
    if (first > 0 && s[first-1] == '-' && !after_word) digits[len++] = '-';
    for (size_t i = first; i < n && len + 1 < sizeof digits; i++) {
        if (s[i] != ',') digits[len++] = s[i];
    }
    digits[len] = 0;
    if (first == n) return drawn_keep(d, r, "", 0);
    const int written = snprintf(number, sizeof number, "%.15g", strtod(digits, NULL));
    return drawn_keep(d, r, number, (size_t)written);
}

static int keep_reply(Drawn *d, Reply *r, const char *s, size_t n) {
    if (opt.answer == ANSWER_WORD) return keep_word(d, r, s, n);
    if (opt.answer == ANSWER_NUMBER) return keep_number(d, r, s, n);
    return keep_whole(d, r, s, n);
}

// The right answer, a string or a number, read as completions are.
static int keep_gold(Drawn *d, DrawnRow *row, const Json *j, int v) {
    char number[64];
    if (json_type(j, v) == JSON_NUMBER) {
        const int n = snprintf(number, sizeof number, "%.15g", json_number(j, v));
        row->has_gold = 1;
        return keep_reply(d, &row->gold, number, (size_t)n);
    }
    if (json_type(j, v) != JSON_STRING) return 0;
    row->has_gold = 1;
    return keep_reply(d, &row->gold, json_string(j, v), json_length(j, v));
}

// The row that j is.
static int drawn_add(Drawn *d, const Json *j, size_t line) {
    const int prompt = json_get(j, 0, "prompt"), completion = json_get(j, 0, "completion");
    if (json_type(j, prompt) != JSON_STRING || json_type(j, completion) != JSON_STRING) {
        return fail(EX_DATAERR, "standard input:%zu: a row of more sample is needed, with the "
                    "strings prompt and completion", line);
    }
    if (reserve(&d->row, &d->capacity, d->n + 1, sizeof *d->row) < 0) return -1;
    DrawnRow *row = &d->row[d->n++];
    *row = (DrawnRow){.line = line};
    if (drawn_keep(d, &row->prompt, json_string(j, prompt), json_length(j, prompt)) < 0) return -1;
    const char *text = json_string(j, completion);
    if (keep_reply(d, &row->reply, text, json_length(j, completion)) < 0) return -1;
    return keep_gold(d, row, j, json_get(j, 0, opt.gold));
}

static int drawn_read(Drawn *d) {
    Buffer text = {0};
    Json json = {0};
    size_t at = 0;
    int result = -1;
    if (fd_read(&text, STDIN_FILENO, "standard input") < 0) goto done;
    for (size_t line = 1; at < text.len; line++) {
        const char *end = memchr(text.data + at, '\n', text.len - at);
        const size_t len = end ? (size_t)(end - text.data) - at : text.len - at;
        json.first_line = line;
        if (len > 0) {
            if (json_parse(&json, text.data + at, len, "standard input") < 0) goto done;
            if (drawn_add(d, &json, line) < 0) goto done;
        }
        at += len + (end != NULL);
    }
    result = 0;
done:
    json_free(&json);
    buffer_free(&text);
    return result;
}

// ------------------------------------------------------------------------------------- the prompts

// What is found of a prompt.
typedef struct {
    const DrawnRow *first;        // its first row,
    const DrawnRow *answer;       // the first row with the most frequent answer
    int n, distinct;              // completions; different answers
    int right;                    // is that answer right?  -1: it is not known
    Consistency sure;
} Judged;

static int compare_drawn_rows(const void *a, const void *b) {
    const DrawnRow *x = a, *y = b;
    if (x->prompt.hash != y->prompt.hash) return x->prompt.hash < y->prompt.hash ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static int compare_judged(const void *a, const void *b) {
    const size_t x = ((const Judged *)a)->first->line, y = ((const Judged *)b)->first->line;
    return (x > y) - (x < y);
}

// Counts the n rows of one prompt by answer, in the order in which answers first came.  count (n)
// is scratch.
static void judge_prompt(Judged *p, const DrawnRow *row, int n, int *count) {
    int most = 0;
    *p = (Judged){.first = row, .n = n, .right = -1};
    for (int i = 0; i < n; i++) {
        int same = 0, is_first = 1;
        for (int k = 0; k < n; k++) {
            if (row[k].reply.hash != row[i].reply.hash) continue;
            same++;
            if (k < i) is_first = 0;
        }
        if (is_first) count[p->distinct++] = same;
        if (same > most) {
            most = same;
            p->answer = &row[i];
        }
    }
    p->sure = consistency(count, p->distinct);
    if (row->has_gold) {
        p->right = p->answer->reply.len > 0 && p->answer->reply.hash == row->gold.hash;
    }
}

// All prompts (at most d->n), in the order of their first rows; returns how many, or -1.
static int judge_all(Judged *prompt, Drawn *d) {
    int n = 0, *count = allocate(d->n, sizeof *count);
    if (!count) return -1;
    qsort(d->row, d->n, sizeof *d->row, compare_drawn_rows);
    for (size_t first = 0, end; first < d->n; first = end) {
        end = first;
        while (end < d->n && d->row[end].prompt.hash == d->row[first].prompt.hash) end++;
        judge_prompt(&prompt[n], &d->row[first], (int)(end - first), count);
        if (prompt[n].n < 2) {
            fail(EX_DATAERR, "standard input:%zu: a prompt with one completion says nothing of how "
                 "often its answer comes again; sample --n 10 draws ten", d->row[first].line);
            n = -1;
            break;
        }
        n++;
    }
    free(count);
    if (n > 0) qsort(prompt, (size_t)n, sizeof *prompt, compare_judged);
    return n;
}

// --------------------------------------------------------------------------------------- the table

enum { AGREEMENT, ENTROPY, FIRST_SECOND, NUM_MEASURES };
static const char *const measure_names[] = {
    [AGREEMENT] = "agreement", [ENTROPY] = "entropy", [FIRST_SECOND] = "first-second distance",
    [NUM_MEASURES] = NULL};
_Static_assert(sizeof measure_names / sizeof *measure_names == NUM_MEASURES + 1,
               "every measure has a name");

static double measure_of(const Consistency *c, int measure) {
    if (measure == AGREEMENT) return c->agreement;
    return measure == ENTROPY ? c->entropy : c->distance;
}

// confidence and right are scratch (n).
static void print_measures(const Judged *prompt, int n, double *confidence, unsigned char *right) {
    int known = 0, hits = 0, least = INT_MAX, most = 0;
    for (int i = 0; i < n; i++) {
        known += prompt[i].right >= 0;
        hits += prompt[i].right > 0;
        least = min_int(least, prompt[i].n);
        most = max_int(most, prompt[i].n);
    }
    printf("%d prompts, %d", n, least);
    if (most > least) printf(" to %d", most);
    printf(" completions of each\n");
    if (known) {
        printf("the most frequent answer is right for %d of %d: %.4f\n", hits, known,
               (double)hits / known);
    }
    printf("\n%-22s %8s%s\n", "", "mean", known ? "      ECE    Brier" : "");
    for (int k = 0; k < NUM_MEASURES; k++) {
        double sum = 0;
        int m = 0;
        for (int i = 0; i < n; i++) {
            const double value = measure_of(&prompt[i].sure, k);
            sum += value;
            if (prompt[i].right < 0) continue;
            confidence[m] = value;
            right[m++] = (unsigned char)prompt[i].right;
        }
        printf("%-22s %8.4f", measure_names[k], sum / n);
        if (known) {
            printf(" %8.4f %8.4f", confidence_ece(confidence, right, m, 10),
                   confidence_brier(confidence, right, m));
        }
        printf("\n");
    }
}

static int append_prompt(Buffer *out, const Drawn *d, const Judged *p) {
    const Reply *prompt = &p->first->prompt, *answer = &p->answer->reply;
    if (buffer_printf(out, "{\"prompt\":") < 0) return -1;
    if (json_quote(out, d->text.data + prompt->start, prompt->len) < 0) return -1;
    if (buffer_printf(out, ",\"answer\":") < 0) return -1;
    if (json_quote(out, d->text.data + answer->start, answer->len) < 0) return -1;
    if (buffer_printf(out, ",\"completions\":%d,\"answers\":%d,\"agreement\":%.9g,"
                      "\"entropy\":%.9g,\"first_second\":%.9g", p->n, p->distinct,
                      p->sure.agreement, p->sure.entropy, p->sure.distance) < 0) return -1;
    if (p->right >= 0 && buffer_printf(out, ",\"right\":%s", p->right ? "true" : "false") < 0) {
        return -1;
    }
    return buffer_printf(out, "}\n");
}

static int write_prompts(const Drawn *d, const Judged *prompt, int n) {
    Buffer out = {0};
    int result = -1;
    for (int i = 0; i < n; i++) {
        if (append_prompt(&out, d, &prompt[i]) < 0) goto done;
    }
    result = file_write(opt.out, out.data, out.len);
done:
    buffer_free(&out);
    return result;
}

int command_consistency(void) {
    Drawn d = {0};
    Judged *prompt = NULL;
    double *confidence = NULL;
    unsigned char *right = NULL;
    int result = -1;
    if (drawn_read(&d) < 0) goto done;
    if (d.n == 0 || d.n > INT_MAX) {
        fail(EX_DATAERR, "standard input: no rows; give those of more sample --n 10");
        goto done;
    }
    prompt = allocate(d.n, sizeof *prompt);
    confidence = allocate(d.n, sizeof *confidence);
    right = allocate(d.n, sizeof *right);
    if (!prompt || !confidence || !right) goto done;
    const int n = judge_all(prompt, &d);
    if (n < 0) goto done;
    print_measures(prompt, n, confidence, right);
    if (opt.out && write_prompts(&d, prompt, n) < 0) goto done;
    result = 0;
done:
    drawn_free(&d);
    free(prompt);
    free(confidence);
    free(right);
    return result;
}
#endif

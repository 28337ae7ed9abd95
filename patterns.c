/* patterns.c - a text is cut into words, by a fixed pattern, before pairs are merged (tokenizer.c).
 *
 *     "it's 1234 x"      a text
 *     it | 's | _1234 | _x           GPT-2's words; _ is the space
 *     it | 's | _ | 123 | 4 | _x     LLaMA-3's: a number has at most three digits and no space
 *
 * The patterns that published tokenizers have are known by their text, as files write it, and each
 * has a scanner here, written by hand: a function that says where the word ends that begins at
 * s[i].  A pattern's first alternative that matches is taken, and within it as much as possible. */
#ifndef PATTERNS_C
#define PATTERNS_C

#include "common.h"
#include "files/json.c"
#include "unicode.c"

/* Where the word that begins at s[i] ends, with i < n; n is the end of the text.  class (CLASS_END)
 * is that of character_classes. */
typedef size_t WordEnd(const unsigned char *class, const char *s, size_t i, size_t n);

// the pre-tokenizers
WordEnd word_end_gpt2, word_end_llama3, word_end_qwen2;    // each quotes its pattern
WordEnd word_end_digits, word_end_digit;                   // digits together, or each alone
WordEnd word_end_mark;                                     // a word begins at each mark
WordEnd word_end_marks;                                    // marks in a row begin one word

WordEnd *word_pattern(const char *text);                   // the scanner of a pattern, or NULL
const char *word_pattern_text(WordEnd *end);               // its text, or NULL: it is none

// SentencePiece's mark of a space, U+2581.
#define MARK "\xe2\x96\x81"
enum { MARK_LEN = 3 };

// --------------------------------------------------------------------------------------- classes

// The class of the character at s, and its length; a byte that is not UTF-8 is a character too.
static int class_at(const unsigned char *class, const char *s, size_t n, size_t *len) {
    *len = 1;
    if (!(*s & 0x80)) return class[(unsigned char)*s];
    uint32_t code;
    const int decoded = utf8_decode(s, n, &code);
    if (!decoded) return CLASS_OTHER;
    *len = (size_t)decoded;
    return code < CLASS_END ? class[code] : CLASS_OTHER;
}

// Where the run of characters of that class ends that begins at i, where there may be none.
static size_t run_end(const unsigned char *class, int of, const char *s, size_t i, size_t n) {
    size_t len;
    while (i < n && class_at(class, s + i, n - i, &len) == of) i += len;
    return i;
}

/* The length of the English ending, such as 's, that s begins with; 0 if there is none.  With
 * any_case a capital is the same, and so is the long s, U+017F, as Unicode has it.  */
static size_t ending_len(const char *s, size_t n, int any_case) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    if (*s != '\'') return 0;
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
        const size_t len = strlen(endings[k]);
        size_t same = 1;
        if (len > n) continue;
        while (same < len && (s[same] | (any_case ? 0x20 : 0)) == endings[k][same]) same++;
        if (same == len) return len;
    }
    return any_case && n >= 3 && !memcmp(s, "'\xc5\xbf", 3) ? 3 : 0;
}

// \s+(?!\S)|\s+      white space up to `end` leaves its last character to what follows, if it can
static size_t space_end(const unsigned char *class, const char *s, size_t i, size_t end, size_t n) {
    size_t last = i, at = i, len;
    while (at < end) {
        last = at;
        class_at(class, s + at, n - at, &len);
        at += len;
    }
    return end < n && last > i ? last : end;
}

// -------------------------------------------------------------------------------------- patterns

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

size_t word_end_gpt2(const unsigned char *class, const char *s, size_t i, size_t n) {
    // 's|'t|'re|'ve|'m|'ll|'d
    const size_t ending = ending_len(s + i, n - i, 0);
    if (ending) return i + ending;

    //  ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+      one space may stand before a run of another class
    size_t len, at = i;
    int of = class_at(class, s + i, n - i, &len);
    if (s[i] == ' ' && n - i > 1) {
        const int next = class_at(class, s + i + 1, n - i - 1, &len);
        if (next != CLASS_SPACE) {
            of = next;
            at = i + 1;
        }
    }
    const size_t end = run_end(class, of, s, at, n);
    if (of != CLASS_SPACE) return end;

    // \s+(?!\S)|\s+
    return space_end(class, s, i, end, n);
}

static const char llama3_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static int is_line_end(char c) { return c == '\r' || c == '\n'; }

// Both, which differ in how many digits a number has.
static size_t word_end_of_digits(const unsigned char *class, const char *s, size_t i, size_t n,
                                 int digits) {
    // (?i:'s|'t|'re|'ve|'m|'ll|'d)
    const size_t ending = ending_len(s + i, n - i, 1);
    if (ending) return i + ending;

    // [^\r\n\p{L}\p{N}]?\p{L}+      one character of any other class may stand before letters
    size_t len, next_len;
    const int of = class_at(class, s + i, n - i, &len), is_last = i + len == n;
    const int next = is_last ? CLASS_OTHER : class_at(class, s + i + len, n - i - len, &next_len);
    if (of == CLASS_LETTER) return run_end(class, CLASS_LETTER, s, i, n);
    if (of != CLASS_NUMBER && !is_line_end(s[i]) && next == CLASS_LETTER) {
        return run_end(class, CLASS_LETTER, s, i + len, n);
    }

    // \p{N}{1,3}|\p{N}
    if (of == CLASS_NUMBER) {
        size_t at = i;
        for (int k = 0; k < digits && at < n; k++) {
            if (class_at(class, s + at, n - at, &len) != CLASS_NUMBER) break;
            at += len;
        }
        return at;
    }

    //  ?[^\s\p{L}\p{N}]+[\r\n]*
    const int is_before_other = s[i] == ' ' && !is_last && next == CLASS_OTHER;
    if (of == CLASS_OTHER || is_before_other) {
        size_t at = run_end(class, CLASS_OTHER, s, i + (size_t)is_before_other, n);
        while (at < n && is_line_end(s[at])) at++;
        return at;
    }

    // \s*[\r\n]+      white space up to the last line end in it
    const size_t end = run_end(class, CLASS_SPACE, s, i, n);
    for (size_t at = end; at > i; at--) {
        if (is_line_end(s[at-1])) return at;
    }

    // \s+(?!\S)|\s+
    return space_end(class, s, i, end, n);
}

size_t word_end_llama3(const unsigned char *class, const char *s, size_t i, size_t n) {
    return word_end_of_digits(class, s, i, n, 3);
}

size_t word_end_qwen2(const unsigned char *class, const char *s, size_t i, size_t n) {
    return word_end_of_digits(class, s, i, n, 1);
}

static const struct { const char *text; WordEnd *end; } patterns[] = {
    {.text = gpt2_pattern,   .end = word_end_gpt2},
    {.text = llama3_pattern, .end = word_end_llama3},
    {.text = qwen2_pattern,  .end = word_end_qwen2},
};

WordEnd *word_pattern(const char *text) {
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        if (!strcmp(patterns[k].text, text)) return patterns[k].end;
    }
    return NULL;
}

const char *word_pattern_text(WordEnd *end) {
    for (size_t k = 0; k < sizeof patterns / sizeof *patterns; k++) {
        if (patterns[k].end == end) return patterns[k].text;
    }
    return NULL;
}

// ------------------------------------------------------------------------------- digits and marks

/* Is it a number to the pre-tokenizer Digits?  That of `tokenizers` asks Rust's library, which
 * knows Unicode 17 and so 13 more than the patterns do. */
static int is_digit_at(const unsigned char *class, const char *s, size_t n, size_t *len) {
    uint32_t code;
    if (class_at(class, s, n, len) == CLASS_NUMBER) return 1;
    if (*len < 4 || !utf8_decode(s, n, &code)) return 0;
    return (code >= 0x11de0 && code <= 0x11de9) || (code >= 0x16ff4 && code <= 0x16ff6);
}

// Where the run of digits, or of anything else, ends.
size_t word_end_digits(const unsigned char *class, const char *s, size_t i, size_t n) {
    size_t len;
    const int of = is_digit_at(class, s + i, n - i, &len);
    while (i < n && is_digit_at(class, s + i, n - i, &len) == of) i += len;
    return i;
}

// The same, but each digit is a word.
size_t word_end_digit(const unsigned char *class, const char *s, size_t i, size_t n) {
    size_t len;
    if (is_digit_at(class, s + i, n - i, &len)) return i + len;
    return word_end_digits(class, s, i, n);
}

static int is_mark(const char *s, size_t n) { return n >= MARK_LEN && !memcmp(s, MARK, MARK_LEN); }

// The next mark from s[i] on, or n.
static size_t find_mark(const char *s, size_t i, size_t n) {
    while (i < n && !is_mark(s + i, n - i)) {
        const char *next = memchr(s + i + 1, MARK[0], n - i - 1);
        i = next ? (size_t)(next - s) : n;
    }
    return i;
}

size_t word_end_mark(const unsigned char *class, const char *s, size_t i, size_t n) {
    (void)class;
    return find_mark(s, is_mark(s + i, n - i) ? i + MARK_LEN : i + 1, n);
}

size_t word_end_marks(const unsigned char *class, const char *s, size_t i, size_t n) {
    (void)class;
    while (i < n && is_mark(s + i, n - i)) i += MARK_LEN;
    return find_mark(s, i, n);
}

#endif

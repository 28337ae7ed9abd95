/* words.c - the words of a text, each known by a hash of 64 bits, and Porter's stems of them.
 *
 * A word is a run of letters, digits and bytes beyond ASCII, with ASCII letters made small; or,
 * for stems, what stands between white space.
 *
 * A stem is what is left of an English word without its endings: connected, connecting, connection
 * and connections are connect.  Martin Porter, An algorithm for suffix stripping, 1980, with those
 * changes that NLTK makes by default, because rouge-score and so most published numbers use it;
 * the words in the comments are the paper's examples. */
#ifndef WORDS_C
#define WORDS_C
#include "common.h"

// The words of a text in its order.
typedef struct {
    uint64_t *word;
    size_t n, capacity;
} TextWords;

// All set w; 0, or -1 after fail().
int    words_read(TextWords *w, const char *s, size_t len, size_t least);
int    words_read_stems(TextWords *w, const char *s, size_t len);
void   words_free(TextWords *w);

size_t words_count(const char *s, size_t len);              // between white space
void   words_sort(uint64_t *word, size_t n);
size_t words_sort_once(uint64_t *word, size_t n);           // returns how many these are
size_t word_stem(char *s, size_t n);

// ------------------------------------------------------------------------------------------- words

#define WORD_HASH_START 0xcbf29ce484222325u                 // FNV-1a (Fowler, Noll and Vo), mixed

void words_free(TextWords *w) {
    free(w->word);
    memset(w, 0, sizeof *w);
}

static char small_letter(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int is_word_character(char c) {
    const unsigned char u = (unsigned char)small_letter(c);
    return (u >= 'a' && u <= 'z') || (u >= '0' && u <= '9') || u >= 0x80;
}

static int is_white_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static uint64_t word_hash(const char *s, size_t n) {
    uint64_t hash = WORD_HASH_START;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (unsigned char)small_letter(s[i])) * 0x100000001b3u;
    }
    return random_mix(hash);
}

static int words_append(TextWords *w, uint64_t word) {
    if (reserve(&w->word, &w->capacity, w->n + 1, sizeof *w->word) < 0) return -1;
    w->word[w->n++] = word;
    return 0;
}

// The runs of letters, digits and bytes beyond ASCII that have at least `least` bytes.
int words_read(TextWords *w, const char *s, size_t len, size_t least) {
    w->n = 0;
    for (size_t i = 0, end; i < len; i = end + 1) {
        end = i;
        while (end < len && is_word_character(s[end])) end++;
        if (end == i || end - i < least) continue;
        if (words_append(w, word_hash(s + i, end - i)) < 0) return -1;
    }
    return 0;
}

// The stems of what stands between white space.  What is too long to be a word is its own stem.
int words_read_stems(TextWords *w, const char *s, size_t len) {
    char word[64];
    w->n = 0;
    for (size_t i = 0, end; i < len; i = end + 1) {
        end = i;
        while (end < len && !is_white_space(s[end])) end++;
        size_t n = end - i;
        if (n == 0) continue;
        const int is_short = n <= sizeof word;
        if (is_short) {
            for (size_t k = 0; k < n; k++) word[k] = small_letter(s[i + k]);
            n = word_stem(word, n);
        }
        if (words_append(w, word_hash(is_short ? word : s + i, n)) < 0) return -1;
    }
    return 0;
}

size_t words_count(const char *s, size_t len) {
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        const int begins = i == 0 || is_white_space(s[i-1]);
        count += begins && !is_white_space(s[i]);
    }
    return count;
}

static int compare_words(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void words_sort(uint64_t *word, size_t n) {
    if (n) qsort(word, n, sizeof *word, compare_words);
}

// Sorts word[0 .. n), each once.
size_t words_sort_once(uint64_t *word, size_t n) {
    size_t kept = 0;
    words_sort(word, n);
    for (size_t k = 0; k < n; k++) {
        if (k == 0 || word[k] != word[k-1]) word[kept++] = word[k];
    }
    return kept;
}

// ------------------------------------------------------------------------------------------- stems

// A y is a consonant at the beginning and after a vowel.
static int is_consonant(const char *s, size_t i) {
    switch (s[i]) {
    case 'a': case 'e': case 'i': case 'o': case 'u': return 0;
    case 'y': return i == 0 || !is_consonant(s, i - 1);
    default:  return 1;
    }
}

// m of a stem [C](VC)^m[V], C a run of consonants, V of vowels: how often one follows the other.
static int stem_measure(const char *s, size_t n) {
    int m = 0;
    for (size_t i = 1; i < n; i++) m += is_consonant(s, i) && !is_consonant(s, i - 1);
    return m;
}

// *v*: the stem has a vowel.
static int has_vowel(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!is_consonant(s, i)) return 1;
    }
    return 0;
}

// *d: it ends with two equal consonants.
static int ends_double(const char *s, size_t n) {
    return n >= 2 && s[n-1] == s[n-2] && is_consonant(s, n - 1);
}

// *o: it ends consonant, vowel, consonant, the last not w, x or y.  NLTK: or is a vowel and one.
static int ends_cvc(const char *s, size_t n) {
    if (n < 2 || is_consonant(s, n - 2) || !is_consonant(s, n - 1)) return 0;
    if (n == 2) return 1;
    return is_consonant(s, n - 3) && s[n-1] != 'w' && s[n-1] != 'x' && s[n-1] != 'y';
}

static int ends_with(const char *s, size_t n, const char *ending) {
    const size_t len = strlen(ending);
    return n >= len && memcmp(s + n - len, ending, len) == 0;
}

// An ending and what it becomes.  A word never gets longer than it was: what -ed and -ing leave
// may get an e again.
typedef struct {
    const char *old, *new;
} Ending;

// The first ending that the word has becomes another if the stem before it has a measure of at
// least `least`; else nothing does.
static size_t change_ending(char *s, size_t n, const Ending *e, int count, int least) {
    for (int i = 0; i < count; i++) {
        if (!ends_with(s, n, e[i].old)) continue;
        const size_t stem = n - strlen(e[i].old), len = strlen(e[i].new);
        if (stem_measure(s, stem) < least) return n;
        memcpy(s + stem, e[i].new, len);
        return stem + len;
    }
    return n;
}
#define CHANGE_ENDING(s, n, endings, least) \
    change_ending(s, n, endings, (int)(sizeof (endings) / sizeof *(endings)), least)

// caresses caress, ponies poni, cats cat.  NLTK: ties tie
static size_t stem_step_1a(char *s, size_t n) {
    static const Ending endings[] = {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}};
    if (n == 4 && ends_with(s, n, "ies")) return 3;
    return CHANGE_ENDING(s, n, endings, 0);
}

// agreed agree, plastered plaster, motoring motor; then conflat(ed) conflate, hopp(ing) hop,
// fall(ing) fall, fil(ing) file.  NLTK: died die, spied spi
static size_t stem_step_1b(char *s, size_t n) {
    static const Ending endings[] = {{"at", "ate"}, {"bl", "ble"}, {"iz", "ize"}};
    if (ends_with(s, n, "ied")) return n == 4 ? 3 : n - 2;
    if (ends_with(s, n, "eed")) return stem_measure(s, n - 3) > 0 ? n - 1 : n;
    size_t stem = n;
    if (ends_with(s, n, "ed")) stem = n - 2;
    if (ends_with(s, n, "ing")) stem = n - 3;
    if (stem == n || !has_vowel(s, stem)) return n;

    const size_t longer = CHANGE_ENDING(s, stem, endings, 0);
    if (longer > stem) return longer;
    const char last = s[stem-1];
    if (ends_double(s, stem)) return last == 'l' || last == 's' || last == 'z' ? stem : stem - 1;
    if (stem_measure(s, stem) != 1 || !ends_cvc(s, stem)) return stem;
    s[stem] = 'e';
    return stem + 1;
}

// happy happi.  NLTK: after a consonant only, so enjoy enjoy
static size_t stem_step_1c(char *s, size_t n) {
    if (n > 2 && s[n-1] == 'y' && is_consonant(s, n - 2)) s[n-1] = 'i';
    return n;
}

// relational relate, digitizer digitize, hopefulness hopeful.  NLTK: -alli first, and again; -bli
// and not -abli; -fulli; -logi, whose l counts to the stem
static size_t stem_step_2(char *s, size_t n) {
    static const Ending endings[] = {
        {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
        {"bli", "ble"}, {"alli", "al"}, {"entli", "ent"}, {"eli", "e"}, {"ousli", "ous"},
        {"ization", "ize"}, {"ation", "ate"}, {"ator", "ate"}, {"alism", "al"}, {"iveness", "ive"},
        {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"}, {"iviti", "ive"},
        {"biliti", "ble"}, {"fulli", "ful"},
    };
    if (ends_with(s, n, "alli") && stem_measure(s, n - 4) > 0) n -= 2;
    if (ends_with(s, n, "logi")) return stem_measure(s, n - 3) > 0 ? n - 1 : n;
    return CHANGE_ENDING(s, n, endings, 1);
}

// triplicate triplic, formative form, electrical electric, goodness good
static size_t stem_step_3(char *s, size_t n) {
    static const Ending endings[] = {
        {"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"}, {"ical", "ic"},
        {"ful", ""}, {"ness", ""},
    };
    return CHANGE_ENDING(s, n, endings, 1);
}

// revival reviv, allowance allow, replacement replac, adoption adopt
static size_t stem_step_4(char *s, size_t n) {
    static const Ending endings[] = {
        {"al", ""}, {"ance", ""}, {"ence", ""}, {"er", ""}, {"ic", ""}, {"able", ""}, {"ible", ""},
        {"ant", ""}, {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ou", ""}, {"ism", ""}, {"ate", ""},
        {"iti", ""}, {"ous", ""}, {"ive", ""}, {"ize", ""},
    };
    if (ends_with(s, n, "sion") || ends_with(s, n, "tion")) {
        return stem_measure(s, n - 3) > 1 ? n - 3 : n;           // the s or t counts to the stem
    }
    return CHANGE_ENDING(s, n, endings, 2);
}

// probate probat, rate rate, cease ceas; then controll control, roll roll
static size_t stem_step_5(char *s, size_t n) {
    const int m = stem_measure(s, n - 1);
    if (s[n-1] == 'e' && (m > 1 || (m == 1 && !ends_cvc(s, n - 1)))) n--;
    return ends_with(s, n, "ll") && stem_measure(s, n - 1) > 1 ? n - 1 : n;
}

// The stem of a word in small letters takes its place; returns its length.
size_t word_stem(char *s, size_t n) {
    static const Ending irregular[] = {                     // NLTK's
        {"sky", "sky"}, {"skies", "sky"}, {"dying", "die"}, {"lying", "lie"}, {"tying", "tie"},
        {"news", "news"}, {"innings", "inning"}, {"inning", "inning"}, {"outings", "outing"},
        {"outing", "outing"}, {"cannings", "canning"}, {"canning", "canning"}, {"howe", "howe"},
        {"proceed", "proceed"}, {"exceed", "exceed"}, {"succeed", "succeed"},
    };
    for (size_t i = 0; i < sizeof irregular / sizeof *irregular; i++) {
        const Ending *e = &irregular[i];
        if (n == strlen(e->old) && ends_with(s, n, e->old)) {
            memcpy(s, e->new, strlen(e->new));
            return strlen(e->new);
        }
    }
    if (n <= 2) return n;
    n = stem_step_1a(s, n);
    n = stem_step_1b(s, n);
    n = stem_step_1c(s, n);
    n = stem_step_2(s, n);
    n = stem_step_3(s, n);
    n = stem_step_4(s, n);
    return stem_step_5(s, n);
}
#endif

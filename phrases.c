/* phrases.c - the key phrases of a text, the best first: RAKE, Rose, Engel, Cramer and Cowley 2010,
 * Automatic keyword extraction from individual documents.
 *
 * A phrase is a run of words with nothing but blanks between them, none of which is a stop word:
 *
 *     Deep blue water is not the blue water, it is the deep sea.
 *     '-------------'            '--------'            '------'
 *
 *     score(phrase) = sum of deg(w) / freq(w) over its words w
 *     freq(w)         how often w stands in phrases:               blue 2
 *     deg(w)          the words of these phrases, w included:      blue 3 + 2
 *
 * A phrase that stands twice counts as two.  The stop words are ours, and English: a text without
 * them is cut by its punctuation alone. */
#ifndef PHRASES_C
#define PHRASES_C
#include "words.c"

typedef struct {
    size_t begin, end;                  // in bytes of the text
    int words;
    double score;
} Phrase;

// A word of a phrase.
typedef struct {
    uint64_t word;
    size_t phrase;
} PhraseWord;

typedef struct {
    Phrase *phrase;                     // (n)
    size_t n, capacity;
    PhraseWord *word;                   // (words) scratch
    size_t words, word_capacity;
} Phrases;

int  phrases_read(Phrases *p, const char *s, size_t len);   // sets p; 0, or -1 after fail()
void phrases_free(Phrases *p);

// In the order of strcmp.
static const char *const stop_words[] = {
    "a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any",
    "are", "as", "at", "be", "because", "been", "before", "being", "below", "between", "both",
    "but", "by", "can", "cannot", "could", "d", "did", "do", "does", "doing", "don", "down",
    "during", "each", "either", "else", "few", "for", "from", "further", "get", "given", "had",
    "has", "have", "having", "he", "her", "here", "hers", "him", "his", "how", "however", "i", "if",
    "in", "into", "is", "it", "its", "itself", "just", "let", "ll", "m", "many", "may", "me",
    "might", "more", "most", "much", "must", "my", "neither", "no", "nor", "not", "of", "off", "on",
    "once", "only", "or", "other", "our", "ours", "out", "over", "own", "re", "s", "same", "shall",
    "she", "should", "so", "some", "such", "t", "than", "that", "the", "their", "theirs", "them",
    "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until",
    "up", "upon", "us", "used", "ve", "very", "was", "we", "were", "what", "when", "where",
    "whether", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "yes",
    "yet", "you", "your", "yours",
};
enum { NUM_STOP_WORDS = sizeof stop_words / sizeof *stop_words, STOP_WORD_SIZE = 16 };

void phrases_free(Phrases *p) {
    free(p->phrase);
    free(p->word);
    memset(p, 0, sizeof *p);
}

static int compare_stop_words(const void *key, const void *element) {
    return strcmp(key, *(const char *const *)element);
}

static int is_stop_word(const char *s, size_t n) {
    char word[STOP_WORD_SIZE] = {0};
    if (n >= sizeof word) return 0;
    for (size_t i = 0; i < n; i++) word[i] = small_letter(s[i]);
    return bsearch(word, stop_words, NUM_STOP_WORDS, sizeof *stop_words, compare_stop_words) != 0;
}

// The phrases in the order of the text, without scores, and their words.  0, or -1 after fail().
static int find_phrases(Phrases *p, const char *s, size_t len) {
    int goes_on = 0;                    // the last phrase, if a word comes next
    p->n = 0;
    p->words = 0;
    for (size_t i = 0, end; i < len; i = end) {
        end = i;
        while (end < len && is_word_character(s[end])) end++;
        if (end == i) {
            goes_on = goes_on && s[i] == ' ';
            end++;
            continue;
        }
        if (is_stop_word(s + i, end - i)) {
            goes_on = 0;
            continue;
        }
        if (!goes_on) {
            if (reserve(&p->phrase, &p->capacity, p->n + 1, sizeof *p->phrase) < 0) return -1;
            p->phrase[p->n++] = (Phrase){.begin = i};
            goes_on = 1;
        }
        p->phrase[p->n - 1].end = end;
        p->phrase[p->n - 1].words++;
        if (reserve(&p->word, &p->word_capacity, p->words + 1, sizeof *p->word) < 0) return -1;
        p->word[p->words++] = (PhraseWord){word_hash(s + i, end - i), p->n - 1};
    }
    return 0;
}

static int compare_phrase_words(const void *a, const void *b) {
    const PhraseWord *x = a, *y = b;
    if (x->word != y->word) return x->word > y->word ? 1 : -1;
    return (x->phrase > y->phrase) - (x->phrase < y->phrase);
}

// By score, equal ones in the order of the text.
static int compare_phrases(const void *a, const void *b) {
    const Phrase *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

int phrases_read(Phrases *p, const char *s, size_t len) {
    if (find_phrases(p, s, len) < 0) return -1;
    if (p->n == 0) return 0;
    qsort(p->word, p->words, sizeof *p->word, compare_phrase_words);
    for (size_t i = 0, end; i < p->words; i = end) {
        double degree = 0;
        for (end = i; end < p->words && p->word[end].word == p->word[i].word; end++) {
            degree += p->phrase[p->word[end].phrase].words;
        }
        for (size_t k = i; k < end; k++) {
            p->phrase[p->word[k].phrase].score += degree / (double)(end - i);
        }
    }
    qsort(p->phrase, p->n, sizeof *p->phrase, compare_phrases);
    return 0;
}
#endif

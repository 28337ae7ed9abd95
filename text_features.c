/* text_features.c - numbers that say something of an answer without a model's help: how long it is,
 * how much of its prompt it has, how it repeats itself, how near it is to a reference.
 *
 * Each is a function under its formula and a row of one table, with the range that it never leaves.
 * In the formulas a is the answer, s the source (its prompt), r the reference (another answer that
 * is taken to be good), each a list of words; |a| is how many, a^n its n-grams, runs of n words. */
#ifndef TEXT_FEATURES_C
#define TEXT_FEATURES_C
#include "words.c"

// An answer, what it answers, and an answer taken to be good; reference NULL: none.
typedef struct {
    const char *prompt, *answer, *reference;
    size_t prompt_len, answer_len, reference_len;
} FeatureTexts;

// What is read of them.
typedef struct {
    size_t prompt_len, answer_len;                          // in words between white space
    TextWords prompt, answer, reference;
    TextWords long_words;                                   // of the prompt, sorted
    TextWords answer_stems, reference_stems;
    uint64_t *gram[2];                                      // scratch, for n-grams of two texts
    int *row;                                               // scratch, for a row of a table
} FeatureWords;

// What a feature needs besides a prompt and an answer.
typedef enum { NEEDS_NOTHING, NEEDS_REFERENCE, NEEDS_MODEL } FeatureNeed;

typedef struct {
    const char *name;
    double low, high;                                       // it is never outside
    FeatureNeed need;
    double (*value)(const FeatureWords *w);                 // NULL: a language model says it
    const char *help;
} TextFeature;

int text_feature_find(const char *name);                    // its row of the table, or -1
int text_features_compute(double *out, const int *which, int n, const FeatureTexts *t);

// ----------------------------------------------------------------------------------------- n-grams

// Sets gram to the hashes of the n-grams of w, sorted; returns how many these are.
static size_t sort_grams(uint64_t *gram, const TextWords *w, size_t n) {
    const size_t count = w->n < n ? 0 : w->n - n + 1;
    for (size_t i = 0; i < count; i++) {
        gram[i] = w->word[i];
        for (size_t k = 1; k < n; k++) gram[i] = random_mix(gram[i]) ^ w->word[i + k];
    }
    words_sort(gram, count);
    return count;
}

// How many of a, sorted, are in b, sorted: each as often as b has it, or with `again` as often as
// a has it.
static size_t count_common(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count,
                           int again) {
    size_t common = 0, k = 0;
    for (size_t i = 0; i < a_count; i++) {
        while (k < b_count && b[k] < a[i]) k++;
        if (k == b_count) break;
        if (b[k] != a[i]) continue;
        common++;
        if (!again) k++;
    }
    return common;
}

// A part of a whole; of nothing 0.
static double share_of(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

// ----------------------------------------------------------------------------- answers and sources

// |a|, words between white space
static double feature_length(const FeatureWords *w) { return (double)w->answer_len; }

// |a| / |s|, the compression of Grusky et al. 2018 (arXiv 1804.11283) the other way up: theirs has
// no bound.  Of an empty source 1.
static double feature_compression(const FeatureWords *w) {
    return w->prompt_len ? share_of(w->answer_len, w->prompt_len) : 1;
}

// The share of the answer's n-grams that its source has: 1 less the novel n-grams of See et al.
// 2017 (arXiv 1704.04368).
static double share_in_source(const FeatureWords *w, size_t n) {
    const size_t count = sort_grams(w->gram[0], &w->answer, n);
    const size_t source = sort_grams(w->gram[1], &w->prompt, n);
    return share_of(count_common(w->gram[0], count, w->gram[1], source, 1), count);
}
static double feature_overlap(const FeatureWords *w)  { return share_in_source(w, 1); }
static double feature_overlap2(const FeatureWords *w) { return share_in_source(w, 2); }

// sum_v c(v) [v in a] / sum_v c(v) over the words v of at least FREQUENT_BYTES bytes that stand
// c(v) >= 2 times in the source: how much of what it says again and again the answer takes up.  Our
// own; only the words count, not what is said of them.
enum { FREQUENT_BYTES = 4 };
static double feature_coverage(const FeatureWords *w) {
    const uint64_t *word = w->long_words.word;
    const size_t n = w->long_words.n, count = sort_grams(w->gram[0], &w->answer, 1);
    size_t frequent = 0, covered = 0;
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && word[end] == word[i]) end++;
        if (end - i < 2) continue;
        frequent += end - i;
        covered += count_common(word + i, end - i, w->gram[0], count, 1);
    }
    return share_of(covered, frequent);
}

// The different n-grams as a share of all.  Li et al. 2016 (arXiv 1510.03055)
static double distinct_grams(const FeatureWords *w, size_t n) {
    const size_t count = sort_grams(w->gram[0], &w->answer, n);
    return share_of(words_sort_once(w->gram[0], count), count);
}
static double feature_distinct1(const FeatureWords *w) { return distinct_grams(w, 1); }
static double feature_distinct2(const FeatureWords *w) { return distinct_grams(w, 2); }

// The share of 4-grams that stood before, 1 - distinct-4: seq-rep-4 of Welleck et al. 2020 (arXiv
// 1908.04319).  Of fewer than four words 0.
static double feature_repetition(const FeatureWords *w) {
    const size_t count = sort_grams(w->gram[0], &w->answer, 4);
    return share_of(count - words_sort_once(w->gram[0], count), count);
}

// ------------------------------------------------------------------- answers and references: ROUGE

/* Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries.  With c n-grams, or words of
 * the longest common subsequence, in both texts,
 *
 *     P = c / |a^n|      R = c / |r^n|      F = 2 P R / (P + R) = 2 c / (|a^n| + |r^n|)
 *
 * F of an empty answer is 0.  On ASCII texts these are the numbers of rouge-score, whose words have
 * ASCII letters and digits alone. */
static double f_measure(size_t common, size_t a, size_t r) {
    return a + r ? 2 * (double)common / (double)(a + r) : 0;
}

static double rouge_n(const FeatureWords *w, const TextWords *a, const TextWords *r, size_t n) {
    const size_t a_count = sort_grams(w->gram[0], a, n), r_count = sort_grams(w->gram[1], r, n);
    return f_measure(count_common(w->gram[0], a_count, w->gram[1], r_count, 0), a_count, r_count);
}

// Of two texts of m and n words in O(m n): row[k], after word i of a, is the length of the longest
// common subsequence of a's first i words and r's first k.
static double rouge_l(const FeatureWords *w, const TextWords *a, const TextWords *r) {
    int *row = w->row;
    memset(row, 0, (r->n + 1) * sizeof *row);
    for (size_t i = 0; i < a->n; i++) {
        int diagonal = 0;                                   // row[k] of the word before
        for (size_t k = 0; k < r->n; k++) {
            const int above = row[k+1];
            row[k+1] = a->word[i] == r->word[k] ? diagonal + 1 : max_int(above, row[k]);
            diagonal = above;
        }
    }
    return f_measure((size_t)row[r->n], a->n, r->n);
}

static double feature_rouge1(const FeatureWords *w) {
    return rouge_n(w, &w->answer, &w->reference, 1);
}
static double feature_rouge2(const FeatureWords *w) {
    return rouge_n(w, &w->answer, &w->reference, 2);
}
static double feature_rougeL(const FeatureWords *w) {
    return rouge_l(w, &w->answer, &w->reference);
}

// The same of stems between white space, as Nath et al. (arXiv 2402.15473) measure summaries.
static double feature_rouge1_stem(const FeatureWords *w) {
    return rouge_n(w, &w->answer_stems, &w->reference_stems, 1);
}
static double feature_rouge2_stem(const FeatureWords *w) {
    return rouge_n(w, &w->answer_stems, &w->reference_stems, 2);
}
static double feature_rougeL_stem(const FeatureWords *w) {
    return rouge_l(w, &w->answer_stems, &w->reference_stems);
}

// --------------------------------------------------------------------------------------- the table

const TextFeature text_feature_table[] = {
    {.name = "length", .high = 1000, .value = feature_length,
     .help = "words between white space, at most 1000"},
    {.name = "compression", .high = 1, .value = feature_compression,
     .help = "words as a share of the prompt's, at most 1"},
    {.name = "overlap", .high = 1, .value = feature_overlap,
     .help = "share of the words that the prompt has"},
    {.name = "overlap2", .high = 1, .value = feature_overlap2,
     .help = "share of the pairs of neighbouring words that the prompt has"},
    {.name = "coverage", .high = 1, .value = feature_coverage,
     .help = "share of the prompt's frequent words that the answer has"},
    {.name = "distinct1", .high = 1, .value = feature_distinct1,
     .help = "different words as a share of all (Li et al. 2016)"},
    {.name = "distinct2", .high = 1, .value = feature_distinct2,
     .help = "the same of pairs of neighbouring words"},
    {.name = "repetition", .high = 1, .value = feature_repetition,
     .help = "share of runs of 4 words that stood before (Welleck et al. 2020)"},
    {.name = "rouge1", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rouge1,
     .help = "ROUGE-1 F to the row's \"reference\" (Lin 2004)"},
    {.name = "rouge2", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rouge2,
     .help = "ROUGE-2 F to it"},
    {.name = "rougeL", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rougeL,
     .help = "ROUGE-L F to it"},
    {.name = "rouge1_stem", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rouge1_stem,
     .help = "ROUGE-1 F of Porter's stems, between white space"},
    {.name = "rouge2_stem", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rouge2_stem,
     .help = "ROUGE-2 F of them"},
    {.name = "rougeL_stem", .high = 1, .need = NEEDS_REFERENCE, .value = feature_rougeL_stem,
     .help = "ROUGE-L F of them"},
    {.name = "nll", .high = 10, .need = NEEDS_MODEL,
     .help = "-log p of --model a token, at most 10"},
    {.name = "perplexity", .low = 1, .high = 1000, .need = NEEDS_MODEL,
     .help = "exp of that, at most 1000"},
};
enum { NUM_TEXT_FEATURES = sizeof text_feature_table / sizeof *text_feature_table };

int text_feature_find(const char *name) {
    for (int i = 0; i < NUM_TEXT_FEATURES; i++) {
        if (!strcmp(name, text_feature_table[i].name)) return i;
    }
    return -1;
}

static void feature_words_free(FeatureWords *w) {
    words_free(&w->prompt);
    words_free(&w->answer);
    words_free(&w->reference);
    words_free(&w->long_words);
    words_free(&w->answer_stems);
    words_free(&w->reference_stems);
    free(w->gram[0]);
    free(w->gram[1]);
    free(w->row);
}

static int feature_words_read(FeatureWords *w, const FeatureTexts *t) {
    w->prompt_len = words_count(t->prompt, t->prompt_len);
    w->answer_len = words_count(t->answer, t->answer_len);
    if (words_read(&w->prompt, t->prompt, t->prompt_len, 1) < 0) return -1;
    if (words_read(&w->answer, t->answer, t->answer_len, 1) < 0) return -1;
    if (words_read(&w->long_words, t->prompt, t->prompt_len, FREQUENT_BYTES) < 0) return -1;
    words_sort(w->long_words.word, w->long_words.n);
    if (t->reference) {
        const size_t len = t->reference_len;
        if (words_read(&w->reference, t->reference, len, 1) < 0) return -1;
        if (words_read_stems(&w->reference_stems, t->reference, len) < 0) return -1;
        if (words_read_stems(&w->answer_stems, t->answer, t->answer_len) < 0) return -1;
    }

    // scratch for the longest of them
    const TextWords *all[] = {&w->prompt, &w->answer, &w->reference, &w->answer_stems,
                              &w->reference_stems};
    size_t most = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) most = max_size(most, all[i]->n);
    for (int i = 0; i < 2; i++) {
        w->gram[i] = allocate(most, sizeof *w->gram[i]);
        if (!w->gram[i]) return -1;
    }
    w->row = allocate(most + 1, sizeof *w->row);
    return w->row ? 0 : -1;
}

// out (n): the features `which` (n), rows of text_feature_table, none of which needs a model or a
// reference that is not there.  0, or -1 after fail().
int text_features_compute(double *out, const int *which, int n, const FeatureTexts *t) {
    FeatureWords w = {0};
    int result = -1;
    if (feature_words_read(&w, t) < 0) goto done;
    for (int i = 0; i < n; i++) {
        const TextFeature *f = &text_feature_table[which[i]];
        assert(f->value && (t->reference || f->need != NEEDS_REFERENCE));
        const double value = f->value(&w);
        out[i] = value < f->high ? value : f->high;
    }
    result = 0;
done:
    feature_words_free(&w);
    return result;
}
#endif

/* vocabulary.c - a tokenizer is learnt: the pieces and merges of byte pair encoding (tokenizer.c).
 *
 * Over and over, the pair of neighbours that is most frequent in all words becomes the next merge,
 * and its two pieces together a new piece.  Sennrich et al. 2016 (arXiv:1508.07909), algorithm 1,
 * with the counts kept instead of counted again:
 *
 *     count the words of the text                                                   count_words
 *     count the pairs of neighbours in them                                         lay_words
 *     repeat: the most frequent pair becomes a merge and a piece                    learn_merges
 *             it is joined wherever it stands; the counts of its neighbours change  join_everywhere
 *
 * A pair keeps the list of its places, so that a merge costs as much as it changes.  The heap of
 * pairs is lazy: a count that became smaller is noticed when its pair comes to the top. */
#ifndef VOCABULARY_C
#define VOCABULARY_C

#include "tokenizer.c"

int tokenizer_learn(Tokenizer *t, const char *text, const size_t *end, size_t n, int vocab_size);
int tokenizer_of_bytes(Tokenizer *t);                     // its pieces are the bytes

enum { ENDOFTEXT = 0, PADDING = 1, FIRST_BYTE = 2, FIRST_MERGE = FIRST_BYTE + 256 };  // ids we give

typedef struct {
    const char *s;
    size_t len;
    uint64_t hash;
    int64_t count;                      // how often it occurs
} WordCount;

typedef struct {
    int left, right;
    int first, last;                    // of its list in Learner.place, or -1
    int64_t count;                      // how often it occurs, now
} PairCount;

typedef struct { int at, next; } PairPlace;               // in the row; the next in the list or -1

typedef struct {
    WordCount *word;                    // the different words
    size_t num_words, word_capacity;
    int *word_table;                    // hash table of words, -1 empty
    size_t word_slots;
    int *row, *word_of;                 // (N) all words in one row; the word of each place
    PairCount *pair;                    // neighbours that occur, or did
    size_t num_pairs, pair_capacity;
    int *pair_table;                    // hash table of pairs, -1 empty
    size_t pair_slots;
    PairPlace *place;                   // lists, ascending; a pair may be gone from there
    size_t num_places, place_capacity;
    Heap heap;                          // rank = -count when it was pushed, item = left, right
} Learner;

static void learner_free(Learner *l) {
    free(l->word);
    free(l->word_table);
    free(l->row);
    free(l->word_of);
    free(l->pair);
    free(l->pair_table);
    free(l->place);
    free(l->heap.item);
}

// A larger table for n entries, and nothing in it.  0, or -1 after fail().
static int table_enlarge(int **table, size_t *slots, size_t n) {
    uint64_t mask;
    int *larger = table_init(n < 1024 ? 1024 : 2 * n, &mask);
    if (!larger) return -1;
    free(*table);
    *table = larger;
    *slots = mask + 1;
    return 0;
}

static int *word_slot(const Learner *l, const char *s, size_t len, uint64_t hash) {
    const size_t mask = l->word_slots - 1;
    size_t i = hash & mask;
    for (; l->word_table[i] >= 0; i = (i + 1) & mask) {
        const WordCount *w = &l->word[l->word_table[i]];
        if (w->hash == hash && w->len == len && !memcmp(w->s, s, len)) break;
    }
    return &l->word_table[i];
}

static int *pair_slot(const Learner *l, int left, int right) {
    const size_t mask = l->pair_slots - 1;
    size_t i = hash_pair(left, right) & mask;
    for (; l->pair_table[i] >= 0; i = (i + 1) & mask) {
        const PairCount *p = &l->pair[l->pair_table[i]];
        if (p->left == left && p->right == right) break;
    }
    return &l->pair_table[i];
}

// Keeps at least half of the table of words free.
static int word_table_grow(Learner *l) {
    if (2 * l->num_words < l->word_slots) return 0;
    if (table_enlarge(&l->word_table, &l->word_slots, l->num_words) < 0) return -1;
    for (size_t i = 0; i < l->num_words; i++) {
        const WordCount *w = &l->word[i];
        *word_slot(l, w->s, w->len, w->hash) = (int)i;
    }
    return 0;
}

// The same for the pairs.
static int pair_table_grow(Learner *l) {
    if (2 * l->num_pairs < l->pair_slots) return 0;
    if (table_enlarge(&l->pair_table, &l->pair_slots, l->num_pairs) < 0) return -1;
    for (size_t i = 0; i < l->num_pairs; i++) {
        *pair_slot(l, l->pair[i].left, l->pair[i].right) = (int)i;
    }
    return 0;
}

// The word occurs once more.
static int count_word(Learner *l, const char *s, size_t len) {
    if (word_table_grow(l) < 0) return -1;
    const uint64_t hash = hash_bytes(s, len);
    int *slot = word_slot(l, s, len, hash);
    if (*slot >= 0) {
        l->word[*slot].count++;
        return 0;
    }
    if (reserve(&l->word, &l->word_capacity, l->num_words + 1, sizeof *l->word) < 0) return -1;
    *slot = (int)l->num_words;
    l->word[l->num_words++] = (WordCount){.s = s, .len = len, .hash = hash, .count = 1};
    return 0;
}

// The words of n documents.
static int count_words(Learner *l, const Tokenizer *t, const char *text, const size_t *end,
                       size_t n) {
    size_t at = 0;
    for (size_t d = 0; d < n; d++) {
        while (at < end[d]) {
            const size_t next = word_end_gpt2(t->class_memory, text, at, end[d]);
            if (count_word(l, text + at, next - at) < 0) return -1;
            at = next;
        }
    }
    return 0;
}

// One more place of a pair, which is new if need be: its left piece begins at p.
static int add_place(Learner *l, int left, int right, size_t p) {
    if (pair_table_grow(l) < 0) return -1;
    int *slot = pair_slot(l, left, right);
    if (*slot < 0) {
        if (reserve(&l->pair, &l->pair_capacity, l->num_pairs + 1, sizeof *l->pair) < 0) return -1;
        const PairCount none = {.left = left, .right = right, .first = -1, .last = -1};
        *slot = (int)l->num_pairs;
        l->pair[l->num_pairs++] = none;
    }

    if (l->num_places >= INT_MAX) {
        return fail(EX_DATAERR, "too much text to learn a vocabulary from");
    }
    if (reserve(&l->place, &l->place_capacity, l->num_places + 1, sizeof *l->place) < 0) return -1;
    PairCount *pair = &l->pair[*slot];
    const int place = (int)l->num_places++;
    l->place[place] = (PairPlace){.at = (int)p, .next = -1};
    if (pair->first < 0) pair->first = place;
    else l->place[pair->last].next = place;
    pair->last = place;
    pair->count += l->word[l->word_of[p]].count;
    return 0;
}

// Pairs from number `first` on are new: into the heap.
static int push_pairs(Learner *l, size_t first) {
    for (size_t i = first; i < l->num_pairs; i++) {
        const PairCount *p = &l->pair[i];
        const uint64_t item = (uint64_t)p->left << 32 | (uint32_t)p->right;
        if (heap_push(&l->heap, -p->count, item) < 0) return -1;
    }
    return 0;
}

// All different words in one row of bytes, and the pairs in it.
static int lay_words(Learner *l, const Tokenizer *t) {
    size_t n = 1, at = 0;
    for (size_t w = 0; w < l->num_words; w++) n += l->word[w].len + 1;
    if (n >= INT_MAX) return fail(EX_DATAERR, "too much text to learn a vocabulary from");
    l->row = allocate(n, sizeof *l->row);
    l->word_of = allocate(n, sizeof *l->word_of);
    if (!l->row || !l->word_of) return -1;

    l->row[at++] = EDGE;
    for (size_t w = 0; w < l->num_words; w++) {
        for (size_t i = 0; i < l->word[w].len; i++) {
            l->row[at] = t->byte_id[(unsigned char)l->word[w].s[i]];
            l->word_of[at] = (int)w;
            if (i > 0 && add_place(l, l->row[at-1], l->row[at], at - 1) < 0) return -1;
            at++;
        }
        l->row[at++] = EDGE;
    }
    return push_pairs(l, 0);
}

/* Joins pair k, which is a b, into the piece id = ab wherever it stands, and keeps the counts:
 *
 *     ... x a b y ...   the pairs x a, a b and b y become fewer,
 *     ... x ab  y ...   the pairs x ab and ab y are new */
static int join_everywhere(Learner *l, const Tokenizer *t, int k, int id) {
    const int a = l->pair[k].left, b = l->pair[k].right;
    const size_t len_a = tokenizer_piece_len(t, a), len = tokenizer_piece_len(t, id);
    const size_t old_pairs = l->num_pairs;
    int *row = l->row;
    for (int i = l->pair[k].first; i >= 0; i = l->place[i].next) {
        const size_t p = (size_t)l->place[i].at, q = p + len_a;
        if (row[p] != a || row[q] != b) continue;         // no longer there
        const int64_t count = l->word[l->word_of[p]].count;
        pieces_join(row, p, q, id, len);
        l->pair[k].count -= count;
        if (row[p-1] != EDGE) {
            const size_t x = pieces_left_of(row, p);
            l->pair[*pair_slot(l, row[x], a)].count -= count;
            if (add_place(l, row[x], id, x) < 0) return -1;
        }
        if (row[p + len] != EDGE) {
            const int y = row[p + len];
            l->pair[*pair_slot(l, b, y)].count -= count;
            if (add_place(l, id, y, p) < 0) return -1;
        }
    }
    assert(l->pair[k].count == 0);
    return push_pairs(l, old_pairs);                      // no other pair has become more frequent
}

/* The most frequent pair becomes a piece, until the vocabulary is full or no pair occurs twice.
 * Of equally frequent pairs the least left id is taken, then the least right id: the result
 * depends on the text alone. */
static int learn_merges(Learner *l, Tokenizer *t) {
    Buffer joined = {0};
    int result = -1;
    while (t->vocab_size < t->max_vocab && l->heap.n) {
        const HeapItem top = heap_pop(&l->heap);
        const int left = (int)(top.item >> 32), right = (int)(top.item & 0x7fffffff);
        const int k = *pair_slot(l, left, right);
        const int64_t count = l->pair[k].count;
        if (count < 2) continue;
        if (count != -top.rank) {                         // it has become less frequent since
            if (heap_push(&l->heap, -count, top.item) < 0) goto done;
            continue;
        }

        joined.len = 0;
        const char *a = tokenizer_piece(t, left), *b = tokenizer_piece(t, right);
        if (buffer_append(&joined, a, tokenizer_piece_len(t, left)) < 0) goto done;
        if (buffer_append(&joined, b, tokenizer_piece_len(t, right)) < 0) goto done;
        if (tokenizer_find_in_vocab(t, joined.data, joined.len) >= 0) {
            continue;                                      // made of others before
        }
        const int id = tokenizer_add_piece(t, joined.data, joined.len, PIECE_IN_VOCAB);
        if (id < 0) goto done;
        tokenizer_add_merge(t, left, right, id);
        if (join_everywhere(l, t, k, id) < 0) goto done;
    }
    result = 0;

done:
    buffer_free(&joined);
    return result;
}

// The ids that every vocabulary begins with: two special tokens, and a piece for each byte.
static int add_first_pieces(Tokenizer *t) {
    static const char *const special[] = {[ENDOFTEXT] = "<|endoftext|>", [PADDING] = "<|padding|>"};
    const int flags = PIECE_IN_VOCAB | PIECE_ADDED | PIECE_SPECIAL;
    const Alphabet alphabet = alphabet_make();
    for (int id = 0; id < FIRST_BYTE; id++) {
        if (tokenizer_add_piece(t, special[id], strlen(special[id]), flags) < 0) return -1;
        if (tokenizer_add_to_trie(t, id, "tokenizer") < 0) return -1;
    }
    for (int i = 0; i < 256; i++) {
        const char byte = (char)alphabet.order[i];
        if (tokenizer_add_piece(t, &byte, 1, PIECE_IN_VOCAB) < 0) return -1;
    }
    return 0;
}

/* Learns at most vocab_size pieces from n documents, one after the other in text: document i ends
 * at end[i].  0, or -1 after fail(); then t is empty. */
int tokenizer_learn(Tokenizer *t, const char *text, const size_t *end, size_t n, int vocab_size) {
    const int most = 1 << 24;
    Learner l = {0};
    int result = -1;
    memset(t, 0, sizeof *t);
    if (vocab_size < FIRST_MERGE || vocab_size > most) {
        return fail(EX_USAGE, "a vocabulary of %d pieces: from %d to %d is possible", vocab_size,
                    FIRST_MERGE, most);
    }
    if (tokenizer_init(t, (size_t)vocab_size, (size_t)(vocab_size - FIRST_MERGE)) < 0) return -1;
    tokenizer_add_step(t, (WordStep){.kind = STEP_WORDS, .end = word_end_gpt2});
    if (add_first_pieces(t) < 0) goto done;
    tokenizer_find_ids(t);
    if (count_words(&l, t, text, end, n) < 0) goto done;
    if (lay_words(&l, t) < 0 || learn_merges(&l, t) < 0) goto done;
    result = 0;

done:
    learner_free(&l);
    if (result < 0) tokenizer_free(t);
    return result;
}

int tokenizer_of_bytes(Tokenizer *t) {
    const size_t no_text = 0;
    return tokenizer_learn(t, "", &no_text, 1, FIRST_MERGE);
}

#endif

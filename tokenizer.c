/* tokenizer.c - byte-level byte pair encoding (BPE), as in GPT-2: encode and decode texts, learn a
 * vocabulary.  files/tokenizer_json.c reads and writes Hugging Face's tokenizer.json.
 * Sennrich et al. 2016 (arXiv:1508.07909), Radford et al. 2019, section 2.2.
 *
 *     "the hat"            a text
 *     the | _hat           is cut into words by a fixed pattern (word_end; _ is the space);
 *     t h e | _ h a t      a word is a row of pieces, at first one for each byte;
 *     t h e | _ h at       then merges join neighbours, first the one that was learnt first:
 *     th e  | _ h at       say a+t, then t+h, th+e, _+h and _h+at,
 *     the   | _hat         until none is left that can be done (merge_word).
 *     260, 262             The ids of these pieces are the tokens of the text.
 *
 * Here the vocabulary has at = 258, th = 259, the = 260, _h = 261 and _hat = 262, after the bytes.
 *
 * Learning goes the other way: over and over, the pair of neighbours that is most frequent in all
 * words becomes the next merge, and its two pieces together a new piece (learn_merges).
 *
 * The ids are those of the Python package `tokenizers`.  One difference remains:
 * special tokens such as <|endoftext|> are not looked for in a text, so that data cannot end it. */
#ifndef TOKENIZER_C
#define TOKENIZER_C

#include "common.h"
#include "files/json.c"
#include "unicode.c"
#include <inttypes.h>

// What is known of a piece.  Added tokens are looked for in a text before it is cut into words.
enum {
    PIECE_ADDED = 1, PIECE_SPECIAL = 2, PIECE_NORMALIZED = 4, PIECE_IN_VOCAB = 8,
    PIECE_LSTRIP = 16, PIECE_RSTRIP = 32, PIECE_SINGLE_WORD = 64,
};

enum { ENDOFTEXT = 0, PADDING = 1, FIRST_BYTE = 2, FIRST_MERGE = FIRST_BYTE + 256 };  // ids we give
enum { MAX_ADDED = 1000 };                                            // bytes of an added token
enum { MAX_HOLES = 1 << 16 };                                         // ids without a piece
enum { MAX_ENDS = 64 };                                               // tokens that end a text
enum { CACHE_SLOTS = 1 << 15, CACHE_WORD = 22, CACHE_IDS = 10 };

typedef struct { int left, right, id; } Merge;                        // left and right become id
typedef struct { int child, sibling, id; unsigned char byte; } TrieNode;

typedef struct { int64_t rank; uint64_t item; } HeapItem;             // least rank, then least item
typedef struct { HeapItem *item; size_t n, capacity; } Heap;

typedef struct {                        // a short word that was encoded before
    unsigned char len, count;
    char word[CACHE_WORD];
    int id[CACHE_IDS];
} CachedWord;

typedef struct {                        // what encoding writes to
    int *row;                           // the pieces of a word, see left_of
    size_t row_capacity;
    Heap heap;                          // merges that can be done: rank, place in the row
    CachedWord cache[CACHE_SLOTS];
    NormalForm normal_form;             // if the tokenizer has one
    Buffer normal;                      // the normal form of a text
} EncodeScratch;

typedef struct Tokenizer {
    int vocab_size;
    int eos, bos, pad;                  // ids or -1
    int num_ends, ends[MAX_ENDS];       // eos and what ends a generated text besides
    int nfc;                            // yes: texts are put in normal form C

    // pieces
    int max_vocab;
    Buffer bytes;                       // all pieces, one after the other
    size_t *start_memory;               // piece i is bytes[start[i] .. start[i+1])
    unsigned char *flags_memory;        // PIECE_ flags
    int *piece_table_memory;            // hash table of the pieces that merges make: ids, -1 empty
    uint64_t piece_mask;
    int byte_id[256];                   // pieces of one byte; -1 where a byte has none
    int has_unknown;                    // yes: the file has a piece for what has none

    // merges
    int num_merges, max_merges;
    Merge *merge_memory;                // in order of rank: the one learnt first has rank 0
    int *merge_table_memory;            // hash table of merges: ranks, -1 empty
    uint64_t merge_mask;

    // added tokens
    TrieNode *trie_memory;              // their bytes; node 0 is the root
    size_t num_trie, trie_capacity;
    int has_raw, has_normalized;        // are there any to find before, after normalization

    unsigned char *class_memory;        // (CLASS_END) CLASS_ of each character
    EncodeScratch *scratch_memory;      // so one thread at a time may encode
} Tokenizer;

/* GPT-2's alphabet, in which tokenizer.json writes pieces: a printable character for every byte.
 * The bytes 33..126, 161..172 and 174..255 are themselves, the other 68 are characters 256..323. */
enum { NUM_PRINTABLE = 188 };
typedef struct {
    uint32_t code[256];                 // the character of each byte
    unsigned char order[256];           // the bytes, the printable ones first: order of their ids
} Alphabet;

int  tokenizer_learn(Tokenizer *t, const char *text, const size_t *end, size_t n, int vocab_size);
void tokenizer_free(Tokenizer *t);

// texts to ids and back; both append
int tokenizer_encode(const Tokenizer *t, const char *text, size_t len, int **ids, size_t *count,
                     size_t *capacity);
int tokenizer_decode(const Tokenizer *t, const int *ids, size_t n, Buffer *out);

// the bytes of a piece, and the special token that is written out at the beginning of a text
const char *tokenizer_piece(const Tokenizer *t, int id);
size_t tokenizer_piece_len(const Tokenizer *t, int id);
int    tokenizer_is_added(const Tokenizer *t, int id);
int    tokenizer_find(const Tokenizer *t, const char *s, size_t n);   // the id of a piece, or -1
int    tokenizer_special_at(const Tokenizer *t, const char *s, size_t n);

// what files/tokenizer_json.c makes a tokenizer with, and reads one with
int  tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges);
int  tokenizer_add_piece(Tokenizer *t, const char *s, size_t n, int flags);
void tokenizer_add_merge(Tokenizer *t, int left, int right, int id);
int  tokenizer_add_to_trie(Tokenizer *t, int id, const char *what);
void tokenizer_find_ids(Tokenizer *t);
int  tokenizer_find_in_vocab(const Tokenizer *t, const char *s, size_t n);
int  tokenizer_find_merge(const Tokenizer *t, int left, int right);
Alphabet alphabet_make(void);
int  alphabet_byte(const Alphabet *a, uint32_t code);

// ---------------------------------------------------------------------------- characters and words

// Is a character a letter, a number, white space?  The table of them ends this file.
enum { CLASS_OTHER, CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE, NUM_CLASSES };
enum { CLASS_END = 0x323b0 };           // from here on all characters are CLASS_OTHER
static void read_classes(unsigned char class[CLASS_END]);

// The class of the character at s, and its length; a byte that is not UTF-8 is a character too.
static int class_at(const Tokenizer *t, const char *s, size_t n, size_t *len) {
    *len = 1;
    if (!(*s & 0x80)) return t->class_memory[(unsigned char)*s];
    uint32_t code;
    const int decoded = utf8_decode(s, n, &code);
    if (!decoded) return CLASS_OTHER;
    *len = (size_t)decoded;
    return code < CLASS_END ? t->class_memory[code] : CLASS_OTHER;
}

// The length of the English ending, such as 's, that s begins with; 0 if there is none.
static size_t ending_len(const char *s, size_t n) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    if (*s != '\'') return 0;
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
        const size_t len = strlen(endings[k]);
        if (len <= n && !memcmp(s, endings[k], len)) return len;
    }
    return 0;
}

/* Where the word that begins at i ends; n is the end of the text.  GPT-2's pattern, in which the
 * first alternative that matches is taken:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t word_end(const Tokenizer *t, const char *s, size_t i, size_t n) {
    // 's|'t|'re|'ve|'m|'ll|'d
    const size_t ending = ending_len(s + i, n - i);
    if (ending) return i + ending;

    //  ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+      one space may stand before a run of another class
    size_t len, at = i;
    int class = class_at(t, s + i, n - i, &len);
    if (s[i] == ' ' && n - i > 1) {
        const int next = class_at(t, s + i + 1, n - i - 1, &len);
        if (next != CLASS_SPACE) {
            class = next;
            at = i + 1;
        }
    }
    size_t last = i;                                      // where the run's last character begins
    while (at < n && class_at(t, s + at, n - at, &len) == class) {
        last = at;
        at += len;
    }
    if (class != CLASS_SPACE) return at;

    // \s+(?!\S)      white space before something else leaves its last character to that
    if (at < n && last > i) return last;

    // \s+
    return at;
}

static int is_printable(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Both tables of the alphabet, as GPT-2's bytes_to_unicode makes them.
Alphabet alphabet_make(void) {
    Alphabet a;
    int printable = 0, other = 0;
    for (int b = 0; b < 256; b++) {
        if (is_printable(b)) {
            a.order[printable++] = (unsigned char)b;
            a.code[b] = (uint32_t)b;
        } else {
            a.order[NUM_PRINTABLE + other] = (unsigned char)b;
            a.code[b] = (uint32_t)(256 + other);
            other++;
        }
    }
    return a;
}

// The byte that a character of the alphabet stands for; -1 for another character.
int alphabet_byte(const Alphabet *a, uint32_t code) {
    if (code < 256) return is_printable((int)code) ? (int)code : -1;
    const uint32_t other = code - 256;
    return other < 256 - NUM_PRINTABLE ? a->order[NUM_PRINTABLE + other] : -1;
}

// ------------------------------------------------------------------------------------------ a heap

// A binary heap: the least item is item[0], the children of i are 2i + 1 and 2i + 2.
static int heap_less(HeapItem a, HeapItem b) {
    return a.rank != b.rank ? a.rank < b.rank : a.item < b.item;
}

static int heap_push(Heap *h, int64_t rank, uint64_t item) {
    if (reserve(&h->item, &h->capacity, h->n + 1, sizeof *h->item) < 0) return -1;
    const HeapItem x = {.rank = rank, .item = item};
    size_t i = h->n++;
    while (i > 0 && heap_less(x, h->item[(i - 1) / 2])) {
        h->item[i] = h->item[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->item[i] = x;
    return 0;
}

static HeapItem heap_pop(Heap *h) {
    const HeapItem top = h->item[0], x = h->item[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2*i + 1;
        if (child >= h->n) break;
        if (child + 1 < h->n && heap_less(h->item[child + 1], h->item[child])) child++;
        if (!heap_less(h->item[child], x)) break;
        h->item[i] = h->item[child];
        i = child;
    }
    h->item[i] = x;
    return top;
}

// ------------------------------------------------------------------------------- pieces and merges

// Piece id is tokenizer_piece_len bytes; they may be any, and no 0 follows them.
const char *tokenizer_piece(const Tokenizer *t, int id) {
    return t->bytes.data + t->start_memory[id];
}

size_t tokenizer_piece_len(const Tokenizer *t, int id) {
    return t->start_memory[id + 1] - t->start_memory[id];
}

// An added token is found in a text as a whole, or, if it is special, not at all.
int tokenizer_is_added(const Tokenizer *t, int id) { return t->flags_memory[id] & PIECE_ADDED; }

static int piece_equals(const Tokenizer *t, int id, const char *s, size_t n) {
    return tokenizer_piece_len(t, id) == n && !memcmp(tokenizer_piece(t, id), s, n);
}

// A multiplicative hash, a byte at a time; no file depends on it.
static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

static uint64_t hash_pair(int left, int right) {
    return random_mix((uint64_t)left << 32 | (uint32_t)right);
}

// Hash tables are open: an entry stands at its hash or in the next free slot, -1 is a free one.
// This makes one of at least 2 n slots, with nothing in it.
static int *table_init(size_t n, uint64_t *mask) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    int *table = allocate(slots, sizeof *table);
    if (table) memset(table, -1, slots * sizeof *table);
    *mask = slots - 1;
    return table;
}

// The slot of the table where the piece s stands or would stand.
static int *piece_slot(const Tokenizer *t, const char *s, size_t n) {
    int *table = t->piece_table_memory;
    uint64_t i = hash_bytes(s, n) & t->piece_mask;
    while (table[i] >= 0 && !piece_equals(t, table[i], s, n)) i = (i + 1) & t->piece_mask;
    return &table[i];
}

static int *merge_slot(const Tokenizer *t, int left, int right) {
    int *table = t->merge_table_memory;
    uint64_t i = hash_pair(left, right) & t->merge_mask;
    for (; table[i] >= 0; i = (i + 1) & t->merge_mask) {
        const Merge *m = &t->merge_memory[table[i]];
        if (m->left == left && m->right == right) break;
    }
    return &table[i];
}

// The id of the piece s, or -1.
int tokenizer_find_in_vocab(const Tokenizer *t, const char *s, size_t n) {
    return *piece_slot(t, s, n);
}

// The rank of a merge, or -1.
int tokenizer_find_merge(const Tokenizer *t, int left, int right) {
    return *merge_slot(t, left, right);
}

// The next id is that of the piece s; returns it, or -1 after fail().
int tokenizer_add_piece(Tokenizer *t, const char *s, size_t n, int flags) {
    assert(t->vocab_size < t->max_vocab);
    if (buffer_append(&t->bytes, s, n) < 0) return -1;
    const int id = t->vocab_size++;
    t->start_memory[id + 1] = t->bytes.len;
    t->flags_memory[id] = (unsigned char)flags;
    if (flags & PIECE_IN_VOCAB) *piece_slot(t, tokenizer_piece(t, id), n) = id;
    return id;
}

void tokenizer_add_merge(Tokenizer *t, int left, int right, int id) {
    assert(t->num_merges < t->max_merges);
    *merge_slot(t, left, right) = t->num_merges;
    t->merge_memory[t->num_merges++] = (Merge){.left = left, .right = right, .id = id};
}

// ------------------------------------------------------------------------------------ added tokens

// The child of a node for the next byte; -1 if no added token goes on so.
static int trie_child(const Tokenizer *t, int at, char byte) {
    int child = t->trie_memory[at].child;
    while (child >= 0 && t->trie_memory[child].byte != (unsigned char)byte) {
        child = t->trie_memory[child].sibling;
    }
    return child;
}

// Enters the added token id; `what` is the file it comes from.
int tokenizer_add_to_trie(Tokenizer *t, int id, const char *what) {
    const char *s = tokenizer_piece(t, id);
    int at = 0;
    for (size_t i = 0; i < tokenizer_piece_len(t, id); i++) {
        int child = trie_child(t, at, s[i]);
        if (child < 0) {
            const size_t need = t->num_trie + 1;
            if (reserve(&t->trie_memory, &t->trie_capacity, need, sizeof(TrieNode)) < 0) return -1;
            child = (int)t->num_trie++;
            t->trie_memory[child] = (TrieNode){.child = -1, .sibling = t->trie_memory[at].child,
                                               .id = -1, .byte = (unsigned char)s[i]};
            t->trie_memory[at].child = child;
        }
        at = child;
    }

    const int other = t->trie_memory[at].id, flags = t->flags_memory[id];
    if (other >= 0) {
        return fail(EX_DATAERR, "%s: the added tokens %d and %d are equal", what, other, id);
    }
    t->trie_memory[at].id = id;
    if (flags & PIECE_SPECIAL) return 0;
    if (flags & PIECE_NORMALIZED) t->has_normalized = 1;
    else t->has_raw = 1;
    return 0;
}

// The longest added token that begins at s and has of the flags in mask just the wanted; or -1.
static int longest_added(const Tokenizer *t, const char *s, size_t n, int mask, int wanted) {
    int best = -1, at = 0;
    for (size_t i = 0; i < n; i++) {
        at = trie_child(t, at, s[i]);
        if (at < 0) break;
        const int id = t->trie_memory[at].id;
        if (id >= 0 && (t->flags_memory[id] & mask) == wanted) best = id;
    }
    return best;
}

// The longest special token that is written out at s, or -1: encoding never looks for these.
int tokenizer_special_at(const Tokenizer *t, const char *s, size_t n) {
    if (!t->num_trie) return -1;                          // an empty tokenizer
    return longest_added(t, s, n, PIECE_SPECIAL, PIECE_SPECIAL);
}

// ----------------------------------------------------------------------------------- start and end

void tokenizer_free(Tokenizer *t) {
    if (t->scratch_memory) {
        free(t->scratch_memory->row);
        free(t->scratch_memory->heap.item);
        normal_form_free(&t->scratch_memory->normal_form);
        buffer_free(&t->scratch_memory->normal);
    }
    free(t->scratch_memory);
    free(t->start_memory);
    free(t->flags_memory);
    free(t->merge_memory);
    free(t->merge_table_memory);
    free(t->piece_table_memory);
    free(t->trie_memory);
    free(t->class_memory);
    buffer_free(&t->bytes);
    memset(t, 0, sizeof *t);
}

// An empty tokenizer with room for so many pieces and merges.  0, or -1 after fail().
int tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges) {
    memset(t, 0, sizeof *t);
    t->eos = t->bos = t->pad = -1;
    memset(t->byte_id, -1, sizeof t->byte_id);
    t->max_vocab = (int)max_vocab;
    t->max_merges = (int)max_merges;
    t->start_memory = allocate(max_vocab + 1, sizeof *t->start_memory);
    t->flags_memory = allocate(max_vocab, 1);
    t->merge_memory = allocate(max_merges, sizeof *t->merge_memory);
    t->merge_table_memory = table_init(max_merges, &t->merge_mask);
    t->piece_table_memory = table_init(max_vocab, &t->piece_mask);
    t->class_memory = allocate(CLASS_END, 1);
    t->scratch_memory = allocate(1, sizeof *t->scratch_memory);
    const int root = reserve(&t->trie_memory, &t->trie_capacity, 1, sizeof(TrieNode));
    if (!t->start_memory || !t->flags_memory || !t->merge_memory || !t->merge_table_memory
        || !t->piece_table_memory || !t->class_memory || !t->scratch_memory || root < 0) {
        tokenizer_free(t);
        return -1;
    }
    t->trie_memory[t->num_trie++] = (TrieNode){.child = -1, .sibling = -1, .id = -1};
    read_classes(t->class_memory);
    return 0;
}

static int added_token(const Tokenizer *t, const char *s, size_t n) {
    for (int id = 0; id < t->vocab_size; id++) {
        if (tokenizer_is_added(t, id) && piece_equals(t, id, s, n)) return id;
    }
    return -1;
}

// An added token of that name comes before a piece of the vocabulary.
int tokenizer_find(const Tokenizer *t, const char *s, size_t n) {
    const int added = added_token(t, s, n);
    return added >= 0 ? added : tokenizer_find_in_vocab(t, s, n);
}

// The id of the first of these names that is an added token, or -1.
static int find_added(const Tokenizer *t, const char *const *name) {
    for (; *name; name++) {
        const int id = added_token(t, *name, strlen(*name));
        if (id >= 0) return id;
    }
    return -1;
}

// The ids of the single bytes and of the well-known names.
void tokenizer_find_ids(Tokenizer *t) {
    static const char *const eos[] = {
        "</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<eos>", "[EOS]",
        "<|end|>", NULL,
    };
    static const char *const bos[] = {"<s>", "<|begin_of_text|>", "<|endoftext|>", NULL};
    static const char *const pad[] = {"<pad>", "<|padding|>", NULL};
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        t->byte_id[b] = tokenizer_find_in_vocab(t, &byte, 1);
    }
    t->eos = find_added(t, eos);
    t->bos = find_added(t, bos);
    t->pad = find_added(t, pad);
    t->ends[0] = t->eos;
    t->num_ends = t->eos >= 0;
}

// ---------------------------------------------------------------------- pieces of a word, in a row

/* Pieces in a row, one int for each byte of the word.  The first byte of a piece holds its id;
 * when it has more bytes, the last one holds minus their number, and those between hold anything
 * below 0, so that both neighbours of a piece are found at once.  EDGE stands before and after a
 * word.  The words "the", of the pieces th and e, and " cat", a piece by itself:
 *
 *     EDGE  id(th) -2  id(e)  EDGE  id(_cat) -1 -1 -4  EDGE */
enum { EDGE = INT_MIN };

// Where the piece begins that stands before the one at p.
static size_t left_of(const int *row, size_t p) {
    return row[p-1] < 0 ? p - (size_t)-row[p-1] : p - 1;
}

// The pieces at p and q, neighbours, become one piece id of len bytes.
static void join(int *row, size_t p, size_t q, int id, size_t len) {
    row[q] = -1;
    row[p + len - 1] = -(int)len;
    row[p] = id;
}

// ---------------------------------------------------------------------------------------- encoding

typedef struct { int **ids; size_t *count, *capacity; } IdList;

static int append_ids(IdList *out, const int *ids, size_t n) {
    if (reserve(out->ids, out->capacity, *out->count + n, sizeof *ids) < 0) return -1;
    memcpy(*out->ids + *out->count, ids, n * sizeof *ids);
    *out->count += n;
    return 0;
}

// If the pieces left, at p, and right can be merged, the heap notes it.
static int note_merge(const Tokenizer *t, size_t p, int left, int right) {
    const int rank = tokenizer_find_merge(t, left, right);
    if (rank < 0) return 0;
    return heap_push(&t->scratch_memory->heap, rank, p);
}

/* May a byte without a piece be left out, as `tokenizers` does?  Not where its file has a piece for
 * the unknown, which would stand there, nor a byte that is in no UTF-8, which it never sees. */
static int may_drop(const Tokenizer *t, unsigned char byte) {
    return !t->has_unknown && byte != 0xc0 && byte != 0xc1 && byte < 0xf5;
}

// The word as a row of single bytes, from row[1] on, and the merges that can be done in it.  *laid
// is their number.
static int lay_word(const Tokenizer *t, const char *s, size_t n, size_t *laid) {
    EncodeScratch *w = t->scratch_memory;
    if (n > INT_MAX / 2) {
        return fail(EX_DATAERR, "a word of %zu bytes is too long to encode", n);
    }
    if (reserve(&w->row, &w->row_capacity, n + 2, sizeof *w->row) < 0) return -1;
    w->heap.n = 0;
    w->row[0] = EDGE;
    size_t p = 1;
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)s[i];
        const int id = t->byte_id[byte];
        if (id < 0 && may_drop(t, byte)) continue;
        if (id < 0) return fail(EX_DATAERR, "the tokenizer has no piece for the byte 0x%02x", byte);
        w->row[p] = id;
        if (p > 1 && note_merge(t, p - 1, w->row[p-1], id) < 0) return -1;
        p++;
    }
    w->row[p] = EDGE;
    *laid = p - 1;
    return 0;
}

/* Does the merges of the row: of those that can be done the one that was learnt first, and of equal
 * ones the leftmost, until none is left.  By a heap: n log n for a word of n bytes. */
static int merge_word(const Tokenizer *t) {
    EncodeScratch *w = t->scratch_memory;
    int *row = w->row;
    while (w->heap.n) {
        const HeapItem top = heap_pop(&w->heap);
        const Merge *m = &t->merge_memory[top.rank];
        const size_t p = (size_t)top.item, q = p + tokenizer_piece_len(t, m->left);
        if (row[p] != m->left || row[q] != m->right) continue;    // one was merged with another
        const size_t len = tokenizer_piece_len(t, m->id);
        join(row, p, q, m->id, len);

        // the new piece may merge with its neighbours
        if (row[p-1] != EDGE) {
            const size_t left = left_of(row, p);
            if (note_merge(t, left, row[left], m->id) < 0) return -1;
        }
        if (row[p + len] != EDGE && note_merge(t, p, m->id, row[p + len]) < 0) return -1;
    }
    return 0;
}

// Where a word stands in the cache if it has been encoded lately; NULL: it is too long for it.
static CachedWord *cache_slot(const Tokenizer *t, const char *s, size_t n) {
    if (n > CACHE_WORD) return NULL;
    const uint64_t hash = hash_bytes(s, n);
    return &t->scratch_memory->cache[(hash ^ hash >> 20) % CACHE_SLOTS];
}

// The ids of one word.
static int encode_word(const Tokenizer *t, const char *s, size_t n, IdList *out) {
    CachedWord *cached = cache_slot(t, s, n);
    if (cached && cached->len == n && !memcmp(cached->word, s, n)) {
        return append_ids(out, cached->id, cached->count);
    }
    size_t laid = 0;
    if (lay_word(t, s, n, &laid) < 0 || merge_word(t) < 0) return -1;

    // the ids move to the front of the row
    int *row = t->scratch_memory->row;
    size_t count = 0, p = 1;
    while (p <= laid) {
        const int id = row[p];
        row[count++] = id;
        p += tokenizer_piece_len(t, id);
    }
    if (cached && count <= CACHE_IDS) {
        cached->len = (unsigned char)n;
        cached->count = (unsigned char)count;
        memcpy(cached->word, s, n);
        memcpy(cached->id, row, count * sizeof *row);
    }
    return append_ids(out, row, count);
}

// The last pass: cuts words and encodes each.
static int encode_words(const Tokenizer *t, const char *s, size_t n, IdList *out) {
    size_t i = 0;
    while (i < n) {
        const size_t end = word_end(t, s, i, n);
        if (encode_word(t, s + i, end - i, out) < 0) return -1;
        i = end;
    }
    return 0;
}

// A text is cut at added tokens that are not "normalized"; what stands between them is put in
// normal form and cut at those that are, then in words.
enum { PASS_RAW, PASS_NORMALIZED, PASS_WORDS };

// Added tokens of this pass become ids; what stands between them is for the next pass.
static int encode_pass(const Tokenizer *t, const char *s, size_t n, int pass, IdList *out) {
    if (pass == PASS_WORDS) return encode_words(t, s, n, out);
    const int any = pass == PASS_RAW ? t->has_raw : t->has_normalized;
    const int wanted = pass == PASS_RAW ? 0 : PIECE_NORMALIZED;
    size_t from = 0, i = 0;                               // what stands before `from` is encoded
    if (pass == PASS_NORMALIZED && t->nfc) {
        Buffer *normal = &t->scratch_memory->normal;
        normal->len = 0;
        if (normal_form_apply(&t->scratch_memory->normal_form, s, n, normal) < 0) return -1;
        s = normal->data;
        n = normal->len;
    }
    while (any && i < n) {
        const int id = longest_added(t, s + i, n - i, PIECE_SPECIAL | PIECE_NORMALIZED, wanted);
        if (id < 0) {
            i++;
            continue;
        }
        if (encode_pass(t, s + from, i - from, pass + 1, out) < 0) return -1;
        if (append_ids(out, &id, 1) < 0) return -1;
        i += tokenizer_piece_len(t, id);
        from = i;
    }
    return encode_pass(t, s + from, n - from, pass + 1, out);
}

// Appends the ids of a text to *ids.  Nothing is put before or after them.  0, or -1 after fail().
int tokenizer_encode(const Tokenizer *t, const char *text, size_t len, int **ids, size_t *count,
                     size_t *capacity) {
    IdList out = {.ids = ids, .count = count, .capacity = capacity};
    return encode_pass(t, text, len, PASS_RAW, &out);
}

// Appends the bytes of the pieces to out.  0, or -1 after fail().
int tokenizer_decode(const Tokenizer *t, const int *ids, size_t n, Buffer *out) {
    for (size_t i = 0; i < n; i++) {
        const int id = ids[i];
        if (id < 0 || id >= t->vocab_size) {
            return fail(EX_DATAERR, "no piece has the id %d: the vocabulary has %d", id,
                        t->vocab_size);
        }
        if (buffer_append(out, tokenizer_piece(t, id), tokenizer_piece_len(t, id)) < 0) return -1;
    }
    return 0;
}

// ---------------------------------------------------------------------------------------- learning

/* Sennrich et al. 2016, algorithm 1, with the counts kept instead of counted again:
 *
 *     count the words of the text                                                   count_words
 *     count the pairs of neighbours in them                                         lay_words
 *     repeat: the most frequent pair becomes a merge and a piece                    learn_merges
 *             it is joined wherever it stands; the counts of its neighbours change  join_everywhere
 *
 * A pair keeps the list of its places, so that a merge costs as much as it changes.  The heap of
 * pairs is lazy: a count that became smaller is noticed when its pair comes to the top. */

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
            const size_t next = word_end(t, text, at, end[d]);
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
        join(row, p, q, id, len);
        l->pair[k].count -= count;
        if (row[p-1] != EDGE) {
            const size_t x = left_of(row, p);
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

// --------------------------------------------------------------------------- classes of characters

/* The classes of Unicode 16.0.0, printed by scripts/unicode_tables.py, as runs: n characters of
 * one class k are the number 4 n + k. */
static const char class_runs[] =
    "T1GX27l1Z1LY3HY3X17X37T15L:45<654>4m24m34Yi1@a1h1EL545T@E498A45H54=454a24]:4]AP1iD4i485HU5l8"
    "]3@Ad5]5d2Z1@94]<45l19L9Z1=85P254i3d3U;\\15h1Z1U4T19@5Di2@5T15<5l2U3L]1DQ34IT2Y5X7i6<5X25LY1"
    "@Z14Q2@Q1898i24M45<A<5P25d194=@Z198J85P1I@98i24M494949l3A45LZ18=P2U14=4i24M494E<5X25l19@Z1T1"
    "5\\1Q1898i24M494E<5h394=@Z145J\\154I<=4A<94549<9<=<a1h25d2f1X2Q14=4m24Q2<5X3=8589@Z1P1N45@Q1"
    "4=4m24Y14E<5l3949@Z149T2U14=4U585P25D=4N=@^24IDY2<Q34U1458Ml3Z1T2Q649`1MT1Z1l49454E4Q3454Y14"
    "9T158E45T1Z18AP45l3b2`1Q14a4\\3E\\>]5`25Z1HI@A<5<9L=@e1`154Z1Hi445D58]54eY14A8M454A8U54A8U44"
    "A8M454A8m14U74A8]8h1b2<Q2P2i:8I<a]28U27Y3D]9<>Q1LY2d1]2h1Y2h1e14=l1a6\\45@5<Z1HZ1h2Z1HU;LE8Y"
    "445Di8X1m3l4Z1i38E\\1a5@Y3H^1d4m2T1e6\\5Z1HZ1d15d;m5T2Q1<Z1T5i3d19Z1a5X3a4`3Z1<=Z1a48]1D]58="
    "T5A4I49<5DQHP8iR18I8i48I8Q14545454m38e64M45<=4M<A8I@e1D=4M<_1d3;D7l57P2658JD5Z1He1d<5@58Y145"
    "<EH545454A4]18ADE@54^69Fhj2b7h9j2h^2j3`]4eLHA<9T168i445D58Q7L5P2m2T1M4M4M4M4M4M4M4MP:5Pj17@9"
    "6T3V1LE8>9@i:H=4Y;4AD]54i;<BX1Q4P6Q2P4Z1h3R14n1P4Z1l4n1PX1QhIP8eaf2\\8i58eQ1<Q2Z19`2m5P2m38i"
    "8Z1l4U18m<8]889454Q1d2Q24=4A4m2d1JX1a6h1Y6`3Z1P3I<5494Z1a3X1m2T3e3Lm5`35Z1HE4Y1Z1E4U5l2=4Q1@"
    "Z1Hm2<5<Y645<98E8545P3=8]1L=`1I8I8IT1M4M4]54i1H]>d1Z1Had[1`1m2@U6`PQ1i]18Y=h4M`1ED54Y14e14E4"
    "549494a=T4]]1X2Q88i6P5a1`>E4m@\\2Z1LY3HY3\\1U;<I8I8I8=\\4a14Y34]2494m18i1X4]\?`1f5`1V7T2:`Ne"
    "3<U6P2^3@Q4BT1a26Q16Di4X1i38a4@Q14FX5iC8Z1Ha4@a4@Q5P1a6`1]14m14M494]14m14M49<a6`1mV1T1i2X1Q1"
    "P3I4Y54U1d8I854a549<58m28R1m28Nm3P1V1P6]249DFi2J@Y3h8Q7@:9R28j55l1A4=4e3X1V1l2e3:4e3>P4Q14a3"
    "HFP2i6X1i28R1]2DR1Y2l2NP:U9l6]6d1]6LJa4`1Z1HZ1a3T1m2XKn34Y5H9P2=\\7e3Z15P1i2\\1B\\3Y2h5e2N`2"
    "m2`1e6X3j34985d1e5P4U3LZ1T1a4l1Z1@585P1]4<5`1Q6h1A\\1Z1545@b2\\1Y24U3\\29l7M454A4m14Y1Lm5T2Z"
    "1\\1Q1898i24M494E<5X25`1Eh3Y145854i445T3545`5e6X2ADZ1D=h3Q6`2945P1Z1hDm5T5A`4Q6`25\\1Z1h4]5d"
    "15LZ1Hb2`3]3d2b1@MTGa5`>Q8^2`1Q1858Q1494Q3l1545h1Z1h8Q18m4P2545`35X1Q5L5d25\\1i5\\25X2U9lHU4"
    "l1Z1HU14e4T25l1f3Di3P>M494i4d25T1Z1HI494Q4h15LZ1hV1]2l154e14Y4`3Z1h:5l1f2\\5Yc3h<n=T2aH`Y:U<"
    "l1QV4T2IT3]c\?DmX2TgJi3X2Z1hh6UW2Lm34Z1Hm94Z1Hi3X2Q6P2A`1Z14N4e2D]2Pf1e5<Z1hHQ8n2T=]9D5X8e1P"
    "8945`3QoGP1ij4T5Y1llR1A4M494]T1l15d3=85h1AP1aa1`P9]=De1<U1LY1hZ@Z1hh5b2`1b2`=V3l@e:4m8498589"
    "8A4a1454M4U84A8Q14M4a34A4E45<M4aZ18U34U34m34U34m34U34m34U34m34U34Q18Z6PP7m3HIdP1i7XBe5X1M8Z1"
    "@5TX1i3X2a5@Z1hj1a3@Z1hJi385Z1dl1M4A494m14eH8V1P6a8L5@Z1lR3^74>4B`9f54n1XHA4]34945854Y14A454"
    "5H5@545454=4945854545454549458A4M4A4A454Y14U2D=4E4U2`X2f1\\l:Z1hP4QlV5P4YW@HiK8Y`Fh1UVMl1i]2"
    "Xd9iS2Xl5]YCDQ\\@";

static void read_classes(unsigned char class[CLASS_END]) {
    size_t at = 0;
    const char *p = class_runs;
    while (*p) {
        const size_t number = unicode_number(&p), n = number / NUM_CLASSES;
        memset(class + at, (int)(number % NUM_CLASSES), n);
        at += n;
    }
    assert(at == CLASS_END);
}

#endif

/* tokenizer.c - byte-level byte pair encoding (BPE), as in GPT-2: encode and decode texts, learn a
 * vocabulary, read and write Hugging Face's tokenizer.json.
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
 * What is written gives the same ids in the Python package `tokenizers`.  One difference remains:
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

int  tokenizer_load(Tokenizer *t, const char *path);                  // from a tokenizer.json
int  tokenizer_json(const Tokenizer *t, Buffer *out);                 // to one
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

/* GPT-2's alphabet, in which tokenizer.json writes pieces: a printable character for every byte.
 * The bytes 33..126, 161..172 and 174..255 are themselves, the other 68 are characters 256..323. */
enum { NUM_PRINTABLE = 188 };
typedef struct {
    uint32_t code[256];                 // the character of each byte
    unsigned char order[256];           // the bytes, the printable ones first: order of their ids
} Alphabet;

static int is_printable(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Both tables of the alphabet, as GPT-2's bytes_to_unicode makes them.
static Alphabet byte_alphabet(void) {
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
static int alphabet_byte(const Alphabet *a, uint32_t code) {
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
static int find_piece(const Tokenizer *t, const char *s, size_t n) {
    return *piece_slot(t, s, n);
}

// The rank of a merge, or -1.
static int find_merge(const Tokenizer *t, int left, int right) {
    return *merge_slot(t, left, right);
}

// The next id is that of the piece s; returns it, or -1 after fail().
static int add_piece(Tokenizer *t, const char *s, size_t n, int flags) {
    assert(t->vocab_size < t->max_vocab);
    if (buffer_append(&t->bytes, s, n) < 0) return -1;
    const int id = t->vocab_size++;
    t->start_memory[id + 1] = t->bytes.len;
    t->flags_memory[id] = (unsigned char)flags;
    if (flags & PIECE_IN_VOCAB) *piece_slot(t, tokenizer_piece(t, id), n) = id;
    return id;
}

static void add_merge(Tokenizer *t, int left, int right, int id) {
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
static int add_to_trie(Tokenizer *t, int id, const char *what) {
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
static int tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges) {
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
    return added >= 0 ? added : find_piece(t, s, n);
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
static void find_ids(Tokenizer *t) {
    static const char *const eos[] = {
        "</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<eos>", "[EOS]",
        "<|end|>", NULL,
    };
    static const char *const bos[] = {"<s>", "<|begin_of_text|>", "<|endoftext|>", NULL};
    static const char *const pad[] = {"<pad>", "<|padding|>", NULL};
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        t->byte_id[b] = find_piece(t, &byte, 1);
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
    const int rank = find_merge(t, left, right);
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
    size_t laid;
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
        if (find_piece(t, joined.data, joined.len) >= 0) continue;    // made of others before
        const int id = add_piece(t, joined.data, joined.len, PIECE_IN_VOCAB);
        if (id < 0) goto done;
        add_merge(t, left, right, id);
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
    const Alphabet alphabet = byte_alphabet();
    for (int id = 0; id < FIRST_BYTE; id++) {
        if (add_piece(t, special[id], strlen(special[id]), flags) < 0) return -1;
        if (add_to_trie(t, id, "tokenizer") < 0) return -1;
    }
    for (int i = 0; i < 256; i++) {
        const char byte = (char)alphabet.order[i];
        if (add_piece(t, &byte, 1, PIECE_IN_VOCAB) < 0) return -1;
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
    find_ids(t);
    if (count_words(&l, t, text, end, n) < 0) goto done;
    if (lay_words(&l, t) < 0 || learn_merges(&l, t) < 0) goto done;
    result = 0;

done:
    learner_free(&l);
    if (result < 0) tokenizer_free(t);
    return result;
}

// -------------------------------------------------------------------------- reading tokenizer.json

// Is every character of s one of GPT-2's alphabet?  s is UTF-8, or json_parse had refused it.
static int is_in_alphabet(const Alphabet *alphabet, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t code = 0;
        i += (size_t)utf8_decode(s + i, n - i, &code);
        if (alphabet_byte(alphabet, code) < 0) return 0;
    }
    return 1;
}

// Appends the bytes that s, in the alphabet, stands for.
static int append_bytes(Buffer *out, const Alphabet *alphabet, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t code = 0;
        i += (size_t)utf8_decode(s + i, n - i, &code);
        const char byte = (char)alphabet_byte(alphabet, code);
        if (buffer_append(out, &byte, 1) < 0) return -1;
    }
    return 0;
}

// Is this part of that type?
static int is_type(const Json *j, int part, const char *type) {
    return json_equal(j, json_get(j, part, "type"), type);
}

// Appends the type of a part, and of a Sequence those of its members.
static int append_type(Buffer *out, const Json *j, int part, const char *members) {
    const int type = json_get(j, part, "type"), list = json_get(j, part, members);
    const int is_named = json_type(j, type) == JSON_STRING;
    const char *name = is_named ? json_string(j, type) : "without a type";
    if (buffer_printf(out, "%.40s", name) < 0) return -1;
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (buffer_printf(out, i == json_first(j, list) ? " of " : ", ") < 0) return -1;
        if (append_type(out, j, i, members) < 0) return -1;
    }
    return 0;
}

// A part such as the normalizer that is not what we know: refused by its types.
static int refuse_part(const Json *j, int part, const char *name, const char *members,
                       const char *known, const char *path) {
    Buffer types = {0};
    if (append_type(&types, j, part, members) == 0) {
        fail(EX_DATAERR, "%s: the %s is %.200s; only %s is known here", path, name, types.data,
             known);
    }
    buffer_free(&types);
    return -1;
}

// The only part of a Sequence of one; else the part itself.
static int single_part(const Json *j, int part, const char *members) {
    const int list = json_get(j, part, members);
    return is_type(j, part, "Sequence") && json_count(j, list) == 1 ? json_first(j, list) : part;
}

// The model: BPE, and of its keys only those that are read here or switched off.
static int check_model(const Json *j, const char *path) {
    static const char *const known[] = {
        "type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback",
    };
    const int model = json_get(j, 0, "model");
    if (json_type(j, model) != JSON_OBJECT) {
        return fail(EX_DATAERR, "%s: it has no \"model\" object", path);
    }
    if (json_get(j, model, "type") >= 0 && !is_type(j, model, "BPE")) {
        return refuse_part(j, model, "model", "", "BPE", path);
    }
    for (int i = json_first(j, model); i >= 0; i = json_next(j, i)) {
        const int is_zero = json_type(j, i) == JSON_NUMBER && json_number(j, i) == 0;
        int is_known = json_off(j, i) || is_zero;         // "dropout" may be 0
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            if (!strcmp(known[k], json_key(j, i))) is_known = 1;
        }
        if (!is_known) {
            return fail(EX_DATAERR, "%s: the model has %.40s, which is not known here", path,
                        json_key(j, i));
        }
    }
    return 0;
}

// NFC, none, or a Sequence of such.
static int check_normalizer(Tokenizer *t, const Json *j, int part, const char *path) {
    if (json_type(j, part) <= JSON_NULL) return 0;
    if (is_type(j, part, "NFC")) {
        if (!t->nfc && normal_form_init(&t->scratch_memory->normal_form) < 0) return -1;
        t->nfc = 1;
        return 0;
    }
    const int list = json_get(j, part, "normalizers");
    if (!is_type(j, part, "Sequence") || json_type(j, list) != JSON_ARRAY) {
        return refuse_part(j, part, "normalizer", "normalizers", "NFC", path);
    }
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        if (check_normalizer(t, j, i, path) < 0) return -1;
    }
    return 0;
}

// The pre_tokenizer cuts words: ByteLevel with GPT-2's pattern, alone or in a sequence of one.
static int check_pre_tokenizer(const Json *j, const char *path) {
    const char *members = "pretokenizers", *name = "pre_tokenizer";
    const int whole = json_get(j, 0, name), part = single_part(j, whole, members);
    if (!is_type(j, part, "ByteLevel")) {
        return refuse_part(j, whole, name, members, "ByteLevel alone", path);
    }
    if (json_type(j, json_get(j, part, "add_prefix_space")) != JSON_FALSE) {
        return fail(EX_DATAERR, "%s: the pre_tokenizer has add_prefix_space, which is not known "
                    "here", path);
    }
    const int use_regex = json_get(j, part, "use_regex");
    if (use_regex >= 0 && json_type(j, use_regex) != JSON_TRUE) {
        return fail(EX_DATAERR, "%s: the pre_tokenizer has use_regex false, which is not known "
                    "here", path);
    }
    return 0;
}

// All parts but the pieces and merges.
static int check_parts(Tokenizer *t, const Json *j, const char *path) {
    const int decoder = json_get(j, 0, "decoder");
    if (check_model(j, path) < 0) return -1;
    if (check_normalizer(t, j, json_get(j, 0, "normalizer"), path) < 0) return -1;
    if (check_pre_tokenizer(j, path) < 0) return -1;
    if (is_type(j, single_part(j, decoder, "decoders"), "ByteLevel")) return 0;
    return refuse_part(j, decoder, "decoder", "decoders", "ByteLevel", path);
}

typedef struct {                        // a piece that the files name
    const char *name;                   // NULL: none has this id
    size_t len;
    int flags;                          // PIECE_ flags
} NamedPiece;

typedef struct {
    NamedPiece *piece;                  // (n) by id, with room for all
    size_t n;
    int64_t in_vocab, last_added;       // pieces of the vocabulary; the largest id of the others
} NamedPieces;

static int same_name(const NamedPiece *p, const char *name, size_t len) {
    return p->name && p->len == len && !memcmp(p->name, name, len);
}

// The vocabulary uses each id once.
static int collect_vocab(NamedPieces *p, const Json *j, const char *path) {
    const int vocab = json_get(j, json_get(j, 0, "model"), "vocab");
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        int64_t id;
        if (!json_integer(j, i, &id) || id < 0 || (size_t)id >= p->n || p->piece[id].name) {
            return fail(EX_DATAERR, "%s: the id of \"%.40s\" is not one of 0 to %zu, each used "
                        "once", path, json_key(j, i), p->n - 1);
        }
        p->piece[id] = (NamedPiece){.name = json_key(j, i), .len = json_key_length(j, i),
                                    .flags = PIECE_IN_VOCAB};
    }
    return 0;
}

// The flags of an added token: {"content": "<|endoftext|>", "special": true, ...}
static int added_flags(const Json *j, int token) {
    static const struct { const char *name; int flag; } options[] = {
        {.name = "special",     .flag = PIECE_SPECIAL},
        {.name = "normalized",  .flag = PIECE_NORMALIZED},
        {.name = "lstrip",      .flag = PIECE_LSTRIP},
        {.name = "rstrip",      .flag = PIECE_RSTRIP},
        {.name = "single_word", .flag = PIECE_SINGLE_WORD},
    };
    int flags = PIECE_ADDED;
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        const int option = json_get(j, token, options[k].name);
        if (json_type(j, option) == JSON_TRUE) flags |= options[k].flag;
    }
    return flags;
}

// The id of the piece of that name, which should be `id`; -1: there is none.
static int64_t named_id(const NamedPieces *p, const char *name, size_t len, int64_t id) {
    if (id >= 0 && id < (int64_t)p->n && same_name(&p->piece[id], name, len)) return id;
    for (size_t i = 0; i < p->n; i++) {
        if (same_name(&p->piece[i], name, len)) return (int64_t)i;
    }
    return -1;
}

/* An added token.  `tokenizers` does not take the id that the file says: it is that of a piece with
 * the same name, or else the next after the vocabulary and the tokens added before.  So they must
 * be one.                                                                                        */
static int collect_added_token(NamedPieces *p, const char *name, size_t len, int64_t id, int flags,
                               const char *path) {
    if (!len || len > MAX_ADDED) {
        return fail(EX_DATAERR, "%s: an added token is empty or more than %d bytes", path,
                    MAX_ADDED);
    }
    const int64_t next = p->last_added < p->in_vocab ? p->in_vocab : p->last_added + 1;
    const int64_t named = named_id(p, name, len, id), given = named >= 0 ? named : next;
    if (id != given) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has the id %" PRId64 ", but other "
                    "programs read it as %" PRId64 ": save the tokenizer again with "
                    "save_pretrained", path, name, id, given);
    }
    const int unknown = flags & (PIECE_LSTRIP | PIECE_RSTRIP | PIECE_SINGLE_WORD);
    if (unknown && !(flags & PIECE_SPECIAL)) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has lstrip, rstrip or single_word, "
                    "which are not known here", path, name);
    }
    NamedPiece *piece = &p->piece[id];
    if (piece->flags & PIECE_ADDED) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" is there twice", path, name);
    }
    if (piece->name && !same_name(piece, name, len)) {
        return fail(EX_DATAERR, "%s: the added token \"%.40s\" has the id of the piece \"%.40s\"",
                    path, name, piece->name);
    }
    *piece = (NamedPiece){.name = name, .len = len, .flags = piece->flags | flags};
    if (id >= (int64_t)p->n) p->n = (size_t)id + 1;
    if (id > p->last_added) p->last_added = id;
    return 0;
}

// Those of tokenizer.json.
static int collect_added_tokens(NamedPieces *p, const Json *j, const char *path) {
    const int added = json_get(j, 0, "added_tokens");
    for (int i = json_first(j, added); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        int64_t id = -1;
        json_integer(j, json_get(j, i, "id"), &id);
        if (collect_added_token(p, json_string(j, content), json_length(j, content), id,
                                added_flags(j, i), path) < 0) return -1;
    }
    return 0;
}

// A token that another file of the folder adds, if tokenizer.json has not.
static int collect_further_token(NamedPieces *p, const char *name, size_t len, int64_t id,
                                 int flags, const char *path) {
    const int64_t named = named_id(p, name, len, id);
    if (named >= 0 && named == id && p->piece[id].flags & PIECE_ADDED) return 0;
    return collect_added_token(p, name, len, id, flags, path);
}

// "added_tokens_decoder" of tokenizer_config.json: {"50257": {"content": "<|user|>", ...}, ...}
static int collect_from_settings(NamedPieces *p, const Json *j) {
    const char *path = "tokenizer_config.json";
    const int list = json_get(j, 0, "added_tokens_decoder");
    for (int i = json_first(j, list); i >= 0; i = json_next(j, i)) {
        const int content = json_get(j, i, "content");
        const int64_t id = strtoll(json_key(j, i), NULL, 10);
        if (collect_further_token(p, json_string(j, content), json_length(j, content), id,
                                  added_flags(j, i), path) < 0) return -1;
    }
    return 0;
}

// The older added_tokens.json: {"<|user|>": 50257, ...}
static int collect_from_list(NamedPieces *p, const Json *j) {
    const char *path = "added_tokens.json";
    for (int i = json_first(j, 0); i >= 0; i = json_next(j, i)) {
        int64_t id = -1;
        json_integer(j, i, &id);
        if (collect_further_token(p, json_key(j, i), json_key_length(j, i), id,
                                  PIECE_ADDED | PIECE_NORMALIZED, path) < 0) return -1;
    }
    return 0;
}

typedef struct {                        // the files of a folder; all but the first may be empty
    Json tokenizer, settings, added;    // tokenizer.json, tokenizer_config.json, added_tokens.json
    const char *path;                   // of the first
} TokenizerFiles;

// added_tokens.json is read where tokenizer_config.json has no list of its own.
static int collect_pieces(NamedPieces *p, const TokenizerFiles *f) {
    if (collect_vocab(p, &f->tokenizer, f->path) < 0) return -1;
    if (collect_added_tokens(p, &f->tokenizer, f->path) < 0) return -1;
    if (json_get(&f->settings, 0, "added_tokens_decoder") >= 0) {
        return collect_from_settings(p, &f->settings);
    }
    return collect_from_list(p, &f->added);
}

// Is the name of an added token in the form that a text is put in before it is looked for?
static int check_normal(const Tokenizer *t, const NamedPiece *piece, const char *path) {
    Buffer *normal = &t->scratch_memory->normal;
    if (!t->nfc || !(piece->flags & PIECE_NORMALIZED)) return 0;
    normal->len = 0;
    if (normal_form_apply(&t->scratch_memory->normal_form, piece->name, piece->len, normal) < 0) {
        return -1;
    }
    if (normal->len == piece->len && !memcmp(normal->data, piece->name, piece->len)) return 0;
    return fail(EX_DATAERR, "%s: the added token \"%.40s\" is not in normal form C", path,
                piece->name);
}

// Added tokens are named as they are, the others in GPT-2's alphabet; an id that has no name is a
// piece that never occurs.
static int read_pieces(Tokenizer *t, const NamedPieces *p, const char *path) {
    const Alphabet alphabet = byte_alphabet();
    Buffer bytes = {0};
    int result = -1;
    for (size_t i = 0; i < p->n; i++) {
        const NamedPiece *piece = &p->piece[i];
        if (!piece->name || piece->flags & PIECE_ADDED) {
            if (add_piece(t, piece->name, piece->len, piece->flags) < 0) goto done;
            if (piece->name && check_normal(t, piece, path) < 0) goto done;
            if (piece->name && add_to_trie(t, (int)i, path) < 0) goto done;
            continue;
        }
        if (!piece->len || !is_in_alphabet(&alphabet, piece->name, piece->len)) {
            fail(EX_DATAERR, "%s: the piece \"%.40s\" is not in GPT-2's byte alphabet", path,
                 piece->name);
            goto done;
        }
        bytes.len = 0;
        if (append_bytes(&bytes, &alphabet, piece->name, piece->len) < 0) goto done;
        if (add_piece(t, bytes.data, bytes.len, piece->flags) < 0) goto done;
    }
    result = 0;

done:
    buffer_free(&bytes);
    return result;
}

typedef struct {                        // a merge as the file writes it, in the alphabet
    const char *a, *b;
    size_t len_a, len_b;                // 0: not two pieces
} WrittenMerge;

// "a b" or ["a", "b"]
static WrittenMerge split_merge(const Json *j, int node) {
    WrittenMerge m = {.a = json_string(j, node), .b = ""};
    if (json_count(j, node) == 2) {
        const int first = json_first(j, node), second = json_next(j, first);
        m.a = json_string(j, first);
        m.b = json_string(j, second);
        m.len_a = json_length(j, first);
        m.len_b = json_length(j, second);
        return m;
    }
    const char *space = memchr(m.a, ' ', json_length(j, node));
    if (!space) return m;
    m.b = space + 1;
    m.len_a = (size_t)(space - m.a);
    m.len_b = json_length(j, node) - m.len_a - 1;
    return m;
}

// a, b and ab are pieces.  `bytes` is scratch.
static int read_merge(Tokenizer *t, const WrittenMerge *m, const Alphabet *alphabet, Buffer *bytes,
                      const char *path) {
    int left = -1, right = -1, id = -1;
    if (m->len_a && m->len_b && is_in_alphabet(alphabet, m->a, m->len_a)
        && is_in_alphabet(alphabet, m->b, m->len_b)) {
        bytes->len = 0;
        if (append_bytes(bytes, alphabet, m->a, m->len_a) < 0) return -1;
        const size_t split = bytes->len;
        if (append_bytes(bytes, alphabet, m->b, m->len_b) < 0) return -1;
        left = find_piece(t, bytes->data, split);
        right = find_piece(t, bytes->data + split, bytes->len - split);
        id = find_piece(t, bytes->data, bytes->len);
    }
    if (left < 0 || right < 0 || id < 0 || find_merge(t, left, right) >= 0) {
        return fail(EX_DATAERR, "%s: merge %d, \"%.40s\", is not two pieces that make a third, or "
                    "stands twice", path, t->num_merges, m->a);
    }
    add_merge(t, left, right, id);
    return 0;
}

// All merges, the one learnt first is the first.
static int read_merges(Tokenizer *t, const Json *j, int merges, const char *path) {
    const Alphabet alphabet = byte_alphabet();
    Buffer bytes = {0};
    int result = 0;
    for (int i = json_first(j, merges); i >= 0; i = json_next(j, i)) {
        const WrittenMerge m = split_merge(j, i);
        result = read_merge(t, &m, &alphabet, &bytes, path);
        if (result < 0) break;
    }
    buffer_free(&bytes);
    return result;
}

// One more than the largest id of the vocabulary; -1 after fail().
static int64_t count_ids(const Json *j, int vocab, const char *path) {
    const int64_t named = json_count(j, vocab);
    int64_t n = named, id;
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        if (json_integer(j, i, &id) && id >= n) n = id + 1;
    }
    if (n > named + MAX_HOLES) {
        return fail(EX_DATAERR, "%s: ids reach %" PRId64 ", but only %" PRId64 " have a piece",
                    path, n - 1, named);
    }
    return n;
}

// With "byte_fallback" a byte without a piece becomes a piece such as <0x0A>: it is not done here.
static int check_bytes(Tokenizer *t, const Json *j, const char *path) {
    const int model = json_get(j, 0, "model");
    t->has_unknown = !json_off(j, json_get(j, model, "unk_token"));
    if (json_off(j, json_get(j, model, "byte_fallback"))) return 0;
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        if (t->byte_id[b] >= 0 || tokenizer_find(t, name, strlen(name)) < 0) continue;
        return fail(EX_DATAERR, "%s: the model has byte_fallback, which is not known here", path);
    }
    return 0;
}

// tokenizer_config.json may ask for a space before a text.
static int check_settings_of_tokenizer(const Json *j) {
    if (json_off(j, json_get(j, 0, "add_prefix_space"))) return 0;
    return fail(EX_DATAERR, "tokenizer_config.json: add_prefix_space is not known here");
}

// The parsed files.  0, or -1 after fail(); then t is empty.
static int read_tokenizer(Tokenizer *t, const TokenizerFiles *f) {
    const Json *j = &f->tokenizer;
    const int model = json_get(j, 0, "model"), vocab = json_get(j, model, "vocab");
    const int merges = json_get(j, model, "merges");
    const int added = json_count(j, json_get(j, 0, "added_tokens"))
                    + json_count(&f->settings, json_get(&f->settings, 0, "added_tokens_decoder"))
                    + json_count(&f->added, 0);
    if (check_model(j, f->path) < 0) return -1;
    if (json_type(j, vocab) != JSON_OBJECT || json_type(j, merges) != JSON_ARRAY
        || !json_count(j, vocab)) {
        return fail(EX_DATAERR, "%s: the model needs a \"vocab\" object and a \"merges\" list",
                    f->path);
    }
    const int64_t n = count_ids(j, vocab, f->path);
    if (n < 0) return -1;

    const size_t most = (size_t)n + (size_t)added;
    NamedPieces p = {.piece = allocate(most, sizeof *p.piece), .n = (size_t)n,
                     .in_vocab = json_count(j, vocab), .last_added = -1};
    int result = -1;
    if (!p.piece) goto done;
    if (tokenizer_init(t, most, (size_t)json_count(j, merges)) < 0) goto done;
    if (check_parts(t, j, f->path) < 0) goto done;
    if (check_settings_of_tokenizer(&f->settings) < 0) goto done;
    if (collect_pieces(&p, f) < 0) goto done;
    if (read_pieces(t, &p, f->path) < 0 || read_merges(t, j, merges, f->path) < 0) goto done;
    find_ids(t);
    if (check_bytes(t, j, f->path) < 0) goto done;
    result = 0;

done:
    free(p.piece);
    if (result < 0) tokenizer_free(t);
    return result;
}

static int fail_without_file(const char *path) {
    return fail(EX_NOINPUT, "%s: %s; AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) "
                "makes one of vocab.json and merges.txt, or of tokenizer.model", path,
                strerror(ENOENT));
}

/* Reads a tokenizer.json, and from the files beside it, if they are there, which tokens are added.
 * What it asks for and is not done here is refused by name; its post_processor, truncation and
 * padding are not read, because nothing is put around a text.  0, or -1 after fail(); then t is
 * empty. */
int tokenizer_load(Tokenizer *t, const char *path) {
    Buffer text = {0};
    TokenizerFiles f = {.path = path};
    struct stat st;
    int result = -1;
    memset(t, 0, sizeof *t);
    if (stat(path, &st) < 0 && errno == ENOENT) return fail_without_file(path);
    if (file_read(&text, path) < 0) goto done;
    if (json_parse(&f.tokenizer, text.data, text.len, path) < 0) goto done;
    if (json_load_beside(&f.settings, path, "tokenizer_config.json") < 0) goto done;
    if (json_load_beside(&f.added, path, "added_tokens.json") < 0) goto done;
    result = read_tokenizer(t, &f);

done:
    json_free(&f.tokenizer);
    json_free(&f.settings);
    json_free(&f.added);
    buffer_free(&text);
    return result;
}

// -------------------------------------------------------------------------- writing tokenizer.json

// Piece id as a JSON string: an added token as it is, another in GPT-2's alphabet.
static int write_piece(const Tokenizer *t, int id, const Alphabet *alphabet, Buffer *out) {
    const char *s = tokenizer_piece(t, id);
    const size_t len = tokenizer_piece_len(t, id);
    if (t->flags_memory[id] & PIECE_ADDED) return json_quote(out, s, len);
    if (buffer_append(out, "\"", 1) < 0) return -1;
    for (size_t i = 0; i < len; i++) {
        char character[4];
        const uint32_t code = alphabet->code[(unsigned char)s[i]];
        const int bytes = utf8_encode(character, code);
        if ((code == '"' || code == '\\') && buffer_append(out, "\\", 1) < 0) return -1;
        if (buffer_append(out, character, (size_t)bytes) < 0) return -1;
    }
    return buffer_append(out, "\"", 1);
}

static const char *truth(int flag) { return flag ? "true" : "false"; }

static int write_added_token(const Tokenizer *t, int id, const Alphabet *alphabet, Buffer *out) {
    const int f = t->flags_memory[id];
    if (buffer_printf(out, "\n    {\"id\": %d, \"content\": ", id) < 0) return -1;
    if (write_piece(t, id, alphabet, out) < 0) return -1;
    return buffer_printf(out, ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, "
                         "\"normalized\": %s, \"special\": %s}",
                         truth(f & PIECE_SINGLE_WORD), truth(f & PIECE_LSTRIP),
                         truth(f & PIECE_RSTRIP), truth(f & PIECE_NORMALIZED),
                         truth(f & PIECE_SPECIAL));
}

static int write_added_tokens(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    const char *comma = "";
    for (int id = 0; id < t->vocab_size; id++) {
        if (!(t->flags_memory[id] & PIECE_ADDED)) continue;
        if (buffer_printf(out, "%s", comma) < 0) return -1;
        if (write_added_token(t, id, alphabet, out) < 0) return -1;
        comma = ",";
    }
    return 0;
}

static int write_vocab(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    const char *comma = "";
    for (int id = 0; id < t->vocab_size; id++) {
        if (!(t->flags_memory[id] & PIECE_IN_VOCAB)) continue;
        if (buffer_printf(out, "%s\n      ", comma) < 0) return -1;
        if (write_piece(t, id, alphabet, out) < 0) return -1;
        if (buffer_printf(out, ": %d", id) < 0) return -1;
        comma = ",";
    }
    return 0;
}

static int write_merges(const Tokenizer *t, const Alphabet *alphabet, Buffer *out) {
    for (int i = 0; i < t->num_merges; i++) {
        const Merge *m = &t->merge_memory[i];
        if (buffer_printf(out, "%s\n      [", i ? "," : "") < 0) return -1;
        if (write_piece(t, m->left, alphabet, out) < 0) return -1;
        if (buffer_printf(out, ", ") < 0) return -1;
        if (write_piece(t, m->right, alphabet, out) < 0) return -1;
        if (buffer_printf(out, "]") < 0) return -1;
    }
    return 0;
}

// Appends a tokenizer.json: the same bytes for the same pieces and merges.  0, or -1 after fail().
int tokenizer_json(const Tokenizer *t, Buffer *out) {
    static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                                     "\"trim_offsets\": true, \"use_regex\": true}";
    const char *normalizer = t->nfc ? "{\"type\": \"NFC\"}" : "null";
    const Alphabet alphabet = byte_alphabet();
    if (buffer_printf(out, "{\n"
                      "  \"version\": \"1.0\",\n"
                      "  \"truncation\": null,\n"
                      "  \"padding\": null,\n"
                      "  \"added_tokens\": [") < 0) return -1;
    if (write_added_tokens(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n  ],\n"
                      "  \"normalizer\": %s,\n"
                      "  \"pre_tokenizer\": %s,\n"
                      "  \"post_processor\": null,\n"
                      "  \"decoder\": %s,\n"
                      "  \"model\": {\n"
                      "    \"type\": \"BPE\",\n"
                      "    \"dropout\": null,\n"
                      "    \"unk_token\": null,\n"
                      "    \"continuing_subword_prefix\": null,\n"
                      "    \"end_of_word_suffix\": null,\n"
                      "    \"fuse_unk\": false,\n"
                      "    \"byte_fallback\": false,\n"
                      "    \"ignore_merges\": false,\n"
                      "    \"vocab\": {",
                      normalizer, byte_level, byte_level) < 0) return -1;
    if (write_vocab(t, &alphabet, out) < 0) return -1;
    if (buffer_printf(out, "\n    },\n    \"merges\": [") < 0) return -1;
    if (write_merges(t, &alphabet, out) < 0) return -1;
    return buffer_printf(out, "\n    ]\n  }\n}\n");
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

/* tokenizer.c - byte pair encoding (BPE): encode and decode texts.  vocabulary.c learns pieces and
 * merges, files/tokenizer_json.c reads and writes Hugging Face's tokenizer.json.
 * Sennrich et al. 2016 (arXiv:1508.07909), Radford et al. 2019, section 2.2.
 *
 *     "the hat"            a text
 *     the | _hat           is cut into words by a fixed pattern (patterns.c; _ is the space);
 *     t h e | _ h a t      a word is a row of pieces, at first one for each byte;
 *     t h e | _ h at       then merges join neighbours, first the one that was learnt first:
 *     th e  | _ h at       say a+t, then t+h, th+e, _+h and _h+at,
 *     the   | _hat         until none is left that can be done (merge_word).
 *     260, 262             The ids of these pieces are the tokens of the text.
 *
 * Here the vocabulary has at = 258, th = 259, the = 260, _h = 261 and _hat = 262, after the bytes.
 * That is GPT-2's kind.  In SentencePiece's, LLaMA-2's, a word begins as a row of characters, a
 * space is the mark U+2581, one stands before the text, and a character without a piece becomes
 * the pieces <0x00> to <0xFF> of its bytes.
 *
 * The ids are those of the Python package `tokenizers`.  One difference remains:
 * special tokens such as <|endoftext|> are not looked for in a text, so that data cannot end it. */
#ifndef TOKENIZER_C
#define TOKENIZER_C

#include "common.h"
#include "files/json.c"
#include "unicode.c"
#include "patterns.c"
#include <inttypes.h>

// What is known of a piece.  Added tokens are looked for in a text before it is cut into words.
enum {
    PIECE_ADDED = 1, PIECE_SPECIAL = 2, PIECE_NORMALIZED = 4, PIECE_IN_VOCAB = 8,
    PIECE_LSTRIP = 16, PIECE_RSTRIP = 32, PIECE_SINGLE_WORD = 64,
    PIECE_BYTE = 128,                   // of a byte, written <0x00>
};

enum { MAX_ADDED = 1000 };                                            // bytes of an added token
enum { MAX_HOLES = 1 << 16 };                                         // ids without a piece
enum { MAX_ENDS = 64 };                                               // tokens that end a text
enum { MAX_STEPS = 8, STEP_TEXT = 32 };         // of a normalizer or pre-tokenizer; bytes of a text
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

// What is done with a text before added tokens that are "normalized" are looked for.
typedef struct {
    enum { NORMAL_NFC, NORMAL_PREPEND, NORMAL_REPLACE } kind;
    char from[STEP_TEXT], to[STEP_TEXT];        // "from" becomes "to"; "to" is put before the text
} NormalStep;

/* How what stands between added tokens is cut into words; each step cuts what the one before has
 * cut.  A space or a mark may be put before each of the parts that a step gets. */
typedef struct {
    enum { STEP_WORDS, STEP_SPACE, STEP_METASPACE } kind;
    WordEnd *end;                               // of STEP_WORDS
    enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend;    // a mark; of STEP_METASPACE
} WordStep;

typedef struct {                        // what encoding writes to
    int *row;                           // the pieces of a word, see pieces_left_of
    size_t row_capacity;
    Heap heap;                          // merges that can be done: rank, place in the row
    CachedWord cache[CACHE_SLOTS];
    NormalForm normal_form;             // if the tokenizer has one
    Buffer normal, next_normal;         // a text after a step of the normalizer, and the next
    Buffer spaced;                      // a part of it with a space or marks
} EncodeScratch;

typedef struct Tokenizer {
    int vocab_size;
    int eos, bos, pad;                  // ids or -1
    int num_ends, ends[MAX_ENDS];       // eos and what ends a generated text besides

    // a text before it is words of pieces
    NormalStep normal[MAX_STEPS];
    WordStep step[MAX_STEPS];
    int num_normal, num_steps;
    int of_characters;                  // yes: SentencePiece's kind, a word is a row of characters
    int strips_space;                   // yes: a space at the beginning of a text is not decoded
    int ignore_merges;                  // yes: a word that is a piece is not taken apart
    int fuse_unknown;                   // yes: characters without a piece are one unknown together

    // pieces
    int max_vocab;
    Buffer bytes;                       // all pieces, one after the other
    size_t *start_memory;               // piece i is bytes[start[i] .. start[i+1])
    unsigned char *flags_memory;        // PIECE_ flags
    int *piece_table_memory;            // hash table of the pieces that merges make: ids, -1 empty
    uint64_t piece_mask;
    int byte_id[256];                   // pieces of one byte; -1 where a byte has none
    int unknown;                        // the piece of what has none; -1: that is left out

    // merges
    int num_merges, max_merges;
    Merge *merge_memory;                // in order of rank: the one learnt first has rank 0
    int *merge_table_memory;            // hash table of merges: ranks, -1 empty
    uint64_t merge_mask;

    // added tokens
    TrieNode *trie_memory;              // their bytes; nodes 0 .. NUM_TRIES - 1 are roots
    size_t num_trie, trie_capacity;

    Buffer chat;                        // the chat template of its folder; empty: it has none
    unsigned char *class_memory;        // (CLASS_END) CLASS_ of each character
    EncodeScratch *scratch_memory;      // so one thread at a time may encode
} Tokenizer;

// Added tokens to look for before, and after a text is in its normal form; and those that are not.
enum { TRIE_RAW, TRIE_NORMALIZED, TRIE_SPECIAL, NUM_TRIES };

/* GPT-2's alphabet, in which tokenizer.json writes pieces: a printable character for every byte.
 * The bytes 33..126, 161..172 and 174..255 are themselves, the other 68 are characters 256..323. */
enum { NUM_PRINTABLE = 188 };
typedef struct {
    uint32_t code[256];                 // the character of each byte
    unsigned char order[256];           // the bytes, the printable ones first: order of their ids
} Alphabet;

void tokenizer_free(Tokenizer *t);
void tokenizer_hash(char sha256[65], const Tokenizer *t);   // of all that decides the ids of texts

// Where a part of a text stands, by which a space is put before it or not: it begins the text, or a
// text that goes on after another, or it follows an added token.
typedef enum { PLACE_FIRST, PLACE_GOES_ON, PLACE_LATER } Place;

// Texts to ids and back; all append.
int tokenizer_encode(const Tokenizer *t, const char *text, size_t len, int **ids, size_t *count,
                     size_t *capacity);
int tokenizer_encode_part(const Tokenizer *t, const char *text, size_t len, Place place, int **ids,
                          size_t *count, size_t *capacity);
int tokenizer_decode(const Tokenizer *t, const int *ids, size_t n, Buffer *out);
int tokenizer_decode_text(const Tokenizer *t, const int *ids, size_t n, Buffer *out);

// the bytes of a piece, and the special token that is written out at the beginning of a text
const char *tokenizer_piece(const Tokenizer *t, int id);
size_t tokenizer_piece_len(const Tokenizer *t, int id);
int    tokenizer_is_added(const Tokenizer *t, int id);
const char *tokenizer_form(const Tokenizer *t);                       // in words, of a text
int    tokenizer_find(const Tokenizer *t, const char *s, size_t n);   // the id of a piece, or -1
int    tokenizer_special_at(const Tokenizer *t, const char *s, size_t n);
size_t tokenizer_stripped_before(const Tokenizer *t, int id, const char *s, size_t begin,
                                 size_t at);
size_t tokenizer_stripped_after(const Tokenizer *t, int id, const char *s, size_t at, size_t end);

// what files/tokenizer_json.c and vocabulary.c make a tokenizer with, and read one with
int  tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges);
int  tokenizer_add_piece(Tokenizer *t, const char *s, size_t n, int flags);
void tokenizer_add_merge(Tokenizer *t, int left, int right, int id);
int  tokenizer_add_to_trie(Tokenizer *t, int id, const char *what);
void tokenizer_find_ids(Tokenizer *t);
int  tokenizer_find_in_vocab(const Tokenizer *t, const char *s, size_t n);
int  tokenizer_add_step(Tokenizer *t, WordStep step);                 // -1: there are too many
int  tokenizer_normalize(const Tokenizer *t, const char *s, size_t n, int goes_on, Buffer **out);
int  tokenizer_find_merge(const Tokenizer *t, int left, int right);
Alphabet alphabet_make(void);
int  alphabet_byte(const Alphabet *a, uint32_t code);

// heaps, hash tables, and words as rows of pieces: also for vocabulary.c
int      heap_push(Heap *h, int64_t rank, uint64_t item);
HeapItem heap_pop(Heap *h);
uint64_t hash_bytes(const char *s, size_t n);
uint64_t hash_pair(int left, int right);
int     *table_init(size_t n, uint64_t *mask);
size_t   pieces_left_of(const int *row, size_t p);
void     pieces_join(int *row, size_t p, size_t q, int id, size_t len);

// -------------------------------------------------------------------------------- GPT-2's alphabet

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

int heap_push(Heap *h, int64_t rank, uint64_t item) {
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

HeapItem heap_pop(Heap *h) {
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
uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

uint64_t hash_pair(int left, int right) {
    return random_mix((uint64_t)left << 32 | (uint32_t)right);
}

// Hash tables are open: an entry stands at its hash or in the next free slot, -1 is a free one.
// This makes one of at least 2 n slots, with nothing in it.
int *table_init(size_t n, uint64_t *mask) {
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
    if (flags & PIECE_BYTE) t->byte_id[(unsigned char)*s] = id;
    else if (flags & PIECE_IN_VOCAB) *piece_slot(t, tokenizer_piece(t, id), n) = id;
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

/* Enters the added token id; `what` is the file it comes from.  One that is "normalized" is looked
 * for in the form that a text has then. */
int tokenizer_add_to_trie(Tokenizer *t, int id, const char *what) {
    const int flags = t->flags_memory[id];
    const char *s = tokenizer_piece(t, id);
    size_t n = tokenizer_piece_len(t, id);
    int at = TRIE_RAW;
    if (flags & PIECE_SPECIAL) {
        at = TRIE_SPECIAL;
    } else if (flags & PIECE_NORMALIZED) {
        Buffer *normal;
        if (tokenizer_normalize(t, s, n, 0, &normal) < 0) return -1;
        s = normal->data;
        n = normal->len;
        at = TRIE_NORMALIZED;
    }
    for (size_t i = 0; i < n; i++) {
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

    const int other = t->trie_memory[at].id;
    if (other >= 0) {
        return fail(EX_DATAERR, "%s: the added tokens %d and %d are equal", what, other, id);
    }
    t->trie_memory[at].id = id;
    return 0;
}

// The longest added token of a trie that begins at s, or -1; *len is how much of s it takes.
static int longest_added(const Tokenizer *t, int trie, const char *s, size_t n, size_t *len) {
    int best = -1, at = trie;
    for (size_t i = 0; i < n; i++) {
        at = trie_child(t, at, s[i]);
        if (at < 0) break;
        if (t->trie_memory[at].id < 0) continue;
        best = t->trie_memory[at].id;
        *len = i + 1;
    }
    return best;
}

// The longest special token that is written out at s, or -1: encoding never looks for these.
int tokenizer_special_at(const Tokenizer *t, const char *s, size_t n) {
    size_t len;
    if (!t->num_trie) return -1;                          // an empty tokenizer
    return longest_added(t, TRIE_SPECIAL, s, n, &len);
}

// ----------------------------------------------------------------------------------- start and end

void tokenizer_free(Tokenizer *t) {
    if (t->scratch_memory) {
        free(t->scratch_memory->row);
        free(t->scratch_memory->heap.item);
        normal_form_free(&t->scratch_memory->normal_form);
        buffer_free(&t->scratch_memory->normal);
        buffer_free(&t->scratch_memory->next_normal);
        buffer_free(&t->scratch_memory->spaced);
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
    buffer_free(&t->chat);
    memset(t, 0, sizeof *t);
}

// An empty tokenizer with room for so many pieces and merges.  0, or -1 after fail().
int tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges) {
    memset(t, 0, sizeof *t);
    t->eos = t->bos = t->pad = t->unknown = -1;
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
    const int root = reserve(&t->trie_memory, &t->trie_capacity, NUM_TRIES, sizeof(TrieNode));
    if (!t->start_memory || !t->flags_memory || !t->merge_memory || !t->merge_table_memory
        || !t->piece_table_memory || !t->class_memory || !t->scratch_memory || root < 0) {
        tokenizer_free(t);
        return -1;
    }
    for (; t->num_trie < NUM_TRIES; t->num_trie++) {
        t->trie_memory[t->num_trie] = (TrieNode){.child = -1, .sibling = -1, .id = -1};
    }
    character_classes(t->class_memory);
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
    for (int b = 0; b < 256 && !t->of_characters; b++) {
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

/* Pieces in a row, one int for each unit of the word: a byte, or a character.  The first unit of a
 * piece holds its id; where it has more, the second and the last one hold minus their number, and
 * those between hold anything below 0, so that both neighbours of a piece are found at once.  EDGE
 * stands before and after a word.  The words "the", of the pieces th and e, and " cat", a piece by
 * itself:
 *
 *     EDGE  id(th) -2  id(e)  EDGE  id(_cat) -4 -1 -4  EDGE */
enum { EDGE = INT_MIN };

// The units of the piece at p.
static size_t units_at(const int *row, size_t p) {
    return row[p+1] < 0 && row[p+1] != EDGE ? (size_t)-row[p+1] : 1;
}

// Where the piece begins that stands before the one at p.
size_t pieces_left_of(const int *row, size_t p) {
    return row[p-1] < 0 ? p - (size_t)-row[p-1] : p - 1;
}

// The pieces at p and q, neighbours, become one piece id of len units.
void pieces_join(int *row, size_t p, size_t q, int id, size_t len) {
    row[q] = -1;
    row[p+1] = -(int)len;
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

/* May a byte without a piece be left out, as `tokenizers` does where it knows no piece for the
 * unknown?  Not a byte that is in no UTF-8, which it never sees. */
static int may_drop(unsigned char byte) { return byte != 0xc0 && byte != 0xc1 && byte < 0xf5; }

// The next unit of a row is this piece.
static int lay_piece(const Tokenizer *t, size_t *laid, int id) {
    int *row = t->scratch_memory->row;
    const size_t p = ++*laid;
    row[p] = id;
    return p > 1 ? note_merge(t, p - 1, row[p-1], id) : 0;
}

// A unit without a piece; *is_unknown: is the one before it unknown too?
static int lay_unknown(const Tokenizer *t, const char *s, size_t *laid, int *is_unknown) {
    const unsigned char byte = (unsigned char)*s;
    const int is_fused = *is_unknown && t->fuse_unknown;
    *is_unknown = 1;
    if (!may_drop(byte)) {
        return fail(EX_DATAERR, "the tokenizer has no piece for the byte 0x%02x", byte);
    }
    if (t->unknown < 0 || is_fused) return 0;
    return lay_piece(t, laid, t->unknown);
}

// A word of bytes.
static int lay_bytes(const Tokenizer *t, const char *s, size_t n, size_t *laid) {
    int is_unknown = 0;
    for (size_t i = 0; i < n; i++) {
        const int id = t->byte_id[(unsigned char)s[i]];
        if (id < 0) {
            if (lay_unknown(t, s + i, laid, &is_unknown) < 0) return -1;
            continue;
        }
        is_unknown = 0;
        if (lay_piece(t, laid, id) < 0) return -1;
    }
    return 0;
}

// A word of characters: one without a piece becomes its bytes, if these have pieces.
static int lay_characters(const Tokenizer *t, const char *s, size_t n, size_t *laid) {
    int is_unknown = 0;
    size_t i = 0;
    while (i < n) {
        uint32_t code;
        const int decoded = utf8_decode(s + i, n - i, &code);
        const size_t len = decoded ? (size_t)decoded : 1;
        const int id = decoded ? tokenizer_find_in_vocab(t, s + i, len) : -1;
        if (id >= 0) {
            is_unknown = 0;
            if (lay_piece(t, laid, id) < 0) return -1;
        } else if (t->byte_id[0] >= 0) {
            for (size_t k = 0; k < len; k++) {
                if (lay_piece(t, laid, t->byte_id[(unsigned char)s[i+k]]) < 0) return -1;
            }
        } else if (lay_unknown(t, s + i, laid, &is_unknown) < 0) {
            return -1;
        }
        i += len;
    }
    return 0;
}

// The word as a row of single units, from row[1] on, and the merges that can be done in it.  *laid
// is their number.
static int lay_word(const Tokenizer *t, const char *s, size_t n, size_t *laid) {
    EncodeScratch *w = t->scratch_memory;
    if (n > INT_MAX / 2) {
        return fail(EX_DATAERR, "a word of %zu bytes is too long to encode", n);
    }
    if (reserve(&w->row, &w->row_capacity, n + 2, sizeof *w->row) < 0) return -1;
    w->heap.n = 0;
    w->row[0] = EDGE;
    *laid = 0;
    if (t->of_characters) {
        if (lay_characters(t, s, n, laid) < 0) return -1;
    } else if (lay_bytes(t, s, n, laid) < 0) {
        return -1;
    }
    w->row[*laid + 1] = EDGE;
    return 0;
}

/* Does the merges of the row: of those that can be done the one that was learnt first, and of equal
 * ones the leftmost, until none is left.  By a heap: n log n for a word of n units. */
static int merge_word(const Tokenizer *t) {
    EncodeScratch *w = t->scratch_memory;
    int *row = w->row;
    while (w->heap.n) {
        const HeapItem top = heap_pop(&w->heap);
        const Merge *m = &t->merge_memory[top.rank];
        const size_t p = (size_t)top.item;
        if (row[p] != m->left) continue;                  // it was merged with another
        const size_t q = p + units_at(row, p);
        if (row[q] != m->right) continue;
        const size_t len = q - p + units_at(row, q);
        pieces_join(row, p, q, m->id, len);

        // the new piece may merge with its neighbours
        if (row[p-1] != EDGE) {
            const size_t left = pieces_left_of(row, p);
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
    const int whole = t->ignore_merges ? tokenizer_find_in_vocab(t, s, n) : -1;
    size_t laid = 0;
    if (whole >= 0) return append_ids(out, &whole, 1);
    if (lay_word(t, s, n, &laid) < 0 || merge_word(t) < 0) return -1;

    // the ids move to the front of the row
    int *row = t->scratch_memory->row;
    size_t count = 0, p = 1;
    while (p <= laid) {
        const int id = row[p];
        p += units_at(row, p);
        row[count++] = id;
    }
    if (cached && count <= CACHE_IDS) {
        cached->len = (unsigned char)n;
        cached->count = (unsigned char)count;
        memcpy(cached->word, s, n);
        memcpy(cached->id, row, count * sizeof *row);
    }
    return append_ids(out, row, count);
}

// The next step that cuts words.
int tokenizer_add_step(Tokenizer *t, WordStep step) {
    if (t->num_steps == MAX_STEPS) return -1;
    t->step[t->num_steps++] = step;
    return 0;
}

// The part with a space before it, unless it begins with one.  0, or -1 after fail().
static int put_space(const Tokenizer *t, const char **s, size_t *n, Place place) {
    Buffer *spaced = &t->scratch_memory->spaced;
    if (!*n || **s == ' ' || place == PLACE_GOES_ON) return 0;
    spaced->len = 0;
    if (buffer_append(spaced, " ", 1) < 0 || buffer_append(spaced, *s, *n) < 0) return -1;
    *s = spaced->data;
    *n = spaced->len;
    return 0;
}

// The part with marks for spaces, and one before it.  0, or -1 after fail().
static int put_marks(const Tokenizer *t, const char **s, size_t *n, Place place, int prepend) {
    Buffer *marked = &t->scratch_memory->spaced;
    const int any = prepend == PREPEND_ALWAYS && place != PLACE_GOES_ON;
    const int first = prepend == PREPEND_FIRST && place == PLACE_FIRST;
    const int has_one = *n && (**s == ' ' || (*n >= MARK_LEN && !memcmp(*s, MARK, MARK_LEN)));
    marked->len = 0;
    if (buffer_append(marked, "", 0) < 0) return -1;
    if (*n && !has_one && (any || first) && buffer_append(marked, MARK, MARK_LEN) < 0) return -1;
    for (size_t i = 0; i < *n; ) {
        const char *space = memchr(*s + i, ' ', *n - i);
        const size_t end = space ? (size_t)(space - *s) : *n;
        if (buffer_append(marked, *s + i, end - i) < 0) return -1;
        if (space && buffer_append(marked, MARK, MARK_LEN) < 0) return -1;
        i = end + 1;
    }
    *s = marked->data;
    *n = marked->len;
    return 0;
}

// The last pass, from a step on: cuts words and encodes each.
static int encode_words(const Tokenizer *t, const char *s, size_t n, int number, Place place,
                        IdList *out) {
    if (number == t->num_steps) return n ? encode_word(t, s, n, out) : 0;
    const WordStep *step = &t->step[number];
    if (step->kind == STEP_SPACE && put_space(t, &s, &n, place) < 0) return -1;
    if (step->kind == STEP_METASPACE && put_marks(t, &s, &n, place, step->prepend) < 0) return -1;
    if (step->kind != STEP_WORDS) return encode_words(t, s, n, number + 1, place, out);
    size_t i = 0;
    while (i < n) {
        const size_t end = step->end(t->class_memory, s, i, n);
        if (encode_words(t, s + i, end - i, number + 1, place, out) < 0) return -1;
        place = PLACE_LATER;
        i = end;
    }
    return 0;
}

// Appends s with "from" replaced by "to".
static int replace(Buffer *out, const char *s, size_t n, const char *from, const char *to) {
    const size_t from_len = strlen(from), to_len = strlen(to);
    size_t begin = 0, i = 0;
    while (n - i >= from_len) {
        const char *next = memchr(s + i, *from, n - i - from_len + 1);
        if (!next) break;
        i = (size_t)(next - s);
        if (memcmp(next, from, from_len) != 0) {
            i++;
            continue;
        }
        if (buffer_append(out, s + begin, i - begin) < 0) return -1;
        if (buffer_append(out, to, to_len) < 0) return -1;
        i += from_len;
        begin = i;
    }
    return buffer_append(out, s + begin, n - begin);
}

/* The text in the form that the normalizer gives it: *out, which the next call overwrites.  0, or
 * -1 after fail(). */
int tokenizer_normalize(const Tokenizer *t, const char *s, size_t n, int goes_on, Buffer **out) {
    EncodeScratch *w = t->scratch_memory;
    Buffer *normal = &w->normal, *next = &w->next_normal;
    normal->len = 0;
    if (buffer_append(normal, s, n) < 0) return -1;
    for (int i = 0; i < t->num_normal; i++) {
        const NormalStep *step = &t->normal[i];
        const char *begin = step->kind == NORMAL_PREPEND && normal->len && !goes_on ? step->to : "";
        next->len = 0;
        if (buffer_append(next, begin, strlen(begin)) < 0) return -1;
        int result = 0;
        if (step->kind == NORMAL_NFC) {
            result = normal_form_apply(&w->normal_form, normal->data, normal->len, next);
        } else if (step->kind == NORMAL_REPLACE) {
            result = replace(next, normal->data, normal->len, step->from, step->to);
        } else {
            result = buffer_append(next, normal->data, normal->len);
        }
        if (result < 0) return -1;
        Buffer *other = normal;
        normal = next;
        next = other;
    }
    *out = normal;
    return 0;
}

// What is done with a text first: it is encoded ...
const char *tokenizer_form(const Tokenizer *t) {
    if (t->of_characters) return "with U+2581 for a space";
    for (int i = 0; i < t->num_normal; i++) {
        if (t->normal[i].kind == NORMAL_NFC) return "in normal form C";
    }
    if (t->num_normal) return "with parts replaced";
    return t->strips_space ? "after a space" : "as it stands";
}

// Does a character of a word stand before s[i], or at it?
static int is_word_before(const char *s, size_t i) {
    size_t start = i;
    uint32_t code;
    if (i == 0) return 0;
    do {
        start--;
    } while (start > 0 && (s[start] & 0xc0) == 0x80);
    return utf8_decode(s + start, i - start, &code) && character_is_word(code);
}

static int is_word_at(const char *s, size_t i, size_t n) {
    uint32_t code;
    return i < n && utf8_decode(s + i, n - i, &code) && character_is_word(code);
}

// How much white space stands before s[end], not before s[begin].
static size_t space_before(const Tokenizer *t, const char *s, size_t begin, size_t end) {
    size_t start = end, len;
    for (size_t i = end; i > begin; i--) {
        if ((s[i-1] & 0xc0) == 0x80) continue;            // inside a character
        if (class_at(t->class_memory, s + i - 1, end - i + 1, &len) != CLASS_SPACE) break;
        start = i - 1;
    }
    return end - start;
}

// How much white space before s[at], not before s[begin], an added token takes there; and after it.
size_t tokenizer_stripped_before(const Tokenizer *t, int id, const char *s, size_t begin,
                                 size_t at) {
    return t->flags_memory[id] & PIECE_LSTRIP ? space_before(t, s, begin, at) : 0;
}
size_t tokenizer_stripped_after(const Tokenizer *t, int id, const char *s, size_t at, size_t end) {
    if (!(t->flags_memory[id] & PIECE_RSTRIP)) return 0;
    return run_end(t->class_memory, CLASS_SPACE, s, at, end) - at;
}

// A text is cut at added tokens that are not "normalized"; what stands between them is put in its
// normal form and cut at those that are, then in words.
enum { PASS_RAW = TRIE_RAW, PASS_NORMALIZED = TRIE_NORMALIZED, PASS_WORDS };

// Added tokens of this pass become ids; what stands between them is for the next pass.
static int encode_pass(const Tokenizer *t, const char *s, size_t n, int pass, Place place,
                       IdList *out) {
    if (pass == PASS_WORDS) return encode_words(t, s, n, 0, place, out);
    const int any = t->trie_memory[pass].child >= 0;
    size_t from = 0, i = 0, len = 0;                      // what stands before `from` is encoded
    if (pass == PASS_NORMALIZED && t->num_normal) {
        Buffer *normal;
        if (tokenizer_normalize(t, s, n, place == PLACE_GOES_ON, &normal) < 0) return -1;
        s = normal->data;
        n = normal->len;
    }
    while (any && i < n) {
        const int id = longest_added(t, pass, s + i, n - i, &len);
        if (id < 0) {
            i++;
            continue;
        }
        const int flags = t->flags_memory[id];
        size_t start = i, end = i + len;
        i = end;
        if (flags & PIECE_SINGLE_WORD && (is_word_before(s, start) || is_word_at(s, end, n))) {
            continue;
        }
        if (start > from) start -= tokenizer_stripped_before(t, id, s, from, start);
        end += tokenizer_stripped_after(t, id, s, end, n);
        if (start > from) {
            if (encode_pass(t, s + from, start - from, pass + 1, place, out) < 0) return -1;
        }
        if (append_ids(out, &id, 1) < 0) return -1;
        from = end;
        place = PLACE_LATER;
    }
    return from < n ? encode_pass(t, s + from, n - from, pass + 1, place, out) : 0;
}

// Appends the ids of a text to *ids.  Nothing is put before or after them.  0, or -1 after fail().
int tokenizer_encode(const Tokenizer *t, const char *text, size_t len, int **ids, size_t *count,
                     size_t *capacity) {
    IdList out = {.ids = ids, .count = count, .capacity = capacity};
    return encode_pass(t, text, len, PASS_RAW, PLACE_FIRST, &out);
}

// The same of a part of a text: an answer goes on after its prompt.
int tokenizer_encode_part(const Tokenizer *t, const char *text, size_t len, Place place, int **ids,
                          size_t *count, size_t *capacity) {
    IdList out = {.ids = ids, .count = count, .capacity = capacity};
    return encode_pass(t, text, len, PASS_RAW, place, &out);
}

// Appends the bytes of the pieces to out, marks as spaces.  0, or -1 after fail().
int tokenizer_decode(const Tokenizer *t, const int *ids, size_t n, Buffer *out) {
    for (size_t i = 0; i < n; i++) {
        const int id = ids[i];
        if (id < 0 || id >= t->vocab_size) {
            return fail(EX_DATAERR, "no piece has the id %d: the vocabulary has %d", id,
                        t->vocab_size);
        }
        const char *piece = tokenizer_piece(t, id);
        const size_t len = tokenizer_piece_len(t, id);
        const int result = t->of_characters ? replace(out, piece, len, MARK, " ")
                                            : buffer_append(out, piece, len);
        if (result < 0) return -1;
    }
    return 0;
}

// The same of a text from its beginning: without the space that encoding puts before it.
int tokenizer_decode_text(const Tokenizer *t, const int *ids, size_t n, Buffer *out) {
    const size_t start = out->len;
    if (tokenizer_decode(t, ids, n, out) < 0) return -1;
    if (!t->strips_space || out->len == start || out->data[start] != ' ') return 0;
    out->len--;
    memmove(out->data + start, out->data + start + 1, out->len - start + 1);
    return 0;
}

// ------------------------------------------------------------------------------------ the same ids

static void hash_number(Sha256 *sha, int x) { sha256_add(sha, &x, sizeof x); }
static void hash_words(Sha256 *sha, const char *s) { sha256_add(sha, s, strlen(s) + 1); }

// How a step cuts words.
static void hash_step(Sha256 *sha, const WordStep *s) {
    static WordEnd *const others[] = {
        word_end_digit, word_end_digits, word_end_mark, word_end_marks,
    };
    const char *pattern = s->kind == STEP_WORDS ? word_pattern_text(s->end) : NULL;
    hash_number(sha, (int)s->kind);
    hash_number(sha, s->kind == STEP_METASPACE ? (int)s->prepend : 0);
    if (pattern) hash_words(sha, pattern);
    for (int k = 0; k < (int)(sizeof others / sizeof *others); k++) {
        if (s->kind == STEP_WORDS && s->end == others[k]) hash_number(sha, k);
    }
}

static void hash_piece(Sha256 *sha, const Tokenizer *t, int id) {
    hash_number(sha, (int)tokenizer_piece_len(t, id));
    sha256_add(sha, tokenizer_piece(t, id), tokenizer_piece_len(t, id));
}

/* Of pieces, merges, and how a text becomes words: two files of one tokenizer, a tokenizer.json and
 * a GGUF file, have the same.  Left out is what GGUF cannot say and hardly a text can tell: whether
 * an added token is also a piece of the vocabulary, and looked for before or after normal form.
 * Which tokens end a text is not of the tokenizer.  */
void tokenizer_hash(char sha256[65], const Tokenizer *t) {
    const int settings[] = {t->of_characters, t->strips_space, t->ignore_merges, t->fuse_unknown,
                            t->unknown, t->num_normal, t->num_steps, t->num_merges};
    const int kinds = PIECE_ADDED | PIECE_SPECIAL | PIECE_BYTE | PIECE_LSTRIP | PIECE_RSTRIP
                      | PIECE_SINGLE_WORD;
    Sha256 sha;
    sha256_start(&sha);
    sha256_add(&sha, settings, sizeof settings);
    for (int i = 0; i < t->num_normal; i++) {
        hash_number(&sha, (int)t->normal[i].kind);
        hash_words(&sha, t->normal[i].from);
        hash_words(&sha, t->normal[i].to);
    }
    for (int i = 0; i < t->num_steps; i++) hash_step(&sha, &t->step[i]);
    for (int id = 0; id < t->vocab_size; id++) {
        if (tokenizer_piece_len(t, id) == 0) continue;      // a row of the model without a piece
        hash_number(&sha, id);
        hash_number(&sha, t->flags_memory[id] & kinds);
        hash_piece(&sha, t, id);
    }
    for (int k = 0; k < t->num_merges; k++) {
        hash_piece(&sha, t, t->merge_memory[k].left);
        hash_piece(&sha, t, t->merge_memory[k].right);
    }
    sha256_finish(&sha, sha256);
}

#endif

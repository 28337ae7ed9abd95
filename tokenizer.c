/* tokenizer.c - byte-level byte pair encoding, as in GPT-2: learn a vocabulary, read and write Hugging Face's
 * tokenizer.json, encode, decode.  Sennrich et al. 2016 (arXiv:1508.07909), Radford et al. 2019, section 2.2.
 *
 * A text is cut into words by a fixed pattern; a word is a row of bytes, one piece each; then the merge that
 * was learnt first is applied, leftmost first, until none is left.  Pieces never cross words.
 * What is written gives the same ids in the Python package `tokenizers`.  Two differences remain: a text that
 * is not in Unicode's normal form C is encoded as it is, also where the file asks for NFC; and special tokens
 * such as <|endoftext|> are not looked for in a text, so that data cannot end a text.                      */
#ifndef TOKENIZER_C
#define TOKENIZER_C

#include "common.h"
#include "files/json.c"

enum { PIECE_ADDED = 1, PIECE_SPECIAL = 2, PIECE_NORMALIZED = 4, PIECE_IN_VOCAB = 8,
       PIECE_LSTRIP = 16, PIECE_RSTRIP = 32, PIECE_SINGLE_WORD = 64 };
enum { ENDOFTEXT = 0, PADDING = 1, FIRST_BYTE = 2, FIRST_MERGE = FIRST_BYTE + 256 };      // ids that we give
enum { CACHE_SLOTS = 1 << 15, CACHE_WORD = 22, CACHE_IDS = 10, MAX_ADDED = 1000 };

typedef struct { int left, right, id; } Merge;                        // left and right become id
typedef struct { int child, sibling, id; unsigned char byte; } TrieNode;
typedef struct { int64_t rank; uint64_t item; } HeapItem;             // least rank first, then least item
typedef struct { HeapItem *item; size_t n, capacity; } Heap;
typedef struct { unsigned char len, count; char word[CACHE_WORD]; int id[CACHE_IDS]; } CacheSlot;

typedef struct {                                                      // what encoding writes to
    int *row;                                                         // the pieces of a word, see right_of
    size_t row_capacity;
    Heap heap;
    CacheSlot cache[CACHE_SLOTS];
} Scratch;

typedef struct Tokenizer {
    int vocab_size, eos, bos, pad;                                    // ids or -1
    int nfc;                                                          // the file asked for normal form C
    int num_merges, max_vocab, max_merges;
    Buffer bytes;                                                     // all pieces, one after the other
    size_t *start_memory;                                             // piece i is bytes[start[i]..]
    unsigned char *flags_memory;                                      // PIECE_ flags
    Merge *merge_memory;                                              // in order of rank
    int *merge_table_memory, *piece_table_memory;                     // hash: ranks, ids; -1 empty
    uint64_t merge_mask, piece_mask;
    TrieNode *trie_memory;                                            // added tokens; node 0 is the root
    size_t num_trie, trie_capacity;
    int matches[2];                                                   // has encode_pass 0, 1 anything to find
    int byte_id[256];                                                 // -1 where a byte has no piece
    unsigned char *class_memory;                                      // (CLASS_END), see class_runs
    Scratch *scratch_memory;                                          // so one thread at a time may encode
} Tokenizer;

// ---------------------------------------------------------------------------------- characters and words

// Unicode 16.0.0: is a character a letter, a number, white space?  From scripts/unicode_tables.py.
enum { CLASS_OTHER, CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE };
enum { CLASS_END = 0x323b0 };
static const char class_runs[] =
    "T1GX27l1Z1LY3HY3X17X37T15L:45<654>4m24m34Yi1@a1h1EL545T@E498A45H54=454a24]:4]AP1iD4i485HU5l8]3@Ad5]5d"
    "2Z1@94]<45l19L9Z1=85P254i3d3U;\\15h1Z1U4T19@5Di2@5T15<5l2U3L]1DQ34IT2Y5X7i6<5X25LY1@Z14Q2@Q1898i24M45"
    "<A<5P25d194=@Z198J85P1I@98i24M494949l3A45LZ18=P2U14=4i24M494E<5X25l19@Z1T15\\1Q1898i24M494E<5h394=@Z1"
    "45J\\154I<=4A<94549<9<=<a1h25d2f1X2Q14=4m24Q2<5X3=8589@Z1P1N45@Q14=4m24Y14E<5l3949@Z149T2U14=4U585P25"
    "D=4N=@^24IDY2<Q34U1458Ml3Z1T2Q649`1MT1Z1l49454E4Q3454Y149T158E45T1Z18AP45l3b2`1Q14a4\\3E\\>]5`25Z1HI@"
    "A<5<9L=@e1`154Z1Hi445D58]54eY14A8M454A8U54A8U44A8M454A8m14U74A8]8h1b2<Q2P2i:8I<a]28U27Y3D]9<>Q1LY2d1]"
    "2h1Y2h1e14=l1a6\\45@5<Z1HZ1h2Z1HU;LE8Y445Di8X1m3l4Z1i38E\\1a5@Y3H^1d4m2T1e6\\5Z1HZ1d15d;m5T2Q1<Z1T5i3"
    "d19Z1a5X3a4`3Z1<=Z1a48]1D]58=T5A4I49<5DQHP8iR18I8i48I8Q14545454m38e64M45<=4M<A8I@e1D=4M<_1d3;D7l57P26"
    "58JD5Z1He1d<5@58Y145<EH545454A4]18ADE@54^69Fhj2b7h9j2h^2j3`]4eLHA<9T168i445D58Q7L5P2m2T1M4M4M4M4M4M4M"
    "4MP:5Pj17@96T3V1LE8>9@i:H=4Y;4AD]54i;<BX1Q4P6Q2P4Z1h3R14n1P4Z1l4n1PX1QhIP8eaf2\\8i58eQ1<Q2Z19`2m5P2m3"
    "8i8Z1l4U18m<8]889454Q1d2Q24=4A4m2d1JX1a6h1Y6`3Z1P3I<5494Z1a3X1m2T3e3Lm5`35Z1HE4Y1Z1E4U5l2=4Q1@Z1Hm2<5"
    "<Y645<98E8545P3=8]1L=`1I8I8IT1M4M4]54i1H]>d1Z1Had[1`1m2@U6`PQ1i]18Y=h4M`1ED54Y14e14E4549494a=T4]]1X2Q"
    "88i6P5a1`>E4m@\\2Z1LY3HY3\\1U;<I8I8I8=\\4a14Y34]2494m18i1X4]\?`1f5`1V7T2:`Ne3<U6P2^3@Q4BT1a26Q16Di4X1"
    "i38a4@Q14FX5iC8Z1Ha4@a4@Q5P1a6`1]14m14M494]14m14M49<a6`1mV1T1i2X1Q1P3I4Y54U1d8I854a549<58m28R1m28Nm3P"
    "1V1P6]249DFi2J@Y3h8Q7@:9R28j55l1A4=4e3X1V1l2e3:4e3>P4Q14a3HFP2i6X1i28R1]2DR1Y2l2NP:U9l6]6d1]6LJa4`1Z1"
    "HZ1a3T1m2XKn34Y5H9P2=\\7e3Z15P1i2\\1B\\3Y2h5e2N`2m2`1e6X3j34985d1e5P4U3LZ1T1a4l1Z1@585P1]4<5`1Q6h1A\\"
    "1Z1545@b2\\1Y24U3\\29l7M454A4m14Y1Lm5T2Z1\\1Q1898i24M494E<5X25`1Eh3Y145854i445T3545`5e6X2ADZ1D=h3Q6`2"
    "945P1Z1hDm5T5A`4Q6`25\\1Z1h4]5d15LZ1Hb2`3]3d2b1@MTGa5`>Q8^2`1Q1858Q1494Q3l1545h1Z1h8Q18m4P2545`35X1Q5"
    "L5d25\\1i5\\25X2U9lHU4l1Z1HU14e4T25l1f3Di3P>M494i4d25T1Z1HI494Q4h15LZ1hV1]2l154e14Y4`3Z1h:5l1f2\\5Yc3"
    "h<n=T2aH`Y:U<l1QV4T2IT3]c\?DmX2TgJi3X2Z1hh6UW2Lm34Z1Hm94Z1Hi3X2Q6P2A`1Z14N4e2D]2Pf1e5<Z1hHQ8n2T=]9D5X"
    "8e1P8945`3QoGP1ij4T5Y1llR1A4M494]T1l15d3=85h1AP1aa1`P9]=De1<U1LY1hZ@Z1hh5b2`1b2`=V3l@e:4m84985898A4a1"
    "454M4U84A8Q14M4a34A4E45<M4aZ18U34U34m34U34m34U34m34U34m34U34Q18Z6PP7m3HIdP1i7XBe5X1M8Z1@5TX1i3X2a5@Z1"
    "hj1a3@Z1hJi385Z1dl1M4A494m14eH8V1P6a8L5@Z1lR3^74>4B`9f54n1XHA4]34945854Y14A4545H5@545454=494585454545"
    "4549458A4M4A4A454Y14U2D=4E4U2`X2f1\\l:Z1hP4QlV5P4YW@HiK8Y`Fh1UVMl1i]2Xd9iS2Xl5]YCDQ\\@";

static void read_classes(unsigned char class[CLASS_END]) {
    size_t at = 0;
    for (const char *p = class_runs; *p; p++) {
        size_t v = 0;
        int shift = 0;
        for (; *p >= 80; p++, shift += 5) v |= (size_t)(*p - 80) << shift;
        v |= (size_t)(*p - 48) << shift;
        memset(class + at, (int)(v & 3), v >> 2);
        at += v >> 2;
    }
    assert(at == CLASS_END);
}

// The class of the character at s and its length; a byte that is not UTF-8 is another character of its own.
static int class_at(const Tokenizer *t, const char *s, size_t n, size_t *len) {
    uint32_t code;
    if (!(*s & 0x80)) return *len = 1, t->class_memory[(unsigned char)*s];
    int k = utf8_decode(s, n, &code);
    *len = k ? (size_t)k : 1;
    return k && code < CLASS_END ? t->class_memory[code] : CLASS_OTHER;
}

// Where the word that begins at i ends (n is the end of the text):
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
static size_t word_end(const Tokenizer *t, const char *s, size_t i, size_t n) {
    size_t j = i, len, last = i;
    if (s[i] == '\'' && n - i > 1) {
        char a = s[i+1], b = n - i > 2 ? s[i+2] : 0;
        if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
        if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
    }
    int class = class_at(t, s + i, n - i, &len);
    if (s[i] == ' ' && n - i > 1) {
        int next = class_at(t, s + i + 1, n - i - 1, &len);
        if (next != CLASS_SPACE) class = next, j = i + 1;
    }
    for (; j < n && class_at(t, s + j, n - j, &len) == class; j += len) last = j;
    return class == CLASS_SPACE && j < n && last > i ? last : j;      // the last one goes with the next word
}

// GPT-2's alphabet: a printable character for every byte.  33..126, 161..172 and 174..255 are themselves.
static int is_printable(int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; }

static void byte_alphabet(uint32_t code[256], unsigned char order[256]) {
    int n = 0;
    for (int b = 0; b < 256; b++) if (is_printable(b)) order[n++] = (unsigned char)b, code[b] = (uint32_t)b;
    for (int b = 0, extra = 256; b < 256; b++)
        if (!is_printable(b)) order[n++] = (unsigned char)b, code[b] = (uint32_t)extra++;
}

// ------------------------------------------------------------------------------------------------ a heap

static int heap_less(HeapItem a, HeapItem b) { return a.rank != b.rank ? a.rank < b.rank : a.item < b.item; }

static int heap_push(Heap *h, int64_t rank, uint64_t item) {
    if (reserve(&h->item, &h->capacity, h->n + 1, sizeof *h->item) < 0) return -1;
    HeapItem x = {rank, item};
    size_t i = h->n++;
    for (; i && heap_less(x, h->item[(i - 1) / 2]); i = (i - 1) / 2) h->item[i] = h->item[(i - 1) / 2];
    h->item[i] = x;
    return 0;
}

static HeapItem heap_pop(Heap *h) {
    HeapItem top = h->item[0], x = h->item[--h->n];
    size_t i = 0, child;
    for (; (child = 2*i + 1) < h->n; i = child) {
        if (child + 1 < h->n && heap_less(h->item[child + 1], h->item[child])) child++;
        if (!heap_less(h->item[child], x)) break;
        h->item[i] = h->item[child];
    }
    h->item[i] = x;
    return top;
}

// ---------------------------------------------------------------------------------- pieces and merges

static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15u, h ^= h >> 32;
    return h;
}

const char *tokenizer_piece(const Tokenizer *t, int id) { return t->bytes.data + t->start_memory[id]; }
size_t tokenizer_piece_len(const Tokenizer *t, int id) { return t->start_memory[id + 1] - t->start_memory[id]; }

// The slot of the table where the piece s stands or would stand.
static int *piece_slot(const Tokenizer *t, const char *s, size_t n) {
    uint64_t i = hash_bytes(s, n) & t->piece_mask;
    for (int id; (id = t->piece_table_memory[i]) >= 0; i = (i + 1) & t->piece_mask)
        if (tokenizer_piece_len(t, id) == n && !memcmp(tokenizer_piece(t, id), s, n)) break;
    return &t->piece_table_memory[i];
}

static int *merge_slot(const Tokenizer *t, int left, int right) {
    uint64_t i = random_mix((uint64_t)left << 32 | (uint32_t)right) & t->merge_mask;
    for (int m; (m = t->merge_table_memory[i]) >= 0; i = (i + 1) & t->merge_mask)
        if (t->merge_memory[m].left == left && t->merge_memory[m].right == right) break;
    return &t->merge_table_memory[i];
}

static int add_piece(Tokenizer *t, const char *s, size_t n, int flags) {
    assert(t->vocab_size < t->max_vocab);
    if (buffer_append(&t->bytes, s, n) < 0) return -1;
    int id = t->vocab_size++;
    t->start_memory[id + 1] = t->bytes.len;
    t->flags_memory[id] = (unsigned char)flags;
    if (flags & PIECE_IN_VOCAB) *piece_slot(t, tokenizer_piece(t, id), n) = id;
    return id;
}

static void add_merge(Tokenizer *t, int left, int right, int id) {
    assert(t->num_merges < t->max_merges);
    *merge_slot(t, left, right) = t->num_merges;
    t->merge_memory[t->num_merges++] = (Merge){left, right, id};
}

// Enters the added token id in the trie.
static int add_to_trie(Tokenizer *t, int id, const char *what) {
    const char *s = tokenizer_piece(t, id);
    int at = 0;
    for (size_t i = 0; i < tokenizer_piece_len(t, id); i++) {
        int child = t->trie_memory[at].child;
        while (child >= 0 && t->trie_memory[child].byte != (unsigned char)s[i])
            child = t->trie_memory[child].sibling;
        if (child < 0) {
            if (reserve(&t->trie_memory, &t->trie_capacity, t->num_trie + 1, sizeof(TrieNode)) < 0) return -1;
            child = (int)t->num_trie++;
            t->trie_memory[child] = (TrieNode){-1, t->trie_memory[at].child, -1, (unsigned char)s[i]};
            t->trie_memory[at].child = child;
        }
        at = child;
    }
    if (t->trie_memory[at].id >= 0)
        return fail(EX_DATAERR, "%s: the added tokens %d and %d are equal", what, t->trie_memory[at].id, id);
    t->trie_memory[at].id = id;
    if (!(t->flags_memory[id] & PIECE_SPECIAL)) t->matches[!!(t->flags_memory[id] & PIECE_NORMALIZED)] = 1;
    return 0;
}

void tokenizer_free(Tokenizer *t) {
    if (t->scratch_memory) free(t->scratch_memory->row), free(t->scratch_memory->heap.item);
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

// An empty table of at least 2 n slots.
static int *table_init(size_t n, uint64_t *mask) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    int *table = allocate(slots, sizeof *table);
    if (table) memset(table, -1, slots * sizeof *table);
    *mask = slots - 1;
    return table;
}

// An empty tokenizer with room for so many pieces and merges.
static int tokenizer_init(Tokenizer *t, size_t max_vocab, size_t max_merges) {
    memset(t, 0, sizeof *t);
    t->eos = t->bos = t->pad = -1;
    memset(t->byte_id, -1, sizeof t->byte_id);
    t->max_vocab = (int)max_vocab;
    t->max_merges = (int)max_merges;
    if (!(t->start_memory = allocate(max_vocab + 1, sizeof *t->start_memory))
        || !(t->flags_memory = allocate(max_vocab, 1))
        || !(t->merge_memory = allocate(max_merges, sizeof *t->merge_memory))
        || !(t->merge_table_memory = table_init(max_merges, &t->merge_mask))
        || !(t->piece_table_memory = table_init(max_vocab, &t->piece_mask))
        || !(t->class_memory = allocate(CLASS_END, 1))
        || !(t->scratch_memory = allocate(1, sizeof *t->scratch_memory))
        || reserve(&t->trie_memory, &t->trie_capacity, 1, sizeof(TrieNode)) < 0) return tokenizer_free(t), -1;
    t->trie_memory[t->num_trie++] = (TrieNode){-1, -1, -1, 0};
    read_classes(t->class_memory);
    return 0;
}

// The ids of the single bytes and of the well-known names.
static void find_ids(Tokenizer *t) {
    static const char *const eos[] = {"</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", NULL};
    static const char *const bos[] = {"<s>", "<|begin_of_text|>", "<|endoftext|>", NULL};
    static const char *const pad[] = {"<pad>", "<|padding|>", NULL};
    const struct { const char *const *name; int *id; } known[] = {{eos, &t->eos}, {bos, &t->bos},
                                                                  {pad, &t->pad}};
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        t->byte_id[b] = *piece_slot(t, &byte, 1);
    }
    for (int k = 0; k < 3; k++)
        for (int n = 0; known[k].name[n] && *known[k].id < 0; n++)
            for (int id = 0; id < t->vocab_size && *known[k].id < 0; id++)
                if (t->flags_memory[id] & PIECE_ADDED && tokenizer_piece_len(t, id) == strlen(known[k].name[n])
                    && !memcmp(tokenizer_piece(t, id), known[k].name[n], tokenizer_piece_len(t, id))) *known[k].id = id;
}

// ---------------------------------------------------------------------------------------------- a row

// Pieces in a row, one int for every byte: the first byte of a piece holds its id; when it has more bytes the
// last holds minus their number; those between hold anything below 0.  EDGE stands before and after a word.
enum { EDGE = INT_MIN };

static size_t left_of(const int *row, size_t p) { return row[p-1] < 0 ? p - (size_t)-row[p-1] : p - 1; }

// The pieces at p and q, neighbours, become one piece id of len bytes.
static void join(int *row, size_t p, size_t q, int id, size_t len) {
    row[q] = -1;
    row[p + len - 1] = -(int)len;
    row[p] = id;
}

// ---------------------------------------------------------------------------------------------- learning

typedef struct { const char *s; size_t len; uint64_t hash; int64_t count; } Word;
typedef struct { int left, right, first, last; int64_t count; } Pair;            // first, last: in the places
typedef struct { int at, next; } Place;                                          // in the row; the next or -1

typedef struct {
    Word *word;                     // the different words and how often each occurs
    int *word_table;                // hash table of words, -1 empty
    size_t num_words, word_capacity, num_slots;
    int *row, *word_of;             // (N) all words in one row; the word of each place
    Pair *pair;                     // neighbours that occur, or did
    int *pair_table;
    size_t num_pairs, pair_capacity, num_pair_slots;
    Place *place;                   // for every pair a list of places, ascending; one may be gone by now
    size_t num_places, place_capacity;
    Heap heap;                      // rank = -count when it was pushed, item = left, right
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

// Doubles a hash table when its n entries fill half of it.  1: the caller enters them again; 0: it had room.
static int table_grow(int **table, size_t *slots, size_t n) {
    uint64_t mask;
    if (2 * n < *slots) return 0;
    int *grown = table_init(n < 1024 ? 1024 : 2 * n, &mask);
    if (!grown) return -1;
    free(*table);
    *table = grown;
    *slots = mask + 1;
    return 1;
}

static int count_word(Learner *l, const char *s, size_t len) {
    uint64_t hash = hash_bytes(s, len);
    int grown = table_grow(&l->word_table, &l->num_slots, l->num_words);
    size_t mask = l->num_slots - 1, i;
    if (grown < 0) return -1;
    for (size_t w = 0; grown && w < l->num_words; w++) {
        for (i = l->word[w].hash & mask; l->word_table[i] >= 0; ) i = (i + 1) & mask;
        l->word_table[i] = (int)w;
    }
    for (i = hash & mask; l->word_table[i] >= 0; i = (i + 1) & mask) {
        Word *w = &l->word[l->word_table[i]];
        if (w->hash == hash && w->len == len && !memcmp(w->s, s, len)) return w->count++, 0;
    }
    if (reserve(&l->word, &l->word_capacity, l->num_words + 1, sizeof *l->word) < 0) return -1;
    l->word_table[i] = (int)l->num_words;
    l->word[l->num_words++] = (Word){s, len, hash, 1};
    return 0;
}

static int *pair_slot(Learner *l, int left, int right) {
    size_t mask = l->num_pair_slots - 1, i = random_mix((uint64_t)left << 32 | (uint32_t)right) & mask;
    for (; l->pair_table[i] >= 0; i = (i + 1) & mask)
        if (l->pair[l->pair_table[i]].left == left && l->pair[l->pair_table[i]].right == right) break;
    return &l->pair_table[i];
}

// One more place of a pair: its left piece begins at p.
static int add_place(Learner *l, int left, int right, size_t p) {
    int grown = table_grow(&l->pair_table, &l->num_pair_slots, l->num_pairs);
    if (grown < 0) return -1;
    for (size_t k = 0; grown && k < l->num_pairs; k++)
        *pair_slot(l, l->pair[k].left, l->pair[k].right) = (int)k;
    int *slot = pair_slot(l, left, right), place = (int)l->num_places;
    if (*slot < 0) {
        if (reserve(&l->pair, &l->pair_capacity, l->num_pairs + 1, sizeof *l->pair) < 0) return -1;
        l->pair[l->num_pairs] = (Pair){left, right, -1, -1, 0};
        *slot = (int)l->num_pairs++;
    }
    if (l->num_places >= INT_MAX) return fail(EX_DATAERR, "too much text to learn a vocabulary from");
    if (reserve(&l->place, &l->place_capacity, l->num_places + 1, sizeof *l->place) < 0) return -1;
    Pair *pair = &l->pair[*slot];
    l->place[l->num_places++] = (Place){(int)p, -1};
    if (pair->first < 0) pair->first = place;
    else l->place[pair->last].next = place;
    pair->last = place;
    pair->count += l->word[l->word_of[p]].count;
    return 0;
}

static int push_pairs(Learner *l, size_t first) {
    for (size_t i = first; i < l->num_pairs; i++) {
        const Pair *p = &l->pair[i];
        if (heap_push(&l->heap, -p->count, (uint64_t)p->left << 32 | (uint32_t)p->right) < 0) return -1;
    }
    return 0;
}

// All different words in one row of bytes, and the pairs in it.
static int lay_row(Learner *l, const Tokenizer *t) {
    size_t n = 1, at = 0;
    for (size_t w = 0; w < l->num_words; w++) n += l->word[w].len + 1;
    if (n >= INT_MAX) return fail(EX_DATAERR, "too much text to learn a vocabulary from");
    if (!(l->row = allocate(n, sizeof *l->row)) || !(l->word_of = allocate(n, sizeof *l->word_of))) return -1;
    l->row[at++] = EDGE;
    for (size_t w = 0; w < l->num_words; w++) {
        for (size_t i = 0; i < l->word[w].len; i++, at++) {
            l->row[at] = t->byte_id[(unsigned char)l->word[w].s[i]];
            l->word_of[at] = (int)w;
            if (i && add_place(l, l->row[at-1], l->row[at], at - 1) < 0) return -1;
        }
        l->row[at++] = EDGE;
    }
    return push_pairs(l, 0);
}

// Joins pair k into id wherever it stands and keeps the counts: of x a b y, x a and b y go, x ab, ab y come.
static int join_everywhere(Learner *l, const Tokenizer *t, int k, int id) {
    int a = l->pair[k].left, b = l->pair[k].right, *row = l->row;
    size_t len_a = tokenizer_piece_len(t, a), len = tokenizer_piece_len(t, id), old_pairs = l->num_pairs;
    for (int i = l->pair[k].first; i >= 0; i = l->place[i].next) {
        size_t p = (size_t)l->place[i].at, q = p + len_a, y = p + len, x;
        if (row[p] != a || row[q] != b) continue;
        int64_t count = l->word[l->word_of[p]].count;
        join(row, p, q, id, len);
        l->pair[k].count -= count;
        if (row[p-1] != EDGE) {
            x = left_of(row, p);
            l->pair[*pair_slot(l, row[x], a)].count -= count;
            if (add_place(l, row[x], id, x) < 0) return -1;
        }
        if (row[y] != EDGE) {
            l->pair[*pair_slot(l, b, row[y])].count -= count;
            if (add_place(l, id, row[y], p) < 0) return -1;
        }
    }
    assert(l->pair[k].count == 0);
    return push_pairs(l, old_pairs);                                  // no other pair has grown
}

// The most frequent pair becomes a piece, until the vocabulary is full or no pair occurs twice.  Of equally
// frequent pairs the least left id is taken, then the least right id: the result depends on the text alone.
static int learn_merges(Learner *l, Tokenizer *t) {
    Buffer joined = {0};
    int bad = 0;
    while (!bad && t->vocab_size < t->max_vocab && l->heap.n) {
        HeapItem top = heap_pop(&l->heap);
        int left = (int)(top.item >> 32), right = (int)(top.item & 0x7fffffff), id;
        int k = *pair_slot(l, left, right);
        if (l->pair[k].count < 2) continue;
        if (l->pair[k].count != -top.rank) {                          // joins next to it took some away
            bad = heap_push(&l->heap, -l->pair[k].count, top.item) < 0;
            continue;
        }
        joined.len = 0;
        bad = buffer_append(&joined, tokenizer_piece(t, left), tokenizer_piece_len(t, left)) < 0
           || buffer_append(&joined, tokenizer_piece(t, right), tokenizer_piece_len(t, right)) < 0;
        if (bad || *piece_slot(t, joined.data, joined.len) >= 0) continue;         // made before, otherwise
        bad = (id = add_piece(t, joined.data, joined.len, PIECE_IN_VOCAB)) < 0;
        if (!bad) add_merge(t, left, right, id);
        bad = bad || join_everywhere(l, t, k, id) < 0;
    }
    buffer_free(&joined);
    return bad ? -1 : 0;
}

// Learns at most vocab_size pieces from n documents; document i is text[i ? end[i-1] : 0 .. end[i]).
int tokenizer_learn(Tokenizer *t, const char *text, const size_t *end, size_t n, int vocab_size) {
    static const char *const special[] = {"<|endoftext|>", "<|padding|>"};
    const int special_flags = PIECE_ADDED | PIECE_SPECIAL;
    Learner l = {0};
    uint32_t code[256];
    unsigned char order[256];
    memset(t, 0, sizeof *t);
    if (vocab_size < FIRST_MERGE || vocab_size > 1 << 24)
        return fail(EX_USAGE, "a vocabulary of %d pieces: from %d to %d is possible", vocab_size, FIRST_MERGE,
                    1 << 24);
    if (tokenizer_init(t, (size_t)vocab_size, (size_t)(vocab_size - FIRST_MERGE)) < 0) return -1;
    byte_alphabet(code, order);
    int bad = 0;
    for (int i = 0; i < FIRST_MERGE && !bad; i++) {
        char byte = i < FIRST_BYTE ? 0 : (char)order[i - FIRST_BYTE];
        if (i >= FIRST_BYTE) bad = add_piece(t, &byte, 1, PIECE_IN_VOCAB) < 0;
        else bad = add_piece(t, special[i], strlen(special[i]), PIECE_IN_VOCAB | special_flags) < 0
                || add_to_trie(t, i, "tokenizer") < 0;
    }
    if (!bad) find_ids(t);
    for (size_t d = 0; d < n && !bad; d++)
        for (size_t i = d ? end[d-1] : 0, j; i < end[d] && !bad; i = j)
            j = word_end(t, text, i, end[d]), bad = count_word(&l, text + i, j - i) < 0;
    bad = bad || lay_row(&l, t) < 0 || learn_merges(&l, t) < 0;
    learner_free(&l);
    if (bad) tokenizer_free(t);
    return bad ? -1 : 0;
}

// ---------------------------------------------------------------------------------------------- encoding

static int push_merge(const Tokenizer *t, size_t p, int left, int right) {
    int rank = *merge_slot(t, left, right);
    return rank < 0 ? 0 : heap_push(&t->scratch_memory->heap, rank, p);
}

typedef struct { int **ids; size_t *count, *capacity; } Ids;

static int append_ids(Ids *out, const int *ids, size_t n) {
    if (reserve(out->ids, out->capacity, *out->count + n, sizeof *ids) < 0) return -1;
    memcpy(*out->ids + *out->count, ids, n * sizeof *ids);
    *out->count += n;
    return 0;
}

// The ids of one word, by a heap of the merges that may be done: n log n for a word of n bytes.
static int encode_word(const Tokenizer *t, const char *s, size_t n, Ids *out) {
    Scratch *w = t->scratch_memory;
    uint64_t slot = hash_bytes(s, n);
    CacheSlot *cached = n > CACHE_WORD ? NULL : &w->cache[(slot ^ slot >> 20) % CACHE_SLOTS];
    if (cached && cached->len == n && !memcmp(cached->word, s, n))
        return append_ids(out, cached->id, cached->count);
    if (n > INT_MAX / 2) return fail(EX_DATAERR, "a word of %zu bytes is too long to encode", n);
    if (reserve(&w->row, &w->row_capacity, n + 2, sizeof *w->row) < 0) return -1;
    int *row = w->row;
    row[0] = row[n+1] = EDGE;
    w->heap.n = 0;
    for (size_t i = 1; i <= n; i++) {
        row[i] = t->byte_id[(unsigned char)s[i-1]];
        if (row[i] < 0)
            return fail(EX_DATAERR, "the tokenizer has no piece for the byte 0x%02x", (unsigned char)s[i-1]);
        if (i > 1 && push_merge(t, i - 1, row[i-1], row[i]) < 0) return -1;
    }
    while (w->heap.n) {
        HeapItem top = heap_pop(&w->heap);
        const Merge *m = &t->merge_memory[top.rank];
        size_t p = (size_t)top.item, q = p + tokenizer_piece_len(t, m->left), len;
        if (row[p] != m->left || row[q] != m->right) continue;        // one is in another piece by now
        join(row, p, q, m->id, len = tokenizer_piece_len(t, m->id));
        size_t x = row[p-1] == EDGE ? 0 : left_of(row, p);
        if (x && push_merge(t, x, row[x], m->id) < 0) return -1;
        if (row[p + len] != EDGE && push_merge(t, p, m->id, row[p + len]) < 0) return -1;
    }
    size_t count = 0;                                                 // the ids move to the front of the row
    for (size_t p = 1, len; p <= n; p += len) len = tokenizer_piece_len(t, row[p]), row[count++] = row[p];
    if (cached && count <= CACHE_IDS) {
        cached->len = (unsigned char)n;
        cached->count = (unsigned char)count;
        memcpy(cached->word, s, n);
        memcpy(cached->id, row, count * sizeof *row);
    }
    return append_ids(out, row, count);
}

// The longest added token that begins at s and is matched in this pass, or -1.
static int added_at(const Tokenizer *t, const char *s, size_t n, int pass) {
    int best = -1, at = 0;
    for (size_t i = 0; i < n; i++) {
        for (at = t->trie_memory[at].child; at >= 0 && t->trie_memory[at].byte != (unsigned char)s[i]; )
            at = t->trie_memory[at].sibling;
        if (at < 0) break;
        int id = t->trie_memory[at].id, flags = id < 0 ? PIECE_SPECIAL : t->flags_memory[id];
        if (!(flags & PIECE_SPECIAL) && !(flags & PIECE_NORMALIZED) == !pass) best = id;
    }
    return best;
}

/* The longest special token that is written out at s, or -1: encoding never looks for these, since data must
 * not end a text.                                                                                          */
int tokenizer_special_at(const Tokenizer *t, const char *s, size_t n) {
    int best = -1, at = 0;
    for (size_t i = 0; t->num_trie && i < n; i++) {
        for (at = t->trie_memory[at].child; at >= 0 && t->trie_memory[at].byte != (unsigned char)s[i]; )
            at = t->trie_memory[at].sibling;
        if (at < 0) break;
        int id = t->trie_memory[at].id;
        if (id >= 0 && t->flags_memory[id] & PIECE_SPECIAL) best = id;
    }
    return best;
}

// Pass 0 cuts out the added tokens that are not "normalized", pass 1 those that are, pass 2 words.
static int encode_pass(const Tokenizer *t, const char *s, size_t n, int pass, Ids *out) {
    size_t from = 0;
    if (pass == 2) {
        for (size_t i = 0, j; i < n; i = j)
            if (j = word_end(t, s, i, n), encode_word(t, s + i, j - i, out) < 0) return -1;
        return 0;
    }
    for (size_t i = 0; t->matches[pass] && i < n; ) {
        int id = added_at(t, s + i, n - i, pass);
        if (id < 0) {
            i++;
            continue;
        }
        if (encode_pass(t, s + from, i - from, pass + 1, out) < 0 || append_ids(out, &id, 1) < 0) return -1;
        from = i += tokenizer_piece_len(t, id);
    }
    return encode_pass(t, s + from, n - from, pass + 1, out);
}

// Appends the ids of a text to *ids.  Nothing is put before or after them.
int tokenizer_encode(const Tokenizer *t, const char *text, size_t len, int **ids, size_t *count,
                     size_t *capacity) {
    Ids out = {ids, count, capacity};
    return encode_pass(t, text, len, 0, &out);
}

// Appends the bytes of the pieces to out.
int tokenizer_decode(const Tokenizer *t, const int *ids, size_t n, Buffer *out) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->vocab_size)
            return fail(EX_DATAERR, "no piece has the id %d: the vocabulary has %d", ids[i], t->vocab_size);
        if (buffer_append(out, tokenizer_piece(t, ids[i]), tokenizer_piece_len(t, ids[i])) < 0) return -1;
    }
    return 0;
}

// ---------------------------------------------------------------------------------------- tokenizer.json

// The bytes that a string in GPT-2's alphabet stands for, appended to out; 1 if it has another character.
static int from_alphabet(Buffer *out, const char *s, size_t n) {
    uint32_t code[256], c = 0;
    unsigned char order[256];
    byte_alphabet(code, order);
    for (size_t i = 0; i < n; ) {
        i += (size_t)utf8_decode(s + i, n - i, &c);                   // UTF-8, or json_parse had refused it
        int b = c < 256 ? (is_printable((int)c) ? (int)c : -1) : c < 256 + 68 ? order[c - 256 + 188] : -1;
        char byte = (char)b;
        if (b < 0) return 1;
        if (buffer_append(out, &byte, 1) < 0) return -1;
    }
    return 0;
}

// Is n absent, null, false or an empty string?
static int is_off(const Json *j, int n) {
    JsonType type = json_type(j, n);
    return type <= JSON_FALSE || (type == JSON_STRING && !json_length(j, n));
}

// A part such as the normalizer is refused by name unless its type is the one we know.
static int check_type(const Json *j, int part, const char *name, const char *known, const char *path) {
    int type = json_get(j, part, "type");
    if (json_equal(j, type, known)) return 0;
    return fail(EX_DATAERR, "%s: the %s is %.40s, only %s is known", path, name,
                json_type(j, type) == JSON_STRING ? json_string(j, type) : "without a type", known);
}

static int check_parts(Tokenizer *t, const Json *j, const char *path) {
    // unk_token and fuse_unk are about unknown characters: bytes are never unknown
    static const char *const known[] = {"type", "vocab", "merges", "unk_token", "fuse_unk", NULL};
    int model = json_get(j, 0, "model"), part = json_get(j, 0, "normalizer"), list;
    if (json_type(j, model) != JSON_OBJECT) return fail(EX_DATAERR, "%s: it has no \"model\" object", path);
    if (json_get(j, model, "type") >= 0 && check_type(j, model, "model", "BPE", path) < 0) return -1;
    for (int i = json_first(j, model), k; i >= 0; i = json_next(j, i)) {
        for (k = 0; known[k] && strcmp(known[k], json_key(j, i)); k++) { }
        if (!known[k] && !is_off(j, i))
            return fail(EX_DATAERR, "%s: the model has %.40s, which is not known here", path, json_key(j, i));
    }
    if (json_type(j, part) > JSON_NULL) {
        if (check_type(j, part, "normalizer", "NFC", path) < 0) return -1;
        t->nfc = 1;
    }
    part = json_get(j, 0, "pre_tokenizer");
    list = json_get(j, part, "pretokenizers");
    if (json_equal(j, json_get(j, part, "type"), "Sequence") && json_count(j, list) == 1)
        part = json_first(j, list);
    if (check_type(j, part, "pre_tokenizer", "ByteLevel", path) < 0) return -1;
    if (json_type(j, json_get(j, part, "add_prefix_space")) != JSON_FALSE)
        return fail(EX_DATAERR, "%s: the pre_tokenizer has add_prefix_space, which is not known here", path);
    if (json_get(j, part, "use_regex") >= 0 && json_type(j, json_get(j, part, "use_regex")) != JSON_TRUE)
        return fail(EX_DATAERR, "%s: the pre_tokenizer has use_regex false, which is not known here", path);
    return check_type(j, json_get(j, 0, "decoder"), "decoder", "ByteLevel", path);
}

// Fills node[id] with the JSON value that names the piece: from added_tokens, or else from the vocabulary.
static int collect_pieces(const Json *j, int *node, unsigned char *flags, size_t n, const char *path) {
    static const struct { const char *name; int flag; } option[] = {
        {"special", PIECE_SPECIAL}, {"normalized", PIECE_NORMALIZED}, {"lstrip", PIECE_LSTRIP},
        {"rstrip", PIECE_RSTRIP}, {"single_word", PIECE_SINGLE_WORD}};
    int vocab = json_get(j, json_get(j, 0, "model"), "vocab"), added = json_get(j, 0, "added_tokens");
    int64_t id;
    for (int i = json_first(j, vocab); i >= 0; i = json_next(j, i)) {
        if (!json_integer(j, i, &id) || id < 0 || (size_t)id >= n || node[id] >= 0)
            return fail(EX_DATAERR, "%s: the id of \"%.40s\" is not one of 0 to %zu, each used once", path,
                        json_key(j, i), n - 1);
        node[id] = i;
        flags[id] = PIECE_IN_VOCAB;
    }
    for (int i = json_first(j, added); i >= 0; i = json_next(j, i)) {
        int content = json_get(j, i, "content");
        size_t len = json_length(j, content);
        if (json_type(j, content) != JSON_STRING || !len || len > MAX_ADDED)
            return fail(EX_DATAERR, "%s: an added token is empty or more than %d bytes", path, MAX_ADDED);
        const char *name = json_string(j, content);
        int id_node = json_get(j, i, "id");
        if (!json_integer(j, id_node, &id) || id < 0 || (size_t)id >= n || flags[id] & PIECE_ADDED)
            return fail(EX_DATAERR, "%s: the id of the added token \"%.40s\" is not one of 0 to %zu, each "
                        "once", path, name, n - 1);
        if (flags[id] && (json_key_length(j, node[id]) != len || memcmp(json_key(j, node[id]), name, len)))
            return fail(EX_DATAERR, "%s: the added token \"%.40s\" has the id of the piece \"%.40s\"",
                        path, name, json_key(j, node[id]));
        flags[id] |= PIECE_ADDED;
        for (int k = 0; k < 5; k++)
            if (json_type(j, json_get(j, i, option[k].name)) == JSON_TRUE)
                flags[id] |= (unsigned char)option[k].flag;
        if (!(flags[id] & PIECE_SPECIAL) && flags[id] >= PIECE_LSTRIP)
            return fail(EX_DATAERR, "%s: the added token \"%.40s\" has lstrip, rstrip or single_word, which "
                        "are not known here", path, name);
        node[id] = content;
    }
    for (id = 0; (size_t)id < n; id++)
        if (node[id] < 0) return fail(EX_DATAERR, "%s: no piece has the id %lld", path, (long long)id);
    return 0;
}

static int read_pieces(Tokenizer *t, const Json *j, const int *node, const unsigned char *flags, int n,
                       const char *path) {
    Buffer bytes = {0};
    int bad = 0;
    for (int i = 0; i < n && !bad; i++) {
        bytes.len = 0;
        if (flags[i] & PIECE_ADDED) {
            bad = add_piece(t, json_string(j, node[i]), json_length(j, node[i]), flags[i]) < 0
               || add_to_trie(t, i, path) < 0;
            continue;
        }
        const char *name = json_key(j, node[i]);
        bad = !*name ? 1 : from_alphabet(&bytes, name, json_key_length(j, node[i]));
        if (bad > 0) fail(EX_DATAERR, "%s: the piece \"%.40s\" is not in GPT-2's byte alphabet", path, name);
        bad = bad || add_piece(t, bytes.data, bytes.len, flags[i]) < 0;
    }
    buffer_free(&bytes);
    return bad ? -1 : 0;
}

// A merge is "a b" or ["a", "b"]; a, b and ab are pieces.
static int read_merges(Tokenizer *t, const Json *j, int merges, const char *path) {
    Buffer bytes = {0};
    int bad = 0;
    for (int i = json_first(j, merges); i >= 0 && !bad; i = json_next(j, i)) {
        int pair = json_count(j, i) == 2, first = json_first(j, i), second = json_next(j, first);
        int left, right, id;
        const char *a = json_string(j, pair ? first : i), *b = json_string(j, second);
        const char *space = pair ? NULL : memchr(a, ' ', json_length(j, i));
        size_t len_a = pair ? json_length(j, first) : space ? (size_t)(space - a) : 0;
        size_t len_b = pair ? json_length(j, second) : space ? json_length(j, i) - len_a - 1 : 0;
        if (!pair) b = space ? space + 1 : a;
        bytes.len = 0;
        int wrong = !len_a || !len_b ? 1 : from_alphabet(&bytes, a, len_a);
        size_t split = bytes.len;
        if (!wrong) wrong = from_alphabet(&bytes, b, len_b);
        bad = wrong || (left = *piece_slot(t, bytes.data, split)) < 0
           || (right = *piece_slot(t, bytes.data + split, bytes.len - split)) < 0
           || (id = *piece_slot(t, bytes.data, bytes.len)) < 0 || *merge_slot(t, left, right) >= 0;
        if (!bad) add_merge(t, left, right, id);
        else if (wrong >= 0)
            fail(EX_DATAERR, "%s: merge %d, \"%.40s\", is not two pieces that make a third, or stands twice",
                 path, t->num_merges, a);
    }
    buffer_free(&bytes);
    return bad ? -1 : 0;
}

static int read_tokenizer(Tokenizer *t, const Json *j, const char *path) {
    int model = json_get(j, 0, "model"), vocab = json_get(j, model, "vocab"), added, bad;
    int merges = json_get(j, model, "merges"), in_vocab = json_count(j, vocab);
    added = json_get(j, 0, "added_tokens");
    if (json_type(j, vocab) != JSON_OBJECT || json_type(j, merges) != JSON_ARRAY || !in_vocab)
        return fail(EX_DATAERR, "%s: the model needs a \"vocab\" object and a \"merges\" list", path);
    int64_t n = in_vocab, id;                                         // one more than the largest id
    for (int i = json_first(j, added); i >= 0; i = json_next(j, i))
        if (json_integer(j, json_get(j, i, "id"), &id) && id >= n) n = id + 1;
    if (n > (int64_t)in_vocab + json_count(j, added))
        return fail(EX_DATAERR, "%s: some ids have no piece", path);
    int *node = allocate((size_t)n, sizeof *node);
    unsigned char *flags = allocate((size_t)n, 1);
    bad = !node || !flags || tokenizer_init(t, (size_t)n, (size_t)json_count(j, merges)) < 0;
    if (!bad) {
        memset(node, -1, (size_t)n * sizeof *node);
        bad = check_parts(t, j, path) < 0 || collect_pieces(j, node, flags, (size_t)n, path) < 0
           || read_pieces(t, j, node, flags, (int)n, path) < 0 || read_merges(t, j, merges, path) < 0;
    }
    free(node);
    free(flags);
    if (bad) return tokenizer_free(t), -1;
    find_ids(t);
    return 0;
}

// Reads a tokenizer.json.  What it asks for and is not done here is refused by name; its post_processor,
// truncation and padding are not read, because nothing is put around a text.
int tokenizer_load(Tokenizer *t, const char *path) {
    Buffer text = {0};
    Json j = {0};
    memset(t, 0, sizeof *t);
    int bad = file_read(&text, path) < 0 || json_parse(&j, text.data, text.len, path) < 0
           || read_tokenizer(t, &j, path) < 0;
    json_free(&j);
    buffer_free(&text);
    return bad ? -1 : 0;
}

// Piece id as a JSON string: an added token as it is, another in GPT-2's alphabet.
static int write_piece(const Tokenizer *t, int id, const uint32_t code[256], Buffer *out) {
    if (t->flags_memory[id] & PIECE_ADDED) return json_quote(out, tokenizer_piece(t, id), tokenizer_piece_len(t, id));
    char quoted[4];
    if (buffer_append(out, "\"", 1) < 0) return -1;
    for (size_t i = 0; i < tokenizer_piece_len(t, id); i++) {
        uint32_t c = code[(unsigned char)tokenizer_piece(t, id)[i]];
        if ((c == '"' || c == '\\') && buffer_append(out, "\\", 1) < 0) return -1;
        if (buffer_append(out, quoted, (size_t)utf8_encode(quoted, c)) < 0) return -1;
    }
    return buffer_append(out, "\"", 1);
}

static int write_truth(Buffer *out, const char *name, int flag) {
    return buffer_printf(out, ", \"%s\": %s", name, flag ? "true" : "false");
}

// Appends a tokenizer.json: the same bytes for the same pieces and merges.
int tokenizer_json(const Tokenizer *t, Buffer *out) {
    uint32_t code[256];
    unsigned char order[256];
    byte_alphabet(code, order);
    int bad = buffer_printf(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                                 "  \"added_tokens\": [") < 0, n = 0;
    for (int i = 0; i < t->vocab_size && !bad; i++) {
        int f = t->flags_memory[i];
        if (!(f & PIECE_ADDED)) continue;
        bad = buffer_printf(out, "%s\n    {\"id\": %d, \"content\": ", n++ ? "," : "", i) < 0
           || write_piece(t, i, code, out) < 0
           || write_truth(out, "single_word", f & PIECE_SINGLE_WORD) < 0
           || write_truth(out, "lstrip", f & PIECE_LSTRIP) < 0
           || write_truth(out, "rstrip", f & PIECE_RSTRIP) < 0
           || write_truth(out, "normalized", f & PIECE_NORMALIZED) < 0
           || write_truth(out, "special", f & PIECE_SPECIAL) < 0 || buffer_append(out, "}", 1) < 0;
    }
    const char *byte_level = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                             "\"use_regex\": true}";
    bad = bad || buffer_printf(out, "\n  ],\n  \"normalizer\": %s,\n  \"pre_tokenizer\": %s,\n"
              "  \"post_processor\": null,\n  \"decoder\": %s,\n  \"model\": {\n    \"type\": \"BPE\",\n"
              "    \"dropout\": null,\n    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n"
              "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n"
              "    \"ignore_merges\": false,\n    \"vocab\": {",
              t->nfc ? "{\"type\": \"NFC\"}" : "null", byte_level, byte_level) < 0;
    n = 0;
    for (int i = 0; i < t->vocab_size && !bad; i++)
        if (t->flags_memory[i] & PIECE_IN_VOCAB)
            bad = buffer_printf(out, "%s\n      ", n++ ? "," : "") < 0 || write_piece(t, i, code, out) < 0
               || buffer_printf(out, ": %d", i) < 0;
    bad = bad || buffer_printf(out, "\n    },\n    \"merges\": [") < 0;
    for (int i = 0; i < t->num_merges && !bad; i++)
        bad = buffer_printf(out, "%s\n      [", i ? "," : "") < 0
           || write_piece(t, t->merge_memory[i].left, code, out) < 0 || buffer_append(out, ", ", 2) < 0
           || write_piece(t, t->merge_memory[i].right, code, out) < 0 || buffer_append(out, "]", 1) < 0;
    return bad || buffer_printf(out, "\n    ]\n  }\n}\n") < 0 ? -1 : 0;
}

#endif

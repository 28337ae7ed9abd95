/* unicode.c - which characters are letters, numbers and white space; and Unicode's normal form C,
 * in which a letter and its marks are one character where there is one.  Unicode Standard Annex 15.
 *
 *     e U+0301 U+0323            a text
 *     e U+0323 U+0301            every character is taken apart, and the marks of a letter sorted
 *                                by their combining class;
 *     U+1EB9 U+0301              then marks are put into the letter, in order, if there is such a
 *                                character and no mark of the same class stands between.
 *
 * The tables are printed by scripts/unicode_tables.py.  They know the Unicode that the package
 * `tokenizers` knows, so that ids are those of Hugging Face; a newer character is left as it is. */
#ifndef UNICODE_C
#define UNICODE_C

#include "common.h"
#include "files/json.c"

typedef struct { uint32_t first, second, code; } CharacterPair;        // first and second are code

typedef struct NormalForm {
    unsigned char *class_memory;        // (COMBINING_END) the combining class of each character
    CharacterPair *part_memory;         // by code: what it is taken apart into; second 0: nothing
    CharacterPair *pair_memory;         // by first, second: what becomes one
    size_t num_parts, num_pairs;
    uint64_t *row;                      // the text as numbers, see mark_number
    size_t row_capacity;
} NormalForm;

int    normal_form_init(NormalForm *n);
void   normal_form_free(NormalForm *n);
int    normal_form_apply(NormalForm *n, const char *s, size_t len, Buffer *out);
size_t unicode_number(const char **p);                                 // the next one of a table

// Is a character a letter, a number, white space?  Of a table, which is read once.
enum { CLASS_OTHER, CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE, NUM_CLASSES };
enum { CLASS_END = 0x323b0 };           // from here on all characters are CLASS_OTHER
void character_classes(unsigned char class[CLASS_END]);
int  character_is_word(uint32_t code);

// ------------------------------------------------------------------------------------------ tables

enum { COMBINING_END = 0x1e94b };       // from here on all combining classes are 0
enum { NUM_PARTS = 2060 };              // characters that are taken apart, but for Korean
static void read_tables(NormalForm *n);

// Base 32, lowest digit first, as the characters '0' + digit, plus 32 where another digit follows.
size_t unicode_number(const char **p) {
    size_t number = 0;
    int shift = 0;
    for (; **p >= '0' + 32; (*p)++) {
        number |= (size_t)(**p - '0' - 32) << shift;
        shift += 5;
    }
    number |= (size_t)(**p - '0') << shift;
    (*p)++;
    return number;
}

static int compare_pairs(const void *a, const void *b) {
    const CharacterPair *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

static int compare_codes(const void *a, const void *b) {
    const CharacterPair *x = a, *y = b;
    return (x->code > y->code) - (x->code < y->code);
}

void normal_form_free(NormalForm *n) {
    free(n->class_memory);
    free(n->part_memory);
    free(n->pair_memory);
    free(n->row);
    memset(n, 0, sizeof *n);
}

// 0, or -1 after fail(); then n is empty.
int normal_form_init(NormalForm *n) {
    memset(n, 0, sizeof *n);
    n->class_memory = allocate(COMBINING_END, 1);
    n->part_memory = allocate(NUM_PARTS, sizeof *n->part_memory);
    n->pair_memory = allocate(NUM_PARTS, sizeof *n->pair_memory);
    if (!n->class_memory || !n->part_memory || !n->pair_memory) {
        normal_form_free(n);
        return -1;
    }
    read_tables(n);
    qsort(n->pair_memory, n->num_pairs, sizeof *n->pair_memory, compare_pairs);
    return 0;
}

// ------------------------------------------------------------------------------------- normal form

// Korean syllables are put together by arithmetic: a first consonant, a vowel, or none or a last
// consonant, each of them a character too.  The Unicode Standard, section 3.12.
enum {
    SYLLABLE = 0xac00, CONSONANT = 0x1100, VOWEL = 0x1161, LAST = 0x11a7,
    CONSONANTS = 19, VOWELS = 21, LASTS = 28, SYLLABLES = CONSONANTS * VOWELS * LASTS,
};

// A place of the row: a character's code in the low 21 bits; above them, of a mark, its place, and
// above that its class, so that sorting marks as numbers sorts them by class and keeps their order.
// A byte that is no UTF-8 is RAW_BYTE + byte: nothing is done with it.
enum { CODE_BITS = 21, CLASS_SHIFT = 56, RAW_BYTE = 0x110000 };

static uint32_t row_code(uint64_t c) { return c & ((1 << CODE_BITS) - 1); }
static int      row_class(uint64_t c) { return (int)(c >> CLASS_SHIFT); }

static int row_add(NormalForm *n, size_t *len, uint32_t code) {
    if (reserve(&n->row, &n->row_capacity, *len + 1, sizeof *n->row) < 0) return -1;
    const uint64_t class = code < COMBINING_END ? n->class_memory[code] : 0;
    const uint64_t place = class ? (uint64_t)*len << CODE_BITS : 0;
    n->row[*len] = class << CLASS_SHIFT | place | code;
    (*len)++;
    return 0;
}

// Appends the parts of a character to the row.
static int take_apart(NormalForm *n, size_t *len, uint32_t code) {
    if (code >= SYLLABLE && code < SYLLABLE + SYLLABLES) {
        const uint32_t i = code - SYLLABLE, last = i % LASTS;
        if (row_add(n, len, CONSONANT + i / (VOWELS * LASTS)) < 0) return -1;
        if (row_add(n, len, VOWEL + i / LASTS % VOWELS) < 0) return -1;
        return last ? row_add(n, len, LAST + last) : 0;
    }
    const CharacterPair key = {.code = code};
    const CharacterPair *parts = bsearch(&key, n->part_memory, n->num_parts, sizeof key,
                                         compare_codes);
    if (!parts) return row_add(n, len, code);
    if (take_apart(n, len, parts->first) < 0) return -1;
    return parts->second ? row_add(n, len, parts->second) : 0;
}

// The character that two become, or 0.
static uint32_t put_together(const NormalForm *n, uint32_t first, uint32_t second) {
    const uint32_t consonant = first - CONSONANT, vowel = second - VOWEL;
    const uint32_t syllable = first - SYLLABLE, last = second - LAST;
    if (consonant < CONSONANTS && vowel < VOWELS) {
        return SYLLABLE + (consonant * VOWELS + vowel) * LASTS;
    }
    if (syllable < SYLLABLES && syllable % LASTS == 0 && last > 0 && last < LASTS) {
        return first + last;
    }
    const CharacterPair key = {.first = first, .second = second};
    const CharacterPair *pair = bsearch(&key, n->pair_memory, n->num_pairs, sizeof key,
                                        compare_pairs);
    return pair ? pair->code : 0;
}

static int compare_marks(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Sorts the marks of each letter.
static void sort_marks(uint64_t *row, size_t len) {
    size_t i = 0;
    while (i < len) {
        size_t end = i;
        while (end < len && row_class(row[end])) end++;
        if (end - i > 1) qsort(row + i, end - i, sizeof *row, compare_marks);
        i = end > i ? end : i + 1;
    }
}

// Puts marks into their letters; returns the new length.
static size_t compose(const NormalForm *n, uint64_t *row, size_t len) {
    size_t letter = len, m = 0;         // row[0 .. m) is done; the last letter in it, or len
    for (size_t i = 0; i < len; i++) {
        const uint64_t c = row[i];
        const int next = letter < m && m == letter + 1, between = m ? row_class(row[m-1]) : 0;
        uint32_t one = 0;
        if (letter < m && (next || (between && between < row_class(c)))) {
            one = put_together(n, row_code(row[letter]), row_code(c));
        }
        if (one) {
            row[letter] = one;
            continue;
        }
        if (!row_class(c)) letter = m;
        row[m] = c;
        m++;
    }
    return m;
}

static int append_characters(Buffer *out, const uint64_t *row, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const uint32_t code = row_code(row[i]);
        char bytes[4] = {(char)(code - RAW_BYTE)};
        const int n = code < RAW_BYTE ? utf8_encode(bytes, code) : 1;
        if (buffer_append(out, bytes, (size_t)n) < 0) return -1;
    }
    return 0;
}

// Appends the normal form of s to out.  0, or -1 after fail().
int normal_form_apply(NormalForm *n, const char *s, size_t len, Buffer *out) {
    // before U+0300, the first mark, all is in normal form: most texts end here
    size_t i = 0, m = 0;
    while (i < len && (unsigned char)s[i] < 0xcc) i++;
    if (i == len) return buffer_append(out, s, len);

    i = 0;
    while (i < len) {
        uint32_t code;
        const int bytes = utf8_decode(s + i, len - i, &code);
        if (!bytes) code = RAW_BYTE + (unsigned char)s[i];
        if (take_apart(n, &m, code) < 0) return -1;
        i += bytes ? (size_t)bytes : 1;
    }
    sort_marks(n->row, m);
    return append_characters(out, n->row, compose(n, n->row, m));
}

// --------------------------------------------------------------------------------- tables, printed

static const char combining_runs[] =
    "PPP6V_5X\?lV1X\?h>l^1ZFlV1ZFln2QX1lV1VW2`\?V\?lNVOlFP8VOlV1V\?X\?lFV\?Y\?ZGY\?ZGY\?V_3PhT2V_"
    "1PXR2l>VW1l>VOn>l>Vg1lf1VGl>VGn>T\?V\?Z8[8\\8]8^8_8`8a8b8c@d8e8f8P8g8P8h8i8P8V\?l>P8b8PPBVW2"
    "n8o8P9PP<k8l8m8n8o8P9Q9R9VGlFV_1l>VGl>PP4S9PXIVo1P@VW1l>V\?P@VGP8l>VGl>Ph8T9P`7V\?l>VGl>VGlN"
    "V\?lFV\?l>VOl>V\?l>V\?l>V\?l>VGPPX1Vo1l>V\?P`8VW1P8V_2P8VOP8V_1Ph:lNPPNVg3P8l>VGl>VGl>VOlNk8"
    "l8m8VOl>VGlFV_1PP\?W8PP4Y8PHV\?l>VGPhIW8PP4Y8P`KW8PP4Y8P`KW8PP4Y8P`KW8PP4Y8PhOY8PhOY8Ph1d:k:"
    "PXIW8PP4Y8PhOY8PPOY8PXKWCY8PX3[S1PPKfCP`3jS1PPClFPh6l>P8l>P8h>Ph=Q<R<P8T<PX1RT1P@R<P8VGY8P8V"
    "GP`\?l>PPLW8P8Y@P`Dl>Phc5VOPP]7Y8Ph7Y8PXW1Y8P`2V\?Phb1T\?PhS1n>V\?l>Phf1V\?l>PhAY8PP5VW2P@l>"
    "PP<V_1lf1VGl>P`MW8Ph3Y8P`9V\?l>Vo1P`=Y@P`>W8Ph2Y@Ph@W8PPV1VOP8Q8l^1VGlV1V\?P8Qh1PP1l>P`1V\?P"
    "HVGP`a1VGl>Vo1l>VGZ\?f>l>Z>V_9PX1V\?Y\?l>V\?l>PPd5VGQ@VW1QHVGPP1V\?PHQ@V\?l>V\?Q@lV1V\?P`oGV"
    "OPXS1Y8PPHVW8P`Z4j>T\?X\?n>PGPXJX@PPe[7V\?PP1Vg2PP8VGPPDVGPPU2Y8PX_1Y8Ph6Vg4PX>lNPX9Y8PhGW8P"
    "P3Y8Phk1V\?P8VGl>P@VGPX1VGP8V\?PP=Y8P`m1Y8PP\\n4j8PXP6Vo1ln1VGPXc7l>P`h1l>PXU1V_1P`T=l>P8V\?"
    "PP:V\?Q8l>PP1Y8PXY1V\?l>Phg:Y8PP>Y8PX>Y8W8PXAVOPP<Y@P`\?W8PPCY8PX2W8P`JY8W8P`\\1W8Y8PXDW8PP4"
    "Y8PP6Vo1PHV_1PXc1Y8PHW8PhNY8W8Phn1Y8W8P`OY8P`MY8W8PhLY8PhT:Y8PP\\m4QX1Ph>Vo1PhiR5Q8P`aY1hFQH"
    "PHR\?h^1PP2lV2P@V_1lFP`7VW1PPU1VOPh^KVo1P8V_4P@Vo1P8VGP8V_1PXYAln1PXKVg1W8";

static const char decompositions[] =
    "P6Q2P`11Q2R`11Q2T`11Q2V`11Q2``11Q2d`12S2^b11U2P`11U2R`11U2T`11U2``11Y2P`11Y2R`11Y2T`11Y2``12"
    "^2V`11_2P`11_2R`11_2T`11_2V`11_2``13e2P`11e2R`11e2T`11e2``11i2R`13Q3P`11Q3R`11Q3T`11Q3V`11Q3"
    "``11Q3d`12S3^b11U3P`11U3R`11U3T`11U3``11Y3P`11Y3R`11Y3T`11Y3``12^3V`11_3P`11_3R`11_3T`11_3V`"
    "11_3``13e3P`11e3R`11e3T`11e3``11i3R`12i3``11Q2X`11Q3X`11Q2\\`11Q3\\`11Q2`b11Q3`b11S2R`11S3R`"
    "11S2T`11S3T`11S2^`11S3^`11S2h`11S3h`11T2h`11T3h`13U2X`11U3X`11U2\\`11U3\\`11U2^`11U3^`11U2`b"
    "11U3`b11U2h`11U3h`11W2T`11W3T`11W2\\`11W3\\`11W2^`11W3^`11W2^b11W3^b11X2T`11X3T`13Y2V`11Y3V`"
    "11Y2X`11Y3X`11Y2\\`11Y3\\`11Y2`b11Y3`b11Y2^`14Z2T`11Z3T`11[2^b11[3^b12\\2R`11\\3R`11\\2^b11\\"
    "3^b11\\2h`11\\3h`15^2R`11^3R`11^2^b11^3^b11^2h`11^3h`14_2X`11_3X`11_2\\`11_3\\`11_2f`11_3f`1"
    "3b2R`11b3R`11b2^b11b3^b11b2h`11b3h`11c2R`11c3R`11c2T`11c3T`11c2^b11c3^b11c2h`11c3h`11d2^b11d"
    "3^b11d2h`11d3h`13e2V`11e3V`11e2X`11e3X`11e2\\`11e3\\`11e2d`11e3d`11e2f`11e3f`11e2`b11e3`b11g"
    "2T`11g3T`11i2T`11i3T`11i2``11j2R`11j3R`11j2^`11j3^`11j2h`11j3h`1R1_2fa11_3fa1>e2fa11e3fa1MQ2"
    "h`11Q3h`11Y2h`11Y3h`11_2h`11_3h`11e2h`11e3h`11l6X`11l7X`11l6R`11l7R`11l6h`11l7h`11l6P`11l7P`"
    "12T6X`11T7X`11VAX`11WAX`11V6X`11V7X`13W2h`11W3h`11[2h`11[3h`11_2`b11_3`b11Z\?X`11[\?X`11g=h`"
    "11bDh`11Z3h`14W2R`11W3R`13^2P`11^3P`11U6R`11U7R`11V6R`11V7R`11h6R`11h7R`11Q2n`11Q3n`11Q2Ra11"
    "Q3Ra11U2n`11U3n`11U2Ra11U3Ra11Y2n`11Y3n`11Y2Ra11Y3Ra11_2n`11_3n`11_2Ra11_3Ra11b2n`11b3n`11b2"
    "Ra11b3Ra11e2n`11e3n`11e2Ra11e3Ra11c2\\b11c3\\b11d2\\b11d3\\b13X2h`11X3h`17Q2^`11Q3^`11U2^b11"
    "U3^b11f6X`11f7X`11e6X`11e7X`11_2^`11_3^`11^AX`11_AX`11i2X`11i3X`1]8PH01QH02cH01XHS`1`1iE0:k1"
    "07X5R`11aLR`11g501eLR`11gLR`11iLR`12oLR`12UMR`11YMR`11ZNR`1JiL``11UM``11aMR`11eMR`11gMR`11iM"
    "R`11[NR`1JiM``11UN``11oMR`11UNR`11YNR`15bNR`11bN``1\\1eP1P`11eP1``12cP1R`14VP1``15jP1R`11hP1"
    "P`11SQ1\\`1;hP1\\`1P1hQ1\\`1GeQ1P`11eQ1``12cQ1R`14fR1``15jQ1R`11hQ1P`11SR1\\`1HdS1n`11eS1n`1"
    "Z2fP1\\`11fQ1\\`1>`P1\\`11`Q1\\`11`P1``11`Q1``13eP1\\`11eQ1\\`13hV1``11iV1``11fP1``11fQ1``11"
    "gP1``11gQ1``13hP1X`11hQ1X`11hP1``11hQ1``11nP1``11nQ1``13XW1``11YW1``11]Q1``11]R1``11SQ1X`11S"
    "R1X`11SQ1``11SR1``11SQ1f`11SR1f`11WQ1``11WR1``13[Q1``11[R1``1Y9Wa1VU31Wa1XU31Xb1XU31Wa1ZU31Z"
    "b1XU3j4ef1XU32Qf1XU3Abf1XU3fBXY2hc48`Y2hc43cY2hc4T1eX2ic41fX2ic41gX2ic41lX2ic41QY2ic41RY2ic4"
    "1[Y2ic41_Y2ic4\\3W^2lk41W^2^m4@Q]2ik41R]2ik42_]2ik4d2ba2iS53ha2iS5S1f`2iS51g`2iS51l`2iS53[a2"
    "iS5Z7Wj2\\e53Wj2lc51Wj2^e5@Qi2ic51Ri2ic5g1bl2^m5f1Vn2lk51Wn2lk51Vn2^m5l3VR3\\U6h3oU3Z]67VV3Z"
    "]61VV3\\]62VV3T\\61ZV3Z]6o3VZ3lc61WZ3lc61VZ3^e6^4i^3dl62i^3nl61l^3dl61i^3nm6U;Rj3_k7:\\j3_k7"
    "5aj3_k75fj3_k75kj3_k7=Pj3[k7:ak3Ug72ak3Yg71bm3Qh72cm3Qh79ak3Qh7Bbl3_k7:ll3_k75Qm3_k75Vm3_k75"
    "[m3_k7=`l3[k7]3UQ4lR8Pg2Uh6Zc=2Wh6Zc=2Yh6Zc=2[h6Zc=2]h6Zc=4ah6Zc=Y1ji6Zc=2li6Zc=3ni6Zc=1oi6Z"
    "c=2Rj6Zc=mEQ2Zb11Q3Zb11R2^`11R3^`11R2Vb11R3Vb11R2Rc11R3Rc11W6R`11W7R`11T2^`11T3^`11T2Vb11T3V"
    "b11T2Rc11T3Rc11T2^b11T3^b11T2jb11T3jb11b8P`11c8P`11b8R`11c8R`11U2jb11U3jb11U2Pc11U3Pc11XA\\`"
    "11YA\\`11V2^`11V3^`11W2X`11W3X`11X2^`11X3^`11X2Vb11X3Vb11X2``11X3``11X2^b11X3^b11X2lb11X3lb1"
    "1Y2Pc11Y3Pc11_6R`11_7R`11[2R`11[3R`11[2Vb11[3Vb11[2Rc11[3Rc11\\2Vb11\\3Vb11fa7X`11ga7X`11\\2"
    "Rc11\\3Rc11\\2jb11\\3jb11]2R`11]3R`11]2^`11]3^`11]2Vb11]3Vb11^2^`11^3^`11^2Vb11^3Vb11^2Rc11^"
    "3Rc11^2jb11^3jb11e6R`11e7R`11e6``11e7``11\\:P`11]:P`11\\:R`11]:R`11`2R`11`3R`11`2^`11`3^`11b"
    "2^`11b3^`11b2Vb11b3Vb11jb7X`11kb7X`11b2Rc11b3Rc11c2^`11c3^`11c2Vb11c3Vb11j:^`11k:^`11P;^`11Q"
    ";^`11Rc7^`11Sc7^`11d2^`11d3^`11d2Vb11d3Vb11d2Rc11d3Rc11d2jb11d3jb11e2Xb11e3Xb11e2Pc11e3Pc11e"
    "2jb11e3jb11X;R`11Y;R`11Z;``11[;``11f2V`11f3V`11f2Vb11f3Vb11g2P`11g3P`11g2R`11g3R`11g2``11g3`"
    "`11g2^`11g3^`11g2Vb11g3Vb11h2^`11h3^`11h2``11h3``11i2^`11i3^`11j2T`11j3T`11j2Vb11j3Vb11j2Rc1"
    "1j3Rc11X3Rc11d3``11g3d`11i3d`12o;^`15Q2Vb11Q3Vb11Q2b`11Q3b`11R6R`11R7R`11R6P`11R7P`11R6b`11R"
    "7b`11R6V`11R7V`11Pe7T`11Qe7T`11R8R`11S8R`11R8P`11S8P`11R8b`11S8b`11R8V`11S8V`11Pe7\\`11Qe7\\"
    "`11U2Vb11U3Vb11U2b`11U3b`11U2V`11U3V`11Z6R`11Z7R`11Z6P`11Z7P`11Z6b`11Z7b`11Z6V`11Z7V`11he7T`"
    "11ie7T`11Y2b`11Y3b`11Y2Vb11Y3Vb11_2Vb11_3Vb11_2b`11_3b`11d6R`11d7R`11d6P`11d7P`11d6b`11d7b`1"
    "1d6V`11d7V`11\\f7T`11]f7T`11P=R`11Q=R`11P=P`11Q=P`11P=b`11Q=b`11P=V`11Q=V`11P=Vb11Q=Vb11e2Vb"
    "11e3Vb11e2b`11e3b`11_=R`11`=R`11_=P`11`=P`11_=b`11`=b`11_=V`11`=V`11_=Vb11`=Vb11i2P`11i3P`11"
    "i2Vb11i3Vb11i2b`11i3b`11i2V`11i3V`17aMVa11aMXa11Ph7P`11Qh7P`11Ph7R`11Qh7R`11Ph7Td11Qh7Td11aL"
    "Va11aLXa11Xh7P`11Yh7P`11Xh7R`11Yh7R`11Xh7Td11Yh7Td11eMVa11eMXa11`h7P`11ah7P`11`h7R`11ah7R`13"
    "eLVa11eLXa11hh7P`11ih7P`11hh7R`11ih7R`13gMVa11gMXa11Pi7P`11Qi7P`11Pi7R`11Qi7R`11Pi7Td11Qi7Td"
    "11gLVa11gLXa11Xi7P`11Yi7P`11Xi7R`11Yi7R`11Xi7Td11Yi7Td11iMVa11iMXa11`i7P`11ai7P`11`i7R`11ai7"
    "R`11`i7Td11ai7Td11iLVa11iLXa11hi7P`11ii7P`11hi7R`11ii7R`11hi7Td11ii7Td11oMVa11oMXa11Pj7P`11Q"
    "j7P`11Pj7R`11Qj7R`13oLVa11oLXa11Xj7P`11Yj7P`11Xj7R`11Yj7R`13UNVa11UNXa11`j7P`11aj7P`11`j7R`1"
    "1aj7R`11`j7Td11aj7Td12UMXa12ij7P`12ij7R`12ij7Td11YNVa11YNXa11Pk7P`11Qk7P`11Pk7R`11Qk7R`11Pk7"
    "Td11Qk7Td11YMVa11YMXa11Xk7P`11Yk7P`11Xk7R`11Yk7R`11Xk7Td11Yk7Td11aMP`11\\M01eMP`11]M01gMP`11"
    "^M01iMP`11_M01oMP`11\\N01UNP`11]N01YNP`11^N03Ph7Zd11Qh7Zd11Rh7Zd11Sh7Zd11Th7Zd11Uh7Zd11Vh7Zd"
    "11Wh7Zd11Xh7Zd11Yh7Zd11Zh7Zd11[h7Zd11\\h7Zd11]h7Zd11^h7Zd11_h7Zd11Pi7Zd11Qi7Zd11Ri7Zd11Si7Zd"
    "11Ti7Zd11Ui7Zd11Vi7Zd11Wi7Zd11Xi7Zd11Yi7Zd11Zi7Zd11[i7Zd11\\i7Zd11]i7Zd11^i7Zd11_i7Zd11Pk7Zd"
    "11Qk7Zd11Rk7Zd11Sk7Zd11Tk7Zd11Uk7Zd11Vk7Zd11Wk7Zd11Xk7Zd11Yk7Zd11Zk7Zd11[k7Zd11\\k7Zd11]k7Zd"
    "11^k7Zd11_k7Zd11aM\\`11aMX`11`k7Zd11aMZd11\\MZd12aMTd11fm7Zd11aL\\`11aLX`11aLP`11VL01aLZd12i"
    "M03X5Td11dk7Zd11gMZd11^MZd12gMTd11Vn7Zd11eLP`11XL01gLP`11YL01gLZd11om7P`11om7R`11om7Td11iM\\"
    "`11iMX`11ZNP`11`L03iMTd11ZNTd11iL\\`11iLX`11iLP`11ZL02no7P`11no7R`11no7Td11UN\\`11UNX`11[NP`"
    "11`M01QNVa11QNXa11UNTd11[NTd11UM\\`11UMX`11UMP`11^L01QMXa11X5P`11UL01P303lk7Zd11YNZd11^NZd12"
    "YNTd11fo7Zd11oLP`11\\L01YMP`11_L01YMZd11d503RP801SP80U9YM04[201U60_3`\\8`c11b\\8`c1Cd\\8`c1O"
    "`^8`c11d^8`c11b^8`c1e1S`8`c15X`8`c13[`8`c1HSa8`c12Ua8`c1Kla8`c13Sb8`c13Ub8`c12Xb8`c1Gm1`c12Q"
    "c8`c1;]b8`c11l1`c11n1`c11Tc8`c11Uc8`c13bc8`c11cc8`c13fc8`c11gc8`c17jc8`c11kc8`c13Rd8`c11Sd8`"
    "c13Vd8`c11Wd8`c1S1Re8`c11Xe8`c11Ye8`c11[e8`c1a1lc8`c11mc8`c11ad8`c11bd8`c17be8`c11ce8`c11de8"
    "`c11ee8`c1l1XP<01YP<0bm1mf:ac1`[1[R<bYH2]R<bYH2_R<bYH2aR<bYH2cR<bYH2eR<bYH2gR<bYH2iR<bYH2kR<"
    "bYH2mR<bYH2oR<bYH2QS<bYH3TS<bYH2VS<bYH2XS<bYH7_S<bYH1_S<dYH2bS<bYH1bS<dYH2eS<bYH1eS<dYH2hS<b"
    "YH1hS<dYH2kS<bYH1kS<dYHGVR<bYH:mT<bYH>[U<bYH2]U<bYH2_U<bYH2aU<bYH2cU<bYH2eU<bYH2gU<bYH2iU<bY"
    "H2kU<bYH2mU<bYH2oU<bYH2QV<bYH3TV<bYH2VV<bYH2XV<bYH7_V<bYH1_V<dYH2bV<bYH1bV<dYH2eV<bYH1eV<dYH"
    "2hV<bYH1hV<dYH2kV<bYH1kV<dYHGVU<bYH3_W<bYH1`W<bYH1aW<bYH1bW<bYH4mW<bYHRPb1XRS101dgI01ZfS101X"
    "VS101afK01baC01UoD01llW101llW101aZF01a^T101W\\E01XZF01f_H01YcM01UlO01oaQ101jmQ101hWR101_TT10"
    "1R`J01kXK01iVL01nnL01mQQ101Z[T101a_V101RdC01ekD01ThJ01k`L01]aQ101n`W101`ZG01[oK01]^Q101T[R10"
    "1YfH01h^P101oPR101ZfG01ghI01Z[K01lgL01^VT101VlC01g]D01nfD01TVI01cfJ01``L01WgM01QPP101V`Q101l"
    "bQ101__S101biU101_kV101j_W101\\TN01o[N01P]O01YnP101ThT101ocW101ffR101oVF01ThG01PSO01nSP101Rc"
    "L01ZVN01RVS101ggU101hVF01RSG01c`J01j^K01_hK01_YO01gaO01[bU101bfD01[TP101l^D01\\^D01l`N01n]O0"
    "1aoP101ecU101PlR101_fH01R`J01ngR101iaC01WoF01bPH01WlL01`[M01ghD01kWN01omC01YmG01]`C01\\VK01h"
    "[I01RYO01SnD01nRF01QhM01YRQ101ZeR101jmJ01`mS101XTK01ngH01UgP101PmH01U[M01^eC01Y[D01Y^D01QTJ0"
    "1WWO01_cP101bfR101_^T101egD01RRE01c[F01\\gG01U^I01noK01ZYN01]]U101ZcV101gdW101^fW101kdD01VfI"
    "01gkJ01RkS101dcG01`\\H01P`H01jTI01SiK01YZL01YTM01Z^N01d_O01_SP101ViS101^WQ101SQT101ZjT101g`D"
    "01SeD01mUE01XVL01RVR101ZeR101YfG01eoG01kkH01^mJ01nQO01ekL01TgC01igE01WoF01j]G01lPH01bmL01YSM"
    "01jlO01VRP101daT101fgU101XjU101hPV101[lC01^]N01d]T101heU101QWH01VdC01jVD01^oF01oQG01i\\I01R`"
    "J01^^L01RbM01lWQ101lST101]lW101XdI01^aU101YdD01kkI01coI01QZK01ldK01YPM01iZM01[SN01`XO01nRV10"
    "1][D01^aH01hcU101[QD01iXG01Z_K01ZiS101[lG01TZH01gPJ01WlL01VdU101YaD01_PE01USG01c`I01^jI01XUJ"
    "01UWK01VPM01R_M01ikO01_VR101QWR101\\^T101RgU101oiD01jeK01mPE01`^L01hTM01j_Q101SeU101gRW101od"
    "W101glI01[^K01X_P101[fN01PiN01bTO01PfL01iTL01hjR101PfC01fiP101jaD01W`D01VeG01cfH01fVO01UlF01"
    "nXK01deI01kiS101\\RR101]bU101[\\R101cfG01PZD01P^E03jRF02dcI03n^D01ZiL01ZfM01lYN01nZN01U[N01_"
    "\\N01fjU101nUO01mmO02b`Q102hgR103hQT101mWT104_WV101lWV101XYV101d]W101nVT101geU101^mC01WWD01]"
    "ZD01YfD01TgD01ajD01m\\E01V`E01XcE01PRF01XUF01TSG01^SG01dTH01X[H01^\\H01b_H01_ZI01R_I01adI01U"
    "TJ01g[K01j`K01RiK01^[L01[aL01RQM01aTN01nYN01YZN01XZN01`ZN01fZN01mZN01]\\N01^\\N01PbN01QdN01P"
    "nN01d_O01Y`O01QbO01bkO01UPP101]_P101icP101icP101gRQ101`XR101f\\R101QhR101iiR101cVS101XXS101f"
    "mS101hQT101SgU101ooU101kQV101eSH01^g`401h`P103VaC01e]D01X[D01PlC01UZD01P\\D01WfD01jgD01m\\E0"
    "1eZE01i\\E01R_E01jRF01cUF01TZF01dZF01RcF01XiF01bfG01ifG01YkG01]mG01hVH01^ZH01XXH01^\\H01P[H0"
    "1b_H01daH01TnH01lPI01bRI01fZI01dcI01ghI01khI01fjI01ikJ01jmJ01QZK01kfK01[fK01RiK01nPL01^[L01W"
    "mM01eaL01_eL01ZiL01aSM01VXM01kYM01m`M01o`M01ZfM01kfM01dgM01ZjM01PjM01\\VN01aeN01PnN01kSO01kZ"
    "O01d_O01niO01UPP101bjP101_oP101ikQ101QZR101V\\R101f\\R101oeR101hgR101[fR101QhR101ngR101]gR10"
    "1iiR101ZlR101XXS101hiS101bST101i\\T101fcT101lcU101SgU101fjU101knU101ooU101[PV101kQV101bhV101"
    "llW101ZRZ401TRZ401en\\401ml>01hP@01iQ@01Ybd401`Vg401cfo401SjW101^lW10T2i^1Yk22b_1_k2;Y_1Sl21"
    "Y_1Ul21Yjn1Sl21Yjn1Ul21`^1_k21`^1ak21`^1ik21a^1ik21b^1ik21c^1ik21d^1ik21e^1ik21f^1ik22h^1ik2"
    "1i^1ik21j^1ik21k^1ik21l^1ik22n^1ik22P_1ik21Q_1ik22S_1ik21T_1ik22V_1ik21W_1ik21X_1ik21Y_1ik21"
    "Z_1ik21e^1ck21a^1ok21k^1ok21T_1ok2\\Z5iTT2d[X42kTT2d[X4\?UUT2d[X4S4aYT2^bX41bYT2^bX4l@WjT2lc"
    "Y41WjT2^eY4_;iUU2d[Z41iUU2P[Z42iUU2j[Z4l7h]U2njZ41i]U2njZ4Sm^1gZd3[fX71hZd3[fX71oZd3mfX71oZd"
    "3ofX71oZd3QgX71oZd3SgX71oZd3UgX7g2i]d3[fX71j]d3[fX71k]d3mfX71l]d3mfX71k]d3ofX71l]d3ofX7PbY2m"
    "aC01haC01QbC01RYP401PkC01^mC01kmC01RPD01jSD01iTD01WWD01_VD01nT=01jaQ401]ZD01dZD01T[D01g[D01l"
    "XQ401iU=01W[D01]\\D01[ZQ401g\\D01T]D01\\fC01\\]D01e]D01o^T501e_D01S`D01oV=01kaD01VbD01bcD01g"
    "cD01eX=01WfD01YfD01TgD01jgD01UhD01VhD01ghD01YjD01ajD01jjD01ckD01mkD01okD01okD01okD01\\aR401`"
    "SL01ZnD01onD01SkR401[oD01aoD01VPE01nTE01hQE01XRE01XSE01RUE01fWE01`XE01cZE01S[E01T\\E01T\\E01"
    "i\\E01[]E01c]E01R^E01fhE01V`E01ghE01abE01dcE01W`D01^WF01^nE01doE01]PF01[lE01bQF01aQF01\\UF01"
    "TWU401bWF01gWF01VXF01jXF01RYF01R[F01XeU401ZgU401\\_F01k`F01WaF01h^F01VcF01^g=01lg=01XhF01niF"
    "01niF01X^V401SnF01hnF01WoF01coF01hhV401ooF01VPG01cjG01RQG01Ql=01PSG01^SG01PVG01]TG01T_W401SZ"
    "G01V_W401^[G01[[G01l[G01Q_G01R_G01_Q>01m_G01XaG01maG01YcG01RS>01S\\X401lS>01`eG01ceG01feG01Z"
    "fG01blX501ngG01aiX401aiX401Q`P101RiG01RiG01WV>01he\\401j^h401RkG01[kG01SW>01jlG01]nG01gnG01i"
    "oG01QTH01jY>01lX>01dTH01dfY401WVH01XZH01\\ZH01^ZH01\\ZH01j[H01^\\H01b]H01T]H01_]H01n^H01b_H0"
    "1f_H01``H01k`H01mbH01aeH01dfH01`jH01\\hZ401miH01lgH01XkH01SlH01ToH01aoZ401RQI01UnH01YmH01^a>"
    "01YSI01nSI01mTI01gSI01\\c>01_ZI01\\[I01ZP\\401S_I01hgI01YbI01ih>01adI01Xh>01Tg>01b\\D01e\\D0"
    "1PhI01ldI01]UP101in@01ghI01khI01QiI01njI01cjI01Sn\\401Yj>01joI01UlI01bRJ01UTJ01]S]401^TJ01oP"
    "J01dXJ01ml>01RZJ01S]J01Z_J01XeJ01Se]401kfJ01hP\?01QiJ01WU^401djJ01^R\?01bkJ01olJ01jmJ01kmJ01"
    "]d^401[XW401jg^401^RK01lU_401oUK01]VK01WSK01fXK01nYK01g[K01QZK01Y[K01h[K01U\\K01nX_401dYK01_"
    "aK01^cK01cY\?01[fK01WfK01af_401i_K01^kK01nj_401^l_401VnK01iQL01nPL01kPL01f\\\?01ZRL01mSL01gS"
    "L01]UL01UYQ401UZL01Sc`401l\\L01[m`401XaL01eaL01`bL01X`a401PdL01edL01eia401dPb401jkL01[lL01\\"
    "e\?01UmL01he\?01he\?01WRM01lRM01aSM01UTM01ZVM01kh\?01TYM01fQc401nYM01bTc401`[M01o\\X401``M01"
    "Qmc401hmc401TRd401lo\?01XP@01dgM01cWd401bWd401iXd401cYd401nhM01ohM01ohM01ZjM01iQ@01[lM01VR@0"
    "1fT@01mPe401^RN01\\TN01\\VN01SW@01Vae401fZN01jde401Ufe401_\\N01[_N01_Y@01PbN01ZbN01_bN01l[f4"
    "01Wef401Wef401^gN01R`@01[mf401VnN01YnN01Wa@01PTg401bVO01Pe@01XWO01SWO01PXO01Vlg401S[O01Qh@01"
    "W^O01R`O01UbO01di@01Xah401Wbh401ij@01ifh401jkO01nih401elO01joO01UPP101jVi401SYi401PSP101X]i4"
    "01`SP101oj\\401en@01bUP101SXP101[PA01nYP101eeF01Wmi401emi401cl\\401ll\\401Q`P101T`P101nlS101"
    "[SA01adP101[dP101mdP101ceD01aeP101ceP101meP101VgP101lij401UgP101mhP101SkP101]mP101SiP101mmP1"
    "01WoP101gRQ101cjP101ZnP101\\nP101lnP101fQk401[[k401eVk401[YA01aWQ101cWQ101fXQ101Znl401T[Q101"
    "\\ik401mZA01Q[A01amk401bVl401[[A01`bQ101lbQ101WcQ101YcQ101YeQ101XdQ101^hQ101RgQ101ikQ101XiQ1"
    "01[kQ101VlQ101g^A01QoQ101QPR101i_A01PSR101SSR101Wcm401gVR101nVR101eaA01jWR101kU=01^Un401V[n4"
    "01neA01WfA01PeR101]gR101ZlR101eRS101XUo401[US101QVS101kXS101g[S101_io401TPR401[^S101l]S101`_"
    "S101nVR401dfS101hiS101b^Q501]_Q501dTT101aWT101aXT101^iQ501kXT101haT101gfT101hfT101lcT101ioT1"
    "01ePU101joR501[\\U101e\\B01g]U101g[S501V_B01SfU101b]G01SiU101UZT501j`T501^cB01fcB01PoU101ZPU"
    "501beB01fTU501[PV101[PV101YQV101f]U501RWV101ciB01YYV101W]V101R^V101n_V101^nB01`iV501bhV101PR"
    "W101mWW101^VC01]WC01W[W101^VX501hWC01UXX501^`X501adX501keW101fZC01igW101ngW101UhW101_hW101fh"
    "W101kiW101P`Y50";

static void read_tables(NormalForm *n) {
    // runs of characters of one class: their number, times 256, plus the class
    size_t at = 0;
    const char *p = combining_runs;
    while (*p) {
        const size_t run = unicode_number(&p);
        memset(n->class_memory + at, (int)(run % 256), run / 256);
        at += run / 256;
    }
    assert(at == COMBINING_END);

    // characters with two parts or one: the distance from the one before, the first part, and twice
    // the second, plus 1 if the two stay two
    uint32_t code = 0;
    p = decompositions;
    while (*p) {
        code += (uint32_t)unicode_number(&p);
        const uint32_t first = (uint32_t)unicode_number(&p);
        const uint32_t rest = (uint32_t)unicode_number(&p);
        const CharacterPair pair = {.first = first, .second = rest / 2, .code = code};
        n->part_memory[n->num_parts++] = pair;
        if (pair.second && rest % 2 == 0) n->pair_memory[n->num_pairs++] = pair;
    }
    assert(n->num_parts == NUM_PARTS);
}

// ------------------------------------------------------------------------- classes, printed

/* The classes of Unicode 16.0.0, as runs: n characters of one class k are the number 4 n + k. */
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

// class (CLASS_END): CLASS_ of each character.
void character_classes(unsigned char class[CLASS_END]) {
    size_t at = 0;
    const char *p = class_runs;
    while (*p) {
        const size_t number = unicode_number(&p), n = number / NUM_CLASSES;
        memset(class + at, (int)(number % NUM_CLASSES), n);
        at += n;
    }
    assert(at == CLASS_END);
}

/* The characters of words, \w of the Unicode Standard's annex 18: letters, marks, decimal digits,
 * connectors such as _; as runs, not of words and of words in turn. */
static const char word_runs[] =
    "P3E>e1832e1n23D383:_12o12eL8IL;>323R1[7254923<327232Y12W52g82k:2]243<c2@k223252523@g189j1G:e"
    "48]62A4E2W143P1g34[6L]383434m2T1i18G:a12=@g42S84E2W12A454]12\?23694C4549@3852;4ID323472=854]"
    "12\?252525432;854763>923>Q1F72C272]12\?252;4E272743N94EB\?272A454]12\?252;4C4547>7852;4E23P1"
    "52=672965232565676I8;672943<3LEP1K272_12Q14C2729>52743494EP192A272_12E2;4C2729>5<5294E27HK27"
    "2W3272;:9>;4ED=272U16a12C234\?638=232A<E45Je3:O2E^25232;2a1232_14;232\?2E49P23^15<EF323238E2"
    "Y28Y12U12Y2B3b3e4<m44]223:34g22kD294\?23294c2294S2294\?23294O2c3294W447P2Q1P1]54=6iV14S12e1:"
    "g46G>]1B]1FY1HK2725HY563854ER272G<c5>g2:]4Do12I8IDa24;Fi28e1<E\\2i18o32k14G<EJ3@o1R3k46ER1CH"
    "Y7Ha3@E6S34G:g247P172_2:]Q14=4]24=4A2323232o14[32\?23672\?694=8K:72\?N5R35V13h13J3P1KV3S2R13"
    "834E236;<32323292G49:;83R1c2jb1Y3\\a3[><CH]223:34a3>3Na1B\?2\?2\?2\?2\?2\?2\?2\?2Q2n23ZM7b1O"
    "2;4;8]545472e529:g22m5R1Q2P3Q1PP1Ql<P4kX[1V4m24k@6i1X1W32E2W7Z2C4_64W445232AZ1]383V1Y3H]4DE<"
    "a1632S34Y2Hk16S4LG<o12_3BM4E<_16c4`174Q14;D=4=4=B\?2\?2g22M<g7254E<YjEH_18S3X`@mF4e6\\2\?H;:"
    "I2K2;2325252i6R2gFT1Q44]3`2I8Q1P1Q165`17P2;2_8V1E>e1832e1Fc56=4=4=47V2I2e12W1252O4MT2g7Z4[3`"
    "83T8k16S3N3n1Q2Jm1:g2:m14Y28A2;d2m94E<Y28Y28a2@Y3HG2O2\?252G2O2\?256Y3H_CB]1DA`1=2e22CZ4=432"
    "i225634_1D_1Bo1R4W125D]1De1\\4a3<5P4925:A272k14783P2k16k1V2A2m1b1]3D]1DW1JU1l6c4^3W3JW3Ja2@E"
    "<]26;2_1d\?e22565P17^3S2D3@S2n1]1d2[1f1_1B_4n1Q1Bi3>3Jc1>E<[32E89@Y243B[4892K23V2U12[2<9l3\?"
    "23292O2E>g3:E<92A454]12\?252;2E454743<3:\?4\?6;FE23432]22E2343292AJ5j1g4:E89l1]423@E\\:]34C^"
    "1=T2S463FE\\2c3>E<Y1h1g14O8E<\?b;g3Z6e4Z1A434A252m1254CHE\\4A4m24A25f1o3@3@e463T1c4^<S2NE<C2"
    "k22CNE`1m14]12Mb4\?252i263252C@E<=252[2252=>E\\C_1BS12c26;JGZ53n4ei1\\6o6R1Y<hT5S6NQS2P1]1Dg"
    "i7:_T1b[=e3\\\\3cS1>o12E<o42E<m14;F_3B9HEB[1:W1PKk26E\\<Q4P8g48c3>S1P4525F5Lao;@]]2b2E^^A92\?"
    "252WBN3j1743L9@iHX`4g6:K6C>E65RU8E\\P1m24_1lQ1;6=@A4\?l19X97fK[52_4254345492I232\?2S4294A2\?"
    "2i1292;236\?2YE4c12c12o12c12o12c12o12c12o12c12A4U3PP1_38U3@3L3\\1;2OPU2o1<=Z=\?2S14\?252;:m3"
    "R23P7k26M4E83RDo1R1e3\\Me2\\=g2ZN\?29252O2[<F\?b2i48E\\Z292g12523432E292323<3832323272523432"
    "32323232523492\?2929232E2S1:72;2S1XW1e1<e1<e1\\V5E\\P2Q^c2P2eS8<m=4UX;LSc>NmV1Tj4mQ1Tn2gd9:Q"
    "V8Pe^[1Q\?";

// Is it part of a word?  It is looked up where an added token is single_word: rarely.
int character_is_word(uint32_t code) {
    size_t at = 0;
    const char *p = word_runs;
    while (*p) {
        const size_t number = unicode_number(&p);
        at += number / 2;
        if (code < at) return (int)(number % 2);
    }
    return 0;
}

#endif

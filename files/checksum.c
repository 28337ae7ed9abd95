/* checksum.c - a sum of 64 bits by which bytes that changed on a disk are noticed.
 *
 *     h = (h ^ word) * MULTIPLIER;  h ^= h >> 32         word after word of 8 bytes, little-endian
 *
 * The last word is filled with zeros, and the number of bytes is one more.  Each line gives
 * different h for different words, and different h before it: of two files that differ in one word
 * alone the sums always differ, of any other two by all but one chance in 2^64.  It runs some
 * ten times as fast as SHA-256.  It is no help against somebody who wants to deceive.            */
#ifndef CHECKSUM_C
#define CHECKSUM_C

#include "../common.h"

typedef struct {
    uint64_t h, len;                    // len: bytes added so far
    unsigned char word[8];              // the last len % 8 of them are not yet mixed in
} Checksum;

enum { CHECKSUM_TEXT = 17 };            // of 16 hexadecimal digits

void checksum_start(Checksum *c);
void checksum_add(Checksum *c, const void *data, size_t n);
void checksum_number(Checksum *c, uint64_t x);
uint64_t checksum_finish(Checksum *c);
void checksum_text(char text[CHECKSUM_TEXT], uint64_t sum);

// A number as 8 bytes in files, the lowest first; and back.
static void bytes_of_number(unsigned char *p, uint64_t x) {
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(x >> 8*i);
}
static uint64_t number_of_bytes(const unsigned char *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24
         | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48
         | (uint64_t)p[7] << 56;
}

static uint64_t checksum_mix(uint64_t h, uint64_t word) {
    h = (h ^ word) * 0x9e3779b97f4a7c15u;           // an odd number: it has an inverse
    return h ^ h >> 32;
}

void checksum_start(Checksum *c) { *c = (Checksum){.h = 0}; }

void checksum_add(Checksum *c, const void *data, size_t n) {
    const unsigned char *p = data, *end = p + n;
    size_t used = c->len % 8;
    c->len += n;

    // what an earlier call began
    while (used > 0 && p < end) {
        c->word[used++] = *p++;
        if (used < 8) continue;
        c->h = checksum_mix(c->h, number_of_bytes(c->word));
        used = 0;
    }

    // whole words, and what is left
    uint64_t h = c->h;
    for (; end - p >= 8; p += 8) h = checksum_mix(h, number_of_bytes(p));
    c->h = h;
    if (p < end) memcpy(c->word, p, (size_t)(end - p));
}

void checksum_number(Checksum *c, uint64_t x) {
    unsigned char bytes[8];
    bytes_of_number(bytes, x);
    checksum_add(c, bytes, sizeof bytes);
}

uint64_t checksum_finish(Checksum *c) {
    const uint64_t len = c->len;
    const unsigned char zeros[8] = {0};
    if (len % 8) checksum_add(c, zeros, 8 - len % 8);
    return checksum_mix(c->h, len);
}

void checksum_text(char text[CHECKSUM_TEXT], uint64_t sum) {
    for (int i = 0; i < 16; i++) text[i] = "0123456789abcdef"[sum >> (60 - 4*i) & 15];
    text[16] = 0;
}

#endif

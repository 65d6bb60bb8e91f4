/* Dropout masks: Philox 4x32-10 as draws.py defines it, many blocks side by side.

   A block of 128 bits decides for eight units, 16 bits each: the low half, then the high half, of
   each of its four words. */

#include <stdint.h>

#define TOGETHER 64 /* blocks that go through the rounds together, as vectors */

static inline __attribute__((always_inline)) uint32_t high(uint32_t a, uint32_t b) {
    return (uint32_t)(((uint64_t)a * b) >> 32);
}

/* The words of TOGETHER blocks, word by word: word w of block i is words[w][i]. */
static void draw(uint32_t first_block, uint32_t layer, uint32_t k0, uint32_t k1,
                 uint32_t words[4][TOGETHER]) {
    uint32_t *restrict c0 = words[0], *restrict c1 = words[1];
    uint32_t *restrict c2 = words[2], *restrict c3 = words[3];
    for (int i = 0; i < TOGETHER; i++) {
        c0[i] = first_block + i;
        c1[i] = layer;
        c2[i] = c3[i] = 0;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < TOGETHER; i++) {
            uint32_t high0 = high(0xD2511F53u, c0[i]), low0 = 0xD2511F53u * c0[i];
            uint32_t high1 = high(0xCD9E8D57u, c2[i]), low1 = 0xCD9E8D57u * c2[i];
            c0[i] = high1 ^ c1[i] ^ k0;
            c1[i] = low1;
            c2[i] = high0 ^ c3[i] ^ k1;
            c3[i] = low0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* mask: (samples, units) bytes; keys: (samples, 2); a unit stays if its 16 bits reach the
   threshold. */
void fill_mask(const int64_t *keys, int64_t samples, int64_t units, int64_t first_block,
               int64_t layer, int64_t threshold, uint8_t *mask) {
    int64_t blocks = (units + 7) / 8, turns = (blocks + TOGETHER - 1) / TOGETHER;
#pragma omp parallel for
    for (int64_t task = 0; task < samples * turns; task++) {
        int64_t sample = task / turns, first = task % turns * TOGETHER;
        uint32_t words[4][TOGETHER];
        uint8_t stays[TOGETHER][8];
        draw((uint32_t)(first_block + first), (uint32_t)layer, (uint32_t)keys[2 * sample],
             (uint32_t)keys[2 * sample + 1], words);
        for (int i = 0; i < TOGETHER; i++)
            for (int w = 0; w < 4; w++) {
                stays[i][2 * w] = (int64_t)(words[w][i] & 0xFFFFu) >= threshold;
                stays[i][2 * w + 1] = (int64_t)(words[w][i] >> 16) >= threshold;
            }
        int64_t begin = first * 8, count = units - begin < TOGETHER * 8 ? units - begin : TOGETHER * 8;
        for (int64_t i = 0; i < count; i++)
            mask[sample * units + begin + i] = ((const uint8_t *)stays)[i];
    }
}

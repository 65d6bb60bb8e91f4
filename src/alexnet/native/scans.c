/* How many scans a JPEG file has. */

#include <stdint.h>

/* How often FF DA occurs in so many bytes, which begins a scan: inside a scan's data FF is followed
 * by something else. Counted in lanes of a byte that are emptied before they run over. */
long count_scans(const uint8_t *bytes, long length)
{
    enum { LANES = 32, ROUNDS = 255 };
    long total = 0, at = 0;
    while (at + LANES + 1 <= length) {
        uint8_t found[LANES] = {0};
        for (int round = 0; round < ROUNDS && at + LANES + 1 <= length; round++, at += LANES)
            for (int k = 0; k < LANES; k++)
                found[k] += (bytes[at + k] == 0xFF) & (bytes[at + k + 1] == 0xDA);
        for (int k = 0; k < LANES; k++) total += found[k];
    }
    for (; at + 1 < length; at++) total += bytes[at] == 0xFF && bytes[at + 1] == 0xDA;
    return total;
}

/* Sums over the pixels of images, in integers: what mean image and colour components come from. */

#include <stdint.h>

enum {
    LANES = 24, /* a multiple of the colours and of what a register holds */
    COLORS = 3,
    ROUNDS = 1 << 16 /* products of bytes that a lane of 32 bits can add up: 2^16 x 255^2 < 2^32 */
};

/* Add an image of `values` bytes, RGB after RGB.
 *
 * total: (values) sums of the images; products: (3, 3) sums over all pixels of color x color. */
void add_image(const uint8_t *image, long values, uint32_t *total, int64_t *products)
{
    int64_t sums[COLORS][COLORS] = {{0}};
    long start = 0;

    for (long i = 0; i < values; i++) total[i] += image[i];
    while (start + LANES + 2 <= values) {
        /* At place k, whose color is k % 3: the products with itself and the next two bytes. */
        uint32_t self[LANES] = {0}, next[LANES] = {0}, after[LANES] = {0};
        for (long n = 0; n < ROUNDS && start + LANES + 2 <= values; n++, start += LANES) {
            const uint8_t *v = image + start;
            for (int k = 0; k < LANES; k++) {
                self[k] += (uint32_t)v[k] * v[k];
                next[k] += (uint32_t)v[k] * v[k + 1];
                after[k] += (uint32_t)v[k] * v[k + 2];
            }
        }
        for (int k = 0; k < LANES; k++) {
            sums[k % COLORS][k % COLORS] += self[k];
            if (k % COLORS < 2) sums[k % COLORS][k % COLORS + 1] += next[k];
            if (k % COLORS < 1) sums[0][2] += after[k];
        }
    }
    for (; start < values; start += COLORS)
        for (int a = 0; a < COLORS; a++)
            for (int b = a; b < COLORS; b++)
                sums[a][b] += (int64_t)image[start + a] * image[start + b];
    for (int a = 0; a < COLORS; a++)
        for (int b = 0; b < COLORS; b++)
            products[COLORS * a + b] += a <= b ? sums[a][b] : sums[b][a];
}

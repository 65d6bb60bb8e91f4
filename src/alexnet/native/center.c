/* From pixels to what conv1 reads, in one pass: minus the mean, in the type of the products, with
   zeros where the last window hangs over the right and bottom edge.

   Images lie as N H W C, the mean as H W C. See ops/centering.py for the definition. */

#include <stdint.h>
#include <string.h>

#include "numbers.h"

typedef struct {
    int64_t images, channels, height, width, overhang; /* pixels */
    int64_t from_bytes, to_bfloat16;                   /* else float32 */
} Centering;

/* so many numbers of one row */
static void center_row(const Centering *c, const void *pixels, const float *restrict mean,
                       int64_t start, void *out, int64_t out_start, int64_t count) {
    const uint8_t *restrict bytes = (const uint8_t *)pixels + start;
    const float *restrict floats = (const float *)pixels + start;
    uint16_t *restrict narrow = (uint16_t *)out + out_start;
    float *restrict wide = (float *)out + out_start;
    if (c->from_bytes && c->to_bfloat16)
        for (int64_t i = 0; i < count; i++) narrow[i] = to_bfloat16((float)bytes[i] - mean[i]);
    else if (c->from_bytes)
        for (int64_t i = 0; i < count; i++) wide[i] = (float)bytes[i] - mean[i];
    else if (c->to_bfloat16)
        for (int64_t i = 0; i < count; i++) narrow[i] = to_bfloat16(floats[i] - mean[i]);
    else
        for (int64_t i = 0; i < count; i++) wide[i] = floats[i] - mean[i];
}

void center(const Centering *c, const void *pixels, const float *mean, void *out) {
    int64_t each = c->to_bfloat16 ? 2 : 4, count = c->width * c->channels;
    int64_t out_height = c->height + c->overhang;
    int64_t out_count = (c->width + c->overhang) * c->channels;
#pragma omp parallel for
    for (int64_t row = 0; row < c->images * out_height; row++) {
        int64_t n = row / out_height, h = row % out_height;
        int64_t done = h < c->height ? count : 0;
        if (done)
            center_row(c, pixels, mean + h * count, (n * c->height + h) * count, out,
                       row * out_count, count);
        memset((char *)out + (row * out_count + done) * each, 0, (out_count - done) * each);
    }
}

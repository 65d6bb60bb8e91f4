/* Pillow's resize of RGB pixels, to the bit (src/libImaging/Resample.c of Pillow 13, 8-bit path),
 * for squares cut out of photographs: weights in fixed point with 22 bits, rows first, rounded to
 * bytes, then columns. Faster because every window has the same number of weights, three colours
 * of several rows are summed at once, and nothing is copied to pixels of four bytes before.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Weights are computed as on a processor without fused multiply-add, as Pillow's are. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define EXACT
#else
#define EXACT __attribute__((optimize("fp-contract=off")))
#endif

enum { BITS = 32 - 8 - 2, HALF = 1 << (BITS - 1), ROWS = 16, LANES = 3 * ROWS, TOGETHER = 64 };

/* Output i is the sum of inputs first[i] .. first[i] + taps - 1, times weights[i * taps ...]. */
typedef struct {
    int taps;
    int *first;
    int32_t *weights;
} Windows;

EXACT static double hamming(double x)
{
    if (x < 0.0) x = -x;
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x = x * M_PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x));
}

EXACT static double bicubic(double x)
{
    const double a = -0.5;
    if (x < 0.0) x = -x;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static int smaller(int a, int b) { return a < b ? a : b; }

static void forget(Windows *windows)
{
    free(windows->first);
    free(windows->weights);
}

/* The inputs that have weight: low .. high - 1. */
typedef struct {
    int low, high;
} Span;

EXACT static Span reach(int side, double center, double support)
{
    int low = (int)(center - support + 0.5);
    Span span = {low < 0 ? 0 : low, smaller((int)(center + support + 0.5), side)};
    return span;
}

/* The windows of `size` outputs that lie evenly between `from` and `to` of `side` inputs;
 * 0 if there is no memory for them. */
EXACT static int make_windows(Windows *windows, int side, float from, float to, int size, int cubic)
{
    double scale = (double)(to - from) / size;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = (cubic ? 2.0 : 1.0) * stretch;
    double inverse = 1.0 / stretch;
    double *exact = malloc(side * sizeof *exact);

    windows->taps = 0;
    windows->first = malloc(size * sizeof *windows->first);
    for (int i = 0; windows->first && i < size; i++) {
        Span span = reach(side, from + (i + 0.5) * scale, support);
        if (span.high - span.low > windows->taps) windows->taps = span.high - span.low;
    }
    int taps = windows->taps;
    windows->weights = calloc((size_t)size * taps, sizeof *windows->weights);
    if (!exact || !windows->first || !windows->weights) {
        free(exact);
        forget(windows);
        return 0;
    }
    for (int i = 0; i < size; i++) {
        double center = from + (i + 0.5) * scale;
        Span span = reach(side, center, support);
        int count = span.high - span.low;
        /* Where fewer inputs count, the others have weight 0: they lie before, at the far edge. */
        int first = smaller(span.low, side - taps);
        int32_t *weights = windows->weights + (size_t)i * taps + (span.low - first);
        double total = 0.0;
        for (int j = 0; j < count; j++) {
            double x = (j + span.low - center + 0.5) * inverse;
            exact[j] = cubic ? bicubic(x) : hamming(x);
            total += exact[j];
        }
        for (int j = 0; j < count; j++) {
            double weight = total != 0.0 ? exact[j] / total : exact[j];
            weights[j] = (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << BITS));
        }
        windows->first[i] = first;
    }
    free(exact);
    return 1;
}

static inline uint8_t byte(int32_t sum)
{
    sum >>= BITS;
    return sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

/* Some input rows to output rows. Their pixels are laid side by side first, so that what one weight
 * multiplies is one run of bytes. Four bytes are moved for every three, and a row needs one byte
 * more than its pixels have. */
static void shrink_rows(const Windows *windows, int width, int size, const uint8_t *const *rows,
                        uint8_t *beside, uint8_t *out, int pitch)
{
    for (int x = 0; x < width; x++)
        for (int r = 0; r < ROWS; r++) memcpy(beside + LANES * x + 3 * r, rows[r] + 3 * x, 4);
    for (int i = 0; i < size; i++) {
        const int32_t *weights = windows->weights + (size_t)i * windows->taps;
        const uint8_t *first = beside + (size_t)windows->first[i] * LANES;
        int32_t sums[LANES];
        uint8_t rounded[LANES + 1];
        for (int k = 0; k < LANES; k++) sums[k] = HALF;
        for (int j = 0; j < windows->taps; j++)
            for (int k = 0; k < LANES; k++) sums[k] += first[j * LANES + k] * weights[j];
        for (int k = 0; k < LANES; k++) rounded[k] = byte(sums[k]);
        rounded[LANES] = 0;
        for (int r = 0; r < ROWS; r++) memcpy(out + (size_t)r * pitch + 3 * i, rounded + 3 * r, 4);
    }
}

static void shrink_columns(const Windows *windows, int size, const uint8_t *rows, int pitch,
                           int before, uint8_t *out)
{
    int length = 3 * size;
    for (int i = 0; i < size; i++, out += length) {
        const int32_t *weights = windows->weights + (size_t)i * windows->taps;
        const uint8_t *first = rows + (size_t)(windows->first[i] - before) * pitch;
        for (int start = 0; start < length; start += TOGETHER) {
            int32_t sums[TOGETHER];
            for (int k = 0; k < TOGETHER; k++) sums[k] = HALF;
            for (int j = 0; j < windows->taps; j++) {
                const uint8_t *row = first + (size_t)j * pitch + start;
                for (int k = 0; k < TOGETHER; k++) sums[k] += row[k] * weights[j];
            }
            uint8_t rounded[TOGETHER];
            for (int k = 0; k < TOGETHER; k++) rounded[k] = byte(sums[k]);
            memcpy(out + start, rounded, smaller(TOGETHER, length - start));
        }
    }
}

/* Resize the part `box` (left, top, right, bottom) of an image to size x size.
 *
 * image: (height, width, 3) bytes; out: (size, size, 3) bytes; cubic: bicubic, else Hamming.
 * Returns 1, or 0 if there is not enough memory. */
int resize_square(const uint8_t *image, int width, int height, const float *box, int size,
                  int cubic, uint8_t *out)
{
    Windows across, down;
    int done = 0;
    if (!make_windows(&across, width, box[0], box[2], size, cubic)) return 0;
    if (make_windows(&down, height, box[1], box[3], size, cubic)) {
        size_t length = 3 * (size_t)width;
        int top = down.first[0], bottom = down.first[size - 1] + down.taps;
        int pitch = (3 * size / TOGETHER + 1) * TOGETHER;
        uint8_t *rows = malloc((size_t)((bottom - top) / ROWS + 1) * ROWS * pitch);
        uint8_t *beside = malloc((size_t)width * LANES + 1);
        uint8_t *last = malloc(length + 1);
        if (rows && beside && last) {
            memcpy(last, image + (height - 1) * length, length);
            last[length] = 0; /* the byte more, which the image has not */
            for (int y = top; y < bottom; y += ROWS) {
                const uint8_t *from[ROWS];
                for (int r = 0; r < ROWS; r++)
                    from[r] = y + r < height - 1 ? image + (y + r) * length : last;
                shrink_rows(&across, width, size, from, beside, rows + (size_t)(y - top) * pitch,
                            pitch);
            }
            shrink_columns(&down, size, rows, pitch, top, out);
            done = 1;
        }
        free(rows);
        free(beside);
        free(last);
        forget(&down);
    }
    forget(&across);
    return done;
}

/* ReLU, local response normalisation and max pooling of one stage of the network, in one pass.

   Works a row of pixels at a time: the row is brought to float32 with its channels together, so
   that the window over adjacent maps is a window over adjacent numbers, and everything in between
   stays in the processor's cache. Each part can be left out: relu = 0, size = 0, window = 0.

   Types: 0 float32, 1 bfloat16. Images have strides (in elements) for image, channel, row, pixel;
   pooled images and winners lie as N H W C. See ops/stage.py for the arithmetic's definition. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_max_threads() 1
#endif

#define TOGETHER 16 /* columns of pixels that are normalised together */

typedef struct {
    int64_t images, channels, height, width;          /* of the input */
    int64_t image_stride, channel_stride, row_stride, pixel_stride;
    int64_t pooled_height, pooled_width;              /* as height, width without pooling */
    int64_t columns, relu, size, window, stride, type;
    float alpha, beta, k;
} Stage;

/* ---- rows of pixels: (width, channels) float32 ---- */

static void load(const void *from, int64_t type, int64_t count, float *restrict row) {
    if (type == 0) {
        memcpy(row, from, count * sizeof(float));
    } else {
        const uint16_t *bits = from;
        for (int64_t i = 0; i < count; i++) row[i] = from_bfloat16(bits[i]);
    }
}

static void store(void *to, int64_t type, int64_t count, const float *restrict row) {
    if (type == 0) {
        memcpy(to, row, count * sizeof(float));
    } else {
        uint16_t *bits = to;
        for (int64_t i = 0; i < count; i++) bits[i] = to_bfloat16(row[i]);
    }
}

static inline int64_t bytes_each(int64_t type) { return type == 0 ? 4 : 2; }

/* Where a row of image n begins. */
static inline int64_t row_start(const Stage *s, int64_t n, int64_t h) {
    return n * s->image_stride + h * s->row_stride;
}

/* `scratch` holds one channel of one row. */
static void load_row(const Stage *s, const char *images, int64_t n, int64_t h,
                     float *restrict row, float *restrict scratch) {
    const char *from = images + row_start(s, n, h) * bytes_each(s->type);
    if (s->channel_stride == 1) {
        load(from, s->type, s->width * s->channels, row);
        return;
    }
    for (int64_t c = 0; c < s->channels; c++) {
        load(from + c * s->channel_stride * bytes_each(s->type), s->type, s->width, scratch);
        for (int64_t w = 0; w < s->width; w++) row[w * s->channels + c] = scratch[w];
    }
}

static void store_row(const Stage *s, char *images, int64_t n, int64_t h,
                      const float *restrict row, float *restrict scratch) {
    char *to = images + row_start(s, n, h) * bytes_each(s->type);
    if (s->channel_stride == 1) {
        store(to, s->type, s->width * s->channels, row);
        return;
    }
    for (int64_t c = 0; c < s->channels; c++) {
        for (int64_t w = 0; w < s->width; w++) scratch[w] = row[w * s->channels + c];
        store(to + c * s->channel_stride * bytes_each(s->type), s->type, s->width, scratch);
    }
}

/* ---- ReLU ---- */

static void rectify(float *restrict row, int64_t count) { /* NaN stays NaN, as in torch */
    for (int64_t i = 0; i < count; i++) row[i] = row[i] < 0.0f ? 0.0f : row[i];
}

/* ---- local response normalisation, section 3.3 ---- */

/* d^-beta from 1 / d */
static inline float power_of_inverse(float inverse, float beta) {
    if (beta == 0.75f) {
        float root = sqrtf(inverse);
        return root * sqrtf(root);
    }
    return powf(inverse, beta);
}

static inline __attribute__((always_inline)) float window_sum(const float *values, int64_t size) {
    float total = values[0];
    for (int64_t offset = 1; offset < size; offset++) total += values[offset];
    return total;
}

/* A few columns of a few pixels: b = a (k + alpha S)^-beta. Columns lie `count` apart in `a`, and
   with size / 2 zeros on both sides in `padded`. One part of the work after the other for all of
   them, because a vector cannot be read at once across the vectors that were just written. */
static inline __attribute__((always_inline)) void normalise_columns(
    float *restrict a, int64_t columns, int64_t count, int64_t size, float alpha, float beta,
    float k, float *restrict padded) {
    int64_t apart = count + size - 1;
    float *squares = padded + size / 2;
    for (int64_t i = 0; i < columns; i++)
        for (int64_t c = 0; c < count; c++)
            squares[i * apart + c] = a[i * count + c] * a[i * count + c];
    for (int64_t i = 0; i < columns; i++)
        for (int64_t c = 0; c < count; c++) {
            float d = k + alpha * window_sum(padded + i * apart + c, size);
            a[i * count + c] *= power_of_inverse(1.0f / d, beta);
        }
}

/* The gradient of the above: g becomes g d^-beta - 2 alpha beta a S(g a d^-(beta + 1)). */
static inline __attribute__((always_inline)) void normalise_columns_back(
    const float *restrict a, float *restrict g, int64_t columns, int64_t count, int64_t size,
    float alpha, float beta, float k, float *restrict padded, float *restrict padded_too) {
    int64_t apart = count + size - 1;
    float *squares = padded + size / 2, *inner = padded_too + size / 2;
    for (int64_t i = 0; i < columns; i++)
        for (int64_t c = 0; c < count; c++)
            squares[i * apart + c] = a[i * count + c] * a[i * count + c];
    for (int64_t i = 0; i < columns; i++)
        for (int64_t c = 0; c < count; c++) {
            float inverse = 1.0f / (k + alpha * window_sum(padded + i * apart + c, size));
            g[i * count + c] *= power_of_inverse(inverse, beta);
            inner[i * apart + c] = g[i * count + c] * a[i * count + c] * inverse;
        }
    float factor = 2.0f * alpha * beta;
    for (int64_t i = 0; i < columns; i++)
        for (int64_t c = 0; c < count; c++)
            g[i * count + c] -=
                factor * a[i * count + c] * window_sum(padded_too + i * apart + c, size);
}

/* Constants that the compiler knows make the loops above straight lines of vectors. */
static void normalise(const Stage *s, float *row, float *padded) {
    int64_t count = s->channels / s->columns, all = s->width * s->columns;
    for (int64_t i = 0; i < all; i += TOGETHER, row += TOGETHER * count) {
        int64_t columns = all - i < TOGETHER ? all - i : TOGETHER;
        if (s->size == 5 && s->beta == 0.75f)
            normalise_columns(row, columns, count, 5, s->alpha, 0.75f, s->k, padded);
        else
            normalise_columns(row, columns, count, s->size, s->alpha, s->beta, s->k, padded);
    }
}

static void normalise_back(const Stage *s, const float *a, float *g, float *padded,
                           float *padded_too) {
    int64_t count = s->channels / s->columns, all = s->width * s->columns;
    for (int64_t i = 0; i < all; i += TOGETHER, a += TOGETHER * count, g += TOGETHER * count) {
        int64_t columns = all - i < TOGETHER ? all - i : TOGETHER;
        if (s->size == 5 && s->beta == 0.75f)
            normalise_columns_back(a, g, columns, count, 5, s->alpha, 0.75f, s->k, padded,
                                   padded_too);
        else
            normalise_columns_back(a, g, columns, count, s->size, s->alpha, s->beta, s->k, padded,
                                   padded_too);
    }
}

/* ---- max pooling; a winner is its place in the window, counted row by row ---- */

/* One row of the window into the best so far; `first`: there is none yet. Places are as wide as the
   activations here, so that both are chosen by one comparison of whole vectors. */
static void pool_row(const Stage *s, const float *row, int32_t code, int first,
                     float *restrict best, int32_t *restrict places) {
    int64_t channels = s->channels;
    for (int64_t pw = 0; pw < s->pooled_width; pw++) {
        float *restrict b = best + pw * channels;
        int32_t *restrict p = places + pw * channels;
        for (int32_t kw = 0; kw < s->window; kw++) {
            int64_t w = pw * s->stride + kw;
            if (w >= s->width) break;
            const float *restrict v = row + w * channels;
            int32_t place = code + kw;
            if (first && kw == 0) {
                memcpy(b, v, channels * sizeof(float));
                for (int64_t c = 0; c < channels; c++) p[c] = place;
                continue;
            }
            for (int64_t c = 0; c < channels; c++) {
                int better = (v[c] > b[c]) | (v[c] != v[c]);
                b[c] = better ? v[c] : b[c];
                p[c] = better ? place : p[c];
            }
        }
    }
}

/* The gradient of one row of pixels from that of the windows it lies in. */
static void pool_row_back(const Stage *s, const char *pooled, const uint8_t *winners, int64_t n,
                          int64_t h, float *restrict g, float *restrict pooled_row) {
    int64_t channels = s->channels, pooled_count = s->pooled_width * channels;
    memset(g, 0, s->width * channels * sizeof(float));
    for (int64_t kh = 0; kh < s->window; kh++) {
        int64_t ph = (h - kh) / s->stride;
        if (h < kh || (h - kh) % s->stride || ph >= s->pooled_height) continue;
        int64_t start = (n * s->pooled_height + ph) * pooled_count;
        load(pooled + start * bytes_each(s->type), s->type, pooled_count, pooled_row);
        for (int64_t pw = 0; pw < s->pooled_width; pw++) {
            const float *restrict p = pooled_row + pw * channels;
            const uint8_t *restrict won = winners + start + pw * channels;
            for (int64_t kw = 0; kw < s->window; kw++) {
                int64_t w = pw * s->stride + kw;
                if (w >= s->width) break;
                float *restrict to = g + w * channels;
                uint8_t place = (uint8_t)(kh * s->window + kw);
                for (int64_t c = 0; c < channels; c++) to[c] += won[c] == place ? p[c] : 0.0f;
            }
        }
    }
}

/* ---- the whole ---- */

typedef struct {
    float *row, *gradient, *best, *padded, *padded_too, *scratch, *kept;
    int32_t *places;
    int there; /* 0: there was no memory for them */
} Buffers;

/* What one thread works in; `kept` holds so many rows. */
static Buffers make_buffers(const Stage *s, int64_t kept) {
    int64_t row = s->width * s->channels, pooled = s->pooled_width * s->channels;
    int64_t padded = TOGETHER * (s->channels / s->columns + s->size) + 16;
    float *all = calloc((2 + kept) * row + pooled + 2 * padded + s->width + 64, sizeof(float));
    Buffers b = {0};
    b.places = malloc((pooled + 1) * sizeof(int32_t));
    b.there = all && b.places;
    b.row = all;
    if (!b.there) return b;
    b.gradient = b.row + row;
    b.best = b.gradient + row;
    b.padded = b.best + pooled;
    b.padded_too = b.padded + padded;
    b.scratch = b.padded_too + padded;
    b.kept = b.scratch + s->width + 64;
    return b;
}

static void free_buffers(Buffers b) {
    free(b.row);
    free(b.places);
}

/* Rows of output that one task makes: a whole image where there are enough of them. */
static int64_t band_height(const Stage *s, int64_t rows) {
    int64_t threads = omp_get_max_threads();
    int64_t bands = s->images >= 4 * threads ? 1 : (4 * threads + s->images - 1) / s->images;
    int64_t height = (rows + bands - 1) / bands;
    return height < 1 ? 1 : height;
}

static void prepare_row(const Stage *s, const char *images, int64_t n, int64_t h, Buffers b) {
    load_row(s, images, n, h, b.row, b.scratch);
    if (s->relu) rectify(b.row, s->width * s->channels);
    if (s->size) normalise(s, b.row, b.padded);
}

/* Windows of one output row, from rows `top` .. ; rows are made twice where windows overlap
   across a band's edge and once elsewhere, because the last few are kept. */
static void forward_band(const Stage *s, const char *images, char *out, uint8_t *winners,
                         int64_t n, int64_t begin, int64_t end, Buffers b) {
    int64_t row_floats = s->width * s->channels, pooled = s->pooled_width * s->channels;
    int64_t made = begin * s->stride; /* rows before this one are kept, by h % window */
    for (int64_t ph = begin; ph < end; ph++) {
        for (int64_t kh = 0; kh < s->window; kh++) {
            int64_t h = ph * s->stride + kh;
            if (h >= s->height) break;
            float *kept = b.kept + (h % s->window) * row_floats;
            if (h >= made) {
                prepare_row(s, images, n, h, b);
                memcpy(kept, b.row, row_floats * sizeof(float));
                made = h + 1;
            }
            pool_row(s, kept, (int32_t)(kh * s->window), kh == 0, b.best, b.places);
        }
        int64_t start = (n * s->pooled_height + ph) * pooled;
        store(out + start * bytes_each(s->type), s->type, pooled, b.best);
        if (winners)
            for (int64_t i = 0; i < pooled; i++) winners[start + i] = (uint8_t)b.places[i];
    }
}

/* 1, or 0 where there was no memory to work in. */
int stage_forward(const Stage *s, const void *images, void *out, uint8_t *winners) {
    int64_t rows = s->window ? s->pooled_height : s->height;
    int64_t band = band_height(s, rows), bands = (rows + band - 1) / band;
    int done = 1;
#pragma omp parallel reduction(&& : done)
    {
        Buffers b = make_buffers(s, s->window);
        done = b.there;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s->images * bands; task++) {
            if (!b.there) continue;
            int64_t n = task / bands, begin = task % bands * band;
            int64_t end = begin + band < rows ? begin + band : rows;
            if (s->window) {
                forward_band(s, images, out, winners, n, begin, end, b);
                continue;
            }
            for (int64_t h = begin; h < end; h++) {
                prepare_row(s, images, n, h, b);
                store_row(s, out, n, h, b.row, b.scratch);
            }
        }
        free_buffers(b);
    }
    return done;
}

/* `gradient` is that of the output; `out` becomes that of the images. Returns as above. */
int stage_backward(const Stage *s, const void *images, const void *gradient,
                    const uint8_t *winners, void *out) {
    int64_t band = band_height(s, s->height), bands = (s->height + band - 1) / band;
    int64_t count = s->width * s->channels;
    int done = 1;
#pragma omp parallel reduction(&& : done)
    {
        Buffers b = make_buffers(s, 0);
        done = b.there;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s->images * bands; task++) {
            if (!b.there) continue;
            int64_t n = task / bands, begin = task % bands * band;
            int64_t end = begin + band < s->height ? begin + band : s->height;
            for (int64_t h = begin; h < end; h++) {
                load_row(s, images, n, h, b.row, b.scratch);
                if (s->window)
                    pool_row_back(s, gradient, winners, n, h, b.gradient, b.best);
                else
                    load_row(s, gradient, n, h, b.gradient, b.scratch);
                if (s->relu) rectify(b.row, count);
                if (s->size) normalise_back(s, b.row, b.gradient, b.padded, b.padded_too);
                if (s->relu)
                    for (int64_t i = 0; i < count; i++)
                        b.gradient[i] = b.row[i] <= 0.0f ? 0.0f : b.gradient[i];
                store_row(s, out, n, h, b.gradient, b.scratch);
            }
        }
        free_buffers(b);
    }
    return done;
}

/* The update of training/optimizer.py with gradients as bfloat16 products give them:

       v <- momentum v + (gradient + decay w);   w <- w - lr v;   copy <- w in bfloat16 */

#include <stdint.h>

#include "numbers.h"

#define BLOCK 4096 /* numbers that stay in the cache until they are rounded */

/* `copy` may be NULL. */
void update(float *restrict w, float *restrict v, const uint16_t *restrict gradient,
            uint16_t *restrict copy, int64_t count, float lr, float momentum, float decay) {
#pragma omp parallel for
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        int64_t end = begin + BLOCK < count ? begin + BLOCK : count;
        for (int64_t i = begin; i < end; i++) {
            float velocity = momentum * v[i] + (from_bfloat16(gradient[i]) + decay * w[i]);
            v[i] = velocity;
            w[i] -= lr * velocity;
        }
        if (copy)
            for (int64_t i = begin; i < end; i++) copy[i] = to_bfloat16(w[i]);
    }
}

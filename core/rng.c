#include "core/rng.h"

#include <math.h>

static uint64_t
splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

soma_rng
soma_rng_seed(uint64_t seed, uint64_t stream)
{
    soma_rng rng;
    uint64_t mixed = splitmix(&stream);
    seed ^= mixed;
    for (int i = 0; i < 4; i++)
        rng.state[i] = splitmix(&seed);
    return rng;
}

static uint64_t
rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

uint64_t
soma_rng_next(soma_rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

float
soma_rng_uniform(soma_rng *rng)
{
    /* 24 bits: as many as a float32 below 1 has, so 1 is never reached. */
    return (float)(soma_rng_next(rng) >> 40) * 0x1p-24f;
}

uint32_t
soma_rng_below(soma_rng *rng, uint32_t bound)
{
    /* Lemire, "Fast Random Integer Generation in an Interval", 2019: values
     * in the uneven last stretch are drawn again. */
    uint32_t uneven = -bound % bound;
    uint64_t product;
    do {
        product = (soma_rng_next(rng) >> 32) * bound;
    } while ((uint32_t)product < uneven);
    return (uint32_t)(product >> 32);
}

float
soma_rng_normal(soma_rng *rng)
{
    /* 1 - u is in (0, 1], so that the logarithm is finite. */
    double radius = sqrt(-2.0 * log(1.0 - (double)soma_rng_uniform(rng)));
    double angle = 2.0 * M_PI * (double)soma_rng_uniform(rng);
    return (float)(radius * cos(angle));
}

void
soma_rng_shuffle(soma_rng *rng, int *order, int count)
{
    for (int i = count - 1; i > 0; i--) {
        int j = (int)soma_rng_below(rng, (uint32_t)i + 1);
        int swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

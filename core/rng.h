/* Random numbers: xoshiro256** seeded by splitmix64 (Blackman and Vigna,
 * "Scrambled Linear Pseudorandom Number Generators", 2018). The same seed
 * gives the same numbers on every machine. A soma_rng is a value; each thread
 * uses its own.
 */
#ifndef SOMA_CORE_RNG_H
#define SOMA_CORE_RNG_H

#include <stdint.h>

typedef struct soma_rng {
    uint64_t state[4];
} soma_rng;

/* `stream` separates generators that share a seed (a thread, an epoch). */
soma_rng soma_rng_seed(uint64_t seed, uint64_t stream);

uint64_t soma_rng_next(soma_rng *rng);

/* Uniform in [0, 1). */
float soma_rng_uniform(soma_rng *rng);

/* Uniform in [0, bound); bound > 0. Unbiased. */
uint32_t soma_rng_below(soma_rng *rng, uint32_t bound);

/* Normal with mean 0 and variance 1 (Box and Muller). */
float soma_rng_normal(soma_rng *rng);

/* Puts order[0..count) into a uniformly random order (Fisher and Yates). */
void soma_rng_shuffle(soma_rng *rng, int *order, int count);

#endif

/* A histogram as Prometheus shows it: how many values were at most so large.
 *
 * Counting takes no lock; one who reads meanwhile may miss the latest value.
 */
#ifndef SOMA_ENGINE_HISTOGRAM_H
#define SOMA_ENGINE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { SOMA_HISTOGRAM_BUCKETS = 16 };

typedef struct soma_histogram {
    _Atomic uint64_t buckets[SOMA_HISTOGRAM_BUCKETS + 1]; /* last: the rest */
    _Atomic uint64_t sum; /* in the unit that was observed */
} soma_histogram;

/* Upper ends for times in microseconds: 50 us to 30 s. */
extern const uint64_t soma_histogram_times[SOMA_HISTOGRAM_BUCKETS];

/* Any thread; ends are those of all of this histogram's values. */
void soma_histogram_observe(soma_histogram *histogram, const uint64_t *ends,
                            uint64_t value);

#endif

#include "server/engine/histogram.h"

const uint64_t soma_histogram_times[SOMA_HISTOGRAM_BUCKETS] = {
    50,    100,   250,    500,    1000,   2500,    5000,    10000,
    25000, 50000, 100000, 250000, 500000, 1000000, 5000000, 30000000};

void
soma_histogram_observe(soma_histogram *histogram, const uint64_t *ends,
                       uint64_t value)
{
    int i = 0;
    while (i < SOMA_HISTOGRAM_BUCKETS && value > ends[i])
        i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

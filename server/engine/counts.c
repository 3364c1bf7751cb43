#include "server/engine/counts.h"

void
soma_counts_begin(soma_counts *counts, uint64_t serial)
{
    if (atomic_load_explicit(&counts->serial, memory_order_relaxed) == serial)
        return;
    atomic_store(&counts->serial, 0);
    for (int i = 0; i < SOMA_COUNTS; i++)
        atomic_store_explicit(&counts->of[i], 0, memory_order_relaxed);
    atomic_store(&counts->serial, serial);
}

void
soma_counts_sum(soma_counts *counts, uint64_t serial, uint64_t *sum)
{
    if (atomic_load(&counts->serial) != serial)
        return;
    for (int i = 0; i < SOMA_COUNTS; i++) {
        uint64_t count =
            atomic_load_explicit(&counts->of[i], memory_order_relaxed);
        if (i != SOMA_COUNT_LAST)
            sum[i] += count;
        else if (count > sum[i])
            sum[i] = count;
    }
}

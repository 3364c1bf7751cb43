/* What a model's predictions have cost, as the Open Inference Protocol's
 * statistics extension counts it.
 *
 * Each worker counts in a soma_counts of its own for each model, without
 * locks; who asks adds them up. Times are microseconds. Of a batch, each
 * request has waited for all of the forward pass, so that counts once for
 * each of them.
 */
#ifndef SOMA_ENGINE_COUNTS_H
#define SOMA_ENGINE_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum soma_count {
    SOMA_COUNT_REQUESTS,   /* answered with a prediction */
    SOMA_COUNT_ROWS,       /* in them */
    SOMA_COUNT_BATCHES,    /* forward passes */
    SOMA_COUNT_TOTAL_TIME, /* from a request's head to its answer */
    SOMA_COUNT_INPUT_TIME, /* of that, reading and decoding */
    SOMA_COUNT_QUEUE_TIME, /* waiting for the forward pass */
    SOMA_COUNT_INFER_TIME, /* the pass */
    SOMA_COUNT_OUTPUT_TIME,
    SOMA_COUNT_FAILED, /* refused, although the model was known */
    SOMA_COUNT_FAILED_TIME,
    SOMA_COUNT_LAST, /* milliseconds since 1970 of the last answer; 0: none */
    SOMA_COUNTS
} soma_count;

/* One worker's, for one model. */
typedef struct soma_counts {
    _Atomic uint64_t serial; /* of the model */
    _Atomic uint64_t of[SOMA_COUNTS];
} soma_counts;

/* On the worker that it belongs to: makes it this model's, from zero if it was
 * another one's. */
void soma_counts_begin(soma_counts *counts, uint64_t serial);

static inline void
soma_counts_add(soma_counts *counts, soma_count which, uint64_t more)
{
    _Atomic uint64_t *count = &counts->of[which];
    uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + more, memory_order_relaxed);
}

/* From any thread: adds what was counted for this model to sum [SOMA_COUNTS];
 * of SOMA_COUNT_LAST the latest. */
void soma_counts_sum(soma_counts *counts, uint64_t serial, uint64_t *sum);

#endif

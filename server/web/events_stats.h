/* The event `stats`: what requests and models do, as one line of JSON. */
#ifndef SOMA_WEB_EVENTS_STATS_H
#define SOMA_WEB_EVENTS_STATS_H

#include "server/web/worker.h"

/* Requests are told of the last SOMA_STATS_SECONDS. */
enum { SOMA_STATS_SECONDS = 10 };

/* One worker's; zero-initialised: nothing seen yet. */
typedef struct soma_stats {
    uint64_t looks;
    struct {
        uint64_t at; /* ticks (clock.h) */
        uint64_t buckets[SOMA_HISTOGRAM_BUCKETS + 1];
    } seen[SOMA_STATS_SECONDS + 1];
} soma_stats;

/* Within a turn, once a second. */
void soma_stats_put(soma_stats *stats, soma_text *text,
                    const soma_worker *worker);

#endif

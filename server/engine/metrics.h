/* Counters and histograms, and the Prometheus text that shows them.
 *
 * Each worker counts in a soma_metrics of its own, without locks; a scrape
 * adds them up.
 */
#ifndef SOMA_ENGINE_METRICS_H
#define SOMA_ENGINE_METRICS_H

#include "server/engine/histogram.h"
#include "server/engine/registry.h"

#include <stdio.h>

enum {
    SOMA_METRICS_ROUTES = 64,
    SOMA_METRICS_STATUSES = 24,
};

typedef struct soma_metrics {
    /* Microseconds from the first byte of a request's head that was read to
     * its answer; by route and status, both as indices. */
    soma_histogram requests[SOMA_METRICS_ROUTES][SOMA_METRICS_STATUSES];
    soma_histogram batch_rows; /* rows of one forward pass */
} soma_metrics;

void soma_metrics_request(soma_metrics *metrics, int route, int status,
                          uint64_t microseconds);
void soma_metrics_batch(soma_metrics *metrics, int rows);

/* Adds how many requests took so long, all routes and statuses together, to
 * buckets [SOMA_HISTOGRAM_BUCKETS + 1] of soma_histogram_times. Any thread. */
void soma_metrics_sum_requests(const soma_metrics *metrics, uint64_t *buckets);

/* Bytes of memory that the process has resident; 0: not known. */
uint64_t soma_metrics_resident(void);

/* metrics_models.c: what the models say of themselves. Within a turn. */
void soma_metrics_models(FILE *to, soma_registry *registry);
/* metrics_layers.c: of their layers and journals. Within a turn. */
void soma_metrics_layers(FILE *to, soma_registry *registry);
/* metrics_process.c */
void soma_metrics_process(FILE *to);

/* A family's head; one histogram of times in microseconds. */
void soma_metrics_head(FILE *to, const char *name, const char *type,
                       const char *help);
void soma_metrics_times(FILE *to, const char *name, const char *model,
                        const soma_histogram *histogram);

/* The text of all workers' metrics and of the models' state, malloc'ed. Within
 * a turn. release is the program's version; route_label gives the label of a
 * route, NULL past the last. */
char *soma_metrics_text(soma_metrics *const *metrics, int workers,
                        soma_registry *registry, const char *release,
                        const char *(*route_label)(int route), size_t *size);

#endif

/* Saturated and dead units of a model, by what is predicted.
 *
 * Looking at a row costs about as much as reading its activations once. At
 * most one row in SOMA_HEALTH_PAUSE microseconds is looked at, for all workers
 * together, so the share of a busy worker's time is below a thousandth. A
 * worker never waits: where another one looks just then, it goes on.
 *
 * What is reported is about the latest SOMA_HEALTH_WINDOW to twice as many
 * rows that were looked at, or all of them while there are fewer.
 */
#ifndef SOMA_ENGINE_HEALTH_H
#define SOMA_ENGINE_HEALTH_H

#include "core/pass.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SOMA_HEALTH_PAUSE = 10000, SOMA_HEALTH_WINDOW = 500 };

/* Half of a window. */
typedef struct soma_health_half {
    long rows;
    long stuck[SOMA_MAX_LAYERS]; /* activations */
    unsigned char *lively;       /* [units of all layers]: not always stuck */
} soma_health_half;

typedef struct soma_health {
    _Atomic uint64_t due; /* microseconds, monotonic */
    pthread_mutex_t lock; /* of all below */
    int units;
    soma_health_half halves[2]; /* the one that is being filled comes first */
} soma_health;

typedef struct soma_health_report {
    long rows;    /* looked at */
    double stuck; /* share of [rows x units] activations, 0..1 */
    int dead;     /* units stuck in every row */
} soma_health_report;

/* SOMA_E_MEMORY; then, and when zero-initialised, nothing is looked at. */
soma_status soma_health_create(soma_health *health, const soma_spec *spec,
                               soma_error *err);
void soma_health_free(soma_health *health);

/* Any thread. Looks at one row of the last pass of `ws`, by a model of this
 * spec, if it is time. */
void soma_health_look(soma_health *health, const soma_spec *spec,
                      const soma_workspace *ws, uint64_t now);

/* Any thread. False: this layer's units cannot be stuck. */
bool soma_health_ask(soma_health *health, const soma_spec *spec, int layer,
                     soma_health_report *report);

/* The same, and which: dead [units of the layer] is set to 1 for those that
 * report->dead counts, else to 0. */
bool soma_health_ask_units(soma_health *health, const soma_spec *spec,
                           int layer, soma_health_report *report,
                           unsigned char *dead);

#endif

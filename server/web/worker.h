/* A worker: one thread that answers requests from their first byte to their
 * last, in turns:
 *
 *     wait -> decode what arrived into the models' batches, park it
 *          -> one forward pass for each model -> encode, send
 *
 * so requests that arrived together share a matrix product, and a lone one
 * waits for nobody.
 */
#ifndef SOMA_WEB_WORKER_H
#define SOMA_WEB_WORKER_H

#include "server/engine/batch.h"
#include "server/engine/counts.h"
#include "server/engine/metrics.h"
#include "server/web/request.h"

#include <pthread.h>

typedef struct soma_web_options {
    const char *version; /* of the program */
    const char *host;
    const char *port; /* "0": any free one */
    int workers;
    size_t max_body; /* bytes */
    int max_rows;    /* of one request */
    int max_connections, max_connections_per_address;
    double rate_limit;        /* requests a second, rate.h; 0: none */
    const char *cors_origins; /* cors.h, or NULL */
    bool versions;            /* answers say which version of a model gave them,
                                 in Soma-Version */
    size_t request_memory;    /* bytes, see soma_request_charge */
    int idle_timeout;         /* seconds */
    int request_timeout;      /* the same */
    int stop_seconds;         /* that requests may take when it stops */
    double max_learning_rate; /* that a request may ask for */
    /* Further paths, or NULL: of /ping and of /invocations */
    const char *health_route, *predict_route;
} soma_web_options;

/* What all workers share. */
typedef struct soma_web {
    soma_web_options options;
    struct soma_keys *keys;   /* keys.h; NULL: everyone may do everything */
    struct soma_rates *rates; /* rate.h; NULL: there is no limit */
    soma_registry *registry;
    struct soma_worker *workers; /* [options.workers] */
    atomic_bool ready;
    atomic_bool draining; /* it will stop: nobody should begin anything */
    atomic_bool stopping; /* it takes no more connections */
    atomic_int listeners; /* to the events, of all workers */
} soma_web;

typedef struct soma_worker {
    soma_web *web;
    int index; /* also as a reader */
    soma_metrics *metrics;
    soma_batch *batches; /* [SOMA_MAX_MODELS], by the models' index */
    soma_counts *counts; /* the same */
    soma_request *parked, **parked_end;   /* for the batches, oldest first */
    soma_request *large, **large_end;     /* with rows of their own, in turn */
    soma_request *waiting, **waiting_end; /* the same, for a version */
    soma_request *later, **later_end;     /* answers that take long to make */
    uint64_t later_began, later_due;      /* ticks: of the last, 0 once it is
                                             measured; of the next */
    int later_turns;                      /* since the last began */
    uint64_t removals;                    /* of models, that it has seen */
    int open_requests;
    size_t charged; /* bytes, see soma_request_charge */
    int awaited;    /* requests that trainers have */
    uint64_t next_id;
    /* Jobs that trainers are done with: */
    pthread_mutex_t lock;
    soma_request *learned;
    int wake;                   /* eventfd */
    struct soma_events *events; /* events.c; NULL: nobody has listened yet */
    /* The protocol library's side: http.c */
    struct soma_http *http;
    pthread_t thread;
} soma_worker;

soma_status soma_worker_create(soma_worker *worker, soma_web *web, int index,
                               soma_error *err);
void soma_worker_free(soma_worker *worker);

/* The model's batch; NULL: there is no memory for one. */
soma_batch *soma_worker_batch(soma_worker *worker, soma_served *served);

/* The worker's counts for this model. */
soma_counts *soma_worker_counts(soma_worker *worker, const soma_served *served);

/* Queues a request whose `rows` rows stand in its model's batch at `offset`,
 * or at its x. One that must wait is answered 503 after a second. */
soma_outcome soma_worker_predict(soma_request *request);

/* Parks a request whose answer takes milliseconds to make: the route's finish
 * makes it in a later turn. Half of the time at most is spent on those, so that
 * others do not wait for all of them. */
soma_outcome soma_worker_later(soma_request *request);

/* Whether the request's model has not learned yet what it asks for: then its
 * rows must stand at its x. */
bool soma_worker_must_wait(const soma_request *request);

/* 503: the version that the request asks for is not there. */
soma_outcome soma_worker_refuse_version(soma_request *request);

/* Predicts and finishes what is parked in this model's batch, to make room.
 */
void soma_worker_flush(soma_worker *worker, soma_batch *batch);

/* Makes request->job one that comes back to its worker; what is filled in
 * already stays. */
void soma_worker_prepare(soma_request *request);

/* Hands request->job, whose kind and input are filled in, to its model's
 * trainer. */
soma_outcome soma_worker_submit(soma_request *request);

/* Milliseconds until a turn is due, -1: when something happens. */
int soma_worker_timeout(const soma_worker *worker);

/* The work of a turn after requests were read. True: there is more to do at
 * once. */
bool soma_worker_turn(soma_worker *worker);

#endif

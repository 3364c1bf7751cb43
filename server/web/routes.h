/* The whole API is one table. Its rows feed the router, the Allow header, the
 * metrics' labels and the test that compares them with openapi.json.
 */
#ifndef SOMA_WEB_ROUTES_H
#define SOMA_WEB_ROUTES_H

#include "server/web/keys.h"
#include "server/web/worker.h"

typedef struct soma_route {
    const char *method;
    const char *path;  /* "{model}", "{version}" stand for one segment */
    const char *label; /* in metrics and the log */
    soma_scope scope;  /* that a key needs for it, if there are keys */
    /* Answers, or parks the request. */
    soma_outcome (*start)(soma_request *request);
    /* Encodes the answer of a parked request; for predictions with the scores
     * of its rows and the snapshot that they are from. NULL: never parks. */
    void (*finish)(soma_request *request, const soma_snapshot *snapshot,
                   const float *scores);
} soma_route;

/* Row i, NULL past the end. */
const soma_route *soma_route_at(int i);

/* Label of row i for metrics; one more row, "other", for requests that match
 * none; NULL past that. */
const char *soma_route_label(int i);
int soma_route_index(const soma_route *route);

/* "GET, HEAD, POST": what a path takes; NULL: there is no such path. */
const char *soma_route_methods(const soma_request *request, const char *path);

/* Whether bodies are read by their Content-Type; the protocols below /v1 and
 * /v2 say themselves what they are. */
bool soma_route_is_typed(const soma_route *route);

/* Finds the route and stores the path's model in the request. NULL: the reply
 * is a 404, or a 405 with Allow. */
const soma_route *soma_route_find(soma_request *request, const char *method,
                                  const char *path);

#endif

/* Large bodies are read two at a time: what was received is still in the cache
 * when its numbers are read, and the memory of the last body serves the next.
 * (64 clients that send 64 images each in JSON: read all at once, an image
 * costs twice as much.)
 *
 * A body holds its place only while bytes of it come: once a turn has brought
 * none it loses its place, and is read without. So others wait for a worker
 * that is busy, never for a client that is slow.
 *
 * All of it happens on the worker's thread.
 */
#ifndef SOMA_WEB_HTTP_BODIES_H
#define SOMA_WEB_HTTP_BODIES_H

#include <stdbool.h>

struct soma_peer;

typedef enum soma_body_place {
    SOMA_BODY_OUTSIDE, /* small, or not begun */
    SOMA_BODY_WAITING, /* its connection is suspended */
    SOMA_BODY_PLACED,
    SOMA_BODY_SLOW /* it had a place */
} soma_body_place;

typedef struct soma_body {
    void *connection; /* the library's */
    struct soma_peer *peer;
    soma_body_place place;
    bool came; /* some of it, in this turn */
    struct soma_body *next;
} soma_body;

enum { SOMA_BODY_PLACES = 2 };

/* Zero-initialised but for `end`, which points to `waiting`. */
typedef struct soma_bodies {
    soma_body *placed[SOMA_BODY_PLACES]; /* NULL: free */
    soma_body *waiting, **end;
} soma_bodies;

/* A piece of a large body has come. False: it must not be taken yet; the
 * connection was suspended, and brings the piece again. */
bool soma_bodies_take(soma_bodies *bodies, soma_body *body);

/* The body is complete, or its connection has ended. */
void soma_bodies_leave(soma_bodies *bodies, soma_body *body);

/* After each run of the library. True: it should run again at once. */
bool soma_bodies_turn(soma_bodies *bodies);

#endif

#include "server/web/http_bodies.h"

#include "server/engine/clock.h"
#include "server/web/http_peers.h"

#include <microhttpd.h>

static soma_body **
free_place(soma_bodies *bodies)
{
    for (int i = 0; i < SOMA_BODY_PLACES; i++)
        if (!bodies->placed[i])
            return &bodies->placed[i];
    return NULL;
}

static void
enter(soma_body **place, soma_body *body)
{
    *place = body;
    body->place = SOMA_BODY_PLACED;
    body->came = true;
}

bool
soma_bodies_take(soma_bodies *bodies, soma_body *body)
{
    body->came = true;
    if (body->place == SOMA_BODY_PLACED || body->place == SOMA_BODY_SLOW)
        return true;
    soma_body **place = bodies->waiting ? NULL : free_place(bodies);
    if (place) {
        enter(place, body);
        return true;
    }
    body->place = SOMA_BODY_WAITING;
    body->next = NULL;
    *bodies->end = body;
    bodies->end = &body->next;
    soma_peer_enters(body->peer, SOMA_PEER_SERVED, 0);
    MHD_suspend_connection(body->connection);
    return false;
}

void
soma_bodies_leave(soma_bodies *bodies, soma_body *body)
{
    for (int i = 0; i < SOMA_BODY_PLACES; i++)
        if (bodies->placed[i] == body)
            bodies->placed[i] = NULL;
    body->place = SOMA_BODY_OUTSIDE;
}

static void
admit(soma_bodies *bodies, soma_body **place)
{
    soma_body *body = bodies->waiting;
    bodies->waiting = body->next;
    if (!bodies->waiting)
        bodies->end = &bodies->waiting;
    enter(place, body);
    soma_peer_enters(body->peer, SOMA_PEER_READING, soma_clock_ticks());
    MHD_resume_connection(body->connection);
}

bool
soma_bodies_turn(soma_bodies *bodies)
{
    bool admitted = false;
    for (int i = 0; i < SOMA_BODY_PLACES; i++) {
        soma_body *body = bodies->placed[i];
        if (body && bodies->waiting && !body->came) {
            body->place = SOMA_BODY_SLOW;
            bodies->placed[i] = NULL;
        } else if (body) {
            body->came = false;
        }
        if (!bodies->placed[i] && bodies->waiting) {
            admit(bodies, &bodies->placed[i]);
            admitted = true;
        }
    }
    /* Those who wait must not do so for something to happen elsewhere. */
    return admitted || bodies->waiting;
}

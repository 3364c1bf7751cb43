/* The clients' ends of a worker's connections: which has gone, which is too
 * slow. libmicrohttpd knows neither well enough:
 *
 * - its epoll is edge-triggered, and a read that is shorter than its buffer
 *   is taken for the last: the end of a stream that came together with data
 *   goes unseen, and the connection lies in CLOSE_WAIT until it has idled;
 * - its timeout is of silence: a client that sends a byte now and then, or
 *   takes one, would hold its connection for ever.
 *
 * All of it happens on the worker's thread.
 */
#ifndef SOMA_WEB_HTTP_PEERS_H
#define SOMA_WEB_HTTP_PEERS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum soma_phase {
    SOMA_PEER_IDLE,    /* nothing of a request's head is known yet */
    SOMA_PEER_READING, /* its body comes */
    SOMA_PEER_SERVED,  /* it waits for us, and may be suspended */
    SOMA_PEER_REPLIED  /* the reply goes out */
} soma_phase;

typedef struct soma_peer {
    void *connection; /* the library's */
    int fd;
    soma_phase phase;
    uint64_t since;        /* when the phase began, ticks (clock.h) */
    uint64_t begun;        /* when some of a head had come; 0: nothing has */
    bool ended;            /* it sends no more */
    const char *after_uri; /* of its request's first line, see http_head.h */
    bool odd_target;       /* it holds what no target may */
    struct soma_peer *next, **link;
} soma_peer;

typedef struct soma_peers {
    int epoll;   /* where ends are reported, with the peer as data.ptr */
    int idle;    /* seconds: silence before a request */
    int request; /* seconds: for a request to come, from its first byte on,
                    and for its reply to be taken */
    bool told;   /* who is too slow with a request gets a 408: not over TLS */
    soma_peer *all;
    int ended;      /* how many of them */
    uint64_t swept; /* when slow ones were last looked for, and */
    soma_peer *at;  /* who is next to be looked at; NULL: all have been */
} soma_peers;

/* NULL: there is no memory for it; the library's own timeout remains. */
soma_peer *soma_peers_add(soma_peers *peers, void *connection, int fd);
void soma_peers_remove(soma_peers *peers, soma_peer *peer);

/* `peer` may be NULL. */
void soma_peer_enters(soma_peer *peer, soma_phase phase, uint64_t now);

/* The epoll reported that the peer sends no more. */
void soma_peers_end(soma_peers *peers, soma_peer *peer);

/* Before each run of the library: has it read to the end where a peer has
 * ended, and cuts off who is too slow. */
void soma_peers_look(soma_peers *peers, uint64_t now);

/* Milliseconds until it must be called again; -1: not before something
 * happens. */
int soma_peers_timeout(const soma_peers *peers);

#endif

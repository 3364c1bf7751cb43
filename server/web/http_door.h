/* Where connections come in: accepts for a worker's daemon, which would do it
 * itself, but not to the end. When descriptors had run out, libmicrohttpd took
 * nobody until one of its own connections ended, though there were some again
 * (another worker's, a journal's); without any connection it tried again and
 * again without a pause.
 *
 * All of it happens on the worker's thread.
 */
#ifndef SOMA_WEB_HTTP_DOOR_H
#define SOMA_WEB_HTTP_DOOR_H

#include <stdbool.h>
#include <stdint.h>

struct MHD_Daemon;

typedef struct soma_door {
    int listener;  /* owned; -1: closed for good */
    int epoll;     /* where it is waited for, with the door as data.ptr */
    unsigned most; /* connections at a time; who comes then waits outside */
    bool open;     /* the listener is in the epoll */
    uint64_t shut; /* ticks: not before that time, 0: at once */
} soma_door;

/* Lets in who waits outside, a bounded number at a time. */
void soma_door_admit(soma_door *door, struct MHD_Daemon *daemon, uint64_t now);

/* Before each wait: opens or shuts the door as there is room. */
void soma_door_look(soma_door *door, struct MHD_Daemon *daemon, uint64_t now);

/* Milliseconds until the door must be looked at; -1: no time is set. */
int soma_door_timeout(const soma_door *door);

/* For good. */
void soma_door_close(soma_door *door);

#endif

#include "server/web/http_peers.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { SECOND = 1000000, SWEEP_MS = 1000, UNREAD_MS = 20 };

soma_peer *
soma_peers_add(soma_peers *peers, void *connection, int fd)
{
    soma_peer *peer = calloc(1, sizeof *peer);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT,
                                .data = {.ptr = peer}};
    if (!peer)
        return NULL;
    /* The descriptor leaves the epoll when the library closes it. */
    if (epoll_ctl(peers->epoll, EPOLL_CTL_ADD, fd, &event)) {
        free(peer);
        return NULL;
    }
    peer->connection = connection;
    peer->fd = fd;
    peer->link = &peers->all;
    peer->next = peers->all;
    if (peer->next)
        peer->next->link = &peer->next;
    peers->all = peer;
    return peer;
}

void
soma_peers_remove(soma_peers *peers, soma_peer *peer)
{
    if (peer->ended)
        peers->ended--;
    *peer->link = peer->next;
    if (peer->next)
        peer->next->link = peer->link;
    free(peer);
}

void
soma_peer_enters(soma_peer *peer, soma_phase phase, uint64_t now)
{
    if (!peer)
        return;
    peer->phase = phase;
    peer->since = now;
}

void
soma_peers_end(soma_peers *peers, soma_peer *peer)
{
    if (!peer->ended)
        peers->ended++;
    peer->ended = true;
}

/* Once all that it sent has been read, one more read finds the end; the
 * library takes every connection for readable that was resumed. */
static void
find_end(soma_peers *peers, soma_peer *peer)
{
    char byte;
    if (peer->phase == SOMA_PEER_SERVED ||
        recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return;
    peer->ended = false;
    peers->ended--;
    MHD_suspend_connection(peer->connection);
    MHD_resume_connection(peer->connection);
}

static void
cut_off_slow(const soma_peers *peers, const soma_peer *peer, uint64_t now)
{
    int most =
        peers->request + (peer->phase == SOMA_PEER_IDLE ? peers->idle : 0);
    if (peer->phase != SOMA_PEER_SERVED && now > peer->since &&
        now - peer->since > (uint64_t)most * SECOND)
        shutdown(peer->fd, SHUT_RDWR);
}

void
soma_peers_look(soma_peers *peers, uint64_t now)
{
    bool sweep = now - peers->swept >= (uint64_t)SWEEP_MS * 1000;
    if (!sweep && !peers->ended)
        return;
    for (soma_peer *peer = peers->all; peer; peer = peer->next) {
        if (peer->ended)
            find_end(peers, peer);
        if (sweep)
            cut_off_slow(peers, peer, now);
    }
    if (sweep)
        peers->swept = now;
}

int
soma_peers_timeout(const soma_peers *peers)
{
    if (peers->ended)
        return UNREAD_MS;
    return peers->all ? SWEEP_MS : -1;
}

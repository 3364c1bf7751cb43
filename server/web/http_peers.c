#include "server/web/http_peers.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SECOND = 1000000,
    SWEEP_MS = 1000,
    /* Ten thousand take 12 ms: others wait for a part of them at most. */
    PART = 64,
    PART_MS = 5,
    UNREAD_MS = 20,
    /* What came so soon after a phase's begin may belong to the one before. */
    BEFORE = 50000,
};

#define TOO_SLOW                                                               \
    "{\"error\":\"the request did not come in time\","                         \
    "\"code\":\"request_timeout\"}"

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
    if (peers->at == peer)
        peers->at = peer->next;
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
    peer->since = phase == SOMA_PEER_READING && peer->begun ? peer->begun : now;
    peer->begun = 0;
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

/* The library tells of a head only when it is complete; the kernel knows
 * whether anything has come at all. A TLS handshake counts, too. */
static void
find_begin(soma_peer *peer, uint64_t now)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (peer->phase != SOMA_PEER_IDLE || peer->begun ||
        getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &size))
        return;
    uint64_t silence = (uint64_t)info.tcpi_last_data_recv * 1000;
    if (now - peer->since > silence + BEFORE)
        peer->begun = now;
}

/* Nothing of an answer is under way yet, so this one is whole. */
static void
tell(const soma_peer *peer)
{
    static const char text[] = "HTTP/1.1 408 Request Timeout\r\n"
                               "Connection: close\r\n"
                               "Content-Type: application/json\r\n"
                               "Content-Length: %zu\r\n\r\n" TOO_SLOW;
    char answer[sizeof text + 8];
    int size = snprintf(answer, sizeof answer, text, sizeof TOO_SLOW - 1);
    send(peer->fd, answer, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
cut_off_slow(const soma_peers *peers, const soma_peer *peer, uint64_t now)
{
    bool silent = peer->phase == SOMA_PEER_IDLE && !peer->begun;
    uint64_t since = peer->begun ? peer->begun : peer->since;
    int most = peers->request + (silent ? peers->idle : 0);
    if (peer->phase == SOMA_PEER_SERVED || now <= since ||
        now - since <= (uint64_t)most * SECOND)
        return;
    if (peers->told && !silent && peer->phase != SOMA_PEER_REPLIED)
        tell(peer);
    shutdown(peer->fd, SHUT_RDWR);
}

void
soma_peers_look(soma_peers *peers, uint64_t now)
{
    soma_peer *peer = peers->ended ? peers->all : NULL;
    for (; peer; peer = peer->next)
        if (peer->ended)
            find_end(peers, peer);
    if (!peers->at && now - peers->swept >= (uint64_t)SWEEP_MS * 1000) {
        peers->swept = now;
        peers->at = peers->all;
    }
    for (int i = 0; i < PART && peers->at; i++) {
        find_begin(peers->at, now);
        cut_off_slow(peers, peers->at, now);
        peers->at = peers->at->next;
    }
}

int
soma_peers_timeout(const soma_peers *peers)
{
    if (peers->ended)
        return UNREAD_MS;
    if (peers->at)
        return PART_MS;
    return peers->all ? SWEEP_MS : -1;
}

/* TLS (GnuTLS) to a Redis server, for hiredis, which takes a socket: a thread
 * of its own carries bytes between one end of a socket pair and the server.
 * (Debian 12's hiredis has no TLS of its own.)
 */
#ifndef SOMA_ENGINE_REDIS_TLS_H
#define SOMA_ENGINE_REDIS_TLS_H

#include "core/status.h"

/* Files in PEM, each NULL or a path. */
typedef struct soma_redis_trust {
    char *ca;         /* whom to trust; NULL: whom the system trusts */
    char *cert, *key; /* what to show, for servers that ask who one is */
} soma_redis_trust;

typedef struct soma_redis_tls soma_redis_tls;

/* Takes over `server`, a connected socket; the server's certificate must name
 * `host` (a name or an address) and be trusted. Waits `milliseconds` at most.
 * *fd: what to talk to, to be closed by the caller, before
 * soma_redis_tls_close. NULL, with `server` closed: SOMA_E_IO, also where a
 * file cannot be read. */
soma_redis_tls *soma_redis_tls_open(int server, const char *host,
                                    const soma_redis_trust *trust,
                                    unsigned milliseconds, int *fd,
                                    soma_error *err);

/* Ends the thread; NULL is fine. */
void soma_redis_tls_close(soma_redis_tls *tls);

#endif

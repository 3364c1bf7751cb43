/* Listening sockets. */
#ifndef SOMA_WEB_LISTEN_H
#define SOMA_WEB_LISTEN_H

#include "core/status.h"

#include <stdbool.h>

/* A listening TCP socket that does not block, on host (NULL: all addresses)
 * and port ("0": any free one); *port receives the port that it got. Several
 * may listen on one port: the kernel divides new connections between them. */
soma_status soma_listen(const char *host, const char *service, int *fd,
                        int *port, soma_error *err);

/* A number to 65535, or a service's name: getaddrinfo takes others for what is
 * left of them in 16 bits. */
bool soma_listen_is_port(const char *port);

#endif

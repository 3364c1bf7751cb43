#include "server/web/listen.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int
listen_on(const struct addrinfo *address)
{
    static const int on = 1;
    int fd = socket(address->ai_family,
                    address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) ||
        listen(fd, BACKLOG)) {
        int number = errno;
        close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

static int
port_of(int fd)
{
    struct sockaddr_storage bound;
    char port[8];
    socklen_t size = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &size) ||
        getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof port,
                    NI_NUMERICSERV))
        return 0;
    return atoi(port);
}

bool
soma_listen_is_port(const char *port)
{
    size_t digits = strspn(port, "0123456789");
    if (digits && !port[digits])
        return digits <= 5 && atoi(port) <= UINT16_MAX;
    return isalpha((unsigned char)*port);
}

soma_status
soma_listen(const char *host, const char *service, int *fd, int *port,
            soma_error *err)
{
    struct addrinfo *list,
        hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int failure = getaddrinfo(host, service, &hints, &list);
    if (failure)
        return soma_error_set(err, SOMA_E_ARGUMENT, "--listen %s:%s: %s",
                              host ? host : "", service, gai_strerror(failure));
    *fd = -1;
    for (struct addrinfo *a = list; a && *fd < 0; a = a->ai_next)
        *fd = listen_on(a);
    int number = errno;
    freeaddrinfo(list);
    if (*fd < 0)
        return soma_error_set(err, SOMA_E_IO, "listening on %s:%s: %s",
                              host ? host : "", service, strerror(number));
    *port = port_of(*fd);
    return SOMA_OK;
}

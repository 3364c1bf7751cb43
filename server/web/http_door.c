#include "server/web/http_door.h"

#include <errno.h>
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    AT_ONCE = 64,   /* then those who are in have their turn */
    PAUSE_MS = 100, /* until descriptors or memory are tried for again */
};

static bool
has_room(const soma_door *door, struct MHD_Daemon *daemon)
{
    return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
               ->num_connections < door->most;
}

/* The library closes what it does not take: the address has too many. */
void
soma_door_admit(soma_door *door, struct MHD_Daemon *daemon, uint64_t now)
{
    for (int i = 0; i < AT_ONCE && has_room(door, daemon); i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        int fd = accept4(door->listener, (struct sockaddr *)&from, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            MHD_add_connection(daemon, fd, (struct sockaddr *)&from, size);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                   errno == ENOBUFS) {
            door->shut = now + PAUSE_MS * 1000;
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

void
soma_door_look(soma_door *door, struct MHD_Daemon *daemon, uint64_t now)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = door}};
    if (now >= door->shut)
        door->shut = 0;
    bool open = door->listener >= 0 && !door->shut && has_room(door, daemon);
    if (open != door->open &&
        !epoll_ctl(door->epoll, open ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                   door->listener, &event))
        door->open = open;
}

int
soma_door_timeout(const soma_door *door)
{
    return door->shut ? PAUSE_MS : -1;
}

void
soma_door_close(soma_door *door)
{
    if (door->listener >= 0)
        close(door->listener); /* which leaves the epoll by that */
    door->listener = -1;
    door->open = false;
}

/* The library asks for more bytes when it has sent the last ones. Where there
 * are none its connection is suspended, on the worker's thread as everything
 * else, until there are: it would ask again and again. A suspended connection
 * is nobody's to time out, and its end is not looked for; since something is
 * sent each second, that is not for long. */
#include "server/web/http_stream.h"

#include "server/engine/clock.h"
#include "server/web/events.h"

#include <sys/socket.h>

enum {
    PIECE = 16 << 10,
    KERNEL = 64 << 10, /* bytes that the kernel may hold, too; it doubles them,
                          and would else hold megabytes for who does not read */
};

static soma_peer *
peer_of(const soma_request *request)
{
    return MHD_get_connection_info(request->connection,
                                   MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        ->socket_context;
}

static ssize_t
on_read(void *arg, uint64_t position, char *to, size_t most)
{
    soma_request *request = arg;
    (void)position;
    long size = soma_events_read(request, to, most);
    if (size < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    soma_peer_enters(peer_of(request),
                     size ? SOMA_PEER_REPLIED : SOMA_PEER_SERVED,
                     soma_clock_ticks());
    if (size == 0) {
        MHD_suspend_connection(request->connection);
        request->stalled = true;
    }
    return size;
}

struct MHD_Response *
soma_http_stream_response(soma_request *request)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, PIECE, on_read, request, NULL);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int size = KERNEL;
    setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                                "no-store");
    return response;
}

void
soma_http_stream_on(soma_request *request)
{
    if (!request->stalled)
        return;
    request->stalled = false;
    request->worker->http->answered = true;
    soma_peer_enters(peer_of(request), SOMA_PEER_REPLIED, soma_clock_ticks());
    MHD_resume_connection(request->connection);
}

void
soma_http_stream_cut(soma_request *request)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    shutdown(info->connect_fd, SHUT_RDWR);
}

/* What http.c (a request's states) and http_loop.c (the worker's turns) share.
 */
#ifndef SOMA_WEB_HTTP_PARTS_H
#define SOMA_WEB_HTTP_PARTS_H

#include "server/web/http.h"
#include "server/web/http_bodies.h"
#include "server/web/http_door.h"
#include "server/web/http_peers.h"

#include <microhttpd.h>

struct soma_http_request;

struct soma_http {
    struct MHD_Daemon *daemon;
    int epoll;
    int port;
    soma_peers peers;
    soma_door door;
    soma_bodies bodies;
    bool answered;                  /* a request since the daemon last ran */
    struct soma_http_request *free; /* kept for the next ones */
    int free_count;
};

/* The library's callbacks, all with the worker as their argument. */
enum MHD_Result soma_http_on_request(void *arg,
                                     struct MHD_Connection *connection,
                                     const char *url, const char *method,
                                     const char *version, const char *data,
                                     size_t *size, void **context);
void soma_http_on_completed(void *arg, struct MHD_Connection *connection,
                            void **context,
                            enum MHD_RequestTerminationCode code);
void *soma_http_on_uri(void *arg, const char *uri,
                       struct MHD_Connection *connection);
void soma_http_on_connection(void *arg, struct MHD_Connection *connection,
                             void **context,
                             enum MHD_ConnectionNotificationCode code);

/* Those that are kept for later ones. */
void soma_http_free_requests(struct soma_http *http);

#endif

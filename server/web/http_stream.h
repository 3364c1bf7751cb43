/* Replies that go on (events.h), over libmicrohttpd. */
#ifndef SOMA_WEB_HTTP_STREAM_H
#define SOMA_WEB_HTTP_STREAM_H

#include "server/web/http_parts.h"

/* The response of a request whose reply streams; NULL: no memory. */
struct MHD_Response *soma_http_stream_response(soma_request *request);

#endif

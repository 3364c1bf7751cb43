/* HTTP: the only file behind this header that knows libmicrohttpd.
 */
#ifndef SOMA_WEB_HTTP_H
#define SOMA_WEB_HTTP_H

#include "server/web/worker.h"

/* Opens the worker's listening socket and daemon. With port "0" the first
 * worker's choice is written to options.port for the others. */
/* The version of libmicrohttpd that is loaded. */
const char *soma_http_library(void);

soma_status soma_http_open(soma_worker *worker, soma_error *err);
void soma_http_close(soma_worker *worker);

/* The port that the worker listens on. */
int soma_http_port(const soma_worker *worker);

/* The reply is complete of a request whose route's start said SOMA_SOON or
 * SOMA_PARKED. */
void soma_http_answer(soma_request *request);

/* Of a request whose reply streams: there are bytes for it again, or its end;
 * ends its connection. */
void soma_http_stream_on(soma_request *request);
void soma_http_stream_cut(soma_request *request);

/* The worker's thread: turns until the server drains and nothing is open. */
void *soma_http_run(void *worker);

/* From any thread: ends the worker's wait. */
void soma_http_wake(soma_worker *worker);

#endif

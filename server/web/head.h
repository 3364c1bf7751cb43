/* A request's head: the headers that matter, and what must not be in them.
 */
#ifndef SOMA_WEB_HEAD_H
#define SOMA_WEB_HEAD_H

#include "server/web/request.h"

#include <sys/socket.h>

/* Values live as long as the request. */
typedef struct soma_head {
    const char *type;     /* Content-Type */
    const char *length;   /* Content-Length */
    const char *encoding; /* Transfer-Encoding */
    const char *coding;   /* Content-Encoding */
    const char *key;      /* Idempotency-Key */
    const char *accept;   /* Accept */
    const char *least;    /* Soma-Min-Version */
    const char *tensors;  /* Inference-Header-Content-Length */
    const char *trace;    /* traceparent */
    const char *bearer;   /* Authorization */
    const char *host, *origin;
    const char *site;         /* Sec-Fetch-Site */
    const char *wants_method; /* Access-Control-Request-Method */
    size_t size;              /* of the body, by its length; 0: unknown */
    int lengths, encodings, hosts, keys, traces, bearers,
        leasts; /* how many there are */
} soma_head;

void soma_head_take(soma_head *head, const char *name, const char *value);

/* Each leaves a complete reply where it refuses the request. */
void soma_head_check(const soma_head *head, soma_request *request);
void soma_head_refuse_form(soma_request *request);   /* http_head.h */
void soma_head_refuse_target(soma_request *request); /* the same */
/* RFC 9112, 3.2: a path, since soma is no proxy. */
void soma_head_check_target(soma_request *request, const char *target);
/* Whether the key, if the server has a list of them, is for the route. */
void soma_head_check_access(const soma_head *head, soma_request *request);
/* Whether it comes too soon after its caller's others; also where it is refused
 * already. What is open to all is not counted. */
void soma_head_check_rate(soma_request *request,
                          const struct sockaddr *address);
void soma_head_check_key(const soma_head *head, soma_request *request);
/* W3C Trace Context, level 1: the request's trace, if there is exactly one
 * good traceparent; another one is as good as none, says 2.2. */
void soma_head_take_trace(const soma_head *head, soma_request *request);
/* Soma-Min-Version: the version of the model that must answer, or a later one.
 */
void soma_head_check_version(const soma_head *head, soma_request *request);
void soma_head_check_body(const soma_head *head, soma_request *request);

#endif

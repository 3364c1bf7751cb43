/* A request on its way through the server, whatever protocol library brought
 * it: http.c fills it in, the routes' handlers work on it, http.c sends what
 * they leave in `reply`.
 *
 * All of a request's life is on its worker's thread; only while it is PARKED
 * for a trainer does the job in it belong to that one (trainer.h).
 */
#ifndef SOMA_WEB_REQUEST_H
#define SOMA_WEB_REQUEST_H

#include "server/engine/registry.h"
#include "server/web/floats.h"
#include "server/web/text.h"

struct soma_worker;
struct soma_route;

/* What a handler did: */
typedef enum soma_outcome {
    SOMA_DONE,  /* the reply is complete */
    SOMA_SOON,  /* it comes by the end of this turn, by the route's finish */
    SOMA_PARKED /* it comes in a later turn, by the route's finish */
} soma_outcome;

typedef struct soma_reply {
    int status;
    const char *type;      /* Content-Type; a constant */
    const char *allow;     /* for 405; a constant */
    const char *challenge; /* WWW-Authenticate, for 401; a constant */
    const char *origin;    /* whose pages may read it; NULL: see cors.h */
    const char *methods;   /* of a preflight's answer, or NULL; a constant */
    const char *policy;    /* Content-Security-Policy; a constant */
    int retry_after;       /* seconds; 0: no such header */
    bool streams;          /* the body goes on, see events.h */
    bool close;            /* end the connection with it */
    bool versioned;        /* by a model, of this version: */
    uint64_t version;
    bool unsaid;          /* and the body has no place for it */
    const void *constant; /* body in constant memory, else it is in text */
    size_t constant_size;
    size_t head_size; /* bytes of JSON before those of a tensor; 0: no such */
    soma_text text;
} soma_reply;

typedef struct soma_request {
    struct soma_worker *worker;
    void *connection; /* the protocol library's */
    const struct soma_route *route;
    uint64_t id;
    int scopes;        /* of its key; of those without keys: all */
    uint64_t caller;   /* whose key it has, for the limit of rate.h; 0: none */
    uint64_t started;  /* monotonic, microseconds */
    uint64_t decoded;  /* the same, of a prediction: when its rows stood */
    uint64_t patience; /* until when it waits for that version, the same */
    uint64_t passing;  /* microseconds of its forward passes, of rows at x */
    /* From the head; they live as long as the request: */
    char model[132];                    /* {model} of the path; "": none */
    char version[24];                   /* {version} or {file} of the path */
    const char *type;                   /* Content-Type, or NULL */
    const char *label;                  /* ?label=, or NULL */
    const char *top_k;                  /* ?top_k=, or NULL */
    const char *rate;                   /* ?learning_rate=, or NULL */
    const char *after, *limit, *pixels; /* ?after= and so on, or NULL */
    const char *layer, *units;          /* the same */
    const char *asked_to_remember;      /* ?remember=, or NULL */
    const char *idempotency_key;        /* the header's value, or NULL */
    const char *inference_header;       /* Inference-Header-Content-Length */
    uint64_t least;                     /* Soma-Min-Version; 0: any will do */
    const char *coding;                 /* Content-Encoding, or NULL */
    const char *accept;                 /* Accept, or NULL */
    const char *trace; /* 32 digits of a trace, "-", 16 of a span; or NULL */
    /* The body; data[size] is a NUL: */
    char *body;
    size_t body_size, body_room;
    size_t expected;     /* room for all of it, as the head said; or 0 */
    soma_status refused; /* of the body: SOMA_E_LIMIT, SOMA_E_BUSY; then what
                            is there of it means nothing */
    size_t charged;      /* bytes, see soma_request_charge */

    /* What a prediction or a lesson is about: */
    soma_served *served;     /* in use until the request's end */
    soma_served *challenger; /* the same, of a promotion */
    soma_floats floats;
    int rows;
    bool list;      /* asked as a list, so answered as one */
    bool remember;  /* the answers shall have ids */
    bool binary;    /* the answer's tensor follows its JSON, as bytes */
    int form;       /* of the answer; the handler's own */
    int most;       /* classes to answer with (top_k), 0: all */
    int offset;     /* first row in the worker's batch; -1: they are at x */
    const float *x; /* [rows x size], within floats */
    int done;       /* rows predicted so far, of those at x */
    float *scores;  /* [rows x outputs], of those at x */
    soma_snapshot *pinned; /* what they are predicted with */
    int *labels;
    soma_lesson *lessons;
    struct soma_label *delayed; /* [rows], if labels came for remembered inputs;
                                   api_train.c */
    soma_job job;
    soma_journal_key key;           /* that job points to, if there is one */
    struct soma_request *next;      /* in the worker's queue */
    struct soma_request *listening; /* the next of the worker's listeners */
    bool stalled; /* its connection is suspended until there are events */

    soma_reply reply;
} soma_request;

/* Makes a request ready for the next use; its buffers stay. */
void soma_request_reset(soma_request *request);
void soma_request_free(soma_request *request);

/* Ends the use of its models before the request ends. */
void soma_request_leave(soma_request *request);

/* Takes an argument of the query; those that nobody knows are passed over, and
 * of a name that comes twice the first counts. */
void soma_request_argument(soma_request *request, const char *name,
                           const char *value);

/* A body of that size will come. Of a large one (above SOMA_REQUEST_FREE) the
 * memory is only charged for until its first piece comes. False: there is no
 * memory for it. */
bool soma_request_expect(soma_request *request, size_t size);

/* Whether the body is a large one, once `size` bytes more have come. */
bool soma_request_is_large(const soma_request *request, size_t size);

/* Appends to the body. False, and `refused`, beyond `most` or when there is no
 * memory for it. */
bool soma_request_append(soma_request *request, const char *data, size_t size,
                         size_t most);

/* The body is not needed any more. */
void soma_request_drop_body(soma_request *request);

/* Memory that a request, or its answer, holds beyond SOMA_REQUEST_FREE bytes is
 * charged to its worker until it is reset, and refused (false) beyond the
 * worker's share of options.request_memory: however many clients send large
 * bodies, what waits is bounded. A worker that has charged nothing yet refuses
 * nothing, so that each request that is within the other bounds can be served.
 */
enum { SOMA_REQUEST_FREE = 1 << 16 };
bool soma_request_charge(soma_request *request, size_t bytes);

/* SOMA_E_BUSY, saying that it was refused. */
soma_status soma_request_busy(soma_error *err);

/* Counts an answered request, and logs it where that is wanted. */
void soma_request_report(const soma_request *request);

/* ---- Replies ---- */

/* {"error": text, "code": code} */
__attribute__((format(printf, 4, 5))) soma_outcome
soma_reply_error(soma_request *request, int status, const char *code,
                 const char *format, ...);

/* 503: soma_request_busy. */
soma_outcome soma_reply_busy(soma_request *request);

/* The one translation from soma_status to HTTP. */
soma_outcome soma_reply_failure(soma_request *request, const soma_error *err);

/* It is this version of its model that answers. */
void soma_reply_version(soma_request *request, uint64_t version);

/* Status 200 with what stands in reply.text; 503 if memory ran out. */
soma_outcome soma_reply_text(soma_request *request, const char *type);

soma_outcome soma_reply_constant(soma_request *request, const char *type,
                                 const void *data, size_t size);

#endif

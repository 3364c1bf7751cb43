/* GET /events: server-sent events for pages that watch the server (HTML
 * standard, section 9.2).
 *
 * Each worker serves its own listeners from its loop; what they have not read
 * yet stands in their reply's text. While nobody listens to a worker it does
 * nothing. Everything is on the worker's thread.
 *
 * What goes out is looked for every SOMA_EVENTS_LOOK_MS: what models were
 * taught since (feed.h), and each second the state of all. A listener that
 * leaves more than SOMA_EVENTS_UNREAD bytes unread is cut off. Of a burst
 * between two looks the last SOMA_FEED are told.
 */
#ifndef SOMA_WEB_EVENTS_H
#define SOMA_WEB_EVENTS_H

#include "server/web/worker.h"

enum {
    SOMA_EVENTS_LISTENERS = 32, /* of all workers; then 503 */
    SOMA_EVENTS_LOOK_MS = 100,
    SOMA_EVENTS_UNREAD = 256 << 10,
};

/* Ends the use: the request is complete, or its client has left. */
void soma_events_leave(soma_request *request);

/* The next bytes for this listener, at most `most`: how many; 0: none yet,
 * soma_http_stream_on tells when; -1: that was the last. */
long soma_events_read(soma_request *request, char *to, size_t most);

/* Within a turn. */
void soma_events_turn(soma_worker *worker);

/* Milliseconds until the next turn is needed; -1: none is. */
int soma_events_timeout(const soma_worker *worker);

void soma_events_free(soma_worker *worker);

#endif

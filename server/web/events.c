#include "server/web/events.h"

#include "server/engine/clock.h"
#include "server/web/api.h"
#include "server/web/events_stats.h"
#include "server/web/http.h"
#include "server/web/keys.h"

#include <stdlib.h>
#include <string.h>

enum { SECOND = 1000000, NEWS = 64 };

typedef struct cursor {
    uint64_t serial, at; /* of a model, and the number of its next news */
} cursor;

/* One worker's, while someone listens to it. */
struct soma_events {
    soma_request *first;  /* linked by `listening` */
    uint64_t look, stats; /* when each is due, ticks */
    uint64_t id;          /* of the latest event */
    soma_stats seen;
    cursor cursors[SOMA_MAX_MODELS]; /* by the models' index */
};

static void
put_head(struct soma_events *events, soma_text *text, const char *name)
{
    soma_text_put(text, "id: ");
    soma_text_whole(text, ++events->id);
    soma_text_put(text, "\nevent: ");
    soma_text_put(text, name);
    soma_text_put(text, "\ndata: ");
}

static void
put_stats(soma_worker *worker, soma_text *text)
{
    put_head(worker->events, text, "stats");
    soma_stats_put(&worker->events->seen, text, worker);
    soma_text_put(text, "\n\n");
}

static void
put_news(struct soma_events *events, soma_text *text, const soma_served *served,
         const soma_news *news)
{
    static const char *const names[] = {[SOMA_RECORD_EXAMPLE] = "example",
                                        [SOMA_RECORD_ROLLBACK] = "rollback",
                                        [SOMA_RECORD_ADOPTION] = "promotion"};
    put_head(events, text, names[news->kind]);
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, news->version);
    if (news->kind == SOMA_RECORD_ROLLBACK) {
        soma_text_put(text, ",\"rollback\":");
        soma_text_whole(text, news->target);
    } else if (news->kind == SOMA_RECORD_ADOPTION) {
        soma_text_put(text, ",\"promoted\":{\"version\":");
        soma_text_whole(text, news->target);
        soma_text_put(text, "}");
    } else {
        soma_text_put(text, ",");
        soma_api_put_class(text, served, news->label);
        soma_text_put(text, ",\"predicted\":{");
        soma_api_put_class(text, served, news->predicted);
        soma_text_put(text, news->label == news->predicted
                                ? "},\"right\":true,\"loss\":"
                                : "},\"right\":false,\"loss\":");
        soma_text_float(text, news->loss);
    }
    soma_text_put(text, "}\n\n");
}

/* What this model was taught since the last look. */
static void
look_at(struct soma_events *events, soma_text *text, soma_served *served)
{
    soma_feed *feed = soma_trainer_feed(served->trainer);
    cursor *c = &events->cursors[served->index];
    soma_news news[NEWS];
    int count;
    if (c->serial != served->serial)
        *c = (cursor){served->serial, soma_feed_count(feed)};
    while ((count = soma_feed_read(feed, &c->at, news, NEWS)) > 0)
        for (int i = 0; i < count; i++)
            put_news(events, text, served, &news[i]);
}

static void
look(soma_worker *worker, soma_text *text)
{
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(worker->web->registry, list);
    for (int i = 0; i < count; i++)
        look_at(worker->events, text, list[i]);
}

soma_outcome
soma_api_events(soma_request *request)
{
    soma_worker *worker = request->worker;
    soma_web *web = worker->web;
    soma_text *text = &request->reply.text;
    if (!worker->events)
        worker->events = calloc(1, sizeof *worker->events);
    if (!worker->events)
        return soma_reply_error(request, 503, "out_of_memory",
                                "no memory for the events");
    if (atomic_fetch_add(&web->listeners, 1) >= SOMA_EVENTS_LISTENERS) {
        atomic_fetch_sub(&web->listeners, 1);
        request->reply.retry_after = 10;
        return soma_reply_error(request, 503, "too_many_listeners",
                                "%d clients listen to the events already",
                                SOMA_EVENTS_LISTENERS);
    }
    struct soma_events *events = worker->events;
    if (!events->first) {
        /* What was taught before has been told by others, or not at all. */
        soma_text before = {.data = NULL};
        memset(events->cursors, 0, sizeof events->cursors);
        look(worker, &before);
        soma_text_free(&before);
        memset(&events->seen, 0, sizeof events->seen);
        events->look = events->stats = soma_clock_ticks();
        events->stats += SECOND;
    }
    request->listening = events->first;
    events->first = request;
    soma_text_put(text, "retry: 2000\n\n");
    put_stats(worker, text);
    request->reply.status = 200;
    request->reply.type = "text/event-stream";
    request->reply.streams = true;
    return SOMA_DONE;
}

void
soma_events_leave(soma_request *request)
{
    soma_request **link = &request->worker->events->first;
    while (*link != request)
        link = &(*link)->listening;
    *link = request->listening;
    request->reply.streams = false;
    atomic_fetch_sub(&request->worker->web->listeners, 1);
}

long
soma_events_read(soma_request *request, char *to, size_t most)
{
    soma_text *text = &request->reply.text;
    if (text->failed || atomic_load(&request->worker->web->stopping))
        return -1;
    size_t size = text->used < most ? text->used : most;
    if (!size)
        return 0;
    memcpy(to, text->data, size);
    memmove(text->data, text->data + size, text->used - size);
    text->used -= size;
    return (long)size;
}

/* What was taught is for those only who may list the examples. */
static void
add(soma_request *listener, const soma_text *news, const soma_text *stats)
{
    soma_text *unread = &listener->reply.text;
    bool all = listener->scopes & SOMA_SCOPE_TRAIN;
    if (all && news->used)
        soma_text_bytes(unread, news->data, news->used);
    if (stats->used)
        soma_text_bytes(unread, stats->data, stats->used);
    unread->failed = unread->failed || stats->failed || (all && news->failed);
}

void
soma_events_turn(soma_worker *worker)
{
    struct soma_events *events = worker->events;
    if (!events || !events->first)
        return;
    uint64_t now = soma_clock_ticks();
    bool stopping = atomic_load(&worker->web->stopping);
    if (now < events->look && !stopping)
        return;
    soma_text news = {.data = NULL}, stats = {.data = NULL};
    events->look = now + (uint64_t)SOMA_EVENTS_LOOK_MS * 1000;
    look(worker, &news);
    if (now >= events->stats) {
        events->stats = now + SECOND;
        put_stats(worker, &stats);
    }
    for (soma_request *r = events->first; r; r = r->listening) {
        if (r->reply.text.used > SOMA_EVENTS_UNREAD)
            soma_http_stream_cut(r);
        else
            add(r, &news, &stats);
        if (r->reply.text.used || r->reply.text.failed || stopping)
            soma_http_stream_on(r);
    }
    soma_text_free(&news);
    soma_text_free(&stats);
}

int
soma_events_timeout(const soma_worker *worker)
{
    const struct soma_events *events = worker->events;
    if (!events || !events->first)
        return -1;
    uint64_t now = soma_clock_ticks();
    return now >= events->look ? 0 : (int)((events->look - now) / 1000) + 1;
}

void
soma_events_free(soma_worker *worker)
{
    free(worker->events);
    worker->events = NULL;
}

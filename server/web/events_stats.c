#include "server/web/events_stats.h"

#include "server/engine/clock.h"
#include "server/web/api.h"

#include <string.h>

enum { CLASSES = 100, MINUTE = 60000 };

typedef struct traffic {
    uint64_t buckets[SOMA_HISTOGRAM_BUCKETS + 1], total;
    double seconds;
} traffic;

static traffic
look(soma_stats *stats, const soma_worker *worker)
{
    enum { ROOM = SOMA_STATS_SECONDS + 1 };
    traffic t = {.total = 0};
    uint64_t n = stats->looks++;
    uint64_t first = n > SOMA_STATS_SECONDS ? n - SOMA_STATS_SECONDS : 0;
    const soma_web *web = worker->web;
    uint64_t *now = stats->seen[n % ROOM].buckets;
    stats->seen[n % ROOM].at = soma_clock_ticks();
    memset(now, 0, sizeof t.buckets);
    for (int w = 0; w < web->options.workers; w++)
        soma_metrics_sum_requests(web->workers[w].metrics, now);
    for (int b = 0; b <= SOMA_HISTOGRAM_BUCKETS; b++) {
        t.buckets[b] = now[b] - stats->seen[first % ROOM].buckets[b];
        t.total += t.buckets[b];
    }
    t.seconds =
        (double)(stats->seen[n % ROOM].at - stats->seen[first % ROOM].at) / 1e6;
    return t;
}

static void
put_number(soma_text *text, const char *name, double value)
{
    soma_text_put(text, ",\"");
    soma_text_put(text, name);
    soma_text_put(text, "\":");
    soma_text_float(text, (float)value);
}

/* Milliseconds within which this share of the requests was answered: between
 * the ends of a bucket in proportion, as Prometheus does. */
static void
put_quantile(soma_text *text, const char *name, const traffic *t, double share)
{
    double wanted = share * (double)t->total, before = 0;
    int b = 0;
    soma_text_put(text, ",\"");
    soma_text_put(text, name);
    soma_text_put(text, "\":");
    if (!t->total) {
        soma_text_put(text, "null");
        return;
    }
    while (b < SOMA_HISTOGRAM_BUCKETS &&
           before + (double)t->buckets[b] < wanted)
        before += (double)t->buckets[b++];
    int last = SOMA_HISTOGRAM_BUCKETS - 1;
    double low = b ? (double)soma_histogram_times[b - 1] : 0;
    double high = (double)soma_histogram_times[b < last ? b : last];
    double within =
        t->buckets[b] ? (wanted - before) / (double)t->buckets[b] : 0;
    soma_text_float(text, (float)((low + (high - low) * within) / 1000));
}

static void
put_classes(soma_text *text, const soma_served *served,
            const soma_progressive *progressive)
{
    int count = served->spec.classes < CLASSES ? served->spec.classes : CLASSES;
    soma_text_put(text, ",\"classes\":[");
    for (int c = 0; c < count && progressive->examples; c++) {
        soma_progress_report r = soma_progressive_report(progressive, c);
        soma_text_put(text, c ? ",{" : "{");
        soma_api_put_class(text, served, c);
        soma_text_put(text, ",\"examples\":");
        soma_text_whole(text, (uint64_t)r.examples);
        put_number(text, "accuracy", r.accuracy);
        soma_text_put(text, "}");
    }
    soma_text_put(text, "]}");
}

static void
put_model(soma_text *text, soma_served *served)
{
    const soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    const soma_progressive *progressive = &snapshot->progressive;
    soma_progress_report r = soma_progressive_report(progressive, -1);
    int64_t now = soma_clock_now();
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, snapshot->version);
    soma_text_put(text, ",\"examples\":");
    soma_text_whole(text, progressive->examples);
    put_number(
        text, "examples_per_minute",
        soma_feed_since(soma_trainer_feed(served->trainer), now - MINUTE, now));
    soma_text_put(text, ",\"window\":");
    soma_text_whole(text, (uint64_t)r.examples);
    put_number(text, "accuracy", r.accuracy);
    put_number(text, "loss", r.loss);
    put_classes(text, served, progressive);
}

void
soma_stats_put(soma_stats *stats, soma_text *text, const soma_worker *worker)
{
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(worker->web->registry, list);
    traffic t = look(stats, worker);
    char date[SOMA_CLOCK_TEXT];
    soma_clock_text(soma_clock_now(), date);
    soma_text_put(text, "{\"time\":");
    soma_text_quote(text, date);
    put_number(text, "requests_per_second",
               t.seconds > 0 ? (double)t.total / t.seconds : 0);
    put_quantile(text, "p50_ms", &t, 0.5);
    put_quantile(text, "p99_ms", &t, 0.99);
    soma_text_put(text, ",\"memory_bytes\":");
    soma_text_whole(text, soma_metrics_resident());
    soma_text_put(text, ",\"models\":[");
    for (int i = 0; i < count; i++) {
        if (i)
            soma_text_put(text, ",");
        put_model(text, list[i]);
    }
    soma_text_put(text, "]}");
}

#include "server/engine/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Upper ends. */
static const uint64_t row_ends[SOMA_HISTOGRAM_BUCKETS] = {
    1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256};

/* Statuses that soma answers with; anything else counts under the last. */
static const int statuses[SOMA_METRICS_STATUSES] = {
    200, 400, 401, 403, 404, 405, 408, 409, 411,
    413, 414, 415, 429, 431, 500, 503, 507};

static int
status_index(int status)
{
    int i = 0;
    while (i < SOMA_METRICS_STATUSES - 1 && statuses[i] != status)
        i++;
    return i;
}

void
soma_metrics_request(soma_metrics *metrics, int route, int status,
                     uint64_t microseconds)
{
    soma_histogram_observe(&metrics->requests[route][status_index(status)],
                           soma_histogram_times, microseconds);
}

void
soma_metrics_batch(soma_metrics *metrics, int rows)
{
    soma_histogram_observe(&metrics->batch_rows, row_ends, (uint64_t)rows);
}

void
soma_metrics_sum_requests(const soma_metrics *metrics, uint64_t *buckets)
{
    for (int r = 0; r < SOMA_METRICS_ROUTES; r++)
        for (int s = 0; s < SOMA_METRICS_STATUSES; s++)
            for (int b = 0; b <= SOMA_HISTOGRAM_BUCKETS; b++)
                buckets[b] += atomic_load_explicit(
                    &metrics->requests[r][s].buckets[b], memory_order_relaxed);
}

/* A histogram summed over the workers, in plain numbers. */
typedef struct sum {
    uint64_t buckets[SOMA_HISTOGRAM_BUCKETS + 1], total, sum;
} sum;

static void
add(sum *to, const soma_histogram *histogram)
{
    for (int i = 0; i <= SOMA_HISTOGRAM_BUCKETS; i++) {
        uint64_t count =
            atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        to->buckets[i] += count;
        to->total += count;
    }
    to->sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}

/* `unit`: how many of what was observed make one of what is shown. labels is
 * "" or ends in a comma. */
static void
print_histogram(FILE *to, const char *name, const char *labels, const sum *s,
                const uint64_t *ends, double unit)
{
    uint64_t count = 0;
    for (int i = 0; i < SOMA_HISTOGRAM_BUCKETS; i++) {
        count += s->buckets[i];
        fprintf(to, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels,
                (double)ends[i] / unit, (unsigned long long)count);
    }
    fprintf(to, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels,
            (unsigned long long)s->total);
    char braces[SOMA_MODEL_NAME + 16] = "";
    int length = (int)strlen(labels);
    if (length)
        snprintf(braces, sizeof braces, "{%.*s}", length - 1, labels);
    fprintf(to, "%s_sum%s %.9g\n%s_count%s %llu\n", name, braces,
            (double)s->sum / unit, name, braces, (unsigned long long)s->total);
}

static void
print_requests(FILE *to, soma_metrics *const *metrics, int workers,
               const char *(*route_label)(int route))
{
    soma_metrics_head(to, "soma_request_seconds", "histogram",
                      "Time from a request's head to its answer.");
    const char *route;
    for (int r = 0; (route = route_label(r)); r++)
        for (int s = 0; s < SOMA_METRICS_STATUSES; s++) {
            sum total = {.total = 0};
            for (int w = 0; w < workers; w++)
                add(&total, &metrics[w]->requests[r][s]);
            if (!total.total)
                continue;
            char labels[96];
            snprintf(labels, sizeof labels, "route=\"%s\",status=\"%d\",",
                     route, statuses[s]);
            print_histogram(to, "soma_request_seconds", labels, &total,
                            soma_histogram_times, 1e6);
        }
}

static void
print_batches(FILE *to, soma_metrics *const *metrics, int workers)
{
    sum total = {.total = 0};
    for (int w = 0; w < workers; w++)
        add(&total, &metrics[w]->batch_rows);
    soma_metrics_head(to, "soma_batch_rows", "histogram",
                      "Rows of one forward pass.");
    print_histogram(to, "soma_batch_rows", "", &total, row_ends, 1);
}

void
soma_metrics_times(FILE *to, const char *name, const char *model,
                   const soma_histogram *histogram)
{
    char labels[SOMA_MODEL_NAME + 16];
    sum total = {.total = 0};
    add(&total, histogram);
    if (!total.total)
        return;
    snprintf(labels, sizeof labels, "model=\"%s\",", model);
    print_histogram(to, name, labels, &total, soma_histogram_times, 1e6);
}

void
soma_metrics_head(FILE *to, const char *name, const char *type,
                  const char *help)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

char *
soma_metrics_text(soma_metrics *const *metrics, int workers,
                  soma_registry *registry, const char *release,
                  const char *(*route_label)(int route), size_t *size)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, size);
    if (!to)
        return NULL;
    soma_metrics_head(to, "soma_build_info", "gauge", "The program's version.");
    fprintf(to, "soma_build_info{version=\"%s\"} 1\n", release);
    print_requests(to, metrics, workers, route_label);
    print_batches(to, metrics, workers);
    soma_metrics_models(to, registry);
    soma_metrics_layers(to, registry);
    soma_metrics_process(to);
    if (fclose(to)) {
        free(text);
        return NULL;
    }
    return text;
}

#include "server/web/worker.h"

#include "core/io/json_memory.h"
#include "server/engine/clock.h"
#include "server/engine/share.h"
#include "server/web/events.h"
#include "server/web/http.h"
#include "server/web/routes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    PATIENCE = 1000000, /* microseconds that a request waits for a version */
    LOOK_MS = 5,        /* how often is looked whether it has come */
    LONGEST = 100000, /* microseconds: the longest pause after a long answer */
    SENT = 2          /* turns until that one is sent */
};

soma_status
soma_worker_create(soma_worker *worker, soma_web *web, int index,
                   soma_error *err)
{
    *worker = (soma_worker){.web = web, .index = index};
    pthread_mutex_init(&worker->lock, NULL);
    worker->parked_end = &worker->parked;
    worker->large_end = &worker->large;
    worker->waiting_end = &worker->waiting;
    worker->later_end = &worker->later;
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->metrics = calloc(1, sizeof *worker->metrics);
    worker->batches = calloc(SOMA_MAX_MODELS, sizeof *worker->batches);
    worker->counts = calloc(SOMA_MAX_MODELS, sizeof *worker->counts);
    if (worker->wake < 0)
        return soma_error_errno(err, "creating", "an eventfd");
    if (!worker->metrics || !worker->batches || !worker->counts)
        return soma_error_memory(err, "a worker");
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int models = soma_registry_list(web->registry, list);
    for (int i = 0; i < models; i++)
        if (!soma_worker_batch(worker, list[i]))
            return soma_error_memory(err, "a worker");
    return soma_http_open(worker, err);
}

void
soma_worker_free(soma_worker *worker)
{
    soma_http_close(worker);
    soma_events_free(worker);
    for (int i = 0; worker->batches && i < SOMA_MAX_MODELS; i++)
        soma_batch_free(&worker->batches[i]);
    free(worker->batches);
    free(worker->counts);
    free(worker->metrics);
    if (worker->wake >= 0)
        close(worker->wake);
    pthread_mutex_destroy(&worker->lock);
}

soma_batch *
soma_worker_batch(soma_worker *worker, soma_served *served)
{
    soma_batch *batch = &worker->batches[served->index];
    return soma_batch_create(batch, served, NULL) ? NULL : batch;
}

soma_counts *
soma_worker_counts(soma_worker *worker, const soma_served *served)
{
    soma_counts *counts = &worker->counts[served->index];
    soma_counts_begin(counts, served->serial);
    return counts;
}

/* Gives back the memory of batches whose models are gone. */
static void
drop_batches(soma_worker *worker)
{
    soma_registry *registry = worker->web->registry;
    uint64_t removals = atomic_load(&registry->removals);
    if (removals == worker->removals)
        return;
    worker->removals = removals;
    for (int i = 0; i < SOMA_MAX_MODELS; i++) {
        soma_batch *batch = &worker->batches[i];
        const soma_served *served = atomic_load(&registry->models[i]);
        if (batch->serial && (!served || served->serial != batch->serial))
            soma_batch_free(batch);
    }
}

static void
append(soma_request ***end, soma_request *request)
{
    request->next = NULL;
    **end = request;
    *end = &request->next;
}

bool
soma_worker_must_wait(const soma_request *request)
{
    return request->least &&
           soma_shelf_current(&request->served->shelf)->version <
               request->least;
}

soma_outcome
soma_worker_predict(soma_request *request)
{
    soma_worker *worker = request->worker;
    bool large = request->offset < 0;
    request->decoded = soma_clock_ticks();
    if (large && soma_worker_must_wait(request)) {
        request->patience = request->decoded + PATIENCE;
        append(&worker->waiting_end, request);
        return SOMA_PARKED;
    }
    append(large ? &worker->large_end : &worker->parked_end, request);
    return large ? SOMA_PARKED : SOMA_SOON;
}

static void
finish(soma_request *request, const soma_snapshot *snapshot,
       const float *scores)
{
    if (snapshot)
        soma_reply_version(request, snapshot->version);
    soma_json_memory_begin();
    request->route->finish(request, snapshot, scores);
    soma_http_answer(request);
}

soma_outcome
soma_worker_later(soma_request *request)
{
    append(&request->worker->later_end, request);
    return SOMA_PARKED;
}

/* Once the last one is sent, which takes as long as making it: in the first run
 * of the protocol library it is queued, in the second sent. */
static void
measure_later(soma_worker *worker, uint64_t now)
{
    if (!worker->later_began || ++worker->later_turns <= SENT)
        return;
    uint64_t took = now - worker->later_began;
    worker->later_due = now + (took < LONGEST ? took : LONGEST);
    worker->later_began = 0;
}

/* One, and after it a pause as long as it took. True: a turn is due at once. */
static bool
finish_one_later(soma_worker *worker)
{
    soma_request *request = worker->later;
    uint64_t now = request || worker->later_began ? soma_clock_ticks() : 0;
    measure_later(worker, now);
    if (!request || worker->later_began || now < worker->later_due)
        return worker->later_began != 0;
    worker->later = request->next;
    if (!worker->later)
        worker->later_end = &worker->later;
    worker->later_began = now;
    worker->later_turns = 0;
    finish(request, NULL, NULL);
    return true;
}

/* Requests that were predicted in one pass, of `pass` microseconds that ended
 * at `passed`. */
typedef struct tally {
    uint64_t requests, rows, pass, passed;
    uint64_t started, decoded; /* sums of the requests' times */
} tally;

static void
tally_one(tally *t, const soma_request *request)
{
    t->requests++;
    t->rows += (uint64_t)request->rows;
    t->started += request->started;
    t->decoded += request->decoded;
}

/* Once their answers are encoded. */
static void
count(soma_counts *c, const tally *t)
{
    uint64_t now = soma_clock_ticks(), n = t->requests;
    soma_counts_add(c, SOMA_COUNT_REQUESTS, n);
    soma_counts_add(c, SOMA_COUNT_ROWS, t->rows);
    soma_counts_add(c, SOMA_COUNT_TOTAL_TIME, now * n - t->started);
    soma_counts_add(c, SOMA_COUNT_INPUT_TIME, t->decoded - t->started);
    soma_counts_add(c, SOMA_COUNT_QUEUE_TIME,
                    (t->passed - t->pass) * n - t->decoded);
    soma_counts_add(c, SOMA_COUNT_INFER_TIME, t->pass * n);
    soma_counts_add(c, SOMA_COUNT_OUTPUT_TIME, now - t->passed);
    atomic_store_explicit(&c->of[SOMA_COUNT_LAST], (uint64_t)soma_clock_now(),
                          memory_order_relaxed);
}

void
soma_worker_flush(soma_worker *worker, soma_batch *batch)
{
    soma_served *served = batch->served;
    soma_counts *counts = soma_worker_counts(worker, served);
    const soma_spec *spec = &served->spec;
    const soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    uint64_t began = soma_clock_ticks();
    const float *scores =
        soma_batch_forward(batch, snapshot, batch->x, batch->rows);
    tally t = {.passed = soma_clock_ticks()};
    t.pass = t.passed - began;
    soma_health_look(&served->health, spec, batch->ws, t.passed);
    soma_metrics_batch(worker->metrics, batch->rows);
    soma_counts_add(counts, SOMA_COUNT_BATCHES, 1);
    batch->rows = 0;
    soma_request **at = &worker->parked, *request;
    while ((request = *at)) {
        if (request->served != batch->served) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        if (worker->parked_end == &request->next)
            worker->parked_end = at;
        tally_one(&t, request);
        finish(request, snapshot,
               scores + (size_t)request->offset * (size_t)spec->outputs);
    }
    count(counts, &t);
}

/* One piece of the oldest large request. The others wait until it is done: so
 * there is one pinned snapshot at most, and memory is given back soonest. All
 * pieces use the snapshot of the first: an answer names one version. */
static void
predict_piece(soma_worker *worker)
{
    soma_request *request = worker->large;
    soma_served *served = request->served;
    size_t size = (size_t)served->spec.input.size;
    size_t outputs = (size_t)served->spec.outputs;
    size_t done = (size_t)request->done;
    int left = request->rows - request->done;
    int rows = left < SOMA_BATCH_ROWS ? left : SOMA_BATCH_ROWS;
    if (!request->pinned) {
        request->pinned = soma_shelf_current(&served->shelf);
        soma_snapshot_pin(request->pinned);
    }
    soma_counts *counts = soma_worker_counts(worker, served);
    uint64_t began = soma_clock_ticks();
    /* The request uses its model, so the batch is still that one's. */
    const float *scores =
        soma_batch_forward(&worker->batches[served->index], request->pinned,
                           request->x + done * size, rows);
    soma_health_look(&served->health, &served->spec,
                     worker->batches[served->index].ws, began);
    soma_metrics_batch(worker->metrics, rows);
    memcpy(request->scores + done * outputs, scores,
           (size_t)rows * outputs * sizeof *scores);
    soma_counts_add(counts, SOMA_COUNT_BATCHES, 1);
    request->passing += soma_clock_ticks() - began;
    request->done += rows;
    if (request->done < request->rows)
        return;
    worker->large = request->next;
    if (!worker->large)
        worker->large_end = &worker->large;
    soma_snapshot *snapshot = request->pinned;
    request->pinned = NULL;
    tally t = {.pass = request->passing, .passed = soma_clock_ticks()};
    tally_one(&t, request);
    finish(request, snapshot, request->scores);
    count(counts, &t);
    soma_snapshot_unpin(snapshot);
}

/* On the trainer's thread: hands the request back to its worker. */
static void
on_learned(soma_job *job)
{
    static const uint64_t one = 1;
    soma_request *request = job->owner;
    soma_worker *worker = request->worker;
    pthread_mutex_lock(&worker->lock);
    request->next = worker->learned;
    worker->learned = request;
    /* Within the lock: once it is free the worker may end and close this. */
    ssize_t written = write(worker->wake, &one, sizeof one);
    (void)written; /* it fails only when the counter is high already */
    pthread_mutex_unlock(&worker->lock);
}

void
soma_worker_prepare(soma_request *request)
{
    request->job.done = on_learned;
    request->job.owner = request;
}

soma_outcome
soma_worker_submit(soma_request *request)
{
    soma_error err;
    soma_worker_prepare(request);
    if (soma_trainer_submit(request->served->trainer, &request->job, &err))
        return soma_reply_failure(request, &err);
    request->worker->awaited++;
    return SOMA_PARKED;
}

static void
finish_learned(soma_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    soma_request *list = worker->learned;
    worker->learned = NULL;
    pthread_mutex_unlock(&worker->lock);
    while (list) {
        soma_request *request = list;
        list = request->next;
        worker->awaited--;
        if (request->job.err.status) {
            soma_reply_failure(request, &request->job.err);
            soma_http_answer(request);
        } else {
            finish(request, NULL, NULL);
        }
    }
}

soma_outcome
soma_worker_refuse_version(soma_request *request)
{
    uint64_t version = soma_shelf_current(&request->served->shelf)->version;
    request->reply.retry_after = 1;
    soma_reply_version(request, version);
    return soma_reply_error(
        request, 503, "version_not_here",
        "Soma-Min-Version %llu: model \"%s\" has learned up to version %llu "
        "here; try again later, or another replica",
        (unsigned long long)request->least, request->served->name,
        (unsigned long long)version);
}

/* Those whose version has come are predicted, those who have waited too long
 * are told so. */
static void
look_at_waiting(soma_worker *worker)
{
    soma_request *list = worker->waiting, *request;
    uint64_t now = soma_clock_ticks();
    worker->waiting = NULL;
    worker->waiting_end = &worker->waiting;
    while ((request = list)) {
        list = request->next;
        if (!soma_worker_must_wait(request)) {
            append(&worker->large_end, request);
        } else if (now < request->patience) {
            append(&worker->waiting_end, request);
        } else {
            soma_worker_refuse_version(request);
            soma_http_answer(request);
        }
    }
}

int
soma_worker_timeout(const soma_worker *worker)
{
    uint64_t now = soma_clock_ticks();
    if (!worker->later)
        return worker->waiting ? LOOK_MS : -1;
    return now < worker->later_due ? (int)(worker->later_due - now) / 1000 + 1
                                   : 0;
}

bool
soma_worker_turn(soma_worker *worker)
{
    finish_learned(worker);
    if (worker->waiting)
        look_at_waiting(worker);
    int top = atomic_load(&worker->web->registry->top);
    for (int i = 0; i < top; i++)
        if (worker->batches[i].rows > 0)
            soma_worker_flush(worker, &worker->batches[i]);
    if (worker->large)
        predict_piece(worker);
    else
        drop_batches(worker);
    bool more = finish_one_later(worker);
    soma_events_turn(worker);
    soma_share_turn();
    return more || worker->large;
}

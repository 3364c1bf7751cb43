/* Changes of the list of models, by a thread of its own, so that neither who
 * predicts nor who learns waits for files.
 *
 * A fork travels like this: its source's trainer copies the state of learning
 * (SOMA_JOB_STATE); the keeper writes a journal that begins with the source's
 * model file and has that state as its first record, renames it in place, and
 * loads it just as a start of the server would. So what is answered is what a
 * restart finds.
 *
 * A promotion needs no keeper: the challenger's trainer copies its state and
 * passes the job on to the other model's trainer (SOMA_JOB_ADOPT).
 *
 * A fork that is removed goes off the list, which new requests no longer find
 * it on; when no turn that saw it is under way and no request uses it, its
 * trainer is stopped and its journal set aside; then it is freed.
 */
#include "server/engine/registry_parts.h"

#include "server/engine/log.h"
#include "server/engine/thread.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_AGAIN = 2 }; /* milliseconds, while something waits to be freed */

struct soma_keeper {
    pthread_t thread;
    /* Under `lock`: */
    pthread_mutex_t lock;
    pthread_cond_t more;
    soma_job *first, **last; /* forks to be made, models to load or unload */
    soma_served *leaving;    /* linked by leaving.next */
    bool rescan, stopping;
};

static void
answer(soma_job *job, soma_status status, const soma_error *err)
{
    job->err.status = SOMA_OK;
    if (status)
        job->err = *err;
    job->done = job->finally;
    job->done(job);
}

static void
enqueue(struct soma_keeper *keeper, soma_job *job)
{
    pthread_mutex_lock(&keeper->lock);
    job->next = NULL;
    *keeper->last = job;
    keeper->last = &job->next;
    pthread_cond_signal(&keeper->more);
    pthread_mutex_unlock(&keeper->lock);
}

/* ---- Forks ---- */

/* On the source's trainer. */
static void
on_state(soma_job *job)
{
    soma_registry *registry = job->registry;
    struct soma_keeper *keeper = registry->keeper;
    if (job->err.status) {
        soma_error err = job->err;
        answer(job, err.status, &err);
        return;
    }
    enqueue(keeper, job);
}

static void
remove_files(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[PATH_MAX + 8];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

/* The journal of a new fork, complete, at `path`. */
static soma_status
write_journal(const soma_job *job, const char *path, soma_error *err)
{
    soma_journal_base base = {.digest = job->digest,
                              .origin = job->from,
                              .model = job->base.data,
                              .model_size = job->base.size,
                              .size = job->size,
                              .now = soma_clock_now()};
    memcpy(base.settings, job->settings, sizeof base.settings);
    remove_files(path); /* of a fork that was broken off */
    soma_journal *journal = soma_journal_create(path, &base, err);
    if (!journal)
        return err->status;
    soma_record record = {.seq = 1,
                          .kind = SOMA_RECORD_ADOPTION,
                          .time = base.now,
                          .target = job->version,
                          .data = job->state.data,
                          .data_size = job->state.size};
    soma_journal_group group = {.records = &record, .count = 1};
    soma_status status = job->state.data
                             ? journal->backend->append(journal, &group, err)
                             : SOMA_OK;
    journal->backend->close(journal);
    return status;
}

bool
soma_keeper_is_closing(struct soma_keeper *keeper, const char *name)
{
    bool found = false;
    pthread_mutex_lock(&keeper->lock);
    for (soma_served *s = keeper->leaving; s && !found; s = s->leaving.next)
        found = !s->leaving.closed && !strcmp(s->name, name);
    pthread_mutex_unlock(&keeper->lock);
    return found;
}

/* It may be taken off the list meanwhile, but only this thread frees it. */
soma_status
soma_keeper_wait_until_ready(const soma_served *served, soma_error *err)
{
    const struct timespec pause = {0, 1000000};
    soma_trainer_report report;
    for (;;) {
        soma_trainer_ask(served->trainer, &report);
        if (report.state == SOMA_TRAINER_READY)
            return SOMA_OK;
        if (report.state == SOMA_TRAINER_FAILED) {
            *err = report.err;
            return err->status;
        }
        nanosleep(&pause, NULL);
    }
}

static soma_status
make_fork(soma_registry *registry, const soma_job *job, soma_error *err)
{
    soma_served *served;
    char path[PATH_MAX], fresh[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/%s.db", registry->options.trainer.data,
             job->name);
    snprintf(fresh, sizeof fresh, "%s.fork", path);
    if (soma_registry_look_up(registry, job->name))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "there is a model \"%s\" already", job->name);
    if (soma_keeper_is_closing(registry->keeper, job->name))
        return soma_error_set(err, SOMA_E_BUSY,
                              "the model \"%s\" is just being removed; try "
                              "again later",
                              job->name);
    if (!access(path, F_OK))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s: there is such a journal already", path);
    soma_status status = write_journal(job, fresh, err);
    if (!status)
        status = soma_journal_move(fresh, path, err);
    if (status) {
        remove_files(fresh);
        return status;
    }
    status = soma_registry_load_fork(registry, job->name, path, &served, err);
    if (!status)
        return soma_keeper_wait_until_ready(served, err);
    remove_files(path); /* or the next start would find what was refused */
    return status;
}

static void
fork_one(soma_registry *registry, soma_job *job)
{
    soma_error err;
    soma_status status = make_fork(registry, job, &err);
    if (!status) {
        char version[24];
        snprintf(version, sizeof version, "%" PRIu64, job->version);
        soma_log(SOMA_LOG_INFO, "fork", "model", job->from, "version", version,
                 "as", job->name, NULL);
    }
    answer(job, status, &err);
}

soma_status
soma_registry_fork(soma_registry *registry, soma_served *served,
                   const char *name, soma_job *job, soma_error *err)
{
    if (!soma_registry_is_name(name, strlen(name)))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "\"as\": a model's name is 1 to 128 letters, "
                              "digits, '.', '_' or '-'");
    if (!registry->options.trainer.data)
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "a fork is a journal in the data folder, and "
                              "this server has none (--data)");
    if (soma_registry_look_up(registry, name))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "there is a model \"%s\" already", name);
    job->kind = SOMA_JOB_STATE;
    job->keep = SOMA_KEEP_FORK;
    job->registry = registry;
    job->with_base = true;
    snprintf(job->name, sizeof job->name, "%s", name);
    job->finally = job->done;
    job->done = on_state;
    soma_status status = soma_trainer_submit(served->trainer, job, err);
    if (status)
        job->done = job->finally;
    return status;
}

/* ---- Promotion ---- */

/* On the challenger's trainer: on to the other one's. */
static void
on_challenger(soma_job *job)
{
    soma_error err = job->err;
    job->done = job->finally;
    if (!err.status) {
        job->kind = SOMA_JOB_ADOPT;
        if (!soma_trainer_submit(job->heir->trainer, job, &err))
            return;
    }
    answer(job, err.status, &err);
}

soma_status
soma_registry_promote(soma_registry *registry, soma_served *served,
                      soma_served *challenger, soma_job *job, soma_error *err)
{
    if (served == challenger)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "\"from\": a model cannot be promoted to itself");
    job->kind = SOMA_JOB_STATE;
    job->registry = registry;
    job->heir = served;
    job->finally = job->done;
    job->done = on_challenger;
    soma_status status = soma_trainer_submit(challenger->trainer, job, err);
    if (status)
        job->done = job->finally;
    return status;
}

/* ---- Removal ---- */

soma_status
soma_registry_remove(soma_registry *registry, soma_served *served,
                     soma_job *job, soma_error *err)
{
    if (!served->origin)
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s is no fork: it is served as long as its "
                              "model file is there",
                              served->name);
    job->finally = job->done;
    if (soma_keeper_retire(registry, served, true, job))
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "the model was just removed by another request");
}

bool
soma_keeper_retire(soma_registry *registry, soma_served *served, bool set_aside,
                   soma_job *job)
{
    struct soma_keeper *keeper = registry->keeper;
    pthread_mutex_lock(&keeper->lock);
    soma_served *expected = served;
    bool ours = atomic_compare_exchange_strong(&registry->models[served->index],
                                               &expected, NULL);
    if (ours) {
        expected = served;
        atomic_compare_exchange_strong(&registry->fallback, &expected, NULL);
        atomic_fetch_add(&registry->removals, 1);
        served->leaving = (soma_leaving){
            soma_readers_retire(&registry->readers), set_aside,
            soma_trainer_is_paused(served->trainer), job, keeper->leaving};
        keeper->leaving = served;
        pthread_cond_signal(&keeper->more);
    }
    pthread_mutex_unlock(&keeper->lock);
    return ours;
}

/* ---- Loading and unloading ---- */

static void
ask_keeper(soma_registry *registry, const char *name, soma_keep keep,
           soma_job *job)
{
    job->keep = keep;
    job->finally = job->done;
    snprintf(job->name, sizeof job->name, "%s", name);
    enqueue(registry->keeper, job);
}

void
soma_registry_load(soma_registry *registry, const char *name, soma_job *job)
{
    ask_keeper(registry, name, SOMA_KEEP_LOAD, job);
}

void
soma_registry_unload(soma_registry *registry, const char *name, soma_job *job)
{
    ask_keeper(registry, name, SOMA_KEEP_UNLOAD, job);
}

void
soma_registry_rescan(soma_registry *registry)
{
    struct soma_keeper *keeper = registry->keeper;
    pthread_mutex_lock(&keeper->lock);
    keeper->rescan = true;
    pthread_cond_signal(&keeper->more);
    pthread_mutex_unlock(&keeper->lock);
}

static void
do_job(soma_registry *registry, soma_job *job)
{
    static const struct timespec pause = {0, 1000000};
    soma_error err;
    if (job->keep == SOMA_KEEP_FORK) {
        fork_one(registry, job);
    } else if (job->keep == SOMA_KEEP_UNLOAD) {
        if (soma_registry_unload_now(registry, job->name, job, &err))
            answer(job, err.status, &err);
    } else if (soma_keeper_is_closing(registry->keeper, job->name)) {
        /* Its journal is open until the last request that uses it is done. */
        nanosleep(&pause, NULL);
        enqueue(registry->keeper, job);
    } else {
        answer(job, soma_registry_load_now(registry, job->name, &err), &err);
    }
}

static bool
is_gone(soma_registry *registry, soma_served *served)
{
    return soma_readers_passed(&registry->readers, served->leaving.at) &&
           !soma_served_is_used(served);
}

static void
free_one(soma_registry *registry, soma_served *served)
{
    char path[PATH_MAX], aside[PATH_MAX];
    soma_error err;
    soma_status status = SOMA_OK;
    soma_trainer_stop(served->trainer);
    served->trainer = NULL;
    if (served->leaving.set_aside) {
        snprintf(path, sizeof path, "%s/%s.db", registry->options.trainer.data,
                 served->name);
        status = soma_journal_retire(path, aside, sizeof aside, &err);
        if (!status)
            soma_log(SOMA_LOG_INFO, "removed", "model", served->name,
                     "old-journal", aside, NULL);
    }
    int index = served->index;
    soma_job *job = served->leaving.job;
    soma_served_free(served);
    atomic_store(&registry->taken[index], false);
    if (job)
        answer(job, status, &err);
}

/* One that nobody sees any more, off the list; NULL: there is none. */
static soma_served *
take_gone(soma_registry *registry)
{
    soma_served **at = &registry->keeper->leaving;
    for (; *at; at = &(*at)->leaving.next)
        if (is_gone(registry, *at)) {
            soma_served *gone = *at;
            *at = gone->leaving.next;
            return gone;
        }
    return NULL;
}

/* ---- The thread ---- */

static void
wait_for_work(struct soma_keeper *keeper)
{
    struct timespec until;
    if (!keeper->leaving) {
        pthread_cond_wait(&keeper->more, &keeper->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_AGAIN * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&keeper->more, &keeper->lock, &until);
}

static void *
keeper_main(void *arg)
{
    soma_registry *registry = arg;
    struct soma_keeper *keeper = registry->keeper;
    pthread_mutex_lock(&keeper->lock);
    for (;;) {
        soma_job *job = keeper->first;
        if (job) {
            keeper->first = job->next;
            if (!keeper->first)
                keeper->last = &keeper->first;
        }
        soma_served *gone = take_gone(registry);
        /* What leaves may have its journal open until it is gone. */
        bool rescan = keeper->rescan && !job && !gone && !keeper->leaving &&
                      !keeper->stopping;
        keeper->rescan = keeper->rescan && !rescan;
        if (!job && !gone && !rescan) {
            if (keeper->stopping && !keeper->leaving)
                break;
            wait_for_work(keeper);
            continue;
        }
        pthread_mutex_unlock(&keeper->lock);
        if (gone)
            free_one(registry, gone);
        if (job)
            do_job(registry, job);
        if (rescan)
            soma_registry_rescan_now(registry);
        pthread_mutex_lock(&keeper->lock);
    }
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

soma_status
soma_keeper_start(soma_registry *registry, soma_error *err)
{
    struct soma_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return soma_error_memory(err, "the list of models");
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->more, NULL);
    keeper->last = &keeper->first;
    registry->keeper = keeper;
    soma_status status = soma_thread_start(&keeper->thread, "keeper",
                                           keeper_main, registry, err);
    if (!status)
        return SOMA_OK;
    registry->keeper = NULL;
    pthread_cond_destroy(&keeper->more);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
    return status;
}

void
soma_keeper_stop(soma_registry *registry)
{
    struct soma_keeper *keeper = registry->keeper;
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopping = true;
    pthread_cond_signal(&keeper->more);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->more);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
    registry->keeper = NULL;
}

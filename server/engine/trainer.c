/* The trainer's loop takes whatever examples wait, as one group, and for it
 * does
 *
 *     append    to the journal, in one transaction, while it does
 *     step      for each example, in order, and makes a new snapshot
 *     show      which becomes the one in force
 *     done      for each job
 *
 * Invariants:
 *
 * 1. Nothing is shown or answered before append and step are done.
 * 2. One record is one deterministic update, whatever group it came in. The
 *    weights in force are the checkpoint's plus all records since, in order.
 * 3. This thread is the only one that touches the learner and the journal; the
 *    journal it leaves to its writer while that appends (trainer_append.c).
 * 4. A step that would make a number that is not finite changes nothing; the
 *    record stays, and is rejected again when it is read back.
 * 5. When an append fails nothing is learned: a learner that was ahead of it is
 *    rebuilt. If whether it was written is not known, learning stops until the
 *    journal was reopened and read back; what is found there is learned then.
 * 6. Everything that changes weights is a record.
 *
 * tests/unit/test_trainer.c has a test for each.
 */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"
#include "server/engine/share.h"
#include "server/engine/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The most examples of one group: their transaction and the wait of the first
 * one stay short. A larger job is a group of its own. */
enum { GROUP = 256 };

/* ---- The queue ---- */

/* Until there is a job; no longer than a second if a checkpoint may become
 * due. */
static void
wait_for_work(soma_trainer *trainer)
{
    struct timespec until;
    if (trainer->options.journal) {
        soma_trainer_nap(trainer);
        return;
    }
    if (!trainer->path || trainer->seq == trainer->checkpoint) {
        pthread_cond_wait(&trainer->more, &trainer->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&trainer->more, &trainer->lock, &until);
}

/* Takes a group off the queue: examples until it is full, or one job of
 * another kind. NULL when there are none; unless `busy`, it waits for one for
 * a while. */
static soma_job *
take_group(soma_trainer *trainer, bool busy, int *examples, bool *stop)
{
    *examples = 0;
    pthread_mutex_lock(&trainer->lock);
    if (!trainer->first && !trainer->stopping && !busy)
        wait_for_work(trainer);
    soma_job *group = trainer->first, **end = &group;
    while (*end && (*examples == 0 || *examples + (*end)->count <= GROUP)) {
        if ((*end)->kind != SOMA_JOB_LEARN) {
            if (end == &group)
                end = &(*end)->next;
            break;
        }
        *examples += (*end)->count;
        end = &(*end)->next;
    }
    trainer->first = *end;
    if (!trainer->first)
        trainer->last = &trainer->first;
    *end = NULL;
    trainer->waiting -= *examples;
    *stop = trainer->stopping && !group;
    pthread_mutex_unlock(&trainer->lock);
    return group;
}

soma_status
soma_trainer_submit(soma_trainer *trainer, soma_job *job, soma_error *err)
{
    soma_status status = SOMA_OK;
    job->next = NULL;
    if (!soma_trainer_is_ready(trainer))
        return soma_error_set(err, SOMA_E_BUSY,
                              "the model is recovering what it has learned; "
                              "try again later");
    pthread_mutex_lock(&trainer->lock);
    int most = trainer->options.max_waiting;
    if (trainer->stopping)
        status = soma_error_set(err, SOMA_E_BUSY, "%s",
                                trainer->paused
                                    ? "the model is just being replaced; try "
                                      "again later"
                                    : "the server is stopping");
    else if (trainer->waiting > 0 && trainer->waiting + job->count > most)
        status = soma_error_set(err, SOMA_E_BUSY,
                                "%d examples wait to be learned, at most %d "
                                "may; try again later",
                                trainer->waiting, most);
    if (!status) {
        *trainer->last = job;
        trainer->last = &job->next;
        trainer->waiting += job->count;
        pthread_cond_signal(&trainer->more);
    }
    pthread_mutex_unlock(&trainer->lock);
    return status;
}

void
soma_trainer_finish(soma_trainer *trainer, soma_job *jobs, soma_status status,
                    const soma_error *err)
{
    soma_trainer_tell(trainer); /* whoever was answered may ask at once */
    while (jobs) {
        soma_job *next = jobs->next;
        if (status)
            jobs->err = *err;
        jobs->version = trainer->seq;
        jobs->done(jobs);
        jobs = next;
    }
}

/* ---- What others see ---- */

soma_status
soma_trainer_copy(soma_trainer *trainer, soma_snapshot **copy, soma_error *err)
{
    return soma_shelf_copy(
        trainer->pupil.shelf, soma_learner_model(trainer->learner),
        trainer->seq, soma_learner_progressive(trainer->learner), copy, err);
}

soma_status
soma_trainer_publish(soma_trainer *trainer, soma_error *err)
{
    soma_snapshot *copy;
    soma_status status = soma_trainer_copy(trainer, &copy, err);
    if (!status)
        soma_shelf_show(trainer->pupil.shelf, copy);
    return status;
}

bool
soma_trainer_is_ready(const soma_trainer *trainer)
{
    return atomic_load(&trainer->state) == SOMA_TRAINER_READY;
}

static void
tell_guard(const soma_trainer *trainer, soma_trainer_report *report)
{
    const soma_verdict *last = &trainer->guard.last;
    report->guard_judged = last->examples;
    report->guard_base = trainer->guard.base.right;
    report->guard_right = last->right;
    report->guard_loss = last->examples ? last->loss / last->examples : 0;
    report->guard_version = last->version;
    report->guard_good = trainer->guard.good;
}

void
soma_trainer_tell(soma_trainer *trainer)
{
    pthread_mutex_lock(&trainer->lock);
    soma_trainer_report *report = &trainer->report;
    report->stopped = trainer->troubled || trainer->guard.stopped;
    if (report->stopped)
        report->err = trainer->troubled ? trainer->trouble : trainer->guard.why;
    report->checkpoint = trainer->checkpoint;
    tell_guard(trainer, report);
    if (trainer->learner) {
        soma_learner_memory(trainer->learner, &report->active, &report->kept,
                            &report->stream);
        report->learning = *soma_learner_settings(trainer->learner);
    }
    pthread_mutex_unlock(&trainer->lock);
}

void
soma_trainer_ask(soma_trainer *trainer, soma_trainer_report *report)
{
    pthread_mutex_lock(&trainer->lock);
    *report = trainer->report;
    report->waiting = trainer->waiting;
    pthread_mutex_unlock(&trainer->lock);
    report->state = (soma_trainer_state)atomic_load(&trainer->state);
    report->done = atomic_load(&trainer->replay.done);
    report->all = atomic_load(&trainer->replay.all);
}

const soma_histogram *
soma_trainer_commits(const soma_trainer *trainer)
{
    return &trainer->commits;
}

void
soma_trainer_announce(soma_trainer *trainer, const soma_news *news)
{
    if (news->version <= trainer->told)
        return;
    trainer->told = news->version;
    if (soma_trainer_is_ready(trainer))
        soma_feed_add(&trainer->feed, news);
}

soma_feed *
soma_trainer_feed(soma_trainer *trainer)
{
    return &trainer->feed;
}

/* ---- The thread ---- */

static void
handle(soma_trainer *trainer, soma_job *group, int examples)
{
    switch (group->kind) {
    case SOMA_JOB_LEARN:
        soma_trainer_learn(trainer, group, examples);
        break;
    case SOMA_JOB_ROLLBACK:
        soma_trainer_rollback(trainer, group);
        break;
    case SOMA_JOB_HISTORY:
        soma_trainer_history(trainer, group);
        break;
    case SOMA_JOB_JUDGE:
        soma_guard_answer(trainer, group);
        break;
    case SOMA_JOB_STATE:
        soma_trainer_give(trainer, group);
        break;
    case SOMA_JOB_ADOPT:
        soma_trainer_adopt(trainer, group);
        break;
    }
}

static bool
recover(soma_trainer *trainer)
{
    soma_error err;
    soma_status status = soma_trainer_recover(trainer, &err);
    if (status) {
        pthread_mutex_lock(&trainer->lock);
        trainer->report.err = err;
        pthread_mutex_unlock(&trainer->lock);
    }
    soma_trainer_tell(trainer);
    if (trainer->resumed)
        return true; /* the next job tries again */
    atomic_store(&trainer->state,
                 status ? SOMA_TRAINER_FAILED : SOMA_TRAINER_READY);
    return !status;
}

static void *
trainer_main(void *arg)
{
    soma_trainer *trainer = arg;
    /* What was recovered is judged at once, not when the first job comes. */
    bool busy = true, stop = !recover(trainer);
    while (!stop) {
        int examples;
        soma_job *group = take_group(trainer, busy, &examples, &stop);
        soma_share_begin();
        if (group)
            handle(trainer, group, examples);
        busy = soma_trainer_housekeep(trainer);
        soma_share_give();
        soma_share_end();
    }
    soma_trainer_settle(trainer);
    return NULL;
}

static soma_status
start_thread(soma_trainer *trainer, soma_error *err)
{
    soma_status status = soma_thread_start(&trainer->thread, "trainer",
                                           trainer_main, trainer, err);
    trainer->running = !status;
    return status;
}

static void
trainer_free(soma_trainer *trainer)
{
    soma_writer_stop(&trainer->writer);
    if (trainer->journal)
        trainer->journal->backend->close(trainer->journal);
    soma_learner_free(trainer->learner);
    soma_model_free(trainer->base);
    soma_saver_free(&trainer->saver);
    soma_guard_free(&trainer->guard);
    free(trainer->path);
    free(trainer->records);
    free(trainer->lessons);
    soma_feed_free(&trainer->feed);
    free(trainer);
}

soma_trainer *
soma_trainer_start(const soma_trainer_options *options, const soma_pupil *pupil,
                   soma_error *err)
{
    soma_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) {
        soma_error_memory(err, "a trainer");
        return NULL;
    }
    trainer->options = *options;
    trainer->pupil = *pupil;
    trainer->last = &trainer->first;
    trainer->report.learning = options->learning;
    trainer->report.kept = trainer->report.active = pupil->memory->count;
    trainer->report.guard = pupil->guard->count;
    trainer->report.guard_drop = options->guard_drop;
    if (options->data &&
        asprintf(&trainer->path, "%s/%s.db", options->data, pupil->name) < 0) {
        free(trainer);
        soma_error_memory(err, "a trainer");
        return NULL;
    }
    pthread_mutex_init(&trainer->lock, NULL);
    soma_feed_create(&trainer->feed);
    pthread_cond_init(&trainer->more, NULL);
    if (start_thread(trainer, err)) {
        trainer_free(trainer);
        return NULL;
    }
    return trainer;
}

static void
end_thread(soma_trainer *trainer, bool pause)
{
    pthread_mutex_lock(&trainer->lock);
    trainer->stopping = true;
    trainer->paused = pause;
    if (!pause)
        atomic_store(&trainer->replay.cancel, true);
    pthread_cond_signal(&trainer->more);
    pthread_mutex_unlock(&trainer->lock);
    if (trainer->running)
        pthread_join(trainer->thread, NULL);
    trainer->running = false;
}

bool
soma_trainer_is_paused(soma_trainer *trainer)
{
    pthread_mutex_lock(&trainer->lock);
    bool paused = trainer->paused;
    pthread_mutex_unlock(&trainer->lock);
    return paused;
}

/* A journal in memory stays: it is all there is of what was learned. */
soma_status
soma_trainer_pause(soma_trainer *trainer, soma_error *err)
{
    if (!soma_trainer_is_ready(trainer))
        return soma_error_set(err, SOMA_E_BUSY,
                              "the model is recovering what it has learned; "
                              "try again later");
    end_thread(trainer, true);
    soma_saver_stop(&trainer->saver);
    if ((!trainer->path && !trainer->options.journal) || !trainer->journal)
        return SOMA_OK;
    trainer->journal->backend->close(trainer->journal);
    trainer->journal = NULL;
    soma_learner_free(trainer->learner);
    trainer->learner = NULL;
    trainer->troubled = false; /* it is read back from the start */
    return SOMA_OK;
}

/* Predictions go on meanwhile, and what is submitted waits. */
soma_status
soma_trainer_resume(soma_trainer *trainer, soma_error *err)
{
    trainer->resumed = true;
    pthread_mutex_lock(&trainer->lock);
    trainer->stopping = trainer->paused = false;
    pthread_mutex_unlock(&trainer->lock);
    soma_status status = start_thread(trainer, err);
    if (status)
        end_thread(trainer, true);
    return status;
}

void
soma_trainer_stop(soma_trainer *trainer)
{
    if (!trainer)
        return;
    end_thread(trainer, false);
    pthread_cond_destroy(&trainer->more);
    pthread_mutex_destroy(&trainer->lock);
    trainer_free(trainer);
}

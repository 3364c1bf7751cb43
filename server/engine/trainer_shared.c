/* A journal that other replicas append to, too. Its order is the order of
 * learning: what others appended is learned here before anything is appended
 * after it, and all learn the same records by the same arithmetic.
 */
#include "server/engine/trainer_parts.h"

#include "core/io/checkpoint.h"
#include "server/engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Milliseconds: between looks at the journal, and between tries to reach it. */
enum { LOOK = 25, AGAIN = 200 };

/* How often records may be trimmed away under one who joins. */
enum { TRIMMED_TRIES = 20 };

/* Every so many versions digests are compared; those of the last so many are
 * kept. The same on all replicas. */
enum { ROUND = 500, ROUNDS = 64 };

static uint64_t
round_of(const soma_trainer *trainer)
{
    long every = trainer->options.compare_every;
    return every ? (uint64_t)every : ROUND;
}

void
soma_trainer_nap(soma_trainer *trainer)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&trainer->more, &trainer->lock, &until);
}

/* ---- Stepping out ---- */

/* What it learned from here on would be another model's, and its checkpoints
 * would spoil those of the others: it learns no more, and is not ready. */
static void
step_out(soma_trainer *trainer, uint64_t seq, const soma_error *why)
{
    char version[24];
    if (trainer->differs)
        return;
    trainer->differs = trainer->troubled = true;
    soma_saver_stop(&trainer->saver);
    trainer->trouble = *why;
    snprintf(version, sizeof version, "%" PRIu64, seq);
    soma_log(SOMA_LOG_ERROR, "replica-differs", "model", trainer->pupil.name,
             "version", version, "text", trainer->trouble.text, NULL);
    pthread_mutex_lock(&trainer->lock);
    trainer->report.differs = true;
    pthread_mutex_unlock(&trainer->lock);
    soma_trainer_tell(trainer);
}

/* As after a failover to a master that had not been told all: records of the
 * same numbers may have been appended there since. */
soma_status
soma_trainer_check_place(soma_trainer *trainer, soma_error *err)
{
    bool held = true;
    soma_status status = SOMA_OK;
    if (trainer->place.seq)
        status = trainer->journal->backend->holds(trainer->journal,
                                                  &trainer->place, &held, err);
    if (status || held)
        return status;
    if (!soma_trainer_is_ready(trainer)) /* nobody has seen it: once more */
        return soma_error_set(err, SOMA_E_IO,
                              "the shared journal of %s lost its last records "
                              "just now",
                              trainer->pupil.name);
    soma_error_set(err, SOMA_E_STOPPED,
                   "model %s: the shared journal does not have version %" PRIu64
                   " as this replica has learned it: what is missing was lost "
                   "there. Start it again to go on from what is left",
                   trainer->pupil.name, trainer->place.seq);
    step_out(trainer, trainer->place.seq, err);
    return err->status;
}

/* ---- Joining ---- */

static void
leave(soma_trainer *trainer)
{
    if (trainer->journal)
        trainer->journal->backend->close(trainer->journal);
    trainer->journal = NULL;
    soma_learner_free(trainer->learner);
    trainer->learner = NULL;
    trainer->troubled = false;
    if (!soma_trainer_is_ready(trainer))
        trainer->place.seq = 0;
}

static soma_status
check_base(soma_trainer *trainer, const char *digest, soma_error *err)
{
    soma_journal_info info;
    soma_status status =
        trainer->journal->backend->info(trainer->journal, &info, err);
    if (status || (!strcmp(info.base, digest) &&
                   info.size == trainer->base->spec.input.size))
        return status;
    return soma_error_set(err, SOMA_E_CONFLICT,
                          "the shared journal of %s began with another model "
                          "file than this replica has. Give all replicas the "
                          "same file, or serve the new one under a name of its "
                          "own",
                          trainer->pupil.name);
}

/* One of all replicas makes it. */
static soma_status
open_or_make(soma_trainer *trainer, soma_error *err)
{
    const char *url = trainer->options.journal, *name = trainer->pupil.name;
    char digest[SOMA_DIGEST_HEX + 1] = "";
    soma_bytes model = {NULL, 0};
    soma_journal_base base;
    soma_status status =
        soma_trainer_begin_base(trainer, digest, &model, &base, err);
    if (!status)
        trainer->journal = soma_journal_redis_open(url, name, err);
    if (!status && !trainer->journal && err->status == SOMA_E_NOT_FOUND) {
        status = soma_journal_redis_create(url, name, &base, err);
        if (!status || status == SOMA_E_CONFLICT) {
            status = SOMA_OK;
            trainer->journal = soma_journal_redis_open(url, name, err);
        }
    }
    soma_bytes_free(&model);
    if (!status && !trainer->journal)
        status = err->status;
    return status ? status : check_base(trainer, digest, err);
}

/* Another replica may have been first, with the same settings: then there is
 * nothing left to do. */
static soma_status
settle_settings(soma_trainer *trainer, soma_error *err)
{
    soma_status status = soma_trainer_apply_settings(trainer, err);
    while (status == SOMA_E_CONFLICT) {
        status = soma_trainer_catch_up(trainer, err);
        if (!status)
            status = soma_trainer_apply_settings(trainer, err);
    }
    return status;
}

static soma_status
join(soma_trainer *trainer, soma_error *err)
{
    soma_status status = SOMA_OK;
    if (trainer->differs) {
        *err = trainer->trouble;
        return err->status;
    }
    status = open_or_make(trainer, err);
    if (!status) /* it was here before, and was paused */
        status = soma_trainer_check_place(trainer, err);
    if (!status)
        status = soma_trainer_rebuild(trainer, err);
    if (!status)
        status = settle_settings(trainer, err);
    if (!status)
        status = soma_trainer_publish(trainer, err);
    trainer->guard.due = true;
    if (status)
        leave(trainer);
    return status;
}

static void
log_joined(const soma_trainer *trainer)
{
    char version[24], replayed[24];
    snprintf(version, sizeof version, "%" PRIu64, trainer->seq);
    snprintf(replayed, sizeof replayed, "%" PRIu64,
             atomic_load(&trainer->replay.done));
    soma_log(SOMA_LOG_INFO, "joined", "model", trainer->pupil.name, "version",
             version, "replayed", replayed, NULL);
}

/* To those who ask meanwhile whether it is ready. */
static void
tell_why(soma_trainer *trainer, const soma_error *err)
{
    pthread_mutex_lock(&trainer->lock);
    trainer->report.err = *err;
    pthread_mutex_unlock(&trainer->lock);
}

/* Whether another try may be better: when it was away or full, or when records
 * that were about to be read were trimmed. */
static bool
may_pass(soma_status status, int tries)
{
    return status == SOMA_E_IO || status == SOMA_E_NO_SPACE ||
           (status == SOMA_E_NOT_FOUND && tries < TRIMMED_TRIES);
}

soma_status
soma_trainer_join(soma_trainer *trainer, bool once, soma_error *err)
{
    bool said = false;
    soma_status status = join(trainer, err);
    for (int tries = 1; may_pass(status, tries) && !once; tries++) {
        struct timespec pause = {0, AGAIN * 1000000L};
        tell_why(trainer, err);
        if (!said)
            soma_log(SOMA_LOG_WARNING, "journal-away", "model",
                     trainer->pupil.name, "text", err->text, NULL);
        said = true;
        nanosleep(&pause, NULL);
        if (atomic_load(&trainer->replay.cancel))
            return soma_error_set(err, SOMA_E_BUSY, "the server is stopping");
        status = join(trainer, err);
    }
    tell_why(trainer, &(soma_error){.status = SOMA_OK});
    if (!status)
        log_joined(trainer);
    return status;
}

/* ---- Comparing ---- */

void
soma_trainer_note(soma_trainer *trainer, uint64_t version)
{
    if (!trainer->options.journal || !trainer->learner ||
        version % round_of(trainer))
        return;
    if (!soma_model_digest(soma_learner_model(trainer->learner),
                           trainer->digest, NULL))
        trainer->noted = version;
}

static void
compare(soma_trainer *trainer)
{
    char first[72];
    soma_error err;
    uint64_t seq = trainer->noted, past = round_of(trainer) * ROUNDS;
    if (!seq || trainer->troubled || !trainer->journal)
        return;
    if (trainer->journal->backend->compare(trainer->journal, seq,
                                           seq > past ? seq - past : 0,
                                           trainer->digest, first, &err))
        return; /* the next look finds the trouble; then again */
    if (strcmp(first, trainer->digest)) {
        soma_error_set(&err, SOMA_E_STOPPED,
                       "model %s: its weights at version %" PRIu64
                       " are not those of the other replicas (digests %.12s "
                       "and %.12s): replicas need the same soma, and CPUs of "
                       "one type",
                       trainer->pupil.name, seq, trainer->digest, first);
        step_out(trainer, seq, &err);
    }
    trainer->noted = 0;
}

/* ---- Following ---- */

/* Before it is caught up with, which may take long. */
static void
tell_newest(soma_trainer *trainer, uint64_t newest)
{
    pthread_mutex_lock(&trainer->lock);
    trainer->report.newest = newest;
    trainer->report.looked = soma_clock_now();
    pthread_mutex_unlock(&trainer->lock);
}

static soma_status
look(soma_trainer *trainer, soma_error *err)
{
    soma_journal_info info;
    soma_status status =
        trainer->journal->backend->info(trainer->journal, &info, err);
    if (!status)
        tell_newest(trainer, info.last);
    if (!status && (info.last != trainer->seq || !trainer->learner ||
                    strcmp(info.end.mark, trainer->place.mark)))
        status = soma_trainer_catch_up(trainer, err);
    return status;
}

soma_status
soma_trainer_follow(soma_trainer *trainer, soma_error *err)
{
    if (!trainer->journal)
        return soma_trainer_join(trainer, true, err);
    if (trainer->troubled)
        return soma_trainer_mend(trainer, err);
    soma_status status = look(trainer, err);
    if (status && !trainer->differs) {
        trainer->troubled = true;
        trainer->trouble = *err;
        soma_log(SOMA_LOG_ERROR, "journal-failed", "model", trainer->pupil.name,
                 "text", err->text, NULL);
    }
    return status;
}

void
soma_trainer_watch(soma_trainer *trainer)
{
    soma_error err;
    bool due = soma_clock_steady() - trainer->followed >= LOOK;
    if (!trainer->options.journal || !due)
        return;
    uint64_t seq = trainer->seq;
    bool troubled = trainer->troubled;
    soma_trainer_follow(trainer, &err);
    compare(trainer);
    trainer->followed = soma_clock_steady();
    if (trainer->seq != seq || trainer->troubled != troubled)
        soma_trainer_tell(trainer);
}

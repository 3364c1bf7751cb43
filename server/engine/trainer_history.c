/* Going back to an earlier version, and listing what was recorded. */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rollback ---- */

static soma_status
build_version(soma_trainer *trainer, uint64_t version, soma_learner **learner,
              soma_error *err)
{
    if (version > trainer->seq)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "there is no version %" PRIu64
                              "; the newest is %" PRIu64,
                              version, trainer->seq);
    soma_replay replay = {.journal = trainer->journal,
                          .base = trainer->base,
                          .kept = trainer->pupil.memory};
    *learner = soma_replay_build(&replay, version, err);
    if (*learner)
        return SOMA_OK;
    if (err->status == SOMA_E_NOT_FOUND)
        soma_error_prefix(err, "version %" PRIu64 " cannot be rebuilt",
                          version);
    return err->status;
}

soma_status
soma_trainer_append_leap(soma_trainer *trainer, const soma_record *record,
                         soma_error *err)
{
    soma_journal_group group = {.records = record,
                                .count = 1,
                                .lessons = trainer->lessons,
                                .lesson_count = trainer->lesson_count};
    soma_status status = soma_trainer_append(trainer, &group, err);
    if (status == SOMA_E_CONFLICT) /* it was made for what is no longer last */
        return soma_error_set(err, SOMA_E_BUSY,
                              "another replica has just learned; try again "
                              "later");
    return status;
}

soma_status
soma_trainer_leap(soma_trainer *trainer, soma_learner *learner, soma_error *err)
{
    soma_learner_free(trainer->learner);
    trainer->learner = learner;
    trainer->seq++;
    soma_guard_leap(trainer);
    /* A checkpoint here spares the next start the way back and forth. */
    soma_saver_begin(&trainer->saver, learner, trainer->seq, soma_clock_now(),
                     NULL);
    return soma_trainer_publish(trainer, err);
}

static soma_status
record_rollback(soma_trainer *trainer, uint64_t target, soma_error *err)
{
    unsigned char settings[SOMA_LEARNING_BYTES];
    soma_learning_pack(soma_learner_settings(trainer->learner), settings);
    soma_record record = {.seq = trainer->seq + 1,
                          .kind = SOMA_RECORD_ROLLBACK,
                          .time = soma_clock_now(),
                          .target = target,
                          .data = settings,
                          .data_size = sizeof settings};
    return soma_trainer_append_leap(trainer, &record, err);
}

/* Where another replica was first, what it appended is learned first; the
 * version to go back to is the same after that. */
static soma_status
record_at_end(soma_trainer *trainer, soma_learner *learner, uint64_t target,
              int tries, soma_error *err)
{
    soma_status status = SOMA_E_BUSY;
    for (int i = 0; i < tries && status == SOMA_E_BUSY; i++) {
        soma_learning settings;
        status = i ? soma_trainer_follow(trainer, err) : SOMA_OK;
        if (!status) {
            settings = *soma_learner_settings(trainer->learner);
            status = soma_learner_configure(learner, &settings, err);
        }
        if (!status)
            status = record_rollback(trainer, target, err);
    }
    return status;
}

static soma_status
roll_back(soma_trainer *trainer, uint64_t target, int tries, soma_error *err)
{
    soma_learner *learner = NULL;
    soma_status status = soma_trainer_equip(trainer, err);
    /* Another replica may have learned it already. */
    if (!status && target > trainer->seq && trainer->journal->backend->shared)
        status = soma_trainer_follow(trainer, err);
    if (!status)
        status = build_version(trainer, target, &learner, err);
    if (!status)
        status = record_at_end(trainer, learner, target, tries, err);
    if (status) {
        soma_learner_free(learner);
        return status;
    }
    status = soma_trainer_leap(trainer, learner, err);
    if (!status)
        soma_trainer_announce(trainer,
                              &(soma_news){.version = trainer->seq,
                                           .time = soma_clock_now(),
                                           .kind = SOMA_RECORD_ROLLBACK,
                                           .target = target});
    return status;
}

soma_status
soma_trainer_roll_back(soma_trainer *trainer, uint64_t target, soma_error *err)
{
    return roll_back(trainer, target, 1, err);
}

void
soma_trainer_rollback(soma_trainer *trainer, soma_job *job)
{
    soma_error err;
    job->err.status = SOMA_OK;
    soma_status status =
        roll_back(trainer, job->target,
                  trainer->options.journal ? SOMA_SHARED_TRIES : 1, &err);
    if (!status) {
        char version[24], target[24];
        snprintf(version, sizeof version, "%" PRIu64, trainer->seq);
        snprintf(target, sizeof target, "%" PRIu64, job->target);
        soma_log(SOMA_LOG_INFO, "rollback", "model", trainer->pupil.name, "to",
                 target, "version", version, NULL);
    }
    soma_trainer_finish(trainer, job, status, &err);
}

/* ---- History ---- */

static soma_status
take(const soma_record *record, void *arg, soma_error *err)
{
    soma_job *job = arg;
    soma_taught *taught = &job->taught[job->taught_count];
    (void)err;
    taught->record = *record;
    if (record->kind == SOMA_RECORD_ADOPTION) {
        const char *from = soma_adoption_from(record->data, record->data_size);
        snprintf(taught->from, sizeof taught->from, "%s", from ? from : "");
    }
    taught->record.data = NULL;
    taught->record.data_size = 0;
    taught->record.x = NULL;
    if (job->values && record->kind == SOMA_RECORD_EXAMPLE) {
        size_t size = (size_t)job->count; /* see list */
        float *values = job->values + (size_t)job->taught_count * size;
        memcpy(values, record->x, size * sizeof *values);
        taught->record.x = values;
    }
    job->taught_count++;
    return SOMA_OK;
}

static soma_status
list(soma_trainer *trainer, soma_job *job, soma_error *err)
{
    soma_journal_info info;
    job->taught_count = 0;
    if (!trainer->journal)
        return SOMA_OK; /* nothing was ever taught */
    soma_status status = soma_trainer_equip(trainer, err);
    if (!status)
        status = trainer->journal->backend->info(trainer->journal, &info, err);
    if (status)
        return status;
    uint64_t limit = (uint64_t)job->limit, last = info.last;
    uint64_t after =
        job->newest ? (last > limit ? last - limit : 0) : job->after;
    after = info.first && after < info.first - 1 ? info.first - 1 : after;
    if (after >= last)
        return SOMA_OK;
    uint64_t upto = last - after < limit ? last : after + limit;
    size_t count = (size_t)(upto - after);
    soma_lesson *lessons = calloc(count, sizeof *lessons);
    job->taught = calloc(count, sizeof *job->taught);
    job->count = trainer->journal->size; /* values of an example, for take */
    if (job->pixels)
        job->values = malloc(count * (size_t)job->count * sizeof *job->values);
    if (!lessons || !job->taught || (job->pixels && !job->values))
        status = soma_error_memory(err, "examples");
    if (!status)
        status = trainer->journal->backend->read(trainer->journal, after, upto,
                                                 take, job, err);
    if (!status)
        status = soma_trainer_find_lessons(trainer, after + 1, (int)count,
                                           lessons, err);
    for (int i = 0; i < job->taught_count && !status; i++)
        job->taught[i].lesson = lessons[i];
    free(lessons);
    return status;
}

void
soma_trainer_history(soma_trainer *trainer, soma_job *job)
{
    soma_error err;
    job->err.status = SOMA_OK;
    soma_trainer_finish(trainer, job, list(trainer, job, &err), &err);
}

/* The trainer and its journal: opening, recovering, checkpoints. */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIM_ROWS = 500 };

/* ---- Lessons ---- */

soma_status
soma_trainer_keep_lesson(soma_trainer *trainer, const soma_lesson *lesson,
                         soma_error *err)
{
    if (trainer->lesson_count == trainer->lesson_room) {
        int room = trainer->lesson_room ? 2 * trainer->lesson_room : 1024;
        soma_lesson *more =
            realloc(trainer->lessons, (size_t)room * sizeof *more);
        if (!more)
            return soma_error_memory(err, "lessons");
        trainer->lessons = more;
        trainer->lesson_room = room;
    }
    trainer->lessons[trainer->lesson_count++] = *lesson;
    soma_trainer_note(trainer, lesson->version);
    return SOMA_OK;
}

soma_status
soma_trainer_find_lessons(soma_trainer *trainer, uint64_t first, int count,
                          soma_lesson *lessons, soma_error *err)
{
    soma_status status = trainer->journal->backend->lessons(
        trainer->journal, first, count, lessons, err);
    for (int i = 0; i < trainer->lesson_count && !status; i++) {
        const soma_lesson *lesson = &trainer->lessons[i];
        if (lesson->version >= first &&
            lesson->version < first + (uint64_t)count)
            lessons[lesson->version - first] = *lesson;
    }
    return status;
}

/* ---- Opening ---- */

static void
on_damaged(uint64_t seq, const soma_error *err, void *arg)
{
    soma_trainer *trainer = arg;
    char version[24];
    snprintf(version, sizeof version, "%" PRIu64, seq);
    soma_log(SOMA_LOG_WARNING, "checkpoint-damaged", "model",
             trainer->pupil.name, "version", version, "text", err->text, NULL);
}

static void
on_learned(const soma_record *record, const soma_lesson *lesson, void *arg)
{
    soma_trainer_keep_lesson(arg, lesson, NULL); /* else it is not listed */
    soma_trainer_announce(arg, &(soma_news){.version = lesson->version,
                                            .time = record->time,
                                            .kind = SOMA_RECORD_EXAMPLE,
                                            .label = record->label,
                                            .predicted = lesson->predicted,
                                            .loss = lesson->loss});
}

/* What the journal begins with, if it is to be made; `model` is to be freed. */
static soma_status
describe_base(soma_trainer *trainer, const char *digest, soma_bytes *model,
              soma_journal_base *base, soma_error *err)
{
    soma_checkpoint checkpoint = {.model = trainer->base,
                                  .classes = *trainer->pupil.classes,
                                  .memory = *trainer->pupil.memory,
                                  .guard = *trainer->pupil.guard};
    soma_status status =
        soma_checkpoint_build(&checkpoint, SOMA_F32, model, err);
    if (status)
        return status;
    *base = (soma_journal_base){.digest = digest,
                                .model = model->data,
                                .model_size = model->size,
                                .origin = trainer->pupil.origin,
                                .size = trainer->base->spec.input.size,
                                .now = soma_clock_now()};
    soma_learning_pack(&trainer->options.learning, base->settings);
    return SOMA_OK;
}

static soma_status
digest_of_base(const soma_trainer *trainer, char digest[SOMA_DIGEST_HEX + 1],
               soma_error *err)
{
    soma_checkpoint checkpoint = {.model = trainer->base,
                                  .memory = *trainer->pupil.memory};
    return soma_checkpoint_digest(&checkpoint, digest, err);
}

static soma_status
clone_base(soma_trainer *trainer, soma_error *err)
{
    if (!trainer->base)
        trainer->base = soma_model_clone(
            soma_shelf_current(trainer->pupil.shelf)->model, err);
    return trainer->base ? SOMA_OK : SOMA_E_MEMORY;
}

soma_status
soma_trainer_describe_base(soma_trainer *trainer,
                           char digest[SOMA_DIGEST_HEX + 1], soma_bytes *model,
                           soma_error *err)
{
    soma_journal_base base;
    soma_status status = clone_base(trainer, err);
    if (!status)
        status = digest_of_base(trainer, digest, err);
    if (!status && model)
        status = describe_base(trainer, digest, model, &base, err);
    return status;
}

soma_status
soma_trainer_begin_base(soma_trainer *trainer, char digest[SOMA_DIGEST_HEX + 1],
                        soma_bytes *model, soma_journal_base *base,
                        soma_error *err)
{
    soma_status status = clone_base(trainer, err);
    if (!status)
        status = digest_of_base(trainer, digest, err);
    return status ? status : describe_base(trainer, digest, model, base, err);
}

static soma_status
make_journal(soma_trainer *trainer, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1] = "";
    soma_bytes model = {NULL, 0};
    soma_journal_base base;
    soma_status status =
        soma_trainer_begin_base(trainer, digest, &model, &base, err);
    if (!status) {
        trainer->journal =
            trainer->path ? soma_journal_create(trainer->path, &base, err)
                          : soma_journal_memory(
                                &base, trainer->options.journal_bytes, err);
        status = trainer->journal ? SOMA_OK : err->status;
    }
    soma_bytes_free(&model);
    return status;
}

/* Opens the journal and sees to it that it began with this model. */
static soma_status
open_journal(soma_trainer *trainer, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1] = "";
    soma_bytes model = {NULL, 0};
    soma_journal_base base;
    soma_journal_info info;
    trainer->journal = soma_journal_open(trainer->path, false, err);
    if (!trainer->journal)
        return err->status;
    soma_status status =
        trainer->journal->backend->info(trainer->journal, &info, err);
    if (!status)
        status = digest_of_base(trainer, digest, err);
    if (status || (!strcmp(info.base, digest) &&
                   info.size == trainer->base->spec.input.size))
        return status;
    trainer->journal->backend->close(trainer->journal);
    trainer->journal = NULL;
    status = describe_base(trainer, digest, &model, &base, err);
    if (!status)
        status = soma_trainer_change_base(trainer, &base, err);
    soma_bytes_free(&model);
    if (status)
        return status;
    trainer->journal = soma_journal_open(trainer->path, false, err);
    return trainer->journal ? SOMA_OK : err->status;
}

soma_status
soma_trainer_rebuild(soma_trainer *trainer, soma_error *err)
{
    soma_journal_info info;
    soma_journal_checkpoint checkpoint;
    soma_status status =
        trainer->journal->backend->info(trainer->journal, &info, err);
    if (!status)
        status = trainer->journal->backend->checkpoint_find(
            trainer->journal, info.last, &checkpoint, err);
    if (status)
        return status;
    trainer->replay.journal = trainer->journal;
    trainer->replay.base = trainer->base;
    trainer->replay.kept = trainer->pupil.memory;
    trainer->replay.learned = on_learned;
    trainer->replay.damaged = on_damaged;
    trainer->replay.arg = trainer;
    trainer->lesson_count = 0;
    soma_learner_free(trainer->learner);
    trainer->learner = NULL;
    trainer->learner = soma_replay_build(&trainer->replay, info.last, err);
    if (!trainer->learner)
        return err->status;
    trainer->seq = info.last;
    trainer->place = info.end;
    trainer->checkpoint = checkpoint.seq;
    trainer->checkpoint_at = soma_clock_steady();
    return SOMA_OK;
}

soma_status
soma_trainer_apply_settings(soma_trainer *trainer, soma_error *err)
{
    const soma_learning *wanted = &trainer->options.learning;
    if (soma_learning_equal(wanted, soma_learner_settings(trainer->learner)))
        return SOMA_OK;
    unsigned char packed[SOMA_LEARNING_BYTES];
    soma_learning_pack(wanted, packed);
    soma_record record = {.seq = trainer->seq + 1,
                          .kind = SOMA_RECORD_SETTINGS,
                          .time = soma_clock_now(),
                          .data = packed,
                          .data_size = sizeof packed};
    soma_journal_group group = {.records = &record, .count = 1};
    soma_status status = soma_trainer_append(trainer, &group, err);
    if (!status)
        status = soma_learner_configure(trainer->learner, wanted, err);
    if (!status)
        trainer->seq++;
    return status;
}

static void
log_recovery(const soma_trainer *trainer, int64_t began)
{
    char version[24], replayed[24], milliseconds[24];
    snprintf(version, sizeof version, "%" PRIu64, trainer->seq);
    snprintf(replayed, sizeof replayed, "%" PRIu64,
             atomic_load(&trainer->replay.done));
    snprintf(milliseconds, sizeof milliseconds, "%" PRId64,
             soma_clock_steady() - began);
    soma_log(SOMA_LOG_INFO, "recovered", "model", trainer->pupil.name,
             "version", version, "replayed", replayed, "milliseconds",
             milliseconds, NULL);
}

soma_status
soma_trainer_recover(soma_trainer *trainer, soma_error *err)
{
    int64_t began = soma_clock_steady();
    if (trainer->options.journal)
        return soma_trainer_join(trainer, trainer->resumed, err);
    if (!trainer->path || (access(trainer->path, F_OK) && errno == ENOENT))
        return SOMA_OK;
    soma_status status = clone_base(trainer, err);
    if (!status)
        status = open_journal(trainer, err);
    if (!status)
        status = soma_trainer_rebuild(trainer, err);
    if (!status)
        status = soma_trainer_apply_settings(trainer, err);
    if (!status)
        status = soma_trainer_publish(trainer, err);
    trainer->guard.due = true;
    if (!status)
        log_recovery(trainer, began);
    return status;
}

soma_status
soma_trainer_equip(soma_trainer *trainer, soma_error *err)
{
    soma_status status = SOMA_OK;
    if (trainer->troubled) {
        status = soma_trainer_mend(trainer, err);
    } else if (!trainer->learner && trainer->options.journal) {
        status = soma_trainer_join(trainer, true, err);
    } else if (!trainer->learner) {
        status = clone_base(trainer, err);
        /* One that was made may have failed to open. */
        bool made = trainer->path && !access(trainer->path, F_OK);
        if (!status && !trainer->journal)
            status =
                made ? open_journal(trainer, err) : make_journal(trainer, err);
        if (!status)
            status = soma_trainer_rebuild(trainer, err);
    }
    return status;
}

/* ---- Checkpoints and trimming ---- */

void
soma_trainer_plan(soma_trainer *trainer)
{
    const soma_trainer_options *o = &trainer->options;
    uint64_t behind = trainer->seq - trainer->checkpoint;
    if (!trainer->journal->backend->durable || trainer->saver.busy || !behind)
        return;
    int64_t now = soma_clock_steady();
    if (behind < (uint64_t)o->checkpoint_examples &&
        now - trainer->checkpoint_at < o->checkpoint_seconds * 1000)
        return;
    trainer->checkpoint_at = now;
    soma_saver_begin(&trainer->saver, trainer->learner, trainer->seq,
                     soma_clock_now(),
                     NULL); /* without memory: at the next time */
}

static soma_status
save_part(soma_trainer *trainer, soma_error *err)
{
    soma_journal_group nothing = {.count = 0};
    soma_status status = soma_trainer_append(trainer, &nothing, err);
    if (status == SOMA_E_CONFLICT) /* it lags far behind, or is to step out */
        soma_saver_stop(&trainer->saver);
    if (status == SOMA_E_NO_SPACE) {
        soma_log(SOMA_LOG_WARNING, "checkpoint-failed", "model",
                 trainer->pupil.name, "text", err->text, NULL);
        soma_saver_stop(&trainer->saver);
    }
    return status;
}

static void
trim(soma_trainer *trainer)
{
    soma_error err;
    soma_journal_policy policy = trainer->options.keep;
    int64_t now = soma_clock_now();
    policy.keep_since = policy.keep_since ? now - policy.keep_since : 0;
    policy.keys_since = policy.keys_since ? now - policy.keys_since : 0;
    soma_status status = trainer->journal->backend->trim(
        trainer->journal, &policy, TRIM_ROWS, &trainer->trimming, &err);
    if (!status)
        return;
    trainer->trimming = false;
    if (status == SOMA_E_NO_SPACE)
        return;
    trainer->troubled = true;
    trainer->trouble = err;
    soma_log(SOMA_LOG_ERROR, "journal-failed", "model", trainer->pupil.name,
             "text", err.text, NULL);
}

bool
soma_trainer_housekeep(soma_trainer *trainer)
{
    soma_error err;
    soma_trainer_watch(trainer);
    if (!trainer->learner || trainer->troubled)
        return false;
    soma_trainer_plan(trainer);
    if (trainer->saver.busy)
        save_part(trainer, &err);
    else if (trainer->trimming)
        trim(trainer);
    bool judging = soma_guard_step(trainer);
    return (trainer->saver.busy || trainer->trimming || judging) &&
           !trainer->troubled;
}

void
soma_trainer_settle(soma_trainer *trainer)
{
    soma_error err;
    if (!trainer->learner || trainer->troubled ||
        !trainer->journal->backend->durable)
        return;
    if (trainer->seq > trainer->checkpoint &&
        (!trainer->saver.busy || trainer->saver.seq < trainer->seq))
        soma_saver_begin(&trainer->saver, trainer->learner, trainer->seq,
                         soma_clock_now(), NULL);
    while (trainer->saver.busy && !save_part(trainer, &err))
        ;
}

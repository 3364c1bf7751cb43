/* A group on its way into the journal.
 *
 * What takes longest of an example is that the disk has it. So a group is
 * learned while the writer appends it, as if it were in the journal already. If
 * it turns out not to be, the learner is thrown away, and rebuilt from the
 * journal when it is needed; nobody has seen it. From then on groups are
 * appended first and learned then, until one is in: a disk that stays full
 * costs no rebuilding.
 *
 * A journal that others append to says itself what a group's numbers are: there
 * nothing can be learned ahead.
 */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Lessons go into the journal with checkpoints, but never more wait. */
enum { LESSONS = 16384 };

static void
drop_lessons(soma_trainer *trainer, int count)
{
    trainer->lesson_count -= count;
    memmove(trainer->lessons, trainer->lessons + count,
            (size_t)trainer->lesson_count * sizeof *trainer->lessons);
}

static void
on_saved(soma_trainer *trainer)
{
    trainer->trimming = true;
    char version[24];
    snprintf(version, sizeof version, "%" PRIu64, trainer->checkpoint);
    soma_log(SOMA_LOG_DEBUG, "checkpoint", "model", trainer->pupil.name,
             "version", version, NULL);
}

static void
observe(soma_trainer *trainer, uint64_t ticks)
{
    soma_histogram_observe(&trainer->commits, soma_histogram_times, ticks);
}

static soma_status
append_here(soma_trainer *trainer, const soma_journal_group *group,
            soma_error *err)
{
    uint64_t began = soma_clock_ticks();
    soma_status status =
        trainer->journal->backend->append(trainer->journal, group, err);
    if (!status)
        observe(trainer, soma_clock_ticks() - began);
    return status;
}

static void
add_what_waits(soma_trainer *trainer, soma_journal_group *group)
{
    soma_journal_part *part = &trainer->part;
    group->after = &trainer->place;
    group->part = soma_saver_part(&trainer->saver, part) ? part : NULL;
    if ((group->part && part->last) || trainer->lesson_count >= LESSONS) {
        group->lessons = trainer->lessons;
        group->lesson_count = trainer->lesson_count;
    }
}

/* What follows from how it went. */
static soma_status
conclude(soma_trainer *trainer, soma_journal_group *group, soma_status status,
         soma_error *err)
{
    if (status == SOMA_E_NO_SPACE && group->part && group->count) {
        /* The examples may still fit where a checkpoint does not. */
        soma_saver_stop(&trainer->saver);
        group->part = NULL;
        status = append_here(trainer, group, err);
    }
    trainer->cautious = status != SOMA_OK;
    if (status == SOMA_E_NO_SPACE || status == SOMA_E_CONFLICT)
        return status;
    if (status) {
        trainer->troubled = true;
        trainer->trouble = *err;
        soma_log(SOMA_LOG_ERROR, "journal-failed", "model", trainer->pupil.name,
                 "text", err->text, NULL);
        return status;
    }
    if (group->lesson_count)
        drop_lessons(trainer, group->lesson_count);
    if (group->part) {
        uint64_t seq = group->part->seq;
        if (soma_saver_advance(&trainer->saver, group->part)) {
            trainer->checkpoint = seq;
            on_saved(trainer);
        }
    }
    return SOMA_OK;
}

soma_status
soma_trainer_append(soma_trainer *trainer, soma_journal_group *group,
                    soma_error *err)
{
    add_what_waits(trainer, group);
    return conclude(trainer, group, append_here(trainer, group, err), err);
}

bool
soma_trainer_append_ahead(soma_trainer *trainer, soma_journal_group *group)
{
    const soma_journal_backend *backend = trainer->journal->backend;
    if (!backend->durable || backend->shared || trainer->cautious)
        return false;
    add_what_waits(trainer, group);
    /* Learning adds to those that wait, which may move them. */
    if (group->lesson_count || soma_writer_start(&trainer->writer, NULL))
        return false;
    soma_writer_begin(&trainer->writer, trainer->journal, group);
    return true;
}

soma_status
soma_trainer_append_end(soma_trainer *trainer, soma_journal_group *group,
                        soma_error *err)
{
    uint64_t ticks;
    soma_status status = soma_writer_end(&trainer->writer, &ticks, err);
    if (!status)
        observe(trainer, ticks);
    return conclude(trainer, group, status, err);
}

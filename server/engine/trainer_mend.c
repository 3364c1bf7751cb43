/* The journal has records that are not learned here: after trouble, or since
 * another replica has appended them. */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

enum { MEND_PAUSE = 200 };

soma_status
soma_trainer_catch_up(soma_trainer *trainer, soma_error *err)
{
    soma_journal_info info;
    soma_leap leap = {.seq = 0};
    const soma_journal_backend *backend = trainer->journal->backend;
    soma_status status = backend->info(trainer->journal, &info, err);
    if (!status)
        status = backend->last_leap(trainer->journal, info.last, &leap, err);
    if (!status && backend->shared)
        status = soma_trainer_check_place(trainer, err);
    bool lost = !status && trainer->learner && info.last < trainer->seq;
    if (lost)
        soma_log(SOMA_LOG_ERROR, "journal-went-back", "model",
                 trainer->pupil.name, "text",
                 "it has lost records that were applied here; the weights "
                 "follow it",
                 NULL);
    if (!status && (!trainer->learner || lost || leap.seq > trainer->seq)) {
        if (leap.seq > trainer->seq)
            soma_trainer_announce(trainer,
                                  &(soma_news){.version = leap.seq,
                                               .time = soma_clock_now(),
                                               .kind = leap.kind,
                                               .target = leap.target});
        status = soma_trainer_rebuild(trainer, err);
        soma_guard_leap(trainer);
        info.last = trainer->seq;
        info.end = trainer->place;
    } else if (!status) {
        status = soma_replay_forward(&trainer->replay, trainer->learner,
                                     trainer->seq, info.last, err);
        if (status) { /* how far it came is not known */
            soma_learner_free(trainer->learner);
            trainer->learner = NULL;
        }
    }
    if (status)
        return status;
    trainer->seq = info.last;
    trainer->place = info.end;
    return soma_trainer_publish(trainer, err);
}

soma_status
soma_trainer_mend(soma_trainer *trainer, soma_error *err)
{
    if (trainer->differs || soma_clock_steady() < trainer->mend_after) {
        *err = trainer->trouble;
        return err->status;
    }
    soma_saver_stop(&trainer->saver);
    soma_status status =
        trainer->journal->backend->reopen(trainer->journal, err);
    if (!status)
        status = soma_trainer_catch_up(trainer, err);
    if (status) {
        trainer->trouble = *err;
        trainer->mend_after = soma_clock_steady() + MEND_PAUSE;
        return status;
    }
    trainer->troubled = false;
    soma_log(SOMA_LOG_INFO, "journal-mended", "model", trainer->pupil.name,
             NULL);
    return SOMA_OK;
}

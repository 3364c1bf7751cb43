/* Giving the state of learning away, and taking another model's over. */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Giving ---- */

static soma_status
give(soma_trainer *trainer, soma_job *job, soma_error *err)
{
    soma_status status = SOMA_OK;
    if (trainer->seq > 0 || trainer->troubled)
        status = soma_trainer_equip(trainer, err);
    if (!status)
        status = soma_trainer_describe_base(
            trainer, job->digest, job->with_base ? &job->base : NULL, err);
    if (status)
        return status;
    const soma_learning *settings =
        trainer->learner ? soma_learner_settings(trainer->learner)
                         : &trainer->options.learning;
    soma_learning_pack(settings, job->settings);
    job->size = trainer->base->spec.input.size;
    snprintf(job->from, sizeof job->from, "%s", trainer->pupil.name);
    if (trainer->learner && trainer->seq > 0)
        status = soma_adoption_pack(trainer->pupil.name, trainer->learner,
                                    &job->state, err);
    return status;
}

void
soma_trainer_give(soma_trainer *trainer, soma_job *job)
{
    soma_error err;
    job->err.status = SOMA_OK;
    job->target = trainer->seq;
    soma_trainer_finish(trainer, job, give(trainer, job, &err), &err);
}

/* ---- Taking ---- */

static soma_status
check_origin(soma_trainer *trainer, const soma_job *job, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1];
    soma_status status = soma_trainer_describe_base(trainer, digest, NULL, err);
    if (status)
        return status;
    if (strcmp(digest, job->digest))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s and %s did not begin with the same model "
                              "file; only a fork can be promoted",
                              job->from, trainer->pupil.name);
    if (!job->state.data)
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s has learned nothing that %s could take over",
                              job->from, trainer->pupil.name);
    return SOMA_OK;
}

/* With the settings that are in force here. */
static soma_status
make_learner(soma_trainer *trainer, const soma_job *job, soma_learner **learner,
             soma_error *err)
{
    soma_learning settings = *soma_learner_settings(trainer->learner);
    *learner = soma_learner_create(trainer->base, trainer->pupil.memory,
                                   &settings, err);
    if (!*learner)
        return err->status;
    soma_status status =
        soma_adoption_apply(job->state.data, job->state.size, *learner, err);
    if (!status)
        status = soma_learner_configure(*learner, &settings, err);
    return status;
}

static soma_status
compare(soma_trainer *trainer, soma_job *job, const soma_learner *learner,
        soma_error *err)
{
    soma_verdict own, theirs;
    job->accuracy[0] = job->accuracy[1] = -1;
    if (!trainer->pupil.guard->count)
        return job->force ? SOMA_OK
                          : soma_error_set(
                                err, SOMA_E_CONFLICT,
                                "%s has no guard examples to compare the two "
                                "by (--guard); \"force\": true takes %s over "
                                "all the same",
                                trainer->pupil.name, job->from);
    soma_status status = soma_guard_judge(
        trainer, soma_learner_model(trainer->learner), &own, err);
    if (!status)
        status = soma_guard_judge(trainer, soma_learner_model(learner), &theirs,
                                  err);
    if (status)
        return status;
    job->accuracy[0] = soma_verdict_accuracy(&own);
    job->accuracy[1] = soma_verdict_accuracy(&theirs);
    if (job->force || soma_verdict_better(&theirs, &own))
        return SOMA_OK;
    return soma_error_set(
        err, SOMA_E_CONFLICT,
        "%s, version %" PRIu64 ", is not better: of %d guard examples it reads "
        "%.2f %% (loss %.4f), %s reads %.2f %% (loss %.4f)",
        job->from, job->target, own.examples, 100 * job->accuracy[1],
        theirs.loss / theirs.examples, trainer->pupil.name,
        100 * job->accuracy[0], own.loss / own.examples);
}

static soma_status
record(soma_trainer *trainer, const soma_job *job, const soma_learner *learner,
       soma_error *err)
{
    soma_bytes state;
    soma_status status = soma_adoption_pack(job->from, learner, &state, err);
    if (status)
        return status;
    soma_record adoption = {.seq = trainer->seq + 1,
                            .kind = SOMA_RECORD_ADOPTION,
                            .time = soma_clock_now(),
                            .target = job->target,
                            .data = state.data,
                            .data_size = state.size};
    status = soma_trainer_append_leap(trainer, &adoption, err);
    soma_bytes_free(&state);
    return status;
}

static soma_status
adopt(soma_trainer *trainer, soma_job *job, soma_error *err)
{
    soma_learner *learner = NULL;
    soma_status status = soma_trainer_equip(trainer, err);
    if (!status)
        status = check_origin(trainer, job, err);
    if (!status)
        status = make_learner(trainer, job, &learner, err);
    if (!status)
        status = compare(trainer, job, learner, err);
    if (!status)
        status = record(trainer, job, learner, err);
    if (status) {
        soma_learner_free(learner);
        return status;
    }
    return soma_trainer_leap(trainer, learner, err);
}

void
soma_trainer_adopt(soma_trainer *trainer, soma_job *job)
{
    soma_error err;
    job->err.status = SOMA_OK;
    soma_status status = adopt(trainer, job, &err);
    if (!status) {
        char version[24], theirs[24];
        snprintf(version, sizeof version, "%" PRIu64, trainer->seq);
        snprintf(theirs, sizeof theirs, "%" PRIu64, job->target);
        soma_log(SOMA_LOG_INFO, "promoted", "model", trainer->pupil.name,
                 "from", job->from, "of-version", theirs, "version", version,
                 NULL);
        soma_trainer_announce(trainer,
                              &(soma_news){.version = trainer->seq,
                                           .time = soma_clock_now(),
                                           .kind = SOMA_RECORD_ADOPTION,
                                           .target = job->target});
    }
    soma_trainer_finish(trainer, job, status, &err);
}

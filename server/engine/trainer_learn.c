/* A group of examples, from the queue to the answer. */
#include "server/engine/recall.h"
#include "server/engine/share.h"
#include "server/engine/trainer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- Idempotency-Key ---- */

static soma_status
refuse_key(const soma_job *job, soma_error *err)
{
    size_t head = strlen(SOMA_RECALL_KEY);
    if (!strncmp(job->key->text, SOMA_RECALL_KEY, head))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "the input \"%s\" was labelled before, in "
                              "another way; teach its pixels to correct that",
                              job->key->text + head);
    return soma_error_set(err, SOMA_E_CONFLICT,
                          "Idempotency-Key \"%s\" came before with another "
                          "request; each request needs a key of its own",
                          job->key->text);
}

/* A job before this one, in the same group, with the same key. */
static soma_job *
same_key_before(soma_job *group, const soma_job *job)
{
    for (soma_job *other = group; other != job; other = other->next)
        if (other->key && !other->err.status &&
            !strcmp(other->key->text, job->key->text))
            return other;
    return NULL;
}

static soma_status
answer_repeated(soma_trainer *trainer, soma_job *job,
                const soma_journal_key *known, soma_error *err)
{
    if (known->count != job->count ||
        memcmp(known->fingerprint, job->key->fingerprint,
               sizeof known->fingerprint))
        return refuse_key(job, err);
    if (known->first + (uint64_t)known->count > trainer->seq + 1)
        return soma_error_set(err, SOMA_E_BUSY,
                              "the request of Idempotency-Key \"%s\" was just "
                              "recorded; try again later",
                              job->key->text);
    soma_status status = soma_trainer_find_lessons(
        trainer, known->first, known->count, job->lessons, err);
    for (int i = 0; i < job->count && !status; i++)
        if (!job->lessons[i].version)
            status = soma_error_set(err, SOMA_E_CONFLICT,
                                    "the request of Idempotency-Key \"%s\" was "
                                    "learned, as versions from %llu on; what "
                                    "it was answered is no longer kept",
                                    job->key->text,
                                    (unsigned long long)known->first);
    job->repeated = true;
    return status;
}

/* Whether the job is to be learned: not if its key was there before, or if
 * that failed. */
static bool
is_new(soma_trainer *trainer, soma_job *group, soma_job *job)
{
    if (!job->key)
        return true;
    soma_journal_key known;
    bool found;
    soma_job *twin = same_key_before(group, job);
    if (twin) {
        job->repeated = !memcmp(twin->key->fingerprint, job->key->fingerprint,
                                sizeof job->key->fingerprint) &&
                        twin->count == job->count;
        if (!job->repeated)
            refuse_key(job, &job->err);
        return false;
    }
    soma_status status = trainer->journal->backend->find_key(
        trainer->journal, job->key->text, &known, &found, &job->err);
    if (!status && found)
        answer_repeated(trainer, job, &known, &job->err);
    return !status && !found;
}

/* Jobs that repeat one of the same group answer what that one does. */
static void
copy_from_twins(soma_job *group)
{
    for (soma_job *job = group; job; job = job->next) {
        soma_job *twin = job->key && job->repeated && !job->err.status
                             ? same_key_before(group, job)
                             : NULL;
        if (twin && twin->count == job->count)
            memcpy(job->lessons, twin->lessons,
                   (size_t)job->count * sizeof *job->lessons);
    }
}

/* ---- Recording ---- */

typedef struct batch {
    int count; /* records */
    soma_journal_key *keys;
    int key_count;
    soma_journal_group group;
    bool ahead; /* it is on its way into the journal */
} batch;

static soma_status
make_room(soma_trainer *trainer, int examples, soma_error *err)
{
    if (examples <= trainer->record_room)
        return SOMA_OK;
    soma_record *records =
        realloc(trainer->records, (size_t)examples * sizeof *trainer->records);
    if (!records)
        return soma_error_memory(err, "journal records");
    trainer->records = records;
    trainer->record_room = examples;
    return SOMA_OK;
}

static void
add_records(soma_trainer *trainer, batch *b, const soma_job *job, int64_t now)
{
    size_t size = (size_t)trainer->journal->size;
    if (job->key) {
        soma_journal_key *key = &b->keys[b->key_count++];
        *key = *job->key;
        key->first = trainer->seq + 1 + (uint64_t)b->count;
        key->count = job->count;
        key->time = now;
    }
    for (int i = 0; i < job->count; i++, b->count++)
        trainer->records[b->count] =
            (soma_record){.seq = trainer->seq + 1 + (uint64_t)b->count,
                          .kind = SOMA_RECORD_EXAMPLE,
                          .time = now,
                          .label = job->labels[i],
                          .rate = job->rate,
                          .x = job->x + (size_t)i * size};
}

/* Whether this job's examples are among the group's records. */
static bool
is_in(const soma_job *job)
{
    return !job->repeated && !job->err.status;
}

static soma_status
record_group(soma_trainer *trainer, soma_job *group, int examples, batch *b,
             soma_error *err)
{
    int jobs = 0;
    int64_t now = soma_clock_now();
    for (soma_job *job = group; job; job = job->next)
        jobs += job->key != NULL;
    soma_status status = make_room(trainer, examples, err);
    *b = (batch){.count = 0};
    if (!status && jobs) {
        b->keys = calloc((size_t)jobs, sizeof *b->keys);
        if (!b->keys)
            status = soma_error_memory(err, "keys");
    }
    if (status)
        return status;
    for (soma_job *job = group; job; job = job->next) {
        if (!is_new(trainer, group, job)) {
            /* Another replica has recorded it: once it is learned here, too,
             * there is an answer. */
            if (job->err.status == SOMA_E_BUSY &&
                trainer->journal->backend->shared)
                return soma_error_set(err, SOMA_E_CONFLICT, "%s",
                                      job->err.text);
            continue;
        }
        if (trainer->guard.stopped)
            job->err = trainer->guard.why;
        else
            add_records(trainer, b, job, now);
    }
    if (!b->count)
        return SOMA_OK;
    b->group = (soma_journal_group){.records = trainer->records,
                                    .count = b->count,
                                    .keys = b->keys,
                                    .key_count = b->key_count};
    b->ahead = soma_trainer_append_ahead(trainer, &b->group);
    return b->ahead ? SOMA_OK : soma_trainer_append(trainer, &b->group, err);
}

/* ---- Learning ---- */

/* The example after number i of a job, in its group; NULL at the end. */
static const float *
example_after(const soma_trainer *trainer, const soma_job *job, int i)
{
    if (i + 1 < job->count)
        return job->x + (size_t)(i + 1) * (size_t)trainer->journal->size;
    for (job = job->next; job && !is_in(job);)
        job = job->next;
    return job ? job->x : NULL;
}

static soma_status
step_group(soma_trainer *trainer, soma_job *group, soma_error *err)
{
    size_t size = (size_t)trainer->journal->size;
    soma_status status = SOMA_OK;
    for (soma_job *job = group; job && !status; job = job->next)
        for (int i = 0; i < job->count && is_in(job) && !status; i++) {
            soma_learner_expect(trainer->learner,
                                example_after(trainer, job, i));
            status = soma_learner_learn(
                trainer->learner, trainer->seq + 1, job->x + (size_t)i * size,
                job->labels[i], job->rate, &job->lessons[i], err);
            trainer->seq++;
            if (!status)
                status =
                    soma_trainer_keep_lesson(trainer, &job->lessons[i], err);
            soma_share_give();
        }
    if (status) {
        /* The learner is lost; what is in the journal is not. */
        soma_learner_free(trainer->learner);
        trainer->learner = NULL;
    }
    return status;
}

/* The append failed, but the records turned out to be written: mending has
 * learned them. */
static soma_status
find_learned(soma_trainer *trainer, soma_job *group, uint64_t before,
             const batch *b, soma_status failed, soma_error *err)
{
    soma_error mend_err;
    if (trainer->journal->backend->shared)
        return failed; /* those numbers may be another replica's */
    if (!trainer->troubled || soma_trainer_mend(trainer, &mend_err) ||
        trainer->seq < before + (uint64_t)b->count)
        return failed;
    uint64_t first = before + 1;
    for (soma_job *job = group; job; job = job->next) {
        if (!is_in(job))
            continue;
        soma_status status = soma_trainer_find_lessons(
            trainer, first, job->count, job->lessons, err);
        if (status)
            return status;
        first += (uint64_t)job->count;
    }
    return SOMA_OK;
}

/* Learns the group. If it was on its way into the journal and did not get
 * there, nothing of it is left. */
static soma_status
learn_recorded(soma_trainer *trainer, soma_job *group, batch *b,
               uint64_t before, soma_error *err)
{
    soma_snapshot *copy = NULL;
    int lessons = trainer->lesson_count;
    soma_status status = step_group(trainer, group, err);
    if (!status)
        status = soma_trainer_copy(trainer, &copy, err);
    soma_error why;
    soma_status failed =
        b->ahead ? soma_trainer_append_end(trainer, &b->group, &why) : SOMA_OK;
    if (failed) {
        soma_shelf_drop(copy);
        soma_learner_free(trainer->learner);
        trainer->learner = NULL;
        trainer->seq = before;
        trainer->lesson_count = lessons;
        *err = why;
        return find_learned(trainer, group, before, b, failed, err);
    }
    if (!status)
        soma_shelf_show(trainer->pupil.shelf, copy);
    return status;
}

/* For those who watch, once it is in force. */
static void
tell_watchers(soma_trainer *trainer, const soma_job *group)
{
    int64_t now = soma_clock_now();
    for (const soma_job *job = group; job; job = job->next)
        for (int i = 0; i < job->count && is_in(job); i++) {
            const soma_lesson *lesson = &job->lessons[i];
            soma_trainer_announce(trainer,
                                  &(soma_news){.version = lesson->version,
                                               .time = now,
                                               .kind = SOMA_RECORD_EXAMPLE,
                                               .label = job->labels[i],
                                               .predicted = lesson->predicted,
                                               .loss = lesson->loss});
        }
}

/* Where another replica was first, what it appended is learned first. */
static soma_status
record_at_end(soma_trainer *trainer, soma_job *group, int examples, batch *b,
              uint64_t *before, soma_error *err)
{
    soma_status status = SOMA_E_CONFLICT;
    for (int i = 0; i < SOMA_SHARED_TRIES && status == SOMA_E_CONFLICT; i++) {
        for (soma_job *job = group; job; job = job->next) {
            job->err.status = SOMA_OK;
            job->repeated = false;
        }
        free(b->keys);
        *b = (batch){.keys = NULL};
        status = i ? soma_trainer_follow(trainer, err) : SOMA_OK;
        *before = trainer->seq;
        if (!status)
            status = record_group(trainer, group, examples, b, err);
    }
    if (status == SOMA_E_CONFLICT)
        return soma_error_set(err, SOMA_E_BUSY,
                              "the other replicas were always first; try again "
                              "later");
    return status;
}

void
soma_trainer_learn(soma_trainer *trainer, soma_job *group, int examples)
{
    soma_error err;
    batch b = {.keys = NULL};
    uint64_t before = 0;
    soma_status status = soma_trainer_equip(trainer, &err);
    for (soma_job *job = group; job && status; job = job->next) {
        job->err.status = SOMA_OK;
        job->repeated = false;
    }
    if (!status)
        status = record_at_end(trainer, group, examples, &b, &before, &err);
    bool appended = !status;
    if (status && b.count)
        status = find_learned(trainer, group, before, &b, status, &err);
    if (appended && b.count) {
        status = learn_recorded(trainer, group, &b, before, &err);
        soma_share_give();
    }
    free(b.keys);
    if (!status && b.count)
        tell_watchers(trainer, group);
    copy_from_twins(group);
    if (!status)
        soma_trainer_plan(trainer);
    soma_trainer_finish(trainer, group, status, &err);
}

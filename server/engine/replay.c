#include "server/engine/replay.h"

#include <stdlib.h>
#include <string.h>

/* Records after < seq <= upto; rollback: `after` is a rollback record, whose
 * settings hold from there. */
typedef struct stretch {
    uint64_t after, upto;
    bool rollback;
} stretch;

typedef struct route {
    stretch *stretches; /* [count], last first */
    int count, room;
    uint64_t checkpoint; /* where it begins; 0: the base */
    soma_bytes state;    /* of the checkpoint */
} route;

static void
route_free(route *r)
{
    free(r->stretches);
    soma_bytes_free(&r->state);
}

static soma_status
add_stretch(route *r, uint64_t after, uint64_t upto, bool rollback,
            soma_error *err)
{
    if (r->count == r->room) {
        int room = r->room ? 2 * r->room : 8;
        stretch *more = realloc(r->stretches, (size_t)room * sizeof *more);
        if (!more)
            return soma_error_memory(err, "a replay");
        r->stretches = more;
        r->room = room;
    }
    r->stretches[r->count++] = (stretch){after, upto, rollback};
    return SOMA_OK;
}

/* The newest good checkpoint in [least, upto]: its state in r, or none. */
static soma_status
find_checkpoint(soma_replay *replay, uint64_t least, uint64_t upto, route *r,
                soma_error *err)
{
    const soma_journal_backend *backend = replay->journal->backend;
    while (upto >= least && upto > 0 && !replay->from_base) {
        soma_journal_checkpoint found;
        soma_error damage;
        soma_status status =
            backend->checkpoint_find(replay->journal, upto, &found, err);
        if (status || found.seq < least || !found.seq)
            return status;
        status = backend->checkpoint_read(replay->journal, found.seq, &r->state,
                                          &damage);
        if (!status) {
            r->checkpoint = found.seq;
            return SOMA_OK;
        }
        if (status != SOMA_E_FORMAT) {
            if (err)
                *err = damage;
            return status;
        }
        if (replay->damaged)
            replay->damaged(found.seq, &damage, replay->arg);
        upto = found.seq - 1;
    }
    return SOMA_OK;
}

static soma_status
find_route(soma_replay *replay, uint64_t version, route *r, soma_error *err)
{
    const soma_journal_backend *backend = replay->journal->backend;
    for (uint64_t at = version; at > 0;) {
        uint64_t rollback, target;
        soma_status status = backend->last_rollback(replay->journal, at,
                                                    &rollback, &target, err);
        if (!status)
            status = find_checkpoint(replay, rollback, at, r, err);
        if (status)
            return status;
        if (r->state.data)
            return add_stretch(r, r->checkpoint, at, false, err);
        if (rollback && target >= rollback)
            return soma_error_set(
                err, SOMA_E_FORMAT, "rollback %llu leads to %llu",
                (unsigned long long)rollback, (unsigned long long)target);
        status = add_stretch(r, rollback, at, rollback > 0, err);
        if (status)
            return status;
        at = rollback ? target : 0;
    }
    return SOMA_OK;
}

/* ---- Forward ---- */

typedef struct forward {
    soma_replay *replay;
    soma_learner *learner;
} forward;

static soma_status
configure(soma_learner *learner, const soma_record *record, soma_error *err)
{
    soma_learning settings;
    soma_status status =
        soma_learning_unpack(record->data, record->data_size, &settings, err);
    return status ? status : soma_learner_configure(learner, &settings, err);
}

static soma_status
apply(const soma_record *record, void *arg, soma_error *err)
{
    forward *f = arg;
    soma_lesson lesson;
    soma_status status = SOMA_OK;
    int classes = soma_learner_model(f->learner)->spec.classes;
    if (atomic_load(&f->replay->cancel))
        return soma_error_set(err, SOMA_E_BUSY, "the replay was broken off");
    switch (record->kind) {
    case SOMA_RECORD_EXAMPLE:
        if (record->label < 0 || record->label >= classes)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "record %llu: label %d, there are %d classes",
                                  (unsigned long long)record->seq,
                                  record->label, classes);
        status = soma_learner_learn(f->learner, record->seq, record->x,
                                    record->label, record->rate, &lesson, err);
        if (!status && f->replay->learned)
            f->replay->learned(&lesson, f->replay->arg);
        break;
    case SOMA_RECORD_SETTINGS:
        status = configure(f->learner, record, err);
        break;
    case SOMA_RECORD_ROLLBACK:
        return soma_error_set(err, SOMA_E_INTERNAL, "record %llu is a rollback",
                              (unsigned long long)record->seq);
    default:
        return soma_error_set(
            err, SOMA_E_FORMAT, "record %llu is of an unknown kind, %d",
            (unsigned long long)record->seq, (int)record->kind);
    }
    atomic_fetch_add(&f->replay->done, 1);
    return status;
}

soma_status
soma_replay_forward(soma_replay *replay, soma_learner *learner, uint64_t after,
                    uint64_t upto, soma_error *err)
{
    forward f = {replay, learner};
    return replay->journal->backend->read(replay->journal, after, upto, apply,
                                          &f, err);
}

/* Only the settings of a rollback's record. */
static soma_status
apply_rollback(const soma_record *record, void *arg, soma_error *err)
{
    forward *f = arg;
    return configure(f->learner, record, err);
}

static soma_status
learn_route(soma_replay *replay, const route *r, soma_learner *learner,
            soma_error *err)
{
    soma_status status = SOMA_OK;
    if (r->state.data)
        status = soma_learner_load(learner, r->state.data, r->state.size, err);
    for (int i = r->count - 1; i >= 0 && !status; i--) {
        const stretch *s = &r->stretches[i];
        forward f = {replay, learner};
        if (s->rollback)
            status = replay->journal->backend->read(replay->journal,
                                                    s->after - 1, s->after,
                                                    apply_rollback, &f, err);
        if (!status)
            status =
                soma_replay_forward(replay, learner, s->after, s->upto, err);
    }
    return status;
}

static soma_learner *
begin(soma_replay *replay, soma_error *err)
{
    soma_journal_info info;
    soma_learning settings;
    if (replay->journal->backend->info(replay->journal, &info, err) ||
        soma_learning_unpack(info.settings, sizeof info.settings, &settings,
                             err))
        return NULL;
    return soma_learner_create(replay->base, replay->kept, &settings, err);
}

soma_learner *
soma_replay_build(soma_replay *replay, uint64_t version, soma_error *err)
{
    route r = {NULL, 0, 0, 0, {NULL, 0}};
    uint64_t all = 0;
    soma_learner *learner = begin(replay, err);
    soma_status status = learner ? SOMA_OK : SOMA_E_MEMORY;
    if (!status)
        status = find_route(replay, version, &r, err);
    for (int i = 0; i < r.count; i++)
        all += r.stretches[i].upto - r.stretches[i].after;
    atomic_store(&replay->done, 0);
    atomic_store(&replay->all, all);
    if (!status)
        status = learn_route(replay, &r, learner, err);
    route_free(&r);
    if (!status)
        return learner;
    soma_learner_free(learner);
    return NULL;
}

soma_status
soma_replay_lineage(soma_replay *replay, uint64_t version,
                    soma_journal_visit visit, void *arg, soma_error *err)
{
    bool from_base = replay->from_base;
    route r = {NULL, 0, 0, 0, {NULL, 0}};
    replay->from_base = true;
    soma_status status = find_route(replay, version, &r, err);
    replay->from_base = from_base;
    for (int i = r.count - 1; i >= 0 && !status; i--)
        status = replay->journal->backend->read(
            replay->journal, r.stretches[i].after, r.stretches[i].upto, visit,
            arg, err);
    route_free(&r);
    return status;
}

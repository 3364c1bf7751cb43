#include "server/engine/replay.h"

#include <stdlib.h>
#include <string.h>

/* Records after < seq <= upto. leap: the kind of record `after`, if it is one:
 * a rollback's settings hold from there, an adoption's state. */
typedef struct stretch {
    uint64_t after, upto;
    soma_record_kind leap; /* 0: none */
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
add_stretch(route *r, uint64_t after, uint64_t upto, soma_record_kind leap,
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
    r->stretches[r->count++] = (stretch){after, upto, leap};
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
        /* Not there any more: a server has dropped it meanwhile. */
        if (status != SOMA_E_FORMAT && status != SOMA_E_NOT_FOUND) {
            if (err)
                *err = damage;
            return status;
        }
        if (replay->damaged && status == SOMA_E_FORMAT)
            replay->damaged(found.seq, &damage, replay->arg);
        upto = found.seq - 1;
    }
    return SOMA_OK;
}

/* Where the way goes on backwards from a leap; 0: it begins there. */
static soma_status
leap_back(const soma_leap *leap, bool past_adoptions, uint64_t *at,
          soma_error *err)
{
    *at = 0;
    if (leap->kind == SOMA_RECORD_ROLLBACK)
        *at = leap->target;
    else if (leap->kind == SOMA_RECORD_ADOPTION && past_adoptions)
        *at = leap->seq - 1;
    if (*at < leap->seq || !leap->seq)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT, "rollback %llu leads to %llu",
                          (unsigned long long)leap->seq,
                          (unsigned long long)leap->target);
}

/* past_adoptions: for whoever wants the records, not the weights. */
static soma_status
find_route(soma_replay *replay, uint64_t version, bool past_adoptions, route *r,
           soma_error *err)
{
    const soma_journal_backend *backend = replay->journal->backend;
    for (uint64_t at = version; at > 0;) {
        soma_leap leap;
        uint64_t upto = at;
        soma_status status =
            backend->last_leap(replay->journal, at, &leap, err);
        if (!status)
            status = find_checkpoint(replay, leap.seq, at, r, err);
        if (status)
            return status;
        if (r->state.data)
            return add_stretch(r, r->checkpoint, at, 0, err);
        status = leap_back(&leap, past_adoptions, &at, err);
        if (!status)
            status = add_stretch(r, leap.seq, upto, leap.kind, err);
        if (status)
            return status;
    }
    return SOMA_OK;
}

/* ---- Forward ---- */

typedef struct forward {
    soma_replay *replay;
    soma_learner *learner;
    uint64_t last; /* the last record that was applied */
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
            f->replay->learned(record, &lesson, f->replay->arg);
        break;
    case SOMA_RECORD_SETTINGS:
        status = configure(f->learner, record, err);
        break;
    case SOMA_RECORD_ROLLBACK:
    case SOMA_RECORD_ADOPTION:
        return soma_error_set(err, SOMA_E_INTERNAL, "record %llu is a leap",
                              (unsigned long long)record->seq);
    default:
        return soma_error_set(
            err, SOMA_E_FORMAT, "record %llu is of an unknown kind, %d",
            (unsigned long long)record->seq, (int)record->kind);
    }
    atomic_fetch_add(&f->replay->done, 1);
    f->last = record->seq;
    return status;
}

soma_status
soma_replay_forward(soma_replay *replay, soma_learner *learner, uint64_t after,
                    uint64_t upto, soma_error *err)
{
    forward f = {replay, learner, after};
    soma_status status = replay->journal->backend->read(replay->journal, after,
                                                        upto, apply, &f, err);
    if (status || f.last == upto)
        return status;
    /* A shared journal may lose its last records while they are read: what was
     * learned must not pass for a version that it is not. */
    return soma_error_set(err, SOMA_E_IO,
                          "the journal ended at record %llu while it was read "
                          "to %llu",
                          (unsigned long long)f.last, (unsigned long long)upto);
}

static soma_status
apply_leap(const soma_record *record, void *arg, soma_error *err)
{
    forward *f = arg;
    return record->kind == SOMA_RECORD_ADOPTION
               ? soma_adoption_apply(record->data, record->data_size,
                                     f->learner, err)
               : configure(f->learner, record, err);
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
        forward f = {replay, learner, 0};
        if (s->leap)
            status = replay->journal->backend->read(
                replay->journal, s->after - 1, s->after, apply_leap, &f, err);
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
        status = find_route(replay, version, false, &r, err);
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
    soma_status status = find_route(replay, version, true, &r, err);
    replay->from_base = from_base;
    for (int i = r.count - 1; i >= 0 && !status; i--)
        status = replay->journal->backend->read(
            replay->journal, r.stretches[i].after, r.stretches[i].upto, visit,
            arg, err);
    route_free(&r);
    return status;
}

/* ---- An adoption's data ----
 *
 * The name, with NULs up to NAME bytes; then the state (learner_state.c).
 */

enum { NAME = SOMA_ORIGIN_MAX + 1 };

soma_status
soma_adoption_pack(const char *from, const soma_learner *learner,
                   soma_bytes *data, soma_error *err)
{
    size_t size = NAME + soma_learner_state_size(learner);
    *data = (soma_bytes){calloc(1, size), size};
    if (!data->data)
        return soma_error_memory(err, "a state of learning");
    memcpy(data->data, from, strnlen(from, SOMA_ORIGIN_MAX));
    soma_learner_save(learner, data->data + NAME);
    return SOMA_OK;
}

const char *
soma_adoption_from(const void *data, size_t size)
{
    const char *name = data;
    return size > NAME && !name[NAME - 1] ? name : NULL;
}

soma_status
soma_adoption_apply(const void *data, size_t size, soma_learner *learner,
                    soma_error *err)
{
    if (!soma_adoption_from(data, size))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%zu bytes are no adopted state", size);
    return soma_learner_load(learner, (const unsigned char *)data + NAME,
                             size - NAME, err);
}

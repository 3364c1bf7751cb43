#include "server/engine/snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Digests are rare; one lock keeps them from being written by two. */
static pthread_mutex_t digest_lock = PTHREAD_MUTEX_INITIALIZER;

static soma_snapshot *
snapshot_create(const soma_model *model, soma_error *err)
{
    soma_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) {
        soma_error_memory(err, "a snapshot");
        return NULL;
    }
    snapshot->model = soma_model_clone(model, err);
    if (!snapshot->model) {
        free(snapshot);
        return NULL;
    }
    return snapshot;
}

static void
snapshot_free(soma_snapshot *snapshot)
{
    if (!snapshot)
        return;
    soma_model_free(snapshot->model);
    free(snapshot);
}

soma_status
soma_shelf_create(soma_shelf *shelf, soma_readers *readers, soma_model *model,
                  soma_error *err)
{
    soma_snapshot *first = calloc(1, sizeof *first);
    shelf->readers = readers;
    shelf->retired = NULL;
    atomic_init(&shelf->current, first);
    if (!first) {
        soma_model_free(model);
        return soma_error_memory(err, "a snapshot");
    }
    first->model = model;
    return SOMA_OK;
}

void
soma_shelf_free(soma_shelf *shelf)
{
    snapshot_free(atomic_exchange(&shelf->current, NULL));
    while (shelf->retired) {
        soma_snapshot *next = shelf->retired->next;
        snapshot_free(shelf->retired);
        shelf->retired = next;
    }
}

soma_snapshot *
soma_shelf_current(soma_shelf *shelf)
{
    return atomic_load(&shelf->current);
}

void
soma_snapshot_pin(soma_snapshot *snapshot)
{
    atomic_fetch_add(&snapshot->pins, 1);
}

void
soma_snapshot_unpin(soma_snapshot *snapshot)
{
    atomic_fetch_sub(&snapshot->pins, 1);
}

/* Pins are counted within turns: once those have passed, none can come. */
static bool
unseen(soma_shelf *shelf, soma_snapshot *snapshot)
{
    return soma_readers_passed(shelf->readers, snapshot->retired) &&
           atomic_load(&snapshot->pins) == 0;
}

/* A retired snapshot that nobody sees any more, or NULL. Further ones, which
 * a long turn or a pin has left behind, are freed. */
static soma_snapshot *
take_unseen(soma_shelf *shelf)
{
    soma_snapshot *taken = NULL, **at = &shelf->retired;
    while (*at) {
        soma_snapshot *snapshot = *at;
        if (!unseen(shelf, snapshot)) {
            at = &snapshot->next;
            continue;
        }
        *at = snapshot->next;
        if (taken)
            snapshot_free(snapshot);
        else
            taken = snapshot;
    }
    return taken;
}

soma_status
soma_shelf_copy(soma_shelf *shelf, const soma_model *model, uint64_t version,
                const soma_progressive *progressive, soma_snapshot **copy,
                soma_error *err)
{
    soma_snapshot *snapshot = take_unseen(shelf);
    if (snapshot) {
        soma_model_copy(snapshot->model, model);
        atomic_store(&snapshot->digest_known, false);
    } else {
        snapshot = snapshot_create(model, err);
        if (!snapshot)
            return SOMA_E_MEMORY;
    }
    snapshot->version = version;
    snapshot->progressive = *progressive;
    snapshot->next = NULL;
    *copy = snapshot;
    return SOMA_OK;
}

void
soma_shelf_show(soma_shelf *shelf, soma_snapshot *copy)
{
    soma_snapshot *old = atomic_exchange(&shelf->current, copy);
    old->retired = soma_readers_retire(shelf->readers);
    old->next = shelf->retired;
    shelf->retired = old;
}

void
soma_shelf_drop(soma_snapshot *copy)
{
    snapshot_free(copy);
}

soma_status
soma_snapshot_digest(soma_snapshot *snapshot, char hex[SOMA_DIGEST_HEX + 1],
                     soma_error *err)
{
    soma_status status = SOMA_OK;
    if (!atomic_load(&snapshot->digest_known)) {
        pthread_mutex_lock(&digest_lock);
        if (!atomic_load(&snapshot->digest_known)) {
            status = soma_model_digest(snapshot->model, snapshot->digest, err);
            atomic_store(&snapshot->digest_known, !status);
        }
        pthread_mutex_unlock(&digest_lock);
    }
    if (!status)
        memcpy(hex, snapshot->digest, SOMA_DIGEST_HEX + 1);
    return status;
}

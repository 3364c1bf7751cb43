/* Snapshots: the immutable versions of a model that predictions use.
 *
 * A shelf belongs to one model. Its trainer puts new snapshots there; workers
 * take the current one, without a lock, and may use it until the end of their
 * turn (readers.h). Snapshots that nobody can see any more are filled anew.
 */
#ifndef SOMA_ENGINE_SNAPSHOT_H
#define SOMA_ENGINE_SNAPSHOT_H

#include "core/io/checkpoint.h"
#include "core/model.h"
#include "core/progressive.h"
#include "server/engine/readers.h"

typedef struct soma_snapshot {
    soma_model *model;
    uint64_t version; /* sequence number of the last record in it */
    soma_progressive progressive;
    /* The digest takes a pass over all weights; it is computed when first
     * asked for, by whoever asks. */
    atomic_bool digest_known;
    char digest[SOMA_DIGEST_HEX + 1];
    _Atomic int pins; /* uses that outlast a turn */
    /* The shelf's: */
    uint64_t retired; /* when it went out of sight */
    struct soma_snapshot *next;
} soma_snapshot;

typedef struct soma_shelf {
    soma_readers *readers;
    _Atomic(soma_snapshot *) current;
    soma_snapshot *retired; /* newest first; the trainer's alone */
} soma_shelf;

/* Starts with `model` as version 0; takes it over, also when it fails. */
soma_status soma_shelf_create(soma_shelf *shelf, soma_readers *readers,
                              soma_model *model, soma_error *err);

/* Only when no worker is within a turn any more. */
void soma_shelf_free(soma_shelf *shelf);

/* Within a turn, on a worker. */
soma_snapshot *soma_shelf_current(soma_shelf *shelf);

/* Within a turn: keeps the snapshot as it is until it is unpinned, which may
 * be in a later turn. */
void soma_snapshot_pin(soma_snapshot *snapshot);
void soma_snapshot_unpin(soma_snapshot *snapshot);

/* On the trainer: a copy of `model`, which is then either made the current
 * version or dropped. */
soma_status soma_shelf_copy(soma_shelf *shelf, const soma_model *model,
                            uint64_t version,
                            const soma_progressive *progressive,
                            soma_snapshot **copy, soma_error *err);
void soma_shelf_show(soma_shelf *shelf, soma_snapshot *copy);
void soma_shelf_drop(soma_snapshot *copy); /* NULL is fine */

/* Within a turn; the first to ask computes it. SOMA_E_MEMORY. */
soma_status soma_snapshot_digest(soma_snapshot *snapshot,
                                 char hex[SOMA_DIGEST_HEX + 1],
                                 soma_error *err);

#endif

/* Rebuilding any version of a model from its journal.
 *
 * The weights of version v are those of the newest checkpoint before it and
 * the records since, in order. A rollback record r -> t says: from here on, as
 * after t. An adoption brings a state of its own, that of another model with
 * the same base. So the way to v is followed back from v: to a checkpoint or an
 * adoption, over rollbacks, or to the base (version 0), and then learned
 * forward.
 */
#ifndef SOMA_ENGINE_REPLAY_H
#define SOMA_ENGINE_REPLAY_H

#include "server/engine/journal.h"

#include <stdatomic.h>

typedef struct soma_replay {
    soma_journal *journal;
    const soma_model *base;
    const soma_memory *kept;
    /* Use no checkpoint: everything is learned again from the base. */
    bool from_base;
    /* Called for each example that is learned again; may be NULL. */
    void (*learned)(const soma_record *record, const soma_lesson *lesson,
                    void *arg);
    /* Called for each checkpoint that is damaged and passed over; may be
     * NULL. */
    void (*damaged)(uint64_t seq, const soma_error *err, void *arg);
    void *arg;
    atomic_bool cancel; /* set by anybody: fails with SOMA_E_BUSY */
    /* Progress, for whoever looks: records replayed and to be replayed. */
    _Atomic uint64_t done, all;
} soma_replay;

/* A learner as it was after record `version`, 0 for the beginning; NULL on
 * failure. SOMA_E_NOT_FOUND when what is needed was trimmed, SOMA_E_FORMAT
 * when it is damaged. */
soma_learner *soma_replay_build(soma_replay *replay, uint64_t version,
                                soma_error *err);

/* Applies records after < seq <= upto, none of them a leap, to `learner`,
 * which is at version `after`. SOMA_E_IO when the journal ends before `upto`:
 * how far the learner came is not known then. */
soma_status soma_replay_forward(soma_replay *replay, soma_learner *learner,
                                uint64_t after, uint64_t upto, soma_error *err);

/* Sees, in order, every record that the weights of `version` come from: what a
 * rollback has undone is not among them. What came before an adoption is: most
 * of it is in the state that was adopted, too. */
soma_status soma_replay_lineage(soma_replay *replay, uint64_t version,
                                soma_journal_visit visit, void *arg,
                                soma_error *err);

/* ---- An adoption's data: whose state it is, and the state ---- */

/* Allocates *data. SOMA_E_MEMORY. */
soma_status soma_adoption_pack(const char *from, const soma_learner *learner,
                               soma_bytes *data, soma_error *err);
/* The name of the model; NULL: it is no such data. */
const char *soma_adoption_from(const void *data, size_t size);
/* Brings a learner of the same base to that state. Failures as
 * soma_learner_load's. */
soma_status soma_adoption_apply(const void *data, size_t size,
                                soma_learner *learner, soma_error *err);

#endif

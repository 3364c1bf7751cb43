/* What one worker predicts in one turn, for one model: rows that arrived
 * together go through one forward pass.
 *
 * A request's rows stand either in the batch's own block, written there by
 * whoever decoded them, or in memory of the request's (larger requests). Both
 * are predicted in pieces of at most SOMA_BATCH_ROWS.
 */
#ifndef SOMA_ENGINE_BATCH_H
#define SOMA_ENGINE_BATCH_H

#include "core/pass.h"
#include "server/engine/registry.h"

enum { SOMA_BATCH_ROWS = 256 };

/* One thread's. Zero-initialised: of no model yet. */
typedef struct soma_batch {
    soma_served *served;
    uint64_t serial; /* of that model: it may be gone, and another one stand at
                        its place */
    soma_workspace *ws;
    float *x; /* [SOMA_BATCH_ROWS x size] */
    int rows; /* of them in use */
} soma_batch;

/* Makes it this model's, which it may be already; one of a model that is gone
 * has no rows in use. SOMA_E_MEMORY: it is of no model. */
soma_status soma_batch_create(soma_batch *batch, soma_served *served,
                              soma_error *err);
void soma_batch_free(soma_batch *batch);

/* Where the next row goes, and how many more fit. */
float *soma_batch_next(const soma_batch *batch, int *room);

/* Scores of `rows` <= SOMA_BATCH_ROWS rows, by this snapshot; valid until the
 * next call. */
const float *soma_batch_forward(soma_batch *batch,
                                const soma_snapshot *snapshot, const float *x,
                                int rows);

#endif

/* A step of plain SGD (sgd.h, no momentum) for few rows, straight on the
 * panels.
 *
 * The gradient of a layer's weights for one row is dL/dz times what entered:
 * it is never written down. Its norm follows from the norms of the two, and
 * the update adds their product to each panel, in one pass. So a step for one
 * example reads the weights twice and writes them once; with the gradient in a
 * block of its own they move six times. Where it is known which row comes
 * next, that one is taken through the first layer in the same pass, and a step
 * reads the weights once.
 */
#ifndef SOMA_CORE_STEP_H
#define SOMA_CORE_STEP_H

#include "core/pass.h"
#include "core/sgd.h"

/* Of one model, as long as nobody else changes its weights: zero-initialised
 * means that nothing is known. */
typedef struct soma_step {
    bool known;
    double weights; /* at least the Euclidean norm of all weights */
} soma_step;

/* The step for what soma_pass_deltas left in the workspace. sgd->momentum must
 * be 0. `next`, [input.size], is the first row of the next pass of this model
 * in this workspace, or NULL; no result depends on it. SOMA_E_NOT_FINITE: the
 * model is as before. Whether a step is taken depends on the model and the rows
 * alone, not on *step. */
soma_status soma_step_apply(soma_step *step, const soma_sgd *sgd,
                            soma_model *model, soma_workspace *ws,
                            const float *next, soma_error *err);

#endif

/* The forward and the backward pass.
 *
 * A workspace holds the scratch of one thread; a model is only read. Neither
 * pass allocates.
 */
#ifndef SOMA_CORE_PASS_H
#define SOMA_CORE_PASS_H

#include "core/model.h"
#include "core/rng.h"

typedef struct soma_workspace soma_workspace;

typedef enum soma_pass_mode {
    SOMA_PASS_PREDICT, /* forward only */
    SOMA_PASS_LEARN    /* forward and gradient */
} soma_pass_mode;

/* Scratch for up to `max_rows` rows of models with this spec. */
soma_workspace *soma_workspace_create(const soma_spec *spec, int max_rows,
                                      soma_pass_mode mode, soma_error *err);
void soma_workspace_free(soma_workspace *ws); /* NULL is fine */

/* x [rows x input.size], in the input's own range, through normalisation and
 * all layers. Returns the scores [rows x outputs], in the workspace until the
 * next call. 1 <= rows <= max_rows. A row's scores are the same bits whatever
 * stands in the other rows. */
const float *soma_pass_forward(const soma_model *model, soma_workspace *ws,
                               int rows, const float *x);

/* How a gradient is to be taken. Zero-initialised means: plainly. */
typedef struct soma_pass_options {
    float smoothing; /* label smoothing, [0, 1) */
    float dropout;   /* share of each hidden layer's units left out, [0, 1);
                        the rest is scaled by 1/(1-dropout) */
    soma_rng *rng;   /* draws for dropout; needed if dropout > 0 */
    /* Dark experience replay (Buzzega et al. 2020, arXiv 2004.07211): to the
     * gradient, not to the returned loss, add that of
     * hold[r] / 2 |scores - held|^2 for row r. */
    const float *hold; /* [rows], NULL: none */
    const float *held; /* [rows x outputs] */
    bool exactly; /* the gradient has the same bits on every CPU (matrix.h):
                     for what may be learned again on another one */
} soma_pass_options;

/* The gradient of the mean loss over the rows, by the chain rule from the
 * loss back to the first layer. labels [rows] in 0..classes-1. grad has
 * spec.trainable floats in the block's layout and is overwritten. Returns the
 * sum of the rows' losses. The workspace must be made with SOMA_PASS_LEARN;
 * afterwards soma_pass_scores has the scores of this pass. options may be
 * NULL. */
double soma_pass_gradient(const soma_model *model, soma_workspace *ws, int rows,
                          const float *x, const int *labels,
                          const soma_pass_options *options, float *grad);

const float *soma_pass_scores(const soma_workspace *ws);

/* The same without the gradient of the weights: only dL/dz of every layer,
 * which is left in the workspace. The gradient of layer i's weights is the sum
 * over rows of soma_pass_delta's row times soma_pass_entered's, so whoever
 * only wants to step (step.h) need not write it down. */
double soma_pass_deltas(const soma_model *model, soma_workspace *ws, int rows,
                        const float *x, const int *labels,
                        const soma_pass_options *options);

/* After soma_pass_forward in a workspace made with SOMA_PASS_LEARN: the
 * derivative of `factor` times each row's score `output` with respect to that
 * row of x, dx [rows x input.size], in the input's own range. At a kink it is
 * one of the one-sided ones, as for learning. */
void soma_pass_input_gradient(const soma_model *model, soma_workspace *ws,
                              int output, float factor, float *dx);

/* For whoever changes the weights of the first layer and reads them all at
 * that: the row x, [input.size], is to be the first of the next pass. Returns
 * what enters the first layer, [input.size], and sets *z, [out], to the bias
 * as it is; the caller adds the product with the new weights, in the order of
 * soma_kernel_multiply. A pass of this model that does begin with x takes z
 * from there. In a workspace made with SOMA_PASS_LEARN. */
const float *soma_pass_expect(const soma_model *model, soma_workspace *ws,
                              const float *x, float **z);

/* To be called when the weights change in any other way. */
void soma_pass_forget(soma_workspace *ws);

/* Of the last pass (x must still be there): its rows; what entered a layer,
 * [rows x in]; what left it, [rows x units]; after soma_pass_deltas: dL/dz,
 * [rows x out]. */
int soma_pass_rows(const soma_workspace *ws);
const float *soma_pass_activations(const soma_workspace *ws, int layer);
const float *soma_pass_entered(const soma_workspace *ws, int layer);
const float *soma_pass_delta(const soma_workspace *ws, int layer);

/* The health of one layer over the rows of the last soma_pass_gradient:
 * saturated units kill gradients, dead ones have none. */
typedef struct soma_layer_health {
    double stuck;         /* share of the [rows x units] activations, 0..1 */
    double always_stuck;  /* share of the units stuck in every row */
    double gradient_norm; /* Euclidean norm of dL/dz, mean loss */
} soma_layer_health;

/* health has spec.depth entries. */
void soma_pass_health(const soma_model *model, const soma_workspace *ws,
                      soma_layer_health *health);

#endif

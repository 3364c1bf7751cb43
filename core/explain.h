/* What in an input spoke for or against a class: gradient times input.
 *
 * The logit l of a class is its score before softmax; of a binary loss, whose
 * only score s speaks for class 1, it is s for class 1 and -s for class 0; of
 * a hinge loss it is the score itself. Pixel i of the input x, in the model's
 * own range, has the attribution
 *
 *     r_i = x_i * dl/dx_i
 *
 * by one backward pass (Shrikumar et al. 2016, arXiv 1605.01713, "gradient *
 * input"; the gradient alone: Simonyan et al. 2013, arXiv 1312.6034). Above 0
 * it spoke for the class, below 0 against it; a pixel of 0 has 0. For a model
 * that is linear in x without a constant the r_i sum up to l; for others that
 * holds to first order only. It says what the model looks at, not why.
 */
#ifndef SOMA_CORE_EXPLAIN_H
#define SOMA_CORE_EXPLAIN_H

#include "core/pass.h"

/* The class's logit, of one row's scores [outputs]. */
float soma_explain_logit(const soma_spec *spec, const float *scores, int label);

/* The forward pass of one row x [input.size], then the attribution
 * [input.size] of the class `label` in 0..classes-1, or of the one that wins
 * if it is negative; returns that class. `ws` must be made with
 * SOMA_PASS_LEARN; soma_pass_scores and soma_pass_activations have this row's
 * afterwards. Allocates nothing, and cannot fail; where a number overflows,
 * what depends on it is not finite. */
int soma_explain(const soma_model *model, soma_workspace *ws, const float *x,
                 int label, float *attribution);

#endif

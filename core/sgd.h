/* Stochastic gradient descent.
 *
 *     plain      w <- (1 - rate l2) w - rate g
 *     momentum   v <- momentum v - rate g;  w <- (1 - rate l2) w + v
 *     Nesterov   as momentum, but w <- (1 - rate l2) w + momentum v' - rate g
 *                with v' the new velocity (CS231n "Neural networks 3")
 *
 * L2 shrinks weights only, never biases. A step is all or nothing: if it
 * would make any number that is not finite, nothing changes.
 */
#ifndef SOMA_CORE_SGD_H
#define SOMA_CORE_SGD_H

#include "core/model.h"

typedef struct soma_sgd {
    float rate;     /* learning rate, >= 0 */
    float momentum; /* [0, 1); 0 needs no velocity */
    bool nesterov;
    float l2;   /* strength of the L2 penalty, >= 0 */
    float clip; /* largest Euclidean norm of the gradient; 0: no bound */
} soma_sgd;

/* SOMA_E_ARGUMENT names the field that is out of its bounds. */
soma_status soma_sgd_check(const soma_sgd *sgd, soma_error *err);

/* The factor that brings a gradient of this norm within the clip. */
float soma_sgd_clip_factor(const soma_sgd *sgd, double norm);

/* One step. velocity: spec.trainable floats, NULL if
 * momentum is 0. SOMA_E_NOT_FINITE: model and velocity are as before. */
soma_status soma_sgd_step(const soma_sgd *sgd, soma_model *model,
                          float *velocity, const float *grad, soma_error *err);

/* The building blocks, for callers that divide the block between threads.
 * They work on floats [from, to) of the trainable block. */
double soma_sgd_square_sum(const float *grad, size_t from, size_t to);

/* The update itself, without any check. */
void soma_sgd_apply(const soma_sgd *sgd, float scale, soma_model *model,
                    float *velocity, const float *grad, size_t from, size_t to);

#endif

/* Losses: one row of a table each. A loss owns the link from the last layer's
 * scores to the answer, and the decision.
 *
 * softmax_cross_entropy  answer: softmax(s), K probabilities
 *                        L = -log softmax(s)[y]
 * logistic               one score s; p = 1/(1+e^-s) is the probability of
 *                        class 1; answer: {1-p, p}; decides 1 when p > 0.5
 *                        L = -log p or -log(1-p)
 * hinge                  one score s; answer: {s}; decides 1 when s > 0
 *                        L = max(0, 1 - t s), t = +1 for class 1, else -1
 * multiclass_hinge       answer: s; L = sum over j != y of
 *                        max(0, s_j - s_y + 1)  (Weston and Watkins 1999)
 *
 * As in the Stanford CS231n notes "Linear classification" and "Neural
 * networks 1". All work on one row and stay finite for finite scores.
 */
#ifndef SOMA_CORE_LOSS_H
#define SOMA_CORE_LOSS_H

#include "core/status.h"

#include <stdbool.h>

typedef struct soma_loss {
    const char *name;
    bool binary;        /* one output, two classes */
    bool probabilities; /* the answer is probabilities, else scores */
    /* scores [outputs] -> answer [soma_loss_answers(loss, outputs)] */
    void (*answer)(int outputs, const float *scores, float *answer);
    /* The loss of one row; d [outputs] receives dL/dscores unless NULL.
     * `smoothing` in [0, 1) spreads that share of the target evenly over the
     * classes; losses without probabilities ignore it. */
    float (*gradient)(int outputs, const float *scores, int label,
                      float smoothing, float *d);
} soma_loss;

/* SOMA_E_NOT_FOUND lists the known names. */
soma_status soma_loss_find(const char *name, const soma_loss **loss,
                           soma_error *err);

/* Row i of the table, NULL past its end. */
const soma_loss *soma_loss_at(int i);

/* How many numbers an answer has: 2 for logistic, else `outputs`. */
int soma_loss_answers(const soma_loss *loss, int outputs);

/* The class that the scores decide for; ties go to the lower one. */
int soma_loss_decide(const soma_loss *loss, int outputs, const float *scores);

#endif

/* Scoring predictions against labels: accuracy, mean loss, and the confusion
 * matrix with what follows from it.
 */
#ifndef SOMA_CORE_SCORE_H
#define SOMA_CORE_SCORE_H

#include "core/model.h"

#include <stdint.h>

typedef struct soma_score {
    int classes;
    int64_t examples, correct;
    double loss;        /* sum over the examples */
    int64_t *confusion; /* [label x predicted], classes x classes */
} soma_score;

soma_status soma_score_create(soma_score *score, int classes, soma_error *err);
void soma_score_free(soma_score *score);

/* Takes in `rows` rows of scores [rows x outputs] with their labels. */
void soma_score_add(soma_score *score, const soma_spec *spec, int rows,
                    const float *scores, const int *labels);

/* Shares; 0 where nothing was counted. */
double soma_score_accuracy(const soma_score *score);
double soma_score_loss(const soma_score *score); /* mean */
double soma_score_precision(const soma_score *score, int class);
double soma_score_recall(const soma_score *score, int class);
int64_t soma_score_support(const soma_score *score, int class);

#endif

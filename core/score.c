#include "core/score.h"

#include "core/loss.h"

#include <stdlib.h>

soma_status
soma_score_create(soma_score *score, int classes, soma_error *err)
{
    *score = (soma_score){.classes = classes};
    size_t cells = (size_t)classes * (size_t)classes;
    score->confusion = calloc(cells, sizeof *score->confusion);
    if (!score->confusion)
        return soma_error_memory(err, "a confusion matrix");
    return SOMA_OK;
}

void
soma_score_free(soma_score *score)
{
    free(score->confusion);
    score->confusion = NULL;
}

static int64_t *
cell(const soma_score *score, int label, int predicted)
{
    return &score->confusion[(size_t)label * (size_t)score->classes +
                             (size_t)predicted];
}

void
soma_score_add(soma_score *score, const soma_spec *spec, int rows,
               const float *scores, const int *labels)
{
    int outputs = spec->outputs;
    for (int r = 0; r < rows; r++, scores += outputs) {
        int predicted = soma_loss_decide(spec->loss, outputs, scores);
        score->loss +=
            (double)spec->loss->gradient(outputs, scores, labels[r], 0, NULL);
        score->examples++;
        score->correct += predicted == labels[r];
        ++*cell(score, labels[r], predicted);
    }
}

static double
share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

double
soma_score_accuracy(const soma_score *score)
{
    return share(score->correct, score->examples);
}

double
soma_score_loss(const soma_score *score)
{
    return score->examples ? score->loss / (double)score->examples : 0;
}

double
soma_score_precision(const soma_score *score, int class)
{
    int64_t predicted = 0;
    for (int label = 0; label < score->classes; label++)
        predicted += *cell(score, label, class);
    return share(*cell(score, class, class), predicted);
}

double
soma_score_recall(const soma_score *score, int class)
{
    return share(*cell(score, class, class), soma_score_support(score, class));
}

int64_t
soma_score_support(const soma_score *score, int class)
{
    int64_t support = 0;
    for (int predicted = 0; predicted < score->classes; predicted++)
        support += *cell(score, class, predicted);
    return support;
}

/* Fitting a model to a dataset: mini-batch SGD over epochs, on all cores.
 *
 * The rows of a batch are divided between the threads; each takes the
 * gradient of its share, then all add up and apply the shares of one stretch
 * of the parameters each, in the order of the threads. So the same seed and
 * the same number of threads give the same weights, bit for bit.
 */
#ifndef SOMA_ENGINE_FIT_H
#define SOMA_ENGINE_FIT_H

#include "core/augment.h"
#include "core/io/dataset.h"
#include "core/sgd.h"

typedef struct soma_fit {
    soma_sgd sgd; /* its rate is the highest of the schedule */
    int epochs;   /* passes over the training rows */
    int batch;    /* rows of one step */
    float warmup; /* epochs in which the rate grows from 0 */
    bool cosine;  /* the rate then falls to 0 along a cosine, else stays */
    float dropout, smoothing; /* as in pass.h */
    float validation;         /* share of the rows held out, [0, 1) */
    soma_augment augment;
    uint64_t seed;
    int threads;
} soma_fit;

/* How far it is. Shown after each batch (epoch_done false) and each epoch. */
typedef struct soma_fit_progress {
    int epoch, epochs; /* of the epoch at work or just done, from 1 */
    bool epoch_done;
    double done;          /* share of all the work, 0..1 */
    double rows_a_second; /* of training, over this epoch */
    double seconds_left;
    double loss; /* mean training loss of this epoch so far */
    double validation_accuracy, validation_loss; /* of the last epoch done;
                                                     accuracy -1: none */
} soma_fit_progress;

/* Called on the thread of soma_fit_run; false stops the fit. */
typedef bool (*soma_fit_watch)(const soma_fit_progress *progress, void *arg);

typedef struct soma_fit_result {
    int epochs_done; /* whole epochs */
    int best_epoch;  /* whose weights the model holds now */
    bool stopped;    /* by the watcher */
    double loss;     /* mean training loss of the last epoch */
    double validation_accuracy, validation_loss; /* of best_epoch, or -1 */
    double seconds;
} soma_fit_result;

/* SOMA_E_ARGUMENT names the setting that does not fit. */
soma_status soma_fit_check(const soma_fit *fit, const soma_input *input,
                           const soma_dataset *dataset, soma_error *err);

/* Trains `model` in place. With rows held out, it ends with the weights of
 * the epoch that scored best on them, else with the last. SOMA_E_NOT_FINITE
 * when the loss is no longer finite: the model then holds the best weights
 * there were. */
soma_status soma_fit_run(const soma_fit *fit, soma_model *model,
                         const soma_dataset *dataset, soma_fit_watch watch,
                         void *arg, soma_fit_result *result, soma_error *err);

#endif

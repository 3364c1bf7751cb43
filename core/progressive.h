/* Progressive validation: each example is predicted before it is learned, so
 * the stream itself is a test set (Blum, Kalai and Langford 1999).
 */
#ifndef SOMA_CORE_PROGRESSIVE_H
#define SOMA_CORE_PROGRESSIVE_H

#include <stdbool.h>
#include <stdint.h>

enum { SOMA_WINDOW = 1000, SOMA_CALIBRATION_BINS = 10 };

/* What was predicted for one example. */
typedef struct soma_prediction {
    float loss;
    float confidence; /* probability of the predicted class; -1: the loss gives
                         none */
    int32_t label, predicted;
} soma_prediction;

/* A plain value without padding: it is saved as it stands. */
typedef struct soma_progressive {
    uint64_t examples; /* learned since version 0 */
    /* Means that fade: each example counts 0.998 times the one after it. */
    double fading_accuracy, fading_loss;
    /* Page-Hinkley test on the loss (Page 1954): it rises by what the loss
     * exceeds its own mean, and alarms when it has risen too far. */
    uint64_t drift_examples; /* since the last alarm */
    double drift_mean, drift_sum;
    uint64_t alarms;
    uint64_t last_alarm;                 /* version, 0: never */
    soma_prediction window[SOMA_WINDOW]; /* example n at n % SOMA_WINDOW */
} soma_progressive;

void soma_progressive_add(soma_progressive *progressive, uint64_t version,
                          const soma_prediction *prediction);

/* What the window says, over all classes or those of one label. */
typedef struct soma_progress_report {
    int examples; /* in the window */
    double accuracy, loss;
    double calibration_error; /* expected calibration error, 10 bins (Guo et
                                 al. 2017); -1: no probabilities */
} soma_progress_report;

/* label -1: all. */
soma_progress_report
soma_progressive_report(const soma_progressive *progressive, int label);

#endif

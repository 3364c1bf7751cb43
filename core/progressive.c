#include "core/progressive.h"

#include <math.h>

/* Of the Page-Hinkley test: a rise that is no alarm, the sum that is one, the
 * least examples, and what one loss may count at most. */
static const double TOLERANCE = 0.05, THRESHOLD = 30, MOST_LOSS = 5;
enum { LEAST = 30 };

static const double FADE = 0.998;

static void
watch_drift(soma_progressive *p, uint64_t version, double loss)
{
    loss = loss < MOST_LOSS ? loss : MOST_LOSS;
    p->drift_examples++;
    p->drift_mean += (loss - p->drift_mean) / (double)p->drift_examples;
    p->drift_sum += loss - p->drift_mean - TOLERANCE;
    if (p->drift_sum < 0)
        p->drift_sum = 0;
    if (p->drift_examples < LEAST || p->drift_sum < THRESHOLD)
        return;
    p->alarms++;
    p->last_alarm = version;
    p->drift_examples = 0;
    p->drift_mean = p->drift_sum = 0;
}

void
soma_progressive_add(soma_progressive *p, uint64_t version,
                     const soma_prediction *prediction)
{
    bool right = prediction->label == prediction->predicted;
    double loss = (double)prediction->loss;
    p->window[p->examples % SOMA_WINDOW] = *prediction;
    p->examples++;
    /* The first ones are a plain mean, so that none weighs too much. */
    double share = 1 / (double)p->examples;
    share = share > 1 - FADE ? share : 1 - FADE;
    p->fading_accuracy += share * (right - p->fading_accuracy);
    p->fading_loss += share * (loss - p->fading_loss);
    watch_drift(p, version, loss);
}

typedef struct bin {
    int count, right;
    double confidence;
} bin;

static double
calibration_error(const bin *bins, int count)
{
    double sum = 0;
    for (int i = 0; i < SOMA_CALIBRATION_BINS; i++)
        sum += fabs(bins[i].right - bins[i].confidence);
    return count ? sum / count : 0;
}

soma_progress_report
soma_progressive_report(const soma_progressive *p, int label)
{
    soma_progress_report report = {0};
    bin bins[SOMA_CALIBRATION_BINS] = {{0, 0, 0}};
    bool probabilities = true;
    int filled = p->examples < SOMA_WINDOW ? (int)p->examples : SOMA_WINDOW;
    for (int i = 0; i < filled; i++) {
        const soma_prediction *one = &p->window[i];
        if (label >= 0 && one->label != label)
            continue;
        bool right = one->label == one->predicted;
        report.examples++;
        report.accuracy += right;
        report.loss += (double)one->loss;
        probabilities = probabilities && one->confidence >= 0;
        /* Saved states are not to be trusted: it may be any float. */
        float place = one->confidence * SOMA_CALIBRATION_BINS;
        int at = place >= 0 ? SOMA_CALIBRATION_BINS - 1 : 0;
        if (place >= 0 && place < SOMA_CALIBRATION_BINS)
            at = (int)place;
        bins[at].count++;
        bins[at].right += right;
        bins[at].confidence += (double)one->confidence;
    }
    report.calibration_error =
        probabilities ? calibration_error(bins, report.examples) : -1;
    if (report.examples) {
        report.accuracy /= report.examples;
        report.loss /= report.examples;
    }
    return report;
}

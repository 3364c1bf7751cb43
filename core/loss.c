#include "core/loss.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Scores far enough apart have a loss beyond float32: its largest number then
 * stands for it, since a loss must be finite. NaN stays NaN. */
static float
bounded(double loss)
{
    return loss > (double)FLT_MAX ? FLT_MAX : (float)loss;
}

static float
largest(int count, const float *s)
{
    float max = s[0];
    for (int i = 1; i < count; i++)
        max = s[i] > max ? s[i] : max;
    return max;
}

/* The largest score is subtracted first, so that no exponential overflows
 * and the sum is at least 1. */
static void
softmax_answer(int outputs, const float *s, float *p)
{
    float max = largest(outputs, s), sum = 0;
    for (int i = 0; i < outputs; i++)
        sum += p[i] = expf(s[i] - max);
    for (int i = 0; i < outputs; i++)
        p[i] /= sum;
}

/* L = -sum_i t_i log p_i with t = (1 - e) onehot(y) + e / K and
 * log p_i = s_i - max - log sum_j exp(s_j - max);  dL/ds = p - t. */
static float
softmax_gradient(int outputs, const float *s, int label, float smoothing,
                 float *d)
{
    float max = largest(outputs, s), sum = 0;
    double shift = 0;
    for (int i = 0; i < outputs; i++) {
        sum += expf(s[i] - max);
        shift += (double)s[i] - (double)max;
    }
    if (d) {
        float even = smoothing / (float)outputs;
        for (int i = 0; i < outputs; i++)
            d[i] = expf(s[i] - max) / sum - even;
        d[label] -= 1 - smoothing;
    }
    double log_sum = (double)logf(sum);
    double loss = log_sum - ((double)s[label] - (double)max);
    if (smoothing > 0)
        loss = (1 - (double)smoothing) * loss +
               (double)smoothing * (log_sum - shift / outputs);
    return bounded(loss);
}

static float
sigmoid(float s)
{
    return 1.0f / (1.0f + expf(-s));
}

/* 1 - p is computed as sigmoid(-s): it keeps its digits where p is near 1. */
static void
logistic_answer(int outputs, const float *s, float *p)
{
    (void)outputs;
    p[0] = sigmoid(-s[0]);
    p[1] = sigmoid(s[0]);
}

/* log(1 + e^x) without overflow. */
static float
softplus(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

static float
logistic_gradient(int outputs, const float *s, int label, float smoothing,
                  float *d)
{
    (void)outputs;
    float target = label ? 1 - smoothing / 2 : smoothing / 2;
    if (d)
        d[0] = smoothing > 0 ? sigmoid(s[0]) - target
               : label       ? -sigmoid(-s[0])
                             : sigmoid(s[0]);
    return target * softplus(-s[0]) + (1 - target) * softplus(s[0]);
}

static void
scores_answer(int outputs, const float *s, float *answer)
{
    memcpy(answer, s, (size_t)outputs * sizeof *answer);
}

static float
hinge_gradient(int outputs, const float *s, int label, float smoothing,
               float *d)
{
    (void)outputs, (void)smoothing;
    float sign = label ? 1.0f : -1.0f;
    float margin = 1 - sign * s[0];
    if (d)
        d[0] = margin > 0 ? -sign : 0;
    return margin > 0 ? margin : 0;
}

static float
multiclass_hinge_gradient(int outputs, const float *s, int label,
                          float smoothing, float *d)
{
    (void)smoothing;
    float loss = 0, violations = 0;
    for (int i = 0; i < outputs; i++) {
        float margin = s[i] - s[label] + 1;
        bool violates = i != label && margin > 0;
        if (violates) {
            loss += margin;
            violations++;
        }
        if (d)
            d[i] = violates ? 1 : 0;
    }
    if (d)
        d[label] = -violations;
    return bounded((double)loss);
}

static const soma_loss table[] = {
    {"softmax_cross_entropy", false, true, softmax_answer, softmax_gradient},
    {"logistic", true, true, logistic_answer, logistic_gradient},
    {"hinge", true, false, scores_answer, hinge_gradient},
    {"multiclass_hinge", false, false, scores_answer,
     multiclass_hinge_gradient},
};

enum { COUNT = sizeof table / sizeof *table };

const soma_loss *
soma_loss_at(int i)
{
    return i >= 0 && i < COUNT ? &table[i] : NULL;
}

soma_status
soma_loss_find(const char *name, const soma_loss **loss, soma_error *err)
{
    char known[128] = "";
    for (int i = 0; i < COUNT; i++) {
        if (!strcmp(name, table[i].name)) {
            *loss = &table[i];
            return SOMA_OK;
        }
        strcat(strcat(known, i ? ", " : ""), table[i].name);
    }
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "unknown loss \"%.64s\"; there are: %s", name, known);
}

int
soma_loss_answers(const soma_loss *loss, int outputs)
{
    return loss->binary && loss->probabilities ? 2 : outputs;
}

int
soma_loss_decide(const soma_loss *loss, int outputs, const float *scores)
{
    if (loss->binary)
        return scores[0] > 0;
    int best = 0;
    for (int i = 1; i < outputs; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

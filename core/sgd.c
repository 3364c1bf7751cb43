#include "core/sgd.h"

#include <math.h>

static soma_status
check_field(const char *name, float value, float low, float high,
            soma_error *err)
{
    if (value >= low && value <= high)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_ARGUMENT, "%s: expected %g to %g, got %g",
                          name, (double)low, (double)high, (double)value);
}

soma_status
soma_sgd_check(const soma_sgd *sgd, soma_error *err)
{
    soma_status status = check_field("learning rate", sgd->rate, 0, 1e3f, err);
    if (!status)
        status = check_field("momentum", sgd->momentum, 0, 0.9999f, err);
    if (!status)
        status = check_field("L2", sgd->l2, 0, 1e3f, err);
    if (!status)
        status = check_field("clip", sgd->clip, 0, 1e30f, err);
    return status;
}

float
soma_sgd_clip_factor(const soma_sgd *sgd, double norm)
{
    if (sgd->clip <= 0 || norm <= (double)sgd->clip)
        return 1;
    return (float)((double)sgd->clip / norm);
}

double
soma_sgd_square_sum(const float *grad, size_t from, size_t to)
{
    /* Eight sums, so that the compiler may use vectors; their order is
     * fixed, so the result is too. */
    double sum[8] = {0};
    size_t i = from;
    for (; i + 8 <= to; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += (double)grad[i + k] * (double)grad[i + k];
    for (; i < to; i++)
        sum[0] += (double)grad[i] * (double)grad[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
           ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* The update of one stretch of floats that shrink alike. */
static void
update(const soma_sgd *sgd, float step, float shrink, size_t count, float *w,
       float *v, const float *g)
{
    float momentum = sgd->momentum;
    if (momentum <= 0)
        for (size_t i = 0; i < count; i++)
            w[i] = shrink * w[i] - step * g[i];
    else if (!sgd->nesterov)
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] - step * g[i];
            w[i] = shrink * w[i] + v[i];
        }
    else
        for (size_t i = 0; i < count; i++) {
            v[i] = momentum * v[i] - step * g[i];
            w[i] = shrink * w[i] + momentum * v[i] - step * g[i];
        }
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void
soma_sgd_apply(const soma_sgd *sgd, float scale, soma_model *model,
               float *velocity, const float *grad, size_t from, size_t to)
{
    float step = sgd->rate * scale, shrink = 1 - sgd->rate * sgd->l2;
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        size_t edges[3] = {layer->weights, layer->bias,
                           layer->bias + (size_t)layer->out};
        for (int k = 0; k < 2; k++) {
            size_t a = larger(from, edges[k]), b = smaller(to, edges[k + 1]);
            if (a < b)
                update(sgd, step, k == 0 ? shrink : 1, b - a, model->params + a,
                       velocity ? velocity + a : NULL, grad + a);
        }
    }
}

/* Whether every number of the step stays well below float32's largest. No
 * update adds more than |v| + 2 |step g|, each bounded by its norm. */
static bool
stays_finite(const soma_sgd *sgd, const soma_model *model,
             const float *velocity, double step_norm)
{
    const double bound = 1e37;
    size_t n = model->spec.trainable;
    double w = sqrt(soma_sgd_square_sum(model->params, 0, n));
    double v = velocity ? sqrt(soma_sgd_square_sum(velocity, 0, n)) : 0;
    double shrink = fabs(1 - (double)sgd->rate * (double)sgd->l2);
    return w * (1 + shrink) + v + 2 * step_norm < bound; /* false for NaN */
}

soma_status
soma_sgd_step(const soma_sgd *sgd, soma_model *model, float *velocity,
              const float *grad, soma_error *err)
{
    size_t n = model->spec.trainable;
    double norm = sqrt(soma_sgd_square_sum(grad, 0, n));
    if (!isfinite(norm))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "the gradient is not finite");
    float factor = soma_sgd_clip_factor(sgd, norm);
    if (!stays_finite(sgd, model, velocity,
                      norm * (double)factor * (double)sgd->rate))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "the step would leave float32's range");
    soma_sgd_apply(sgd, factor, model, velocity, grad, 0, n);
    return SOMA_OK;
}

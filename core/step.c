#include "core/step.h"

#include "core/kernel.h"
#include "core/matrix.h"

#include <math.h>

/* No float of a step comes near float32's largest, 3.4e38. */
static const double BOUND = 1e37;

static double
dot_exactly(const float *a, const float *b, int count)
{
    /* Eight sums, as in soma_sgd_square_sum. */
    double sum[8] = {0};
    int i = 0;
    for (; i + 8 <= count; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < count; i++)
        sum[0] += (double)a[i] * (double)b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
           ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Clipping needs no more digits than float32 has, but all of its range. */
static double
dot(const float *a, const float *b, int count)
{
    float sum = soma_kernel_dot(a, b, count);
    return isfinite(sum) ? (double)sum : dot_exactly(a, b, count);
}

/* Of the gradient: the square of its norm, and the sum of the norms of the
 * rows' shares, which bounds every number that the update adds.
 *
 *     |sum_r d_r (x) a_r|^2 = sum_r,s (d_r . d_s) (a_r . a_s)
 *
 * with a 1 behind each a_r for the bias. */
typedef struct size_of_gradient {
    double square, shares;
} size_of_gradient;

static size_of_gradient
measure(const soma_model *model, const soma_workspace *ws)
{
    size_of_gradient size = {0, 0};
    int rows = soma_pass_rows(ws);
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        const float *a = soma_pass_entered(ws, i), *d = soma_pass_delta(ws, i);
        for (int r = 0; r < rows; r++)
            for (int s = r; s < rows; s++) {
                const float *ar = a + (size_t)r * (size_t)layer->in;
                const float *as = a + (size_t)s * (size_t)layer->in;
                double both =
                    dot(d + (size_t)r * (size_t)layer->out,
                        d + (size_t)s * (size_t)layer->out, layer->out) *
                    (1 + dot(ar, as, layer->in));
                size.square += r == s ? both : 2 * both;
                size.shares += r == s ? sqrt(both) : 0;
            }
    }
    /* Rounding may leave a little less than nothing. */
    size.square = size.square < 0 ? 0 : size.square;
    return size;
}

/* Whether the weights stay in range; keeps step->weights above their norm. */
static bool
stays_finite(soma_step *step, const soma_sgd *sgd, const soma_model *model,
             double added)
{
    double shrink = fabs(1 - (double)sgd->rate * (double)sgd->l2);
    double grown = shrink > 1 ? shrink : 1;
    double after = step->weights * grown + added;
    if (!step->known || !(after < BOUND)) {
        size_t n = model->spec.trainable;
        step->weights = sqrt(soma_sgd_square_sum(model->params, 0, n));
        step->known = true;
        after = step->weights * grown + added;
    }
    if (!(after < BOUND)) /* nor for NaN */
        return false;
    step->weights = after * (1 + 1e-6); /* float32 rounds */
    return true;
}

/* The bias first: what is expected begins with it. */
static void
apply_bias(const soma_layer *layer, int rows, const float *d, float rate,
           float *bias)
{
    for (int r = 0; r < rows; r++, d += layer->out)
        for (int j = 0; j < layer->out; j++)
            bias[j] -= rate * d[j];
}

static void
apply(soma_model *model, soma_workspace *ws, float rate, float shrink,
      const float *next)
{
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        const float *d = soma_pass_delta(ws, i);
        soma_kernel_step step = {.in = layer->in,
                                 .out = layer->out,
                                 .rows = soma_pass_rows(ws),
                                 .a = soma_pass_entered(ws, i),
                                 .rate = rate,
                                 .shrink = shrink};
        float *z = NULL;
        apply_bias(layer, step.rows, d, rate, soma_model_bias(model, i));
        if (i == 0 && next)
            step.next = soma_pass_expect(model, ws, next, &z);
        for (int first = 0; first < layer->out; first += SOMA_PANEL) {
            int left = layer->out - first;
            step.width = left < SOMA_PANEL ? left : SOMA_PANEL;
            step.d = d + first;
            step.y = z ? z + first : NULL;
            soma_kernel_update(&step, soma_model_weights(model, i) +
                                          (size_t)first * (size_t)layer->in);
        }
    }
}

soma_status
soma_step_apply(soma_step *step, const soma_sgd *sgd, soma_model *model,
                soma_workspace *ws, const float *next, soma_error *err)
{
    size_of_gradient size = measure(model, ws);
    double norm = sqrt(size.square);
    if (!isfinite(norm) || !isfinite(size.shares))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "the gradient is not finite");
    float rate = sgd->rate * soma_sgd_clip_factor(sgd, norm);
    if (!stays_finite(step, sgd, model, (double)rate * size.shares))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "the step would leave float32's range");
    soma_pass_forget(ws);
    apply(model, ws, rate, 1 - sgd->rate * sgd->l2, next);
    return SOMA_OK;
}

/* The same networks once more, in double precision and the plainest way:
 * one row, one unit after the other. It shares no arithmetic with core, and
 * says how close a point is to a kink, where derivatives do not exist.
 */
#ifndef SOMA_TESTS_UNIT_REFERENCE_H
#define SOMA_TESTS_UNIT_REFERENCE_H

#include "tests/unit/nets.h"

typedef struct reference {
    const soma_spec *spec;
    double *params; /* as nets_unpack lays them out */
    const float *mean, *std;
    /* For each layer but the last [rows x units], 0 or a factor; or NULL. */
    double *const *masks;
    double *z, *a, *x; /* scratch of one layer */
    double kink;       /* the least distance from one in the last call */
} reference;

static inline reference
reference_create(const soma_model *model)
{
    const soma_spec *spec = &model->spec;
    int widest = spec->input.size;
    for (int i = 0; i < spec->depth; i++)
        if (spec->layers[i].out > widest)
            widest = spec->layers[i].out;
    reference net = {.spec = spec,
                     .mean = soma_model_mean(model),
                     .std = soma_model_std(model)};
    net.params = nets_alloc(spec->trainable, sizeof(double));
    net.z = nets_alloc((size_t)widest, sizeof(double));
    net.a = nets_alloc((size_t)widest, sizeof(double));
    net.x = nets_alloc((size_t)widest, sizeof(double));
    float *rows = nets_unpack(spec, model->params);
    for (size_t i = 0; i < spec->trainable; i++)
        net.params[i] = (double)rows[i];
    free(rows);
    return net;
}

static inline void
reference_free(reference *net)
{
    free(net->params);
    free(net->z);
    free(net->a);
    free(net->x);
}

static inline void
reference_kink(reference *net, double distance)
{
    if (!(fabs(distance) >= net->kink))
        net->kink = fabs(distance);
}

static inline double
reference_maxout(reference *net, const soma_layer *layer, const double *z)
{
    double first = z[0], second = -INFINITY;
    for (int p = 1; p < layer->pieces; p++) {
        double piece = z[nets_at(p, layer->units)];
        second = fmax(second, fmin(first, piece));
        first = fmax(first, piece);
    }
    reference_kink(net, first - second);
    return first;
}

static inline double
reference_unit(reference *net, const soma_layer *layer, const double *z)
{
    switch (layer->activation->name[0]) {
    case 's':
        return 1 / (1 + exp(-z[0]));
    case 't':
        return tanh(z[0]);
    case 'r':
        reference_kink(net, z[0]);
        return fmax(0, z[0]);
    case 'l':
        reference_kink(net, z[0]);
        return z[0] > 0 ? z[0] : (double)layer->slope * z[0];
    case 'm':
        return reference_maxout(net, layer, z);
    default:
        assert_string_equal(layer->activation->name, "identity");
        return z[0];
    }
}

static inline void
reference_layer(reference *net, int i, int row)
{
    const soma_layer *layer = &net->spec->layers[i];
    const double *w = net->params + layer->weights;
    const double *b = net->params + layer->bias;
    for (int j = 0; j < layer->out; j++, w += layer->in) {
        double sum = b[j];
        for (int k = 0; k < layer->in; k++)
            sum += w[k] * net->x[k];
        net->z[j] = sum;
    }
    bool masked = net->masks && i + 1 < net->spec->depth;
    for (int u = 0; u < layer->units; u++) {
        net->a[u] = reference_unit(net, layer, net->z + u);
        if (masked)
            net->a[u] *= net->masks[i][nets_at(row, layer->units) + (size_t)u];
    }
    memcpy(net->x, net->a, (size_t)layer->units * sizeof *net->x);
}

static inline double
reference_softmax(int k, const double *s, int label, double smoothing)
{
    double max = s[0], sum = 0, loss = 0;
    for (int i = 1; i < k; i++)
        max = fmax(max, s[i]);
    for (int i = 0; i < k; i++)
        sum += exp(s[i] - max);
    for (int i = 0; i < k; i++) {
        double target = smoothing / k + (i == label ? 1 - smoothing : 0);
        if (target > 0)
            loss -= target * (s[i] - max - log(sum));
    }
    return loss;
}

static inline double
reference_loss_of(reference *net, const soma_loss *loss, int k, const double *s,
                  int label, double smoothing)
{
    double sum = 0, sign = label ? 1 : -1;
    switch (loss->name[0]) {
    case 's':
        return reference_softmax(k, s, label, smoothing);
    case 'l': /* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|) */
        sum = log1p(exp(-fabs(s[0])));
        return (1 - smoothing / 2) * (sum + fmax(0, -sign * s[0])) +
               smoothing / 2 * (sum + fmax(0, sign * s[0]));
    case 'h':
        reference_kink(net, 1 - sign * s[0]);
        return fmax(0, 1 - sign * s[0]);
    default:
        assert_string_equal(loss->name, "multiclass_hinge");
        for (int i = 0; i < k; i++)
            if (i != label) {
                reference_kink(net, s[i] - s[label] + 1);
                sum += fmax(0, s[i] - s[label] + 1);
            }
        return sum;
    }
}

static inline void
reference_enter(reference *net, const float *x)
{
    const soma_input *input = &net->spec->input;
    for (int i = 0; i < input->size; i++) {
        net->x[i] = (double)x[i];
        if (input->normals) {
            int c = i / (input->size / input->normals);
            net->x[i] =
                (net->x[i] - (double)net->mean[c]) / (double)net->std[c];
        }
    }
}

/* The mean loss; scores [rows x outputs] unless NULL. labels may be NULL. */
static inline double
reference_run(reference *net, int rows, const float *x, const int *labels,
              double smoothing, double *scores)
{
    const soma_spec *spec = net->spec;
    double sum = 0;
    net->kink = INFINITY;
    for (int r = 0; r < rows; r++) {
        reference_enter(net, x + nets_at(r, spec->input.size));
        for (int i = 0; i < spec->depth; i++)
            reference_layer(net, i, r);
        if (scores)
            memcpy(scores + nets_at(r, spec->outputs), net->a,
                   (size_t)spec->outputs * sizeof *scores);
        if (labels)
            sum += reference_loss_of(net, spec->loss, spec->outputs, net->a,
                                     labels[r], smoothing);
    }
    return sum / rows;
}

#endif

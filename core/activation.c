#include "core/activation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Saturated: within this of a limit of the function. */
static const float SATURATION = 1e-3f;

static size_t
values_of(const soma_layer *layer, int rows)
{
    return (size_t)rows * (size_t)layer->out;
}

static void
identity_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    if (a != z)
        memcpy(a, z, values_of(layer, rows) * sizeof *a);
}

static void
identity_backward(const soma_layer *layer, int rows, const float *z,
                  const float *a, const float *da, float *dz)
{
    (void)z, (void)a;
    if (dz != da)
        memcpy(dz, da, values_of(layer, rows) * sizeof *dz);
}

static void
sigmoid_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    /* expf(-z) overflows to infinity for z below -88: 1/(1+inf) is 0. */
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        a[i] = 1.0f / (1.0f + expf(-z[i]));
}

static void
sigmoid_backward(const soma_layer *layer, int rows, const float *z,
                 const float *a, const float *da, float *dz)
{
    (void)z;
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        dz[i] = da[i] * a[i] * (1.0f - a[i]);
}

static bool
sigmoid_is_saturated(float a)
{
    return a <= SATURATION || a >= 1.0f - SATURATION;
}

/* tanh to 2 units in the last place. C libraries round tanhf differently from
 * release to release (glibc changed it in 2.41), which a journal that is
 * learned again by another would show; expf has stayed. Below SMALL the Taylor
 * series; the next term is less than 1e-8 of it. */
static float
tangent(float z)
{
    static const float SMALL = 0.25f;
    float size = fabsf(z), square = z * z;
    if (size < SMALL)
        return z +
               z * square *
                   (-1.0f / 3 +
                    square * (2.0f / 15 + square * (-17.0f / 315 +
                                                    square * (62.0f / 2835))));
    float e = expf(-2 * size);
    return copysignf((1 - e) / (1 + e), z);
}

static void
tanh_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        a[i] = tangent(z[i]);
}

static void
tanh_backward(const soma_layer *layer, int rows, const float *z, const float *a,
              const float *da, float *dz)
{
    (void)z;
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        dz[i] = da[i] * (1.0f - a[i] * a[i]);
}

static bool
tanh_is_saturated(float a)
{
    return fabsf(a) >= 1.0f - SATURATION;
}

/* NaN, as from a sum of both infinities, stays NaN: it must not become a
 * number that looks like an answer. */
static float
larger(float a, float b)
{
    float max = a > b ? a : b; /* b if it is NaN */
    return a != a ? a : max;
}

static void
relu_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        a[i] = larger(z[i], 0);
}

static void
relu_backward(const soma_layer *layer, int rows, const float *z, const float *a,
              const float *da, float *dz)
{
    (void)a;
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        dz[i] = z[i] > 0 ? da[i] : 0;
}

static bool
relu_is_dead(float a)
{
    return a <= 0;
}

static void
leaky_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    float slope = layer->slope;
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        a[i] = z[i] > 0 ? z[i] : slope * z[i];
}

static void
leaky_backward(const soma_layer *layer, int rows, const float *z,
               const float *a, const float *da, float *dz)
{
    (void)a;
    float slope = layer->slope;
    for (size_t i = 0, n = values_of(layer, rows); i < n; i++)
        dz[i] = z[i] > 0 ? da[i] : slope * da[i];
}

/* Maxout (Goodfellow et al. 2013): the largest of a unit's pieces; NaN if one
 * of them is. */
static void
maxout_forward(const soma_layer *layer, int rows, const float *z, float *a)
{
    size_t units = (size_t)layer->units;
    for (int r = 0; r < rows; r++, a += units) {
        memcpy(a, z, units * sizeof *a);
        z += units;
        for (int p = 1; p < layer->pieces; p++, z += units)
            for (size_t u = 0; u < units; u++)
                a[u] = larger(z[u], a[u]);
    }
}

/* The gradient goes to the piece that won, the first of equals. */
static void
maxout_backward(const soma_layer *layer, int rows, const float *z,
                const float *a, const float *da, float *dz)
{
    size_t units = (size_t)layer->units;
    size_t out = (size_t)layer->out;
    memset(dz, 0, values_of(layer, rows) * sizeof *dz);
    for (int r = 0; r < rows; r++, a += units, da += units) {
        for (size_t u = 0; u < units; u++) {
            size_t piece = u;
            while (piece + units < out && z[piece] < a[u])
                piece += units;
            dz[piece] = da[u];
        }
        z += out;
        dz += out;
    }
}

static const soma_activation table[] = {
    {"identity", NULL, 0, SOMA_INIT_GLOROT, SOMA_STUCK_NEVER, identity_forward,
     identity_backward, NULL},
    {"sigmoid", NULL, 0, SOMA_INIT_GLOROT, SOMA_STUCK_SATURATED,
     sigmoid_forward, sigmoid_backward, sigmoid_is_saturated},
    {"tanh", NULL, 0, SOMA_INIT_GLOROT, SOMA_STUCK_SATURATED, tanh_forward,
     tanh_backward, tanh_is_saturated},
    {"relu", NULL, 0, SOMA_INIT_HE, SOMA_STUCK_DEAD, relu_forward,
     relu_backward, relu_is_dead},
    {"leaky_relu", "slope", 0.01f, SOMA_INIT_HE, SOMA_STUCK_NEVER,
     leaky_forward, leaky_backward, NULL},
    {"maxout", "pieces", 2, SOMA_INIT_HE, SOMA_STUCK_NEVER, maxout_forward,
     maxout_backward, NULL},
};

enum { COUNT = sizeof table / sizeof *table };

const soma_activation *
soma_activation_at(int i)
{
    return i >= 0 && i < COUNT ? &table[i] : NULL;
}

soma_status
soma_activation_find(const char *name, const soma_activation **activation,
                     soma_error *err)
{
    char known[128] = "";
    for (int i = 0; i < COUNT; i++) {
        if (!strcmp(name, table[i].name)) {
            *activation = &table[i];
            return SOMA_OK;
        }
        strcat(strcat(known, i ? ", " : ""), table[i].name);
    }
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "unknown activation \"%.64s\"; there are: %s", name,
                          known);
}

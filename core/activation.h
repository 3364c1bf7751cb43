/* Activation functions: one row of a table each.
 *
 * forward:  a = f(z), z is row-major [rows x out], a is [rows x units]; a may
 *           be the same memory as z where pieces == 1.
 * backward: dz from da = dL/da and the z and a of the forward pass; dz may be
 *           the same memory as da where pieces == 1.
 * is_stuck: whether a unit with this activation is saturated, that is within
 *           1e-3 of a limit of the function, or dead, that is a rectifier at
 *           0: its gradient is (all but) 0.
 *
 * All work unit by unit, so a row's result does not depend on its neighbours.
 */
#ifndef SOMA_CORE_ACTIVATION_H
#define SOMA_CORE_ACTIVATION_H

#include "core/model.h"

typedef enum soma_init { SOMA_INIT_GLOROT, SOMA_INIT_HE } soma_init;

/* How a unit of this kind can be stuck. */
typedef enum soma_stuck {
    SOMA_STUCK_NEVER,
    SOMA_STUCK_SATURATED, /* gradient all but 0 for this example */
    SOMA_STUCK_DEAD       /* gradient 0 for this example */
} soma_stuck;

typedef struct soma_activation {
    const char *name;
    const char *parameter; /* "slope", "pieces" or NULL */
    float parameter_default;
    soma_init init;
    soma_stuck stuck;
    void (*forward)(const soma_layer *layer, int rows, const float *z,
                    float *a);
    void (*backward)(const soma_layer *layer, int rows, const float *z,
                     const float *a, const float *da, float *dz);
    bool (*is_stuck)(float a); /* NULL if stuck is SOMA_STUCK_NEVER */
} soma_activation;

/* SOMA_E_NOT_FOUND lists the known names. */
soma_status soma_activation_find(const char *name,
                                 const soma_activation **activation,
                                 soma_error *err);

/* Row i of the table, NULL past its end. */
const soma_activation *soma_activation_at(int i);

#endif

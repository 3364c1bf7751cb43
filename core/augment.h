/* Small random changes to a training picture, so that a model learns what
 * does not matter.
 */
#ifndef SOMA_CORE_AUGMENT_H
#define SOMA_CORE_AUGMENT_H

#include "core/model.h"
#include "core/rng.h"

typedef struct soma_augment {
    int shift; /* up to this many pixels in either direction */
    bool flip; /* left to right, every other time */
} soma_augment;

/* SOMA_E_ARGUMENT if the input's shape has no rows and columns, or is smaller
 * than the shift. */
soma_status soma_augment_check(const soma_augment *augment,
                               const soma_input *input, soma_error *err);

/* from [input.size] -> to [input.size]; they must not overlap. What a shift
 * uncovers is filled with the nearest edge. */
void soma_augment_apply(const soma_augment *augment, const soma_input *input,
                        soma_rng *rng, const float *from, float *to);

#endif

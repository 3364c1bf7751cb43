/* Examples within a model file; for checkpoint*.c alone.
 *
 *     memory.x       [n, size]   the base memory, to be rehearsed (rehearsal.h)
 *     memory.labels  [n]
 *     guard.x        [n, size]   held out, to judge the model by
 *     guard.labels   [n]
 *
 * x is U8 or a float in the input's own range, labels are U8, I32 or I64.
 */
#ifndef SOMA_CORE_IO_CHECKPOINT_EXAMPLES_H
#define SOMA_CORE_IO_CHECKPOINT_EXAMPLES_H

#include "core/io/checkpoint.h"

/* Whether a tensor of this name is one of the four. */
bool soma_checkpoint_names_examples(const char *name);

/* Reads both sets that are there into the checkpoint, whose model is. */
soma_status soma_checkpoint_load_examples(const soma_safetensors *st,
                                          soma_checkpoint *checkpoint,
                                          soma_error *err);

/* Adds the tensors of a set that is not empty; returns how many, 0 or 2. */
int soma_checkpoint_put_examples(const soma_memory *memory, bool guard,
                                 soma_tensor_out *tensors);

/* Labels within the classes, values finite. */
soma_status soma_checkpoint_check_examples(const soma_checkpoint *checkpoint,
                                           soma_error *err);

#endif

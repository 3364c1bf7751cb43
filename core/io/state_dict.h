/* PyTorch state_dicts. */
#ifndef SOMA_CORE_IO_STATE_DICT_H
#define SOMA_CORE_IO_STATE_DICT_H

#include "core/io/checkpoint.h"
#include "core/io/safetensors.h"

#include <jansson.h>

/* The tensors of one dense layer; bias is NULL if the file has none. */
typedef struct soma_dense {
    const soma_tensor *weight, *bias;
} soma_dense;

/* Finds the layers, in the natural order of their names. *layers is malloc'ed.
 * SOMA_E_UNSUPPORTED names a tensor that is none of theirs. */
soma_status soma_state_dict_layers(const soma_safetensors *st,
                                   soma_dense **layers, int *count,
                                   soma_error *err);

/* Puts into each entry of sidecar.layers the "units" that it leaves out, and
 * makes "layers" of "activation", "input.shape" of the first layer. */
soma_status soma_state_dict_units(const soma_dense *layers, int count,
                                  json_t *sidecar, soma_error *err);

/* The other way: a state_dict of nn.Sequential(nn.Linear, activation, ...),
 * "0.weight" [out, in], "0.bias" [out], "2.weight"...; the numbers of layers
 * count activations, identity has none. The normalisation is folded into the
 * first layer. SOMA_E_UNSUPPORTED for maxout, which PyTorch does not have;
 * SOMA_E_LIMIT where folding it leaves float32. */
soma_status soma_state_dict_build(const soma_checkpoint *checkpoint,
                                  soma_bytes *bytes, soma_error *err);

#endif

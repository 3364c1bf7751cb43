/* Writing model files (format: checkpoint.c). */
#include "core/io/checkpoint.h"
#include "core/io/checkpoint_examples.h"
#include "core/io/json.h"
#include "core/io/json_memory.h"
#include "core/io/quote.h"
#include "core/matrix.h"

#include <stdio.h>
#include <stdlib.h>

/* The JSON text of __metadata__.soma, to be freed; NULL: no memory. */
static char *
metadata_of(const soma_checkpoint *checkpoint)
{
    const soma_model *model = checkpoint->model;
    json_t *json = json_object();
    soma_json_set(&json, "format", json_integer(1));
    json_t *rest =
        soma_checkpoint_describe(&model->spec, model, &checkpoint->classes);
    if (json && (!rest || json_object_update(json, rest))) {
        json_decref(json);
        json = NULL;
    }
    json_decref(rest);
    if (checkpoint->training)
        soma_json_set(&json, "training", json_incref(checkpoint->training));
    if (checkpoint->made)
        soma_json_set(&json, "made", json_incref(checkpoint->made));
    /* 9 digits tell all float32 apart. */
    char *text =
        json ? soma_json_text(json, JSON_COMPACT | JSON_REAL_PRECISION(9))
             : NULL;
    json_decref(json);
    return text;
}

typedef struct layer_out {
    char weight[40], bias[40];
    float *rows;
} layer_out;

static soma_status
prepare_layer(const soma_model *model, int i, soma_dtype dtype, layer_out *out,
              soma_tensor_out *tensors, soma_error *err)
{
    const soma_layer *layer = &model->spec.layers[i];
    size_t weights = (size_t)layer->in * (size_t)layer->out;
    out->rows = malloc(weights * sizeof *out->rows);
    if (!out->rows)
        return soma_error_memory(err, "weights");
    soma_matrix_to_rows(layer->in, layer->out, soma_model_weights(model, i),
                        out->rows);
    snprintf(out->weight, sizeof out->weight, "layers.%d.weight", i);
    snprintf(out->bias, sizeof out->bias, "layers.%d.bias", i);
    soma_tensor_out weight = {.name = out->weight, .dtype = dtype};
    if (layer->pieces > 1)
        weight.shape[weight.rank++] = (uint64_t)layer->pieces;
    weight.shape[weight.rank++] = (uint64_t)layer->units;
    soma_tensor_out bias = weight;
    bias.name = out->bias;
    bias.values = soma_model_bias(model, i);
    weight.shape[weight.rank++] = (uint64_t)layer->in;
    weight.values = out->rows;
    tensors[0] = weight;
    tensors[1] = bias;
    return SOMA_OK;
}

static soma_status
add_name(json_t *seen, const char *name, int i, soma_error *err)
{
    char text[SOMA_QUOTE_SIZE];
    if (!*name)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "classes[%d]: the name is empty", i);
    if (json_object_get(seen, name))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "classes[%d]: the name \"%s\" stands there twice",
                              i, soma_quote(name, text));
    soma_json_memory_begin();
    if (!json_object_set_new(seen, name, json_true()))
        return SOMA_OK;
    /* Or else the call that takes any bytes tells them apart. */
    if (soma_json_memory_short() ||
        json_object_set_new_nocheck(seen, name, json_true()))
        return soma_error_memory(err, "names of classes");
    return soma_error_set(err, SOMA_E_ARGUMENT,
                          "classes[%d]: the name is not UTF-8", i);
}

soma_status
soma_classes_check(const soma_classes *classes, soma_error *err)
{
    json_t *seen = json_object();
    if (!seen)
        return soma_error_memory(err, "names of classes");
    soma_status status = SOMA_OK;
    for (int i = 0; i < classes->count && !status; i++)
        status = add_name(seen, classes->names[i], i, err);
    json_decref(seen);
    return status;
}

/* What would be refused when it is read must not be written. */
static soma_status
check(const soma_checkpoint *checkpoint, soma_dtype dtype, soma_error *err)
{
    const soma_model *model = checkpoint->model;
    if (dtype == SOMA_U8 || dtype == SOMA_I32)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "weights are written as F32, F16 or BF16");
    if (checkpoint->classes.count &&
        checkpoint->classes.count != model->spec.classes)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%d names of classes, the model has %d classes",
                              checkpoint->classes.count, model->spec.classes);
    if (!soma_model_finite(model))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "the model has weights that are not finite");
    soma_status status = soma_checkpoint_check_examples(checkpoint, err);
    return status ? status : soma_classes_check(&checkpoint->classes, err);
}

soma_status
soma_checkpoint_build(const soma_checkpoint *checkpoint, soma_dtype dtype,
                      soma_bytes *bytes, soma_error *err)
{
    *bytes = (soma_bytes){NULL, 0};
    soma_status status = check(checkpoint, dtype, err);
    if (status)
        return status;
    layer_out layers[SOMA_MAX_LAYERS] = {{.rows = NULL}};
    soma_tensor_out tensors[2 * SOMA_MAX_LAYERS + 4];
    int depth = checkpoint->model->spec.depth;
    for (int i = 0; i < depth && !status; i++)
        status = prepare_layer(checkpoint->model, i, dtype, &layers[i],
                               &tensors[(size_t)i * 2], err);
    int count = 2 * depth;
    count += soma_checkpoint_put_examples(&checkpoint->memory, false,
                                          tensors + count);
    count +=
        soma_checkpoint_put_examples(&checkpoint->guard, true, tensors + count);
    char key[] = "soma";
    soma_meta meta = {key, status ? NULL : metadata_of(checkpoint)};
    if (!status && !meta.value)
        status = soma_error_memory(err, "metadata");
    if (!status)
        status = soma_safetensors_build(tensors, count, &meta, 1, bytes, err);
    for (int i = 0; i < depth; i++)
        free(layers[i].rows);
    free(meta.value);
    return status;
}

soma_status
soma_checkpoint_write(const char *path, const soma_checkpoint *checkpoint,
                      soma_dtype dtype, soma_error *err)
{
    soma_bytes bytes;
    soma_status status = soma_checkpoint_build(checkpoint, dtype, &bytes, err);
    if (status) {
        soma_error_prefix(err, "%s", path);
        return status;
    }
    soma_piece piece = {bytes.data, bytes.size};
    status = soma_file_write(path, &piece, 1, err);
    soma_bytes_free(&bytes);
    return status;
}

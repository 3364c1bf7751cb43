/* Writing PyTorch state_dicts. */
#include "core/activation.h"
#include "core/io/state_dict.h"
#include "core/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dense_out {
    char weight[24], bias[24];
    float *rows, *offsets;
} dense_out;

/* W (x - mean) / std + b = (W / std) x + (b - W mean / std) */
static void
fold_normalisation(const soma_model *model, dense_out *out)
{
    const soma_input *input = &model->spec.input;
    const soma_layer *layer = &model->spec.layers[0];
    size_t in = (size_t)layer->in;
    size_t each = in / (size_t)(input->normals ? input->normals : 1);
    for (size_t j = 0; j < (size_t)layer->out && input->normals; j++) {
        double offset = (double)out->offsets[j];
        for (size_t i = 0; i < in; i++) {
            float *weight = &out->rows[j * in + i];
            double scaled =
                (double)*weight / (double)soma_model_std(model)[i / each];
            offset -= scaled * (double)soma_model_mean(model)[i / each];
            *weight = (float)scaled;
        }
        out->offsets[j] = (float)offset;
    }
}

static soma_status
prepare(const soma_model *model, int i, int number, dense_out *out,
        soma_tensor_out *tensors, soma_error *err)
{
    const soma_layer *layer = &model->spec.layers[i];
    size_t count = (size_t)layer->in * (size_t)layer->out;
    if (layer->pieces > 1)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "layers[%d]: PyTorch has no maxout; export to "
                              "ONNX instead",
                              i);
    out->rows = malloc(count * sizeof *out->rows);
    out->offsets = malloc((size_t)layer->out * sizeof *out->offsets);
    if (!out->rows || !out->offsets)
        return soma_error_memory(err, "weights");
    soma_matrix_to_rows(layer->in, layer->out, soma_model_weights(model, i),
                        out->rows);
    memcpy(out->offsets, soma_model_bias(model, i),
           (size_t)layer->out * sizeof *out->offsets);
    if (i == 0)
        fold_normalisation(model, out);
    for (size_t k = 0; k < count; k++)
        if (!isfinite(out->rows[k]))
            return soma_error_set(err, SOMA_E_LIMIT,
                                  "the normalisation cannot be folded into "
                                  "the first layer: beyond float32");
    snprintf(out->weight, sizeof out->weight, "%d.weight", number);
    snprintf(out->bias, sizeof out->bias, "%d.bias", number);
    tensors[0] =
        (soma_tensor_out){.name = out->weight,
                          .dtype = SOMA_F32,
                          .rank = 2,
                          .shape = {(uint64_t)layer->out, (uint64_t)layer->in},
                          .values = out->rows};
    tensors[1] = (soma_tensor_out){.name = out->bias,
                                   .dtype = SOMA_F32,
                                   .rank = 1,
                                   .shape = {(uint64_t)layer->out},
                                   .values = out->offsets};
    return SOMA_OK;
}

soma_status
soma_state_dict_build(const soma_checkpoint *checkpoint, soma_bytes *bytes,
                      soma_error *err)
{
    const soma_spec *spec = &checkpoint->model->spec;
    dense_out layers[SOMA_MAX_LAYERS] = {{.rows = NULL}};
    soma_tensor_out tensors[2 * SOMA_MAX_LAYERS];
    soma_status status = SOMA_OK;
    int number = 0;
    *bytes = (soma_bytes){NULL, 0};
    for (int i = 0; i < spec->depth && !status; i++) {
        status = prepare(checkpoint->model, i, number, &layers[i],
                         &tensors[(size_t)i * 2], err);
        number += strcmp(spec->layers[i].activation->name, "identity") ? 2 : 1;
    }
    /* What the safetensors package wants to see in PyTorch's files. */
    char key[] = "format", value[] = "pt";
    soma_meta meta = {key, value};
    if (!status)
        status = soma_safetensors_build(tensors, 2 * spec->depth, &meta, 1,
                                        bytes, err);
    for (int i = 0; i < spec->depth; i++) {
        free(layers[i].rows);
        free(layers[i].offsets);
    }
    return status;
}

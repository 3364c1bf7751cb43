/* A model file is a safetensors file (format: safetensors.c) with
 *
 *     __metadata__.soma     the spec as JSON text (checkpoint_spec.c)
 *     layers.<i>.weight     [out, in];  maxout: [pieces, units, in]
 *     layers.<i>.bias       [out];      maxout: [pieces, units]
 *
 * in F32, F16, BF16 or F64, for each layer i from 0; all values finite.
 * Names that begin with "memory." are kept for examples to rehearse and are
 * passed over; any other tensor is refused, so that nothing is dropped in
 * silence. A file without `soma` metadata may be a PyTorch state_dict: see
 * state_dict.c.
 */
#include "core/io/checkpoint.h"

#include "core/io/state_dict.h"
#include "core/matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the weights alone; the reading of a larger file is refused. */
static const size_t MAX_FILE = SOMA_MAX_PARAMS * 8 + (100 << 20);

void
soma_checkpoint_free(soma_checkpoint *checkpoint)
{
    soma_model_free(checkpoint->model);
    soma_classes_free(&checkpoint->classes);
    json_decref(checkpoint->training);
    json_decref(checkpoint->made);
    *checkpoint = (soma_checkpoint){0};
}

static void
shape_text(const soma_tensor *tensor, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < tensor->rank && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%llu", i ? ", " : "",
                             (unsigned long long)tensor->shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

/* Whether the tensor is [units, in] (bias: [units]), with the pieces of a
 * maxout layer in front. */
static soma_status
check_shape(const soma_tensor *tensor, const soma_layer *layer, bool bias,
            soma_error *err)
{
    uint64_t want[3], *end = want;
    if (layer->pieces > 1)
        *end++ = (uint64_t)layer->pieces;
    *end++ = (uint64_t)layer->units;
    if (!bias)
        *end++ = (uint64_t)layer->in;
    soma_tensor wanted = {.rank = (int)(end - want)};
    memcpy(wanted.shape, want, sizeof want);
    if (tensor->rank == wanted.rank &&
        !memcmp(tensor->shape, want, (size_t)wanted.rank * sizeof *want))
        return SOMA_OK;
    char got[192], expected[96];
    shape_text(tensor, got, sizeof got);
    shape_text(&wanted, expected, sizeof expected);
    return soma_error_set(err, SOMA_E_SHAPE,
                          "tensor \"%.100s\": expected shape %s, got %s",
                          tensor->name, expected, got);
}

static soma_status
load_layer(soma_model *model, int i, const soma_dense *dense, soma_error *err)
{
    const soma_layer *layer = &model->spec.layers[i];
    soma_status status = check_shape(dense->weight, layer, false, err);
    if (!status && dense->bias)
        status = check_shape(dense->bias, layer, true, err);
    if (status)
        return status;
    float *rows = malloc((size_t)dense->weight->elements * sizeof *rows);
    if (!rows)
        return soma_error_memory(err, "weights");
    status = soma_tensor_floats(dense->weight, rows, err);
    if (!status)
        soma_matrix_from_rows(layer->in, layer->out, rows,
                              soma_model_weights(model, i));
    if (!status && dense->bias)
        status =
            soma_tensor_floats(dense->bias, soma_model_bias(model, i), err);
    free(rows);
    return status;
}

/* The tensors of soma's own names, and none besides. */
static soma_status
own_layers(const soma_safetensors *st, int depth, soma_dense *layers,
           soma_error *err)
{
    int others = st->tensor_count - 2 * depth;
    for (int i = 0; i < depth; i++) {
        char name[40];
        snprintf(name, sizeof name, "layers.%d.weight", i);
        layers[i].weight = soma_safetensors_find(st, name);
        if (layers[i].weight) {
            snprintf(name, sizeof name, "layers.%d.bias", i);
            layers[i].bias = soma_safetensors_find(st, name);
        }
        if (!layers[i].weight || !layers[i].bias)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "tensor \"%s\" is missing", name);
    }
    for (int i = 0; i < st->tensor_count && others > 0; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        bool known = !strncmp(tensor->name, "memory.", 7);
        for (int k = 0; k < depth; k++)
            known =
                known || layers[k].weight == tensor || layers[k].bias == tensor;
        if (!known)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "unexpected tensor \"%.100s\"; the spec has "
                                  "%d layers",
                                  tensor->name, depth);
    }
    return SOMA_OK;
}

static soma_status
load_layers(soma_model *model, const soma_dense *layers, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < model->spec.depth && !status; i++)
        status = load_layer(model, i, &layers[i], err);
    return status;
}

/* The model of spec `json`; dense holds its tensors, NULL: by soma's names. */
static soma_status
create(const soma_safetensors *st, const json_t *json, soma_dense *dense,
       soma_checkpoint *checkpoint, soma_error *err)
{
    soma_spec spec;
    float *mean, *std;
    soma_status status = soma_checkpoint_spec(json, &spec, &mean, &std,
                                              &checkpoint->classes, err);
    if (status)
        return status;
    /* Before any memory is taken: the file must hold that many weights. */
    if (spec.trainable > st->file.size / 2) {
        status = soma_error_set(err, SOMA_E_SHAPE,
                                "the spec has %zu parameters, the file is too "
                                "small for them",
                                spec.trainable);
    } else {
        checkpoint->model = soma_model_create(&spec, err);
        status = checkpoint->model ? SOMA_OK : SOMA_E_MEMORY;
    }
    if (!status && spec.input.normals) {
        size_t bytes = (size_t)spec.input.normals * sizeof *mean;
        memcpy(soma_model_mean(checkpoint->model), mean, bytes);
        memcpy(soma_model_std(checkpoint->model), std, bytes);
    }
    free(mean);
    free(std);
    soma_dense own[SOMA_MAX_LAYERS] = {{NULL, NULL}};
    if (!status && !dense)
        status = own_layers(st, spec.depth, own, err);
    if (!status)
        status = load_layers(checkpoint->model, dense ? dense : own, err);
    checkpoint->training = json_incref(json_object_get(json, "training"));
    checkpoint->made = json_incref(json_object_get(json, "made"));
    return status;
}

static soma_status
parse_json(const char *text, const char *what, json_t **json, soma_error *err)
{
    json_error_t error;
    *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (*json)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT, "%s: %s (line %d, column %d)",
                          what, error.text, error.line, error.column);
}

static soma_status
create_own(const soma_safetensors *st, const char *text,
           soma_checkpoint *checkpoint, soma_error *err)
{
    json_t *json;
    soma_status status = parse_json(text, "__metadata__.soma", &json, err);
    if (!status)
        status = create(st, json, NULL, checkpoint, err);
    json_decref(json);
    return status;
}

static soma_status
create_foreign(const soma_safetensors *st, const char *text,
               soma_checkpoint *checkpoint, soma_error *err)
{
    if (!text)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "no \"soma\" in its metadata, and no sidecar "
                              "FILE.json that says what the network is");
    json_t *json = NULL;
    soma_dense *dense = NULL;
    int count;
    soma_status status = soma_state_dict_layers(st, &dense, &count, err);
    if (!status)
        status = parse_json(text, "sidecar", &json, err);
    if (!status)
        status = soma_state_dict_units(dense, count, json, err);
    if (!status)
        status = create(st, json, dense, checkpoint, err);
    json_decref(json);
    free(dense);
    return status;
}

soma_status
soma_checkpoint_parse(soma_bytes *bytes, const char *sidecar,
                      soma_checkpoint *checkpoint, soma_error *err)
{
    soma_safetensors st;
    *checkpoint = (soma_checkpoint){0};
    soma_status status = soma_safetensors_parse(bytes, &st, err);
    if (status)
        return status;
    const char *text = soma_safetensors_meta(&st, "soma");
    status = text ? create_own(&st, text, checkpoint, err)
                  : create_foreign(&st, sidecar, checkpoint, err);
    soma_safetensors_free(&st);
    if (status)
        soma_checkpoint_free(checkpoint);
    return status;
}

soma_status
soma_checkpoint_read(const char *path, const char *sidecar,
                     soma_checkpoint *checkpoint, soma_error *err)
{
    enum { MAX_SIDECAR = 16 << 20 };
    soma_bytes bytes, beside = {NULL, 0};
    *checkpoint = (soma_checkpoint){0};
    soma_status status = soma_file_read(path, MAX_FILE, 0, &bytes, err);
    if (status)
        return status;
    char name[4096];
    int length = snprintf(name, sizeof name, "%s.json", path);
    if (!sidecar && length > 0 && (size_t)length < sizeof name) {
        status = soma_file_read(name, MAX_SIDECAR, 0, &beside, err);
        sidecar = (const char *)beside.data;
        if (status == SOMA_E_NOT_FOUND)
            status = SOMA_OK;
    }
    if (!status) {
        status = soma_checkpoint_parse(&bytes, sidecar, checkpoint, err);
        if (status)
            soma_error_prefix(err, "%s", path);
    }
    soma_bytes_free(&bytes);
    soma_bytes_free(&beside);
    return status;
}

/* ---- Writing ---- */

static json_t *
metadata_of(const soma_checkpoint *checkpoint)
{
    const soma_model *model = checkpoint->model;
    json_t *json = json_pack("{s:i}", "format", 1);
    json_t *rest =
        soma_checkpoint_describe(&model->spec, model, &checkpoint->classes);
    if (json && rest)
        json_object_update(json, rest);
    json_decref(rest);
    if (json && checkpoint->training)
        json_object_set(json, "training", checkpoint->training);
    if (json && checkpoint->made)
        json_object_set(json, "made", checkpoint->made);
    return json;
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
    out->rows =
        malloc((size_t)layer->in * (size_t)layer->out * sizeof *out->rows);
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

soma_status
soma_checkpoint_build(const soma_checkpoint *checkpoint, soma_dtype dtype,
                      soma_bytes *bytes, soma_error *err)
{
    layer_out layers[SOMA_MAX_LAYERS] = {{.rows = NULL}};
    soma_tensor_out tensors[2 * SOMA_MAX_LAYERS];
    int depth = checkpoint->model->spec.depth;
    soma_status status = SOMA_OK;
    for (int i = 0; i < depth && !status; i++)
        status = prepare_layer(checkpoint->model, i, dtype, &layers[i],
                               &tensors[2 * i], err);
    json_t *json = metadata_of(checkpoint);
    char *text =
        json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    char key[] = "soma";
    soma_meta meta = {key, text};
    if (!status && !text)
        status = soma_error_memory(err, "metadata");
    if (!status)
        status =
            soma_safetensors_build(tensors, 2 * depth, &meta, 1, bytes, err);
    for (int i = 0; i < depth; i++)
        free(layers[i].rows);
    free(text);
    json_decref(json);
    return status;
}

soma_status
soma_checkpoint_write(const char *path, const soma_checkpoint *checkpoint,
                      soma_dtype dtype, soma_error *err)
{
    soma_bytes bytes = {NULL, 0};
    soma_status status = soma_checkpoint_build(checkpoint, dtype, &bytes, err);
    if (!status) {
        soma_piece piece = {bytes.data, bytes.size};
        status = soma_file_write(path, &piece, 1, err);
    }
    soma_bytes_free(&bytes);
    return status;
}

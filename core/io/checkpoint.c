/* A model file is a safetensors file (format: safetensors.c) with
 *
 *     __metadata__.soma     the spec as JSON text (checkpoint_spec.c)
 *     layers.<i>.weight     [out, in];  maxout: [pieces, units, in]
 *     layers.<i>.bias       [out];      maxout: [pieces, units]
 *
 * in F32, F16, BF16 or F64, for each layer i from 0.
 *
 * A file is valid iff the container is, the spec is, each layer has both
 * tensors with just these shapes, all their values are finite float32, and no
 * other tensor is in it, so that nothing is dropped in silence, but those of
 * checkpoint_examples.h.
 *
 * A file without `soma` metadata may be a PyTorch state_dict: state_dict.c.
 */
#include "core/io/checkpoint.h"

#include "core/io/checkpoint_examples.h"
#include "core/io/json.h"
#include "core/io/onnx.h"
#include "core/io/quote.h"
#include "core/io/state_dict.h"
#include "core/matrix.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All parameters as F64, and room for a header and a memory. */
static const size_t MAX_FILE = SOMA_MAX_PARAMS * 8 + ((size_t)1 << 30);

void
soma_checkpoint_free(soma_checkpoint *checkpoint)
{
    soma_model_free(checkpoint->model);
    soma_classes_free(&checkpoint->classes);
    json_decref(checkpoint->training);
    json_decref(checkpoint->made);
    soma_memory_free(&checkpoint->memory);
    soma_memory_free(&checkpoint->guard);
    *checkpoint = (soma_checkpoint){0};
}

/* ---- Shapes ---- */

static const char *
shape_text(int rank, const uint64_t *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%llu",
                                 i ? ", " : "", (unsigned long long)shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

/* Whether the tensor is [units, in] (bias: [units]), with the pieces of a
 * maxout layer in front. */
static soma_status
check_shape(const soma_tensor *tensor, const soma_layer *layer, bool bias,
            soma_error *err)
{
    uint64_t want[3];
    int rank = 0;
    if (layer->pieces > 1)
        want[rank++] = (uint64_t)layer->pieces;
    want[rank++] = (uint64_t)layer->units;
    if (!bias)
        want[rank++] = (uint64_t)layer->in;
    if (tensor->rank == rank &&
        !memcmp(tensor->shape, want, (size_t)rank * sizeof *want))
        return SOMA_OK;
    char name[SOMA_QUOTE_SIZE], got[200], expected[80];
    return soma_error_set(
        err, SOMA_E_SHAPE, "tensor \"%s\": expected shape %s, got %s",
        soma_quote(tensor->name, name),
        shape_text(rank, want, expected, sizeof expected),
        shape_text(tensor->rank, tensor->shape, got, sizeof got));
}

static soma_status
check_shapes(const soma_spec *spec, const soma_dense *layers, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < spec->depth && !status; i++) {
        status = check_shape(layers[i].weight, &spec->layers[i], false, err);
        if (!status && layers[i].bias)
            status = check_shape(layers[i].bias, &spec->layers[i], true, err);
    }
    return status;
}

/* ---- The tensors of soma's own names ---- */

static soma_status
find_tensor(const soma_safetensors *st, int layer, const char *part,
            const soma_tensor **tensor, soma_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "layers.%d.%s", layer, part);
    *tensor = soma_safetensors_find(st, name);
    if (*tensor)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT, "tensor \"%s\" is missing", name);
}

static bool
is_used(const soma_tensor *tensor, const soma_dense *layers, int depth)
{
    bool used = soma_checkpoint_names_examples(tensor->name);
    for (int i = 0; i < depth && !used; i++)
        used = layers[i].weight == tensor || layers[i].bias == tensor;
    return used;
}

static soma_status
own_layers(const soma_safetensors *st, int depth, soma_dense *layers,
           soma_error *err)
{
    for (int i = 0; i < depth; i++) {
        soma_status status =
            find_tensor(st, i, "weight", &layers[i].weight, err);
        if (!status)
            status = find_tensor(st, i, "bias", &layers[i].bias, err);
        if (status)
            return status;
    }
    for (int i = 0; i < st->tensor_count; i++) {
        char name[SOMA_QUOTE_SIZE];
        if (!is_used(&st->tensors[i], layers, depth))
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "unexpected tensor \"%s\"; the metadata name "
                                  "%d layers",
                                  soma_quote(st->tensors[i].name, name), depth);
    }
    return SOMA_OK;
}

/* ---- Weights ---- */

/* Panel by panel: a copy of a whole large layer costs more than turning it. */
static soma_status
load_weights(const soma_layer *layer, const soma_tensor *tensor, float *panels,
             soma_error *err)
{
    size_t in = (size_t)layer->in;
    float *rows = malloc(SOMA_PANEL * in * sizeof *rows);
    soma_status status = rows ? SOMA_OK : soma_error_memory(err, "weights");
    for (int first = 0; first < layer->out && !status; first += SOMA_PANEL) {
        int width =
            layer->out - first < SOMA_PANEL ? layer->out - first : SOMA_PANEL;
        size_t at = (size_t)first * in;
        status = soma_tensor_part(tensor, at, (size_t)width * in, rows, err);
        if (!status)
            soma_matrix_from_rows(layer->in, width, rows, panels + at);
    }
    free(rows);
    return status;
}

static soma_status
load_layer(soma_model *model, int i, const soma_dense *dense, soma_error *err)
{
    soma_status status = load_weights(&model->spec.layers[i], dense->weight,
                                      soma_model_weights(model, i), err);
    if (!status && dense->bias)
        status =
            soma_tensor_floats(dense->bias, soma_model_bias(model, i), err);
    return status;
}

/* The model of this spec, once the tensors are known to have its shapes: so a
 * spec cannot ask for more memory than the file has weights for. */
static soma_status
load_model(const soma_spec *spec, const float *mean, const float *std,
           const soma_dense *layers, soma_model **model, soma_error *err)
{
    soma_status status = check_shapes(spec, layers, err);
    if (status)
        return status;
    *model = soma_model_create(spec, err);
    if (!*model)
        return SOMA_E_MEMORY;
    if (spec->input.normals) {
        size_t bytes = (size_t)spec->input.normals * sizeof *mean;
        memcpy(soma_model_mean(*model), mean, bytes);
        memcpy(soma_model_std(*model), std, bytes);
    }
    for (int i = 0; i < spec->depth && !status; i++)
        status = load_layer(*model, i, &layers[i], err);
    return status;
}

/* ---- The whole ---- */

static soma_status
keep_object(const json_t *json, const char *key, json_t **kept, soma_error *err)
{
    json_t *object = json_object_get(json, key);
    if (object && !json_is_object(object))
        return soma_error_set(err, SOMA_E_FORMAT, "%s: expected an object",
                              key);
    *kept = json_incref(object);
    return SOMA_OK;
}

/* dense: the tensors of a state_dict, NULL: those of soma's names. */
static soma_status
create(const soma_safetensors *st, const json_t *json, const soma_dense *dense,
       soma_checkpoint *checkpoint, soma_error *err)
{
    soma_spec spec;
    float *mean, *std;
    soma_dense own[SOMA_MAX_LAYERS] = {{NULL, NULL}};
    soma_status status = soma_checkpoint_spec(json, &spec, &mean, &std,
                                              &checkpoint->classes, err);
    if (!status)
        status = keep_object(json, "training", &checkpoint->training, err);
    if (!status)
        status = keep_object(json, "made", &checkpoint->made, err);
    if (status && dense)
        soma_error_prefix(err, "sidecar");
    if (!status && !dense)
        status = own_layers(st, spec.depth, own, err);
    if (!status)
        status = load_model(&spec, mean, std, dense ? dense : own,
                            &checkpoint->model, err);
    if (!status && !dense)
        status = soma_checkpoint_load_examples(st, checkpoint, err);
    free(mean);
    free(std);
    return status;
}

static soma_status
create_own(const soma_safetensors *st, const char *text,
           soma_checkpoint *checkpoint, soma_error *err)
{
    json_t *json;
    soma_status status =
        soma_json_parse(text, strlen(text), "__metadata__.soma", &json, err);
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
        status = soma_json_parse(text, strlen(text), "sidecar", &json, err);
    if (!status)
        status = soma_state_dict_units(dense, count, json, err);
    if (!status)
        status = create(st, json, dense, checkpoint, err);
    json_decref(json);
    free(dense);
    return status;
}

static soma_status
create_any(const soma_safetensors *st, const char *sidecar,
           soma_checkpoint *checkpoint, soma_error *err)
{
    const char *text = soma_safetensors_meta(st, "soma");
    soma_status status = text ? create_own(st, text, checkpoint, err)
                              : create_foreign(st, sidecar, checkpoint, err);
    if (status)
        soma_checkpoint_free(checkpoint);
    return status;
}

soma_status
soma_checkpoint_parse(soma_bytes *bytes, const char *sidecar,
                      soma_checkpoint *checkpoint, soma_error *err)
{
    soma_safetensors st;
    *checkpoint = (soma_checkpoint){0};
    soma_status status = soma_safetensors_parse(bytes, &st, err);
    if (!status)
        status = create_any(&st, sidecar, checkpoint, err);
    soma_safetensors_free(&st);
    return status;
}

/* The sidecar PATH.json; nothing if there is none. */
static soma_status
read_beside(const char *path, soma_bytes *sidecar, soma_error *err)
{
    enum { MAX_SIDECAR = 16 << 20 };
    char name[PATH_MAX];
    int length = snprintf(name, sizeof name, "%s.json", path);
    if (length < 0 || (size_t)length >= sizeof name)
        return SOMA_OK;
    soma_status status = soma_file_read(name, MAX_SIDECAR, 0, sidecar, err);
    if (status == SOMA_E_NOT_FOUND)
        return SOMA_OK;
    if (!status && memchr(sidecar->data, '\0', sidecar->size))
        return soma_error_set(err, SOMA_E_FORMAT, "sidecar: not JSON: a NUL");
    return status;
}

soma_status
soma_checkpoint_read(const char *path, const char *sidecar,
                     soma_checkpoint *checkpoint, soma_error *err)
{
    soma_bytes bytes, beside = {NULL, 0};
    soma_safetensors st;
    *checkpoint = (soma_checkpoint){0};
    if (soma_onnx_is_name(path))
        return soma_onnx_read(path, NULL, checkpoint, err);
    soma_status status = soma_file_read(path, MAX_FILE, 0, &bytes, err);
    if (status)
        return status;
    status = soma_safetensors_parse(&bytes, &st, err);
    if (!status && !sidecar && !soma_safetensors_meta(&st, "soma"))
        status = read_beside(path, &beside, err);
    if (!status)
        status = create_any(&st, sidecar ? sidecar : (const char *)beside.data,
                            checkpoint, err);
    if (status)
        soma_error_prefix(err, "%s", path);
    soma_safetensors_free(&st);
    soma_bytes_free(&beside);
    return status;
}

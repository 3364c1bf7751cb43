/* A PyTorch state_dict in safetensors has no word about what the network is:
 * only `<name>.weight` [out, in] and `<name>.bias` [out] for each nn.Linear,
 * e.g. "0.weight", "0.bias", "2.weight" of an nn.Sequential, or "fc1.weight",
 * or plainly "weight" and "bias" of a single one. A layer without a bias has
 * zeros. The layers are taken in the natural order of their names: numbers by
 * value, the rest by character. Any other tensor, such as BatchNorm's
 * running_mean, is refused.
 *
 * What is missing comes from a sidecar, by default MODEL.safetensors.json
 * beside MODEL.safetensors: the JSON object at the head of checkpoint_spec.c,
 * in which entries of "layers" may leave out "units":
 *
 *     {"format": 1,
 *      "input": {"shape": [28, 28], "range": [0, 255],
 *                "mean": [33.3], "std": [78.6]},
 *      "layers": [{"activation": "relu"}, {}],
 *      "loss": "softmax_cross_entropy",
 *      "classes": ["zero", "one", ...]}
 *
 * input.range are the values that clients send; mean and std must be in that
 * range too: a transforms.Normalize((0.1307,), (0.3081,)) behind ToTensor(),
 * which divides by 255, is mean 33.3 and std 78.6. There must be one entry in
 * "layers" for each nn.Linear, with the activation that follows it. In place
 * of "layers" there may be "activation", that of all hidden layers, and with
 * leaky_relu "slope"; "input.shape" may be left out: then it is flat.
 */
#include "core/io/state_dict.h"

#include "core/io/json.h"
#include "core/io/quote.h"
#include "core/model.h"

#include <stdlib.h>
#include <string.h>

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The length of the digits at `text`, without leading zeros, which are
 * skipped. */
static size_t
digits(const char **text)
{
    while (**text == '0' && is_digit((*text)[1]))
        ++*text;
    size_t length = 0;
    while (is_digit((*text)[length]))
        length++;
    return length;
}

/* "fc2" before "fc10". */
static int
compare_natural(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            size_t p = digits(&a), q = digits(&b);
            int order = p == q ? memcmp(a, b, p) : p < q ? -1 : 1;
            if (order)
                return order;
            a += p;
            b += q;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

static int
by_name(const void *a, const void *b)
{
    const char *p = ((const soma_dense *)a)->weight->name;
    const char *q = ((const soma_dense *)b)->weight->name;
    int order = compare_natural(p, q);
    return order ? order : strcmp(p, q); /* "fc01" and "fc1" */
}

/* Whether a name is "<stem><part>", where the stem is empty or ends in a dot;
 * its length goes to *stem. */
static bool
has_part(const char *name, const char *part, size_t *stem)
{
    size_t length = strlen(name), tail = strlen(part);
    if (length < tail || strcmp(name + length - tail, part))
        return false;
    *stem = length - tail;
    return *stem == 0 || name[*stem - 1] == '.';
}

static const soma_tensor *
bias_of(const soma_safetensors *st, const char *weight, size_t stem)
{
    for (int i = 0; i < st->tensor_count; i++) {
        const char *name = st->tensors[i].name;
        size_t length;
        if (has_part(name, "bias", &length) && length == stem &&
            !memcmp(name, weight, stem))
            return &st->tensors[i];
    }
    return NULL;
}

static soma_status
find_layers(const soma_safetensors *st, soma_dense *layers, int *count,
            soma_error *err)
{
    for (int i = 0; i < st->tensor_count; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        size_t stem;
        if (tensor->rank != 2 || !has_part(tensor->name, "weight", &stem))
            continue;
        if (*count == SOMA_MAX_LAYERS)
            return soma_error_set(err, SOMA_E_LIMIT,
                                  "more than %d dense layers", SOMA_MAX_LAYERS);
        layers[*count].weight = tensor;
        layers[(*count)++].bias = bias_of(st, tensor->name, stem);
    }
    return SOMA_OK;
}

static soma_status
refuse_others(const soma_safetensors *st, const soma_dense *layers, int count,
              soma_error *err)
{
    for (int i = 0; i < st->tensor_count; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        char name[SOMA_QUOTE_SIZE];
        bool known = false;
        for (int k = 0; k < count && !known; k++)
            known = layers[k].weight == tensor || layers[k].bias == tensor;
        if (!known)
            return soma_error_set(err, SOMA_E_UNSUPPORTED,
                                  "tensor \"%s\": neither the weight [out, in] "
                                  "nor the bias [out] of a dense layer",
                                  soma_quote(tensor->name, name));
    }
    return SOMA_OK;
}

soma_status
soma_state_dict_layers(const soma_safetensors *st, soma_dense **layers,
                       int *count, soma_error *err)
{
    *count = 0;
    *layers = calloc(SOMA_MAX_LAYERS, sizeof **layers);
    if (!*layers)
        return soma_error_memory(err, "layers");
    soma_status status = find_layers(st, *layers, count, err);
    if (!status)
        status = refuse_others(st, *layers, *count, err);
    if (status) {
        free(*layers);
        *layers = NULL;
        return status;
    }
    qsort(*layers, (size_t)*count, sizeof **layers, by_name);
    return SOMA_OK;
}

/* "layers", from "activation": that of all but the last. */
static soma_status
add_layers(json_t *sidecar, int count, soma_error *err)
{
    json_t *layers = json_array();
    for (int i = 0; i < count; i++) {
        json_t *layer = json_object();
        json_t *slope = json_object_get(sidecar, "slope");
        json_t *activation = json_object_get(sidecar, "activation");
        if (i + 1 < count)
            soma_json_set(&layer, "activation", json_incref(activation));
        if (i + 1 < count && slope)
            soma_json_set(&layer, "slope", json_incref(slope));
        soma_json_append(&layers, layer);
    }
    if (!layers || json_object_set_new(sidecar, "layers", layers))
        return soma_error_memory(err, "sidecar");
    return SOMA_OK;
}

static soma_status
add_shape(json_t *sidecar, const soma_tensor *weight, soma_error *err)
{
    json_t *input = json_object_get(sidecar, "input");
    if (!json_is_object(input) || json_object_get(input, "shape"))
        return SOMA_OK;
    json_t *shape = json_array();
    soma_json_append(&shape, json_integer((json_int_t)weight->shape[1]));
    if (!shape || json_object_set_new(input, "shape", shape))
        return soma_error_memory(err, "sidecar");
    return SOMA_OK;
}

soma_status
soma_state_dict_units(const soma_dense *layers, int count, json_t *sidecar,
                      soma_error *err)
{
    soma_status status = SOMA_OK;
    if (!json_object_get(sidecar, "layers") &&
        json_is_string(json_object_get(sidecar, "activation")))
        status = add_layers(sidecar, count, err);
    if (!status && count)
        status = add_shape(sidecar, layers[0].weight, err);
    if (status)
        return status;
    json_t *list = json_object_get(sidecar, "layers");
    if (!json_is_array(list))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "sidecar: layers: expected an array");
    if (json_array_size(list) != (size_t)count)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "sidecar: layers: %zu entries, the file has %d "
                              "dense layers",
                              json_array_size(list), count);
    for (int i = 0; i < count; i++) {
        json_t *layer = json_array_get(list, (size_t)i);
        json_int_t units = (json_int_t)layers[i].weight->shape[0];
        if (json_is_object(layer) && !json_object_get(layer, "units") &&
            json_object_set_new(layer, "units", json_integer(units)))
            return soma_error_memory(err, "sidecar");
    }
    return SOMA_OK;
}

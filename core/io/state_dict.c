/* A PyTorch state_dict in safetensors has no word about what the network is:
 * only `<name>.weight` [out, in] and `<name>.bias` [out] for each nn.Linear,
 * e.g. "0.weight", "0.bias", "2.weight" of an nn.Sequential, or "fc1.weight".
 * The layers are taken in the natural order of their names (numbers by
 * value). What is missing comes from a sidecar, MODEL.safetensors.json beside
 * the file: the JSON object at the head of checkpoint_spec.c, in which
 * entries of "layers" may leave out "units":
 *
 *     {"format": 1, "input": {"shape": [28, 28], "mean": [33.3],
 *      "std": [78.6]}, "layers": [{"activation": "relu"}, {}],
 *      "loss": "softmax_cross_entropy"}
 */
#include "core/io/state_dict.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* "fc2" before "fc10". */
static int
compare_natural(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a, *end_b;
            unsigned long long p = strtoull(a, &end_a, 10);
            unsigned long long q = strtoull(b, &end_b, 10);
            if (p != q)
                return p < q ? -1 : 1;
            a = end_a;
            b = end_b;
        } else {
            if (*a != *b)
                return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
            a++;
            b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

static int
by_name(const void *a, const void *b)
{
    const soma_dense *p = a, *q = b;
    return compare_natural(p->weight->name, q->weight->name);
}

/* Bytes of "<name>" if the tensor is called "<name><suffix>", else 0. */
static size_t
stem(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    if (length <= tail || strcmp(name + length - tail, suffix))
        return 0;
    return length - tail;
}

static const soma_tensor *
bias_of(const soma_safetensors *st, const char *weight, size_t length)
{
    for (int i = 0; i < st->tensor_count; i++) {
        const char *name = st->tensors[i].name;
        if (stem(name, ".bias") == length && !memcmp(name, weight, length))
            return &st->tensors[i];
    }
    return NULL;
}

soma_status
soma_state_dict_layers(const soma_safetensors *st, soma_dense **layers,
                       int *count, soma_error *err)
{
    soma_dense *found = calloc((size_t)st->tensor_count + 1, sizeof *found);
    int biases = 0;
    *count = 0;
    if (!found)
        return soma_error_memory(err, "layers");
    for (int i = 0; i < st->tensor_count; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        size_t length = stem(tensor->name, ".weight");
        if (length && tensor->rank == 2) {
            found[*count].weight = tensor;
            found[*count].bias = bias_of(st, tensor->name, length);
            biases += found[(*count)++].bias != NULL;
        }
    }
    int used = *count + biases;
    for (int i = 0; i < st->tensor_count && used != st->tensor_count; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        bool known = false;
        for (int k = 0; k < *count; k++)
            known =
                known || found[k].weight == tensor || found[k].bias == tensor;
        if (known)
            continue;
        soma_error_set(err, SOMA_E_UNSUPPORTED,
                       "tensor \"%.100s\": neither the weight [out, in] nor "
                       "the bias [out] of a dense layer",
                       tensor->name);
        free(found);
        return SOMA_E_UNSUPPORTED;
    }
    qsort(found, (size_t)*count, sizeof *found, by_name);
    *layers = found;
    return SOMA_OK;
}

soma_status
soma_state_dict_units(const soma_dense *layers, int count, json_t *sidecar,
                      soma_error *err)
{
    json_t *list = json_object_get(sidecar, "layers");
    if (json_array_size(list) != (size_t)count)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "the file has %d layers, the sidecar's "
                              "\"layers\" %zu",
                              count, json_array_size(list));
    for (int i = 0; i < count; i++) {
        json_t *layer = json_array_get(list, (size_t)i);
        if (json_is_object(layer) && !json_object_get(layer, "units"))
            json_object_set_new(
                layer, "units",
                json_integer((json_int_t)layers[i].weight->shape[0]));
    }
    return SOMA_OK;
}

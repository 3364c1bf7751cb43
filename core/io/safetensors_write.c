/* Writing safetensors as the reference writer does, byte for byte: tensors by
 * dtype, the largest first, then by name; the header without white space,
 * padded with spaces to a multiple of 8 (format: safetensors.c). */
#include "core/io/half.h"
#include "core/io/safetensors.h"

#include <endian.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {[SOMA_F32] = {"F32", 4},
              [SOMA_F16] = {"F16", 2},
              [SOMA_BF16] = {"BF16", 2},
              [SOMA_U8] = {"U8", 1}};

/* The reference's order of alignment among these four. */
static int
rank_of(soma_dtype dtype)
{
    static const int ranks[] = {
        [SOMA_F32] = 3, [SOMA_BF16] = 2, [SOMA_F16] = 1, [SOMA_U8] = 0};
    return ranks[dtype];
}

static int
by_dtype_then_name(const void *a, const void *b)
{
    const soma_tensor_out *p = *(const soma_tensor_out *const *)a;
    const soma_tensor_out *q = *(const soma_tensor_out *const *)b;
    int difference = rank_of(q->dtype) - rank_of(p->dtype);
    return difference ? difference : strcmp(p->name, q->name);
}

static size_t
elements_of(const soma_tensor_out *tensor)
{
    size_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= (size_t)tensor->shape[i];
    return elements;
}

static json_t *
header_of(const soma_tensor_out *const *sorted, int count,
          const soma_meta *meta, int meta_count)
{
    json_t *header = json_object();
    if (meta_count) {
        json_t *metadata = json_object();
        for (int i = 0; i < meta_count; i++)
            json_object_set_new(metadata, meta[i].key,
                                json_string(meta[i].value));
        json_object_set_new(header, "__metadata__", metadata);
    }
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        const soma_tensor_out *tensor = sorted[i];
        size_t end = at + elements_of(tensor) * dtypes[tensor->dtype].size;
        json_t *shape = json_array();
        for (int k = 0; k < tensor->rank; k++)
            json_array_append_new(shape,
                                  json_integer((json_int_t)tensor->shape[k]));
        json_t *entry = json_pack(
            "{s:s, s:o, s:[I, I]}", "dtype", dtypes[tensor->dtype].name,
            "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)end);
        json_object_set_new(header, tensor->name, entry);
        at = end;
    }
    return header;
}

static unsigned char *
put(unsigned char *to, uint32_t bits, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *to++ = (unsigned char)(bits >> 8 * i);
    return to;
}

static soma_status
put_values(const soma_tensor_out *tensor, unsigned char **at, soma_error *err)
{
    size_t elements = elements_of(tensor), size = dtypes[tensor->dtype].size;
    const float *values = tensor->values;
    if (tensor->dtype == SOMA_U8) {
        memcpy(*at, tensor->values, elements);
        *at += elements;
        return SOMA_OK;
    }
    for (size_t i = 0; i < elements; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if (tensor->dtype == SOMA_BF16)
            bits = soma_bfloat_from_float(values[i]);
        if (tensor->dtype == SOMA_F16) {
            bits = soma_half_from_float(values[i]);
            if (isfinite(values[i]) && (bits & 0x7c00) == 0x7c00)
                return soma_error_set(err, SOMA_E_ARGUMENT,
                                      "tensor \"%.100s\": element %zu, %g, is "
                                      "too large for F16",
                                      tensor->name, i, (double)values[i]);
        }
        *at = put(*at, bits, size);
    }
    return SOMA_OK;
}

static soma_status
assemble(const soma_tensor_out *const *sorted, int count, const char *header,
         soma_bytes *bytes, soma_error *err)
{
    size_t length = strlen(header), padded = (length + 7) / 8 * 8, data = 0;
    for (int i = 0; i < count; i++)
        data += elements_of(sorted[i]) * dtypes[sorted[i]->dtype].size;
    bytes->size = 8 + padded + data;
    bytes->data = malloc(bytes->size + 1);
    if (!bytes->data)
        return soma_error_memory(err, "a safetensors file");
    unsigned char *at = put(bytes->data, (uint32_t)padded, 4);
    at = put(at, 0, 4);
    memcpy(at, header, length);
    memset(at + length, ' ', padded - length);
    at += padded;
    soma_status status = SOMA_OK;
    for (int i = 0; i < count && !status; i++)
        status = put_values(sorted[i], &at, err);
    *at = '\0';
    return status;
}

soma_status
soma_safetensors_build(const soma_tensor_out *tensors, int count,
                       const soma_meta *meta, int meta_count, soma_bytes *bytes,
                       soma_error *err)
{
    *bytes = (soma_bytes){NULL, 0};
    const soma_tensor_out **sorted =
        malloc(((size_t)count + 1) * sizeof *sorted);
    if (!sorted)
        return soma_error_memory(err, "a safetensors file");
    for (int i = 0; i < count; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_dtype_then_name);
    json_t *header = header_of(sorted, count, meta, meta_count);
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    soma_status status = text ? assemble(sorted, count, text, bytes, err)
                              : soma_error_memory(err, "a safetensors header");
    if (status)
        soma_bytes_free(bytes);
    free(text);
    json_decref(header);
    free(sorted);
    return status;
}

/* Writing safetensors as the reference writer does, byte for byte: tensors by
 * dtype, the largest first, then by name; the header without white space,
 * metadata first, padded with spaces to a multiple of 8 (format:
 * safetensors.c). The reference puts metadata in any order; here it is the
 * caller's. */
#include "core/io/half.h"
#include "core/io/json.h"
#include "core/io/quote.h"
#include "core/io/safetensors.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, WORD = 8 };

/* `order` is the reference's among these. */
static const struct {
    const char *name;
    size_t size;
    int order;
} dtypes[] = {[SOMA_F32] = {"F32", 4, 4},
              [SOMA_I32] = {"I32", 4, 3},
              [SOMA_BF16] = {"BF16", 2, 2},
              [SOMA_F16] = {"F16", 2, 1},
              [SOMA_U8] = {"U8", 1, 0}};

/* A tensor and where it goes. */
typedef struct slot {
    const soma_tensor_out *tensor;
    size_t elements, begin, end;
} slot;

static int
by_dtype_then_name(const void *a, const void *b)
{
    const soma_tensor_out *p = ((const slot *)a)->tensor;
    const soma_tensor_out *q = ((const slot *)b)->tensor;
    int difference = dtypes[q->dtype].order - dtypes[p->dtype].order;
    return difference ? difference : strcmp(p->name, q->name);
}

static soma_status
refuse(soma_error *err, const soma_tensor_out *tensor, const char *what)
{
    char name[SOMA_QUOTE_SIZE];
    return soma_error_set(err, SOMA_E_ARGUMENT, "tensor \"%s\": %s",
                          soma_quote(tensor->name, name), what);
}

/* Puts the tensors into their order, each behind the one before it. */
static soma_status
arrange(const soma_tensor_out *tensors, int count, slot *places,
        soma_error *err)
{
    for (int i = 0; i < count; i++) {
        const soma_tensor_out *tensor = &tensors[i];
        uint64_t elements = 1;
        if (tensor->rank < 0 || tensor->rank > SOMA_TENSOR_MAX_RANK)
            return refuse(err, tensor, "too many dimensions");
        for (int k = 0; k < tensor->rank; k++)
            if (tensor->shape[k] > INT64_MAX ||
                __builtin_mul_overflow(elements, tensor->shape[k], &elements))
                return refuse(err, tensor, "its shape's product overflows");
        places[i] = (slot){.tensor = tensor, .elements = (size_t)elements};
    }
    qsort(places, (size_t)count, sizeof *places, by_dtype_then_name);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        size_t size;
        places[i].begin = at;
        if (__builtin_mul_overflow(places[i].elements,
                                   dtypes[places[i].tensor->dtype].size,
                                   &size) ||
            __builtin_add_overflow(at, size, &at) || at > PTRDIFF_MAX / 2)
            return refuse(err, places[i].tensor, "its size overflows");
        places[i].end = at;
    }
    return SOMA_OK;
}

static json_t *
entry_of(const slot *place)
{
    const soma_tensor_out *tensor = place->tensor;
    json_t *shape = json_array(), *entry = json_object();
    for (int k = 0; k < tensor->rank; k++)
        soma_json_append(&shape, json_integer((json_int_t)tensor->shape[k]));
    soma_json_set(&entry, "dtype", json_string(dtypes[tensor->dtype].name));
    soma_json_set(&entry, "shape", shape);
    soma_json_set(
        &entry, "data_offsets",
        json_pack("[I, I]", (json_int_t)place->begin, (json_int_t)place->end));
    return entry;
}

/* The header's text, to be freed. */
static soma_status
write_header(const slot *places, int count, const soma_meta *meta,
             int meta_count, char **text, soma_error *err)
{
    json_t *header = json_object(), *metadata = json_object();
    for (int i = 0; i < meta_count; i++)
        soma_json_set(&metadata, meta[i].key, json_string(meta[i].value));
    if (meta_count)
        soma_json_set(&header, "__metadata__", metadata);
    else
        json_decref(metadata);
    soma_status status = SOMA_OK;
    for (int i = 0; i < count && !status; i++) {
        const char *name = places[i].tensor->name;
        if (!strcmp(name, "__metadata__") || json_object_get(header, name))
            status = refuse(err, places[i].tensor, "the name is taken");
        else
            soma_json_set(&header, name, entry_of(&places[i]));
    }
    *text = header && !status ? soma_json_text(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!status && !*text)
        status = soma_error_memory(err, "a safetensors header");
    return status;
}

static soma_status
put_16_bits(const soma_tensor_out *tensor, size_t elements, unsigned char *to,
            soma_error *err)
{
    bool half = tensor->dtype == SOMA_F16;
    uint16_t infinity = half ? 0x7c00 : 0x7f80;
    const float *values = tensor->values;
    for (size_t i = 0; i < elements; i++) {
        uint16_t bits = half ? soma_half_from_float(values[i])
                             : soma_bfloat_from_float(values[i]);
        if ((bits & 0x7fff) == infinity && isfinite(values[i])) {
            char name[SOMA_QUOTE_SIZE];
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "tensor \"%s\": element %zu, %g, is too "
                                  "large for %s",
                                  soma_quote(tensor->name, name), i,
                                  (double)values[i],
                                  dtypes[tensor->dtype].name);
        }
        *to++ = (unsigned char)(bits & 0xff);
        *to++ = (unsigned char)(bits >> 8);
    }
    return SOMA_OK;
}

static soma_status
put_values(const slot *place, unsigned char *to, soma_error *err)
{
    const soma_tensor_out *tensor = place->tensor;
    const unsigned char *values = tensor->values;
    if (place->elements == 0)
        return SOMA_OK;
    if (tensor->dtype == SOMA_U8) {
        memcpy(to, tensor->values, place->elements);
        return SOMA_OK;
    }
    if (dtypes[tensor->dtype].size == 2)
        return put_16_bits(tensor, place->elements, to, err);
    for (size_t i = 0; i < place->elements; i++) {
        uint32_t bits;
        memcpy(&bits, values + i * sizeof bits, sizeof bits);
        bits = htole32(bits);
        memcpy(to + i * sizeof bits, &bits, sizeof bits);
    }
    return SOMA_OK;
}

static soma_status
assemble(const slot *places, int count, const char *header, soma_bytes *bytes,
         soma_error *err)
{
    size_t length = strlen(header), padded = (length + WORD - 1) / WORD * WORD;
    if (padded > MAX_HEADER)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "a header of %zu bytes, at most %d are allowed",
                              padded, MAX_HEADER);
    bytes->size = WORD + padded + (count ? places[count - 1].end : 0);
    bytes->data = malloc(bytes->size + 1);
    if (!bytes->data)
        return soma_error_memory(err, "a safetensors file");
    uint64_t word = htole64(padded);
    memcpy(bytes->data, &word, WORD);
    memcpy(bytes->data + WORD, header, length);
    memset(bytes->data + WORD + length, ' ', padded - length);
    bytes->data[bytes->size] = '\0';
    unsigned char *data = bytes->data + WORD + padded;
    soma_status status = SOMA_OK;
    for (int i = 0; i < count && !status; i++)
        status = put_values(&places[i], data + places[i].begin, err);
    return status;
}

soma_status
soma_safetensors_build(const soma_tensor_out *tensors, int count,
                       const soma_meta *meta, int meta_count, soma_bytes *bytes,
                       soma_error *err)
{
    *bytes = (soma_bytes){NULL, 0};
    slot *places = calloc((size_t)count + 1, sizeof *places);
    if (!places)
        return soma_error_memory(err, "a safetensors file");
    char *header = NULL;
    soma_status status = arrange(tensors, count, places, err);
    if (!status)
        status = write_header(places, count, meta, meta_count, &header, err);
    if (!status)
        status = assemble(places, count, header, bytes, err);
    if (status)
        soma_bytes_free(bytes);
    free(header);
    free(places);
    return status;
}

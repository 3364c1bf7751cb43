/* safetensors (github.com/huggingface/safetensors, safetensors/src/tensor.rs)
 *
 *     u64   N, little endian: bytes of the header, at most 100,000,000
 *     N     header: a JSON object, white space allowed around it
 *             "name": {"dtype": "F32", "shape": [2, 3],
 *                      "data_offsets": [begin, end]}, ...
 *             "__metadata__": {"key": "text", ...}       optional
 *     rest  data; offsets count from its start
 *
 * A file is valid iff the header is UTF-8 JSON of that form without repeated
 * names; the tensors, in the order of their offsets, follow one another
 * without a hole or an overlap from 0 to the end of the file; and each one's
 * bytes are its shape's product times its dtype's size. Elements are little
 * endian, in C order, not aligned. Tensors of no elements and of rank 0 are
 * valid. Unknown members of a tensor's entry are ignored.
 */
#include "core/io/safetensors.h"

#include "core/io/half.h"

#include <endian.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t MAX_HEADER = 100000000;

/* Bits of an element; those below 8 pack several into a byte. */
static const struct {
    const char *name;
    unsigned bits;
} dtypes[] = {
    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"BOOL", 8},
    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
    {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64},
};

static soma_status
refuse(soma_error *err, const char *name, const char *what)
{
    return soma_error_set(err, SOMA_E_FORMAT, "tensor \"%.100s\": %s", name,
                          what);
}

static unsigned
find_dtype(soma_tensor *tensor, const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(name, dtypes[i].name)) {
            tensor->dtype = dtypes[i].name;
            return dtypes[i].bits;
        }
    return 0;
}

static bool
whole(const json_t *json, uint64_t *value)
{
    if (!json_is_integer(json) || json_integer_value(json) < 0)
        return false;
    *value = (uint64_t)json_integer_value(json);
    return true;
}

static soma_status
read_shape(soma_tensor *tensor, const json_t *shape, soma_error *err)
{
    if (!json_is_array(shape))
        return refuse(err, tensor->name, "shape: expected an array");
    if (json_array_size(shape) > SOMA_TENSOR_MAX_RANK)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "tensor \"%.100s\": %zu dimensions, at most %d "
                              "are read",
                              tensor->name, json_array_size(shape),
                              SOMA_TENSOR_MAX_RANK);
    tensor->rank = (int)json_array_size(shape);
    tensor->elements = 1;
    for (int i = 0; i < tensor->rank; i++) {
        if (!whole(json_array_get(shape, (size_t)i), &tensor->shape[i]))
            return refuse(err, tensor->name,
                          "shape: expected whole numbers from 0");
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i],
                                   &tensor->elements))
            return refuse(err, tensor->name, "shape: its product overflows");
    }
    return SOMA_OK;
}

/* One entry of the header. `data` is left NULL, its offset goes to *begin. */
static soma_status
read_entry(soma_tensor *tensor, const json_t *entry, uint64_t *begin,
           soma_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t end, bits;
    unsigned width = dtype ? find_dtype(tensor, dtype) : 0;
    if (!json_is_object(entry))
        return refuse(err, tensor->name, "expected an object");
    if (!width)
        return refuse(err, tensor->name, "dtype: missing or unknown");
    soma_status status =
        read_shape(tensor, json_object_get(entry, "shape"), err);
    if (status)
        return status;
    if (json_array_size(offsets) != 2 ||
        !whole(json_array_get(offsets, 0), begin) ||
        !whole(json_array_get(offsets, 1), &end))
        return refuse(err, tensor->name,
                      "data_offsets: expected two whole numbers");
    if (end < *begin)
        return refuse(err, tensor->name,
                      "data_offsets: ends before it "
                      "begins");
    if (__builtin_mul_overflow(tensor->elements, (uint64_t)width, &bits))
        return refuse(err, tensor->name, "its size overflows");
    if (bits % 8)
        return refuse(err, tensor->name, "its bits do not fill whole bytes");
    tensor->size = end - *begin;
    if (bits / 8 != tensor->size)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "tensor \"%.100s\": data_offsets span %llu "
                              "bytes, its shape and dtype need %llu",
                              tensor->name, (unsigned long long)tensor->size,
                              (unsigned long long)bits / 8);
    return SOMA_OK;
}

static soma_status
read_metadata(soma_safetensors *st, json_t *metadata, soma_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "__metadata__: expected an object");
    st->meta = calloc(json_object_size(metadata) + 1, sizeof *st->meta);
    if (!st->meta)
        return soma_error_memory(err, "metadata");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "__metadata__: \"%.100s\" is not a string",
                                  key);
        soma_meta *meta = &st->meta[st->meta_count++];
        meta->key = strdup(key);
        meta->value = strdup(json_string_value(value));
        if (!meta->key || !meta->value)
            return soma_error_memory(err, "metadata");
    }
    return SOMA_OK;
}

/* Offsets wait in `data` as pointers into the buffer until they are checked;
 * tensors of no bytes stand before the one that begins where they do. */
static int
by_offset(const void *a, const void *b)
{
    const soma_tensor *p = a, *q = b;
    if (p->data != q->data)
        return p->data < q->data ? -1 : 1;
    return (p->size > q->size) - (p->size < q->size);
}

static soma_status
read_tensors(soma_safetensors *st, json_t *header, uint64_t room,
             soma_error *err)
{
    const unsigned char *buffer = st->file.data + (st->file.size - room);
    const char *name;
    json_t *entry;
    st->tensors = calloc(json_object_size(header) + 1, sizeof *st->tensors);
    if (!st->tensors)
        return soma_error_memory(err, "tensors");
    json_object_foreach(header, name, entry)
    {
        uint64_t begin = 0;
        soma_status status;
        if (!strcmp(name, "__metadata__")) {
            status = read_metadata(st, entry, err);
        } else {
            soma_tensor *tensor = &st->tensors[st->tensor_count++];
            tensor->name = strdup(name);
            status = tensor->name ? read_entry(tensor, entry, &begin, err)
                                  : soma_error_memory(err, "tensors");
            if (!status && (begin > room || tensor->size > room - begin))
                status = refuse(err, name, "goes beyond the end of the file");
            tensor->data = buffer + begin;
        }
        if (status)
            return status;
    }
    qsort(st->tensors, (size_t)st->tensor_count, sizeof *st->tensors,
          by_offset);
    const unsigned char *at = buffer;
    for (int i = 0; i < st->tensor_count; i++) {
        if (st->tensors[i].data != at)
            return refuse(err, st->tensors[i].name,
                          "data_offsets: a hole or an overlap before it");
        at += st->tensors[i].size;
    }
    if (at != buffer + room)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%llu bytes behind the last tensor",
                              (unsigned long long)(buffer + room - at));
    return SOMA_OK;
}

static soma_status
parse(soma_safetensors *st, soma_error *err)
{
    const soma_bytes *file = &st->file;
    uint64_t length;
    if (file->size < sizeof length)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%zu bytes: too short for a header", file->size);
    memcpy(&length, file->data, sizeof length);
    length = le64toh(length);
    if (length > MAX_HEADER)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "a header of %llu bytes, at most %llu are "
                              "allowed (is this a safetensors file?)",
                              (unsigned long long)length,
                              (unsigned long long)MAX_HEADER);
    if (length > file->size - sizeof length)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "the header of %llu bytes goes beyond the end "
                              "of the file",
                              (unsigned long long)length);
    json_error_t error;
    json_t *header = json_loadb((const char *)file->data + sizeof length,
                                (size_t)length, JSON_REJECT_DUPLICATES, &error);
    soma_status status;
    if (!header)
        status = soma_error_set(err, SOMA_E_FORMAT, "header: %s (byte %d)",
                                error.text, error.position);
    else if (!json_is_object(header))
        status =
            soma_error_set(err, SOMA_E_FORMAT, "header: expected an object");
    else
        status =
            read_tensors(st, header, file->size - sizeof length - length, err);
    json_decref(header);
    return status;
}

soma_status
soma_safetensors_parse(soma_bytes *bytes, soma_safetensors *st, soma_error *err)
{
    *st = (soma_safetensors){.file = *bytes};
    *bytes = (soma_bytes){NULL, 0};
    soma_status status = parse(st, err);
    if (status)
        soma_safetensors_free(st);
    return status;
}

void
soma_safetensors_free(soma_safetensors *st)
{
    for (int i = 0; i < st->tensor_count; i++)
        free(st->tensors[i].name);
    for (int i = 0; i < st->meta_count; i++) {
        free(st->meta[i].key);
        free(st->meta[i].value);
    }
    free(st->tensors);
    free(st->meta);
    soma_bytes_free(&st->file);
    *st = (soma_safetensors){0};
}

const soma_tensor *
soma_safetensors_find(const soma_safetensors *st, const char *name)
{
    for (int i = 0; i < st->tensor_count; i++)
        if (!strcmp(st->tensors[i].name, name))
            return &st->tensors[i];
    return NULL;
}

const char *
soma_safetensors_meta(const soma_safetensors *st, const char *key)
{
    for (int i = 0; i < st->meta_count; i++)
        if (!strcmp(st->meta[i].key, key))
            return st->meta[i].value;
    return NULL;
}

static uint64_t
load(const unsigned char *data, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;)
        value = value << 8 | data[i];
    return value;
}

static float
f32_at(const unsigned char *data)
{
    uint32_t bits = (uint32_t)load(data, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float
f64_at(const unsigned char *data)
{
    uint64_t bits = load(data, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

static float
f16_at(const unsigned char *data)
{
    return soma_half_to_float((uint16_t)load(data, 2));
}

static float
bf16_at(const unsigned char *data)
{
    return soma_bfloat_to_float((uint16_t)load(data, 2));
}

soma_status
soma_tensor_floats(const soma_tensor *tensor, float *to, soma_error *err)
{
    static const struct {
        const char *dtype;
        size_t size;
        float (*at)(const unsigned char *data);
    } readers[] = {{"F32", 4, f32_at},
                   {"F16", 2, f16_at},
                   {"BF16", 2, bf16_at},
                   {"F64", 8, f64_at}};
    for (size_t k = 0; k < sizeof readers / sizeof *readers; k++) {
        if (strcmp(tensor->dtype, readers[k].dtype))
            continue;
        for (uint64_t i = 0; i < tensor->elements; i++) {
            to[i] = readers[k].at(tensor->data + i * readers[k].size);
            if (!isfinite(to[i]))
                return soma_error_set(err, SOMA_E_NOT_FINITE,
                                      "tensor \"%.100s\": element %llu is not "
                                      "a finite float32",
                                      tensor->name, (unsigned long long)i);
        }
        return SOMA_OK;
    }
    return soma_error_set(err, SOMA_E_UNSUPPORTED,
                          "tensor \"%.100s\": dtype %s; weights are read from "
                          "F32, F16, BF16 and F64",
                          tensor->name, tensor->dtype);
}

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
 * valid. Unknown members of a tensor's entry are ignored. Stricter than the
 * reference: no repeated names, no NUL (\u0000) in a name or in metadata, at
 * most SOMA_TENSOR_MAX_RANK dimensions.
 */
#include "core/io/safetensors.h"

#include "core/io/json.h"
#include "core/io/quote.h"

#include <endian.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
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

/* The data behind the header. */
typedef struct span {
    const unsigned char *start;
    uint64_t size;
} span;

static soma_status __attribute__((format(printf, 3, 4)))
refuse(soma_error *err, const soma_tensor *tensor, const char *format, ...)
{
    char name[SOMA_QUOTE_SIZE], what[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return soma_error_set(err, SOMA_E_FORMAT, "tensor \"%s\": %s",
                          soma_quote(tensor->name, name), what);
}

static soma_status
read_dtype(soma_tensor *tensor, const json_t *json, uint64_t *bits,
           soma_error *err)
{
    char text[SOMA_QUOTE_SIZE];
    const char *name = json_string_value(json);
    if (!name)
        return refuse(err, tensor, "dtype: expected a string");
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(name, dtypes[i].name)) {
            tensor->dtype = dtypes[i].name;
            *bits = dtypes[i].bits;
            return SOMA_OK;
        }
    return refuse(err, tensor, "dtype: unknown \"%s\"", soma_quote(name, text));
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
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape))
        return refuse(err, tensor, "shape: expected an array");
    if (rank > SOMA_TENSOR_MAX_RANK) {
        char name[SOMA_QUOTE_SIZE];
        return soma_error_set(err, SOMA_E_LIMIT,
                              "tensor \"%s\": shape: %zu dimensions, at most "
                              "%d are read",
                              soma_quote(tensor->name, name), rank,
                              SOMA_TENSOR_MAX_RANK);
    }
    tensor->rank = (int)rank;
    tensor->elements = 1;
    for (int i = 0; i < tensor->rank; i++) {
        if (!whole(json_array_get(shape, (size_t)i), &tensor->shape[i]))
            return refuse(err, tensor, "shape: expected whole numbers from 0");
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i],
                                   &tensor->elements))
            return refuse(err, tensor, "shape: its product overflows");
    }
    return SOMA_OK;
}

/* Where the tensor lies; `width` is that of an element, in bits. */
static soma_status
read_offsets(soma_tensor *tensor, const json_t *offsets, uint64_t width,
             const span *data, soma_error *err)
{
    uint64_t begin, end, bits;
    if (json_array_size(offsets) != 2 ||
        !whole(json_array_get(offsets, 0), &begin) ||
        !whole(json_array_get(offsets, 1), &end))
        return refuse(err, tensor,
                      "data_offsets: expected two whole numbers from 0");
    if (end < begin)
        return refuse(err, tensor,
                      "data_offsets: end at %" PRIu64 ", before their begin "
                      "at %" PRIu64,
                      end, begin);
    if (end > data->size)
        return refuse(err, tensor,
                      "data_offsets: end at %" PRIu64 ", beyond the %" PRIu64
                      " bytes of data in the file",
                      end, data->size);
    if (__builtin_mul_overflow(tensor->elements, width, &bits))
        return refuse(err, tensor, "shape: its size in bits overflows");
    if (bits % 8)
        return refuse(err, tensor,
                      "%" PRIu64 " elements of %s do not fill whole bytes",
                      tensor->elements, tensor->dtype);
    if (bits / 8 != end - begin)
        return refuse(err, tensor,
                      "data_offsets: span %" PRIu64 " bytes, shape and dtype "
                      "need %" PRIu64,
                      end - begin, bits / 8);
    tensor->data = data->start + begin;
    tensor->size = end - begin;
    return SOMA_OK;
}

static soma_status
read_entry(soma_tensor *tensor, const char *name, const json_t *entry,
           const span *data, soma_error *err)
{
    uint64_t bits = 0;
    tensor->name = strdup(name);
    if (!tensor->name)
        return soma_error_memory(err, "tensors");
    if (!json_is_object(entry))
        return refuse(err, tensor, "expected an object");
    soma_status status =
        read_dtype(tensor, json_object_get(entry, "dtype"), &bits, err);
    if (!status)
        status = read_shape(tensor, json_object_get(entry, "shape"), err);
    if (!status)
        status = read_offsets(tensor, json_object_get(entry, "data_offsets"),
                              bits, data, err);
    return status;
}

static soma_status
read_metadata(soma_safetensors *st, json_t *metadata, soma_error *err)
{
    char text[SOMA_QUOTE_SIZE];
    const char *key;
    json_t *value;
    if (json_is_null(metadata)) /* the reference reads this as none */
        return SOMA_OK;
    if (!json_is_object(metadata))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "__metadata__: expected an object");
    st->meta = calloc(json_object_size(metadata) + 1, sizeof *st->meta);
    if (!st->meta)
        return soma_error_memory(err, "metadata");
    json_object_foreach (metadata, key, value) {
        if (!json_is_string(value))
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "__metadata__: \"%s\" is not a string",
                                  soma_quote(key, text));
        soma_meta *meta = &st->meta[st->meta_count++];
        meta->key = strdup(key);
        meta->value = strdup(json_string_value(value));
        if (!meta->key || !meta->value)
            return soma_error_memory(err, "metadata");
    }
    return SOMA_OK;
}

/* Tensors of no bytes stand before the one that begins where they do. */
static int
by_offset(const void *a, const void *b)
{
    const soma_tensor *p = a, *q = b;
    if (p->data != q->data)
        return p->data < q->data ? -1 : 1;
    if (p->size != q->size)
        return p->size < q->size ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Whether the tensors fill the data, one after the other. */
static soma_status
check_cover(soma_safetensors *st, const span *data, soma_error *err)
{
    const unsigned char *at = data->start;
    qsort(st->tensors, (size_t)st->tensor_count, sizeof *st->tensors,
          by_offset);
    for (int i = 0; i < st->tensor_count; i++) {
        const soma_tensor *tensor = &st->tensors[i];
        if (tensor->data != at)
            return refuse(err, tensor,
                          "data_offsets: %s, begin at %td where %td was "
                          "expected",
                          tensor->data < at ? "an overlap" : "a hole",
                          tensor->data - data->start, at - data->start);
        at += tensor->size;
    }
    uint64_t left = data->size - (uint64_t)(at - data->start);
    if (left)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%" PRIu64 " bytes behind the last tensor", left);
    return SOMA_OK;
}

static soma_status
read_header(soma_safetensors *st, json_t *header, const span *data,
            soma_error *err)
{
    const char *name;
    json_t *entry;
    st->tensors = calloc(json_object_size(header) + 1, sizeof *st->tensors);
    if (!st->tensors)
        return soma_error_memory(err, "tensors");
    json_object_foreach (header, name, entry) {
        soma_status status = strcmp(name, "__metadata__")
                                 ? read_entry(&st->tensors[st->tensor_count++],
                                              name, entry, data, err)
                                 : read_metadata(st, entry, err);
        if (status)
            return status;
    }
    return check_cover(st, data, err);
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
                              "a header of %" PRIu64 " bytes, at most %" PRIu64
                              " are allowed (is this a safetensors file?)",
                              length, MAX_HEADER);
    if (length > file->size - sizeof length)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "a header of %" PRIu64 " bytes goes beyond the "
                              "end of the file",
                              length);
    const unsigned char *start = file->data + sizeof length;
    json_t *header;
    soma_status status = soma_json_parse((const char *)start, (size_t)length,
                                         "header", &header, err);
    if (status)
        return status;
    span data = {start + length, file->size - sizeof length - length};
    status = read_header(st, header, &data, err);
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

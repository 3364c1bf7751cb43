/* ONNX tensors as constants: raw_data, little endian, or a typed field, or a
 * file beside. int32_data also holds the small integers and, as their 16 bits,
 * FLOAT16 and BFLOAT16.
 */
#include "core/io/half.h"
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an element, 0: a type that is not read. */
static size_t
width_of(int type)
{
    switch (type) {
    case ONNX_UINT8:
    case ONNX_INT8:
    case ONNX_BOOL:
        return 1;
    case ONNX_UINT16:
    case ONNX_INT16:
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16:
        return 2;
    case ONNX_FLOAT:
    case ONNX_INT32:
    case ONNX_UINT32:
        return 4;
    case ONNX_INT64:
    case ONNX_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

bool
soma_onnx_is_float(int64_t type)
{
    return type == ONNX_FLOAT || type == ONNX_DOUBLE || type == ONNX_FLOAT16 ||
           type == ONNX_BFLOAT16;
}

static soma_status
refuse(const soma_onnx_tensor *tensor, soma_error *err, soma_status status,
       const char *text)
{
    char name[SOMA_QUOTE_SIZE];
    return soma_error_set(err, status, "tensor \"%s\": %s",
                          soma_quote(tensor->name ? tensor->name : "", name),
                          text);
}

/* How many elements the typed field of this type has. */
static size_t
typed_count(const soma_onnx_tensor *tensor)
{
    switch (tensor->data_type) {
    case ONNX_FLOAT:
        return tensor->n_float_data;
    case ONNX_DOUBLE:
        return tensor->n_double_data;
    case ONNX_INT64:
        return tensor->n_int64_data;
    case ONNX_UINT32:
        return tensor->n_uint64_data;
    default:
        return tensor->n_int32_data;
    }
}

static bool
is_external(const soma_onnx_tensor *tensor)
{
    return tensor->has_data_location && tensor->data_location == 1;
}

/* What the shape claims must be there. */
static soma_status
check_data(const soma_onnx_tensor *tensor, size_t count, soma_error *err)
{
    if (tensor->data_type == ONNX_STRING)
        return tensor->n_string_data == count
                   ? SOMA_OK
                   : refuse(tensor, err, SOMA_E_FORMAT,
                            "not as many strings as its shape says");
    size_t bytes, width = width_of(tensor->data_type);
    if (width == 0)
        return refuse(tensor, err, SOMA_E_UNSUPPORTED,
                      "a type of elements that is not read: expected floats, "
                      "integers or strings");
    if (__builtin_mul_overflow(count, width, &bytes))
        return refuse(tensor, err, SOMA_E_LIMIT, "too large");
    if (is_external(tensor))
        return SOMA_OK; /* checked when it is opened */
    if (tensor->has_raw_data ? tensor->raw_data.len != bytes
                             : typed_count(tensor) != count)
        return refuse(tensor, err, SOMA_E_FORMAT,
                      "not as many values as its shape says");
    return SOMA_OK;
}

soma_status
soma_onnx_tensor_value(soma_onnx *onnx, const soma_onnx_node *node,
                       const soma_onnx_tensor *tensor, soma_onnx_value **made,
                       soma_error *err)
{
    soma_onnx_value *value = soma_onnx_new(onnx, node, ONNX_CONSTANT, err);
    if (!value)
        return err->status;
    if (tensor->n_dims > ONNX_MAX_RANK)
        return refuse(tensor, err, SOMA_E_LIMIT, "more than 8 dimensions");
    for (size_t i = 0; i < tensor->n_dims; i++) {
        int64_t dim = tensor->dims[i];
        value->dims[i] = dim;
        if (dim < 0 ||
            __builtin_mul_overflow(value->size, (size_t)dim, &value->size))
            return refuse(
                tensor, err, SOMA_E_FORMAT,
                "no sensible shape: the file is damaged, export it again");
    }
    value->rank = (int)tensor->n_dims;
    value->tensor = tensor;
    *made = value;
    return check_data(tensor, value->size, err);
}

/* ---- Values ---- */

static double
raw_at(int type, const unsigned char *at)
{
    uint16_t half;
    float single;
    double wide;
    switch (type) {
    case ONNX_FLOAT16:
        memcpy(&half, at, sizeof half);
        return (double)soma_half_to_float(half);
    case ONNX_BFLOAT16:
        memcpy(&half, at, sizeof half);
        return (double)soma_bfloat_to_float(half);
    case ONNX_FLOAT:
        memcpy(&single, at, sizeof single);
        return (double)single;
    default:
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
}

static double
typed_at(const soma_onnx_tensor *tensor, size_t i)
{
    switch (tensor->data_type) {
    case ONNX_FLOAT:
        return (double)tensor->float_data[i];
    case ONNX_DOUBLE:
        return tensor->double_data[i];
    case ONNX_FLOAT16:
        return (double)soma_half_to_float((uint16_t)tensor->int32_data[i]);
    default:
        return (double)soma_bfloat_to_float((uint16_t)tensor->int32_data[i]);
    }
}

static int64_t
raw_whole(int type, const unsigned char *at)
{
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    switch (type) {
    case ONNX_INT8:
        return (signed char)*at;
    case ONNX_INT16:
        memcpy(&i16, at, sizeof i16);
        return i16;
    case ONNX_UINT16:
        memcpy(&u16, at, sizeof u16);
        return u16;
    case ONNX_INT32:
        memcpy(&i32, at, sizeof i32);
        return i32;
    case ONNX_UINT32:
        memcpy(&u32, at, sizeof u32);
        return u32;
    case ONNX_INT64:
        memcpy(&i64, at, sizeof i64);
        return i64;
    default:
        return *at;
    }
}

static int64_t
typed_whole(const soma_onnx_tensor *tensor, size_t i)
{
    switch (tensor->data_type) {
    case ONNX_INT64:
        return tensor->int64_data[i];
    case ONNX_UINT32:
        return (int64_t)tensor->uint64_data[i];
    default:
        return tensor->int32_data[i];
    }
}

static soma_status
decode_floats(soma_onnx *onnx, soma_onnx_value *value, const unsigned char *raw,
              soma_error *err)
{
    const soma_onnx_tensor *tensor = value->tensor;
    size_t width = width_of(tensor->data_type);
    float *floats = soma_onnx_alloc(onnx, value->size, sizeof *floats, err);
    if (!floats)
        return err->status;
    for (size_t i = 0; i < value->size; i++) {
        double number = raw ? raw_at(tensor->data_type, raw + i * width)
                            : typed_at(tensor, i);
        floats[i] = (float)number;
        if (!isfinite(floats[i]))
            return refuse(tensor, err, SOMA_E_NOT_FINITE,
                          "not all of its values are finite float32: the "
                          "training went wrong, or the export");
    }
    value->floats = floats;
    return SOMA_OK;
}

static soma_status
decode_whole(soma_onnx *onnx, soma_onnx_value *value, const unsigned char *raw,
             soma_error *err)
{
    const soma_onnx_tensor *tensor = value->tensor;
    size_t width = width_of(tensor->data_type);
    int64_t *whole = soma_onnx_alloc(onnx, value->size, sizeof *whole, err);
    if (!whole)
        return err->status;
    for (size_t i = 0; i < value->size; i++)
        whole[i] = raw ? raw_whole(tensor->data_type, raw + i * width)
                       : typed_whole(tensor, i);
    value->whole = whole;
    return SOMA_OK;
}

soma_status
soma_onnx_decode(soma_onnx *onnx, soma_onnx_value *value, soma_error *err)
{
    const soma_onnx_tensor *tensor = value->tensor;
    if (value->floats || value->whole)
        return SOMA_OK;
    if (tensor->data_type == ONNX_STRING)
        return refuse(tensor, err, SOMA_E_UNSUPPORTED,
                      "strings where numbers are needed");
    const unsigned char *raw =
        tensor->has_raw_data ? tensor->raw_data.data : NULL;
    soma_bytes beside = {NULL, 0};
    soma_status status = SOMA_OK;
    if (is_external(tensor)) {
        size_t bytes = value->size * width_of(tensor->data_type);
        status = soma_onnx_external(onnx, tensor, bytes, &beside, err);
        raw = beside.data;
    }
    if (status) {
        char name[SOMA_QUOTE_SIZE];
        soma_error_prefix(err, "tensor \"%s\"",
                          soma_quote(tensor->name ? tensor->name : "", name));
        return status;
    }
    status = soma_onnx_is_float(tensor->data_type)
                 ? decode_floats(onnx, value, raw, err)
                 : decode_whole(onnx, value, raw, err);
    soma_bytes_free(&beside);
    return status;
}

soma_status
soma_onnx_floats(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value *value, soma_error *err)
{
    if (!value || value->kind != ONNX_CONSTANT)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "a constant is expected where the file has "
                                "%s: the weights must be in the file",
                                value ? "a value that depends on the input"
                                      : "nothing");
    soma_status status = soma_onnx_decode(onnx, value, err);
    if (!status && !value->floats)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "its constants are integers, floats are "
                                "expected: export the model in float32");
    return status;
}

soma_status
soma_onnx_whole(soma_onnx *onnx, const soma_onnx_node *node,
                soma_onnx_value *value, soma_error *err)
{
    if (!value || value->kind != ONNX_CONSTANT)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "constant integers are expected where the file "
                                "has %s",
                                value ? "a value that depends on the input"
                                      : "nothing");
    soma_status status = soma_onnx_decode(onnx, value, err);
    if (!status && !value->whole)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "its constants are floats, integers are "
                                "expected");
    return status;
}

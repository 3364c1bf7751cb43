/* A tensor's elements as float32 (formats of 16 bits: half.h). */
#include "core/io/half.h"
#include "core/io/quote.h"
#include "core/io/safetensors.h"

#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static void
from_f32(const unsigned char *data, uint64_t count, float *to)
{
    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, data + i * sizeof bits, sizeof bits);
        bits = le32toh(bits);
        memcpy(&to[i], &bits, sizeof bits);
    }
}

static void
from_f64(const unsigned char *data, uint64_t count, float *to)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bits;
        double value;
        memcpy(&bits, data + i * sizeof bits, sizeof bits);
        bits = le64toh(bits);
        memcpy(&value, &bits, sizeof value);
        to[i] = (float)value;
    }
}

static uint16_t
load16(const unsigned char *data)
{
    return (uint16_t)(data[0] | data[1] << 8);
}

static void
from_f16(const unsigned char *data, uint64_t count, float *to)
{
    for (uint64_t i = 0; i < count; i++)
        to[i] = soma_half_to_float(load16(data + 2 * i));
}

static void
from_bf16(const unsigned char *data, uint64_t count, float *to)
{
    for (uint64_t i = 0; i < count; i++)
        to[i] = soma_bfloat_to_float(load16(data + 2 * i));
}

static const struct {
    const char *dtype;
    uint64_t size; /* of an element */
    void (*convert)(const unsigned char *data, uint64_t count, float *to);
} readers[] = {{"F32", 4, from_f32},
               {"F16", 2, from_f16},
               {"BF16", 2, from_bf16},
               {"F64", 8, from_f64}};

static soma_status
check_finite(const soma_tensor *tensor, uint64_t first, uint64_t count,
             const float *values, soma_error *err)
{
    char name[SOMA_QUOTE_SIZE];
    uint32_t infinite = 0; /* all of them, without a branch for each */
    for (uint64_t i = 0; i < count; i++)
        infinite |= !isfinite(values[i]);
    for (uint64_t i = 0; infinite && i < count; i++)
        if (!isfinite(values[i]))
            return soma_error_set(err, SOMA_E_NOT_FINITE,
                                  "tensor \"%s\": element %" PRIu64
                                  " is not a finite float32",
                                  soma_quote(tensor->name, name), first + i);
    return SOMA_OK;
}

soma_status
soma_tensor_part(const soma_tensor *tensor, uint64_t first, uint64_t count,
                 float *to, soma_error *err)
{
    char name[SOMA_QUOTE_SIZE];
    for (size_t k = 0; k < sizeof readers / sizeof *readers; k++) {
        if (strcmp(tensor->dtype, readers[k].dtype))
            continue;
        const unsigned char *data = tensor->data;
        readers[k].convert(data + first * readers[k].size, count, to);
        return check_finite(tensor, first, count, to, err);
    }
    return soma_error_set(err, SOMA_E_UNSUPPORTED,
                          "tensor \"%s\": dtype %s; expected F32, F16, BF16 or "
                          "F64",
                          soma_quote(tensor->name, name), tensor->dtype);
}

soma_status
soma_tensor_floats(const soma_tensor *tensor, float *to, soma_error *err)
{
    return soma_tensor_part(tensor, 0, tensor->elements, to, err);
}

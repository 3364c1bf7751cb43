#include "server/web/tensors.h"

#include "core/io/half.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Elements need not be aligned: the JSON before them has any length. */
#define READER(name, type)                                                     \
    static void name(const unsigned char *from, size_t count, float *to)       \
    {                                                                          \
        for (size_t i = 0; i < count; i++) {                                   \
            type value;                                                        \
            memcpy(&value, from + i * sizeof value, sizeof value);             \
            to[i] = (float)value;                                              \
        }                                                                      \
    }

READER(read_u8, uint8_t)
READER(read_u16, uint16_t)
READER(read_u32, uint32_t)
READER(read_u64, uint64_t)
READER(read_i8, int8_t)
READER(read_i16, int16_t)
READER(read_i32, int32_t)
READER(read_i64, int64_t)
READER(read_f64, double)

static void
read_bool(const unsigned char *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] ? 1 : 0;
}

static void
read_f32(const unsigned char *from, size_t count, float *to)
{
    memcpy(to, from, count * sizeof *to);
}

static void
read_f16(const unsigned char *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + i * sizeof half, sizeof half);
        to[i] = soma_half_to_float(half);
    }
}

static void
read_bf16(const unsigned char *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + i * sizeof half, sizeof half);
        to[i] = soma_bfloat_to_float(half);
    }
}

static const soma_datatype types[] = {
    {"FP32", 4, true, 0, 0, read_f32},
    {"UINT8", 1, true, 0, UINT8_MAX, read_u8},
    {"FP64", 8, true, 0, 0, read_f64},
    {"FP16", 2, false, 0, 0, read_f16},
    {"BF16", 2, false, 0, 0, read_bf16},
    {"INT8", 1, true, INT8_MIN, INT8_MAX, read_i8},
    {"INT16", 2, true, INT16_MIN, INT16_MAX, read_i16},
    {"INT32", 4, true, INT32_MIN, INT32_MAX, read_i32},
    {"INT64", 8, true, -0x1p63, 0x1p63, read_i64},
    {"UINT16", 2, true, 0, UINT16_MAX, read_u16},
    {"UINT32", 4, true, 0, UINT32_MAX, read_u32},
    {"UINT64", 8, true, 0, 0x1p64, read_u64},
    {"BOOL", 1, true, 0, 1, read_bool},
    {"BYTES", 0, true, 0, 0, NULL},
};

const soma_datatype *
soma_datatype_find(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name))
            return &types[i];
    return NULL;
}

/* All at once first, which becomes vectors: x - x is not 0 for those only. */
size_t
soma_tensor_not_finite(const float *values, size_t count)
{
    int bad = 0;
    for (size_t i = 0; i < count; i++)
        bad |= values[i] - values[i] != 0;
    size_t first = 0;
    while (bad && isfinite(values[first]))
        first++;
    return bad ? first : count;
}

size_t
soma_tensor_out_of_range(const soma_datatype *type, const float *values,
                         size_t count)
{
    size_t i = 0;
    if (type->low == type->high)
        return count;
    while (i < count && values[i] >= type->low && values[i] <= type->high &&
           rintf(values[i]) == values[i])
        i++;
    return i;
}

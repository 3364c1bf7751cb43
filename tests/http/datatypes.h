/* The datatypes of the Open Inference Protocol, and how a byte becomes one.
 */
#ifndef SOMA_TESTS_HTTP_DATATYPES_H
#define SOMA_TESTS_HTTP_DATATYPES_H

#include "tests/http/server.h"

#include "core/io/half.h"

#include <string.h>

typedef struct kind {
    const char *name;
    size_t size;
    bool json;
    void (*put)(unsigned char value, void *to);
} kind;

#define PUT(name, type)                                                        \
    static void put_##name(unsigned char value, void *to)                      \
    {                                                                          \
        type wide = (type)value;                                               \
        memcpy(to, &wide, sizeof wide);                                        \
    }
PUT(u8, uint8_t)
PUT(u16, uint16_t)
PUT(u32, uint32_t)
PUT(u64, uint64_t)
PUT(i8, int8_t)
PUT(i16, int16_t)
PUT(i32, int32_t)
PUT(i64, int64_t)
PUT(f32, float)
PUT(f64, double)

static inline void
put_f16(unsigned char value, void *to)
{
    uint16_t half = soma_half_from_float(value);
    memcpy(to, &half, sizeof half);
}

static inline void
put_bf16(unsigned char value, void *to)
{
    uint16_t half = soma_bfloat_from_float(value);
    memcpy(to, &half, sizeof half);
}

static const kind kinds[] = {
    {"FP32", 4, true, put_f32},   {"FP64", 8, true, put_f64},
    {"FP16", 2, false, put_f16},  {"BF16", 2, false, put_bf16},
    {"INT8", 1, true, put_i8},    {"INT16", 2, true, put_i16},
    {"INT32", 4, true, put_i32},  {"INT64", 8, true, put_i64},
    {"UINT8", 1, true, put_u8},   {"UINT16", 2, true, put_u16},
    {"UINT32", 4, true, put_u32}, {"UINT64", 8, true, put_u64},
    {"BOOL", 1, true, put_u8},
};

/* An image that all types can hold: 0 to 127, or 0 and 1. */
static inline void
make_image(const kind *k, unsigned char image[PIXELS])
{
    bool ones = !strcmp(k->name, "BOOL");
    for (int i = 0; i < PIXELS; i++)
        image[i] = ones ? fashion_images()[i] > 99
                        : (unsigned char)(fashion_images()[i] / 2);
}

#endif

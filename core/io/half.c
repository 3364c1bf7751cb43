#include "core/io/half.h"

#include <string.h>

static uint32_t
bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float
float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float
soma_bfloat_to_float(uint16_t bfloat)
{
    return float_of((uint32_t)bfloat << 16);
}

uint16_t
soma_bfloat_from_float(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* stays a NaN */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
float
soma_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

/* The bits of a positive float below 2^-14 as a multiple of 2^-24. */
static uint32_t
subnormal_from(uint32_t bits)
{
    uint32_t exponent = bits >> 23;
    if (exponent < 102) /* below 2^-25, half of the least one */
        return 0;
    uint32_t significand = (bits & 0x7fffff) | 0x800000;
    uint32_t shift = 126 - exponent, half = 1U << (shift - 1);
    uint32_t odd = significand >> shift & 1;
    return (significand + half - 1 + odd) >> shift;
}

uint16_t
soma_half_from_float(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000)
        return (uint16_t)(sign | subnormal_from(magnitude));
    uint32_t odd = magnitude >> 13 & 1;
    magnitude += 0xfff + odd - ((uint32_t)(127 - 15) << 23);
    return (uint16_t)(sign | magnitude >> 13);
}

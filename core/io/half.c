#include "core/io/half.h"

#include <string.h>

static uint32_t
bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t
soma_bfloat_from_float(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* stays a NaN */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
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

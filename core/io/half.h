/* 16-bit floats: IEEE 754 binary16 (F16) and bfloat16 (BF16). */
#ifndef SOMA_CORE_IO_HALF_H
#define SOMA_CORE_IO_HALF_H

#include <stdint.h>
#include <string.h>

/* Inline, and without a branch, so that loops over them become vectors: half
 * of a server's start was spent here. */
static inline float
soma_bfloat_to_float(uint16_t bfloat)
{
    uint32_t bits = (uint32_t)bfloat << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. Shifted to where
 * float32 has them, its bits are the value times 2^-112, subnormals too. */
static inline float
soma_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13;
    uint32_t special = bits >= 0x0f800000 ? 0x7f800000 : 0; /* infinity, NaN */
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    bits |= sign | special;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round to nearest, ties to even; beyond the range becomes infinity. */
uint16_t soma_half_from_float(float value);
uint16_t soma_bfloat_from_float(float value);

#endif

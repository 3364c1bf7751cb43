/* 16-bit floats: IEEE 754 binary16 (F16) and bfloat16 (BF16). */
#ifndef SOMA_CORE_IO_HALF_H
#define SOMA_CORE_IO_HALF_H

#include <stdint.h>

float soma_half_to_float(uint16_t half);
float soma_bfloat_to_float(uint16_t bfloat);

/* Round to nearest, ties to even; beyond the range becomes infinity. */
uint16_t soma_half_from_float(float value);
uint16_t soma_bfloat_from_float(float value);

#endif

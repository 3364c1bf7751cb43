/* PNG and JPEG pictures as a model's input.
 */
#ifndef SOMA_CORE_IO_PICTURE_H
#define SOMA_CORE_IO_PICTURE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sides of a picture that is decoded, and the most pixels: up to 3 bytes each,
 * 7 while alpha is laid over black. A JPEG of many scans is refused when it
 * would take longer than 16 scans over the most pixels. */
enum {
    SOMA_PICTURE_MAX_SIDE = 16384,
    SOMA_PICTURE_MAX_PIXELS = 40000000,
    SOMA_PICTURE_MAX_SCANS = 16
};

/* 8 bits a channel, rows from the top, channels interleaved. */
typedef struct soma_picture {
    int width, height;
    int channels; /* 1 grey, 3 RGB */
    uint8_t *pixels;
} soma_picture;

void soma_picture_free(soma_picture *picture);

/* Decodes PNG or JPEG, told apart by their first bytes. Values are those that
 * the file stores: no gamma or colour profile is applied; 16 bits are cut to
 * 8; grey of 1, 2 or 4 bits is stretched to 0..255; palettes are looked up;
 * alpha is laid over black. JPEG orientation tags are not applied. The size is
 * checked against the bounds above before any memory is taken. A truncated or
 * damaged picture is refused, also where a viewer would show a part of it.
 * SOMA_E_FORMAT, SOMA_E_LIMIT, SOMA_E_UNSUPPORTED (CMYK). */
soma_status soma_picture_decode(const void *data, size_t size,
                                soma_picture *picture, soma_error *err);

/* Scales and converts to 1 or 3 channels of height x width, planes one after
 * the other ([C][H][W]), whole numbers 0..255: always something that a byte
 * holds. A picture of just that size keeps its values exactly. Shrinking
 * averages areas, growing is bilinear, each rounded to the nearest; grey from
 * RGB is (299 R + 587 G + 114 B + 500) / 1000 cut to a whole number, before
 * scaling. SOMA_E_SHAPE for other channels. */
soma_status soma_picture_planes(const soma_picture *picture, int channels,
                                int height, int width, float *planes,
                                soma_error *err);

#endif

/* The decoders behind picture.c. Private to core/io. On failure the caller
 * frees what they put into the picture. */
#ifndef SOMA_CORE_IO_PICTURE_FORMATS_H
#define SOMA_CORE_IO_PICTURE_FORMATS_H

#include "core/io/picture.h"

#include <stdbool.h>

/* SOMA_E_LIMIT for a picture beyond the bounds of picture.h. */
soma_status soma_picture_check(unsigned long width, unsigned long height,
                               soma_error *err);

/* Checks the bounds, then allocates. */
soma_status soma_picture_allocate(soma_picture *picture, unsigned long width,
                                  unsigned long height, int channels,
                                  soma_error *err);

soma_status soma_picture_decode_png(const uint8_t *data, size_t size,
                                    soma_picture *picture, soma_error *err);
soma_status soma_picture_decode_jpeg(const uint8_t *data, size_t size,
                                     soma_picture *picture, soma_error *err);

#endif

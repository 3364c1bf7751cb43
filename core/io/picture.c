#include "core/io/picture.h"

#include "core/io/picture_formats.h"

#include <stdlib.h>
#include <string.h>

void
soma_picture_free(soma_picture *picture)
{
    free(picture->pixels);
    *picture = (soma_picture){0};
}

soma_status
soma_picture_check(unsigned long width, unsigned long height, soma_error *err)
{
    if (width >= 1 && height >= 1 && width <= SOMA_PICTURE_MAX_SIDE &&
        height <= SOMA_PICTURE_MAX_SIDE &&
        width * height <= SOMA_PICTURE_MAX_PIXELS)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_LIMIT,
                          "a picture of %lu x %lu pixels; at most %d on a "
                          "side and %d in all are read",
                          width, height, SOMA_PICTURE_MAX_SIDE,
                          SOMA_PICTURE_MAX_PIXELS);
}

soma_status
soma_picture_allocate(soma_picture *picture, unsigned long width,
                      unsigned long height, int channels, soma_error *err)
{
    soma_status status = soma_picture_check(width, height, err);
    if (status)
        return status;
    picture->pixels = malloc(width * height * (size_t)channels);
    if (!picture->pixels)
        return soma_error_memory(err, "a picture");
    picture->width = (int)width;
    picture->height = (int)height;
    picture->channels = channels;
    return SOMA_OK;
}

soma_status
soma_picture_decode(const void *data, size_t size, soma_picture *picture,
                    soma_error *err)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    *picture = (soma_picture){0};
    soma_status status;
    if (size >= sizeof png && !memcmp(data, png, sizeof png))
        status = soma_picture_decode_png(data, size, picture, err);
    else if (size >= sizeof jpeg && !memcmp(data, jpeg, sizeof jpeg))
        status = soma_picture_decode_jpeg(data, size, picture, err);
    else
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "neither a PNG nor a JPEG picture");
    if (status)
        soma_picture_free(picture);
    return status;
}

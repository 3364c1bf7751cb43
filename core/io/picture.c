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
soma_picture_allocate(soma_picture *picture, long width, long height,
                      int channels, soma_error *err)
{
    if (width < 1 || height < 1 || width > SOMA_PICTURE_MAX_SIDE ||
        height > SOMA_PICTURE_MAX_SIDE ||
        width * height > SOMA_PICTURE_MAX_PIXELS)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "a picture of %ld x %ld pixels; at most %d on a "
                              "side and %d in all are read",
                              width, height, SOMA_PICTURE_MAX_SIDE,
                              SOMA_PICTURE_MAX_PIXELS);
    picture->pixels = malloc((size_t)(width * height * channels));
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

/* One channel of one pixel of the picture as `channels` has it. */
static float
sample(const soma_picture *picture, int channels, int c, int x, int y)
{
    const uint8_t *p =
        picture->pixels + ((size_t)y * (size_t)picture->width + (size_t)x) *
                              (size_t)picture->channels;
    if (picture->channels == 1)
        return p[0];
    if (channels == 3)
        return p[c];
    return (float)((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
}

/* How much source cell i counts for target cell `to`, when `from` cells are
 * scaled to `count`: shrinking, the share of the target that it covers;
 * growing, its part in the line between the two nearest centres. */
typedef struct span {
    int first, last;
    double scale, centre;
} span;

static span
span_of(int to, int count, int from)
{
    span s;
    s.scale = (double)from / count;
    if (from >= count) {
        s.first = (int)(to * s.scale);
        s.last = (int)((to + 1) * s.scale - 1e-9);
        s.centre = to * s.scale;
    } else {
        s.centre = (to + 0.5) * s.scale - 0.5;
        s.centre = s.centre < 0 ? 0 : s.centre;
        s.first = (int)s.centre;
        s.last = s.first + 1;
    }
    s.last = s.last >= from ? from - 1 : s.last;
    return s;
}

static double
weight(const span *s, int i, int count, int from)
{
    if (from < count) {
        double distance = i > s->centre ? i - s->centre : s->centre - i;
        return s->first == s->last ? 1 : 1 - distance;
    }
    double a = i > s->centre ? i : s->centre;
    double end = s->centre + s->scale;
    double b = i + 1 < end ? i + 1 : end;
    return (b - a) / s->scale;
}

static float
scaled(const soma_picture *picture, int channels, int c, const span *sx,
       const span *sy, int width, int height)
{
    double sum = 0;
    for (int y = sy->first; y <= sy->last; y++) {
        double wy = weight(sy, y, height, picture->height);
        for (int x = sx->first; x <= sx->last; x++)
            sum += wy * weight(sx, x, width, picture->width) *
                   (double)sample(picture, channels, c, x, y);
    }
    return (float)sum;
}

soma_status
soma_picture_planes(const soma_picture *picture, int channels, int height,
                    int width, float *planes, soma_error *err)
{
    if (channels != 1 && channels != 3)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "a picture has 1 or 3 channels, the model's "
                              "input %d",
                              channels);
    bool same = picture->width == width && picture->height == height;
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < height; y++) {
            span sy = span_of(y, height, picture->height);
            for (int x = 0; x < width; x++) {
                span sx = span_of(x, width, picture->width);
                *planes++ = same ? sample(picture, channels, c, x, y)
                                 : scaled(picture, channels, c, &sx, &sy, width,
                                          height);
            }
        }
    return SOMA_OK;
}

/* Scaling to the model's input, rows and columns one after the other.
 *
 * Along each side a target cell is a weighted sum of neighbouring source
 * cells. Shrinking, a source cell counts for the part of the target that it
 * covers; growing, the two whose centres are nearest count linearly. Weights
 * are quotients of whole numbers, so nothing depends on rounding errors.
 */
#include "core/io/picture_formats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct tap {
    int first, count;     /* source cells */
    const float *weights; /* [count] */
} tap;

typedef struct axis {
    tap *taps;
    float *weights;
} axis;

static int
shrink(int from, int to, int cell, int *first, float *weights)
{
    /* In units of 1/to source cells; the target covers `from` of them. */
    int64_t start = (int64_t)cell * from, end = start + from;
    int last = (int)((end - 1) / to);
    *first = (int)(start / to);
    for (int i = *first; i <= last; i++) {
        int64_t a = (int64_t)i * to, b = a + to;
        int64_t covered = (b < end ? b : end) - (a > start ? a : start);
        weights[i - *first] = (float)((double)covered / from);
    }
    return last - *first + 1;
}

static int
grow(int from, int to, int cell, int *first, float *weights)
{
    /* The target's centre, from the first source centre, in 1/(2 to). */
    int64_t unit = 2 * (int64_t)to;
    int64_t centre = (2 * (int64_t)cell + 1) * from - to;
    centre = centre < 0 ? 0 : centre;
    *first = (int)(centre / unit);
    float part = (float)((double)(centre % unit) / (double)unit);
    weights[0] = 1 - part;
    weights[1] = part;
    if (*first < from - 1)
        return 2;
    weights[0] = 1;
    return 1;
}

static void
free_axis(axis *side)
{
    free(side->taps);
    free(side->weights);
}

static bool
make_axis(axis *side, int from, int to)
{
    side->taps = malloc((size_t)to * sizeof *side->taps);
    side->weights =
        malloc(((size_t)from + 2 * (size_t)to) * sizeof *side->weights);
    if (!side->taps || !side->weights)
        return false;
    float *next = side->weights;
    for (int i = 0; i < to; i++) {
        tap *t = &side->taps[i];
        t->weights = next;
        t->count = (from > to ? shrink : grow)(from, to, i, &t->first, next);
        next += t->count;
    }
    return true;
}

/* Adds `weight` times channel c of one row to `sum`. */
static void
add_row(const soma_picture *picture, int channels, int c, int y, float weight,
        float *sum)
{
    int step = picture->channels;
    size_t stride = (size_t)picture->width * (size_t)step;
    const uint8_t *p = picture->pixels + (size_t)y * stride;
    if (step == 1 || channels == 3) {
        p += step == 1 ? 0 : c;
        for (int x = 0; x < picture->width; x++, p += step)
            sum[x] += weight * (float)*p;
        return;
    }
    for (int x = 0; x < picture->width; x++, p += 3) {
        int grey = (299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000;
        sum[x] += weight * (float)grey;
    }
}

static void
scale_plane(const soma_picture *picture, int channels, int c, const axis *rows,
            int height, const axis *columns, int width, float *line,
            float *plane)
{
    for (int y = 0; y < height; y++) {
        const tap *row = &rows->taps[y];
        memset(line, 0, (size_t)picture->width * sizeof *line);
        for (int i = 0; i < row->count; i++)
            add_row(picture, channels, c, row->first + i, row->weights[i],
                    line);
        for (int x = 0; x < width; x++) {
            const tap *column = &columns->taps[x];
            float sum = 0;
            for (int i = 0; i < column->count; i++)
                sum += column->weights[i] * line[column->first + i];
            *plane++ = floorf(sum + 0.5f);
        }
    }
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
    if (height < 1 || width < 1)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "a picture cannot be scaled to %d rows of %d "
                              "pixels",
                              height, width);
    axis rows = {NULL, NULL}, columns = {NULL, NULL};
    float *line = malloc((size_t)picture->width * sizeof *line);
    bool room = line && make_axis(&rows, picture->height, height) &&
                make_axis(&columns, picture->width, width);
    size_t size = (size_t)height * (size_t)width;
    for (int c = 0; c < channels && room; c++) {
        if (c > 0 && picture->channels == 1)
            memcpy(planes + (size_t)c * size, planes, size * sizeof *planes);
        else
            scale_plane(picture, channels, c, &rows, height, &columns, width,
                        line, planes + (size_t)c * size);
    }
    free(line);
    free_axis(&rows);
    free_axis(&columns);
    return room ? SOMA_OK : soma_error_memory(err, "scaling a picture");
}

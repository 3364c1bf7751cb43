#include "core/kernel.h"

#include <stddef.h>

#ifdef __SSE__
#include <xmmintrin.h>

enum { SIDE = 4 };

/* Squares of 4 x 4 floats. */
static void
turn_squares(int width, int lines, const float *panel, float *turned)
{
    for (int j = 0; j + SIDE <= width; j += SIDE) {
        const float *from = panel + j;
        float *to = turned + (size_t)j * (size_t)lines;
        __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + width);
        __m128 c = _mm_loadu_ps(from + 2 * width);
        __m128 d = _mm_loadu_ps(from + 3 * width);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(to, a), _mm_storeu_ps(to + lines, b);
        _mm_storeu_ps(to + 2 * lines, c), _mm_storeu_ps(to + 3 * lines, d);
    }
}
#else
enum { SIDE = 1 };

static void
turn_squares(int width, int lines, const float *panel, float *turned)
{
    for (int j = 0; j < width; j++)
        turned[(size_t)j * (size_t)lines] = panel[j];
}
#endif

void
soma_kernel_turn(int width, int lines, const float *panel, float *turned)
{
    int whole = width - width % SIDE;
    int i = 0;
    for (; i + SIDE <= lines; i += SIDE) {
        const float *line = panel + (size_t)i * (size_t)width;
        turn_squares(width, lines, line, turned + i);
        for (int k = 0; k < SIDE; k++)
            for (int j = whole; j < width; j++)
                turned[(size_t)j * (size_t)lines + (size_t)(i + k)] =
                    line[k * width + j];
    }
    for (; i < lines; i++)
        for (int j = 0; j < width; j++)
            turned[(size_t)j * (size_t)lines + (size_t)i] =
                panel[(size_t)i * (size_t)width + (size_t)j];
}

/* The rank-one updates of a step, on a panel as it lies.
 *
 * A line of the panel (one input, up to 64 outputs) stands in registers while
 * all rows are subtracted from it, so it is read and written once; two lines
 * (four with AVX-512's registers) at a time share the loads of d. Each weight
 * has its rows subtracted in their order, each by one fused multiply-add (where
 * the baseline has one), whatever the block: the same bits by either target.
 */
#include "core/kernel.h"

#include <stddef.h>

enum {
    LANES = 8,
    LINE = 64, /* the widest panel */
    ROWS = 16, /* that are taken at a time: their d stays in the cache */
};

/* Panels are aligned to single floats only. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)),
                                   aligned(sizeof(float)), may_alias));

typedef float half_lanes __attribute__((vector_size(LANES / 2 * sizeof(float)),
                                        aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* `lines` lines of `width` floats, `wide` vectors of each from column 0 on:
 * both constants where it is inlined, so that they stand in registers. */
INLINE void
block(const int lines, const int wide, int width, int rows, int in,
      const float *a, const float *scaled, float shrink, float *w)
{
    lanes line[4][8];
    for (int i = 0; i < lines; i++)
        for (int v = 0; v < wide; v++)
            line[i][v] = *(const lanes *)(w + i * width + v * LANES) * shrink;
    for (int r = 0; r < rows; r++, a += in, scaled += LINE)
        for (int v = 0; v < wide; v++) {
            lanes d = *(const lanes *)(scaled + v * LANES);
            for (int i = 0; i < lines; i++)
                line[i][v] -= a[i] * d;
        }
    for (int i = 0; i < lines; i++)
        for (int v = 0; v < wide; v++)
            *(lanes *)(w + i * width + v * LANES) = line[i][v];
}

/* The same for half a vector. */
INLINE void
half_block(const int lines, int width, int rows, int in, const float *a,
           const float *scaled, float shrink, float *w)
{
    half_lanes line[4];
    for (int i = 0; i < lines; i++)
        line[i] = *(const half_lanes *)(w + i * width) * shrink;
    for (int r = 0; r < rows; r++, a += in, scaled += LINE) {
        half_lanes d = *(const half_lanes *)scaled;
        for (int i = 0; i < lines; i++)
            line[i] -= a[i] * d;
    }
    for (int i = 0; i < lines; i++)
        *(half_lanes *)(w + i * width) = line[i];
}

/* The columns that are no half vector: on a copy that is a whole one. What
 * comes of the floats behind them is thrown away. */
INLINE void
rest(const int lines, int from, int width, int rows, int in, const float *a,
     const float *scaled, float shrink, float *w)
{
    float copy[4 * LANES] = {0};
    for (int i = 0; i < lines; i++)
        for (int j = from; j < width; j++)
            copy[i * LANES + j - from] = w[i * width + j];
    block(lines, 1, LANES, rows, in, a, scaled + from, shrink, copy);
    for (int i = 0; i < lines; i++)
        for (int j = from; j < width; j++)
            w[i * width + j] = copy[i * LANES + j - from];
}

INLINE void
some_lines(const int lines, int width, int rows, int in, const float *a,
           const float *scaled, float shrink, float *w)
{
    int j = 0;
    for (; j + 4 * LANES <= width; j += 4 * LANES)
        block(lines, 4, width, rows, in, a, scaled + j, shrink, w + j);
    if (j + 2 * LANES <= width) {
        block(lines, 2, width, rows, in, a, scaled + j, shrink, w + j);
        j += 2 * LANES;
    }
    if (j + LANES <= width) {
        block(lines, 1, width, rows, in, a, scaled + j, shrink, w + j);
        j += LANES;
    }
    if (j + LANES / 2 <= width) {
        half_block(lines, width, rows, in, a, scaled + j, shrink, w + j);
        j += LANES / 2;
    }
    if (j < width)
        rest(lines, j, width, rows, in, a, scaled, shrink, w);
}

INLINE void
update(const int lines, int in, int out, int width, int rows, const float *a,
       const float *d, float rate, float shrink, float *panel)
{
    /* `rest` reads a vector from any column of the last row on. */
    float scaled[ROWS * LINE + LANES] = {0};
    for (int from = 0; from < rows; from += ROWS, shrink = 1) {
        int some = rows - from < ROWS ? rows - from : ROWS;
        const float *entered = a + (size_t)from * (size_t)in;
        for (int r = 0; r < some; r++)
            for (int j = 0; j < width; j++)
                scaled[r * LINE + j] =
                    rate * d[(size_t)(from + r) * (size_t)out + (size_t)j];
        int i = 0;
        for (; i + lines <= in; i += lines)
            some_lines(lines, width, some, in, entered + i, scaled, shrink,
                       panel + (size_t)i * (size_t)width);
        for (; i < in; i++)
            some_lines(1, width, some, in, entered + i, scaled, shrink,
                       panel + (size_t)i * (size_t)width);
    }
}

/* Inner products, in float32: 32 sums, added up in a fixed order. */
INLINE float
dot(const float *a, const float *b, int count)
{
    lanes sum[4] = {{0}, {0}, {0}, {0}};
    float rest = 0;
    int i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; k++)
            sum[k] += *(const lanes *)(a + i + k * LANES) *
                      *(const lanes *)(b + i + k * LANES);
    for (; i < count; i++)
        rest += a[i] * b[i];
    lanes all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return (((all[0] + all[4]) + (all[2] + all[6])) +
            ((all[1] + all[5]) + (all[3] + all[7]))) +
           rest;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vl,fma"))) static void
update_avx512(int in, int out, int width, int rows, const float *a,
              const float *d, float rate, float shrink, float *panel)
{
    update(4, in, out, width, rows, a, d, rate, shrink, panel);
}

__attribute__((target("avx2,fma"))) static void
update_avx2(int in, int out, int width, int rows, const float *a,
            const float *d, float rate, float shrink, float *panel)
{
    update(2, in, out, width, rows, a, d, rate, shrink, panel);
}

__attribute__((target("avx2,fma"))) static float
dot_avx2(const float *a, const float *b, int count)
{
    return dot(a, b, count);
}
#endif

void
soma_kernel_update(int in, int out, int width, int rows, const float *a,
                   const float *d, float rate, float shrink, float *panel)
{
#if defined(__x86_64__)
    if (soma_kernel_chosen() == SOMA_KERNEL_AVX512) {
        update_avx512(in, out, width, rows, a, d, rate, shrink, panel);
        return;
    }
    if (soma_kernel_chosen() >= SOMA_KERNEL_AVX2) {
        update_avx2(in, out, width, rows, a, d, rate, shrink, panel);
        return;
    }
#endif
    update(1, in, out, width, rows, a, d, rate, shrink, panel);
}

float
soma_kernel_dot(const float *a, const float *b, int count)
{
#if defined(__x86_64__)
    if (soma_kernel_chosen() >= SOMA_KERNEL_AVX2)
        return dot_avx2(a, b, count);
#endif
    return dot(a, b, count);
}

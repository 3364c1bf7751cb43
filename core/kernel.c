/* 4 rows by 24 outputs in registers: 12 sums of 8 floats, 3 of weights and
 * one of an input fill AVX2's 16 registers. Each step of k loads 3 vectors of
 * weights once for 4 rows, and 12 fused multiply-adds follow. Each sum adds
 * up its products in the order of k, whatever the block: so a row's bits do
 * not depend on the rows beside it.
 * Vector types let the compiler choose the instructions: the same source is
 * built for AVX2 and, narrower, for whatever the baseline is. */
#include "core/kernel.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    LANES = 8,
    MOST = 8,
    GROUP = 4,
    CHUNK = 64, /* inputs at a time: 16 KiB of a 64-wide panel, which stay in
                   the first-level cache while the rows pass over them. The
                   sums go on in y, so it does not change a bit of them. */
    TILE = 128, /* rows at a time: more of x drive each other from the cache */
};

/* Panels are aligned to single floats only. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)),
                                   aligned(sizeof(float)), may_alias));
typedef float half_lanes __attribute__((vector_size(LANES / 2 * sizeof(float)),
                                        aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* `rows` x `wide` vectors of outputs, and half a one where `half` is 1: all
 * constants where it is inlined, so that its sums stand in registers. */
INLINE void
block(const int rows, const int wide, const int half, int in, int out,
      const float *panel, int width, int depth, const float *x, float *y)
{
    lanes sum[GROUP][MOST];
    half_lanes rest[GROUP];
    for (int r = 0; r < rows; r++) {
        const float *from = y + (size_t)r * (size_t)out;
        for (int v = 0; v < wide; v++)
            sum[r][v] = *(const lanes *)(from + v * LANES);
        if (half)
            rest[r] = *(const half_lanes *)(from + wide * LANES);
    }
    for (int k = 0; k < depth; k++, panel += width)
        for (int r = 0; r < rows; r++) {
            float value = x[(size_t)r * (size_t)in + (size_t)k];
            for (int v = 0; v < wide; v++)
                sum[r][v] += value * *(const lanes *)(panel + v * LANES);
            if (half)
                rest[r] += value * *(const half_lanes *)(panel + wide * LANES);
        }
    for (int r = 0; r < rows; r++) {
        float *to = y + (size_t)r * (size_t)out;
        for (int v = 0; v < wide; v++)
            *(lanes *)(to + v * LANES) = sum[r][v];
        if (half)
            *(half_lanes *)(to + wide * LANES) = rest[r];
    }
}

/* Single columns. Compilers that turn these loops into vectors may split the
 * fused multiply-add, for 1 row in another way than for 4 (gcc -O3 does), so
 * whether it is fused is not left to them. */
INLINE void
block1(const bool fused, const int rows, const int wide, int in, int out,
       const float *panel, int width, int depth, const float *x, float *y)
{
    float sum[GROUP][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++)
            sum[r][v] = y[(size_t)r * (size_t)out + (size_t)v];
    for (int k = 0; k < depth; k++, panel += width)
        for (int r = 0; r < rows; r++) {
            float value = x[(size_t)r * (size_t)in + (size_t)k];
            for (int v = 0; v < wide; v++)
                sum[r][v] = fused ? __builtin_fmaf(value, panel[v], sum[r][v])
                                  : sum[r][v] + value * panel[v];
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < wide; v++)
            y[(size_t)r * (size_t)out + (size_t)v] = sum[r][v];
}

/* Blocks of `wide` vectors from column j on, as many as fit; one takes half a
 * vector along that would be left over, if there are registers for it: alone,
 * that has too few sums to hide their latency. */
INLINE int
blocks(const int rows, const int wide, int j, int in, int out,
       const float *panel, int width, int depth, const float *x, float *y)
{
    while (j + wide * LANES <= width) {
        int left = width - j - wide * LANES;
        if (rows * (wide + 1) <= 12 && left >= LANES / 2 && left < LANES) {
            block(rows, wide, 1, in, out, panel + j, width, depth, x, y + j);
            j += LANES / 2;
        } else {
            block(rows, wide, 0, in, out, panel + j, width, depth, x, y + j);
        }
        j += wide * LANES;
    }
    return j;
}

/* The widest blocks that fit, from the left: about 12 sums each. */
INLINE void
columns(const bool fused, const int rows, int in, int out, const float *panel,
        int width, int depth, const float *x, float *y)
{
    const int widest = rows == 1 ? 8 : 12 / rows;
    int j = 0;
    j = blocks(rows, widest, j, in, out, panel, width, depth, x, y);
    if (widest > 4)
        j = blocks(rows, 4, j, in, out, panel, width, depth, x, y);
    j = blocks(rows, 2, j, in, out, panel, width, depth, x, y);
    j = blocks(rows, 1, j, in, out, panel, width, depth, x, y);
    if (j + LANES / 2 <= width) {
        block(rows, 0, 1, in, out, panel + j, width, depth, x, y + j);
        j += LANES / 2;
    }
    for (; j + 2 <= width; j += 2)
        block1(fused, rows, 2, in, out, panel + j, width, depth, x, y + j);
    if (j < width)
        block1(fused, rows, 1, in, out, panel + j, width, depth, x, y + j);
}

INLINE void
groups(const bool fused, int in, int out, const float *panel, int width,
       int depth, int rows, const float *x, float *y)
{
    for (; rows >= GROUP; rows -= GROUP) {
        columns(fused, GROUP, in, out, panel, width, depth, x, y);
        x += (size_t)GROUP * (size_t)in;
        y += (size_t)GROUP * (size_t)out;
    }
    if (rows == 3)
        columns(fused, 3, in, out, panel, width, depth, x, y);
    else if (rows == 2)
        columns(fused, 2, in, out, panel, width, depth, x, y);
    else if (rows == 1)
        columns(fused, 1, in, out, panel, width, depth, x, y);
}

INLINE void
all_rows(const bool fused, int in, int out, const float *panel, int width,
         int depth, int rows, const float *x, float *y)
{
    for (int r = 0; r < rows; r += TILE)
        for (int k = 0; k < depth; k += CHUNK)
            groups(fused, in, out, panel + (size_t)k * (size_t)width, width,
                   depth - k < CHUNK ? depth - k : CHUNK,
                   rows - r < TILE ? rows - r : TILE,
                   x + (size_t)r * (size_t)in + k, y + (size_t)r * (size_t)out);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void
multiply_avx2(int in, int out, const float *panel, int width, int depth,
              int rows, const float *x, float *y)
{
    all_rows(true, in, out, panel, width, depth, rows, x, y);
}
#endif

/* Whether the baseline, too, has a fused multiply-add. */
#ifdef __FP_FAST_FMAF
static const bool BASELINE_FUSED = true;
#else
static const bool BASELINE_FUSED = false;
#endif

void
soma_kernel_multiply(int in, int out, const float *panel, int width, int depth,
                     int rows, const float *x, float *y)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        multiply_avx2(in, out, panel, width, depth, rows, x, y);
        return;
    }
#endif
    all_rows(BASELINE_FUSED, in, out, panel, width, depth, rows, x, y);
}

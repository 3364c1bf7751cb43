/* 4 rows by 24 outputs in registers: 12 accumulators of 8 floats, 3 of
 * weights and one of an input fill AVX2's 16 registers. Each step of k loads
 * 3 vectors of weights once for 4 rows, and 12 fused multiply-adds follow.
 * Vector types let the compiler choose the instructions: the same source is
 * built for AVX2 and, narrower, for whatever the baseline is. */
#include "core/kernel.h"

#include <stdbool.h>
#include <stddef.h>

enum { LANES = 8, MOST = 8, GROUP = 4 };

/* Panels are aligned to single floats only. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)),
                                   aligned(sizeof(float)), may_alias));
typedef float half_lanes __attribute__((vector_size(LANES / 2 * sizeof(float)),
                                        aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Defines a function for `rows` x `wide` vectors of outputs, both constants
 * where it is inlined, so that its sums stand in registers. */
#define DEFINE_BLOCK(name, vector, count)                                      \
    INLINE void name(const int rows, const int wide, int in, int out,          \
                     const float *panel, int width, int depth, const float *x, \
                     float *y)                                                 \
    {                                                                          \
        vector sum[GROUP][MOST];                                               \
        for (int r = 0; r < rows; r++)                                         \
            for (int v = 0; v < wide; v++)                                     \
                sum[r][v] = *(const vector *)(y + (size_t)r * (size_t)out +    \
                                              (size_t)v * (count));            \
        for (int k = 0; k < depth; k++, panel += width)                        \
            for (int r = 0; r < rows; r++) {                                   \
                float value = x[(size_t)r * (size_t)in + (size_t)k];           \
                for (int v = 0; v < wide; v++)                                 \
                    sum[r][v] +=                                               \
                        value * *(const vector *)(panel + v * (count));        \
            }                                                                  \
        for (int r = 0; r < rows; r++)                                         \
            for (int v = 0; v < wide; v++)                                     \
                *(vector *)(y + (size_t)r * (size_t)out +                      \
                            (size_t)v * (count)) = sum[r][v];                  \
    }

DEFINE_BLOCK(block8, lanes, LANES)
DEFINE_BLOCK(block4, half_lanes, LANES / 2)

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

/* The widest blocks that fit, from the left. A single row has no other rows
 * to hide the latency of its sums behind, so it takes more columns. */
INLINE void
columns(const bool fused, const int rows, int in, int out, const float *panel,
        int width, int depth, const float *x, float *y)
{
    const int wide = rows == 1 ? 8 : 3;
    int j = 0;
    for (; j + wide * LANES <= width; j += wide * LANES)
        block8(rows, wide, in, out, panel + j, width, depth, x, y + j);
    for (; j + LANES <= width; j += LANES)
        block8(rows, 1, in, out, panel + j, width, depth, x, y + j);
    for (; j + LANES / 2 <= width; j += LANES / 2)
        block4(rows, 1, in, out, panel + j, width, depth, x, y + j);
    for (; j + 2 <= width; j += 2)
        block1(fused, rows, 2, in, out, panel + j, width, depth, x, y + j);
    if (j < width)
        block1(fused, rows, 1, in, out, panel + j, width, depth, x, y + j);
}

INLINE void
all_rows(const bool fused, int in, int out, const float *panel, int width,
         int depth, int rows, const float *x, float *y)
{
    int r = 0;
    for (; r + GROUP <= rows; r += GROUP)
        columns(fused, GROUP, in, out, panel, width, depth,
                x + (size_t)r * (size_t)in, y + (size_t)r * (size_t)out);
    for (; r < rows; r++)
        columns(fused, 1, in, out, panel, width, depth,
                x + (size_t)r * (size_t)in, y + (size_t)r * (size_t)out);
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

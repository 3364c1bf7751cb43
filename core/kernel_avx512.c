/* The forward product with AVX-512: 32 registers of 16 floats. 6 rows x 64
 * outputs take 24 of them for sums and 4 for weights.
 *
 * One row of one panel has 4 sums, and each must wait 4 cycles for its last
 * multiply-add: one a cycle, where the CPU could do two. In the last two
 * panels of a layer at once there are up to 8. That pays where the last panel
 * is narrower than the other; two whole ones are bound by their loads. */
#if defined(__x86_64__)

#include "core/kernel_parts.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET __attribute__((target("avx512f,avx512vl,avx2,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline

enum { LANES = 16, MOST_ROWS = 6, LINES = 4, FETCH = 0 };

#define WIDE(rows) 4

typedef __m512 lanes;
typedef __mmask16 some_lanes;

INLINE some_lanes
first_lanes(int count)
{
    return (some_lanes)((1u << count) - 1);
}

INLINE lanes
load(const float *from)
{
    return _mm512_loadu_ps(from);
}

INLINE lanes
load_some(some_lanes some, const float *from)
{
    return _mm512_maskz_loadu_ps(some, from);
}

INLINE void
store(float *to, lanes value)
{
    _mm512_storeu_ps(to, value);
}

INLINE void
store_some(some_lanes some, float *to, lanes value)
{
    _mm512_mask_storeu_ps(to, some, value);
}

INLINE lanes
spread(float value)
{
    return _mm512_set1_ps(value);
}

INLINE lanes
times(lanes a, lanes b)
{
    return _mm512_mul_ps(a, b);
}

INLINE lanes
fused(lanes a, lanes b, lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#define KEEP(value) __asm__("" : "+v"(value))
#define MULTIPLY    soma_kernel_multiply_avx512
#define UPDATE      soma_kernel_update_avx512
#define UPDATE_WIDE 4

#include "core/kernel_product.h"
#include "core/kernel_update.h"

/* block of kernel_product.h, for one row of a whole panel and of `wide` vectors
 * of a second one, the last of them in part. */
INLINE void
pair(const int wide, const float *panel, const float *second, int width,
     int depth, const float *x, float *y)
{
    const int whole = SOMA_PANEL / LANES;
    some_lanes some = first_lanes(width - (wide - 1) * LANES);
    lanes sum[2 * SOMA_PANEL / LANES];
    UNROLLED
    for (int v = 0; v < whole + wide; v++)
        sum[v] = load_or_some(v == whole + wide - 1, some, y + v * LANES);
    for (int k = 0; k < depth; k++, panel += SOMA_PANEL, second += width) {
        lanes value = spread(x[k]);
        UNROLLED
        for (int v = 0; v < whole; v++)
            sum[v] = fused(value, load(panel + v * LANES), sum[v]);
        UNROLLED
        for (int v = 0; v < wide; v++)
            sum[whole + v] = fused(
                value, load_or_some(v == wide - 1, some, second + v * LANES),
                sum[whole + v]);
    }
    UNROLLED
    for (int v = 0; v < whole + wide - 1; v++)
        store(y + v * LANES, sum[v]);
    store_some(some, y + (whole + wide - 1) * LANES, sum[whole + wide - 1]);
}

TARGET void
soma_kernel_pair_avx512(const float *panel, const float *second, int width,
                        int depth, const float *x, float *y)
{
    switch ((width + LANES - 1) / LANES) {
    case 1:
        pair(1, panel, second, width, depth, x, y);
        break;
    case 2:
        pair(2, panel, second, width, depth, x, y);
        break;
    case 3:
        pair(3, panel, second, width, depth, x, y);
        break;
    default:
        pair(4, panel, second, width, depth, x, y);
    }
}

#endif

/* The forward product with AVX-512: 32 registers of 16 floats. 6 rows x 64
 * outputs take 24 of them for sums and 4 for weights. */
#if defined(__x86_64__)

#include "core/kernel_parts.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET __attribute__((target("avx512f,avx512vl,avx2,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline

enum { LANES = 16, MOST_ROWS = 6, FETCH = 0 };

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
fused(lanes a, lanes b, lanes c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#define KEEP(value) __asm__("" : "+v"(value))
#define MULTIPLY    soma_kernel_multiply_avx512

#include "core/kernel_product.h"

#endif

/* The forward product with AVX2 and FMA: 16 registers of 8 floats. 12 or fewer
 * are sums, the others weights and inputs. */
#if defined(__x86_64__)

#include "core/kernel_parts.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline

enum { LANES = 8, MOST_ROWS = 6, LINES = 2, FETCH = 1 };

#define WIDE(rows) ((rows) == 1 ? 8 : (rows) == 2 ? 4 : (rows) <= 4 ? 3 : 2)

typedef __m256 lanes;
typedef __m256i some_lanes;

INLINE some_lanes
first_lanes(int count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE lanes
load(const float *from)
{
    return _mm256_loadu_ps(from);
}

INLINE lanes
load_some(some_lanes some, const float *from)
{
    return _mm256_maskload_ps(from, some);
}

INLINE void
store(float *to, lanes value)
{
    _mm256_storeu_ps(to, value);
}

INLINE void
store_some(some_lanes some, float *to, lanes value)
{
    _mm256_maskstore_ps(to, some, value);
}

INLINE lanes
spread(float value)
{
    return _mm256_set1_ps(value);
}

INLINE lanes
times(lanes a, lanes b)
{
    return _mm256_mul_ps(a, b);
}

INLINE lanes
fused(lanes a, lanes b, lanes c)
{
    return _mm256_fmadd_ps(a, b, c);
}

INLINE float
fused_one(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

#define KEEP(value) __asm__("" : "+x"(value))
#define MULTIPLY    soma_kernel_multiply_avx2
#define UPDATE      soma_kernel_update_avx2
#define UPDATE_WIDE 4
#define DOT         soma_kernel_dot_avx2

#include "core/kernel_product.h"

#include "core/kernel_dot.h"
#include "core/kernel_update.h"

#endif

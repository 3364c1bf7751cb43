/* Inner products, in float32: 32 sums, added up in a fixed order. */
#include "core/kernel.h"

enum { LANES = 8 };

/* What comes in is aligned to single floats only. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)),
                                   aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

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
__attribute__((target("avx2,fma"))) static float
dot_avx2(const float *a, const float *b, int count)
{
    return dot(a, b, count);
}
#endif

float
soma_kernel_dot(const float *a, const float *b, int count)
{
#if defined(__x86_64__)
    if (soma_kernel_chosen() >= SOMA_KERNEL_AVX2)
        return dot_avx2(a, b, count);
#endif
    return dot(a, b, count);
}

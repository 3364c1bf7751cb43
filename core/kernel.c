#include "core/kernel_parts.h"
#include "core/matrix.h"

#include <stdbool.h>

static soma_kernel_set limit = SOMA_KERNEL_AVX512;

void
soma_kernel_limit(soma_kernel_set most)
{
    limit = most;
}

soma_kernel_set
soma_kernel_chosen(void)
{
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                  __builtin_cpu_supports("avx512vl");
    if (avx512 && limit >= SOMA_KERNEL_AVX512)
        return SOMA_KERNEL_AVX512;
    if (avx2 && limit >= SOMA_KERNEL_AVX2)
        return SOMA_KERNEL_AVX2;
#endif
    return SOMA_KERNEL_PLAIN;
}

void
soma_kernel_multiply(int in, int out, const float *panel, int width, int depth,
                     int rows, const float *x, float *y)
{
    static soma_kernel_product *const products[] = {
        [SOMA_KERNEL_PLAIN] = soma_kernel_multiply_plain,
#if defined(__x86_64__)
        [SOMA_KERNEL_AVX2] = soma_kernel_multiply_avx2,
        [SOMA_KERNEL_AVX512] = soma_kernel_multiply_avx512,
#endif
    };
    products[soma_kernel_chosen()](in, out, panel, width, depth, rows, x, y);
}

void
soma_kernel_pair(const float *panel, const float *second, int width, int depth,
                 const float *x, float *y)
{
#if defined(__x86_64__)
    if (soma_kernel_chosen() == SOMA_KERNEL_AVX512) {
        soma_kernel_pair_avx512(panel, second, width, depth, x, y);
        return;
    }
#endif
    soma_kernel_multiply(depth, SOMA_PANEL, panel, SOMA_PANEL, depth, 1, x, y);
    soma_kernel_multiply(depth, width, second, width, depth, 1, x,
                         y + SOMA_PANEL);
}

void
soma_kernel_update(const soma_kernel_step *step, float *panel)
{
    static soma_kernel_updating *const updates[] = {
        [SOMA_KERNEL_PLAIN] = soma_kernel_update_plain,
#if defined(__x86_64__)
        [SOMA_KERNEL_AVX2] = soma_kernel_update_avx2,
        [SOMA_KERNEL_AVX512] = soma_kernel_update_avx512,
#endif
    };
    updates[soma_kernel_chosen()](step, panel);
}

/* AVX-512 would have two of the 32 sums, and wait for them. */
float
soma_kernel_dot(const float *a, const float *b, int count)
{
#if defined(__x86_64__)
    if (soma_kernel_chosen() >= SOMA_KERNEL_AVX2)
        return soma_kernel_dot_avx2(a, b, count);
#endif
    return soma_kernel_dot_plain(a, b, count);
}

/* The kernels of each instruction set; private to kernel*.c. */
#ifndef SOMA_CORE_KERNEL_PARTS_H
#define SOMA_CORE_KERNEL_PARTS_H

#include "core/kernel.h"

/* soma_kernel_multiply, _update and _dot of one set. */
typedef void soma_kernel_product(int in, int out, const float *panel, int width,
                                 int depth, int rows, const float *x, float *y);
typedef void soma_kernel_updating(const soma_kernel_step *step, float *panel);
typedef float soma_kernel_inner(const float *a, const float *b, int count);

soma_kernel_product soma_kernel_multiply_plain;
soma_kernel_updating soma_kernel_update_plain;
soma_kernel_inner soma_kernel_dot_plain;

#if defined(__x86_64__)
soma_kernel_product soma_kernel_multiply_avx2, soma_kernel_multiply_avx512;
soma_kernel_updating soma_kernel_update_avx2, soma_kernel_update_avx512;
soma_kernel_inner soma_kernel_dot_avx2;
void soma_kernel_pair_avx512(const float *panel, const float *second, int width,
                             int depth, const float *x, float *y);
#endif

#endif

/* A forward product of our own, for CPUs on which OpenBLAS has no unpacked
 * small-matrix kernel. Private to matrix.c.
 */
#ifndef SOMA_CORE_KERNEL_H
#define SOMA_CORE_KERNEL_H

/* y[rows x width] += x[rows x depth] panel[depth x width]; rows of x are `in`
 * floats apart, rows of y `out`. Each element of y is the sum over k in
 * ascending order, by one accumulator, whatever `rows` and its place are. */
void soma_kernel_multiply(int in, int out, const float *panel, int width,
                          int depth, int rows, const float *x, float *y);

/* panel[in x width] <- shrink panel - rate a^T d: the update of one panel by
 * `rows` rows of what entered the layer, a [rows x in], and of dL/dz, d, which
 * points at the panel's first output in rows of `out`. */
void soma_kernel_update(int in, int out, int width, int rows, const float *a,
                        const float *d, float rate, float shrink, float *panel);

#endif

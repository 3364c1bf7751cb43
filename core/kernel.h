/* Loops of our own over floats: a forward product, for CPUs on which OpenBLAS
 * has no unpacked small-matrix kernel (kernel.c, private to matrix.c), and what
 * a step needs (kernel_update.c, private to step.c).
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

/* The inner product of a and b, [count] each, summed in float32. */
float soma_kernel_dot(const float *a, const float *b, int count);

#endif

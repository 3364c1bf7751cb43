/* Loops of our own over floats, for the instruction sets that pay: the products
 * of matrix.c, and what a step needs (private to step.c).
 *
 * Every set with fused multiply-adds gives the same bits.
 */
#ifndef SOMA_CORE_KERNEL_H
#define SOMA_CORE_KERNEL_H

typedef enum soma_kernel_set {
    SOMA_KERNEL_PLAIN, /* what the compiler was told to expect of every CPU */
    SOMA_KERNEL_AVX2,  /* with FMA */
    SOMA_KERNEL_AVX512
} soma_kernel_set;

/* The set in use: the best that this CPU has, up to the limit. */
soma_kernel_set soma_kernel_chosen(void);

/* Uses no better set than this from now on: for tests and benches, which
 * compare sets on one machine. Not while other threads run kernels. */
void soma_kernel_limit(soma_kernel_set most);

/* y[rows x width] += x[rows x depth] panel[depth x width]; rows of x are `in`
 * floats apart, rows of y `out`. Each element of y is the sum over k in
 * ascending order, by one accumulator, whatever `rows` and its place are. */
void soma_kernel_multiply(int in, int out, const float *panel, int width,
                          int depth, int rows, const float *x, float *y);

/* The same bits for one row of two neighbouring panels: of a whole one,
 * [depth x SOMA_PANEL], and of the second, [depth x width], which may be
 * narrower. */
void soma_kernel_pair(const float *panel, const float *second, int width,
                      int depth, const float *x, float *y);

/* The update of one panel of a layer by `rows` rows: of what entered the layer,
 * and of dL/dz. */
typedef struct soma_kernel_step {
    int in, out, rows;
    int width;      /* of the panel, */
    const float *a; /* [rows x in] */
    const float *d; /* at whose first output it points, in rows of `out` */
    float rate, shrink;
    const float *next; /* [in]: a row that is multiplied in passing, or NULL, */
    float *y;          /* [width], and what is added to then */
} soma_kernel_step;

/* panel[in x width] <- shrink panel - rate a^T d; and y += next panel, by the
 * new weights, the bits of soma_kernel_multiply. */
void soma_kernel_update(const soma_kernel_step *step, float *panel);

/* The inner product of a and b, [count] each, summed in float32, in the order
 * that kernel_dot.h says. */
float soma_kernel_dot(const float *a, const float *b, int count);

/* turned[width x lines] <- part of a panel, [lines x width], transposed. */
void soma_kernel_turn(int width, int lines, const float *panel, float *turned);

#endif

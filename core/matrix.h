/* Weight matrices in panels, and the three products of a dense layer.
 *
 * A layer with `in` inputs and `out` outputs stores W transposed, in panels
 * of SOMA_PANEL outputs: panel p is a contiguous row-major [in x w] block
 * that starts at float p * SOMA_PANEL * in and holds the outputs
 * p * SOMA_PANEL .. p * SOMA_PANEL + w - 1. The last panel is as narrow as
 * what is left, so a matrix takes exactly in * out floats.
 *
 * All matrices are float32. x and dx are row-major [rows x in], y and dy
 * row-major [rows x out], without gaps. Nothing here allocates; arguments
 * may be shared between threads as const says.
 *
 * One row's result does not depend on the rows beside it: each output of the
 * forward product is its bias, to which the products with the inputs are added
 * in ascending order, each by one fused multiply-add. In the same way each
 * dL/dx is summed over the outputs, and where it is asked for dL/dW over the
 * rows. So they have the same bits on every CPU that has those.
 */
#ifndef SOMA_CORE_MATRIX_H
#define SOMA_CORE_MATRIX_H

#include "core/status.h"

#include <stddef.h>

enum { SOMA_PANEL = 64 };

/* Prepares the BLAS: one thread for each call, since parallelism comes from
 * the callers. Call once, before other threads start. SOMA_E_UNSUPPORTED for
 * a build of OpenBLAS that only one thread may call. */
soma_status soma_matrix_setup(soma_error *err);

/* Name of the BLAS and of the kernels it chose for this machine. */
const char *soma_matrix_library(void);

/* How the products are made: which of the CPU's instructions are used. */
const char *soma_matrix_plan(void);

/* Between W as files have it, row-major [out x in], and panels. */
void soma_matrix_from_rows(int in, int out, const float *rows, float *panels);
void soma_matrix_to_rows(int in, int out, const float *panels, float *rows);

/* y = x W^T + bias; bias is [out]. */
void soma_matrix_forward(int in, int out, const float *panels,
                         const float *bias, int rows, const float *x, float *y);

/* dx = dy W */
void soma_matrix_backward_input(int in, int out, const float *panels, int rows,
                                const float *dy, float *dx);

/* dpanels = (dy^T x) in panels, dbias = sum of dy over rows; both are
 * overwritten. */
typedef void soma_matrix_weights_product(int in, int out, int rows,
                                         const float *x, const float *dy,
                                         float *dpanels, float *dbias);

/* By the BLAS, which rounds as it likes on each CPU; and with the same bits on
 * every CPU, which for many rows of a narrow layer takes up to three times as
 * long, for others about as long. */
soma_matrix_weights_product soma_matrix_backward_weights;
soma_matrix_weights_product soma_matrix_backward_weights_exactly;

#endif

/* Why panels, and why calls of just 1 or 4 rows: OpenBLAS repacks the weight
 * matrix at every sgemm call, which at small batches costs more than the
 * product. Up to M * N * K = 1e6 (its SMALL_MATRIX_OPT, AVX-512 builds) it
 * takes an unpacked kernel instead, which reads a [K x 64] panel as it lies.
 * There each row comes out with the same bits in all four positions, and from
 * the 1-row call; so one row's result does not depend on its batch. The
 * inputs are divided into blocks of DEPTH to stay within that bound.
 */
#include "core/matrix.h"

#include <cblas.h>
#include <string.h>

enum {
    GROUP = 4,    /* rows of one call */
    DEPTH = 3840, /* inputs of one call: GROUP * SOMA_PANEL * DEPTH < 1e6 */
};

/* A serial build hands out its packing buffers without a lock: products of
 * two threads at once come out wrong, in silence (seen with Debian's
 * libopenblas0-serial 0.3.21). */
soma_status
soma_matrix_setup(soma_error *err)
{
    if (openblas_get_parallel() == OPENBLAS_SEQUENTIAL)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "this OpenBLAS is a serial build, which is not "
                              "safe to call from several threads; install "
                              "libopenblas0-pthread and choose it with "
                              "update-alternatives");
    openblas_set_num_threads(1);
    return SOMA_OK;
}

const char *
soma_matrix_library(void)
{
    return openblas_get_config();
}

static int
panel_width(int out, int first)
{
    return out - first < SOMA_PANEL ? out - first : SOMA_PANEL;
}

void
soma_matrix_from_rows(int in, int out, const float *rows, float *panels)
{
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        float *panel = panels + (size_t)first * (size_t)in;
        for (int i = 0; i < in; i++)
            for (int j = 0; j < width; j++)
                *panel++ = rows[(size_t)(first + j) * (size_t)in + (size_t)i];
    }
}

void
soma_matrix_to_rows(int in, int out, const float *panels, float *rows)
{
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        const float *panel = panels + (size_t)first * (size_t)in;
        for (int i = 0; i < in; i++)
            for (int j = 0; j < width; j++)
                rows[(size_t)(first + j) * (size_t)in + (size_t)i] = *panel++;
    }
}

/* y[rows x width] += x[rows x depth] panel[depth x width] */
static void
multiply_block(int in, int out, const float *panel, int width, int depth,
               int rows, const float *x, float *y)
{
    int r = 0;
    for (; r + GROUP <= rows; r += GROUP)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, GROUP, width,
                    depth, 1, x + (size_t)r * (size_t)in, in, panel, width, 1,
                    y + (size_t)r * (size_t)out, out);
    for (; r < rows; r++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 1, width, depth,
                    1, x + (size_t)r * (size_t)in, in, panel, width, 1,
                    y + (size_t)r * (size_t)out, out);
}

void
soma_matrix_forward(int in, int out, const float *panels, const float *bias,
                    int rows, const float *x, float *y)
{
    for (int r = 0; r < rows; r++)
        memcpy(y + (size_t)r * (size_t)out, bias, (size_t)out * sizeof *y);
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        const float *panel = panels + (size_t)first * (size_t)in;
        for (int k = 0; k < in; k += DEPTH) {
            int depth = in - k < DEPTH ? in - k : DEPTH;
            multiply_block(in, out, panel + (size_t)k * (size_t)width, width,
                           depth, rows, x + k, y + first);
        }
    }
}

void
soma_matrix_backward_input(int in, int out, const float *panels, int rows,
                           const float *dy, float *dx)
{
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, in, width, 1,
                    dy + first, out, panels + (size_t)first * (size_t)in, width,
                    first == 0 ? 0 : 1, dx, in);
    }
}

void
soma_matrix_backward_weights(int in, int out, int rows, const float *x,
                             const float *dy, float *dpanels, float *dbias)
{
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, in, width, rows, 1,
                    x, in, dy + first, out, 0,
                    dpanels + (size_t)first * (size_t)in, width);
    }
    memcpy(dbias, dy, (size_t)out * sizeof *dbias);
    for (int r = 1; r < rows; r++)
        for (int j = 0; j < out; j++)
            dbias[j] += dy[(size_t)r * (size_t)out + (size_t)j];
}

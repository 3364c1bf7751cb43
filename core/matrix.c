/* Why panels, and why calls of just 1 or 4 rows: OpenBLAS repacks the weight
 * matrix at every sgemm call, which at small batches costs more than the
 * product. Up to M * N * K = 1e6 (its SMALL_MATRIX_OPT, AVX-512 builds) it
 * takes an unpacked kernel instead, which reads a [K x 64] panel as it lies.
 * For most widths each row comes out with the same bits in all four positions
 * and from the 1-row call there, so one row's result does not depend on its
 * batch. The inputs are divided into blocks of DEPTH to stay within the bound.
 *
 * For panels of other widths (measured with 0.3.21: those that leave 1, 2, 3,
 * 5, 6 or 7 when divided by 16), and on CPUs whose kernels have no such path,
 * kernel.c takes over. soma_matrix_setup finds out which by trying. It does
 * not choose by time: a choice that may fall differently tomorrow would give
 * other last bits, and a journal would no longer give the same weights.
 */
#include "core/matrix.h"

#include "core/kernel.h"

#include <cblas.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum {
    GROUP = 4,    /* rows of one call */
    LINE = 16,    /* floats of a cache line, which are copied together */
    DEPTH = 3840, /* inputs of one call: GROUP * SOMA_PANEL * DEPTH < 1e6 */
};

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
        for (int i = 0; i < in; i += LINE)
            for (int j = 0; j < width; j++) {
                const float *row = rows + (size_t)(first + j) * (size_t)in;
                for (int k = i; k < in && k < i + LINE; k++)
                    panel[(size_t)k * (size_t)width + (size_t)j] = row[k];
            }
    }
}

void
soma_matrix_to_rows(int in, int out, const float *panels, float *rows)
{
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        const float *panel = panels + (size_t)first * (size_t)in;
        for (int i = 0; i < in; i += LINE)
            for (int j = 0; j < width; j++) {
                float *row = rows + (size_t)(first + j) * (size_t)in;
                for (int k = i; k < in && k < i + LINE; k++)
                    row[k] = panel[(size_t)k * (size_t)width + (size_t)j];
            }
    }
}

/* y[rows x width] += x[rows x depth] panel[depth x width] */
static void
multiply_blas(int in, int out, const float *panel, int width, int depth,
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

/* The widths of panels whose rows multiply_blas treats alike; set once. */
static bool blas_agrees[SOMA_PANEL + 1];

static void
multiply(int in, int out, const float *panel, int width, int depth, int rows,
         const float *x, float *y)
{
    if (blas_agrees[width])
        multiply_blas(in, out, panel, width, depth, rows, x, y);
    else
        soma_kernel_multiply(in, out, panel, width, depth, rows, x, y);
}

enum { TRIED = 1024 }; /* the most inputs that are tried */

static void
fill(unsigned seed, size_t count, float *values)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        values[i] = (float)(seed >> 8) * 0x1p-24f - 0.5f;
    }
}

/* Whether multiply_blas gives a row the same bits in any position. The rows
 * differ: with equal ones, few sums are compared, and those of a narrow panel
 * may agree by chance. */
static bool
rows_agree(int width, int depth, const float *panel, const float *x)
{
    float alone[GROUP * SOMA_PANEL] = {0}, group[GROUP * SOMA_PANEL] = {0};
    for (int r = 0; r < GROUP; r++)
        multiply_blas(depth, width, panel, width, depth, 1, x + r * depth,
                      alone + r * width);
    multiply_blas(depth, width, panel, width, depth, GROUP, x, group);
    return !memcmp(group, alone, sizeof group);
}

/* The kernels that have the unpacked path, by OpenBLAS's names. */
static bool
has_small_matrix_path(void)
{
    static const char *const cores[] = {"SkylakeX", "Cooperlake",
                                        "SapphireRapids"};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (!strcasecmp(openblas_get_corename(), cores[i]))
            return true;
    return false;
}

static void
choose_widths(void)
{
    static const int depths[] = {64, 100, 250, 784, TRIED};
    static float panel[TRIED * SOMA_PANEL], x[GROUP * TRIED];
    fill(1, sizeof panel / sizeof *panel, panel);
    fill(2, sizeof x / sizeof *x, x);
    for (int width = 1; width <= SOMA_PANEL; width++) {
        bool agree = has_small_matrix_path();
        for (size_t d = 0; d < sizeof depths / sizeof *depths && agree; d++)
            agree = rows_agree(width, depths[d], panel, x);
        blas_agrees[width] = agree;
    }
}

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
    choose_widths();
    return SOMA_OK;
}

const char *
soma_matrix_plan(void)
{
    return blas_agrees[SOMA_PANEL] ? "OpenBLAS on panels"
                                   : "soma's kernel on panels";
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
            multiply(in, out, panel + (size_t)k * (size_t)width, width, depth,
                     rows, x + k, y + first);
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

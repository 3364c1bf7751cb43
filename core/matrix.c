/* Why panels, and a kernel of our own: OpenBLAS repacks the weight matrix at
 * every sgemm call, which at small batches costs more than the product. On
 * panels nothing is repacked, and kernel.h reads them as they lie. And each
 * OpenBLAS kernel rounds in its own way, so that what is learned by it would
 * depend on the CPU.
 */
#include "core/matrix.h"

#include "core/kernel.h"

#include <cblas.h>
#include <stdbool.h>
#include <string.h>

enum {
    LINE = 16,   /* floats of a cache line, which are copied together */
    TILE = 256,  /* rows, and */
    DEPTH = 512, /* inputs at a time: so much of x (512 KiB) and of a panel (128
                    KiB) stay in the second-level cache together */
    FEW = 6,     /* rows that read the weights once whatever DEPTH is */
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
soma_matrix_plan(void)
{
    static const char *const plans[] = {
        [SOMA_KERNEL_PLAIN] = "soma's kernel on panels, plain",
        [SOMA_KERNEL_AVX2] = "soma's kernel on panels, AVX2",
        [SOMA_KERNEL_AVX512] = "soma's kernel on panels, AVX-512",
    };
    return plans[soma_kernel_chosen()];
}

/* Panels one by one, but for the last two where the last is narrower. */
static void
forward_row(int in, int out, const float *panels, const float *x, float *y)
{
    int last = (out - 1) / SOMA_PANEL * SOMA_PANEL, first = 0;
    bool paired = out > SOMA_PANEL && out % SOMA_PANEL > 0;
    int alone = paired ? last - SOMA_PANEL : out;
    for (; first < alone; first += SOMA_PANEL)
        soma_kernel_multiply(in, out, panels + (size_t)first * (size_t)in,
                             panel_width(out, first), in, 1, x, y + first);
    if (paired)
        soma_kernel_pair(panels + (size_t)first * (size_t)in,
                         panels + (size_t)last * (size_t)in, out - last, in, x,
                         y + first);
}

static void
forward_tile(int in, int out, const float *panels, int rows, const float *x,
             float *y)
{
    int most = rows <= FEW ? in : DEPTH;
    for (int k = 0; k < in; k += most) {
        int depth = in - k < most ? in - k : most;
        for (int first = 0; first < out; first += SOMA_PANEL) {
            int width = panel_width(out, first);
            const float *panel = panels + (size_t)first * (size_t)in;
            soma_kernel_multiply(in, out, panel + (size_t)k * (size_t)width,
                                 width, depth, rows, x + k, y + first);
        }
    }
}

void
soma_matrix_forward(int in, int out, const float *panels, const float *bias,
                    int rows, const float *x, float *y)
{
    for (int from = 0; from < rows; from += TILE) {
        int some = rows - from < TILE ? rows - from : TILE;
        float *to = y + (size_t)from * (size_t)out;
        for (int r = 0; r < some; r++)
            memcpy(to + (size_t)r * (size_t)out, bias,
                   (size_t)out * sizeof *to);
        const float *row = x + (size_t)from * (size_t)in;
        if (some == 1)
            forward_row(in, out, panels, row, to);
        else
            forward_tile(in, out, panels, some, row, to);
    }
}

/* W is needed the other way round: a block of it is transposed, and multiplied
 * as in the forward product. sgemm, which reads it as it lies, does better only
 * for one row of a layer that is wide on both sides. */
void
soma_matrix_backward_input(int in, int out, const float *panels, int rows,
                           const float *dy, float *dx)
{
    float turned[SOMA_PANEL * SOMA_PANEL];
    memset(dx, 0, (size_t)rows * (size_t)in * sizeof *dx);
    for (int first = 0; first < out; first += SOMA_PANEL) {
        int width = panel_width(out, first);
        const float *panel = panels + (size_t)first * (size_t)in;
        for (int i = 0; i < in; i += SOMA_PANEL) {
            int lines = panel_width(in, i);
            soma_kernel_turn(width, lines, panel + (size_t)i * (size_t)width,
                             turned);
            soma_kernel_multiply(out, in, turned, lines, width, rows,
                                 dy + first, dx + i);
        }
    }
}

static void
sum_rows(int out, int rows, const float *dy, float *dbias)
{
    memcpy(dbias, dy, (size_t)out * sizeof *dbias);
    for (int r = 1; r < rows; r++)
        for (int j = 0; j < out; j++)
            dbias[j] += dy[(size_t)r * (size_t)out + (size_t)j];
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
    sum_rows(out, rows, dy, dbias);
}

void
soma_matrix_backward_weights_exactly(int in, int out, int rows, const float *x,
                                     const float *dy, float *dpanels,
                                     float *dbias)
{
    memset(dpanels, 0, (size_t)in * (size_t)out * sizeof *dpanels);
    for (int first = 0; first < out; first += SOMA_PANEL) {
        soma_kernel_step step = {.in = in,
                                 .out = out,
                                 .rows = rows,
                                 .width = panel_width(out, first),
                                 .a = x,
                                 .d = dy + first,
                                 .rate = -1,
                                 .shrink = 1};
        soma_kernel_update(&step, dpanels + (size_t)first * (size_t)in);
    }
    sum_rows(out, rows, dy, dbias);
}

/* GFLOP/s of the forward product, beside OpenBLAS's plain calls and oneDNN: for
 * each layer and batch a line "in out rows soma sgemm sgemv onednn", medians of
 * several rounds. All take their turns in each round, for the same time each
 * and after a call that does not count: so each finds as much of its weights in
 * the caches as the others do. sgemm: the better of its orientations; sgemv:
 * row by row.
 *
 * `product avx2` keeps soma's kernel from using more than AVX2; the others do
 * so with OPENBLAS_CORETYPE=Haswell ONEDNN_MAX_CPU_ISA=AVX2. */
#include "core/matrix.h"

#include "core/kernel.h"
#include "tests/bench/onednn.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9, KINDS = 5 };

static const double WINDOW = 5e-3; /* seconds of a turn */

typedef struct layer {
    int in, out;
    float *rows, *columns, *panels; /* W, its transpose, in panels */
    float *bias, *x, *y;
    onednn *other;
} layer;

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void
run(const layer *l, int kind, int rows)
{
    int in = l->in, out = l->out;
    switch (kind) {
    case 0:
        soma_matrix_forward(in, out, l->panels, l->bias, rows, l->x, l->y);
        break;
    case 1:
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1,
                    l->x, in, l->rows, in, 0, l->y, out);
        break;
    case 2:
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, out, in, 1,
                    l->x, in, l->columns, out, 0, l->y, out);
        break;
    case 3:
        for (int r = 0; r < rows; r++)
            cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, l->rows, in,
                        l->x + (size_t)r * (size_t)in, 1, 0,
                        l->y + (size_t)r * (size_t)out, 1);
        break;
    default:
        onednn_run(l->other);
    }
}

static int
by_value(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

/* Calls a second. */
static double
turn(const layer *l, int kind, int rows)
{
    run(l, kind, rows);
    double start = now(), time;
    long calls = 0;
    do {
        run(l, kind, rows);
        calls++;
        time = now() - start;
    } while (time < WINDOW);
    return (double)calls / time;
}

static void
measure(layer *l, int rows)
{
    double rates[KINDS][ROUNDS];
    double work = 2.0 * l->in * l->out * rows;
    l->other = onednn_create(l->in, l->out, rows);
    for (int round = 0; round < ROUNDS; round++)
        for (int kind = 0; kind < KINDS; kind++)
            rates[kind][round] = work * turn(l, kind, rows) / 1e9;
    onednn_free(l->other);
    for (int kind = 0; kind < KINDS; kind++)
        qsort(rates[kind], ROUNDS, sizeof **rates, by_value);
    double a = rates[1][ROUNDS / 2], b = rates[2][ROUNDS / 2];
    printf("%d %d %d %.1f %.1f %.1f %.1f\n", l->in, l->out, rows,
           rates[0][ROUNDS / 2], a > b ? a : b, rates[3][ROUNDS / 2],
           rates[4][ROUNDS / 2]);
}

static float *
filled(size_t count)
{
    float *values = aligned_alloc(64, (count * sizeof *values + 63) / 64 * 64);
    for (size_t i = 0; values && i < count; i++)
        values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return values;
}

int
main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "avx2"))
        soma_kernel_limit(SOMA_KERNEL_AVX2);
    static const int shapes[][2] = {
        {784, 128}, {3072, 100}, {3072, 1024}, {1024, 1024}};
    static const int batches[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    soma_error err;
    if (soma_matrix_setup(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        layer l = {.in = shapes[s][0], .out = shapes[s][1]};
        size_t in = (size_t)l.in, out = (size_t)l.out;
        l.rows = filled(in * out);
        l.columns = filled(in * out);
        l.panels = filled(in * out);
        l.bias = filled(out);
        l.x = filled(512 * in);
        l.y = filled(512 * out);
        soma_matrix_from_rows(l.in, l.out, l.rows, l.panels);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            measure(&l, batches[b]);
        free(l.rows);
        free(l.columns);
        free(l.panels);
        free(l.bias);
        free(l.x);
        free(l.y);
    }
    return 0;
}

/* Panels and the three products, against double precision, and the promise
 * that a row comes out with the same bits in every batch. */
#include "core/matrix.h"

#include "core/kernel.h"
#include "tests/unit/nets.h"

#include <stdio.h>

static const int WIDTHS[] = {1, 2, 7, 10, 63, 64, 65, 100, 128, 130};

enum { WIDTHS_COUNT = sizeof WIDTHS / sizeof *WIDTHS };

typedef struct product {
    int in, out, rows;
    float *w, *panels, *bias; /* w is [out x in] */
    float *x, *y, *dy;
} product;

static product
make_product(int in, int out, int rows, uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 0);
    product p = {.in = in, .out = out, .rows = rows};
    p.w = nets_floats(nets_at(in, out));
    p.panels = nets_floats(nets_at(in, out));
    p.bias = nets_floats((size_t)out);
    p.x = nets_floats(nets_at(rows, in));
    p.y = nets_floats(nets_at(rows, out));
    p.dy = nets_floats(nets_at(rows, out));
    nets_fill(&rng, -1, 1, nets_at(in, out), p.w);
    nets_fill(&rng, -1, 1, (size_t)out, p.bias);
    nets_fill(&rng, -1, 1, nets_at(rows, in), p.x);
    nets_fill(&rng, -1, 1, nets_at(rows, out), p.dy);
    soma_matrix_from_rows(in, out, p.w, p.panels);
    return p;
}

static void
free_product(product *p)
{
    float *all[] = {p->w, p->panels, p->bias, p->x, p->y, p->dy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* |got - expected| within what float32 sums of `terms` numbers below 1 may
 * differ by. A term too many or too few would show a thousandfold. */
static void
near(const char *what, const product *p, double got, double expected, int terms)
{
    if (!(fabs(got - expected) <= 6e-8 * (10 + terms)))
        fail_msg("%s of %d x %d, %d rows: %.9g, expected %.9g", what, p->in,
                 p->out, p->rows, got, expected);
}

static void
check_forward(const product *p)
{
    for (int r = 0; r < p->rows; r++)
        for (int j = 0; j < p->out; j++) {
            double sum = (double)p->bias[j];
            for (int k = 0; k < p->in; k++)
                sum += (double)p->x[nets_at(r, p->in) + (size_t)k] *
                       (double)p->w[nets_at(j, p->in) + (size_t)k];
            near("y", p, (double)p->y[nets_at(r, p->out) + (size_t)j], sum,
                 p->in);
        }
}

static void
check_backward_input(const product *p, const float *dx)
{
    for (int r = 0; r < p->rows; r++)
        for (int k = 0; k < p->in; k++) {
            double sum = 0;
            for (int j = 0; j < p->out; j++)
                sum += (double)p->dy[nets_at(r, p->out) + (size_t)j] *
                       (double)p->w[nets_at(j, p->in) + (size_t)k];
            near("dx", p, (double)dx[nets_at(r, p->in) + (size_t)k], sum,
                 p->out);
        }
}

static void
check_backward_weights(const product *p, const float *dw, const float *dbias)
{
    for (int j = 0; j < p->out; j++) {
        double bias = 0;
        for (int r = 0; r < p->rows; r++)
            bias += (double)p->dy[nets_at(r, p->out) + (size_t)j];
        near("dbias", p, (double)dbias[j], bias, p->rows);
        for (int k = 0; k < p->in; k++) {
            double sum = 0;
            for (int r = 0; r < p->rows; r++)
                sum += (double)p->dy[nets_at(r, p->out) + (size_t)j] *
                       (double)p->x[nets_at(r, p->in) + (size_t)k];
            near("dw", p, (double)dw[nets_at(j, p->in) + (size_t)k], sum,
                 p->rows);
        }
    }
}

/* What is overwritten must not be read: it holds NaN before. */
static float *
poison(size_t count)
{
    float *values = nets_floats(count);
    for (size_t i = 0; i < count; i++)
        values[i] = NAN;
    return values;
}

static void
check_products(int in, int out, int rows)
{
    product p = make_product(in, out, rows, 1);
    free(p.y);
    p.y = poison(nets_at(rows, out));
    soma_matrix_forward(in, out, p.panels, p.bias, rows, p.x, p.y);
    check_forward(&p);

    float *dx = poison(nets_at(rows, in));
    soma_matrix_backward_input(in, out, p.panels, rows, p.dy, dx);
    check_backward_input(&p, dx);

    float *dpanels = poison(nets_at(in, out)), *dbias = poison((size_t)out);
    float *dw = nets_floats(nets_at(in, out));
    soma_matrix_backward_weights(in, out, rows, p.x, p.dy, dpanels, dbias);
    soma_matrix_to_rows(in, out, dpanels, dw);
    check_backward_weights(&p, dw, dbias);
    free(dx), free(dpanels), free(dbias), free(dw);
    free_product(&p);
}

static void
test_layout(void **state)
{
    (void)state;
    /* W[j][k] = 1000 j + k: panel j / 64, its row k, its column j % 64. */
    const int in = 3, out = 130;
    float w[390], panels[390], back[390];
    for (int i = 0; i < in * out; i++)
        w[i] = (float)(1000 * (i / in) + i % in);
    soma_matrix_from_rows(in, out, w, panels);
    for (int j = 0; j < out; j++)
        for (int k = 0; k < in; k++) {
            int panel = j / 64, width = panel == 2 ? 2 : 64;
            float found = panels[panel * 64 * in + k * width + j % 64];
            assert_true(found == (float)(1000 * j + k));
        }
    soma_matrix_to_rows(in, out, panels, back);
    assert_memory_equal(back, w, sizeof w);
}

static void
test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS_COUNT; i++)
        for (int in = 1; in < 6; in++) {
            product p = make_product(in, WIDTHS[i], 1, 2);
            float *back = nets_floats(nets_at(in, WIDTHS[i]));
            soma_matrix_to_rows(in, WIDTHS[i], p.panels, back);
            assert_memory_equal(back, p.w,
                                nets_at(in, WIDTHS[i]) * sizeof *back);
            free(back);
            free_product(&p);
        }
}

static void
test_small_products(void **state)
{
    (void)state;
    const int ins[] = {1, 2, 10, 65};
    for (int i = 0; i < WIDTHS_COUNT; i++)
        for (int k = 0; k < 4; k++)
            for (int rows = 1; rows <= 9; rows++)
                check_products(ins[k], WIDTHS[i], rows);
}

static void
test_deep_products(void **state)
{
    (void)state;
    const int ins[] = {784, 3072, 3839, 3840, 3841, 8000};
    for (size_t k = 0; k < sizeof ins / sizeof *ins; k++) {
        check_products(ins[k], 10, 1);
        check_products(ins[k], 65, 6);
    }
    check_products(3072, 100, 5);
}

/* Bits, in every batch of 1 to 9 rows and every position of it. The others
 * are other rows, or hold what could spoil a sum: infinity and NaN. */
static void
check_batches(int in, int out)
{
    enum { MOST = 9 };
    product p = make_product(in, out, MOST, 3);
    float *alone = nets_floats(nets_at(MOST, out));
    for (int r = 0; r < MOST; r++)
        soma_matrix_forward(in, out, p.panels, p.bias, 1, p.x + nets_at(r, in),
                            alone + nets_at(r, out));
    size_t row = (size_t)out * sizeof *alone;
    for (int rows = 1; rows <= MOST; rows++)
        for (int first = 0; first + rows <= MOST; first++) {
            soma_matrix_forward(in, out, p.panels, p.bias, rows,
                                p.x + nets_at(first, in), p.y);
            for (int r = 0; r < rows; r++)
                if (memcmp(p.y + nets_at(r, out),
                           alone + nets_at(first + r, out), row))
                    fail_msg("%d x %d: row %d of %d has other bits", in, out, r,
                             rows);
        }
    for (int k = 0; k < in; k++)
        p.x[nets_at(2, in) + (size_t)k] = k % 2 ? NAN : INFINITY;
    soma_matrix_forward(in, out, p.panels, p.bias, MOST, p.x, p.y);
    for (int r = 0; r < MOST; r++)
        if (r != 2 &&
            memcmp(p.y + nets_at(r, out), alone + nets_at(r, out), row))
            fail_msg("%d x %d: row %d depends on row 2", in, out, r);
    free(alone);
    free_product(&p);
}

static void
test_same_bits_in_any_batch(void **state)
{
    (void)state;
    const int ins[] = {1, 3, 7, 10, 64, 100, 784};
    for (int i = 0; i < WIDTHS_COUNT; i++)
        for (size_t k = 0; k < sizeof ins / sizeof *ins; k++)
            check_batches(ins[k], WIDTHS[i]);
}

static void
test_same_bits_for_every_width(void **state)
{
    (void)state;
    for (int width = 1; width <= SOMA_PANEL; width++) {
        check_batches(33, width);
        check_batches(500, width);
    }
}

static void
test_same_bits_for_deep_rows(void **state)
{
    (void)state;
    const int ins[] = {3072, 3839, 3840, 3841, 8000};
    const int outs[] = {1, 10, 36, 64, 65, 100};
    for (size_t k = 0; k < sizeof ins / sizeof *ins; k++)
        for (size_t i = 0; i < sizeof outs / sizeof *outs; i++)
            check_batches(ins[k], outs[i]);
}

static void
test_says_what_it_uses(void **state)
{
    (void)state;
    assert_true(strstr(soma_matrix_library(), "OpenBLAS") != NULL);
    assert_true(strlen(soma_matrix_plan()) > 0);
    printf("%s; %s\n", soma_matrix_library(), soma_matrix_plan());
}

/* What the kernels have `limit` for: every set on one machine. */
static const soma_kernel_set SETS[] = {SOMA_KERNEL_PLAIN, SOMA_KERNEL_AVX2,
                                       SOMA_KERNEL_AVX512};

enum { SETS_COUNT = sizeof SETS / sizeof *SETS };

/* False: this CPU does not have the set. */
static bool
use(soma_kernel_set set)
{
    soma_kernel_limit(set);
    return soma_kernel_chosen() == set;
}

static void
use_best(void)
{
    soma_kernel_limit(SOMA_KERNEL_AVX512);
}

static float *
copy(size_t count, const float *values)
{
    float *to = nets_floats(count);
    memcpy(to, values, count * sizeof *to);
    return to;
}

/* Added to what is there, rows and columns farther apart than the panel is
 * wide, and each array just as long as what may be read, for sanitizers. */
static void
check_kernel(int width, int depth, int rows)
{
    const int in = depth + 3, out = width + 5;
    size_t x_size = nets_at(rows - 1, in) + (size_t)depth;
    size_t y_size = nets_at(rows - 1, out) + (size_t)width;
    product p = make_product(in, out, rows, 4);
    float *panel = copy(nets_at(depth, width), p.w);
    float *x = copy(x_size, p.x), *y = copy(y_size, p.dy);
    float *alone = copy(y_size, p.dy);
    soma_kernel_multiply(in, out, panel, width, depth, rows, x, y);
    for (int r = 0; r < rows; r++) {
        const float *row = x + nets_at(r, in), *from = p.dy + nets_at(r, out);
        soma_kernel_multiply(in, out, panel, width, depth, 1, row,
                             alone + nets_at(r, out));
        for (int j = 0; j < out && (j < width || r + 1 < rows); j++) {
            double sum = (double)from[j];
            for (int k = 0; k < depth && j < width; k++)
                sum += (double)row[k] *
                       (double)panel[nets_at(k, width) + (size_t)j];
            near("kernel", &p, (double)y[nets_at(r, out) + (size_t)j], sum,
                 depth);
        }
    }
    assert_memory_equal(y, alone, y_size * sizeof *y);
    free(panel), free(x), free(y), free(alone);
    free_product(&p);
}

/* Two panels at once: the bits of one after the other. */
static void
check_pair(int width, int depth)
{
    const int out = SOMA_PANEL + width;
    product p = make_product(depth, out, 1, 6);
    float *panel = copy(nets_at(depth, SOMA_PANEL), p.w);
    float *second =
        copy(nets_at(depth, width), p.w + nets_at(depth, SOMA_PANEL));
    float *x = copy((size_t)depth, p.x), *y = copy((size_t)out, p.dy);
    float *alone = copy((size_t)out, p.dy);
    soma_kernel_pair(panel, second, width, depth, x, y);
    soma_kernel_multiply(depth, out, panel, SOMA_PANEL, depth, 1, x, alone);
    soma_kernel_multiply(depth, out, second, width, depth, 1, x,
                         alone + SOMA_PANEL);
    assert_memory_equal(y, alone, (size_t)out * sizeof *y);
    free(panel), free(second), free(x), free(y), free(alone);
    free_product(&p);
}

static void
test_kernels(void **state)
{
    (void)state;
    for (int s = 0; s < SETS_COUNT; s++) {
        if (!use(SETS[s])) {
            print_message("no set %d on this CPU: not tested\n", s);
            continue;
        }
        for (int width = 1; width <= SOMA_PANEL; width++)
            for (int rows = 1; rows <= 9; rows++)
                check_kernel(width, 17, rows);
        check_kernel(64, 3840, 5);
        check_kernel(10, 1, 4);
        for (int width = 1; width <= SOMA_PANEL; width++)
            check_pair(width, 17);
    }
    use_best();
}

/* Rows of 1 to 300 in one batch, by every set: the same bits as alone. */
static void
test_kernels_in_any_batch(void **state)
{
    enum { MOST = 300, DEEP = 1100 };
    static const int outs[] = {1, 9, 36, 64, 100};
    (void)state;
    for (size_t i = 0; i < sizeof outs / sizeof *outs; i++) {
        int out = outs[i];
        size_t row = (size_t)out * sizeof(float);
        product p = make_product(DEEP, out, MOST, 5);
        float *alone = nets_floats(nets_at(MOST, out));
        for (int s = 0; s < SETS_COUNT; s++) {
            if (!use(SETS[s]))
                continue;
            for (int r = 0; r < MOST; r++)
                soma_matrix_forward(DEEP, out, p.panels, p.bias, 1,
                                    p.x + nets_at(r, DEEP),
                                    alone + nets_at(r, out));
            for (int rows = 1; rows <= MOST; rows += rows < 20 ? 1 : 7) {
                int first = rows * 7 % (MOST - rows + 1);
                soma_matrix_forward(DEEP, out, p.panels, p.bias, rows,
                                    p.x + nets_at(first, DEEP), p.y);
                for (int r = 0; r < rows; r++)
                    if (memcmp(p.y + nets_at(r, out),
                               alone + nets_at(first + r, out), row))
                        fail_msg("set %d, %d outputs, row %d of %d", s, out, r,
                                 rows);
            }
        }
        use_best();
        free(alone);
        free_product(&p);
    }
}

/* The sum that matrix.h promises, written down: in this order, fused. */
static void
check_order(int in, int out, int rows)
{
    product p = make_product(in, out, rows, 6);
    for (int s = 0; s < SETS_COUNT; s++) {
        if (SETS[s] == SOMA_KERNEL_PLAIN || !use(SETS[s]))
            continue;
        soma_matrix_forward(in, out, p.panels, p.bias, rows, p.x, p.y);
        for (int r = 0; r < rows; r++)
            for (int j = 0; j < out; j++) {
                float sum = p.bias[j];
                for (int k = 0; k < in; k++)
                    sum = fmaf(p.x[nets_at(r, in) + (size_t)k],
                               p.w[nets_at(j, in) + (size_t)k], sum);
                if (memcmp(&sum, &p.y[nets_at(r, out) + (size_t)j], sizeof sum))
                    fail_msg("set %d, %d x %d: row %d, output %d has other "
                             "bits than the sum in order",
                             s, in, out, r, j);
            }
    }
    use_best();
    free_product(&p);
}

static void
test_same_bits_by_every_set(void **state)
{
    (void)state;
    for (int out = 1; out <= 65; out++)
        check_order(37, out, 1 + out % 13);
    check_order(3072, 100, 7);
    check_order(1024, 130, 131);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_small_products),
        cmocka_unit_test(test_deep_products),
        cmocka_unit_test(test_same_bits_in_any_batch),
        cmocka_unit_test(test_same_bits_for_every_width),
        cmocka_unit_test(test_same_bits_for_deep_rows),
        cmocka_unit_test(test_says_what_it_uses),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_kernels_in_any_batch),
        cmocka_unit_test(test_same_bits_by_every_set),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

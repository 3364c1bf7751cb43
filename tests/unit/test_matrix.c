/* Panels and the three products, against double precision, and the promise
 * that a row comes out with the same bits in every batch. */
#include "core/matrix.h"
#include "tests/unit/products.h"

#include <stdio.h>

static const int WIDTHS[] = {1, 2, 7, 10, 63, 64, 65, 100, 128, 130};

enum { WIDTHS_COUNT = sizeof WIDTHS / sizeof *WIDTHS };

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
    soma_matrix_weights_product *const products[] = {
        soma_matrix_backward_weights, soma_matrix_backward_weights_exactly};
    for (int i = 0; i < 2; i++) {
        products[i](in, out, rows, p.x, p.dy, dpanels, dbias);
        soma_matrix_to_rows(in, out, dpanels, dw);
        check_backward_weights(&p, dw, dbias);
    }
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
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

/* The kernels of every instruction set that this CPU has: what they compute,
 * and that all of them, for whatever rows stand beside each other, give the
 * bits that matrix.h and kernel.h promise. */
#include "core/kernel.h"

#include "tests/unit/products.h"

#include <stdio.h>

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

static void
expect_bits(const char *what, int set, const product *p, int r, int c,
            float got, float sum)
{
    if (memcmp(&sum, &got, sizeof sum))
        fail_msg("set %d, %d x %d: %s %d, %d has other bits than the sum in "
                 "order",
                 set, p->in, p->out, what, r, c);
}

/* The sums that matrix.h promises, written down: in this order, fused. */
static void
check_forward_order(int set, const product *p)
{
    soma_matrix_forward(p->in, p->out, p->panels, p->bias, p->rows, p->x, p->y);
    for (int r = 0; r < p->rows; r++)
        for (int j = 0; j < p->out; j++) {
            float sum = p->bias[j];
            for (int k = 0; k < p->in; k++)
                sum = fmaf(p->x[nets_at(r, p->in) + (size_t)k],
                           p->w[nets_at(j, p->in) + (size_t)k], sum);
            expect_bits("y", set, p, r, j, p->y[nets_at(r, p->out) + (size_t)j],
                        sum);
        }
}

static void
check_backward_order(int set, const product *p)
{
    float *dx = poison(nets_at(p->rows, p->in));
    float *dw = poison(nets_at(p->in, p->out)), *dbias = poison((size_t)p->out);
    float *dpanels = poison(nets_at(p->in, p->out));
    soma_matrix_backward_input(p->in, p->out, p->panels, p->rows, p->dy, dx);
    for (int r = 0; r < p->rows; r++)
        for (int k = 0; k < p->in; k++) {
            float sum = 0;
            for (int j = 0; j < p->out; j++)
                sum = fmaf(p->dy[nets_at(r, p->out) + (size_t)j],
                           p->w[nets_at(j, p->in) + (size_t)k], sum);
            expect_bits("dx", set, p, r, k, dx[nets_at(r, p->in) + (size_t)k],
                        sum);
        }
    soma_matrix_backward_weights_exactly(p->in, p->out, p->rows, p->x, p->dy,
                                         dpanels, dbias);
    soma_matrix_to_rows(p->in, p->out, dpanels, dw);
    for (int j = 0; j < p->out; j++)
        for (int k = 0; k < p->in; k++) {
            float sum = 0;
            for (int r = 0; r < p->rows; r++)
                sum = fmaf(p->x[nets_at(r, p->in) + (size_t)k],
                           p->dy[nets_at(r, p->out) + (size_t)j], sum);
            expect_bits("dw", set, p, j, k, dw[nets_at(j, p->in) + (size_t)k],
                        sum);
        }
    free(dx), free(dw), free(dbias), free(dpanels);
}

static void
check_order(int in, int out, int rows)
{
    product p = make_product(in, out, rows, 6);
    for (int s = 0; s < SETS_COUNT; s++) {
        if (SETS[s] == SOMA_KERNEL_PLAIN || !use(SETS[s]))
            continue;
        check_forward_order(s, &p);
        check_backward_order(s, &p);
    }
    use_best();
    free_product(&p);
}

/* kernel_dot.h, written down. */
static float
dot_in_order(const float *a, const float *b, int count)
{
    enum { SUMS = 32 };
    float sum[SUMS] = {0}, rest = 0;
    int whole = count - count % SUMS;
    for (int i = 0; i < whole; i++)
        sum[i % SUMS] = fmaf(a[i], b[i], sum[i % SUMS]);
    for (int i = whole; i < count; i++)
        rest = fmaf(a[i], b[i], rest);
    for (int half = SUMS / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            sum[k] += sum[k + half];
    return sum[0] + rest;
}

static void
test_inner_products(void **state)
{
    static const int counts[] = {0, 1, 10, 31, 32, 33, 100, 784, 3072};
    (void)state;
    product p = make_product(3072, 2, 1, 7);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int count = counts[i];
        double sum = 0;
        for (int k = 0; k < count; k++)
            sum += (double)p.x[k] * (double)p.w[k];
        for (int s = 0; s < SETS_COUNT; s++) {
            if (!use(SETS[s]))
                continue;
            float got = soma_kernel_dot(p.x, p.w, count);
            near("dot", &p, (double)got, sum, count);
            if (SETS[s] != SOMA_KERNEL_PLAIN)
                expect_bits("dot", s, &p, count, 0, got,
                            dot_in_order(p.x, p.w, count));
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
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_kernels_in_any_batch),
        cmocka_unit_test(test_same_bits_by_every_set),
        cmocka_unit_test(test_inner_products),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

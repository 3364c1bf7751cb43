/* The products of one layer, on random numbers, for tests of matrix.h and
 * kernel.h. */
#ifndef SOMA_TESTS_UNIT_PRODUCTS_H
#define SOMA_TESTS_UNIT_PRODUCTS_H

#include "core/matrix.h"
#include "tests/unit/nets.h"

typedef struct product {
    int in, out, rows;
    float *w, *panels, *bias; /* w is [out x in] */
    float *x, *y, *dy;
} product;

static inline product
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

static inline void
free_product(product *p)
{
    float *all[] = {p->w, p->panels, p->bias, p->x, p->y, p->dy};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* |got - expected| within what float32 sums of `terms` numbers below 1 may
 * differ by. A term too many or too few would show a thousandfold. */
static inline void
near(const char *what, const product *p, double got, double expected, int terms)
{
    if (!(fabs(got - expected) <= 6e-8 * (10 + terms)))
        fail_msg("%s of %d x %d, %d rows: %.9g, expected %.9g", what, p->in,
                 p->out, p->rows, got, expected);
}

/* What is overwritten must not be read: it holds NaN before. */
static inline float *
poison(size_t count)
{
    float *values = nets_floats(count);
    for (size_t i = 0; i < count; i++)
        values[i] = NAN;
    return values;
}

#endif

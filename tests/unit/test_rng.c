/* The generator against its published algorithm (an implementation in Python
 * gave the numbers), and what is drawn from it against its distribution. */
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

static void
test_xoshiro(void **state)
{
    (void)state;
    const uint64_t expected[] = {11520u,
                                 0u,
                                 1509978240u,
                                 1215971899390074240u,
                                 1216172134540287360u,
                                 607988272756665600u,
                                 16172922978634559625u,
                                 8476171486693032832u,
                                 10595114339597558777u,
                                 2904607092377533576u};
    soma_rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(soma_rng_next(&rng) == expected[i]);
}

/* The state is four numbers of splitmix64 from the seed mixed with the first
 * one of the stream: 0xe220a8397b1dcdaf for stream 0. */
static void
test_seed_is_splitmix(void **state)
{
    (void)state;
    const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                                 9817491932198370423u, 4593380528125082431u};
    soma_rng rng = soma_rng_seed(1234567u ^ 0xe220a8397b1dcdafu, 0);
    for (int i = 0; i < 4; i++)
        assert_true(rng.state[i] == expected[i]);
}

static void
test_seeded(void **state)
{
    (void)state;
    const struct {
        uint64_t seed, stream, first, second;
    } cases[] = {
        {0, 0, 0xfb5405f7bd79c540u, 0x780c98e26cea5883u},
        {1, 0, 0xef75d62a19ba94edu, 0x8e9490536375f270u},
        {0, 1, 0xee127fe613436e33u, 0xd6dad8d34a1874eau},
        {UINT64_MAX, UINT64_MAX, 0x5a24625849aef5fau, 0x0177bf4162305facu},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_rng rng = soma_rng_seed(cases[i].seed, cases[i].stream);
        assert_true(soma_rng_next(&rng) == cases[i].first);
        assert_true(soma_rng_next(&rng) == cases[i].second);
    }
    soma_rng rng = soma_rng_seed(42, 7);
    for (int i = 0; i < 999; i++)
        soma_rng_next(&rng);
    assert_true(soma_rng_next(&rng) == 0x88515e470177075au);
}

static void
test_value_semantics(void **state)
{
    (void)state;
    soma_rng rng = soma_rng_seed(3, 0), copy = rng;
    uint64_t first = soma_rng_next(&rng);
    soma_rng_next(&rng);
    assert_true(soma_rng_next(&copy) == first);
}

static void
test_uniform(void **state)
{
    (void)state;
    enum { DRAWS = 200000, BINS = 16 };
    soma_rng rng = soma_rng_seed(5, 0);
    int bins[BINS] = {0};
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) {
        float u = soma_rng_uniform(&rng);
        assert_true(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
        sum += (double)u;
    }
    /* Five standard deviations: of the mean 1/sqrt(12 n), of a bin's count
     * sqrt(n p (1 - p)). */
    assert_true(fabs(sum / DRAWS - 0.5) < 5 / sqrt(12.0 * DRAWS));
    double p = 1.0 / BINS;
    for (int b = 0; b < BINS; b++)
        assert_true(fabs(bins[b] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)));
}

/* The least and the greatest value that a draw can have. With this state,
 * next() is rotl(s[1] * 5, 7) * 9. */
static void
test_uniform_ends(void **state)
{
    (void)state;
    const uint64_t inverse_of_9 = 0x8e38e38e38e38e39u;
    const uint64_t inverse_of_5 = 0xcccccccccccccccdu;
    const uint64_t wanted[] = {0, UINT64_MAX, (uint64_t)1 << 40,
                               ((uint64_t)1 << 40) - 1};
    const float expected[] = {0, 0x1.fffffep-1f, 0x1p-24f, 0};
    for (int i = 0; i < 4; i++) {
        uint64_t before = wanted[i] * inverse_of_9;
        before = (before >> 7 | before << 57) * inverse_of_5;
        soma_rng rng = {{1, before, 1, 1}}, same = rng;
        assert_true(soma_rng_next(&same) == wanted[i]);
        assert_true(soma_rng_uniform(&rng) == expected[i]);
    }
}

static void
test_below(void **state)
{
    (void)state;
    const uint32_t bounds[] = {1,          2,          3,          10,
                               1000,       65536,      0x7fffffff, 0x80000000,
                               0x80000001, 0xc0000000, UINT32_MAX};
    soma_rng rng = soma_rng_seed(6, 0);
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++)
        for (int i = 0; i < 10000; i++)
            assert_true(soma_rng_below(&rng, bounds[b]) < bounds[b]);
}

static void
test_below_is_even(void **state)
{
    (void)state;
    enum { DRAWS = 140000, BOUND = 7 };
    soma_rng rng = soma_rng_seed(7, 0);
    int counts[BOUND] = {0};
    for (int i = 0; i < DRAWS; i++)
        counts[soma_rng_below(&rng, BOUND)]++;
    double expected = (double)DRAWS / BOUND;
    for (int i = 0; i < BOUND; i++)
        assert_true(fabs(counts[i] - expected) < 5 * sqrt(expected));
}

/* With 3 * 2^30 values, draws by multiplication alone would give every third
 * value twice as often; redrawing makes them even. */
static void
test_below_rejects_bias(void **state)
{
    (void)state;
    enum { DRAWS = 90000 };
    soma_rng rng = soma_rng_seed(8, 0);
    int counts[3] = {0};
    for (int i = 0; i < DRAWS; i++)
        counts[soma_rng_below(&rng, 0xc0000000u) % 3]++;
    for (int i = 0; i < 3; i++)
        assert_true(fabs(counts[i] - DRAWS / 3.0) < 5 * sqrt(DRAWS / 3.0));
}

static void
test_normal(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    soma_rng rng = soma_rng_seed(9, 0);
    double moment[5] = {0};
    int inside = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = (double)soma_rng_normal(&rng), power = 1;
        assert_true(isfinite(x));
        inside += fabs(x) < 1;
        for (int k = 1; k < 5; k++)
            moment[k] += power *= x;
    }
    for (int k = 1; k < 5; k++)
        moment[k] /= DRAWS;
    assert_true(fabs(moment[1]) < 0.012);
    assert_true(fabs(moment[2] - 1) < 0.016);
    assert_true(fabs(moment[3]) < 0.045);
    assert_true(fabs(moment[4] - 3) < 0.12);
    assert_true(fabs((double)inside / DRAWS - 0.682689) < 0.0053);
}

/* Where a uniform draw is 0, its logarithm must not be taken. */
static void
test_normal_ends(void **state)
{
    (void)state;
    soma_rng rng = {{1, 0, 1, 1}}, same = rng;
    assert_true(soma_rng_uniform(&same) == 0);
    assert_true(soma_rng_normal(&rng) == 0);
}

static void
test_shuffle_is_a_permutation(void **state)
{
    (void)state;
    const int counts[] = {0, 1, 2, 3, 10, 1000};
    soma_rng rng = soma_rng_seed(10, 0);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        int order[1001];
        bool seen[1000] = {false};
        for (int i = 0; i < counts[c]; i++)
            order[i] = i;
        order[counts[c]] = -7;
        soma_rng_shuffle(&rng, order, counts[c]);
        assert_int_equal(order[counts[c]], -7);
        for (int i = 0; i < counts[c]; i++) {
            assert_in_range(order[i], 0, counts[c] - 1);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

/* All 24 orders of 4 things come out equally often. */
static void
test_shuffle_is_even(void **state)
{
    (void)state;
    enum { DRAWS = 48000, ORDERS = 24 };
    soma_rng rng = soma_rng_seed(11, 0);
    int counts[256] = {0}, orders = 0;
    for (int i = 0; i < DRAWS; i++) {
        int order[] = {0, 1, 2, 3};
        soma_rng_shuffle(&rng, order, 4);
        counts[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
    }
    double expected = (double)DRAWS / ORDERS;
    for (int i = 0; i < 256; i++)
        if (counts[i]) {
            orders++;
            assert_true(fabs(counts[i] - expected) < 5 * sqrt(expected));
        }
    assert_int_equal(orders, ORDERS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xoshiro),
        cmocka_unit_test(test_seed_is_splitmix),
        cmocka_unit_test(test_seeded),
        cmocka_unit_test(test_value_semantics),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_uniform_ends),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_below_rejects_bias),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_normal_ends),
        cmocka_unit_test(test_shuffle_is_a_permutation),
        cmocka_unit_test(test_shuffle_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

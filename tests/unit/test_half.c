/* All 65536 values of both formats, and all that lies between two halves. */
#include "core/io/half.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

static uint32_t
bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* By the definition of IEEE 754 binary16, without bits. */
static double
half_value(unsigned half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 1023, sign = half & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction > 0 ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static void
test_half_to_float(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 65536; half++) {
        double want = half_value(half);
        float got = soma_half_to_float((uint16_t)half);
        if (isnan(want)) {
            assert_true(isnan(got));
            continue;
        }
        assert_true((double)got == want);
        assert_int_equal(signbit(got) != 0, half >> 15);
    }
}

static void
test_half_round_trip(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 65536; half++) {
        uint16_t back =
            soma_half_from_float(soma_half_to_float((uint16_t)half));
        if (isnan(half_value(half))) {
            assert_true(isnan(half_value(back)));
            assert_int_equal(back >> 15, half >> 15);
        } else {
            assert_int_equal(back, half);
        }
    }
}

/* Between each two neighbours: half way goes to the even one, a hair less or
 * more to the nearer one. */
static void
test_half_rounding(void **state)
{
    (void)state;
    for (unsigned half = 0; half < 0x7c00; half++) {
        double low = half_value(half);
        double high = half == 0x7bff ? 65536 : half_value(half + 1);
        float middle = (float)((low + high) / 2);
        assert_true((double)middle == (low + high) / 2);
        unsigned even = half & 1 ? half + 1 : half;
        float below = nextafterf(middle, 0), above = nextafterf(middle, 1e9f);
        assert_int_equal(soma_half_from_float(middle), even);
        assert_int_equal(soma_half_from_float(below), half);
        assert_int_equal(soma_half_from_float(above), half + 1);
        assert_int_equal(soma_half_from_float(-middle), even | 0x8000);
        assert_int_equal(soma_half_from_float(-below), half | 0x8000);
        assert_int_equal(soma_half_from_float(-above), (half + 1) | 0x8000);
    }
}

static void
test_half_extremes(void **state)
{
    (void)state;
    assert_int_equal(soma_half_from_float(65504), 0x7bff);
    assert_int_equal(soma_half_from_float(65520), 0x7c00);
    assert_int_equal(soma_half_from_float(3.4e38f), 0x7c00);
    assert_int_equal(soma_half_from_float(-INFINITY), 0xfc00);
    assert_int_equal(soma_half_from_float(1e-45f), 0);
    assert_int_equal(soma_half_from_float(-1e-45f), 0x8000);
    assert_int_equal(soma_half_from_float(1.0f / 3), 0x3555);
    assert_true(isnan(soma_half_to_float(soma_half_from_float(NAN))));
}

static void
test_bfloat(void **state)
{
    (void)state;
    for (unsigned bfloat = 0; bfloat < 65536; bfloat++) {
        float value = soma_bfloat_to_float((uint16_t)bfloat);
        uint16_t back = soma_bfloat_from_float(value);
        assert_int_equal(bits_of(value), bfloat << 16);
        if (isnan(value))
            assert_true(isnan(soma_bfloat_to_float(back)));
        else
            assert_int_equal(back, bfloat);
    }
    for (unsigned bfloat = 0; bfloat < 0x7f80; bfloat++) {
        uint32_t bits = (bfloat << 16) + 0x8000;
        unsigned even = bfloat & 1 ? bfloat + 1 : bfloat;
        float middle, below, above;
        memcpy(&middle, &bits, sizeof bits);
        bits--;
        memcpy(&below, &bits, sizeof bits);
        bits += 2;
        memcpy(&above, &bits, sizeof bits);
        assert_int_equal(soma_bfloat_from_float(middle), even);
        assert_int_equal(soma_bfloat_from_float(below), bfloat);
        assert_int_equal(soma_bfloat_from_float(above), bfloat + 1);
        assert_int_equal(soma_bfloat_from_float(-middle), even | 0x8000);
    }
    /* A NaN whose bits lie beyond the 16 stays one. */
    uint32_t bits = 0x7f800001;
    float nan;
    memcpy(&nan, &bits, sizeof bits);
    assert_true(isnan(soma_bfloat_to_float(soma_bfloat_from_float(nan))));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_to_float),
        cmocka_unit_test(test_half_round_trip),
        cmocka_unit_test(test_half_rounding),
        cmocka_unit_test(test_half_extremes),
        cmocka_unit_test(test_bfloat),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}

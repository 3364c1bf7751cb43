/* Scaling and converting, on numbers small enough to work out by hand. */
#include "core/io/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static void
expect(int channels_in, int height_in, int width_in, const uint8_t *pixels,
       int channels, int height, int width, const float *expected)
{
    size_t size = (size_t)(channels * height * width);
    soma_picture picture = {.width = width_in,
                            .height = height_in,
                            .channels = channels_in,
                            .pixels = (uint8_t *)pixels};
    float *planes = malloc(size * sizeof *planes);
    assert_non_null(planes);
    assert_int_equal(
        soma_picture_planes(&picture, channels, height, width, planes, NULL),
        SOMA_OK);
    for (size_t i = 0; i < size; i++)
        assert_float_equal(planes[i], expected[i], 0);
    free(planes);
}

#define PIXELS (const uint8_t[])
#define VALUES (const float[])

static void
test_same_size_keeps_values(void **state)
{
    (void)state;
    uint8_t pixels[256];
    float values[256];
    for (int i = 0; i < 256; i++) {
        pixels[i] = (uint8_t)i;
        values[i] = (float)i;
    }
    expect(1, 8, 32, pixels, 1, 8, 32, values);
    expect(3, 1, 2, PIXELS{1, 2, 3, 4, 5, 6}, 3, 1, 2,
           VALUES{1, 4, 2, 5, 3, 6});
    expect(1, 1, 2, PIXELS{9, 8}, 3, 1, 2, VALUES{9, 8, 9, 8, 9, 8});
}

static void
test_grey_from_colours(void **state)
{
    (void)state;
    /* 76245, 149685, 29070 thousandths, and 255000 for white. */
    expect(3, 1, 4, PIXELS{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255}, 1,
           1, 4, VALUES{76, 150, 29, 255});
    expect(3, 1, 2, PIXELS{10, 20, 30, 7, 7, 7}, 1, 1, 2, VALUES{18, 7});
    /* Before scaling: 76 and 150 make 113; (76.245 + 149.685) / 2 is 112.965,
     * the same; 29 and 0 make 14.5, rounded up; 29.07 / 2 is as well. */
    expect(3, 1, 2, PIXELS{255, 0, 0, 0, 255, 0}, 1, 1, 1, VALUES{113});
}

static void
test_shrinking_averages_areas(void **state)
{
    (void)state;
    expect(1, 2, 2, PIXELS{0, 100, 200, 101}, 1, 1, 1, VALUES{100});
    expect(1, 2, 4, PIXELS{0, 2, 10, 20, 4, 6, 30, 40}, 1, 1, 2, VALUES{3, 25});
    /* Three to two: each target is one source and half of the middle. */
    expect(1, 1, 3, PIXELS{30, 60, 90}, 1, 1, 2, VALUES{40, 80});
    expect(1, 3, 1, PIXELS{30, 60, 90}, 1, 2, 1, VALUES{40, 80});
    /* Five to two: (a + b + c/2) / 2.5. */
    expect(1, 1, 5, PIXELS{10, 20, 40, 100, 200}, 1, 1, 2, VALUES{20, 128});
    expect(3, 1, 2, PIXELS{0, 10, 100, 2, 30, 200}, 3, 1, 1,
           VALUES{1, 20, 150});
}

static void
test_growing_is_bilinear(void **state)
{
    (void)state;
    expect(1, 1, 2, PIXELS{0, 100}, 1, 1, 4, VALUES{0, 25, 75, 100});
    expect(1, 2, 1, PIXELS{0, 100}, 1, 4, 1, VALUES{0, 25, 75, 100});
    expect(1, 1, 2, PIXELS{0, 90}, 1, 1, 3, VALUES{0, 45, 90});
    expect(1, 1, 1, PIXELS{77}, 1, 2, 3, VALUES{77, 77, 77, 77, 77, 77});
    /* One side grows, the other shrinks. */
    expect(1, 2, 2, PIXELS{0, 100, 20, 120}, 1, 1, 4, VALUES{10, 35, 85, 110});
}

static void
test_one_colour_stays_itself(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1},   {7, 3},  {28, 28},
                                   {13, 17}, {64, 5}, {101, 97}};
    uint8_t pixels[37 * 23];
    float values[101 * 97];
    for (int value = 0; value < 256; value += 51) {
        for (size_t i = 0; i < sizeof pixels; i++)
            pixels[i] = (uint8_t)value;
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            values[i] = (float)value;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            expect(1, 37, 23, pixels, 1, sizes[i][0], sizes[i][1], values);
    }
}

static void
test_results_are_bytes(void **state)
{
    (void)state;
    enum { SIDE = 31 };
    uint8_t pixels[SIDE * SIDE * 3];
    float planes[3 * 19 * 47];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof pixels; i++) {
        random = random * 1664525 + 1013904223;
        pixels[i] = random >> 31 ? 255 : (uint8_t)(random >> 24);
    }
    soma_picture picture = {SIDE, SIDE, 3, pixels};
    assert_int_equal(soma_picture_planes(&picture, 3, 19, 47, planes, NULL),
                     SOMA_OK);
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
        assert_float_equal(planes[i], (float)(uint8_t)planes[i], 0);
}

static void
test_wrong_shapes(void **state)
{
    (void)state;
    uint8_t pixel = 1;
    float planes[4];
    soma_error err;
    soma_picture picture = {1, 1, 1, &pixel};
    for (int channels = -1; channels < 5; channels++)
        if (channels != 1 && channels != 3)
            assert_int_equal(
                soma_picture_planes(&picture, channels, 1, 1, planes, &err),
                SOMA_E_SHAPE);
    assert_int_equal(soma_picture_planes(&picture, 1, 0, 1, planes, &err),
                     SOMA_E_SHAPE);
    assert_int_equal(soma_picture_planes(&picture, 1, 1, -1, planes, &err),
                     SOMA_E_SHAPE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_size_keeps_values),
        cmocka_unit_test(test_grey_from_colours),
        cmocka_unit_test(test_shrinking_averages_areas),
        cmocka_unit_test(test_growing_is_bilinear),
        cmocka_unit_test(test_one_colour_stays_itself),
        cmocka_unit_test(test_results_are_bytes),
        cmocka_unit_test(test_wrong_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

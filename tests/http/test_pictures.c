/* Pictures: the answer is that of their pixels. */
#include "tests/http/server.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <zlib.h>

static server s;

static int
set_up(void **state)
{
    (void)state;
    start_server(&s, NULL);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_server(&s);
}

/* A PNG of 8-bit grey (channels 1) or RGB (3). */
static unsigned char *
png_of(const unsigned char *pixels, unsigned width, unsigned height,
       int channels, size_t *size)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = width,
                       .height = height,
                       .format =
                           channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t room = 1 << 20;
    unsigned char *png = malloc(room);
    assert_true(
        png_image_write_to_memory(&image, png, &room, 0, pixels, 0, NULL));
    *size = room;
    return png;
}

static answer
predict(const char *model, const char *type, const void *body, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/models/%s/predict", model);
    answer a = ask(&s, NULL, path, type, body, size);
    assert_int_equal(a.status, 200);
    return a;
}

static void
expect_equal(answer a, answer b)
{
    assert_string_equal(a.body, b.body);
    free_answer(&a);
    free_answer(&b);
}

static void
a_grey_png_is_its_pixels(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        size_t size;
        const unsigned char *image = fashion_images() + i * PIXELS;
        unsigned char *png = png_of(image, 28, 28, 1, &size);
        expect_equal(
            predict("fashion", "image/png", png, size),
            predict("fashion", "application/octet-stream", image, PIXELS));
        free(png);
    }
}

/* RGB with equal channels is grey. */
static void
a_grey_picture_in_rgb_is_its_pixels(void **state)
{
    unsigned char rgb[3 * PIXELS];
    const unsigned char *image = fashion_images();
    size_t size;
    (void)state;
    for (int i = 0; i < 3 * PIXELS; i++)
        rgb[i] = image[i / 3];
    unsigned char *png = png_of(rgb, 28, 28, 3, &size);
    expect_equal(predict("fashion", "image/png", png, size),
                 predict("fashion", "application/octet-stream", image, PIXELS));
    free(png);
}

static void
an_rgb_png_is_its_planes(void **state)
{
    enum { SIDE = 32 };
    unsigned char rgb[SIDE * SIDE * 3], planes[3 * SIDE * SIDE];
    size_t size;
    (void)state;
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = (unsigned char)(i * (c + 3) + 17 * c);
            planes[c * SIDE * SIDE + i] = rgb[3 * i + c];
        }
    unsigned char *png = png_of(rgb, SIDE, SIDE, 3, &size);
    expect_equal(
        predict("cifar10", "image/png", png, size),
        predict("cifar10", "application/octet-stream", planes, sizeof planes));
    free(png);
}

/* A JPEG's pixels are what libjpeg-turbo decodes. */
static void
a_jpeg_is_its_pixels(void **state)
{
    unsigned char *jpeg = NULL, decoded[PIXELS];
    unsigned long size = 0;
    (void)state;
    tjhandle to = tjInitCompress(), from = tjInitDecompress();
    assert_int_equal(tjCompress2(to, fashion_images(), 28, 0, 28, TJPF_GRAY,
                                 &jpeg, &size, TJSAMP_GRAY, 90, 0),
                     0);
    assert_int_equal(tjDecompress2(from, jpeg, size, decoded, 28, 0, 28,
                                   TJPF_GRAY, TJFLAG_ACCURATEDCT),
                     0);
    expect_equal(
        predict("fashion", "image/jpeg", jpeg, size),
        predict("fashion", "application/octet-stream", decoded, PIXELS));
    tjFree(jpeg);
    tjDestroy(to);
    tjDestroy(from);
}

/* Each pixel blown up to 3 x 3 shrinks back to itself. */
static void
a_larger_picture_is_scaled(void **state)
{
    enum { SIDE = 84 };
    unsigned char *large = malloc(SIDE * SIDE);
    const unsigned char *image = fashion_images();
    size_t size;
    (void)state;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            large[y * SIDE + x] = image[y / 3 * 28 + x / 3];
    unsigned char *png = png_of(large, SIDE, SIDE, 1, &size);
    expect_equal(predict("fashion", "image/png", png, size),
                 predict("fashion", "application/octet-stream", image, PIXELS));
    free(png);
    free(large);
}

static void
a_picture_can_be_taught(void **state)
{
    size_t size;
    (void)state;
    unsigned char *png = png_of(fashion_images(), 28, 28, 1, &size);
    answer a = ask(&s, NULL, "/models/fashion/train?label=Ankle%20boot",
                   "image/png", png, size);
    assert_int_equal(a.status, 200);
    assert_true(whole_of(a.json, "version") >= 1);
    assert_string_equal(text_of(json_object_get(a.json, "predicted"), "class"),
                        "Ankle boot");
    free_answer(&a);
    expect_error(ask(&s, NULL, "/models/fashion/train", "image/png", png, size),
                 400, "no_label", "?label=");
    free(png);
}

/* Every way to cut a picture short is a clear error. */
static void
damaged_pictures_are_refused(void **state)
{
    size_t size;
    (void)state;
    unsigned char *png = png_of(fashion_images(), 28, 28, 1, &size);
    for (size_t cut = 0; cut < size - 12; cut += size / 40)
        expect_error(
            ask(&s, NULL, "/models/fashion/predict", "image/png", png, cut),
            400, "malformed_picture", "");
    png[size / 2] ^= 0xff;
    expect_error(
        ask(&s, NULL, "/models/fashion/predict", "image/png", png, size), 400,
        "malformed_picture", "PNG");
    free(png);
}

/* A header that promises 65,535 x 65,535 pixels costs nothing. */
static void
bombs_are_refused(void **state)
{
    size_t size;
    (void)state;
    unsigned char *png = png_of(fashion_images(), 28, 28, 1, &size);
    memcpy(png + 16, "\0\0\xff\xff\0\0\xff\xff", 8);
    unsigned long crc = crc32(0, png + 12, 17);
    for (int i = 0; i < 4; i++)
        png[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
    expect_error(
        ask(&s, NULL, "/models/fashion/predict", "image/png", png, size), 413,
        "too_large", "65535");
    free(png);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grey_png_is_its_pixels),
        cmocka_unit_test(a_grey_picture_in_rgb_is_its_pixels),
        cmocka_unit_test(an_rgb_png_is_its_planes),
        cmocka_unit_test(a_jpeg_is_its_pixels),
        cmocka_unit_test(a_larger_picture_is_scaled),
        cmocka_unit_test(a_picture_can_be_taught),
        cmocka_unit_test(damaged_pictures_are_refused),
        cmocka_unit_test(bombs_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* JPEGs made with TurboJPEG on the spot, read back. */
#include "core/io/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <unistd.h>

typedef struct blob {
    uint8_t *data;
    size_t size;
} blob;

static soma_status
decode_status(const uint8_t *data, size_t size, soma_error *err)
{
    soma_picture picture;
    soma_status status = soma_picture_decode(data, size, &picture, err);
    if (status)
        assert_null(picture.pixels);
    soma_picture_free(&picture);
    return status;
}

static blob
make_jpeg(const uint8_t *pixels, int width, int height, int format, int flags)
{
    unsigned char *data = NULL;
    unsigned long size = 0;
    tjhandle turbo = tjInitCompress();
    assert_int_equal(
        tjCompress2(turbo, pixels, width, 0, height, format, &data, &size,
                    format == TJPF_GRAY ? TJSAMP_GRAY : TJSAMP_444, 95, flags),
        0);
    tjDestroy(turbo);
    blob file = {malloc(size), size};
    assert_non_null(file.data);
    memcpy(file.data, data, size);
    tjFree(data);
    return file;
}

static blob
gradient_jpeg(int format, int flags, uint8_t pixels[40 * 24 * 4])
{
    int channels = tjPixelSize[format];
    for (int y = 0; y < 24; y++)
        for (int x = 0; x < 40; x++)
            for (int c = 0; c < channels; c++)
                pixels[(y * 40 + x) * channels + c] =
                    (uint8_t)(x * 4 + y * (c + 1));
    return make_jpeg(pixels, 40, 24, format, flags);
}

static void
test_jpeg(void **state)
{
    (void)state;
    uint8_t pixels[40 * 24 * 4];
    for (int i = 0; i < 2; i++) {
        soma_picture plain, progressive;
        int format = i ? TJPF_RGB : TJPF_GRAY;
        blob file = gradient_jpeg(format, 0, pixels);
        assert_int_equal(
            soma_picture_decode(file.data, file.size, &plain, NULL), SOMA_OK);
        free(file.data);
        file = gradient_jpeg(format, TJFLAG_PROGRESSIVE, pixels);
        assert_int_equal(
            soma_picture_decode(file.data, file.size, &progressive, NULL),
            SOMA_OK);
        free(file.data);
        assert_int_equal(plain.width, 40);
        assert_int_equal(plain.height, 24);
        assert_int_equal(plain.channels, tjPixelSize[format]);
        size_t size = (size_t)(40 * 24 * plain.channels);
        for (size_t k = 0; k < size; k++)
            assert_in_range(plain.pixels[k] + 8 - pixels[k], 0, 16);
        assert_memory_equal(plain.pixels, progressive.pixels, size);
        soma_picture_free(&plain);
        soma_picture_free(&progressive);
    }
}

static void
test_wrong_jpegs(void **state)
{
    (void)state;
    uint8_t pixels[40 * 24 * 4];
    soma_error err;
    for (int i = 0; i < 2; i++) {
        blob file = gradient_jpeg(TJPF_RGB, i ? TJFLAG_PROGRESSIVE : 0, pixels);
        for (size_t size = 0; size < file.size; size++)
            assert_int_equal(decode_status(file.data, size, NULL),
                             SOMA_E_FORMAT);
        free(file.data);
    }
    blob file = gradient_jpeg(TJPF_CMYK, 0, pixels);
    assert_int_equal(decode_status(file.data, file.size, &err),
                     SOMA_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "CMYK"));
    free(file.data);
}

/* The size in a JPEG's header: height and width after FF C0 or FF C2, length
 * and precision. */
static void
set_size(const blob *file, int height, int width)
{
    uint8_t *at = memmem(file->data, file->size, "\xff\xc0", 2);
    if (!at)
        at = memmem(file->data, file->size, "\xff\xc2", 2);
    assert_non_null(at);
    memcpy(at + 5, (uint8_t[]){(uint8_t)(height >> 8), (uint8_t)height}, 2);
    memcpy(at + 7, (uint8_t[]){(uint8_t)(width >> 8), (uint8_t)width}, 2);
}

static void
test_jpeg_bounds(void **state)
{
    (void)state;
    uint8_t pixels[40 * 24 * 4];
    soma_error err;
    blob file = gradient_jpeg(TJPF_RGB, 0, pixels);
    set_size(&file, 20000, 1);
    assert_int_equal(decode_status(file.data, file.size, &err), SOMA_E_LIMIT);
    set_size(&file, 10000, 10000);
    assert_int_equal(decode_status(file.data, file.size, &err), SOMA_E_LIMIT);
    set_size(&file, 65535, 65535);
    assert_int_equal(decode_status(file.data, file.size, &err), SOMA_E_FORMAT);
    free(file.data);

    /* Seventeen times over 6000 x 6000 pixels is allowed, not more. */
    file = gradient_jpeg(TJPF_RGB, TJFLAG_PROGRESSIVE, pixels);
    set_size(&file, 6000, 6000);
    blob many = {malloc(file.size + 40), file.size + 40};
    assert_non_null(many.data);
    memcpy(many.data, file.data, file.size);
    for (size_t i = file.size; i < many.size; i += 2)
        memcpy(many.data + i, "\xff\xda", 2);
    assert_int_equal(decode_status(many.data, many.size, &err), SOMA_E_LIMIT);
    assert_non_null(strstr(err.text, "scans"));
    free(many.data);
    free(file.data);
}

static void
test_bytes_around_the_end_of_a_jpeg(void **state)
{
    (void)state;
    uint8_t pixels[40 * 24 * 4];
    blob file = gradient_jpeg(TJPF_RGB, 0, pixels);
    soma_picture plain, padded;
    assert_int_equal(soma_picture_decode(file.data, file.size, &plain, NULL),
                     SOMA_OK);
    /* Padding before the end marker, as cameras leave it, and text behind. */
    blob more = {calloc(1, file.size + 64), file.size + 64};
    assert_non_null(more.data);
    memcpy(more.data, file.data, file.size - 2);
    memcpy(more.data + file.size + 30, "\xff\xd9 behind", 9);
    soma_error err = {0};
    soma_status status =
        soma_picture_decode(more.data, more.size, &padded, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_memory_equal(plain.pixels, padded.pixels, 40 * 24 * 3);
    soma_picture_free(&plain);
    soma_picture_free(&padded);
    free(more.data);
    free(file.data);
}

static void
test_nothing_is_printed(void **state)
{
    (void)state;
    uint8_t pixels[40 * 24 * 4];
    blob file = gradient_jpeg(TJPF_RGB, 0, pixels);
    FILE *sink = tmpfile();
    int old = dup(2);
    assert_non_null(sink);
    fflush(stderr);
    dup2(fileno(sink), 2);
    soma_status status = decode_status(file.data, file.size - 40, NULL);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    assert_int_equal(status, SOMA_E_FORMAT);
    assert_int_equal(lseek(fileno(sink), 0, SEEK_END), 0);
    fclose(sink);
    free(file.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_wrong_jpegs),
        cmocka_unit_test(test_jpeg_bounds),
        cmocka_unit_test(test_bytes_around_the_end_of_a_jpeg),
        cmocka_unit_test(test_nothing_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* PNGs made with libpng on the spot, read back. */
#include "core/io/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

typedef struct blob {
    uint8_t *data;
    size_t size;
} blob;

/* What a PNG is made of; zeros mean: leave it out. */
typedef struct recipe {
    int width, height, depth, type;
    bool interlaced, srgb;
    png_fixed_point gamma;
    const png_color *palette;
    int colours;
    const uint8_t *alphas; /* of palette entries */
    int alpha_count;
    const png_color_16 *key; /* the transparent colour */
    int texts;               /* compressed chunks of 7 MB each */
    const uint8_t *rows;     /* packed as PNG packs them */
} recipe;

static void
append(png_structp png, png_bytep data, size_t size)
{
    blob *to = png_get_io_ptr(png);
    to->data = realloc(to->data, to->size + size);
    assert_non_null(to->data);
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void
flush(png_structp png)
{
    (void)png;
}

/* Written by hand: libpng's own way would keep them all in memory, too. */
static void
add_texts(png_structp png, int count)
{
    enum { SIZE = 7 << 20 };
    static const char head[] = "Comment\0"; /* method 0 is its last NUL */
    uLongf length = compressBound(SIZE);
    uint8_t *text = malloc(SIZE), *chunk = malloc(sizeof head + length);
    assert_true(text && chunk);
    memset(text, 'a', SIZE);
    memcpy(chunk, head, sizeof head);
    assert_int_equal(compress(chunk + sizeof head, &length, text, SIZE), Z_OK);
    for (int i = 0; i < count; i++)
        png_write_chunk(png, (png_const_bytep) "zTXt", chunk,
                        sizeof head + length);
    free(text);
    free(chunk);
}

static blob
make_png(const recipe *r)
{
    blob to = {NULL, 0};
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    png_set_write_fn(png, &to, append, flush);
    png_set_IHDR(png, info, (png_uint_32)r->width, (png_uint_32)r->height,
                 r->depth, r->type,
                 r->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (r->gamma)
        png_set_gAMA_fixed(png, info, r->gamma);
    if (r->srgb)
        png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
    if (r->palette)
        png_set_PLTE(png, info, r->palette, r->colours);
    if (r->alphas || r->key)
        png_set_tRNS(png, info, r->alphas, r->alpha_count, r->key);
    png_write_info(png, info);
    add_texts(png, r->texts);
    size_t stride = png_get_rowbytes(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < r->height; y++)
            png_write_row(png, r->rows + (size_t)y * stride);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return to;
}

static void
expect_pixels(const blob *file, int width, int height, int channels,
              const uint8_t *pixels)
{
    soma_picture picture;
    soma_error err = {0};
    soma_status status =
        soma_picture_decode(file->data, file->size, &picture, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(picture.width, width);
    assert_int_equal(picture.height, height);
    assert_int_equal(picture.channels, channels);
    assert_memory_equal(picture.pixels, pixels,
                        (size_t)(width * height * channels));
    soma_picture_free(&picture);
}

static void
expect_png(const recipe *r, int channels, const uint8_t *pixels)
{
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        recipe copy = *r;
        copy.interlaced = interlaced;
        blob file = make_png(&copy);
        expect_pixels(&file, r->width, r->height, channels, pixels);
        free(file.data);
    }
}

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

static void
test_values_are_those_of_the_file(void **state)
{
    (void)state;
    uint8_t all[256], colours[256 * 3];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
        colours[3 * i] = (uint8_t)i;
        colours[3 * i + 1] = (uint8_t)(255 - i);
        colours[3 * i + 2] = (uint8_t)(i * 7);
    }
    static const png_fixed_point gammas[] = {0, 45455, 100000, 1000};
    for (size_t i = 0; i < sizeof gammas / sizeof *gammas; i++) {
        expect_png(&(recipe){.width = 32,
                             .height = 8,
                             .depth = 8,
                             .type = PNG_COLOR_TYPE_GRAY,
                             .gamma = gammas[i],
                             .rows = all},
                   1, all);
        expect_png(&(recipe){.width = 32,
                             .height = 8,
                             .depth = 8,
                             .type = PNG_COLOR_TYPE_RGB,
                             .gamma = gammas[i],
                             .rows = colours},
                   3, colours);
    }
    expect_png(&(recipe){.width = 32,
                         .height = 8,
                         .depth = 8,
                         .type = PNG_COLOR_TYPE_RGB,
                         .srgb = true,
                         .rows = colours},
               3, colours);
}

static void
test_few_and_many_bits(void **state)
{
    (void)state;
    static const uint8_t one[] = {0xa0}, two[] = {0x1b}, four[] = {0x0f, 0x58};
    expect_png(&(recipe){.width = 4, .height = 1, .depth = 1, .rows = one}, 1,
               (const uint8_t[]){255, 0, 255, 0});
    expect_png(&(recipe){.width = 4, .height = 1, .depth = 2, .rows = two}, 1,
               (const uint8_t[]){0, 85, 170, 255});
    expect_png(&(recipe){.width = 4, .height = 1, .depth = 4, .rows = four}, 1,
               (const uint8_t[]){0, 255, 85, 136});
    static const uint8_t wide[] = {0x12, 0xff, 0x80, 0x00, 0xff, 0x7f};
    expect_png(&(recipe){.width = 3, .height = 1, .depth = 16, .rows = wide}, 1,
               (const uint8_t[]){0x12, 0x80, 0xff});
    expect_png(&(recipe){.width = 1,
                         .height = 1,
                         .depth = 16,
                         .type = PNG_COLOR_TYPE_RGB,
                         .rows = wide},
               3, (const uint8_t[]){0x12, 0x80, 0xff});
}

static void
test_palettes(void **state)
{
    (void)state;
    static const png_color palette[] = {
        {10, 20, 30}, {200, 100, 50}, {255, 255, 255}, {0, 0, 1}};
    static const uint8_t two[] = {0x1b}, eight[] = {3, 2, 1, 0};
    static const uint8_t ones[] = {0x50};
    recipe r = {.width = 4,
                .height = 1,
                .depth = 2,
                .type = PNG_COLOR_TYPE_PALETTE,
                .palette = palette,
                .colours = 4,
                .rows = two};
    expect_png(
        &r, 3,
        (const uint8_t[]){10, 20, 30, 200, 100, 50, 255, 255, 255, 0, 0, 1});
    r.depth = 8;
    r.rows = eight;
    r.gamma = 45455;
    r.alphas = (const uint8_t[]){0, 128, 255};
    r.alpha_count = 3;
    expect_png(&r, 3,
               (const uint8_t[]){0, 0, 1, 255, 255, 255, 100, 50, 25, 0, 0, 0});
    expect_png(
        &(recipe){.width = 4,
                  .height = 1,
                  .depth = 1,
                  .type = PNG_COLOR_TYPE_PALETTE,
                  .palette = palette,
                  .colours = 2,
                  .rows = ones},
        3,
        (const uint8_t[]){10, 20, 30, 200, 100, 50, 10, 20, 30, 200, 100, 50});
}

static void
test_alpha_is_laid_over_black(void **state)
{
    (void)state;
    static const uint8_t grey[] = {200, 255, 200, 128, 200, 0, 3, 127};
    expect_png(&(recipe){.width = 2,
                         .height = 2,
                         .depth = 8,
                         .type = PNG_COLOR_TYPE_GRAY_ALPHA,
                         .gamma = 45455,
                         .rows = grey},
               1, (const uint8_t[]){200, 100, 0, 1});
    static const uint8_t colour[] = {255, 10, 1, 128, 255, 128, 64, 255};
    expect_png(&(recipe){.width = 2,
                         .height = 1,
                         .depth = 8,
                         .type = PNG_COLOR_TYPE_RGB_ALPHA,
                         .gamma = 45455,
                         .rows = colour},
               3, (const uint8_t[]){128, 5, 1, 255, 128, 64});
    static const uint8_t wide[] = {0xc8, 0x99, 0x80, 0x11};
    expect_png(&(recipe){.width = 1,
                         .height = 1,
                         .depth = 16,
                         .type = PNG_COLOR_TYPE_GRAY_ALPHA,
                         .rows = wide},
               1, (const uint8_t[]){100});
}

static void
test_transparent_colour(void **state)
{
    (void)state;
    static const png_color_16 grey = {.gray = 7},
                              colour = {.red = 1, .green = 2, .blue = 3},
                              wide = {.gray = 0x4001};
    static const uint8_t greys[] = {7, 8}, four[] = {0x78};
    static const uint8_t colours[] = {1, 2, 3, 3, 2, 1};
    expect_png(
        &(recipe){
            .width = 2, .height = 1, .depth = 8, .key = &grey, .rows = greys},
        1, (const uint8_t[]){0, 8});
    expect_png(
        &(recipe){
            .width = 2, .height = 1, .depth = 4, .key = &grey, .rows = four},
        1, (const uint8_t[]){0, 136});
    expect_png(&(recipe){.width = 2,
                         .height = 1,
                         .depth = 8,
                         .type = PNG_COLOR_TYPE_RGB,
                         .key = &colour,
                         .rows = colours},
               3, (const uint8_t[]){0, 0, 0, 3, 2, 1});
    /* Equal in the upper 8 bits only: not transparent. */
    static const uint8_t sixteen[] = {0x40, 0x01, 0x40, 0x02};
    expect_png(&(recipe){.width = 2,
                         .height = 1,
                         .depth = 16,
                         .key = &wide,
                         .rows = sixteen},
               1, (const uint8_t[]){0, 0x40});
}

static blob
some_png(bool interlaced, int type)
{
    static uint8_t rows[9 * 7 * 4];
    for (size_t i = 0; i < sizeof rows; i++)
        rows[i] = (uint8_t)(i * 37);
    return make_png(&(recipe){.width = 9,
                              .height = 7,
                              .depth = 8,
                              .type = type,
                              .interlaced = interlaced,
                              .rows = rows});
}

static void
test_every_truncation_of_a_png(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        blob file = some_png(i, PNG_COLOR_TYPE_RGB_ALPHA);
        assert_int_equal(decode_status(file.data, file.size, NULL), SOMA_OK);
        for (size_t size = 0; size < file.size; size++) {
            /* A copy of its own, so that reading on is seen. */
            uint8_t *cut = malloc(size + !size);
            assert_non_null(cut);
            memcpy(cut, file.data, size);
            assert_int_equal(decode_status(cut, size, NULL), SOMA_E_FORMAT);
            free(cut);
        }
        free(file.data);
    }
}

/* CRCs guard everything but the magic, lengths and names of chunks. */
static void
test_every_damaged_byte_of_a_png(void **state)
{
    (void)state;
    blob file = some_png(false, PNG_COLOR_TYPE_RGB);
    for (size_t i = 0; i < file.size; i++) {
        file.data[i] ^= 0x41;
        soma_status status = decode_status(file.data, file.size, NULL);
        assert_true(status == SOMA_E_FORMAT || status == SOMA_E_LIMIT);
        file.data[i] ^= 0x41;
    }
    free(file.data);
}

static void
expect_png_size(uint32_t width, uint32_t height, soma_status expected)
{
    blob file = some_png(false, PNG_COLOR_TYPE_GRAY);
    png_save_uint_32(file.data + 16, width);
    png_save_uint_32(file.data + 20, height);
    soma_error err;
    assert_int_equal(decode_status(file.data, file.size, &err), expected);
    assert_int_equal(err.status, expected);
    free(file.data);
}

static void
test_png_bounds(void **state)
{
    (void)state;
    expect_png_size(65535, 65535, SOMA_E_LIMIT);
    expect_png_size(0x7fffffff, 0x7fffffff, SOMA_E_LIMIT);
    expect_png_size(SOMA_PICTURE_MAX_SIDE + 1, 1, SOMA_E_LIMIT);
    expect_png_size(1, SOMA_PICTURE_MAX_SIDE + 1, SOMA_E_LIMIT);
    expect_png_size(SOMA_PICTURE_MAX_SIDE, 2442, SOMA_E_LIMIT);
    expect_png_size(0, 5, SOMA_E_FORMAT);
    expect_png_size(5, 0xffffffff, SOMA_E_FORMAT);
    /* Within the bounds, but not what the CRC says. */
    expect_png_size(SOMA_PICTURE_MAX_SIDE, 2441, SOMA_E_FORMAT);
}

static long
peak_kilobytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void
test_compressed_texts_are_not_unpacked(void **state)
{
    (void)state;
    static const uint8_t row[] = {42};
    blob file = make_png(&(recipe){
        .width = 1, .height = 1, .depth = 8, .texts = 40, .rows = row});
    assert_true(file.size < 1 << 20);
    long before = peak_kilobytes();
    expect_pixels(&file, 1, 1, 1, row);
    assert_true(peak_kilobytes() - before < 64 << 10);
    free(file.data);
}

static void
test_neither(void **state)
{
    (void)state;
    static const char *const others[] = {"",   "\x89",     "GIF89a",
                                         "BM", "\xff\xd8", "\x89PNG\r\n\x1a"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(
            decode_status((const uint8_t *)others[i], strlen(others[i]), NULL),
            SOMA_E_FORMAT);
}

static void
test_nothing_is_printed(void **state)
{
    (void)state;
    blob png = some_png(false, PNG_COLOR_TYPE_RGB);
    FILE *sink = tmpfile();
    int old = dup(2);
    assert_non_null(sink);
    fflush(stderr);
    dup2(fileno(sink), 2);
    soma_status second = decode_status(png.data, png.size - 20, NULL);
    png.data[45] ^= 1;
    soma_status third = decode_status(png.data, png.size, NULL);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    assert_int_equal(second, SOMA_E_FORMAT);
    assert_int_equal(third, SOMA_E_FORMAT);
    assert_int_equal(lseek(fileno(sink), 0, SEEK_END), 0);
    fclose(sink);
    free(png.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_those_of_the_file),
        cmocka_unit_test(test_few_and_many_bits),
        cmocka_unit_test(test_palettes),
        cmocka_unit_test(test_alpha_is_laid_over_black),
        cmocka_unit_test(test_transparent_colour),
        cmocka_unit_test(test_every_truncation_of_a_png),
        cmocka_unit_test(test_every_damaged_byte_of_a_png),
        cmocka_unit_test(test_png_bounds),
        cmocka_unit_test(test_compressed_texts_are_not_unpacked),
        cmocka_unit_test(test_neither),
        cmocka_unit_test(test_nothing_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

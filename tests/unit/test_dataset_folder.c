/* Folders of folders of pictures. */
#include "core/io/dataset.h"

#include "tests/unit/scratch.h"

#include <png.h>
#include <turbojpeg.h>
#include <unistd.h>

static soma_dataset data;
static soma_error err;

static soma_status
open_with(const char *path, soma_split split, int rank, const int *shape,
          const soma_classes *classes)
{
    soma_dataset_options options = {
        .split = split, .rank = rank, .classes = classes};
    if (rank)
        memcpy(options.shape, shape, (size_t)rank * sizeof *shape);
    err = (soma_error){0};
    return soma_dataset_open(path, &options, &data, &err);
}

static soma_status
open_plain(const char *path)
{
    return open_with(path, SOMA_SPLIT_TRAIN, 0, NULL, NULL);
}

static void
accepted(soma_status got)
{
    assert_string_equal(err.text, "");
    assert_int_equal(got, SOMA_OK);
    assert_string_equal(data.format, "pictures");
    assert_null(data.values);
}

static void
refused(soma_status got, soma_status expected, const char *part)
{
    if (got != expected || !strstr(err.text, part))
        print_error("got status %d: %s\n", got, err.text);
    assert_int_equal(got, expected);
    assert_int_equal(err.status, expected);
    assert_non_null(strstr(err.text, part));
    assert_null(data.labels);
    assert_null(data.bytes);
}

/* A PNG of one value, grey or, with three of them, RGB. */
static void
write_png(const char *name, int width, int height, int channels, uint8_t value)
{
    uint8_t *pixels = malloc((size_t)(width * height * channels));
    assert_non_null(pixels);
    memset(pixels, value, (size_t)(width * height * channels));
    if (channels == 3)
        for (int i = 0; i < width * height; i++) {
            pixels[3 * i + 1] = (uint8_t)(value + 1);
            pixels[3 * i + 2] = (uint8_t)(value + 2);
        }
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format =
                           channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    assert_true(png_image_write_to_file(&image, scratch_path(name), 0, pixels,
                                        0, NULL));
    free(pixels);
}

static void
write_jpeg(const char *name, int width, int height, uint8_t value)
{
    uint8_t *pixels = malloc((size_t)(width * height));
    assert_non_null(pixels);
    memset(pixels, value, (size_t)(width * height));
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    tjhandle turbo = tjInitCompress();
    assert_int_equal(tjCompress2(turbo, pixels, width, 0, height, TJPF_GRAY,
                                 &bytes, &size, TJSAMP_GRAY, 90, 0),
                     0);
    tjDestroy(turbo);
    scratch_write(name, bytes, size);
    tjFree(bytes);
    free(pixels);
}

/* Classes dog, cat and Zebra, written in no order. */
static void
write_animals(void)
{
    scratch_folder("dog");
    scratch_folder("cat");
    scratch_folder("Zebra");
    scratch_folder(".hidden");
    write_png("dog/2.png", 3, 2, 1, 12);
    write_png("dog/1.png", 3, 2, 1, 11);
    write_png("dog/10.png", 3, 2, 1, 10);
    write_jpeg("cat/a.jpg", 6, 4, 128);
    write_png("Zebra/x", 3, 2, 1, 200);
    scratch_text("dog/.DS_Store", "hidden");
    scratch_text("notes.txt", "beside the folders");
}

static void
test_order(void **state)
{
    (void)state;
    write_animals();
    accepted(open_plain(scratch));
    assert_int_equal(data.count, 5);
    assert_int_equal(data.rank, 2);
    assert_int_equal(data.shape[0], 2);
    assert_int_equal(data.shape[1], 3);
    assert_int_equal(data.label_count, 3);
    assert_int_equal(data.classes.count, 3);
    assert_string_equal(data.classes.names[0], "Zebra");
    assert_string_equal(data.classes.names[1], "cat");
    assert_string_equal(data.classes.names[2], "dog");
    static const int labels[] = {0, 1, 2, 2, 2},
                     values[] = {200, 128, 11, 10, 12};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(data.labels[i], labels[i]);
        for (int k = 0; k < 6; k++)
            assert_int_equal(data.bytes[i * 6 + k], values[i]);
    }
    soma_dataset_free(&data);
}

static void
test_classes_of_the_model(void **state)
{
    (void)state;
    write_animals();
    char *names[] = {(char *)"dog", (char *)"owl", (char *)"cat",
                     (char *)"Zebra"};
    soma_classes known = {4, names};
    accepted(open_with(scratch, SOMA_SPLIT_TRAIN, 0, NULL, &known));
    assert_int_equal(data.label_count, 4);
    assert_string_equal(data.classes.names[1], "owl");
    assert_int_equal(data.labels[0], 3);
    assert_int_equal(data.labels[1], 2);
    assert_int_equal(data.labels[2], 0);
    soma_dataset_free(&data);
    known.count = 3;
    refused(open_with(scratch, SOMA_SPLIT_TRAIN, 0, NULL, &known),
            SOMA_E_NOT_FOUND, "no class \"Zebra\", there are dog, owl, cat");
    known.count = 0;
    accepted(open_with(scratch, SOMA_SPLIT_TRAIN, 0, NULL, &known));
    assert_int_equal(data.label_count, 3);
    soma_dataset_free(&data);
}

static void
test_shapes(void **state)
{
    (void)state;
    scratch_folder("a");
    write_png("a/1.png", 4, 2, 3, 30);
    write_png("a/2.png", 2, 4, 1, 50);
    accepted(open_plain(scratch));
    assert_int_equal(data.rank, 3);
    assert_memory_equal(data.shape, ((const int[]){3, 2, 4}), sizeof(int[3]));
    assert_int_equal(data.size, 24);
    assert_int_equal(data.bytes[0], 30);
    assert_int_equal(data.bytes[8], 31);
    assert_int_equal(data.bytes[23], 32);
    assert_int_equal(data.bytes[24], 50);
    soma_dataset_free(&data);
    accepted(
        open_with(scratch, SOMA_SPLIT_TRAIN, 2, (const int[]){5, 1}, NULL));
    assert_int_equal(data.rank, 2);
    assert_int_equal(data.size, 5);
    assert_int_equal(data.bytes[0], 31);
    soma_dataset_free(&data);
    accepted(
        open_with(scratch, SOMA_SPLIT_TRAIN, 3, (const int[]){1, 2, 2}, NULL));
    assert_int_equal(data.size, 4);
    soma_dataset_free(&data);
    refused(open_with(scratch, SOMA_SPLIT_TRAIN, 1, (const int[]){9}, NULL),
            SOMA_E_SHAPE, "[height, width]");
    refused(
        open_with(scratch, SOMA_SPLIT_TRAIN, 3, (const int[]){2, 3, 3}, NULL),
        SOMA_E_SHAPE, "[height, width]");
    refused(open_with(scratch, SOMA_SPLIT_TRAIN, 4, (const int[]){1, 3, 3, 3},
                      NULL),
            SOMA_E_SHAPE, "[height, width]");
    refused(open_with(scratch, SOMA_SPLIT_TRAIN, 2, (const int[]){4096, 4096},
                      NULL),
            SOMA_E_LIMIT, "values");
}

static void
test_splits(void **state)
{
    (void)state;
    scratch_folder("train");
    write_png("train/1.png", 1, 1, 1, 1);
    scratch_folder("test");
    write_png("test/1.png", 1, 1, 1, 1);
    /* Two classes that happen to be called so. */
    accepted(open_with(scratch, SOMA_SPLIT_TEST, 0, NULL, NULL));
    assert_int_equal(data.count, 2);
    assert_string_equal(data.classes.names[1], "train");
    soma_dataset_free(&data);

    scratch_folder("train/a");
    assert_int_equal(remove(scratch_path("train/1.png")), 0);
    write_png("train/a/1.png", 1, 1, 1, 7);
    accepted(open_plain(scratch));
    assert_int_equal(data.count, 1);
    assert_int_equal(data.bytes[0], 7);
    assert_string_equal(data.classes.names[0], "a");
    soma_dataset_free(&data);
    refused(open_with(scratch, SOMA_SPLIT_TEST, 0, NULL, NULL),
            SOMA_E_NOT_FOUND, "no folder test");

    scratch_folder("test/b");
    write_png("test/b/1.png", 1, 1, 1, 9);
    accepted(open_with(scratch, SOMA_SPLIT_TEST, 0, NULL, NULL));
    assert_int_equal(data.count, 1);
    assert_int_equal(data.bytes[0], 9);
    soma_dataset_free(&data);
    /* The folder of one split can be named as well. */
    accepted(open_plain(scratch_path("test")));
    assert_int_equal(data.bytes[0], 9);
    soma_dataset_free(&data);
}

static void
test_wrong_files(void **state)
{
    (void)state;
    scratch_folder("a");
    refused(open_plain(scratch), SOMA_E_FORMAT, "no examples");
    write_png("a/1.png", 2, 2, 1, 1);
    scratch_text("a/notes.txt", "not a picture");
    refused(open_plain(scratch), SOMA_E_FORMAT, "a/notes.txt: neither");
    assert_int_equal(remove(scratch_path("a/notes.txt")), 0);
    scratch_folder("a/inner");
    refused(open_plain(scratch), SOMA_E_FORMAT, "a/inner: a folder");
    assert_int_equal(remove(scratch_path("a/inner")), 0);
    assert_int_equal(symlink("nowhere", scratch_path("a/link")), 0);
    refused(open_plain(scratch), SOMA_E_NOT_FOUND, "a/link");
    assert_int_equal(remove(scratch_path("a/link")), 0);
    scratch_write("a/cut.png", "\x89PNG\r\n\x1a\n", 8);
    refused(open_plain(scratch), SOMA_E_FORMAT, "a/cut.png: damaged PNG");
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),  TEST(test_classes_of_the_model), TEST(test_shapes),
        TEST(test_splits), TEST(test_wrong_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

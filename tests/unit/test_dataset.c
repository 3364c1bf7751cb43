/* IDX and CIFAR-10 files, what all formats share, and the real data sets. CSV
 * and pictures have tests of their own.
 */
#include "core/io/dataset.h"

#include "tests/unit/scratch.h"

#include <math.h>

static soma_dataset data;
static soma_error err;

static soma_status
open_as(const char *path, soma_split split)
{
    soma_dataset_options options = {.split = split};
    err = (soma_error){0};
    return soma_dataset_open(path, &options, &data, &err);
}

static soma_status
open_train(const char *path)
{
    return open_as(path, SOMA_SPLIT_TRAIN);
}

/* Refused with this status and a text that contains `part`; nothing kept. */
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
    assert_null(data.values);
}

static void
accepted(soma_status got)
{
    assert_string_equal(err.text, "");
    assert_int_equal(got, SOMA_OK);
}

static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2,  0,  0,
                                 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255};
static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 4, 1};

static void
check_small(void)
{
    assert_int_equal(data.count, 2);
    assert_int_equal(data.rank, 2);
    assert_int_equal(data.shape[0], 2);
    assert_int_equal(data.shape[1], 3);
    assert_int_equal(data.size, 6);
    assert_null(data.values);
    assert_memory_equal(data.bytes, images + 16, 12);
    assert_int_equal(data.labels[0], 4);
    assert_int_equal(data.labels[1], 1);
    assert_int_equal(data.label_count, 5);
    assert_int_equal(data.classes.count, 0);
    assert_string_equal(data.format, "idx");
    float x[6];
    soma_dataset_row(&data, 1, x);
    assert_float_equal(x[0], 7, 0);
    assert_float_equal(x[5], 255, 0);
    soma_dataset_free(&data);
    assert_null(data.bytes);
}

static void
test_idx(void **state)
{
    (void)state;
    scratch_write("a-images-idx3-ubyte", images, sizeof images);
    scratch_write("a-labels-idx1-ubyte", labels, sizeof labels);
    accepted(open_train(scratch_path("a-images-idx3-ubyte")));
    check_small();
    /* One packed, the other not; by folder and split. */
    scratch_gzip("t10k-images-idx3-ubyte.gz", images, sizeof images);
    scratch_write("t10k-labels-idx1-ubyte", labels, sizeof labels);
    accepted(open_as(scratch, SOMA_SPLIT_TEST));
    check_small();
    refused(open_train(scratch), SOMA_E_NOT_FOUND, "train-images");
    scratch_gzip("train-images-idx3-ubyte.gz", images, sizeof images);
    refused(open_train(scratch), SOMA_E_NOT_FOUND, "labels");
    scratch_gzip("train-labels-idx1-ubyte.gz", labels, sizeof labels);
    accepted(open_train(scratch));
    check_small();
    accepted(soma_dataset_open(scratch, NULL, &data, &err));
    check_small();
}

static void
test_idx_ranks(void **state)
{
    (void)state;
    static const uint8_t flat[] = {0, 0, 8, 2, 0, 0, 0, 2, 0,
                                   0, 0, 3, 1, 2, 3, 4, 5, 6};
    static const uint8_t planes[] = {0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 0, 3, 0,
                                     0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6};
    scratch_write("a-labels-idx1-ubyte", labels, sizeof labels);
    accepted(
        open_train(scratch_write("a-images-idx2-ubyte", flat, sizeof flat)));
    assert_int_equal(data.rank, 1);
    assert_int_equal(data.shape[0], 3);
    soma_dataset_free(&data);
    accepted(open_train(
        scratch_write("a-images-idx4-ubyte", planes, sizeof planes)));
    assert_int_equal(data.rank, 3);
    assert_int_equal(data.shape[0], 3);
    assert_int_equal(data.shape[2], 1);
    soma_dataset_free(&data);
}

/* One image of two values of each type but u8. */
static void
test_idx_types(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        size_t size;
        uint8_t data[16];
        float values[2];
    } cases[] = {
        {9, 2, {0xff, 0x7f}, {-1, 127}},
        {11, 4, {0x80, 0, 1, 2}, {-32768, 258}},
        {12, 8, {0xff, 0xff, 0xff, 0xfe, 0, 1, 0, 0}, {-2, 65536}},
        {13, 8, {0x3f, 0xc0, 0, 0, 0xc0, 0, 0, 0}, {1.5f, -2}},
        {14, 16, {0x3f, 0xf8, [8] = 0xc0}, {1.5f, -2}},
    };
    static const uint8_t label[] = {0, 0, 12, 1, 0, 0, 0, 1, 0, 0, 1, 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t file[28] = {0, 0, cases[i].type, 2, 0, 0, 0, 1, 0, 0, 0, 2};
        memcpy(file + 12, cases[i].data, cases[i].size);
        scratch_write("a-labels-idx1-ubyte", label, sizeof label);
        accepted(open_train(
            scratch_write("a-images-idx2-ubyte", file, 12 + cases[i].size)));
        assert_null(data.bytes);
        assert_memory_equal(data.values, cases[i].values, 8);
        assert_int_equal(data.labels[0], 258);
        assert_int_equal(data.label_count, 259);
        float x[2];
        soma_dataset_row(&data, 0, x);
        assert_memory_equal(x, cases[i].values, 8);
        soma_dataset_free(&data);
    }
}

static void
test_idx_not_finite(void **state)
{
    (void)state;
    static const uint8_t one[] = {0, 0, 8, 1, 0, 0, 0, 1, 0};
    static const uint8_t nan[] = {0, 0, 13, 2, 0,    0,    0, 1,
                                  0, 0, 0,  1, 0x7f, 0xc0, 0, 0};
    static const uint8_t huge[] = {0, 0, 14,   2,    0, 0, 0, 1, 0, 0,
                                   0, 1, 0x7f, 0xe0, 0, 0, 0, 0, 0, 0};
    scratch_write("a-labels-idx1-ubyte", one, sizeof one);
    refused(open_train(scratch_write("a-images-idx2-ubyte", nan, sizeof nan)),
            SOMA_E_NOT_FINITE, "element 0");
    refused(open_train(scratch_write("a-images-idx2-ubyte", huge, sizeof huge)),
            SOMA_E_NOT_FINITE, "element 0");
}

static void
wrong_images(size_t at, uint8_t value, soma_status status, const char *part)
{
    uint8_t copy[sizeof images];
    memcpy(copy, images, sizeof copy);
    copy[at] = value;
    refused(open_train(scratch_write("a-images-idx3-ubyte", copy, sizeof copy)),
            status, part);
}

static void
test_wrong_idx_images(void **state)
{
    (void)state;
    scratch_write("a-labels-idx1-ubyte", labels, sizeof labels);
    wrong_images(0, 1, SOMA_E_FORMAT, "magic");
    wrong_images(1, 1, SOMA_E_FORMAT, "magic");
    wrong_images(2, 7, SOMA_E_FORMAT, "magic");
    wrong_images(2, 10, SOMA_E_FORMAT, "magic");
    wrong_images(2, 15, SOMA_E_FORMAT, "magic");
    wrong_images(3, 0, SOMA_E_FORMAT, "0 dimensions");
    wrong_images(3, 6, SOMA_E_FORMAT, "6 dimensions");
    wrong_images(3, 5, SOMA_E_FORMAT, "elements");
    wrong_images(7, 1, SOMA_E_FORMAT, "elements");
    wrong_images(7, 3, SOMA_E_FORMAT, "elements");
    wrong_images(4, 255, SOMA_E_FORMAT, "elements");
    wrong_images(2, 11, SOMA_E_FORMAT, "elements");
    for (size_t size = 0; size < sizeof images; size++)
        refused(open_train(scratch_write("a-images-idx3-ubyte", images, size)),
                SOMA_E_FORMAT, "a-images-idx3-ubyte");
    static const uint8_t most[] = {0,   0,   8,   3,   255, 255, 255, 255,
                                   255, 255, 255, 255, 255, 255, 255, 255};
    refused(open_train(scratch_write("a-images-idx3-ubyte", most, sizeof most)),
            SOMA_E_FORMAT, "overflow");
    static const uint8_t none[] = {0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 4};
    static const uint8_t no_labels[] = {0, 0, 8, 1, 0, 0, 0, 0};
    scratch_write("b-labels-idx1-ubyte", no_labels, sizeof no_labels);
    refused(open_train(scratch_write("b-images-idx2-ubyte", none, sizeof none)),
            SOMA_E_FORMAT, "no examples");
    static const uint8_t empty[] = {0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 0};
    refused(
        open_train(scratch_write("b-images-idx2-ubyte", empty, sizeof empty)),
        SOMA_E_LIMIT, "values");
    refused(
        open_train(scratch_write("b-images-idx2-ubyte", labels, sizeof labels)),
        SOMA_E_FORMAT, "1 dimension");
}

static void
wrong_labels(const uint8_t *bytes, size_t size, const char *part)
{
    scratch_write("a-labels-idx1-ubyte", bytes, size);
    refused(open_train(scratch_path("a-images-idx3-ubyte")), SOMA_E_FORMAT,
            part);
}

static void
test_wrong_idx_labels(void **state)
{
    (void)state;
    scratch_write("a-images-idx3-ubyte", images, sizeof images);
    wrong_labels((const uint8_t[]){0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3}, 11,
                 "3 labels for 2 images");
    wrong_labels((const uint8_t[]){0, 0, 9, 1, 0, 0, 0, 2, 1, 255}, 10,
                 "label 1 is -1");
    wrong_labels(
        (const uint8_t[]){0, 0, 12, 1, 0, 0, 0, 2, 0, 16, 0, 0, 0, 0, 0, 0}, 16,
        "label 0 is 1048576");
    wrong_labels(
        (const uint8_t[]){0, 0, 13, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}, 16,
        "whole numbers");
    wrong_labels((const uint8_t[]){0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 1},
                 14, "one dimension");
    wrong_labels(labels, sizeof labels - 1, "a-labels-idx1-ubyte");
    char packed[64];
    scratch_gzip("a.gz", labels, sizeof labels);
    FILE *file = fopen(scratch_path("a.gz"), "rb");
    assert_non_null(file);
    size_t size = fread(packed, 1, sizeof packed, file);
    fclose(file);
    wrong_labels((const uint8_t *)packed, size - 4, "gzip");
}

static void
write_cifar(const char *name, int records, uint8_t first)
{
    uint8_t *bytes = calloc((size_t)records, 3073);
    assert_non_null(bytes);
    for (int i = 0; i < records; i++) {
        bytes[i * 3073] = (uint8_t)(first + i);
        memset(bytes + i * 3073 + 1, 10 * first + i, 3072);
    }
    scratch_write(name, bytes, (size_t)records * 3073);
    free(bytes);
}

static void
test_cifar10(void **state)
{
    (void)state;
    scratch_folder("cifar10");
    write_cifar("cifar10/data_batch_2.bin", 2, 3);
    write_cifar("cifar10/data_batch_5.bin", 1, 9);
    accepted(open_train(scratch_path("cifar10")));
    assert_int_equal(data.count, 3);
    assert_int_equal(data.rank, 3);
    assert_int_equal(data.shape[0], 3);
    assert_int_equal(data.shape[1], 32);
    assert_int_equal(data.shape[2], 32);
    assert_int_equal(data.size, 3072);
    assert_int_equal(data.label_count, 10);
    assert_int_equal(data.classes.count, 0);
    assert_memory_equal(data.labels, ((const int[]){3, 4, 9}), sizeof(int[3]));
    assert_int_equal(data.bytes[0], 30);
    assert_int_equal(data.bytes[3072], 31);
    assert_int_equal(data.bytes[3 * 3072 - 1], 90);
    soma_dataset_free(&data);
    refused(open_as(scratch_path("cifar10"), SOMA_SPLIT_TEST), SOMA_E_NOT_FOUND,
            "test_batch.bin");
    /* One level down, with names; and the file itself. */
    write_cifar("cifar10/test_batch.bin", 2, 0);
    scratch_text("cifar10/batches.meta.txt",
                 "airplane\nautomobile\nbird\ncat\ndeer\r\ndog\nfrog\nhorse\n"
                 "ship\ntruck\n\n");
    accepted(open_as(scratch, SOMA_SPLIT_TEST));
    assert_int_equal(data.count, 2);
    assert_int_equal(data.classes.count, 10);
    assert_string_equal(data.classes.names[4], "deer");
    assert_string_equal(data.classes.names[9], "truck");
    soma_dataset_free(&data);
    accepted(open_train(scratch_path("cifar10/test_batch.bin")));
    assert_int_equal(data.labels[1], 1);
    assert_string_equal(data.format, "cifar10");
    assert_int_equal(data.classes.count, 10);
    soma_dataset_free(&data);
}

static void
test_wrong_cifar10(void **state)
{
    (void)state;
    uint8_t bytes[3074] = {0};
    refused(open_train(scratch_write("a.bin", bytes, 3074)), SOMA_E_FORMAT,
            "3074 bytes");
    refused(open_train(scratch_write("a.bin", bytes, 3072)), SOMA_E_FORMAT,
            "3072 bytes");
    refused(open_train(scratch_write("a.bin", bytes, 0)), SOMA_E_FORMAT,
            "0 bytes");
    bytes[0] = 10;
    refused(open_train(scratch_write("a.bin", bytes, 3073)), SOMA_E_FORMAT,
            "record 0 has label 10");
}

static void
test_unknown_paths(void **state)
{
    (void)state;
    refused(open_train(scratch_path("nothing")), SOMA_E_NOT_FOUND, "nothing");
    refused(open_train(scratch), SOMA_E_FORMAT, "not a dataset");
    refused(open_train(scratch_text("a.txt", "1,2\n")), SOMA_E_FORMAT,
            "not a dataset");
    /* The name of a folder on the way says nothing. */
    scratch_folder("images-idx");
    refused(open_train(scratch_text("images-idx/a.txt", "")), SOMA_E_FORMAT,
            "not a dataset");
}

static void
test_versus_rest(void **state)
{
    (void)state;
    scratch_write("a-images-idx3-ubyte", images, sizeof images);
    scratch_write("a-labels-idx1-ubyte", labels, sizeof labels);
    accepted(open_train(scratch_path("a-images-idx3-ubyte")));
    for (int wrong = -1; wrong < 6; wrong += 6) {
        assert_int_equal(soma_dataset_versus_rest(&data, wrong, &err),
                         SOMA_E_ARGUMENT);
        assert_int_equal(data.label_count, 5);
        assert_int_equal(data.labels[0], 4);
    }
    assert_int_equal(soma_dataset_versus_rest(&data, 4, NULL), SOMA_OK);
    assert_int_equal(data.labels[0], 1);
    assert_int_equal(data.labels[1], 0);
    assert_int_equal(data.label_count, 2);
    assert_int_equal(data.classes.count, 2);
    assert_string_equal(data.classes.names[0], "not 4");
    assert_string_equal(data.classes.names[1], "4");
    /* And once more, now that there are names. */
    assert_int_equal(soma_dataset_versus_rest(&data, 0, NULL), SOMA_OK);
    assert_int_equal(data.labels[0], 0);
    assert_int_equal(data.labels[1], 1);
    assert_string_equal(data.classes.names[0], "not not 4");
    assert_string_equal(data.classes.names[1], "not 4");
    soma_dataset_free(&data);
}

static void
test_statistics(void **state)
{
    (void)state;
    float mean[3], std[3];
    uint8_t bytes[] = {0, 2, 10, 10, 4, 6, 10, 10};
    soma_dataset pixels = {.count = 2, .rank = 3, .size = 4, .bytes = bytes};
    soma_dataset_statistics(&pixels, 1, mean, std);
    assert_float_equal(mean[0], 6.5, 0);
    assert_float_equal(std[0], sqrtf(14.75f), 1e-6);
    soma_dataset_statistics(&pixels, 2, mean, std);
    assert_float_equal(mean[0], 3, 0);
    assert_float_equal(std[0], sqrtf(5), 1e-6);
    assert_float_equal(mean[1], 10, 0);
    assert_float_equal(std[1], 1, 0);
    /* Far from 0; and a constant whose sum rounds. */
    float values[] = {1e6f, -5, 0.1f, 1e6f + 1, 5, 0.1f, 1e6f + 2, 0, 0.1f};
    soma_dataset rows = {.count = 3, .rank = 1, .size = 3, .values = values};
    soma_dataset_statistics(&rows, 3, mean, std);
    assert_float_equal(mean[0], 1e6f + 1, 0);
    assert_float_equal(std[0], sqrtf(2.0f / 3), 1e-6);
    assert_float_equal(mean[1], 0, 0);
    assert_float_equal(std[1], sqrtf(50.0f / 3), 1e-6);
    assert_float_equal(mean[2], 0.1f, 0);
    assert_float_equal(std[2], 1, 0);
}

static void
check_real(const char *folder, soma_split split, int count, int size,
           uint64_t sum, const int *first)
{
    accepted(open_as(folder, split));
    assert_int_equal(data.count, count);
    assert_int_equal(data.size, size);
    assert_int_equal(data.label_count, 10);
    assert_memory_equal(data.labels, first, 8 * sizeof *first);
    uint64_t found = 0;
    for (size_t i = 0; i < (size_t)count * (size_t)size; i++)
        found += data.bytes[i];
    assert_true(found == sum);
    soma_dataset_free(&data);
}

static void
test_fashion_mnist(void **state)
{
    (void)state;
    const char *folder = "/usr/share/datasets/fashion-mnist";
    check_real(folder, SOMA_SPLIT_TRAIN, 60000, 784, 3431114169,
               (const int[]){9, 0, 0, 3, 0, 2, 7, 2});
    check_real(folder, SOMA_SPLIT_TEST, 10000, 784, 573469082,
               (const int[]){9, 2, 1, 1, 6, 1, 4, 6});
}

static void
test_mnist_and_cifar10(void **state)
{
    (void)state;
    const char *root = getenv("SOMA_TEST_DATA");
    char folder[PATH_MAX];
    if (!root) {
        print_message("NOT TESTED: the real MNIST and CIFAR-10; SOMA_TEST_DATA "
                      "names no folder with mnist/ and cifar10/\n");
        return;
    }
    snprintf(folder, sizeof folder, "%s/mnist", root);
    check_real(folder, SOMA_SPLIT_TRAIN, 60000, 784, 1567298545,
               (const int[]){5, 0, 4, 1, 9, 2, 1, 3});
    check_real(folder, SOMA_SPLIT_TEST, 10000, 784, 264923200,
               (const int[]){7, 2, 1, 0, 4, 1, 4, 9});
    snprintf(folder, sizeof folder, "%s/cifar10", root);
    check_real(folder, SOMA_SPLIT_TRAIN, 50000, 3072, 18540682003,
               (const int[]){6, 9, 9, 4, 1, 1, 2, 7});
    check_real(root, SOMA_SPLIT_TEST, 10000, 3072, 3733375634,
               (const int[]){3, 8, 8, 0, 6, 6, 1, 6});
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idx),
        TEST(test_idx_ranks),
        TEST(test_idx_types),
        TEST(test_idx_not_finite),
        TEST(test_wrong_idx_images),
        TEST(test_wrong_idx_labels),
        TEST(test_cifar10),
        TEST(test_wrong_cifar10),
        TEST(test_unknown_paths),
        TEST(test_versus_rest),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_fashion_mnist),
        cmocka_unit_test(test_mnist_and_cifar10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

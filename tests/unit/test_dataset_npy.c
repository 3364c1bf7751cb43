/* core/io/dataset_npy.c: pairs of .npy files that are a dataset, or not. */
#include "core/io/dataset.h"
#include "tests/unit/nets.h"
#include "tests/unit/scratch.h"

#include <unistd.h>

static soma_error err;
static soma_dataset data;

static void
write_npy(const char *name, const char *type, const char *shape,
          const void *values, size_t size)
{
    unsigned char file[512] = "\x93NUMPY\x01";
    int used = snprintf((char *)file + 10, 200,
                        "{'descr': '%s', 'fortran_order': False, 'shape': "
                        "(%s)}\n",
                        type, shape);
    file[8] = (unsigned char)used;
    memcpy(file + 10 + used, values, size);
    scratch_write(name, file, 10 + (size_t)used + size);
}

static soma_status
open_pair(const char *name, const soma_dataset_options *options)
{
    err = (soma_error){0};
    return soma_dataset_open(scratch_path(name), options, &data, &err);
}

static void
refused(const char *what, soma_status got, soma_status status,
        const char *words)
{
    if (got != status || !strstr(err.text, words))
        fail_msg("%s: expected %d and \"%s\", got %d: %s", what, (int)status,
                 words, (int)got, err.text);
    assert_true(!data.bytes && !data.values && !data.labels);
}

/* Where labels are looked for, by the name of the file of examples. */
static void
labels_beside(void **state)
{
    static const struct {
        const char *examples, *labels; /* NULL: it has none */
    } rows[] = {
        {"x.npy", "y.npy"},
        {"X_test.npy", "y_test.npy"},
        {"x-1.npy", "y-1.npy"},
        {"x2.npy", "y2.npy"},
        {"test_images.npy", "test_labels.npy"},
        {"iris_data.npy", "iris_target.npy"},
        {"extra.npy", NULL},
        {"Xenon.npy", NULL},
        {"max.npy", NULL},
    };
    const uint8_t bytes[] = {1, 2, 3, 4};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_npy(rows[i].examples, "|u1", "2, 2", bytes, 4);
        if (rows[i].labels) {
            refused(rows[i].examples, open_pair(rows[i].examples, NULL),
                    SOMA_E_NOT_FOUND, rows[i].labels);
            write_npy(rows[i].labels, "|u1", "2,", bytes, 2);
            nets_ok(open_pair(rows[i].examples, NULL), &err);
            assert_int_equal(data.labels[1], 2);
            assert_memory_equal(data.bytes, bytes, 4);
            soma_dataset_free(&data);
            unlink(scratch_path(rows[i].labels));
        } else {
            refused(rows[i].examples, open_pair(rows[i].examples, NULL),
                    SOMA_E_ARGUMENT, "or where --labels says");
        }
    }
}

static void
wrong_arrays(void **state)
{
    static const double far[] = {0.5, 1, 1e300, 2}, part[] = {0, 1.5};
    static const double below[] = {-1, 0}, above[] = {0, 1048576};
    static const uint8_t bytes[] = {1, 2, 3, 4};
    static const struct {
        const char *type, *shape;
        const void *values;
        size_t size;
        const char *label_type, *label_shape;
        const void *labels;
        size_t label_size;
        soma_status status;
        const char *words;
    } rows[] = {
        {"|u1", "4,", bytes, 4, "|u1", "4,", bytes, 4, SOMA_E_SHAPE,
         "the examples as the first of two or more dimensions"},
        {"|u1", "", bytes, 1, "|u1", "1,", bytes, 1, SOMA_E_SHAPE,
         "the examples as the first of two"},
        {"|u1", "1, 1, 1, 2, 1, 2", bytes, 4, "|u1", "1,", bytes, 1,
         SOMA_E_SHAPE, "examples of 5 dimensions, at most 4"},
        {"|u1", "4, 0", bytes, 0, "|u1", "4,", bytes, 4, SOMA_E_LIMIT,
         "must have 1 to"},
        {"|u1", "0, 4", bytes, 0, "|u1", "0,", bytes, 0, SOMA_E_FORMAT,
         "no examples"},
        {"<f8", "2, 2", far, 32, "|u1", "2,", bytes, 2, SOMA_E_NOT_FINITE,
         "values that are not finite float32"},
        {"|u1", "2, 2", bytes, 4, "|u1", "4,", bytes, 4, SOMA_E_SHAPE,
         "expected 2 whole numbers, one for each example, got 4 elements in 1"},
        {"|u1", "2, 2", bytes, 4, "|u1", "1, 2", bytes, 2, SOMA_E_SHAPE,
         "got 2 elements in 2 dimensions"},
        {"|u1", "1, 4", bytes, 4, "|u1", "", bytes, 1, SOMA_E_SHAPE,
         "got 1 elements in 0 dimensions"},
        {"|u1", "2, 2", bytes, 4, "<f8", "2,", part, 16, SOMA_E_FORMAT,
         "number 1 is 1.5, expected a whole number from 0 to 1048575"},
        {"|u1", "2, 2", bytes, 4, "<f8", "2,", below, 16, SOMA_E_FORMAT,
         "number 0 is -1"},
        {"|u1", "2, 2", bytes, 4, "<f8", "2,", above, 16, SOMA_E_FORMAT,
         "number 1 is 1.04858e+06"},
        {"|u1", "2, 2", bytes, 4, "<c8", "2,", far, 16, SOMA_E_UNSUPPORTED,
         "type '<c8'"},
        {"|u1", "2, 2", bytes, 3, "|u1", "2,", bytes, 2, SOMA_E_FORMAT,
         "x.npy"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_npy("x.npy", rows[i].type, rows[i].shape, rows[i].values,
                  rows[i].size);
        write_npy("y.npy", rows[i].label_type, rows[i].label_shape,
                  rows[i].labels, rows[i].label_size);
        refused(rows[i].words, open_pair("x.npy", NULL), rows[i].status,
                rows[i].words);
    }
}

/* [2, 5, 1, 3] of bytes are pictures with their channels last; others are what
 * the model says. */
static void
planes(void **state)
{
    static const struct {
        const char *type, *shape;
        int want[4]; /* rank and shape that the model has; rank 0: none */
        int got[3];
        float second; /* value of the first example */
    } rows[] = {
        {"|u1", "2, 5, 1, 3", {0}, {3, 5, 1}, 3},
        {"|u1", "2, 5, 1, 3", {3, 3, 5, 1}, {3, 5, 1}, 3},
        {"<f4", "2, 5, 1, 3", {3, 3, 5, 1}, {3, 5, 1}, 3},
        {"<f4", "2, 5, 1, 3", {0}, {5, 1, 3}, 1},
        {"|u1", "2, 3, 5, 1", {3, 3, 5, 1}, {3, 5, 0}, 1},
        {"|u1", "2, 5, 1, 3", {3, 3, 1, 5}, {5, 1, 3}, 1},
        {"|u1", "2, 5, 1, 3", {3, 3, 5, 2}, {5, 1, 3}, 1},
        {"|u1", "2, 5, 1, 3", {3, 1, 5, 1}, {5, 1, 3}, 1},
        {"|u1", "2, 3, 1, 5", {0}, {3, 1, 5}, 1},
        {"|u1", "2, 3, 2, 3", {3, 3, 3, 2}, {3, 2, 3}, 1},
        {"|u1", "2, 15", {0}, {15, 0, 0}, 1},
    };
    uint8_t bytes[36];
    float floats[36];
    (void)state;
    for (int i = 0; i < 36; i++)
        floats[i] = bytes[i] = (uint8_t)i;
    write_npy("y.npy", "|u1", "2,", bytes, 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool whole = rows[i].type[1] == 'u';
        soma_dataset_options options = {.rank = rows[i].want[0]};
        float x[18];
        int count = strstr(rows[i].shape, "3, 2, 3") ? 36 : 30;
        memcpy(options.shape, rows[i].want + 1, sizeof options.shape);
        write_npy("x.npy", rows[i].type, rows[i].shape,
                  whole ? (void *)bytes : (void *)floats,
                  (size_t)count * (whole ? 1 : sizeof(float)));
        nets_ok(open_pair("x.npy", &options), &err);
        for (int k = 0; k < data.rank; k++)
            assert_int_equal(data.shape[k], rows[i].got[k]);
        soma_dataset_row(&data, 0, x);
        if (x[1] != rows[i].second)
            fail_msg("row %d: %g", (int)i, (double)x[1]);
        soma_dataset_free(&data);
    }
}

static void
names_of_the_model(void **state)
{
    static char tea[] = "tea", coffee[] = "coffee", milk[] = "milk";
    static char *names[] = {tea, coffee, milk};
    static const soma_classes classes = {3, names};
    const soma_dataset_options options = {.classes = &classes};
    const uint8_t bytes[] = {1, 0};
    (void)state;
    write_npy("x.npy", "|u1", "2, 1", bytes, 2);
    write_npy("y.npy", "|u1", "2,", bytes, 2);
    nets_ok(open_pair("x.npy", &options), &err);
    assert_int_equal(data.label_count, 3);
    assert_string_equal(data.classes.names[2], "milk");
    soma_dataset_free(&data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(labels_beside, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(wrong_arrays, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(planes, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(names_of_the_model, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Labelled NumPy arrays:
 *
 *     FILE.npz with one of these pairs, that of the split first:
 *         x_train, y_train   train_images, train_labels   X_train, y_train
 *         x_test, y_test     test_images, test_labels     X_test, y_test
 *         images, labels     x, y     X, y     data, target     arr_0, arr_1
 *     FILE.npy, with its labels in the file that options name, or beside it:
 *         images.npy and labels.npy, x....npy and y....npy, and the like
 *
 * Examples are the first dimension. uint8 stay bytes. Pictures [n, H, W, C]
 * become [n, C, H, W] where the model's shape is that, or where no shape is
 * asked for and bytes have 3 channels at the end. Labels are whole numbers
 * from 0, [n] or [n, 1].
 */
#include "core/io/dataset_formats.h"
#include "core/io/npy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
soma_npy_probe(const char *path, soma_split split)
{
    (void)split;
    return soma_file_ends_in(path, ".npy") || soma_file_ends_in(path, ".npz");
}

/* ---- Which arrays ---- */

static const struct {
    const char *images, *labels;
    int split; /* -1: either */
} pairs[] = {
    {"x_train", "y_train", SOMA_SPLIT_TRAIN},
    {"X_train", "y_train", SOMA_SPLIT_TRAIN},
    {"train_images", "train_labels", SOMA_SPLIT_TRAIN},
    {"x_test", "y_test", SOMA_SPLIT_TEST},
    {"X_test", "y_test", SOMA_SPLIT_TEST},
    {"test_images", "test_labels", SOMA_SPLIT_TEST},
    {"images", "labels", -1},
    {"x", "y", -1},
    {"X", "y", -1},
    {"data", "target", -1},
    {"arr_0", "arr_1", -1},
};

static soma_status
read_npz(const char *path, soma_split split, soma_bytes *images,
         soma_bytes *labels, soma_error *err)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (pairs[i].split >= 0 && pairs[i].split != (int)split)
            continue;
        soma_status status = soma_npz_read(path, pairs[i].images,
                                           SOMA_DATASET_MAX_FILE, images, err);
        if (status == SOMA_E_NOT_FOUND)
            continue;
        return status ? status
                      : soma_npz_read(path, pairs[i].labels,
                                      SOMA_DATASET_MAX_FILE, labels, err);
    }
    return soma_error_set(err, SOMA_E_FORMAT,
                          "%s: no arrays x_%s and y_%s, images and labels, x "
                          "and y, data and target, or arr_0 and arr_1",
                          path, split == SOMA_SPLIT_TRAIN ? "train" : "test",
                          split == SOMA_SPLIT_TRAIN ? "train" : "test");
}

/* The labels beside: x_test.npy and y_test.npy, test_images.npy and
 * test_labels.npy. */
static bool
labels_beside(const char *path, char found[PATH_MAX])
{
    static const char *const words[][2] = {
        {"images", "labels"}, {"x", "y"}, {"X", "y"}, {"data", "target"}};
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *at = strstr(file, words[i][0]);
        bool letter = strlen(words[i][0]) == 1;
        if (!at || (letter && at != file) ||
            (letter && !strchr("._-0123456789", at[1])))
            continue;
        int length = snprintf(found, PATH_MAX, "%.*s%s%s", (int)(at - path),
                              path, words[i][1], at + strlen(words[i][0]));
        if (length > 0 && length < PATH_MAX)
            return true;
    }
    return false;
}

static soma_status
read_npy(const char *path, const char *labels_path, soma_bytes *images,
         soma_bytes *labels, soma_error *err)
{
    char found[PATH_MAX];
    if (!labels_path && labels_beside(path, found))
        labels_path = found;
    if (!labels_path)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: its labels are expected beside it (x.npy "
                              "and y.npy, images.npy and labels.npy), or where "
                              "--labels says",
                              path);
    soma_status status =
        soma_file_read(path, SOMA_DATASET_MAX_FILE, 0, images, err);
    if (!status)
        status =
            soma_file_read(labels_path, SOMA_DATASET_MAX_FILE, 0, labels, err);
    return status;
}

/* ---- Labels ---- */

static soma_status
take_labels(const soma_npy *array, soma_dataset *dataset, soma_error *err)
{
    size_t count = (size_t)dataset->count;
    if (array->count != count || array->rank < 1 ||
        array->shape[0] != array->count)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "labels: expected %zu whole numbers, one for "
                              "each example, got %zu elements in %d dimensions",
                              count, array->count, array->rank);
    float *values = malloc((count + 1) * sizeof *values);
    dataset->labels = malloc((count + 1) * sizeof *dataset->labels);
    soma_status status =
        values && dataset->labels ? SOMA_OK : soma_error_memory(err, "labels");
    if (!status)
        soma_npy_floats(array, values);
    for (size_t i = 0; i < count && !status; i++) {
        bool whole = values[i] >= 0 && values[i] < SOMA_MAX_UNITS &&
                     values[i] == floorf(values[i]);
        dataset->labels[i] = whole ? (int)values[i] : 0;
        if (!whole)
            status = soma_error_set(err, SOMA_E_FORMAT,
                                    "labels: number %zu is %g, expected a "
                                    "whole number from 0 to %d",
                                    i, (double)values[i], SOMA_MAX_UNITS - 1);
    }
    free(values);
    return status;
}

/* ---- Examples ---- */

static soma_status
set_shape(const char *path, const soma_npy *array, soma_dataset *dataset,
          soma_error *err)
{
    int shape[SOMA_NPY_MAX_RANK], rank = array->rank - 1;
    if (array->rank < 2 || array->shape[0] > INT_MAX)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "%s: expected the examples as the first of two "
                              "or more dimensions",
                              path);
    dataset->count = (int)array->shape[0];
    for (int i = 0; i < rank; i++)
        shape[i] = array->shape[i + 1] > INT_MAX ? 0 : (int)array->shape[i + 1];
    while (rank > 1 && shape[rank - 1] == 1)
        rank--;
    if (rank > SOMA_MAX_RANK)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "%s: examples of %d dimensions, at most %d", path,
                              rank, SOMA_MAX_RANK);
    return soma_dataset_shape(dataset, rank, shape, path, err);
}

/* Whether the channels stand last and are wanted first. */
static bool
has_channels_last(const soma_dataset *dataset,
                  const soma_dataset_options *options)
{
    const int *from = dataset->shape, *want = options->shape;
    if (dataset->rank != 3)
        return false;
    if (options->rank == 0)
        return dataset->bytes && from[2] == 3 && from[0] > 4;
    return options->rank == 3 && want[0] == from[2] && want[1] == from[0] &&
           want[2] == from[1] && want[0] != from[0];
}

static soma_status
turn_to_planes(soma_dataset *dataset, soma_error *err)
{
    size_t size = (size_t)dataset->size, channels = (size_t)dataset->shape[2];
    size_t area = size / channels;
    size_t width = dataset->bytes ? 1 : sizeof(float);
    unsigned char *row = malloc(size * width);
    if (!row)
        return soma_error_memory(err, "pictures");
    for (int i = 0; i < dataset->count; i++) {
        unsigned char *data =
            dataset->bytes ? dataset->bytes : (unsigned char *)dataset->values;
        data += (size_t)i * size * width;
        memcpy(row, data, size * width);
        for (size_t k = 0; k < size; k++)
            memcpy(data + (k % channels * area + k / channels) * width,
                   row + k * width, width);
    }
    free(row);
    int shape[3] = {dataset->shape[2], dataset->shape[0], dataset->shape[1]};
    memcpy(dataset->shape, shape, sizeof shape);
    return SOMA_OK;
}

static soma_status
take_examples(const char *path, const soma_npy *array,
              const soma_dataset_options *options, soma_dataset *dataset,
              soma_error *err)
{
    soma_status status = set_shape(path, array, dataset, err);
    if (status)
        return status;
    if (array->kind == 'u' && array->width == 1) {
        dataset->bytes = malloc(array->count + 1);
        if (!dataset->bytes)
            return soma_error_memory(err, path);
        soma_npy_bytes(array, dataset->bytes);
    } else {
        dataset->values = malloc((array->count + 1) * sizeof(float));
        if (!dataset->values)
            return soma_error_memory(err, path);
        if (!soma_npy_floats(array, dataset->values))
            return soma_error_set(err, SOMA_E_NOT_FINITE,
                                  "%s: values that are not finite float32",
                                  path);
    }
    return has_channels_last(dataset, options) ? turn_to_planes(dataset, err)
                                               : SOMA_OK;
}

soma_status
soma_npy_open(const char *path, const soma_dataset_options *options,
              soma_dataset *dataset, soma_error *err)
{
    soma_bytes images = {NULL, 0}, labels = {NULL, 0};
    soma_npy array;
    const soma_classes *known = soma_dataset_known(options);
    soma_status status =
        soma_file_ends_in(path, ".npz")
            ? read_npz(path, options->split, &images, &labels, err)
            : read_npy(path, options->labels, &images, &labels, err);
    if (!status) {
        status = soma_npy_parse(images.data, images.size, &array, err);
        if (!status)
            status = take_examples(path, &array, options, dataset, err);
        if (!status)
            status = soma_npy_parse(labels.data, labels.size, &array, err);
        if (!status)
            status = take_labels(&array, dataset, err);
        if (status && err && strncmp(err->text, path, strlen(path)) != 0)
            soma_error_prefix(err, "%s", path);
    }
    if (!status && known)
        status = soma_classes_copy(&dataset->classes, known, err);
    dataset->label_count = dataset->classes.count;
    soma_bytes_free(&images);
    soma_bytes_free(&labels);
    return status;
}

#include "core/io/dataset_formats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *name;
    bool (*probe)(const char *path, soma_split split);
    soma_status (*open)(const char *path, const soma_dataset_options *options,
                        soma_dataset *dataset, soma_error *err);
} formats[] = {
    {"idx", soma_idx_probe, soma_idx_open},
    {"cifar10", soma_cifar10_probe, soma_cifar10_open},
    {"csv", soma_csv_probe, soma_csv_open},
    {"numpy", soma_npy_probe, soma_npy_open},
    {"pictures", soma_folder_probe, soma_folder_open},
};

bool
soma_path_join(const char *folder, const char *name, char found[PATH_MAX])
{
    struct stat st;
    int length = snprintf(found, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX && stat(found, &st) == 0;
}

bool
soma_path_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const soma_classes *
soma_dataset_known(const soma_dataset_options *options)
{
    return options->classes && options->classes->count ? options->classes
                                                       : NULL;
}

const char *
soma_classes_list(const soma_classes *classes, char *text, size_t size)
{
    static const char more[] = ", ...";
    size_t used = 0;
    *text = '\0';
    for (int i = 0; i < classes->count; i++) {
        const char *name = classes->names[i];
        const char *comma = i ? ", " : "";
        if (used + strlen(comma) + strlen(name) + sizeof more > size) {
            snprintf(text + used, size - used, "%s", i ? more : more + 2);
            break;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", comma, name);
    }
    return text;
}

soma_status
soma_dataset_shape(soma_dataset *dataset, int rank, const int *shape,
                   const char *path, soma_error *err)
{
    long size = 1;
    dataset->rank = rank;
    for (int i = 0; i < rank; i++) {
        dataset->shape[i] = shape[i];
        if (shape[i] < 1 || shape[i] > SOMA_MAX_UNITS ||
            (size *= shape[i]) > SOMA_MAX_UNITS)
            return soma_error_set(err, SOMA_E_LIMIT,
                                  "%s: an example must have 1 to %d values",
                                  path, SOMA_MAX_UNITS);
    }
    dataset->size = (int)size;
    return SOMA_OK;
}

static soma_status
open_format(const char *path, const soma_dataset_options *options,
            soma_dataset *dataset, soma_error *err)
{
    struct stat st;
    if (stat(path, &st))
        return soma_error_errno(err, "opening", path);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!formats[i].probe(path, options->split))
            continue;
        dataset->format = formats[i].name;
        return formats[i].open(path, options, dataset, err);
    }
    return soma_error_set(
        err, SOMA_E_FORMAT,
        "%s: not a dataset; there are: IDX files (*-images-idx3-ubyte[.gz]), "
        "CIFAR-10's *_batch*.bin, *.csv, *.npy, *.npz, or a folder of IDX or "
        "CIFAR-10 files or of a folder of PNG or JPEG pictures for each class",
        path);
}

soma_status
soma_dataset_open(const char *path, const soma_dataset_options *options,
                  soma_dataset *dataset, soma_error *err)
{
    static const soma_dataset_options defaults = {.split = SOMA_SPLIT_TRAIN};
    *dataset = (soma_dataset){0};
    soma_status status =
        open_format(path, options ? options : &defaults, dataset, err);
    if (!status && dataset->count == 0)
        status = soma_error_set(err, SOMA_E_FORMAT, "%s: no examples", path);
    if (status) {
        soma_dataset_free(dataset);
        return status;
    }
    for (int i = 0; i < dataset->count; i++)
        if (dataset->labels[i] >= dataset->label_count)
            dataset->label_count = dataset->labels[i] + 1;
    return SOMA_OK;
}

void
soma_dataset_free(soma_dataset *dataset)
{
    free(dataset->bytes);
    free(dataset->values);
    free(dataset->labels);
    soma_classes_free(&dataset->classes);
    *dataset = (soma_dataset){0};
}

void
soma_dataset_row(const soma_dataset *dataset, int i, float *x)
{
    size_t size = (size_t)dataset->size, from = (size_t)i * size;
    if (dataset->values)
        memcpy(x, dataset->values + from, size * sizeof *x);
    else
        for (size_t k = 0; k < size; k++)
            x[k] = dataset->bytes[from + k];
}

/* "not Ankle boot" and "Ankle boot", or "not 9" and "9". */
static soma_status
name_two(soma_dataset *dataset, int target, soma_error *err)
{
    char number[16];
    snprintf(number, sizeof number, "%d", target);
    const char *name = target < dataset->classes.count
                           ? dataset->classes.names[target]
                           : number;
    char **names = calloc(2, sizeof *names);
    if (names && asprintf(&names[0], "not %s", name) < 0)
        names[0] = NULL;
    if (names)
        names[1] = strdup(name);
    soma_classes two = {2, names};
    if (!names || !names[0] || !names[1]) {
        two.count = names ? 2 : 0;
        soma_classes_free(&two);
        return soma_error_memory(err, "names of classes");
    }
    soma_classes_free(&dataset->classes);
    dataset->classes = two;
    return SOMA_OK;
}

soma_status
soma_dataset_versus_rest(soma_dataset *dataset, int target, soma_error *err)
{
    if (target < 0 || target >= dataset->label_count)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "there is no class %d to tell from the rest, "
                              "only 0 to %d",
                              target, dataset->label_count - 1);
    soma_status status = name_two(dataset, target, err);
    if (status)
        return status;
    for (int i = 0; i < dataset->count; i++)
        dataset->labels[i] = dataset->labels[i] == target;
    dataset->label_count = 2;
    return SOMA_OK;
}

static double
value_at(const soma_dataset *dataset, size_t i)
{
    return dataset->values ? (double)dataset->values[i]
                           : (double)dataset->bytes[i];
}

/* Values are taken relative to the first of their channel: a constant channel
 * then has a deviation of exactly 0, however its sum would round. */
static void
channel_statistics(const soma_dataset *dataset, size_t from, size_t each,
                   float *mean, float *std)
{
    size_t size = (size_t)dataset->size, rows = (size_t)dataset->count;
    double shift = value_at(dataset, from), count = (double)(rows * each);
    double sum = 0, squares = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < each; k++)
            sum += value_at(dataset, row * size + from + k) - shift;
    shift += sum / count;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < each; k++) {
            double value = value_at(dataset, row * size + from + k) - shift;
            squares += value * value;
        }
    *mean = (float)shift;
    *std = (float)sqrt(squares / count);
    if (!(*std > 0))
        *std = 1;
}

void
soma_dataset_statistics(const soma_dataset *dataset, int normals, float *mean,
                        float *std)
{
    size_t each = (size_t)dataset->size / (size_t)normals;
    for (int c = 0; c < normals; c++)
        channel_statistics(dataset, (size_t)c * each, each, &mean[c], &std[c]);
}

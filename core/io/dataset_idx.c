/* IDX (yann.lecun.com/exdb/mnist), plain or gzip, everything big endian:
 *
 *     u8 0, u8 0, u8 type, u8 rank      08 u8, 09 i8, 0B i16, 0C i32,
 *     u32 dimension x rank              0D f32, 0E f64
 *     elements in C order
 *
 * Images come with a labels file of rank 1 and as many elements:
 * X-images-idxN-ubyte[.gz] and X-labels-idx1-ubyte[.gz].
 */
#include "core/io/dataset_formats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 4 };

typedef struct idx_file {
    soma_bytes bytes;
    unsigned char type;
    int rank;
    uint32_t dims[MAX_RANK];
    size_t elements;
    const unsigned char *data;
} idx_file;

static const struct {
    unsigned char type;
    size_t size;
} types[] = {{0x08, 1}, {0x09, 1}, {0x0b, 2}, {0x0c, 4}, {0x0d, 4}, {0x0e, 8}};

static size_t
size_of(unsigned char type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].size;
    return 0;
}

static uint64_t
load(const unsigned char *data, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | data[i];
    return value;
}

static double
element(const idx_file *file, size_t i)
{
    size_t size = size_of(file->type);
    uint64_t bits = load(file->data + i * size, size);
    uint32_t low = (uint32_t)bits;
    float single;
    double value;
    switch (file->type) {
    case 0x08:
        return (double)bits;
    case 0x09:
        return (double)(int8_t)bits;
    case 0x0b:
        return (double)(int16_t)bits;
    case 0x0c:
        return (double)(int32_t)bits;
    case 0x0d:
        memcpy(&single, &low, sizeof single);
        return (double)single;
    default:
        memcpy(&value, &bits, sizeof value);
        return value;
    }
}

static soma_status
parse(const char *path, idx_file *file, soma_error *err)
{
    const unsigned char *d = file->bytes.data;
    size_t size = file->bytes.size;
    if (size < 4 || d[0] || d[1] || !size_of(d[2]))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: does not start with an IDX magic number",
                              path);
    file->type = d[2];
    file->rank = d[3];
    if (file->rank < 1 || file->rank > MAX_RANK)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: %d dimensions, expected 1 to %d", path,
                              file->rank, MAX_RANK);
    size_t header = 4 + 4 * (size_t)file->rank, bytes = size_of(file->type);
    if (size < header)
        return soma_error_set(err, SOMA_E_FORMAT, "%s: ends within its header",
                              path);
    file->elements = 1;
    for (int i = 0; i < file->rank; i++) {
        file->dims[i] = (uint32_t)load(d + 4 + 4 * i, 4);
        if (__builtin_mul_overflow(file->elements, (size_t)file->dims[i],
                                   &file->elements))
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "%s: the dimensions' product overflows",
                                  path);
    }
    if (__builtin_mul_overflow(bytes, file->elements, &bytes) ||
        bytes != size - header)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: %zu bytes of data, its header says %zu "
                              "elements of %zu",
                              path, size - header, file->elements,
                              size_of(file->type));
    file->data = d + header;
    return SOMA_OK;
}

static soma_status
read_idx(const char *path, idx_file *file, soma_error *err)
{
    *file = (idx_file){.rank = 0};
    soma_status status =
        soma_file_read(path, SOMA_DATASET_MAX_FILE, 1, &file->bytes, err);
    return status ? status : parse(path, file, err);
}

/* The labels file of an images file: the same path with the last "images-idx"
 * made "labels-idx1". */
static bool
labels_path(const char *images, char labels[PATH_MAX])
{
    const char *last = NULL;
    for (const char *at = images; (at = strstr(at, "images-idx")); at++)
        last = at;
    if (!last || !last[strlen("images-idx")])
        return false;
    const char *tail = last + strlen("images-idx") + 1;
    int length = snprintf(labels, PATH_MAX, "%.*slabels-idx1%s",
                          (int)(last - images), images, tail);
    return length > 0 && length < PATH_MAX;
}

/* The images file that `path` is, or that the folder `path` holds. */
static bool
images_path(const char *path, soma_split split, char images[PATH_MAX])
{
    static const char *const names[][2] = {
        [SOMA_SPLIT_TRAIN] = {"train-images-idx3-ubyte.gz",
                              "train-images-idx3-ubyte"},
        [SOMA_SPLIT_TEST] = {"t10k-images-idx3-ubyte.gz",
                             "t10k-images-idx3-ubyte"}};
    if (soma_path_is_folder(path))
        return soma_path_join(path, names[split][0], images) ||
               soma_path_join(path, names[split][1], images);
    char labels[PATH_MAX];
    snprintf(images, PATH_MAX, "%s", path);
    return labels_path(path, labels);
}

bool
soma_idx_probe(const char *path, soma_split split)
{
    char images[PATH_MAX];
    return images_path(path, split, images);
}

static soma_status
take_images(const char *path, const idx_file *file, soma_dataset *dataset,
            soma_error *err)
{
    int shape[MAX_RANK] = {1};
    if (file->rank < 2 || file->dims[0] > INT_MAX)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: expected images, got %d dimensions", path,
                              file->rank);
    for (int i = 1; i < file->rank; i++)
        shape[i - 1] = file->dims[i] > INT_MAX ? 0 : (int)file->dims[i];
    soma_status status =
        soma_dataset_shape(dataset, file->rank - 1, shape, path, err);
    if (status)
        return status;
    dataset->count = (int)file->dims[0];
    if (file->type == 0x08) {
        dataset->bytes = malloc(file->elements + 1);
        if (!dataset->bytes)
            return soma_error_memory(err, "images");
        memcpy(dataset->bytes, file->data, file->elements);
        return SOMA_OK;
    }
    dataset->values = malloc((file->elements + 1) * sizeof(float));
    if (!dataset->values)
        return soma_error_memory(err, "images");
    for (size_t i = 0; i < file->elements; i++) {
        dataset->values[i] = (float)element(file, i);
        if (!isfinite(dataset->values[i]))
            return soma_error_set(err, SOMA_E_NOT_FINITE,
                                  "%s: element %zu is not finite", path, i);
    }
    return SOMA_OK;
}

static soma_status
take_labels(const char *path, const idx_file *file, soma_dataset *dataset,
            soma_error *err)
{
    if (file->rank != 1 || file->type >= 0x0d)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: expected labels, whole numbers in one "
                              "dimension",
                              path);
    if (file->elements != (size_t)dataset->count)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: %zu labels for %d images", path,
                              file->elements, dataset->count);
    dataset->labels = malloc((file->elements + 1) * sizeof(int));
    if (!dataset->labels)
        return soma_error_memory(err, "labels");
    for (size_t i = 0; i < file->elements; i++) {
        double label = element(file, i);
        if (label < 0 || label >= SOMA_MAX_UNITS)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "%s: label %zu is %.0f, expected 0 to %d",
                                  path, i, label, SOMA_MAX_UNITS - 1);
        dataset->labels[i] = (int)label;
    }
    return SOMA_OK;
}

soma_status
soma_idx_open(const char *path, const soma_dataset_options *options,
              soma_dataset *dataset, soma_error *err)
{
    char images[PATH_MAX], labels[PATH_MAX];
    idx_file file;
    images_path(path, options->split, images);
    labels_path(images, labels);
    soma_status status = read_idx(images, &file, err);
    if (!status)
        status = take_images(images, &file, dataset, err);
    soma_bytes_free(&file.bytes);
    if (status)
        return status;
    status = read_idx(labels, &file, err);
    if (!status)
        status = take_labels(labels, &file, dataset, err);
    soma_bytes_free(&file.bytes);
    return status;
}

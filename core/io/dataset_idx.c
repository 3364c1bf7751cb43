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
#include <sys/stat.h>

enum { MAX_RANK = 1 + SOMA_MAX_RANK };

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
                              "%s: does not start with an IDX magic number "
                              "(0, 0, type 8 to 14, dimensions)",
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

/* The first of STEM-idx1-ubyte[.gz] to STEM-idx5-ubyte[.gz] that exists. */
static bool
find_file(const char *stem, char found[PATH_MAX])
{
    struct stat st;
    for (int digit = 1; digit <= MAX_RANK; digit++)
        for (int gz = 0; gz < 2; gz++) {
            int length = snprintf(found, PATH_MAX, "%s-idx%d-ubyte%s", stem,
                                  digit, gz ? ".gz" : "");
            if (length > 0 && length < PATH_MAX && !stat(found, &st))
                return true;
        }
    return false;
}

/* The stem of the labels file of an images file: X-labels for X-images-idx3
 * and what follows. */
static bool
labels_stem(const char *images, char stem[PATH_MAX])
{
    const char *slash = strrchr(images, '/');
    const char *at = strstr(slash ? slash : images, "images-idx");
    int length =
        at ? snprintf(stem, PATH_MAX, "%.*slabels", (int)(at - images), images)
           : 0;
    return length > 0 && length < PATH_MAX;
}

/* The images file that `path` is, or that the folder `path` holds. */
static bool
images_path(const char *path, soma_split split, char images[PATH_MAX])
{
    char stem[PATH_MAX];
    int length;
    if (!soma_path_is_folder(path)) {
        length = snprintf(images, PATH_MAX, "%s", path);
        return length < PATH_MAX && labels_stem(path, stem);
    }
    length = snprintf(stem, sizeof stem, "%s/%s-images", path,
                      split == SOMA_SPLIT_TRAIN ? "train" : "t10k");
    return length > 0 && length < PATH_MAX && find_file(stem, images);
}

bool
soma_idx_probe(const char *path, soma_split split)
{
    char images[PATH_MAX];
    return images_path(path, split, images) ||
           images_path(path,
                       split == SOMA_SPLIT_TRAIN ? SOMA_SPLIT_TEST
                                                 : SOMA_SPLIT_TRAIN,
                       images);
}

static soma_status
take_images(const char *path, const idx_file *file, soma_dataset *dataset,
            soma_error *err)
{
    int shape[MAX_RANK] = {1};
    if (file->rank < 2)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: 1 dimension, expected images: 2 to %d", path,
                              MAX_RANK);
    if (file->dims[0] > INT_MAX)
        return soma_error_set(err, SOMA_E_LIMIT, "%s: more than %d images",
                              path, INT_MAX);
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

static soma_status
find_pair(const char *path, soma_split split, char images[PATH_MAX],
          char labels[PATH_MAX], soma_error *err)
{
    char stem[PATH_MAX];
    if (!images_path(path, split, images))
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: no %s-images-idx3-ubyte[.gz], only the "
                              "other split's",
                              path,
                              split == SOMA_SPLIT_TRAIN ? "train" : "t10k");
    if (!labels_stem(images, stem) || !find_file(stem, labels))
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: beside it no labels, %s-idx1-ubyte[.gz]",
                              images, stem);
    return SOMA_OK;
}

soma_status
soma_idx_open(const char *path, const soma_dataset_options *options,
              soma_dataset *dataset, soma_error *err)
{
    char images[PATH_MAX], labels[PATH_MAX];
    idx_file file;
    soma_status status = find_pair(path, options->split, images, labels, err);
    if (status)
        return status;
    status = read_idx(images, &file, err);
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

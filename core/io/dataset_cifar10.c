/* CIFAR-10, binary version (www.cs.toronto.edu/~kriz/cifar.html): records of
 *
 *     u8 label 0..9, u8 red[1024], u8 green[1024], u8 blue[1024]
 *
 * each plane 32 x 32 from the top left. data_batch_1.bin to data_batch_5.bin
 * are for training, test_batch.bin for testing; batches.meta.txt beside them
 * has the names of the classes, one a line.
 */
#include "core/io/dataset_formats.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3072, RECORD = 1 + PIXELS, LABELS = 10, FILES = 5 };

static const char *const train_files[FILES] = {
    "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
    "data_batch_4.bin", "data_batch_5.bin"};
static const char *const test_files[FILES] = {"test_batch.bin"};

static const char *const *
files_of(soma_split split)
{
    return split == SOMA_SPLIT_TRAIN ? train_files : test_files;
}

/* The folder with .bin files of this split: `path` itself or what unpacking an
 * archive there made. */
static bool
find_folder(const char *path, soma_split split, char folder[PATH_MAX])
{
    static const char *const names[] = {"", "cifar10", "cifar-10-batches-bin"};
    const char *const *files = files_of(split);
    char file[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!*names[i])
            snprintf(folder, PATH_MAX, "%s", path);
        else if (!soma_path_join(path, names[i], folder))
            continue;
        for (int f = 0; f < FILES && files[f]; f++)
            if (soma_path_join(folder, files[f], file))
                return true;
    }
    return false;
}

bool
soma_cifar10_probe(const char *path, soma_split split)
{
    char folder[PATH_MAX];
    (void)split;
    if (soma_path_is_folder(path))
        return find_folder(path, SOMA_SPLIT_TRAIN, folder) ||
               find_folder(path, SOMA_SPLIT_TEST, folder);
    size_t length = strlen(path);
    return length > 4 && !strcmp(path + length - 4, ".bin");
}

static soma_status
make_room(soma_dataset *dataset, size_t count, soma_error *err)
{
    uint8_t *bytes = realloc(dataset->bytes, count * PIXELS);
    if (bytes)
        dataset->bytes = bytes;
    int *labels = realloc(dataset->labels, count * sizeof *labels);
    if (labels)
        dataset->labels = labels;
    return bytes && labels ? SOMA_OK : soma_error_memory(err, "CIFAR-10");
}

static soma_status
take_records(const char *path, const soma_bytes *file, soma_dataset *dataset,
             soma_error *err)
{
    size_t records = file->size / RECORD, count = (size_t)dataset->count;
    if (file->size % RECORD || records == 0 || count + records > INT_MAX)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: %zu bytes are not CIFAR-10 records of %d",
                              path, file->size, RECORD);
    soma_status status = make_room(dataset, count + records, err);
    if (status)
        return status;
    for (size_t i = 0; i < records; i++) {
        const unsigned char *record = file->data + i * RECORD;
        if (record[0] >= LABELS)
            return soma_error_set(err, SOMA_E_FORMAT,
                                  "%s: record %zu has label %d, expected 0 "
                                  "to 9",
                                  path, i, record[0]);
        dataset->labels[count + i] = record[0];
        memcpy(dataset->bytes + (count + i) * PIXELS, record + 1, PIXELS);
    }
    dataset->count += (int)records;
    return SOMA_OK;
}

static soma_status
append(const char *path, soma_dataset *dataset, soma_error *err)
{
    soma_bytes file;
    soma_status status =
        soma_file_read(path, SOMA_DATASET_MAX_FILE, 0, &file, err);
    if (!status)
        status = take_records(path, &file, dataset, err);
    soma_bytes_free(&file);
    return status;
}

/* Names are a courtesy: without the file, or with one that does not hold
 * them, classes are numbers. */
static soma_status
read_names(const char *folder, soma_classes *classes, soma_error *err)
{
    char path[PATH_MAX];
    soma_bytes text;
    if (!soma_path_join(folder, "batches.meta.txt", path))
        return SOMA_OK;
    soma_status status = soma_file_read(path, 1 << 16, 0, &text, NULL);
    if (status == SOMA_E_MEMORY)
        return soma_error_memory(err, "names of classes");
    if (status)
        return SOMA_OK;
    classes->names = calloc(LABELS, sizeof *classes->names);
    if (!classes->names)
        status = soma_error_memory(err, "names of classes");
    char *rest = (char *)text.data, *line;
    while (!status && classes->count < LABELS &&
           (line = strsep(&rest, "\r\n"))) {
        if (!*line)
            continue;
        classes->names[classes->count] = strdup(line);
        if (!classes->names[classes->count])
            status = soma_error_memory(err, "names of classes");
        else
            classes->count++;
    }
    soma_bytes_free(&text);
    if (classes->count != LABELS)
        soma_classes_free(classes);
    return status;
}

static soma_status
open_folder(const char *folder, soma_split split, soma_dataset *dataset,
            soma_error *err)
{
    soma_status status = SOMA_OK;
    const char *const *files = files_of(split);
    for (int i = 0; i < FILES && files[i] && !status; i++) {
        char path[PATH_MAX];
        if (soma_path_join(folder, files[i], path))
            status = append(path, dataset, err);
    }
    return status ? status : read_names(folder, &dataset->classes, err);
}

soma_status
soma_cifar10_open(const char *path, const soma_dataset_options *options,
                  soma_dataset *dataset, soma_error *err)
{
    static const int shape[] = {3, 32, 32};
    char folder[PATH_MAX];
    soma_status status = soma_dataset_shape(dataset, 3, shape, path, err);
    dataset->label_count = LABELS;
    if (status)
        return status;
    if (soma_path_is_folder(path)) {
        if (!find_folder(path, options->split, folder))
            return soma_error_set(err, SOMA_E_NOT_FOUND,
                                  "%s: no %s, only the other split's", path,
                                  files_of(options->split)[0]);
        return open_folder(folder, options->split, dataset, err);
    }
    snprintf(folder, sizeof folder, "%s", path);
    status = append(path, dataset, err);
    if (!status)
        status = read_names(dirname(folder), &dataset->classes, err);
    return status;
}

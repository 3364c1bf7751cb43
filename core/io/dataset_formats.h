/* The readers behind dataset.c's table. Private to core/io.
 *
 * A reader fills count, shape, size, labels and bytes or values, and may fill
 * label_count and classes; on failure dataset.c frees what it has filled.
 */
#ifndef SOMA_CORE_IO_DATASET_FORMATS_H
#define SOMA_CORE_IO_DATASET_FORMATS_H

#include "core/io/dataset.h"

#include <limits.h>
#include <stdio.h>

/* The most bytes of one file that are read, unpacked. */
#define SOMA_DATASET_MAX_FILE ((size_t)8 << 30)

/* Each says whether the path looks like its format. */
bool soma_idx_probe(const char *path, soma_split split);
bool soma_cifar10_probe(const char *path, soma_split split);
bool soma_csv_probe(const char *path, soma_split split);
bool soma_npy_probe(const char *path, soma_split split);
bool soma_folder_probe(const char *path, soma_split split);

soma_status soma_idx_open(const char *path, const soma_dataset_options *options,
                          soma_dataset *dataset, soma_error *err);
soma_status soma_cifar10_open(const char *path,
                              const soma_dataset_options *options,
                              soma_dataset *dataset, soma_error *err);
soma_status soma_csv_open(const char *path, const soma_dataset_options *options,
                          soma_dataset *dataset, soma_error *err);
soma_status soma_npy_open(const char *path, const soma_dataset_options *options,
                          soma_dataset *dataset, soma_error *err);
soma_status soma_folder_open(const char *path,
                             const soma_dataset_options *options,
                             soma_dataset *dataset, soma_error *err);

/* Whether folder/name exists; its path goes to `found`. */
bool soma_path_join(const char *folder, const char *name, char found[PATH_MAX]);
bool soma_path_is_folder(const char *path);

/* The classes that names are to be numbered by, NULL if there are none. */
const soma_classes *soma_dataset_known(const soma_dataset_options *options);

/* The names, as many as fit in `text`, for a message; returns `text`. */
const char *soma_classes_list(const soma_classes *classes, char *text,
                              size_t size);

/* Sets rank, shape and size. SOMA_E_LIMIT for an input that is too large. */
soma_status soma_dataset_shape(soma_dataset *dataset, int rank,
                               const int *shape, const char *path,
                               soma_error *err);

#endif

/* Labelled examples from files, for training and evaluation.
 *
 * Formats are rows of a table in dataset.c; each row's reader has a file of
 * its own: IDX (MNIST, Fashion-MNIST), CIFAR-10 binary, CSV, NumPy, a folder
 * of folders of pictures.
 */
#ifndef SOMA_CORE_IO_DATASET_H
#define SOMA_CORE_IO_DATASET_H

#include "core/io/checkpoint.h"
#include "core/memory.h"
#include "core/model.h"

#include <stdint.h>

/* `count` rows of `size` values in shape `shape`. Just one of bytes and
 * values is set: bytes for pixels 0..255, values for anything else. */
typedef struct soma_dataset {
    int count;
    int rank, shape[SOMA_MAX_RANK];
    int size;
    uint8_t *bytes; /* [count x size] */
    float *values;  /* [count x size] */
    int *labels;    /* [count], 0..label_count-1 */
    int label_count;
    soma_classes classes; /* names, where the format has them */
    const char *format;   /* its name in the table */
} soma_dataset;

typedef enum soma_split { SOMA_SPLIT_TRAIN, SOMA_SPLIT_TEST } soma_split;

typedef struct soma_dataset_options {
    soma_split split;         /* for folders that hold both */
    const char *label_column; /* CSV: name of the column; NULL: the first */
    const char *labels;       /* .npy: the file of labels; NULL: beside */
    int rank, shape[SOMA_MAX_RANK]; /* pictures: the shape to scale to;
                                       rank 0: that of the first picture */
    const soma_classes *classes;    /* the model's: names in a CSV or of folders
                                       are numbered by it; NULL: sorted names */
} soma_dataset_options;

/* Opens a file or folder, finding out its format:
 *   folder with {train,t10k}-{images,labels}-idx?-ubyte[.gz]   IDX, by split
 *   *-images-idx?-ubyte[.gz] with its labels file beside it    IDX
 *   folder with data_batch_?.bin / test_batch.bin, or with a
 *   folder cifar10 or cifar-10-batches-bin of these            CIFAR-10, split
 *   *.bin with 3073-byte records                               CIFAR-10
 *   *.csv                                                      CSV
 *   *.npz with images and labels, *.npy with labels beside     NumPy
 *   folder of folders, or with train/ and test/ of those       pictures
 * All is read into memory. `options` may be NULL: train, no names, no shape.
 * Errors name the file and the place in it. */
soma_status soma_dataset_open(const char *path,
                              const soma_dataset_options *options,
                              soma_dataset *dataset, soma_error *err);
void soma_dataset_free(soma_dataset *dataset);

/* Row i as float32 to x [size]. */
void soma_dataset_row(const soma_dataset *dataset, int i, float *x);

/* Fills `memory` with `count` rows, or all if there are fewer, chosen at random
 * and balanced by class; it is to be freed, also on failure. With `remove` the
 * dataset no longer has them. */
soma_status soma_dataset_sample(soma_dataset *dataset, int count, uint64_t seed,
                                bool remove, soma_memory *memory,
                                soma_error *err);

/* Turns labels into 1 for `target` and 0 for the rest, classes "not NAME" and
 * NAME: the task of a single neuron. SOMA_E_ARGUMENT if there is no such
 * label. */
soma_status soma_dataset_versus_rest(soma_dataset *dataset, int target,
                                     soma_error *err);

/* Mean and standard deviation of the values of each channel (or of all, if
 * `normals` is 1); a deviation of 0 becomes 1. [normals] each. */
void soma_dataset_statistics(const soma_dataset *dataset, int normals,
                             float *mean, float *std);

#endif

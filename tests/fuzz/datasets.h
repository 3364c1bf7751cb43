/* What must hold of a dataset that was read.
 */
#ifndef SOMA_TESTS_FUZZ_DATASETS_H
#define SOMA_TESTS_FUZZ_DATASETS_H

#include "core/io/dataset.h"
#include "tests/fuzz/files.h"

/* Opens it; what is read has finite rows, and labels within their count. */
static inline void
datasets_open(const char *path, const soma_dataset_options *options)
{
    soma_error err = {SOMA_OK, ""};
    soma_dataset dataset;
    soma_status status = soma_dataset_open(path, options, &dataset, &err);
    files_explained(status, &err);
    if (status)
        return;
    must(dataset.size > 0 && !dataset.bytes != !dataset.values);
    float *x = calloc((size_t)dataset.size, sizeof *x);
    must(x);
    for (int i = 0; i < dataset.count; i++) {
        soma_dataset_row(&dataset, i, x);
        for (int j = 0; j < dataset.size; j++)
            must(x[j] - x[j] == 0);
        must(dataset.labels[i] >= 0 && dataset.labels[i] < dataset.label_count);
    }
    free(x);
    soma_dataset_free(&dataset);
}

/* The first two bytes (little endian) of an input are the length of its first
 * part, which follows; the rest is the second. Returns the first's length;
 * *data and *size then begin with it. */
static inline size_t
datasets_split(const uint8_t **data, size_t *size)
{
    if (*size < 2)
        return 0;
    size_t length = (size_t)(*data)[0] | (size_t)(*data)[1] << 8;
    *data += 2, *size -= 2;
    return length < *size ? length : *size;
}

#endif

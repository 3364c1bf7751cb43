/* NumPy arrays: .npy (format at the head of the .c), and .npz, which are zip
 * files of them.
 */
#ifndef SOMA_CORE_IO_NPY_H
#define SOMA_CORE_IO_NPY_H

#include "core/io/file.h"

#include <stdbool.h>
#include <stdint.h>

enum { SOMA_NPY_MAX_RANK = 8 };

/* An array within the bytes that it was parsed from. */
typedef struct soma_npy {
    int rank;
    size_t shape[SOMA_NPY_MAX_RANK];
    size_t count; /* elements: product of shape, 1 for rank 0 */
    char kind;    /* 'b' bool, 'i' signed, 'u' unsigned, 'f' float */
    size_t width; /* bytes of an element */
    bool big;     /* endian */
    bool fortran; /* the first index runs fastest */
    const unsigned char *data;
} soma_npy;

/* SOMA_E_FORMAT: not .npy, or other bytes than its shape needs;
 * SOMA_E_UNSUPPORTED: elements that are no numbers. Nothing is allocated. */
soma_status soma_npy_parse(const void *data, size_t size, soma_npy *array,
                           soma_error *err);

/* Elements in C order, each as the nearest float32; to [count]. False: one of
 * them is not finite, or beyond float32. */
bool soma_npy_floats(const soma_npy *array, float *to);

/* Whether all elements are bytes; then to [count] has them, in C order. */
bool soma_npy_bytes(const soma_npy *array, uint8_t *to);

/* Reads one array of a .npz file, by its name without ".npy". At most `limit`
 * bytes. SOMA_E_NOT_FOUND if there is none of this name; SOMA_E_FORMAT. */
soma_status soma_npz_read(const char *path, const char *name, size_t limit,
                          soma_bytes *bytes, soma_error *err);

#endif

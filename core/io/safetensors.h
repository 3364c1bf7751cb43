/* The safetensors container, read with the strictness of the reference
 * implementation and written as it writes (format at the head of the .c).
 */
#ifndef SOMA_CORE_IO_SAFETENSORS_H
#define SOMA_CORE_IO_SAFETENSORS_H

#include "core/io/file.h"

#include <stdbool.h>
#include <stdint.h>

enum { SOMA_TENSOR_MAX_RANK = 8 };

/* One tensor of a file that has been read. */
typedef struct soma_tensor {
    char *name;
    const char *dtype; /* "F32", "F16", ... as in the file */
    int rank;
    uint64_t shape[SOMA_TENSOR_MAX_RANK];
    uint64_t elements;         /* product of shape; 1 for rank 0 */
    const unsigned char *data; /* little endian, C order, unaligned */
    uint64_t size;             /* bytes */
} soma_tensor;

typedef struct soma_meta {
    char *key, *value;
} soma_meta;

/* Owns all it points to. Tensors stand in the order of their data. */
typedef struct soma_safetensors {
    soma_bytes file;
    int tensor_count;
    soma_tensor *tensors;
    int meta_count;
    soma_meta *meta;
} soma_safetensors;

/* Takes over `bytes` (also on failure). SOMA_E_FORMAT says which rule of the
 * format is broken, and at which tensor. */
soma_status soma_safetensors_parse(soma_bytes *bytes, soma_safetensors *st,
                                   soma_error *err);
void soma_safetensors_free(soma_safetensors *st);

/* NULL if there is none. */
const soma_tensor *soma_safetensors_find(const soma_safetensors *st,
                                         const char *name);
const char *soma_safetensors_meta(const soma_safetensors *st, const char *key);

/* Copies a tensor of dtype F32, F16, BF16 or F64 to `to` [elements].
 * SOMA_E_UNSUPPORTED for other dtypes; SOMA_E_NOT_FINITE for a NaN, an
 * infinity, or an F64 beyond float32, saying which element. */
soma_status soma_tensor_floats(const soma_tensor *tensor, float *to,
                               soma_error *err);
/* The same for elements [first, first + count), which there must be. */
soma_status soma_tensor_part(const soma_tensor *tensor, uint64_t first,
                             uint64_t count, float *to, soma_error *err);

/* What a tensor's elements are stored as when written. */
typedef enum soma_dtype {
    SOMA_F32,
    SOMA_F16,
    SOMA_BF16,
    SOMA_I32,
    SOMA_U8
} soma_dtype;

/* A tensor to be written; `values` is float [elements] for F32, F16 and BF16
 * (rounded to nearest even), int32_t for I32, uint8_t for U8. */
typedef struct soma_tensor_out {
    const char *name;
    soma_dtype dtype;
    int rank;
    uint64_t shape[SOMA_TENSOR_MAX_RANK];
    const void *values;
} soma_tensor_out;

/* Builds the bytes of a file: tensors sorted as the reference writer does
 * (largest dtype first, then name), header padded to a multiple of 8. Names
 * and metadata must be UTF-8. SOMA_E_ARGUMENT for a finite float that F16 or
 * BF16 cannot hold, or a name that occurs twice. */
soma_status soma_safetensors_build(const soma_tensor_out *tensors, int count,
                                   const soma_meta *meta, int meta_count,
                                   soma_bytes *bytes, soma_error *err);

#endif

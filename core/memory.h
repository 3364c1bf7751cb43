/* Examples kept in memory, to be rehearsed or to be judged by.
 *
 * Values are stored as bytes while all of them are whole numbers from 0 to
 * 255, which pixels are, and as float32 from the first one that is not: what
 * comes out is what went in, bit for bit.
 */
#ifndef SOMA_CORE_MEMORY_H
#define SOMA_CORE_MEMORY_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct soma_memory {
    int size;        /* values of an example */
    int room;        /* examples that fit */
    int count;       /* examples that are there */
    uint8_t *bytes;  /* [room x size], or NULL: */
    uint8_t *packed; /* [size], scratch */
    float *floats;   /* [room x size] */
    int *labels;     /* [room] */
} soma_memory;

/* Empty. Room 0 is fine. SOMA_E_MEMORY. */
soma_status soma_memory_create(soma_memory *memory, int size, int room,
                               soma_error *err);
void soma_memory_free(soma_memory *memory); /* zero-initialised is fine */

/* Example `at` becomes this one; at == count appends it (count < room). x
 * [size]. SOMA_E_MEMORY: nothing has changed. */
soma_status soma_memory_put(soma_memory *memory, int at, const float *x,
                            int label, soma_error *err);

/* From bytes to float32. SOMA_E_MEMORY: nothing has changed. */
soma_status soma_memory_as_floats(soma_memory *memory, soma_error *err);

/* Copies example `at` to x [size]. */
void soma_memory_get(const soma_memory *memory, int at, float *x);

/* False: some value is no whole number from 0 to 255, or -0; else `to` [count]
 * has all of them. */
bool soma_memory_pack(const float *x, size_t count, uint8_t *to);

#endif

/* The element types of the Open Inference Protocol, little endian and packed
 * in binary tensors (Triton's binary tensor data extension), and their way to
 * float32, which models are fed with.
 */
#ifndef SOMA_WEB_TENSORS_H
#define SOMA_WEB_TENSORS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct soma_datatype {
    const char *name;
    int size;         /* bytes of an element; 0: BYTES, which varies */
    bool json;        /* may stand in JSON; else in binary tensors only */
    double low, high; /* of whole numbers; 0, 0: it holds fractions */
    /* Converts `count` elements. */
    void (*read)(const unsigned char *from, size_t count, float *to);
} soma_datatype;

/* NULL: there is no such type. */
const soma_datatype *soma_datatype_find(const char *name);

/* The first of them that is an infinity or NaN; `count`: none is. */
size_t soma_tensor_not_finite(const float *values, size_t count);

/* The first of them that the type cannot hold; `count`: it holds all. */
size_t soma_tensor_out_of_range(const soma_datatype *type, const float *values,
                                size_t count);

#endif

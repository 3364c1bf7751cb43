/* A checkpoint is a model file: safetensors with the spec as JSON in its
 * metadata (format at the head of checkpoint.c).
 */
#ifndef SOMA_CORE_IO_CHECKPOINT_H
#define SOMA_CORE_IO_CHECKPOINT_H

#include "core/io/file.h"
#include "core/io/safetensors.h"
#include "core/memory.h"
#include "core/model.h"

#include <jansson.h>

/* Names of the classes, or count 0: then a class is its number. */
typedef struct soma_classes {
    int count;
    char **names;
} soma_classes;

void soma_classes_free(soma_classes *classes);
soma_status soma_classes_copy(soma_classes *to, const soma_classes *from,
                              soma_error *err);
/* Whether a model file can hold these names: not empty, all different, UTF-8.
 * SOMA_E_ARGUMENT names the one that is not. */
soma_status soma_classes_check(const soma_classes *classes, soma_error *err);
/* The class with this name, or -1. */
int soma_classes_find(const soma_classes *classes, const char *name);

typedef struct soma_checkpoint {
    soma_model *model;
    soma_classes classes; /* count is 0 or the spec's classes */
    json_t *training;     /* how it was trained: an object, or NULL */
    json_t *made;         /* by what and when: an object, or NULL */
    soma_memory memory;   /* examples to rehearse; count 0: none */
    soma_memory guard;    /* examples held out to judge by; count 0: none */
} soma_checkpoint;

void soma_checkpoint_free(soma_checkpoint *checkpoint);

/* Reads a model file: safetensors, or ONNX (onnx.h) if its name ends in .onnx.
 * A safetensors file without `soma` metadata (a PyTorch
 * state_dict) needs `sidecar`: the JSON text of the same object, as
 * the head of state_dict.c says; NULL means: use PATH.json if there is such a
 * file beside it. In the sidecar `layers` entries may leave out "units". For a
 * file with `soma` metadata no sidecar is looked at.
 * SOMA_E_NOT_FOUND only for the file itself; SOMA_E_FORMAT, SOMA_E_SHAPE,
 * SOMA_E_LIMIT, SOMA_E_NOT_FINITE, SOMA_E_UNSUPPORTED... the text names the
 * path, and the tensor or the member of the JSON. */
soma_status soma_checkpoint_read(const char *path, const char *sidecar,
                                 soma_checkpoint *checkpoint, soma_error *err);

/* The same from bytes in memory; takes over `bytes`. */
soma_status soma_checkpoint_parse(soma_bytes *bytes, const char *sidecar,
                                  soma_checkpoint *checkpoint, soma_error *err);

/* dtype: SOMA_F32, or SOMA_F16 or SOMA_BF16 (they round; the digest of what is
 * read back is that of the rounded weights). SOMA_E_NOT_FINITE, or
 * SOMA_E_ARGUMENT for a weight that 16 bits cannot hold, and for names of
 * classes that are empty, not UTF-8 or stand there twice. */
soma_status soma_checkpoint_build(const soma_checkpoint *checkpoint,
                                  soma_dtype dtype, soma_bytes *bytes,
                                  soma_error *err);
soma_status soma_checkpoint_write(const char *path,
                                  const soma_checkpoint *checkpoint,
                                  soma_dtype dtype, soma_error *err);

/* The spec as the JSON object of the file's metadata: "input", "layers",
 * "loss", and "classes" if there are any. A new reference, NULL when there is
 * no memory. Endpoints answer with its members. */
json_t *soma_checkpoint_describe(const soma_spec *spec, const soma_model *model,
                                 const soma_classes *classes);

/* The other way. mean and std go to malloc'ed arrays of spec->input.normals
 * floats (NULL if 0), classes is to be freed. Errors name the member, e.g.
 * `layers[1].units: expected a whole number from 1 to 1048576, got "ten"`. */
soma_status soma_checkpoint_spec(const json_t *object, soma_spec *spec,
                                 float **mean, float **std,
                                 soma_classes *classes, soma_error *err);

enum { SOMA_DIGEST_HEX = 64 };

/* SHA-256, in hex, over the data of all layers in order (weight, then bias;
 * float32, little endian, rows [out x in]): the same for the same weights,
 * however they are stored. */
soma_status soma_model_digest(const soma_model *model,
                              char hex[SOMA_DIGEST_HEX + 1], soma_error *err);

/* The same over all that learning starts from: weights, normalisation and base
 * memory. Two model files with the same one learn the same. */
soma_status soma_checkpoint_digest(const soma_checkpoint *checkpoint,
                                   char hex[SOMA_DIGEST_HEX + 1],
                                   soma_error *err);

#endif

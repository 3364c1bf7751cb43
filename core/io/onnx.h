/* ONNX files, in and out.
 *
 * Read are multi-layer perceptrons as PyTorch, scikit-learn (skl2onnx) and
 * Keras (tf2onnx) write them: dense layers, the activations that soma has,
 * whatever is affine and so can be folded into them (normalisation, scaling,
 * batch normalisation, flattening), and the tails of classifiers. Anything
 * else is refused by the name of its node.
 *
 * Bounds: a file of 2 GiB (protobuf's own), 65536 nodes, memory of three times
 * the file and 1 GiB besides the model; what the file claims is checked
 * against what it holds before anything is allocated.
 */
#ifndef SOMA_CORE_IO_ONNX_H
#define SOMA_CORE_IO_ONNX_H

#include "core/io/checkpoint.h"

/* Zero-initialised means: as the file says. */
typedef struct soma_onnx_options {
    const char *loss;   /* where the file ends in scores; NULL:
                           softmax_cross_entropy if there are two or more */
    const char *output; /* its name, where there are several; may be NULL */
    double scale;       /* clients send values this much larger than the file
                           wants, e.g. 255; 0 or 1: the same */
    bool planes;        /* turn a [height, width, channels] input around to
                           [channels, height, width] */
} soma_onnx_options;

/* Reads a file. checkpoint->made says what it was made by, and in "notes", an
 * array of strings, what was decided without being said by the file.
 * `options` may be NULL: then what only an option could say is refused by the
 * command that has it (soma import). SOMA_E_NOT_FOUND only for the file itself;
 * SOMA_E_FORMAT for what is no ONNX; SOMA_E_UNSUPPORTED names the node that
 * cannot be expressed and why; SOMA_E_SHAPE, SOMA_E_LIMIT, SOMA_E_NOT_FINITE,
 * SOMA_E_ARGUMENT for an option that does not fit the file. */
soma_status soma_onnx_read(const char *path, const soma_onnx_options *options,
                           soma_checkpoint *checkpoint, soma_error *err);

/* The same from bytes; weights in files of their own are refused. */
soma_status soma_onnx_parse(const void *data, size_t size,
                            const soma_onnx_options *options,
                            soma_checkpoint *checkpoint, soma_error *err);

/* The model as an ONNX file (opset 13): input "input" [batch, shape...],
 * output "probabilities" or "scores" [batch, answers], as /predict answers.
 * Memory and guard examples stay behind. */
soma_status soma_onnx_build(const soma_checkpoint *checkpoint,
                            soma_bytes *bytes, soma_error *err);

/* Whether a file's name says that it is ONNX. */
bool soma_onnx_is_name(const char *path);

#endif

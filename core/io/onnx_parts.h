/* The parts of the ONNX reader. Private to core/io/onnx*.c.
 *
 * A file is read in four steps: protobuf's messages (onnx_file.c); each node
 * in order to a value (onnx_graph.c, with the operators in onnx_affine.c,
 * onnx_dense.c, onnx_fold.c, onnx_move.c, onnx_shape.c and onnx_units.c); from
 * the wanted output back to the input, the
 * chain of values that are layers (onnx_layers.c); the spec (onnx.c).
 *
 * A value depends on the network's input (data), or not (a constant), or
 * cannot be expressed: then it keeps the reason, and so do all that are made
 * of it. Only if the wanted output is one of those is the file refused, so
 * nodes that only compute labels do no harm.
 */
#ifndef SOMA_CORE_IO_ONNX_PARTS_H
#define SOMA_CORE_IO_ONNX_PARTS_H

#include "core/activation.h"
#include "core/io/onnx.h"
#include "core/io/onnx.pb-c.h"

#include <stdint.h>

enum {
    ONNX_MAX_RANK = 8,
    ONNX_MAX_NODES = 1 << 16,
    ONNX_MAX_FOLDED = 1 << 24, /* elements of a computed constant */
};

/* The batch's size, as an element of a constant: nobody knows it. */
#define ONNX_BATCH INT64_MIN

/* Types of elements, TensorProto.DataType. */
enum {
    ONNX_FLOAT = 1,
    ONNX_UINT8 = 2,
    ONNX_INT8 = 3,
    ONNX_UINT16 = 4,
    ONNX_INT16 = 5,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_STRING = 8,
    ONNX_BOOL = 9,
    ONNX_FLOAT16 = 10,
    ONNX_DOUBLE = 11,
    ONNX_UINT32 = 12,
    ONNX_BFLOAT16 = 16
};

typedef Soma__Onnx__Node soma_onnx_node;
typedef Soma__Onnx__Tensor soma_onnx_tensor;
typedef Soma__Onnx__Attribute soma_onnx_attribute;

typedef enum soma_onnx_kind {
    ONNX_REFUSED, /* reason */
    ONNX_CONSTANT,
    ONNX_INPUT,
    ONNX_SAME,     /* as `from`, in another shape */
    ONNX_AFFINE,   /* scale * from + shift, element by element */
    ONNX_PERMUTED, /* element i is from's element index[i] */
    ONNX_DENSE,    /* weights times from, plus shift */
    ONNX_ACTIVATED,
    ONNX_PIECES,  /* scale and shift for each of `pieces` copies of from */
    ONNX_STACK,   /* `pieces` dense layers over from, one below the other */
    ONNX_LARGEST, /* of pieces: element u of p * size + u, for all p */
    ONNX_SOFTMAX, /* or its logarithm */
    ONNX_TWO,     /* 1 - from, from: the answer of one sigmoid unit */
    ONNX_LABEL    /* a decision over `from`; nothing is made of it */
} soma_onnx_kind;

/* dims of data leave out the batch. Everything is owned by the arena. */
typedef struct soma_onnx_value {
    soma_onnx_kind kind;
    const soma_onnx_node *node; /* that made it; NULL: none */
    int rank;
    int64_t dims[ONNX_MAX_RANK];
    size_t size;
    /* Constants: just one of these is set, once soma_onnx_decode was there. */
    const soma_onnx_tensor *tensor;
    const float *floats;
    const int64_t *whole;
    /* Data: */
    const struct soma_onnx_value *from;
    bool batched, is_whole; /* has a batch's dimension; counts in integers */
    const double *scale, *shift;
    const int *index;
    int pieces;
    const struct soma_onnx_value **parts;  /* [pieces]: dense, then affine */
    const struct soma_onnx_value *weights; /* [in, size] or [size, in] */
    bool out_first;                        /* the latter */
    double alpha;
    const soma_activation *activation;
    float slope;
    soma_error reason;
} soma_onnx_value;

typedef struct soma_onnx {
    Soma__Onnx__Model *model;
    const Soma__Onnx__Graph *graph;
    const soma_onnx_options *options;
    const char *path; /* of the file, NULL: there is none */
    int64_t opset;
    size_t budget; /* bytes that may still be allocated */
    struct soma_onnx_block *blocks;
    /* Values by name: open addressing, `slots` is a power of 2. */
    struct soma_onnx_slot *table;
    size_t slots, used;
    soma_onnx_value *input;
    int64_t fixed_batch;              /* the file's, 0: any */
    bool as_it_is;                    /* whoever reads it has no options */
    bool whole_input;                 /* its first dimension is no batch */
    bool byte_input;                  /* its type is UINT8 */
    const soma_onnx_value *labels;    /* of the classes: a constant, or */
    const soma_onnx_node *classifier; /* the node that has them */
} soma_onnx;

/* ---- onnx_file.c ---- */

soma_status soma_onnx_unpack(const void *data, size_t size,
                             Soma__Onnx__Model **model, soma_error *err);
void soma_onnx_release(Soma__Onnx__Model *model);
/* The bytes of a tensor whose data stand in a file beside; to be freed. */
soma_status soma_onnx_external(const soma_onnx *onnx,
                               const soma_onnx_tensor *tensor, size_t expected,
                               soma_bytes *bytes, soma_error *err);

/* ---- onnx_value.c: memory, names, values ---- */

/* Zeroed, of the arena; NULL and *err. */
void *soma_onnx_alloc(soma_onnx *onnx, size_t count, size_t size,
                      soma_error *err);
void soma_onnx_free(soma_onnx *onnx); /* all of the arena, and the table */
soma_status soma_onnx_name(soma_onnx *onnx, const char *name,
                           soma_onnx_value *value, soma_error *err);
soma_onnx_value *soma_onnx_find(const soma_onnx *onnx, const char *name);
/* A value of `node`, still without a kind. */
soma_onnx_value *soma_onnx_new(soma_onnx *onnx, const soma_onnx_node *node,
                               soma_onnx_kind kind, soma_error *err);
/* Data of the shape of `from`. */
soma_onnx_value *soma_onnx_derive(soma_onnx *onnx, const soma_onnx_node *node,
                                  soma_onnx_kind kind,
                                  const soma_onnx_value *from, soma_error *err);
/* A constant; just one of floats and whole is allocated, [size]. */
soma_onnx_value *soma_onnx_constant(soma_onnx *onnx, const soma_onnx_node *node,
                                    int rank, const int64_t *dims, bool whole,
                                    soma_error *err);
/* "node "name" (Type): ": what every refusal begins with. */
__attribute__((format(printf, 4, 5))) soma_status
soma_onnx_refuse(const soma_onnx_node *node, soma_error *err,
                 soma_status status, const char *format, ...);
/* Where there are no options (the file is served as it is), adds the command
 * that would have this one; returns err's status. */
soma_status soma_onnx_advise(const soma_onnx *onnx, const char *option,
                             soma_error *err);
/* The input of a node, NULL if it has none there. */
soma_onnx_value *soma_onnx_arg(const soma_onnx *onnx,
                               const soma_onnx_node *node, size_t i);
const soma_onnx_attribute *soma_onnx_attr(const soma_onnx_node *node,
                                          const char *name);
int64_t soma_onnx_attr_int(const soma_onnx_node *node, const char *name,
                           int64_t fallback);
float soma_onnx_attr_float(const soma_onnx_node *node, const char *name,
                           float fallback);
/* Whether `value` is data; and constant. */
static inline bool
soma_onnx_is_data(const soma_onnx_value *value)
{
    return value && value->kind != ONNX_CONSTANT && value->kind != ONNX_REFUSED;
}

/* ---- onnx_tensor.c ---- */

/* Makes a constant of a tensor, whose claims are checked; not yet decoded. */
soma_status soma_onnx_tensor_value(soma_onnx *onnx, const soma_onnx_node *node,
                                   const soma_onnx_tensor *tensor,
                                   soma_onnx_value **value, soma_error *err);
/* Sets floats or whole of a constant. SOMA_E_NOT_FINITE. */
soma_status soma_onnx_decode(soma_onnx *onnx, soma_onnx_value *value,
                             soma_error *err);
bool soma_onnx_is_float(int64_t type); /* of elements */
/* The same, and an error if it is none of floats (of integers). */
soma_status soma_onnx_floats(soma_onnx *onnx, const soma_onnx_node *node,
                             soma_onnx_value *value, soma_error *err);
soma_status soma_onnx_whole(soma_onnx *onnx, const soma_onnx_node *node,
                            soma_onnx_value *value, soma_error *err);

/* ---- Operators: each makes the value of its node's first output ---- */

typedef soma_status soma_onnx_operator(soma_onnx *onnx,
                                       const soma_onnx_node *node,
                                       soma_onnx_value **value,
                                       soma_error *err);

/* onnx_fold.c, onnx_move.c: of constants alone. Whether there is one of this
 * type, and the constant. */
bool soma_onnx_folds(const soma_onnx_node *node);
soma_onnx_operator soma_onnx_fold;
soma_onnx_operator soma_onnx_fold_reshape, soma_onnx_fold_gather,
    soma_onnx_fold_slice, soma_onnx_fold_concat, soma_onnx_fold_transpose;
/* onnx_shape.c: that only move data */
soma_onnx_operator soma_onnx_reshape, soma_onnx_flatten, soma_onnx_squeeze,
    soma_onnx_unsqueeze, soma_onnx_transpose, soma_onnx_shape,
    soma_onnx_identity, soma_onnx_cast, soma_onnx_dropout,
    soma_onnx_constant_node;
/* onnx_affine.c */
soma_onnx_operator soma_onnx_add, soma_onnx_sub, soma_onnx_mul, soma_onnx_div,
    soma_onnx_neg, soma_onnx_batch_norm, soma_onnx_scaler;
/* onnx_dense.c */
soma_onnx_operator soma_onnx_gemm, soma_onnx_matmul, soma_onnx_linear;
/* onnx_units.c: activations and the tails of classifiers */
soma_onnx_operator soma_onnx_relu, soma_onnx_sigmoid, soma_onnx_tanh,
    soma_onnx_leaky, soma_onnx_prelu, soma_onnx_clip, soma_onnx_max,
    soma_onnx_reduce_max, soma_onnx_unknown_units, soma_onnx_softmax,
    soma_onnx_concat, soma_onnx_label, soma_onnx_extractor, soma_onnx_zip_map,
    soma_onnx_normalizer;

/* onnx_shape.c: the axes of a node, from its attribute or, since opset 13 or
 * 18, input `at`; negative ones count from `rank`. *count is -1 if it has none.
 */
soma_status soma_onnx_axes(soma_onnx *onnx, const soma_onnx_node *node,
                           size_t at, int rank, int axes[ONNX_MAX_RANK],
                           int *count, soma_error *err);
/* dims of a value with 1s put in (taken out) at the axes. */
soma_status soma_onnx_put_ones(const soma_onnx_node *node, const int *axes,
                               int count, int64_t *dims, int *rank,
                               soma_error *err);
soma_status soma_onnx_drop_ones(const soma_onnx_node *node, const int *axes,
                                int count, int64_t *dims, int *rank,
                                soma_error *err);

/* onnx_affine.c: refuses a node that would compute with integers, which are cut
 * off where floats are not. */
soma_status soma_onnx_check_float(const soma_onnx_node *node,
                                  const soma_onnx_value *data, soma_error *err);
/* onnx_affine.c: c broadcast to the shape of data, as [size] doubles. */
soma_status soma_onnx_spread(soma_onnx *onnx, const soma_onnx_node *node,
                             soma_onnx_value *c, const soma_onnx_value *data,
                             double **values, soma_error *err);
/* scale * from + shift; either may be NULL: 1, 0. */
soma_status soma_onnx_make_affine(soma_onnx *onnx, const soma_onnx_node *node,
                                  const soma_onnx_value *from,
                                  const double *scale, const double *shift,
                                  soma_onnx_value **value, soma_error *err);
soma_status soma_onnx_activate(soma_onnx *onnx, const soma_onnx_node *node,
                               const soma_onnx_value *from, const char *name,
                               float slope, soma_onnx_value **value,
                               soma_error *err);

/* leaky_relu, or for slopes [size] that differ maxout. */
soma_status soma_onnx_slopes(soma_onnx *onnx, const soma_onnx_node *node,
                             const soma_onnx_value *from, const double *slopes,
                             soma_onnx_value **value, soma_error *err);
soma_status soma_onnx_refuse_activation(const soma_onnx_node *node,
                                        const char *what, soma_error *err);

/* ---- onnx_graph.c ---- */

/* Refuses the first node whose operator soma has nothing for, whatever it is
 * used for; SOMA_OK: there is none. */
soma_status soma_onnx_unknown(const soma_onnx *onnx, soma_error *err);

/* Makes a value of every node. */
soma_status soma_onnx_walk(soma_onnx *onnx, soma_error *err);

/* ---- onnx_input.c ---- */

soma_status soma_onnx_opsets(soma_onnx *onnx, soma_error *err);
soma_status soma_onnx_initializers(soma_onnx *onnx, soma_error *err);
/* Needs the initializers' names. */
soma_status soma_onnx_input(soma_onnx *onnx, soma_error *err);
/* After the walk; it is data. */
soma_status soma_onnx_output(const soma_onnx *onnx,
                             const soma_onnx_value **output, soma_error *err);

/* ---- onnx_layers.c ---- */

/* Layers as they will be in the model. */
typedef struct soma_onnx_layer {
    int in, out, pieces;
    const soma_activation *activation; /* NULL: nothing follows yet */
    float slope;
    float *weights; /* [out x in] */
    float *bias;    /* [out] */
} soma_onnx_layer;

typedef struct soma_onnx_net {
    int depth;
    soma_onnx_layer layers[SOMA_MAX_LAYERS];
    double *scale, *shift; /* of the input; NULL: none */
} soma_onnx_net;

/* The layers between the input and `scores`. The net is to be freed, also on
 * failure. A net whose first layer can take the input's scale and shift as
 * mean and std has them apart. */
soma_status soma_onnx_layers(soma_onnx *onnx, const soma_onnx_value *scores,
                             int normals, soma_onnx_net *net, soma_error *err);
void soma_onnx_net_free(soma_onnx_net *net);

#endif

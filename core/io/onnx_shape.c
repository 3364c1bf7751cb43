/* Operators that leave the values of data as they are, and only change their
 * shape or order. Flat, [784] and [1, 28, 28] are the same to a dense layer.
 */
#include "core/io/onnx_parts.h"

#include <string.h>

/* What the format calls the rank of data counts the batch, too. */
static int
outer_rank(const soma_onnx_value *value)
{
    return value->rank + value->batched;
}

static soma_status
mixes(const soma_onnx_node *node, soma_error *err)
{
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "it mixes the examples of a batch, or takes the "
                            "first dimension for something else: export the "
                            "model with a first dimension that is the batch");
}

static soma_status
reshaped(soma_onnx *onnx, const soma_onnx_node *node,
         const soma_onnx_value *from, int rank, const int64_t *dims,
         soma_onnx_value **made, soma_error *err)
{
    *made = soma_onnx_derive(onnx, node, ONNX_SAME, from, err);
    if (!*made)
        return err->status;
    (*made)->rank = rank;
    memcpy((*made)->dims, dims, (size_t)rank * sizeof *dims);
    return SOMA_OK;
}

/* ---- Reshape and Flatten ---- */

static bool
is_batch(const soma_onnx *onnx, const soma_onnx_node *node, int64_t dim)
{
    return dim == ONNX_BATCH || dim == -1 || dim == 1 ||
           (dim == 0 && !soma_onnx_attr_int(node, "allowzero", 0)) ||
           (dim > 0 && dim == onnx->fixed_batch);
}

soma_status
soma_onnx_reshape(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    soma_onnx_value *shape = soma_onnx_arg(onnx, node, 1);
    soma_status status = soma_onnx_whole(onnx, node, shape, err);
    if (status)
        return status;
    int batched = from->batched, rank = 0, free_axis = -1;
    int64_t dims[ONNX_MAX_RANK];
    size_t known = 1;
    if (shape->size < 1 || shape->size > ONNX_MAX_RANK)
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "a shape of 1 to 8 dimensions is expected");
    if (batched && !is_batch(onnx, node, shape->whole[0]))
        return mixes(node, err);
    bool taken = batched && shape->whole[0] == -1, good = true;
    for (size_t i = (size_t)batched; good && i < shape->size; i++) {
        int64_t dim = shape->whole[i];
        if (dim == 0 && !soma_onnx_attr_int(node, "allowzero", 0))
            dim = rank < from->rank ? from->dims[rank] : 0;
        if (dim == -1 && free_axis < 0 && !taken)
            free_axis = rank;
        else
            good =
                dim > 0 && !__builtin_mul_overflow(known, (size_t)dim, &known);
        dims[rank++] = dim;
    }
    if (!good)
        return mixes(node, err);
    if (free_axis >= 0) {
        dims[free_axis] = (int64_t)(from->size / known);
        known *= from->size / known;
    }
    return known == from->size
               ? reshaped(onnx, node, from, rank, dims, made, err)
               : mixes(node, err);
}

soma_status
soma_onnx_flatten(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    int64_t axis = soma_onnx_attr_int(node, "axis", 1), before = 1;
    if (axis < 0)
        axis += outer_rank(from);
    if (axis < 0 || axis > outer_rank(from) || (from->batched && axis == 0))
        return mixes(node, err);
    for (int i = 0; i < (int)axis - from->batched; i++)
        before *= from->dims[i];
    if (from->batched && before != 1)
        return mixes(node, err);
    int64_t dims[2] = {before, (int64_t)from->size / before};
    return from->batched ? reshaped(onnx, node, from, 1, dims + 1, made, err)
                         : reshaped(onnx, node, from, 2, dims, made, err);
}

/* ---- Axes ---- */

soma_status
soma_onnx_axes(soma_onnx *onnx, const soma_onnx_node *node, size_t at, int rank,
               int axes[ONNX_MAX_RANK], int *count, soma_error *err)
{
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, "axes");
    soma_onnx_value *value = soma_onnx_arg(onnx, node, at);
    const int64_t *given = attribute ? attribute->ints : NULL;
    size_t n = attribute ? attribute->n_ints : 0;
    *count = -1;
    if (value) {
        soma_status status = soma_onnx_whole(onnx, node, value, err);
        if (status)
            return status;
        given = value->whole;
        n = value->size;
    } else if (!attribute) {
        return SOMA_OK;
    }
    for (*count = 0; (size_t)*count < n; ++*count) {
        int64_t axis = given[*count];
        axis = axis < 0 ? axis + rank : axis;
        if (*count == ONNX_MAX_RANK || axis < 0 || axis >= rank)
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "an axis that its input does not have");
        axes[*count] = (int)axis;
    }
    return SOMA_OK;
}

static bool
among(const int *axes, int count, int axis)
{
    for (int i = 0; i < count; i++)
        if (axes[i] == axis)
            return true;
    return false;
}

soma_status
soma_onnx_put_ones(const soma_onnx_node *node, const int *axes, int count,
                   int64_t *dims, int *rank, soma_error *err)
{
    int64_t old[ONNX_MAX_RANK];
    int whole = *rank + count, from = 0;
    if (whole > ONNX_MAX_RANK)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "more than 8 dimensions");
    memcpy(old, dims, (size_t)*rank * sizeof *dims);
    for (int i = 0; i < whole; i++)
        dims[i] = among(axes, count, i) ? 1 : from < *rank ? old[from++] : 1;
    *rank = whole;
    return SOMA_OK;
}

soma_status
soma_onnx_drop_ones(const soma_onnx_node *node, const int *axes, int count,
                    int64_t *dims, int *rank, soma_error *err)
{
    int left = 0;
    for (int i = 0; i < *rank; i++) {
        bool drop = count < 0 ? dims[i] == 1 : among(axes, count, i);
        if (drop && dims[i] != 1)
            return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                    "an axis that is not 1 long is squeezed");
        if (!drop)
            dims[left++] = dims[i];
    }
    *rank = left;
    return SOMA_OK;
}

/* Squeeze and Unsqueeze, of constants as well. The batch stands before the
 * dims while axes are counted, with a length that is no 1. */
static soma_status
change_ones(soma_onnx *onnx, const soma_onnx_node *node, bool put,
            soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    int axes[ONNX_MAX_RANK], count, rank = outer_rank(from);
    int64_t dims[ONNX_MAX_RANK + 1] = {ONNX_BATCH};
    memcpy(dims + from->batched, from->dims, (size_t)from->rank * sizeof *dims);
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, "axes");
    const soma_onnx_value *input = soma_onnx_arg(onnx, node, 1);
    size_t more = attribute ? attribute->n_ints : input ? input->size : 0;
    if (more > ONNX_MAX_RANK || rank > ONNX_MAX_RANK)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "more than 8 dimensions");
    soma_status status = soma_onnx_axes(
        onnx, node, 1, put ? rank + (int)more : rank, axes, &count, err);
    if (!status && put)
        status = soma_onnx_put_ones(node, axes, count < 0 ? 0 : count, dims,
                                    &rank, err);
    else if (!status)
        status = soma_onnx_drop_ones(node, axes, count, dims, &rank, err);
    if (status)
        return status;
    if (from->batched && (rank == 0 || dims[0] != ONNX_BATCH))
        return mixes(node, err);
    status = reshaped(onnx, node, from, rank - from->batched,
                      dims + from->batched, made, err);
    if (!status && from->kind == ONNX_CONSTANT) {
        (*made)->kind = ONNX_CONSTANT;
        (*made)->tensor = from->tensor;
        (*made)->floats = from->floats;
        (*made)->whole = from->whole;
    }
    return status;
}

soma_status
soma_onnx_squeeze(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    return change_ones(onnx, node, false, made, err);
}

soma_status
soma_onnx_unsqueeze(soma_onnx *onnx, const soma_onnx_node *node,
                    soma_onnx_value **made, soma_error *err)
{
    return change_ones(onnx, node, true, made, err);
}

/* ---- Transpose ---- */

static void
fill_index(const soma_onnx_value *from, const int *perm, int *index)
{
    int64_t at[ONNX_MAX_RANK] = {0}, steps[ONNX_MAX_RANK] = {0};
    int64_t step = 1;
    for (int k = from->rank - 1; k >= 0; k--) {
        steps[k] = step;
        step *= from->dims[k];
    }
    for (size_t i = 0; i < from->size; i++) {
        int64_t place = 0;
        for (int k = 0; k < from->rank; k++)
            place += at[k] * steps[perm[k]];
        index[i] = (int)place;
        for (int k = from->rank - 1; k >= 0; k--) {
            if (++at[k] < from->dims[perm[k]])
                break;
            at[k] = 0;
        }
    }
}

soma_status
soma_onnx_transpose(soma_onnx *onnx, const soma_onnx_node *node,
                    soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, "perm");
    int rank = outer_rank(from), perm[ONNX_MAX_RANK] = {0}, seen = 0;
    if (attribute && (int)attribute->n_ints != rank)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "perm does not fit the input");
    for (int k = 0; k < rank; k++) {
        int64_t axis = attribute ? attribute->ints[k] : rank - 1 - k;
        if (axis < 0 || axis >= rank || seen & 1 << axis)
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "perm is no permutation");
        if (from->batched && (k == 0) != (axis == 0))
            return mixes(node, err);
        seen |= 1 << axis;
        if (k >= from->batched)
            perm[k - from->batched] = (int)axis - from->batched;
    }
    *made = soma_onnx_derive(onnx, node, ONNX_PERMUTED, from, err);
    int *index = soma_onnx_alloc(onnx, from->size, sizeof *index, err);
    if (!*made || !index)
        return err->status;
    fill_index(from, perm, index);
    for (int k = 0; k < from->rank; k++)
        (*made)->dims[k] = from->dims[perm[k]];
    (*made)->index = index;
    return SOMA_OK;
}

/* ---- Shape, Constant and the operators that do nothing ---- */

soma_status
soma_onnx_shape(soma_onnx *onnx, const soma_onnx_node *node,
                soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    int64_t rank = outer_rank(from), start, end;
    start = soma_onnx_attr_int(node, "start", 0);
    end = soma_onnx_attr_int(node, "end", rank);
    start = start < 0 ? (start < -rank ? 0 : start + rank) : start;
    end = end < 0 ? end + rank : end > rank ? rank : end;
    int64_t count = end > start ? end - start : 0;
    *made = soma_onnx_constant(onnx, node, 1, &count, true, err);
    if (!*made)
        return err->status;
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = start + i - from->batched;
        ((int64_t *)(*made)->whole)[i] =
            axis < 0 ? ONNX_BATCH : from->dims[axis];
    }
    return SOMA_OK;
}

soma_status
soma_onnx_identity(soma_onnx *onnx, const soma_onnx_node *node,
                   soma_onnx_value **made, soma_error *err)
{
    (void)err;
    *made = soma_onnx_arg(onnx, node, 0);
    return SOMA_OK;
}

static soma_status
cast_constant(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value *from, bool to_float, soma_onnx_value **made,
              soma_error *err)
{
    soma_status status = soma_onnx_decode(onnx, from, err);
    *made = from;
    if (status || to_float == (from->floats != NULL))
        return status;
    *made =
        soma_onnx_constant(onnx, node, from->rank, from->dims, !to_float, err);
    if (!*made)
        return err->status;
    for (size_t i = 0; i < from->size; i++) {
        if (to_float && from->whole[i] == ONNX_BATCH)
            return mixes(node, err);
        if (to_float) {
            ((float *)(*made)->floats)[i] = (float)from->whole[i];
            continue;
        }
        if (!(from->floats[i] > -1e15f && from->floats[i] < 1e15f))
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "a number too large for an integer");
        ((int64_t *)(*made)->whole)[i] = (int64_t)from->floats[i];
    }
    return SOMA_OK;
}

soma_status
soma_onnx_cast(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    bool to_float = soma_onnx_is_float(soma_onnx_attr_int(node, "to", 0));
    if (from->kind == ONNX_CONSTANT)
        return cast_constant(onnx, node, from, to_float, made, err);
    if (!to_float && !from->is_whole)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it rounds values to integers, which no "
                                "activation of soma does: train a network "
                                "without");
    *made = soma_onnx_derive(onnx, node, ONNX_SAME, from, err);
    if (*made)
        (*made)->is_whole = !to_float;
    return *made ? SOMA_OK : err->status;
}

/* At inference nothing is dropped; since opset 12 a file can say that it is
 * to be trained. */
soma_status
soma_onnx_dropout(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    soma_onnx_value *training = soma_onnx_arg(onnx, node, 2);
    *made = soma_onnx_arg(onnx, node, 0);
    if (!training)
        return SOMA_OK;
    soma_status status = soma_onnx_whole(onnx, node, training, err);
    if (!status && (training->size != 1 || training->whole[0]))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "the model was exported for training: export "
                                "it for inference (model.eval())");
    return status;
}

soma_status
soma_onnx_constant_node(soma_onnx *onnx, const soma_onnx_node *node,
                        soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_attribute *tensor = soma_onnx_attr(node, "value");
    if (tensor && tensor->t)
        return soma_onnx_tensor_value(onnx, node, tensor->t, made, err);
    for (size_t i = 0; i < node->n_attribute; i++) {
        const soma_onnx_attribute *a = node->attribute[i];
        const char *name = a->name ? a->name : "";
        bool whole = !strncmp(name, "value_int", 9);
        bool list =
            !strcmp(name, "value_ints") || !strcmp(name, "value_floats");
        if (!list && strcmp(name, "value_int") && strcmp(name, "value_float"))
            continue;
        int64_t count = !list ? 1 : (int64_t)(whole ? a->n_ints : a->n_floats);
        *made = soma_onnx_constant(onnx, node, list, &count, whole, err);
        if (!*made)
            return err->status;
        size_t size = (size_t)count;
        if (size == 0) /* then there is no list */
            return SOMA_OK;
        if (whole)
            memcpy((void *)(*made)->whole, list ? a->ints : &a->i,
                   size * sizeof *a->ints);
        else
            memcpy((void *)(*made)->floats, list ? a->floats : &a->f,
                   size * sizeof *a->floats);
        return SOMA_OK;
    }
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "a constant without numbers");
}

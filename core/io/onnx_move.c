/* Operators that move the elements of constants, as exporters need them for
 * shapes and for weights.
 */
#include "core/io/onnx_parts.h"

#include <string.h>

static soma_status
operand(soma_onnx *onnx, const soma_onnx_node *node, size_t i,
        soma_onnx_value **value, soma_error *err)
{
    *value = soma_onnx_arg(onnx, node, i);
    if (!*value)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "an input is missing");
    return soma_onnx_decode(onnx, *value, err);
}

/* Element `from` of one constant to element `to` of another of its type. */
static void
copy(soma_onnx_value *target, size_t to, const soma_onnx_value *source,
     size_t from)
{
    if (target->whole)
        ((int64_t *)target->whole)[to] = source->whole[from];
    else
        ((float *)target->floats)[to] = source->floats[from];
}

static bool
normalise_axis(int64_t *axis, int rank)
{
    if (*axis < 0)
        *axis += rank;
    return *axis >= 0 && *axis < rank;
}

static soma_status
refuse_axis(const soma_onnx_node *node, soma_error *err)
{
    return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                            "an axis that its input does not have");
}

soma_status
soma_onnx_fold_reshape(soma_onnx *onnx, const soma_onnx_node *node,
                       soma_onnx_value **made, soma_error *err)
{
    soma_onnx_value *from = soma_onnx_arg(onnx, node, 0), *shape;
    soma_status status = operand(onnx, node, 1, &shape, err);
    if (!status)
        status = soma_onnx_whole(onnx, node, shape, err);
    if (status)
        return status;
    int64_t dims[ONNX_MAX_RANK];
    size_t known = 1;
    int free_axis = -1;
    bool good = from && shape->size <= ONNX_MAX_RANK;
    for (size_t i = 0; good && i < shape->size; i++) {
        int64_t dim = shape->whole[i];
        if (dim == 0 && !soma_onnx_attr_int(node, "allowzero", 0))
            dim = (int)i < from->rank ? from->dims[i] : -2;
        if (dim == -1 && free_axis < 0)
            free_axis = (int)i;
        else
            good =
                dim >= 0 && !__builtin_mul_overflow(known, (size_t)dim, &known);
        dims[i] = dim;
    }
    if (good && free_axis >= 0) {
        good = known > 0 && from->size % known == 0;
        dims[free_axis] = good ? (int64_t)(from->size / known) : 0;
        known = from->size;
    }
    if (!good || known != from->size)
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "the constant does not fit the shape");
    *made = soma_onnx_new(onnx, node, ONNX_CONSTANT, err);
    if (!*made)
        return err->status;
    **made = *from;
    (*made)->rank = (int)shape->size;
    memcpy((*made)->dims, dims, shape->size * sizeof *dims);
    return SOMA_OK;
}

soma_status
soma_onnx_fold_gather(soma_onnx *onnx, const soma_onnx_node *node,
                      soma_onnx_value **made, soma_error *err)
{
    soma_onnx_value *from, *index;
    int64_t axis = soma_onnx_attr_int(node, "axis", 0);
    soma_status status = operand(onnx, node, 0, &from, err);
    if (!status)
        status = operand(onnx, node, 1, &index, err);
    if (!status)
        status = soma_onnx_whole(onnx, node, index, err);
    if (status)
        return status;
    if (!normalise_axis(&axis, from->rank) ||
        from->rank + index->rank > ONNX_MAX_RANK)
        return refuse_axis(node, err);
    int64_t dims[2 * ONNX_MAX_RANK], inner = 1;
    int rank = 0, at = (int)axis;
    for (int i = 0; i < at; i++)
        dims[rank++] = from->dims[i];
    for (int i = 0; i < index->rank; i++)
        dims[rank++] = index->dims[i];
    for (int i = at + 1; i < from->rank; i++) {
        dims[rank++] = from->dims[i];
        inner *= from->dims[i];
    }
    *made =
        soma_onnx_constant(onnx, node, rank, dims, from->whole != NULL, err);
    if (!*made)
        return err->status;
    size_t width = (size_t)inner, along = (size_t)from->dims[at];
    for (size_t i = 0; i < (*made)->size; i++) {
        size_t outer = i / width / index->size;
        int64_t k = index->whole[i / width % index->size];
        k = k < 0 ? k + from->dims[at] : k;
        if (k < 0 || k >= from->dims[at])
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "an index that its input does not have");
        copy(*made, i, from, (outer * along + (size_t)k) * width + i % width);
    }
    return SOMA_OK;
}

/* One integer of an input, or of an attribute (before opset 10). */
static soma_status
slice_bound(soma_onnx *onnx, const soma_onnx_node *node, size_t i,
            const char *name, int64_t fallback, int64_t *bound, soma_error *err)
{
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, name);
    soma_onnx_value *value = soma_onnx_arg(onnx, node, i);
    *bound = fallback;
    if (attribute && attribute->n_ints == 1)
        *bound = attribute->ints[0];
    if (!value)
        return SOMA_OK;
    soma_status status = soma_onnx_whole(onnx, node, value, err);
    if (!status && value->size != 1)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "constants are sliced along one axis only");
    if (!status)
        *bound = value->whole[0];
    return status;
}

static int64_t
clamp(int64_t value, int64_t size)
{
    if (value < 0)
        value = value < -size ? 0 : value + size;
    return value > size ? size : value;
}

soma_status
soma_onnx_fold_slice(soma_onnx *onnx, const soma_onnx_node *node,
                     soma_onnx_value **made, soma_error *err)
{
    soma_onnx_value *from;
    int64_t start, end, axis, step;
    soma_status status = operand(onnx, node, 0, &from, err);
    if (!status)
        status = slice_bound(onnx, node, 1, "starts", 0, &start, err);
    if (!status)
        status = slice_bound(onnx, node, 2, "ends", INT64_MAX, &end, err);
    if (!status)
        status = slice_bound(onnx, node, 3, "axes", 0, &axis, err);
    if (!status)
        status = slice_bound(onnx, node, 4, "steps", 1, &step, err);
    if (status)
        return status;
    if (from->rank != 1 || step != 1 || (axis != 0 && axis != -1))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "only one-dimensional constants are sliced, "
                                "and in steps of 1");
    start = clamp(start, from->dims[0]);
    end = clamp(end, from->dims[0]);
    int64_t count = end > start ? end - start : 0;
    *made = soma_onnx_constant(onnx, node, 1, &count, from->whole != NULL, err);
    if (!*made)
        return err->status;
    for (int64_t i = 0; i < count; i++)
        copy(*made, (size_t)i, from, (size_t)(start + i));
    return SOMA_OK;
}

soma_status
soma_onnx_fold_concat(soma_onnx *onnx, const soma_onnx_node *node,
                      soma_onnx_value **made, soma_error *err)
{
    int64_t total = 0;
    bool whole = false;
    soma_onnx_value *from;
    for (size_t i = 0; i < node->n_input; i++) {
        soma_status status = operand(onnx, node, i, &from, err);
        if (status)
            return status;
        if (from->rank != 1 || (i && whole != (from->whole != NULL)))
            return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                    "only one-dimensional constants of one "
                                    "type are joined");
        whole = from->whole != NULL;
        total += from->dims[0];
    }
    *made = soma_onnx_constant(onnx, node, 1, &total, whole, err);
    if (!*made)
        return err->status;
    size_t at = 0;
    for (size_t i = 0; i < node->n_input; i++) {
        from = soma_onnx_arg(onnx, node, i);
        for (size_t k = 0; k < from->size; k++)
            copy(*made, at++, from, k);
    }
    return SOMA_OK;
}

soma_status
soma_onnx_fold_transpose(soma_onnx *onnx, const soma_onnx_node *node,
                         soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_attribute *perm = soma_onnx_attr(node, "perm");
    soma_onnx_value *from;
    soma_status status = operand(onnx, node, 0, &from, err);
    if (status)
        return status;
    if (from->rank != 2 ||
        (perm && (perm->n_ints != 2 || perm->ints[0] + perm->ints[1] != 1 ||
                  perm->ints[0] < 0 || perm->ints[0] > 1)))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "only constant matrices are transposed");
    bool turn = !perm || perm->ints[0] == 1;
    size_t rows = (size_t)from->dims[0], columns = (size_t)from->dims[1];
    int64_t dims[2] = {from->dims[turn ? 1 : 0], from->dims[turn ? 0 : 1]};
    *made = soma_onnx_constant(onnx, node, 2, dims, from->whole != NULL, err);
    if (!*made)
        return err->status;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            copy(*made, turn ? c * rows + r : r * columns + c, from,
                 r * columns + c);
    return SOMA_OK;
}

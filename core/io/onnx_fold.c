/* What can be computed of constants alone: element by element, and on the way
 * to a shape that Reshape wants. ONNX Runtime folds them too, when it loads.
 */
#include "core/io/onnx_parts.h"

#include <math.h>
#include <string.h>

typedef struct folded {
    const char *type;
    int inputs; /* 1 or 2: element by element; 0: operate */
    double (*floats)(double a, double b);
    bool (*whole)(int64_t a, int64_t b, int64_t *result);
    soma_onnx_operator *operate;
} folded;

static double
float_add(double a, double b)
{
    return a + b;
}

static double
float_sub(double a, double b)
{
    return a - b;
}

static double
float_mul(double a, double b)
{
    return a * b;
}

static double
float_div(double a, double b)
{
    return a / b;
}

static double
float_neg(double a, double b)
{
    (void)b;
    return -a;
}

static double
float_sqrt(double a, double b)
{
    (void)b;
    return sqrt(a);
}

static double
float_inverse(double a, double b)
{
    (void)b;
    return 1 / a;
}

static double
float_exp(double a, double b)
{
    (void)b;
    return exp(a);
}

static double
float_log(double a, double b)
{
    (void)b;
    return log(a);
}

static double
float_abs(double a, double b)
{
    (void)b;
    return fabs(a);
}

static bool
whole_add(int64_t a, int64_t b, int64_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

static bool
whole_sub(int64_t a, int64_t b, int64_t *result)
{
    return !__builtin_sub_overflow(a, b, result);
}

static bool
whole_mul(int64_t a, int64_t b, int64_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}

static bool
divides(int64_t a, int64_t b)
{
    return b != 0 && !(a == INT64_MIN && b == -1);
}

static bool
whole_div(int64_t a, int64_t b, int64_t *result)
{
    *result = divides(a, b) ? a / b : 0;
    return divides(a, b);
}

/* With the sign of the divisor, as numpy and fmod=0. */
static bool
whole_mod(int64_t a, int64_t b, int64_t *result)
{
    if (!divides(a, b))
        return false;
    *result = a % b;
    if (*result && (*result < 0) != (b < 0))
        *result += b;
    return true;
}

static bool
whole_neg(int64_t a, int64_t b, int64_t *result)
{
    (void)b;
    return !__builtin_sub_overflow(0, a, result);
}

static const folded table[] = {
    {"Add", 2, float_add, whole_add, NULL},
    {"Sub", 2, float_sub, whole_sub, NULL},
    {"Mul", 2, float_mul, whole_mul, NULL},
    {"Div", 2, float_div, whole_div, NULL},
    {"Pow", 2, pow, NULL, NULL},
    {"Mod", 2, NULL, whole_mod, NULL},
    {"Neg", 1, float_neg, whole_neg, NULL},
    {"Sqrt", 1, float_sqrt, NULL, NULL},
    {"Reciprocal", 1, float_inverse, NULL, NULL},
    {"Exp", 1, float_exp, NULL, NULL},
    {"Log", 1, float_log, NULL, NULL},
    {"Abs", 1, float_abs, NULL, NULL},
    {"Reshape", 0, NULL, NULL, soma_onnx_fold_reshape},
    {"Gather", 0, NULL, NULL, soma_onnx_fold_gather},
    {"Slice", 0, NULL, NULL, soma_onnx_fold_slice},
    {"Concat", 0, NULL, NULL, soma_onnx_fold_concat},
    {"Transpose", 0, NULL, NULL, soma_onnx_fold_transpose},
};

static const folded *
find(const soma_onnx_node *node)
{
    if (!node->op_type ||
        (node->domain && *node->domain && strcmp(node->domain, "ai.onnx") != 0))
        return NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(node->op_type, table[i].type))
            return &table[i];
    return NULL;
}

bool
soma_onnx_folds(const soma_onnx_node *node)
{
    return find(node) != NULL;
}

/* ---- Element by element, with numpy's broadcasting ---- */

/* A walk over the elements of `shape` in order, with the place of each in an
 * operand that is broadcast to it. */
typedef struct walk {
    int rank;
    int64_t dims[ONNX_MAX_RANK], at[ONNX_MAX_RANK];
    size_t steps[2][ONNX_MAX_RANK], place[2];
} walk;

static bool
start(walk *w, const soma_onnx_value *const operands[2], int count)
{
    w->rank = 0;
    for (int i = 0; i < count; i++)
        w->rank = operands[i]->rank > w->rank ? operands[i]->rank : w->rank;
    for (int k = 0; k < w->rank; k++)
        w->dims[k] = 1;
    for (int i = 0; i < count; i++) {
        const soma_onnx_value *o = operands[i];
        size_t step = 1;
        for (int k = o->rank - 1; k >= 0; k--) {
            int at = k + w->rank - o->rank;
            int64_t dim = o->dims[k];
            if (dim != 1 && w->dims[at] != 1 && w->dims[at] != dim)
                return false;
            if (dim != 1)
                w->dims[at] = dim;
            w->steps[i][at] = dim == 1 ? 0 : step;
            step *= (size_t)dim;
        }
    }
    return true;
}

static void
advance(walk *w)
{
    for (int k = w->rank - 1; k >= 0; k--) {
        w->place[0] += w->steps[0][k];
        w->place[1] += w->steps[1][k];
        if (++w->at[k] < w->dims[k])
            return;
        w->place[0] -= w->steps[0][k] * (size_t)w->dims[k];
        w->place[1] -= w->steps[1][k] * (size_t)w->dims[k];
        w->at[k] = 0;
    }
}

static soma_status
fold_floats(const folded *row, const soma_onnx_node *node, walk *w,
            const soma_onnx_value *const operands[2], soma_onnx_value *value,
            soma_error *err)
{
    float *to = (float *)value->floats;
    const float *a = operands[0]->floats, *b = operands[1]->floats;
    for (size_t i = 0; i < value->size; i++, advance(w)) {
        to[i] =
            (float)row->floats((double)a[w->place[0]], (double)b[w->place[1]]);
        if (!isfinite(to[i]))
            return soma_onnx_refuse(node, err, SOMA_E_NOT_FINITE,
                                    "of its constants comes no finite number");
    }
    return SOMA_OK;
}

static soma_status
fold_whole(const folded *row, const soma_onnx_node *node, walk *w,
           const soma_onnx_value *const operands[2], soma_onnx_value *value,
           soma_error *err)
{
    int64_t *to = (int64_t *)value->whole;
    for (size_t i = 0; i < value->size; i++, advance(w)) {
        int64_t a = operands[0]->whole[w->place[0]];
        int64_t b = operands[1]->whole[w->place[1]];
        if (a == ONNX_BATCH || (row->inputs == 2 && b == ONNX_BATCH) ||
            !row->whole(a, b, &to[i]))
            return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                    "it computes with the size of the batch, "
                                    "or beyond 64 bits");
    }
    return SOMA_OK;
}

static soma_status
fold_elements(soma_onnx *onnx, const folded *row, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *operands[2] = {NULL, NULL};
    for (int i = 0; i < row->inputs; i++) {
        soma_onnx_value *operand = soma_onnx_arg(onnx, node, (size_t)i);
        if (!operand)
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "an input is missing");
        soma_status status = soma_onnx_decode(onnx, operand, err);
        if (status)
            return status;
        operands[i] = operand;
    }
    if (row->inputs == 1)
        operands[1] = operands[0];
    bool whole = operands[0]->whole != NULL;
    if (whole != (operands[1]->whole != NULL) ||
        !(whole ? (void *)row->whole : (void *)row->floats))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "not for constants of these types");
    walk w = {0};
    if (!start(&w, operands, row->inputs))
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "the shapes of its constants do not fit");
    *made = soma_onnx_constant(onnx, node, w.rank, w.dims, whole, err);
    if (!*made)
        return err->status;
    return whole ? fold_whole(row, node, &w, operands, *made, err)
                 : fold_floats(row, node, &w, operands, *made, err);
}

soma_status
soma_onnx_fold(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    const folded *row = find(node);
    return row->operate ? row->operate(onnx, node, made, err)
                        : fold_elements(onnx, row, node, made, err);
}

/* The input of an ONNX graph, and its wanted output. */
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"

#include <stdlib.h>
#include <string.h>

soma_status
soma_onnx_opsets(soma_onnx *onnx, soma_error *err)
{
    const Soma__Onnx__Model *model = onnx->model;
    onnx->opset = 1;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Soma__Onnx__OperatorSet *set = model->opset_import[i];
        if (!set->domain || !*set->domain || !strcmp(set->domain, "ai.onnx"))
            onnx->opset = set->version;
    }
    /* Before 7, shapes were broadcast by other rules. */
    if (onnx->opset < 7)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "opset %lld, 7 or later is read: export the "
                              "model again, or convert it with "
                              "onnx.version_converter",
                              (long long)onnx->opset);
    return SOMA_OK;
}

soma_status
soma_onnx_initializers(soma_onnx *onnx, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (size_t i = 0; i < onnx->graph->n_initializer && !status; i++) {
        const soma_onnx_tensor *tensor = onnx->graph->initializer[i];
        soma_onnx_value *value;
        status = soma_onnx_tensor_value(onnx, NULL, tensor, &value, err);
        if (!status)
            status = soma_onnx_name(onnx, tensor->name, value, err);
    }
    return status;
}

/* ---- The input ---- */

/* Before IR version 4, initializers are inputs as well. */
static soma_status
find_input(soma_onnx *onnx, const Soma__Onnx__ValueInfo **found,
           soma_error *err)
{
    char first[SOMA_QUOTE_SIZE], second[SOMA_QUOTE_SIZE];
    *found = NULL;
    for (size_t i = 0; i < onnx->graph->n_input; i++) {
        const Soma__Onnx__ValueInfo *input = onnx->graph->input[i];
        if (!input->name || soma_onnx_find(onnx, input->name))
            continue;
        if (*found)
            return soma_error_set(err, SOMA_E_UNSUPPORTED,
                                  "two inputs, \"%s\" and \"%s\": a model of "
                                  "soma has one; join them before the request, "
                                  "and export it so",
                                  soma_quote((*found)->name, first),
                                  soma_quote(input->name, second));
        *found = input;
    }
    return *found ? SOMA_OK
                  : soma_error_set(err, SOMA_E_UNSUPPORTED,
                                   "the graph has no input");
}

/* How many features the first layer wants: for a file that does not fix it. */
static int64_t
features_of(const soma_onnx *onnx)
{
    for (size_t i = 0; i < onnx->graph->n_node; i++) {
        const soma_onnx_node *node = onnx->graph->node[i];
        const char *type = node->op_type ? node->op_type : "";
        const soma_onnx_value *weights = soma_onnx_arg(onnx, node, 1);
        bool gemm = !strcmp(type, "Gemm");
        if ((gemm || !strcmp(type, "MatMul")) && weights && weights->rank == 2)
            return weights
                ->dims[gemm && soma_onnx_attr_int(node, "transB", 0) ? 1 : 0];
        const soma_onnx_attribute *scale = soma_onnx_attr(node, "scale");
        if (!strcmp(type, "Scaler") && scale && scale->n_floats > 1)
            return (int64_t)scale->n_floats;
        const soma_onnx_attribute *all = soma_onnx_attr(node, "coefficients");
        const soma_onnx_attribute *each = soma_onnx_attr(node, "intercepts");
        if (!strcmp(type, "LinearClassifier") && all && each && each->n_floats)
            return (int64_t)(all->n_floats / each->n_floats);
    }
    return 0;
}

static int64_t
dim_of(const Soma__Onnx__Shape *shape, size_t i)
{
    const Soma__Onnx__Dimension *dim = shape->dim[i];
    return dim->has_dim_value ? dim->dim_value : 0;
}

static soma_status
set_dims(soma_onnx *onnx, const Soma__Onnx__Shape *shape, soma_error *err)
{
    soma_onnx_value *input = onnx->input;
    size_t rank = shape ? shape->n_dim : 0;
    if (rank > ONNX_MAX_RANK)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "the input has more than 8 dimensions");
    input->batched = rank == 0 || (rank > 1 && !onnx->whole_input);
    onnx->fixed_batch = input->batched && rank ? dim_of(shape, 0) : 0;
    if (rank == 0)
        input->dims[input->rank++] = 0;
    for (size_t i = input->batched; i < rank; i++)
        input->dims[input->rank++] = dim_of(shape, i);
    for (int i = 0; i < input->rank; i++) {
        if (input->dims[i] <= 0 && input->rank == 1)
            input->dims[i] = features_of(onnx);
        if (input->dims[i] <= 0)
            return soma_error_set(err, SOMA_E_UNSUPPORTED,
                                  "the input's dimension %zu has no fixed "
                                  "size: export the model with one (only the "
                                  "first, the batch, may be dynamic)",
                                  (size_t)i + input->batched);
        if (__builtin_mul_overflow(input->size, (size_t)input->dims[i],
                                   &input->size) ||
            input->size > SOMA_MAX_UNITS)
            return soma_error_set(err, SOMA_E_LIMIT,
                                  "an input of more than %d values",
                                  SOMA_MAX_UNITS);
    }
    return SOMA_OK;
}

static soma_status
turn_to_planes(soma_onnx *onnx, soma_onnx_value **data, soma_error *err)
{
    soma_onnx_value *input = onnx->input, *turned;
    if (input->rank != 3)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "planes: the input is expected to be [height, "
                              "width, channels]");
    size_t channels = (size_t)input->dims[2];
    size_t area = input->size / channels;
    turned = soma_onnx_derive(onnx, NULL, ONNX_PERMUTED, input, err);
    int *index = soma_onnx_alloc(onnx, input->size, sizeof *index, err);
    if (!turned || !index)
        return err->status;
    for (size_t i = 0; i < input->size; i++)
        index[i] = (int)(i % channels * area + i / channels);
    turned->index = index;
    int64_t dims[3] = {input->dims[2], input->dims[0], input->dims[1]};
    memcpy(input->dims, dims, sizeof dims);
    *data = turned;
    return SOMA_OK;
}

static soma_status
scale_input(soma_onnx *onnx, soma_onnx_value **data, soma_error *err)
{
    size_t size = onnx->input->size;
    double *scale = soma_onnx_alloc(onnx, size, sizeof *scale, err);
    if (!scale)
        return err->status;
    for (size_t i = 0; i < size; i++)
        scale[i] = 1 / onnx->options->scale;
    return soma_onnx_make_affine(onnx, NULL, *data, scale, NULL, data, err);
}

soma_status
soma_onnx_input(soma_onnx *onnx, soma_error *err)
{
    const Soma__Onnx__ValueInfo *info;
    soma_status status = find_input(onnx, &info, err);
    if (status)
        return status;
    const Soma__Onnx__TensorType *type =
        info->type ? info->type->tensor_type : NULL;
    onnx->input = soma_onnx_new(onnx, NULL, ONNX_INPUT, err);
    if (!onnx->input)
        return err->status;
    status = set_dims(onnx, type ? type->shape : NULL, err);
    int32_t element =
        type && type->has_elem_type ? type->elem_type : ONNX_FLOAT;
    onnx->byte_input = element == ONNX_UINT8;
    onnx->input->is_whole = element >= ONNX_UINT8 && element <= ONNX_INT64;
    if (!status && element == ONNX_STRING)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "the input is text; soma's are numbers: encode "
                              "it before the request, and export it so");
    soma_onnx_value *data = onnx->input;
    if (!status && onnx->options->planes)
        status = turn_to_planes(onnx, &data, err);
    double scale = onnx->options->scale;
    if (!status && scale != 0 && scale != 1)
        status = scale_input(onnx, &data, err);
    return status ? status : soma_onnx_name(onnx, info->name, data, err);
}

/* ---- The output ---- */

static soma_status
output_named(const soma_onnx *onnx, const char *name,
             const soma_onnx_value **output, soma_error *err)
{
    char text[SOMA_QUOTE_SIZE];
    *output = soma_onnx_find(onnx, name);
    if (!*output)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "there is no value \"%s\" in the graph",
                              soma_quote(name, text));
    return SOMA_OK;
}

/* The one output that is neither a label nor refused; failing that, the first
 * that is not a label, with its reason; failing that, what a label is made
 * of. */
static soma_status
choose_output(const soma_onnx *onnx, const soma_onnx_value **output,
              soma_error *err)
{
    const soma_onnx_value *other = NULL, *label = NULL, *data = NULL;
    const char *name = NULL;
    char first[SOMA_QUOTE_SIZE], second[SOMA_QUOTE_SIZE];
    for (size_t i = 0; i < onnx->graph->n_output; i++) {
        const char *called = onnx->graph->output[i]->name;
        const soma_onnx_value *value =
            called ? soma_onnx_find(onnx, called) : NULL;
        bool is_data = soma_onnx_is_data(value);
        if (is_data && value->kind == ONNX_LABEL) {
            label = value->from;
        } else if (is_data && data && data != value) {
            soma_error_set(err, SOMA_E_UNSUPPORTED,
                           "several outputs, \"%s\" and \"%s\": say which with "
                           "--output NAME",
                           soma_quote(name, first), soma_quote(called, second));
            return soma_onnx_advise(onnx, "--output NAME", err);
        } else if (is_data) {
            data = value;
            name = called;
        } else if (!other) {
            other = value;
        }
    }
    *output = data ? data : other ? other : label;
    return *output ? SOMA_OK
                   : soma_error_set(err, SOMA_E_UNSUPPORTED,
                                    "the graph has no output that depends on "
                                    "its input");
}

soma_status
soma_onnx_output(const soma_onnx *onnx, const soma_onnx_value **output,
                 soma_error *err)
{
    const char *wanted = onnx->options->output;
    soma_status status = wanted ? output_named(onnx, wanted, output, err)
                                : choose_output(onnx, output, err);
    if (status)
        return status;
    if ((*output)->kind == ONNX_REFUSED) {
        *err = (*output)->reason;
        return err->status;
    }
    if (!soma_onnx_is_data(*output))
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "the output does not depend on the input");
    return SOMA_OK;
}

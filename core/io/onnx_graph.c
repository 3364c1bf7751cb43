/* From nodes to values. ONNX demands that nodes stand in the order in which
 * they can be computed, so one walk is enough.
 */
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"

#include <string.h>

/* of_constants: it takes those as well. */
static const struct {
    bool ml; /* of the domain ai.onnx.ml */
    const char *type;
    soma_onnx_operator *make;
    bool of_constants;
} operators[] = {
    {false, "Gemm", soma_onnx_gemm, false},
    {false, "MatMul", soma_onnx_matmul, false},
    {false, "Add", soma_onnx_add, true},
    {false, "Sub", soma_onnx_sub, true},
    {false, "Mul", soma_onnx_mul, true},
    {false, "Div", soma_onnx_div, true},
    {false, "Neg", soma_onnx_neg, false},
    {false, "BatchNormalization", soma_onnx_batch_norm, false},
    {false, "Relu", soma_onnx_relu, false},
    {false, "Sigmoid", soma_onnx_sigmoid, false},
    {false, "Tanh", soma_onnx_tanh, false},
    {false, "LeakyRelu", soma_onnx_leaky, false},
    {false, "PRelu", soma_onnx_prelu, false},
    {false, "Clip", soma_onnx_clip, false},
    {false, "Max", soma_onnx_max, true},
    {false, "ReduceMax", soma_onnx_reduce_max, false},
    {false, "Elu", soma_onnx_unknown_units, false},
    {false, "Celu", soma_onnx_unknown_units, false},
    {false, "Selu", soma_onnx_unknown_units, false},
    {false, "Gelu", soma_onnx_unknown_units, false},
    {false, "Swish", soma_onnx_unknown_units, false},
    {false, "Mish", soma_onnx_unknown_units, false},
    {false, "Softplus", soma_onnx_unknown_units, false},
    {false, "Softsign", soma_onnx_unknown_units, false},
    {false, "HardSigmoid", soma_onnx_unknown_units, false},
    {false, "HardSwish", soma_onnx_unknown_units, false},
    {false, "ThresholdedRelu", soma_onnx_unknown_units, false},
    {false, "Softmax", soma_onnx_softmax, false},
    {false, "LogSoftmax", soma_onnx_softmax, false},
    {false, "Identity", soma_onnx_identity, true},
    {false, "Cast", soma_onnx_cast, true},
    {false, "Dropout", soma_onnx_dropout, true},
    {false, "Constant", soma_onnx_constant_node, true},
    {false, "Shape", soma_onnx_shape, true},
    {false, "Reshape", soma_onnx_reshape, false},
    {false, "Flatten", soma_onnx_flatten, false},
    {false, "Squeeze", soma_onnx_squeeze, true},
    {false, "Unsqueeze", soma_onnx_unsqueeze, true},
    {false, "Transpose", soma_onnx_transpose, false},
    {false, "Concat", soma_onnx_concat, true},
    {false, "ArgMax", soma_onnx_label, false},
    {true, "Scaler", soma_onnx_scaler, false},
    {true, "LinearClassifier", soma_onnx_linear, false},
    {true, "Binarizer", soma_onnx_label, false},
    {true, "ArrayFeatureExtractor", soma_onnx_extractor, true},
    {true, "ZipMap", soma_onnx_zip_map, false},
    {true, "Normalizer", soma_onnx_normalizer, false},
};

static int
find_operator(const soma_onnx_node *node)
{
    const char *domain = node->domain ? node->domain : "";
    bool ml = !strcmp(domain, "ai.onnx.ml");
    if (!node->op_type || (!ml && *domain && strcmp(domain, "ai.onnx") != 0))
        return -1;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].ml == ml && !strcmp(operators[i].type, node->op_type))
            return (int)i;
    return -1;
}

typedef struct inputs {
    bool missing, all_constant;
    soma_onnx_value *refused, *label; /* the first such, NULL: none */
} inputs;

static inputs
look_at(const soma_onnx *onnx, const soma_onnx_node *node)
{
    inputs in = {.all_constant = node->n_input > 0};
    for (size_t i = 0; i < node->n_input; i++) {
        if (!*node->input[i])
            continue;
        soma_onnx_value *value = soma_onnx_find(onnx, node->input[i]);
        in.missing = in.missing || !value;
        in.all_constant =
            in.all_constant && value && value->kind == ONNX_CONSTANT;
        if (value && value->kind == ONNX_REFUSED && !in.refused)
            in.refused = value;
        if (value && value->kind == ONNX_LABEL && !in.label)
            in.label = value;
    }
    return in;
}

/* What helps, for the first of these rows whose text is in the operator's
 * name. */
static const struct {
    const char *part, *advice;
} advices[] = {
    {"uantize", "the model is quantized: export the one in float32"},
    {"Integer", "the model is quantized: export the one in float32"},
    {"QLinear", "the model is quantized: export the one in float32"},
    {"Normalization", "train with batch normalisation, which is folded"},
    {"", "train a network of those, or compute this part before the request"},
};

static soma_status
refuse_operator(const soma_onnx_node *node, soma_error *err)
{
    char domain[SOMA_QUOTE_SIZE];
    size_t row = 0;
    while (!strstr(node->op_type ? node->op_type : "", advices[row].part))
        row++;
    if (node->domain && *node->domain && strcmp(node->domain, "ai.onnx") != 0 &&
        strcmp(node->domain, "ai.onnx.ml") != 0)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "an operator of the domain \"%s\"; only "
                                "ai.onnx and ai.onnx.ml are read: export the "
                                "model without such",
                                soma_quote(node->domain, domain));
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "soma has no layer for this operator: it knows "
                            "dense layers, their activations and what can be "
                            "folded into them; %s",
                            advices[row].advice);
}

soma_status
soma_onnx_unknown(const soma_onnx *onnx, soma_error *err)
{
    for (size_t i = 0; i < onnx->graph->n_node; i++) {
        const soma_onnx_node *node = onnx->graph->node[i];
        if (find_operator(node) < 0 && !soma_onnx_folds(node))
            return refuse_operator(node, err);
    }
    return SOMA_OK;
}

static soma_status
make(soma_onnx *onnx, const soma_onnx_node *node, soma_onnx_value **made,
     soma_error *err)
{
    inputs in = look_at(onnx, node);
    int row = find_operator(node);
    *made = in.refused;
    if (in.refused)
        return SOMA_OK;
    if (in.missing)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "one of its inputs is neither an input of the "
                                "graph nor made before it");
    bool extracts = row >= 0 && operators[row].make == soma_onnx_extractor;
    if (in.label && !extracts) {
        *made = soma_onnx_derive(onnx, node, ONNX_LABEL, in.label->from, err);
        return *made ? SOMA_OK : err->status;
    }
    if (in.all_constant && soma_onnx_folds(node))
        return soma_onnx_fold(onnx, node, made, err);
    if (row < 0)
        return refuse_operator(node, err);
    soma_onnx_value *first = soma_onnx_arg(onnx, node, 0);
    if (!operators[row].of_constants && !soma_onnx_is_data(first))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "its first input is expected to depend on the "
                                "network's: export a model whose examples are "
                                "the rows (x W)");
    if (!first && operators[row].make != soma_onnx_constant_node)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "an input is missing");
    return operators[row].make(onnx, node, made, err);
}

/* What is not fatal becomes a value that keeps the reason. */
static soma_status
refused(soma_onnx *onnx, const soma_onnx_node *node, const soma_error *reason,
        soma_onnx_value **made, soma_error *err)
{
    if (reason->status == SOMA_E_MEMORY || reason->status == SOMA_E_LIMIT) {
        *err = *reason;
        return err->status;
    }
    *made = soma_onnx_new(onnx, node, ONNX_REFUSED, err);
    if (!*made)
        return err->status;
    (*made)->reason = *reason;
    return SOMA_OK;
}

/* Outputs behind the first, such as what BatchNormalization says in training,
 * are not read; LinearClassifier has named its second itself. */
static soma_status
name_outputs(soma_onnx *onnx, const soma_onnx_node *node,
             soma_onnx_value *value, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (size_t i = 0; i < node->n_output && !status; i++) {
        soma_error reason;
        soma_onnx_value *other = value;
        if (i && soma_onnx_find(onnx, node->output[i]))
            continue;
        if (i && *node->output[i] && value->kind != ONNX_REFUSED) {
            soma_onnx_refuse(node, &reason, SOMA_E_UNSUPPORTED,
                             "its output %zu is not read", i);
            status = refused(onnx, node, &reason, &other, err);
        }
        if (!status)
            status = soma_onnx_name(onnx, node->output[i], other, err);
    }
    return status;
}

soma_status
soma_onnx_walk(soma_onnx *onnx, soma_error *err)
{
    const Soma__Onnx__Graph *graph = onnx->graph;
    if (graph->n_node > ONNX_MAX_NODES)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "%zu nodes, at most %d are read", graph->n_node,
                              ONNX_MAX_NODES);
    for (size_t i = 0; i < graph->n_node; i++) {
        const soma_onnx_node *node = graph->node[i];
        soma_onnx_value *value = NULL;
        soma_error reason;
        soma_status status = make(onnx, node, &value, &reason);
        if (status)
            status = refused(onnx, node, &reason, &value, err);
        if (!status)
            status = name_outputs(onnx, node, value, err);
        if (status)
            return status;
    }
    return SOMA_OK;
}

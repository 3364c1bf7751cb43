/* A model as an ONNX graph, by the operators of opset 13:
 *
 *     input [batch, shape...]
 *     Sub mean, Div std                 where the model normalises
 *     Flatten                           where the input has rows
 *     Gemm                              each layer; weights [out, in]
 *     Relu, Sigmoid, Tanh, LeakyRelu    its activation; maxout is
 *     Reshape [-1, pieces, units], ReduceMax
 *     Softmax                           softmax_cross_entropy
 *     Sigmoid, Sub from 1, Concat       logistic
 *
 * The metadata "soma" keeps, as JSON, what ONNX has no place for: loss, range,
 * names of the classes.
 */
#include "core/activation.h"
#include "core/io/json.h"
#include "core/io/onnx_parts.h"
#include "core/loss.h"
#include "core/matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IR_VERSION = 7,
    OPSET = 13,
    ATTRIBUTE_FLOAT = 1,
    ATTRIBUTE_INT = 2,
    ATTRIBUTE_INTS = 7,
    MAX_NODES = 8 + 3 * SOMA_MAX_LAYERS,
    MAX_TENSORS = 8 + 3 * SOMA_MAX_LAYERS,
    MAX_NAMES = 2 * (MAX_NODES + MAX_TENSORS)
};

static const size_t MAX_FILE = ((size_t)2 << 30) - 1;

/* All that the message points to. */
typedef struct writer {
    const soma_model *model;
    Soma__Onnx__Node nodes[MAX_NODES], *node_list[MAX_NODES];
    Soma__Onnx__Attribute attributes[2 * MAX_NODES];
    Soma__Onnx__Attribute *attribute_list[2 * MAX_NODES];
    char *inputs[3 * MAX_NODES], *outputs[MAX_NODES];
    Soma__Onnx__Tensor tensors[MAX_TENSORS], *tensor_list[MAX_TENSORS];
    int64_t dims[4 * MAX_TENSORS], numbers[4 * MAX_TENSORS];
    float *rows[SOMA_MAX_LAYERS];
    char names[MAX_NAMES][24];
    size_t node_count, attribute_count, input_count, tensor_count, dim_count,
        number_count, name_count;
    char *at; /* name of the value that the graph has come to */
} writer;

static char *
name_of(writer *w, const char *stem, int i)
{
    char *name = w->names[w->name_count++];
    snprintf(name, sizeof w->names[0], "%s%d", stem, i);
    return name;
}

/* ---- Tensors ---- */

static char *
add_tensor(writer *w, const char *name, int type, int rank, const int64_t *dims,
           const void *data, size_t bytes)
{
    Soma__Onnx__Tensor *tensor = &w->tensors[w->tensor_count];
    soma__onnx__tensor__init(tensor);
    tensor->name = (char *)name;
    tensor->has_data_type = tensor->has_raw_data = 1;
    tensor->data_type = type;
    tensor->n_dims = (size_t)rank;
    tensor->dims = w->dims + w->dim_count;
    for (int i = 0; i < rank; i++)
        w->dims[w->dim_count++] = dims[i];
    tensor->raw_data.data = (uint8_t *)data;
    tensor->raw_data.len = bytes;
    w->tensor_list[w->tensor_count++] = tensor;
    return tensor->name;
}

/* ---- Nodes ---- */

/* A node from the value that the graph has come to; `with` are its other
 * inputs, up to NULL. */
static Soma__Onnx__Node *
add_node(writer *w, const char *type, char *const *with)
{
    Soma__Onnx__Node *node = &w->nodes[w->node_count];
    soma__onnx__node__init(node);
    node->op_type = (char *)type;
    node->name = name_of(w, "node_", (int)w->node_count);
    node->input = w->inputs + w->input_count;
    w->inputs[w->input_count++] = w->at;
    for (node->n_input = 1; with && *with; with++, node->n_input++)
        w->inputs[w->input_count++] = *with;
    w->at = name_of(w, "value_", (int)w->node_count);
    node->n_output = 1;
    node->output = &w->outputs[w->node_count];
    *node->output = w->at;
    node->attribute = w->attribute_list + w->attribute_count;
    w->node_list[w->node_count++] = node;
    return node;
}

/* To the node that was added last. */
static Soma__Onnx__Attribute *
add_attribute(writer *w, const char *name, int type)
{
    Soma__Onnx__Node *node = &w->nodes[w->node_count - 1];
    Soma__Onnx__Attribute *attribute = &w->attributes[w->attribute_count];
    soma__onnx__attribute__init(attribute);
    attribute->name = (char *)name;
    attribute->has_type = 1;
    attribute->type = type;
    w->attribute_list[w->attribute_count++] = attribute;
    node->n_attribute++;
    return attribute;
}

static void
add_int(writer *w, const char *name, int64_t value)
{
    Soma__Onnx__Attribute *attribute = add_attribute(w, name, ATTRIBUTE_INT);
    attribute->has_i = 1;
    attribute->i = value;
}

static void
add_normalisation(writer *w)
{
    const soma_model *model = w->model;
    const soma_input *input = &model->spec.input;
    int64_t dims[SOMA_MAX_RANK] = {input->normals, 1, 1, 1};
    int rank = input->normals > 1 ? input->rank : 0;
    size_t bytes = (size_t)input->normals * sizeof(float);
    if (!input->normals)
        return;
    char *mean = add_tensor(w, "mean", ONNX_FLOAT, rank, dims,
                            soma_model_mean(model), bytes);
    char *std = add_tensor(w, "std", ONNX_FLOAT, rank, dims,
                           soma_model_std(model), bytes);
    add_node(w, "Sub", (char *[]){mean, NULL});
    add_node(w, "Div", (char *[]){std, NULL});
}

static soma_status
add_dense(writer *w, int i, soma_error *err)
{
    const soma_layer *layer = &w->model->spec.layers[i];
    size_t weights = (size_t)layer->in * (size_t)layer->out;
    int64_t dims[2] = {layer->out, layer->in};
    w->rows[i] = malloc(weights * sizeof *w->rows[i]);
    if (!w->rows[i])
        return soma_error_memory(err, "weights");
    soma_matrix_to_rows(layer->in, layer->out, soma_model_weights(w->model, i),
                        w->rows[i]);
    char *weight = add_tensor(w, name_of(w, "weight_", i), ONNX_FLOAT, 2, dims,
                              w->rows[i], weights * sizeof(float));
    char *bias = add_tensor(w, name_of(w, "bias_", i), ONNX_FLOAT, 1, dims,
                            soma_model_bias(w->model, i),
                            (size_t)layer->out * sizeof(float));
    add_node(w, "Gemm", (char *[]){weight, bias, NULL});
    add_int(w, "transB", 1);
    return SOMA_OK;
}

static void
add_maxout(writer *w, int i)
{
    const soma_layer *layer = &w->model->spec.layers[i];
    int64_t *numbers = w->numbers + w->number_count, three = 3;
    w->number_count += 4;
    numbers[0] = -1;
    numbers[1] = layer->pieces;
    numbers[2] = layer->units;
    numbers[3] = 1; /* the axis */
    char *shape = add_tensor(w, name_of(w, "shape_", i), ONNX_INT64, 1, &three,
                             numbers, 3 * sizeof *numbers);
    add_node(w, "Reshape", (char *[]){shape, NULL});
    add_node(w, "ReduceMax", NULL);
    Soma__Onnx__Attribute *axes = add_attribute(w, "axes", ATTRIBUTE_INTS);
    axes->n_ints = 1;
    axes->ints = numbers + 3;
    add_int(w, "keepdims", 0);
}

static void
add_activation(writer *w, int i)
{
    static const struct {
        const char *name, *type;
    } types[] = {{"sigmoid", "Sigmoid"},
                 {"tanh", "Tanh"},
                 {"relu", "Relu"},
                 {"leaky_relu", "LeakyRelu"}};
    const soma_layer *layer = &w->model->spec.layers[i];
    if (layer->pieces > 1)
        add_maxout(w, i);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        if (!strcmp(layer->activation->name, types[k].name))
            add_node(w, types[k].type, NULL);
    if (!strcmp(layer->activation->name, "leaky_relu")) {
        Soma__Onnx__Attribute *alpha =
            add_attribute(w, "alpha", ATTRIBUTE_FLOAT);
        alpha->has_f = 1;
        alpha->f = layer->slope;
    }
}

/* From scores to what /predict answers. */
static void
add_link(writer *w, const float *one)
{
    const soma_loss *loss = w->model->spec.loss;
    if (!loss->probabilities)
        return;
    if (!loss->binary) {
        add_node(w, "Softmax", NULL);
        add_int(w, "axis", 1);
        return;
    }
    char *unit = add_tensor(w, "one", ONNX_FLOAT, 0, NULL, one, sizeof *one);
    add_node(w, "Sigmoid", NULL);
    char *p = w->at;
    w->at = unit;
    add_node(w, "Sub", (char *[]){p, NULL});
    add_node(w, "Concat", (char *[]){p, NULL});
    add_int(w, "axis", 1);
}

/* ---- The whole ---- */

typedef struct port {
    Soma__Onnx__ValueInfo info, *list;
    Soma__Onnx__Type type;
    Soma__Onnx__TensorType tensor;
    Soma__Onnx__Shape shape;
    Soma__Onnx__Dimension dims[1 + SOMA_MAX_RANK], *dim_list[1 + SOMA_MAX_RANK];
} port;

static void
make_port(port *p, const char *name, int rank, const int *shape)
{
    soma__onnx__value_info__init(&p->info);
    soma__onnx__type__init(&p->type);
    soma__onnx__tensor_type__init(&p->tensor);
    soma__onnx__shape__init(&p->shape);
    p->list = &p->info;
    p->info.name = (char *)name;
    p->info.type = &p->type;
    p->type.tensor_type = &p->tensor;
    p->tensor.has_elem_type = 1;
    p->tensor.elem_type = ONNX_FLOAT;
    p->tensor.shape = &p->shape;
    p->shape.n_dim = (size_t)rank + 1;
    p->shape.dim = p->dim_list;
    for (int i = 0; i <= rank; i++) {
        soma__onnx__dimension__init(&p->dims[i]);
        p->dim_list[i] = &p->dims[i];
        p->dims[i].has_dim_value = i > 0;
        p->dims[i].dim_value = i ? shape[i - 1] : 0;
    }
    p->dims[0].dim_param = (char *)"batch";
}

static char *
stored_text(const soma_checkpoint *checkpoint)
{
    json_t *all = soma_checkpoint_describe(
        &checkpoint->model->spec, checkpoint->model, &checkpoint->classes);
    json_t *kept = json_object();
    json_t *range = json_object_get(json_object_get(all, "input"), "range");
    json_t *classes = json_object_get(all, "classes");
    soma_json_set(&kept, "loss", json_incref(json_object_get(all, "loss")));
    soma_json_set(&kept, "range", json_incref(range));
    if (classes)
        soma_json_set(&kept, "classes", json_incref(classes));
    char *text =
        kept ? soma_json_text(kept, JSON_COMPACT | JSON_REAL_PRECISION(9))
             : NULL;
    json_decref(kept);
    json_decref(all);
    return text;
}

static soma_status
pack(const Soma__Onnx__Model *message, soma_bytes *bytes, soma_error *err)
{
    size_t size = soma__onnx__model__get_packed_size(message);
    if (size > MAX_FILE)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "%zu bytes: an ONNX file holds at most 2 GiB",
                              size);
    bytes->data = malloc(size + 1);
    if (!bytes->data)
        return soma_error_memory(err, "an ONNX file");
    bytes->size = soma__onnx__model__pack(message, bytes->data);
    bytes->data[bytes->size] = '\0';
    return SOMA_OK;
}

static soma_status
write_message(writer *w, char *stored, soma_bytes *bytes, soma_error *err)
{
    const soma_spec *spec = &w->model->spec;
    int answers = soma_loss_answers(spec->loss, spec->outputs);
    port in, out;
    Soma__Onnx__Graph graph = SOMA__ONNX__GRAPH__INIT;
    Soma__Onnx__Model message = SOMA__ONNX__MODEL__INIT;
    Soma__Onnx__OperatorSet opset = SOMA__ONNX__OPERATOR_SET__INIT;
    Soma__Onnx__Entry entry = SOMA__ONNX__ENTRY__INIT;
    make_port(&in, "input", spec->input.rank, spec->input.shape);
    make_port(&out, spec->loss->probabilities ? "probabilities" : "scores", 1,
              &answers);
    w->outputs[w->node_count - 1] = out.info.name;
    graph.name = (char *)"soma";
    graph.n_node = w->node_count;
    graph.node = w->node_list;
    graph.n_initializer = w->tensor_count;
    graph.initializer = w->tensor_list;
    graph.n_input = graph.n_output = 1;
    graph.input = &in.list;
    graph.output = &out.list;
    opset.domain = (char *)"";
    opset.has_version = message.has_ir_version = 1;
    opset.version = OPSET;
    entry.key = (char *)"soma";
    entry.value = stored;
    message.ir_version = IR_VERSION;
    message.producer_name = (char *)"soma";
    message.graph = &graph;
    message.n_opset_import = message.n_metadata_props = 1;
    message.opset_import = (Soma__Onnx__OperatorSet *[]){&opset};
    message.metadata_props = (Soma__Onnx__Entry *[]){&entry};
    return pack(&message, bytes, err);
}

soma_status
soma_onnx_build(const soma_checkpoint *checkpoint, soma_bytes *bytes,
                soma_error *err)
{
    static const float one = 1;
    const soma_spec *spec = &checkpoint->model->spec;
    *bytes = (soma_bytes){NULL, 0};
    writer *w = calloc(1, sizeof *w);
    char *stored = stored_text(checkpoint);
    if (!w || !stored) {
        free(w);
        free(stored);
        return soma_error_memory(err, "an ONNX file");
    }
    w->model = checkpoint->model;
    w->at = (char *)"input";
    add_normalisation(w);
    if (spec->input.rank > 1)
        add_node(w, "Flatten", NULL);
    soma_status status = SOMA_OK;
    for (int i = 0; i < spec->depth && !status; i++) {
        status = add_dense(w, i, err);
        add_activation(w, i);
    }
    add_link(w, &one);
    if (!status)
        status = write_message(w, stored, bytes, err);
    for (int i = 0; i < spec->depth; i++)
        free(w->rows[i]);
    free(stored);
    free(w);
    return status;
}

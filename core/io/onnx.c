/* From an ONNX file to a model: the input, the wanted output, what the tail
 * means, and the spec.
 */
#include "core/io/onnx.h"

#include "core/io/json.h"
#include "core/io/json_memory.h"
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"
#include "core/loss.h"
#include "core/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEWEST_OPSET = 22 }; /* of the files in `make formats` */

static const size_t MAX_FILE = (size_t)2 << 30;
static const size_t MAX_ARENA = (size_t)1 << 30;

bool
soma_onnx_is_name(const char *path)
{
    return soma_file_ends_in(path, ".onnx");
}

typedef struct job {
    soma_onnx onnx;
    json_t *notes;  /* what the file leaves open and was decided */
    json_t *stored; /* what soma wrote into a file of its own, or NULL */
    soma_checkpoint *checkpoint;
} job;

/* ---- What the tail means ---- */

static const soma_onnx_value *
bare(const soma_onnx_value *value)
{
    while (value->kind == ONNX_SAME || value->kind == ONNX_LABEL)
        value = value->from;
    return value;
}

static bool
is_sigmoid(const soma_onnx_value *value)
{
    return value->kind == ONNX_ACTIVATED && value->size == 1 &&
           !strcmp(value->activation->name, "sigmoid");
}

/* The loss whose link is the file's tail, and the scores before it; NULL: the
 * file ends in scores. */
static const char *
link_of(const soma_onnx_value *output, const soma_onnx_value **scores)
{
    const soma_onnx_value *value = bare(output);
    *scores = value;
    if (value->kind == ONNX_TWO)
        value = bare(value->from);
    else if (value->kind == ONNX_SOFTMAX) {
        *scores = value->from;
        return "softmax_cross_entropy";
    }
    if (!is_sigmoid(value))
        return NULL;
    *scores = value->from;
    return "logistic";
}

/* A file that ends in scores does not say what they were trained by. */
static soma_status
loss_of_scores(job *j, const soma_onnx_value *scores, const char **loss,
               soma_error *err)
{
    bool linear = true;
    for (const soma_onnx_value *v = scores; v && v->kind != ONNX_DENSE;
         v = v->from)
        linear = linear && v->kind != ONNX_ACTIVATED && v->kind != ONNX_LARGEST;
    if (linear && scores->size > 1) {
        *loss = "softmax_cross_entropy";
        soma_json_append(
            &j->notes,
            json_string("the file ends in scores, without softmax: taken for "
                        "softmax_cross_entropy, as PyTorch's CrossEntropyLoss "
                        "has it, so answers are probabilities; --loss "
                        "multiclass_hinge answers with the scores"));
        return SOMA_OK;
    }
    soma_onnx_refuse(
        scores->node, err, SOMA_E_ARGUMENT,
        "the file ends here, in %zu value%s, and does not say what for: %s",
        scores->size, scores->size > 1 ? "s" : "",
        scores->size > 1
            ? "--loss multiclass_hinge answers with these values as scores, "
              "--loss softmax_cross_entropy with their softmax"
            : "--loss hinge answers with this value as the score, --loss "
              "logistic with its sigmoid as a probability");
    return soma_onnx_advise(
        &j->onnx,
        scores->size > 1 ? "--loss multiclass_hinge" : "--loss logistic", err);
}

static soma_status
choose_loss(job *j, const soma_onnx_value *output,
            const soma_onnx_value **scores, soma_spec *spec, soma_error *err)
{
    const char *wanted = j->onnx.options->loss;
    const char *loss = link_of(output, scores);
    const char *stored = json_string_value(json_object_get(j->stored, "loss"));
    const soma_loss *own;
    soma_status status = SOMA_OK;
    /* A sigmoid that is the last layer's own is no link. */
    if (stored && !soma_loss_find(stored, &own, NULL) && !own->probabilities) {
        *scores = bare(output);
        loss = NULL;
    }
    if (loss && wanted && strcmp(loss, wanted) != 0)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--loss %s: the file's last node makes it %s",
                              wanted, loss);
    if (!loss)
        loss = wanted ? wanted : stored;
    if (!loss)
        status = loss_of_scores(j, *scores, &loss, err);
    return status ? status : soma_loss_find(loss, &spec->loss, err);
}

/* ---- Classes ---- */

/* The names, taken over; none if a model file could not hold them. */
static soma_status
take_classes(job *j, soma_classes *names, soma_error *err)
{
    soma_error why;
    bool numbers = true;
    for (int i = 0; i < names->count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%d", i);
        if (!names->names[i])
            return soma_error_memory(err, "names of classes");
        numbers = numbers && !strcmp(names->names[i], number);
    }
    if (numbers)
        return SOMA_OK;
    soma_status status = soma_classes_check(names, &why);
    if (status == SOMA_E_MEMORY)
        return soma_error_memory(err, "names of classes");
    if (status) {
        soma_json_append(&j->notes,
                         json_string("its names of classes are left out: they "
                                     "are empty, not UTF-8 or not different"));
        return SOMA_OK;
    }
    j->checkpoint->classes = *names;
    *names = (soma_classes){0, NULL};
    return SOMA_OK;
}

static char *
number_text(int64_t number)
{
    char *text;
    return asprintf(&text, "%lld", (long long)number) < 0 ? NULL : text;
}

static char *
bytes_text(const ProtobufCBinaryData *bytes)
{
    return strndup(bytes->data ? (const char *)bytes->data : "", bytes->len);
}

/* Where labels may stand: a list of strings or of integers. */
typedef struct labels {
    size_t texts, numbers;
    const ProtobufCBinaryData *text;
    const int64_t *number;
} labels;

static soma_status
find_labels(job *j, labels *found, soma_error *err)
{
    static const char *const texts[] = {"classlabels_strings"};
    static const char *const numbers[] = {"classlabels_int64s",
                                          "classlabels_ints"};
    const soma_onnx_node *node = j->onnx.classifier;
    soma_onnx_value *value = (soma_onnx_value *)j->onnx.labels;
    *found = (labels){0, 0, NULL, NULL};
    const soma_onnx_attribute *a = node ? soma_onnx_attr(node, *texts) : NULL;
    if (a && a->n_strings) {
        *found = (labels){a->n_strings, 0, a->strings, NULL};
        return SOMA_OK;
    }
    for (int i = 0; node && i < 2; i++) {
        a = soma_onnx_attr(node, numbers[i]);
        if (a && a->n_ints) {
            *found = (labels){0, a->n_ints, NULL, a->ints};
            return SOMA_OK;
        }
    }
    if (!value)
        return SOMA_OK;
    if (value->tensor && value->tensor->data_type == ONNX_STRING) {
        *found = (labels){value->tensor->n_string_data, 0,
                          value->tensor->string_data, NULL};
        return SOMA_OK;
    }
    soma_status status = soma_onnx_whole(&j->onnx, NULL, value, err);
    if (!status)
        *found = (labels){0, value->size, NULL, value->whole};
    return status == SOMA_E_MEMORY ? status : SOMA_OK;
}

static soma_status
read_classes(job *j, int count, soma_error *err)
{
    const json_t *own = json_object_get(j->stored, "classes");
    labels found;
    soma_status status = find_labels(j, &found, err);
    if (status)
        return status;
    size_t there = own ? json_array_size(own) : found.texts + found.numbers;
    if (there != (size_t)count)
        return SOMA_OK;
    soma_classes names = {0, calloc((size_t)count + 1, sizeof(char *))};
    if (!names.names)
        return soma_error_memory(err, "names of classes");
    for (; names.count < count; names.count++) {
        size_t i = (size_t)names.count;
        const char *text = json_string_value(json_array_get(own, i));
        names.names[i] = own           ? strdup(text ? text : "")
                         : found.texts ? bytes_text(&found.text[i])
                                       : number_text(found.number[i]);
    }
    status = take_classes(j, &names, err);
    soma_classes_free(&names);
    return status;
}

/* ---- The spec and the model ---- */

/* As the file has it, without dimensions of 1 at the end, which soma would
 * take for pictures one value wide. */
static void
set_shape(const soma_onnx *onnx, soma_input *input)
{
    const soma_onnx_value *from = onnx->input;
    int rank = from->rank;
    while (rank > 1 && from->dims[rank - 1] == 1)
        rank--;
    input->rank = rank <= SOMA_MAX_RANK ? rank : 1;
    for (int i = 0; i < input->rank; i++)
        input->shape[i] = (int)from->dims[i];
    if (rank > SOMA_MAX_RANK)
        input->shape[0] = (int)from->size;
    input->channels = input->rank == 2 ? 1 : input->shape[0];
}

/* Bytes, or a first step that divides by 255: pixels. */
static void
set_range(const job *j, const soma_onnx_net *net, soma_input *input)
{
    double scale = j->onnx.options->scale;
    const json_t *own = json_object_get(j->stored, "range");
    input->low = 0;
    input->high = scale > 0                               ? (float)scale
                  : j->onnx.byte_input                    ? 255
                  : net->scale && net->scale[0] < 1 / 50. ? 255
                                                          : 1;
    double low = json_number_value(json_array_get(own, 0));
    double high = json_number_value(json_array_get(own, 1));
    if (scale == 0 && low < high && fabs(low) < 1e30 && fabs(high) < 1e30) {
        input->low = (float)low;
        input->high = (float)high;
    }
}

static void
set_normals(const soma_onnx_net *net, soma_input *input)
{
    input->normals = net->scale ? input->channels : 0;
    for (int c = 1; c < input->channels && net->scale; c++)
        if (net->scale[c] != net->scale[0] || net->shift[c] != net->shift[0])
            return;
    if (net->scale)
        input->normals = 1;
}

static soma_status
make_model(job *j, const soma_spec *spec, const soma_onnx_net *net,
           soma_error *err)
{
    soma_model *model = j->checkpoint->model = soma_model_create(spec, err);
    if (!model)
        return err->status;
    for (int c = 0; c < spec->input.normals; c++) {
        soma_model_mean(model)[c] = (float)(-net->shift[c] / net->scale[c]);
        soma_model_std(model)[c] = (float)(1 / net->scale[c]);
    }
    for (int i = 0; i < net->depth; i++) {
        const soma_onnx_layer *layer = &net->layers[i];
        soma_matrix_from_rows(layer->in, layer->out, layer->weights,
                              soma_model_weights(model, i));
        memcpy(soma_model_bias(model, i), layer->bias,
               (size_t)layer->out * sizeof *layer->bias);
    }
    if (!soma_model_finite(model))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "weights that are not finite once normalisation "
                              "is folded into them");
    return SOMA_OK;
}

static soma_status
finish(job *j, soma_spec *spec, const soma_onnx_net *net, soma_error *err)
{
    spec->depth = net->depth;
    for (int i = 0; i < net->depth; i++) {
        const soma_onnx_layer *layer = &net->layers[i];
        spec->layers[i] = (soma_layer){.units = layer->out / layer->pieces,
                                       .pieces = layer->pieces,
                                       .slope = layer->slope,
                                       .activation = layer->activation};
    }
    set_range(j, net, &spec->input);
    set_normals(net, &spec->input);
    soma_status status = soma_spec_finish(spec, err);
    if (!status)
        status = read_classes(j, spec->classes, err);
    return status ? status : make_model(j, spec, net, err);
}

/* ---- The whole ---- */

static const char *
or_unknown(const char *text, char quoted[SOMA_QUOTE_SIZE])
{
    json_t *valid =
        text && *text ? json_string(soma_quote(text, quoted)) : NULL;
    json_decref(valid);
    return valid ? quoted : "unknown";
}

static soma_status
note_origin(job *j, soma_error *err)
{
    char producer[SOMA_QUOTE_SIZE], version[SOMA_QUOTE_SIZE];
    const Soma__Onnx__Model *model = j->onnx.model;
    soma_json_memory_begin();
    json_t *made = json_object();
    soma_json_set(&made, "from", json_string("ONNX"));
    soma_json_set(&made, "producer",
                  json_string(or_unknown(model->producer_name, producer)));
    soma_json_set(&made, "producer_version",
                  json_string(or_unknown(model->producer_version, version)));
    soma_json_set(&made, "notes", json_incref(j->notes));
    j->checkpoint->made = made;
    return made && !soma_json_memory_short() ? SOMA_OK
                                             : soma_error_memory(err, "notes");
}

/* A file of soma's own says what ONNX has no place for. */
static soma_status
read_stored(job *j, soma_error *err)
{
    const Soma__Onnx__Model *model = j->onnx.model;
    for (size_t i = 0; i < model->n_metadata_props && !j->stored; i++) {
        const Soma__Onnx__Entry *entry = model->metadata_props[i];
        if (entry->key && entry->value && !strcmp(entry->key, "soma") &&
            soma_json_parse(entry->value, strlen(entry->value), "soma",
                            &j->stored, err) == SOMA_E_MEMORY)
            return SOMA_E_MEMORY;
    }
    return SOMA_OK;
}

/* Of a network that soma cannot have, whatever its input is, that is said,
 * too. */
static soma_status
read_input(soma_onnx *onnx, soma_error *err)
{
    soma_error more;
    soma_status status = soma_onnx_input(onnx, err);
    if (status == SOMA_E_UNSUPPORTED && soma_onnx_unknown(onnx, &more)) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, "; and %s",
                 more.text);
    }
    return status;
}

static soma_status
convert(job *j, soma_error *err)
{
    soma_onnx *onnx = &j->onnx;
    const soma_onnx_value *output, *scores;
    soma_onnx_net net = {.depth = 0};
    soma_spec spec = {.depth = 0};
    soma_status status = read_stored(j, err);
    if (!status)
        status = soma_onnx_opsets(onnx, err);
    if (!status && onnx->opset > NEWEST_OPSET)
        soma_json_append(
            &j->notes,
            json_sprintf("opset %lld is newer than %d, the newest that this "
                         "soma was tested with: compare some answers",
                         (long long)onnx->opset, NEWEST_OPSET));
    if (!status)
        status = soma_onnx_initializers(onnx, err);
    if (!status)
        status = read_input(onnx, err);
    if (!status)
        status = soma_onnx_walk(onnx, err);
    if (!status)
        status = soma_onnx_output(onnx, &output, err);
    if (!status)
        status = choose_loss(j, output, &scores, &spec, err);
    if (status)
        return status;
    set_shape(onnx, &spec.input);
    status = soma_onnx_layers(onnx, scores, spec.input.channels, &net, err);
    if (!status)
        status = finish(j, &spec, &net, err);
    soma_onnx_net_free(&net);
    return status ? status : note_origin(j, err);
}

/* One reading; `whole` takes the input's first dimension for a part of an
 * example. */
static soma_status
attempt(const Soma__Onnx__Model *model, size_t size, const char *path,
        const soma_onnx_options *options, bool whole,
        soma_checkpoint *checkpoint, soma_error *err)
{
    static const soma_onnx_options none = {.loss = NULL};
    job j = {.onnx = {.model = (Soma__Onnx__Model *)model,
                      .graph = model->graph,
                      .options = options ? options : &none,
                      .as_it_is = !options,
                      .path = path,
                      .budget = MAX_ARENA + 2 * size,
                      .whole_input = whole},
             .notes = json_array(),
             .checkpoint = checkpoint};
    *checkpoint = (soma_checkpoint){0};
    soma_status status =
        j.notes ? convert(&j, err) : soma_error_memory(err, "notes");
    soma_onnx_free(&j.onnx);
    json_decref(j.notes);
    json_decref(j.stored);
    if (status)
        soma_checkpoint_free(checkpoint);
    return status;
}

/* Exporters put a batch in front; a file that makes no sense so may be one of
 * a single example. Its first error is the one that helps. */
static soma_status
read_bytes(const void *data, size_t size, const char *path,
           const soma_onnx_options *options, soma_checkpoint *checkpoint,
           soma_error *err)
{
    Soma__Onnx__Model *model;
    soma_error first, second;
    *checkpoint = (soma_checkpoint){0};
    soma_status status = soma_onnx_unpack(data, size, &model, &first);
    if (!status)
        status = attempt(model, size, path, options, false, checkpoint, &first);
    if ((status == SOMA_E_UNSUPPORTED || status == SOMA_E_SHAPE) && model &&
        !attempt(model, size, path, options, true, checkpoint, &second))
        status = SOMA_OK;
    soma_onnx_release(model);
    if (status && err)
        *err = first;
    return status;
}

soma_status
soma_onnx_parse(const void *data, size_t size, const soma_onnx_options *options,
                soma_checkpoint *checkpoint, soma_error *err)
{
    return read_bytes(data, size, NULL, options, checkpoint, err);
}

soma_status
soma_onnx_read(const char *path, const soma_onnx_options *options,
               soma_checkpoint *checkpoint, soma_error *err)
{
    soma_bytes bytes;
    *checkpoint = (soma_checkpoint){0};
    soma_status status = soma_file_read(path, MAX_FILE, 0, &bytes, err);
    if (status)
        return status;
    status = read_bytes(bytes.data, bytes.size, path, options, checkpoint, err);
    soma_bytes_free(&bytes);
    if (status)
        soma_error_prefix(err, "%s", path);
    return status;
}

/* soma import: from an ONNX file or a PyTorch state_dict to a model file. */
#include "core/io/onnx.h"
#include "core/loss.h"
#include "server/command.h"
#include "server/train_spec.h"

#include <stdlib.h>
#include <string.h>

typedef struct import_options {
    const char *loss, *classes, *output, *activation, *shape;
    double scale, slope;
    bool planes, f16;
} import_options;

#define AT(field) offsetof(import_options, field)

static const soma_option options[] = {
    {"loss", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(loss),
     "What the last layer's scores are for: softmax_cross_entropy, logistic, "
     "hinge or multiclass_hinge (answers are the scores). Needed where the "
     "file does not say."},
    {"classes", "A,B,...", SOMA_OPTION_TEXT, NULL, 0, 0, AT(classes),
     "Names of the classes, in place of those in the file."},
    {"scale", "X", SOMA_OPTION_NUMBER, "1", 1e-6, 1e6, AT(scale),
     "Clients send values X times as large as the file wants: 255 for a file "
     "that wants 0 to 1 and clients that send pixels from 0 to 255."},
    {"planes", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(planes),
     "Turn an input [height, width, channels], as Keras has it, into "
     "[channels, height, width], as pictures come to soma."},
    {"output", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(output),
     "Of an ONNX file: the value that is the answer, where there are several "
     "outputs."},
    {"activation", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(activation),
     "Of a state_dict: the hidden layers' activation."},
    {"slope", "X", SOMA_OPTION_NUMBER, "0.01", -10, 10, AT(slope),
     "Of a state_dict with leaky_relu."},
    {"shape", "CxHxW", SOMA_OPTION_TEXT, NULL, 0, 0, AT(shape),
     "Of a state_dict: the input's shape, e.g. 28x28."},
    {"f16", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(f16),
     "Store the weights as 16-bit floats: half the size."},
    {.name = NULL}};

static const soma_command command = {
    "import",
    "FILE OUT [options]",
    "Makes the model file OUT (safetensors) of an ONNX file, as PyTorch, "
    "skl2onnx and\ntf2onnx write them, or of a PyTorch state_dict in "
    "safetensors. Networks that\nsoma cannot express are refused, by the node "
    "that is in the way.",
    options,
    2,
    2};

/* The sidecar that the options stand for (state_dict.c); NULL without an
 * activation: then there may be one beside the file. */
static soma_status
sidecar_of(const import_options *o, char **text, soma_error *err)
{
    int rank = 0, shape[SOMA_MAX_RANK];
    *text = NULL;
    if (!o->activation)
        return SOMA_OK;
    soma_status status =
        o->shape ? soma_shape_parse(o->shape, &rank, shape, err) : SOMA_OK;
    if (status)
        return status;
    json_t *dims = rank ? json_array() : NULL;
    for (int i = 0; i < rank; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    bool leaky = !strcmp(o->activation, "leaky_relu");
    json_t *json =
        json_pack("{s:i, s:{s:o*, s:[i, f], s:[f]}, s:s, s:o*, s:s}", "format",
                  1, "input", "shape", dims, "range", 0, o->scale, "std",
                  o->scale, "activation", o->activation, "slope",
                  leaky ? json_real(o->slope) : NULL, "loss",
                  o->loss ? o->loss : "softmax_cross_entropy");
    *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return *text ? SOMA_OK : soma_error_memory(err, "a sidecar");
}

static soma_status
read_file(const import_options *o, const char *path,
          soma_checkpoint *checkpoint, soma_error *err)
{
    soma_onnx_options onnx = {.loss = o->loss,
                              .output = o->output,
                              .scale = o->scale == 1 ? 0 : o->scale,
                              .planes = o->planes};
    char *sidecar;
    if (soma_onnx_is_name(path))
        return soma_onnx_read(path, &onnx, checkpoint, err);
    if (o->planes || o->output)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--planes and --output are for ONNX files, whose "
                              "names end in .onnx");
    soma_status status = sidecar_of(o, &sidecar, err);
    if (!status)
        status = soma_checkpoint_read(path, sidecar, checkpoint, err);
    free(sidecar);
    return status;
}

static soma_status
name_classes(const char *names, soma_checkpoint *checkpoint, soma_error *err)
{
    soma_classes classes = {0, NULL};
    int wanted = checkpoint->model->spec.classes;
    soma_status status = soma_names_parse(names, &classes, err);
    if (!status && classes.count != wanted)
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "--classes: %d names, the model has %d classes",
                                classes.count, wanted);
    if (status) {
        soma_classes_free(&classes);
        return status;
    }
    soma_classes_free(&checkpoint->classes);
    checkpoint->classes = classes;
    return SOMA_OK;
}

static void
summarise(const soma_checkpoint *checkpoint, const char *out)
{
    const soma_spec *spec = &checkpoint->model->spec;
    const json_t *notes = json_object_get(checkpoint->made, "notes");
    printf("%s: %d", out, spec->input.size);
    for (int i = 0; i < spec->depth; i++)
        printf("-%d", spec->layers[i].units);
    printf(", %s, range %g to %g%s\n", spec->loss->name,
           (double)spec->input.low, (double)spec->input.high,
           spec->input.normals ? ", normalised" : "");
    for (size_t i = 0; i < json_array_size(notes); i++)
        printf("note: %s\n", json_string_value(json_array_get(notes, i)));
}

int
soma_cmd_import(int argc, char **argv)
{
    import_options o;
    const char *paths[2];
    int code = soma_command_start(&command, argc, argv, &o, paths);
    if (code >= 0)
        return code;
    soma_error err;
    soma_checkpoint checkpoint = {0};
    soma_status status = read_file(&o, paths[0], &checkpoint, &err);
    if (!status && o.classes)
        status = name_classes(o.classes, &checkpoint, &err);
    if (!status)
        status = soma_checkpoint_write(paths[1], &checkpoint,
                                       o.f16 ? SOMA_F16 : SOMA_F32, &err);
    if (!status)
        summarise(&checkpoint, paths[1]);
    soma_checkpoint_free(&checkpoint);
    return status ? soma_command_fail(&err) : SOMA_EXIT_OK;
}

/* soma inspect: what a model file holds, and how its units are doing. */
#include "core/activation.h"
#include "core/loss.h"
#include "core/pass.h"
#include "server/command.h"
#include "server/model_data.h"

#include <stdlib.h>

typedef struct inspect_options {
    const char *dataset, *label_column, *labels;
    long rows;
} inspect_options;

#define AT(field) offsetof(inspect_options, field)

static const soma_option options[] = {
    {"dataset", "PATH", SOMA_OPTION_TEXT, NULL, 0, 0, AT(dataset),
     "Show the health of the units over examples of this dataset: saturated "
     "or dead ones pass no gradient on, so what lies before them cannot "
     "learn."},
    {"label-column", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(label_column),
     "Of a .csv; without it the first column."},
    {"labels", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(labels),
     "Of a .npy: the array of labels; without it y.npy beside x.npy, "
     "labels.npy beside images.npy."},
    {"rows", "N", SOMA_OPTION_WHOLE, "1000", 1, 100000, AT(rows),
     "How many examples to look at."},
    {.name = NULL}};

static const soma_command command = {
    "inspect",
    "MODEL [options]",
    "Prints a model's input, layers, loss, parameters and digest, and with "
    "--dataset\nthe health of its units.",
    options,
    1,
    1};

static void
print_shape(const soma_input *input)
{
    for (int i = 0; i < input->rank; i++)
        printf("%s%d", i ? "x" : "", input->shape[i]);
}

static void
print_parameter(const soma_layer *layer)
{
    const char *name = layer->activation->parameter;
    if (name && layer->pieces > 1)
        printf(", %d %s", layer->pieces, name);
    else if (name)
        printf(", %s %g", name, (double)layer->slope);
}

static void
print_model(const char *path, const soma_checkpoint *checkpoint,
            const char *digest)
{
    const soma_spec *spec = &checkpoint->model->spec;
    printf("%s\n\ninput   ", path);
    print_shape(&spec->input);
    printf(", range %g to %g%s\n", (double)spec->input.low,
           (double)spec->input.high, spec->input.normals ? ", normalised" : "");
    printf("loss    %s\nclasses %d", spec->loss->name, spec->classes);
    for (int i = 0; i < checkpoint->classes.count; i++)
        printf("%s%s", i ? ", " : ": ", checkpoint->classes.names[i]);
    printf("\n\nlayer      in  units  activation   parameters\n");
    for (int i = 0; i < spec->depth; i++) {
        const soma_layer *layer = &spec->layers[i];
        size_t count = ((size_t)layer->in + 1) * (size_t)layer->out;
        printf("%5d  %6d %6d  %-11s  %10zu", i, layer->in, layer->units,
               layer->activation->name, count);
        print_parameter(layer);
        putchar('\n');
    }
    printf("total %40zu\n\ndigest  %s\n", spec->trainable, digest);
    if (checkpoint->memory.count)
        printf("memory  %d examples to rehearse\n", checkpoint->memory.count);
    if (checkpoint->guard.count)
        printf("guard   %d examples to judge by\n", checkpoint->guard.count);
    if (checkpoint->training) {
        fputs("training ", stdout);
        json_dumpf(checkpoint->training, stdout, JSON_REAL_PRECISION(6));
        putchar('\n');
    }
}

static void
print_health(const soma_spec *spec, int rows, const soma_layer_health *health)
{
    static const char *const words[] = {"-", "saturated", "dead"};
    printf("\nhealth over %d examples (mean loss)\n"
           "layer  gradient norm  stuck units\n",
           rows);
    for (int i = 0; i < spec->depth; i++) {
        soma_stuck stuck = spec->layers[i].activation->stuck;
        printf("%5d  %13.3g  ", i, health[i].gradient_norm);
        if (stuck == SOMA_STUCK_NEVER)
            printf("%s\n", words[stuck]);
        else
            printf("%.1f %% %s on average, %.1f %% of the units always\n",
                   100 * health[i].stuck, words[stuck],
                   100 * health[i].always_stuck);
    }
}

static soma_status
examine(const soma_checkpoint *checkpoint, const soma_dataset *dataset,
        int rows, soma_error *err)
{
    const soma_model *model = checkpoint->model;
    size_t size = (size_t)dataset->size;
    float *x = malloc((size_t)rows * size * sizeof *x);
    float *grad = malloc(model->spec.trainable * sizeof *grad);
    soma_workspace *ws =
        soma_workspace_create(&model->spec, rows, SOMA_PASS_LEARN, err);
    soma_status status = SOMA_OK;
    if (!x || !grad || !ws) {
        status = soma_error_memory(err, "examples");
    } else {
        soma_layer_health health[SOMA_MAX_LAYERS];
        for (int r = 0; r < rows; r++)
            soma_dataset_row(dataset, r, x + (size_t)r * size);
        soma_pass_gradient(model, ws, rows, x, dataset->labels, NULL, grad);
        soma_pass_health(model, ws, health);
        print_health(&model->spec, rows, health);
    }
    soma_workspace_free(ws);
    free(grad);
    free(x);
    return status;
}

static soma_status
inspect(const inspect_options *o, const char *path, soma_error *err)
{
    soma_checkpoint checkpoint = {0};
    soma_dataset dataset = {0};
    char digest[SOMA_DIGEST_HEX + 1];
    soma_status status = soma_checkpoint_read(path, NULL, &checkpoint, err);
    if (!status)
        status = soma_model_digest(checkpoint.model, digest, err);
    if (!status)
        print_model(path, &checkpoint, digest);
    if (!status && o->dataset)
        status =
            soma_model_data_open(&checkpoint, o->dataset, SOMA_SPLIT_TEST,
                                 o->label_column, o->labels, &dataset, err);
    if (!status && o->dataset)
        status = examine(&checkpoint, &dataset,
                         dataset.count < o->rows ? dataset.count : (int)o->rows,
                         err);
    soma_dataset_free(&dataset);
    soma_checkpoint_free(&checkpoint);
    return status;
}

int
soma_cmd_inspect(int argc, char **argv)
{
    inspect_options o;
    const char *path;
    soma_error err;
    int code = soma_command_start(&command, argc, argv, &o, &path);
    if (code >= 0)
        return code;
    return inspect(&o, path, &err) ? soma_command_fail(&err) : SOMA_EXIT_OK;
}

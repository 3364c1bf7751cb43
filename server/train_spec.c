#include "server/train_spec.h"

#include "core/activation.h"
#include "core/loss.h"
#include "core/rng.h"
#include "server/model_data.h"

#include <stdlib.h>
#include <string.h>

/* The next whole number of a list, and *text behind it and its separator. */
static bool
next_number(const char **text, char separator, int *number)
{
    char *end;
    long value = strtol(*text, &end, 10);
    if (end == *text || value < 1 || value > SOMA_MAX_UNITS ||
        (*end && *end != separator) || (*end && !end[1]))
        return false;
    *number = (int)value;
    *text = *end ? end + 1 : end;
    return true;
}

soma_status
soma_shape_parse(const char *text, int *rank, int *shape, soma_error *err)
{
    const char *rest = text;
    *rank = 0;
    while (*rest && *rank < 3 && next_number(&rest, 'x', &shape[*rank]))
        ++*rank;
    bool colours =
        *rank == 2 || (*rank == 3 && (shape[0] == 1 || shape[0] == 3));
    if (*rest || !colours)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--shape: expected HxW for grey or 3xHxW for "
                              "RGB, got \"%s\"",
                              text);
    return SOMA_OK;
}

soma_status
soma_names_parse(const char *text, soma_classes *classes, soma_error *err)
{
    int count = 1;
    for (const char *c = text; *c; c++)
        count += *c == ',';
    classes->count = 0;
    classes->names = calloc((size_t)count, sizeof *classes->names);
    if (!classes->names)
        return soma_error_memory(err, "names of classes");
    for (const char *name = text; classes->count < count;) {
        size_t length = strcspn(name, ",");
        char *copy = strndup(name, length);
        if (!copy)
            return soma_error_memory(err, "names of classes");
        classes->names[classes->count++] = copy;
        if (!length || soma_classes_find(classes, copy) < classes->count - 1)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "--classes: name %d is empty or stands "
                                  "there twice",
                                  classes->count);
        name += length + 1;
    }
    return SOMA_OK;
}

soma_status
soma_label_parse(const char *text, const soma_dataset *dataset, int *label,
                 soma_error *err)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end)
        number = soma_classes_find(&dataset->classes, text);
    if (number < 0 || number >= dataset->label_count)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--versus-rest: the dataset has no class "
                              "\"%s\"; it has %d, numbered from 0",
                              text, dataset->label_count);
    *label = (int)number;
    return SOMA_OK;
}

static soma_status
name_classes(const char *names, soma_dataset *dataset, soma_error *err)
{
    soma_classes classes = {0};
    soma_status status = soma_names_parse(names, &classes, err);
    if (!status && classes.count < dataset->label_count)
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "--classes: %d names, but the dataset has "
                                "%d classes",
                                classes.count, dataset->label_count);
    if (status) {
        soma_classes_free(&classes);
        return status;
    }
    soma_classes_free(&dataset->classes);
    dataset->classes = classes;
    dataset->label_count = classes.count;
    return SOMA_OK;
}

static soma_status
open_fresh(soma_train_spec *spec, const char *path, soma_dataset *dataset,
           soma_error *err)
{
    soma_dataset_options options = {.split = SOMA_SPLIT_TRAIN,
                                    .label_column = spec->label_column,
                                    .labels = spec->labels};
    soma_status status = SOMA_OK;
    if (spec->shape)
        status =
            soma_shape_parse(spec->shape, &options.rank, options.shape, err);
    if (!status)
        status = soma_dataset_open(path, &options, dataset, err);
    if (!status && spec->classes)
        status = name_classes(spec->classes, dataset, err);
    if (!status && spec->versus_rest)
        status = soma_label_parse(spec->versus_rest, dataset,
                                  &spec->versus_rest_label, err);
    if (!status && spec->versus_rest)
        status =
            soma_dataset_versus_rest(dataset, spec->versus_rest_label, err);
    return status;
}

soma_status
soma_train_open(soma_train_spec *spec, const char *path,
                const soma_checkpoint *from, soma_dataset *dataset,
                soma_error *err)
{
    spec->versus_rest_label = -1;
    if (!from->model)
        return open_fresh(spec, path, dataset, err);
    spec->versus_rest_label = soma_model_versus_rest(from);
    return soma_model_data_open(from, path, SOMA_SPLIT_TRAIN,
                                spec->label_column, spec->labels, dataset, err);
}

static soma_status
add_hidden(const soma_train_spec *options, soma_spec *spec, soma_error *err)
{
    const soma_activation *activation;
    soma_status status =
        soma_activation_find(options->activation, &activation, err);
    if (status)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--activation: unknown \"%s\"",
                              options->activation);
    bool maxout =
        activation->parameter && !strcmp(activation->parameter, "pieces");
    const char *rest = strcmp(options->hidden, "none") ? options->hidden : "";
    while (*rest) {
        soma_layer layer = {.pieces = maxout ? (int)options->pieces : 1,
                            .slope = (float)options->slope,
                            .activation = activation};
        if (spec->depth == SOMA_MAX_LAYERS - 1 ||
            !next_number(&rest, ',', &layer.units))
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "--hidden: expected up to %d whole numbers "
                                  "separated by commas, or none; got \"%s\"",
                                  SOMA_MAX_LAYERS - 1, options->hidden);
        spec->layers[spec->depth++] = layer;
    }
    return SOMA_OK;
}

static soma_status
add_output(const soma_train_spec *options, const soma_dataset *dataset,
           soma_spec *spec, soma_error *err)
{
    const char *name = options->loss;
    if (!name)
        name = options->versus_rest ? "logistic" : "softmax_cross_entropy";
    soma_status status = soma_loss_find(name, &spec->loss, err);
    if (status) {
        soma_error_prefix(err, "--loss");
        return err->status = SOMA_E_ARGUMENT;
    }
    if (spec->loss->binary && dataset->label_count != 2)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--loss %s tells two classes apart, the "
                              "dataset has %d; see --versus-rest",
                              name, dataset->label_count);
    const soma_activation *identity;
    status = soma_activation_find("identity", &identity, err);
    spec->layers[spec->depth++] =
        (soma_layer){.units = spec->loss->binary ? 1 : dataset->label_count,
                     .pieces = 1,
                     .activation = identity};
    return status;
}

/* Pixels range over 0..255; other values over what the dataset shows. */
static void
set_range(const soma_dataset *dataset, soma_input *input)
{
    input->low = 0;
    input->high = dataset->bytes ? 255 : 1;
    size_t count = (size_t)dataset->count * (size_t)dataset->size;
    for (size_t i = 0; !dataset->bytes && i < count; i++) {
        float value = dataset->values[i];
        input->low = value < input->low ? value : input->low;
        input->high = value > input->high ? value : input->high;
    }
}

static soma_status
set_input(const soma_train_spec *options, const soma_dataset *dataset,
          soma_input *input, soma_error *err)
{
    input->rank = dataset->rank;
    memcpy(input->shape, dataset->shape, sizeof input->shape);
    set_range(dataset, input);
    if (!strcmp(options->normalise, "channel"))
        input->normals = dataset->rank == 2 ? 1 : dataset->shape[0];
    else if (!strcmp(options->normalise, "all"))
        input->normals = 1;
    else if (!strcmp(options->normalise, "none"))
        input->normals = 0;
    else
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--normalise: expected channel, all or none, "
                              "got \"%s\"",
                              options->normalise);
    return SOMA_OK;
}

soma_status
soma_train_create(const soma_train_spec *options, const soma_dataset *dataset,
                  uint64_t seed, soma_checkpoint *checkpoint, soma_error *err)
{
    soma_spec spec = {0};
    soma_status status = set_input(options, dataset, &spec.input, err);
    if (!status)
        status = add_hidden(options, &spec, err);
    if (!status)
        status = add_output(options, dataset, &spec, err);
    if (!status)
        status = soma_spec_finish(&spec, err);
    if (status)
        return status;
    checkpoint->model = soma_model_create(&spec, err);
    if (!checkpoint->model)
        return SOMA_E_MEMORY;
    soma_rng rng = soma_rng_seed(seed, 0);
    soma_model_init(checkpoint->model, &rng);
    if (spec.input.normals)
        soma_dataset_statistics(dataset, spec.input.normals,
                                soma_model_mean(checkpoint->model),
                                soma_model_std(checkpoint->model));
    return soma_classes_copy(&checkpoint->classes, &dataset->classes, err);
}

#include "server/model_data.h"

#include <string.h>

int
soma_model_versus_rest(const soma_checkpoint *model)
{
    json_t *label = json_object_get(model->training, "versus_rest");
    return json_is_integer(label) ? (int)json_integer_value(label) : -1;
}

soma_status
soma_model_data_open(const soma_checkpoint *model, const char *path,
                     soma_split split, const char *label_column,
                     const char *labels, soma_dataset *dataset, soma_error *err)
{
    const soma_spec *spec = &model->model->spec;
    int versus = soma_model_versus_rest(model);
    soma_dataset_options options = {.split = split,
                                    .label_column = label_column,
                                    .labels = labels,
                                    .rank = spec->input.rank};
    memcpy(options.shape, spec->input.shape, sizeof options.shape);
    if (versus < 0 && model->classes.count)
        options.classes = &model->classes;
    soma_status status = soma_dataset_open(path, &options, dataset, err);
    if (!status && versus >= 0)
        status = soma_dataset_versus_rest(dataset, versus, err);
    if (status)
        return status;
    if (dataset->size != spec->input.size)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "%s: examples have %d values, the model's input "
                              "has %d",
                              path, dataset->size, spec->input.size);
    if (dataset->label_count > spec->classes)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "%s: %d classes, the model has %d", path,
                              dataset->label_count, spec->classes);
    return SOMA_OK;
}

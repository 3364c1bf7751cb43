/* A dataset as a given model sees it.
 */
#ifndef SOMA_SERVER_MODEL_DATA_H
#define SOMA_SERVER_MODEL_DATA_H

#include "core/io/dataset.h"

/* The label that the model was trained to tell from the rest, or -1. */
int soma_model_versus_rest(const soma_checkpoint *model);

/* Opens a dataset in the model's input shape, its labels numbered as the
 * model's classes. label_column and labels as in soma_dataset_options.
 * SOMA_E_SHAPE if the examples or classes do not fit. */
soma_status soma_model_data_open(const soma_checkpoint *model, const char *path,
                                 soma_split split, const char *label_column,
                                 const char *labels, soma_dataset *dataset,
                                 soma_error *err);

#endif

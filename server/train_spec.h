/* From the options of `soma train` to a dataset and a fresh model.
 */
#ifndef SOMA_SERVER_TRAIN_SPEC_H
#define SOMA_SERVER_TRAIN_SPEC_H

#include "core/io/dataset.h"

/* What the options say of the task and the network. */
typedef struct soma_train_spec {
    const char *hidden, *activation, *loss;
    double slope;
    long pieces;
    const char *versus_rest, *classes, *normalise, *label_column, *shape;
    const char *labels;
    int versus_rest_label; /* set by soma_train_open; -1: none */
} soma_train_spec;

/* "28x28" or "3x32x32". SOMA_E_ARGUMENT. */
soma_status soma_shape_parse(const char *text, int *rank, int *shape,
                             soma_error *err);

/* "a,b,c" */
soma_status soma_names_parse(const char *text, soma_classes *classes,
                             soma_error *err);

/* The label that "9" or "Ankle boot" names in this dataset. */
soma_status soma_label_parse(const char *text, const soma_dataset *dataset,
                             int *label, soma_error *err);

/* Opens the dataset as the options ask for; `from` is the model to go on
 * from, its `model` NULL if there is none. */
soma_status soma_train_open(soma_train_spec *spec, const char *path,
                            const soma_checkpoint *from, soma_dataset *dataset,
                            soma_error *err);

/* A model for this dataset with fresh weights. */
soma_status soma_train_create(const soma_train_spec *spec,
                              const soma_dataset *dataset, uint64_t seed,
                              soma_checkpoint *checkpoint, soma_error *err);

#endif

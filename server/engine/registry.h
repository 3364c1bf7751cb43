/* The models that are served.
 */
#ifndef SOMA_ENGINE_REGISTRY_H
#define SOMA_ENGINE_REGISTRY_H

#include "server/engine/trainer.h"

typedef struct soma_served {
    char *name; /* the file's, without .safetensors */
    soma_spec spec;
    soma_classes classes;
    soma_memory memory, guard; /* of the file; may be empty */
    soma_shelf shelf;
    soma_trainer *trainer;
    int index; /* in the registry */
} soma_served;

typedef struct soma_registry {
    soma_readers readers;
    int count;
    soma_served **models;  /* sorted by name */
    soma_served *fallback; /* for requests that name none; NULL: they must */
} soma_registry;

typedef struct soma_registry_options {
    const char *models;        /* folder of model files, or one file */
    const char *default_model; /* NULL: the only one, if it is */
    soma_trainer_options trainer;
} soma_registry_options;

/* Loads all models and starts their trainers. A file that cannot be loaded
 * fails the whole: a server must not come up with less than it was told to
 * serve. */
soma_status soma_registry_open(soma_registry *registry,
                               const soma_registry_options *options,
                               soma_error *err);

/* How far the trainers are with recovering what was learned: SOMA_OK when all
 * are ready, SOMA_E_BUSY while one is not, else why one cannot. */
soma_status soma_registry_recovered(const soma_registry *registry,
                                    soma_error *err);

/* Stops the trainers, after what was submitted to them. No worker may be
 * within a turn once this frees the models; soma_registry_stop_learning alone
 * may run while workers still answer. */
void soma_registry_stop_learning(soma_registry *registry);
void soma_registry_close(soma_registry *registry);

/* NULL name: the fallback. SOMA_E_NOT_FOUND lists what there is. */
soma_status soma_registry_find(const soma_registry *registry, const char *name,
                               soma_served **served, soma_error *err);

#endif

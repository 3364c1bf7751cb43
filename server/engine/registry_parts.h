/* Inside the registry: what its files share.
 */
#ifndef SOMA_ENGINE_REGISTRY_PARTS_H
#define SOMA_ENGINE_REGISTRY_PARTS_H

#include "server/engine/registry.h"

/* ---- registry.c ---- */

/* NULL: the place is free. */
soma_served *soma_registry_at(soma_registry *registry, int i);
/* NULL: there is none of that name. */
soma_served *soma_registry_look_up(soma_registry *registry, const char *name);

bool soma_served_is_used(soma_served *served);

/* ---- registry_load.c ---- */

soma_status soma_registry_load_files(soma_registry *registry, soma_error *err);
soma_status soma_registry_load_forks(soma_registry *registry, soma_error *err);

/* The length of a model file's name without its suffix, 0: it is none. */
size_t soma_registry_stem(const char *name);

/* Whether the folder has a file of each kind for model `name`: then none of
 * them is loaded, since which one was meant cannot be known. */
bool soma_registry_is_ambiguous(const soma_registry *registry,
                                const char *name);

/* The path of the model file `name`; false: a name, or a file, that cannot be.
 */
bool soma_registry_path(const soma_registry *registry, const char *name,
                        char *path, size_t size);

/* Reads the file into a model that neither learns nor is on the list yet.
 * digest [SOMA_DIGEST_HEX + 1] may be NULL. */
soma_status soma_registry_read_file(soma_registry *registry, const char *name,
                                    const char *path, char *digest,
                                    soma_served **made, soma_error *err);
soma_status soma_served_start(soma_served *served,
                              const soma_registry_options *options,
                              soma_error *err);
soma_status soma_registry_put(soma_registry *registry, soma_served *served,
                              soma_error *err);

/* The fork whose journal is at `path`; its trainer begins to recover. *served
 * stays NULL when it is no fork's. */
soma_status soma_registry_load_fork(soma_registry *registry, const char *name,
                                    const char *path, soma_served **served,
                                    soma_error *err);

/* Letters, digits, '.', '_', '-': names stand in URLs, paths and metrics. */
bool soma_registry_is_name(const char *name, size_t length);

/* Stops the trainer, too. NULL is fine. */
void soma_served_free(soma_served *served);

/* ---- registry_keeper.c ---- */

/* Takes the model off the list, to be freed when nobody sees it any more; then
 * the job, which may be NULL, is answered. False: it was off the list. */
bool soma_keeper_retire(soma_registry *registry, soma_served *served,
                        bool set_aside, soma_job *job);
/* Whether a model of that name still has its journal open, although it is off
 * the list. */
bool soma_keeper_is_closing(struct soma_keeper *keeper, const char *name);
/* On the keeper. SOMA_E_*: why it could not recover. */
soma_status soma_keeper_wait_until_ready(const soma_served *served,
                                         soma_error *err);

/* ---- registry_files.c: on the keeper ---- */

soma_status soma_registry_load_now(soma_registry *registry, const char *name,
                                   soma_error *err);
/* Answers the job, unless it fails. */
soma_status soma_registry_unload_now(soma_registry *registry, const char *name,
                                     soma_job *job, soma_error *err);
void soma_registry_rescan_now(soma_registry *registry);

soma_status soma_keeper_start(soma_registry *registry, soma_error *err);
void soma_keeper_stop(soma_registry *registry); /* twice is fine */

#endif

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

soma_status soma_keeper_start(soma_registry *registry, soma_error *err);
void soma_keeper_stop(soma_registry *registry); /* twice is fine */

#endif

#include "server/engine/registry.h"

#include "server/engine/registry_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The only file is the default, whatever forks there are of it. */
static soma_status
choose_fallback(soma_registry *registry, soma_error *err)
{
    const char *name = registry->options.default_model;
    soma_status status = SOMA_OK;
    soma_served *fallback = NULL;
    if (name)
        status = soma_registry_find(registry, name, &fallback, err);
    else if (atomic_load(&registry->top) == 1)
        fallback = soma_registry_at(registry, 0);
    if (status)
        soma_error_prefix(err, "--default-model");
    atomic_store(&registry->fallback, fallback);
    if (fallback)
        snprintf(registry->fallback_name, sizeof registry->fallback_name, "%s",
                 fallback->name);
    return status;
}

soma_status
soma_registry_open(soma_registry *registry,
                   const soma_registry_options *options, soma_error *err)
{
    *registry = (soma_registry){.options = *options};
    soma_readers_init(&registry->readers);
    soma_status status = soma_registry_load_files(registry, err);
    if (!status)
        status = choose_fallback(registry, err);
    if (!status)
        status = soma_registry_load_forks(registry, err);
    if (!status)
        status = soma_keeper_start(registry, err);
    if (status)
        soma_registry_close(registry);
    return status;
}

static soma_status
look_at(const soma_served *served, soma_error *err)
{
    soma_trainer_report report;
    if (soma_trainer_is_ready(served->trainer))
        return SOMA_OK;
    soma_trainer_ask(served->trainer, &report);
    if (report.state == SOMA_TRAINER_FAILED) {
        *err = report.err;
        return err->status;
    }
    if (report.err.status)
        return soma_error_set(err, SOMA_E_BUSY,
                              "model %s waits for its journal: %s",
                              served->name, report.err.text);
    return soma_error_set(err, SOMA_E_BUSY,
                          "model %s is recovering: %llu of %llu records",
                          served->name, (unsigned long long)report.done,
                          (unsigned long long)report.all);
}

soma_status
soma_registry_progress(soma_registry *registry, soma_error *err)
{
    soma_status status = SOMA_OK;
    int top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++) {
        soma_error one;
        const soma_served *served = soma_registry_at(registry, i);
        soma_status found = served ? look_at(served, &one) : SOMA_OK;
        /* A failure counts more than one that goes on. */
        if (found && (!status || status == SOMA_E_BUSY)) {
            *err = one;
            status = found;
        }
    }
    return status;
}

soma_status
soma_registry_recovered(soma_registry *registry, soma_error *err)
{
    soma_readers_enter(&registry->readers, SOMA_MAIN_READER);
    soma_status status = soma_registry_progress(registry, err);
    soma_readers_leave(&registry->readers, SOMA_MAIN_READER);
    return status;
}

void
soma_registry_stop_learning(soma_registry *registry)
{
    soma_keeper_stop(registry);
    int top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++) {
        soma_served *served = soma_registry_at(registry, i);
        if (!served)
            continue;
        soma_trainer_stop(served->trainer);
        served->trainer = NULL;
    }
}

void
soma_registry_close(soma_registry *registry)
{
    soma_keeper_stop(registry);
    int top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++)
        soma_served_free(atomic_exchange(&registry->models[i], NULL));
    atomic_store(&registry->top, 0);
}

soma_served *
soma_registry_at(soma_registry *registry, int i)
{
    return atomic_load(&registry->models[i]);
}

/* ---- Looking up ---- */

static int
by_name(const void *a, const void *b)
{
    const soma_served *const *p = a, *const *q = b;
    return strcmp((*p)->name, (*q)->name);
}

/* While one is replaced, both may be on the list: the older one goes. */
static int
drop_twins(soma_served **list, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (!kept || strcmp(list[kept - 1]->name, list[i]->name))
            list[kept++] = list[i];
        else if (list[kept - 1]->serial < list[i]->serial)
            list[kept - 1] = list[i];
    }
    return kept;
}

int
soma_registry_list(soma_registry *registry, soma_served *list[SOMA_MAX_MODELS])
{
    int count = 0, top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++) {
        soma_served *served = soma_registry_at(registry, i);
        if (served)
            list[count++] = served;
    }
    qsort(list, (size_t)count, sizeof(soma_served *), by_name);
    return drop_twins(list, count);
}

/* "a, b, c": the models there are, for messages. */
static void
list_names(soma_registry *registry, char *text, size_t size)
{
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(registry, list);
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i ? ", " : "", list[i]->name);
}

soma_served *
soma_registry_look_up(soma_registry *registry, const char *name)
{
    int top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++) {
        soma_served *served = soma_registry_at(registry, i);
        if (served && !strcmp(name, served->name))
            return served;
    }
    return NULL;
}

soma_status
soma_registry_find(soma_registry *registry, const char *name,
                   soma_served **served, soma_error *err)
{
    soma_served *found = name ? soma_registry_look_up(registry, name)
                              : atomic_load(&registry->fallback);
    char known[256];
    if (found) {
        *served = found;
        return SOMA_OK;
    }
    list_names(registry, known, sizeof known);
    if (!name)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "which model? \"model\" is missing and there is "
                              "no default; there are: %s",
                              known);
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "there is no model \"%.128s\"; there are: %s", name,
                          known);
}

void
soma_served_use(soma_served *served, int reader)
{
    _Atomic int *count = &served->uses[reader].count;
    int now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + 1, memory_order_relaxed);
}

/* Releases what was done with the model to whoever frees it. */
void
soma_served_leave(soma_served *served, int reader)
{
    _Atomic int *count = &served->uses[reader].count;
    int now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now - 1, memory_order_release);
}

bool
soma_served_is_used(soma_served *served)
{
    for (int i = 0; i < SOMA_MAX_READERS; i++)
        if (atomic_load_explicit(&served->uses[i].count, memory_order_acquire))
            return true;
    return false;
}

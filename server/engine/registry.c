#include "server/engine/registry.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char suffix[] = ".safetensors";

/* Names stand in URLs and in metrics: letters, digits, '.', '_', '-'. */
static bool
good_name(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return length > 0 && length <= 128 && name[0] != '.';
}

static bool
is_model_file(const char *name)
{
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return length > tail && !strcmp(name + length - tail, suffix) &&
           name[0] != '.';
}

static void
served_free(soma_served *served)
{
    if (!served)
        return;
    soma_trainer_stop(served->trainer);
    soma_shelf_free(&served->shelf);
    soma_classes_free(&served->classes);
    soma_memory_free(&served->memory);
    soma_memory_free(&served->guard);
    free(served->name);
    free(served);
}

static soma_status
start_learning(soma_served *served, const soma_registry_options *options,
               soma_error *err)
{
    soma_pupil pupil = {.name = served->name,
                        .classes = &served->classes,
                        .memory = &served->memory,
                        .guard = &served->guard,
                        .shelf = &served->shelf};
    served->trainer = soma_trainer_start(&options->trainer, &pupil, err);
    return served->trainer ? SOMA_OK : err->status;
}

static soma_status
load(soma_registry *registry, const char *path,
     const soma_registry_options *options, soma_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    size_t length = strlen(file) - (sizeof suffix - 1);
    if (!good_name(file, length))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: a model's name is 1 to 128 letters, "
                              "digits, '.', '_' or '-'",
                              path);
    soma_served *served = calloc(1, sizeof *served);
    soma_served **models =
        realloc(registry->models,
                ((size_t)registry->count + 1) * sizeof *registry->models);
    registry->models = models ? models : registry->models;
    if (!served || !models) {
        free(served);
        return soma_error_memory(err, "a model");
    }
    served->index = registry->count;
    models[registry->count++] = served;
    soma_checkpoint checkpoint = {0};
    soma_status status = soma_checkpoint_read(path, NULL, &checkpoint, err);
    if (!status) {
        served->name = strndup(file, length);
        served->spec = checkpoint.model->spec;
        served->classes = checkpoint.classes;
        checkpoint.classes = (soma_classes){0, NULL};
        served->memory = checkpoint.memory;
        served->guard = checkpoint.guard;
        checkpoint.memory = checkpoint.guard = (soma_memory){0};
        soma_model *model = checkpoint.model;
        checkpoint.model = NULL;
        status =
            soma_shelf_create(&served->shelf, &registry->readers, model, err);
        if (!status && !served->name)
            status = soma_error_memory(err, "a model");
    }
    soma_checkpoint_free(&checkpoint);
    return status ? status : start_learning(served, options, err);
}

static int
model_file(const struct dirent *entry)
{
    return is_model_file(entry->d_name);
}

/* By name without the suffix: "cifar10" before "cifar10-deep". */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
    char p[NAME_MAX + 1], q[NAME_MAX + 1];
    snprintf(p, sizeof p, "%s", (*a)->d_name);
    snprintf(q, sizeof q, "%s", (*b)->d_name);
    p[strlen(p) - (sizeof suffix - 1)] = '\0';
    q[strlen(q) - (sizeof suffix - 1)] = '\0';
    return strcmp(p, q);
}

static soma_status
load_folder(soma_registry *registry, const soma_registry_options *options,
            soma_error *err)
{
    struct dirent **entries;
    int count = scandir(options->models, &entries, model_file, by_name);
    if (count < 0)
        return soma_error_errno(err, "reading", options->models);
    soma_status status = SOMA_OK;
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof path, "%s/%s", options->models,
                              entries[i]->d_name);
        if (!status && length < (int)sizeof path)
            status = load(registry, path, options, err);
        free(entries[i]);
    }
    free(entries);
    if (!status && registry->count == 0)
        status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                "%s: no model file (*%s) in this folder",
                                options->models, suffix);
    return status;
}

static soma_status
choose_fallback(soma_registry *registry, const char *name, soma_error *err)
{
    if (name) {
        soma_status status =
            soma_registry_find(registry, name, &registry->fallback, err);
        if (status)
            soma_error_prefix(err, "--default-model");
        return status;
    }
    registry->fallback = registry->count == 1 ? registry->models[0] : NULL;
    return SOMA_OK;
}

soma_status
soma_registry_open(soma_registry *registry,
                   const soma_registry_options *options, soma_error *err)
{
    struct stat st;
    soma_readers_init(&registry->readers);
    registry->count = 0;
    registry->models = NULL;
    registry->fallback = NULL;
    soma_status status;
    if (stat(options->models, &st))
        status = soma_error_errno(err, "opening", options->models);
    else if (S_ISDIR(st.st_mode))
        status = load_folder(registry, options, err);
    else if (is_model_file(options->models))
        status = load(registry, options->models, options, err);
    else
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "%s: a model file's name ends in %s",
                                options->models, suffix);
    if (!status)
        status = choose_fallback(registry, options->default_model, err);
    if (status)
        soma_registry_close(registry);
    return status;
}

soma_status
soma_registry_recovered(const soma_registry *registry, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < registry->count; i++) {
        soma_trainer_report report;
        const soma_served *served = registry->models[i];
        if (soma_trainer_is_ready(served->trainer))
            continue;
        soma_trainer_ask(served->trainer, &report);
        if (report.state == SOMA_TRAINER_FAILED) {
            *err = report.err;
            return err->status;
        }
        status = soma_error_set(err, SOMA_E_BUSY,
                                "model %s is recovering: %llu of %llu records",
                                served->name, (unsigned long long)report.done,
                                (unsigned long long)report.all);
    }
    return status;
}

void
soma_registry_stop_learning(soma_registry *registry)
{
    for (int i = 0; i < registry->count; i++) {
        soma_trainer_stop(registry->models[i]->trainer);
        registry->models[i]->trainer = NULL;
    }
}

void
soma_registry_close(soma_registry *registry)
{
    for (int i = 0; i < registry->count; i++)
        served_free(registry->models[i]);
    free(registry->models);
    registry->models = NULL;
    registry->count = 0;
}

/* "a, b, c": the models there are, for messages. */
static void
list_names(const soma_registry *registry, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < registry->count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i ? ", " : "", registry->models[i]->name);
}

soma_status
soma_registry_find(const soma_registry *registry, const char *name,
                   soma_served **served, soma_error *err)
{
    if (!name && registry->fallback) {
        *served = registry->fallback;
        return SOMA_OK;
    }
    for (int i = 0; name && i < registry->count; i++)
        if (!strcmp(name, registry->models[i]->name)) {
            *served = registry->models[i];
            return SOMA_OK;
        }
    char known[256] = "";
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

/* Models from files: those of the models folder, and the forks, which are
 * journals in the data folder that have no model file of their own.
 */
#include "core/io/dataset.h"
#include "server/engine/log.h"
#include "server/engine/registry_parts.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GUARD_EXAMPLES = 2000 };

static const char *const model_suffixes[] = {".safetensors", ".onnx"};
enum { SUFFIXES = sizeof model_suffixes / sizeof *model_suffixes };
static const char journal_suffix[] = ".db";

bool
soma_registry_is_name(const char *name, size_t length)
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
ends_in(const char *name, const char *suffix)
{
    return soma_file_ends_in(name, suffix) && name[0] != '.';
}

size_t
soma_registry_stem(const char *name)
{
    for (size_t i = 0; i < SUFFIXES; i++)
        if (ends_in(name, model_suffixes[i]))
            return strlen(name) - strlen(model_suffixes[i]);
    return 0;
}

/* ---- The guard set ---- */

/* The path in "NAME=PATH,..." for this name; false: there is none. */
static bool
find_guard(const char *guards, const char *name, char *path, size_t size)
{
    size_t length = strlen(name);
    for (const char *at = guards; at && *at;) {
        size_t whole = strcspn(at, ",");
        if (whole > length + 1 && !strncmp(at, name, length) &&
            at[length] == '=') {
            snprintf(path, size, "%.*s", (int)(whole - length - 1),
                     at + length + 1);
            return true;
        }
        at += whole + (at[whole] == ',');
    }
    return false;
}

static soma_status
check_guard(const soma_served *served, const soma_dataset *dataset,
            soma_error *err)
{
    if (dataset->size != served->spec.input.size)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "examples of %d values, the model's input has "
                              "%d",
                              dataset->size, served->spec.input.size);
    for (int i = 0; i < dataset->count; i++)
        if (dataset->labels[i] >= served->spec.classes)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "label %d, the model has %d classes",
                                  dataset->labels[i], served->spec.classes);
    return SOMA_OK;
}

static soma_status
load_guard(soma_served *served, const char *guards, soma_error *err)
{
    char path[PATH_MAX];
    soma_dataset dataset = {0};
    soma_dataset_options options = {.split = SOMA_SPLIT_TEST,
                                    .classes = &served->classes};
    const soma_input *input = &served->spec.input;
    if (!find_guard(guards, served->name, path, sizeof path))
        return SOMA_OK;
    options.rank = input->rank;
    memcpy(options.shape, input->shape, sizeof options.shape);
    soma_memory_free(&served->guard);
    soma_status status = soma_dataset_open(path, &options, &dataset, err);
    if (!status)
        status = check_guard(served, &dataset, err);
    if (!status)
        status = soma_dataset_sample(&dataset, GUARD_EXAMPLES, 1, false,
                                     &served->guard, err);
    if (status)
        soma_error_prefix(err, "--guard %s=%s", served->name, path);
    soma_dataset_free(&dataset);
    return status;
}

/* A name that is none of a model's is a mistake. */
static soma_status
check_guards(soma_registry *registry, soma_error *err)
{
    const char *at = registry->options.guards;
    while (at && *at) {
        char name[SOMA_MODEL_NAME + 1];
        size_t whole = strcspn(at, ","), length = strcspn(at, "=");
        if (length >= whole || length + 1 == whole || length >= sizeof name)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "--guard: expected NAME=PATH, got \"%.*s\"",
                                  (int)whole, at);
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        soma_served *served;
        if (soma_registry_find(registry, name, &served, err)) {
            soma_error_prefix(err, "--guard");
            return err->status = SOMA_E_ARGUMENT;
        }
        at += whole + (at[whole] == ',');
    }
    return SOMA_OK;
}

/* ---- One model ---- */

void
soma_served_free(soma_served *served)
{
    if (!served)
        return;
    soma_trainer_stop(served->trainer);
    soma_shelf_free(&served->shelf);
    soma_recall_free(&served->recall);
    soma_health_free(&served->health);
    soma_classes_free(&served->classes);
    soma_memory_free(&served->memory);
    soma_memory_free(&served->guard);
    free(served->name);
    free(served->origin);
    free(served);
}

soma_status
soma_served_start(soma_served *served, const soma_registry_options *options,
                  soma_error *err)
{
    soma_pupil pupil = {.name = served->name,
                        .origin = served->origin,
                        .classes = &served->classes,
                        .memory = &served->memory,
                        .guard = &served->guard,
                        .shelf = &served->shelf};
    served->trainer = soma_trainer_start(&options->trainer, &pupil, err);
    return served->trainer ? SOMA_OK : err->status;
}

/* Takes over what the checkpoint has. */
static soma_status
fill(soma_served *served, soma_registry *registry, soma_checkpoint *checkpoint,
     soma_error *err)
{
    const soma_registry_options *o = &registry->options;
    soma_model *model = checkpoint->model;
    served->spec = model->spec;
    served->classes = checkpoint->classes;
    served->memory = checkpoint->memory;
    served->guard = checkpoint->guard;
    checkpoint->classes = (soma_classes){0, NULL};
    checkpoint->memory = checkpoint->guard = (soma_memory){0};
    checkpoint->model = NULL;
    soma_recall_init(&served->recall, served->spec.input.size, o->recall,
                     o->recall_seconds);
    soma_status status =
        soma_shelf_create(&served->shelf, &registry->readers, model, err);
    return status ? status
                  : soma_health_create(&served->health, &served->spec, err);
}

soma_status
soma_registry_put(soma_registry *registry, soma_served *served, soma_error *err)
{
    int at = 0;
    while (at < SOMA_MAX_MODELS && atomic_load(&registry->taken[at]))
        at++;
    if (at == SOMA_MAX_MODELS)
        return soma_error_set(err, SOMA_E_LIMIT, "more than %d models",
                              SOMA_MAX_MODELS);
    atomic_store(&registry->taken[at], true);
    served->index = at;
    served->serial = ++registry->serial;
    atomic_store(&registry->models[at], served);
    if (at >= atomic_load(&registry->top))
        atomic_store(&registry->top, at + 1);
    return SOMA_OK;
}

/* Takes over what the checkpoint has; origin is copied. It does not learn yet.
 */
static soma_status
make_served(soma_registry *registry, const char *name, const char *origin,
            soma_checkpoint *checkpoint, soma_served **made, soma_error *err)
{
    soma_served *served = *made = aligned_alloc(64, sizeof *served);
    if (!served)
        return soma_error_memory(err, "a model");
    memset(served, 0, sizeof *served);
    served->name = strdup(name);
    served->origin = origin ? strdup(origin) : NULL;
    soma_status status = SOMA_OK;
    if (!served->name || (origin && !served->origin))
        status = soma_error_memory(err, "a model");
    if (!status)
        status = fill(served, registry, checkpoint, err);
    if (!status)
        status = load_guard(served, registry->options.guards, err);
    if (status) {
        soma_served_free(served);
        *made = NULL;
    }
    return status;
}

/* *served is NULL once it is freed. */
static soma_status
serve(soma_registry *registry, soma_served **served, soma_error *err)
{
    soma_status status = soma_served_start(*served, &registry->options, err);
    if (!status)
        status = soma_registry_put(registry, *served, err);
    if (status) {
        soma_served_free(*served);
        *served = NULL;
    }
    return status;
}

/* ---- Model files ---- */

/* How many files of the folder would be model `name`; `path` is the last's. */
static int
find_files(const char *folder, const char *name, char *path, size_t size)
{
    int found = 0;
    for (size_t i = SUFFIXES; i-- > 0;) {
        char one[PATH_MAX];
        int length = snprintf(one, sizeof one, "%s/%s%s", folder, name,
                              model_suffixes[i]);
        if (length >= (int)size || length >= (int)sizeof one ||
            access(one, F_OK))
            continue;
        memcpy(path, one, (size_t)length + 1);
        found++;
    }
    return found;
}

bool
soma_registry_is_ambiguous(const soma_registry *registry, const char *name)
{
    char path[PATH_MAX];
    return find_files(registry->options.models, name, path, sizeof path) > 1;
}

bool
soma_registry_path(const soma_registry *registry, const char *name, char *path,
                   size_t size)
{
    struct stat st;
    const char *models = registry->options.models;
    if (!soma_registry_is_name(name, strlen(name)))
        return false;
    if (!stat(models, &st) && S_ISDIR(st.st_mode)) {
        if (find_files(models, name, path, size))
            return true;
        return snprintf(path, size, "%s/%s%s", models, name,
                        model_suffixes[0]) < (int)size;
    }
    const char *slash = strrchr(models, '/');
    const char *file = slash ? slash + 1 : models;
    return soma_registry_stem(file) == strlen(name) &&
           !strncmp(file, name, strlen(name)) &&
           snprintf(path, size, "%s", models) < (int)size;
}

/* The file may be replaced while it is read: if it was, that is a change for
 * the next time. */
soma_status
soma_registry_read_file(soma_registry *registry, const char *name,
                        const char *path, char *digest, soma_served **made,
                        soma_error *err)
{
    soma_file_id file;
    soma_checkpoint checkpoint = {0};
    *made = NULL;
    soma_status status = soma_file_identify(path, &file, err);
    if (!status)
        status = soma_checkpoint_read(path, NULL, &checkpoint, err);
    if (!status && digest)
        status = soma_checkpoint_digest(&checkpoint, digest, err);
    if (!status)
        status = make_served(registry, name, NULL, &checkpoint, made, err);
    if (!status)
        (*made)->file = file;
    soma_checkpoint_free(&checkpoint);
    return status;
}

static soma_status
load_file(soma_registry *registry, const char *path, soma_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    size_t length = soma_registry_stem(file);
    char name[SOMA_MODEL_NAME + 1];
    if (!soma_registry_is_name(file, length))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s: a model's name is 1 to 128 letters, "
                              "digits, '.', '_' or '-'",
                              path);
    snprintf(name, sizeof name, "%.*s", (int)length, file);
    if (soma_registry_look_up(registry, name))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s: there is another file for a model \"%s\"; "
                              "move one of them away",
                              path, name);
    soma_served *served;
    soma_status status =
        soma_registry_read_file(registry, name, path, NULL, &served, err);
    return status ? status : serve(registry, &served, err);
}

static int
is_model_file(const struct dirent *entry)
{
    return soma_registry_stem(entry->d_name) > 0;
}

static int
is_journal(const struct dirent *entry)
{
    return ends_in(entry->d_name, journal_suffix);
}

static soma_status
load_folder(soma_registry *registry, const char *folder, soma_error *err)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_model_file, alphasort);
    if (count < 0)
        return soma_error_errno(err, "reading", folder);
    soma_status status = SOMA_OK;
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        int length =
            snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!status && length < (int)sizeof path)
            status = load_file(registry, path, err);
        free(entries[i]);
    }
    free(entries);
    if (!status && count == 0)
        status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                "%s: no model file (*.safetensors, *.onnx) in "
                                "this folder",
                                folder);
    return status;
}

soma_status
soma_registry_load_files(soma_registry *registry, soma_error *err)
{
    struct stat st;
    const char *path = registry->options.models;
    const char *slash = strrchr(path, '/');
    soma_status status;
    if (stat(path, &st))
        status = soma_error_errno(err, "opening", path);
    else if (S_ISDIR(st.st_mode))
        status = load_folder(registry, path, err);
    else if (soma_registry_stem(slash ? slash + 1 : path))
        status = load_file(registry, path, err);
    else
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "%s: a model file's name ends in .safetensors "
                                "or .onnx",
                                path);
    return status ? status : check_guards(registry, err);
}

/* ---- Forks ---- */

/* The model that the journal began with, and what it is a fork of. */
static soma_status
read_base(const char *path, soma_journal_info *info, soma_checkpoint *base,
          soma_error *err)
{
    soma_bytes model = {NULL, 0};
    soma_journal *journal = soma_journal_open(path, true, err);
    if (!journal)
        return err->status;
    soma_status status = journal->backend->info(journal, info, err);
    if (!status && info->origin[0])
        status = journal->backend->base(journal, &model, err);
    journal->backend->close(journal);
    if (status || !model.data) {
        soma_bytes_free(&model);
        return status;
    }
    status = soma_checkpoint_parse(&model, NULL, base, err);
    if (status)
        soma_error_prefix(err, "%s: the model that it began with", path);
    return status;
}

soma_status
soma_registry_load_fork(soma_registry *registry, const char *name,
                        const char *path, soma_served **served, soma_error *err)
{
    soma_journal_info info;
    soma_checkpoint base = {0};
    *served = NULL;
    soma_status status = read_base(path, &info, &base, err);
    if (!status && !base.model)
        soma_log(SOMA_LOG_WARNING, "journal-without-model", "journal", path,
                 "text",
                 "it is no fork, and there is no model file of its name: what "
                 "it has learned is not served",
                 NULL);
    else if (!status)
        status = make_served(registry, name, info.origin, &base, served, err);
    if (!status && *served)
        status = serve(registry, served, err);
    soma_checkpoint_free(&base);
    return status;
}

soma_status
soma_registry_load_forks(soma_registry *registry, soma_error *err)
{
    struct dirent **entries;
    const char *folder = registry->options.trainer.data;
    if (!folder)
        return SOMA_OK;
    int count = scandir(folder, &entries, is_journal, alphasort);
    if (count < 0)
        return soma_error_errno(err, "reading", folder);
    soma_status status = SOMA_OK;
    for (int i = 0; i < count; i++) {
        soma_served *served;
        char path[PATH_MAX], name[NAME_MAX + 1];
        const char *file = entries[i]->d_name;
        int length = (int)(strlen(file) - strlen(journal_suffix));
        snprintf(name, sizeof name, "%.*s", length, file);
        int whole = snprintf(path, sizeof path, "%s/%s", folder, file);
        if (!status && whole < (int)sizeof path &&
            soma_registry_is_name(name, strlen(name)) &&
            !soma_registry_look_up(registry, name))
            status =
                soma_registry_load_fork(registry, name, path, &served, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

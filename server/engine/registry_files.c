/* The models folder as a repository: models are loaded, replaced and unloaded
 * while others are answered, by the keeper (registry_keeper.c).
 *
 * A replacement is made beside what is served: its file is read, and if that
 * fails nothing has happened. Then the old one's trainer is paused, so that
 * the journal has one owner at a time; the new one's recovers what was learned
 * while the old one still answers predictions; the two change places in one
 * store, and the old one is freed when nobody sees it any more. Only /train
 * answers 503 in between.
 *
 * What was learned began with a base. A file with another one would put an end
 * to it, so it is refused unless --new-base says otherwise.
 */
#include "server/engine/log.h"
#include "server/engine/registry_parts.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- What was learned ---- */

static soma_status
refuse_base(const char *name, const char *how, soma_error *err)
{
    return soma_error_set(err, SOMA_E_CONFLICT,
                          "%s: what it learned began with another model file, "
                          "which goes on being served. Put that file back, or "
                          "start the server with --new-base=restart (%s) or "
                          "--new-base=relearn (learn its examples again on the "
                          "new weights)",
                          name, how);
}

/* Whether what was learned, if anything was, can go on with a file of this
 * digest, or need not. */
static soma_status
check_journal(const soma_registry *registry, const soma_served *fresh,
              const char *digest, soma_error *err)
{
    char path[PATH_MAX];
    soma_journal_info info;
    snprintf(path, sizeof path, "%s/%s.db", registry->options.trainer.data,
             fresh->name);
    if (access(path, F_OK) && errno == ENOENT)
        return SOMA_OK;
    soma_journal *journal = soma_journal_open(path, true, err);
    if (!journal)
        return err->status;
    soma_status status = journal->backend->info(journal, &info, err);
    journal->backend->close(journal);
    bool size = info.size == fresh->spec.input.size;
    if (status || (!strcmp(info.base, digest) && size))
        return status;
    switch (registry->options.trainer.new_base) {
    case SOMA_BASE_REFUSE:
        return refuse_base(fresh->name, "set the journal aside, begin anew",
                           err);
    case SOMA_BASE_RELEARN:
        return size ? SOMA_OK
                    : soma_error_set(err, SOMA_E_SHAPE,
                                     "%s: its examples have %d values, the "
                                     "new model's input has %d",
                                     path, info.size, fresh->spec.input.size);
    case SOMA_BASE_RESTART:
        break;
    }
    return SOMA_OK;
}

/* Without a journal on disk it is the old model alone that has it. */
static soma_status
check_memory(soma_registry *registry, soma_served *old, soma_error *err)
{
    soma_readers_enter(&registry->readers, SOMA_KEEPER_READER);
    uint64_t version = soma_shelf_current(&old->shelf)->version;
    soma_readers_leave(&registry->readers, SOMA_KEEPER_READER);
    if (registry->options.trainer.new_base == SOMA_BASE_RESTART || !version)
        return SOMA_OK;
    return refuse_base(old->name, "forget it", err);
}

static soma_status
check_base(soma_registry *registry, soma_served *old, const soma_served *fresh,
           const char *digest, soma_error *err)
{
    if (registry->options.trainer.data)
        return check_journal(registry, fresh, digest, err);
    return old ? check_memory(registry, old, err) : SOMA_OK;
}

/* ---- Loading ---- */

static soma_status
put_in_force(soma_registry *registry, soma_served *fresh, soma_error *err)
{
    soma_status status = soma_registry_put(registry, fresh, err);
    if (!status && !strcmp(registry->fallback_name, fresh->name))
        atomic_store(&registry->fallback, fresh);
    return status;
}

static soma_status
start(soma_registry *registry, soma_served *fresh, soma_error *err)
{
    soma_status status = soma_served_start(fresh, &registry->options, err);
    if (!status)
        status = soma_keeper_wait_until_ready(fresh, err);
    if (!status)
        status = put_in_force(registry, fresh, err);
    return status;
}

/* The old model serves and learns on, if this fails. */
static soma_status
replace(soma_registry *registry, soma_served *old, soma_served *fresh,
        const char *digest, soma_error *err)
{
    soma_status status = check_base(registry, old, fresh, digest, err);
    if (!status)
        status = soma_trainer_pause(old->trainer, err);
    if (status)
        return status;
    /* It may have learned its first example meanwhile. */
    status = check_base(registry, old, fresh, digest, err);
    if (!status)
        status = start(registry, fresh, err);
    if (!status) {
        soma_keeper_retire(registry, old, false, NULL);
        return SOMA_OK;
    }
    /* Its journal must be closed before the old one opens it again. */
    soma_trainer_stop(fresh->trainer);
    fresh->trainer = NULL;
    soma_error again;
    if (soma_trainer_resume(old->trainer, &again))
        soma_log(SOMA_LOG_ERROR, "learning-stopped", "model", old->name, "text",
                 again.text, NULL);
    return status;
}

static soma_status
load_file(soma_registry *registry, const char *name, const char *path,
          soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1];
    soma_file_id id;
    soma_served *fresh, *old = soma_registry_look_up(registry, name);
    soma_status status = soma_file_identify(path, &id, err);
    if (!status && old && soma_file_is_same(&id, &old->file))
        return SOMA_OK;
    if (!status && old && old->origin)
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s is a fork of %s; a model file cannot take "
                              "its place",
                              name, old->origin);
    if (!status)
        status =
            soma_registry_read_file(registry, name, path, digest, &fresh, err);
    if (status)
        return status;
    if (old) {
        status = replace(registry, old, fresh, digest, err);
    } else {
        status = check_base(registry, NULL, fresh, digest, err);
        if (!status)
            status = start(registry, fresh, err);
    }
    if (status)
        soma_served_free(fresh);
    else
        soma_log(SOMA_LOG_INFO, old ? "replaced" : "loaded", "model", name,
                 NULL);
    return status;
}

/* A fork has no file but its journal. */
static soma_status
load_fork(soma_registry *registry, const char *name, soma_error *err)
{
    char path[PATH_MAX];
    const char *data = registry->options.trainer.data;
    soma_served *served = NULL;
    if (soma_registry_look_up(registry, name))
        return SOMA_OK;
    soma_status status = SOMA_OK;
    bool there = false;
    if (data && soma_registry_is_name(name, strlen(name))) {
        snprintf(path, sizeof path, "%s/%s.db", data, name);
        there = !access(path, F_OK);
    }
    if (there)
        status = soma_registry_load_fork(registry, name, path, &served, err);
    if (!status && served)
        status = soma_keeper_wait_until_ready(served, err);
    if (!status && !served)
        status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                "there is no model file \"%.128s\" in %s", name,
                                registry->options.models);
    return status;
}

soma_status
soma_registry_load_now(soma_registry *registry, const char *name,
                       soma_error *err)
{
    char path[PATH_MAX];
    soma_served *old = soma_registry_look_up(registry, name);
    bool fork = old ? old->origin != NULL
                    : !soma_registry_path(registry, name, path, sizeof path) ||
                          access(path, F_OK);
    if (fork)
        return load_fork(registry, name, err);
    if (!soma_registry_path(registry, name, path, sizeof path))
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "there is no model file of that name in %s",
                              registry->options.models);
    if (soma_registry_is_ambiguous(registry, name))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s: there are two files for this model, "
                              ".safetensors and .onnx; move one of them away",
                              name);
    return load_file(registry, name, path, err);
}

soma_status
soma_registry_unload_now(soma_registry *registry, const char *name,
                         soma_job *job, soma_error *err)
{
    soma_served *served = soma_registry_look_up(registry, name);
    if (!served || !soma_keeper_retire(registry, served, false, job))
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "there is no model \"%.128s\"", name);
    soma_log(SOMA_LOG_INFO, "unloaded", "model", name, NULL);
    return SOMA_OK;
}

/* ---- The folder ---- */

static int
is_model_file(const struct dirent *entry)
{
    return soma_registry_is_name(entry->d_name,
                                 soma_registry_stem(entry->d_name));
}

/* The only file, where that is what --models names. */
static char **
one_file(const char *path)
{
    char **names = calloc(2, sizeof *names);
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    size_t length = soma_registry_stem(file);
    if (!names || !length || access(path, F_OK))
        return names;
    names[0] = strndup(file, length);
    if (names[0])
        return names;
    free(names);
    return NULL;
}

char **
soma_registry_files(const soma_registry *registry)
{
    struct stat st;
    struct dirent **entries;
    const char *path = registry->options.models;
    if (!stat(path, &st) && !S_ISDIR(st.st_mode))
        return one_file(path);
    int count = scandir(path, &entries, is_model_file, alphasort);
    if (count < 0)
        return NULL;
    char **names = calloc((size_t)count + 1, sizeof *names);
    bool whole = names != NULL;
    for (int i = 0; i < count; i++) {
        size_t length = soma_registry_stem(entries[i]->d_name);
        if (whole)
            names[i] = strndup(entries[i]->d_name, length);
        whole = whole && names[i];
        free(entries[i]);
    }
    free(entries);
    if (whole)
        return names;
    /* Whoever has a part of them would take the others for gone. */
    soma_registry_free_files(names);
    return NULL;
}

void
soma_registry_free_files(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

static bool
is_among(char **names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

/* A folder without any file is more likely one that is not there just now. */
void
soma_registry_rescan_now(soma_registry *registry)
{
    soma_error err;
    char **files = soma_registry_files(registry);
    soma_log(SOMA_LOG_INFO, "rescan", "folder", registry->options.models, NULL);
    if (!files || !*files) {
        soma_log(SOMA_LOG_ERROR, "rescan-failed", "folder",
                 registry->options.models, "text",
                 "no model file can be found there; nothing is changed", NULL);
        soma_registry_free_files(files);
        return;
    }
    for (char **name = files; *name; name++)
        if (soma_registry_load_now(registry, *name, &err))
            soma_log(SOMA_LOG_ERROR, "load-failed", "model", *name, "text",
                     err.text, NULL);
    int top = atomic_load(&registry->top);
    for (int i = 0; i < top; i++) {
        soma_served *served = soma_registry_at(registry, i);
        if (served && served->file.changed && !is_among(files, served->name))
            soma_registry_unload_now(registry, served->name, NULL, &err);
    }
    soma_registry_free_files(files);
}

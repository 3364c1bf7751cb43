/* The models that are served.
 *
 * Models come and go while others are answered. Who looks one up must be
 * within a turn (readers.h) and may use it until the turn's end; who needs it
 * longer counts a use, which it gives back in whatever turn. A model that was
 * taken off the list is freed when no turn can still see it and no use is
 * left (registry_keeper.c).
 */
#ifndef SOMA_ENGINE_REGISTRY_H
#define SOMA_ENGINE_REGISTRY_H

#include "core/io/file.h"
#include "server/engine/health.h"
#include "server/engine/recall.h"
#include "server/engine/trainer.h"

enum {
    SOMA_MAX_MODELS = 256,
    SOMA_MODEL_NAME = SOMA_ORIGIN_MAX,       /* longest name, bytes */
    SOMA_MAIN_READER = SOMA_MAX_READERS - 1, /* of the main thread */
    SOMA_KEEPER_READER = SOMA_MAIN_READER - 1
};

/* Of a model that was taken off the list, until it is freed; the keeper's. */
typedef struct soma_leaving {
    uint64_t at;    /* soma_readers_retire */
    bool set_aside; /* its journal; else that stays */
    bool closed;    /* it has none open: its trainer was paused */
    soma_job *job;  /* to answer, or NULL */
    struct soma_served *next;
} soma_leaving;

typedef struct soma_served {
    char *name; /* the file's, without its suffix, or the fork's */
    soma_file_id file;
    char *origin;    /* of a fork: the model that it is one of; else NULL */
    uint64_t serial; /* no two have the same, ever */
    int index;       /* in the registry; free for another one after it */
    soma_spec spec;
    soma_classes classes;
    soma_memory memory, guard; /* may be empty */
    soma_shelf shelf;
    soma_trainer *trainer;
    soma_recall recall;
    soma_health health;
    soma_leaving leaving;
    struct {
        _Alignas(64) _Atomic int count;
    } uses[SOMA_MAX_READERS]; /* each written by its reader alone */
} soma_served;

typedef struct soma_registry_options {
    const char *models;        /* folder of model files, or one file */
    const char *default_model; /* NULL: the only one, if it is */
    const char *guards;        /* "NAME=PATH,...", or NULL */
    int recall;                /* inputs to remember for each model */
    long recall_seconds;       /* and for how long */
    soma_trainer_options trainer;
} soma_registry_options;

struct soma_keeper;

typedef struct soma_registry {
    soma_registry_options options;
    soma_readers readers;
    _Atomic(soma_served *) models[SOMA_MAX_MODELS]; /* NULL: free */
    atomic_bool taken[SOMA_MAX_MODELS]; /* also by one that is being removed */
    _Atomic int top;                    /* all are below */
    _Atomic uint64_t removals;          /* so far */
    uint64_t serial;                    /* of the newest */
    /* For requests that name none; NULL: they must. */
    _Atomic(soma_served *) fallback;
    char fallback_name[SOMA_MODEL_NAME + 1]; /* "": there never is one */
    struct soma_keeper *keeper;
} soma_registry;

/* Loads all models, and the forks that the data folder has, and starts their
 * trainers. A file that cannot be loaded fails the whole: a server must not
 * come up with less than it was told to serve. `options` is copied, what it
 * points to must outlive the registry. */
soma_status soma_registry_open(soma_registry *registry,
                               const soma_registry_options *options,
                               soma_error *err);

/* How far the trainers are with recovering what was learned: SOMA_OK when all
 * are ready, SOMA_E_BUSY while one is not, else why one cannot. On the main
 * thread. */
soma_status soma_registry_recovered(soma_registry *registry, soma_error *err);

/* The same, for a thread that has entered as a reader. */
soma_status soma_registry_progress(soma_registry *registry, soma_error *err);

/* Stops keeper and trainers, after what was submitted to them: no job may be
 * awaited any more. No worker may be within a turn once soma_registry_close
 * frees the models. */
void soma_registry_stop_learning(soma_registry *registry);
void soma_registry_close(soma_registry *registry);

/* ---- Within a turn ---- */

/* NULL name: the fallback. SOMA_E_NOT_FOUND lists what there is. */
soma_status soma_registry_find(soma_registry *registry, const char *name,
                               soma_served **served, soma_error *err);

/* All there are, sorted by name; returns how many. */
int soma_registry_list(soma_registry *registry,
                       soma_served *list[SOMA_MAX_MODELS]);

void soma_served_use(soma_served *served, int reader);
void soma_served_leave(soma_served *served, int reader);

/* ---- registry_keeper.c: within a turn, too ----
 *
 * SOMA_OK: the job is taken, and job->done called when all is done, as
 * trainer.h says. What the job is about must be in use until then. */

/* Makes a fork of `served` as it is now, called `name`: a model with a journal
 * of its own, that learns on its own. job->version: of which it is a copy.
 * SOMA_E_CONFLICT: the name is taken, or there is no data folder. */
soma_status soma_registry_fork(soma_registry *registry, soma_served *served,
                               const char *name, soma_job *job,
                               soma_error *err);

/* Makes the state of `challenger` that of `served`, if it reads the guard set
 * better or job->force is set. SOMA_E_CONFLICT: it does not, or they began with
 * different model files. */
soma_status soma_registry_promote(soma_registry *registry, soma_served *served,
                                  soma_served *challenger, soma_job *job,
                                  soma_error *err);

/* registry_files.c: the folder of model files as a repository. Loads `name`
 * from its file, or in place of what is served by that name; a fork is loaded
 * from its journal. Whatever goes wrong, what was served still is. A file that
 * has not changed is not read again. SOMA_E_NOT_FOUND: there is no such file;
 * SOMA_E_CONFLICT: what was learned began with another file, and --new-base
 * does not say what to do. */
void soma_registry_load(soma_registry *registry, const char *name,
                        soma_job *job);
/* Serves it no longer; file and journal stay. SOMA_E_NOT_FOUND. */
void soma_registry_unload(soma_registry *registry, const char *name,
                          soma_job *job);

/* From any thread: loads what is new or has changed, unloads what is gone, as
 * soon as the keeper has time for it; what goes wrong is logged. */
void soma_registry_rescan(soma_registry *registry);

/* The names of the model files there are, all of them; the array ends in NULL.
 * NULL: the folder cannot be read, or memory is short. */
char **soma_registry_files(const soma_registry *registry);
void soma_registry_free_files(char **names); /* NULL is fine */

/* Takes a fork off the list and sets its journal aside. `served` must not be
 * in use by the one who asks. SOMA_E_CONFLICT: it is no fork. */
soma_status soma_registry_remove(soma_registry *registry, soma_served *served,
                                 soma_job *job, soma_error *err);

#endif

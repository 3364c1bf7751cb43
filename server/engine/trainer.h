/* Learning: one trainer thread for each model (invariants: trainer.c).
 */
#ifndef SOMA_ENGINE_TRAINER_H
#define SOMA_ENGINE_TRAINER_H

#include "core/learner.h"
#include "server/engine/clock.h"
#include "server/engine/feed.h"
#include "server/engine/histogram.h"
#include "server/engine/journal.h"
#include "server/engine/snapshot.h"

typedef struct soma_trainer soma_trainer;
struct soma_registry;
struct soma_served;

typedef enum soma_job_kind {
    SOMA_JOB_LEARN,    /* examples */
    SOMA_JOB_ROLLBACK, /* back to an earlier version */
    SOMA_JOB_HISTORY,  /* what was recorded */
    SOMA_JOB_JUDGE,    /* the version in force, by the guard set */
    SOMA_JOB_STATE,    /* a copy of the state of learning */
    SOMA_JOB_ADOPT     /* take over such a copy of another model's */
} soma_job_kind;

/* What the registry's keeper is to do. */
typedef enum soma_keep {
    SOMA_KEEP_FORK,
    SOMA_KEEP_LOAD,
    SOMA_KEEP_UNLOAD
} soma_keep;

/* A record as SOMA_JOB_HISTORY gives it. */
typedef struct soma_taught {
    soma_record record; /* x points into the job's `values`, or is NULL; data is
                           not given */
    soma_lesson lesson; /* version 0: not known any more */
    char from[SOMA_ORIGIN_MAX + 1]; /* of an adoption: the model's name */
} soma_taught;

/* Work for the trainer. It belongs to whoever submitted it, but from a
 * successful submit until `done` is called it is the trainer's: nobody else
 * touches it. `done` is called exactly once, on the trainer's thread, and must
 * not block. */
typedef struct soma_job {
    soma_job_kind kind;
    /* To learn, in order: */
    int count;
    const float *x;              /* [count x size] */
    const int *labels;           /* [count] */
    float rate;                  /* 0: that of the settings */
    const soma_journal_key *key; /* text and fingerprint; NULL: none */
    soma_lesson *lessons;        /* [count], filled in */
    bool repeated; /* the key's request was learned before: lessons are its */
    /* To roll back: */
    uint64_t target;
    /* To list: the records with after < seq, at most `limit`; newest: the last
     * ones instead. */
    uint64_t after;
    int limit;
    bool newest, pixels; /* values are wanted */
    soma_taught *taught; /* [taught_count], to be freed; filled in */
    float *values;       /* to be freed */
    int taught_count;

    /* A copy of the state: */
    bool with_base;   /* and of the model file */
    soma_bytes state; /* an adoption's data (replay.h), to be freed; NULL:
                         nothing was ever learned */
    soma_bytes base;  /* to be freed */
    char digest[SOMA_DIGEST_HEX + 1]; /* of the base */
    char from[SOMA_ORIGIN_MAX + 1];   /* whose it is; its version: target */
    int size;                         /* values of an example */
    unsigned char settings[SOMA_LEARNING_BYTES];
    /* To take it over: only if it is better than what is there, or `force`.
     * What both read of the guard set, 0..1, own and theirs; -1: there is no
     * such set. */
    bool force;
    double accuracy[2];
    /* To judge: of how many guard examples how many are read right, and the
     * mean loss; filled in. */
    int judged, right;
    double loss;
    /* The registry's, for forks and promotions: */
    struct soma_registry *registry;
    struct soma_served *heir;
    char name[SOMA_ORIGIN_MAX + 1]; /* of the fork, or to load or unload */
    soma_keep keep;
    void (*finally)(struct soma_job *job);

    uint64_t version; /* in force when it was done */
    soma_error err;   /* err.status SOMA_OK: all is recorded, learned (or
                         rejected) and published */
    void (*done)(struct soma_job *job);
    void *owner;
    struct soma_job *next; /* the trainer's */
} soma_job;

/* What a trainer needs to know of its model, all borrowed. */
typedef struct soma_pupil {
    const char *name;
    const char *origin; /* of a fork; else NULL */
    const soma_classes *classes;
    const soma_memory *memory; /* base memory */
    const soma_memory *guard;
    soma_shelf *shelf; /* its current snapshot is version 0 */
} soma_pupil;

/* What to do when the journal began with another model file. */
typedef enum soma_new_base {
    SOMA_BASE_REFUSE,
    SOMA_BASE_RESTART, /* set the journal aside, begin a new one */
    SOMA_BASE_RELEARN  /* the same, with the old one's examples in it */
} soma_new_base;

/* What to do when the model reads its guard set too badly. */
typedef enum soma_guard_action {
    SOMA_GUARD_STOP,      /* learn nothing more, until it is better again */
    SOMA_GUARD_ROLL_BACK, /* to the last version that was good, and go on */
    SOMA_GUARD_WARN       /* say so in the log */
} soma_guard_action;

typedef struct soma_trainer_options {
    soma_learning learning;
    long guard_every;  /* judge after so many examples; 0: never */
    double guard_drop; /* points of accuracy that may be lost, of 100 */
    soma_guard_action guard_action;
    int max_waiting;          /* examples that may wait */
    const char *data;         /* folder of journals; NULL: in memory */
    const char *journal;      /* address of a shared one; NULL: there is none */
    size_t journal_bytes;     /* of a journal in memory */
    long checkpoint_examples; /* a checkpoint after so many */
    long checkpoint_seconds;  /* or so long, if anything is new */
    long compare_every; /* of a shared journal: digests of versions that are
                           multiples of this; the same on all replicas. 0: 500
                         */
    soma_journal_policy keep; /* keep_since and keys_since are ages here */
    soma_new_base new_base;
} soma_trainer_options;

typedef enum soma_trainer_state {
    SOMA_TRAINER_RECOVERING, /* what was learned is not yet in force */
    SOMA_TRAINER_READY,
    SOMA_TRAINER_FAILED /* to recover; see the report's err */
} soma_trainer_state;

typedef struct soma_trainer_report {
    soma_trainer_state state;
    uint64_t done, all;  /* records of the recovery */
    soma_error err;      /* why it failed, why learning is stopped now, or what
                            a recovery waits for */
    bool stopped;        /* learning answers err until it is mended */
    uint64_t first;      /* oldest version to which one can still roll back from
                            the journal's records alone; 0: all */
    uint64_t checkpoint; /* version of the newest one */
    bool differs;        /* from the other replicas; err says how */
    uint64_t newest;     /* record of a shared journal, when it was last looked
                            at, learned here or not */
    int64_t looked;      /* when that was, soma_clock_now; 0: not yet */
    int active, kept, stream; /* examples to rehearse */
    int waiting;              /* examples to be learned */
    /* The guard set: its size (0: there is none); how many of it the model file
     * and the version that was judged last read right, and the latter's mean
     * loss. guard_judged 0: neither is known yet. */
    int guard, guard_judged, guard_base, guard_right;
    double guard_loss, guard_drop;
    uint64_t guard_version, guard_good;
    soma_learning learning;
} soma_trainer_report;

/* Begins to recover what the journal holds. `pupil` is copied, what it points
 * to must outlive the trainer. */
soma_trainer *soma_trainer_start(const soma_trainer_options *options,
                                 const soma_pupil *pupil, soma_error *err);

/* From any thread. */
bool soma_trainer_is_ready(const soma_trainer *trainer);
void soma_trainer_ask(soma_trainer *trainer, soma_trainer_report *report);

/* Microseconds of the appends that succeeded, fsync included. From any thread.
 */
const soma_histogram *soma_trainer_commits(const soma_trainer *trainer);

/* What it was taught of late, since it was started. From any thread. */
soma_feed *soma_trainer_feed(soma_trainer *trainer);

/* From any thread. SOMA_E_BUSY when too many examples wait or the trainer is
 * recovering or stopping: the job was not taken, `done` will not be called. */
soma_status soma_trainer_submit(soma_trainer *trainer, soma_job *job,
                                soma_error *err);

/* Finishes all that was submitted, writes a checkpoint and closes the journal,
 * for another trainer to go on with it, or for soma_trainer_resume. What is
 * submitted meanwhile is answered SOMA_E_BUSY. One thread may call these two
 * and soma_trainer_stop. SOMA_E_BUSY: the trainer is still recovering. */
soma_status soma_trainer_pause(soma_trainer *trainer, soma_error *err);
soma_status soma_trainer_resume(soma_trainer *trainer, soma_error *err);
bool soma_trainer_is_paused(soma_trainer *trainer);

/* Finishes all that was submitted, writes a checkpoint, ends the thread and
 * closes the journal. NULL is fine. */
void soma_trainer_stop(soma_trainer *trainer);

#endif

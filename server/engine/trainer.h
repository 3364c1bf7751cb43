/* Learning: one trainer thread for each model (invariants: trainer.c).
 */
#ifndef SOMA_ENGINE_TRAINER_H
#define SOMA_ENGINE_TRAINER_H

#include "core/sgd.h"
#include "server/engine/journal.h"
#include "server/engine/snapshot.h"

typedef struct soma_trainer soma_trainer;

/* What became of one example. */
typedef struct soma_lesson {
    uint64_t version; /* the first that contains it */
    float loss;       /* before learning it */
    int predicted;    /* the class, before learning it */
    bool rejected;    /* its step would have made a number that is not finite:
                         recorded, but nothing changed */
} soma_lesson;

/* A request to learn `count` examples, in order. It belongs to whoever
 * submitted it, but from a successful submit until `done` is called it is the
 * trainer's: nobody else touches it. `done` is called exactly once, on the
 * trainer's thread, and must not block. */
typedef struct soma_learn_job {
    int count;
    const float *x;       /* [count x size] */
    const int *labels;    /* [count] */
    soma_lesson *lessons; /* [count], filled in */
    soma_error err;       /* err.status SOMA_OK: all is recorded, learned (or
                             rejected) and published */
    void (*done)(struct soma_learn_job *job);
    void *owner;
    struct soma_learn_job *next; /* the trainer's */
} soma_learn_job;

typedef struct soma_trainer_options {
    soma_sgd sgd;    /* of each example's step */
    int max_waiting; /* examples that may wait */
} soma_trainer_options;

/* Takes over `journal`, also when it fails. Publishes to `shelf`, whose
 * current snapshot it starts from. */
soma_trainer *soma_trainer_start(const soma_trainer_options *options,
                                 soma_shelf *shelf, soma_journal *journal,
                                 soma_error *err);

/* From any thread. SOMA_E_BUSY when too many examples wait or the trainer is
 * stopping: the job was not taken, `done` will not be called. */
soma_status soma_trainer_submit(soma_trainer *trainer, soma_learn_job *job,
                                soma_error *err);

/* Finishes all that was submitted, then ends the thread and closes the
 * journal. NULL is fine. */
void soma_trainer_stop(soma_trainer *trainer);

#endif

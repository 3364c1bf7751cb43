/* What a trainer consists of; for trainer*.c alone.
 */
#ifndef SOMA_ENGINE_TRAINER_PARTS_H
#define SOMA_ENGINE_TRAINER_PARTS_H

#include "core/pass.h"
#include "server/engine/replay.h"
#include "server/engine/saver.h"
#include "server/engine/trainer.h"
#include "server/engine/writer.h"

#include <pthread.h>

/* How often what another replica was first with is tried again. */
enum { SOMA_SHARED_TRIES = 100 };

/* How a version reads the guard set. */
typedef struct soma_verdict {
    uint64_t version;
    int examples, right;
    double loss; /* sum */
} soma_verdict;

/* trainer_guard.c */
typedef struct soma_guard {
    /* The judging that is under way, of `judged`, which is pinned; of the base
     * if that is NULL. */
    bool busy;
    soma_snapshot *judged;
    soma_verdict running;
    soma_workspace *ws; /* scratch, made when it is first needed */
    float *x;

    soma_verdict base, last; /* examples 0: not yet judged */
    soma_verdict told;       /* the last that was asked for */
    bool due;                /* judge at once, not after so many examples */
    uint64_t asked;          /* the version that was judged last */
    uint64_t good;           /* the newest one that was good; 0: none yet */
    bool bad;                /* the last verdict is */
    bool stopped;
    soma_error why;
} soma_guard;

struct soma_trainer {
    soma_trainer_options options;
    soma_pupil pupil;
    char *path; /* of the journal; NULL: in memory */
    pthread_t thread;
    bool running; /* there is a thread; for whoever starts and stops it */
    bool resumed;
    _Atomic int state; /* soma_trainer_state */
    soma_histogram commits;
    soma_feed feed;

    /* Shared with those who submit or ask, under `lock`: */
    pthread_mutex_t lock;
    pthread_cond_t more;
    soma_job *first, **last;
    int waiting; /* examples */
    bool stopping, paused;
    soma_trainer_report report;

    /* The thread's own: */
    soma_model *base; /* version 0; NULL until there is a learner */
    soma_journal *journal;
    soma_learner *learner;
    soma_replay replay;
    uint64_t seq;       /* of the last record that is in the learner */
    soma_place place;   /* of a shared journal: the last record that was learned
                           or appended here */
    bool troubled;      /* an append failed, what is on disk is not known */
    int64_t mend_after; /* do not try to mend before (steady) */
    soma_error trouble;
    soma_record *records; /* of a group */
    int record_room;
    soma_lesson *lessons; /* not yet in the journal, by version */
    int lesson_count, lesson_room;
    soma_saver saver;
    soma_journal_part part; /* of it, on its way */
    soma_writer writer;
    bool cautious;         /* the last append failed: none is learned ahead */
    uint64_t checkpoint;   /* version of the newest one */
    int64_t checkpoint_at; /* when it was begun (steady) */
    bool trimming;
    soma_guard guard;
    int64_t followed; /* when a shared journal was last looked at (steady) */
    uint64_t told;    /* version of the last news */
    uint64_t noted;   /* version whose digest is to be compared; 0: none */
    char digest[SOMA_DIGEST_HEX + 1];
    bool differs; /* from the other replicas: for good */
};

/* ---- trainer.c ---- */

/* Makes the learner's weights the ones in force: a snapshot, to be shown. */
soma_status soma_trainer_copy(soma_trainer *trainer, soma_snapshot **copy,
                              soma_error *err);
soma_status soma_trainer_publish(soma_trainer *trainer, soma_error *err);

/* Brings the report up to date. */
void soma_trainer_tell(soma_trainer *trainer);

/* For those who watch; each version once, none of what is recovered. */
void soma_trainer_announce(soma_trainer *trainer, const soma_news *news);

/* Calls done of all jobs of the list. */
void soma_trainer_finish(soma_trainer *trainer, soma_job *jobs,
                         soma_status status, const soma_error *err);

/* ---- trainer_learn.c ---- */

void soma_trainer_learn(soma_trainer *trainer, soma_job *group, int examples);

/* ---- trainer_history.c ---- */

void soma_trainer_rollback(soma_trainer *trainer, soma_job *job);
/* Records it and makes it the version in force. SOMA_E_NOT_FOUND: there is no
 * such version, or it can no longer be rebuilt. SOMA_E_BUSY: another replica
 * was first; that may have been to the same end. */
soma_status soma_trainer_roll_back(soma_trainer *trainer, uint64_t target,
                                   soma_error *err);
void soma_trainer_history(soma_trainer *trainer, soma_job *job);

/* Another state of learning than the last one and a step: records it, and all
 * lessons so far, since what is behind a leap is not replayed at the next
 * start; then makes `learner`, which it takes over, the one in force. */
soma_status soma_trainer_append_leap(soma_trainer *trainer,
                                     const soma_record *record,
                                     soma_error *err);
soma_status soma_trainer_leap(soma_trainer *trainer, soma_learner *learner,
                              soma_error *err);

/* ---- trainer_adopt.c ---- */

void soma_trainer_give(soma_trainer *trainer, soma_job *job);
void soma_trainer_adopt(soma_trainer *trainer, soma_job *job);

/* ---- trainer_journal.c ---- */

/* The digest of what the model began with, and its model file where `model` is
 * not NULL: to be freed. */
soma_status soma_trainer_describe_base(soma_trainer *trainer,
                                       char digest[SOMA_DIGEST_HEX + 1],
                                       soma_bytes *model, soma_error *err);

/* Opens the journal if there is one and brings learner and shelf to its end. */
soma_status soma_trainer_recover(soma_trainer *trainer, soma_error *err);

/* Whatever it takes to append: the journal is there, the learner is at its
 * end. */
soma_status soma_trainer_equip(soma_trainer *trainer, soma_error *err);

/* After trouble: reopens the journal and learns what is in it beyond `seq`. */
soma_status soma_trainer_mend(soma_trainer *trainer, soma_error *err);

/* trainer_mend.c: learns what is in the journal beyond `seq`, and publishes it.
 * After a failure the learner may be gone; the next call rebuilds it. */
soma_status soma_trainer_catch_up(soma_trainer *trainer, soma_error *err);

/* Brings a learner to the journal's end. */
soma_status soma_trainer_rebuild(soma_trainer *trainer, soma_error *err);

/* Settings other than those in force become a record. */
soma_status soma_trainer_apply_settings(soma_trainer *trainer, soma_error *err);

/* What a new journal begins with, if it is to be made; `model` is to be
 * freed. */
soma_status soma_trainer_begin_base(soma_trainer *trainer,
                                    char digest[SOMA_DIGEST_HEX + 1],
                                    soma_bytes *model, soma_journal_base *base,
                                    soma_error *err);

/* Remembers what became of an example until the journal has it. */
soma_status soma_trainer_keep_lesson(soma_trainer *trainer,
                                     const soma_lesson *lesson,
                                     soma_error *err);

/* Lessons of records first .. first + count - 1; version 0 where none is known
 * any more. */
soma_status soma_trainer_find_lessons(soma_trainer *trainer, uint64_t first,
                                      int count, soma_lesson *lessons,
                                      soma_error *err);

/* Begins a checkpoint if it is time for one. */
void soma_trainer_plan(soma_trainer *trainer);

/* A little of what can be done between groups. True: there is more. */
bool soma_trainer_housekeep(soma_trainer *trainer);

/* The last checkpoint, before the end. */
void soma_trainer_settle(soma_trainer *trainer);

/* ---- trainer_append.c ---- */

/* Appends, along with the next part of a checkpoint and, when it is time, the
 * lessons that wait. A failure that leaves the outcome unknown sets
 * `troubled`. */
soma_status soma_trainer_append(soma_trainer *trainer,
                                soma_journal_group *group, soma_error *err);

/* The same in two: between them the group may be learned, but the journal not
 * be touched. False: that is not to be done now, and nothing was begun. */
bool soma_trainer_append_ahead(soma_trainer *trainer,
                               soma_journal_group *group);
soma_status soma_trainer_append_end(soma_trainer *trainer,
                                    soma_journal_group *group, soma_error *err);

/* ---- trainer_shared.c: a journal that other replicas append to ---- */

/* Waits for work, or until it is time to look at the journal; under lock. */
void soma_trainer_nap(soma_trainer *trainer);

/* Opens it, makes it where there is none, and learns what is in it; unless
 * `once`, waits for a server that is away. SOMA_E_BUSY: told to stop
 * meanwhile. */
soma_status soma_trainer_join(soma_trainer *trainer, bool once,
                              soma_error *err);

/* SOMA_E_STOPPED: the journal does not have what was learned here, and this
 * replica has stepped out. */
soma_status soma_trainer_check_place(soma_trainer *trainer, soma_error *err);
/* Learns what others have appended; mends what is in trouble. */
soma_status soma_trainer_follow(soma_trainer *trainer, soma_error *err);
/* Of round versions the digest is compared with the other replicas'. */
void soma_trainer_note(soma_trainer *trainer, uint64_t version);
/* The same as follow, when it is time for it, and compares. */
void soma_trainer_watch(soma_trainer *trainer);

/* ---- trainer_guard.c ---- */

/* Judges a few rows, if it is time for it. True: there is more to do. */
bool soma_guard_step(soma_trainer *trainer);
void soma_guard_free(soma_guard *guard);
/* Another version is in force: it is judged at once. */
void soma_guard_leap(soma_trainer *trainer);

/* Judges any model at once, by the whole set. SOMA_E_MEMORY. */
soma_status soma_guard_judge(soma_trainer *trainer, const soma_model *model,
                             soma_verdict *verdict, soma_error *err);
/* Judges the version in force, unless its verdict is known: for whoever wants
 * to know. Nothing follows from it. */
void soma_guard_answer(soma_trainer *trainer, soma_job *job);
double soma_verdict_accuracy(const soma_verdict *verdict);
/* More right, or as many at a smaller loss. */
bool soma_verdict_better(const soma_verdict *a, const soma_verdict *b);

/* ---- trainer_base.c ---- */

/* The journal at trainer->path began with another model: does what the options
 * say. SOMA_E_CONFLICT: they say nothing. */
soma_status soma_trainer_change_base(soma_trainer *trainer,
                                     const soma_journal_base *base,
                                     soma_error *err);

#endif

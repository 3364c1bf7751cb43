/* A thread that appends to a journal, one group at a time, while whoever handed
 * it the group goes on with something else.
 *
 * One thread starts, begins, ends and stops. Between begin and end it must not
 * touch the journal, nor what the group points to but to read it.
 */
#ifndef SOMA_ENGINE_WRITER_H
#define SOMA_ENGINE_WRITER_H

#include "server/engine/journal.h"

#include <pthread.h>

/* Zero-initialised: there is no thread. */
typedef struct soma_writer {
    pthread_t thread;
    bool running; /* there is a thread; its owner's alone */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock: */
    bool stop;
    soma_journal *journal; /* NULL: nothing is to be appended */
    const soma_journal_group *group;
    soma_status status; /* of the last append, */
    soma_error err;
    uint64_t ticks; /* and the time that it took */
} soma_writer;

/* Does nothing if there is a thread. SOMA_E_MEMORY: there is none. */
soma_status soma_writer_start(soma_writer *writer, soma_error *err);

/* Both are borrowed until the end. The writer must have been started, and what
 * was begun before must have been ended. */
void soma_writer_begin(soma_writer *writer, soma_journal *journal,
                       const soma_journal_group *group);

/* Waits for it, and returns what the backend's append did. */
soma_status soma_writer_end(soma_writer *writer, uint64_t *ticks,
                            soma_error *err);

/* Fine without a thread. */
void soma_writer_stop(soma_writer *writer);

#endif

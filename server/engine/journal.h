/* The journal of a model: every record that changes its weights, in order.
 *
 * A backend is a table of functions (as rows of SQLite in a file, or in
 * memory). Its owner is the model's trainer, the only caller.
 *
 * Records are numbered from 1 without gaps. A record that append has returned
 * SOMA_OK for is as durable as the backend promises.
 */
#ifndef SOMA_ENGINE_JOURNAL_H
#define SOMA_ENGINE_JOURNAL_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One example that was taught. */
typedef struct soma_record {
    uint64_t seq;
    int label;
    const float *x; /* [size], in the input's own range */
} soma_record;

typedef struct soma_journal soma_journal;

/* Sees one record; a status other than SOMA_OK ends the reading. */
typedef soma_status (*soma_journal_visit)(const soma_record *record, void *arg,
                                          soma_error *err);

typedef struct soma_journal_backend {
    const char *name;
    bool durable;
    /* All of the records or none; their seq follow the last one's. */
    soma_status (*append)(soma_journal *journal, const soma_record *records,
                          int count, soma_error *err);
    /* Those with seq > after, in order. */
    soma_status (*read)(soma_journal *journal, uint64_t after,
                        soma_journal_visit visit, void *arg, soma_error *err);
    void (*close)(soma_journal *journal);
} soma_journal_backend;

/* Backends embed this at their start. */
struct soma_journal {
    const soma_journal_backend *backend;
    int size; /* values of an example */
};

/* Keeps the newest records up to `bytes` of them; all are gone with the
 * process. */
soma_journal *soma_journal_memory(int size, size_t bytes, soma_error *err);

#endif

/* Inputs that are remembered for a while, so that a label that comes later
 * can be taught for just the input that was predicted.
 *
 * Bounded in number and age: of more than `room`, the oldest are forgotten,
 * and any once it is older than `seconds`. Nothing of it outlives the process.
 * Thread-safe: one lock, which only requests that ask for it ever take.
 */
#ifndef SOMA_ENGINE_RECALL_H
#define SOMA_ENGINE_RECALL_H

#include "core/status.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* An id's label is taught under the Idempotency-Key of this and the id. */
#define SOMA_RECALL_KEY "remembered "

enum { SOMA_RECALL_ID = 24 }; /* digits of an id, hexadecimal */

/* What had been answered. */
typedef struct soma_recalled {
    uint64_t version;
    int label;
} soma_recalled;

typedef struct soma_recall_counts {
    uint64_t remembered;      /* now */
    uint64_t labelled, right; /* so far: labels that came, and of those the ones
                                 that had been predicted */
} soma_recall_counts;

typedef struct soma_recall {
    pthread_mutex_t lock;
    int size;                       /* values of an input */
    int room;                       /* slots; 0: nothing is remembered */
    int64_t age;                    /* seconds */
    struct soma_recall_slot *slots; /* a ring, made when it is first needed */
    int *index;      /* ids to slots: open addressing, -1 is free */
    uint64_t next;   /* inputs remembered so far */
    uint64_t oldest; /* of those still there */
    uint64_t labelled, right;
} soma_recall;

void soma_recall_init(soma_recall *recall, int size, int room, long seconds);
void soma_recall_free(soma_recall *recall); /* zero-initialised is fine */

/* Seconds, of a clock that does not go back: what is `now` below. */
int64_t soma_recall_now(void);

/* Remembers x [size] and writes an id that nobody can guess. SOMA_E_LIMIT: room
 * is 0; SOMA_E_MEMORY. */
soma_status soma_recall_put(soma_recall *recall, const float *x,
                            const soma_recalled *answer, int64_t now,
                            char id[SOMA_RECALL_ID + 1], soma_error *err);

/* Copies the input to x [size]. SOMA_E_NOT_FOUND: the id is unknown or too old.
 */
soma_status soma_recall_get(soma_recall *recall, const char *id, int64_t now,
                            float *x, soma_recalled *answer, soma_error *err);

/* The label that came for an input, once for each id. */
void soma_recall_label(soma_recall *recall, const char *id, int label);

soma_recall_counts soma_recall_count(soma_recall *recall, int64_t now);

#endif

/* A checkpoint on its way into the journal, a part at a time, so that no
 * append waits long for it.
 */
#ifndef SOMA_ENGINE_SAVER_H
#define SOMA_ENGINE_SAVER_H

#include "server/engine/journal.h"

#include <nettle/sha2.h>

/* Zero-initialised: nothing to do. */
typedef struct soma_saver {
    bool busy;            /* something is on its way */
    unsigned char *state; /* [room], kept for the next one: the pages of a new
                             block would cost more than the copy */
    size_t room, size, offset, hashed;
    uint64_t seq;
    int64_t time;
    struct sha256_ctx context;
} soma_saver;

/* Copies the learner's state, which is that of version seq; what was on its way
 * before is given up. SOMA_E_MEMORY: nothing is on its way. */
soma_status soma_saver_begin(soma_saver *saver, const soma_learner *learner,
                             uint64_t seq, int64_t time, soma_error *err);

/* The part to be appended next; false: there is none. */
bool soma_saver_part(soma_saver *saver, soma_journal_part *part);

/* The part was appended. True: it was the last. */
bool soma_saver_advance(soma_saver *saver, const soma_journal_part *part);

/* Gives up what is on its way. */
void soma_saver_stop(soma_saver *saver);

void soma_saver_free(soma_saver *saver);

#endif

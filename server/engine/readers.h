/* Who may still be looking at something that is no longer current.
 *
 * Workers read shared pointers without locks and keep what they read until
 * the end of their turn. Whoever takes something out of sight asks here when
 * no turn that could have seen it is still going on (quiescent-state
 * reclamation; McKenney and Slingwine 1998, "Read-copy update").
 *
 *     worker i                              writer
 *     soma_readers_enter(r, i)              swap the pointer (seq_cst)
 *     load pointers (seq_cst), use them     at = soma_readers_retire(r)
 *     soma_readers_leave(r, i)              free once soma_readers_passed(at)
 */
#ifndef SOMA_ENGINE_READERS_H
#define SOMA_ENGINE_READERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SOMA_MAX_READERS = 256 };

typedef struct soma_readers {
    _Atomic uint64_t epoch; /* starts at 1 */
    struct {
        _Alignas(64) _Atomic uint64_t entered; /* 0: outside of a turn */
    } reader[SOMA_MAX_READERS];
} soma_readers;

void soma_readers_init(soma_readers *readers);

/* Each index belongs to one thread. */
void soma_readers_enter(soma_readers *readers, int index);
void soma_readers_leave(soma_readers *readers, int index);

/* From any thread. */
uint64_t soma_readers_retire(soma_readers *readers);
bool soma_readers_passed(soma_readers *readers, uint64_t at);

#endif

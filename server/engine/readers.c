#include "server/engine/readers.h"

void
soma_readers_init(soma_readers *readers)
{
    atomic_init(&readers->epoch, 1);
    for (int i = 0; i < SOMA_MAX_READERS; i++)
        atomic_init(&readers->reader[i].entered, 0);
}

/* The store must be seen before any pointer is loaded, which sequential
 * consistency gives: a writer that still sees 0 here has swapped its pointer
 * before we load it. An epoch that is out of date by the time it is stored
 * only makes the writer wait longer. */
void
soma_readers_enter(soma_readers *readers, int index)
{
    uint64_t epoch = atomic_load(&readers->epoch);
    atomic_store(&readers->reader[index].entered, epoch);
}

void
soma_readers_leave(soma_readers *readers, int index)
{
    atomic_store(&readers->reader[index].entered, 0);
}

uint64_t
soma_readers_retire(soma_readers *readers)
{
    return atomic_fetch_add(&readers->epoch, 1) + 1;
}

bool
soma_readers_passed(soma_readers *readers, uint64_t at)
{
    for (int i = 0; i < SOMA_MAX_READERS; i++) {
        uint64_t entered = atomic_load(&readers->reader[i].entered);
        if (entered && entered < at)
            return false;
    }
    return true;
}

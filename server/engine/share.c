#include "server/engine/share.h"

#include "server/engine/clock.h"

#include <sched.h>
#include <stdatomic.h>

static atomic_int trainers; /* at work */

static _Thread_local uint64_t since; /* ticks; 0: no trainer at work */

static _Thread_local uint64_t given; /* a worker's own time, when it gave way */

void
soma_share_begin(void)
{
    since = soma_clock_ticks();
    atomic_fetch_add_explicit(&trainers, 1, memory_order_relaxed);
}

void
soma_share_end(void)
{
    since = 0;
    atomic_fetch_sub_explicit(&trainers, 1, memory_order_relaxed);
}

void
soma_share_give(void)
{
    if (!since || soma_clock_ticks() - since < SOMA_SHARE_US)
        return;
    sched_yield();
    since = soma_clock_ticks();
}

void
soma_share_turn(void)
{
    if (!atomic_load_explicit(&trainers, memory_order_relaxed))
        return;
    uint64_t worked = soma_clock_worked();
    if (worked - given < SOMA_SHARE_TURN_US)
        return;
    sched_yield();
    given = worked;
}

#include "server/engine/share.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static atomic_int trainers; /* at work */

static _Thread_local int64_t since; /* microseconds; 0: no trainer at work */

static int64_t
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000 + 1;
}

void
soma_share_begin(void)
{
    since = now();
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
    if (!since || now() - since < SOMA_SHARE_US)
        return;
    sched_yield();
    since = now();
}

void
soma_share_turn(void)
{
    if (atomic_load_explicit(&trainers, memory_order_relaxed))
        sched_yield();
}

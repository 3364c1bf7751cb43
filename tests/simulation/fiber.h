/* Threads of the program under test as fibers of one thread: each runs until
 * it waits (for a reply, a lock's condition, a while), and whoever simulates
 * decides which one goes on. So a run depends on nothing but its decisions.
 *
 * The linker's --wrap leads the program's calls of pthread_create,
 * pthread_join, pthread_cond_wait, pthread_cond_timedwait, nanosleep,
 * clock_gettime and getrandom here. Mutexes are never held while waiting, so
 * they stay what they are.
 */
#ifndef SOMA_TESTS_SIMULATION_FIBER_H
#define SOMA_TESTS_SIMULATION_FIBER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fiber fiber;

/* Where a fiber lives: its own clock, and whether it was killed. Fibers are
 * made in the one that is current. */
typedef struct fiber_home {
    int64_t skew; /* milliseconds, of its clock of the day */
    bool dead;    /* sleeps no more, reaches no one */
    fiber *fiber; /* of the last thread that was started there */
} fiber_home;

/* Time of the simulation, milliseconds. */
extern int64_t fiber_time;
/* What getrandom is filled from. */
extern uint64_t fiber_random;

/* From outside of all fibers: whose threads are started next, and whose clock
 * is read; NULL: nobody's. */
void fiber_enter(fiber_home *home);

/* Whether it waits for nothing but its turn. */
bool fiber_can_run(const fiber *f);
/* From outside of all fibers: until it waits again, or ends. */
void fiber_run(fiber *f);

/* The home of the fiber that runs; NULL: none does. */
fiber_home *fiber_here(void);
/* From within a fiber: waits for another turn. Outside: does nothing. */
void fiber_wait(void);

#endif

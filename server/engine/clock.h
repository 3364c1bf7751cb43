/* Time as people and journals have it.
 */
#ifndef SOMA_ENGINE_CLOCK_H
#define SOMA_ENGINE_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970, UTC. */
int64_t soma_clock_now(void);

/* Microseconds, monotonic. */
uint64_t soma_clock_ticks(void);

/* Microseconds that this thread has had of a processor. */
uint64_t soma_clock_worked(void);

/* Milliseconds, monotonic: for how long something takes or has to wait, which
 * nobody who sets the clock may stretch. */
int64_t soma_clock_steady(void);

/* Such a time as "2026-11-24T02:46:56.721Z". */
enum { SOMA_CLOCK_TEXT = 32 };
void soma_clock_text(int64_t milliseconds, char text[SOMA_CLOCK_TEXT]);

#endif

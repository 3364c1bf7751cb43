/* Threads that the server cannot do without.
 *
 * Whoever waits for one that has ended in another way than by returning (a
 * library that calls pthread_exit, a stray pthread_cancel) would hang for ever.
 * So the program ends then, with a line in the log; another start is better.
 */
#ifndef SOMA_ENGINE_THREAD_H
#define SOMA_ENGINE_THREAD_H

#include "core/status.h"

#include <pthread.h>

/* Runs run(arg). `name`, at most 15 letters, a string that stays: what tools
 * call the thread. SOMA_E_MEMORY: there is none. */
soma_status soma_thread_start(pthread_t *thread, const char *name,
                              void *(*run)(void *), void *arg, soma_error *err);

#endif

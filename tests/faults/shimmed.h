/* A server into which shim.c is preloaded, with the model "fashion" and a
 * journal, for the tests of this folder. One at a time.
 */
#ifndef SOMA_TESTS_FAULTS_SHIMMED_H
#define SOMA_TESTS_FAULTS_SHIMMED_H

#include "tests/faults/shim.h"
#include "tests/http/server.h"

/* A request that is made again and again. */
typedef struct attempt {
    const char *name;
    const char *method; /* NULL: POST with a body, GET without */
    const char *path, *type;
    const void *body;
    size_t size;
    const char *header; /* or NULL */
    bool same;          /* what it answers with 200 is always the same */
} attempt;

/* Which calls fail while it is made. */
typedef struct fault {
    int kinds, at, run, error; /* as struct shim has them */
} fault;

extern server shimmed;
extern struct shim *shim; /* NULL before it starts, and after its end */

/* For cmocka: makes the folders and starts; stops and removes them. The log is
 * shown if the server does not end well. */
int shimmed_set_up(void **state);
int shimmed_tear_down(void **state);

/* Whether the server's allocations come by the library, and quickly: not where
 * clang's sanitizers are in the program, nor under ThreadSanitizer; then it
 * says NOT TESTED. */
bool shimmed_has_memory(void);

/* Whether a sanitizer looks for what leaked, at the server's end. */
bool shimmed_finds_leaks(void);

void shimmed_start(void);

/* Makes the request over a connection of its own while calls fail; then fails
 * the test if the program has ended, hangs, or does not predict any more. The
 * status; 0: the connection ended without an answer. shim->failed says how
 * many calls did fail. */
long shimmed_try(const attempt *a, fault f);

/* The requests that the tests make; NULL names the last one's successor. */
const attempt *shimmed_attempts(void);
const attempt *shimmed_attempt(const char *name);

/* Kills it, and starts it again: all examples that shimmed_try saw answered are
 * there, and the weights are the same, bit for bit. Where leaks are looked for,
 * it is not killed, so that they are. */
void shimmed_check_journal(void);

/* Its log so far holds this text. */
bool shimmed_said(const char *text);

#endif

/* Whether jansson ran out of memory, which it does not say: a string that it
 * has no memory for is a "string expected" to its parser, and no UTF-8 to its
 * builders.
 *
 * Counted for each thread; so ask on the thread that called it.
 */
#ifndef SOMA_CORE_IO_JSON_MEMORY_H
#define SOMA_CORE_IO_JSON_MEMORY_H

#include <jansson.h>
#include <stdbool.h>

/* What follows is asked about. */
void soma_json_memory_begin(void);

/* Since then. */
bool soma_json_memory_short(void);

/* As json_loadb, which may leave letters out in silence where memory is short:
 * NULL then, and soma_json_memory_short tells. */
json_t *soma_json_load(const char *text, size_t size, size_t flags,
                       json_error_t *error);

#endif

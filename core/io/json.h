/* jansson, with errors that cannot be overlooked. Private to core/io. */
#ifndef SOMA_CORE_IO_JSON_H
#define SOMA_CORE_IO_JSON_H

#include "core/status.h"

#include <jansson.h>
#include <stddef.h>

/* Parses an object; repeated names are refused. `what` begins the message. */
soma_status soma_json_parse(const char *text, size_t size, const char *what,
                            json_t **object, soma_error *err);

/* Build bottom up and look at the end: when anything is NULL or cannot be put
 * in, *object (*array) is freed and becomes NULL, and stays so. `value` is
 * taken over in any case. */
void soma_json_set(json_t **object, const char *key, json_t *value);
void soma_json_append(json_t **array, json_t *value);

/* As json_dumps, which leaves out what it has no memory for (jansson 2.14):
 * NULL instead. */
char *soma_json_text(const json_t *json, size_t flags);

#endif

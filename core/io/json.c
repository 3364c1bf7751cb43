#include "core/io/json.h"

#include "core/io/json_memory.h"
#include "core/io/quote.h"

#include <stdlib.h>

soma_status
soma_json_parse(const char *text, size_t size, const char *what,
                json_t **object, soma_error *err)
{
    char reason[SOMA_QUOTE_SIZE];
    json_error_t error;
    *object = soma_json_load(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!*object && soma_json_memory_short())
        return soma_error_memory(err, what);
    if (!*object)
        return soma_error_set(
            err, SOMA_E_FORMAT, "%s: not JSON: %s (line %d, column %d)", what,
            soma_quote(error.text, reason), error.line, error.column);
    if (json_is_object(*object))
        return SOMA_OK;
    json_decref(*object);
    *object = NULL;
    return soma_error_set(err, SOMA_E_FORMAT,
                          "%s: expected a JSON object, got an array", what);
}

char *
soma_json_text(const json_t *json, size_t flags)
{
    soma_json_memory_begin();
    char *text = json_dumps(json, flags);
    if (!soma_json_memory_short())
        return text;
    free(text);
    return NULL;
}

void
soma_json_set(json_t **object, const char *key, json_t *value)
{
    if (*object && !json_object_set_new(*object, key, value))
        return;
    if (!*object)
        json_decref(value);
    json_decref(*object);
    *object = NULL;
}

void
soma_json_append(json_t **array, json_t *value)
{
    if (*array && !json_array_append_new(*array, value))
        return;
    if (!*array)
        json_decref(value);
    json_decref(*array);
    *array = NULL;
}

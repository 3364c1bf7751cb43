/* A JSON request whose arrays of numbers have been lifted out.
 *
 * One strict pass over the text copies every array that holds only numbers
 * (nested to any depth, evenly) into float32, and puts `[k]` in its place;
 * jansson parses what is left. Since every such array is lifted, `[k]` can
 * only be a reference: nobody can write one.
 *
 * The grammar and the values are jansson's (RFC 8259, integers within 64
 * bits): float32 of what strtod reads. A number beyond float32 becomes an
 * infinity; soma_array says so.
 */
#ifndef SOMA_WEB_DOCUMENT_H
#define SOMA_WEB_DOCUMENT_H

#include "server/web/floats.h"

#include <jansson.h>

enum {
    SOMA_ARRAY_MAX_RANK = 8,
    SOMA_DOCUMENT_MAX_DEPTH = 64,
    SOMA_DOCUMENT_MAX_ARRAYS = 65536, /* that wait to be put together */
};

typedef struct soma_array {
    int rank;
    size_t shape[SOMA_ARRAY_MAX_RANK];
    size_t first, count; /* floats [first, first + count) */
    bool finite;
} soma_array;

typedef struct soma_document {
    json_t *json;
    soma_array *arrays;
    int array_count;
} soma_document;

/* `text` must have a NUL at text[size]. The numbers go to `floats`.
 * SOMA_E_FORMAT: not JSON, with line and column; SOMA_E_LIMIT: too deep, too
 * many arrays, too many numbers. */
soma_status soma_document_parse(const char *text, size_t size,
                                soma_floats *floats, soma_document *document,
                                soma_error *err);
void soma_document_free(soma_document *document);

/* The array that stands in this value's place, or NULL. */
const soma_array *soma_document_array(const soma_document *document,
                                      const json_t *value);

#endif

/* server/web/document.c against jansson: the same verdict on every text, and
 * for every number the float32 of what strtod reads; by each of the ways to
 * read lists of digits that this CPU has. Only a NUL byte, which jansson passes
 * over in some places, is always refused. */
#include "tests/fuzz/fuzz.h"

#include "server/web/digits.h"
#include "server/web/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
differ(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    abort();
}

static const soma_floats *all;
static const char *current;

/* A lifted array against jansson's arrays, dimension by dimension. */
static const float *
compare_lifted(const soma_array *array, int dimension, const float *at,
               const json_t *expected)
{
    if (json_array_size(expected) != array->shape[dimension] ||
        !json_is_array(expected))
        differ("another shape", current);
    for (size_t i = 0; i < array->shape[dimension]; i++) {
        const json_t *element = json_array_get(expected, i);
        if (dimension + 1 < array->rank) {
            at = compare_lifted(array, dimension + 1, at, element);
            continue;
        }
        float value = (float)json_number_value(element);
        if (!json_is_number(element) || memcmp(&value, at, sizeof value))
            if (value != 0 || *at != 0) /* jansson's integer -0 is 0 */
                differ("another number", current);
        at++;
    }
    return at;
}

static void
compare(const soma_document *document, const json_t *got,
        const json_t *expected)
{
    const soma_array *array = soma_document_array(document, got);
    if (array) {
        compare_lifted(array, 0, all->data + array->first, expected);
        return;
    }
    if (json_typeof(got) != json_typeof(expected))
        differ("another type", current);
    if (json_is_object(got)) {
        const char *key;
        json_t *value;
        if (json_object_size(got) != json_object_size(expected))
            differ("other members", current);
        json_object_foreach ((json_t *)(uintptr_t)got, key, value)
            compare(document, value, json_object_get(expected, key));
    } else if (json_is_array(got)) {
        if (json_array_size(got) != json_array_size(expected))
            differ("another length", current);
        for (size_t i = 0; i < json_array_size(got); i++)
            compare(document, json_array_get(got, i),
                    json_array_get(expected, i));
    } else if (!json_equal(got, expected)) {
        differ("another value", current);
    }
}

/* `expected`: what jansson makes of it, NULL if it refuses it. */
static void
check(const char *text, size_t size, const json_t *expected)
{
    soma_floats floats = soma_floats_lent(NULL, 0, 1 << 24);
    soma_document document;
    soma_error err = {SOMA_OK, ""};
    soma_status status =
        soma_document_parse(text, size, &floats, &document, &err);
    all = &floats;
    if (status == SOMA_OK && !expected)
        differ("accepted what jansson refuses", text);
    if (status == SOMA_E_FORMAT && expected)
        differ("refused what jansson accepts", text);
    if (status == SOMA_OK) {
        compare(&document, document.json, expected);
        soma_document_free(&document);
    }
    soma_floats_free(&floats);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    current = text;
    json_error_t error;
    json_t *expected =
        memchr(text, '\0', size) ? NULL : json_loadb(text, size, 0, &error);
    for (int way = SOMA_DIGITS_NONE; way <= (int)soma_digits_best(); way++) {
        soma_digits_limit((soma_digits_way)way);
        check(text, size, expected);
    }
    json_decref(expected);
    free(text);
    return 0;
}

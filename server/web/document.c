/* How the pass works: a stack holds one frame for each array that is open. A
 * flat array of numbers is lifted as it is met. When an array closes of which
 * all elements were lifted, with one shape, it becomes one array of one more
 * dimension: their floats already stand side by side. Anything else (objects,
 * strings, mixed arrays, misplaced commas) is copied as it is, and jansson
 * has the last word on it. So each byte is looked at once, or twice within an
 * array that begins with numbers and goes on with something else. */
#include "server/web/document.h"

#include "core/io/json_memory.h"
#include "server/web/digits.h"
#include "server/web/number.h"

#include <stdlib.h>
#include <string.h>

/* An array (or object, for the depth) that is open. */
typedef struct frame {
    size_t out;      /* where it starts in what is left of the text */
    int first_array; /* its first element in document->arrays */
    bool even;       /* so far: lifted arrays of one shape, one comma between */
    bool comma;      /* an element stands behind the last comma, if any */
} frame;

typedef struct lifter {
    const char *text, *at, *end;
    char *out; /* what is left; never longer than what was read, plus room */
    size_t used, room;
    soma_floats *floats;
    soma_document *document;
    int array_room;
    frame stack[SOMA_DOCUMENT_MAX_DEPTH];
    int depth;
    soma_error *err;
} lifter;

/* Where many numbers could not be read at a time, as with fractions, the next
 * ones will hardly be. */
enum { TRY_AGAIN = 16 };

static bool
space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *
skip_space(const char *at)
{
    while (space(*at))
        at++;
    return at;
}

static soma_status
put(lifter *l, const char *text, size_t size)
{
    if (l->room - l->used < size) {
        size_t room = (l->used + size) * 2 + 256;
        char *out = realloc(l->out, room);
        if (!out)
            return soma_error_memory(l->err, "a request");
        l->out = out;
        l->room = room;
    }
    memcpy(l->out + l->used, text, size);
    l->used += size;
    return SOMA_OK;
}

static soma_status
put_reference(lifter *l, int index)
{
    char text[16];
    size_t at = sizeof text;
    text[--at] = ']';
    do
        text[--at] = (char)('0' + index % 10);
    while (index /= 10);
    text[--at] = '[';
    return put(l, text + at, sizeof text - at);
}

/* The flat array of numbers at `at`, '['; NULL if it is not one. */
static const char *
read_numbers(lifter *l, const char *at, soma_array *array, soma_status *status)
{
    soma_floats *floats = l->floats;
    *array = (soma_array){.rank = 1, .first = floats->used, .finite = true};
    int slow = 0; /* numbers to read singly before many are tried again */
    do {
        float value;
        const char *from = at[1] == ' ' ? at + 2 : at + 1;
        if (slow-- <= 0 && floats->used < floats->room) {
            size_t count;
            from = soma_digits_read(l->text, from, l->end,
                                    floats->data + floats->used,
                                    floats->room - floats->used, &count);
            floats->used += count;
            slow = count ? 0 : TRY_AGAIN;
        }
        at = soma_number_read_short(from, &value);
        if (!at) {
            at = soma_number_read(skip_space(from), l->end, &value);
            if (!at)
                break;
            /* False for an infinity too. */
            array->finite = array->finite && value - value == 0;
        }
        if (floats->used == floats->room) {
            *status = soma_floats_reserve(floats, 1, l->err);
            if (*status)
                return NULL;
        }
        floats->data[floats->used++] = value;
        if (*at != ',' && *at != ']')
            at = skip_space(at);
    } while (*at == ',');
    if (!at || *at != ']') {
        floats->used = array->first;
        return NULL;
    }
    array->count = floats->used - array->first;
    array->shape[0] = array->count;
    return at + 1;
}

static soma_status
keep_array(lifter *l, const soma_array *array)
{
    soma_document *document = l->document;
    if (document->array_count == SOMA_DOCUMENT_MAX_ARRAYS)
        return soma_error_set(l->err, SOMA_E_LIMIT, "more than %d arrays",
                              SOMA_DOCUMENT_MAX_ARRAYS);
    if (document->array_count == l->array_room) {
        int room = l->array_room ? l->array_room * 4 : 8;
        soma_array *arrays =
            realloc(document->arrays, (size_t)room * sizeof *arrays);
        if (!arrays)
            return soma_error_memory(l->err, "a request");
        document->arrays = arrays;
        l->array_room = room;
    }
    document->arrays[document->array_count] = *array;
    return put_reference(l, document->array_count++);
}

static bool
same_shape(const soma_array *a, const soma_array *b)
{
    return a->rank == b->rank &&
           !memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape);
}

/* The frame around what comes next, unless it is an object's. */
static frame *
around(lifter *l)
{
    return l->depth ? &l->stack[l->depth - 1] : NULL;
}

/* Tells the frame that its next element was lifted as the newest array. */
static void
count_element(lifter *l)
{
    frame *f = around(l);
    if (!f)
        return;
    const soma_array *arrays = l->document->arrays;
    int newest = l->document->array_count - 1;
    f->even = f->even && !f->comma &&
              arrays[newest].rank < SOMA_ARRAY_MAX_RANK &&
              (newest == f->first_array ||
               same_shape(&arrays[f->first_array], &arrays[newest]));
    f->comma = true;
}

static soma_status
open_array(lifter *l)
{
    soma_array array;
    soma_status status = SOMA_OK;
    const char *first = skip_space(l->at + 1);
    if (*first == '-' || (*first >= '0' && *first <= '9')) {
        const char *end = read_numbers(l, l->at, &array, &status);
        if (end) {
            l->at = end;
            status = keep_array(l, &array);
            if (!status)
                count_element(l);
            return status;
        }
        if (status)
            return status;
    }
    if (l->depth == SOMA_DOCUMENT_MAX_DEPTH)
        return soma_error_set(l->err, SOMA_E_LIMIT, "nested deeper than %d",
                              SOMA_DOCUMENT_MAX_DEPTH);
    l->stack[l->depth++] = (frame){
        .out = l->used, .first_array = l->document->array_count, .even = true};
    return put(l, l->at++, 1);
}

/* If all its elements were lifted, evenly, they become one array. */
static soma_status
close_array(lifter *l)
{
    soma_document *document = l->document;
    frame f = l->stack[--l->depth];
    int elements = document->array_count - f.first_array;
    l->at++;
    if (!f.even || !f.comma || elements == 0) {
        frame *outer = around(l);
        if (outer)
            outer->even = false;
        return put(l, "]", 1);
    }
    soma_array whole = document->arrays[f.first_array];
    memmove(whole.shape + 1, whole.shape,
            (size_t)whole.rank * sizeof *whole.shape);
    whole.shape[0] = (size_t)elements;
    whole.rank++;
    whole.count *= (size_t)elements;
    for (int i = 1; i < elements; i++)
        whole.finite =
            whole.finite && document->arrays[f.first_array + i].finite;
    document->array_count = f.first_array;
    l->used = f.out;
    soma_status status = keep_array(l, &whole);
    if (!status)
        count_element(l);
    return status;
}

/* A string, from quote to quote; what is in it is jansson's to judge. */
static soma_status
copy_string(lifter *l)
{
    const char *at = l->at + 1;
    while (at < l->end && *at != '"')
        at += *at == '\\' && at + 1 < l->end ? 2 : 1;
    at += at < l->end;
    const char *from = l->at;
    l->at = at;
    return put(l, from, (size_t)(at - from));
}

/* One step: a structural byte, a string, or a byte of anything else. */
static soma_status
step(lifter *l)
{
    frame *f = around(l);
    char c = *l->at;
    if (space(c))
        return put(l, l->at++, 1);
    if (c == '[')
        return open_array(l);
    if (c == ']' && f && l->out[f->out] == '[')
        return close_array(l);
    if (c == ',' && f) {
        f->even = f->even && f->comma;
        f->comma = false;
        return put(l, l->at++, 1);
    }
    if (f)
        f->even = false;
    if (c == '"')
        return copy_string(l);
    if (c == '{') {
        if (l->depth == SOMA_DOCUMENT_MAX_DEPTH)
            return soma_error_set(l->err, SOMA_E_LIMIT, "nested deeper than %d",
                                  SOMA_DOCUMENT_MAX_DEPTH);
        l->stack[l->depth++] = (frame){.out = l->used};
    } else if (c == '}' && f && l->out[f->out] == '{') {
        l->depth--;
    }
    return put(l, l->at++, 1);
}

soma_status
soma_document_parse(const char *text, size_t size, soma_floats *floats,
                    soma_document *document, soma_error *err)
{
    *document = (soma_document){0};
    lifter l = {.text = text,
                .at = text,
                .end = text + size,
                .floats = floats,
                .document = document,
                .err = err};
    soma_status status = SOMA_OK;
    while (l.at < l.end && !status)
        status = step(&l);
    /* JSON has no such byte, and no array that was lifted had one. jansson
     * passes over one behind a number (it marks the end of its own buffer), so
     * "[2\0]" would come out as a reference. */
    if (!status && l.used && memchr(l.out, '\0', l.used))
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "the body is not JSON: it has a NUL byte");
    if (!status) {
        json_error_t error;
        document->json = soma_json_load(l.out ? l.out : "", l.used, 0, &error);
        if (!document->json && soma_json_memory_short())
            status = soma_error_memory(err, "a document");
        else if (!document->json)
            status = soma_error_set(err, SOMA_E_FORMAT,
                                    "the body is not JSON: %s (line %d; "
                                    "arrays of numbers count as [n])",
                                    error.text, error.line);
    }
    free(l.out);
    if (status)
        soma_document_free(document);
    return status;
}

void
soma_document_free(soma_document *document)
{
    json_decref(document->json);
    free(document->arrays);
    *document = (soma_document){0};
}

const soma_array *
soma_document_array(const soma_document *document, const json_t *value)
{
    const json_t *index = json_array_get(value, 0);
    if (json_array_size(value) != 1 || !json_is_integer(index))
        return NULL;
    json_int_t k = json_integer_value(index);
    return k >= 0 && k < document->array_count ? &document->arrays[k] : NULL;
}

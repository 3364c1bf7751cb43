#include "core/io/json_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool is_short, is_loading;

/* Once there was none, a text that is being read gets no more: each string is
 * copied before it is looked at, so none is that lacks a byte. */
static void *
allocate(size_t size)
{
    void *memory = is_loading && is_short ? NULL : malloc(size);
    if (!memory)
        is_short = true;
    return memory;
}

/* Before there is any thread. What was taken until then may be freed after. */
__attribute__((constructor)) static void
watch(void)
{
    json_set_alloc_funcs(allocate, free);
}

void
soma_json_memory_begin(void)
{
    is_short = false;
}

bool
soma_json_memory_short(void)
{
    return is_short;
}

static json_t *
load(const char *text, size_t size, size_t flags, json_error_t *error)
{
    is_short = false;
    is_loading = true;
    json_t *json = json_loadb(text, size, flags, error);
    is_loading = false;
    if (!is_short)
        return json;
    json_decref(json);
    return NULL;
}

/* ---- Tokens whose last byte is given back ---- */

/* What jansson gives back a byte of must have had room for it: numbers, names,
 * and strings up to a control byte. Other strings it copies first. */
static const char *
end_of_token(const char *at, const char *end, bool *matters)
{
    static const char ends[] = {'"', ' ', '\t', '\r', '\n', '{',
                                '}', '[', ']',  ':',  ','};
    *matters = *at != '"';
    if (*matters) {
        while (at < end && !memchr(ends, *at, sizeof ends))
            at++;
        return at;
    }
    for (at++; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
        *matters = *matters || (unsigned char)*at < ' ';
    }
    return at < end ? at + 1 : end;
}

static size_t
longest_token(const char *text, size_t size)
{
    const char *end = text + size;
    size_t longest = 0;
    while (text < end) {
        bool matters;
        const char *next = end_of_token(text, end, &matters);
        if (matters && (size_t)(next - text) > longest)
            longest = (size_t)(next - text);
        text = next > text ? next : text + 1;
    }
    return longest;
}

/* What came of `["...",TEXT]`. */
static json_t *
unwrap(json_t *list, size_t before, json_error_t *error)
{
    json_t *json = json_array_get(list, 1);
    if (!list && error->line == 1)
        error->column -= (int)before;
    if (!list)
        error->position -= (int)before;
    bool alone = json_array_size(list) == 2;
    bool good = alone && (json_is_object(json) || json_is_array(json));
    if (list && !good)
        error->line = 1, error->column = 0;
    if (list && !good)
        snprintf(error->text, sizeof error->text, "%s",
                 alone ? "'[' or '{' expected" : "end of file expected");
    json = good ? json_incref(json) : NULL;
    json_decref(list);
    return json;
}

/* Behind a string that is longer than all that matters, for which its buffer
 * has grown. */
static json_t *
load_behind(size_t longest, const char *text, size_t size, size_t flags,
            json_error_t *error)
{
    size_t before = longest + 4;
    is_short = false;
    char *all = allocate(before + size + 1);
    if (!all)
        return NULL;
    memset(all, ' ', before);
    all[0] = '[';
    all[1] = all[before - 2] = '"';
    all[before - 1] = ',';
    memcpy(all + before, text, size);
    all[before + size] = ']';
    json_t *list = load(all, before + size + 1, flags, error);
    free(all);
    return unwrap(list, before, error);
}

json_t *
soma_json_load(const char *text, size_t size, size_t flags, json_error_t *error)
{
    enum { FIRST = 16 }; /* bytes of jansson's buffer, to begin with */
    size_t longest = longest_token(text, size);
    return longest + 2 < FIRST
               ? load(text, size, flags, error)
               : load_behind(longest + FIRST, text, size, flags, error);
}

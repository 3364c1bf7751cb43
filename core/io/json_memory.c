#include "core/io/json_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jansson's scanner (2.14) goes on when the room of a token cannot grow. Then a
 * string may lack its end, behind which it reads on; and a number may, which
 * ends the program. So while it parses, nothing is given any more once memory
 * was short, by which it soon ends; but what a token grows to, a power of two,
 * is lent until then. What was parsed is dropped, and so nothing lent is left.
 * Strings are copied before they are looked at, and so may be of any length;
 * other tokens are not, and may not.
 */
enum { LENT = 4096, MOST_LENT = LENT / 2, ALIGNMENT = 16, MOST_LETTERS = 1000 };

static _Thread_local bool is_short, is_parsing, is_refused;
static _Thread_local _Alignas(ALIGNMENT) unsigned char lent[LENT];
static _Thread_local size_t lent_size;

static void *
lend(size_t size)
{
    bool grows = size >= ALIGNMENT && (size & (size - 1)) == 0;
    if (is_refused || !grows || size > MOST_LENT || size > LENT - lent_size) {
        is_refused = true;
        return NULL;
    }
    lent_size += size;
    return lent + lent_size - size;
}

static void *
allocate(size_t size)
{
    void *memory = is_parsing && is_short ? NULL : malloc(size);
    if (memory)
        return memory;
    is_short = true;
    return is_parsing ? lend(size) : NULL;
}

static void
release(void *memory)
{
    unsigned char *at = memory;
    if (at < lent || at >= lent + LENT)
        free(memory);
}

/* Before there is any thread. What was taken until then may be freed after. */
__attribute__((constructor)) static void
watch(void)
{
    json_set_alloc_funcs(allocate, release);
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

/* The letter with which a number or a word gets longer than any may be; NULL:
 * there is none. */
static const char *
find_endless(const char *text, size_t size)
{
    static const char ends[] = {' ', '\t', '\r', '\n', '{',
                                '}', '[',  ']',  ':',  ','};
    bool in_string = false;
    int letters = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\')
            i++;
        bool outside = !in_string && !memchr(ends, text[i], sizeof ends);
        letters = outside ? letters + 1 : 0;
        if (letters > MOST_LETTERS)
            return text + i;
    }
    return NULL;
}

static json_t *
refuse_endless(const char *text, const char *at, json_error_t *error)
{
    *error = (json_error_t){.line = 1, .position = (int)(at - text)};
    for (const char *c = text; c < at; c++) {
        error->line += *c == '\n';
        error->column = *c == '\n' ? 0 : error->column + 1;
    }
    snprintf(error->text, sizeof error->text,
             "a number or a word of more than %d letters", MOST_LETTERS);
    return NULL;
}

json_t *
soma_json_load(const char *text, size_t size, size_t flags, json_error_t *error)
{
    const char *endless = find_endless(text, size);
    soma_json_memory_begin();
    if (endless)
        return refuse_endless(text, endless, error);
    is_parsing = true;
    is_refused = false;
    lent_size = 0;
    json_t *json = json_loadb(text, size, flags, error);
    if (is_short) {
        json_decref(json);
        json = NULL;
    }
    is_parsing = false;
    return json;
}

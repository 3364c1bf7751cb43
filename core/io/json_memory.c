#include "core/io/json_memory.h"

#include <stdlib.h>
#include <string.h>

/* jansson's scanner (2.14) goes on when the room of a token cannot grow. Then a
 * string may lack its end, behind which it reads on; and a number may, which
 * ends the program. So while it parses, nothing is given any more once memory
 * was short, by which it soon ends; but what a token grows to, a power of two,
 * is lent until then. What was parsed is dropped, and so nothing lent is left.
 * Strings are copied before they are looked at, and need no more than that;
 * numbers and words do, so what is lent suffices for the longest of them.
 */
enum { SPARE = 4096, ALIGNMENT = 16 };

static _Thread_local bool is_short, is_parsing, is_refused;
static _Thread_local _Alignas(ALIGNMENT) unsigned char spare[SPARE];
static _Thread_local unsigned char *lent; /* [lent_room], while it parses */
static _Thread_local size_t lent_size, lent_room;

static void *
lend(size_t size)
{
    bool grows = size >= ALIGNMENT && (size & (size - 1)) == 0;
    if (is_refused || !grows || size > lent_room - lent_size) {
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
    if (!lent || at < lent || at >= lent + lent_room)
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

/* Letters of the longest number or word. */
static size_t
longest_word(const char *text, size_t size)
{
    static const char ends[] = {' ', '\t', '\r', '\n', '{',
                                '}', '[',  ']',  ':',  ','};
    bool in_string = false;
    size_t letters = 0, longest = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\')
            i++;
        bool outside = !in_string && !memchr(ends, text[i], sizeof ends);
        letters = outside ? letters + 1 : 0;
        longest = letters > longest ? letters : longest;
    }
    return longest;
}

/* All sizes that a token of so many letters, the one behind it and its end
 * grows through come to less than four times the letters. */
static bool
prepare_to_lend(size_t letters)
{
    size_t room = 4 * (letters + 2);
    lent = room <= SPARE ? spare : malloc(room);
    lent_room = room <= SPARE ? SPARE : room;
    lent_size = 0;
    return lent != NULL;
}

static void
end_lending(void)
{
    if (lent != spare)
        free(lent);
    lent = NULL;
}

json_t *
soma_json_load(const char *text, size_t size, size_t flags, json_error_t *error)
{
    soma_json_memory_begin();
    if (!prepare_to_lend(longest_word(text, size))) {
        is_short = true;
        return NULL;
    }
    is_parsing = true;
    is_refused = false;
    json_t *json = json_loadb(text, size, flags, error);
    if (is_short) {
        json_decref(json);
        json = NULL;
    }
    is_parsing = false;
    end_lending();
    return json;
}

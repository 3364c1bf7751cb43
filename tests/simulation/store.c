/* What a server holds, by its keys, and the log of what was written. */
#include "tests/simulation/store.h"

#include <stdlib.h>

/* ---- Keys ---- */

void
store_clear(store *s)
{
    for (int i = 0; i < s->count; i++)
        value_free(&s->values[i]);
    for (int i = 0; i < s->logged; i++) {
        for (int k = 0; k < s->log[i].count; k++)
            free(s->log[i].words[k].bytes);
        free(s->log[i].words);
    }
    free(s->values);
    free(s->log);
    *s = (store){.count = 0};
}

value *
store_find(store *s, text key, value_kind kind)
{
    for (int i = 0; i < s->count; i++)
        if (!text_compare(s->values[i].key, key))
            return &s->values[i];
    if (kind == NOTHING)
        return NULL;
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 32;
        s->values = realloc(s->values, (size_t)s->room * sizeof *s->values);
    }
    s->values[s->count] = (value){.key = text_copy(key), .kind = kind};
    return &s->values[s->count++];
}

void
store_remove(store *s, text key)
{
    value *v = store_find(s, key, NOTHING);
    if (!v)
        return;
    value_free(v);
    *v = s->values[--s->count];
}

/* ---- The log ---- */

static void
keep(store *s, int count, const text *words)
{
    if (s->logged == s->log_room) {
        s->log_room = s->log_room ? 2 * s->log_room : 256;
        s->log = realloc(s->log, (size_t)s->log_room * sizeof *s->log);
    }
    command *kept = &s->log[s->logged++];
    *kept = (command){count, malloc((size_t)count * sizeof *kept->words)};
    for (int i = 0; i < count; i++)
        kept->words[i] = text_copy(words[i]);
}

redisReply *
store_do(store *s, int count, const text *words)
{
    if (s->full && text_is(words[0], "EVAL"))
        return reply_error("OOM command not allowed when used memory > "
                           "'maxmemory'.");
    s->writes = false;
    redisReply *reply = store_call(s, count, words);
    if (s->writes)
        keep(s, count, words);
    return reply;
}

void
store_lose(store *s, int lost)
{
    store anew = {.count = 0};
    for (int i = 0; i < s->logged - lost; i++)
        freeReplyObject(store_do(&anew, s->log[i].count, s->log[i].words));
    store_clear(s);
    *s = anew;
}

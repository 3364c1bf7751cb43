#include "tests/simulation/store.h"

#include <stdlib.h>
#include <string.h>

/* ---- Texts ---- */

text
text_make(const char *words)
{
    return (text){(char *)(uintptr_t)words, strlen(words)};
}

text
text_copy(text from)
{
    text copy = {malloc(from.size + 1), from.size};
    if (from.size)
        memcpy(copy.bytes, from.bytes, from.size);
    copy.bytes[from.size] = 0;
    return copy;
}

int
text_compare(text a, text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.bytes, b.bytes, size) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

bool
text_is(text a, const char *words)
{
    return !text_compare(a, text_make(words));
}

int64_t
text_number(text a)
{
    return strtoll(a.bytes, NULL, 10);
}

/* ---- Values ---- */

/* The first item that is not before this one. */
static int
place_of(const value *v, text name, double score, uint64_t seq)
{
    int low = 0, high = v->count;
    while (low < high) {
        int middle = (low + high) / 2;
        const item *at = &v->items[middle];
        bool before = v->kind == STREAM ? at->seq < seq
                      : v->kind == SORTED && at->score != score
                          ? at->score < score
                          : text_compare(at->name, name) < 0;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

item *
value_find(const value *v, text name)
{
    int first = v->kind == HASH ? place_of(v, name, 0, 0) : 0;
    int last = v->kind == HASH && first + 1 < v->count ? first + 1 : v->count;
    for (int i = first; i < last; i++)
        if (!text_compare(v->items[i].name, name))
            return &v->items[i];
    return NULL;
}

item *
value_add(value *v, text name, double score, uint64_t seq)
{
    int at = place_of(v, name, score, seq);
    if (v->count == v->room) {
        v->room = v->room ? 2 * v->room : 16;
        v->items = realloc(v->items, (size_t)v->room * sizeof *v->items);
    }
    memmove(v->items + at + 1, v->items + at,
            (size_t)(v->count - at) * sizeof *v->items);
    v->count++;
    v->items[at] = (item){.name = text_copy(name), .score = score, .seq = seq};
    return &v->items[at];
}

static void
item_free(item *it)
{
    free(it->name.bytes);
    free(it->value.bytes);
    for (int i = 0; i < it->field_count; i++)
        free(it->fields[i].bytes);
    free(it->fields);
}

void
value_drop(value *v, int index)
{
    item_free(&v->items[index]);
    v->count--;
    memmove(v->items + index, v->items + index + 1,
            (size_t)(v->count - index) * sizeof *v->items);
}

void
value_free(value *v)
{
    for (int i = 0; i < v->count; i++)
        item_free(&v->items[i]);
    free(v->items);
    free(v->key.bytes);
    free(v->string.bytes);
}

/* ---- Replies, as hiredis's reader makes them ---- */

static redisReply *
reply_of(int type)
{
    redisReply *reply = calloc(1, sizeof *reply);
    reply->type = type;
    return reply;
}

redisReply *
reply_nil(void)
{
    return reply_of(REDIS_REPLY_NIL);
}

redisReply *
reply_number(long long number)
{
    redisReply *reply = reply_of(REDIS_REPLY_INTEGER);
    reply->integer = number;
    return reply;
}

static redisReply *
reply_bytes(int type, text bytes)
{
    redisReply *reply = reply_of(type);
    text copy = text_copy(bytes);
    reply->str = copy.bytes;
    reply->len = copy.size;
    return reply;
}

redisReply *
reply_text(text bytes)
{
    return reply_bytes(REDIS_REPLY_STRING, bytes);
}

redisReply *
reply_status(const char *words)
{
    return reply_bytes(REDIS_REPLY_STATUS, text_make(words));
}

redisReply *
reply_error(const char *words)
{
    return reply_bytes(REDIS_REPLY_ERROR, text_make(words));
}

redisReply *
reply_array(int count)
{
    redisReply *reply = reply_of(REDIS_REPLY_ARRAY);
    reply->elements = (size_t)count;
    reply->element = calloc((size_t)count + 1, sizeof *reply->element);
    return reply;
}

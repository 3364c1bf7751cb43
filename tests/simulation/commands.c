/* The commands. Which options a command may have here is what the journal
 * gives it; others end the test, since they would be answered wrongly. */
#include "tests/simulation/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static redisReply *
unknown(const text *words)
{
    fprintf(stderr, "the simulated Redis does not know %.*s in this form\n",
            (int)words[0].size, words[0].bytes);
    abort();
}

/* As Redis does: what is empty is not there. */
static void
forget_empty(store *s, text key)
{
    value *v = store_find(s, key, NOTHING);
    if (v && !v->count && v->kind != STRING && v->kind != STREAM)
        store_remove(s, key);
}

/* ---- Strings ---- */

static redisReply *
do_get(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    (void)count;
    return v ? reply_text(v->string) : reply_nil();
}

static redisReply *
do_set(store *s, int count, const text *w)
{
    if (count != 3 && !(count == 5 && text_is(w[3], "EX")))
        return unknown(w);
    store_remove(s, w[1]);
    store_find(s, w[1], STRING)->string = text_copy(w[2]);
    return reply_status("OK");
}

static redisReply *
do_append(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], STRING);
    text *to = &v->string;
    (void)count;
    to->bytes = realloc(to->bytes, to->size + w[2].size + 1);
    memcpy(to->bytes + to->size, w[2].bytes, w[2].size);
    to->size += w[2].size;
    to->bytes[to->size] = 0;
    return reply_number((long long)to->size);
}

static redisReply *
do_strlen(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    (void)count;
    return reply_number(v ? (long long)v->string.size : 0);
}

static redisReply *
do_getrange(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    size_t size = v ? v->string.size : 0, first = (size_t)text_number(w[2]);
    size_t end = (size_t)text_number(w[3]) + 1;
    (void)count;
    end = end < size ? end : size;
    return first < end
               ? reply_text((text){v->string.bytes + first, end - first})
               : reply_text(text_make(""));
}

static redisReply *
do_exists(store *s, int count, const text *w)
{
    (void)count;
    return reply_number(store_find(s, w[1], NOTHING) != NULL);
}

static redisReply *
do_del(store *s, int count, const text *w)
{
    bool there = store_find(s, w[1], NOTHING) != NULL;
    (void)count;
    store_remove(s, w[1]);
    return reply_number(there);
}

/* Nothing lives for so long here. */
static redisReply *
do_expire(store *s, int count, const text *w)
{
    return do_exists(s, count, w);
}

/* ---- Hashes ---- */

static bool
put_field(value *v, text name, text bytes)
{
    item *it = value_find(v, name);
    bool fresh = !it;
    if (fresh)
        it = value_add(v, name, 0, 0);
    free(it->value.bytes);
    it->value = text_copy(bytes);
    return fresh;
}

static const item *
field_of(store *s, text key, text name)
{
    const value *v = store_find(s, key, NOTHING);
    return v ? value_find(v, name) : NULL;
}

static redisReply *
do_hset(store *s, int count, const text *w)
{
    long long fresh = 0;
    value *v = store_find(s, w[1], HASH);
    for (int i = 2; i + 1 < count; i += 2)
        fresh += put_field(v, w[i], w[i + 1]);
    return reply_number(fresh);
}

static redisReply *
do_hsetnx(store *s, int count, const text *w)
{
    if (field_of(s, w[1], w[2]))
        return reply_number(0);
    return do_hset(s, count, w);
}

static redisReply *
do_hget(store *s, int count, const text *w)
{
    const item *it = field_of(s, w[1], w[2]);
    (void)count;
    return it ? reply_text(it->value) : reply_nil();
}

static redisReply *
do_hmget(store *s, int count, const text *w)
{
    redisReply *reply = reply_array(count - 2);
    for (int i = 2; i < count; i++) {
        const item *it = field_of(s, w[1], w[i]);
        reply->element[i - 2] = it ? reply_text(it->value) : reply_nil();
    }
    return reply;
}

static redisReply *
do_hlen(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    (void)count;
    return reply_number(v ? v->count : 0);
}

static redisReply *
do_hdel(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], NOTHING);
    item *it = v ? value_find(v, w[2]) : NULL;
    (void)count;
    if (!it)
        return reply_number(0);
    value_drop(v, (int)(it - v->items));
    forget_empty(s, w[1]);
    return reply_number(1);
}

static redisReply *
do_hincrby(store *s, int count, const text *w)
{
    char number[24];
    const item *it = field_of(s, w[1], w[2]);
    int64_t sum = (it ? text_number(it->value) : 0) + text_number(w[3]);
    (void)count;
    snprintf(number, sizeof number, "%lld", (long long)sum);
    put_field(store_find(s, w[1], HASH), w[2], text_make(number));
    return reply_number(sum);
}

/* ---- Sorted sets ---- */

static redisReply *
do_zadd(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], SORTED);
    double score = strtod(w[2].bytes, NULL);
    item *it = value_find(v, w[3]);
    bool fresh = !it;
    (void)count;
    if (it)
        value_drop(v, (int)(it - v->items));
    value_add(v, w[3], score, 0);
    return reply_number(fresh);
}

static redisReply *
do_zrem(store *s, int count, const text *w)
{
    return do_hdel(s, count, w);
}

static redisReply *
do_zcard(store *s, int count, const text *w)
{
    return do_hlen(s, count, w);
}

/* ZRANGE and ZREVRANGE: ranks from first to last, negative ones from the
 * end. */
static redisReply *
do_zrange(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    bool back = text_is(w[0], "ZREVRANGE");
    int all = v ? v->count : 0;
    int64_t first = text_number(w[2]), last = text_number(w[3]);
    if (count != 4)
        return unknown(w);
    first += first < 0 ? all : 0;
    last += last < 0 ? all : 0;
    first = first < 0 ? 0 : first;
    last = last >= all ? all - 1 : last;
    int found = first <= last ? (int)(last - first + 1) : 0;
    redisReply *reply = reply_array(found);
    for (int i = 0; i < found; i++) {
        int at = (int)first + i;
        reply->element[i] = reply_text(v->items[back ? all - 1 - at : at].name);
    }
    return reply;
}

static bool
is_within(double score, text low, text high)
{
    bool open = high.bytes[0] == '(';
    double least = text_is(low, "-inf") ? -1e300 : strtod(low.bytes, NULL);
    double most = strtod(high.bytes + open, NULL);
    return score >= least && (open ? score < most : score <= most);
}

/* ZRANGEBYSCORE low high LIMIT 0 n, ZREVRANGEBYSCORE high low LIMIT 0 n. */
static redisReply *
do_zrangebyscore(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    bool back = text_is(w[0], "ZREVRANGEBYSCORE");
    text low = w[back ? 3 : 2], high = w[back ? 2 : 3];
    if (count != 7 || !text_is(w[4], "LIMIT") || !text_is(w[5], "0"))
        return unknown(w);
    int found = 0, all = v ? v->count : 0, most = (int)text_number(w[6]);
    redisReply *reply = reply_array(all);
    for (int i = 0; i < all && found < most; i++) {
        const item *it = &v->items[back ? all - 1 - i : i];
        if (is_within(it->score, low, high))
            reply->element[found++] = reply_text(it->name);
    }
    reply->elements = (size_t)found;
    return reply;
}

static redisReply *
do_zremrangebyscore(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], NOTHING);
    int gone = 0;
    (void)count;
    for (int i = v ? v->count - 1 : -1; i >= 0; i--)
        if (is_within(v->items[i].score, w[2], w[3])) {
            value_drop(v, i);
            gone++;
        }
    forget_empty(s, w[1]);
    return reply_number(gone);
}

/* ---- Streams ---- */

static redisReply *
do_xadd(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], STREAM);
    uint64_t seq = strtoull(w[2].bytes, NULL, 10);
    /* Redis remembers the last id even when its entry is gone. */
    if (seq <= (uint64_t)v->string.size)
        return reply_error("ERR The ID specified in XADD is equal or smaller "
                           "than the target stream top item");
    v->string.size = seq;
    item *it = value_add(v, text_make(""), 0, seq);
    it->field_count = count - 3;
    it->fields = calloc((size_t)it->field_count, sizeof *it->fields);
    for (int i = 3; i < count; i++)
        it->fields[i - 3] = text_copy(w[i]);
    return reply_text(w[2]);
}

static redisReply *
reply_entry(const item *it)
{
    char id[24];
    redisReply *reply = reply_array(2);
    snprintf(id, sizeof id, "%llu-0", (unsigned long long)it->seq);
    reply->element[0] = reply_text(text_make(id));
    reply->element[1] = reply_array(it->field_count);
    for (int i = 0; i < it->field_count; i++)
        reply->element[1]->element[i] = reply_text(it->fields[i]);
    return reply;
}

static redisReply *
do_xrange(store *s, int count, const text *w)
{
    const value *v = store_find(s, w[1], NOTHING);
    uint64_t low = text_is(w[2], "-") ? 0 : strtoull(w[2].bytes, NULL, 10);
    uint64_t high =
        text_is(w[3], "+") ? UINT64_MAX : strtoull(w[3].bytes, NULL, 10);
    if (count != 6 || !text_is(w[4], "COUNT"))
        return unknown(w);
    int found = 0, most = (int)text_number(w[5]);
    redisReply *reply = reply_array(most);
    for (int i = 0; v && i < v->count && found < most; i++)
        if (v->items[i].seq >= low && v->items[i].seq <= high)
            reply->element[found++] = reply_entry(&v->items[i]);
    reply->elements = (size_t)found;
    return reply;
}

static redisReply *
do_xdel(store *s, int count, const text *w)
{
    value *v = store_find(s, w[1], NOTHING);
    uint64_t seq = strtoull(w[2].bytes, NULL, 10);
    (void)count;
    for (int i = 0; v && i < v->count; i++)
        if (v->items[i].seq == seq) {
            value_drop(v, i);
            return reply_number(1);
        }
    return reply_number(0);
}

/* ---- All of them ---- */

/* As of a server that is set up as the README says. */
static redisReply *
do_config(store *s, int count, const text *w)
{
    static const char *const set[][2] = {{"maxmemory-policy", "noeviction"},
                                         {"appendonly", "yes"},
                                         {"appendfsync", "always"}};
    (void)s;
    for (size_t i = 0; i < sizeof set / sizeof *set && count == 3; i++)
        if (text_is(w[2], set[i][0])) {
            redisReply *reply = reply_array(2);
            reply->element[0] = reply_text(w[2]);
            reply->element[1] = reply_text(text_make(set[i][1]));
            return reply;
        }
    return unknown(w);
}

static const struct {
    const char *name;
    bool writes;
    redisReply *(*run)(store *s, int count, const text *words);
} table[] = {
    {"GET", false, do_get},
    {"SET", true, do_set},
    {"APPEND", true, do_append},
    {"STRLEN", false, do_strlen},
    {"GETRANGE", false, do_getrange},
    {"EXISTS", false, do_exists},
    {"DEL", true, do_del},
    {"EXPIRE", true, do_expire},
    {"HSET", true, do_hset},
    {"HSETNX", true, do_hsetnx},
    {"HGET", false, do_hget},
    {"HMGET", false, do_hmget},
    {"HLEN", false, do_hlen},
    {"HDEL", true, do_hdel},
    {"HINCRBY", true, do_hincrby},
    {"ZADD", true, do_zadd},
    {"ZREM", true, do_zrem},
    {"ZCARD", false, do_zcard},
    {"ZRANGE", false, do_zrange},
    {"ZREVRANGE", false, do_zrange},
    {"ZRANGEBYSCORE", false, do_zrangebyscore},
    {"ZREVRANGEBYSCORE", false, do_zrangebyscore},
    {"ZREMRANGEBYSCORE", true, do_zremrangebyscore},
    {"XADD", true, do_xadd},
    {"XRANGE", false, do_xrange},
    {"XDEL", true, do_xdel},
    {"CONFIG", false, do_config},
    {"EVAL", false, script_run},
};

redisReply *
store_call(store *s, int count, const text *words)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (text_is(words[0], table[i].name)) {
            s->writes |= table[i].writes;
            return table[i].run(s, count, words);
        }
    return unknown(words);
}

/* What a Redis server holds: strings, hashes, sorted sets and streams, and its
 * commands, as many of them as soma's journal uses, scripts included, which
 * run by the interpreter that Redis has in it (Lua 5.1).
 *
 * All that writes is kept as a log, like Redis's append-only file, so that a
 * server can be brought back without its last commands.
 */
#ifndef SOMA_TESTS_SIMULATION_STORE_H
#define SOMA_TESTS_SIMULATION_STORE_H

#include <hiredis/hiredis.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct text {
    char *bytes;
    size_t size;
} text;

/* A word and what belongs to it: the field of a hash, the member of a sorted
 * set with its score, the entry of a stream. */
typedef struct item {
    text name;
    text value;   /* of a hash's field */
    double score; /* of a sorted set's member */
    uint64_t seq; /* of a stream's entry: its id is SEQ-0 */
    text *fields; /* [field_count], of a stream's entry */
    int field_count;
} item;

typedef enum value_kind { NOTHING, STRING, HASH, SORTED, STREAM } value_kind;

typedef struct value {
    text key;
    value_kind kind;
    text string;
    item *items; /* [count]: a hash's by name, a sorted set's by score and name,
                    a stream's by seq */
    int count, room;
} value;

typedef struct command {
    int count;
    text *words; /* [count] */
} command;

typedef struct store {
    value *values;
    int count, room;
    command *log; /* [logged] */
    int logged, log_room;
    bool full;   /* as with maxmemory reached: refuses what writes */
    bool writes; /* the command that runs now has written */
} store;

void store_clear(store *s);
/* The value, or NULL; made anew if it is not there and `kind` is one. */
value *store_find(store *s, text key, value_kind kind);
void store_remove(store *s, text key);

/* Answers a command; the reply is to be freed by freeReplyObject. */
redisReply *store_do(store *s, int count, const text *words);
/* Forgets the last `lost` commands that have written. */
void store_lose(store *s, int lost);

/* ---- commands.c ---- */

/* As store_do, from within a script, and without a place in the log. */
redisReply *store_call(store *s, int count, const text *words);

/* ---- values.c ---- */

text text_make(const char *words);
text text_copy(text from);
int text_compare(text a, text b);
bool text_is(text a, const char *words);
int64_t text_number(text a);

item *value_find(const value *v, text name);
/* Puts one in, at its place by score or seq; the rest is zero. */
item *value_add(value *v, text name, double score, uint64_t seq);
void value_drop(value *v, int index);
void value_free(value *v);

redisReply *reply_nil(void);
redisReply *reply_number(long long number);
redisReply *reply_text(text bytes);
redisReply *reply_status(const char *words);
redisReply *reply_error(const char *words);
redisReply *reply_array(int count);

/* ---- script.c ---- */

/* EVAL: script, number of keys, keys, arguments. */
redisReply *script_run(store *s, int count, const text *words);
/* From now on scripts run with `was` replaced by `is`; NULL: as they are. */
void script_mutate(const char *was, const char *is);
/* Whether one that had it was run. */
bool script_was_mutated(void);
void script_end(void);

#endif

/* What the files of the journal in Redis share; its keys and what is promised
 * of it stand at the head of journal_redis.c.
 */
#ifndef SOMA_ENGINE_JOURNAL_REDIS_H
#define SOMA_ENGINE_JOURNAL_REDIS_H

#include "server/engine/journal.h"
#include "server/engine/redis.h"

/* Rows of the table of keys; the scripts know them by these numbers plus 1. */
typedef enum soma_stream_key {
    SOMA_STREAM_HEAD,
    SOMA_STREAM_EXAMPLES,
    SOMA_STREAM_LEAPS,
    SOMA_STREAM_KEYS,
    SOMA_STREAM_KEY_TIMES,
    SOMA_STREAM_LESSONS,
    SOMA_STREAM_CHECKPOINTS,
    SOMA_STREAM_STATES,
    SOMA_STREAM_BASE,
    SOMA_STREAM_PART,   /* of this journal object alone */
    SOMA_STREAM_WRITER, /* the same */
    SOMA_STREAM_DIGESTS,
    SOMA_STREAM_KEY_COUNT
} soma_stream_key;

typedef struct soma_stream {
    soma_journal journal;
    soma_redis redis;
    char *keys[SOMA_STREAM_KEY_COUNT];
    char name[480];    /* for people */
    char base[72];     /* digest, so that another journal is noticed */
    char instance[17]; /* of this object, drawn at random */
    uint64_t appends;
    char token[SOMA_MARK_MAX + 1]; /* of the last one */
    unsigned char *packed;         /* a record's values, [size x 4] */
    float *x;                      /* [size] */
} soma_stream;

/* A function of scripts: where the way to a version begins (replay.h): the seq
 * of a checkpoint, whose row it gives, too, or of the record before an
 * adoption; all records since belong to it. That checkpoint which is not to be
 * counted on is `without`. */
#define SOMA_STREAM_BEGINNING                                                  \
    "local function beginning(version, without)\n"                             \
    "  while true do\n"                                                        \
    "    local seq, row = 0, nil\n"                                            \
    "    for _, found in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[7],\n"     \
    "      version, 0, 'LIMIT', 0, 2)) do\n"                                   \
    "      if not row and found ~= without then\n"                             \
    "        row, seq = found, tonumber(string.match(found, '^%d+')) end\n"    \
    "    end\n"                                                                \
    "    local leap = redis.call('ZREVRANGEBYSCORE', KEYS[3], version, 0,\n"   \
    "      'LIMIT', 0, 1)[1] or '0:0:0'\n"                                     \
    "    local at, kind, target = string.match(leap, '(%d+):(%d+):(%d+)')\n"   \
    "    if tonumber(at) <= seq then return seq, row end\n"                    \
    "    if kind == '4' then return tonumber(at) - 1, nil end\n"               \
    "    version = target\n"                                                   \
    "  end\n"                                                                  \
    "end\n"

/* A command of a script's text: EVAL with all keys; arguments follow. */
void soma_stream_script(const soma_stream *stream, soma_redis_command *command,
                        const char *script);
/* VERB key, further words follow. */
void soma_stream_verb(const soma_stream *stream, soma_redis_command *command,
                      const char *verb, soma_stream_key key);

/* Sends it and frees it. NULL: failed. */
redisReply *soma_stream_do(soma_stream *stream, soma_redis_command *command,
                           soma_error *err);

/* SOMA_E_FORMAT: what is there is not what belongs there. */
soma_status soma_stream_damaged(const soma_stream *stream, soma_error *err,
                                const char *what, uint64_t number);

/* That it is the journal that it was when it was opened, in a format that is
 * known. */
soma_status soma_stream_check_head(soma_stream *stream, soma_error *err);

/* ---- journal_redis_append.c ---- */

soma_status soma_stream_append(soma_journal *journal,
                               const soma_journal_group *group,
                               soma_error *err);

/* ---- journal_redis_records.c ---- */

/* Adds the record's bytes, its leap ("" for none) and whether it is an example,
 * to an append. SOMA_E_INTERNAL: it is none that may be written. */
soma_status soma_stream_pack(soma_stream *stream, const soma_record *record,
                             soma_redis_command *command, soma_error *err);
soma_status soma_stream_read(soma_journal *journal, uint64_t after,
                             uint64_t upto, soma_journal_visit visit, void *arg,
                             soma_error *err);
soma_status soma_stream_last_leap(soma_journal *journal, uint64_t upto,
                                  soma_leap *leap, soma_error *err);

/* ---- journal_redis_rest.c: keys, lessons, checkpoints, trimming ---- */

void soma_stream_pack_key(const soma_journal_key *key,
                          soma_redis_command *command);
void soma_stream_pack_lesson(const soma_lesson *lesson,
                             soma_redis_command *command);
void soma_stream_pack_part(const soma_journal_part *part,
                           soma_redis_command *command);
soma_status soma_stream_find_key(soma_journal *journal, const char *text,
                                 soma_journal_key *key, bool *found,
                                 soma_error *err);
soma_status soma_stream_lessons(soma_journal *journal, uint64_t first,
                                int count, soma_lesson *lessons,
                                soma_error *err);
soma_status soma_stream_checkpoint_find(soma_journal *journal, uint64_t upto,
                                        soma_journal_checkpoint *checkpoint,
                                        soma_error *err);
soma_status soma_stream_checkpoint_read(soma_journal *journal, uint64_t seq,
                                        soma_bytes *state, soma_error *err);
soma_status soma_stream_base(soma_journal *journal, soma_bytes *model,
                             soma_error *err);
soma_status soma_stream_trim(soma_journal *journal,
                             const soma_journal_policy *policy, int most,
                             bool *more, soma_error *err);
soma_status soma_stream_check(soma_journal *journal, soma_error *err);
soma_status soma_stream_holds(soma_journal *journal, const soma_place *place,
                              bool *held, soma_error *err);
soma_status soma_stream_compare(soma_journal *journal, uint64_t seq,
                                uint64_t old, const char *digest,
                                char first[72], soma_error *err);

#endif

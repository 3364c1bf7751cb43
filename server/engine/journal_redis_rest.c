/* Keys, lessons and checkpoints in Redis, the model file, trimming.
 *
 * Bytes of a key, little endian: first (8), time (8), count (4), fingerprint.
 * Of a lesson: loss (4), predicted (4), steps (4), rejected (4).
 */
#include "server/engine/journal_redis.h"

#include <endian.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 32 };

typedef struct key_bytes {
    uint64_t first;
    int64_t time;
    uint32_t count;
    unsigned char fingerprint[SOMA_KEY_FINGERPRINT];
} __attribute__((packed)) key_bytes;

typedef struct lesson_bytes {
    uint32_t loss, predicted, steps, rejected;
} lesson_bytes;

/* ---- Idempotency-Key ---- */

void
soma_stream_pack_key(const soma_journal_key *key, soma_redis_command *command)
{
    key_bytes bytes = {.first = htole64(key->first),
                       .time = (int64_t)htole64((uint64_t)key->time),
                       .count = htole32((uint32_t)key->count)};
    memcpy(bytes.fingerprint, key->fingerprint, sizeof bytes.fingerprint);
    soma_redis_text(command, key->text);
    soma_redis_add(command, &bytes, sizeof bytes);
    soma_redis_number(command, key->time);
}

soma_status
soma_stream_find_key(soma_journal *journal, const char *text,
                     soma_journal_key *key, bool *found, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    key_bytes bytes = {.count = 0};
    *found = false;
    soma_stream_verb(stream, &command, "HGET", SOMA_STREAM_KEYS);
    soma_redis_text(&command, text);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    *found = reply->str != NULL;
    bool whole = reply->len == sizeof bytes;
    if (*found && whole)
        memcpy(&bytes, reply->str, sizeof bytes);
    freeReplyObject(reply);
    if (!*found)
        return SOMA_OK;
    if (!whole)
        return soma_error_set(err, SOMA_E_FORMAT, "%s: key \"%s\" is damaged",
                              stream->name, text);
    memset(key, 0, sizeof *key);
    snprintf(key->text, sizeof key->text, "%s", text);
    key->first = le64toh(bytes.first);
    key->time = (int64_t)le64toh((uint64_t)bytes.time);
    key->count = (int)le32toh(bytes.count);
    memcpy(key->fingerprint, bytes.fingerprint, sizeof key->fingerprint);
    return SOMA_OK;
}

/* ---- Lessons ---- */

void
soma_stream_pack_lesson(const soma_lesson *lesson, soma_redis_command *command)
{
    uint32_t loss;
    memcpy(&loss, &lesson->loss, sizeof loss);
    lesson_bytes bytes = {htole32(loss), htole32((uint32_t)lesson->predicted),
                          htole32((uint32_t)lesson->steps),
                          htole32(lesson->rejected)};
    soma_redis_number(command, (int64_t)lesson->version);
    soma_redis_add(command, &bytes, sizeof bytes);
}

static bool
unpack_lesson(const redisReply *reply, uint64_t version, soma_lesson *lesson)
{
    lesson_bytes bytes;
    *lesson = (soma_lesson){.version = 0};
    if (!reply->str)
        return true;
    if (reply->len != sizeof bytes)
        return false;
    memcpy(&bytes, reply->str, sizeof bytes);
    uint32_t loss = le32toh(bytes.loss);
    memcpy(&lesson->loss, &loss, sizeof loss);
    lesson->version = version;
    lesson->predicted = (int)le32toh(bytes.predicted);
    lesson->steps = (int)le32toh(bytes.steps);
    lesson->rejected = bytes.rejected != 0;
    return true;
}

soma_status
soma_stream_lessons(soma_journal *journal, uint64_t first, int count,
                    soma_lesson *lessons, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    if (count < 1)
        return SOMA_OK;
    soma_stream_verb(stream, &command, "HMGET", SOMA_STREAM_LESSONS);
    for (int i = 0; i < count; i++)
        soma_redis_number(&command, (int64_t)(first + (uint64_t)i));
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    soma_status status = SOMA_OK;
    for (int i = 0; i < count && !status; i++)
        if ((size_t)i >= reply->elements ||
            !unpack_lesson(reply->element[i], first + (uint64_t)i, &lessons[i]))
            status =
                soma_stream_damaged(stream, err, "lesson", first + (uint64_t)i);
    freeReplyObject(reply);
    return status;
}

/* ---- Checkpoints ---- */

typedef struct row {
    unsigned long long seq, size;
    long long time;
    char digest[2 * DIGEST + 1];
} row;

void
soma_stream_pack_part(const soma_journal_part *part,
                      soma_redis_command *command)
{
    char text[160];
    int at =
        snprintf(text, sizeof text, "%" PRIu64 ":%" PRId64 ":%zu:", part->seq,
                 part->time, part->total);
    for (int i = 0; i < DIGEST; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%02x",
                       part->digest[i]);
    soma_redis_add(command, part->data, part->size);
    soma_redis_number(command, part->last);
    soma_redis_text(command, text);
}

/* The newest one with low <= seq <= upto; seq 0: none. */
static soma_status
find_row(soma_stream *stream, uint64_t low, uint64_t upto, row *found,
         soma_error *err)
{
    soma_redis_command command = {.count = 0};
    *found = (row){.seq = 0};
    soma_stream_verb(stream, &command, "ZREVRANGEBYSCORE",
                     SOMA_STREAM_CHECKPOINTS);
    soma_redis_number(&command, upto > INT64_MAX ? INT64_MAX : (int64_t)upto);
    soma_redis_number(&command, (int64_t)low);
    soma_redis_text(&command, "LIMIT");
    soma_redis_text(&command, "0");
    soma_redis_text(&command, "1");
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    soma_status status = SOMA_OK;
    if (reply->elements == 1 &&
        sscanf(reply->element[0]->str, "%llu:%lld:%llu:%64s", &found->seq,
               &found->time, &found->size, found->digest) != 4)
        status = soma_stream_damaged(stream, err, "checkpoint up to", upto);
    freeReplyObject(reply);
    return status;
}

soma_status
soma_stream_checkpoint_find(soma_journal *journal, uint64_t upto,
                            soma_journal_checkpoint *checkpoint,
                            soma_error *err)
{
    row found;
    soma_status status = find_row((soma_stream *)journal, 0, upto, &found, err);
    *checkpoint = (soma_journal_checkpoint){0};
    if (!status)
        *checkpoint = (soma_journal_checkpoint){found.seq, found.time,
                                                (size_t)found.size};
    return status;
}

static bool
is_digest(const redisReply *reply, const char *expected)
{
    struct sha256_ctx context;
    unsigned char digest[DIGEST];
    char text[2 * DIGEST + 1];
    sha256_init(&context);
    sha256_update(&context, (size_t)reply->len, (const uint8_t *)reply->str);
    sha256_digest(&context, DIGEST, digest);
    for (int i = 0; i < DIGEST; i++)
        snprintf(text + (ptrdiff_t)2 * i, 3, "%02x", digest[i]);
    return !strcmp(text, expected);
}

/* A copy of the reply's bytes, which it frees. */
static soma_status
take_bytes(redisReply *reply, soma_bytes *bytes, soma_error *err)
{
    *bytes = (soma_bytes){malloc((size_t)reply->len + 1), (size_t)reply->len};
    if (bytes->data)
        memcpy(bytes->data, reply->str, bytes->size);
    freeReplyObject(reply);
    return bytes->data ? SOMA_OK : soma_error_memory(err, "a checkpoint");
}

soma_status
soma_stream_checkpoint_read(soma_journal *journal, uint64_t seq,
                            soma_bytes *state, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    row found;
    *state = (soma_bytes){NULL, 0};
    soma_status status = find_row(stream, seq, seq, &found, err);
    if (status)
        return status;
    if (!found.seq)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: no checkpoint of record %llu", stream->name,
                              (unsigned long long)seq);
    soma_stream_verb(stream, &command, "HGET", SOMA_STREAM_STATES);
    soma_redis_number(&command, (int64_t)seq);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    if (reply->str && is_digest(reply, found.digest))
        return take_bytes(reply, state, err);
    freeReplyObject(reply);
    return soma_stream_damaged(stream, err, "the checkpoint of record", seq);
}

soma_status
soma_stream_base(soma_journal *journal, soma_bytes *model, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    *model = (soma_bytes){NULL, 0};
    soma_stream_verb(stream, &command, "GET", SOMA_STREAM_BASE);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    if (reply->str)
        return take_bytes(reply, model, err);
    freeReplyObject(reply);
    return soma_error_set(err, SOMA_E_NOT_FOUND, "%s: it keeps no model",
                          stream->name);
}

/* ---- Trimming ---- */

/* Arguments: checkpoints to keep, examples, oldest time, keys, their oldest
 * time (0: all), and the most to drop. What a start needs when the newest
 * checkpoint turns out damaged stays: the one that the way to the newest
 * version then begins with, which may be that before a rollback's target, and
 * all records since.
 * Answers 1 if there is more. */
static const char trim_script[] = SOMA_STREAM_BEGINNING
    "local call, most = redis.call, tonumber(ARGV[6])\n"
    "local keep, left = tonumber(ARGV[1]), most\n"
    "local head = call('HMGET', KEYS[1], 'last', 'examples')\n"
    "if not head[1] then return 0 end\n"
    "local covered, needed =\n"
    "  beginning(head[1], call('ZREVRANGE', KEYS[7], 0, 0)[1])\n"
    "if keep > 0 then\n"
    "  local old = call('ZRANGE', KEYS[7], 0, -1 - math.max(keep, 2))\n"
    "  for _, row in ipairs(old) do\n"
    "    if row ~= needed then\n"
    "      call('HDEL', KEYS[8], string.match(row, '^%d+'))\n"
    "      call('ZREM', KEYS[7], row)\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local examples, since = tonumber(ARGV[2]), tonumber(ARGV[3])\n"
    "if examples > 0 or since > 0 then\n"
    "  local recent = tonumber(head[1]) - examples\n"
    "  local found = call('XRANGE', KEYS[2], '-', '+', 'COUNT', most)\n"
    "  local gone = 0\n"
    "  for _, entry in ipairs(found) do\n"
    "    local text = string.match(entry[1], '^%d+')\n"
    "    local seq, time = tonumber(text), tonumber(entry[2][4])\n"
    "    if seq > covered or not (examples > 0 and seq <= recent or\n"
    "       since > 0 and time < since) then break end\n"
    "    call('XDEL', KEYS[2], entry[1])\n"
    "    call('HDEL', KEYS[6], text)\n"
    "    if string.byte(entry[2][2]) == 1 then gone = gone + 1 end\n"
    "    call('HSET', KEYS[1], 'first', string.format('%.0f', seq + 1))\n"
    "    left = left - 1\n"
    "  end\n"
    "  if gone > 0 then call('HINCRBY', KEYS[1], 'examples', -gone) end\n"
    "end\n"
    "local more, keys, oldest = left == 0, tonumber(ARGV[4]), ARGV[5]\n"
    "local function drop(texts)\n"
    "  for _, text in ipairs(texts) do\n"
    "    call('HDEL', KEYS[4], text)\n"
    "    call('ZREM', KEYS[5], text)\n"
    "  end\n"
    "  more = more or #texts == most\n"
    "end\n"
    "if oldest ~= '0' then drop(call('ZRANGEBYSCORE', KEYS[5], '-inf',\n"
    "  '(' .. oldest, 'LIMIT', 0, most)) end\n"
    "if keys > 0 then\n"
    "  local many = call('ZCARD', KEYS[5]) - keys\n"
    "  if many > 0 then\n"
    "    drop(call('ZRANGE', KEYS[5], 0, math.min(many, most) - 1)) end\n"
    "end\n"
    "return more and 1 or 0\n";

soma_status
soma_stream_trim(soma_journal *journal, const soma_journal_policy *policy,
                 int most, bool *more, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    *more = false;
    soma_stream_script(stream, &command, trim_script);
    soma_redis_number(&command, policy->keep_checkpoints);
    soma_redis_number(&command, (int64_t)policy->keep_examples);
    soma_redis_number(&command, policy->keep_since);
    soma_redis_number(&command, (int64_t)policy->keep_keys);
    soma_redis_number(&command, policy->keys_since);
    soma_redis_number(&command, most);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    *more = reply->integer == 1;
    freeReplyObject(reply);
    return SOMA_OK;
}

/* ---- Checking ---- */

static const char compare_script[] =
    "redis.call('HSETNX', KEYS[12], ARGV[1], ARGV[2])\n"
    "redis.call('HDEL', KEYS[12], ARGV[3])\n"
    "return redis.call('HGET', KEYS[12], ARGV[1])\n";

soma_status
soma_stream_compare(soma_journal *journal, uint64_t seq, uint64_t old,
                    const char *digest, char first[72], soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    soma_stream_script(stream, &command, compare_script);
    soma_redis_number(&command, (int64_t)seq);
    soma_redis_text(&command, digest);
    soma_redis_number(&command, (int64_t)old);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    snprintf(first, 72, "%s", reply->str ? reply->str : "");
    freeReplyObject(reply);
    return SOMA_OK;
}

static soma_status
pass_by(const soma_record *record, void *arg, soma_error *err)
{
    (void)record, (void)arg, (void)err;
    return SOMA_OK;
}

soma_status
soma_stream_check(soma_journal *journal, soma_error *err)
{
    soma_journal_info info;
    soma_journal_checkpoint checkpoint = {0};
    uint64_t upto = INT64_MAX;
    soma_status status = journal->backend->info(journal, &info, err);
    if (!status && info.last)
        status = soma_stream_read(journal, info.first - 1, info.last, pass_by,
                                  NULL, err);
    do {
        soma_bytes state = {NULL, 0};
        if (!status)
            status =
                soma_stream_checkpoint_find(journal, upto, &checkpoint, err);
        if (!status && checkpoint.seq)
            status = soma_stream_checkpoint_read(journal, checkpoint.seq,
                                                 &state, err);
        soma_bytes_free(&state);
        upto = checkpoint.seq - 1;
    } while (!status && checkpoint.seq > 1);
    return status;
}

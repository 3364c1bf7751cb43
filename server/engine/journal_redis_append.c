/* Appending to the journal in Redis: one script (journal_redis.c). */
#include "server/engine/journal_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { TRIES = 3, TRY_PAUSE = 50 };

/* Arguments: token; seq and mark of the record that the writer has learned last
 * ("": not to be looked at); number of records; the first one's seq; 1 if there
 * is a part, its offset and seq; the version that a rollback goes back to, ""
 * if there is none: what leads to it may just have been trimmed; for each
 * record its seq, bytes, time, leap, and 1 if it is an example; number of keys,
 * for each its text, bytes, time; number of lessons, for each its seq and
 * bytes; where there is a part: its bytes, 1 if it is the last, row. */
static const char append_script[] = SOMA_STREAM_BEGINNING
    "local call, at = redis.call, 0\n"
    "local function arg() at = at + 1; return ARGV[at] end\n"
    "local token = arg()\n"
    "local before = call('GET', KEYS[11])\n"
    "if before == token then return 1 end\n"
    "local function number(t) return tonumber(string.match(t, '%d+$')) end\n"
    "if before and number(before) > number(token) then return 0 end\n"
    "local head = call('HMGET', KEYS[1], 'last', 'mark')\n"
    "local last = head[1]\n"
    "if not last then return redis.error_reply('GONE no journal') end\n"
    "local place, mark = arg(), arg()\n"
    "if mark ~= '' and (place ~= last or mark ~= head[2]) then\n"
    "  local there = call('XRANGE', KEYS[2], place, place, 'COUNT', 1)\n"
    "  if not there[1] or there[1][2][6] ~= mark then return 0 end\n"
    "end\n"
    "local count, first = tonumber(arg()), arg()\n"
    "if count > 0 and tonumber(first) ~= tonumber(last) + 1 then\n"
    "  return 0 end\n"
    "local has_part, offset, of = arg() == '1', arg(), arg() .. ':'\n"
    "if has_part and offset ~= '0' and\n"
    "   (call('STRLEN', KEYS[10]) ~= tonumber(offset) + #of or\n"
    "    call('GETRANGE', KEYS[10], 0, #of - 1) ~= of) then return 2 end\n"
    "local back = arg()\n"
    "if back ~= '' and beginning(back) + 1 <\n"
    "   tonumber(call('HGET', KEYS[1], 'first')) then return 0 end\n"
    "call('SET', KEYS[11], token, 'EX', 86400)\n"
    "local examples = 0\n"
    "for i = 1, count do\n"
    "  local seq, bytes, time, leap, kind = arg(), arg(), arg(), arg(), arg()\n"
    "  call('XADD', KEYS[2], seq .. '-0', 'r', bytes, 't', time,\n"
    "    'm', token)\n"
    "  if leap ~= '' then call('ZADD', KEYS[3], seq, leap) end\n"
    "  if kind == '1' then examples = examples + 1 end\n"
    "  last = seq\n"
    "end\n"
    "if count > 0 then\n"
    "  call('HSET', KEYS[1], 'last', last, 'mark', token)\n"
    "  call('HINCRBY', KEYS[1], 'examples', examples)\n"
    "end\n"
    "for i = 1, tonumber(arg()) do\n"
    "  local text, bytes, time = arg(), arg(), arg()\n"
    "  call('HSET', KEYS[4], text, bytes)\n"
    "  call('ZADD', KEYS[5], time, text)\n"
    "end\n"
    "for i = 1, tonumber(arg()) do\n"
    "  local seq, bytes = arg(), arg()\n"
    "  call('HSET', KEYS[6], seq, bytes)\n"
    "end\n"
    "if has_part then\n"
    "  local bytes, done, row = arg(), arg(), arg()\n"
    "  local seq = string.sub(of, 1, -2)\n"
    "  if offset == '0' then call('SET', KEYS[10], of .. bytes)\n"
    "  else call('APPEND', KEYS[10], bytes) end\n"
    "  call('EXPIRE', KEYS[10], 3600)\n"
    "  if done == '1' then\n"
    "    local state = string.sub(call('GET', KEYS[10]), #of + 1)\n"
    "    call('HSET', KEYS[8], seq, state)\n"
    "    call('ZREMRANGEBYSCORE', KEYS[7], seq, seq)\n"
    "    call('ZADD', KEYS[7], seq, row)\n"
    "    call('DEL', KEYS[10])\n"
    "  end\n"
    "end\n"
    "return 1\n";

enum { AHEAD = 0, WRITTEN = 1, PART_GONE = 2 };

static soma_status
check_order(const soma_stream *stream, const soma_journal_group *group,
            soma_error *err)
{
    for (int i = 1; i < group->count; i++)
        if (group->records[i].seq != group->records[0].seq + (uint64_t)i)
            return soma_error_set(
                err, SOMA_E_INTERNAL, "%s: record %llu after %llu",
                stream->name, (unsigned long long)group->records[i].seq,
                (unsigned long long)group->records[i - 1].seq);
    return SOMA_OK;
}

/* A rollback is a group of its own. */
static void
pack_target(const soma_journal_group *group, soma_redis_command *command)
{
    if (group->count == 1 && group->records->kind == SOMA_RECORD_ROLLBACK)
        soma_redis_number(command, (int64_t)group->records->target);
    else
        soma_redis_text(command, "");
}

static soma_status
build_append(soma_stream *stream, const soma_journal_group *group,
             soma_redis_command *command, soma_error *err)
{
    snprintf(stream->token, sizeof stream->token, "%s-%" PRIu64,
             stream->instance, ++stream->appends);
    soma_stream_script(stream, command, append_script);
    soma_redis_text(command, stream->token);
    soma_redis_number(command, group->after ? (int64_t)group->after->seq : 0);
    soma_redis_text(command, group->after ? group->after->mark : "");
    soma_redis_number(command, group->count);
    soma_redis_number(command,
                      group->count ? (int64_t)group->records[0].seq : 0);
    soma_redis_number(command, group->part != NULL);
    soma_redis_number(command, group->part ? (int64_t)group->part->offset : 0);
    soma_redis_number(command, group->part ? (int64_t)group->part->seq : 0);
    pack_target(group, command);
    soma_status status = check_order(stream, group, err);
    for (int i = 0; i < group->count && !status; i++)
        status = soma_stream_pack(stream, &group->records[i], command, err);
    soma_redis_number(command, group->key_count);
    for (int i = 0; i < group->key_count; i++)
        soma_stream_pack_key(&group->keys[i], command);
    soma_redis_number(command, group->lesson_count);
    for (int i = 0; i < group->lesson_count; i++)
        soma_stream_pack_lesson(&group->lessons[i], command);
    if (group->part)
        soma_stream_pack_part(group->part, command);
    return status;
}

static soma_status
send_again(soma_stream *stream, soma_error *err)
{
    struct timespec pause = {0, TRY_PAUSE * 1000000L};
    nanosleep(&pause, NULL);
    soma_status status = soma_redis_connect(&stream->redis, err);
    return status ? status : soma_stream_check_head(stream, err);
}

/* Until there is an answer, or no more hope for one. */
static redisReply *
send_append(soma_stream *stream, const soma_redis_command *command,
            soma_error *err)
{
    redisReply *reply = soma_redis_do(&stream->redis, command, err);
    for (int i = 1; !reply && i < TRIES && !stream->redis.context; i++)
        if (!send_again(stream, err))
            reply = soma_redis_do(&stream->redis, command, err);
    return reply;
}

static void
move_on(const soma_stream *stream, const soma_journal_group *group)
{
    if (!group->after || !group->count)
        return;
    group->after->seq = group->records[group->count - 1].seq;
    snprintf(group->after->mark, sizeof group->after->mark, "%s",
             stream->token);
}

soma_status
soma_stream_append(soma_journal *journal, const soma_journal_group *group,
                   soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    soma_status status = build_append(stream, group, &command, err);
    redisReply *reply = status ? NULL : send_append(stream, &command, err);
    soma_redis_clear(&command);
    if (!reply)
        return status ? status : err->status;
    long long outcome = reply->integer;
    freeReplyObject(reply);
    switch (outcome) {
    case WRITTEN:
        move_on(stream, group);
        return SOMA_OK;
    case PART_GONE:
        return soma_error_set(err, SOMA_E_NO_SPACE,
                              "%s: the beginning of a checkpoint is gone",
                              stream->name);
    default:
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s: what is to be appended does not follow its "
                              "end; another replica has appended",
                              stream->name);
    }
}

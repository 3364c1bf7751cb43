/* The journal in Redis (or Valkey), for several replicas: a stream for each
 * model, whose order is the order of learning. Keys of model M, all with the
 * hash tag {M}, so that they lie on one node of a cluster:
 *
 *     soma:{M}:head         hash: format, base, origin, settings, size,
 *                           created, first, last, examples, mark
 *     soma:{M}:examples     stream: entry SEQ-0 is record SEQ: r its bytes, t
 *                           its time, m its mark
 *     soma:{M}:leaps        sorted by seq: "SEQ:KIND:TARGET"
 *     soma:{M}:keys         hash: Idempotency-Key -> what it stood for
 *     soma:{M}:key-times    the same keys, sorted by time
 *     soma:{M}:lessons      hash: SEQ -> lesson
 *     soma:{M}:checkpoints  sorted by seq: "SEQ:TIME:SIZE:SHA-256"
 *     soma:{M}:states       hash: SEQ -> bytes of that checkpoint
 *     soma:{M}:base         the model file's bytes
 *     soma:{M}:digests      hash: SEQ -> digest of the weights, now and then
 *     soma:{M}:part:I       "SEQ:" and as much of that checkpoint as instance
 *                           I has written
 *     soma:{M}:writer:I     the last append of instance I
 *
 * An append is one script, so all of it or nothing is done. It names the
 * number of its first record: where another replica was first, nothing is
 * written and the append ends with SOMA_E_CONFLICT; the trainer then learns
 * what is there and comes again. So no two records have one number, and a
 * replica never appends to what it has not applied.
 *
 * Each append has a token. When its answer is lost, it is sent again over a
 * new connection: the script knows the token and does nothing twice. Tokens are
 * numbered, and one that arrives after a later one is refused: it was given up.
 *
 * The token is also the mark of the append's records, and who appends names the
 * mark of the record before. A server that was cut off, or a replica of it that
 * has taken its place, may have lost its last records, and others may have got
 * their numbers; by its mark a replica that had learned them sees that what it
 * has learned last is not there, and neither its records nor its checkpoints
 * are taken.
 *
 * What is written is on disk when the server has appendonly yes and
 * appendfsync always; with less, opening says so in the log. An append that
 * finds the server's memory full (maxmemory) writes nothing:
 * SOMA_E_NO_SPACE.
 */
#include "server/engine/journal_redis.h"

#include "server/engine/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FORMAT = 1 };

/* ---- Commands ---- */

void
soma_stream_script(const soma_stream *stream, soma_redis_command *command,
                   const char *script)
{
    soma_redis_text(command, "EVAL");
    soma_redis_text(command, script);
    soma_redis_number(command, SOMA_STREAM_KEY_COUNT);
    for (int i = 0; i < SOMA_STREAM_KEY_COUNT; i++)
        soma_redis_text(command, stream->keys[i]);
}

void
soma_stream_verb(const soma_stream *stream, soma_redis_command *command,
                 const char *verb, soma_stream_key key)
{
    soma_redis_text(command, verb);
    soma_redis_text(command, stream->keys[key]);
}

redisReply *
soma_stream_do(soma_stream *stream, soma_redis_command *command,
               soma_error *err)
{
    redisReply *reply = soma_redis_do(&stream->redis, command, err);
    soma_redis_clear(command);
    return reply;
}

soma_status
soma_stream_damaged(const soma_stream *stream, soma_error *err,
                    const char *what, uint64_t number)
{
    return soma_error_set(err, SOMA_E_FORMAT, "%s: %s %llu is damaged",
                          stream->name, what, (unsigned long long)number);
}

/* ---- The head ---- */

enum {
    FIRST,
    LAST,
    EXAMPLES,
    CREATED,
    BASE,
    ORIGIN,
    SETTINGS,
    SIZE,
    MARK,
    FIELDS
};

static uint64_t
number_of(const redisReply *reply)
{
    return reply->str ? strtoull(reply->str, NULL, 10) : 0;
}

static soma_status
take_head(const soma_stream *stream, const redisReply *reply,
          soma_journal_info *info, soma_error *err)
{
    redisReply *const *field = reply->element;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != FIELDS ||
        !field[SETTINGS]->str || !field[BASE]->str || !field[LAST]->str)
        return soma_error_set(err, SOMA_E_NOT_FOUND, "%s: there is no journal",
                              stream->name);
    if (field[SETTINGS]->len != sizeof info->settings)
        return soma_stream_damaged(stream, err, "head of format", FORMAT);
    *info = (soma_journal_info){
        .last = number_of(field[LAST]),
        .first = number_of(field[LAST]) ? number_of(field[FIRST]) : 0,
        .examples = number_of(field[EXAMPLES]),
        .created = (int64_t)number_of(field[CREATED]),
        .size = (int)number_of(field[SIZE]),
        .end.seq = number_of(field[LAST])};
    snprintf(info->end.mark, sizeof info->end.mark, "%s",
             field[MARK]->str ? field[MARK]->str : "");
    snprintf(info->base, sizeof info->base, "%s", field[BASE]->str);
    snprintf(info->origin, sizeof info->origin, "%s",
             field[ORIGIN]->str ? field[ORIGIN]->str : "");
    memcpy(info->settings, field[SETTINGS]->str, sizeof info->settings);
    return SOMA_OK;
}

static soma_status
read_head(soma_stream *stream, soma_journal_info *info, soma_error *err)
{
    static const char *const fields[FIELDS] = {"first",    "last", "examples",
                                               "created",  "base", "origin",
                                               "settings", "size", "mark"};
    soma_redis_command command = {.count = 0};
    soma_stream_verb(stream, &command, "HMGET", SOMA_STREAM_HEAD);
    for (int i = 0; i < FIELDS; i++)
        soma_redis_text(&command, fields[i]);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    soma_status status = take_head(stream, reply, info, err);
    freeReplyObject(reply);
    return status;
}

static soma_status
stream_info(soma_journal *journal, soma_journal_info *info, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    soma_status status = read_head(stream, info, err);
    if (status)
        return status;
    soma_stream_verb(stream, &command, "HLEN", SOMA_STREAM_KEYS);
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    info->keys = (uint64_t)reply->integer;
    freeReplyObject(reply);
    return SOMA_OK;
}

/* That it is the journal that it was, in a format that is known. */
soma_status
soma_stream_check_head(soma_stream *stream, soma_error *err)
{
    soma_journal_info info;
    soma_redis_command command = {.count = 0};
    soma_status status = read_head(stream, &info, err);
    if (status)
        return status;
    soma_stream_verb(stream, &command, "HGET", SOMA_STREAM_HEAD);
    soma_redis_text(&command, "format");
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    uint64_t format = number_of(reply);
    freeReplyObject(reply);
    if (format != FORMAT)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "%s: its format is %llu, this soma knows %d",
                              stream->name, (unsigned long long)format, FORMAT);
    if (stream->base[0] && strcmp(stream->base, info.base))
        return soma_error_set(err, SOMA_E_CONFLICT,
                              "%s: another journal stands there now",
                              stream->name);
    memcpy(stream->base, info.base, sizeof stream->base);
    stream->journal.size = info.size;
    return SOMA_OK;
}

static soma_status
stream_reopen(soma_journal *journal, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_status status = soma_redis_connect(&stream->redis, err);
    return status ? status : soma_stream_check_head(stream, err);
}

static void
stream_close(soma_journal *journal)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_close(&stream->redis);
    for (int i = 0; i < SOMA_STREAM_KEY_COUNT; i++)
        free(stream->keys[i]);
    free(stream->packed);
    free(stream->x);
    free(stream);
}

static const soma_journal_backend backend = {
    .name = "redis",
    .durable = true,
    .shared = true,
    .append = soma_stream_append,
    .reopen = stream_reopen,
    .info = stream_info,
    .read = soma_stream_read,
    .last_leap = soma_stream_last_leap,
    .find_key = soma_stream_find_key,
    .lessons = soma_stream_lessons,
    .checkpoint_find = soma_stream_checkpoint_find,
    .checkpoint_read = soma_stream_checkpoint_read,
    .base = soma_stream_base,
    .trim = soma_stream_trim,
    .check = soma_stream_check,
    .holds = soma_stream_holds,
    .compare = soma_stream_compare,
    .close = stream_close,
};

/* ---- Opening ---- */

soma_status
soma_journal_redis_check(const char *url, soma_error *err)
{
    soma_redis redis;
    soma_status status = soma_redis_parse(&redis, url, err);
    if (!status)
        soma_redis_close(&redis);
    return status;
}

static bool
make_keys(soma_stream *stream, const char *model)
{
    static const char *const names[SOMA_STREAM_KEY_COUNT] = {
        "head",        "examples", "leaps", "keys",  "key-times", "lessons",
        "checkpoints", "states",   "base",  "part:", "writer:",   "digests"};
    for (int i = 0; i < SOMA_STREAM_KEY_COUNT; i++) {
        bool own = i == SOMA_STREAM_PART || i == SOMA_STREAM_WRITER;
        if (asprintf(&stream->keys[i], "soma:{%s}:%s%s", model, names[i],
                     own ? stream->instance : "") < 0) {
            stream->keys[i] = NULL;
            return false;
        }
    }
    return true;
}

static soma_stream *
connect_to(const char *url, const char *model, soma_error *err)
{
    unsigned char random[8];
    soma_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        soma_error_memory(err, "a journal");
        return NULL;
    }
    stream->journal.backend = &backend;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        abort(); /* never, for so few bytes */
    for (int i = 0; i < 8; i++)
        snprintf(stream->instance + (ptrdiff_t)2 * i, 3, "%02x", random[i]);
    soma_status status = soma_redis_parse(&stream->redis, url, err);
    if (!status && !make_keys(stream, model))
        status = soma_error_memory(err, "a journal");
    stream->redis.route = stream->keys[SOMA_STREAM_HEAD];
    if (!status)
        status = soma_redis_connect(&stream->redis, err);
    if (status) {
        stream_close(&stream->journal);
        return NULL;
    }
    snprintf(stream->name, sizeof stream->name, "%s soma:{%s}",
             stream->redis.name, model);
    return stream;
}

/* "yes" or "always", of CONFIG GET. */
static bool
is_set(soma_stream *stream, const char *words, const char *wanted)
{
    soma_error err;
    redisReply *reply = soma_redis_say(&stream->redis, words, &err);
    bool set = reply && reply->type == REDIS_REPLY_ARRAY &&
               reply->elements == 2 && reply->element[1]->str &&
               !strcmp(reply->element[1]->str, wanted);
    if (reply)
        freeReplyObject(reply);
    return set;
}

static void
warn_of_loss(soma_stream *stream)
{
    if (!is_set(stream, "CONFIG GET maxmemory-policy", "noeviction"))
        soma_log(SOMA_LOG_WARNING, "journal-may-lose", "journal", stream->name,
                 "text",
                 "the server does not say that it has maxmemory-policy "
                 "noeviction: when its memory is full it may throw away what "
                 "was learned",
                 NULL);
    if (is_set(stream, "CONFIG GET appendonly", "yes") &&
        is_set(stream, "CONFIG GET appendfsync", "always"))
        return;
    soma_log(SOMA_LOG_WARNING, "journal-may-lose", "journal", stream->name,
             "text",
             "the server does not say that it has appendonly yes and "
             "appendfsync always: what it loses when it is cut off, though it "
             "was answered, is lost",
             NULL);
}

soma_journal *
soma_journal_redis_open(const char *url, const char *model, soma_error *err)
{
    soma_stream *stream = connect_to(url, model, err);
    if (!stream)
        return NULL;
    soma_status status = soma_stream_check_head(stream, err);
    size_t bytes = (size_t)stream->journal.size * sizeof(float);
    if (!status) {
        stream->packed = malloc(bytes);
        stream->x = malloc(bytes);
        if (!stream->packed || !stream->x)
            status = soma_error_memory(err, "a journal");
    }
    if (status) {
        stream_close(&stream->journal);
        return NULL;
    }
    warn_of_loss(stream);
    return &stream->journal;
}

static const char create_script[] =
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end\n"
    "redis.call('SET', KEYS[9], ARGV[1])\n"
    "redis.call('HSET', KEYS[1], 'format', ARGV[2], 'base', ARGV[3],\n"
    "  'origin', ARGV[4], 'settings', ARGV[5], 'size', ARGV[6],\n"
    "  'created', ARGV[7], 'first', '1', 'last', '0', 'examples', '0')\n"
    "return 1\n";

soma_status
soma_journal_redis_create(const char *url, const char *model,
                          const soma_journal_base *base, soma_error *err)
{
    soma_redis_command command = {.count = 0};
    soma_stream *stream = connect_to(url, model, err);
    if (!stream)
        return err->status;
    soma_stream_script(stream, &command, create_script);
    soma_redis_add(&command, base->model, base->model_size);
    soma_redis_number(&command, FORMAT);
    soma_redis_text(&command, base->digest);
    soma_redis_text(&command, base->origin ? base->origin : "");
    soma_redis_add(&command, base->settings, sizeof base->settings);
    soma_redis_number(&command, base->size);
    soma_redis_number(&command, base->now);
    redisReply *reply = soma_stream_do(stream, &command, err);
    soma_status status = SOMA_OK;
    if (!reply)
        status = err->status;
    else if (reply->integer == 0)
        status = soma_error_set(err, SOMA_E_CONFLICT,
                                "%s: there is a journal already", stream->name);
    if (reply)
        freeReplyObject(reply);
    stream_close(&stream->journal);
    return status;
}

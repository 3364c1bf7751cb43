#include "server/engine/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT = 2000, PORT = 6379 };

/* ---- The address ---- */

static int
hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy of text[size] with each %XX as its byte. */
static char *
decode(const char *text, size_t size)
{
    char *copy = malloc(size + 1), *to = copy;
    for (size_t i = 0; copy && i < size; i++) {
        bool coded = text[i] == '%' && i + 2 < size && hex(text[i + 1]) >= 0 &&
                     hex(text[i + 2]) >= 0;
        *to++ =
            coded ? (char)(hex(text[i + 1]) * 16 + hex(text[i + 2])) : text[i];
        i += coded ? 2 : 0;
    }
    if (copy)
        *to = '\0';
    return copy;
}

static soma_status
parse_login(soma_redis *redis, const char *text, size_t size, soma_error *err)
{
    const char *colon = memchr(text, ':', size);
    size_t user = colon ? (size_t)(colon - text) : 0;
    size_t skip = colon ? user + 1 : 0;
    if (user)
        redis->user = decode(text, user);
    redis->password = decode(text + skip, size - skip);
    return redis->password && (!user || redis->user)
               ? SOMA_OK
               : soma_error_memory(err, "an address");
}

/* A whole number up to `most` and the end of the text; -1: it is none. */
static int
whole(const char *text, int most)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    long number = strtol(text, &end, 10);
    return *end || number > most ? -1 : (int)number;
}

static soma_status
parse_place(soma_redis *redis, const char *text, soma_error *err)
{
    char host[256], *part;
    snprintf(host, sizeof host, "%s", text);
    redis->port = PORT;
    redis->db = 0;
    part = strchr(host, '/');
    if (part) {
        *part++ = '\0';
        redis->db = *part ? whole(part, 1 << 20) : 0;
    }
    part = strrchr(host, ':');
    if (part) {
        *part++ = '\0';
        redis->port = whole(part, 65535);
    }
    if (strlen(text) >= sizeof host || !host[0] || redis->port < 1 ||
        redis->db < 0)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "expected redis://[[USER:]PASSWORD@]HOST[:PORT]"
                              "[/DB]");
    redis->host = strdup(host);
    if (!redis->host)
        return soma_error_memory(err, "an address");
    snprintf(redis->name, sizeof redis->name, "redis://%s:%d/%d", host,
             redis->port, redis->db);
    return SOMA_OK;
}

soma_status
soma_redis_parse(soma_redis *redis, const char *url, soma_error *err)
{
    static const char scheme[] = "redis://";
    *redis = (soma_redis){.port = PORT};
    if (strncmp(url, scheme, sizeof scheme - 1))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "an address of Redis begins with redis://");
    url += sizeof scheme - 1;
    const char *at = strrchr(url, '@');
    soma_status status = SOMA_OK;
    if (at)
        status = parse_login(redis, url, (size_t)(at - url), err);
    if (!status)
        status = parse_place(redis, at ? at + 1 : url, err);
    if (status)
        soma_redis_close(redis);
    return status;
}

/* ---- Commands ---- */

void
soma_redis_add(soma_redis_command *command, const void *data, size_t size)
{
    if (command->count == command->length_room) {
        int room = command->length_room ? 2 * command->length_room : 64;
        size_t *more =
            realloc(command->lengths, (size_t)room * sizeof *command->lengths);
        if (!more) {
            command->failed = 1;
            return;
        }
        command->lengths = more;
        command->length_room = room;
    }
    if (command->size + size > command->room) {
        size_t room = 2 * (command->size + size) + 256;
        char *more = realloc(command->bytes, room);
        if (!more) {
            command->failed = 1;
            return;
        }
        command->bytes = more;
        command->room = room;
    }
    if (size)
        memcpy(command->bytes + command->size, data, size);
    command->size += size;
    command->lengths[command->count++] = size;
}

void
soma_redis_text(soma_redis_command *command, const char *text)
{
    soma_redis_add(command, text, strlen(text));
}

void
soma_redis_number(soma_redis_command *command, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    soma_redis_text(command, text);
}

void
soma_redis_clear(soma_redis_command *command)
{
    free(command->bytes);
    free(command->lengths);
    *command = (soma_redis_command){.count = 0};
}

static redisReply *
judge(soma_redis *redis, redisReply *reply, soma_error *err)
{
    if (!reply) {
        soma_error_set(err, SOMA_E_IO, "%s: %s", redis->name,
                       redis->context->errstr);
        redisFree(redis->context);
        redis->context = NULL;
        return NULL;
    }
    if (reply->type != REDIS_REPLY_ERROR)
        return reply;
    /* Refused before the first write, as Redis does with a script, too. */
    bool full = !strncmp(reply->str, "OOM", 3);
    soma_error_set(err, full ? SOMA_E_NO_SPACE : SOMA_E_IO, "%s: %s",
                   redis->name, reply->str);
    freeReplyObject(reply);
    return NULL;
}

redisReply *
soma_redis_do(soma_redis *redis, const soma_redis_command *command,
              soma_error *err)
{
    size_t count = (size_t)command->count;
    if (!redis->context) {
        soma_error_set(err, SOMA_E_IO, "%s: not connected", redis->name);
        return NULL;
    }
    const char **words =
        command->failed || !count ? NULL : calloc(count, sizeof *words);
    if (!words) {
        soma_error_memory(err, "a command");
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; at += command->lengths[i++])
        words[i] = command->bytes + at;
    redisReply *reply = redisCommandArgv(redis->context, command->count, words,
                                         command->lengths);
    free(words);
    return judge(redis, reply, err);
}

redisReply *
soma_redis_say(soma_redis *redis, const char *words, soma_error *err)
{
    soma_redis_command command = {.count = 0};
    while (*words) {
        size_t size = strcspn(words, " ");
        soma_redis_add(&command, words, size);
        words += size + (words[size] == ' ');
    }
    redisReply *reply = soma_redis_do(redis, &command, err);
    soma_redis_clear(&command);
    return reply;
}

/* ---- The connection ---- */

static soma_status
sign_in(soma_redis *redis, soma_error *err)
{
    soma_redis_command command = {.count = 0};
    if (!redis->password)
        return SOMA_OK;
    soma_redis_text(&command, "AUTH");
    if (redis->user)
        soma_redis_text(&command, redis->user);
    soma_redis_text(&command, redis->password);
    redisReply *reply = soma_redis_do(redis, &command, err);
    soma_redis_clear(&command);
    if (!reply)
        return err->status;
    freeReplyObject(reply);
    return SOMA_OK;
}

static soma_status
select_db(soma_redis *redis, soma_error *err)
{
    char words[32];
    if (!redis->db)
        return SOMA_OK;
    snprintf(words, sizeof words, "SELECT %d", redis->db);
    redisReply *reply = soma_redis_say(redis, words, err);
    if (!reply)
        return err->status;
    freeReplyObject(reply);
    return SOMA_OK;
}

soma_status
soma_redis_connect(soma_redis *redis, soma_error *err)
{
    soma_error mine = {.status = SOMA_OK};
    struct timeval wait = {TIMEOUT / 1000, TIMEOUT % 1000 * 1000};
    err = err ? err : &mine;
    if (redis->context)
        redisFree(redis->context);
    redis->context = redisConnectWithTimeout(redis->host, redis->port, wait);
    if (!redis->context)
        return soma_error_memory(err, "a connection");
    soma_status status = SOMA_OK;
    if (redis->context->err)
        status = soma_error_set(err, SOMA_E_IO, "%s: %s", redis->name,
                                redis->context->errstr);
    else if (redisSetTimeout(redis->context, wait))
        status = soma_error_set(err, SOMA_E_IO, "%s: cannot set a time limit",
                                redis->name);
    if (!status)
        status = sign_in(redis, err);
    if (!status)
        status = select_db(redis, err);
    if (status && redis->context) {
        redisFree(redis->context);
        redis->context = NULL;
    }
    return status;
}

void
soma_redis_close(soma_redis *redis)
{
    if (redis->context)
        redisFree(redis->context);
    free(redis->host);
    free(redis->user);
    free(redis->password);
    redis->context = NULL;
    redis->host = redis->user = redis->password = NULL;
}

#include "server/engine/redis.h"

#include "server/engine/redis_cluster.h"
#include "server/engine/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT = 2000 };

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

/* Gives up the connection, if there is one. */
static void
drop(soma_redis *redis)
{
    if (redis->context)
        redisFree(redis->context);
    soma_redis_tls_close(redis->tunnel);
    redis->context = NULL;
    redis->tunnel = NULL;
}

static bool
begins(const char *text, const char *word)
{
    return !strncmp(text, word, strlen(word));
}

static redisReply *
judge(soma_redis *redis, redisReply *reply, soma_error *err)
{
    if (!reply) {
        soma_error_set(err, SOMA_E_IO, "%s: %s", redis->name,
                       redis->context->errstr);
        drop(redis);
        return NULL;
    }
    if (reply->type != REDIS_REPLY_ERROR)
        return reply;
    /* Refused before the first write, as Redis does with a script, too. */
    bool full = begins(reply->str, "OOM"), moved = begins(reply->str, "MOVED");
    soma_error_set(err, full ? SOMA_E_NO_SPACE : SOMA_E_IO, "%s: %s%s",
                   redis->name, reply->str,
                   moved && !redis->cluster
                       ? " (a node of a cluster: redis+cluster:// finds the "
                         "right one)"
                       : "");
    /* Another one is the master, or has the key, by now: whoever connects anew
     * finds it. */
    if (moved || begins(reply->str, "READONLY"))
        drop(redis);
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

/* The same connection, through TLS. */
static redisContext *
wrap(const soma_redis *redis, redisContext *plain, const char *host,
     soma_redis_tls **tunnel, soma_error *err)
{
    int fd, server = dup(plain->fd);
    redisFree(plain);
    if (server < 0) {
        soma_error_set(err, SOMA_E_IO, "no descriptor is left for TLS");
        return NULL;
    }
    *tunnel =
        soma_redis_tls_open(server, host, &redis->trust, TIMEOUT, &fd, err);
    if (!*tunnel)
        return NULL;
    redisContext *context = redisConnectFd(fd);
    if (context)
        return context;
    close(fd);
    soma_redis_tls_close(*tunnel);
    *tunnel = NULL;
    soma_error_memory(err, "a connection");
    return NULL;
}

redisContext *
soma_redis_dial(const soma_redis *redis, const char *host, int port,
                soma_redis_tls **tunnel, soma_error *err)
{
    struct timeval wait = {TIMEOUT / 1000, TIMEOUT % 1000 * 1000};
    *tunnel = NULL;
    redisContext *context = redisConnectWithTimeout(host, port, wait);
    if (!context) {
        soma_error_memory(err, "a connection");
        return NULL;
    }
    if (context->err || redisSetTimeout(context, wait)) {
        soma_error_set(err, SOMA_E_IO, "%s",
                       context->err ? context->errstr
                                    : "cannot set a time limit");
        redisFree(context);
        return NULL;
    }
    if (!redis->tls)
        return context;
    context = wrap(redis, context, host, tunnel, err);
    if (context)
        redisSetTimeout(context, wait);
    return context;
}

soma_status
soma_redis_reach(soma_redis *redis, soma_error *err)
{
    soma_error why;
    drop(redis);
    redis->context =
        soma_redis_dial(redis, redis->host, redis->port, &redis->tunnel, &why);
    if (!redis->context)
        return soma_error_set(err, why.status, "%s: %s", redis->name, why.text);
    return sign_in(redis, err);
}

static soma_status
find_and_reach(soma_redis *redis, soma_error *err)
{
    if (redis->cluster)
        return soma_cluster_reach(redis, err);
    soma_status status =
        redis->master ? soma_sentinel_find(redis, err) : SOMA_OK;
    return status ? status : soma_redis_reach(redis, err);
}

soma_status
soma_redis_connect(soma_redis *redis, soma_error *err)
{
    soma_error mine = {.status = SOMA_OK};
    err = err ? err : &mine;
    drop(redis);
    soma_status status = find_and_reach(redis, err);
    if (!status)
        status = select_db(redis, err);
    if (status)
        drop(redis);
    return status;
}

void
soma_redis_close(soma_redis *redis)
{
    drop(redis);
    free(redis->host);
    free(redis->user);
    free(redis->password);
    free(redis->hosts);
    free(redis->master);
    redis->host = redis->user = redis->password = NULL;
    redis->hosts = redis->master = NULL;
    free(redis->trust.ca);
    free(redis->trust.cert);
    free(redis->trust.key);
    redis->trust = (soma_redis_trust){NULL, NULL, NULL};
}

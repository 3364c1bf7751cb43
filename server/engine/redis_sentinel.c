#include "server/engine/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT = 26379 };

static bool
take_address(soma_redis *redis, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !reply->element[0]->str || !reply->element[1]->str)
        return false;
    int port = atoi(reply->element[1]->str);
    char *host = strdup(reply->element[0]->str);
    if (!host || port < 1 || port > 65535) {
        free(host);
        return false;
    }
    free(redis->host);
    redis->host = host;
    redis->port = port;
    return true;
}

/* Whether this one knows; if not, what it said. */
static bool
ask(soma_redis *redis, redisContext *sentinel, char *said, size_t size)
{
    redisReply *reply = redisCommand(
        sentinel, "SENTINEL get-master-addr-by-name %s", redis->master);
    bool known = reply && take_address(redis, reply);
    if (!known)
        snprintf(said, size, "%s",
                 !reply ? sentinel->errstr
                 : reply->type == REDIS_REPLY_ERROR
                     ? reply->str
                     : "it knows no such master");
    if (reply)
        freeReplyObject(reply);
    return known;
}

soma_status
soma_sentinel_find(soma_redis *redis, soma_error *err)
{
    const char *list = redis->hosts;
    char host[SOMA_REDIS_HOST];
    soma_error why = {.text = ""};
    bool found = false;
    while (*list && !found) {
        soma_redis_tls *tunnel;
        int port = soma_redis_next(&list, PORT, host);
        redisContext *sentinel =
            soma_redis_dial(redis, host, port, &tunnel, &why);
        if (!sentinel)
            continue;
        found = ask(redis, sentinel, why.text, sizeof why.text);
        redisFree(sentinel);
        soma_redis_tls_close(tunnel);
    }
    if (found)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_IO,
                          "%s: no Sentinel knows the master; the last one: %s",
                          redis->name, why.text);
}

#include "server/engine/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT = 26379, HOST = 256 };

/* The next of the list, which is moved on; its port, -1: it is none. */
static int
take_next(const char **list, char host[HOST])
{
    size_t size = strcspn(*list, ",");
    if (size == 0 || size >= HOST)
        return -1;
    memcpy(host, *list, size);
    host[size] = '\0';
    *list += size + ((*list)[size] == ',');
    int port = soma_redis_cut_port(host, PORT);
    return host[0] && port > 0 ? port : -1;
}

bool
soma_sentinel_check(const char *list)
{
    char host[HOST];
    size_t size = strlen(list);
    if (size == 0 || list[size - 1] == ',')
        return false;
    while (*list)
        if (take_next(&list, host) < 0)
            return false;
    return true;
}

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
    const char *list = redis->sentinels;
    char host[HOST];
    soma_error why = {.text = ""};
    bool found = false;
    while (*list && !found) {
        soma_redis_tls *tunnel;
        int port = take_next(&list, host);
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

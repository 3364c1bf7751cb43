#include "server/engine/redis_cluster.h"

#include <stdlib.h>
#include <string.h>

/* One is enough, but where slots move meanwhile. */
enum { PORT = 6379, HOPS = 5 };

static bool
go_to(soma_redis *redis, const char *host, int port)
{
    char *copy = strdup(host);
    if (!copy)
        return false;
    free(redis->host);
    redis->host = copy;
    redis->port = port;
    return true;
}

/* "MOVED SLOT HOST:PORT"; no host, or "?", is the host that said it. */
static bool
follow(soma_redis *redis, const char *said)
{
    char host[SOMA_REDIS_HOST];
    const char *place =
        strncmp(said, "MOVED ", 6) ? NULL : strchr(said + 6, ' ');
    if (!place || strlen(++place) >= sizeof host)
        return false;
    memcpy(host, place, strlen(place) + 1);
    int port = soma_redis_cut_port(host, -1);
    if (port < 1)
        return false;
    bool same = !host[0] || !strcmp(host, "?");
    return go_to(redis, same ? redis->host : host, port);
}

/* What it answers to who asks for the key. SOMA_E_IO: it does not have it;
 * *moved: it says who does. */
static soma_status
ask(soma_redis *redis, bool *moved, soma_error *err)
{
    redisReply *reply = redisCommand(redis->context, "EXISTS %s", redis->route);
    bool has = reply && reply->type != REDIS_REPLY_ERROR;
    *moved = reply && !has && follow(redis, reply->str);
    if (!has)
        soma_error_set(err, SOMA_E_IO, "%s: %s", redis->name,
                       reply ? reply->str : redis->context->errstr);
    if (reply)
        freeReplyObject(reply);
    return has ? SOMA_OK : SOMA_E_IO;
}

/* From redis->host and redis->port on. */
static soma_status
reach_from(soma_redis *redis, soma_error *err)
{
    soma_status status;
    bool moved = true;
    for (int hop = 0; moved && hop < HOPS; hop++) {
        status = soma_redis_reach(redis, err);
        if (status)
            return status;
        status = ask(redis, &moved, err);
        if (!status)
            return SOMA_OK;
    }
    return SOMA_E_IO;
}

soma_status
soma_cluster_reach(soma_redis *redis, soma_error *err)
{
    const char *list = redis->hosts;
    char host[SOMA_REDIS_HOST];
    soma_status status = redis->host ? reach_from(redis, err) : SOMA_E_IO;
    while (status && *list) {
        int port = soma_redis_next(&list, PORT, host);
        status = go_to(redis, host, port)
                     ? reach_from(redis, err)
                     : soma_error_memory(err, "an address");
    }
    return status;
}

/* A connection to a Redis (or Valkey) server, through hiredis. One thread at a
 * time uses it. Calls wait for the server, TIMEOUT milliseconds at most.
 */
#ifndef SOMA_ENGINE_REDIS_H
#define SOMA_ENGINE_REDIS_H

#include "core/status.h"
#include "server/engine/redis_tls.h"

#include <hiredis/hiredis.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct soma_redis {
    redisContext *context; /* NULL: not connected */
    char *host, *user, *password;
    int port, db;
    char *hosts;  /* who know host and port: Sentinels (redis_sentinel.h) or
                     nodes of a cluster (redis_cluster.h); or NULL */
    char *master; /* its name with the Sentinels; or NULL */
    bool cluster;
    const char *route; /* in a cluster, the key whose node it is: the caller's,
                          before connecting */
    bool tls;          /* by `trust`, also to `hosts` */
    soma_redis_trust trust;
    soma_redis_tls *tunnel; /* of the context */
    char name[320]; /* for people: the address without user and password */
} soma_redis;

/* A command. Zero-initialised: nothing; what is added is copied. */
typedef struct soma_redis_command {
    char *bytes;
    size_t size, room;
    size_t *lengths;
    int count, length_room;
    int failed; /* memory ran out */
} soma_redis_command;

/* redis://[[USER:]PASSWORD@]HOST[:PORT][/DB], or of Sentinels
 * redis+sentinel://[[USER:]PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/MASTER[/DB],
 * or of a cluster
 * redis+cluster://[[USER:]PASSWORD@]HOST[:PORT][,HOST[:PORT]...] by some of its
 * nodes; %XX allowed in USER, PASSWORD and MASTER. With rediss instead of redis
 * it speaks TLS, and may end with ?ca=FILE&cert=FILE&key=FILE, any of them.
 * SOMA_E_ARGUMENT: it is none; the text does not repeat it, since it may hold a
 * password. */
soma_status soma_redis_parse(soma_redis *redis, const char *url,
                             soma_error *err);

/* Cuts ":PORT" off; the port, or `otherwise`; -1: it is no port. */
int soma_redis_cut_port(char *host, int otherwise);

/* The next of HOST[:PORT][,HOST[:PORT]...], which is moved on past it; its
 * port, or `otherwise`; -1: it is none. */
enum { SOMA_REDIS_HOST = 256 };
int soma_redis_next(const char **list, int otherwise,
                    char host[SOMA_REDIS_HOST]);

/* Connects to a host: to be given up with redisFree first, then *tunnel with
 * soma_redis_tls_close. NULL: SOMA_E_IO. */
redisContext *soma_redis_dial(const soma_redis *redis, const char *host,
                              int port, soma_redis_tls **tunnel,
                              soma_error *err);

/* Connects to redis->host and redis->port, and signs in. SOMA_E_IO. */
soma_status soma_redis_reach(soma_redis *redis, soma_error *err);

/* Finds out where it is, connects anew, signs in and selects the database.
 * SOMA_E_IO. */
soma_status soma_redis_connect(soma_redis *redis, soma_error *err);
void soma_redis_close(soma_redis *redis);

void soma_redis_add(soma_redis_command *command, const void *data, size_t size);
void soma_redis_text(soma_redis_command *command, const char *text);
void soma_redis_number(soma_redis_command *command, int64_t number);
void soma_redis_clear(soma_redis_command *command);

/* Sends it, and gives up the connection when that fails. The reply is to be
 * freed with freeReplyObject; NULL: failed. SOMA_E_NO_SPACE: the server's
 * memory is full, nothing was written. SOMA_E_IO: whether it was done is not
 * known, except where the server refused it (NOSCRIPT and the like): then the
 * connection stays. */
redisReply *soma_redis_do(soma_redis *redis, const soma_redis_command *command,
                          soma_error *err);

/* The same for a command of words with spaces between. */
redisReply *soma_redis_say(soma_redis *redis, const char *words,
                           soma_error *err);

#endif

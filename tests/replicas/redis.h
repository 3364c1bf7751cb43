/* A Redis server of the test's own, on a free port of 127.0.0.1, with its files
 * in a folder of its own, that writes each command to disk before it answers.
 */
#ifndef SOMA_TESTS_REPLICAS_REDIS_H
#define SOMA_TESTS_REPLICAS_REDIS_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct redis_server {
    pid_t pid; /* 0: it does not run */
    int port;
    char folder[64];
    char url[96];
} redis_server;

/* False: there is no redis-server here; prints NOT TESTED. */
bool redis_begin(redis_server *redis);
/* SIGKILL; and again at the same port, with what is on disk. */
void redis_kill(redis_server *redis);
void redis_run(redis_server *redis);
/* SIGKILL, and removes its folder. */
void redis_end(redis_server *redis);

#endif

/* A Redis server of the test's own, on a free port of 127.0.0.1, with its files
 * in a folder of its own, that writes each command to disk before it answers.
 */
#ifndef SOMA_TESTS_REPLICAS_REDIS_H
#define SOMA_TESTS_REPLICAS_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How often a test looks whether something has come, with a nap between. */
enum { TRIES = 400 };
void nap(void);

typedef struct redis_server {
    pid_t pid; /* 0: it does not run */
    int port;
    int master; /* port of the one that it replicates, 0: none */
    int tls;    /* port where it speaks TLS, 0: none */
    int bus;    /* port where it speaks with others of its cluster, 0: none */
    char folder[64];
    char url[96];
} redis_server;

/* False: there is no redis-server here; prints NOT TESTED. */
bool redis_begin(redis_server *redis);
/* SIGKILL; and again at the same port, with what is on disk. */
void redis_kill(redis_server *redis);
void redis_run(redis_server *redis);
/* One that speaks TLS as well, with those who show a certificate. In its folder
 * are ca.crt, redis.crt (for 127.0.0.1) with redis.key, and another authority's
 * other.crt. */
bool redis_begin_tls(redis_server *redis);
/* One that replicates another: waits until it has all of it. */
void redis_begin_replica(redis_server *redis, const redis_server *master);
/* A Sentinel that watches the master as "soma", and makes a replica the master
 * half a second after that stopped answering. */
void redis_begin_sentinel(redis_server *redis, const redis_server *master);
/* A node of a cluster, alone at first, which takes another one for dead half a
 * second after that stopped answering. The nodes speak TLS with each other, and
 * with clients that do, by the certificates in the folder of the first (NULL:
 * this is it). */
void redis_begin_node(redis_server *redis, const redis_server *first);
/* What this (a line of words) is answered. */
void redis_ask(int port, const char *words, char *reply, size_t size);
/* Waits until this has been answered (a line of words) with `part` in it. */
void redis_expect(int port, const char *words, const char *part);
/* SIGKILL, and removes its folder. */
void redis_end(redis_server *redis);

#endif

#include "tests/simulation/wire.h"

#include "tests/simulation/fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

wire the_wire;

static bool
happens(uint32_t rate)
{
    return fiber_here() && !the_wire.plain &&
           soma_rng_below(&the_wire.rng, 10000) < rate;
}

static void
command_free(command *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->words[i].bytes);
    free(c->words);
}

static void
forget_late(void)
{
    for (int i = 0; i < the_wire.late_count; i++)
        command_free(&the_wire.late[i]);
    the_wire.late_count = 0;
}

void
wire_clear(void)
{
    forget_late();
    free(the_wire.late);
    store_clear(&the_wire.store);
    the_wire = (wire){.generation = the_wire.generation + 1};
}

void
wire_crash(int lost)
{
    forget_late();
    the_wire.generation++;
    store_lose(&the_wire.store, lost);
}

static redisReply *
carry_out(int count, const text *words)
{
    redisReply *reply = store_do(&the_wire.store, count, words);
    if (the_wire.store.writes && the_wire.done && !the_wire.plain)
        the_wire.done();
    return reply;
}

void
wire_arrive(void)
{
    if (!the_wire.late_count || the_wire.down)
        return;
    int at = (int)soma_rng_below(&the_wire.rng, (uint32_t)the_wire.late_count);
    command c = the_wire.late[at];
    the_wire.late[at] = the_wire.late[--the_wire.late_count];
    freeReplyObject(carry_out(c.count, c.words));
    command_free(&c);
}

static void
be_late(int count, const text *words)
{
    if (the_wire.late_count == the_wire.late_room) {
        the_wire.late_room = the_wire.late_room ? 2 * the_wire.late_room : 16;
        the_wire.late = realloc(the_wire.late, (size_t)the_wire.late_room *
                                                   sizeof *the_wire.late);
    }
    command *c = &the_wire.late[the_wire.late_count++];
    *c = (command){count, malloc((size_t)count * sizeof *c->words)};
    for (int i = 0; i < count; i++)
        c->words[i] = text_copy(words[i]);
}

static void
wait_a_turn(void)
{
    if (the_wire.plain)
        return;
    fiber_wait();
    while (happens(the_wire.rates.slow))
        fiber_wait();
}

/* ---- In place of hiredis's. A connection's fd is the server's generation. */

static bool
is_cut(const redisContext *c)
{
    const fiber_home *home = fiber_here();
    if (the_wire.plain)
        return false;
    return the_wire.down || c->fd != the_wire.generation ||
           (home && home->dead);
}

static void *
fail(redisContext *c, const char *words)
{
    c->err = REDIS_ERR_IO;
    snprintf(c->errstr, sizeof c->errstr, "%s", words);
    return NULL;
}

redisContext *
redisConnectWithTimeout(const char *ip, int port, const struct timeval tv)
{
    redisContext *c = calloc(1, sizeof *c);
    (void)ip, (void)port, (void)tv;
    wait_a_turn();
    c->fd = the_wire.generation;
    if (is_cut(c) || happens(the_wire.rates.refused))
        fail(c, "Connection refused");
    return c;
}

int
redisSetTimeout(redisContext *c, const struct timeval tv)
{
    (void)c, (void)tv;
    return REDIS_OK;
}

void
redisFree(redisContext *c)
{
    free(c);
}

/* Each with a NUL behind it, all in one piece. */
static text *
words_of(int count, const char **words, const size_t *sizes)
{
    size_t size = (size_t)count * sizeof(text);
    for (int i = 0; i < count; i++)
        size += sizes[i] + 1;
    text *copies = malloc(size);
    char *at = (char *)(copies + count);
    for (int i = 0; i < count; at += sizes[i++] + 1) {
        copies[i] = (text){at, sizes[i]};
        memcpy(at, words[i], sizes[i]);
        at[sizes[i]] = 0;
    }
    return copies;
}

void *
redisCommandArgv(redisContext *c, int argc, const char **argv,
                 const size_t *argvlen)
{
    text *words = words_of(argc, argv, argvlen);
    redisReply *reply = NULL;
    bool late = false;
    wait_a_turn();
    the_wire.commands += !the_wire.plain;
    if (!is_cut(c) && !happens(the_wire.rates.lost)) {
        late = happens(the_wire.rates.late);
        if (late)
            be_late(argc, words);
        else
            reply = carry_out(argc, words);
    }
    free(words);
    if (reply)
        wait_a_turn();
    if (reply && !is_cut(c) && !happens(the_wire.rates.answered))
        return reply;
    if (reply)
        freeReplyObject(reply);
    return fail(c, late ? "Resource temporarily unavailable"
                        : "Server closed the connection");
}

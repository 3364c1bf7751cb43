/* The way to the simulated Redis, in place of hiredis's: redisConnect...,
 * redisCommandArgv, redisSetTimeout and redisFree are defined here, so all of
 * soma from server/engine/redis.c on is what it is in the program.
 *
 * At each command the fiber waits, so that others' come between, and faults
 * happen by the rates that are set.
 */
#ifndef SOMA_TESTS_SIMULATION_WIRE_H
#define SOMA_TESTS_SIMULATION_WIRE_H

#include "core/rng.h"
#include "tests/simulation/store.h"

/* Chances of 10,000, for each command: */
typedef struct wire_rates {
    uint32_t lost;     /* before it got there */
    uint32_t answered; /* it is done, but its answer is lost */
    uint32_t late;     /* it is given up, and done only later */
    uint32_t slow;     /* others are served several times meanwhile */
    uint32_t refused;  /* a new connection is */
} wire_rates;

typedef struct wire {
    store store;
    soma_rng rng;
    wire_rates rates;
    bool down;
    bool plain;     /* no waiting and no faults: who simulates asks */
    int generation; /* of the server: connections to earlier ones are broken */
    command *late;  /* [late_count], given up by those who sent them */
    int late_count, late_room;
    void (*done)(void); /* called after each command that has written */
    long commands;
} wire;

extern wire the_wire;

void wire_clear(void);
/* Does one of the late commands. */
void wire_arrive(void);
/* Connections break, late commands are gone; it comes again without the last
 * `lost` commands that had written. */
void wire_crash(int lost);

#endif

/* One run: replicas that share a simulated Redis, clients that teach them, and
 * faults, all decided by one seed.
 */
#ifndef SOMA_TESTS_SIMULATION_WORLD_H
#define SOMA_TESTS_SIMULATION_WORLD_H

#include "core/rng.h"
#include "server/engine/trainer.h"
#include "tests/simulation/fiber.h"
#include "tests/simulation/oracle.h"

enum { REPLICAS = 4 };

typedef struct replica {
    fiber_home home;
    soma_readers readers;
    soma_shelf shelf;
    soma_trainer *trainer; /* NULL: it does not run */
    uint64_t seen, sum;    /* the version that was in force last */
    int away, stalled;     /* turns of the world until it goes on */
} replica;

/* What the runs have seen, added up. */
typedef struct world_counts {
    long runs, requests, examples; /* that were answered */
    long repeated;                 /* answers to a key that was there before */
    long refused;                  /* requests that failed, or got no answer */
    long commands;                 /* that reached for Redis */
    long crashes, records_lost;    /* of the server, with its last records */
    long kills, joins;
    long stepped_out; /* replicas that knew what the server had lost */
    long lost, order, divergences, back; /* must stay 0 */
} world_counts;

typedef struct world {
    soma_rng rng;
    soma_trainer_options options;
    soma_model *base;
    soma_classes classes;
    soma_memory memory, guard;
    int size; /* values of an example */
    int replica_count;
    replica replicas[REPLICAS];
    bool lost;       /* the server has lost something */
    bool healing;    /* no more faults and no new requests */
    char wrong[512]; /* what was found wrong first; empty: nothing */
    world_counts *counts;
} world;

extern world the_world;

/* Runs the seed; what is wrong with it, or NULL. */
const char *world_run(uint64_t seed, world_counts *counts);

/* What it found wrong; the first counts. */
void world_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint32_t world_below(uint32_t bound);
/* One of the replicas that run. NULL: none does. */
replica *world_some_replica(void);
/* Looks at the version that is in force there. */
void world_look(replica *r);

/* ---- clients.c ---- */

void clients_begin(void);
/* Something that a client may do. */
void clients_act(void);
/* Looks at what was answered. */
void clients_take_answers(void);
bool clients_wait(void);
/* All that was answered is in the order, or was lost by the server. */
void clients_check(void);
void clients_end(void);

#endif

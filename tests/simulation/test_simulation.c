/* The replication of the real code (the trainer with its journal in Redis,
 * from its queue down to the scripts) in a world that is simulated: replicas
 * are fibers of one thread, Redis is a store in memory, and one seed decides
 * who goes on, what clients ask and what goes wrong (world.c, wire.c):
 *
 * - a command is lost on its way, or its answer is; it is done only after it
 *   was given up and sent again; others are served first
 * - Redis is cut off, away for a while, full; it comes back, or another one
 *   takes its place, without the last commands
 * - replicas are killed, stopped, stalled, and come again; clocks are set
 * - clients repeat requests by their keys, at once or later, at any replica
 * - rollbacks, changed settings, checkpoints, trimming
 *
 * At each step, or in the end:
 *
 * - what was answered is in the order exactly once, with the lesson that was
 *   answered, unless Redis itself has lost it
 * - the weights of each version are those that a learner of the test's own
 *   makes of the order, at every replica (oracle.c); so are checkpoints
 * - no replica's version goes back, or to another history than it was in;
 *   those that had learned what Redis lost step out, and no others
 * - what the newest version needs is never trimmed
 * - once nothing goes wrong any more, every replica comes to the end
 *
 * What it notices: the last test takes checks out of the scripts. By hand, with
 * the first seed that noticed:
 *
 *     a key is not looked up before its request is recorded               5
 *     a key's request is answered before its records are learned        146
 *     checkpoints come without their lessons                              7
 *     a request is answered before its version is published               1
 *     what others appended is counted, but not learned                    1
 *     others' rollbacks are passed over                                 299
 *     whether the journal still has what was learned is not asked        19
 *     ... only after trouble, or only when a model is loaded anew        19
 *     ... where as much was appended in place of what was lost         4556
 *     mending waits by the clock of the day                              23
 *     who joins while Redis is full gives up                            172
 *     a record with another number than expected is taken              4225
 *     one that has stepped out comes back when it is loaded anew      10875
 *     a part of a checkpoint is appended to whatever is there          5533
 *     ... to as much as belongs before it, of another checkpoint      31383
 *
 * SOMA_SIMULATION_SEEDS says how many seeds (`make simulation SEEDS=n`), and
 * SOMA_SIMULATION_SEED runs that one alone, with the log.
 */
#include "server/engine/log.h"
#include "tests/simulation/wire.h"
#include "tests/simulation/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

/* With sanitizers it takes ten times as long, and what they find counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SEEDS = 200, MUTATED = 100 };
#else
enum { SEEDS = 1500, MUTATED = 20000 };
#endif

static long
number_from(const char *name, long otherwise)
{
    const char *words = getenv(name);
    return words && *words ? strtol(words, NULL, 10) : otherwise;
}

static void
print_counts(const world_counts *c)
{
    printf("%ld rounds, %ld requests, %ld examples answered, %ld lost, "
           "%ld order violations, %ld divergences, %ld reads that went back\n",
           c->runs, c->requests, c->examples, c->lost, c->order, c->divergences,
           c->back);
    printf("(%ld answers to a repeated key, %ld tries failed; %ld commands; "
           "%ld kills, %ld joins; %ld crashes of Redis that lost %ld records, "
           "%ld replicas that noticed)\n",
           c->repeated, c->refused, c->commands, c->kills, c->joins, c->crashes,
           c->records_lost, c->stepped_out);
}

static void
every_seed_holds(void **state)
{
    world_counts counts = {0};
    long seeds = number_from("SOMA_SIMULATION_SEEDS", SEEDS);
    long first = number_from("SOMA_SIMULATION_SEED", 1);
    (void)state;
    if (getenv("SOMA_SIMULATION_SEED"))
        seeds = 1;
    for (long seed = first; seed < first + seeds; seed++) {
        const char *wrong = world_run((uint64_t)seed, &counts);
        if (wrong)
            fail_msg("seed %ld: %s (SOMA_SIMULATION_SEED=%ld shows it again)",
                     seed, wrong, seed);
    }
    print_counts(&counts);
}

/* The same seed, the same run. */
static void
a_seed_decides_all(void **state)
{
    world_counts a = {0}, b = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        assert_null(world_run(seed, &a));
        assert_null(world_run(seed, &b));
        assert_memory_equal(&a, &b, sizeof a);
    }
}

/* Scripts without one of their checks, each of which must be missed. */
static const struct {
    const char *what, *was, *is;
} mutations[] = {
    {"an append sent again is done again",
     "if before == token then return 1 end", ""},
    {"keys are not kept", "call('HSET', KEYS[4], text, bytes)", ""},
    {"what was lost is not noticed", "if mark ~= '' and", "if false and"},
    {"trimming takes what no checkpoint covers", "if seq > covered or not",
     "if not"},
    {"trimming takes what a rollback goes back to", "version = target",
     "return seq, row"},
    {"a rollback to what was just trimmed", "if back ~= '' and",
     "if false and"},
};

static void
what_is_missing_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mutations / sizeof *mutations; i++) {
        world_counts counts = {0};
        const char *wrong = NULL;
        uint64_t seed = 0;
        script_mutate(mutations[i].was, mutations[i].is);
        while (!wrong && seed < MUTATED)
            wrong = world_run(++seed, &counts);
        print_message("%s: seed %d: %s\n", mutations[i].what, (int)seed,
                      wrong ? wrong : "not found");
        bool mutated = script_was_mutated();
        script_mutate(NULL, NULL);
        assert_true(mutated);
        if (MUTATED > SEEDS) /* else not every one may be */
            assert_non_null(wrong);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_holds),
        cmocka_unit_test(a_seed_decides_all),
        cmocka_unit_test(what_is_missing_is_found),
    };
    soma_log_setup(getenv("SOMA_SIMULATION_SEED") ? SOMA_LOG_DEBUG
                                                  : SOMA_LOG_ERROR + 1,
                   false);
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    script_end();
    return code;
}

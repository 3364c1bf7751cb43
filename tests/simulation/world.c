#include "tests/simulation/world.h"

#include "core/activation.h"
#include "core/loss.h"
#include "tests/simulation/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 3, SETTLE = 40000 };

world the_world;

/* How much goes wrong in this run, in 10,000 of its turns. */
static struct {
    uint32_t crash, outage, kill, stop, reload, stall, jump, full, settings;
    int lose; /* records' commands at most, by a crash */
} chance;
static int outage, full;

void
world_wrong(const char *format, ...)
{
    va_list arguments;
    if (the_world.wrong[0])
        return;
    va_start(arguments, format);
    vsnprintf(the_world.wrong, sizeof the_world.wrong, format, arguments);
    va_end(arguments);
}

uint32_t
world_below(uint32_t bound)
{
    return soma_rng_below(&the_world.rng, bound);
}

/* What the oracle finds wrong is wrong with the order, or with what is kept. */
static void __attribute__((format(printf, 1, 2)))
wrong_order(const char *format, ...)
{
    va_list arguments;
    the_world.counts->order++;
    if (the_world.wrong[0])
        return;
    va_start(arguments, format);
    vsnprintf(the_world.wrong, sizeof the_world.wrong, format, arguments);
    va_end(arguments);
}

static bool
happens(uint32_t rate)
{
    return world_below(10000) < rate;
}

/* ---- Replicas ---- */

static soma_model *
make_model(void)
{
    soma_error err;
    soma_spec spec = {.depth = 2};
    spec.input =
        (soma_input){.rank = 1, .shape = {the_world.size}, .high = 255};
    soma_activation_find("tanh", &spec.layers[0].activation, NULL);
    soma_activation_find("identity", &spec.layers[1].activation, NULL);
    spec.layers[0].units = 4;
    spec.layers[1].units = CLASSES;
    spec.layers[0].pieces = spec.layers[1].pieces = 1;
    soma_loss_find("softmax_cross_entropy", &spec.loss, NULL);
    if (soma_spec_finish(&spec, &err))
        abort();
    soma_model *model = soma_model_create(&spec, &err);
    soma_rng rng = soma_rng_seed(1, 0);
    soma_model_init(model, &rng);
    return model;
}

static void
start(replica *r)
{
    soma_error err;
    soma_readers_init(&r->readers);
    soma_pupil pupil = {.name = "m",
                        .classes = &the_world.classes,
                        .memory = &the_world.memory,
                        .guard = &the_world.guard,
                        .shelf = &r->shelf};
    if (soma_shelf_create(&r->shelf, &r->readers,
                          soma_model_clone(the_world.base, &err), &err))
        abort();
    r->home.dead = false;
    r->seen = 0;
    r->sum = oracle_sum(the_world.base);
    r->stalled = 0;
    fiber_enter(&r->home);
    r->trainer = soma_trainer_start(&the_world.options, &pupil, &err);
    fiber_enter(NULL);
    the_world.counts->joins++;
}

/* dead: as by kill -9: nothing that it does from now on reaches anybody. */
static void
stop(replica *r, bool dead)
{
    if (!r->trainer)
        return;
    r->home.dead = dead;
    fiber_enter(&r->home);
    soma_trainer_stop(r->trainer);
    fiber_enter(NULL);
    soma_shelf_free(&r->shelf);
    r->trainer = NULL;
    r->away = (int)world_below(60);
}

/* As when its model is loaded anew: what was learned is read back. */
static void
reload(replica *r)
{
    soma_error err;
    fiber_enter(&r->home);
    if (!soma_trainer_pause(r->trainer, &err) &&
        soma_trainer_resume(r->trainer, &err))
        world_wrong("a replica does not resume: %s", err.text);
    fiber_enter(NULL);
}

replica *
world_some_replica(void)
{
    int first = (int)world_below((uint32_t)the_world.replica_count);
    for (int i = 0; i < the_world.replica_count; i++) {
        replica *r = &the_world.replicas[(first + i) % the_world.replica_count];
        if (r->trainer && soma_trainer_is_ready(r->trainer))
            return r;
    }
    return NULL;
}

void
world_look(replica *r)
{
    if (!soma_trainer_is_ready(r->trainer))
        return; /* nobody sees it yet */
    const soma_snapshot *now = soma_shelf_current(&r->shelf);
    uint64_t sum = oracle_sum(now->model);
    if (now->version == r->seen && sum == r->sum)
        return;
    oracle_word was = oracle_knows(r->seen, r->sum);
    oracle_word is = oracle_knows(now->version, sum);
    if (now->version < r->seen || now->version == r->seen) {
        the_world.counts->back++;
        world_wrong("replica %td went from version %llu back to %llu",
                    r - the_world.replicas, (unsigned long long)r->seen,
                    (unsigned long long)now->version);
    } else if (is == ORACLE_NEVER) {
        the_world.counts->divergences++;
        world_wrong("replica %td has weights of version %llu that no history "
                    "has",
                    r - the_world.replicas, (unsigned long long)now->version);
    } else if (was == ORACLE_LOST && r->seen >= oracle_first()) {
        the_world.counts->divergences++;
        world_wrong("replica %td went on to version %llu, though the server "
                    "has lost its version %llu",
                    r - the_world.replicas, (unsigned long long)now->version,
                    (unsigned long long)r->seen);
    }
    r->seen = now->version;
    r->sum = sum;
}

static void
run(replica *r)
{
    if (!r->trainer) {
        if (r->away-- <= 0)
            start(r);
    } else if (r->stalled > 0)
        r->stalled--;
    else if (fiber_can_run(r->home.fiber))
        fiber_run(r->home.fiber);
    if (r->trainer)
        world_look(r);
}

/* ---- What goes wrong ---- */

static void
crash(void)
{
    int most = the_wire.store.logged - 1, lost = 0;
    if (chance.lose && most > 0)
        lost = (int)world_below((uint32_t)chance.lose + 1);
    lost = lost < most ? lost : most > 0 ? most : 0;
    wire_crash(lost);
    the_world.lost |= lost > 0;
    the_world.counts->crashes++;
    the_world.counts->records_lost += (long)oracle_forget();
}

static void
trouble_server(void)
{
    if (outage > 0 && --outage == 0)
        the_wire.down = false;
    if (full > 0 && --full == 0)
        the_wire.store.full = false;
    if (the_wire.late_count && happens(2000))
        wire_arrive();
    if (happens(chance.crash)) {
        crash();
        outage = (int)world_below(40);
        the_wire.down = outage > 0;
    }
    if (happens(chance.outage)) {
        outage = 1 + (int)world_below(100);
        the_wire.down = true;
    }
    if (happens(chance.full)) {
        full = 1 + (int)world_below(60);
        the_wire.store.full = true;
    }
}

static void
trouble_replicas(void)
{
    replica *r =
        &the_world.replicas[world_below((uint32_t)the_world.replica_count)];
    if (happens(chance.jump))
        r->home.skew = (int64_t)world_below(7200000) - 3600000;
    if (happens(chance.settings))
        the_world.options.learning.sgd.rate = world_below(2) ? 0.05f : 0.04f;
    if (!r->trainer)
        return;
    if (happens(chance.stall))
        r->stalled = (int)world_below(200);
    if (happens(chance.kill)) {
        the_world.counts->kills++;
        stop(r, true);
    } else if (happens(chance.stop))
        stop(r, false);
    else if (happens(chance.reload))
        reload(r);
}

static void
turn(void)
{
    fiber_time += world_below(12);
    run(&the_world.replicas[world_below((uint32_t)the_world.replica_count)]);
    clients_take_answers();
    if (the_world.healing)
        return;
    if (happens(1500))
        clients_act();
    trouble_server();
    trouble_replicas();
}

/* ---- Healing ---- */

static bool
is_settled(const replica *r)
{
    soma_trainer_report report;
    if (!r->trainer || !soma_trainer_is_ready(r->trainer))
        return false;
    soma_trainer_ask(r->trainer, &report);
    return report.differs || (r->seen == oracle_last() && !report.stopped);
}

static bool
are_settled(void)
{
    for (int i = 0; i < the_world.replica_count; i++)
        if (!is_settled(&the_world.replicas[i]))
            return false;
    return !clients_wait();
}

static void
settle(void)
{
    soma_trainer_report report;
    for (int i = 0; i < SETTLE && !the_world.wrong[0]; i++) {
        if (i % 16 == 0 && are_settled())
            return;
        turn();
    }
    for (int i = 0; i < the_world.replica_count; i++) {
        replica *r = &the_world.replicas[i];
        if (is_settled(r))
            continue;
        if (!r->trainer) {
            world_wrong("replica %d did not come back", i);
            continue;
        }
        soma_trainer_ask(r->trainer, &report);
        world_wrong("replica %d does not come to the end: state %d, version "
                    "%llu of %llu%s%s",
                    i, (int)report.state, (unsigned long long)r->seen,
                    (unsigned long long)oracle_last(),
                    report.stopped ? ", stopped: " : "",
                    report.stopped || report.state == SOMA_TRAINER_FAILED
                        ? report.err.text
                        : "");
    }
    world_wrong("requests are not answered");
}

/* Those that learned what the server has lost, and they alone. */
static void
check_who_stepped_out(bool all_are_new)
{
    soma_trainer_report report;
    for (int i = 0; i < the_world.replica_count; i++) {
        replica *r = &the_world.replicas[i];
        soma_trainer_ask(r->trainer, &report);
        bool lost = oracle_knows(r->seen, r->sum) == ORACLE_LOST;
        bool may = !all_are_new && oracle_has_lost(r->seen, r->sum);
        if (lost > report.differs || report.differs > may)
            world_wrong("replica %d %s at version %llu: %s", i,
                        lost ? "has not stepped out" : "has stepped out",
                        (unsigned long long)r->seen, report.err.text);
        if (!report.differs)
            continue;
        the_world.counts->stepped_out++;
        stop(r, world_below(2));
    }
}

static void
heal(void)
{
    the_world.healing = true;
    the_wire.rates = (wire_rates){0};
    the_wire.down = the_wire.store.full = false;
    while (the_wire.late_count)
        wire_arrive();
    for (int i = 0; i < the_world.replica_count; i++)
        the_world.replicas[i].stalled = the_world.replicas[i].away = 0;
    settle();
    if (the_world.wrong[0])
        return;
    check_who_stepped_out(false);
    stop(&the_world.replicas[0], true); /* one joins in any case */
    settle();
    if (!the_world.wrong[0])
        check_who_stepped_out(true);
    clients_check();
}

/* ---- A run ---- */

static uint32_t
draw_rate(uint32_t most)
{
    return world_below(3) ? world_below(most + 1) : 0;
}

static void
draw(uint64_t seed)
{
    the_world.rng = soma_rng_seed(seed, 0);
    the_world.size = world_below(24) ? 6 : 1200;
    the_world.replica_count = 1 + (int)world_below(REPLICAS);
    the_world.options =
        (soma_trainer_options){.learning = {.rule = SOMA_LEARNING_RULE,
                                            .sgd = {.rate = 0.05f, .clip = 1},
                                            .rehearse = (int32_t)world_below(3),
                                            .memory = 40,
                                            .max_steps = 2},
                               .max_waiting = 1000,
                               .journal = "redis://simulated",
                               .checkpoint_examples = 5 + (long)world_below(60),
                               .checkpoint_seconds = 1000000,
                               .compare_every = 16};
    if (world_below(2))
        the_world.options.keep = (soma_journal_policy){
            .keep_examples = 1 + world_below(40), .keep_checkpoints = 2};
    chance.crash = draw_rate(40);
    chance.lose = world_below(2) ? (int)world_below(8) : 0;

    chance.outage = draw_rate(30);
    chance.kill = draw_rate(60);
    chance.stop = draw_rate(30);
    chance.reload = draw_rate(30);
    chance.stall = draw_rate(60);
    chance.jump = draw_rate(60);
    chance.full = draw_rate(20);
    chance.settings = draw_rate(10);
    outage = full = 0;
    the_wire.rng = soma_rng_seed(seed, 1);
    the_wire.rates = (wire_rates){.lost = draw_rate(400),
                                  .answered = draw_rate(400),
                                  .late = draw_rate(300),
                                  .slow = draw_rate(4000),
                                  .refused = draw_rate(2000)};
    fiber_random = seed;
    fiber_time = 0;
}

static void
clean_up(void)
{
    for (int i = 0; i < the_world.replica_count; i++)
        stop(&the_world.replicas[i], true);
    clients_take_answers();
    clients_end();
    oracle_end();
    the_world.counts->commands += the_wire.commands;
    wire_clear();
    soma_model_free(the_world.base);
}

const char *
world_run(uint64_t seed, world_counts *counts)
{
    the_world = (world){.counts = counts};
    counts->runs++;
    draw(seed);
    the_world.base = make_model();
    oracle_begin(the_world.base, &the_world.memory, wrong_order);
    clients_begin();
    int turns = 200 + (int)world_below(1500);
    for (int i = 0; i < turns && !the_world.wrong[0]; i++)
        turn();
    if (!the_world.wrong[0])
        heal();
    clean_up();
    return the_world.wrong[0] ? the_world.wrong : NULL;
}

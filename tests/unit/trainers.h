/* A model, its shelf, and a trainer with a journal on disk; and jobs for it
 * that are waited for.
 */
#ifndef SOMA_TESTS_UNIT_TRAINERS_H
#define SOMA_TESTS_UNIT_TRAINERS_H

#include "core/activation.h"
#include "core/loss.h"
#include "core/rng.h"
#include "server/engine/log.h"
#include "server/engine/trainer.h"
#include "tests/unit/faulty_vfs.h"
#include "tests/unit/scratch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 12, CLASSES = 3, EXAMPLES = 40 };

static float inputs[EXAMPLES * SIZE];
static int labels[EXAMPLES];

typedef struct setting {
    soma_readers readers;
    soma_shelf shelf;
    soma_classes classes;
    soma_memory memory, guard;
    soma_trainer *trainer;
} setting;

static soma_trainer_options plain = {
    .learning = {.sgd = {.rate = 0.05f, .clip = 1}, .max_steps = 1},
    .max_waiting = 1000,
    .data = scratch,
    .checkpoint_examples = 1000000,
    .checkpoint_seconds = 1000000};

static inline soma_model *
make_model(uint64_t seed)
{
    soma_error err;
    soma_spec spec = {.depth = 2};
    spec.input = (soma_input){.rank = 1, .shape = {SIZE}, .high = 255};
    soma_activation_find("tanh", &spec.layers[0].activation, NULL);
    soma_activation_find("identity", &spec.layers[1].activation, NULL);
    spec.layers[0].units = 8;
    spec.layers[1].units = CLASSES;
    spec.layers[0].pieces = spec.layers[1].pieces = 1;
    soma_loss_find("softmax_cross_entropy", &spec.loss, NULL);
    assert_int_equal(soma_spec_finish(&spec, &err), SOMA_OK);
    soma_model *model = soma_model_create(&spec, &err);
    soma_rng rng = soma_rng_seed(seed, 0);
    soma_model_init(model, &rng);
    return model;
}

static inline void
wait_until_recovered(setting *s)
{
    soma_trainer_report report;
    do {
        usleep(200);
        soma_trainer_ask(s->trainer, &report);
    } while (report.state == SOMA_TRAINER_RECOVERING);
}

/* A model by its name, with the journal that is there already. */
static inline setting *
start_as(const char *name, const soma_trainer_options *options, uint64_t seed,
         const soma_memory *guard)
{
    setting *s = calloc(1, sizeof *s);
    soma_error err;
    soma_readers_init(&s->readers);
    assert_int_equal(
        soma_shelf_create(&s->shelf, &s->readers, make_model(seed), &err),
        SOMA_OK);
    if (guard)
        s->guard = *guard;
    soma_pupil pupil = {.name = name,
                        .classes = &s->classes,
                        .memory = &s->memory,
                        .guard = &s->guard,
                        .shelf = &s->shelf};
    s->trainer = soma_trainer_start(options, &pupil, &err);
    assert_non_null(s->trainer);
    wait_until_recovered(s);
    return s;
}

static inline setting *
start_again(const soma_trainer_options *options, uint64_t seed)
{
    return start_as("m", options, seed, NULL);
}

static inline void
remove_journal(void)
{
    static const char *const names[] = {"m.db", "m.db-wal", "m.db-shm",
                                        "b.db", "b.db-wal", "b.db-shm"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(scratch_path(names[i]));
}

static inline setting *
start(const soma_trainer_options *options)
{
    faulty_start(0, 0, false, false);
    remove_journal();
    return start_again(options, 1);
}

static inline void
stop(setting *s)
{
    soma_trainer_stop(s->trainer);
    soma_shelf_free(&s->shelf);
    free(s);
}

/* ---- Jobs that are waited for ---- */

typedef struct waiter {
    soma_job job;
    soma_lesson lessons[EXAMPLES];
    setting *s;
    pthread_mutex_t lock;
    pthread_cond_t more;
    int done;
    uint64_t published; /* when it was done */
} waiter;

static inline void
on_done(soma_job *job)
{
    waiter *w = job->owner;
    pthread_mutex_lock(&w->lock);
    w->done++;
    w->published = soma_shelf_current(&w->s->shelf)->version;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

static inline waiter *
make_job(setting *s, int first, int count)
{
    waiter *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->s = s;
    w->job = (soma_job){.kind = SOMA_JOB_LEARN,
                        .count = count,
                        .x = inputs + first * SIZE,
                        .labels = labels + first,
                        .lessons = w->lessons,
                        .done = on_done,
                        .owner = w};
    return w;
}

static inline soma_status
finish_job(waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->more, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->job.err.status;
}

static inline waiter *
learn(setting *s, int first, int count)
{
    waiter *w = make_job(s, first, count);
    assert_int_equal(soma_trainer_submit(s->trainer, &w->job, NULL), SOMA_OK);
    finish_job(w);
    return w;
}

static inline void
digest_of(setting *s, char hex[SOMA_DIGEST_HEX + 1])
{
    assert_int_equal(
        soma_snapshot_digest(soma_shelf_current(&s->shelf), hex, NULL),
        SOMA_OK);
}

static inline int
set_up(void **state)
{
    soma_rng rng = soma_rng_seed(2, 0);
    if (scratch_make(state))
        return -1;
    faulty_install();
    soma_log_setup(SOMA_LOG_ERROR + 1, false);
    for (int i = 0; i < EXAMPLES; i++) {
        labels[i] = (int)soma_rng_below(&rng, CLASSES);
        for (int k = 0; k < SIZE; k++)
            inputs[i * SIZE + k] = soma_rng_normal(&rng) + (float)labels[i];
    }
    return 0;
}

/* The same, again and again until it is learned: mending has to wait. */
static inline waiter *
learn_at_last(setting *s, int first, int count)
{
    for (int i = 0; i < 100; i++) {
        waiter *w = learn(s, first, count);
        if (!w->job.err.status)
            return w;
        free(w);
        usleep(20000);
    }
    fail_msg("not learned within 2 s");
    return NULL;
}

static inline soma_status
roll_back(setting *s, uint64_t target, uint64_t *version)
{
    waiter *w = make_job(s, 0, 0);
    w->job.kind = SOMA_JOB_ROLLBACK;
    w->job.target = target;
    assert_int_equal(soma_trainer_submit(s->trainer, &w->job, NULL), SOMA_OK);
    soma_status status = finish_job(w);
    *version = w->job.version;
    free(w);
    return status;
}

#endif

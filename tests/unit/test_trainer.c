/* server/engine/trainer.c: its invariants, by their numbers there. */
#include "core/activation.h"
#include "core/loss.h"
#include "core/rng.h"
#include "server/engine/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 12, CLASSES = 3, EXAMPLES = 40 };

static float inputs[EXAMPLES * SIZE];
static int labels[EXAMPLES];

/* ---- A journal that counts, and fails when it is told to ---- */

typedef struct test_journal {
    soma_journal journal;
    int appends, fail_at; /* the n-th append fails; 0: none */
    uint64_t last;
    bool closed;
    soma_shelf *shelf; /* to see what was published at the time */
    uint64_t published_at_append;
} test_journal;

static test_journal journal;

static soma_status
journal_append(soma_journal *j, const soma_record *records, int count,
               soma_error *err)
{
    test_journal *t = (test_journal *)j;
    t->published_at_append = soma_shelf_current(t->shelf)->version;
    if (++t->appends == t->fail_at)
        return soma_error_set(err, SOMA_E_NO_SPACE, "the disk is full");
    assert_int_equal(records[0].seq, t->last + 1);
    t->last += (uint64_t)count;
    assert_int_equal(records[count - 1].seq, t->last);
    return SOMA_OK;
}

static soma_status
journal_read(soma_journal *j, uint64_t after, soma_journal_visit visit,
             void *arg, soma_error *err)
{
    (void)j, (void)after, (void)visit, (void)arg, (void)err;
    return SOMA_OK;
}

static void
journal_close(soma_journal *j)
{
    ((test_journal *)j)->closed = true;
}

static const soma_journal_backend backend = {
    .name = "test",
    .append = journal_append,
    .read = journal_read,
    .close = journal_close,
};

/* ---- A model, its shelf and its trainer ---- */

typedef struct setting {
    soma_readers readers;
    soma_shelf shelf;
    soma_trainer *trainer;
} setting;

static const soma_trainer_options plain = {.sgd = {.rate = 0.05f, .clip = 1},
                                           .max_waiting = 1000};

static setting *
start(const soma_trainer_options *options, int fail_at)
{
    setting *s = calloc(1, sizeof *s);
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
    soma_rng rng = soma_rng_seed(1, 0);
    soma_model_init(model, &rng);
    soma_readers_init(&s->readers);
    assert_int_equal(soma_shelf_create(&s->shelf, &s->readers,
                                       soma_model_clone(model, &err), &err),
                     SOMA_OK);
    soma_model_free(model);
    journal = (test_journal){
        .journal = {&backend, SIZE}, .fail_at = fail_at, .shelf = &s->shelf};
    s->trainer = soma_trainer_start(options, &s->shelf, &journal.journal, &err);
    assert_non_null(s->trainer);
    return s;
}

static void
stop(setting *s)
{
    soma_trainer_stop(s->trainer);
    assert_true(journal.closed);
    soma_shelf_free(&s->shelf);
    free(s);
}

/* ---- Jobs that are waited for ---- */

typedef struct waiter {
    soma_learn_job job;
    soma_lesson lessons[EXAMPLES];
    setting *s;
    pthread_mutex_t lock;
    pthread_cond_t more;
    int done;
    uint64_t published; /* when it was done */
} waiter;

static void
on_done(soma_learn_job *job)
{
    waiter *w = job->owner;
    pthread_mutex_lock(&w->lock);
    w->done++;
    w->published = soma_shelf_current(&w->s->shelf)->version;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

static waiter *
make_job(setting *s, int first, int count)
{
    waiter *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->s = s;
    w->job = (soma_learn_job){.count = count,
                              .x = inputs + first * SIZE,
                              .labels = labels + first,
                              .lessons = w->lessons,
                              .done = on_done,
                              .owner = w};
    return w;
}

static soma_status
finish_job(waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->more, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return w->job.err.status;
}

static waiter *
learn(setting *s, int first, int count)
{
    waiter *w = make_job(s, first, count);
    assert_int_equal(soma_trainer_submit(s->trainer, &w->job, NULL), SOMA_OK);
    finish_job(w);
    return w;
}

static void
digest_of(setting *s, char hex[SOMA_DIGEST_HEX + 1])
{
    assert_int_equal(
        soma_snapshot_digest(soma_shelf_current(&s->shelf), hex, NULL),
        SOMA_OK);
}

static int
set_up(void **state)
{
    (void)state;
    soma_rng rng = soma_rng_seed(2, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        labels[i] = (int)soma_rng_below(&rng, CLASSES);
        for (int k = 0; k < SIZE; k++)
            inputs[i * SIZE + k] = soma_rng_normal(&rng) + (float)labels[i];
    }
    return 0;
}

/* 1: when a job is done, the version that contains it is the one in sight,
 * and it was not there when the journal was asked. */
static void
nothing_is_answered_before_it_is_published(void **state)
{
    (void)state;
    setting *s = start(&plain, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        waiter *w = learn(s, i, 1);
        assert_int_equal(w->job.err.status, SOMA_OK);
        assert_int_equal(w->lessons[0].version, (uint64_t)i + 1);
        assert_int_equal(w->published, (uint64_t)i + 1);
        assert_int_equal(journal.published_at_append, (uint64_t)i);
        assert_int_equal(w->done, 1);
        free(w);
    }
    stop(s);
}

/* 2: in one job, one by one, or in groups as they come: the same bits. */
static void
groups_share_no_arithmetic(void **state)
{
    char one[SOMA_DIGEST_HEX + 1], each[SOMA_DIGEST_HEX + 1],
        burst[SOMA_DIGEST_HEX + 1];
    waiter *jobs[EXAMPLES];
    (void)state;
    setting *s = start(&plain, 0);
    free(learn(s, 0, EXAMPLES));
    digest_of(s, one);
    stop(s);
    s = start(&plain, 0);
    for (int i = 0; i < EXAMPLES; i++)
        free(learn(s, i, 1));
    digest_of(s, each);
    stop(s);
    s = start(&plain, 0);
    for (int i = 0; i < EXAMPLES; i++) {
        jobs[i] = make_job(s, i, 1);
        soma_trainer_submit(s->trainer, &jobs[i]->job, NULL);
    }
    for (int i = 0; i < EXAMPLES; i++) {
        finish_job(jobs[i]);
        assert_int_equal(jobs[i]->lessons[0].version, (uint64_t)i + 1);
        free(jobs[i]);
    }
    digest_of(s, burst);
    stop(s);
    assert_string_equal(one, each);
    assert_string_equal(one, burst);
}

/* Learning lowers the loss of what was learned. */
static void
examples_are_learned(void **state)
{
    (void)state;
    setting *s = start(&plain, 0);
    waiter *first = learn(s, 0, EXAMPLES);
    for (int i = 0; i < 30; i++)
        free(learn(s, 0, EXAMPLES));
    waiter *last = learn(s, 0, EXAMPLES);
    double before = 0, after = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        before += (double)first->lessons[i].loss;
        after += (double)last->lessons[i].loss;
    }
    assert_true(after < 0.8 * before);
    const soma_progressive *p = &soma_shelf_current(&s->shelf)->progressive;
    assert_int_equal(p->examples, 32 * EXAMPLES);
    assert_int_equal(p->window, 1000);
    assert_true(p->accuracy > 0.4 && p->accuracy <= 1);
    free(first);
    free(last);
    stop(s);
}

/* 4: recorded, with a version of its own, but nothing changes. */
static void
a_step_that_is_not_finite_changes_nothing(void **state)
{
    static float huge[SIZE];
    static int label;
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    soma_trainer_options wild = plain;
    (void)state;
    wild.sgd.clip = 0;
    wild.sgd.rate = 1000;
    setting *s = start(&wild, 0);
    digest_of(s, before);
    for (int i = 0; i < SIZE; i++)
        huge[i] = 3e38f;
    waiter *w = make_job(s, 0, 1);
    w->job.x = huge;
    w->job.labels = &label;
    for (label = 0; label < CLASSES; label++) {
        w->done = 0;
        soma_trainer_submit(s->trainer, &w->job, NULL);
        assert_int_equal(finish_job(w), SOMA_OK);
        digest_of(s, after);
        if (w->lessons[0].rejected)
            assert_string_equal(before, after);
        memcpy(before, after, sizeof before);
    }
    assert_int_equal(journal.last, CLASSES);
    assert_int_equal(soma_shelf_current(&s->shelf)->version, CLASSES);
    assert_true(soma_model_finite(soma_shelf_current(&s->shelf)->model));
    free(w);
    stop(s);
}

/* 5: no step, the journal's error, and the next job goes on from before. */
static void
a_failed_append_learns_nothing(void **state)
{
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    (void)state;
    for (int n = 1; n <= 4; n++) {
        setting *s = start(&plain, n);
        for (int i = 1; i <= 5; i++) {
            digest_of(s, before);
            waiter *w = learn(s, i, 2);
            digest_of(s, after);
            if (i == n) {
                assert_int_equal(w->job.err.status, SOMA_E_NO_SPACE);
                assert_string_equal(w->job.err.text, "the disk is full");
                assert_string_equal(before, after);
            } else {
                assert_int_equal(w->job.err.status, SOMA_OK);
                assert_string_not_equal(before, after);
            }
            assert_int_equal(w->done, 1);
            free(w);
        }
        assert_int_equal(soma_shelf_current(&s->shelf)->version, 8);
        stop(s);
    }
}

/* The queue is bounded; a job that was refused is never done. */
static void
too_much_is_refused(void **state)
{
    enum { JOBS = 400 };
    soma_trainer_options small = plain;
    soma_error err;
    (void)state;
    small.max_waiting = 10;
    setting *s = start(&small, 0);
    waiter *jobs[JOBS];
    soma_status taken[JOBS];
    int refused = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = make_job(s, 0, EXAMPLES / 2);
        taken[i] = soma_trainer_submit(s->trainer, &jobs[i]->job, &err);
        if (taken[i]) {
            assert_int_equal(taken[i], SOMA_E_BUSY);
            refused++;
        }
    }
    for (int i = 0; i < JOBS; i++) {
        if (!taken[i])
            finish_job(jobs[i]);
    }
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i]->done, taken[i] ? 0 : 1);
        free(jobs[i]);
    }
    assert_true(refused > 0);
    stop(s);
}

/* Stopping finishes what was taken. */
static void
stopping_finishes_what_was_taken(void **state)
{
    enum { JOBS = 50 };
    waiter *jobs[JOBS];
    (void)state;
    setting *s = start(&plain, 0);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = make_job(s, 0, 1);
        assert_int_equal(soma_trainer_submit(s->trainer, &jobs[i]->job, NULL),
                         SOMA_OK);
    }
    stop(s);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i]->done, 1);
        assert_int_equal(jobs[i]->job.err.status, SOMA_OK);
        free(jobs[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_answered_before_it_is_published),
        cmocka_unit_test(groups_share_no_arithmetic),
        cmocka_unit_test(examples_are_learned),
        cmocka_unit_test(a_step_that_is_not_finite_changes_nothing),
        cmocka_unit_test(a_failed_append_learns_nothing),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(stopping_finishes_what_was_taken),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}

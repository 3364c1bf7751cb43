/* server/engine/trainer.c: its invariants, by their numbers there. */
#include "core/activation.h"
#include "core/loss.h"
#include "core/rng.h"
#include "server/engine/log.h"
#include "server/engine/replay.h"
#include "server/engine/trainer.h"
#include "tests/unit/faulty_vfs.h"
#include "tests/unit/scratch.h"

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

/* ---- A model, its shelf, and a trainer with a journal on disk ---- */

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

static soma_model *
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

static void
wait_until_recovered(setting *s)
{
    soma_trainer_report report;
    do {
        usleep(200);
        soma_trainer_ask(s->trainer, &report);
    } while (report.state == SOMA_TRAINER_RECOVERING);
}

/* A model by its name, with the journal that is there already. */
static setting *
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

static setting *
start_again(const soma_trainer_options *options, uint64_t seed)
{
    return start_as("m", options, seed, NULL);
}

static void
remove_journal(void)
{
    static const char *const names[] = {"m.db", "m.db-wal", "m.db-shm",
                                        "b.db", "b.db-wal", "b.db-shm"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(scratch_path(names[i]));
}

static setting *
start(const soma_trainer_options *options)
{
    faulty_start(0, 0, false, false);
    remove_journal();
    return start_again(options, 1);
}

static void
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

static void
on_done(soma_job *job)
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
    w->job = (soma_job){.kind = SOMA_JOB_LEARN,
                        .count = count,
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

/* 1: when a job is done, the version that contains it is the one in sight, and
 * its record is on disk. */
static void
nothing_is_answered_before_it_is_published(void **state)
{
    (void)state;
    setting *s = start(&plain);
    for (int i = 0; i < EXAMPLES; i++) {
        waiter *w = learn(s, i, 1);
        assert_int_equal(w->job.err.status, SOMA_OK);
        assert_int_equal(w->lessons[0].version, (uint64_t)i + 1);
        assert_int_equal(w->published, (uint64_t)i + 1);
        assert_int_equal(w->done, 1);
        soma_journal_info info;
        soma_journal *journal =
            soma_journal_open(scratch_path("m.db"), true, NULL);
        assert_non_null(journal);
        assert_int_equal(journal->backend->info(journal, &info, NULL), SOMA_OK);
        assert_int_equal(info.last, (uint64_t)i + 1);
        journal->backend->close(journal);
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
    setting *s = start(&plain);
    free(learn(s, 0, EXAMPLES));
    digest_of(s, one);
    stop(s);
    s = start(&plain);
    for (int i = 0; i < EXAMPLES; i++)
        free(learn(s, i, 1));
    digest_of(s, each);
    stop(s);
    s = start(&plain);
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
    setting *s = start(&plain);
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
    soma_progress_report report = soma_progressive_report(p, -1);
    assert_int_equal(report.examples, 1000);
    assert_true(report.accuracy > 0.4 && report.accuracy <= 1);
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
    wild.learning.sgd.clip = 0;
    wild.learning.sgd.rate = 1000;
    setting *s = start(&wild);
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
    assert_int_equal(soma_shelf_current(&s->shelf)->version, CLASSES);
    assert_true(soma_model_finite(soma_shelf_current(&s->shelf)->model));
    free(w);
    stop(s);
    /* It is rejected again when it is read back. */
    s = start_again(&wild, 1);
    digest_of(s, before);
    assert_string_equal(before, after);
    assert_int_equal(soma_shelf_current(&s->shelf)->version, CLASSES);
    stop(s);
}

/* The same, again and again until it is learned: mending has to wait. */
static waiter *
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

/* 5: a full disk: no step, the journal's error, and the next job goes on from
 * before. */
static void
a_full_disk_learns_nothing(void **state)
{
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    (void)state;
    setting *s = start(&plain);
    free(learn(s, 0, 1));
    for (int i = 1; i <= 6; i++) {
        digest_of(s, before);
        faulty.operations = 0;
        faulty.error = ENOSPC;
        faulty.fail_at = i % 2 ? 1 : 0;
        faulty.sticky = true;
        waiter *w = i % 2 ? learn(s, i, 2) : learn_at_last(s, i, 2);
        digest_of(s, after);
        if (i % 2) {
            assert_true(w->job.err.status == SOMA_E_NO_SPACE ||
                        w->job.err.status == SOMA_E_IO);
            assert_string_equal(before, after);
        } else {
            assert_int_equal(w->job.err.status, SOMA_OK);
            assert_string_not_equal(before, after);
        }
        assert_int_equal(w->done, 1);
        free(w);
    }
    assert_int_equal(soma_shelf_current(&s->shelf)->version, 7);
    faulty_repair();
    stop(s);
}

static void
learn_all(setting *s, int first, int count)
{
    for (int i = first; i < first + count; i++)
        free(learn_at_last(s, i, 1));
}

/* 5: a group is learned while it is appended; where the disk is full of a
 * sudden, all that it left behind is gone: weights, memory, lessons. */
static void
what_was_learned_ahead_is_unlearned(void **state)
{
    char never[SOMA_DIGEST_HEX + 1], failed[SOMA_DIGEST_HEX + 1];
    soma_trainer_options rehearsing = plain;
    (void)state;
    rehearsing.learning.rehearse = 4;
    rehearsing.learning.memory = 6;
    setting *s = start(&rehearsing);
    learn_all(s, 0, 20);
    digest_of(s, never);
    stop(s);
    s = start(&rehearsing);
    for (int i = 0; i < 20; i += 4) {
        learn_all(s, i, 4);
        faulty.operations = 0;
        faulty.error = ENOSPC;
        faulty.sticky = true;
        faulty.fail_at = 1;
        for (int k = 0; k < 3; k++) {
            waiter *w = learn(s, 30, 5);
            assert_int_not_equal(w->job.err.status, SOMA_OK);
            free(w);
        }
        assert_int_equal(soma_shelf_current(&s->shelf)->version, i + 4);
        faulty_repair();
    }
    digest_of(s, failed);
    assert_string_equal(never, failed);
    stop(s);
}

/* 5: whatever operation of an append fails, once or from then on: what was
 * answered is there, what is there was learned, and a new start agrees. */
static void
no_failed_append_is_lost_or_half_done(void **state)
{
    static const int errors[] = {EIO, ENOSPC};
    int rounds = 0, refused = 0;
    (void)state;
    for (int variant = 0; variant < 4; variant++)
        for (int n = 1; n <= 14; n++, rounds++) {
            char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
            setting *s = start(&plain);
            uint64_t answered = 0;
            free(learn(s, 0, 1));
            faulty.operations = 0;
            faulty.error = errors[variant / 2];
            faulty.sticky = variant % 2;
            faulty.fail_at = n;
            for (int i = 1; i < 6; i++) {
                waiter *w = learn(s, i, 2);
                if (w->job.err.status)
                    refused++;
                else
                    answered = w->lessons[1].version;
                assert_true(w->job.err.status ||
                            w->published >= w->lessons[1].version);
                free(w);
            }
            faulty_repair();
            waiter *w = learn_at_last(s, 7, 1);
            assert_true(w->lessons[0].version > answered);
            free(w);
            digest_of(s, before);
            uint64_t version = soma_shelf_current(&s->shelf)->version;
            stop(s);
            s = start_again(&plain, 1);
            digest_of(s, after);
            assert_string_equal(before, after);
            assert_int_equal(soma_shelf_current(&s->shelf)->version, version);
            stop(s);
        }
    assert_true(refused > 0);
    print_message("%d rounds, %d appends refused, 0 lost\n", rounds, refused);
}

/* A start replays to the same bits, from the base or from checkpoints, also
 * when the newest is damaged, also with other settings in between. */
static void
a_new_start_gives_the_same_bits(void **state)
{
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    soma_trainer_options rehearsing = plain;
    (void)state;
    rehearsing.learning.rehearse = 3;
    rehearsing.learning.memory = 10;
    rehearsing.learning.pull = 0.01f;
    rehearsing.learning.sgd.momentum = 0.5f;
    rehearsing.learning.max_steps = 4;
    rehearsing.checkpoint_examples = 7;
    setting *s = start(&plain);
    for (int i = 0; i < EXAMPLES; i++)
        free(learn(s, i, 1));
    digest_of(s, before);
    stop(s);
    s = start_again(&rehearsing, 1);
    digest_of(s, after);
    assert_string_equal(before, after);
    for (int i = 0; i < EXAMPLES; i++)
        free(learn(s, i, 1));
    digest_of(s, before);
    stop(s);

    sqlite3 *db;
    assert_int_equal(sqlite3_open(scratch_path("m.db"), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "UPDATE checkpoint_parts SET data = zeroblob(length(data))"
                     " WHERE id = (SELECT max(id) FROM checkpoints)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    s = start_again(&rehearsing, 1);
    digest_of(s, after);
    assert_string_equal(before, after);
    assert_int_equal(soma_shelf_current(&s->shelf)->version, 2 * EXAMPLES + 1);
    stop(s);
}

/* ---- Rollback ---- */

static soma_status
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

/* To any version, also one that a rollback undid; a new start agrees; what is
 * not there is refused. */
static void
rollbacks_can_be_undone(void **state)
{
    enum { BACK = 12 };
    char at[3 * BACK][SOMA_DIGEST_HEX + 1], now[SOMA_DIGEST_HEX + 1];
    soma_trainer_options often = plain;
    soma_rng rng = soma_rng_seed(5, 0);
    uint64_t version;
    (void)state;
    often.checkpoint_examples = 5;
    often.learning.rehearse = 2;
    often.learning.memory = 8;
    setting *s = start(&often);
    digest_of(s, at[0]);
    for (int v = 1; v < 3 * BACK; v++) {
        if (v % 3) {
            free(learn(s, v, 1));
            digest_of(s, at[v]);
        } else {
            uint64_t target = soma_rng_below(&rng, (uint32_t)v);
            assert_int_equal(roll_back(s, target, &version), SOMA_OK);
            assert_int_equal(version, v);
            digest_of(s, at[v]);
            assert_string_equal(at[v], at[target]);
        }
        if (v % 7 == 0) {
            stop(s);
            s = start_again(&often, 1);
            digest_of(s, now);
            assert_string_equal(now, at[v]);
        }
    }
    assert_int_equal(roll_back(s, 3 * BACK, &version), SOMA_E_NOT_FOUND);
    digest_of(s, now);
    assert_string_equal(now, at[3 * BACK - 1]);
    stop(s);
}

/* ---- Idempotency-Key ---- */

static waiter *
learn_with_key(setting *s, int first, int count, const char *text,
               unsigned char fingerprint)
{
    static soma_journal_key key;
    waiter *w = make_job(s, first, count);
    snprintf(key.text, sizeof key.text, "%s", text);
    memset(key.fingerprint, fingerprint, sizeof key.fingerprint);
    w->job.key = &key;
    assert_int_equal(soma_trainer_submit(s->trainer, &w->job, NULL), SOMA_OK);
    finish_job(w);
    return w;
}

static void
a_repeated_request_is_answered_as_before(void **state)
{
    (void)state;
    for (int restarts = 0; restarts < 3; restarts++) {
        setting *s = start(&plain);
        waiter *first = learn_with_key(s, 3, 2, "a", 1);
        free(learn(s, 5, 1));
        if (restarts) {
            stop(s);
            s = start_again(&plain, 1);
        }
        if (restarts == 2) {
            uint64_t version;
            assert_int_equal(roll_back(s, 0, &version), SOMA_OK);
            stop(s);
            s = start_again(&plain, 1);
        }
        waiter *again = learn_with_key(s, 3, 2, "a", 1);
        assert_int_equal(again->job.err.status, SOMA_OK);
        assert_true(again->job.repeated);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(again->lessons[i].version,
                             first->lessons[i].version);
            assert_true(again->lessons[i].loss == first->lessons[i].loss);
            assert_int_equal(again->lessons[i].predicted,
                             first->lessons[i].predicted);
        }
        free(again);
        again = learn_with_key(s, 3, 2, "a", 2);
        assert_int_equal(again->job.err.status, SOMA_E_CONFLICT);
        free(again);
        again = learn_with_key(s, 3, 2, "b", 2);
        assert_int_equal(again->job.err.status, SOMA_OK);
        assert_false(again->job.repeated);
        free(again);
        free(first);
        stop(s);
    }
}

/* ---- Giving a state away, and taking it over ---- */

/* A job with a copy of the state of `s`, which is still to be freed. */
static waiter *
ask_for_state(setting *s)
{
    waiter *w = make_job(s, 0, 0);
    w->job.kind = SOMA_JOB_STATE;
    assert_int_equal(soma_trainer_submit(s->trainer, &w->job, NULL), SOMA_OK);
    assert_int_equal(finish_job(w), SOMA_OK);
    return w;
}

static void
free_job(waiter *w)
{
    soma_bytes_free(&w->job.state);
    soma_bytes_free(&w->job.base);
    free(w);
}

/* Hands that copy to another one. */
static soma_status
adopt(setting *heir, waiter *w, bool force)
{
    w->done = 0;
    w->s = heir;
    w->job.kind = SOMA_JOB_ADOPT;
    w->job.force = force;
    assert_int_equal(soma_trainer_submit(heir->trainer, &w->job, NULL),
                     SOMA_OK);
    return finish_job(w);
}

static soma_status
promote(setting *heir, setting *challenger, bool force)
{
    waiter *w = ask_for_state(challenger);
    soma_status status = adopt(heir, w, force);
    free_job(w);
    return status;
}

/* Both states are equal, bit for bit. */
static void
expect_same_state(setting *a, setting *b)
{
    enum { HEAD = SOMA_ORIGIN_MAX + 1 }; /* the names */
    waiter *one = ask_for_state(a), *other = ask_for_state(b);
    assert_int_equal(one->job.state.size, other->job.state.size);
    assert_memory_equal(one->job.state.data + HEAD,
                        other->job.state.data + HEAD,
                        one->job.state.size - HEAD);
    free_job(one);
    free_job(other);
}

/* The journal alone, from its base, leads to the same weights. */
static void
expect_replay(const char *name, const char *digest)
{
    char hex[SOMA_DIGEST_HEX + 1];
    soma_error err;
    soma_memory none = {0};
    soma_journal_info info;
    soma_model *base = make_model(1);
    soma_journal *j = soma_journal_open(scratch_path(name), true, &err);
    assert_non_null(j);
    assert_int_equal(j->backend->check(j, &err), SOMA_OK);
    assert_int_equal(j->backend->info(j, &info, &err), SOMA_OK);
    soma_replay replay = {
        .journal = j, .base = base, .kept = &none, .from_base = true};
    /* What the journal does not have makes no version. */
    assert_null(soma_replay_build(&replay, info.last + 1, &err));
    assert_int_equal(err.status, SOMA_E_IO);
    soma_learner *learner = soma_replay_build(&replay, info.last, &err);
    if (!learner)
        fail_msg("%s", err.text);
    assert_int_equal(soma_model_digest(soma_learner_model(learner), hex, NULL),
                     SOMA_OK);
    assert_string_equal(hex, digest);
    soma_learner_free(learner);
    soma_model_free(base);
    j->backend->close(j);
}

static soma_trainer_options
rehearsing(void)
{
    soma_trainer_options options = plain;
    options.learning.rehearse = 3;
    options.learning.memory = 10;
    options.learning.pull = 0.01f;
    options.learning.sgd.momentum = 0.5f;
    options.learning.max_steps = 4;
    return options;
}

static void
a_state_is_taken_over_bit_for_bit(void **state)
{
    char theirs[SOMA_DIGEST_HEX + 1], now[SOMA_DIGEST_HEX + 1];
    soma_trainer_options options = rehearsing();
    (void)state;
    options.checkpoint_examples = 6;
    setting *m = start(&options), *b = start_as("b", &options, 1, NULL);
    for (int i = 0; i < 20; i++)
        free(learn(b, i, 1));
    for (int i = 0; i < 3; i++)
        free(learn(m, 30 + i, 1));
    assert_int_equal(promote(m, b, true), SOMA_OK);
    expect_same_state(m, b);
    digest_of(b, theirs);
    digest_of(m, now);
    assert_string_equal(now, theirs);
    assert_int_equal(soma_shelf_current(&m->shelf)->version, 4);
    assert_int_equal(soma_shelf_current(&m->shelf)->progressive.examples, 20);
    expect_replay("m.db", theirs);
    /* Both go on from there, each by itself, also after a start. */
    for (int i = 0; i < 9; i++)
        free(learn(m, i, 2));
    digest_of(b, now);
    assert_string_equal(now, theirs);
    digest_of(m, theirs);
    stop(m);
    expect_replay("m.db", theirs);
    m = start_again(&options, 1);
    digest_of(m, now);
    assert_string_equal(now, theirs);
    /* Back and forth over it. */
    char at[4][SOMA_DIGEST_HEX + 1];
    uint64_t version;
    static const uint64_t targets[] = {0, 3, 4, 22};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(roll_back(m, targets[i], &version), SOMA_OK);
        digest_of(m, at[i]);
    }
    assert_string_equal(at[3], theirs);
    digest_of(b, now);
    assert_string_equal(at[2], now);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(at[i], at[k]);
    stop(m);
    stop(b);
}

/* Trimming goes on beside the learning. */
static void
wait_until_trimmed(const char *name, uint64_t first)
{
    soma_journal_info info = {0};
    for (int i = 0; i < 5000 && info.first < first; i++) {
        soma_journal *j = soma_journal_open(scratch_path(name), true, NULL);
        assert_non_null(j);
        assert_int_equal(j->backend->info(j, &info, NULL), SOMA_OK);
        j->backend->close(j);
        usleep(1000);
    }
    assert_true(info.first >= first);
}

/* Without checkpoints, and when what was before it is trimmed. */
static void
a_start_needs_nothing_before_an_adoption(void **state)
{
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    soma_trainer_options options = rehearsing(), trimming = options;
    (void)state;
    trimming.keep.keep_examples = 4;
    trimming.checkpoint_examples = 4;
    for (int trims = 0; trims < 2; trims++) {
        setting *m = start(trims ? &trimming : &options);
        setting *b = start_as("b", &options, 1, NULL);
        free(learn(b, 0, 10));
        for (int i = 0; i < 20; i++)
            free(learn(m, i, 1));
        assert_int_equal(promote(m, b, true), SOMA_OK);
        free(learn(m, 20, 3));
        digest_of(m, before);
        if (trims)
            wait_until_trimmed("m.db", 15);
        stop(m);
        sqlite3 *db;
        assert_int_equal(sqlite3_open(scratch_path("m.db"), &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db,
                                      "DELETE FROM checkpoints;"
                                      "DELETE FROM checkpoint_parts",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        sqlite3_close(db);
        m = start_again(trims ? &trimming : &options, 1);
        digest_of(m, after);
        assert_string_equal(before, after);
        assert_int_equal(soma_shelf_current(&m->shelf)->version, 24);
        stop(m);
        stop(b);
    }
}

/* The settings in force stay, those of the one that takes over. */
static void
an_heir_keeps_its_settings(void **state)
{
    char theirs[SOMA_DIGEST_HEX + 1], before[SOMA_DIGEST_HEX + 1],
        now[SOMA_DIGEST_HEX + 1];
    soma_trainer_options own = rehearsing(), other = plain;
    soma_trainer_report report;
    uint64_t version;
    (void)state;
    own.learning.memory = 5; /* less than the other one keeps */
    other.learning.memory = 20;
    other.learning.rehearse = 1;
    setting *m = start(&own), *b = start_as("b", &other, 1, NULL);
    free(learn(m, 0, 2));
    free(learn(b, 5, 30));
    digest_of(b, theirs);
    assert_int_equal(promote(m, b, true), SOMA_OK);
    digest_of(m, now);
    assert_string_equal(now, theirs);
    for (int restarted = 0; restarted < 2; restarted++) {
        soma_trainer_ask(m->trainer, &report);
        assert_true(soma_learning_equal(&report.learning, &own.learning));
        assert_true(report.stream <= 5);
        assert_int_equal(roll_back(m, 0, &version), SOMA_OK);
        assert_int_equal(roll_back(m, 3, &version), SOMA_OK);
        digest_of(m, now);
        assert_string_equal(now, theirs);
        free(learn(m, 10, 5));
        soma_trainer_ask(m->trainer, &report);
        assert_true(soma_learning_equal(&report.learning, &own.learning));
        digest_of(m, before);
        stop(m);
        m = start_again(&own, 1);
        digest_of(m, now);
        assert_string_equal(now, before);
        expect_replay("m.db", before);
    }
    soma_trainer_ask(b->trainer, &report);
    assert_true(soma_learning_equal(&report.learning, &other.learning));
    stop(m);
    stop(b);
}

static void
what_is_no_better_is_not_taken_over(void **state)
{
    char before[SOMA_DIGEST_HEX + 1], now[SOMA_DIGEST_HEX + 1];
    soma_memory guard = {0};
    soma_trainer_options options = plain;
    (void)state;
    assert_int_equal(soma_memory_create(&guard, SIZE, EXAMPLES, NULL), SOMA_OK);
    for (int i = 0; i < EXAMPLES; i++)
        assert_int_equal(
            soma_memory_put(&guard, i, inputs + i * SIZE, labels[i], NULL),
            SOMA_OK);
    faulty_start(0, 0, false, false);
    remove_journal();
    setting *m = start_as("m", &options, 1, &guard);
    setting *b = start_as("b", &options, 1, &guard);
    assert_int_equal(promote(m, b, true), SOMA_E_CONFLICT); /* never learned */
    free(learn(m, 0, 1));
    digest_of(m, before);
    waiter *w = ask_for_state(m); /* itself: as good, not better */
    assert_int_equal(adopt(m, w, false), SOMA_E_CONFLICT);
    assert_true(w->job.accuracy[0] == w->job.accuracy[1]);
    free_job(w);
    for (int i = 0; i < 20; i++)
        free(learn(b, 0, EXAMPLES));
    assert_int_equal(promote(b, m, false), SOMA_E_CONFLICT);
    digest_of(m, now);
    assert_string_equal(now, before);
    assert_int_equal(soma_shelf_current(&m->shelf)->version, 1);
    w = ask_for_state(b);
    assert_int_equal(adopt(m, w, false), SOMA_OK);
    assert_true(w->job.accuracy[1] > w->job.accuracy[0]);
    free_job(w);
    expect_same_state(m, b);
    /* Whoever began elsewhere has another base: whatever is forced. */
    stop(b);
    unlink(scratch_path("b.db"));
    b = start_as("b", &options, 2, &guard);
    free(learn(b, 0, 3));
    assert_int_equal(promote(m, b, true), SOMA_E_CONFLICT);
    stop(b);
    /* With nothing to compare by, only force helps. */
    unlink(scratch_path("b.db"));
    b = start_as("b", &options, 1, NULL);
    free(learn(b, 0, 3));
    w = ask_for_state(m);
    assert_int_equal(adopt(b, w, false), SOMA_E_CONFLICT);
    assert_int_equal(adopt(b, w, true), SOMA_OK);
    assert_true(w->job.accuracy[0] < 0 && w->job.accuracy[1] < 0);
    free_job(w);
    stop(b);
    stop(m);
    soma_memory_free(&guard);
}

/* A verdict on a version that was left undoes nothing of what came after it. */
static void
a_late_verdict_does_not_undo_a_promotion(void **state)
{
    enum { MANY = 100000 };
    static int wrong[EXAMPLES];
    char theirs[SOMA_DIGEST_HEX + 1], now[SOMA_DIGEST_HEX + 1];
    soma_memory guard = {0};
    soma_trainer_report report = {.guard_good = 0};
    soma_trainer_options options = plain;
    (void)state;
    options.guard_every = 1;
    options.guard_drop = 1;
    options.guard_action = SOMA_GUARD_ROLL_BACK;
    assert_int_equal(soma_memory_create(&guard, SIZE, MANY, NULL), SOMA_OK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(soma_memory_put(&guard, i,
                                         inputs + i % EXAMPLES * SIZE,
                                         labels[i % EXAMPLES], NULL),
                         SOMA_OK);
    faulty_start(0, 0, false, false);
    remove_journal();
    setting *m = start_as("m", &options, 1, &guard);
    setting *b = start_as("b", &plain, 1, NULL);
    for (int i = 0; i < 10; i++)
        free(learn(b, 0, EXAMPLES));
    digest_of(b, theirs);
    assert_int_equal(promote(m, b, true), SOMA_OK);
    while (!report.guard_good) {
        usleep(1000);
        soma_trainer_ask(m->trainer, &report);
    }
    waiter *good = ask_for_state(b), *harm = make_job(m, 0, EXAMPLES);
    for (int i = 0; i < EXAMPLES; i++)
        wrong[i] = (labels[i] + 1) % CLASSES;
    harm->job.labels = wrong;
    harm->job.rate = 1;
    good->done = 0;
    good->s = m;
    good->job.kind = SOMA_JOB_ADOPT;
    good->job.force = true;
    /* One right behind the other: the first is judged when the second comes. */
    assert_int_equal(soma_trainer_submit(m->trainer, &harm->job, NULL),
                     SOMA_OK);
    assert_int_equal(soma_trainer_submit(m->trainer, &good->job, NULL),
                     SOMA_OK);
    assert_int_equal(finish_job(harm), SOMA_OK);
    assert_int_equal(finish_job(good), SOMA_OK);
    uint64_t version = good->job.version;
    while (report.guard_good < version) {
        usleep(1000);
        soma_trainer_ask(m->trainer, &report);
        assert_true(report.guard_version <= version);
    }
    assert_int_equal(soma_shelf_current(&m->shelf)->version, version);
    digest_of(m, now);
    assert_string_equal(now, theirs);
    free_job(good);
    free(harm);
    stop(m);
    stop(b);
    soma_memory_free(&guard);
}

/* 5: whatever operation of it fails, once or from then on, and whatever the
 * client was told: the model is as it was, or as the other one is; all that was
 * answered is there; and a new start agrees. */
static void
no_failed_adoption_is_lost_or_half_done(void **state)
{
    static const int errors[] = {EIO, ENOSPC};
    soma_trainer_options options = rehearsing();
    int rounds = 0, refused = 0, written = 0;
    (void)state;
    for (int variant = 0; variant < 4; variant++)
        for (int n = 1, struck = 1; struck; n++, rounds++) {
            char before[SOMA_DIGEST_HEX + 1], theirs[SOMA_DIGEST_HEX + 1],
                now[SOMA_DIGEST_HEX + 1];
            setting *m = start(&options), *b = start_as("b", &options, 1, NULL);
            free(learn(m, 0, 3));
            free(learn(b, 10, 5));
            digest_of(m, before);
            digest_of(b, theirs);
            waiter *w = ask_for_state(b);
            faulty.operations = 0;
            faulty.error = errors[variant / 2];
            faulty.sticky = variant % 2;
            faulty.failed = false;
            faulty.fail_at = n;
            soma_status status = adopt(m, w, true);
            struck = status != SOMA_OK; /* else it is past all of it */
            refused += struck;
            digest_of(m, now);
            assert_string_equal(now, struck ? before : theirs);
            assert_true(struck || w->published == 4);
            free_job(w);
            /* One that cannot even be closed may be found to be written. */
            if (struck && variant == 1)
                free(learn(m, 6, 1));
            faulty_repair();
            free(learn_at_last(m, 7, 1));
            uint64_t version = soma_shelf_current(&m->shelf)->version;
            assert_true(version == 5 || (struck && version == 4));
            written += struck && version == 5;
            digest_of(m, before);
            /* What it went on from is one of the two, whole. */
            uint64_t last;
            assert_int_equal(roll_back(m, version - 1, &last), SOMA_OK);
            digest_of(m, now);
            if (version == 5)
                assert_string_equal(now, theirs);
            assert_int_equal(roll_back(m, version, &last), SOMA_OK);
            digest_of(m, now);
            assert_string_equal(now, before);
            stop(m);
            m = start_again(&options, 1);
            digest_of(m, now);
            assert_string_equal(now, before);
            assert_int_equal(soma_shelf_current(&m->shelf)->version, last);
            expect_replay("m.db", now);
            stop(m);
            stop(b);
            assert_true(n < 100);
        }
    assert_true(refused > 8 && written > 0);
    print_message("%d rounds, %d adoptions refused, %d of them written all the "
                  "same, 0 lost\n",
                  rounds, refused, written);
}

/* ---- Another model file ---- */

static soma_status
status_with(soma_new_base how, uint64_t *version)
{
    soma_trainer_options options = plain;
    soma_trainer_report report;
    options.new_base = how;
    setting *s = start_again(&options, 2);
    soma_trainer_ask(s->trainer, &report);
    *version = soma_shelf_current(&s->shelf)->version;
    soma_status status =
        report.state == SOMA_TRAINER_FAILED ? report.err.status : SOMA_OK;
    stop(s);
    return status;
}

static void
another_base_is_refused_or_dealt_with(void **state)
{
    uint64_t version;
    (void)state;
    setting *s = start(&plain);
    for (int i = 0; i < 10; i++)
        free(learn(s, i, 1));
    assert_int_equal(roll_back(s, 8, &version), SOMA_OK);
    stop(s);
    assert_int_equal(status_with(SOMA_BASE_REFUSE, &version), SOMA_E_CONFLICT);
    assert_int_equal(access(scratch_path("m.db.old-0"), F_OK), -1);
    /* Nor while another program keeps the old one's log from being closed. */
    sqlite3 *reader;
    assert_int_equal(sqlite3_open(scratch_path("m.db"), &reader), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(reader, "SELECT count(*) FROM records", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(status_with(SOMA_BASE_RELEARN, &version), SOMA_E_CONFLICT);
    assert_int_equal(status_with(SOMA_BASE_RESTART, &version), SOMA_E_CONFLICT);
    assert_int_equal(access(scratch_path("m.db.old-0"), F_OK), -1);
    sqlite3_close(reader);
    assert_int_equal(status_with(SOMA_BASE_RELEARN, &version), SOMA_OK);
    assert_int_equal(version, 8); /* not what was undone */
    assert_int_equal(access(scratch_path("m.db.old-0"), F_OK), 0);
    /* The old journal is whole: with the old model it goes on. */
    assert_int_equal(rename(scratch_path("m.db.old-0"), scratch_path("m.db")),
                     0);
    s = start_again(&plain, 1);
    assert_int_equal(soma_shelf_current(&s->shelf)->version, 11);
    stop(s);
    assert_int_equal(status_with(SOMA_BASE_RESTART, &version), SOMA_OK);
    assert_int_equal(version, 0);
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
    setting *s = start(&small);
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
    setting *s = start(&plain);
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
        cmocka_unit_test(a_full_disk_learns_nothing),
        cmocka_unit_test(what_was_learned_ahead_is_unlearned),
        cmocka_unit_test(no_failed_append_is_lost_or_half_done),
        cmocka_unit_test(a_new_start_gives_the_same_bits),
        cmocka_unit_test(rollbacks_can_be_undone),
        cmocka_unit_test(a_repeated_request_is_answered_as_before),
        cmocka_unit_test(a_state_is_taken_over_bit_for_bit),
        cmocka_unit_test(a_start_needs_nothing_before_an_adoption),
        cmocka_unit_test(an_heir_keeps_its_settings),
        cmocka_unit_test(what_is_no_better_is_not_taken_over),
        cmocka_unit_test(a_late_verdict_does_not_undo_a_promotion),
        cmocka_unit_test(no_failed_adoption_is_lost_or_half_done),
        cmocka_unit_test(another_base_is_refused_or_dealt_with),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(stopping_finishes_what_was_taken),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}

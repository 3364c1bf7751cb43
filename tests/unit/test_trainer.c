/* server/engine/trainer.c: its invariants, by their numbers there; and its
 * queue. */
#include "tests/unit/trainers.h"

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

/* ---- The queue ---- */

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
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(stopping_finishes_what_was_taken),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}

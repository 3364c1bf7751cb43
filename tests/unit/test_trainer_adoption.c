/* server/engine/trainer.c: a state that is given away, and taken over by
 * another trainer. */
#include "server/engine/replay.h"
#include "tests/unit/trainers.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_is_taken_over_bit_for_bit),
        cmocka_unit_test(a_start_needs_nothing_before_an_adoption),
        cmocka_unit_test(an_heir_keeps_its_settings),
        cmocka_unit_test(what_is_no_better_is_not_taken_over),
        cmocka_unit_test(a_late_verdict_does_not_undo_a_promotion),
        cmocka_unit_test(no_failed_adoption_is_lost_or_half_done),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}

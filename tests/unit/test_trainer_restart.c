/* server/engine/trainer.c: what a new start, a rollback, a repeated request and
 * another model file make of the journal that is there. */
#include "tests/unit/trainers.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_start_gives_the_same_bits),
        cmocka_unit_test(rollbacks_can_be_undone),
        cmocka_unit_test(a_repeated_request_is_answered_as_before),
        cmocka_unit_test(another_base_is_refused_or_dealt_with),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}

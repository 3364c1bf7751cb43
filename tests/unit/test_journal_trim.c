/* Trimming a journal in a file: what goes, and what others still need. */
#include "tests/unit/journal_files.h"

/* Trims until there is no more; returns the calls. */
static int
trim(soma_journal *j, const soma_journal_policy *policy, int most)
{
    bool more = true;
    int calls = 0;
    while (more) {
        soma_journal_info before = info_of(j);
        OK(j->backend->trim(j, policy, most, &more, &err));
        soma_journal_info after = info_of(j);
        assert_in_range(after.first - before.first + before.keys - after.keys,
                        0, most);
        assert_true(++calls < 1000);
    }
    return calls;
}

static void
test_trim_records(void **state)
{
    (void)state;
    soma_journal *j = create("trim");
    append_examples(j, 1, 100);
    soma_journal_policy policy = {.keep_examples = 10};
    /* No checkpoint: everything is needed. */
    assert_int_equal(trim(j, &policy, 7), 1);
    assert_int_equal(info_of(j).first, 1);
    OK(append_checkpoint(j, 40, 500, 500, 1, &err));
    trim(j, &policy, 7);
    assert_int_equal(info_of(j).first, 41); /* up to the checkpoint */
    OK(append_checkpoint(j, 95, 500, 500, 1, &err));
    OK(append_checkpoint(j, 100, 500, 200, 2, &err)); /* is not complete */
    assert_true(trim(j, &policy, 7) > 7);
    soma_journal_info info = info_of(j);
    assert_int_equal(info.first, 91); /* the last 10 examples */
    assert_int_equal(info.examples, 10);
    uint64_t count = 0;
    assert_int_equal(j->backend->read(j, 89, 100, visit_sample, &count, &err),
                     SOMA_E_NOT_FOUND);
    assert_int_equal(count, 0);
    /* By time, and everything. */
    OK(append_checkpoint(j, 100, 500, 500, 2, &err));
    policy = (soma_journal_policy){.keep_since = 1094};
    trim(j, &policy, 2);
    assert_int_equal(info_of(j).first, 94);
    policy.keep_since = 999999;
    trim(j, &policy, 100);
    info = info_of(j);
    assert_int_equal(info.first, 101);
    assert_int_equal(info.last, 100);
    assert_int_equal(info.examples, 0);
    OK(j->backend->check(j, &err));
    shut(j);
    j = open_again("trim");
    assert_int_equal(info_of(j).last, 100);
    append_examples(j, 101, 1);
    OK(j->backend->check(j, &err));
    shut(j);
    /* Records that vanish without trimming are missed. */
    meddle("trim", "DELETE FROM records");
    j = open_again("trim");
    OK(j->backend->check(j, &err)); /* the very end cannot be told */
    shut(j);
}

/* keep_examples counts examples, not the records between them. */
static void
test_trim_counts_examples(void **state)
{
    (void)state;
    for (uint64_t keep = 1; keep < 40; keep += 3) {
        char name[16];
        snprintf(name, sizeof name, "keep%d", (int)keep);
        soma_journal *j = create(name);
        OK(append_records(j, 1, 37, &err));
        OK(append_checkpoint(j, 37, 100, 100, 1, &err));
        uint64_t before = info_of(j).examples;
        soma_journal_policy policy = {.keep_examples = keep};
        trim(j, &policy, 5);
        assert_int_equal(info_of(j).examples, keep < before ? keep : before);
        OK(j->backend->check(j, &err));
        shut(j);
    }
}

/* A rollback behind the newest checkpoint needs what stands at its target. */
static void
test_trim_rollback(void **state)
{
    (void)state;
    soma_journal *j = create("back");
    append_examples(j, 1, 20);
    OK(append_checkpoint(j, 5, 300, 100, 9, &err));
    OK(append_checkpoint(j, 10, 300, 100, 9, &err));
    OK(append_checkpoint(j, 15, 300, 100, 9, &err));
    OK(append_checkpoint(j, 20, 300, 100, 9, &err));
    soma_record back = {.seq = 21,
                        .kind = SOMA_RECORD_ROLLBACK,
                        .time = 1021,
                        .target = 7,
                        .data = "s",
                        .data_size = 1};
    soma_journal_group group = {.records = &back, .count = 1};
    OK(j->backend->append(j, &group, &err));
    soma_journal_policy policy = {.keep_examples = 1, .keep_checkpoints = 1};
    soma_journal_checkpoint c;
    trim(j, &policy, 3);
    assert_int_equal(info_of(j).first, 6);
    OK(j->backend->checkpoint_find(j, 14, &c, &err)); /* 20 and 15 stay */
    assert_int_equal(c.seq, 5);
    OK(append_checkpoint(j, 21, 300, 100, 9, &err));
    trim(j, &policy, 3);
    assert_int_equal(info_of(j).first, 20); /* the last example */
    OK(j->backend->checkpoint_find(j, 19, &c, &err));
    assert_int_equal(c.seq, 0);
    OK(j->backend->checkpoint_find(j, 20, &c, &err));
    assert_int_equal(c.seq, 20);
    OK(j->backend->check(j, &err));
    shut(j);
}

/* An adoption brings its own state: what is before it is not needed for what
 * comes after it, unless a rollback leads back there. */
static void
test_trim_adoption(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t checkpoint, target; /* 0: none; of a rollback at last */
        uint64_t first;              /* record that is left */
    } cases[] = {
        {"alone", 0, 0, 21},      /* up to the adoption */
        {"covered", 26, 0, 27},   /* up to the checkpoint */
        {"behind", 10, 0, 21},    /* the older one does not matter */
        {"after", 0, 25, 21},     /* to what follows from it */
        {"itself", 0, 21, 21},    /* to itself */
        {"before", 0, 15, 1},     /* to before it, from the base */
        {"before10", 10, 15, 11}, /* from a checkpoint there */
        {"newest", 26, 15, 1},    /* which the newest is not */
        {"at20", 20, 20, 21},     /* to the last before it */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_journal *j = create(cases[i].name);
        append_examples(j, 1, 20);
        if (cases[i].checkpoint && cases[i].checkpoint <= 20)
            OK(append_checkpoint(j, cases[i].checkpoint, 300, 100, 9, &err));
        OK(append_adoption(j, 21, 7, 3000));
        append_examples(j, 22, 8);
        if (cases[i].checkpoint > 20)
            OK(append_checkpoint(j, cases[i].checkpoint, 300, 100, 9, &err));
        soma_record back = {.seq = 30,
                            .kind = SOMA_RECORD_ROLLBACK,
                            .time = 1030,
                            .target = cases[i].target};
        soma_journal_group group = {.records = &back, .count = 1};
        if (cases[i].target)
            OK(j->backend->append(j, &group, &err));
        soma_journal_policy policy = {.keep_examples = 1,
                                      .keep_checkpoints = 1};
        trim(j, &policy, 4);
        if (info_of(j).first != cases[i].first)
            fail_msg("%s: %d is left, expected %d", cases[i].name,
                     (int)info_of(j).first, (int)cases[i].first);
        OK(j->backend->check(j, &err));
        soma_leap leap;
        OK(j->backend->last_leap(j, 29, &leap, &err));
        assert_int_equal(leap.seq, cases[i].first > 21 ? 0 : 21);
        shut(j);
        j = open_again(cases[i].name);
        assert_int_equal(info_of(j).last, cases[i].target ? 30 : 29);
        OK(j->backend->check(j, &err));
        shut(j);
    }
}

/* A checkpoint that is damaged covers nothing. */
static void
test_trim_damaged(void **state)
{
    (void)state;
    soma_journal *j = create("bad");
    append_examples(j, 1, 30);
    for (uint64_t seq = 10; seq <= 30; seq += 5)
        OK(append_checkpoint(j, seq, 3000, 1000, 9, &err));
    shut(j);
    meddle("bad", "UPDATE checkpoint_parts SET data = zeroblob(1000) WHERE id "
                  "IN (SELECT id FROM checkpoints WHERE seq >= 20) AND at = 0");
    j = open_again("bad");
    soma_journal_policy policy = {.keep_examples = 1, .keep_checkpoints = 1};
    soma_journal_checkpoint c;
    soma_bytes bytes;
    trim(j, &policy, 4);
    assert_int_equal(info_of(j).first, 16);
    OK(j->backend->checkpoint_find(j, 19, &c, &err));
    assert_int_equal(c.seq, 15);
    OK(j->backend->checkpoint_read(j, 15, &bytes, &err));
    soma_bytes_free(&bytes);
    OK(j->backend->checkpoint_find(j, 14, &c, &err));
    assert_int_equal(c.seq, 0);
    shut(j);
}

static void
test_trim_keys(void **state)
{
    (void)state;
    soma_journal *j = create("keys");
    append_examples(j, 1, 100);
    for (int i = 1; i <= 50; i++) {
        char text[16];
        snprintf(text, sizeof text, "key %d", i);
        soma_journal_key key = a_key(text, (uint64_t)i * 2 - 1, 1000 + i);
        soma_lesson two[2] = {a_lesson(key.first), a_lesson(key.first + 1)};
        soma_journal_group group = {
            .keys = &key, .key_count = 1, .lessons = two, .lesson_count = 2};
        OK(j->backend->append(j, &group, &err));
    }
    soma_journal_policy policy = {.keep_keys = 30};
    soma_journal_key key;
    soma_lesson lesson;
    bool found;
    assert_true(trim(j, &policy, 6) > 3);
    assert_int_equal(info_of(j).keys, 30);
    policy = (soma_journal_policy){.keys_since = 1041};
    trim(j, &policy, 6);
    assert_int_equal(info_of(j).keys, 10);
    OK(j->backend->find_key(j, "key 40", &key, &found, &err));
    assert_false(found);
    OK(j->backend->find_key(j, "key 41", &key, &found, &err));
    assert_true(found);
    /* Lessons go when neither a record nor a key is left. */
    OK(append_checkpoint(j, 100, 50, 50, 1, &err));
    policy = (soma_journal_policy){.keep_since = 999999};
    trim(j, &policy, 1000);
    OK(j->backend->lessons(j, 80, 1, &lesson, &err));
    assert_int_equal(lesson.version, 0);
    OK(j->backend->lessons(j, 81, 1, &lesson, &err));
    assert_int_equal(lesson.version, 81);
    OK(j->backend->check(j, &err));
    shut(j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_trim_records),  TEST(test_trim_counts_examples),
        TEST(test_trim_rollback), TEST(test_trim_adoption),
        TEST(test_trim_damaged),  TEST(test_trim_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

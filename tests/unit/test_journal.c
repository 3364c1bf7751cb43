/* server/engine/journal.h: the contract, of both backends where it makes
 * sense, and of SQLite's transactions and checkpoints.
 */
#include "tests/unit/journal_files.h"

#include <math.h>

/* ---- Both backends ---- */

static void
in_order(soma_journal *j)
{
    soma_journal_info info = info_of(j);
    assert_int_equal(info.first, 0);
    assert_int_equal(info.last, 0);
    assert_int_equal(info.size, SIZE);
    assert_int_equal(read_all(j, 0), 0);
    OK(append_records(j, 1, 1, &err));
    OK(append_records(j, 2, 30, &err));
    OK(append_records(j, 32, 9, &err));
    assert_int_equal(read_all(j, 0), 40);
    assert_int_equal(read_all(j, 35), 5);
    assert_int_equal(read_all(j, 40), 0);
    uint64_t count = 0;
    OK(j->backend->read(j, 10, 20, visit_sample, &count, &err));
    assert_int_equal(count, 10);
    info = info_of(j);
    assert_int_equal(info.first, 1);
    assert_int_equal(info.last, 40);
    int others = 0;
    for (int seq = 1; seq <= 40; seq++)
        others += seq % 11 == 5 || seq % 7 == 3;
    assert_int_equal(info.examples, 40 - others);
    /* Gaps and repeats are refused, and nothing of their group stays. */
    assert_int_equal(append_records(j, 42, 2, &err), SOMA_E_INTERNAL);
    OK(j->backend->reopen(j, &err));
    assert_int_equal(append_records(j, 40, 1, &err), SOMA_E_INTERNAL);
    OK(j->backend->reopen(j, &err));
    assert_int_equal(read_all(j, 0), 40);
    OK(append_records(j, 41, 1, &err));
    assert_int_equal(read_all(j, 0), 41);
}

/* What a visitor returns ends the reading. */
static soma_status
stop_at_3(const soma_record *record, void *arg, soma_error *error)
{
    int *seen = arg;
    (*seen)++;
    return record->seq == 3 ? soma_error_set(error, SOMA_E_BUSY, "enough")
                            : SOMA_OK;
}

static void
rollbacks(soma_journal *j)
{
    soma_leap leap;
    OK(append_records(j, 1, 40, &err));
    static const int cases[][3] = {{40, 38, 19}, {38, 38, 19}, {37, 27, 13},
                                   {16, 16, 8},  {5, 5, 2},    {4, 0, 0},
                                   {0, 0, 0},    {99, 38, 19}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(j->backend->last_leap(j, (uint64_t)cases[i][0], &leap, &err));
        assert_int_equal(leap.seq, cases[i][1]);
        assert_int_equal(leap.target, cases[i][2]);
        assert_int_equal(leap.kind, leap.seq ? SOMA_RECORD_ROLLBACK : 0);
    }
    int seen = 0;
    assert_int_equal(j->backend->read(j, 0, 40, stop_at_3, &seen, &err),
                     SOMA_E_BUSY);
    assert_int_equal(seen, 3);
    assert_string_equal(err.text, "enough");
    assert_int_equal(read_all(j, 0), 40);
}

static void
values(soma_journal *j)
{
    static const float rows[][SIZE] = {
        {0, 1, 2, 255, 254, 128, 0, 0, 0, 0, 0, 3},
        {0, -0.0f, 1},
        {0.5f},
        {255, 256},
        {1e-38f, 1e-45f, -3.4e38f, 3.4e38f},
        {-1},
        {254.99998f},
        {NAN, INFINITY, -INFINITY},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    soma_record records[ROWS];
    for (int i = 0; i < ROWS; i++)
        records[i] = (soma_record){.seq = (uint64_t)i + 1,
                                   .kind = SOMA_RECORD_EXAMPLE,
                                   .time = -5,
                                   .label = -i,
                                   .rate = 1e-30f,
                                   .x = rows[i]};
    soma_journal_group group = {.records = records, .count = ROWS};
    OK(j->backend->append(j, &group, &err));
}

static soma_status
same_values(const soma_record *record, void *arg, soma_error *error)
{
    char **text = arg;
    char *more = NULL;
    (void)error;
    if (asprintf(&more, "%s|%d %d %a ", *text, (int)record->seq, record->label,
                 (double)record->rate) < 0)
        abort();
    for (int i = 0; i < SIZE; i++) {
        uint32_t bits;
        char *longer = NULL;
        memcpy(&bits, &record->x[i], sizeof bits);
        if (asprintf(&longer, "%s%x ", more, bits) < 0)
            abort();
        free(more);
        more = longer;
    }
    free(*text);
    *text = more;
    return SOMA_OK;
}

static char *
values_text(soma_journal *j)
{
    char *text = strdup("");
    OK(j->backend->read(j, 0, 99, same_values, &text, &err));
    return text;
}

static soma_status
put_lessons(soma_journal *j, const int *versions, int count, float loss)
{
    soma_lesson lessons[64];
    for (int i = 0; i < count; i++) {
        lessons[i] = a_lesson((uint64_t)versions[i]);
        lessons[i].loss = loss;
    }
    soma_journal_group group = {.lessons = lessons, .lesson_count = count};
    return j->backend->append(j, &group, &err);
}

static void
lessons(soma_journal *j)
{
    soma_lesson found[12];
    OK(append_records(j, 1, 40, &err));
    OK(put_lessons(j, (int[]){2, 3, 4, 5, 9, 10}, 6, 1));
    OK(put_lessons(j, (int[]){7}, 1, 2));
    /* Written again: in the middle, over two stretches and a gap. */
    OK(put_lessons(j, (int[]){3}, 1, 3));
    OK(put_lessons(j, (int[]){5, 6, 7, 8, 9}, 5, 4));
    OK(j->backend->lessons(j, 1, 12, found, &err));
    static const float expected[12] = {0, 1, 3, 1, 4, 4, 4, 4, 4, 1, 0, 0};
    for (int i = 0; i < 12; i++) {
        bool there = expected[i] > 0;
        assert_int_equal(found[i].version, there ? i + 1 : 0);
        assert_true(found[i].loss == expected[i]);
        if (there) {
            assert_int_equal(found[i].predicted, (i + 1) % 5);
            assert_int_equal(found[i].steps, (i + 1) % 3);
        }
    }
    OK(j->backend->lessons(j, 10, 2, found, &err));
    assert_int_equal(found[0].version, 10);
    assert_int_equal(found[1].version, 0);
    OK(j->backend->lessons(j, 1000, 2, found, &err));
    assert_int_equal(found[0].version, 0);
}

static void
keys(soma_journal *j)
{
    soma_journal_key put[3] = {a_key("one", 1, 5), a_key("two \xff", 3, 6),
                               a_key("one", 4, 7)};
    soma_journal_key found;
    bool there;
    OK(append_records(j, 1, 5, &err));
    soma_journal_group group = {.keys = put, .key_count = 2};
    OK(j->backend->append(j, &group, &err));
    OK(j->backend->find_key(j, "one", &found, &there, &err));
    assert_true(there);
    assert_memory_equal(&found, &put[0], sizeof found);
    OK(j->backend->find_key(j, "two \xff", &found, &there, &err));
    assert_true(there);
    OK(j->backend->find_key(j, "three", &found, &there, &err));
    assert_false(there);
    group = (soma_journal_group){.keys = put + 2, .key_count = 1};
    OK(j->backend->append(j, &group, &err));
    OK(j->backend->find_key(j, "one", &found, &there, &err));
    assert_memory_equal(&found, &put[2], sizeof found);
    assert_int_equal(info_of(j).keys, 2);
}

static soma_status
visit_adoption(const soma_record *record, void *arg, soma_error *error)
{
    const size_t *size = arg;
    (void)error;
    unsigned char *expected = malloc(*size);
    state_fill(expected, *size, record->seq);
    assert_int_equal(record->kind, SOMA_RECORD_ADOPTION);
    assert_int_equal(record->time, 1000 + (int64_t)record->seq);
    assert_int_equal(record->data_size, *size);
    assert_memory_equal(record->data, expected, *size);
    assert_null(record->x);
    free(expected);
    return SOMA_OK;
}

static void
adoptions(soma_journal *j)
{
    static const size_t sizes[] = {1, 5000, 3 << 20};
    soma_leap leap;
    for (size_t i = 0; i < 3; i++) {
        uint64_t seq = i * 3 + 1;
        size_t size = sizes[i];
        OK(append_adoption(j, seq, 1000 + i, size));
        for (uint64_t k = 1; k <= 2; k++) {
            soma_record back = {.seq = seq + k,
                                .kind = SOMA_RECORD_ROLLBACK,
                                .target = seq - k % 2};
            soma_journal_group group = {.records = &back, .count = 1};
            if (k == 1 || i == 1)
                OK(j->backend->append(j, &group, &err));
            else
                OK(append_records(j, seq + k, 1, &err));
        }
        OK(j->backend->last_leap(j, seq, &leap, &err));
        assert_int_equal(leap.seq, seq);
        assert_int_equal(leap.kind, SOMA_RECORD_ADOPTION);
        assert_int_equal(leap.target, 1000 + i);
        OK(j->backend->last_leap(j, seq + 1, &leap, &err));
        assert_int_equal(leap.kind, SOMA_RECORD_ROLLBACK);
        assert_int_equal(leap.seq, seq + 1);
        OK(j->backend->read(j, seq - 1, seq, visit_adoption, &size, &err));
    }
    OK(j->backend->last_leap(j, 6, &leap, &err));
    assert_int_equal(leap.seq, 6);
    OK(j->backend->last_leap(j, 99, &leap, &err));
    assert_int_equal(leap.seq, 8);
    assert_int_equal(info_of(j).last, 9);
    assert_int_equal(info_of(j).examples, 2 - (3 % 7 == 3));
}

static const soma_journal_base base_of_memory = {.size = SIZE};

static void
test_both(void **state)
{
    (void)state;
    static void (*const contracts[])(soma_journal *) = {
        in_order, rollbacks, values, lessons, keys, adoptions};
    for (size_t i = 0; i < sizeof contracts / sizeof *contracts; i++) {
        char name[16];
        snprintf(name, sizeof name, "both%zu", i);
        soma_journal *j = soma_journal_memory(&base_of_memory, 1 << 16, &err);
        contracts[i](j);
        shut(j);
        j = create(name);
        contracts[i](j);
        OK(j->backend->check(j, &err));
        shut(j);
        j = open_again(name);
        OK(j->backend->check(j, &err));
        shut(j);
    }
}

static void
test_values_exact(void **state)
{
    (void)state;
    soma_journal *memory = soma_journal_memory(&base_of_memory, 1 << 16, &err);
    soma_journal *j = create("values");
    values(memory);
    values(j);
    shut(j);
    j = open_again("values");
    char *a = values_text(memory), *b = values_text(j);
    assert_string_equal(a, b);
    free(a);
    free(b);
    shut(j);
    shut(memory);
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(scratch_path("values"), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT group_concat(encoding, '') FROM records",
                           -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "12222222");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static void
test_memory_ring(void **state)
{
    (void)state;
    soma_journal *j = soma_journal_memory(&base_of_memory, 2000, &err);
    OK(append_records(j, 1, 50, &err));
    soma_journal_info info = info_of(j);
    assert_int_equal(info.last, 50);
    assert_in_range(info.first, 2, 49);
    assert_int_equal(read_all(j, info.first - 1), 51 - info.first);
    uint64_t count = 0;
    assert_int_equal(
        j->backend->read(j, info.first - 2, 50, visit_sample, &count, &err),
        SOMA_E_NOT_FOUND);
    shut(j);
}

/* ---- SQLite: transactions ---- */

static void
test_all_or_nothing(void **state)
{
    (void)state;
    soma_journal *j = create("atomic");
    soma_journal_key key = a_key("key 1", 1, 5);
    soma_lesson lesson = a_lesson(99); /* of no record: refused at the end */
    sample s;
    soma_journal_group group = {.records = sample_make(&s, 1),
                                .count = 1,
                                .keys = &key,
                                .key_count = 1,
                                .lessons = &lesson,
                                .lesson_count = 1};
    assert_int_equal(j->backend->append(j, &group, &err), SOMA_E_INTERNAL);
    /* Broken until it is reopened. */
    assert_int_equal(append_records(j, 1, 1, &err), SOMA_E_INTERNAL);
    assert_non_null(strstr(err.text, "opened again"));
    soma_journal_info info;
    assert_int_equal(j->backend->info(j, &info, &err), SOMA_E_INTERNAL);
    OK(j->backend->reopen(j, &err));
    info = info_of(j);
    assert_int_equal(info.last, 0);
    assert_int_equal(info.keys, 0);
    lesson = a_lesson(1);
    OK(j->backend->append(j, &group, &err));
    OK(j->backend->reopen(j, &err));
    assert_int_equal(read_all(j, 0), 1);
    assert_int_equal(info_of(j).keys, 1);
    shut(j);
}

static void
test_checkpoints(void **state)
{
    (void)state;
    soma_journal *j = create("checkpoints");
    soma_journal_checkpoint c;
    soma_bytes bytes;
    unsigned char expected[5000];
    OK(append_records(j, 1, 20, &err));
    OK(j->backend->checkpoint_find(j, 20, &c, &err));
    assert_int_equal(c.seq, 0);
    OK(append_checkpoint(j, 10, 5000, 999, 99, &err));
    OK(append_checkpoint(j, 20, 5000, 1000, 4, &err)); /* not the last part */
    OK(j->backend->checkpoint_find(j, 20, &c, &err));
    assert_int_equal(c.seq, 10);
    assert_int_equal(c.size, 5000);
    assert_int_equal(c.time, 77);
    OK(j->backend->checkpoint_find(j, 9, &c, &err));
    assert_int_equal(c.seq, 0);
    /* Begun anew, with other bytes to come; the older one of record 10 is
     * there until the new one is complete. */
    OK(append_checkpoint(j, 20, 4000, 4000, 1, &err));
    OK(append_checkpoint(j, 10, 4500, 1000, 3, &err));
    OK(j->backend->checkpoint_read(j, 10, &bytes, &err));
    assert_int_equal(bytes.size, 5000);
    state_fill(expected, 5000, 10);
    assert_memory_equal(bytes.data, expected, 5000);
    soma_bytes_free(&bytes);
    OK(append_checkpoint(j, 10, 4500, 1000, 9, &err));
    OK(j->backend->checkpoint_find(j, 99, &c, &err));
    assert_int_equal(c.seq, 20);
    shut(j);
    j = open_again("checkpoints");
    OK(j->backend->checkpoint_read(j, 10, &bytes, &err));
    assert_int_equal(bytes.size, 4500);
    soma_bytes_free(&bytes);
    OK(j->backend->checkpoint_read(j, 20, &bytes, &err));
    state_fill(expected, 4000, 20);
    assert_memory_equal(bytes.data, expected, 4000);
    soma_bytes_free(&bytes);
    assert_int_equal(j->backend->checkpoint_read(j, 15, &bytes, &err),
                     SOMA_E_NOT_FOUND);
    OK(j->backend->check(j, &err));
    /* A part that follows nothing. */
    soma_journal_part part = {
        .seq = 20, .data = expected, .offset = 10, .size = 10, .total = 30};
    soma_journal_group group = {.part = &part};
    assert_int_equal(j->backend->append(j, &group, &err), SOMA_E_INTERNAL);
    shut(j);
    meddle("checkpoints", "UPDATE checkpoint_parts SET data = "
                          "zeroblob(length(data)) WHERE id IN (SELECT id FROM "
                          "checkpoints WHERE seq = 20)");
    j = open_again("checkpoints");
    assert_int_equal(j->backend->checkpoint_read(j, 20, &bytes, &err),
                     SOMA_E_FORMAT);
    assert_null(bytes.data);
    assert_int_equal(j->backend->check(j, &err), SOMA_E_FORMAT);
    OK(j->backend->checkpoint_read(j, 10, &bytes, &err));
    soma_bytes_free(&bytes);
    shut(j);
}

static void
test_base(void **state)
{
    (void)state;
    soma_journal *j = create("base");
    soma_journal_base base = a_base();
    soma_bytes bytes;
    OK(j->backend->base(j, &bytes, &err));
    assert_int_equal(bytes.size, MODEL);
    assert_memory_equal(bytes.data, base.model, MODEL);
    soma_bytes_free(&bytes);
    soma_journal_info info = info_of(j);
    assert_string_equal(info.base, base.digest);
    assert_int_equal(info.created, base.now);
    assert_true(info.bytes > MODEL);
    shut(j);
    base.model_size = (5 << 19) + 3; /* in three parts */
    base.model = calloc(1, base.model_size);
    j = soma_journal_create(scratch_path("large"), &base, &err);
    assert_non_null(j);
    OK(j->backend->base(j, &bytes, &err));
    assert_int_equal(bytes.size, base.model_size);
    assert_memory_equal(bytes.data, base.model, base.model_size);
    soma_bytes_free(&bytes);
    free((void *)base.model);
    shut(j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both),        TEST(test_values_exact),
        TEST(test_memory_ring), TEST(test_all_or_nothing),
        TEST(test_checkpoints), TEST(test_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

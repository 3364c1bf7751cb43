/* server/engine/journal.h: the contract, of both backends where it makes
 * sense, and of SQLite's file.
 */
#include "tests/unit/journals.h"

#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <unistd.h>

static soma_error err;

#define OK(call)                                                               \
    do {                                                                       \
        if ((call) != SOMA_OK)                                                 \
            fail_msg("%s: %s", #call, err.text);                               \
    } while (0)

static soma_journal *
create(const char *name)
{
    soma_journal_base base = a_base();
    soma_journal *j = soma_journal_create(scratch_path(name), &base, &err);
    if (!j)
        fail_msg("create: %s", err.text);
    return j;
}

static soma_journal *
open_again(const char *name)
{
    soma_journal *j = soma_journal_open(scratch_path(name), false, &err);
    if (!j)
        fail_msg("open: %s", err.text);
    return j;
}

static void
shut(soma_journal *j)
{
    j->backend->close(j);
}

/* Opening must fail with this status, in words that have `word`. */
static void
refuses(const char *path, soma_status status, const char *word)
{
    for (int read_only = 0; read_only < 2; read_only++) {
        soma_journal *j = soma_journal_open(path, read_only, &err);
        assert_null(j);
        if (err.status != status || !strstr(err.text, word))
            fail_msg("%d, expected %d: %s", err.status, status, err.text);
        assert_non_null(strstr(err.text, path));
    }
}

static soma_journal_info
info_of(soma_journal *j)
{
    soma_journal_info info;
    OK(j->backend->info(j, &info, &err));
    return info;
}

static uint64_t
read_all(soma_journal *j, uint64_t after)
{
    uint64_t count = 0;
    OK(j->backend->read(j, after, UINT64_MAX, visit_sample, &count, &err));
    return count;
}

/* Runs SQL on a closed journal, as a foreign tool would. */
static void
meddle(const char *name, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(scratch_path(name), &db), SQLITE_OK);
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

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

/* An adoption carries a state, which may be large, of another model's version,
 * which may be newer than all that is here. */
static soma_status
append_adoption(soma_journal *j, uint64_t seq, uint64_t target, size_t size)
{
    unsigned char *state = malloc(size);
    state_fill(state, size, seq);
    soma_record record = {.seq = seq,
                          .kind = SOMA_RECORD_ADOPTION,
                          .time = 1000 + (int64_t)seq,
                          .target = target,
                          .data = state,
                          .data_size = size};
    soma_journal_group group = {.records = &record, .count = 1};
    soma_status status = j->backend->append(j, &group, &err);
    free(state);
    return status;
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

/* ---- SQLite: trimming ---- */

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

/* Examples only, so that numbers are easy. */
static void
append_examples(soma_journal *j, uint64_t first, int count)
{
    for (int i = 0; i < count; i++) {
        float x[SIZE] = {0};
        soma_record record = {.seq = first + (uint64_t)i,
                              .kind = SOMA_RECORD_EXAMPLE,
                              .time = 1000 + (int64_t)first + i,
                              .x = x};
        soma_journal_group group = {.records = &record, .count = 1};
        OK(j->backend->append(j, &group, &err));
    }
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

/* ---- SQLite: the file ---- */

static void
fill(soma_journal *j)
{
    for (uint64_t seq = 1; seq <= 40; seq += 4) {
        sample samples[4];
        soma_record records[4];
        soma_lesson some[4];
        char text[16];
        snprintf(text, sizeof text, "key %d", (int)seq / 5);
        soma_journal_key key = a_key(text, seq, 5);
        for (uint64_t i = 0; i < 4; i++) {
            records[i] = *sample_make(&samples[i], seq + i);
            some[i] = a_lesson(seq + i);
        }
        soma_journal_group group = {.records = records,
                                    .count = 4,
                                    .keys = &key,
                                    .key_count = 1,
                                    .lessons = some,
                                    .lesson_count = 4};
        OK(j->backend->append(j, &group, &err));
    }
    OK(append_checkpoint(j, 20, 6000, 2500, 9, &err));
    OK(append_checkpoint(j, 30, 6000, 2500, 9, &err));
    OK(append_checkpoint(j, 40, 6000, 2500, 2, &err));
}

static void
test_reopen(void **state)
{
    (void)state;
    soma_journal *j = create("again");
    fill(j);
    char *before = journal_text(j);
    assert_non_null(before);
    OK(j->backend->reopen(j, &err));
    char *after = journal_text(j);
    assert_string_equal(before, after);
    free(after);
    shut(j);
    assert_int_not_equal(access(scratch_path("again-wal"), F_OK), 0);
    /* Read only, while another writes. */
    j = open_again("again");
    soma_journal *reader = soma_journal_open(scratch_path("again"), true, &err);
    assert_non_null(reader);
    after = journal_text(reader);
    assert_string_equal(before, after);
    free(after);
    free(before);
    assert_int_equal(append_records(reader, 41, 1, &err), SOMA_E_INTERNAL);
    OK(append_records(j, 41, 3, &err));
    assert_int_equal(info_of(reader).last, 43);
    assert_int_equal(read_all(reader, 0), 43);
    OK(reader->backend->check(reader, &err));
    /* Two that write: the numbers of one are not those of the other. */
    soma_journal *other = open_again("again");
    OK(append_records(other, 44, 1, &err));
    assert_int_equal(append_records(j, 44, 1, &err), SOMA_E_CONFLICT);
    shut(reader);
    OK(j->backend->reopen(j, &err));
    assert_int_equal(info_of(j).last, 44);
    shut(other);
    shut(j);
}

static void
test_create(void **state)
{
    (void)state;
    soma_journal_base base = a_base();
    soma_journal *j;
    /* What a crash left is replaced. */
    scratch_text("here.new", "half a journal");
    scratch_text("here.new-wal", "x");
    j = create("here");
    shut(j);
    assert_int_not_equal(access(scratch_path("here.new"), F_OK), 0);
    assert_null(soma_journal_create(scratch_path("here"), &base, &err));
    assert_int_equal(err.status, SOMA_E_CONFLICT);
    /* A log whose database is gone is not given to another one. */
    scratch_text("gone-wal", "records");
    assert_null(soma_journal_create(scratch_path("gone"), &base, &err));
    assert_int_equal(err.status, SOMA_E_CONFLICT);
    assert_null(soma_journal_create(scratch_path("no/folder"), &base, &err));
    assert_int_equal(err.status, SOMA_E_IO);
    assert_null(soma_journal_open(scratch_path("none"), false, &err));
    assert_int_equal(err.status, SOMA_E_NOT_FOUND);
    assert_int_not_equal(access(scratch_path("none"), F_OK), 0);
    /* Names that mean something to SQLite. */
    char cwd[PATH_MAX];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch), 0);
    static const char *const names[] = {":memory:", "file:x?mode=memory"};
    for (int i = 0; i < 2; i++) {
        j = soma_journal_create(names[i], &base, &err);
        assert_non_null(j);
        shut(j);
        assert_int_equal(access(names[i], F_OK), 0);
    }
    assert_int_equal(chdir(cwd), 0);
}

static void
test_foreign(void **state)
{
    (void)state;
    refuses(scratch_text("empty", ""), SOMA_E_FORMAT, "empty");
    refuses(scratch_folder("folder"), SOMA_E_FORMAT, "regular");
    refuses(scratch_text("text", "no database at all"), SOMA_E_FORMAT, "not a");
    char noise[8192];
    memset(noise, 'x', sizeof noise);
    refuses(scratch_write("noise", noise, sizeof noise), SOMA_E_FORMAT,
            "not a database");
    meddle("foreign", "CREATE TABLE t (a)");
    refuses(scratch_path("foreign"), SOMA_E_FORMAT, "no journal");
    static const struct {
        const char *sql;
        soma_status status;
        const char *word;
    } cases[] = {
        {"PRAGMA user_version = 2", SOMA_E_UNSUPPORTED, "newer"},
        {"PRAGMA user_version = 0", SOMA_E_FORMAT, "version 0"},
        {"PRAGMA user_version = -1", SOMA_E_FORMAT, "version -1"},
        {"PRAGMA application_id = 1", SOMA_E_FORMAT, "no journal"},
        {"DROP TABLE keys", SOMA_E_FORMAT, "keys"},
        {"DROP INDEX keys_time", SOMA_E_FORMAT, "keys_time"},
        {"CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM keys; END",
         SOMA_E_FORMAT, "trigger"},
        {"CREATE VIEW v AS SELECT 1", SOMA_E_FORMAT, "view"},
        {"DELETE FROM meta", SOMA_E_FORMAT, "description"},
        {"UPDATE meta SET size = 13", SOMA_E_FORMAT, "description"},
        {"DELETE FROM records WHERE seq = 7", SOMA_E_FORMAT, "39 of"},
        {"DELETE FROM records WHERE seq = 1", SOMA_E_FORMAT, "first record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "meddled%zu", i);
        soma_journal *j = create(name);
        OK(append_records(j, 1, 40, &err));
        shut(j);
        meddle(name, cases[i].sql);
        refuses(scratch_path(name), cases[i].status, cases[i].word);
    }
    /* A table of another tool's (Litestream makes two) is no harm. */
    soma_journal *j = create("litestream");
    shut(j);
    meddle("litestream", "CREATE TABLE _litestream_lock (id INTEGER)");
    j = open_again("litestream");
    OK(append_records(j, 1, 1, &err));
    shut(j);
}

static soma_journal *
create_fork(const char *name, const char *origin)
{
    soma_journal_base base = a_base();
    base.origin = origin;
    soma_journal *j = soma_journal_create(scratch_path(name), &base, &err);
    if (!j)
        fail_msg("create: %s", err.text);
    return j;
}

static void
test_origin(void **state)
{
    char longest[SOMA_ORIGIN_MAX + 1];
    (void)state;
    memset(longest, 'o', sizeof longest);
    longest[SOMA_ORIGIN_MAX] = '\0';
    const char *const origins[] = {NULL, "", "a", "an origin's 'name'",
                                   longest};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        char name[16];
        snprintf(name, sizeof name, "origin%zu", i);
        soma_journal *j = create_fork(name, origins[i]);
        const char *expected = origins[i] ? origins[i] : "";
        assert_string_equal(info_of(j).origin, expected);
        OK(append_adoption(j, 1, 5, 9000));
        OK(j->backend->check(j, &err));
        shut(j);
        j = open_again(name);
        assert_string_equal(info_of(j).origin, expected);
        shut(j);
        /* What makes a fork of a model, or a model of a fork, is noticed. */
        meddle(name, "UPDATE meta SET origin = 'x' || origin");
        refuses(scratch_path(name), SOMA_E_FORMAT, "description");
        if (*expected) {
            meddle(name, "UPDATE meta SET origin = ''");
            refuses(scratch_path(name), SOMA_E_FORMAT, "description");
        }
    }
}

/* ---- SQLite: names ---- */

static bool
is_there(const char *name)
{
    return access(scratch_path(name), F_OK) == 0;
}

static void
test_move(void **state)
{
    char from[PATH_MAX], to[PATH_MAX];
    (void)state;
    soma_journal *j = create("m.fork");
    OK(append_records(j, 1, 9, &err));
    shut(j);
    snprintf(from, sizeof from, "%s", scratch_path("m.fork"));
    snprintf(to, sizeof to, "%s", scratch_path("m.db"));
    OK(soma_journal_move(from, to, &err));
    assert_false(is_there("m.fork"));
    j = open_again("m.db");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Nothing is ever replaced. */
    shut(create("m.fork"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_CONFLICT);
    assert_non_null(strstr(err.text, to));
    assert_true(is_there("m.fork"));
    j = open_again("m.db");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Nor is a log that another database has left taken for its own. */
    scratch_text("n.db-wal", "records");
    snprintf(to, sizeof to, "%s", scratch_path("n.db"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_CONFLICT);
    assert_true(is_there("m.fork"));
    assert_false(is_there("n.db"));
    snprintf(to, sizeof to, "%s", scratch_path("o.db"));
    assert_int_equal(soma_journal_move(scratch_path("none"), to, &err),
                     SOMA_E_NOT_FOUND);
    snprintf(to, sizeof to, "%s", scratch_path("no/folder"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_NOT_FOUND);
    assert_true(is_there("m.fork"));
}

static void
test_set_aside(void **state)
{
    char path[PATH_MAX], aside[PATH_MAX];
    (void)state;
    snprintf(path, sizeof path, "%s", scratch_path("s.db"));
    soma_journal *j = create("s.db");
    OK(append_records(j, 1, 9, &err));
    shut(j);
    /* A second name, of the same file; those in use are passed over. */
    scratch_text("s.db.old-1", "something");
    OK(soma_journal_set_aside(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-0"));
    OK(soma_journal_set_aside(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-2"));
    assert_true(is_there("s.db"));
    j = open_again("s.db.old-2");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Retiring takes the first name away. */
    OK(soma_journal_retire(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-3"));
    assert_false(is_there("s.db"));
    assert_true(is_there("s.db.old-3"));
    assert_int_equal(soma_journal_retire(path, aside, sizeof aside, &err),
                     SOMA_E_NOT_FOUND);
    assert_false(is_there("s.db.old-4"));
    j = create("s.db"); /* which is free again */
    assert_int_equal(info_of(j).last, 0);
    shut(j);
}

/* Another program that has the database open keeps SQLite from putting its log
 * into it: then the log goes along, and is not left to the next one of the
 * same name. */
static void
test_retire_while_read(void **state)
{
    char path[PATH_MAX], aside[PATH_MAX];
    sqlite3 *reader;
    (void)state;
    snprintf(path, sizeof path, "%s", scratch_path("r.db"));
    soma_journal *j = create("r.db");
    OK(append_records(j, 1, 5, &err));
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(reader, "SELECT count(*) FROM records", NULL, NULL, NULL),
        SQLITE_OK);
    OK(append_records(j, 6, 20, &err));
    shut(j);
    assert_true(is_there("r.db-wal"));
    OK(soma_journal_retire(path, aside, sizeof aside, &err));
    assert_false(is_there("r.db"));
    assert_false(is_there("r.db-wal"));
    assert_false(is_there("r.db-shm"));
    j = create_fork("r.db", "another");
    assert_int_equal(info_of(j).last, 0);
    OK(append_adoption(j, 1, 3, 5000));
    sqlite3_close(reader);
    OK(append_records(j, 2, 1, &err));
    shut(j);
    j = open_again("r.db");
    assert_int_equal(info_of(j).last, 2);
    OK(j->backend->check(j, &err));
    shut(j);
    j = open_again("r.db.old-0");
    assert_int_equal(read_all(j, 0), 25);
    OK(j->backend->check(j, &err));
    shut(j);
}

/* Rows that are changed are found where they are read. */
static void
test_sums(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "UPDATE records SET label = 8 WHERE seq = 9",
        "UPDATE records SET rate = 0.5 WHERE seq = 9",
        "UPDATE records SET time = 9 WHERE seq = 9",
        "UPDATE records SET x = zeroblob(48) WHERE seq = 9",
        "UPDATE records SET x = zeroblob(11) WHERE seq = 9",
        "UPDATE records SET kind = 3 WHERE seq = 9",
        "UPDATE records SET target = 3 WHERE seq = 5",
        "UPDATE records SET data = x'00' WHERE seq = 3",
        "UPDATE records SET data = zeroblob(length(data)) WHERE seq = 41",
        "UPDATE records SET target = 8 WHERE seq = 41",
        "UPDATE records SET kind = 2 WHERE seq = 41",
        "UPDATE keys SET count = 7 WHERE text = 'key 1'",
        "UPDATE keys SET text = 'key 2' WHERE text = 'key 1'",
        "UPDATE lessons SET last = last + 1 WHERE first = 5",
        "UPDATE lessons SET data = zeroblob(52) WHERE first = 5",
        "UPDATE checkpoints SET seq = 29 WHERE seq = 30",
        "UPDATE checkpoints SET complete = 1",
        "UPDATE base_parts SET data = zeroblob(length(data))",
        "DELETE FROM checkpoint_parts WHERE id = 1 AND at > 0",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "sums%zu", i);
        soma_journal *j = create(name);
        OK(append_records(j, 1, 40, &err));
        soma_journal_key key = a_key("key 1", 1, 5);
        soma_lesson some[4] = {a_lesson(5), a_lesson(6), a_lesson(7),
                               a_lesson(8)};
        soma_journal_group group = {
            .keys = &key, .key_count = 1, .lessons = some, .lesson_count = 4};
        OK(j->backend->append(j, &group, &err));
        OK(append_checkpoint(j, 30, 5000, 3000, 9, &err));
        OK(append_checkpoint(j, 40, 5000, 3000, 1, &err));
        OK(append_adoption(j, 41, 7, 6000));
        shut(j);
        meddle(name, cases[i]);
        j = open_again(name);
        if (j->backend->check(j, &err) != SOMA_E_FORMAT)
            fail_msg("not found: %s", cases[i]);
        shut(j);
    }
}

static size_t
load_file(const char *name, unsigned char **data)
{
    soma_bytes bytes;
    OK(soma_file_read(scratch_path(name), 1 << 26, 0, &bytes, &err));
    *data = bytes.data;
    return bytes.size;
}

static void
test_truncated(void **state)
{
    (void)state;
    soma_journal *j = create("whole");
    fill(j);
    shut(j);
    unsigned char *data;
    size_t size = load_file("whole", &data);
    int cuts = 0;
    for (size_t keep = 0; keep < size;
         keep += keep < 200 || size - keep < 20 ? 1 : 397) {
        const char *path = scratch_write("cut", data, keep);
        refuses(path, SOMA_E_FORMAT, "");
        cuts++;
    }
    print_message("%d cuts, every one refused\n", cuts);
    free(data);
}

/* Position i of a journal is worth a flip: headers are, the origin's name, and
 * samples of the rest. */
static bool
is_tried(const unsigned char *data, size_t size, size_t i)
{
    static const char origin[] = "the origin";
    const unsigned char *at = memmem(data, size, origin, sizeof origin - 1);
    size_t first = (size_t)(at - data);
    return i < 128 || i % 4096 < 24 || i % 61 == 0 ||
           (i >= first && i < first + sizeof origin - 1);
}

static void
test_flips(void **state)
{
    (void)state;
    soma_journal *j = create_fork("flips", "the origin");
    fill(j);
    OK(append_adoption(j, 41, 7, 9000));
    char *expected = journal_text(j);
    shut(j);
    unsigned char *data;
    size_t size = load_file("flips", &data);
    int flips = 0, refused = 0, changed = 0;
    int fd = open(scratch_path("flips"), O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < size; i++) {
        if (!is_tried(data, size, i))
            continue;
        unsigned char was = data[i], is = was ^ (unsigned char)(1 << i % 8);
        assert_int_equal(pwrite(fd, &is, 1, (off_t)i), 1);
        flips++;
        j = soma_journal_open(scratch_path("flips"), i % 3 != 0, &err);
        if (!j || j->backend->check(j, &err) != SOMA_OK) {
            refused++;
            assert_true(err.status == SOMA_E_FORMAT ||
                        err.status == SOMA_E_UNSUPPORTED);
        } else {
            char *text = journal_text(j);
            if (!text || strcmp(text, expected) != 0) {
                print_message("byte %zu changes what is read\n", i);
                changed++;
            }
            free(text);
        }
        if (j)
            shut(j);
        /* All of it: one that is open to be written may have been. */
        unlink(scratch_path("flips-wal"));
        unlink(scratch_path("flips-shm"));
        unlink(scratch_path("flips-journal"));
        assert_int_equal(pwrite(fd, data, size, 0), size);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
    }
    close(fd);
    free(data);
    free(expected);
    print_message("%d flips: %d refused, %d without effect, %d unnoticed\n",
                  flips, refused, flips - refused - changed, changed);
    assert_int_equal(changed, 0);
    assert_true(refused > flips / 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_both),
        TEST(test_values_exact),
        TEST(test_memory_ring),
        TEST(test_all_or_nothing),
        TEST(test_checkpoints),
        TEST(test_base),
        TEST(test_trim_records),
        TEST(test_trim_counts_examples),
        TEST(test_trim_rollback),
        TEST(test_trim_adoption),
        TEST(test_trim_damaged),
        TEST(test_trim_keys),
        TEST(test_reopen),
        TEST(test_create),
        TEST(test_foreign),
        TEST(test_origin),
        TEST(test_move),
        TEST(test_set_aside),
        TEST(test_retire_while_read),
        TEST(test_sums),
        TEST(test_truncated),
        TEST(test_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

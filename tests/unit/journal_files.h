/* Journals in files, as SQLite has them: made, filled, opened again, and
 * meddled with.
 */
#ifndef SOMA_TESTS_UNIT_JOURNAL_FILES_H
#define SOMA_TESTS_UNIT_JOURNAL_FILES_H

#include "tests/unit/journal_calls.h"

#include <sqlite3.h>
#include <unistd.h>

static inline soma_journal *
create_fork(const char *name, const char *origin)
{
    soma_journal_base base = a_base();
    base.origin = origin;
    soma_journal *j = soma_journal_create(scratch_path(name), &base, &err);
    if (!j)
        fail_msg("create: %s", err.text);
    return j;
}

static inline soma_journal *
create(const char *name)
{
    return create_fork(name, NULL);
}

static inline soma_journal *
open_again(const char *name)
{
    soma_journal *j = soma_journal_open(scratch_path(name), false, &err);
    if (!j)
        fail_msg("open: %s", err.text);
    return j;
}

/* Opening must fail with this status, in words that have `word`. */
static inline void
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

/* Runs SQL on a closed journal, as a foreign tool would. */
static inline void
meddle(const char *name, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(scratch_path(name), &db), SQLITE_OK);
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s: %s", sql, text);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline void
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

/* An adoption carries a state, which may be large, of another model's version,
 * which may be newer than all that is here. */
static inline soma_status
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

/* Examples only, so that numbers are easy. */
static inline void
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)

#endif

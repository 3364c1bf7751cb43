/* Opening. A journal is one SQLite database in WAL mode, synchronous=FULL: a
 * commit has been fsynced when it returns. application_id is 'soma',
 * user_version the version of the schema (1). The tables are in `schema`
 * below; what their columns mean beyond their names:
 *
 *     meta              one row. trimmed: records 1 .. trimmed are gone;
 *                       origin: name of the model that it is a fork of;
 *                       settings: learning began with (learner_state.c)
 *     base_parts        the model file's bytes, in parts of 1 MiB, at offsets
 *     records           encoding 1: x are bytes, 2: float32, little endian;
 *                       columns that the kind has no use for are NULL
 *     keys              Idempotency-Key, fingerprint of its request
 *     lessons           journal_sqlite_lessons.c
 *     checkpoints       complete 0: being written, or given up
 *     checkpoint_parts  its bytes, at offsets
 *
 * `sum` is the CRC-32 of a row's other fields (journal_sqlite_sum.c), so that
 * a flipped bit is found where it is read, whatever SQLite makes of it.
 * Models and checkpoints have a SHA-256 instead.
 *
 * What opening checks: that the file is not empty and not cut, that it is a
 * journal of a version known here, that its tables are those of the schema,
 * that meta and the ends of records agree. Files below SMALL also go through
 * quick_check and are counted; for larger ones that would hold up the start
 * (every page is read), and how the last run ended tells nothing about them:
 * a crash is what the write-ahead log is for. `check` reads all of it.
 *
 * The write-ahead log is moved into the database and emptied at once. After a
 * killed process it may have ended with pages that were never fsynced, and
 * nothing may be built upon those.
 */
#include "server/engine/journal_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/engine/journal_sqlite_schema.h"

enum { SMALL = 64 << 20 };

static const char settings[] = "PRAGMA cell_size_check = ON;"
                               "PRAGMA mmap_size = 0;"
                               "PRAGMA temp_store = MEMORY;"
                               "PRAGMA locking_mode = NORMAL;"
                               "PRAGMA secure_delete = FAST;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA wal_autocheckpoint = 1000;"
                               "PRAGMA journal_size_limit = 16777216;";

/* All columns of a table, in the order of the schema. */
#define RECORD "seq, kind, time, label, rate, target, encoding, x, data, sum"
#define KEY    "text, fingerprint, first, count, time, sum"

static const char *const texts[SOMA_DB_QUERIES] = {
    [SOMA_DB_BEGIN] = "BEGIN IMMEDIATE",
    [SOMA_DB_COMMIT] = "COMMIT",
    [SOMA_DB_ROLLBACK] = "ROLLBACK",
    [SOMA_DB_META] = "SELECT base, size, created, model_size, model_digest, "
                     "trimmed, sum, settings, origin FROM meta WHERE "
                     "id = 1",
    [SOMA_DB_META_TRIM] = "UPDATE meta SET trimmed = ?1, sum = ?2 WHERE id = 1",
    [SOMA_DB_BASE] = "SELECT at, data FROM base_parts ORDER BY at",
    [SOMA_DB_RECORD_PUT] = "INSERT INTO records (" RECORD ") "
                           "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SOMA_DB_RECORD_READ] = "SELECT " RECORD " FROM records "
                            "WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
    [SOMA_DB_RECORD_LAST] = "SELECT (SELECT min(seq) FROM records), "
                            "(SELECT max(seq) FROM records)",
    [SOMA_DB_RECORD_TIMES] = "SELECT seq, time FROM records WHERE seq >= ?1 "
                             "AND seq <= ?2 ORDER BY seq",
    [SOMA_DB_RECORD_TRIM] = "DELETE FROM records WHERE seq <= ?1",
    [SOMA_DB_OTHERS] = "SELECT count(*) FROM records INDEXED BY records_others "
                       "WHERE kind <> 1 AND seq >= ?1",
    [SOMA_DB_LAST_LEAP] = "SELECT " RECORD " FROM records "
                          "INDEXED BY records_others WHERE kind <> 1 "
                          "AND kind IN (2, 4) AND seq <= ?1 "
                          "ORDER BY seq DESC LIMIT 1",
    [SOMA_DB_KEY_PUT] = "INSERT INTO keys (" KEY ") VALUES (?1, ?2, ?3, ?4, "
                        "?5, ?6) ON CONFLICT (text) DO NOTHING",
    [SOMA_DB_KEY_REPLACE] = "UPDATE keys SET fingerprint = ?2, first = ?3, "
                            "count = ?4, time = ?5, sum = ?6 WHERE text = ?1",
    [SOMA_DB_KEY_FIND] = "SELECT " KEY " FROM keys WHERE text = ?1",
    [SOMA_DB_KEY_COUNT] = "SELECT count(*) FROM keys",
    [SOMA_DB_KEY_OLDEST] =
        "SELECT first FROM keys ORDER BY time, first LIMIT 1",
    [SOMA_DB_KEY_TRIM] = "DELETE FROM keys WHERE text IN (SELECT text FROM "
                         "keys ORDER BY time, first LIMIT ?1)",
    [SOMA_DB_KEY_TRIM_OLD] =
        "DELETE FROM keys WHERE text IN (SELECT text FROM keys "
        "WHERE time < ?2 ORDER BY time, first LIMIT ?1)",
    [SOMA_DB_LESSON_PUT] =
        "INSERT INTO lessons (first, last, data, sum) VALUES (?1, ?2, ?3, ?4)",
    [SOMA_DB_LESSON_READ] =
        "SELECT first, last, data, sum FROM lessons WHERE first >= "
        "coalesce((SELECT max(first) FROM lessons WHERE first <= ?1), ?1) "
        "AND first <= ?2 AND last >= ?1 ORDER BY first",
    [SOMA_DB_LESSON_DROP] = "DELETE FROM lessons WHERE first = ?1",
    [SOMA_DB_LESSON_LAST] =
        "SELECT last FROM lessons ORDER BY first DESC LIMIT 1",
    [SOMA_DB_LESSON_TRIM] =
        "DELETE FROM lessons WHERE first IN (SELECT first FROM lessons "
        "WHERE first < ?1 AND last < ?1 ORDER BY first LIMIT ?2)",
    [SOMA_DB_CHECKPOINT_PUT] =
        "INSERT OR REPLACE INTO checkpoints (id, seq, time, size, digest, "
        "complete, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SOMA_DB_CHECKPOINT_LIST] =
        "SELECT id, seq, time, size, digest, complete, sum FROM checkpoints "
        "ORDER BY seq DESC, id DESC",
    [SOMA_DB_CHECKPOINT_LAST] =
        "SELECT max(coalesce((SELECT max(id) FROM checkpoints), 0), "
        "coalesce((SELECT max(id) FROM checkpoint_parts), 0))",
    [SOMA_DB_CHECKPOINT_SAME] =
        "DELETE FROM checkpoints WHERE seq = ?1 AND id <> ?2",
    [SOMA_DB_CHECKPOINT_DROP] = "DELETE FROM checkpoints WHERE id = ?1",
    [SOMA_DB_CHECKPOINT_LEFT] =
        "DELETE FROM checkpoints WHERE complete = 0 AND id <> ?1",
    [SOMA_DB_PART_PUT] =
        "INSERT INTO checkpoint_parts (id, at, data) VALUES (?1, ?2, ?3)",
    [SOMA_DB_PART_READ] =
        "SELECT at, data FROM checkpoint_parts WHERE id = ?1 ORDER BY at",
    [SOMA_DB_PART_TRIM] =
        "DELETE FROM checkpoint_parts WHERE rowid IN (SELECT rowid FROM "
        "checkpoint_parts WHERE id NOT IN (SELECT id FROM checkpoints) "
        "LIMIT ?1)",
};

/* ---- The file ---- */

static soma_status
look_at_file(const soma_db *db, off_t *size, soma_error *err)
{
    struct stat st;
    if (stat(db->path, &st))
        return soma_error_errno(err, "opening", db->path);
    if (!S_ISREG(st.st_mode))
        return soma_error_set(err, SOMA_E_FORMAT, "%s: not a regular file",
                              db->path);
    if (st.st_size == 0)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: empty, which a journal never is", db->path);
    *size = st.st_size;
    return SOMA_OK;
}

/* SQLite itself misses a cut within the last page. As long as the log holds
 * pages, the file may be shorter. */
static soma_status
check_length(soma_db *db, soma_error *err)
{
    struct stat st;
    char log[4096];
    int64_t pages = 0, page = 0;
    off_t size = 0;
    snprintf(log, sizeof log, "%s-wal", db->path);
    if (!stat(log, &st) && st.st_size > 0)
        return SOMA_OK;
    soma_status status =
        soma_sql_number(&db->sql, "PRAGMA page_count", &pages, err);
    if (!status)
        status = soma_sql_number(&db->sql, "PRAGMA page_size", &page, err);
    if (!status)
        status = look_at_file(db, &size, err);
    if (!status && size < pages * page)
        status = soma_error_set(
            err, SOMA_E_FORMAT, "%s: cut off: %lld bytes, it should have %lld",
            db->path, (long long)size, (long long)(pages * page));
    return status;
}

/* ---- What it is ---- */

static soma_status
check_identity(soma_db *db, soma_error *err)
{
    int64_t id = 0, version = 0;
    soma_status status =
        soma_sql_number(&db->sql, "PRAGMA application_id", &id, err);
    if (!status && id != SOMA_DB_APPLICATION)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: a database, but no journal of soma's",
                              db->path);
    if (!status)
        status =
            soma_sql_number(&db->sql, "PRAGMA user_version", &version, err);
    if (!status && version < 1)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: damaged: it has version %lld", db->path,
                              (long long)version);
    if (!status && db->read_only && version < SOMA_DB_VERSION)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "%s: of an older soma, and not to be changed: "
                              "serve it once to bring it up to date",
                              db->path);
    return status;
}

static soma_status
write_ahead(soma_db *db, soma_error *err)
{
    char mode[16];
    soma_status status = soma_sql_word(&db->sql, "PRAGMA journal_mode = WAL",
                                       mode, sizeof mode, err);
    if (!status && strcmp(mode, "wal") != 0)
        status = soma_error_set(err, SOMA_E_IO,
                                "%s: no write-ahead log can be kept there "
                                "(journal_mode stays %s)",
                                db->path, mode);
    return status;
}

/* Somebody who reads may hold the log; then a log that has just been written
 * by others is no worse than before, but after a failed fsync it is. */
static soma_status
empty_log(soma_db *db, soma_error *err)
{
    bool emptied = false;
    soma_status status = soma_sql_checkpoint(&db->sql, &emptied, err);
    if (!status && !emptied && db->broken)
        status = soma_error_set(err, SOMA_E_BUSY,
                                "%s: another process reads it, so that what "
                                "was written cannot be made safe",
                                db->path);
    return status;
}

static soma_status
prepare_all(soma_db *db, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 0; i < SOMA_DB_QUERIES && !status; i++) {
        bool begin = i == SOMA_DB_BEGIN && db->read_only;
        status = soma_sql_prepare(&db->queries[i], &db->sql,
                                  begin ? "BEGIN" : texts[i], err);
    }
    return status;
}

/* ---- Its state ---- */

uint32_t
soma_db_sum_meta(const soma_db_meta *meta, uint64_t trimmed)
{
    uint32_t sum = soma_db_sum_bytes(0, meta->base, strlen(meta->base));
    sum = soma_db_sum_int(sum, meta->size);
    sum = soma_db_sum_int(sum, meta->created);
    sum = soma_db_sum_int(sum, (int64_t)meta->model_size);
    sum = soma_db_sum_bytes(sum, meta->model_digest, sizeof meta->model_digest);
    sum = soma_db_sum_bytes(sum, meta->settings, sizeof meta->settings);
    sum = soma_db_sum_bytes(sum, meta->origin, strlen(meta->origin));
    return soma_db_sum_int(sum, (int64_t)trimmed);
}

static soma_status
load_meta(soma_db *db, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_META);
    soma_db_meta meta = {0};
    size_t size = 0;
    bool found;
    soma_status status = soma_sql_step(query, &found, err);
    if (status)
        return status;
    if (found) {
        snprintf(meta.base, sizeof meta.base, "%s", soma_sql_text(query, 0));
        snprintf(meta.origin, sizeof meta.origin, "%s",
                 soma_sql_text(query, 8));
        meta.size = (int)soma_sql_int(query, 1);
        meta.created = soma_sql_int(query, 2);
        meta.model_size = (size_t)soma_sql_int(query, 3);
        const void *digest = soma_sql_bytes(query, 4, &size);
        if (size == sizeof meta.model_digest)
            memcpy(meta.model_digest, digest, size);
        const void *learning = soma_sql_bytes(query, 7, &size);
        if (size == sizeof meta.settings)
            memcpy(meta.settings, learning, size);
        db->state.trimmed = (uint64_t)soma_sql_int(query, 5);
        found = soma_sql_int(query, 6) ==
                soma_db_sum_meta(&meta, db->state.trimmed);
    }
    soma_sql_reset(query);
    if (!found || meta.size < 1)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: damaged: its description is not as it was "
                              "written",
                              db->path);
    db->meta = meta;
    return SOMA_OK;
}

static soma_status
ask_number(soma_db *db, soma_db_query which, int64_t *number, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, which);
    bool found;
    soma_status status = soma_sql_step(query, &found, err);
    *number = found ? soma_sql_int(query, 0) : 0;
    soma_sql_reset(query);
    return status;
}

static soma_status
load_ends(soma_db *db, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_RECORD_LAST);
    soma_db_state *state = &db->state;
    bool found;
    soma_status status = soma_sql_step(query, &found, err);
    if (status)
        return status;
    uint64_t first = (uint64_t)soma_sql_int(query, 0);
    state->last = (uint64_t)soma_sql_int(query, 1);
    soma_sql_reset(query);
    if (state->last == 0)
        state->last = state->trimmed;
    else if (first != state->trimmed + 1)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: damaged: its first record is %llu, it "
                              "should be %llu",
                              db->path, (unsigned long long)first,
                              (unsigned long long)state->trimmed + 1);
    return SOMA_OK;
}

soma_status
soma_db_load_state(soma_db *db, soma_error *err)
{
    soma_db_state *state = &db->state;
    int64_t keys = 0, lessons = 0, checkpoint = 0;
    *state = (soma_db_state){0};
    soma_status status = load_meta(db, err);
    if (!status)
        status = load_ends(db, err);
    if (!status)
        status = soma_db_count_others(db, 0, &state->others, err);
    if (!status)
        status = ask_number(db, SOMA_DB_KEY_COUNT, &keys, err);
    if (!status)
        status = ask_number(db, SOMA_DB_LESSON_LAST, &lessons, err);
    if (!status)
        status = ask_number(db, SOMA_DB_CHECKPOINT_LAST, &checkpoint, err);
    state->keys = (uint64_t)keys;
    state->lesson_last = (uint64_t)lessons;
    state->checkpoint = checkpoint;
    return status;
}

static soma_status
count_records(soma_db *db, soma_error *err)
{
    int64_t count = 0;
    uint64_t expected = db->state.last - db->state.trimmed;
    soma_status status =
        soma_sql_number(&db->sql, "SELECT count(*) FROM records", &count, err);
    if (!status && (uint64_t)count != expected)
        status = soma_error_set(
            err, SOMA_E_FORMAT,
            "%s: damaged: %lld of the records %llu to %llu are there", db->path,
            (long long)count, (unsigned long long)db->state.trimmed + 1,
            (unsigned long long)db->state.last);
    return status;
}

/* ---- All of it ---- */

static soma_status
open_database(soma_db *db, soma_error *err)
{
    soma_status status =
        soma_sql_open(&db->sql, db->path,
                      db->read_only ? SOMA_SQL_READ : SOMA_SQL_WRITE, err);
    if (!status)
        status = soma_sql_execute(&db->sql, settings, err);
    if (!status)
        status = check_identity(db, err);
    if (!status && !db->read_only)
        status = write_ahead(db, err);
    if (!status)
        status =
            soma_sql_migrate(&db->sql, soma_db_schema, SOMA_DB_VERSION, err);
    if (!status)
        status =
            soma_sql_compare(&db->sql, soma_db_schema, SOMA_DB_VERSION, err);
    if (!status && !db->read_only)
        status = empty_log(db, err);
    return status;
}

/* In one transaction when it is only read, because others may write. */
static soma_status
load(soma_db *db, off_t size, soma_error *err)
{
    soma_status status = prepare_all(db, err);
    if (!status && db->read_only)
        status = soma_sql_run(soma_db_ask(db, SOMA_DB_BEGIN), err);
    if (!status)
        status = soma_db_load_state(db, err);
    if (!status && size < SMALL)
        status = count_records(db, err);
    if (soma_sql_pending(&db->sql))
        soma_sql_run(soma_db_ask(db, SOMA_DB_COMMIT), NULL);
    return status;
}

soma_status
soma_db_open(soma_db *db, soma_error *err)
{
    off_t size = 0;
    soma_status status = look_at_file(db, &size, err);
    if (!status)
        status = open_database(db, err);
    if (!status)
        status = check_length(db, err);
    if (!status && size < SMALL)
        status = soma_sql_verify(&db->sql, true, err);
    if (!status)
        status = load(db, size, err);
    if (status)
        soma_db_close(db);
    return status;
}

void
soma_db_close(soma_db *db)
{
    for (int i = 0; i < SOMA_DB_QUERIES; i++)
        soma_sql_free(&db->queries[i]);
    soma_sql_close(&db->sql);
}

/* The journal as an SQLite database (its schema: journal_sqlite_open.c).
 *
 * Invariants:
 *
 * 1. A group is one transaction; append answers SOMA_OK only after COMMIT has,
 *    which is after the fsync of the write-ahead log.
 * 2. `state` is what the committed rows add up to: a transaction works on
 *    `next`, which becomes `state` with its commit.
 * 3. After a failure that may have left something in the log, the journal is
 *    broken: nothing is read or written until it is reopened, which puts all
 *    that is there into the database and fsyncs that.
 */
#include "server/engine/journal_sqlite.h"
#include "server/engine/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static soma_db *
db_of(soma_journal *journal)
{
    return (soma_db *)journal;
}

/* ---- Brackets ---- */

static soma_status
check_usable(const soma_db *db, soma_error *err)
{
    if (db->sql.db && !db->broken)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_INTERNAL,
                          "%s: a write failed before: the journal has to be "
                          "opened again first",
                          db->path);
}

soma_status
soma_db_enter(soma_db *db, soma_error *err)
{
    soma_status status = check_usable(db, err);
    if (status || !db->read_only || soma_sql_pending(&db->sql))
        return status;
    status = soma_sql_run(soma_db_ask(db, SOMA_DB_BEGIN), err);
    if (!status) {
        status = soma_db_load_state(db, err);
        if (status)
            soma_db_leave(db, status);
    }
    return status;
}

soma_status
soma_db_leave(soma_db *db, soma_status status)
{
    if (db->read_only && soma_sql_pending(&db->sql))
        soma_sql_run(soma_db_ask(db, SOMA_DB_COMMIT), NULL);
    return status;
}

soma_status
soma_db_begin(soma_db *db, soma_error *err)
{
    soma_status status = check_usable(db, err);
    if (!status && db->read_only)
        status = soma_error_set(err, SOMA_E_INTERNAL,
                                "%s: was opened only to be read", db->path);
    if (status)
        return status;
    db->next = db->state;
    status = soma_sql_run(soma_db_ask(db, SOMA_DB_BEGIN), err);
    db->broken = status && status != SOMA_E_NO_SPACE;
    return status;
}

soma_status
soma_db_end(soma_db *db, soma_status status, soma_error *err)
{
    if (!status)
        status = soma_sql_run(soma_db_ask(db, SOMA_DB_COMMIT), err);
    if (!status) {
        db->state = db->next;
        return SOMA_OK;
    }
    /* After most failures SQLite has rolled back by itself. */
    bool undone = !soma_sql_pending(&db->sql) ||
                  !soma_sql_run(soma_db_ask(db, SOMA_DB_ROLLBACK), NULL);
    db->broken = !undone || status != SOMA_E_NO_SPACE;
    if (!undone && status == SOMA_E_NO_SPACE)
        status = soma_error_set(err, SOMA_E_IO,
                                "%s: the disk is full, and what was begun "
                                "could not be undone",
                                db->path);
    return status;
}

/* ---- The backend ---- */

static soma_status
sqlite_append(soma_journal *journal, const soma_journal_group *group,
              soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_begin(db, err);
    if (status)
        return status;
    for (int i = 0; i < group->count && !status; i++) {
        status = soma_db_put_record(db, &group->records[i], err);
        soma_share_give();
    }
    for (int i = 0; i < group->key_count && !status; i++)
        status = soma_db_put_key(db, &group->keys[i], err);
    if (!status && group->lesson_count > 0)
        status =
            soma_db_put_lessons(db, group->lessons, group->lesson_count, err);
    if (!status && group->part)
        status = soma_db_put_part(db, group->part, err);
    return soma_db_end(db, status, err);
}

static soma_status
sqlite_reopen(soma_journal *journal, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_db_close(db);
    db->broken = true; /* so that the log has to be emptied */
    soma_status status = soma_db_open(db, err);
    if (!status && db->meta.size != journal->size) {
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "%s: another journal now: of %d values, not %d",
                                db->path, db->meta.size, journal->size);
        soma_db_close(db);
    }
    memset(db->verified, 0, sizeof db->verified);
    db->broken = status != SOMA_OK;
    return status;
}

static size_t
bytes_on_disk(const soma_db *db)
{
    struct stat st;
    char log[4096];
    size_t bytes = 0;
    snprintf(log, sizeof log, "%s-wal", db->path);
    if (!stat(db->path, &st))
        bytes += (size_t)st.st_size;
    if (!stat(log, &st))
        bytes += (size_t)st.st_size;
    return bytes;
}

static soma_status
sqlite_info(soma_journal *journal, soma_journal_info *info, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    const soma_db_state *state = &db->state;
    *info = (soma_journal_info){
        .first = state->last ? state->trimmed + 1 : 0,
        .last = state->last,
        .examples = state->last - state->trimmed - state->others,
        .keys = state->keys,
        .created = db->meta.created,
        .bytes = bytes_on_disk(db),
        .size = db->meta.size,
    };
    memcpy(info->base, db->meta.base, sizeof info->base);
    memcpy(info->origin, db->meta.origin, sizeof info->origin);
    memcpy(info->settings, db->meta.settings, sizeof info->settings);
    return soma_db_leave(db, SOMA_OK);
}

static soma_status
sqlite_read(soma_journal *journal, uint64_t after, uint64_t upto,
            soma_journal_visit visit, void *arg, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(
        db, soma_db_read_records(db, after, upto, visit, arg, err));
}

static soma_status
sqlite_last_leap(soma_journal *journal, uint64_t upto, soma_leap *leap,
                 soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db, soma_db_last_leap(db, upto, leap, err));
}

static soma_status
sqlite_find_key(soma_journal *journal, const char *text, soma_journal_key *key,
                bool *found, soma_error *err)
{
    soma_db *db = db_of(journal);
    *found = false;
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db, soma_db_find_key(db, text, key, found, err));
}

static soma_status
sqlite_lessons(soma_journal *journal, uint64_t first, int count,
               soma_lesson *lessons, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db,
                         soma_db_read_lessons(db, first, count, lessons, err));
}

static soma_status
sqlite_checkpoint_find(soma_journal *journal, uint64_t upto,
                       soma_journal_checkpoint *checkpoint, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_db_checkpoint c;
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    status = soma_db_leave(db, soma_db_find_checkpoint(db, upto, &c, err));
    if (!status)
        *checkpoint = (soma_journal_checkpoint){c.seq, c.time, c.size};
    return status;
}

/* Of the newest checkpoint of this very record. */
static soma_status
read_state(soma_db *db, uint64_t seq, soma_bytes *state, soma_error *err)
{
    soma_db_checkpoint c;
    soma_status status = soma_db_find_checkpoint(db, seq, &c, err);
    if (status)
        return status;
    if (!c.id || c.seq != seq)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: no checkpoint of record %llu", db->path,
                              (unsigned long long)seq);
    *state = (soma_bytes){malloc(c.size + 1), c.size};
    if (!state->data)
        return soma_error_memory(err, "a checkpoint");
    state->data[c.size] = '\0';
    status = soma_db_read_checkpoint(db, &c, state->data, err);
    if (status)
        soma_bytes_free(state);
    return status;
}

static soma_status
sqlite_checkpoint_read(soma_journal *journal, uint64_t seq, soma_bytes *state,
                       soma_error *err)
{
    soma_db *db = db_of(journal);
    *state = (soma_bytes){NULL, 0};
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db, read_state(db, seq, state, err));
}

static soma_status
sqlite_base(soma_journal *journal, soma_bytes *model, soma_error *err)
{
    soma_db *db = db_of(journal);
    *model = (soma_bytes){NULL, 0};
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db, soma_db_read_base(db, model, err));
}

static soma_status
sqlite_trim(soma_journal *journal, const soma_journal_policy *policy, int most,
            bool *more, soma_error *err)
{
    soma_db *db = db_of(journal);
    *more = false;
    soma_status status = soma_db_begin(db, err);
    if (status)
        return status;
    status = soma_db_trim(db, policy, most, more, err);
    return soma_db_end(db, status, err);
}

static soma_status
sqlite_check(soma_journal *journal, soma_error *err)
{
    soma_db *db = db_of(journal);
    soma_status status = soma_db_enter(db, err);
    if (status)
        return status;
    return soma_db_leave(db, soma_db_check(db, err));
}

static void
sqlite_close(soma_journal *journal)
{
    soma_db *db = db_of(journal);
    soma_db_close(db);
    free(db->packed);
    free(db->x);
    free(db->path);
    free(db);
}

static const soma_journal_backend backend = {
    .name = "sqlite",
    .durable = true,
    .append = sqlite_append,
    .reopen = sqlite_reopen,
    .info = sqlite_info,
    .read = sqlite_read,
    .last_leap = sqlite_last_leap,
    .find_key = sqlite_find_key,
    .lessons = sqlite_lessons,
    .checkpoint_find = sqlite_checkpoint_find,
    .checkpoint_read = sqlite_checkpoint_read,
    .base = sqlite_base,
    .trim = sqlite_trim,
    .check = sqlite_check,
    .close = sqlite_close,
};

soma_journal *
soma_journal_open(const char *path, bool read_only, soma_error *err)
{
    soma_db *db = calloc(1, sizeof *db);
    if (!db || !(db->path = strdup(path))) {
        free(db);
        soma_error_memory(err, "a journal");
        return NULL;
    }
    db->journal.backend = &backend;
    db->read_only = read_only;
    soma_status status = soma_db_open(db, err);
    if (!status) {
        size_t size = (size_t)db->meta.size, bytes = size * sizeof(float);
        db->journal.size = db->meta.size;
        db->packed = malloc(bytes);
        db->x = malloc(size * sizeof(float));
        if (!db->packed || !db->x)
            status = soma_error_memory(err, "a journal's example");
    }
    if (!status)
        return &db->journal;
    sqlite_close(&db->journal);
    return NULL;
}

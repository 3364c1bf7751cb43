#include "server/engine/sql.h"

#include "server/engine/share.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_MS = 5000 };

/* ---- Memory ----
 *
 * The check for damage tells of a page that there was no memory for as of a
 * damaged one, mostly without a code. So it is asked of SQLite's allocations
 * whether there was none, on this thread.
 */

static _Thread_local bool is_short;
static sqlite3_mem_methods plain;

static void *
take(int size)
{
    void *memory = plain.xMalloc(size);
    is_short = is_short || !memory;
    return memory;
}

static void *
resize(void *old, int size)
{
    void *memory = plain.xRealloc(old, size);
    is_short = is_short || !memory;
    return memory;
}

/* Before SQLite is used for anything else. */
__attribute__((constructor)) static void
watch_memory(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain);
    sqlite3_mem_methods watched = plain;
    watched.xMalloc = take;
    watched.xRealloc = resize;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &watched);
}

/* ---- Errors ---- */

/* A full disk is told apart only where a write failed: then the transaction's
 * last frame is not in the log, and what SQLite rolled back is gone for good.
 * After a failed fsync, or a failure of the shared memory, it may be there. */
static soma_status
status_of_io(int code, int number)
{
    if (code == SQLITE_IOERR_NOMEM)
        return SOMA_E_MEMORY;
    if (code == SQLITE_IOERR_WRITE && (number == ENOSPC || number == EDQUOT))
        return SOMA_E_NO_SPACE;
    return SOMA_E_IO;
}

static soma_status
status_of(int code, int number)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return SOMA_E_NO_SPACE;
    case SQLITE_IOERR:
        return status_of_io(code, number);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return SOMA_E_IO;
    case SQLITE_NOMEM:
        return SOMA_E_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return SOMA_E_BUSY;
    case SQLITE_CONSTRAINT:
        return SOMA_E_CONFLICT;
    case SQLITE_TOOBIG:
        return SOMA_E_LIMIT;
    /* The statements are constants that tests run: SQLITE_ERROR comes from
     * what is in the file. */
    case SQLITE_ERROR:
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_MISMATCH:
        return SOMA_E_FORMAT;
    default:
        return SOMA_E_INTERNAL;
    }
}

/* Called right after what failed, before which errno was set to 0: SQLite's
 * own sqlite3_system_errno knows nothing of a COMMIT's. */
static soma_status
fail(const soma_sql *sql, int code, soma_error *err)
{
    int number = errno;
    bool system = number != 0 && ((code & 0xff) == SQLITE_IOERR ||
                                  (code & 0xff) == SQLITE_CANTOPEN);
    char text[128];
    return soma_error_set(
        err, status_of(code, number), "%s: %s%s%s%s (SQLite %d)", sql->path,
        (code & 0xff) == SQLITE_CORRUPT ? "damaged: " : "",
        sql->db && sqlite3_errcode(sql->db) ? sqlite3_errmsg(sql->db)
                                            : sqlite3_errstr(code),
        system ? ": " : "", system ? strerror_r(number, text, sizeof text) : "",
        code);
}

/* ---- Writing ---- */

/* A commit may write hundreds of pages in one call of SQLite's, from its log
 * into the database above all: between them others get on. */
static ssize_t
write_page(int fd, const void *data, size_t size, off_t offset)
{
    soma_share_give();
    return pwrite(fd, data, size, offset);
}

static void
replace_write(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    sqlite3_syscall_ptr write = (sqlite3_syscall_ptr)write_page;
    if (!vfs || vfs->iVersion < 3)
        return;
    vfs->xSetSystemCall(vfs, "pwrite", write);
    vfs->xSetSystemCall(vfs, "pwrite64", write);
}

/* ---- A database ---- */

/* The file may come from anywhere: nothing in it may run code, and no pragma
 * may damage it. */
static int
harden(sqlite3 *db)
{
    static const struct {
        int option, value;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int code = sqlite3_db_config(db, options[i].option, options[i].value,
                                     (int *)NULL);
        if (code)
            return code;
    }
    return sqlite3_busy_timeout(db, BUSY_MS);
}

soma_status
soma_sql_open(soma_sql *sql, const char *path, soma_sql_mode mode,
              soma_error *err)
{
    static const int flags[] = {
        [SOMA_SQL_READ] = SQLITE_OPEN_READONLY,
        [SOMA_SQL_WRITE] = SQLITE_OPEN_READWRITE,
        [SOMA_SQL_CREATE] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
        [SOMA_SQL_MEMORY] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY,
    };
    /* Names such as "file:x" and ":memory:" mean other things to SQLite. */
    char name[PATH_MAX + 2];
    int length = snprintf(name, sizeof name, "%s%s",
                          path[0] == '/' || mode == SOMA_SQL_MEMORY ? "" : "./",
                          mode == SOMA_SQL_MEMORY ? ":memory:" : path);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, replace_write);
    *sql = (soma_sql){NULL, path};
    if (length >= (int)sizeof name)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%.200s...: the path is too long", path);
    errno = 0;
    int code = sqlite3_open_v2(
        name, &sql->db,
        flags[mode] | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (!code)
        code = harden(sql->db);
    if (!code)
        return SOMA_OK;
    soma_status status = fail(sql, code, err);
    soma_sql_close(sql);
    return status;
}

void
soma_sql_close(soma_sql *sql)
{
    sqlite3_close(sql->db);
    sql->db = NULL;
}

/* ---- Queries ---- */

soma_status
soma_sql_prepare(soma_sql_query *query, soma_sql *sql, const char *text,
                 soma_error *err)
{
    *query = (soma_sql_query){.sql = sql};
    errno = 0;
    int code = sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT,
                                  &query->stmt, NULL);
    return code ? fail(sql, code, err) : SOMA_OK;
}

void
soma_sql_free(soma_sql_query *query)
{
    sqlite3_finalize(query->stmt);
    query->stmt = NULL;
}

static void
note(soma_sql_query *query, int code)
{
    if (code && !query->failed)
        query->failed = code;
}

void
soma_sql_bind(soma_sql_query *query, int at, int64_t value)
{
    note(query, sqlite3_bind_int64(query->stmt, at, value));
}

void
soma_sql_bind_real(soma_sql_query *query, int at, double value)
{
    note(query, sqlite3_bind_double(query->stmt, at, value));
}

void
soma_sql_bind_bytes(soma_sql_query *query, int at, const void *data,
                    size_t size)
{
    /* A NULL pointer would be an SQL NULL, not empty bytes. */
    note(query, sqlite3_bind_blob64(query->stmt, at, data ? data : "", size,
                                    SQLITE_STATIC));
}

void
soma_sql_bind_text(soma_sql_query *query, int at, const char *text)
{
    note(query, sqlite3_bind_text(query->stmt, at, text, -1, SQLITE_STATIC));
}

void
soma_sql_reset(soma_sql_query *query)
{
    sqlite3_reset(query->stmt);
    sqlite3_clear_bindings(query->stmt);
    query->failed = SQLITE_OK;
}

soma_status
soma_sql_step(soma_sql_query *query, bool *row, soma_error *err)
{
    int code = query->failed;
    errno = 0;
    if (!code)
        code = sqlite3_step(query->stmt);
    *row = code == SQLITE_ROW;
    if (*row)
        return SOMA_OK;
    soma_status status = SOMA_OK;
    if (code != SQLITE_DONE)
        status = fail(query->sql, code, err);
    soma_sql_reset(query);
    return status;
}

soma_status
soma_sql_run(soma_sql_query *query, soma_error *err)
{
    bool row;
    soma_status status = soma_sql_step(query, &row, err);
    if (row)
        soma_sql_reset(query);
    return status;
}

int64_t
soma_sql_int(soma_sql_query *query, int column)
{
    return sqlite3_column_int64(query->stmt, column);
}

double
soma_sql_real(soma_sql_query *query, int column)
{
    return sqlite3_column_double(query->stmt, column);
}

const void *
soma_sql_bytes(soma_sql_query *query, int column, size_t *size)
{
    const void *data = sqlite3_column_blob(query->stmt, column);
    *size = data ? (size_t)sqlite3_column_bytes(query->stmt, column) : 0;
    return data;
}

const char *
soma_sql_text(soma_sql_query *query, int column)
{
    const unsigned char *text = sqlite3_column_text(query->stmt, column);
    return text ? (const char *)text : "";
}

/* ---- Statements that are used once ---- */

soma_status
soma_sql_execute(soma_sql *sql, const char *text, soma_error *err)
{
    errno = 0;
    int code = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
    return code ? fail(sql, code, err) : SOMA_OK;
}

static soma_status
first_row(soma_sql_query *query, soma_sql *sql, const char *text, bool *row,
          soma_error *err)
{
    *row = false;
    soma_status status = soma_sql_prepare(query, sql, text, err);
    return status ? status : soma_sql_step(query, row, err);
}

soma_status
soma_sql_number(soma_sql *sql, const char *text, int64_t *number,
                soma_error *err)
{
    soma_sql_query query;
    bool row;
    soma_status status = first_row(&query, sql, text, &row, err);
    *number = row ? soma_sql_int(&query, 0) : 0;
    soma_sql_free(&query);
    return status;
}

soma_status
soma_sql_word(soma_sql *sql, const char *text, char *word, size_t size,
              soma_error *err)
{
    soma_sql_query query;
    bool row;
    soma_status status = first_row(&query, sql, text, &row, err);
    snprintf(word, size, "%s", row ? soma_sql_text(&query, 0) : "");
    soma_sql_free(&query);
    return status;
}

/* A page that could not be read is told of as a damaged one, too. */
static bool
is_unread(const char *found)
{
    static const char coded[] = "error code=";
    const char *code = strstr(found, coded);
    return strstr(found, "failed to get page") ||
           (code &&
            (strtol(code + sizeof coded - 1, NULL, 10) & 0xff) == SQLITE_IOERR);
}

soma_status
soma_sql_verify(soma_sql *sql, bool quick, soma_error *err)
{
    char found[200];
    is_short = false;
    soma_status status = soma_sql_word(
        sql, quick ? "PRAGMA quick_check(1)" : "PRAGMA integrity_check(1)",
        found, sizeof found, err);
    if (status || !strcmp(found, "ok"))
        return status;
    if (is_short)
        return soma_error_memory(err, "checking a journal");
    bool unread = is_unread(found);
    return soma_error_set(err, unread ? SOMA_E_IO : SOMA_E_FORMAT, "%s: %s%s",
                          sql->path, unread ? "" : "damaged: ", found);
}

int64_t
soma_sql_changes(const soma_sql *sql)
{
    return sqlite3_changes64(sql->db);
}

bool
soma_sql_pending(const soma_sql *sql)
{
    return !sqlite3_get_autocommit(sql->db);
}

soma_status
soma_sql_checkpoint(soma_sql *sql, bool *emptied, soma_error *err)
{
    errno = 0;
    int code = sqlite3_wal_checkpoint_v2(
        sql->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    *emptied = code == SQLITE_OK;
    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY)
        return SOMA_OK;
    return fail(sql, code, err);
}

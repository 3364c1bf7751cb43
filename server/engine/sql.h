/* SQLite with soma's errors: a database, its prepared queries, their values.
 * Nothing here knows of journals.
 *
 * A database and its queries belong to one thread at a time. Every failure
 * has the path and SQLite's words in its text:
 *
 *     SOMA_E_NO_SPACE  the disk is full, and because of that a write (not an
 *                      fsync) failed: a transaction that it ends with is not
 *                      in the file
 *     SOMA_E_FORMAT    no database, or a damaged one
 *     SOMA_E_BUSY      another process holds the lock
 *     SOMA_E_CONFLICT  a constraint: two rows with one key
 *     SOMA_E_IO, SOMA_E_MEMORY, SOMA_E_LIMIT
 */
#ifndef SOMA_ENGINE_SQL_H
#define SOMA_ENGINE_SQL_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct soma_sql {
    struct sqlite3 *db; /* NULL: not open */
    const char *path;   /* the caller's, for as long as it is open */
} soma_sql;

typedef enum soma_sql_mode {
    SOMA_SQL_READ,
    SOMA_SQL_WRITE,
    SOMA_SQL_CREATE, /* and write */
    SOMA_SQL_MEMORY  /* a new one without a file; path only names it */
} soma_sql_mode;

soma_status soma_sql_open(soma_sql *sql, const char *path, soma_sql_mode mode,
                          soma_error *err);
/* All its queries must have been freed. */
void soma_sql_close(soma_sql *sql);

/* A prepared statement: bind, then step until *row is false (or reset), or
 * run. A failed bind is reported by the step. Zeroed: none. */
typedef struct soma_sql_query {
    soma_sql *sql;
    struct sqlite3_stmt *stmt;
    int failed;
} soma_sql_query;

soma_status soma_sql_prepare(soma_sql_query *query, soma_sql *sql,
                             const char *text, soma_error *err);
void soma_sql_free(soma_sql_query *query);

/* Parameters count from 1; bytes and text are not copied. A parameter that is
 * never bound since the last reset is NULL. */
void soma_sql_bind(soma_sql_query *query, int at, int64_t value);
void soma_sql_bind_real(soma_sql_query *query, int at, double value);
void soma_sql_bind_bytes(soma_sql_query *query, int at, const void *data,
                         size_t size);
void soma_sql_bind_text(soma_sql_query *query, int at, const char *text);

/* To the next row. After the last one, and on failure, *row is false and the
 * query is reset. */
soma_status soma_sql_step(soma_sql_query *query, bool *row, soma_error *err);
/* A statement without rows, to its end. */
soma_status soma_sql_run(soma_sql_query *query, soma_error *err);
void soma_sql_reset(soma_sql_query *query);

/* Columns of the row count from 0; bytes and text live until the next step. */
int64_t soma_sql_int(soma_sql_query *query, int column);
double soma_sql_real(soma_sql_query *query, int column);
const void *soma_sql_bytes(soma_sql_query *query, int column, size_t *size);
const char *soma_sql_text(soma_sql_query *query, int column); /* never NULL */

/* Runs statements that have no rows, or whose rows do not matter. */
soma_status soma_sql_execute(soma_sql *sql, const char *text, soma_error *err);
/* The number in the first row of what `text` asks; 0 without a row. */
soma_status soma_sql_number(soma_sql *sql, const char *text, int64_t *number,
                            soma_error *err);
/* The same for a word, cut at `size`. */
soma_status soma_sql_word(soma_sql *sql, const char *text, char *word,
                          size_t size, soma_error *err);
/* SQLite's own check of the whole file, `quick`: without comparing indexes with
 * tables. SOMA_E_FORMAT: damaged, and where; SOMA_E_MEMORY. */
soma_status soma_sql_verify(soma_sql *sql, bool quick, soma_error *err);

/* Rows that the last statement changed. */
int64_t soma_sql_changes(const soma_sql *sql);
/* Whether a transaction is open. */
bool soma_sql_pending(const soma_sql *sql);

/* Moves what is in the write-ahead log to the database, fsyncs that and
 * empties the log. *emptied is false when a reader stood in the way. */
soma_status soma_sql_checkpoint(soma_sql *sql, bool *emptied, soma_error *err);

/* ---- sql_schema.c ---- */

/* Brings a database to version `count` (PRAGMA user_version) by steps
 * [version .. count), each in a transaction of its own. SOMA_E_UNSUPPORTED
 * when it is newer than that. */
soma_status soma_sql_migrate(soma_sql *sql, const char *const *steps, int count,
                             soma_error *err);
/* SOMA_E_FORMAT when its tables and indices are not those that the steps
 * make. Foreign tables may stand beside them, triggers and views not. */
soma_status soma_sql_compare(soma_sql *sql, const char *const *steps, int count,
                             soma_error *err);

#endif

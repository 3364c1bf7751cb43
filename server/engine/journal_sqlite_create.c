/* Making a new journal: under PATH.new, so that what stands at PATH is whole
 * at any time. It is written without a log of its own (a crash leaves only
 * PATH.new, which the next attempt replaces) and becomes a WAL database when
 * it is first opened.
 */
#include "server/engine/journal_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/engine/journal_sqlite_schema.h"

enum { PART = 1 << 20 };

/* ---- Names ---- */

/* A log without its database has records that only it has; and SQLite would
 * put it into the new one. */
static soma_status
check_free(const char *path, soma_error *err)
{
    static const char *const ends[] = {"", "-wal", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[PATH_MAX];
        struct stat st;
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        if (!lstat(name, &st))
            return soma_error_set(err, SOMA_E_CONFLICT,
                                  "%s: there is such a file already", name);
        if (errno != ENOENT)
            return soma_error_errno(err, "looking for", name);
    }
    return SOMA_OK;
}

static void
remove_left(const char *fresh)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[PATH_MAX + 16];
        snprintf(name, sizeof name, "%s%s", fresh, ends[i]);
        unlink(name);
    }
}

/* Not every file system can rename without replacing. */
static int
rename_new(const char *from, const char *to)
{
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(from, to) || unlink(from) ? -1 : 0;
}

static int
sync_path(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0)
        return -1;
    int failed = fsync(fd) && errno != EINVAL;
    int number = errno;
    close(fd);
    errno = number;
    return failed ? -1 : 0;
}

soma_status
soma_journal_move(const char *fresh, const char *path, soma_error *err)
{
    char copy[PATH_MAX];
    soma_status status = check_free(path, err);
    if (status)
        return status;
    snprintf(copy, sizeof copy, "%s", path);
    if (sync_path(fresh, 0))
        return soma_error_errno(err, "syncing", fresh);
    if (rename_new(fresh, path)) {
        if (errno == EEXIST)
            return soma_error_set(err, SOMA_E_CONFLICT,
                                  "%s: there is such a file already", path);
        return soma_error_errno(err, "renaming a new journal to", path);
    }
    if (sync_path(dirname(copy), O_DIRECTORY))
        return soma_error_errno(err, "syncing the folder of", path);
    return SOMA_OK;
}

/* There is a log, too, if another program has the database open, so that its
 * records could not be put into it when it was closed. */
static int
link_with_log(const char *path, const char *aside)
{
    char log[PATH_MAX + 8], other[PATH_MAX + 8];
    snprintf(log, sizeof log, "%s-wal", path);
    snprintf(other, sizeof other, "%s-wal", aside);
    if (link(path, aside))
        return -1;
    if (!link(log, other) || errno == ENOENT)
        return 0;
    int number = errno;
    unlink(aside);
    errno = number;
    return -1;
}

soma_status
soma_journal_set_aside(const char *path, char *aside, size_t size,
                       soma_error *err)
{
    for (int i = 0;; i++) {
        snprintf(aside, size, "%s.old-%d", path, i);
        if (!link_with_log(path, aside))
            return SOMA_OK;
        if (errno != EEXIST || i == 9999)
            return soma_error_errno(err, "setting aside", path);
    }
}

soma_status
soma_journal_retire(const char *path, char *aside, size_t size, soma_error *err)
{
    char copy[PATH_MAX];
    soma_status status = soma_journal_set_aside(path, aside, size, err);
    if (status)
        return status;
    snprintf(copy, sizeof copy, "%s", path);
    if (unlink(path))
        return soma_error_errno(err, "removing", path);
    remove_left(path); /* a log must not meet the next one of that name */
    if (sync_path(dirname(copy), O_DIRECTORY))
        return soma_error_errno(err, "removing", path);
    return SOMA_OK;
}

/* ---- Rows ---- */

static soma_status
write_parts(soma_sql *sql, const soma_journal_base *base, soma_error *err)
{
    soma_sql_query query;
    const char *model = base->model;
    soma_status status = soma_sql_prepare(
        &query, sql, "INSERT INTO base_parts (at, data) VALUES (?1, ?2)", err);
    for (size_t at = 0; at < base->model_size && !status; at += PART) {
        size_t left = base->model_size - at;
        soma_sql_bind(&query, 1, (int64_t)at);
        soma_sql_bind_bytes(&query, 2, model + at, left < PART ? left : PART);
        status = soma_sql_run(&query, err);
    }
    soma_sql_free(&query);
    return status;
}

static soma_status
write_meta(soma_sql *sql, const soma_journal_base *base, soma_error *err)
{
    soma_db_meta meta = {.size = base->size,
                         .created = base->now,
                         .model_size = base->model_size};
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, base->model_size, base->model);
    sha256_digest(&context, sizeof meta.model_digest, meta.model_digest);
    memcpy(meta.settings, base->settings, sizeof meta.settings);
    snprintf(meta.base, sizeof meta.base, "%s", base->digest);
    snprintf(meta.origin, sizeof meta.origin, "%s",
             base->origin ? base->origin : "");
    soma_sql_query query;
    soma_status status = soma_sql_prepare(
        &query, sql,
        "INSERT INTO meta (id, base, size, created, model_size, model_digest, "
        "trimmed, sum, settings, origin) "
        "VALUES (1, ?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8)",
        err);
    if (!status) {
        soma_sql_bind_text(&query, 1, meta.base);
        soma_sql_bind(&query, 2, meta.size);
        soma_sql_bind(&query, 3, meta.created);
        soma_sql_bind(&query, 4, (int64_t)meta.model_size);
        soma_sql_bind_bytes(&query, 5, meta.model_digest,
                            sizeof meta.model_digest);
        soma_sql_bind(&query, 6, soma_db_sum_meta(&meta, 0));
        soma_sql_bind_bytes(&query, 7, meta.settings, sizeof meta.settings);
        soma_sql_bind_text(&query, 8, meta.origin);
        status = soma_sql_run(&query, err);
    }
    soma_sql_free(&query);
    return status;
}

static soma_status
write_all(const char *fresh, const soma_journal_base *base, soma_error *err)
{
    char identity[200];
    snprintf(identity, sizeof identity,
             "PRAGMA page_size = 4096; PRAGMA auto_vacuum = NONE;"
             "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL;"
             "PRAGMA application_id = %d",
             SOMA_DB_APPLICATION);
    soma_sql sql;
    soma_status status = soma_sql_open(&sql, fresh, SOMA_SQL_CREATE, err);
    if (!status)
        status = soma_sql_execute(&sql, identity, err);
    if (!status)
        status = soma_sql_migrate(&sql, soma_db_schema, SOMA_DB_VERSION, err);
    if (!status)
        status = soma_sql_execute(&sql, "BEGIN", err);
    if (!status)
        status = write_parts(&sql, base, err);
    if (!status)
        status = write_meta(&sql, base, err);
    if (!status)
        status = soma_sql_execute(&sql, "COMMIT", err);
    soma_sql_close(&sql);
    return status;
}

soma_journal *
soma_journal_create(const char *path, const soma_journal_base *base,
                    soma_error *err)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >=
        (int)sizeof fresh - 16) {
        soma_error_set(err, SOMA_E_ARGUMENT, "%.200s...: the path is too long",
                       path);
        return NULL;
    }
    if (base->size < 1 ||
        strlen(base->digest) >= sizeof((soma_db_meta *)0)->base) {
        soma_error_set(err, SOMA_E_INTERNAL,
                       "%s: a journal of %d values, digest \"%.80s\"", path,
                       base->size, base->digest);
        return NULL;
    }
    soma_status status = check_free(path, err);
    if (status)
        return NULL;
    remove_left(fresh);
    status = write_all(fresh, base, err);
    if (!status)
        status = soma_journal_move(fresh, path, err);
    if (status) {
        remove_left(fresh);
        return NULL;
    }
    return soma_journal_open(path, false, err);
}

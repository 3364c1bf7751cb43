#include "server/engine/sql.h"

#include <stdio.h>
#include <string.h>

static soma_status
migrate_one(soma_sql *sql, const char *step, int version, soma_error *err)
{
    char number[64];
    snprintf(number, sizeof number, "PRAGMA user_version = %d", version);
    soma_status status = soma_sql_execute(sql, "BEGIN IMMEDIATE", err);
    if (!status)
        status = soma_sql_execute(sql, step, err);
    if (!status)
        status = soma_sql_execute(sql, number, err);
    if (!status)
        status = soma_sql_execute(sql, "COMMIT", err);
    if (soma_sql_pending(sql))
        soma_sql_execute(sql, "ROLLBACK", NULL);
    return status;
}

soma_status
soma_sql_migrate(soma_sql *sql, const char *const *steps, int count,
                 soma_error *err)
{
    int64_t version;
    soma_status status =
        soma_sql_number(sql, "PRAGMA user_version", &version, err);
    if (!status && version < 0)
        return soma_error_set(err, SOMA_E_FORMAT, "%s: damaged: version %lld",
                              sql->path, (long long)version);
    if (!status && version > count)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "%s: of a newer soma: its version is %lld, this "
                              "soma knows versions up to %d",
                              sql->path, (long long)version, count);
    while (!status && version < count) {
        status = migrate_one(sql, steps[version], (int)version + 1, err);
        version++;
    }
    return status;
}

/* ---- Comparing ---- */

static const char lookup[] = "SELECT sql FROM sqlite_schema "
                             "WHERE type = ?1 AND name = ?2 AND tbl_name = ?3";

/* Looks each object of `model` up in `sql`. */
static soma_status
compare_objects(soma_sql_query *wanted, soma_sql_query *there, soma_error *err)
{
    bool row, found;
    soma_status status = soma_sql_step(wanted, &row, err);
    while (!status && row) {
        for (int i = 1; i <= 3; i++)
            soma_sql_bind_text(there, i, soma_sql_text(wanted, i));
        status = soma_sql_step(there, &found, err);
        if (!status && (!found || strcmp(soma_sql_text(there, 0),
                                         soma_sql_text(wanted, 0)) != 0))
            status = soma_error_set(
                err, SOMA_E_FORMAT,
                "%s: damaged or changed: the %s %s is not as soma makes it",
                there->sql->path, soma_sql_text(wanted, 1),
                soma_sql_text(wanted, 2));
        soma_sql_reset(there);
        if (!status)
            status = soma_sql_step(wanted, &row, err);
    }
    return status;
}

static soma_status
compare_all(soma_sql *sql, soma_sql *model, soma_error *err)
{
    static const char others[] =
        "SELECT count(*) FROM sqlite_schema WHERE type <> 'table'";
    soma_sql_query wanted = {0}, there = {0};
    soma_status status = soma_sql_prepare(
        &wanted, model, "SELECT sql, type, name, tbl_name FROM sqlite_schema",
        err);
    if (!status)
        status = soma_sql_prepare(&there, sql, lookup, err);
    if (!status)
        status = compare_objects(&wanted, &there, err);
    soma_sql_free(&wanted);
    soma_sql_free(&there);
    int64_t expected = 0, found = 0;
    if (!status)
        status = soma_sql_number(model, others, &expected, err);
    if (!status)
        status = soma_sql_number(sql, others, &found, err);
    if (!status && found != expected)
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "%s: damaged or changed: it has an index, a "
                                "trigger or a view that soma does not make",
                                sql->path);
    return status;
}

/* A database in memory that goes through the steps shows how it should be. */
soma_status
soma_sql_compare(soma_sql *sql, const char *const *steps, int count,
                 soma_error *err)
{
    soma_sql model;
    soma_status status = soma_sql_open(&model, sql->path, SOMA_SQL_MEMORY, err);
    if (!status)
        status = soma_sql_migrate(&model, steps, count, err);
    if (!status)
        status = compare_all(sql, &model, err);
    soma_sql_close(&model);
    return status;
}

/* Reading all that is in a journal, to find damage before it is needed. */
#include "server/engine/journal_sqlite.h"

#include <stdlib.h>
#include <string.h>

/* The sums are compared on the way here. */
static soma_status
ignore(const soma_record *record, void *arg, soma_error *err)
{
    (void)record, (void)arg, (void)err;
    return SOMA_OK;
}

static soma_status
check_base(soma_db *db, soma_error *err)
{
    soma_bytes model;
    soma_status status = soma_db_read_base(db, &model, err);
    if (!status)
        soma_bytes_free(&model);
    return status;
}

static soma_status
check_keys(soma_db *db, soma_error *err)
{
    static const char text[] =
        "SELECT text, fingerprint, first, count, time, sum FROM keys";
    soma_sql_query query;
    soma_journal_key key;
    bool found = false;
    soma_status status = soma_sql_prepare(&query, &db->sql, text, err);
    if (!status)
        status = soma_sql_step(&query, &found, err);
    while (!status && found) {
        status = soma_db_take_key(db, &query, &key, err);
        if (!status)
            status = soma_sql_step(&query, &found, err);
    }
    soma_sql_free(&query);
    return status;
}

/* All stretches of lessons, by the way that they are read. */
static soma_status
check_lessons(soma_db *db, soma_error *err)
{
    enum { SOME = 4096 };
    soma_lesson *lessons = malloc(SOME * sizeof *lessons);
    if (!lessons)
        return soma_error_memory(err, "lessons");
    soma_status status = SOMA_OK;
    if (db->state.lesson_last > db->state.last)
        status = soma_db_damaged(db, err, "the lesson of record",
                                 db->state.lesson_last);
    for (uint64_t first = 1; first <= db->state.lesson_last && !status;
         first += SOME)
        status = soma_db_read_lessons(db, first, SOME, lessons, err);
    free(lessons);
    return status;
}

/* The n-th row of the list; id 0: there are fewer. */
static soma_status
nth_checkpoint(soma_db *db, int n, soma_db_checkpoint *c, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_CHECKPOINT_LIST);
    bool found;
    soma_status status = soma_sql_step(query, &found, err);
    for (int i = 0; i < n && found && !status; i++)
        status = soma_sql_step(query, &found, err);
    *c = (soma_db_checkpoint){0};
    if (!status && found)
        soma_db_take_checkpoint(query, c);
    soma_sql_reset(query);
    return status;
}

static soma_status
check_checkpoints(soma_db *db, soma_error *err)
{
    soma_db_checkpoint c;
    soma_status status = nth_checkpoint(db, 0, &c, err);
    for (int n = 1; !status && c.id; n++) {
        if (!c.whole || c.seq > db->state.last)
            return soma_db_damaged(db, err, "the checkpoint of record", c.seq);
        if (c.complete)
            status = soma_db_read_checkpoint(db, &c, NULL, err);
        if (!status)
            status = nth_checkpoint(db, n, &c, err);
    }
    return status;
}

soma_status
soma_db_check(soma_db *db, soma_error *err)
{
    soma_status status = soma_sql_verify(&db->sql, false, err);
    if (!status)
        status = check_base(db, err);
    if (!status)
        status = soma_db_read_records(db, db->state.trimmed, db->state.last,
                                      ignore, NULL, err);
    if (!status)
        status = check_keys(db, err);
    if (!status)
        status = check_lessons(db, err);
    if (!status)
        status = check_checkpoints(db, err);
    return status;
}

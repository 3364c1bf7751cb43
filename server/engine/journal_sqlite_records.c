/* Records. Values that are all whole numbers of 0 to 255 are stored as bytes,
 * others as float32, little endian: both give back the very same bits.
 */
#include "core/memory.h"
#include "server/engine/journal_sqlite.h"
#include "server/engine/share.h"

#include <endian.h>
#include <math.h>
#include <string.h>

typedef enum encoding { NONE = 0, BYTES = 1, FLOATS = 2 } encoding;

/* A record as its row has it. */
typedef struct row {
    soma_record record;
    encoding encoding;
    const unsigned char *x;
    size_t x_size;
} row;

static uint32_t
sum_row(const row *r)
{
    const soma_record *record = &r->record;
    uint32_t rate;
    memcpy(&rate, &record->rate, sizeof rate);
    uint32_t sum = soma_db_sum_int(0, (int64_t)record->seq);
    sum = soma_db_sum_int(sum, record->kind);
    sum = soma_db_sum_int(sum, record->time);
    sum = soma_db_sum_int(sum, record->label);
    sum = soma_db_sum_int(sum, rate);
    sum = soma_db_sum_int(sum, (int64_t)record->target);
    sum = soma_db_sum_int(sum, r->encoding);
    sum = soma_db_sum_bytes(sum, r->x, r->x_size);
    return soma_db_sum_bytes(sum, record->data, record->data_size);
}

/* ---- Values ---- */

static void
pack(soma_db *db, row *r)
{
    size_t size = (size_t)db->journal.size;
    r->x = db->packed;
    if (soma_memory_pack(r->record.x, size, db->packed)) {
        r->encoding = BYTES;
        r->x_size = size;
        return;
    }
    r->encoding = FLOATS;
    r->x_size = size * sizeof(float);
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, &r->record.x[i], sizeof bits);
        bits = htole32(bits);
        memcpy(db->packed + i * sizeof bits, &bits, sizeof bits);
    }
}

/* False: not as many values as an example has. */
static bool
unpack(soma_db *db, row *r)
{
    size_t size = (size_t)db->journal.size;
    size_t each = r->encoding == BYTES ? 1 : sizeof(float);
    if (r->x_size != size * each || r->encoding == NONE)
        return false;
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        if (r->encoding == BYTES) {
            db->x[i] = r->x[i];
            continue;
        }
        memcpy(&bits, r->x + i * sizeof bits, sizeof bits);
        bits = le32toh(bits);
        memcpy(&db->x[i], &bits, sizeof bits);
    }
    r->record.x = db->x;
    return true;
}

/* ---- Writing ---- */

static soma_status
refuse(const soma_db *db, const soma_record *record, const char *why,
       soma_error *err)
{
    return soma_error_set(err, SOMA_E_INTERNAL, "%s: record %llu: %s", db->path,
                          (unsigned long long)record->seq, why);
}

static soma_status
check_record(const soma_db *db, const soma_record *record, soma_error *err)
{
    if (record->seq != db->next.last + 1)
        return soma_error_set(
            err, SOMA_E_INTERNAL, "%s: record %llu after record %llu", db->path,
            (unsigned long long)record->seq, (unsigned long long)db->next.last);
    switch (record->kind) {
    case SOMA_RECORD_EXAMPLE:
        if (!isfinite(record->rate))
            return refuse(db, record, "its rate is not finite", err);
        return record->x ? SOMA_OK : refuse(db, record, "has no values", err);
    case SOMA_RECORD_ROLLBACK:
        if (record->target >= record->seq)
            return refuse(db, record, "goes back to a later version", err);
        return SOMA_OK;
    case SOMA_RECORD_SETTINGS:
    case SOMA_RECORD_ADOPTION:
        return SOMA_OK;
    }
    return refuse(db, record, "of no known kind", err);
}

static void
bind_example(soma_sql_query *query, const row *r)
{
    soma_sql_bind(query, 4, r->record.label);
    soma_sql_bind_real(query, 5, (double)r->record.rate);
    soma_sql_bind(query, 7, r->encoding);
    soma_sql_bind_bytes(query, 8, r->x, r->x_size);
}

/* What a record of this kind has; the rest stays NULL. */
static row
row_of(const soma_record *record)
{
    row r = {.record = {.seq = record->seq,
                        .kind = record->kind,
                        .time = record->time}};
    if (record->kind == SOMA_RECORD_EXAMPLE) {
        r.record.label = record->label;
        r.record.rate = record->rate + 0.0f; /* SQLite has no -0.0 */
        r.record.x = record->x;
        return r;
    }
    if (record->kind != SOMA_RECORD_SETTINGS)
        r.record.target = record->target;
    r.record.data = record->data;
    r.record.data_size = record->data_size;
    return r;
}

soma_status
soma_db_put_record(soma_db *db, const soma_record *record, soma_error *err)
{
    soma_status status = check_record(db, record, err);
    if (status)
        return status;
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_RECORD_PUT);
    row r = row_of(record);
    soma_sql_bind(query, 1, (int64_t)record->seq);
    soma_sql_bind(query, 2, record->kind);
    soma_sql_bind(query, 3, record->time);
    if (record->kind == SOMA_RECORD_EXAMPLE) {
        pack(db, &r);
        bind_example(query, &r);
    } else {
        if (record->kind != SOMA_RECORD_SETTINGS)
            soma_sql_bind(query, 6, (int64_t)record->target);
        soma_sql_bind_bytes(query, 9, r.record.data, r.record.data_size);
    }
    soma_sql_bind(query, 10, sum_row(&r));
    status = soma_sql_run(query, err);
    soma_share_give();
    if (status)
        return status;
    db->next.last = record->seq;
    db->next.others += record->kind != SOMA_RECORD_EXAMPLE;
    return SOMA_OK;
}

/* ---- Reading ---- */

/* The columns of SOMA_DB_RECORD_READ. */
static soma_status
take(soma_db *db, soma_sql_query *query, row *r, soma_error *err)
{
    size_t data_size;
    const void *data = soma_sql_bytes(query, 8, &data_size);
    *r = (row){.record = {.seq = (uint64_t)soma_sql_int(query, 0),
                          .kind = (soma_record_kind)soma_sql_int(query, 1),
                          .time = soma_sql_int(query, 2),
                          .label = (int)soma_sql_int(query, 3),
                          .rate = (float)soma_sql_real(query, 4),
                          .target = (uint64_t)soma_sql_int(query, 5),
                          .data = data,
                          .data_size = data_size},
               .encoding = (encoding)soma_sql_int(query, 6)};
    r->x = soma_sql_bytes(query, 7, &r->x_size);
    bool good = soma_sql_int(query, 9) == sum_row(r);
    if (good && r->record.kind == SOMA_RECORD_EXAMPLE)
        good = unpack(db, r);
    return good ? SOMA_OK : soma_db_damaged(db, err, "record", r->record.seq);
}

static soma_status
missing(const soma_db *db, uint64_t seq, soma_error *err)
{
    return soma_error_set(err, SOMA_E_FORMAT,
                          "%s: damaged: record %llu is missing", db->path,
                          (unsigned long long)seq);
}

static soma_status
visit_all(soma_db *db, soma_sql_query *query, uint64_t *seq,
          soma_journal_visit visit, void *arg, soma_error *err)
{
    bool found;
    row r;
    soma_status status = soma_sql_step(query, &found, err);
    while (!status && found) {
        if ((uint64_t)soma_sql_int(query, 0) != *seq + 1)
            return missing(db, *seq + 1, err);
        status = take(db, query, &r, err);
        if (!status)
            status = visit(&r.record, arg, err);
        if (!status) {
            *seq = r.record.seq;
            status = soma_sql_step(query, &found, err);
        }
    }
    return status;
}

soma_status
soma_db_read_records(soma_db *db, uint64_t after, uint64_t upto,
                     soma_journal_visit visit, void *arg, soma_error *err)
{
    if (upto > db->state.last)
        upto = db->state.last;
    if (after >= upto)
        return SOMA_OK;
    if (after < db->state.trimmed)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: record %llu was trimmed; the oldest is %llu",
                              db->path, (unsigned long long)after + 1,
                              (unsigned long long)db->state.trimmed + 1);
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_RECORD_READ);
    soma_sql_bind(query, 1, (int64_t)after);
    soma_sql_bind(query, 2, (int64_t)upto);
    uint64_t seq = after;
    soma_status status = visit_all(db, query, &seq, visit, arg, err);
    soma_sql_reset(query);
    if (!status && seq != upto)
        status = missing(db, seq + 1, err);
    return status;
}

soma_status
soma_db_last_leap(soma_db *db, uint64_t upto, soma_leap *leap, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_LAST_LEAP);
    bool found;
    row r;
    *leap = (soma_leap){.seq = 0};
    if (upto > db->state.last)
        upto = db->state.last;
    soma_sql_bind(query, 1, (int64_t)upto);
    soma_status status = soma_sql_step(query, &found, err);
    if (status || !found)
        return status;
    status = take(db, query, &r, err);
    if (!status)
        *leap = (soma_leap){r.record.seq, r.record.kind, r.record.target};
    soma_sql_reset(query);
    return status;
}

soma_status
soma_db_count_others(soma_db *db, uint64_t from, uint64_t *count,
                     soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_OTHERS);
    bool row_there;
    soma_sql_bind(query, 1, (int64_t)from);
    soma_status status = soma_sql_step(query, &row_there, err);
    *count = row_there ? (uint64_t)soma_sql_int(query, 0) : 0;
    soma_sql_reset(query);
    return status;
}

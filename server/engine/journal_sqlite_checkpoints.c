/* Checkpoints, and the model that the journal began with.
 *
 * A checkpoint has an id of its own, so that one that is begun anew stands
 * beside an older one of the same record, which counts until the new one is
 * complete. Parts whose checkpoint has no row, and rows that will never be
 * complete, are left for trimming: nothing reads them.
 */
#include "server/engine/journal_sqlite.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

static uint32_t
sum_checkpoint(const soma_db_checkpoint *c)
{
    uint32_t sum = soma_db_sum_int(0, c->id);
    sum = soma_db_sum_int(sum, (int64_t)c->seq);
    sum = soma_db_sum_int(sum, c->time);
    sum = soma_db_sum_int(sum, (int64_t)c->size);
    sum = soma_db_sum_bytes(sum, c->digest, sizeof c->digest);
    return soma_db_sum_int(sum, c->complete);
}

/* ---- Writing ---- */

static soma_status
refuse(const soma_db *db, const soma_journal_part *part, const char *why,
       soma_error *err)
{
    return soma_error_set(
        err, SOMA_E_INTERNAL,
        "%s: checkpoint of record %llu, part at %zu of %zu: %s", db->path,
        (unsigned long long)part->seq, part->offset, part->total, why);
}

static soma_status
check_part(const soma_db *db, const soma_journal_part *part, soma_error *err)
{
    const soma_db_state *state = &db->next;
    if (part->seq > state->last)
        return refuse(db, part, "there is no such record", err);
    if (part->size == 0 || part->size > part->total ||
        part->offset > part->total - part->size)
        return refuse(db, part, "it is empty or beyond the end", err);
    if (part->last != (part->offset + part->size == part->total))
        return refuse(db, part, "the last part is the one at the end", err);
    if (part->offset > 0 &&
        (!state->writing || state->writing_seq != part->seq ||
         state->written != part->offset || state->total != part->total))
        return refuse(db, part, "it does not follow what was written", err);
    return SOMA_OK;
}

static soma_status
put_row(soma_db *db, const soma_journal_part *part, soma_error *err)
{
    soma_db_checkpoint c = {.id = db->next.writing,
                            .seq = part->seq,
                            .time = part->time,
                            .size = part->total,
                            .complete = part->last};
    if (part->last)
        memcpy(c.digest, part->digest, sizeof c.digest);
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_CHECKPOINT_PUT);
    soma_sql_bind(query, 1, c.id);
    soma_sql_bind(query, 2, (int64_t)c.seq);
    soma_sql_bind(query, 3, c.time);
    soma_sql_bind(query, 4, (int64_t)c.size);
    soma_sql_bind_bytes(query, 5, c.digest, sizeof c.digest);
    soma_sql_bind(query, 6, c.complete);
    soma_sql_bind(query, 7, sum_checkpoint(&c));
    return soma_sql_run(query, err);
}

/* The row of an older one of this record goes with the commit that completes
 * the new one. */
static soma_status
complete(soma_db *db, const soma_journal_part *part, soma_error *err)
{
    soma_status status = put_row(db, part, err);
    if (status)
        return status;
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_CHECKPOINT_SAME);
    soma_sql_bind(query, 1, (int64_t)part->seq);
    soma_sql_bind(query, 2, db->next.writing);
    status = soma_sql_run(query, err);
    db->next.writing = 0;
    return status;
}

soma_status
soma_db_put_part(soma_db *db, const soma_journal_part *part, soma_error *err)
{
    soma_status status = check_part(db, part, err);
    if (!status && part->offset == 0) {
        db->next.writing = ++db->next.checkpoint;
        db->next.writing_seq = part->seq;
        db->next.total = part->total;
        if (!part->last)
            status = put_row(db, part, err);
    }
    if (status)
        return status;
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_PART_PUT);
    soma_sql_bind(query, 1, db->next.writing);
    soma_sql_bind(query, 2, (int64_t)part->offset);
    soma_sql_bind_bytes(query, 3, part->data, part->size);
    status = soma_sql_run(query, err);
    db->next.written = part->offset + part->size;
    if (!status && part->last)
        status = complete(db, part, err);
    return status;
}

/* ---- Reading ---- */

void
soma_db_take_checkpoint(soma_sql_query *row, soma_db_checkpoint *c)
{
    size_t size;
    *c = (soma_db_checkpoint){.id = soma_sql_int(row, 0),
                              .seq = (uint64_t)soma_sql_int(row, 1),
                              .time = soma_sql_int(row, 2),
                              .size = (size_t)soma_sql_int(row, 3),
                              .complete = soma_sql_int(row, 5) != 0};
    const void *digest = soma_sql_bytes(row, 4, &size);
    if (size == sizeof c->digest)
        memcpy(c->digest, digest, size);
    c->whole =
        size == sizeof c->digest && soma_sql_int(row, 6) == sum_checkpoint(c);
}

/* A row that is damaged is passed over: an older checkpoint serves as well,
 * with more records behind it. */
soma_status
soma_db_find_checkpoint(soma_db *db, uint64_t upto, soma_db_checkpoint *c,
                        soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_CHECKPOINT_LIST);
    bool found;
    soma_status status = soma_sql_step(query, &found, err);
    while (!status && found) {
        soma_db_take_checkpoint(query, c);
        if (c->whole && c->complete && c->seq <= upto)
            break;
        status = soma_sql_step(query, &found, err);
    }
    soma_sql_reset(query);
    if (!found)
        *c = (soma_db_checkpoint){0};
    return status;
}

/* Bytes in parts that have to add up to `size` and to the digest. */
typedef struct fold {
    struct sha256_ctx context;
    size_t size, done;
    unsigned char *to;
} fold;

/* Rows (offset, bytes). False: they do not follow each other. */
static soma_status
fold_parts(soma_sql_query *query, fold *f, bool *good, soma_error *err)
{
    bool found;
    *good = true;
    sha256_init(&f->context);
    soma_status status = soma_sql_step(query, &found, err);
    while (!status && found && *good) {
        size_t size;
        const void *data = soma_sql_bytes(query, 1, &size);
        *good = soma_sql_int(query, 0) == (int64_t)f->done && size > 0 &&
                size <= f->size - f->done;
        if (*good) {
            sha256_update(&f->context, size, data);
            if (f->to)
                memcpy(f->to + f->done, data, size);
            f->done += size;
            status = soma_sql_step(query, &found, err);
        }
    }
    soma_sql_reset(query);
    return status;
}

static soma_status
fold_all(soma_sql_query *query, size_t size, const unsigned char *digest,
         unsigned char *to, bool *good, soma_error *err)
{
    fold f = {.size = size, .to = to};
    unsigned char found[SHA256_DIGEST_SIZE];
    soma_status status = fold_parts(query, &f, good, err);
    sha256_digest(&f.context, sizeof found, found);
    *good = *good && f.done == size && memcmp(found, digest, sizeof found) == 0;
    return status;
}

soma_status
soma_db_read_checkpoint(soma_db *db, const soma_db_checkpoint *c,
                        unsigned char *to, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_PART_READ);
    bool good;
    soma_sql_bind(query, 1, c->id);
    soma_status status = fold_all(query, c->size, c->digest, to, &good, err);
    if (status || good)
        return status;
    return soma_db_damaged(db, err, "the checkpoint of record", c->seq);
}

soma_status
soma_db_read_base(soma_db *db, soma_bytes *model, soma_error *err)
{
    size_t size = db->meta.model_size;
    bool good;
    *model = (soma_bytes){malloc(size + 1), size};
    if (!model->data)
        return soma_error_memory(err, "the journal's model");
    model->data[size] = '\0';
    soma_status status =
        fold_all(soma_db_ask(db, SOMA_DB_BASE), size, db->meta.model_digest,
                 model->data, &good, err);
    if (!status && !good)
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "%s: the model that it began with is damaged",
                                db->path);
    if (status)
        soma_bytes_free(model);
    return status;
}

/* Inside the SQLite backend: what its files share. The schema and what is
 * promised of it stand at the head of journal_sqlite_open.c.
 */
#ifndef SOMA_ENGINE_JOURNAL_SQLITE_H
#define SOMA_ENGINE_JOURNAL_SQLITE_H

#include "server/engine/journal.h"
#include "server/engine/sql.h"

/* Rows of the table of statements in journal_sqlite_open.c. */
typedef enum soma_db_query {
    SOMA_DB_BEGIN,
    SOMA_DB_COMMIT,
    SOMA_DB_ROLLBACK,
    SOMA_DB_META,
    SOMA_DB_META_TRIM,
    SOMA_DB_BASE,
    SOMA_DB_RECORD_PUT,
    SOMA_DB_RECORD_READ,
    SOMA_DB_RECORD_LAST,
    SOMA_DB_RECORD_TIMES,
    SOMA_DB_RECORD_TRIM,
    SOMA_DB_OTHERS,
    SOMA_DB_LAST_LEAP,
    SOMA_DB_KEY_PUT,
    SOMA_DB_KEY_REPLACE,
    SOMA_DB_KEY_FIND,
    SOMA_DB_KEY_COUNT,
    SOMA_DB_KEY_OLDEST,
    SOMA_DB_KEY_TRIM,
    SOMA_DB_KEY_TRIM_OLD,
    SOMA_DB_LESSON_PUT,
    SOMA_DB_LESSON_READ,
    SOMA_DB_LESSON_DROP,
    SOMA_DB_LESSON_LAST,
    SOMA_DB_LESSON_TRIM,
    SOMA_DB_CHECKPOINT_PUT,
    SOMA_DB_CHECKPOINT_LIST,
    SOMA_DB_CHECKPOINT_LAST,
    SOMA_DB_CHECKPOINT_SAME,
    SOMA_DB_CHECKPOINT_DROP,
    SOMA_DB_CHECKPOINT_LEFT,
    SOMA_DB_PART_PUT,
    SOMA_DB_PART_READ,
    SOMA_DB_PART_TRIM,
    SOMA_DB_QUERIES
} soma_db_query;

/* What the rows add up to. It changes only when a transaction has ended. */
typedef struct soma_db_state {
    uint64_t trimmed;     /* records 1 .. trimmed are gone */
    uint64_t last;        /* seq of the newest record that ever was */
    uint64_t others;      /* records kept that are not examples */
    uint64_t keys;        /* idempotency keys */
    uint64_t lesson_last; /* the highest version among the lessons */
    int64_t checkpoint;   /* the highest id of a checkpoint */
    /* The checkpoint that is being written; id 0: none. It does not outlive
     * a reopening, after which it has to be begun anew. */
    int64_t writing;
    uint64_t writing_seq;
    size_t written, total;
} soma_db_state;

/* The row of meta, apart from what the state has. */
typedef struct soma_db_meta {
    char base[72];
    char origin[SOMA_ORIGIN_MAX + 1];
    int size;
    int64_t created;
    size_t model_size;
    unsigned char model_digest[32];
    unsigned char settings[SOMA_LEARNING_BYTES];
} soma_db_meta;

typedef struct soma_db_checkpoint {
    int64_t id;
    uint64_t seq;
    int64_t time;
    size_t size;
    unsigned char digest[32];
    bool complete;
    bool whole; /* the row's sum is right */
} soma_db_checkpoint;

enum { SOMA_DB_VERIFIED = 4 };

typedef struct soma_db {
    soma_journal journal;
    char *path;
    bool read_only;
    bool broken; /* a write failed: only reopening helps */
    soma_sql sql;
    soma_sql_query queries[SOMA_DB_QUERIES];
    soma_db_meta meta;
    soma_db_state state, next; /* next: with the transaction under way */
    /* Checkpoints whose bytes were found good, by id. */
    int64_t verified[SOMA_DB_VERIFIED];
    int verified_next;
    unsigned char *packed; /* [size x 4]: an example as it is stored */
    float *x;              /* [size] */
} soma_db;

/* Prepared, without bindings. */
static inline soma_sql_query *
soma_db_ask(soma_db *db, soma_db_query which)
{
    return &db->queries[which];
}

/* ---- journal_sqlite.c ---- */

/* Brackets whatever reads: fails when the journal is broken or closed. Read
 * only, the state is read anew, and stays while it is read. */
soma_status soma_db_enter(soma_db *db, soma_error *err);
soma_status soma_db_leave(soma_db *db, soma_status status);
/* Brackets whatever writes: ends it with a commit when `status` is SOMA_OK,
 * else rolls it back. */
soma_status soma_db_begin(soma_db *db, soma_error *err);
soma_status soma_db_end(soma_db *db, soma_status status, soma_error *err);

/* ---- journal_sqlite_open.c ---- */

/* Opens db->path, checks it, and loads meta and state. */
soma_status soma_db_open(soma_db *db, soma_error *err);
void soma_db_close(soma_db *db);
soma_status soma_db_load_state(soma_db *db, soma_error *err);
uint32_t soma_db_sum_meta(const soma_db_meta *meta, uint64_t trimmed);

/* ---- journal_sqlite_sum.c: CRC-32 over the fields of a row ---- */

uint32_t soma_db_sum_int(uint32_t sum, int64_t value);
uint32_t soma_db_sum_bytes(uint32_t sum, const void *data, size_t size);
soma_status soma_db_damaged(const soma_db *db, soma_error *err,
                            const char *what, uint64_t number);

/* ---- journal_sqlite_records.c ---- */

soma_status soma_db_put_record(soma_db *db, const soma_record *record,
                               soma_error *err);
soma_status soma_db_read_records(soma_db *db, uint64_t after, uint64_t upto,
                                 soma_journal_visit visit, void *arg,
                                 soma_error *err);
soma_status soma_db_last_leap(soma_db *db, uint64_t upto, soma_leap *leap,
                              soma_error *err);
/* Records kept from seq `from` on that are not examples. */
soma_status soma_db_count_others(soma_db *db, uint64_t from, uint64_t *count,
                                 soma_error *err);

/* ---- journal_sqlite_lessons.c: lessons and keys ---- */

soma_status soma_db_put_lessons(soma_db *db, const soma_lesson *lessons,
                                int count, soma_error *err);
soma_status soma_db_read_lessons(soma_db *db, uint64_t first, int count,
                                 soma_lesson *lessons, soma_error *err);
soma_status soma_db_put_key(soma_db *db, const soma_journal_key *key,
                            soma_error *err);
soma_status soma_db_find_key(soma_db *db, const char *text,
                             soma_journal_key *key, bool *found,
                             soma_error *err);
/* One row of SOMA_DB_KEY_FIND or of all keys; SOMA_E_FORMAT: damaged. */
soma_status soma_db_take_key(soma_db *db, soma_sql_query *row,
                             soma_journal_key *key, soma_error *err);

/* ---- journal_sqlite_checkpoints.c: checkpoints and the base ---- */

soma_status soma_db_put_part(soma_db *db, const soma_journal_part *part,
                             soma_error *err);
/* A row of SOMA_DB_CHECKPOINT_LIST, which is ordered from the newest on. */
void soma_db_take_checkpoint(soma_sql_query *row, soma_db_checkpoint *c);
/* The newest complete one with seq <= upto; id 0: none. */
soma_status soma_db_find_checkpoint(soma_db *db, uint64_t upto,
                                    soma_db_checkpoint *c, soma_error *err);
/* Reads its bytes to `to` [size], or only checks them where that is NULL. */
soma_status soma_db_read_checkpoint(soma_db *db, const soma_db_checkpoint *c,
                                    unsigned char *to, soma_error *err);
soma_status soma_db_read_base(soma_db *db, soma_bytes *model, soma_error *err);

/* ---- journal_sqlite_trim.c, journal_sqlite_check.c ---- */

soma_status soma_db_trim(soma_db *db, const soma_journal_policy *policy,
                         int most, bool *more, soma_error *err);
soma_status soma_db_check(soma_db *db, soma_error *err);

#endif

/* Trimming, at most so many rows a call.
 *
 * Records go only from the oldest end, and only as far as a checkpoint whose
 * bytes were read and found good covers them. What the newest version needs
 * may reach further back than the newest checkpoint: a rollback behind it
 * goes back to a target that may be older, which needs a checkpoint at or
 * before the target, and so on. All of that stays.
 */
#include "server/engine/journal_sqlite.h"

#include <string.h>

/* What must stay. */
typedef struct needs {
    uint64_t records; /* those with seq above */
    int64_t newest;   /* id of the newest good checkpoint; 0: none */
    int64_t farthest; /* id of the one that everything follows from */
} needs;

typedef struct trimmer {
    soma_db *db;
    const soma_journal_policy *policy;
    int left; /* rows that may still go */
} trimmer;

/* ---- What must stay ---- */

static bool
is_verified(const soma_db *db, int64_t id)
{
    for (int i = 0; i < SOMA_DB_VERIFIED; i++)
        if (db->verified[i] == id)
            return true;
    return false;
}

/* Reads it once in the life of the process. */
static soma_status
verify(soma_db *db, const soma_db_checkpoint *c, bool *good, soma_error *err)
{
    *good = true;
    if (is_verified(db, c->id))
        return SOMA_OK;
    soma_error damage;
    soma_status status = soma_db_read_checkpoint(db, c, NULL, &damage);
    if (status == SOMA_E_FORMAT) {
        *good = false;
        return SOMA_OK;
    }
    if (status && err)
        *err = damage;
    if (!status) {
        db->verified[db->verified_next] = c->id;
        db->verified_next = (db->verified_next + 1) % SOMA_DB_VERIFIED;
    }
    return status;
}

/* The newest checkpoint with seq <= upto whose bytes are good; id 0: none. */
static soma_status
find_good(soma_db *db, uint64_t upto, soma_db_checkpoint *c, soma_error *err)
{
    for (;;) {
        bool good;
        soma_status status = soma_db_find_checkpoint(db, upto, c, err);
        if (status || !c->id)
            return status;
        status = verify(db, c, &good, err);
        if (status || good)
            return status;
        if (c->seq == 0)
            break;
        upto = c->seq - 1;
    }
    *c = (soma_db_checkpoint){0};
    return SOMA_OK;
}

static soma_status
find_needs(soma_db *db, needs *n, soma_error *err)
{
    uint64_t version = db->state.last;
    *n = (needs){0};
    for (;;) {
        soma_db_checkpoint c;
        soma_leap leap;
        soma_status status = find_good(db, version, &c, err);
        if (!status)
            status = soma_db_last_leap(db, version, &leap, err);
        if (status)
            return status;
        if (!n->newest)
            n->newest = c.id;
        if (leap.seq <= c.seq) {
            n->farthest = c.id;
            n->records = c.seq;
            return SOMA_OK;
        }
        if (leap.kind == SOMA_RECORD_ADOPTION) {
            n->records = leap.seq - 1; /* it brings its own state */
            return SOMA_OK;
        }
        version = leap.target;
    }
}

/* ---- Records ---- */

/* The last seq that goes by keep_examples: everything before the keep-th
 * newest example. As many records from the end, and one more for each among
 * them that is none. */
static soma_status
end_by_count(const trimmer *t, uint64_t *end, soma_error *err)
{
    const soma_db_state *state = &t->db->state;
    uint64_t keep = t->policy->keep_examples;
    uint64_t others = 0, more = 0;
    *end = state->trimmed;
    if (keep == 0)
        return SOMA_OK;
    do {
        others = more;
        if (keep > state->last || others >= state->last - keep)
            return SOMA_OK;
        soma_status status = soma_db_count_others(
            t->db, state->last - keep - others + 1, &more, err);
        if (status)
            return status;
    } while (more > others);
    uint64_t last_gone = state->last - keep - others;
    *end = last_gone > *end ? last_gone : *end;
    return SOMA_OK;
}

/* Moves *end on over records that are older than keep_since, up to `limit`. */
static soma_status
move_by_time(const trimmer *t, uint64_t limit, uint64_t *end, soma_error *err)
{
    if (t->policy->keep_since == 0 || *end >= limit)
        return SOMA_OK;
    soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_RECORD_TIMES);
    bool found;
    soma_sql_bind(query, 1, (int64_t)*end + 1);
    soma_sql_bind(query, 2, (int64_t)limit);
    soma_status status = soma_sql_step(query, &found, err);
    while (!status && found && soma_sql_int(query, 1) < t->policy->keep_since) {
        *end = (uint64_t)soma_sql_int(query, 0);
        status = soma_sql_step(query, &found, err);
    }
    soma_sql_reset(query);
    return status;
}

static soma_status
drop_records(trimmer *t, uint64_t end, soma_error *err)
{
    soma_db *db = t->db;
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_RECORD_TRIM);
    soma_sql_bind(query, 1, (int64_t)end);
    soma_status status = soma_sql_run(query, err);
    if (status)
        return status;
    query = soma_db_ask(db, SOMA_DB_META_TRIM);
    soma_sql_bind(query, 1, (int64_t)end);
    soma_sql_bind(query, 2, soma_db_sum_meta(&db->meta, end));
    status = soma_sql_run(query, err);
    t->left -= (int)(end - db->next.trimmed);
    db->next.trimmed = end;
    if (!status && db->next.others)
        status = soma_db_count_others(db, 0, &db->next.others, err);
    return status;
}

static soma_status
trim_records(trimmer *t, const needs *n, soma_error *err)
{
    uint64_t start = t->db->state.trimmed, end;
    uint64_t limit = start + (uint64_t)t->left;
    if (limit > n->records)
        limit = n->records;
    soma_status status = end_by_count(t, &end, err);
    if (!status && end < limit)
        status = move_by_time(t, limit, &end, err);
    if (end > limit)
        end = limit;
    if (status || end <= start)
        return status;
    return drop_records(t, end, err);
}

/* ---- Checkpoints ---- */

/* The oldest checkpoint that neither the policy nor `n` keeps; 0: none. */
static soma_status
find_surplus(const trimmer *t, const needs *n, int64_t *id, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_CHECKPOINT_LIST);
    int keep = t->policy->keep_checkpoints;
    soma_db_checkpoint c;
    bool found;
    *id = 0;
    if (keep == 0)
        return SOMA_OK;
    keep = keep < 2 ? 2 : keep;
    soma_status status = soma_sql_step(query, &found, err);
    for (int complete = 0; !status && found;) {
        soma_db_take_checkpoint(query, &c);
        complete += c.complete;
        if (c.complete && complete > keep && c.id != n->newest &&
            c.id != n->farthest)
            *id = c.id;
        status = soma_sql_step(query, &found, err);
    }
    return status;
}

static soma_status
drop_some(trimmer *t, soma_sql_query *query, soma_error *err)
{
    soma_status status = soma_sql_run(query, err);
    if (!status)
        t->left -= (int)soma_sql_changes(&t->db->sql);
    return status;
}

static soma_status
trim_checkpoints(trimmer *t, const needs *n, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_CHECKPOINT_LEFT);
    soma_sql_bind(query, 1, t->db->state.writing);
    soma_status status = drop_some(t, query, err);
    for (int64_t id = 1; id && t->left > 0 && !status;) {
        status = find_surplus(t, n, &id, err);
        if (status || !id)
            break;
        query = soma_db_ask(t->db, SOMA_DB_CHECKPOINT_DROP);
        soma_sql_bind(query, 1, id);
        status = drop_some(t, query, err);
    }
    if (status || t->left <= 0)
        return status;
    query = soma_db_ask(t->db, SOMA_DB_PART_TRIM);
    soma_sql_bind(query, 1, t->left);
    return drop_some(t, query, err);
}

/* ---- Keys and lessons ---- */

static soma_status
trim_keys(trimmer *t, soma_error *err)
{
    const soma_journal_policy *policy = t->policy;
    soma_db_state *next = &t->db->next;
    soma_status status = SOMA_OK;
    int before = t->left;
    if (policy->keep_keys && next->keys > policy->keep_keys && t->left > 0) {
        uint64_t surplus = next->keys - policy->keep_keys;
        uint64_t most = (uint64_t)t->left;
        soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_KEY_TRIM);
        soma_sql_bind(query, 1, (int64_t)(surplus < most ? surplus : most));
        status = drop_some(t, query, err);
    }
    if (!status && policy->keys_since && t->left > 0) {
        soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_KEY_TRIM_OLD);
        soma_sql_bind(query, 1, t->left);
        soma_sql_bind(query, 2, policy->keys_since);
        status = drop_some(t, query, err);
    }
    next->keys -= (uint64_t)(before - t->left);
    return status;
}

/* A lesson stays as long as its record, or the oldest key, which a repeated
 * request may ask for. */
static soma_status
trim_lessons(trimmer *t, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(t->db, SOMA_DB_KEY_OLDEST);
    uint64_t first = t->db->next.trimmed + 1;
    bool found;
    if (t->left <= 0)
        return SOMA_OK;
    soma_status status = soma_sql_step(query, &found, err);
    if (found && (uint64_t)soma_sql_int(query, 0) < first)
        first = (uint64_t)soma_sql_int(query, 0);
    soma_sql_reset(query);
    if (status)
        return status;
    query = soma_db_ask(t->db, SOMA_DB_LESSON_TRIM);
    soma_sql_bind(query, 1, (int64_t)first);
    soma_sql_bind(query, 2, t->left);
    return drop_some(t, query, err);
}

soma_status
soma_db_trim(soma_db *db, const soma_journal_policy *policy, int most,
             bool *more, soma_error *err)
{
    trimmer t = {.db = db, .policy = policy, .left = most < 1 ? 1 : most};
    needs n;
    soma_status status = find_needs(db, &n, err);
    if (!status)
        status = trim_records(&t, &n, err);
    if (!status && t.left > 0)
        status = trim_checkpoints(&t, &n, err);
    if (!status)
        status = trim_keys(&t, err);
    if (!status)
        status = trim_lessons(&t, err);
    *more = !status && t.left <= 0;
    return status;
}

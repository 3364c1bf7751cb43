/* Lessons and keys.
 *
 * Lessons stand in stretches, one row for each run of versions that came
 * together: a row of its own for each lesson would cost more than the lesson.
 * Stretches never overlap. A lesson, 13 bytes, little endian: loss (float32),
 * predicted (int32), steps (int32), rejected (0 or 1).
 */
#include "server/engine/journal_sqlite.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { LESSON = 13 };

typedef struct stretch {
    uint64_t first, last;
    const unsigned char *data; /* [(last - first + 1) x LESSON] */
} stretch;

static size_t
stretch_size(const stretch *s)
{
    return (size_t)(s->last - s->first + 1) * LESSON;
}

static uint32_t
sum_stretch(const stretch *s)
{
    uint32_t sum = soma_db_sum_int(0, (int64_t)s->first);
    sum = soma_db_sum_int(sum, (int64_t)s->last);
    return soma_db_sum_bytes(sum, s->data, stretch_size(s));
}

/* ---- A lesson as bytes ---- */

static void
put_word(unsigned char *to, const void *word)
{
    uint32_t bits;
    memcpy(&bits, word, sizeof bits);
    bits = htole32(bits);
    memcpy(to, &bits, sizeof bits);
}

static void
take_word(const unsigned char *from, void *word)
{
    uint32_t bits;
    memcpy(&bits, from, sizeof bits);
    bits = le32toh(bits);
    memcpy(word, &bits, sizeof bits);
}

static void
pack(const soma_lesson *lesson, unsigned char *to)
{
    put_word(to, &lesson->loss);
    put_word(to + 4, &lesson->predicted);
    put_word(to + 8, &lesson->steps);
    to[12] = lesson->rejected;
}

static soma_lesson
unpack(uint64_t version, const unsigned char *from)
{
    soma_lesson lesson = {.version = version, .rejected = from[12] != 0};
    take_word(from, &lesson.loss);
    take_word(from + 4, &lesson.predicted);
    take_word(from + 8, &lesson.steps);
    return lesson;
}

/* ---- Writing ---- */

static soma_status
put_stretch(soma_db *db, const stretch *s, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_LESSON_PUT);
    soma_sql_bind(query, 1, (int64_t)s->first);
    soma_sql_bind(query, 2, (int64_t)s->last);
    soma_sql_bind_bytes(query, 3, s->data, stretch_size(s));
    soma_sql_bind(query, 4, sum_stretch(s));
    return soma_sql_run(query, err);
}

/* A row of SOMA_DB_LESSON_READ. */
static soma_status
take_stretch(soma_db *db, soma_sql_query *query, stretch *s, soma_error *err)
{
    size_t size;
    s->first = (uint64_t)soma_sql_int(query, 0);
    s->last = (uint64_t)soma_sql_int(query, 1);
    s->data = soma_sql_bytes(query, 2, &size);
    if (s->first == 0 || s->last < s->first || size % LESSON ||
        size / LESSON != s->last - s->first + 1 ||
        soma_sql_int(query, 3) != sum_stretch(s))
        return soma_db_damaged(db, err, "the stretch of lessons from",
                               s->first);
    return SOMA_OK;
}

static soma_status
drop_stretch(soma_db *db, uint64_t first, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_LESSON_DROP);
    soma_sql_bind(query, 1, (int64_t)first);
    return soma_sql_run(query, err);
}

/* The first stretch that has to do with first .. last. */
static void
ask_stretches(soma_sql_query *query, uint64_t first, uint64_t last)
{
    soma_sql_bind(query, 1, (int64_t)first);
    soma_sql_bind(query, 2, (int64_t)last);
}

/* Takes first .. last out of the one stretch that `old` is a copy of. */
static soma_status
cut(soma_db *db, const stretch *old, uint64_t first, uint64_t last,
    soma_error *err)
{
    soma_status status = drop_stretch(db, old->first, err);
    if (!status && old->first < first) {
        stretch before = {old->first, first - 1, old->data};
        status = put_stretch(db, &before, err);
    }
    if (!status && old->last > last) {
        stretch behind = {last + 1, old->last,
                          old->data + (size_t)(last + 1 - old->first) * LESSON};
        status = put_stretch(db, &behind, err);
    }
    return status;
}

/* Makes room for lessons that are written once more. */
static soma_status
carve(soma_db *db, uint64_t first, uint64_t last, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_LESSON_READ);
    for (;;) {
        bool found;
        stretch old;
        ask_stretches(query, first, last);
        soma_status status = soma_sql_step(query, &found, err);
        if (status || !found)
            return status;
        status = take_stretch(db, query, &old, err);
        unsigned char *copy = status ? NULL : malloc(stretch_size(&old));
        if (copy)
            old.data = memcpy(copy, old.data, stretch_size(&old));
        else if (!status)
            status = soma_error_memory(err, "lessons");
        soma_sql_reset(query);
        if (!status)
            status = cut(db, &old, first, last, err);
        free(copy);
        if (status)
            return status;
    }
}

static soma_status
put_run(soma_db *db, const soma_lesson *lessons, int count, soma_error *err)
{
    stretch s = {.first = lessons[0].version,
                 .last = lessons[count - 1].version};
    unsigned char *data = malloc((size_t)count * LESSON);
    if (!data)
        return soma_error_memory(err, "lessons");
    for (int i = 0; i < count; i++)
        pack(&lessons[i], data + (size_t)i * LESSON);
    s.data = data;
    soma_status status = SOMA_OK;
    if (s.first <= db->next.lesson_last)
        status = carve(db, s.first, s.last, err);
    if (!status)
        status = put_stretch(db, &s, err);
    free(data);
    if (!status && s.last > db->next.lesson_last)
        db->next.lesson_last = s.last;
    return status;
}

soma_status
soma_db_put_lessons(soma_db *db, const soma_lesson *lessons, int count,
                    soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 0, run; i < count && !status; i += run) {
        for (run = 1; i + run < count &&
                      lessons[i + run].version == lessons[i].version + run;)
            run++;
        if (lessons[i].version == 0 ||
            lessons[i + run - 1].version > db->next.last)
            return soma_error_set(err, SOMA_E_INTERNAL,
                                  "%s: a lesson of record %llu, which is not "
                                  "there",
                                  db->path,
                                  (unsigned long long)lessons[i].version);
        status = put_run(db, lessons + i, run, err);
    }
    return status;
}

/* ---- Reading ---- */

static void
spread(const stretch *s, uint64_t first, uint64_t last, soma_lesson *lessons)
{
    uint64_t from = s->first > first ? s->first : first;
    uint64_t to = s->last < last ? s->last : last;
    for (uint64_t v = from; v <= to; v++)
        lessons[v - first] =
            unpack(v, s->data + (size_t)(v - s->first) * LESSON);
}

soma_status
soma_db_read_lessons(soma_db *db, uint64_t first, int count,
                     soma_lesson *lessons, soma_error *err)
{
    if (count <= 0)
        return SOMA_OK;
    memset(lessons, 0, (size_t)count * sizeof *lessons);
    uint64_t last = first + (uint64_t)count - 1;
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_LESSON_READ);
    bool found;
    stretch s;
    ask_stretches(query, first, last);
    soma_status status = soma_sql_step(query, &found, err);
    while (!status && found) {
        status = take_stretch(db, query, &s, err);
        if (!status) {
            spread(&s, first, last, lessons);
            status = soma_sql_step(query, &found, err);
        }
    }
    soma_sql_reset(query);
    return status;
}

/* ---- Keys ---- */

static uint32_t
sum_key(const soma_journal_key *key)
{
    uint32_t sum = soma_db_sum_bytes(0, key->text, strlen(key->text));
    sum = soma_db_sum_bytes(sum, key->fingerprint, sizeof key->fingerprint);
    sum = soma_db_sum_int(sum, (int64_t)key->first);
    sum = soma_db_sum_int(sum, key->count);
    return soma_db_sum_int(sum, key->time);
}

static void
bind_key(soma_sql_query *query, const soma_journal_key *key)
{
    soma_sql_bind_text(query, 1, key->text);
    soma_sql_bind_bytes(query, 2, key->fingerprint, sizeof key->fingerprint);
    soma_sql_bind(query, 3, (int64_t)key->first);
    soma_sql_bind(query, 4, key->count);
    soma_sql_bind(query, 5, key->time);
    soma_sql_bind(query, 6, sum_key(key));
}

/* A new key is the common case, and costs one statement. */
soma_status
soma_db_put_key(soma_db *db, const soma_journal_key *key, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_KEY_PUT);
    bind_key(query, key);
    soma_status status = soma_sql_run(query, err);
    if (status)
        return status;
    if (soma_sql_changes(&db->sql) > 0) {
        db->next.keys++;
        return SOMA_OK;
    }
    query = soma_db_ask(db, SOMA_DB_KEY_REPLACE);
    bind_key(query, key);
    return soma_sql_run(query, err);
}

soma_status
soma_db_take_key(soma_db *db, soma_sql_query *row, soma_journal_key *key,
                 soma_error *err)
{
    const char *text = soma_sql_text(row, 0);
    size_t size, length = strlen(text);
    const void *fingerprint = soma_sql_bytes(row, 1, &size);
    *key = (soma_journal_key){.first = (uint64_t)soma_sql_int(row, 2),
                              .count = (int)soma_sql_int(row, 3),
                              .time = soma_sql_int(row, 4)};
    bool good = length <= SOMA_KEY_MAX && size == sizeof key->fingerprint;
    if (good) {
        memcpy(key->text, text, length + 1);
        memcpy(key->fingerprint, fingerprint, size);
        good = soma_sql_int(row, 5) == sum_key(key);
    }
    if (good)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT,
                          "%s: the idempotency key \"%.80s\" is damaged",
                          db->path, text);
}

soma_status
soma_db_find_key(soma_db *db, const char *text, soma_journal_key *key,
                 bool *found, soma_error *err)
{
    soma_sql_query *query = soma_db_ask(db, SOMA_DB_KEY_FIND);
    soma_sql_bind_text(query, 1, text);
    soma_status status = soma_sql_step(query, found, err);
    if (!status && *found)
        status = soma_db_take_key(db, query, key, err);
    soma_sql_reset(query);
    *found = *found && !status;
    return status;
}

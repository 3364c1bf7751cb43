/* Records in the stream. Bytes of one, little endian: kind, encoding of the
 * values (0: none, 1: bytes, 2: float32), 2 of zero, label (4), rate (4), time
 * (8), target (8), size of the values (4), size of the data (4), values, data,
 * CRC-32 (4) of the seq as 8 bytes and all before.
 */
#include "core/memory.h"
#include "server/engine/journal_redis.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { NONE, BYTES, FLOATS };
enum { HEAD = 36, TAIL = 4, CHUNK = 128 };

static void
put32(unsigned char *to, uint32_t value)
{
    value = htole32(value);
    memcpy(to, &value, sizeof value);
}

static void
put64(unsigned char *to, uint64_t value)
{
    value = htole64(value);
    memcpy(to, &value, sizeof value);
}

static uint32_t
get32(const unsigned char *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

static uint64_t
get64(const unsigned char *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

static uint32_t
sum_of(uint64_t seq, const unsigned char *bytes, size_t size)
{
    unsigned char number[8];
    put64(number, seq);
    return (uint32_t)crc32_z(crc32(0, number, sizeof number), bytes, size);
}

/* ---- Writing ---- */

static soma_status
check_record(const soma_stream *stream, const soma_record *record,
             soma_error *err)
{
    bool example = record->kind == SOMA_RECORD_EXAMPLE;
    if (example && (!record->x || !isfinite(record->rate)))
        return soma_error_set(err, SOMA_E_INTERNAL,
                              "%s: record %llu has no values or no finite rate",
                              stream->name, (unsigned long long)record->seq);
    if (record->kind == SOMA_RECORD_ROLLBACK && record->target >= record->seq)
        return soma_error_set(err, SOMA_E_INTERNAL,
                              "%s: record %llu goes back to a later version",
                              stream->name, (unsigned long long)record->seq);
    return SOMA_OK;
}

/* Writes the values to stream->packed; their size. */
static uint32_t
pack_values(soma_stream *stream, const float *x, unsigned char *encoding)
{
    size_t size = (size_t)stream->journal.size;
    *encoding = BYTES;
    if (soma_memory_pack(x, size, stream->packed))
        return (uint32_t)size;
    *encoding = FLOATS;
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        put32(stream->packed + i * sizeof bits, bits);
    }
    return (uint32_t)(size * sizeof(float));
}

static void
add_leap(const soma_record *record, soma_redis_command *command)
{
    char leap[64] = "";
    if (record->kind == SOMA_RECORD_ROLLBACK ||
        record->kind == SOMA_RECORD_ADOPTION)
        snprintf(leap, sizeof leap, "%llu:%d:%llu",
                 (unsigned long long)record->seq, (int)record->kind,
                 (unsigned long long)record->target);
    soma_redis_text(command, leap);
}

soma_status
soma_stream_pack(soma_stream *stream, const soma_record *record,
                 soma_redis_command *command, soma_error *err)
{
    unsigned char encoding = NONE;
    uint32_t x_size = 0, rate;
    bool example = record->kind == SOMA_RECORD_EXAMPLE;
    soma_status status = check_record(stream, record, err);
    if (status)
        return status;
    uint32_t data_size = example ? 0 : (uint32_t)record->data_size;
    if (example)
        x_size = pack_values(stream, record->x, &encoding);
    size_t size = HEAD + (size_t)x_size + data_size;
    unsigned char *bytes = calloc(1, size + TAIL);
    if (!bytes)
        return soma_error_memory(err, "a journal's record");
    memcpy(&rate, &record->rate, sizeof rate);
    bytes[0] = (unsigned char)record->kind;
    bytes[1] = encoding;
    put32(bytes + 4, (uint32_t)record->label);
    put32(bytes + 8, rate);
    put64(bytes + 12, (uint64_t)record->time);
    put64(bytes + 20, record->target);
    put32(bytes + 28, x_size);
    put32(bytes + 32, data_size);
    if (x_size)
        memcpy(bytes + HEAD, stream->packed, x_size);
    if (data_size)
        memcpy(bytes + HEAD + x_size, record->data, data_size);
    put32(bytes + size, sum_of(record->seq, bytes, size));
    soma_redis_number(command, (int64_t)record->seq);
    soma_redis_add(command, bytes, size + TAIL);
    soma_redis_number(command, record->time);
    add_leap(record, command);
    soma_redis_number(command, example);
    free(bytes);
    return SOMA_OK;
}

/* ---- Reading ---- */

static bool
unpack_values(soma_stream *stream, const unsigned char *from, size_t x_size,
              int encoding)
{
    size_t size = (size_t)stream->journal.size;
    size_t each = encoding == BYTES ? 1 : sizeof(float);
    if (x_size != size * each || encoding == NONE)
        return false;
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;
        if (encoding == BYTES) {
            stream->x[i] = from[i];
            continue;
        }
        bits = get32(from + i * sizeof bits);
        memcpy(&stream->x[i], &bits, sizeof bits);
    }
    return true;
}

/* Into *record, which points into `bytes` and the stream. */
static bool
unpack(soma_stream *stream, const unsigned char *bytes, size_t size,
       soma_record *record)
{
    if (size < HEAD + TAIL)
        return false;
    size_t x_size = get32(bytes + 28), data_size = get32(bytes + 32);
    if (size != HEAD + x_size + data_size + TAIL ||
        get32(bytes + size - TAIL) != sum_of(record->seq, bytes, size - TAIL))
        return false;
    uint32_t rate = get32(bytes + 8);
    record->kind = (soma_record_kind)bytes[0];
    record->label = (int)get32(bytes + 4);
    memcpy(&record->rate, &rate, sizeof rate);
    record->time = (int64_t)get64(bytes + 12);
    record->target = get64(bytes + 20);
    record->x = NULL;
    record->data = data_size ? bytes + HEAD + x_size : NULL;
    record->data_size = data_size;
    if (record->kind != SOMA_RECORD_EXAMPLE)
        return true;
    record->x = stream->x;
    return unpack_values(stream, bytes + HEAD, x_size, bytes[1]);
}

/* An entry: its id, and its fields. */
static soma_status
visit_entry(soma_stream *stream, const redisReply *entry, uint64_t expected,
            soma_journal_visit visit, void *arg, soma_error *err)
{
    soma_record record = {.seq = expected};
    const redisReply *fields = entry->elements == 2 ? entry->element[1] : NULL;
    if (!fields || fields->elements < 2)
        return soma_stream_damaged(stream, err, "record", expected);
    uint64_t seq = strtoull(entry->element[0]->str, NULL, 10);
    if (seq != expected)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: records before %llu are gone", stream->name,
                              (unsigned long long)seq);
    const redisReply *bytes = fields->element[1];
    if (!unpack(stream, (const unsigned char *)bytes->str, (size_t)bytes->len,
                &record))
        return soma_stream_damaged(stream, err, "record", expected);
    return visit(&record, arg, err);
}

static redisReply *
read_chunk(soma_stream *stream, uint64_t after, uint64_t upto, soma_error *err)
{
    soma_redis_command command = {.count = 0};
    soma_stream_verb(stream, &command, "XRANGE", SOMA_STREAM_EXAMPLES);
    soma_redis_number(&command, (int64_t)after + 1);
    if (upto > INT64_MAX)
        soma_redis_text(&command, "+");
    else
        soma_redis_number(&command, (int64_t)upto);
    soma_redis_text(&command, "COUNT");
    soma_redis_number(&command, CHUNK);
    return soma_stream_do(stream, &command, err);
}

soma_status
soma_stream_read(soma_journal *journal, uint64_t after, uint64_t upto,
                 soma_journal_visit visit, void *arg, soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_status status = SOMA_OK;
    soma_journal_info info;
    status = journal->backend->info(journal, &info, err);
    if (!status && upto > info.last)
        upto = info.last;
    while (!status && after < upto) {
        redisReply *reply = read_chunk(stream, after, upto, err);
        if (!reply)
            return err->status;
        if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
            status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                    "%s: records after %llu are gone",
                                    stream->name, (unsigned long long)after);
        for (size_t i = 0; i < reply->elements && !status; i++)
            status = visit_entry(stream, reply->element[i], ++after, visit, arg,
                                 err);
        freeReplyObject(reply);
    }
    return status;
}

/* One that was trimmed may have been it. */
soma_status
soma_stream_holds(soma_journal *journal, const soma_place *place, bool *held,
                  soma_error *err)
{
    soma_journal_info info;
    soma_status status = journal->backend->info(journal, &info, err);
    *held = !status && place->seq <= info.last;
    if (status || !*held || !place->mark[0] || place->seq < info.first)
        return status;
    redisReply *reply =
        read_chunk((soma_stream *)journal, place->seq - 1, place->seq, err);
    if (!reply)
        return err->status;
    if (reply->elements == 1 && reply->element[0]->elements == 2) {
        const redisReply *fields = reply->element[0]->element[1];
        *held = fields->elements >= 6 &&
                !strcmp(fields->element[5]->str, place->mark);
    }
    freeReplyObject(reply);
    return SOMA_OK;
}

soma_status
soma_stream_last_leap(soma_journal *journal, uint64_t upto, soma_leap *leap,
                      soma_error *err)
{
    soma_stream *stream = (soma_stream *)journal;
    soma_redis_command command = {.count = 0};
    unsigned long long seq, target;
    int kind;
    *leap = (soma_leap){.seq = 0};
    soma_stream_verb(stream, &command, "ZREVRANGEBYSCORE", SOMA_STREAM_LEAPS);
    soma_redis_number(&command, upto > INT64_MAX ? INT64_MAX : (int64_t)upto);
    soma_redis_text(&command, "-inf");
    soma_redis_text(&command, "LIMIT");
    soma_redis_text(&command, "0");
    soma_redis_text(&command, "1");
    redisReply *reply = soma_stream_do(stream, &command, err);
    if (!reply)
        return err->status;
    soma_status status = SOMA_OK;
    if (reply->elements == 1) {
        if (sscanf(reply->element[0]->str, "%llu:%d:%llu", &seq, &kind,
                   &target) == 3)
            *leap = (soma_leap){seq, (soma_record_kind)kind, target};
        else
            status = soma_stream_damaged(stream, err, "leap before", upto);
    }
    freeReplyObject(reply);
    return status;
}

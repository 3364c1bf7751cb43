/* Journals for tests: records that follow from their numbers, so that what is
 * read can be compared with what was written, and all of a journal as text.
 */
#ifndef SOMA_TESTS_UNIT_JOURNALS_H
#define SOMA_TESTS_UNIT_JOURNALS_H

#include "server/engine/journal.h"

#include "tests/unit/scratch.h"

#include <nettle/sha2.h>

enum { SIZE = 12, MODEL = 3000 };

typedef struct sample {
    soma_record record;
    float x[SIZE];
    char data[40];
} sample;

/* Record `seq`: bytes or floats, now and then a rollback or settings. */
static inline soma_record *
sample_make(sample *s, uint64_t seq)
{
    *s = (sample){.record = {.seq = seq,
                             .kind = SOMA_RECORD_EXAMPLE,
                             .time = 1000 + (int64_t)seq}};
    if (seq % 11 == 5 || seq % 7 == 3) {
        s->record.kind =
            seq % 11 == 5 ? SOMA_RECORD_ROLLBACK : SOMA_RECORD_SETTINGS;
        s->record.target = seq % 11 == 5 ? seq / 2 : 0;
        snprintf(s->data, sizeof s->data, "settings %d", (int)seq);
        s->record.data = s->data;
        s->record.data_size = strlen(s->data);
        return &s->record;
    }
    for (int i = 0; i < SIZE; i++)
        s->x[i] = (float)((seq * 31 + (uint64_t)i * 7) % 256) +
                  (seq % 3 == 0 ? 0.37f : 0);
    s->record.x = s->x;
    s->record.label = (int)(seq % 10);
    s->record.rate = seq % 4 == 0 ? 0.01f : 0;
    return &s->record;
}

static inline bool
sample_equal(const soma_record *a, const soma_record *b)
{
    if (a->seq != b->seq || a->kind != b->kind || a->time != b->time ||
        a->label != b->label || memcmp(&a->rate, &b->rate, sizeof a->rate) ||
        a->target != b->target || a->data_size != b->data_size ||
        !a->x != !b->x)
        return false;
    return (!a->data_size || !memcmp(a->data, b->data, a->data_size)) &&
           (!a->x || !memcmp(a->x, b->x, SIZE * sizeof *a->x));
}

static inline soma_status
append_records(soma_journal *journal, uint64_t first, int count,
               soma_error *err)
{
    sample *samples = calloc((size_t)count, sizeof *samples);
    soma_record *records = calloc((size_t)count, sizeof *records);
    for (int i = 0; i < count; i++)
        records[i] = *sample_make(&samples[i], first + (uint64_t)i);
    soma_journal_group group = {.records = records, .count = count};
    soma_status status = journal->backend->append(journal, &group, err);
    free(samples);
    free(records);
    return status;
}

/* Visits: each record must be the one of its number. */
static inline soma_status
visit_sample(const soma_record *record, void *arg, soma_error *err)
{
    uint64_t *count = arg;
    sample s;
    (*count)++;
    if (sample_equal(record, sample_make(&s, record->seq)))
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_INTERNAL, "record %d is another",
                          (int)record->seq);
}

static inline soma_journal_base
a_base(void)
{
    static unsigned char model[MODEL];
    for (int i = 0; i < MODEL; i++)
        model[i] = (unsigned char)(i * 7 % 251);
    return (soma_journal_base){.digest = "sha256:0123",
                               .model = model,
                               .model_size = MODEL,
                               .size = SIZE,
                               .now = 1234567};
}

static inline soma_journal_key
a_key(const char *text, uint64_t first, int64_t time)
{
    soma_journal_key key = {.first = first, .count = 2, .time = time};
    snprintf(key.text, sizeof key.text, "%s", text);
    memset(key.fingerprint, (int)(first % 256), sizeof key.fingerprint);
    return key;
}

static inline soma_lesson
a_lesson(uint64_t version)
{
    return (soma_lesson){.version = version,
                         .loss = 1.0f / (float)version,
                         .predicted = (int)(version % 5),
                         .steps = (int)(version % 3),
                         .rejected = version % 13 == 0};
}

/* The state of a checkpoint of record seq. */
static inline void
state_fill(unsigned char *state, size_t size, uint64_t seq)
{
    for (size_t i = 0; i < size; i++)
        state[i] = (unsigned char)(i * 13 + seq * 29 + i / 256);
}

/* Writes one in parts of at most `part` bytes, but at most `parts` of them. */
static inline soma_status
append_checkpoint(soma_journal *journal, uint64_t seq, size_t size, size_t part,
                  int parts, soma_error *err)
{
    unsigned char *state = malloc(size);
    soma_status status = SOMA_OK;
    soma_journal_part p = {.seq = seq, .time = 77, .total = size};
    struct sha256_ctx context;
    state_fill(state, size, seq);
    sha256_init(&context);
    sha256_update(&context, size, state);
    sha256_digest(&context, sizeof p.digest, p.digest);
    for (size_t at = 0; at < size && parts-- > 0 && !status; at += part) {
        p.offset = at;
        p.size = size - at < part ? size - at : part;
        p.data = state + at;
        p.last = at + p.size == size;
        soma_journal_group group = {.part = &p};
        status = journal->backend->append(journal, &group, err);
    }
    free(state);
    return status;
}

/* ---- All of a journal as text ---- */

static inline soma_status
print_record(const soma_record *record, void *arg, soma_error *err)
{
    FILE *out = arg;
    (void)err;
    fprintf(out, "%d %d %lld %d %a %d", (int)record->seq, (int)record->kind,
            (long long)record->time, record->label, (double)record->rate,
            (int)record->target);
    for (int i = 0; record->x && i < SIZE; i++)
        fprintf(out, " %a", (double)record->x[i]);
    fprintf(out, " [%.*s]\n", (int)record->data_size,
            record->data_size ? (const char *)record->data : "");
    return SOMA_OK;
}

static inline soma_status
print_rows(soma_journal *j, const soma_journal_info *info, FILE *out)
{
    soma_lesson lessons[64];
    soma_leap leap;
    soma_status status = j->backend->read(j, info->first ? info->first - 1 : 0,
                                          info->last, print_record, out, NULL);
    if (!status)
        status = j->backend->last_leap(j, info->last, &leap, NULL);
    if (status)
        return status;
    fprintf(out, "leap %d of kind %d to %d\n", (int)leap.seq, leap.kind,
            (int)leap.target);
    status = j->backend->lessons(j, 1, 64, lessons, NULL);
    for (int i = 0; i < 64 && !status; i++)
        fprintf(out, "lesson %d %a %d %d %d\n", (int)lessons[i].version,
                (double)lessons[i].loss, lessons[i].predicted, lessons[i].steps,
                lessons[i].rejected);
    for (int i = 0; i < 10 && !status; i++) {
        char text[16];
        soma_journal_key key;
        bool found;
        snprintf(text, sizeof text, "key %d", i);
        status = j->backend->find_key(j, text, &key, &found, NULL);
        if (!status && found)
            fprintf(out, "%s %d %d %d %d\n", text, (int)key.first, key.count,
                    (int)key.time, key.fingerprint[31]);
    }
    return status;
}

static inline soma_status
print_states(soma_journal *j, uint64_t upto, FILE *out)
{
    soma_journal_checkpoint c;
    soma_bytes bytes;
    soma_status status = j->backend->base(j, &bytes, NULL);
    if (status)
        return status;
    fprintf(out, "base %zu %lx\n", bytes.size,
            crc32_z(0, bytes.data, bytes.size));
    soma_bytes_free(&bytes);
    status = j->backend->checkpoint_find(j, upto, &c, NULL);
    while (!status && c.seq) {
        status = j->backend->checkpoint_read(j, c.seq, &bytes, NULL);
        if (status)
            break;
        fprintf(out, "checkpoint %d %d %zu %lx\n", (int)c.seq, (int)c.time,
                c.size, crc32_z(0, bytes.data, bytes.size));
        soma_bytes_free(&bytes);
        status = j->backend->checkpoint_find(j, c.seq - 1, &c, NULL);
    }
    return status;
}

/* NULL: something could not be read. Free it. */
static inline char *
journal_text(soma_journal *j)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    soma_journal_info info;
    soma_status status = j->backend->info(j, &info, NULL);
    if (!status) {
        fprintf(out, "%d %d %d %d %d %s %d %s\n", (int)info.first,
                (int)info.last, (int)info.examples, (int)info.keys,
                (int)info.created, info.base, info.size, info.origin);
        status = print_rows(j, &info, out);
    }
    if (!status)
        status = print_states(j, info.last, out);
    fclose(out);
    if (!status)
        return text;
    free(text);
    return NULL;
}

#endif

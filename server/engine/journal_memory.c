/* A journal without durability: a ring of the newest records and their
 * lessons, and one of the newest keys. It keeps no checkpoints.
 */
#include "server/engine/journal.h"

#include <stdlib.h>
#include <string.h>

enum { KEYS = 1024 };

/* What a record has besides x. */
typedef struct slot {
    soma_record record; /* its x and data point into the ring */
    soma_lesson lesson; /* version 0: none */
    void *data;
} slot;

typedef struct memory_journal {
    soma_journal journal;
    unsigned char settings[SOMA_LEARNING_BYTES];
    size_t room;            /* records that fit */
    uint64_t last;          /* seq of the newest, 0: none */
    slot *slots;            /* [room]; record seq stands at seq % room */
    float *x;               /* [room x size] */
    soma_journal_key *keys; /* [KEYS], a ring */
    uint64_t key_count;     /* that ever were */
} memory_journal;

static slot *
slot_of(memory_journal *memory, uint64_t seq)
{
    return &memory->slots[seq % memory->room];
}

/* Of the oldest record kept. */
static uint64_t
first_of(const memory_journal *memory)
{
    return memory->last > memory->room ? memory->last - memory->room + 1 : 1;
}

static soma_journal_key *
look_up(memory_journal *memory, const char *text)
{
    uint64_t count = memory->key_count < KEYS ? memory->key_count : KEYS;
    for (uint64_t i = 0; i < count; i++)
        if (strcmp(memory->keys[i].text, text) == 0)
            return &memory->keys[i];
    return NULL;
}

/* ---- Appending ---- */

/* All that can fail: the copies of the records' data, copies[i] for each. */
static soma_status
copy_data(const soma_journal_group *group, void **copies, soma_error *err)
{
    for (int i = 0; i < group->count; i++) {
        const soma_record *record = &group->records[i];
        if (record->kind == SOMA_RECORD_EXAMPLE || record->data_size == 0)
            continue;
        copies[i] = malloc(record->data_size);
        if (!copies[i]) {
            while (i-- > 0) {
                free(copies[i]);
                copies[i] = NULL;
            }
            return soma_error_memory(err, "a journal's record");
        }
        memcpy(copies[i], record->data, record->data_size);
    }
    return SOMA_OK;
}

static void
put_record(memory_journal *memory, const soma_record *record, void *data)
{
    size_t size = (size_t)memory->journal.size;
    slot *s = slot_of(memory, record->seq);
    float *x = memory->x + (size_t)(record->seq % memory->room) * size;
    free(s->data);
    *s = (slot){.record = *record, .data = data};
    s->record.data = data;
    s->record.data_size = data ? record->data_size : 0;
    if (record->kind == SOMA_RECORD_EXAMPLE)
        s->record.x = memcpy(x, record->x, size * sizeof *x);
    else
        s->record.x = NULL;
    memory->last = record->seq;
}

static void
put_key(memory_journal *memory, const soma_journal_key *key)
{
    soma_journal_key *there = look_up(memory, key->text);
    *(there ? there : &memory->keys[memory->key_count++ % KEYS]) = *key;
}

static soma_status
memory_append(soma_journal *journal, const soma_journal_group *group,
              soma_error *err)
{
    memory_journal *memory = (memory_journal *)journal;
    for (int i = 0; i < group->count; i++)
        if (group->records[i].seq != memory->last + 1 + (uint64_t)i)
            return soma_error_set(err, SOMA_E_INTERNAL,
                                  "journal: record %llu after %llu",
                                  (unsigned long long)group->records[i].seq,
                                  (unsigned long long)memory->last + i);
    void **copies = calloc((size_t)group->count + 1, sizeof *copies);
    if (!copies)
        return soma_error_memory(err, "journal records");
    soma_status status = copy_data(group, copies, err);
    for (int i = 0; i < group->count && !status; i++)
        put_record(memory, &group->records[i], copies[i]);
    free(copies);
    for (int i = 0; i < group->key_count && !status; i++)
        put_key(memory, &group->keys[i]);
    for (int i = 0; i < group->lesson_count && !status; i++) {
        uint64_t version = group->lessons[i].version;
        if (version >= first_of(memory) && version <= memory->last)
            slot_of(memory, version)->lesson = group->lessons[i];
    }
    return status;
}

/* ---- Reading ---- */

static soma_status
memory_info(soma_journal *journal, soma_journal_info *info, soma_error *err)
{
    (void)err;
    memory_journal *memory = (memory_journal *)journal;
    *info = (soma_journal_info){.first = memory->last ? first_of(memory) : 0,
                                .last = memory->last,
                                .keys = memory->key_count,
                                .size = journal->size};
    memcpy(info->settings, memory->settings, sizeof info->settings);
    if (info->keys > KEYS)
        info->keys = KEYS;
    for (uint64_t seq = first_of(memory); seq <= memory->last; seq++)
        info->examples +=
            slot_of(memory, seq)->record.kind == SOMA_RECORD_EXAMPLE;
    return SOMA_OK;
}

static soma_status
memory_read(soma_journal *journal, uint64_t after, uint64_t upto,
            soma_journal_visit visit, void *arg, soma_error *err)
{
    memory_journal *memory = (memory_journal *)journal;
    uint64_t first = first_of(memory);
    if (upto > memory->last)
        upto = memory->last;
    if (after < upto && after + 1 < first)
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "journal: records before %llu are gone",
                              (unsigned long long)first);
    soma_status status = SOMA_OK;
    for (uint64_t seq = after + 1; seq <= upto && !status; seq++)
        status = visit(&slot_of(memory, seq)->record, arg, err);
    return status;
}

static soma_status
memory_last_leap(soma_journal *journal, uint64_t upto, soma_leap *leap,
                 soma_error *err)
{
    (void)err;
    memory_journal *memory = (memory_journal *)journal;
    *leap = (soma_leap){.seq = 0};
    if (upto > memory->last)
        upto = memory->last;
    for (uint64_t s = upto; s >= first_of(memory) && !leap->seq; s--) {
        const soma_record *record = &slot_of(memory, s)->record;
        if (record->kind == SOMA_RECORD_ROLLBACK ||
            record->kind == SOMA_RECORD_ADOPTION)
            *leap = (soma_leap){record->seq, record->kind, record->target};
    }
    return SOMA_OK;
}

static soma_status
memory_find_key(soma_journal *journal, const char *text, soma_journal_key *key,
                bool *found, soma_error *err)
{
    (void)err;
    const soma_journal_key *there = look_up((memory_journal *)journal, text);
    *found = there != NULL;
    if (there)
        *key = *there;
    return SOMA_OK;
}

static soma_status
memory_lessons(soma_journal *journal, uint64_t first, int count,
               soma_lesson *lessons, soma_error *err)
{
    (void)err;
    memory_journal *memory = (memory_journal *)journal;
    for (int i = 0; i < count; i++) {
        uint64_t seq = first + (uint64_t)i;
        bool there = seq >= first_of(memory) && seq <= memory->last;
        lessons[i] = there ? slot_of(memory, seq)->lesson : (soma_lesson){0};
    }
    return SOMA_OK;
}

/* ---- What it has not ---- */

static soma_status
memory_checkpoint_find(soma_journal *journal, uint64_t upto,
                       soma_journal_checkpoint *checkpoint, soma_error *err)
{
    (void)journal, (void)upto, (void)err;
    *checkpoint = (soma_journal_checkpoint){0};
    return SOMA_OK;
}

static soma_status
memory_checkpoint_read(soma_journal *journal, uint64_t seq, soma_bytes *state,
                       soma_error *err)
{
    (void)journal;
    *state = (soma_bytes){NULL, 0};
    return soma_error_set(err, SOMA_E_NOT_FOUND,
                          "journal: no checkpoint of record %llu",
                          (unsigned long long)seq);
}

static soma_status
memory_base(soma_journal *journal, soma_bytes *model, soma_error *err)
{
    (void)journal;
    *model = (soma_bytes){NULL, 0};
    return soma_error_set(err, SOMA_E_NOT_FOUND, "journal: it keeps no model");
}

static soma_status
memory_trim(soma_journal *journal, const soma_journal_policy *policy, int most,
            bool *more, soma_error *err)
{
    (void)journal, (void)policy, (void)most, (void)err;
    *more = false;
    return SOMA_OK;
}

static soma_status
memory_nothing(soma_journal *journal, soma_error *err)
{
    (void)journal, (void)err;
    return SOMA_OK;
}

static void
memory_close(soma_journal *journal)
{
    memory_journal *memory = (memory_journal *)journal;
    for (size_t i = 0; memory->slots && i < memory->room; i++)
        free(memory->slots[i].data);
    free(memory->slots);
    free(memory->keys);
    free(memory->x);
    free(memory);
}

static const soma_journal_backend backend = {
    .name = "memory",
    .durable = false,
    .append = memory_append,
    .reopen = memory_nothing,
    .info = memory_info,
    .read = memory_read,
    .last_leap = memory_last_leap,
    .find_key = memory_find_key,
    .lessons = memory_lessons,
    .checkpoint_find = memory_checkpoint_find,
    .checkpoint_read = memory_checkpoint_read,
    .base = memory_base,
    .trim = memory_trim,
    .check = memory_nothing,
    .close = memory_close,
};

soma_journal *
soma_journal_memory(const soma_journal_base *base, size_t bytes,
                    soma_error *err)
{
    int size = base->size;
    size_t each = (size_t)size * sizeof(float) + sizeof(slot);
    memory_journal *memory = calloc(1, sizeof *memory);
    if (!memory) {
        soma_error_memory(err, "a journal");
        return NULL;
    }
    memory->journal = (soma_journal){&backend, size};
    memcpy(memory->settings, base->settings, sizeof memory->settings);
    memory->room = bytes / each > 0 ? bytes / each : 1;
    memory->slots = calloc(memory->room, sizeof *memory->slots);
    memory->keys = calloc(KEYS, sizeof *memory->keys);
    memory->x = malloc(memory->room * (size_t)size * sizeof *memory->x);
    if (!memory->slots || !memory->keys || !memory->x) {
        memory_close(&memory->journal);
        soma_error_memory(err, "a journal");
        return NULL;
    }
    return &memory->journal;
}

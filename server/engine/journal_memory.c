/* A journal without durability: a ring of the newest records. */
#include "server/engine/journal.h"

#include <stdlib.h>
#include <string.h>

typedef struct memory_journal {
    soma_journal journal;
    size_t room;   /* records that fit */
    uint64_t last; /* seq of the newest, 0: none */
    int *labels;   /* [room]; record seq stands at seq % room */
    float *x;      /* [room x size] */
} memory_journal;

static soma_status
memory_append(soma_journal *journal, const soma_record *records, int count,
              soma_error *err)
{
    memory_journal *memory = (memory_journal *)journal;
    size_t size = (size_t)journal->size;
    for (int i = 0; i < count; i++) {
        if (records[i].seq != memory->last + 1 + (uint64_t)i)
            return soma_error_set(err, SOMA_E_INTERNAL,
                                  "journal: record %llu after %llu",
                                  (unsigned long long)records[i].seq,
                                  (unsigned long long)memory->last + i);
    }
    for (int i = 0; i < count; i++) {
        size_t at = (size_t)(records[i].seq % memory->room);
        memory->labels[at] = records[i].label;
        memcpy(memory->x + at * size, records[i].x, size * sizeof(float));
    }
    memory->last += (uint64_t)count;
    return SOMA_OK;
}

static soma_status
memory_read(soma_journal *journal, uint64_t after, soma_journal_visit visit,
            void *arg, soma_error *err)
{
    memory_journal *memory = (memory_journal *)journal;
    uint64_t first = after + 1;
    if (memory->last >= memory->room && first <= memory->last - memory->room)
        return soma_error_set(
            err, SOMA_E_NOT_FOUND, "journal: records before %llu are gone",
            (unsigned long long)(memory->last - memory->room + 1));
    soma_status status = SOMA_OK;
    for (uint64_t seq = first; seq <= memory->last && !status; seq++) {
        size_t at = (size_t)(seq % memory->room);
        soma_record record = {seq, memory->labels[at],
                              memory->x + at * (size_t)journal->size};
        status = visit(&record, arg, err);
    }
    return status;
}

static void
memory_close(soma_journal *journal)
{
    memory_journal *memory = (memory_journal *)journal;
    free(memory->labels);
    free(memory->x);
    free(memory);
}

static const soma_journal_backend backend = {
    .name = "memory",
    .durable = false,
    .append = memory_append,
    .read = memory_read,
    .close = memory_close,
};

soma_journal *
soma_journal_memory(int size, size_t bytes, soma_error *err)
{
    size_t each = (size_t)size * sizeof(float) + sizeof(int);
    memory_journal *memory = calloc(1, sizeof *memory);
    if (!memory) {
        soma_error_memory(err, "a journal");
        return NULL;
    }
    memory->journal = (soma_journal){&backend, size};
    memory->room = bytes / each > 0 ? bytes / each : 1;
    memory->labels = malloc(memory->room * sizeof *memory->labels);
    memory->x = malloc(memory->room * (size_t)size * sizeof *memory->x);
    if (!memory->labels || !memory->x) {
        memory_close(&memory->journal);
        soma_error_memory(err, "a journal");
        return NULL;
    }
    return &memory->journal;
}

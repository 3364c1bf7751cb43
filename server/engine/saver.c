#include "server/engine/saver.h"

#include <stdlib.h>

enum { PART = 64 << 10 };

soma_status
soma_saver_begin(soma_saver *saver, const soma_learner *learner, uint64_t seq,
                 int64_t time, soma_error *err)
{
    size_t size = soma_learner_state_size(learner);
    soma_saver_stop(saver);
    if (size > saver->room) {
        unsigned char *state = realloc(saver->state, size);
        if (!state)
            return soma_error_memory(err, "a checkpoint");
        saver->state = state;
        saver->room = size;
    }
    soma_learner_save(learner, saver->state);
    saver->busy = true;
    saver->size = size;
    saver->offset = saver->hashed = 0;
    saver->seq = seq;
    saver->time = time;
    sha256_init(&saver->context);
    return SOMA_OK;
}

bool
soma_saver_part(soma_saver *saver, soma_journal_part *part)
{
    if (!saver->busy)
        return false;
    size_t left = saver->size - saver->offset;
    size_t size = left < PART ? left : PART;
    *part = (soma_journal_part){.seq = saver->seq,
                                .time = saver->time,
                                .data = saver->state + saver->offset,
                                .offset = saver->offset,
                                .size = size,
                                .total = saver->size,
                                .last = size == left};
    /* A part that could not be appended comes a second time. */
    if (saver->hashed == saver->offset) {
        sha256_update(&saver->context, size, part->data);
        saver->hashed += size;
    }
    if (part->last) {
        struct sha256_ctx context = saver->context;
        sha256_digest(&context, sizeof part->digest, part->digest);
    }
    return true;
}

bool
soma_saver_advance(soma_saver *saver, const soma_journal_part *part)
{
    saver->offset += part->size;
    if (!part->last)
        return false;
    soma_saver_stop(saver);
    return true;
}

void
soma_saver_stop(soma_saver *saver)
{
    saver->busy = false;
}

void
soma_saver_free(soma_saver *saver)
{
    free(saver->state);
    *saver = (soma_saver){.state = NULL};
}

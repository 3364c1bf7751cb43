/* A model file that was replaced under an existing journal. Nothing is ever
 * deleted: the old journal is set aside, as NAME.db.old-<n>.
 */
#include "server/engine/trainer_parts.h"

#include "server/engine/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static soma_status
refuse(const soma_trainer *trainer, soma_error *err)
{
    return soma_error_set(
        err, SOMA_E_CONFLICT,
        "%s: what it learned began with another model file than %s is now. "
        "Put the old file back, or start with --new-base=restart (set the "
        "journal aside and begin anew) or --new-base=relearn (learn its "
        "examples again on the new weights)",
        trainer->path, trainer->pupil.name);
}

enum { COPIED = 256 };

/* Copies examples, with new numbers, so many in a transaction. */
typedef struct copier {
    soma_journal *to;
    uint64_t seq;
    int count;
    soma_record records[COPIED];
    float *x; /* [COPIED x size] */
} copier;

static soma_status
flush(copier *c, soma_error *err)
{
    soma_journal_group group = {.records = c->records, .count = c->count};
    c->count = 0;
    return group.count ? c->to->backend->append(c->to, &group, err) : SOMA_OK;
}

static soma_status
copy(const soma_record *record, void *arg, soma_error *err)
{
    copier *c = arg;
    size_t size = (size_t)c->to->size;
    if (record->kind != SOMA_RECORD_EXAMPLE)
        return SOMA_OK;
    float *x = c->x + (size_t)c->count * size;
    memcpy(x, record->x, size * sizeof *x);
    soma_record *copied = &c->records[c->count++];
    *copied = *record;
    copied->seq = ++c->seq;
    copied->x = x;
    return c->count == COPIED ? flush(c, err) : SOMA_OK;
}

static soma_status
copy_examples(soma_trainer *trainer, soma_journal *new, soma_error *err)
{
    soma_journal_info info;
    copier c = {.to = new};
    soma_journal *old = soma_journal_open(trainer->path, false, err);
    if (!old)
        return err->status;
    c.x = malloc(COPIED * (size_t) new->size * sizeof *c.x);
    soma_replay replay = {.journal = old};
    soma_status status = old->backend->info(old, &info, err);
    if (!status && !c.x)
        status = soma_error_memory(err, "examples");
    if (!status && info.size != new->size)
        status = soma_error_set(err, SOMA_E_SHAPE,
                                "%s: its examples have %d values, the new "
                                "model's input has %d",
                                trainer->path, info.size, new->size);
    if (!status)
        status = soma_replay_lineage(&replay, info.last, copy, &c, err);
    if (!status)
        status = flush(&c, err);
    free(c.x);
    old->backend->close(old);
    return status;
}

/* A log that is there although the journal is closed would be put into the
 * new one. */
static soma_status
check_closed(const soma_trainer *trainer, soma_error *err)
{
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s-wal", trainer->path);
    if (access(log, F_OK))
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_CONFLICT,
                          "%s: another program has it open; close it there, "
                          "then start again",
                          trainer->path);
}

/* The new journal, complete, at `path`. */
static soma_status
make_new(soma_trainer *trainer, const soma_journal_base *base, const char *path,
         soma_error *err)
{
    unlink(path); /* of a start that was broken off */
    soma_journal *new = soma_journal_create(path, base, err);
    if (!new)
        return err->status;
    soma_status status = SOMA_OK;
    if (trainer->options.new_base == SOMA_BASE_RELEARN)
        status = copy_examples(trainer, new, err);
    new->backend->close(new);
    return status;
}

soma_status
soma_trainer_change_base(soma_trainer *trainer, const soma_journal_base *base,
                         soma_error *err)
{
    char next[PATH_MAX], aside[PATH_MAX];
    if (trainer->options.new_base == SOMA_BASE_REFUSE)
        return refuse(trainer, err);
    snprintf(next, sizeof next, "%s.next", trainer->path);
    soma_status status = make_new(trainer, base, next, err);
    if (!status)
        status = check_closed(trainer, err);
    if (status)
        return status;
    status = soma_journal_set_aside(trainer->path, aside, sizeof aside, err);
    if (status)
        return status;
    if (rename(next, trainer->path))
        return soma_error_errno(err, "renaming to", trainer->path);
    soma_log(SOMA_LOG_WARNING, "new-base", "model", trainer->pupil.name,
             "old-journal", aside, NULL);
    return SOMA_OK;
}

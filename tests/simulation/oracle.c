#include "tests/simulation/oracle.h"

#include "server/engine/journal.h"
#include "tests/simulation/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 1 << 16 };

typedef struct past {
    uint64_t version, sum;
    uint32_t number; /* of the example; 0: another record */
    bool leap;       /* it is a rollback, to target */
    uint64_t target;
    soma_lesson lesson;
    soma_bytes state; /* of learning, after it; none in what is lost */
} past;

static struct {
    void (*fail)(const char *format, ...);
    const soma_model *base;
    const soma_memory *kept;
    soma_journal *journal;
    soma_learner *learner;
    past *history; /* [last + 1]: of each version */
    uint64_t last, room;
    past *lost; /* [lost_count] */
    int lost_count, lost_room;
    bool taught[NUMBERS]; /* whether it is in the history */
} it;

/* ---- Examples ---- */

void
oracle_example(uint32_t number, float *x, int size)
{
    soma_rng rng = soma_rng_seed(number, 7);
    bool bytes = number % 3;
    for (int i = 0; i < size; i++)
        x[i] = bytes ? (float)soma_rng_below(&rng, 256)
                     : soma_rng_uniform(&rng) * 255;
    for (int i = 0; i < ORACLE_NUMBER; i++)
        x[i] = (float)(number >> 8 * i & 255);
}

uint32_t
oracle_number(const float *x)
{
    uint32_t number = 0;
    for (int i = 0; i < ORACLE_NUMBER; i++)
        number |= (uint32_t)x[i] << 8 * i;
    return number;
}

/* ---- Histories ---- */

uint64_t
oracle_sum(const soma_model *model)
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < model->spec.trainable; i++) {
        uint32_t word;
        memcpy(&word, &model->params[i], sizeof word);
        sum = (sum ^ word) * 1099511628211u;
    }
    return sum;
}

static void
keep(past p)
{
    if (p.version >= it.room) {
        it.room = 2 * it.room + 256;
        it.history = realloc(it.history, it.room * sizeof *it.history);
    }
    p.sum = oracle_sum(soma_learner_model(it.learner));
    p.state.size = soma_learner_state_size(it.learner);
    p.state.data = malloc(p.state.size);
    soma_learner_save(it.learner, p.state.data);
    it.history[p.version] = p;
    it.last = p.version;
}

static soma_status
go_to(uint64_t version, soma_error *err)
{
    const soma_bytes *state = &it.history[version].state;
    return soma_learner_load(it.learner, state->data, state->size, err);
}

static void
lose(past p)
{
    if (it.lost_count == it.lost_room) {
        it.lost_room = 2 * it.lost_room + 64;
        it.lost = realloc(it.lost, (size_t)it.lost_room * sizeof *it.lost);
    }
    if (p.number)
        it.taught[p.number] = false;
    soma_bytes_free(&p.state);
    it.lost[it.lost_count++] = p;
}

/* ---- Following ---- */

static soma_status
configure(const soma_record *record, soma_error *err)
{
    soma_learning settings;
    soma_status status =
        soma_learning_unpack(record->data, record->data_size, &settings, err);
    return status ? status : soma_learner_configure(it.learner, &settings, err);
}

static soma_status
learn(const soma_record *record, past *p, soma_error *err)
{
    p->number = oracle_number(record->x);
    if (it.taught[p->number])
        it.fail("example %u is in the order twice, now as record %llu",
                p->number, (unsigned long long)record->seq);
    it.taught[p->number] = true;
    return soma_learner_learn(it.learner, record->seq, record->x, record->label,
                              record->rate, &p->lesson, err);
}

static soma_status
follow_record(const soma_record *record, void *arg, soma_error *err)
{
    past p = {.version = record->seq,
              .leap = record->kind == SOMA_RECORD_ROLLBACK,
              .target = record->target};
    soma_status status = SOMA_OK;
    (void)arg;
    if (record->kind == SOMA_RECORD_EXAMPLE)
        status = learn(record, &p, err);
    else if (record->kind == SOMA_RECORD_ROLLBACK)
        status = go_to(record->target, err);
    if (!status && record->kind != SOMA_RECORD_EXAMPLE)
        status = configure(record, err);
    if (!status)
        keep(p);
    return status;
}

/* A field of the journal's head. */
static uint64_t
head_number(const char *name)
{
    const value *head =
        store_find(&the_wire.store, text_make("soma:{m}:head"), NOTHING);
    const item *field = head ? value_find(head, text_make(name)) : NULL;
    return field ? (uint64_t)text_number(field->value) : 0;
}

/* Where the way to the newest version begins, were the newest checkpoint
 * damaged: all records since must be there. */
static uint64_t
beginning(const value *rows)
{
    uint64_t version = it.last;
    for (;;) {
        uint64_t checkpoint = 0, leap = version;
        for (int i = 0; rows && i < rows->count - 1; i++)
            if (rows->items[i].score <= (double)version)
                checkpoint = (uint64_t)rows->items[i].score;
        while (leap > 0 && !it.history[leap].leap)
            leap--;
        if (leap <= checkpoint)
            return checkpoint;
        version = it.history[leap].target;
    }
}

/* What is not the history's would be taken up by those who join. */
static void
check_checkpoints(void)
{
    store *s = &the_wire.store;
    const value *rows =
        store_find(s, text_make("soma:{m}:checkpoints"), NOTHING);
    const value *states = store_find(s, text_make("soma:{m}:states"), NOTHING);
    uint64_t first = head_number("first"), begins;
    for (int i = 0; rows && i < rows->count; i++) {
        char name[24];
        uint64_t seq = (uint64_t)rows->items[i].score;
        snprintf(name, sizeof name, "%llu", (unsigned long long)seq);
        const item *state = states ? value_find(states, text_make(name)) : NULL;
        const soma_bytes *is = &it.history[seq <= it.last ? seq : 0].state;
        if (!state || seq > it.last || state->value.size != is->size ||
            memcmp(state->value.bytes, is->data, is->size))
            it.fail("the checkpoint of version %llu is not that version's",
                    (unsigned long long)seq);
    }
    begins = beginning(rows);
    if (first > begins + 1)
        it.fail("records before %llu were trimmed, the way to the newest "
                "version begins at %llu",
                (unsigned long long)first, (unsigned long long)begins);
}

static soma_status
open_journal(soma_error *err)
{
    soma_journal_info info;
    soma_learning settings;
    it.journal = soma_journal_redis_open("redis://simulated", "m", err);
    if (!it.journal)
        return err->status;
    soma_status status = it.journal->backend->info(it.journal, &info, err);
    if (!status)
        status = soma_learning_unpack(info.settings, sizeof info.settings,
                                      &settings, err);
    if (!status && !it.learner) {
        it.learner = soma_learner_create(it.base, it.kept, &settings, err);
        keep((past){.version = 0});
    }
    return status;
}

static void
close_journal(void)
{
    if (it.journal)
        it.journal->backend->close(it.journal);
    it.journal = NULL;
}

void
oracle_follow(void)
{
    soma_error err;
    soma_status status = SOMA_OK;
    if (!store_find(&the_wire.store, text_make("soma:{m}:head"), NOTHING))
        return;
    the_wire.plain = true;
    uint64_t last = head_number("last");
    if (!it.journal)
        status = open_journal(&err);
    if (!status && last > it.last)
        status = it.journal->backend->read(it.journal, it.last, last,
                                           follow_record, NULL, &err);
    the_wire.plain = false;
    if (status)
        it.fail("the oracle cannot follow: %s", err.text);
    else
        check_checkpoints();
}

uint64_t
oracle_forget(void)
{
    soma_error err;
    uint64_t before = it.last, last = head_number("last");
    close_journal();
    if (!it.learner)
        return 0;
    for (uint64_t version = last + 1; version <= before; version++)
        lose(it.history[version]);
    it.last = last;
    if (go_to(last, &err))
        it.fail("the oracle cannot go back: %s", err.text);
    return before - last;
}

/* ---- Asking ---- */

uint64_t
oracle_first(void)
{
    return head_number("first");
}

uint64_t
oracle_last(void)
{
    return it.last;
}

bool
oracle_has_lost(uint64_t version, uint64_t sum)
{
    for (int i = 0; i < it.lost_count; i++)
        if (it.lost[i].version == version && it.lost[i].sum == sum)
            return true;
    return false;
}

oracle_word
oracle_knows(uint64_t version, uint64_t sum)
{
    if (version <= it.last && it.learner && it.history[version].sum == sum)
        return ORACLE_TRUE;
    if (oracle_has_lost(version, sum))
        return ORACLE_LOST;
    return version == 0 ? ORACLE_TRUE : ORACLE_NEVER;
}

static bool
is_lesson(const past *p, uint32_t number, const soma_lesson *lesson)
{
    return p->number == number && p->version == lesson->version &&
           p->lesson.loss == lesson->loss &&
           p->lesson.predicted == lesson->predicted &&
           p->lesson.steps == lesson->steps;
}

oracle_word
oracle_learned(uint32_t number, const soma_lesson *lesson)
{
    if (lesson->version <= it.last &&
        is_lesson(&it.history[lesson->version], number, lesson))
        return ORACLE_TRUE;
    for (int i = 0; i < it.lost_count; i++)
        if (is_lesson(&it.lost[i], number, lesson))
            return ORACLE_LOST;
    return ORACLE_NEVER;
}

/* ---- Beginning and ending ---- */

void
oracle_begin(const soma_model *base, const soma_memory *kept,
             void (*fail)(const char *format, ...))
{
    memset(&it, 0, sizeof it);
    it.base = base;
    it.kept = kept;
    it.fail = fail;
    the_wire.done = oracle_follow;
}

void
oracle_end(void)
{
    close_journal();
    for (uint64_t version = 0; it.history && version <= it.last; version++)
        soma_bytes_free(&it.history[version].state);
    free(it.history);
    free(it.lost);
    soma_learner_free(it.learner);
    the_wire.done = NULL;
}

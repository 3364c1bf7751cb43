/* Clients: each teaches examples, one to a few a request, mostly with an
 * Idempotency-Key, and tries again at any replica where it got no answer; now
 * and then while the first try is still on its way, or after it was answered.
 */
#include "tests/simulation/wire.h"
#include "tests/simulation/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 24, REQUESTS = 400, TRIES = 12, OPEN = 6 };

typedef struct request {
    uint32_t first; /* number of its first example */
    int count, tries, open;
    bool keyed, answered, given_up;
    soma_journal_key key;
    float *x;
    int labels[MOST];
    soma_lesson lessons[MOST]; /* as it was answered */
} request;

typedef struct attempt {
    soma_job job;
    request *of; /* NULL: a rollback */
    replica *at;
    bool done, reached; /* the answer got out before the replica died */
    int generation;     /* of the server, when it was asked */
    soma_lesson lessons[MOST];
    struct attempt *next;
} attempt;

static struct {
    request requests[REQUESTS];
    int request_count, open;
    uint32_t numbers;
    attempt *attempts;
} it;

void
clients_begin(void)
{
    memset(&it, 0, sizeof it);
    it.numbers = 1;
}

void
clients_end(void)
{
    for (int i = 0; i < it.request_count; i++)
        free(it.requests[i].x);
    while (it.attempts) {
        attempt *next = it.attempts->next;
        free(it.attempts);
        it.attempts = next;
    }
}

/* ---- Answers ---- */

/* What a key stood for may have been read just before the server lost it. */
static bool
is_answer(const attempt *a, uint32_t number, const soma_lesson *lesson)
{
    oracle_word word = oracle_learned(number, lesson);
    return word == ORACLE_TRUE || (word == ORACLE_LOST && a->job.repeated &&
                                   a->generation != the_wire.generation);
}

static void
check_answer(const attempt *a)
{
    const request *q = a->of;
    uint64_t now = soma_shelf_current(&a->at->shelf)->version;
    for (int i = 0; i < q->count; i++) {
        const soma_lesson *lesson = &a->lessons[i];
        if (lesson->version > now)
            world_wrong("version %llu was answered, %llu is in force",
                        (unsigned long long)lesson->version,
                        (unsigned long long)now);
        if (!is_answer(a, q->first + (uint32_t)i, lesson)) {
            the_world.counts->lost++;
            world_wrong("example %u was answered as record %llu, which it "
                        "is not",
                        q->first + (uint32_t)i,
                        (unsigned long long)lesson->version);
        }
    }
}

/* On the replica's thread. */
static void
on_done(soma_job *job)
{
    attempt *a = job->owner;
    a->done = true;
    a->reached = !a->at->home.dead;
    if (!a->reached || job->err.status)
        return;
    world_look(a->at);
    if (a->of)
        check_answer(a);
}

static void
take_answer(request *q, const attempt *a)
{
    if (a->job.repeated)
        the_world.counts->repeated++;
    bool same = true;
    for (int i = 0; i < q->count; i++)
        same = same && q->lessons[i].version == a->lessons[i].version;
    if (q->answered && !same &&
        oracle_learned(q->first, &q->lessons[0]) == ORACLE_TRUE)
        world_wrong("a key's request was answered as version %llu, then as "
                    "%llu",
                    (unsigned long long)q->lessons[0].version,
                    (unsigned long long)a->lessons[0].version);
    if (!q->answered) {
        the_world.counts->requests++;
        the_world.counts->examples += q->count;
    }
    q->answered = true;
    memcpy(q->lessons, a->lessons, sizeof q->lessons);
}

/* A key that stands for this very request is no conflict, as long as what it
 * was answered is kept. */
static void
check_refusal(const request *q, const attempt *a)
{
    the_world.counts->refused++;
    if (a->reached && a->job.err.status == SOMA_E_CONFLICT &&
        !the_world.options.keep.keep_examples && !the_world.lost)
        world_wrong("example %u was refused: %s", q->first, a->job.err.text);
}

void
clients_take_answers(void)
{
    for (attempt **at = &it.attempts; *at;) {
        attempt *a = *at;
        if (!a->done) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        it.open--;
        if (a->of) {
            a->of->open--;
            if (a->reached && !a->job.err.status)
                take_answer(a->of, a);
            else
                check_refusal(a->of, a);
        }
        free(a);
    }
}

bool
clients_wait(void)
{
    return it.attempts != NULL;
}

void
clients_check(void)
{
    for (int i = 0; i < it.request_count; i++) {
        const request *q = &it.requests[i];
        for (int k = 0; k < q->count && q->answered; k++)
            if (oracle_learned(q->first + (uint32_t)k, &q->lessons[k]) ==
                ORACLE_NEVER) {
                the_world.counts->lost++;
                world_wrong("example %u was answered and is lost",
                            q->first + (uint32_t)k);
            }
    }
}

/* ---- Asking ---- */

static void
submit(attempt *a)
{
    soma_error err;
    a->generation = the_wire.generation;
    a->job.done = on_done;
    a->job.owner = a;
    a->job.lessons = a->lessons;
    if (soma_trainer_submit(a->at->trainer, &a->job, &err)) {
        free(a);
        return;
    }
    a->next = it.attempts;
    it.attempts = a;
    it.open++;
    if (a->of) {
        a->of->open++;
        a->of->tries++;
    }
}

static void
try_request(request *q)
{
    replica *r = world_some_replica();
    if (!r || it.open >= OPEN)
        return;
    attempt *a = calloc(1, sizeof *a);
    a->of = q;
    a->at = r;
    a->job = (soma_job){.kind = SOMA_JOB_LEARN,
                        .count = q->count,
                        .x = q->x,
                        .labels = q->labels,
                        .key = q->keyed ? &q->key : NULL};
    submit(a);
}

static void
begin_request(void)
{
    if (it.request_count == REQUESTS)
        return;
    int size = the_world.size;
    request *q = &it.requests[it.request_count++];
    q->first = it.numbers;
    q->count = 1;
    if (world_below(3) == 0)
        q->count += (int)world_below(world_below(4) ? 4 : MOST);
    it.numbers += (uint32_t)q->count;
    q->keyed = world_below(5) > 0;
    q->x = malloc((size_t)q->count * (size_t)size * sizeof *q->x);
    snprintf(q->key.text, sizeof q->key.text, "key-%u", q->first);
    memcpy(q->key.fingerprint, &q->first, sizeof q->first);
    for (int i = 0; i < q->count; i++) {
        oracle_example(q->first + (uint32_t)i, q->x + (size_t)i * size, size);
        q->labels[i] = (int)((q->first + (uint32_t)i) % 3);
    }
    try_request(q);
}

static void
roll_back(void)
{
    replica *r = world_some_replica();
    if (!r || it.open >= OPEN)
        return;
    attempt *a = calloc(1, sizeof *a);
    a->at = r;
    a->job = (soma_job){.kind = SOMA_JOB_ROLLBACK,
                        .target = world_below((uint32_t)oracle_last() + 1)};
    submit(a);
}

void
clients_act(void)
{
    uint32_t what = world_below(100);
    if (what < 2) {
        roll_back();
        return;
    }
    request *q = it.request_count
                     ? &it.requests[world_below((uint32_t)it.request_count)]
                     : NULL;
    if (what < 50 || !q) {
        begin_request();
        return;
    }
    /* Without a key nobody may try again. */
    bool may = q->keyed ? q->tries < TRIES : q->tries == 0;
    bool should = !q->answered || what < 60;
    if (may && should && (!q->open || what > 95 || what < 60))
        try_request(q);
}

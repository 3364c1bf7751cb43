/* server/engine/recall.c: inputs that are remembered for a while. */
#include "server/engine/recall.h"

#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 5 };

typedef char id_text[SOMA_RECALL_ID + 1];

/* Input number n: of bytes, now and then of floats. */
static void
make_input(int n, float x[SIZE])
{
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)((n * 7 + i * 31) % 256) + (n % 3 == 2 ? 0.25f : 0);
}

static void
put(soma_recall *r, int n, int64_t now, id_text id)
{
    soma_error err;
    float x[SIZE];
    soma_recalled answer = {.version = (uint64_t)n, .label = n % 10};
    make_input(n, x);
    assert_int_equal(soma_recall_put(r, x, &answer, now, id, &err), SOMA_OK);
    assert_int_equal(strlen(id), SOMA_RECALL_ID);
    assert_int_equal(strspn(id, "0123456789abcdef"), SOMA_RECALL_ID);
}

/* Whether input n is there under its id; it must be right if it is. */
static bool
has(soma_recall *r, int n, int64_t now, const char *id)
{
    soma_error err;
    float x[SIZE], expected[SIZE];
    soma_recalled answer;
    soma_status status = soma_recall_get(r, id, now, x, &answer, &err);
    if (status) {
        assert_int_equal(status, SOMA_E_NOT_FOUND);
        assert_int_equal(err.status, SOMA_E_NOT_FOUND);
        return false;
    }
    make_input(n, expected);
    assert_memory_equal(x, expected, sizeof x);
    assert_int_equal(answer.version, n);
    assert_int_equal(answer.label, n % 10);
    return true;
}

/* Of any size the newest are there and no others; with few places in the index
 * ids collide all the time. */
static void
the_newest_are_there(void **state)
{
    enum { PUTS = 400 };
    static id_text ids[PUTS];
    static const int rooms[] = {1, 2, 3, 7, 40, 1000};
    (void)state;
    for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++) {
        soma_recall r;
        int room = rooms[k];
        soma_recall_init(&r, SIZE, room, 1000);
        assert_int_equal(soma_recall_count(&r, 0).remembered, 0);
        for (int n = 0; n < PUTS; n++) {
            put(&r, n, 5, ids[n]);
            for (int i = 0; i <= n; i++)
                if (has(&r, i, 5, ids[i]) != (i > n - room))
                    fail_msg("room %d: after %d, %d is wrong", room, n, i);
            assert_int_equal(soma_recall_count(&r, 5).remembered,
                             n + 1 < room ? n + 1 : room);
        }
        soma_recall_free(&r);
    }
}

static void
they_are_forgotten_in_time(void **state)
{
    enum { PUTS = 300 };
    static id_text ids[PUTS];
    soma_recall r;
    soma_rng rng = soma_rng_seed(3, 0);
    int64_t now = 100, since[PUTS];
    (void)state;
    soma_recall_init(&r, SIZE, 50, 10);
    for (int n = 0; n < PUTS; n++) {
        now += soma_rng_below(&rng, 4) == 0 ? soma_rng_below(&rng, 7) : 0;
        since[n] = now;
        put(&r, n, now, ids[n]);
        uint64_t there = 0;
        for (int i = 0; i <= n; i++) {
            bool expected = i > n - 50 && now - since[i] <= 10;
            assert_int_equal(has(&r, i, now, ids[i]), expected);
            there += expected;
        }
        assert_int_equal(soma_recall_count(&r, now).remembered, there);
    }
    /* Counting forgets as well, and what was forgotten stays so. */
    put(&r, 1, now, ids[1]);
    assert_true(soma_recall_count(&r, now + 10).remembered > 0);
    assert_int_equal(soma_recall_count(&r, now + 11).remembered, 0);
    assert_false(has(&r, 1, now, ids[1]));
    put(&r, 2, now + 11, ids[2]);
    assert_true(has(&r, 2, now + 11, ids[2]));
    soma_recall_free(&r);
}

static void
values_come_back_bit_for_bit(void **state)
{
    static const float rows[][SIZE] = {
        {0, 1, 2, 254, 255},
        {0, -0.0f, 1, 2, 3},
        {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f},
        {0, 0, 0, 0, 256},
        {-1, 0, 0, 0, 0},
        {0.5f, 0, 0, 0, 0},
        {254.99998f, 255.00002f, 1e-45f, -1e-38f, 3.4e38f},
        {NAN, INFINITY, -INFINITY, 0, 0},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    id_text ids[ROWS];
    soma_recall r;
    soma_recalled answer = {.version = UINT64_MAX, .label = -1};
    (void)state;
    soma_recall_init(&r, SIZE, ROWS, 10);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(soma_recall_put(&r, rows[i], &answer, 0, ids[i], NULL),
                         SOMA_OK);
    for (int i = 0; i < ROWS; i++) {
        float x[SIZE];
        answer = (soma_recalled){.version = 0};
        assert_int_equal(soma_recall_get(&r, ids[i], 0, x, &answer, NULL),
                         SOMA_OK);
        assert_memory_equal(x, rows[i], sizeof x);
        assert_true(answer.version == UINT64_MAX && answer.label == -1);
    }
    soma_recall_free(&r);
}

/* One digit of an id is another id. */
static void
other_ids_are_unknown(void **state)
{
    static const char *const malformed[] = {"", "0", "0123456789abcdef0123456",
                                            "0123456789abcdef012345678",
                                            "0123456789abcdef0123456G"};
    soma_recall r;
    id_text id, other;
    soma_error err;
    float x[SIZE];
    soma_recalled answer;
    (void)state;
    soma_recall_init(&r, SIZE, 4, 10);
    /* Before there is anything at all, too. */
    assert_int_equal(
        soma_recall_get(&r, "0123456789abcdef01234567", 0, x, &answer, &err),
        SOMA_E_NOT_FOUND);
    put(&r, 1, 0, id);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        assert_int_equal(soma_recall_get(&r, malformed[i], 0, x, &answer, &err),
                         SOMA_E_NOT_FOUND);
    for (int i = 0; i < SOMA_RECALL_ID; i++) {
        memcpy(other, id, sizeof other);
        other[i] = other[i] == '0' ? '1' : '0';
        assert_false(has(&r, 1, 0, other));
        if (id[i] >= 'a') {
            other[i] = (char)(id[i] - 'a' + 'A');
            assert_false(has(&r, 1, 0, other));
        }
    }
    assert_true(has(&r, 1, 0, id));
    soma_recall_free(&r);
    soma_recall_init(&r, SIZE, 0, 10);
    make_input(0, x);
    assert_int_equal(soma_recall_put(&r, x, &answer, 0, id, &err),
                     SOMA_E_LIMIT);
    assert_int_equal(soma_recall_get(&r, id, 0, x, &answer, &err),
                     SOMA_E_NOT_FOUND);
    soma_recall_label(&r, id, 1);
    assert_int_equal(soma_recall_count(&r, 0).labelled, 0);
    soma_recall_free(&r);
    soma_recall nothing = {.size = 0};
    soma_recall_free(&nothing);
}

static void
labels_count_once(void **state)
{
    soma_recall r;
    id_text ids[4];
    (void)state;
    soma_recall_init(&r, SIZE, 3, 10);
    for (int n = 0; n < 4; n++)
        put(&r, n, 0, ids[n]);
    soma_recall_label(&r, ids[0], 0); /* forgotten */
    soma_recall_label(&r, ids[1], 1);
    soma_recall_label(&r, ids[1], 1);
    soma_recall_label(&r, ids[1], 2);
    soma_recall_label(&r, ids[2], 9);
    soma_recall_label(&r, ids[2], 2); /* too late to be right */
    soma_recall_label(&r, "nonsense", 2);
    soma_recall_counts counts = soma_recall_count(&r, 0);
    assert_int_equal(counts.remembered, 3);
    assert_int_equal(counts.labelled, 2);
    assert_int_equal(counts.right, 1);
    soma_recall_free(&r);
}

/* ---- Threads ---- */

enum { THREADS = 4, EACH = 3000, ROOM = 64 };

typedef struct worker {
    pthread_t thread;
    soma_recall *r;
    int index;
    int found, missed, wrong;
} worker;

/* Its own newest input is there unless the others have put ROOM since; never
 * is one there that is another's. */
static void *
remember_and_ask(void *arg)
{
    worker *w = arg;
    id_text ids[16];
    float x[SIZE], expected[SIZE];
    for (int i = 0; i < EACH; i++) {
        int n = i * THREADS + w->index, old = i < 15 ? 0 : i - 15;
        soma_recalled answer = {.version = (uint64_t)n, .label = n % 10};
        make_input(n, x);
        w->wrong +=
            soma_recall_put(w->r, x, &answer, 0, ids[i % 16], NULL) != SOMA_OK;
        int asked = i % 2 ? i : old, m = asked * THREADS + w->index;
        if (soma_recall_get(w->r, ids[asked % 16], 0, x, &answer, NULL)) {
            w->missed++;
            continue;
        }
        make_input(m, expected);
        w->found++;
        w->wrong += memcmp(x, expected, sizeof x) != 0 ||
                    answer.version != (uint64_t)m || answer.label != m % 10;
        soma_recall_label(w->r, ids[asked % 16], m % 10);
        w->wrong += soma_recall_count(w->r, 0).remembered > ROOM;
    }
    return NULL;
}

static void
threads_do_not_disturb_each_other(void **state)
{
    soma_recall r;
    worker workers[THREADS];
    int found = 0;
    (void)state;
    soma_recall_init(&r, SIZE, ROOM, 10);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.r = &r, .index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL,
                                        remember_and_ask, &workers[i]),
                         0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
        found += workers[i].found;
    }
    assert_true(found > 0);
    soma_recall_counts counts = soma_recall_count(&r, 0);
    assert_int_equal(counts.remembered, ROOM);
    assert_true(counts.labelled > 0 && counts.labelled <= (uint64_t)found);
    assert_int_equal(counts.right, counts.labelled);
    soma_recall_free(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_are_there),
        cmocka_unit_test(they_are_forgotten_in_time),
        cmocka_unit_test(values_come_back_bit_for_bit),
        cmocka_unit_test(other_ids_are_unknown),
        cmocka_unit_test(labels_count_once),
        cmocka_unit_test(threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

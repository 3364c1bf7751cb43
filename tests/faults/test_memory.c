/* Each allocation of a request failing in turn: the answer is right, or 503, or
 * the connection ends; nothing leaks, and the next request is served. */
#include "tests/faults/shimmed.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    EACH = 150,   /* of the first allocations of a fork, and then every */
    STEP = 97,    /* so many */
    MOST = 20000, /* allocations of a request */
    LEAK = 8,     /* pieces more, of all its paths together: one connection that
                     is not closed yet may still hold as many */
};

static void
drop_twin(void)
{
    answer a = ask(&shimmed, "DELETE", "/models/twin", NULL, NULL, 0);
    assert_true(a.status == 200 || a.status == 404);
    free_answer(&a);
}

/* A fork makes a journal and checks it, with more than ten thousand
 * allocations by SQLite: SOMA_FAULT_STEP=1 tries them all, for minutes. */
static int
step_after(const attempt *a, int n)
{
    const char *step = getenv("SOMA_FAULT_STEP");
    if (strcmp(a->name, "fork") || n < EACH)
        return 1;
    return step ? atoi(step) : STEP;
}

/* Each in turn, and as many more after it. How many did. */
static int
fail_each(const attempt *a, int run, int *refused)
{
    int wrong = 0, tried = 0;
    for (int n = 1; n < MOST; n += step_after(a, n)) {
        long status = shimmed_try(
            a, (fault){SHIM_MEMORY, .at = n, .run = run, .error = ENOMEM});
        if (status != 0 && status != 200 && status != 503) {
            print_message("%s, allocation %d: %ld\n", a->name, n, status);
            wrong++;
        }
        if (!strcmp(a->name, "fork"))
            drop_twin();
        *refused += status == 503;
        tried += shim->failed > 0;
        if (shim->failed)
            continue;
        assert_int_equal(status, 200);
        assert_int_equal(wrong, 0);
        return tried;
    }
    fail_msg("%s: allocations without end", a->name);
    return 0;
}

/* Pieces of memory taken, once the last connection's are given back. */
static int
taken(void)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < 30; i++) {
        int64_t live = __atomic_load_n(&shim->live, __ATOMIC_SEQ_CST);
        least = live < least ? live : least;
        usleep(1000);
    }
    return (int)least;
}

static void
each_allocation_may_fail(void **state)
{
    (void)state;
    if (!shimmed_has_memory())
        return;
    const char *only = getenv("SOMA_FAULTS_ONLY");
    for (const attempt *a = shimmed_attempts(); a->name; a++) {
        if (only && strcmp(a->name, only))
            continue;
        int refused = 0;
        if (!shimmed_finds_leaks())
            fail_each(a, 0, &refused); /* buffers that stay have grown */
        int before = taken();
        int count = fail_each(a, 0, &refused);
        int more = taken() - before;
        count += fail_each(a, 100, &refused);
        print_message("%s: %d allocations failed, %d answers 503, %d more "
                      "pieces taken\n",
                      a->name, count, refused, more);
        assert_true(more < LEAK || shimmed_finds_leaks());
    }
    shimmed_check_journal();
}

int
main(void)
{
    if (foreign_server("failing allocations"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, shimmed_set_up, shimmed_tear_down);
}

/* System calls failing in turn, whoever makes them, and clocks that jump: no
 * crash, no hang, no answered example lost, and the server is well after it. */
#include "tests/faults/shimmed.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 6 }; /* calls of a kind that are tried one by one */

/* Sockets that have less, or no room, for a moment are no trouble at all. */
static bool
is_harmless(fault f)
{
    return (f.kinds & (SHIM_RECV | SHIM_SEND)) &&
           (f.error == EAGAIN || f.error == SHIM_SHORT);
}

/* 200; 503 and 507 of what could not be written; 0: the connection ended. */
static void
expect_allowed(const attempt *a, const char *name, fault f)
{
    long status = shimmed_try(a, f);
    if (is_harmless(f))
        assert_int_equal(status, 200);
    if (status && status != 200 && status != 503 && status != 507)
        fail_msg("%s, %s %d with %d: %ld", a->name, name, f.at, f.error,
                 status);
}

/* Sockets do not block, and so do not say EINTR. */
static void
each_call_may_fail(void **state)
{
    static const struct {
        const char *name;
        int kind, errors[5];
    } rows[] = {
        {"recv",
         SHIM_RECV,
         {ENOMEM, ECONNRESET, ETIMEDOUT, EAGAIN, SHIM_SHORT}},
        {"send", SHIM_SEND, {ENOMEM, EPIPE, ECONNRESET, EAGAIN, SHIM_SHORT}},
        {"accept4", SHIM_ACCEPT, {ECONNABORTED, EAGAIN, EPROTO, ENOBUFS}},
        {"epoll_wait", SHIM_WAIT, {EINTR}},
        {"open", SHIM_OPEN, {EMFILE, ENOMEM, EIO, EINTR}},
        {"read", SHIM_READ, {EINTR, EIO, SHIM_SHORT}},
        {"pwrite", SHIM_WRITE, {EINTR, EIO, ENOSPC, SHIM_SHORT}},
        {"fsync", SHIM_SYNC, {EIO, ENOSPC, EINTR}},
        {"ftruncate", SHIM_TRUNCATE, {EIO, ENOSPC, EINTR}},
        {"mmap", SHIM_MAP, {ENOMEM}},
    };
    static const char *const names[] = {"bytes", "train", "load"};
    int count = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int e = 0; e < 5 && rows[i].errors[e]; e++)
            for (int k = 0; k < 3; k++)
                for (int n = 1; n <= MOST; n++) {
                    fault f = {rows[i].kind, .at = n,
                               .error = rows[i].errors[e]};
                    expect_allowed(shimmed_attempt(names[k]), rows[i].name, f);
                    count += shim->failed;
                    if (!shim->failed)
                        break;
                }
    print_message("%d calls failed\n", count);
    assert_true(count > 50);
    shimmed_check_journal();
}

/* A day forth, a day back, those that must not jump included: connections may
 * end of old age, and nothing else. */
static void
clocks_may_jump(void **state)
{
    static const int64_t jumps[] = {86400, -86400, 1000000000, 0};
    (void)state;
    for (int monotonic = 0; monotonic < 2; monotonic++)
        for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
            shim->monotonic = monotonic;
            shim->jump = jumps[i];
            expect_allowed(shimmed_attempt("bytes"), "clock", (fault){0});
            expect_allowed(shimmed_attempt("train"), "clock", (fault){0});
        }
    assert_int_equal(shimmed_try(shimmed_attempt("train"), (fault){0}), 200);
    shimmed_check_journal();
}

/* Until it has ended, without a rest. */
static void
lose(int kind, const char *path, const char *event)
{
    int status = 0;
    *shim = (struct shim){.fail_at = 1, .error = SHIM_EXIT};
    shim->kinds = kind;
    for (int i = 0; i < 300 && waitpid(shimmed.pid, &status, WNOHANG) == 0;
         i++) {
        static unsigned char x[28 * 28];
        CURL *curl = curl_easy_init();
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 5L);
        answer a = ask_over(curl, &shimmed, NULL, path,
                            "application/octet-stream", x, sizeof x, NULL);
        free_answer(&a);
        curl_easy_cleanup(curl);
        usleep(10000);
    }
    *shim = (struct shim){0};
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(shimmed_said(event));
    unlink(shimmed.log);
    shimmed_start();
}

static void
a_lost_thread_ends_the_program(void **state)
{
    (void)state;
    lose(SHIM_WAIT, "/healthz", "worker-lost");
    /* The trainer makes the journal, its writer appends to it. */
    lose(SHIM_SYNC, "/models/fashion/train?label=1", "trainer-lost");
    assert_int_equal(shimmed_try(shimmed_attempt("train"), (fault){0}), 200);
    lose(SHIM_SYNC, "/models/fashion/train?label=1", "writer-lost");
}

int
main(void)
{
    if (foreign_server("failing system calls"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_call_may_fail, shimmed_set_up,
                                        shimmed_tear_down),
        cmocka_unit_test_setup_teardown(a_lost_thread_ends_the_program,
                                        shimmed_set_up, shimmed_tear_down),
        cmocka_unit_test_setup_teardown(clocks_may_jump, shimmed_set_up,
                                        shimmed_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

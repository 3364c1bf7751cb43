/* Clients that are many: a good one is answered all along, and what they held
 * is given back. */
#include "tests/http/connections.h"

#include <fcntl.h>
#include <sys/resource.h>

/* Sanitizers keep what was freed, and more for each byte. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { SHADOW = 8 };
#else
enum { SHADOW = 1 };
#endif

/* A third of them has sent nothing, the others half of a request. */
static void
ten_thousand_idle_ones(void **state)
{
    enum { MANY = 10000, BESIDE = 500, MOST_KB = SHADOW * 600 << 10 };
    static int some[MANY];
    int many = MANY;
    struct rlimit limit;
    (void)state;
    if (skipped("idle connections"))
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < MANY + BESIDE) {
        many = (int)limit.rlim_max - BESIDE;
        print_message("NOT TESTED: more than %d connections, which is what "
                      "ulimit -n allows\n",
                      many);
    }
    connections = per_address = "11000";
    start("3600", "3600");
    connections = per_address = "5000";
    int before = descriptors();
    for (int i = 0; i < many; i++) {
        some[i] = open_one();
        if (i % 3)
            put(some[i], unfinished[i % UNFINISHED]);
        if (i % 100 == 0)
            expect_answer();
    }
    expect_answer();
    print_message("%d connections: at most %ld KiB\n", many, memory_peak(&s));
    assert_true(memory_peak(&s) < MOST_KB);
    for (int i = 0; i < many; i++)
        close(some[i]);
    expect_descriptors(before);
}

/* Requests without end, whose answers nobody reads: neither memory nor the
 * others' turns are theirs. */
static void
pipelining_without_end(void **state)
{
    static const char one[] = "GET /models HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { COPIES = 1000 };
    static char many[COPIES * sizeof one];
    (void)state;
    if (skipped("endless pipelining"))
        return;
    start("3600", "3600");
    for (int i = 0; i < COPIES; i++)
        strcat(many + (size_t)i * (sizeof one - 1), one);
    expect_answer();
    long before = memory_peak(&s);
    int some[8];
    for (int i = 0; i < 8; i++) {
        some[i] = open_one();
        fcntl(some[i], F_SETFL, O_NONBLOCK);
    }
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 8; i++)
            send(some[i], many, strlen(many), MSG_NOSIGNAL);
        expect_answer();
    }
    assert_true(memory_peak(&s) < before + (SHADOW * 64 << 10));
    for (int i = 0; i < 8; i++)
        close(some[i]);
}

/* The server's descriptors run out: who is there is served, and those who come
 * when there are some again. */
static void
descriptors_run_out(void **state)
{
    enum { HAS = 120, COME = 200 };
    int some[COME];
    struct rlimit few;
    (void)state;
    if (skipped("descriptors"))
        return;
    start("3600", "3600");
    assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, NULL, &few), 0);
    few.rlim_cur = HAS;
    assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &few, NULL), 0);
    int before = descriptors();
    for (int i = 0; i < COME; i++)
        some[i] = open_one();
    for (int waited = 0; waited < PATIENCE_MS && descriptors() < HAS - 10;
         waited += STEP_MS)
        pause_ms(STEP_MS);
    /* One that it has taken. */
    expect_live(some[0]);
    for (int i = 0; i < COME; i++)
        close(some[i]);
    expect_answer();
    expect_descriptors(before);
}

/* Clock ticks of processor time that the server has used. */
static long
processor_time(void)
{
    char path[64];
    long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)s.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file,
                            "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u "
                            "%*u %*u %ld %ld",
                            &user, &system),
                     2);
    fclose(file);
    return user + system;
}

/* With none left, and whether or not anyone is connected: it does not spin,
 * and takes who waits when there are some again, though none of its own
 * connections has ended. */
static void
nobody_waits_for_ever(void **state)
{
    (void)state;
    if (skipped("descriptors that come back"))
        return;
    start("3600", "3600");
    for (int connected = 0; connected < 2; connected++) {
        struct rlimit all, none;
        int there = connected ? open_one() : -1;
        if (connected)
            expect_live(there);
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, NULL, &all), 0);
        none = all;
        none.rlim_cur = 3;
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &none, NULL), 0);
        int waits = open_one();
        pause_ms(100);
        long before = processor_time();
        pause_ms(600);
        long used = processor_time() - before;
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &all, NULL), 0);
        if (used > sysconf(_SC_CLK_TCK) / 12)
            fail_msg("%ld ticks used for waiting", used);
        expect_live(waits);
        close(waits);
        close(there);
    }
}

/* Others come in from another address. */
static void
one_address_floods(void **state)
{
    enum { MOST = 50, COME = 300 };
    int some[COME], closed = 0;
    (void)state;
    if (skipped("floods"))
        return;
    per_address = "50";
    start("3600", "3600");
    per_address = "5000";
    int before = descriptors();
    for (int i = 0; i < COME; i++)
        some[i] = open_one();
    int other = open_from(INADDR_LOOPBACK + 1);
    expect_live(other);
    while (closed < COME - MOST && is_closed(some[MOST + closed], PATIENCE_MS))
        closed++;
    assert_int_equal(closed, COME - MOST);
    assert_true(descriptors() <= before + MOST + 1);
    expect_live(some[0]);
    for (int i = 0; i < COME; i++)
        close(some[i]);
    close(other);
    expect_descriptors(before);
    expect_answer();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(ten_thousand_idle_ones, tear_down),
        cmocka_unit_test_teardown(pipelining_without_end, tear_down),
        cmocka_unit_test_teardown(descriptors_run_out, tear_down),
        cmocka_unit_test_teardown(nobody_waits_for_ever, tear_down),
        cmocka_unit_test_teardown(one_address_floods, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

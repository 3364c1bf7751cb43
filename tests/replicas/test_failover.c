/* --journal redis+sentinel://: the master is killed, a replica of Redis takes
 * its place, and learning goes on. And addresses that are none,
 * and a Redis that may lose what it is given.
 */
#include "tests/replicas/lessons.h"
#include "tests/replicas/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOMAS = 2 };

static redis_server redis, other, sentinel;
static server somas[SOMAS];
static const char *const arguments[] = {
    "--journal",    sentinel.url, "--default-model",
    "fashion",      "--workers",  "1",
    "--guard-drop", "100",        NULL};

static int
set_up(void **state)
{
    (void)state;
    if (foreign_server("failover") || !redis_begin(&redis))
        return 0;
    redis_begin_replica(&other, &redis);
    redis_begin_sentinel(&sentinel, &redis);
    for (int i = 0; i < SOMAS; i++) {
        start_server(&somas[i], arguments);
        wait_until_ready(&somas[i]);
    }
    return 0;
}

static int
tear_down(void **state)
{
    int code = 0;
    (void)state;
    for (int i = 0; i < SOMAS; i++)
        code |= somas[i].pid ? stop_server(&somas[i]) : 0;
    redis_end(&sentinel);
    redis_end(&other);
    redis_end(&redis);
    return code;
}

static void
learning_goes_on_with_another_master(void **state)
{
    enum { BEFORE = 20 };
    (void)state;
    if (!somas[0].pid)
        return;
    for (int i = 0; i < BEFORE; i++)
        assert_int_equal(teach(&somas[i % SOMAS], i), i + 1);
    redis_expect(redis.port, "WAIT 1 1000", ":1");
    redis_kill(&redis);
    expect_prediction(&somas[(BEFORE - 1) % SOMAS], BEFORE);
    assert_int_equal(teach_in_time(&somas[0], BEFORE), BEFORE + 1);
    assert_int_equal(teach_in_time(&somas[1], BEFORE + 1), BEFORE + 2);
    redis_expect(other.port, "ROLE", "master");
    for (int i = 0; i < SOMAS; i++)
        wait_until_ready(&somas[i]);
    expect_same_digest(&somas[0], &somas[1], BEFORE + 2);
}

/* A new master that had not been told all: who has learned more steps out, says
 * so, and goes on predicting. */
static void
what_a_master_lost_is_noticed(void **state)
{
    (void)state;
    if (!somas[0].pid)
        return;
    redis_expect(other.port, "HSET soma:{fashion}:head last 5", ":0");
    answer a = {.status = 200};
    for (int i = 0; i < TRIES && a.status != 503; i++) {
        free_answer(&a);
        nap();
        a = get(&somas[0], "/readyz");
    }
    expect_error(a, 503, "replica_differs", "was lost there");
    assert_int_equal(teach(&somas[0], 0), 0);
    expect_prediction(&somas[0], 22);
}

/* Redis that may throw away what it is given. */
static void
what_may_be_lost_is_warned_of(void **state)
{
    (void)state;
    if (!somas[0].pid)
        return;
    server soma;
    redis_expect(redis.port, "CONFIG SET maxmemory-policy allkeys-lru", "+OK");
    start_server(&soma, arguments);
    wait_until_ready(&soma);
    shell("grep -q 'journal-may-lose.*noeviction' %s", soma.log);
    assert_int_equal(stop_server(&soma), 0);
    redis_expect(redis.port, "CONFIG SET maxmemory-policy noeviction", "+OK");
    start_server(&soma, arguments);
    wait_until_ready(&soma);
    shell("! grep -q journal-may-lose %s", soma.log);
    assert_int_equal(stop_server(&soma), 0);
}

static void
wrong_addresses_are_refused(void **state)
{
    char text[4096];
    (void)state;
    if (foreign_server("wrong addresses"))
        return;
    static const char *const wrong[] = {"redis://",
                                        "http://x:secret@h",
                                        "redis://u:secret@h:0",
                                        "redis://:secret@h:70000",
                                        "redis://:secret@h:1/x",
                                        "redis+sentinel://:secret@h:1",
                                        "redis+sentinel://:secret@h:1/",
                                        "redis+sentinel://:secret@h:1,/m",
                                        "redis+sentinel://:secret@h,i:x/m",
                                        "redis+sentinel://:secret@h/m/x",
                                        "redis://:secret@h/0?ca=x",
                                        "rediss://:secret@h/0?ca=",
                                        "rediss://:secret@h/0?key=x",
                                        "rediss://:secret@h/0?ca=x&ca=y",
                                        "rediss://:secret@h/0?other=secret",
                                        "rediss+sentinel://:secret@h?ca=x",
                                        "redis+cluster://:secret@",
                                        "redis+cluster://:secret@h/0",
                                        "redis+cluster://:secret@h,",
                                        "redis+cluster://:secret@h:1,i:x",
                                        "redis+cluster://:secret@h?ca=x:1",
                                        "redis://:secret@h?ca=x:1",
                                        "x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_true(
            soma_says(text, sizeof text,
                      "serve --listen 127.0.0.1:0 --models %s "
                      "--journal '%s'",
                      getenv("SOMA_MODELS") ? getenv("SOMA_MODELS") : "models",
                      wrong[i]) != 0);
        assert_non_null(strstr(text, "redis://"));
        assert_null(strstr(text, "secret"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_addresses_are_refused),
        cmocka_unit_test(what_may_be_lost_is_warned_of),
        cmocka_unit_test(learning_goes_on_with_another_master),
        cmocka_unit_test(what_a_master_lost_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

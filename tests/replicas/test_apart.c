/* Replicas apart: from a Redis that goes away, behind what it has, and from
 * what the others have.
 */
#include "tests/replicas/trio.h"

#include <signal.h>

/* Redis was away, and is back. */
static json_int_t
teach_when_it_can(int replica, int image)
{
    answer a = teach_with(replica, image, NULL);
    for (int i = 0; i < TRIES && a.status != 200; i++) {
        assert_int_equal(a.status, 503);
        free_answer(&a);
        nap();
        a = teach_with(replica, image, NULL);
    }
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static void
predictions_go_on_without_redis(void **state)
{
    char digest[80];
    (void)state;
    if (cannot())
        return;
    json_int_t version = version_of(0, digest, sizeof digest);
    redis_kill(&redis);
    answer a = teach_with(0, 70, NULL);
    assert_int_equal(a.status, 503);
    assert_true(a.retry[0]);
    free_answer(&a);
    a = ask(&replicas[0], NULL, "/models/fashion/predict",
            "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
    redis_run(&redis);
    assert_int_equal(teach_when_it_can(0, 70), version + 1);
    for (int i = 1; i < REPLICAS; i++)
        expect_same(0, i, version + 1);
}

static void
a_replica_waits_for_redis(void **state)
{
    char before[80], after[80];
    (void)state;
    if (cannot())
        return;
    json_int_t version = version_of(0, before, sizeof before);
    assert_int_equal(stop_server(&replicas[2]), 0);
    redis_kill(&redis);
    start_server(&replicas[2], arguments);
    answer a = get(&replicas[2], "/readyz");
    assert_int_equal(a.status, 503);
    free_answer(&a);
    redis_run(&redis);
    wait_until_ready(&replicas[2]);
    reach(2, version, after, sizeof after);
    assert_string_equal(before, after);
    /* The others come back by themselves, too. */
    for (int i = 0; i < REPLICAS; i++)
        assert_int_equal(teach_when_it_can(i, 71 + i), version + 1 + i);
    for (int i = 1; i < REPLICAS; i++)
        expect_same(0, i, version + REPLICAS);
}

static void
expect_said(int replica, const char *path, const char *part)
{
    bool said = false;
    for (int i = 0; i < TRIES && !said; i++) {
        answer a = get(&replicas[replica], path);
        said = a.body && memmem(a.body, a.size, part, strlen(part));
        free_answer(&a);
        nap();
    }
    if (!said)
        fail_msg("%s does not say %s", path, part);
}

/* Records that Redis says it has, and that cannot be learned yet. */
static void
lag_is_told(void **state)
{
    static const char add[] = "redis-cli -p %d HINCRBY 'soma:{fashion}:head' "
                              "last %d >/dev/null";
    (void)state;
    if (cannot())
        return;
    for (int behind = 0; behind <= 14; behind += 7) {
        char part[64];
        snprintf(part, sizeof part, "soma_replica_lag{model=\"fashion\"} %d\n",
                 behind % 14);
        expect_said(0, "/metrics", part);
        snprintf(part, sizeof part, "{\"ready\":true,\"lag\":%d}", behind % 14);
        expect_said(0, "/readyz", part);
        if (behind < 14)
            shell(add, redis.port, behind ? -7 : 7);
    }
    expect_said(0, "/metrics", "soma_replica_looked_seconds{");
}

/* Whoever was first is right. */
static void
one_that_differs_steps_out(void **state)
{
    char digest[80], command[160];
    (void)state;
    if (cannot())
        return;
    json_int_t version = version_of(0, digest, sizeof digest);
    reach(1, version, digest, sizeof digest);
    kill(replicas[1].pid, SIGSTOP);
    assert_true(version < 500);
    for (; version < 505; version++)
        assert_int_equal(teach(0, (int)version), version + 1);
    snprintf(command, sizeof command,
             "redis-cli -p %d HGET 'soma:{fashion}:digests' 500 | grep -qE "
             "'^[0-9a-f]{64}$'",
             redis.port);
    for (int i = 0; i < TRIES && system(command); i++)
        nap();
    assert_int_equal(system(command), 0);
    /* A look ends with the comparison: whoever has looked again has done it. */
    reach(2, version, digest, sizeof digest);
    for (int i = 0; i < 2; i++) {
        version = teach(2, 90 + i);
        reach(0, version, digest, sizeof digest);
    }
    snprintf(command, sizeof command,
             "redis-cli -p %d HSET 'soma:{fashion}:digests' 500 other "
             ">/dev/null",
             redis.port);
    assert_int_equal(system(command), 0);
    kill(replicas[1].pid, SIGCONT);
    answer a = {.status = 0};
    for (int i = 0; i < TRIES && a.status != 503; i++) {
        free_answer(&a);
        a = get(&replicas[1], "/readyz");
        nap();
    }
    expect_error(a, 503, "replica_differs", "500");
    expect_error(teach_with(1, 80, NULL), 503, "learning_stopped", "500");
    for (int i = 0; i < REPLICAS; i += 2) {
        a = get(&replicas[i], "/readyz");
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    expect_same(0, 2, version);
    assert_int_equal(teach(0, 81), version + 1);
    expect_same(0, 2, version + 1);
    /* Started anew, it has what the others have. */
    assert_int_equal(stop_server(&replicas[1]), 0);
    start(1);
    expect_same(0, 1, version + 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions_go_on_without_redis),
        cmocka_unit_test(a_replica_waits_for_redis),
        cmocka_unit_test(lag_is_told),
        cmocka_unit_test(one_that_differs_steps_out),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down);
}

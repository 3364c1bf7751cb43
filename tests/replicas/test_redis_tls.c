/* --journal rediss://: a Redis that speaks TLS and asks who one is. */
#include "tests/replicas/redis.h"

#include "tests/http/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static redis_server redis;

static int
set_up(void **state)
{
    (void)state;
    if (!foreign_server("TLS to Redis"))
        redis_begin_tls(&redis);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    redis_end(&redis);
    return 0;
}

static void
begin(server *s, const char *url)
{
    const char *const arguments[] = {
        "--journal", url, "--default-model", "fashion", "--workers", "1", NULL};
    start_server(s, arguments);
}

static long
teach(server *s, int image)
{
    char path[32];
    snprintf(path, sizeof path, "/train?label=%d", fashion_labels()[image]);
    answer a = ask(s, NULL, path, "application/octet-stream",
                   fashion_images() + (size_t)image * PIXELS, PIXELS);
    long status = a.status;
    free_answer(&a);
    return status;
}

static json_int_t
version_of(server *s)
{
    answer a = get(s, "/models/fashion");
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static void
trusting_url(char url[512], const char *host)
{
    snprintf(url, 512,
             "rediss://%s:%d/0?ca=%s/ca.crt&cert=%s/redis.crt&key=%s/redis.key",
             host, redis.tls, redis.folder, redis.folder, redis.folder);
}

/* Large records too, more than TLS carries at a time: checkpoints. */
static void
what_is_learned_comes_back(void **state)
{
    enum { LESSONS = 12 };
    char url[512];
    server s;
    (void)state;
    if (!redis.pid)
        return;
    trusting_url(url, "127.0.0.1");
    begin(&s, url);
    wait_until_ready(&s);
    for (int i = 0; i < LESSONS; i++)
        assert_int_equal(teach(&s, i), 200);
    assert_int_equal(stop_server(&s), 0);
    begin(&s, url);
    wait_until_ready(&s);
    assert_int_equal(version_of(&s), LESSONS);
    redis_kill(&redis);
    assert_int_equal(teach(&s, LESSONS), 503);
    redis_run(&redis);
    long status = 503;
    for (int i = 0; i < TRIES && status == 503; i++) {
        nap();
        status = teach(&s, LESSONS);
    }
    assert_int_equal(status, 200);
    assert_int_equal(version_of(&s), LESSONS + 1);
    assert_int_equal(stop_server(&s), 0);
}

/* Not ready, and says why. */
static void
expect_refusal(const char *url, const char *part)
{
    server s;
    bool said = false;
    begin(&s, url);
    for (int i = 0; i < TRIES && !said; i++) {
        answer a = get(&s, "/readyz");
        assert_int_equal(a.status, 503);
        said = strstr(a.body, part);
        if (!said && i + 1 == TRIES)
            fail_msg("%s: expected %s, got %s", url, part, a.body);
        free_answer(&a);
        nap();
    }
    assert_int_equal(stop_server(&s), 0);
}

static void
whom_it_cannot_trust_it_refuses(void **state)
{
    char url[512];
    (void)state;
    if (!redis.pid)
        return;
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/0", redis.tls);
    expect_refusal(url, "NOT trusted");
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/0?ca=%s/other.crt",
             redis.tls, redis.folder);
    expect_refusal(url, "NOT trusted");
    trusting_url(url, "localhost");
    expect_refusal(url, "name in the certificate does not match");
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/0?ca=%s/none.crt",
             redis.tls, redis.folder);
    expect_refusal(url, "none.crt");
}

static void
plain_and_tls_do_not_mix(void **state)
{
    char url[512];
    (void)state;
    if (!redis.pid)
        return;
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", redis.tls);
    expect_refusal(url, "redis://127.0.0.1");
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d/0", redis.port);
    expect_refusal(url, "TLS");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_learned_comes_back),
        cmocka_unit_test(whom_it_cannot_trust_it_refuses),
        cmocka_unit_test(plain_and_tls_do_not_mix),
    };
    return cmocka_run_group_tests_name("test_redis_tls", tests, set_up,
                                       tear_down);
}

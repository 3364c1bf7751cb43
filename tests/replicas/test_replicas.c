/* What --journal redis:// promises: one replica and several, over real
 * sockets, with a real Redis that is killed now and then.
 */
#include "tests/replicas/redis.h"

#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 400, REPLICAS = 3 };

static redis_server redis;
static server replicas[REPLICAS];
static const char *const arguments[] = {
    "--journal",    redis.url,   "--default-model",
    "fashion",      "--workers", "1",
    "--guard-drop", "100",       NULL};

static void
nap(void)
{
    struct timespec pause = {0, 25 * 1000000L};
    nanosleep(&pause, NULL);
}

static void
start(int i)
{
    start_server(&replicas[i], arguments);
    wait_until_ready(&replicas[i]);
}

static int
set_up(void **state)
{
    (void)state;
    if (!getenv("SOMA_URL"))
        redis_begin(&redis);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    int code = 0;
    for (int i = 0; i < REPLICAS; i++)
        code |= stop_server(&replicas[i]);
    redis_end(&redis);
    return code;
}

/* Whether there is nothing to test with. */
static bool
cannot(void)
{
    return foreign_server("replicas") || !redis.port;
}

static answer
teach_with(int replica, int image, const char *header)
{
    char path[160];
    CURL *curl = curl_easy_init();
    snprintf(path, sizeof path, "/models/fashion/train?label=%d",
             fashion_labels()[image]);
    answer a = ask_over(
        curl, &replicas[replica], NULL, path, "application/octet-stream",
        fashion_images() + (size_t)image * PIXELS, PIXELS, header);
    curl_easy_cleanup(curl);
    return a;
}

static json_int_t
teach(int replica, int image)
{
    answer a = teach_with(replica, image, NULL);
    if (a.status != 200)
        fail_msg("%ld %.*s", a.status, (int)a.size, a.body ? a.body : "");
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static json_int_t
version_of(int replica, char *digest, size_t size)
{
    answer a = get(&replicas[replica], "/models/fashion");
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    snprintf(digest, size, "%s", text_of(a.json, "digest"));
    free_answer(&a);
    return version;
}

/* Waits until the replica has come so far; its digest there. */
static void
reach(int replica, json_int_t version, char *digest, size_t size)
{
    for (int i = 0; i < TRIES; i++) {
        if (version_of(replica, digest, size) >= version)
            break;
        nap();
    }
    assert_int_equal(version_of(replica, digest, size), version);
}

static void
expect_same(int a, int b, json_int_t version)
{
    char one[80], other[80];
    reach(a, version, one, sizeof one);
    reach(b, version, other, sizeof other);
    assert_string_equal(one, other);
}

static void
what_was_taught_outlives_soma(void **state)
{
    char before[80], after[80];
    (void)state;
    if (cannot())
        return;
    start(0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(teach(0, i), i + 1);
    version_of(0, before, sizeof before);
    kill_server(&replicas[0]);
    start(0);
    assert_int_equal(version_of(0, after, sizeof after), 20);
    assert_string_equal(before, after);
    /* With a checkpoint, and from it. */
    assert_int_equal(stop_server(&replicas[0]), 0);
    start(0);
    assert_int_equal(version_of(0, after, sizeof after), 20);
    assert_string_equal(before, after);
    assert_int_equal(teach(0, 20), 21);
}

static void
what_was_taught_outlives_redis(void **state)
{
    char before[80], after[80];
    (void)state;
    if (cannot())
        return;
    version_of(0, before, sizeof before);
    redis_kill(&redis);
    redis_run(&redis);
    answer a = {.status = 0};
    for (int i = 0; i < TRIES && a.status != 200; i++) {
        free_answer(&a);
        a = teach_with(0, 21, "Idempotency-Key: over-a-restart");
        nap();
    }
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), 22);
    free_answer(&a);
    version_of(0, before, sizeof before);
    kill_server(&replicas[0]);
    redis_kill(&redis);
    redis_run(&redis);
    start(0);
    assert_int_equal(version_of(0, after, sizeof after), 22);
    assert_string_equal(before, after);
}

static void
others_learn_what_one_is_taught(void **state)
{
    (void)state;
    if (cannot())
        return;
    start(1);
    char digest[80];
    json_int_t version = version_of(1, digest, sizeof digest);
    assert_int_equal(version, 22); /* ready only when it has caught up */
    for (int i = 0; i < 10; i++)
        version = teach(i % 2, 30 + i);
    assert_int_equal(version, 32);
    expect_same(0, 1, 32);
    /* A rollback is a record like others. */
    answer a =
        post(&replicas[1], "/models/fashion/rollback", "{\"version\": 25}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    expect_same(0, 1, 33);
    assert_int_equal(teach(0, 50), 34);
    expect_same(0, 1, 34);
}

static void
a_key_counts_on_all_replicas(void **state)
{
    (void)state;
    if (cannot())
        return;
    answer a = teach_with(0, 60, "Idempotency-Key: once");
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    answer b = {.status = 0};
    for (int i = 0; i < TRIES && b.status != 200; i++) {
        free_answer(&b);
        b = teach_with(1, 60, "Idempotency-Key: once");
        nap();
    }
    assert_int_equal(b.status, 200);
    assert_true(json_equal(a.json, b.json));
    free_answer(&b);
    expect_error(teach_with(1, 61, "Idempotency-Key: once"), 409, "conflict",
                 "once");
    free_answer(&a);
    expect_same(0, 1, version);
}

/* ---- Many at once ---- */

enum { EACH = 40 };

typedef struct teacher {
    pthread_t thread;
    int replica, from;
    json_int_t versions[EACH];
} teacher;

static void *
teach_all(void *arg)
{
    teacher *t = arg;
    for (int i = 0; i < EACH; i++) {
        answer a = teach_with(t->replica, t->from + i, NULL);
        t->versions[i] = a.status == 200 ? whole_of(a.json, "version") : -1;
        free_answer(&a);
    }
    return NULL;
}

static void
versions_are_one_order(void **state)
{
    (void)state;
    if (cannot())
        return;
    start(2);
    char digest[80];
    json_int_t before = version_of(2, digest, sizeof digest);
    fashion_images(), fashion_labels();
    teacher teachers[REPLICAS * 2];
    for (int i = 0; i < REPLICAS * 2; i++) {
        teachers[i] =
            (teacher){.replica = i % REPLICAS, .from = 1000 + i * EACH};
        pthread_create(&teachers[i].thread, NULL, teach_all, &teachers[i]);
    }
    bool seen[REPLICAS * 2 * EACH] = {false};
    for (int i = 0; i < REPLICAS * 2; i++)
        pthread_join(teachers[i].thread, NULL);
    for (int i = 0; i < REPLICAS * 2; i++)
        for (int k = 0; k < EACH; k++) {
            json_int_t version = teachers[i].versions[k];
            assert_in_range(version, before + 1, before + REPLICAS * 2 * EACH);
            assert_true(k == 0 || version > teachers[i].versions[k - 1]);
            assert_false(seen[version - before - 1]);
            seen[version - before - 1] = true;
        }
    expect_same(0, 1, before + REPLICAS * 2 * EACH);
    expect_same(1, 2, before + REPLICAS * 2 * EACH);
    print_message("%d examples of %d replicas, 0 lost\n", REPLICAS * 2 * EACH,
                  REPLICAS);
}

/* ---- Redis away ---- */

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
    for (int i = 0; i < TRIES; i++) {
        a = teach_with(0, 70, NULL);
        if (a.status == 200)
            break;
        assert_int_equal(a.status, 503);
        free_answer(&a);
        nap();
    }
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version + 1);
    free_answer(&a);
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
        cmocka_unit_test(what_was_taught_outlives_soma),
        cmocka_unit_test(what_was_taught_outlives_redis),
        cmocka_unit_test(others_learn_what_one_is_taught),
        cmocka_unit_test(a_key_counts_on_all_replicas),
        cmocka_unit_test(versions_are_one_order),
        cmocka_unit_test(predictions_go_on_without_redis),
        cmocka_unit_test(a_replica_waits_for_redis),
        cmocka_unit_test(one_that_differs_steps_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

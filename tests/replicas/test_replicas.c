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
#include <unistd.h>

enum { REPLICAS = 3 };

static redis_server redis;
static server replicas[REPLICAS];
static const char *const arguments[] = {
    "--journal",    redis.url,   "--default-model",
    "fashion",      "--workers", "1",
    "--guard-drop", "100",       NULL};

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

/* Who watches one replica hears what the others were taught. */
static void
others_tell_of_it(void **state)
{
    char path[] = "/tmp/soma-heard-XXXXXX";
    (void)state;
    if (cannot())
        return;
    close(mkstemp(path));
    shell("curl -sN --max-time 60 http://127.0.0.1:%d/events >%s & echo $! "
          ">%s.pid",
          replicas[1].port, path, path);
    shell("for i in $(seq 200); do grep -q stats %s && exit; sleep 0.05; done; "
          "exit 1",
          path);
    json_int_t version = teach(0, 0);
    shell("for i in $(seq 200); do grep -q '\"version\":%lld,\"label\"' %s && "
          "exit; sleep 0.05; done; exit 1",
          (long long)version, path);
    shell("grep -A1 '^event: example' %s | grep -q '\"model\":\"fashion\"'; "
          "code=$?; kill $(cat %s.pid); rm %s %s.pid; exit $code",
          path, path, path, path);
}

/* Also at once, before the other replica has looked. */
static void
a_key_counts_on_all_replicas(void **state)
{
    enum { KEYS = 20 };
    (void)state;
    json_int_t version = 0;
    for (int i = 0; i < KEYS && !cannot(); i++) {
        char key[64];
        snprintf(key, sizeof key, "Idempotency-Key: once-%d", i);
        answer a = teach_with(0, 60 + i, key);
        answer b = teach_with(1, 60 + i, key);
        assert_int_equal(a.status, 200);
        assert_int_equal(b.status, 200);
        assert_true(json_equal(a.json, b.json));
        version = whole_of(a.json, "version");
        expect_error(teach_with(1, 60 + KEYS, key), 409, "conflict", "once");
        free_answer(&a);
        free_answer(&b);
    }
    if (version)
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
start_teacher(teacher *t, int replica, int from)
{
    *t = (teacher){.replica = replica, .from = from};
    pthread_create(&t->thread, NULL, teach_all, t);
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
    for (int i = 0; i < REPLICAS * 2; i++)
        start_teacher(&teachers[i], i % REPLICAS, 1000 + i * EACH);
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

/* To what another replica has just learned, while that goes on learning. */
static void
a_rollback_finds_its_place(void **state)
{
    enum { ROUNDS = 10 };
    char body[64];
    int done = 0;
    (void)state;
    if (cannot())
        return;
    teacher teachers[2];
    for (int i = 0; i < 2; i++)
        start_teacher(&teachers[i], 0, 2000 + i * EACH);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(body, sizeof body, "{\"version\": %lld}",
                 (long long)teach(2, 400 + i));
        answer a = post(&replicas[1], "/models/fashion/rollback", body);
        done += a.status == 200;
        free_answer(&a);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(teachers[i].thread, NULL);
    assert_int_equal(done, ROUNDS);
    json_int_t version = teach(0, 420);
    for (int i = 1; i < REPLICAS; i++)
        expect_same(0, i, version);
}

/* Soma-Min-Version: whoever is asked. */
static void
who_taught_reads_it_anywhere(void **state)
{
    enum { ROUNDS = 30 };
    char least[64];
    CURL *curl = curl_easy_init();
    (void)state;
    for (int i = 0; i < ROUNDS && !cannot(); i++) {
        json_int_t version = teach(i % REPLICAS, 300 + i);
        snprintf(least, sizeof least, "Soma-Min-Version: %lld",
                 (long long)version);
        answer a =
            ask_over(curl, &replicas[(i + 1) % REPLICAS], NULL,
                     "/models/fashion/predict", "application/octet-stream",
                     fashion_images(), PIXELS, least);
        assert_int_equal(a.status, 200);
        assert_true(whole_of(a.json, "version") >= version);
        free_answer(&a);
    }
    curl_easy_cleanup(curl);
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

/* soma journal and soma replay, beside the replicas. */
static void
commands_read_what_is_shared(void **state)
{
    char text[65536], digest[80], last[64];
    (void)state;
    if (cannot())
        return;
    json_int_t version = teach(1, 7);
    assert_int_equal(version_of(1, digest, sizeof digest), version);
    snprintf(last, sizeof last, "version %lld", (long long)version);
    assert_int_equal(
        soma_says(text, sizeof text, "journal check '%s#fashion'", redis.url),
        0);
    assert_non_null(strstr(text, last));
    assert_int_equal(soma_says(text, sizeof text,
                               "journal list --limit 3 '%s#fashion'",
                               redis.url),
                     0);
    assert_non_null(strstr(text, "label "));
    assert_int_equal(
        soma_says(text, sizeof text, "replay '%s#fashion'", redis.url), 0);
    assert_non_null(strstr(text, digest));
    assert_int_not_equal(
        soma_says(text, sizeof text, "journal trim '%s#fashion'", redis.url),
        0);
    assert_non_null(strstr(text, "by the replicas"));
    assert_int_not_equal(
        soma_says(text, sizeof text, "journal list '%s'", redis.url), 0);
    assert_non_null(strstr(text, "#MODEL"));
    assert_int_not_equal(
        soma_says(text, sizeof text, "journal list '%s#none'", redis.url), 0);
    assert_non_null(strstr(text, "there is no journal"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taught_outlives_soma),
        cmocka_unit_test(what_was_taught_outlives_redis),
        cmocka_unit_test(others_learn_what_one_is_taught),
        cmocka_unit_test(others_tell_of_it),
        cmocka_unit_test(a_key_counts_on_all_replicas),
        cmocka_unit_test(versions_are_one_order),
        cmocka_unit_test(a_rollback_finds_its_place),
        cmocka_unit_test(who_taught_reads_it_anywhere),
        cmocka_unit_test(commands_read_what_is_shared),
        cmocka_unit_test(predictions_go_on_without_redis),
        cmocka_unit_test(a_replica_waits_for_redis),
        cmocka_unit_test(lag_is_told),
        cmocka_unit_test(one_that_differs_steps_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

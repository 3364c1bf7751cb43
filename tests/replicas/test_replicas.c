/* What --journal redis:// promises: one replica and several, over real
 * sockets, with a real Redis.
 */
#include "tests/replicas/trio.h"

#include <pthread.h>

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
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

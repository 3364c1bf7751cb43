/* Three replicas on one journal in Redis.
 */
#ifndef SOMA_TESTS_REPLICAS_TRIO_H
#define SOMA_TESTS_REPLICAS_TRIO_H

#include "tests/replicas/redis.h"

#include "tests/http/server.h"

#include <curl/curl.h>
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

static inline void
start(int i)
{
    start_server(&replicas[i], arguments);
    wait_until_ready(&replicas[i]);
}

static inline int
set_up(void **state)
{
    (void)state;
    if (!getenv("SOMA_URL"))
        redis_begin(&redis);
    return 0;
}

static inline int
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
static inline bool
cannot(void)
{
    return foreign_server("replicas") || !redis.port;
}

/* The same as set_up, with all of them started. */
static inline int
set_up_all(void **state)
{
    int code = set_up(state);
    for (int i = 0; i < REPLICAS && !cannot(); i++)
        start(i);
    return code;
}

static inline answer
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

static inline json_int_t
teach(int replica, int image)
{
    answer a = teach_with(replica, image, NULL);
    if (a.status != 200)
        fail_msg("%ld %.*s", a.status, (int)a.size, a.body ? a.body : "");
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static inline json_int_t
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
static inline void
reach(int replica, json_int_t version, char *digest, size_t size)
{
    for (int i = 0; i < TRIES; i++) {
        if (version_of(replica, digest, size) >= version)
            break;
        nap();
    }
    assert_int_equal(version_of(replica, digest, size), version);
}

static inline void
expect_same(int a, int b, json_int_t version)
{
    char one[80], other[80];
    reach(a, version, one, sizeof one);
    reach(b, version, other, sizeof other);
    assert_string_equal(one, other);
}

#endif

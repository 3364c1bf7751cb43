/* --rate-limit: each key, and each address without one, has its own bound; it
 * holds for guessed keys and unknown paths, and not for health checks. */
#include "tests/http/keys.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file[64], first[80], second[80];
static server s;

/* Ones that last long after one request: no test waits for a token. */
static int
set_up(void **state)
{
    const char *const arguments[] = {
        "--default-model", "fashion", "--keys", file,
        "--rate-limit",    "0.001",   NULL};
    (void)state;
    if (foreign_server("rate limits"))
        return 0;
    strcpy(file, "/tmp/soma-rate-XXXXXX");
    close(mkstemp(file));
    make_key(file, "first", "predict", first);
    make_key(file, "second", "predict", second);
    start_server(&s, arguments);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (!s.pid)
        return 0;
    unlink(file);
    return stop_server(&s);
}

static answer
try(CURL *curl, const char *path, const char *key)
{
    char header[128];
    bool post = strstr(path, "predict") != NULL;
    snprintf(header, sizeof header, "Authorization: Bearer %s", key ? key : "");
    return ask_over(curl, &s, post ? "POST" : "GET", path,
                    "application/octet-stream", post ? fashion_images() : NULL,
                    post ? PIXELS : 0, key ? header : NULL);
}

static void
expect(CURL *curl, const char *path, const char *key, long status)
{
    answer a = try(curl, path, key);
    if (a.status != status)
        fail_msg("%s: %ld, expected %ld", path, a.status, status);
    if (status == 429)
        assert_in_range(atoi(a.retry), 900, 1000);
    free_answer(&a);
}

static void
each_caller_has_its_own(void **state)
{
    CURL *curl = curl_easy_init();
    (void)state;
    if (!s.pid)
        return;
    expect(curl, "/predict", first, 200);
    expect(curl, "/predict", first, 429);
    expect(curl, "/models", first, 429);
    expect(curl, "/models", second, 200);
    expect_error(try(curl, "/predict", second), 429, "too_many_requests",
                 "0.001 requests a second with this key");
    expect(curl, "/predict", NULL, 401);
    expect_error(try(curl, "/predict", "guess"), 429, "too_many_requests",
                 "from this address");
    expect(curl, "/predict", NULL, 429);
    expect(curl, "/nowhere", NULL, 429);
    /* However a request's end is told. */
    static const char chunked[] =
        "POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    char *got = raw(&s, chunked, sizeof chunked - 1);
    assert_non_null(strstr(got, " 429 "));
    free(got);
    /* A refused body is no reason to lose the connection. */
    long connections = -1;
    curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connections);
    assert_int_equal(connections, 0);
    curl_easy_cleanup(curl);
}

static void
what_is_open_is_not_counted(void **state)
{
    CURL *curl = curl_easy_init();
    (void)state;
    if (!s.pid)
        return;
    for (int i = 0; i < 5; i++) {
        expect(curl, "/healthz", NULL, 200);
        expect(curl, "/readyz", first, 200);
        expect(curl, "/openapi.json", "guess", 200);
    }
    curl_easy_cleanup(curl);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_caller_has_its_own),
        cmocka_unit_test(what_is_open_is_not_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

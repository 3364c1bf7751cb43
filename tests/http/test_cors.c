/* What pages of other origins may do in a browser, and the headers that
 * browsers act upon. */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server plain, listed, open_to_all;

static int
set_up(void **state)
{
    const char *const none[] = {"--default-model", "fashion", NULL};
    const char *const some[] = {"--default-model", "fashion", "--cors-origin",
                                "https://a.example,http://b.example:8080",
                                NULL};
    const char *const all[] = {"--default-model", "fashion", "--cors-origin",
                               "*", NULL};
    (void)state;
    if (foreign_server("CORS"))
        return 0;
    start_server(&plain, none);
    start_server(&listed, some);
    start_server(&open_to_all, all);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return !plain.pid ? 0
                      : stop_server(&plain) + stop_server(&listed) +
                            stop_server(&open_to_all);
}

/* Sends a request of these headers; whether the answer has all of the parts,
 * which end with NULL, and none that begins with '!'. */
static void
expect(const server *s, const char *request, const char *headers,
       const char *const *parts)
{
    static const char body[] = "{\"pixels\": [1]}";
    char text[1024];
    bool post = !strncmp(request, "POST", 4);
    snprintf(text, sizeof text,
             "%s HTTP/1.1\r\nHost: soma.example\r\nConnection: close\r\n%s"
             "Content-Length: %d\r\n\r\n%s",
             request, headers, post ? (int)sizeof body - 1 : 0,
             post ? body : "");
    char *got = raw(s, text, strlen(text));
    for (; *parts; parts++) {
        bool absent = **parts == '!';
        if (!strstr(got, *parts + absent) != absent)
            fail_msg("%s %s: \"%s\" is%s in %s", request, headers,
                     *parts + absent, absent ? "" : " not", got);
    }
    free(got);
}

#define EXPECT(server, request, headers, ...)                                  \
    expect(server, request, headers, (const char *const[]){__VA_ARGS__, NULL})

#define ASK          "Access-Control-Request-Method: POST\r\n"
#define FROM(origin) "Origin: " origin "\r\n"

static void
off_by_default(void **state)
{
    (void)state;
    if (!plain.pid)
        return;
    EXPECT(&plain, "GET /models", FROM("https://a.example"), " 200 ",
           "!Access-Control", "!Vary");
    EXPECT(&plain, "OPTIONS /predict", FROM("https://a.example") ASK, " 405 ",
           "!Access-Control");
}

/* 400 is what the body is answered, once it is read. */
static void
pages_elsewhere_change_nothing(void **state)
{
    (void)state;
    if (!plain.pid)
        return;
    EXPECT(&plain, "POST /train", FROM("https://a.example"), " 403 ",
           "other_origin");
    EXPECT(&plain, "POST /train", FROM("null"), " 403 ");
    EXPECT(&plain, "POST /train", "Sec-Fetch-Site: cross-site\r\n", " 403 ");
    EXPECT(&plain, "POST /train", "Sec-Fetch-Site: same-site\r\n", " 403 ");
    EXPECT(&plain, "DELETE /models/fashion", FROM("https://a.example"),
           " 403 ");
    EXPECT(&plain, "POST /train", FROM("http://soma.example"), " 400 ");
    EXPECT(&plain, "POST /train", "", " 400 ");
    EXPECT(&plain, "POST /train",
           FROM("https://public.example") "Sec-Fetch-Site: same-origin\r\n",
           " 400 ");
    EXPECT(&listed, "POST /train", FROM("https://a.example.evil"), " 403 ",
           "!Allow-Origin");
    EXPECT(&listed, "POST /train",
           FROM("https://a.example") "Sec-Fetch-Site: cross-site\r\n", " 400 ",
           "Access-Control-Allow-Origin: https://a.example\r\n");
}

static void
listed_origins_may(void **state)
{
    (void)state;
    if (!plain.pid)
        return;
    EXPECT(&listed, "GET /models", FROM("http://b.example:8080"), " 200 ",
           "Access-Control-Allow-Origin: http://b.example:8080\r\n",
           "Vary: Origin\r\n", "Access-Control-Expose-Headers: Retry-After");
    /* Errors are read by pages, too. */
    EXPECT(&listed, "GET /nowhere", FROM("https://a.example"), " 404 ",
           "Access-Control-Allow-Origin: https://a.example\r\n");
    EXPECT(&listed, "GET /models", FROM("https://b.example:8080"), " 200 ",
           "!Allow-Origin", "Vary: Origin\r\n");
    EXPECT(&listed, "GET /models", FROM("https://a.exampl"), "!Allow-Origin");
    EXPECT(&listed, "GET /models", "", " 200 ", "!Allow-Origin",
           "Vary: Origin");
    EXPECT(&open_to_all, "GET /models", FROM("https://c.example"), " 200 ",
           "Access-Control-Allow-Origin: *\r\n", "!Vary");
    EXPECT(&open_to_all, "POST /train", FROM("null"), " 400 ");
}

static void
preflights(void **state)
{
    (void)state;
    if (!plain.pid)
        return;
    EXPECT(&listed, "OPTIONS /predict", FROM("https://a.example") ASK, " 200 ",
           "Access-Control-Allow-Origin: https://a.example\r\n",
           "Access-Control-Allow-Methods: POST\r\n",
           "Access-Control-Allow-Headers: Authorization, Content-Type",
           "Access-Control-Max-Age: 600", "!{");
    EXPECT(&open_to_all, "OPTIONS /models/fashion",
           FROM("https://c.example") ASK, " 200 ",
           "Access-Control-Allow-Methods: GET, HEAD, DELETE\r\n");
    EXPECT(&listed, "OPTIONS /predict", FROM("https://c.example") ASK, " 403 ",
           "other_origin", "!Allow-Origin");
    EXPECT(&listed, "OPTIONS /nowhere", FROM("https://a.example") ASK, " 404 ");
    EXPECT(&listed, "OPTIONS /predict", FROM("https://a.example"), " 405 ",
           "!Allow-Methods");
}

static void
security_headers(void **state)
{
    (void)state;
    if (!plain.pid)
        return;
    EXPECT(&plain, "GET /", "Accept: text/html\r\n",
           "Content-Type: text/html; charset=utf-8\r\n",
           "X-Content-Type-Options: nosniff\r\n", "X-Frame-Options: DENY\r\n",
           "Referrer-Policy: no-referrer\r\n",
           "Content-Security-Policy: default-src 'none'; script-src 'self'; ",
           "; frame-ancestors 'none'\r\n");
    EXPECT(&plain, "GET /metrics", "", "nosniff", "!X-Frame-Options");
    EXPECT(&plain, "GET /models", "", "!X-Frame-Options");
}

static void
origins_that_are_none(void **state)
{
    static const char *const cases[] = {
        "a.example",          "https://",    "https://a.example/", "ftp://a",
        "https://a.example,", "https://a,*", "https://*.a",        ""};
    char text[2048];
    (void)state;
    if (!plain.pid)
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const arguments[] = {"serve", "--cors-origin", cases[i],
                                         NULL};
        assert_int_equal(run_soma(arguments, text, sizeof text), 2);
        assert_non_null(strstr(text, "--cors-origin: expected *"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_by_default),
        cmocka_unit_test(pages_elsewhere_change_nothing),
        cmocka_unit_test(listed_origins_may),
        cmocka_unit_test(preflights),
        cmocka_unit_test(security_headers),
        cmocka_unit_test(origins_that_are_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

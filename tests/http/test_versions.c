/* Soma-Min-Version: who has taught reads what was learned, from any replica.
 * Nothing here is about how long it takes: PATIENCE_MS only ends a test that
 * failed. */
#include "server/web/routes.h"
#include "tests/http/server.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 };

static server s;

static int
set_up(void **state)
{
    static const char *const arguments[] = {
        "--default-model", "fashion", "--workers", "1",
        "--guard-drop",    "100",     NULL};
    (void)state;
    start_server(&s, arguments);
    wait_until_ready(&s);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_server(&s);
}

/* Posts a body with these headers, each with its "\r\n"; the connection, on
 * which the answer comes. */
static int
send_to(const char *path, const char *headers, const void *body, size_t bytes)
{
    char head[512];
    int fd = connect_to(&s);
    int size = snprintf(head, sizeof head,
                        "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Length: %zu\r\n%s\r\n",
                        path, bytes, headers);
    assert_int_equal(send(fd, head, (size_t)size, 0), size);
    assert_int_equal(send(fd, body, bytes, 0), bytes);
    return fd;
}

/* `count` images to be predicted by this version. */
static int
ask_for(const char *version, int count)
{
    char headers[128];
    snprintf(headers, sizeof headers,
             "Content-Type: application/octet-stream\r\n"
             "Soma-Min-Version: %s\r\n",
             version);
    return send_to("/models/fashion/predict", headers, fashion_images(),
                   (size_t)(count * PIXELS));
}

/* Head and body, until the connection's end. */
static char *
take(int fd)
{
    enum { MOST = 1 << 16 };
    char *text = calloc(1, MOST);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    size_t used = 0;
    assert_non_null(text);
    for (ssize_t got = 1; got > 0; used += got > 0 ? (size_t)got : 0) {
        if (poll(&ready, 1, PATIENCE_MS) != 1)
            fail_msg("no answer came");
        got = recv(fd, text + used, MOST - 1 - used, 0);
    }
    close(fd);
    return text;
}

static void
expect(char *text, const char *status, const char *part)
{
    if (strncmp(text, status, strlen(status)) != 0 || !strstr(text, part))
        fail_msg("expected %s and %s, got %s", status, part, text);
    free(text);
}

static unsigned long long
version_now(void)
{
    answer a = get(&s, "/models/fashion");
    unsigned long long version =
        (unsigned long long)whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static void
teach_one(void)
{
    answer a = ask(&s, NULL, "/models/fashion/train?label=9",
                   "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

static void
what_is_there_answers(void **state)
{
    char version[24], says[48];
    (void)state;
    teach_one();
    snprintf(version, sizeof version, "%llu", version_now());
    snprintf(says, sizeof says, "Soma-Version: %s\r\n", version);
    expect(take(ask_for(version, 1)), "HTTP/1.1 200", says);
    expect(take(ask_for("1", 3)), "HTTP/1.1 200", says);
}

static void
what_comes_is_waited_for(void **state)
{
    enum { WAITING = 5 };
    int some[WAITING];
    char version[24], says[48], body[48];
    (void)state;
    snprintf(version, sizeof version, "%llu", version_now() + 1);
    snprintf(says, sizeof says, "Soma-Version: %s\r\n", version);
    snprintf(body, sizeof body, "\"version\":%s,", version);
    for (int i = 0; i < WAITING; i++)
        some[i] = ask_for(version, 1 + i);
    teach_one();
    for (int i = 0; i < WAITING; i++) {
        char *text = take(some[i]);
        assert_non_null(strstr(text, body));
        expect(text, "HTTP/1.1 200", says);
    }
}

/* And others are answered meanwhile. */
static void
what_does_not_come_is_refused(void **state)
{
    char says[48];
    (void)state;
    int waits = ask_for("999999999999999999", 1);
    int large = ask_for("999999999999999999", 60);
    snprintf(says, sizeof says, "Soma-Version: %llu\r\n", version_now());
    expect(take(ask_for("1", 1)), "HTTP/1.1 200", says);
    char *text = take(waits);
    assert_non_null(strstr(text, "version_not_here"));
    assert_non_null(strstr(text, says));
    expect(text, "HTTP/1.1 503", "Retry-After: 1\r\n");
    expect(take(large), "HTTP/1.1 503", "version_not_here");
}

static void
who_leaves_is_forgotten(void **state)
{
    char version[24];
    (void)state;
    snprintf(version, sizeof version, "%llu", version_now() + 1);
    for (int i = 0; i < 20; i++)
        close(ask_for(version, 1));
    teach_one();
    expect(take(ask_for(version, 1)), "HTTP/1.1 200", version);
}

/* ---- Every route that predicts ---- */

static const struct {
    const char *route, *path;
    const char *member; /* that the image's pixels are in; NULL: raw bytes */
    const char *head;   /* of the answer's body, before the version; NULL: it
                           is in no place there, and so in the header always */
} routes[] = {
    {"/predict", "/predict", "pixels", "\"version\":"},
    {"/predict", "/predict", NULL, "\"version\":"},
    {"/models/{model}/predict", "/models/fashion/predict", NULL,
     "\"version\":"},
    {"/models/{model}/explain", "/models/fashion/explain", NULL,
     "\"version\":"},
    {"/models/{model}/explain", "/models/fashion/explain", "pixels",
     "\"version\":"},
    {"/v2/models/{model}/infer", "/v2/models/fashion/infer", "inputs",
     "\"soma_version\":"},
    {"/v2/models/{model}/infer", "/v2/models/fashion/infer", NULL,
     "\"soma_version\":"},
    {"/v2/models/{model}/versions/{version}/infer",
     "/v2/models/fashion/versions/1/infer", NULL, "\"soma_version\":"},
    {"/v1/models/{model}:predict", "/v1/models/fashion:predict", "instances",
     "\"soma_version\":"},
    {"/v1/models/{model}/versions/{version}:predict",
     "/v1/models/fashion/versions/1:predict", "instances", "\"soma_version\":"},
    {"/v1/models/{model}:classify", "/v1/models/fashion:classify", "examples",
     "\"soma_version\":"},
    {"/v1/models/{model}/versions/{version}:classify",
     "/v1/models/fashion/versions/1:classify", "examples", "\"soma_version\":"},
    {"/invocations", "/invocations", NULL, "\"version\":"},
    {"/invocations", "/invocations", "instances", "\"soma_version\":"},
    {"/predictions/{model}", "/predictions/fashion", NULL, NULL},
    {"/predictions/{model}/{version}", "/predictions/fashion/1", "pixels",
     NULL},
};

enum { ROUTES = sizeof routes / sizeof *routes };

/* A server of others may have another default model. */
static bool
is_of_fashion(int i)
{
    return !getenv("SOMA_URL") || strstr(routes[i].path, "fashion");
}

/* {"pixels": image}; "instances" and "examples" are lists, "inputs" of Open
 * Inference Protocol's objects. */
static char *
body_of(const char *member)
{
    json_t *pixels = pixels_of(fashion_images(), PIXELS), *body;
    if (!strcmp(member, "inputs"))
        body = json_pack("{s:[{s:s, s:s, s:[i, i], s:o}]}", member, "name",
                         "input", "datatype", "UINT8", "shape", 1, PIXELS,
                         "data", pixels);
    else
        body = json_pack(strcmp(member, "pixels") ? "{s:[o]}" : "{s:o}", member,
                         pixels);
    char *text = json_dumps(body, JSON_COMPACT);
    assert_non_null(text);
    json_decref(body);
    return text;
}

/* Asks route i; version NULL: without saying by which. */
static int
ask_route(int i, const char *version)
{
    char headers[256];
    const char *member = routes[i].member;
    char *json = member ? body_of(member) : NULL;
    int size = snprintf(headers, sizeof headers, "Content-Type: %s\r\n",
                        json ? "application/json" : "application/octet-stream");
    if (!json && !strncmp(routes[i].path, "/v2", 3))
        size += snprintf(headers + size, sizeof headers - (size_t)size,
                         "Inference-Header-Content-Length: 0\r\n");
    if (version)
        snprintf(headers + size, sizeof headers - (size_t)size,
                 "Soma-Min-Version: %s\r\n", version);
    int fd = json ? send_to(routes[i].path, headers, json, strlen(json))
                  : send_to(routes[i].path, headers, fashion_images(), PIXELS);
    free(json);
    return fd;
}

/* The version stands in the header of who asks for one and, of all others,
 * where it does not stand in the body. */
static void
every_route_says_its_version(void **state)
{
    char version[24], says[48], body[64];
    (void)state;
    teach_one();
    snprintf(version, sizeof version, "%llu", version_now());
    snprintf(says, sizeof says, "Soma-Version: %s\r\n", version);
    foreign_server("versions of the default model");
    for (int i = 0; i < ROUTES; i++) {
        if (!is_of_fashion(i))
            continue;
        const char *head = routes[i].head;
        snprintf(body, sizeof body, "%s%s", head ? head : "", version);
        expect(take(ask_route(i, version)), "HTTP/1.1 200", says);
        char *text = take(ask_route(i, NULL));
        if (head)
            assert_null(strstr(text, "Soma-Version"));
        expect(text, "HTTP/1.1 200", head ? body : says);
    }
}

static void
every_route_refuses_what_is_not_there(void **state)
{
    char says[48];
    int fds[ROUTES];
    (void)state;
    snprintf(says, sizeof says, "Soma-Version: %llu\r\n", version_now());
    for (int i = 0; i < ROUTES; i++)
        fds[i] = is_of_fashion(i) ? ask_route(i, "999999999999999999") : -1;
    for (int i = 0; i < ROUTES; i++) {
        if (fds[i] < 0)
            continue;
        char *text = take(fds[i]);
        if (!strstr(text, "version_not_here"))
            fail_msg("%s: %s", routes[i].path, text);
        assert_non_null(strstr(text, "Retry-After: 1\r\n"));
        expect(text, "HTTP/1.1 503", says);
    }
}

/* The table has each route that a key for predictions opens; a model has no
 * answer to :regress. */
static void
no_route_is_left_out(void **state)
{
    const soma_route *route;
    (void)state;
    for (int i = 0; (route = soma_route_at(i)); i++) {
        bool there = route->scope != SOMA_SCOPE_PREDICT ||
                     strcmp(route->method, "POST") != 0 ||
                     strstr(route->path, ":regress");
        for (int k = 0; k < ROUTES; k++)
            there = there || !strcmp(routes[k].route, route->path);
        if (!there)
            fail_msg("%s is not tested here", route->path);
    }
}

/* Bytes of one layer say nothing of themselves; a model file does. */
static void
weights_say_their_version(void **state)
{
    char says[48];
    (void)state;
    snprintf(says, sizeof says, "Soma-Version: %llu\r\n", version_now());
    static const char request[] = "GET /models/fashion/weights?layer=2 "
                                  "HTTP/1.1\r\nHost: x\r\n"
                                  "Connection: close\r\n\r\n";
    char *text = raw(&s, request, sizeof request - 1);
    expect(text, "HTTP/1.1 200", says);
}

static void
what_is_no_version_is_refused(void **state)
{
    static const char *const bad[] = {
        "-1", "1.5", "latest", "", "1, 2", "1000000000000000000", "0x10"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect(take(ask_for(bad[i], 1)), "HTTP/1.1 400", "bad_min_version");
    expect(take(ask_for("1\r\nSoma-Min-Version: 1", 1)), "HTTP/1.1 400",
           "bad_min_version");
}

/* Who does not ask is told in the body alone: answers stay short. */
static void
others_see_nothing_of_it(void **state)
{
    static const char request[] = "POST /models/fashion/train?label=9 "
                                  "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Content-Type: application/octet-stream\r\n"
                                  "Content-Length: 784\r\n\r\n";
    char bytes[sizeof request + PIXELS] = {0};
    (void)state;
    memcpy(bytes, request, sizeof request - 1);
    char *text = raw(&s, bytes, sizeof request - 1 + PIXELS);
    assert_int_equal(strncmp(text, "HTTP/1.1 200", 12), 0);
    assert_null(strstr(text, "Soma-Version"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_answers),
        cmocka_unit_test(what_comes_is_waited_for),
        cmocka_unit_test(what_does_not_come_is_refused),
        cmocka_unit_test(who_leaves_is_forgotten),
        cmocka_unit_test(every_route_says_its_version),
        cmocka_unit_test(every_route_refuses_what_is_not_there),
        cmocka_unit_test(no_route_is_left_out),
        cmocka_unit_test(weights_say_their_version),
        cmocka_unit_test(what_is_no_version_is_refused),
        cmocka_unit_test(others_see_nothing_of_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

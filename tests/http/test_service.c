/* Health, metrics, the API's description against the route table, and HTTP
 * itself: HEAD, chunks, keep-alive, pipelining. */
#include "tests/http/server.h"

#include "server/web/routes.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server s;

static int
set_up(void **state)
{
    (void)state;
    start_server(&s, NULL);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_server(&s);
}

static void
is_live_and_ready(void **state)
{
    (void)state;
    answer a = get(&s, "/healthz");
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "live")));
    free_answer(&a);
    a = get(&s, "/readyz");
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "ready")));
    free_answer(&a);
}

static void
lists_all_models(void **state)
{
    static const struct {
        const char *name, *loss;
        int parameters;
    } shipped[] = {{"cifar10", "softmax_cross_entropy", 308310},
                   {"cifar10-deep", "softmax_cross_entropy", 3411722},
                   {"cifar10-linear", "softmax_cross_entropy", 30730},
                   {"fashion", "softmax_cross_entropy", 235146},
                   {"mnist", "softmax_cross_entropy", 101770},
                   {"neuron", "logistic", 785},
                   {"neuron-svm", "hinge", 785}};
    (void)state;
    answer a = get(&s, "/models");
    const json_t *list = json_object_get(a.json, "models");
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(list), 7);
    for (size_t i = 0; i < 7; i++) {
        char path[64];
        const json_t *model = json_array_get(list, i);
        assert_string_equal(text_of(model, "name"), shipped[i].name);
        assert_string_equal(text_of(model, "loss"), shipped[i].loss);
        assert_int_equal(whole_of(model, "parameters"), shipped[i].parameters);
        assert_int_equal(strlen(text_of(model, "digest")), 64);
        assert_non_null(json_object_get(model, "input"));
        assert_non_null(json_object_get(model, "layers"));
        snprintf(path, sizeof path, "/models/%s", shipped[i].name);
        answer one = get(&s, path);
        assert_true(json_equal(one.json, model));
        free_answer(&one);
    }
    free_answer(&a);
}

/* Without a default model, a request must name one. */
static void
asks_which_model(void **state)
{
    (void)state;
    if (foreign_server("no default model"))
        return;
    expect_error(post(&s, "/predict", "{\"pixels\":[1]}"), 400, "no_model",
                 "which model?");
}

static void
counts_requests(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        answer a = ask(&s, NULL, "/models/mnist/predict",
                       "application/octet-stream", fashion_images(), PIXELS);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    answer a = get(&s, "/metrics");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/plain; version=0.0.4; charset=utf-8");
    assert_int_equal(a.body[a.size - 1], '\n');
    const char *count =
        strstr(a.body,
               "soma_request_seconds_count{route=\"predict\",status=\"200\"} ");
    assert_non_null(count);
    assert_true(atoi(strchr(count, ' ')) >= 3);
    assert_non_null(strstr(a.body, "\nsoma_model_version{model=\"mnist\"} "));
    assert_non_null(strstr(a.body, "# TYPE soma_batch_rows histogram\n"));
    assert_non_null(strstr(a.body, "soma_batch_rows_bucket{le=\"+Inf\"} "));
    free_answer(&a);
}

/* openapi.json and the route table name the same methods and paths. */
static void
the_description_matches_the_routes(void **state)
{
    (void)state;
    answer a = get(&s, "/openapi.json");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "openapi"), "3.1.0");
    json_t *paths = json_object_get(a.json, "paths");
    int described = 0, routes = 0;
    const soma_route *route;
    for (; (route = soma_route_at(routes)); routes++) {
        const json_t *path = json_object_get(paths, route->path);
        if (!json_object_get(path, !strcmp(route->method, "GET")    ? "get"
                                   : !strcmp(route->method, "POST") ? "post"
                                                                    : "delete"))
            fail_msg("%s %s is not described", route->method, route->path);
    }
    const char *name;
    json_t *path;
    json_object_foreach (paths, name, path) {
        described += json_object_get(path, "get") != NULL;
        described += json_object_get(path, "post") != NULL;
        described += json_object_get(path, "delete") != NULL;
    }
    assert_int_equal(described, routes);
    free_answer(&a);
}

static void
the_page_is_there(void **state)
{
    (void)state;
    CURL *browser = curl_easy_init();
    answer a = ask_over(browser, &s, "GET", "/", NULL, NULL, 0,
                        "Accept: text/html,*/*;q=0.8");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/html; charset=utf-8");
    assert_non_null(strstr(a.body, "<h1>soma</h1>"));
    free_answer(&a);
    curl_easy_cleanup(browser);
    a = get(&s, "/");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "status"), "alive");
    free_answer(&a);
    a = get(&s, "/page/main.js");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/javascript; charset=utf-8");
    free_answer(&a);
    a = get(&s, "/page/page.html");
    assert_int_equal(a.status, 404);
    assert_string_equal(text_of(a.json, "code"), "not_found");
    free_answer(&a);
}

static void
head_is_get_without_a_body(void **state)
{
    (void)state;
    answer a = ask(&s, "HEAD", "/models", NULL, NULL, 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.size, 0);
    assert_string_equal(a.type, "application/json");
    free_answer(&a);
}

static void
chunked_bodies_are_taken(void **state)
{
    static const char request[] =
        "POST /models/mnist/predict HTTP/1.1\r\nHost: a\r\n"
        "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "8\r\n{\"pixels\r\n8\r\n\":[1,2]}\r\n0\r\n\r\n";
    (void)state;
    char *text = raw(&s, request, sizeof request - 1);
    assert_int_equal(strncmp(text, "HTTP/1.1 400", 12), 0);
    assert_non_null(strstr(text, "got 2 numbers"));
    free(text);
}

/* Many requests on one connection, sent without waiting: all are answered, in
 * order. */
static void
pipelined_requests_are_answered_in_order(void **state)
{
    enum { COUNT = 50 };
    (void)state;
    char *requests = calloc(COUNT, 256);
    size_t used = 0;
    for (int i = 0; i < COUNT; i++)
        used += (size_t)sprintf(
            requests + used,
            i % 2 ? "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
                  : "POST /models/mnist/predict HTTP/1.1\r\nHost: a\r\n"
                    "Content-Length: 14\r\n\r\n{\"pixels\":[1]}");
    char *text = raw(&s, requests, used);
    const char *at = text;
    for (int i = 0; i < COUNT; i++) {
        at = strstr(at, "HTTP/1.1 ");
        if (!at)
            fail_msg("answer %d is missing", i);
        assert_int_equal(atoi(at + 9), i % 2 ? 200 : 400);
        at++;
    }
    assert_null(strstr(at, "HTTP/1.1 "));
    free(text);
    free(requests);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_live_and_ready),
        cmocka_unit_test(lists_all_models),
        cmocka_unit_test(asks_which_model),
        cmocka_unit_test(counts_requests),
        cmocka_unit_test(the_description_matches_the_routes),
        cmocka_unit_test(the_page_is_there),
        cmocka_unit_test(head_is_get_without_a_body),
        cmocka_unit_test(chunked_bodies_are_taken),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

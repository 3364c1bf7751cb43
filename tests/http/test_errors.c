/* Every wrong input gets its status and message, and changes no version. */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server s;
static char *models_before;

static char *
all_models(void)
{
    answer a = get(&s, "/models");
    assert_int_equal(a.status, 200);
    char *text = strdup(a.body);
    free_answer(&a);
    return text;
}

static int
set_up(void **state)
{
    static const char *const arguments[] = {
        "--max-body",      "2000000", "--max-rows", "100",
        "--default-model", "fashion", NULL};
    (void)state;
    start_server(&s, arguments);
    models_before = all_models();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    free(models_before);
    return stop_server(&s);
}

static int
nothing_changed(void **state)
{
    (void)state;
    char *now = all_models();
    int differs = strcmp(now, models_before);
    free(now);
    return differs;
}

static void
bodies_that_are_not_json(void **state)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "pixels",
                                         "{\"pixels\":[1,2",
                                         "{\"pixels\":[1,,2]}",
                                         "{\"pixels\":[01]}",
                                         "{\"pixels\":[1e400]}",
                                         "{\"pixels\":[NaN]}",
                                         "{\"pixels\":[1,2]}}",
                                         "{\"pixels\":[+1]}",
                                         "{'pixels':[1]}",
                                         "{\"pixels\":[99999999999999999999]}",
                                         "{\"pixels\": [1 2]}"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_error(post(&s, "/predict", bodies[i]), 400, "malformed_json",
                     "not JSON");
        expect_error(post(&s, "/train", bodies[i]), 400, "malformed_json",
                     "not JSON");
    }
    expect_error(post(&s, "/predict", "[1,2,3]"), 400, "not_an_object",
                 "expected a JSON object");
}

static void
pixels_of_the_wrong_shape(void **state)
{
    static const struct {
        const char *body, *code, *part;
    } cases[] = {
        {"{}", "no_pixels", "missing"},
        {"{\"pixels\":null}", "wrong_shape", "expected 784 numbers"},
        {"{\"pixels\":7}", "wrong_shape", "expected 784 numbers"},
        {"{\"pixels\":\"abc\"}", "wrong_shape", "expected 784 numbers"},
        {"{\"pixels\":[]}", "wrong_shape", "expected 784 numbers"},
        {"{\"pixels\":[1,2,3]}", "wrong_shape",
         "expected 784 numbers, nested as [28][28], or a list of such, got 3 "
         "numbers nested as [3]"},
        {"{\"pixels\":[[1,2],[3,4]]}", "wrong_shape",
         "got 4 numbers nested as [2][2]"},
        {"{\"pixels\":[[1,2],[3]]}", "wrong_shape", "evenly nested"},
        {"{\"pixels\":[1,\"2\"]}", "wrong_shape", "evenly nested"},
        {"{\"pixels\":[1,null]}", "wrong_shape", "evenly nested"},
        {"{\"pixels\":[[]]}", "wrong_shape", "evenly nested"},
        {"{\"pixels\":{\"0\":1}}", "wrong_shape", "evenly nested"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(post(&s, "/predict", cases[i].body), 400, cases[i].code,
                     cases[i].part);
    expect_error(post(&s, "/models/cifar10/predict", "{\"pixels\":[1]}"), 400,
                 "wrong_shape", "expected 3072 numbers, nested as [3][32][32]");
    expect_error(
        ask(&s, NULL, "/predict", "application/octet-stream", "abc", 3), 400,
        "wrong_shape", "expected 784 bytes");
    expect_error(ask(&s, NULL, "/predict", "application/octet-stream", "", 0),
                 400, "wrong_shape", "got 0");
}

static void
numbers_beyond_float32(void **state)
{
    (void)state;
    json_t *pixels = pixels_of(fashion_images(), PIXELS);
    json_array_set_new(pixels, 5, json_real(1e39));
    expect_error(
        post_json(&s, "/predict", json_pack("{s:O}", "pixels", pixels)), 400,
        "not_finite", "number 5");
    expect_error(
        post_json(&s, "/train",
                  json_pack("{s:o, s:i}", "pixels", pixels, "label", 1)),
        400, "not_finite", "number 5");
}

static answer
train(json_t *label)
{
    json_t *body =
        json_pack("{s:o}", "pixels", pixels_of(fashion_images(), PIXELS));
    if (label)
        json_object_set_new(body, "label", label);
    return post_json(&s, "/models/fashion/train", body);
}

static void
labels_that_are_none(void **state)
{
    (void)state;
    expect_error(train(NULL), 400, "no_label", "\"label\" is missing");
    expect_error(train(json_integer(10)), 400, "unknown_label",
                 "from 0 to 9 or the name of a class, got 10");
    expect_error(train(json_integer(-1)), 400, "unknown_label", "got -1");
    expect_error(train(json_string("boot")), 400, "unknown_label",
                 "got \"boot\"");
    expect_error(train(json_real(1.5)), 400, "unknown_label", "got 1.5");
    expect_error(train(json_null()), 400, "unknown_label", "got null");
    expect_error(train(json_pack("[i]", 3)), 400, "unknown_label", "label");
    expect_error(ask(&s, NULL, "/train", "application/octet-stream",
                     fashion_images(), PIXELS),
                 400, "no_label", "?label=");
    expect_error(ask(&s, NULL, "/models/fashion/train?label=frog",
                     "application/octet-stream", fashion_images(), PIXELS),
                 400, "unknown_label", "got frog");
    expect_error(ask(&s, NULL, "/models/fashion/train?label=",
                     "application/octet-stream", fashion_images(), PIXELS),
                 400, "unknown_label", "label");
}

static void
examples_that_are_none(void **state)
{
    (void)state;
    expect_error(post(&s, "/train", "{\"examples\":[]}"), 400, "no_examples",
                 "expected an array");
    expect_error(post(&s, "/train", "{\"examples\":7}"), 400, "no_examples",
                 "expected an array");
    expect_error(post(&s, "/train", "{\"examples\":[\"a\"]}"), 400,
                 "bad_examples", "examples[0]");
    expect_error(post(&s, "/train", "{\"examples\":[{\"label\":1}]}"), 400,
                 "no_pixels", "examples[0].pixels");
    expect_error(post(&s, "/train", "{\"examples\":[1,2]}"), 400,
                 "bad_examples", "expected an object");
}

static void
models_that_are_none(void **state)
{
    (void)state;
    expect_error(post(&s, "/models/frog/predict", "{\"pixels\":[1]}"), 404,
                 "unknown_model", "there are: cifar10");
    expect_error(post(&s, "/predict", "{\"model\":\"frog\",\"pixels\":[1]}"),
                 404, "unknown_model", "\"frog\"");
    expect_error(post(&s, "/predict", "{\"model\":7,\"pixels\":[1]}"), 400,
                 "bad_model", "a string");
    expect_error(get(&s, "/models/frog"), 404, "unknown_model", "frog");
    expect_error(get(&s, "/models/frog/weights"), 404, "unknown_model", "frog");
}

static void
top_k_must_be_a_count(void **state)
{
    (void)state;
    expect_error(post(&s, "/predict", "{\"pixels\":[1],\"top_k\":0}"), 400,
                 "bad_top_k", "from 1");
    expect_error(post(&s, "/predict", "{\"pixels\":[1],\"top_k\":\"3\"}"), 400,
                 "bad_top_k", "from 1");
    expect_error(ask(&s, NULL, "/predict?top_k=x", "application/octet-stream",
                     fashion_images(), PIXELS),
                 400, "bad_top_k", "from 1");
}

static void
wrong_methods_are_told_the_right_one(void **state)
{
    static const struct {
        const char *method, *path, *allow;
    } cases[] = {{"GET", "/predict", "POST"},
                 {"PUT", "/models/fashion/train", "POST"},
                 {"PUT", "/models/fashion", "GET, HEAD, DELETE"},
                 {"POST", "/healthz", "GET, HEAD"},
                 {"PATCH", "/", "GET, HEAD"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answer a = ask(&s, cases[i].method, cases[i].path, NULL, NULL, 0);
        assert_string_equal(a.allow, cases[i].allow);
        expect_error(a, 405, "method_not_allowed", cases[i].path);
    }
    expect_error(ask(&s, "DELETE", "/models/fashion", NULL, NULL, 0), 409,
                 "conflict", "fashion is no fork");
    expect_error(get(&s, "/nowhere"), 404, "unknown_path", "/nowhere");
    expect_error(get(&s, "/models/a/b/c"), 404, "unknown_path", "/models");
    expect_error(post(&s, "/models//predict", "{}"), 404, "unknown_path", "");
}

static void
wrong_types_and_encodings(void **state)
{
    (void)state;
    expect_error(ask(&s, NULL, "/predict", "text/plain", "x", 1), 415,
                 "unsupported_type", "got text/plain");
    expect_error(ask(&s, NULL, "/predict", "image/png", "x", 1), 400,
                 "malformed_picture", "PNG");
    expect_error(
        ask(&s, NULL, "/train?label=1", "image/jpeg", "\xff\xd8\xff", 3), 400,
        "malformed_picture", "JPEG");
    answer a =
        ask(&s, NULL, "/predict", "application/json; charset=utf-8", "{", 1);
    expect_error(a, 400, "malformed_json", "");
}

static void
bounds_are_kept(void **state)
{
    (void)state;
    if (foreign_server("bounds"))
        return;
    size_t size = 2000001;
    char *body = calloc(1, size);
    expect_error(
        ask(&s, NULL, "/predict", "application/octet-stream", body, size), 413,
        "body_too_large", "at most 2000000");
    expect_error(ask(&s, NULL, "/models/fashion/predict",
                     "application/octet-stream", body, 101 * PIXELS),
                 413, "too_many_rows", "101 examples, at most 100");
    answer a = ask(&s, NULL, "/models/fashion/predict",
                   "application/octet-stream", body, 100 * PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    memset(body, '[', 1000);
    body[1000] = '\0';
    expect_error(post(&s, "/predict", body), 413, "too_large",
                 "nested deeper than 64");
    free(body);
}

/* Status lines; libmicrohttpd's own pages may speak of HTTP/1.1 as well. */
static int
count_answers(const char *text)
{
    int count = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")); text += 9)
        count += text[9] >= '1' && text[9] <= '5';
    return count;
}

/* Messages whose end is ambiguous: one 400, and the connection ends; nothing
 * behind them is taken as a request. */
static void
ambiguous_messages_are_refused(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 2\r\nContent-Length: 30\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nHost: other\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char request[512];
        int size = snprintf(request, sizeof request,
                            "POST /predict HTTP/1.1\r\nHost: a\r\n%s\r\n"
                            "{}GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                            heads[i]);
        char *text = raw(&s, request, (size_t)size);
        if (strncmp(text, "HTTP/1.1 400", 12) != 0 ||
            count_answers(text) != 1 || strstr(text, "\"live\""))
            fail_msg("%s was answered: %s", heads[i], text);
        free(text);
    }
}

#define REFUSES(test) cmocka_unit_test_teardown(test, nothing_changed)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSES(bodies_that_are_not_json),
        REFUSES(pixels_of_the_wrong_shape),
        REFUSES(numbers_beyond_float32),
        REFUSES(labels_that_are_none),
        REFUSES(examples_that_are_none),
        REFUSES(models_that_are_none),
        REFUSES(top_k_must_be_a_count),
        REFUSES(wrong_methods_are_told_the_right_one),
        REFUSES(wrong_types_and_encodings),
        REFUSES(bounds_are_kept),
        REFUSES(ambiguous_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* What /train promises with --data: it outlives the server, is repeated by its
 * key, listed, and taken back. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char data[] = "/tmp/soma-durable-XXXXXX";
static server s;

static const char *const arguments[] = {"--data", data, "--default-model",
                                        "fashion", NULL};

static void
start(void)
{
    start_server(&s, arguments);
    wait_until_ready(&s);
}

static int
set_up(void **state)
{
    (void)state;
    if (getenv("SOMA_URL"))
        return 0;
    if (!mkdtemp(data))
        return -1;
    start();
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_and_remove(&s, data);
}

static answer
teach(const char *query, int image)
{
    char path[160];
    snprintf(path, sizeof path, "/models/fashion/train?label=%d%s",
             fashion_labels()[image], query);
    return ask(&s, NULL, path, "application/octet-stream",
               fashion_images() + (size_t)image * PIXELS, PIXELS);
}

static json_t *
model(void)
{
    answer a = get(&s, "/models/fashion");
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static char *
digest(void)
{
    json_t *json = model();
    char *text = strdup(text_of(json, "digest"));
    json_decref(json);
    return text;
}

static void
what_was_taught_outlives_the_server(void **state)
{
    (void)state;
    if (foreign_server("a restart"))
        return;
    for (int i = 0; i < 20; i++) {
        answer a = teach("", i);
        assert_int_equal(a.status, 200);
        assert_int_equal(whole_of(a.json, "version"), i + 1);
        free_answer(&a);
    }
    char *before = digest();
    assert_int_equal(stop_server(&s), 0);
    start();
    char *after = digest();
    assert_string_equal(before, after);
    json_t *json = model();
    assert_int_equal(whole_of(json, "version"), 20);
    assert_int_equal(whole_of(json, "examples"), 20);
    const json_t *learning = json_object_get(json, "learning");
    assert_int_equal(whole_of(learning, "checkpoint"), 20);
    assert_int_equal(whole_of(learning, "memory"), 500);
    json_decref(json);
    free(after);
    /* And a server that was killed. */
    for (int i = 20; i < 25; i++) {
        answer a = teach("", i);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    free(before);
    before = digest();
    kill_server(&s);
    start();
    after = digest();
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void
versions_can_be_gone_back_to(void **state)
{
    (void)state;
    if (foreign_server("rollback"))
        return;
    char *at25 = digest();
    answer a = post(&s, "/models/fashion/rollback", "{\"version\": 3}");
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), 26);
    assert_int_equal(whole_of(a.json, "rollback"), 3);
    free_answer(&a);
    json_t *json = model();
    assert_int_equal(whole_of(json, "version"), 26);
    assert_int_equal(whole_of(json, "examples"), 3);
    assert_string_not_equal(text_of(json, "digest"), at25);
    json_decref(json);
    a = post(&s, "/models/fashion/rollback", "{\"version\": 25}");
    assert_int_equal(whole_of(a.json, "version"), 27);
    free_answer(&a);
    char *again = digest();
    assert_string_equal(at25, again);
    free(at25);
    free(again);
    expect_error(post(&s, "/models/fashion/rollback", "{\"version\": 99}"), 404,
                 "not_found", "the newest is 27");
    expect_error(post(&s, "/models/fashion/rollback", "{\"version\": -1}"), 400,
                 "bad_version", "expected a whole number");
    expect_error(post(&s, "/models/fashion/rollback", "{\"version\": \"1\"}"),
                 400, "bad_version", "expected a whole number");
    expect_error(post(&s, "/models/fashion/rollback", "{}"), 400, "bad_version",
                 "\"version\"");
    expect_error(post(&s, "/models/frog/rollback", "{\"version\": 1}"), 404,
                 "unknown_model", "frog");
}

static void
examples_are_listed(void **state)
{
    (void)state;
    if (foreign_server("examples"))
        return;
    answer a = get(&s, "/models/fashion/examples?limit=3&pixels=1");
    assert_int_equal(a.status, 200);
    const json_t *list = json_object_get(a.json, "examples");
    assert_int_equal(json_array_size(list), 3);
    const json_t *taught = json_array_get(list, 0);
    assert_int_equal(whole_of(taught, "version"), 25);
    assert_int_equal(whole_of(taught, "label"), fashion_labels()[24]);
    const json_t *pixels = json_object_get(taught, "pixels");
    assert_int_equal(json_array_size(pixels), PIXELS);
    for (size_t i = 0; i < PIXELS; i++)
        assert_int_equal((int)json_number_value(json_array_get(pixels, i)),
                         fashion_images()[24 * PIXELS + i]);
    assert_true(json_is_number(json_object_get(taught, "loss")));
    assert_int_equal(whole_of(json_array_get(list, 1), "rollback"), 3);
    assert_int_equal(whole_of(json_array_get(list, 2), "rollback"), 25);
    free_answer(&a);
    a = get(&s, "/models/fashion/examples?after=5&limit=2");
    list = json_object_get(a.json, "examples");
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(whole_of(json_array_get(list, 0), "version"), 6);
    assert_int_equal(whole_of(json_array_get(list, 1), "version"), 7);
    free_answer(&a);
    a = get(&s, "/models/fashion/examples?after=1000");
    assert_int_equal(json_array_size(json_object_get(a.json, "examples")), 0);
    free_answer(&a);
    a = get(&s, "/models/neuron/examples");
    assert_int_equal(json_array_size(json_object_get(a.json, "examples")), 0);
    free_answer(&a);
    expect_error(get(&s, "/models/fashion/examples?limit=0"), 400,
                 "bad_argument", "?limit=");
    expect_error(get(&s, "/models/fashion/examples?after=x"), 400,
                 "bad_argument", "?after=");
}

/* ---- Idempotency-Key ---- */

static answer
teach_with_key(const char *key, const char *label)
{
    answer a = {.status = 0};
    char url[200], header[400], body[1 << 14];
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    FILE *file = fmemopen(body, sizeof body, "w");
    snprintf(url, sizeof url, "%s/models/fashion/train?label=%s", s.url, label);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    headers = curl_slist_append(headers, header);
    headers =
        curl_slist_append(headers, "Content-Type: application/octet-stream");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, fashion_images());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)PIXELS);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, file);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a.status);
    fclose(file);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    a.body = strdup(body);
    a.size = strlen(body);
    a.json = json_loads(body, 0, NULL);
    return a;
}

static void
a_repeat_answers_the_same(void **state)
{
    char long_key[301];
    (void)state;
    if (foreign_server("Idempotency-Key"))
        return;
    answer first = teach_with_key("order-1", "9");
    assert_int_equal(first.status, 200);
    answer again = teach_with_key("order-1", "9");
    assert_int_equal(again.status, 200);
    assert_string_equal(first.body, again.body);
    free_answer(&again);
    assert_int_equal(stop_server(&s), 0);
    start();
    again = teach_with_key("order-1", "9");
    assert_string_equal(first.body, again.body);
    free_answer(&again);
    expect_error(teach_with_key("order-1", "8"), 409, "conflict",
                 "another request");
    memset(long_key, 'k', 300);
    long_key[300] = '\0';
    expect_error(teach_with_key(long_key, "9"), 400, "bad_idempotency_key",
                 "1 to 255");
    json_t *json = model();
    assert_int_equal(whole_of(json, "version"),
                     whole_of(first.json, "version"));
    json_decref(json);
    free_answer(&first);
}

/* ---- A learning rate for one request ---- */

static void
a_request_may_choose_its_rate(void **state)
{
    (void)state;
    if (foreign_server("rates"))
        return;
    answer a = teach("&learning_rate=0.001", 30);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    a = get(&s, "/models/fashion/examples?limit=1");
    double rate = json_number_value(
        json_object_get(json_array_get(json_object_get(a.json, "examples"), 0),
                        "learning_rate"));
    assert_true(rate > 0.00099 && rate < 0.00101);
    free_answer(&a);
    expect_error(teach("&learning_rate=2", 30), 400, "bad_learning_rate",
                 "at most 1");
    expect_error(teach("&learning_rate=-1", 30), 400, "bad_learning_rate",
                 "above 0");
    expect_error(teach("&learning_rate=fast", 30), 400, "bad_learning_rate",
                 "expected a number");
    expect_error(post_json(&s, "/models/fashion/train",
                           json_pack("{s:o, s:i, s:s}", "pixels",
                                     pixels_of(fashion_images(), PIXELS),
                                     "label", 9, "learning_rate", "x")),
                 400, "bad_learning_rate", "expected a number");
    a = post_json(&s, "/models/fashion/train",
                  json_pack("{s:o, s:i, s:f}", "pixels",
                            pixels_of(fashion_images(), PIXELS), "label", 9,
                            "learning_rate", 0.01));
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_taught_outlives_the_server),
        cmocka_unit_test(versions_can_be_gone_back_to),
        cmocka_unit_test(examples_are_listed),
        cmocka_unit_test(a_repeat_answers_the_same),
        cmocka_unit_test(a_request_may_choose_its_rate),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

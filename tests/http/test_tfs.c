/* TensorFlow Serving's REST API, KServe's first protocol, and the paths of
 * TorchServe, SageMaker and Vertex AI: values as /predict gives them. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10, ROWS = 3 };

static const char *const arguments[] = {"--default-model", "fashion", NULL};
static server s;

static int
set_up(void **state)
{
    (void)state;
    /* As Vertex AI would; the port counts less than --listen. */
    setenv("AIP_HTTP_PORT", "1", 1);
    setenv("AIP_HEALTH_ROUTE", "/v1/endpoints/7/health", 1);
    setenv("AIP_PREDICT_ROUTE", "/v1/endpoints/7:predict", 1);
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

/* probabilities [ROWS x CLASSES] of the first images */
static void
expect_numbers(const json_t *list, int rows)
{
    answer a = ask(&s, NULL, "/models/fashion/predict",
                   "application/octet-stream", fashion_images(), 3 * PIXELS);
    const json_t *native = json_object_get(a.json, "predictions");
    assert_int_equal(json_array_size(list), rows);
    for (int r = 0; r < rows; r++)
        assert_true(
            json_equal(json_array_get(list, (size_t)r),
                       json_object_get(json_array_get(native, (size_t)r),
                                       "probabilities")));
    free_answer(&a);
}

static void
expect_answer(answer a, const char *member, int rows)
{
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    assert_string_equal(a.type, "application/json");
    expect_numbers(json_object_get(a.json, member), rows);
    assert_true(json_is_integer(json_object_get(a.json, "soma_version")));
    free_answer(&a);
}

static json_t *
images(int rows)
{
    json_t *list = json_array();
    for (int r = 0; r < rows; r++)
        json_array_append_new(list,
                              pixels_of(fashion_images() + r * PIXELS, PIXELS));
    return list;
}

static json_t *
squares(int rows)
{
    json_t *list = json_array();
    for (int r = 0; r < rows; r++) {
        json_t *square = json_array();
        for (int y = 0; y < 28; y++)
            json_array_append_new(
                square, pixels_of(fashion_images() + r * PIXELS + y * 28, 28));
        json_array_append_new(list, square);
    }
    return list;
}

/* [{"name": image, ...}] */
static json_t *
objects(const char *name, int rows)
{
    json_t *list = json_array();
    for (int r = 0; r < rows; r++)
        json_array_append_new(
            list, json_pack("{s:o}", name,
                            pixels_of(fashion_images() + r * PIXELS, PIXELS)));
    return list;
}

static const char predict[] = "/v1/models/fashion:predict";

static void
rows_and_columns(void **state)
{
    (void)state;
    for (int rows = 1; rows <= ROWS; rows += 2) {
        expect_answer(post_json(&s, predict,
                                json_pack("{s:o}", "instances", images(rows))),
                      "predictions", rows);
        expect_answer(post_json(&s, predict,
                                json_pack("{s:o}", "instances", squares(rows))),
                      "predictions", rows);
        expect_answer(
            post_json(&s, predict,
                      json_pack("{s:s, s:o, s:i}", "signature_name",
                                "serving_default", "instances",
                                objects("flatten_input", rows), "other", 1)),
            "predictions", rows);
        expect_answer(
            post_json(&s, predict, json_pack("{s:o}", "inputs", images(rows))),
            "outputs", rows);
        expect_answer(
            post_json(&s, "/v1/models/fashion/versions/1:predict",
                      json_pack("{s:{s:o}}", "inputs", "x", squares(rows))),
            "outputs", rows);
    }
}

static void
classify(void **state)
{
    (void)state;
    answer a = post_json(&s, "/v1/models/fashion:classify",
                         json_pack("{s:o}", "examples", objects("x", 1)));
    const json_t *result =
        json_array_get(json_object_get(a.json, "results"), 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(result), CLASSES);
    json_t *scores = json_array(), *list = json_array();
    for (size_t i = 0; i < CLASSES; i++)
        json_array_append(scores, json_array_get(json_array_get(result, i), 1));
    json_array_append_new(list, scores);
    expect_numbers(list, 1);
    assert_string_equal(
        json_string_value(json_array_get(json_array_get(result, 9), 0)),
        "Ankle boot");
    json_decref(list);
    free_answer(&a);
    /* One score is for class 1, and against class 0. */
    a = post_json(&s, "/v1/models/neuron-svm:classify",
                  json_pack("{s:o}", "examples", objects("x", 1)));
    result = json_array_get(json_object_get(a.json, "results"), 0);
    assert_int_equal(json_array_size(result), 2);
    assert_true(
        json_number_value(json_array_get(json_array_get(result, 0), 1)) ==
        -json_number_value(json_array_get(json_array_get(result, 1), 1)));
    free_answer(&a);
}

static void
status_and_metadata(void **state)
{
    (void)state;
    answer a = get(&s, "/v1/models/fashion");
    const json_t *version =
        json_array_get(json_object_get(a.json, "model_version_status"), 0);
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(version, "version"), "1");
    assert_string_equal(text_of(version, "state"), "AVAILABLE");
    assert_string_equal(
        text_of(json_object_get(version, "status"), "error_code"), "OK");
    assert_string_equal(text_of(a.json, "name"), "fashion");
    assert_true(json_is_true(json_object_get(a.json, "ready")));
    free_answer(&a);
    a = get(&s, "/v1/models/fashion/versions/1/metadata");
    const json_t *signature = json_object_get(
        json_object_get(json_object_get(json_object_get(a.json, "metadata"),
                                        "signature_def"),
                        "signature_def"),
        "serving_default");
    assert_string_equal(text_of(signature, "method_name"),
                        "tensorflow/serving/predict");
    const json_t *dims = json_object_get(
        json_object_get(
            json_object_get(json_object_get(signature, "inputs"), "input"),
            "tensor_shape"),
        "dim");
    assert_int_equal(json_array_size(dims), 3);
    assert_string_equal(text_of(json_array_get(dims, 0), "size"), "-1");
    assert_string_equal(text_of(json_array_get(dims, 2), "size"), "28");
    free_answer(&a);
    a = get(&s, "/v1/models");
    assert_int_equal(json_array_size(json_object_get(a.json, "models")), 7);
    free_answer(&a);
}

static void
wrong_requests(void **state)
{
    static const struct {
        const char *body, *code, *part;
    } wrong[] = {
        {"{", "malformed_json", "not JSON"},
        {"{}", "bad_instances", "Missing 'inputs' or 'instances' key"},
        {"{\"instances\":[[1]],\"inputs\":[[1]]}", "bad_instances", "both"},
        {"{\"instances\":[]}", "no_instances", "at least one"},
        {"{\"instances\":7}", "wrong_shape", "a list of examples"},
        {"{\"instances\":[[1,2]]}", "wrong_shape", "expected 784 numbers"},
        {"{\"instances\":[{\"a\":[1],\"b\":[2]}]}", "wrong_shape",
         "\"instances\"[0]: expected 784"},
        {"{\"instances\":[{\"a\":\"x\"}]}", "wrong_shape", "784 numbers"},
        {"{\"instances\":[{\"b64\":\"AA==\"}]}", "wrong_shape", "784 numbers"},
        {"{\"signature_name\":\"other\",\"instances\":[[1]]}",
         "unknown_signature", "serving_default"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(post(&s, predict, wrong[i].body), 400, wrong[i].code,
                     wrong[i].part);
    /* Not a list of 784 examples of one number each. */
    expect_error(post_json(&s, predict,
                           json_pack("{s:o}", "instances",
                                     pixels_of(fashion_images(), PIXELS))),
                 400, "wrong_shape", "got one");
    expect_error(post(&s, "/v1/models/nobody:predict", "{}"), 404,
                 "unknown_model", "nobody");
    expect_error(post(&s, "/v1/models/fashion/versions/2:predict", "{}"), 404,
                 "unknown_version", "no version 2");
    expect_error(post(&s, "/v1/models/fashion:regress", "{}"), 400,
                 "no_regression", "classifier");
    expect_error(post(&s, "/v1/models/fashion:classify", "{}"), 400,
                 "bad_examples", "missing");
    expect_error(get(&s, "/v1/models/nobody"), 404, "unknown_model", "nobody");
    expect_error(get(&s, predict), 405, "method_not_allowed", "POST");
}

/* ---- Aliases ---- */

static void
ping_and_invocations(void **state)
{
    (void)state;
    if (foreign_server("/invocations, which is about the default model"))
        return;
    answer a = get(&s, "/ping");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "status"), "Healthy");
    free_answer(&a);
    expect_answer(post_json(&s, "/invocations",
                            json_pack("{s:o}", "instances", images(2))),
                  "predictions", 2);
    expect_answer(
        post_json(&s, "/invocations", json_pack("{s:o}", "inputs", images(2))),
        "outputs", 2);
    answer native = ask(&s, NULL, "/predict", "application/octet-stream",
                        fashion_images(), PIXELS);
    a = ask(&s, NULL, "/invocations", "application/octet-stream",
            fashion_images(), PIXELS);
    assert_string_equal(a.body, native.body);
    free_answer(&a);
    a = post_json(
        &s, "/invocations",
        json_pack("{s:o}", "pixels", pixels_of(fashion_images(), PIXELS)));
    assert_string_equal(a.body, native.body);
    free_answer(&a);
    free_answer(&native);
}

static void
vertex_routes(void **state)
{
    (void)state;
    if (foreign_server("AIP_HEALTH_ROUTE"))
        return;
    answer a = get(&s, "/v1/endpoints/7/health");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    expect_answer(post_json(&s, "/v1/endpoints/7:predict",
                            json_pack("{s:o, s:{s:i}}", "instances", images(3),
                                      "parameters", "k", 1)),
                  "predictions", 3);
}

static void
vertex_port_is_checked(void **state)
{
    (void)state;
    char text[1024];
    static const char *const none[] = {"serve", NULL};
    if (foreign_server("AIP_HTTP_PORT"))
        return;
    setenv("AIP_HTTP_PORT", "80x", 1);
    assert_int_not_equal(run_soma(none, text, sizeof text), 0);
    assert_non_null(strstr(text, "AIP_HTTP_PORT: expected a port, got"));
    setenv("AIP_HTTP_PORT", "1", 1);
    setenv("AIP_HEALTH_ROUTE", "health", 1);
    assert_int_not_equal(run_soma(none, text, sizeof text), 0);
    assert_non_null(strstr(text, "AIP_HEALTH_ROUTE: expected a path"));
}

/* {"class": probability} of the five best. */
static void
torchserve(void **state)
{
    (void)state;
    static const char *const paths[] = {"/predictions/fashion",
                                        "/predictions/fashion/1"};
    answer native = ask(&s, NULL, "/models/fashion/predict?top_k=5",
                        "application/octet-stream", fashion_images(), PIXELS);
    const json_t *top = json_object_get(native.json, "top");
    for (int i = 0; i < 2; i++) {
        answer a = ask(&s, NULL, paths[i], "application/octet-stream",
                       fashion_images(), PIXELS);
        assert_int_equal(a.status, 200);
        assert_int_equal(json_object_size(a.json), 5);
        for (size_t k = 0; k < 5; k++) {
            const json_t *one = json_array_get(top, k);
            assert_true(
                json_equal(json_object_get(a.json, text_of(one, "class")),
                           json_object_get(one, "probability")));
        }
        free_answer(&a);
    }
    free_answer(&native);
    /* A picture that does not say what it is. */
    FILE *from = fopen("models/samples/ankle-boot.png", "rb");
    assert_non_null(from);
    char png[4096];
    size_t size = fread(png, 1, sizeof png, from);
    fclose(from);
    answer a = ask(&s, NULL, paths[0], NULL, png, size);
    assert_int_equal(a.status, 200);
    assert_true(json_number_value(json_object_get(a.json, "Ankle boot")) > 0.5);
    free_answer(&a);
    expect_error(ask(&s, NULL, "/predictions/fashion/2", NULL, png, size), 404,
                 "unknown_version", "no version 2");
    expect_error(ask(&s, NULL, "/predictions/nobody", NULL, png, size), 404,
                 "unknown_model", "nobody");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_columns),
        cmocka_unit_test(classify),
        cmocka_unit_test(status_and_metadata),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(ping_and_invocations),
        cmocka_unit_test(vertex_routes),
        cmocka_unit_test(torchserve),
        cmocka_unit_test(vertex_port_is_checked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

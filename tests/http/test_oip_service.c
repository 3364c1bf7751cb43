/* Open Inference Protocol: metadata, statistics, log settings, compressed
 * bodies, and every wrong way to ask. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char *const arguments[] = {"--max-body", "4194304", NULL};
static server s;
static CURL *curl;

static int
set_up(void **state)
{
    (void)state;
    curl = curl_easy_init();
    start_server(&s, arguments);
    wait_until_ready(&s);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    curl_easy_cleanup(curl);
    return stop_server(&s);
}

static const char infer[] = "/v2/models/mnist/infer";

/* ---- What there is ---- */

static void
expect_json(const char *path, const char *expected)
{
    answer a = get(&s, path);
    json_t *json = json_loads(expected, 0, NULL);
    assert_non_null(json);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "application/json");
    if (!json_equal(a.json, json))
        fail_msg("%s: got %s", path, a.body);
    json_decref(json);
    free_answer(&a);
}

static void
health_and_metadata(void **state)
{
    (void)state;
    expect_json("/v2/health/live", "{\"live\":true}");
    expect_json("/v2/health/ready", "{\"ready\":true,\"live\":true}");
    expect_json("/v2/models/mnist/ready",
                "{\"name\":\"mnist\",\"ready\":true}");
    expect_json("/v2/models/mnist/versions/1/ready",
                "{\"name\":\"mnist\",\"ready\":true}");
    expect_json("/v2/models",
                "{\"models\":[\"cifar10\",\"cifar10-deep\",\"cifar10-linear\","
                "\"fashion\",\"mnist\",\"neuron\",\"neuron-svm\"]}");
    static const char metadata[] =
        "{\"name\":\"mnist\",\"versions\":[\"1\"],\"platform\":\"soma\","
        "\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":"
        "[-1,28,28]}],\"outputs\":[{\"name\":\"output\",\"datatype\":\"FP32\","
        "\"shape\":[-1,10]}]}";
    expect_json("/v2/models/mnist", metadata);
    expect_json("/v2/models/mnist/versions/1", metadata);
    answer a = get(&s, "/v2");
    const json_t *extensions = json_object_get(a.json, "extensions");
    assert_string_equal(text_of(a.json, "name"), "soma");
    assert_true(json_array_size(extensions) >= 7);
    for (size_t i = 0; i < json_array_size(extensions); i++)
        assert_true(json_is_string(json_array_get(extensions, i)));
    free_answer(&a);
}

/* What perf_analyzer reads. */
static void
configuration(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v2/models/mnist/config",
                                        "/v2/models/mnist/versions/1/config"};
    for (int i = 0; i < 2; i++) {
        answer a = get(&s, paths[i]);
        assert_int_equal(a.status, 200);
        assert_string_equal(text_of(a.json, "name"), "mnist");
        assert_int_equal(whole_of(a.json, "max_batch_size"), 4096);
        const json_t *input =
            json_array_get(json_object_get(a.json, "input"), 0);
        const json_t *output =
            json_array_get(json_object_get(a.json, "output"), 0);
        assert_string_equal(text_of(input, "name"), "input");
        assert_string_equal(text_of(input, "data_type"), "TYPE_FP32");
        assert_int_equal(json_array_size(json_object_get(input, "dims")), 2);
        assert_string_equal(text_of(output, "name"), "output");
        assert_true(
            json_is_object(json_object_get(a.json, "dynamic_batching")));
        assert_null(json_object_get(a.json, "sequence_batching"));
        free_answer(&a);
    }
}

/* ---- Statistics ---- */

static json_t *
stats_of(const char *path, size_t at, size_t of)
{
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_t *list = json_object_get(a.json, "model_stats");
    assert_int_equal(json_array_size(list), of);
    json_t *one = json_incref(json_array_get(list, at));
    free_answer(&a);
    return one;
}

static json_int_t
count_of(const json_t *stats, const char *what)
{
    const json_t *one =
        json_object_get(json_object_get(stats, "inference_stats"), what);
    assert_true(json_is_integer(json_object_get(one, "ns")));
    return whole_of(one, "count");
}

static void
statistics(void **state)
{
    (void)state;
    static const char *const kinds[] = {"success", "queue", "compute_input",
                                        "compute_infer", "compute_output"};
    if (foreign_server("statistics"))
        return;
    json_t *before = stats_of("/v2/models/cifar10/stats", 0, 1);
    unsigned char *bytes = calloc(300, 3072);
    answer a = ask(&s, NULL, "/models/cifar10/predict",
                   "application/octet-stream", bytes, 3072);
    free_answer(&a);
    a = ask(&s, NULL, "/models/cifar10/predict", "application/octet-stream",
            bytes, 300 * 3072);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    free(bytes);
    expect_error(post(&s, "/v2/models/cifar10/infer", "{}"), 400, "bad_inputs",
                 "one tensor");
    /* It is the first of all, too. */
    json_t *after = stats_of("/v2/models/stats", 0, 7);
    assert_string_equal(text_of(after, "name"), "cifar10");
    assert_string_equal(text_of(after, "version"), "1");
    assert_int_equal(whole_of(after, "inference_count") -
                         whole_of(before, "inference_count"),
                     301);
    /* The large one takes two passes. */
    assert_int_equal(whole_of(after, "execution_count") -
                         whole_of(before, "execution_count"),
                     3);
    assert_true(whole_of(after, "last_inference") > 1700000000000);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_int_equal(count_of(after, kinds[i]) - count_of(before, kinds[i]),
                         2);
    assert_int_equal(count_of(after, "fail") - count_of(before, "fail"), 1);
    assert_int_equal(count_of(after, "cache_hit"), 0);
    assert_int_equal(count_of(after, "cache_miss"), 0);
    const json_t *times = json_object_get(after, "inference_stats");
    assert_true(whole_of(json_object_get(times, "compute_infer"), "ns") > 0);
    assert_true(whole_of(json_object_get(times, "success"), "ns") >=
                whole_of(json_object_get(times, "compute_infer"), "ns"));
    json_decref(before);
    json_decref(after);
}

/* ---- Log settings ---- */

static void
expect_logging(answer a, int verbose, bool info, bool warning)
{
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "log_verbose_level"), verbose);
    assert_int_equal(json_is_true(json_object_get(a.json, "log_info")), info);
    assert_int_equal(json_is_true(json_object_get(a.json, "log_warning")),
                     warning);
    assert_true(json_is_true(json_object_get(a.json, "log_error")));
    assert_string_equal(text_of(a.json, "log_file"), "");
    free_answer(&a);
}

static bool
log_has(const char *text)
{
    static char log[1 << 18];
    FILE *from = fopen(s.log, "r");
    assert_non_null(from);
    log[fread(log, 1, sizeof log - 1, from)] = '\0';
    fclose(from);
    return strstr(log, text) != NULL;
}

static void
log_settings(void **state)
{
    (void)state;
    if (foreign_server("log settings"))
        return;
    static const char path[] = "/v2/logging";
    expect_logging(get(&s, path), 0, true, true);
    assert_false(log_has("route=healthz"));
    expect_logging(post(&s, path, "{\"log_verbose_level\":1}"), 1, true, true);
    answer a = get(&s, "/healthz");
    free_answer(&a);
    expect_logging(get(&s, path), 1, true, true);
    assert_true(log_has("route=healthz"));
    expect_logging(
        post(&s, path, "{\"log_verbose_level\":0,\"log_info\":false}"), 0,
        false, true);
    expect_logging(post(&s, path, "{\"log_info\":true,\"log_warning\":null}"),
                   0, true, true);
    expect_error(post(&s, path, "{\"log_file\":\"/tmp/x\"}"), 400,
                 "bad_log_setting", "cannot be changed");
    expect_error(post(&s, path, "{\"log_info\":1}"), 400, "bad_log_setting",
                 "true or false");
    expect_error(post(&s, path, "{\"log_verbose_level\":-1}"), 400,
                 "bad_log_setting", "whole number");
    expect_error(post(&s, path, "{\"nothing\":1}"), 400, "bad_log_setting",
                 "no log setting \"nothing\"");
    expect_logging(get(&s, path), 0, true, true);
}

/* ---- Compressed bodies ---- */

/* window: 31 is gzip, 15 zlib. */
static char *
compress_as(int window, const void *data, size_t size, size_t *packed)
{
    z_stream z = {0};
    assert_int_equal(
        deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, size);
    char *to = malloc(room + 1);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *packed = room - z.avail_out;
    deflateEnd(&z);
    return to;
}

static answer
ask_packed(const char *path, const char *type, const char *coding,
           const void *body, size_t size)
{
    char header[64];
    snprintf(header, sizeof header, "Content-Encoding: %s", coding);
    answer a = ask_over(curl, &s, "POST", path, type, body, size, header);
    assert_true(a.status > 0);
    return a;
}

static void
compressed_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *coding;
        int window;
    } ways[] = {{"gzip", 31}, {"deflate", 15}, {"GZIP", 31}};
    static const char native[] = "/models/mnist/predict";
    answer plain = ask(&s, NULL, native, "application/octet-stream",
                       fashion_images(), PIXELS);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        size_t size;
        char *packed =
            compress_as(ways[i].window, fashion_images(), PIXELS, &size);
        answer a = ask_packed(native, "application/octet-stream",
                              ways[i].coding, packed, size);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, plain.body);
        free_answer(&a);
        expect_error(ask_packed(native, "application/octet-stream",
                                ways[i].coding, packed, size - 9),
                     400, "malformed_encoding", "cut short");
        packed[size] = 'x';
        expect_error(ask_packed(native, "application/octet-stream",
                                ways[i].coding, packed, size + 1),
                     400, "malformed_encoding", "bytes follow its end");
        free(packed);
    }
    free_answer(&plain);
    answer a = ask_packed(native, "application/octet-stream", "identity",
                          fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    expect_error(ask_packed(native, "application/octet-stream", "gzip",
                            fashion_images(), PIXELS),
                 400, "malformed_encoding", "not the gzip stream");
    expect_error(ask_packed(native, "application/octet-stream", "br",
                            fashion_images(), PIXELS),
                 415, "unsupported_encoding", "gzip, deflate");
}

/* A few KiB that would be 64 MiB: no more than --max-body of it is made. */
static void
a_bomb_is_not_unpacked(void **state)
{
    (void)state;
    if (foreign_server("--max-body"))
        return;
    size_t size, most = 64 << 20;
    char *zeros = calloc(1, most);
    char *packed = compress_as(31, zeros, most, &size);
    free(zeros);
    assert_true(size < 100000);
    long before = memory_peak(&s);
    expect_error(ask_packed("/models/mnist/predict", "application/octet-stream",
                            "gzip", packed, size),
                 413, "body_too_large", "4194304 bytes, decompressed");
    if (memory_peak(&s) - before > 24 << 10)
        fail_msg("%ld KiB more", memory_peak(&s) - before);
    free(packed);
}

/* ---- Wrong ways to ask ---- */

#define HEAD  "{\"inputs\":[{\"name\":\"input\","
#define SHAPE "\"shape\":[1,784],\"datatype\":\"FP32\""

static void
wrong_bodies(void **state)
{
    static const struct {
        const char *body, *code, *part;
    } wrong[] = {
        {"", "malformed_json", "not JSON"},
        {"[1,2]", "not_an_object", "expected an object"},
        {"{}", "bad_inputs", "expected one tensor"},
        {"{\"inputs\":{}}", "bad_inputs", "expected one tensor"},
        {"{\"inputs\":[1]}", "bad_inputs", "expected one tensor"},
        {"{\"inputs\":[{},{}]}", "bad_inputs", "got 2"},
        {"{\"inputs\":[{}]}", "bad_input", "\"name\""},
        {HEAD "\"shape\":[1]}]}", "bad_datatype", "got no string"},
        {HEAD "\"datatype\":\"FP8\"}]}", "bad_datatype", "got FP8"},
        {HEAD "\"datatype\":\"BYTES\"}]}", "bad_datatype", "got BYTES"},
        {HEAD "\"datatype\":\"FP32\"}]}", "bad_shape", "1 to 8"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[]}]}", "bad_shape", "1 to 8"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[0,784]}]}", "bad_shape",
         "whole numbers from 1"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[-1,784]}]}", "bad_shape",
         "whole numbers from 1"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[1.5,784]}]}", "bad_shape",
         "whole numbers from 1"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[1,2,3,4,5,6,7,8,9]}]}",
         "bad_shape", "1 to 8"},
        {HEAD "\"datatype\":\"FP32\",\"shape\":[9999999,9999999,9999999,"
              "9999999]}]}",
         "bad_shape", "whole numbers"},
        {HEAD SHAPE "}]}", "no_data", "expected \"data\""},
        {HEAD SHAPE ",\"data\":7}]}", "no_data", "expected \"data\""},
        {HEAD SHAPE ",\"data\":[1,2]}]}", "wrong_shape",
         "says 784 elements, \"data\" has 2"},
        {HEAD SHAPE ",\"data\":[\"a\"]}]}", "bad_data", "expected numbers"},
        {HEAD "\"shape\":[1,3],\"datatype\":\"FP32\",\"data\":[1,2,3]}]}",
         "wrong_shape", "expected 784 numbers"},
        {HEAD "\"shape\":[2],\"datatype\":\"UINT8\",\"data\":[1,256]}]}",
         "out_of_range", "element 1 is no UINT8"},
        {HEAD "\"shape\":[2],\"datatype\":\"INT16\",\"data\":[1.5,2]}]}",
         "out_of_range", "element 0 is no INT16"},
        {HEAD "\"shape\":[2],\"datatype\":\"FP32\",\"data\":[1,1e60]}]}",
         "not_finite", "element 1 is not finite"},
        {HEAD SHAPE ",\"parameters\":{\"binary_data_size\":3136}}]}",
         "wrong_binary_data", "3136 bytes, 0 follow"},
        {HEAD SHAPE ",\"parameters\":{\"binary_data_size\":-1}}]}",
         "bad_binary_data_size", "whole number of bytes"},
        {"{\"id\":7,\"inputs\":[]}", "bad_inputs", "got 0"},
        {"{\"parameters\":{\"binary_data_output\":1}}", "bad_parameter",
         "binary_data_output"},
        {"{\"parameters\":[1]}", "bad_parameters", "expected an object"},
        {"{\"outputs\":[{\"name\":\"a\",\"parameters\":true}]}",
         "bad_parameters", "expected an object"},
        {"{\"outputs\":[{\"name\":\"a\"},{\"name\":\"b\"}]}", "bad_outputs",
         "one output"},
        {"{\"outputs\":[{}]}", "bad_outputs", "one object with a \"name\""},
        {"{\"outputs\":[{\"name\":\"a\",\"parameters\":{\"classification\":"
         "\"x\"}}]}",
         "bad_classification", "whole number"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(post(&s, infer, wrong[i].body), 400, wrong[i].code,
                     wrong[i].part);
}

static void
wrong_heads(void **state)
{
    (void)state;
    static const char body[] =
        HEAD SHAPE ",\"parameters\":{\"binary_data_size\":4}}]}abcd";
    static const struct {
        const char *header, *code, *part;
    } wrong[] = {
        {"Inference-Header-Content-Length: x", "bad_header", "got x"},
        {"Inference-Header-Content-Length: -1", "bad_header", "got -1"},
        {"Inference-Header-Content-Length: 99999", "bad_header", "got 99999"},
        {"Inference-Header-Content-Length: 99999999999999999999", "bad_header",
         "0 to the body's"},
        {"inference-header-content-length: 5", "malformed_json", "not JSON"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(ask_over(curl, &s, "POST", infer, NULL, body,
                              sizeof body - 1, wrong[i].header),
                     400, wrong[i].code, wrong[i].part);
    char header[64];
    snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu",
             sizeof body - 1 - 4);
    expect_error(
        ask_over(curl, &s, "POST", infer, NULL, body, sizeof body - 1, header),
        400, "wrong_shape", "784 elements of FP32 are 3136 bytes");
    /* Too many, and too few, behind the JSON. */
    expect_error(
        ask_over(curl, &s, "POST", infer, NULL, body, sizeof body - 2, header),
        400, "wrong_binary_data", "4 bytes, 3 follow");
}

/* A NaN among the bytes. */
static void
numbers_that_are_none(void **state)
{
    (void)state;
    float values[PIXELS] = {0};
    values[783] = nanf("");
    expect_error(ask_over(curl, &s, "POST", infer, NULL, values, sizeof values,
                          "Inference-Header-Content-Length: 0"),
                 400, "not_finite", "element 783 is not finite");
}

/* The protocol does not go by the type, as Triton does not. */
static void
any_content_type(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "text/plain", "image/png",
                                        "application/vnd.x+json"};
    for (size_t i = 0; i < 4; i++) {
        answer a = ask_over(curl, &s, "POST", infer, types[i], fashion_images(),
                            PIXELS, "Inference-Header-Content-Length: 0");
        assert_int_equal(a.status, 200);
        assert_int_equal(a.size - a.head, 40);
        free_answer(&a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_and_metadata),
        cmocka_unit_test(configuration),
        cmocka_unit_test(statistics),
        cmocka_unit_test(log_settings),
        cmocka_unit_test(compressed_bodies),
        cmocka_unit_test(a_bomb_is_not_unpacked),
        cmocka_unit_test(wrong_bodies),
        cmocka_unit_test(wrong_heads),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(any_content_type),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

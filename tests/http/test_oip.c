/* Open Inference Protocol: every way to send and to get a tensor, compared with
 * what /predict says of the same image. */
#include "tests/http/datatypes.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10 };

static const char *const pinned[] = {"--default-model", "fashion", NULL};
static server s;
static CURL *curl;

static int
set_up(void **state)
{
    (void)state;
    curl = curl_easy_init();
    start_server(&s, pinned);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    curl_easy_cleanup(curl);
    return stop_server(&s);
}

/* ---- Asking ---- */

static const char infer[] = "/v2/models/fashion/infer";

static answer
infer_json(json_t *body)
{
    return post_json(&s, infer, body);
}

/* A JSON head, and bytes behind it. */
static answer
infer_binary(const char *head, const void *bytes, size_t size)
{
    char header[64];
    size_t length = strlen(head);
    char *body = malloc(length + size + 1);
    memcpy(body, head, length);
    if (size)
        memcpy(body + length, bytes, size);
    snprintf(header, sizeof header, "Inference-Header-Content-Length: %zu",
             length);
    answer a = ask_over(curl, &s, "POST", infer, "application/octet-stream",
                        body, length + size, header);
    free(body);
    return a;
}

static json_t *
output_of(const answer *a)
{
    if (a->status != 200)
        fail_msg("status %ld: %s", a->status, a->body);
    json_t *outputs = json_object_get(a->json, "outputs");
    assert_int_equal(json_array_size(outputs), 1);
    return json_array_get(outputs, 0);
}

/* The numbers of the only output, JSON or binary; checks its shape. */
static void
take_output(answer a, int rows, float *to)
{
    json_t *output = output_of(&a), *shape = json_object_get(output, "shape");
    size_t count = (size_t)rows * CLASSES;
    assert_string_equal(text_of(output, "datatype"), "FP32");
    assert_int_equal(json_array_size(shape), 2);
    assert_int_equal(json_integer_value(json_array_get(shape, 0)), rows);
    assert_int_equal(json_integer_value(json_array_get(shape, 1)), CLASSES);
    if (a.head) {
        assert_string_equal(a.type, "application/octet-stream");
        assert_null(json_object_get(output, "data"));
        assert_int_equal(
            whole_of(json_object_get(output, "parameters"), "binary_data_size"),
            count * sizeof *to);
        assert_int_equal(a.size, a.head + count * sizeof *to);
        memcpy(to, a.body + a.head, count * sizeof *to);
    } else {
        const json_t *data = json_object_get(output, "data");
        assert_string_equal(a.type, "application/json");
        /* The C++ client takes no parameters without binary_data_size. */
        assert_null(json_object_get(output, "parameters"));
        assert_int_equal(json_array_size(data), count);
        for (size_t i = 0; i < count; i++)
            to[i] = (float)json_number_value(json_array_get(data, i));
    }
    free_answer(&a);
}

/* What /predict says of these bytes. */
static void
expected_of(const unsigned char *images, int rows, float *to)
{
    answer a = ask(&s, NULL, "/models/fashion/predict",
                   "application/octet-stream", images, (size_t)rows * PIXELS);
    assert_int_equal(a.status, 200);
    for (int r = 0; r < rows; r++) {
        const json_t *one =
            rows > 1 ? json_array_get(json_object_get(a.json, "predictions"),
                                      (size_t)r)
                     : a.json;
        for (size_t i = 0; i < CLASSES; i++)
            to[r * CLASSES + (int)i] = (float)json_number_value(
                json_array_get(json_object_get(one, "probabilities"), i));
    }
    free_answer(&a);
}

static void
expect_output(answer a, const unsigned char *images, int rows)
{
    float *got = malloc((size_t)rows * CLASSES * 2 * sizeof *got);
    float *expected = got + rows * CLASSES;
    take_output(a, rows, got);
    expected_of(images, rows, expected);
    assert_memory_equal(got, expected, (size_t)rows * CLASSES * sizeof *got);
    free(got);
}

static json_t *
tensor(const char *type, json_t *shape, json_t *data)
{
    return json_pack("{s:[{s:s, s:o, s:s, s:o}]}", "inputs", "name", "input",
                     "shape", shape, "datatype", type, "data", data);
}

/* ---- Tensors ---- */

static void
json_tensors_of_any_nesting(void **state)
{
    (void)state;
    const unsigned char *image = fashion_images() + 3 * PIXELS;
    json_t *rows = json_array();
    for (int y = 0; y < 28; y++)
        json_array_append_new(rows, pixels_of(image + y * 28, 28));
    expect_output(infer_json(tensor("FP32", json_pack("[i,i]", 1, PIXELS),
                                    pixels_of(image, PIXELS))),
                  image, 1);
    expect_output(infer_json(tensor("FP32", json_pack("[i,i,i]", 1, 28, 28),
                                    pixels_of(image, PIXELS))),
                  image, 1);
    expect_output(infer_json(tensor("FP32", json_pack("[i,i,i]", 1, 28, 28),
                                    json_pack("[o]", rows))),
                  image, 1);
    expect_output(infer_json(tensor("FP32", json_pack("[i]", PIXELS),
                                    pixels_of(image, PIXELS))),
                  image, 1);
    expect_output(infer_json(tensor("FP32", json_pack("[i,i]", 28, 28),
                                    pixels_of(image, PIXELS))),
                  image, 1);
    /* Flat data of a batch, and uneven nesting: the shape counts. */
    expect_output(infer_json(tensor("FP32", json_pack("[i,i]", 3, PIXELS),
                                    pixels_of(image, 3 * PIXELS))),
                  image, 3);
    expect_output(infer_json(tensor("FP32", json_pack("[i,i]", 1, PIXELS),
                                    json_pack("[o,o]", pixels_of(image, 700),
                                              pixels_of(image + 700, 84)))),
                  image, 1);
}

/* More rows than one forward pass takes. */
static void
large_batches(void **state)
{
    (void)state;
    enum { ROWS = 600 };
    char head[256];
    snprintf(head, sizeof head,
             "{\"inputs\":[{\"name\":\"input\",\"shape\":[%d,%d],\"datatype\":"
             "\"UINT8\",\"parameters\":{\"binary_data_size\":%d}}],"
             "\"parameters\":{\"binary_data_output\":true}}",
             ROWS, PIXELS, ROWS * PIXELS);
    expect_output(infer_binary(head, fashion_images(), ROWS * PIXELS),
                  fashion_images(), ROWS);
}

static void
all_datatypes_as_bytes(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof kinds / sizeof *kinds; t++) {
        const kind *k = &kinds[t];
        unsigned char image[PIXELS], bytes[PIXELS * 8];
        char head[256];
        make_image(k, image);
        for (size_t i = 0; i < PIXELS; i++)
            k->put(image[i], bytes + i * k->size);
        snprintf(head, sizeof head,
                 "{\"inputs\":[{\"name\":\"input\",\"shape\":[1,%d],"
                 "\"datatype\":\"%s\",\"parameters\":{\"binary_data_size\":"
                 "%zu}}]}",
                 PIXELS, k->name, PIXELS * k->size);
        expect_output(infer_binary(head, bytes, PIXELS * k->size), image, 1);
    }
}

static void
all_datatypes_as_json(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof kinds / sizeof *kinds; t++) {
        const kind *k = &kinds[t];
        unsigned char image[PIXELS];
        make_image(k, image);
        answer a = infer_json(tensor(k->name, json_pack("[i,i]", 1, PIXELS),
                                     pixels_of(image, PIXELS)));
        if (k->json)
            expect_output(a, image, 1);
        else
            expect_error(a, 400, "bad_datatype", k->name);
    }
    /* BOOL has words of its own. */
    unsigned char image[PIXELS];
    json_t *data = json_array();
    make_image(&kinds[12], image);
    for (int i = 0; i < PIXELS; i++)
        json_array_append_new(data, json_boolean(image[i]));
    expect_output(
        infer_json(tensor("BOOL", json_pack("[i,i]", 1, PIXELS), data)), image,
        1);
}

#define BYTES_IN                                                               \
    "\"inputs\":[{\"name\":\"input\",\"shape\":[1,784],\"datatype\":"          \
    "\"UINT8\",\"parameters\":{\"binary_data_size\":784}}]"

static void
binary_and_json_mixed(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool binary;
    } ways[] = {
        {"{" BYTES_IN "}", false},
        {"{" BYTES_IN ",\"parameters\":{\"binary_data_output\":true}}", true},
        {"{" BYTES_IN ",\"outputs\":[{\"name\":\"output\",\"parameters\":"
         "{\"binary_data\":true}}]}",
         true},
        {"{" BYTES_IN ",\"parameters\":{\"binary_data_output\":true},"
         "\"outputs\":[{\"name\":\"output\",\"parameters\":{\"binary_data\":"
         "false}}]}",
         false},
        {"{" BYTES_IN ",\"parameters\":{\"binary_data_output\":true},"
         "\"outputs\":[{\"name\":\"output\"}]}",
         true},
        {"{" BYTES_IN ",\"outputs\":[],\"parameters\":null,\"id\":null}",
         false},
    };
    const unsigned char *image = fashion_images();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        answer a = infer_binary(ways[i].head, image, PIXELS);
        assert_int_equal(a.head > 0, ways[i].binary);
        expect_output(a, image, 1);
    }
    json_t *body =
        tensor("FP32", json_pack("[i,i]", 1, PIXELS), pixels_of(image, PIXELS));
    json_object_set_new(body, "parameters",
                        json_pack("{s:b}", "binary_data_output", 1));
    answer a = infer_json(body);
    assert_true(a.head > 0);
    expect_output(a, image, 1);
}

static void
raw_bytes_without_json(void **state)
{
    (void)state;
    const unsigned char *image = fashion_images() + PIXELS;
    float wide[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        wide[i] = image[i];
    answer a = infer_binary("", wide, sizeof wide);
    assert_true(a.head > 0);
    expect_output(a, image, 1);
    expect_output(infer_binary("", image, PIXELS), image, 1);
    expect_error(infer_binary("", image, PIXELS - 1), 400, "wrong_shape",
                 "3136 bytes of FP32 or 784 of UINT8, got 783");
}

/* ---- What comes back ---- */

static void
names_ids_and_versions_come_back(void **state)
{
    (void)state;
    json_t *body = tensor("FP32", json_pack("[i,i]", 1, PIXELS),
                          pixels_of(fashion_images(), PIXELS));
    json_object_set_new(body, "id", json_string("a \"b\" \xc3\xa9"));
    json_object_set_new(body, "model_name", json_string("whatever"));
    json_object_set_new(body, "outputs",
                        json_pack("[{s:s}]", "name", "scores_0"));
    answer a = infer_json(body);
    assert_string_equal(text_of(output_of(&a), "name"), "scores_0");
    assert_string_equal(text_of(a.json, "model_name"), "fashion");
    assert_string_equal(text_of(a.json, "model_version"), "1");
    assert_string_equal(text_of(a.json, "id"), "a \"b\" \xc3\xa9");
    assert_true(json_is_integer(json_object_get(
        json_object_get(a.json, "parameters"), "soma_version")));
    free_answer(&a);
    /* Without an id none comes back. */
    a = infer_binary("{" BYTES_IN "}", fashion_images(), PIXELS);
    assert_string_equal(text_of(output_of(&a), "name"), "output");
    assert_null(json_object_get(a.json, "id"));
    free_answer(&a);
}

static void
versions_and_escapes_in_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"/v2/models/fashion/versions/1/infer",
                                       "/v2/models/f%61shion/infer"};
    for (size_t i = 0; i < 2; i++) {
        answer a = post_json(&s, good[i],
                             tensor("FP32", json_pack("[i,i]", 1, PIXELS),
                                    pixels_of(fashion_images(), PIXELS)));
        expect_output(a, fashion_images(), 1);
    }
    expect_error(post(&s, "/v2/models/fashion/versions/7/infer", "{}"), 404,
                 "unknown_version", "has no version 7");
    expect_error(post(&s, "/v2/models/nobody/infer", "{}"), 404,
                 "unknown_model", "nobody");
    expect_error(get(&s, "/v2/models/fashion/infer"), 405, "method_not_allowed",
                 "takes POST");
    expect_error(get(&s, "/v2/models/fashion/versions/7/ready"), 404,
                 "unknown_version", "has no version 7");
}

/* "value:index:label" of the best classes. */
static void
check_class(const char *text, const float *expected, int index,
            const char *name)
{
    char *end;
    double value = strtod(text, &end);
    assert_true(fabs(value - (double)expected[index]) < 1e-6);
    assert_int_equal(strtol(end + 1, &end, 10), index);
    assert_string_equal(end + 1, name);
}

#define CLASSIFY(k, more)                                                      \
    "{" BYTES_IN ",\"outputs\":[{\"name\":\"output\",\"parameters\":"          \
    "{\"classification\":" k more "}}]}"

static void
classification(void **state)
{
    (void)state;
    float expected[CLASSES];
    const unsigned char *image = fashion_images();
    expected_of(image, 1, expected);
    answer a = infer_binary(CLASSIFY("2", ""), image, PIXELS);
    const json_t *output = output_of(&a);
    const json_t *data = json_object_get(output, "data");
    assert_string_equal(text_of(output, "datatype"), "BYTES");
    assert_int_equal(json_array_size(data), 2);
    check_class(json_string_value(json_array_get(data, 0)), expected, 9,
                "Ankle boot");
    free_answer(&a);
    /* As bytes: each behind its length; no more than there are classes. */
    a = infer_binary(CLASSIFY("99", ",\"binary_data\":true"), image, PIXELS);
    output = output_of(&a);
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(output, "shape"), 1)),
        CLASSES);
    const char *at = a.body + a.head;
    double last = 2;
    for (int i = 0; i < CLASSES; i++) {
        uint32_t length;
        char text[64] = "";
        memcpy(&length, at, sizeof length);
        assert_true(length < sizeof text);
        memcpy(text, at + sizeof length, length);
        assert_true(atof(text) <= last);
        last = atof(text);
        at += sizeof length + length;
    }
    assert_ptr_equal(at, a.body + a.size);
    assert_int_equal(
        whole_of(json_object_get(output, "parameters"), "binary_data_size"),
        a.size - a.head);
    free_answer(&a);
    expect_error(infer_binary(CLASSIFY("0", ""), image, PIXELS), 400,
                 "bad_classification", "from 1");
}

/* One score is for class 1, and against class 0. */
static void
classification_of_a_single_score(void **state)
{
    (void)state;
    answer a = post_json(
        &s, "/v2/models/neuron-svm/infer",
        json_pack("{s:[{s:s, s:[i,i], s:s, s:o}], s:[{s:s, s:{s:i}}]}",
                  "inputs", "name", "input", "shape", 1, PIXELS, "datatype",
                  "FP32", "data", pixels_of(fashion_images(), PIXELS),
                  "outputs", "name", "output", "parameters", "classification",
                  2));
    const json_t *data = json_object_get(output_of(&a), "data");
    double best, other;
    int first, second;
    assert_int_equal(sscanf(json_string_value(json_array_get(data, 0)),
                            "%lf:%d", &best, &first),
                     2);
    assert_int_equal(sscanf(json_string_value(json_array_get(data, 1)),
                            "%lf:%d", &other, &second),
                     2);
    assert_true(best > 0 && best == -other);
    assert_int_equal(first + second, 1);
    free_answer(&a);
    a = ask(&s, NULL, "/models/neuron-svm/predict", "application/octet-stream",
            fashion_images(), PIXELS);
    assert_int_equal(whole_of(a.json, "label"), first);
    free_answer(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_tensors_of_any_nesting),
        cmocka_unit_test(large_batches),
        cmocka_unit_test(all_datatypes_as_bytes),
        cmocka_unit_test(all_datatypes_as_json),
        cmocka_unit_test(binary_and_json_mixed),
        cmocka_unit_test(raw_bytes_without_json),
        cmocka_unit_test(names_ids_and_versions_come_back),
        cmocka_unit_test(versions_and_escapes_in_paths),
        cmocka_unit_test(classification),
        cmocka_unit_test(classification_of_a_single_score),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

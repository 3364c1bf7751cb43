/* The metadata: what is read, what is refused, and that a spec's description
 * reads back as the same spec. */
#include "core/io/checkpoint.h"

#include "core/activation.h"
#include "core/loss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static soma_spec spec;
static float *mean, *std;
static soma_classes classes;
static soma_error err;

static soma_status
read_spec(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s: %s", text, error.text);
    err = (soma_error){0};
    soma_status status =
        soma_checkpoint_spec(json, &spec, &mean, &std, &classes, &err);
    assert_int_equal(err.status, status);
    json_decref(json);
    return status;
}

static void
release(void)
{
    free(mean);
    free(std);
    mean = std = NULL;
    soma_classes_free(&classes);
}

static void
expect_read(const char *text)
{
    soma_status status = read_spec(text);
    if (status)
        fail_msg("%s: %s", text, err.text);
}

static void
expect_refused(const char *text, soma_status status, const char *message)
{
    soma_status got = read_spec(text);
    if (got != status || strcmp(err.text, message))
        fail_msg("%s: expected %d \"%s\", got %d \"%s\"", text, status, message,
                 got, err.text);
    assert_null(mean);
    assert_null(std);
    assert_null(classes.names);
}

/* ---- Read ---- */

static void
test_all_members(void **state)
{
    (void)state;
    expect_read("{\"format\":1,\"input\":{\"shape\":[3,4,5],\"range\":[-1,1.5],"
                "\"mean\":[1,2.5,-3],\"std\":[1,0.5,1e3],\"more\":1},"
                "\"layers\":[{\"units\":7,\"activation\":\"leaky_relu\","
                "\"slope\":-0.5},"
                "{\"units\":6,\"activation\":\"maxout\",\"pieces\":5},"
                "{\"units\":2,\"activation\":\"identity\",\"name\":\"x\"}],"
                "\"loss\":\"multiclass_hinge\",\"classes\":[\"a\",\"b\"],"
                "\"training\":3,\"made\":{},\"unknown\":[]}");
    assert_int_equal(spec.input.rank, 3);
    assert_int_equal(spec.input.shape[2], 5);
    assert_int_equal(spec.input.size, 60);
    assert_true(spec.input.low == -1 && spec.input.high == 1.5f);
    assert_int_equal(spec.input.normals, 3);
    assert_true(mean[0] == 1 && mean[1] == 2.5f && mean[2] == -3);
    assert_true(std[0] == 1 && std[1] == 0.5f && std[2] == 1000);
    assert_int_equal(spec.depth, 3);
    assert_string_equal(spec.layers[0].activation->name, "leaky_relu");
    assert_true(spec.layers[0].slope == -0.5f);
    assert_int_equal(spec.layers[0].pieces, 1);
    assert_int_equal(spec.layers[1].pieces, 5);
    assert_int_equal(spec.layers[1].out, 30);
    assert_int_equal(spec.layers[2].in, 6);
    assert_string_equal(spec.loss->name, "multiclass_hinge");
    assert_int_equal(spec.classes, 2);
    /* 7*60 + 7, 30*7 + 30, 2*6 + 2; mean and std stand behind them. */
    assert_int_equal(spec.trainable, 681);
    assert_int_equal(spec.mean, 681);
    assert_int_equal(spec.std, 684);
    assert_int_equal(spec.params, 687);
    assert_int_equal(classes.count, 2);
    assert_int_equal(soma_classes_find(&classes, "b"), 1);
    assert_int_equal(soma_classes_find(&classes, "c"), -1);
    release();
}

#define INPUT  "\"input\":{\"shape\":[3,2,2]}"
#define LAYERS "\"layers\":[{\"units\":2}]"
#define LOSS   "\"loss\":\"softmax_cross_entropy\""
#define FORMAT "\"format\":1"

static void
test_defaults(void **state)
{
    (void)state;
    expect_read("{" FORMAT "," INPUT "," LOSS
                ",\"layers\":[{\"units\":1,\"activation\":\"leaky_relu\"},"
                "{\"units\":1,\"activation\":\"maxout\"},{\"units\":2}]}");
    assert_true(spec.input.low == 0 && spec.input.high == 255);
    assert_int_equal(spec.input.normals, 0);
    assert_null(mean);
    assert_null(std);
    assert_true(spec.layers[0].slope == 0.01f);
    assert_int_equal(spec.layers[1].pieces, 2);
    assert_string_equal(spec.layers[2].activation->name, "identity");
    assert_int_equal(classes.count, 0);
    release();
}

static void
expect_normals(const char *members, int count, const float *means,
               const float *stds)
{
    char text[256];
    snprintf(text, sizeof text,
             "{" FORMAT "," LAYERS "," LOSS ",\"input\":{\"shape\":[3,2,2]%s}}",
             members);
    expect_read(text);
    assert_int_equal(spec.input.normals, count);
    for (int i = 0; i < count; i++)
        assert_true(mean[i] == means[i] && std[i] == stds[i]);
    release();
}

/* One stands for all, and either may be left out. */
static void
test_normals(void **state)
{
    (void)state;
    const float zero[] = {0, 0, 0}, one[] = {1, 1, 1}, five[] = {5, 5, 5};
    const float three[] = {1, 2, 3};
    expect_normals(",\"mean\":[5],\"std\":[1]", 1, five, one);
    expect_normals(",\"mean\":[5]", 1, five, one);
    expect_normals(",\"std\":[5]", 1, zero, five);
    expect_normals(",\"mean\":[1,2,3]", 3, three, one);
    expect_normals(",\"std\":[1,2,3]", 3, zero, three);
    expect_normals(",\"mean\":[1,2,3],\"std\":[5]", 3, three, five);
    expect_normals(",\"mean\":[5],\"std\":[1,2,3]", 3, five, three);
}

/* ---- Refused ---- */

static void
test_top_refused(void **state)
{
    (void)state;
#define REFUSE(text, message) expect_refused(text, SOMA_E_FORMAT, message)
    REFUSE("[]", "spec: expected an object, got []");
    REFUSE("{}", "format: expected 1, got nothing");
    REFUSE("{\"format\":2}", "format: expected 1, got 2");
    REFUSE("{\"format\":1.0}", "format: expected 1, got 1.0");
    REFUSE("{\"format\":\"1\"}", "format: expected 1, got \"1\"");
    REFUSE("{" FORMAT "}", "input: expected an object, got nothing");
    REFUSE("{" FORMAT ",\"input\":[3]}", "input: expected an object, got [3]");
    REFUSE("{" FORMAT "," INPUT "}",
           "layers: expected an array of 1 to 32 layers, got nothing");
    REFUSE("{" FORMAT "," INPUT "," LAYERS "}",
           "loss: expected a name, got nothing");
    REFUSE("{" FORMAT "," INPUT "," LAYERS ",\"loss\":0}",
           "loss: expected a name, got 0");
    assert_int_equal(
        read_spec("{" FORMAT "," INPUT "," LAYERS ",\"loss\":\"mse\"}"),
        SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "loss: unknown loss \"mse\""));
    assert_non_null(strstr(err.text, "softmax_cross_entropy"));
}

/* `member` is one of input's. */
static void
refuse_input(const char *member, const char *message)
{
    char text[256];
    snprintf(text, sizeof text,
             "{" FORMAT "," LAYERS "," LOSS ",\"input\":{%s}}", member);
    expect_refused(text, SOMA_E_FORMAT, message);
}

static void
test_input_refused(void **state)
{
    (void)state;
#define SHAPE                                                                  \
    "input.shape: expected 1 to 4 whole numbers from 1 to 1048576, got "
    refuse_input("", SHAPE "nothing");
    refuse_input("\"shape\":[]", SHAPE "[]");
    refuse_input("\"shape\":3", SHAPE "3");
    refuse_input("\"shape\":[1,1,1,1,1]", SHAPE "[1,1,1,1,1]");
    refuse_input("\"shape\":[0]", SHAPE "[0]");
    refuse_input("\"shape\":[-1]", SHAPE "[-1]");
    refuse_input("\"shape\":[2.0]", SHAPE "[2.0]");
    refuse_input("\"shape\":[\"2\"]", SHAPE "[\"2\"]");
    refuse_input("\"shape\":[1048577]", SHAPE "[1048577]");
    refuse_input("\"shape\":[4294967297]", SHAPE "[4294967297]");
    expect_refused("{" FORMAT "," LAYERS "," LOSS
                   ",\"input\":{\"shape\":[1024,1025]}}",
                   SOMA_E_LIMIT, "input shape: more than 1048576 values");
#define RANGE "input.range: expected two finite numbers, the lower first, got "
    refuse_input("\"shape\":[1],\"range\":null", RANGE "null");
    refuse_input("\"shape\":[1],\"range\":[0]", RANGE "[0]");
    refuse_input("\"shape\":[1],\"range\":[0,1,2]", RANGE "[0,1,2]");
    refuse_input("\"shape\":[1],\"range\":[1,1]", RANGE "[1,1]");
    refuse_input("\"shape\":[1],\"range\":[1,0]", RANGE "[1,0]");
    refuse_input("\"shape\":[1],\"range\":[0,\"1\"]", RANGE "[0,\"1\"]");
    refuse_input("\"shape\":[1],\"range\":[0,1e39]", RANGE "[0,1e39]");
    refuse_input("\"shape\":[1],\"range\":[1,1.00000001]",
                 RANGE "[1,1.00000001]"); /* the same float32 */
}

static void
test_normals_refused(void **state)
{
    (void)state;
#define C3 "\"shape\":[3,2,2],"
    refuse_input(C3 "\"mean\":[1,2]", "input.mean: expected an array of 1 or 3 "
                                      "numbers, got [1,2]");
    refuse_input(C3 "\"std\":[1,2,3,4]", "input.std: expected an array of 1 or "
                                         "3 numbers, got [1,2,3,4]");
    refuse_input(C3 "\"mean\":[]",
                 "input.mean: expected an array of 1 or 3 numbers, got []");
    refuse_input(C3 "\"mean\":0",
                 "input.mean: expected an array of 1 or 3 numbers, got 0");
    refuse_input(C3 "\"mean\":null",
                 "input.mean: expected an array of 1 or 3 numbers, got null");
    /* [H][W] is one channel. */
    refuse_input("\"shape\":[3,2],\"mean\":[1,2,3]",
                 "input.mean: expected an array of 1 number, got [1,2,3]");
    refuse_input(C3 "\"mean\":[1,\"2\",3]",
                 "input.mean: expected finite numbers, got [1,\"2\",3]");
    refuse_input(C3 "\"mean\":[-1e39]",
                 "input.mean: expected finite numbers, got [-1e39]");
    refuse_input(C3 "\"std\":[1,0,1]",
                 "input.std: expected finite numbers above 0, got [1,0,1]");
    refuse_input(C3 "\"std\":[-1]",
                 "input.std: expected finite numbers above 0, got [-1]");
    refuse_input(C3 "\"std\":[1e-60]",
                 "input.std: expected finite numbers above 0, got [1e-60]");
    refuse_input(C3 "\"mean\":[1,2,3],\"std\":[null]",
                 "input.std: expected finite numbers above 0, got [null]");
}

/* `layer` follows a good one. */
static void
refuse_layer(const char *layer, const char *message)
{
    char text[256];
    snprintf(text, sizeof text,
             "{" FORMAT "," INPUT "," LOSS ",\"layers\":[{\"units\":2},%s]}",
             layer);
    expect_refused(text, SOMA_E_FORMAT, message);
}

static void
test_layers_refused(void **state)
{
    (void)state;
    refuse_layer("[]", "layers[1]: expected an object, got []");
    refuse_layer("null", "layers[1]: expected an object, got null");
#define UNITS "layers[1].units: expected a whole number from 1 to 1048576, got "
    refuse_layer("{}", UNITS "nothing");
    refuse_layer("{\"units\":\"ten\"}", UNITS "\"ten\"");
    refuse_layer("{\"units\":0}", UNITS "0");
    refuse_layer("{\"units\":10.0}", UNITS "10.0");
    refuse_layer("{\"units\":1048577}", UNITS "1048577");
    refuse_layer("{\"units\":2,\"activation\":1}",
                 "layers[1].activation: expected a name, got 1");
#define LEAKY "{\"units\":2,\"activation\":\"leaky_relu\","
    refuse_layer(LEAKY "\"slope\":null}",
                 "layers[1].slope: expected a finite number, got null");
    refuse_layer(LEAKY "\"slope\":1e39}",
                 "layers[1].slope: expected a finite number, got 1e39");
    refuse_layer(LEAKY "\"pieces\":2}",
                 "layers[1].pieces: leaky_relu takes none");
    refuse_layer("{\"units\":2,\"activation\":\"relu\",\"slope\":0.1}",
                 "layers[1].slope: relu takes none");
    refuse_layer("{\"units\":2,\"pieces\":2}",
                 "layers[1].pieces: identity takes none");
#define MAXOUT "{\"units\":2,\"activation\":\"maxout\","
#define PIECES                                                                 \
    "layers[1].pieces: expected a whole number from 2 to 1048576, got "
    refuse_layer(MAXOUT "\"pieces\":1}", PIECES "1");
    refuse_layer(MAXOUT "\"pieces\":2.5}", PIECES "2.5");
    refuse_layer(MAXOUT "\"pieces\":\"2\"}", PIECES "\"2\"");
}

/* The list of what there is comes from activation.c. */
static void
test_activation_unknown(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"gelu", "gelu"}, {"ReLU", "ReLU"}, {"", ""}, {"\\u001brelu", "?relu"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[256], want[80];
        snprintf(text, sizeof text,
                 "{" FORMAT "," INPUT "," LOSS ",\"layers\":[{\"units\":2,"
                 "\"activation\":\"%s\"}]}",
                 names[i][0]);
        snprintf(want, sizeof want,
                 "layers[0].activation: unknown activation \"%s\"; ",
                 names[i][1]);
        assert_int_equal(read_spec(text), SOMA_E_FORMAT);
        assert_memory_equal(err.text, want, strlen(want));
        assert_non_null(strstr(err.text, "leaky_relu"));
    }
}

static void
test_depth_refused(void **state)
{
    (void)state;
    REFUSE("{" FORMAT "," INPUT ",\"layers\":[]}",
           "layers: expected an array of 1 to 32 layers, got []");
    char text[1024] = "{" FORMAT "," INPUT "," LOSS ",\"layers\":[";
    for (int i = 0; i < 31; i++)
        strcat(text, "{\"units\":2},");
    size_t length = strlen(text);
    strcat(text, "{\"units\":2}]}");
    expect_read(text);
    assert_int_equal(spec.depth, 32);
    release();
    strcpy(text + length, "{\"units\":2},{\"units\":2}]}");
    assert_int_equal(read_spec(text), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "1 to 32 layers, got [{\"units\":2},"));
    assert_non_null(strstr(err.text, "..."));
    expect_refused("{" FORMAT "," LOSS ",\"input\":{\"shape\":[1048576]},"
                   "\"layers\":[{\"units\":1048576},{\"units\":2}]}",
                   SOMA_E_LIMIT, "more than 1073741824 parameters");
    expect_refused("{" FORMAT "," INPUT ",\"loss\":\"logistic\"," LAYERS "}",
                   SOMA_E_ARGUMENT,
                   "loss logistic: the last layer must have 1 unit, it has 2");
}

static void
test_classes_refused(void **state)
{
    (void)state;
#define CLASSES(list)                                                          \
    "{" FORMAT "," INPUT "," LAYERS "," LOSS ",\"classes\":" list "}"
    REFUSE(CLASSES("null"), "classes: expected an array of 2 names, got null");
    REFUSE(CLASSES("[]"), "classes: expected an array of 2 names, got []");
    REFUSE(CLASSES("[\"a\"]"),
           "classes: expected an array of 2 names, got [\"a\"]");
    REFUSE(CLASSES("{\"a\":1,\"b\":2}"),
           "classes: expected an array of 2 names, got {\"a\":1,\"b\":2}");
    REFUSE(CLASSES("[\"a\",1]"),
           "classes[1]: expected a name that is not empty, got 1");
    REFUSE(CLASSES("[\"\",\"a\"]"),
           "classes[0]: expected a name that is not empty, got \"\"");
    REFUSE(CLASSES("[\"a\",\"a\"]"),
           "classes[1]: expected a name that differs from the others, got "
           "\"a\"");
    REFUSE("{" FORMAT "," INPUT ",\"layers\":[{\"units\":1}],"
           "\"loss\":\"hinge\",\"classes\":[\"a\"]}",
           "classes: expected an array of 2 names, got [\"a\"]");
}

/* ---- Described ---- */

static void
expect_description(const char *text, const char *want)
{
    expect_read(text);
    soma_model *model = soma_model_create(&spec, &err);
    assert_non_null(model);
    for (int i = 0; i < spec.input.normals; i++) {
        soma_model_mean(model)[i] = mean[i];
        soma_model_std(model)[i] = std[i];
    }
    json_t *json = soma_checkpoint_describe(&spec, model, &classes);
    assert_non_null(json);
    char *got = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    assert_string_equal(got, want);
    /* Reads back as the same numbers, bit for bit. */
    soma_spec first = spec;
    release();
    json_object_set_new(json, "format", json_integer(1));
    assert_int_equal(
        soma_checkpoint_spec(json, &spec, &mean, &std, &classes, &err),
        SOMA_OK);
    assert_true(soma_spec_equal(&spec, &first));
    for (int i = 0; i < spec.input.normals; i++)
        assert_true(soma_model_mean(model)[i] == mean[i] &&
                    soma_model_std(model)[i] == std[i]);
    free(got);
    json_decref(json);
    soma_model_free(model);
    release();
}

static void
test_describe(void **state)
{
    (void)state;
    expect_description(
        "{" FORMAT "," LOSS ",\"input\":{\"shape\":[3,1,1],"
        "\"mean\":[0.1307,33.318447,1e-30],\"std\":[16777216,1e20,3.4e38]},"
        "\"layers\":[{\"units\":3,\"activation\":\"leaky_relu\"},"
        "{\"units\":2,\"activation\":\"maxout\",\"pieces\":3}],"
        "\"classes\":[\"no\",\"\xc3\xa9\"]}",
        "{\"input\":{\"shape\":[3,1,1],\"range\":[0,255],"
        "\"mean\":[0.1307,33.318447,1e-30],"
        "\"std\":[16777216,1e20,3.4e38]},"
        "\"layers\":[{\"units\":3,\"activation\":\"leaky_relu\","
        "\"slope\":0.01},{\"units\":2,\"activation\":\"maxout\","
        "\"pieces\":3}],\"loss\":\"softmax_cross_entropy\","
        "\"classes\":[\"no\",\"\xc3\xa9\"]}");
    expect_description("{" FORMAT ",\"input\":{\"shape\":[4],"
                       "\"range\":[-0.5,0.1]},\"layers\":[{\"units\":1}],"
                       "\"loss\":\"hinge\"}",
                       "{\"input\":{\"shape\":[4],\"range\":[-0.5,0.1]},"
                       "\"layers\":[{\"units\":1,\"activation\":\"identity\"}],"
                       "\"loss\":\"hinge\"}");
}

/* The shortest decimal of any float32 reads back as it. */
static void
test_describe_any_number(void **state)
{
    (void)state;
    expect_read("{" FORMAT "," INPUT "," LAYERS "," LOSS "}");
    for (uint32_t bits = 1; bits < 0x7f800000; bits += 104729) {
        memcpy(&spec.input.high, &bits, sizeof bits);
        spec.input.low = -spec.input.high;
        soma_spec before = spec;
        json_t *json = soma_checkpoint_describe(&spec, NULL, &classes);
        char *text = json_dumps(json, JSON_REAL_PRECISION(9));
        json_decref(json);
        json = json_loads(text, 0, NULL);
        json_object_set_new(json, "format", json_integer(1));
        assert_int_equal(
            soma_checkpoint_spec(json, &spec, &mean, &std, &classes, &err),
            SOMA_OK);
        assert_true(spec.input.high == before.input.high);
        assert_true(spec.input.low == before.input.low);
        free(text);
        json_decref(json);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_members),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_normals),
        cmocka_unit_test(test_top_refused),
        cmocka_unit_test(test_input_refused),
        cmocka_unit_test(test_normals_refused),
        cmocka_unit_test(test_layers_refused),
        cmocka_unit_test(test_activation_unknown),
        cmocka_unit_test(test_depth_refused),
        cmocka_unit_test(test_classes_refused),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_describe_any_number),
    };
    return cmocka_run_group_tests_name("checkpoint_spec", tests, NULL, NULL);
}

/* The tensors of model files: those that are missing, too many, or of another
 * shape, type or value; and the examples among them. */
#include "core/io/checkpoint.h"

#include "tests/unit/scratch.h"

#include <math.h>

static soma_checkpoint checkpoint;
static soma_error err;

/* A file of a [2] -> 1 network out of these tensors. */
static soma_status
read_tensors(const soma_tensor_out *tensors, int count)
{
    char key[] = "soma";
    char value[] = "{\"format\":1,\"input\":{\"shape\":[2]},"
                   "\"layers\":[{\"units\":1}],\"loss\":\"hinge\"}";
    soma_meta meta = {key, value};
    soma_bytes bytes;
    assert_int_equal(
        soma_safetensors_build(tensors, count, &meta, 1, &bytes, &err),
        SOMA_OK);
    err = (soma_error){0};
    soma_status status = soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err);
    assert_int_equal(err.status, status);
    assert_true(status ? !checkpoint.model : checkpoint.model != NULL);
    return status;
}

static const float values[] = {0.5f, 2, 3, 4};

#define WEIGHT                                                                 \
    {                                                                          \
        "layers.0.weight", SOMA_F32, 2, {1, 2}, values                         \
    }
#define BIAS                                                                   \
    {                                                                          \
        "layers.0.bias", SOMA_F32, 1, {1}, values                              \
    }

static void
test_memory_and_guard(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {0, 255, 7, 8};
    static const int32_t labels[] = {1, 0};
    static const uint8_t short_label = 1;
    soma_tensor_out tensors[] = {
        WEIGHT,
        BIAS,
        {"memory.x", SOMA_U8, 2, {2, 2}, pixels},
        {"memory.labels", SOMA_I32, 1, {2}, labels},
        {"guard.x", SOMA_F32, 2, {1, 2}, values},
        {"guard.labels", SOMA_U8, 1, {1}, &short_label}};
    assert_int_equal(read_tensors(tensors, 6), SOMA_OK);
    assert_true(soma_model_weights(checkpoint.model, 0)[1] == 2);
    float x[2];
    assert_int_equal(checkpoint.memory.count, 2);
    soma_memory_get(&checkpoint.memory, 1, x);
    assert_true(x[0] == 7 && x[1] == 8);
    assert_int_equal(checkpoint.memory.labels[0], 1);
    assert_int_equal(checkpoint.guard.count, 1);
    soma_memory_get(&checkpoint.guard, 0, x);
    assert_true(x[0] == 0.5f && x[1] == 2);

    /* What is written is read back, and the digest knows the memory. */
    char with[SOMA_DIGEST_HEX + 1], again[SOMA_DIGEST_HEX + 1];
    soma_bytes bytes;
    assert_int_equal(soma_checkpoint_digest(&checkpoint, with, &err), SOMA_OK);
    assert_int_equal(soma_checkpoint_build(&checkpoint, SOMA_F32, &bytes, &err),
                     SOMA_OK);
    soma_checkpoint_free(&checkpoint);
    assert_int_equal(soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err),
                     SOMA_OK);
    assert_int_equal(soma_checkpoint_digest(&checkpoint, again, &err), SOMA_OK);
    assert_string_equal(with, again);
    checkpoint.memory.labels[0] = 0;
    assert_int_equal(soma_checkpoint_digest(&checkpoint, again, &err), SOMA_OK);
    assert_string_not_equal(with, again);
    soma_checkpoint_free(&checkpoint);
}

static void
test_wrong_memory(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {0, 255, 7, 8};
    static const int32_t labels[] = {1, 2};
    soma_tensor_out tensors[] = {WEIGHT,
                                 BIAS,
                                 {"memory.x", SOMA_U8, 2, {2, 2}, pixels},
                                 {"memory.labels", SOMA_I32, 1, {2}, labels}};
    assert_int_equal(read_tensors(tensors, 3), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "only one of them is there"));
    assert_int_equal(read_tensors(tensors, 4), SOMA_E_ARGUMENT);
    assert_non_null(strstr(err.text, "\"memory.labels\": element 1: expected "
                                     "a class from 0 to 1, got 2"));
    tensors[2].shape[0] = 1;
    tensors[2].shape[1] = 4;
    assert_int_equal(read_tensors(tensors, 4), SOMA_E_SHAPE);
    assert_non_null(strstr(err.text, "expected shapes [n, 2] and [n]"));
    tensors[2] = (soma_tensor_out){"memory.pixels", SOMA_U8, 1, {4}, pixels};
    assert_int_equal(read_tensors(tensors, 3), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "unexpected tensor \"memory.pixels\""));
}

static void
expect_tensors(const soma_tensor_out *tensors, int count, soma_status status,
               const char *text)
{
    assert_int_equal(read_tensors(tensors, count), status);
    if (strcmp(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
}

static void
test_tensors_missing_or_more(void **state)
{
    (void)state;
    soma_tensor_out all[] = {
        WEIGHT, BIAS, {"layers.1.weight", SOMA_F32, 2, {1, 1}, values}};
    expect_tensors(all, 0, SOMA_E_FORMAT,
                   "tensor \"layers.0.weight\" is missing");
    expect_tensors(all, 1, SOMA_E_FORMAT,
                   "tensor \"layers.0.bias\" is missing");
    expect_tensors(all + 1, 1, SOMA_E_FORMAT,
                   "tensor \"layers.0.weight\" is missing");
    expect_tensors(all, 3, SOMA_E_FORMAT,
                   "unexpected tensor \"layers.1.weight\"; the metadata name "
                   "1 layers");
    all[2].name = "memory";
    expect_tensors(all, 3, SOMA_E_FORMAT,
                   "unexpected tensor \"memory\"; the metadata name 1 layers");
}

static void
test_tensor_shapes(void **state)
{
    (void)state;
    soma_tensor_out two[] = {WEIGHT, BIAS};
    static const struct {
        int rank;
        uint64_t shape[3];
        const char *got;
    } weights[] = {{2, {2, 1}, "[2, 1]"},       {1, {2}, "[2]"},
                   {3, {1, 1, 2}, "[1, 1, 2]"}, {2, {1, 3}, "[1, 3]"},
                   {2, {0, 2}, "[0, 2]"},       {0, {0}, "[]"}};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        char text[128];
        two[0].rank = weights[i].rank;
        memcpy(two[0].shape, weights[i].shape, sizeof weights[i].shape);
        snprintf(text, sizeof text,
                 "tensor \"layers.0.weight\": expected shape [1, 2], got %s",
                 weights[i].got);
        expect_tensors(two, 2, SOMA_E_SHAPE, text);
    }
    soma_tensor_out bias[] = {WEIGHT, BIAS};
    bias[1].shape[0] = 2;
    expect_tensors(bias, 2, SOMA_E_SHAPE,
                   "tensor \"layers.0.bias\": expected shape [1], got [2]");
    bias[1].rank = 2;
    bias[1].shape[0] = bias[1].shape[1] = 1;
    expect_tensors(bias, 2, SOMA_E_SHAPE,
                   "tensor \"layers.0.bias\": expected shape [1], got [1, 1]");
}

static void
test_tensor_values(void **state)
{
    (void)state;
    const float wrong[] = {1, NAN};
    soma_tensor_out two[] = {WEIGHT, BIAS};
    two[0].values = wrong;
    expect_tensors(two, 2, SOMA_E_NOT_FINITE,
                   "tensor \"layers.0.weight\": element 1 is not a finite "
                   "float32");
    two[0].values = values;
    two[1].values = wrong + 1;
    expect_tensors(two, 2, SOMA_E_NOT_FINITE,
                   "tensor \"layers.0.bias\": element 0 is not a finite "
                   "float32");
    two[1].values = values;
    two[1].dtype = SOMA_U8;
    expect_tensors(two, 2, SOMA_E_UNSUPPORTED,
                   "tensor \"layers.0.bias\": dtype U8; expected F32, F16, "
                   "BF16 or F64");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_and_guard),
        cmocka_unit_test(test_wrong_memory),
        cmocka_unit_test(test_tensors_missing_or_more),
        cmocka_unit_test(test_tensor_shapes),
        cmocka_unit_test(test_tensor_values),
    };
    return cmocka_run_group_tests_name("checkpoint tensors", tests, NULL, NULL);
}

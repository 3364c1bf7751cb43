/* The writer's bytes against those of the reference implementation. */
#include "core/io/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static soma_error err;
static soma_bytes bytes;

static void
expect_bytes(const soma_tensor_out *tensors, int count, const soma_meta *meta,
             int meta_count, const void *want, size_t size)
{
    err = (soma_error){0};
    soma_status status =
        soma_safetensors_build(tensors, count, meta, meta_count, &bytes, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(bytes.size, size);
    assert_memory_equal(bytes.data, want, size);
}

static const float six[] = {1, 2, 3, 4, 5, 6};
static const float pair[] = {0.5f, -2}, other_pair[] = {1, -2};
static const float one_and_half[] = {1.5f};
static const uint8_t octets[] = {7, 8, 255};
static char soma_key[] = "soma", soma_value[] = "{\"format\":1}";
static const soma_meta meta[] = {{soma_key, soma_value}};

/* Not in the order that they are written in. */
static const soma_tensor_out several[] = {
    {"z", SOMA_U8, 1, {3}, octets},       {"none", SOMA_F32, 2, {0, 4}, NULL},
    {"h", SOMA_F16, 1, {2}, pair},        {"c", SOMA_F32, 0, {0}, one_and_half},
    {"g", SOMA_BF16, 1, {2}, other_pair}, {"b", SOMA_F32, 2, {2, 3}, six},
};

/* What safetensors.serialize() of safetensors 0.8.0 (Python) made of the same
 * tensors and metadata. */
static const char several_bytes[] =
    "\200\1\0\0\0\0\0\0"
    "{\"__metadata__\":{\"soma\":\"{\\\"format\\\":1}\"},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"c\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[24,28]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[28,28]},"
    "\"g\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[28,32]},"
    "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[32,36]},"
    "\"z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[36,39]}}       "
    "\0\0\200\77\0\0\0\100\0\0\100\100\0\0\200\100\0\0\240\100\0\0\300\100"
    "\0\0\300\77"
    "\200\77\0\300"
    "\0\70\0\300"
    "\7\10\377";

static void
test_reference_bytes(void **state)
{
    (void)state;
    expect_bytes(several, 6, meta, 1, several_bytes, sizeof several_bytes - 1);
    soma_bytes_free(&bytes);
    static const char nothing[] = "\10\0\0\0\0\0\0\0{}      ";
    expect_bytes(NULL, 0, NULL, 0, nothing, sizeof nothing - 1);
    soma_bytes_free(&bytes);
    char key[] = "a", value[] = "b";
    static const char only_meta[] =
        "\40\0\0\0\0\0\0\0{\"__metadata__\":{\"a\":\"b\"}}      ";
    expect_bytes(NULL, 0, &(soma_meta){key, value}, 1, only_meta,
                 sizeof only_meta - 1);
    soma_bytes_free(&bytes);
}

static void
test_round_trip(void **state)
{
    (void)state;
    soma_safetensors st;
    expect_bytes(several, 6, meta, 1, several_bytes, sizeof several_bytes - 1);
    assert_int_equal(soma_safetensors_parse(&bytes, &st, &err), SOMA_OK);
    assert_int_equal(st.tensor_count, 6);
    for (int i = 0; i < 6; i++) {
        const soma_tensor_out *out = &several[i];
        const soma_tensor *in = soma_safetensors_find(&st, out->name);
        assert_non_null(in);
        assert_int_equal(in->rank, out->rank);
        for (int k = 0; k < in->rank; k++)
            assert_int_equal(in->shape[k], out->shape[k]);
        float values[6];
        if (out->dtype == SOMA_U8) {
            assert_memory_equal(in->data, out->values, in->elements);
            continue;
        }
        assert_int_equal(soma_tensor_floats(in, values, &err), SOMA_OK);
        if (in->elements)
            assert_memory_equal(values, out->values, in->elements * 4);
    }
    assert_string_equal(soma_safetensors_meta(&st, "soma"), soma_value);
    soma_safetensors_free(&st);
}

static void
expect_refused(soma_tensor_out tensor, const char *text)
{
    soma_tensor_out two[] = {{"a", SOMA_U8, 1, {3}, octets}, tensor};
    err = (soma_error){0};
    assert_int_equal(soma_safetensors_build(two, 2, NULL, 0, &bytes, &err),
                     SOMA_E_ARGUMENT);
    assert_null(bytes.data);
    if (!strstr(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
    assert_non_null(strstr(err.text, tensor.name));
}

static void
test_refused(void **state)
{
    (void)state;
    const float large[] = {65504, 65520}, huge[] = {0, -FLT_MAX};
    expect_refused((soma_tensor_out){"w", SOMA_F16, 1, {2}, large},
                   "element 1, 65520, is too large for F16");
    expect_refused((soma_tensor_out){"w", SOMA_BF16, 1, {2}, huge},
                   "is too large for BF16");
    expect_refused((soma_tensor_out){"a", SOMA_F32, 1, {1}, six},
                   "the name is taken");
    expect_refused((soma_tensor_out){"a", SOMA_U8, 1, {1}, octets},
                   "the name is taken");
    expect_refused((soma_tensor_out){"__metadata__", SOMA_F32, 1, {1}, six},
                   "the name is taken");
    expect_refused((soma_tensor_out){"w", SOMA_F32, 9, {1}, six},
                   "too many dimensions");
    expect_refused(
        (soma_tensor_out){"w", SOMA_F32, 2, {1ULL << 32, 1ULL << 32}, six},
        "overflows");
    expect_refused((soma_tensor_out){"w", SOMA_F32, 1, {1ULL << 62}, six},
                   "overflows");
    expect_refused((soma_tensor_out){"w", SOMA_U8, 1, {1ULL << 62}, six},
                   "overflows");
    expect_refused((soma_tensor_out){"w", SOMA_U8, 2, {0, UINT64_MAX}, six},
                   "overflows");
}

/* NaN and infinity are legal in the container. */
static void
test_not_finite(void **state)
{
    (void)state;
    const float values[] = {INFINITY, NAN};
    soma_tensor_out tensors[] = {{"a", SOMA_F16, 1, {2}, values},
                                 {"b", SOMA_BF16, 1, {2}, values},
                                 {"c", SOMA_F32, 1, {2}, values}};
    soma_safetensors st;
    assert_int_equal(soma_safetensors_build(tensors, 3, NULL, 0, &bytes, &err),
                     SOMA_OK);
    assert_int_equal(soma_safetensors_parse(&bytes, &st, &err), SOMA_OK);
    float read[2];
    assert_int_equal(soma_tensor_floats(&st.tensors[0], read, &err),
                     SOMA_E_NOT_FINITE);
    assert_memory_equal(soma_safetensors_find(&st, "a")->data, "\0\174", 2);
    soma_safetensors_free(&st);
}

/* Any pad length, and the reader takes each. */
static void
test_padding(void **state)
{
    (void)state;
    char name[32] = "";
    for (int length = 1; length < 20; length++) {
        strcat(name, "n");
        soma_tensor_out tensor = {name, SOMA_U8, 1, {3}, octets};
        soma_safetensors st;
        assert_int_equal(
            soma_safetensors_build(&tensor, 1, NULL, 0, &bytes, &err), SOMA_OK);
        assert_int_equal((bytes.size - 3) % 8, 0);
        assert_int_equal(bytes.data[0] + 8 + 3, bytes.size);
        assert_int_equal(soma_safetensors_parse(&bytes, &st, &err), SOMA_OK);
        assert_memory_equal(soma_safetensors_find(&st, name)->data, octets, 3);
        soma_safetensors_free(&st);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_bytes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests_name("safetensors_write", tests, NULL, NULL);
}

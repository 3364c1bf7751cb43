/* Every rule of the container, kept and broken. What is accepted and what is
 * refused was compared with version 0.8.0 of the reference implementation;
 * the cases where soma is stricter say so. */
#include "core/io/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static soma_safetensors st;
static soma_error err;

/* A header of `length` bytes, said to be `claimed`, and the data. */
static soma_bytes
make_raw(uint64_t claimed, const void *header, size_t length, const void *data,
         size_t size)
{
    uint64_t word = htole64(claimed);
    soma_bytes file = {malloc(8 + length + size + 1), 8 + length + size};
    assert_non_null(file.data);
    memcpy(file.data, &word, 8);
    memcpy(file.data + 8, header, length);
    memcpy(file.data + 8 + length, data, size);
    return file;
}

static soma_status
parse(const char *header, const void *data, size_t size)
{
    size_t length = strlen(header);
    soma_bytes file = make_raw(length, header, length, data, size);
    err = (soma_error){0};
    soma_status status = soma_safetensors_parse(&file, &st, &err);
    assert_null(file.data);
    assert_int_equal(err.status, status);
    return status;
}

static const char zeros[64];

static void
expect_parsed(const char *header, size_t size, int tensors)
{
    soma_status status = parse(header, zeros, size);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(st.tensor_count, tensors);
    soma_safetensors_free(&st);
}

static void
expect_refused(const char *header, size_t size, const char *text)
{
    assert_int_equal(parse(header, zeros, size), SOMA_E_FORMAT);
    if (!strstr(err.text, text))
        fail_msg("%s: expected \"%s\", got \"%s\"", header, text, err.text);
    assert_null(st.tensors);
    assert_null(st.file.data);
}

/* An entry "a" with these members, and its data. */
static void
expect_entry_refused(const char *members, size_t size, const char *text)
{
    char header[512];
    snprintf(header, sizeof header, "{\"a\":%s}", members);
    expect_refused(header, size, text);
    if (err.text[0] != 'h')
        assert_non_null(strstr(err.text, "tensor \"a\": "));
}

/* ---- Accepted ---- */

static void
test_members(void **state)
{
    (void)state;
    const char header[] =
        " \r\n\t{\"late\": {\"dtype\": \"U8\", \"shape\": [3], "
        "\"data_offsets\": [8, 11]},"
        "\"__metadata__\": {\"k\": \"v\", \"empty\": \"\"},"
        "\"\\u00e9\": {\"data_offsets\": [0, 8], \"shape\": [2, 1], "
        "\"dtype\": \"F32\", \"more\": [null]}} \t\r\n";
    assert_int_equal(parse(header, "\0\0\200\77\0\0\0\300abc", 11), SOMA_OK);
    assert_int_equal(st.tensor_count, 2);
    assert_string_equal(st.tensors[0].name, "\xc3\xa9");
    assert_string_equal(st.tensors[1].name, "late");
    const soma_tensor *tensor = soma_safetensors_find(&st, "\xc3\xa9");
    assert_ptr_equal(tensor, &st.tensors[0]);
    assert_string_equal(tensor->dtype, "F32");
    assert_int_equal(tensor->rank, 2);
    assert_int_equal(tensor->shape[0], 2);
    assert_int_equal(tensor->shape[1], 1);
    assert_int_equal(tensor->elements, 2);
    assert_int_equal(tensor->size, 8);
    float values[2];
    assert_int_equal(soma_tensor_floats(tensor, values, &err), SOMA_OK);
    assert_true(values[0] == 1.0f && values[1] == -2.0f);
    assert_memory_equal(st.tensors[1].data, "abc", 3);
    assert_null(soma_safetensors_find(&st, "a"));
    assert_string_equal(soma_safetensors_meta(&st, "k"), "v");
    assert_string_equal(soma_safetensors_meta(&st, "empty"), "");
    assert_null(soma_safetensors_meta(&st, "late"));
    soma_safetensors_free(&st);
    assert_null(soma_safetensors_find(&st, "late"));
}

static void
test_accepted(void **state)
{
    (void)state;
    expect_parsed("{}", 0, 0);
    expect_parsed("{\"__metadata__\":{}}", 0, 0);
    expect_parsed("{\"__metadata__\":null}", 0, 0);
    expect_parsed("{\"\":{\"dtype\":\"U8\",\"shape\":[1],"
                  "\"data_offsets\":[0,1]}}",
                  1, 1);
    /* rank 0 */
    expect_parsed("{\"a\":{\"dtype\":\"F64\",\"shape\":[],"
                  "\"data_offsets\":[0,8]}}",
                  8, 1);
    /* no elements; whatever the other dimensions are */
    expect_parsed("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807,"
                  "9223372036854775807],\"data_offsets\":[0,0]}}",
                  0, 1);
    /* two bytes of four 4-bit elements; three of four 6-bit ones */
    expect_parsed("{\"a\":{\"dtype\":\"F4\",\"shape\":[4],"
                  "\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"F6_E2M3\","
                  "\"shape\":[2,2],\"data_offsets\":[2,5]}}",
                  5, 2);
    expect_parsed("{\"a\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,1,1,1,1,1],"
                  "\"data_offsets\":[0,1]}}",
                  1, 1);
}

static void
test_empty_among_others(void **state)
{
    (void)state;
    const char header[] =
        "{\"c\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
        "\"z\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    static const char *const order[] = {"a", "b", "z", "c"};
    assert_int_equal(parse(header, zeros, 2), SOMA_OK);
    for (int i = 0; i < 4; i++)
        assert_string_equal(st.tensors[i].name, order[i]);
    soma_safetensors_free(&st);
}

static void
test_all_dtypes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int bits;
    } rows[] = {
        {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"BOOL", 8},
        {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
        {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
        {"U16", 16},    {"F16", 16},        {"BF16", 16},       {"I32", 32},
        {"U32", 32},    {"F32", 32},        {"C64", 64},        {"F64", 64},
        {"I64", 64},    {"U64", 64}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"%s\",\"shape\":[4],"
                 "\"data_offsets\":[0,%d]}}",
                 rows[i].name, rows[i].bits / 2);
        expect_parsed(header, (size_t)rows[i].bits / 2, 1);
    }
}

/* ---- Refused: the frame ---- */

static void
expect_raw_refused(soma_bytes file, const char *text)
{
    err = (soma_error){0};
    assert_int_equal(soma_safetensors_parse(&file, &st, &err), SOMA_E_FORMAT);
    if (!strstr(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
    assert_null(st.file.data);
    assert_null(file.data);
}

static void
test_frame(void **state)
{
    (void)state;
    for (size_t size = 0; size < 8; size++) { /* HeaderTooSmall */
        soma_bytes file = make_raw(2, "{}", 2, "", 0);
        file.size = size;
        expect_raw_refused(file, "too short");
    }
    expect_raw_refused((soma_bytes){NULL, 0}, "too short");
    /* HeaderTooLarge */
    expect_raw_refused(make_raw(100000001, "{}", 2, "", 0), "100000001 bytes");
    expect_raw_refused(make_raw(UINT64_MAX, "{}", 2, "", 0), "at most");
    /* InvalidHeaderLength */
    expect_raw_refused(make_raw(100000000, "{}", 2, "", 0), "beyond the end");
    expect_raw_refused(make_raw(3, "{}", 2, "", 0), "beyond the end");
}

static void
test_header_text(void **state)
{
    (void)state;
    /* InvalidHeader: not UTF-8 */
    expect_refused("{\"a\xff\":1}", 0, "decode");
    expect_refused("{\"a\xc0\x80\":1}", 0, "decode");
    expect_refused("\xef\xbb\xbf{}", 0, "not JSON");
    /* InvalidHeaderDeserialization */
    expect_refused("", 0, "not JSON");
    expect_refused("   ", 0, "not JSON");
    expect_refused("{", 0, "not JSON");
    expect_refused("{}x", 0, "not JSON");
    expect_refused("{'a':1}", 0, "not JSON");
    expect_refused("[]", 0, "expected a JSON object");
    expect_refused("1", 0, "not JSON");
    expect_raw_refused(make_raw(4, "{}\0\0", 4, "", 0), "not JSON");
    expect_raw_refused(make_raw(3, "\0{}", 3, "", 0), "not JSON");
    char *deep = malloc(100001);
    assert_non_null(deep);
    memset(deep, '[', 100000);
    memcpy(deep, "{\"a\":", 5);
    deep[100000] = '\0';
    assert_int_equal(parse(deep, "", 0), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "depth"));
    free(deep);
}

static void
test_header_stricter(void **state)
{
    (void)state;
#define ONE "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"
    expect_refused("{\"a\":" ONE ",\"a\":" ONE "}", 1, "duplicate");
    expect_refused("{\"a\":" ONE ",\"\\u0061\":" ONE "}", 1, "duplicate");
    expect_refused("{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0,
                   "duplicate");
    expect_refused("{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, "\\u0000");
    expect_refused("{\"a\\u0000b\":" ONE "}", 1, "header");
    assert_int_equal(parse("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,"
                           "1,1],\"data_offsets\":[0,1]}}",
                           zeros, 1),
                     SOMA_E_LIMIT);
    assert_non_null(strstr(err.text, "9 dimensions, at most 8"));
    assert_non_null(strstr(err.text, "\"a\""));
    assert_null(st.file.data);
}

static void
test_metadata(void **state)
{
    (void)state;
    expect_refused("{\"__metadata__\":[]}", 0, "expected an object");
    expect_refused("{\"__metadata__\":\"a\"}", 0, "expected an object");
    expect_refused("{\"__metadata__\":{\"k\":1}}", 0, "\"k\" is not a string");
    expect_refused("{\"__metadata__\":{\"a\":\"b\",\"k\":null}}", 0,
                   "\"k\" is not a string");
    expect_refused("{\"__metadata__\":{\"k\":{}}}", 0, "is not a string");
    expect_refused("{\"__metadata__\":{\"a\":\"\\ud800\"}}", 0, "not JSON");
}

/* ---- Refused: tensors ---- */

static void
test_entry_form(void **state)
{
    (void)state;
    expect_entry_refused("1", 0, "expected an object");
    expect_entry_refused("null", 0, "expected an object");
    expect_entry_refused("[]", 0, "expected an object");
    expect_entry_refused("{\"shape\":[1],\"data_offsets\":[0,1]}", 1, "dtype");
    expect_entry_refused("{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}",
                         1, "dtype: expected a string");
    static const char *const dtypes[] = {"F33", "f32", "", "F32 ", "F128"};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        char entry[100], text[64];
        snprintf(entry, sizeof entry,
                 "{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,4]}",
                 dtypes[i]);
        snprintf(text, sizeof text, "dtype: unknown \"%s\"", dtypes[i]);
        expect_entry_refused(entry, 4, text);
    }
    expect_entry_refused("{\"dtype\":\"U8\",\"data_offsets\":[0,1]}", 1,
                         "shape: expected an array");
    static const char *const shapes[] = {"1",      "null",  "{}",
                                         "[-1]",   "[1.0]", "[\"1\"]",
                                         "[true]", "[[1]]", "[1e0]"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char entry[100];
        snprintf(entry, sizeof entry,
                 "{\"dtype\":\"U8\",\"shape\":%s,\"data_offsets\":[0,1]}",
                 shapes[i]);
        expect_entry_refused(entry, 1, "shape: expected");
    }
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[1]}", 1,
                         "data_offsets: expected");
    static const char *const offsets[] = {"1",        "[1]",      "[0,1,1]",
                                          "[-1,0]",   "[0.0,1]",  "[0,\"1\"]",
                                          "[null,1]", "{\"0\":1}"};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        char entry[100];
        snprintf(entry, sizeof entry,
                 "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":%s}",
                 offsets[i]);
        expect_entry_refused(entry, 1, "data_offsets: expected two");
    }
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[18446744073709551616],"
                         "\"data_offsets\":[0,1]}",
                         1, "too big integer");
}

static void
test_sizes(void **state)
{
    (void)state;
    /* ValidationOverflow, of the elements and of their bits */
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],"
                         "\"data_offsets\":[0,0]}",
                         0, "its product overflows");
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[9223372036854775807,"
                         "9223372036854775807,0],\"data_offsets\":[0,0]}",
                         0, "its product overflows");
    expect_entry_refused("{\"dtype\":\"F64\",\"shape\":[4294967296,1073741824],"
                         "\"data_offsets\":[0,0]}",
                         0, "its size in bits overflows");
    /* 2^61 elements of 8 bits: 2^64 bits, so 0 if it went unnoticed */
    expect_entry_refused("{\"dtype\":\"U8\",\"shape\":[2305843009213693952],"
                         "\"data_offsets\":[0,0]}",
                         0, "its size in bits overflows");
    /* MisalignedSlice */
    expect_entry_refused("{\"dtype\":\"F4\",\"shape\":[3],"
                         "\"data_offsets\":[0,1]}",
                         1, "do not fill whole bytes");
    expect_entry_refused("{\"dtype\":\"F6_E3M2\",\"shape\":[2],"
                         "\"data_offsets\":[0,2]}",
                         2, "do not fill whole bytes");
    /* TensorInvalidInfo */
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[2],"
                         "\"data_offsets\":[0,7]}",
                         7, "span 7 bytes, shape and dtype need 8");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[0],"
                         "\"data_offsets\":[0,4]}",
                         4, "span 4 bytes, shape and dtype need 0");
    expect_entry_refused("{\"dtype\":\"F32\",\"shape\":[],"
                         "\"data_offsets\":[0,0]}",
                         0, "span 0 bytes, shape and dtype need 4");
}

static void
test_offsets(void **state)
{
    (void)state;
#define AT(begin, end, count)                                                  \
    "{\"dtype\":\"U8\",\"shape\":[" #count "],\"data_offsets\":[" #begin       \
    "," #end "]}"
    /* InvalidOffset */
    expect_entry_refused(AT(2, 1, 1), 2, "before their begin");
    expect_entry_refused(AT(1, 2, 1), 2, "a hole, begin at 1 where 0");
    expect_refused("{\"a\":" AT(0, 2, 2) ",\"b\":" AT(3, 4, 1) "}", 4,
                   "tensor \"b\": data_offsets: a hole, begin at 3 where 2");
    expect_refused("{\"a\":" AT(0, 2, 2) ",\"b\":" AT(1, 3, 2) "}", 3,
                   "tensor \"b\": data_offsets: an overlap, begin at 1");
    expect_refused("{\"a\":" AT(0, 2, 2) ",\"b\":" AT(0, 2, 2) "}", 2,
                   "an overlap");
    expect_refused("{\"a\":" AT(0, 4, 4) ",\"b\":" AT(1, 1, 0) "}", 4,
                   "an overlap");
    /* MetadataIncompleteBuffer */
    expect_entry_refused(AT(0, 2, 2), 1, "beyond the 1 bytes");
    expect_entry_refused(AT(9223372036854775806, 9223372036854775807, 1), 1,
                         "beyond the 1 bytes");
    expect_entry_refused(AT(9223372036854775807, 9223372036854775807, 0), 0,
                         "beyond the 0 bytes");
    expect_refused("{\"a\":" AT(0, 2, 2) "}", 3,
                   "1 bytes behind the last tensor");
    expect_refused("{}", 1, "1 bytes behind the last tensor");
}

/* A name cannot disturb the message it stands in. */
static void
test_names_in_messages(void **state)
{
    (void)state;
    expect_refused("{\"\\u001b[31m\\n\":1}", 0, "tensor \"?[31m?\": expected");
    char header[400] = "{\"";
    for (int i = 0; i < 80; i++)
        strcat(header, "\xc3\xa9");
    strcat(header, "\":1}");
    expect_refused(header, 0, "\xc3\xa9...\": expected");
    assert_true(strlen(err.text) < 140);
}

/* ---- Values ---- */

static soma_status
floats(const char *dtype, int size, const void *data, float *value)
{
    char header[128];
    snprintf(header, sizeof header,
             "{\"pad\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
             "\"w\":{\"dtype\":\"%s\",\"shape\":[2],\"data_offsets\":[1,%d]}}",
             dtype, 1 + 2 * size);
    /* 1.0's place is left 0, so that the value is element 1 and unaligned. */
    char bytes[32] = {0};
    memcpy(bytes + 1 + size, data, (size_t)size);
    assert_int_equal(parse(header, bytes, 1 + 2 * (size_t)size), SOMA_OK);
    float values[2] = {-1, -1};
    soma_status status =
        soma_tensor_floats(soma_safetensors_find(&st, "w"), values, &err);
    *value = values[1];
    soma_safetensors_free(&st);
    return status;
}

static void
test_floats(void **state)
{
    (void)state;
    float value;
    assert_int_equal(floats("F32", 4, "\0\0\300\277", &value), SOMA_OK);
    assert_true(value == -1.5f);
    assert_int_equal(floats("F32", 4, "\1\0\0\0", &value), SOMA_OK);
    assert_true(value == 0x1p-149f);
    assert_int_equal(floats("F16", 2, "\0\276", &value), SOMA_OK);
    assert_true(value == -1.5f);
    assert_int_equal(floats("BF16", 2, "\300\277", &value), SOMA_OK);
    assert_true(value == -1.5f);
    assert_int_equal(floats("F64", 8, "\0\0\0\0\0\0\370\277", &value), SOMA_OK);
    assert_true(value == -1.5f);
}

static void
test_floats_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        int size;
        const char *data;
    } rows[] = {{"F32", 4, "\0\0\200\177"},
                {"F32", 4, "\0\0\200\377"},
                {"F32", 4, "\1\0\200\177"},
                {"F16", 2, "\0\174"},
                {"F16", 2, "\1\374"},
                {"BF16", 2, "\200\177"},
                {"BF16", 2, "\377\377"},
                {"F64", 8, "\0\0\0\0\0\0\360\177"},
                {"F64", 8, "\0\0\0\0\0\0\370\177"},
                {"F64", 8, "\0\0\0\0\0\0\360\107"} /* 2^128 */};
    float value;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(
            floats(rows[i].dtype, rows[i].size, rows[i].data, &value),
            SOMA_E_NOT_FINITE);
        assert_string_equal(err.text,
                            "tensor \"w\": element 1 is not a finite float32");
    }
    assert_int_equal(floats("I32", 4, zeros, &value), SOMA_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "tensor \"w\": dtype I32"));
    assert_int_equal(floats("U8", 1, zeros, &value), SOMA_E_UNSUPPORTED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_empty_among_others),
        cmocka_unit_test(test_all_dtypes),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_header_text),
        cmocka_unit_test(test_header_stricter),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_entry_form),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_names_in_messages),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_floats_refused),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}

/* server/web/decimal.c: every float32 reads back. */
#include "server/web/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
written(float value)
{
    static char text[SOMA_DECIMAL_ROOM + 1];
    size_t length = soma_decimal_write(value, text);
    assert_true(length <= SOMA_DECIMAL_ROOM);
    text[length] = '\0';
    return text;
}

static void
looks_as_people_write_it(void **state)
{
    (void)state;
    assert_string_equal(written(0), "0");
    assert_string_equal(written(-0.0f), "-0");
    assert_string_equal(written(1), "1");
    assert_string_equal(written(0.1f), "0.1");
    assert_string_equal(written(-2.5f), "-2.5");
    assert_string_equal(written(16777216), "16777216");
    assert_string_equal(written(999999.6f), "999999.6");
    assert_string_equal(written(0.99999994f), "0.99999994");
    assert_string_equal(written(1e-5f), "0.00001");
    assert_string_equal(written(1e-6f), "1e-06");
    assert_string_equal(written(3.4028235e38f), "3.4028235e+38");
}

/* All exponents, and about one in 4,001 of all fractions. */
static void
reads_back(void **state)
{
    (void)state;
    int tried = 0;
    for (uint64_t pattern = 0; pattern < 0x7f800000u; pattern += 4001) {
        uint32_t bits = (uint32_t)pattern;
        float value;
        memcpy(&value, &bits, sizeof value);
        const char *text = written(value);
        if (strtof(text, NULL) != value || (float)strtod(text, NULL) != value)
            fail_msg("%a became %s", (double)value, text);
        tried++;
    }
    assert_true(tried > 500000);
}

/* As few digits as printf needs, from 6 on. */
static void
is_short(void **state)
{
    (void)state;
    for (uint64_t pattern = 0x30000000u; pattern < 0x3f800000u;
         pattern += 400009) {
        uint32_t bits = (uint32_t)pattern;
        float value;
        char expected[40];
        memcpy(&value, &bits, sizeof value);
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(expected, sizeof expected, "%.*g", digits, (double)value);
            if (strtof(expected, NULL) == value)
                break;
        }
        const char *text = written(value);
        if (strlen(text) > strlen(expected) + 1)
            fail_msg("%s is longer than %s", text, expected);
    }
}

static void
is_json(void **state)
{
    static const float values[] = {0,     -0.0f,  1e-45f, 1e-38f, 1e-7f,
                                   0.25f, 123.5f, 1e9f,   1e10f,  3e38f};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *json = json_loads(written(values[i]), JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_true((float)json_number_value(json) == values[i]);
        json_decref(json);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_as_people_write_it),
        cmocka_unit_test(reads_back),
        cmocka_unit_test(is_short),
        cmocka_unit_test(is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

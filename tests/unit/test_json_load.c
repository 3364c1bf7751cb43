/* Texts with tokens of all lengths: soma_json_load has what json_loadb has. */
#include "core/io/json_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
expect_same(const char *text)
{
    json_error_t error, expected;
    size_t size = strlen(text);
    json_t *json = soma_json_load(text, size, JSON_REJECT_DUPLICATES, &error);
    json_t *wanted = json_loadb(text, size, JSON_REJECT_DUPLICATES, &expected);
    if (!json != !wanted || (wanted && !json_equal(json, wanted)))
        fail_msg("%s: %s, expected %s", text, json ? "JSON" : error.text,
                 wanted ? "JSON" : expected.text);
    assert_false(soma_json_memory_short());
    if (!wanted)
        assert_int_equal(error.line, expected.line);
    json_decref(json);
    json_decref(wanted);
}

/* Each length that a buffer has when it grows is among them. */
static void
test_lengths(void **state)
{
    static const struct {
        const char *before, *after;
    } forms[] = {
        {"[", "]"},         {"[1.", "e-5, 2]"}, {"{\"a\": -", "}"},
        {"[\"", "\\n\"]"},  {"[\"", "\n\"]"},   {"{\"", "\": [[1]]}"},
        {"", ""},           {"[x", "]"},        {"[1] [", "]"},
        {"[", "], [1]"},    {"[", ", ]"},       {"[", ""},
        {"\n\n[1, ", "\""}, {"[\"\\", "\"]"},   {"[\"\\\"", ""},
        {"", ", []"},       {"[", "]]"},        {"[", "e+]"},
        {"[0", "]"},        {"{\"", "\"}"},
    };
    char digits[300], text[400];
    (void)state;
    memset(digits, '7', sizeof digits);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (int n = 0; n < (int)sizeof digits; n++) {
            snprintf(text, sizeof text, "%s%.*s%s", forms[i].before, n, digits,
                     forms[i].after);
            expect_same(text);
        }
}

static void
test_places(void **state)
{
    json_error_t error;
    static const char first[] = "[1234567890123456, x]";
    static const char second[] = "[1234567890123456,\n x]";
    (void)state;
    assert_null(soma_json_load(first, sizeof first - 1, 0, &error));
    assert_int_equal(error.line, 1);
    assert_int_equal(error.column, 20);
    assert_null(soma_json_load(second, sizeof second - 1, 0, &error));
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 2);
}

/* Beyond what is there to be lent. */
static void
test_endless(void **state)
{
    static const int lengths[] = {1021, 1022, 1023, 2045, 2048, 5000};
    char digits[5001], text[3 * sizeof digits];
    (void)state;
    memset(digits, '7', sizeof digits);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int n = lengths[i];
        snprintf(text, sizeof text, "[\"%.*s\\\"\",\n0.%.*s]", n, digits, n,
                 digits);
        expect_same(text);
        snprintf(text, sizeof text, "[\"\",\n t%.*s]", n, digits);
        expect_same(text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

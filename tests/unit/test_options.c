/* server/options.c: where a value comes from, and what is said of a wrong
 * one. */
#include "server/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

typedef struct fields {
    const char *text, *none;
    long whole;
    double number;
    bool on, off;
} fields;

#define AT(field) offsetof(fields, field)

static const soma_option options[] = {
    {"test-text", "WORD", SOMA_OPTION_TEXT, "word", 0, 0, AT(text), "A word."},
    {"test-none", "WORD", SOMA_OPTION_TEXT, NULL, 0, 0, AT(none), "Another."},
    {"test-whole", "N", SOMA_OPTION_WHOLE, "7", 1, 10, AT(whole), "A count."},
    {"test-number", "X", SOMA_OPTION_NUMBER, "0.5", 0, 1, AT(number),
     "A share."},
    {"test-on", NULL, SOMA_OPTION_SWITCH, "true", 0, 0, AT(on), "On."},
    {"test-off", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(off), "Off."},
    {.name = NULL}};

static const soma_command command = {
    "test", "FILE [options]", "Tests.", options, 1, 2};

static soma_status
parse(const char *const *argv, fields *f, const char **arguments,
      soma_error *err)
{
    int argc = 0;
    bool help;
    while (argv[argc])
        argc++;
    return soma_options_parse(&command, argc, (char **)(uintptr_t)argv, f,
                              arguments, &help, err);
}

static fields
parsed(const char *const *argv, const char **arguments)
{
    fields f;
    soma_error err;
    if (parse(argv, &f, arguments, &err))
        fail_msg("%s", err.text);
    return f;
}

static void
defaults_hold(void **state)
{
    const char *arguments[2];
    (void)state;
    fields f = parsed((const char *[]){"file", NULL}, arguments);
    assert_string_equal(f.text, "word");
    assert_null(f.none);
    assert_int_equal(f.whole, 7);
    assert_true(f.number == 0.5);
    assert_true(f.on);
    assert_false(f.off);
    assert_string_equal(arguments[0], "file");
    assert_null(arguments[1]);
}

static void
flags_come_before_the_environment(void **state)
{
    const char *arguments[2];
    (void)state;
    setenv("SOMA_TEST_WHOLE", "3", 1);
    setenv("SOMA_TEST_ON", "off", 1);
    setenv("SOMA_TEST_NONE", "there", 1);
    fields f = parsed((const char *[]){"--test-number=0.25", "a", "--test-off",
                                       "--test-text", "b", NULL},
                      arguments);
    assert_int_equal(f.whole, 3);
    assert_false(f.on);
    assert_true(f.off);
    assert_string_equal(f.none, "there");
    assert_string_equal(f.text, "b");
    assert_true(f.number == 0.25);
    f = parsed((const char *[]){"a", "--test-whole", "9", "--test-on", NULL},
               arguments);
    assert_int_equal(f.whole, 9);
    assert_true(f.on);
    unsetenv("SOMA_TEST_WHOLE");
    unsetenv("SOMA_TEST_ON");
    unsetenv("SOMA_TEST_NONE");
}

static void
two_dashes_end_the_flags(void **state)
{
    const char *arguments[2];
    (void)state;
    parsed((const char *[]){"--", "--file", "-", NULL}, arguments);
    assert_string_equal(arguments[0], "--file");
    assert_string_equal(arguments[1], "-");
}

static void
refuses(const char *const *argv, const char *text)
{
    const char *arguments[2];
    fields f;
    soma_error err;
    assert_int_equal(parse(argv, &f, arguments, &err), SOMA_E_ARGUMENT);
    assert_string_equal(err.text, text);
}

#define REFUSES(text, ...) refuses((const char *[]){__VA_ARGS__, NULL}, text)

static void
wrong_values_say_which_and_what_is_allowed(void **state)
{
    (void)state;
    REFUSES("--test-whole: expected a whole number, 1 to 10, got \"x\"", "f",
            "--test-whole", "x");
    REFUSES("--test-whole: expected a whole number, 1 to 10, got \"11\"", "f",
            "--test-whole=11");
    REFUSES("--test-whole: expected a whole number, 1 to 10, got \"2.5\"", "f",
            "--test-whole=2.5");
    REFUSES("--test-whole: expected a whole number, 1 to 10, got "
            "\"99999999999999999999\"",
            "f", "--test-whole=99999999999999999999");
    REFUSES("--test-number: expected a number, 0 to 1, got \"nan\"", "f",
            "--test-number", "nan");
    REFUSES("--test-number: expected a number, 0 to 1, got \"\"", "f",
            "--test-number=");
    REFUSES("--test-on: expected true or false, got \"maybe\"", "f",
            "--test-on=maybe");
    REFUSES("--test-text needs a value: WORD", "f", "--test-text");
    REFUSES("soma test has no option --speed; see soma test --help", "f",
            "--speed");
    REFUSES("soma test has no option -x; see soma test --help", "f", "-x");
    REFUSES("unexpected argument \"c\"; usage: soma test FILE [options]", "a",
            "b", "c");
    refuses((const char *[]){NULL},
            "an argument is missing; usage: soma test FILE [options]");
    setenv("SOMA_TEST_WHOLE", "0", 1);
    REFUSES("SOMA_TEST_WHOLE: expected a whole number, 1 to 10, got \"0\"",
            "f");
    unsetenv("SOMA_TEST_WHOLE");
}

static void
help_shows_every_option(void **state)
{
    char *text = NULL;
    size_t size;
    (void)state;
    FILE *to = open_memstream(&text, &size);
    soma_options_help(&command, to);
    fclose(to);
    assert_non_null(strstr(text, "usage: soma test FILE [options]\n"));
    for (const soma_option *o = options; o->name; o++) {
        char flag[64];
        snprintf(flag, sizeof flag, "\n  --%s", o->name);
        assert_non_null(strstr(text, flag));
        assert_non_null(strstr(text, o->help));
    }
    assert_non_null(strstr(text, "--test-whole N  (default: 7)"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold),
        cmocka_unit_test(flags_come_before_the_environment),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(wrong_values_say_which_and_what_is_allowed),
        cmocka_unit_test(help_shows_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

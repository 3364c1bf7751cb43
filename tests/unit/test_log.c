/* server/engine/log.c: whatever a field holds, a line is one JSON object. */
#include "server/engine/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the call wrote to stderr, parsed; it must be one line. */
static json_t *
logged(soma_log_level level, const char *name, const char *value)
{
    char line[4096];
    int ends[2], err = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    soma_log(level, "test", "version", "12", name, value, "model", "7", NULL);
    dup2(err, STDERR_FILENO);
    close(err);
    close(ends[1]);
    ssize_t size = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    if (size <= 0)
        return NULL;
    line[size] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
    json_error_t at;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, &at);
    if (!json)
        fail_msg("%s: %s", at.text, line);
    assert_string_equal(json_string_value(json_object_get(json, "event")),
                        "test");
    return json;
}

static void
expect(const char *value, const char *wanted)
{
    json_t *json = logged(SOMA_LOG_INFO, "text", value);
    assert_string_equal(json_string_value(json_object_get(json, "text")),
                        wanted);
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 12);
    assert_string_equal(json_string_value(json_object_get(json, "model")), "7");
    json_decref(json);
}

static void
texts_come_back(void **state)
{
    (void)state;
    soma_log_setup(SOMA_LOG_INFO, true);
    expect("plain", "plain");
    expect("", "");
    expect("42", "42");
    expect("a\"b\\c\n\t\x01", "a\"b\\c\n\t\x01");
    expect("caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80");
    expect("caf\xe9", "caf\xef\xbf\xbd");
    expect("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect("cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd");
}

static void
long_texts_are_cut(void **state)
{
    char text[6000];
    (void)state;
    soma_log_setup(SOMA_LOG_INFO, true);
    for (size_t shift = 0; shift < 6; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t i = shift; i + 1 < sizeof text; i += 6)
            text[i] = '"';
        text[sizeof text - 1] = '\0';
        json_t *json = logged(SOMA_LOG_INFO, "text", text);
        const char *got = json_string_value(json_object_get(json, "text"));
        assert_true(strlen(got) > 1000);
        assert_int_equal(strncmp(got, text, strlen(got)), 0);
        json_decref(json);
    }
}

static void
levels_are_kept(void **state)
{
    (void)state;
    soma_log_setup(SOMA_LOG_WARNING, true);
    assert_null(logged(SOMA_LOG_INFO, "text", "x"));
    json_t *json = logged(SOMA_LOG_ERROR, "text", "x");
    assert_string_equal(json_string_value(json_object_get(json, "level")),
                        "error");
    assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))),
                     24);
    json_decref(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(levels_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

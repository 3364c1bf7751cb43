/* Errors: what ends up in the text, whatever is asked of it. */
#include "core/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void
test_set(void **state)
{
    (void)state;
    soma_error err;
    memset(&err, 'x', sizeof err);
    assert_int_equal(
        soma_error_set(&err, SOMA_E_SHAPE, "%s: %d values", "row", 7),
        SOMA_E_SHAPE);
    assert_int_equal(err.status, SOMA_E_SHAPE);
    assert_string_equal(err.text, "row: 7 values");
    assert_int_equal(soma_error_set(NULL, SOMA_E_BUSY, "%d", 1), SOMA_E_BUSY);
}

static void
test_long_text_is_cut(void **state)
{
    (void)state;
    struct {
        soma_error err;
        char after[8];
    } guarded = {.after = "guard"};
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    soma_error_set(&guarded.err, SOMA_E_IO, "%s", text);
    assert_int_equal(strlen(guarded.err.text), sizeof guarded.err.text - 1);
    assert_string_equal(guarded.after, "guard");
}

static void
test_prefix(void **state)
{
    (void)state;
    soma_error err;
    soma_error_set(&err, SOMA_E_LIMIT, "too large");
    soma_error_prefix(&err, "layer %d", 3);
    assert_string_equal(err.text, "layer 3: too large");
    soma_error_prefix(&err, "%s", "a.safetensors");
    assert_string_equal(err.text, "a.safetensors: layer 3: too large");
    assert_int_equal(err.status, SOMA_E_LIMIT);
    soma_error_prefix(NULL, "%s", "nothing to write to");
}

/* Of a long prefix and a long text, something of both stays. */
static void
test_long_prefix_is_cut(void **state)
{
    (void)state;
    struct {
        soma_error err;
        char after[8];
    } guarded = {.after = "guard"};
    char prefix[1000], text[1000];
    memset(prefix, 'p', sizeof prefix - 1);
    memset(text, 't', sizeof text - 1);
    prefix[sizeof prefix - 1] = text[sizeof text - 1] = 0;
    soma_error_set(&guarded.err, SOMA_E_IO, "%s", text);
    soma_error_prefix(&guarded.err, "%s", prefix);
    size_t room = sizeof guarded.err.text;
    assert_int_equal(strlen(guarded.err.text), room - 1);
    assert_int_equal(strspn(guarded.err.text, "p"), room / 2 - 1);
    assert_memory_equal(guarded.err.text + room / 2 - 1, ": ttt", 5);
    assert_string_equal(guarded.after, "guard");
}

static void
test_memory(void **state)
{
    (void)state;
    soma_error err;
    assert_int_equal(soma_error_memory(&err, "a batch"), SOMA_E_MEMORY);
    assert_string_equal(err.text, "no memory for a batch");
}

static void
test_errno(void **state)
{
    (void)state;
    const struct {
        int number;
        soma_status status;
        const char *text;
    } cases[] = {
        {ENOENT, SOMA_E_NOT_FOUND, "read f: No such file or directory"},
        {ENOTDIR, SOMA_E_NOT_FOUND, "read f: Not a directory"},
        {ENOSPC, SOMA_E_NO_SPACE, "read f: No space left on device"},
        {EDQUOT, SOMA_E_NO_SPACE, "read f: Disk quota exceeded"},
        {ENOMEM, SOMA_E_MEMORY, "read f: Cannot allocate memory"},
        {EACCES, SOMA_E_IO, "read f: Permission denied"},
        {EIO, SOMA_E_IO, "read f: Input/output error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        soma_error err;
        errno = cases[i].number;
        assert_int_equal(soma_error_errno(&err, "read", "f"), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        assert_string_equal(err.text, cases[i].text);
        errno = cases[i].number;
        assert_int_equal(soma_error_errno(NULL, "read", "f"), cases[i].status);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_long_prefix_is_cut),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

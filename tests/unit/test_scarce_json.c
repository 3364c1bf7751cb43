/* JSON while memory is short (exhaust.h): what comes out is whole, or nothing
 * does. */
#include "core/io/json.h"
#include "server/web/document.h"
#include "tests/unit/exhaust.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct text {
    const char *data;
    size_t size;
} text;

static uint32_t
sum_of(const json_t *json)
{
    char *dumped = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_non_null(dumped);
    uint32_t sum = exhaust_sum(0, dumped, strlen(dumped));
    free(dumped);
    return sum;
}

static soma_status
parse(const void *about, uint32_t *sum, soma_error *err)
{
    const text *t = about;
    json_t *object;
    soma_status status =
        soma_json_parse(t->data, t->size, "a text", &object, err);
    scarce_stop();
    if (status)
        assert_null(object);
    else
        *sum = sum_of(object);
    json_decref(object);
    return status;
}

/* The room of a token doubles from 16: whatever letter it is for which there is
 * no more of it, a quote, a digit or the letter behind a number. */
static void
tokens_of_all_lengths(void **state)
{
    static const struct {
        const char *head, *middle, *tail;
        bool number;
    } forms[] = {
        {"{\"", "\": \"", "\", \"y\": [true, null]}", false},
        {"{\"x", "\": 0.", ", \"y\": \"a \\u00e9\\n\"}", true},
        {"{\"x", "\": [{\"y\": 1", "e2}, \"\\ud83d\\ude00\"]}", true},
        {"{\"x", "\": not", "}", false},
    };
    static char letters[300], digits[300];
    int tokens = 0;
    (void)state;
    memset(letters, 'a', sizeof letters);
    memset(digits, '3', sizeof digits);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (int length = 1; length < 280; length += length < 70 ? 1 : 13) {
            char data[700];
            int size =
                snprintf(data, sizeof data, "%s%.*s%s%.*s%s", forms[f].head,
                         length / 2, letters, forms[f].middle, length,
                         forms[f].number ? digits : letters, forms[f].tail);
            text t = {data, (size_t)size};
            tokens += exhaust(data, parse, &t) > 3;
        }
    assert_int_equal(tokens, 4 * 86);
}

static void
endless_tokens(void **state)
{
    static const char *const heads[] = {"{\"x\": 0.", "{\"y\": 1, \"x\": t"};
    static char digits[5000], data[5100];
    (void)state;
    memset(digits, '3', sizeof digits);
    for (size_t f = 0; f < sizeof heads / sizeof *heads; f++)
        for (int length = 1015; length < 5000; length += 331) {
            int size = snprintf(data, sizeof data, "%s%.*s}", heads[f], length,
                                digits);
            text t = {data, (size_t)size};
            assert_true(exhaust(data, parse, &t) > 3);
        }
}

static soma_status
parse_document(const void *about, uint32_t *sum, soma_error *err)
{
    const text *t = about;
    soma_floats floats = soma_floats_lent(NULL, 0, 1000);
    soma_document document;
    soma_status status =
        soma_document_parse(t->data, t->size, &floats, &document, err);
    scarce_stop();
    if (!status) {
        *sum = sum_of(document.json);
        *sum = exhaust_sum(*sum, floats.data, floats.used * sizeof(float));
        soma_document_free(&document);
    }
    soma_floats_free(&floats);
    return status;
}

static void
documents(void **state)
{
    static const char *const texts[] = {
        "{\"pixels\": [0, 1, 2.5], \"label\": \"Ankle boot\"}",
        "{\"instances\": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], \"top_k\": 3}",
        "{\"id\": \"0123456789abcdef0123456789abcdef\", \"rate\": 0.125}",
        "{\"inputs\": [{\"shape\": [1, 2], \"data\": [1e3, -0.25]}]}",
        "{\"version\": 1234567890123456}",
        "{\"pixels\": [[1, 2], [3]]}",
        "{\"pixels\": [1, 2}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        text t = {texts[i], strlen(texts[i])};
        assert_true(exhaust(texts[i], parse_document, &t) > 0);
    }
}

int
main(void)
{
    scarce_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_all_lengths),
        cmocka_unit_test(endless_tokens),
        cmocka_unit_test(documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

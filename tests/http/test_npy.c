/* NumPy arrays as bodies: answered as the same numbers in JSON are. */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server s;

static int
set_up(void **state)
{
    static const char *const arguments[] = {"--default-model", "mnist", NULL};
    (void)state;
    start_server(&s, arguments);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return stop_server(&s);
}

/* `count` images in this shape, as <f4, or as |u1 if `bytes`. */
static answer
send_npy(const char *path, const char *shape, int count, bool bytes)
{
    static unsigned char body[64 + 128 + 4 * 4 * PIXELS];
    const unsigned char *images = fashion_images();
    size_t values = (size_t)count * PIXELS;
    char header[128];
    int length =
        snprintf(header, sizeof header,
                 "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                 bytes ? "|u1" : "<f4", shape);
    memcpy(body, "\x93NUMPY\x01\x00", 8);
    body[8] = (unsigned char)length;
    body[9] = 0;
    memcpy(body + 10, header, (size_t)length);
    unsigned char *to = body + 10 + length;
    for (size_t i = 0; i < values; i++) {
        float value = images[i];
        if (bytes)
            to[i] = images[i];
        else
            memcpy(to + i * sizeof value, &value, sizeof value);
    }
    size_t size = 10 + (size_t)length + values * (bytes ? 1 : sizeof(float));
    return ask(&s, NULL, path, "application/x-npy", body, size);
}

static void
arrays_are_answered_as_json(void **state)
{
    static const struct {
        const char *shape;
        int count;
        bool bytes;
    } cases[] = {{"(784,)", 1, false},
                 {"(28, 28)", 1, true},
                 {"(1, 784)", 1, true},
                 {"(3, 28, 28)", 3, false},
                 {"(3, 784)", 3, true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool list = cases[i].shape[1] == '1' || cases[i].count > 1;
        json_t *pixels = json_array();
        for (int k = 0; k < cases[i].count; k++)
            json_array_append_new(
                pixels, pixels_of(fashion_images() + k * PIXELS, PIXELS));
        if (!list) {
            json_t *first = json_incref(json_array_get(pixels, 0));
            json_decref(pixels);
            pixels = first;
        }
        answer want = post_json(&s, "/models/fashion/predict",
                                json_pack("{s:o}", "pixels", pixels));
        answer got = send_npy("/models/fashion/predict", cases[i].shape,
                              cases[i].count, cases[i].bytes);
        assert_int_equal(want.status, 200);
        if (got.status != 200 || !json_equal(got.json, want.json))
            fail_msg("%s: %s", cases[i].shape, got.body);
        free_answer(&want);
        free_answer(&got);
    }
}

static void
arrays_are_taught(void **state)
{
    (void)state;
    answer a = send_npy("/models/fashion/train?label=9", "(28, 28)", 1, true);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(json_object_get(a.json, "predicted"), "label"),
                     9);
    free_answer(&a);
    expect_error(send_npy("/models/fashion/train", "(28, 28)", 1, true), 400,
                 "no_label", "?label=");
}

static void
other_arrays_are_refused(void **state)
{
    (void)state;
    expect_error(send_npy("/predict", "(28, 28, 2)", 2, true), 400,
                 "wrong_shape", "the array: expected 784 numbers");
    expect_error(send_npy("/predict", "(0, 784)", 0, true), 400, "wrong_shape",
                 "no example in it");
    expect_error(send_npy("/predict", "(784,)", 2, true), 400, "malformed_npy",
                 "1568 bytes of elements");
    expect_error(ask(&s, NULL, "/predict", "application/x-npy", "", 0), 400,
                 "malformed_npy", "not a .npy array");
    expect_error(ask(&s, NULL, "/predict", "application/x-npy", "[1, 2]", 6),
                 400, "malformed_npy", "not a .npy array");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_answered_as_json),
        cmocka_unit_test(arrays_are_taught),
        cmocka_unit_test(other_arrays_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* POST /predict: every right way to ask. */
#include "tests/http/server.h"

#include <math.h>
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

/* The answer to image i of Fashion-MNIST, flat, with the model in the path. */
static json_t *
prediction_of(int i)
{
    answer a =
        post_json(&s, "/models/fashion/predict",
                  json_pack("{s:o}", "pixels",
                            pixels_of(fashion_images() + i * PIXELS, PIXELS)));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "application/json");
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static void
expect_same(answer a, const json_t *expected)
{
    assert_int_equal(a.status, 200);
    if (!json_equal(a.json, expected))
        fail_msg("got %s", a.body);
    free_answer(&a);
}

static void
answers_with_class_and_probabilities(void **state)
{
    (void)state;
    json_t *json = prediction_of(0);
    const json_t *probabilities = json_object_get(json, "probabilities");
    double sum = 0, best = 0;
    assert_string_equal(text_of(json, "model"), "fashion");
    assert_int_equal(whole_of(json, "label"), 9);
    assert_string_equal(text_of(json, "class"), "Ankle boot");
    assert_true(whole_of(json, "version") >= 0);
    assert_int_equal(json_array_size(probabilities), 10);
    for (size_t i = 0; i < 10; i++) {
        double p = json_number_value(json_array_get(probabilities, i));
        assert_true(p >= 0 && p <= 1);
        sum += p;
        best = p > best ? p : best;
    }
    assert_true(fabs(sum - 1) < 1e-5);
    assert_true(best == json_number_value(json_array_get(probabilities, 9)));
    json_decref(json);
}

static json_t *
nested(const unsigned char *image)
{
    json_t *rows = json_array();
    for (int y = 0; y < 28; y++)
        json_array_append_new(rows, pixels_of(image + y * 28, 28));
    return rows;
}

static void
takes_any_nesting_and_place_of_the_model(void **state)
{
    (void)state;
    const unsigned char *image = fashion_images() + 7 * PIXELS;
    json_t *expected = prediction_of(7);
    expect_same(post_json(&s, "/models/fashion/predict",
                          json_pack("{s:o}", "pixels", nested(image))),
                expected);
    expect_same(post_json(&s, "/predict",
                          json_pack("{s:o, s:s}", "pixels", nested(image),
                                    "model", "fashion")),
                expected);
    expect_same(
        post_json(&s, "/predict",
                  json_pack("{s:s, s:[i, i], s:o, s:{s:[f]}}", "model",
                            "fashion", "ignored", 1, 2, "pixels",
                            pixels_of(image, PIXELS), "also", "x", 1.5)),
        expected);
    expect_same(ask(&s, NULL, "/models/fashion/predict",
                    "application/octet-stream", image, PIXELS),
                expected);
    json_decref(expected);
}

static void
takes_lists(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    json_t *flat = json_array(), *deep = json_array();
    for (int i = 0; i < COUNT; i++) {
        const unsigned char *image = fashion_images() + i * PIXELS;
        json_array_append_new(flat, pixels_of(image, PIXELS));
        json_array_append_new(deep, nested(image));
    }
    answer lists[3] = {post_json(&s, "/models/fashion/predict",
                                 json_pack("{s:o}", "pixels", flat)),
                       post_json(&s, "/models/fashion/predict",
                                 json_pack("{s:o}", "pixels", deep)),
                       ask(&s, NULL, "/models/fashion/predict",
                           "application/octet-stream", fashion_images(),
                           COUNT * PIXELS)};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(lists[k].status, 200);
        const json_t *list = json_object_get(lists[k].json, "predictions");
        assert_int_equal(json_array_size(list), COUNT);
        for (int i = 0; i < COUNT; i++) {
            json_t *alone = prediction_of(i);
            json_object_del(alone, "model");
            json_object_del(alone, "version");
            if (!json_equal(alone, json_array_get(list, (size_t)i)))
                fail_msg("image %d is another one in a list", i);
            json_decref(alone);
        }
        free_answer(&lists[k]);
    }
}

static void
a_list_of_one_is_a_list(void **state)
{
    (void)state;
    answer a = post_json(
        &s, "/models/fashion/predict",
        json_pack("{s:[o]}", "pixels", pixels_of(fashion_images(), PIXELS)));
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(json_object_get(a.json, "predictions")),
                     1);
    free_answer(&a);
}

static void
gives_the_best_k(void **state)
{
    (void)state;
    answer a =
        post_json(&s, "/models/fashion/predict",
                  json_pack("{s:o, s:i}", "pixels",
                            pixels_of(fashion_images(), PIXELS), "top_k", 3));
    const json_t *top = json_object_get(a.json, "top");
    double last = 1;
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(top), 3);
    assert_null(json_object_get(a.json, "probabilities"));
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(top, i);
        double p = json_number_value(json_object_get(row, "probability"));
        assert_true(p <= last);
        last = p;
    }
    assert_string_equal(text_of(json_array_get(top, 0), "class"), "Ankle boot");
    free_answer(&a);
    a = ask(&s, NULL, "/models/fashion/predict?top_k=99",
            "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(json_array_size(json_object_get(a.json, "top")), 10);
    free_answer(&a);
}

/* The neuron's two probabilities, and the SVM's one score. */
static void
binary_models_answer(void **state)
{
    (void)state;
    const unsigned char *boot = fashion_images(), *shirt = boot + PIXELS;
    answer a = ask(&s, NULL, "/models/neuron/predict",
                   "application/octet-stream", boot, PIXELS);
    const json_t *p = json_object_get(a.json, "probabilities");
    assert_int_equal(whole_of(a.json, "label"), 1);
    assert_string_equal(text_of(a.json, "class"), "Ankle boot");
    assert_int_equal(json_array_size(p), 2);
    assert_true(fabs(json_number_value(json_array_get(p, 0)) +
                     json_number_value(json_array_get(p, 1)) - 1) < 1e-6);
    assert_true(json_number_value(json_array_get(p, 1)) > 0.5);
    free_answer(&a);
    a = ask(&s, NULL, "/models/neuron-svm/predict", "application/octet-stream",
            shirt, PIXELS);
    assert_int_equal(whole_of(a.json, "label"), 0);
    assert_string_equal(text_of(a.json, "class"), "not Ankle boot");
    assert_null(json_object_get(a.json, "probabilities"));
    const json_t *scores = json_object_get(a.json, "scores");
    assert_int_equal(json_array_size(scores), 1);
    assert_true(json_number_value(json_array_get(scores, 0)) < 0);
    free_answer(&a);
}

/* What speaks for class `label`: its probability or, of one score, which is
 * for class 1, that score or its opposite. */
static double
speaks_for(const json_t *row, int label)
{
    const json_t *p = json_object_get(row, "probabilities");
    if (p)
        return json_number_value(json_array_get(p, (size_t)label));
    double score =
        json_number_value(json_array_get(json_object_get(row, "scores"), 0));
    return label ? score : -score;
}

/* Both classes of two, each with what speaks for it; the first is the one that
 * it decides for. */
static void
binary_models_give_the_best_k(void **state)
{
    static const char *const models[] = {"neuron", "neuron-svm"};
    static const char *const names[] = {"not Ankle boot", "Ankle boot"};
    static const char type[] = "application/octet-stream";
    (void)state;
    for (int i = 0; i < 12; i++) {
        char path[64];
        const unsigned char *image = fashion_images() + i / 6 * PIXELS;
        int model = i % 2, wanted = i / 2 % 3 + 1;
        const char *value = model ? "score" : "probability";
        snprintf(path, sizeof path, "/models/%s/predict", models[model]);
        answer all = ask(&s, NULL, path, type, image, PIXELS);
        snprintf(path, sizeof path, "/models/%s/predict?top_k=%d",
                 models[model], wanted);
        answer best = ask(&s, NULL, path, type, image, PIXELS);
        const json_t *top = json_object_get(best.json, "top");
        json_int_t label = whole_of(all.json, "label");
        assert_int_equal(label, i < 6); /* a boot, then a shirt */
        assert_int_equal(json_array_size(top), wanted < 2 ? wanted : 2);
        for (size_t k = 0; k < json_array_size(top); k++) {
            const json_t *row = json_array_get(top, k);
            int expected = (int)(k ? 1 - label : label);
            assert_int_equal(whole_of(row, "label"), expected);
            assert_string_equal(text_of(row, "class"), names[expected]);
            assert_true(json_number_value(json_object_get(row, value)) ==
                        speaks_for(all.json, expected));
        }
        free_answer(&all);
        free_answer(&best);
    }
}

/* 3072 numbers in planes, [3][32][32]. */
static void
colour_models_take_planes(void **state)
{
    (void)state;
    json_t *planes = json_array(), *flat = json_array();
    for (int c = 0; c < 3; c++) {
        json_t *plane = json_array();
        for (int y = 0; y < 32; y++) {
            json_t *row = json_array();
            for (int x = 0; x < 32; x++) {
                int value = (c * 83 + y * 7 + x * 3) % 256;
                json_array_append_new(row, json_integer(value));
                json_array_append_new(flat, json_integer(value));
            }
            json_array_append_new(plane, row);
        }
        json_array_append_new(planes, plane);
    }
    answer a = post_json(&s, "/models/cifar10/predict",
                         json_pack("{s:o}", "pixels", planes));
    answer b = post_json(&s, "/models/cifar10/predict",
                         json_pack("{s:o}", "pixels", flat));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, b.body);
    free_answer(&a);
    free_answer(&b);
}

static void
the_default_model_answers(void **state)
{
    (void)state;
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "mnist");
    free_answer(&a);
}

/* More rows than a turn takes: 1,000 in one body. */
static void
large_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    answer a =
        ask(&s, NULL, "/models/fashion/predict", "application/octet-stream",
            fashion_images(), COUNT * PIXELS);
    const json_t *list = json_object_get(a.json, "predictions");
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(list), COUNT);
    for (int i = 0; i < COUNT; i += 111) {
        json_t *alone = prediction_of(i);
        assert_true(json_equal(
            json_object_get(alone, "probabilities"),
            json_object_get(json_array_get(list, (size_t)i), "probabilities")));
        json_decref(alone);
    }
    free_answer(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_with_class_and_probabilities),
        cmocka_unit_test(takes_any_nesting_and_place_of_the_model),
        cmocka_unit_test(takes_lists),
        cmocka_unit_test(a_list_of_one_is_a_list),
        cmocka_unit_test(gives_the_best_k),
        cmocka_unit_test(binary_models_answer),
        cmocka_unit_test(binary_models_give_the_best_k),
        cmocka_unit_test(colour_models_take_planes),
        cmocka_unit_test(the_default_model_answers),
        cmocka_unit_test(large_requests_are_answered_in_order),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* POST /models/{model}/explain, and one layer's weights: what a page shows of
 * a model's inside. */
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

static json_t *
taken(answer a)
{
    if (a.status != 200)
        fail_msg("%ld: %s", a.status, a.body);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static json_t *
explain(const unsigned char *image, const char *label)
{
    return taken(
        post_json(&s, "/models/fashion/explain",
                  json_pack("{s:o, s:s?}", "pixels", pixels_of(image, PIXELS),
                            "label", label)));
}

static double
number_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

static double
logit_of(const json_t *explained)
{
    return json_number_value(
        json_object_get(json_object_get(explained, "explained"), "logit"));
}

static void
answers_as_predict_does(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        const unsigned char *image = fashion_images() + i * PIXELS;
        json_t *a = explain(image, NULL);
        json_t *b = taken(
            post_json(&s, "/models/fashion/predict",
                      json_pack("{s:o}", "pixels", pixels_of(image, PIXELS))));
        const char *name;
        json_t *value;
        json_object_foreach (b, name, value)
            if (!json_equal(json_object_get(a, name), value))
                fail_msg("%s differs", name);
        assert_int_equal(whole_of(json_object_get(a, "explained"), "label"),
                         whole_of(b, "label"));
        json_decref(a);
        json_decref(b);
    }
}

static bool
moves(const unsigned char *image, size_t i)
{
    return image[i] > 0 && image[i] < 255 && i % 3 == 0;
}

static void
moved(const unsigned char *image, int by, unsigned char *to)
{
    for (size_t i = 0; i < PIXELS; i++)
        to[i] = (unsigned char)(image[i] + (moves(image, i) ? by : 0));
}

/* Along a direction the logit changes as the attributions of its pixels say. */
static void
attributes_by_the_gradient(void **state)
{
    (void)state;
    const unsigned char *image = fashion_images() + 3 * PIXELS;
    unsigned char more[PIXELS];
    json_t *at = explain(image, "Bag"), *above, *below;
    const json_t *r = json_object_get(at, "attribution");
    assert_int_equal(json_array_size(r), PIXELS);
    assert_string_equal(text_of(json_object_get(at, "explained"), "class"),
                        "Bag");
    double expected = 0, largest = 0;
    for (size_t i = 0; i < PIXELS; i++) {
        assert_true(image[i] || number_at(r, i) == 0);
        largest = fmax(largest, fabs(number_at(r, i)));
        expected += moves(image, i) ? number_at(r, i) / image[i] : 0;
    }
    assert_true(largest > 0.01);
    moved(image, 1, more);
    above = explain(more, "Bag");
    moved(image, -1, more);
    below = explain(more, "Bag");
    double got = (logit_of(above) - logit_of(below)) / 2;
    if (!(fabs(got - expected) <= 0.02 * fabs(expected)))
        fail_msg("the logit moves by %g, expected %g", got, expected);
    json_decref(at);
    json_decref(above);
    json_decref(below);
}

static void
shows_hidden_layers(void **state)
{
    (void)state;
    json_t *a = explain(fashion_images(), NULL);
    json_t *model = taken(get(&s, "/models/fashion"));
    const json_t *layers = json_object_get(a, "layers");
    const json_t *described = json_object_get(model, "layers");
    assert_int_equal(json_array_size(layers), json_array_size(described) - 1);
    assert_true(json_array_size(layers) > 0);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const json_t *units = json_object_get(layer, "activations");
        const json_t *stuck = json_object_get(layer, "stuck");
        size_t marked = 0;
        assert_int_equal(whole_of(layer, "layer"), i);
        assert_string_equal(text_of(layer, "activation"), "relu");
        assert_string_equal(text_of(layer, "kind"), "dead");
        assert_int_equal(json_array_size(units),
                         whole_of(json_array_get(described, i), "units"));
        for (size_t u = 0; u < json_array_size(units); u++)
            if (number_at(units, u) <= 0)
                assert_int_equal(number_at(stuck, marked++), u);
        assert_int_equal(json_array_size(stuck), marked);
        assert_true(json_is_array(json_object_get(layer, "always_stuck")));
        assert_true(whole_of(layer, "sampled_rows") >= 0);
    }
    json_decref(a);
    json_decref(model);
}

static void
takes_other_bodies(void **state)
{
    (void)state;
    const unsigned char *image = fashion_images() + 9 * PIXELS;
    json_t *expected = explain(image, "Coat");
    json_t *bytes = taken(ask(&s, NULL, "/models/fashion/explain?label=Coat",
                              "application/octet-stream", image, PIXELS));
    assert_true(json_equal(bytes, expected));
    json_decref(bytes);
    json_decref(expected);
}

/* Without hidden layers, and with one score. */
static void
explains_every_shipped_model(void **state)
{
    (void)state;
    json_t *all = taken(get(&s, "/models")), *model;
    size_t i;
    json_array_foreach (json_object_get(all, "models"), i, model) {
        json_int_t size = 1;
        size_t d;
        json_t *side;
        char path[160];
        json_array_foreach (
            json_object_get(json_object_get(model, "input"), "shape"), d, side)
            size *= json_integer_value(side);
        json_t *pixels = json_array();
        for (json_int_t p = 0; p < size; p++)
            json_array_append_new(pixels, json_integer(p % 200));
        snprintf(path, sizeof path, "/models/%s/explain",
                 text_of(model, "name"));
        json_t *a = taken(post_json(
            &s, path, json_pack("{s:o, s:i}", "pixels", pixels, "label", 1)));
        const json_t *r = json_object_get(a, "attribution");
        double sum = 0;
        assert_int_equal(json_array_size(r), size);
        for (size_t p = 0; p < json_array_size(r); p++)
            sum += fabs(number_at(r, p));
        assert_true(sum > 0);
        assert_int_equal(json_array_size(json_object_get(a, "layers")),
                         json_array_size(json_object_get(model, "layers")) - 1);
        json_decref(a);
    }
    json_decref(all);
}

static void
refuses(void **state)
{
    (void)state;
    static const char path[] = "/models/fashion/explain";
    unsigned char two[2 * PIXELS] = {0};
    expect_error(post(&s, path, "{\"pixels\":[1,2]}"), 400, "wrong_shape",
                 "784");
    expect_error(post(&s, path, "{\"pixels\":"), 400, "malformed_json", "");
    expect_error(post(&s, path, "{}"), 400, "no_pixels", "pixels");
    expect_error(post(&s, path, "{\"pixels\":7}"), 400, "wrong_shape", "784");
    expect_error(post_json(&s, path,
                           json_pack("{s:o, s:s}", "pixels",
                                     pixels_of(two, PIXELS), "label", "Spoon")),
                 400, "unknown_label", "Spoon");
    expect_error(
        ask(&s, NULL, path, "application/octet-stream", two, sizeof two), 400,
        "one_image", "one image");
    expect_error(ask(&s, NULL, path, "text/csv", two, PIXELS), 415,
                 "unsupported_type", "");
    expect_error(post(&s, "/models/nothing/explain", "{}"), 404,
                 "unknown_model", "nothing");
    expect_error(get(&s, path), 405, "method_not_allowed", "POST");
}

/* The model file has the same numbers, with names. */
static void
gives_one_layer(void **state)
{
    (void)state;
    answer file = get(&s, "/models/fashion/weights");
    uint64_t head;
    memcpy(&head, file.body, sizeof head);
    json_t *names = json_loadb(file.body + 8, head, 0, NULL);
    assert_non_null(names);
    const json_t *tensor = json_object_get(names, "layers.0.weight");
    const json_t *shape = json_object_get(tensor, "shape");
    const json_t *at = json_object_get(tensor, "data_offsets");
    size_t units = (size_t)number_at(shape, 0),
           first = (size_t)number_at(at, 0);
    size_t row = (size_t)number_at(shape, 1) * sizeof(float);
    assert_int_equal(row, PIXELS * sizeof(float));
    answer all = get(&s, "/models/fashion/weights?layer=0");
    answer few = get(&s, "/models/fashion/weights?layer=0&units=3");
    assert_string_equal(few.type, "application/octet-stream");
    assert_int_equal(all.size, units * row);
    assert_int_equal(few.size, 3 * row);
    assert_memory_equal(all.body, file.body + 8 + head + first, units * row);
    assert_memory_equal(few.body, all.body, 3 * row);
    expect_error(get(&s, "/models/fashion/weights?layer=99"), 400,
                 "bad_argument", "layer");
    expect_error(get(&s, "/models/fashion/weights?units=3"), 400, "bad_units",
                 "a \"layer\", which is missing");
    expect_error(get(&s, "/models/fashion/weights?layer=0&units=0"), 400,
                 "bad_argument", "units");
    json_decref(names);
    free_answer(&file);
    free_answer(&all);
    free_answer(&few);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_predict_does),
        cmocka_unit_test(attributes_by_the_gradient),
        cmocka_unit_test(shows_hidden_layers),
        cmocka_unit_test(takes_other_bodies),
        cmocka_unit_test(explains_every_shipped_model),
        cmocka_unit_test(refuses),
        cmocka_unit_test(gives_one_layer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

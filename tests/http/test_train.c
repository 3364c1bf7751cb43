/* POST /train: every right way to teach, and that it has been learned. */
#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static server s;

static int
set_up(void **state)
{
    static const char *const arguments[] = {"--default-model", "fashion", NULL};
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
model(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/models/%s", name);
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static json_t *
predict(const char *name, int image)
{
    char path[64];
    snprintf(path, sizeof path, "/models/%s/predict", name);
    answer a = ask(&s, NULL, path, "application/octet-stream",
                   fashion_images() + image * PIXELS, PIXELS);
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

static double
probability(const char *name, int image, size_t class)
{
    json_t *json = predict(name, image);
    double p = json_number_value(
        json_array_get(json_object_get(json, "probabilities"), class));
    json_decref(json);
    return p;
}

static void
one_example_makes_one_version(void **state)
{
    (void)state;
    json_t *before = model("fashion"), *predicted = predict("fashion", 0);
    json_int_t version = whole_of(before, "version");
    answer a =
        post_json(&s, "/models/fashion/train",
                  json_pack("{s:o, s:i}", "pixels",
                            pixels_of(fashion_images(), PIXELS), "label", 9));
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "fashion");
    assert_int_equal(whole_of(a.json, "version"), version + 1);
    assert_true(json_real_value(json_object_get(a.json, "loss")) > 0);
    /* What it had answered before learning. */
    const json_t *had = json_object_get(a.json, "predicted");
    assert_int_equal(whole_of(had, "label"), whole_of(predicted, "label"));
    assert_string_equal(text_of(had, "class"), text_of(predicted, "class"));
    free_answer(&a);

    json_t *after = model("fashion");
    assert_int_equal(whole_of(after, "version"), version + 1);
    assert_int_equal(whole_of(after, "examples"),
                     whole_of(before, "examples") + 1);
    assert_string_not_equal(text_of(after, "digest"),
                            text_of(before, "digest"));
    json_t *now = predict("fashion", 0);
    assert_int_equal(whole_of(now, "version"), version + 1);
    json_decref(now);
    json_decref(before);
    json_decref(predicted);
    json_decref(after);
}

/* Taught often enough, another label wins; by name, and by the body. */
static void
what_is_taught_is_learned(void **state)
{
    (void)state;
    double before = probability("fashion", 3, 0);
    for (int i = 0; i < 200; i++) {
        answer a = post_json(
            &s, "/train",
            json_pack("{s:s, s:o, s:s}", "model", "fashion", "pixels",
                      pixels_of(fashion_images() + 3 * PIXELS, PIXELS), "label",
                      "T-shirt/top"));
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    double after = probability("fashion", 3, 0);
    assert_true(after > before && after > 0.5);
}

static void
lists_are_learned_in_order(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    json_t *before = model("fashion"), *examples = json_array();
    json_int_t version = whole_of(before, "version");
    for (int i = 0; i < COUNT; i++)
        json_array_append_new(
            examples,
            json_pack("{s:o, s:i}", "pixels",
                      pixels_of(fashion_images() + i * PIXELS, PIXELS), "label",
                      fashion_labels()[i]));
    answer a = post_json(&s, "/models/fashion/train",
                         json_pack("{s:o}", "examples", examples));
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version + COUNT);
    const json_t *results = json_object_get(a.json, "results");
    assert_int_equal(json_array_size(results), COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(whole_of(json_array_get(results, i), "version"),
                         version + 1 + (json_int_t)i);
    free_answer(&a);
    json_decref(before);
}

/* One wrong example among right ones: none is taken. */
static void
lists_are_all_or_nothing(void **state)
{
    (void)state;
    json_t *before = model("fashion");
    answer a = post_json(
        &s, "/models/fashion/train",
        json_pack("{s:[{s:o, s:i}, {s:o, s:i}]}", "examples", "pixels",
                  pixels_of(fashion_images(), PIXELS), "label", 9, "pixels",
                  pixels_of(fashion_images(), PIXELS), "label", 10));
    expect_error(a, 400, "unknown_label", "examples[1].label");
    a = post_json(&s, "/models/fashion/train",
                  json_pack("{s:[{s:o, s:i}, {s:o, s:i}]}", "examples",
                            "pixels", pixels_of(fashion_images(), PIXELS),
                            "label", 9, "pixels",
                            pixels_of(fashion_images(), 783), "label", 1));
    expect_error(a, 400, "wrong_shape", "got 783 numbers");
    json_t *after = model("fashion");
    json_object_del(before, "guard"); /* it judges when it has time */
    json_object_del(after, "guard");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

static void
bytes_take_their_label_from_the_query(void **state)
{
    (void)state;
    json_t *before = model("neuron");
    json_int_t version = whole_of(before, "version");
    answer a = ask(&s, NULL, "/models/neuron/train?label=Ankle%20boot",
                   "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version + 1);
    assert_null(json_object_get(a.json, "results"));
    free_answer(&a);
    a = ask(&s, NULL, "/models/neuron/train?label=0",
            "application/octet-stream", fashion_images() + PIXELS, 3 * PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(json_object_get(a.json, "results")), 3);
    assert_int_equal(whole_of(a.json, "version"), version + 4);
    free_answer(&a);
    json_decref(before);
}

/* Models learn apart from each other. */
static void
other_models_do_not_change(void **state)
{
    (void)state;
    json_t *before = model("neuron-svm"), *mnist = model("mnist");
    answer a = ask(&s, NULL, "/models/mnist/train?label=3",
                   "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    json_t *after = model("neuron-svm"), *taught = model("mnist");
    assert_true(json_equal(before, after));
    assert_false(json_equal(mnist, taught));
    json_decref(before);
    json_decref(after);
    json_decref(mnist);
    json_decref(taught);
}

/* A step that would leave float32's range changes nothing and says so; the
 * server goes on. Clipping would keep it small, so it is off here. */
static void
a_step_out_of_range_is_rejected(void **state)
{
    static const char *const arguments[] = {"--clip", "0", "--learning-rate",
                                            "10", NULL};
    (void)state;
    if (foreign_server("rejected steps"))
        return;
    server kept = s;
    start_server(&s, arguments);
    json_t *huge = json_array(), *before = model("fashion");
    for (int i = 0; i < PIXELS; i++)
        json_array_append_new(huge, json_real(3e38));
    answer a = post_json(&s, "/models/fashion/train",
                         json_pack("{s:O, s:i}", "pixels", huge, "label", 1));
    expect_error(a, 400, "not_finite", "nothing was learned");
    a = post_json(
        &s, "/models/fashion/train",
        json_pack("{s:[{s:o, s:i}]}", "examples", "pixels", huge, "label", 1));
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(
        json_array_get(json_object_get(a.json, "results"), 0), "rejected")));
    free_answer(&a);
    json_t *after = model("fashion");
    assert_string_equal(text_of(before, "digest"), text_of(after, "digest"));
    assert_int_equal(whole_of(after, "version"), 2);
    assert_int_equal(whole_of(after, "examples"), 0);
    json_decref(before);
    json_decref(after);
    assert_int_equal(stop_server(&s), 0);
    s = kept;
}

/* The digest is that of the weights one can fetch. */
static void
weights_can_be_fetched(void **state)
{
    (void)state;
    if (foreign_server("weights"))
        return;
    json_t *json = model("fashion");
    answer a = get(&s, "/models/fashion/weights");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "application/octet-stream");
    char path[] = "/tmp/soma-weights-XXXXXX.safetensors", command[256];
    int fd = mkstemps(path, 12);
    FILE *file = fdopen(fd, "wb");
    assert_int_equal(fwrite(a.body, 1, a.size, file), a.size);
    fclose(file);
    snprintf(command, sizeof command, "%s inspect %s",
             getenv("SOMA") ? getenv("SOMA") : "build/gcc/soma", path);
    FILE *inspect = popen(command, "r");
    char text[8192];
    size_t n = fread(text, 1, sizeof text - 1, inspect);
    text[n] = '\0';
    assert_int_equal(pclose(inspect), 0);
    assert_non_null(strstr(text, text_of(json, "digest")));
    remove(path);
    free_answer(&a);
    json_decref(json);
}

static void
progress_is_counted(void **state)
{
    (void)state;
    json_t *json = model("fashion");
    const json_t *progressive = json_object_get(json, "progressive");
    assert_int_equal(whole_of(progressive, "window"),
                     whole_of(json, "examples"));
    double accuracy =
        json_number_value(json_object_get(progressive, "accuracy"));
    assert_true(accuracy > 0.1 && accuracy < 1);
    assert_true(json_number_value(json_object_get(progressive, "loss")) > 0);
    json_decref(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_example_makes_one_version),
        cmocka_unit_test(what_is_taught_is_learned),
        cmocka_unit_test(lists_are_learned_in_order),
        cmocka_unit_test(lists_are_all_or_nothing),
        cmocka_unit_test(bytes_take_their_label_from_the_query),
        cmocka_unit_test(other_models_do_not_change),
        cmocka_unit_test(a_step_out_of_range_is_rejected),
        cmocka_unit_test(weights_can_be_fetched),
        cmocka_unit_test(progress_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

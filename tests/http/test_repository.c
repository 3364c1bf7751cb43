/* The models folder as a repository: models are loaded, replaced and unloaded
 * by API and by SIGHUP (while others are answered: test_replaced.c).
 */
#include "tests/http/repository.h"

/* ---- One at a time ---- */

static void
models_come_and_go(void **state)
{
    char text[512];
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    expect_state("digits", "READY ");
    expect_good(unload("neuron"));
    assert_int_equal(status_of("neuron"), 404);
    expect_state("neuron", "UNAVAILABLE unloaded");
    state_of("neuron", "{\"ready\":true}", text, sizeof text);
    assert_string_equal(text, "");
    expect_error(unload("neuron"), 404, "not_found", "no model \"neuron\"");
    expect_good(load("neuron"));
    assert_int_equal(status_of("neuron"), 200);
    expect_state("neuron", "READY ");
    /* A file that was not there at the start. */
    expect_error(load("clothes"), 404, "not_found", "clothes");
    put_file("fashion", "clothes");
    expect_state("clothes", "UNAVAILABLE unloaded");
    answer a = load("clothes");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "name"), "clothes");
    assert_true(json_is_true(json_object_get(a.json, "load")));
    free_answer(&a);
    assert_int_equal(status_of("clothes"), 200);
    /* Names are no paths. */
    expect_error(load("..%2f..%2fetc"), 404, "unknown_path", "..");
    expect_error(load(".hidden"), 404, "not_found", ".hidden");
    /* The default model, gone and back. */
    expect_good(unload("digits"));
    expect_error(post(&s, "/predict", "{\"pixels\":[1]}"), 400, "no_model",
                 "which model?");
    expect_good(load("digits"));
    a = ask(&s, NULL, "/predict", "application/octet-stream", fashion_images(),
            PIXELS);
    expect_good(a);
}

static void
wrong_requests(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    expect_error(post(&s, "/v2/repository/index", "{\"ready\":1}"), 400,
                 "bad_ready", "true or false");
    expect_error(post(&s, "/v2/repository/index", "[]"), 400, "not_an_object",
                 "object");
    expect_error(post(&s, "/v2/repository/models/digits/load",
                      "{\"parameters\":{\"file:1/model.bin\":\"AA==\"}}"),
                 400, "unsupported_parameter", "file:1/model.bin");
    expect_error(post(&s, "/v2/repository/models/digits/load",
                      "{\"parameters\":{\"config\":\"{}\"}}"),
                 400, "unsupported_parameter", "config");
    expect_error(post(&s, "/v2/repository/models/digits/unload",
                      "{\"parameters\":[null]}"),
                 400, "bad_parameters", "expected an object");
    expect_good(
        post(&s, "/v2/repository/models/digits/load", "{\"parameters\":null}"));
}

static void
a_file_is_replaced(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    double before = answer_of("digits");
    put_file("fashion", "digits");
    assert_true(answer_of("digits") == before); /* until it is told */
    expect_good(load("digits"));
    double after = answer_of("digits");
    assert_true(after != before);
    answer a = get(&s, "/models/digits");
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(a.json, "classes"), 9)),
                        "Ankle boot");
    free_answer(&a);
    put_file("mnist", "digits");
    hang_up("replaced model=digits");
    assert_true(answer_of("digits") == before);
}

static void
a_broken_file_leaves_the_old_one(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    double before = answer_of("digits");
    shell("head -c 5000 models/mnist.safetensors > %s/digits.safetensors",
          models);
    answer a = load("digits");
    assert_true(a.status >= 400 && a.status < 500);
    assert_non_null(strstr(text_of(a.json, "error"), "digits.safetensors"));
    free_answer(&a);
    hang_up("load-failed model=digits");
    assert_true(answer_of("digits") == before);
    expect_state("digits", "READY ");
    teach("digits", 2);
    put_file("mnist", "digits");
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
}

static void
the_folder_is_looked_at_again(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    put_file("fashion", "clothes");
    shell("rm %s/neuron.safetensors", models);
    hang_up("unloaded model=neuron");
    assert_int_equal(status_of("clothes"), 200);
    assert_int_equal(status_of("neuron"), 404);
    expect_state("neuron", "");
    /* A folder that is not there just now. */
    shell("mv %s %s/away && mkdir %s", models, folder, models);
    hang_up("rescan-failed");
    assert_int_equal(status_of("clothes"), 200);
    assert_int_equal(status_of("digits"), 200);
}

/* ---- What was learned ---- */

static void
another_base_is_refused(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    double before = answer_of("digits");
    put_file("fashion", "digits");
    expect_error(load("digits"), 409, "conflict", "--new-base");
    hang_up("load-failed model=digits");
    assert_true(answer_of("digits") == before);
    teach("digits", 2);
    /* The same base in another file: what was learned goes on. */
    double learned = answer_of("digits");
    put_file("mnist", "digits");
    shell("touch %s/digits.safetensors", models);
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
    assert_true(answer_of("digits") == learned);
    teach("digits", 3);
    /* Unloaded and loaded, too. */
    expect_good(unload("digits"));
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 3);
    teach("digits", 4);
}

static void
another_base_begins_anew(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, "--new-base", "restart", NULL);
    teach("digits", 1);
    put_file("fashion", "digits");
    double fresh = 0;
    expect_good(load("digits"));
    fresh = answer_of("digits");
    assert_int_equal(version_of("digits"), 0);
    shell("ls %s/digits.db.old-* >/dev/null", data);
    teach("digits", 1);
    assert_true(answer_of("digits") != fresh);
}

static void
another_base_learns_again(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, "--new-base", "relearn", NULL);
    teach("digits", 1);
    teach("digits", 2);
    put_file("fashion", "digits");
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
    teach("digits", 3);
    /* Not with inputs of another size. */
    put_file("cifar10-linear", "digits");
    expect_error(load("digits"), 400, "wrong_shape", "784");
    teach("digits", 4);
}

/* Without a journal only the model itself has what it learned. */
static void
what_is_in_memory_is_kept(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    put_file("fashion", "digits");
    expect_good(load("digits")); /* it has learned nothing yet */
    teach("digits", 1);
    put_file("mnist", "digits");
    expect_error(load("digits"), 409, "conflict", "--new-base=restart");
    assert_int_equal(version_of("digits"), 1);
    teach("digits", 2);
}

static void
forks_can_be_unloaded(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    expect_good(post(&s, "/models/digits/fork", "{\"as\":\"other\"}"));
    teach("other", 2);
    double learned = answer_of("other");
    expect_good(unload("other"));
    assert_int_equal(status_of("other"), 404);
    hang_up("rescan");
    expect_good(load("other"));
    assert_true(answer_of("other") == learned);
    hang_up("rescan"); /* has no file, and stays */
    assert_int_equal(status_of("other"), 200);
    expect_good(ask(&s, "DELETE", "/models/other", NULL, NULL, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(models_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_file_leaves_the_old_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_folder_is_looked_at_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_begins_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_learns_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_memory_is_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(forks_can_be_unloaded, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

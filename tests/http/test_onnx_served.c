/* An ONNX file in the models folder is a model like any other: served, taught,
 * replaced; a .safetensors file of its name beside it is refused.
 */
#include "tests/http/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[64], models[80], data[80];
static server s;

/* "net.onnx" is the shipped model of clothes, "same" that model as it is. */
static int
set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/soma-onnx-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(models, sizeof models, "%s/models", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    shell("mkdir %s", models);
    shell("${SOMA:-build/gcc/soma} export models/fashion.safetensors "
          "%s/net.onnx >/dev/null",
          models);
    shell("cp models/fashion.safetensors %s/same.safetensors", models);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (s.pid)
        stop_server(&s);
    shell("rm -rf %s", folder);
    return 0;
}

static void
start(void)
{
    const char *arguments[16] = {"--models",        models, "--data", data,
                                 "--default-model", "net"};
    start_server(&s, arguments);
    wait_until_ready(&s);
}

static answer
predict(const char *path)
{
    return ask(&s, NULL, path, "application/octet-stream", fashion_images(),
               PIXELS);
}

static bool
skipped(const char *what)
{
    if (!foreign_server(what))
        return false;
    s.pid = 0;
    return true;
}

/* The same weights in either format give the same answer, to the rounding of
 * the pixels' scale, which the exported graph applies by itself. */
static void
it_is_served_and_taught(void **state)
{
    (void)state;
    if (skipped("served .onnx"))
        return;
    start();
    answer a = predict("/models/net/predict");
    answer b = predict("/models/same/predict");
    assert_int_equal(a.status, 200);
    assert_int_equal(b.status, 200);
    json_t *got = json_object_get(a.json, "probabilities");
    json_t *expected = json_object_get(b.json, "probabilities");
    assert_int_equal(json_array_size(got), 10);
    for (size_t i = 0; i < 10; i++)
        assert_float_equal(json_number_value(json_array_get(got, i)),
                           json_number_value(json_array_get(expected, i)),
                           1e-5);
    free_answer(&a);
    free_answer(&b);
    a = predict("/models/net/train?label=3");
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    assert_int_equal(whole_of(a.json, "version"), 1);
    free_answer(&a);
    stop_server(&s);
    start();
    a = get(&s, "/models/net");
    assert_int_equal(whole_of(a.json, "version"), 1);
    free_answer(&a);
}

static void
two_files_for_one_name(void **state)
{
    (void)state;
    if (skipped("two model files"))
        return;
    start();
    shell("cp models/mnist.safetensors %s/net.safetensors", models);
    expect_error(post(&s, "/v2/repository/models/net/load", "{}"), 409,
                 "conflict", "net: there are two files for this model");
    answer a = predict("/models/net/predict");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    shell("rm %s/net.safetensors", models);
    a = post(&s, "/v2/repository/models/net/load", "{}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_served_and_taught, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_files_for_one_name, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* An ONNX file in the models folder is a model like any other: served, taught,
 * replaced; a .safetensors file of its name beside it is refused. One that does
 * not say all that is needed is refused by the command that helps.
 */
#include "tests/http/server.h"
#include "tests/unit/onnx_files.h"

#include <math.h>
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

/* models/NAME.onnx: x [3] times w [units, 3], and a sigmoid if there is more
 * than one. */
static void
write_scores(const char *name, int units, const float *w)
{
    char path[128];
    onnx_file f = onnx_start(13);
    onnx_input(&f, "x", 1, 2, (const long[]){-1, 3});
    onnx_floats(&f, "w", 2, (const long[]){units, 3}, w);
    onnx_node(&f, "Gemm", "x w", units > 1 ? "z" : "y", "transB=1");
    if (units > 1)
        onnx_node(&f, "Sigmoid", "z", "y", NULL);
    onnx_output(&f, "y");
    onnx_bytes all = onnx_end(&f);
    snprintf(path, sizeof path, "%s/%s.onnx", models, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(all.data, 1, all.size, file), all.size);
    assert_int_equal(fclose(file), 0);
    free(all.data);
}

/* What a user does who is told so: types it, as printed. */
static void
type_as_told(const char *text, const char *name)
{
    char command[512];
    const char *from = strstr(text, "type: soma import ");
    assert_non_null(from);
    from += strlen("type: soma ");
    const char *to = strstr(from, ", and take ");
    assert_non_null(to);
    snprintf(command, sizeof command, "%.*s", (int)(to - from), from);
    shell("program=$(realpath ${SOMA:-build/gcc/soma}) && cd %s && "
          "$program %s >/dev/null && mv %s.safetensors %s && rm %s/%s.onnx",
          folder, command, name, models, models, name);
}

static void
expect_probability(const char *name, double score)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s/predict", name);
    answer a = post(&s, path, "{\"pixels\":[1,2,3]}");
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    const json_t *p = json_object_get(a.json, "probabilities");
    assert_int_equal(json_array_size(p), 2);
    assert_float_equal(json_number_value(json_array_get(p, 1)),
                       (float)(1 / (1 + exp(-score))), 1e-6);
    free_answer(&a);
}

/* One number is a score to decide by, or the logit of a probability: the file
 * does not say which. */
static void
the_command_that_helps_is_told(void **state)
{
    static const float one[] = {0.5f, -0.25f, 0.125f};
    static const float two[] = {1, 2, 3, -1, 0, 1};
    const char *arguments[] = {"serve",    "--listen", "127.0.0.1:0",
                               "--models", models,     NULL};
    char text[4096], told[256];
    (void)state;
    if (skipped("what an .onnx lacks"))
        return;
    write_scores("score", 1, one);
    assert_int_equal(run_soma(arguments, text, sizeof text), 2);
    snprintf(told, sizeof told,
             "; type: soma import %s/score.onnx score.safetensors --loss "
             "logistic, and take score.safetensors in its place",
             models);
    if (!strstr(text, told) || !strstr(text, "node \"y\" (Gemm): the file"))
        fail_msg("\"%s\" is not in: %s", told, text);
    type_as_told(text, "score");
    start();
    expect_probability("score", 0.5 - 0.5 + 0.375);
    /* While it serves, too. */
    write_scores("late", 1, one);
    write_scores("several", 2, two);
    answer a = post(&s, "/v2/repository/models/several/load", "{}");
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "several.safetensors --loss "
                                   "multiclass_hinge, and take"));
    free_answer(&a);
    a = post(&s, "/v2/repository/models/late/load", "{}");
    assert_int_equal(a.status, 400);
    type_as_told(text_of(a.json, "error"), "late");
    free_answer(&a);
    a = post(&s, "/v2/repository/models/late/load", "{}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    expect_probability("late", 0.375);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_served_and_taught, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_files_for_one_name, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_command_that_helps_is_told, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Model files: written and read back, and files that are none. The metadata,
 * tensors and foreign files have tests of their own. */
#include "core/io/checkpoint.h"

#include "core/matrix.h"
#include "tests/unit/scratch.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static soma_checkpoint checkpoint;
static soma_error err;

/* ---- Models ---- */

/* A first layer wider than a panel. */
static const char wide[] =
    "{\"format\":1,\"input\":{\"shape\":[3],\"range\":[-1,0.1],"
    "\"mean\":[125.3,0.1307,1e-20],\"std\":[63,0.3081,1e20]},"
    "\"layers\":[{\"units\":70,\"activation\":\"leaky_relu\",\"slope\":0.2},"
    "{\"units\":2}],\"loss\":\"softmax_cross_entropy\","
    "\"classes\":[\"cat\",\"\xc3\xa9l\xc3\xa8ve\"]}";

static const char maxout[] =
    "{\"format\":1,\"input\":{\"shape\":[1,2]},"
    "\"layers\":[{\"units\":2,\"activation\":\"maxout\",\"pieces\":3},"
    "{\"units\":1}],\"loss\":\"logistic\"}";

/* SHA-256 of their weights below, from Python's hashlib over NumPy arrays. */
static const char wide_digest[] =
    "f4617883198a881702bd4fd12f98621c1d92c366828e91d2eea5ccd8095a9e82";
static const char maxout_digest[] =
    "56f64ed6e39ad5c8db687ece86e9d8edde35bc942a9ea60a1eeb19d6c4fd8ce9";

static void
fill(soma_model *model)
{
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        float *rows = malloc(sizeof(float) * (size_t)(layer->in * layer->out));
        assert_non_null(rows);
        for (int k = 0; k < layer->in * layer->out; k++)
            rows[k] = (float)((k * 7 + i) % 23 - 11) / 8;
        soma_matrix_from_rows(layer->in, layer->out, rows,
                              soma_model_weights(model, i));
        free(rows);
        for (int k = 0; k < layer->out; k++)
            soma_model_bias(model, i)[k] = (float)(k % 9) / 4 - 1;
    }
}

static soma_checkpoint
make(const char *text)
{
    soma_checkpoint made = {0};
    soma_spec spec;
    float *mean, *std;
    json_t *json = json_loads(text, 0, NULL);
    assert_int_equal(
        soma_checkpoint_spec(json, &spec, &mean, &std, &made.classes, &err),
        SOMA_OK);
    made.model = soma_model_create(&spec, &err);
    assert_non_null(made.model);
    for (int i = 0; i < spec.input.normals; i++) {
        soma_model_mean(made.model)[i] = mean[i];
        soma_model_std(made.model)[i] = std[i];
    }
    free(mean);
    free(std);
    json_decref(json);
    fill(made.model);
    return made;
}

static void
expect_digest(const soma_model *model, const char *want)
{
    char hex[SOMA_DIGEST_HEX + 1];
    assert_int_equal(soma_model_digest(model, hex, &err), SOMA_OK);
    assert_string_equal(hex, want);
}

/* ---- Round trips ---- */

static void
round_trip(const char *spec, soma_dtype dtype, const char *digest)
{
    soma_checkpoint made = make(spec);
    made.training = json_pack("{s:f,s:[i]}", "rate", 0.125, "epochs", 3);
    made.made = json_pack("{s:s}", "by", "a test");
    const char *path = scratch_path("m.safetensors");
    assert_int_equal(soma_checkpoint_write(path, &made, dtype, &err), SOMA_OK);
    err = (soma_error){0};
    soma_status status = soma_checkpoint_read(path, NULL, &checkpoint, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    const soma_spec *read = &checkpoint.model->spec;
    assert_true(soma_spec_equal(read, &made.model->spec));
    assert_memory_equal(checkpoint.model->params, made.model->params,
                        read->params * sizeof(float));
    assert_int_equal(checkpoint.classes.count, made.classes.count);
    for (int i = 0; i < made.classes.count; i++)
        assert_string_equal(checkpoint.classes.names[i], made.classes.names[i]);
    assert_true(json_equal(checkpoint.training, made.training));
    assert_true(json_equal(checkpoint.made, made.made));
    expect_digest(checkpoint.model, digest);
    soma_checkpoint_free(&checkpoint);
    soma_checkpoint_free(&made);
}

static void
test_round_trip(void **state)
{
    (void)state;
    round_trip(wide, SOMA_F32, wide_digest);
    round_trip(maxout, SOMA_F32, maxout_digest);
    /* These weights are exact in 16 bits. */
    round_trip(wide, SOMA_F16, wide_digest);
    round_trip(maxout, SOMA_F16, maxout_digest);
    round_trip(wide, SOMA_BF16, wide_digest);
}

static void
test_bytes_are_stable(void **state)
{
    (void)state;
    soma_checkpoint made = make(wide);
    soma_bytes first, copy, second;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F32, &first, &err),
                     SOMA_OK);
    copy = (soma_bytes){malloc(first.size), first.size};
    memcpy(copy.data, first.data, first.size);
    assert_int_equal(soma_checkpoint_parse(&first, NULL, &checkpoint, &err),
                     SOMA_OK);
    assert_int_equal(
        soma_checkpoint_build(&checkpoint, SOMA_F32, &second, &err), SOMA_OK);
    assert_int_equal(second.size, copy.size);
    assert_memory_equal(second.data, copy.data, copy.size);
    soma_bytes_free(&copy);
    soma_bytes_free(&second);
    soma_checkpoint_free(&checkpoint);
    soma_checkpoint_free(&made);
}

static void
test_f16_rounds(void **state)
{
    (void)state;
    soma_checkpoint made = make(maxout);
    soma_bytes bytes;
    soma_model_bias(made.model, 0)[1] = 1.0f / 3;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F16, &bytes, &err),
                     SOMA_OK);
    assert_int_equal(soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err),
                     SOMA_OK);
    assert_true(soma_model_bias(checkpoint.model, 0)[1] == 0.333251953125f);
    soma_checkpoint_free(&checkpoint);
    soma_model_bias(made.model, 0)[1] = 70000;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F16, &bytes, &err),
                     SOMA_E_ARGUMENT);
    assert_null(bytes.data);
    assert_non_null(strstr(err.text, "\"layers.0.bias\": element 1"));
    soma_checkpoint_free(&made);
}

static void
test_tensors(void **state)
{
    (void)state;
    soma_checkpoint made = make(maxout);
    soma_bytes bytes;
    soma_safetensors st;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F32, &bytes, &err),
                     SOMA_OK);
    assert_int_equal(soma_safetensors_parse(&bytes, &st, &err), SOMA_OK);
    assert_int_equal(st.tensor_count, 4);
    assert_int_equal(st.meta_count, 1);
    const soma_tensor *weight = soma_safetensors_find(&st, "layers.0.weight");
    const soma_tensor *bias = soma_safetensors_find(&st, "layers.0.bias");
    assert_int_equal(weight->rank, 3);
    assert_int_equal(weight->shape[0], 3);
    assert_int_equal(weight->shape[1], 2);
    assert_int_equal(weight->shape[2], 2);
    assert_int_equal(bias->rank, 2);
    assert_int_equal(bias->shape[0], 3);
    assert_int_equal(bias->shape[1], 2);
    float rows[12];
    assert_int_equal(soma_tensor_floats(weight, rows, &err), SOMA_OK);
    for (int k = 0; k < 12; k++)
        assert_true(rows[k] == (float)(k * 7 % 23 - 11) / 8);
    soma_safetensors_free(&st);
    soma_checkpoint_free(&made);
}

/* ---- Wrong files ---- */

static void
expect_unreadable(const char *path, soma_status status, const char *text)
{
    err = (soma_error){0};
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, path));
    if (!strstr(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
    assert_null(checkpoint.model);
}

static void
test_unreadable(void **state)
{
    (void)state;
    expect_unreadable(scratch_path("none"), SOMA_E_NOT_FOUND, "No such file");
    expect_unreadable(scratch, SOMA_E_FORMAT, "not a regular file");
    expect_unreadable(scratch_text("a", "GGUF"), SOMA_E_FORMAT, ": 4 bytes");
    expect_unreadable(scratch_text("a", "a text of some length"), SOMA_E_FORMAT,
                      "is this a safetensors file?");
    /* Cut anywhere, or with one byte more. */
    soma_checkpoint made = make(maxout);
    soma_bytes bytes;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F32, &bytes, &err),
                     SOMA_OK);
    for (size_t size = 0; size < bytes.size; size++)
        expect_unreadable(scratch_write("a", bytes.data, size), SOMA_E_FORMAT,
                          "");
    expect_unreadable(scratch_write("a", bytes.data, bytes.size + 1),
                      SOMA_E_FORMAT, "1 bytes behind the last tensor");
    soma_bytes_free(&bytes);
    soma_checkpoint_free(&made);
}

static void
test_write_fails(void **state)
{
    (void)state;
    const char *path = scratch_path("m.safetensors");
    soma_checkpoint made = make(maxout);
    assert_int_equal(soma_checkpoint_write(path, &made, SOMA_F32, &err),
                     SOMA_OK);
    float *bias = soma_model_bias(made.model, 1);
    *bias = INFINITY;
    assert_int_equal(soma_checkpoint_write(path, &made, SOMA_F32, &err),
                     SOMA_E_NOT_FINITE);
    assert_non_null(strstr(err.text, path));
    *bias = 7;
    assert_int_equal(soma_checkpoint_write(path, &made, SOMA_U8, &err),
                     SOMA_E_ARGUMENT);
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(soma_checkpoint_write(path, &made, SOMA_F32, &err),
                     SOMA_E_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    /* The old file stands. */
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_OK);
    expect_digest(checkpoint.model, maxout_digest);
    soma_checkpoint_free(&checkpoint);
    soma_checkpoint_free(&made);
}

static void
test_write_wrong_classes(void **state)
{
    (void)state;
    soma_bytes bytes;
    soma_checkpoint made = make(wide);
    made.classes.count = 1;
    assert_int_equal(soma_checkpoint_build(&made, SOMA_F32, &bytes, &err),
                     SOMA_E_ARGUMENT);
    assert_non_null(strstr(err.text, "1 names of classes"));
    made.classes.count = 2;
    soma_checkpoint_free(&made);
}

/* A name that the reader refuses is refused before there is a file. */
static void
expect_name_refused(const char *name, const char *text)
{
    const char *path = scratch_path("names");
    soma_checkpoint made = make(wide);
    free(made.classes.names[1]);
    made.classes.names[1] = strdup(name);
    assert_int_equal(soma_checkpoint_write(path, &made, SOMA_F32, &err),
                     SOMA_E_ARGUMENT);
    if (!strstr(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
    assert_int_equal(access(path, F_OK), -1);
    soma_checkpoint_free(&made);
}

static void
test_write_wrong_names(void **state)
{
    (void)state;
    expect_name_refused("", "classes[1]: the name is empty");
    expect_name_refused("cat", "classes[1]: the name \"cat\" stands there");
    expect_name_refused("caf\xe9", "classes[1]: the name is not UTF-8");
}

/* ---- No memory ---- */

static long allocations_left;

static void *
failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* jansson's n-th allocation fails: everything says so, and nothing leaks. */
static void
test_no_memory(void **state)
{
    (void)state;
    soma_checkpoint made = make(wide);
    soma_bytes bytes;
    soma_status status = SOMA_E_MEMORY;
    json_set_alloc_funcs(failing_malloc, free);
    long n = 0;
    for (; status; n++) {
        allocations_left = n;
        status = soma_checkpoint_build(&made, SOMA_F32, &bytes, &err);
        if (status)
            assert_int_equal(status, SOMA_E_MEMORY);
    }
    assert_true(n > 50);
    status = SOMA_E_MEMORY;
    for (n = 0; status; n++) {
        soma_bytes copy = {malloc(bytes.size), bytes.size};
        memcpy(copy.data, bytes.data, bytes.size);
        allocations_left = n;
        status = soma_checkpoint_parse(&copy, NULL, &checkpoint, &err);
        /* Where its scanner has no memory, jansson says "invalid token". */
        if (status)
            assert_true(status == SOMA_E_MEMORY || status == SOMA_E_FORMAT);
        assert_true(!status == !!checkpoint.model);
    }
    assert_true(n > 50);
    json_set_alloc_funcs(malloc, free);
    expect_digest(checkpoint.model, wide_digest);
    soma_bytes_free(&bytes);
    soma_checkpoint_free(&checkpoint);
    soma_checkpoint_free(&made);
}

#define SCRATCH(test)                                                          \
    cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH(test_round_trip),
        cmocka_unit_test(test_bytes_are_stable),
        cmocka_unit_test(test_f16_rounds),
        cmocka_unit_test(test_tensors),
        SCRATCH(test_unreadable),
        SCRATCH(test_write_fails),
        SCRATCH(test_write_wrong_names),
        cmocka_unit_test(test_write_wrong_classes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}

/* Model files: written and read back, and every way to be wrong. The metadata
 * and foreign files have tests of their own. */
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

/* ---- Wrong tensors ---- */

/* A file of a [2] -> 1 network out of these tensors. */
static soma_status
read_tensors(const soma_tensor_out *tensors, int count)
{
    char key[] = "soma";
    char value[] = "{\"format\":1,\"input\":{\"shape\":[2]},"
                   "\"layers\":[{\"units\":1}],\"loss\":\"hinge\"}";
    soma_meta meta = {key, value};
    soma_bytes bytes;
    assert_int_equal(
        soma_safetensors_build(tensors, count, &meta, 1, &bytes, &err),
        SOMA_OK);
    err = (soma_error){0};
    soma_status status = soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err);
    assert_int_equal(err.status, status);
    assert_true(status ? !checkpoint.model : checkpoint.model != NULL);
    return status;
}

static const float values[] = {0.5f, 2, 3, 4};

#define WEIGHT                                                                 \
    {                                                                          \
        "layers.0.weight", SOMA_F32, 2, {1, 2}, values                         \
    }
#define BIAS                                                                   \
    {                                                                          \
        "layers.0.bias", SOMA_F32, 1, {1}, values                              \
    }

static void
test_memory_and_guard(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {0, 255, 7, 8};
    static const int32_t labels[] = {1, 0};
    static const uint8_t short_label = 1;
    soma_tensor_out tensors[] = {
        WEIGHT,
        BIAS,
        {"memory.x", SOMA_U8, 2, {2, 2}, pixels},
        {"memory.labels", SOMA_I32, 1, {2}, labels},
        {"guard.x", SOMA_F32, 2, {1, 2}, values},
        {"guard.labels", SOMA_U8, 1, {1}, &short_label}};
    assert_int_equal(read_tensors(tensors, 6), SOMA_OK);
    assert_true(soma_model_weights(checkpoint.model, 0)[1] == 2);
    float x[2];
    assert_int_equal(checkpoint.memory.count, 2);
    soma_memory_get(&checkpoint.memory, 1, x);
    assert_true(x[0] == 7 && x[1] == 8);
    assert_int_equal(checkpoint.memory.labels[0], 1);
    assert_int_equal(checkpoint.guard.count, 1);
    soma_memory_get(&checkpoint.guard, 0, x);
    assert_true(x[0] == 0.5f && x[1] == 2);

    /* What is written is read back, and the digest knows the memory. */
    char with[SOMA_DIGEST_HEX + 1], again[SOMA_DIGEST_HEX + 1];
    soma_bytes bytes;
    assert_int_equal(soma_checkpoint_digest(&checkpoint, with, &err), SOMA_OK);
    assert_int_equal(soma_checkpoint_build(&checkpoint, SOMA_F32, &bytes, &err),
                     SOMA_OK);
    soma_checkpoint_free(&checkpoint);
    assert_int_equal(soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err),
                     SOMA_OK);
    assert_int_equal(soma_checkpoint_digest(&checkpoint, again, &err), SOMA_OK);
    assert_string_equal(with, again);
    checkpoint.memory.labels[0] = 0;
    assert_int_equal(soma_checkpoint_digest(&checkpoint, again, &err), SOMA_OK);
    assert_string_not_equal(with, again);
    soma_checkpoint_free(&checkpoint);
}

static void
test_wrong_memory(void **state)
{
    (void)state;
    static const uint8_t pixels[] = {0, 255, 7, 8};
    static const int32_t labels[] = {1, 2};
    soma_tensor_out tensors[] = {WEIGHT,
                                 BIAS,
                                 {"memory.x", SOMA_U8, 2, {2, 2}, pixels},
                                 {"memory.labels", SOMA_I32, 1, {2}, labels}};
    assert_int_equal(read_tensors(tensors, 3), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "only one of them is there"));
    assert_int_equal(read_tensors(tensors, 4), SOMA_E_ARGUMENT);
    assert_non_null(strstr(err.text, "\"memory.labels\": element 1: expected "
                                     "a class from 0 to 1, got 2"));
    tensors[2].shape[0] = 1;
    tensors[2].shape[1] = 4;
    assert_int_equal(read_tensors(tensors, 4), SOMA_E_SHAPE);
    assert_non_null(strstr(err.text, "expected shapes [n, 2] and [n]"));
    tensors[2] = (soma_tensor_out){"memory.pixels", SOMA_U8, 1, {4}, pixels};
    assert_int_equal(read_tensors(tensors, 3), SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "unexpected tensor \"memory.pixels\""));
}

static void
expect_tensors(const soma_tensor_out *tensors, int count, soma_status status,
               const char *text)
{
    assert_int_equal(read_tensors(tensors, count), status);
    if (strcmp(err.text, text))
        fail_msg("expected \"%s\", got \"%s\"", text, err.text);
}

static void
test_tensors_missing_or_more(void **state)
{
    (void)state;
    soma_tensor_out all[] = {
        WEIGHT, BIAS, {"layers.1.weight", SOMA_F32, 2, {1, 1}, values}};
    expect_tensors(all, 0, SOMA_E_FORMAT,
                   "tensor \"layers.0.weight\" is missing");
    expect_tensors(all, 1, SOMA_E_FORMAT,
                   "tensor \"layers.0.bias\" is missing");
    expect_tensors(all + 1, 1, SOMA_E_FORMAT,
                   "tensor \"layers.0.weight\" is missing");
    expect_tensors(all, 3, SOMA_E_FORMAT,
                   "unexpected tensor \"layers.1.weight\"; the metadata name "
                   "1 layers");
    all[2].name = "memory";
    expect_tensors(all, 3, SOMA_E_FORMAT,
                   "unexpected tensor \"memory\"; the metadata name 1 layers");
}

static void
test_tensor_shapes(void **state)
{
    (void)state;
    soma_tensor_out two[] = {WEIGHT, BIAS};
    static const struct {
        int rank;
        uint64_t shape[3];
        const char *got;
    } weights[] = {{2, {2, 1}, "[2, 1]"},       {1, {2}, "[2]"},
                   {3, {1, 1, 2}, "[1, 1, 2]"}, {2, {1, 3}, "[1, 3]"},
                   {2, {0, 2}, "[0, 2]"},       {0, {0}, "[]"}};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        char text[128];
        two[0].rank = weights[i].rank;
        memcpy(two[0].shape, weights[i].shape, sizeof weights[i].shape);
        snprintf(text, sizeof text,
                 "tensor \"layers.0.weight\": expected shape [1, 2], got %s",
                 weights[i].got);
        expect_tensors(two, 2, SOMA_E_SHAPE, text);
    }
    soma_tensor_out bias[] = {WEIGHT, BIAS};
    bias[1].shape[0] = 2;
    expect_tensors(bias, 2, SOMA_E_SHAPE,
                   "tensor \"layers.0.bias\": expected shape [1], got [2]");
    bias[1].rank = 2;
    bias[1].shape[0] = bias[1].shape[1] = 1;
    expect_tensors(bias, 2, SOMA_E_SHAPE,
                   "tensor \"layers.0.bias\": expected shape [1], got [1, 1]");
}

static void
test_tensor_values(void **state)
{
    (void)state;
    const float wrong[] = {1, NAN};
    soma_tensor_out two[] = {WEIGHT, BIAS};
    two[0].values = wrong;
    expect_tensors(two, 2, SOMA_E_NOT_FINITE,
                   "tensor \"layers.0.weight\": element 1 is not a finite "
                   "float32");
    two[0].values = values;
    two[1].values = wrong + 1;
    expect_tensors(two, 2, SOMA_E_NOT_FINITE,
                   "tensor \"layers.0.bias\": element 0 is not a finite "
                   "float32");
    two[1].values = values;
    two[1].dtype = SOMA_U8;
    expect_tensors(two, 2, SOMA_E_UNSUPPORTED,
                   "tensor \"layers.0.bias\": dtype U8; expected F32, F16, "
                   "BF16 or F64");
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
        cmocka_unit_test(test_memory_and_guard),
        cmocka_unit_test(test_wrong_memory),
        cmocka_unit_test(test_tensors_missing_or_more),
        cmocka_unit_test(test_tensor_shapes),
        cmocka_unit_test(test_tensor_values),
        SCRATCH(test_unreadable),
        SCRATCH(test_write_fails),
        SCRATCH(test_write_wrong_names),
        cmocka_unit_test(test_write_wrong_classes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}

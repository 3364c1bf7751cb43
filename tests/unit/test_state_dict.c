/* PyTorch state_dicts with their sidecars. */
#include "core/io/checkpoint.h"

#include "core/matrix.h"
#include "tests/unit/scratch.h"

static soma_checkpoint checkpoint;
static soma_error err;

/* 40 numbers, all different. */
static float ramp[40];

static int
setup(void **state)
{
    for (int i = 0; i < 40; i++)
        ramp[i] = (float)i;
    return scratch_make(state);
}

static soma_bytes
build(const soma_tensor_out *tensors, int count)
{
    char key[] = "format", value[] = "pt"; /* as PyTorch's users write it */
    soma_meta meta = {key, value};
    soma_bytes bytes;
    assert_int_equal(
        soma_safetensors_build(tensors, count, &meta, 1, &bytes, &err),
        SOMA_OK);
    return bytes;
}

static soma_status
parse(const soma_tensor_out *tensors, int count, const char *sidecar)
{
    soma_bytes bytes = build(tensors, count);
    err = (soma_error){0};
    soma_status status =
        soma_checkpoint_parse(&bytes, sidecar, &checkpoint, &err);
    assert_int_equal(err.status, status);
    assert_true(!status == !!checkpoint.model);
    return status;
}

static void
expect_parsed(const soma_tensor_out *tensors, int count, const char *sidecar)
{
    soma_status status = parse(tensors, count, sidecar);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
}

static void
expect_refused(const soma_tensor_out *tensors, int count, const char *sidecar,
               soma_status status, const char *text)
{
    soma_status got = parse(tensors, count, sidecar);
    if (got != status || strcmp(err.text, text))
        fail_msg("expected %d \"%s\", got %d \"%s\"", status, text, got,
                 err.text);
}

/* The first numbers of a layer's weights, which say which tensor they are. */
static float
first_weight(int layer)
{
    const soma_layer *l = &checkpoint.model->spec.layers[layer];
    float rows[40];
    soma_matrix_to_rows(l->in, l->out,
                        soma_model_weights(checkpoint.model, layer), rows);
    return rows[0];
}

static const soma_tensor_out sequential[] = {
    {"0.weight", SOMA_F32, 2, {3, 2}, ramp},
    {"0.bias", SOMA_F32, 1, {3}, ramp + 6},
    {"2.weight", SOMA_F32, 2, {2, 3}, ramp + 9},
    {"2.bias", SOMA_F32, 1, {2}, ramp + 15},
};

static const char sidecar[] =
    "{\"format\":1,\"input\":{\"shape\":[2],\"mean\":[9]},"
    "\"layers\":[{\"activation\":\"relu\"},{}],"
    "\"loss\":\"softmax_cross_entropy\",\"classes\":[\"a\",\"b\"],"
    "\"made\":{\"by\":\"torch\"}}";

static void
check_sequential(void)
{
    const soma_model *model = checkpoint.model;
    assert_int_equal(model->spec.depth, 2);
    assert_int_equal(model->spec.layers[0].units, 3);
    assert_int_equal(model->spec.layers[1].units, 2);
    float rows[6];
    soma_matrix_to_rows(2, 3, soma_model_weights(model, 0), rows);
    assert_memory_equal(rows, ramp, sizeof rows);
    soma_matrix_to_rows(3, 2, soma_model_weights(model, 1), rows);
    assert_memory_equal(rows, ramp + 9, sizeof rows);
    assert_memory_equal(soma_model_bias(model, 0), ramp + 6, 12);
    assert_memory_equal(soma_model_bias(model, 1), ramp + 15, 8);
    assert_true(soma_model_mean(model)[0] == 9);
    assert_true(soma_model_std(model)[0] == 1);
    assert_int_equal(soma_classes_find(&checkpoint.classes, "b"), 1);
    assert_string_equal(
        json_string_value(json_object_get(checkpoint.made, "by")), "torch");
    soma_checkpoint_free(&checkpoint);
}

static void
test_sequential(void **state)
{
    (void)state;
    expect_parsed(sequential, 4, sidecar);
    check_sequential();
    /* Units may be said, too. */
    expect_parsed(
        sequential, 4,
        "{\"format\":1,\"input\":{\"shape\":[2]},\"layers\":["
        "{\"units\":3},{\"units\":2}],\"loss\":\"multiclass_hinge\"}");
    soma_checkpoint_free(&checkpoint);
}

static void
test_sidecar_beside(void **state)
{
    (void)state;
    soma_bytes bytes = build(sequential, 4);
    const char *path = scratch_write("m", bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    err = (soma_error){0};
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "no sidecar"));
    assert_int_equal(soma_checkpoint_read(path, sidecar, &checkpoint, &err),
                     SOMA_OK);
    check_sequential();
    scratch_text("m.json", sidecar);
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_OK);
    check_sequential();
    /* The one that is given goes before the one that lies there. */
    assert_int_equal(soma_checkpoint_read(path, "{}", &checkpoint, &err),
                     SOMA_E_FORMAT);
    scratch_write("m.json", sidecar, sizeof sidecar); /* with the NUL */
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "NUL"));
    scratch_text("m.json", "{\"format\":");
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, ": sidecar: not JSON"));
}

/* What lies beside a model of soma's own is none of its business. */
static void
test_sidecar_not_needed(void **state)
{
    (void)state;
    expect_parsed(sequential, 4, sidecar);
    const char *path = scratch_path("m");
    assert_int_equal(soma_checkpoint_write(path, &checkpoint, SOMA_F32, &err),
                     SOMA_OK);
    soma_checkpoint_free(&checkpoint);
    scratch_text("m.json", "not JSON");
    assert_int_equal(soma_checkpoint_read(path, NULL, &checkpoint, &err),
                     SOMA_OK);
    check_sequential();
}

static void
test_natural_order(void **state)
{
    (void)state;
    const soma_tensor_out tensors[] = {
        {"net.10.weight", SOMA_F32, 2, {2, 2}, ramp + 3},
        {"net.2.weight", SOMA_F32, 2, {2, 2}, ramp + 1},
        {"net.9.weight", SOMA_F32, 2, {2, 2}, ramp + 2},
        {"head.weight", SOMA_F32, 2, {2, 2}, ramp},
        {"net.99999999999999999999998.weight", SOMA_F32, 2, {2, 2}, ramp + 4},
        {"net.99999999999999999999999.weight", SOMA_F32, 2, {2, 2}, ramp + 5},
        {"net.a.weight", SOMA_F32, 2, {2, 2}, ramp + 6},
        {"t.3.2.weight", SOMA_F32, 2, {2, 2}, ramp + 8},
        {"t.2.10.weight", SOMA_F32, 2, {2, 2}, ramp + 7},
    };
    expect_parsed(tensors, 9,
                  "{\"format\":1,\"input\":{\"shape\":[2]},"
                  "\"layers\":[{},{},{},{},{},{},{},{},{}],"
                  "\"loss\":\"multiclass_hinge\"}");
    for (int i = 0; i < 9; i++) {
        assert_true(first_weight(i) == (float)i);
        assert_true(soma_model_bias(checkpoint.model, i)[0] == 0);
        assert_true(soma_model_bias(checkpoint.model, i)[1] == 0);
    }
    soma_checkpoint_free(&checkpoint);
}

/* A lone nn.Linear, half precision, and a bias as wide as all the rest. */
static void
test_single_layer(void **state)
{
    (void)state;
    const char text[] = "{\"format\":1,\"input\":{\"shape\":[1]},"
                        "\"layers\":[{}],\"loss\":\"multiclass_hinge\"}";
    const soma_tensor_out tensors[] = {
        {"weight", SOMA_F16, 2, {40, 1}, ramp},
        {"bias", SOMA_F16, 1, {40}, ramp},
    };
    expect_parsed(tensors, 2, text);
    assert_memory_equal(soma_model_bias(checkpoint.model, 0), ramp,
                        sizeof ramp);
    soma_checkpoint_free(&checkpoint);
    expect_parsed(tensors, 1, text);
    assert_int_equal(checkpoint.model->spec.outputs, 40);
    soma_checkpoint_free(&checkpoint);
}

static void
test_foreign_tensors(void **state)
{
    (void)state;
    soma_tensor_out tensors[5];
    memcpy(tensors, sequential, sizeof sequential);
    static const struct {
        const char *name;
        int rank;
    } rows[] = {{"1.running_mean", 1}, {"1.weight", 1}, {"1.bias", 1},
                {"conv.weight", 4},    {"bias", 1},     {"0.weights", 2},
                {"weight_v", 2},       {"2weight", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        tensors[4] = (soma_tensor_out){
            rows[i].name, SOMA_F32, rows[i].rank, {1, 1, 1, 1}, ramp};
        snprintf(text, sizeof text,
                 "tensor \"%s\": neither the weight [out, in] nor the bias "
                 "[out] of a dense layer",
                 rows[i].name);
        expect_refused(tensors, 5, sidecar, SOMA_E_UNSUPPORTED, text);
    }
}

static void
test_wrong_shapes(void **state)
{
    (void)state;
    soma_tensor_out tensors[4];
    memcpy(tensors, sequential, sizeof sequential);
    tensors[1].shape[0] = 2;
    expect_refused(tensors, 4, sidecar, SOMA_E_SHAPE,
                   "tensor \"0.bias\": expected shape [3], got [2]");
    tensors[1].shape[0] = 3;
    tensors[2].shape[0] = 3;
    tensors[2].shape[1] = 2;
    tensors[3].shape[0] = 3;
    expect_refused(tensors, 4,
                   "{\"format\":1,\"input\":{\"shape\":[2]},\"layers\":[{},{}],"
                   "\"loss\":\"multiclass_hinge\"}",
                   SOMA_E_SHAPE,
                   "tensor \"2.weight\": expected shape [3, 3], got [3, 2]");
    expect_refused(sequential, 4,
                   "{\"format\":1,\"input\":{\"shape\":[2]},"
                   "\"layers\":[{\"units\":4},{}],"
                   "\"loss\":\"multiclass_hinge\"}",
                   SOMA_E_SHAPE,
                   "tensor \"0.weight\": expected shape [4, 2], got [3, 2]");
}

static void
test_wrong_sidecar(void **state)
{
    (void)state;
    expect_refused(sequential, 4, NULL, SOMA_E_FORMAT,
                   "no \"soma\" in its metadata, and no sidecar FILE.json that "
                   "says what the network is");
    expect_refused(sequential, 4, "[]", SOMA_E_FORMAT,
                   "sidecar: expected a JSON object, got an array");
    expect_refused(sequential, 4, "{}", SOMA_E_FORMAT,
                   "sidecar: layers: expected an array");
    expect_refused(sequential, 4, "{\"layers\":[{}]}", SOMA_E_SHAPE,
                   "sidecar: layers: 1 entries, the file has 2 dense layers");
    expect_refused(sequential, 4, "{\"layers\":[{},{}]}", SOMA_E_FORMAT,
                   "sidecar: format: expected 1, got nothing");
    expect_refused(sequential, 4,
                   "{\"format\":1,\"input\":{\"shape\":[2]},\"layers\":[{},3]}",
                   SOMA_E_FORMAT,
                   "sidecar: layers[1]: expected an object, "
                   "got 3");
    expect_refused(sequential, 4,
                   "{\"format\":1,\"input\":{\"shape\":[2]},\"layers\":[{},{}],"
                   "\"loss\":\"multiclass_hinge\",\"made\":1}",
                   SOMA_E_FORMAT, "sidecar: made: expected an object");
    expect_refused(sequential, 0, "{\"layers\":[]}", SOMA_E_FORMAT,
                   "sidecar: format: expected 1, got nothing");
}

static void
test_too_many_layers(void **state)
{
    (void)state;
    soma_tensor_out tensors[33];
    char names[33][24];
    for (int i = 0; i < 33; i++) {
        snprintf(names[i], sizeof names[i], "%d.weight", i);
        tensors[i] = (soma_tensor_out){names[i], SOMA_F32, 2, {2, 2}, ramp};
    }
    expect_refused(tensors, 33, sidecar, SOMA_E_LIMIT,
                   "more than 32 dense layers");
}

#define SCRATCH(test)                                                          \
    cmocka_unit_test_setup_teardown(test, setup, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH(test_sequential),         SCRATCH(test_sidecar_beside),
        SCRATCH(test_sidecar_not_needed), SCRATCH(test_natural_order),
        SCRATCH(test_single_layer),       SCRATCH(test_foreign_tensors),
        SCRATCH(test_wrong_shapes),       SCRATCH(test_wrong_sidecar),
        SCRATCH(test_too_many_layers),
    };
    return cmocka_run_group_tests_name("state_dict", tests, NULL, NULL);
}

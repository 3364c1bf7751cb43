/* Specs: every bound has its refusal, every derived field its value. Models:
 * the block, copies of it, the numbers it starts with. */
#include "core/model.h"

#include "tests/unit/nets.h"

#include <stdio.h>

static soma_spec
good_spec(void)
{
    soma_spec spec = nets_unfinished(
        12, "softmax_cross_entropy", 3,
        NETS_LAYERS{DENSE(5, "relu"), MAXOUT(4, 3), DENSE(3, "identity")});
    spec.input = (soma_input){
        .rank = 3, .shape = {3, 2, 2}, .low = 0, .high = 255, .normals = 3};
    return spec;
}

static void
test_derived_fields(void **state)
{
    (void)state;
    soma_spec spec = good_spec();
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    assert_int_equal(spec.input.size, 12);
    assert_int_equal(spec.input.channels, 3);
    const int ins[] = {12, 5, 4}, outs[] = {5, 12, 3};
    const size_t weights[] = {0, 65, 137}, bias[] = {60, 125, 149};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(spec.layers[i].in, ins[i]);
        assert_int_equal(spec.layers[i].out, outs[i]);
        assert_int_equal(spec.layers[i].weights, weights[i]);
        assert_int_equal(spec.layers[i].bias, bias[i]);
    }
    assert_int_equal(spec.outputs, 3);
    assert_int_equal(spec.classes, 3);
    assert_int_equal(spec.trainable, 152);
    assert_int_equal(spec.mean, 152);
    assert_int_equal(spec.std, 155);
    assert_int_equal(spec.params, 158);
}

static void
test_channels(void **state)
{
    (void)state;
    const struct {
        int rank, shape[4], size, channels;
    } inputs[] = {
        {1, {7}, 7, 7},
        {2, {28, 27}, 756, 1},
        {3, {3, 32, 31}, 2976, 3},
        {4, {2, 3, 4, 5}, 120, 2},
        {1, {SOMA_MAX_UNITS}, SOMA_MAX_UNITS, SOMA_MAX_UNITS},
        {2, {1024, 1024}, SOMA_MAX_UNITS, 1},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        for (int normals = 0; normals < 3; normals++) {
            soma_spec spec = good_spec();
            spec.input.rank = inputs[i].rank;
            memcpy(spec.input.shape, inputs[i].shape, sizeof inputs[i].shape);
            spec.input.normals = normals < 2 ? normals : inputs[i].channels;
            nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
            assert_int_equal(spec.input.size, inputs[i].size);
            assert_int_equal(spec.input.channels, inputs[i].channels);
        }
}

/* Names a field of good_spec(), changes it, and expects to be refused. */
#define REFUSED(change, status, text)                                          \
    do {                                                                       \
        soma_spec spec = good_spec();                                          \
        change;                                                                \
        expect_refusal(&spec, status, text);                                   \
    } while (0)

static void
expect_refusal(soma_spec *spec, soma_status status, const char *text)
{
    soma_error err = {0};
    assert_int_equal(soma_spec_finish(spec, NULL), status);
    assert_int_equal(soma_spec_finish(spec, &err), status);
    assert_int_equal(err.status, status);
    assert_string_equal(err.text, text);
}

static void
test_refused_inputs(void **state)
{
    (void)state;
    REFUSED(spec.input.rank = 0, SOMA_E_ARGUMENT,
            "input shape: expected 1 to 4 dimensions, got 0");
    REFUSED(spec.input.rank = 5, SOMA_E_ARGUMENT,
            "input shape: expected 1 to 4 dimensions, got 5");
    REFUSED(spec.input.rank = -1, SOMA_E_ARGUMENT,
            "input shape: expected 1 to 4 dimensions, got -1");
    REFUSED(spec.input.shape[1] = 0, SOMA_E_ARGUMENT,
            "input shape: dimension 1 is 0, expected 1 to 1048576");
    REFUSED(spec.input.shape[0] = -3, SOMA_E_ARGUMENT,
            "input shape: dimension 0 is -3, expected 1 to 1048576");
    REFUSED(spec.input.shape[2] = SOMA_MAX_UNITS + 1, SOMA_E_ARGUMENT,
            "input shape: dimension 2 is 1048577, expected 1 to 1048576");
    REFUSED(spec.input.shape[1] = SOMA_MAX_UNITS, SOMA_E_LIMIT,
            "input shape: more than 1048576 values");
    const float bad[][2] = {{1, 1},         {2, 1},         {NAN, 1},
                            {0, NAN},       {-INFINITY, 1}, {0, INFINITY},
                            {INFINITY, NAN}};
    const char *texts[] = {"1 and 1",    "2 and 1",   "nan and 1",  "0 and nan",
                           "-inf and 1", "0 and inf", "inf and nan"};
    for (int i = 0; i < 7; i++) {
        char text[128];
        snprintf(text, sizeof text,
                 "input range: expected two finite numbers, the lower first, "
                 "got %s",
                 texts[i]);
        REFUSED((spec.input.low = bad[i][0], spec.input.high = bad[i][1]),
                SOMA_E_ARGUMENT, text);
    }
    REFUSED(spec.input.normals = 2, SOMA_E_ARGUMENT,
            "input mean and std: expected 1 or 3 entries, got 2");
    REFUSED(spec.input.normals = -1, SOMA_E_ARGUMENT,
            "input mean and std: expected 1 or 3 entries, got -1");
    REFUSED(spec.input.normals = 12, SOMA_E_ARGUMENT,
            "input mean and std: expected 1 or 3 entries, got 12");
}

static void
test_refused_layers(void **state)
{
    (void)state;
    REFUSED(spec.depth = 0, SOMA_E_ARGUMENT, "0 layers, expected 1 to 32");
    REFUSED(spec.depth = -1, SOMA_E_ARGUMENT, "-1 layers, expected 1 to 32");
    REFUSED(spec.depth = 33, SOMA_E_ARGUMENT, "33 layers, expected 1 to 32");
    REFUSED(spec.depth = 4, SOMA_E_ARGUMENT, "layer 3: no activation");
    REFUSED(spec.layers[1].activation = NULL, SOMA_E_ARGUMENT,
            "layer 1: no activation");
    REFUSED(spec.layers[0].units = 0, SOMA_E_ARGUMENT,
            "layer 0: 0 units, expected 1 to 1048576");
    REFUSED(spec.layers[2].units = -4, SOMA_E_ARGUMENT,
            "layer 2: -4 units, expected 1 to 1048576");
    REFUSED(spec.layers[2].units = SOMA_MAX_UNITS + 1, SOMA_E_ARGUMENT,
            "layer 2: 1048577 units, expected 1 to 1048576");
    REFUSED(spec.layers[0].pieces = 0, SOMA_E_ARGUMENT,
            "layer 0: 0 pieces, expected 1 (not maxout)");
    REFUSED(spec.layers[0].pieces = 2, SOMA_E_ARGUMENT,
            "layer 0: 2 pieces, expected 1 (not maxout)");
    REFUSED(spec.layers[1].pieces = 1, SOMA_E_ARGUMENT,
            "layer 1: 1 pieces, expected 2 or more");
    REFUSED(spec.layers[1].pieces = -2, SOMA_E_ARGUMENT,
            "layer 1: -2 pieces, expected 2 or more");
    REFUSED(spec.layers[1].pieces = INT32_MAX, SOMA_E_LIMIT,
            "layer 1: more than 1048576 units times pieces");
    REFUSED(spec.layers[1].pieces = SOMA_MAX_UNITS / 4 + 1, SOMA_E_LIMIT,
            "layer 1: more than 1048576 units times pieces");
    REFUSED(spec.layers[0].slope = NAN, SOMA_E_NOT_FINITE,
            "layer 0: the slope is not finite");
    REFUSED(spec.layers[0].slope = -INFINITY, SOMA_E_NOT_FINITE,
            "layer 0: the slope is not finite");
    REFUSED((spec.layers[0].units = spec.layers[2].units = SOMA_MAX_UNITS,
             spec.depth = 3, spec.layers[1] = spec.layers[0]),
            SOMA_E_LIMIT, "more than 1073741824 parameters");
}

static void
test_refused_losses(void **state)
{
    (void)state;
    REFUSED(spec.loss = NULL, SOMA_E_ARGUMENT, "no loss");
    for (int i = 0; i < 4; i++) {
        const soma_loss *loss = soma_loss_at(i);
        char text[128];
        snprintf(text, sizeof text, "loss %s: the last layer must have %s",
                 loss->name,
                 loss->binary ? "1 unit, it has 3"
                              : "2 or more units, it has 1");
        REFUSED((spec.loss = loss, spec.layers[2].units = loss->binary ? 3 : 1),
                SOMA_E_ARGUMENT, text);
    }
}

/* One float below each bound is fine. */
static void
test_bounds_are_reached(void **state)
{
    (void)state;
    soma_spec spec = good_spec();
    spec.depth = SOMA_MAX_LAYERS;
    for (int i = 1; i < SOMA_MAX_LAYERS; i++)
        spec.layers[i] = nets_make_layer(&(nets_layer)DENSE(2, "tanh"));
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});

    spec = good_spec();
    spec.layers[1].pieces = SOMA_MAX_UNITS / 4;
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});

    /* 1023 inputs and a bias for each of 2^20 units: 2^30 parameters. */
    spec = nets_unfinished(1023, "multiclass_hinge", 1,
                           NETS_LAYERS{DENSE(SOMA_MAX_UNITS, "identity")});
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    assert_true(spec.params == SOMA_MAX_PARAMS);
    spec.input.shape[0] = 1024;
    expect_refusal(&spec, SOMA_E_LIMIT, "more than 1073741824 parameters");
}

static void
test_binary_has_two_classes(void **state)
{
    (void)state;
    soma_spec spec = nets_spec(3, "hinge", 1, NETS_LAYERS{DENSE(1, "tanh")});
    assert_int_equal(spec.outputs, 1);
    assert_int_equal(spec.classes, 2);
}

/* What a layer's activation does not use is 0, so that specs compare. */
static void
test_unused_slope(void **state)
{
    (void)state;
    soma_spec spec = good_spec();
    spec.layers[0].slope = 3;
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    assert_true(spec.layers[0].slope == 0);
    spec.layers[0] = nets_make_layer(&(nets_layer)DENSE(5, "leaky_relu"));
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    assert_true(spec.layers[0].slope == 0.1f);
}

#define DIFFERS(change)                                                        \
    do {                                                                       \
        soma_spec a = good_spec(), b = good_spec();                            \
        a.layers[0] = b.layers[0] =                                            \
            nets_make_layer(&(nets_layer)DENSE(5, "leaky_relu"));              \
        nets_ok(soma_spec_finish(&a, NULL), &(soma_error){0});                 \
        nets_ok(soma_spec_finish(&b, NULL), &(soma_error){0});                 \
        assert_true(soma_spec_equal(&a, &b));                                  \
        change;                                                                \
        nets_ok(soma_spec_finish(&b, NULL), &(soma_error){0});                 \
        assert_false(soma_spec_equal(&a, &b));                                 \
        assert_false(soma_spec_equal(&b, &a));                                 \
    } while (0)

static void
test_equal(void **state)
{
    (void)state;
    DIFFERS((b.input.rank = 2, b.input.normals = 1));
    DIFFERS((b.input.shape[1] = 4, b.input.shape[2] = 1));
    DIFFERS(b.input.low = -1);
    DIFFERS(b.input.high = 1);
    DIFFERS(b.input.normals = 1);
    DIFFERS(b.depth = 2);
    DIFFERS(b.layers[1].units = 6);
    DIFFERS(b.layers[1].pieces = 2);
    DIFFERS(b.layers[2].activation = soma_activation_at(1));
    DIFFERS(b.layers[0].slope = 0.2f);
    DIFFERS(b.loss = soma_loss_at(3));
}

static soma_model *
create(soma_spec spec)
{
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    soma_model *model = soma_model_create(&spec, NULL);
    assert_non_null(model);
    return model;
}

static void
test_create(void **state)
{
    (void)state;
    soma_model *model = create(good_spec());
    assert_int_equal((uintptr_t)model->params % 64, 0);
    for (size_t i = 0; i < model->spec.params; i++)
        assert_true(model->params[i] == (i < model->spec.std ? 0 : 1));
    assert_ptr_equal(soma_model_weights(model, 1), model->params + 65);
    assert_ptr_equal(soma_model_bias(model, 2), model->params + 149);
    assert_ptr_equal(soma_model_mean(model), model->params + 152);
    assert_ptr_equal(soma_model_std(model), model->params + 155);
    soma_model_free(model);
    soma_model_free(NULL);
}

static void
test_clone_and_copy(void **state)
{
    (void)state;
    soma_model *model = create(good_spec());
    size_t bytes = model->spec.params * sizeof(float);
    nets_fill(&(soma_rng){{1, 2, 3, 4}}, -1, 1, model->spec.params,
              model->params);
    soma_model *clone = soma_model_clone(model, NULL);
    assert_non_null(clone);
    assert_true(soma_spec_equal(&clone->spec, &model->spec));
    assert_memory_equal(clone->params, model->params, bytes);
    assert_ptr_not_equal(clone->params, model->params);
    model->params[0]++;
    model->params[model->spec.params - 1]++;
    assert_memory_not_equal(clone->params, model->params, sizeof(float));
    soma_model_copy(clone, model);
    assert_memory_equal(clone->params, model->params, bytes);
    soma_model_free(model);
    soma_model_free(clone);
}

static void
test_finite(void **state)
{
    (void)state;
    soma_model *model = create(good_spec());
    const float bad[] = {NAN, INFINITY, -INFINITY};
    assert_true(soma_model_finite(model));
    for (size_t i = 0; i < model->spec.params; i++)
        for (int k = 0; k < 3; k++) {
            float kept = model->params[i];
            model->params[i] = bad[k];
            assert_false(soma_model_finite(model));
            model->params[i] = kept;
        }
    assert_true(soma_model_finite(model));
    soma_model_free(model);
}

/* Moments of layer 0's weights against what they are drawn from; five
 * standard deviations of the estimates. */
static void
check_init(const char *activation, int pieces, bool he)
{
    enum { IN = 200, UNITS = 120 };
    soma_model *model = create(nets_unfinished(
        IN, "softmax_cross_entropy", 2,
        NETS_LAYERS{{UNITS, activation, pieces, 0}, DENSE(2, "identity")}));
    nets_fill(&(soma_rng){{1, 2, 3, 4}}, 5, 6, model->spec.params,
              model->params);
    soma_rng rng = soma_rng_seed(1, 0);
    soma_model_init(model, &rng);
    const soma_layer *layer = &model->spec.layers[0];
    size_t n = nets_at(layer->in, layer->out);
    double mean = 0, square = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double w = (double)model->params[i];
        mean += w / (double)n;
        square += w * w / (double)n;
        most = fmax(most, fabs(w));
    }
    double bound = sqrt(6.0 / (IN + UNITS));
    double variance = he ? 2.0 / IN : bound * bound / 3;
    assert_true(fabs(mean) < 5 * sqrt(variance / (double)n));
    assert_true(fabs(square / variance - 1) < 5 * sqrt(2 / (double)n));
    if (he)
        assert_true(most > 3.5 * sqrt(variance));
    else
        assert_true(most <= bound && most > 0.999 * bound);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < model->spec.layers[i].out; j++)
            assert_true(soma_model_bias(model, i)[j] == 0);
    soma_model_free(model);
}

static void
test_init(void **state)
{
    (void)state;
    check_init("identity", 1, false);
    check_init("sigmoid", 1, false);
    check_init("tanh", 1, false);
    check_init("relu", 1, true);
    check_init("leaky_relu", 1, true);
    check_init("maxout", 2, true);
    check_init("maxout", 3, true);
}

/* Draws go output by output, so a layer's first outputs are the same numbers
 * however many follow; and the same seed gives the same model. */
static void
test_init_order(void **state)
{
    (void)state;
    enum { IN = 3 };
    const int outs[] = {10, 64, 65, 130};
    float expected[130 * IN], rows[130 * IN];
    soma_rng rng = soma_rng_seed(7, 0);
    for (int i = 0; i < 130 * IN; i++)
        expected[i] = soma_rng_normal(&rng) * sqrtf(2.0f / IN);
    for (int k = 0; k < 4; k++) {
        soma_model *model =
            create(nets_unfinished(IN, "softmax_cross_entropy", 1,
                                   NETS_LAYERS{DENSE(outs[k], "relu")}));
        rng = soma_rng_seed(7, 0);
        soma_model_init(model, &rng);
        soma_matrix_to_rows(IN, outs[k], soma_model_weights(model, 0), rows);
        assert_memory_equal(rows, expected,
                            nets_at(outs[k], IN) * sizeof *rows);
        soma_model_free(model);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derived_fields),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_refused_inputs),
        cmocka_unit_test(test_refused_layers),
        cmocka_unit_test(test_refused_losses),
        cmocka_unit_test(test_bounds_are_reached),
        cmocka_unit_test(test_binary_has_two_classes),
        cmocka_unit_test(test_unused_slope),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_clone_and_copy),
        cmocka_unit_test(test_finite),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_init_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

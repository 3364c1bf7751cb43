/* Forward passes of all shapes against double precision; the same bits in
 * every batch; extreme inputs; the health of layers. Gradients have programs
 * of their own: test_gradient.c, test_dropout.c, test_golden.c. */
#include "core/pass.h"

#include "tests/unit/reference.h"

#include <float.h>

static soma_workspace *
workspace(const soma_spec *spec, int rows, soma_pass_mode mode)
{
    soma_workspace *ws = soma_workspace_create(spec, rows, mode, NULL);
    assert_non_null(ws);
    return ws;
}

/* Scores within `tolerance` of the largest. */
static void
check_scores(soma_spec spec, int rows, double tolerance)
{
    soma_model *model = nets_model(&spec, 1);
    float *x = nets_rows(&spec, rows, 1);
    size_t count = nets_at(rows, spec.outputs);
    double *expected = nets_alloc(count, sizeof *expected), largest = 0;
    reference net = reference_create(model);
    reference_run(&net, rows, x, NULL, 0, expected);
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    const soma_pass_mode modes[] = {SOMA_PASS_PREDICT, SOMA_PASS_LEARN};
    float *first = nets_floats(count);
    for (int m = 0; m < 2; m++) {
        soma_workspace *ws = workspace(&spec, rows, modes[m]);
        const float *scores = soma_pass_forward(model, ws, rows, x);
        assert_ptr_equal(soma_pass_scores(ws), scores);
        for (size_t i = 0; i < count; i++)
            if (!(fabs((double)scores[i] - expected[i]) <= tolerance * largest))
                fail_msg("%d inputs, %d outputs: score %zu is %.9g, expected "
                         "%.9g",
                         spec.input.size, spec.outputs, i, (double)scores[i],
                         expected[i]);
        if (m == 0)
            memcpy(first, scores, count * sizeof *first);
        assert_memory_equal(scores, first, count * sizeof *first);
        soma_workspace_free(ws);
    }
    reference_free(&net);
    soma_model_free(model);
    free(x), free(expected), free(first);
}

static void
test_shapes(void **state)
{
    (void)state;
    /* A single sigmoid neuron; s = W x; two, three and eight layers. */
    check_scores(nets_spec(1, "logistic", 1, NETS_LAYERS{DENSE(1, "sigmoid")}),
                 5, 1e-6);
    check_scores(nets_spec(3072, "multiclass_hinge", 1,
                           NETS_LAYERS{DENSE(10, "identity")}),
                 5, 1e-5);
    check_scores(
        nets_spec(3072, "softmax_cross_entropy", 2,
                  NETS_LAYERS{DENSE(100, "relu"), DENSE(10, "identity")}),
        5, 1e-5);
    check_scores(nets_spec(784, "softmax_cross_entropy", 3,
                           NETS_LAYERS{DENSE(130, "tanh"), MAXOUT(65, 3),
                                       DENSE(10, "identity")}),
                 5, 1e-5);
    check_scores(
        nets_spec(10, "hinge", 8,
                  NETS_LAYERS{DENSE(64, "relu"), DENSE(63, "tanh"),
                              MAXOUT(33, 2), DENSE(65, "sigmoid"),
                              DENSE(1, "leaky_relu"), MAXOUT(1, 4),
                              DENSE(128, "identity"), DENSE(1, "identity")}),
        6, 1e-5);
}

static void
test_widths(void **state)
{
    (void)state;
    const int widths[] = {1, 10, 63, 64, 65, 100, 128, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
            check_scores(nets_spec(widths[i], "softmax_cross_entropy", 2,
                                   NETS_LAYERS{DENSE(widths[j], "tanh"),
                                               DENSE(2, "identity")}),
                         3, 1e-5);
}

static void
test_depths(void **state)
{
    (void)state;
    const int ins[] = {3839, 3840, 3841, 8000};
    for (size_t i = 0; i < sizeof ins / sizeof *ins; i++)
        check_scores(
            nets_spec(ins[i], "softmax_cross_entropy", 2,
                      NETS_LAYERS{DENSE(66, "tanh"), DENSE(3, "identity")}),
            5, 1e-5);
}

/* A row alone, then in every place of batches of 1 to 9. */
static void
check_batches(soma_spec spec)
{
    enum { MOST = 9 };
    soma_model *model = nets_model(&spec, 2);
    soma_workspace *ws = workspace(&spec, MOST, SOMA_PASS_PREDICT);
    float *x = nets_rows(&spec, MOST, 2);
    float *alone = nets_floats(nets_at(MOST, spec.outputs));
    size_t bytes = (size_t)spec.outputs * sizeof *alone;
    for (int r = 0; r < MOST; r++)
        memcpy(alone + nets_at(r, spec.outputs),
               soma_pass_forward(model, ws, 1, x + nets_at(r, spec.input.size)),
               bytes);
    for (int rows = 1; rows <= MOST; rows++)
        for (int first = 0; first + rows <= MOST; first++) {
            const float *scores = soma_pass_forward(
                model, ws, rows, x + nets_at(first, spec.input.size));
            if (memcmp(scores, alone + nets_at(first, spec.outputs),
                       (size_t)rows * bytes))
                fail_msg("%d inputs, %d layers: rows %d to %d have other bits",
                         spec.input.size, spec.depth, first, first + rows - 1);
        }
    free(x), free(alone);
    soma_workspace_free(ws);
    soma_model_free(model);
}

static void
test_same_bits_in_any_batch(void **state)
{
    (void)state;
    for (int i = 0; soma_activation_at(i); i++) {
        const char *name = soma_activation_at(i)->name;
        check_batches(nets_spec(100, "softmax_cross_entropy", 3,
                                NETS_LAYERS{DENSE(65, name), DENSE(37, name),
                                            DENSE(10, "identity")}));
        check_batches(
            nets_spec(784, "logistic", 1, NETS_LAYERS{DENSE(1, name)}));
    }
    check_batches(
        nets_spec(3072, "softmax_cross_entropy", 2,
                  NETS_LAYERS{DENSE(100, "relu"), DENSE(10, "identity")}));
    check_batches(
        nets_spec(8000, "softmax_cross_entropy", 2,
                  NETS_LAYERS{DENSE(17, "tanh"), DENSE(130, "identity")}));
    soma_spec spec = nets_unfinished(27, "softmax_cross_entropy", 1,
                                     NETS_LAYERS{DENSE(7, "identity")});
    spec.input = (soma_input){
        .rank = 3, .shape = {3, 3, 3}, .low = 0, .high = 255, .normals = 3};
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    check_batches(spec);
}

/* A model of one layer with all weights `w` and bias 0. */
static soma_model *
flat_model(const soma_spec *spec, float w)
{
    soma_model *model = soma_model_create(spec, NULL);
    assert_non_null(model);
    for (size_t i = 0; i < spec->layers[0].bias; i++)
        soma_model_weights(model, 0)[i] = w;
    return model;
}

/* Scores of +-1e4 and beyond: the answer certain, the loss and all gradients
 * finite, and the gradient of a right answer 0. */
static void
check_certain(const char *loss, float x, int label, double expected,
              double gradient)
{
    soma_spec spec = nets_spec(1, loss, 1, NETS_LAYERS{DENSE(1, "identity")});
    soma_model *model = flat_model(&spec, 1);
    soma_workspace *ws = workspace(&spec, 1, SOMA_PASS_LEARN);
    float grad[2];
    double sum = soma_pass_gradient(model, ws, 1, &x, &label, NULL, grad);
    if (!(fabs(sum - expected) <= 1e-6 * expected))
        fail_msg("%s at %g: loss %g, expected %g", loss, (double)x, sum,
                 expected);
    assert_true((double)grad[1] == gradient);
    assert_true(fabs((double)grad[0] - gradient * (double)x) <=
                1e-6 * fabs(gradient * (double)x));
    soma_workspace_free(ws);
    soma_model_free(model);
}

static void
test_extreme_scores(void **state)
{
    (void)state;
    const float far[] = {200, 1e4f, 1e30f, FLT_MAX};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        float x = far[i];
        check_certain("logistic", x, 1, 0, 0);
        check_certain("logistic", -x, 0, 0, 0);
        check_certain("logistic", x, 0, (double)x, 1);
        check_certain("logistic", -x, 1, (double)x, -1);
        check_certain("hinge", x, 1, 0, 0);
        check_certain("hinge", x, 0, (double)x + 1, 1);
        check_certain("hinge", -x, 1, (double)x + 1, -1);
    }
}

/* Two hidden layers driven far into saturation: finite everywhere, and no
 * gradient reaches the first one. */
static void
test_saturated(void **state)
{
    (void)state;
    const char *const names[] = {"sigmoid", "tanh"};
    for (int i = 0; i < 2; i++) {
        soma_spec spec =
            nets_spec(3, "softmax_cross_entropy", 2,
                      NETS_LAYERS{DENSE(4, names[i]), DENSE(3, "identity")});
        soma_model *model = nets_model(&spec, 3);
        for (size_t k = 0; k < spec.layers[0].bias; k++)
            soma_model_weights(model, 0)[k] *= 1e30f;
        soma_workspace *ws = workspace(&spec, 2, SOMA_PASS_LEARN);
        float x[] = {1, 2, -1, -2, 1, 1.5f}, *grad;
        grad = nets_floats(spec.trainable);
        double sum =
            soma_pass_gradient(model, ws, 2, x, (int[]){0, 2}, NULL, grad);
        assert_true(isfinite(sum) && sum > 0);
        double rest = 0;
        for (size_t k = 0; k < spec.trainable; k++) {
            assert_true(isfinite(grad[k]));
            if (k < spec.layers[1].weights)
                assert_true(grad[k] == 0);
            else
                rest += fabs((double)grad[k]);
        }
        assert_true(rest > 0.1);
        soma_layer_health health[2];
        soma_pass_health(model, ws, health);
        assert_true(health[0].stuck == 1 && health[0].always_stuck == 1);
        assert_true(health[0].gradient_norm == 0);
        assert_true(health[1].stuck == 0 && health[1].gradient_norm > 0.1);
        free(grad);
        soma_workspace_free(ws);
        soma_model_free(model);
    }
}

/* All zeros: every class as likely, and softmax's gradient p - onehot. */
static void
test_zeros(void **state)
{
    (void)state;
    soma_spec spec =
        nets_spec(4, "softmax_cross_entropy", 2,
                  NETS_LAYERS{DENSE(3, "relu"), DENSE(4, "identity")});
    soma_model *model = soma_model_create(&spec, NULL);
    assert_non_null(model);
    soma_workspace *ws = workspace(&spec, 1, SOMA_PASS_LEARN);
    float x[4] = {0}, *grad = nets_floats(spec.trainable);
    double sum = soma_pass_gradient(model, ws, 1, x, (int[]){2}, NULL, grad);
    assert_true(fabs(sum - log(4)) < 1e-6);
    const float *bias = grad + spec.layers[1].bias;
    for (int j = 0; j < 4; j++)
        assert_true(bias[j] == (j == 2 ? -0.75f : 0.25f));
    for (size_t k = 0; k < spec.layers[1].bias; k++)
        assert_true(grad[k] == 0);
    free(grad);
    soma_workspace_free(ws);
    soma_model_free(model);
}

/* Of a sum of both infinities no later layer makes a number: the scores, where
 * callers look for it, are not finite. */
static void
test_overflow_shows(void **state)
{
    (void)state;
    for (int i = 0; soma_activation_at(i); i++) {
        soma_spec spec =
            nets_spec(1, "softmax_cross_entropy", 3,
                      NETS_LAYERS{DENSE(2, "identity"),
                                  DENSE(1, soma_activation_at(i)->name),
                                  DENSE(2, "identity")});
        soma_model *model = soma_model_create(&spec, NULL);
        assert_non_null(model);
        for (size_t k = 0; k < spec.trainable; k++)
            model->params[k] = 1;
        soma_model_weights(model, 0)[0] = FLT_MAX;
        soma_model_weights(model, 0)[1] = -FLT_MAX;
        soma_workspace *ws = workspace(&spec, 1, SOMA_PASS_PREDICT);
        const float *scores = soma_pass_forward(model, ws, 1, (float[]){1});
        assert_true(isfinite(scores[0]) && isfinite(scores[1]));
        scores = soma_pass_forward(model, ws, 1, (float[]){1e9f});
        assert_true(isnan(scores[0]) && isnan(scores[1]));
        soma_workspace_free(ws);
        soma_model_free(model);
    }
}

/* Two inputs as they are through a layer of identity weights: each unit's
 * activations are known. */
static void
check_health(const char *name, const float *x, int rows, double stuck,
             double always)
{
    soma_spec spec =
        nets_spec(2, "softmax_cross_entropy", 2,
                  NETS_LAYERS{DENSE(2, name), DENSE(2, "identity")});
    soma_model *model = soma_model_create(&spec, NULL);
    assert_non_null(model);
    float *w = soma_model_weights(model, 0);
    w[0] = w[3] = 1;
    soma_workspace *ws = workspace(&spec, 7, SOMA_PASS_LEARN);
    float grad[12];
    assert_int_equal(spec.trainable, 12);
    int labels[7] = {0};
    soma_pass_gradient(model, ws, rows, x, labels, NULL, grad);
    soma_layer_health health[2];
    soma_pass_health(model, ws, health);
    assert_true(fabs(health[0].stuck - stuck) < 1e-12);
    assert_true(fabs(health[0].always_stuck - always) < 1e-12);
    /* Scores are 0, so dL/dz of the last layer is +-1/2 each row, by 1/rows
     * for the mean: its norm is sqrt(rows * 2 / 4) / rows. */
    assert_true(health[1].stuck == 0 && health[1].always_stuck == 0);
    assert_true(fabs(health[1].gradient_norm - sqrt(rows / 2.0) / rows) < 1e-6);
    assert_true(health[0].gradient_norm == 0); /* W of layer 1 is 0 */
    soma_workspace_free(ws);
    soma_model_free(model);
}

static void
test_health(void **state)
{
    (void)state;
    const float x[] = {-1, 1, -2, -1, -3, 2, -9, 9};
    check_health("relu", x, 4, 5.0 / 8, 0.5);  /* 4 of u0, 1 of u1 */
    check_health("sigmoid", x, 4, 2.0 / 8, 0); /* at -9 and 9 */
    check_health("sigmoid", x, 3, 0, 0);
    check_health("tanh", x, 4, 2.0 / 8, 0);
    check_health("tanh", x + 6, 1, 1, 1);
    check_health("relu", x + 2, 1, 1, 1);
    check_health("identity", x, 4, 0, 0);
    check_health("leaky_relu", x, 4, 0, 0);
}

/* The norm of dL/dz, which is that of the bias's gradient for one row. */
static void
test_gradient_norm(void **state)
{
    (void)state;
    soma_spec spec = nets_spec(
        5, "softmax_cross_entropy", 3,
        NETS_LAYERS{DENSE(6, "tanh"), MAXOUT(4, 2), DENSE(3, "identity")});
    soma_model *model = nets_model(&spec, 4);
    soma_workspace *ws = workspace(&spec, 2, SOMA_PASS_LEARN);
    float *x = nets_rows(&spec, 1, 4), *grad = nets_floats(spec.trainable);
    soma_pass_gradient(model, ws, 1, x, (int[]){1}, NULL, grad);
    soma_layer_health health[3];
    soma_pass_health(model, ws, health);
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int j = 0; j < spec.layers[i].out; j++)
            sum += pow((double)grad[spec.layers[i].bias + (size_t)j], 2);
        assert_true(fabs(health[i].gradient_norm - sqrt(sum)) < 1e-6);
        assert_true(sum > 0);
    }
    free(x), free(grad);
    soma_workspace_free(ws);
    soma_model_free(model);
}

/* What a pass leaves behind does not reach into the next one. */
static void
test_workspace_is_reused(void **state)
{
    (void)state;
    soma_spec spec = nets_spec(
        6, "softmax_cross_entropy", 3,
        NETS_LAYERS{DENSE(5, "relu"), MAXOUT(4, 3), DENSE(3, "identity")});
    soma_model *model = nets_model(&spec, 5);
    size_t bytes = spec.trainable * sizeof(float);
    float *x = nets_rows(&spec, 8, 5);
    int *labels = nets_labels(&spec, 8, 5);
    float *fresh = nets_floats(spec.trainable);
    float *again = nets_floats(spec.trainable);
    soma_workspace *a = workspace(&spec, 2, SOMA_PASS_LEARN);
    soma_workspace *b = workspace(&spec, 8, SOMA_PASS_LEARN);
    double sum = soma_pass_gradient(model, a, 2, x, labels, NULL, fresh);
    soma_rng rng = soma_rng_seed(1, 0);
    soma_pass_options options = {
        .smoothing = 0.3f, .dropout = 0.5f, .rng = &rng};
    soma_pass_gradient(model, b, 8, x, labels, &options, again);
    soma_pass_forward(model, b, 5, x + 12);
    assert_true(soma_pass_gradient(model, b, 2, x, labels, NULL, again) == sum);
    assert_memory_equal(again, fresh, bytes);
    free(x), free(labels), free(fresh), free(again);
    soma_workspace_free(a);
    soma_workspace_free(b);
    soma_workspace_free(NULL);
    soma_model_free(model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_depths),
        cmocka_unit_test(test_same_bits_in_any_batch),
        cmocka_unit_test(test_extreme_scores),
        cmocka_unit_test(test_saturated),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_overflow_shows),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_gradient_norm),
        cmocka_unit_test(test_workspace_is_reused),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

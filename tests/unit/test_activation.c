/* Each activation's values, slopes and ends; that rows may be worked on in
 * place; when a unit counts as stuck. */
#include "core/activation.h"

#include "tests/unit/nets.h"

#include <float.h>

static const soma_activation *
find(const char *name)
{
    const soma_activation *found = NULL;
    nets_ok(soma_activation_find(name, &found, NULL), &(soma_error){0});
    return found;
}

static soma_layer
layer_of(const char *name, int units, int pieces)
{
    return (soma_layer){.units = units,
                        .pieces = pieces,
                        .out = units * pieces,
                        .slope = 0.25f,
                        .activation = find(name)};
}

static float
forward_one(const char *name, float z)
{
    soma_layer layer = layer_of(name, 1, 1);
    float a = NAN;
    layer.activation->forward(&layer, 1, &z, &a);
    return a;
}

static float
slope_of(const char *name, float z)
{
    soma_layer layer = layer_of(name, 1, 1);
    float a = forward_one(name, z), da = 2, dz = NAN;
    layer.activation->backward(&layer, 1, &z, &a, &da, &dz);
    return dz / 2;
}

static void
expect(const char *name, float z, double a, double slope)
{
    double got = (double)forward_one(name, z);
    if (!(fabs(got - a) <= 2e-7 * fabs(a)))
        fail_msg("%s(%g) is %.9g, expected %.9g", name, (double)z, got, a);
    got = (double)slope_of(name, z);
    if (!(fabs(got - slope) <= 1e-6 * fabs(slope) + 6e-8))
        fail_msg("slope of %s at %g is %.9g, expected %.9g", name, (double)z,
                 got, slope);
}

static void
test_values(void **state)
{
    (void)state;
    expect("identity", -3.5f, -3.5, 1);
    expect("sigmoid", 0, 0.5, 0.25);
    expect("sigmoid", 2, 0.88079707797788243, 0.10499358540350652);
    expect("sigmoid", -2, 0.11920292202211755, 0.10499358540350652);
    expect("sigmoid", -20, 2.0611536181902037e-9, 2.0611536139418493e-9);
    expect("tanh", 0, 0, 1);
    expect("tanh", 0.5f, 0.46211715726000979, 0.78644773296592751);
    expect("tanh", -0.5f, -0.46211715726000979, 0.78644773296592751);
    expect("relu", 3, 3, 1);
    expect("relu", -3, 0, 0);
    expect("relu", 0, 0, 0);
    expect("relu", FLT_TRUE_MIN, FLT_TRUE_MIN, 1);
    expect("leaky_relu", 3, 3, 1);
    expect("leaky_relu", -3, -0.75, 0.25);
}

/* Saturated: the exact limit, and a slope of exactly 0. */
static void
test_far_ends(void **state)
{
    (void)state;
    const float far[] = {110, 1e4f, 1e30f, FLT_MAX, INFINITY};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        expect("sigmoid", far[i], 1, 0);
        expect("sigmoid", -far[i], 0, 0);
        expect("tanh", far[i], 1, 0);
        expect("tanh", -far[i], -1, 0);
        expect("relu", -far[i], 0, 0);
    }
    expect("identity", FLT_MAX, (double)FLT_MAX, 1);
    expect("relu", FLT_MAX, (double)FLT_MAX, 1);
    expect("leaky_relu", -FLT_MAX, (double)FLT_MAX * -0.25, 0.25);
    /* Below 2^-126 / 2^23 nothing is left, until then something is. */
    assert_true(forward_one("sigmoid", -80) > 0);
}

/* A sum that has no value must not turn into one on its way. */
static void
test_nan_stays(void **state)
{
    (void)state;
    for (int i = 0; soma_activation_at(i); i++) {
        const char *name = soma_activation_at(i)->name;
        if (strcmp(name, "maxout"))
            assert_true(isnan(forward_one(name, NAN)));
    }
    soma_layer layer = layer_of("maxout", 1, 3);
    for (int nan = 0; nan < 3; nan++) {
        float z[] = {1, 3, 2}, a = 0;
        z[nan] = NAN;
        layer.activation->forward(&layer, 1, z, &a);
        assert_true(isnan(a));
    }
}

/* Within 2 units in the last place, everywhere. */
static void
test_tanh(void **state)
{
    (void)state;
    soma_rng rng = soma_rng_seed(9, 0);
    for (int i = 0; i < 200000; i++) {
        float z = ldexpf(2 * soma_rng_uniform(&rng) - 1,
                         (int)soma_rng_below(&rng, 16) - 11);
        double exactly = tanh((double)z);
        double got = (double)forward_one("tanh", z);
        if (!(fabs(got - exactly) <= 2.4e-7 * fabs(exactly)))
            fail_msg("tanh(%.9g) is %.9g, not %.9g", (double)z, got, exactly);
    }
}

static void
test_in_place(void **state)
{
    (void)state;
    enum { ROWS = 3, UNITS = 37, VALUES = ROWS * UNITS };
    soma_rng rng = soma_rng_seed(1, 0);
    for (int i = 0; soma_activation_at(i); i++) {
        const soma_activation *f = soma_activation_at(i);
        if (!strcmp(f->name, "maxout"))
            continue;
        soma_layer layer = layer_of(f->name, UNITS, 1);
        float z[VALUES], a[VALUES], da[VALUES], dz[VALUES], same[VALUES];
        nets_fill(&rng, -3, 3, VALUES, z);
        nets_fill(&rng, -3, 3, VALUES, da);
        memcpy(same, z, sizeof z);
        f->forward(&layer, ROWS, z, a);
        f->forward(&layer, ROWS, same, same);
        assert_memory_equal(same, a, sizeof a);
        memcpy(same, da, sizeof da);
        f->backward(&layer, ROWS, z, a, da, dz);
        f->backward(&layer, ROWS, z, a, same, same);
        assert_memory_equal(same, dz, sizeof dz);
    }
}

/* Output p * units + u is piece p of unit u. */
static void
test_maxout(void **state)
{
    (void)state;
    soma_layer layer = layer_of("maxout", 2, 3);
    const float z[] = {1, -5, 3, -4, 2, -6, /* next row */ -1, 7, -2, 8, -3, 9};
    const float da[] = {10, 20, 30, 40};
    const float expected[] = {0, 0, 10, 20, 0, 0, 30, 0, 0, 0, 0, 40};
    float a[4], dz[12];
    layer.activation->forward(&layer, 2, z, a);
    assert_memory_equal(a, ((float[]){3, -4, -1, 9}), sizeof a);
    layer.activation->backward(&layer, 2, z, a, da, dz);
    assert_memory_equal(dz, expected, sizeof dz);
}

/* Of equal pieces the first one learns, and only that one. */
static void
test_maxout_ties(void **state)
{
    (void)state;
    soma_layer layer = layer_of("maxout", 1, 4);
    const float z[] = {1, 2, 2, 2}, da = 5;
    float a, dz[4];
    layer.activation->forward(&layer, 1, z, &a);
    layer.activation->backward(&layer, 1, z, &a, &da, dz);
    assert_memory_equal(dz, ((float[]){0, 5, 0, 0}), sizeof dz);
    const float all[] = {-3, -3, -3, -3};
    layer.activation->forward(&layer, 1, all, &a);
    layer.activation->backward(&layer, 1, all, &a, &da, dz);
    assert_memory_equal(dz, ((float[]){5, 0, 0, 0}), sizeof dz);
}

static void
test_stuck(void **state)
{
    (void)state;
    bool (*sigmoid)(float) = find("sigmoid")->is_stuck;
    bool (*tanh_)(float) = find("tanh")->is_stuck;
    bool (*relu)(float) = find("relu")->is_stuck;
    assert_true(sigmoid(0) && sigmoid(0.001f) && sigmoid(0.9991f) &&
                sigmoid(1));
    assert_false(sigmoid(0.0011f) || sigmoid(0.5f) || sigmoid(0.9989f));
    assert_true(tanh_(-1) && tanh_(-0.9991f) && tanh_(0.9991f) && tanh_(1));
    assert_false(tanh_(-0.9989f) || tanh_(0) || tanh_(0.9989f));
    assert_true(relu(0) && relu(-0.0f));
    assert_false(relu(FLT_TRUE_MIN) || relu(1));
    for (int i = 0; soma_activation_at(i); i++) {
        const soma_activation *f = soma_activation_at(i);
        assert_true((f->stuck == SOMA_STUCK_NEVER) == (f->is_stuck == NULL));
    }
    assert_int_equal(find("sigmoid")->stuck, SOMA_STUCK_SATURATED);
    assert_int_equal(find("tanh")->stuck, SOMA_STUCK_SATURATED);
    assert_int_equal(find("relu")->stuck, SOMA_STUCK_DEAD);
}

static void
test_table(void **state)
{
    (void)state;
    const struct {
        const char *name, *parameter;
        float value;
        soma_init init;
    } rows[] = {
        {"identity", NULL, 0, SOMA_INIT_GLOROT},
        {"sigmoid", NULL, 0, SOMA_INIT_GLOROT},
        {"tanh", NULL, 0, SOMA_INIT_GLOROT},
        {"relu", NULL, 0, SOMA_INIT_HE},
        {"leaky_relu", "slope", 0.01f, SOMA_INIT_HE},
        {"maxout", "pieces", 2, SOMA_INIT_HE},
    };
    int count = sizeof rows / sizeof *rows;
    for (int i = 0; i < count; i++) {
        const soma_activation *f = soma_activation_at(i);
        assert_non_null(f);
        assert_string_equal(f->name, rows[i].name);
        assert_ptr_equal(find(f->name), f);
        assert_int_equal(f->init, rows[i].init);
        assert_true(f->parameter_default == rows[i].value);
        assert_true(!f->parameter == !rows[i].parameter);
        if (f->parameter)
            assert_string_equal(f->parameter, rows[i].parameter);
    }
    assert_null(soma_activation_at(count));
    assert_null(soma_activation_at(-1));
}

static void
test_unknown(void **state)
{
    (void)state;
    const soma_activation *untouched = soma_activation_at(0);
    const char *const names[] = {"", "Relu", "relu ", "rel", "softmax"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        soma_error err;
        const soma_activation *f = untouched;
        assert_int_equal(soma_activation_find(names[i], &f, &err),
                         SOMA_E_NOT_FOUND);
        assert_ptr_equal(f, untouched);
    }
    soma_error err;
    soma_activation_find("softmax", &untouched, &err);
    assert_string_equal(err.text,
                        "unknown activation \"softmax\"; there are: identity, "
                        "sigmoid, tanh, relu, leaky_relu, maxout");
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    soma_activation_find(text, &untouched, &err);
    assert_true(strlen(err.text) < 200 && strstr(err.text, "maxout"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_far_ends),
        cmocka_unit_test(test_nan_stays), cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_maxout),    cmocka_unit_test(test_maxout_ties),
        cmocka_unit_test(test_stuck),     cmocka_unit_test(test_table),
        cmocka_unit_test(test_unknown),   cmocka_unit_test(test_tanh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

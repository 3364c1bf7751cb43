/* Steps of SGD against their formulas in double precision; what a step must
 * refuse, and that nothing changed then. */
#include "core/sgd.h"

#include "tests/unit/nets.h"

#include <float.h>

/* A model with two layers, of 2 x 3 and 3 x 2 weights: 17 floats. */
typedef struct step {
    soma_model *model;
    float *velocity, *grad;
    size_t n;
} step;

static step
make_step(void)
{
    soma_spec spec =
        nets_unfinished(2, "softmax_cross_entropy", 2,
                        NETS_LAYERS{DENSE(3, "tanh"), DENSE(2, "identity")});
    spec.input.normals = 1;
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    step s = {.model = nets_model(&spec, 1), .n = spec.trainable};
    s.velocity = nets_floats(s.n);
    s.grad = nets_floats(s.n);
    soma_rng rng = soma_rng_seed(2, 0);
    nets_fill(&rng, -1, 1, s.n, s.velocity);
    nets_fill(&rng, -1, 1, s.n, s.grad);
    return s;
}

static void
free_step(step *s)
{
    soma_model_free(s->model);
    free(s->velocity);
    free(s->grad);
}

static bool
is_bias(const soma_spec *spec, size_t at)
{
    for (int i = 0; i < spec->depth; i++)
        if (at >= spec->layers[i].bias &&
            at < spec->layers[i].bias + (size_t)spec->layers[i].out)
            return true;
    return false;
}

static void
close_to(float got, double expected)
{
    if (!(fabs((double)got - expected) <= 3e-7 * fmax(1, fabs(expected))))
        fail_msg("%.9g, expected %.9g", (double)got, expected);
}

/* One step with these settings from make_step(), number by number. */
static void
check_step(soma_sgd sgd)
{
    step s = make_step();
    const soma_spec *spec = &s.model->spec;
    soma_model *before = soma_model_clone(s.model, NULL);
    assert_non_null(before);
    float v_before[32], g_before[32];
    memcpy(v_before, s.velocity, s.n * sizeof(float));
    memcpy(g_before, s.grad, s.n * sizeof(float));
    double norm = 0, momentum = (double)sgd.momentum, rate = (double)sgd.rate;
    for (size_t i = 0; i < s.n; i++)
        norm += (double)s.grad[i] * (double)s.grad[i];
    norm = sqrt(norm);
    double scale =
        sgd.clip > 0 && norm > (double)sgd.clip ? (double)sgd.clip / norm : 1;
    nets_ok(soma_sgd_check(&sgd, NULL), &(soma_error){0});
    nets_ok(soma_sgd_step(&sgd, s.model, s.velocity, s.grad, NULL),
            &(soma_error){0});
    for (size_t i = 0; i < s.n; i++) {
        double g = scale * (double)s.grad[i], w = (double)before->params[i];
        double v = momentum * (double)v_before[i] - rate * g;
        if (!is_bias(spec, i))
            w *= 1 - rate * (double)sgd.l2;
        w += sgd.momentum <= 0 ? -rate * g
             : sgd.nesterov    ? momentum * v - rate * g
                               : v;
        close_to(s.model->params[i], w);
        if (sgd.momentum > 0)
            close_to(s.velocity[i], v);
        else
            assert_true(s.velocity[i] == v_before[i]);
    }
    assert_memory_equal(s.grad, g_before, s.n * sizeof(float));
    /* The input's mean and std are no weights. */
    assert_memory_equal(s.model->params + spec->mean,
                        before->params + spec->mean, 2 * sizeof(float));
    soma_model_free(before);
    free_step(&s);
}

static void
test_formulas(void **state)
{
    (void)state;
    const float momentums[] = {0, 0.5f, 0.9f}, l2s[] = {0, 0.01f, 2};
    const float clips[] = {0, 0.1f, 1, 1e6f}, rates[] = {0, 0.01f, 0.5f, 3};
    for (int m = 0; m < 3; m++)
        for (int l = 0; l < 3; l++)
            for (int c = 0; c < 4; c++)
                for (int r = 0; r < 4; r++)
                    for (int nesterov = 0; nesterov < 2; nesterov++)
                        check_step((soma_sgd){.rate = rates[r],
                                              .momentum = momentums[m],
                                              .nesterov = nesterov,
                                              .l2 = l2s[l],
                                              .clip = clips[c]});
}

/* With no gradient, L2 alone moves: weights shrink, biases stay as they are,
 * to the bit. */
static void
test_biases_do_not_shrink(void **state)
{
    (void)state;
    step s = make_step();
    soma_model *before = soma_model_clone(s.model, NULL);
    assert_non_null(before);
    memset(s.grad, 0, s.n * sizeof(float));
    soma_sgd sgd = {.rate = 0.5f, .l2 = 0.5f};
    nets_ok(soma_sgd_step(&sgd, s.model, NULL, s.grad, NULL), &(soma_error){0});
    int biases = 0;
    for (size_t i = 0; i < s.n; i++) {
        float factor = is_bias(&s.model->spec, i) ? 1 : 0.75f;
        assert_true(s.model->params[i] == factor * before->params[i]);
        biases += factor == 1;
    }
    assert_int_equal(biases, 5);
    soma_model_free(before);
    free_step(&s);
}

/* Without momentum there is no velocity to have. */
static void
test_no_velocity(void **state)
{
    (void)state;
    step s = make_step();
    float w = s.model->params[3];
    soma_sgd sgd = {.rate = 0.25f};
    nets_ok(soma_sgd_step(&sgd, s.model, NULL, s.grad, NULL), &(soma_error){0});
    assert_true(s.model->params[3] == w - 0.25f * s.grad[3]);
    free_step(&s);
}

static void
expect_untouched(soma_sgd sgd, step *s, const char *text)
{
    size_t bytes = s->model->spec.params * sizeof(float);
    float *model = malloc(bytes), *velocity = malloc(s->n * sizeof(float));
    assert_non_null(model);
    assert_non_null(velocity);
    memcpy(model, s->model->params, bytes);
    memcpy(velocity, s->velocity, s->n * sizeof(float));
    soma_error err;
    assert_int_equal(soma_sgd_step(&sgd, s->model,
                                   sgd.momentum > 0 ? s->velocity : NULL,
                                   s->grad, &err),
                     SOMA_E_NOT_FINITE);
    assert_string_equal(err.text, text);
    assert_memory_equal(s->model->params, model, bytes);
    assert_memory_equal(s->velocity, velocity, s->n * sizeof(float));
    free(model);
    free(velocity);
}

static const soma_sgd settings[] = {
    {.rate = 0.1f},
    {.rate = 0.1f, .momentum = 0.9f},
    {.rate = 0.1f, .momentum = 0.9f, .nesterov = true, .l2 = 0.1f},
    {.rate = 0.1f, .clip = 1},
};

enum { SETTINGS = sizeof settings / sizeof *settings };

/* One bad number anywhere: at the ends, at the edges of layers. */
static void
test_bad_gradients_change_nothing(void **state)
{
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int k = 0; k < SETTINGS; k++)
        for (int b = 0; b < 4; b++) {
            step s = make_step();
            for (size_t i = 0; i < s.n; i++) {
                float kept = s.grad[i];
                s.grad[i] = bad[b];
                expect_untouched(settings[k], &s, "the gradient is not finite");
                s.grad[i] = kept;
            }
            free_step(&s);
        }
}

static void
test_overflow_changes_nothing(void **state)
{
    (void)state;
    const char *text = "the step would leave float32's range";
    for (int k = 0; k < SETTINGS; k++)
        for (int sign = -1; sign <= 1; sign += 2) {
            step s = make_step();
            /* A gradient whose step overflows, unless it is clipped. */
            float kept = s.grad[7];
            s.grad[7] = (float)sign * FLT_MAX;
            if (settings[k].clip <= 0)
                expect_untouched(settings[k], &s, text);
            s.grad[7] = kept;
            /* A weight that is there already. */
            s.model->params[s.n - 1] = (float)sign * FLT_MAX;
            expect_untouched(settings[k], &s, text);
            s.model->params[s.n - 1] = NAN;
            expect_untouched(settings[k], &s, text);
            s.model->params[s.n - 1] = 0;
            s.velocity[0] = (float)sign * FLT_MAX;
            if (settings[k].momentum > 0)
                expect_untouched(settings[k], &s, text);
            s.velocity[0] = (float)sign * INFINITY;
            if (settings[k].momentum > 0)
                expect_untouched(settings[k], &s, text);
            free_step(&s);
        }
    /* A shrinking that grows: |1 - rate l2| is 999999. */
    step s = make_step();
    s.model->params[0] = 1e33f;
    expect_untouched((soma_sgd){.rate = 1000, .l2 = 1000}, &s, text);
    free_step(&s);
}

/* Large numbers whose step is in range are no reason to refuse. */
static void
test_large_but_fine(void **state)
{
    (void)state;
    step s = make_step();
    s.model->params[0] = 1e36f;
    s.grad[1] = 1e36f;
    nets_ok(
        soma_sgd_step(&(soma_sgd){.rate = 0.5f}, s.model, NULL, s.grad, NULL),
        &(soma_error){0});
    assert_true(soma_model_finite(s.model));
    assert_true(s.model->params[1] < -4e35f);
    /* The largest gradient there is, clipped to a small step. */
    for (size_t i = 0; i < s.n; i++)
        s.grad[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    soma_model *before = soma_model_clone(s.model, NULL);
    assert_non_null(before);
    nets_ok(soma_sgd_step(&(soma_sgd){.rate = 1, .clip = 1}, s.model, NULL,
                          s.grad, NULL),
            &(soma_error){0});
    double expected = 1 / sqrt((double)s.n);
    for (size_t i = 2; i < s.n; i++)
        close_to(s.model->params[i],
                 (double)before->params[i] + (i % 2 ? -expected : expected));
    soma_model_free(before);
    free_step(&s);
}

static void
test_clip_factor(void **state)
{
    (void)state;
    soma_sgd sgd = {.clip = 2};
    assert_true(soma_sgd_clip_factor(&sgd, 0) == 1);
    assert_true(soma_sgd_clip_factor(&sgd, 1.9) == 1);
    assert_true(soma_sgd_clip_factor(&sgd, 2) == 1);
    assert_true(soma_sgd_clip_factor(&sgd, 2.5) == 0.8f);
    assert_true(soma_sgd_clip_factor(&sgd, 4) == 0.5f);
    assert_true(soma_sgd_clip_factor(&sgd, 2e6) == 1e-6f);
    sgd.clip = 0;
    assert_true(soma_sgd_clip_factor(&sgd, 1e300) == 1);
}

static void
test_square_sum(void **state)
{
    (void)state;
    float values[40];
    for (int i = 0; i < 40; i++)
        values[i] = (float)(i + 1);
    for (size_t from = 0; from <= 40; from++)
        for (size_t to = from; to <= 40; to++) {
            size_t expected = 0; /* whole numbers: exact in any order */
            for (size_t i = from; i < to; i++)
                expected += (i + 1) * (i + 1);
            assert_true(soma_sgd_square_sum(values, from, to) ==
                        (double)expected);
        }
    /* Squares beyond float32 fit into the sum. */
    const float large[] = {FLT_MAX, -FLT_MAX};
    double one = (double)FLT_MAX * (double)FLT_MAX;
    assert_true(soma_sgd_square_sum(large, 0, 2) == 2 * one);
}

/* Any division of the block gives the bits of one call. */
static void
test_apply_in_stretches(void **state)
{
    (void)state;
    for (int k = 0; k < SETTINGS; k++)
        for (size_t cut = 0; cut < 17; cut++) {
            step a = make_step(), b = make_step();
            size_t other = (cut * 7 + 3) % 17;
            size_t low = cut < other ? cut : other;
            size_t high = cut < other ? other : cut;
            assert_int_equal(a.n, 17);
            const soma_sgd *sgd = &settings[k];
            soma_sgd_apply(sgd, 0.7f, a.model, a.velocity, a.grad, 0, 17);
            soma_sgd_apply(sgd, 0.7f, b.model, b.velocity, b.grad, high, 17);
            soma_sgd_apply(sgd, 0.7f, b.model, b.velocity, b.grad, 0, low);
            soma_sgd_apply(sgd, 0.7f, b.model, b.velocity, b.grad, low, high);
            assert_memory_equal(a.model->params, b.model->params,
                                a.model->spec.params * sizeof(float));
            assert_memory_equal(a.velocity, b.velocity, 17 * sizeof(float));
            free_step(&a);
            free_step(&b);
        }
}

static void
expect_bounds(size_t offset, float low, float high, const char *name)
{
    const float outside[] = {nextafterf(low, -1),
                             nextafterf(high, INFINITY),
                             NAN,
                             INFINITY,
                             -INFINITY,
                             -1};
    soma_sgd sgd = {.rate = 0.1f, .momentum = 0.5f, .l2 = 0.1f, .clip = 1};
    float *field = (float *)((char *)&sgd + offset);
    *field = low;
    assert_int_equal(soma_sgd_check(&sgd, NULL), SOMA_OK);
    *field = high;
    assert_int_equal(soma_sgd_check(&sgd, NULL), SOMA_OK);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        soma_error err;
        *field = outside[i];
        assert_int_equal(soma_sgd_check(&sgd, &err), SOMA_E_ARGUMENT);
        assert_memory_equal(err.text, name, strlen(name));
        assert_non_null(strstr(err.text, ": expected 0 to "));
    }
}

static void
test_check(void **state)
{
    (void)state;
    expect_bounds(offsetof(soma_sgd, rate), 0, 1e3f, "learning rate");
    expect_bounds(offsetof(soma_sgd, momentum), 0, 0.9999f, "momentum");
    expect_bounds(offsetof(soma_sgd, l2), 0, 1e3f, "L2");
    expect_bounds(offsetof(soma_sgd, clip), 0, 1e30f, "clip");
    soma_error err;
    soma_sgd_check(&(soma_sgd){.rate = 0.1f, .momentum = 1}, &err);
    assert_string_equal(err.text, "momentum: expected 0 to 0.9999, got 1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_biases_do_not_shrink),
        cmocka_unit_test(test_no_velocity),
        cmocka_unit_test(test_bad_gradients_change_nothing),
        cmocka_unit_test(test_overflow_changes_nothing),
        cmocka_unit_test(test_large_but_fine),
        cmocka_unit_test(test_clip_factor),
        cmocka_unit_test(test_square_sum),
        cmocka_unit_test(test_apply_in_stretches),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Numbers of NumPy in float64 (tests/golden/make_golden.py): scores, answers,
 * losses, gradients and the weights after some steps of SGD. */
#include "core/pass.h"
#include "core/sgd.h"

#include "tests/unit/nets.h"

#define DEEPEST 8

/* Weights are [out x in] rows, layer after layer, each with its bias. */
typedef struct golden {
    const char *name;
    int rank, shape[SOMA_MAX_RANK], normals;
    int depth;
    nets_layer layers[DEEPEST];
    const char *loss;
    float smoothing;
    int rows;
    const float *x;
    const int *labels;
    const float *mean, *std;
    const float *params;
    const double *scores, *answers;
    double mean_loss;
    soma_sgd sgd;
    int steps;
    const double *losses;           /* before each step */
    const double *after, *velocity; /* after all of them; laid out as params */
    const double *grads;
} golden;

static const golden cases[] = {
#include "tests/golden/golden.inc"
};

enum { CASES = sizeof cases / sizeof *cases };

typedef struct trial {
    const golden *g;
    soma_spec spec;
    soma_model *model;
    soma_workspace *ws;
    float *grad;
} trial;

static soma_spec
make_spec(const golden *g)
{
    soma_error err;
    soma_spec spec = nets_unfinished(1, g->loss, g->depth, g->layers);
    spec.input.rank = g->rank;
    spec.input.normals = g->normals;
    memcpy(spec.input.shape, g->shape, sizeof g->shape);
    nets_ok(soma_spec_finish(&spec, &err), &err);
    return spec;
}

static trial
begin(const golden *g)
{
    trial t = {.g = g, .spec = make_spec(g)};
    t.model = soma_model_create(&t.spec, NULL);
    t.ws = soma_workspace_create(&t.spec, g->rows, SOMA_PASS_LEARN, NULL);
    t.grad = nets_floats(t.spec.trainable);
    assert_non_null(t.model);
    assert_non_null(t.ws);
    for (int i = 0; i < t.spec.depth; i++) {
        const soma_layer *layer = &t.spec.layers[i];
        soma_matrix_from_rows(layer->in, layer->out, g->params + layer->weights,
                              soma_model_weights(t.model, i));
        memcpy(soma_model_bias(t.model, i), g->params + layer->bias,
               (size_t)layer->out * sizeof(float));
    }
    for (int i = 0; i < g->normals; i++) {
        soma_model_mean(t.model)[i] = g->mean[i];
        soma_model_std(t.model)[i] = g->std[i];
    }
    return t;
}

static void
end(trial *t)
{
    soma_workspace_free(t->ws);
    soma_model_free(t->model);
    free(t->grad);
}

static void
compare(const golden *g, const char *what, size_t count, const float *got,
        const double *expected, double tolerance)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(expected[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance * most))
            fail_msg("%s: %s %zu is %.9g, expected %.9g", g->name, what, i,
                     (double)got[i], expected[i]);
}

/* Layer by layer, so that a small gradient is not measured by a large one. */
static void
compare_block(const trial *t, const char *what, const float *panels,
              const double *expected, double tolerance)
{
    float *rows = nets_unpack(&t->spec, panels);
    for (int i = 0; i < t->spec.depth; i++) {
        const soma_layer *layer = &t->spec.layers[i];
        compare(t->g, what, layer->bias - layer->weights, rows + layer->weights,
                expected + layer->weights, tolerance);
        compare(t->g, what, (size_t)layer->out, rows + layer->bias,
                expected + layer->bias, tolerance);
    }
    free(rows);
}

static void
compare_loss(const golden *g, double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-5 * fmax(0.1, expected)))
        fail_msg("%s: loss %.9g, expected %.9g", g->name, got, expected);
}

static void
test_scores(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        trial t = begin(&cases[i]);
        const float *scores =
            soma_pass_forward(t.model, t.ws, t.g->rows, t.g->x);
        compare(t.g, "score", nets_at(t.g->rows, t.spec.outputs), scores,
                t.g->scores, 1e-5);
        end(&t);
    }
}

static void
test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        trial t = begin(&cases[i]);
        const golden *g = t.g;
        const float *scores = soma_pass_forward(t.model, t.ws, g->rows, g->x);
        int each = soma_loss_answers(t.spec.loss, t.spec.outputs);
        float *answers = nets_floats(nets_at(g->rows, each));
        for (int r = 0; r < g->rows; r++)
            t.spec.loss->answer(t.spec.outputs,
                                scores + nets_at(r, t.spec.outputs),
                                answers + nets_at(r, each));
        compare(g, "answer", nets_at(g->rows, each), answers, g->answers, 1e-5);
        free(answers);
        end(&t);
    }
}

static void
test_losses_and_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        trial t = begin(&cases[i]);
        soma_pass_options options = {.smoothing = t.g->smoothing};
        double sum = soma_pass_gradient(t.model, t.ws, t.g->rows, t.g->x,
                                        t.g->labels, &options, t.grad);
        compare_loss(t.g, sum / t.g->rows, t.g->mean_loss);
        compare_block(&t, "gradient", t.grad, t.g->grads, 1e-5);
        end(&t);
    }
}

static void
descend(trial *t, float *velocity)
{
    const golden *g = t->g;
    soma_error err;
    for (int step = 0; step < g->steps; step++) {
        double sum = soma_pass_gradient(t->model, t->ws, g->rows, g->x,
                                        g->labels, NULL, t->grad);
        compare_loss(g, sum / g->rows, g->losses[step]);
        nets_ok(soma_sgd_step(&g->sgd, t->model, velocity, t->grad, &err),
                &err);
    }
}

static void
test_descent(void **state)
{
    (void)state;
    int run = 0;
    for (int i = 0; i < CASES; i++) {
        if (cases[i].steps == 0)
            continue;
        trial t = begin(&cases[i]);
        nets_ok(soma_sgd_check(&t.g->sgd, NULL), &(soma_error){0});
        float *velocity = t.g->velocity ? nets_floats(t.spec.trainable) : NULL;
        descend(&t, velocity);
        compare_block(&t, "weight", t.model->params, t.g->after, 1e-5);
        if (velocity)
            compare_block(&t, "velocity", velocity, t.g->velocity, 1e-5);
        free(velocity);
        end(&t);
        run++;
    }
    assert_int_equal(run, 14);
}

/* The file has every pair, so that a new kind is not forgotten there. */
static void
test_every_pair_is_here(void **state)
{
    (void)state;
    for (int a = 0; soma_activation_at(a); a++)
        for (int l = 0; soma_loss_at(l); l++) {
            int found = 0;
            for (int i = 0; i < CASES; i++)
                found += !strcmp(cases[i].layers[0].activation,
                                 soma_activation_at(a)->name) &&
                         !strcmp(cases[i].loss, soma_loss_at(l)->name);
            assert_true(found >= 2);
        }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_losses_and_gradients),
        cmocka_unit_test(test_descent),
        cmocka_unit_test(test_every_pair_is_here),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

/* core/explain.c: attributions against central differences of the logit, which
 * reference.h computes in double precision; what they sum up to for a linear
 * model; which class is explained. */
#include "core/explain.h"

#include "tests/unit/reference.h"

static const float STEP = 1.0f / 4096;
static const double MARGIN = 2e-2;

static double
logit_of(reference *net, const float *x, int label)
{
    double scores[16];
    reference_run(net, 1, x, NULL, 0, scores);
    if (!net->spec->loss->binary)
        return scores[label];
    return label ? scores[0] : -scores[0];
}

static void
compare(const soma_model *model, reference *net, float *x, int label,
        const float *got)
{
    int size = model->spec.input.size;
    double *expected = nets_alloc((size_t)size, sizeof *expected);
    double most = 0;
    for (int i = 0; i < size; i++) {
        float at = x[i], low = at - STEP, high = at + STEP;
        x[i] = high;
        double above = logit_of(net, x, label);
        x[i] = low;
        double below = logit_of(net, x, label);
        x[i] = at;
        expected[i] =
            (double)at * (above - below) / ((double)high - (double)low);
        most = fmax(most, fabs(expected[i]));
    }
    assert_true(most > 1e-4);
    for (int i = 0; i < size; i++)
        if (!(fabs((double)got[i] - expected[i]) <= 1e-4 * most))
            fail_msg("class %d, input %d: %.9g, expected %.9g", label, i,
                     (double)got[i], expected[i]);
    free(expected);
}

/* Every class, and the winner, at a point that is far from kinks. */
static void
check(soma_spec spec)
{
    assert_true(spec.outputs <= 16);
    soma_workspace *ws = soma_workspace_create(&spec, 1, SOMA_PASS_LEARN, NULL);
    float *got = nets_floats((size_t)spec.input.size);
    assert_non_null(ws);
    for (uint64_t seed = 1;; seed++) {
        assert_true(seed < 2000);
        soma_model *model = nets_model(&spec, seed);
        float *x = nets_rows(&spec, 1, seed);
        reference net = reference_create(model);
        double scores[16];
        reference_run(&net, 1, x, NULL, 0, scores);
        bool good = net.kink > MARGIN;
        for (int label = 0; good && label < spec.classes; label++) {
            assert_int_equal(soma_explain(model, ws, x, label, got), label);
            compare(model, &net, x, label, got);
            double logit = logit_of(&net, x, label);
            assert_true(fabs((double)soma_explain_logit(
                                 &spec, soma_pass_scores(ws), label) -
                             logit) <= 1e-4 * fmax(1, fabs(logit)));
        }
        if (good) {
            int winner = soma_explain(model, ws, x, -1, got);
            assert_int_equal(winner, soma_loss_decide(spec.loss, spec.outputs,
                                                      soma_pass_scores(ws)));
            compare(model, &net, x, winner, got);
        }
        reference_free(&net);
        soma_model_free(model);
        free(x);
        if (good)
            break;
    }
    soma_workspace_free(ws);
    free(got);
}

static void
agrees_with_differences(void **state)
{
    static const char *const names[] = {"sigmoid",    "tanh",   "relu",
                                        "leaky_relu", "maxout", "identity"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(nets_spec(7, "softmax_cross_entropy", 3,
                        NETS_LAYERS{DENSE(6, names[i]), DENSE(5, names[i]),
                                    DENSE(4, "identity")}));
    check(nets_spec(9, "softmax_cross_entropy", 2,
                    NETS_LAYERS{MAXOUT(70, 3), DENSE(3, "identity")}));
}

static void
explains_models_without_hidden_layers(void **state)
{
    (void)state;
    check(nets_spec(12, "softmax_cross_entropy", 1,
                    NETS_LAYERS{DENSE(10, "identity")}));
    /* More outputs than inputs; a sigmoid neuron; SVMs. */
    check(nets_spec(2, "softmax_cross_entropy", 1,
                    NETS_LAYERS{DENSE(16, "identity")}));
    check(nets_spec(5, "logistic", 1, NETS_LAYERS{DENSE(1, "identity")}));
    check(nets_spec(5, "logistic", 1, NETS_LAYERS{DENSE(1, "sigmoid")}));
    check(nets_spec(5, "hinge", 1, NETS_LAYERS{DENSE(1, "identity")}));
    check(nets_spec(6, "multiclass_hinge", 2,
                    NETS_LAYERS{DENSE(5, "tanh"), DENSE(3, "identity")}));
}

/* The gradient is with respect to what was sent, not to what enters. */
static void
knows_the_normalisation(void **state)
{
    soma_error err;
    (void)state;
    soma_spec spec =
        nets_unfinished(12, "softmax_cross_entropy", 2,
                        NETS_LAYERS{DENSE(5, "tanh"), DENSE(3, "identity")});
    spec.input.rank = 3;
    spec.input.shape[0] = 3;
    spec.input.shape[1] = spec.input.shape[2] = 2;
    const int normals[] = {1, 3};
    for (int i = 0; i < 2; i++) {
        spec.input.normals = normals[i];
        nets_ok(soma_spec_finish(&spec, &err), &err);
        check(spec);
    }
}

static void
sums_up_to_a_linear_logit(void **state)
{
    (void)state;
    soma_spec spec = nets_spec(784, "softmax_cross_entropy", 1,
                               NETS_LAYERS{DENSE(10, "identity")});
    soma_model *model = nets_model(&spec, 5);
    float *x = nets_rows(&spec, 1, 5), *got = nets_floats(784);
    soma_workspace *ws = soma_workspace_create(&spec, 1, SOMA_PASS_LEARN, NULL);
    assert_non_null(ws);
    x[17] = 0;
    for (int label = 0; label < 10; label++) {
        double sum = (double)soma_model_bias(model, 0)[label];
        soma_explain(model, ws, x, label, got);
        for (int i = 0; i < 784; i++)
            sum += (double)got[i];
        assert_true(got[17] == 0);
        assert_true(fabs(sum - (double)soma_pass_scores(ws)[label]) < 1e-3);
    }
    soma_workspace_free(ws);
    soma_model_free(model);
    free(x), free(got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_differences),
        cmocka_unit_test(explains_models_without_hidden_layers),
        cmocka_unit_test(knows_the_normalisation),
        cmocka_unit_test(sums_up_to_a_linear_logit),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

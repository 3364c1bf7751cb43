/* Dropout: how much is left out, that the expectation stays, that predicting
 * knows nothing of it, and that the gradient is that of the thinned network.
 *
 * Which units were left out shows in the gradient itself: with one row, a
 * unit's bias has the gradient 0 if and only if the unit was dropped, since
 * tanh passes some of it otherwise. */
#include "core/pass.h"

#include "tests/unit/reference.h"

typedef struct trial {
    soma_spec spec;
    soma_model *model;
    soma_workspace *ws;
    float *x, *grad; /* one row; grad as nets_unpack lays it out */
    double loss;
} trial;

static trial
begin(soma_spec spec, uint64_t seed)
{
    trial t = {.spec = spec, .model = nets_model(&spec, seed)};
    t.ws = soma_workspace_create(&spec, 1, SOMA_PASS_LEARN, NULL);
    assert_non_null(t.ws);
    t.x = nets_rows(&spec, 1, seed);
    return t;
}

static void
end(trial *t)
{
    soma_workspace_free(t->ws);
    soma_model_free(t->model);
    free(t->x);
    free(t->grad);
}

static void
take_gradient(trial *t, float dropout, soma_rng *rng)
{
    float *panels = nets_floats(t->spec.trainable);
    soma_pass_options options = {.dropout = dropout, .rng = rng};
    t->loss = soma_pass_gradient(t->model, t->ws, 1, t->x, (int[]){1}, &options,
                                 panels);
    free(t->grad);
    t->grad = nets_unpack(&t->spec, panels);
    free(panels);
}

static soma_spec
two_hidden(int first, int second)
{
    return nets_spec(5, "softmax_cross_entropy", 3,
                     NETS_LAYERS{DENSE(first, "tanh"), DENSE(second, "tanh"),
                                 DENSE(3, "identity")});
}

static bool
kept(const trial *t, int layer, int unit)
{
    return t->grad[t->spec.layers[layer].bias + (size_t)unit] < 0 ||
           t->grad[t->spec.layers[layer].bias + (size_t)unit] > 0;
}

/* 0 or 1/(1 - dropout) for each hidden unit, as the last gradient shows. */
static void
read_masks(const trial *t, double dropout, double *const *masks)
{
    for (int i = 0; i + 1 < t->spec.depth; i++)
        for (int u = 0; u < t->spec.layers[i].units; u++)
            masks[i][u] = kept(t, i, u) ? 1 / (1 - dropout) : 0;
}

static void
compare_to_thinned(trial *t, double *const *masks)
{
    reference net = reference_create(t->model);
    net.masks = masks;
    int label = 1;
    double largest = 0, step = 1e-5;
    double loss = reference_run(&net, 1, t->x, &label, 0, NULL);
    assert_true(fabs(t->loss - loss) < 1e-5 * fmax(1, loss));
    for (size_t k = 0; k < t->spec.trainable; k++)
        largest = fmax(largest, fabs((double)t->grad[k]));
    for (size_t k = 0; k < t->spec.trainable; k++) {
        double here = net.params[k];
        net.params[k] = here + step;
        double up = reference_run(&net, 1, t->x, &label, 0, NULL);
        net.params[k] = here - step;
        double down = reference_run(&net, 1, t->x, &label, 0, NULL);
        net.params[k] = here;
        double slope = (up - down) / (2 * step);
        if (!(fabs((double)t->grad[k] - slope) <= 1e-5 * largest))
            fail_msg("parameter %zu: %.9g, expected %.9g", k,
                     (double)t->grad[k], slope);
    }
    reference_free(&net);
}

static void
test_gradient_of_the_thinned_network(void **state)
{
    (void)state;
    const float shares[] = {0.2f, 0.5f, 0.7f};
    double first[7], second[6], *const masks[] = {first, second};
    int dropped = 0;
    for (int k = 0; k < 3; k++)
        for (uint64_t seed = 1; seed <= 10; seed++) {
            trial t = begin(two_hidden(7, 6), seed);
            soma_rng rng = soma_rng_seed(seed, 5);
            take_gradient(&t, shares[k], &rng);
            read_masks(&t, (double)shares[k], masks);
            int left = 0;
            for (int u = 0; u < 6; u++)
                left += second[u] > 0;
            if (left) /* otherwise nothing shows what became of the first */
                compare_to_thinned(&t, masks);
            dropped += 6 - left;
            end(&t);
        }
    assert_in_range(dropped, 60, 108); /* of 180 units; 84 are expected */
}

/* A unit that is left out has no gradient at all: not in its own weights, not
 * in those that it feeds. */
static void
test_dropped_units_do_not_learn(void **state)
{
    (void)state;
    trial t = begin(two_hidden(40, 30), 3);
    soma_rng rng = soma_rng_seed(3, 0);
    take_gradient(&t, 0.5f, &rng);
    int dropped = 0;
    for (int i = 0; i < 2; i++) {
        const soma_layer *own = &t.spec.layers[i], *next = own + 1;
        for (int u = 0; u < own->units; u++) {
            if (kept(&t, i, u))
                continue;
            dropped++;
            for (int k = 0; k < own->in; k++)
                assert_true(
                    t.grad[own->weights + nets_at(u, own->in) + (size_t)k] ==
                    0);
            for (int j = 0; j < next->out; j++)
                assert_true(
                    t.grad[next->weights + nets_at(j, next->in) + (size_t)u] ==
                    0);
        }
    }
    assert_in_range(dropped, 20, 50);
    end(&t);
}

static void
test_share(void **state)
{
    (void)state;
    const float shares[] = {0.1f, 0.5f, 0.9f};
    trial t = begin(two_hidden(200, 200), 4);
    soma_rng rng = soma_rng_seed(4, 0);
    for (int k = 0; k < 3; k++) {
        double dropped = 0, draws = 50 * 200, p = (double)shares[k];
        for (int i = 0; i < 50; i++) {
            take_gradient(&t, shares[k], &rng);
            for (int u = 0; u < 200; u++)
                dropped += !kept(&t, 1, u);
        }
        assert_true(fabs(dropped / draws - p) < 5 * sqrt(p * (1 - p) / draws));
    }
    end(&t);
}

/* In a linear network the mean score over many masks is the score without
 * any; the sample's own spread says how close it has to be. */
static void
test_expectation(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    trial t = begin(
        nets_spec(5, "multiclass_hinge", 3,
                  NETS_LAYERS{DENSE(20, "identity"), DENSE(15, "leaky_relu"),
                              DENSE(3, "identity")}),
        5);
    /* leaky_relu with slope 1 is linear. */
    t.spec.layers[1].slope = t.model->spec.layers[1].slope = 1;
    float plain[3];
    memcpy(plain, soma_pass_forward(t.model, t.ws, 1, t.x), sizeof plain);
    soma_rng rng = soma_rng_seed(5, 0);
    double sum[3] = {0}, square[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        take_gradient(&t, 0.3f, &rng);
        for (int j = 0; j < 3; j++) {
            double s = (double)soma_pass_scores(t.ws)[j];
            sum[j] += s;
            square[j] += s * s;
        }
    }
    for (int j = 0; j < 3; j++) {
        double mean = sum[j] / DRAWS;
        double deviation = sqrt(square[j] / DRAWS - mean * mean);
        assert_true(deviation > 0.1);
        assert_true(fabs(mean - (double)plain[j]) <
                    4 * deviation / sqrt(DRAWS));
    }
    end(&t);
}

static void
test_off_at_prediction(void **state)
{
    (void)state;
    trial t = begin(two_hidden(30, 30), 6);
    float before[3], thinned[3];
    memcpy(before, soma_pass_forward(t.model, t.ws, 1, t.x), sizeof before);
    soma_rng rng = soma_rng_seed(6, 0);
    take_gradient(&t, 0.5f, &rng);
    memcpy(thinned, soma_pass_scores(t.ws), sizeof thinned);
    assert_memory_not_equal(thinned, before, sizeof before);
    assert_memory_equal(soma_pass_forward(t.model, t.ws, 1, t.x), before,
                        sizeof before);
    end(&t);
}

/* Share 0 draws nothing and changes nothing; a model without hidden layers
 * has nothing to leave out: the answer's own units are never dropped. */
static void
test_nothing_to_drop(void **state)
{
    (void)state;
    for (int hidden = 0; hidden < 2; hidden++) {
        soma_spec spec = hidden ? two_hidden(9, 8)
                                : nets_spec(5, "softmax_cross_entropy", 1,
                                            NETS_LAYERS{DENSE(3, "identity")});
        trial plain = begin(spec, 7), t = begin(spec, 7);
        take_gradient(&plain, 0, NULL);
        soma_rng rng = soma_rng_seed(7, 0), same = rng;
        take_gradient(&t, hidden ? 0 : 0.5f, &rng);
        assert_memory_equal(t.grad, plain.grad,
                            spec.trainable * sizeof *t.grad);
        assert_memory_equal(&rng, &same, sizeof rng);
        end(&plain);
        end(&t);
    }
}

/* The same generator gives the same masks: replay depends on it. */
static void
test_reproducible(void **state)
{
    (void)state;
    trial a = begin(two_hidden(30, 20), 8), b = begin(two_hidden(30, 20), 8);
    soma_rng rng = soma_rng_seed(8, 0), same = rng;
    take_gradient(&a, 0.4f, &rng);
    take_gradient(&b, 0.4f, &same);
    size_t bytes = a.spec.trainable * sizeof(float);
    assert_memory_equal(a.grad, b.grad, bytes);
    take_gradient(&b, 0.4f, &same);
    assert_memory_not_equal(a.grad, b.grad, bytes);
    end(&a);
    end(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_of_the_thinned_network),
        cmocka_unit_test(test_dropped_units_do_not_learn),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_expectation),
        cmocka_unit_test(test_off_at_prediction),
        cmocka_unit_test(test_nothing_to_drop),
        cmocka_unit_test(test_reproducible),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

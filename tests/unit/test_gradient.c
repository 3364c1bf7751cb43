/* Every gradient against central differences of the loss, which reference.h
 * computes in double precision: float32 noise stays on one side only, so the
 * tolerance can be 1e-5 of a layer's largest gradient. Points within MARGIN
 * of a kink are drawn again; a test that finds no point fails. */
#include "core/pass.h"

#include "tests/unit/reference.h"

static const double MARGIN = 1e-3, STEP = 1e-5;

typedef struct check {
    soma_spec spec;
    int rows;
    soma_pass_options options;
    double tolerance;  /* of the layer's largest; 0: 1e-5 */
    double margin;     /* 0: MARGIN */
    size_t every;      /* check every n-th parameter; 0: all */
    int directions;    /* and slopes along so many random directions */
    soma_model *model; /* the rest is filled by draw() */
    float *x, *grad;
    int *labels;
    double loss;
    reference net;
} check;

static void
drop_point(check *c)
{
    soma_model_free(c->model);
    free(c->x);
    free(c->labels);
    free(c->grad);
    reference_free(&c->net);
}

static double
largest(size_t count, const float *values)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)values[i]));
    return most;
}

static double
layer_largest(const check *c, int i)
{
    const soma_layer *layer = &c->spec.layers[i];
    return largest(nets_at(layer->in, layer->out) + (size_t)layer->out,
                   c->grad + layer->weights);
}

/* grad in rows, as reference.h has the parameters. */
static void
take_gradient(check *c)
{
    soma_workspace *ws =
        soma_workspace_create(&c->spec, c->rows, SOMA_PASS_LEARN, NULL);
    assert_non_null(ws);
    float *panels = nets_floats(c->spec.trainable);
    nets_fill(&(soma_rng){{1, 2, 3, 4}}, 9, 10, c->spec.trainable, panels);
    double sum = soma_pass_gradient(c->model, ws, c->rows, c->x, c->labels,
                                    &c->options, panels);
    c->loss = sum / c->rows;
    c->grad = nets_unpack(&c->spec, panels);
    free(panels);
    soma_workspace_free(ws);
}

/* Whether the point is far from kinks and every layer has a gradient. */
static bool
draw_point(check *c, uint64_t seed)
{
    c->model = nets_model(&c->spec, seed);
    c->x = nets_rows(&c->spec, c->rows, seed);
    c->labels = nets_labels(&c->spec, c->rows, seed);
    c->net = reference_create(c->model);
    take_gradient(c);
    double loss = reference_run(&c->net, c->rows, c->x, c->labels,
                                (double)c->options.smoothing, NULL);
    if (!(fabs(loss - c->loss) <= 1e-5 * fmax(1, loss)))
        fail_msg("the loss is %.9g, expected %.9g", c->loss, loss);
    double margin = c->margin > 0 ? c->margin : MARGIN;
    bool good = c->net.kink > margin;
    for (int i = 0; i < c->spec.depth; i++)
        good = good && layer_largest(c, i) > 1e-3;
    return good;
}

static double
slope_at(check *c, double *param, double step)
{
    double here = *param;
    *param = here + step;
    double up = reference_run(&c->net, c->rows, c->x, c->labels,
                              (double)c->options.smoothing, NULL);
    *param = here - step;
    double down = reference_run(&c->net, c->rows, c->x, c->labels,
                                (double)c->options.smoothing, NULL);
    *param = here;
    return (up - down) / (2 * step);
}

static int
layer_of(const soma_spec *spec, size_t at)
{
    int i = 0;
    while (i + 1 < spec->depth && at >= spec->layers[i + 1].weights)
        i++;
    return i;
}

static void
compare_params(check *c)
{
    double tolerance = c->tolerance > 0 ? c->tolerance : 1e-5;
    size_t every = c->every ? c->every : 1;
    for (size_t k = 0; k < c->spec.trainable; k += every) {
        int i = layer_of(&c->spec, k);
        double expected = slope_at(c, &c->net.params[k], STEP);
        double off = fabs((double)c->grad[k] - expected);
        if (!(off <= tolerance * layer_largest(c, i)))
            fail_msg("layer %d, parameter %zu: %.9g, expected %.9g", i, k,
                     (double)c->grad[k], expected);
    }
}

/* A slope along a random direction has every parameter in it: what sampling
 * leaves out would show here. */
static void
compare_direction(check *c, uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 9);
    size_t n = c->spec.trainable;
    double *here = nets_alloc(n, sizeof *here), expected[2];
    double *direction = nets_alloc(n, sizeof *direction);
    double along = 0, norm = 0;
    memcpy(here, c->net.params, n * sizeof *here);
    for (size_t k = 0; k < n; k++) {
        direction[k] = (soma_rng_below(&rng, 2) ? 1 : -1) / sqrt((double)n);
        along += direction[k] * (double)c->grad[k];
        norm += (double)c->grad[k] * (double)c->grad[k];
    }
    for (int side = 0; side < 2; side++) {
        for (size_t k = 0; k < n; k++)
            c->net.params[k] = here[k] + (side ? -STEP : STEP) * direction[k];
        expected[side] = reference_run(&c->net, c->rows, c->x, c->labels,
                                       (double)c->options.smoothing, NULL);
    }
    memcpy(c->net.params, here, n * sizeof *here);
    double slope = (expected[0] - expected[1]) / (2 * STEP);
    if (!(fabs(slope - along) <= 1e-5 * sqrt(norm)))
        fail_msg("along a direction: %.9g, expected %.9g", along, slope);
    free(direction);
    free(here);
}

static void
run_check(check c)
{
    uint64_t seed = 1;
    while (!draw_point(&c, seed)) {
        drop_point(&c);
        if (++seed > 500)
            fail_msg("no point away from kinks found");
    }
    compare_params(&c);
    for (int d = 0; d < c.directions; d++)
        compare_direction(&c, (uint64_t)d);
    drop_point(&c);
}

/* All activations, maxout with 2 and 3 pieces. */
static const nets_layer kinds[] = {
    {4, "identity", 1, 0}, {4, "sigmoid", 1, 0},       {4, "tanh", 1, 0},
    {4, "relu", 1, 0},     {4, "leaky_relu", 1, 0.1f}, {4, "maxout", 2, 0},
    {4, "maxout", 3, 0},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* Calls `each` for every activation with every loss, plain and smoothed. */
static void
for_all_pairs(void (*each)(nets_layer kind, const soma_loss *loss, int outputs,
                           soma_pass_options options))
{
    const soma_loss *loss;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; (loss = soma_loss_at(i)); i++)
            for (int smoothed = 0; smoothed < 2; smoothed++)
                each(kinds[k], loss, loss->binary ? 1 : 3,
                     (soma_pass_options){.smoothing = smoothed ? 0.2f : 0});
}

static void
check_hidden(nets_layer kind, const soma_loss *loss, int outputs,
             soma_pass_options options)
{
    run_check((check){
        .spec = nets_spec(5, loss->name, 2,
                          NETS_LAYERS{kind, DENSE(outputs, "identity")}),
        .rows = 3,
        .options = options});
}

static void
check_output(nets_layer kind, const soma_loss *loss, int outputs,
             soma_pass_options options)
{
    kind.units = outputs;
    run_check((check){.spec = nets_spec(4, loss->name, 1, &kind),
                      .rows = 4,
                      .options = options});
}

static void
check_three(nets_layer kind, const soma_loss *loss, int outputs,
            soma_pass_options options)
{
    nets_layer layers[] = {kind, kind, kind};
    layers[1].units = 5;
    layers[2].units = outputs;
    run_check((check){.spec = nets_spec(3, loss->name, 3, layers),
                      .rows = 2,
                      .options = options});
}

static void
test_every_activation_and_loss(void **state)
{
    (void)state;
    int activations = 0;
    while (soma_activation_at(activations))
        activations++;
    assert_int_equal(KINDS, activations + 1); /* a new row is to stand here */
    for_all_pairs(check_hidden);
}

static void
test_every_activation_before_every_loss(void **state)
{
    (void)state;
    for_all_pairs(check_output);
}

static void
test_three_layers_alike(void **state)
{
    (void)state;
    for_all_pairs(check_three);
}

static void
test_eight_layers(void **state)
{
    (void)state;
    const char *losses[] = {"softmax_cross_entropy", "multiclass_hinge"};
    for (int i = 0; i < 2; i++)
        run_check(
            (check){.spec = nets_spec(
                        6, losses[i], 8,
                        NETS_LAYERS{DENSE(5, "tanh"), DENSE(6, "leaky_relu"),
                                    MAXOUT(4, 3), DENSE(5, "identity"),
                                    DENSE(5, "relu"), MAXOUT(6, 2),
                                    DENSE(5, "sigmoid"), DENSE(4, "identity")}),
                    .rows = 5,
                    .directions = 3});
}

static void
test_thirty_two_layers(void **state)
{
    (void)state;
    nets_layer layers[SOMA_MAX_LAYERS];
    for (int i = 0; i < SOMA_MAX_LAYERS; i++)
        layers[i] = (nets_layer)DENSE(3, i % 2 ? "identity" : "tanh");
    run_check((check){
        .spec = nets_spec(3, "softmax_cross_entropy", SOMA_MAX_LAYERS, layers),
        .rows = 2,
        .tolerance = 2e-5});
}

static void
test_widths_around_panels(void **state)
{
    (void)state;
    const int widths[] = {1, 10, 63, 64, 65, 100, 128, 130};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int w = widths[i];
        run_check((check){.spec = nets_spec(3, "logistic", 2,
                                            NETS_LAYERS{DENSE(w, "tanh"),
                                                        DENSE(1, "identity")}),
                          .rows = 2});
        run_check((check){
            .spec =
                nets_spec(w, "softmax_cross_entropy", 3,
                          NETS_LAYERS{DENSE(w, "tanh"), DENSE(w, "leaky_relu"),
                                      DENSE(w > 1 ? w : 2, "identity")}),
            .rows = 3,
            .margin = 1e-4,
            .every = w > 10 ? 997 : 1,
            .directions = 4});
    }
}

static void
test_maxout_across_panels(void **state)
{
    (void)state;
    run_check(
        (check){.spec = nets_spec(3, "multiclass_hinge", 2,
                                  NETS_LAYERS{MAXOUT(50, 3), MAXOUT(33, 2)}),
                .rows = 2,
                .margin = 1e-4,
                .every = 7,
                .directions = 4});
}

static void
check_pictures(nets_layer first, int normals, int depth)
{
    soma_spec spec = nets_unfinished(3072, "softmax_cross_entropy", depth,
                                     NETS_LAYERS{first, DENSE(10, "identity")});
    spec.input = (soma_input){.rank = 3,
                              .shape = {3, 32, 32},
                              .low = -2,
                              .high = 2,
                              .normals = normals};
    nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
    run_check((check){.spec = spec,
                      .rows = 2,
                      .margin = 1e-4,
                      .every = 9973,
                      .directions = 4});
}

static void
test_pictures(void **state)
{
    (void)state;
    check_pictures((nets_layer)DENSE(100, "relu"), 3, 2);
    check_pictures((nets_layer)DENSE(10, "identity"), 1, 1);
    check_pictures((nets_layer)DENSE(10, "identity"), 0, 1);
}

/* A picture is normalised channel by channel, not pixel by pixel. */
static void
test_normalised(void **state)
{
    (void)state;
    const struct {
        int rank, shape[4], normals;
    } inputs[] = {
        {1, {6}, 0},          {1, {6}, 1},       {1, {6}, 6},
        {2, {2, 3}, 1},       {3, {3, 2, 2}, 1}, {3, {3, 2, 2}, 3},
        {4, {2, 2, 1, 3}, 2},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        soma_spec spec = nets_unfinished(
            1, "softmax_cross_entropy", 2,
            NETS_LAYERS{DENSE(4, "tanh"), DENSE(3, "identity")});
        spec.input.rank = inputs[i].rank;
        spec.input.normals = inputs[i].normals;
        memcpy(spec.input.shape, inputs[i].shape, sizeof spec.input.shape);
        nets_ok(soma_spec_finish(&spec, NULL), &(soma_error){0});
        run_check((check){.spec = spec, .rows = 3});
    }
}

/* The mean over rows, at sizes around the groups of the products. */
static void
test_batches(void **state)
{
    (void)state;
    for (int rows = 1; rows <= 9; rows++)
        run_check((check){.spec = nets_spec(4, "softmax_cross_entropy", 2,
                                            NETS_LAYERS{DENSE(5, "tanh"),
                                                        DENSE(3, "identity")}),
                          .rows = rows});
}

/* dL/dw = (sigmoid(w x + b) - y) x, dL/db = sigmoid(w x + b) - y. */
static void
test_one_neuron(void **state)
{
    (void)state;
    soma_spec spec =
        nets_spec(1, "logistic", 1, NETS_LAYERS{DENSE(1, "identity")});
    run_check((check){.spec = spec, .rows = 1});
    soma_model *model = soma_model_create(&spec, NULL);
    soma_workspace *ws = soma_workspace_create(&spec, 1, SOMA_PASS_LEARN, NULL);
    assert_non_null(model);
    assert_non_null(ws);
    *soma_model_weights(model, 0) = 2;
    *soma_model_bias(model, 0) = -1;
    float grad[2];
    double loss = soma_pass_gradient(model, ws, 1, (float[]){1.5f}, (int[]){1},
                                     NULL, grad);
    double p = 1 / (1 + exp(-2.0)); /* 0.880797 */
    assert_true(fabs(loss + log(p)) < 1e-7);
    assert_true(fabs((double)grad[0] - (p - 1) * 1.5) < 1e-7);
    assert_true(fabs((double)grad[1] - (p - 1)) < 1e-7);
    soma_workspace_free(ws);
    soma_model_free(model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_activation_and_loss),
        cmocka_unit_test(test_every_activation_before_every_loss),
        cmocka_unit_test(test_three_layers_alike),
        cmocka_unit_test(test_eight_layers),
        cmocka_unit_test(test_thirty_two_layers),
        cmocka_unit_test(test_widths_around_panels),
        cmocka_unit_test(test_maxout_across_panels),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_one_neuron),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

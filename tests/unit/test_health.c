/* server/engine/health.c: what the gauges of dead and saturated units say. */
#include "server/engine/health.h"
#include "tests/unit/nets.h"

enum { UNITS = 3 };

/* One input to three units, whose weights are 1, -1 and 1, to one score. */
static soma_model *
net_of(const char *activation)
{
    soma_spec spec = {.depth = 2};
    spec.input = (soma_input){.rank = 1, .shape = {1}, .high = 1};
    for (int i = 0; i < 2; i++)
        spec.layers[i].pieces = 1;
    spec.layers[0].units = UNITS;
    spec.layers[1].units = 1;
    soma_activation_find(activation, &spec.layers[0].activation, NULL);
    soma_activation_find("identity", &spec.layers[1].activation, NULL);
    soma_loss_find("logistic", &spec.loss, NULL);
    assert_int_equal(soma_spec_finish(&spec, NULL), SOMA_OK);
    soma_model *model = soma_model_create(&spec, NULL);
    assert_non_null(model);
    const float rows[UNITS] = {1, -1, 1};
    soma_matrix_from_rows(1, UNITS, rows, soma_model_weights(model, 0));
    return model;
}

/* Looks at one row of this value, `count` times, each when it is due. */
static void
look(soma_health *health, const soma_model *model, float x, int count,
     uint64_t *now)
{
    soma_workspace *ws =
        soma_workspace_create(&model->spec, 1, SOMA_PASS_PREDICT, NULL);
    assert_non_null(ws);
    for (int i = 0; i < count; i++, *now += SOMA_HEALTH_PAUSE) {
        soma_pass_forward(model, ws, 1, &x);
        soma_health_look(health, &model->spec, ws, *now);
    }
    soma_workspace_free(ws);
}

static soma_health_report
ask(soma_health *health, const soma_model *model)
{
    soma_health_report report;
    assert_true(soma_health_ask(health, &model->spec, 0, &report));
    return report;
}

static void
counts_dead_rectifiers(void **state)
{
    soma_health health = {.units = 0};
    uint64_t now = 1;
    (void)state;
    soma_model *model = net_of("relu");
    assert_int_equal(soma_health_create(&health, &model->spec, NULL), SOMA_OK);
    look(&health, model, 2, 4, &now);
    soma_health_report r = ask(&health, model);
    assert_int_equal(r.rows, 4);
    assert_int_equal(r.dead, 1);
    assert_true(fabs(r.stuck - 1.0 / 3) < 1e-9);
    /* The other sign wakes it, and silences two for this row. */
    look(&health, model, -2, 4, &now);
    r = ask(&health, model);
    assert_int_equal(r.dead, 0);
    assert_true(fabs(r.stuck - 0.5) < 1e-9);
    assert_false(soma_health_ask(&health, &model->spec, 1, &r));
    soma_health_free(&health);
    soma_model_free(model);
}

static void
counts_saturated_sigmoids(void **state)
{
    soma_health health = {.units = 0};
    uint64_t now = 1;
    (void)state;
    soma_model *model = net_of("sigmoid");
    assert_int_equal(soma_health_create(&health, &model->spec, NULL), SOMA_OK);
    look(&health, model, 0.5f, 1, &now);
    assert_true(ask(&health, model).stuck == 0);
    look(&health, model, 50, 1, &now);
    assert_true(fabs(ask(&health, model).stuck - 0.5) < 1e-9);
    soma_health_free(&health);
    soma_model_free(model);
}

/* Old rows are forgotten; between two looks there is a pause. */
static void
forgets_and_pauses(void **state)
{
    soma_health health = {.units = 0};
    uint64_t now = 1, still;
    (void)state;
    soma_model *model = net_of("relu");
    assert_int_equal(soma_health_create(&health, &model->spec, NULL), SOMA_OK);
    look(&health, model, -2, SOMA_HEALTH_WINDOW, &now);
    look(&health, model, 2, SOMA_HEALTH_WINDOW, &now);
    assert_int_equal(ask(&health, model).rows, 2 * SOMA_HEALTH_WINDOW);
    assert_int_equal(ask(&health, model).dead, 0);
    look(&health, model, 2, 1, &now);
    assert_int_equal(ask(&health, model).rows, SOMA_HEALTH_WINDOW + 1);
    assert_int_equal(ask(&health, model).dead, 1);
    still = now - 1;
    look(&health, model, 2, 1, &still);
    assert_int_equal(ask(&health, model).rows, SOMA_HEALTH_WINDOW + 1);
    soma_health_free(&health);
    soma_model_free(model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_dead_rectifiers),
        cmocka_unit_test(counts_saturated_sigmoids),
        cmocka_unit_test(forgets_and_pauses),
    };
    return cmocka_run_group_tests(tests, nets_setup, NULL);
}

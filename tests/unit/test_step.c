/* The step on panels beside the gradient written down and soma_sgd_step. */
#include "core/step.h"

#include "core/activation.h"
#include "core/kernel.h"
#include "core/loss.h"
#include "core/matrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 20, INPUTS = 37, CLASSES = 5 };

typedef struct fixture {
    soma_spec spec;
    soma_model *model, *other;
    soma_workspace *ws;
    float x[MOST_ROWS * INPUTS];
    int labels[MOST_ROWS];
    float *grad;
} fixture;

static void
set_up(fixture *f, const char *activation, int pieces, int hidden)
{
    soma_error err;
    soma_rng rng = soma_rng_seed(3, 0);
    *f = (fixture){.spec = {.input = {.rank = 1, .shape = {INPUTS}, .high = 1},
                            .depth = 2,
                            .layers = {{.units = hidden, .pieces = pieces},
                                       {.units = CLASSES, .pieces = 1}}}};
    f->spec.layers[0].slope = 0.1f;
    assert_int_equal(
        soma_activation_find(activation, &f->spec.layers[0].activation, &err),
        SOMA_OK);
    assert_int_equal(
        soma_activation_find("identity", &f->spec.layers[1].activation, &err),
        SOMA_OK);
    assert_int_equal(
        soma_loss_find("softmax_cross_entropy", &f->spec.loss, &err), SOMA_OK);
    assert_int_equal(soma_spec_finish(&f->spec, &err), SOMA_OK);
    f->model = soma_model_create(&f->spec, &err);
    assert_non_null(f->model);
    soma_model_init(f->model, &rng);
    f->other = soma_model_clone(f->model, &err);
    f->ws = soma_workspace_create(&f->spec, MOST_ROWS, SOMA_PASS_LEARN, &err);
    f->grad = malloc(f->spec.trainable * sizeof *f->grad);
    assert_true(f->other && f->ws && f->grad);
    for (int i = 0; i < MOST_ROWS * INPUTS; i++)
        f->x[i] = (float)soma_rng_normal(&rng);
    for (int r = 0; r < MOST_ROWS; r++)
        f->labels[r] = (int)soma_rng_below(&rng, CLASSES);
}

static void
tear_down(fixture *f)
{
    soma_model_free(f->model);
    soma_model_free(f->other);
    soma_workspace_free(f->ws);
    free(f->grad);
}

static void
compare(fixture *f, const soma_sgd *sgd, int rows)
{
    soma_error err;
    soma_step step = {false, 0};
    soma_model_copy(f->other, f->model);
    soma_pass_gradient(f->other, f->ws, rows, f->x, f->labels, NULL, f->grad);
    assert_int_equal(soma_sgd_step(sgd, f->other, NULL, f->grad, &err),
                     SOMA_OK);
    soma_model *stepped = soma_model_clone(f->model, &err);
    assert_non_null(stepped);
    soma_pass_deltas(stepped, f->ws, rows, f->x, f->labels, NULL);
    assert_int_equal(soma_step_apply(&step, sgd, stepped, f->ws, NULL, &err),
                     SOMA_OK);
    double moved = 0;
    for (size_t i = 0; i < f->spec.trainable; i++) {
        float a = stepped->params[i], b = f->other->params[i];
        if (fabsf(a - b) > 1e-5f * (1 + fabsf(b)))
            fail_msg("rows %d, float %zu: %g, expected %g", rows, i, (double)a,
                     (double)b);
        moved += fabs((double)a - (double)f->model->params[i]);
    }
    assert_true(moved > 0.01);
    assert_true(step.known &&
                step.weights * step.weights >=
                    soma_sgd_square_sum(stepped->params, 0, f->spec.trainable));
    soma_model_free(stepped);
}

static void
equals_the_written_gradient(void **state)
{
    static const struct {
        const char *activation;
        int pieces, hidden;
    } nets[] = {{"relu", 1, 100},
                {"sigmoid", 1, 3},
                {"tanh", 1, 64},
                {"maxout", 3, 30},
                {"leaky_relu", 1, 65},
                {"relu", 1, 61},  /* panels that end in part of a */
                {"relu", 1, 63}}; /* vector, at the end of what is read */
    static const soma_sgd sgds[] = {{.rate = 0.1f},
                                    {.rate = 0.5f, .clip = 0.3f},
                                    {.rate = 0.1f, .l2 = 0.2f, .clip = 1}};
    (void)state;
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++)
        for (size_t s = 0; s < sizeof sgds / sizeof *sgds; s++) {
            fixture f;
            set_up(&f, nets[n].activation, nets[n].pieces, nets[n].hidden);
            for (int rows = 1; rows <= MOST_ROWS; rows++)
                compare(&f, &sgds[s], rows);
            tear_down(&f);
        }
}

static void
is_all_or_nothing(void **state)
{
    static const float huge[] = {1e38f, 3e38f, 1e20f};
    (void)state;
    for (size_t h = 0; h < sizeof huge / sizeof *huge; h++) {
        fixture f;
        soma_error err;
        soma_step step = {false, 0};
        soma_sgd sgd = {.rate = 1e3f};
        set_up(&f, "relu", 1, 20);
        for (int i = 0; i < INPUTS; i++)
            f.x[i] = huge[h];
        soma_pass_deltas(f.model, f.ws, 1, f.x, f.labels, NULL);
        soma_status status =
            soma_step_apply(&step, &sgd, f.model, f.ws, NULL, &err);
        if (status)
            assert_memory_equal(f.model->params, f.other->params,
                                f.spec.params * sizeof(float));
        else
            assert_true(soma_model_finite(f.model));
        assert_true(h == 2 || status == SOMA_E_NOT_FINITE);
        tear_down(&f);
    }
}

/* What is remembered of the weights saves work; it decides nothing. */
static void
does_not_depend_on_what_is_known(void **state)
{
    fixture f;
    soma_error err;
    soma_step kept = {false, 0};
    soma_sgd sgd = {.rate = 0.05f, .clip = 1};
    (void)state;
    set_up(&f, "relu", 1, 50);
    for (int k = 0; k < 200; k++) {
        soma_step fresh = {false, 0};
        const float *x = f.x + (k % MOST_ROWS) * INPUTS;
        soma_pass_deltas(f.model, f.ws, 1, x, f.labels, NULL);
        assert_int_equal(
            soma_step_apply(&kept, &sgd, f.model, f.ws, NULL, &err), SOMA_OK);
        soma_pass_deltas(f.other, f.ws, 1, x, f.labels, NULL);
        assert_int_equal(
            soma_step_apply(&fresh, &sgd, f.other, f.ws, NULL, &err), SOMA_OK);
    }
    assert_memory_equal(f.model->params, f.other->params,
                        f.spec.params * sizeof(float));
    tear_down(&f);
}

/* Every set with fused multiply-adds steps to the same bits, with the next row
 * in passing or without, and what is expected is what the model answers: over
 * all widths of a panel, rows at a time, and weights that shrink. */
static void
check_next(int hidden, int rows, float l2)
{
    fixture f;
    soma_error err;
    soma_sgd sgd = {.rate = 0.05f, .l2 = l2, .clip = 1};
    const float *next = f.x + (MOST_ROWS - 1) * INPUTS;
    set_up(&f, "relu", 1, hidden);
    soma_model *alone = soma_model_clone(f.model, &err);
    assert_non_null(alone);
    for (int set = SOMA_KERNEL_PLAIN; set <= SOMA_KERNEL_AVX512; set++) {
        float scores[CLASSES];
        soma_step step = {false, 0}, other = {false, 0};
        soma_kernel_limit((soma_kernel_set)set);
        soma_model *model = soma_model_clone(f.model, &err);
        assert_non_null(model);
        soma_pass_deltas(model, f.ws, rows, f.x, f.labels, NULL);
        assert_int_equal(soma_step_apply(&step, &sgd, model, f.ws, next, &err),
                         SOMA_OK);
        memcpy(scores, soma_pass_forward(model, f.ws, 1, next), sizeof scores);
        /* of another row and another model, nothing is known */
        soma_pass_forward(f.model, f.ws, 1, next);
        soma_model_copy(f.other, f.model);
        soma_pass_deltas(f.other, f.ws, rows, f.x, f.labels, NULL);
        assert_int_equal(
            soma_step_apply(&other, &sgd, f.other, f.ws, NULL, &err), SOMA_OK);
        assert_memory_equal(model->params, f.other->params,
                            f.spec.params * sizeof(float));
        assert_memory_equal(scores, soma_pass_forward(f.other, f.ws, 1, next),
                            sizeof scores);
        if (set == SOMA_KERNEL_AVX2)
            soma_model_copy(alone, model);
        if (set == SOMA_KERNEL_AVX512)
            assert_memory_equal(alone->params, model->params,
                                f.spec.params * sizeof(float));
        soma_model_free(model);
    }
    soma_model_free(alone);
    tear_down(&f);
}

static void
multiplies_what_comes_next(void **state)
{
    (void)state;
    for (int hidden = 1; hidden <= SOMA_PANEL + 1; hidden++)
        for (int rows = 1; rows <= MOST_ROWS; rows += rows < 3 ? 1 : 7)
            for (int l2 = 0; l2 < 2; l2++)
                check_next(hidden, rows, 0.2f * (float)l2);
}

/* What was expected and what comes may differ. */
static void
forgets_what_does_not_come(void **state)
{
    fixture f;
    soma_error err;
    soma_step step = {false, 0};
    soma_sgd sgd = {.rate = 0.05f};
    float x[INPUTS];
    (void)state;
    set_up(&f, "relu", 1, 70);
    memcpy(x, f.x + INPUTS, sizeof x);
    soma_pass_deltas(f.model, f.ws, 1, f.x, f.labels, NULL);
    assert_int_equal(soma_step_apply(&step, &sgd, f.model, f.ws, x, &err),
                     SOMA_OK);
    x[INPUTS - 1] += 1;
    soma_workspace *fresh =
        soma_workspace_create(&f.spec, 1, SOMA_PASS_PREDICT, &err);
    assert_non_null(fresh);
    assert_memory_equal(soma_pass_forward(f.model, f.ws, 1, x),
                        soma_pass_forward(f.model, fresh, 1, x),
                        CLASSES * sizeof(float));
    memcpy(x, f.x + INPUTS, sizeof x);
    soma_model_weights(f.model, 0)[3] += 1;
    soma_pass_forget(f.ws);
    assert_memory_equal(soma_pass_forward(f.model, f.ws, 1, x),
                        soma_pass_forward(f.model, fresh, 1, x),
                        CLASSES * sizeof(float));
    soma_workspace_free(fresh);
    tear_down(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_written_gradient),
        cmocka_unit_test(is_all_or_nothing),
        cmocka_unit_test(does_not_depend_on_what_is_known),
        cmocka_unit_test(multiplies_what_comes_next),
        cmocka_unit_test(forgets_what_does_not_come),
    };
    soma_error err;
    assert_int_equal(soma_matrix_setup(&err), SOMA_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* server/engine/fit.c and fit_team.c: reproducible, stoppable, honest. */
#include "core/activation.h"
#include "core/loss.h"
#include "core/matrix.h"
#include "core/rng.h"
#include "server/engine/fit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { ROWS = 600, SIZE = 20, CLASSES = 4 };

static soma_dataset dataset;

static int
set_up(void **state)
{
    (void)state;
    soma_rng rng = soma_rng_seed(5, 0);
    dataset = (soma_dataset){.count = ROWS,
                             .rank = 1,
                             .shape = {SIZE},
                             .size = SIZE,
                             .label_count = CLASSES};
    dataset.values = malloc(sizeof(float) * ROWS * SIZE);
    dataset.labels = malloc(sizeof(int) * ROWS);
    for (int i = 0; i < ROWS; i++) {
        int label = (int)soma_rng_below(&rng, CLASSES);
        dataset.labels[i] = label;
        for (int k = 0; k < SIZE; k++)
            dataset.values[i * SIZE + k] =
                soma_rng_normal(&rng) + (k % CLASSES == label ? 1.5f : 0);
    }
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    soma_dataset_free(&dataset);
    return 0;
}

static soma_model *
fresh(void)
{
    soma_spec spec = {.depth = 2};
    spec.input = (soma_input){.rank = 1, .shape = {SIZE}, .high = 1};
    soma_activation_find("relu", &spec.layers[0].activation, NULL);
    soma_activation_find("identity", &spec.layers[1].activation, NULL);
    spec.layers[0].units = 16;
    spec.layers[1].units = CLASSES;
    spec.layers[0].pieces = spec.layers[1].pieces = 1;
    soma_loss_find("softmax_cross_entropy", &spec.loss, NULL);
    assert_int_equal(soma_spec_finish(&spec, NULL), SOMA_OK);
    soma_model *model = soma_model_create(&spec, NULL);
    soma_rng rng = soma_rng_seed(6, 0);
    soma_model_init(model, &rng);
    return model;
}

static const soma_fit plain = {
    .sgd = {.rate = 0.05f, .momentum = 0.9f, .nesterov = true, .l2 = 1e-3f},
    .epochs = 8,
    .batch = 32,
    .warmup = 1,
    .cosine = true,
    .dropout = 0.1f,
    .validation = 0.2f,
    .seed = 3,
    .threads = 2};

static soma_model *
fitted(const soma_fit *fit, soma_fit_result *result)
{
    soma_error err;
    soma_model *model = fresh();
    if (soma_fit_run(fit, model, &dataset, NULL, NULL, result, &err))
        fail_msg("%s", err.text);
    return model;
}

static bool
same(const soma_model *a, const soma_model *b)
{
    return !memcmp(a->params, b->params, a->spec.params * sizeof(float));
}

static void
the_loss_falls(void **state)
{
    soma_fit_result result;
    (void)state;
    soma_model_free(fitted(&plain, &result));
    assert_int_equal(result.epochs_done, 8);
    assert_false(result.stopped);
    assert_true(result.loss < 0.4);
    assert_true(result.validation_accuracy > 0.85);
    assert_in_range(result.best_epoch, 1, 8);
}

/* With and without clipping, which takes one more meeting of the threads. */
static void
seed_and_threads_decide_the_weights(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++)
        for (int clip = 0; clip <= 1; clip++) {
            soma_fit fit = plain;
            soma_fit_result result;
            fit.threads = threads;
            fit.sgd.clip = (float)clip;
            soma_model *a = fitted(&fit, &result), *b = fitted(&fit, &result);
            assert_true(same(a, b));
            fit.seed++;
            soma_model *c = fitted(&fit, &result);
            assert_false(same(a, c));
            soma_model_free(a);
            soma_model_free(b);
            soma_model_free(c);
        }
}

/* Told to stop after so many looks. */
static bool
stop_after(const soma_fit_progress *progress, void *arg)
{
    int *looks = arg;
    assert_true(progress->done >= 0 && progress->done <= 1);
    return --*looks > 0;
}

static void
stopping_keeps_the_best(void **state)
{
    (void)state;
    for (int looks = 1; looks < 60; looks += 7) {
        soma_fit_result result;
        soma_error err;
        int left = looks;
        soma_model *model = fresh();
        assert_int_equal(soma_fit_run(&plain, model, &dataset, stop_after,
                                      &left, &result, &err),
                         SOMA_OK);
        assert_true(result.stopped);
        assert_true(result.best_epoch >= 1);
        assert_true(soma_model_finite(model));
        assert_true(result.epochs_done < 8);
        soma_model_free(model);
    }
}

/* All rows in training: the last epoch's weights are kept. */
static void
without_validation_the_last_is_kept(void **state)
{
    soma_fit fit = plain;
    soma_fit_result result;
    (void)state;
    fit.validation = 0;
    soma_model_free(fitted(&fit, &result));
    assert_int_equal(result.best_epoch, 8);
    assert_true(result.validation_accuracy < 0);
}

static void
divergence_is_told_and_leaves_numbers(void **state)
{
    soma_fit fit = plain;
    soma_fit_result result;
    soma_error err;
    (void)state;
    fit.sgd.rate = 1000;
    fit.sgd.l2 = 100;
    fit.sgd.nesterov = false;
    soma_model *model = fresh();
    assert_int_equal(
        soma_fit_run(&fit, model, &dataset, NULL, NULL, &result, &err),
        SOMA_E_NOT_FINITE);
    assert_non_null(strstr(err.text, "try a lower learning rate"));
    assert_true(soma_model_finite(model));
    soma_model_free(model);
}

static void
refuses(soma_fit fit, const char *part)
{
    soma_fit_result result;
    soma_error err;
    soma_model *model = fresh(), *before = fresh();
    assert_int_not_equal(
        soma_fit_run(&fit, model, &dataset, NULL, NULL, &result, &err),
        SOMA_OK);
    if (!strstr(err.text, part))
        fail_msg("expected \"%s\", got \"%s\"", part, err.text);
    assert_true(same(model, before));
    soma_model_free(model);
    soma_model_free(before);
}

static void
settings_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    soma_fit fit = plain;
    fit.sgd.rate = -1;
    refuses(fit, "learning rate");
    fit = plain;
    fit.sgd.momentum = 1;
    refuses(fit, "momentum");
    fit = plain;
    fit.validation = 0.001f;
    refuses(fit, "validation");
    fit = plain;
    fit.augment.shift = 1;
    refuses(fit, "shift and flip need pictures");
    dataset.size = SIZE - 1;
    refuses(plain, "19 values, the model's input 20");
    dataset.size = SIZE;
}

/* Batches that do not divide the rows, and more threads than rows in one. */
static void
odd_batches_work(void **state)
{
    static const int batches[] = {1, 7, 599, 600, 10000};
    (void)state;
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        soma_fit fit = plain;
        soma_fit_result result;
        fit.batch = batches[i];
        fit.threads = 4;
        fit.epochs = 2;
        soma_model *model = fitted(&fit, &result);
        assert_true(soma_model_finite(model));
        soma_model_free(model);
    }
}

int
main(void)
{
    soma_error err;
    if (soma_matrix_setup(&err)) {
        print_error("%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(seed_and_threads_decide_the_weights),
        cmocka_unit_test(stopping_keeps_the_best),
        cmocka_unit_test(without_validation_the_last_is_kept),
        cmocka_unit_test(divergence_is_told_and_leaves_numbers),
        cmocka_unit_test(settings_that_do_not_fit_are_refused),
        cmocka_unit_test(odd_batches_work),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

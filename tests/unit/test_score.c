/* Scores of predictions, on confusion matrices worked out by hand. */
#include "core/score.h"

#include "tests/unit/nets.h"

static soma_spec
spec_of(const char *loss, int outputs)
{
    return nets_spec(2, loss, 1, NETS_LAYERS{DENSE(outputs, "identity")});
}

static soma_score
create(int classes)
{
    soma_score score;
    nets_ok(soma_score_create(&score, classes, NULL), &(soma_error){0});
    return score;
}

/* Six rows: labels 0 0 0 1 1 2, decided 0 1 0 1 2 2. */
static const float SCORES[] = {3, 1, 0, 0, 2, 1, 5,  5,  -1,
                               0, 1, 0, 0, 1, 2, -3, -2, -1};
static const int LABELS[] = {0, 0, 0, 1, 1, 2};

static void
near(double got, double expected)
{
    if (!(fabs(got - expected) < 1e-12))
        fail_msg("%.17g, expected %.17g", got, expected);
}

static void
test_confusion(void **state)
{
    (void)state;
    soma_spec spec = spec_of("multiclass_hinge", 3);
    soma_score score = create(3);
    soma_score_add(&score, &spec, 6, SCORES, LABELS);
    const int64_t expected[] = {2, 1, 0, 0, 1, 1, 0, 0, 1};
    for (int i = 0; i < 9; i++)
        assert_int_equal(score.confusion[i], expected[i]);
    assert_int_equal(score.examples, 6);
    assert_int_equal(score.correct, 4);
    near(soma_score_accuracy(&score), 4.0 / 6);
    near(soma_score_precision(&score, 0), 1);
    near(soma_score_precision(&score, 1), 1.0 / 2);
    near(soma_score_precision(&score, 2), 1.0 / 2);
    near(soma_score_recall(&score, 0), 2.0 / 3);
    near(soma_score_recall(&score, 1), 1.0 / 2);
    near(soma_score_recall(&score, 2), 1);
    assert_int_equal(soma_score_support(&score, 0), 3);
    assert_int_equal(soma_score_support(&score, 1), 2);
    assert_int_equal(soma_score_support(&score, 2), 1);
    soma_score_free(&score);
}

/* max(0, s_j - s_y + 1) summed over the six rows:
 * 0, 3 + 2, 1, 0 + 0, 0 + 2, 0 + 0. */
static void
test_loss(void **state)
{
    (void)state;
    soma_spec spec = spec_of("multiclass_hinge", 3);
    soma_score score = create(3);
    soma_score_add(&score, &spec, 6, SCORES, LABELS);
    near(score.loss, 8);
    near(soma_score_loss(&score), 8.0 / 6);
    soma_score_free(&score);

    spec = spec_of("softmax_cross_entropy", 3);
    score = create(3);
    soma_score_add(&score, &spec, 1, (float[]){0, 0, 0}, (int[]){2});
    assert_true(fabs(soma_score_loss(&score) - log(3)) < 1e-6);
    soma_score_free(&score);
}

/* Row by row is the same as all at once. */
static void
test_adding_up(void **state)
{
    (void)state;
    soma_spec spec = spec_of("softmax_cross_entropy", 3);
    soma_score whole = create(3), parts = create(3);
    soma_score_add(&whole, &spec, 6, SCORES, LABELS);
    for (int r = 0; r < 6; r++)
        soma_score_add(&parts, &spec, 1, SCORES + 3 * r, LABELS + r);
    soma_score_add(&parts, &spec, 0, SCORES, LABELS);
    assert_memory_equal(whole.confusion, parts.confusion,
                        9 * sizeof *whole.confusion);
    assert_int_equal(parts.examples, 6);
    assert_int_equal(parts.correct, 4);
    near(parts.loss, whole.loss);
    soma_score_free(&whole);
    soma_score_free(&parts);
}

static void
test_binary(void **state)
{
    (void)state;
    const char *const losses[] = {"logistic", "hinge"};
    for (int i = 0; i < 2; i++) {
        soma_spec spec = spec_of(losses[i], 1);
        soma_score score = create(spec.classes);
        soma_score_add(&score, &spec, 5, (float[]){2, -1, 0, 3, -2},
                       (int[]){1, 0, 1, 0, 0});
        const int64_t expected[] = {2, 1, 1, 1};
        for (int k = 0; k < 4; k++)
            assert_int_equal(score.confusion[k], expected[k]);
        near(soma_score_accuracy(&score), 3.0 / 5);
        near(soma_score_precision(&score, 1), 1.0 / 2);
        near(soma_score_recall(&score, 1), 1.0 / 2);
        near(soma_score_recall(&score, 0), 2.0 / 3);
        soma_score_free(&score);
    }
}

static void
test_nothing_counted(void **state)
{
    (void)state;
    soma_score score = create(4);
    near(soma_score_accuracy(&score), 0);
    near(soma_score_loss(&score), 0);
    for (int k = 0; k < 4; k++) {
        near(soma_score_precision(&score, k), 0);
        near(soma_score_recall(&score, k), 0);
        assert_int_equal(soma_score_support(&score, k), 0);
    }
    /* A class that is never right, never said, or never asked for. */
    soma_spec spec = spec_of("multiclass_hinge", 4);
    soma_score_add(&score, &spec, 1, (float[]){0, 1, 0, 0}, (int[]){2});
    near(soma_score_precision(&score, 1), 0);
    near(soma_score_recall(&score, 2), 0);
    near(soma_score_precision(&score, 0), 0);
    near(soma_score_recall(&score, 0), 0);
    soma_score_free(&score);
    assert_null(score.confusion);
    soma_score_free(&score);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confusion),       cmocka_unit_test(test_loss),
        cmocka_unit_test(test_adding_up),       cmocka_unit_test(test_binary),
        cmocka_unit_test(test_nothing_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Losses against double precision from small scores to the largest floats,
 * their slopes against central differences, and what they decide. */
#include "core/loss.h"

#include "tests/unit/reference.h"

#include <float.h>

enum { MOST = 5 };

static const soma_loss *
find(const char *name)
{
    const soma_loss *found = NULL;
    nets_ok(soma_loss_find(name, &found, NULL), &(soma_error){0});
    return found;
}

static double
reference_of(const soma_loss *loss, int outputs, const float *scores, int label,
             double smoothing)
{
    reference net = {.kink = 0};
    double s[MOST];
    for (int i = 0; i < outputs; i++)
        s[i] = (double)scores[i];
    return reference_loss_of(&net, loss, outputs, s, label, smoothing);
}

/* The loss within float32's precision; its slope finite and, where scores are
 * moderate, the derivative. What is beyond float32 is its largest number. */
static void
check(const soma_loss *loss, int outputs, const float *scores, int label,
      float smoothing)
{
    float d[MOST], largest = 1;
    for (int i = 0; i < outputs; i++)
        largest = fmaxf(largest, fabsf(scores[i]));
    double got = (double)loss->gradient(outputs, scores, label, smoothing, d);
    double expected =
        fmin((double)FLT_MAX,
             reference_of(loss, outputs, scores, label, (double)smoothing));
    double tolerance = 1e-6 * fmax(expected, loss->probabilities ? 1 : 0);
    if (!(isfinite(got) && fabs(got - expected) <= tolerance))
        fail_msg("%s of %g.. for %d: %.9g, expected %.9g", loss->name,
                 (double)scores[0], label, got, expected);
    float without = loss->gradient(outputs, scores, label, smoothing, NULL);
    assert_true((double)without == got);
    for (int i = 0; i < outputs; i++) {
        assert_true(isfinite(d[i]));
        assert_true(fabsf(d[i]) <= (float)outputs);
    }
}

static void
check_all_labels(const soma_loss *loss, int outputs, const float *scores)
{
    int classes = loss->binary ? 2 : outputs;
    for (int label = 0; label < classes; label++) {
        check(loss, outputs, scores, label, 0);
        check(loss, outputs, scores, label, 0.1f);
        check(loss, outputs, scores, label, 0.999f);
    }
}

static void
test_any_scores(void **state)
{
    (void)state;
    const soma_loss *loss;
    soma_rng rng = soma_rng_seed(1, 0);
    const float ranges[] = {0, 1e-30f, 1e-3f, 1, 10, 89, 200, 1e4f, 1e30f};
    for (int l = 0; (loss = soma_loss_at(l)); l++)
        for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
            for (int i = 0; i < 50; i++) {
                float scores[MOST];
                nets_fill(&rng, -ranges[k], ranges[k], MOST, scores);
                check_all_labels(loss, loss->binary ? 1 : MOST, scores);
            }
}

/* Every mixture of the ends of float32 with zeros. */
static void
test_largest_scores(void **state)
{
    (void)state;
    const float ends[] = {-FLT_MAX, -1e4f, 0, 1e4f, FLT_MAX};
    const soma_loss *loss;
    for (int l = 0; (loss = soma_loss_at(l)); l++)
        for (int i = 0; i < 125; i++) {
            float scores[] = {ends[i % 5], ends[i / 5 % 5], ends[i / 25]};
            check_all_labels(loss, loss->binary ? 1 : 3, scores);
        }
}

static void
test_slopes(void **state)
{
    (void)state;
    const soma_loss *loss;
    soma_rng rng = soma_rng_seed(2, 0);
    for (int l = 0; (loss = soma_loss_at(l)); l++)
        for (int i = 0; i < 200; i++) {
            int outputs = loss->binary ? 1 : MOST;
            int label =
                (int)soma_rng_below(&rng, loss->binary ? 2 : (uint32_t)outputs);
            float smoothing = i % 2 ? 0.3f : 0, scores[MOST], d[MOST];
            nets_fill(&rng, -4, 4, MOST, scores);
            loss->gradient(outputs, scores, label, smoothing, d);
            reference net = {.kink = INFINITY};
            double s[MOST], step = 1e-5;
            for (int k = 0; k < outputs; k++)
                s[k] = (double)scores[k];
            reference_loss_of(&net, loss, outputs, s, label, 0);
            for (int k = 0; k < outputs && net.kink > 1e-4; k++) {
                double here = s[k], up, down;
                s[k] = here + step;
                up = reference_loss_of(&net, loss, outputs, s, label,
                                       (double)smoothing);
                s[k] = here - step;
                down = reference_loss_of(&net, loss, outputs, s, label,
                                         (double)smoothing);
                s[k] = here;
                assert_true(fabs((double)d[k] - (up - down) / (2 * step)) <
                            1e-6);
            }
        }
}

static void
expect_answer(const char *name, int outputs, const float *scores, int answers,
              const float *expected)
{
    float answer[MOST] = {9, 9, 9, 9, 9};
    const soma_loss *loss = find(name);
    assert_int_equal(soma_loss_answers(loss, outputs), answers);
    loss->answer(outputs, scores, answer);
    for (int i = 0; i < answers; i++)
        if (!(fabsf(answer[i] - expected[i]) <= 1e-6f * fabsf(expected[i])))
            fail_msg("%s: answer %d is %.9g, expected %.9g", name, i,
                     (double)answer[i], (double)expected[i]);
    assert_true(answer[answers] == 9); /* and nothing after them */
}

#define VALUES (const float[])

static void
test_answers(void **state)
{
    (void)state;
    expect_answer("softmax_cross_entropy", 3, VALUES{1, 2, 3}, 3,
                  VALUES{0.0900305732f, 0.244728471f, 0.665240956f});
    expect_answer("softmax_cross_entropy", 3, VALUES{-1e4f, 1e4f, 0}, 3,
                  VALUES{0, 1, 0});
    expect_answer("softmax_cross_entropy", 2, VALUES{-FLT_MAX, FLT_MAX}, 2,
                  VALUES{0, 1});
    expect_answer("softmax_cross_entropy", 4,
                  VALUES{FLT_MAX, FLT_MAX, FLT_MAX, FLT_MAX}, 4,
                  VALUES{0.25f, 0.25f, 0.25f, 0.25f});
    expect_answer("logistic", 1, VALUES{0}, 2, VALUES{0.5f, 0.5f});
    expect_answer("logistic", 1, VALUES{2}, 2,
                  VALUES{0.119202922f, 0.880797078f});
    expect_answer("logistic", 1, VALUES{1e4f}, 2, VALUES{0, 1});
    expect_answer("logistic", 1, VALUES{-FLT_MAX}, 2, VALUES{1, 0});
    /* 1 - p keeps its digits where p is near 1. */
    expect_answer("logistic", 1, VALUES{20}, 2, VALUES{2.06115362e-9f, 1});
    expect_answer("hinge", 1, VALUES{-1.5f}, 1, VALUES{-1.5f});
    expect_answer("multiclass_hinge", 3, VALUES{1, -FLT_MAX, 3}, 3,
                  VALUES{1, -FLT_MAX, 3});
}

/* Probabilities of many classes still sum to 1. */
static void
test_many_classes(void **state)
{
    (void)state;
    enum { CLASSES = 10000 };
    soma_rng rng = soma_rng_seed(3, 0);
    float *s = nets_floats(CLASSES), *p = nets_floats(CLASSES);
    nets_fill(&rng, -5, 5, CLASSES, s);
    find("softmax_cross_entropy")->answer(CLASSES, s, p);
    double sum = 0;
    for (int i = 0; i < CLASSES; i++)
        sum += (double)p[i];
    assert_true(fabs(sum - 1) < 1e-5);
    find("softmax_cross_entropy")->gradient(CLASSES, s, 17, 0.1f, p);
    sum = 0;
    for (int i = 0; i < CLASSES; i++)
        sum += (double)p[i];
    assert_true(fabs(sum) < 1e-5);
    free(s), free(p);
}

static void
test_decides(void **state)
{
    (void)state;
    const char *const many[] = {"softmax_cross_entropy", "multiclass_hinge"};
    for (int i = 0; i < 2; i++) {
        const soma_loss *loss = find(many[i]);
        assert_int_equal(soma_loss_decide(loss, 3, VALUES{1, 3, 2}), 1);
        assert_int_equal(soma_loss_decide(loss, 3, VALUES{-3, -2, -1}), 2);
        assert_int_equal(soma_loss_decide(loss, 3, VALUES{3, 3, 2}), 0);
        assert_int_equal(soma_loss_decide(loss, 3, VALUES{1, 2, 2}), 1);
        assert_int_equal(soma_loss_decide(loss, 2, VALUES{0, -0.0f}), 0);
    }
    const char *const binary[] = {"logistic", "hinge"};
    for (int i = 0; i < 2; i++) {
        const soma_loss *loss = find(binary[i]);
        assert_int_equal(soma_loss_decide(loss, 1, VALUES{FLT_TRUE_MIN}), 1);
        assert_int_equal(soma_loss_decide(loss, 1, VALUES{0}), 0);
        assert_int_equal(soma_loss_decide(loss, 1, VALUES{-2}), 0);
    }
}

/* Smoothing is for probabilities; the hinges know none. */
static void
test_hinges_ignore_smoothing(void **state)
{
    (void)state;
    float d[3], e[3];
    const soma_loss *loss = find("multiclass_hinge");
    float plain = loss->gradient(3, VALUES{1, 2, 1.5f}, 0, 0, d);
    assert_true(plain == 2 + 1.5f);
    assert_true(loss->gradient(3, VALUES{1, 2, 1.5f}, 0, 0.5f, e) == plain);
    assert_memory_equal(d, (VALUES{-2, 1, 1}), sizeof d);
    assert_memory_equal(e, d, sizeof d);
    loss = find("hinge");
    assert_true(loss->gradient(1, VALUES{0.25f}, 1, 0.5f, d) == 0.75f);
    assert_true(d[0] == -1);
    assert_true(loss->gradient(1, VALUES{0.25f}, 0, 0.5f, d) == 1.25f);
    assert_true(d[0] == 1);
    assert_true(loss->gradient(1, VALUES{-2}, 0, 0, d) == 0 && d[0] == 0);
}

static void
test_table(void **state)
{
    (void)state;
    const struct {
        const char *name;
        bool binary, probabilities;
    } rows[] = {
        {"softmax_cross_entropy", false, true},
        {"logistic", true, true},
        {"hinge", true, false},
        {"multiclass_hinge", false, false},
    };
    for (int i = 0; i < 4; i++) {
        const soma_loss *loss = soma_loss_at(i);
        assert_string_equal(loss->name, rows[i].name);
        assert_ptr_equal(find(rows[i].name), loss);
        assert_true(loss->binary == rows[i].binary);
        assert_true(loss->probabilities == rows[i].probabilities);
    }
    assert_null(soma_loss_at(4));
    assert_null(soma_loss_at(-1));
    soma_error err;
    const soma_loss *untouched = soma_loss_at(2);
    assert_int_equal(soma_loss_find("softmax", &untouched, &err),
                     SOMA_E_NOT_FOUND);
    assert_ptr_equal(untouched, soma_loss_at(2));
    assert_string_equal(err.text, "unknown loss \"softmax\"; there are: "
                                  "softmax_cross_entropy, logistic, hinge, "
                                  "multiclass_hinge");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_scores),
        cmocka_unit_test(test_largest_scores),
        cmocka_unit_test(test_slopes),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_many_classes),
        cmocka_unit_test(test_decides),
        cmocka_unit_test(test_hinges_ignore_smoothing),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

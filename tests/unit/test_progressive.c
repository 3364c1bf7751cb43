/* core/progressive.c: what was predicted before it was learned. */
#include "core/progressive.h"
#include "tests/unit/nets.h"

static void
test_progressive(void **state)
{
    (void)state;
    static soma_progressive p;
    /* Right with confidence 0.8, 8 times of 10: well calibrated. */
    for (int i = 0; i < 500; i++) {
        soma_prediction one = {.loss = 0.5f,
                               .confidence = 0.85f,
                               .label = 1,
                               .predicted = i % 20 < 17 ? 1 : 2};
        soma_progressive_add(&p, (uint64_t)i + 1, &one);
    }
    soma_progress_report all = soma_progressive_report(&p, -1);
    assert_int_equal(all.examples, 500);
    assert_true(fabs(all.accuracy - 0.85) < 1e-9);
    assert_true(fabs(all.loss - 0.5) < 1e-6);
    assert_true(all.calibration_error < 1e-6);
    assert_true(fabs(p.fading_accuracy - 0.85) < 0.02);
    assert_int_equal(soma_progressive_report(&p, 2).examples, 0);
    assert_int_equal(p.alarms, 0);
    /* Then the loss rises: an alarm, once, and soon. */
    for (int i = 0; i < 200; i++) {
        soma_prediction one = {
            .loss = 2, .confidence = 0.85f, .label = 2, .predicted = 1};
        soma_progressive_add(&p, (uint64_t)i + 501, &one);
    }
    assert_int_equal(p.alarms, 1);
    assert_in_range(p.last_alarm, 501, 540);
    assert_true(soma_progressive_report(&p, -1).calibration_error > 0.2);
    assert_true(soma_progressive_report(&p, 2).accuracy < 1e-9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progressive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is remembered for labels that come later: how much of it, for how long,
 * and what the counters say. Servers of their own, in memory. */
#include "tests/http/delayed.h"

static void
counters_tell(void **unused)
{
    static const char *const small[] = {"--remember", "10", NULL};
    char ids[12][ID];
    int label[12];
    (void)unused;
    if (foreign_server("a server with --remember 10"))
        return;
    restart(small);
    expect_counts(0, 0, 0);
    for (int i = 0; i < 4; i++)
        remember(i, ids[i], &label[i]);
    expect_counts(4, 0, 0);
    expect_ok(teach(ids[0], label[0]));
    expect_ok(teach(ids[1], (label[1] + 1) % 10));
    expect_counts(4, 2, 1);
    expect_ok(teach(ids[0], label[0])); /* repeated: not again */
    expect_error(teach(ids[1], label[1]), 409, "conflict", "");
    expect_counts(4, 2, 1);
    /* More than there is room for: the oldest go. */
    for (int i = 4; i < 12; i++)
        remember(i, ids[i], &label[i]);
    expect_counts(10, 2, 1);
    expect_error(teach(ids[0], label[0]), 404, "unknown_id", "10 are kept");
    expect_error(teach(ids[1], 0), 404, "unknown_id", "");
    expect_ok(teach(ids[2], label[2]));
    expect_ok(teach(ids[11], label[11]));
    expect_counts(10, 4, 3);
    /* A list that is longer than all the room: its last ones. */
    answer a = predict_bytes("fashion", 100, 15);
    const json_t *list = json_object_get(a.json, "predictions");
    assert_int_equal(json_array_size(list), 15);
    take_id(json_array_get(list, 4), ids[0]);
    take_id(json_array_get(list, 5), ids[1]);
    free_answer(&a);
    expect_counts(10, 4, 3);
    expect_error(teach(ids[0], 1), 404, "unknown_id", "");
    expect_ok(teach(ids[1], 1));
    expect_taught(image(105), 1);
}

static void
inputs_expire(void **unused)
{
    static const char *const brief[] = {"--remember-seconds", "1", NULL};
    char old[ID];
    (void)unused;
    if (foreign_server("a server with --remember-seconds 1"))
        return;
    restart(brief);
    remember(0, old, NULL);
    sleep(2);               /* seconds are counted whole */
    expect_counts(0, 0, 0); /* whether or not anybody asks for it */
    expect_error(teach(old, 1), 404, "unknown_id", "for 1 seconds");
}

static void
nothing_is_remembered_where_that_is_off(void **unused)
{
    static const char *const off[] = {"--remember", "0", NULL};
    (void)unused;
    if (foreign_server("a server with --remember 0"))
        return;
    restart(off);
    expect_error(predict_bytes("fashion", 0, 1), 413, "too_large",
                 "--remember");
    expect_error(predict_bytes("fashion", 0, 3), 413, "too_large",
                 "--remember");
    expect_error(predict_bytes("fashion", 0, 300), 413, "too_large",
                 "--remember");
    expect_error(teach("0123456789abcdef01234567", 1), 404, "unknown_id", "");
    expect_counts(0, 0, 0);
    /* All else is as ever. */
    expect_ok(ask(&s, NULL, "/models/fashion/predict",
                  "application/octet-stream", image(0), PIXELS));
}

/* Ids end with the server, keys do not: a label that was taught is not taught
 * again by the id of another input. */
static void
ids_end_with_the_server(void **unused)
{
    char id[ID];
    (void)unused;
    if (foreign_server("a restart"))
        return;
    restart(durable);
    remember(90, id, NULL);
    expect_ok(teach(id, 1));
    json_int_t then = version();
    restart(durable);
    expect_error(teach(id, 1), 404, "unknown_id", "until the server ends");
    assert_int_equal(version(), then);
    expect_counts(0, 0, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_tell),
        cmocka_unit_test(inputs_expire),
        cmocka_unit_test(nothing_is_remembered_where_that_is_off),
        cmocka_unit_test(ids_end_with_the_server),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* What follows from the guard: a model that is harmed is noticed, stopped, put
 * back, and goes on. */
#include "tests/http/guards.h"

static void
harm_stops_learning(void **unused)
{
    char id[32], words[80];
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(stopping);
    teach_well("fashion", 20);
    json_decref(wait_for("fashion", has_good, 10));
    answer keyed = teach_as("fashion", 5, fashion_labels()[5],
                            "&learning_rate=0.0001", "Idempotency-Key: a");
    assert_int_equal(keyed.status, 200);
    answer a = ask(&s, NULL, "/models/fashion/predict?remember=1",
                   "application/octet-stream", fashion_images(), PIXELS);
    snprintf(id, sizeof id, "%s", text_of(a.json, "id"));
    free_answer(&a);
    json_int_t version = harm_until_stopped();
    json_t *json = describe("fashion");
    json_int_t good = whole_of(json_object_get(json, "guard"), "last_good");
    const char *reason = text_of(json_object_get(json, "learning"), "reason");
    assert_non_null(strstr(reason, "learning is stopped"));
    snprintf(words, sizeof words,
             "the last version that was good is %lld:", (long long)good);
    assert_non_null(strstr(reason, words));
    assert_true(good >= 10 && good < version);
    json_decref(json);
    /* Whatever is to be learned is refused, and says when to come again. */
    a = teach_as("fashion", 1, 1, "", NULL);
    assert_int_equal(a.status, 503);
    assert_true(atoi(a.retry) > 0);
    expect_error(a, 503, "learning_stopped", words);
    expect_error(teach_as("fashion", 1, 1, "", "Idempotency-Key: new"), 503,
                 "learning_stopped", words);
    expect_error(post_json(&s, "/models/fashion/train",
                           json_pack("{s:s, s:i}", "id", id, "label", 1)),
                 503, "learning_stopped", words);
    expect_error(
        post_json(&s, "/models/fashion/train",
                  json_pack("{s:[{s:o, s:i}]}", "examples", "pixels",
                            pixels_of(fashion_images(), PIXELS), "label", 1)),
        503, "learning_stopped", words);
    /* All else goes on. */
    a = ask(&s, NULL, "/models/fashion/predict", "application/octet-stream",
            fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
    a = teach_as("fashion", 5, fashion_labels()[5], "&learning_rate=0.0001",
                 "Idempotency-Key: a");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, keyed.body);
    free_answer(&a);
    free_answer(&keyed);
    teach_well("mnist", 1);
    a = get(&s, "/readyz");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    expect_metric("soma_learning_stopped", "fashion", 1);
    expect_metric("soma_learning_stopped", "mnist", 0);
    /* Back to what was good: and learning goes on. A key that was refused was
     * not spent. */
    roll_back("fashion", good);
    json_decref(wait_for("fashion", is_ready, 0));
    a = teach_as("fashion", 1, 1, "&learning_rate=0.0001",
                 "Idempotency-Key: new");
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version + 2);
    free_answer(&a);
    teach_well("fashion", 5);
    expect_metric("soma_learning_stopped", "fashion", 0);
}

/* Nobody has to ask anything of it first. */
static void
it_is_still_stopped_after_a_restart(void **unused)
{
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(stopping);
    json_int_t version = harm_until_stopped();
    for (int crash = 0; crash < 2; crash++) {
        if (crash)
            kill_server(&s);
        else
            assert_int_equal(stop_server(&s), 0);
        start(stopping);
        json_t *json = wait_for("fashion", is_stopped, 0);
        assert_int_equal(whole_of(json, "version"), version);
        json_decref(json);
        expect_error(teach_as("fashion", 1, 1, "", NULL), 503,
                     "learning_stopped", "learning is stopped");
    }
    /* Also where it was not the last to be told: an option lets it go on. */
    assert_int_equal(stop_server(&s), 0);
    start(warning);
    json_decref(wait_for("fashion", is_below, 0));
    assert_int_equal(harm(0), 200);
    assert_int_equal(stop_server(&s), 0);
    start(stopping);
    json_decref(wait_for("fashion", is_stopped, 0));
    roll_back("fashion", 0);
    json_decref(wait_for("fashion", is_ready, 0));
    teach_well("fashion", 1);
}

/* A promotion makes good as a rollback does. */
static void
a_challenger_ends_the_stop(void **unused)
{
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(stopping);
    answer a = post(&s, "/models/fashion/fork", "{\"as\": \"b\"}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    teach_well("b", 3);
    harm_until_stopped();
    teach_well("b", 3); /* each is judged for itself */
    a = post(&s, "/models/fashion/promote", "{\"from\": \"b\"}");
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    json_t *json = wait_for("fashion", is_ready, 0);
    assert_int_equal(whole_of(json_object_get(json, "guard"), "last_good"),
                     version);
    json_decref(json);
    teach_well("fashion", 1);
}

static void
it_goes_back_by_itself(void **unused)
{
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(returning);
    teach_well("fashion", 12);
    json_t *json = wait_for("fashion", has_good, 10);
    json_int_t good = whole_of(json_object_get(json, "guard"), "last_good");
    json_decref(json);
    /* Of what is taught some is good, some not; none is refused. */
    json_int_t target = -1, at = 0;
    for (int i = 0; target < 0; i++) {
        assert_int_equal(harm(i), 200);
        assert_true(i < 5000);
        answer a = get(&s, "/models/fashion/examples?limit=1000");
        const json_t *list = json_object_get(a.json, "examples");
        for (size_t k = 0; k < json_array_size(list) && target < 0; k++) {
            const json_t *one = json_array_get(list, k);
            if (json_object_get(one, "rollback")) {
                target = whole_of(one, "rollback");
                at = whole_of(one, "version");
            }
        }
        free_answer(&a);
    }
    assert_true(target >= good && target < at);
    /* It is judged again, good, and in force after a crash. */
    json = wait_for("fashion", has_good, at);
    char digest[80];
    snprintf(digest, sizeof digest, "%s", text_of(json, "digest"));
    json_decref(json);
    teach_well("fashion", 3);
    json = describe("fashion");
    snprintf(digest, sizeof digest, "%s", text_of(json, "digest"));
    json_decref(json);
    kill_server(&s);
    start(returning);
    json = describe("fashion");
    assert_string_equal(text_of(json, "digest"), digest);
    json_decref(json);
}

static void
it_may_only_warn(void **unused)
{
    char text[1 << 14];
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(warning);
    for (int i = 0; i < 60; i++)
        assert_int_equal(harm(i), 200);
    json_t *json = wait_for("fashion", is_below, 0);
    assert_true(is_ready(json, 0));
    assert_null(json_object_get(json_object_get(json, "learning"), "reason"));
    json_decref(json);
    for (int i = 0; i < 30; i++)
        assert_int_equal(harm(i), 200);
    expect_metric("soma_learning_stopped", "fashion", 0);
    FILE *file = fopen(s.log, "r");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "guard-below-bound"));
}

static void
it_never_judges_when_it_is_off(void **unused)
{
    static const char *const off[] = {HARMFUL, "--guard-every", "0", NULL};
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(off);
    for (int i = 0; i < 60; i++)
        assert_int_equal(harm(i), 200);
    json_t *json = describe("fashion");
    const json_t *verdict = json_object_get(json, "guard");
    assert_int_equal(whole_of(verdict, "examples"), GUARD);
    assert_null(json_object_get(verdict, "accuracy"));
    assert_null(json_object_get(verdict, "version"));
    json_decref(json);
    roll_back("fashion", 0);
    json = describe("fashion");
    assert_null(json_object_get(json_object_get(json, "guard"), "accuracy"));
    json_decref(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(harm_stops_learning),
        TEST(it_is_still_stopped_after_a_restart),
        TEST(a_challenger_ends_the_stop),
        TEST(it_goes_back_by_itself),
        TEST(it_may_only_warn),
        TEST(it_never_judges_when_it_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The guard: what it says is what `soma evaluate` says, of its own sets and of
 * those that are brought along. */
#include "tests/http/guards.h"

/* What `soma evaluate` says of a model file and the set. */
static void
evaluate(const char *file, double *accuracy, double *loss)
{
    char text[8192];
    json_error_t where;
    int code = soma_says(text, sizeof text, "evaluate %s --dataset %s --json",
                         file, set);
    json_t *json = json_loads(text, 0, &where);
    if (code || !json)
        fail_msg("evaluate: %d, %s", code, text);
    assert_int_equal(whole_of(json, "examples"), GUARD);
    *accuracy = real_of(json, "accuracy");
    *loss = real_of(json, "loss");
    json_decref(json);
}

static void
evaluate_version(json_int_t version, double *accuracy, double *loss)
{
    char text[4096], file[100];
    snprintf(file, sizeof file, "%s/version.safetensors", folder);
    assert_int_equal(soma_says(text, sizeof text,
                               "replay %s/fashion.db --version %lld --out %s",
                               data, (long long)version, file),
                     0);
    evaluate(file, accuracy, loss);
}

static const char *
shipped(const char *name)
{
    static char path[200];
    const char *models = getenv("SOMA_MODELS");
    snprintf(path, sizeof path, "%s/%s.safetensors", models ? models : "models",
             name);
    return path;
}

static void
its_figures_are_those_of_evaluate(void **unused)
{
    double accuracy, loss;
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(stopping);
    json_t *json = describe("fashion");
    const json_t *verdict = json_object_get(json, "guard");
    assert_int_equal(whole_of(verdict, "examples"), GUARD);
    assert_null(json_object_get(verdict, "accuracy")); /* nothing to judge */
    json_decref(json);
    teach_well("fashion", 10);
    json = wait_for("fashion", is_judged, 10);
    verdict = json_object_get(json, "guard");
    evaluate(shipped("fashion"), &accuracy, &loss);
    assert_true(fabs(real_of(verdict, "file_accuracy") - accuracy) < 1e-7);
    assert_true(fabs(real_of(verdict, "bound") - accuracy + 0.05) < 1e-7);
    assert_int_equal(whole_of(verdict, "version"), 10);
    assert_int_equal(whole_of(verdict, "last_good"), 10);
    evaluate_version(10, &accuracy, &loss);
    assert_true(fabs(real_of(verdict, "accuracy") - accuracy) < 1e-7);
    assert_true(fabs(real_of(verdict, "loss") - loss) < 1e-5);
    expect_metric("soma_guard_accuracy_ratio", "fashion", accuracy);
    expect_metric("soma_learning_stopped", "fashion", 0);
    json_decref(json);
    /* And of a version that is bad. */
    harm_until_stopped();
    json = describe("fashion");
    verdict = json_object_get(json, "guard");
    evaluate_version(whole_of(verdict, "version"), &accuracy, &loss);
    assert_true(fabs(real_of(verdict, "accuracy") - accuracy) < 1e-7);
    assert_true(accuracy < real_of(verdict, "bound"));
    json_decref(json);
}

/* At any version, and again when it is known; nothing follows from it. */
static void
it_judges_when_it_is_asked(void **unused)
{
    static const char *const off[] = {HARMFUL, "--guard-every", "0", NULL};
    double accuracy, loss;
    (void)unused;
    if (foreign_server("--guard"))
        return;
    start(off);
    expect_error(get(&s, "/models/cifar10/guard"), 404, "no_guard", "--guard");
    expect_error(get(&s, "/models/frog/guard"), 404, "unknown_model", "frog");
    for (json_int_t version = 0; version < 12; version++) {
        if (version)
            assert_int_equal(harm((int)version), 200);
        answer a = get(&s, "/models/fashion/guard");
        answer again = get(&s, "/models/fashion/guard");
        assert_int_equal(a.status, 200);
        assert_int_equal(whole_of(a.json, "version"), version);
        assert_true(json_equal(a.json, again.json));
        if (version)
            evaluate_version(version, &accuracy, &loss);
        else
            evaluate(shipped("fashion"), &accuracy, &loss);
        assert_int_equal(whole_of(a.json, "examples"), GUARD);
        assert_true(fabs(real_of(a.json, "right") - accuracy * GUARD) < 1e-3);
        assert_true(fabs(real_of(a.json, "accuracy") - accuracy) < 1e-7);
        assert_true(fabs(real_of(a.json, "loss") - loss) < 1e-4 * (1 + loss));
        free_answer(&a);
        free_answer(&again);
    }
    assert_int_equal(harm(50), 200);
    json_t *json = describe("fashion");
    assert_null(json_object_get(json_object_get(json, "guard"), "version"));
    json_decref(json);
}

static void
sets_may_be_brought_along(void **unused)
{
    static const char *const none[] = {NULL};
    static const char *const large[] = {
        "--guard", "fashion=/usr/share/datasets/fashion-mnist", NULL};
    (void)unused;
    if (foreign_server("--guard"))
        return;
    static const struct {
        const char *const *arguments;
        int examples;
    } cases[] = {{none, 500}, {large, 2000}, {stopping, GUARD}};
    for (size_t i = 0; i < 3; i++) {
        start(cases[i].arguments);
        json_t *json = describe("fashion");
        assert_int_equal(whole_of(json_object_get(json, "guard"), "examples"),
                         cases[i].examples);
        json_decref(json);
        json = describe("mnist"); /* has its own */
        assert_int_equal(whole_of(json_object_get(json, "guard"), "examples"),
                         500);
        json_decref(json);
        json = describe("neuron"); /* has none */
        assert_null(json_object_get(json, "guard"));
        json_decref(json);
        if (i < 2)
            assert_int_equal(stop_server(&s), 0);
    }
    /* A fork takes it along, also where the server no longer names it. */
    answer a = post(&s, "/models/fashion/fork", "{\"as\": \"b\"}");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    for (int i = 0; i < 2; i++) {
        json_t *json = describe("b");
        assert_int_equal(whole_of(json_object_get(json, "guard"), "examples"),
                         GUARD);
        json_decref(json);
        if (i)
            break;
        const char *const plain[] = {"--data", data, NULL};
        assert_int_equal(stop_server(&s), 0);
        start(plain);
    }
}

static void
wrong_sets_are_refused_at_the_start(void **unused)
{
    (void)unused;
    if (foreign_server("--guard"))
        return;
    char missing[128], small[128], classes[128], second[300], first[200];
    snprintf(first, sizeof first, "mnist,%s", guard);
    snprintf(missing, sizeof missing, "fashion=%s/nowhere", folder);
    snprintf(small, sizeof small, "cifar10=%s", set);
    snprintf(classes, sizeof classes, "neuron=%s", set);
    snprintf(second, sizeof second, "%s,frog=%s", guard, set);
    const struct {
        const char *option, *value;
        int code;
        const char *words;
    } cases[] = {
        {"--guard", "frog=x", 2, "no model \"frog\""},
        {"--guard", second, 2, "no model \"frog\""},
        {"--guard", "fashion", 2, "expected NAME=PATH, got \"fashion\""},
        {"--guard", "fashion=", 2, "expected NAME=PATH"},
        {"--guard", "=x", 2, "--guard"},
        {"--guard", first, 2, "got \"mnist\""},
        {"--guard", missing, 1, "nowhere"},
        {"--guard", small, 1, "examples of 784 values"},
        {"--guard", classes, 2, "classes"},
        {"--guard-action", "panic", 2, "stop, rollback or warn"},
        {"--guard-drop", "101", 2, "--guard-drop"},
        {"--guard-every", "-1", 2, "--guard-every"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[4096];
        const char *models = getenv("SOMA_MODELS");
        const char *const arguments[] = {"serve",
                                         "--listen",
                                         "127.0.0.1:0",
                                         "--models",
                                         models ? models : "models",
                                         cases[i].option,
                                         cases[i].value,
                                         NULL};
        int code = run_soma(arguments, text, sizeof text);
        if (code != cases[i].code || !strstr(text, cases[i].words) ||
            !strstr(text, cases[i].option))
            fail_msg("%s %s: exit code %d, %s", cases[i].option, cases[i].value,
                     code, text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_figures_are_those_of_evaluate),
        TEST(it_judges_when_it_is_asked),
        TEST(sets_may_be_brought_along),
        TEST(wrong_sets_are_refused_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

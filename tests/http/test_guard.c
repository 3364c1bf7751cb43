/* The guard: a model that is harmed is noticed, stopped, put back, and goes on;
 * and what the guard says is what `soma evaluate` says. */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GUARD = 400 }; /* examples of the set that the tests bring along */

static char folder[32], data[64], set[64], guard[128];
static server s;

/* Whatever is taught moves the weights far, and nothing holds them. */
#define HARMFUL                                                                \
    "--data", data, "--guard", guard, "--rehearse", "0", "--pull", "0",        \
        "--hold", "0", "--learning-rate", "1", "--guard-every", "10",          \
        "--guard-drop", "5"

static const char *const stopping[] = {HARMFUL, NULL};
static const char *const warning[] = {HARMFUL, "--guard-action", "warn", NULL};
static const char *const returning[] = {HARMFUL, "--guard-action", "rollback",
                                        NULL};

static void
start(const char *const *arguments)
{
    start_server(&s, arguments);
    wait_until_ready(&s);
}

static void
write_idx(const char *name, unsigned char type, const unsigned char *bytes,
          size_t each)
{
    char path[128];
    unsigned char head[16] = {0, 0, 8, type, 0, 0, GUARD >> 8, GUARD & 255,
                              0, 0, 0, 28,   0, 0, 0,          28};
    snprintf(path, sizeof path, "%s/%s", set, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(head, 1, each == 1 ? 8 : 16, file);
    fwrite(bytes, 1, each * GUARD, file);
    assert_int_equal(fclose(file), 0);
}

/* The last images of the test set, as a dataset of their own. */
static int
set_up(void **state)
{
    char command[128];
    (void)state;
    if (getenv("SOMA_URL"))
        return 0;
    strcpy(folder, "/tmp/soma-guard-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(set, sizeof set, "%s/set", folder);
    snprintf(guard, sizeof guard, "fashion=%s", set);
    snprintf(command, sizeof command, "mkdir %s", set);
    if (system(command))
        return -1;
    write_idx("t10k-images-idx3-ubyte", 3,
              fashion_images() + (size_t)(10000 - GUARD) * PIXELS, PIXELS);
    write_idx("t10k-labels-idx1-ubyte", 1, fashion_labels() + 10000 - GUARD, 1);
    return 0;
}

static int
tear_down(void **state)
{
    char command[64];
    (void)state;
    if (getenv("SOMA_URL"))
        return 0;
    int code = stop_server(&s);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return code ? code : system(command);
}

/* ---- Asking ---- */

static answer
teach_as(const char *model, int image, int label, const char *query,
         const char *header)
{
    char path[200];
    CURL *curl = curl_easy_init();
    snprintf(path, sizeof path, "/models/%s/train?label=%d%s", model, label,
             query);
    answer a =
        ask_over(curl, &s, NULL, path, "application/octet-stream",
                 fashion_images() + (size_t)image * PIXELS, PIXELS, header);
    curl_easy_cleanup(curl);
    return a;
}

/* One wrong example; its status. */
static long
harm(int i)
{
    answer a = teach_as("fashion", i % 100,
                        (fashion_labels()[i % 100] + 1) % 10, "", NULL);
    long status = a.status;
    if (status != 200 && status != 503)
        fail_msg("status %ld: %s", status, a.body ? a.body : "");
    free_answer(&a);
    return status;
}

static void
teach_well(const char *model, int count)
{
    for (int i = 0; i < count; i++) {
        answer a = teach_as(model, i, fashion_labels()[i],
                            "&learning_rate=0.0001", NULL);
        if (a.status != 200)
            fail_msg("status %ld: %s", a.status, a.body ? a.body : "");
        free_answer(&a);
    }
}

static json_t *
describe(const char *model)
{
    char path[100];
    snprintf(path, sizeof path, "/models/%s", model);
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

/* Judging goes on beside the answering: waits until it has come to that. */
typedef bool (*condition)(const json_t *model, json_int_t number);

static json_t *
wait_for(const char *model, condition holds, json_int_t number)
{
    for (int i = 0; i < 3000; i++) {
        json_t *json = describe(model);
        if (holds(json, number))
            return json;
        json_decref(json);
        usleep(10000);
    }
    fail_msg("%s: not within 30 s", model);
    return NULL;
}

static bool
is_stopped(const json_t *model, json_int_t number)
{
    (void)number;
    return !strcmp(text_of(json_object_get(model, "learning"), "state"),
                   "stopped");
}

static bool
is_ready(const json_t *model, json_int_t number)
{
    return !is_stopped(model, number);
}

static bool
is_judged(const json_t *model, json_int_t version)
{
    const json_t *at =
        json_object_get(json_object_get(model, "guard"), "version");
    return at && json_integer_value(at) >= version;
}

static bool
is_below(const json_t *model, json_int_t number)
{
    const json_t *verdict = json_object_get(model, "guard");
    (void)number;
    return json_object_get(verdict, "accuracy") &&
           real_of(verdict, "accuracy") < real_of(verdict, "bound");
}

static bool
has_good(const json_t *model, json_int_t number)
{
    const json_t *good =
        json_object_get(json_object_get(model, "guard"), "last_good");
    return good && json_integer_value(good) >= number;
}

/* Until learning is stopped; the version that it is stopped at. */
static json_int_t
harm_until_stopped(void)
{
    int i = 0;
    while (harm(i) == 200)
        assert_true(++i < 5000);
    json_t *json = wait_for("fashion", is_stopped, 0);
    json_int_t version = whole_of(json, "version");
    json_decref(json);
    return version;
}

static void
roll_back(const char *model, json_int_t version)
{
    char path[100];
    snprintf(path, sizeof path, "/models/%s/rollback", model);
    answer a = post_json(&s, path, json_pack("{s:I}", "version", version));
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

static void
expect_metric(const char *name, const char *model, double value)
{
    char row[100];
    answer a = get(&s, "/metrics");
    snprintf(row, sizeof row, "\n%s{model=\"%s\"} ", name, model);
    const char *at = strstr(a.body, row);
    if (!at || fabs(atof(at + strlen(row)) - value) > 1e-6)
        fail_msg("%s is not %g: %.60s", name, value, at ? at + 1 : "(none)");
    free_answer(&a);
}

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

/* ---- Figures ---- */

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

/* ---- What follows ---- */

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_figures_are_those_of_evaluate),
        TEST(it_judges_when_it_is_asked),
        TEST(sets_may_be_brought_along),
        TEST(wrong_sets_are_refused_at_the_start),
        TEST(harm_stops_learning),
        TEST(it_is_still_stopped_after_a_restart),
        TEST(a_challenger_ends_the_stop),
        TEST(it_goes_back_by_itself),
        TEST(it_may_only_warn),
        TEST(it_never_judges_when_it_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The models folder as a repository: models are loaded, replaced and unloaded
 * by API and by SIGHUP while others are answered.
 *
 * SOMA_REPLACE_ROUNDS says how often a model is replaced under load (40; 10
 * where ThreadSanitizer watches).
 */
#include "tests/http/server.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { ROUNDS = 10, WATCHED = true };
#else
enum { ROUNDS = 40, WATCHED = false };
#endif

static char folder[64], models[80], data[80];
static server s;

/* The shipped model `from` becomes the file of `name`, in one step. */
static void
put_file(const char *from, const char *name)
{
    shell("cp models/%s.safetensors %s/tmp && mv %s/tmp %s/%s.safetensors",
          from, folder, folder, models, name);
}

static void
start(const char *first, ...)
{
    const char *arguments[16] = {"--models", models, "--default-model",
                                 "digits"};
    int count = 4;
    va_list more;
    va_start(more, first);
    for (const char *a = first; a; a = va_arg(more, const char *))
        arguments[count++] = a;
    va_end(more);
    start_server(&s, arguments);
    wait_until_ready(&s);
}

/* A folder of its own for each test: "digits" is MNIST's model. */
static int
set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/soma-repository-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(models, sizeof models, "%s/models", folder);
    snprintf(data, sizeof data, "%s/data", folder);
    shell("mkdir %s", models);
    put_file("mnist", "digits");
    put_file("neuron", "neuron");
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (s.pid)
        stop_server(&s);
    shell("rm -rf %s", folder);
    return 0;
}

/* ---- Asking ---- */

static answer
load(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/v2/repository/models/%s/load", name);
    return post(&s, path, "{}");
}

static answer
unload(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/v2/repository/models/%s/unload", name);
    return post(&s, path, "{\"parameters\":{\"unload_dependents\":false}}");
}

static void
expect_good(answer a)
{
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    free_answer(&a);
}

static answer
predict(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s/predict", name);
    return ask(&s, NULL, path, "application/octet-stream", fashion_images(),
               PIXELS);
}

static long
status_of(const char *name)
{
    answer a = predict(name);
    long status = a.status;
    free_answer(&a);
    return status;
}

/* The first number of the answer tells which weights gave it. */
static double
first_number(const answer *a)
{
    return json_number_value(
        json_array_get(json_object_get(a->json, "probabilities"), 0));
}

static double
answer_of(const char *name)
{
    answer a = predict(name);
    assert_int_equal(a.status, 200);
    double number = first_number(&a);
    free_answer(&a);
    return number;
}

static json_int_t
version_of(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s", name);
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_int_t version = whole_of(a.json, "version");
    free_answer(&a);
    return version;
}

static void
teach(const char *name, json_int_t version)
{
    char path[128];
    snprintf(path, sizeof path, "/models/%s/train?label=3", name);
    answer a = ask(&s, NULL, path, "application/octet-stream", fashion_images(),
                   PIXELS);
    if (a.status != 200)
        fail_msg("status %ld: %s", a.status, a.body);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
}

/* "STATE reason" of the model, "" if it is not in the index. */
static void
state_of(const char *name, const char *body, char *text, size_t size)
{
    answer a =
        ask(&s, "POST", "/v2/repository/index", NULL, body, strlen(body));
    size_t i;
    json_t *one;
    assert_int_equal(a.status, 200);
    *text = '\0';
    json_array_foreach (a.json, i, one) {
        assert_string_equal(text_of(one, "version"), "1");
        if (!strcmp(text_of(one, "name"), name))
            snprintf(text, size, "%s %s", text_of(one, "state"),
                     text_of(one, "reason"));
    }
    free_answer(&a);
}

static void
expect_state(const char *name, const char *expected)
{
    char text[512];
    state_of(name, "", text, sizeof text);
    assert_string_equal(text, expected);
}

static char log_text[1 << 18];

/* The log from byte `from` on; returns how long it is. */
static size_t
read_log(size_t from)
{
    FILE *file = fopen(s.log, "r");
    assert_non_null(file);
    fseek(file, (long)from, SEEK_SET);
    size_t size = fread(log_text, 1, sizeof log_text - 1, file);
    log_text[size] = '\0';
    fclose(file);
    return from + size;
}

/* Sends SIGHUP and waits until the log says so much. */
static void
hang_up(const char *until)
{
    const struct timespec pause = {0, 5000000};
    size_t before = read_log(0);
    kill(s.pid, SIGHUP);
    for (int i = 0; i < 2000; i++) {
        read_log(before);
        const char *rescan = strstr(log_text, " rescan ");
        if (rescan && strstr(rescan, until))
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("\"%s\" is not in the log:\n%s", until, log_text);
}

static bool
skipped(const char *what)
{
    if (!foreign_server(what))
        return false;
    s.pid = 0;
    return true;
}

/* ---- One at a time ---- */

static void
models_come_and_go(void **state)
{
    char text[512];
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    expect_state("digits", "READY ");
    expect_good(unload("neuron"));
    assert_int_equal(status_of("neuron"), 404);
    expect_state("neuron", "UNAVAILABLE unloaded");
    state_of("neuron", "{\"ready\":true}", text, sizeof text);
    assert_string_equal(text, "");
    expect_error(unload("neuron"), 404, "not_found", "no model \"neuron\"");
    expect_good(load("neuron"));
    assert_int_equal(status_of("neuron"), 200);
    expect_state("neuron", "READY ");
    /* A file that was not there at the start. */
    expect_error(load("clothes"), 404, "not_found", "clothes");
    put_file("fashion", "clothes");
    expect_state("clothes", "UNAVAILABLE unloaded");
    answer a = load("clothes");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "name"), "clothes");
    assert_true(json_is_true(json_object_get(a.json, "load")));
    free_answer(&a);
    assert_int_equal(status_of("clothes"), 200);
    /* Names are no paths. */
    expect_error(load("..%2f..%2fetc"), 404, "unknown_path", "..");
    expect_error(load(".hidden"), 404, "not_found", ".hidden");
    /* The default model, gone and back. */
    expect_good(unload("digits"));
    expect_error(post(&s, "/predict", "{\"pixels\":[1]}"), 400, "no_model",
                 "which model?");
    expect_good(load("digits"));
    a = ask(&s, NULL, "/predict", "application/octet-stream", fashion_images(),
            PIXELS);
    expect_good(a);
}

static void
wrong_requests(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    expect_error(post(&s, "/v2/repository/index", "{\"ready\":1}"), 400,
                 "bad_ready", "true or false");
    expect_error(post(&s, "/v2/repository/index", "[]"), 400, "not_an_object",
                 "object");
    expect_error(post(&s, "/v2/repository/models/digits/load",
                      "{\"parameters\":{\"file:1/model.bin\":\"AA==\"}}"),
                 400, "unsupported_parameter", "file:1/model.bin");
    expect_error(post(&s, "/v2/repository/models/digits/load",
                      "{\"parameters\":{\"config\":\"{}\"}}"),
                 400, "unsupported_parameter", "config");
}

static void
a_file_is_replaced(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    double before = answer_of("digits");
    put_file("fashion", "digits");
    assert_true(answer_of("digits") == before); /* until it is told */
    expect_good(load("digits"));
    double after = answer_of("digits");
    assert_true(after != before);
    answer a = get(&s, "/models/digits");
    assert_string_equal(json_string_value(json_array_get(
                            json_object_get(a.json, "classes"), 9)),
                        "Ankle boot");
    free_answer(&a);
    put_file("mnist", "digits");
    hang_up("replaced model=digits");
    assert_true(answer_of("digits") == before);
}

static void
a_broken_file_leaves_the_old_one(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    double before = answer_of("digits");
    shell("head -c 5000 models/mnist.safetensors > %s/digits.safetensors",
          models);
    answer a = load("digits");
    assert_true(a.status >= 400 && a.status < 500);
    assert_non_null(strstr(text_of(a.json, "error"), "digits.safetensors"));
    free_answer(&a);
    hang_up("load-failed model=digits");
    assert_true(answer_of("digits") == before);
    expect_state("digits", "READY ");
    teach("digits", 2);
    put_file("mnist", "digits");
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
}

static void
the_folder_is_looked_at_again(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    put_file("fashion", "clothes");
    shell("rm %s/neuron.safetensors", models);
    hang_up("unloaded model=neuron");
    assert_int_equal(status_of("clothes"), 200);
    assert_int_equal(status_of("neuron"), 404);
    expect_state("neuron", "");
    /* A folder that is not there just now. */
    shell("mv %s %s/away && mkdir %s", models, folder, models);
    hang_up("rescan-failed");
    assert_int_equal(status_of("clothes"), 200);
    assert_int_equal(status_of("digits"), 200);
}

/* ---- What was learned ---- */

static void
another_base_is_refused(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    double before = answer_of("digits");
    put_file("fashion", "digits");
    expect_error(load("digits"), 409, "conflict", "--new-base");
    hang_up("load-failed model=digits");
    assert_true(answer_of("digits") == before);
    teach("digits", 2);
    /* The same base in another file: what was learned goes on. */
    double learned = answer_of("digits");
    put_file("mnist", "digits");
    shell("touch %s/digits.safetensors", models);
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
    assert_true(answer_of("digits") == learned);
    teach("digits", 3);
    /* Unloaded and loaded, too. */
    expect_good(unload("digits"));
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 3);
    teach("digits", 4);
}

static void
another_base_begins_anew(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, "--new-base", "restart", NULL);
    teach("digits", 1);
    put_file("fashion", "digits");
    double fresh = 0;
    expect_good(load("digits"));
    fresh = answer_of("digits");
    assert_int_equal(version_of("digits"), 0);
    shell("ls %s/digits.db.old-* >/dev/null", data);
    teach("digits", 1);
    assert_true(answer_of("digits") != fresh);
}

static void
another_base_learns_again(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, "--new-base", "relearn", NULL);
    teach("digits", 1);
    teach("digits", 2);
    put_file("fashion", "digits");
    expect_good(load("digits"));
    assert_int_equal(version_of("digits"), 2);
    teach("digits", 3);
    /* Not with inputs of another size. */
    put_file("cifar10-linear", "digits");
    expect_error(load("digits"), 400, "wrong_shape", "784");
    teach("digits", 4);
}

/* Without a journal only the model itself has what it learned. */
static void
what_is_in_memory_is_kept(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start(NULL);
    put_file("fashion", "digits");
    expect_good(load("digits")); /* it has learned nothing yet */
    teach("digits", 1);
    put_file("mnist", "digits");
    expect_error(load("digits"), 409, "conflict", "--new-base=restart");
    assert_int_equal(version_of("digits"), 1);
    teach("digits", 2);
}

static void
forks_can_be_unloaded(void **state)
{
    (void)state;
    if (skipped("repository"))
        return;
    start("--data", data, NULL);
    teach("digits", 1);
    expect_good(post(&s, "/models/digits/fork", "{\"as\":\"other\"}"));
    teach("other", 2);
    double learned = answer_of("other");
    expect_good(unload("other"));
    assert_int_equal(status_of("other"), 404);
    hang_up("rescan");
    expect_good(load("other"));
    assert_true(answer_of("other") == learned);
    hang_up("rescan"); /* has no file, and stays */
    assert_int_equal(status_of("other"), 200);
    expect_good(ask(&s, "DELETE", "/models/other", NULL, NULL, 0));
}

/* ---- While others are answered ---- */

typedef struct client {
    pthread_t thread;
    long answered, other;
    double worst; /* seconds */
    char wrong[256];
} client;

static atomic_bool ended;
static double expected[2];

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *
client_main(void *arg)
{
    client *c = arg;
    CURL *curl = curl_easy_init();
    while (!atomic_load(&ended) && !*c->wrong) {
        double began = seconds();
        answer a =
            ask_over(curl, &s, "POST", "/predict", "application/octet-stream",
                     fashion_images(), PIXELS, NULL);
        double took = seconds() - began;
        double got = first_number(&a);
        c->worst = took > c->worst ? took : c->worst;
        c->answered++;
        c->other += got == expected[1];
        if (a.status != 200 || (got != expected[0] && got != expected[1]))
            snprintf(c->wrong, sizeof c->wrong, "status %ld: %.200s", a.status,
                     a.body ? a.body : "no answer");
        free_answer(&a);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* The default model is replaced again and again, by API and by SIGHUP; each
 * request gets the answer of one file or the other, none a refusal, and none
 * waits for the loading of a model. */
static void
replaced_under_load(void **state)
{
    enum { CLIENTS = 4 };
    client clients[CLIENTS] = {{.answered = 0}};
    const char *wanted = getenv("SOMA_REPLACE_ROUNDS");
    int rounds = wanted ? atoi(wanted) : ROUNDS;
    (void)state;
    if (skipped("repository"))
        return;
    fashion_images(); /* read before threads use them */
    start("--data", data, NULL);
    expected[0] = answer_of("digits");
    put_file("fashion", "clothes");
    expect_good(load("clothes"));
    expected[1] = answer_of("clothes");
    atomic_store(&ended, false);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
    for (int i = 0; i < rounds; i++) {
        put_file(i % 2 ? "mnist" : "fashion", "digits");
        if (i % 4 < 2)
            expect_good(load("digits"));
        else
            hang_up("replaced model=digits");
        assert_true(answer_of("digits") == expected[i % 2 == 0]);
        /* Others come and go beside it. */
        if (i % 8 == 0)
            expect_good(unload("neuron"));
        else if (i % 8 == 4)
            expect_good(load("neuron"));
    }
    atomic_store(&ended, true);
    long answered = 0, other = 0;
    double worst = 0;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (*clients[i].wrong)
            fail_msg("%s", clients[i].wrong);
        answered += clients[i].answered;
        other += clients[i].other;
        worst = clients[i].worst > worst ? clients[i].worst : worst;
    }
    print_message("%ld answers in %d replacements, %ld by the other file, the "
                  "slowest after %.1f ms, 0 lost\n",
                  answered, rounds, other, worst * 1e3);
    assert_true(other > 0 && other < answered);
    /* A machine that is busy with other things delays anybody. */
    assert_true(WATCHED || worst < 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(models_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_file_leaves_the_old_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_folder_is_looked_at_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_begins_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_base_learns_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_memory_is_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(forks_can_be_unloaded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(replaced_under_load, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A server with a guard's set of the test's own, and models that are harmed.
 */
#ifndef SOMA_TESTS_HTTP_GUARDS_H
#define SOMA_TESTS_HTTP_GUARDS_H

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

static inline void
start(const char *const *arguments)
{
    start_server(&s, arguments);
    wait_until_ready(&s);
}

static inline void
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
static inline int
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

static inline int
tear_down(void **state)
{
    (void)state;
    return stop_and_remove(&s, folder);
}

/* ---- Asking ---- */

static inline answer
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
static inline long
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

static inline void
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

static inline json_t *
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

static inline json_t *
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

static inline bool
is_stopped(const json_t *model, json_int_t number)
{
    (void)number;
    return !strcmp(text_of(json_object_get(model, "learning"), "state"),
                   "stopped");
}

static inline bool
is_ready(const json_t *model, json_int_t number)
{
    return !is_stopped(model, number);
}

static inline bool
is_judged(const json_t *model, json_int_t version)
{
    const json_t *at =
        json_object_get(json_object_get(model, "guard"), "version");
    return at && json_integer_value(at) >= version;
}

static inline bool
is_below(const json_t *model, json_int_t number)
{
    const json_t *verdict = json_object_get(model, "guard");
    (void)number;
    return json_object_get(verdict, "accuracy") &&
           real_of(verdict, "accuracy") < real_of(verdict, "bound");
}

static inline bool
has_good(const json_t *model, json_int_t number)
{
    const json_t *good =
        json_object_get(json_object_get(model, "guard"), "last_good");
    return good && json_integer_value(good) >= number;
}

/* Until learning is stopped; the version that it is stopped at. */
static inline json_int_t
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

static inline void
roll_back(const char *model, json_int_t version)
{
    char path[100];
    snprintf(path, sizeof path, "/models/%s/rollback", model);
    answer a = post_json(&s, path, json_pack("{s:I}", "version", version));
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

static inline void
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
